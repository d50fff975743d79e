/* SPDX-License-Identifier: Apache-2.0 */
/* aqz_encode_additive with odd statistics of the inputs: singular, badly conditioned, indefinite by rounding, broken;
 * odd weights with sound statistics; limits of memory; a heap that fails; cancelling. */
#include <check.h>
#include <math.h>

#include "tests/heap.h"
#include "tests/layers.h"

/* ---- Singular and badly conditioned */

/* H of so many random inputs: its rank. */
static float *of_rank(uint64_t n, unsigned rank)
{
	float *h = sure_alloc(n * n * sizeof *h), *x = layers_gauss(rank + 1, n, 1, 5);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			for (size_t r = 0; r < rank; r++)
				h[i * n + k] += x[r * n + i] * x[r * n + k] / (float)rank;
	free(x);
	return h;
}

/* Inputs that are never used. */
static void kill(float *h, uint64_t n, uint64_t first, uint64_t end, uint64_t step)
{
	for (size_t i = first; i < end; i += step)
		for (size_t k = 0; k < n; k++)
			h[i * n + k] = h[k * n + i] = 0;
}

START_TEST(degenerate_statistics)
{
	enum { ROWS = 50, COLS = 77 };
	static const char *const schemes[] = {"2x5g8", "1x6g4o3", "2x3g1", "1x4g32"};
	float *w = layers_gauss(ROWS, COLS, 0.1f, 2);

	for (int kind = 0; kind < 9; kind++)
		for (int i = 0; i < 4; i++)
			for (int effort = 1; effort <= 4; effort += 3) {
				const aqz_encode_options o = layers_options(effort);
				float *h = kind == 0 ? sure_alloc(COLS * COLS * sizeof *h)
					: kind < 4		 ? of_rank(COLS, (unsigned[]){1, 3, 20}[kind - 1])
									 : layers_spectrum(COLS, kind == 4 || kind == 8 ? 1e8 : 1e3, 3);
				/* Hardly worse than without statistics. */
				double loss, most = i == 3 ? 0.9 : 0.5;

				/* Every seventh; the first groups; one of 1e8 times the energy, like the first token's. */
				if (kind == 5)
					kill(h, COLS, 3, COLS, 7);
				if (kind == 6)
					kill(h, COLS, 0, 40, 1);
				for (size_t k = 0; kind == 7 && k < COLS; k++) {
					h[30 * COLS + k] *= 1e4f;
					h[k * COLS + 30] *= 1e4f;
				}
				/* Eigenvalues down to -1e-5, far more than rounding brings. */
				for (size_t k = 0; kind == 8 && k < COLS; k++)
					h[k * (COLS + 1)] = fmaxf(h[k * (COLS + 1)] - 1e-5f, 0);
				loss = layers_encode(NULL, &(aqz_layer){w, ROWS, COLS, h}, schemes[i], &o);
				ck_assert_msg(loss >= -1e-6 && loss < most, "kind %d, %s, effort %d: %g", kind,
					schemes[i], effort, loss);
				/* One direction is all that counts, and rows of their own can meet it. */
				ck_assert_msg(kind != 1 || i == 1 || i == 3 || loss < 1e-3,
					"rank 1, %s, effort %d: %g", schemes[i], effort, loss);
				free(h);
			}
	free(w);
}
END_TEST

/* Groups of inputs that are never used, beside those that are. */
START_TEST(dead_inputs_cost_nothing)
{
	enum { ROWS = 96, LIVE = 64, ALL = 96 };
	float *w = layers_gauss(ROWS, LIVE, 0.02f, 3), *h = layers_spectrum(LIVE, 1e3, 4);

	for (int k = 0; k < 3; k++) {
		static const float sizes[] = {0.01f, 1, 30};
		const aqz_encode_options o = layers_options(3 + k);
		float *more = layers_gauss(ROWS, ALL, 0.02f * sizes[k], 99),
			  *g = sure_alloc(ALL * ALL * sizeof *g);
		double alone, among;

		for (size_t i = 0; i < ROWS; i++)
			memcpy(more + i * ALL + (ALL - LIVE) / 2, w + i * LIVE, LIVE * sizeof *w);
		for (size_t i = 0; i < LIVE; i++)
			memcpy(g + (i + (ALL - LIVE) / 2) * ALL + (ALL - LIVE) / 2, h + i * LIVE,
				LIVE * sizeof *h);
		alone = layers_encode(NULL, &(aqz_layer){w, ROWS, LIVE, h}, "2x6g8", &o);
		among = layers_encode(NULL, &(aqz_layer){more, ROWS, ALL, g}, "2x6g8", &o);
		ck_assert_msg(among < 1.05 * alone, "effort %d: %g, alone %g", o.effort, among, alone);
		free(more);
		free(g);
	}
	free(w);
	free(h);
}
END_TEST

START_TEST(broken_statistics_are_refused)
{
	enum { ROWS = 5, COLS = 37 };
	static const float bad[] = {NAN, INFINITY, -INFINITY, -1e-30f};
	const aqz_scheme s = layers_scheme("2x3g8");
	aqz_encode_options o = layers_options(1);
	float *w = layers_gauss(ROWS, COLS, 1, 1), *h = layers_spectrum(COLS, 10, 1);
	aqz_encode_report told, untouched;
	aqz_additive a;
	aqz_error err;

	for (int i = 0; i < 4; i++)
		for (size_t at = 0; at < COLS * COLS; at += i == 3 ? COLS + 1 : 191) {
			const float kept = h[at];

			h[at] = bad[i];
			memset(&a, 0xee, sizeof a);
			memset(&told, 0xee, sizeof told);
			untouched = told;
			o.n_threads = at % 2 + 1;
			ck_assert_int_eq(
				aqz_encode_additive(&a, &told, &(aqz_layer){w, ROWS, COLS, h}, &s, &o, &err),
				AQZ_E_ARGUMENT);
			ck_assert_str_eq(err.where, "hessian");
			ck_assert(layers_is_zero(&a));
			ck_assert(memcmp(&told, &untouched, sizeof told) == 0);
			ck_assert_int_eq(aqz_train_codebooks(&a, &(aqz_layer){w, ROWS, COLS, h}, 1, &s, &o, &err),
				AQZ_E_ARGUMENT);
			ck_assert_str_eq(err.where, "hessian");
			ck_assert(layers_is_zero(&a));
			h[at] = kept;
		}
	w[80] = NAN;
	ck_assert_int_eq(aqz_encode_additive(&a, NULL, &(aqz_layer){w, ROWS, COLS, h}, &s, &o, &err),
		AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "w");
	ck_assert(layers_is_zero(&a));
	free(w);
	free(h);
}
END_TEST

/* ---- Odd weights */

START_TEST(rows_of_zeros)
{
	enum { ROWS = 70, COLS = 45 };
	const aqz_encode_options o = layers_options(3);
	float *h = layers_spectrum(COLS, 1e3, 1), *zero = sure_alloc(ROWS * COLS * sizeof *zero), *back;
	aqz_additive a;

	for (int tall = 0; tall < 2; tall++) {
		const char *scheme = tall ? "2x4g4o2" : "2x4g8";
		float *w = layers_gauss(ROWS, COLS, 1, 3);
		double loss, without;

		ck_assert_double_eq(layers_encode(&a, &(aqz_layer){zero, ROWS, COLS, h}, scheme, &o), 0);
		back = layers_decoded(&a);
		for (size_t i = 0; i < ROWS * COLS; i++)
			ck_assert(back[i] == 0);
		free(back);
		aqz_additive_free(&a);
		without = layers_encode(NULL, &(aqz_layer){w, 60, COLS, h}, scheme, &o);
		memmove(w + 20 * COLS, w + 10 * COLS, 50 * COLS * sizeof *w);
		memset(w + 10 * COLS, 0, 10 * COLS * sizeof *w);
		loss = layers_encode(&a, &(aqz_layer){w, ROWS, COLS, h}, scheme, &o);
		back = layers_decoded(&a);
		for (size_t i = 10 * COLS; i < 20 * COLS; i++)
			ck_assert(back[i] == 0);
		ck_assert_msg(loss < 1.1 * without, "%s: %g, without zeros %g", scheme, loss, without);
		free(back);
		aqz_additive_free(&a);
		free(w);
	}
	free(h);
	free(zero);
}
END_TEST

/* Both weights and statistics may be of any size: loss and codes are the same. */
START_TEST(magnitudes)
{
	static const struct {
		int w, h;
	} exponents[] = {{0, 0}, {10, 0}, {-10, 0}, {0, 40}, {0, -40}, {66, 0}, {-66, 0}, {66, 20},
		{-66, -20}, {50, 40}};
	aqz_encode_options o = layers_options(3);
	double first = 0;

	o.codebook_dtype = o.scale_dtype = AQZ_F32;
	for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++) {
		float *w = layers_gauss(32, 64, 1, 4), *h = layers_spectrum(64, 1e3, 3);
		double loss;

		for (size_t k = 0; k < 32 * 64; k++)
			w[k] = ldexpf(w[k], exponents[i].w);
		for (size_t k = 0; k < 64 * 64; k++)
			h[k] = ldexpf(h[k], exponents[i].h);
		loss = layers_encode(NULL, &(aqz_layer){w, 32, 64, h}, "2x4g4", &o);
		first = i == 0 ? loss : first;
		ck_assert_msg(fabs(loss - first) < 1e-3 * first, "2^%d, H 2^%d: %g, not %g", exponents[i].w,
			exponents[i].h, loss, first);
		free(w);
		free(h);
	}
}
END_TEST

/* ---- Memory */

/* What the call had on the heap is within what it said; less is refused. */
static void within(
	const aqz_layer *layers, uint32_t n, const aqz_scheme *s, aqz_encode_options *o, bool train)
{
	const uint64_t need = train ? aqz_train_codebooks_memory(layers, n, s, o)
								: aqz_encode_additive_memory(layers, s, o);
	const size_t before = heap_now();
	aqz_additive a;
	aqz_error err;

	/* Structs of fixed size are not counted, nor are a few bytes for each row, column and table. */
	const uint64_t slack =
		sizeof(aqz_encoder) + n * sizeof(aqz_metric) + n * sizeof(aqz_matrix) + 64 * 1024;

	o->memlimit_bytes = need;
	heap_reset(0);
	ck_assert_msg((train ? aqz_train_codebooks(&a, layers, n, s, o, &err)
						 : aqz_encode_additive(&a, NULL, layers, s, o, &err)) == AQZ_OK,
		"%s", err.text);
	ck_assert_msg(
		heap_peak() - before <= need + slack, "%zu bytes, said %lu", heap_peak() - before, need);
	/* It is no wild guess either. */
	ck_assert_msg(
		need <= 2 * (heap_peak() - before), "%zu bytes, said %lu", heap_peak() - before, need);
	aqz_additive_free(&a);
	ck_assert_uint_eq(heap_now(), before);
	for (uint64_t k = 0; k < 8; k++) {
		o->memlimit_bytes = k == 7 ? need - 1 : 1 + k * (need / 7);
		ck_assert_int_eq(train ? aqz_train_codebooks(&a, layers, n, s, o, &err)
							   : aqz_encode_additive(&a, NULL, layers, s, o, &err),
			AQZ_E_MEMLIMIT);
		ck_assert(layers_is_zero(&a));
	}
	ck_assert_uint_eq(heap_now(), before);
	o->memlimit_bytes = 0;
}

START_TEST(memory_is_what_was_said)
{
	static const struct {
		const char *scheme;
		uint64_t rows, cols;
	} cases[] = {{"2x4g8", 200, 260}, {"1x7g8", 150, 260}, {"2x3g4o3", 200, 130},
		{"1x1g1", 500, 240}}; /* the last one is trained on some of its rows */

	for (int i = 0; i < 4; i++) {
		const aqz_scheme s = layers_scheme(cases[i].scheme);
		const uint64_t rows = cases[i].rows, cols = cases[i].cols;
		aqz_encode_options o = layers_options(1);
		float *w = layers_gauss(rows, cols, 1, 1), *h = layers_spectrum(cols, 10, 1);
		const aqz_layer layers[] = {
			{w, rows, cols, h}, {w, 130, 100, NULL}, {w, cols / 2, rows, NULL}, {w, 7, cols, h}};
		aqz_additive given;
		aqz_error err;

		within(layers, 1, &s, &o, false);
		o.n_threads = 2;
		within(layers, 4, &s, &o, true);
		within(layers + 1, 2, &s, &o, true);
		o.codebook_dtype = AQZ_I8;
		ck_assert_int_eq(aqz_train_codebooks(&given, layers + 1, 1, &s, &o, &err), AQZ_OK);
		o.codebooks = &given;
		within(layers, 1, &s, &o, false);
		within(layers + 2, 1, &s, &o, false);
		aqz_additive_free(&given);
		free(w);
		free(h);
	}
}
END_TEST

START_TEST(memory_that_fails)
{
	const aqz_scheme s = layers_scheme("2x2g8o2");
	aqz_encode_options o = layers_options(2);
	float *w = layers_gauss(13, 20, 1, 1), *h = layers_spectrum(20, 10, 1);
	const aqz_layer layers[] = {{w, 13, 20, h}, {w, 20, 13, NULL}};
	const size_t before = heap_now();

	for (int train = 0; train < 2; train++) {
		uint64_t n = 1;

		for (uint64_t fail = 0; fail <= n; fail++) {
			aqz_additive a;
			aqz_status status;

			heap_reset(fail);
			status = train ? aqz_train_codebooks(&a, layers, 2, &s, &o, NULL)
						   : aqz_encode_additive(&a, NULL, layers, &s, &o, NULL);
			n = fail == 0 ? heap_calls() : n;
			heap_reset(0);
			ck_assert_int_eq(status, fail == 0 ? AQZ_OK : AQZ_E_NOMEM);
			ck_assert(fail == 0 || layers_is_zero(&a));
			aqz_additive_free(&a);
			ck_assert_uint_eq(heap_now(), before);
		}
		ck_assert_uint_gt(n, 20);
	}
	free(w);
	free(h);
}
END_TEST

/* ---- Cancelling */

/* kind: encode; train on two layers; encode with codebooks that are given; train on a part of the layer first. */
static aqz_status work(
	aqz_additive *a, int kind, const aqz_layer *layers, const aqz_encode_options *o)
{
	const aqz_scheme s = layers_scheme("2x3g4");
	const aqz_tune_effort some = {.plain = 1,
		.start_beam = 4,
		.sweeps = 2,
		.beam = 4,
		.cg_steps = 1,
		.rounds = 1,
		.long_rounds = 2,
		.final_beam = 4,
		.n_train = 640};
	aqz_error err;

	if (kind == 1)
		return aqz_train_codebooks(a, layers, 2, &s, o, &err);
	if (kind == 3)
		return aqz_encode_layer(a, NULL, layers, &s, o, &some, aqz_kernels_best(), &err);
	return aqz_encode_additive(a, NULL, layers, &s, o, &err);
}

START_TEST(cancelled_anywhere)
{
	float *w = layers_gauss(140, 33, 1, 1), *h = layers_spectrum(33, 10, 1);
	const aqz_layer layers[] = {{w, 140, 33, h}, {w, 33, 60, NULL}};
	aqz_additive given, a;

	for (int effort = 1; effort <= 3; effort++)
		for (int kind = 0; kind < 4; kind++) {
			aqz_encode_options o = layers_options(effort);
			layers_watch p = {0};
			unsigned n;
			size_t before;

			ck_assert_int_eq(work(&given, 1, layers, &o), AQZ_OK);
			before = heap_now();
			o.codebooks = kind == 2 ? &given : NULL;
			o.progress = layers_progress;
			o.progress_user = &p;
			ck_assert_int_eq(work(&a, kind, layers, &o), AQZ_OK);
			aqz_additive_free(&a);
			ck_assert_msg(p.last == 1000, "effort %d, kind %d ends at %lu", effort, kind, p.last);
			ck_assert_msg(
				p.full <= 2, "effort %d, kind %d: %u calls with all done", effort, kind, p.full);
			n = p.calls;
			ck_assert_uint_ge(n, kind == 2 ? 1 : 5);
			for (unsigned stop = 1; stop <= n; stop++) {
				p = (layers_watch){.stop = stop};
				ck_assert_int_eq(work(&a, kind, layers, &o), AQZ_E_CANCELLED);
				ck_assert_uint_eq(p.calls, stop);
				ck_assert(layers_is_zero(&a));
				ck_assert_uint_eq(heap_now(), before);
			}
			aqz_additive_free(&given);
		}
	free(w);
	free(h);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metric_bad");
	TCase *t = tcase_create("odd statistics");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, degenerate_statistics);
	tcase_add_test(t, dead_inputs_cost_nothing);
	tcase_add_test(t, broken_statistics_are_refused);
	tcase_add_test(t, rows_of_zeros);
	tcase_add_test(t, magnitudes);
	tcase_add_test(t, memory_is_what_was_said);
	tcase_add_test(t, memory_that_fails);
	tcase_add_test(t, cancelled_anywhere);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
