/* SPDX-License-Identifier: Apache-2.0 */
/* The model's inner loops against binary64, all variants, all lengths near the width of vectors, in memory that ends at
 * pages that nobody may touch. */
#include <check.h>
#include <math.h>

#include "base/float.h"
#include "model/kernels.h"
#include "tests/guard_page.h"

#define LONGEST 150

static const aqz_math *variant; /* of the test that runs */

static float random_float(noise *r)
{
	return (float)(int32_t)(noise_next(r) >> 32) / 0x1p30f;
}

/* n floats that end at a guard page. */
static float *some(paged *p, size_t n, noise *r)
{
	float *v;

	*p = paged_alloc(n * sizeof *v);
	v = p->data;
	for (size_t i = 0; i < n; i++)
		v[i] = random_float(r);
	return v;
}

/* The error of got in units of the last place of want. */
static double ulps(float got, double want)
{
	int exponent;

	frexp(want, &exponent);
	if (exponent < -125)
		exponent = -125;
	return fabs(got - want) / ldexp(1, exponent - 24);
}

START_TEST(exponential)
{
	double worst = 0;
	float x[64], y[64];

	variant = aqz_math_get((unsigned)_i);
	if (variant == NULL)
		return;
	/* Normal results: 2 ulp. */
	for (double at = -87.3; at < 88.7; at += 1.3e-4 * 64) {
		for (unsigned i = 0; i < 64; i++)
			x[i] = (float)(at + 1.3e-4 * i);
		variant->exp_shift(y, x, 0, 64);
		for (unsigned i = 0; i < 64; i++)
			worst = x[i] < 88.7f && ulps(y[i], exp((double)x[i])) > worst
				? ulps(y[i], exp((double)x[i]))
				: worst;
	}
	ck_assert_msg(worst <= 2, "%s: %.3f ulp", variant->name, worst);
	/* Subnormal ones too: the last step rounds once more. */
	for (double at = -104; at < -87; at += 1e-3) {
		x[0] = (float)at;
		variant->exp_shift(y, x, 0, 1);
		ck_assert_double_le(fabs(y[0] - exp((double)x[0])), 2 * 0x1p-149);
	}
	const float edge[] = {0, -0.0f, -200, -3e38f, -INFINITY, 89, 3e38f, INFINITY, NAN, 1e-30f};
	const float sum = variant->exp_shift(y, edge, 0, 10);
	ck_assert(y[0] == 1 && y[1] == 1 && y[2] == 0 && y[3] == 0 && y[4] == 0 && y[9] == 1);
	ck_assert(y[5] == INFINITY && y[6] == INFINITY && y[7] == INFINITY && isnan(y[8]) && isnan(sum));
}
END_TEST

START_TEST(dot_products)
{
	noise r = {3};

	variant = aqz_math_get((unsigned)_i);
	if (variant == NULL)
		return;
	for (size_t n = 0; n < LONGEST; n++) {
		paged pw, px, ph, pb, pwide;
		float *w = some(&pw, n, &r), *x = some(&px, n, &r), *wide;
		uint16_t *h, *b;
		double sum = 0, sum_h = 0, sum_b = 0, size = 0;

		ph = paged_alloc(2 * n), pb = paged_alloc(2 * n), pwide = paged_alloc(4 * n);
		h = ph.data, b = pb.data, wide = pwide.data;
		for (size_t i = 0; i < n; i++) {
			h[i] = aqz_f32_to_f16(w[i] * (i % 5 == 0 ? 0x1p-17f : 1)); /* some subnormal */
			b[i] = aqz_f32_to_bf16(w[i]);
			sum += (double)w[i] * x[i];
			sum_h += (double)aqz_f16_to_f32(h[i]) * x[i];
			sum_b += (double)aqz_bf16_to_f32(b[i]) * x[i];
			size += fabs((double)w[i] * x[i]);
		}
		const double bound = size * ((double)n + 1) * 0x1p-24 + 1e-30;
		ck_assert_double_le(fabs(variant->dot(w, x, n) - sum), bound);
		ck_assert_double_le(fabs(variant->dot_f16(h, x, n) - sum_h), bound);
		ck_assert_double_le(fabs(variant->dot_bf16(b, x, n) - sum_b), 1.01 * bound);

		/* Widening is exact, rounding that of base/float.h. */
		memset(wide, 0xff, 4 * n);
		variant->widen_f16(wide, h, n);
		for (size_t i = 0; i < n; i++)
			ck_assert_uint_eq(aqz_f32_bits(wide[i]), aqz_f32_bits(aqz_f16_to_f32(h[i])));
		variant->widen_bf16(wide, b, n);
		for (size_t i = 0; i < n; i++)
			ck_assert_uint_eq(aqz_f32_bits(wide[i]), (uint32_t)b[i] << 16);
		memcpy(wide, w, 4 * n);
		variant->round_bf16(wide, n);
		for (size_t i = 0; i < n; i++)
			ck_assert_uint_eq(aqz_f32_bits(wide[i]), (uint32_t)b[i] << 16);
		for (size_t i = 0; i < n; i++)
			wide[i] = w[i] *
				(i % 5 == 0			 ? 0x1p-17f
						: i % 7 == 0 ? 0x1p15f
									 : 1); /* subnormal, infinite */
		memcpy(w, wide, 4 * n);
		variant->round_f16(wide, n);
		for (size_t i = 0; i < n; i++)
			ck_assert_uint_eq(
				aqz_f32_bits(wide[i]), aqz_f32_bits(aqz_f16_to_f32(aqz_f32_to_f16(w[i]))));
		paged_free(&pw), paged_free(&px), paged_free(&ph), paged_free(&pb), paged_free(&pwide);
	}
}
END_TEST

/* Values between 16-bit floats, and halfway: as base/float.h rounds them. */
START_TEST(rounding)
{
	static const uint32_t rests[] = {0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff,
		2, 3, 0x2000, 0x3000, 0x4000, 0xc000, 0xe000, 0xf000, 0xfffe};
	enum { N = sizeof rests / sizeof *rests };
	float x[N], y[N], z[N];

	variant = aqz_math_get((unsigned)_i);
	if (variant == NULL)
		return;
	for (uint32_t high = 0; high < 0x10000; high++) {
		if ((high & 0x7f80) == 0x7f80 && high != 0x7f80 && high != 0xff80)
			continue;
		for (int i = 0; i < N; i++)
			x[i] = aqz_f32_from_bits((high & 0x7f80) == 0x7f80 ? high << 16 : high << 16 | rests[i]);
		memcpy(y, x, sizeof x);
		memcpy(z, x, sizeof x);
		variant->round_bf16(y, N);
		variant->round_f16(z, N);
		for (int i = 0; i < N; i++) {
			ck_assert_uint_eq(aqz_f32_bits(y[i]), (uint32_t)aqz_f32_to_bf16(x[i]) << 16);
			ck_assert_uint_eq(aqz_f32_bits(z[i]), aqz_f32_bits(aqz_f16_to_f32(aqz_f32_to_f16(x[i]))));
		}
	}
	for (int i = 0; i < N; i++)
		y[i] = z[i] = aqz_f32_from_bits(AQZ_F32_NAN);
	variant->round_bf16(y, N);
	variant->round_f16(z, N);
	for (int i = 0; i < N; i++)
		ck_assert(aqz_f32_bits(y[i]) == AQZ_F32_NAN && aqz_f32_bits(z[i]) == AQZ_F32_NAN);
}
END_TEST

/* Rows at a distance, some of which are no multiple of those taken at a time. */
START_TEST(rows_of_binary32)
{
	noise r = {6};

	variant = aqz_math_get((unsigned)_i);
	if (variant == NULL)
		return;
	for (size_t n = 1; n < LONGEST; n += n < 70 ? 1 : 13)
		for (size_t n_rows = 0; n_rows < 10; n_rows++) {
			const size_t ld = n + n_rows % 3;
			paged px, pr, py, pa;
			float *x = some(&px, n, &r),
				  *rows = some(&pr, n_rows == 0 ? 0 : (n_rows - 1) * ld + n, &r);
			float *y = some(&py, n_rows, &r), *a = some(&pa, n_rows, &r);

			variant->dots(y, x, rows, ld, n_rows, n);
			for (size_t j = 0; j < n_rows; j++) {
				double sum = 0;

				for (size_t i = 0; i < n; i++)
					sum += (double)rows[j * ld + i] * x[i];
				ck_assert_double_le(fabs(y[j] - sum), 4 * (double)n * ((double)n + 1) * 0x1p-24);
			}
			float *z = sure_alloc(n * sizeof *z);
			memcpy(z, x, n * sizeof *z);
			variant->add_rows(z, a, rows, ld, n_rows, n);
			for (size_t i = 0; i < n; i++) {
				double sum = x[i];

				for (size_t j = 0; j < n_rows; j++)
					sum += (double)a[j] * rows[j * ld + i];
				ck_assert_double_le(fabs(z[i] - sum), 5 * 11 * 4 * 0x1p-24);
			}
			free(z);
			paged_free(&px), paged_free(&pr), paged_free(&py), paged_free(&pa);
		}
}
END_TEST

#define NEAR(got, want, relative)                                                \
	ck_assert_msg(fabs((double)(got) - (want)) <= (relative)*fabs(want) + 1e-30, \
		"%s: %.9g, not %.9g", variant->name, (double)(got), (double)(want))

START_TEST(vectors)
{
	noise r = {9};

	variant = aqz_math_get((unsigned)_i);
	if (variant == NULL)
		return;
	for (size_t n = 1; n < LONGEST; n++) {
		paged px, py, pz, pw;
		float *x = some(&px, n, &r), *y = some(&py, n, &r), *w = some(&pw, n, &r),
			  *z = some(&pz, n, &r);
		double squares = 0, sum = 0, greatest = -INFINITY;

		for (size_t i = 0; i < n; i++) {
			x[i] *= 8;
			squares += (double)x[i] * x[i];
			sum += exp((double)x[i] - 3);
			greatest = x[i] > greatest ? (double)x[i] : greatest;
		}
		ck_assert(variant->max(x, n) == greatest);
		NEAR(variant->sum_exp(x, 3, n), sum, 2e-6);
		NEAR(variant->exp_shift(z, x, 3, n), sum, 2e-5);

		const double rstd = 1 / sqrt(squares / (double)n + 1e-5);
		NEAR(variant->rms_norm(z, x, w, n, 1e-5f), rstd, 1e-5);
		for (size_t i = 0; i < n; i++)
			NEAR(z[i], w[i] * (x[i] * rstd), 1e-5);
		memcpy(z, x, n * sizeof *z);
		variant->rms_norm(z, z, w, n, 1e-5f);
		for (size_t i = 0; i < n; i++)
			NEAR(z[i], w[i] * (x[i] * rstd), 1e-5);

		memcpy(z, x, n * sizeof *z);
		variant->silu_mul(z, z, y, n);
		for (size_t i = 0; i < n; i++)
			NEAR(z[i], x[i] / (1 + exp(-(double)x[i])) * y[i], 1e-6);

		memcpy(z, y, n * sizeof *z);
		variant->axpy(z, 0.75f, x, n);
		for (size_t i = 0; i < n; i++)
			ck_assert_double_le(fabs(z[i] - (0.75 * x[i] + y[i])), 2e-6);
		variant->scale(z, 2, n);
		for (size_t i = 0; i < n; i++)
			ck_assert_double_le(fabs(z[i] - 2 * (0.75 * x[i] + y[i])), 4e-6);

		if (n % 2 == 0) {
			memcpy(z, x, n * sizeof *z);
			variant->rotate(z, y, w, n / 2);
			for (size_t i = 0, k = n / 2; i < n / 2; i++, k++) {
				ck_assert_double_le(fabs(z[i] - ((double)x[i] * y[i] - (double)x[k] * w[i])), 1e-5);
				ck_assert_double_le(fabs(z[k] - ((double)x[k] * y[i] + (double)x[i] * w[i])), 1e-5);
			}
		}
		paged_free(&px), paged_free(&py), paged_free(&pw), paged_free(&pz);
	}
	ck_assert(isnan(variant->sum_exp((const float[]){1, NAN, 2}, 0, 3)));
}
END_TEST

START_TEST(softmax_and_log_sum_exp)
{
	static float x[49152], y[49152];
	noise r = {4};
	double sum = 0, total = 0;

	for (size_t i = 0; i < 49152; i++) {
		x[i] = random_float(&r) * 10 + 80; /* exp of it is beyond binary32 */
		sum += exp((double)x[i]);
	}
	ck_assert_double_eq_tol(aqz_log_sum_exp(x, 49152), log(sum), 1e-7);
	aqz_softmax(y, x, 49152);
	for (size_t i = 0; i < 49152; i++) {
		ck_assert_double_eq_tol(y[i], exp((double)x[i]) / sum, 1e-5 * exp((double)x[i]) / sum);
		total += y[i];
	}
	ck_assert_double_eq_tol(total, 1, 1e-5);
	ck_assert(aqz_log_sum_exp((const float[]){-INFINITY, -INFINITY}, 2) == -INFINITY);
	ck_assert(aqz_log_sum_exp((const float[]){1, INFINITY}, 2) == INFINITY);
	ck_assert(aqz_log_sum_exp((const float[]){-4}, 1) == -4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model kernels");
	TCase *t = tcase_create("variants");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, exponential, 0, 3);
	tcase_add_loop_test(t, dot_products, 0, 3);
	tcase_add_loop_test(t, rounding, 0, 3);
	tcase_add_loop_test(t, rows_of_binary32, 0, 3);
	tcase_add_loop_test(t, vectors, 0, 3);
	tcase_add_test(t, softmax_and_log_sum_exp);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
