/* SPDX-License-Identifier: Apache-2.0 */
/* What every folder stands on: forwarding errors, checked sizes, little-endian fields, a memory
 * budget. Depends on the public header only. */
#ifndef AQZ_BASE_H
#define AQZ_BASE_H

#include <stdlib.h>
#include <string.h>

#include "aqlmzip.h"

/* Forwards any status but AQZ_OK to the caller's `out:` label; the function has `aqz_status
 * status`. */
#define AQZ_TRY(call)                                                                                                  \
	do {                                                                                                               \
		status = (call);                                                                                               \
		if (status != AQZ_OK)                                                                                          \
			goto out;                                                                                                  \
	} while (0)

#if defined(__GNUC__)
#define AQZ_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define AQZ_PRINTF(text, first)
#endif

/* Fills *err (which may be NULL) and returns status. where may be NULL; text is a printf format,
 * one sentence. */
aqz_status aqz_fail(aqz_error *err, aqz_status status, uint64_t offset, const char *where, const char *text, ...)
	AQZ_PRINTF(5, 6);

/* aqz_fail for memory that malloc did not give. */
aqz_status aqz_fail_nomem(aqz_error *err, uint64_t n_bytes);

/* ---- Checked arithmetic: false if the result does not fit, and then *out is unspecified. */
static inline bool aqz_mul(uint64_t *out, uint64_t a, uint64_t b) { return !__builtin_mul_overflow(a, b, out); }
static inline bool aqz_add(uint64_t *out, uint64_t a, uint64_t b) { return !__builtin_add_overflow(a, b, out); }

/* ceil(a / b); b > 0. Never overflows. */
static inline uint64_t aqz_ceil_div(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

static inline uint64_t aqz_min(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Product of dimensions and its bytes in dtype; false on overflow or if the bits are no whole
 * bytes. A zero dimension does not excuse an overflow of the others. */
bool aqz_shape_size(uint64_t *n_elements, uint64_t *n_bytes, const uint64_t *shape, uint32_t rank, aqz_dtype dtype);

/* True if the n bytes are valid UTF-8 (no surrogates, no overlong forms) without NUL or other
 * control characters. */
bool aqz_text_ok(const char *text, size_t n);

/* ---- Little-endian fields at any alignment. */
static inline uint16_t aqz_get16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t aqz_get32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t aqz_get64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void aqz_put16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void aqz_put32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void aqz_put64(void *p, uint64_t v) { memcpy(p, &v, 8); }
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are read in place: little-endian hosts only");

/* ---- Memory under a limit. Not shared between threads. */
typedef struct aqz_budget {
	uint64_t limit_bytes; /* 0 = none */
	uint64_t used_bytes;
} aqz_budget;

/* Allocates n_bytes (zeroed, 64-byte aligned; 0 bytes give a valid pointer) and counts them. *out
 * is NULL on failure. Free with aqz_budget_free() and the same size. what names the thing for the
 * error text. */
aqz_status aqz_budget_alloc(aqz_budget *b, void **out, uint64_t n_bytes, const char *what, aqz_error *err);
void aqz_budget_free(aqz_budget *b, void *p, uint64_t n_bytes);

/* A growing array of bytes; grows by doubling as bytes arrive, never from a count in a file. */
typedef struct aqz_buffer {
	uint8_t *data;
	size_t n, capacity;
} aqz_buffer;
aqz_status aqz_buffer_add(aqz_buffer *b, const void *data, size_t n, aqz_error *err); /* data NULL adds zeros */
void aqz_buffer_free(aqz_buffer *b);

/* The processors that the process may use, at least 1; n_threads 0 means all of them, others are
 * kept. */
unsigned aqz_threads(unsigned n_threads);

#endif
