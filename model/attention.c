/* SPDX-License-Identifier: Apache-2.0 */
/* Attention forward. A piece of work is a block of queries of one head, or those of all heads that share keys if their
 * sequence has one token: scores against a block of keys, their exponentials by the greatest score so far, and the sum
 * of values so far, corrected when a greater score comes. */
#include <math.h>

#include <cblas.h>

#include "model/attention.h"

/* Up to so many queries are multiplied without OpenBLAS. */
#define FEW_QUERIES 8
/* Products below which a second thread costs more than it saves. */
#define FEW_PRODUCTS (1 << 17)

/* A piece's memory, inside the thread's scratch. */
typedef struct memory {
	float *scores; /* [QUERIES][KEYS] */
	float *sums;   /* [QUERIES][head_dim]: of exp(score - most) * value */
	float most[AQZ_ATTENTION_QUERIES],
		total[AQZ_ATTENTION_QUERIES]; /* total: sum of the exponentials */
} memory;

/* Queries that see the keys of one head. */
typedef struct piece {
	uint32_t sequence, head; /* the first one */
	size_t token, n;		 /* the first token of the batch; queries */
	size_t position;		 /* of the first */
	bool heads;				 /* they are those of n heads, all of one token; else of n tokens */
	const float *q;
	size_t q_ld;
	aqz_head_keys keys;
} piece;

static size_t n_tokens(const aqz_batch *b, uint32_t sequence)
{
	return b->begin[sequence + 1] - b->begin[sequence];
}

static size_t n_blocks(const aqz_batch *b, uint32_t sequence)
{
	return (size_t)aqz_ceil_div(n_tokens(b, sequence), AQZ_ATTENTION_QUERIES);
}

/* True if a sequence's pieces are those of heads. */
static bool of_heads(const aqz_attention *a, uint32_t sequence)
{
	return n_tokens(a->batch, sequence) == 1 && a->n_heads / a->n_kv_heads <= AQZ_ATTENTION_QUERIES;
}

static size_t n_pieces(const aqz_attention *a, uint32_t sequence)
{
	return of_heads(a, sequence) ? a->n_kv_heads : n_blocks(a->batch, sequence) * a->n_heads;
}

static piece piece_get(const aqz_attention *a, size_t i)
{
	const uint32_t group = a->n_heads / a->n_kv_heads;
	const aqz_batch *b = a->batch;
	piece p = {0};
	size_t block;

	for (size_t here; i >= (here = n_pieces(a, p.sequence)); p.sequence++)
		i -= here;
	p.token = b->begin[p.sequence];
	p.position = aqz_attention_past(a, p.sequence);
	if (of_heads(a, p.sequence)) {
		p.heads = true;
		p.head = (uint32_t)i * group;
		p.n = group;
		p.q_ld = a->head_dim;
	} else {
		block = i % n_blocks(b, p.sequence);
		p.head = (uint32_t)(i / n_blocks(b, p.sequence));
		p.token += block * AQZ_ATTENTION_QUERIES;
		p.position += block * AQZ_ATTENTION_QUERIES;
		p.n = (size_t)aqz_min(b->begin[p.sequence + 1] - p.token, AQZ_ATTENTION_QUERIES);
		p.q_ld = a->q_ld;
	}
	p.q = a->q + p.token * a->q_ld + (size_t)p.head * a->head_dim;
	p.keys = aqz_attention_keys(a, p.sequence, p.head / group);
	return p;
}

/* scores = scale * q k of keys [key, key + n). */
static void multiply(const aqz_attention *a, const piece *p, float *scores, size_t key, size_t n,
	const aqz_math *math)
{
	const float *k = p->keys.k + key * p->keys.ld;

	if (p->n <= FEW_QUERIES) {
		math->rows->f32(scores, AQZ_ATTENTION_KEYS, (const uint8_t *)k, p->keys.ld * sizeof *k, n,
			p->q, p->q_ld, p->n, a->head_dim);
		for (size_t i = 0; i < p->n; i++)
			math->scale(scores + i * AQZ_ATTENTION_KEYS, a->scale, n);
		return;
	}
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->n, (int)n, (int)a->head_dim,
		a->scale, p->q, (int)p->q_ld, k, (int)p->keys.ld, 0, scores, AQZ_ATTENTION_KEYS);
}

/* Turns the scores of query i into exponentials, 0 for keys that it does not see. */
static void soften(const aqz_attention *a, const piece *p, memory *mem, size_t i, size_t key,
	size_t n, const aqz_math *math)
{
	const size_t position = p->position + (p->heads ? 0 : i),
				 first = aqz_attention_first(a, position);
	const size_t begin = first > key ? (size_t)aqz_min(first - key, n) : 0;
	const size_t end = position < key ? 0 : (size_t)aqz_min(position + 1 - key, n);
	float *row = mem->scores + i * AQZ_ATTENTION_KEYS;
	float most, fade;

	if (begin >= end) {
		memset(row, 0, n * sizeof *row);
		return;
	}
	most = math->max(row + begin, end - begin);
	most = most > mem->most[i] ? most : mem->most[i];
	fade = expf(mem->most[i] - most); /* 0 the first time */
	memset(row, 0, begin * sizeof *row);
	memset(row + end, 0, (n - end) * sizeof *row);
	mem->total[i] =
		mem->total[i] * fade + math->exp_shift(row + begin, row + begin, most, end - begin);
	if (fade != 1)
		math->scale(mem->sums + i * a->head_dim, fade, a->head_dim);
	mem->most[i] = most;
}

static void add_values(const aqz_attention *a, const piece *p, const memory *mem, size_t key,
	size_t n, const aqz_math *math)
{
	const float *v = p->keys.v + key * p->keys.ld;

	if (p->n <= FEW_QUERIES) {
		math->rows->add_f32(mem->sums, a->head_dim, mem->scores, AQZ_ATTENTION_KEYS, p->n, v,
			p->keys.ld, n, a->head_dim);
		return;
	}
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p->n, (int)a->head_dim, (int)n, 1,
		mem->scores, AQZ_ATTENTION_KEYS, v, (int)p->keys.ld, 1, mem->sums, (int)a->head_dim);
}

static void attend(float *out, size_t out_ld, float *lse, const aqz_attention *a, const piece *p,
	const aqz_work *work)
{
	const size_t last = p->position + (p->heads ? 0 : p->n - 1);
	const size_t first = aqz_attention_first(a, p->position);
	memory mem = {.scores = aqz_work_scratch(work)};

	mem.sums = mem.scores + AQZ_ATTENTION_QUERIES * AQZ_ATTENTION_KEYS;
	memset(mem.sums, 0, p->n * a->head_dim * sizeof *mem.sums);
	for (size_t i = 0; i < p->n; i++)
		mem.most[i] = -INFINITY;
	for (size_t key = first; key <= last; key += AQZ_ATTENTION_KEYS) {
		const size_t n = (size_t)aqz_min(last + 1 - key, AQZ_ATTENTION_KEYS);

		multiply(a, p, mem.scores, key, n, work->math);
		for (size_t i = 0; i < p->n; i++)
			soften(a, p, &mem, i, key, n, work->math);
		add_values(a, p, &mem, key, n, work->math);
	}
	for (size_t i = 0; i < p->n; i++) {
		const size_t token = p->token + (p->heads ? 0 : i), head = p->head + (p->heads ? i : 0);
		float *row = mem.sums + i * a->head_dim;

		work->math->scale(row, 1 / mem.total[i], a->head_dim);
		memcpy(out + token * out_ld + head * a->head_dim, row, a->head_dim * sizeof *row);
		if (lse != NULL)
			lse[head * a->batch->begin[a->batch->n_sequences] + token] =
				mem.most[i] + logf(mem.total[i]);
	}
}

void aqz_attention_forward(
	float *out, size_t out_ld, float *lse, const aqz_attention *a, const aqz_work *work)
{
	size_t n = 0, products = 0;

	for (uint32_t s = 0; s < a->batch->n_sequences; s++) {
		n += n_pieces(a, s);
		products += n_tokens(a->batch, s) * (aqz_attention_past(a, s) + n_tokens(a->batch, s)) *
			a->n_heads * a->head_dim;
	}
	/* The last blocks, which have the most keys, come first. */
#pragma omp parallel for num_threads(work->n_threads) schedule(dynamic) if (products > FEW_PRODUCTS)
	for (size_t i = 0; i < n; i++) {
		const piece p = piece_get(a, n - 1 - i);

		attend(out, out_ld, lse, a, &p, work);
	}
}
