/* SPDX-License-Identifier: Apache-2.0 */
/* One chunk: from frame bytes to checked elements, spec 4 and 8. */
#include "format/chunk.h"

#include <stdio.h> /* snprintf */

/* Prefixes the codec's word for the field with the chunk's, and gives it a place in the file. */
static aqz_status in_chunk(
	aqz_error *err, aqz_status status, const aqz_placed_frame *f, uint64_t offset)
{
	if (err != NULL && status != AQZ_OK) {
		char type[5];
		aqz_frame_type_text(type, f->frame.type);
		if (f->frame.type == AQZ_FRAME_CHUNK)
			snprintf(err->where, sizeof err->where, "section[%u].chunk[%u]", f->frame.section,
				f->frame.chunk);
		else
			snprintf(err->where, sizeof err->where, "frame %s", type);
		if (err->offset == AQZ_NO_OFFSET)
			err->offset = offset;
	}
	return status;
}

aqz_status aqz_chunk_decoder_open(aqz_chunk_decoder *d, const aqz_section *s,
	const aqz_param_view *params, uint32_t n_params, aqz_budget *budget, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	memset(d, 0, sizeof *d);
	d->section = s;
	d->view = aqz_section_view(s);
	d->budget = budget;
	/* The codec allocates its tables itself; the budget is asked for as much first. */
	uint64_t bytes = s->codec->decoder_bytes(&d->view);
	if (budget->limit_bytes != 0 &&
		(bytes > budget->limit_bytes || budget->used_bytes > budget->limit_bytes - bytes))
		return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, "memory",
			"decoding section %u needs %llu bytes of tables", s->info.number,
			(unsigned long long)bytes);
	status = s->codec->decoder_create(&d->decoder, &d->view, params, n_params, err);
	if (err != NULL && (status == AQZ_E_CORRUPT || status == AQZ_E_UNSUPPORTED))
		snprintf(err->where, sizeof err->where, "section[%u].parameters", s->info.number);
	AQZ_TRY(status);
	budget->used_bytes += bytes;
	d->decoder_bytes = bytes;
	uint64_t scratch_bytes = s->codec->scratch_bytes(&d->view);
	AQZ_TRY(aqz_budget_alloc(budget, &d->scratch, scratch_bytes, "decoding a chunk", err));
	d->scratch_bytes = scratch_bytes;
out:
	if (status != AQZ_OK)
		aqz_chunk_decoder_close(d);
	return status;
}

void aqz_chunk_decoder_close(aqz_chunk_decoder *d)
{
	if (d->budget == NULL)
		return;
	if (d->decoder != NULL)
		d->section->codec->decoder_free(d->decoder);
	d->budget->used_bytes -= d->decoder_bytes;
	aqz_budget_free(d->budget, d->scratch, d->scratch_bytes);
	memset(d, 0, sizeof *d);
}

aqz_status aqz_chunk_decode(const aqz_chunk_decoder *d, const aqz_placed_frame *f,
	const uint8_t *payload, uint64_t row_begin, uint64_t row_end, void *dst, aqz_error *err)
{
	uint64_t first, last, n_code_rows;
	aqz_section_chunk_rows(d->section, f->frame.chunk, &first, &last, &n_code_rows);
	aqz_status status = d->section->codec->decode(d->decoder, &d->view,
		(uint64_t)f->frame.chunk * d->view.chunk_rows, n_code_rows, f->frame.coding, payload,
		(size_t)f->frame.stored_bytes, row_begin, row_end, dst, d->scratch, err);
	return in_chunk(err, status, f, f->offset + AQZ_FRAME_HEADER_BYTES);
}

aqz_status aqz_chunk_check_decoded(const aqz_placed_frame *f, const void *decoded, aqz_error *err)
{
	if (aqz_hash_equal(f->frame.decoded_hash, aqz_hash(decoded, (size_t)f->frame.decoded_bytes, 0)))
		return AQZ_OK;
	return in_chunk(err,
		aqz_fail(err, AQZ_E_CHECKSUM, f->offset + 48, NULL,
			"the decoded elements differ from those that were encoded"),
		f, 0);
}

aqz_status aqz_frame_fetch(uint8_t *buffer, const aqz_io *io, const aqz_catalog *c,
	const aqz_placed_frame *f, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	size_t n = AQZ_FRAME_HEADER_BYTES + (size_t)aqz_padded(f->frame.stored_bytes);
	uint8_t due[AQZ_FRAME_HEADER_BYTES];
	aqz_frame ignored, frame = f->frame;
	status = io->pread(io->user, buffer, n, f->offset);
	if (status != AQZ_OK)
		return in_chunk(err,
			aqz_fail(err, status, f->offset, NULL,
				status == AQZ_E_TRUNCATED ? "the file ends before the chunk does" : "reading failed"),
			f, 0);
	aqz_frame_place(&frame, buffer);
	aqz_frame_write(due, &frame, c->superblock.id);
	if (memcmp(buffer, due, sizeof due) != 0) {
		/* Two ways to differ: damaged, or whole and saying something else than the index. */
		AQZ_TRY(aqz_frame_read(&ignored, buffer, c->superblock.id, f->offset, err));
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, f->offset, NULL,
			"the frame header is not the one that the index has"));
#endif
	}
	AQZ_TRY(aqz_frame_check_payload(&frame, buffer + AQZ_FRAME_HEADER_BYTES, c->superblock.id,
		f->offset + AQZ_FRAME_HEADER_BYTES, err));
out:
	return in_chunk(err, status, f, f->offset);
}

uint64_t aqz_section_longest_frame(const aqz_catalog *c, const aqz_section *s)
{
	uint64_t longest = 0;
	for (uint32_t i = 0; i < s->info.n_chunks; i++) {
		uint64_t n = aqz_padded(c->frames[c->chunks[s->first_chunk + i]].frame.stored_bytes);
		longest = n > longest ? n : longest;
	}
	return AQZ_FRAME_HEADER_BYTES + longest;
}
