/* SPDX-License-Identifier: Apache-2.0 */
/* tr(W H W^T) in binary64, by tiles: the trace is linear in H, so each panel of rows of H adds its part and no
 * product of the size of W is held. H is symmetric: of a panel only the columns from its first on are used,
 * those beyond it twice. A product of fixed sizes is one task, and sums of tasks are added in order: threads
 * do not matter. */
#include <cblas.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "interop/plan.h"

#define TASK_ROWS 64
#define PANEL_ROWS 256

static uint64_t blocks_of(const aqz_layer *layer)
{
	return aqz_ceil_div(layer->rows, TASK_ROWS);
}

/* Rows [row, row + n) of W, as doubles, times panel, and with itself once more. */
static double task(const aqz_layer *layer, uint64_t row, uint64_t first, uint64_t panel_rows,
	const double *panel, double *x, double *product)
{
	const uint64_t n_rows = aqz_min(TASK_ROWS, layer->rows - row), n = layer->cols - first;
	double diagonal = 0, beside = 0;

	for (uint64_t r = 0; r < n_rows; r++)
		for (uint64_t c = 0; c < n; c++)
			x[r * n + c] = layer->w[(row + r) * layer->cols + first + c];
	cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n_rows, (int)n, (int)panel_rows, 1,
		x, (int)n, panel, (int)n, 0, product, (int)n);
	for (uint64_t r = 0; r < n_rows; r++) {
		for (uint64_t c = 0; c < panel_rows; c++)
			diagonal += x[r * n + c] * product[r * n + c];
		for (uint64_t c = panel_rows; c < n; c++)
			beside += x[r * n + c] * product[r * n + c];
	}
	return diagonal + 2 * beside;
}

/* More threads have nothing to do. */
static unsigned threads_of(const aqz_layer *layer, unsigned n_threads)
{
	return (unsigned)aqz_min(aqz_threads(n_threads), blocks_of(layer));
}

uint64_t aqz_layer_energy_memory(const aqz_layer *layer, unsigned n_threads)
{
	const uint64_t rows = PANEL_ROWS + threads_of(layer, n_threads) * 2 * TASK_ROWS;

	return layer->hessian == NULL ? 0 : (rows * layer->cols + blocks_of(layer)) * sizeof(double);
}

static aqz_status in_metric(double *energy, const aqz_layer *layer, unsigned n_threads, aqz_error *err)
{
	const uint64_t n_blocks = blocks_of(layer), cols = layer->cols;
	const uint64_t panel_doubles = PANEL_ROWS * cols, own_doubles = 2 * TASK_ROWS * cols;
	const int blas_threads = openblas_get_num_threads();
	const uint64_t n_bytes = aqz_layer_energy_memory(layer, n_threads);
	double *memory = malloc(n_bytes), *parts, *panel = memory;

	if (memory == NULL)
		return aqz_fail_nomem(err, n_bytes);
	parts = memory + panel_doubles + n_threads * own_doubles;
	memset(parts, 0, n_blocks * sizeof *parts);
	openblas_set_num_threads(1);
	for (uint64_t first = 0; first < cols; first += PANEL_ROWS) {
		const uint64_t panel_rows = aqz_min(PANEL_ROWS, cols - first), n = cols - first;

#pragma omp parallel num_threads(n_threads)
		{
#ifdef _OPENMP
			const unsigned thread = (unsigned)omp_get_thread_num();
#else
			const unsigned thread = 0;
#endif
			double *own = memory + panel_doubles + thread * own_doubles;

#pragma omp for schedule(static)
			for (uint64_t r = 0; r < panel_rows; r++)
				for (uint64_t c = 0; c < n; c++)
					panel[r * n + c] = layer->hessian[(first + r) * cols + first + c];
#pragma omp for schedule(dynamic)
			for (uint64_t i = 0; i < n_blocks; i++)
				parts[i] += task(
					layer, i * TASK_ROWS, first, panel_rows, panel, own, own + TASK_ROWS * cols);
		}
	}
	openblas_set_num_threads(blas_threads);
	for (uint64_t i = 0; i < n_blocks; i++)
		*energy += parts[i];
	free(memory);
	return AQZ_OK;
}

aqz_status aqz_layer_energy(double *energy, const aqz_layer *layer, unsigned n_threads, aqz_error *err)
{
	*energy = 0;
	if (layer->rows == 0 || layer->cols == 0 || layer->w == NULL ||
		layer->cols > INT32_MAX / PANEL_ROWS)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "the matrix is empty or too wide");
	if (layer->hessian != NULL)
		return in_metric(energy, layer, threads_of(layer, n_threads), err);
	for (uint64_t r = 0; r < layer->rows; r++) {
		const float *w = layer->w + r * layer->cols;
		double row = 0;

		for (uint64_t c = 0; c < layer->cols; c++)
			row += (double)w[c] * w[c];
		*energy += row;
	}
	return AQZ_OK;
}
