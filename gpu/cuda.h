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

#ifdef __cplusplus
}
#endif

#endif
