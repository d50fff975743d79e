/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_damage. */
#ifndef AQZ_TESTS_DAMAGE_SALVAGE_H
#define AQZ_TESTS_DAMAGE_SALVAGE_H

#include <check.h>

TCase *damage_salvage(void);

#endif
