/* SPDX-License-Identifier: Apache-2.0 */
/* Plans whose tensors share codebooks or have statistics: which tensors make a set, what training reads, what the file
 * then holds. */
#include <math.h>

#include "interop/plan.h"
#include "tests/model_folder.h"
#include "tests/support.h"

#define MAX_TENSORS 32

typedef struct made {
	const char *name;
	uint64_t shape[3]; /* rank 2 if the last is 0 */
} made;

/* A safetensors file of F32 noise; a name with "zero" is all 0, one with "nan" holds one NaN. sparse: of
 * holes. */
static void put_tensors(
	const char *file, const made *all, uint32_t n, const char *metadata, bool sparse)
{
	aqz_source_tensor tensors[MAX_TENSORS] = {0};
	aqz_error err;
	uint8_t *header;
	size_t header_bytes;
	uint64_t total = 0;
	FILE *out = fopen(in_root(file), "wb");

	SURE(out != NULL && n <= MAX_TENSORS);
	for (uint32_t i = 0; i < n; i++) {
		tensors[i] = (aqz_source_tensor){.name = all[i].name,
			.name_bytes = strlen(all[i].name),
			.dtype = AQZ_F32,
			.rank = all[i].shape[2] == 0 ? 2 : 3};
		memcpy(tensors[i].shape, all[i].shape, sizeof all[i].shape);
		SURE(aqz_shape_size(&tensors[i].n_elements, &tensors[i].n_bytes, tensors[i].shape,
			tensors[i].rank, AQZ_F32));
		total += tensors[i].n_bytes;
	}
	SURE(aqz_safetensors_header(&header, &header_bytes, tensors, n, metadata, &err) == AQZ_OK);
	SURE(fwrite(header, 1, header_bytes, out) == header_bytes);
	noise random = {7};
	for (uint32_t i = 0; i < n && !sparse; i++)
		for (uint64_t k = 0; k < tensors[i].n_elements; k++) {
			float v = (float)(int32_t)noise_next(&random) * 0x1p-31f;

			if (strstr(all[i].name, "zero") != NULL)
				v = 0;
			if (strstr(all[i].name, "nan") != NULL && k == 5)
				v = NAN;
			SURE(fwrite(&v, sizeof v, 1, out) == 1);
		}
	SURE(fflush(out) == 0 && ftruncate(fileno(out), (off_t)(header_bytes + total)) == 0);
	fclose(out);
	free(header);
}

static aqz_compress_options options(const char *scheme, aqz_share share)
{
	aqz_compress_options o = {.struct_size = sizeof o, .effort = 1, .share = share};
	aqz_error err;

	SURE(aqz_scheme_parse(&o.scheme, scheme, &err) == AQZ_OK);
	return o;
}

static aqz_plan *plan_of(const aqz_source *s, const aqz_compress_options *o)
{
	aqz_plan *plan;
	aqz_error err;

	ck_assert_msg(aqz_plan_make(&plan, s, o, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	return plan;
}

static aqz_reader *run(memory_file *file, const aqz_plan *plan)
{
	aqz_reader *reader;
	aqz_error err;
	aqz_io io;
	uint64_t bound;

	memory_io(&io, file);
	ck_assert_msg(aqz_plan_run(plan, &io, NULL, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	aqz_plan_totals(plan, NULL, &bound);
	ck_assert_uint_le(file->n, bound);
	ck_assert_int_eq(aqz_reader_open(&reader, &io, NULL, &err), AQZ_OK);
	return reader;
}

/* ---- Sets */

#define L "model.layers."
static const made names[] = {{L "0.mlp.up_proj.weight", {96, 64}},
	{L "0.self_attn.q_proj.weight", {96, 64}}, {L "1.mlp.up_proj.weight", {96, 48}},
	{L "1.self_attn.q_proj.weight", {130, 64}}, {L "12.mlp.up_proj.weight", {96, 64}},
	{"transformer.h.1.mlp.up_proj.weight", {96, 64}}, {"head.up_proj.weight", {96, 64}},
	{L "1.mlp.gate_proj.weight", {96, 64}}, {L "x.mlp.wq.weight", {96, 64}}, {"embed", {96, 64}}};
enum { N_NAMES = sizeof names / sizeof *names };

START_TEST(which_tensors_make_a_set)
{
	static const uint32_t sharing[4][N_NAMES] = {
		[AQZ_SHARE_NONE] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 0},
		[AQZ_SHARE_KIND] = {5, 2, 5, 2, 5, 5, 5, 1, 1, 0}, /* up_proj, also of the head; two of q_proj */
		[AQZ_SHARE_BLOCK] = {2, 2, 3, 3, 1, 1, 1, 3, 1, 0}, /* layers.1 is not h.1 */
		[AQZ_SHARE_ALL] = {9, 9, 9, 9, 9, 9, 9, 9, 9, 0},
	};
	put_tensors("m.safetensors", names, N_NAMES, NULL, false);
	aqz_source *s = open_ok(in_root("m.safetensors"));

	for (int share = 0; share < 4; share++) {
		aqz_compress_options o = options("1x3g4", (aqz_share)share);
		aqz_plan *plan = plan_of(s, &o);
		memory_file file = {0};
		aqz_reader *reader = run(&file, plan);
		uint64_t stored = 0;

		for (uint32_t i = 0; i < N_NAMES; i++) {
			const aqz_plan_entry *e = aqz_plan_get(plan, i);

			ck_assert_uint_eq(e->n_sharing, sharing[share][i]);
			/* Tensors have the same codebooks in the file if and only if they are in a set. */
			for (uint32_t k = 0; k < i; k++) {
				const aqz_section_info *a = aqz_reader_section(
										   reader, aqz_reader_tensor(reader, i)->section),
									   *b = aqz_reader_section(
										   reader, aqz_reader_tensor(reader, k)->section);
				const bool in_one =
					plan->more[i].set != AQZ_NO_SET && plan->more[i].set == plan->more[k].set;

				if (e->n_sharing > 0)
					ck_assert(a->refs[0].kind == AQZ_KIND_CODEBOOK);
				if (e->n_sharing > 0 && aqz_plan_get(plan, k)->n_sharing > 0)
					ck_assert_int_eq(a->refs[0].first == b->refs[0].first, in_one);
			}
			stored += e->stored_bytes;
		}
		/* 8 codewords of 4 values in F16, once for each set or tensor without one. */
		static const uint64_t n_books[] = {9, 4, 6, 1};
		uint64_t rest = 0;
		for (uint32_t i = 0; i + 1 < N_NAMES; i++) /* 64 rows in a tile, 3 bits a code; 2 bytes a row */
			rest +=
				(names[i].shape[0] + 63) / 64 * (names[i].shape[1] / 4) * 24 + 2 * names[i].shape[0];
		ck_assert_uint_eq(stored, rest + 96 * 64 * 4 + 64 * n_books[share]);
		aqz_reader_close(reader);
		memory_free(&file);
		aqz_plan_free(plan);
	}
	aqz_source_close(s);
}
END_TEST

/* Two schemes, two sets; and a set falls apart where its parts do not pay. */
START_TEST(schemes_and_sizes)
{
	put_tensors("m.safetensors", names, N_NAMES, NULL, false);
	aqz_source *s = open_ok(in_root("m.safetensors"));
	aqz_compress_options o = options("1x3g4", AQZ_SHARE_ALL);
	aqz_rule rules[2] = {{.glob = "*.1.*"}, {.glob = "*.0.*"}};
	aqz_error err;
	aqz_plan *plan;

	SURE(aqz_scheme_parse(&rules[0].scheme, "1x4g4", &err) == AQZ_OK);
	SURE(aqz_scheme_parse(&rules[1].scheme, "1x3g4", &err) == AQZ_OK);
	o.rules = rules;
	o.n_rules = 2;
	plan = plan_of(s, &o);
	static const uint32_t expected[N_NAMES] = {5, 5, 4, 4, 5, 4, 5, 4, 5, 0};
	for (uint32_t i = 0; i < N_NAMES; i++)
		ck_assert_uint_eq(aqz_plan_get(plan, i)->n_sharing, expected[i]);
	aqz_plan_free(plan);
	/* 2^12 codewords of 4 values are 32 KiB: more than a matrix (24 KiB), less than five. */
	o = options("1x12g4", AQZ_SHARE_NONE);
	plan = plan_of(s, &o);
	for (uint32_t i = 0; i + 1 < N_NAMES; i++)
		ck_assert_int_eq(aqz_plan_get(plan, i)->raw_reason, AQZ_RAW_NOT_SMALLER);
	aqz_plan_free(plan);
	o = options("1x12g4", AQZ_SHARE_ALL);
	plan = plan_of(s, &o);
	for (uint32_t i = 0; i + 1 < N_NAMES; i++)
		ck_assert_uint_eq(aqz_plan_get(plan, i)->n_sharing, 9);
	aqz_plan_free(plan);
	o = options("1x12g4", AQZ_SHARE_KIND);
	plan = plan_of(s, &o);
	for (uint32_t i = 0; i + 1 < N_NAMES; i++) {
		const bool five = strstr(names[i].name, "up_proj") != NULL,
				   two = strstr(names[i].name, "q_proj") != NULL;

		if (!two) {
			ck_assert_uint_eq(aqz_plan_get(plan, i)->n_sharing, five ? 5 : 0);
			ck_assert_int_eq(
				aqz_plan_get(plan, i)->raw_reason, five ? AQZ_RAW_ASKED : AQZ_RAW_NOT_SMALLER);
		}
	}
	aqz_plan_free(plan);
	aqz_source_close(s);
}
END_TEST

START_TEST(options_that_are_refused)
{
	put_tensors("m.safetensors", names, 2, NULL, false);
	aqz_source *s = open_ok(in_root("m.safetensors"));
	aqz_compress_options o = options("1x3g4", AQZ_SHARE_ALL);
	memory_file file = {0};
	aqz_plan *plan = plan_of(s, &o), *none;
	aqz_reader *reader = run(&file, plan);
	aqz_error err;

	o.share = (aqz_share)4;
	ck_assert_int_eq(aqz_plan_make(&none, s, &o, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.share");
	o.share = AQZ_SHARE_KIND;
	o.codebooks_from = reader;
	ck_assert_int_eq(aqz_plan_make(&none, s, &o, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.codebooks_from");
	o.share = AQZ_SHARE_NONE;
	o.codebook_dtype = AQZ_F16;
	ck_assert_int_eq(aqz_plan_make(&none, s, &o, &err), AQZ_E_ARGUMENT);
	o.codebooks_from = NULL;
	o.codebook_dtype = AQZ_U8;
	ck_assert_int_eq(aqz_plan_make(&none, s, &o, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.codebook_dtype");
	o.codebook_dtype = 0;
	o.scale_dtype = AQZ_I8;
	ck_assert_int_eq(aqz_plan_make(&none, s, &o, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.scale_dtype");
	aqz_reader_close(reader);
	memory_free(&file);
	aqz_plan_free(plan);
	aqz_source_close(s);
}
END_TEST

/* ---- Training */

/* Twenty matrices of 64 MiB, whose statistics are 64 MiB each, or of all together: no more than 512 MiB is held. */
START_TEST(training_has_a_bound)
{
	made weights[20], stats[20];
	char text[20][64];

	for (int i = 0; i < 20; i++) {
		snprintf(text[i], sizeof text[i], L "%d.mlp.up_proj.weight", i);
		weights[i] = stats[i] = (made){text[i], {4096, 4096}};
	}
	put_tensors("m.safetensors", weights, 20, NULL, true);
	put_tensors("private", stats, 20, NULL, true);
	aqz_source *s = open_ok(in_root("m.safetensors"));
	aqz_compress_options o = options("2x8g8", AQZ_SHARE_KIND);
	aqz_training t;
	aqz_error err;

	for (unsigned n_threads = 1; n_threads < 4; n_threads++) {
		o.n_threads = n_threads;
		aqz_plan *plan = plan_of(s, &o);

		/* A quarter of each of twenty is 320 MiB, a half 640. */
		ck_assert_int_eq(aqz_training_choose(&t, plan, 0, &err), AQZ_OK);
		ck_assert_uint_eq(t.n_layers, 20);
		ck_assert_uint_eq(t.row_shift, 2);
		ck_assert_uint_eq(t.data_bytes, UINT64_C(320) << 20);
		ck_assert_uint_ge(t.memory_bytes, t.data_bytes);
		ck_assert_uint_eq(t.read_bytes, t.data_bytes);
		ck_assert_uint_ge(aqz_plan_get(plan, 0)->memory_bytes, t.memory_bytes);
		ck_assert_uint_lt(aqz_plan_get(plan, 1)->memory_bytes, aqz_plan_get(plan, 0)->memory_bytes);
		free(t.entries);
		aqz_plan_free(plan);
	}
	/* Ten with theirs are 640 MiB and more, five whole ones 640, and a half of each 480. */
	o.stats = NULL;
	aqz_stats *stats_of_all;
	ck_assert_int_eq(aqz_stats_open(&stats_of_all, in_root("private"), 0, &err), AQZ_OK);
	o.stats = stats_of_all;
	o.id = (const uint8_t *)"0123456789abcdef";
	aqz_plan *plan = plan_of(s, &o);
	ck_assert_int_eq(aqz_training_choose(&t, plan, 0, &err), AQZ_OK);
	ck_assert_uint_eq(t.n_layers, 5);
	ck_assert_uint_eq(t.row_shift, 1);
	ck_assert_uint_eq(t.data_bytes, UINT64_C(480) << 20);
	for (uint32_t i = 0; i < 5; i++)
		ck_assert_uint_eq(
			t.entries[i], 4 * i + 2); /* the middle of each fifth, in the order of the source */
	free(t.entries);
	aqz_plan_free(plan);
	aqz_stats_close(stats_of_all);
	aqz_source_close(s);
}
END_TEST

START_TEST(rows_of_training)
{
	aqz_scheme s = {.codec = AQZ_CODEC_ADDITIVE, .out_group = 4};
	aqz_layer l = {.rows = 130, .cols = 8};

	ck_assert_uint_eq(aqz_training_code_rows(&l, &s, 0), 33); /* with the last, which is half */
	ck_assert_uint_eq(aqz_training_code_rows(&l, &s, 1), 16);
	ck_assert_uint_eq(aqz_training_code_rows(&l, &s, 2), 8);
	l.rows = 7;
	ck_assert_uint_eq(aqz_training_code_rows(&l, &s, 2), 1);
	l.rows = 3;
	ck_assert_uint_eq(aqz_training_code_rows(&l, &s, 2), 1);
}
END_TEST

/* A set with a zero matrix and one that is not finite: these are in training too, and the rest is none the worse. */
START_TEST(odd_members)
{
	static const made all[] = {{L "0.zero.wq.weight", {96, 64}}, {L "1.nan.wq.weight", {96, 64}},
		{L "2.a.wq.weight", {96, 64}}, {L "3.a.wq.weight", {96, 64}}};

	put_tensors("m.safetensors", all, 4, NULL, false);
	aqz_source *s = open_ok(in_root("m.safetensors"));
	aqz_compress_options o = options("2x4g4", AQZ_SHARE_KIND);
	aqz_plan *plan = plan_of(s, &o);
	memory_file file = {0};
	aqz_io io;
	aqz_error err;

	memory_io(&io, &file);
	ck_assert_int_eq(aqz_plan_run(plan, &io, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, L "1.nan.wq.weight");
	memory_free(&file);
	aqz_plan_free(plan);
	o.non_finite = AQZ_NON_FINITE_RAW;
	plan = plan_of(s, &o);
	file = (memory_file){0};
	aqz_reader *r = run(&file, plan);
	ck_assert_double_eq(aqz_reader_tensor(r, 0)->measured.rel_mse, 0);
	ck_assert_int_eq(aqz_reader_tensor(r, 1)->measured.raw_reason, AQZ_RAW_NON_FINITE);
	for (uint32_t i = 2; i < 4; i++)
		ck_assert_double_lt(aqz_reader_tensor(r, i)->measured.rel_mse, 0.4);
	aqz_reader_close(r);
	memory_free(&file);
	aqz_plan_free(plan);
	aqz_source_close(s);
}
END_TEST

/* ---- Losses */

/* H of one matrix serves all experts that are stacked; of dead inputs alone, nothing can be lost. */
START_TEST(stacked_and_dead)
{
	static const made model[] = {{"experts", {3, 40, 32}}, {"dead", {64, 32}}},
					  stats[] = {{"experts", {32, 32}}, {"dead", {32, 32}}};
	float h[2][32 * 32] = {0};
	aqz_error err;

	put_tensors("m.safetensors", model, 2, NULL, false);
	put_tensors("stats", stats, 2, "{\"tokens\":\"5\"}", true);
	for (int i = 0; i < 32; i++)
		for (int j = 0; j < 32; j++)
			h[0][i * 32 + j] = (float)((i == j) * (1 + i)) + 0.5f;
	FILE *f = fopen(in_root("stats"), "r+b");
	SURE(f != NULL && fseek(f, -(long)sizeof h, SEEK_END) == 0 &&
		fwrite(h, 1, sizeof h, f) == sizeof h);
	fclose(f);
	aqz_source *s = open_ok(in_root("m.safetensors"));
	aqz_compress_options o = options("2x4g4", AQZ_SHARE_NONE);
	const aqz_rule rule = {.glob = "*", .scheme = o.scheme};
	aqz_stats *given;
	ck_assert_msg(aqz_stats_open(&given, in_root("stats"), 0, &err) == AQZ_OK, "%s", err.text);
	o.stats = given;
	o.rules = &rule;
	o.n_rules = 1;
	aqz_plan *plan = plan_of(s, &o);
	memory_file file = {0};
	aqz_reader *r = run(&file, plan);

	for (uint32_t i = 0; i < 2; i++) {
		const aqz_tensor_info *t = aqz_reader_tensor(r, i);
		const aqz_source_tensor *u = aqz_source_get(s, i);
		const bool dead = strcmp(t->name, "dead") == 0;
		float *w = malloc(t->n_bytes), *got = malloc(t->n_bytes);
		aqz_layer layer = {w, t->n_elements / 32, 32, h[0]};
		double power, lost;

		SURE(w != NULL && got != NULL);
		ck_assert(t->measured.has_loss && t->measured.has_rel_mse);
		ck_assert_int_eq(aqz_source_read(s, u->file, u->offset, w, u->n_bytes, &err), AQZ_OK);
		ck_assert_int_eq(aqz_reader_read_tensor(r, t, got, t->n_bytes, &err), AQZ_OK);
		ck_assert_int_eq(aqz_layer_energy(&power, &layer, 1, &err), AQZ_OK);
		for (uint64_t k = 0; k < t->n_elements; k++)
			w[k] -= got[k];
		ck_assert_int_eq(aqz_layer_energy(&lost, &layer, 1, &err), AQZ_OK);
		if (dead)
			ck_assert_double_eq(t->measured.loss_after, 0);
		else
			ck_assert_double_eq_tol(t->measured.loss_after, lost / power, 1e-12);
		ck_assert(isfinite(t->measured.loss_before));
		ck_assert_double_lt(t->measured.rel_mse, 1);
		free(w);
		free(got);
	}
	aqz_reader_close(r);
	memory_free(&file);
	aqz_plan_free(plan);
	aqz_stats_close(given);
	aqz_source_close(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("share");
	TCase *t = tcase_create("plans");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, which_tensors_make_a_set);
	tcase_add_test(t, schemes_and_sizes);
	tcase_add_test(t, options_that_are_refused);
	tcase_add_test(t, training_has_a_bound);
	tcase_add_test(t, rows_of_training);
	tcase_add_test(t, odd_members);
	tcase_add_test(t, stacked_and_dead);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
