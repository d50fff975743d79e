/* SPDX-License-Identifier: Apache-2.0 */
/* What matrices on a device are for: products and reconstruction. Nothing here allocates or waits. */
#include "gpu/gpu.h"

/* Columns that kernels multiply straight from codes; more go through reconstructed rows and cuBLAS, if there is one. */
#define DIRECT_COLUMNS 64
/* About so much is reconstructed at a time: enough rows that a product of them fills a device. */
#define TILE_BYTES (UINT64_C(64) << 20)

void aqz_gpu_matrix_free(aqz_gpu_matrix *m)
{
	int previous;

	if (m == NULL)
		return;
	if (m->base != NULL && aqz_device_enter(&previous, m->gpu->device, NULL) == AQZ_OK) {
		aqz_gpu_give_back(m->gpu, m->base, m->design.total_bytes);
		aqz_device_leave(previous);
	}
	aqz_gpu_design_free(&m->design);
	free(m);
}

uint64_t aqz_gpu_matrix_rows(const aqz_gpu_matrix *m)
{
	return m->design.rows;
}

uint64_t aqz_gpu_matrix_cols(const aqz_gpu_matrix *m)
{
	return m->design.cols;
}

uint64_t aqz_gpu_matrix_bytes(const aqz_gpu_matrix *m)
{
	return m->design.total_bytes;
}

static unsigned element_bytes(aqz_dtype dtype)
{
	return dtype == AQZ_F32 ? 4 : 2;
}

static aqz_status argument(aqz_error *err, const char *where, const char *text)
{
	return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, where, "%s", text);
}

static bool possible(aqz_dtype dtype)
{
	return dtype == AQZ_F32 || dtype == AQZ_F16 || dtype == AQZ_BF16;
}

/* ---- Reconstruction */

static aqz_status reconstruct(void *dst, uint64_t ld, aqz_dtype dtype, const aqz_gpu_matrix *m, uint64_t row_begin,
	uint64_t row_end, aqz_gpu_stream stream, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; i < m->design.n_parts && status == AQZ_OK; i++) {
		const aqz_gpu_part *p = &m->design.parts[i];
		const uint64_t begin = row_begin > p->row_begin ? row_begin : p->row_begin;
		const uint64_t end = aqz_min(row_end, p->row_end);
		const aqz_reconstruct_job job = {
			.layout = p->layout,
			.base = m->base,
			.dst = (uint8_t *)dst + (begin - row_begin) * ld * element_bytes(dtype),
			.ld = ld,
			.row_begin = (uint32_t)(begin - p->row_begin),
			.row_end = (uint32_t)(end - p->row_begin),
			.dtype = (uint32_t)dtype,
			.plain = p->plain,
		};

		if (begin < end)
			status = aqz_launch_reconstruct(&job, &m->gpu->limits, stream, err);
	}
	return status;
}

aqz_status aqz_gpu_reconstruct(void *dst, size_t ld, aqz_dtype dtype, const aqz_gpu_matrix *m, uint64_t row_begin,
	uint64_t row_end, aqz_gpu_stream stream, aqz_error *err)
{
	int previous;
	aqz_status status;

	if (!possible(dtype))
		return argument(err, "dtype", "dtype must be F32, F16 or BF16");
	if (row_begin > row_end || row_end > m->design.rows)
		return argument(err, "rows", "the rows are not within the matrix");
	if (ld < m->design.cols || (uintptr_t)dst % element_bytes(dtype) != 0)
		return argument(err, "dst", "rows overlap, or dst is not at a multiple of an element's bytes");
	if (row_begin == row_end)
		return AQZ_OK;
	status = aqz_device_enter(&previous, m->gpu->device, err);
	if (status != AQZ_OK)
		return status;
	status = reconstruct(dst, ld, dtype, m, row_begin, row_end, stream, err);
	aqz_device_leave(previous);
	return status;
}

/* ---- Workspace. The counters of products straight from codes are at its beginning and stay as they are. */

static uint64_t tile_rows(const aqz_gpu_matrix *m, unsigned bytes)
{
	const uint64_t rows = TILE_BYTES / (m->design.cols * bytes) / 256 * 256;

	return aqz_min(m->design.rows, rows > 256 ? rows : 256);
}

/* Rows of a tile are at multiples of 16 bytes. */
static uint64_t tile_ld(const aqz_gpu_matrix *m)
{
	return (m->design.cols + 7) / 8 * 8;
}

static uint64_t blas_begin(void)
{
	return (uint64_t)AQZ_GPU_COUNTERS * sizeof(uint32_t);
}

static uint64_t direct_bytes(const aqz_gpu_matrix *m, uint32_t n_columns)
{
	aqz_gpu_product_part parts[AQZ_GPU_PARTS];
	uint64_t most = 0;

	for (uint32_t i = 0; i < m->design.n_parts;) {
		uint32_t n = 0;
		uint64_t bytes;

		for (; n < AQZ_GPU_PARTS && i + n < m->design.n_parts &&
			 m->design.parts[i + n].layout.word_dtype == m->design.parts[i].layout.word_dtype;
			 n++)
			parts[n] = (aqz_gpu_product_part){.layout = &m->design.parts[i + n].layout};
		bytes = aqz_gpu_product_workspace_bytes(parts, n, n_columns, &m->gpu->limits);
		most = bytes > most ? bytes : most;
		i += n;
	}
	return most;
}

uint64_t aqz_gpu_workspace_bytes(const aqz_gpu_matrix *m, size_t n_columns)
{
	const uint64_t direct = n_columns == 0 ? 0 : direct_bytes(m, (uint32_t)aqz_min(n_columns, DIRECT_COLUMNS));
	const uint64_t blas = n_columns > DIRECT_COLUMNS && m->gpu->blas != NULL
		? blas_begin() + AQZ_BLAS_WORKSPACE_BYTES + tile_rows(m, 2) * tile_ld(m) * 4
		: 0;

	return direct > blas ? direct : blas;
}

/* ---- Products */

typedef struct product {
	const aqz_gpu_matrix *m;
	uint8_t *y;
	const uint8_t *x;
	uint64_t y_ld, x_ld;
	aqz_dtype dtype;
	uint8_t *workspace;
	uint64_t workspace_bytes;
	aqz_gpu_stream stream;
} product;

/* Parts [i, i + n) have codewords of the same dtype. */
static aqz_status multiply_parts(const product *p, uint32_t i, uint32_t n, uint32_t n_columns, aqz_error *err)
{
	const unsigned bytes = element_bytes(p->dtype);
	aqz_gpu_product what = {
		.n_parts = n,
		.x = p->x,
		.ldx = p->x_ld,
		.n_columns = n_columns,
		.x_dtype = (uint32_t)p->dtype,
		.y_dtype = (uint32_t)p->dtype,
	};
	aqz_gpu_product_plan plan;
	const char *fault;

	for (uint32_t k = 0; k < n; k++) {
		const aqz_gpu_part *part = &p->m->design.parts[i + k];

		what.parts[k] = (aqz_gpu_product_part){&part->layout, p->m->base, p->y + part->row_begin * bytes, p->y_ld};
	}
	fault = aqz_gpu_product_plan_make(&plan, &what, &p->m->gpu->limits);
	if (fault != NULL)
		return argument(err, "product", fault);
	if (plan.workspace_bytes > p->workspace_bytes)
		return argument(err, "workspace", "the workspace is smaller than aqz_gpu_workspace_bytes");
	fault = aqz_gpu_product_launch(&plan, p->workspace, p->stream);
	return fault == NULL ? AQZ_OK : aqz_fail(err, AQZ_E_GPU, AQZ_NO_OFFSET, "device", "%s", fault);
}

static aqz_status multiply_direct(const product *p, uint32_t n_columns, aqz_error *err)
{
	const aqz_gpu_design *d = &p->m->design;
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; i < d->n_parts && status == AQZ_OK;) {
		uint32_t n = 1;

		while (n < AQZ_GPU_PARTS && i + n < d->n_parts &&
			d->parts[i + n].layout.word_dtype == d->parts[i].layout.word_dtype)
			n++;
		status = multiply_parts(p, i, n, n_columns, err);
		i += n;
	}
	return status;
}

static aqz_status multiply_tiles(const product *p, uint32_t n_columns, aqz_error *err)
{
	const aqz_gpu_design *d = &p->m->design;
	const unsigned bytes = element_bytes(p->dtype);
	const uint64_t step = tile_rows(p->m, 2), ld = tile_ld(p->m);
	uint8_t *blas = p->workspace + blas_begin(), *tile = blas + AQZ_BLAS_WORKSPACE_BYTES;
	aqz_status status = AQZ_OK;

	if (p->workspace_bytes < blas_begin() + AQZ_BLAS_WORKSPACE_BYTES + step * ld * bytes)
		return argument(err, "workspace", "the workspace is smaller than aqz_gpu_workspace_bytes");
	for (uint64_t row = 0; row < d->rows && status == AQZ_OK; row += step) {
		const uint64_t end = aqz_min(row + step, d->rows);

		status = reconstruct(tile, ld, p->dtype, p->m, row, end, p->stream, err);
		if (status == AQZ_OK)
			status = aqz_blas_product(p->m->gpu->blas, p->y + row * bytes, p->y_ld, tile, ld, (uint32_t)(end - row),
				(uint32_t)d->cols, p->x, p->x_ld, n_columns, p->dtype, blas, p->stream, err);
	}
	if (status == AQZ_OK && d->whole.has_bias)
		status = aqz_launch_add_bias(p->y, p->y_ld, (const float *)(p->m->base + d->whole.bias_offset),
			(uint32_t)d->rows, n_columns, p->dtype, p->stream, err);
	return status;
}

static aqz_status multiply(product *p, size_t n_columns, aqz_error *err)
{
	const unsigned bytes = element_bytes(p->dtype);
	aqz_status status = AQZ_OK;

	if (n_columns > DIRECT_COLUMNS && p->m->gpu->blas != NULL)
		return multiply_tiles(p, (uint32_t)n_columns, err);
	for (size_t i = 0; i < n_columns && status == AQZ_OK; i += DIRECT_COLUMNS) {
		status = multiply_direct(p, (uint32_t)aqz_min(n_columns - i, DIRECT_COLUMNS), err);
		p->y += DIRECT_COLUMNS * p->y_ld * bytes;
		p->x += DIRECT_COLUMNS * p->x_ld * bytes;
	}
	return status;
}

aqz_status aqz_gpu_multiply(void *y, size_t y_ld, const aqz_gpu_matrix *m, const void *x, size_t x_ld,
	size_t n_columns, aqz_dtype dtype, void *workspace, uint64_t workspace_bytes, aqz_gpu_stream stream,
	aqz_error *err)
{
	product p = {m, y, x, y_ld, x_ld, dtype, workspace, workspace_bytes, stream};
	int previous;
	aqz_status status;

	if (!possible(dtype))
		return argument(err, "dtype", "dtype must be F32, F16 or BF16");
	if (n_columns == 0 || n_columns > INT32_MAX ||
		(n_columns > 1 && (y_ld < m->design.rows || x_ld < m->design.cols)))
		return argument(err, "n_columns", "there are no columns, too many, or they overlap");
	if ((uintptr_t)y % element_bytes(dtype) != 0 || (uintptr_t)x % element_bytes(dtype) != 0 ||
		(uintptr_t)workspace % 256 != 0)
		return argument(err, "y", "x or y is not at a multiple of an element's bytes, or the workspace not of 256");
	for (uint32_t i = 0; i < m->design.n_parts; i++)
		if (!m->design.parts[i].finite)
			return argument(err, "matrix", "a codebook or scale is not finite");
	if (n_columns == 1) { /* nothing is between columns */
		p.y_ld = m->design.rows;
		p.x_ld = m->design.cols;
	}
	status = aqz_device_enter(&previous, m->gpu->device, err);
	if (status != AQZ_OK)
		return status;
	status = multiply(&p, n_columns, err);
	aqz_device_leave(previous);
	return status;
}
