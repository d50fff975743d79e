/* SPDX-License-Identifier: Apache-2.0 */
/* A prompt and what a model makes of it, token by token. Text is handed out in whole characters: tokens of byte-level
 * vocabularies may end inside of one. */
#include <time.h>

#include "model/forward.h"
#include "model/utf8_stream.h"

typedef struct generation {
	aqz_session *session;
	const aqz_model *model;
	const aqz_tokenizer *tokenizer;
	const aqz_generate_options *opt;
	aqz_utf8_stream text;
	float *logits;
	bool fresh; /* the next token begins a text */
} generation;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool among(uint32_t id, const uint32_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static bool ends(const generation *g, uint32_t id)
{
	const aqz_model_config *c = &g->model->config;

	return among(id, g->opt->stop, g->opt->n_stop) ||
		(!g->opt->ignore_end &&
			(among(id, c->eos, c->n_eos) ||
				(g->tokenizer != NULL && id == aqz_tokenizer_eos(g->tokenizer))));
}

static aqz_status hand_out(
	const generation *g, uint32_t id, const char *text, size_t n, aqz_error *err)
{
	if (g->opt->token == NULL || g->opt->token(g->opt->user, id, text, n))
		return AQZ_OK;
	return aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, "", "the generation was stopped");
}

/* Gives a token to the caller with the characters that it completes. */
static aqz_status tell(generation *g, uint32_t id, aqz_error *err)
{
	const char *bytes = "", *out;
	char *first = NULL;
	size_t n = 0;
	aqz_status status = AQZ_OK;

	if (g->tokenizer != NULL && g->fresh && id < aqz_tokenizer_size(g->tokenizer)) {
		/* At the start of a text the space is taken off that SentencePiece put there. */
		AQZ_TRY(aqz_tokenizer_decode(g->tokenizer, &first, &n, &id, 1, true, false, err));
		bytes = first;
		g->fresh = n == 0;
	} else if (g->tokenizer != NULL) {
		bytes = aqz_tokenizer_bytes(g->tokenizer, id, &n);
	}
	AQZ_TRY(aqz_utf8_stream_add(&g->text, bytes, n, &out, &n, err));
	status = hand_out(g, id, out, n, err);
out:
	free(first);
	return status;
}

/* True if a prompt holds nothing but special tokens, so that an answer begins a text. */
static aqz_status has_no_text(
	bool *none, const aqz_tokenizer *t, const uint32_t *ids, uint32_t n_ids, aqz_error *err)
{
	uint32_t known = 0;
	char *text;
	size_t n;
	aqz_status status;

	*none = false;
	if (t == NULL)
		return AQZ_OK;
	while (known < n_ids && ids[known] < aqz_tokenizer_size(t))
		known++;
	status = aqz_tokenizer_decode(t, &text, &n, ids, known, true, false, err);
	if (status == AQZ_OK) {
		*none = n == 0 && known == n_ids;
		free(text);
	}
	return status;
}

static aqz_status feed(generation *g, const uint32_t *ids, uint32_t n, aqz_error *err)
{
	const aqz_feed one = {.sequence = 0, .ids = ids, .n_ids = n, .n_logits = 1};

	return aqz_session_feed(g->session, g->logits, &one, 1, err);
}

static aqz_status check(const aqz_session *session, const aqz_generated *out,
	const uint32_t *prompt, uint32_t n_prompt, const aqz_generate_options *opt, aqz_error *err)
{
	uint32_t capacity, used;

	if (session == NULL || out == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "",
			"there is no session or no place for the result");
	if (opt == NULL || opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	if (opt->n_stop > 0 && opt->stop == NULL)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.stop", "there are no stop tokens");
	if (prompt == NULL || n_prompt == 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "prompt",
			"the prompt has no tokens; a model needs one to go on from");
	capacity = aqz_session_capacity(session);
	used = aqz_session_length(session, 0);
	if (n_prompt > capacity - used)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "prompt",
			"the prompt has %u tokens, but the context has room for %u", n_prompt, capacity - used);
	return AQZ_OK;
}

/* The loop behind the prompt, whose logits are there. */
static aqz_status go_on(generation *g, aqz_generated *out, aqz_error *err)
{
	const uint32_t capacity = aqz_session_capacity(g->session);
	uint64_t state = g->opt->sampling.seed;
	const char *rest;
	size_t n_rest;
	aqz_status status = AQZ_OK;

	while (out->n_generated < g->opt->max_tokens) {
		uint32_t id = aqz_sample(g->logits, g->model->config.vocabulary, &g->opt->sampling, &state);

		out->n_generated++;
		if (ends(g, id)) {
			out->stopped = true;
			break;
		}
		AQZ_TRY(tell(g, id, err));
		if (out->n_generated == g->opt->max_tokens || aqz_session_length(g->session, 0) >= capacity)
			break;
		AQZ_TRY(feed(g, &id, 1, err));
	}
	/* What never became a character. */
	aqz_utf8_stream_end(&g->text, &rest, &n_rest);
	if (n_rest > 0)
		status = hand_out(g, AQZ_NO_TOKEN, rest, n_rest, err);
out:
	return status;
}

aqz_status aqz_generate(aqz_session *session, aqz_generated *out, const uint32_t *prompt,
	uint32_t n_prompt, const aqz_generate_options *opt, aqz_error *err)
{
	generation g = {.session = session, .opt = opt};
	double start, behind;
	aqz_status status = check(session, out, prompt, n_prompt, opt, err);

	if (status != AQZ_OK)
		return status;
	memset(out, 0, sizeof *out);
	g.model = aqz_session_model(session);
	g.tokenizer = g.model->tokenizer;
	/* The vocabulary is checked where the model is opened: the product fits. */
	g.logits = malloc(g.model->config.vocabulary * sizeof *g.logits);
	if (g.logits == NULL)
		return aqz_fail_nomem(err, g.model->config.vocabulary * sizeof *g.logits);
	if (aqz_session_length(session, 0) == 0)
		AQZ_TRY(has_no_text(&g.fresh, g.tokenizer, prompt, n_prompt, err));
	start = now();
	AQZ_TRY(feed(&g, prompt, n_prompt, err));
	behind = now();
	out->n_prompt = n_prompt;
	out->prompt_seconds = behind - start;
	status = go_on(&g, out, err);
	out->generate_seconds = now() - behind;
out:
	aqz_utf8_stream_free(&g.text);
	free(g.logits);
	return status;
}
