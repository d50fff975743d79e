/* SPDX-License-Identifier: Apache-2.0 */
/* The forward and backward pass, a block at a time (Llama, arXiv:2302.13971: RMS norms before attention and a gated
 * SiLU network, rotary positions, grouped-query attention). */
#ifndef AQZ_MODEL_FORWARD_H
#define AQZ_MODEL_FORWARD_H

#include "model/linear.h"

/* Keys and values of one sequence in one layer, for each key/value head [capacity][head_dim]; keys are after RoPE. */
typedef struct aqz_kv {
	float *k, *v; /* [n_kv_heads][capacity][head_dim] */
	size_t capacity;
} aqz_kv;

/* Tokens of several sequences, one sequence after the other. */
typedef struct aqz_batch {
	uint32_t n_sequences;
	const size_t *begin;    /* [n_sequences + 1] in tokens; n_tokens = begin[n_sequences] */
	const size_t *past;     /* [n_sequences] tokens that the cache holds before; NULL = 0 */
	const aqz_kv *kv;       /* [n_sequences] of this layer, written to; NULL = nothing is kept, past is 0 */
} aqz_batch;

/* Told the input of linears: q, k and v have one input (kind Q), gate and up as well (kind GATE). x: [n][ld]. */
typedef aqz_status aqz_input_fn(void *user, uint32_t layer, aqz_linear_kind kind, const float *x, size_t n, size_t ld);

/* Scratch of a pass for up to max_tokens tokens. */
typedef struct aqz_pass aqz_pass;
aqz_status aqz_pass_open(aqz_pass **out, const aqz_model *m, size_t max_tokens, unsigned n_threads,
	uint64_t memlimit_bytes, aqz_error *err);
void aqz_pass_close(aqz_pass *pass);
uint64_t aqz_pass_memory(const aqz_pass *pass);
const aqz_work *aqz_pass_work(const aqz_pass *pass);

/* x[t] = embedding of ids[t]. ids must be below the vocabulary. */
void aqz_pass_embed(aqz_pass *pass, float *x, const uint32_t *ids, size_t n);
/* x [n_tokens][hidden] through one block, in place. input may be NULL; a status other than OK ends the pass. */
aqz_status aqz_pass_block(aqz_pass *pass, uint32_t layer, float *x, const aqz_batch *batch, aqz_input_fn *input,
	void *user);
/* y = final norm of x; y may be x. */
void aqz_pass_final_norm(aqz_pass *pass, float *y, const float *x, size_t n);
/* logits [n][vocabulary] of normed states [n][hidden]. */
void aqz_pass_head(aqz_pass *pass, float *logits, const float *normed, size_t n);

/* What a session runs, and how many tokens a sequence of it can hold (session.c). */
const aqz_model *aqz_session_model(const aqz_session *session);
uint32_t aqz_session_capacity(const aqz_session *session);

/* ---- Backward */

/* Told the input and the gradient of the output of each linear (all seven): dW = dy^T x, db = sum of dy. x: [n][x_ld],
 * dy: [n][dy_ld]. Or NULL. */
typedef aqz_status aqz_gradient_fn(void *user, uint32_t layer, aqz_linear_kind kind, const float *x, size_t x_ld,
	const float *dy, size_t dy_ld, size_t n);

/* Gradients of the norms of one block, added to; members may be NULL. */
typedef struct aqz_norm_gradients {
	double *attention_norm, *ffn_norm; /* [hidden] */
	double *q_norm, *k_norm;           /* [head_dim] */
} aqz_norm_gradients;

typedef struct aqz_back aqz_back;
aqz_status aqz_back_open(aqz_back **out, const aqz_model *m, size_t max_tokens, unsigned n_threads,
	uint64_t memlimit_bytes, aqz_error *err);
void aqz_back_close(aqz_back *back);

/* Recomputes a block from its input x [n_tokens][hidden] (kept as it is) and turns dx from the gradient of the loss by
 * the block's output into that by its input. */
aqz_status aqz_back_block(aqz_back *back, uint32_t layer, const float *x, float *dx, const aqz_batch *batch,
	aqz_gradient_fn *gradient, void *user, const aqz_norm_gradients *norms);

/* From the states x behind the last block: losses (nats, one for each token, NULL = not wanted) of labels, and dx, the
 * gradient of their sum by x. labels[t] AQZ_NO_TOKEN: no loss there. sample: all labels are drawn from the model's own
 * distribution first and written, that of token t by the (t + 1)-th number of splitmix64 from state *seed, which goes
 * on by n numbers (so threads and the cutting into calls do not matter). Else seed may be NULL. final_norm: [hidden],
 * added to, or NULL. head: told some rows at a time as kind AQZ_N_LINEARS of layer n_layers, or NULL. */
aqz_status aqz_back_head(aqz_back *back, const float *x, float *dx, uint32_t *labels, size_t n, bool sample,
	uint64_t *seed, double *losses, double *final_norm, aqz_gradient_fn *head, void *user);

#endif
