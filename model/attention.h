/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention in blocks of queries and keys, with the softmax of a row made as its keys come (Milakov and
 * Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135): no matrix of tokens by tokens is ever in memory. */
#ifndef AQZ_MODEL_ATTENTION_H
#define AQZ_MODEL_ATTENTION_H

#include "model/forward.h"

/* Queries and keys of a block. Every thread's scratch (aqz_work) holds at least aqz_attention_scratch_bytes(). */
#define AQZ_ATTENTION_QUERIES 64
#define AQZ_ATTENTION_KEYS 256

/* What attention is computed from. Heads h of query token t: q + t * q_ld + h * head_dim. */
typedef struct aqz_attention {
	uint32_t n_heads, n_kv_heads, head_dim;
	uint32_t window;        /* keys that a query sees, itself included; 0 = all before it */
	float scale;            /* of the dot products, 1 / sqrt(head_dim) */
	const aqz_batch *batch; /* with kv: keys and values are those of the cache, the batch's own among them */
	const float *q;
	size_t q_ld;
	const float *k, *v;     /* [n_tokens][n_kv_heads][head_dim], rows kv_ld apart; not read if batch->kv is there */
	size_t kv_ld;
} aqz_attention;

/* Keys and values of one head of one sequence, by position: that of position p begins at k + p * ld. */
typedef struct aqz_head_keys {
	const float *k, *v;
	size_t ld;
} aqz_head_keys;

static inline aqz_head_keys aqz_attention_keys(const aqz_attention *a, uint32_t sequence, uint32_t kv_head)
{
	const aqz_batch *b = a->batch;
	size_t at;

	if (b->kv != NULL) {
		at = kv_head * b->kv[sequence].capacity * a->head_dim;
		return (aqz_head_keys){b->kv[sequence].k + at, b->kv[sequence].v + at, a->head_dim};
	}
	at = b->begin[sequence] * a->kv_ld + (size_t)kv_head * a->head_dim;
	return (aqz_head_keys){a->k + at, a->v + at, a->kv_ld};
}

/* Position of the first token of a sequence of the batch. */
static inline size_t aqz_attention_past(const aqz_attention *a, uint32_t sequence)
{
	return a->batch->past != NULL ? a->batch->past[sequence] : 0;
}

/* The first position that the query at this position sees; the last one is its own. */
static inline size_t aqz_attention_first(const aqz_attention *a, size_t position)
{
	return a->window != 0 && position + 1 > a->window ? position + 1 - a->window : 0;
}

/* A thread's scratch for attention, forward and backward: 4 blocks of queries by keys, and 8 of the greater of queries
 * and keys by head_dim. */
static inline uint64_t aqz_attention_scratch_bytes(uint32_t head_dim)
{
	return (4 * (uint64_t)AQZ_ATTENTION_QUERIES * AQZ_ATTENTION_KEYS + 8 * (uint64_t)AQZ_ATTENTION_KEYS * head_dim) *
		sizeof(float);
}

/* out[t][h] = sum over the keys j that t sees of softmax(scale * q . k)[j] v[j]; rows of out out_ld apart. lse: NULL,
 * or [n_heads][n_tokens], log of the sum over j of exp(scale * q . k), natural. out may be q. Independent of the
 * number of threads. OpenBLAS must be set to one thread. */
void aqz_attention_forward(float *out, size_t out_ld, float *lse, const aqz_attention *a, const aqz_work *work);

#endif
