/* SPDX-License-Identifier: Apache-2.0 */
/* What test_kernel_variants is made of: memory between pages that nobody may touch, comparisons that say which variant
 * of which kernel is wrong, digests of what every machine must give, and the time of a call. A family is a file
 * tests/kernels_*.c. Depends on no library, so that it also runs where there is only a compiler and an emulator. */
#ifndef AQZ_TESTS_KERNEL_CHECK_H
#define AQZ_TESTS_KERNEL_CHECK_H

#include "tests/support.h"

typedef struct kernel_family {
	const char *name;
	void (*check)(noise *r);
	void (*measure)(noise *r);
} kernel_family;

extern const kernel_family family_encode, family_path, family_trellis, family_additive, family_product, family_model,
	family_rows;

/* ---- Memory. Data touches the guard page behind it or before it, or lies off its alignment's multiples; the bytes
 * around it up to the pages are canaries. */

typedef enum place { AT_END, AT_START, ODD, N_PLACES } place;

typedef struct area {
	void *data; /* n_bytes of 0xff, which is NaN in floats */
	size_t n_bytes;
	uint8_t *room; /* between the pages */
	size_t room_bytes;
} area;

/* alignment: what the kernel asks for, a power of 2 up to 64; data has no more than that at ODD. Failures end the
 * process. */
area area_alloc(size_t n_bytes, size_t alignment, place where);
/* The same with a copy of data, and read-only. */
area area_input(const void *data, size_t n_bytes, size_t alignment, place where);
/* True if no canary has changed. */
bool area_whole(const area *a);
void area_free(area *a);

/* ---- Checks. A failure says what kernel_now() was told last; so does a signal. */

/* The kernel and variant that will be called. */
void kernel_now(const char *kernel, const char *variant);
/* Counts a failure, and prints the first ones. */
void kernel_fails(const char *text, ...) __attribute__((format(printf, 1, 2)));
#define KERNEL_CHECK(holds, ...) ((holds) ? (void)0 : kernel_fails(__VA_ARGS__))
/* Bits are equal, or both are NaN. */
void kernel_same_floats(const float *got, const float *due, size_t n);
void kernel_same_bytes(const void *got, const void *due, size_t n_bytes);
/* Outputs that are as they were, or were never written outside. */
void kernel_whole(const area *a);

/* Takes what all machines must agree about into the digest of the kernel of kernel_now(), if this is its first variant;
 * the others are compared with that. NaN have no bits of their own. */
void kernel_digest(const void *bytes, size_t n);
void kernel_digest_floats(const float *v, size_t n);

/* ---- Values: random; few different ones, so that there are ties; hard ones. No NaN. */
enum { VALUES_RANDOM, VALUES_FEW, VALUES_HARD, N_VALUES };
void fill_floats(float *v, size_t n, int kind, noise *r);

/* ---- Time: TIMED("dots4", variant, n_weights) call(); prints the best of some short runs by this thread's clock. */

typedef struct kernel_timer {
	double n_units, best; /* seconds of a call */
	uint64_t calls, left;
	double start;
	int rounds;
} kernel_timer;

kernel_timer kernel_timer_open(const char *kernel, const char *variant, double n_units);
bool kernel_timer_next(kernel_timer *t);
#define TIMED(kernel, variant, n_units)                                                                                \
	for (kernel_timer timer = kernel_timer_open(kernel, variant, n_units);                                             \
		 timer.left > 0 ? (timer.left--, true) : kernel_timer_next(&timer);)

#endif
