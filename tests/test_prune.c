/* SPDX-License-Identifier: Apache-2.0 */
/* The pruned search gives the codes of the exhaustive one, to the last tie, whatever the values are, with
 * every variant of the kernels. */
#include <check.h>
#include <math.h>

#include "base/base.h"
#include "codec/encode/prune.h"
#include "tests/support.h"

#define N 300

static aqz_error err;

static double uniform(noise *r)
{
	return ((double)(noise_next(r) >> 11) + 0.5) * 0x1p-53;
}

static float gauss(noise *r)
{
	const double length = sqrt(-2 * log(uniform(r)));

	return (float)(length * cos(6.283185307179586 * uniform(r)));
}

/* ---- Codebooks and vectors that may be hard. Vectors are made after the codebook. */

typedef void make_fn(float *codewords, float *x, size_t n, unsigned d, noise *r);

static void make_gauss(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	for (size_t i = 0; i < n * d; i++)
		codewords[i] = gauss(r);
	for (size_t i = 0; i < (size_t)N * d; i++)
		x[i] = gauss(r);
}

/* In a metric of condition 1e5: each value counts less than the one before it. */
static void make_long(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	for (size_t i = 0; i < (n + N) * d; i++) {
		float *v = i < n * d ? codewords + i : x + (i - n * d);

		*v *= (float)pow(10, -5.0 * (double)(i % d) / d);
	}
}

static float cauchy(noise *r)
{
	return (float)tan(3.141592653589793 * (uniform(r) - 0.5));
}

static void make_heavy(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	for (size_t i = 0; i < n * d; i++)
		codewords[i] = cauchy(r);
	for (size_t i = 0; i < (size_t)N * d; i++)
		x[i] = cauchy(r);
}

/* Far and tight clusters, where rounding of scores is larger than their differences. */
static void make_clusters(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	float centres[7 * AQZ_MAX_CODEWORD];

	for (size_t i = 0; i < 7 * (size_t)d; i++)
		centres[i] = 100 * gauss(r);
	for (size_t k = 0; k < n + N; k++) {
		const float *centre = centres + noise_next(r) % 7 * d;
		float *v = k < n ? codewords + k * d : x + (k - n) * d;

		for (unsigned j = 0; j < d; j++)
			v[j] = centre[j] + 1e-3f * gauss(r);
	}
}

/* Few different values, so that most scores have equals; vectors on codewords and between them. */
static void make_ties(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	for (size_t i = 0; i < n * d; i++)
		codewords[i] = (float)(noise_next(r) % 3) - 1;
	for (size_t i = 0; i < (size_t)N * d; i++)
		x[i] = ((float)(noise_next(r) % 5) - 2) / 2;
}

/* Each codeword many times, in no order. */
static void make_doubles(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	for (size_t k = 200; k < n; k++)
		memcpy(codewords + k * d, codewords + noise_next(r) % 200 * d, d * sizeof *x);
	for (size_t i = 0; i < N; i += 2)
		memcpy(x + i * d, codewords + noise_next(r) % n * d, d * sizeof *x);
}

static void make_zero(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	memset(codewords, 0, n * d * sizeof *x);
}

/* All values but the first are 0: a single axis. */
static void make_line(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	for (size_t i = 0; i < n * d; i++)
		codewords[i] = i % d == 0 ? codewords[i] : 0;
}

/* Sorted, with one far outlier: no order makes the tree slow or wrong. */
static void make_sorted(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	for (size_t i = 0; i < n * d; i++)
		codewords[i] = (float)(i / d) / (float)n + 1e-4f * codewords[i];
	codewords[(n / 2) * d] = 1e6f;
	for (size_t i = 0; i < (size_t)N * d; i++)
		x[i] = i % d == 0 ? x[i] : x[i - 1] + 1e-4f * x[i];
}

static void scale(float *codewords, float *x, size_t n, unsigned d, float by, float x_by)
{
	for (size_t i = 0; i < n * d; i++)
		codewords[i] *= by;
	for (size_t i = 0; i < (size_t)N * d; i++)
		x[i] *= x_by;
}

/* Scores are subnormal, or round to 0. */
static void make_tiny(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	scale(codewords, x, n, d, 1e-21f, 1e-21f);
}

static void make_subnormal(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	scale(codewords, x, n, d, 1e-39f, 1);
}

/* The largest that the bounds take. */
static void make_large(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	scale(codewords, x, n, d, 1e16f, 1e16f);
}

/* Codewords, or some vectors, whose squares overflow. */
static void make_huge(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	scale(codewords, x, n, d, 1e19f, 1);
}

static void make_huge_x(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	for (size_t i = 0; i < (size_t)N * d; i += 3 * d + 1)
		x[i] *= 1e25f;
}

/* Of very different lengths: |x| far above |c|, and the other way round. */
static void make_far(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	scale(codewords, x, n, d, 1, 1e9f);
}

static void make_near(float *codewords, float *x, size_t n, unsigned d, noise *r)
{
	make_gauss(codewords, x, n, d, r);
	scale(codewords, x, n, d, 1, 1e-9f);
}

static const struct kind {
	const char *name;
	make_fn *make;
} kinds[] = {
	{"gauss", make_gauss},
	{"long", make_long},
	{"heavy", make_heavy},
	{"clusters", make_clusters},
	{"ties", make_ties},
	{"doubles", make_doubles},
	{"zero", make_zero},
	{"line", make_line},
	{"sorted", make_sorted},
	{"tiny", make_tiny},
	{"subnormal", make_subnormal},
	{"large", make_large},
	{"huge", make_huge},
	{"huge vectors", make_huge_x},
	{"far", make_far},
	{"near", make_near},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

/* ---- Both searches */

typedef struct both {
	aqz_scheme scheme;
	aqz_budget budget;
	aqz_search search;
	aqz_prune prune;
	unsigned d;
	size_t n_codewords;
	float *codewords, *x; /* x: [N][d + 3] in use of it: d */
	void *scratch;
} both;

static void both_create(both *b, const char *scheme, const aqz_kernels *kernels)
{
	*b = (both){.budget = {0, 0}};
	ck_assert_int_eq(aqz_scheme_parse(&b->scheme, scheme, &err), AQZ_OK);
	ck_assert(aqz_prune_possible(&b->scheme));
	ck_assert_int_eq(aqz_search_create(&b->search, &b->scheme, kernels, &b->budget, &err), AQZ_OK);
	ck_assert_int_eq(aqz_prune_create(&b->prune, &b->scheme, kernels, &b->budget, &err), AQZ_OK);
	ck_assert_uint_eq(
		b->budget.used_bytes, aqz_search_bytes(&b->scheme) + aqz_prune_bytes(&b->scheme));
	b->d = aqz_codeword(&b->scheme);
	b->n_codewords = (size_t)1 << b->scheme.code_bits;
	b->codewords = sure_alloc(b->n_codewords * b->d * sizeof *b->codewords);
	b->x = sure_alloc((size_t)N * b->d * sizeof *b->x);
	b->scratch = aligned_alloc(64, (aqz_search_scratch_bytes(&b->scheme, 1) + 63) / 64 * 64);
	SURE(b->scratch != NULL);
}

static void both_free(both *b)
{
	aqz_prune_free(&b->prune, &b->budget);
	aqz_search_free(&b->search, &b->budget);
	ck_assert_uint_eq(b->budget.used_bytes, 0);
	free(b->codewords);
	free(b->x);
	free(b->scratch);
}

static void agree(both *b, unsigned m, const float *mask, const char *what)
{
	uint16_t due[N], got[3 * N];

	aqz_search_set_codebook(&b->search, m, b->codewords, mask);
	aqz_prune_load(&b->prune, &b->search, m, b->codewords, mask, 2);
	aqz_search_nearest(&b->search, m, due, 1, b->x, b->d, N, b->scratch);
	memset(got, 0x5a, sizeof got);
	/* Alone and together. */
	for (size_t i = 0; i < 8; i++)
		aqz_prune_nearest(&b->prune, got + 3 * i, 3, b->x + i * b->d, b->d, 1, b->scratch);
	aqz_prune_nearest(&b->prune, got + 24, 3, b->x + (size_t)8 * b->d, b->d, N - 8, b->scratch);
	for (size_t i = 0; i < N; i++) {
		if (got[3 * i] != due[i])
			ck_abort_msg("%s, %s: vector %zu has code %u, not %u", b->search.kernels->name, what, i,
				got[3 * i], due[i]);
		ck_assert(got[3 * i + 1] == 0x5a5a && got[3 * i + 2] == 0x5a5a);
	}
}

static void all_kinds(const char *scheme, const aqz_kernels *kernels)
{
	noise r = {4711};
	both b;

	both_create(&b, scheme, kernels);
	for (size_t i = 0; i < N_KINDS; i++) {
		char what[64];

		snprintf(what, sizeof what, "%s, %s", scheme, kinds[i].name);
		kinds[i].make(b.codewords, b.x, b.n_codewords, b.d, &r);
		agree(&b, 0, NULL, what);
	}
	both_free(&b);
}

START_TEST(same_codes_in_all_variants)
{
	const aqz_kernels *kernels;

	for (unsigned i = 0; (kernels = aqz_kernels_get(i)) != NULL; i++) {
		all_kinds("1x12g8", kernels);
		all_kinds("1x13g5", kernels);
	}
}
END_TEST

START_TEST(same_codes_of_all_sizes)
{
	static const char *const schemes[] = {
		"1x12g1", "1x12g2", "1x12g3", "1x12g4", "1x14g16", "1x12g64", "1x15g8", "1x16g8", "1x16g4"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		all_kinds(schemes[i], aqz_kernels_best());
}
END_TEST

/* The second of two codebooks, values that have no weight, and loads one after another. */
START_TEST(masks_and_codebooks)
{
	static const float mask[8] = {1, 0, 1, 1, 0, 0, 1, 1};
	noise r = {99};
	both b;

	both_create(&b, "2x12g8", aqz_kernels_best());
	for (unsigned i = 0; i < 4; i++) {
		make_gauss(b.codewords, b.x, b.n_codewords, b.d, &r);
		/* What is masked may be anything. */
		for (size_t k = 1; i == 3 && k < b.n_codewords * b.d; k += b.d)
			b.codewords[k] = k % 3 == 0 ? NAN : INFINITY;
		agree(&b, i % 2, i / 2 != 0 ? mask : NULL, "mask");
	}
	both_free(&b);
}
END_TEST

/* Infinite codewords, vectors with infinities and NaN: nothing is promised but the same. */
START_TEST(not_finite)
{
	noise r = {5};
	both b;

	both_create(&b, "1x12g8", aqz_kernels_best());
	make_gauss(b.codewords, b.x, b.n_codewords, b.d, &r);
	for (size_t i = 0; i < N; i += 5)
		b.x[i * b.d + i % b.d] = i % 2 == 0 ? INFINITY : NAN;
	agree(&b, 0, NULL, "vectors that are not finite");
	b.codewords[100] = INFINITY;
	agree(&b, 0, NULL, "infinite codeword");
	b.codewords[100] = NAN;
	b.codewords[30000] = 3;
	agree(&b, 0, NULL, "NaN in a codeword");
	both_free(&b);
}
END_TEST

/* It prunes: were all codewords looked at, the codes would be right too. */
START_TEST(looks_at_few)
{
	noise r = {17};
	both b;

	both_create(&b, "1x15g8", aqz_kernels_best());
	make_gauss(b.codewords, b.x, b.n_codewords, b.d, &r);
	aqz_search_set_codebook(&b.search, 0, b.codewords, NULL);
	aqz_prune_load(&b.prune, &b.search, 0, b.codewords, NULL, 1);
	ck_assert_uint_lt(aqz_prune_count(&b.prune, b.x, b.d, N), N * b.n_codewords / 10);
	make_long(b.codewords, b.x, b.n_codewords, b.d, &r);
	aqz_search_set_codebook(&b.search, 0, b.codewords, NULL);
	aqz_prune_load(&b.prune, &b.search, 0, b.codewords, NULL, 1);
	ck_assert_uint_lt(aqz_prune_count(&b.prune, b.x, b.d, N), N * b.n_codewords / 100);
	both_free(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("prune");
	TCase *t = tcase_create("prune");

	tcase_set_timeout(t, 300);
	tcase_add_test(t, same_codes_in_all_variants);
	tcase_add_test(t, same_codes_of_all_sizes);
	tcase_add_test(t, masks_and_codebooks);
	tcase_add_test(t, not_finite);
	tcase_add_test(t, looks_at_few);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
