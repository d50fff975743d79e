/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads and reconstruction: the same bits as the CPU and the letter of the spec, for all schemes, from files and from
 * memory; and what must be refused. */
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_file.h"

static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_BF16, AQZ_F32};

static size_t bytes_of(aqz_dtype dtype)
{
	return dtype == AQZ_F32 ? 4 : 2;
}

/* Rows [begin, end) with a gap of `gap` elements between rows, and `shift` elements in front. */
static void check_rows(const aqz_gpu_matrix *g, const uint8_t *due, uint64_t cols, aqz_dtype dtype, uint64_t begin,
	uint64_t end, size_t gap, size_t shift, const char *what)
{
	const size_t e = bytes_of(dtype), ld = (size_t)cols + gap, rows = (size_t)(end - begin);
	const size_t n = (rows * ld + shift + 64) * e;
	uint8_t *got = sure_alloc(n);
	void *dst;
	aqz_error err = {0};

	memset(got, 0x5a, n);
	dst = gpu_put(got, n);
	ck_assert_msg(aqz_gpu_reconstruct((uint8_t *)dst + shift * e, ld, dtype, g, begin, end, NULL, &err) == AQZ_OK,
		"%s: %s", what, err.text);
	gpu_fetch(got, dst, n);
	for (size_t i = 0; i < rows; i++)
		ck_assert_msg(
			memcmp(got + (i * ld + shift) * e, due + ((size_t)begin + i) * cols * e, (size_t)cols * e) == 0,
			"%s: row %zu of %llu to %llu as dtype %d differs", what, i + (size_t)begin, (unsigned long long)begin,
			(unsigned long long)end, (int)dtype);
	for (size_t i = 0; i < shift * e; i++)
		ck_assert_uint_eq(got[i], 0x5a);
	for (size_t i = 0; i < rows; i++)
		for (size_t k = (i * ld + shift + cols) * e; k < ((i + 1) * ld + shift) * e; k++)
			ck_assert_uint_eq(got[k], 0x5a);
	for (size_t k = (rows * ld + shift) * e; k < n; k++)
		ck_assert_uint_eq(got[k], 0x5a);
	aqz_gpu_memory_free(gpu, dst);
	free(got);
}

static void check_matrix(const aqz_gpu_matrix *g, const matrix *m, noise *r, const char *what)
{
	ck_assert_uint_eq(aqz_gpu_matrix_rows(g), m->view.rows);
	ck_assert_uint_eq(aqz_gpu_matrix_cols(g), m->view.cols);
	for (int d = 0; d < 3; d++) {
		uint8_t *due = matrix_expect(m, dtypes[d]);
		const uint64_t begin = noise_next(r) % m->view.rows;
		const uint64_t end = begin + 1 + noise_next(r) % (m->view.rows - begin);

		check_rows(g, due, m->view.cols, dtypes[d], 0, m->view.rows, 0, 0, what);
		check_rows(g, due, m->view.cols, dtypes[d], begin, end, noise_next(r) % 9, noise_next(r) % 9, what);
		check_rows(g, due, m->view.cols, dtypes[d], begin, end, (8 - m->view.cols % 8) % 8, 8, what);
		free(due);
	}
}

static const matrix_options shapes[] = {
	{.scheme = "2x8g8", .rows = 100, .cols = 576, .scale_dtype = AQZ_F16},
	{.scheme = "2x8g8", .rows = 64, .cols = 256, .scale_dtype = AQZ_F32, .codebook_dtype = {AQZ_BF16}},
	{.scheme = "1x8g8", .rows = 1, .cols = 8, .scale_dtype = AQZ_BF16},
	{.scheme = "1x8g8", .rows = 65, .cols = 261},
	{.scheme = "4x8g8", .rows = 129, .cols = 520, .scale_dtype = AQZ_F16},
	{.scheme = "8x8g32", .rows = 70, .cols = 96, .scale_dtype = AQZ_F16},
	{.scheme = "8x8g32", .rows = 33, .cols = 1056, .scale_dtype = AQZ_F32, .codebook_dtype = {AQZ_BF16}},
	{.scheme = "1x8g16", .rows = 130, .cols = 500, .scale_dtype = AQZ_F16},
	{.scheme = "1x8g64", .rows = 17, .cols = 640, .scale_dtype = AQZ_F16},
	{.scheme = "4x5g8", .rows = 90, .cols = 300, .scale_dtype = AQZ_F16},
	{.scheme = "2x3g16", .rows = 90, .cols = 100, .scale_dtype = AQZ_F16},
	{.scheme = "1x12g8", .rows = 100, .cols = 72, .scale_dtype = AQZ_F16},
	{.scheme = "1x16g8", .rows = 66, .cols = 1000, .scale_dtype = AQZ_F16},
	{.scheme = "1x16g16", .rows = 66, .cols = 80, .scale_dtype = AQZ_F16, .codebook_dtype = {AQZ_BF16}},
	{.scheme = "2x9g4", .rows = 77, .cols = 39, .scale_dtype = AQZ_F16},
	{.scheme = "3x8g8", .rows = 77, .cols = 80, .scale_dtype = AQZ_F16},
	{.scheme = "2x8g12", .rows = 77, .cols = 80, .scale_dtype = AQZ_F16},
	{.scheme = "2x8g8", .rows = 200, .cols = 80, .scale_dtype = AQZ_F16, .codebook_dtype = {AQZ_I8}},
	{.scheme = "1x8g8o2", .rows = 201, .cols = 83, .scale_dtype = AQZ_F16},
	{.scheme = "1x4g8o8", .rows = 99, .cols = 83, .scale_dtype = AQZ_F16, .codebook_dtype = {AQZ_F32}},
	{.scheme = "2x8g8", .rows = 300, .cols = 264, .n_ranges = 3, .scale_dtype = AQZ_F16,
		.codebook_dtype = {AQZ_F16, AQZ_I8, AQZ_BF16}},
	{.scheme = "1x1g1", .rows = 5, .cols = 5},
};

START_TEST(from_files)
{
	const matrix_options *opt = &shapes[_i];
	noise r = {77 + (uint64_t)_i};
	aqz_gpu_matrix *g;
	aqz_gpu_plan plan;
	gpu_file f;
	matrix m;
	uint32_t section;
	aqz_error err = {0};

	matrix_make(&m, opt, &r);
	gpu_file_begin(&f, 1 << 12);
	section = gpu_file_add(&f, &m, AQZ_F16);
	gpu_file_end(&f);
	ck_assert_int_eq(aqz_gpu_plan_sections(&plan, f.reader, &section, 1, NULL), AQZ_OK);
	ck_assert_msg(aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, NULL, &err) == AQZ_OK, "%s: %s", opt->scheme,
		err.text);
	ck_assert_uint_le(aqz_gpu_matrix_bytes(g), plan.device_bytes);
	check_matrix(g, &m, &r, opt->scheme);
	aqz_gpu_matrix_free(g);
	gpu_file_free(&f);
	matrix_free(&m);
}
END_TEST

START_TEST(from_memory)
{
	const matrix_options *opt = &shapes[_i];
	noise r = {99 + (uint64_t)_i};
	aqz_gpu_matrix *g;
	aqz_additive a;
	matrix m;

	if (opt->n_ranges > 1 || opt->scale_dtype == 0)
		return;
	matrix_make(&m, opt, &r);
	a = gpu_additive(&m);
	ck_assert_int_eq(aqz_gpu_matrix_from_additive(&g, gpu, &a, NULL, NULL), AQZ_OK);
	check_matrix(g, &m, &r, opt->scheme);
	aqz_gpu_matrix_free(g);
	matrix_free(&m);
}
END_TEST

/* Codebooks and scales that are no numbers, and sums too large: the other kernel, and NaNs of the format. */
START_TEST(not_finite)
{
	noise r = {5};
	const matrix_options opt = {.scheme = "2x8g8", .rows = 100, .cols = 72, .scale_dtype = AQZ_F32,
		.codebook_dtype = {AQZ_BF16}};
	static const uint16_t odd[] = {0x7f80, 0xff80, 0x7fc1, 0xffff, 0x7f7f, 0xff7f, 0x0001, 0x8000};
	aqz_gpu_matrix *g;
	matrix m;
	gpu_file f;
	uint32_t section;
	uint16_t x[72] = {0};
	void *memory;

	matrix_make(&m, &opt, &r);
	for (uint32_t i = 0; i < m.n_params; i++)
		if (m.params[i].kind == AQZ_KIND_CODEBOOK)
			for (size_t k = 0; k < 4096; k += 1 + k % 5) {
				const uint16_t v = odd[noise_next(&r) % 8];

				((uint16_t *)m.params[i].data)[k] = v;
				aqz_convert((float *)m.ranges[0].codebook + k, AQZ_F32, &v, AQZ_BF16, 1, NULL);
			}
	gpu_file_begin(&f, 1 << 20);
	section = gpu_file_add(&f, &m, AQZ_F32);
	gpu_file_end(&f);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, NULL, NULL), AQZ_OK);
	check_matrix(g, &m, &r, "not finite");
	memory = gpu_put(x, sizeof x);
	ck_assert_int_eq(aqz_gpu_multiply(memory, 100, g, memory, 72, 1, AQZ_F16, NULL, 0, NULL, NULL), AQZ_E_ARGUMENT);
	aqz_gpu_memory_free(gpu, memory);
	aqz_gpu_matrix_free(g);
	gpu_file_free(&f);
	matrix_free(&m);
}
END_TEST

/* Three sections in one matrix, one after the other. */
START_TEST(stacked)
{
	static const uint64_t rows[3] = {128, 64, 100};
	noise r = {11};
	uint32_t sections[3];
	aqz_gpu_matrix *g;
	gpu_file f;
	matrix m[3];
	uint64_t first = 0;

	gpu_file_begin(&f, 1 << 12);
	for (int i = 0; i < 3; i++) {
		const matrix_options opt = {.scheme = "2x8g8", .rows = rows[i], .cols = 264, .scale_dtype = AQZ_F16,
			.n_ranges = i == 0 ? 2 : 1};

		matrix_make(&m[i], &opt, &r);
		sections[i] = gpu_file_add(&f, &m[i], AQZ_F16);
	}
	gpu_file_end(&f);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, sections, 3, NULL, NULL), AQZ_OK);
	ck_assert_uint_eq(aqz_gpu_matrix_rows(g), 292);
	for (int i = 0; i < 3; i++) {
		uint8_t *due = matrix_expect(&m[i], AQZ_F16), *all = sure_alloc(292 * 264 * 2);

		memcpy(all + first * 264 * 2, due, rows[i] * 264 * 2);
		check_rows(g, all, 264, AQZ_F16, first, first + rows[i], 0, 0, "stacked");
		first += rows[i];
		free(due);
		free(all);
	}
	aqz_gpu_matrix_free(g);
	/* The short one may only be the last. */
	sections[0] = sections[2];
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, sections, 2, NULL, NULL), AQZ_E_ARGUMENT);
	ck_assert_ptr_null(g);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, sections, 0, NULL, NULL), AQZ_E_ARGUMENT);
	sections[0] = 1000;
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, sections, 1, NULL, NULL), AQZ_E_NOT_FOUND);
	sections[0] = 0; /* a parameter */
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, sections, 1, NULL, NULL), AQZ_E_UNSUPPORTED);
	gpu_file_free(&f);
	for (int i = 0; i < 3; i++)
		matrix_free(&m[i]);
}
END_TEST

static bool stop(void *user, uint64_t done, uint64_t total)
{
	(void)total;
	return done < *(uint64_t *)user;
}

/* A byte of the codes, of a codebook, of a scale changes; the file ends early; somebody has enough. */
START_TEST(broken_files)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 640, .cols = 264, .scale_dtype = AQZ_F16};
	noise r = {13};
	uint64_t limit = 20000;
	const aqz_gpu_upload_options cancel = {.struct_size = sizeof cancel, .progress = stop, .progress_user = &limit};
	aqz_gpu_matrix *g;
	gpu_file f;
	matrix m;
	uint32_t section;
	aqz_error err;

	matrix_make(&m, &opt, &r);
	gpu_file_begin(&f, 1 << 12);
	section = gpu_file_add(&f, &m, AQZ_F16);
	gpu_file_end(&f);
	for (unsigned i = 0; i < 64; i++) {
		const size_t at = 256 + (size_t)(noise_next(&r) % (f.file.n - 3000));
		aqz_status status;

		f.file.data[at] ^= (uint8_t)(1u << i % 8);
		status = aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, NULL, &err);
		/* Frame headers of records and padding are not read. */
		ck_assert_msg(status == AQZ_OK || status == AQZ_E_CHECKSUM || status == AQZ_E_CORRUPT, "byte %zu: %s", at,
			err.text);
		if (status == AQZ_OK)
			aqz_gpu_matrix_free(g);
		f.file.data[at] ^= (uint8_t)(1u << i % 8);
	}
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, &cancel, &err), AQZ_E_CANCELLED);
	ck_assert_ptr_null(g);
	f.file.n_reads = 0;
	f.file.fail_read = 5;
	f.file.fail_with = AQZ_E_IO;
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, NULL, &err), AQZ_E_IO);
	ck_assert_ptr_null(g);
	f.file.fail_read = 0;
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, NULL, &err), AQZ_OK);
	aqz_gpu_matrix_free(g);
	gpu_file_free(&f);
	matrix_free(&m);
}
END_TEST

START_TEST(random_shapes)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "4x8g8", "8x8g32", "1x16g8", "1x12g8", "2x8g16", "1x16g16",
		"2x6g8", "3x8g8", "1x8g8o2"};
	static const aqz_dtype codebooks[] = {AQZ_F16, AQZ_BF16, AQZ_F32, AQZ_I8};
	noise r = {1234};

	for (unsigned i = 0; i < gpu_many; i++) {
		const matrix_options opt = {.scheme = schemes[noise_next(&r) % 11], .rows = 1 + noise_next(&r) % 200,
			.cols = 1 + noise_next(&r) % 700, .scale_dtype = dtypes[noise_next(&r) % 3],
			.codebook_dtype = {codebooks[noise_next(&r) % 4]}};
		aqz_gpu_matrix *g;
		aqz_additive a;
		matrix m;

		matrix_make(&m, &opt, &r);
		a = gpu_additive(&m);
		if (a.codebook_dtype == AQZ_I8 || opt.scheme[2] != '1' || i % 8 == 0) { /* wide codebooks take time to make */
			ck_assert_int_eq(aqz_gpu_matrix_from_additive(&g, gpu, &a, NULL, NULL), AQZ_OK);
			check_matrix(g, &m, &r, opt.scheme);
			aqz_gpu_matrix_free(g);
		}
		matrix_free(&m);
	}
}
END_TEST

TCase *gpu_cases_matrices(void)
{
	TCase *t = tcase_create("matrices");

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, from_files, 0, sizeof shapes / sizeof *shapes);
	tcase_add_loop_test(t, from_memory, 0, sizeof shapes / sizeof *shapes);
	tcase_add_test(t, not_finite);
	tcase_add_test(t, stacked);
	tcase_add_test(t, broken_files);
	tcase_add_test(t, random_shapes);
	return t;
}
