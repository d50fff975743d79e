/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences under way: caches, and feeding tokens in bounded chunks. */
#include "codec/encode/blas.h"
#include "model/forward.h"

/* Tokens of a chunk. More would share the reconstruction of a weight among more tokens and need more memory. */
#define CHUNK_TOKENS 512

struct aqz_session {
	const aqz_model *m;
	aqz_budget budget;
	aqz_pass *pass;
	uint32_t n_sequences, capacity;
	size_t chunk;		  /* tokens */
	uint32_t *length;	  /* [n_sequences] */
	bool *named;		  /* [n_sequences]: by the feeds of a call */
	float *cache;		  /* [n_layers][n_sequences][2][n_kv_heads][capacity][head_dim] */
	size_t one_cache;	  /* floats of keys of one sequence in one layer */
	float *x;			  /* [chunk][hidden] */
	uint32_t *ids;		  /* [chunk] */
	size_t *begin, *past; /* [n_sequences + 1] of a chunk */
	aqz_kv *kv;			  /* [n_sequences] */
	uint64_t cache_bytes, x_bytes, list_bytes;
	void *lists; /* length, named, ids, begin, past, kv */
};

static aqz_status open_lists(aqz_session *s, aqz_error *err)
{
	const uint64_t n = s->n_sequences;
	uint8_t *p;
	void *memory;
	aqz_status status;

	/* n and chunk are below 2^32. Largest alignment first. */
	s->list_bytes = n * (sizeof *s->kv + sizeof *s->past + sizeof *s->length + sizeof *s->named) +
		(n + 1) * sizeof *s->begin + s->chunk * sizeof *s->ids;
	AQZ_TRY(aqz_budget_alloc(&s->budget, &memory, s->list_bytes, "lists of the sequences", err));
	s->lists = p = memory;
	s->kv = (void *)p, p += n * sizeof *s->kv;
	s->begin = (void *)p, p += (n + 1) * sizeof *s->begin;
	s->past = (void *)p, p += n * sizeof *s->past;
	s->length = (void *)p, p += n * sizeof *s->length;
	s->ids = (void *)p, p += s->chunk * sizeof *s->ids;
	s->named = (void *)p;
out:
	return status;
}

aqz_status aqz_session_open(aqz_session **out, const aqz_model *model, uint32_t n_sequences,
	uint32_t capacity, unsigned n_threads, uint64_t memlimit_bytes, aqz_error *err)
{
	const aqz_model_config *c = &model->config;
	aqz_session *s;
	uint64_t one, all;
	void *memory;
	aqz_status status = AQZ_OK;

	*out = NULL;
	if (n_sequences == 0 || capacity == 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"a session needs sequences and room for tokens");
	if (capacity > c->max_positions)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"sequences of %u tokens are longer than the model's %u positions", capacity,
			c->max_positions);
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return aqz_fail_nomem(err, sizeof *s);
	s->m = model;
	s->budget.limit_bytes = memlimit_bytes;
	s->n_sequences = n_sequences;
	s->capacity = capacity;
	s->chunk = (size_t)aqz_min(CHUNK_TOKENS, (uint64_t)n_sequences * capacity);
	if (!aqz_mul(&one, (uint64_t)c->n_kv_heads * c->head_dim, capacity) ||
		!aqz_mul(&all, one, 2 * sizeof(float)) ||
		!aqz_mul(&all, all, (uint64_t)n_sequences * c->n_layers)) {
		status = aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"%u sequences of %u tokens do not fit into memory", n_sequences, capacity);
		goto out;
	}
	s->one_cache = (size_t)one;
	s->cache_bytes = all;
	s->x_bytes = s->chunk * c->hidden * sizeof *s->x;
	AQZ_TRY(open_lists(s, err));
	AQZ_TRY(aqz_budget_alloc(&s->budget, &memory, s->x_bytes, "states of the tokens", err));
	s->x = memory;
	AQZ_TRY(aqz_budget_alloc(
		&s->budget, &memory, s->cache_bytes, "keys and values of the sequences", err));
	s->cache = memory;
	if (memlimit_bytes != 0 && s->budget.used_bytes >= memlimit_bytes) {
		status = aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, NULL,
			"the cache of keys and values takes all memory");
		goto out;
	}
	AQZ_TRY(aqz_pass_open(&s->pass, model, s->chunk, n_threads,
		memlimit_bytes != 0 ? memlimit_bytes - s->budget.used_bytes : 0, err));
out:
	if (status != AQZ_OK)
		aqz_session_close(s);
	else
		*out = s;
	return status;
}

void aqz_session_close(aqz_session *s)
{
	if (s == NULL)
		return;
	aqz_pass_close(s->pass);
	if (s->cache != NULL)
		aqz_budget_free(&s->budget, s->cache, s->cache_bytes);
	if (s->x != NULL)
		aqz_budget_free(&s->budget, s->x, s->x_bytes);
	if (s->lists != NULL)
		aqz_budget_free(&s->budget, s->lists, s->list_bytes);
	free(s);
}

uint32_t aqz_session_length(const aqz_session *s, uint32_t sequence)
{
	return sequence < s->n_sequences ? s->length[sequence] : 0;
}

void aqz_session_truncate(aqz_session *s, uint32_t sequence, uint32_t n)
{
	if (sequence < s->n_sequences && n < s->length[sequence])
		s->length[sequence] = n;
}

const aqz_model *aqz_session_model(const aqz_session *s)
{
	return s->m;
}

uint32_t aqz_session_capacity(const aqz_session *s)
{
	return s->capacity;
}

uint64_t aqz_session_memory(const aqz_session *s)
{
	return s->budget.used_bytes + aqz_pass_memory(s->pass);
}

static aqz_status check_feed(aqz_session *s, const aqz_feed *f, uint32_t i, aqz_error *err)
{
	if (f->sequence >= s->n_sequences || s->named[f->sequence])
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			f->sequence >= s->n_sequences ? "feed %u: there is no sequence %u"
										  : "feed %u: sequence %u is fed twice",
			i, f->sequence);
	s->named[f->sequence] = true;
	if (f->n_ids > s->capacity - s->length[f->sequence])
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"feed %u: %u tokens behind %u are more than the sequence's %u", i, f->n_ids,
			s->length[f->sequence], s->capacity);
	if (f->n_logits > f->n_ids)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"feed %u: logits of %u positions but %u tokens", i, f->n_logits, f->n_ids);
	for (uint32_t k = 0; k < f->n_ids; k++)
		if (f->ids[k] >= s->m->config.vocabulary)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
				"feed %u: id %u of token %u is not below the vocabulary's size %u", i, f->ids[k], k,
				s->m->config.vocabulary);
	return AQZ_OK;
}

/* Tokens that go through the blocks together: the rest of one feed, or a part of it, and those after it. */
typedef struct chunk {
	uint32_t first, last;		 /* feeds, both included */
	uint32_t first_at, last_end; /* where it begins in the first and ends in the last one */
	aqz_batch batch;
} chunk;

static uint32_t chunk_begin(const chunk *c, uint32_t i)
{
	return i == c->first ? c->first_at : 0;
}

static uint32_t chunk_end(const chunk *c, const aqz_feed *feeds, uint32_t i)
{
	return i == c->last ? c->last_end : feeds[i].n_ids;
}

/* Takes up tokens from feed first, token at, on. There are some. */
static void chunk_take(
	aqz_session *s, chunk *c, const aqz_feed *feeds, uint32_t n_feeds, uint32_t first, uint32_t at)
{
	size_t n = 0;

	c->first = first;
	c->first_at = at;
	c->batch = (aqz_batch){.begin = s->begin, .past = s->past, .kv = s->kv};
	for (uint32_t i = first; i < n_feeds && n < s->chunk; i++, at = 0) {
		const uint32_t here = (uint32_t)aqz_min(feeds[i].n_ids - at, s->chunk - n);

		if (here > 0)
			memcpy(s->ids + n, feeds[i].ids + at, here * sizeof *s->ids);
		s->begin[c->batch.n_sequences] = n;
		s->past[c->batch.n_sequences++] = s->length[feeds[i].sequence] + at;
		n += here;
		c->last = i;
		c->last_end = at + here;
	}
	s->begin[c->batch.n_sequences] = n;
}

static void cache_of(aqz_session *s, const chunk *c, const aqz_feed *feeds, uint32_t layer)
{
	for (uint32_t i = c->first; i <= c->last; i++) {
		float *k = s->cache + ((size_t)layer * s->n_sequences + feeds[i].sequence) * 2 * s->one_cache;

		s->kv[i - c->first] = (aqz_kv){k, k + s->one_cache, s->capacity};
	}
}

/* Logits of those of the chunk's positions for which they are wanted; returns how many these are. */
static size_t chunk_logits(aqz_session *s, const chunk *c, const aqz_feed *feeds, float *logits)
{
	const size_t hidden = s->m->config.hidden;
	size_t n = 0;

	/* The wanted states come together at the front: each moves to where it is or before. */
	for (uint32_t i = c->first; i <= c->last; i++) {
		const uint32_t begin = chunk_begin(c, i), end = chunk_end(c, feeds, i);
		const uint32_t wanted = feeds[i].n_ids - feeds[i].n_logits,
					   from = wanted > begin ? wanted : begin;

		if (from < end) {
			memmove(s->x + n * hidden, s->x + (s->begin[i - c->first] + from - begin) * hidden,
				(end - from) * hidden * sizeof *s->x);
			n += end - from;
		}
	}
	if (n > 0) {
		aqz_pass_final_norm(s->pass, s->x, s->x, n);
		aqz_pass_head(s->pass, logits, s->x, n);
	}
	return n;
}

aqz_status aqz_session_feed(
	aqz_session *s, float *logits, const aqz_feed *feeds, uint32_t n_feeds, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_blas blas;

	memset(s->named, 0, s->n_sequences * sizeof *s->named);
	for (uint32_t i = 0; i < n_feeds; i++) {
		status = check_feed(s, &feeds[i], i, err);
		if (status != AQZ_OK)
			return status;
	}
	/* Nothing below can fail; lengths change at the end. */
	blas = aqz_blas_begin();
	for (uint32_t i = 0, at = 0; i < n_feeds;) {
		size_t n_logits;
		chunk c;

		if (at == feeds[i].n_ids) {
			i++;
			at = 0;
			continue;
		}
		chunk_take(s, &c, feeds, n_feeds, i, at);
		aqz_pass_embed(s->pass, s->x, s->ids, s->begin[c.batch.n_sequences]);
		for (uint32_t layer = 0; layer < s->m->config.n_layers && status == AQZ_OK; layer++) {
			cache_of(s, &c, feeds, layer);
			status = aqz_pass_block(s->pass, layer, s->x, &c.batch, NULL, NULL);
		}
		n_logits = chunk_logits(s, &c, feeds, logits);
		if (n_logits > 0)
			logits += n_logits * s->m->config.vocabulary;
		i = c.last;
		at = c.last_end;
	}
	for (uint32_t i = 0; i < n_feeds && status == AQZ_OK; i++)
		s->length[feeds[i].sequence] += feeds[i].n_ids;
	aqz_blas_end(&blas);
	return status;
}
