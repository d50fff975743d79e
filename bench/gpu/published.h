/* SPDX-License-Identifier: Apache-2.0 */
/* The design of the published AQLM kernels, written from its description, to measure against: a warp has one row; 2x8g8
 * keeps both codebooks in shared memory, each codeword 8 times, 1x16g8 fetches codewords from the second-level cache
 * past the first; x is staged in shared memory 2048 inputs at a time; products are in binary16, sums in binary32; codes
 * lie row after row. The scale is multiplied in the same launch, which the published ones leave to others. */
#ifndef AQZ_BENCH_GPU_PUBLISHED_H
#define AQZ_BENCH_GPU_PUBLISHED_H

#include "bench/gpu/bench_gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Prints a line for a layer's product with one column x (F16), if it is of 2x8g8 or 1x16g8. copy: the device's bytes a
 * second; cublas: seconds of the dense product. y has room for the rows. */
void published_measure(double copy, double cublas, const bench_layer *layer, const void *x, void *y);

#ifdef __cplusplus
}
#endif

#endif
