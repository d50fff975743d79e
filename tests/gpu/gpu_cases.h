/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that a card and the fake device have in common. */
#ifndef AQZ_TESTS_GPU_CASES_H
#define AQZ_TESTS_GPU_CASES_H

#include <check.h>

TCase *gpu_cases_matrices(void);
TCase *gpu_cases_products(void);
TCase *gpu_cases_archives(void);

#endif
