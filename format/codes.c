/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the codes of a section as they are stored, for products that need no reconstruction, spec 4 and 7.2.2. */
#include "format/reader.h"

aqz_status aqz_reader_codes(const aqz_reader *reader, uint32_t section, void *dst,
	uint64_t dst_bytes, aqz_budget budget, aqz_error *err)
{
	const aqz_catalog *catalog = &reader->catalog;
	uint8_t *to = dst;
	void *frame = NULL;
	uint64_t frame_bytes = 0, left = dst_bytes;
	aqz_status status = AQZ_OK;

	if (section >= catalog->n_sections)
		return aqz_fail(
			err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, "section", "there is no section %u", section);
	const aqz_section *s = catalog->sections[section];
	if (s->info.scheme.codec != AQZ_CODEC_ADDITIVE)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "section", "section %u has no codes", section);
	frame_bytes = aqz_section_longest_frame(catalog, s);
	AQZ_TRY(aqz_budget_alloc(&budget, &frame, frame_bytes, "a stored chunk", err));
	for (uint32_t i = 0; i < s->info.n_chunks; i++) {
		const aqz_placed_frame *f = &catalog->frames[catalog->chunks[s->first_chunk + i]];

		/* The catalog has checked that a chunk of codes has the one size that its rows give. */
		if (f->frame.stored_bytes > left)
			break;
		AQZ_TRY(aqz_frame_fetch(frame, &reader->io, catalog, f, err));
		memcpy(to, (const uint8_t *)frame + AQZ_FRAME_HEADER_BYTES, (size_t)f->frame.stored_bytes);
		to += f->frame.stored_bytes;
		left -= f->frame.stored_bytes;
	}
	if (left != 0 || s->info.stored_bytes != dst_bytes)
		status = aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "dst_bytes",
			"the section has %llu bytes of codes, not %llu",
			(unsigned long long)s->info.stored_bytes, (unsigned long long)dst_bytes);
out:
	aqz_budget_free(&budget, frame, frame_bytes);
	return status;
}
