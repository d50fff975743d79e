/* SPDX-License-Identifier: Apache-2.0 */
/* aqz_encode_additive with the statistics of a layer's inputs: that the loss in their metric is what is reported,
 * that it is made small, and that what finds the codes does what metric.h says. test_metric_bad.c has odd statistics
 * and refusals, test_codebooks.c codebooks that are given. */
#include <check.h>
#include <math.h>

#include "tests/layers.h"

/* ---- The report */

/* layers_encode compares the report with what is decoded. */
START_TEST(report_is_true)
{
	static const struct {
		const char *scheme;
		uint64_t rows, cols;
	} cases[] = {{"1x8g8", 67, 101}, {"2x8g8", 30, 52}, {"2x4g8o2", 67, 101}, {"3x5g8", 67, 101},
		{"1x6g4o3", 67, 101}, {"2x3g5", 130, 63}, {"8x2g32", 67, 101}, {"1x1g1", 67, 101},
		{"2x4g1o64", 67, 41}, {"1x10g3o7", 67, 41}, {"2x4g8", 66, 5}, {"2x4g8", 1, 77},
		{"2x4g8o4", 3, 7}, {"2x3g4o2", 1, 1}, {"1x4g16", 129, 300}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int effort = 1; effort <= 3; effort++) {
			const uint64_t rows = cases[i].rows, cols = cases[i].cols;
			const aqz_encode_options o = layers_options(effort);
			float *w = layers_gauss(rows, cols, 0.02f, i), *h = layers_spectrum(cols, 1e6, i);

			ck_assert_double_lt(
				layers_encode(NULL, &(aqz_layer){w, rows, cols, h}, cases[i].scheme, &o), 0.5);
			free(w);
			free(h);
		}
}
END_TEST

START_TEST(before_is_the_loss_of_the_start)
{
	const aqz_scheme s = layers_scheme("2x6g8");
	const aqz_encode_options o = layers_options(3);
	float *w = layers_gauss(64, 96, 1, 1), *h = layers_spectrum(96, 1e4, 1);
	const aqz_layer layer = {w, 64, 96, h};
	/* Nothing after the start. */
	const aqz_tune_effort start = {
		.plain = 2, .start_beam = 32, .beam = 16, .cg_steps = 3, .final_beam = 32, .n_train = 65536};
	aqz_encode_report all, begun;
	aqz_additive a;
	aqz_error err;

	ck_assert_int_eq(
		aqz_encode_layer(&a, &all, &layer, &s, &o, NULL, aqz_kernels_best(), &err), AQZ_OK);
	aqz_additive_free(&a);
	ck_assert_int_eq(
		aqz_encode_layer(&a, &begun, &layer, &s, &o, &start, aqz_kernels_best(), &err), AQZ_OK);
	aqz_additive_free(&a);
	ck_assert_double_eq(all.loss_before, begun.loss_before);
	/* Rounding of the codebooks and the last scales are between the two. */
	ck_assert_double_eq_tol(begun.loss_after, 0.85 * begun.loss_before, 0.16 * begun.loss_before);
	ck_assert_double_lt(all.loss_after, 0.8 * all.loss_before);
	free(w);
	free(h);
}
END_TEST

/* ---- What it brings */

static double loss_without(const aqz_layer *layer, const char *scheme, const aqz_encode_options *o)
{
	aqz_additive a;
	double loss;

	layers_encode(&a, &(aqz_layer){layer->w, layer->rows, layer->cols, NULL}, scheme, o);
	loss = layers_loss(&a, layer, layer->hessian);
	aqz_additive_free(&a);
	return loss;
}

/* most: the loss as a share of that without statistics, measured times 1.15. */
START_TEST(statistics_pay)
{
	static const struct {
		const char *scheme;
		double most;
	} cases[] = {{"1x8g8", 0.105}, {"2x4g8o2", 0.25}, {"3x5g8", 0.143}, {"2x3g5", 0.18},
		{"8x2g32", 0.205}, {"1x1g1", 0.195}, {"2x4g1o64", 0.182}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const aqz_encode_options o = layers_options(3);
		float *w = layers_gauss(67, 101, 0.02f, i), *h = layers_spectrum(101, 1e6, i);
		const aqz_layer layer = {w, 67, 101, h};
		const double with = layers_encode(NULL, &layer, cases[i].scheme, &o);
		const double without = loss_without(&layer, cases[i].scheme, &o);

		ck_assert_msg(with <= cases[i].most * without, "%s: %g, without statistics %g",
			cases[i].scheme, with, without);
		free(w);
		free(h);
	}
}
END_TEST

START_TEST(identity_is_no_statistics)
{
	static const char *const schemes[] = {"1x7g8", "2x5g8", "3x4g4o2", "2x3g5"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		const aqz_encode_options o = layers_options(4);
		float *w = layers_gauss(67, 101, 0.02f, i), *h = sure_alloc(101 * 101 * sizeof *h);
		double with, without;

		for (int k = 0; k < 101; k++)
			h[k * 102] = 2.5f;
		with = layers_encode(NULL, &(aqz_layer){w, 67, 101, h}, schemes[i], &o);
		without = layers_encode(NULL, &(aqz_layer){w, 67, 101, NULL}, schemes[i], &o);
		ck_assert_msg(fabs(with - without) < 0.08 * without, "%s: %g, %g", schemes[i], with, without);
		free(w);
		free(h);
	}
}
END_TEST

START_TEST(effort_pays)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		float *w = layers_gauss(96, 128, 0.02f, seed),
			  *h = layers_spectrum(128, seed == 2 ? 1e2 : 1e4, seed + 8);
		double before = 1;

		for (int effort = 1; effort <= 6; effort++) {
			const aqz_encode_options o = layers_options(effort);
			const double loss = layers_encode(NULL, &(aqz_layer){w, 96, 128, h}, "2x6g8", &o);

			ck_assert_msg(loss <= before * 1.01, "effort %d: %g after %g", effort, loss, before);
			before = loss;
		}
		free(w);
		free(h);
	}
}
END_TEST

/* ---- The factors, metric.h */

static double product(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* Row c of the whole triangle: the group's own factor in its place among the feedback. */
static void whole_row(float *row, const aqz_metric *l, uint64_t c)
{
	const unsigned g = l->a.scheme.in_group;
	const uint64_t j = c / g;

	memcpy(row, l->feedback + c * l->a.cols, l->a.cols * sizeof *row);
	for (unsigned q = 0; q < aqz_group_cols(&l->a, j); q++)
		row[j * g + q] = aqz_factor(l, j)[c % g * g + q];
}

START_TEST(factors_are_those_of_the_metric)
{
	enum { COLS = 45 };
	const aqz_scheme s = layers_scheme("1x4g8");
	float *w = layers_gauss(3, COLS, 1, 1), *h = layers_spectrum(COLS, 1e3, 2), rows[COLS][COLS];
	aqz_budget budget = {0};
	aqz_matrix a;
	aqz_metric l;
	aqz_error err;
	uint32_t turn[6];
	double last = INFINITY, mean = 0;

	for (int k = 0; k < COLS; k++)
		mean += h[k * (COLS + 1)] / COLS;
	aqz_matrix_init(&a, w, 3, COLS, &s);
	ck_assert_int_eq(aqz_metric_create(&l, &a, h, &budget, &err), AQZ_OK);
	ck_assert_int_eq(aqz_metric_begin(&l, 1, &err), AQZ_OK);
	ck_assert_double_eq_tol(l.energy, layers_energy(w, NULL, 3, COLS, h), 1e-5 * l.energy);
	ck_assert_int_eq(aqz_metric_ldl(&l, 1, &budget, &err), AQZ_OK);
	for (uint32_t i = 0; i < 6; i++) {
		double importance = 0;

		turn[l.order[i]] = i;
		for (unsigned q = 0; q < aqz_group_cols(&a, l.order[i]); q++)
			importance += h[(l.order[i] * 8 + q) * (COLS + 1)];
		ck_assert_double_le(importance, last);
		last = importance;
	}
	for (uint64_t c = 0; c < COLS; c++)
		whole_row(rows[c], &l, c);
	for (uint64_t c = 0; c < COLS; c++)
		for (uint64_t k = 0; k <= c; k++) {
			const double own = h[c * COLS + k], got = product(rows[c], rows[k], COLS);
			const double damp = c == k ? 0.01 * own + 1e-4 * mean : 0;

			/* Errors go to later groups only. */
			ck_assert(turn[c / 8] <= turn[k / 8] || rows[c][k] == 0);
			ck_assert(turn[k / 8] <= turn[c / 8] || rows[k][c] == 0);
			ck_assert(c == k || c / 8 != k / 8 || rows[k][c] == 0);
			ck_assert_double_eq_tol(got, own + damp, 1e-5 * mean);
		}
	aqz_metric_descent(&l, 1);
	for (uint64_t c = 0; c < COLS; c++)
		for (uint64_t k = 0; k < COLS; k++) {
			const float *factor = aqz_factor(&l, k / 8) + k % 8 * 8;
			const unsigned n = aqz_group_cols(&a, k / 8);
			const float *own = aqz_factor(&l, c / 8) + c % 8 * 8,
						*feedback = l.feedback + c * COLS + k / 8 * 8;
			const double got =
				c / 8 == k / 8 ? product(own, factor, n) : product(feedback, factor, n);

			ck_assert_double_eq_tol(got, (double)h[c * COLS + k], 1e-5 * mean);
			ck_assert(c / 8 != k / 8 || l.feedback[c * COLS + k] == 0);
		}
	aqz_metric_free(&l, &budget);
	ck_assert_uint_eq(budget.used_bytes, 0);
	free(w);
	free(h);
}
END_TEST

/* ---- The descent */

/* Given codebooks and no noise, round after round: the loss never rises. The bottom and the right edge reach over the
 * matrix; blocks of groups are left in the midst of it. */
START_TEST(rounds_never_lose)
{
	static const char *const schemes[] = {"1x6g4", "2x4g8o2", "3x3g5", "2x3g1o3", "4x2g24o2"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		const aqz_scheme s = layers_scheme(schemes[i]);
		aqz_encode_options o = layers_options(1);
		float *w = layers_gauss(67, 199, 1, i), *h = layers_spectrum(199, 1e3, i);
		const aqz_layer layer = {w, 67, 199, h};
		double last = INFINITY, first = 0;
		aqz_additive given, a;
		aqz_error err;

		o.scale_dtype = AQZ_F32;
		o.codebook_dtype = AQZ_F32;
		ck_assert_int_eq(
			aqz_encode_additive(&given, NULL, &(aqz_layer){w, 67, 199, NULL}, &s, &o, &err), AQZ_OK);
		o.codebooks = &given;
		for (unsigned n = 0; n <= 6; n++) {
			const aqz_tune_effort f = {.start_beam = 4, .long_rounds = n, .final_beam = 4};
			aqz_encode_report told;

			ck_assert_int_eq(
				aqz_encode_layer(&a, &told, &layer, &s, &o, &f, aqz_kernels_best(), &err), AQZ_OK);
			aqz_additive_free(&a);
			ck_assert_msg(told.loss_after <= last * (1 + 1e-6), "%s, %u rounds: %.9g after %.9g",
				schemes[i], n, told.loss_after, last);
			last = told.loss_after;
			first = n == 0 ? last : first;
		}
		ck_assert_msg(last < 0.9 * first, "%s: %g after %g", schemes[i], last, first);
		aqz_additive_free(&given);
		free(w);
		free(h);
	}
}
END_TEST

/* Fills all[n][d] with the sums that codes can give. */
static size_t all_sums(float **all, const aqz_additive *a)
{
	const size_t per_book = (size_t)1 << a->scheme.code_bits, d = aqz_codeword(&a->scheme);
	const size_t n = a->scheme.n_codebooks == 1 ? per_book : per_book * per_book;
	float *books = sure_alloc(2 * per_book * d * sizeof *books);

	SURE(a->scheme.n_codebooks <= 2);
	aqz_widen_codebooks(books, a);
	*all = sure_alloc(n * d * sizeof **all);
	for (size_t k = 0; k < n; k++)
		for (size_t v = 0; v < d; v++)
			(*all)[k * d + v] = books[k % per_book * d + v] +
				(n > per_book ? books[(per_book + k / per_book) * d + v] : 0);
	free(books);
	return n;
}

/* What the best other code of each single group would bring, summed, as a share of the loss. */
static double left_over(const aqz_additive *a, const aqz_layer *layer)
{
	const uint64_t rows = layer->rows, cols = layer->cols, g = a->scheme.in_group,
				   out_group = a->scheme.out_group;
	const double loss = layers_energy(layer->w, NULL, rows, cols, layer->hessian) *
		layers_loss(a, layer, layer->hessian);
	const size_t d = aqz_codeword(&a->scheme);
	float *back = layers_decoded(a), *all, *scales = sure_alloc(a->code_rows * sizeof *scales);
	double *eh = sure_alloc((size_t)(rows * cols) * sizeof *eh), sum = 0;
	const size_t n = all_sums(&all, a);

	SURE(aqz_convert(scales, AQZ_F32, a->scales, a->scale_dtype, (size_t)a->code_rows, NULL) ==
		AQZ_OK);
	for (uint64_t r = 0; r < rows; r++)
		for (uint64_t k = 0; k < cols; k++)
			for (uint64_t c = 0; c < cols; c++)
				eh[r * cols + k] += ((double)layer->w[r * cols + c] - back[r * cols + c]) *
					layer->hessian[c * cols + k];
	for (uint64_t i = 0; i < a->code_rows; i++)
		for (uint64_t j = 0; j < a->groups; j++) {
			double best = 0;

			for (size_t k = 0; k < n; k++) {
				double gain = 0;

				for (uint64_t r = i * out_group; r < aqz_min(rows, (i + 1) * out_group); r++) {
					const float *to = all + k * d + (r - i * out_group) * g;
					const uint64_t n_cols = aqz_min(g, cols - j * g);
					double delta[AQZ_MAX_CODEWORD];

					for (uint64_t q = 0; q < n_cols; q++) {
						const uint64_t col = j * g + q;

						delta[q] = (double)back[r * cols + col] - (double)(to[q] * scales[i]);
						gain -= 2 * eh[r * cols + col] * delta[q];
						for (uint64_t p = 0; p <= q; p++)
							gain -= (p == q ? 1 : 2) * delta[q] * delta[p] *
								layer->hessian[col * cols + j * g + p];
					}
				}
				best = gain > best ? gain : best;
			}
			sum += best;
		}
	free(back);
	free(all);
	free(scales);
	free(eh);
	return sum / loss;
}

/* No code of a single group can be better but for what the last scales changed. Codes that were found in another metric
 * show that left_over sees what there is to gain. */
START_TEST(codes_are_the_best_given_the_others)
{
	static const char *const schemes[] = {"1x5g4", "2x4g4", "1x5g2o3", "2x3g7o2"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		const aqz_scheme s = layers_scheme(schemes[i]);
		aqz_encode_options o = layers_options(5);
		float *w = layers_gauss(50, 150, 1, i), *h = layers_spectrum(150, 1e3, i);
		const aqz_layer layer = {w, 50, 150, h};
		const aqz_tune_effort f = {
			.start_beam = 1, .long_rounds = 40, .final_beam = 1u << s.code_bits};
		aqz_additive a, given;
		aqz_error err;
		double left;

		layers_encode(&a, &layer, schemes[i], &o);
		left = left_over(&a, &layer);
		ck_assert_msg(left < 1e-3, "%s: %g", schemes[i], left);
		aqz_additive_free(&a);
		layers_encode(&given, &(aqz_layer){w, 50, 150, NULL}, schemes[i], &o);
		left = left_over(&given, &layer);
		ck_assert_msg(left > 0.05, "%s, in the plain metric: %g", schemes[i], left);
		o.codebooks = &given;
		ck_assert_int_eq(
			aqz_encode_layer(&a, NULL, &layer, &s, &o, &f, aqz_kernels_best(), &err), AQZ_OK);
		left = left_over(&a, &layer);
		ck_assert_msg(left < 1e-5, "%s, many rounds: %g", schemes[i], left);
		aqz_additive_free(&a);
		aqz_additive_free(&given);
		free(w);
		free(h);
	}
}
END_TEST

/* ---- What the result depends on */

START_TEST(threads_and_kernels_do_not_matter)
{
	/* The last one has more tasks of rows than there are parts that sums are made of. */
	static const struct {
		const char *scheme;
		uint64_t rows, cols;
	} cases[] = {
		{"2x6g8", 131, 141}, {"1x7g4o2", 131, 141}, {"4x3g5", 131, 141}, {"1x4g8", 1500, 20}};

	for (int i = 0; i < 4; i++) {
		const uint64_t rows = cases[i].rows, cols = cases[i].cols;
		const aqz_scheme s = layers_scheme(cases[i].scheme);
		float *w = layers_gauss(rows, cols, 0.02f, 9), *h = layers_spectrum(cols, 1e4, 3);
		const aqz_layer layer = {w, rows, cols, h};
		aqz_encode_options o = layers_options(2);
		aqz_encode_report told, again;
		aqz_additive first, other;
		aqz_error err;

		ck_assert_int_eq(
			aqz_encode_additive_with(&first, &told, &layer, &s, &o, aqz_kernels_get(0), &err),
			AQZ_OK);
		/* Each kernel on one thread, the first one on 2 and 3. */
		for (unsigned k = 1; k < 3 || aqz_kernels_get(k - 2) != NULL; k++) {
			const aqz_kernels *kernels = aqz_kernels_get(k < 3 ? 0 : k - 2);

			o.n_threads = k < 3 ? k + 1 : 1;
			ck_assert_int_eq(
				aqz_encode_additive_with(&other, &again, &layer, &s, &o, kernels, &err), AQZ_OK);
			ck_assert_msg(layers_same(&first, &other) && memcmp(&told, &again, sizeof told) == 0,
				"%s with %u threads, %s", cases[i].scheme, o.n_threads, kernels->name);
			aqz_additive_free(&other);
		}
		o.seed++;
		ck_assert_int_eq(aqz_encode_additive(&other, NULL, &layer, &s, &o, &err), AQZ_OK);
		ck_assert_msg(!layers_same(&first, &other), "%s: the seed changes nothing", cases[i].scheme);
		aqz_additive_free(&other);
		aqz_additive_free(&first);
		free(w);
		free(h);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metric");
	TCase *t = tcase_create("encoder in the metric of the inputs");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, report_is_true);
	tcase_add_test(t, before_is_the_loss_of_the_start);
	tcase_add_test(t, statistics_pay);
	tcase_add_test(t, identity_is_no_statistics);
	tcase_add_test(t, effort_pays);
	tcase_add_test(t, factors_are_those_of_the_metric);
	tcase_add_test(t, rounds_never_lose);
	tcase_add_test(t, codes_are_the_best_given_the_others);
	tcase_add_test(t, threads_and_kernels_do_not_matter);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
