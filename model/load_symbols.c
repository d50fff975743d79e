/* SPDX-License-Identifier: Apache-2.0 */
/* A trellis section of an .aqz file as a weight: its symbols, spec 7.3.4, a byte or a nibble each, and the steps
 * that multiply them. Chunks are decoded one at a time, with steps of 1, so that the decoders give the
 * symbols themselves. */
#include "codec/simd.h"
#include "codec/trellis.h"
#include "format/reader.h"
#include "model/kernels_rows.h"
#include "model/load_aqz.h"

/* One symbol in so many may be beyond a byte, each of which takes 8 bytes more; and beyond a nibble, where the time
 * that each takes in products counts more. */
#define ELEMENTS_A_WIDE_ONE 16
#define ELEMENTS_BEYOND_A_NIBBLE 64
#define FIRST_CAPACITY 256

#if defined(_OPENMP) && !defined(__clang__)
#define SUMS _Pragma("omp simd reduction(+ : byte, nibble)")
#define OR _Pragma("omp simd reduction(| : outside)")
#else
#define SUMS
#define OR
#endif

typedef struct loading {
	aqz_loaded_file *file;
	const aqz_section_info *info;
	aqz_trellis_params params;
	aqz_trellis_tables tables; /* of steps 1 */
	uint64_t table_bytes;	   /* of both, charged */
	void *frame, *decoded;	   /* a chunk, stored and as symbols in binary32 */
	uint64_t frame_bytes, decoded_bytes;
	int8_t *data;		  /* [rows][cols] */
	uint64_t n_beyond;	  /* of data, those that are not within -8..7 */
	uint64_t *wide_begin; /* [rows + 1] */
	void *wide;			  /* aqz_wide_symbol [capacity], of which there are n_wide */
	uint64_t n_wide, capacity;
} loading;

static aqz_budget *budget_of(const loading *l)
{
	return &l->file->model->budget;
}

/* The parameter section's bytes, to what decoders need. */
static aqz_status read_params(loading *l, aqz_error *err)
{
	/* The catalog has checked that there is one reference to one section of bytes. */
	const aqz_section_info *p = aqz_reader_section(l->file->reader, l->info->refs[0].first);
	aqz_budget *budget = budget_of(l);
	const uint64_t table_bytes =
		2 * (l->info->rows + l->info->cols) + aqz_trellis_tables_bytes(l->info->rows, l->info->cols);
	void *bytes = NULL;
	aqz_status status;

	/* The codec allocates these itself; the budget is asked for as much first. */
	if (budget->limit_bytes != 0 &&
		(table_bytes > budget->limit_bytes || budget->used_bytes > budget->limit_bytes - table_bytes))
		return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, "memory",
			"decoding the symbols needs %llu bytes of tables", (unsigned long long)table_bytes);
	budget->used_bytes += l->table_bytes = table_bytes;
	AQZ_TRY(aqz_budget_alloc(budget, &bytes, p->decoded_bytes, "parameters", err));
	AQZ_TRY(aqz_loaded_section(bytes, l->file, p->number, p->decoded_bytes, err));
	l->params.rows = l->info->rows;
	l->params.cols = l->info->cols;
	l->params.state_bits = l->info->scheme.code_bits;
	AQZ_TRY(aqz_trellis_params_read(&l->params, bytes, (size_t)p->decoded_bytes, err));
	AQZ_TRY(aqz_trellis_tables_make(&l->tables, &l->params, AQZ_F32, err));
out:
	aqz_budget_free(budget, bytes, p->decoded_bytes);
	return status;
}

/* Steps to the model, and 1 in their places. */
static aqz_status take_steps(loading *l, aqz_symbols *symbols, aqz_error *err)
{
	const uint64_t rows = l->info->rows, cols = l->info->cols;
	void *memory;
	float *steps;
	aqz_status status;

	AQZ_TRY(aqz_model_hold(l->file->model, &memory, (rows + cols) * sizeof *steps, "steps", err));
	steps = memory;
	symbols->row_step = memcpy(steps, l->tables.row_step, rows * sizeof *steps);
	symbols->column_step = memcpy(steps + rows, l->tables.column_step, cols * sizeof *steps);
	for (uint64_t i = 0; i < rows; i++)
		l->tables.row_step[i] = 1;
	for (uint64_t j = 0; j < cols; j++)
		l->tables.column_step[j] = 1;
	l->file->model->memory.codes += (rows + cols) * sizeof *steps;
out:
	return status;
}

static aqz_status grow(loading *l, aqz_error *err)
{
	const uint64_t capacity = l->capacity == 0 ? FIRST_CAPACITY : 2 * l->capacity;
	void *grown;
	aqz_status status;

	/* Bounded by the elements of a matrix in memory. */
	AQZ_TRY(
		aqz_budget_alloc(budget_of(l), &grown, capacity * sizeof(aqz_wide_symbol), "symbols", err));
	if (l->wide != NULL) {
		memcpy(grown, l->wide, l->n_wide * sizeof(aqz_wide_symbol));
		aqz_budget_free(budget_of(l), l->wide, l->capacity * sizeof(aqz_wide_symbol));
	}
	l->wide = grown;
	l->capacity = capacity;
out:
	return status;
}

/* n symbols to bytes, 0 for those beyond; and how many these are, and how many are beyond a nibble. */
static void narrow(int8_t *restrict data, const float *restrict symbols, uint64_t n,
	int *beyond_byte, int *beyond_nibble)
{
	int byte = 0, nibble = 0;

	SUMS for (uint64_t j = 0; j < n; j++)
	{
		const int v = (int)symbols[j], far = v < -127 || v > 127;

		byte += far;
		nibble += v < -8 || v > 7;
		data[j] = (int8_t)(far ? 0 : v);
	}
	*beyond_byte = byte;
	*beyond_nibble = nibble;
}

static aqz_status narrow_row(loading *l, uint64_t row, const float *symbols, aqz_error *err)
{
	const uint64_t cols = l->info->cols;
	int wide, beyond;
	aqz_status status = AQZ_OK;

	narrow(l->data + row * cols, symbols, cols, &wide, &beyond);
	l->n_beyond += (unsigned)(beyond - wide);
	for (uint64_t j = 0; wide > 0 && j < cols; j++) {
		if (symbols[j] >= -127 && symbols[j] <= 127)
			continue;
		if (l->n_wide == l->capacity)
			AQZ_TRY(grow(l, err));
		((aqz_wide_symbol *)l->wide)[l->n_wide++] = (aqz_wide_symbol){(uint32_t)j, symbols[j]};
	}
	l->wide_begin[row + 1] = l->n_wide;
out:
	return status;
}

static bool too_many(const loading *l)
{
	return l->n_wide > l->info->rows * l->info->cols / ELEMENTS_A_WIDE_ONE;
}

static aqz_status read_chunk(loading *l, uint32_t i, aqz_error *err)
{
	const aqz_reader *reader = l->file->reader;
	const aqz_section *s = reader->catalog.sections[l->info->number];
	const aqz_placed_frame *f = &reader->catalog.frames[reader->catalog.chunks[s->first_chunk + i]];
	const uint64_t cols = l->info->cols;
	uint64_t begin, end, n_code_rows;
	aqz_status status;

	aqz_section_chunk_rows(s, i, &begin, &end, &n_code_rows);
	AQZ_TRY(aqz_frame_fetch(l->frame, &reader->io, &reader->catalog, f, err));
	if (f->frame.coding != AQZ_CODING_RANS ||
		!aqz_trellis_decode_choose()(l->decoded, &l->tables,
			(const uint8_t *)l->frame + AQZ_FRAME_HEADER_BYTES, (size_t)f->frame.stored_bytes,
			begin, end, begin, end)) {
		status = aqz_fail(err, AQZ_E_CORRUPT, f->offset + AQZ_FRAME_HEADER_BYTES, NULL,
			"the stream of indices of chunk %u does not decode", i);
		goto out;
	}
	for (uint64_t row = begin; row < end && !too_many(l); row++)
		AQZ_TRY(narrow_row(l, row, (const float *)l->decoded + (row - begin) * cols, err));
out:
	return status;
}

static aqz_status read_chunks(loading *l, aqz_error *err)
{
	const aqz_catalog *catalog = &l->file->reader->catalog;
	const aqz_section *s = catalog->sections[l->info->number];
	uint64_t begin, end, n_code_rows;
	aqz_status status = AQZ_OK;

	aqz_section_chunk_rows(s, 0, &begin, &end, &n_code_rows); /* the first chunk is the largest */
	l->frame_bytes = aqz_section_longest_frame(catalog, s);
	/* The catalog has checked that the elements' bytes times 8 fit. */
	l->decoded_bytes = (end - begin) * l->info->cols * sizeof(float);
	AQZ_TRY(aqz_budget_alloc(budget_of(l), &l->frame, l->frame_bytes, "a stored chunk", err));
	AQZ_TRY(aqz_budget_alloc(budget_of(l), &l->decoded, l->decoded_bytes, "a decoded chunk", err));
	for (uint32_t i = 0; i < l->info->n_chunks && !too_many(l); i++)
		AQZ_TRY(read_chunk(l, i, err));
out:
	return status;
}

/* 32 symbols to nibbles, 0 for those beyond them. True if there are some. */
static bool pack(uint8_t dst[restrict 16], const int8_t row[restrict 32])
{
	uint8_t outside = 0, q[32];

	OR for (int k = 0; k < 32; k++)
	{
		const uint8_t v = (uint8_t)(row[k] + 8), far = v > 15;

		outside |= far;
		q[k] = far ? 8 : v;
	}
	AQZ_SIMD
	for (int k = 0; k < 16; k++)
		dst[k] = (uint8_t)(q[k] | q[k + 16] << 4);
	return outside != 0;
}

/* Row i to nibbles and the list of what is beyond them. */
static void pack_row(uint8_t *dst, aqz_wide_symbol *list, uint64_t *n, const loading *l, uint64_t i)
{
	const uint64_t cols = l->info->cols, wide_end = l->wide_begin[i + 1];
	const int8_t *row = l->data + i * cols;
	const aqz_wide_symbol *wide = l->wide;
	uint64_t k = l->wide_begin[i];

	for (uint64_t j = 0; j < cols; j += 32, dst += 16) {
		const uint64_t end = aqz_min(cols, j + 32);
		int8_t last[32] = {0};
		bool some;

		if (end < j + 32)
			memcpy(last, row + j, end - j);
		some = pack(dst, end < j + 32 ? last : row + j) || (k < wide_end && wide[k].col < end);
		for (uint64_t c = j; some && c < end; c++)
			if (k < wide_end && wide[k].col == c)
				list[(*n)++] = wide[k++];
			else if (row[c] < -8 || row[c] > 7)
				list[(*n)++] = (aqz_wide_symbol){(uint32_t)c, (float)row[c]};
	}
}

/* All that was read, to the model: *w is the weight. */
static aqz_status keep(const loading *l, aqz_weight *w, aqz_symbols *symbols, aqz_error *err)
{
	aqz_model *m = l->file->model;
	const uint64_t rows = l->info->rows, cols = l->info->cols;
	const bool nibbles = l->n_beyond + l->n_wide <= rows * cols / ELEMENTS_BEYOND_A_NIBBLE;
	const uint64_t n_wide = l->n_wide + (nibbles ? l->n_beyond : 0);
	const uint64_t row_bytes = aqz_symbols_row_bytes(nibbles ? 4 : 8, cols);
	const uint64_t wide_bytes =
		n_wide == 0 ? 0 : (rows + 1) * sizeof(uint64_t) + n_wide * sizeof(aqz_wide_symbol);
	uint64_t n = 0, *begin = NULL;
	aqz_wide_symbol *wide = NULL;
	uint8_t *data;
	void *memory;
	aqz_status status;

	/* The configuration bounds rows and cols. */
	AQZ_TRY(aqz_model_hold(m, &memory, rows * row_bytes, "symbols", err));
	data = memory;
	if (n_wide > 0) {
		AQZ_TRY(aqz_model_hold(m, &memory, wide_bytes, "symbols", err));
		begin = memory;
		wide = (aqz_wide_symbol *)(begin + rows + 1);
	}
	if (!nibbles) {
		memcpy(data, l->data, rows * cols);
		if (n_wide > 0) {
			memcpy(begin, l->wide_begin, (rows + 1) * sizeof *begin);
			memcpy(wide, l->wide, n_wide * sizeof *wide);
		}
	}
	for (uint64_t i = 0; nibbles && i < rows; i++) {
		pack_row(data + i * row_bytes, wide, &n, l, i);
		if (begin != NULL)
			begin[i + 1] = n;
	}
	symbols->bits = nibbles ? 4 : 8;
	symbols->wide_begin = begin;
	symbols->wide = wide;
	*w = (aqz_weight){.form = AQZ_WEIGHT_SYMBOLS,
		.rows = rows,
		.cols = cols,
		.dtype = l->info->dtype,
		.data = data,
		.symbols = symbols};
	m->memory.codes += rows * row_bytes + wide_bytes;
	m->memory.n_weights += rows * cols;
out:
	return status;
}

static void close_loading(loading *l)
{
	aqz_budget *budget = budget_of(l);

	aqz_trellis_tables_free(&l->tables);
	aqz_trellis_params_free(&l->params);
	budget->used_bytes -= l->table_bytes;
	aqz_budget_free(budget, l->frame, l->frame_bytes);
	aqz_budget_free(budget, l->decoded, l->decoded_bytes);
	aqz_budget_free(budget, l->data, l->info->rows * l->info->cols);
	aqz_budget_free(budget, l->wide_begin, (l->info->rows + 1) * sizeof(uint64_t));
	aqz_budget_free(budget, l->wide, l->capacity * sizeof(aqz_wide_symbol));
}

aqz_status aqz_load_symbols(
	bool *made, aqz_loaded_file *f, aqz_weight *w, const aqz_section_info *s, aqz_error *err)
{
	aqz_model *m = f->model;
	const struct aqz_model_held *held = m->held;
	const aqz_model_memory before = m->memory;
	loading *l = calloc(1, sizeof *l);
	aqz_symbols *symbols;
	void *memory;
	aqz_status status;

	*made = false;
	if (l == NULL)
		return aqz_fail_nomem(err, sizeof *l);
	l->file = f;
	l->info = s;
	AQZ_TRY(read_params(l, err));
	AQZ_TRY(aqz_model_hold(m, &memory, sizeof *symbols, "a weight", err));
	symbols = memory;
	AQZ_TRY(take_steps(l, symbols, err));
	/* The configuration bounds rows and cols. */
	AQZ_TRY(aqz_budget_alloc(budget_of(l), &memory, s->rows * s->cols, "symbols", err));
	l->data = memory;
	AQZ_TRY(
		aqz_budget_alloc(budget_of(l), &memory, (s->rows + 1) * sizeof(uint64_t), "symbols", err));
	l->wide_begin = memory;
	AQZ_TRY(read_chunks(l, err));
	if (too_many(l)) {
		aqz_model_forget(m, held);
		m->memory = before;
		goto out;
	}
	AQZ_TRY(keep(l, w, symbols, err));
	*made = true;
out:
	close_loading(l);
	free(l);
	return status;
}
