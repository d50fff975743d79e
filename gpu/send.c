/* SPDX-License-Identifier: Apache-2.0 */
/* From the host to the device through two pinned buffers that take turns: the device reads one while the other is being
 * filled. */
#include "gpu/gpu.h"

aqz_status aqz_gpu_pinned(aqz_gpu *gpu, uint64_t n_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	if (n_bytes <= gpu->pinned_bytes)
		return AQZ_OK;
	AQZ_TRY(aqz_stream_wait(gpu->stream, err));
	gpu->pinned_bytes = 0;
	for (int i = 0; i < 2; i++) {
		if (gpu->pinned[i] != NULL)
			aqz_pinned_free(gpu->pinned[i]);
		gpu->pinned[i] = NULL;
	}
	for (int i = 0; i < 2; i++)
		AQZ_TRY(aqz_pinned_alloc(&gpu->pinned[i], n_bytes, err));
	gpu->pinned_bytes = n_bytes;
out:
	return status;
}

aqz_status aqz_gpu_turn(void **buffer, aqz_gpu *gpu, aqz_error *err)
{
	gpu->turn ^= 1;
	*buffer = gpu->pinned[gpu->turn];
	return aqz_event_wait(gpu->sent[gpu->turn], err);
}

aqz_status aqz_gpu_send_turn(aqz_gpu *gpu, void *dst, const void *src, uint64_t n_bytes, aqz_error *err)
{
	aqz_status status = aqz_copy_to_device(dst, src, n_bytes, gpu->stream, err);

	if (status == AQZ_OK)
		status = aqz_event_record(gpu->sent[gpu->turn], gpu->stream, err);
	return status;
}

aqz_status aqz_gpu_send(aqz_gpu *gpu, void *dst, const void *src, uint64_t n_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (uint64_t at = 0; at < n_bytes;) {
		const uint64_t n = aqz_min(n_bytes - at, gpu->pinned_bytes);
		void *buffer;

		AQZ_TRY(aqz_gpu_turn(&buffer, gpu, err));
		memcpy(buffer, (const uint8_t *)src + at, (size_t)n);
		AQZ_TRY(aqz_gpu_send_turn(gpu, (uint8_t *)dst + at, buffer, n, err));
		at += n;
	}
out:
	return status;
}
