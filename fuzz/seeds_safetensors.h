/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the program that writes the seeds. */
#ifndef AQZ_SEEDS_SAFETENSORS_H
#define AQZ_SEEDS_SAFETENSORS_H

#include <stdbool.h>

/* Writes the seeds of fuzz_safetensors to parent/safetensors/. False if a file could not be written. */
bool seeds_safetensors(const char *parent);

#endif
