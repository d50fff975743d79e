/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing tokens: which ones a filter leaves and how often each comes, against sorted lists; seeds; numbers that are
 * none. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip_model.h"

enum { N = 48, DRAWS = 3000 };

static uint32_t draw(const float *logits, uint32_t n, aqz_sampling s, uint64_t *state)
{
	float copy[N];

	memcpy(copy, logits, n * sizeof *copy);
	return aqz_sample(copy, n, &s, state);
}

/* ---- What should come: probabilities by sorting, filter by filter */

typedef struct item {
	uint32_t id;
	double p;
} item;

static int by_probability(const void *a, const void *b)
{
	const item *x = a, *y = b;

	return x->p != y->p ? (x->p < y->p ? 1 : -1) : x->id < y->id ? -1 : 1;
}

static void normalise(item *items, uint32_t n)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += items[i].p;
	for (uint32_t i = 0; i < n; i++)
		items[i].p /= sum;
}

/* probability[id] of each token. */
static void expect(double *probability, const float *logits, uint32_t n, const aqz_sampling *s)
{
	item items[N];
	uint32_t kept = n;
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		items[i] = (item){i, exp((double)logits[i] / s->temperature)};
	qsort(items, n, sizeof *items, by_probability);
	if (s->top_k != 0 && s->top_k < kept)
		kept = s->top_k;
	normalise(items, kept);
	if (s->top_p > 0 && s->top_p < 1) {
		uint32_t i = 0;

		while (i < kept && sum < s->top_p)
			sum += items[i++].p;
		kept = i;
		normalise(items, kept);
	}
	if (s->min_p > 0)
		while (items[kept - 1].p < s->min_p * items[0].p)
			kept--;
	normalise(items, kept);
	for (uint32_t i = 0; i < n; i++)
		probability[items[i].id] = i < kept ? items[i].p : 0;
}

/* Counts of many draws are those of a multinomial distribution, each within 5 standard deviations. */
static void compare(const float *logits, uint32_t n, aqz_sampling s)
{
	double p[N];
	uint32_t counts[N] = {0};
	uint64_t state = s.seed;

	expect(p, logits, n, &s);
	for (int i = 0; i < DRAWS; i++) {
		uint32_t id = draw(logits, n, s, &state);

		ck_assert_uint_lt(id, n);
		counts[id]++;
	}
	for (uint32_t i = 0; i < n; i++) {
		double deviation = 5 * sqrt(DRAWS * p[i] * (1 - p[i])) + (p[i] > 0 ? 1 : 0);

		ck_assert_msg(fabs(counts[i] - DRAWS * p[i]) <= deviation,
			"k %u p %g min %g t %g: token %u came %u times, not %.1f", s.top_k, (double)s.top_p,
			(double)s.min_p, (double)s.temperature, i, counts[i], DRAWS * p[i]);
	}
}

static const aqz_sampling filters[] = {
	{.temperature = 1},
	{.temperature = 0.6f, .seed = 1},
	{.temperature = 3, .seed = UINT64_MAX},
	{.temperature = 1, .top_k = 1},
	{.temperature = 1, .top_k = 5, .seed = 3},
	{.temperature = 1, .top_k = N + 1, .seed = 4},
	{.temperature = 1, .top_p = 0.03f, .seed = 5},
	{.temperature = 1, .top_p = 0.5f, .seed = 6},
	{.temperature = 1, .top_p = 0.97f, .seed = 7},
	{.temperature = 1, .top_p = 1, .seed = 8},
	{.temperature = 1, .min_p = 0.1f, .seed = 9},
	{.temperature = 1, .min_p = 1, .seed = 10},
	{.temperature = 2, .top_k = 20, .top_p = 0.7f, .min_p = 0.3f, .seed = 11},
	{.temperature = 0.9f, .top_k = 9, .top_p = 0.9f, .seed = 12},
};

START_TEST(filters_keep_what_they_should)
{
	float logits[N];
	uint64_t state = 1;

	for (uint32_t i = 0; i < N; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		logits[i] = (float)(state >> 40) / 4194304.0f;
	}
	compare(logits, N, filters[_i]);
	/* Many equals: a border goes through the middle of them. */
	for (uint32_t i = 0; i < N; i++)
		logits[i] = (float)((i * 7) % 5);
	compare(logits, N, filters[_i]);
	/* A few tokens, one of them nearly alone. */
	logits[0] = -2;
	logits[1] = 12;
	logits[2] = 12.5f;
	compare(logits, 3, filters[_i]);
	compare(logits, 1, filters[_i]);
}
END_TEST

START_TEST(greedy)
{
	static const float logits[] = {-1, 3, 2, 3, NAN, -INFINITY};
	float none[] = {NAN, NAN, NAN};
	float high[] = {1, INFINITY, INFINITY, 2}, low[] = {NAN, -INFINITY, NAN};
	uint64_t state = 77;
	aqz_sampling s = {.temperature = 0, .top_k = 2, .top_p = 0.1f};

	ck_assert_uint_eq(draw(logits, 6, s, &state), 1);
	s.temperature = -1;
	ck_assert_uint_eq(draw(logits, 6, s, &state), 1);
	s.temperature = NAN;
	ck_assert_uint_eq(draw(logits, 6, s, &state), 1);
	ck_assert_uint_eq(draw(none, 3, s, &state), 0);
	ck_assert_uint_eq(state, 77);
	s = (aqz_sampling){.temperature = 1};
	/* Nothing to weigh: the likeliest. */
	ck_assert_uint_eq(draw(none, 3, s, &state), 0);
	ck_assert_uint_eq(draw(high, 4, s, &state), 1);
	ck_assert_uint_eq(draw(low, 3, s, &state), 1);
	ck_assert_uint_eq(aqz_sample(none, 0, &s, &state), AQZ_NO_TOKEN);
	/* NaN never comes, nor do extremes of the temperature matter. */
	for (int i = 0; i < 1000; i++) {
		s.temperature = i % 3 == 0 ? INFINITY : i % 3 == 1 ? 1e-45f : 1e38f;
		uint32_t id = draw(logits, 6, s, &state);

		ck_assert(id != 4 && id < 6 && (i % 3 != 1 || id == 1 || id == 3));
	}
}
END_TEST

START_TEST(seeds)
{
	float logits[N];
	uint64_t a = 9, b = 9, c = 10;
	uint32_t differ = 0;
	aqz_sampling s = {.temperature = 1};

	for (uint32_t i = 0; i < N; i++)
		logits[i] = (float)i / N;
	for (int i = 0; i < 200; i++) {
		uint32_t id = draw(logits, N, s, &a);

		ck_assert_uint_eq(draw(logits, N, s, &b), id);
		differ += draw(logits, N, s, &c) != id;
	}
	ck_assert_uint_gt(differ, 150);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sample");
	TCase *t = tcase_create("sample");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, filters_keep_what_they_should, 0, sizeof filters / sizeof *filters);
	tcase_add_test(t, greedy);
	tcase_add_test(t, seeds);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
