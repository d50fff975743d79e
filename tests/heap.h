/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the heap of the program, and lets allocations fail. A program that uses it is linked with
 * -Wl,--wrap=NAME for malloc, calloc, realloc, aligned_alloc, posix_memalign and free, so that calls
 * from our objects come here; those inside of shared libraries do not. */
#ifndef AQZ_TESTS_HEAP_H
#define AQZ_TESTS_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* Bytes in use now, and the most since heap_reset(). */
size_t heap_now(void);
size_t heap_peak(void);
/* Starts the peak at what is in use, the count of allocations at 0, and lets the allocation of that
 * number, from 1, fail; 0 = none. */
void heap_reset(uint64_t fail_at);
/* Allocations since heap_reset(). */
uint64_t heap_calls(void);

#endif
