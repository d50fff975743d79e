/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary: tokens by id and by text, pairs that merge, and what follows from them. Hashes are seeded by where
 * the tokenizer lies in memory, so that a file cannot choose keys that collide. */
#include <inttypes.h>
#include <xxhash.h>

#include "model/tokenizer.h"

static uint64_t key_hash(const aqz_tokenizer *t, const char *key, size_t n, bool text)
{
	return XXH3_64bits_withSeed(key, n, t->seed + text);
}

static bool is_text(const aqz_token *token)
{
	return (token->flags & AQZ_TOKEN_TEXT) != 0;
}

static void enter(aqz_tokenizer *t, uint32_t id)
{
	const aqz_token *token = &t->tokens[id];
	uint32_t i = (uint32_t)key_hash(t, token->key, token->key_bytes, is_text(token)) & t->slot_mask;

	while (t->slots[i] != 0)
		i = (i + 1) & t->slot_mask;
	t->slots[i] = id + 1;
}

uint32_t aqz_vocab_find(const aqz_tokenizer *t, const char *key, size_t n, bool text)
{
	uint32_t i = (uint32_t)key_hash(t, key, n, text) & t->slot_mask;

	for (; t->slots[i] != 0; i = (i + 1) & t->slot_mask) {
		const aqz_token *token = &t->tokens[t->slots[i] - 1];

		if (token->key_bytes == n && is_text(token) == text && memcmp(token->key, key, n) == 0)
			return t->slots[i] - 1;
	}
	return AQZ_NO_TOKEN;
}

uint32_t aqz_vocab_find_text(const aqz_tokenizer *t, const char *text, size_t n)
{
	char bytes[AQZ_TOKENIZER_MAX_TOKEN_BYTES];
	size_t n_bytes = n;
	uint32_t id = AQZ_NO_TOKEN;

	if (n > AQZ_TOKENIZER_MAX_TOKEN_BYTES)
		return AQZ_NO_TOKEN;
	if (!t->byte_level)
		id = aqz_vocab_find(t, text, n, true);
	else if (aqz_letters_read(bytes, &n_bytes, text, n))
		id = aqz_vocab_find(t, bytes, n_bytes, true);
	return id != AQZ_NO_TOKEN ? id : aqz_vocab_find(t, text, n, false);
}

/* Makes room for so many symbols; what was there stays. */
static aqz_status grow(aqz_tokenizer *t, uint64_t capacity, aqz_error *err)
{
	const aqz_token *old = t->tokens;
	uint64_t n_slots = 64;
	aqz_status status;
	void *p;

	while (n_slots < 2 * capacity)
		n_slots *= 2;
	AQZ_TRY(aqz_tokenizer_hold(t, &p, capacity * sizeof *t->tokens, "the vocabulary", err));
	t->tokens = p;
	if (old != NULL)
		memcpy(t->tokens, old, t->n_symbols * sizeof *old);
	AQZ_TRY(aqz_tokenizer_hold(t, &p, n_slots * sizeof *t->slots, "the vocabulary's hash", err));
	t->slots = p;
	t->slot_mask = (uint32_t)(n_slots - 1);
	t->capacity = (uint32_t)capacity;
	for (uint32_t id = 0; id < t->n_symbols; id++)
		if (t->tokens[id].flags & AQZ_TOKEN_PRESENT)
			enter(t, id);
out:
	return status;
}

aqz_status aqz_vocab_begin(aqz_tokenizer *t, uint64_t n_ids, uint64_t n_added, aqz_error *err)
{
	aqz_status status;
	void *p;

	if (n_ids == 0)
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "vocab", "the tokenizer has no vocabulary");
	if (n_ids > AQZ_TOKENIZER_MAX_IDS)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "vocab",
			"%" PRIu64 " ids are more than the %u that are supported", n_ids, AQZ_TOKENIZER_MAX_IDS);
	AQZ_TRY(grow(t, n_ids, err));
	t->n_ids = t->n_symbols = (uint32_t)n_ids;
	AQZ_TRY(aqz_tokenizer_hold(t, &p, n_added * sizeof *t->added, "the added tokens", err));
	t->added = p;
out:
	return status;
}

aqz_status aqz_vocab_add(
	aqz_tokenizer *t, uint64_t id, const char *text, size_t n, unsigned flags, aqz_error *err)
{
	char bytes[AQZ_TOKENIZER_MAX_TOKEN_BYTES];
	aqz_token *token;
	aqz_status status;

	if (id >= t->n_ids)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "vocab",
			"the id %" PRIu64 " is out of range: there are %u", id, t->n_ids);
	token = &t->tokens[id];
	if (token->flags & AQZ_TOKEN_PRESENT)
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "vocab", "two tokens have the id %" PRIu64, id);
	if (n > AQZ_TOKENIZER_MAX_TOKEN_BYTES)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "vocab",
			"the token %" PRIu64 " has more than %u bytes", id, AQZ_TOKENIZER_MAX_TOKEN_BYTES);
	if (aqz_vocab_find_text(t, text, n) != AQZ_NO_TOKEN)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "vocab",
			"the text of token %" PRIu64 " is that of another one too", id);
	if (t->byte_level && (flags & AQZ_TOKEN_TEXT)) {
		size_t n_bytes;

		/* A text that is not made of the letters for bytes cannot come of merges. */
		if (aqz_letters_read(bytes, &n_bytes, text, n)) {
			text = bytes;
			n = n_bytes;
		} else {
			flags &= ~(unsigned)AQZ_TOKEN_TEXT;
		}
	}
	AQZ_TRY(aqz_tokenizer_keep(t, &token->key, text, n, err));
	token->key_bytes = (uint32_t)n;
	token->flags = (uint8_t)(flags | AQZ_TOKEN_PRESENT);
	enter(t, (uint32_t)id);
out:
	return status;
}

aqz_status aqz_vocab_add_symbol(aqz_tokenizer *t, const char *key, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	if (t->n_symbols == t->capacity)
		AQZ_TRY(grow(t, (uint64_t)t->capacity + t->capacity / 2 + 16, err));
	t->tokens[t->n_symbols] = (aqz_token){
		.key = key, .key_bytes = (uint32_t)n, .flags = AQZ_TOKEN_TEXT | AQZ_TOKEN_PRESENT};
	enter(t, t->n_symbols++);
out:
	return status;
}

aqz_status aqz_vocab_add_added(aqz_tokenizer *t, const aqz_added *added, aqz_error *err)
{
	const uint32_t id = aqz_vocab_find_text(t, added->content, added->content_bytes);
	aqz_status status = AQZ_OK;

	if (added->content_bytes == 0)
		return AQZ_OK; /* matches nothing */
	if (id == AQZ_NO_TOKEN)
		AQZ_TRY(aqz_vocab_add(t, added->id, added->content, added->content_bytes, 0, err));
	else if (id != added->id)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "added_tokens",
			"the added token %u has the text of token %u", added->id, id);
	if (t->tokens[added->id].flags & AQZ_TOKEN_ADDED)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "added_tokens",
			"the token %u is added twice", added->id);
	t->tokens[added->id].flags |= AQZ_TOKEN_ADDED;
	if (added->special)
		t->tokens[added->id].flags |= AQZ_TOKEN_SPECIAL;
	t->added[t->n_added++] = *added;
out:
	return status;
}

/* ---- Pairs */

static uint32_t pair_slot(const aqz_tokenizer *t, uint32_t left, uint32_t right)
{
	uint64_t x = ((uint64_t)left << 32 | right) ^ t->seed;

	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	return (uint32_t)(x >> 32) & t->pair_mask;
}

aqz_status aqz_pairs_begin(aqz_tokenizer *t, uint64_t n, aqz_error *err)
{
	uint64_t n_slots = 64;
	aqz_status status;
	void *p;

	if (n > UINT32_C(1) << 28)
		return aqz_fail(
			err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "merges", "%" PRIu64 " merges are too many", n);
	while (n_slots * 2 < n * 3)
		n_slots *= 2;
	AQZ_TRY(aqz_tokenizer_hold(t, &p, n_slots * sizeof *t->pairs, "the merges", err));
	t->pairs = p;
	t->pair_mask = (uint32_t)(n_slots - 1);
	t->max_pairs = (uint32_t)n;
	for (uint64_t i = 0; i < n_slots; i++)
		t->pairs[i].merged = AQZ_NO_TOKEN;
out:
	return status;
}

const aqz_pair *aqz_pairs_find(const aqz_tokenizer *t, uint32_t left, uint32_t right)
{
	uint32_t i = pair_slot(t, left, right);

	for (; t->pairs[i].merged != AQZ_NO_TOKEN; i = (i + 1) & t->pair_mask)
		if (t->pairs[i].left == left && t->pairs[i].right == right)
			return &t->pairs[i];
	return NULL;
}

void aqz_pairs_add(aqz_tokenizer *t, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged)
{
	uint32_t i = pair_slot(t, left, right);

	while (t->pairs[i].merged != AQZ_NO_TOKEN &&
		(t->pairs[i].left != left || t->pairs[i].right != right))
		i = (i + 1) & t->pair_mask;
	t->n_pairs += t->pairs[i].merged == AQZ_NO_TOKEN;
	t->pairs[i] = (aqz_pair){left, right, rank, merged};
}

/* ---- The rest */

/* True if each place before U+2581 that does not follow another one is a place where no token goes on. */
static bool can_cut(const aqz_tokenizer *t)
{
	const uint32_t mark = aqz_vocab_find(t, "\xe2\x96\x81", 3, true);

	if (t->byte_level || t->ignore_merges || mark == AQZ_NO_TOKEN || mark >= t->n_ids)
		return false;
	for (uint32_t id = 0; id < t->n_symbols; id++) {
		const aqz_token *token = &t->tokens[id];
		const char *p, *end;

		if (!(token->flags & AQZ_TOKEN_TEXT))
			continue;
		p = token->key;
		end = p + token->key_bytes;
		while (end - p >= 3 && memcmp(p, "\xe2\x96\x81", 3) == 0)
			p += 3;
		if (memmem(p, (size_t)(end - p), "\xe2\x96\x81", 3) != NULL)
			return false;
	}
	return true;
}

aqz_status aqz_tokenizer_finish(aqz_tokenizer *t, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (int c = 0; c < 256; c++) {
		char text[8] = {(char)c};
		size_t n = 1;
		uint32_t id;

		if (c < 128)
			t->ascii_ids[c] = aqz_vocab_find(t, text, 1, true);
		if (!t->byte_level) {
			static const char digits[] = "0123456789ABCDEF";

			n = 6;
			memcpy(text, (const char[8]){'<', '0', 'x', digits[c >> 4], digits[c & 15], '>'}, 8);
		}
		id = t->byte_level ? aqz_vocab_find(t, text, n, true) : AQZ_NO_TOKEN;
		if (!t->byte_level && t->byte_fallback)
			id = aqz_vocab_find_text(t, text, n);
		t->byte_ids[c] = id;
	}
	if (t->pairs == NULL)
		AQZ_TRY(aqz_pairs_begin(t, 0, err));
	t->cut_at_space = can_cut(t);
	AQZ_TRY(aqz_added_finish(t, err));
	AQZ_TRY(aqz_decoder_finish(t, err));
out:
	return status;
}
