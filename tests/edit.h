/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a sound container apart, lets a test change any piece, and puts it together again with
 * right hashes, lengths and index, so that only the change is wrong. */
#ifndef AQZ_TESTS_EDIT_H
#define AQZ_TESTS_EDIT_H

#include "base/base.h"
#include "tests/reseal.h"

typedef struct edit_frame {
	uint8_t header[64];
	uint8_t *payload; /* padded */
	size_t stored;    /* put() writes it to the header, and to decoded bytes if the coding is 0 */
	bool sizes_stay;  /* put() leaves both lengths of the header */
} edit_frame;

typedef struct edit {
	uint8_t super[128];
	edit_frame frames[64]; /* before the index */
	uint32_t n_frames;
	memory_file digests;   /* 16 bytes for each section */
	memory_file extra;     /* frames between index and footer */
	memory_file out;       /* the file */
	size_t index_at, footer_at; /* in out */
} edit;

void edit_open(edit *e, const memory_file *sound);
/* The same for any bytes: false, and nothing to close, if their frames cannot be followed to an index. */
bool edit_try(edit *e, const uint8_t *data, size_t n);
void edit_close(edit *e);
/* Makes out: frames, an index of them (stored), extra, footer, with right hashes. Records of the
 * wrong form are counted as far as they lead. */
void edit_put(edit *e);
/* Hashes of out after changes to its bytes. */
void edit_reseal(edit *e, reseal_depth depth);

/* Pieces of out after edit_put: header of the index frame, its payload, header of the footer, its
 * payload. */
uint8_t *out_index_header(edit *e);
uint8_t *out_index(edit *e);
uint8_t *out_footer_header(edit *e);
uint8_t *out_footer(edit *e);
/* Header of frame i of out. */
uint8_t *out_frame(edit *e, uint32_t i);

/* The body of a record, to be changed in place before edit_put; dies when a frame is resized. */
uint8_t *section_body(edit *e, uint32_t number);
uint8_t *tensor_body(edit *e, uint32_t number);
/* Replaces old_n bytes at `at` of a body by new_n zero bytes, adjusts the record's length, and
 * returns the body. */
uint8_t *resize_body(edit *e, uint8_t *body, size_t at, size_t old_n, size_t new_n);
/* Where the record with this body begins: its type, flags and length. */
uint8_t *record_of(uint8_t *body);

edit_frame *chunk_frame(edit *e, uint32_t section, uint32_t chunk);
/* The records frame that a section's / tensor's record stands in. */
edit_frame *frame_of(edit *e, const uint8_t *body);
/* Puts a frame before frame `at`; payload of n bytes, zeros if NULL. */
edit_frame *insert_frame(edit *e, uint32_t at, const char type[5], uint32_t section, uint32_t chunk,
	const void *payload, size_t n);
void remove_frame(edit *e, edit_frame *f);
void resize_payload(edit_frame *f, size_t at, size_t old_n, size_t new_n);
/* Appends a frame to extra; its payload is n zeros. */
uint8_t *add_extra(edit *e, const char type[5], uint16_t flags, size_t n);

#endif
