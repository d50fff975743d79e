/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of a model beside matrix products. Variants for different machines may differ in the last bits (they
 * fuse and add in different orders); each gives the same bits for the same arguments. */
#ifndef AQZ_MODEL_KERNELS_H
#define AQZ_MODEL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "model/kernels_rows.h"

typedef struct aqz_math {
	const char *name;
	const aqz_row_kernels *rows; /* products with stored rows */

	/* Sum over i of w[i] x[i]. */
	float (*dot)(const float *w, const float *x, size_t n);
	float (*dot_bf16)(const uint16_t *w, const float *x, size_t n);
	float (*dot_f16)(const uint16_t *w, const float *x, size_t n);
	/* y[i] += a x[i]. */
	void (*axpy)(float *y, float a, const float *x, size_t n);
	/* y[j] = sum over i of rows[j * ld + i] x[i], n_rows of n. */
	void (*dots)(float *y, const float *x, const float *rows, size_t ld, size_t n_rows, size_t n);
	/* y[i] += sum over j of a[j] rows[j * ld + i]. */
	void (*add_rows)(float *y, const float *a, const float *rows, size_t ld, size_t n_rows, size_t n);
	/* y[i] = a y[i]. */
	void (*scale)(float *y, float a, size_t n);

	/* 16-bit floats to binary32. */
	void (*widen_bf16)(float *dst, const uint16_t *src, size_t n);
	void (*widen_f16)(float *dst, const uint16_t *src, size_t n);
	/* Values to 16-bit floats and back, in place. NaN are quiet and without payload. */
	void (*round_bf16)(float *x, size_t n);
	void (*round_f16)(float *x, size_t n);

	/* y[i] = weight[i] * (x[i] / sqrt(mean of x^2 + eps)); returns that 1 / sqrt. y may be x. */
	float (*rms_norm)(float *y, const float *x, const float *weight, size_t n, float eps);
	/* y[i] = gate[i] / (1 + exp(-gate[i])) * up[i]; y may be gate or up. */
	void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);

	/* The greatest of n > 0 values. */
	float (*max)(const float *x, size_t n);
	/* y[i] = exp(x[i] - shift); returns their sum. y may be x. Values beyond binary32 become 0 or infinity. */
	float (*exp_shift)(float *y, const float *x, float shift, size_t n);
	/* The sum of exp(x[i] - shift), in binary64 across blocks. */
	double (*sum_exp)(const float *x, float shift, size_t n);

	/* Turns the pairs (x[i], x[i + half]) by angle i: (a c - b s, b c + a s). */
	void (*rotate)(float *x, const float *cosine, const float *sine, size_t half);
} aqz_math;

/* Variant i of those that this machine runs, the plainest first, or NULL after the last. */
const aqz_math *aqz_math_get(unsigned i);
/* The last of them. */
const aqz_math *aqz_math_best(void);

/* log of the sum of exp(x[i]), n > 0. */
double aqz_log_sum_exp(const float *x, size_t n);
/* y = softmax of x, n > 0; y may be x. */
void aqz_softmax(float *y, const float *x, size_t n);

#endif
