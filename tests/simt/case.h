/* SPDX-License-Identifier: Apache-2.0 */
/* A random product for the emulator: matrices in device order, x, what y must be by binary64, and running a plan. */
#ifndef AQZ_TESTS_SIMT_CASE_H
#define AQZ_TESTS_SIMT_CASE_H

#include <cstdint>
#include <vector>

#include "gpu/product.h"
#include "tests/simt/simt_memory.h"

struct product_case {
	const char *scheme;
	uint32_t rows[AQZ_GPU_PARTS]; /* of each part; 0 ends */
	uint32_t cols, n_columns;
	aqz_dtype codebook, x, y;
	aqz_gpu_way way;
	uint32_t sms, shared_bytes;
	bool bias;
	uint32_t x_odd;  /* elements by which x is moved from its alignment */
	uint32_t plan;   /* 0: the one that is taken; k: the k-th of those that are considered, or the last */
};

struct outcome {
	bool ran;
	aqz_gpu_product_plan plan;
	uint32_t n_plans; /* that were considered */
	double worst;    /* error over its bound */
	uint64_t hash;   /* of all y */
};

/* Plans and runs it; whatever is wrong is printed and makes `ran` false. seed: of the values; order: of the fibers. */
outcome case_run(const product_case &c, uint64_t seed, uint64_t order);

#endif
