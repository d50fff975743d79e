/* SPDX-License-Identifier: Apache-2.0 */
/* Models as Hugging Face folders: what comes out is what went in, and nothing is written behind a failure. */
#include "model/export.h"
#include "tests/heap.h"
#include "tests/tiny_model.h"

/* Files in memory, or, with a folder, there; the call of number fail_at fails. */
typedef struct folder {
	char name[64];
	aqz_buffer weights; /* of the safetensors files one after the other */
	uint64_t shard_begin[32];
	uint32_t n_shards, n_files, n_calls, fail_at;
	FILE *file;
	bool keep; /* in the test's folder */
} folder;

static aqz_status count(folder *f, aqz_error *err)
{
	return ++f->n_calls == f->fail_at ? aqz_fail(err, AQZ_E_SPACE, AQZ_NO_OFFSET, f->name, "no room")
									  : AQZ_OK;
}

static aqz_status begin_file(void *user, const char *name, aqz_error *err)
{
	folder *f = user;
	const size_t n = strlen(name);

	ck_assert(strchr(name, '/') == NULL && n < sizeof f->name);
	snprintf(f->name, sizeof f->name, "%s", name);
	f->n_files++;
	if (n > 12 && strcmp(name + n - 12, ".safetensors") == 0)
		f->shard_begin[f->n_shards++] = f->weights.n;
	if (f->file != NULL)
		fclose(f->file);
	f->file = f->keep ? fopen(in_root(name), "wb") : NULL;
	return count(f, err);
}

static aqz_status write_file(void *user, const void *data, size_t n, aqz_error *err)
{
	folder *f = user;
	const size_t length = strlen(f->name);

	ck_assert_uint_ge(f->n_files, 1);
	if (length > 12 && strcmp(f->name + length - 12, ".safetensors") == 0)
		ck_assert_int_eq(aqz_buffer_add(&f->weights, data, n, NULL), AQZ_OK);
	if (f->file != NULL)
		ck_assert_uint_eq(fwrite(data, 1, n, f->file), n);
	return count(f, err);
}

static aqz_status run(folder *f, const aqz_model *m, const aqz_export_options *opt, aqz_error *err)
{
	const aqz_folder_sink sink = {.user = f, .begin = begin_file, .write = write_file};
	const bool keep = f->keep;
	const uint32_t fail_at = f->fail_at;
	aqz_status status;

	aqz_buffer_free(&f->weights);
	*f = (folder){.keep = keep, .fail_at = fail_at};
	*err = (aqz_error){0};
	status = aqz_model_export(m, &sink, opt, err);
	if (f->file != NULL)
		fclose(f->file);
	f->file = NULL;
	return status;
}

static aqz_model *open_family(const char *name)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/tests/data/families/%s", getenv("AQZ_SRCDIR"), name);
	return tiny_open(path);
}

/* Elements of a tensor of the folder, in F32 wide; free it. */
static float *wide_tensor(aqz_source *s, const aqz_source_tensor *t)
{
	uint8_t *stored = malloc(t->n_bytes + 1);
	float *wide = malloc((t->n_elements + 1) * sizeof *wide);

	ck_assert_int_eq(aqz_source_read(s, t->file, t->offset, stored, t->n_bytes, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_convert(wide, AQZ_F32, stored, t->dtype, t->n_elements, NULL), AQZ_OK);
	free(stored);
	return wide;
}

/* The names, shapes and values of a family's folder, rounded once, and no more tensors than it has. */
static void check_weights(const char *family, const folder *f, aqz_dtype dtype)
{
	char path[4096];
	aqz_safetensors got = {0};
	aqz_source *s;
	aqz_error err;
	uint32_t n_tensors = 0;

	ck_assert_uint_eq(f->n_shards, 1);
	ck_assert_int_eq(
		aqz_safetensors_parse(&got, f->weights.data, f->weights.n, f->weights.n, 0, &err), AQZ_OK);
	ck_assert_str_eq(got.metadata, "{\"format\":\"pt\"}");
	snprintf(path, sizeof path, "%s/tests/data/families/%s", getenv("AQZ_SRCDIR"), family);
	ck_assert_int_eq(aqz_source_open(&s, path, 0, &err), AQZ_OK);
	for (const aqz_source_tensor *t; (t = aqz_source_get(s, n_tensors)) != NULL; n_tensors++) {
		float *wide = wide_tensor(s, t);
		uint8_t *due = malloc(t->n_elements * 4);
		uint32_t i = 0;

		ck_assert_int_eq(aqz_convert(due, dtype, wide, AQZ_F32, t->n_elements, NULL), AQZ_OK);
		while (i < got.n_tensors && strcmp(got.tensors[i].name, t->name) != 0)
			i++;
		ck_assert_msg(i < got.n_tensors, "%s lacks %s", family, t->name);
		ck_assert(got.tensors[i].dtype == dtype && got.tensors[i].rank == t->rank);
		ck_assert(memcmp(got.tensors[i].shape, t->shape, sizeof t->shape) == 0);
		ck_assert_msg(
			memcmp(f->weights.data + got.tensors[i].offset, due, got.tensors[i].n_bytes) == 0,
			"%s: %s", family, t->name);
		free(due);
		free(wide);
	}
	ck_assert_uint_eq(got.n_tensors, n_tensors);
	aqz_source_close(s);
	aqz_safetensors_free(&got);
}

static const char *const families[] = {"llama", "llama3", "llama-bias", "llama-linear-tied",
	"mistral", "qwen2", "qwen2-window", "qwen3"};

START_TEST(every_family)
{
	static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_F16, AQZ_BF16};
	static const char *const names[] = {"float32", "float16", "bfloat16"};
	aqz_model *m = open_family(families[_i]), *again;
	folder f = {0};
	aqz_error err;

	for (int k = 0; k < 3; k++) {
		const aqz_export_options opt = {.struct_size = sizeof opt, .dtype = dtypes[k]};
		aqz_buffer config = {0};

		f.keep = true;
		ck_assert_msg(run(&f, m, &opt, &err) == AQZ_OK, "%s: %s", err.where, err.text);
		check_weights(families[_i], &f, dtypes[k]);
		/* All that the configuration says is passed on, but for the dtype. */
		again = tiny_open(root);
		ck_assert(memcmp(&again->config, &m->config, sizeof m->config) == 0);
		ck_assert_ptr_nonnull(again->config_json);
		ck_assert_int_eq(
			aqz_buffer_add(&config, again->config_json, again->config_json_bytes, NULL), AQZ_OK);
		ck_assert_int_eq(aqz_buffer_add(&config, "", 1, NULL), AQZ_OK);
		ck_assert_ptr_nonnull(strstr((char *)config.data, names[k]));
		ck_assert_ptr_null(strstr((char *)config.data, names[(k + 1) % 3]));
		aqz_buffer_free(&config);
		aqz_model_close(again);
	}
	aqz_buffer_free(&f.weights);
	aqz_model_close(m);
}
END_TEST

/* From a file without config.json: one is made, and the model is the same one. */
START_TEST(from_gguf)
{
	static const aqz_model_family all[] = {AQZ_LLAMA, AQZ_QWEN2, AQZ_QWEN3};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		const aqz_export_options opt = {.struct_size = sizeof opt, .dtype = AQZ_F32};
		tiny t = tiny_family(all[i]);
		folder f = {.keep = true};
		aqz_model *m, *again;
		aqz_error err;

		tiny_put_gguf(&t, "model.gguf");
		m = tiny_open(in_root("model.gguf"));
		ck_assert_msg(run(&f, m, &opt, &err) == AQZ_OK, "%s: %s", err.where, err.text);
		unlink(in_root("model.gguf"));
		again = tiny_open(root);
		tiny_check(again, &t, AQZ_F32);
		ck_assert_int_eq(again->config.family, m->config.family);
		ck_assert_uint_eq(again->config.max_positions, m->config.max_positions);
		ck_assert(again->config.rope_theta == m->config.rope_theta &&
			again->config.rms_eps == m->config.rms_eps);
		ck_assert(again->config.bos == m->config.bos && again->config.n_eos == m->config.n_eos);
		aqz_buffer_free(&f.weights);
		aqz_model_close(again);
		aqz_model_close(m);
	}
}
END_TEST

/* Files are as large as asked for, unless one tensor is larger, and one after the other the same tensors. */
START_TEST(shards)
{
	aqz_model *m = open_family("qwen3"), *again;
	aqz_export_options opt = {.struct_size = sizeof opt, .dtype = AQZ_F32};
	folder whole = {0}, f = {.keep = true};
	aqz_safetensors all, got;
	uint64_t element = 0;
	aqz_error err;
	uint32_t n = 0;

	ck_assert_int_eq(run(&whole, m, &opt, &err), AQZ_OK);
	ck_assert_int_eq(
		aqz_safetensors_parse(&all, whole.weights.data, whole.weights.n, whole.weights.n, 0, &err),
		AQZ_OK);
	opt.shard_bytes = 8000; /* the embedding has 64 x 32 x 4 = 8192 */
	ck_assert_int_eq(run(&f, m, &opt, &err), AQZ_OK);
	ck_assert_uint_ge(f.n_shards, 13);
	f.shard_begin[f.n_shards] = f.weights.n;
	for (uint32_t i = 0; i < f.n_shards; i++) {
		const uint8_t *shard = f.weights.data + f.shard_begin[i];
		const uint64_t bytes = f.shard_begin[i + 1] - f.shard_begin[i];

		ck_assert_int_eq(aqz_safetensors_parse(&got, shard, bytes, bytes, 0, &err), AQZ_OK);
		ck_assert(got.data_bytes <= 8000 || got.n_tensors == 1);
		for (uint32_t k = 0; k < got.n_tensors; k++, n++) {
			ck_assert_str_eq(got.tensors[k].name, all.tensors[n].name);
			ck_assert_uint_eq(got.tensors[k].n_bytes, all.tensors[n].n_bytes);
			ck_assert(memcmp(shard + got.tensors[k].offset,
						  whole.weights.data + all.tensors[n].offset, got.tensors[k].n_bytes) == 0);
			element += got.tensors[k].n_elements;
		}
		aqz_safetensors_free(&got);
	}
	ck_assert_uint_eq(n, all.n_tensors);
	ck_assert_uint_eq(element, 24288);
	ck_assert_str_eq(f.name, "model.safetensors.index.json");
	again = tiny_open(root); /* the index is checked by the reader of folders */
	aqz_model_close(again);
	aqz_safetensors_free(&all);
	aqz_buffer_free(&whole.weights);
	aqz_buffer_free(&f.weights);
	aqz_model_close(m);
}
END_TEST

/* Asserts nothing: the test library would take memory. */
static aqz_status begin_nothing(void *user, const char *name, aqz_error *err)
{
	(void)user;
	(void)name;
	(void)err;
	return AQZ_OK;
}

static aqz_status write_nothing(void *user, const void *data, size_t n, aqz_error *err)
{
	(void)user;
	(void)data;
	(void)n;
	(void)err;
	return AQZ_OK;
}

/* The configuration ties head and embedding, the file does not: what is written says what the model is. */
START_TEST(a_head_that_the_configuration_denies)
{
	tiny t = tiny_llama();
	aqz_export_options opt = {.struct_size = sizeof opt};
	folder f = {.keep = true};
	aqz_error err;
	aqz_model *m;
	char *json;
	json_t *written;
	size_t n;

	t.config.tied = true;
	ck_assert_int_eq(aqz_config_to_json(&t.config, AQZ_F32, &json, &n, NULL), AQZ_OK);
	t.config.tied = false;
	t.config_json = json;
	tiny_put_folder(&t);
	free(json);
	m = tiny_open(root);
	ck_assert_int_eq(run(&f, m, &opt, &err), AQZ_OK);
	aqz_model_close(m);
	written = json_load_file(in_root("config.json"), 0, NULL);
	ck_assert(json_is_false(json_object_get(written, "tie_word_embeddings")));
	json_decref(written);
	aqz_buffer_free(&f.weights);
}
END_TEST

static bool stop_at(void *user, uint64_t done, uint64_t total)
{
	ck_assert_uint_le(done, total);
	return --*(int *)user > 0;
}

/* Each call of the sink, each allocation and each tick may be the last. */
START_TEST(failures)
{
	aqz_model *m = open_family("llama-linear-tied");
	aqz_export_options opt = {.struct_size = sizeof opt};
	folder f = {0};
	aqz_error err;
	aqz_status status;
	const aqz_folder_sink nothing = {.begin = begin_nothing, .write = write_nothing};
	uint64_t limit = 1, failed = 0;

	for (f.fail_at = 1;; f.fail_at++) {
		status = run(&f, m, &opt, &err);
		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_SPACE);
		ck_assert_uint_eq(f.n_calls, f.fail_at);
		ck_assert_str_eq(err.text, "no room");
	}
	ck_assert_uint_gt(f.fail_at, 20);
	f.fail_at = 0;
	for (uint64_t i = 1;; i++) {
		heap_reset(i);
		status = aqz_model_export(m, &nothing, &opt, &err);
		heap_reset(0);
		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_NOMEM);
		failed++;
	}
	ck_assert_uint_gt(failed, 5);
	for (;; limit *= 2) {
		opt.memlimit_bytes = limit;
		status = run(&f, m, &opt, &err);
		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_MEMLIMIT);
		ck_assert_uint_eq(f.n_calls, 0);
	}
	/* Two tiles and lists, whatever the size of the model. */
	ck_assert(limit > 65536 && limit <= 1 << 22);
	for (int left = 1;; left++) {
		int ticks = left;

		opt.progress = stop_at;
		opt.progress_user = &ticks;
		status = run(&f, m, &opt, &err);
		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_CANCELLED);
	}
	aqz_buffer_free(&f.weights);
	aqz_model_close(m);
}
END_TEST

START_TEST(arguments)
{
	static const aqz_dtype bad[] = {AQZ_F64, AQZ_I8, (aqz_dtype)77};
	aqz_model *m = open_family("llama");
	aqz_export_options opt = {.struct_size = sizeof opt - 1};
	folder f = {0};
	aqz_error err;

	ck_assert_int_eq(run(&f, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_model_export(m, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_model_export(m, &(aqz_folder_sink){0}, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(run(&f, m, &opt, &err), AQZ_E_ARGUMENT);
	opt.struct_size++;
	for (int i = 0; i < 3; i++) {
		opt.dtype = bad[i];
		ck_assert_int_eq(run(&f, m, &opt, &err), AQZ_E_ARGUMENT);
		ck_assert_str_eq(err.where, "options.dtype");
	}
	/* Defaults: BF16 in one file. */
	ck_assert_int_eq(run(&f, m, NULL, &err), AQZ_OK);
	check_weights("llama", &f, AQZ_BF16);
	aqz_buffer_free(&f.weights);
	aqz_model_close(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("export");
	TCase *t = tcase_create("export");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, every_family, 0, sizeof families / sizeof *families);
	tcase_add_test(t, from_gguf);
	tcase_add_test(t, shards);
	tcase_add_test(t, a_head_that_the_configuration_denies);
	tcase_add_test(t, failures);
	tcase_add_test(t, arguments);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
