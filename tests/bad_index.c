/* SPDX-License-Identifier: Apache-2.0 */
/* Bad files: index, footer and root. Checks of format/index.c, inflate.c, reader.c, footer.c,
 * verify.c, and of the end of stream.c, which compares the index with the frames that it saw, and so
 * mostly has one answer: it is not theirs.
 *
 * No file here reaches
 * - stream.c, take_index's comparison of the length: that of the header was made before;
 * - index.c, verify.c, reading failed: see test_limits.c. */
#include "tests/bad_files.h"

/* Byte 32 and on are the frame table; entry of frame i. */
static uint8_t *entry(edit *e, uint32_t i)
{
	return out_index(e) + 32 + 32 * (size_t)i;
}

static uint8_t *digest(edit *e, uint32_t section)
{
	return entry(e, e->n_frames) + 16 * (size_t)section;
}

static void digest_of_tensor(edit *e)
{
	edit_put(e);
	digest(e, 4)[0] = 1;
	edit_reseal(e, RESEAL_HASHES);
}

static void digest_wrong(edit *e)
{
	edit_put(e);
	digest(e, 2)[8] ^= 1;
	edit_reseal(e, RESEAL_HASHES);
}

static void records_other(edit *e)
{
	edit_put(e);
	digest(e, 9)[8 + 48] = 'g'; /* the name of the first file */
	edit_reseal(e, RESEAL_HASHES);
}

static void entry_other(edit *e, uint32_t frame, uint32_t at, uint32_t value)
{
	edit_put(e);
	aqz_put32(entry(e, frame) + at, value);
	edit_reseal(e, RESEAL_HASHES);
}

static void entry_stored_limit(edit *e)
{
	entry_other(e, 13, 8, (UINT32_C(1) << 26) + 1);
}

static void entry_decoded_limit(edit *e)
{
	entry_other(e, 13, 12, UINT32_MAX);
}

static void entry_payload_hash(edit *e)
{
	entry_other(e, 13, 16, 1);
}

static void entry_type(edit *e)
{
	entry_other(e, 13, 0, 0x54534554);
}

static void entry_is_index(edit *e)
{
	entry_other(e, 14, 0, 0x58444e49);
}

/* The index with n bytes more or less at a place; the lengths follow, the counts do not. */
static void resize_index(edit *e, size_t at, size_t old_n, size_t new_n)
{
	const size_t from = e->index_at + 64 + at, n = (size_t)aqz_get64(out_index_header(e) + 24);
	memory_file out = {0};
	static const uint8_t zeros[128];
	uint8_t *header, *footer;

	SURE(new_n <= sizeof zeros);
	memory_add(&out, e->out.data, from);
	memory_add(&out, zeros, new_n);
	memory_add(&out, e->out.data + from + old_n, n - at - old_n);
	memory_add(&out, zeros, (64 - out.n % 64) % 64);
	memory_add(&out, e->out.data + e->footer_at, 192);
	memory_copy(&e->out, &out);
	e->footer_at = out.n - 192;
	memory_free(&out);
	header = out_index_header(e);
	aqz_put64(header + 24, n - old_n + new_n);
	aqz_put64(header + 32, n - old_n + new_n);
	footer = out_footer(e);
	aqz_put64(footer + 8, n - old_n + new_n);
	aqz_put64(footer + 16, n - old_n + new_n);
	aqz_put64(footer + 24, e->out.n);
	edit_reseal(e, RESEAL_HASHES);
}

static void index_short(edit *e)
{
	edit_put(e);
	resize_index(e, 31, (size_t)aqz_get64(out_index_header(e) + 24) - 31, 0);
}

static void one_frame_less(edit *e)
{
	edit_put(e);
	aqz_put32(out_index(e), e->n_frames - 1);
	resize_index(e, 32 + 32 * ((size_t)e->n_frames - 1), 32, 0);
}

/* A frame of the file that the index does not have. */
static void frame_unlisted(edit *e)
{
	insert_frame(e, e->n_frames, "note", 0, 0, NULL, 64)->header[18] = 1;
	one_frame_less(e);
}

/* An empty ancillary frame that is not in the file. */
static void one_frame_more(edit *e)
{
	edit_put(e);
	aqz_put32(out_index(e), e->n_frames + 1);
	resize_index(e, 32 + 32 * (size_t)e->n_frames, 0, 32);
	memcpy(entry(e, e->n_frames), "note\0\0\1\0", 8);
	edit_reseal(e, RESEAL_HASHES);
}

/* Twice as many as there are bytes for. */
static void many_frames_more(edit *e)
{
	uint32_t n;

	edit_put(e);
	n = (uint32_t)((e->footer_at - 128) / 32);
	for (uint32_t i = 0; i < n; i++) {
		aqz_put32(out_index(e), e->n_frames + i + 1);
		resize_index(e, 32 + 32 * (size_t)(e->n_frames + i), 0, 32);
		memcpy(entry(e, e->n_frames + i), "note\0\0\1\0", 8);
	}
	edit_reseal(e, RESEAL_HASHES);
}

static void digest_more(edit *e)
{
	edit_put(e);
	aqz_put32(out_index(e) + 4, 10);
	resize_index(e, 32 + 32 * (size_t)e->n_frames, 0, 16);
}

/* An ancillary record behind those of the frames. */
static void records_more(edit *e)
{
	uint64_t n;

	edit_put(e);
	n = aqz_get64(out_index_header(e) + 24);
	aqz_put64(out_index(e) + 24, aqz_get64(out_index(e) + 24) + 8);
	resize_index(e, (size_t)n, 0, 8);
}

static void records_less(edit *e)
{
	uint64_t n;

	edit_put(e);
	n = aqz_get64(out_index_header(e) + 24);
	aqz_put64(out_index(e) + 24, aqz_get64(out_index(e) + 24) - 8);
	resize_index(e, (size_t)n - 8, 8, 0);
}

/* ---- The index frame */

static void index_header(edit *e, uint32_t at, unsigned bytes, uint64_t value)
{
	edit_put(e);
	memcpy(out_index_header(e) + at, &value, bytes);
	reseal_header(out_index_header(e), e->out.data + 40);
}

static void index_section(edit *e)
{
	edit_put(e);
	aqz_put32(out_index_header(e) + 8, 8);
	edit_reseal(e, RESEAL_HASHES);
}

static void index_chunk(edit *e)
{
	edit_put(e);
	aqz_put32(out_index_header(e) + 12, 0);
	edit_reseal(e, RESEAL_HASHES);
}

static void index_ancillary(edit *e)
{
	index_header(e, 18, 2, 1);
}

static void index_coding_2(edit *e)
{
	index_header(e, 16, 2, 2);
}

static void index_not_zstd(edit *e)
{
	index_header(e, 16, 2, 1);
}

static void index_decoded_hash(edit *e)
{
	index_header(e, 48, 8, 1);
}

static void index_payload_hash(edit *e)
{
	index_header(e, 40, 8, 1);
}

/* Stored, but with another decoded length; the footer agrees. */
static void index_decoded_bytes(edit *e)
{
	edit_put(e);
	aqz_put64(out_index_header(e) + 32, aqz_get64(out_index_header(e) + 32) - 8);
	aqz_put64(out_footer(e) + 16, aqz_get64(out_footer(e) + 16) - 8);
	reseal_header(out_index_header(e), e->out.data + 40);
	reseal_frame(out_footer_header(e), e->out.data + 40);
}

static void index_padding(edit *e)
{
	const uint64_t n = (edit_put(e), aqz_get64(out_index_header(e) + 24));

	SURE(n % 64 != 0);
	out_index(e)[n] = 1;
	edit_reseal(e, RESEAL_HASHES);
}

/* A decoded length that no index of this file can have: before anything is read or allocated for
 * it. */
static void index_too_long(edit *e)
{
	edit_put(e);
	aqz_put64(out_index_header(e) + 32, UINT64_C(1) << 28);
	aqz_put16(out_index_header(e) + 16, 1);
	aqz_put64(out_footer(e) + 16, UINT64_C(1) << 28);
	reseal_header(out_index_header(e), e->out.data + 40);
	reseal_frame(out_footer_header(e), e->out.data + 40);
}

static void index_stored_limit(edit *e)
{
	index_header(e, 24, 8, (UINT64_C(1) << 28) + 1);
}

/* ---- The footer */

static void footer(edit *e, uint32_t at, uint64_t value)
{
	edit_put(e);
	aqz_put64(out_footer(e) + at, value);
	reseal_frame(out_footer_header(e), e->out.data + 40);
}

static void offset_0(edit *e)
{
	footer(e, 0, 0);
}

static void offset_of_footer(edit *e)
{
	edit_put(e);
	footer(e, 0, e->footer_at);
}

static void offset_behind(edit *e)
{
	footer(e, 0, UINT64_MAX - 63);
}

static void offset_of_a_chunk(edit *e)
{
	edit_put(e);
	footer(e, 0, (uint64_t)(out_frame(e, 13) - e->out.data));
}

static void offset_odd(edit *e)
{
	edit_put(e);
	footer(e, 0, e->index_at - 1);
}

static void stored_too_long(edit *e)
{
	footer(e, 8, UINT64_MAX);
}

static void stored_other(edit *e)
{
	footer(e, 8, 64);
}

static void decoded_too_long(edit *e)
{
	footer(e, 16, (UINT64_C(1) << 28) + 1);
}

static void decoded_other(edit *e)
{
	footer(e, 16, 1000);
}

static void file_bytes(edit *e)
{
	edit_put(e);
	footer(e, 24, e->out.n + 64);
}

static void root_other(edit *e)
{
	footer(e, 40, 1);
}

static void copy_other(edit *e)
{
	footer(e, 48 + 24, 1); /* features_optional */
}

static void previous(edit *e)
{
	footer(e, 112, 128);
}

static void footer_section(edit *e)
{
	edit_put(e);
	aqz_put32(out_footer_header(e) + 8, 1);
	reseal_frame(out_footer_header(e), e->out.data + 40);
}

static void footer_type(edit *e)
{
	edit_put(e);
	memcpy(out_footer_header(e) + 4, "PADD", 4);
	reseal_frame(out_footer_header(e), e->out.data + 40);
}

static void footer_of_64(edit *e)
{
	edit_put(e);
	aqz_put64(out_footer_header(e) + 24, 64);
	aqz_put64(out_footer_header(e) + 32, 64);
	reseal_frame(out_footer_header(e), e->out.data + 40);
}

#define C AQZ_E_CORRUPT
#define H AQZ_E_CHECKSUM
#define U AQZ_E_UNSUPPORTED
#define T AQZ_E_TRUNCATED

const bad_file bad_index[] = {
	MAKE("bad-index-short", index_short, C, "index", 0, "index.frame"),
	POKE("unsupported-index-reserved", INDEX, 0, 12, 4, 1, U, "index.reserved", 0, 0),
	POKE("bad-index-n-frames", INDEX, 0, 0, 4, 14, C, "index.n_frames", 0, "index"),
	POKE("bad-index-n-frames-most", INDEX, 0, 0, 4, UINT32_MAX, C, "index.n_frames", 0, "index"),
	POKE("bad-index-records-bytes", INDEX, 0, 24, 8, UINT64_MAX, C, "index.n_frames", 0, "index"),
	POKE("bad-index-n-sections", INDEX, 0, 4, 4, 8, C, "index.n_frames", 0, "index"),
	POKE("bad-index-n-tensors", INDEX, 0, 8, 4, 3, C, "index.n_sections", 0, "index"),
	POKE("bad-index-n-chunks", INDEX, 0, 16, 8, UINT64_C(1) << 32 | 9, C, "index.n_sections", 0,
		"index"),
	MAKE("bad-index-frame-less", one_frame_less, C, "index.records", 0, "index.frame"),
	MAKE("bad-index-frame-unlisted", frame_unlisted, C, "index.frame", 0, "index.frame"),
	MAKE("bad-index-frame-more", one_frame_more, C, "index.frame", 0, "index.frame"),
	MAKE("bad-index-frames-many", many_frames_more, C, "index.frame", 0, "index.frame"),
	MAKE("bad-index-digest-more", digest_more, C, "index.n_sections", 0, "index.frame"),
	MAKE("bad-index-records-more", records_more, C, "index.records", 0, "index.frame"),
	MAKE("bad-index-records-less", records_less, C, "index.records", 0, "index.frame"),
	MAKE("bad-index-records-other", records_other, H, "index.records", C, "index"),
	MAKE("bad-index-frame-stored-limit", entry_stored_limit, C, "index.frame.size", 0, "index"),
	MAKE("bad-index-frame-decoded-limit", entry_decoded_limit, C, "index.frame.size", 0, "index"),
	MAKE("bad-index-frame-hash", entry_payload_hash, C, "section[8].chunk[0]", 0, "index"),
	MAKE("unsupported-index-frame-type", entry_type, U, "frame.type", C, "index"),
	MAKE("bad-index-frame-is-index", entry_is_index, C, "frame.type", 0, "index"),
	MAKE("bad-index-digest-of-tensor", digest_of_tensor, C, "index.digest", 0, "index"),
	MAKE("bad-index-digest", digest_wrong, H, "index.digest", C, "index"),
	/* The index frame */
	MAKE("bad-index-section", index_section, C, "index.frame", 0, 0),
	MAKE("bad-index-chunk", index_chunk, C, "index.frame", 0, 0),
	MAKE("bad-index-flags", index_ancillary, C, "index.frame", 0, 0),
	MAKE("unsupported-index-coding", index_coding_2, U, "index.coding", 0, 0),
	MAKE("bad-index-zstd", index_not_zstd, C, "payload", 0, 0),
	MAKE("bad-index-size", index_decoded_bytes, C, "index.size", 0, "index.frame"),
	MAKE("bad-index-too-long", index_too_long, C, "index.frame", 0, 0),
	MAKE("bad-index-stored-limit", index_stored_limit, C, "frame.size", 0, 0),
	MAKE("bad-index-decoded-hash", index_decoded_hash, H, "index.decoded_hash", 0, 0),
	MAKE("bad-index-payload-hash", index_payload_hash, H, "frame.payload_hash", 0, 0),
	MAKE("bad-index-padding", index_padding, C, "frame.padding", 0, 0),
	POKE("bad-index-sync", INDEX_HEADER, 0, 0, 1, 0, C, "frame.sync", 0, 0),
	/* Footer */
	POKE("truncated-end-magic", RAW, 1, 1, 1, 0, T, "footer.end", H, "frame.payload_hash"),
	POKE("bad-footer-header-hash", RAW, 1, 192 - 56, 1, 0, H, "frame.header_hash", 0, 0),
	POKE("bad-footer-payload", RAW, 1, 128 - 32, 1, 0, H, "frame.payload_hash", 0, 0),
	POKE("bad-footer-payload-hash", FOOTER_HEADER, 0, 40, 8, 1, H, "frame.payload_hash", 0, 0),
	POKE("bad-footer-decoded-hash", FOOTER_HEADER, 0, 48, 8, 1, H, "footer.decoded_hash", 0, 0),
	POKE("bad-footer-coding", FOOTER_HEADER, 0, 16, 2, 1, C, "footer.frame", 0, 0),
	POKE("bad-footer-ancillary", FOOTER_HEADER, 0, 18, 2, 1, C, "footer.frame", 0, 0),
	POKE("unsupported-footer-flags", FOOTER_HEADER, 0, 18, 2, 2, U, "frame.flags", 0, 0),
	POKE("bad-footer-decoded-bytes", FOOTER_HEADER, 0, 32, 8, 64, C, "footer.frame", 0, 0),
	MAKE("bad-footer-section", footer_section, C, "footer.frame", 0, 0),
	MAKE("bad-footer-type", footer_type, C, "footer.frame", 0, "frame.type"),
	MAKE("bad-footer-stored-bytes", footer_of_64, C, "footer.frame", 0, 0),
	MAKE("unsupported-footer-previous", previous, U, "footer.previous", 0, 0),
	MAKE("bad-footer-file-bytes", file_bytes, C, "footer.file_bytes", 0, 0),
	MAKE("bad-footer-offset-0", offset_0, C, "footer.index_offset", 0, 0),
	MAKE("bad-footer-offset-itself", offset_of_footer, C, "footer.index_offset", 0, 0),
	MAKE("bad-footer-offset-behind", offset_behind, C, "footer.index_offset", 0, 0),
	MAKE("bad-footer-offset-chunk", offset_of_a_chunk, C, "index.frame", 0, "footer"),
	MAKE("bad-footer-offset-odd", offset_odd, C, "footer.index_offset", 0, 0),
	MAKE("bad-footer-index-stored-limit", stored_too_long, C, "footer.index_offset", 0, 0),
	MAKE("bad-footer-index-stored", stored_other, C, "index.frame", 0, "footer"),
	MAKE("bad-footer-index-decoded-limit", decoded_too_long, C, "footer.index_offset", 0, 0),
	MAKE("bad-footer-index-decoded", decoded_other, C, "index.frame", 0, "footer"),
	MAKE("bad-root", root_other, H, "footer.root", 0, 0),
	/* The copy of the superblock, from byte 8 of it on */
	POKE("unsupported-footer-copy-minor", FOOTER, 0, 48 + 2, 2, AQZ_FORMAT_MINOR + 1, U, "footer.superblock.version",
		0, 0),
	POKE("unsupported-footer-copy-feature", FOOTER, 0, 48 + 8, 8, 1, U,
		"footer.superblock.features_read", 0, 0),
	POKE("unsupported-footer-copy-reserved", FOOTER, 0, 48 + 50, 1, 1, U,
		"footer.superblock.reserved", 0, 0),
	POKE("unsupported-footer-copy-generation", FOOTER, 0, 48 + 60, 4, 1, U,
		"footer.superblock.generation", 0, 0),
	MAKE("bad-footer-copy", copy_other, H, "footer.root", C, "footer"),
};
const size_t n_bad_index = sizeof bad_index / sizeof *bad_index;
