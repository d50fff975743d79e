/* SPDX-License-Identifier: Apache-2.0 */
/* The Cholesky factor of a damped Hessian, which the encoders' error feedback goes by. */
#ifndef AQZ_CODEC_ENCODE_FACTOR_H
#define AQZ_CODEC_ENCODE_FACTOR_H

#include "base/base.h"

/* Factors H with its rows and columns in the order of place (row i of the factored matrix is row place[i] of H),
 * damped: by ridge times the geometric mean of the diagonal, by a share of its own diagonal and of the mean diagonal,
 * and by more until there is a factor. matrix:
 * [n][n], row-major; its lower triangle becomes L, L L^T = the damped H. ARGUMENT if no damping helps. */
aqz_status aqz_cholesky(double *matrix, const float *hessian, uint64_t n, const uint32_t *place, double ridge,
	unsigned n_threads, aqz_error *err);

#endif
