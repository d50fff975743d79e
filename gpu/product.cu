/* SPDX-License-Identifier: Apache-2.0 */
/* Launching what gpu/product_plan.c has planned. */
#include "gpu/cuda.h"
#include "gpu/product.h"

#include <cuda_runtime.h>

static const void *kernel_of(const aqz_gpu_product_plan *p)
{
	switch (p->way) {
	case AQZ_GPU_LUTG:
		return aqz_gpu_lutg_kernel(p->tables, p->columns, p->pieces);
	case AQZ_GPU_LUTR:
		return aqz_gpu_lutr_kernel(p->quads);
	case AQZ_GPU_MMA:
		return aqz_gpu_mma_kernel(p->tiles, p->job.word_dtype == AQZ_F16, p->books, p->shared_words != 0,
			p->job.code_bits <= 8);
	default:
		return aqz_gpu_gather_kernel(p->columns, p->quick != 0, p->job.word_dtype == AQZ_F16, p->far != 0);
	}
}

/* What a launch does must not depend on what happened before it: an old error that nobody has fetched is cleared. */
static const char *text(cudaError_t e)
{
	if (e == cudaSuccess)
		return nullptr;
	cudaGetLastError();
	return cudaGetErrorString(e);
}

static cudaError_t allow(const void *kernel, uint32_t shared_bytes)
{
	return kernel == nullptr ? cudaSuccess : aqz_cuda_prepare(kernel, shared_bytes);
}

const char *aqz_gpu_product_prepare(aqz_gpu_limits *limits)
{
	int device, processors, block, sm;
	cudaError_t e = cudaGetDevice(&device);

	if (e == cudaSuccess)
		e = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
	if (e == cudaSuccess)
		e = cudaDeviceGetAttribute(&block, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
	if (e == cudaSuccess)
		e = cudaDeviceGetAttribute(&sm, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
	if (e != cudaSuccess)
		return text(e);
	limits->n_multiprocessors = (uint32_t)processors;
	limits->shared_block_bytes = (uint32_t)block;
	limits->shared_sm_bytes = (uint32_t)sm;
	for (uint32_t i = 1; i <= 3 && e == cudaSuccess; i++) {
		for (uint32_t pieces = 0; pieces <= 4 && e == cudaSuccess; pieces++)
			for (uint32_t columns = 1; columns <= 2 && e == cudaSuccess; columns++)
				e = allow(aqz_gpu_lutg_kernel(i, columns, pieces), limits->shared_block_bytes);
		if (e == cudaSuccess)
			e = allow(aqz_gpu_lutr_kernel(i), limits->shared_block_bytes);
	}
	for (uint32_t tiles = 1; tiles <= 4 && e == cudaSuccess; tiles++)
		for (uint32_t books = 0; books <= 2 && e == cudaSuccess; books++)
			for (int f16 = 0; f16 < 2 && e == cudaSuccess; f16++)
				for (int variant = 0; variant < 3 && e == cudaSuccess; variant++)
					e = allow(aqz_gpu_mma_kernel(tiles, f16 != 0, books, variant == 0, variant < 2),
						limits->shared_block_bytes);
	for (uint32_t columns = 1; columns <= 8 && e == cudaSuccess; columns *= 2)
		for (int variant = 0; variant < 5 && e == cudaSuccess; variant++)
			e = allow(aqz_gpu_gather_kernel(columns, variant > 0, variant > 2, variant % 2 == 0), 0);
	if (e == cudaSuccess)
		e = aqz_cuda_prepare_trellis();
	return e == cudaSuccess ? aqz_gpu_reconstruct_prepare(limits) : text(e);
}

const char *aqz_gpu_product_launch(const aqz_gpu_product_plan *plan, void *workspace, void *stream)
{
	aqz_gpu_job job = plan->job;
	void *arguments[] = {&job};

	job.counters = static_cast<uint32_t *>(workspace);
	if (workspace != nullptr)
		job.partials = reinterpret_cast<float *>(job.counters + AQZ_GPU_COUNTERS);
	return text(cudaLaunchKernel(kernel_of(plan), dim3(plan->grid_x, plan->grid_y, plan->grid_z), dim3(plan->threads),
		arguments, plan->shared_bytes, static_cast<cudaStream_t>(stream)));
}
