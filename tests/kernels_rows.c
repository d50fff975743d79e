/* SPDX-License-Identifier: Apache-2.0 */
/* Products with rows as they are stored: within the bound of model/kernels_rows.h, the same bits for every number of
 * rows and vectors; symbols are widened to the bit. */
#include <math.h>
#include <stddef.h>

#include "base/base.h"
#include "base/float.h"
#include "model/kernels.h"
#include "tests/kernel_check.h"

#define I4 1000 /* no type of GGUF's */

static const struct stored {
	const char *name;
	size_t kernel;	  /* its offset; of blocks, that of the first of theirs */
	uint32_t type;	  /* GGUF's, of which 24 are symbols, or I4 */
	size_t halves[2]; /* where a block has finite ones */
} stored[] = {
	{"f32", offsetof(aqz_row_kernels, f32), 0, {0, 0}},
	{"f16", offsetof(aqz_row_kernels, f16), 1, {0, 0}},
	{"bf16", offsetof(aqz_row_kernels, bf16), 30, {0, 0}},
	{"i8", offsetof(aqz_row_kernels, i8), 24, {0, 0}},
	{"i4", offsetof(aqz_row_kernels, i4), I4, {0, 0}},
	{"q4_0", offsetof(aqz_row_kernels, q4_0), 2, {0, 0}},
	{"q4_1", offsetof(aqz_row_kernels, q4_1), 3, {0, 2}},
	{"q5_0", offsetof(aqz_row_kernels, q5_0), 6, {0, 0}},
	{"q5_1", offsetof(aqz_row_kernels, q5_1), 7, {0, 2}},
	{"q8_0", offsetof(aqz_row_kernels, q8_0), 8, {0, 0}},
	{"q4_k", offsetof(aqz_row_kernels, q4_k), 12, {0, 2}},
	{"q6_k", offsetof(aqz_row_kernels, q6_k), 14, {208, 208}},
};
enum { N_STORED = sizeof stored / sizeof *stored };

static const aqz_math *variant; /* that is looked at */

static aqz_rows_fn *kernel_of(const struct stored *s)
{
	aqz_rows_fn *rows;

	memcpy(&rows, (const uint8_t *)variant->rows + s->kernel, sizeof rows);
	return rows;
}

static float small_float(noise *r)
{
	float v;

	fill_floats(&v, 1, VALUES_RANDOM, r);
	return v;
}

static size_t stored_bytes(const struct stored *s, size_t n)
{
	const aqz_gguf_type *type = aqz_gguf_type_find(s->type);

	return s->type == I4 ? (n + 31) / 32 * 16 : n / type->n_values * type->n_bytes;
}

/* Values of a block. */
static size_t stored_step(const struct stored *s)
{
	return s->type == I4 ? 1 : aqz_gguf_type_find(s->type)->n_values;
}

static float nibble(const uint8_t *row, size_t i)
{
	return (float)((row[i / 32 * 16 + i % 16] >> (i % 32 < 16 ? 0 : 4) & 15) - 8);
}

/* Fills a row of n values, and what they are. */
static void fill_stored(uint8_t *data, float *wide, const struct stored *s, size_t n, noise *r)
{
	const aqz_gguf_type *type = aqz_gguf_type_find(s->type);
	const size_t n_blocks = n / stored_step(s);

	noise_fill(r, data, stored_bytes(s, n));
	for (size_t i = 0; i < n_blocks; i++) {
		uint8_t *block = s->type == I4 ? NULL : data + i * type->n_bytes;
		const float v = small_float(r);

		if (s->type == I4)
			wide[i] = nibble(data, i);
		else if (s->type == 0)
			memcpy(block, &v, 4);
		else if (s->type == 30)
			aqz_put16(block, aqz_f32_to_bf16(v));
		else if (s->type == 24)
			wide[i] = (float)(int8_t)*block;
		else
			for (int k = 0; k < 2; k++) /* some subnormal */
				aqz_put16(block + s->halves[k],
					aqz_f32_to_f16(small_float(r) * (i % 5 == 0 ? 0x1p-17f : 1)));
	}
	if (s->type != 24 && s->type != I4)
		type->widen(wide, data, n_blocks);
}

/* Blocks are widened to the bit. */
static void check_widen(
	const struct stored *s, const uint8_t *row, const float *due, size_t n, place where)
{
	const aqz_block_kernels *blocks = aqz_rows_of_blocks(variant->rows, aqz_gguf_type_find(s->type));
	area in = area_input(row, stored_bytes(s, n), 1, where),
		 out = area_alloc(n * sizeof *due, sizeof *due, where);

	KERNEL_CHECK(blocks != NULL && blocks->rows == kernel_of(s), "it is not found by its type");
	if (blocks != NULL)
		blocks->widen(out.data, in.data, n);
	kernel_same_bytes(out.data, due, n * sizeof *due);
	kernel_whole(&out);
	area_free(&in), area_free(&out);
}

static void check_rows(
	const struct stored *s, size_t n_rows, size_t n_x, size_t n, place where, noise *r)
{
	const size_t row_bytes = stored_bytes(s, n), y_ld = n_rows + 1, x_ld = n + 3;
	const size_t n_y = (n_x - 1) * y_ld + n_rows, n_all = (n_x - 1) * x_ld + n;
	float *wide = sure_alloc(n_rows * n * sizeof *wide), *x = sure_alloc(n_all * sizeof *x);
	uint8_t *data = sure_alloc(n_rows * row_bytes);
	area rows, in, out = area_alloc(n_y * sizeof(float), sizeof(float), where);
	aqz_rows_fn *kernel = kernel_of(s);
	float *y = out.data, alone;
	uint32_t gap;

	for (size_t i = 0; i < n_rows; i++)
		fill_stored(data + i * row_bytes, wide + i * n, s, n, r);
	fill_floats(x, n_all, VALUES_RANDOM, r);
	rows = area_input(data, n_rows * row_bytes, 1, where);
	in = area_input(x, n_all * sizeof *x, sizeof *x, where);
	kernel_now(s->name, variant->name);
	if (stored_step(s) > 1)
		check_widen(s, data, wide, n, where);
	kernel(y, y_ld, rows.data, row_bytes, n_rows, in.data, x_ld, n_x, n);
	for (size_t t = 0; t < n_x; t++)
		for (size_t i = 0; i < n_rows; i++) {
			double sum = 0, size = 0;

			for (size_t j = 0; j < n; j++) {
				const double term = (double)wide[i * n + j] * (double)x[t * x_ld + j];

				sum += term;
				size += fabs(term);
			}
			KERNEL_CHECK(fabs((double)y[t * y_ld + i] - sum) <= size * ((double)n / 4 + 8) * 0x1p-24,
				"%zu values: %.9g, not %.9g", n, (double)y[t * y_ld + i], sum);
			kernel(&alone, 1, (uint8_t *)rows.data + i * row_bytes, row_bytes, 1,
				(float *)in.data + t * x_ld, x_ld, 1, n);
			kernel_same_bytes(&alone, y + t * y_ld + i, sizeof alone);
			kernel_digest(&alone, sizeof alone);
		}
	for (size_t t = 0; t + 1 < n_x; t++) {
		memcpy(&gap, y + t * y_ld + n_rows, sizeof gap);
		KERNEL_CHECK(gap == UINT32_MAX, "it wrote between the outputs");
	}
	kernel_whole(&out);
	area_free(&rows), area_free(&in), area_free(&out);
	free(wide);
	free(x);
	free(data);
}

static void check_symbols(size_t n, place where, noise *r)
{
	uint8_t plain[96];
	float steps[70], due[70];
	const float row = small_float(r);
	area in;

	SURE(n <= 70);
	noise_fill(r, plain, sizeof plain);
	fill_floats(steps, n, VALUES_RANDOM, r);
	in = area_input(steps, n * sizeof *steps, sizeof *steps, where);
	for (int nibbles = 0; nibbles < 2; nibbles++) {
		area symbols = area_input(plain, nibbles ? (n + 31) / 32 * 16 : n, 1, where);
		area out = area_alloc(n * sizeof *due, sizeof *due, where);

		for (size_t i = 0; i < n; i++) {
			const volatile float step = steps[i] * row;

			due[i] = (nibbles ? nibble(plain, i) : (float)(int8_t)plain[i]) * step;
		}
		kernel_now(nibbles ? "widen_i4" : "widen_i8", variant->name);
		(nibbles ? variant->rows->widen_i4 : variant->rows->widen_i8)(
			out.data, symbols.data, in.data, row, n);
		kernel_same_floats(out.data, due, n);
		kernel_whole(&out);
		kernel_digest_floats(due, n);
		area_free(&symbols), area_free(&out);
	}
	area_free(&in);
}

/* Sums of rows of binary32 for several vectors. */
static void check_sums(size_t n, size_t n_x, place where, noise *r)
{
	const size_t n_rows = n % 6, ld = n + n % 3, a_ld = n_rows + 1, y_ld = n + 1,
				 n_y = (n_x - 1) * y_ld + n;
	const size_t n_all = n_rows == 0 ? 0 : (n_rows - 1) * ld + n, n_a = (n_x - 1) * a_ld + n_rows;
	float *rows = sure_alloc(n_all * sizeof *rows), *a = sure_alloc(n_a * sizeof *a);
	float *start = sure_alloc(n_y * sizeof *start), *y;
	area rows_in, a_in, out = area_alloc(n_y * sizeof *start, sizeof *start, where);

	fill_floats(rows, n_all, VALUES_RANDOM, r);
	fill_floats(a, n_a, VALUES_RANDOM, r);
	fill_floats(start, n_y, VALUES_RANDOM, r);
	rows_in = area_input(rows, n_all * sizeof *rows, sizeof *rows, where);
	a_in = area_input(a, n_a * sizeof *a, sizeof *a, where);
	y = memcpy(out.data, start, n_y * sizeof *start);
	kernel_now("add_f32", variant->name);
	variant->rows->add_f32(y, y_ld, a_in.data, a_ld, n_x, rows_in.data, ld, n_rows, n);
	for (size_t t = 0; t < n_x; t++) {
		for (size_t i = 0; i < n; i++) {
			double sum = (double)start[t * y_ld + i];

			for (size_t j = 0; j < n_rows; j++)
				sum += (double)a[t * a_ld + j] * (double)rows[j * ld + i];
			KERNEL_CHECK(fabs((double)y[t * y_ld + i] - sum) <= 5 * 7 * 4 * 0x1p-24,
				"%.9g, not %.9g", (double)y[t * y_ld + i], sum);
		}
		if (t + 1 < n_x)
			kernel_same_floats(y + t * y_ld + n, start + t * y_ld + n, 1);
	}
	kernel_whole(&out);
	kernel_digest_floats(y, n_y);
	area_free(&rows_in), area_free(&a_in), area_free(&out);
	free(rows);
	free(a);
	free(start);
}

static void check(noise *r)
{
	for (unsigned v = 0; (variant = aqz_math_get(v)) != NULL; v++) {
		noise same = *r;

		for (size_t k = 0; k < N_STORED; k++) {
			const size_t step = stored_step(&stored[k]);

			/* Elements: all tails. */
			for (size_t n = step; n <= (step == 1 ? 70 : 3 * step); n += step)
				check_rows(&stored[k], 1 + n / step % 9, 1 + n / step % 5, n,
					(place)(n / step % N_PLACES), &same);
			for (size_t n_rows = 1; n_rows < 10; n_rows += n_rows < 5 ? 1 : 4)
				for (size_t n_x = 1; n_x < 10; n_x += n_x < 5 ? 1 : 3)
					check_rows(&stored[k], n_rows, n_x, step == 1 ? 32 + n_x : step,
						(place)((n_rows + n_x) % N_PLACES), &same);
		}
		for (size_t n = 0; n <= 70; n++)
			check_symbols(n, (place)(n % N_PLACES), &same);
		for (size_t n = 1; n < 70; n++)
			for (size_t n_x = 1; n_x < 8; n_x++)
				check_sums(n, n_x, (place)((n + n_x) % N_PLACES), &same);
	}
}

/* ---- Time: 16 rows of 2048, for 1 and 4 vectors */

static void measure(noise *r)
{
	enum { N = 2048, ROWS = 16 };
	static char texts[N_STORED][2][40];
	float *wide = sure_alloc(ROWS * N * sizeof *wide), *x = sure_alloc(4 * N * sizeof *x),
		  y[4 * ROWS];

	fill_floats(x, 4 * N, VALUES_RANDOM, r);
	for (size_t k = 0; k < N_STORED; k++) {
		const size_t row_bytes = stored_bytes(&stored[k], N);
		uint8_t *data = sure_alloc(ROWS * row_bytes);

		for (size_t i = 0; i < ROWS; i++)
			fill_stored(data + i * row_bytes, wide, &stored[k], N, r);
		for (unsigned i = 0; i < 2; i++) {
			const size_t n_x = i == 0 ? 1 : 4;

			snprintf(texts[k][i], sizeof texts[k][i], "%s, %zu vectors", stored[k].name, n_x);
			for (unsigned v = 0; (variant = aqz_math_get(v)) != NULL; v++)
				TIMED(texts[k][i], variant->name, ROWS * N)
			kernel_of (&stored[k])(y, ROWS, data, row_bytes, ROWS, x, N, n_x, N);
		}
		free(data);
	}
	free(wide);
	free(x);
}

const kernel_family family_rows = {"rows", check, measure};
