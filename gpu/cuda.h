/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses of the CUDA runtime as ours; for C and for .cu files. */
#ifndef AQZ_GPU_CUDA_H
#define AQZ_GPU_CUDA_H

#include <cuda_runtime_api.h>

#include "gpu/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* AQZ_OK, or fills *err and clears what the runtime remembers of the error. what: the call. */
aqz_status aqz_cuda_status(cudaError_t error, const char *what, aqz_error *err);
/* Of the launch just made. */
aqz_status aqz_cuda_launched(aqz_error *err, const char *kernel);

/* Loads a kernel, which the driver would do at its first launch, that is perhaps while a stream is captured, and with a
 * wait for the whole device; and lets its blocks ask for so much shared memory, if that is not 0. */
cudaError_t aqz_cuda_prepare(const void *kernel, uint32_t shared_bytes);
cudaError_t aqz_cuda_prepare_trellis(void);

#ifdef __cplusplus
}
#endif

#endif
