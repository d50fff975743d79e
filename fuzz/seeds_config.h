/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the program that writes the seeds. */
#ifndef AQZ_SEEDS_CONFIG_H
#define AQZ_SEEDS_CONFIG_H

#include <stdbool.h>

/* Writes the seeds of fuzz_config to parent/config/. False if a file could not be written. */
bool seeds_config(const char *parent);

#endif
