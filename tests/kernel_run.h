/* SPDX-License-Identifier: Apache-2.0 */
/* What the main function of test_kernel_variants asks of tests/kernel_check.c. */
#ifndef AQZ_TESTS_KERNEL_RUN_H
#define AQZ_TESTS_KERNEL_RUN_H

#include <stdbool.h>

void kernel_run_begin(const char *family);
/* Prints a line of totals, to stderr if the digests go to stdout; returns how many checks failed. */
unsigned kernel_run_end(bool digests);
/* Family, kernel and variant under way. */
const char *kernel_run_place(void);

#endif
