/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the program that writes the seeds. */
#ifndef AQZ_SEEDS_TOKENIZER_H
#define AQZ_SEEDS_TOKENIZER_H

#include <stdbool.h>

/* Writes the seeds of fuzz_tokenizer to parent/tokenizer/. False if a file could not be written. */
bool seeds_tokenizer(const char *parent);

#endif
