/* SPDX-License-Identifier: Apache-2.0 */
/* A trellis section, decoded on a device: payloads are read, hashed and sent as codes are (gpu/upload.c), with the
 * tables that the CPU's decoder would use; one launch decodes all chunks. */
#include "codec/trellis.h"
#include "gpu/gpu.h"
#include "gpu/trellis.h"

/* A warp reads 128 bytes at a time. */
#define PAYLOAD_ALIGN 128

/* Where everything is in one allocation. */
typedef struct places {
	uint64_t payloads, chunks, slots, column_step, row_step, column_context, row_context, failed, total;
} places;

static uint64_t aligned(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Sums of what a file has: rows, columns and stored bytes are bounded by its size, so nothing overflows. */
static aqz_status make_places(places *p, const aqz_reader *reader, const aqz_section *s, aqz_error *err)
{
	const aqz_catalog *c = &reader->catalog;
	const uint64_t rows = s->info.rows, cols = s->info.cols;
	uint64_t end = 0;

	if (s->info.kind != AQZ_KIND_TENSOR || s->info.scheme.codec != AQZ_CODEC_TRELLIS)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "section", "section %u is no trellis tensor",
			s->info.number);
	if (rows > INT32_MAX || cols > INT32_MAX)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "section",
			"the matrix has too many rows or columns for the GPU");
	p->payloads = 0;
	for (uint32_t i = 0; i < s->info.n_chunks; i++)
		end += aligned(c->frames[c->chunks[s->first_chunk + i]].frame.stored_bytes, PAYLOAD_ALIGN);
	p->chunks = end = aligned(end, AQZ_GPU_ALIGN);
	p->slots = end = aligned(end + s->info.n_chunks * sizeof(aqz_trellis_chunk), AQZ_GPU_ALIGN);
	end += (uint64_t)aqz_trellis_max_tables(rows, cols) * 2 * (sizeof(uint32_t) << AQZ_RANS_BITS);
	p->column_step = end = aligned(end, AQZ_GPU_ALIGN);
	p->row_step = end = aligned(end + cols * sizeof(float), AQZ_GPU_ALIGN);
	p->column_context = end = aligned(end + rows * sizeof(float), AQZ_GPU_ALIGN);
	p->row_context = end = aligned(end + cols * sizeof(int32_t), AQZ_GPU_ALIGN);
	p->failed = end = aligned(end + rows * sizeof(int32_t), AQZ_GPU_ALIGN);
	p->total = end + AQZ_GPU_ALIGN;
	return AQZ_OK;
}

static uint64_t pinned_bytes(const aqz_reader *reader, const aqz_section *s)
{
	const uint64_t n = aqz_section_longest_frame(&reader->catalog, s);

	return n > AQZ_GPU_LEAST_PINNED ? n : AQZ_GPU_LEAST_PINNED;
}

/* Parameters, the decoder's tables, contexts widened, chunks. */
static uint64_t host_bytes(const aqz_reader *reader, const aqz_section *s)
{
	const uint64_t rows = s->info.rows, cols = s->info.cols;

	return aqz_reader_section(reader, s->info.refs[0].first)->decoded_bytes + sizeof(aqz_trellis_params) +
		2 * (rows + cols) + aqz_trellis_tables_bytes(rows, cols) + (rows + cols) * sizeof(int32_t) +
		s->info.n_chunks * sizeof(aqz_trellis_chunk);
}

aqz_status aqz_gpu_plan_archive(aqz_gpu_plan *out, const aqz_reader *reader, const aqz_section *s, aqz_error *err)
{
	places p;
	aqz_status status = make_places(&p, reader, s, err);

	if (status == AQZ_OK)
		*out = (aqz_gpu_plan){
			.device_bytes = s->info.decoded_bytes,
			.upload_bytes = p.total,
			.pinned_bytes = 2 * pinned_bytes(reader, s),
			.host_bytes = host_bytes(reader, s),
		};
	return status;
}

typedef struct archive {
	aqz_gpu *gpu;
	const aqz_reader *reader;
	const aqz_section *s;
	places p;
	uint8_t *base;
	aqz_trellis_params *params;
	aqz_trellis_tables tables;
} archive;

static aqz_status read_params(archive *a, aqz_error *err)
{
	const aqz_section_info *from = aqz_reader_section(a->reader, a->s->info.refs[0].first);
	aqz_budget budget = aqz_reader_budget(a->reader);
	aqz_cursor *cursor = NULL;
	void *bytes = NULL;
	aqz_status status;

	if (budget.limit_bytes != 0 && host_bytes(a->reader, a->s) > budget.limit_bytes)
		return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, "memory", "decoding section %u needs %llu bytes",
			a->s->info.number, (unsigned long long)host_bytes(a->reader, a->s));
	AQZ_TRY(aqz_budget_alloc(&budget, &bytes, from->decoded_bytes, "an entropy table", err));
	AQZ_TRY(aqz_cursor_open_within(&cursor, a->reader, from->number, aqz_budget_rest(&budget), err));
	AQZ_TRY(aqz_cursor_read(cursor, 0, from->rows, bytes, (size_t)from->decoded_bytes, err));
	a->params = calloc(1, sizeof *a->params);
	if (a->params == NULL)
		AQZ_TRY(aqz_fail_nomem(err, sizeof *a->params));
	a->params->rows = a->s->info.rows;
	a->params->cols = a->s->info.cols;
	a->params->state_bits = a->s->info.scheme.code_bits;
	AQZ_TRY(aqz_trellis_params_read(a->params, bytes, (size_t)from->cols, err));
	AQZ_TRY(aqz_trellis_tables_make(&a->tables, a->params, a->s->info.dtype, err));
out:
	aqz_cursor_close(cursor);
	aqz_budget_free(&budget, bytes, bytes == NULL ? 0 : from->decoded_bytes);
	return status;
}

/* Contexts as the kernel takes them: the bias goes to the rows. */
static aqz_status send_contexts(archive *a, aqz_error *err)
{
	const aqz_trellis_params *p = a->params;
	const uint64_t n = p->rows > p->cols ? p->rows : p->cols;
	int32_t *context = malloc((size_t)n * sizeof *context);
	aqz_status status;

	if (context == NULL)
		return aqz_fail_nomem(err, n * sizeof *context);
	for (uint64_t i = 0; i < p->cols; i++)
		context[i] = a->tables.column_context[i];
	AQZ_TRY(aqz_gpu_send(a->gpu, a->base + a->p.column_context, context, p->cols * sizeof *context, err));
	for (uint64_t i = 0; i < p->rows; i++)
		context[i] = 2 * p->row_size[i] - p->row_step[i] + p->bias;
	AQZ_TRY(aqz_gpu_send(a->gpu, a->base + a->p.row_context, context, p->rows * sizeof *context, err));
out:
	free(context);
	return status;
}

static aqz_status send_tables(archive *a, aqz_error *err)
{
	const aqz_trellis_params *p = a->params;
	const uint32_t none = UINT32_MAX;
	aqz_status status;

	AQZ_TRY(aqz_gpu_send(a->gpu, a->base + a->p.slots, a->tables.slots,
		(uint64_t)p->n_tables * 2 * (sizeof(uint32_t) << AQZ_RANS_BITS), err));
	AQZ_TRY(aqz_gpu_send(a->gpu, a->base + a->p.column_step, a->tables.column_step, p->cols * sizeof(float), err));
	AQZ_TRY(aqz_gpu_send(a->gpu, a->base + a->p.row_step, a->tables.row_step, p->rows * sizeof(float), err));
	AQZ_TRY(aqz_gpu_send(a->gpu, a->base + a->p.failed, &none, sizeof none, err));
	AQZ_TRY(send_contexts(a, err));
out:
	return status;
}

static aqz_status send_chunks(archive *a, aqz_error *err)
{
	const aqz_catalog *c = &a->reader->catalog;
	const uint32_t n = a->s->info.n_chunks;
	aqz_trellis_chunk *chunks = calloc(n, sizeof *chunks);
	uint64_t at = 0;
	aqz_status status = AQZ_OK;

	if (chunks == NULL)
		return aqz_fail_nomem(err, n * sizeof *chunks);
	for (uint32_t i = 0; i < n; i++) {
		const aqz_placed_frame *f = &c->frames[c->chunks[a->s->first_chunk + i]];
		const uint64_t n_bytes = f->frame.stored_bytes;
		uint64_t begin, end, n_code_rows;
		void *buffer;

		aqz_section_chunk_rows(a->s, i, &begin, &end, &n_code_rows);
		chunks[i] = (aqz_trellis_chunk){at, (uint32_t)n_bytes, (uint32_t)begin, (uint32_t)end, 0};
		AQZ_TRY(aqz_gpu_turn(&buffer, a->gpu, err));
		AQZ_TRY(aqz_frame_fetch(buffer, &a->reader->io, c, f, err));
		if (f->frame.coding != AQZ_CODING_RANS)
			AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, f->offset, NULL, "the chunk's coding is not the trellis codec's"));
		AQZ_TRY(aqz_gpu_send_turn(a->gpu, a->base + a->p.payloads + at, (uint8_t *)buffer + AQZ_FRAME_HEADER_BYTES,
			n_bytes, err));
		at += aligned(n_bytes, PAYLOAD_ALIGN);
	}
	AQZ_TRY(aqz_gpu_send(a->gpu, a->base + a->p.chunks, chunks, n * sizeof *chunks, err));
out:
	free(chunks);
	return status;
}

static aqz_status decode(archive *a, void *dst, aqz_error *err)
{
	const aqz_trellis_params *p = a->params;
	uint32_t failed = 0;
	aqz_trellis_job job = {
		.payloads = a->base + a->p.payloads,
		.chunks = (const aqz_trellis_chunk *)(a->base + a->p.chunks),
		.slots = (const uint32_t *)(a->base + a->p.slots),
		.column_step = (const float *)(a->base + a->p.column_step),
		.row_step = (const float *)(a->base + a->p.row_step),
		.column_context = (const int32_t *)(a->base + a->p.column_context),
		.row_context = (const int32_t *)(a->base + a->p.row_context),
		.dst = dst,
		.failed = (uint32_t *)(a->base + a->p.failed),
		.n_chunks = a->s->info.n_chunks,
		.rows = (uint32_t)p->rows,
		.cols = (uint32_t)p->cols,
		.dtype = (uint32_t)a->s->info.dtype,
		.state_bits = p->state_bits,
		.code = {aqz_trellis_codes[p->state_bits][0], aqz_trellis_codes[p->state_bits][1]},
		.n_buckets = p->n_buckets,
	};
	aqz_status status;

	memcpy(job.bucket_table, p->bucket_table, sizeof job.bucket_table);
	AQZ_TRY(aqz_launch_trellis(&job, a->gpu->stream, err));
	AQZ_TRY(aqz_copy_to_host(&failed, job.failed, sizeof failed, a->gpu->stream, err));
	AQZ_TRY(aqz_stream_wait(a->gpu->stream, err));
	if (failed != UINT32_MAX)
		status = aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "payload",
			"the stream of indices of section %u, chunk %u, does not decode", a->s->info.number, failed);
out:
	return status;
}

static aqz_status run(archive *a, void *dst, aqz_error *err)
{
	void *base;
	aqz_status status;

	AQZ_TRY(read_params(a, err));
	AQZ_TRY(aqz_gpu_take(&base, a->gpu, a->p.total, "room for the archive", err));
	a->base = base;
	AQZ_TRY(aqz_gpu_pinned(a->gpu, pinned_bytes(a->reader, a->s), err));
	AQZ_TRY(send_tables(a, err));
	AQZ_TRY(send_chunks(a, err));
	AQZ_TRY(decode(a, dst, err));
out:
	if (status != AQZ_OK) /* what was begun ends before its memory goes */
		aqz_stream_wait(a->gpu->stream, NULL);
	return status;
}

aqz_status aqz_gpu_decode_section(void *dst, uint64_t dst_bytes, aqz_gpu *gpu, const aqz_reader *reader,
	uint32_t section, aqz_error *err)
{
	archive a = {.gpu = gpu, .reader = reader};
	int previous;
	aqz_status status;

	if (section >= reader->catalog.n_sections)
		return aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, "section", "there is no section %u", section);
	a.s = reader->catalog.sections[section];
	status = make_places(&a.p, reader, a.s, err);
	if (status != AQZ_OK)
		return status;
	if (dst_bytes != a.s->info.decoded_bytes || (uintptr_t)dst % 4 != 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "dst", "the section has %llu bytes, at a multiple of 4",
			(unsigned long long)a.s->info.decoded_bytes);
	status = aqz_device_enter(&previous, gpu->device, err);
	if (status != AQZ_OK)
		return status;
	status = run(&a, dst, err);
	aqz_gpu_give_back(gpu, a.base, a.p.total);
	aqz_device_leave(previous);
	aqz_trellis_tables_free(&a.tables);
	if (a.params != NULL)
		aqz_trellis_params_free(a.params);
	free(a.params);
	return status;
}
