/* SPDX-License-Identifier: Apache-2.0 */
/* The byte ledger: every byte of the file in one column, spec 6.4. */
#include "format/reader.h"

static uint64_t *column(aqz_ledger *l, const aqz_section_info *s)
{
	switch (s->kind) {
	case AQZ_KIND_TENSOR:
		return s->scheme.codec == AQZ_CODEC_LOSSLESS ? &l->raw : &l->codes;
	case AQZ_KIND_CODEBOOK:
	case AQZ_KIND_CODEBOOK_SCALES:
		return &l->codebooks;
	case AQZ_KIND_ROW_SCALES:
	case AQZ_KIND_COLUMN_SCALES:
	case AQZ_KIND_GROUP_SCALES:
		return &l->scales;
	case AQZ_KIND_FILE:
	case AQZ_KIND_SOURCE_HEADER:
		return &l->files;
	case AQZ_KIND_METADATA:
		return &l->metadata;
	default:
		return &l->parameters;
	}
}

void aqz_reader_ledger(const aqz_reader *reader, aqz_ledger *out)
{
	const aqz_catalog *c = &reader->catalog;
	const aqz_footer *footer = &reader->footer;
	memset(out, 0, sizeof *out);
	out->header = AQZ_SUPERBLOCK_BYTES + AQZ_FOOTER_BYTES;
	out->index = footer->index_stored_bytes;
	out->frames = ((uint64_t)c->n_frames + 1) * AQZ_FRAME_HEADER_BYTES;
	out->padding = aqz_padded(footer->index_stored_bytes) - footer->index_stored_bytes;
	uint64_t index_end =
		footer->index_offset + AQZ_FRAME_HEADER_BYTES + aqz_padded(footer->index_stored_bytes);
	/* The index has no frames behind it: these count whole. */
	out->other = reader->file.n_bytes - AQZ_FOOTER_BYTES - index_end;
	for (uint32_t i = 0; i < c->n_frames; i++) {
		const aqz_frame *f = &c->frames[i].frame;
		out->padding += aqz_padded(f->stored_bytes) - f->stored_bytes;
		if (f->type == AQZ_FRAME_CHUNK)
			*column(out, &c->sections[f->section]->info) += f->stored_bytes;
		else
			*(f->type == AQZ_FRAME_RECORDS		   ? &out->records
					: f->type == AQZ_FRAME_PADDING ? &out->padding
												   : &out->other) += f->stored_bytes;
	}
	out->total = out->header + out->index + out->records + out->codes + out->codebooks +
		out->scales + out->parameters + out->raw + out->files + out->metadata + out->frames +
		out->padding + out->other;
}

/* Bytes of a section's chunks with their frame headers, padding, index entries and its records in
 * the file and, where the index is stored as it is, in the index. */
static double section_bytes(const aqz_reader *r, const aqz_section *s)
{
	const aqz_catalog *c = &r->catalog;
	double frames = 0;
	for (uint32_t i = 0; i < s->info.n_chunks; i++) {
		uint32_t n = c->chunks[s->first_chunk + i];
		frames += (double)(AQZ_FRAME_HEADER_BYTES + aqz_padded(c->frames[n].frame.stored_bytes));
		if (n > 0 && c->frames[n - 1].frame.type == AQZ_FRAME_PADDING)
			frames +=
				(double)(AQZ_FRAME_HEADER_BYTES + aqz_padded(c->frames[n - 1].frame.stored_bytes));
	}
	/* The index's share is scaled by what its compression saved on the whole. */
	double squeezed = (double)r->footer.index_stored_bytes / (double)r->footer.index_decoded_bytes;
	double entries = (double)s->info.n_chunks * AQZ_INDEX_FRAME_BYTES + AQZ_DIGEST_BYTES +
		(double)s->records_bytes;
	return frames + (double)s->records_bytes + squeezed * entries;
}

double aqz_reader_tensor_file_bytes(const aqz_reader *reader, const aqz_tensor_info *tensor)
{
	const aqz_catalog *c = &reader->catalog;
	const aqz_section *s = c->sections[tensor->section];
	double bytes = section_bytes(reader, s);
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		for (uint32_t i = 0; i < s->info.refs[r].count; i++) {
			const aqz_section *p = c->sections[s->info.refs[r].first + i];
			bytes += section_bytes(reader, p) / p->n_users;
		}
	return bytes / s->n_users;
}
