/* SPDX-License-Identifier: Apache-2.0 */
/* The seam of gpu/backend.h in a library without CUDA: there is no device, and every call says so. The public functions
 * are those of a library with CUDA; what needs no device, plans above all, works as there. */
#include "base/base.h"
#include "gpu/backend.h"
#include "gpu/product.h"

static const char none_text[] = "this library was built without CUDA (configure --with-cuda)";

static aqz_status none(aqz_error *err)
{
	return aqz_fail(err, AQZ_E_GPU, AQZ_NO_OFFSET, "device", "%s", none_text);
}

aqz_status aqz_device_count(unsigned *n, aqz_error *err)
{
	*n = 0;
	return none(err);
}

aqz_status aqz_device_info(aqz_gpu_info *out, unsigned device, aqz_error *err)
{
	(void)out, (void)device;
	return none(err);
}

aqz_status aqz_device_enter(int *previous, unsigned device, aqz_error *err)
{
	(void)previous, (void)device;
	return none(err);
}

void aqz_device_leave(int previous)
{
	(void)previous;
}

aqz_status aqz_device_alloc(void **out, uint64_t n_bytes, const char *what, aqz_error *err)
{
	(void)n_bytes, (void)what;
	*out = NULL;
	return none(err);
}

void aqz_device_free(void *p)
{
	(void)p;
}

aqz_status aqz_pinned_alloc(void **out, uint64_t n_bytes, aqz_error *err)
{
	(void)n_bytes;
	*out = NULL;
	return none(err);
}

void aqz_pinned_free(void *p)
{
	(void)p;
}

aqz_status aqz_stream_make(aqz_gpu_stream *out, aqz_error *err)
{
	*out = NULL;
	return none(err);
}

void aqz_stream_free(aqz_gpu_stream stream)
{
	(void)stream;
}

aqz_status aqz_stream_wait(aqz_gpu_stream stream, aqz_error *err)
{
	(void)stream;
	return none(err);
}

aqz_status aqz_event_make(aqz_gpu_event *out, aqz_error *err)
{
	*out = NULL;
	return none(err);
}

void aqz_event_free(aqz_gpu_event event)
{
	(void)event;
}

aqz_status aqz_event_record(aqz_gpu_event event, aqz_gpu_stream stream, aqz_error *err)
{
	(void)event, (void)stream;
	return none(err);
}

aqz_status aqz_event_wait(aqz_gpu_event event, aqz_error *err)
{
	(void)event;
	return none(err);
}

aqz_status aqz_copy_to_device(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err)
{
	(void)dst, (void)src, (void)n_bytes, (void)stream;
	return none(err);
}

aqz_status aqz_copy_to_host(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err)
{
	(void)dst, (void)src, (void)n_bytes, (void)stream;
	return none(err);
}

aqz_status aqz_device_zero(void *dst, uint64_t n_bytes, aqz_gpu_stream stream, aqz_error *err)
{
	(void)dst, (void)n_bytes, (void)stream;
	return none(err);
}

aqz_status aqz_launch_permute(void *codes, const aqz_gpu_layout *layout, uint32_t row_block, uint32_t n_row_blocks,
	const void *lines, aqz_gpu_stream stream, aqz_error *err)
{
	(void)codes, (void)layout, (void)row_block, (void)n_row_blocks, (void)lines, (void)stream;
	return none(err);
}

aqz_status aqz_launch_reconstruct(const aqz_reconstruct_job *job, const struct aqz_gpu_limits *limits,
	aqz_gpu_stream stream, aqz_error *err)
{
	(void)job, (void)limits, (void)stream;
	return none(err);
}

aqz_status aqz_launch_add_bias(void *y, uint64_t y_ld, const float *bias, uint32_t rows, uint32_t n_columns,
	aqz_dtype dtype, aqz_gpu_stream stream, aqz_error *err)
{
	(void)y, (void)y_ld, (void)bias, (void)rows, (void)n_columns, (void)dtype, (void)stream;
	return none(err);
}

aqz_status aqz_launch_trellis(const struct aqz_trellis_job *job, aqz_gpu_stream stream, aqz_error *err)
{
	(void)job, (void)stream;
	return none(err);
}

aqz_status aqz_blas_open(aqz_gpu_blas **out, aqz_error *err)
{
	*out = NULL;
	return none(err);
}

void aqz_blas_close(aqz_gpu_blas *blas)
{
	(void)blas;
}

aqz_status aqz_blas_product(aqz_gpu_blas *blas, void *y, uint64_t y_ld, const void *w, uint64_t w_ld, uint32_t rows,
	uint32_t cols, const void *x, uint64_t x_ld, uint32_t n_columns, aqz_dtype dtype, void *workspace,
	aqz_gpu_stream stream, aqz_error *err)
{
	(void)blas, (void)y, (void)y_ld, (void)w, (void)w_ld, (void)rows, (void)cols, (void)x, (void)x_ld;
	(void)n_columns, (void)dtype, (void)workspace, (void)stream;
	return none(err);
}

const char *aqz_gpu_product_prepare(aqz_gpu_limits *limits)
{
	(void)limits;
	return none_text;
}

const char *aqz_gpu_product_launch(const aqz_gpu_product_plan *plan, void *workspace, void *stream)
{
	(void)plan, (void)workspace, (void)stream;
	return none_text;
}
