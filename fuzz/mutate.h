/* SPDX-License-Identifier: Apache-2.0 */
/* Changes a container for the fuzz targets: its bytes, or its pieces, which are then put together again. */
#ifndef AQZ_FUZZ_MUTATE_H
#define AQZ_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* As LLVMFuzzerCustomMutator: changes the n bytes in place, to at most max, and returns how many they are. */
size_t mutate_container(uint8_t *data, size_t n, size_t max, unsigned seed);

#endif
