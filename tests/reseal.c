/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of a changed container, from the bytes alone: spec 3, 4, 6 and 8. */
#include "tests/reseal.h"

#include "format/inflate.h"

enum { PAYLOAD_HASH_AT = 40, DECODED_HASH_AT = 48, HEADER_HASH_AT = 56 };

typedef struct walk {
	uint8_t *file;
	size_t n;
	size_t frames[4096]; /* offsets, in file order */
	size_t n_frames;
	size_t index, footer; /* offsets, or 0 */
} walk;

/* Bytes of the frame at offset, or 0 if it does not end in the file. */
static size_t frame_bytes(const walk *w, size_t at)
{
	uint64_t stored;

	if (w->n - at < AQZ_FRAME_HEADER_BYTES)
		return 0;
	stored = aqz_get64(w->file + at + 24);
	if (stored > w->n || aqz_padded(stored) > w->n - at - AQZ_FRAME_HEADER_BYTES)
		return 0;
	return AQZ_FRAME_HEADER_BYTES + (size_t)aqz_padded(stored);
}

/* The footer is at the end, or the first one that the frames lead to. The index is where the footer
 * says, or the last one before it. */
static void find_frames(walk *w)
{
	size_t at = AQZ_SUPERBLOCK_BYTES;
	uint64_t claimed;

	if (w->n >= AQZ_SUPERBLOCK_BYTES + AQZ_FOOTER_BYTES &&
		frame_bytes(w, w->n - AQZ_FOOTER_BYTES) == AQZ_FOOTER_BYTES)
		w->footer = w->n - AQZ_FOOTER_BYTES;
	while (at < w->n && w->n_frames < sizeof w->frames / sizeof *w->frames) {
		const size_t bytes = frame_bytes(w, at);
		uint32_t type;

		if (bytes == 0 || (w->footer != 0 && at + bytes > w->footer))
			break;
		type = aqz_get32(w->file + at + 4);
		if (type == AQZ_FRAME_INDEX)
			w->index = at;
		if (type == AQZ_FRAME_FOOTER && w->footer == 0 && bytes == AQZ_FOOTER_BYTES)
			w->footer = at;
		w->frames[w->n_frames++] = at;
		at += bytes;
	}
	if (w->footer == 0)
		return;
	claimed = aqz_get64(w->file + w->footer + AQZ_FRAME_HEADER_BYTES);
	if (claimed >= AQZ_SUPERBLOCK_BYTES && claimed < w->footer &&
		frame_bytes(w, (size_t)claimed) != 0 &&
		claimed + frame_bytes(w, (size_t)claimed) <= w->footer)
		w->index = (size_t)claimed;
}

static uint64_t seed_of(const uint8_t *header, const uint8_t id[16])
{
	return aqz_frame_seed(id, aqz_get32(header + 4), aqz_get32(header + 8), aqz_get32(header + 12));
}

void reseal_header(uint8_t *header, const uint8_t id[16])
{
	aqz_put64(header + HEADER_HASH_AT, aqz_hash(header, HEADER_HASH_AT, seed_of(header, id)));
}

void reseal_frame(uint8_t *header, const uint8_t id[16])
{
	const uint8_t *payload = header + AQZ_FRAME_HEADER_BYTES;
	const uint64_t stored = aqz_get64(header + 24);

	if (aqz_get16(header + 16) == 0)
		aqz_put64(header + DECODED_HASH_AT, aqz_hash(payload, (size_t)stored, 0));
	aqz_put64(header + PAYLOAD_HASH_AT,
		aqz_hash(payload, (size_t)aqz_padded(stored), seed_of(header, id)));
	reseal_header(header, id);
}

/* Sealing an earlier frame may have changed where this one ends, if it overlaps. */
static void seal_frame(walk *w, size_t at, bool payload_too)
{
	if (frame_bytes(w, at) == 0)
		return;
	if (payload_too)
		reseal_frame(w->file + at, w->file + 40);
	else
		reseal_header(w->file + at, w->file + 40);
}

/* Copies the fields of the frames before a stored index to its table, and the records behind it. */
static void seal_index(walk *w)
{
	uint8_t *payload = w->file + w->index + AQZ_FRAME_HEADER_BYTES,
			*entry = payload + AQZ_INDEX_HEAD_BYTES;
	const uint64_t n = aqz_get64(w->file + w->index + 24);
	uint64_t records_at, k = 0;

	if (frame_bytes(w, w->index) == 0 || aqz_get16(w->file + w->index + 16) != 0 ||
		n < AQZ_INDEX_HEAD_BYTES)
		return;
	records_at = AQZ_INDEX_HEAD_BYTES + (uint64_t)aqz_get32(payload) * AQZ_INDEX_FRAME_BYTES +
		(uint64_t)aqz_get32(payload + 4) * AQZ_DIGEST_BYTES;
	for (; k < w->n_frames && w->frames[k] < w->index && k < aqz_get32(payload);
		 k++, entry += AQZ_INDEX_FRAME_BYTES) {
		const uint8_t *header = w->file + w->frames[k];
		const uint64_t stored = aqz_get64(header + 24);

		if (n < AQZ_INDEX_HEAD_BYTES + (k + 1) * AQZ_INDEX_FRAME_BYTES ||
			frame_bytes(w, w->frames[k]) == 0)
			return;
		aqz_put32(entry, aqz_get32(header + 4));
		aqz_put32(entry + 4, aqz_get32(header + 16));
		aqz_put32(entry + 8, (uint32_t)stored);
		aqz_put32(entry + 12, (uint32_t)aqz_get64(header + 32));
		memcpy(entry + 16, header + PAYLOAD_HASH_AT, 16);
		if (aqz_get32(header + 4) == AQZ_FRAME_RECORDS && records_at <= n &&
			stored <= n - records_at) {
			memcpy(payload + records_at, header + AQZ_FRAME_HEADER_BYTES, (size_t)stored);
			records_at += stored;
		}
	}
}

static void seal_footer(walk *w)
{
	uint8_t *payload = w->file + w->footer + AQZ_FRAME_HEADER_BYTES;
	uint64_t root[2];
	aqz_digest *d;

	memcpy(payload + 48, w->file + 8, 64);
	/* The root is over the decoded index; a coded one stays as it was, and so does the root. */
	if (w->index != 0 && frame_bytes(w, w->index) != 0 && aqz_get16(w->file + w->index + 16) == 0 &&
		aqz_digest_open(&d, NULL) == AQZ_OK) {
		aqz_digest_add(d, w->file, AQZ_SUPERBLOCK_BYTES);
		aqz_digest_add(d, w->file + w->index + AQZ_FRAME_HEADER_BYTES,
			(size_t)aqz_get64(w->file + w->index + 24));
		aqz_digest_close(d, root);
		aqz_put64(payload + 32, root[0]);
		aqz_put64(payload + 40, root[1]);
	}
	seal_frame(w, w->footer, true);
}

void reseal(uint8_t *file, size_t n, reseal_depth depth)
{
	walk w = {.file = file, .n = n};

	if (n < AQZ_SUPERBLOCK_BYTES)
		return;
	aqz_put64(file + 120, aqz_hash(file, 120, 0));
	find_frames(&w);
	for (size_t i = 0; i < w.n_frames; i++)
		if (w.frames[i] != w.index && w.frames[i] != w.footer)
			seal_frame(&w, w.frames[i], depth == RESEAL_HASHES || depth == RESEAL_INDEX);
	if (w.index != 0 && depth >= RESEAL_INDEX)
		seal_index(&w);
	if (w.index != 0)
		seal_frame(&w, w.index, true);
	if (w.footer != 0)
		seal_footer(&w);
}

void store_index(memory_file *f)
{
	memory_file out = {0};
	aqz_footer footer;
	aqz_frame frame;
	uint8_t *index, header[AQZ_FRAME_HEADER_BYTES], end[AQZ_FOOTER_BYTES];
	const uint8_t *old;
	size_t padded;

	SURE(aqz_footer_read(&footer, f->data + f->n - AQZ_FOOTER_BYTES, f->n, NULL) == AQZ_OK);
	old = f->data + footer.index_offset;
	SURE(aqz_frame_read(&frame, old, footer.superblock.id, footer.index_offset, NULL) == AQZ_OK);
	padded = (size_t)aqz_padded(frame.decoded_bytes);
	index = sure_alloc(padded);
	SURE(aqz_index_inflate(index, &frame, old + AQZ_FRAME_HEADER_BYTES, 0, NULL) == AQZ_OK);
	frame.coding = 0;
	frame.stored_bytes = frame.decoded_bytes;
	aqz_frame_write(header, &frame, footer.superblock.id);
	footer.index_stored_bytes = frame.stored_bytes;
	footer.file_bytes = footer.index_offset + AQZ_FRAME_HEADER_BYTES + padded + AQZ_FOOTER_BYTES;
	aqz_footer_write(end, &footer);
	memory_add(&out, f->data, (size_t)footer.index_offset);
	memory_add(&out, header, sizeof header);
	memory_add(&out, index, padded);
	memory_add(&out, end, sizeof end);
	reseal(out.data, out.n, RESEAL_HASHES);
	memory_copy(f, &out);
	memory_free(&out);
	free(index);
}
