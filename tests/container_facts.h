/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_container. */
#ifndef AQZ_TESTS_CONTAINER_FACTS_H
#define AQZ_TESTS_CONTAINER_FACTS_H

#include <check.h>

TCase *container_facts(void);

#endif
