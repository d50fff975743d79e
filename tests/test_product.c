/* SPDX-License-Identifier: Apache-2.0 */
/* Products on T64 codes against binary64, within the bound of codec/product.h, in memory that ends at pages that nobody
 * may touch; all variants, any number of threads. */
#include <check.h>
#include <math.h>

#include "codec/product.h"
#include "tests/guard_page.h"
#include "tests/matrix.h"

/* Codebooks of a range in binary32, as the decoder has them. */
static paged codebooks_of(const matrix *m, const spec_range *r)
{
	const size_t n = aqz_codewords(&m->view.scheme), d = aqz_codeword(&m->view.scheme);
	const size_t per_book = n / m->view.scheme.n_codebooks;
	paged p = paged_alloc(n * d * sizeof(float));
	float *values = p.data;

	for (size_t i = 0; i < n * d; i++)
		values[i] = r->integers == NULL
			? r->codebook[i]
			: (float)r->integers[i] * r->codebook_scales[i / d / per_book * d + i % d];
	return p;
}

/* One element of y and what its rounding errors are in proportion to. */
static double exact(double *size, const matrix *m, const spec_range *r, const float *values,
	const float *x, uint64_t row)
{
	const aqz_scheme *s = &m->view.scheme;
	const uint64_t i = row / s->out_group;
	const double scale = m->row_scales != NULL ? m->row_scales[i] : 1;
	double sum = 0;

	*size = 0;
	for (uint64_t col = 0; col < m->view.cols; col++)
		for (unsigned k = 0; k < s->n_codebooks; k++) {
			const size_t code = m->codes[(i * m->groups + col / s->in_group) * s->n_codebooks + k];
			const size_t at =
				((((size_t)k << s->code_bits) + code) * s->out_group + row % s->out_group) *
				s->in_group;
			const double term = (double)values[at + col % s->in_group] * x[col] * scale;

			sum += term;
			*size += fabs(term);
		}
	(void)r;
	return sum;
}

static void check_rows(
	const matrix *m, const spec_range *r, const float *values, const float *x, const float *y)
{
	const aqz_scheme *s = &m->view.scheme;
	const uint64_t begin = r->begin * s->out_group,
				   end = aqz_min(r->end * s->out_group, m->view.rows);
	const double u = 0x1p-24 * ((double)m->groups * s->n_codebooks + s->in_group + 4);

	for (uint64_t row = begin; row < end; row++) {
		double size, sum = exact(&size, m, r, values, x, row);

		ck_assert_msg(fabs(sum - y[row - begin]) <= u * size, "row %llu: %.9g, not %.9g",
			(unsigned long long)row, (double)y[row - begin], sum);
	}
}

/* Products of one range, by each variant, on one thread and three. */
static void check_range(const matrix *m, const spec_range *r, const float *x)
{
	const aqz_scheme *s = &m->view.scheme;
	const uint64_t begin = r->begin * s->out_group,
				   rows = aqz_min(r->end * s->out_group, m->view.rows) - begin;
	const size_t line_bytes = (size_t)s->n_codebooks * s->code_bits * 8;
	const size_t n_bytes = (size_t)aqz_ceil_div(r->end - r->begin, 64) * m->groups * line_bytes;
	const size_t scratch_bytes = (size_t)aqz_product_scratch_bytes(s, rows, m->view.cols);
	paged values = codebooks_of(m, r), lines = paged_alloc(n_bytes),
		  y = paged_alloc(rows * sizeof(float));
	paged first = paged_alloc(rows * sizeof(float)), scratch = paged_alloc(scratch_bytes);
	const aqz_tables tables = {*s, AQZ_F32, values.data};
	const aqz_product_part part = {
		y.data, lines.data, m->row_scales != NULL ? m->row_scales + r->begin : NULL, rows};

	ck_assert_uint_eq(scratch_bytes % 64, 0);
	memcpy(lines.data, m->lines + r->begin / 64 * m->groups * line_bytes, n_bytes);
	for (unsigned i = 0; aqz_product_kernels_get(i) != NULL; i++)
		for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
			memset(y.data, 0xff, rows * sizeof(float));
			aqz_product(&part, 1, &tables, m->view.cols, x, scratch.data, n_threads,
				aqz_product_kernels_get(i));
			if (n_threads == 1)
				check_rows(m, r, values.data, x, y.data);
			else
				ck_assert_mem_eq(first.data, y.data, rows * sizeof(float));
			memcpy(first.data, y.data, rows * sizeof(float));
		}
	paged_free(&values);
	paged_free(&lines);
	paged_free(&y);
	paged_free(&first);
	paged_free(&scratch);
}

static void check(const matrix_options *opt, uint64_t seed)
{
	noise r = {seed};
	paged x = paged_alloc(opt->cols * sizeof(float));
	matrix m;

	matrix_make(&m, opt, &r);
	for (uint64_t i = 0; i < opt->cols; i++)
		((float *)x.data)[i] = (float)(int32_t)(noise_next(&r) >> 32) / 0x1p31f;
	for (unsigned i = 0; i < (opt->n_ranges != 0 ? opt->n_ranges : 1); i++)
		check_range(&m, &m.ranges[i], x.data);
	paged_free(&x);
	matrix_free(&m);
}

/* Each way for each number of bits: rows below and above where tables pay. */
START_TEST(every_number_of_bits)
{
	char scheme[24];

	for (unsigned bits = 1; bits <= 16; bits++)
		for (unsigned many = 0; many < 2; many++) {
			const uint64_t rows = many == 0 ? 130 : aqz_min(UINT64_C(2) << bits, 8192) + 67;
			const matrix_options opt = {
				.scheme = scheme, .rows = rows, .cols = 21, .scale_dtype = AQZ_F16};

			snprintf(scheme, sizeof scheme, "1x%ug8", bits);
			check(&opt, 100 + bits);
		}
}
END_TEST

START_TEST(many_schemes)
{
	static const matrix_options all[] = {
		{.scheme = "2x8g8", .rows = 300, .cols = 576, .scale_dtype = AQZ_F32},
		{.scheme = "2x8g8", .rows = 63, .cols = 40},
		{.scheme = "8x8g8", .rows = 256, .cols = 1103, .scale_dtype = AQZ_F16}, /* more than one panel */
		{.scheme = "3x5g4", .rows = 129, .cols = 30, .scale_dtype = AQZ_BF16},
		{.scheme = "4x8g16", .rows = 257, .cols = 100, .scale_dtype = AQZ_F16},
		{.scheme = "2x10g16", .rows = 70, .cols = 33, .scale_dtype = AQZ_F16},
		{.scheme = "5x9g4", .rows = 70, .cols = 33, .scale_dtype = AQZ_F16},
		{.scheme = "2x8g8", .rows = 260, .cols = 64, .codebook_dtype = {AQZ_I8}, .scale_dtype = AQZ_F16},
		{.scheme = "2x9g8", .rows = 90, .cols = 64, .codebook_dtype = {AQZ_I8}, .scale_dtype = AQZ_F16},
		{.scheme = "2x8g8o2", .rows = 301, .cols = 61, .scale_dtype = AQZ_F16},
		{.scheme = "1x7g4o16", .rows = 2055, .cols = 13, .scale_dtype = AQZ_F16},
		{.scheme = "6x3g3o5", .rows = 333, .cols = 20, .scale_dtype = AQZ_F32},
		{.scheme = "1x8g64", .rows = 280, .cols = 130, .scale_dtype = AQZ_F32},
		{.scheme = "1x16g8", .rows = 100, .cols = 80, .scale_dtype = AQZ_F16},
		{.scheme = "2x4g1", .rows = 64, .cols = 7, .scale_dtype = AQZ_F16},
		{.scheme = "1x1g7", .rows = 1, .cols = 1},
		{.scheme = "2x8g8",
			.rows = 300,
			.cols = 100,
			.n_ranges = 3,
			.codebook_dtype = {AQZ_F32, AQZ_I8, AQZ_BF16},
			.scale_dtype = AQZ_F16},
		{.scheme = "2x6g8o2", .rows = 300, .cols = 100, .n_ranges = 2, .scale_dtype = AQZ_F16},
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		check(&all[i], 7 + i);
}
END_TEST

/* Matrices of the same codebooks at a time: as each alone, when both have tables. */
START_TEST(parts_together)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 700, .cols = 600, .scale_dtype = AQZ_F16};
	noise r = {5};
	matrix m;

	matrix_make(&m, &opt, &r);
	const aqz_scheme *s = &m.view.scheme;
	const size_t block = m.groups * s->n_codebooks * s->code_bits * 8;
	float x[600], alone[700], together[700];
	paged values = codebooks_of(&m, &m.ranges[0]);
	const aqz_tables tables = {*s, AQZ_F32, values.data};
	paged scratch = paged_alloc((size_t)aqz_product_scratch_bytes(s, 700, 600));
	const aqz_product_part whole = {alone, m.lines, m.row_scales, 700};
	const aqz_product_part parts[] = {{together, m.lines, m.row_scales, 320},
		{together + 320, m.lines + 5 * block, m.row_scales + 320, 64},
		{together + 384, m.lines + 6 * block, m.row_scales + 384, 316}};

	for (unsigned i = 0; i < 600; i++)
		x[i] = (float)(i % 17) - 8;
	aqz_product(&whole, 1, &tables, 600, x, scratch.data, 1, NULL);
	for (unsigned n = 1; n <= 4; n++) {
		memset(together, 0xff, sizeof together);
		aqz_product(parts, 3, &tables, 600, x, scratch.data, n, NULL);
		ck_assert_mem_eq(together, alone, sizeof alone);
	}
	paged_free(&values);
	paged_free(&scratch);
	matrix_free(&m);
}
END_TEST

START_TEST(memory_is_bounded)
{
	aqz_scheme s;
	char name[AQZ_SCHEME_TEXT_BYTES];

	for (unsigned m = 1; m <= 8; m++)
		for (unsigned bits = 1; bits <= 16; bits++)
			for (unsigned in_group = 1; in_group <= 64; in_group *= 2) {
				snprintf(name, sizeof name, "%ux%ug%u", m, bits, in_group);
				ck_assert_int_eq(aqz_scheme_parse(&s, name, NULL), AQZ_OK);
				ck_assert_uint_le(aqz_product_scratch_bytes(&s, UINT64_C(1) << 40, 65536), 6 << 20);
			}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("product");
	TCase *t = tcase_create("codes");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, every_number_of_bits);
	tcase_add_test(t, many_schemes);
	tcase_add_test(t, parts_together);
	tcase_add_test(t, memory_is_bounded);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
