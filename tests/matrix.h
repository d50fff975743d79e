/* SPDX-License-Identifier: Apache-2.0 */
/* An additive section made of noise, with what it must decode to: for the tests of the additive codec. */
#ifndef AQZ_TESTS_MATRIX_H
#define AQZ_TESTS_MATRIX_H

#include "codec/additive.h"
#include "tests/guarded.h"

#define MATRIX_RANGES 3
#define MATRIX_PARAMS 32

typedef struct matrix_options {
	const char *scheme;
	uint64_t rows, cols;
	unsigned n_ranges;                        /* of 64 code rows each, the last one of the rest; 1..3, 0 = 1 */
	aqz_dtype codebook_dtype[MATRIX_RANGES];  /* 0 = F16 */
	aqz_dtype codebook_scale_dtype;           /* for I8; 0 = F32 */
	aqz_dtype scale_dtype;                    /* of rows; 0 = there are none */
	unsigned cuts;                            /* sections of each codebook reference beyond the first */
} matrix_options;

typedef struct matrix {
	aqz_view view; /* dtype and chunk_rows are the caller's to set */
	aqz_ref refs[3 * MATRIX_RANGES];
	aqz_param_view params[MATRIX_PARAMS];
	uint32_t n_params;
	uint64_t code_rows, groups;
	uint16_t *codes;          /* [code_rows][groups][M] */
	uint8_t *lines;           /* the same as T64 */
	size_t n_lines_bytes;
	spec_range ranges[MATRIX_RANGES];
	float *row_scales;        /* or NULL */
	void *owned[64];
	unsigned n_owned;
} matrix;

void matrix_make(matrix *m, const matrix_options *opt, noise *r);
void matrix_free(matrix *m);

/* All elements by the letter of the spec. Free with free(). */
uint8_t *matrix_expect(const matrix *m, aqz_dtype dtype);

/* Decodes rows [begin, end) chunk by chunk, each out of a payload in memory of just its size. dst has room for them. */
aqz_status matrix_decode(uint8_t *dst, const matrix *m, aqz_dtype dtype, uint32_t chunk_rows, uint64_t begin,
	uint64_t end);

/* The status of the codec's check(), with the kind, dtype and shape of the parameters, not their data. */
aqz_status matrix_check(const matrix *m, aqz_error *err);

#endif
