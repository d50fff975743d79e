/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the backward pass: its memory, and the parts that are no matrix products. All sums go the same way for any
 * number of threads. */
#ifndef AQZ_MODEL_BACK_H
#define AQZ_MODEL_BACK_H

#include "model/attention.h"
#include "model/kernels.h"
#include "model/rope.h"

/* What is kept of a block from its recomputation, and the gradients on the way; [n] is max_tokens, Q and KV are n_heads
 * and n_kv_heads times head_dim. Pointers into one piece of memory. */
typedef struct aqz_kept {
	float *normed, *middle, *ffn_normed, *d_normed; /* [n][hidden]; middle: the states behind attention */
	float *inverse, *ffn_inverse;                   /* [n] 1 / root mean square of the norms' inputs */
	float *q_raw, *k_raw;                           /* [n][Q], [n][KV] before their norms; without these, NULL */
	float *q_inverse, *k_inverse;                   /* [n][heads] */
	float *q, *k, *v;                               /* [n][Q], [n][KV]: as attention takes them */
	float *attended, *lse;                          /* [n][Q], [n_heads][n] */
	float *d_attended, *dq, *dk, *dv;
	float *gate, *up, *act;                         /* [n][intermediate]; later their gradients */
	float *logits;                                  /* [head_rows][vocabulary] */
} aqz_kept;

struct aqz_back {
	const aqz_model *m;
	size_t max_tokens, head_rows;
	aqz_budget budget;
	aqz_work work;
	aqz_rope rope;
	void *memory;
	uint64_t n_bytes;
	aqz_kept kept;
};

/* ---- back_norm.c: RMS norms of n vectors of dim values, densely packed (arXiv:1910.07467), y = w x / rms(x) */

/* inverse[t] = 1 / sqrt(mean of squares + eps). y may be x. */
void aqz_norm_keep(float *y, float *inverse, const float *x, const float *w, size_t n, size_t dim,
	const aqz_back *back);
/* dx = the gradient by x of what has the gradient dy by y; added to dx if add. dw [dim]: added to, or NULL. dx may be
 * dy. */
void aqz_norm_back(float *dx, bool add, double *dw, const float *dy, const float *x, const float *inverse,
	const float *w, size_t n, size_t dim, const aqz_back *back);

/* ---- attention_back.c */

/* Gradients of attention, laid out as what they are of; out and lse are what aqz_attention_forward gave. Those of k and
 * v are summed over the heads that share them. */
typedef struct aqz_attention_gradients {
	const float *out, *d_out; /* rows q_ld apart */
	const float *lse;         /* [n_heads][n_tokens] */
	float *dq, *dk, *dv;
} aqz_attention_gradients;

/* a->batch has neither cache nor past. OpenBLAS must be set to one thread. */
void aqz_attention_backward(const aqz_attention_gradients *g, const aqz_attention *a, const aqz_math *math,
	const aqz_work *work);

#endif
