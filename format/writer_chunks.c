/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's chunks: staged, encoded on several threads, hashed, and written in order, spec 4. A
 * batch holds one chunk for each thread; what a chunk becomes depends on its own bytes only, so the
 * file does not depend on the threads. */
#include "format/writer.h"

/* Bytes of chunk i as the caller puts them; of a trellis, which comes as indices, the most that they
 * can become. */
static uint64_t chunk_in_bytes(const aqz_section *s, uint32_t chunk)
{
	uint64_t begin, end, n_code_rows, n = 0;
	aqz_section_chunk_rows(s, chunk, &begin, &end, &n_code_rows);
	if (s->codec->id == AQZ_CODEC_ADDITIVE)
		n = aqz_additive_codes_bytes(
			&s->info.scheme, n_code_rows, aqz_ceil_div(s->info.cols, s->info.scheme.in_group));
	else if (s->codec->id == AQZ_CODEC_TRELLIS) {
		aqz_view view = aqz_section_view(s);
		uint64_t least;
		s->codec->payload_bounds(&view, end - begin, n_code_rows, AQZ_CODING_RANS, &least, &n);
	} else
		(void)aqz_section_rows_bytes(s, begin, end, &n);
	return n;
}

uint64_t aqz_writer_due_bytes(const aqz_section *s)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < s->info.n_chunks; i++)
		n += chunk_in_bytes(s, i);
	return n;
}

static aqz_status reserve(aqz_budget *b, uint8_t **p, uint64_t *capacity, uint64_t n, aqz_error *err)
{
	void *fresh;
	if (n <= *capacity && *p != NULL)
		return AQZ_OK;
	aqz_budget_free(b, *p, *capacity);
	*p = NULL;
	*capacity = 0;
	aqz_status status = aqz_budget_alloc(b, &fresh, n, "a chunk", err);
	if (status != AQZ_OK)
		return status;
	*p = fresh;
	*capacity = n;
	return AQZ_OK;
}

void aqz_writer_free_batch(aqz_writer *w)
{
	for (uint32_t i = 0; w->batch != NULL && i < w->opt.n_threads; i++) {
		aqz_budget_free(&w->catalog.budget, w->batch[i].in, w->batch[i].in_capacity);
		aqz_budget_free(&w->catalog.budget, w->batch[i].out, w->batch[i].out_capacity);
	}
	free(w->batch);
	w->batch = NULL;
}

static aqz_status write_all(aqz_writer *w, const void *data, size_t n, aqz_error *err)
{
	aqz_status status = w->io.write(w->io.user, data, n);
	if (status == AQZ_OK)
		return AQZ_OK;
	return aqz_fail(err, status, w->catalog.offset, "output",
		status == AQZ_E_SPACE ? "the destination is full" : "writing failed");
}

/* A padding frame, if the next chunk's payload would not be aligned. */
static aqz_status write_padding(aqz_writer *w, aqz_error *err)
{
	uint8_t zeros[4096] = {0};
	uint64_t alignment = UINT64_C(1) << w->catalog.superblock.alignment_log2, at = w->catalog.offset;
	if ((at + AQZ_FRAME_HEADER_BYTES) % alignment == 0)
		return AQZ_OK;
	aqz_frame f = {.type = AQZ_FRAME_PADDING};
	f.stored_bytes = f.decoded_bytes =
		(alignment - (at + 2 * AQZ_FRAME_HEADER_BYTES) % alignment) % alignment;
	f.decoded_hash = aqz_hash(zeros, (size_t)f.stored_bytes, 0);
	return aqz_writer_frame(w, &f, zeros, err);
}

aqz_status aqz_writer_frame(aqz_writer *w, aqz_frame *f, uint8_t *payload, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint8_t header[AQZ_FRAME_HEADER_BYTES];
	size_t padded = (size_t)aqz_padded(f->stored_bytes);
	const uint8_t *id = w->catalog.superblock.id;
	if (f->type == AQZ_FRAME_CHUNK)
		AQZ_TRY(write_padding(w, err));
	aqz_catalog_expected(&w->catalog, f->type, &f->section, &f->chunk);
	if (padded > f->stored_bytes)
		memset(payload + f->stored_bytes, 0, padded - (size_t)f->stored_bytes);
	f->payload_hash = aqz_hash(payload, padded, aqz_frame_seed(id, f->type, f->section, f->chunk));
	aqz_frame_write(header, f, id);
	if (f->type != AQZ_FRAME_INDEX)
		AQZ_TRY(aqz_catalog_frame(&w->catalog, f, err));
	AQZ_TRY(write_all(w, header, sizeof header, err));
	AQZ_TRY(write_all(w, payload, padded, err));
out:
	return status;
}

/* Encodes a chunk (lossless), or decodes it to know the hash of its elements, which also proves the
 * codec. */
static void prepare(aqz_writer *w, aqz_outgoing *o, const aqz_chunk_decoder *decoder,
	const aqz_section *s, uint32_t chunk)
{
	aqz_error *err = &o->error;
	aqz_status status = AQZ_OK;
	uint64_t begin, end, n_code_rows, decoded_bytes = 0;
	aqz_section_chunk_rows(s, chunk, &begin, &end, &n_code_rows);
	(void)aqz_section_rows_bytes(s, begin, end, &decoded_bytes);
	o->frame = (aqz_frame){.type = AQZ_FRAME_CHUNK,
		.section = s->info.number,
		.chunk = chunk,
		.decoded_bytes = decoded_bytes};
	if (s->codec->id == AQZ_CODEC_LOSSLESS) {
		size_t stored;
		o->frame.decoded_hash = aqz_hash(o->in, (size_t)decoded_bytes, 0);
		AQZ_TRY(aqz_lossless_encode(o->out, &stored, &o->frame.coding, o->in, (size_t)decoded_bytes,
			s->info.dtype, w->opt.effort, err));
		o->frame.stored_bytes = stored;
	} else {
		o->frame.coding = AQZ_CODING_T64;
		o->frame.stored_bytes = o->in_bytes;
		aqz_placed_frame placed = {.frame = o->frame, .offset = AQZ_NO_OFFSET};
		AQZ_TRY(aqz_chunk_decode(decoder, &placed, o->in, begin, end, o->out, err));
		o->frame.decoded_hash = aqz_hash(o->out, (size_t)decoded_bytes, 0);
	}
out:
	o->status = status;
}

/* Prepares the batch on all threads, then writes or holds it in order. */
static aqz_status write_batch(aqz_writer *w, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_section *s = w->current;
	uint32_t n = w->n_batch, first = w->chunks_put - n, n_decoders = 0;
	aqz_budget *budget = &w->catalog.budget;
	aqz_chunk_decoder *decoders = NULL;
	unsigned n_threads = n;
	if (n == 0)
		return AQZ_OK;
	if (s->codec->id == AQZ_CODEC_LOSSLESS && budget->limit_bytes != 0) {
		/* The encoder allocates for itself: so many at a time as the limit has room for. */
		uint64_t each = aqz_lossless_encode_memory(w->batch[0].in_bytes, w->opt.effort),
				 left = budget->limit_bytes - budget->used_bytes;
		n_threads = (unsigned)aqz_min(n, left / each);
		if (n_threads == 0)
			AQZ_TRY(aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, "memory",
				"coding a chunk needs %llu bytes, the limit leaves %llu", (unsigned long long)each,
				(unsigned long long)left));
	}
	if (s->codec->id != AQZ_CODEC_LOSSLESS) {
		decoders = calloc(n, sizeof *decoders);
		if (decoders == NULL)
			AQZ_TRY(aqz_fail_nomem(err, n * sizeof *decoders));
		for (; n_decoders < n; n_decoders++)
			AQZ_TRY(
				aqz_params_decoder(&w->params, &decoders[n_decoders], &w->catalog, s, budget, err));
	}
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1)
	for (uint32_t i = 0; i < n; i++)
		prepare(w, &w->batch[i], decoders == NULL ? NULL : &decoders[i], s, first + i);
	for (uint32_t i = 0; i < n; i++) {
		aqz_outgoing *o = &w->batch[i];
		if (o->status != AQZ_OK) {
			if (err != NULL)
				*err = o->error;
			AQZ_TRY(o->status);
		}
		bool lossless = s->codec->id == AQZ_CODEC_LOSSLESS;
		if (w->digest != NULL)
			aqz_digest_add(w->digest, o->in, (size_t)o->frame.decoded_bytes);
		uint8_t *payload = lossless ? o->out : o->in;
		AQZ_TRY(w->holding ? aqz_writer_hold(w, &o->frame, payload, err)
						   : aqz_writer_frame(w, &o->frame, payload, err));
		o->in_bytes = 0;
	}
	w->n_batch = 0;
out:
	for (uint32_t i = 0; i < n_decoders; i++)
		aqz_chunk_decoder_close(&decoders[i]);
	free(decoders);
	return status;
}

/* The section has its digest, too. */
void aqz_writer_end_section(aqz_writer *w)
{
	if (w->digest != NULL)
		aqz_digest_close(w->digest, w->current->info.content);
	w->digest = NULL;
	w->current = NULL;
	w->holding = false;
}

aqz_status aqz_writer_start(aqz_writer *w, uint32_t section, aqz_error *err)
{
	aqz_section *s = w->catalog.sections[section];
	w->current = s;
	w->put_bytes = 0;
	w->due_bytes = aqz_writer_due_bytes(s);
	w->chunks_put = w->n_batch = 0;
	if (s->info.kind != AQZ_KIND_TENSOR) {
		aqz_status status = aqz_digest_open(&w->digest, err);
		if (status != AQZ_OK)
			return status;
	}
	if (s->info.n_chunks == 0)
		aqz_writer_end_section(w);
	return AQZ_OK;
}

aqz_status aqz_writer_feed(aqz_writer *w, const uint8_t *data, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	while (n > 0) {
		const aqz_section *s = w->current;
		aqz_outgoing *o = &w->batch[w->n_batch];
		uint64_t due = chunk_in_bytes(s, w->chunks_put);
		if (o->in_bytes == 0) { /* a new chunk */
			uint64_t begin, end, n_code_rows, decoded_bytes = 0;
			aqz_section_chunk_rows(s, w->chunks_put, &begin, &end, &n_code_rows);
			(void)aqz_section_rows_bytes(s, begin, end, &decoded_bytes);
			AQZ_TRY(reserve(&w->catalog.budget, &o->in, &o->in_capacity, aqz_padded(due), err));
			AQZ_TRY(reserve(
				&w->catalog.budget, &o->out, &o->out_capacity, aqz_padded(decoded_bytes), err));
		}
		size_t part = (size_t)aqz_min(n, due - o->in_bytes);
		memcpy(o->in + o->in_bytes, data, part);
		o->in_bytes += part;
		w->put_bytes += part;
		data += part;
		n -= part;
		if (o->in_bytes < due)
			break;
		w->n_batch++;
		w->chunks_put++;
		bool last = w->chunks_put == s->info.n_chunks;
		if (last || w->n_batch == w->opt.n_threads)
			AQZ_TRY(write_batch(w, err));
		if (last)
			aqz_writer_end_section(w);
	}
out:
	return status;
}
