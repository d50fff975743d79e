/* SPDX-License-Identifier: Apache-2.0 */
/* X^T X of many tokens: products of PIECE tokens in binary32 for one square of the matrix, added to binary64. A square
 * is a task, and pieces come in their order: threads do not matter. */
#include <cblas.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "model/calibrate.h"

#define TILE 256
/* Few enough that rounding stays near that of the inputs. */
#define PIECE 256

aqz_status aqz_gram_open(aqz_gram *g, size_t n, aqz_calibration *c, aqz_error *err)
{
	void *memory;
	aqz_status status;

	*g = (aqz_gram){.n = n, .tile = n < TILE ? n : TILE};
	g->n_tiles = (n + g->tile - 1) / g->tile;
	g->n_bytes = (uint64_t)g->n_tiles * (g->n_tiles + 1) / 2 * g->tile * g->tile * sizeof *g->sums;
	AQZ_TRY(aqz_calibration_alloc(&memory, c, g->n_bytes, 1, "the sums of a layer's inputs", err));
	g->sums = memory;
out:
	return status;
}

void aqz_gram_close(aqz_gram *g, aqz_calibration *c)
{
	aqz_budget_free(&c->budget, g->sums, g->n_bytes);
	*g = (aqz_gram){.n = 0};
}

void aqz_gram_clear(aqz_gram *g)
{
	memset(g->sums, 0, (size_t)g->n_bytes);
}

uint64_t aqz_gram_scratch(uint64_t n, unsigned n_threads)
{
	const uint64_t squares = (uint64_t)n_threads * TILE * TILE;

	return n * TILE > squares ? n * TILE : squares;
}

/* The square in row i and column j >= i of squares. */
static double *square(const aqz_gram *g, size_t i, size_t j)
{
	return g->sums + (i * g->n_tiles - i * (i - 1) / 2 + j - i) * g->tile * g->tile;
}

static size_t width(const aqz_gram *g, size_t i)
{
	return (size_t)aqz_min(g->tile, g->n - i * g->tile);
}

static void add_square(
	aqz_gram *g, const float *x, size_t ld, size_t n_tokens, size_t i, size_t j, float *product)
{
	double *sums = square(g, i, j);
	const size_t rows = width(g, i), cols = width(g, j);

	for (size_t t = 0; t < n_tokens; t += PIECE) {
		const int n = (int)aqz_min(PIECE, n_tokens - t), tile = (int)g->tile;
		const float *a = x + t * ld + i * g->tile, *b = x + t * ld + j * g->tile;

		if (i == j)
			cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)rows, n, 1, a, (int)ld, 0,
				product, tile);
		else
			cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)cols, n, 1, a,
				(int)ld, b, (int)ld, 0, product, tile);
		for (size_t r = 0; r < rows; r++)
			for (size_t c = i == j ? r : 0; c < cols; c++)
				sums[r * g->tile + c] += (double)product[r * g->tile + c];
	}
}

void aqz_gram_add(
	aqz_gram *g, const float *x, size_t ld, size_t n_tokens, float *scratch, unsigned n_threads)
{
	const size_t n = g->n_tiles;

#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
	for (size_t task = 0; task < n * n; task++) {
#ifdef _OPENMP
		const size_t thread = (size_t)omp_get_thread_num();
#else
		const size_t thread = 0;
#endif
		if (task % n >= task / n)
			add_square(g, x, ld, n_tokens, task / n, task % n, scratch + thread * TILE * TILE);
	}
}

size_t aqz_gram_rows(float *h, const aqz_gram *g, size_t i, uint64_t n_tokens)
{
	const size_t rows = width(g, i);

	for (size_t j = 0; j < g->n_tiles; j++) {
		const double *sums = i <= j ? square(g, i, j) : square(g, j, i);
		const size_t cols = width(g, j);

		for (size_t r = 0; r < rows; r++)
			for (size_t c = 0; c < cols; c++) {
				/* Below the diagonal, the other square or half turned. */
				const bool low = i > j || (i == j && r > c);
				const double sum = low ? sums[c * g->tile + r] : sums[r * g->tile + c];

				h[r * g->n + j * g->tile + c] = (float)(sum / (double)n_tokens);
			}
	}
	return rows;
}
