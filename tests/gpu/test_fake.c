/* SPDX-License-Identifier: Apache-2.0 */
/* The GPU API on the fake device of tests/gpu/fake.h: the tests that a card has too, and what only it can show: bytes
 * in use, calls that fail one after the other, memory that runs out, nothing left behind. */
#include "tests/gpu/fake.h"
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_file.h"

aqz_gpu *gpu;
unsigned gpu_many = 24;

static void open_device(void)
{
	fake_reset();
	ck_assert_int_eq(aqz_gpu_open(&gpu, 0, NULL, NULL), AQZ_OK);
}

static void close_device(void)
{
	aqz_gpu_close(gpu);
	ck_assert_uint_eq(fake.used_bytes, 0);
	ck_assert_uint_eq(fake.n_allocated + fake.n_pinned + fake.n_streams + fake.n_events, 0);
	ck_assert_int_eq(fake.current, 0);
}

START_TEST(devices)
{
	aqz_gpu_options opt = {.struct_size = sizeof opt};
	aqz_gpu_info info;
	unsigned n = 7;
	aqz_gpu *g;
	aqz_error err;

	ck_assert_int_eq(aqz_gpu_count(&n, NULL), AQZ_OK);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(aqz_gpu_get(&info, 1, NULL), AQZ_OK);
	ck_assert(!info.usable && info.why[0] != '\0');
	ck_assert_int_eq(aqz_gpu_get(&info, 2, NULL), AQZ_E_NOT_FOUND);
	ck_assert_int_eq(aqz_gpu_open(&g, 1, NULL, &err), AQZ_E_GPU);
	ck_assert_ptr_null(g);
	opt.struct_size--;
	ck_assert_int_eq(aqz_gpu_open(&g, 0, &opt, &err), AQZ_E_ARGUMENT);
	opt.struct_size++;
	opt.cublas = true;
	ck_assert_int_eq(aqz_gpu_open(&g, 0, &opt, &err), AQZ_OK);
	ck_assert(!aqz_gpu_has_cublas(g));
	aqz_gpu_close(g);
	aqz_gpu_close(NULL);
	fake.no_driver = true;
	ck_assert_int_eq(aqz_gpu_count(&n, &err), AQZ_E_GPU);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(aqz_gpu_open(&g, 0, NULL, &err), AQZ_E_GPU);
	fake.no_driver = false;
}
END_TEST

static uint32_t make(gpu_file *f, noise *r)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 500, .cols = 576, .scale_dtype = AQZ_F16, .n_ranges = 2};
	uint32_t section;
	matrix m;

	matrix_make(&m, &opt, r);
	gpu_file_begin(f, 1 << 12);
	section = gpu_file_add(f, &m, AQZ_F16);
	gpu_file_end(f);
	matrix_free(&m);
	return section;
}

START_TEST(bytes_are_as_planned)
{
	aqz_gpu_upload_options opt = {.struct_size = sizeof opt};
	noise r = {1};
	float bias[500] = {0};
	aqz_gpu_plan plan;
	aqz_gpu_matrix *g;
	gpu_file f;
	uint32_t section = make(&f, &r);

	opt.bias = bias;
	ck_assert_int_eq(aqz_gpu_plan_sections(&plan, f.reader, &section, 1, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&g, gpu, f.reader, &section, 1, &opt, NULL), AQZ_OK);
	ck_assert_uint_eq(fake.used_bytes, plan.device_bytes);
	ck_assert_uint_eq(fake.most_bytes, plan.device_bytes + plan.upload_bytes);
	ck_assert_uint_eq(fake.most_pinned_bytes, plan.pinned_bytes);
	ck_assert_uint_eq(aqz_gpu_matrix_bytes(g), plan.device_bytes);
	/* Codes, two tables, scales: the file's, but 72 groups become 96. */
	ck_assert_uint_lt(plan.device_bytes, f.file.n * 4 / 3);
	aqz_gpu_matrix_free(g);
	ck_assert_uint_eq(fake.used_bytes, 0);
	gpu_file_free(&f);
}
END_TEST

/* Every call of the device fails once, of uploads and archives. */
START_TEST(every_call_fails)
{
	noise r = {2};
	gpu_file f;
	uint32_t section = make(&f, &r);
	bool done = false;
	aqz_error err;

	for (uint64_t k = 1; !done; k++) {
		aqz_gpu_matrix *m = NULL;
		aqz_gpu *g;
		aqz_status status;

		fake.n_calls = 0;
		fake.fail_call = k;
		status = aqz_gpu_open(&g, 0, NULL, &err);
		if (status == AQZ_OK)
			status = aqz_gpu_matrix_upload(&m, g, f.reader, &section, 1, NULL, &err);
		fake.fail_call = 0;
		done = status == AQZ_OK;
		ck_assert(done || status == AQZ_E_GPU || status == AQZ_E_SPACE || status == AQZ_E_NOMEM);
		ck_assert(done == (m != NULL));
		if (!done) {
			ck_assert_int_eq(err.status, status);
			ck_assert_uint_eq(fake.used_bytes, 0);
		}
		aqz_gpu_matrix_free(m);
		aqz_gpu_close(g);
		ck_assert_uint_eq(fake.used_bytes, 0);
		ck_assert_uint_eq(fake.n_allocated + fake.n_pinned, 0);
		ck_assert_int_eq(fake.current, 0);
	}
	gpu_file_free(&f);
}
END_TEST

START_TEST(too_little_memory)
{
	aqz_gpu_options opt = {.struct_size = sizeof opt};
	noise r = {4};
	aqz_gpu_plan plan;
	aqz_gpu_matrix *m, *second;
	aqz_gpu *g;
	gpu_file f;
	uint32_t section = make(&f, &r);
	aqz_error err;

	ck_assert_int_eq(aqz_gpu_plan_sections(&plan, f.reader, &section, 1, NULL), AQZ_OK);
	fake.memory_bytes = plan.device_bytes - 4000;
	ck_assert_int_eq(aqz_gpu_matrix_upload(&m, gpu, f.reader, &section, 1, NULL, &err), AQZ_E_SPACE);
	ck_assert_ptr_null(m);
	ck_assert_uint_eq(fake.used_bytes, 0);
	fake.memory_bytes = 1 << 30;
	opt.memlimit_bytes = plan.device_bytes + plan.upload_bytes;
	ck_assert_int_eq(aqz_gpu_open(&g, 0, &opt, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&m, g, f.reader, &section, 1, NULL, &err), AQZ_OK);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&second, g, f.reader, &section, 1, NULL, &err), AQZ_E_MEMLIMIT);
	aqz_gpu_matrix_free(m);
	ck_assert_int_eq(aqz_gpu_matrix_upload(&m, g, f.reader, &section, 1, NULL, &err), AQZ_OK);
	aqz_gpu_matrix_free(m);
	aqz_gpu_close(g);
	/* The device's work fails, which shows when it is waited for. */
	fake.work_fails = true;
	ck_assert_int_eq(aqz_gpu_matrix_upload(&m, gpu, f.reader, &section, 1, NULL, &err), AQZ_E_GPU);
	fake.work_fails = false;
	gpu_file_free(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gpu, fake device");
	TCase *t = tcase_create("device"), *all[4];
	SRunner *run;
	int failed;

	all[0] = t;
	all[1] = gpu_cases_matrices();
	all[2] = gpu_cases_products();
	all[3] = gpu_cases_archives();
	tcase_set_timeout(t, 120);
	tcase_add_test(t, devices);
	tcase_add_test(t, bytes_are_as_planned);
	tcase_add_test(t, every_call_fails);
	tcase_add_test(t, too_little_memory);
	for (int i = 0; i < 4; i++) {
		tcase_add_checked_fixture(all[i], open_device, close_device);
		suite_add_tcase(s, all[i]);
	}
	run = srunner_create(s);
	srunner_run_all(run, CK_NORMAL);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed != 0;
}
