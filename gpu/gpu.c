/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: which there are, taking one into use, and its memory. */
#include "gpu/gpu.h"

aqz_status aqz_gpu_count(unsigned *n, aqz_error *err)
{
	*n = 0;
	return aqz_device_count(n, err);
}

aqz_status aqz_gpu_get(aqz_gpu_info *out, unsigned device, aqz_error *err)
{
	unsigned n = 0;
	aqz_status status = aqz_device_count(&n, err);

	if (status != AQZ_OK)
		return status;
	if (device >= n)
		return aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, "device", "there is no device %u, only %u of them",
			device, n);
	return aqz_device_info(out, device, err);
}

static aqz_status open_device(aqz_gpu *gpu, bool cublas, aqz_error *err)
{
	const char *fault;
	int previous;
	aqz_status status = aqz_device_enter(&previous, gpu->device, err);

	if (status != AQZ_OK)
		return status;
	fault = aqz_gpu_product_prepare(&gpu->limits);
	if (fault != NULL)
		AQZ_TRY(aqz_fail(err, AQZ_E_GPU, AQZ_NO_OFFSET, "device", "%s", fault));
	AQZ_TRY(aqz_stream_make(&gpu->stream, err));
	AQZ_TRY(aqz_event_make(&gpu->sent[0], err));
	AQZ_TRY(aqz_event_make(&gpu->sent[1], err));
	if (cublas)
		AQZ_TRY(aqz_blas_open(&gpu->blas, err));
out:
	aqz_device_leave(previous);
	return status;
}

aqz_status aqz_gpu_open(aqz_gpu **out, unsigned device, const aqz_gpu_options *opt, aqz_error *err)
{
	aqz_gpu *gpu = NULL;
	aqz_gpu_info info;
	aqz_status status = AQZ_OK;

	*out = NULL;
	if (opt != NULL && opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	AQZ_TRY(aqz_gpu_get(&info, device, err));
	if (!info.usable)
		return aqz_fail(err, AQZ_E_GPU, AQZ_NO_OFFSET, "device", "%s: %s", info.name, info.why);
	gpu = calloc(1, sizeof *gpu);
	if (gpu == NULL)
		return aqz_fail_nomem(err, sizeof *gpu);
	gpu->device = device;
	gpu->info = info;
	gpu->memlimit_bytes = opt != NULL ? opt->memlimit_bytes : 0;
	AQZ_TRY(open_device(gpu, opt != NULL && opt->cublas, err));
	*out = gpu;
	gpu = NULL;
out:
	aqz_gpu_close(gpu);
	return status;
}

void aqz_gpu_close(aqz_gpu *gpu)
{
	int previous;

	if (gpu == NULL)
		return;
	if (aqz_device_enter(&previous, gpu->device, NULL) == AQZ_OK) {
		for (int i = 0; i < 2; i++) {
			if (gpu->sent[i] != NULL)
				aqz_event_free(gpu->sent[i]);
			if (gpu->pinned[i] != NULL)
				aqz_pinned_free(gpu->pinned[i]);
		}
		if (gpu->stream != NULL)
			aqz_stream_free(gpu->stream);
		if (gpu->blas != NULL)
			aqz_blas_close(gpu->blas);
		aqz_device_leave(previous);
	}
	free(gpu);
}

bool aqz_gpu_has_cublas(const aqz_gpu *gpu)
{
	return gpu->blas != NULL;
}

/* ---- Memory */

aqz_status aqz_gpu_take(void **out, aqz_gpu *gpu, uint64_t n_bytes, const char *what, aqz_error *err)
{
	const uint64_t used = atomic_fetch_add(&gpu->used_bytes, n_bytes);
	aqz_status status;

	*out = NULL;
	if (gpu->memlimit_bytes != 0 && (n_bytes > gpu->memlimit_bytes || used > gpu->memlimit_bytes - n_bytes))
		status = aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, "device.memory",
			"%s needs %llu bytes of the device, and %llu of %llu are in use", what, (unsigned long long)n_bytes,
			(unsigned long long)used, (unsigned long long)gpu->memlimit_bytes);
	else
		status = aqz_device_alloc(out, n_bytes, what, err);
	if (status != AQZ_OK)
		atomic_fetch_sub(&gpu->used_bytes, n_bytes);
	return status;
}

void aqz_gpu_give_back(aqz_gpu *gpu, void *p, uint64_t n_bytes)
{
	if (p == NULL)
		return;
	aqz_device_free(p);
	atomic_fetch_sub(&gpu->used_bytes, n_bytes);
}

/* What the caller takes is not counted: the limit is for what is uploaded. */
aqz_status aqz_gpu_memory(void **out, aqz_gpu *gpu, uint64_t n_bytes, aqz_error *err)
{
	int previous;
	aqz_status status;

	*out = NULL;
	if (n_bytes == 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "n_bytes", "no bytes were asked for");
	status = aqz_device_enter(&previous, gpu->device, err);
	if (status != AQZ_OK)
		return status;
	AQZ_TRY(aqz_device_alloc(out, n_bytes, "the caller", err));
	AQZ_TRY(aqz_device_zero(*out, n_bytes, gpu->stream, err));
	AQZ_TRY(aqz_stream_wait(gpu->stream, err));
out:
	if (status != AQZ_OK && *out != NULL) {
		aqz_device_free(*out);
		*out = NULL;
	}
	aqz_device_leave(previous);
	return status;
}

void aqz_gpu_memory_free(aqz_gpu *gpu, void *memory)
{
	int previous;

	if (memory == NULL || aqz_device_enter(&previous, gpu->device, NULL) != AQZ_OK)
		return;
	aqz_device_free(memory);
	aqz_device_leave(previous);
}

aqz_status aqz_gpu_copy_in(aqz_gpu *gpu, void *dst, const void *host, uint64_t n_bytes, aqz_gpu_stream stream,
	aqz_error *err)
{
	int previous;
	aqz_status status = aqz_device_enter(&previous, gpu->device, err);

	if (status != AQZ_OK)
		return status;
	AQZ_TRY(aqz_copy_to_device(dst, host, n_bytes, stream, err));
	AQZ_TRY(aqz_stream_wait(stream, err));
out:
	aqz_device_leave(previous);
	return status;
}

aqz_status aqz_gpu_copy_out(aqz_gpu *gpu, void *host, const void *src, uint64_t n_bytes, aqz_gpu_stream stream,
	aqz_error *err)
{
	int previous;
	aqz_status status = aqz_device_enter(&previous, gpu->device, err);

	if (status != AQZ_OK)
		return status;
	AQZ_TRY(aqz_copy_to_host(host, src, n_bytes, stream, err));
	AQZ_TRY(aqz_stream_wait(stream, err));
out:
	aqz_device_leave(previous);
	return status;
}

aqz_status aqz_gpu_wait(aqz_gpu *gpu, aqz_gpu_stream stream, aqz_error *err)
{
	int previous;
	aqz_status status = aqz_device_enter(&previous, gpu->device, err);

	if (status != AQZ_OK)
		return status;
	status = aqz_stream_wait(stream, err);
	aqz_device_leave(previous);
	return status;
}
