/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer in a GGUF's metadata: byte-level ("gpt2") with merges, of which only the family's name says how text is
 * split, or SentencePiece's ("llama") with scores. */
#include <math.h>
#include <stdio.h>

#include "model/model.h"
#include "model/tokenizer.h"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits)                                                   \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TEKKEN                                                                                   \
	"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|" \
	"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|" \
	"\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* How the Hugging Face tokenizers of the families split. */
static const struct family {
	const char *pre, *split;
	bool digits;		/* each digit alone, before that */
	bool ignore_merges; /* a split that is a token is that token */
	bool nfc, adds_bos;
} families[] = {
	{"default", GPT2, false, false, false, false},
	{"gpt-2", GPT2, false, false, false, false},
	{"olmo", GPT2, false, false, false, false},
	{"phi-2", GPT2, false, false, false, false},
	{"smollm", GPT2, true, false, false, false},
	{"starcoder", GPT2, true, false, false, false},
	{"refact", GPT2, true, false, false, false},
	{"llama-bpe", LLAMA3("\\p{N}{1,3}"), false, true, false, true},
	{"llama3", LLAMA3("\\p{N}{1,3}"), false, true, false, true},
	{"llama-v3", LLAMA3("\\p{N}{1,3}"), false, true, false, true},
	{"qwen2", LLAMA3("\\p{N}"), false, false, true, false},
	{"deepseek-r1-qwen", LLAMA3("\\p{N}"), false, false, true, false},
	{"tekken", TEKKEN, false, true, false, true},
};

static aqz_status fault(aqz_error *err, aqz_status status, const char *key, const char *what)
{
	return aqz_fail(err, status, AQZ_NO_OFFSET, key, "%s", what);
}

/* A text of the metadata, or NULL. */
static const char *text_of(const aqz_gguf *g, const char *key, size_t *n)
{
	const aqz_gguf_value *v = aqz_gguf_find(g, key);

	*n = 0;
	return v != NULL && v->kind == AQZ_GGUF_STRING && !v->array ? aqz_gguf_string(g, v, 0, n) : NULL;
}

/* An array of so many elements, or NULL. */
static const aqz_gguf_value *array_of(const aqz_gguf *g, const char *key, bool strings)
{
	const aqz_gguf_value *v = aqz_gguf_find(g, key);

	return v != NULL && v->array && (v->kind == AQZ_GGUF_STRING) == strings ? v : NULL;
}

static bool bool_of(const aqz_gguf *g, const char *key, bool otherwise)
{
	const aqz_gguf_value *v = aqz_gguf_find(g, key);
	int64_t value;

	return v != NULL && !v->array && aqz_gguf_integer(v, 0, &value) ? value != 0 : otherwise;
}

/* The id under a key; otherwise stays if there is none. */
static aqz_status id_of(
	const aqz_tokenizer *t, const aqz_gguf *g, const char *key, uint32_t *id, aqz_error *err)
{
	const aqz_gguf_value *v = aqz_gguf_find(g, key);
	int64_t value;

	if (v == NULL)
		return AQZ_OK;
	if (v->array || !aqz_gguf_integer(v, 0, &value) || value < 0 || value >= t->n_ids)
		return fault(err, AQZ_E_CORRUPT, key, "the id is out of range");
	*id = (uint32_t)value;
	return AQZ_OK;
}

static aqz_status find_family(const struct family **out, const aqz_gguf *g, aqz_error *err)
{
	char shown[32];
	size_t n;
	const char *pre = text_of(g, "tokenizer.ggml.pre", &n);

	if (pre == NULL) {
		pre = "default";
		n = 7;
	}
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (strlen(families[i].pre) == n && memcmp(families[i].pre, pre, n) == 0) {
			*out = &families[i];
			return AQZ_OK;
		}
	snprintf(shown, sizeof shown, "%.*s", (int)(n < 31 ? n : 31), pre);
	for (char *c = shown; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "tokenizer.ggml.pre",
		"splitting text as \"%s\" does is not supported", shown);
}

/* Tokens with their types; without types all are normal ones. */
static aqz_status read_tokens(aqz_tokenizer *t, const aqz_gguf *g, aqz_error *err)
{
	const aqz_gguf_value *tokens = array_of(g, "tokenizer.ggml.tokens", true);
	const aqz_gguf_value *types = array_of(g, "tokenizer.ggml.token_type", false);
	aqz_status status;

	if (tokens == NULL)
		return fault(err, AQZ_E_CORRUPT, "tokenizer.ggml.tokens", "there are no tokens");
	if (types != NULL && types->n != tokens->n)
		return fault(
			err, AQZ_E_CORRUPT, "tokenizer.ggml.token_type", "there is not one for each token");
	AQZ_TRY(aqz_vocab_begin(t, tokens->n, tokens->n, err));
	for (uint32_t id = 0; id < tokens->n; id++) {
		int64_t type = 1;
		size_t n;
		const char *text = aqz_gguf_string(g, tokens, id, &n);

		if (types != NULL && !aqz_gguf_integer(types, id, &type))
			type = 0;
		if (type < 1 || type > 6)
			return fault(err, AQZ_E_CORRUPT, "tokenizer.ggml.token_type", "an unknown type");
		if (n == 0 || aqz_utf8_valid(text, n) != n)
			return fault(err, AQZ_E_CORRUPT, "tokenizer.ggml.tokens", "a token is empty or no UTF-8");
		AQZ_TRY(aqz_vocab_add_piece(t, id, text, n, type, true, err));
		t->byte_fallback = t->byte_fallback || type == 6;
	}
out:
	return status;
}

static aqz_status read_merges(aqz_tokenizer *t, const aqz_gguf *g, aqz_error *err)
{
	const char *key = "tokenizer.ggml.merges";
	const aqz_gguf_value *merges = array_of(g, key, true);
	char joined[2 * AQZ_TOKENIZER_MAX_TOKEN_BYTES];
	aqz_status status;

	if (merges == NULL || merges->n == 0)
		return fault(err, AQZ_E_CORRUPT, key, "the tokenizer has no merges");
	AQZ_TRY(aqz_pairs_begin(t, merges->n, err));
	for (uint64_t i = 0; i < merges->n; i++) {
		size_t n, n_left;
		const char *text = aqz_gguf_string(g, merges, i, &n);
		const char *space = n == 0 ? NULL : memchr(text + 1, ' ', n - 1);
		uint32_t left, right, merged;

		if (space == NULL)
			return fault(err, AQZ_E_CORRUPT, key, "a merge is not two tokens");
		n_left = (size_t)(space - text);
		left = aqz_vocab_find_text(t, text, n_left);
		right = aqz_vocab_find_text(t, space + 1, n - n_left - 1);
		if (left == AQZ_NO_TOKEN || right == AQZ_NO_TOKEN)
			return fault(err, AQZ_E_CORRUPT, key, "a merge names a token that is not there");
		memcpy(joined, text, n_left);
		memcpy(joined + n_left, space + 1, n - n_left - 1);
		merged = aqz_vocab_find_text(t, joined, n - 1);
		if (merged == AQZ_NO_TOKEN)
			return fault(err, AQZ_E_CORRUPT, key, "a merge makes a token that is not there");
		aqz_pairs_add(t, left, right, (uint32_t)i, merged);
	}
out:
	return status;
}

static aqz_status read_byte_level(aqz_tokenizer *t, const aqz_gguf *g, aqz_error *err)
{
	const aqz_step nfc = {.kind = AQZ_STEP_NFC};
	const struct family *family = NULL;
	aqz_status status;

	AQZ_TRY(find_family(&family, g, err));
	t->byte_level = true;
	t->byte_level_prefix = bool_of(g, "tokenizer.ggml.add_space_prefix", false);
	t->ignore_merges = family->ignore_merges;
	t->adds_bos = bool_of(g, "tokenizer.ggml.add_bos_token", family->adds_bos);
	if (family->nfc)
		AQZ_TRY(aqz_steps_add(&t->normalizer, &nfc, "normalizer", err));
	if (family->digits)
		AQZ_TRY(aqz_steps_add_split(t, "\\p{N}", AQZ_SPLIT_ISOLATED, false, err));
	/* The split of ByteLevel itself comes after the space that it may put before a text. */
	t->byte_level_regex = strcmp(family->split, aqz_gpt2_pattern) == 0;
	if (!t->byte_level_regex)
		AQZ_TRY(aqz_steps_add_split(t, family->split, AQZ_SPLIT_ISOLATED, false, err));
	AQZ_TRY(aqz_steps_gpt2(t, err));
	AQZ_TRY(read_tokens(t, g, err));
	AQZ_TRY(read_merges(t, g, err));
	t->byte_fallback = false;
out:
	return status;
}

static aqz_status read_scored(aqz_tokenizer *t, const aqz_gguf *g, aqz_error *err)
{
	const char *key = "tokenizer.ggml.scores";
	const aqz_gguf_value *v = array_of(g, key, false);
	float *scores = NULL;
	aqz_status status;

	AQZ_TRY(read_tokens(t, g, err));
	if (v == NULL || v->n != t->n_ids)
		return fault(err, AQZ_E_CORRUPT, key, "there is not one for each token");
	scores = calloc(t->n_ids, sizeof *scores);
	if (scores == NULL)
		return aqz_fail_nomem(err, t->n_ids * sizeof *scores);
	for (uint32_t id = 0; id < t->n_ids; id++) {
		double score;

		if (!aqz_gguf_double(v, id, &score) || isnan(score)) {
			status = fault(err, AQZ_E_CORRUPT, key, "a score is no number");
			goto out;
		}
		scores[id] = (float)score;
	}
	t->fuse_unk = true;
	t->adds_bos = bool_of(g, "tokenizer.ggml.add_bos_token", true);
	AQZ_TRY(aqz_pairs_from_scores(t, scores, err));
	AQZ_TRY(aqz_steps_sentencepiece(t, bool_of(g, "tokenizer.ggml.add_space_prefix", true),
		bool_of(g, "tokenizer.ggml.remove_extra_whitespaces", false), true, err));
out:
	free(scores);
	return status;
}

aqz_status aqz_tokenizer_from_gguf(
	aqz_tokenizer **out, const aqz_gguf *g, uint64_t memlimit_bytes, aqz_error *err)
{
	size_t n, n_chat;
	const char *model = text_of(g, "tokenizer.ggml.model", &n);
	const char *chat = text_of(g, "tokenizer.chat_template", &n_chat);
	aqz_tokenizer *t = NULL;
	aqz_status status;

	*out = NULL;
	if (model == NULL)
		return fault(err, AQZ_E_NOT_FOUND, "tokenizer.ggml.model", "the file has no tokenizer");
	AQZ_TRY(aqz_tokenizer_new(&t, memlimit_bytes, err));
	if (n == 4 && memcmp(model, "gpt2", 4) == 0)
		AQZ_TRY(read_byte_level(t, g, err));
	else if (n == 5 && memcmp(model, "llama", 5) == 0)
		AQZ_TRY(read_scored(t, g, err));
	else {
		status = fault(err, AQZ_E_UNSUPPORTED, "tokenizer.ggml.model",
			"only gpt2 (byte-level BPE) and llama (SentencePiece BPE) are supported");
		goto out;
	}
	AQZ_TRY(id_of(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err));
	AQZ_TRY(id_of(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err));
	AQZ_TRY(id_of(t, g, "tokenizer.ggml.unknown_token_id", &t->unk, err));
	t->adds_bos = t->adds_bos && t->bos != AQZ_NO_TOKEN;
	if (chat != NULL)
		AQZ_TRY(aqz_tokenizer_keep(t, &t->chat_template, chat, n_chat, err));
	AQZ_TRY(aqz_tokenizer_finish(t, err));
	*out = t;
	t = NULL;
out:
	aqz_tokenizer_close(t);
	return status;
}
