/* SPDX-License-Identifier: Apache-2.0 */
/* Measures every plan that a product considers, to see whether the model of gpu/product_ways.c takes the best one. */
#ifndef AQZ_BENCH_GPU_TUNE_H
#define AQZ_BENCH_GPU_TUNE_H

#include <time.h>

#include "gpu/gpu.h"

typedef struct tune_setup {
	aqz_gpu *gpu;
	const void *x;       /* [64][28672], F16 */
	void *y, *y_due;     /* [64][28672], F16 */
	void *workspace;     /* zeros at its beginning, as products leave it */
	uint64_t workspace_bytes;
	time_t end;          /* no case begins later */
} tune_setup;

/* Prints for each case the plan that is taken and the best ones, with what the model says of them. */
void tune_measure(const tune_setup *s);

#endif
