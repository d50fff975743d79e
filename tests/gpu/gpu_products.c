/* SPDX-License-Identifier: Apache-2.0 */
/* Products through the public API against binary64: every scheme, number of columns and dtype, bias, row ranges with
 * codebooks of their own, alignments that are none; the same bits again. */
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_file.h"

#include <math.h>

static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_BF16, AQZ_F32};

/* Half a step of a dtype. */
static double half_step(aqz_dtype dtype)
{
	return dtype == AQZ_F16 ? 0x1p-11 : dtype == AQZ_BF16 ? 0x1p-8 : 0x1p-24;
}

/* The bounds of gpu/product.h, the widest of them: sums in binary32, codewords that are added in 16 bits first, or
 * reconstructed elements; then y's own rounding. */
static double bound(const matrix *m, size_t n, aqz_dtype dtype, double terms, double y)
{
	const double narrow = dtype == AQZ_F32 ? 0x1p-24 : half_step(dtype);
	const double sums = ((double)m->view.cols * m->view.scheme.n_codebooks + 40) * 0x1p-24;
	const double words = n > 16 ? m->view.scheme.n_codebooks * narrow : 0;
	/* With cuBLAS y is rounded before the bias, which is at most 1, and after it; elements may be subnormal. */
	const double blas = n > 64 ? half_step(dtype) * (fabs(y) + 1) + (double)m->view.cols * 0x1p-23 : 0;

	return (sums + words) * terms * 1.001 + half_step(dtype) * fabs(y) * 1.001 + blas + 1e-7;
}

typedef struct product_case {
	matrix_options opt;
	size_t n;
	aqz_dtype dtype;
	bool bias;
	size_t shift; /* elements that x and y begin behind an alignment */
} product_case;

static void check(const product_case *c, noise *r)
{
	const size_t e = c->dtype == AQZ_F32 ? 4 : 2, rows = (size_t)c->opt.rows, cols = (size_t)c->opt.cols;
	const size_t x_ld = cols + (c->shift != 0 ? 3 : (8 - cols % 8) % 8), y_ld = rows + c->shift;
	const size_t x_n = x_ld * c->n + c->shift, y_n = y_ld * c->n + c->shift;
	uint8_t *x_stored = sure_alloc(x_n * e), *y_stored = sure_alloc(y_n * e), *again = sure_alloc(y_n * e);
	float *x = sure_alloc(x_n * sizeof *x), *y = sure_alloc(y_n * sizeof *y), *bias = sure_alloc(rows * sizeof *bias);
	double *due = sure_alloc(rows * sizeof *due), *terms = sure_alloc(rows * sizeof *terms);
	aqz_gpu_upload_options opt = {.struct_size = sizeof opt, .bias = c->bias ? bias : NULL};
	void *x_device, *y_device, *workspace = NULL;
	uint64_t workspace_bytes;
	aqz_gpu_matrix *g;
	uint32_t section;
	gpu_file f;
	matrix m;
	aqz_error err = {0};

	matrix_make(&m, &c->opt, r);
	for (size_t i = 0; i < rows; i++)
		bias[i] = (float)(int32_t)(noise_next(r) >> 32) / 0x1p31f;
	gpu_inputs(x_stored, x, c->dtype, x_n, r);
	gpu_file_begin(&f, 1 << 20);
	section = gpu_file_add(&f, &m, AQZ_F16);
	gpu_file_end(&f);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, &opt, NULL), AQZ_OK);
	workspace_bytes = aqz_gpu_workspace_bytes(g, c->n);
	if (workspace_bytes != 0)
		ck_assert_int_eq(aqz_gpu_memory(&workspace, gpu, workspace_bytes, NULL), AQZ_OK);
	memset(y_stored, 0x5a, y_n * e);
	x_device = gpu_put(x_stored, x_n * e);
	for (int turn = 0; turn < 2; turn++) {
		y_device = gpu_put(y_stored, y_n * e);
		ck_assert_msg(aqz_gpu_multiply((uint8_t *)y_device + c->shift * e, y_ld, g,
						  (uint8_t *)x_device + c->shift * e, x_ld, c->n, c->dtype, workspace, workspace_bytes, NULL,
						  &err) == AQZ_OK,
			"%s n %zu: %s", c->opt.scheme, c->n, err.text);
		gpu_fetch(turn == 0 ? again : y_stored, y_device, y_n * e);
		aqz_gpu_memory_free(gpu, y_device);
		if (turn == 0)
			memset(y_stored, 0x5a, y_n * e);
	}
	ck_assert_msg(memcmp(again, y_stored, y_n * e) == 0, "%s n %zu: other bits the second time", c->opt.scheme, c->n);
	ck_assert_int_eq(aqz_convert(y, AQZ_F32, y_stored, c->dtype, y_n, NULL), AQZ_OK);
	for (size_t k = 0; k < c->n; k++) {
		const size_t end = c->shift + k * y_ld + rows;

		gpu_expect(due, terms, &m, x + c->shift + k * x_ld);
		for (size_t i = 0; i < rows; i++) {
			const double want = due[i] + (c->bias ? (double)bias[i] : 0);
			const double got = (double)y[c->shift + k * y_ld + i];

			ck_assert_msg(fabs(got - want) <= bound(&m, c->n, c->dtype, terms[i], want),
				"%s %zux%zu n %zu dtype %d: column %zu row %zu is %g, not %g (terms %g)", c->opt.scheme, rows, cols,
				c->n, (int)c->dtype, k, i, got, want, terms[i]);
		}
		for (size_t i = end * e; i < (end + (k + 1 < c->n ? y_ld - rows : 0)) * e; i++)
			ck_assert_uint_eq(y_stored[i], 0x5a);
	}
	aqz_gpu_memory_free(gpu, x_device);
	aqz_gpu_memory_free(gpu, workspace);
	aqz_gpu_matrix_free(g);
	gpu_file_free(&f);
	matrix_free(&m);
	free(x_stored), free(y_stored), free(again), free(x), free(y), free(bias), free(due), free(terms);
}

static const product_case cases[] = {
	{{.scheme = "2x8g8", .rows = 100, .cols = 576, .scale_dtype = AQZ_F16}, 1, AQZ_F16, false, 0},
	{{.scheme = "2x8g8", .rows = 130, .cols = 512, .scale_dtype = AQZ_F16}, 2, AQZ_BF16, true, 0},
	{{.scheme = "2x8g8", .rows = 130, .cols = 512, .scale_dtype = AQZ_F16}, 4, AQZ_F32, true, 0},
	{{.scheme = "2x8g8", .rows = 70, .cols = 333, .scale_dtype = AQZ_F16}, 3, AQZ_F16, true, 1},
	{{.scheme = "4x8g8", .rows = 100, .cols = 264, .scale_dtype = AQZ_F16}, 1, AQZ_F16, false, 0},
	{{.scheme = "8x8g32", .rows = 70, .cols = 1056, .scale_dtype = AQZ_F16}, 1, AQZ_F16, false, 0},
	{{.scheme = "1x8g8", .rows = 64, .cols = 256, .scale_dtype = AQZ_F16, .codebook_dtype = {AQZ_BF16}}, 1, AQZ_BF16,
		false, 0},
	{{.scheme = "1x16g8", .rows = 66, .cols = 328, .scale_dtype = AQZ_F16}, 1, AQZ_F16, true, 0},
	{{.scheme = "1x12g8", .rows = 66, .cols = 328, .scale_dtype = AQZ_F16}, 2, AQZ_F16, false, 0},
	{{.scheme = "1x16g16", .rows = 66, .cols = 80, .scale_dtype = AQZ_F16}, 5, AQZ_F16, false, 0},
	{{.scheme = "2x8g8", .rows = 100, .cols = 520, .scale_dtype = AQZ_F16}, 8, AQZ_F16, false, 0},
	{{.scheme = "2x8g8", .rows = 100, .cols = 264, .scale_dtype = AQZ_F16}, 17, AQZ_F16, true, 0},
	{{.scheme = "2x8g8", .rows = 64, .cols = 264, .scale_dtype = AQZ_F16}, 70, AQZ_F16, true, 0},
	{{.scheme = "1x8g8o2", .rows = 101, .cols = 83, .scale_dtype = AQZ_F16}, 2, AQZ_F16, true, 1},
	{{.scheme = "2x9g4", .rows = 77, .cols = 39, .scale_dtype = AQZ_F16, .codebook_dtype = {AQZ_I8}}, 2, AQZ_F32, false,
		0},
	{{.scheme = "2x8g8", .rows = 300, .cols = 264, .n_ranges = 3, .scale_dtype = AQZ_F16,
		 .codebook_dtype = {AQZ_F16, AQZ_I8, AQZ_BF16}}, 1, AQZ_F16, true, 0},
	{{.scheme = "2x8g8", .rows = 300, .cols = 264, .n_ranges = 3, .scale_dtype = AQZ_F16}, 6, AQZ_F16, true, 0},
};

START_TEST(products)
{
	noise r = {31 + (uint64_t)_i};

	check(&cases[_i], &r);
}
END_TEST

START_TEST(random_products)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "4x8g8", "8x8g32", "1x12g8", "2x8g16", "2x6g8", "3x8g8",
		"1x8g8o2", "1x16g8"};
	static const aqz_dtype codebooks[] = {AQZ_F16, AQZ_BF16, AQZ_F32};
	static const size_t columns[] = {1, 1, 1, 2, 3, 4, 5, 8, 13, 16, 17, 33};
	noise r = {4321};

	for (unsigned i = 0; i < gpu_many; i++) {
		const product_case c = {.opt = {.scheme = schemes[noise_next(&r) % (i % 16 == 0 ? 10 : 9)],
									.rows = 1 + noise_next(&r) % (gpu_many < 100 ? 150 : 400),
									.cols = 1 + noise_next(&r) % (gpu_many < 100 ? 300 : 900),
									.scale_dtype = dtypes[noise_next(&r) % 3],
									.codebook_dtype = {codebooks[noise_next(&r) % 3]}},
			.n = columns[noise_next(&r) % (gpu_many < 100 ? 7 : 12)],
			.dtype = dtypes[noise_next(&r) % 3],
			.bias = noise_next(&r) % 2 == 0,
			.shift = noise_next(&r) % 4 == 0 ? 1 : 0};

		check(&c, &r);
	}
}
END_TEST

START_TEST(refused)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 64, .cols = 264, .scale_dtype = AQZ_F16};
	noise r = {3};
	aqz_gpu_matrix *g;
	aqz_additive a;
	uint16_t x[600] = {0};
	uint8_t *p;
	matrix m;

	matrix_make(&m, &opt, &r);
	a = gpu_additive(&m);
	ck_assert_int_eq(aqz_gpu_matrix_from_additive(&g, gpu, &a, NULL, NULL), AQZ_OK);
	p = gpu_put(x, sizeof x);
	ck_assert_int_eq(aqz_gpu_multiply(p, 64, g, p, 264, 0, AQZ_F16, NULL, 0, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_multiply(p, 63, g, p, 264, 2, AQZ_F16, NULL, 0, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_multiply(p, 64, g, p, 263, 2, AQZ_F16, NULL, 0, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_multiply(p + 1, 64, g, p, 264, 1, AQZ_F16, NULL, 0, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_multiply(p, 64, g, p, 264, 1, AQZ_U8, NULL, 0, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_multiply(p, 64, g, p, 264, 1, AQZ_F16, p + 8, 64, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_reconstruct(p, 263, AQZ_F16, g, 0, 1, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_reconstruct(p, 264, AQZ_F16, g, 0, 65, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_reconstruct(p, 264, AQZ_F16, g, 2, 1, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_reconstruct(p, 264, AQZ_I8, g, 0, 1, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_reconstruct(p, 264, AQZ_F16, g, 1, 1, NULL, NULL), AQZ_OK);
	aqz_gpu_memory_free(gpu, p);
	aqz_gpu_matrix_free(g);
	matrix_free(&m);
}
END_TEST

TCase *gpu_cases_products(void)
{
	TCase *t = tcase_create("products");

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, products, 0, sizeof cases / sizeof *cases);
	tcase_add_test(t, random_products);
	tcase_add_test(t, refused);
	return t;
}
