/* SPDX-License-Identifier: Apache-2.0 */
/* Ids against those of other tokenizers (tests/data/tokenizers, by tests/interop/make_tokenizer_vectors.py), text back
 * from ids, and what is known about tokens.
 *
 * The environment variable AQZ_SMOLLM2_GGUF names the GGUF of SmolLM2; without it, or without ../shared, those vectors
 * are skipped. */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tokenizer_files.h"

static const char *const words[] = {
	"Once", " upon", " a", " time", "\n", "\xe2\x82\xac", "\xff", "  ", "1", "\xc3"};

/* A row that is null is that of the other list. */
static void check_vectors(const aqz_tokenizer *t, const char *name, const json_t *texts,
	const json_t *ids, const json_t *other, bool special)
{
	ck_assert_uint_eq(json_array_size(texts), json_array_size(ids));
	for (size_t i = 0; i < json_array_size(texts); i++) {
		const json_t *text = json_array_get(texts, i), *row = json_array_get(ids, i);
		uint32_t *out;
		size_t n;

		if (json_is_null(row))
			row = json_array_get(other, i);
		ck_assert(json_is_array(row));
		ck_assert_int_eq(aqz_tokenizer_encode(t, &out, &n, json_string_value(text),
							 json_string_length(text), special, NULL),
			AQZ_OK);
		for (size_t k = 0; k < n && k < json_array_size(row); k++)
			ck_assert_msg(out[k] == json_integer_value(json_array_get(row, k)),
				"%s: %s: id %zu is %u", name, json_string_value(text), k, out[k]);
		ck_assert_msg(n == json_array_size(row), "%s: %s: %zu ids", name, json_string_value(text), n);
		free(out);
	}
}

START_TEST(ids_of_others)
{
	json_t *root = load_data("tokenizers/vectors.json"), *texts = json_object_get(root, "texts"),
		   *vector;
	size_t i, n_checked = 0;

	json_array_foreach(json_object_get(root, "vectors"), i, vector)
	{
		const char *name = json_string_value(json_object_get(vector, "name"));
		const char *shared = json_string_value(json_object_get(vector, "shared"));
		json_t *special = json_object_get(vector, "special"),
			   *plain = json_object_get(vector, "plain");
		aqz_tokenizer *t, *again;
		aqz_error err = {0};

		if (shared != NULL) {
			aqz_buffer b = read_path(tree_path("../shared", shared));

			if (b.data == NULL) {
				printf("SKIP: no ../shared/%s\n", shared);
				continue;
			}
			t = parse_bytes(b.data, b.n, NULL);
			aqz_buffer_free(&b);
		} else {
			json_t *json = load_data(json_string_value(json_object_get(vector, "file")));

			apply_change(json, json_object_get(vector, "change"));
			ck_assert_msg(
				parse_json(&t, json, &err) == AQZ_OK, "%s: %s: %s", name, err.where, err.text);
			json_decref(json);
		}
		again = reread(t);
		for (int k = 0; k < 2; k++) {
			if (special != NULL)
				check_vectors(k == 0 ? t : again, name, texts, special, NULL, true);
			check_vectors(k == 0 ? t : again, name, texts, plain, special, false);
		}
		aqz_tokenizer_close(t);
		aqz_tokenizer_close(again);
		n_checked++;
	}
	ck_assert_uint_ge(n_checked, 20);
	json_decref(root);
}
END_TEST

START_TEST(smollm2)
{
	const char *path = getenv("AQZ_SMOLLM2_GGUF");
	aqz_buffer b = read_path(tree_path("../shared/reference", "smollm2-tokenizer-vectors.json"));
	json_t *vectors, *texts = json_array(), *ids = json_array(), *vector;
	aqz_tokenizer *t, *again;
	aqz_error err = {0};
	size_t i;

	if (path == NULL || b.data == NULL) {
		printf("SKIP: no $AQZ_SMOLLM2_GGUF, or no ../shared/reference\n");
		aqz_buffer_free(&b);
		json_decref(texts);
		json_decref(ids);
		return;
	}
	vectors = json_loadb((const char *)b.data, b.n, 0, NULL);
	json_array_foreach(vectors, i, vector)
	{
		json_array_append(texts, json_object_get(vector, "text"));
		json_array_append(ids, json_object_get(vector, "ids"));
	}
	ck_assert_uint_gt(i, 20);
	ck_assert_msg(aqz_tokenizer_open(&t, path, 0, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	ck_assert_uint_eq(aqz_tokenizer_bos(t), 1);
	ck_assert_uint_eq(aqz_tokenizer_eos(t), 2);
	ck_assert(!aqz_tokenizer_adds_bos(t) && aqz_tokenizer_chat_template(t) != NULL);
	ck_assert_uint_eq(aqz_tokenizer_find_special(t, "<|im_end|>"), 2);
	again = reread(t);
	check_vectors(t, path, texts, ids, NULL, true);
	check_vectors(again, path, texts, ids, NULL, true);
	aqz_tokenizer_close(t);
	aqz_tokenizer_close(again);
	json_decref(vectors);
	json_decref(texts);
	json_decref(ids);
	aqz_buffer_free(&b);
}
END_TEST

/* Three ways to the same tokenizer: tokenizer.json, tokenizer.model, GGUF. */
START_TEST(stories_three_ways)
{
	aqz_tokenizer *json = open_data(STORIES, NULL), *model = open_data(STORIES_MODEL, NULL), *gguf;
	json_t *root = load_data(STORIES),
		   *vocab = json_object_get(json_object_get(root, "model"), "vocab"), *value;
	aqz_buffer text = read_data("stories/evaluation.txt"), file;
	const char *key;
	gguf_file f = {0};
	aqz_error err = {0};
	float scores[1024];
	int32_t types[1024];
	size_t n = 0;

	check_same(json, model, (const char *)text.data, text.n, true);
	check_same(json, model, (const char *)text.data, text.n, false);
	gguf_put_string(&f, "tokenizer.ggml.model", "llama");
	gguf_key(&f, "tokenizer.ggml.tokens", AQZ_GGUF_ARRAY);
	gguf_add32(&f.metadata, AQZ_GGUF_STRING);
	gguf_add64(&f.metadata, json_object_size(vocab));
	json_object_foreach(vocab, key, value)
	{
		ck_assert_uint_eq((size_t)json_integer_value(value), n);
		gguf_add_text(&f.metadata, key, strlen(key));
		types[n] = n == 0 ? 2 : n < 3 ? 3 : n < 259 ? 6 : 1;
		scores[n] = n < 259 ? 0 : -(float)(n - 259);
		n++;
	}
	ck_assert_uint_eq(n, 1024);
	gguf_put_numbers(&f, "tokenizer.ggml.scores", AQZ_GGUF_F32, scores, n);
	gguf_put_numbers(&f, "tokenizer.ggml.token_type", AQZ_GGUF_I32, types, n);
	gguf_put_u32(&f, "tokenizer.ggml.bos_token_id", 1);
	gguf_make(&file, &f);
	ck_assert_msg(parse_gguf(&gguf, &file, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	check_same(json, gguf, (const char *)text.data, text.n, false);
	ck_assert(aqz_tokenizer_adds_bos(gguf) && aqz_tokenizer_adds_bos(json) &&
		aqz_tokenizer_adds_bos(model));
	aqz_tokenizer_close(json);
	aqz_tokenizer_close(model);
	aqz_tokenizer_close(gguf);
	json_decref(root);
	aqz_buffer_free(&text);
	aqz_buffer_free(&file);
}
END_TEST

/* The byte-level vocabulary of the tests in a GGUF of each family: the same ids as the pre_tokenizer that its Hugging
 * Face tokenizer has. */
START_TEST(gguf_families)
{
	static const struct {
		const char *pre, *vector;
	} families[] = {{"gpt-2", "gpt-2"}, {"default", "gpt-2"}, {NULL, "gpt-2"}, {"smollm", "smollm"},
		{"llama-bpe", "llama-3"}, {"qwen2", "qwen2"}};
	json_t *vectors = load_data("tokenizers/vectors.json"),
		   *texts = json_object_get(vectors, "texts"), *vector, *value;
	json_t *root = load_data(BYTE_LEVEL), *model = json_object_get(root, "model");
	json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
	const uint64_t n = json_object_size(vocab);
	aqz_tokenizer *t;
	aqz_error err = {0};
	aqz_buffer file;
	const char *key;
	size_t i;

	json_array_clear(json_object_get(root, "added_tokens"));
	for (size_t k = 0; k < sizeof families / sizeof *families; k++) {
		int32_t *types = calloc(n, sizeof *types);
		json_t *change = NULL, *json;
		aqz_tokenizer *peer;
		gguf_file f = {0};

		gguf_put_string(&f, "tokenizer.ggml.model", "gpt2");
		if (families[k].pre != NULL)
			gguf_put_string(&f, "tokenizer.ggml.pre", families[k].pre);
		gguf_key(&f, "tokenizer.ggml.tokens", AQZ_GGUF_ARRAY);
		gguf_add32(&f.metadata, AQZ_GGUF_STRING);
		gguf_add64(&f.metadata, n);
		json_object_foreach(vocab, key, value)
		{
			types[json_integer_value(value)] = 1;
			gguf_add_text(&f.metadata, key, strlen(key));
		}
		gguf_key(&f, "tokenizer.ggml.merges", AQZ_GGUF_ARRAY);
		gguf_add32(&f.metadata, AQZ_GGUF_STRING);
		gguf_add64(&f.metadata, json_array_size(merges));
		json_array_foreach(merges, i, value)
		{
			char merge[256];

			snprintf(merge, sizeof merge, "%s %s", json_string_value(json_array_get(value, 0)),
				json_string_value(json_array_get(value, 1)));
			gguf_add_text(&f.metadata, merge, strlen(merge));
		}
		gguf_put_numbers(&f, "tokenizer.ggml.token_type", AQZ_GGUF_I32, types, n);
		gguf_make(&file, &f);
		ck_assert_msg(parse_gguf(&t, &file, &err) == AQZ_OK, "%s: %s", err.where, err.text);
		json_array_foreach(json_object_get(vectors, "vectors"), i,
			vector) if (strcmp(json_string_value(json_object_get(vector, "name")),
							families[k].vector) == 0) change = json_object_get(vector, "change");
		ck_assert_ptr_nonnull(change);
		json = json_deep_copy(root);
		apply_change(json, change);
		ck_assert_int_eq(parse_json(&peer, json, NULL), AQZ_OK);
		json_array_foreach(texts, i, value)
			check_same(t, peer, json_string_value(value), json_string_length(value), false);
		aqz_tokenizer_close(t);
		aqz_tokenizer_close(peer);
		json_decref(json);
		aqz_buffer_free(&file);
		free(types);
	}
	json_decref(vectors);
	json_decref(root);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

START_TEST(any_bytes_come_back)
{
	static const char *const files[] = {BYTE_LEVEL, STORIES, STORIES_MODEL};
	uint32_t state = 7;
	char text[600];

	for (size_t k = 0; k < 3; k++) {
		aqz_tokenizer *t = open_data(files[k], NULL);

		check_round_trip(t, "", 0);
		for (int round = 0; round < 300; round++) {
			size_t n = 0;

			while (n < (size_t)round) {
				const char *word = words[next_random(&state) % (sizeof words / sizeof *words)];

				if (round % 2 == 0)
					text[n++] = (char)next_random(&state);
				else
					for (; *word != '\0' && n < (size_t)round; word++)
						text[n++] = *word;
			}
			check_round_trip(t, text, n);
		}
		aqz_tokenizer_close(t);
	}
}
END_TEST

/* Long words go through the heap, short ones do not. */
START_TEST(long_words)
{
	aqz_tokenizer *whole = open_changed(BYTE_LEVEL,
		"{'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,'use_regex':false}}");
	aqz_tokenizer *stories = open_data(STORIES, NULL);
	const size_t n = 1 << 20;
	char *text = malloc(n), *ids;
	uint32_t *out;
	size_t n_out;

	memset(text, 'a', n);
	check_round_trip(whole, text, n);
	check_round_trip(stories, text, n);
	memset(text, ' ', n);
	check_round_trip(whole, text, n / 8);
	check_round_trip(stories, text, n / 8);
	/* The same word again and again: the longer text must have the ids of the shorter one, so many times. */
	for (size_t i = 0; i < n; i++)
		text[i] = "the cat\n"[i % 8];
	ids = ids_of(whole, text, 8, false);
	ck_assert_int_eq(aqz_tokenizer_encode(whole, &out, &n_out, text, n, false, NULL), AQZ_OK);
	for (size_t i = 0, at = 0; i < n_out; i++) {
		char *end;

		if (ids[at] == '\0')
			at = 0;
		ck_assert_uint_eq(strtoul(ids + at, &end, 10), out[i]);
		at = (size_t)(end - ids);
	}
	free(out);
	free(ids);
	free(text);
	aqz_tokenizer_close(whole);
	aqz_tokenizer_close(stories);
}
END_TEST

START_TEST(tokens_one_by_one)
{
	aqz_tokenizer *t = open_data(STORIES, NULL), *b = open_data(BYTE_LEVEL, NULL);
	aqz_buffer text = read_data("stories/evaluation.txt");
	const uint32_t ids[] = {1, 977, 3 + 0xff, 2};
	aqz_error err = {0};
	size_t n, n_ids;
	uint32_t *out;
	char *back;

	ck_assert_uint_eq(aqz_tokenizer_size(t), 1024);
	ck_assert_uint_eq(aqz_tokenizer_bos(t), 1);
	ck_assert_uint_eq(aqz_tokenizer_eos(t), 2);
	ck_assert_uint_eq(aqz_tokenizer_bos(b), AQZ_NO_TOKEN);
	ck_assert(!aqz_tokenizer_adds_bos(b));
	ck_assert_uint_eq(aqz_tokenizer_find_special(t, "</s>"), 2);
	ck_assert_uint_eq(aqz_tokenizer_find_special(t, "the"), AQZ_NO_TOKEN);
	ck_assert_uint_eq(aqz_tokenizer_find_special(b, "<tool>"), 400);
	ck_assert_str_eq(aqz_tokenizer_bytes(t, 1, &n), "");
	ck_assert_uint_eq(n, 0);
	ck_assert_str_eq(aqz_tokenizer_bytes(t, 1024, &n), "");
	ck_assert_uint_eq(n, 0);
	ck_assert_mem_eq(aqz_tokenizer_bytes(t, 3, &n), "\0", 1); /* <0x00> */
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(aqz_tokenizer_bytes(t, 977, &n), " ");
	ck_assert_str_eq(aqz_tokenizer_bytes(b, 400, &n), "<tool>");
	/* Special tokens, with and without; the space that begins a text. */
	ck_assert_int_eq(aqz_tokenizer_decode(t, &back, &n, ids, 4, false, true, &err), AQZ_OK);
	ck_assert_str_eq(back, "<s> \xff</s>");
	free(back);
	ck_assert_int_eq(aqz_tokenizer_decode(t, &back, &n, ids, 4, true, false, &err), AQZ_OK);
	ck_assert_str_eq(back, "\xff");
	ck_assert_uint_eq(n, 1);
	free(back);
	ck_assert_int_eq(
		aqz_tokenizer_decode(t, &back, &n, (const uint32_t[]){5, 1024}, 2, true, true, &err),
		AQZ_E_ARGUMENT);
	ck_assert_ptr_null(back);
	ck_assert_str_eq(err.text, "the id 1024 is out of range: there are 1024");
	/* The bytes of a text's tokens make up the text. */
	ck_assert_int_eq(
		aqz_tokenizer_encode(b, &out, &n_ids, (const char *)text.data, text.n, false, NULL), AQZ_OK);
	for (size_t i = 0, at = 0; i < n_ids; i++) {
		const char *bytes = aqz_tokenizer_bytes(b, out[i], &n);

		ck_assert(n > 0 && at + n <= text.n);
		ck_assert_mem_eq(bytes, text.data + at, n);
		at += n;
	}
	free(out);
	aqz_buffer_free(&text);
	aqz_tokenizer_close(t);
	aqz_tokenizer_close(b);
	aqz_tokenizer_close(NULL);
}
END_TEST

START_TEST(configuration)
{
	static const char named[] =
		"{\"bos_token\":{\"content\":\"</s>\"},\"eos_token\":\"<s>\",\"add_bos_token\":false,"
		"\"chat_template\":[{\"name\":\"tool\",\"template\":\"x\"},{\"name\":\"default\","
		"\"template\":\"{{ y }}\"}]}";
	static const char added[] =
		"{\"chat_template\":\"z\",\"bos_token\":null,\"added_tokens_decoder\":{"
		"\"0\":{\"content\":\"<unk>\",\"special\":true},\"1024\":{\"content\":\"<|im_end|>\","
		"\"special\":true},"
		"\"1026\":{\"content\":\"<tool>\"}}}";
	aqz_tokenizer *t = open_data(STORIES, named);

	ck_assert_uint_eq(aqz_tokenizer_bos(t), 2);
	ck_assert_uint_eq(aqz_tokenizer_eos(t), 1);
	ck_assert(!aqz_tokenizer_adds_bos(t));
	ck_assert_str_eq(aqz_tokenizer_chat_template(t), "{{ y }}");
	aqz_tokenizer_close(t);
	t = open_data(STORIES_MODEL, added);
	ck_assert_uint_eq(aqz_tokenizer_size(t), 1027);
	ck_assert_uint_eq(aqz_tokenizer_find_special(t, "<|im_end|>"), 1024);
	ck_assert_uint_eq(aqz_tokenizer_bos(t), AQZ_NO_TOKEN);
	ck_assert(!aqz_tokenizer_adds_bos(t));
	ck_assert_str_eq(aqz_tokenizer_chat_template(t), "z");
	check_ids(t, "<|im_end|><tool>", true, "1024 1026");
	aqz_tokenizer_close(t);
}
END_TEST

START_TEST(opening_files)
{
	char folder[] = "/tmp/aqz-tokenizer-XXXXXX", path[4096];
	aqz_buffer json = read_data(STORIES), model = read_data(STORIES_MODEL);
	aqz_tokenizer *t;
	aqz_error err = {0};
	FILE *file;

	ck_assert_int_eq(aqz_tokenizer_open(&t, tree_path("tests/data", "stories"), 0, &err), AQZ_OK);
	ck_assert_uint_eq(aqz_tokenizer_size(t), 1024);
	aqz_tokenizer_close(t);
	ck_assert_int_eq(aqz_tokenizer_open(&t, tree_path("tests/data", STORIES_MODEL), 0, &err), AQZ_OK);
	aqz_tokenizer_close(t);
	ck_assert_int_eq(aqz_tokenizer_open(&t, tree_path("tests/data", "stories/config.json"), 0, &err),
		AQZ_E_FORMAT);
	ck_assert_str_eq(err.text, "this JSON is no tokenizer: it has no model");
	ck_assert_int_eq(
		aqz_tokenizer_open(&t, tree_path("tests/data", "stories/evaluation.txt"), 0, &err),
		AQZ_E_FORMAT);
	ck_assert_int_eq(aqz_tokenizer_open(&t, "/nowhere/at/all", 0, &err), AQZ_E_NOT_FOUND);
	ck_assert_int_eq(aqz_tokenizer_open(&t, "/dev/null", 0, &err), AQZ_E_FORMAT);
	/* A folder with tokenizer.model only, and a template in a file of its own. */
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(aqz_tokenizer_open(&t, folder, 0, &err), AQZ_E_NOT_FOUND);
	ck_assert_str_eq(err.text, "the folder has neither tokenizer.json nor tokenizer.model");
	snprintf(path, sizeof path, "%s/tokenizer.model", folder);
	file = fopen(path, "wb");
	ck_assert_uint_eq(fwrite(model.data, 1, model.n, file), model.n);
	fclose(file);
	ck_assert_int_eq(aqz_tokenizer_open(&t, folder, 0, &err), AQZ_OK);
	ck_assert(aqz_tokenizer_chat_template(t) == NULL && aqz_tokenizer_adds_bos(t));
	aqz_tokenizer_close(t);
	snprintf(path, sizeof path, "%s/chat_template.jinja", folder);
	file = fopen(path, "wb");
	fputs("{{ a }}", file);
	fclose(file);
	ck_assert_int_eq(aqz_tokenizer_open(&t, folder, 0, &err), AQZ_OK);
	ck_assert_str_eq(aqz_tokenizer_chat_template(t), "{{ a }}");
	aqz_tokenizer_close(t);
	/* It counts before that of the configuration. */
	snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
	file = fopen(path, "wb");
	fputs("{\"chat_template\":\"{{ b }}\"}", file);
	fclose(file);
	ck_assert_int_eq(aqz_tokenizer_open(&t, folder, 0, &err), AQZ_OK);
	ck_assert_str_eq(aqz_tokenizer_chat_template(t), "{{ a }}");
	aqz_tokenizer_close(t);
	unlink(path);
	snprintf(path, sizeof path, "%s/chat_template.jinja", folder);
	unlink(path);
	snprintf(path, sizeof path, "%s/tokenizer.model", folder);
	unlink(path);
	rmdir(folder);
	aqz_buffer_free(&json);
	aqz_buffer_free(&model);
}
END_TEST

/* Pieces whose merges depend on scores: equal ones from the left, user defined ones whole, characters that are tokens
 * only as parts of others. */
START_TEST(scores)
{
	aqz_buffer b = {0};
	aqz_tokenizer *t;

	proto_piece(&b, "<unk>", 0, 2);
	proto_piece(&b, "<s>", 0, 3);
	proto_piece(&b, "a", -10, 1);
	proto_piece(&b, "b", -10, 1);
	proto_piece(&b, "ab", -1, 1);
	proto_piece(&b, "ba", -1, 1);
	proto_piece(&b, "xy", -2, 1); /* neither x nor y is one */
	proto_piece(&b, "bb", -5, 4);
	proto_piece(&b, "\xe2\x96\x81", -3, 1);
	proto_specs(&b, 2, false, false, false);
	t = parse_bytes(b.data, b.n, NULL);
	check_ids(t, "aba", false, "4 2");
	check_ids(t, "bab", false, "5 3");
	check_ids(t, "abb", false, "2 7");
	check_ids(t, "abba", false, "2 7 2");
	check_ids(t, "axyb", false, "2 6 3");
	check_ids(t, "axb", false, "2 0 3");
	check_ids(t, "xxx yyxy", false, "0 8 0 6");
	check_ids(t, "a<s>b", true, "2 1 3");
	check_ids(t, "a<s>b", false, "2 0 3");
	ck_assert_uint_eq(aqz_tokenizer_find_special(t, "bb"), 7);
	ck_assert_uint_eq(aqz_tokenizer_size(t), 9);
	aqz_tokenizer_close(t);
	aqz_buffer_free(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tokenizer");
	TCase *tcase = tcase_create("tokenizer");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, ids_of_others);
	tcase_add_test(tcase, smollm2);
	tcase_add_test(tcase, stories_three_ways);
	tcase_add_test(tcase, gguf_families);
	tcase_add_test(tcase, any_bytes_come_back);
	tcase_add_test(tcase, long_words);
	tcase_add_test(tcase, tokens_one_by_one);
	tcase_add_test(tcase, configuration);
	tcase_add_test(tcase, opening_files);
	tcase_add_test(tcase, scores);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
