/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of bench/gpu/published.h. A lane reads 16 bytes of codes, 8 groups, at a time; a warp 2048 inputs. */
#include "bench/gpu/published_kernels.h"

#include <cuda_fp16.h>

#define X_PLACES (32 * 9)                 /* 16-byte places: a lane's 8 and one that turns the banks */
#define BOOK_PLACES (2 * 256 * 8)
#define BYTES_2X8 ((BOOK_PLACES + X_PLACES) * 16)

/* Groups 8 lane .. 8 lane + 7 of the step to the lane's places. */
static __device__ __forceinline__ void stage_x(uint4 *xs, const uint4 *x, uint32_t step, uint32_t groups)
{
	for (uint32_t i = threadIdx.x; i < 256; i += blockDim.x) {
		const uint32_t group = step * 256 + i;

		xs[i / 8 * 9 + i % 8] = group < groups ? x[group] : make_uint4(0, 0, 0, 0);
	}
}

static __device__ __forceinline__ __half2 pair(uint32_t v)
{
	return *reinterpret_cast<const __half2 *>(&v);
}

static __device__ __forceinline__ float one_group(uint4 w, uint4 x)
{
	__half2 sum = __hmul2(pair(w.x), pair(x.x));

	sum = __hfma2(pair(w.y), pair(x.y), sum);
	sum = __hfma2(pair(w.z), pair(x.z), sum);
	sum = __hfma2(pair(w.w), pair(x.w), sum);
	return __low2float(sum) + __high2float(sum);
}

static __device__ __forceinline__ uint32_t add(uint32_t a, uint32_t b)
{
	const __half2 sum = __hadd2(pair(a), pair(b));
	return *reinterpret_cast<const uint32_t *>(&sum);
}

static __device__ __forceinline__ uint4 add(uint4 a, uint4 b)
{
	return make_uint4(add(a.x, b.x), add(a.y, b.y), add(a.z, b.z), add(a.w, b.w));
}

static __device__ __forceinline__ void finish(const published_product &p, uint32_t row, float sum)
{
	for (int n = 16; n > 0; n /= 2)
		sum += __shfl_xor_sync(0xffffffffu, sum, n);
	if (threadIdx.x % 32 == 0 && row < p.rows)
		static_cast<__half *>(p.y)[row] = __float2half(sum * p.scales[row]);
}

template <bool TWO>
static __device__ __forceinline__ void product(const published_product &p, const uint4 *book, uint4 *xs)
{
	const uint32_t lane = threadIdx.x % 32, row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
	const uint32_t per_row = p.cols / 64, steps = (per_row + 31) / 32;
	const uint4 *const codes = static_cast<const uint4 *>(p.codes) + (uint64_t)row * per_row;
	float sum = 0;

	for (uint32_t step = 0; step < steps; step++) {
		const uint32_t at = step * 32 + lane;

		__syncthreads();
		stage_x(xs, static_cast<const uint4 *>(p.x), step, p.cols / 8);
		__syncthreads();
		if (row >= p.rows || at >= per_row)
			continue;
		const uint4 c = codes[at];
		const uint32_t v[4] = {c.x, c.y, c.z, c.w};
		uint4 w[8];

#pragma unroll
		for (int k = 0; k < 8; k++) {
			const uint32_t code = v[k / 2] >> k % 2 * 16 & 0xffff;

			if (TWO)
				w[k] = add(book[(code & 255) * 8 + lane % 8], book[(256 + (code >> 8)) * 8 + lane % 8]);
			else
				w[k] = __ldcg(static_cast<const uint4 *>(p.codebooks) + code);
		}
#pragma unroll
		for (int k = 0; k < 8; k++)
			sum += one_group(w[k], xs[lane * 9 + k]);
	}
	finish(p, row, sum);
}

static __global__ void two_by_8(const __grid_constant__ published_product p)
{
	extern __shared__ uint4 shared[];

	for (uint32_t i = threadIdx.x; i < BOOK_PLACES; i += blockDim.x)
		shared[i] = static_cast<const uint4 *>(p.codebooks)[i / 8];
	product<true>(p, shared, shared + BOOK_PLACES);
}

static __global__ void one_by_16(const __grid_constant__ published_product p)
{
	__shared__ uint4 xs[X_PLACES];

	product<false>(p, nullptr, xs);
}

cudaError_t published_prepare(void)
{
	return cudaFuncSetAttribute(two_by_8, cudaFuncAttributeMaxDynamicSharedMemorySize, BYTES_2X8);
}

cudaError_t published_launch(const published_product *p, uint32_t n_multiprocessors, cudaStream_t stream)
{
	/* Up to 16 rows a block, fewer where not all multiprocessors would have one. */
	const uint32_t wanted = (p->rows + n_multiprocessors - 1) / n_multiprocessors, warps = wanted < 16 ? wanted : 16;
	const uint32_t blocks = (p->rows + warps - 1) / warps;

	if (p->n_codebooks == 2)
		two_by_8<<<blocks, warps * 32, BYTES_2X8, stream>>>(*p);
	else
		one_by_16<<<blocks, warps * 32, 0, stream>>>(*p);
	return cudaGetLastError();
}
