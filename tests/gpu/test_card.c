/* SPDX-License-Identifier: Apache-2.0 */
/* The GPU API on a card: the tests of the fake device with more random shapes, and what needs a real one. Exit 77 if
 * there is none. Everything runs in one process, whose context is the device's. */
#include "tests/gpu/card_streams.h"
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_file.h"

aqz_gpu *gpu;
unsigned gpu_many = 500;

int main(int argc, char **argv)
{
	const aqz_gpu_options opt = {.struct_size = sizeof opt, .cublas = true};
	Suite *s = suite_create("gpu, card");
	SRunner *run;
	aqz_gpu_info info;
	aqz_error err = {0};
	unsigned n = 0;
	int failed;

	if (aqz_gpu_count(&n, &err) != AQZ_OK || n == 0) {
		printf("SKIP: no usable GPU: %s\n", n == 0 && err.text[0] == '\0' ? "there is none" : err.text);
		return 77;
	}
	if (aqz_gpu_get(&info, 0, &err) != AQZ_OK || !info.usable) {
		printf("SKIP: the GPU is not usable: %s\n", info.why);
		return 77;
	}
	/* A number: of random shapes. */
	if (argc > 1)
		gpu_many = (unsigned)strtoul(argv[1], NULL, 10);
	if (aqz_gpu_open(&gpu, 0, &opt, &err) != AQZ_OK) {
		printf("FAIL: %s: %s\n", info.name, err.text);
		return 1;
	}
	printf("%s, capability %u.%u, %u multiprocessors, cuBLAS %s\n", info.name, info.major, info.minor,
		info.n_multiprocessors, aqz_gpu_has_cublas(gpu) ? "yes" : "no");
	suite_add_tcase(s, gpu_cases_matrices());
	suite_add_tcase(s, gpu_cases_products());
	suite_add_tcase(s, gpu_cases_archives());
	suite_add_tcase(s, card_streams());
	run = srunner_create(s);
	srunner_set_fork_status(run, CK_NOFORK);
	srunner_run_all(run, CK_NORMAL);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	aqz_gpu_close(gpu);
	return failed != 0;
}
