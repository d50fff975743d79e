/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights of each form, forward and backward, few tokens and many, against binary64; and attention
 * against its definition. Results are the same bits for any number of threads. */
#include <check.h>
#include <math.h>

#include "base/float.h"
#include "codec/encode/blas.h"
#include "model/attention.h"
#include "tests/matrix.h"

static float random_float(noise *r)
{
	return (float)(int32_t)(noise_next(r) >> 32) / 0x1p31f;
}

static float *randoms(size_t n, noise *r)
{
	float *v = sure_alloc(n * sizeof *v);

	for (size_t i = 0; i < n; i++)
		v[i] = random_float(r);
	return v;
}

/* ---- Weights of each form, with what they are in binary32 */

/* A type of blocks of its own: 4 values in 3 bytes, one exponent for three numbers, the fourth is their sum. */
static void widen_test(float *restrict dst, const uint8_t *restrict blocks, size_t n)
{
	for (size_t i = 0; i < n; i++, blocks += 3, dst += 4) {
		for (int k = 0; k < 3; k++)
			dst[k] = (float)((int)blocks[k] - 128) / 64;
		dst[3] = dst[0] + dst[1] + dst[2];
	}
}

static const aqz_gguf_type test_type = {
	.id = 999, .name = "test", .n_values = 4, .n_bytes = 3, .widen = widen_test};

typedef struct sample_weight {
	aqz_weight w;
	aqz_symbols symbols;
	float *wide; /* [rows][cols] */
	matrix m;
	aqz_weight_part parts[MATRIX_RANGES];
	void *owned[8];
	unsigned n_owned;
} sample_weight;

static void *keep(sample_weight *s, void *p)
{
	SURE(s->n_owned < 8);
	return s->owned[s->n_owned++] = p;
}

static void make_dense(sample_weight *s, aqz_dtype dtype, uint64_t rows, uint64_t cols, noise *r)
{
	const size_t n = (size_t)(rows * cols);
	void *stored;

	*s = (sample_weight){.w = {.form = AQZ_WEIGHT_DENSE, .rows = rows, .cols = cols, .dtype = dtype}};
	s->wide = keep(s, randoms(n, r));
	SURE(posix_memalign(&stored, 64, n * 4) == 0);
	s->w.data = keep(s, stored);
	SURE(aqz_convert(stored, dtype, s->wide, AQZ_F32, n, NULL) == AQZ_OK);
	SURE(aqz_convert(s->wide, AQZ_F32, stored, dtype, n, NULL) == AQZ_OK);
}

static void make_blocks(sample_weight *s, uint64_t rows, uint64_t cols, noise *r)
{
	const size_t n = (size_t)(rows * cols / 4);
	uint8_t *data = sure_alloc(n * 3);

	*s = (sample_weight){
		.w = {.form = AQZ_WEIGHT_BLOCKS, .rows = rows, .cols = cols, .type = &test_type}};
	noise_fill(r, data, n * 3);
	s->w.data = keep(s, data);
	s->wide = keep(s, sure_alloc(n * 4 * sizeof(float)));
	widen_test(s->wide, data, n);
}

/* Blocks of a type of GGUF: noise, but for the halves, which are finite. */
static void make_gguf(sample_weight *s, uint32_t type, uint64_t rows, uint64_t cols, noise *r)
{
	static const struct halves {
		uint32_t type, at[2];
	} halves[] = {{2, {0, 0}}, {3, {0, 2}}, {6, {0, 0}}, {7, {0, 2}}, {8, {0, 0}}, {12, {0, 2}},
		{13, {0, 2}}, {14, {208, 208}}};
	const aqz_gguf_type *t = aqz_gguf_type_find(type);
	const size_t n = (size_t)(rows * cols / t->n_values);
	uint8_t *data = sure_alloc(n * t->n_bytes);

	*s = (sample_weight){.w = {.form = AQZ_WEIGHT_BLOCKS, .rows = rows, .cols = cols, .type = t}};
	noise_fill(r, data, n * t->n_bytes);
	for (size_t i = 0; i < n; i++)
		for (unsigned k = 0; k < sizeof halves / sizeof *halves; k++)
			for (int j = 0; halves[k].type == type && j < 2; j++)
				aqz_put16(
					data + i * t->n_bytes + halves[k].at[j], aqz_f32_to_f16(random_float(r) / 16));
	s->w.data = keep(s, data);
	s->wide = keep(s, sure_alloc(n * t->n_values * sizeof(float)));
	t->widen(s->wide, data, n);
}

static void put_symbol(uint8_t *row, unsigned bits, uint64_t j, int v)
{
	if (bits == 8)
		row[j] = (uint8_t)v;
	else if (j % 32 < 16)
		row[j / 32 * 16 + j % 16] |= (uint8_t)(v + 8);
	else
		row[j / 32 * 16 + j % 16] |= (uint8_t)((v + 8) << 4);
}

/* Symbols and steps of all sizes. wide: a column of thousands, some others beyond what data holds, and some at its
 * edge; else the first rows are constant and all others 0. */
static void make_symbols(sample_weight *s, aqz_dtype dtype, uint64_t rows, uint64_t cols,
	unsigned bits, bool wide, noise *r)
{
	const int least = bits == 8 ? -127 : -8, most = bits == 8 ? 127 : 7;
	const size_t row_bytes = (size_t)aqz_symbols_row_bytes(bits, cols);
	uint8_t *data = sure_alloc((size_t)rows * row_bytes);
	float *row_step = sure_alloc((size_t)rows * sizeof *row_step),
		  *column_step = sure_alloc((size_t)cols * sizeof *column_step);
	aqz_wide_symbol *list = sure_alloc((size_t)(rows * cols) * sizeof *list);
	uint64_t *begin = sure_alloc((size_t)(rows + 1) * sizeof *begin), n = 0;

	*s = (sample_weight){
		.w = {.form = AQZ_WEIGHT_SYMBOLS, .rows = rows, .cols = cols, .dtype = dtype, .data = data}};
	keep(s, data), keep(s, row_step), keep(s, column_step), keep(s, list), keep(s, begin);
	s->wide = keep(s, sure_alloc((size_t)(rows * cols) * sizeof(float)));
	for (uint64_t i = 0; i < rows; i++)
		row_step[i] = exp2f(2 * random_float(r));
	for (uint64_t j = 0; j < cols; j++)
		column_step[j] = exp2f(2 * random_float(r) - (wide && j == 5 ? 12 : 6));
	for (uint64_t i = 0; i < rows; i++) {
		begin[i] = n;
		for (uint64_t j = 0; j < cols; j++) {
			int v = (int)(((float)most + 0.5f) * random_float(r));
			float *due = s->wide + i * cols + j;

			if (wide && (j == 5 || noise_next(r) % 100 == 0))
				v = (int)(random_float(r) * 6000);
			else if (wide && i == 1 && j < 4)
				v = (const int[]){most, least, most + 1, least - 1}[j];
			else if (!wide)
				v = i < 3 ? 5 * ((int)i - 1) : 0;
			if (v < least || v > most)
				list[n++] = (aqz_wide_symbol){(uint32_t)j, (float)v};
			put_symbol(data + i * row_bytes, bits, j, v < least || v > most ? 0 : v);
			*due = (float)v * (column_step[j] * row_step[i]);
			*due = dtype == AQZ_BF16 ? aqz_bf16_to_f32(aqz_f32_to_bf16(*due))
				: dtype == AQZ_F16	 ? aqz_f16_to_f32(aqz_f32_to_f16(*due))
									 : *due;
		}
	}
	begin[rows] = n;
	s->symbols = (aqz_symbols){bits, row_step, column_step, wide ? begin : NULL, wide ? list : NULL};
	s->w.symbols = &s->symbols;
}

static void make_additive(sample_weight *s, const matrix_options *opt, aqz_dtype dtype, noise *r)
{
	const size_t n = (size_t)(opt->rows * opt->cols);
	void *decoded;

	*s = (sample_weight){
		.w = {.form = AQZ_WEIGHT_ADDITIVE, .rows = opt->rows, .cols = opt->cols, .dtype = dtype}};
	matrix_make(&s->m, opt, r);
	s->w.parts = s->parts;
	s->w.n_parts = opt->n_ranges != 0 ? opt->n_ranges : 1;
	for (uint32_t i = 0; i < s->w.n_parts; i++) {
		const spec_range *range = &s->m.ranges[i];
		const aqz_scheme *scheme = &s->m.view.scheme;

		s->parts[i] = (aqz_weight_part){.row_begin = range->begin * scheme->out_group,
			.row_end = aqz_min(range->end * scheme->out_group, opt->rows),
			.tables = {.scheme = *scheme, .dtype = dtype, .values = range->codebook},
			.lines = s->m.lines +
				range->begin / 64 * s->m.groups * scheme->n_codebooks * scheme->code_bits * 8,
			.scales = s->m.row_scales != NULL ? s->m.row_scales + range->begin : NULL};
	}
	decoded = matrix_expect(&s->m, dtype);
	s->wide = keep(s, sure_alloc(n * sizeof(float)));
	SURE(aqz_convert(s->wide, AQZ_F32, decoded, dtype, n, NULL) == AQZ_OK);
	free(decoded);
}

static void weight_free(sample_weight *s)
{
	for (unsigned i = 0; i < s->n_owned; i++)
		free(s->owned[i]);
	matrix_free(&s->m);
}

#define N_KINDS 23

/* Shapes with tails everywhere; additive: both ways of products, several parts, output groups, rounded or not. */
static void make(sample_weight *s, int kind, noise *r)
{
	static const matrix_options additive[] = {
		{.scheme = "2x8g8", .rows = 300, .cols = 75, .scale_dtype = AQZ_F16},
		{.scheme = "1x9g8", .rows = 130, .cols = 64, .scale_dtype = AQZ_F16},
		{.scheme = "2x5g4o2", .rows = 301, .cols = 41, .n_ranges = 2, .scale_dtype = AQZ_F16},
		{.scheme = "2x6g8", .rows = 200, .cols = 300, .n_ranges = 3},
		{.scheme = "3x7g16", .rows = 150, .cols = 70, .scale_dtype = AQZ_F32},
	};
	static const aqz_dtype dtypes[] = {AQZ_BF16, AQZ_F16, AQZ_F32, AQZ_F16, AQZ_BF16};

	if (kind == 0)
		make_dense(s, AQZ_F32, 133, 77, r);
	else if (kind == 1)
		make_dense(s, AQZ_BF16, 70, 600, r);
	else if (kind == 2)
		make_dense(s, AQZ_F16, 65, 31, r);
	else if (kind == 3)
		make_blocks(s, 97, 68, r);
	else if (kind < 9)
		make_additive(s, &additive[kind - 4], dtypes[kind - 4], r);
	else if (kind < 17)
		make_gguf(s, (const uint32_t[]){2, 3, 6, 7, 8, 12, 13, 14}[kind - 9], 70,
			kind < 14 ? 96 : 512, r);
	else if (kind == 17)
		make_symbols(s, AQZ_BF16, 99, 75, 8, true, r);
	else if (kind == 18)
		make_symbols(s, AQZ_F32, 65, 160, 8, true, r);
	else if (kind == 19)
		make_symbols(s, AQZ_F16, 67, 33, 8, false, r);
	else if (kind == 20)
		make_symbols(s, AQZ_BF16, 99, 75, 4, true, r);
	else if (kind == 21)
		make_symbols(s, AQZ_F32, 65, 160, 4, true, r);
	else
		make_symbols(s, AQZ_F16, 67, 30, 4, false, r);
}

/* A model of nothing but this weight, for which scratch is made. */
static aqz_work work_for(const sample_weight *s, unsigned n_threads, aqz_budget *budget)
{
	aqz_model m = {.config = {.head_dim = 64}, .embedding = s->w, .head = s->w};
	aqz_work work;
	aqz_error err;

	ck_assert_int_eq(aqz_work_open(&work, &m, n_threads, budget, &err), AQZ_OK);
	return work;
}

START_TEST(rows_of_each_form)
{
	noise r = {(uint64_t)_i + 1};
	sample_weight s;

	make(&s, _i, &r);
	for (uint64_t begin = 0; begin < s.w.rows; begin += 1 + noise_next(&r) % 40)
		for (unsigned i = 0; i < 3; i++) {
			const uint64_t end = begin + 1 + noise_next(&r) % (i == 0 ? s.w.rows - begin : 1);
			const size_t cols = (size_t)s.w.cols, ld = cols + i, n = (size_t)(end - begin);
			guarded g = guarded_alloc(((n - 1) * ld + cols) * sizeof(float) + 1);
			float *dst = (float *)(void *)(g.data + 1); /* GUARD is odd */

			memset(g.data, 0xa5, g.n);
			aqz_weight_rows(dst, ld, &s.w, begin, end);
			for (size_t k = 0; k < n; k++) {
				ck_assert_mem_eq(dst + k * ld, s.wide + (begin + k) * cols, cols * sizeof(float));
				if (k + 1 < n && ld > cols)
					ck_assert_uint_eq(aqz_f32_bits(dst[k * ld + cols]), 0xa5a5a5a5);
			}
			ck_assert(guarded_whole(&g));
			guarded_free(&g);
		}
	weight_free(&s);
}
END_TEST

/* What one element of y is, and what its error is in proportion to: additive codes and symbols of a few tokens are not
 * rounded to the dtype, so the rounding of each weight counts. */
static double exact(
	double *size, const sample_weight *s, const float *bias, const float *x, size_t row)
{
	const float *w = s->wide + row * s->w.cols;
	double sum = bias != NULL ? bias[row] : 0;

	*size = fabs(sum);
	for (uint64_t i = 0; i < s->w.cols; i++) {
		sum += (double)w[i] * x[i];
		*size += fabs((double)w[i] * x[i]);
	}
	return sum;
}

START_TEST(forward)
{
	static const size_t counts[] = {1, 3, 8, 9, 70};
	noise r = {(uint64_t)_i + 50};
	sample_weight s;

	make(&s, _i, &r);
	float *bias = randoms((size_t)s.w.rows, &r), *x = randoms(70 * (s.w.cols + 3), &r);
	const size_t x_ld = (size_t)s.w.cols + 3, y_ld = (size_t)s.w.rows + 2, n_y = 70 * y_ld;
	float *y = sure_alloc(n_y * sizeof *y), *first = sure_alloc(n_y * sizeof *y);
	const bool coded = s.w.form == AQZ_WEIGHT_ADDITIVE || s.w.form == AQZ_WEIGHT_SYMBOLS;
	bool touched = false;

	/* From 9 tokens on all forms go the same way. */
	for (unsigned k = 0; k < sizeof counts / sizeof *counts - (_i >= 9); k++)
		for (unsigned n_threads = 1; n_threads <= (_i < 9 ? 3 : 2); n_threads++) {
			aqz_budget budget = {0};
			aqz_work work = work_for(&s, n_threads, &budget);
			const aqz_blas blas = aqz_blas_begin();
			const double unit = !coded || s.w.dtype == AQZ_F32 || counts[k] > 8 ? 0
				: s.w.dtype == AQZ_F16											? 0x1p-11
																				: 0x1p-8;

			memset(y, 0xff, n_y * sizeof *y);
			s.w.bias = k % 2 == 0 ? bias : NULL;
			aqz_linear_forward(y, y_ld, &s.w, x, x_ld, counts[k], &work);
			for (size_t t = 0; t < counts[k] && n_threads == 1; t++)
				for (size_t row = 0; row < s.w.rows; row++) {
					double size, want = exact(&size, &s, s.w.bias, x + t * x_ld, row);

					ck_assert_msg(fabs(y[t * y_ld + row] - want) <=
							size * (unit + ((double)s.w.cols + 20) * 0x1p-24),
						"kind %d, %zu tokens, row %zu: %g, not %g", _i, counts[k], row,
						(double)y[t * y_ld + row], want);
				}
			/* A token's product does not depend on those beside it. */
			for (size_t t = 0; t < counts[k] && counts[k] <= 8 && s.w.form != AQZ_WEIGHT_ADDITIVE;
				 t++) {
				float *one = sure_alloc(s.w.rows * sizeof *one);

				aqz_linear_forward(one, s.w.rows, &s.w, x + t * x_ld, x_ld, 1, &work);
				ck_assert_mem_eq(one, y + t * y_ld, s.w.rows * sizeof *one);
				free(one);
			}
			/* Nothing between rows or behind the last. */
			for (size_t i = s.w.rows; i < n_y; i++)
				touched = touched ||
					((i >= counts[k] * y_ld || i % y_ld >= s.w.rows) &&
						aqz_f32_bits(y[i]) != UINT32_MAX);
			ck_assert(!touched);
			if (n_threads > 1)
				ck_assert_mem_eq(y, first, n_y * sizeof *y);
			memcpy(first, y, n_y * sizeof *y);
			aqz_blas_end(&blas);
			aqz_work_close(&work);
			ck_assert_uint_eq(budget.used_bytes, 0);
		}
	free(bias), free(x), free(y), free(first);
	weight_free(&s);
}
END_TEST

START_TEST(backward)
{
	noise r = {(uint64_t)_i + 90};
	sample_weight s;

	make(&s, _i, &r);
	const size_t n = 67, rows = (size_t)s.w.rows, cols = (size_t)s.w.cols, dx_ld = cols + 1,
				 dy_ld = rows + 5;
	float *dy = randoms(n * dy_ld, &r), *start = randoms(n * dx_ld, &r);
	float *dx = sure_alloc(n * dx_ld * sizeof *dx), *first = sure_alloc(n * dx_ld * sizeof *dx);

	for (unsigned n_threads = 1; n_threads <= 3; n_threads++) {
		aqz_budget budget = {0};
		aqz_work work = work_for(&s, n_threads, &budget);
		const aqz_blas blas = aqz_blas_begin();

		memcpy(dx, start, n * dx_ld * sizeof *dx);
		aqz_linear_backward(dx, dx_ld, &s.w, dy, dy_ld, n, &work);
		for (size_t t = 0; t < n && n_threads == 1; t++)
			for (size_t i = 0; i < cols; i++) {
				double want = start[t * dx_ld + i], size = fabs(want);

				for (size_t o = 0; o < rows; o++) {
					want += (double)dy[t * dy_ld + o] * s.wide[o * cols + i];
					size += fabs((double)dy[t * dy_ld + o] * s.wide[o * cols + i]);
				}
				ck_assert_double_le(
					fabs(dx[t * dx_ld + i] - want), size * ((double)rows + 8) * 0x1p-24);
			}
		if (n_threads > 1)
			ck_assert_mem_eq(dx, first, n * dx_ld * sizeof *dx);
		memcpy(first, dx, n * dx_ld * sizeof *dx);
		aqz_blas_end(&blas);
		aqz_work_close(&work);
	}
	free(dy), free(start), free(dx), free(first);
	weight_free(&s);
}
END_TEST

/* Several matrices of one input, two of them with the same codebooks: as one by one. */
START_TEST(many_matrices)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 300, .cols = 64, .scale_dtype = AQZ_F16};
	noise r = {77};
	sample_weight s, dense;

	make_additive(&s, &opt, AQZ_BF16, &r);
	make_dense(&dense, AQZ_BF16, 90, 64, &r);
	aqz_weight again = s.w;
	aqz_weight_part part = s.parts[0];
	part.row_end = again.rows = 280;
	again.parts = &part;
	const aqz_weight *const w[] = {&s.w, &dense.w, &again};
	const size_t y_ld[] = {300, 90, 280};
	float *y[3], *one = sure_alloc(6 * 300 * sizeof *one), *x = randoms(6 * 64, &r);
	aqz_budget budget = {0};
	aqz_work work = work_for(&s, 2, &budget);
	const aqz_blas blas = aqz_blas_begin();

	for (size_t n = 1; n <= 6; n += 5) {
		for (int i = 0; i < 3; i++)
			y[i] = sure_alloc(n * y_ld[i] * sizeof(float));
		aqz_linear_forward_many(y, y_ld, w, 3, x, 64, n, &work);
		for (int i = 0; i < 3; i++) {
			aqz_linear_forward(one, y_ld[i], w[i], x, 64, n, &work);
			ck_assert_mem_eq(one, y[i], n * y_ld[i] * sizeof(float));
			free(y[i]);
		}
	}
	aqz_blas_end(&blas);
	aqz_work_close(&work);
	free(one), free(x);
	weight_free(&s);
	weight_free(&dense);
}
END_TEST

/* ---- Attention */

typedef struct attention_case {
	uint32_t n_heads, n_kv_heads, head_dim, window;
	size_t past[3], n[3]; /* of each sequence */
	bool cache;
} attention_case;

static const attention_case attention_cases[] = {
	{4, 2, 16, 0, {0, 0, 0}, {5, 70, 1}, false},
	{3, 1, 12, 0, {0, 0, 0}, {300, 2, 0}, false}, /* more than one block of keys */
	{2, 2, 64, 0, {0, 600, 3}, {1, 1, 4}, true},  /* one token each; more than one block of keys */
	{4, 1, 8, 7, {0, 290, 9}, {40, 66, 3}, true},
	{2, 2, 16, 1, {0, 0, 0}, {67, 1, 9}, false}, /* each sees itself */
	{2, 1, 16, 300, {260, 0, 5}, {129, 6, 2}, true},
};

START_TEST(attention)
{
	const attention_case *c = &attention_cases[_i];
	const size_t kv_cols = c->n_kv_heads * c->head_dim, q_cols = c->n_heads * c->head_dim,
				 capacity = 700;
	const size_t begin[] = {0, c->n[0], c->n[0] + c->n[1], c->n[0] + c->n[1] + c->n[2]}, n = begin[3];
	noise r = {(uint64_t)_i + 31};
	float *q = randoms(n * q_cols, &r), *k = randoms(n * kv_cols, &r), *v = randoms(n * kv_cols, &r);
	float *out = sure_alloc(n * q_cols * sizeof *out), *first = sure_alloc(n * q_cols * sizeof *out);
	float *lse = sure_alloc(n * c->n_heads * sizeof *lse);
	aqz_kv kv[3];
	sample_weight s;

	for (int i = 0; i < 3; i++)
		kv[i] = (aqz_kv){randoms(capacity * kv_cols, &r), randoms(capacity * kv_cols, &r), capacity};
	for (size_t i = 0; i < n * q_cols; i++)
		q[i] *= 8; /* so that some keys count much more than others */
	const aqz_batch batch = {3, begin, c->cache ? c->past : NULL, c->cache ? kv : NULL};
	const aqz_attention a = {
		c->n_heads, c->n_kv_heads, c->head_dim, c->window, 0.3f, &batch, q, q_cols, k, v, kv_cols};

	make_dense(&s, AQZ_F32, 1, 1, &r);
	for (unsigned n_threads = 1; n_threads <= 3; n_threads++) {
		aqz_budget budget = {0};
		aqz_work work = work_for(&s, n_threads, &budget);
		const aqz_blas blas = aqz_blas_begin();

		aqz_attention_forward(out, q_cols, lse, &a, &work);
		if (n_threads > 1)
			ck_assert_mem_eq(out, first, n * q_cols * sizeof *out);
		memcpy(first, out, n * q_cols * sizeof *out);
		aqz_attention_forward(out, q_cols, NULL, &a, &work);
		ck_assert_mem_eq(out, first, n * q_cols * sizeof *out);
		aqz_blas_end(&blas);
		aqz_work_close(&work);
	}
	for (uint32_t seq = 0; seq < 3; seq++)
		for (size_t t = begin[seq]; t < begin[seq + 1]; t++)
			for (uint32_t h = 0; h < c->n_heads; h++) {
				const size_t at = (c->cache ? c->past[seq] : 0) + t - begin[seq];
				const aqz_head_keys keys =
					aqz_attention_keys(&a, seq, h / (c->n_heads / c->n_kv_heads));
				double total = 0, sums[64] = {0};

				for (size_t j = c->window != 0 && at + 1 > c->window ? at + 1 - c->window : 0;
					 j <= at; j++) {
					double score = 0;

					for (uint32_t i = 0; i < c->head_dim; i++)
						score +=
							(double)q[t * q_cols + h * c->head_dim + i] * keys.k[j * keys.ld + i];
					score = exp(score * (double)0.3f);
					total += score;
					for (uint32_t i = 0; i < c->head_dim; i++)
						sums[i] += score * keys.v[j * keys.ld + i];
				}
				ck_assert_double_eq_tol(lse[h * n + t], log(total), 4e-6);
				for (uint32_t i = 0; i < c->head_dim; i++)
					ck_assert_double_eq_tol(
						out[t * q_cols + h * c->head_dim + i], sums[i] / total, 1e-5);
			}
	for (int i = 0; i < 3; i++)
		free(kv[i].k), free(kv[i].v);
	free(q), free(k), free(v), free(out), free(first), free(lse);
	weight_free(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("linear");
	TCase *t = tcase_create("forms");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, rows_of_each_form, 0, N_KINDS);
	tcase_add_loop_test(t, forward, 0, N_KINDS);
	tcase_add_loop_test(t, backward, 0, 10);
	tcase_add_test(t, many_matrices);
	tcase_add_loop_test(t, attention, 0, sizeof attention_cases / sizeof *attention_cases);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
