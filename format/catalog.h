/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog: what the frames seen so far declare, and which frame may come next (spec 2.2
 * grammar, 5 records). One state machine serves the reader (fed from the index), the stream (fed
 * from the frames), the writer (fed from what it is about to write) and salvage, so that they
 * cannot disagree about what a valid file is. */
#ifndef AQZ_FORMAT_CATALOG_H
#define AQZ_FORMAT_CATALOG_H

#include "codec/codec.h"
#include "format/layout.h"

typedef struct aqz_section {
	aqz_section_info info;
	const aqz_codec *codec;
	uint64_t code_rows;      /* ceil(rows / O) */
	uint32_t first_chunk;    /* in catalog.chunks */
	uint32_t n_users;        /* tensors of a TENSOR section, referring sections of a parameter */
	uint32_t records_bytes;  /* of its own record and of the records of its tensors */
	bool content_known;
	size_t block_bytes;
	aqz_ref refs[];          /* the name follows the references */
} aqz_section;

typedef struct aqz_tensor {
	aqz_tensor_info info;
	size_t block_bytes;
	char name[];
} aqz_tensor;

/* A frame of the file, as the index has it, with its place. */
typedef struct aqz_placed_frame {
	aqz_frame frame;
	uint64_t offset; /* of the frame header */
} aqz_placed_frame;

/* Names seen so far: open addressing over tensor or section numbers. */
typedef struct aqz_names {
	uint32_t *slots; /* number + 1; 0 = free */
	uint32_t n, capacity;
} aqz_names;

typedef struct aqz_catalog {
	aqz_superblock superblock;
	aqz_budget budget;
	aqz_placed_frame *frames;
	uint32_t n_frames, frames_capacity;
	uint32_t *chunks; /* number of the frame that holds each chunk */
	uint32_t n_chunks, chunks_capacity;
	aqz_section **sections;
	uint32_t n_sections, sections_capacity;
	aqz_tensor **tensors;
	uint32_t n_tensors, tensors_capacity;
	aqz_names tensor_names, file_names, metadata_names;
	uint8_t *records; /* all records payloads, for the index */
	uint64_t records_bytes, records_capacity;
	uint64_t offset;  /* where the next frame header is */
	uint32_t section_next, chunk_next; /* the chunk that must come next; section_next = framed_sections: none */
	/* What the records frames hold: all, but for what a writer has declared ahead of its frame. */
	uint32_t framed_sections, framed_tensors;
	uint64_t framed_bytes;
	bool padded;      /* the last frame was padding: a chunk must follow */
	bool records_due; /* the last frame was a records frame whose payload has not been given */
} aqz_catalog;

/* Starts at the first frame, offset 128. */
void aqz_catalog_init(aqz_catalog *c, const aqz_superblock *superblock, uint64_t memlimit_bytes);
void aqz_catalog_free(aqz_catalog *c);

/* The section and chunk numbers that the next frame of this type must carry. */
void aqz_catalog_expected(const aqz_catalog *c, uint32_t type, uint32_t *section, uint32_t *chunk);

/* Takes the next frame (not index or footer): checks type, numbers, coding, sizes, alignment and
 * order; moves on. */
aqz_status aqz_catalog_frame(aqz_catalog *c, const aqz_frame *f, aqz_error *err);

/* Takes the payload of the records frame that was given last. */
aqz_status aqz_catalog_records(aqz_catalog *c, const uint8_t *payload, uint64_t n, aqz_error *err);

/* For a writer: takes records whose frame is still to come, so that what no file may hold is refused when it is asked
 * for, and names and numbers are known. */
aqz_status aqz_catalog_declare(aqz_catalog *c, const uint8_t *records, uint64_t n, aqz_error *err);
/* The records frame that was given last holds all that was declared. */
aqz_status aqz_catalog_framed(aqz_catalog *c, aqz_error *err);

/* The index may come now: no chunk is missing. */
aqz_status aqz_catalog_complete(const aqz_catalog *c, aqz_error *err);

/* Rows [begin, end) of elements that chunk i of a section holds, and its code rows. */
void aqz_section_chunk_rows(const aqz_section *s, uint32_t chunk, uint64_t *row_begin, uint64_t *row_end,
	uint64_t *n_code_rows);
/* Decoded bytes of rows [begin, end); false if they are no whole bytes. */
bool aqz_section_rows_bytes(const aqz_section *s, uint64_t row_begin, uint64_t row_end, uint64_t *n_bytes);
/* The codec's view of a section. */
aqz_view aqz_section_view(const aqz_section *s);
/* The tensor of that name, or NULL. */
const aqz_tensor *aqz_catalog_find(const aqz_catalog *c, const char *name, size_t n);

/* ---- names.c: a set of names; add gives CORRUPT for a name that is there already. */
typedef bool aqz_names_equal_fn(const void *owner, uint32_t number, const char *name, size_t n);
bool aqz_names_find(const aqz_names *names, aqz_names_equal_fn *equal, const void *owner, const char *name, size_t n,
	uint32_t *number);
/* hash_of gives the name of a number again, for growing. */
typedef void aqz_names_get_fn(const void *owner, uint32_t number, const char **name, size_t *n);
aqz_status aqz_names_add(aqz_names *names, aqz_budget *budget, aqz_names_get_fn *get, const void *owner,
	uint32_t number, aqz_error *err);
void aqz_names_free(aqz_names *names, aqz_budget *budget);

/* ---- records.c: bodies of records <-> structs. offset: of the body in the file, for errors. */

/* Parses a section body; *out is one block under the budget. Checks everything but other sections. */
aqz_status aqz_section_parse(aqz_section **out, aqz_budget *budget, const uint8_t *body, uint32_t n, uint64_t offset,
	aqz_error *err);
aqz_status aqz_tensor_parse(aqz_tensor **out, aqz_budget *budget, const uint8_t *body, uint32_t n, uint64_t offset,
	aqz_error *err);
/* Appends a record (header and body). */
aqz_status aqz_section_append(aqz_buffer *out, const aqz_section_info *s, aqz_error *err);
aqz_status aqz_tensor_append(aqz_buffer *out, const aqz_tensor_info *t, aqz_error *err);
/* True if the n bytes are a base name that may be restored, spec 5.2.4. */
bool aqz_file_name_ok(const char *name, size_t n);
/* Checks that a tensor's shape, leading and transposed give rows x cols, spec 5.3.2. */
bool aqz_view_matches(const aqz_tensor_info *t, uint64_t rows, uint64_t cols);

/* ---- index.c: the index's decoded payload, spec 6.1. */

/* Bytes of the index payload that the catalog will have. */
uint64_t aqz_index_bytes(const aqz_catalog *c);
/* Sections without chunks have a digest too, that of no bytes: sets it, before the index is written or compared. */
aqz_status aqz_digest_empty_sections(aqz_catalog *c, aqz_error *err);
/* Writes it; out: aqz_index_bytes(). */
void aqz_index_write(uint8_t *out, const aqz_catalog *c);
/* Feeds a decoded index payload to an empty catalog. offset: of the index frame, which the frames
 * must reach exactly. */
aqz_status aqz_index_read(aqz_catalog *c, const uint8_t *payload, uint64_t n, uint64_t index_offset, aqz_error *err);
/* The reserved field of a decoded payload, of at least 32 bytes: UNSUPPORTED if it is not zero. */
aqz_status aqz_index_check_reserved(const uint8_t *payload, uint64_t index_offset, aqz_error *err);
/* Root: XXH3-128 over superblock and index, spec 8.3. */
aqz_status aqz_root(uint64_t root[2], const aqz_superblock *superblock, const uint8_t *index, uint64_t n,
	aqz_error *err);

#endif
