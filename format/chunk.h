/* SPDX-License-Identifier: Apache-2.0 */
/* One chunk: from frame bytes to checked elements. Shared by cursor, verify, stream, writer and
 * salvage. */
#ifndef AQZ_FORMAT_CHUNK_H
#define AQZ_FORMAT_CHUNK_H

#include "format/catalog.h"

/* Decodes chunks of one section; holds the codec's decoder and its scratch memory, under a budget
 * of its own. */
typedef struct aqz_chunk_decoder {
	const aqz_section *section;
	aqz_view view;
	void *decoder;
	void *scratch;
	uint64_t decoder_bytes, scratch_bytes;
	aqz_budget *budget;
} aqz_chunk_decoder;

/* params: the decoded parameter sections that the section refers to, in order (see
 * aqz_codec.check). */
aqz_status aqz_chunk_decoder_open(aqz_chunk_decoder *d, const aqz_section *s, const aqz_param_view *params,
	uint32_t n_params, aqz_budget *budget, aqz_error *err);
void aqz_chunk_decoder_close(aqz_chunk_decoder *d);

/* Decodes rows [row_begin, row_end) of the section, all of them in this chunk, to dst. Errors name
 * the chunk. */
aqz_status aqz_chunk_decode(const aqz_chunk_decoder *d, const aqz_placed_frame *f, const uint8_t *payload,
	uint64_t row_begin, uint64_t row_end, void *dst, aqz_error *err);

/* Compares the hash of a chunk's decoded elements. */
aqz_status aqz_chunk_check_decoded(const aqz_placed_frame *f, const void *decoded, aqz_error *err);

/* Reads a frame whole (header, payload, padding: 64 + padded bytes, to buffer) and checks that its
 * header is the one that the catalog has, then the payload's hash and padding. */
aqz_status aqz_frame_fetch(uint8_t *buffer, const aqz_io *io, const aqz_catalog *c, const aqz_placed_frame *f,
	aqz_error *err);

/* The longest frame, header and padding included, that the chunks of a section have. */
uint64_t aqz_section_longest_frame(const aqz_catalog *c, const aqz_section *s);

#endif
