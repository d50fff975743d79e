/* SPDX-License-Identifier: Apache-2.0 */
/* The seam of gpu/backend.h by the CUDA runtime, but for launches, which are in the .cu files, and cuBLAS. */
#include "base/base.h"
#include "gpu/cuda.h"

aqz_status aqz_cuda_status(cudaError_t error, const char *what, aqz_error *err)
{
	if (error == cudaSuccess)
		return AQZ_OK;
	cudaGetLastError(); /* an error that is told is not told again by the next call */
	if (error == cudaErrorMemoryAllocation)
		return aqz_fail(err, AQZ_E_SPACE, AQZ_NO_OFFSET, "device.memory", "%s: %s", what, cudaGetErrorString(error));
	return aqz_fail(err, AQZ_E_GPU, AQZ_NO_OFFSET, "device", "%s: %s", what, cudaGetErrorString(error));
}

aqz_status aqz_cuda_launched(aqz_error *err, const char *kernel)
{
	return aqz_cuda_status(cudaGetLastError(), kernel, err);
}

cudaError_t aqz_cuda_prepare(const void *kernel, uint32_t shared_bytes)
{
	struct cudaFuncAttributes unused;
	const cudaError_t error = cudaFuncGetAttributes(&unused, kernel);

	if (error != cudaSuccess || shared_bytes == 0)
		return error;
	return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
}

/* ---- Devices */

aqz_status aqz_device_count(unsigned *n, aqz_error *err)
{
	int count = 0;
	const cudaError_t error = cudaGetDeviceCount(&count);

	*n = 0;
	if (error == cudaErrorNoDevice) {
		cudaGetLastError();
		return AQZ_OK;
	}
	if (error == cudaErrorInsufficientDriver) { /* also where there is none at all */
		cudaGetLastError();
		return aqz_fail(err, AQZ_E_GPU, AQZ_NO_OFFSET, "device",
			"there is no NVIDIA driver, or one older than the CUDA that this library was built with");
	}
	if (error != cudaSuccess)
		return aqz_cuda_status(error, "no usable CUDA driver", err);
	*n = (unsigned)count;
	return AQZ_OK;
}

static aqz_status attribute(int *value, enum cudaDeviceAttr which, unsigned device, aqz_error *err)
{
	return aqz_cuda_status(cudaDeviceGetAttribute(value, which, (int)device), "cudaDeviceGetAttribute", err);
}

aqz_status aqz_device_info(aqz_gpu_info *out, unsigned device, aqz_error *err)
{
	static const char old[] = "compute capability 8.0 or above is needed";
	struct cudaDeviceProp p;
	int major, minor, n;
	aqz_status status;

	memset(out, 0, sizeof *out);
	AQZ_TRY(aqz_cuda_status(cudaGetDeviceProperties(&p, (int)device), "cudaGetDeviceProperties", err));
	AQZ_TRY(attribute(&major, cudaDevAttrComputeCapabilityMajor, device, err));
	AQZ_TRY(attribute(&minor, cudaDevAttrComputeCapabilityMinor, device, err));
	AQZ_TRY(attribute(&n, cudaDevAttrMultiProcessorCount, device, err));
	memcpy(out->name, p.name, sizeof out->name - 1);
	out->major = (unsigned)major;
	out->minor = (unsigned)minor;
	out->n_multiprocessors = (unsigned)n;
	out->memory_bytes = p.totalGlobalMem;
	out->usable = major >= 8;
	if (!out->usable)
		memcpy(out->why, old, sizeof old);
out:
	return status;
}

aqz_status aqz_device_enter(int *previous, unsigned device, aqz_error *err)
{
	aqz_status status = aqz_cuda_status(cudaGetDevice(previous), "cudaGetDevice", err);

	if (status == AQZ_OK && *previous != (int)device)
		status = aqz_cuda_status(cudaSetDevice((int)device), "cudaSetDevice", err);
	return status;
}

void aqz_device_leave(int previous)
{
	int now;

	if (cudaGetDevice(&now) == cudaSuccess && now != previous)
		cudaSetDevice(previous);
}

/* ---- Memory */

aqz_status aqz_device_alloc(void **out, uint64_t n_bytes, const char *what, aqz_error *err)
{
	*out = NULL;
	return aqz_cuda_status(cudaMalloc(out, (size_t)n_bytes), what, err);
}

void aqz_device_free(void *p)
{
	cudaFree(p);
}

aqz_status aqz_pinned_alloc(void **out, uint64_t n_bytes, aqz_error *err)
{
	const cudaError_t error = cudaHostAlloc(out, (size_t)n_bytes, cudaHostAllocPortable);

	if (error == cudaErrorMemoryAllocation) {
		cudaGetLastError();
		*out = NULL;
		return aqz_fail_nomem(err, n_bytes);
	}
	return aqz_cuda_status(error, "cudaHostAlloc", err);
}

void aqz_pinned_free(void *p)
{
	cudaFreeHost(p);
}

/* ---- Streams and events */

aqz_status aqz_stream_make(aqz_gpu_stream *out, aqz_error *err)
{
	*out = NULL;
	return aqz_cuda_status(cudaStreamCreateWithFlags(out, cudaStreamNonBlocking), "cudaStreamCreateWithFlags", err);
}

void aqz_stream_free(aqz_gpu_stream stream)
{
	cudaStreamDestroy(stream);
}

aqz_status aqz_stream_wait(aqz_gpu_stream stream, aqz_error *err)
{
	return aqz_cuda_status(cudaStreamSynchronize(stream), "the device's work", err);
}

aqz_status aqz_event_make(aqz_gpu_event *out, aqz_error *err)
{
	*out = NULL;
	return aqz_cuda_status(cudaEventCreateWithFlags(out, cudaEventDisableTiming), "cudaEventCreateWithFlags", err);
}

void aqz_event_free(aqz_gpu_event event)
{
	cudaEventDestroy(event);
}

aqz_status aqz_event_record(aqz_gpu_event event, aqz_gpu_stream stream, aqz_error *err)
{
	return aqz_cuda_status(cudaEventRecord(event, stream), "cudaEventRecord", err);
}

aqz_status aqz_event_wait(aqz_gpu_event event, aqz_error *err)
{
	return aqz_cuda_status(cudaEventSynchronize(event), "the device's work", err);
}

/* ---- Copies */

aqz_status aqz_copy_to_device(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err)
{
	return aqz_cuda_status(cudaMemcpyAsync(dst, src, (size_t)n_bytes, cudaMemcpyHostToDevice, stream),
		"cudaMemcpyAsync", err);
}

aqz_status aqz_copy_to_host(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err)
{
	return aqz_cuda_status(cudaMemcpyAsync(dst, src, (size_t)n_bytes, cudaMemcpyDeviceToHost, stream),
		"cudaMemcpyAsync", err);
}

aqz_status aqz_device_zero(void *dst, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err)
{
	return aqz_cuda_status(cudaMemsetAsync(dst, 0, (size_t)n_bytes, stream), "cudaMemsetAsync", err);
}
