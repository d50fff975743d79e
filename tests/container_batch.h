/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_container. */
#ifndef AQZ_TESTS_CONTAINER_BATCH_H
#define AQZ_TESTS_CONTAINER_BATCH_H

#include <check.h>

TCase *container_batch(void);

#endif
