/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights of any form. Many tokens: tiles of rows are reconstructed into scratch memory of a thread and
 * multiplied by OpenBLAS on one thread each. One token: straight from the stored form. Rows are split in the same
 * places for any number of threads, so the results do not depend on it. Whoever runs a pass sets OpenBLAS to one
 * thread around it (codec/encode/blas.h). */
#ifndef AQZ_MODEL_LINEAR_H
#define AQZ_MODEL_LINEAR_H

#include "model/kernels.h"
#include "model/model.h"

/* Threads and their scratch memory. Not shared between calls at the same time. */
typedef struct aqz_work {
	unsigned n_threads;
	uint64_t scratch_bytes; /* of each thread */
	void *scratch;
	uint64_t shared_bytes;  /* of all threads together */
	void *shared;
	const aqz_math *math;
	aqz_budget *budget;
} aqz_work;

aqz_status aqz_work_open(aqz_work *work, const aqz_model *m, unsigned n_threads, aqz_budget *budget, aqz_error *err);
void aqz_work_close(aqz_work *work);
/* The calling thread's scratch, 64-byte aligned. */
void *aqz_work_scratch(const aqz_work *work);

/* Rows [row_begin, row_end) in binary32, dst rows ld floats apart. Additive rows and symbols are rounded as
 * reconstruction to w->dtype is. Total: any codes and blocks give values. */
void aqz_weight_rows(float *dst, size_t ld, const aqz_weight *w, uint64_t row_begin, uint64_t row_end);

/* y[t][o] = sum over i of W[o][i] x[t][i] + bias[o], for n tokens; rows of y and x are y_ld and x_ld floats apart. x
 * and y do not overlap. Products of up to 8 tokens are made straight from the stored form. */
void aqz_linear_forward(float *y, size_t y_ld, const aqz_weight *w, const float *x, size_t x_ld, size_t n,
	const aqz_work *work);
/* Several matrices of the same input (q, k, v; gate, up): their tables of one token are made once. */
void aqz_linear_forward_many(float *const *y, const size_t *y_ld, const aqz_weight *const *w, unsigned n_weights,
	const float *x, size_t x_ld, size_t n, const aqz_work *work);

/* dx[t][i] += sum over o of dy[t][o] W[o][i]. */
void aqz_linear_backward(float *dx, size_t dx_ld, const aqz_weight *w, const float *dy, size_t dy_ld, size_t n,
	const aqz_work *work);

#endif
