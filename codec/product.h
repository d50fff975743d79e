/* SPDX-License-Identifier: Apache-2.0 */
/* Products y = W x straight from T64 codes, one vector at a time. W is never reconstructed.
 *
 * Tables: for a group j, table[m][code] = sum over g of codeword[m][code][g] * x[j * G + g] is made once for all rows;
 * a row then costs a look-up and an addition for each group and codebook. Direct: codewords are added, multiplied by x
 * and summed. Tables cost 2^B * G multiplications for each group and codebook, so they pay where rows are many.
 *
 * All arithmetic is binary32, in an order that depends on the scheme and on cols alone. With u = 2^-24 the result is
 * within (groups * M + G + 4) u |s| sum over m, column of |codeword value * x| of the exact one (first order in u, no
 * overflow or underflow), where codewords and scales are taken as they are: reconstruction's last rounding to the
 * dtype is left out. Codewords are finite. */
#ifndef AQZ_CODEC_PRODUCT_H
#define AQZ_CODEC_PRODUCT_H

#include "codec/additive.h"

/* Rows of the same codebooks: code rows from the first of a 64-row block on. */
typedef struct aqz_product_part {
	float *y;              /* [rows] */
	const uint8_t *lines;  /* T64, all groups of all row blocks */
	const float *scales;   /* one for each code row, or NULL */
	uint64_t rows;         /* elements' */
} aqz_product_part;

/* Kernels. The three work on one 64-row block or on one run of groups; each adds to what is there. */
typedef struct aqz_product_kernels {
	const char *name;

	/* tables[j][m][code] for n_groups groups of x ([n_groups][G]). turned: codebooks as [M][G][2^B]. O is 1. */
	void (*tables)(float *restrict tables, const float *restrict turned, const float *restrict x, unsigned n_groups,
		const aqz_scheme *scheme);
	/* acc[i] += sum over groups and codebooks of tables[j][m][code(i, j, m)]. lines: n_groups * M. */
	void (*look_up)(float acc[restrict AQZ_TILE_ROWS], const uint8_t *restrict lines, const float *restrict tables,
		unsigned n_groups, const aqz_scheme *scheme);
	/* acc[i][o][g] += (sum over m of codeword[m][code(i, j, m)][o][g]) * x[j][g], for each group j. */
	void (*direct)(float *restrict acc, const uint8_t *restrict lines, const float *restrict x, unsigned n_groups,
		const aqz_tables *tables);
} aqz_product_kernels;

/* Variant i of those that this machine runs, the plainest first, or NULL after the last. */
const aqz_product_kernels *aqz_product_kernels_get(unsigned i);

/* True if tables are the faster way for so many rows together. */
bool aqz_product_tables_pay(const aqz_scheme *scheme, uint64_t rows);
/* Scratch for products with up to so many rows together. */
uint64_t aqz_product_scratch_bytes(const aqz_scheme *scheme, uint64_t rows, uint64_t cols);

/* part->y = W x for each part, all of which have these codebooks. x: [cols]. scratch: 64-byte aligned. kernels: NULL
 * for the best. Any codes give values. The same bits for any number of threads. */
void aqz_product(const aqz_product_part *parts, unsigned n_parts, const aqz_tables *tables, uint64_t cols,
	const float *x, void *scratch, unsigned n_threads, const aqz_product_kernels *kernels);

#endif
