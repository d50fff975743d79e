/* SPDX-License-Identifier: Apache-2.0 */
/* The whole job on the embedded model: plan, compress, read back; sizes against zstd -19 and against
 * the stated bound. */
#include <check.h>
#include <math.h>
#include <zstd.h>

#include "tests/support.h"

static const char *folder(void)
{
	static char path[4096];
	const char *root = getenv("AQZ_SRCDIR");

	snprintf(path, sizeof path, "%s/tests/data/stories", root != NULL ? root : ".");
	return path;
}

static const aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1};

static aqz_compress_options options(const char *scheme, int effort, unsigned n_threads)
{
	aqz_compress_options o = {.struct_size = sizeof o, .effort = effort, .n_threads = n_threads};
	aqz_error err;

	ck_assert_msg(aqz_scheme_parse(&o.scheme, scheme, &err) == AQZ_OK, "%s", err.text);
	return o;
}

static aqz_source *open_model(const char *path)
{
	aqz_source *s;
	aqz_error err;

	ck_assert_msg(aqz_source_open(&s, path, 0, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	return s;
}

/* Compresses to memory; checks that the size is the one reported and within the plan's bound. */
static void compress(memory_file *out, const aqz_source *s, const aqz_compress_options *o)
{
	aqz_plan *plan;
	aqz_io io;
	aqz_error err;
	uint64_t n_bytes, bound;

	memory_io(&io, out);
	ck_assert_msg(aqz_plan_make(&plan, s, o, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	ck_assert_msg(aqz_plan_run(plan, &io, &n_bytes, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	aqz_plan_totals(plan, NULL, &bound);
	ck_assert_uint_eq(n_bytes, out->n);
	ck_assert_uint_le(n_bytes, bound);
	aqz_plan_free(plan);
}

static aqz_reader *reader_of(memory_file *f)
{
	aqz_reader *r;
	aqz_io io;
	aqz_error err;

	memory_io(&io, f);
	ck_assert_msg(aqz_reader_open(&r, &io, NULL, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	return r;
}

static uint8_t *tensor_of_source(const aqz_source *s, const aqz_source_tensor *t)
{
	uint8_t *data = malloc(t->n_bytes + 1);
	aqz_error err;

	SURE(data != NULL);
	ck_assert_int_eq(aqz_source_read(s, t->file, t->offset, data, t->n_bytes, &err), AQZ_OK);
	return data;
}

static uint8_t *tensor_of_file(const aqz_reader *r, const aqz_tensor_info *t)
{
	uint8_t *data = malloc(t->n_bytes + 1);
	aqz_error err;

	SURE(data != NULL);
	ck_assert_msg(aqz_reader_read_tensor(r, t, data, t->n_bytes, &err) == AQZ_OK, "%s", err.text);
	return data;
}

START_TEST(lossless_is_the_source_and_smaller_than_zstd_19)
{
	aqz_source *s = open_model(folder());
	aqz_compress_options o = options("raw", 5, 0);
	memory_file file = {0};
	aqz_reader *r;
	aqz_error err;
	uint64_t in = 0;

	compress(&file, s, &o);
	r = reader_of(&file);
	ck_assert_uint_eq(aqz_reader_file(r)->n_tensors, aqz_source_n_tensors(s));
	for (uint32_t i = 0; i < aqz_source_n_tensors(s); i++) {
		const aqz_source_tensor *t = aqz_source_get(s, i);
		const aqz_tensor_info *u = aqz_reader_find(r, t->name, t->name_bytes);
		uint8_t *a = tensor_of_source(s, t), *b;

		ck_assert_ptr_nonnull(u);
		b = tensor_of_file(r, u);
		ck_assert_uint_eq(u->n_bytes, t->n_bytes);
		ck_assert_mem_eq(a, b, t->n_bytes);
		ck_assert_int_eq(u->measured.raw_reason, AQZ_RAW_ASKED);
		free(a);
		free(b);
	}
	/* Against zstd -19 of the safetensors file alone, with all the other files on our side. */
	const aqz_source_file *model = aqz_source_get_file(s, 0);
	uint8_t *whole = malloc(model->n_bytes), *packed = malloc(ZSTD_compressBound(model->n_bytes));
	SURE(whole != NULL && packed != NULL);
	ck_assert_int_eq(aqz_source_read(s, 0, 0, whole, model->n_bytes, &err), AQZ_OK);
	size_t peer =
		ZSTD_compress(packed, ZSTD_compressBound(model->n_bytes), whole, model->n_bytes, 19);
	ck_assert(!ZSTD_isError(peer));
	ck_assert_uint_lt(file.n, peer);
	for (uint32_t i = 0; aqz_source_get_file(s, i) != NULL; i++)
		in += aqz_source_get_file(s, i)->n_bytes;
	ck_assert_uint_lt(file.n, in);
	free(whole);
	free(packed);
	aqz_reader_close(r);
	memory_free(&file);
	aqz_source_close(s);
}
END_TEST

/* The error in the file is the one that anybody finds from what is decoded, and the matrices are what was asked. */
START_TEST(recorded_errors_are_true)
{
	aqz_source *s = open_model(folder());
	aqz_compress_options o = options("2x8g8", 1, 0);
	memory_file file = {0};
	aqz_reader *r;
	uint32_t n_coded = 0;

	compress(&file, s, &o);
	r = reader_of(&file);
	for (uint32_t i = 0; i < aqz_reader_file(r)->n_tensors; i++) {
		const aqz_tensor_info *t = aqz_reader_tensor(r, i);
		const aqz_source_tensor *u = aqz_source_get(s, i);
		uint8_t *a, *b;
		double error = 0, energy = 0;

		ck_assert_str_eq(t->name, u->name);
		if (!t->measured.has_rel_mse) {
			ck_assert(aqz_reader_section(r, t->section)->scheme.codec == AQZ_CODEC_LOSSLESS);
			continue;
		}
		n_coded++;
		ck_assert(aqz_is_projection(t->name, t->rank));
		a = tensor_of_source(s, u);
		b = tensor_of_file(r, t);
		for (uint64_t k = 0; k < t->n_elements; k++) {
			float x[2];
			uint32_t bits[2] = {
				(uint32_t)((uint16_t *)a)[k] << 16, (uint32_t)((uint16_t *)b)[k] << 16};

			memcpy(x, bits, sizeof x);
			error += ((double)x[0] - x[1]) * ((double)x[0] - x[1]);
			energy += (double)x[0] * x[0];
		}
		ck_assert_double_lt(error / energy, 0.12);
		ck_assert_double_eq_tol(error / energy, t->measured.rel_mse, 1e-9 * t->measured.rel_mse);
		ck_assert_int_eq(t->measured.effort, 1);
		free(a);
		free(b);
	}
	ck_assert_uint_ge(n_coded, 16);
	aqz_reader_close(r);
	memory_free(&file);
	aqz_source_close(s);
}
END_TEST

START_TEST(same_bytes_for_any_number_of_threads)
{
	aqz_source *s = open_model(folder());
	memory_file first = {0};

	for (unsigned n = 1; n <= 3; n++) {
		aqz_compress_options o = options("2x8g8", 1, n);
		memory_file file = {0};

		compress(n == 1 ? &first : &file, s, &o);
		if (n > 1) {
			ck_assert_uint_eq(file.n, first.n);
			ck_assert_mem_eq(file.data, first.data, file.n);
		}
		memory_free(&file);
	}
	memory_free(&first);
	aqz_source_close(s);
}
END_TEST

/* The id follows from options and tensor table, or is the caller's. */
START_TEST(id_follows_from_options)
{
	aqz_source *s = open_model(folder());
	aqz_compress_options o = options("raw", 1, 0), other = options("raw", 2, 0),
						 given = options("raw", 1, 0);
	memory_file a = {0}, b = {0}, c = {0};

	given.id = (const uint8_t *)"0123456789abcdef";
	compress(&a, s, &o);
	compress(&b, s, &other);
	compress(&c, s, &given);
	aqz_reader *ra = reader_of(&a), *rb = reader_of(&b), *rc = reader_of(&c);
	ck_assert_mem_ne(aqz_reader_file(ra)->id, aqz_reader_file(rb)->id, 16);
	ck_assert_mem_eq(aqz_reader_file(rc)->id, "0123456789abcdef", 16);
	aqz_reader_close(ra);
	aqz_reader_close(rb);
	aqz_reader_close(rc);
	memory_free(&a);
	memory_free(&b);
	memory_free(&c);
	aqz_source_close(s);
}
END_TEST

START_TEST(rules_and_reasons)
{
	aqz_source *s = open_model(folder());
	aqz_compress_options o = options("2x8g8", 1, 0);
	aqz_scheme one;
	aqz_error err;
	aqz_plan *plan;

	ck_assert_int_eq(aqz_scheme_parse(&one, "1x4g4", &err), AQZ_OK);
	/* The last rule that matches wins; a vector is no matrix. */
	const aqz_rule rules[] = {{.glob = "*", .scheme = one}, {.glob = "*embed*", .scheme = raw},
		{.glob = "*.layers.[01].*", .scheme = raw}};
	o.rules = rules;
	o.n_rules = 3;
	ck_assert_int_eq(aqz_plan_make(&plan, s, &o, &err), AQZ_OK);
	for (uint32_t i = 0; aqz_plan_get(plan, i) != NULL; i++) {
		const aqz_plan_entry *e = aqz_plan_get(plan, i);
		const char *name = e->tensor->name;
		bool kept = strstr(name, "embed") != NULL || strstr(name, "layers.0") != NULL ||
			strstr(name, "layers.1") != NULL;

		if (kept) {
			ck_assert_int_eq(e->scheme.codec, AQZ_CODEC_LOSSLESS);
			ck_assert_int_eq(e->raw_reason, AQZ_RAW_ASKED);
		} else if (e->tensor->rank < 2) {
			ck_assert_int_eq(e->raw_reason, AQZ_RAW_SHAPE);
		} else {
			ck_assert_int_eq(e->scheme.code_bits, 4);
		}
	}
	aqz_plan_free(plan);
	/* 65,536 codewords of 16 bytes are more than any of these matrices. */
	o = options("1x16g8", 1, 0);
	ck_assert_int_eq(aqz_plan_make(&plan, s, &o, &err), AQZ_OK);
	for (uint32_t i = 0; aqz_plan_get(plan, i) != NULL; i++) {
		const aqz_plan_entry *e = aqz_plan_get(plan, i);

		ck_assert_int_eq(e->raw_reason,
			aqz_is_projection(e->tensor->name, e->tensor->rank) ? AQZ_RAW_NOT_SMALLER
																: AQZ_RAW_ASKED);
	}
	aqz_plan_free(plan);
	aqz_source_close(s);
}
END_TEST

START_TEST(which_tensors_are_projections)
{
	static const char *const yes[] = {"model.layers.0.self_attn.q_proj.weight",
		"layers.3.feed_forward.w2.weight", "model.layers.7.block_sparse_moe.experts.5.w1.weight",
		"q_proj.weight"};
	static const char *const no[] = {"model.embed_tokens.weight", "lm_head.weight",
		"model.layers.0.mlp.gate.weight", "model.layers.0.block_sparse_moe.gate.weight",
		"model.norm.weight", "model.layers.0.self_attn.q_proj.bias", "xq_proj.weight",
		"model.layers.0.self_attn.rotary_emb.inv_freq", ".weight", ""};

	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		ck_assert_msg(aqz_is_projection(yes[i], 2), "%s", yes[i]);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		ck_assert_msg(!aqz_is_projection(no[i], 2), "%s", no[i]);
	ck_assert(!aqz_is_projection(yes[0], 1));
}
END_TEST

static bool stop_at(void *user, uint64_t done, uint64_t total)
{
	(void)total;
	return done < *(uint64_t *)user;
}

/* Cancelled, out of memory or out of disk at any point: the status comes through, nothing is left. */
START_TEST(failures_come_through)
{
	aqz_source *s = open_model(folder());
	aqz_compress_options o = options("raw", 1, 2);
	aqz_plan *plan;
	aqz_error err;
	uint64_t limit;

	for (limit = 0; limit < 1800000; limit += 450000) {
		memory_file file = {0};
		aqz_io io;

		memory_io(&io, &file);
		o.progress = stop_at;
		o.progress_user = &limit;
		ck_assert_int_eq(aqz_plan_make(&plan, s, &o, &err), AQZ_OK);
		ck_assert_int_eq(aqz_plan_run(plan, &io, NULL, &err), AQZ_E_CANCELLED);
		aqz_plan_free(plan);
		memory_free(&file);
	}
	o.progress = NULL;
	for (uint64_t k = 1; k < 60; k += 7) {
		memory_file file = {.fail_write = k, .fail_with = AQZ_E_SPACE};
		aqz_io io;

		memory_io(&io, &file);
		ck_assert_int_eq(aqz_plan_make(&plan, s, &o, &err), AQZ_OK);
		ck_assert_int_eq(aqz_plan_run(plan, &io, NULL, &err), AQZ_E_SPACE);
		aqz_plan_free(plan);
		memory_free(&file);
	}
	o = options("2x8g8", 1, 1);
	o.memlimit_bytes = 1 << 16;
	if (aqz_plan_make(&plan, s, &o, &err) == AQZ_OK) {
		memory_file file = {0};
		aqz_io io;

		memory_io(&io, &file);
		ck_assert_int_eq(aqz_plan_run(plan, &io, NULL, &err), AQZ_E_MEMLIMIT);
		aqz_plan_free(plan);
		memory_free(&file);
	}
	aqz_source_close(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model");
	TCase *t = tcase_create("embedded model");

	tcase_set_timeout(t, 240);
	tcase_add_test(t, lossless_is_the_source_and_smaller_than_zstd_19);
	tcase_add_test(t, recorded_errors_are_true);
	tcase_add_test(t, same_bytes_for_any_number_of_threads);
	tcase_add_test(t, id_follows_from_options);
	tcase_add_test(t, rules_and_reasons);
	tcase_add_test(t, which_tensors_are_projections);
	tcase_add_test(t, failures_come_through);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
