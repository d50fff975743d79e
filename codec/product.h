/* SPDX-License-Identifier: Apache-2.0 */
/* Products y = W x straight from T64 codes, for 1 to 8 columns x at a time. W is never reconstructed.
 *
 * Look-ups: for a group j, table[m][code] = sum over g of codeword[m][code][g] * x[j * G + g] is made once for all
 * rows; a row then costs a look-up and an addition for each group and codebook. Tables cost 2^B * G multiplications for
 * each group and codebook, so they pay where rows are many. Direct: codewords are added, multiplied by x and summed.
 *
 * Ways, with u = 2^-24 and |terms| = |s| sum over m, column of |codeword value * x|:
 *	DIRECT  any scheme, binary32. Within (groups * M + G + 4) u |terms| of the exact product.
 *	TABLES  O = 1, B <= 12, binary32 tables. The same bound.
 *	LUT16   O = 1, B <= 8: tables of integers of 16 bits, or of 13 (lut16.most), in units of their own for each run
 *	        of tables, of up to AQZ_LUT_TABLES or 8. To the bound of TABLES, |s| sum over runs of (tables * largest
 *	        entry of the run / (2 * most)) is added. In the mean over rows that is less than half of the error of a
 *	        product with W and x in bf16, also where single elements of x are 1000 times as large as the others.
 *	LUT8    the same with integers of 8 bits: an error of about 1 %, for those who ask for it only.
 * (First order in u, no overflow or underflow. Codewords and scales are taken as they are: reconstruction's last
 * rounding to the dtype is left out. Codewords are finite.)
 *
 * Where LUT16 or LUT8 meet a column of x whose largest magnitude is not finite, or is neither 0 nor within 2^-40 ..
 * 2^40, or such codebooks, that column is multiplied directly: inf, NaN and subnormals give what binary32 gives.
 *
 * A column's result depends on the scheme, cols, the rows together, way and kernels alone: neither on the number of
 * threads nor on the other columns. Integer sums are exact and tables are made without fused operations, so kernels
 * with the same lut16.most and lut16.unit give the same bits. */
#ifndef AQZ_CODEC_PRODUCT_H
#define AQZ_CODEC_PRODUCT_H

#include <stddef.h>

#include "codec/additive.h"

#define AQZ_PRODUCT_COLUMNS 8
/* Tables of a strip, at most: with the lines that are read, their 20 KiB of 16-bit entries fit a first-level cache of
 * 32. */
#define AQZ_LUT_TABLES 40
/* Entries of an integer table, whatever B is: those from 2^B on are never read. */
#define AQZ_LUT_ENTRIES 256

/* Rows of the same codebooks: code rows from the first of a 64-row block on. */
typedef struct aqz_product_part {
	float *y;              /* [n_columns][rows], columns y_ld floats apart */
	size_t y_ld;
	const uint8_t *lines;  /* T64, all groups of all row blocks */
	const float *scales;   /* one for each code row, or NULL */
	uint64_t rows;         /* elements' */
} aqz_product_part;

/* Integer tables. Their layout within table_bytes each (64-byte aligned) is the variant's. */
typedef struct aqz_product_lut {
	float most;           /* entries lie in [-most, most] */
	unsigned unit;        /* tables of one scale, at most: 8..AQZ_LUT_TABLES */
	unsigned table_bytes; /* at most 512 */

	/* entry = table value * inverse to the nearest integer, halves to even. tables: n_tables of n_codes = 2^B <= 256
	 * values each. */
	void (*entries)(void *restrict entries, const float *restrict tables, unsigned n_tables, unsigned n_codes,
		float inverse);
	/* y[64 b + i] += scales[k / unit] * sum over tables k of a unit of entry[k][lines[b * block_bytes + 64 k + i]], for
	 * each of n_blocks row blocks b, unit after unit; one rounding for the product and one for the sum. n_tables <=
	 * AQZ_LUT_TABLES; unit <= this.unit. The bytes `ahead` of each line are fetched from memory for a later call. */
	void (*look_up)(float *restrict y, const uint8_t *restrict lines, size_t block_bytes, unsigned n_blocks,
		const void *restrict entries, const float *restrict scales, unsigned n_tables, unsigned unit, ptrdiff_t ahead);
} aqz_product_lut;

/* Kernels: each adds to what is there. */
typedef struct aqz_product_kernels {
	const char *name;
	/* LUT16 is the faster way from so many rows on for groups of 8; UINT64_MAX = never. */
	uint64_t lut16_rows;
	/* Directly is the faster way for more than 8 bits and groups of up to 8. */
	bool quick_direct;
	aqz_product_lut lut16, lut8;

	/* tables[j][m][code] for n_groups groups of x ([n_groups][G]). turned: codebooks as [M][G][2^B]. O is 1. Products
	 * and sums are rounded one by one, g = 0..G-1 from 0 on. */
	void (*tables)(float *restrict tables, const float *restrict turned, const float *restrict x, unsigned n_groups,
		const aqz_scheme *scheme);
	/* The bits of the largest magnitude of n values, 0 without any; those of a NaN are above those of infinity. */
	uint32_t (*largest)(const float *values, size_t n);
	/* Codes of n_lines lines with B < 8 bits as bytes: lines of 64 bytes. */
	void (*widen)(uint8_t *restrict wide, const uint8_t *restrict lines, size_t n_lines, unsigned bits);
	/* acc[i] += sum over groups and codebooks of tables[j][m][code(i, j, m)]. lines: n_groups * M. */
	void (*look_up)(float acc[restrict AQZ_TILE_ROWS], const uint8_t *restrict lines, const float *restrict tables,
		unsigned n_groups, const aqz_scheme *scheme);
	/* acc[t][i][o][g] += (sum over m of codeword[m][code(i, j, m)][o][g]) * x[t][j][g], for each group j; columns t of
	 * acc are 64 * O * G floats apart, of x x_ld. half: the codebooks in binary16 if that is exact, or NULL. */
	void (*direct)(float *restrict acc, const uint8_t *restrict lines, const float *restrict x, size_t x_ld,
		unsigned n_columns, unsigned n_groups, const aqz_tables *restrict tables, const uint16_t *restrict half);
	/* Converts to binary16; false if a value changes. NULL where direct makes no use of half. */
	bool (*halve)(uint16_t *restrict half, const float *restrict values, size_t n);
	/* One codebook of n codewords, [n][G], to [G][n]. NULL = as the plain kernels do it. */
	void (*turn)(float *restrict turned, const float *restrict values, unsigned in_group, size_t n);
} aqz_product_kernels;

/* Variant i of those that this machine runs, the plainest first and the best last, or NULL after it. */
const aqz_product_kernels *aqz_product_kernels_get(unsigned i);

typedef enum aqz_product_way {
	AQZ_PRODUCT_AUTO = 0, /* the fastest but LUT8 */
	AQZ_PRODUCT_LUT16,
	AQZ_PRODUCT_LUT8,
	AQZ_PRODUCT_TABLES,
	AQZ_PRODUCT_DIRECT
} aqz_product_way;

typedef struct aqz_product_options {
	const aqz_product_kernels *kernels; /* NULL = the best */
	aqz_product_way way;                /* one that the scheme has not is taken for AUTO */
} aqz_product_options;

/* The way that a product with so many rows together goes, for ordinary x. */
aqz_product_way aqz_product_way_of(const aqz_scheme *scheme, uint64_t rows, const aqz_product_options *options);

/* Scratch for products with up to so many columns, any way, any number of rows. */
uint64_t aqz_product_scratch_bytes(const aqz_scheme *scheme, uint64_t cols, unsigned n_columns);

/* part->y = W x for each part, all of which have these codebooks. x: [n_columns][cols], columns x_ld floats apart;
 * n_columns is 1..AQZ_PRODUCT_COLUMNS. scratch: 64-byte aligned. options: NULL for the fastest. Any codes give values.
 * n_threads is the most that are used: small products take fewer. */
void aqz_product(const aqz_product_part *parts, unsigned n_parts, const aqz_tables *tables, uint64_t cols,
	const float *x, size_t x_ld, unsigned n_columns, void *scratch, unsigned n_threads,
	const aqz_product_options *options);

#endif
