/* SPDX-License-Identifier: Apache-2.0 */
/* The model's inner loops against binary64, within the errors that their formulas have; widening and rounding to the
 * bit. All lengths near the width of vectors. */
#include <math.h>

#include "base/float.h"
#include "model/kernels.h"
#include "tests/kernel_check.h"

#define LONGEST 150

static const aqz_math *variant; /* that is looked at */

static void now(const char *kernel)
{
	kernel_now(kernel, variant->name);
}

/* n floats of about 1, read-only. */
static const float *input(area *a, size_t n, place where, noise *r)
{
	float plain[10 * (LONGEST + 2)];

	SURE(n <= sizeof plain / sizeof *plain);
	fill_floats(plain, n, VALUES_RANDOM, r);
	*a = area_input(plain, n * sizeof *plain, sizeof *plain, where);
	return a->data;
}

static float *output(area *a, const float *start, size_t n, place where)
{
	*a = area_alloc(n * sizeof(float), sizeof(float), where);
	if (start != NULL && n > 0)
		memcpy(a->data, start, n * sizeof(float));
	return a->data;
}

static void finished(area *a)
{
	kernel_whole(a);
	kernel_digest_floats(a->data, a->n_bytes / sizeof(float));
	area_free(a);
}

static void near(double got, double due, double bound)
{
	KERNEL_CHECK(fabs(got - due) <= bound, "%.9g, not %.9g", got, due);
}

/* ---- Exponentials */

/* The error of got in units of the last place of want. */
static double ulps(float got, double want)
{
	int exponent;

	frexp(want, &exponent);
	if (exponent < -125)
		exponent = -125;
	return fabs((double)got - want) / ldexp(1, exponent - 24);
}

static void check_exponential(void)
{
	static const float edge[] = {0, -0.0f, -200, -3e38f, -INFINITY, 89, 3e38f, INFINITY, NAN, 1e-30f};
	double worst = 0;
	float x[64], y[64], sum;

	now("exp_shift");
	/* Normal results: 2 ulp. */
	for (double at = -87.3; at < 88.7; at += 1.3e-4 * 64) {
		for (unsigned i = 0; i < 64; i++)
			x[i] = (float)(at + 1.3e-4 * i);
		variant->exp_shift(y, x, 0, 64);
		kernel_digest_floats(y, 64);
		for (unsigned i = 0; i < 64; i++)
			if (x[i] < 88.7f)
				worst = fmax(worst, ulps(y[i], exp((double)x[i])));
	}
	KERNEL_CHECK(worst <= 2, "%.3f ulp", worst);
	/* Subnormal ones too: the last step rounds once more. */
	for (double at = -104; at < -87; at += 1e-3) {
		x[0] = (float)at;
		variant->exp_shift(y, x, 0, 1);
		near((double)y[0], exp((double)x[0]), 2 * 0x1p-149);
	}
	sum = variant->exp_shift(y, edge, 0, 10);
	KERNEL_CHECK(
		y[0] == 1 && y[1] == 1 && y[2] == 0 && y[3] == 0 && y[4] == 0 && y[9] == 1, "small ones");
	KERNEL_CHECK(isinf(y[5]) && isinf(y[6]) && isinf(y[7]) && isnan(y[8]) && isnan(sum),
		"large ones and NaN");
	now("sum_exp");
	KERNEL_CHECK(isnan(variant->sum_exp((const float[]){1, NAN, 2}, 0, 3)), "NaN");
}

/* ---- 16-bit floats, and sums of products */

static void check_dots(size_t n, place where, noise *r)
{
	area aw, ax, ah, ab, out;
	const float *w = input(&aw, n, where, r), *x = input(&ax, n, where, r);
	uint16_t h[LONGEST], b[LONGEST];
	float wide[LONGEST], due[LONGEST];
	double sum = 0, sum_h = 0, sum_b = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		h[i] = aqz_f32_to_f16(w[i] * (i % 5 == 0 ? 0x1p-17f : 1)); /* some subnormal */
		b[i] = aqz_f32_to_bf16(w[i]);
		sum += (double)w[i] * (double)x[i];
		sum_h += (double)aqz_f16_to_f32(h[i]) * (double)x[i];
		sum_b += (double)aqz_bf16_to_f32(b[i]) * (double)x[i];
		size += fabs((double)w[i] * (double)x[i]);
	}
	const double bound = size * ((double)n + 1) * 0x1p-24 + 1e-30;
	ah = area_input(h, 2 * n, 2, where);
	ab = area_input(b, 2 * n, 2, where);
	now("dot");
	near((double)variant->dot(w, x, n), sum, bound);
	now("dot_f16");
	near((double)variant->dot_f16(ah.data, x, n), sum_h, bound);
	now("dot_bf16");
	near((double)variant->dot_bf16(ab.data, x, n), sum_b, 1.01 * bound);

	now("widen_f16");
	for (size_t i = 0; i < n; i++)
		due[i] = aqz_f16_to_f32(h[i]);
	variant->widen_f16(output(&out, NULL, n, where), ah.data, n);
	kernel_same_bytes(out.data, due, n * sizeof *due);
	finished(&out);
	now("widen_bf16");
	for (size_t i = 0; i < n; i++)
		due[i] = aqz_bf16_to_f32(b[i]);
	variant->widen_bf16(output(&out, NULL, n, where), ab.data, n);
	kernel_same_bytes(out.data, due, n * sizeof *due);
	finished(&out);
	now("round_bf16");
	variant->round_bf16(output(&out, w, n, where), n);
	kernel_same_bytes(out.data, due, n * sizeof *due);
	finished(&out);
	now("round_f16");
	for (size_t i = 0; i < n; i++) {
		wide[i] = w[i] *
			(i % 5 == 0			 ? 0x1p-17f
					: i % 7 == 0 ? 0x1p15f
								 : 1); /* subnormal, infinite */
		due[i] = aqz_f16_to_f32(aqz_f32_to_f16(wide[i]));
	}
	variant->round_f16(output(&out, wide, n, where), n);
	kernel_same_bytes(out.data, due, n * sizeof *due);
	finished(&out);
	area_free(&aw), area_free(&ax), area_free(&ah), area_free(&ab);
}

/* Values between 16-bit floats, and halfway: as base/float.h rounds them. */
static void check_rounding(void)
{
	static const uint32_t rests[] = {0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff,
		2, 3, 0x2000, 0x3000, 0x4000, 0xc000, 0xe000, 0xf000, 0xfffe};
	enum { N = sizeof rests / sizeof *rests };
	float x[N], got[N], due[N];

	for (uint32_t high = 0; high < 0x10000; high++) {
		const bool special = (high & 0x7f80) == 0x7f80;

		if (special && (high & 0x7f) != 0 && high != 0x7fc0)
			continue; /* other NaN than ours */
		for (int i = 0; i < N; i++)
			x[i] = aqz_f32_from_bits(special ? high << 16 : high << 16 | rests[i]);
		now("round_bf16");
		for (int i = 0; i < N; i++)
			due[i] = aqz_bf16_to_f32(aqz_f32_to_bf16(x[i]));
		memcpy(got, x, sizeof x);
		variant->round_bf16(got, N);
		kernel_same_bytes(got, due, sizeof due);
		now("round_f16");
		for (int i = 0; i < N; i++)
			due[i] = aqz_f16_to_f32(aqz_f32_to_f16(x[i]));
		memcpy(got, x, sizeof x);
		variant->round_f16(got, N);
		kernel_same_bytes(got, due, sizeof due);
	}
}

/* ---- Rows at a distance, some of which are no multiple of those taken at a time */

static void check_rows(size_t n, size_t n_rows, place where, noise *r)
{
	const size_t ld = n + n_rows % 3;
	area ax, ar, aa, out;
	const float *x = input(&ax, n, where, r), *a = input(&aa, n_rows, where, r);
	const float *rows = input(&ar, n_rows == 0 ? 0 : (n_rows - 1) * ld + n, where, r);
	float *y;

	now("dots");
	y = output(&out, NULL, n_rows, where);
	variant->dots(y, x, rows, ld, n_rows, n);
	for (size_t j = 0; j < n_rows; j++) {
		double sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += (double)rows[j * ld + i] * (double)x[i];
		near((double)y[j], sum, 4 * (double)n * ((double)n + 1) * 0x1p-24);
	}
	finished(&out);
	now("add_rows");
	y = output(&out, x, n, where);
	variant->add_rows(y, a, rows, ld, n_rows, n);
	for (size_t i = 0; i < n; i++) {
		double sum = (double)x[i];

		for (size_t j = 0; j < n_rows; j++)
			sum += (double)a[j] * (double)rows[j * ld + i];
		near((double)y[i], sum, 5 * 11 * 4 * 0x1p-24);
	}
	finished(&out);
	area_free(&ax), area_free(&ar), area_free(&aa);
}

/* ---- Vectors, some in place */

static void check_norm(const float *x, const float *weight, size_t n, place where)
{
	double squares = 0;

	for (size_t i = 0; i < n; i++)
		squares += (double)x[i] * (double)x[i];
	const double rstd = 1 / sqrt(squares / (double)n + 1e-5);
	now("rms_norm");
	for (int in_place = 0; in_place < 2; in_place++) {
		area out;
		float *y = output(&out, x, n, where);

		near((double)variant->rms_norm(y, in_place ? y : x, weight, n, 1e-5f), rstd, 1e-5 * rstd);
		for (size_t i = 0; i < n; i++)
			near((double)y[i], (double)weight[i] * ((double)x[i] * rstd),
				1e-5 * fabs((double)weight[i] * (double)x[i] * rstd) + 1e-30);
		finished(&out);
	}
}

static void check_silu(const float *gate, const float *up, size_t n, place where)
{
	now("silu_mul");
	for (int in_place = 0; in_place < 3; in_place++) {
		area out;
		float *y = output(&out, in_place == 1 ? gate : up, n, where);

		variant->silu_mul(y, in_place == 1 ? y : gate, in_place == 2 ? y : up, n);
		for (size_t i = 0; i < n; i++) {
			const double due = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];

			near((double)y[i], due, 1e-6 * fabs(due) + 1e-30);
		}
		finished(&out);
	}
}

static void check_vectors(size_t n, place where, noise *r)
{
	area ax, ay, aw, out;
	const float *small = input(&ax, n, where, r), *y = input(&ay, n, where, r),
				*w = input(&aw, n, where, r);
	double sum = 0, greatest = -INFINITY;
	float x[LONGEST], *z;

	for (size_t i = 0; i < n; i++) {
		x[i] = small[i] * 8;
		sum += exp((double)x[i] - 3);
		greatest = fmax(greatest, (double)x[i]);
	}
	area_free(&ax);
	ax = area_input(x, n * sizeof *x, sizeof *x, where);
	now("max");
	KERNEL_CHECK((double)variant->max(ax.data, n) == greatest, "it is %g", greatest);
	now("sum_exp");
	near(variant->sum_exp(ax.data, 3, n), sum, 2e-6 * sum);
	now("exp_shift");
	for (int in_place = 0; in_place < 2; in_place++) {
		z = output(&out, x, n, where);
		near((double)variant->exp_shift(z, in_place ? z : ax.data, 3, n), sum, 2e-5 * sum);
		finished(&out);
	}
	check_norm(ax.data, w, n, where);
	check_silu(ax.data, y, n, where);
	now("axpy");
	z = output(&out, y, n, where);
	variant->axpy(z, 0.75f, ax.data, n);
	for (size_t i = 0; i < n; i++)
		near((double)z[i], 0.75 * (double)x[i] + (double)y[i], 2e-6);
	finished(&out);
	now("scale");
	z = output(&out, y, n, where);
	variant->scale(z, 2, n);
	for (size_t i = 0; i < n; i++)
		near((double)z[i], 2 * (double)y[i], 0);
	finished(&out);
	if (n % 2 == 0) {
		now("rotate");
		z = output(&out, x, n, where);
		variant->rotate(z, y, w, n / 2);
		for (size_t i = 0, k = n / 2; i < n / 2; i++, k++) {
			near((double)z[i], (double)x[i] * (double)y[i] - (double)x[k] * (double)w[i], 1e-5);
			near((double)z[k], (double)x[k] * (double)y[i] + (double)x[i] * (double)w[i], 1e-5);
		}
		finished(&out);
	}
	area_free(&ax), area_free(&ay), area_free(&aw);
}

static void check(noise *r)
{
	for (unsigned v = 0; (variant = aqz_math_get(v)) != NULL; v++) {
		noise same = *r;

		check_exponential();
		check_rounding();
		for (size_t n = 0; n < LONGEST; n++)
			check_dots(n, (place)(n % N_PLACES), &same);
		for (size_t n = 1; n < LONGEST; n += n < 70 ? 1 : 13)
			for (size_t n_rows = 0; n_rows < 10; n_rows++)
				check_rows(n, n_rows, (place)((n + n_rows) % N_PLACES), &same);
		for (place where = 0; where < N_PLACES; where++)
			for (size_t n = 1; n < LONGEST; n++)
				check_vectors(n, where, &same);
	}
}

/* ---- Time: rows of 2048, as of a small model */

static void measure(noise *r)
{
	enum { N = 2048, ROWS = 8 };
	static float x[N], y[N], rows[ROWS * N], out[ROWS];
	static uint16_t half[N];

	fill_floats(x, N, VALUES_RANDOM, r);
	fill_floats(y, N, VALUES_RANDOM, r);
	fill_floats(rows, ROWS * N, VALUES_RANDOM, r);
	for (size_t i = 0; i < N; i++)
		half[i] = aqz_f32_to_bf16(rows[i]) & 0xbbff; /* finite in both */
#define EACH(kernel, n, call)                                      \
	for (unsigned v = 0; (variant = aqz_math_get(v)) != NULL; v++) \
	TIMED(kernel, variant->name, n) call
	EACH("dot 2048", N, out[0] += variant->dot(rows, x, N));
	EACH("dot_bf16 2048", N, out[0] += variant->dot_bf16(half, x, N));
	EACH("dot_f16 2048", N, out[0] += variant->dot_f16(half, x, N));
	EACH("dots 8 x 2048", ROWS * N, variant->dots(out, x, rows, N, ROWS, N));
	EACH("add_rows 8 x 2048", ROWS * N, variant->add_rows(y, out, rows, N, ROWS, N));
	EACH("widen_bf16 2048", N, variant->widen_bf16(y, half, N));
	EACH("widen_f16 2048", N, variant->widen_f16(y, half, N));
	EACH("round_bf16 2048", N, variant->round_bf16(y, N));
	EACH("round_f16 2048", N, variant->round_f16(y, N));
	EACH("rms_norm 2048", N, variant->rms_norm(y, x, rows, N, 1e-5f));
	EACH("silu_mul 2048", N, variant->silu_mul(y, x, rows, N));
	EACH("exp_shift 2048", N, out[0] += variant->exp_shift(y, x, 0, N));
	EACH("sum_exp 2048", N, out[0] += (float)variant->sum_exp(x, 0, N));
	EACH("max 2048", N, out[0] += variant->max(x, N));
	EACH("rotate 1024", N, variant->rotate(y, x, rows, N / 2));
#undef EACH
}

const kernel_family family_model = {"model", check, measure};
