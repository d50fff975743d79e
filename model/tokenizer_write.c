/* SPDX-License-Identifier: Apache-2.0 */
/* Writes tokenizer.json, as the package tokenizers reads it. */
#include <stdio.h>

#include "model/tokenizer.h"

typedef struct writer {
	const aqz_tokenizer *t;
	aqz_buffer out;
	aqz_status status;
	aqz_error *err;
} writer;

static void put_bytes(writer *w, const void *data, size_t n)
{
	if (w->status == AQZ_OK)
		w->status = aqz_buffer_add(&w->out, data, n, w->err);
}

static void put(writer *w, const char *text)
{
	put_bytes(w, text, strlen(text));
}

static void put_number(writer *w, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof text, "%u", value);
	put(w, text);
}

static void put_bool(writer *w, const char *key, bool value)
{
	put(w, key);
	put(w, value ? "true" : "false");
}

/* The inside of a string. */
static void put_escaped(writer *w, const char *text, size_t n)
{
	size_t done = 0;

	for (size_t i = 0; i < n; i++) {
		const unsigned char c = (unsigned char)text[i];
		char escape[8];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		put_bytes(w, text + done, i - done);
		done = i + 1;
		if (c == '"' || c == '\\')
			snprintf(escape, sizeof escape, "\\%c", c);
		else
			snprintf(escape, sizeof escape, "\\u%04x", c);
		put(w, escape);
	}
	if (n > done) /* an empty piece has no text at all */
		put_bytes(w, text + done, n - done);
}

static void put_string(writer *w, const char *text, size_t n)
{
	put(w, "\"");
	put_escaped(w, text, n);
	put(w, "\"");
}

/* A token's text as vocabularies have it, without quotes. */
static void put_token_text(writer *w, uint32_t id)
{
	const aqz_token *token = &w->t->tokens[id];
	char letters[2 * AQZ_TOKENIZER_MAX_TOKEN_BYTES];

	if (w->t->byte_level && (token->flags & AQZ_TOKEN_TEXT))
		put_escaped(w, letters, aqz_letters_write(letters, token->key, token->key_bytes));
	else
		put_escaped(w, token->key, token->key_bytes);
}

/* In their order: the first of those that match the same text counts. */
static void put_added(writer *w)
{
	const aqz_tokenizer *t = w->t;

	put(w, "\"added_tokens\":[");
	for (uint32_t i = 0; i < t->n_added; i++) {
		const aqz_added *a = &t->added[i];

		put(w, i == 0 ? "\n{\"id\":" : ",\n{\"id\":");
		put_number(w, a->id);
		put(w, ",\"content\":");
		put_string(w, a->content, a->content_bytes);
		put_bool(w, ",\"single_word\":", a->single_word);
		put_bool(w, ",\"lstrip\":", a->lstrip);
		put_bool(w, ",\"rstrip\":", a->rstrip);
		put_bool(w, ",\"normalized\":", a->normalized);
		put_bool(w, ",\"special\":", a->special);
		put(w, "}");
	}
	put(w, "],\n");
}

static void put_pattern(writer *w, const aqz_step *step)
{
	put(w, step->code != NULL ? "\"pattern\":{\"Regex\":" : "\"pattern\":{\"String\":");
	put_string(w, step->from, step->from_bytes);
	put(w, "}");
}

static void put_metaspace(writer *w, const aqz_step *step)
{
	static const char *const schemes[] = {"always", "first", "never"};

	put(w, "{\"type\":\"Metaspace\",\"replacement\":");
	put_string(w, step->to, step->to_bytes);
	put(w, ",\"prepend_scheme\":\"");
	put(w, schemes[step->scheme]);
	put_bool(w, "\",\"split\":", step->split);
	put(w, "}");
}

/* A normalizer or decoder. */
static void put_step(writer *w, const aqz_step *step, bool decoder)
{
	static const char *const plain[] = {[AQZ_STEP_NFC] = "NFC",
		[AQZ_STEP_NFD] = "NFD",
		[AQZ_STEP_NFKC] = "NFKC",
		[AQZ_STEP_NFKD] = "NFKD",
		[AQZ_STEP_LOWERCASE] = "Lowercase",
		[AQZ_STEP_BYTE_FALLBACK] = "ByteFallback",
		[AQZ_STEP_FUSE] = "Fuse"};

	switch (step->kind) {
	case AQZ_STEP_PREPEND:
		put(w, "{\"type\":\"Prepend\",\"prepend\":");
		put_string(w, step->to, step->to_bytes);
		break;
	case AQZ_STEP_REPLACE:
		put(w, "{\"type\":\"Replace\",");
		put_pattern(w, step);
		put(w, ",\"content\":");
		put_string(w, step->to, step->to_bytes);
		break;
	case AQZ_STEP_STRIP:
		if (decoder) {
			put(w, "{\"type\":\"Strip\",\"content\":");
			put_string(w, step->from, step->from_bytes);
			put(w, ",\"start\":");
			put_number(w, step->count);
			put(w, ",\"stop\":0");
		} else {
			put_bool(w, "{\"type\":\"Strip\",\"strip_left\":", step->left);
			put_bool(w, ",\"strip_right\":", step->right);
		}
		break;
	case AQZ_STEP_METASPACE:
		put_metaspace(w, step);
		return;
	default:
		put(w, "{\"type\":\"");
		put(w, plain[step->kind]);
		put(w, "\"");
	}
	put(w, "}");
}

static void put_steps(writer *w, const aqz_steps *steps, const char *list, bool decoder)
{
	if (steps->n == 0) {
		put(w, "null");
		return;
	}
	put(w, "{\"type\":\"Sequence\",\"");
	put(w, list);
	put(w, "\":[");
	for (uint32_t i = 0; i < steps->n; i++) {
		if (i > 0)
			put(w, ",");
		put_step(w, &steps->step[i], decoder);
	}
	put(w, "]}");
}

static void put_byte_level(writer *w)
{
	put_bool(w, "{\"type\":\"ByteLevel\",\"add_prefix_space\":", w->t->byte_level_prefix);
	put_bool(w, ",\"trim_offsets\":true,\"use_regex\":", w->t->byte_level_regex);
	put(w, "}");
}

static void put_pre_tokenizer(writer *w)
{
	static const char *const behaviors[] = {
		"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
	const aqz_steps *steps = &w->t->pre_tokenizer;

	if (steps->n == 0) {
		if (w->t->byte_level)
			put_byte_level(w);
		else
			put(w, "null");
		return;
	}
	put(w, "{\"type\":\"Sequence\",\"pretokenizers\":[");
	for (uint32_t i = 0; i < steps->n; i++) {
		const aqz_step *step = &steps->step[i];

		if (i > 0)
			put(w, ",");
		if (step->kind == AQZ_STEP_METASPACE) {
			put_metaspace(w, step);
			continue;
		}
		put(w, "{\"type\":\"Split\",");
		put_pattern(w, step);
		put(w, ",\"behavior\":\"");
		put(w, behaviors[step->behavior]);
		put_bool(w, "\",\"invert\":", step->invert);
		put(w, "}");
	}
	if (w->t->byte_level) {
		put(w, ",");
		put_byte_level(w);
	}
	put(w, "]}");
}

/* BOS before a text, if that is usual. */
static void put_post_processor(writer *w)
{
	const aqz_tokenizer *t = w->t;
	static const char sequence[] = "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}";
	static const char second[] = "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}";

	if (!t->adds_bos || t->bos == AQZ_NO_TOKEN) {
		if (t->byte_level)
			put_byte_level(w);
		else
			put(w, "null");
		return;
	}
	put(w, "{\"type\":\"TemplateProcessing\",\"single\":[");
	for (int i = 0; i < 3; i++) {
		if (i == 1) {
			put(w, sequence);
			put(w, "],\"pair\":[");
		}
		put(w, "{\"SpecialToken\":{\"id\":\"");
		put_token_text(w, t->bos);
		put(w, i == 2 ? "\",\"type_id\":1}}," : "\",\"type_id\":0}},");
		if (i == 1) {
			put(w, sequence);
			put(w, ",");
		}
	}
	put(w, second);
	put(w, "],\"special_tokens\":{\"");
	put_token_text(w, t->bos);
	put(w, "\":{\"id\":\"");
	put_token_text(w, t->bos);
	put(w, "\",\"ids\":[");
	put_number(w, t->bos);
	put(w, "],\"tokens\":[\"");
	put_token_text(w, t->bos);
	put(w, "\"]}}}");
}

static void put_vocab(writer *w)
{
	const char *before = "\n\"";

	put(w, "\"vocab\":{");
	for (uint32_t id = 0; id < w->t->n_ids; id++) {
		if (!(w->t->tokens[id].flags & AQZ_TOKEN_VOCAB))
			continue;
		put(w, before);
		before = ",\n\"";
		put_token_text(w, id);
		put(w, "\":");
		put_number(w, id);
	}
	put(w, "},\n");
}

/* Pairs in the order in which they merge. Those of equal scores, which only SentencePiece has, as the converters of
 * others order them. */
static int by_rank(const void *a, const void *b)
{
	const aqz_pair *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->merged != y->merged)
		return x->merged < y->merged ? -1 : 1;
	if (x->left != y->left)
		return x->left < y->left ? -1 : 1;
	return x->right < y->right ? -1 : x->right > y->right;
}

static void put_merges(writer *w)
{
	const aqz_tokenizer *t = w->t;
	aqz_pair *pairs = malloc(((size_t)t->n_pairs + 1) * sizeof *pairs);
	uint32_t n = 0;

	if (pairs == NULL) {
		w->status = aqz_fail_nomem(w->err, t->n_pairs * sizeof *pairs);
		return;
	}
	/* Pairs of characters that are no tokens cannot be written. */
	for (uint64_t i = 0; i <= t->pair_mask; i++)
		if (t->pairs[i].merged != AQZ_NO_TOKEN && t->pairs[i].left < t->n_ids &&
			t->pairs[i].right < t->n_ids)
			pairs[n++] = t->pairs[i];
	qsort(pairs, n, sizeof *pairs, by_rank);
	put(w, "\"merges\":[");
	for (uint32_t i = 0; i < n; i++) {
		put(w, i == 0 ? "\n[\"" : ",\n[\"");
		put_token_text(w, pairs[i].left);
		put(w, "\",\"");
		put_token_text(w, pairs[i].right);
		put(w, "\"]");
	}
	put(w, "]");
	free(pairs);
}

static void put_model(writer *w)
{
	const aqz_tokenizer *t = w->t;

	put(w, "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
	if (t->unk == AQZ_NO_TOKEN) {
		put(w, "null");
	} else {
		put(w, "\"");
		put_token_text(w, t->unk);
		put(w, "\"");
	}
	put(w, ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null");
	put_bool(w, ",\"fuse_unk\":", t->fuse_unk);
	put_bool(w, ",\"byte_fallback\":", t->byte_fallback);
	put_bool(w, ",\"ignore_merges\":", t->ignore_merges);
	put(w, ",\n");
	put_vocab(w);
	put_merges(w);
	put(w, "}");
}

/* User defined pieces are matched in normalised text as they are; tokenizer.json normalises them too. */
static aqz_status check(const aqz_tokenizer *t, aqz_error *err)
{
	aqz_buffer text = {0}, scratch = {0};
	aqz_regex_run run = {0};
	aqz_status status;

	AQZ_TRY(aqz_regex_begin(&run, err));
	for (uint32_t i = 0; i < t->n_added; i++) {
		const aqz_added *a = &t->added[i];

		if (!a->literal)
			continue;
		AQZ_TRY(aqz_normalize(t, &run, &text, &scratch, a->content, a->content_bytes, err));
		if (text.n != a->content_bytes || memcmp(text.data, a->content, text.n) != 0) {
			status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "pieces",
				"tokenizer.json cannot express the user defined piece %u after the normalizer",
				a->id);
			goto out;
		}
	}
out:
	aqz_regex_end(&run);
	aqz_buffer_free(&text);
	aqz_buffer_free(&scratch);
	return status;
}

aqz_status aqz_tokenizer_to_json(const aqz_tokenizer *t, char **json, size_t *n_bytes, aqz_error *err)
{
	writer w = {.t = t, .err = err};

	*json = NULL;
	*n_bytes = 0;
	w.status = check(t, err);
	put(&w, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
	put_added(&w);
	put(&w, "\"normalizer\":");
	put_steps(&w, &t->normalizer, "normalizers", false);
	put(&w, ",\n\"pre_tokenizer\":");
	put_pre_tokenizer(&w);
	put(&w, ",\n\"post_processor\":");
	put_post_processor(&w);
	put(&w, ",\n\"decoder\":");
	if (t->byte_level)
		put(&w, "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}");
	else
		put_steps(&w, &t->decoder, "decoders", true);
	put(&w, ",\n\"model\":");
	if (w.status == AQZ_OK)
		put_model(&w);
	put(&w, "}\n");
	put_bytes(&w, "", 1);
	if (w.status != AQZ_OK) {
		aqz_buffer_free(&w.out);
		return w.status;
	}
	*json = (char *)w.out.data;
	*n_bytes = w.out.n - 1;
	return AQZ_OK;
}
