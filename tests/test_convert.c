/* SPDX-License-Identifier: Apache-2.0 */
/* aqz_convert, spec 1.4, against the definition: the nearest of all values of the format, found by bisection; of two
 * the one with the even bits. Infinity stands for the next power of two: what overflow by half a step means. */
#include <check.h>
#include <math.h>

#include "base/base.h"
#include "tests/support.h"

typedef struct format {
	aqz_dtype dtype;
	unsigned exponent_bits, mantissa_bits;
} format;

static const format f16 = {AQZ_F16, 5, 10}, bf16 = {AQZ_BF16, 8, 7}, f32 = {AQZ_F32, 8, 23};

/* The value of bits without a sign, up to and including infinity. Exact. */
static double value_of(const format *f, uint32_t bits)
{
	const int bias = (1 << (f->exponent_bits - 1)) - 1;
	const uint32_t e = bits >> f->mantissa_bits, m = bits & ((1u << f->mantissa_bits) - 1);

	if (e == 0)
		return ldexp(m, 1 - bias - (int)f->mantissa_bits);
	return ldexp(m + (1u << f->mantissa_bits), (int)e - bias - (int)f->mantissa_bits);
}

static uint32_t infinity_of(const format *f)
{
	return ((1u << f->exponent_bits) - 1) << f->mantissa_bits;
}

static uint32_t nearest(const format *f, double x)
{
	const uint32_t inf = infinity_of(f);
	const uint32_t sign = signbit(x) ? 1u << (f->exponent_bits + f->mantissa_bits) : 0;
	const double a = fabs(x);
	uint32_t low = 0, high = inf;
	double middle;

	if (isnan(x))
		return inf | 1u << (f->mantissa_bits - 1);
	if (a >= value_of(f, inf))
		return sign | inf;
	while (high - low > 1) {
		const uint32_t half = low + (high - low) / 2;

		if (value_of(f, half) <= a)
			low = half;
		else
			high = half;
	}
	middle = (value_of(f, low) + value_of(f, high)) / 2; /* exact: one bit more than the format */
	return sign | (a < middle || (a == middle && low % 2 == 0) ? low : high);
}

static uint32_t bits_at(const void *p, aqz_dtype dtype, size_t i)
{
	return dtype == AQZ_F32 ? aqz_get32((const uint8_t *)p + 4 * i) : aqz_get16((const uint8_t *)p + 2 * i);
}

/* The value of element i of an array of a format; NaN and infinity as themselves. */
static double element(const void *p, aqz_dtype dtype, size_t i)
{
	const format *f = dtype == AQZ_F16 ? &f16 : dtype == AQZ_BF16 ? &bf16 : &f32;
	const uint32_t bits = bits_at(p, dtype, i), sign = 1u << (f->exponent_bits + f->mantissa_bits);
	const uint32_t magnitude = bits & (sign - 1);
	double v;

	if (dtype == AQZ_F64) {
		memcpy(&v, (const uint8_t *)p + 8 * i, 8);
		return v;
	}
	v = magnitude > infinity_of(f) ? NAN : magnitude == infinity_of(f) ? INFINITY : value_of(f, magnitude);
	return (bits & sign) != 0 ? -v : v;
}

#define MOST 65536

/* Converts n <= MOST elements to another type and compares all of them. */
static void converts(const void *src, aqz_dtype from, const format *to, size_t n)
{
	static uint8_t dst[4 * MOST + 16];
	const size_t n_bytes = n * aqz_dtype_bits(to->dtype) / 8;

	memset(dst, 0xa5, sizeof dst);
	ck_assert_int_eq(aqz_convert(dst, to->dtype, src, from, n, NULL), AQZ_OK);
	for (size_t i = 0; i < n; i++) {
		const uint32_t got = bits_at(dst, to->dtype, i), due = nearest(to, element(src, from, i));

		if (got != due)
			ck_abort_msg("%s to %s: %a gives %x, not %x", aqz_dtype_name(from), aqz_dtype_name(to->dtype),
				element(src, from, i), got, due);
	}
	for (size_t i = 0; i < 16; i++)
		ck_assert_uint_eq(dst[n_bytes + i], 0xa5);
}

START_TEST(all_16_bit_values_convert)
{
	static uint16_t all[MOST];

	for (unsigned i = 0; i < MOST; i++)
		all[i] = (uint16_t)i;
	converts(all, AQZ_F16, &f32, MOST);
	converts(all, AQZ_F16, &bf16, MOST);
	converts(all, AQZ_BF16, &f32, MOST);
	converts(all, AQZ_BF16, &f16, MOST);
	/* A type to itself is a copy, NaNs with all their bits. */
	for (int k = 0; k < 2; k++) {
		static uint16_t same[MOST];

		ck_assert_int_eq(aqz_convert(same, k ? AQZ_F16 : AQZ_BF16, all, k ? AQZ_F16 : AQZ_BF16, MOST, NULL), AQZ_OK);
		ck_assert_mem_eq(same, all, sizeof all);
	}
}
END_TEST

/* Each value of the 16-bit formats, the tie above it, and the neighbours of both. */
START_TEST(ties_round_to_even)
{
	static double wide[MOST];
	static float single[MOST];

	for (int k = 0; k < 2; k++) {
		const format *f = k ? &bf16 : &f16;

		for (uint32_t start = 0; start < infinity_of(f); start += MOST / 8) {
			size_t n = 0;

			for (uint32_t v = start; v < start + MOST / 8 && v < infinity_of(f); v++) {
				const double low = value_of(f, v), tie = (low + value_of(f, v + 1)) / 2;
				const double sign = v % 3 == 0 ? -1 : 1;

				const double these[6] = {low, nextafter(low, INFINITY), nextafter(tie, 0), tie,
					nextafter(tie, INFINITY), (low + tie) / 2};

				for (int i = 0; i < 6; i++, n++) {
					wide[n] = sign * these[i];
					single[n] = (float)wide[n];
				}
				/* The neighbours in binary32. */
				single[n - 5] = nextafterf(single[n - 6], INFINITY);
				single[n - 4] = nextafterf(single[n - 3], 0);
				single[n - 2] = nextafterf(single[n - 3], single[n - 3] < 0 ? -INFINITY : INFINITY);
			}
			converts(wide, AQZ_F64, f, n);
			converts(single, AQZ_F32, f, n);
		}
	}
}
END_TEST

START_TEST(random_values_convert)
{
	static double wide[MOST];
	static uint32_t single[MOST];
	noise r = {12345};

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < MOST; i++) {
			const uint64_t u = noise_next(&r);

			single[i] = (uint32_t)(u >> 32);
			if (round == 0)
				memcpy(&wide[i], &u, 8);
			else /* exponents where the 16-bit formats have theirs */
				wide[i] = ldexp((double)(int64_t)u, (int)(u % (round == 1 ? 56 : 300)) - (round == 1 ? 98 : 220));
		}
		converts(wide, AQZ_F64, &f16, MOST);
		converts(wide, AQZ_F64, &bf16, MOST);
		converts(wide, AQZ_F64, &f32, MOST);
		converts(single, AQZ_F32, &f16, MOST);
		converts(single, AQZ_F32, &bf16, MOST);
	}
}
END_TEST

START_TEST(odd_values_convert)
{
	static const double wide[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 65504, 65519.999, 65520, -65520, 65536, 0x1p-24,
		0x1p-25, 0x1.0000000000001p-25, 0x1p-26, 0x1.ffcp-15, 0x1.ffep-15, 0x1p-14, 0x1p-133, 0x1p-134, 0x1.8p-134,
		0x1p-149, 0x1p-150, 0x1.0000000000001p-150, 0x1p-1074, 0x1.fffffffffffffp1023, 0x1.ffffffp127, 0x1.fffffefp127,
		0x1.fffffep127, 0x1.fep127, 0x1.ffp127, 0x1.fefffffffffffp127,
		/* Going by binary32 would round these twice. */
		0x1.0020000000001p0, 0x1.001fffffffp0, 0x1.0100000000001p0, 0x1.00ffffffffp0, 0x1.0060000000001p-20};
	static const uint32_t nans[] = {0x7f800001, 0xffffffff, 0x7fbfffff, 0xffc00000, 0x7f802000, 0xff810000};
	static const uint64_t wide_nans[] = {UINT64_C(0x7ff0000000000001), UINT64_MAX, UINT64_C(0xfff8000000000000)};
	const size_t n = sizeof wide / sizeof *wide;

	converts(wide, AQZ_F64, &f32, n);
	converts(wide, AQZ_F64, &f16, n);
	converts(wide, AQZ_F64, &bf16, n);
	converts(nans, AQZ_F32, &f16, 6);
	converts(nans, AQZ_F32, &bf16, 6);
	converts(wide_nans, AQZ_F64, &f32, 3);
	converts(wide_nans, AQZ_F64, &f16, 3);
	converts(wide_nans, AQZ_F64, &bf16, 3);
}
END_TEST

START_TEST(other_pairs_are_refused)
{
	uint8_t src[64] = {0}, dst[64];
	aqz_error err;

	for (int i = 0; i < 64; i++)
		for (int k = 0; k < 64; k++) {
			const aqz_dtype from = (aqz_dtype)i, to = (aqz_dtype)k;
			const bool narrow_to = to == AQZ_F32 || to == AQZ_F16 || to == AQZ_BF16;
			const bool ok = narrow_to && (from == AQZ_F32 || from == AQZ_F16 || from == AQZ_BF16 || from == AQZ_F64);

			ck_assert_int_eq(aqz_convert(dst, to, src, from, 1, &err), ok ? AQZ_OK : AQZ_E_UNSUPPORTED);
		}
	ck_assert_int_eq(aqz_convert(dst, (aqz_dtype)99, src, AQZ_F32, 1, &err), AQZ_E_UNSUPPORTED);
	ck_assert_int_eq(aqz_convert(NULL, AQZ_F16, NULL, AQZ_F32, 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_convert(NULL, AQZ_F32, NULL, AQZ_F32, 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_convert(dst, AQZ_F16, src, AQZ_F32, SIZE_MAX, &err), AQZ_E_ARGUMENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("convert");
	TCase *t = tcase_create("convert");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, all_16_bit_values_convert);
	tcase_add_test(t, ties_round_to_even);
	tcase_add_test(t, random_values_convert);
	tcase_add_test(t, odd_values_convert);
	tcase_add_test(t, other_pairs_are_refused);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
