/* SPDX-License-Identifier: Apache-2.0 */
/* The forward pass of tokens through the blocks. */
#include <math.h>

#include "model/attention.h"
#include "model/rope.h"

/* Loops over tokens are one thread's for so few. */
#define FEW_TOKENS 4

struct aqz_pass {
	const aqz_model *m;
	aqz_budget budget;
	aqz_work work;
	aqz_rope rope;
	size_t max_tokens, q_cols, kv_cols;
	float *h;		  /* [max_tokens][hidden]: inputs and outputs of linears */
	float *q, *k, *v; /* [max_tokens][q_cols], [kv_cols]; q becomes attention's output */
	float *gate, *up; /* [max_tokens][intermediate]; gate becomes down's input */
	uint64_t n_bytes; /* of these, which are one allocation */
};

aqz_status aqz_pass_open(aqz_pass **out, const aqz_model *m, size_t max_tokens, unsigned n_threads,
	uint64_t memlimit_bytes, aqz_error *err)
{
	const aqz_model_config *c = &m->config;
	aqz_pass *pass = calloc(1, sizeof *pass);
	uint64_t each;
	void *memory;
	aqz_status status = AQZ_OK;

	*out = NULL;
	if (pass == NULL)
		return aqz_fail_nomem(err, sizeof *pass);
	pass->m = m;
	pass->budget.limit_bytes = memlimit_bytes;
	pass->max_tokens = max_tokens;
	pass->q_cols = (size_t)c->n_heads * c->head_dim;
	pass->kv_cols = (size_t)c->n_kv_heads * c->head_dim;
	/* A sum of products of two 32-bit numbers, each of which is some weight's size. */
	each = (c->hidden + pass->q_cols + 2 * pass->kv_cols + 2 * (uint64_t)c->intermediate) *
		sizeof(float);
	if (max_tokens == 0 || max_tokens > INT32_MAX || !aqz_mul(&pass->n_bytes, each, max_tokens)) {
		status = aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"%zu tokens at a time are not possible", max_tokens);
		goto out;
	}
	AQZ_TRY(aqz_work_open(&pass->work, m, n_threads, &pass->budget, err));
	AQZ_TRY(aqz_rope_open(&pass->rope, m, max_tokens, &pass->budget, err));
	AQZ_TRY(aqz_budget_alloc(&pass->budget, &memory, pass->n_bytes, "states of the tokens", err));
	pass->h = memory;
	pass->q = pass->h + max_tokens * c->hidden;
	pass->k = pass->q + max_tokens * pass->q_cols;
	pass->v = pass->k + max_tokens * pass->kv_cols;
	pass->gate = pass->v + max_tokens * pass->kv_cols;
	pass->up = pass->gate + max_tokens * c->intermediate;
out:
	if (status != AQZ_OK)
		aqz_pass_close(pass);
	else
		*out = pass;
	return status;
}

void aqz_pass_close(aqz_pass *pass)
{
	if (pass == NULL)
		return;
	if (pass->h != NULL)
		aqz_budget_free(&pass->budget, pass->h, pass->n_bytes);
	aqz_rope_close(&pass->rope, &pass->budget);
	aqz_work_close(&pass->work);
	free(pass);
}

uint64_t aqz_pass_memory(const aqz_pass *pass)
{
	return pass->budget.used_bytes;
}

const aqz_work *aqz_pass_work(const aqz_pass *pass)
{
	return &pass->work;
}

void aqz_pass_embed(aqz_pass *pass, float *x, const uint32_t *ids, size_t n)
{
	const size_t hidden = pass->m->config.hidden;

#pragma omp parallel for num_threads(pass->work.n_threads) schedule(static) if (n > FEW_TOKENS)
	for (size_t t = 0; t < n; t++)
		aqz_weight_rows(x + t * hidden, hidden, &pass->m->embedding, ids[t], (uint64_t)ids[t] + 1);
}

/* y = norm of x, [n][hidden]. */
static void norm(aqz_pass *pass, float *y, const float *x, const float *weight, size_t n)
{
	const size_t hidden = pass->m->config.hidden;

#pragma omp parallel for num_threads(pass->work.n_threads) schedule(static) if (n > FEW_TOKENS)
	for (size_t t = 0; t < n; t++)
		pass->work.math->rms_norm(
			y + t * hidden, x + t * hidden, weight, hidden, pass->m->config.rms_eps);
}

/* x += h, [n][hidden]. */
static void residual(aqz_pass *pass, float *x, size_t n)
{
	const size_t hidden = pass->m->config.hidden;

#pragma omp parallel for num_threads(pass->work.n_threads) schedule(static) if (n > FEW_TOKENS)
	for (size_t t = 0; t < n; t++)
		pass->work.math->axpy(x + t * hidden, 1, pass->h + t * hidden, hidden);
}

/* Norms of heads, positions, and the way into the cache, for token t of sequence s. */
static void place(aqz_pass *pass, const aqz_block *block, const aqz_batch *batch, uint32_t s, size_t t)
{
	const aqz_model_config *c = &pass->m->config;
	const aqz_math *math = pass->work.math;
	const size_t dim = c->head_dim;
	float *q = pass->q + t * pass->q_cols, *k = pass->k + t * pass->kv_cols,
		  *v = pass->v + t * pass->kv_cols;

	for (uint32_t head = 0; head < c->n_heads && block->q_norm != NULL; head++)
		math->rms_norm(q + head * dim, q + head * dim, block->q_norm, dim, c->rms_eps);
	for (uint32_t head = 0; head < c->n_kv_heads && block->k_norm != NULL; head++)
		math->rms_norm(k + head * dim, k + head * dim, block->k_norm, dim, c->rms_eps);
	aqz_rope_apply(&pass->rope, q, t, c->n_heads);
	aqz_rope_apply(&pass->rope, k, t, c->n_kv_heads);
	if (batch->kv != NULL) {
		const aqz_kv *kv = &batch->kv[s];
		const size_t at = (batch->past != NULL ? batch->past[s] : 0) + t - batch->begin[s];

		for (size_t head = 0; head < c->n_kv_heads; head++) {
			memcpy(kv->k + (head * kv->capacity + at) * dim, k + head * dim, dim * sizeof *k);
			memcpy(kv->v + (head * kv->capacity + at) * dim, v + head * dim, dim * sizeof *v);
		}
	}
}

static aqz_status attention(
	aqz_pass *pass, uint32_t layer, const aqz_batch *batch, aqz_input_fn *input, void *user)
{
	const aqz_model_config *c = &pass->m->config;
	const aqz_block *block = &pass->m->blocks[layer];
	const size_t n = batch->begin[batch->n_sequences];
	const aqz_weight *const w[] = {
		&block->linear[AQZ_LINEAR_Q], &block->linear[AQZ_LINEAR_K], &block->linear[AQZ_LINEAR_V]};
	float *const y[] = {pass->q, pass->k, pass->v};
	const size_t y_ld[] = {pass->q_cols, pass->kv_cols, pass->kv_cols};
	const aqz_attention a = {
		.n_heads = c->n_heads,
		.n_kv_heads = c->n_kv_heads,
		.head_dim = c->head_dim,
		.window = layer >= c->window_from ? c->window : 0,
		.scale = 1 / sqrtf((float)c->head_dim),
		.batch = batch,
		.q = pass->q,
		.q_ld = pass->q_cols,
		.k = pass->k,
		.v = pass->v,
		.kv_ld = pass->kv_cols,
	};
	aqz_status status = AQZ_OK;

	if (input != NULL)
		AQZ_TRY(input(user, layer, AQZ_LINEAR_Q, pass->h, n, c->hidden));
	aqz_linear_forward_many(y, y_ld, w, 3, pass->h, c->hidden, n, &pass->work);
	aqz_rope_set(&pass->rope, batch, pass->work.n_threads);
	for (uint32_t s = 0; s < batch->n_sequences; s++) {
#pragma omp parallel for num_threads(pass->work.n_threads) schedule(static) if (n > FEW_TOKENS)
		for (size_t t = batch->begin[s]; t < batch->begin[s + 1]; t++)
			place(pass, block, batch, s, t);
	}
	aqz_attention_forward(pass->q, pass->q_cols, NULL, &a, &pass->work);
	if (input != NULL)
		AQZ_TRY(input(user, layer, AQZ_LINEAR_O, pass->q, n, pass->q_cols));
	aqz_linear_forward(
		pass->h, c->hidden, &block->linear[AQZ_LINEAR_O], pass->q, pass->q_cols, n, &pass->work);
out:
	return status;
}

static aqz_status feed_forward(
	aqz_pass *pass, uint32_t layer, size_t n, aqz_input_fn *input, void *user)
{
	const aqz_block *block = &pass->m->blocks[layer];
	const size_t hidden = pass->m->config.hidden, inner = pass->m->config.intermediate;
	const aqz_weight *const w[] = {&block->linear[AQZ_LINEAR_GATE], &block->linear[AQZ_LINEAR_UP]};
	float *const y[] = {pass->gate, pass->up};
	const size_t y_ld[] = {inner, inner};
	aqz_status status = AQZ_OK;

	if (input != NULL)
		AQZ_TRY(input(user, layer, AQZ_LINEAR_GATE, pass->h, n, hidden));
	aqz_linear_forward_many(y, y_ld, w, 2, pass->h, hidden, n, &pass->work);
#pragma omp parallel for num_threads(pass->work.n_threads) schedule(static) if (n > FEW_TOKENS)
	for (size_t t = 0; t < n; t++)
		pass->work.math->silu_mul(
			pass->gate + t * inner, pass->gate + t * inner, pass->up + t * inner, inner);
	if (input != NULL)
		AQZ_TRY(input(user, layer, AQZ_LINEAR_DOWN, pass->gate, n, inner));
	aqz_linear_forward(
		pass->h, hidden, &block->linear[AQZ_LINEAR_DOWN], pass->gate, inner, n, &pass->work);
out:
	return status;
}

aqz_status aqz_pass_block(aqz_pass *pass, uint32_t layer, float *x, const aqz_batch *batch,
	aqz_input_fn *input, void *user)
{
	const aqz_block *block = &pass->m->blocks[layer];
	const size_t n = batch->begin[batch->n_sequences];
	aqz_status status;

	norm(pass, pass->h, x, block->attention_norm, n);
	AQZ_TRY(attention(pass, layer, batch, input, user));
	residual(pass, x, n);
	norm(pass, pass->h, x, block->ffn_norm, n);
	AQZ_TRY(feed_forward(pass, layer, n, input, user));
	residual(pass, x, n);
out:
	return status;
}

void aqz_pass_final_norm(aqz_pass *pass, float *y, const float *x, size_t n)
{
	norm(pass, y, x, pass->m->final_norm, n);
}

void aqz_pass_head(aqz_pass *pass, float *logits, const float *normed, size_t n)
{
	const aqz_model_config *c = &pass->m->config;

	aqz_linear_forward(logits, c->vocabulary, &pass->m->head, normed, c->hidden, n, &pass->work);
}
