/* SPDX-License-Identifier: Apache-2.0 */
/* Products on codes directly: codewords are added and multiplied by x. */
#include "codec/product_parts.h"

/* Codebooks in binary16 pay if they are so large in binary32 and are read so often. */
#define MAX_HALF_BYTES ((size_t)2 * 1024 * 1024)
#define MIN_HALVED_BYTES ((size_t)512 * 1024)
#define HALF_PAYS 4
#define HALF_STEP ((size_t)16384)
/* Accumulators on a thread's stack. */
#define ACC_FLOATS 8192

/* One row block for columns [begin, end). */
static void direct_block(
	const aqz_product_job *p, const aqz_product_block *b, unsigned begin, unsigned end)
{
	const aqz_scheme *s = &p->tables->scheme;
	const unsigned d = aqz_codeword(s), in_group = s->in_group, out_group = s->out_group;
	const uint64_t whole = p->groups - (aqz_product_ragged(p) ? 1 : 0);
	_Alignas(64) float acc[ACC_FLOATS];
	const float *x = p->x + p->column[begin] * p->x_ld;

	memset(acc, 0, (end - begin) * AQZ_TILE_ROWS * d * sizeof *acc);
	for (uint64_t j = 0; j < whole; j += AQZ_TILE_GROUPS)
		p->kernels->direct(acc, b->lines + j * p->line_bytes, x + j * in_group, p->x_ld,
			end - begin, (unsigned)aqz_min(whole - j, AQZ_TILE_GROUPS), p->tables, p->half);
	if (whole < p->groups)
		p->kernels->direct(acc, b->lines + whole * p->line_bytes, aqz_product_last(p, begin),
			in_group, end - begin, 1, p->tables, p->half);
	for (unsigned t = begin; t < end; t++) {
		const float *of = acc + (t - begin) * AQZ_TILE_ROWS * d;
		float *y = aqz_product_y(p, b, t);

		for (unsigned r = 0; r < b->n_rows; r++) {
			const float *lanes = of + (r / out_group) * d + (r % out_group) * in_group;
			float sum = lanes[0];

			for (unsigned g = 1; g < in_group; g++)
				sum += lanes[g];
			y[r] = sum;
		}
	}
}

size_t aqz_product_half_bytes(const aqz_scheme *s)
{
	const size_t n = aqz_codewords(s) * aqz_codeword(s) * sizeof(uint16_t);

	return n <= MAX_HALF_BYTES ? n : 0;
}

/* The codebooks in binary16, if that is exact and soon pays: rounds of conversion are shared by the threads. */
static const uint16_t *halved(const aqz_product_job *p, unsigned n_threads)
{
	const aqz_scheme *s = &p->tables->scheme;
	const size_t n = aqz_codewords(s) * aqz_codeword(s);
	uint16_t *half = (uint16_t *)(void *)p->turned;
	bool exact = true;

	if (p->kernels->halve == NULL || aqz_product_half_bytes(s) == 0 ||
		n * sizeof(float) < MIN_HALVED_BYTES ||
		p->n_blocks * AQZ_TILE_ROWS * p->groups < HALF_PAYS * aqz_codewords(s))
		return NULL;
	/* Most codebooks that do not fit show it at once. */
	if (!p->kernels->halve(half, p->tables->values, aqz_codeword(s)))
		return NULL;
	(void)n_threads;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static) reduction(&& : exact)
	for (size_t i = 0; i < n; i += HALF_STEP)
		exact = exact &&
			p->kernels->halve(half + i, p->tables->values + i, n - i < HALF_STEP ? n - i : HALF_STEP);
	return exact ? half : NULL;
}

/* Columns that follow each other in the caller's order go together. */
void aqz_product_directly(aqz_product_job *p, unsigned n_threads)
{
	const unsigned fit = ACC_FLOATS / (AQZ_TILE_ROWS * aqz_codeword(&p->tables->scheme));

	p->half = halved(p, n_threads);
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
	for (uint64_t i = 0; i < p->n_blocks; i++) {
		const aqz_product_block b = aqz_product_block_get(p, i);

		for (unsigned t = 0, end; t < p->n_columns; t = end) {
			for (end = t + 1;
				 end < p->n_columns && end - t < fit && p->column[end] == p->column[t] + (end - t);)
				end++;
			direct_block(p, &b, t, end);
		}
		aqz_product_scale_rows(p, &b);
	}
}
