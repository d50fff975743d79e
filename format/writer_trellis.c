/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a trellis tensor, spec 7.3: its parameters, and its indices coded chunk by chunk on several
 * threads. What a chunk becomes depends on its own indices only. */
#include "format/writer.h"

uint32_t aqz_writer_trellis_rows(const aqz_writer *w, uint64_t rows, uint64_t cols, aqz_dtype dtype)
{
	const aqz_section_info info = {.rows = rows,
		.cols = cols,
		.dtype = dtype,
		.scheme = {.codec = AQZ_CODEC_TRELLIS, .out_group = 1}};

	return aqz_writer_chunk_rows(w, &info);
}

/* Codes a chunk, and decodes it to know the hash of its elements, which also proves the codec. */
static aqz_status prepare(aqz_buffer *payload, aqz_frame *f, uint8_t *decoded,
	const aqz_chunk_decoder *decoder, const aqz_trellis_params *p, const int32_t *index,
	aqz_error *err)
{
	const aqz_section *s = decoder->section;
	aqz_placed_frame placed = {.offset = AQZ_NO_OFFSET};
	uint64_t begin, end, n_code_rows;
	aqz_status status = AQZ_OK;

	aqz_section_chunk_rows(s, f->chunk, &begin, &end, &n_code_rows);
	(void)aqz_section_rows_bytes(s, begin, end, &f->decoded_bytes);
	AQZ_TRY(
		aqz_trellis_encode_rows(payload, p, index + begin, (size_t)s->info.rows, begin, end, err));
	f->stored_bytes = payload->n;
	if (f->stored_bytes > AQZ_MAX_CHUNK_BYTES)
		AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "index",
			"the indices of a chunk would take more than 64 MiB"));
	placed.frame = *f;
	AQZ_TRY(aqz_chunk_decode(decoder, &placed, payload->data, begin, end, decoded, err));
	f->decoded_hash = aqz_hash(decoded, (size_t)f->decoded_bytes, 0);
	AQZ_TRY(aqz_buffer_add(payload, NULL, AQZ_FRAME_ALIGN, err)); /* room for the padding */
out:
	return status;
}

/* So many chunks at a time as there are threads, and as the limit has room for. */
static aqz_status batch_size(uint32_t *n, const aqz_writer *w, const aqz_section *s, aqz_error *err)
{
	const aqz_budget *b = &w->catalog.budget;
	const uint64_t rows = aqz_min(s->info.chunk_rows, s->info.rows);
	/* Decoded elements, and what coding takes. */
	const uint64_t each = rows * s->info.cols * 4 + aqz_trellis_encode_memory(rows, s->info.cols);

	*n = (uint32_t)aqz_min(w->opt.n_threads, s->info.n_chunks);
	if (b->limit_bytes == 0)
		return AQZ_OK;
	*n = (uint32_t)aqz_min(*n, (b->limit_bytes - b->used_bytes) / each);
	if (*n == 0)
		return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, "memory",
			"coding a chunk needs %llu bytes, the limit leaves %llu", (unsigned long long)each,
			(unsigned long long)(b->limit_bytes - b->used_bytes));
	return AQZ_OK;
}

typedef struct outgoing {
	aqz_buffer payload;
	aqz_frame frame;
	void *decoded;
	aqz_status status;
	aqz_error error;
} outgoing;

static aqz_status write_chunks(
	aqz_writer *w, const aqz_trellis_params *p, const int32_t *index, aqz_error *err)
{
	const aqz_section *s = w->current;
	aqz_budget *budget = &w->catalog.budget;
	aqz_chunk_decoder decoder = {0};
	outgoing *batch = NULL;
	uint64_t begin, end, n_code_rows, decoded_bytes = 0;
	uint32_t n_batch = 0;
	aqz_status status = AQZ_OK;

	aqz_section_chunk_rows(s, 0, &begin, &end, &n_code_rows);
	(void)aqz_section_rows_bytes(s, begin, end, &decoded_bytes);
	AQZ_TRY(aqz_params_decoder(&w->params, &decoder, &w->catalog, s, budget, err));
	AQZ_TRY(batch_size(&n_batch, w, s, err));
	batch = calloc(n_batch, sizeof *batch);
	if (batch == NULL)
		AQZ_TRY(aqz_fail_nomem(err, n_batch * sizeof *batch));
	for (uint32_t i = 0; i < n_batch; i++)
		AQZ_TRY(aqz_budget_alloc(budget, &batch[i].decoded, decoded_bytes, "a chunk", err));
	for (uint32_t first = 0; first < s->info.n_chunks; first += n_batch) {
		const uint32_t n = (uint32_t)aqz_min(n_batch, s->info.n_chunks - first);

#pragma omp parallel for num_threads(n) schedule(dynamic, 1)
		for (uint32_t i = 0; i < n; i++) {
			outgoing *o = &batch[i];

			o->payload.n = 0;
			o->frame = (aqz_frame){.type = AQZ_FRAME_CHUNK,
				.section = s->info.number,
				.chunk = first + i,
				.coding = AQZ_CODING_RANS};
			o->status = prepare(&o->payload, &o->frame, o->decoded, &decoder, p, index, &o->error);
		}
		for (uint32_t i = 0; i < n; i++) {
			outgoing *o = &batch[i];

			if (o->status != AQZ_OK && err != NULL)
				*err = o->error;
			AQZ_TRY(o->status);
			AQZ_TRY(w->holding ? aqz_writer_hold(w, &o->frame, o->payload.data, err)
							   : aqz_writer_frame(w, &o->frame, o->payload.data, err));
		}
	}
out:
	for (uint32_t i = 0; batch != NULL && i < n_batch; i++) {
		aqz_budget_free(budget, batch[i].decoded, batch[i].decoded == NULL ? 0 : decoded_bytes);
		aqz_buffer_free(&batch[i].payload);
	}
	free(batch);
	aqz_chunk_decoder_close(&decoder);
	return status;
}

aqz_status aqz_writer_trellis(aqz_writer *w, const aqz_tensor_desc *tensor,
	aqz_trellis_params *params, const int32_t *index, uint32_t chunk_rows, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_tensor_desc t = *tensor;
	aqz_ref ref = {.kind = AQZ_KIND_ENTROPY_TABLE, .count = 1};
	aqz_buffer bytes = {0};
	uint64_t cols;

	aqz_trellis_geometry(&t.scheme, &ref.row_end, &cols, params);
	AQZ_TRY(aqz_trellis_params_write(&bytes, params, err));
	AQZ_TRY(aqz_writer_param(
		w, &ref.first, AQZ_KIND_ENTROPY_TABLE, AQZ_U8, 1, bytes.n, bytes.data, err));
	t.refs = &ref;
	t.n_refs = 1;
	AQZ_TRY(aqz_writer_open_tensor(w, NULL, &t, ref.row_end, cols, chunk_rows, err));
	AQZ_TRY(aqz_writer_keep(w, write_chunks(w, params, index, err), err));
	aqz_writer_end_section(w);
out:
	aqz_buffer_free(&bytes);
	return status;
}
