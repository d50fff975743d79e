/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of an evaluation against a plain computation in binary64 from a session's logits, for models alone and beside
 * a reference; threads, memory, refusals. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip_model.h"

enum { VOCABULARY = 64, CONTEXT = 64 };

static aqz_model *open_model(const char *family)
{
	const char *root = getenv("AQZ_SRCDIR");
	char path[4096];
	aqz_model *m;
	aqz_error err = {0};

	snprintf(path, sizeof path, "%s/tests/data/families/%s", root != NULL ? root : ".", family);
	ck_assert_msg(aqz_model_open(&m, path, NULL, &err) == AQZ_OK, "%s: %s", family, err.text);
	return m;
}

/* Windows of these lengths with ids that look random. */
static aqz_windows make_windows(const uint32_t *lengths, uint32_t n)
{
	aqz_windows w = {.n_windows = n, .begin = calloc(n + 1, sizeof *w.begin)};
	uint64_t state = 5;

	for (uint32_t i = 0; i < n; i++)
		w.begin[i + 1] = w.begin[i] + lengths[i];
	w.ids = calloc(w.begin[n] + 1, sizeof *w.ids);
	for (uint64_t i = 0; i < w.begin[n]; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		w.ids[i] = (uint32_t)(state >> 40) % VOCABULARY;
	}
	return w;
}

/* ---- The plain computation */

typedef struct sums {
	double n, x, xx;
} sums;

static void add(sums *s, double x)
{
	s->n++;
	s->x += x;
	s->xx += x * x;
}

static aqz_mean mean_of(const sums *s)
{
	double mean = s->x / s->n;

	return (aqz_mean){mean, sqrt((s->xx - s->n * mean * mean) / (s->n - 1) / s->n)};
}

/* Logits of all windows, [tokens][vocabulary]. */
static float *all_logits(const aqz_model *m, const aqz_windows *w)
{
	float *logits = calloc(w->begin[w->n_windows] * VOCABULARY, sizeof *logits);
	aqz_session *s;
	aqz_error err = {0};

	ck_assert_msg(aqz_session_open(&s, m, 1, CONTEXT, 1, 0, &err) == AQZ_OK, "%s", err.text);
	for (uint32_t i = 0; i < w->n_windows; i++) {
		uint32_t n = (uint32_t)(w->begin[i + 1] - w->begin[i]);
		aqz_feed feed = {0, w->ids + w->begin[i], n, n};

		aqz_session_truncate(s, 0, 0);
		ck_assert_int_eq(
			aqz_session_feed(s, logits + w->begin[i] * VOCABULARY, &feed, 1, &err), AQZ_OK);
	}
	aqz_session_close(s);
	return logits;
}

static double log_probability(const float *logits, uint32_t id)
{
	double sum = 0;

	for (uint32_t i = 0; i < VOCABULARY; i++)
		sum += exp(logits[i]);
	return logits[id] - log(sum);
}

static uint32_t likeliest(const float *logits)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < VOCABULARY; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

typedef struct plain_figures {
	sums nll, reference_nll, kl, agree;
} plain_figures;

static plain_figures plainly(const aqz_model *m, const aqz_model *r, const aqz_windows *w)
{
	float *l = all_logits(m, w), *reference = all_logits(r, w);
	plain_figures f = {0};

	for (uint32_t i = 0; i < w->n_windows; i++)
		for (uint64_t t = w->begin[i]; t + 1 < w->begin[i + 1]; t++) {
			const float *p = l + t * VOCABULARY, *q = reference + t * VOCABULARY;
			double kl = 0;

			for (uint32_t k = 0; k < VOCABULARY; k++)
				kl += exp(log_probability(q, k)) * (log_probability(q, k) - log_probability(p, k));
			add(&f.nll, -log_probability(p, w->ids[t + 1]));
			add(&f.reference_nll, -log_probability(q, w->ids[t + 1]));
			add(&f.kl, kl);
			add(&f.agree, likeliest(p) == likeliest(q));
		}
	free(l);
	free(reference);
	return f;
}

static void near(const char *what, aqz_mean got, aqz_mean want, double tolerance)
{
	ck_assert_msg(fabs(got.mean - want.mean) <= tolerance * (1 + fabs(want.mean)) &&
			fabs(got.error - want.error) <= tolerance * (1 + fabs(want.error)),
		"%s: %.9g +- %.9g, not %.9g +- %.9g", what, got.mean, got.error, want.mean, want.error);
}

static aqz_evaluation evaluate(const aqz_model *m, const aqz_model *r, const aqz_windows *w,
	unsigned n_threads, uint64_t memlimit_bytes)
{
	aqz_evaluate_options opt = {
		.struct_size = sizeof opt, .n_threads = n_threads, .memlimit_bytes = memlimit_bytes};
	aqz_evaluation e;
	aqz_error err = {0};

	ck_assert_msg(aqz_evaluate(&e, m, r, w, &opt, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	return e;
}

/* ---- Tests */

START_TEST(figures_are_those_of_a_plain_computation)
{
	static const uint32_t lengths[] = {2, 64, 3, 17, 33, 2, 40, 9};
	aqz_windows w = make_windows(lengths, 8);
	aqz_model *m = open_model("llama"), *r = open_model("mistral");
	plain_figures f = plainly(m, r, &w);
	aqz_evaluation e = evaluate(m, r, &w, 2, 0), alone;
	aqz_mean nll = mean_of(&f.nll), reference = mean_of(&f.reference_nll);

	ck_assert_uint_eq(e.n_predictions, 170 - 8);
	ck_assert_uint_eq(e.n_windows, 8);
	near("nll", e.nll, nll, 1e-6);
	near("perplexity", e.perplexity, (aqz_mean){exp(nll.mean), exp(nll.mean) * nll.error}, 1e-6);
	near("reference", e.reference_perplexity,
		(aqz_mean){exp(reference.mean), exp(reference.mean) * reference.error}, 1e-6);
	near("kl", e.kl, mean_of(&f.kl), 1e-6);
	near("agreement", e.top1_agreement, mean_of(&f.agree), 1e-12);
	ck_assert(e.has_reference && e.kl.mean > 0.01 && e.top1_agreement.mean < 0.9);
	ck_assert(e.bits_per_byte.mean == 0 && e.seconds >= 0);
	/* Bits are those of all predictions over the bytes of the text. */
	w.n_bytes = 321;
	alone = evaluate(m, NULL, &w, 1, 0);
	near("bits", alone.bits_per_byte,
		(aqz_mean){nll.mean * 162 / log(2) / 321, nll.error * 162 / log(2) / 321}, 1e-6);
	ck_assert(!alone.has_reference && alone.kl.mean == 0 && alone.nll.mean == e.nll.mean);
	aqz_model_close(m);
	aqz_model_close(r);
	aqz_windows_free(&w);
}
END_TEST

START_TEST(a_model_is_its_own_reference)
{
	static const uint32_t lengths[] = {64, 31};
	aqz_windows w = make_windows(lengths, 2);
	aqz_model *m = open_model("qwen3");
	aqz_evaluation e = evaluate(m, m, &w, 2, 0);

	ck_assert(e.kl.mean == 0 && e.kl.error == 0);
	ck_assert(e.top1_agreement.mean == 1 && e.top1_agreement.error == 0);
	ck_assert(e.reference_perplexity.mean == e.perplexity.mean);
	aqz_model_close(m);
	aqz_windows_free(&w);
}
END_TEST

/* More tokens than one batch and more positions than one block of logits have. */
START_TEST(threads_and_memory_do_not_matter)
{
	uint32_t lengths[70];

	for (uint32_t i = 0; i < 70; i++)
		lengths[i] = 2 + i * 29 % 63;
	aqz_windows w = make_windows(lengths, 70);
	aqz_model *m = open_model("llama"), *r = open_model("llama-bias");
	plain_figures f = plainly(m, r, &w);
	aqz_evaluation e = evaluate(m, r, &w, 1, 0), other;
	aqz_evaluate_options opt = {.struct_size = sizeof opt, .n_threads = 1, .memlimit_bytes = 1 << 14};
	aqz_error err = {0};
	uint64_t limit = 1 << 14;

	ck_assert_uint_gt(w.begin[70], 2048);
	near("nll", e.nll, mean_of(&f.nll), 1e-6);
	near("kl", e.kl, mean_of(&f.kl), 1e-6);
	for (unsigned threads = 2; threads < 5; threads++) {
		other = evaluate(m, r, &w, threads, 0);
		other.seconds = e.seconds;
		ck_assert_mem_eq(&other, &e, sizeof e);
	}
	/* The least memory that is enough has room for one window at a time. */
	ck_assert_int_eq(aqz_evaluate(&other, m, r, &w, &opt, &err), AQZ_E_MEMLIMIT);
	do {
		limit += limit / 8;
		opt.memlimit_bytes = limit;
	} while (aqz_evaluate(&other, m, r, &w, &opt, &err) == AQZ_E_MEMLIMIT && limit < 1 << 28);
	near("nll in little memory", other.nll, e.nll, 1e-6);
	near("kl in little memory", other.kl, e.kl, 1e-6);
	ck_assert_uint_eq(other.n_predictions, e.n_predictions);
	aqz_model_close(m);
	aqz_model_close(r);
	aqz_windows_free(&w);
}
END_TEST

static bool count_ticks(void *user, uint64_t done, uint64_t total)
{
	uint64_t *last = user;

	ck_assert(done >= *last && done <= total && total == 96);
	*last = done;
	return true;
}

static bool stop_halfway(void *user, uint64_t done, uint64_t total)
{
	(void)user;
	return done < total / 2;
}

START_TEST(progress)
{
	static const uint32_t lengths[] = {64, 32};
	aqz_windows w = make_windows(lengths, 2);
	aqz_model *m = open_model("llama");
	uint64_t last = 0;
	aqz_evaluate_options opt = {
		.struct_size = sizeof opt, .n_threads = 1, .progress = count_ticks, .progress_user = &last};
	aqz_evaluation e;
	aqz_error err = {0};

	ck_assert_int_eq(aqz_evaluate(&e, m, NULL, &w, &opt, &err), AQZ_OK);
	ck_assert_uint_eq(last, 96);
	opt.progress = stop_halfway;
	ck_assert_int_eq(aqz_evaluate(&e, m, NULL, &w, &opt, &err), AQZ_E_CANCELLED);
	aqz_model_close(m);
	aqz_windows_free(&w);
}
END_TEST

START_TEST(what_is_refused)
{
	static const uint32_t good[] = {8, 8}, too_long[] = {8, CONTEXT + 1}, too_short[] = {8, 1};
	aqz_model *m = open_model("llama"), *other = open_model("qwen2");
	aqz_evaluate_options opt = {.struct_size = sizeof opt - 1};
	aqz_windows w = make_windows(good, 2), bad;
	aqz_evaluation e;
	aqz_error err = {0};

	ck_assert_int_eq(aqz_evaluate(&e, m, NULL, &w, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.struct_size");
	ck_assert_int_eq(aqz_evaluate(&e, m, other, &w, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "reference");
	ck_assert_ptr_nonnull(strstr(err.text, "68"));
	w.ids[11] = VOCABULARY;
	ck_assert_int_eq(aqz_evaluate(&e, m, NULL, &w, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(err.text, "token 3 of window 1 is 64"));
	w.n_windows = 0;
	ck_assert_int_eq(aqz_evaluate(&e, m, NULL, &w, NULL, &err), AQZ_E_ARGUMENT);
	bad = make_windows(too_long, 2);
	ck_assert_int_eq(aqz_evaluate(&e, m, NULL, &bad, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(err.text, "window 1 has 65 tokens"));
	aqz_windows_free(&bad);
	bad = make_windows(too_short, 2);
	ck_assert_int_eq(aqz_evaluate(&e, m, NULL, &bad, NULL, &err), AQZ_E_ARGUMENT);
	aqz_windows_free(&bad);
	aqz_windows_free(&w);
	aqz_model_close(m);
	aqz_model_close(other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("evaluate");
	TCase *t = tcase_create("evaluate");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, figures_are_those_of_a_plain_computation);
	tcase_add_test(t, a_model_is_its_own_reference);
	tcase_add_test(t, threads_and_memory_do_not_matter);
	tcase_add_test(t, progress);
	tcase_add_test(t, what_is_refused);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
