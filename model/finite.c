/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for infinities and NaN in weights: one of them would make every output NaN, and nobody would know why. */
#include <math.h>

#include "base/float.h"
#include "model/kernels.h"
#include "model/load.h"

/* What a thread looks at at a time. */
#define PIECE (1u << 16)

/* An element is not finite if all bits of its exponent are set. The loops have no branch, for vectorisers. */
static bool words_finite(const uint8_t *p, uint64_t n)
{
	uint32_t bad = 0;

	for (uint64_t i = 0; i < n; i++) {
		const uint32_t u = aqz_get32(p + 4 * i);

		bad |= (u & 0x7f800000u) == 0x7f800000u;
	}
	return bad == 0;
}

static bool halves_finite(const uint8_t *p, uint64_t n, uint16_t exponent)
{
	uint16_t bad = 0;

	for (uint64_t i = 0; i < n; i++)
		bad |= (uint16_t)((aqz_get16(p + 2 * i) & exponent) == exponent);
	return bad == 0;
}

static bool elements_finite(const uint8_t *p, uint64_t n, aqz_dtype dtype)
{
	return dtype == AQZ_F32 ? words_finite(p, n)
							: halves_finite(p, n, dtype == AQZ_F16 ? 0x7c00u : 0x7f80u);
}

/* Blocks are widened a few at a time: what counts is the value, not a scale that multiplies zeros. */
static bool blocks_finite(const uint8_t *p, uint64_t n_blocks, const aqz_gguf_type *type)
{
	float values[1024];
	const uint64_t step = sizeof values / sizeof *values / type->n_values;
	const aqz_block_kernels *kernels = aqz_rows_of_blocks(aqz_math_best()->rows, type);

	for (uint64_t i = 0; i < n_blocks; i += step) {
		const uint64_t n = aqz_min(step, n_blocks - i);

		if (kernels != NULL)
			kernels->widen(values, p + i * type->n_bytes, (size_t)(n * type->n_values));
		else
			type->widen(values, p + i * type->n_bytes, (size_t)n);
		if (!words_finite((const uint8_t *)values, n * type->n_values))
			return false;
	}
	return true;
}

static bool data_finite(const aqz_weight *w, unsigned n_threads)
{
	const bool dense = w->form == AQZ_WEIGHT_DENSE;
	const uint64_t unit_bytes = dense ? aqz_dtype_bits(w->dtype) / 8 : w->type->n_bytes;
	const uint64_t n_units = dense ? w->rows * w->cols : w->rows * (w->cols / w->type->n_values);
	const uint64_t piece = dense ? PIECE : PIECE / w->type->n_values;
	const int64_t n_pieces = (int64_t)aqz_ceil_div(n_units, piece);
	bool bad = false;

	(void)n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(|| \
																		   : bad) if (n_pieces > 8)
	for (int64_t i = 0; i < n_pieces; i++) {
		const uint64_t begin = (uint64_t)i * piece, n = aqz_min(piece, n_units - begin);
		const uint8_t *p = w->data + begin * unit_bytes;

		bad = bad || !(dense ? elements_finite(p, n, w->dtype) : blocks_finite(p, n, w->type));
	}
	return !bad;
}

/* What a symbol of row i becomes. */
static bool symbol_finite(const aqz_weight *w, uint64_t i, uint64_t j, float symbol)
{
	const float v = symbol * (w->symbols->column_step[j] * w->symbols->row_step[i]);

	if (w->dtype == AQZ_F16)
		return isfinite(aqz_f16_to_f32(aqz_f32_to_f16(v)));
	return isfinite(w->dtype == AQZ_BF16 ? aqz_bf16_to_f32(aqz_f32_to_bf16(v)) : v);
}

/* All elements, for the few whose steps make very large ones possible. */
static bool rows_finite(const aqz_weight *w)
{
	const aqz_symbols *s = w->symbols;
	const uint64_t row_bytes = aqz_symbols_row_bytes(s->bits, w->cols);

	for (uint64_t i = 0; i < w->rows; i++) {
		const uint8_t *row = w->data + i * row_bytes;

		for (uint64_t j = 0; j < w->cols; j++) {
			const int symbol =
				s->bits == 8 ? (int8_t)row[j] : (row[aqz_i4_byte(j)] >> aqz_i4_bit(j) & 15) - 8;

			if (!symbol_finite(w, i, j, (float)symbol))
				return false;
		}
		for (uint64_t k = s->wide_begin != NULL ? s->wide_begin[i] : 0;
			 s->wide_begin != NULL && k < s->wide_begin[i + 1]; k++)
			if (!symbol_finite(w, i, s->wide[k].col, s->wide[k].value))
				return false;
	}
	return true;
}

/* Symbols are finite, but not what their steps make of them, nor that rounded to the dtype. */
static bool symbols_finite(const aqz_weight *w)
{
	const aqz_symbols *s = w->symbols;
	const double most = w->dtype == AQZ_F16 ? 65504 : 3.3895313892515355e38; /* BF16; F32 has more */
	float row_step = 0, column_step = 0, value = 127;
	uint64_t n_wide = s->wide_begin != NULL ? s->wide_begin[w->rows] : 0;

	if (!words_finite((const uint8_t *)s->row_step, w->rows) ||
		!words_finite((const uint8_t *)s->column_step, w->cols))
		return false;
	for (uint64_t i = 0; i < w->rows; i++)
		row_step = s->row_step[i] > row_step ? s->row_step[i] : row_step;
	for (uint64_t j = 0; j < w->cols; j++)
		column_step = s->column_step[j] > column_step ? s->column_step[j] : column_step;
	for (uint64_t i = 0; i < n_wide; i++)
		value = fabsf(s->wide[i].value) > value ? fabsf(s->wide[i].value) : value;
	/* Steps are positive, so no value is beyond this one. */
	return (double)value * column_step * row_step < 0.99 * most || rows_finite(w);
}

static aqz_status not_finite(aqz_error *err, const char *name, const char *what)
{
	char where[AQZ_WHERE_BYTES];

	aqz_safetensors_where(where, name, strlen(name), "");
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "%s infinities or NaN", what);
}

aqz_status aqz_vector_check_finite(const float *v, uint64_t n, const char *name, aqz_error *err)
{
	if (words_finite((const uint8_t *)v, n))
		return AQZ_OK;
	return not_finite(err, name, "the tensor holds");
}

aqz_status aqz_weight_check_finite(
	const aqz_weight *w, const char *name, unsigned n_threads, aqz_error *err)
{
	if (w->form == AQZ_WEIGHT_SYMBOLS)
		return symbols_finite(w) ? AQZ_OK : not_finite(err, name, "the tensor holds");
	if (w->form != AQZ_WEIGHT_ADDITIVE)
		return data_finite(w, n_threads) ? AQZ_OK : not_finite(err, name, "the tensor holds");
	for (uint32_t i = 0; i < w->n_parts; i++) {
		const aqz_weight_part *part = &w->parts[i];
		const aqz_scheme *s = &part->tables.scheme;
		const uint64_t code_rows = aqz_ceil_div(part->row_end - part->row_begin, s->out_group);

		if (!words_finite((const uint8_t *)part->tables.values, aqz_codewords(s) * aqz_codeword(s)))
			return not_finite(err, name, "its codebooks hold");
		if (!words_finite((const uint8_t *)part->scales, code_rows))
			return not_finite(err, name, "its scales hold");
	}
	return AQZ_OK;
}
