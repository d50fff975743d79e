/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of a model's inputs: sums against plain ones, the file and what reads it, row importance, ends that come
 * early. */
#include <check.h>

#include "model/calibrate.h"
#include "tests/model_folder.h"
#include "tests/support.h"

enum { MAX_IN = 64 };

static const char *data_of(const char *family, const char *file)
{
	static char path[4096];
	const char *srcdir = getenv("AQZ_SRCDIR");

	snprintf(path, sizeof path, "%s/tests/data/families/%s%s", srcdir != NULL ? srcdir : ".",
		family, file);
	return path;
}

static aqz_model *open_model(const char *family)
{
	aqz_model *m;
	aqz_error err = {0};
	const aqz_status status = aqz_model_open(&m, data_of(family, ""), NULL, &err);

	ck_assert_msg(status == AQZ_OK, "%s: %s: %s", family, err.where, err.text);
	return m;
}

static float value_of(uint64_t i)
{
	i = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	i = (i ^ (i >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
	return (float)(i >> 40) / 8388608.0f - 1;
}

/* Windows of 1 to 48 tokens. Free with aqz_windows_free(). */
static aqz_windows windows_of(const aqz_model *m, uint32_t n)
{
	aqz_windows w = {.n_windows = n};

	w.begin = calloc(n + 1, sizeof *w.begin);
	for (uint32_t i = 0; i < n; i++)
		w.begin[i + 1] = w.begin[i] + 1 + 17 * i % 48;
	w.ids = calloc(w.begin[n], sizeof *w.ids);
	for (uint64_t t = 0; t < w.begin[n]; t++)
		w.ids[t] = (uint32_t)(t * t + t / 5) % (m->config.vocabulary - 5); /* the last ones never */
	return w;
}

static aqz_calibrate_options options(unsigned n_threads, bool importance)
{
	return (aqz_calibrate_options){.struct_size = sizeof(aqz_calibrate_options),
		.n_threads = n_threads,
		.row_importance = importance,
		.seed = 11};
}

static void calibrate(
	memory_file *out, const aqz_model *m, const aqz_windows *w, const aqz_calibrate_options *o)
{
	aqz_error err = {0};
	aqz_io io;

	memory_io(&io, out);
	ck_assert_msg(aqz_calibrate(m, w, &io, o, &err) == AQZ_OK, "%s: %s", err.where, err.text);
}

static aqz_stats *open_stats(const memory_file *f)
{
	aqz_stats *s;
	aqz_error err = {0};

	put("stats.safetensors", f->data, f->n);
	ck_assert_msg(aqz_stats_open(&s, in_root("stats.safetensors"), 0, &err) == AQZ_OK, "%s: %s",
		err.where, err.text);
	return s;
}

/* ---- The sums */

/* Sizes below, at and above those of squares and pieces. */
START_TEST(sums_of_products)
{
	static const size_t sizes[][2] = {{1, 1}, {5, 300}, {255, 3}, {256, 257}, {257, 256}, {600, 513}};

	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		const size_t n = sizes[k][0], tokens = sizes[k][1], ld = n + 3;
		aqz_calibration c = {.n_threads = 1};
		float *x = malloc(tokens * ld * sizeof *x), *h = malloc(2 * n * n * sizeof *h),
			  *again = h + n * n;
		float *scratch = malloc(aqz_gram_scratch(n, 3) * sizeof *scratch);
		aqz_gram g;

		for (size_t i = 0; i < tokens * ld; i++)
			x[i] = value_of(i);
		ck_assert_int_eq(aqz_gram_open(&g, n, &c, NULL), AQZ_OK);
		for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
			float *to = n_threads == 1 ? h : again;

			aqz_gram_clear(&g);
			aqz_gram_add(&g, x, ld, tokens, scratch, n_threads);
			aqz_gram_add(&g, x, ld, tokens, scratch, n_threads);
			for (size_t i = 0, row = 0; i < g.n_tiles; i++)
				row += aqz_gram_rows(to + row * n, &g, i, 2 * tokens);
		}
		ck_assert_mem_eq(h, again, n * n * sizeof *h);
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j += 1 + j % 7) {
				double sum = 0;

				for (size_t t = 0; t < tokens; t++)
					sum += (double)x[t * ld + i] * x[t * ld + j];
				ck_assert_double_eq_tol(h[i * n + j], sum / (double)tokens, 1e-6);
				ck_assert(h[i * n + j] == h[j * n + i]);
			}
		aqz_gram_close(&g, &c);
		ck_assert_uint_eq(c.budget.used_bytes, 0);
		free(x);
		free(h);
		free(scratch);
	}
}
END_TEST

/* ---- The file */

/* X^T X of each linear's inputs, as a pass over one window at a time tells them. */
typedef struct sums {
	double h[2][4][MAX_IN * MAX_IN]; /* of q, o, gate and down */
	const aqz_model *m;
} sums;

static int input_of(aqz_linear_kind kind)
{
	return kind <= AQZ_LINEAR_V ? 0 : kind == AQZ_LINEAR_O ? 1 : kind == AQZ_LINEAR_DOWN ? 3 : 2;
}

static aqz_status add_input(
	void *user, uint32_t layer, aqz_linear_kind kind, const float *x, size_t n, size_t ld)
{
	sums *s = user;
	const size_t cols = s->m->blocks[layer].linear[kind].cols;
	double *h = s->h[layer][input_of(kind)];

	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < cols; i++)
			for (size_t j = 0; j < cols; j++)
				h[i * cols + j] += (double)x[t * ld + i] * x[t * ld + j];
	return AQZ_OK;
}

static void sum_windows(sums *s, double *head, const aqz_model *m, const aqz_windows *w)
{
	const size_t hidden = m->config.hidden;
	float x[64 * MAX_IN];
	aqz_pass *pass;

	s->m = m;
	ck_assert_int_eq(aqz_pass_open(&pass, m, 64, 1, 0, NULL), AQZ_OK);
	for (uint32_t i = 0; i < w->n_windows; i++) {
		const size_t n = w->begin[i + 1] - w->begin[i], begin[] = {0, n};
		const aqz_batch batch = {.n_sequences = 1, .begin = begin};

		aqz_pass_embed(pass, x, w->ids + w->begin[i], n);
		for (uint32_t l = 0; l < m->config.n_layers; l++)
			ck_assert_int_eq(aqz_pass_block(pass, l, x, &batch, add_input, s), AQZ_OK);
		aqz_pass_final_norm(pass, x, x, n);
		for (size_t t = 0; t < n; t++)
			for (size_t k = 0; k < hidden * hidden; k++)
				head[k] += (double)x[t * hidden + k / hidden] * x[t * hidden + k % hidden];
	}
	aqz_pass_close(pass);
}

static void check_matrix(
	const aqz_stats *s, const char *name, const double *sum, size_t n, uint64_t n_tokens)
{
	const aqz_source_tensor *t = aqz_stats_find(s, name, strlen(name));
	float h[MAX_IN * MAX_IN], raw[MAX_IN * MAX_IN];
	aqz_source *file;
	aqz_error err = {0};

	ck_assert_msg(t != NULL && t->shape[0] == n, "%s", name);
	ck_assert_msg(aqz_stats_read(h, s, t, &err) == AQZ_OK, "%s: %s", name, err.text);
	for (size_t i = 0; i < n * n; i++) {
		const double scale = sqrt(sum[i / n * (n + 1)] * sum[i % n * (n + 1)]);

		ck_assert_msg(
			fabs((double)h[i] * (double)n_tokens - sum[i]) <= 2e-6 * scale, "%s at %zu", name, i);
	}
	/* Symmetric in the file, not by its reader. */
	file = open_ok(in_root("stats.safetensors"));
	ck_assert_int_eq(aqz_source_read(file, 0, t->offset, raw, n * n * sizeof *raw, NULL), AQZ_OK);
	ck_assert_mem_eq(h, raw, n * n * sizeof *h);
	aqz_source_close(file);
}

static void check_counts(const aqz_stats *s, const aqz_model *m, const aqz_windows *w)
{
	static const char name[] = "model.embed_tokens.weight";
	const aqz_source_tensor *t = aqz_stats_find_rows(s, AQZ_TOKEN_COUNT, name, sizeof name - 1);
	double found[256], expected[256] = {0};

	ck_assert(t != NULL && t->shape[0] == m->config.vocabulary && t->shape[0] <= 256);
	for (uint64_t i = 0; i < w->begin[w->n_windows]; i++)
		expected[w->ids[i]]++;
	ck_assert_int_eq(aqz_stats_read_rows(found, s, t, NULL), AQZ_OK);
	ck_assert_mem_eq(found, expected, t->shape[0] * sizeof *found);
}

/* One model with a head of its own, one whose head is the embedding. 100 windows are two batches. */
START_TEST(the_file)
{
	const bool tied = _i == 1;
	aqz_model *m = open_model(tied ? "qwen2" : "llama");
	aqz_windows w = windows_of(m, 100);
	const aqz_calibrate_options o = options(2, false);
	sums *expected = calloc(1, sizeof *expected);
	double *head = calloc(MAX_IN * MAX_IN, sizeof *head);
	const uint64_t n_tokens = w.begin[w.n_windows];
	char name[AQZ_WEIGHT_NAME_BYTES];
	memory_file f = {0};
	aqz_stats *s;

	ck_assert(m->config.tied == tied && m->config.intermediate <= MAX_IN && m->config.n_layers == 2);
	ck_assert_uint_gt(n_tokens, AQZ_CALIBRATE_BATCH);
	calibrate(&f, m, &w, &o);
	s = open_stats(&f);
	ck_assert_uint_eq(aqz_stats_tokens(s), n_tokens);
	sum_windows(expected, head, m, &w);
	for (uint32_t l = 0; l < 2; l++)
		for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
			aqz_linear_name(name, l, kind, "weight");
			check_matrix(
				s, name, expected->h[l][input_of(kind)], m->blocks[l].linear[kind].cols, n_tokens);
			ck_assert_ptr_null(aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, name, strlen(name)));
		}
	check_matrix(
		s, tied ? "model.embed_tokens.weight" : "lm_head.weight", head, m->config.hidden, n_tokens);
	ck_assert_ptr_null(tied ? aqz_stats_find(s, "lm_head.weight", 14)
							: aqz_stats_find(s, "model.embed_tokens.weight", 25));
	check_counts(s, m, &w);
	aqz_stats_close(s);
	free(expected);
	free(head);
	memory_free(&f);
	aqz_windows_free(&w);
	aqz_model_close(m);
}
END_TEST

/* The encoder takes it for every projection that it codes (the smallest are not worth codebooks). */
START_TEST(the_encoder_takes_it)
{
	aqz_model *m = open_model("llama");
	aqz_windows w = windows_of(m, 6);
	const aqz_calibrate_options o = options(1, true);
	aqz_compress_options c = {.struct_size = sizeof c, .effort = 1};
	aqz_source *source = open_ok(data_of("llama", "/model.safetensors"));
	memory_file f = {0}, compressed = {0};
	uint32_t n_with = 0;
	const aqz_plan_entry *e;
	aqz_plan *plan;
	aqz_stats *s;
	aqz_error err = {0};
	aqz_io io;

	calibrate(&f, m, &w, &o);
	s = open_stats(&f);
	ck_assert_int_eq(aqz_scheme_parse(&c.scheme, "1x4g8", NULL), AQZ_OK);
	c.stats = s;
	ck_assert_msg(aqz_plan_make(&plan, source, &c, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	for (uint32_t i = 0; (e = aqz_plan_get(plan, i)) != NULL; i++)
		if (e->scheme.codec == AQZ_CODEC_ADDITIVE) {
			ck_assert(e->has_stats);
			n_with++;
		}
	ck_assert_uint_ge(n_with, AQZ_N_LINEARS);
	memory_io(&io, &compressed);
	ck_assert_msg(aqz_plan_run(plan, &io, NULL, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	aqz_plan_free(plan);
	aqz_source_close(source);
	aqz_stats_close(s);
	memory_free(&f);
	memory_free(&compressed);
	aqz_windows_free(&w);
	aqz_model_close(m);
}
END_TEST

/* ---- Row importance */

#define MAX_VOCABULARY 1024

typedef struct squares {
	const aqz_model *m;
	double sums[2][AQZ_N_LINEARS][MAX_IN];
	double head[MAX_VOCABULARY]; /* of chance (1 - chance) */
} squares;

/* dy of labels that are all 0. */
static aqz_status add_head(void *user, uint32_t layer, aqz_linear_kind kind, const float *x,
	size_t x_ld, const float *dy, size_t dy_ld, size_t n)
{
	squares *s = user;

	(void)layer, (void)kind, (void)x, (void)x_ld;
	for (size_t t = 0; t < n; t++)
		for (size_t r = 0; r < s->m->config.vocabulary; r++) {
			const double chance = (double)dy[t * dy_ld + r] + (r == 0 ? 1 : 0);

			s->head[r] += chance * (1 - chance);
		}
	return AQZ_OK;
}

static aqz_status add_squares(void *user, uint32_t layer, aqz_linear_kind kind, const float *x,
	size_t x_ld, const float *dy, size_t dy_ld, size_t n)
{
	squares *s = user;

	(void)x, (void)x_ld;
	for (size_t t = 0; t < n; t++)
		for (size_t r = 0; r < s->m->blocks[layer].linear[kind].rows; r++)
			s->sums[layer][kind][r] += (double)dy[t * dy_ld + r] * dy[t * dy_ld + r];
	return AQZ_OK;
}

/* One window at a time, on one thread; labels from the numbers that follow each other. */
static uint64_t squares_of(
	squares *s, const aqz_model *m, const aqz_windows *w, uint32_t n_windows, uint64_t seed)
{
	const size_t hidden = m->config.hidden;
	float x[3][64 * MAX_IN], dx[64 * MAX_IN];
	uint32_t labels[64];
	aqz_pass *pass;
	aqz_back *back;

	s->m = m;
	ck_assert_int_eq(aqz_pass_open(&pass, m, 64, 1, 0, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_back_open(&back, m, 64, 1, 0, NULL), AQZ_OK);
	for (uint32_t i = 0; i < n_windows; i++) {
		const size_t n = w->begin[i + 1] - w->begin[i], begin[] = {0, n};
		const aqz_batch batch = {.n_sequences = 1, .begin = begin};

		aqz_pass_embed(pass, x[0], w->ids + w->begin[i], n);
		for (uint32_t l = 0; l < 2; l++) {
			memcpy(x[l + 1], x[l], n * hidden * sizeof **x);
			ck_assert_int_eq(aqz_pass_block(pass, l, x[l + 1], &batch, NULL, NULL), AQZ_OK);
		}
		memset(labels, 0, sizeof labels);
		ck_assert_int_eq(
			aqz_back_head(back, x[2], dx, labels, n, false, NULL, NULL, NULL, add_head, s), AQZ_OK);
		ck_assert_int_eq(
			aqz_back_head(back, x[2], dx, labels, n, true, &seed, NULL, NULL, NULL, NULL), AQZ_OK);
		for (uint32_t l = 2; l-- > 0;)
			ck_assert_int_eq(aqz_back_block(back, l, x[l], dx, &batch, add_squares, s, NULL), AQZ_OK);
	}
	aqz_pass_close(pass);
	aqz_back_close(back);
	return w->begin[n_windows];
}

/* That of the head is tempered: the geometric mean with what is typical in the text. */
static void check_head(const aqz_stats *s, const squares *expected, uint64_t n_tokens)
{
	const uint64_t n = expected->m->config.vocabulary;
	const char *name = aqz_stats_head_name(&expected->m->config);
	const aqz_source_tensor *t = aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, name, strlen(name));
	double found[MAX_VOCABULARY], sum = 0, logs = 0;

	ck_assert(t != NULL && t->shape[0] == n && n <= MAX_VOCABULARY);
	ck_assert_int_eq(aqz_stats_read_rows(found, s, t, NULL), AQZ_OK);
	for (uint64_t r = 0; r < n; r++) {
		sum += expected->head[r];
		logs += expected->head[r] * log(expected->head[r]);
	}
	for (uint64_t r = 0; r < n; r++) {
		const double mean = sqrt(expected->head[r] * exp(logs / sum)) / (double)n_tokens;

		ck_assert_double_eq_tol(found[r], mean, 1e-3 * mean + 1e-9);
	}
}

START_TEST(row_importance)
{
	aqz_model *m = open_model("qwen3");
	aqz_windows w = windows_of(m, 110);
	aqz_calibrate_options o = options(2, true);
	static const uint32_t n_used[] = {110, 2, 1};
	const uint64_t asked[] = {0, w.begin[3] - 1, 1};
	char name[AQZ_WEIGHT_NAME_BYTES];

	for (int k = 0; k < 3; k++) {
		squares *expected = calloc(1, sizeof *expected);
		const uint64_t n_tokens = squares_of(expected, m, &w, n_used[k], o.seed);
		memory_file f = {0};
		aqz_stats *s;

		o.importance_tokens = asked[k];
		calibrate(&f, m, &w, &o);
		s = open_stats(&f);
		for (uint32_t l = 0; l < 2; l++)
			for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
				const aqz_source_tensor *t;
				double found[MAX_IN], sum = 0;

				aqz_linear_name(name, l, kind, "weight");
				t = aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, name, strlen(name));
				ck_assert(t != NULL && t->shape[0] == m->blocks[l].linear[kind].rows);
				ck_assert_int_eq(aqz_stats_read_rows(found, s, t, NULL), AQZ_OK);
				for (size_t r = 0; r < t->shape[0]; r++) {
					const double mean = expected->sums[l][kind][r] / (double)n_tokens;

					ck_assert_double_eq_tol(found[r], mean, 1e-4 * mean + 1e-30);
					sum += found[r];
				}
				/* A window of one token sees one key, whatever q and k are. */
				ck_assert(sum > 0 || (k == 2 && kind <= AQZ_LINEAR_K));
			}
		check_head(s, expected, n_tokens);
		aqz_stats_close(s);
		memory_free(&f);
		free(expected);
	}
	aqz_windows_free(&w);
	aqz_model_close(m);
}
END_TEST

/* ---- The same bytes, and ends that come early */

typedef struct told {
	uint64_t n, last, stop_at;
} told;

static bool tell(void *user, uint64_t done, uint64_t total)
{
	told *t = user;

	ck_assert(total == 1000 && done >= t->last && done <= total);
	t->last = done;
	return ++t->n != t->stop_at;
}

START_TEST(early_ends)
{
	aqz_model *m = open_model("qwen2-window");
	aqz_windows w = windows_of(m, 100);
	aqz_calibrate_options o = options(1, true);
	memory_file whole = {0};
	told t = {.n = 0};
	aqz_error err;
	aqz_io io;

	o.progress = tell;
	o.progress_user = &t;
	calibrate(&whole, m, &w, &o);
	ck_assert_uint_eq(t.last, 1000);
	const uint64_t n_told = t.n, n_writes = whole.n_writes;
	ck_assert_uint_gt(n_told, 10);
	for (uint64_t stop = 1; stop <= n_told; stop += 4) {
		memory_file f = {0};

		t = (told){.stop_at = stop};
		memory_io(&io, &f);
		ck_assert_int_eq(aqz_calibrate(m, &w, &io, &o, &err), AQZ_E_CANCELLED);
		ck_assert_uint_le(f.n, whole.n);
		memory_free(&f);
	}
	for (uint64_t call = 1; call <= n_writes; call += 3) {
		memory_file f = {.fail_write = call, .fail_with = call % 2 == 0 ? AQZ_E_IO : AQZ_E_SPACE};

		t = (told){0};
		memory_io(&io, &f);
		ck_assert_int_eq(aqz_calibrate(m, &w, &io, &o, &err), f.fail_with);
		ck_assert_int_eq(err.status, f.fail_with);
		memory_free(&f);
	}
	/* Neither threads nor memory change a bit of the sums; how windows are put together may change the last ones. */
	o.n_threads = 3;
	for (uint64_t limit = 1 << 16, n_ok = 0; n_ok < 2; limit *= 2) {
		memory_file f = {0};
		aqz_status status;

		t = (told){0};
		o.memlimit_bytes = limit;
		memory_io(&io, &f);
		status = aqz_calibrate(m, &w, &io, &o, &err);
		ck_assert_msg(status == AQZ_OK || status == AQZ_E_MEMLIMIT, "%s", err.text);
		n_ok += status == AQZ_OK;
		if (status == AQZ_OK)
			ck_assert_uint_eq(f.n, whole.n);
		ck_assert_uint_lt(limit, UINT64_C(1) << 30);
		memory_free(&f);
	}
	o.memlimit_bytes = 0;
	memory_file f = {0};
	t = (told){0};
	calibrate(&f, m, &w, &o);
	ck_assert_uint_eq(f.n, whole.n);
	ck_assert_mem_eq(f.data, whole.data, f.n);
	memory_free(&f);
	memory_free(&whole);
	aqz_windows_free(&w);
	aqz_model_close(m);
}
END_TEST

static void refused(const aqz_model *m, const aqz_windows *w, const aqz_calibrate_options *o,
	aqz_status status, const char *text)
{
	memory_file f = {0};
	aqz_error err = {0};
	aqz_io io;

	memory_io(&io, &f);
	ck_assert_int_eq(aqz_calibrate(m, w, &io, o, &err), status);
	ck_assert_msg(strstr(err.text, text) != NULL, "%s", err.text);
	memory_free(&f);
}

START_TEST(arguments)
{
	aqz_model *m = open_model("llama");
	aqz_windows w = windows_of(m, 4);
	aqz_calibrate_options o = options(1, false);
	memory_file f = {0};
	aqz_io io;

	w.ids[5] = m->config.vocabulary;
	refused(m, &w, &o, AQZ_E_ARGUMENT, "token 5 is");
	w.ids[5] = 0;
	w.begin[1] = w.begin[2];
	refused(m, &w, &o, AQZ_E_ARGUMENT, "window 1 has 0 tokens");
	w.begin[1] = 1;
	w.n_windows = 0;
	refused(m, &w, &o, AQZ_E_ARGUMENT, "no windows");
	w.n_windows = 4;
	o.struct_size--;
	refused(m, &w, &o, AQZ_E_ARGUMENT, "another version");
	o.struct_size++;
	refused(NULL, &w, &o, AQZ_E_ARGUMENT, "NULL");
	refused(m, NULL, &o, AQZ_E_ARGUMENT, "NULL");
	memory_io(&io, &f);
	io.write = NULL;
	ck_assert_int_eq(aqz_calibrate(m, &w, &io, &o, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_calibrate(m, &w, NULL, &o, NULL), AQZ_E_ARGUMENT);
	m->config.max_positions = 17;
	refused(m, &w, &o, AQZ_E_ARGUMENT, "window 1 has 18 tokens, and the model takes 1 to 17");
	m->config.max_positions = 64;
	/* Finite weights whose activations are not; memory of the model's own, so it may be written. */
	((float *)(uintptr_t)m->final_norm)[3] = 3e38f;
	refused(m, &w, &o, AQZ_E_CORRUPT, "infinities");
	o.row_importance = true;
	refused(m, &w, &o, AQZ_E_CORRUPT, "infinities");
	aqz_windows_free(&w);
	aqz_model_close(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("calibrate");
	TCase *t = tcase_create("calibrate");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, sums_of_products);
	tcase_add_loop_test(t, the_file, 0, 2);
	tcase_add_test(t, the_encoder_takes_it);
	tcase_add_test(t, row_importance);
	tcase_add_test(t, early_ends);
	tcase_add_test(t, arguments);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
