/* SPDX-License-Identifier: Apache-2.0 */
/* The index's own compression: stored or one zstd frame, spec 6.1. */
#ifndef AQZ_FORMAT_INFLATE_H
#define AQZ_FORMAT_INFLATE_H

#include "format/layout.h"

/* Decodes an index payload whose hash was checked; out: frame->decoded_bytes. Checks the decoded
 * hash. */
aqz_status aqz_index_inflate(uint8_t *out, const aqz_frame *frame, const uint8_t *payload, uint64_t offset,
	aqz_error *err);

/* Codes an index in the smaller of both forms, or stores that of a tiny file; out: n bytes of room;
 * offset: of the index frame. Sets coding and stored_bytes of *frame. */
aqz_status aqz_index_deflate(
	uint8_t *out, aqz_frame *frame, const uint8_t *index, size_t n, uint64_t offset, aqz_error *err);

#endif
