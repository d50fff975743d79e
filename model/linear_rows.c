/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a weight in binary32, from any form. */
#include "model/linear.h"

static void dense_rows(float *dst, size_t ld, const aqz_weight *w, uint64_t begin, uint64_t end)
{
	const size_t cols = (size_t)w->cols, element_bytes = w->dtype == AQZ_F32 ? 4 : 2;
	const aqz_math *math = aqz_math_best();

	for (uint64_t row = begin; row < end; row++, dst += ld) {
		const void *src = w->data + row * cols * element_bytes;

		if (w->dtype == AQZ_F32)
			memcpy(dst, src, cols * sizeof *dst);
		else if (w->dtype == AQZ_F16)
			math->widen_f16(dst, src, cols);
		else
			math->widen_bf16(dst, src, cols);
	}
}

static void block_rows(float *dst, size_t ld, const aqz_weight *w, uint64_t begin, uint64_t end)
{
	const size_t n = (size_t)(w->cols / w->type->n_values);
	const aqz_block_kernels *kernels = aqz_rows_of_blocks(aqz_math_best()->rows, w->type);

	for (uint64_t row = begin; row < end; row++, dst += ld) {
		const uint8_t *src = w->data + row * n * w->type->n_bytes;

		if (kernels != NULL)
			kernels->widen(dst, src, (size_t)w->cols);
		else
			w->type->widen(dst, src, n);
	}
}

static void round_row(float *row, size_t cols, aqz_dtype dtype, const aqz_math *math)
{
	if (dtype == AQZ_F16)
		math->round_f16(row, cols);
	else if (dtype == AQZ_BF16)
		math->round_bf16(row, cols);
}

/* The decoder's arithmetic, spec 7.3.4. */
static void symbol_rows(float *dst, size_t ld, const aqz_weight *w, uint64_t begin, uint64_t end)
{
	const aqz_symbols *s = w->symbols;
	const size_t cols = (size_t)w->cols;
	const uint64_t row_bytes = aqz_symbols_row_bytes(s->bits, w->cols);
	const aqz_math *math = aqz_math_best();

	for (uint64_t row = begin; row < end; row++, dst += ld) {
		const float step = s->row_step[row];

		(s->bits == 8 ? math->rows->widen_i8 : math->rows->widen_i4)(
			dst, w->data + row * row_bytes, s->column_step, step, cols);
		for (uint64_t i = s->wide_begin != NULL ? s->wide_begin[row] : 0;
			 s->wide_begin != NULL && i < s->wide_begin[row + 1]; i++)
			dst[s->wide[i].col] = s->wide[i].value * (s->column_step[s->wide[i].col] * step);
		round_row(dst, cols, w->dtype, math);
	}
}

/* Rows of one part, counted from its first. They are decoded to binary32 and rounded then, which is what the decoder
 * does to a 16-bit dtype. */
static void part_rows(
	float *dst, size_t ld, const aqz_weight_part *part, uint64_t cols, uint64_t begin, uint64_t end)
{
	aqz_tables tables = part->tables;
	const aqz_scheme *s = &tables.scheme;
	const uint64_t groups = aqz_ceil_div(cols, s->in_group);
	const uint64_t code_rows = aqz_ceil_div(part->row_end - part->row_begin, s->out_group);
	const size_t line_bytes = (size_t)s->n_codebooks * s->code_bits * (AQZ_TILE_ROWS / 8);
	const uint64_t block_rows = (uint64_t)AQZ_TILE_ROWS * s->out_group;
	aqz_decode_tile_fn *kernel;
	const aqz_math *math = aqz_math_best();

	tables.dtype = AQZ_F32;
	kernel = aqz_decode_tile_choose(&tables);
	for (uint64_t block = begin / block_rows; block * block_rows < end; block++) {
		const uint64_t first = block * block_rows, code_row = block * AQZ_TILE_ROWS;
		const unsigned from = begin > first ? (unsigned)(begin - first) : 0;
		const unsigned to = (unsigned)aqz_min(block_rows, end - first);
		float *rows = dst + (first + from - begin) * ld, scales[AQZ_TILE_ROWS] = {0};
		aqz_tile tile = {.row_begin = from, .row_end = to, .ld = ld};

		if (part->scales != NULL) {
			memcpy(scales, part->scales + code_row,
				aqz_min(AQZ_TILE_ROWS, code_rows - code_row) * sizeof *scales);
			tile.scales = scales;
		}
		for (uint64_t group = 0; group < groups; group += AQZ_TILE_GROUPS) {
			const uint64_t col = group * s->in_group;

			tile.lines = part->lines + (block * groups + group) * line_bytes;
			tile.n_groups = (unsigned)aqz_min(groups - group, AQZ_TILE_GROUPS);
			tile.n_cols = (unsigned)aqz_min(cols - col, (uint64_t)tile.n_groups * s->in_group);
			tile.dst = rows + col;
			kernel(&tile, &tables);
		}
		for (unsigned row = from; row < to; row++, rows += ld)
			round_row(rows, (size_t)cols, part->tables.dtype, math);
	}
}

void aqz_weight_rows(float *dst, size_t ld, const aqz_weight *w, uint64_t row_begin, uint64_t row_end)
{
	if (w->form == AQZ_WEIGHT_DENSE)
		dense_rows(dst, ld, w, row_begin, row_end);
	else if (w->form == AQZ_WEIGHT_BLOCKS)
		block_rows(dst, ld, w, row_begin, row_end);
	else if (w->form == AQZ_WEIGHT_SYMBOLS)
		symbol_rows(dst, ld, w, row_begin, row_end);
	else
		for (uint32_t i = 0; i < w->n_parts; i++) {
			const aqz_weight_part *part = &w->parts[i];
			const uint64_t begin = row_begin > part->row_begin ? row_begin : part->row_begin;
			const uint64_t end = aqz_min(row_end, part->row_end);

			if (begin < end)
				part_rows(dst + (begin - row_begin) * ld, ld, part, w->cols,
					begin - part->row_begin, end - part->row_begin);
		}
}
