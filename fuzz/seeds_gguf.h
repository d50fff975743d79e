/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the program that writes the seeds. */
#ifndef AQZ_SEEDS_GGUF_H
#define AQZ_SEEDS_GGUF_H

#include <stdbool.h>

/* Writes the seeds of fuzz_gguf and fuzz_npy to parent/gguf/ and parent/npy/. False if a file could not be written. */
bool seeds_gguf(const char *parent);

#endif
