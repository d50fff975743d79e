/* SPDX-License-Identifier: Apache-2.0 */
/* Between gpu/product_plan.c and gpu/product_ways.c: the plans of each way. `start` has the job but for what a plan
 * sets; visit is called with each plan that the device's limits allow, which may be none but for GATHER. */
#ifndef AQZ_GPU_PRODUCT_WAYS_H
#define AQZ_GPU_PRODUCT_WAYS_H

#include "gpu/product.h"

typedef struct aqz_gpu_choice {
	const aqz_gpu_product_plan *start;
	const aqz_gpu_limits *limits;
	aqz_gpu_visit *visit;
	void *user;
} aqz_gpu_choice;

void aqz_gpu_plans_lutg(const aqz_gpu_choice *c);
void aqz_gpu_plans_lutr(const aqz_gpu_choice *c);
/* cache_words as in aqz_gpu_product. */
void aqz_gpu_plans_gather(const aqz_gpu_choice *c, uint32_t cache_words);
void aqz_gpu_plans_mma(const aqz_gpu_choice *c);

#endif
