/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient of causal attention (Dao et al., arXiv:2205.14135, algorithm 4): probabilities are made again, a block
 * of queries by keys at a time, from the logarithms of the softmaxes' denominators. With P the probabilities and
 * D = rowsum(dO o O): dV = P^T dO, dS = P o (dO V^T - D), dQ = scale dS K, dK = scale dS^T Q. A task is one sequence
 * and one key/value head with all the heads that share it, so that each value of dK and dV has one writer. */
#include <cblas.h>
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "model/back.h"

#define QUERIES ((size_t)AQZ_ATTENTION_QUERIES)
#define KEYS ((size_t)AQZ_ATTENTION_KEYS)

/* One head of one sequence; rows of q, out and their gradients are q_ld apart, those of k and v kv_ld. */
typedef struct head {
	const aqz_attention *a;
	const aqz_math *math;
	const float *q, *k, *v, *out, *d_out, *lse; /* lse: of the sequence's tokens */
	float *dq, *dk, *dv;						/* dk and dv are added to */
	float *p, *ds;								/* scratch, [QUERIES][KEYS] */
	size_t n;
} head;

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* h->p = the probabilities of queries from i0 for keys from j0, 0 for keys that are not seen. */
static void probabilities(const head *h, size_t i0, size_t n_queries, size_t j0, size_t n_keys)
{
	const aqz_attention *a = h->a;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n_queries, (int)n_keys,
		(int)a->head_dim, a->scale, h->q + i0 * a->q_ld, (int)a->q_ld, h->k + j0 * a->kv_ld,
		(int)a->kv_ld, 0, h->p, (int)KEYS);
	for (size_t i = i0; i < i0 + n_queries; i++) {
		const size_t first = aqz_attention_first(a, i);
		/* Of this block: [begin, end) are seen. */
		const size_t begin = first > j0 ? least(first - j0, n_keys) : 0;
		const size_t end = i + 1 > j0 ? least(i + 1 - j0, n_keys) : 0;
		float *row = h->p + (i - i0) * KEYS;

		for (size_t j = 0; j < begin; j++)
			row[j] = 0;
		for (size_t j = end; j < n_keys; j++)
			row[j] = 0;
		if (begin < end)
			h->math->exp_shift(row + begin, row + begin, h->lse[i], end - begin);
	}
}

/* The block's part of all gradients. delta: D of the queries. */
static void block_back(
	const head *h, const float *delta, size_t i0, size_t n_queries, size_t j0, size_t n_keys)
{
	const aqz_attention *a = h->a;
	const int n = (int)n_queries, m = (int)n_keys, dim = (int)a->head_dim, ld = (int)KEYS;
	const int q_ld = (int)a->q_ld, kv_ld = (int)a->kv_ld;
	const size_t query = i0 * a->q_ld, key = j0 * a->kv_ld;

	probabilities(h, i0, n_queries, j0, n_keys);
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, dim, n, 1, h->p, ld, h->d_out + query,
		q_ld, 1, h->dv + key, kv_ld);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, m, dim, 1, h->d_out + query, q_ld,
		h->v + key, kv_ld, 0, h->ds, ld);
	for (size_t i = 0; i < n_queries; i++)
		for (size_t j = 0; j < n_keys; j++)
			h->ds[i * KEYS + j] = h->p[i * KEYS + j] * (h->ds[i * KEYS + j] - delta[i]);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, dim, m, a->scale, h->ds, ld,
		h->k + key, kv_ld, 1, h->dq + query, q_ld);
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, dim, n, a->scale, h->ds, ld,
		h->q + query, q_ld, 1, h->dk + key, kv_ld);
}

static void head_back(const head *h)
{
	const size_t dim = h->a->head_dim, ld = h->a->q_ld;
	float delta[QUERIES];

	for (size_t i0 = 0; i0 < h->n; i0 += QUERIES) {
		const size_t n_queries = least(QUERIES, h->n - i0), end = i0 + n_queries;

		for (size_t i = 0; i < n_queries; i++) {
			const size_t at = (i0 + i) * ld;
			double sum = 0;

			for (size_t d = 0; d < dim; d++)
				sum += (double)h->d_out[at + d] * h->out[at + d];
			delta[i] = (float)sum;
			memset(h->dq + at, 0, dim * sizeof *h->dq);
		}
		/* The first query sees the earliest keys of all. */
		for (size_t j0 = aqz_attention_first(h->a, i0) / KEYS * KEYS; j0 < end; j0 += KEYS)
			block_back(h, delta, i0, n_queries, j0, least(KEYS, end - j0));
	}
}

static void task(const aqz_attention_gradients *g, const aqz_attention *a, const aqz_math *math,
	size_t sequence, size_t kv_head, float *scratch)
{
	const size_t begin = a->batch->begin[sequence], dim = a->head_dim;
	const size_t n_tokens = a->batch->begin[a->batch->n_sequences];
	const size_t group = a->n_heads / a->n_kv_heads, kv = begin * a->kv_ld + kv_head * dim;
	head h = {.a = a,
		.math = math,
		.k = a->k + kv,
		.v = a->v + kv,
		.dk = g->dk + kv,
		.dv = g->dv + kv,
		.p = scratch,
		.ds = scratch + QUERIES * KEYS,
		.n = a->batch->begin[sequence + 1] - begin};

	for (size_t t = 0; t < h.n; t++) {
		memset(h.dk + t * a->kv_ld, 0, dim * sizeof *h.dk);
		memset(h.dv + t * a->kv_ld, 0, dim * sizeof *h.dv);
	}
	for (size_t number = kv_head * group; number < (kv_head + 1) * group; number++) {
		const size_t at = begin * a->q_ld + number * dim;

		h.q = a->q + at;
		h.out = g->out + at;
		h.d_out = g->d_out + at;
		h.lse = g->lse + number * n_tokens + begin;
		h.dq = g->dq + at;
		head_back(&h);
	}
}

void aqz_attention_backward(const aqz_attention_gradients *g, const aqz_attention *a,
	const aqz_math *math, const aqz_work *work)
{
	const size_t n_tasks = (size_t)a->batch->n_sequences * a->n_kv_heads;

#pragma omp parallel for schedule(dynamic) num_threads(work->n_threads)
	for (size_t i = 0; i < n_tasks; i++) {
#ifdef _OPENMP
		const size_t thread = (size_t)omp_get_thread_num();
#else
		const size_t thread = 0;
#endif
		void *scratch = (uint8_t *)work->scratch + thread * work->scratch_bytes;

		task(g, a, math, i / a->n_kv_heads, i % a->n_kv_heads, scratch);
	}
}
