/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices of trellis indices with parameters, and what they decode to by the letter of the spec. */
#ifndef AQZ_TESTS_TRELLIS_CASE_H
#define AQZ_TESTS_TRELLIS_CASE_H

#include "codec/trellis.h"
#include "tests/support.h"

typedef enum case_kind {
	CASE_RANDOM,  /* sizes and tables of every form, escapes among the indices */
	CASE_LAYER,   /* sizes as those of a layer */
	CASE_WIDE,    /* indices and exponents to their bounds */
	CASE_ZERO,    /* all indices 0, one bucket, tables that cost nothing */
	CASE_CONSTANT /* all indices the same */
} case_kind;

typedef struct trellis_case {
	aqz_trellis_params p;
	int32_t *index;     /* [cols][rows] */
	aqz_buffer params;  /* as written; p is what it decodes to */
	aqz_buffer *chunks; /* payloads */
	uint64_t chunk_rows;
	uint32_t n_chunks;
} trellis_case;

/* Parameters and indices, without a call of the library. */
void trellis_case_fill(trellis_case *c, case_kind kind, unsigned state_bits, uint64_t rows,
	uint64_t cols, uint64_t chunk_rows, noise *r);
/* The same, coded. */
void trellis_case_make(trellis_case *c, case_kind kind, unsigned state_bits, uint64_t rows,
	uint64_t cols, uint64_t chunk_rows, noise *r);
void trellis_case_free(trellis_case *c);

/* What rows [begin, end) decode to, densely packed. */
void trellis_case_decode(void *dst, const trellis_case *c, aqz_dtype dtype, uint64_t begin, uint64_t end);
uint64_t trellis_case_row_bytes(const trellis_case *c, aqz_dtype dtype);

#endif
