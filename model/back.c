/* SPDX-License-Identifier: Apache-2.0 */
/* A block backward: it is recomputed from its input, then differentiated from its output to its input. */
#include <math.h>

#include "codec/encode/blas.h"
#include "model/back.h"

/* Logits that are held at a time. */
#define HEAD_VALUES ((uint64_t)8 << 20)
#define MAX_HEAD_ROWS 256

/* ---- Memory */

/* A piece of the one allocation; first only counted, then handed out. */
typedef struct carver {
	uint8_t *memory; /* NULL: count */
	uint64_t at;
	bool fits;
} carver;

static void carve(carver *c, float **p, uint64_t n, uint64_t each)
{
	uint64_t n_bytes;

	if (!aqz_mul(&n_bytes, n, each) || !aqz_mul(&n_bytes, n_bytes, sizeof **p) ||
		!aqz_add(&n_bytes, n_bytes, 63) || !aqz_add(&n_bytes, c->at, n_bytes & ~UINT64_C(63))) {
		c->fits = false;
		return;
	}
	if (c->memory != NULL)
		*p = (float *)(void *)(c->memory + c->at);
	c->at = n_bytes;
}

static void carve_all(
	carver *c, aqz_kept *k, const aqz_model_config *m, uint64_t n, uint64_t head_rows)
{
	const uint64_t q = (uint64_t)m->n_heads * m->head_dim, kv = (uint64_t)m->n_kv_heads * m->head_dim;
	float **hidden[] = {&k->normed, &k->middle, &k->ffn_normed, &k->d_normed};
	float **queries[] = {&k->q, &k->attended, &k->d_attended, &k->dq};
	float **keys[] = {&k->k, &k->v, &k->dk, &k->dv};
	float **inner[] = {&k->gate, &k->up, &k->act};

	for (size_t i = 0; i < 4; i++) {
		carve(c, hidden[i], n, m->hidden);
		carve(c, queries[i], n, q);
		carve(c, keys[i], n, kv);
	}
	for (size_t i = 0; i < 3; i++)
		carve(c, inner[i], n, m->intermediate);
	carve(c, &k->inverse, n, 1);
	carve(c, &k->ffn_inverse, n, 1);
	carve(c, &k->lse, n, m->n_heads);
	if (m->qk_norm) {
		carve(c, &k->q_raw, n, q);
		carve(c, &k->k_raw, n, kv);
		carve(c, &k->q_inverse, n, m->n_heads);
		carve(c, &k->k_inverse, n, m->n_kv_heads);
	}
	carve(c, &k->logits, head_rows, m->vocabulary);
}

aqz_status aqz_back_open(aqz_back **out, const aqz_model *m, size_t max_tokens, unsigned n_threads,
	uint64_t memlimit_bytes, aqz_error *err)
{
	const aqz_model_config *config = &m->config;
	const uint64_t rows = aqz_min(HEAD_VALUES / config->vocabulary + 1, MAX_HEAD_ROWS);
	aqz_back *b = calloc(1, sizeof *b);
	carver c = {.fits = true};
	aqz_status status;

	*out = NULL;
	if (b == NULL)
		return aqz_fail_nomem(err, sizeof *b);
	if (max_tokens == 0 || max_tokens > INT32_MAX)
		AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"%zu tokens at a time are not possible", max_tokens));
	b->m = m;
	b->max_tokens = max_tokens;
	b->head_rows = (size_t)aqz_min(rows, max_tokens);
	b->budget.limit_bytes = memlimit_bytes;
	carve_all(&c, &b->kept, config, max_tokens, b->head_rows);
	if (!c.fits)
		AQZ_TRY(aqz_fail_nomem(err, UINT64_MAX));
	AQZ_TRY(aqz_budget_alloc(&b->budget, &b->memory, c.at, "the backward pass", err));
	b->n_bytes = c.at;
	c = (carver){.memory = b->memory, .fits = true};
	carve_all(&c, &b->kept, config, max_tokens, b->head_rows);
	AQZ_TRY(aqz_rope_open(&b->rope, m, max_tokens, &b->budget, err));
	AQZ_TRY(aqz_work_open(&b->work, m, n_threads, &b->budget, err));
	*out = b;
	b = NULL;
out:
	aqz_back_close(b);
	return status;
}

void aqz_back_close(aqz_back *back)
{
	if (back == NULL)
		return;
	aqz_work_close(&back->work);
	aqz_rope_close(&back->rope, &back->budget);
	aqz_budget_free(&back->budget, back->memory, back->n_bytes);
	free(back);
}

/* ---- One call */

/* What the steps of a block share. */
typedef struct step {
	aqz_back *back;
	const aqz_block *block;
	const aqz_kept *kept;
	uint32_t layer;
	size_t n, hidden, q, kv, inner; /* tokens, and what a row of each kind holds */
	aqz_attention attention;
	aqz_gradient_fn *gradient;
	void *user;
} step;

static aqz_status tell(
	const step *s, aqz_linear_kind kind, const float *x, size_t x_ld, const float *dy, size_t dy_ld)
{
	return s->gradient != NULL ? s->gradient(s->user, s->layer, kind, x, x_ld, dy, dy_ld, s->n)
							   : AQZ_OK;
}

static void add(float *y, const float *x, size_t n, unsigned n_threads)
{
#pragma omp parallel for schedule(static) num_threads(n_threads)
	for (size_t i = 0; i < n; i++)
		y[i] += x[i];
}

static void linear(
	const step *s, float *y, size_t y_ld, aqz_linear_kind kind, const float *x, size_t x_ld)
{
	aqz_linear_forward(y, y_ld, &s->block->linear[kind], x, x_ld, s->n, &s->back->work);
}

/* dx = (or +=, if add) dy W. */
static void linear_back(const step *s, float *dx, size_t dx_ld, bool keep, aqz_linear_kind kind,
	const float *dy, size_t dy_ld)
{
	if (!keep)
		memset(dx, 0, s->n * dx_ld * sizeof *dx);
	aqz_linear_backward(dx, dx_ld, &s->block->linear[kind], dy, dy_ld, s->n, &s->back->work);
}

/* q, k and v as attention takes them. */
static void make_qkv(const step *s)
{
	const aqz_kept *k = s->kept;
	const bool norms = s->back->m->config.qk_norm;
	const aqz_attention *a = &s->attention;
	float *const y[] = {norms ? k->q_raw : k->q, norms ? k->k_raw : k->k, k->v};
	const size_t y_ld[] = {s->q, s->kv, s->kv};
	const aqz_weight *const w[] = {&s->block->linear[AQZ_LINEAR_Q], &s->block->linear[AQZ_LINEAR_K],
		&s->block->linear[AQZ_LINEAR_V]};

	aqz_linear_forward_many(y, y_ld, w, 3, k->normed, s->hidden, s->n, &s->back->work);
	if (norms) {
		aqz_norm_keep(k->q, k->q_inverse, k->q_raw, s->block->q_norm, s->n * a->n_heads,
			a->head_dim, s->back);
		aqz_norm_keep(k->k, k->k_inverse, k->k_raw, s->block->k_norm, s->n * a->n_kv_heads,
			a->head_dim, s->back);
	}
#pragma omp parallel for schedule(static) num_threads(s->back->work.n_threads)
	for (size_t t = 0; t < s->n; t++) {
		aqz_rope_apply(&s->back->rope, k->q + t * s->q, t, a->n_heads);
		aqz_rope_apply(&s->back->rope, k->k + t * s->kv, t, a->n_kv_heads);
	}
}

/* The block forward, up to the input of the last linear. */
static void recompute(const step *s, const float *x)
{
	const aqz_kept *k = s->kept;
	float *const y[] = {k->gate, k->up};
	const size_t y_ld[] = {s->inner, s->inner};
	const aqz_weight *const w[] = {
		&s->block->linear[AQZ_LINEAR_GATE], &s->block->linear[AQZ_LINEAR_UP]};

	aqz_norm_keep(k->normed, k->inverse, x, s->block->attention_norm, s->n, s->hidden, s->back);
	make_qkv(s);
	aqz_attention_forward(k->attended, s->q, k->lse, &s->attention, &s->back->work);
	linear(s, k->middle, s->hidden, AQZ_LINEAR_O, k->attended, s->q);
	add(k->middle, x, s->n * s->hidden, s->back->work.n_threads);
	aqz_norm_keep(
		k->ffn_normed, k->ffn_inverse, k->middle, s->block->ffn_norm, s->n, s->hidden, s->back);
	aqz_linear_forward_many(y, y_ld, w, 2, k->ffn_normed, s->hidden, s->n, &s->back->work);
#pragma omp parallel for schedule(static) num_threads(s->back->work.n_threads)
	for (size_t t = 0; t < s->n; t++)
		s->back->work.math->silu_mul(
			k->act + t * s->inner, k->gate + t * s->inner, k->up + t * s->inner, s->inner);
}

/* gate and up become their gradients. With s = 1 / (1 + exp(-g)): silu(g) = g s, silu'(g) = s (1 + g (1 - s)). */
static void gated_back(float *gate, float *up, const float *d_act, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const float g = gate[i], sigmoid = 1 / (1 + expf(-g));

		gate[i] = d_act[i] * up[i] * (sigmoid * (1 + g * (1 - sigmoid)));
		up[i] = d_act[i] * g * sigmoid;
	}
}

/* dx: from the block's output to the states behind attention. */
static aqz_status network_back(const step *s, float *dx, double *dw)
{
	const aqz_kept *k = s->kept;
	aqz_status status;

	AQZ_TRY(tell(s, AQZ_LINEAR_DOWN, k->act, s->inner, dx, s->hidden));
	linear_back(s, k->act, s->inner, false, AQZ_LINEAR_DOWN, dx, s->hidden);
#pragma omp parallel for schedule(static) num_threads(s->back->work.n_threads)
	for (size_t t = 0; t < s->n; t++)
		gated_back(k->gate + t * s->inner, k->up + t * s->inner, k->act + t * s->inner, s->inner);
	AQZ_TRY(tell(s, AQZ_LINEAR_GATE, k->ffn_normed, s->hidden, k->gate, s->inner));
	AQZ_TRY(tell(s, AQZ_LINEAR_UP, k->ffn_normed, s->hidden, k->up, s->inner));
	linear_back(s, k->d_normed, s->hidden, false, AQZ_LINEAR_GATE, k->gate, s->inner);
	linear_back(s, k->d_normed, s->hidden, true, AQZ_LINEAR_UP, k->up, s->inner);
	aqz_norm_back(dx, true, dw, k->d_normed, k->middle, k->ffn_inverse, s->block->ffn_norm, s->n,
		s->hidden, s->back);
out:
	return status;
}

/* dx: from the states behind attention to the block's input x. */
static aqz_status attention_back(
	const step *s, float *dx, const float *x, const aqz_norm_gradients *norms)
{
	const aqz_kept *k = s->kept;
	const aqz_attention *a = &s->attention;
	const aqz_attention_gradients g = {.out = k->attended,
		.d_out = k->d_attended,
		.lse = k->lse,
		.dq = k->dq,
		.dk = k->dk,
		.dv = k->dv};
	aqz_status status;

	AQZ_TRY(tell(s, AQZ_LINEAR_O, k->attended, s->q, dx, s->hidden));
	linear_back(s, k->d_attended, s->q, false, AQZ_LINEAR_O, dx, s->hidden);
	aqz_attention_backward(&g, a, s->back->work.math, &s->back->work);
#pragma omp parallel for schedule(static) num_threads(s->back->work.n_threads)
	for (size_t t = 0; t < s->n; t++) {
		aqz_rope_apply_back(&s->back->rope, k->dq + t * s->q, t, a->n_heads);
		aqz_rope_apply_back(&s->back->rope, k->dk + t * s->kv, t, a->n_kv_heads);
	}
	if (s->back->m->config.qk_norm) {
		aqz_norm_back(k->dq, false, norms->q_norm, k->dq, k->q_raw, k->q_inverse, s->block->q_norm,
			s->n * a->n_heads, a->head_dim, s->back);
		aqz_norm_back(k->dk, false, norms->k_norm, k->dk, k->k_raw, k->k_inverse, s->block->k_norm,
			s->n * a->n_kv_heads, a->head_dim, s->back);
	}
	AQZ_TRY(tell(s, AQZ_LINEAR_Q, k->normed, s->hidden, k->dq, s->q));
	AQZ_TRY(tell(s, AQZ_LINEAR_K, k->normed, s->hidden, k->dk, s->kv));
	AQZ_TRY(tell(s, AQZ_LINEAR_V, k->normed, s->hidden, k->dv, s->kv));
	linear_back(s, k->d_normed, s->hidden, false, AQZ_LINEAR_Q, k->dq, s->q);
	linear_back(s, k->d_normed, s->hidden, true, AQZ_LINEAR_K, k->dk, s->kv);
	linear_back(s, k->d_normed, s->hidden, true, AQZ_LINEAR_V, k->dv, s->kv);
	aqz_norm_back(dx, true, norms->attention_norm, k->d_normed, x, k->inverse,
		s->block->attention_norm, s->n, s->hidden, s->back);
out:
	return status;
}

aqz_status aqz_back_block(aqz_back *back, uint32_t layer, const float *x, float *dx,
	const aqz_batch *batch, aqz_gradient_fn *gradient, void *user, const aqz_norm_gradients *norms)
{
	static const aqz_norm_gradients none = {NULL, NULL, NULL, NULL};
	const aqz_model_config *c = &back->m->config;
	const size_t n = batch->begin[batch->n_sequences];
	step s = {.back = back,
		.block = &back->m->blocks[layer],
		.kept = &back->kept,
		.layer = layer,
		.n = n,
		.hidden = c->hidden,
		.q = (size_t)c->n_heads * c->head_dim,
		.kv = (size_t)c->n_kv_heads * c->head_dim,
		.inner = c->intermediate,
		.gradient = gradient,
		.user = user};
	aqz_blas blas;
	aqz_status status;

	if (n > back->max_tokens || batch->kv != NULL || batch->past != NULL)
		return AQZ_E_ARGUMENT;
	if (norms == NULL)
		norms = &none;
	s.attention = (aqz_attention){.n_heads = c->n_heads,
		.n_kv_heads = c->n_kv_heads,
		.head_dim = c->head_dim,
		.window = layer >= c->window_from ? c->window : 0,
		.scale = (float)(1 / sqrt((double)c->head_dim)),
		.batch = batch,
		.q = s.kept->q,
		.q_ld = s.q,
		.k = s.kept->k,
		.v = s.kept->v,
		.kv_ld = s.kv};
	blas = aqz_blas_begin();
	aqz_rope_set(&back->rope, batch, back->work.n_threads);
	recompute(&s, x);
	AQZ_TRY(network_back(&s, dx, norms->ffn_norm));
	AQZ_TRY(attention_back(&s, dx, x, norms));
out:
	aqz_blas_end(&blas);
	return status;
}
