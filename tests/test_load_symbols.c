/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of the trellis codec in a model: symbols of 4 or 8 bits, or elements, whose rows are what the reader
 * reconstructs and whose products are near them. */
#include "format/reader.h"
#include "format/writer.h"
#include "tests/container_model.h"
#include "tests/trellis_case.h"

/* How a matrix of the model is stored, and what it becomes. */
static const struct archived {
	const char *name;
	case_kind kind;
	unsigned state_bits;
	aqz_dtype dtype;
	enum {
		NONE,
		EDGES,
		MASSIVE
	} beyond;	   /* symbols at the edge of a byte; and a column of thousands */
	unsigned bits; /* 0: elements */
} archived[] = {
	{"model.layers.0.self_attn.q_proj.weight", CASE_LAYER, 3, AQZ_BF16, NONE, 8},
	{"model.layers.0.self_attn.k_proj.weight", CASE_ZERO, 3, AQZ_F16, NONE, 4},
	{"model.layers.0.self_attn.v_proj.weight", CASE_CONSTANT, 2, AQZ_F32, NONE, 4},
	{"model.layers.0.mlp.gate_proj.weight", CASE_LAYER, 0, AQZ_F32, EDGES, 4},
	{"model.layers.0.mlp.down_proj.weight", CASE_LAYER, 3, AQZ_BF16, MASSIVE, 8},
	{"model.layers.1.mlp.down_proj.weight", CASE_LAYER, 8, AQZ_F32, MASSIVE, 8},
	{"model.layers.1.mlp.gate_proj.weight", CASE_CONSTANT, 3, AQZ_F16, EDGES, 4},
	{"model.layers.1.mlp.up_proj.weight", CASE_WIDE, 5, AQZ_F32, NONE, 0},
};
#define N_ARCHIVED (sizeof archived / sizeof *archived)

static const struct archived *find_archived(const char *name)
{
	for (size_t i = 0; i < N_ARCHIVED; i++)
		if (strcmp(archived[i].name, name) == 0)
			return &archived[i];
	return NULL;
}

static void put_archived(
	aqz_writer *w, noise *r, const tiny_tensor *x, const struct archived *a, bool infinite)
{
	aqz_tensor_desc d = describe(x, "raw");
	trellis_case c;
	aqz_error err;

	d.dtype = a->dtype;
	trellis_case_fill(&c, a->kind, a->state_bits, x->rows, x->cols, 64, r);
	for (uint64_t i = 0; a->beyond == MASSIVE && i < x->rows; i++)
		c.index[3 * x->rows + i] = (int32_t)(noise_next(r) % 9000) - 4500;
	for (int i = 0; a->beyond != NONE && i < 8; i++) /* v = 2k or 2k + 1 */
		c.index[5 * x->rows + (uint64_t)i] = (const int[]){63, -63, 64, -64, 127, -127, 128, -128}[i];
	if (infinite) {
		d.dtype = AQZ_F16;
		c.p.base = 0x1p-4f;
		c.index[x->rows * x->cols - 1] = AQZ_TRELLIS_MAX_INDEX;
	}
	ck_assert_msg(aqz_writer_trellis(w, &d, &c.p, c.index, 64, &err) == AQZ_OK, "%s: %s", err.where,
		err.text);
	trellis_case_free(&c);
}

/* A model of two blocks, some matrices of which are archived, to m.aqz. infinite: the last element of this one is. */
static void put_archive(const char *infinite)
{
	aqz_writer_options opt = {.struct_size = sizeof opt, .n_threads = 1};
	tiny t = tiny_llama();
	tiny_tensor all[TINY_MAX_TENSORS];
	noise r = {78};
	memory_file f = {0};
	aqz_writer *w;
	aqz_error err;
	aqz_io io;
	char *json;
	size_t n_json;

	t.config.hidden = 80;
	t.config.intermediate = 200;
	memory_io(&io, &f);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &opt, &err), AQZ_OK);
	ck_assert_int_eq(aqz_config_to_json(&t.config, AQZ_F32, &json, &n_json, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_file(w, AQZ_KIND_FILE, "config.json", n_json, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(w, json, n_json, &err), AQZ_OK);
	free(json);
	for (uint32_t i = 0, n = tiny_list(all, &t.config); i < n; i++) {
		const struct archived *a = find_archived(all[i].name);
		const uint64_t n_values = all[i].rows * (all[i].cols == 0 ? 1 : all[i].cols);
		aqz_tensor_desc d = describe(&all[i], "raw");
		uint32_t section;
		float *values;

		if (a != NULL) {
			put_archived(w, &r, &all[i], a, infinite != NULL && strcmp(infinite, a->name) == 0);
			continue;
		}
		values = tiny_values(&t, &all[i], false);
		ck_assert_int_eq(aqz_writer_tensor(w, &section, &d, &err), AQZ_OK);
		ck_assert_int_eq(aqz_writer_put(w, values, n_values * sizeof *values, &err), AQZ_OK);
		free(values);
	}
	ck_assert_int_eq(aqz_writer_finish(w, NULL, &err), AQZ_OK);
	aqz_writer_close(w);
	put("m.aqz", f.data, f.n);
	memory_free(&f);
}

/* Few tokens through a weight of symbols: within the stated bound of what its rows give. */
static void check_product(const aqz_weight *w)
{
	const aqz_model one = {.config = {.head_dim = 8}, .embedding = *w, .head = *w};
	const size_t rows = (size_t)w->rows, cols = (size_t)w->cols;
	const double unit = w->dtype == AQZ_F16 ? 0x1p-11 : w->dtype == AQZ_BF16 ? 0x1p-8 : 0;
	float *wide = calloc(rows * cols, sizeof *wide), *x = calloc(2 * cols, sizeof *x),
		  *y = calloc(2 * rows, sizeof *y);
	aqz_budget budget = {0};
	aqz_work work;

	ck_assert_int_eq(aqz_work_open(&work, &one, 2, &budget, NULL), AQZ_OK);
	for (size_t i = 0; i < 2 * cols; i++)
		x[i] = sinf((float)i);
	aqz_weight_rows(wide, cols, w, 0, rows);
	aqz_linear_forward(y, rows, w, x, cols, 2, &work);
	for (size_t t = 0; t < 2; t++)
		for (size_t i = 0; i < rows; i++) {
			double sum = 0, size = 0;

			for (size_t j = 0; j < cols; j++) {
				sum += (double)wide[i * cols + j] * x[t * cols + j];
				size += fabs((double)wide[i * cols + j] * x[t * cols + j]);
			}
			ck_assert_double_le(
				fabs(y[t * rows + i] - sum), size * (unit + ((double)cols + 20) * 0x1p-24));
		}
	aqz_work_close(&work);
	ck_assert_uint_eq(budget.used_bytes, 0);
	free(wide), free(x), free(y);
}

START_TEST(archives)
{
	aqz_model_options opt = {.struct_size = sizeof opt};
	uint64_t used, symbols = 0, wide = 0;
	container c;
	aqz_error err;
	aqz_model *m;

	put_archive(NULL);
	m = tiny_open(in_root("m.aqz"));
	c = open_container(in_root("m.aqz"));
	for (size_t i = 0; i < N_ARCHIVED; i++) {
		const aqz_weight *w;
		const float *v;

		tiny_find(&w, &v, m, archived[i].name);
		ck_assert_msg(w->dtype == archived[i].dtype &&
				w->form == (archived[i].bits ? AQZ_WEIGHT_SYMBOLS : AQZ_WEIGHT_DENSE),
			"%s", archived[i].name);
		check_rows(w, &c, archived[i].name);
		if (w->form != AQZ_WEIGHT_SYMBOLS)
			continue;
		check_product(w);
		ck_assert_msg(w->symbols->bits == archived[i].bits, "%s", archived[i].name);
		symbols += w->rows * aqz_symbols_row_bytes(w->symbols->bits, w->cols);
		ck_assert((archived[i].beyond == NONE) == (w->symbols->wide_begin == NULL));
		if (w->symbols->wide_begin != NULL) {
			ck_assert_uint_le(w->symbols->wide_begin[w->rows], w->rows * w->cols / 16);
			wide += w->symbols->wide_begin[w->rows];
		}
	}
	/* The two massive columns, of 80 rows each, nearly all of which no byte holds. */
	ck_assert(wide > 140 && m->memory.codes >= symbols + 8 * wide);
	ck_assert_uint_le(m->memory.codes, symbols + 8 * wide + 4000 * 8);
	close_container(&c);
	used = m->budget.used_bytes;
	aqz_model_close(m);
	/* Any limit gives the model or says so, and nothing is lost (the leak checker knows). */
	for (uint64_t limit = used / 16; limit < used + (8 << 20); limit += limit / 16) {
		opt.memlimit_bytes = limit;
		if (aqz_model_open(&m, in_root("m.aqz"), &opt, &err) == AQZ_OK)
			break;
		ck_assert_int_eq(err.status, AQZ_E_MEMLIMIT);
	}
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->budget.used_bytes, used);
	aqz_model_close(m);
}
END_TEST

/* Finite symbols whose elements are not; and a stream that changed behind the index. */
START_TEST(bad_archives)
{
	static const char name[] = "model.layers.0.self_attn.q_proj.weight";
	aqz_model_options opt = {.struct_size = sizeof opt};
	aqz_error err;
	aqz_model *m;
	container c;
	uint64_t at;
	FILE *f;

	put_archive(name);
	ck_assert_int_eq(aqz_model_open(&m, in_root("m.aqz"), &opt, &err), AQZ_E_CORRUPT);
	ck_assert_msg(strstr(err.text, "infinities") != NULL, "%s: %s", err.where, err.text);
	ck_assert_ptr_nonnull(strstr(err.where, name));
	put_archive(NULL);
	c = open_container(in_root("m.aqz"));
	const aqz_section *s =
		c.reader->catalog.sections[aqz_reader_find(c.reader, name, strlen(name))->section];
	at = c.reader->catalog.frames[c.reader->catalog.chunks[s->first_chunk]].offset +
		AQZ_FRAME_HEADER_BYTES + 130;
	close_container(&c);
	f = fopen(in_root("m.aqz"), "r+b");
	ck_assert(fseek(f, (long)at, SEEK_SET) == 0);
	const int byte = fgetc(f);
	ck_assert(fseek(f, (long)at, SEEK_SET) == 0 && fputc(byte ^ 1, f) != EOF && fclose(f) == 0);
	ck_assert_int_eq(aqz_model_open(&m, in_root("m.aqz"), &opt, &err), AQZ_E_CHECKSUM);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("load_symbols");
	TCase *t = tcase_create("load_symbols");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 180);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, archives);
	tcase_add_test(t, bad_archives);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
