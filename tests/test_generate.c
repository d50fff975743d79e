/* SPDX-License-Identifier: Apache-2.0 */
/* Generation: greedy text of the embedded model by hand and by its README, stop tokens, limits; text in whole
 * characters. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip_model.h"
#include "model/utf8_stream.h"

static aqz_model *model;
static const aqz_tokenizer *tokenizer;
static uint32_t vocabulary;

static void set_up(void)
{
	const char *root = getenv("AQZ_SRCDIR");
	char path[4096];
	aqz_error err = {0};

	snprintf(path, sizeof path, "%s/tests/data/stories", root != NULL ? root : ".");
	ck_assert_msg(aqz_model_open(&model, path, NULL, &err) == AQZ_OK, "%s", err.text);
	tokenizer = aqz_model_get_tokenizer(model);
	vocabulary = aqz_model_get_config(model)->vocabulary;
}

static void tear_down(void)
{
	aqz_model_close(model);
}

static aqz_session *open_session(uint32_t capacity)
{
	aqz_session *s;
	aqz_error err = {0};

	ck_assert_msg(aqz_session_open(&s, model, 1, capacity, 2, 0, &err) == AQZ_OK, "%s", err.text);
	return s;
}

/* BOS and a text. Free *ids. */
static uint32_t *encode(const char *text, uint32_t *n)
{
	uint32_t *ids, *all;
	size_t m;

	ck_assert_int_eq(
		aqz_tokenizer_encode(tokenizer, &ids, &m, text, strlen(text), true, NULL), AQZ_OK);
	all = calloc(m + 1, sizeof *all);
	all[0] = aqz_tokenizer_bos(tokenizer);
	memcpy(all + 1, ids, m * sizeof *ids);
	free(ids);
	*n = (uint32_t)m + 1;
	return all;
}

/* ---- What comes out */

typedef struct heard {
	char text[65536];
	size_t n, n_calls, n_pieces;
	uint32_t ids[1024], n_ids;
	uint32_t stop_after; /* false at this call */
	char bytes[65536];	 /* of the tokens */
	size_t n_bytes;
} heard;

/* How many bytes at the end of a text begin a character that more could complete. */
static size_t ends_inside(const char *text, size_t n)
{
	static const char *const rests[] = {
		"\x80", "\x80\x80", "\x80\x80\x80", "\xa0\x80", "\x90\x80\x80"};
	char all[16];

	for (size_t back = 1; back <= 3 && back <= n; back++)
		for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
			size_t m = strlen(rests[i]);
			const unsigned char *u = (const unsigned char *)all;

			memcpy(all, text + n - back, back);
			memcpy(all + back, rests[i], m);
			if ((u[0] >= 0xC2 && u[0] < 0xE0 && back + m == 2 && back == 1) ||
				(u[0] >= 0xE0 && u[0] < 0xF0 && back + m == 3 && (u[1] & 0xC0) == 0x80 &&
					!(u[0] == 0xE0 && u[1] < 0xA0) && !(u[0] == 0xED && u[1] > 0x9F)) ||
				(u[0] >= 0xF0 && u[0] < 0xF5 && back + m == 4 && (u[1] & 0xC0) == 0x80 &&
					(back < 3 || (u[2] & 0xC0) == 0x80) && !(u[0] == 0xF0 && u[1] < 0x90) &&
					!(u[0] == 0xF4 && u[1] > 0x8F)))
				return back;
		}
	return 0;
}

static bool on_token(void *user, uint32_t id, const char *text, size_t n_bytes)
{
	heard *h = user;

	ck_assert_uint_lt(h->n + n_bytes, sizeof h->text);
	memcpy(h->text + h->n, text, n_bytes);
	h->n += n_bytes;
	h->text[h->n] = '\0';
	h->n_calls++;
	h->n_pieces += n_bytes > 0;
	if (id != AQZ_NO_TOKEN) {
		size_t n;
		const char *bytes = aqz_tokenizer_bytes(tokenizer, id, &n);

		memcpy(h->bytes + h->n_bytes, bytes, n);
		h->n_bytes += n;
		h->ids[h->n_ids++] = id;
		/* All that is whole is out, and no more; at the start of a text a space may be missing. */
		if (h->bytes[0] == h->text[0])
			ck_assert_uint_eq(h->n, h->n_bytes - ends_inside(h->bytes, h->n_bytes));
	}
	return h->n_calls != h->stop_after;
}

static aqz_generated generate(aqz_session *s, heard *h, const char *prompt, aqz_generate_options opt)
{
	aqz_generated g;
	aqz_error err = {0};
	uint32_t n, *ids = encode(prompt, &n);

	memset(h, 0, sizeof *h);
	opt.struct_size = sizeof opt;
	opt.token = on_token;
	opt.user = h;
	ck_assert_msg(aqz_generate(s, &g, ids, n, &opt, &err) == AQZ_OK, "%s", err.text);
	ck_assert_uint_eq(g.n_prompt, n);
	free(ids);
	return g;
}

static heard h;

static const char begin[] = "once upon a time, there was a little girl";

START_TEST(greedy_is_the_likeliest_token)
{
	aqz_session *s = open_session(256), *by_hand = open_session(256);
	aqz_generated g = generate(s, &h, begin, (aqz_generate_options){.max_tokens = 60});
	float *logits = calloc(vocabulary, sizeof *logits);
	uint32_t n, *ids = encode(begin, &n);
	aqz_feed feed = {0, ids, n, 1};

	ck_assert_uint_eq(g.n_generated, 60);
	ck_assert(!g.stopped && g.prompt_seconds >= 0 && g.generate_seconds >= 0);
	ck_assert_uint_eq(h.n_ids, 60);
	ck_assert_uint_eq(aqz_session_length(s, 0), n + 59);
	for (uint32_t i = 0; i < 60; i++) {
		uint32_t best = 0;

		ck_assert_int_eq(aqz_session_feed(by_hand, logits, &feed, 1, NULL), AQZ_OK);
		for (uint32_t k = 1; k < vocabulary; k++)
			if (logits[k] > logits[best])
				best = k;
		ck_assert_uint_eq(h.ids[i], best);
		feed = (aqz_feed){0, &h.ids[i], 1, 1};
	}
	/* As transformers goes on (tests/data/stories/README.md). */
	ck_assert_msg(
		strncmp(
			h.text, " named lily. she loved to play with her toys and eat cars. one day, she went to the park to",
			91) == 0,
		"%s", h.text);
	free(logits);
	free(ids);
	aqz_session_close(s);
	aqz_session_close(by_hand);
}
END_TEST

START_TEST(an_empty_prompt_begins_a_text)
{
	aqz_session *s = open_session(64);
	char *text;
	size_t n;

	generate(s, &h, "", (aqz_generate_options){.max_tokens = 12});
	/* Its first word has no space before it, as in a text that is decoded. */
	ck_assert_int_ne(h.text[0], ' ');
	ck_assert_int_eq(
		aqz_tokenizer_decode(tokenizer, &text, &n, h.ids, h.n_ids, true, false, NULL), AQZ_OK);
	ck_assert_str_eq(h.text, text);
	free(text);
	aqz_session_close(s);
}
END_TEST

START_TEST(seeds_and_stops)
{
	aqz_session *s = open_session(256);
	aqz_generate_options opt = {.max_tokens = 40, .sampling = {.temperature = 1, .seed = 4}};
	static heard first;
	uint32_t stop[2];
	aqz_generated g;

	generate(s, &first, begin, opt);
	aqz_session_truncate(s, 0, 0);
	generate(s, &h, begin, opt);
	ck_assert_uint_eq(h.n_ids, first.n_ids);
	ck_assert_mem_eq(h.ids, first.ids, h.n_ids * sizeof *h.ids);
	aqz_session_truncate(s, 0, 0);
	opt.sampling.seed = 5;
	generate(s, &h, begin, opt);
	ck_assert(h.n_ids != first.n_ids || memcmp(h.ids, first.ids, h.n_ids * sizeof *h.ids) != 0);
	/* A stop token counts, but is not given out. */
	aqz_session_truncate(s, 0, 0);
	opt.sampling = (aqz_sampling){0};
	generate(s, &first, begin, opt);
	stop[0] = vocabulary - 1;
	stop[1] = first.ids[7];
	opt.stop = stop;
	opt.n_stop = 2;
	opt.ignore_end = true;
	aqz_session_truncate(s, 0, 0);
	g = generate(s, &h, begin, opt);
	for (uint32_t i = 0; i < h.n_ids; i++)
		ck_assert_uint_ne(h.ids[i], stop[1]);
	ck_assert(g.stopped && h.n_ids <= 7);
	ck_assert_uint_eq(g.n_generated, h.n_ids + 1);
	ck_assert_mem_eq(h.ids, first.ids, h.n_ids * sizeof *h.ids);
	aqz_session_close(s);
}
END_TEST

/* The model ends its stories; a token that ends them is no text. */
START_TEST(end_tokens)
{
	aqz_session *s = open_session(256);
	aqz_generate_options opt = {.max_tokens = 250, .sampling = {.temperature = 1}};
	uint32_t end = aqz_model_get_config(model)->eos[0];
	aqz_generated g = {0};
	static heard on;

	ck_assert_uint_gt(aqz_model_get_config(model)->n_eos, 0);
	for (opt.sampling.seed = 0; opt.sampling.seed < 50 && !g.stopped; opt.sampling.seed++) {
		aqz_session_truncate(s, 0, 0);
		g = generate(s, &h, "the end", opt);
	}
	opt.sampling.seed--;
	ck_assert(g.stopped);
	ck_assert_uint_eq(g.n_generated, h.n_ids + 1);
	opt.ignore_end = true;
	opt.max_tokens = g.n_generated + 1;
	aqz_session_truncate(s, 0, 0);
	g = generate(s, &on, "the end", opt);
	ck_assert(!g.stopped);
	ck_assert_uint_eq(on.n_ids, h.n_ids + 2);
	ck_assert_uint_eq(on.ids[h.n_ids], end);
	ck_assert_mem_eq(on.text, h.text, h.n);
	aqz_session_close(s);
}
END_TEST

/* Tokens that are nearly uniform: many of them are single bytes. */
START_TEST(text_comes_in_whole_characters)
{
	aqz_generate_options opt = {.max_tokens = 250,
		.ignore_end = true,
		.sampling = {.temperature = 100, .seed = (uint64_t)_i}};
	aqz_session *s = open_session(256);
	char *text;
	size_t n;

	generate(s, &h, "the", opt);
	ck_assert_uint_eq(h.n_ids, 250);
	ck_assert_uint_lt(h.n_pieces, 250);
	ck_assert_int_eq(
		aqz_tokenizer_decode(tokenizer, &text, &n, h.ids, h.n_ids, false, false, NULL), AQZ_OK);
	ck_assert_uint_eq(n, h.n);
	ck_assert_mem_eq(text, h.text, n);
	free(text);
	aqz_session_close(s);
}
END_TEST

START_TEST(limits)
{
	aqz_session *s = open_session(20);
	aqz_generate_options opt = {
		.struct_size = sizeof opt, .max_tokens = 100, .token = on_token, .user = &h};
	aqz_error err = {0};
	uint32_t n, *ids = encode(begin, &n), wrong = vocabulary;
	aqz_generated g = generate(s, &h, begin, (aqz_generate_options){.max_tokens = 100});

	/* Room for 20 tokens: the last one that is generated need not be fed. */
	ck_assert_uint_lt(n, 20);
	ck_assert_uint_eq(g.n_generated, 20 - n + 1);
	ck_assert(!g.stopped);
	ck_assert_uint_eq(aqz_session_length(s, 0), 20);
	ck_assert_int_eq(aqz_generate(s, &g, ids, n, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(err.text, "room for 0"));
	aqz_session_truncate(s, 0, 0);
	ck_assert_int_eq(aqz_generate(s, &g, ids, 0, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(err.text, "no tokens"));
	ck_assert_int_eq(aqz_generate(s, &g, &wrong, 1, &opt, &err), AQZ_E_ARGUMENT);
	opt.n_stop = 1;
	ck_assert_int_eq(aqz_generate(s, &g, ids, n, &opt, &err), AQZ_E_ARGUMENT);
	opt.n_stop = 0;
	opt.struct_size++;
	ck_assert_int_eq(aqz_generate(s, &g, ids, n, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.struct_size");
	opt.struct_size--;
	/* The caller may end it; the session then holds what was fed. */
	memset(&h, 0, sizeof h);
	h.stop_after = 3;
	ck_assert_int_eq(aqz_generate(s, &g, ids, n, &opt, &err), AQZ_E_CANCELLED);
	ck_assert_uint_eq(g.n_generated, 3);
	ck_assert_uint_eq(aqz_session_length(s, 0), n + 2);
	/* No tokens asked for: the prompt is fed. */
	aqz_session_truncate(s, 0, 0);
	opt.max_tokens = 0;
	ck_assert_int_eq(aqz_generate(s, &g, ids, n, &opt, &err), AQZ_OK);
	ck_assert_uint_eq(g.n_generated, 0);
	ck_assert_uint_eq(aqz_session_length(s, 0), n);
	/* Going on without a callback. */
	opt.max_tokens = 2;
	opt.token = NULL;
	ck_assert_int_eq(aqz_generate(s, &g, ids + 1, 1, &opt, &err), AQZ_OK);
	ck_assert_uint_eq(g.n_generated, 2);
	free(ids);
	aqz_session_close(s);
}
END_TEST

/* ---- The stream by itself */

static void feed_bytes(const char *text, size_t n, size_t step, bool whole)
{
	aqz_utf8_stream s = {.given = 0};
	char all[256];
	size_t n_all = 0, n_out;
	const char *out;

	for (size_t at = 0; at < n; at += step) {
		ck_assert_int_eq(
			aqz_utf8_stream_add(&s, text + at, n - at < step ? n - at : step, &out, &n_out, NULL),
			AQZ_OK);
		memcpy(all + n_all, out, n_out);
		n_all += n_out;
		/* Nothing is kept back that need not be. */
		if (at + step < n)
			ck_assert_uint_eq(n_all, at + step - ends_inside(text, at + step));
	}
	ck_assert(!whole || n_all == n);
	aqz_utf8_stream_end(&s, &out, &n_out);
	ck_assert_uint_le(n_out, 3);
	memcpy(all + n_all, out, n_out);
	ck_assert_uint_eq(n_all + n_out, n);
	ck_assert_mem_eq(all, text, n);
	aqz_utf8_stream_end(&s, &out, &n_out);
	ck_assert_uint_eq(n_out, 0);
	aqz_utf8_stream_free(&s);
}

START_TEST(characters)
{
	static const struct {
		const char *text;
		bool whole;
	} texts[] = {
		{"plain", true},
		{"caf\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80!", true},
		{"\xf0\x9f\x98", false},
		{"a\xc3", false},
		/* no continuation, overlong, surrogate, too large, never a byte of UTF-8: nothing to wait for */
		{"\xc3(\x80\x80", true},
		{"\xc0\x80\xc1\xbf", true},
		{"\xe0\x80\x80\xed\xa0\x80", true},
		{"\xf0\x80\x80\x80\xf4\x90\x80\x80\xf5\xff", true},
		{"\xe6\xbc\xf0\x9f", false},
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		for (size_t step = 1; step < 6; step++)
			feed_bytes(texts[i].text, strlen(texts[i].text), step, texts[i].whole);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("generate");
	TCase *t = tcase_create("generate");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, greedy_is_the_likeliest_token);
	tcase_add_test(t, an_empty_prompt_begins_a_text);
	tcase_add_test(t, seeds_and_stops);
	tcase_add_test(t, end_tokens);
	tcase_add_loop_test(t, text_comes_in_whole_characters, 0, 4);
	tcase_add_test(t, limits);
	tcase_add_test(t, characters);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
