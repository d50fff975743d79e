/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a broken container: sections, tensors and the frames that hold their chunks, each
 * known or not. Unlike the catalog this takes any order and any gaps, spec 2.4. */
#ifndef AQZ_FORMAT_SALVAGE_H
#define AQZ_FORMAT_SALVAGE_H

#include "format/chunk.h"

typedef struct aqz_wreck_section {
	aqz_section *section;  /* NULL: its record was not found */
	uint64_t *found;       /* chunk << 32 | its place in wreck.frames, ascending; the intact ones first once tried */
	uint32_t n_found;      /* a chunk may be there twice */
	uint32_t intact;       /* chunks that decode to what they were: if whole, found[i] is chunk i */
	bool whole;            /* all of them, and the parameters too */
	bool needed;           /* a parameter of a tensor that is kept */
	uint32_t written_as;   /* new number, or UINT32_MAX */
	char why[96];
} aqz_wreck_section;

typedef struct aqz_wreck {
	aqz_io io;
	uint64_t n_bytes;
	aqz_superblock superblock;
	aqz_budget budget;
	aqz_placed_frame *frames; /* every frame found, in file order */
	uint32_t n_frames, frames_capacity;
	aqz_wreck_section *sections; /* by number */
	uint32_t n_sections, sections_capacity;
	aqz_tensor **tensors;     /* found, in the order of their numbers */
	uint32_t n_tensors, tensors_capacity;
	aqz_progress_fn *progress;
	void *progress_user;
} aqz_wreck;

/* Finds superblock, frames and records. FORMAT if the file has neither a superblock nor a footer to
 * take the id from. */
aqz_status aqz_wreck_open(aqz_wreck *w, const aqz_io *io, uint64_t memlimit_bytes, aqz_error *err);
void aqz_wreck_close(aqz_wreck *w);

/* A chunk's payload and padding as they stand in the file, and its elements, under the decoder's budget. */
typedef struct aqz_wreck_piece {
	void *payload, *decoded;
	uint64_t payload_bytes, decoded_bytes; /* of the room */
} aqz_wreck_piece;

/* Reads and decodes the chunk of found[i] of the decoder's section. Nothing is held on failure. */
aqz_status aqz_wreck_chunk(const aqz_wreck *w, const aqz_chunk_decoder *d, uint64_t found, aqz_wreck_piece *piece,
	aqz_error *err);
void aqz_wreck_drop(const aqz_chunk_decoder *d, aqz_wreck_piece *piece);

/* Opens a decoder for a section, its parameters read from the wreck. */
aqz_status aqz_wreck_decoder(const aqz_wreck *w, aqz_chunk_decoder *d, const aqz_section *s, aqz_budget *budget,
	aqz_error *err);

/* Room for item n of an array under the wreck's budget, zeroed. */
aqz_status aqz_wreck_grow(aqz_wreck *w, void *array, uint32_t n, uint32_t *capacity, size_t item_bytes, aqz_error *err);

#endif
