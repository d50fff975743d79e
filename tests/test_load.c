/* SPDX-License-Identifier: Apache-2.0 */
/* The same model in every form that is read has the same weights. */
#include <math.h>

#include "model/load.h"
#include "tests/tiny_model.h"

static const aqz_model_family families[] = {AQZ_LLAMA, AQZ_MISTRAL, AQZ_QWEN2, AQZ_QWEN3};

/* ---- Forms */

START_TEST(folders)
{
	static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_F16, AQZ_BF16};
	tiny t = tiny_family(families[_i]);
	aqz_model *m;

	for (int k = 0; k < 3; k++) {
		t.dtype = dtypes[k];
		t.plain_names = k == 1;
		tiny_put_folder(&t);
		m = tiny_open(root);
		ck_assert_int_eq(aqz_model_get_config(m)->family, families[_i]);
		ck_assert_ptr_null(aqz_model_get_tokenizer(m));
		tiny_check(m, &t, dtypes[k]);
		/* config.json is kept as it was, for export. */
		ck_assert_ptr_nonnull(m->config_json);
		ck_assert(m->config_json_bytes > 2 && m->config_json[0] == '{');
		aqz_model_close(m);
		/* One file of it does as well, with the configuration beside it. */
		m = tiny_open(in_root("model.safetensors"));
		tiny_check(m, &t, dtypes[k]);
		aqz_model_close(m);
	}
}
END_TEST

/* A configuration that ties head and embedding, and files that have both, one of them or neither. */
START_TEST(tied_or_not)
{
	const char *const embedding = "model.embed_tokens.weight";
	aqz_model_options opt = {.struct_size = sizeof opt};
	tiny t = tiny_llama();
	aqz_error err = {0};
	aqz_model *m;
	char *json;
	size_t n;
	uint64_t used;

	t.config.tied = true;
	ck_assert_int_eq(aqz_config_to_json(&t.config, AQZ_F32, &json, &n, NULL), AQZ_OK);
	tiny_put_folder(&t);
	m = tiny_open(root);
	used = m->budget.used_bytes;
	aqz_model_close(m);
	t.config_json = json;
	/* Both, and they differ: the model has a head of its own. */
	t.config.tied = false;
	tiny_put_folder(&t);
	m = tiny_open(root);
	ck_assert(!aqz_model_get_config(m)->tied && m->head.data != m->embedding.data);
	tiny_check(m, &t, AQZ_F32);
	aqz_model_close(m);
	/* They are the same: tied, and no room is taken by the second. */
	t.same_head = true;
	tiny_put_folder(&t);
	m = tiny_open(root);
	ck_assert(aqz_model_get_config(m)->tied && m->head.data == m->embedding.data);
	ck_assert_uint_eq(m->budget.used_bytes, used);
	t.config.tied = true;
	tiny_check(m, &t, AQZ_F32);
	aqz_model_close(m);
	/* The same but for the last element. */
	t.config.tied = false;
	t.other_end = "lm_head.weight";
	tiny_put_folder(&t);
	m = tiny_open(root);
	ck_assert(!aqz_model_get_config(m)->tied);
	ck_assert_uint_eq(m->memory.n_weights, m->memory.dense / 4);
	aqz_model_close(m);
	/* The head alone is both. */
	t.other_end = NULL;
	t.missing = embedding;
	tiny_put_folder(&t);
	m = tiny_open(root);
	ck_assert(aqz_model_get_config(m)->tied && m->head.data == m->embedding.data);
	ck_assert_uint_eq(m->budget.used_bytes, used);
	t.config.tied = true;
	tiny_check(m, &t, AQZ_F32);
	aqz_model_close(m);
	/* Neither. */
	tiny_put_folder(&t);
	ck_assert_int_eq(aqz_model_open(&m, root, &opt, &err), AQZ_E_CORRUPT);
	ck_assert_ptr_nonnull(strstr(err.where, embedding));
	free(json);
}
END_TEST

/* Further end tokens, beside those of the configuration. */
START_TEST(generation_config)
{
	tiny t = tiny_llama();
	aqz_error err = {0};
	aqz_model *m;

	tiny_put_folder(&t);
	put_text("generation_config.json", "{\"eos_token_id\":[2,49,50]}");
	m = tiny_open(root);
	ck_assert(m->config.n_eos == 3 && m->config.eos[2] == 49);
	aqz_model_close(m);
	put_text("generation_config.json", "{");
	ck_assert_int_eq(aqz_model_open(&m, root, NULL, &err), AQZ_E_CORRUPT);
	ck_assert_str_eq(err.where, "generation_config.json");
}
END_TEST

START_TEST(shards)
{
	tiny t = tiny_llama();
	tiny_tensor all[TINY_MAX_TENSORS];
	const uint32_t n = tiny_list(all, &t.config);
	static char text[8192] = "{\"weight_map\":{";
	char *from;
	aqz_source_tensor head = {.name = "lm_head.weight",
		.name_bytes = 14,
		.dtype = AQZ_F32,
		.rank = 2,
		.shape = {50, 32},
		.n_elements = 1600,
		.n_bytes = 6400};
	float values[1600];
	uint8_t *header;
	aqz_model *m;
	size_t n_bytes;
	FILE *f;

	/* All tensors but the head are in one shard. */
	t.missing = "lm_head.weight";
	tiny_put_folder(&t);
	from = strdup(in_root("model.safetensors"));
	ck_assert_int_eq(rename(from, in_root(SHARD_1)), 0);
	free(from);
	for (uint32_t i = 0; i < 1600; i++)
		values[i] = tiny_value("lm_head.weight", i / 32, i % 32);
	ck_assert_int_eq(aqz_safetensors_header(&header, &n_bytes, &head, 1, NULL, NULL), AQZ_OK);
	f = fopen(in_root(SHARD_2), "wb");
	ck_assert_ptr_nonnull(f);
	tiny_put_bytes(f, header, n_bytes);
	tiny_put_bytes(f, values, sizeof values);
	fclose(f);
	free(header);
	for (uint32_t i = 0; i < n; i++) {
		const size_t used = strlen(text);

		snprintf(text + used, sizeof text - used, "%s\"%s\":\"%s\"", i > 0 ? "," : "", all[i].name,
			strcmp(all[i].name, "lm_head.weight") == 0 ? SHARD_2 : SHARD_1);
	}
	strcat(text, "}}");
	put_text(AQZ_SOURCE_INDEX, text);
	m = tiny_open(root);
	tiny_check(m, &t, AQZ_F32);
	aqz_model_close(m);
}
END_TEST

START_TEST(gguf_files)
{
	static const struct {
		uint32_t type;
		aqz_dtype dtype;
	} types[] = {{0, AQZ_F32}, {1, AQZ_F16}, {30, AQZ_BF16}};
	tiny t = tiny_family(families[_i]);
	const aqz_model_config *c;
	aqz_model *m;

	for (int k = 0; k < 3; k++) {
		t.gguf_type = types[k].type;
		t.config.tied = k == 1;
		tiny_put_gguf(&t, "m.gguf");
		m = tiny_open(in_root("m.gguf"));
		c = aqz_model_get_config(m);
		ck_assert_int_eq(c->family, families[_i] == AQZ_MISTRAL ? AQZ_LLAMA : families[_i]);
		ck_assert(
			c->n_kv_heads == 2 && c->head_dim == 8 && c->rms_eps == 1e-5f && c->vocabulary == 50);
		ck_assert(c->tied == (k == 1) && c->qkv_bias == t.config.qkv_bias && !c->o_bias);
		tiny_check(m, &t, types[k].dtype);
		ck_assert_ptr_null(m->config_json);
		aqz_model_close(m);
	}
}
END_TEST

/* Blocks stay blocks; rows of q and k move whole, also where a row is several blocks. */
START_TEST(gguf_blocks)
{
	static const uint32_t types[] = {2, 3, 6, 7, 8};
	const aqz_gguf_type *type = aqz_gguf_type_find(types[_i]);
	tiny t = tiny_llama();
	tiny_tensor all[TINY_MAX_TENSORS];
	const uint32_t n = tiny_list(all, &t.config);
	aqz_gguf *g;
	aqz_file file;
	aqz_model *m;

	t.gguf_type = types[_i];
	tiny_put_gguf(&t, "m.gguf");
	m = tiny_open(in_root("m.gguf"));
	ck_assert_int_eq(aqz_file_open(&file, in_root("m.gguf"), NULL, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_gguf_open(&g, &file.io, 0, NULL), AQZ_OK);
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t row_bytes = all[i].cols / type->n_values * type->n_bytes;
		char name[AQZ_WEIGHT_NAME_BYTES];
		const aqz_gguf_tensor *x;
		const aqz_weight *w;
		const float *v;
		uint8_t row[512];
		float due[64], got[64];

		if (all[i].cols == 0)
			continue;
		tiny_gguf_name(name, all[i].name);
		x = aqz_gguf_tensor_find(g, name);
		tiny_find(&w, &v, m, all[i].name);
		ck_assert(w->form == AQZ_WEIGHT_BLOCKS && w->type == type && row_bytes <= sizeof row);
		for (uint64_t r = 0; r < w->rows; r++) {
			uint64_t there = r;

			/* Row r is where the file has the row that goes to r. */
			for (uint64_t k = 0; all[i].rotary_heads > 0 && k < w->rows; k++)
				if (tiny_interleaved(k, t.config.head_dim) == r)
					there = k;
			ck_assert_int_eq(
				aqz_file_read(&file, row, row_bytes, x->offset + there * row_bytes, NULL, NULL),
				AQZ_OK);
			type->widen(due, row, all[i].cols / type->n_values);
			aqz_weight_rows(got, 64, w, r, r + 1);
			ck_assert_mem_eq(got, due, all[i].cols * sizeof *due);
		}
	}
	ck_assert(m->memory.blocks > 0 && m->memory.codes == 0);
	aqz_gguf_close(g);
	aqz_file_close(&file);
	aqz_model_close(m);
}
END_TEST

START_TEST(llama2c_files)
{
	tiny t = tiny_llama();
	const aqz_model_config *c;
	aqz_model *m;

	for (int tied = 0; tied < 2; tied++) {
		t.config.tied = tied;
		tiny_put_llama2c(&t, "m.bin");
		m = tiny_open(in_root("m.bin"));
		c = aqz_model_get_config(m);
		ck_assert(c->tied == (tied == 1) && c->rms_eps == 1e-5f && c->rope_theta == 10000);
		ck_assert(c->bos == 1 && c->n_eos == 2 && c->max_positions == 16);
		tiny_check(m, &t, AQZ_F32);
		aqz_model_close(m);
	}
}
END_TEST

/* ---- Rotary factors of GGUF files */

static aqz_status open_with_factors(
	aqz_model **m, const float *factors, uint64_t n, const char *scaling)
{
	tiny t = tiny_llama();
	gguf_file g = {0};
	aqz_buffer bytes;
	aqz_error err = {0};
	aqz_status status;

	t.config.head_dim = 32;
	t.config.rope_theta = 500000;
	tiny_gguf_keys(&g, &t.config);
	if (scaling != NULL) {
		gguf_put_string(&g, "llama.rope.scaling.type", scaling);
		gguf_put_f32(&g, "llama.rope.scaling.factor", 4);
	}
	tiny_gguf_tensors(&g, &t);
	if (factors != NULL)
		gguf_put_tensor(&g, "rope_freqs.weight", 0, 1, &n, factors, n * sizeof *factors);
	gguf_make(&bytes, &g);
	put("m.gguf", bytes.data, bytes.n);
	aqz_buffer_free(&bytes);
	status = aqz_model_open(m, in_root("m.gguf"), NULL, &err);
	if (status == AQZ_E_UNSUPPORTED)
		ck_assert_msg(strcmp(err.where, "rope_freqs.weight") == 0 ||
				strcmp(err.where, "llama.rope.scaling.type") == 0,
			"%s", err.where);
	return status;
}

START_TEST(rotary_factors)
{
	static const struct {
		double factor, high;
		uint32_t original;
	} scalings[] = {{8, 4, 8192}, {32, 4, 8192}, {16, 16, 32768}};
	float factors[16];
	aqz_model *m;

	for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++) {
		/* As convert_hf_to_gguf.py writes them. */
		for (int k = 0; k < 16; k++) {
			const double original = scalings[i].original, high = scalings[i].high;
			const double wave = 2 * 3.14159265358979323846 * pow(500000, k / 16.0);
			const double mix = (original / wave - 1) / (high - 1);

			factors[k] = (float)(wave < original / high ? 1
					: wave > original					? scalings[i].factor
									  : 1 / ((1 - mix) / scalings[i].factor + mix));
		}
		ck_assert_int_eq(open_with_factors(&m, factors, 16, NULL), AQZ_OK);
		ck_assert_int_eq(m->config.rope_scaling, AQZ_ROPE_LLAMA3);
		ck_assert_msg(m->config.rope_factor == scalings[i].factor && m->config.rope_low == 1 &&
				fabs(m->config.rope_high - scalings[i].high) < 2e-3 &&
				m->config.rope_original == scalings[i].original,
			"%g %g %u", m->config.rope_factor, m->config.rope_high, m->config.rope_original);
		aqz_model_close(m);
	}
	factors[7] *= 1.01f; /* no formula gives these */
	ck_assert_int_eq(open_with_factors(&m, factors, 16, NULL), AQZ_E_UNSUPPORTED);
	factors[7] = NAN;
	ck_assert_int_eq(open_with_factors(&m, factors, 16, NULL), AQZ_E_UNSUPPORTED);
	ck_assert_int_eq(open_with_factors(&m, factors, 15, NULL), AQZ_E_CORRUPT);
	for (int k = 0; k < 16; k++)
		factors[k] = 1;
	ck_assert_int_eq(open_with_factors(&m, factors, 16, NULL), AQZ_OK);
	ck_assert_int_eq(m->config.rope_scaling, AQZ_ROPE_PLAIN);
	aqz_model_close(m);
	ck_assert_int_eq(open_with_factors(&m, NULL, 0, "linear"), AQZ_OK);
	ck_assert(m->config.rope_scaling == AQZ_ROPE_LINEAR && m->config.rope_factor == 4);
	aqz_model_close(m);
	ck_assert_int_eq(open_with_factors(&m, NULL, 0, "yarn"), AQZ_E_UNSUPPORTED);
}
END_TEST

/* ---- Options */

static bool count(void *user, uint64_t done, uint64_t total)
{
	uint64_t *last = user;

	ck_assert(done >= last[0] && done <= total && total > 0);
	last[0] = done;
	last[1] = total;
	return last[2]-- > 1;
}

START_TEST(progress_and_limits)
{
	tiny t = tiny_llama();
	uint64_t last[3] = {0, 0, 1000}, used;
	aqz_model_options opt = {
		.struct_size = sizeof opt, .progress = count, .progress_user = last, .n_threads = 2};
	aqz_error err;
	aqz_model *m;

	tiny_put_folder(&t);
	ck_assert_int_eq(aqz_model_open(&m, root, &opt, &err), AQZ_OK);
	ck_assert(last[0] == last[1] && last[1] == m->memory.file_bytes);
	used = m->budget.used_bytes;
	aqz_model_close(m);
	for (uint64_t calls = 1; calls < 10; calls++) {
		memcpy(last, (uint64_t[3]){0, 0, calls}, sizeof last);
		ck_assert_int_eq(aqz_model_open(&m, root, &opt, &err), AQZ_E_CANCELLED);
		ck_assert_ptr_null(m);
	}
	/* What the model holds is the least limit; a few KiB for reading come on top. */
	opt.progress = NULL;
	for (uint64_t limit = 1; limit < used; limit += used / 50) {
		opt.memlimit_bytes = limit;
		ck_assert_int_eq(aqz_model_open(&m, root, &opt, &err), AQZ_E_MEMLIMIT);
	}
	opt.memlimit_bytes = used + (64 << 10);
	ck_assert_int_eq(aqz_model_open(&m, root, &opt, &err), AQZ_OK);
	ck_assert_uint_eq(m->budget.used_bytes, used);
	aqz_model_close(m);
	opt.struct_size--;
	ck_assert_int_eq(aqz_model_open(&m, root, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_model_open(&m, NULL, NULL, &err), AQZ_E_ARGUMENT);
	aqz_model_close(NULL);
}
END_TEST

/* ---- A real file */

START_TEST(stories260k)
{
	const char *tree = getenv("AQZ_SRCDIR");
	char path[4096];
	aqz_file file;
	aqz_model *m;
	float row[64];

	snprintf(path, sizeof path, "%s/../shared/data/stories260K/stories260K.bin",
		tree != NULL ? tree : ".");
	if (access(path, R_OK) != 0) {
		fprintf(stderr, "SKIP: %s is absent\n", path);
		return;
	}
	m = tiny_open(path);
	ck_assert(m->config.hidden == 64 && m->config.intermediate == 172 && m->config.tied);
	ck_assert_uint_eq(m->memory.n_weights, 260032);
	/* Row 3 of the first head of layer 2's q: the second of its halves has row 1 of the pairs, the first all row 0. */
	ck_assert_int_eq(aqz_file_open(&file, path, NULL, NULL), AQZ_OK);
	for (uint64_t r = 0; r < 8; r++) {
		const uint64_t there = r < 4 ? 2 * r : 2 * (r - 4) + 1;
		const uint64_t at = 512 * 64 + 5 * 64 + (2 * 64 + there) * 64;

		ck_assert_int_eq(aqz_file_read(&file, row, sizeof row, 28 + at * 4, NULL, NULL), AQZ_OK);
		ck_assert_mem_eq(m->blocks[2].linear[AQZ_LINEAR_Q].data + r * sizeof row, row, sizeof row);
	}
	aqz_file_close(&file);
	aqz_model_close(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("load");
	TCase *t = tcase_create("load");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_loop_test(t, folders, 0, 4);
	tcase_add_test(t, tied_or_not);
	tcase_add_test(t, generation_config);
	tcase_add_test(t, shards);
	tcase_add_loop_test(t, gguf_files, 0, 4);
	tcase_add_loop_test(t, gguf_blocks, 0, 5);
	tcase_add_test(t, llama2c_files);
	tcase_add_test(t, rotary_factors);
	tcase_add_test(t, progress_and_limits);
	tcase_add_test(t, stories260k);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
