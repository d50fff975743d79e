/* SPDX-License-Identifier: Apache-2.0 */
/* Logits of the tiny models of each family (tests/data/families) and of SmolLM2 against transformers: a prompt at once,
 * in pieces, token by token, several sequences together; and the rules of sessions.
 *
 * The environment variable AQZ_SMOLLM2 names a Hugging Face folder of SmolLM2 in BF16; without it, or without
 * ../shared/reference, that test is skipped. */
#include <check.h>
#include <math.h>

#include "model/forward.h"
#include "tests/tensors.h"

static const char *const families[] = {"llama", "llama-bias", "llama-linear-tied", "llama3",
	"mistral", "qwen2", "qwen2-window", "qwen3"};

/* What is allowed against transformers; logits are up to 10, and 2.3e-5 is the most that was seen. */
#define TOLERANCE 5e-5

static const char *path_to(const char *folder, const char *name)
{
	static char path[4096];
	const char *root = getenv("AQZ_SRCDIR");

	snprintf(path, sizeof path, "%s/%s/%s", root != NULL ? root : ".", folder, name);
	return path;
}

static aqz_model *open_model(const char *path)
{
	aqz_model *m;
	aqz_error err = {0};

	ck_assert_msg(
		aqz_model_open(&m, path, NULL, &err) == AQZ_OK, "%s: %s: %s", path, err.where, err.text);
	return m;
}

static aqz_session *open_session(
	const aqz_model *m, uint32_t n_sequences, uint32_t capacity, unsigned n_threads)
{
	aqz_session *s;
	aqz_error err = {0};

	ck_assert_msg(aqz_session_open(&s, m, n_sequences, capacity, n_threads, 0, &err) == AQZ_OK,
		"%s", err.text);
	return s;
}

static void feed(aqz_session *s, float *logits, uint32_t sequence, const uint32_t *ids, uint32_t n,
	uint32_t n_logits)
{
	const aqz_feed f = {sequence, ids, n, n_logits};
	aqz_error err = {0};

	ck_assert_msg(aqz_session_feed(s, logits, &f, 1, &err) == AQZ_OK, "%s", err.text);
}

static double difference(const float *a, const float *b, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++) {
		if (!isfinite(a[i]))
			return INFINITY;
		most = fabs((double)a[i] - b[i]) > most ? fabs((double)a[i] - b[i]) : most;
	}
	return most;
}

/* A family's model and vectors: two sequences of n tokens. */
typedef struct family {
	aqz_model *m;
	tensors t;
	uint32_t *ids;
	uint32_t n;
	size_t v, n_logits; /* vocabulary; of one sequence */
	const float *want;
	float *got, *first;
} family;

static void family_open(family *f, int i)
{
	char name[64];
	uint64_t n, n_logits;

	snprintf(name, sizeof name, "%s.vectors.safetensors", families[i]);
	ck_assert_msg(tensors_open(&f->t, path_to("tests/data/families", name)), "there is no %s", name);
	f->m = open_model(path_to("tests/data/families", families[i]));
	f->ids = tensors_ids(&f->t, "ids", &n);
	f->want = tensors_f32(&f->t, "logits", &n_logits);
	f->n = (uint32_t)n / 2;
	f->v = aqz_model_get_config(f->m)->vocabulary;
	f->n_logits = f->n * f->v;
	ck_assert_uint_eq(n_logits, 2 * f->n_logits);
	f->got = sure_alloc(2 * f->n_logits * sizeof *f->got);
	f->first = sure_alloc(2 * f->n_logits * sizeof *f->first);
}

static void family_close(family *f)
{
	free(f->ids), free(f->got), free(f->first);
	tensors_close(&f->t);
	aqz_model_close(f->m);
}

#define CHECK_LOGITS(got, want, n, how)                                                   \
	ck_assert_msg(difference(got, want, n) <= TOLERANCE, "%s, %s: %g", families[_i], how, \
		difference(got, want, n))

START_TEST(logits_are_those_of_transformers)
{
	family f;

	family_open(&f, _i);
	for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
		aqz_session *s = open_session(f.m, 2, f.n, n_threads);
		const aqz_feed both[] = {{1, f.ids + f.n, f.n, f.n}, {0, f.ids, f.n, f.n}};
		aqz_error err;

		/* At once. */
		memset(f.got, 0xff, 2 * f.n_logits * sizeof *f.got);
		feed(s, f.got, 0, f.ids, f.n, f.n);
		CHECK_LOGITS(f.got, f.want, f.n_logits, "at once");
		ck_assert_uint_eq(aqz_session_length(s, 0), f.n);
		ck_assert_uint_eq(aqz_session_length(s, 1), 0);
		/* Two sequences, in an order of their own. */
		aqz_session_truncate(s, 0, 0);
		ck_assert_int_eq(aqz_session_feed(s, f.got, both, 2, &err), AQZ_OK);
		CHECK_LOGITS(f.got, f.want + f.n_logits, f.n_logits, "batch");
		CHECK_LOGITS(f.got + f.n_logits, f.want, f.n_logits, "batch");
		/* The same bits for any number of threads. */
		if (n_threads > 1)
			ck_assert_mem_eq(f.got, f.first, 2 * f.n_logits * sizeof *f.got);
		memcpy(f.first, f.got, 2 * f.n_logits * sizeof *f.got);
		aqz_session_close(s);
	}
	family_close(&f);
}
END_TEST

START_TEST(pieces_through_the_cache)
{
	family f;

	family_open(&f, _i);
	for (uint32_t piece = 1; piece <= 11; piece += piece < 3 ? 1 : 4) {
		aqz_session *s = open_session(f.m, 2, 64, 2);
		float *at = f.got;

		/* Sequences take turns, so that what one leaves would be seen in the other. */
		memset(f.got, 0xff, 2 * f.n_logits * sizeof *f.got);
		for (uint32_t i = 0; i < f.n; i += piece) {
			const uint32_t n = f.n - i < piece ? f.n - i : piece;

			feed(s, at, 0, f.ids + i, n, n);
			feed(s, f.got + f.n_logits + i * f.v, 1, f.ids + f.n + i, n, n);
			at += n * f.v;
		}
		CHECK_LOGITS(f.got, f.want, 2 * f.n_logits, "pieces");
		/* Some are taken back and come again; logits of the last two only. */
		aqz_session_truncate(s, 0, f.n - 5);
		ck_assert_uint_eq(aqz_session_length(s, 0), f.n - 5);
		feed(s, f.got, 0, f.ids + f.n - 5, 5, 2);
		CHECK_LOGITS(f.got, f.want + f.n_logits - 2 * f.v, 2 * f.v, "again");
		aqz_session_close(s);
	}
	family_close(&f);
}
END_TEST

static uint32_t likeliest(const float *logits, size_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		best = logits[i] > logits[best] ? i : best;
	return best;
}

START_TEST(greedy_tokens)
{
	family f;
	uint64_t n_prompt, n_greedy;

	family_open(&f, _i);
	uint32_t *prompt = tensors_ids(&f.t, "prompt", &n_prompt),
			 *greedy = tensors_ids(&f.t, "greedy", &n_greedy);
	aqz_session *s = open_session(f.m, 1, 64, 2);

	feed(s, f.got, 0, prompt, (uint32_t)n_prompt, 1);
	for (uint64_t i = 0; i < n_greedy; i++) {
		const uint32_t id = likeliest(f.got, f.v);

		ck_assert_uint_eq(id, greedy[i]);
		feed(s, f.got, 0, &id, 1, 1);
	}
	aqz_session_close(s);
	free(prompt), free(greedy);
	family_close(&f);
}
END_TEST

/* More tokens than a chunk, of sequences that begin and end inside chunks; logits of some. */
START_TEST(more_than_a_chunk)
{
	aqz_model *m = open_model(path_to("tests/data", "stories"));
	const aqz_model_config *c = aqz_model_get_config(m);
	const size_t v = c->vocabulary;
	const uint32_t lengths[] = {200, 0, 250, 256, 130};
	uint32_t ids[256];
	float *one = sure_alloc(256 * v * sizeof *one), *all = sure_alloc(40 * v * sizeof *all);
	aqz_session *s, *alone;
	aqz_feed feeds[5];
	aqz_error err = {0};
	uint32_t at = 0;

	ck_assert_uint_ge(c->max_positions, 256);
	for (uint32_t i = 0; i < 256; i++)
		ids[i] = i * 7919 % c->vocabulary;
	s = open_session(m, 5, 256, 2);
	alone = open_session(m, 1, 256, 1);
	for (uint32_t i = 0; i < 5; i++)
		feeds[i] = (aqz_feed){
			4 - i, i == 1 ? NULL : ids + (256 - lengths[i]) / 2, lengths[i], i == 1 ? 0 : i + 2};
	ck_assert_msg(aqz_session_feed(s, all, feeds, 5, &err) == AQZ_OK, "%s", err.text);
	for (uint32_t i = 0; i < 5; i++) {
		ck_assert_uint_eq(aqz_session_length(s, 4 - i), lengths[i]);
		aqz_session_truncate(alone, 0, 0);
		if (lengths[i] == 0)
			continue;
		feed(alone, one, 0, feeds[i].ids, lengths[i], feeds[i].n_logits);
		ck_assert_double_le(difference(all + at * v, one, feeds[i].n_logits * v), 1e-4);
		at += feeds[i].n_logits;
	}
	aqz_session_close(s);
	aqz_session_close(alone);
	free(one), free(all);
	aqz_model_close(m);
}
END_TEST

/* A feed that is refused leaves everything as it was. */
START_TEST(refused)
{
	family f;
	aqz_session *s;
	aqz_error err;
	uint32_t wrong[3] = {1, 2, 0};

	family_open(&f, 0);
	wrong[2] = (uint32_t)f.v;
	s = open_session(f.m, 2, 10, 1);
	feed(s, NULL, 0, f.ids, 6, 0);

	const aqz_feed id[] = {{1, f.ids, 3, 1}, {0, wrong, 3, 1}},
				   twice[] = {{0, f.ids, 1, 1}, {0, f.ids, 1, 1}};
	const aqz_feed none[] = {{2, f.ids, 1, 1}}, longer[] = {{1, f.ids, 1, 1}, {0, f.ids, 5, 1}};
	const aqz_feed logits[] = {{0, f.ids, 2, 3}};
	const struct {
		const aqz_feed *feeds;
		uint32_t n;
		const char *says;
	} all[] = {{id, 2, "id 64 of token 2"}, {twice, 2, "fed twice"}, {none, 1, "no sequence 2"},
		{longer, 2, "more than"}, {logits, 1, "logits of 3"}};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		ck_assert_int_eq(aqz_session_feed(s, f.got, all[i].feeds, all[i].n, &err), AQZ_E_ARGUMENT);
		ck_assert_msg(strstr(err.text, all[i].says) != NULL, "%s", err.text);
		ck_assert_uint_eq(aqz_session_length(s, 0), 6);
		ck_assert_uint_eq(aqz_session_length(s, 1), 0);
	}
	feed(s, f.got, 0, f.ids + 6, 4, 4);
	ck_assert_double_le(difference(f.got, f.want + 6 * f.v, 4 * f.v), TOLERANCE);
	ck_assert_int_eq(aqz_session_feed(s, f.got, twice, 1, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_session_feed(s, f.got, twice, 0, &err), AQZ_OK);
	aqz_session_close(s);

	ck_assert_int_eq(aqz_session_open(&s, f.m, 0, 10, 1, 0, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(aqz_session_open(&s, f.m, 1, 0, 1, 0, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(
		aqz_session_open(&s, f.m, 1, aqz_model_get_config(f.m)->max_positions + 1, 1, 0, &err),
		AQZ_E_ARGUMENT);
	/* Memory: what it says is what it needs. */
	s = open_session(f.m, 2, 64, 1);
	const uint64_t need = aqz_session_memory(s);
	aqz_session_close(s);
	ck_assert_int_eq(aqz_session_open(&s, f.m, 2, 64, 1, need, &err), AQZ_OK);
	aqz_session_close(s);
	for (uint64_t limit = 1; limit < need; limit += need / 37)
		ck_assert_int_eq(aqz_session_open(&s, f.m, 2, 64, 1, limit, &err), AQZ_E_MEMLIMIT);
	family_close(&f);
}
END_TEST

/* 31 tokens, then 32 greedy ones. */
START_TEST(smollm2)
{
	const char *folder = getenv("AQZ_SMOLLM2");
	uint64_t n, n_all;
	tensors t;

	if (folder == NULL ||
		!tensors_open(&t, path_to("../shared/reference", "smollm2-parity.safetensors"))) {
		printf("SKIP: AQZ_SMOLLM2 is not set or ../shared/reference is absent\n");
		return;
	}
	aqz_model *m = open_model(folder);
	const size_t v = aqz_model_get_config(m)->vocabulary;
	uint32_t *ids = tensors_ids(&t, "ids", &n), *all = tensors_ids(&t, "greedy_ids", &n_all);
	const float *want = tensors_f32(&t, "logits_last4", NULL);
	float *logits = sure_alloc(4 * v * sizeof *logits);
	aqz_session *s = open_session(m, 1, 128, 0);

	feed(s, logits, 0, ids, (uint32_t)n, 4);
	printf("SmolLM2: max |logit difference| %.3g\n", difference(logits, want, 4 * v));
	ck_assert_double_lt(difference(logits, want, 4 * v), 2e-3);
	ck_assert_uint_eq(n_all, n + 32);
	uint32_t id = likeliest(logits + 3 * v, v);
	for (uint64_t i = n; i < n_all; i++) {
		ck_assert_uint_eq(id, all[i]);
		feed(s, logits, 0, &id, 1, 1);
		id = likeliest(logits, v);
	}
	aqz_session_close(s);
	free(ids), free(all), free(logits);
	tensors_close(&t);
	aqz_model_close(m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("forward");
	TCase *t = tcase_create("families");
	const int n = sizeof families / sizeof *families;

	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, logits_are_those_of_transformers, 0, n);
	tcase_add_loop_test(t, pieces_through_the_cache, 0, n);
	tcase_add_loop_test(t, greedy_tokens, 0, n);
	tcase_add_test(t, more_than_a_chunk);
	tcase_add_test(t, refused);
	tcase_add_test(t, smollm2);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
