/* SPDX-License-Identifier: Apache-2.0 */
/* Merges of SentencePiece vocabularies: any two neighbours merge whose text together is a token, that of the highest
 * score first. As a table of pairs: each token, cut in two at each character, where both parts are symbols. A
 * character that is no token may still be part of one; it gets a symbol of its own. */
#include "model/tokenizer.h"

static const char mark[] = "\xe2\x96\x81"; /* U+2581, a space */

typedef struct scored {
	float score;
	uint32_t id;
} scored;

/* Highest score first. NaN was refused. */
static int by_score(const void *a, const void *b)
{
	const scored *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Symbols for the characters of tokens of several characters, where they have none. */
static aqz_status add_characters(aqz_tokenizer *t, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (uint32_t id = 0; id < t->n_ids; id++) {
		const char *key = t->tokens[id].key; /* stays when the table of tokens moves */
		const uint32_t n = t->tokens[id].key_bytes;

		if (!(t->tokens[id].flags & AQZ_TOKEN_TEXT) || (t->tokens[id].flags & AQZ_TOKEN_ADDED))
			continue;
		for (uint32_t i = 0; i < n;) {
			const unsigned bytes = aqz_utf8_bytes(key + i, n - i);

			if (aqz_vocab_find(t, key + i, bytes, true) == AQZ_NO_TOKEN)
				AQZ_TRY(aqz_vocab_add_symbol(t, key + i, bytes, err));
			i += bytes;
		}
	}
out:
	return status;
}

/* Each way to cut a token in two symbols; counts them, or adds them with a rank. */
static uint64_t cut(aqz_tokenizer *t, uint32_t id, uint32_t rank, bool add)
{
	const aqz_token *token = &t->tokens[id];
	uint64_t n = 0;

	for (uint32_t i = 0; i < token->key_bytes;) {
		uint32_t left, right;

		i += aqz_utf8_bytes(token->key + i, token->key_bytes - i);
		if (i == token->key_bytes)
			break;
		left = aqz_vocab_find(t, token->key, i, true);
		if (left == AQZ_NO_TOKEN)
			continue;
		right = aqz_vocab_find(t, token->key + i, token->key_bytes - i, true);
		if (right == AQZ_NO_TOKEN)
			continue;
		/* Tokens that are matched as they are stand for themselves. */
		if ((t->tokens[left].flags | t->tokens[right].flags) & AQZ_TOKEN_ADDED)
			continue;
		n++;
		if (add)
			aqz_pairs_add(t, left, right, rank, id);
	}
	return n;
}

aqz_status aqz_pairs_from_scores(aqz_tokenizer *t, const float *scores, aqz_error *err)
{
	uint64_t n_pairs = 0;
	scored *order;
	uint32_t n = 0, rank = 0;
	aqz_status status;

	order = calloc((size_t)t->n_ids + 1, sizeof *order);
	if (order == NULL)
		return aqz_fail_nomem(err, t->n_ids * sizeof *order);
	AQZ_TRY(add_characters(t, err));
	for (uint32_t id = 0; id < t->n_ids; id++) {
		uint64_t n_cuts;

		if (!(t->tokens[id].flags & AQZ_TOKEN_TEXT) || (t->tokens[id].flags & AQZ_TOKEN_ADDED))
			continue;
		n_cuts = cut(t, id, 0, false);
		n_pairs += n_cuts;
		if (n_cuts > 0 && (t->tokens[id].flags & AQZ_TOKEN_UNUSED)) {
			status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "pieces",
				"the piece %u is unused but could come of merges, which is not supported", id);
			goto out;
		}
		order[n++] = (scored){scores[id], id};
	}
	qsort(order, n, sizeof *order, by_score);
	AQZ_TRY(aqz_pairs_begin(t, n_pairs, err));
	for (uint32_t i = 0; i < n; i++) {
		if (i > 0 && order[i].score != order[i - 1].score)
			rank = i;
		cut(t, order[i].id, rank, true);
	}
out:
	free(order);
	return status;
}

aqz_status aqz_steps_sentencepiece(
	aqz_tokenizer *t, bool prefix, bool strip, bool escape, aqz_error *err)
{
	/* Spaces at both ends, at the second end those that U+2581 stands for too; then several in a row. The look behind
	 * makes a long row inside of the text be looked at once only. */
	static const struct {
		const char *pattern, *to;
	} strips[] = {
		{"\\A +|(?<![ \\x{2581}])[ \\x{2581}]+\\z", ""},
		{" +", " "},
	};
	const aqz_step prepend = {.kind = AQZ_STEP_PREPEND, .to = mark, .to_bytes = 3};
	const aqz_step plain = {.kind = AQZ_STEP_PREPEND, .to = " ", .to_bytes = 1};
	const aqz_step spaces = {
		.kind = AQZ_STEP_REPLACE, .from = " ", .from_bytes = 1, .to = mark, .to_bytes = 3};
	const aqz_step back = {
		.kind = AQZ_STEP_REPLACE, .from = mark, .from_bytes = 3, .to = " ", .to_bytes = 1};
	const aqz_step bytes = {.kind = AQZ_STEP_BYTE_FALLBACK}, fuse = {.kind = AQZ_STEP_FUSE};
	const aqz_step off = {.kind = AQZ_STEP_STRIP, .from = " ", .from_bytes = 1, .count = 1};
	aqz_status status = AQZ_OK;

	for (size_t i = 0; strip && i < 2; i++) {
		aqz_step step = {.kind = AQZ_STEP_REPLACE,
			.from = strips[i].pattern,
			.from_bytes = strlen(strips[i].pattern),
			.to = strips[i].to,
			.to_bytes = strlen(strips[i].to)};

		status = aqz_regex_compile(&step.code, step.from, step.from_bytes, "normalizer", err);
		if (status == AQZ_OK)
			status = aqz_steps_add(&t->normalizer, &step, "normalizer", err);
		if (status != AQZ_OK) {
			pcre2_code_free(step.code);
			return status;
		}
	}
	if (prefix)
		AQZ_TRY(aqz_steps_add(&t->normalizer, escape ? &prepend : &plain, "normalizer", err));
	if (escape)
		AQZ_TRY(aqz_steps_add(&t->normalizer, &spaces, "normalizer", err));
	AQZ_TRY(aqz_steps_add(&t->decoder, &back, "decoder", err));
	AQZ_TRY(aqz_steps_add(&t->decoder, &bytes, "decoder", err));
	AQZ_TRY(aqz_steps_add(&t->decoder, &fuse, "decoder", err));
	if (prefix || strip)
		AQZ_TRY(aqz_steps_add(&t->decoder, &off, "decoder", err));
out:
	return status;
}
