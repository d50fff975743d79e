/* SPDX-License-Identifier: Apache-2.0 */
/* Texts cut into windows: runs of tokens that a model sees from position 0 on. */
#include "aqlmzip_model.h"
#include "base/base.h"

void aqz_windows_free(aqz_windows *w)
{
	if (w == NULL)
		return;
	free(w->ids);
	free(w->begin);
	memset(w, 0, sizeof *w);
}

/* Keeps the windows that max_windows, max_tokens and spread leave, moved together in place. */
static aqz_status take_some(aqz_windows *w, const aqz_windows_options *opt, aqz_error *err)
{
	uint64_t n = w->n_windows, n_tokens = n == 0 ? 0 : w->begin[n] - w->begin[0], wanted = n, at = 0;
	uint32_t kept = 0;

	if (opt->max_windows != 0 && opt->max_windows < wanted)
		wanted = opt->max_windows;
	if (opt->spread && opt->max_tokens != 0 && opt->max_tokens < n_tokens) {
		/* As many as windows of mean length would be; n is below 2^32, so only the tokens can be
		 * too many for the product. */
		uint64_t fit = (uint64_t)((double)opt->max_tokens * (double)n / (double)n_tokens);

		wanted = aqz_min(wanted, fit == 0 ? 1 : fit);
	}
	for (uint64_t i = 0; i < wanted; i++) {
		uint64_t from = opt->spread ? i * n / wanted : i;
		uint64_t begin = w->begin[from], length = w->begin[from + 1] - begin;

		if (opt->max_tokens != 0 && (at > opt->max_tokens || length > opt->max_tokens - at))
			break;
		/* kept <= from and at <= begin: what is read later is not overwritten. */
		memmove(w->ids + at, w->ids + begin, (size_t)length * sizeof *w->ids);
		w->begin[kept++] = at;
		at += length;
	}
	if (n != 0 && kept == 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.max_tokens",
			"%llu tokens are less than the first window has, %llu",
			(unsigned long long)opt->max_tokens, (unsigned long long)(w->begin[1] - w->begin[0]));
	w->begin[kept] = at;
	w->n_windows = kept;
	return AQZ_OK;
}

/* Windows under way. */
typedef struct cutter {
	const aqz_tokenizer *tokenizer;
	const aqz_windows_options *opt;
	aqz_windows *out;
	uint32_t bos;
	uint64_t capacity_ids, capacity_windows;
} cutter;

/* Room for n_ids more tokens and one more window. */
static aqz_status reserve(cutter *c, uint64_t n_ids, aqz_error *err)
{
	aqz_windows *w = c->out;
	uint64_t used = w->n_windows == 0 ? 0 : w->begin[w->n_windows];

	/* Tokens in memory are fewer than 2^61, so no sum here overflows. */
	if (n_ids > c->capacity_ids - used) {
		uint64_t capacity = 2 * c->capacity_ids + n_ids;
		uint32_t *grown = realloc(w->ids, (size_t)capacity * sizeof *grown);

		if (grown == NULL)
			return aqz_fail_nomem(err, capacity * sizeof *grown);
		w->ids = grown;
		c->capacity_ids = capacity;
	}
	if (w->n_windows + UINT64_C(2) > c->capacity_windows) {
		uint64_t capacity = 2 * c->capacity_windows + 2;
		uint64_t *grown = realloc(w->begin, (size_t)capacity * sizeof *grown);

		if (grown == NULL)
			return aqz_fail_nomem(err, capacity * sizeof *grown);
		w->begin = grown;
		c->capacity_windows = capacity;
	}
	return AQZ_OK;
}

/* Appends a window: BOS if asked for, then the tokens. One without a prediction is left out. */
static aqz_status add_window(cutter *c, bool with_bos, const uint32_t *ids, uint64_t n, aqz_error *err)
{
	aqz_windows *w = c->out;
	uint64_t at = w->n_windows == 0 ? 0 : w->begin[w->n_windows];
	aqz_status status;

	if (n + with_bos < 2)
		return AQZ_OK;
	if (w->n_windows == UINT32_MAX)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "text", "more than 4294967295 windows");
	status = reserve(c, n + 1, err);
	if (status != AQZ_OK)
		return status;
	w->begin[w->n_windows++] = at;
	if (with_bos)
		w->ids[at++] = c->bos;
	memcpy(w->ids + at, ids, (size_t)n * sizeof *ids);
	w->begin[w->n_windows] = at + n;
	return AQZ_OK;
}

/* All of a text as one stream of tokens: whole windows, or the one that it is too short for. */
static aqz_status cut_text(cutter *c, const char *text, size_t n_bytes, aqz_error *err)
{
	const uint64_t length = c->opt->length;
	uint64_t at = 0;
	uint32_t *ids = NULL;
	size_t n = 0;
	aqz_status status;

	AQZ_TRY(aqz_tokenizer_encode(c->tokenizer, &ids, &n, text, n_bytes, true, err));
	for (;;) {
		bool bos = c->opt->bos == AQZ_BOS_EACH || (c->opt->bos == AQZ_BOS_FIRST && at == 0);
		uint64_t room = length - bos;

		if (n - at < room) {
			if (at == 0)
				status = add_window(c, bos, ids, n, err);
			break;
		}
		AQZ_TRY(add_window(c, bos, ids + at, room, err));
		at += room;
	}
out:
	free(ids);
	return status;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static aqz_status cut_document(cutter *c, const char *text, size_t n_bytes, aqz_error *err)
{
	bool bos =
		c->opt->bos == AQZ_BOS_EACH || (c->opt->bos == AQZ_BOS_FIRST && c->out->n_windows == 0);
	uint32_t *ids = NULL;
	size_t n = 0;
	aqz_status status;

	while (n_bytes > 0 && is_space(text[0])) {
		text++;
		n_bytes--;
	}
	while (n_bytes > 0 && is_space(text[n_bytes - 1]))
		n_bytes--;
	if (n_bytes == 0)
		return AQZ_OK;
	status = aqz_tokenizer_encode(c->tokenizer, &ids, &n, text, n_bytes, true, err);
	if (status == AQZ_OK)
		status = add_window(c, bos, ids, aqz_min(n, c->opt->length - bos), err);
	free(ids);
	return status;
}

static aqz_status cut_documents(cutter *c, const char *text, size_t n_bytes, aqz_error *err)
{
	const char *separator = c->opt->separator;
	size_t m = strlen(separator);
	aqz_status status;

	for (;;) {
		const char *end = n_bytes == 0 ? NULL : memmem(text, n_bytes, separator, m);
		size_t n = end != NULL ? (size_t)(end - text) : n_bytes;

		status = cut_document(c, text, n, err);
		if (status != AQZ_OK || end == NULL)
			return status;
		text = end + m;
		n_bytes -= n + m;
	}
}

/* Bytes of the text that ids [from, n) stand for. at_start: ids[0] is BOS or begins a text. */
static aqz_status text_bytes(uint64_t *n_bytes, const aqz_tokenizer *t, const uint32_t *ids,
	uint64_t n, bool at_start, aqz_error *err)
{
	bool bos = ids[0] == aqz_tokenizer_bos(t);
	size_t all = 0, first = 0;
	char *text;
	aqz_status status;

	/* What is predicted: the whole, less the first token. */
	status = aqz_tokenizer_decode(t, &text, &all, ids + bos, (size_t)n - bos, at_start, true, err);
	if (status != AQZ_OK)
		return status;
	free(text);
	if (!bos) {
		status = aqz_tokenizer_decode(t, &text, &first, ids, 1, at_start, true, err);
		if (status != AQZ_OK)
			return status;
		free(text);
	}
	*n_bytes += all > first ? all - first : 0;
	return AQZ_OK;
}

static aqz_status check(
	const aqz_windows *out, const aqz_tokenizer *t, const aqz_windows_options *opt, aqz_error *err)
{
	if (out == NULL || t == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "windows",
			"there is no place for the windows or no tokenizer");
	if (opt == NULL || opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"struct_size is not that of this version of the library");
	if (opt->length < 2)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.length",
			"a window needs at least 2 tokens, not %u", opt->length);
	if ((unsigned)opt->bos > AQZ_BOS_EACH)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.bos", "there is no such value");
	if (opt->separator != NULL && *opt->separator == '\0')
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.separator",
			"an empty separator separates nothing");
	if (opt->bos != AQZ_BOS_NONE && aqz_tokenizer_bos(t) == AQZ_NO_TOKEN)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.bos",
			"the tokenizer has no token that begins a text");
	return AQZ_OK;
}

aqz_status aqz_windows_from_text(aqz_windows *out, const aqz_tokenizer *tokenizer, const char *text,
	size_t n_bytes, const aqz_windows_options *opt, aqz_error *err)
{
	cutter c = {.tokenizer = tokenizer, .opt = opt, .out = out};
	aqz_status status = check(out, tokenizer, opt, err);

	if (status != AQZ_OK)
		return status;
	memset(out, 0, sizeof *out);
	c.bos = aqz_tokenizer_bos(tokenizer);
	AQZ_TRY(opt->separator != NULL ? cut_documents(&c, text, n_bytes, err)
								   : cut_text(&c, text, n_bytes, err));
	if (out->n_windows == 0) {
		status = aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "text",
			n_bytes == 0 ? "the text is empty" : "the text has no token to predict");
		goto out;
	}
	AQZ_TRY(take_some(out, opt, err));
	for (uint32_t i = 0; i < out->n_windows; i++)
		AQZ_TRY(text_bytes(&out->n_bytes, tokenizer, out->ids + out->begin[i],
			out->begin[i + 1] - out->begin[i], opt->separator != NULL || i == 0, err));
out:
	if (status != AQZ_OK)
		aqz_windows_free(out);
	return status;
}
