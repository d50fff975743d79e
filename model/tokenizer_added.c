/* SPDX-License-Identifier: Apache-2.0 */
/* Added tokens: which of them stand where in a text. Leftmost first, the longest of those that begin there. */
#include "model/tokenizer.h"

static const aqz_trie_node *child_of(const aqz_trie *trie, uint32_t first, uint8_t byte)
{
	for (uint32_t i = first; i != 0; i = trie->nodes[i].sibling)
		if (trie->nodes[i].byte == byte)
			return &trie->nodes[i];
	return NULL;
}

/* nodes has room for all bytes of all tokens and node 0. The first of equal tokens counts. */
static void insert(aqz_trie *trie, const char *text, size_t n, uint32_t index)
{
	uint32_t *link = &trie->root[(uint8_t)text[0]];
	aqz_trie_node *node = NULL;

	for (size_t i = 0; i < n; i++) {
		const uint8_t byte = (uint8_t)text[i];
		const aqz_trie_node *found = child_of(trie, *link, byte);

		if (found == NULL) {
			node = &trie->nodes[trie->n_nodes];
			*node = (aqz_trie_node){.byte = byte, .sibling = *link};
			*link = trie->n_nodes++;
		} else {
			node = &trie->nodes[found - trie->nodes];
		}
		link = &node->child;
	}
	if (node != NULL && node->added == 0)
		node->added = index + 1;
}

/* What the token matches: its content, or that after the normalizer. */
static aqz_status pattern_of(const aqz_tokenizer *t, const aqz_added *a, aqz_regex_run *run,
	aqz_buffer *text, aqz_buffer *scratch, aqz_error *err)
{
	if (a->normalized && !a->literal && t->normalizer.n > 0)
		return aqz_normalize(t, run, text, scratch, a->content, a->content_bytes, err);
	text->n = 0;
	return aqz_buffer_add(text, a->content, a->content_bytes, err);
}

aqz_status aqz_added_finish(aqz_tokenizer *t, aqz_error *err)
{
	aqz_buffer text = {0}, scratch = {0};
	uint64_t n_nodes[2] = {1, 1};
	aqz_regex_run run = {0};
	aqz_status status;
	void *p;

	AQZ_TRY(aqz_regex_begin(&run, err));
	for (int pass = 0; pass < 2; pass++) {
		for (int k = 0; k < 2 && pass == 1; k++) {
			if (n_nodes[k] == 1)
				continue;
			AQZ_TRY(aqz_tokenizer_hold(
				t, &p, n_nodes[k] * sizeof(aqz_trie_node), "the added tokens", err));
			t->tries[k] = (aqz_trie){.nodes = p, .n_nodes = 1};
		}
		for (uint32_t i = 0; i < t->n_added; i++) {
			const bool normalized = t->added[i].normalized;

			AQZ_TRY(pattern_of(t, &t->added[i], &run, &text, &scratch, err));
			/* Normalization makes a text longer: a bound for the work at each byte again. */
			if (text.n > 4 * AQZ_TOKENIZER_MAX_TOKEN_BYTES || n_nodes[normalized] > UINT32_MAX / 2) {
				status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "added_tokens",
					"the added token %u is too long after normalization", t->added[i].id);
				goto out;
			}
			if (pass == 0)
				n_nodes[normalized] += text.n;
			else if (text.n > 0)
				insert(&t->tries[normalized], (const char *)text.data, text.n, i);
		}
	}
out:
	aqz_regex_end(&run);
	aqz_buffer_free(&text);
	aqz_buffer_free(&scratch);
	return status;
}

/* The longest token at the beginning of a text, or NULL. */
static const aqz_added *longest(
	const aqz_tokenizer *t, const aqz_trie *trie, const char *text, size_t n, size_t *n_match)
{
	uint32_t first = trie->root[(uint8_t)text[0]], best = 0;

	for (size_t i = 0; i < n; i++) {
		const aqz_trie_node *node = child_of(trie, first, (uint8_t)text[i]);

		if (node == NULL)
			break;
		if (node->added != 0) {
			best = node->added;
			*n_match = i + 1;
		}
		first = node->child;
	}
	return best == 0 ? NULL : &t->added[best - 1];
}

/* Bytes of the character that ends at text[at], 0 if there is none. */
static unsigned before(const char *text, size_t at)
{
	for (unsigned bytes = 1; bytes <= 4 && bytes <= at; bytes++)
		if (aqz_utf8_bytes(text + at - bytes, bytes) == bytes)
			return bytes;
	return 0;
}

static bool alone(const char *text, size_t begin, size_t end, size_t n)
{
	const unsigned left = before(text, begin), right = aqz_utf8_bytes(text + end, n - end);

	return (left == 0 || !aqz_is_word(aqz_utf8_code(text + begin - left, left))) &&
		(right == 0 || !aqz_is_word(aqz_utf8_code(text + end, right)));
}

static size_t space_begin(const char *text, size_t at, size_t least)
{
	while (at > least) {
		const unsigned bytes = before(text, at);

		if (bytes == 0 || bytes > at - least ||
			!aqz_is_space(aqz_utf8_code(text + at - bytes, bytes)))
			break;
		at -= bytes;
	}
	return at;
}

static size_t space_end(const char *text, size_t at, size_t n)
{
	for (;;) {
		const unsigned bytes = aqz_utf8_bytes(text + at, n - at);

		if (bytes == 0 || !aqz_is_space(aqz_utf8_code(text + at, bytes)))
			return at;
		at += bytes;
	}
}

aqz_status aqz_added_cut(const aqz_tokenizer *t, const aqz_trie *trie, const aqz_cut *cut,
	const char *text, size_t n, bool special)
{
	aqz_status status = AQZ_OK;
	size_t done = 0, i = 0;

	if (trie->nodes == NULL)
		return n > 0 ? cut->piece(cut->user, text, 0, n) : AQZ_OK;
	while (i < n) {
		const aqz_added *a;
		size_t n_match, begin, end;

		if (trie->root[(uint8_t)text[i]] == 0) {
			i++;
			continue;
		}
		a = longest(t, trie, text + i, n - i, &n_match);
		if (a == NULL) {
			i++;
			continue;
		}
		begin = i;
		end = i += n_match;
		if ((a->special && !special) || (a->single_word && !alone(text, begin, end, n)))
			continue;
		if (a->lstrip)
			begin = space_begin(text, begin, done);
		if (a->rstrip)
			i = end = space_end(text, end, n);
		if (done < begin)
			AQZ_TRY(cut->piece(cut->user, text, done, begin - done));
		AQZ_TRY(cut->token(cut->user, a->id));
		done = end;
	}
	if (done < n)
		AQZ_TRY(cut->piece(cut->user, text, done, n - done));
out:
	return status;
}
