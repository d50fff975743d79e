/* SPDX-License-Identifier: Apache-2.0 */
/* aqz_matrix: products and reconstruction by the public calls, against aqz_decode_additive in binary64, in memory that
 * ends at pages that nobody may touch; what is refused. */
#include <check.h>
#include <math.h>

#include "tests/guard_page.h"
#include "tests/matrix.h"

/* Tables of integers are off by this much of |W row| |x| at most, in one row far above the mean. */
static double tolerance(unsigned table_bits)
{
	return table_bits == 8 ? 0x1p-4 : table_bits == 32 ? 0x1p-18 : 0x1p-9;
}

static aqz_additive additive_of(const matrix *m)
{
	aqz_additive a = {.scheme = m->view.scheme,
		.rows = m->view.rows,
		.cols = m->view.cols,
		.code_rows = m->code_rows,
		.groups = m->groups,
		.codes = m->lines,
		.codes_bytes = m->n_lines_bytes,
		.codebook_dtype = AQZ_F32,
		.codebooks = (void *)(uintptr_t)m->ranges[0].codebook,
		.scale_dtype = AQZ_F32,
		.scales = m->row_scales};

	return a;
}

/* Each row of y within the bound, from rows that were reconstructed in binary32. */
static void check_product(const float *y, size_t y_ld, const float *w, uint64_t rows, uint64_t cols,
	const float *x, size_t x_ld, size_t n, unsigned table_bits)
{
	for (size_t k = 0; k < n; k++)
		for (uint64_t i = 0; i < rows; i++) {
			double sum = 0, w2 = 0, x2 = 0;

			for (uint64_t j = 0; j < cols; j++) {
				const double a = w[i * cols + j], b = x[k * x_ld + j];

				sum += a * b;
				w2 += a * a;
				x2 += b * b;
			}
			ck_assert_msg(fabs(sum - y[k * y_ld + i]) <= tolerance(table_bits) * sqrt(w2 * x2),
				"column %zu, row %llu: %g, not %g", k, (unsigned long long)i,
				(double)y[k * y_ld + i], sum);
		}
}

static void check(const matrix_options *opt, size_t n, unsigned table_bits)
{
	noise r = {opt->rows + opt->cols};
	aqz_error err = {0};
	aqz_matrix *prepared;
	matrix m;

	matrix_make(&m, opt, &r);
	const aqz_additive a = additive_of(&m);
	const uint64_t rows = opt->rows, cols = opt->cols;
	const uint64_t block_rows = 64 * (uint64_t)a.scheme.out_group;
	paged x = paged_alloc(n * cols * sizeof(float)), y = paged_alloc(n * rows * sizeof(float));
	paged first = paged_alloc(n * rows * sizeof(float));
	paged w = paged_alloc(rows * cols * sizeof(float)),
		  again = paged_alloc(rows * cols * sizeof(float));

	for (size_t i = 0; i < n * cols; i++)
		((float *)x.data)[i] = (float)(int32_t)(noise_next(&r) >> 32) / 0x1p31f;
	ck_assert_msg(aqz_matrix_open(&prepared, &a, &err) == AQZ_OK, "%s", err.text);
	ck_assert_int_eq(aqz_decode_additive(w.data, AQZ_F32, &a, 0, rows, &err), AQZ_OK);
	ck_assert_int_eq(aqz_matrix_decode(again.data, AQZ_F32, prepared, 0, rows, &err), AQZ_OK);
	ck_assert_mem_eq(w.data, again.data, rows * cols * sizeof(float));

	paged scratch = paged_alloc((size_t)(aqz_matrix_scratch_bytes(prepared) + 63) / 64 * 64);
	aqz_matrix_options options = {.struct_size = sizeof options, .table_bits = table_bits};

	for (unsigned n_threads = 0; n_threads <= 3; n_threads++) {
		options.n_threads = n_threads;
		options.scratch = n_threads % 2 == 0 ? NULL : scratch.data;
		memset(y.data, 0xff, n * rows * sizeof(float));
		ck_assert_msg(
			aqz_matrix_multiply(y.data, rows, prepared, x.data, cols, n, &options, &err) == AQZ_OK,
			"%s", err.text);
		if (n_threads == 0)
			memcpy(first.data, y.data, n * rows * sizeof(float));
		ck_assert_mem_eq(first.data, y.data, n * rows * sizeof(float));
	}
	check_product(y.data, rows, w.data, rows, cols, x.data, cols, n, options.table_bits);

	/* From the second row block on, but not the last row; what lies between columns of y stays. */
	if (rows > block_rows + 1) {
		options.row_begin = block_rows;
		options.row_end = rows - 1;
		memset(y.data, 0xff, n * rows * sizeof(float));
		ck_assert_int_eq(
			aqz_matrix_multiply(y.data, rows, prepared, x.data, cols, n, &options, &err), AQZ_OK);
		check_product(y.data, rows, (const float *)w.data + block_rows * cols,
			options.row_end - block_rows, cols, x.data, cols, n, options.table_bits);
		for (size_t k = 0; k < n; k++)
			for (uint64_t i = options.row_end - block_rows; i < rows; i++) {
				uint32_t bits;

				memcpy(&bits, (const float *)y.data + k * rows + i, sizeof bits);
				ck_assert_uint_eq(bits, UINT32_MAX);
			}
	}
	aqz_matrix_free(prepared);
	paged_free(&x);
	paged_free(&y);
	paged_free(&first);
	paged_free(&w);
	paged_free(&again);
	paged_free(&scratch);
	matrix_free(&m);
}

START_TEST(products_and_rows)
{
	static const matrix_options all[] = {
		{.scheme = "2x8g8", .rows = 700, .cols = 584, .scale_dtype = AQZ_F16},
		{.scheme = "1x8g16", .rows = 600, .cols = 70, .scale_dtype = AQZ_F16},
		{.scheme = "2x8g8", .rows = 40, .cols = 20, .scale_dtype = AQZ_F32},
		{.scheme = "1x12g8", .rows = 130, .cols = 41, .scale_dtype = AQZ_F32},
		{.scheme = "2x6g4o2", .rows = 300, .cols = 30, .scale_dtype = AQZ_F16},
		{.scheme = "3x5g3", .rows = 190, .cols = 31, .scale_dtype = AQZ_BF16},
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		check(&all[i], 1, 0);
		/* More than are made together. */
		check(&all[i], 11, 0);
		for (unsigned table_bits = 8; table_bits <= 32; table_bits *= 2)
			check(&all[i], 2, table_bits);
	}
}
END_TEST

/* What is said is what was asked for, where the scheme has it. */
START_TEST(ways)
{
	static const struct {
		const char *scheme, *ways[3]; /* 8, 16, 32 bits */
	} all[] = {{"2x8g8", {"lut8", "lut16", "tables"}}, {"2x4g8", {"lut8", "lut16", "tables"}},
		{"1x12g8", {"direct", "direct", "direct"}}, {"2x6g4o2", {"direct", "direct", "direct"}}};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		const matrix_options opt = {
			.scheme = all[i].scheme, .rows = 700, .cols = 64, .scale_dtype = AQZ_F32};
		noise r = {i};
		aqz_matrix *prepared;
		matrix m;

		matrix_make(&m, &opt, &r);
		const aqz_additive a = additive_of(&m);

		ck_assert_int_eq(aqz_matrix_open(&prepared, &a, NULL), AQZ_OK);
		for (unsigned k = 0; k < 3; k++) {
			const aqz_matrix_options options = {.struct_size = sizeof options, .table_bits = 8u << k};
			char text[AQZ_MATRIX_WAY_BYTES];

			aqz_matrix_way(text, prepared, &options);
			ck_assert_msg(strncmp(text, all[i].ways[k], strlen(all[i].ways[k])) == 0 &&
					text[strlen(all[i].ways[k])] == ' ',
				"%s with %u bits: %s", all[i].scheme, 8u << k, text);
		}
		aqz_matrix_free(prepared);
		matrix_free(&m);
	}
}
END_TEST

START_TEST(refused)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 200, .cols = 64, .scale_dtype = AQZ_F32};
	noise r = {1};
	float x[128] = {0}, y[400];
	aqz_matrix *prepared = (aqz_matrix *)(void *)y;
	aqz_matrix_options options = {.struct_size = sizeof options};
	aqz_error err;
	matrix m;

	matrix_make(&m, &opt, &r);
	const aqz_additive good = additive_of(&m);
	aqz_additive bad = good;

	bad.codes_bytes--;
	ck_assert_int_eq(aqz_matrix_open(&prepared, &bad, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_null(prepared);
	ck_assert_str_eq(err.text, "the codes are missing or of the wrong length");
	bad = good;
	bad.codebooks = NULL;
	ck_assert_int_eq(aqz_matrix_open(&prepared, &bad, &err), AQZ_E_ARGUMENT);
	for (int which = 0; which < 2; which++) {
		float *values = which == 0 ? good.scales : good.codebooks;
		const float kept = values[7];

		values[7] = which == 0 ? INFINITY : NAN;
		ck_assert_int_eq(aqz_matrix_open(&prepared, &good, &err), AQZ_E_ARGUMENT);
		ck_assert_str_eq(err.text, "a value of the codebooks or scales is not finite");
		values[7] = kept;
	}

	ck_assert_int_eq(aqz_matrix_open(&prepared, &good, NULL), AQZ_OK);
	/* Codebooks and scales were taken over. */
	for (int i = 0; i < 64; i++)
		x[i] = 1;
	ck_assert_int_eq(aqz_matrix_multiply(y, 0, prepared, x, 0, 1, NULL, &err), AQZ_OK);
	memset(good.scales, 0, 200 * sizeof(float));
	memset(good.codebooks, 0, 512 * 8 * sizeof(float));
	ck_assert_int_eq(aqz_matrix_multiply(y + 200, 0, prepared, x, 0, 1, NULL, &err), AQZ_OK);
	ck_assert_mem_eq(y, y + 200, 200 * sizeof *y);
	ck_assert(y[0] != 0);
#define REFUSED(y_ld, x_ld, n) \
	ck_assert_int_eq(          \
		aqz_matrix_multiply(y, y_ld, prepared, x, x_ld, n, &options, &err), AQZ_E_ARGUMENT)
	REFUSED(200, 64, 0);
	REFUSED(199, 64, 2);
	REFUSED(200, 63, 2);
	options.row_end = 201;
	REFUSED(200, 64, 1);
	options.row_begin = options.row_end = 64;
	REFUSED(200, 64, 1);
	options.row_begin = 63;
	REFUSED(200, 64, 1);
	options.row_begin = options.row_end = 0;
	options.scratch = (uint8_t *)x + 1;
	REFUSED(200, 64, 1);
	options.scratch = NULL;
	options.table_bits = 12;
	REFUSED(200, 64, 1);
	options.table_bits = 0;
	options.struct_size--;
	REFUSED(200, 64, 1);
	ck_assert_int_eq(aqz_matrix_decode(y, AQZ_F64, prepared, 0, 1, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_matrix_decode(y, AQZ_F32, prepared, 199, 201, &err), AQZ_E_ARGUMENT);
	aqz_matrix_free(prepared);
	aqz_matrix_free(NULL);
	matrix_free(&m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("matrix");
	TCase *t = tcase_create("calls");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, products_and_rows);
	tcase_add_test(t, ways);
	tcase_add_test(t, refused);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
