/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's inside, for writer.c, writer_held.c, writer_chunks.c and salvage.c. */
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

/* A chunk that is ready, but whose section's records are not written yet; under the budget. */
typedef struct aqz_held {
	struct aqz_held *next;
	uint64_t block_bytes;
	aqz_frame frame;
	_Alignas(64) uint8_t payload[]; /* padded */
} aqz_held;

struct aqz_writer {
	aqz_io io;
	aqz_writer_options opt;
	aqz_catalog catalog;  /* has what is declared, its records written or not */
	aqz_params params;    /* of sections declared so far, written or not */
	aqz_buffer records;   /* declared, but not written yet */
	aqz_held *held, **held_end; /* chunks of what these records declare, but for parameters */
	uint64_t held_bytes;  /* room for these chunks, at most, and for those of parameters */
	uint64_t hold_bytes;  /* the most that they and the records may take */
	bool holding;         /* chunks of current become held ones */
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

/* ---- writer.c */

/* Remembers the first failure: after it the file cannot be continued. Turns CORRUPT and UNSUPPORTED, which the catalog
 * says of what no file may hold, into ARGUMENT. */
aqz_status aqz_writer_keep(aqz_writer *w, aqz_status status, aqz_error *err);
/* The largest chunk of 64 * 2^k code rows within the target, and no larger than the section needs. */
uint32_t aqz_writer_chunk_rows(const aqz_writer *w, const aqz_section_info *s);
/* aqz_writer_tensor, for any codec. rows, cols: what the view must be, or 0. chunk_rows: 64 * 2^k, or 0 for the
 * writer's choice. */
aqz_status aqz_writer_open_tensor(aqz_writer *w, uint32_t *section, const aqz_tensor_desc *tensor, uint64_t rows,
	uint64_t cols, uint32_t chunk_rows, aqz_error *err);

/* ---- writer_trellis.c */

/* Writes a trellis tensor: its parameters (whose frequencies become those that a reader will have) and its chunks.
 * index: [cols][rows], its paths begun anew at every multiple of chunk_rows (64 * 2^k). tensor's scheme and references
 * are not looked at; its view must be params->rows by params->cols. */
aqz_status aqz_writer_trellis(aqz_writer *w, const aqz_tensor_desc *tensor, aqz_trellis_params *params,
	const int32_t *index, uint32_t chunk_rows, aqz_error *err);
/* The chunk rows that this writer would choose. */
uint32_t aqz_writer_trellis_rows(const aqz_writer *w, uint64_t rows, uint64_t cols, aqz_dtype dtype);

/* ---- writer_held.c */

/* The most that may be held under a limit of memory. */
uint64_t aqz_writer_hold_bytes(uint64_t memlimit_bytes);
/* Declare a section or tensor, and set info->number. The tensors of a section follow it at once. */
aqz_status aqz_writer_declare(aqz_writer *w, aqz_section_info *info, aqz_error *err);
aqz_status aqz_writer_declare_tensor(aqz_writer *w, aqz_tensor_info *info, aqz_error *err);
/* Says that the data of a section, the one that was declared last, come now: its chunks are held, or
 * the records are written. */
aqz_status aqz_writer_begin(aqz_writer *w, uint32_t section, aqz_error *err);
/* Takes a chunk of the current section that is ready. */
aqz_status aqz_writer_hold(aqz_writer *w, const aqz_frame *f, const uint8_t *payload, aqz_error *err);
/* Writes the declared records in one frame, and the chunks of all sections that they declare and
 * whose data are here. */
aqz_status aqz_writer_flush(aqz_writer *w, aqz_error *err);
void aqz_writer_free_held(aqz_writer *w);

/* ---- writer_chunks.c */

/* Writes a frame and hashes its payload; payload has room for its padding, which is zeroed here.
 * Padding frame included. */
aqz_status aqz_writer_frame(aqz_writer *w, aqz_frame *f, uint8_t *payload, aqz_error *err);
/* Takes n bytes of the current section; encodes what is full, and writes or holds it. */
aqz_status aqz_writer_feed(aqz_writer *w, const uint8_t *data, size_t n, aqz_error *err);
/* Makes section the current one. */
aqz_status aqz_writer_start(aqz_writer *w, uint32_t section, aqz_error *err);
/* Bytes of a section as the caller puts them: elements, or codes. */
uint64_t aqz_writer_due_bytes(const aqz_section *s);
/* The last chunk of the current section is written or held. */
void aqz_writer_end_section(aqz_writer *w);
void aqz_writer_free_batch(aqz_writer *w);

/* ---- For salvage: the next chunk of what was declared, stored as it was; payload has room for its
 * padding. Declared records are written first. */
aqz_status aqz_writer_copy(aqz_writer *w, const aqz_frame *f, uint8_t *payload, const void *decoded, aqz_error *err);

#endif
