/* SPDX-License-Identifier: Apache-2.0 */
/* The one seam between the library and a device: memory, copies, streams, events and launches, as plain C. Three files
 * stand behind it: backend_cuda.c with the .cu files; gpu_none.c in a library without CUDA; tests/gpu/fake.c, which is
 * a device made of the host's memory, so that everything above the seam is tested without a card. */
#ifndef AQZ_GPU_BACKEND_H
#define AQZ_GPU_BACKEND_H

#include "aqlmzip_gpu.h"
#include "gpu/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUevent_st *aqz_gpu_event; /* cudaEvent_t */

aqz_status aqz_device_count(unsigned *n, aqz_error *err);
/* device is below the count. */
aqz_status aqz_device_info(aqz_gpu_info *out, unsigned device, aqz_error *err);

/* Makes a device the calling thread's, and the one before it again. */
aqz_status aqz_device_enter(int *previous, unsigned device, aqz_error *err);
void aqz_device_leave(int previous);

/* ---- All of these are for the thread's current device. */

/* At a multiple of 256 bytes. SPACE if there is not so much; n_bytes is above 0. */
aqz_status aqz_device_alloc(void **out, uint64_t n_bytes, const char *what, aqz_error *err);
void aqz_device_free(void *p);
/* Memory of the host that the device copies from by itself, 64-byte aligned. */
aqz_status aqz_pinned_alloc(void **out, uint64_t n_bytes, aqz_error *err);
void aqz_pinned_free(void *p);

aqz_status aqz_stream_make(aqz_gpu_stream *out, aqz_error *err);
void aqz_stream_free(aqz_gpu_stream stream);
/* Waits until all work of a stream is done. */
aqz_status aqz_stream_wait(aqz_gpu_stream stream, aqz_error *err);
aqz_status aqz_event_make(aqz_gpu_event *out, aqz_error *err);
void aqz_event_free(aqz_gpu_event event);
/* The event is when the stream has done what it was given so far; waiting for one never recorded returns at once. */
aqz_status aqz_event_record(aqz_gpu_event event, aqz_gpu_stream stream, aqz_error *err);
aqz_status aqz_event_wait(aqz_gpu_event event, aqz_error *err);

/* src stays as it is until the stream has done it; from pinned memory the call does not wait. */
aqz_status aqz_copy_to_device(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err);
aqz_status aqz_copy_to_host(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err);
aqz_status aqz_device_zero(void *dst, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err);

/* ---- Launches: asynchronous, no allocation, no wait. */

/* Puts T64 lines of whole row blocks, [n_row_blocks][groups][M][8 * B] at a multiple of 64 bytes, into device order
 * from row_block of codes on. */
aqz_status aqz_launch_permute(void *codes, const aqz_gpu_layout *layout, uint32_t row_block, uint32_t n_row_blocks,
	const void *lines, aqz_gpu_stream stream, aqz_error *err);

/* One reconstruction, its arguments checked. */
typedef struct aqz_reconstruct_job {
	aqz_gpu_layout layout;
	const uint8_t *base;
	void *dst;                   /* of row_begin's first element, at a multiple of dtype's bytes */
	uint64_t ld;                 /* elements */
	uint32_t row_begin, row_end; /* at least one row */
	uint32_t dtype;              /* AQZ_F32, AQZ_F16 or AQZ_BF16 */
	uint32_t plain;              /* no element can be a NaN */
} aqz_reconstruct_job;
/* limits: of the device, gpu/product.h. */
struct aqz_gpu_limits;
aqz_status aqz_launch_reconstruct(const aqz_reconstruct_job *job, const struct aqz_gpu_limits *limits,
	aqz_gpu_stream stream, aqz_error *err);

/* y[i][row] += bias[row], rounded once; behind cuBLAS, which has no bias. */
aqz_status aqz_launch_add_bias(void *y, uint64_t y_ld, const float *bias, uint32_t rows, uint32_t n_columns,
	aqz_dtype dtype, aqz_gpu_stream stream, aqz_error *err);

/* The chunks of a trellis section: gpu/trellis.h. */
struct aqz_trellis_job;
aqz_status aqz_launch_trellis(const struct aqz_trellis_job *job, aqz_gpu_stream stream, aqz_error *err);

/* ---- cuBLAS, loaded when asked for */

typedef struct aqz_gpu_blas aqz_gpu_blas;
/* *out is NULL if there is no cuBLAS; that is AQZ_OK. */
aqz_status aqz_blas_open(aqz_gpu_blas **out, aqz_error *err);
void aqz_blas_close(aqz_gpu_blas *blas);
/* Bytes of workspace that a product gets, so that none is allocated. */
#define AQZ_BLAS_WORKSPACE_BYTES (UINT64_C(32) << 20)
/* y[i][row] = sum over cols of w[row][col] * x[i][col], sums in binary32. w: [rows][w_ld]; all of dtype. */
aqz_status aqz_blas_product(aqz_gpu_blas *blas, void *y, uint64_t y_ld, const void *w, uint64_t w_ld, uint32_t rows,
	uint32_t cols, const void *x, uint64_t x_ld, uint32_t n_columns, aqz_dtype dtype, void *workspace,
	aqz_gpu_stream stream, aqz_error *err);

#ifdef __cplusplus
}
#endif

#endif
