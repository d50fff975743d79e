/* SPDX-License-Identifier: Apache-2.0 */
/* aqz_encode_additive on small matrices: how near it comes, that the result depends on nothing but input, options and
 * seed, odd shapes and magnitudes, refusals. test_kernels.c has the encoder's inner loops. */
#include <check.h>
#include <math.h>

#include "codec/encode/encode.h"
#include "tests/support.h"

static aqz_encode_options options(int effort)
{
	return (aqz_encode_options){
		.struct_size = sizeof(aqz_encode_options), .effort = effort, .n_threads = 1, .seed = 1};
}

/* N(0, 1) by the sum of 12 uniform numbers, which is near enough. */
static float *gauss(uint64_t rows, uint64_t cols, float scale, uint64_t seed)
{
	float *w = sure_alloc((size_t)(rows * cols) * sizeof *w);
	noise r = {seed * 2 + 1};

	for (size_t i = 0; i < rows * cols; i++) {
		double sum = -6;

		for (int k = 0; k < 12; k++)
			sum += (double)(noise_next(&r) >> 11) * 0x1p-53;
		w[i] = (float)sum * scale;
	}
	return w;
}

static double energy_of(const float *w, const float *minus, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ((double)w[i] - (minus != NULL ? minus[i] : 0)) *
			((double)w[i] - (minus != NULL ? minus[i] : 0));
	return sum;
}

static float *decoded(const aqz_additive *a)
{
	float *w = sure_alloc((size_t)(a->rows * a->cols) * sizeof *w);
	aqz_error err;

	ck_assert_msg(aqz_decode_additive(w, AQZ_F32, a, 0, a->rows, &err) == AQZ_OK, "%s", err.text);
	for (size_t i = 0; i < a->rows * a->cols; i++)
		if (!isfinite(w[i]))
			ck_abort_msg("element %zu decodes to %g", i, (double)w[i]);
	return w;
}

/* Encodes and returns the error as anybody finds it from what is decoded; it must be the one that was reported. */
static double encode(aqz_additive *out, const float *w, uint64_t rows, uint64_t cols,
	const char *scheme, const aqz_encode_options *opt)
{
	const size_t n = (size_t)(rows * cols);
	const double energy = energy_of(w, NULL, n);
	aqz_additive mine;
	aqz_scheme s;
	aqz_error err;
	aqz_encode_report told;
	double found;
	float *back;

	out = out != NULL ? out : &mine;
	ck_assert_int_eq(aqz_scheme_parse(&s, scheme, &err), AQZ_OK);
	ck_assert_msg(
		aqz_encode_additive(out, &told, &(aqz_layer){w, rows, cols, NULL}, &s, opt, &err) == AQZ_OK,
		"%s", err.text);
	ck_assert(out->rows == rows && out->cols == cols &&
		out->code_rows == (rows + s.out_group - 1) / s.out_group);
	ck_assert_uint_eq(out->codes_bytes, aqz_additive_codes_bytes(&s, out->code_rows, out->groups));
	back = decoded(out);
	found = energy > 0 ? energy_of(w, back, n) / energy : 0;
	ck_assert_msg(fabs(found - told.rel_mse) <= 1e-9 * found + 1e-12, "%s: %g, told %g", scheme,
		found, told.rel_mse);
	free(back);
	if (out == &mine)
		aqz_additive_free(&mine);
	return found;
}

static bool same(const aqz_additive *a, const aqz_additive *b)
{
	const size_t n_values = aqz_codewords(&a->scheme) * aqz_codeword(&a->scheme);

	return a->codes_bytes == b->codes_bytes && memcmp(a->codes, b->codes, a->codes_bytes) == 0 &&
		memcmp(a->codebooks, b->codebooks, n_values * aqz_dtype_bits(a->codebook_dtype) / 8) == 0 &&
		memcmp(a->scales, b->scales, (size_t)a->code_rows * aqz_dtype_bits(a->scale_dtype) / 8) == 0;
}

/* ---- How near it comes. The bounds are 10 % above what was measured; small matrices are met better than long ones, as
 * codebooks adapt to them. */

static aqz_status encode_into(aqz_additive *out, const float *w, uint64_t rows, uint64_t cols,
	const aqz_scheme *scheme, const aqz_encode_options *opt, aqz_error *err)
{
	const aqz_layer layer = {w, rows, cols, NULL};

	return aqz_encode_additive(out, NULL, &layer, scheme, opt, err);
}

START_TEST(errors_are_small)
{
	static const struct {
		const char *scheme;
		uint64_t rows, cols;
		double most;
	} cases[] = {{"1x8g8", 64, 256, 0.25}, {"2x8g8", 96, 256, 0.056}, {"4x4g4", 64, 128, 0.0087},
		{"1x12g8", 128, 512, 0.061}, {"3x5g8o2", 64, 128, 0.235}, {"8x8g32", 64, 256, 0.001},
		{"1x4g2", 64, 64, 0.113}, {"2x3g1", 32, 64, 0.002}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const aqz_encode_options o = options(2);
		float *w = gauss(cases[i].rows, cases[i].cols, 1, i + 1);
		const double mse = encode(NULL, w, cases[i].rows, cases[i].cols, cases[i].scheme, &o);

		ck_assert_msg(mse <= cases[i].most, "%s: %g", cases[i].scheme, mse);
		free(w);
	}
}
END_TEST

START_TEST(effort_pays)
{
	static const char *const schemes[] = {"2x6g4", "3x4g4", "1x7g4"};

	for (int i = 0; i < 3; i++) {
		float *w = gauss(48, 128, 1, 77);
		double before = 1;

		for (int effort = 1; effort <= 7; effort += 2) {
			const aqz_encode_options o = options(effort);
			const double mse = encode(NULL, w, 48, 128, schemes[i], &o);

			ck_assert_msg(mse <= before * 1.005, "%s, effort %d: %g after %g", schemes[i], effort,
				mse, before);
			before = mse;
		}
		free(w);
	}
}
END_TEST

/* ---- What the result depends on */

START_TEST(threads_do_not_matter_and_the_seed_does)
{
	static const char *const schemes[] = {"2x6g8", "1x9g4o2", "4x3g5"};

	for (int i = 0; i < 3; i++) {
		float *w = gauss(130, 101, 0.02f, 9);
		aqz_encode_options o = options(2);
		aqz_additive first, again;

		encode(&first, w, 130, 101, schemes[i], &o);
		for (unsigned n = 1; n <= 3; n++) {
			o.n_threads = n;
			encode(&again, w, 130, 101, schemes[i], &o);
			ck_assert_msg(same(&first, &again), "%s with %u threads", schemes[i], n);
			aqz_additive_free(&again);
		}
		o.seed++;
		encode(&again, w, 130, 101, schemes[i], &o);
		ck_assert_msg(!same(&first, &again), "%s: the seed changes nothing", schemes[i]);
		aqz_additive_free(&again);
		aqz_additive_free(&first);
		free(w);
	}
}
END_TEST

START_TEST(all_kernels_give_the_same_result)
{
	static const char *const schemes[] = {"2x6g8", "3x3g7", "1x9g4o2", "2x2g3"};
	aqz_scheme s;
	aqz_error err;

	for (int i = 0; i < 4; i++)
		for (int kind = 0; kind < 3; kind++) {
			float *w = gauss(66, 50, 1, 5);
			const aqz_encode_options o = options(1);
			const aqz_layer layer = {w, 66, 50, NULL};
			aqz_additive first, other;

			/* Ties everywhere; and a few rows far larger than the rest. */
			for (size_t k = 0; kind == 1 && k < 66 * 50; k++)
				w[k] = (float)((int)(w[k] * 2) % 3 - 1);
			for (size_t k = 0; kind == 2 && k < 4 * 50; k++)
				w[k * 13 % (66 * 50)] *= 1e5f;
			ck_assert_int_eq(aqz_scheme_parse(&s, schemes[i], &err), AQZ_OK);
			ck_assert_int_eq(
				aqz_encode_additive_with(&first, NULL, &layer, &s, &o, aqz_kernels_get(0), &err),
				AQZ_OK);
			for (unsigned k = 1; aqz_kernels_get(k) != NULL; k++) {
				ck_assert_int_eq(
					aqz_encode_additive_with(&other, NULL, &layer, &s, &o, aqz_kernels_get(k), &err),
					AQZ_OK);
				ck_assert_msg(same(&first, &other), "%s, kind %d, %s", schemes[i], kind,
					aqz_kernels_get(k)->name);
				aqz_additive_free(&other);
			}
			aqz_additive_free(&first);
			free(w);
		}
}
END_TEST

/* ---- Odd contents */

START_TEST(zeros_and_constants)
{
	float *w = sure_alloc(70 * 40 * sizeof *w), *back;
	const aqz_encode_options o = options(3);
	aqz_additive a;

	ck_assert_double_eq(encode(&a, w, 70, 40, "2x4g8", &o), 0);
	back = decoded(&a);
	for (int i = 0; i < 70 * 40; i++)
		ck_assert(back[i] == 0);
	free(back);
	aqz_additive_free(&a);
	/* Few different vectors: singular systems, ties, and codewords to spare. */
	for (int effort = 1; effort <= 5; effort += 2)
		for (int kind = 0; kind < 8; kind++) {
			const aqz_encode_options p = options(effort);
			const char *scheme = kind / 4 == 0 ? "2x4g8" : "3x4g8";
			double mse;

			for (int i = 0; i < 70 * 40; i++)
				w[i] = (kind % 2 == 0 || i / 40 % 2 == 0 ? 1.0f : -1.0f) *
					(kind % 4 < 2 ? 1.0f : (float)(1 + i / 40));
			mse = encode(NULL, w, 70, 40, scheme, &p);
			ck_assert_msg(mse < 1e-5, "%s, effort %d, kind %d: %g", scheme, effort, kind, mse);
		}
	free(w);
	/* A row of zeros among others stays zero, with codewords over several rows a whole block of them does. */
	for (int tall = 0; tall < 2; tall++) {
		w = gauss(70, 40, 1, 3);
		memset(w + 20 * 40, 0, 4 * 40 * sizeof *w);
		encode(&a, w, 70, 40, tall ? "2x4g4o2" : "2x4g8", &o);
		back = decoded(&a);
		for (int i = 20 * 40; i < 24 * 40; i++)
			ck_assert(back[i] == 0);
		free(back);
		aqz_additive_free(&a);
		free(w);
	}
}
END_TEST

START_TEST(odd_shapes)
{
	static const struct {
		uint64_t rows, cols;
	} shapes[] = {{1, 1}, {1, 7}, {1, 200}, {200, 1}, {100, 172}, {63, 65}, {65, 9}};
	static const char *const schemes[] = {"2x8g8", "1x4g8o4", "3x2g5", "1x1g64", "2x5g1o64"};

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		for (size_t k = 0; k < sizeof schemes / sizeof *schemes; k++) {
			const uint64_t rows = shapes[i].rows, cols = shapes[i].cols;
			aqz_encode_options o = options(1);
			float *exact = malloc((size_t)(rows * cols) * 4), *w = gauss(rows, cols, 1, i);

			/* In memory of just its size, as edges reach over the matrix. */
			SURE(exact != NULL);
			memcpy(exact, w, (size_t)(rows * cols) * 4);
			o.codebook_dtype = k % 2 == 0 ? AQZ_F16 : AQZ_BF16;
			ck_assert_double_lt(encode(NULL, exact, rows, cols, schemes[k], &o), 1.0 + 1e-9);
			/* Few values are met nearly exactly. */
			if (rows * cols < 300 && k == 0)
				ck_assert_double_lt(encode(NULL, exact, rows, cols, schemes[k], &o), 1e-4);
			free(exact);
			free(w);
		}
}
END_TEST

/* Weights of any size that the storage types hold are met as well as those near 1. */
START_TEST(magnitudes)
{
	static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_BF16, AQZ_F16, AQZ_I8};
	static const float scales[] = {1, 1e-3f, 1e3f, 1e-7f, 1e8f, 1e-30f, 1e30f, 3e-39f, 3e37f};

	for (int d = 0; d < 4; d++)
		for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
			aqz_encode_options o = options(1);
			float *w = gauss(32, 64, scales[i], 4);
			double mse;

			o.codebook_dtype = dtypes[d];
			o.scale_dtype = dtypes[d] == AQZ_I8 ? AQZ_F32 : dtypes[d];
			/* Infinity or NaN in what is decoded would end this. */
			mse = encode(NULL, w, 32, 64, "2x4g4", &o);
			/* F16 ends near 2^-24 and 2^16, and so the product of two of them. */
			ck_assert_double_le(
				mse, dtypes[d] == AQZ_F16 && fabsf(log10f(scales[i])) > 7.5f ? 1 + 1e-9 : 0.09);
			free(w);
		}
	/* Rows of very different sizes. */
	for (int d = 0; d < 3; d++) {
		aqz_encode_options o = options(1);
		float *w = gauss(60, 64, 1, 4);

		o.codebook_dtype = o.scale_dtype = dtypes[d];
		for (int i = 0; i < 60 * 64; i++)
			w[i] = ldexpf(w[i], i / 64 - (dtypes[d] == AQZ_F16 ? 45 : 30));
		ck_assert_double_lt(encode(NULL, w, 60, 64, "2x4g4", &o), 0.2);
		free(w);
	}
}
END_TEST

START_TEST(storage_types)
{
	static const aqz_dtype books[] = {AQZ_F16, AQZ_BF16, AQZ_F32, AQZ_I8},
						   scales[] = {AQZ_F16, AQZ_BF16, AQZ_F32};
	float *w = gauss(64, 64, 0.05f, 6);

	for (int i = 0; i < 12; i++) {
		aqz_encode_options o = options(1);
		aqz_additive a;
		double mse;

		o.codebook_dtype = books[i % 4];
		o.scale_dtype = scales[i / 4];
		mse = encode(&a, w, 64, 64, "2x5g4", &o);
		ck_assert_double_lt(mse, 0.08);
		ck_assert(a.codebook_dtype == books[i % 4] && a.scale_dtype == scales[i / 4]);
		ck_assert((a.codebook_scales != NULL) == (books[i % 4] == AQZ_I8));
		aqz_additive_free(&a);
	}
	free(w);
}
END_TEST

/* ---- Refusals */

static bool is_zero(const aqz_additive *a)
{
	const aqz_additive zero = {0};

	return a->codes == NULL && a->codebooks == NULL && a->scales == NULL &&
		a->codebook_scales == NULL && a->rows == zero.rows && a->codes_bytes == zero.codes_bytes;
}

START_TEST(arguments)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	const aqz_scheme s = {AQZ_CODEC_ADDITIVE, 2, 4, 8, 1};
	float *w = gauss(65, 33, 1, 1);
	aqz_encode_options o = options(1);
	aqz_additive a;
	aqz_error err;

#define IS(status, rows, cols, scheme, opt)                                          \
	do {                                                                             \
		ck_assert_int_eq(encode_into(&a, w, rows, cols, scheme, opt, &err), status); \
		ck_assert(status == AQZ_OK || is_zero(&a));                                  \
		aqz_additive_free(&a);                                                       \
		o = options(1);                                                              \
	} while (0)
	for (int i = 0; i < 3; i++)
		for (size_t at = 0; at < 65 * 33; at += at == 0 ? 1144 : 1000) {
			const float kept = w[at];

			w[at] = bad[i];
			IS(AQZ_E_ARGUMENT, 65, 33, &s, &o);
			w[at] = kept;
		}
	IS(AQZ_OK, 65, 33, &s, &o);
	IS(AQZ_E_ARGUMENT, 0, 33, &s, &o);
	IS(AQZ_E_ARGUMENT, 65, 0, &s, &o);
	IS(AQZ_E_ARGUMENT, UINT64_MAX, UINT64_MAX, &s, &o);
	IS(AQZ_E_ARGUMENT, 65, 33, (&(aqz_scheme){AQZ_CODEC_LOSSLESS, 0, 0, 0, 0}), &o);
	IS(AQZ_E_ARGUMENT, 65, 33, (&(aqz_scheme){AQZ_CODEC_ADDITIVE, 2, 17, 8, 1}), &o);
	IS(AQZ_E_ARGUMENT, 65, 33, (&(aqz_scheme){AQZ_CODEC_ADDITIVE, 2, 8, 33, 2}), &o);
	o.effort = 10;
	IS(AQZ_E_ARGUMENT, 65, 33, &s, &o);
	o.effort = -1;
	IS(AQZ_E_ARGUMENT, 65, 33, &s, &o);
	o.struct_size--;
	IS(AQZ_E_ARGUMENT, 65, 33, &s, &o);
	o.codebook_dtype = AQZ_U8;
	IS(AQZ_E_ARGUMENT, 65, 33, &s, &o);
	o.scale_dtype = AQZ_I8;
	IS(AQZ_E_ARGUMENT, 65, 33, &s, &o);
#undef IS
	free(w);
}
END_TEST

START_TEST(memory_limit)
{
	const aqz_scheme s = {AQZ_CODEC_ADDITIVE, 2, 5, 8, 1};
	float *w = gauss(65, 33, 1, 1);
	aqz_encode_options o = options(1);
	uint64_t need;
	aqz_additive a;
	aqz_error err;

	need = aqz_encode_additive_memory(&(aqz_layer){NULL, 65, 33, NULL}, &s, &o);
	ck_assert_uint_lt(need, 64u << 20);
	o.memlimit_bytes = need;
	ck_assert_int_eq(encode_into(&a, w, 65, 33, &s, &o, &err), AQZ_OK);
	aqz_additive_free(&a);
	for (uint64_t limit = 1; limit < need; limit += need / 7) {
		o.memlimit_bytes = limit;
		ck_assert_int_eq(encode_into(&a, w, 65, 33, &s, &o, &err), AQZ_E_MEMLIMIT);
		ck_assert(is_zero(&a));
	}
	ck_assert_uint_gt(
		aqz_encode_additive_memory(&(aqz_layer){NULL, 4096, 4096, NULL}, &s, NULL), need);
	free(w);
}
END_TEST

typedef struct watch {
	unsigned calls, stop; /* false from call stop on; 0 = never */
	uint64_t last;
} watch;

static bool progress(void *user, uint64_t done, uint64_t total)
{
	watch *p = user;

	if (total != 1000 || done > total || done < p->last)
		ck_abort_msg("progress %lu of %lu after %lu", done, total, p->last);
	p->last = done;
	return ++p->calls != p->stop;
}

START_TEST(cancelled_anywhere)
{
	const aqz_scheme s = {AQZ_CODEC_ADDITIVE, 3, 4, 4, 1};
	float *w = gauss(65, 33, 1, 1);
	aqz_encode_options o = options(2);
	watch p = {0};
	unsigned n;
	aqz_additive a;
	aqz_error err;

	o.progress = progress;
	o.progress_user = &p;
	ck_assert_int_eq(encode_into(&a, w, 65, 33, &s, &o, &err), AQZ_OK);
	aqz_additive_free(&a);
	ck_assert_uint_eq(p.last, 1000);
	n = p.calls;
	ck_assert_uint_ge(n, 5);
	for (unsigned stop = 1; stop <= n; stop++) {
		p = (watch){.stop = stop};
		ck_assert_int_eq(encode_into(&a, w, 65, 33, &s, &o, &err), AQZ_E_CANCELLED);
		ck_assert_uint_eq(p.calls, stop);
		ck_assert(is_zero(&a));
	}
	free(w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("encode");
	TCase *t = tcase_create("encoder");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, errors_are_small);
	tcase_add_test(t, effort_pays);
	tcase_add_test(t, threads_do_not_matter_and_the_seed_does);
	tcase_add_test(t, all_kernels_give_the_same_result);
	tcase_add_test(t, zeros_and_constants);
	tcase_add_test(t, odd_shapes);
	tcase_add_test(t, magnitudes);
	tcase_add_test(t, storage_types);
	tcase_add_test(t, arguments);
	tcase_add_test(t, memory_limit);
	tcase_add_test(t, cancelled_anywhere);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
