/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and scales of whole rows, given codebooks that are rounded to how they are stored. A row's best
 * scale for its codes is <w, q> / <q, q>, q being the sum of codewords; codes are then searched anew for
 * the rounded scale, so that they make up for the rounding. */
#include <math.h>

#include "codec/encode/metric.h"

/* Groups that are searched at a time. */
#define BATCH 64

/* A thread's memory, before the search's scratch. */
typedef struct row_memory {
	float *x;		 /* [BATCH][d] */
	uint16_t *trial; /* [groups * M] */
	void *scratch;
} row_memory;

static size_t x_bytes(const aqz_matrix *a)
{
	return ((size_t)BATCH * a->n_values * sizeof(float) + 63) / 64 * 64;
}

static size_t trial_bytes(const aqz_matrix *a)
{
	return ((size_t)a->groups * a->scheme.n_codebooks * sizeof(uint16_t) + 63) / 64 * 64;
}

uint64_t aqz_encode_rows_bytes(const aqz_matrix *a)
{
	return x_bytes(a) + trial_bytes(a);
}

/* Searches all codes of a row for one scale. */
static void search_row(const aqz_encoder *e, const row_memory *mem, uint64_t row, float scale,
	unsigned beam, uint16_t *codes)
{
	const aqz_matrix *a = &e->a;
	const unsigned n_codebooks = a->scheme.n_codebooks;

	for (uint64_t group = 0; group < a->groups;) {
		const unsigned c = aqz_class(a, row, group);
		unsigned n = 0;

		for (; n < BATCH && group + n < a->groups && aqz_class(a, row, group + n) == c; n++)
			aqz_gather(mem->x + (size_t)n * a->n_values, a, row, group + n, 1 / scale);
		if (e->rows_pruned && c == 0)
			aqz_prune_nearest(e->prune, codes + group, 1, mem->x, a->n_values, n, mem->scratch);
		else
			aqz_search_beam(&e->search[c], codes + group * n_codebooks, mem->x, a->n_values, n,
				beam, mem->scratch);
		group += n;
	}
}

/* What a row's codes come to. */
typedef struct row_sums {
	double wq, qq; /* <w, q>, <q, q> */
	double loss; /* |w - w_hat|^2 with the scale that was given, as the decoder computes in binary32 */
} row_sums;

static row_sums sum_row(const aqz_encoder *e, uint64_t row, float scale, const uint16_t *codes)
{
	const aqz_matrix *a = &e->a;
	const unsigned n_codebooks = a->scheme.n_codebooks, in_group = a->scheme.in_group;
	const uint64_t first = row * a->scheme.out_group;
	const unsigned n_rows = (unsigned)aqz_min(a->scheme.out_group, a->rows - first);
	const size_t per_book = ((size_t)1 << a->scheme.code_bits) * a->n_values;
	row_sums sums = {0, 0, 0};

	for (uint64_t group = 0; group < a->groups; group++, codes += n_codebooks) {
		const uint64_t col = group * in_group;
		const unsigned n_cols = (unsigned)aqz_min(in_group, a->cols - col);

		for (unsigned o = 0; o < n_rows; o++)
			for (unsigned g = 0; g < n_cols; g++) {
				const size_t k = o * in_group + g;
				const double w = a->w[(first + o) * a->cols + col + g];
				float q = e->codebooks[codes[0] * (size_t)a->n_values + k];
				double error;

				for (unsigned m = 1; m < n_codebooks; m++)
					q += e->codebooks[m * per_book + codes[m] * (size_t)a->n_values + k];
				error = w - (double)(q * scale);
				sums.wq += w * q;
				sums.qq += (double)q * q;
				sums.loss += error * error;
			}
	}
	return sums;
}

/* A scale as it is stored: rounded, but never to infinity. */
float aqz_stored_scale(float scale, aqz_dtype dtype)
{
	const float largest = dtype == AQZ_F16 ? 65504.0f
		: dtype == AQZ_BF16				   ? 0x1.fep127f
										   : 0x1.fffffep127f;
	uint16_t half;

	scale = scale > largest ? largest : scale < -largest ? -largest : scale;
	if (dtype != AQZ_F32) {
		aqz_convert(&half, dtype, &scale, AQZ_F32, 1, NULL);
		aqz_convert(&scale, AQZ_F32, &half, dtype, 1, NULL);
	}
	return scale;
}

/* The best scale for the codes that gave these sums, as it is stored; the old one if that is not near
 * it, where some rows are badly met. */
static float refit(const row_sums *sums, float old, aqz_dtype dtype)
{
	const double best = sums->qq > 0 ? sums->wq / sums->qq : 0;

	return best > old / 4.0 && best < old * 4.0 ? aqz_stored_scale((float)best, dtype) : old;
}

static void encode_row(aqz_encoder *e, uint64_t row, uint16_t *codes, aqz_dtype dtype)
{
	const size_t n_codes = (size_t)e->a.groups * e->a.scheme.n_codebooks;
	uint8_t *memory = aqz_encoder_scratch(e);
	const row_memory mem = {
		.x = (void *)memory,
		.trial = (void *)(memory + x_bytes(&e->a)),
		.scratch = memory + aqz_encode_rows_bytes(&e->a),
	};
	float scale = aqz_stored_scale(e->scales[row], dtype), next;
	row_sums sums;

	memset(codes, 0, n_codes * sizeof *codes);
	e->scales[row] = scale;
	e->loss[row] = e->energy[row];
	if (scale == 0)
		return;
	if (e->effort.scale_beam != 0) {
		search_row(e, &mem, row, scale, e->effort.scale_beam, mem.trial);
		sums = sum_row(e, row, scale, mem.trial);
		scale = refit(&sums, scale, dtype);
	}
	for (unsigned pass = 0; pass <= e->effort.refits; pass++) {
		search_row(e, &mem, row, scale, e->effort.final_beam, mem.trial);
		sums = sum_row(e, row, scale, mem.trial);
		next = refit(&sums, scale, dtype);
		if (pass > 0 && sums.loss >= e->loss[row])
			break;
		e->loss[row] = sums.loss;
		e->scales[row] = scale;
		memcpy(codes, mem.trial, n_codes * sizeof *codes);
		if (next == scale)
			break;
		scale = next;
	}
	/* The last pass may have left a better scale for the codes that were kept. */
	sums = sum_row(e, row, scale, codes);
	if (sums.loss < e->loss[row]) {
		e->loss[row] = sums.loss;
		e->scales[row] = scale;
	}
}

void aqz_encode_rows(aqz_encoder *e, aqz_additive *out, uint64_t begin, uint64_t end)
{
	const size_t n_codes = (size_t)e->a.groups * e->a.scheme.n_codebooks;

#pragma omp parallel for num_threads(e->n_threads) schedule(dynamic)
	for (uint64_t row = begin; row < end; row++)
		encode_row(e, row, e->codes + (row - begin) * n_codes, out->scale_dtype);
	aqz_pack_codes(out, e->codes, begin, end, e->n_threads);
}

void aqz_pack_codes(
	aqz_additive *out, const uint16_t *codes, uint64_t begin, uint64_t end, unsigned n_threads)
{
	const unsigned bits = out->scheme.code_bits;
	const size_t n_codes = (size_t)out->groups * out->scheme.n_codebooks,
				 line_bytes = bits * (AQZ_TILE_ROWS / 8u);

	for (uint64_t block = begin; block < end; block += AQZ_TILE_ROWS) {
		const uint16_t *from = codes + (block - begin) * n_codes;
		const size_t n_rows = aqz_min(AQZ_TILE_ROWS, end - block);
		uint8_t *lines = out->codes + block / AQZ_TILE_ROWS * n_codes * line_bytes;

#pragma omp parallel for num_threads(n_threads) schedule(static)
		for (size_t k = 0; k < n_codes; k++) {
			uint16_t line[AQZ_TILE_ROWS] = {0};

			for (size_t i = 0; i < n_rows; i++)
				line[i] = from[i * n_codes + k];
			aqz_t64_pack(lines + k * line_bytes, line, bits);
		}
	}
}
