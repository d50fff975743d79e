/* SPDX-License-Identifier: Apache-2.0 */
/* Between bench/gpu/published.c and .cu. All pointers are of the device, at multiples of 16 bytes. */
#ifndef AQZ_BENCH_GPU_PUBLISHED_KERNELS_H
#define AQZ_BENCH_GPU_PUBLISHED_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct published_product {
	const void *codes;     /* [rows][cols / 8][M], 8 or 16 bits each */
	const void *codebooks; /* [M][2^B][8], F16 */
	const float *scales;   /* [rows] */
	const void *x;         /* F16 */
	void *y;               /* F16 */
	uint32_t rows, cols;   /* cols is a multiple of 64 */
	uint32_t n_codebooks;  /* 2: 2x8g8, 1: 1x16g8 */
} published_product;

/* Allows what shared memory the kernels take; once. */
cudaError_t published_prepare(void);
cudaError_t published_launch(const published_product *p, uint32_t n_multiprocessors, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
