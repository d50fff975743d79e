/* SPDX-License-Identifier: Apache-2.0 */
/* Row scales to start with, and the vectors that codebooks are trained on. */
#include <inttypes.h>
#include <math.h>

#include "codec/encode/encode.h"

/* Values of x beyond this are cut: squares of 64 of them, and products with codewords, stay finite. */
#define LARGEST 1e15f
/* Rows whose scale is below this count as zero: its reciprocal would overflow. */
#define LEAST_SCALE 0x1p-120f

void aqz_matrix_init(
	aqz_matrix *a, const float *w, uint64_t rows, uint64_t cols, const aqz_scheme *scheme)
{
	const unsigned in_group = scheme->in_group, out_group = scheme->out_group;
	const uint64_t last_cols = cols % in_group != 0 ? cols % in_group : in_group;
	const uint64_t last_rows = rows % out_group != 0 ? rows % out_group : out_group;
	bool inner_group, inner_row;

	*a = (aqz_matrix){
		.w = w,
		.rows = rows,
		.cols = cols,
		.code_rows = aqz_ceil_div(rows, out_group),
		.groups = aqz_ceil_div(cols, in_group),
		.scheme = *scheme,
		.n_values = aqz_codeword(scheme),
	};
	inner_group = cols >= in_group;
	inner_row = rows >= out_group;
	a->has_class[0] = inner_group && inner_row;
	a->has_class[AQZ_EDGE_RIGHT] = last_cols != in_group && inner_row;
	a->has_class[AQZ_EDGE_BOTTOM] = inner_group && last_rows != out_group;
	a->has_class[AQZ_EDGE_RIGHT | AQZ_EDGE_BOTTOM] = last_cols != in_group && last_rows != out_group;
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		for (unsigned k = 0; k < a->n_values; k++) {
			const bool col_in = (c & AQZ_EDGE_RIGHT) == 0 || k % in_group < last_cols;
			const bool row_in = (c & AQZ_EDGE_BOTTOM) == 0 || k / in_group < last_rows;

			a->mask[c][k] = col_in && row_in ? 1.0f : 0.0f;
		}
}

void aqz_gather(float *x, const aqz_matrix *a, uint64_t code_row, uint64_t group, float factor)
{
	const unsigned in_group = a->scheme.in_group, out_group = a->scheme.out_group;
	const uint64_t row = code_row * out_group, col = group * in_group;
	const unsigned n_rows = (unsigned)aqz_min(out_group, a->rows - row);
	const unsigned n_cols = (unsigned)aqz_min(in_group, a->cols - col);

	memset(x, 0, a->n_values * sizeof *x);
	for (unsigned o = 0; o < n_rows; o++)
		for (unsigned g = 0; g < n_cols; g++) {
			const float value = a->w[(row + o) * a->cols + col + g] * factor;

			x[o * in_group + g] = value > LARGEST ? LARGEST : value < -LARGEST ? -LARGEST : value;
		}
}

aqz_status aqz_start_scales(float *scales, double *energy, int *exponent_out, const aqz_matrix *a,
	unsigned n_threads, aqz_error *err)
{
	const unsigned out_group = a->scheme.out_group;
	double largest = 0;
	int exponent, half = 0;

#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (uint64_t i = 0; i < a->code_rows; i++) {
		const uint64_t n = aqz_min(out_group, a->rows - i * out_group) * a->cols;
		const float *w = a->w + i * out_group * a->cols;
		double sum = 0;

		for (uint64_t k = 0; k < n; k++)
			sum += (double)w[k] * w[k];
		energy[i] = sum;
		scales[i] = (float)sqrt(sum / (double)n);
	}
	/* Squares of binary32 do not overflow binary64, so only a weight that is not finite makes such a
	 * sum. */
	for (uint64_t i = 0; i < a->code_rows; i++) {
		if (!isfinite(energy[i]))
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "w",
				"row %" PRIu64 " holds weights that are not finite", i * out_group);
		largest = scales[i] > largest ? scales[i] : largest;
	}
	frexp(largest, &exponent);
	if (exponent < -10 || exponent > 10) {
		/* Half of the exponent for the scales, half for the codebooks: both may be stored as F16. */
		half = exponent / 2 < -10 ? -10 : exponent / 2 > 10 ? 10 : exponent / 2;
		for (uint64_t i = 0; i < a->code_rows; i++)
			scales[i] = ldexpf(scales[i], -half);
	}
	for (uint64_t i = 0; i < a->code_rows; i++)
		scales[i] = scales[i] < LEAST_SCALE ? 0 : scales[i];
	if (exponent_out != NULL)
		*exponent_out = half;
	return AQZ_OK;
}

/* ---- The sample */

/* Its arrays in bytes, in the order of the struct. */
static void sizes_of(uint64_t sizes[6], const aqz_matrix *a, uint64_t n)
{
	const uint64_t n_codebooks = a->scheme.n_codebooks;
	const uint64_t starts = (UINT64_C(1) << a->scheme.code_bits) + 1;

	sizes[0] = sizes[1] = n * a->n_values * sizeof(float);
	sizes[2] = n * sizeof(float);
	sizes[3] = n * n_codebooks * sizeof(uint16_t);
	sizes[4] = n * n_codebooks * sizeof(uint32_t);
	sizes[5] = starts * n_codebooks * sizeof(uint32_t);
}

uint64_t aqz_sample_bytes(const aqz_matrix *a, uint64_t n_sample)
{
	uint64_t sizes[6], sum = 0;

	sizes_of(sizes, a, n_sample);
	for (int i = 0; i < 6; i++)
		sum += sizes[i];
	return sum;
}

aqz_status aqz_sample_create(
	aqz_sample *s, const aqz_matrix *a, uint64_t n_sample, aqz_budget *budget, aqz_error *err)
{
	uint64_t sizes[6];
	void *parts[6] = {NULL};
	aqz_status status = AQZ_OK;

	sizes_of(sizes, a, n_sample);
	for (int i = 0; i < 6; i++)
		AQZ_TRY(aqz_budget_alloc(budget, &parts[i], sizes[i], "the training sample", err));
out:
	*s = (aqz_sample){
		.n = (size_t)n_sample,
		.n_values = a->n_values,
		.n_codebooks = a->scheme.n_codebooks,
		.n_codewords = (size_t)1 << a->scheme.code_bits,
		.x = parts[0],
		.rest = parts[1],
		.weight = parts[2],
		.codes = parts[3],
		.order = parts[4],
		.start = parts[5],
	};
	if (status != AQZ_OK)
		aqz_sample_free(s, a, n_sample, budget);
	return status;
}

void aqz_sample_free(aqz_sample *s, const aqz_matrix *a, uint64_t n_sample, aqz_budget *budget)
{
	uint64_t sizes[6];

	sizes_of(sizes, a, n_sample);
	aqz_budget_free(budget, s->x, sizes[0]);
	aqz_budget_free(budget, s->rest, sizes[1]);
	aqz_budget_free(budget, s->weight, sizes[2]);
	aqz_budget_free(budget, s->codes, sizes[3]);
	aqz_budget_free(budget, s->order, sizes[4]);
	aqz_budget_free(budget, s->start, sizes[5]);
	*s = (aqz_sample){0};
}

/* Where vector i comes from: one group out of each of n equal pieces of the matrix, at random in it, so
 * that no period of the matrix meets that of the sample. */
static uint64_t place_of(size_t i, const aqz_sample *s, uint64_t total, uint64_t seed)
{
	const uint64_t begin = (uint64_t)((unsigned __int128)i * total / s->n);
	const uint64_t end = (uint64_t)((unsigned __int128)(i + 1) * total / s->n);

	return begin + aqz_random_below(end - begin, seed, 1, i);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b != 0) {
		const uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* The b with a * b = 1 mod n; a and n have no common divisor, n < 2^32. */
static uint64_t inverse_mod(uint64_t a, uint64_t n)
{
	int64_t r0 = (int64_t)n, r1 = (int64_t)a, t0 = 0, t1 = 1;

	while (r1 > 1) {
		const int64_t q = r0 / r1, r = r0 - q * r1, t = t0 - q * t1;

		r0 = r1;
		r1 = r;
		t0 = t1;
		t1 = t;
	}
	return n == 1 ? 0 : (uint64_t)(t1 < 0 ? t1 + (int64_t)n : t1);
}

/* Vector k of the n of a class goes to place k * step mod n: so steps of the golden ratio lead from one
 * place to the next, and every prefix is spread evenly over the matrix. */
uint64_t aqz_sample_step(uint64_t n)
{
	uint64_t a = (uint64_t)((double)n * 0.6180339887498949);

	if (n < 2)
		return 0;
	while (a == 0 || gcd(n, a) != 1)
		a++;
	return inverse_mod(a, n);
}

void aqz_sample_use(aqz_sample *s, size_t n)
{
	s->n_active = 0;
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++) {
		const size_t all = s->end[c] - s->begin[c];

		s->active[c] = n >= s->n ? all : (size_t)((unsigned __int128)all * n / s->n);
		s->n_active += s->active[c];
	}
	/* Rounding may have left none of very few. */
	if (s->n_active == 0)
		aqz_sample_use(s, s->n);
}

void aqz_sample_fill(
	aqz_sample *s, const aqz_matrix *a, const float *scales, uint64_t seed, unsigned n_threads)
{
	const uint64_t total = a->code_rows * a->groups;
	size_t counts[AQZ_N_CLASSES] = {0}, end = 0;
	uint64_t steps[AQZ_N_CLASSES], at[AQZ_N_CLASSES] = {0};
	float largest = 0;

	for (size_t i = 0; i < s->n; i++) {
		const uint64_t place = place_of(i, s, total, seed);

		counts[aqz_class(a, place / a->groups, place % a->groups)]++;
	}
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++) {
		s->begin[c] = end;
		s->end[c] = end += counts[c];
		steps[c] = aqz_sample_step(counts[c]);
	}
	aqz_sample_use(s, s->n);
	for (uint64_t i = 0; i < a->code_rows; i++)
		largest = scales[i] > largest ? scales[i] : largest;
	/* order says for a while where each vector goes, so that threads may fill them in any order. */
	for (size_t i = 0; i < s->n; i++) {
		const uint64_t place = place_of(i, s, total, seed);
		const unsigned c = aqz_class(a, place / a->groups, place % a->groups);

		s->order[i] = (uint32_t)(s->begin[c] + at[c]);
		at[c] += steps[c];
		at[c] -= at[c] >= counts[c] ? counts[c] : 0;
	}
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (size_t i = 0; i < s->n; i++) {
		const uint64_t place = place_of(i, s, total, seed), row = place / a->groups;
		const float scale = scales[row];
		const size_t to = s->order[i];

		/* A row of zeros has no scale; its vectors count for nothing. */
		aqz_gather(s->x + to * s->n_values, a, row, place % a->groups, scale > 0 ? 1 / scale : 0);
		s->weight[to] = scale > 0 ? scale / largest * (scale / largest) : 0;
	}
}

void aqz_sample_sort(aqz_sample *s, unsigned m)
{
	uint32_t *start = s->start + m * (s->n_codewords + 1), *order = s->order + m * s->n;
	uint32_t sum = 0;

	memset(start, 0, (s->n_codewords + 1) * sizeof *start);
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		for (size_t i = s->begin[c]; i < s->begin[c] + s->active[c]; i++)
			start[s->codes[i * s->n_codebooks + m] + 1]++;
	for (size_t k = 0; k <= s->n_codewords; k++)
		start[k] = sum += start[k];
	/* start[k] counts up to where k's vectors end, and is then moved back. */
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		for (size_t i = s->begin[c]; i < s->begin[c] + s->active[c]; i++)
			order[start[s->codes[i * s->n_codebooks + m]]++] = (uint32_t)i;
	memmove(start + 1, start, s->n_codewords * sizeof *start);
	start[0] = 0;
}
