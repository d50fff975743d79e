/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of model/linear*. */
#ifndef AQZ_MODEL_LINEAR_PARTS_H
#define AQZ_MODEL_LINEAR_PARTS_H

#include "model/linear.h"

/* Matrices of one input at a time. */
#define AQZ_LINEAR_MANY 8
/* Products of so many tokens are made without OpenBLAS. */
#define AQZ_LINEAR_FEW 8

/* Products to be made: the arguments of aqz_linear_forward_many. */
typedef struct aqz_linear_job {
	float *const *y;
	const size_t *y_ld;
	const aqz_weight *const *w;
	unsigned n_weights;
	const float *x;
	size_t x_ld, n;
} aqz_linear_job;

/* For a few tokens, straight from the stored form. */
void aqz_linear_tokens(const aqz_linear_job *job, const aqz_work *work);
/* The memory shared by threads that this needs for a matrix. */
uint64_t aqz_linear_token_bytes(const aqz_weight *w);

#endif
