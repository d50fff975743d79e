/* SPDX-License-Identifier: Apache-2.0 */
/* Products y = W x + bias on a device, straight from codes in the order of gpu/matrix.h: what is to be done
 * (aqz_gpu_product), how (aqz_gpu_product_plan, made on the host, testable without a device), and the launch. C11.
 *
 * Sums are in binary32, in an order that depends on the plan alone, and the plan on shapes, dtypes and limits: the same
 * product gives the same bits. With u = 2^-24 and |terms| = |s| sum over m, column of |codeword value * x|, to first
 * order, without overflow and underflow, and before y is rounded to its dtype:
 *
 *	LUT-G, LUT-R   (groups * M + 40) u |terms|, for x and codewords of any dtype
 *	GATHER         (cols * M + 2) u |terms|
 *	MMA            (cols * M + 8) u |terms|
 */
#ifndef AQZ_GPU_PRODUCT_H
#define AQZ_GPU_PRODUCT_H

#include "gpu/product_job.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum aqz_gpu_way {
	AQZ_GPU_AUTO = 0,
	AQZ_GPU_LUTG,   /* B <= 8, O = 1 */
	AQZ_GPU_LUTR,   /* 8 < B <= 12, O = 1 */
	AQZ_GPU_GATHER, /* all */
	AQZ_GPU_MMA     /* O = 1, x and codewords of the same 16-bit dtype */
} aqz_gpu_way;

/* Of a device. */
typedef struct aqz_gpu_limits {
	uint32_t n_multiprocessors;
	uint32_t shared_block_bytes; /* that a block may ask for */
	uint32_t shared_sm_bytes;    /* of a multiprocessor */
} aqz_gpu_limits;

/* All parts have the same scheme, cols and word_dtype. */
typedef struct aqz_gpu_product_part {
	const aqz_gpu_layout *layout;
	const void *base;  /* of the layout's offsets; of the device */
	void *y;           /* [n_columns][ldy] */
	uint64_t ldy;
} aqz_gpu_product_part;

typedef struct aqz_gpu_product {
	aqz_gpu_product_part parts[AQZ_GPU_PARTS];
	uint32_t n_parts;
	const void *x;         /* [n_columns][ldx], at a multiple of its element's bytes */
	uint64_t ldx;
	uint32_t n_columns;    /* 1.. */
	uint32_t x_dtype, y_dtype; /* AQZ_F16, AQZ_BF16, AQZ_F32 */
	aqz_gpu_way way;       /* one that cannot be done is taken for AUTO */
	uint32_t cache_words;  /* GATHER: 0 = by size, 1 = codewords through the first-level cache, 2 = past it */
} aqz_gpu_product;

typedef struct aqz_gpu_product_plan {
	aqz_gpu_way way;
	/* Which of the way's kernels: LUT-G tables, columns of a block, pieces (0 = any); LUT-R fours of groups; GATHER
	 * columns, whether it is the one for 16-bit types and groups of 8, and whether codewords go past the first-level
	 * cache; MMA tiles, codebooks (0 = any), and whether codewords are in shared memory. */
	uint32_t tables, columns, pieces, quads, quick, far, tiles, books, shared_words;
	uint32_t grid_x, grid_y, grid_z, threads, shared_bytes;
	uint64_t workspace_bytes; /* 0 without splits */
	double clocks;            /* that it may take, to compare plans */
	aqz_gpu_job job;          /* all but partials and counters */
} aqz_gpu_product_plan;

/* Returns NULL, or what is wrong. Touches no memory of the device. */
const char *aqz_gpu_product_plan_make(aqz_gpu_product_plan *plan, const aqz_gpu_product *product,
	const aqz_gpu_limits *limits);

/* Every plan that is considered for the product's way, AUTO's too: aqz_gpu_product_plan_make takes the first of those
 * with the fewest clocks. The plan is gone when visit returns. */
typedef void aqz_gpu_visit(void *user, const aqz_gpu_product_plan *plan);
const char *aqz_gpu_product_plans(const aqz_gpu_product *product, const aqz_gpu_limits *limits, aqz_gpu_visit *visit,
	void *user);

/* Workspace for products of these parts with 1..n_columns columns of any dtype and any way that AUTO takes. Only
 * layouts of the parts are looked at. A workspace is zeros before its first use and may then serve any products, but
 * not two at the same time. */
uint64_t aqz_gpu_product_workspace_bytes(const aqz_gpu_product_part *parts, uint32_t n_parts, uint32_t n_columns,
	const aqz_gpu_limits *limits);

/* ---- With CUDA only (product.cu) */

/* Once for each device, which is the thread's current one: what it has, and leave for kernels to use it. NULL, or what
 * the driver says. */
const char *aqz_gpu_product_prepare(aqz_gpu_limits *limits);

/* The part of it that reconstruct.cu has. */
const char *aqz_gpu_reconstruct_prepare(const aqz_gpu_limits *limits);

/* Launches. workspace: plan->workspace_bytes at a multiple of 256. Allocates nothing and waits for nothing. NULL, or
 * what the driver says. */
const char *aqz_gpu_product_launch(const aqz_gpu_product_plan *plan, void *workspace, void *stream);

/* The kernels of each way, for launches and attributes; NULL if there is none of these numbers. */
const void *aqz_gpu_lutg_kernel(uint32_t tables, uint32_t columns, uint32_t pieces);
const void *aqz_gpu_lutr_kernel(uint32_t quads);
const void *aqz_gpu_gather_kernel(uint32_t columns, bool quick, bool f16, bool far);
const void *aqz_gpu_mma_kernel(uint32_t tiles, bool f16, uint32_t books, bool shared_words, bool bytes);

#ifdef __cplusplus
}
#endif

#endif
