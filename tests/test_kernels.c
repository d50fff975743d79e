/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the encoder's search: every variant that this machine runs gives what the header says, to the bit,
 * on random and on hard values. */
#include <check.h>
#include <math.h>

#include "codec/encode/kernels.h"
#include "tests/support.h"

#define MOST 320
#define D 64

/* Kinds of values: random; few different ones, so that there are ties; hard ones. No NaN: no codebook gives any. */
static void fill(float *v, size_t n, int kind, noise *r)
{
	static const float hard[] = {0.0f, -0.0f, 0x1p-149f, -0x1p-149f, 0x1p-126f, 1e38f, -1e38f, 1.0f, -1.0f, 3e-20f};

	for (size_t i = 0; i < n; i++) {
		const uint64_t u = noise_next(r);

		if (kind == 0)
			v[i] = (float)(int32_t)(u >> 32) * 0x1p-30f;
		else if (kind == 1)
			v[i] = (float)(u % 3) - 1;
		else
			v[i] = hard[u / 4 % (sizeof hard / sizeof *hard)];
	}
}

static bool bits_equal(float a, float b)
{
	return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void equal(const float *got, const float *due, size_t n, const char *what, const aqz_kernels *k)
{
	for (size_t i = 0; i < n; i++)
		if (!bits_equal(got[i], due[i]))
			ck_abort_msg("%s, %s: [%zu] is %a, not %a", k->name, what, i, (double)got[i], (double)due[i]);
}

/* All kernels on one set of values. Arrays start off any alignment. */
static void all_agree(const aqz_kernels *k, size_t n, unsigned d, int kind, noise *r)
{
	static float table[D * MOST + 1], norms[MOST + 1], x[4 * D + 1], out[4 * MOST + 65], due[4 * MOST];
	const float *rows[12], *t = table + 1, *h = norms + 1, *v = x + 1;
	float base[4], least, greatest, low = INFINITY, high = -INFINITY;
	uint32_t index[MOST];
	size_t found = 0, at = 0;

	fill(table, D * MOST + 1, kind, r);
	fill(norms, MOST + 1, kind, r);
	fill(x, 4 * D + 1, kind, r);
	fill(base, 4, kind, r);
	/* Padding at the end, as in a search table. */
	norms[n] = INFINITY;
	for (size_t p = 0; p < 4; p++)
		for (size_t i = 0; i < n; i++) {
			float sum = h[i];

			for (unsigned j = 0; j < d; j++)
				sum -= v[p * D + j] * t[j * MOST + i];
			due[p * MOST + i] = sum;
		}
	for (size_t i = 0; i < 4 * MOST + 65; i++)
		out[i] = 777;
	k->dots4(out, MOST, v, D, t, MOST, h, n, d);
	for (size_t p = 0; p < 4; p++) {
		equal(out + p * MOST, due + p * MOST, n, "dots4", k);
		ck_assert(n == MOST || out[p * MOST + n] == 777);
	}
	k->dots1(out, v, t, MOST, h, n, d);
	equal(out, due, n, "dots1", k);
	for (unsigned i = 0; i < 12; i++)
		rows[i] = t + i * MOST;
	for (unsigned n_rows = 0; n_rows <= 7; n_rows++) {
		for (size_t i = 0; i < n; i++) {
			due[i] = h[i] + base[0];
			for (unsigned j = 0; j < n_rows; j++)
				due[i] += rows[j][i];
		}
		k->add_rows(out, h, base[0], rows, n_rows, n);
		equal(out, due, n, "add_rows", k);
	}
	for (unsigned n_rows = 1; n_rows <= 3; n_rows++)
		for (unsigned beams = 1; beams <= 4; beams++) {
			k->min_rows(out, base, rows, beams, n_rows, n);
			for (size_t i = 0; i < n; i++) {
				due[i] = INFINITY;
				for (unsigned b = 0; b < beams; b++) {
					float sum = base[b] + rows[b * n_rows][i];

					for (unsigned j = 1; j < n_rows; j++)
						sum += rows[b * n_rows + j][i];
					due[i] = sum < due[i] ? sum : due[i];
				}
			}
			equal(out, due, n, "min_rows", k);
		}
	memcpy(out, t, n * sizeof *out);
	k->min_into(out, h, base[1], n);
	for (size_t i = 0; i < n; i++)
		due[i] = h[i] + base[1] < t[i] ? h[i] + base[1] : t[i];
	equal(out, due, n, "min_into", k);
	for (int i = 0; i < 3; i++) {
		const float threshold = i == 0 ? h[n / 2] : i == 1 ? INFINITY : -INFINITY;

		found = 0;
		ck_assert_uint_le(k->below(index, h, threshold, n), n);
		for (size_t q = 0; q < n; q++)
			if (h[q] < threshold)
				ck_assert_uint_eq(index[found++], q);
		ck_assert_uint_eq(k->below(index, h, threshold, n), found);
		ck_assert_uint_eq(k->count_below(h, threshold, n), found);
	}
	/* Of two zeros either may be called the least. */
	for (size_t i = 0; i < n; i++) {
		low = h[i] < low ? h[i] : low;
		high = h[i] > high ? h[i] : high;
	}
	k->min_max(&least, &greatest, h, n);
	ck_assert(least == low && greatest == high);
	for (size_t i = 0; i < n; i++)
		at = h[n - 1 - i] == low ? n - 1 - i : at;
	ck_assert(k->least(h, n) == low);
	ck_assert_uint_eq(k->find(h, low, n), at);
	ck_assert_uint_eq(k->find(h, NAN, n), 0);
}

START_TEST(variants_give_the_same_bits)
{
	static const unsigned dims[] = {1, 2, 3, 7, 8, 9, 16, 33, 64};
	noise r = {90210};
	unsigned i = 0;

	ck_assert_ptr_nonnull(aqz_kernels_get(0));
	for (; aqz_kernels_get(i) != NULL; i++)
		for (size_t n = AQZ_LANES; n <= MOST; n += AQZ_LANES)
			for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
				for (int kind = 0; kind < 3; kind++)
					all_agree(aqz_kernels_get(i), n, dims[d], kind, &r);
	ck_assert_ptr_eq(aqz_kernels_best(), aqz_kernels_get(i - 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kernels");
	TCase *t = tcase_create("kernels");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, variants_give_the_same_bits);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
