/* SPDX-License-Identifier: Apache-2.0 */
/* Inside aqlmzip bench: one shape at work. */
#ifndef AQZ_CLI_BENCH_LAYER_H
#define AQZ_CLI_BENCH_LAYER_H

#include "cli/bench.h"

#define BENCH_COLUMNS 8
#define BENCH_BLOCK 64 /* code rows of a row block */

typedef struct bench_sizes {
	uint64_t groups, block_rows;
	uint64_t codes_bytes, n_codes; /* of one copy, and copies */
	uint64_t tall_rows;            /* of one copy: whole row blocks */
	uint64_t big_bytes;            /* for copies of the weights in another form */
	uint64_t total;
} bench_sizes;

typedef struct bench_layer {
	bench_kernels *b;
	const bench_shape *shape;
	bench_result *result;
	bench_sizes z;
	aqz_additive a;     /* all copies of the codes, one below the other */
	aqz_matrix *matrix;
	float *codebooks;   /* in binary32, as they are after rounding to F16 */
	float *scales;      /* of one copy */
	float *x;           /* [BENCH_COLUMNS][x_ld] */
	float *y, *wanted;  /* [BENCH_COLUMNS][rows], [rows] */
	float *tables;      /* of the LUT loop */
	uint16_t *x16;      /* the first column in bfloat16 */
	uint8_t *big;       /* weights in the form that is measured */
	void *scratch;
	uint64_t x_ld, few_rows;
	/* The measurement under way. */
	enum bench_what what;
	unsigned n_threads;
	uint64_t n_copies, copy_bytes;
	uint64_t sum;       /* of what was read; nobody looks at it, but that is not known where it is made */
} bench_layer;

/* So many copies that they are twice what the caches hold, or as many as there may be. */
uint64_t bench_copies(uint64_t bytes, uint64_t cache_bytes);
bench_sizes bench_sizes_of(const bench_kernels *b, const bench_shape *shape);
/* The LUT loop is numba's: codes of 8 bits for one row each. */
static inline bool bench_has_lut(const aqz_scheme *s)
{
	return s->code_bits == 8 && s->out_group == 1;
}

/* Fills *l with codes, codebooks, scales and vectors of fixed random numbers. Free with bench_layer_free(), also after
 * a failure. */
aqz_status bench_layer_make(bench_layer *l, bench_kernels *b, unsigned i, aqz_error *err);
void bench_layer_free(bench_layer *l);

aqz_status bench_nomem(aqz_error *err);
/* At least so many bytes, at a line's boundary; NULL if there are none. */
void *bench_lines(uint64_t n_bytes);

#endif
