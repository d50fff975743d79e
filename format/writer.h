/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's inside, for writer.c, writer_chunks.c and salvage.c. */
#ifndef AQZ_FORMAT_WRITER_H
#define AQZ_FORMAT_WRITER_H

#include "format/params.h"

/* A chunk on its way: input (elements, or codes that are the payload already), output, and its
 * frame. */
typedef struct aqz_outgoing {
	uint8_t *in, *out;
	uint64_t in_bytes, in_capacity, out_capacity;
	aqz_frame frame;
	aqz_status status;
	aqz_error error;
} aqz_outgoing;

struct aqz_writer {
	aqz_io io;
	aqz_writer_options opt;
	aqz_catalog catalog;
	aqz_params params;    /* of sections declared so far, written or not */
	aqz_buffer records;   /* declared, but not written yet */
	uint32_t next_section, next_tensor; /* numbers; records included */
	aqz_names contents;   /* param_keys by content, for equal parameters */
	struct aqz_param_key {
		uint64_t content[2], rows, cols;
		uint32_t kind, dtype;
	} *keys;              /* of section number i; zero for others */
	uint32_t keys_capacity;
	aqz_section *current; /* whose data are awaited, or NULL */
	uint64_t put_bytes;   /* of current so far */
	uint64_t due_bytes;   /* of current in all, as the caller puts them */
	aqz_digest *digest;   /* of current, if it is no tensor's */
	aqz_outgoing *batch;  /* opt.n_threads chunks */
	uint32_t n_batch;     /* of them full */
	uint32_t chunks_put;  /* of current, in the batch or written */
	aqz_status failed;
};

/* Writes the declared records, and the chunks of the parameters among them. */
aqz_status aqz_writer_flush(aqz_writer *w, aqz_error *err);
/* Writes a frame and hashes its payload; payload has room for its padding, which is zeroed here.
 * Padding frame included. */
aqz_status aqz_writer_frame(aqz_writer *w, aqz_frame *f, uint8_t *payload, aqz_error *err);
/* Takes n bytes of the current section; encodes and writes what is full. */
aqz_status aqz_writer_feed(aqz_writer *w, const uint8_t *data, size_t n, aqz_error *err);
/* Makes section the current one. due_bytes is set. */
aqz_status aqz_writer_start(aqz_writer *w, uint32_t section, aqz_error *err);
/* Bytes of chunk i of a section as the caller puts them: elements, or codes. */
uint64_t aqz_writer_chunk_in_bytes(const aqz_section *s, uint32_t chunk);
void aqz_writer_free_batch(aqz_writer *w);

/* ---- For salvage: a section as it was, with new numbers. info->number is set. Its chunks follow
 * by aqz_writer_copy. */
aqz_status aqz_writer_declare(aqz_writer *w, aqz_section_info *info, aqz_error *err);
aqz_status aqz_writer_declare_tensor(aqz_writer *w, aqz_tensor_info *info, aqz_error *err);
/* The next chunk, stored as it was; payload has room for its padding. Declared records are written
 * first. */
aqz_status aqz_writer_copy(aqz_writer *w, const aqz_frame *f, uint8_t *payload, const void *decoded, aqz_error *err);

#endif
