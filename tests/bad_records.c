/* SPDX-License-Identifier: Apache-2.0 */
/* Bad files: records of sections and their references. Checks of format/records.c, catalog.c, and the
 * codecs' own.
 *
 * No file here reaches
 * - catalog.c, more than 2^22 sections: takes 300 MB of records, more than an index may hold;
 * - additive_check.c, too many codewords: the sum cannot overflow, as each section has a size;
 * - additive_check.c, sections not all there, or to no section, and lossless.c, check: records.c has
 *   refused them before; they are for other callers of the codecs. */
#include "tests/bad_files.h"

/* ---- Records as such */

static void add_record(
	edit *e, uint32_t frame, uint16_t type, uint16_t flags, uint32_t body_bytes, size_t n)
{
	edit_frame *f = &e->frames[frame];
	const size_t at = f->stored;

	resize_payload(f, at, 0, 8 + n);
	aqz_put16(f->payload + at, type);
	aqz_put16(f->payload + at + 2, flags);
	aqz_put32(f->payload + at + 4, body_bytes);
	edit_put(e);
}

static void record_cut(edit *e)
{
	edit_frame *f = &e->frames[14];

	resize_payload(f, f->stored, 0, 4);
	edit_put(e);
}

static void record_too_long(edit *e)
{
	add_record(e, 14, 9, 1, 16, 8);
}

static void record_odd(edit *e)
{
	add_record(e, 14, 9, 1, 4, 4);
}

static void record_flags(edit *e)
{
	add_record(e, 14, 9, 3, 8, 8);
}

static void record_unknown(edit *e)
{
	add_record(e, 14, 9, 0, 8, 8);
}

static void record_ancillary(edit *e)
{
	add_record(e, 14, 0xffff, 1, 80, 80);
}

static void section_ancillary(edit *e)
{
	record_of(section_body(e, 0))[2] = 1;
	edit_put(e);
}

/* ---- Section records */

static void section_short(edit *e)
{
	resize_body(e, section_body(e, 8), 0, 8, 0);
	edit_put(e);
}

static void section_long(edit *e)
{
	resize_body(e, section_body(e, 8), 48, 0, 8);
	edit_put(e);
}

static void name_padding(edit *e)
{
	section_body(e, 0)[50] = 1;
	edit_put(e);
}

static void new_name(edit *e, uint32_t section, const void *name, size_t n)
{
	uint8_t *body = section_body(e, section);
	const size_t old = aqz_get32(record_of(body) + 4) - 48;

	body = resize_body(e, body, 48, old, (n + 7) / 8 * 8);
	aqz_put16(body + 40, (uint16_t)n);
	memcpy(body + 48, name, n);
	edit_put(e);
}

static void name_empty(edit *e)
{
	new_name(e, 0, "", 0);
}

static void name_dot(edit *e)
{
	new_name(e, 0, ".", 1);
}

static void name_dots(edit *e)
{
	new_name(e, 0, "..", 2);
}

static void good_name_dots(edit *e)
{
	new_name(e, 0, "...", 3);
}

static void name_path(edit *e)
{
	new_name(e, 0, "../evil", 7);
}

static void name_backslash(edit *e)
{
	new_name(e, 0, "a\\b", 3);
}

static void name_nul(edit *e)
{
	new_name(e, 0, "a\0b", 3);
}

static void name_escape(edit *e)
{
	new_name(e, 0, "\x1b[2J", 4);
}

static void name_utf8(edit *e)
{
	new_name(e, 0, "\xc0\xaf", 2);
}

static void name_long(edit *e)
{
	char name[256];

	memset(name, 'n', sizeof name);
	new_name(e, 0, name, 256);
}

static void good_name_long(edit *e)
{
	char name[256];

	memset(name, 'n', sizeof name);
	new_name(e, 0, name, 255);
}

static void name_of_tensor(edit *e)
{
	new_name(e, 8, "x", 1);
}

/* The metadata become a file: two of one name. */
static void name_twice(edit *e)
{
	aqz_put16(section_body(e, 1) + 4, AQZ_KIND_SOURCE_HEADER);
	edit_put(e);
}

static void section_without_tensor(edit *e)
{
	uint8_t *body = tensor_body(e, 2);
	edit_frame *f = frame_of(e, body);
	const size_t at = (size_t)(record_of(body) - f->payload);

	resize_payload(f, at, f->stored - at, 0);
	edit_put(e);
}

/* Another section's record between a tensor's section and the tensor. */
static void section_before_its_tensor(edit *e)
{
	uint8_t *body = tensor_body(e, 2);
	edit_frame *f = frame_of(e, body);
	const size_t at = (size_t)(record_of(body) - f->payload);

	resize_payload(f, at, 0, 56);
	memcpy(f->payload + at, f->payload, 56);
	aqz_put32(f->payload + at + 8, 9);
	edit_put(e);
}

/* ---- Coded sections */

static void file_with_codec(edit *e)
{
	uint8_t *body = section_body(e, 0);

	aqz_put16(body + 6, AQZ_CODEC_ADDITIVE);
	memcpy(body + 32, "\1\1\2\1\0\0\0\0", 8);
	edit_put(e);
}

static void add_refs(edit *e, uint32_t section, uint32_t n, const aqz_ref *refs)
{
	uint8_t *body = section_body(e, section);
	const size_t old = aqz_get16(body + 42);

	body = resize_body(e, body, 48 + 32 * old, 0, 32 * (size_t)n);
	aqz_put16(body + 42, (uint16_t)(old + n));
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *p = body + 48 + 32 * (old + i);

		aqz_put16(p, (uint16_t)refs[i].kind);
		aqz_put32(p + 4, refs[i].first);
		aqz_put32(p + 8, refs[i].count);
		aqz_put64(p + 16, refs[i].row_begin);
		aqz_put64(p + 24, refs[i].row_end);
	}
	edit_put(e);
}

static void drop_refs(edit *e, uint32_t section, uint32_t from, uint32_t n)
{
	uint8_t *body = section_body(e, section);
	const uint16_t old = aqz_get16(body + 42);

	body = resize_body(e, body, 48 + 32 * (size_t)from, 32 * (size_t)n, 0);
	aqz_put16(body + 42, (uint16_t)(old - n));
	edit_put(e);
}

static void raw_with_refs(edit *e)
{
	add_refs(e, 8, 1, &(aqz_ref){AQZ_KIND_CODEBOOK, 2, 1, 0, 3});
}

static void file_with_refs(edit *e)
{
	add_refs(e, 1, 1, &(aqz_ref){AQZ_KIND_CODEBOOK, 0, 1, 0, 2});
}

static void refs_to_too_much(edit *e)
{
	add_refs(e, 7, 3,
		(aqz_ref[]){{AQZ_KIND_CODEBOOK, 0, 7, 0, 1}, {AQZ_KIND_CODEBOOK, 0, 7, 0, 1},
			{AQZ_KIND_CODEBOOK, 0, 7, 0, 1}});
}

static void no_codebook(edit *e)
{
	drop_refs(e, 4, 0, 1);
}

static void no_rest(edit *e)
{
	drop_refs(e, 7, 1, 1);
}

static void no_codebook_scales(edit *e)
{
	drop_refs(e, 7, 2, 1);
}

static void scales_of_floats(edit *e)
{
	add_refs(e, 7, 1, &(aqz_ref){AQZ_KIND_CODEBOOK_SCALES, 6, 1, 64, 66});
}

static void row_scales_twice(edit *e)
{
	add_refs(e, 4, 1, &(aqz_ref){AQZ_KIND_ROW_SCALES, 3, 1, 0, 3});
}

/* Both codebooks for all rows. */
static void ranges_overlap(edit *e)
{
	aqz_put64(section_body(e, 7) + 48 + 24, 66);
	edit_put(e);
}

static void ranges_not_at_64(edit *e)
{
	uint8_t *body = section_body(e, 7);

	aqz_put64(body + 48 + 24, 32);
	aqz_put64(body + 80 + 16, 32);
	aqz_put64(body + 112 + 24, 32);
	edit_put(e);
}

/* A section of kind BIAS, which no codec of this version takes. */
static void ref_of_no_use(edit *e)
{
	aqz_put16(section_body(e, 3) + 4, AQZ_KIND_BIAS);
	aqz_put16(section_body(e, 4) + 48 + 32, AQZ_KIND_BIAS);
	edit_put(e);
}

/* 1025 ranges of 64 rows. */
static void too_many_ranges(edit *e)
{
	static aqz_ref refs[1025];

	for (uint32_t i = 0; i < 1025; i++)
		refs[i] = (aqz_ref){AQZ_KIND_CODEBOOK, 2, 1, 64 * (uint64_t)i, 64 * (uint64_t)i + 64};
	aqz_put64(section_body(e, 4) + 16, 1025 * 64);
	{
		uint8_t *body = section_body(e, 4);

		body = resize_body(e, body, 48, 64, 0);
		aqz_put16(body + 42, 0);
	}
	add_refs(e, 4, 1025, refs);
}

static void codebooks_mixed(edit *e)
{
	/* Sections 5 (I8) and 6 together, 6 as a codebook of F32. */
	aqz_put16(section_body(e, 6) + 4, AQZ_KIND_CODEBOOK);
	aqz_put32(section_body(e, 7) + 48 + 8, 2);
	drop_refs(e, 7, 2, 1);
}

static void empty_matrix(edit *e)
{
	aqz_put64(section_body(e, 4) + 24, 0);
	edit_put(e);
}

/* Two references to the same parameters are as good as one. */
static void good_shared(edit *e)
{
	aqz_put16(section_body(e, 7) + 48, AQZ_KIND_CODEBOOK);
	edit_put(e);
}

/* rows: of a section that has none then; chunk and shape follow. */
static void rows_of_file(edit *e, uint64_t rows, uint64_t cols, uint32_t chunk_rows)
{
	uint8_t *body = section_body(e, 8);

	aqz_put32(body + 12, chunk_rows);
	aqz_put64(body + 16, rows);
	aqz_put64(body + 24, cols);
	edit_put(e);
}

static void size_overflow(edit *e)
{
	rows_of_file(e, UINT64_C(1) << 33, UINT64_C(1) << 33, 64);
}

static void size_overflow_of_nothing(edit *e)
{
	aqz_put16(section_body(e, 8) + 8, AQZ_F64);
	rows_of_file(e, 0, UINT64_C(1) << 62, 64);
}

static void size_not_whole(edit *e)
{
	aqz_put16(section_body(e, 8) + 8, AQZ_F4);
	rows_of_file(e, 3, 3, 64);
}

static void chunk_too_large(edit *e)
{
	rows_of_file(e, 64, (1 << 20) + 1, 64);
}

static void chunk_overflow(edit *e)
{
	rows_of_file(e, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT32_C(1) << 31);
}

static void too_many_chunks(edit *e)
{
	rows_of_file(e, (UINT64_C(1) << 30) + 1, 1, 64);
}

#define C AQZ_E_CORRUPT
#define U AQZ_E_UNSUPPORTED

const bad_file bad_records[] = {
	MAKE("bad-record-cut", record_cut, C, "record", 0, 0),
	MAKE("bad-record-too-long", record_too_long, C, "record.bytes", 0, 0),
	MAKE("bad-record-odd", record_odd, C, "record.bytes", 0, 0),
	MAKE("unsupported-record-flags", record_flags, U, "record.flags", 0, 0),
	MAKE("unsupported-record-type", record_unknown, U, "record.type", 0, 0),
	MAKE("good-ancillary-record", record_ancillary, AQZ_OK, "", 0, 0),
	MAKE("bad-section-ancillary", section_ancillary, C, "record.flags", 0, 0),
	/* Section records */
	MAKE("bad-section-short", section_short, C, "section", 0, 0),
	MAKE("bad-section-long", section_long, C, "section.name_bytes", 0, 0),
	POKE("bad-section-name-bytes", SECTION, 0, 40, 2, 300, C, "section.name_bytes", 0, 0),
	MAKE("bad-section-name-padding", name_padding, C, "section.name_bytes", 0, 0),
	POKE("bad-section-number", SECTION, 8, 0, 4, 7, C, "section.number", 0, 0),
	POKE("bad-section-number-late", SECTION, 8, 0, 4, UINT32_MAX, C, "section.number", 0, 0),
	POKE("unsupported-kind", SECTION, 8, 4, 2, 2, U, "section.kind", 0, 0),
	POKE("unsupported-kind-0", SECTION, 8, 4, 2, 0, U, "section.kind", 0, 0),
	POKE("unsupported-codec", SECTION, 8, 6, 2, 3, U, "section.codec", 0, 0),
	POKE("unsupported-dtype", SECTION, 8, 8, 2, 21, U, "section.dtype", 0, 0),
	POKE("unsupported-section-reserved-10", SECTION, 8, 10, 2, 1, U, "section.reserved", 0, 0),
	POKE("unsupported-section-reserved-44", SECTION, 8, 44, 4, 1, U, "section.reserved", 0, 0),
	POKE("bad-chunk-rows-0", SECTION, 8, 12, 4, 0, C, "section.chunk_rows", 0, 0),
	POKE("bad-chunk-rows-63", SECTION, 8, 12, 4, 63, C, "section.chunk_rows", 0, 0),
	POKE("bad-chunk-rows-96", SECTION, 8, 12, 4, 96, C, "section.chunk_rows", 0, 0),
	POKE("bad-chunk-rows-192", SECTION, 8, 12, 4, 192, C, "section.chunk_rows", 0, 0),
	MAKE("bad-section-size", size_overflow, C, "section.rows", 0, 0),
	MAKE("bad-section-size-of-nothing", size_overflow_of_nothing, C, "section.rows", 0, 0),
	MAKE("bad-section-size-not-whole", size_not_whole, C, "section.rows", 0, 0),
	MAKE("bad-chunk-too-large", chunk_too_large, C, "section.chunk_rows", 0, 0),
	MAKE("bad-chunk-overflow", chunk_overflow, C, "section.chunk_rows", 0, 0),
	MAKE("bad-chunks-too-many", too_many_chunks, C, "section.rows", 0, 0),
	MAKE("bad-section-without-tensor", section_without_tensor, C, "section", 0, 0),
	MAKE("bad-section-before-tensor", section_before_its_tensor, C, "section", 0, 0),
	/* Files */
	MAKE("bad-file-name-empty", name_empty, C, "section.name", 0, 0),
	MAKE("bad-file-name-dot", name_dot, C, "section.name", 0, 0),
	MAKE("bad-file-name-dots", name_dots, C, "section.name", 0, 0),
	MAKE("good-file-name-dots", good_name_dots, AQZ_OK, "", 0, 0),
	MAKE("bad-file-name-path", name_path, C, "section.name", 0, 0),
	MAKE("bad-file-name-backslash", name_backslash, C, "section.name", 0, 0),
	MAKE("bad-file-name-nul", name_nul, C, "section.name", 0, 0),
	MAKE("bad-file-name-escape", name_escape, C, "section.name", 0, 0),
	MAKE("bad-file-name-utf8", name_utf8, C, "section.name", 0, 0),
	MAKE("bad-file-name-long", name_long, C, "section.name", 0, 0),
	MAKE("good-file-name-long", good_name_long, AQZ_OK, "", 0, 0),
	MAKE("bad-file-name-twice", name_twice, C, "section.name", 0, 0),
	MAKE("bad-tensor-section-name", name_of_tensor, C, "section.name", 0, 0),
	POKE("bad-file-dtype", SECTION, 0, 8, 2, AQZ_I8, C, "section.dtype", 0, 0),
	POKE("bad-file-columns", SECTION, 0, 24, 8, 3, C, "section.dtype", 0, 0),
	MAKE("bad-file-codec", file_with_codec, C, "section.codec", 0, 0),
	MAKE("bad-file-refs", file_with_refs, C, "section.codec", 0, 0),
	/* Codec parameters */
	POKE("unsupported-lossless-params", SECTION, 8, 39, 1, 1, U, "params", 0, 0),
	POKE("unsupported-additive-params", SECTION, 4, 36, 1, 1, U, "params", 0, 0),
	POKE("bad-codebooks-0", SECTION, 4, 32, 1, 0, C, "params", 0, 0),
	POKE("bad-codebooks-9", SECTION, 4, 32, 1, 9, C, "params", 0, 0),
	POKE("bad-bits-0", SECTION, 4, 33, 1, 0, C, "params", 0, 0),
	POKE("bad-bits-17", SECTION, 4, 33, 1, 17, C, "params", 0, 0),
	POKE("bad-in-group-0", SECTION, 4, 34, 1, 0, C, "params", 0, 0),
	POKE("bad-out-group-0", SECTION, 4, 35, 1, 0, C, "params", 0, 0),
	POKE("bad-group-65", SECTION, 4, 34, 2, 5 | 13 << 8, C, "params", 0, 0),
	POKE("bad-group-255", SECTION, 4, 34, 2, 0xffff, C, "params", 0, 0),
	/* References */
	MAKE("bad-lossless-refs", raw_with_refs, C, "section.n_refs", 0, 0),
	POKE("bad-n-refs", SECTION, 4, 42, 2, 3, C, "section.name_bytes", 0, 0),
	POKE("unsupported-ref-kind", SECTION, 4, 48, 2, AQZ_KIND_FILE, U, "section.ref.kind", 0, 0),
	POKE("unsupported-ref-kind-0", SECTION, 4, 48, 2, 0, U, "section.ref.kind", 0, 0),
	POKE("unsupported-ref-reserved-2", SECTION, 4, 50, 2, 1, U, "section.ref.reserved", 0, 0),
	POKE("unsupported-ref-reserved-12", SECTION, 4, 60, 4, 1, U, "section.ref.reserved", 0, 0),
	POKE("bad-ref-first", SECTION, 4, 52, 4, 4, C, "section.ref.first", 0, 0),
	POKE("bad-ref-first-late", SECTION, 4, 52, 4, UINT32_MAX, C, "section.ref.first", 0, 0),
	POKE("bad-ref-count-0", SECTION, 4, 56, 4, 0, C, "section.ref.first", 0, 0),
	POKE("bad-ref-count", SECTION, 4, 56, 4, 3, C, "section.ref.first", 0, 0),
	POKE("bad-ref-count-overflow", SECTION, 4, 56, 4, UINT32_MAX, C, "section.ref.first", 0, 0),
	POKE("bad-ref-rows-none", SECTION, 4, 64, 8, 3, C, "section.ref.row_begin", 0, 0),
	POKE("bad-ref-rows-end", SECTION, 4, 72, 8, 4, C, "section.ref.row_begin", 0, 0),
	POKE("bad-ref-empty", SECTION, 2, 16, 8, 0, C, "section.ref.first", 0, 0),
	POKE("bad-ref-other-kind", SECTION, 4, 52, 4, 3, C, "section.ref.kind", 0, 0),
	POKE("bad-ref-to-tensor", SECTION, 7, 52, 4, 4, C, "section.ref.kind", 0, 0),
	MAKE("bad-refs-too-many", refs_to_too_much, C, "section.ref", 0, 0),
	/* What the additive codec wants of them */
	POKE("unsupported-additive-dtype", SECTION, 4, 8, 2, AQZ_F64, U, "dtype", 0, 0),
	MAKE("bad-additive-empty", empty_matrix, C, "shape", 0, 0),
	MAKE("unsupported-additive-ref", ref_of_no_use, U, "refs", 0, 0),
	MAKE("bad-codebook-missing", no_codebook, C, "refs.codebook", 0, 0),
	MAKE("bad-codebook-missing-rows", no_rest, C, "refs.codebook", 0, 0),
	MAKE("bad-codebook-rows-overlap", ranges_overlap, C, "refs.codebook", 0, 0),
	MAKE("bad-codebook-rows-not-64", ranges_not_at_64, C, "refs.codebook", 0, 0),
	MAKE("unsupported-codebook-ranges", too_many_ranges, U, "refs.codebook", 0, 0),
	POKE("bad-codebook-dtype", SECTION, 2, 8, 2, AQZ_I32, C, "refs.codebook", 0, 0),
	MAKE("bad-codebook-mixed", codebooks_mixed, C, "refs.codebook", 0, 0),
	POKE("bad-codebook-columns", SECTION, 4, 34, 1, 4, C, "refs.codebook", 0, 0),
	POKE("bad-codebook-codewords", SECTION, 4, 33, 1, 2, C, "refs.codebook", 0, 0),
	MAKE("bad-codebook-scales-missing", no_codebook_scales, C, "refs.codebook_scales", 0, 0),
	POKE("bad-codebook-scales-rows", SECTION, 7, 112 + 24, 8, 63, C, "refs.codebook_scales", 0, 0),
	MAKE("bad-codebook-scales-of-floats", scales_of_floats, C, "refs.codebook_scales", 0, 0),
	POKE("bad-codebook-scales-dtype", SECTION, 6, 8, 2, AQZ_I32, C, "refs.codebook_scales", 0, 0),
	POKE("bad-row-scales-rows", SECTION, 4, 80 + 24, 8, 2, C, "refs.row_scales", 0, 0),
	POKE("bad-row-scales-dtype", SECTION, 3, 8, 2, AQZ_U32, C, "refs.row_scales", 0, 0),
	MAKE("bad-row-scales-twice", row_scales_twice, C, "refs.row_scales", 0, 0),
	MAKE("good-refs-unchanged", good_shared, AQZ_OK, "", 0, 0),
};
const size_t n_bad_records = sizeof bad_records / sizeof *bad_records;
