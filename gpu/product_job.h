/* SPDX-License-Identifier: Apache-2.0 */
/* What the product kernels are given, made by gpu/product_plan.c; plain C. One launch multiplies the same x by up to
 * AQZ_GPU_PARTS matrices of one scheme (fused q/k/v, gate and up), each with codewords, scales, bias and y of its own.
 *
 * A unit is what one warp finishes at a time: 32 or 64 code rows of one part, for some columns of x. Units of all parts
 * are numbered through. Blocks divide the units of a part (grid x), the inputs (grid y: splits) and the columns of x or
 * rows of a codeword (grid z). If there are several splits, each leaves its partial sums of a unit in memory, and
 * whoever comes last to a unit adds them up in the order of the splits: the result does not depend on who that is. */
#ifndef AQZ_GPU_PRODUCT_JOB_H
#define AQZ_GPU_PRODUCT_JOB_H

#include "gpu/matrix.h"

#define AQZ_GPU_PARTS 8
/* Units with partial sums, over all of grid z: there is a counter for each, at the beginning of the workspace, which
 * is 0 between products. More units than that are not split. */
#define AQZ_GPU_COUNTERS 65536

typedef struct aqz_gpu_rows {
	const uint8_t *codes;
	const uint8_t *words;
	const float *scales;
	const float *bias;      /* or NULL */
	void *y;                /* [n_columns][ldy] */
	uint64_t ldy;           /* elements */
	uint64_t row_block_bytes;
	uint32_t rows, code_rows;
	uint32_t units, first_unit;
	uint32_t blocks, first_block; /* of grid x */
} aqz_gpu_rows;

typedef struct aqz_gpu_job {
	aqz_gpu_rows parts[AQZ_GPU_PARTS];
	uint32_t n_parts;
	uint32_t units;         /* of all parts */
	const void *x;          /* [n_columns][ldx] */
	uint64_t ldx;           /* elements */
	uint32_t n_columns;
	uint32_t x_dtype, y_dtype, word_dtype; /* AQZ_F16, AQZ_BF16, AQZ_F32 */
	uint32_t cols, groups, group_blocks;
	uint32_t n_codebooks, code_bits, in_group, out_group, pieces;
	uint64_t tile_bytes;
	uint32_t x_quick;       /* pieces of x are whole and 16-byte aligned but for the last group's */
	uint32_t splits;
	uint32_t per_split;     /* what a split has, in a measure of the kernel's */
	float *partials;
	uint32_t *counters;
} aqz_gpu_job;

#endif
