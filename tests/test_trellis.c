/* SPDX-License-Identifier: Apache-2.0 */
/* The trellis codec's parameters and streams, spec 7.3: what goes in comes out; test_trellis_bad.c has what must be
 * refused, kernels_trellis.c what indices decode to. */
#include <check.h>
#include <math.h>

#include "tests/trellis_case.h"

static const unsigned state_bits[] = {0, 2, 3, 4, 5, 6, 7, 8};
static const uint64_t widths[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 100};

/* ---- The trellis */

/* For each parity, the code is a permutation of the states. */
START_TEST(codes_are_trellises)
{
	for (size_t b = 0; b < sizeof state_bits / sizeof *state_bits; b++) {
		const unsigned n = 1u << state_bits[b];

		for (unsigned odd = 0; odd < 2; odd++) {
			unsigned reached[256] = {0};

			for (unsigned s = 0; s < n; s++) {
				const unsigned next = aqz_trellis_next(state_bits[b], s, odd);

				ck_assert_uint_lt(next, n);
				reached[next]++;
			}
			for (unsigned s = 0; s < n; s++)
				ck_assert_uint_eq(reached[s], 1);
		}
	}
	/* The 8 states of the spec's table. */
	static const unsigned eight[8][2] = {{0, 2}, {5, 7}, {1, 3}, {4, 6}, {2, 0}, {7, 5}, {3, 1}, {6, 4}};
	for (unsigned s = 0; s < 8; s++)
		for (unsigned odd = 0; odd < 2; odd++)
			ck_assert_uint_eq(aqz_trellis_next(3, s, odd), eight[s][odd]);
}
END_TEST

START_TEST(eighths_of_octaves)
{
	for (int e = -128; e < 128; e++)
		ck_assert(aqz_eighth_octave(e) == (float)exp2(e / 8.0));
}
END_TEST

/* ---- Parameters */

static void check_table(const aqz_trellis_table *table, unsigned t)
{
	unsigned sum = table->escape, start = 0;

	for (int k = t == 1 ? -table->n_magnitudes : 1 - table->n_magnitudes; k < table->n_magnitudes; k++) {
		unsigned frequency;

		ck_assert_uint_eq(aqz_trellis_slot(&frequency, table, t, k), start);
		ck_assert_uint_ge(frequency, 1);
		start += frequency;
		sum += frequency;
	}
	ck_assert_uint_eq(sum, 4096);
}

static void same_params(const aqz_trellis_params *a, const aqz_trellis_params *b)
{
	ck_assert(a->has_row_steps == b->has_row_steps && memcmp(&a->base, &b->base, 4) == 0 && a->bias == b->bias);
	ck_assert(a->n_buckets == b->n_buckets && a->n_tables == b->n_tables);
	ck_assert_mem_eq(a->bucket_table, b->bucket_table, a->n_buckets);
	for (unsigned i = 0; i < a->n_tables; i++)
		for (unsigned t = 0; t < (a->state_bits == 0 ? 1 : 2); t++) {
			check_table(&a->tables[i][t], t);
			ck_assert_mem_eq(&a->tables[i][t], &b->tables[i][t], sizeof a->tables[i][t]);
		}
	ck_assert_mem_eq(a->column_step, b->column_step, a->cols);
	ck_assert_mem_eq(a->column_size, b->column_size, a->cols);
	ck_assert_mem_eq(a->row_step, b->row_step, a->rows);
	ck_assert_mem_eq(a->row_size, b->row_size, a->rows);
}

/* Reads what c holds, from just as many bytes. */
static aqz_status read_params(aqz_trellis_params *p, const trellis_case *c, const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n);
	aqz_error err;
	aqz_status status;

	SURE(copy != NULL || n == 0);
	memcpy(copy, bytes, n);
	*p = (aqz_trellis_params){.rows = c->p.rows, .cols = c->p.cols, .state_bits = c->p.state_bits};
	status = aqz_trellis_params_read(p, copy, n, &err);
	free(copy);
	return status;
}

/* What the indices decode to is checked by tests/kernels_trellis.c. */
static void round_trip(const trellis_case *c)
{
	aqz_trellis_params p;

	ck_assert_int_eq(read_params(&p, c, c->params.data, c->params.n), AQZ_OK);
	same_params(&p, &c->p);
	aqz_trellis_params_free(&p);
}

START_TEST(every_trellis_and_width)
{
	noise r = {6};

	for (size_t b = 0; b < sizeof state_bits / sizeof *state_bits; b++)
		for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
			trellis_case c;
			const uint64_t rows = i % 3 == 0 ? 1 : i % 3 == 1 ? 70 : 200;

			trellis_case_make(&c, i % 2 ? CASE_LAYER : CASE_RANDOM, state_bits[b], rows, widths[i], 64, &r);
			round_trip(&c);
			trellis_case_free(&c);
		}
}
END_TEST

START_TEST(every_kind)
{
	noise r = {7};

	for (int kind = CASE_RANDOM; kind <= CASE_CONSTANT; kind++)
		for (int round = 0; round < 24; round++) {
			trellis_case c;
			const unsigned bits = state_bits[round % 8];

			trellis_case_make(
				&c, (case_kind)kind, bits, 1 + noise_next(&r) % 150, 1 + noise_next(&r) % 150, 64, &r);
			round_trip(&c);
			trellis_case_free(&c);
		}
}
END_TEST

/* What is certain costs nothing: 32 states, and no word. */
START_TEST(zeros_cost_nothing)
{
	noise r = {8};
	trellis_case c;

	trellis_case_make(&c, CASE_ZERO, 3, 128, 100, 128, &r);
	ck_assert_uint_eq(c.chunks[0].n, 32 * 4);
	trellis_case_free(&c);
	trellis_case_make(&c, CASE_ZERO, 0, 64, 7, 64, &r);
	ck_assert_uint_eq(c.chunks[0].n, 7 * 4);
	/* Nine bytes of header; and so many bits for each array and exponent, its table. */
	ck_assert_uint_lt(c.params.n, 9 + (3 * 11 + 2 * 7 + 64 + 64 + 3 + 8 + 7 + 8) / 8);
	trellis_case_free(&c);
}
END_TEST

/* The stream's length is the entropy of the indices under their tables, but for 16 to 32 bits a lane. */
START_TEST(length_is_the_entropy)
{
	noise r = {9};
	trellis_case c;
	double bits = 0;

	trellis_case_make(&c, CASE_LAYER, 3, 2048, 96, 2048, &r);
	for (uint64_t j = 0; j < c.p.cols; j++) {
		unsigned state = 0;

		for (uint64_t i = 0; i < c.p.rows; i++) {
			const int32_t k = c.index[j * c.p.rows + i];
			const unsigned type = state & 1;
			const aqz_trellis_table *t = &c.p.tables[c.p.bucket_table[aqz_trellis_bucket(&c.p, i, j)]][type];
			unsigned frequency;

			(void)aqz_trellis_slot(&frequency, t, type, k);
			bits += frequency > 0 ? 12 - log2(frequency) : 12 - log2(t->escape) + 16;
			state = aqz_trellis_next(3, state, (unsigned)k & 1);
		}
	}
	ck_assert_double_gt(8.0 * (double)c.chunks[0].n, bits);
	ck_assert_double_lt(8.0 * (double)c.chunks[0].n, 1.001 * bits + 32 * 32);
	trellis_case_free(&c);
}
END_TEST

/* Frequencies that are as they will be read stay so, and others move by little. */
START_TEST(frequencies_are_kept)
{
	noise r = {10};

	for (int round = 0; round < 10; round++) {
		trellis_case c;

		trellis_case_make(&c, CASE_LAYER, 3, 64, 32, 64, &r);
		for (unsigned i = 0; i < c.p.n_tables; i++)
			for (unsigned s = 0; s < 2; s++) {
				const double decay = 0.2 + 0.25 * i;
				double sum = 0, divergence = 0, p[AQZ_TRELLIS_MAX_MAGNITUDE + 1], mass = 0;
				const aqz_trellis_table *t = &c.p.tables[i][s];

				for (unsigned m = 0; m < t->n_magnitudes; m++)
					sum += (m > 0 || s == 1 ? 2 : 1) * (p[m] = exp(-m / decay));
				for (unsigned m = 0; m < t->n_magnitudes; m++) {
					const double copies = m > 0 || s == 1 ? 2 : 1;

					p[m] = fmax(1.0 / 4096, p[m] / sum);
					mass += copies * p[m];
					divergence += copies * p[m] * log2(p[m] * 4096 / t->frequency[m]);
				}
				ck_assert_double_lt(divergence / mass, 0.02);
			}
		trellis_case_free(&c);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trellis");
	TCase *t = tcase_create("trellis");
	SRunner *run;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, codes_are_trellises);
	tcase_add_test(t, eighths_of_octaves);
	tcase_add_test(t, every_trellis_and_width);
	tcase_add_test(t, every_kind);
	tcase_add_test(t, zeros_cost_nothing);
	tcase_add_test(t, length_is_the_entropy);
	tcase_add_test(t, frequencies_are_kept);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_NORMAL);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed != 0;
}
