/* SPDX-License-Identifier: Apache-2.0 */
/* RMS norms and their gradients. With r = 1 / sqrt(mean(x^2) + eps) and g = dy w:
 * dx = r g - x r^3 mean(g x), dw = sum over tokens of dy x r. */
#include "model/back.h"

/* Columns of a task of dw. */
#define COLUMNS 16

void aqz_norm_keep(float *y, float *inverse, const float *x, const float *w, size_t n, size_t dim,
	const aqz_back *back)
{
	const float eps = back->m->config.rms_eps;

#pragma omp parallel for schedule(static) num_threads(back->work.n_threads)
	for (size_t t = 0; t < n; t++)
		inverse[t] = back->work.math->rms_norm(y + t * dim, x + t * dim, w, dim, eps);
}

static void weights(double *dw, const float *dy, const float *x, const float *inverse, size_t n,
	size_t dim, unsigned n_threads)
{
	const size_t n_tasks = (dim + COLUMNS - 1) / COLUMNS;

#pragma omp parallel for schedule(static) num_threads(n_threads)
	for (size_t k = 0; k < n_tasks; k++) {
		const size_t first = k * COLUMNS, end = first + COLUMNS < dim ? first + COLUMNS : dim;

		for (size_t t = 0; t < n; t++)
			for (size_t i = first; i < end; i++)
				dw[i] += (double)dy[t * dim + i] * x[t * dim + i] * inverse[t];
	}
}

void aqz_norm_back(float *dx, bool add, double *dw, const float *dy, const float *x,
	const float *inverse, const float *w, size_t n, size_t dim, const aqz_back *back)
{
	if (dw != NULL) /* before dx, which may be dy */
		weights(dw, dy, x, inverse, n, dim, back->work.n_threads);
#pragma omp parallel for schedule(static) num_threads(back->work.n_threads)
	for (size_t t = 0; t < n; t++) {
		const float *g = dy + t * dim, *from = x + t * dim;
		float *to = dx + t * dim;
		const double r = (double)inverse[t];
		double sum = 0, part;

		for (size_t i = 0; i < dim; i++)
			sum += (double)g[i] * w[i] * from[i];
		part = sum / (double)dim * r * r * r;
		for (size_t i = 0; i < dim; i++) {
			const float value = (float)(r * g[i] * w[i] - part * from[i]);

			to[i] = add ? to[i] + value : value;
		}
	}
}
