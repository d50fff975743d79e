/* SPDX-License-Identifier: Apache-2.0 */
/* Codebooks that are given to aqz_encode_additive, and aqz_train_codebooks, which makes them for several layers. */
#include <check.h>
#include <math.h>

#include "tests/layers.h"

/* Two layers of other shapes, weights and statistics: normal weights; and their cubes, which have long tails. */
enum { N_LAYERS = 2 };
static const aqz_layer shapes[N_LAYERS] = {{.rows = 96, .cols = 128}, {.rows = 61, .cols = 67}};

typedef struct pair {
	float *w[N_LAYERS], *h[N_LAYERS];
	aqz_layer layers[N_LAYERS];
} pair;

/* with: bit i gives layer i its statistics. */
static pair pair_make(unsigned with)
{
	pair p;

	for (unsigned i = 0; i < N_LAYERS; i++) {
		const uint64_t rows = shapes[i].rows, cols = shapes[i].cols;

		p.w[i] = layers_gauss(rows, cols, 1, i + 3);
		p.h[i] = layers_spectrum(cols, i == 0 ? 1e3 : 1e2, i + 5);
		for (size_t k = 0; k < rows * cols; k++)
			p.w[i][k] = i == 0 ? 0.02f * p.w[i][k] : 0.01f * p.w[i][k] * p.w[i][k] * p.w[i][k];
		p.layers[i] = (aqz_layer){p.w[i], rows, cols, (with >> i & 1) != 0 ? p.h[i] : NULL};
	}
	return p;
}

static void pair_free(pair *p)
{
	for (unsigned i = 0; i < N_LAYERS; i++) {
		free(p->w[i]);
		free(p->h[i]);
	}
}

static aqz_additive train(
	const aqz_layer *layers, uint32_t n, const char *scheme, const aqz_encode_options *opt)
{
	const aqz_scheme s = layers_scheme(scheme);
	aqz_additive a;
	aqz_error err;

	memset(&a, 0xee, sizeof a);
	ck_assert_msg(
		aqz_train_codebooks(&a, layers, n, &s, opt, &err) == AQZ_OK, "%s: %s", scheme, err.text);
	/* The codebooks alone. */
	ck_assert(a.codes == NULL && a.scales == NULL && a.codes_bytes == 0);
	ck_assert(a.rows == 0 && a.cols == 0 && a.code_rows == 0 && a.groups == 0);
	ck_assert(memcmp(&a.scheme, &s, sizeof s) == 0 && a.codebooks != NULL);
	ck_assert((a.codebook_scales != NULL) == (a.codebook_dtype == AQZ_I8));
	return a;
}

static size_t codebook_bytes(const aqz_additive *a)
{
	return aqz_codewords(&a->scheme) * aqz_codeword(&a->scheme) *
		aqz_dtype_bits(a->codebook_dtype) / 8;
}

static bool same_codebooks(const aqz_additive *a, const aqz_additive *b)
{
	const size_t n_scales = a->scheme.n_codebooks * aqz_codeword(&a->scheme);

	return a->codebook_dtype == b->codebook_dtype &&
		memcmp(a->codebooks, b->codebooks, codebook_bytes(a)) == 0 &&
		(a->codebook_scales == NULL) == (b->codebook_scales == NULL) &&
		(a->codebook_scales == NULL ||
			memcmp(a->codebook_scales, b->codebook_scales, n_scales * sizeof *a->codebook_scales) ==
				0);
}

/* ---- Given */

START_TEST(given_codebooks_are_kept)
{
	static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_BF16, AQZ_F32, AQZ_I8};
	static const char *const schemes[] = {"2x5g8", "1x7g4o3", "3x3g5"};

	for (int i = 0; i < 12; i++)
		for (unsigned with = 0; with < 2; with++) {
			const char *scheme = schemes[i / 4];
			aqz_encode_options o = layers_options(3);
			aqz_additive own, given, again;
			double own_loss, loss;
			pair p = pair_make(with);

			o.codebook_dtype = dtypes[i % 4];
			own_loss = layers_encode(&own, &p.layers[0], scheme, &o);
			/* The option's codebook_dtype counts for nothing then. */
			o.codebook_dtype = i % 2 == 0 ? 0 : AQZ_F32;
			o.codebooks = &own;
			loss = layers_encode(&again, &p.layers[0], scheme, &o);
			ck_assert(same_codebooks(&own, &again) && own.codebooks != again.codebooks);
			ck_assert_msg(loss < 1.6 * own_loss, "%s, dtype %d: %g, own %g", scheme, dtypes[i % 4],
				loss, own_loss);
			aqz_additive_free(&again);
			/* Another layer. */
			loss = layers_encode(&again, &p.layers[1], scheme, &o);
			ck_assert(same_codebooks(&own, &again));
			ck_assert_double_lt(loss, 0.9);
			aqz_additive_free(&again);
			/* Trained ones. */
			o = layers_options(2);
			o.codebook_dtype = dtypes[i % 4];
			given = train(p.layers, 2, scheme, &o);
			ck_assert(given.codebook_dtype == dtypes[i % 4]);
			o.codebooks = &given;
			layers_encode(&again, &p.layers[1], scheme, &o);
			ck_assert(same_codebooks(&given, &again));
			aqz_additive_free(&again);
			aqz_additive_free(&given);
			aqz_additive_free(&own);
			pair_free(&p);
		}
}
END_TEST

/* The same layer in another size has the same loss with the same codebooks: scales make up for it, as far as their type
 * goes. */
START_TEST(given_codebooks_meet_other_sizes)
{
	static const int exponents[] = {-20, -7, -1, 1, 9, 16};

	for (unsigned with = 0; with < 2; with++) {
		pair p = pair_make(with);
		const size_t n = p.layers[0].rows * p.layers[0].cols;
		aqz_encode_options o = layers_options(3);
		float *w = sure_alloc(n * sizeof *w);
		aqz_additive own, again;
		double loss;

		o.scale_dtype = AQZ_F32;
		layers_encode(&own, &p.layers[0], "2x5g8", &o);
		o.codebooks = &own;
		loss = layers_encode(&again, &p.layers[0], "2x5g8", &o);
		aqz_additive_free(&again);
		for (int i = 0; i < 6; i++) {
			const aqz_layer other = {w, p.layers[0].rows, p.layers[0].cols, p.layers[0].hessian};
			double found;

			for (size_t k = 0; k < n; k++)
				w[k] = ldexpf(p.layers[0].w[k], exponents[i]);
			found = layers_encode(&again, &other, "2x5g8", &o);
			ck_assert_msg(
				fabs(found - loss) < 0.01 * loss, "2^%d: %g, not %g", exponents[i], found, loss);
			aqz_additive_free(&again);
		}
		free(w);
		aqz_additive_free(&own);
		pair_free(&p);
	}
}
END_TEST

/* A layer that is 2^12 times smaller than the one that it trains with is met no worse than trained with its equal. */
START_TEST(training_meets_layers_of_other_sizes)
{
	pair p = pair_make(1);
	const size_t n = p.layers[1].rows * p.layers[1].cols;
	float *w = sure_alloc(n * sizeof *w);
	aqz_layer layers[2] = {p.layers[0], {w, p.layers[1].rows, p.layers[1].cols, p.layers[1].hessian}};
	aqz_encode_options o = layers_options(3);
	double losses[2];

	o.scale_dtype = AQZ_F32;
	for (int i = 0; i < 2; i++) {
		aqz_additive given, a;

		for (size_t k = 0; k < n; k++)
			w[k] = ldexpf(p.layers[1].w[k], i == 0 ? 0 : -12);
		o.codebooks = NULL;
		given = train(layers, 2, "2x5g8", &o);
		o.codebooks = &given;
		losses[i] = layers_encode(&a, &layers[1], "2x5g8", &o);
		aqz_additive_free(&a);
		aqz_additive_free(&given);
	}
	ck_assert_msg(losses[1] < 1.05 * losses[0], "%g, with its equal %g", losses[1], losses[0]);
	free(w);
	pair_free(&p);
}
END_TEST

/* Fewer vectors, other codebooks: a little worse; a limit beyond all changes nothing. */
START_TEST(training_on_fewer_vectors)
{
	enum { ROWS = 512, COLS = 64 };
	float *w = layers_gauss(ROWS, COLS, 0.02f, 8), *h = layers_spectrum(COLS, 1e2, 9);

	for (unsigned with = 0; with < 2; with++) {
		const aqz_layer layer = {w, ROWS, COLS, with ? h : NULL};
		aqz_encode_options o = layers_options(2);
		aqz_additive all, same, few;
		double all_loss, few_loss;

		all_loss = layers_encode(&all, &layer, "2x5g8", &o);
		o.train_vectors = UINT64_C(1) << 40;
		layers_encode(&same, &layer, "2x5g8", &o);
		ck_assert(layers_same(&all, &same));
		o.train_vectors = 512;
		few_loss = layers_encode(&few, &layer, "2x5g8", &o);
		ck_assert(!layers_same(&all, &few));
		ck_assert_msg(few_loss > all_loss && few_loss < 1.5 * all_loss, "%g, with all %g", few_loss,
			all_loss);
		aqz_additive_free(&few);
		aqz_additive_free(&same);
		aqz_additive_free(&all);
	}
	free(w);
	free(h);
}
END_TEST

START_TEST(other_codebooks_are_refused)
{
	static const char *const others[] = {"1x4g8", "2x5g8", "2x4g4", "2x4g8o2", "2x4g4o2"};
	pair p = pair_make(1);
	const aqz_scheme s = layers_scheme("2x4g8");
	aqz_encode_options o = layers_options(1);

	for (int i = 0; i < 5; i++) {
		aqz_additive given = train(&p.layers[1], 1, others[i], &o), a;
		aqz_error err;

		o.codebooks = &given;
		for (int k = 0; k < N_LAYERS; k++) {
			memset(&a, 0xee, sizeof a);
			ck_assert_int_eq(
				aqz_encode_additive(&a, NULL, &p.layers[k], &s, &o, &err), AQZ_E_ARGUMENT);
			ck_assert(layers_is_zero(&a));
			ck_assert_uint_eq(aqz_encode_additive_memory(&p.layers[k], &s, &o), UINT64_MAX);
		}
		o.codebooks = NULL;
		aqz_additive_free(&given);
	}
	pair_free(&p);
}
END_TEST

/* ---- Trained */

static double sum_of_losses(
	const pair *p, const aqz_additive *codebooks, const char *scheme, int effort)
{
	aqz_encode_options o = layers_options(effort);
	double sum = 0;

	o.codebooks = codebooks;
	for (unsigned i = 0; i < N_LAYERS; i++)
		sum += layers_encode(NULL, &p->layers[i], scheme, &o);
	return sum;
}

/* Codebooks of both layers serve both better than those of either one, and in whatever order they are. */
START_TEST(training_counts_all_layers)
{
	static const char *const schemes[] = {"2x6g8", "1x8g4"};

	for (unsigned i = 0; i < 2; i++)
		for (unsigned with = 0; with < 4; with++) {
			const aqz_encode_options o = layers_options(3);
			pair p = pair_make(with);
			const aqz_layer turned[] = {p.layers[1], p.layers[0]};
			aqz_additive both = train(p.layers, 2, schemes[i], &o),
						 other = train(turned, 2, schemes[i], &o);
			const double loss = sum_of_losses(&p, &both, schemes[i], 3);

			ck_assert_double_lt(sum_of_losses(&p, &other, schemes[i], 3), 1.1 * loss);
			for (int k = 0; k < N_LAYERS; k++) {
				aqz_additive one = train(&p.layers[k], 1, schemes[i], &o);
				aqz_encode_options from = layers_options(3);
				double far, near;

				from.codebooks = &one;
				far = layers_encode(NULL, &p.layers[1 - k], schemes[i], &from);
				from.codebooks = &both;
				near = layers_encode(NULL, &p.layers[1 - k], schemes[i], &from);
				ck_assert_msg(near < 0.95 * far,
					"%s, with %u, layer %d: %g, %g with codebooks of the other", schemes[i], with,
					1 - k, near, far);
				aqz_additive_free(&one);
			}
			aqz_additive_free(&both);
			aqz_additive_free(&other);
			pair_free(&p);
		}
}
END_TEST

/* Rows of one matrix, as one layer and as several, are the same task. */
START_TEST(parts_are_as_good_as_the_whole)
{
	float *w = layers_gauss(128, 96, 0.02f, 1), *h = layers_spectrum(96, 1e3, 2);
	const aqz_encode_options o = layers_options(4);
	const aqz_layer whole = {w, 128, 96, h},
					parts[] = {{w, 64, 96, h}, {w + 64 * 96, 32, 96, h}, {w + 96 * 96, 32, 96, h}};
	aqz_additive one = train(&whole, 1, "2x5g8", &o), several = train(parts, 3, "2x5g8", &o);
	aqz_encode_options from = layers_options(4);
	double loss[2];

	for (int k = 0; k < 2; k++) {
		from.codebooks = k == 0 ? &one : &several;
		loss[k] = layers_encode(NULL, &whole, "2x5g8", &from);
	}
	ck_assert_msg(loss[1] < 1.08 * loss[0], "%g, %g in parts", loss[0], loss[1]);
	aqz_additive_free(&one);
	aqz_additive_free(&several);
	free(w);
	free(h);
}
END_TEST

START_TEST(training_depends_on_the_seed_alone)
{
	static const char *const schemes[] = {"2x5g8", "1x6g4o3"};
	pair p = pair_make(1);

	for (int i = 0; i < 2; i++) {
		aqz_encode_options o = layers_options(2);
		aqz_additive first = train(p.layers, 2, schemes[i], &o), again;

		for (o.n_threads = 1; o.n_threads <= 3; o.n_threads++) {
			again = train(p.layers, 2, schemes[i], &o);
			ck_assert_msg(
				same_codebooks(&first, &again), "%s with %u threads", schemes[i], o.n_threads);
			aqz_additive_free(&again);
		}
		o.n_threads = 1;
		o.seed++;
		again = train(p.layers, 2, schemes[i], &o);
		ck_assert_msg(!same_codebooks(&first, &again), "%s: the seed changes nothing", schemes[i]);
		aqz_additive_free(&again);
		aqz_additive_free(&first);
	}
	pair_free(&p);
}
END_TEST

/* Layers that hold no whole group, of zeros, of one row. */
START_TEST(odd_layers)
{
	pair p = pair_make(3);
	float *zero = sure_alloc(128 * 128 * sizeof *zero);
	const aqz_layer odd[] = {{p.w[0], 5, 3, NULL}, {p.w[0], 1, 1, NULL}, {zero, 40, 40, NULL},
		{p.w[0], 1, 128, p.h[0]}, {p.w[0], 13, 128, zero}};
	const aqz_encode_options o = layers_options(2);
	aqz_encode_options from = layers_options(2);
	aqz_additive alone = train(p.layers, 1, "2x4g8o2", &o), given;
	double own;

	from.codebooks = &alone;
	own = layers_encode(NULL, p.layers, "2x4g8o2", &from);
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
		for (int last = 0; last < 2; last++) {
			const aqz_layer two[] = {
				last != 0 ? p.layers[0] : odd[i], last != 0 ? odd[i] : p.layers[0]};
			double loss;

			given = train(&odd[i], 1, "2x4g8o2", &o);
			aqz_additive_free(&given);
			given = train(two, 2, "2x4g8o2", &o);
			from.codebooks = &given;
			loss = layers_encode(NULL, p.layers, "2x4g8o2", &from);
			ck_assert_msg(
				loss < 1.15 * own, "beside layer %zu (%d): %g, alone %g", i, last, loss, own);
			layers_encode(NULL, &odd[i], "2x4g8o2", &from);
			aqz_additive_free(&given);
		}
	aqz_additive_free(&alone);
	pair_free(&p);
	free(zero);
}
END_TEST

static void refused(
	const aqz_layer *layers, uint32_t n, const aqz_scheme *s, const aqz_encode_options *o)
{
	aqz_additive a;
	aqz_error err;

	memset(&a, 0xee, sizeof a);
	ck_assert_int_eq(aqz_train_codebooks(&a, layers, n, s, o, &err), AQZ_E_ARGUMENT);
	ck_assert(layers_is_zero(&a) && err.text[0] != 0);
}

START_TEST(bad_training_is_refused)
{
	pair p = pair_make(1);
	const aqz_scheme s = layers_scheme("2x4g8");
	aqz_encode_options o = layers_options(1);
	aqz_layer layers[] = {p.layers[0], p.layers[1]};
	aqz_additive given = train(p.layers, 2, "2x4g8", &o);

	refused(layers, 0, &s, &o);
	refused(NULL, 0, &s, &o);
	ck_assert_uint_eq(aqz_train_codebooks_memory(layers, 0, &s, &o), UINT64_MAX);
	o.codebooks = &given;
	refused(layers, 2, &s, &o);
	o = layers_options(10);
	refused(layers, 2, &s, &o);
	o = layers_options(1);
	refused(layers, 2, &(aqz_scheme){AQZ_CODEC_LOSSLESS, 0, 0, 0, 0}, &o);
	for (int i = 0; i < N_LAYERS; i++) {
		const float kept = p.w[i][7];

		layers[i].rows = 0;
		refused(layers, 2, &s, &o);
		ck_assert_uint_eq(aqz_train_codebooks_memory(layers, 2, &s, &o), UINT64_MAX);
		layers[i] = p.layers[i];
		layers[i].cols = UINT64_MAX;
		refused(layers, 2, &s, &o);
		layers[i] = p.layers[i];
		p.w[i][7] = NAN;
		refused(layers, 2, &s, &o);
		p.w[i][7] = kept;
	}
	p.h[0][9] = INFINITY;
	refused(layers, 2, &s, &o);
	aqz_additive_free(&given);
	pair_free(&p);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("codebooks");
	TCase *t = tcase_create("given and trained");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, given_codebooks_are_kept);
	tcase_add_test(t, given_codebooks_meet_other_sizes);
	tcase_add_test(t, training_on_fewer_vectors);
	tcase_add_test(t, training_meets_layers_of_other_sizes);
	tcase_add_test(t, other_codebooks_are_refused);
	tcase_add_test(t, training_counts_all_layers);
	tcase_add_test(t, parts_are_as_good_as_the_whole);
	tcase_add_test(t, training_depends_on_the_seed_alone);
	tcase_add_test(t, odd_layers);
	tcase_add_test(t, bad_training_is_refused);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
