/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_damage. */
#ifndef AQZ_TESTS_DAMAGE_SALVAGE_H
#define AQZ_TESTS_DAMAGE_SALVAGE_H

#include <check.h>

#include "aqlmzip.h"

/* Writes what was declared so far in a frame of records of its own. */
void end_records_frame(aqz_writer *w);

/* batched: one frame of records declares all of the sample, else each tensor and file has its own. */
TCase *damage_salvage(bool batched);

#endif
