/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the program that writes the seeds. */
#ifndef AQZ_SEEDS_TRELLIS_H
#define AQZ_SEEDS_TRELLIS_H

#include <stdbool.h>

/* Writes the seeds of fuzz_trellis to parent/trellis/. False if a file could not be written. */
bool seeds_trellis(const char *parent);

#endif
