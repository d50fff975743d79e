/* SPDX-License-Identifier: Apache-2.0 */
/* Models that are broken, lie or are something else: a status and a place for each, nothing kept, nothing left. */
#include "tests/heap.h"
#include "tests/support.h"
#include "tests/tiny_model.h"

typedef void put_fn(const tiny *t, const char *file);

static void put_folder(const tiny *t, const char *file)
{
	(void)file;
	tiny_put_folder(t);
}

/* An .aqz file of the folder that is there. */
static void put_aqz(const tiny *t, const char *file)
{
	aqz_compress_options o = {.struct_size = sizeof o, .effort = 1, .n_threads = 1};
	memory_file f = {0};
	aqz_source *s;
	aqz_plan *plan;
	aqz_io io;

	tiny_put_folder(t);
	if (tiny_is(t->config_json, ""))
		ck_assert_int_eq(unlink(in_root("config.json")), 0);
	ck_assert_int_eq(aqz_scheme_parse(&o.scheme, "1x4g8", NULL), AQZ_OK);
	o.non_finite = AQZ_NON_FINITE_RAW;
	memory_io(&io, &f);
	ck_assert_int_eq(aqz_source_open(&s, root, 0, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_plan_make(&plan, s, &o, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_plan_run(plan, &io, NULL, NULL), AQZ_OK);
	aqz_plan_free(plan);
	aqz_source_close(s);
	put(file, f.data, f.n);
	memory_free(&f);
}

static const struct {
	put_fn *put;
	const char *file; /* "" for the folder */
	bool gguf, has_types;
} forms[] = {{put_folder, "", false, true}, {put_aqz, "m.aqz", false, true},
	{tiny_put_gguf, "m.gguf", true, true}, {tiny_put_llama2c, "m.bin", false, false}};
enum { N_FORMS = sizeof forms / sizeof *forms, FOLDER = 0, AQZ = 1, GGUF = 2, LLAMA2C = 3 };

static const char *path_of_form(int form)
{
	return forms[form].file[0] != '\0' ? in_root(forms[form].file) : root;
}

static aqz_status try_path(const char *path, aqz_error *err)
{
	const size_t before = heap_now();
	aqz_model *m;
	aqz_status status;

	*err = (aqz_error){0};
	status = aqz_model_open(&m, path, NULL, err);
	ck_assert((status == AQZ_OK) == (m != NULL));
	if (status == AQZ_OK) {
		ck_assert(err->status == AQZ_OK && err->text[0] == '\0');
	} else {
		ck_assert_int_eq(err->status, status);
		ck_assert(err->text[0] != '\0');
	}
	aqz_model_close(m);
	ck_assert_uint_eq(heap_now(), before);
	return status;
}

static void check_try(int form, const tiny *t, const char *name, aqz_status due, const char *text)
{
	char where[AQZ_WEIGHT_NAME_BYTES];
	aqz_error err;
	aqz_status status;

	forms[form].put(t, forms[form].file);
	status = try_path(path_of_form(form), &err);
	if (forms[form].gguf)
		tiny_gguf_name(where, name);
	else
		snprintf(where, sizeof where, "%s", name);
	ck_assert_msg(status == due && strstr(err.text, text) != NULL &&
			(due == AQZ_OK || strstr(err.where, where) != NULL || strstr(err.where, name) != NULL),
		"form %d, %s: %s: %s: %s", form, name, aqz_status_name(status), err.where, err.text);
}

/* Each tensor in turn is missing, of another shape or type, or not finite. */
START_TEST(tensors)
{
	tiny t = tiny_family(_i == LLAMA2C || _i == GGUF ? AQZ_LLAMA : AQZ_QWEN3);
	tiny_tensor all[TINY_MAX_TENSORS];
	uint32_t n;

	t.config.n_layers = 1;
	n = tiny_list(all, &t.config);
	for (uint32_t i = 0; i < n; i++) {
		const char *name = all[i].name;
		tiny bad = t;

		bad.nan = name;
		check_try(_i, &bad, name, AQZ_E_CORRUPT, "infinities or NaN");
		bad.nan = NULL;
		bad.infinite = name;
		check_try(_i, &bad, name, AQZ_E_CORRUPT, "infinities or NaN");
		bad.infinite = NULL;
		if (!forms[_i].has_types)
			continue;
		bad.missing = name;
		if (_i == GGUF && strcmp(name, "lm_head.weight") == 0)
			check_try(_i, &bad, name, AQZ_OK, ""); /* then the head is the embedding */
		else
			check_try(_i, &bad, name, AQZ_E_CORRUPT, "hold this tensor");
		bad.missing = NULL;
		bad.misshapen = name;
		if (_i == GGUF && strcmp(name, "model.embed_tokens.weight") == 0)
			check_try(
				_i, &bad, "lm_head.weight", AQZ_E_CORRUPT, "51 x 32"); /* it gives the vocabulary */
		else
			check_try(_i, &bad, name, AQZ_E_CORRUPT, "but the configuration makes it");
		bad.misshapen = NULL;
		bad.wrong_dtype = name;
		if (_i != GGUF) /* its vectors have types of their own */
			check_try(_i, &bad, name, AQZ_E_UNSUPPORTED, "I32");
	}
}
END_TEST

START_TEST(gguf_types)
{
	tiny t = tiny_llama();

	t.gguf_type = 2;
	t.nan = "model.layers.1.mlp.up_proj.weight";
	check_try(GGUF, &t, t.nan, AQZ_E_CORRUPT, "infinities or NaN");
	t.nan = NULL;
	t.config.hidden = 256;
	t.wrong_dtype = "model.layers.1.self_attn.k_proj.weight";
	check_try(GGUF, &t, t.wrong_dtype, AQZ_E_UNSUPPORTED, "Q2_K");
}
END_TEST

/* ---- Metadata of GGUF files */

static const struct {
	const char *key; /* behind "llama.", or whole */
	int kind;		 /* of the value: a key is added, or put in the place of the sound one */
	double value;
	const char *text;
	aqz_status status;
	const char *where, *why;
} metadata[] = {
	{"general.architecture", AQZ_GGUF_STRING, 0, "gemma", AQZ_E_UNSUPPORTED, "general.architecture",
		"gemma"},
	{"general.architecture", AQZ_GGUF_U32, 1, NULL, AQZ_E_CORRUPT, "general.architecture", "name the"},
	{"general.architecture", -1, 0, NULL, AQZ_E_CORRUPT, "general.architecture", "name the"},
	{"block_count", -1, 0, NULL, AQZ_E_CORRUPT, "llama.block_count", "do not have it"},
	{"block_count", AQZ_GGUF_U32, 0, NULL, AQZ_E_CORRUPT, "llama.block_count", "0 is not"},
	{"block_count", AQZ_GGUF_STRING, 0, "2", AQZ_E_CORRUPT, "llama.block_count", "no integer"},
	{"block_count", AQZ_GGUF_U32, 2000, NULL, AQZ_E_CORRUPT, "num_hidden_layers", "1024"},
	{"embedding_length", AQZ_GGUF_I64, -32, NULL, AQZ_E_CORRUPT, "llama.embedding_length", "-32"},
	{"feed_forward_length", AQZ_GGUF_ARRAY, 64, NULL, AQZ_E_UNSUPPORTED,
		"llama.feed_forward_length", "each layer"},
	{"attention.head_count", AQZ_GGUF_U32, 5, NULL, AQZ_E_CORRUPT, "num_key_value_heads", "multiple"},
	{"attention.value_length", AQZ_GGUF_U32, 4, NULL, AQZ_E_UNSUPPORTED,
		"llama.attention.value_length", "4"},
	{"rope.dimension_count", AQZ_GGUF_U32, 4, NULL, AQZ_E_UNSUPPORTED, "llama.rope.dimension_count",
		"4 of"},
	{"rope.freq_base", AQZ_GGUF_STRING, 0, "x", AQZ_E_CORRUPT, "llama.rope.freq_base", "no number"},
	{"rope.freq_base", AQZ_GGUF_F32, -1, NULL, AQZ_E_CORRUPT, "rope_theta", "positive"},
	{"rope.scaling.type", AQZ_GGUF_U32, 1, NULL, AQZ_E_CORRUPT, "llama.rope.scaling.type",
		"no string"},
	{"attention.layer_norm_rms_epsilon", -1, 0, NULL, AQZ_E_CORRUPT,
		"llama.attention.layer_norm_rms_epsilon", "do not have it"},
	{"attention.layer_norm_rms_epsilon", AQZ_GGUF_F64, 1e300, NULL, AQZ_E_CORRUPT, "rms_norm_eps",
		"within"},
	{"expert_count", AQZ_GGUF_U32, 8, NULL, AQZ_E_UNSUPPORTED, "llama.expert_count", "not supported"},
	{"expert_count", AQZ_GGUF_U32, 0, NULL, AQZ_OK, "", ""},
	{"attention.sliding_window", AQZ_GGUF_U32, 8, NULL, AQZ_E_UNSUPPORTED,
		"llama.attention.sliding_window", "not"},
	{"attention.sliding_window", AQZ_GGUF_U32, 16, NULL, AQZ_OK, "", ""},
	{"split.count", AQZ_GGUF_U32, 3, NULL, AQZ_E_UNSUPPORTED, "split.count", "several"},
	{"split.count", AQZ_GGUF_U32, 1, NULL, AQZ_OK, "", ""},
	{"context_length", AQZ_GGUF_U64, 1e18, NULL, AQZ_E_CORRUPT, "llama.context_length", "2^30"},
};

static void put_value(gguf_file *g, const char *key, int i)
{
	const double v = metadata[i].value;

	if (metadata[i].kind == AQZ_GGUF_STRING)
		gguf_put_string(g, key, metadata[i].text);
	else if (metadata[i].kind == AQZ_GGUF_ARRAY)
		gguf_put_numbers(g, key, AQZ_GGUF_U32, (uint32_t[2]){(uint32_t)v, (uint32_t)v}, 2);
	else if (metadata[i].kind == AQZ_GGUF_U32)
		gguf_put_u32(g, key, (uint32_t)v);
	else if (metadata[i].kind == AQZ_GGUF_F32)
		gguf_put_f32(g, key, (float)v);
	else if (metadata[i].kind == AQZ_GGUF_F64)
		gguf_put_number(g, key, AQZ_GGUF_F64, &v);
	else if (metadata[i].kind >= 0) /* I64, U64 */
		gguf_put_number(g, key, (aqz_gguf_kind)metadata[i].kind, &(int64_t){(int64_t)v});
}

START_TEST(gguf_metadata)
{
	tiny t = tiny_llama();
	gguf_file sound = {0}, g = {0};
	char key[64], found[64];
	aqz_buffer bytes;
	aqz_error err;
	aqz_status status;
	size_t at = 0;

	snprintf(key, sizeof key, "%s%s",
		metadata[_i].key[0] == 'g' || metadata[_i].key[0] == 's' ? "" : "llama.", metadata[_i].key);
	/* All sound keys but that one, which are strings or numbers of 4 bytes. */
	tiny_gguf_keys(&sound, &t.config);
	while (at < sound.metadata.n) {
		const uint8_t *p = sound.metadata.data + at;
		const size_t n = aqz_get64(p), kind = aqz_get32(p + 8 + n);
		const size_t n_bytes = 12 + n + (kind == AQZ_GGUF_STRING ? 8 + aqz_get64(p + 12 + n) : 4);

		snprintf(found, sizeof found, "%.*s", (int)n, (const char *)p + 8);
		if (strcmp(found, key) != 0) {
			gguf_add(&g.metadata, p, n_bytes);
			g.n_keys++;
		}
		at += n_bytes;
	}
	aqz_buffer_free(&sound.metadata);
	put_value(&g, key, _i);
	tiny_gguf_tensors(&g, &t);
	gguf_make(&bytes, &g);
	put("m.gguf", bytes.data, bytes.n);
	aqz_buffer_free(&bytes);
	status = try_path(in_root("m.gguf"), &err);
	ck_assert_msg(status == metadata[_i].status && strcmp(err.where, metadata[_i].where) == 0 &&
			strstr(err.text, metadata[_i].why) != NULL,
		"%s: %s: %s: %s", key, aqz_status_name(status), err.where, err.text);
}
END_TEST

/* ---- Files that end early or have changed */

static uint8_t *read_form(int form, size_t *n)
{
	FILE *f = fopen(form == FOLDER ? in_root("model.safetensors") : path_of_form(form), "rb");
	uint8_t *bytes = malloc(1 << 20);

	ck_assert_ptr_nonnull(f);
	*n = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	return bytes;
}

static void check_data_status(aqz_status status, const aqz_error *err)
{
	ck_assert_msg(status == AQZ_OK || status == AQZ_E_FORMAT || status == AQZ_E_CORRUPT ||
			status == AQZ_E_TRUNCATED || status == AQZ_E_CHECKSUM || status == AQZ_E_UNSUPPORTED,
		"%s: %s: %s", aqz_status_name(status), err->where, err->text);
}

START_TEST(lengths_and_bytes)
{
	tiny t = tiny_llama();
	noise r = {11};
	aqz_error err;
	aqz_status status;
	uint8_t *bytes;
	const char *file = _i == FOLDER ? "model.safetensors" : forms[_i].file;
	size_t n, head = 600;

	t.config.n_layers = 1;
	forms[_i].put(&t, forms[_i].file);
	bytes = read_form(_i, &n);
	for (size_t k = 0; k < n; k += k < head ? 37 : n / 23) {
		put(file, bytes, k);
		status = try_path(path_of_form(_i), &err);
		check_data_status(status, &err);
		ck_assert_int_ne(status, AQZ_OK);
	}
	for (int k = 0; k < 150; k++) {
		const size_t at = (size_t)(noise_next(&r) >> 8) % (k < 100 && n > 2 * head ? head : n);
		const uint8_t was = bytes[at];

		bytes[at] = (uint8_t)(was ^ (1u << (noise_next(&r) >> 61)));
		put(file, bytes, n);
		check_data_status(try_path(path_of_form(_i), &err), &err);
		bytes[at] = was;
	}
	put(file, bytes, n);
	ck_assert_int_eq(try_path(path_of_form(_i), &err), AQZ_OK);
	free(bytes);
}
END_TEST

START_TEST(llama2c_headers)
{
	tiny t = tiny_llama();
	aqz_error err;
	uint8_t *bytes;
	size_t n;

	tiny_put_llama2c(&t, "m.bin");
	bytes = read_form(LLAMA2C, &n);
	put("m.bin", bytes, n - 1);
	ck_assert_int_eq(try_path(in_root("m.bin"), &err), AQZ_E_TRUNCATED);
	bytes[n] = 0;
	put("m.bin", bytes, n + 1);
	ck_assert_int_eq(try_path(in_root("m.bin"), &err), AQZ_E_CORRUPT);
	for (int i = 0; i < 7; i++) {
		const uint32_t was = aqz_get32(bytes + 4 * i);
		static const uint32_t values[] = {0, 0x80000000u, 0x7fffffffu, 0xffffffffu};

		for (int k = 0; k < 4; k++) {
			aqz_put32(bytes + 4 * i, values[k]);
			put("m.bin", bytes, n);
			check_data_status(try_path(in_root("m.bin"), &err), &err);
			ck_assert_int_ne(err.status, AQZ_OK);
		}
		aqz_put32(bytes + 4 * i, was);
	}
	memcpy(bytes, "24ka\1\0\0\0", 8);
	put("m.bin", bytes, n);
	ck_assert_int_eq(try_path(in_root("m.bin"), &err), AQZ_E_UNSUPPORTED);
	ck_assert_str_eq(err.where, "version");
	free(bytes);
}
END_TEST

/* ---- Something else */

START_TEST(other_things)
{
	static const struct {
		const char *bytes, *text;
	} files[] = {{"", "no model"}, {"PK\3\4......", "zip archive"}, {"\x80\2}q\1.", "pickle"},
		{"\x93NUMPY\1", "NumPy"}, {"version https://git-lfs.github.com/spec/v1", "Git LFS"},
		{"{\"model_type\":\"llama\"}", "JSON"},
		{"Once upon a time there was a text file.", "no model"}};
	aqz_error err;

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		put_text("m", files[i].bytes);
		ck_assert_int_eq(try_path(in_root("m"), &err), AQZ_E_FORMAT);
		ck_assert_msg(strstr(err.text, files[i].text) != NULL, "%s", err.text);
	}
	ck_assert_int_eq(unlink(in_root("m")), 0);
	ck_assert_int_eq(try_path(root, &err), AQZ_E_FORMAT);
	ck_assert_int_eq(try_path(in_root("absent"), &err), AQZ_E_NOT_FOUND);
	ck_assert_int_eq(try_path("/dev/null", &err), AQZ_E_FORMAT);
	put_text("m", "GGUF");
	ck_assert_int_ne(try_path(in_root("m"), &err), AQZ_OK);
	put("m",
		"\x89"
		"AQZ",
		4);
	ck_assert_int_ne(try_path(in_root("m"), &err), AQZ_OK);
}
END_TEST

START_TEST(configurations)
{
	tiny t = tiny_llama();
	aqz_error err;

	t.config_json = "";
	put_aqz(&t, "m.aqz");
	ck_assert_int_eq(try_path(in_root("m.aqz"), &err), AQZ_E_NOT_FOUND);
	ck_assert_str_eq(err.where, "config.json");
	ck_assert_int_eq(try_path(root, &err), AQZ_E_NOT_FOUND);
	ck_assert_str_eq(err.where, "config.json");
	ck_assert_int_eq(try_path(in_root("model.safetensors"), &err), AQZ_E_NOT_FOUND);
	t.config_json =
		"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\"}}";
	put_aqz(&t, "m.aqz");
	ck_assert_int_eq(try_path(in_root("m.aqz"), &err), AQZ_E_UNSUPPORTED);
	ck_assert_str_eq(err.where, "quantization_config");
	ck_assert_int_eq(try_path(root, &err), AQZ_E_UNSUPPORTED);
	t.config_json = "{]";
	put_aqz(&t, "m.aqz");
	ck_assert_int_eq(try_path(in_root("m.aqz"), &err), AQZ_E_CORRUPT);
	ck_assert_int_eq(try_path(root, &err), AQZ_E_CORRUPT);
}
END_TEST

/* Ids beyond the vocabulary are refused where they are fed. */
START_TEST(tokenizer_larger_than_model)
{
	const char *tree = getenv("AQZ_SRCDIR");
	aqz_model_options opt = {.struct_size = sizeof opt};
	const uint32_t inside = 49, beyond = 50;
	tiny t = tiny_llama();
	aqz_session *session;
	float logits[50];
	char path[4096];
	uint8_t *bytes = malloc(1 << 20);
	aqz_error err;
	aqz_model *m;
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "%s/tests/data/stories/tokenizer.json", tree != NULL ? tree : ".");
	f = fopen(path, "rb");
	ck_assert_ptr_nonnull(f);
	n = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	tiny_put_folder(&t);
	put("tokenizer.json", bytes, n);
	m = tiny_open(root);
	ck_assert_uint_eq(aqz_tokenizer_size(aqz_model_get_tokenizer(m)), 1024);
	ck_assert_int_eq(aqz_session_open(&session, m, 1, 4, 1, 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_session_feed(session, logits,
						 &(aqz_feed){.ids = &inside, .n_ids = 1, .n_logits = 1}, 1, &err),
		AQZ_OK);
	ck_assert_int_eq(aqz_session_feed(session, logits,
						 &(aqz_feed){.ids = &beyond, .n_ids = 1, .n_logits = 1}, 1, &err),
		AQZ_E_ARGUMENT);
	ck_assert_msg(strstr(err.text, "id 50 ") != NULL, "%s", err.text);
	aqz_session_close(session);
	aqz_model_close(m);
	put_text("tokenizer.json", "{}"); /* not looked at where another is given */
	opt.tokenizer = path;
	ck_assert_int_eq(aqz_model_open(&m, root, &opt, &err), AQZ_OK);
	aqz_model_close(m);
	t.config.vocabulary = 1030; /* one that is smaller than the vocabulary will do */
	tiny_put_folder(&t);
	ck_assert_msg(aqz_model_open(&m, root, &opt, &err) == AQZ_OK, "%s", err.text);
	ck_assert_uint_eq(aqz_tokenizer_size(aqz_model_get_tokenizer(m)), 1024);
	aqz_model_close(m);
	free(bytes);
}
END_TEST

/* ---- Memory */

START_TEST(allocations_that_fail)
{
	tiny t = tiny_family(_i == LLAMA2C || _i == GGUF ? AQZ_LLAMA : AQZ_QWEN2);
	aqz_model_options opt = {.struct_size = sizeof opt, .n_threads = 1};
	const size_t before = heap_now();
	aqz_status status;
	uint64_t calls;
	aqz_error err;
	aqz_model *m;

	t.config.n_layers = 1;
	forms[_i].put(&t, forms[_i].file);
	heap_reset(0);
	status = aqz_model_open(&m, path_of_form(_i), &opt, &err);
	calls = heap_calls(); /* before Check has any of its own */
	ck_assert_int_eq(status, AQZ_OK);
	ck_assert_uint_gt(calls, 20);
	aqz_model_close(m);
	for (uint64_t i = 1; i <= calls; i++) {
		heap_reset(i);
		status = aqz_model_open(&m, path_of_form(_i), &opt, &err);
		heap_reset(0);
		ck_assert_msg(status == AQZ_E_NOMEM, "%d: %s: %s", (int)i, aqz_status_name(status), err.text);
		ck_assert_ptr_null(m);
		ck_assert_uint_eq(heap_now(), before);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("load_bad");
	TCase *t = tcase_create("load_bad");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 180);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(t, tensors, 0, N_FORMS);
	tcase_add_test(t, gguf_types);
	tcase_add_loop_test(t, gguf_metadata, 0, sizeof metadata / sizeof *metadata);
	tcase_add_loop_test(t, lengths_and_bytes, 0, N_FORMS);
	tcase_add_test(t, llama2c_headers);
	tcase_add_test(t, other_things);
	tcase_add_test(t, configurations);
	tcase_add_test(t, tokenizer_larger_than_model);
	tcase_add_loop_test(t, allocations_that_fail, 0, N_FORMS);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
