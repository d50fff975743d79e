/* SPDX-License-Identifier: Apache-2.0 */
/* Without a usable device: every call says so or does its work, and plans are made all the same. */
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_file.h"

aqz_gpu *gpu;
unsigned gpu_many;

START_TEST(no_device)
{
	aqz_gpu *g = NULL;
	aqz_gpu_info info;
	aqz_error err = {0};
	unsigned n = 1;
	const aqz_status status = aqz_gpu_count(&n, &err);

	if (status == AQZ_OK && n > 0)
		return; /* tests/gpu/test_card is for this machine */
	ck_assert(status == AQZ_OK || status == AQZ_E_GPU);
	ck_assert_uint_eq(n, 0);
	if (status == AQZ_E_GPU)
		ck_assert_uint_gt(strlen(err.text), 0);
	ck_assert_int_ne(aqz_gpu_get(&info, 0, &err), AQZ_OK);
	ck_assert_int_ne(aqz_gpu_open(&g, 0, NULL, &err), AQZ_OK);
	ck_assert_ptr_null(g);
	aqz_gpu_close(g);
	aqz_gpu_matrix_free(NULL);
}
END_TEST

START_TEST(plans)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 4096, .cols = 1024, .scale_dtype = AQZ_F16};
	noise r = {1};
	uint32_t sections[2];
	aqz_gpu_plan one, two, archive;
	trellis_case t;
	gpu_file f;
	matrix m;

	matrix_make(&m, &opt, &r);
	trellis_case_fill(&t, CASE_LAYER, 3, 300, 40, 64, &r);
	gpu_file_begin(&f, 1 << 20);
	sections[0] = gpu_file_add(&f, &m, AQZ_F16);
	sections[1] = gpu_file_add(&f, &m, AQZ_F16);
	gpu_file_add_trellis(&f, &t, AQZ_BF16);
	gpu_file_end(&f);
	ck_assert_int_eq(aqz_gpu_plan_sections(&one, f.reader, sections, 1, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_gpu_plan_sections(&two, f.reader, sections, 2, NULL), AQZ_OK);
	/* 1 MiB of codes, 8 KiB of codewords, scales and room for a bias; one table for both. */
	ck_assert_uint_eq(one.device_bytes, (1 << 20) + 8192 + 2 * 4096 * 4);
	ck_assert_uint_eq(two.device_bytes, 2 * one.device_bytes - 8192);
	ck_assert_uint_eq(two.upload_bytes, one.upload_bytes);
	ck_assert_uint_lt(one.upload_bytes, one.device_bytes);
	sections[0] = aqz_reader_tensor(f.reader, 2)->section;
	ck_assert_int_eq(aqz_gpu_plan_sections(&archive, f.reader, sections, 1, NULL), AQZ_OK);
	ck_assert_uint_eq(archive.device_bytes, 300 * 40 * 2);
	ck_assert_int_eq(aqz_gpu_plan_sections(&archive, f.reader, sections, 2, NULL), AQZ_E_UNSUPPORTED);
	sections[0] = 0;
	ck_assert_int_eq(aqz_gpu_plan_sections(&archive, f.reader, sections, 1, NULL), AQZ_E_UNSUPPORTED);
	sections[0] = 1000;
	ck_assert_int_eq(aqz_gpu_plan_sections(&archive, f.reader, sections, 1, NULL), AQZ_E_NOT_FOUND);
	ck_assert_int_eq(aqz_gpu_plan_sections(&archive, f.reader, sections, 0, NULL), AQZ_E_ARGUMENT);
	gpu_file_free(&f);
	trellis_case_free(&t);
	matrix_free(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gpu, none");
	TCase *t = tcase_create("none");
	SRunner *run;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, no_device);
	tcase_add_test(t, plans);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_NORMAL);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed != 0;
}
