/* SPDX-License-Identifier: Apache-2.0 */
/* The Cholesky factor of a damped Hessian. */
#include <lapacke.h>
#include <math.h>

#include "codec/encode/factor.h"

/* A share of each input's own diagonal and of the mean one. */
#define DAMP_OWN 0.01
#define DAMP_MEAN 1e-4

/* The geometric mean: in the arithmetic one, a massive input drowns all others. */
static double typical(const float *hessian, uint64_t n)
{
	double sum = 0;
	uint64_t n_live = 0;

	for (uint64_t i = 0; i < n; i++)
		if (hessian[i * n + i] > 0) {
			sum += log((double)hessian[i * n + i]);
			n_live++;
		}
	return n_live > 0 ? exp(sum / (double)n_live) : 1;
}

aqz_status aqz_cholesky(double *matrix, const float *hessian, uint64_t n, const uint32_t *place, double ridge,
	unsigned n_threads, aqz_error *err)
{
	const double even = ridge * typical(hessian, n);
	double mean = 0;

	for (uint64_t i = 0; i < n; i++)
		mean += hessian[i * n + i];
	mean = mean > 0 ? mean / (double)n : 1;
	/* More damping until the factorization succeeds: H may be singular, or have negative eigenvalues by rounding. */
	for (double damp = 1;; damp *= 10) {
#pragma omp parallel for num_threads(n_threads) schedule(static)
		for (uint64_t i = 0; i < n; i++) {
			const float *row = hessian + (uint64_t)place[i] * n;

			for (uint64_t k = 0; k <= i; k++)
				matrix[i * n + k] = row[place[k]];
			matrix[i * n + i] += even + damp * (DAMP_OWN * row[place[i]] + DAMP_MEAN * mean);
		}
		/* Column-major upper is row-major lower. */
		if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', (lapack_int)n, matrix, (lapack_int)n) == 0)
			return AQZ_OK;
		if (damp > 1e12)
			return aqz_fail(
				err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "hessian", "it has no Cholesky factor");
	}
}
