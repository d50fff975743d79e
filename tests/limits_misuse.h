/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_limits. */
#ifndef AQZ_TESTS_LIMITS_MISUSE_H
#define AQZ_TESTS_LIMITS_MISUSE_H

#include <check.h>

TCase *limits_misuse(void);

#endif
