/* SPDX-License-Identifier: Apache-2.0 */
/* Launches gpu/trellis_kernel.h: a warp for each chunk. Reads the payload once (about 0.3 bytes a weight), writes 2 or
 * 4 bytes a weight; bound by the latency of a row's chain. */
#include "gpu/cuda.h"
#include "gpu/trellis_kernel.h"

static __global__ void __launch_bounds__(32) trellis(const __grid_constant__ aqz_trellis_job job)
{
	aqz::trellis_body(job);
}

extern "C" cudaError_t aqz_cuda_prepare_trellis(void)
{
	return aqz_cuda_prepare((const void *)trellis, 0);
}

extern "C" aqz_status aqz_launch_trellis(const aqz_trellis_job *job, aqz_gpu_stream stream, aqz_error *err)
{
	trellis<<<job->n_chunks, 32, 64 * sizeof(uint32_t), stream>>>(*job);
	return aqz_cuda_launched(err, "trellis");
}
