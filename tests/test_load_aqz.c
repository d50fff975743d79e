/* SPDX-License-Identifier: Apache-2.0 */
/* Models in .aqz files: lossless ones have the folder's weights, coded ones those that the reader reconstructs. */
#include "format/reader.h"
#include "tests/container_model.h"

static const char *stories(void)
{
	static char path[4096];
	const char *tree = getenv("AQZ_SRCDIR");

	snprintf(path, sizeof path, "%s/tests/data/stories", tree != NULL ? tree : ".");
	return path;
}

/* Compresses the stories with q and k of the first two layers in a scheme ("" for none) to m.aqz. */
static void compress(const char *scheme, aqz_dtype codebooks, aqz_share share)
{
	aqz_rule rule = {.glob = "*.layers.[01].self_attn.[qk]_proj.weight"};
	aqz_compress_options o = {.struct_size = sizeof o,
		.effort = 1,
		.rules = &rule,
		.n_rules = scheme[0] != '\0',
		.n_threads = 2,
		.codebook_dtype = codebooks,
		.share = share,
		.train_vectors = 2000};
	memory_file f = {0};
	aqz_source *s;
	aqz_plan *plan;
	aqz_error err;
	aqz_io io;

	ck_assert_int_eq(aqz_scheme_parse(&o.scheme, "raw", &err), AQZ_OK);
	if (scheme[0] != '\0')
		ck_assert_int_eq(aqz_scheme_parse(&rule.scheme, scheme, &err), AQZ_OK);
	memory_io(&io, &f);
	ck_assert_int_eq(aqz_source_open(&s, stories(), 0, &err), AQZ_OK);
	ck_assert_msg(aqz_plan_make(&plan, s, &o, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	ck_assert_msg(aqz_plan_run(plan, &io, NULL, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	aqz_plan_free(plan);
	aqz_source_close(s);
	put("m.aqz", f.data, f.n);
	memory_free(&f);
}

/* Files beside the weights count as those of a folder do; so does a head that a configuration denies. */
START_TEST(attached)
{
	aqz_compress_options o = {.struct_size = sizeof o, .effort = 1, .n_threads = 1};
	tiny t = tiny_llama();
	memory_file f = {0};
	aqz_buffer text = {0};
	uint8_t bytes[4096];
	aqz_source *s;
	aqz_plan *plan;
	aqz_model *m;
	aqz_io io;
	char *json, path[4200];
	size_t n;
	FILE *file;

	t.config.tied = true;
	ck_assert_int_eq(aqz_config_to_json(&t.config, AQZ_F32, &json, &n, NULL), AQZ_OK);
	t.config.tied = false;
	t.config_json = json;
	tiny_put_folder(&t);
	free(json);
	snprintf(path, sizeof path, "%s/tokenizer.json", stories());
	file = fopen(path, "rb");
	ck_assert_ptr_nonnull(file);
	while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
		ck_assert_int_eq(aqz_buffer_add(&text, bytes, n, NULL), AQZ_OK);
	fclose(file);
	put("tokenizer.json", text.data, text.n);
	aqz_buffer_free(&text);
	put_text("tokenizer_config.json", "{\"chat_template\":\"{{ b }}\"}");
	put_text("chat_template.jinja", "{{ a }}");
	put_text("generation_config.json", "{\"eos_token_id\":[2,49]}");
	ck_assert_int_eq(aqz_scheme_parse(&o.scheme, "1x4g8", NULL), AQZ_OK);
	memory_io(&io, &f);
	ck_assert_int_eq(aqz_source_open(&s, root, 0, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_plan_make(&plan, s, &o, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_plan_run(plan, &io, NULL, NULL), AQZ_OK);
	aqz_plan_free(plan);
	aqz_source_close(s);
	put("m.aqz", f.data, f.n);
	memory_free(&f);
	m = tiny_open(in_root("m.aqz"));
	ck_assert(
		!m->config.tied && m->head.form != AQZ_WEIGHT_NONE && m->head.data != m->embedding.data);
	ck_assert(m->config.n_eos == 3 && m->config.eos[2] == 49);
	ck_assert_str_eq(aqz_tokenizer_chat_template(m->tokenizer), "{{ a }}");
	aqz_model_close(m);
}
END_TEST

START_TEST(lossless)
{
	aqz_model *m, *f;

	compress("", 0, AQZ_SHARE_NONE);
	f = tiny_open(stories());
	m = tiny_open(in_root("m.aqz"));
	ck_assert_mem_eq(m->config_json, f->config_json, f->config_json_bytes);
	ck_assert_uint_eq(m->config_json_bytes, f->config_json_bytes);
	for (uint32_t i = 0; i < f->config.n_layers; i++) {
		for (int k = 0; k < AQZ_N_LINEARS; k++) {
			const aqz_weight *a = &m->blocks[i].linear[k], *b = &f->blocks[i].linear[k];

			ck_assert(a->form == AQZ_WEIGHT_DENSE && a->dtype == AQZ_BF16 && b->dtype == AQZ_BF16 &&
				a->rows == b->rows && a->cols == b->cols);
			ck_assert_mem_eq(a->data, b->data, a->rows * a->cols * 2);
		}
		ck_assert_mem_eq(m->blocks[i].attention_norm, f->blocks[i].attention_norm, 128 * 4);
		ck_assert_mem_eq(m->blocks[i].ffn_norm, f->blocks[i].ffn_norm, 128 * 4);
	}
	ck_assert_mem_eq(m->embedding.data, f->embedding.data, 1024 * 128 * 2);
	ck_assert_ptr_eq(m->head.data, m->embedding.data);
	ck_assert_mem_eq(m->final_norm, f->final_norm, 128 * 4);
	ck_assert_uint_eq(m->memory.dense, f->memory.dense);
	ck_assert_uint_eq(m->memory.n_weights, f->memory.n_weights);
	/* The tokenizer is the attached one. */
	ck_assert(m->tokenizer != NULL && f->tokenizer != NULL);
	ck_assert_uint_eq(aqz_tokenizer_size(m->tokenizer), aqz_tokenizer_size(f->tokenizer));
	ck_assert_uint_eq(aqz_tokenizer_bos(m->tokenizer), aqz_tokenizer_bos(f->tokenizer));
	aqz_model_close(m);
	aqz_model_close(f);
}
END_TEST

static const struct {
	const char *scheme;
	aqz_dtype codebooks;
	aqz_share share;
	unsigned n_tables, codewords, codeword;
} coded[] = {
	{"2x4g8", AQZ_F16, AQZ_SHARE_NONE, 4, 32, 8},
	{"2x4g8", AQZ_I8, AQZ_SHARE_KIND, 2, 32, 8},
	{"1x5g5o2", AQZ_BF16, AQZ_SHARE_ALL, 1, 32, 10},
};

START_TEST(codes)
{
	aqz_model_options opt = {.struct_size = sizeof opt};
	container c;
	aqz_error err;
	aqz_model *m;
	uint64_t used;

	compress(coded[_i].scheme, coded[_i].codebooks, coded[_i].share);
	m = tiny_open(in_root("m.aqz"));
	c = open_container(in_root("m.aqz"));
	for (uint32_t i = 0; i < m->config.n_layers; i++)
		for (int k = 0; k < AQZ_N_LINEARS; k++) {
			const aqz_weight *w = &m->blocks[i].linear[k];
			char name[AQZ_WEIGHT_NAME_BYTES];

			aqz_linear_name(name, i, (aqz_linear_kind)k, "weight");
			ck_assert_int_eq(
				w->form, i < 2 && k <= AQZ_LINEAR_K ? AQZ_WEIGHT_ADDITIVE : AQZ_WEIGHT_DENSE);
			check_rows(w, &c, name);
			if (i < 2 && k <= AQZ_LINEAR_K)
				ck_assert(w->n_parts == 1 && w->parts[0].row_begin == 0 &&
					w->parts[0].row_end == w->rows);
			/* Shared codebooks are there once. */
			if (i == 1 && k <= AQZ_LINEAR_K && coded[_i].n_tables < 4)
				ck_assert_ptr_eq(
					w->parts[0].tables.values, m->blocks[0].linear[k].parts[0].tables.values);
		}
	ck_assert_uint_eq(m->memory.codebooks,
		(uint64_t)coded[_i].n_tables * coded[_i].codewords * coded[_i].codeword * sizeof(float));
	ck_assert(m->memory.codes > 0 && m->memory.n_weights == 918656);
	close_container(&c);
	/* A limit of what the model holds, with room for a chunk, is enough; any below is not. */
	used = m->budget.used_bytes;
	aqz_model_close(m);
	opt.tokenizer = stories();
	for (uint64_t limit = used - used / 16; limit > used / 16; limit -= used / 16) {
		opt.memlimit_bytes = limit;
		ck_assert_int_eq(aqz_model_open(&m, in_root("m.aqz"), &opt, &err), AQZ_E_MEMLIMIT);
	}
	opt.memlimit_bytes = used + (4 << 20);
	ck_assert_msg(aqz_model_open(&m, in_root("m.aqz"), &opt, &err) == AQZ_OK, "%s", err.text);
	aqz_model_close(m);
}
END_TEST

/* ---- What only other writers make */

/* T64 lines of noise, padding codes 0. Free with free(). */
static uint8_t *noise_lines(
	noise *r, size_t *n, uint64_t code_rows, uint64_t groups, const aqz_scheme *s)
{
	const size_t n_codes = code_rows * groups * s->n_codebooks;
	uint16_t *all = calloc(n_codes, sizeof *all);
	uint8_t *lines;

	for (size_t i = 0; i < n_codes; i++)
		all[i] = (uint16_t)(noise_next(r) & ((1u << s->code_bits) - 1));
	lines = spec_t64(all, code_rows, groups, s, n);
	free(all);
	return lines;
}

static uint32_t noise_floats(aqz_writer *w, noise *r, aqz_kind kind, uint64_t rows, uint64_t cols)
{
	float *values = calloc(rows * cols, sizeof *values);
	uint32_t section;

	for (uint64_t i = 0; i < rows * cols; i++)
		values[i] = (float)(noise_next(r) >> 40) / (1 << 23) - 1;
	ck_assert_int_eq(aqz_writer_param(w, &section, kind, AQZ_F32, rows, cols, values, NULL), AQZ_OK);
	free(values);
	return section;
}

static uint32_t noise_integers(aqz_writer *w, noise *r, uint64_t rows, uint64_t cols)
{
	int8_t *values = calloc(rows, cols);
	uint32_t section;

	noise_fill(r, values, rows * cols);
	ck_assert_int_eq(
		aqz_writer_param(w, &section, AQZ_KIND_CODEBOOK, AQZ_I8, rows, cols, values, NULL), AQZ_OK);
	free(values);
	return section;
}

/* The embedding, 150 x 32 as 2x4g4: three ranges of 64 rows, the first and third of the same codebooks, cut into two
 * sections within a codebook; the second of integers. */
static void put_ranges(aqz_writer *w, noise *r, const tiny_tensor *x)
{
	aqz_tensor_desc d = describe(x, "2x4g4");
	const uint32_t first = noise_floats(w, r, AQZ_KIND_CODEBOOK, 11, 4);
	const uint32_t rest = noise_floats(w, r, AQZ_KIND_CODEBOOK, 21, 4);
	const uint32_t integers = noise_integers(w, r, 32, 4);
	const uint32_t scales = noise_floats(w, r, AQZ_KIND_CODEBOOK_SCALES, 2, 4);
	const uint32_t rows = noise_floats(w, r, AQZ_KIND_ROW_SCALES, x->rows, 1);
	const aqz_ref refs[] = {{AQZ_KIND_CODEBOOK, first, 2, 0, 64},
		{AQZ_KIND_CODEBOOK, integers, 1, 64, 128}, {AQZ_KIND_CODEBOOK, first, 2, 128, x->rows},
		{AQZ_KIND_CODEBOOK_SCALES, scales, 1, 64, 128}, {AQZ_KIND_ROW_SCALES, rows, 1, 0, x->rows}};
	uint8_t *lines;
	uint32_t section;
	aqz_error err;
	size_t n;

	ck_assert_uint_eq(rest, first + 1);
	d.refs = refs;
	d.n_refs = 5;
	lines = noise_lines(r, &n, x->rows, x->cols / 4, &d.scheme);
	ck_assert_msg(aqz_writer_tensor(w, &section, &d, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	ck_assert_int_eq(aqz_writer_put(w, lines, n, &err), AQZ_OK);
	free(lines);
}

/* A matrix of one range; transposed: the view's rows are its columns. */
static void put_one(
	aqz_writer *w, noise *r, const tiny_tensor *x, const char *scheme, bool transposed, bool scales)
{
	aqz_tensor_desc d = describe(x, scheme);
	const uint64_t rows = transposed ? x->cols : x->rows, cols = transposed ? x->rows : x->cols;
	const uint64_t code_rows = aqz_ceil_div(rows, d.scheme.out_group);
	const uint32_t books =
		noise_floats(w, r, AQZ_KIND_CODEBOOK, (uint64_t)d.scheme.n_codebooks << d.scheme.code_bits,
			(uint64_t)d.scheme.in_group * d.scheme.out_group);
	const aqz_ref refs[] = {{AQZ_KIND_CODEBOOK, books, 1, 0, code_rows},
		{AQZ_KIND_ROW_SCALES, scales ? noise_floats(w, r, AQZ_KIND_ROW_SCALES, code_rows, 1) : 0, 1,
			0, code_rows}};
	uint8_t *lines;
	uint32_t section;
	aqz_error err;
	size_t n;

	d.transposed = transposed;
	d.refs = refs;
	d.n_refs = scales ? 2 : 1;
	lines = noise_lines(r, &n, code_rows, aqz_ceil_div(cols, d.scheme.in_group), &d.scheme);
	ck_assert_msg(aqz_writer_tensor(w, &section, &d, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	ck_assert_int_eq(aqz_writer_put(w, lines, n, &err), AQZ_OK);
	free(lines);
}

START_TEST(other_writers)
{
	static const char transposed[] = "model.layers.0.mlp.down_proj.weight";
	static const char unscaled[] = "model.layers.1.self_attn.o_proj.weight";
	static const char ranges[] = "model.embed_tokens.weight";
	aqz_writer_options opt = {.struct_size = sizeof opt, .chunk_bytes = 1, .n_threads = 1};
	tiny t = tiny_llama();
	tiny_tensor all[TINY_MAX_TENSORS];
	noise r = {77};
	memory_file f = {0};
	aqz_writer *w;
	aqz_error err;
	container c;
	aqz_model *m;
	aqz_io io;
	char *json;
	size_t n_json;
	uint32_t n;

	t.config.vocabulary = 150;
	n = tiny_list(all, &t.config);
	memory_io(&io, &f);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &opt, &err), AQZ_OK);
	ck_assert_int_eq(aqz_config_to_json(&t.config, AQZ_F32, &json, &n_json, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_file(w, AQZ_KIND_FILE, "config.json", n_json, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(w, json, n_json, &err), AQZ_OK);
	free(json);
	for (uint32_t i = 0; i < n; i++) {
		aqz_tensor_desc d = describe(&all[i], "raw");
		uint32_t section;
		float *values;

		if (strcmp(all[i].name, ranges) == 0) {
			put_ranges(w, &r, &all[i]);
		} else if (strcmp(all[i].name, transposed) == 0) {
			put_one(w, &r, &all[i], "1x5g4", true, true);
		} else if (strcmp(all[i].name, unscaled) == 0) {
			put_one(w, &r, &all[i], "3x3g5o3", false, false);
		} else {
			values = tiny_values(&t, &all[i], false);
			ck_assert_int_eq(aqz_writer_tensor(w, &section, &d, &err), AQZ_OK);
			ck_assert_int_eq(
				aqz_writer_put(w, values,
					all[i].rows * (all[i].cols == 0 ? 1 : all[i].cols) * sizeof *values, &err),
				AQZ_OK);
			free(values);
		}
	}
	ck_assert_int_eq(aqz_writer_finish(w, NULL, &err), AQZ_OK);
	aqz_writer_close(w);
	put("m.aqz", f.data, f.n);
	memory_free(&f);

	m = tiny_open(in_root("m.aqz"));
	c = open_container(in_root("m.aqz"));
	for (uint32_t i = 0; i < n; i++) {
		const aqz_weight *weight;
		const float *v;

		tiny_find(&weight, &v, m, all[i].name);
		if (all[i].cols != 0)
			check_rows(weight, &c, all[i].name);
	}
	ck_assert_int_eq(m->embedding.form, AQZ_WEIGHT_ADDITIVE);
	ck_assert_uint_eq(m->embedding.n_parts, 3);
	ck_assert(m->embedding.parts[1].row_begin == 64 && m->embedding.parts[2].row_end == 150);
	ck_assert_ptr_eq(m->embedding.parts[0].tables.values, m->embedding.parts[2].tables.values);
	ck_assert_ptr_ne(m->embedding.parts[0].tables.values, m->embedding.parts[1].tables.values);
	ck_assert_int_eq(m->blocks[0].linear[AQZ_LINEAR_DOWN].form, AQZ_WEIGHT_DENSE);
	ck_assert_int_eq(m->blocks[1].linear[AQZ_LINEAR_O].form, AQZ_WEIGHT_ADDITIVE);
	ck_assert(m->blocks[1].linear[AQZ_LINEAR_O].parts[0].scales[10] == 1);
	ck_assert_int_eq(m->blocks[0].linear[AQZ_LINEAR_O].form, AQZ_WEIGHT_DENSE);
	close_container(&c);
	aqz_model_close(m);
}
END_TEST

/* Codes as aqz_reader_codes gives them are those that were written, over several chunks. */
START_TEST(stored_codes)
{
	aqz_writer_options opt = {.struct_size = sizeof opt, .chunk_bytes = 1, .n_threads = 1};
	const tiny_tensor x = {.name = "w", .rows = 500, .cols = 37};
	aqz_tensor_desc d = describe(&x, "2x3g4o2");
	aqz_additive a = {.scheme = d.scheme,
		.rows = 500,
		.cols = 37,
		.code_rows = 250,
		.groups = 10,
		.codebook_dtype = AQZ_F32,
		.scale_dtype = AQZ_F32};
	float books[16 * 8] = {1}, scales[250] = {1};
	noise r = {5};
	memory_file f = {0};
	aqz_writer *w;
	aqz_reader *reader;
	aqz_error err;
	aqz_io io;
	uint32_t section;
	uint8_t *got;
	size_t n;

	a.codes = noise_lines(&r, &n, 250, 10, &d.scheme);
	a.codes_bytes = n;
	a.codebooks = books;
	a.scales = scales;
	memory_io(&io, &f);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &opt, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_additive(w, &d, &a, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_finish(w, NULL, &err), AQZ_OK);
	aqz_writer_close(w);
	ck_assert_int_eq(aqz_reader_open(&reader, &io, NULL, &err), AQZ_OK);
	section = aqz_reader_find(reader, "w", 1)->section;
	ck_assert_uint_gt(aqz_reader_section(reader, section)->n_chunks, 1);
	got = calloc(n, 1);
	ck_assert_int_eq(aqz_reader_codes(reader, section, got, n, (aqz_budget){0}, &err), AQZ_OK);
	ck_assert_mem_eq(got, a.codes, n);
	ck_assert_int_eq(
		aqz_reader_codes(reader, section, got, n - 1, (aqz_budget){0}, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(
		aqz_reader_codes(reader, section, got, n + 1, (aqz_budget){0}, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(
		aqz_reader_codes(reader, section, got, n, (aqz_budget){1, 0}, &err), AQZ_E_MEMLIMIT);
	ck_assert_int_eq(aqz_reader_codes(reader, 999, got, n, (aqz_budget){0}, &err), AQZ_E_NOT_FOUND);
	for (uint32_t i = 0; i < section; i++)
		ck_assert_int_eq(aqz_reader_codes(reader, i, got, n, (aqz_budget){0}, &err), AQZ_E_ARGUMENT);
	/* Any byte of a chunk may have changed since the file was opened. */
	f.data[reader->catalog
			   .frames[reader->catalog.chunks[reader->catalog.sections[section]->first_chunk]]
			   .offset +
		AQZ_FRAME_HEADER_BYTES] ^= 4;
	ck_assert_int_eq(
		aqz_reader_codes(reader, section, got, n, (aqz_budget){0}, &err), AQZ_E_CHECKSUM);
	aqz_reader_close(reader);
	memory_free(&f);
	free(a.codes);
	free(got);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("load_aqz");
	TCase *t = tcase_create("load_aqz");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 180);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, attached);
	tcase_add_test(t, lossless);
	tcase_add_loop_test(t, codes, 0, sizeof coded / sizeof *coded);
	tcase_add_test(t, other_writers);
	tcase_add_test(t, stored_codes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
