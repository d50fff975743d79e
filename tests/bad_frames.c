/* SPDX-License-Identifier: Apache-2.0 */
/* Bad files: frames and their order. Checks of format/frame.c, catalog.c, chunk.c.
 *
 * No file here reaches
 * - catalog.c, more than 2^24 frames: takes 1 GiB of empty frames, and an index cannot hold so many;
 * - catalog.c, frames longer than any file: 2^24 frames of 2^26 bytes do not overflow 64 bits;
 * - catalog.c, AQZ_E_ARGUMENT: mistakes of our own callers;
 * - catalog.c, check_padding, c->padded: behind padding all but a chunk is refused before;
 * - catalog.c, aqz_catalog_complete, c->padded: padding is refused where no chunk is due, so one is
 *   missing then, which is said first;
 * - catalog.c, records too long for an index: takes 256 MiB of them;
 * - chunk.c, the file ends before the chunk does: the index was read, and its frames end before it. */
#include "tests/bad_files.h"

/* ---- Frame headers */

/* A value in the header of frame 13, whose hash is right; lengths lead astray, so the index keeps
 * the old ones. */
static void header_only(edit *e, uint32_t at, unsigned bytes, uint64_t value)
{
	uint8_t *header;

	edit_put(e);
	header = out_frame(e, 13);
	memcpy(header + at, &value, bytes);
	reseal_header(header, e->out.data + 40);
}

static void stored_too_long(edit *e)
{
	header_only(e, 24, 8, (UINT64_C(1) << 26) + 1);
}

static void decoded_too_long(edit *e)
{
	header_only(e, 32, 8, UINT64_MAX);
}

static void another_decoded_hash(edit *e)
{
	header_only(e, 48, 8, 1);
}

static void frame_reserved(edit *e)
{
	header_only(e, 20, 4, 1);
}

/* A frame that nobody knows, before frame 12. */
static edit_frame *unknown(edit *e, uint16_t flags, uint16_t coding)
{
	edit_frame *f = insert_frame(e, 12, "note", 7, 9, "hello", 5);

	aqz_put16(f->header + 16, coding);
	aqz_put16(f->header + 18, flags);
	return f;
}

static void unknown_type(edit *e)
{
	unknown(e, 0, 0);
	edit_put(e);
}

static void ancillary(edit *e)
{
	unknown(e, 1, 0);
	insert_frame(e, 0, "note", 0, 0, NULL, 0)->header[18] = 1;
	edit_put(e);
}

static void ancillary_before_the_end(edit *e)
{
	insert_frame(e, e->n_frames, "note", 0, 0, NULL, 64)->header[18] = 1;
	edit_put(e);
}

static void ancillary_coded(edit *e)
{
	edit_frame *f = unknown(e, 1, 77);

	aqz_put64(f->header + 32, 1000);
	aqz_put64(f->header + 48, 12345);
	edit_put(e);
}

static void ancillary_reserved_bit(edit *e)
{
	unknown(e, 3, 0);
	edit_put(e);
}

static void ancillary_size(edit *e)
{
	edit_frame *f = unknown(e, 1, 0);

	f->sizes_stay = true;
	aqz_put64(f->header + 32, 500);
	edit_put(e);
}

static void ancillary_decoded_hash(edit *e)
{
	unknown(e, 1, 0);
	edit_put(e);
	aqz_put64(out_frame(e, 12) + 48, 1);
	edit_reseal(e, RESEAL_TABLE);
}

static void ancillary_payload_hash(edit *e)
{
	unknown(e, 1, 0);
	edit_put(e);
	out_frame(e, 12)[64] ^= 1;
}

static void records_decoded_hash(edit *e)
{
	edit_put(e);
	aqz_put64(out_frame(e, 0) + 48, 1);
	edit_reseal(e, RESEAL_TABLE);
}

static void chunk_decoded_hash(edit *e)
{
	edit_put(e);
	aqz_put64(out_frame(e, 13) + 48, 1);
	edit_reseal(e, RESEAL_TABLE);
}

static void payload_hash(edit *e)
{
	edit_put(e);
	aqz_put64(out_frame(e, 13) + 40, 1);
	edit_reseal(e, RESEAL_TABLE);
}

/* ---- Order */

static void second_chunk(edit *e)
{
	insert_frame(e, 14, "CHNK", 8, 1, "123456789", 9);
	edit_put(e);
}

static void chunk_after_all(edit *e)
{
	insert_frame(e, e->n_frames, "CHNK", 8, 0, "123456789", 9);
	edit_put(e);
}

static void no_chunk(edit *e)
{
	remove_frame(e, &e->frames[13]);
	edit_put(e);
}

static void no_last_chunk(edit *e)
{
	remove_frame(e, &e->frames[14]);
	remove_frame(e, &e->frames[13]);
	edit_put(e);
}

static void swapped_chunks(edit *e)
{
	const edit_frame f = e->frames[5];

	e->frames[5] = e->frames[6];
	e->frames[6] = f;
	edit_put(e);
}

static void no_records_in_it(edit *e)
{
	insert_frame(e, 14, "RECS", 9, 3, NULL, 0);
	edit_put(e);
}

static void index_among_frames(edit *e)
{
	insert_frame(e, 14, "INDX", 0, 0, NULL, 64);
	edit_put(e);
}

static void ancillary_index_among_frames(edit *e)
{
	insert_frame(e, 14, "INDX", 9, 3, NULL, 64)->header[18] = 1;
	edit_put(e);
}

static void footer_among_frames(edit *e)
{
	insert_frame(e, 14, "FOOT", 0, 0, NULL, 128);
	edit_put(e);
}

/* ---- Padding frames */

static void padding_where_none_is_due(edit *e)
{
	insert_frame(e, 13, "PADD", 0, 0, NULL, 0);
	edit_put(e);
}

/* From here on a file of 4 KiB alignment: records, padding, chunk, padding, chunk. */
static void wide(edit *e)
{
	memory_file f = {0};

	edit_close(e);
	sample_tiny(&f, 4096);
	edit_open(e, &f);
	memory_free(&f);
	SURE(e->n_frames == 5 && memcmp(e->frames[1].header + 4, "PADD", 4) == 0);
}

static void good_wide(edit *e)
{
	wide(e);
	edit_put(e);
}

static void padding_too_short(edit *e)
{
	wide(e);
	resize_payload(&e->frames[1], 0, 64, 0);
	edit_put(e);
}

static void padding_missing(edit *e)
{
	wide(e);
	remove_frame(e, &e->frames[1]);
	edit_put(e);
}

static void padding_twice(edit *e)
{
	wide(e);
	insert_frame(e, 2, "PADD", 0, 0, NULL, 4096 - 64);
	edit_put(e);
}

static void padding_before_records(edit *e)
{
	wide(e);
	/* Where a chunk is due and padding too, but something else comes. */
	insert_frame(e, 2, "note", 0, 0, NULL, 0)->header[18] = 1;
	edit_put(e);
}

static void padding_at_the_end(edit *e)
{
	size_t at = 128;

	wide(e);
	for (uint32_t i = 0; i < e->n_frames; i++)
		at += 64 + (e->frames[i].stored + 63) / 64 * 64;
	insert_frame(e, e->n_frames, "PADD", 0, 0, NULL, (4096 - (at + 128) % 4096) % 4096);
	edit_put(e);
}

static void padding_with_content(edit *e)
{
	wide(e);
	e->frames[1].payload[100] = 1;
	edit_put(e);
}

/* ---- Between index and footer */

static void extra(edit *e)
{
	add_extra(e, "sign", 1, 100);
	add_extra(e, "sign", 1, 0);
	edit_put(e);
}

static void extra_unknown(edit *e)
{
	add_extra(e, "sign", 0, 100);
	edit_put(e);
}

static void extra_records(edit *e)
{
	add_extra(e, "RECS", 1, 64);
	edit_put(e);
}

static void extra_chunk(edit *e)
{
	uint8_t *header = add_extra(e, "CHNK", 1, 64);

	aqz_put32(header + 8, UINT32_MAX);
	edit_put(e);
}

static void extra_index(edit *e)
{
	add_extra(e, "INDX", 0, 64);
	edit_put(e);
}

static void extra_size(edit *e)
{
	aqz_put64(add_extra(e, "sign", 1, 64) + 32, 65);
	edit_put(e);
}

static void extra_decoded_hash(edit *e)
{
	add_extra(e, "sign", 1, 64);
	edit_put(e);
	aqz_put64(e->out.data + e->footer_at - 128 + 48, 1);
	reseal_header(e->out.data + e->footer_at - 128, e->out.data + 40);
}

static void extra_payload_hash(edit *e)
{
	add_extra(e, "sign", 1, 64);
	edit_put(e);
	e->out.data[e->footer_at - 1] = 1;
}

static void extra_too_long(edit *e)
{
	add_extra(e, "sign", 1, 64);
	edit_put(e);
	aqz_put64(e->out.data + e->footer_at - 128 + 24, 640);
	aqz_put64(e->out.data + e->footer_at - 128 + 32, 640);
	reseal_header(e->out.data + e->footer_at - 128, e->out.data + 40);
}

static void extra_zeros(edit *e)
{
	static const uint8_t zeros[64];

	memory_add(&e->extra, zeros, 64);
	edit_put(e);
}

static void extra_bytes(edit *e)
{
	static const uint8_t zeros[32];

	memory_add(&e->extra, zeros, 32);
	edit_put(e);
}

/* ---- Chunks */

/* Codes of row 3 in the block of 3 rows. */
static void codes_in_padding(edit *e)
{
	e->frames[7].payload[0] |= 8;
	edit_put(e);
}

static void another_code(edit *e)
{
	e->frames[7].payload[0] ^= 1;
	edit_put(e);
}

static void another_codeword(edit *e)
{
	e->frames[5].payload[0] ^=
		1; /* its own hashes follow, but not those of what is made of it, nor its digest */
	edit_put(e);
}

static void codes_too_short(edit *e)
{
	resize_payload(&e->frames[7], 0, 1, 0);
	edit_put(e);
}

static void not_zstd(edit *e)
{
	aqz_put16(e->frames[13].header + 16, 1);
	edit_put(e);
}

static void not_planes(edit *e)
{
	edit_frame *f = &e->frames[6]; /* 3 binary32 */

	resize_payload(f, 12, 0, 0);
	aqz_put16(f->header + 16, 2);
	f->sizes_stay = true;
	edit_put(e);
}

static void file_of_another_content(edit *e)
{
	e->frames[1].payload[0] ^= 1;
	edit_put(e);
}

#define C AQZ_E_CORRUPT
#define H AQZ_E_CHECKSUM
#define U AQZ_E_UNSUPPORTED
#define T AQZ_E_TRUNCATED

const bad_file bad_frames[] = {
	/* Frame headers */
	POKE("bad-frame-sync", HEADER, 13, 0, 1, 0xf4, C, "section[8].chunk[0]", 0, "frame.sync"),
	POKE("bad-frame-header-hash", RAW, 0, 128 + 56, 1, 0, H, "frame", 0, "frame.header_hash"),
	MAKE("bad-frame-stored-limit", stored_too_long, C, "section[8].chunk[0]", 0, "frame.size"),
	MAKE("bad-frame-decoded-limit", decoded_too_long, C, "section[8].chunk[0]", 0, "frame.size"),
	MAKE("bad-frame-not-as-index", another_decoded_hash, C, "section[8].chunk[0]", H,
		"section[8].chunk[0]"),
	MAKE("unsupported-frame-reserved", frame_reserved, U, "section[8].chunk[0]", 0, "frame.flags"),
	POKE("unsupported-frame-flags", HEADER, 13, 18, 2, 2, U, "frame.flags", 0, 0),
	POKE("bad-chunk-ancillary", HEADER, 13, 18, 2, 1, C, "frame.flags", 0, 0),
	POKE("bad-records-ancillary", HEADER, 12, 18, 2, 1, C, "frame.flags", 0, 0),
	MAKE("unsupported-frame-type", unknown_type, U, "frame.type", 0, 0),
	MAKE("good-ancillary-frames", ancillary, AQZ_OK, "", 0, 0),
	MAKE("good-ancillary-frame-last", ancillary_before_the_end, AQZ_OK, "", 0, 0),
	MAKE("good-ancillary-frame-coded", ancillary_coded, AQZ_OK, "", 0, 0),
	MAKE("unsupported-ancillary-flags", ancillary_reserved_bit, U, "frame.flags", 0, 0),
	MAKE("bad-ancillary-size", ancillary_size, C, "frame.size", 0, 0),
	MAKE("bad-ancillary-decoded-hash", ancillary_decoded_hash, H, "", 0, "frame.decoded_hash"),
	MAKE("bad-ancillary-payload-hash", ancillary_payload_hash, H, "frame", 0, "frame.payload_hash"),
	POKE("bad-chunk-section", HEADER, 13, 8, 4, 7, C, "section[8].chunk[0]", 0, "frame.section"),
	POKE("bad-chunk-number", HEADER, 13, 12, 4, 1, C, "section[8].chunk[0]", 0, "frame.section"),
	POKE("bad-records-section", HEADER, 12, 8, 4, 9, C, "frame", 0, "frame.section"),
	POKE("bad-records-tensor", HEADER, 12, 12, 4, 0, C, "frame", 0, "frame.section"),
	POKE("bad-records-coding", HEADER, 12, 16, 2, 1, C, "frame.coding", 0, 0),
	POKE("bad-records-size", HEADER, 12, 32, 8, 72, C, "frame.size", 0, 0),
	POKE("bad-frame-padding", PAYLOAD, 13, 9, 1, 1, C, "section[8].chunk[0]", 0, "frame.padding"),
	POKE("bad-records-padding", PAYLOAD, 14, 63, 1, 1, C, "frame", 0, "frame.padding"),
	MAKE("bad-payload-hash", payload_hash, H, "section[8].chunk[0]", 0, "frame.payload_hash"),
	MAKE("bad-records-decoded-hash", records_decoded_hash, H, "index.records", 0,
		"frame.decoded_hash"),
	MAKE("bad-chunk-decoded-hash", chunk_decoded_hash, H, "section[8].chunk[0]", 0, 0),
	/* Order */
	MAKE("bad-chunk-too-many", second_chunk, C, "frame.type", 0, "frame.section"),
	MAKE("bad-chunk-after-all", chunk_after_all, C, "frame.type", 0, "frame.section"),
	MAKE("bad-chunk-missing", no_chunk, C, "frame.type", 0, 0),
	MAKE("bad-chunk-missing-last", no_last_chunk, C, "frame.type", 0, 0),
	MAKE("bad-chunks-swapped", swapped_chunks, C, "section[2].chunk[0]", 0, "frame.section"),
	MAKE("bad-records-empty", no_records_in_it, C, "frame.type", 0, 0),
	MAKE("bad-index-twice", index_among_frames, C, "frame.type", 0, "index.frame"),
	MAKE("bad-index-ancillary", ancillary_index_among_frames, C, "frame.type", 0, "index.frame"),
	MAKE("bad-footer-early", footer_among_frames, C, "frame.type", 0, 0),
	/* Padding frames */
	MAKE("bad-padding-not-due", padding_where_none_is_due, C, "frame.padding", 0, 0),
	MAKE("good-4k", good_wide, AQZ_OK, "", 0, 0),
	MAKE("bad-padding-size", padding_too_short, C, "frame.padding", 0, 0),
	MAKE("bad-padding-missing", padding_missing, C, "section[0].chunk[0]", 0, 0),
	MAKE("bad-padding-twice", padding_twice, C, "frame.type", 0, 0),
	MAKE("bad-padding-without-chunk", padding_before_records, C, "frame.type", 0, 0),
	MAKE("bad-padding-at-the-end", padding_at_the_end, C, "frame.padding", 0, 0),
	MAKE("bad-padding-content", padding_with_content, C, "frame.padding", 0, 0),
	POKE("bad-alignment", SUPERBLOCK, 0, 56, 1, 12, C, "section[0].chunk[0]", 0, 0),
	/* Between index and footer */
	MAKE("good-extra", extra, AQZ_OK, "", 0, 0),
	MAKE("unsupported-extra", extra_unknown, U, "frame.type", 0, 0),
	MAKE("bad-extra-records", extra_records, C, "frame.type", 0, 0),
	MAKE("bad-extra-chunk", extra_chunk, C, "frame.type", 0, 0),
	MAKE("bad-extra-index", extra_index, C, "frame.type", 0, 0),
	MAKE("bad-extra-size", extra_size, C, "frame.type", 0, 0),
	MAKE("bad-extra-decoded-hash", extra_decoded_hash, H, "", 0, "frame.decoded_hash"),
	MAKE("bad-extra-payload-hash", extra_payload_hash, H, "", 0, "frame.payload_hash"),
	MAKE("bad-extra-too-long", extra_too_long, C, "frame", T, "file"),
	MAKE("bad-extra-zeros", extra_zeros, C, "frame.sync", 0, 0),
	MAKE("bad-extra-bytes", extra_bytes, C, "footer.file_bytes", 0, "frame.sync"),
	/* Chunks */
	POKE("bad-chunk-decoded-bytes", HEADER, 7, 32, 8, 28, C, "section[4].chunk[0]", 0, 0),
	POKE("unsupported-chunk-coding", HEADER, 13, 16, 2, 3, U, "section[8].chunk[0]", 0, 0),
	POKE("unsupported-chunk-coding-t64", HEADER, 13, 16, 2, 16, U, "section[8].chunk[0]", 0, 0),
	POKE("unsupported-codes-stored", HEADER, 7, 16, 2, 1, U, "section[4].chunk[0]", 0, 0),
	MAKE("bad-chunk-stored-bytes", codes_too_short, C, "section[4].chunk[0]", 0, 0),
	MAKE("bad-codes-padding", codes_in_padding, C, "section[4].chunk[0]", 0, 0),
	MAKE("bad-codes-other", another_code, H, "section[4].chunk[0]", 0, 0),
	MAKE("bad-codebook-other", another_codeword, H, "section[4].chunk[0]", 0, 0),
	MAKE("bad-chunk-zstd", not_zstd, C, "section[8].chunk[0]", 0, 0),
	MAKE("bad-chunk-planes", not_planes, C, "section[3].chunk[0]", 0, 0),
	MAKE("bad-file-digest", file_of_another_content, H, "index.digest", C, "index"),
};
const size_t n_bad_frames = sizeof bad_frames / sizeof *bad_frames;
