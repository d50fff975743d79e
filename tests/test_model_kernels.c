/* SPDX-License-Identifier: Apache-2.0 */
/* What stands on the model's kernels: softmax and its like, and which kernel a type of blocks has. The kernels
 * themselves are checked by kernels_model.c and kernels_rows.c. */
#include <check.h>
#include <math.h>

#include "model/kernels.h"
#include "tests/support.h"

START_TEST(softmax_and_log_sum_exp)
{
	static float x[49152], y[49152];
	noise r = {4};
	double sum = 0, total = 0;

	for (size_t i = 0; i < 49152; i++) {
		x[i] = (float)(int32_t)(noise_next(&r) >> 32) / 0x1p30f * 10 +
			80; /* exp of it is beyond binary32 */
		sum += exp((double)x[i]);
	}
	ck_assert_double_eq_tol(aqz_log_sum_exp(x, 49152), log(sum), 1e-7);
	aqz_softmax(y, x, 49152);
	for (size_t i = 0; i < 49152; i++) {
		ck_assert_double_eq_tol(y[i], exp((double)x[i]) / sum, 1e-5 * exp((double)x[i]) / sum);
		total += y[i];
	}
	ck_assert_double_eq_tol(total, 1, 1e-5);
	ck_assert(aqz_log_sum_exp((const float[]){-INFINITY, -INFINITY}, 2) == -INFINITY);
	ck_assert(aqz_log_sum_exp((const float[]){1, INFINITY}, 2) == INFINITY);
	ck_assert(aqz_log_sum_exp((const float[]){-4}, 1) == -4);
}
END_TEST

START_TEST(kernels_of_types)
{
	static const uint32_t with[] = {2, 3, 6, 7, 8, 12, 14};
	/* A type that is not the format's own has no kernel, whatever its number. */
	const aqz_gguf_type other = {.id = 2, .name = "other", .n_values = 4, .n_bytes = 3};
	const aqz_row_kernels *rows = aqz_math_best()->rows;

	for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
		ck_assert_ptr_nonnull(aqz_rows_of_blocks(rows, aqz_gguf_type_find(with[i])));
		ck_assert_ptr_nonnull(aqz_rows_of_blocks(&aqz_rows_plain, aqz_gguf_type_find(with[i])));
	}
	ck_assert_ptr_null(aqz_rows_of_blocks(rows, aqz_gguf_type_find(13)));
	ck_assert_ptr_null(aqz_rows_of_blocks(rows, &other));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model kernels");
	TCase *t = tcase_create("kernels");

	tcase_add_test(t, softmax_and_log_sum_exp);
	tcase_add_test(t, kernels_of_types);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
