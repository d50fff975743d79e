/* SPDX-License-Identifier: Apache-2.0 */
/* The backward pass against torch's gradients and against differences of the loss of tests/plain_model.h in binary64,
 * for each family; drawn labels; the same bits for any number of threads. */
#include <check.h>
#include <stdio.h>

#include "interop/source.h"
#include "tests/plain_model.h"

static const char *const families[] = {"llama", "llama-linear-tied", "llama3", "llama-bias",
	"mistral", "qwen2", "qwen2-window", "qwen3"};
/* Those with biases, a window, norms of q and k. */
static const char *const fewer[] = {"llama-bias", "qwen2-window", "qwen3"};
#ifndef VECTORS
#define VECTORS ".vectors.safetensors"
#endif
enum { N_FAMILIES = sizeof families / sizeof *families };

static const char *path_of(const char *family, const char *file)
{
	static char path[4096];
	const char *root = getenv("AQZ_SRCDIR");

	snprintf(
		path, sizeof path, "%s/tests/data/families/%s%s", root != NULL ? root : ".", family, file);
	return path;
}

static aqz_model *open_model(const char *family)
{
	aqz_model *m;
	aqz_error err = {0};
	const aqz_status status = aqz_model_open(&m, path_of(family, ""), NULL, &err);

	ck_assert_msg(status == AQZ_OK, "%s: %s: %s", family, err.where, err.text);
	return m;
}

static float noise(uint64_t i)
{
	i = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	i = (i ^ (i >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
	return (float)(i >> 40) / 8388608.0f - 1;
}

/* ---- All gradients of a model */

/* Laid out as the parameters of a plain model are. */
typedef struct gradients {
	const plain *s;
	double *g;
	double loss;
	uint32_t n_calls;
} gradients;

static aqz_status add_linear(void *user, uint32_t layer, aqz_linear_kind kind, const float *x,
	size_t x_ld, const float *dy, size_t dy_ld, size_t n)
{
	gradients *g = user;
	const bool head = kind == AQZ_N_LINEARS;
	const aqz_weight *w = head ? &g->s->m->head : &g->s->m->blocks[layer].linear[kind];
	const size_t *at = g->s->begin + (head ? PLAIN_HEAD : plain_section(layer, 0));
	double *dw = g->g + at[head ? 0 : kind], *db = head ? NULL : g->g + at[PLAIN_BIAS + kind];

	ck_assert(!head || layer == g->s->m->config.n_layers);
	for (size_t t = 0; t < n; t++)
		for (size_t r = 0; r < w->rows; r++) {
			for (size_t c = 0; c < w->cols; c++)
				dw[r * w->cols + c] += (double)dy[t * dy_ld + r] * x[t * x_ld + c];
			if (w->bias != NULL)
				db[r] += dy[t * dy_ld + r];
		}
	g->n_calls++;
	return AQZ_OK;
}

/* The gradient of the sum of losses by all parameters, of windows of tokens that lie one after the other. Free g.g. */
static gradients gradients_of(const plain *s, const uint32_t *ids, uint32_t *labels,
	const size_t *begin, uint32_t n_windows, double *losses, unsigned n_threads)
{
	const aqz_model *m = s->m;
	const aqz_batch batch = {.n_sequences = n_windows, .begin = begin};
	const size_t n = begin[n_windows], h = m->config.hidden;
	gradients g = {.s = s, .g = calloc(s->begin[s->n_sections], sizeof *g.g)};
	float *x = malloc((m->config.n_layers + 2) * n * h * sizeof *x),
		  *dx = x + (m->config.n_layers + 1) * n * h;
	aqz_pass *pass;
	aqz_back *back;
	uint64_t seed = 5;

	ck_assert_int_eq(aqz_pass_open(&pass, m, n, n_threads, 0, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_back_open(&back, m, n, n_threads, 0, NULL), AQZ_OK);
	aqz_pass_embed(pass, x, ids, n);
	for (uint32_t l = 0; l < m->config.n_layers; l++) {
		float *to = x + (l + 1) * n * h;

		memcpy(to, to - n * h, n * h * sizeof *to);
		ck_assert_int_eq(aqz_pass_block(pass, l, to, &batch, NULL, NULL), AQZ_OK);
	}
	ck_assert_int_eq(aqz_back_head(back, dx - n * h, dx, labels, n, false, &seed, losses,
						 g.g + s->begin[PLAIN_FINAL], add_linear, &g),
		AQZ_OK);
	ck_assert_uint_eq(seed, 5);
	for (uint32_t l = m->config.n_layers; l-- > 0;) {
		const size_t *at = s->begin + plain_section(l, 0);
		const aqz_norm_gradients norms = {.attention_norm = g.g + at[PLAIN_ATTENTION],
			.ffn_norm = g.g + at[PLAIN_FFN],
			.q_norm = g.g + at[PLAIN_Q],
			.k_norm = g.g + at[PLAIN_K]};

		ck_assert_int_eq(
			aqz_back_block(back, l, x + l * n * h, dx, &batch, add_linear, &g, &norms), AQZ_OK);
	}
	ck_assert_uint_ge(g.n_calls, 7 * m->config.n_layers + 1);
	for (size_t i = 0; i < n * h; i++)
		g.g[i] = (double)dx[i];
	for (size_t t = 0; t < n; t++)
		g.loss += losses[t];
	aqz_back_close(back);
	aqz_pass_close(pass);
	free(x);
	return g;
}

/* ---- Against torch */

static void *read_tensor(const aqz_source *s, const char *name, aqz_dtype dtype, size_t *n)
{
	const aqz_source_tensor *t;
	void *data;

	for (uint32_t i = 0; (t = aqz_source_get(s, i)) != NULL; i++)
		if (strcmp(t->name, name) == 0)
			break;
	if (t == NULL)
		return NULL;
	ck_assert_msg(t->dtype == dtype, "%s", name);
	data = malloc(t->n_bytes);
	ck_assert_int_eq(aqz_source_read(s, t->file, t->offset, data, t->n_bytes, NULL), AQZ_OK);
	*n = t->n_elements;
	return data;
}

/* |found - expected| / |expected|, of vectors. */
static double error_of(const double *found, const float *expected, size_t n)
{
	double error = 0, squares = 0;

	for (size_t i = 0; i < n; i++) {
		error += (found[i] - (double)expected[i]) * (found[i] - (double)expected[i]);
		squares += (double)expected[i] * (double)expected[i];
	}
	ck_assert_double_gt(squares, 0);
	return sqrt(error / squares);
}

/* Compares a section with the tensor of that name, if it is in the file; returns whether it is. */
static int compare(const gradients *g, int section, const aqz_source *vectors, const char *name,
	const char *family)
{
	const size_t begin = g->s->begin[section], end = g->s->begin[section + 1];
	size_t n;
	char full[128];
	float *expected;

	snprintf(full, sizeof full, "grad.%s", name);
	expected = read_tensor(vectors, full, AQZ_F32, &n);
	if (expected == NULL)
		return 0;
	ck_assert_uint_eq(n, end - begin);
	const double error = error_of(g->g + begin, expected, n);
	ck_assert_msg(error < 1e-5, "%s: %s: %g", family, name, error);
	free(expected);
	return 1;
}

static int compare_block(
	const gradients *g, uint32_t layer, const aqz_source *vectors, const char *family)
{
	static const char *const norms[] = {
		"input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"};
	char name[AQZ_WEIGHT_NAME_BYTES];
	int n = 0;

	for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
		aqz_linear_name(name, layer, kind, "weight");
		n += compare(g, plain_section(layer, (int)kind), vectors, name, family);
		aqz_linear_name(name, layer, kind, "bias");
		n += compare(g, plain_section(layer, PLAIN_BIAS + (int)kind), vectors, name, family);
	}
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, norms[i]);
		n += compare(g, plain_section(layer, PLAIN_ATTENTION + i), vectors, name, family);
	}
	return n;
}

START_TEST(gradients_of_torch)
{
	const char *family = families[_i];
	aqz_model *m = open_model(family);
	aqz_source *vectors;
	size_t n_ids, n, begin[2] = {0, 0};
	uint32_t ids[256], labels[256];
	double losses[256];
	int n_compared = 0;

	ck_assert_int_eq(
		aqz_source_open(&vectors, path_of(family, ".vectors.safetensors"), 0, NULL), AQZ_OK);
	int64_t *wide = read_tensor(vectors, "ids", AQZ_I64, &n_ids),
			*next = read_tensor(vectors, "labels", AQZ_I64, &n);
	float *expected = read_tensor(vectors, "losses", AQZ_F32, &n);
	ck_assert(wide != NULL && next != NULL && expected != NULL && n <= 256 && n <= n_ids);
	for (size_t t = 0; t < n; t++) {
		ids[t] = (uint32_t)wide[t];
		labels[t] = next[t] < 0 ? AQZ_NO_TOKEN : (uint32_t)next[t];
	}
	begin[1] = n;
	plain s = plain_of(m, ids, n);
	gradients g = gradients_of(&s, ids, labels, begin, 1, losses, 1);
	for (size_t t = 0; t < n; t++)
		ck_assert_double_eq_tol(losses[t], expected[t], 1e-5);
	n_compared += compare(&g, PLAIN_X, vectors, "inputs_embeds", family);
	n_compared += compare(&g, PLAIN_FINAL, vectors, "model.norm.weight", family);
	n_compared += compare(&g, PLAIN_HEAD, vectors, "lm_head.weight", family);
	for (uint32_t l = 0; l < m->config.n_layers; l++)
		n_compared += compare_block(&g, l, vectors, family);
	/* Nothing of the file is left out. */
	for (uint32_t i = 0; i < aqz_source_n_tensors(vectors); i++)
		n_compared -= strncmp(aqz_source_get(vectors, i)->name, "grad.", 5) == 0;
	ck_assert_int_eq(n_compared, 0);
	free(wide);
	free(next);
	free(expected);
	free(g.g);
	free(s.p);
	aqz_source_close(vectors);
	aqz_model_close(m);
}
END_TEST

/* ---- Against differences */

/* Changes section by signs of a pattern, of a size that moves the loss by far more than rounding and far less than its
 * curvature does; compares with what the gradient says. */
static void check_direction(
	const gradients *g, const uint32_t *labels, int first, int last, const char *family)
{
	const plain *s = g->s;
	const double step = 1e-6;
	double *p = malloc(s->begin[s->n_sections] * sizeof *p), squares = 0, expected = 0, loss[2];

	for (int side = 0; side < 2; side++) {
		memcpy(p, s->p, s->begin[s->n_sections] * sizeof *p);
		for (size_t i = s->begin[first]; i < s->begin[last + 1]; i++)
			p[i] += (side == 0 ? step : -step) * noise(i);
		loss[side] = plain_loss(s, p, labels);
	}
	for (size_t i = s->begin[first]; i < s->begin[last + 1]; i++) {
		expected += g->g[i] * noise(i);
		squares += g->g[i] * g->g[i];
	}
	const double found = (loss[0] - loss[1]) / (2 * step);
	ck_assert_msg(fabs(found - expected) < 1e-5 * sqrt(squares) + 1e-7,
		"%s: sections %d to %d: %g, the gradient says %g", family, first, last, found, expected);
	free(p);
}

/* Each section by itself. */
START_TEST(differences_of_each_part)
{
	enum { N = 12 };
	aqz_model *m = open_model(families[_i]);
	uint32_t ids[N], labels[N];
	double losses[N], plain_sum;
	const size_t begin[] = {0, N};

	for (uint32_t t = 0; t < N; t++) {
		ids[t] = (t * t + 3) % m->config.vocabulary;
		labels[t] = t % 5 == 2 ? AQZ_NO_TOKEN : (7 * t + 1) % m->config.vocabulary;
	}
	plain s = plain_of(m, ids, N);
	gradients g = gradients_of(&s, ids, labels, begin, 1, losses, 2);
	plain_sum = plain_loss(&s, s.p, labels);
	ck_assert_double_eq_tol(g.loss, plain_sum, 1e-6 * plain_sum);
	for (size_t t = 0; t < N; t++)
		ck_assert((losses[t] == 0) == (labels[t] == AQZ_NO_TOKEN));
	for (int i = 0; i < s.n_sections; i++)
		if (s.begin[i + 1] > s.begin[i])
			check_direction(&g, labels, i, i, families[_i]);
	free(g.g);
	free(s.p);
	aqz_model_close(m);
}
END_TEST

/* More tokens than the squares of attention and the rows of logits have: all parameters at once. */
START_TEST(differences_of_many_tokens)
{
	enum { N = 300 };
	aqz_model *m = open_model(fewer[_i]);
	uint32_t ids[N], labels[N];
	double losses[N];
	const size_t begin[] = {0, N};

	for (uint32_t t = 0; t < N; t++) {
		ids[t] = (t * t + t / 7) % m->config.vocabulary;
		labels[t] = (7 * t + 1) % m->config.vocabulary;
	}
	plain s = plain_of(m, ids, N);
	gradients g = gradients_of(&s, ids, labels, begin, 1, losses, 2);
	check_direction(&g, labels, PLAIN_X, PLAIN_X, fewer[_i]);
	check_direction(&g, labels, PLAIN_FINAL, s.n_sections - 1, fewer[_i]);
	free(g.g);
	free(s.p);
	aqz_model_close(m);
}
END_TEST

/* ---- Batches and threads */

/* Sequences of a batch do not know of each other, and threads change no bit. */
START_TEST(batches_and_threads)
{
	enum { N = 340 };
	static const size_t begin[] = {0, 1, 66, N};
	aqz_model *m = open_model(fewer[_i]);
	uint32_t ids[N], labels[N];
	double losses[2][N], *sum;

	for (uint32_t t = 0; t < N; t++) {
		ids[t] = (t * t + t / 7) % m->config.vocabulary;
		labels[t] = (7 * t + 1) % m->config.vocabulary;
	}
	plain s = plain_of(m, ids, N);
	gradients one = gradients_of(&s, ids, labels, begin, 3, losses[0], 1);
	const size_t n_bytes = s.begin[s.n_sections] * sizeof *one.g;
	gradients more = gradients_of(&s, ids, labels, begin, 3, losses[1], 3);
	ck_assert_mem_eq(one.g, more.g, n_bytes);
	ck_assert_mem_eq(losses[0], losses[1], sizeof losses[0]);
	free(more.g);
	sum = calloc(s.begin[s.n_sections], sizeof *sum);
	for (int w = 0; w < 3; w++) {
		const size_t own[] = {0, begin[w + 1] - begin[w]}, h = m->config.hidden;
		plain part = plain_of(m, ids + begin[w], own[1]);
		gradients g = gradients_of(&part, ids + begin[w], labels + begin[w], own, 1, losses[1], 2);

		memcpy(sum + begin[w] * h, g.g, own[1] * h * sizeof *sum);
		for (size_t i = part.begin[1]; i < part.begin[part.n_sections]; i++)
			sum[s.begin[1] + i - part.begin[1]] += g.g[i];
		free(g.g);
		free(part.p);
	}
	for (int i = 0; i < s.n_sections; i++) {
		double error = 0, squares = 0;

		for (size_t k = s.begin[i]; k < s.begin[i + 1]; k++) {
			error += (sum[k] - one.g[k]) * (sum[k] - one.g[k]);
			squares += sum[k] * sum[k];
		}
		ck_assert_msg(error <= 1e-10 * squares, "section %d: %g", i, sqrt(error / squares));
	}
	free(sum);
	free(one.g);
	free(s.p);
	aqz_model_close(m);
}
END_TEST

/* ---- Labels */

START_TEST(labels_are_drawn_from_the_model)
{
	enum { N = 20000 };
	aqz_model *m = open_model("llama");
	const size_t h = m->config.hidden, vocabulary = m->config.vocabulary;
	float *x = malloc(2 * N * h * sizeof *x), *dx = x + N * h, logits[256], normed[256];
	uint32_t *labels = malloc(2 * N * sizeof *labels), *again = labels + N, counts[256] = {0};
	double *losses = malloc(N * sizeof *losses), sum = 0, chi = 0;
	aqz_pass *pass;
	aqz_back *back;
	uint64_t seed = 77, start = 77;

	ck_assert(vocabulary <= 256 && h <= 256);
	for (size_t i = 0; i < N * h; i++)
		x[i] = 3 * noise(i % h);
	ck_assert_int_eq(aqz_pass_open(&pass, m, 1, 1, 0, NULL), AQZ_OK);
	aqz_pass_final_norm(pass, normed, x, 1);
	aqz_pass_head(pass, logits, normed, 1);
	aqz_pass_close(pass);
	for (size_t i = 0; i < vocabulary; i++)
		sum += exp((double)logits[i]);
	ck_assert_int_eq(aqz_back_open(&back, m, N, 3, 0, NULL), AQZ_OK);
	ck_assert_int_eq(
		aqz_back_head(back, x, dx, labels, N, true, &seed, losses, NULL, NULL, NULL), AQZ_OK);
	ck_assert_uint_ne(seed, start);
	for (size_t t = 0; t < N; t++) {
		ck_assert_uint_lt(labels[t], vocabulary);
		counts[labels[t]]++;
		ck_assert_double_eq_tol(losses[t], log(sum) - (double)logits[labels[t]], 1e-5);
	}
	for (size_t i = 0; i < vocabulary; i++) {
		const double expected = N * exp((double)logits[i]) / sum;

		chi += (counts[i] - expected) * (counts[i] - expected) / expected;
	}
	/* Mean vocabulary - 1, variance twice that; beyond 5 deviations only if something is wrong. */
	ck_assert_double_lt(chi, (double)vocabulary + 5 * sqrt(2 * (double)vocabulary));
	ck_assert_double_gt(chi, (double)vocabulary - 5 * sqrt(2 * (double)vocabulary));

	/* The gradient is that of the labels that were drawn. */
	float *drawn = malloc(N * h * sizeof *drawn);
	memcpy(drawn, dx, N * h * sizeof *drawn);
	ck_assert_int_eq(
		aqz_back_head(back, x, dx, labels, N, false, NULL, NULL, NULL, NULL, NULL), AQZ_OK);
	ck_assert_mem_eq(drawn, dx, N * h * sizeof *dx);
	free(drawn);
	aqz_back_close(back);

	/* One thread, in two calls: the same labels. */
	ck_assert_int_eq(aqz_back_open(&back, m, N, 1, 0, NULL), AQZ_OK);
	ck_assert_int_eq(
		aqz_back_head(back, x, dx, again, 777, true, &start, NULL, NULL, NULL, NULL), AQZ_OK);
	ck_assert_int_eq(
		aqz_back_head(back, x, dx, again + 777, N - 777, true, &start, NULL, NULL, NULL, NULL),
		AQZ_OK);
	ck_assert_uint_eq(start, seed);
	ck_assert_mem_eq(labels, again, N * sizeof *labels);
	/* Another seed, others. */
	start = 78;
	ck_assert_int_eq(
		aqz_back_head(back, x, dx, again, N, true, &start, NULL, NULL, NULL, NULL), AQZ_OK);
	ck_assert_int_ne(memcmp(labels, again, N * sizeof *labels), 0);
	aqz_back_close(back);
	free(labels);
	free(losses);
	free(x);
	aqz_model_close(m);
}
END_TEST

/* ---- Limits */

static aqz_status refuse(void *user, uint32_t layer, aqz_linear_kind kind, const float *x,
	size_t x_ld, const float *dy, size_t dy_ld, size_t n)
{
	(void)layer, (void)x, (void)x_ld, (void)dy, (void)dy_ld, (void)n;
	return kind == *(aqz_linear_kind *)user ? AQZ_E_SPACE : AQZ_OK;
}

START_TEST(limits)
{
	enum { N = 8 };
	aqz_model *m = open_model("llama");
	const size_t begin[] = {0, N}, longer[] = {0, N + 1}, past[] = {3};
	aqz_batch batch = {.n_sequences = 1, .begin = longer};
	float *x = calloc(2 * (N + 1) * m->config.hidden, sizeof *x),
		  *dx = x + (N + 1) * m->config.hidden;
	uint32_t labels[N] = {1};
	aqz_linear_kind kind;
	aqz_back *back;
	aqz_error err;

	ck_assert_int_eq(aqz_back_open(&back, m, N, 1, 1000, &err), AQZ_E_MEMLIMIT);
	ck_assert_ptr_null(back);
	ck_assert_int_ne(aqz_back_open(&back, m, SIZE_MAX / 2, 1, 0, &err), AQZ_OK);
	ck_assert_ptr_null(back);
	ck_assert_int_eq(aqz_back_open(&back, m, N, 1, 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_back_block(back, 0, x, dx, &batch, NULL, NULL, NULL), AQZ_E_ARGUMENT);
	batch.begin = begin;
	batch.past = past;
	ck_assert_int_eq(aqz_back_block(back, 0, x, dx, &batch, NULL, NULL, NULL), AQZ_E_ARGUMENT);
	batch.past = NULL;
	ck_assert_int_eq(aqz_back_block(back, 0, x, dx, &batch, NULL, NULL, NULL), AQZ_OK);
	for (kind = 0; kind < AQZ_N_LINEARS; kind++)
		ck_assert_int_eq(aqz_back_block(back, 0, x, dx, &batch, refuse, &kind, NULL), AQZ_E_SPACE);
	ck_assert_int_eq(
		aqz_back_head(back, x, dx, labels, N, false, NULL, NULL, NULL, refuse, &kind), AQZ_E_SPACE);
	aqz_back_close(back);
	aqz_back_close(NULL);
	free(x);
	aqz_model_close(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("back");
	TCase *t = tcase_create("back");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, gradients_of_torch, 0, N_FAMILIES);
	tcase_add_loop_test(t, differences_of_each_part, 0, N_FAMILIES);
	tcase_add_loop_test(t, differences_of_many_tokens, 0, 3);
	tcase_add_loop_test(t, batches_and_threads, 0, 3);
	tcase_add_test(t, labels_are_drawn_from_the_model);
	tcase_add_test(t, limits);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	/* LeakSanitizer cannot look at a forked process whose threads come and go with each pass. */
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
