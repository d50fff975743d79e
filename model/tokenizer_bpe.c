/* SPDX-License-Identifier: Apache-2.0 */
/* Byte pair encoding of one word: of all pairs of neighbours that merge, the one of lowest rank, the leftmost of
 * equals, until none is left. Short words by looking through all pairs, long ones by a heap in O(n log n). */
#include <xxhash.h>

#include "model/tokenizer.h"

#define SHORT 48u  /* bytes */
#define CACHED 23u /* bytes of a word that is remembered */
#define N_WORDS 8192u
#define NO_RANK UINT64_MAX
#define GONE UINT32_MAX /* next of a symbol that was merged into the one before it */
#define LAST (UINT32_MAX - 1)

struct aqz_bpe_entry {
	uint64_t key; /* rank, position */
	uint32_t left, right;
};

struct aqz_bpe_word {
	char text[CACHED];
	uint8_t n_bytes; /* 0: free */
	uint32_t at, n_ids;
};

void aqz_bpe_free(aqz_bpe *b)
{
	free(b->symbols);
	free(b->heap);
	free(b->cache);
	b->symbols = NULL;
	b->heap = NULL;
	b->cache = NULL;
}

aqz_status aqz_bpe_put(aqz_bpe *b, uint32_t id)
{
	if (b->n_ids == b->ids_capacity) {
		const size_t capacity = b->ids_capacity < 64 ? 64 : b->ids_capacity * 2;
		uint32_t *grown = realloc(b->ids, capacity * sizeof *grown);

		if (grown == NULL)
			return aqz_fail_nomem(b->err, capacity * sizeof *grown);
		b->ids = grown;
		b->ids_capacity = capacity;
	}
	b->ids[b->n_ids++] = id;
	return AQZ_OK;
}

/* The token of a symbol, text[0..n). Symbols that are no tokens become bytes, or the unknown token; *unknown: the one
 * before became that. */
static aqz_status put_symbol(aqz_bpe *b, uint32_t id, const char *text, size_t n, bool *unknown)
{
	const aqz_tokenizer *t = b->t;
	aqz_status status = AQZ_OK;
	bool bytes = !t->byte_level && t->byte_fallback;

	if (id < t->n_ids) {
		*unknown = false;
		return aqz_bpe_put(b, id);
	}
	for (size_t i = 0; i < n && bytes; i++)
		bytes = t->byte_ids[(uint8_t)text[i]] != AQZ_NO_TOKEN;
	if (bytes) {
		for (size_t i = 0; i < n; i++)
			AQZ_TRY(aqz_bpe_put(b, t->byte_ids[(uint8_t)text[i]]));
		*unknown = false;
		return AQZ_OK;
	}
	if (t->unk == AQZ_NO_TOKEN)
		return aqz_fail(b->err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, NULL,
			"the vocabulary has no token for the byte 0x%02x and no unknown token",
			(unsigned)(uint8_t)text[0]);
	if (!*unknown || !t->fuse_unk)
		AQZ_TRY(aqz_bpe_put(b, t->unk));
	*unknown = true;
out:
	return status;
}

/* Symbols of the characters (bytes) of a text and where they begin; returns how many. */
static uint32_t symbols_of(
	const aqz_tokenizer *t, uint32_t *ids, uint32_t *begins, const char *text, size_t n)
{
	uint32_t count = 0;

	for (size_t i = 0; i < n; count++) {
		const uint8_t byte = (uint8_t)text[i];

		begins[count] = (uint32_t)i;
		if (t->byte_level) {
			ids[count] = t->byte_ids[byte];
			i++;
		} else if (byte < 128) {
			ids[count] = t->ascii_ids[byte];
			i++;
		} else {
			const unsigned bytes = aqz_utf8_bytes(text + i, n - i);

			ids[count] = bytes == 0 ? AQZ_NO_TOKEN : aqz_vocab_find(t, text + i, bytes, true);
			i += bytes == 0 ? 1 : bytes;
		}
	}
	return count;
}

/* rank << 32 | position, so that one comparison finds the lowest rank and of these the leftmost. */
static uint64_t key_of(
	const aqz_tokenizer *t, uint32_t left, uint32_t right, uint32_t at, uint32_t *merged)
{
	const aqz_pair *pair = aqz_pairs_find(t, left, right);

	if (pair == NULL)
		return NO_RANK;
	*merged = pair->merged;
	return (uint64_t)pair->rank << 32 | at;
}

static aqz_status short_word(aqz_bpe *b, const char *text, size_t n)
{
	uint32_t ids[SHORT], begins[SHORT + 1], merged[SHORT], count;
	uint32_t ranks[SHORT]; /* of symbols i and i + 1; UINT32_MAX: they do not merge */
	const aqz_tokenizer *t = b->t;
	aqz_status status = AQZ_OK;
	bool unknown = false;

	count = symbols_of(t, ids, begins, text, n);
	for (uint32_t i = 0; i + 1 < count; i++) {
		const aqz_pair *pair = aqz_pairs_find(t, ids[i], ids[i + 1]);

		ranks[i] = pair == NULL ? UINT32_MAX : pair->rank;
		merged[i] = pair == NULL ? 0 : pair->merged;
	}
	while (count > 1) {
		uint32_t best = 0;

		for (uint32_t i = 1; i + 1 < count; i++)
			if (ranks[i] < ranks[best])
				best = i;
		if (ranks[best] == UINT32_MAX)
			break;
		ids[best] = merged[best];
		count--;
		for (uint32_t i = best + 1; i < count; i++) {
			ids[i] = ids[i + 1];
			begins[i] = begins[i + 1];
			ranks[i - 1] = ranks[i];
			merged[i - 1] = merged[i];
		}
		for (uint32_t i = best > 0 ? best - 1 : 0; i <= best && i + 1 < count; i++) {
			const aqz_pair *pair = aqz_pairs_find(t, ids[i], ids[i + 1]);

			ranks[i] = pair == NULL ? UINT32_MAX : pair->rank;
			merged[i] = pair == NULL ? 0 : pair->merged;
		}
	}
	begins[count] = (uint32_t)n;
	for (uint32_t i = 0; i < count; i++)
		AQZ_TRY(put_symbol(b, ids[i], text + begins[i], begins[i + 1] - begins[i], &unknown));
out:
	return status;
}

/* ---- Long words */

static void sink(struct aqz_bpe_entry *heap, size_t n, size_t i)
{
	const struct aqz_bpe_entry moved = heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && heap[child + 1].key < heap[child].key)
			child++;
		if (heap[child].key >= moved.key)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

static void rise(struct aqz_bpe_entry *heap, size_t i)
{
	const struct aqz_bpe_entry moved = heap[i];

	while (i > 0 && heap[(i - 1) / 2].key > moved.key) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = moved;
}

/* Appends the pair at a position, if it merges. */
static aqz_status push(aqz_bpe *b, uint32_t left, uint32_t right, uint32_t at)
{
	uint32_t merged;
	const uint64_t key = key_of(b->t, left, right, at, &merged);

	if (key == NO_RANK)
		return AQZ_OK;
	if (b->n_heap == b->heap_capacity) {
		const size_t capacity = b->heap_capacity < 256 ? 256 : b->heap_capacity * 2;
		struct aqz_bpe_entry *grown = realloc(b->heap, capacity * sizeof *grown);

		if (grown == NULL)
			return aqz_fail_nomem(b->err, capacity * sizeof *grown);
		b->heap = grown;
		b->heap_capacity = capacity;
	}
	b->heap[b->n_heap++] = (struct aqz_bpe_entry){key, left, right};
	return AQZ_OK;
}

/* Symbols are a list in text order. The pair of an entry may be gone; then the symbols there are others, as an id
 * stands for one text and symbols only grow. */
static aqz_status long_word(aqz_bpe *b, const char *text, size_t n)
{
	const aqz_tokenizer *t = b->t;
	uint32_t *ids, *begins, *next, *previous, count, last;
	aqz_status status = AQZ_OK;
	bool unknown = false;

	if (b->symbols_capacity < n) {
		free(b->symbols);
		b->symbols = malloc(4 * n * sizeof *b->symbols);
		b->symbols_capacity = b->symbols == NULL ? 0 : n;
		if (b->symbols == NULL)
			return aqz_fail_nomem(b->err, 4 * n * sizeof *b->symbols);
	}
	ids = b->symbols;
	begins = ids + n;
	next = begins + n;
	previous = next + n;
	count = symbols_of(t, ids, begins, text, n);
	for (uint32_t i = 0; i < count; i++) {
		next[i] = i + 1 < count ? i + 1 : LAST;
		previous[i] = i > 0 ? i - 1 : LAST;
	}
	b->n_heap = 0;
	for (uint32_t i = 0; i + 1 < count; i++)
		AQZ_TRY(push(b, ids[i], ids[i + 1], i));
	for (size_t i = b->n_heap / 2; i > 0; i--)
		sink(b->heap, b->n_heap, i - 1);
	while (b->n_heap > 0) {
		const struct aqz_bpe_entry best = b->heap[0];
		const uint32_t at = (uint32_t)best.key;
		uint32_t right, merged = 0;

		b->heap[0] = b->heap[--b->n_heap];
		if (b->n_heap > 0)
			sink(b->heap, b->n_heap, 0);
		right = next[at];
		if (right >= LAST || ids[at] != best.left || ids[right] != best.right)
			continue;
		key_of(t, best.left, best.right, at, &merged);
		ids[at] = merged;
		next[at] = next[right];
		next[right] = GONE;
		if (next[at] != LAST) {
			const size_t had = b->n_heap;

			previous[next[at]] = at;
			AQZ_TRY(push(b, ids[at], ids[next[at]], at));
			if (b->n_heap > had)
				rise(b->heap, b->n_heap - 1);
		}
		if (previous[at] != LAST) {
			const size_t had = b->n_heap;

			AQZ_TRY(push(b, ids[previous[at]], ids[at], previous[at]));
			if (b->n_heap > had)
				rise(b->heap, b->n_heap - 1);
		}
	}
	last = LAST;
	for (uint32_t i = 0; i != LAST && count > 0; i = last) {
		const size_t end = next[i] == LAST ? n : begins[next[i]];

		last = next[i];
		AQZ_TRY(put_symbol(b, ids[i], text + begins[i], end - begins[i], &unknown));
	}
out:
	return status;
}

static aqz_status merge_word(aqz_bpe *b, const char *text, size_t n)
{
	if (b->t->ignore_merges && n <= AQZ_TOKENIZER_MAX_TOKEN_BYTES) {
		const uint32_t id = aqz_vocab_find(b->t, text, n, true);

		if (id < b->t->n_ids)
			return aqz_bpe_put(b, id);
	}
	return n <= SHORT ? short_word(b, text, n) : long_word(b, text, n);
}

aqz_status aqz_bpe_word(aqz_bpe *b, const char *text, size_t n)
{
	const size_t at = b->n_ids;
	struct aqz_bpe_word *word;
	aqz_status status;

	if (n < 2 || n > CACHED)
		return n == 0 ? AQZ_OK : merge_word(b, text, n);
	if (b->cache == NULL) {
		if (++b->n_words < 256) /* not worth it yet */
			return merge_word(b, text, n);
		b->cache = calloc(N_WORDS, sizeof *b->cache);
		if (b->cache == NULL)
			return aqz_fail_nomem(b->err, N_WORDS * sizeof *b->cache);
	}
	word = &b->cache[XXH3_64bits(text, n) % N_WORDS];
	if (word->n_bytes == n && memcmp(word->text, text, n) == 0) {
		for (uint32_t i = 0; i < word->n_ids; i++)
			AQZ_TRY(aqz_bpe_put(b, b->ids[word->at + i]));
		return AQZ_OK;
	}
	AQZ_TRY(merge_word(b, text, n));
	if (b->n_ids <= UINT32_MAX) {
		memcpy(word->text, text, n);
		word->n_bytes = (uint8_t)n;
		word->at = (uint32_t)at;
		word->n_ids = (uint32_t)(b->n_ids - at);
	}
out:
	return status;
}
