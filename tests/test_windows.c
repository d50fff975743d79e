/* SPDX-License-Identifier: Apache-2.0 */
/* Texts cut into windows, with the tokenizer of the embedded model: whole, by documents, with and without BOS, some of
 * them only; the bytes that are predicted; refusals. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip_model.h"

enum { BOS = 1 };

static aqz_tokenizer *tokenizer;

static void set_up(void)
{
	const char *root = getenv("AQZ_SRCDIR");
	char path[4096];
	aqz_error err = {0};

	snprintf(path, sizeof path, "%s/tests/data/stories", root != NULL ? root : ".");
	ck_assert_msg(aqz_tokenizer_open(&tokenizer, path, 0, &err) == AQZ_OK, "%s", err.text);
	ck_assert_uint_eq(aqz_tokenizer_bos(tokenizer), BOS);
}

static void tear_down(void)
{
	aqz_tokenizer_close(tokenizer);
}

static const char story[] =
	"once upon a time, there was a little girl named lily. she loved to play with her toys. "
	"one day, she went to the park with her mom. she saw a big red ball and wanted to play.";

static uint32_t *encode(const char *text, size_t *n)
{
	uint32_t *ids;

	ck_assert_int_eq(
		aqz_tokenizer_encode(tokenizer, &ids, n, text, strlen(text), true, NULL), AQZ_OK);
	return ids;
}

static aqz_windows cut(const char *text, const aqz_windows_options *opt)
{
	aqz_windows w;
	aqz_error err = {0};

	ck_assert_msg(aqz_windows_from_text(&w, tokenizer, text, strlen(text), opt, &err) == AQZ_OK,
		"%s: %s", err.where, err.text);
	ck_assert_uint_eq(w.begin[0], 0);
	return w;
}

/* Window i of w is BOS, if asked for, and n ids. */
static void is(const aqz_windows *w, uint32_t i, bool bos, const uint32_t *ids, size_t n)
{
	const uint32_t *window = w->ids + w->begin[i];

	ck_assert_uint_lt(i, w->n_windows);
	ck_assert_uint_eq(w->begin[i + 1] - w->begin[i], n + bos);
	if (bos)
		ck_assert_uint_eq(window[0], BOS);
	ck_assert_mem_eq(window + bos, ids, n * sizeof *ids);
}

START_TEST(a_whole_text)
{
	aqz_windows_options opt = {.struct_size = sizeof opt, .length = 10};
	size_t n;
	uint32_t *ids = encode(story, &n);
	aqz_windows w = cut(story, &opt);

	/* Whole windows only. */
	ck_assert_uint_gt(n, 30);
	ck_assert_uint_ne(n % 10, 0);
	ck_assert_uint_eq(w.n_windows, n / 10);
	for (uint32_t i = 0; i < w.n_windows; i++)
		is(&w, i, false, ids + 10 * i, 10);
	aqz_windows_free(&w);
	/* BOS is one of the tokens of the first window, or of each. */
	opt.bos = AQZ_BOS_FIRST;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, (n + 1) / 10);
	is(&w, 0, true, ids, 9);
	for (uint32_t i = 1; i < w.n_windows; i++)
		is(&w, i, false, ids + 10 * i - 1, 10);
	aqz_windows_free(&w);
	opt.bos = AQZ_BOS_EACH;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, n / 9);
	for (uint32_t i = 0; i < w.n_windows; i++)
		is(&w, i, true, ids + 9 * i, 9);
	aqz_windows_free(&w);
	/* A text that is shorter than a window is one. */
	opt.length = (uint32_t)n + 2;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, 1);
	is(&w, 0, true, ids, n);
	aqz_windows_free(&w);
	/* One that fills it is whole. */
	opt.length = (uint32_t)n + 1;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, 1);
	is(&w, 0, true, ids, n);
	aqz_windows_free(&w);
	free(ids);
}
END_TEST

START_TEST(documents)
{
	static const char text[] =
		"## once upon a time\n\t##  \n##lily loved her mom ## ####the end\v##";
	aqz_windows_options opt = {
		.struct_size = sizeof opt, .length = 100, .separator = "##", .bos = AQZ_BOS_EACH};
	size_t n[3];
	uint32_t *ids[3] = {encode("once upon a time", &n[0]), encode("lily loved her mom", &n[1]),
		encode("the end", &n[2])};
	aqz_windows w = cut(text, &opt);

	ck_assert_uint_eq(w.n_windows, 3);
	for (uint32_t i = 0; i < 3; i++)
		is(&w, i, true, ids[i], n[i]);
	/* All of their bytes are predicted, and no others. */
	ck_assert_uint_eq(
		w.n_bytes, strlen("once upon a time") + strlen("lily loved her mom") + strlen("the end"));
	aqz_windows_free(&w);
	opt.bos = AQZ_BOS_FIRST;
	w = cut(text, &opt);
	for (uint32_t i = 0; i < 3; i++)
		is(&w, i, i == 0, ids[i], n[i]);
	aqz_windows_free(&w);
	/* Each is cut, its rest left out. */
	opt.length = 3;
	opt.bos = AQZ_BOS_EACH;
	w = cut(text, &opt);
	ck_assert_uint_eq(w.n_windows, 3);
	for (uint32_t i = 0; i < 3; i++)
		is(&w, i, true, ids[i], n[i] < 2 ? n[i] : 2);
	aqz_windows_free(&w);
	/* One token without BOS has nothing to predict. */
	opt.bos = AQZ_BOS_NONE;
	w = cut("the##once upon a time", &opt);
	ck_assert_uint_eq(w.n_windows, 1);
	is(&w, 0, false, ids[0], 3);
	aqz_windows_free(&w);
	/* A separator that does not occur leaves one document. */
	opt.length = 100;
	opt.separator = "###";
	w = cut("  once upon a time ", &opt);
	ck_assert_uint_eq(w.n_windows, 1);
	is(&w, 0, false, ids[0], n[0]);
	aqz_windows_free(&w);
	for (int i = 0; i < 3; i++)
		free(ids[i]);
}
END_TEST

START_TEST(some_of_them)
{
	aqz_windows_options opt = {.struct_size = sizeof opt, .length = 4, .max_windows = 3};
	size_t n;
	uint32_t *ids = encode(story, &n);
	aqz_windows w = cut(story, &opt);
	uint32_t total = (uint32_t)n / 4;

	ck_assert_uint_eq(w.n_windows, 3);
	is(&w, 2, false, ids + 8, 4);
	aqz_windows_free(&w);
	opt.spread = true;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, 3);
	for (uint32_t i = 0; i < 3; i++)
		is(&w, i, false, ids + 4 * (i * total / 3), 4);
	aqz_windows_free(&w);
	/* More than there are: all. */
	opt.max_windows = 1000;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, total);
	aqz_windows_free(&w);
	/* Tokens: up to the window with which they would be more. */
	opt = (aqz_windows_options){.struct_size = sizeof opt, .length = 4, .max_tokens = 11};
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, 2);
	is(&w, 1, false, ids + 4, 4);
	aqz_windows_free(&w);
	opt.max_tokens = 12;
	opt.spread = true;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_windows, 3);
	for (uint32_t i = 0; i < 3; i++)
		is(&w, i, false, ids + 4 * (i * total / 3), 4);
	aqz_windows_free(&w);
	free(ids);
}
END_TEST

START_TEST(bytes_of_the_text)
{
	aqz_windows_options opt = {.struct_size = sizeof opt, .length = 1000, .bos = AQZ_BOS_FIRST};
	aqz_windows w = cut(story, &opt);
	uint64_t sum = 0;
	size_t n;
	uint32_t *ids;

	/* Behind BOS all of it is predicted; the space that SentencePiece adds is none of its bytes. */
	ck_assert_uint_eq(w.n_bytes, strlen(story));
	aqz_windows_free(&w);
	/* Without BOS the first token is not. */
	opt.bos = AQZ_BOS_NONE;
	w = cut(story, &opt);
	ck_assert_uint_eq(w.n_bytes, strlen(story) - strlen("once"));
	aqz_windows_free(&w);
	/* Bytes that are no characters count one by one. */
	w = cut("caf\xc3\xa9 \xff\xfe!", &opt);
	ids = encode("caf\xc3\xa9 \xff\xfe!", &n);
	for (size_t i = 1; i < n; i++) {
		size_t m;

		aqz_tokenizer_bytes(tokenizer, ids[i], &m);
		sum += m;
	}
	ck_assert_uint_eq(w.n_bytes, sum);
	free(ids);
	aqz_windows_free(&w);
}
END_TEST

static void refused(const char *text, aqz_windows_options opt, const char *where, const char *what)
{
	aqz_windows w = {.n_windows = 7};
	aqz_error err = {0};

	if (opt.struct_size == 0)
		opt.struct_size = sizeof opt;
	ck_assert_int_eq(
		aqz_windows_from_text(&w, tokenizer, text, strlen(text), &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, where);
	ck_assert_msg(strstr(err.text, what) != NULL, "%s", err.text);
}

START_TEST(what_is_refused)
{
	/* No token that begins a text. */
	static const char bare[] =
		"{\"added_tokens\":[],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
		","
		"\"decoder\":{\"type\":\"ByteLevel\"},"
		"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}";
	aqz_windows_options opt = {.struct_size = sizeof opt, .length = 8, .bos = AQZ_BOS_EACH};
	aqz_tokenizer *plain;
	aqz_windows w;
	aqz_error err = {0};

	refused("a text", (aqz_windows_options){.struct_size = 1, .length = 8}, "options.struct_size",
		"struct_size");
	refused("a text", (aqz_windows_options){.length = 1}, "options.length", "at least 2");
	refused("a text", (aqz_windows_options){.length = 8, .bos = (aqz_bos)3}, "options.bos", "value");
	refused("a text", (aqz_windows_options){.length = 8, .separator = ""}, "options.separator",
		"empty");
	refused("", (aqz_windows_options){.length = 8, .bos = AQZ_BOS_EACH}, "text", "empty");
	refused("the", (aqz_windows_options){.length = 8}, "text", "no token to predict");
	refused(" ## \n", (aqz_windows_options){.length = 8, .separator = "##"}, "text",
		"no token to predict");
	refused(story, (aqz_windows_options){.length = 8, .max_tokens = 7}, "options.max_tokens",
		"7 tokens are less than the first window has, 8");
	ck_assert_msg(aqz_tokenizer_parse(&plain, bare, sizeof bare - 1, NULL, 0, 0, &err) == AQZ_OK,
		"%s: %s", err.where, err.text);
	ck_assert_int_eq(aqz_windows_from_text(&w, plain, "ababab", 6, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.bos");
	opt.bos = AQZ_BOS_NONE;
	ck_assert_int_eq(aqz_windows_from_text(&w, plain, "ababab", 6, &opt, &err), AQZ_OK);
	aqz_windows_free(&w);
	aqz_tokenizer_close(plain);
	aqz_windows_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("windows");
	TCase *t = tcase_create("windows");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, a_whole_text);
	tcase_add_test(t, documents);
	tcase_add_test(t, some_of_them);
	tcase_add_test(t, bytes_of_the_text);
	tcase_add_test(t, what_is_refused);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
