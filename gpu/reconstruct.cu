/* SPDX-License-Identifier: Apache-2.0 */
/* Launches gpu/reconstruct.h and gpu/permute.h. CPU twin: codec/additive_decode.c.
 *
 * shared: a block has the codewords of all codebooks in shared memory, each 16 bytes as many times as fit 64 KiB (8 for
 * 2x8g8: lanes of a quarter of a warp then never meet at a bank); blocks stay and take 16 rows x 32 groups for each
 * warp at a time. A warp reads M x 512 bytes of codes in whole lines and writes 16 rows of 512 bytes (F16, G = 8). Per
 * weight at 2x8g8: 0.25 bytes read, 2 written: bound by memory; 8 codewords a shared memory cycle are 7.4e12 weights a
 * second on 132 multiprocessors at 1.755 GHz, of which memory at 4.3e12 bytes a second takes 1.9e12 (a prediction, no
 * card yet).
 * fetched: other schemes; a lane makes one row of one group from codewords in global memory; 1x16 is bound by
 * the L2 cache, 32 bytes of which move for each codeword of 16.
 * permute: reads and writes each code once, at upload. */
#include "gpu/cuda.h"
#include "gpu/permute.h"
#include "gpu/product.h"
#include "gpu/reconstruct.h"

#define THREADS 256
/* Of a block with codewords in shared memory. Three blocks of 64 KiB share a multiprocessor if a thread has at most 56
 * registers; with eight codebooks of 32 values one block has all of its memory, and more threads. */
#define SHARED_THREADS(m) ((m) == 8 ? 512 : 384)
#define SHARED_RESIDENT(m) ((m) <= 2 ? 3 : (m) == 4 ? 2 : 1)

static __global__ void __launch_bounds__(THREADS)
	permute(uint8_t *codes, const uint8_t *lines, const __grid_constant__ aqz_gpu_layout layout, uint64_t pieces)
{
	for (uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x; i < pieces; i += (uint64_t)gridDim.x * THREADS)
		aqz_permute_piece(codes, lines, &layout, i);
}

static __global__ void __launch_bounds__(THREADS)
	fetched(const __grid_constant__ aqz_reconstruct_job job, uint64_t units)
{
	for (uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x; i < units; i += (uint64_t)gridDim.x * THREADS)
		aqz_reconstruct_unit(&job, i);
}

template <int M, uint32_t WORD>
static __global__ void __launch_bounds__(SHARED_THREADS(M), SHARED_RESIDENT(M))
	shared(const __grid_constant__ aqz_reconstruct_job job, uint32_t copies, uint64_t warps)
{
	extern __shared__ uint4 table[];
	const uint4 *words = (const uint4 *)(job.base + job.layout.words_offset);
	const uint32_t n = (uint32_t)(job.layout.words_bytes / 16) * copies;
	const uint64_t stride = (uint64_t)gridDim.x * (SHARED_THREADS(M) / 32);

	for (uint32_t i = threadIdx.x; i < n; i += SHARED_THREADS(M))
		table[i] = words[aqz_reconstruct_source(i, job.layout.pieces, copies)];
	__syncthreads();
	for (uint64_t w = (uint64_t)blockIdx.x * (SHARED_THREADS(M) / 32) + threadIdx.x / 32; w < warps; w += stride)
		aqz_reconstruct_lane<M, WORD>(job, (const uint8_t *)table, copies, w, threadIdx.x % 32);
}

/* Blocks for so much work, but no more than some for each multiprocessor that the hardware may have. */
static unsigned blocks_for(uint64_t work, uint64_t per_block, uint64_t most)
{
	const uint64_t n = (work + per_block - 1) / per_block;

	return (unsigned)(n < most ? n : most);
}

extern "C" aqz_status aqz_launch_permute(void *codes, const aqz_gpu_layout *layout, uint32_t row_block,
	uint32_t n_row_blocks, const void *lines, aqz_gpu_stream stream, aqz_error *err)
{
	const uint64_t pieces = aqz_permute_pieces(layout, n_row_blocks);

	if (pieces == 0)
		return AQZ_OK;
	permute<<<blocks_for(pieces, THREADS, 1u << 16), THREADS, 0, stream>>>(
		(uint8_t *)codes + row_block * layout->row_block_bytes, (const uint8_t *)lines, *layout, pieces);
	return aqz_cuda_launched(err, "permute");
}

typedef void shared_kernel(const aqz_reconstruct_job, uint32_t, uint64_t);

static shared_kernel *const shared_kernels[2][4] = {
	{shared<1, AQZ_F16>, shared<2, AQZ_F16>, shared<4, AQZ_F16>, shared<8, AQZ_F16>},
	{shared<1, AQZ_BF16>, shared<2, AQZ_BF16>, shared<4, AQZ_BF16>, shared<8, AQZ_BF16>}};

extern "C" aqz_status aqz_launch_reconstruct(const aqz_reconstruct_job *job, const aqz_gpu_limits *limits,
	aqz_gpu_stream stream, aqz_error *err)
{
	const uint32_t copies = aqz_reconstruct_copies(job, limits->shared_block_bytes), m = job->layout.n_codebooks;
	const uint64_t units = aqz_reconstruct_units(job), warps = aqz_reconstruct_warps(job);
	const size_t bytes = (size_t)job->layout.words_bytes * copies;
	const int threads = SHARED_THREADS(m);
	uint64_t resident;

	if (copies == 0) {
		fetched<<<blocks_for(units, THREADS, 1u << 20), THREADS, 0, stream>>>(*job, units);
		return aqz_cuda_launched(err, "reconstruct");
	}
	/* Blocks stay: no more than run at the same time, each of which has 1 KiB of its multiprocessor's for itself. */
	resident = limits->shared_sm_bytes / (bytes + 1024);
	resident = resident < 1 ? 1 : resident > SHARED_RESIDENT(m) ? SHARED_RESIDENT(m) : resident;
	shared_kernels[job->layout.word_dtype == AQZ_BF16][m == 1 ? 0 : m == 2 ? 1 : m == 4 ? 2 : 3]
		<<<blocks_for(warps, (uint64_t)threads / 32, resident * limits->n_multiprocessors), threads, bytes, stream>>>(
			*job, copies, warps);
	return aqz_cuda_launched(err, "reconstruct");
}

/* ---- Bias behind cuBLAS */

static __global__ void __launch_bounds__(THREADS)
	add_bias(void *y, uint64_t y_ld, const float *bias, uint32_t rows, uint32_t dtype)
{
	const uint32_t row = blockIdx.x * THREADS + threadIdx.x;
	const uint64_t at = blockIdx.y * y_ld + row;

	if (row >= rows)
		return;
	if (dtype == AQZ_F32)
		((float *)y)[at] = aqz_gpu_add(((float *)y)[at], bias[row]);
	else if (dtype == AQZ_F16)
		((uint16_t *)y)[at] = aqz_gpu_to_f16(aqz_gpu_add(aqz_gpu_from_f16(((uint16_t *)y)[at]), bias[row]));
	else
		((uint16_t *)y)[at] = aqz_gpu_to_bf16(aqz_gpu_add(aqz_gpu_from_bf16(((uint16_t *)y)[at]), bias[row]));
}

extern "C" aqz_status aqz_launch_add_bias(void *y, uint64_t y_ld, const float *bias, uint32_t rows, uint32_t n_columns,
	aqz_dtype dtype, aqz_gpu_stream stream, aqz_error *err)
{
	const unsigned element = dtype == AQZ_F32 ? 4 : 2;

	/* Grid y has at most 65535. */
	for (uint32_t i = 0; i < n_columns; i += 32768) {
		const dim3 grid((rows + THREADS - 1) / THREADS, n_columns - i < 32768 ? n_columns - i : 32768);

		add_bias<<<grid, THREADS, 0, stream>>>((uint8_t *)y + i * y_ld * element, y_ld, bias, rows, dtype);
	}
	return aqz_cuda_launched(err, "add_bias");
}

/* ---- All */

extern "C" const char *aqz_gpu_reconstruct_prepare(const aqz_gpu_limits *limits)
{
	cudaError_t e = aqz_cuda_prepare((const void *)fetched, 0);

	if (e == cudaSuccess)
		e = aqz_cuda_prepare((const void *)permute, 0);
	if (e == cudaSuccess)
		e = aqz_cuda_prepare((const void *)add_bias, 0);
	for (int i = 0; i < 8 && e == cudaSuccess; i++)
		e = aqz_cuda_prepare((const void *)shared_kernels[i / 4][i % 4], limits->shared_block_bytes);
	if (e == cudaSuccess)
		return nullptr;
	cudaGetLastError();
	return cudaGetErrorString(e);
}
