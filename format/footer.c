/* SPDX-License-Identifier: Apache-2.0 */
/* The footer: the last frame of the file, which repeats the superblock and points to the index,
 * spec 6.3. */
#include "format/layout.h"

#include <stdio.h> /* snprintf */

static const uint8_t end_magic[8] = {'\n', 0x1a, '\n', '\r', 'Z', 'Q', 'A', 0x89};

/* The superblock's fields between magic and reserved bytes. */
enum { COPY_FROM = 8, COPY_BYTES = 64, COPY_AT = 48, PREVIOUS_AT = 112, END_AT = 120 };

void aqz_footer_write(uint8_t out[AQZ_FOOTER_BYTES], const aqz_footer *f)
{
	uint8_t *payload = out + AQZ_FRAME_HEADER_BYTES, super[AQZ_SUPERBLOCK_BYTES];
	memset(payload, 0, AQZ_FOOTER_PAYLOAD_BYTES);
	aqz_put64(payload, f->index_offset);
	aqz_put64(payload + 8, f->index_stored_bytes);
	aqz_put64(payload + 16, f->index_decoded_bytes);
	aqz_put64(payload + 24, f->file_bytes);
	aqz_put64(payload + 32, f->root[0]);
	aqz_put64(payload + 40, f->root[1]);
	aqz_superblock_write(super, &f->superblock);
	memcpy(payload + COPY_AT, super + COPY_FROM, COPY_BYTES);
	memcpy(payload + END_AT, end_magic, sizeof end_magic);
	const uint8_t *id = f->superblock.id;
	aqz_frame frame = {.type = AQZ_FRAME_FOOTER,
		.stored_bytes = AQZ_FOOTER_PAYLOAD_BYTES,
		.decoded_bytes = AQZ_FOOTER_PAYLOAD_BYTES};
	frame.payload_hash =
		aqz_hash(payload, AQZ_FOOTER_PAYLOAD_BYTES, aqz_frame_seed(id, frame.type, 0, 0));
	frame.decoded_hash = aqz_hash(payload, AQZ_FOOTER_PAYLOAD_BYTES, 0);
	aqz_frame_write(out, &frame, id);
}

/* What is wrong with the copy of the superblock, at its place in the footer. */
static aqz_status in_copy(aqz_status status, uint64_t copy_at, aqz_error *err)
{
	if (err != NULL) {
		char field[sizeof err->where];
		memcpy(field, err->where, sizeof field);
		snprintf(err->where, sizeof err->where, "footer.%.56s", field);
		err->offset += copy_at - COPY_FROM;
	}
	return status;
}

aqz_status aqz_footer_read(
	aqz_footer *out, const uint8_t in[AQZ_FOOTER_BYTES], uint64_t file_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const uint8_t *payload = in + AQZ_FRAME_HEADER_BYTES;
	uint64_t at = file_bytes - AQZ_FOOTER_BYTES, payload_at = at + AQZ_FRAME_HEADER_BYTES;
	uint8_t super[AQZ_SUPERBLOCK_BYTES];
	aqz_frame frame;
	aqz_superblock probe = {.alignment_log2 = 6};
	if (memcmp(payload + END_AT, end_magic, sizeof end_magic) != 0)
		return aqz_fail(err, AQZ_E_TRUNCATED, payload_at + END_AT, "footer.end",
			"the file does not end in a footer: it is cut short, or bytes were added");
	/* The copy is laid under a fresh magic and hash, so that one reader checks both. */
	aqz_superblock_write(super, &probe);
	memcpy(super + COPY_FROM, payload + COPY_AT, COPY_BYTES);
	aqz_put64(super + 120, aqz_hash(super, 120, 0));
	AQZ_TRY(aqz_frame_read(&frame, in, super + 40, at, err));
	AQZ_TRY(frame.type == AQZ_FRAME_FOOTER && frame.stored_bytes == AQZ_FOOTER_PAYLOAD_BYTES &&
				frame.decoded_bytes == AQZ_FOOTER_PAYLOAD_BYTES && frame.section == 0 &&
				frame.chunk == 0 && frame.coding == 0 && frame.flags == 0
			? AQZ_OK
			: aqz_fail(err, AQZ_E_CORRUPT, at, "footer.frame", "the last frame is no footer"));
	AQZ_TRY(aqz_frame_check_payload(&frame, payload, super + 40, payload_at, err));
	if (!aqz_hash_equal(frame.decoded_hash, aqz_hash(payload, AQZ_FOOTER_PAYLOAD_BYTES, 0)))
		return aqz_fail(err, AQZ_E_CHECKSUM, at + 48, "footer.decoded_hash",
			"the hash of the footer's payload differs");
	status = aqz_superblock_read(&out->superblock, super, err);
	if (status != AQZ_OK)
		return in_copy(status, payload_at + COPY_AT, err);
	if (aqz_get64(payload + PREVIOUS_AT) != 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, payload_at + PREVIOUS_AT, "footer.previous",
			"appended generations are not known to this version");
	out->index_offset = aqz_get64(payload);
	out->index_stored_bytes = aqz_get64(payload + 8);
	out->index_decoded_bytes = aqz_get64(payload + 16);
	out->file_bytes = aqz_get64(payload + 24);
	out->root[0] = aqz_get64(payload + 32);
	out->root[1] = aqz_get64(payload + 40);
	if (out->file_bytes != file_bytes || file_bytes % AQZ_FRAME_ALIGN != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, payload_at + 24, "footer.file_bytes",
			"the footer says %llu bytes, the file has %llu", (unsigned long long)out->file_bytes,
			(unsigned long long)file_bytes);
	if (out->index_stored_bytes > AQZ_MAX_INDEX_BYTES ||
		out->index_decoded_bytes > AQZ_MAX_INDEX_BYTES || out->index_offset < AQZ_SUPERBLOCK_BYTES ||
		out->index_offset % AQZ_FRAME_ALIGN != 0 || out->index_offset > at ||
		at - out->index_offset < AQZ_FRAME_HEADER_BYTES + aqz_padded(out->index_stored_bytes))
		return aqz_fail(err, AQZ_E_CORRUPT, payload_at, "footer.index_offset",
			"the index does not lie between superblock and footer");
out:
	return status;
}
