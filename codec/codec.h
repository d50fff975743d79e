/* SPDX-License-Identifier: Apache-2.0 */
/* The codec table: what the container knows of a codec. Each codec is a kernel (pure loops), a
 * binding (this table) and a page of the spec (section 7). A codec sees a matrix view and chunk
 * payloads; it knows nothing of files. */
#ifndef AQZ_CODEC_H
#define AQZ_CODEC_H

#include "base/base.h"

/* Rows of a tile and of a chunk's unit, spec 7.2.2. */
#define AQZ_TILE_ROWS 64
#define AQZ_TILE_GROUPS 32

/* How a chunk's payload is coded: a field of every chunk frame, spec 4.4. Which values are legal is
 * the codec's. */
enum {
	AQZ_CODING_STORED = 0,  /* lossless: the elements themselves */
	AQZ_CODING_ZSTD = 1,    /* lossless: one zstd frame */
	AQZ_CODING_PLANES = 2,  /* lossless: byte planes, each stored or one zstd frame, spec 7.1.2 */
	AQZ_CODING_T64 = 16,    /* additive: T64 tiles, spec 7.2.2 */
	AQZ_CODING_RANS = 17    /* trellis: indices by rANS, spec 7.3.3 */
};

/* Bytes of codec parameters in a section record; unused ones are zero. */
#define AQZ_CODEC_PARAMS_BYTES 8

/* A section's geometry, validated by check(): everything a codec needs to size and decode chunks. */
typedef struct aqz_view {
	aqz_scheme scheme;
	aqz_dtype dtype;     /* of decoded elements */
	uint64_t rows, cols; /* of decoded elements */
	uint32_t chunk_rows; /* code rows */
	const aqz_ref *refs;
	uint32_t n_refs;
} aqz_view;

/* One referenced parameter section, decoded. */
typedef struct aqz_param_view {
	aqz_kind kind;
	aqz_dtype dtype;
	uint64_t rows, cols;
	const void *data; /* rows * cols elements, 64-byte aligned */
} aqz_param_view;

typedef struct aqz_codec {
	aqz_codec_id id;
	const char *name;

	/* Reads / writes the parameters of a section record. CORRUPT for an impossible, UNSUPPORTED for
	 * a reserved value. */
	aqz_status (*params_read)(aqz_scheme *out, const uint8_t params[AQZ_CODEC_PARAMS_BYTES], aqz_error *err);
	void (*params_write)(uint8_t params[AQZ_CODEC_PARAMS_BYTES], const aqz_scheme *scheme);

	/* Checks dtype, shape and references (kinds, their row ranges in view->refs). params[i] holds
	 * the geometry of the i-th referenced section, refs in order and count sections each; data may
	 * be NULL here. */
	aqz_status (*check)(const aqz_view *view, const aqz_param_view *params, uint32_t n_params, aqz_error *err);

	/* The least and most bytes that the payload of a chunk of n_code_rows code rows can have, so
	 * that a length from a file is refused before anything is allocated for it. */
	void (*payload_bounds)(const aqz_view *view, uint64_t n_rows, uint64_t n_code_rows, uint16_t coding,
		uint64_t *min_bytes, uint64_t *max_bytes);
	bool (*coding_ok)(uint16_t coding);

	/* Bytes that decoder_create allocates. */
	uint64_t (*decoder_bytes)(const aqz_view *view);

	/* Makes a decoder from checked parameters; it copies what it keeps of them. Free with
	 * decoder_free. */
	aqz_status (*decoder_create)(void **out, const aqz_view *view, const aqz_param_view *params, uint32_t n_params,
		aqz_error *err);
	void (*decoder_free)(void *decoder);

	/* Bytes of scratch that decode needs for one chunk. */
	uint64_t (*scratch_bytes)(const aqz_view *view);

	/* Decodes the elements of rows [row_begin, row_end) out of the payload of the chunk whose first
	 * code row is chunk_row and which holds n_code_rows. dst: densely packed rows of elements.
	 * decoder is not changed: threads may share it, each with its own scratch. Any payload gives OK
	 * or CORRUPT and never reads or writes outside. */
	aqz_status (*decode)(const void *decoder, const aqz_view *view, uint64_t chunk_row, uint64_t n_code_rows,
		uint16_t coding, const uint8_t *payload, size_t payload_bytes, uint64_t row_begin, uint64_t row_end, void *dst,
		void *scratch, aqz_error *err);
} aqz_codec;

/* The codec of that number, or NULL. */
const aqz_codec *aqz_codec_find(uint32_t id);

extern const aqz_codec aqz_codec_lossless;
extern const aqz_codec aqz_codec_additive;
extern const aqz_codec aqz_codec_trellis;

/* ---- Lossless chunks, for the writer (codec/lossless_encode.c). */

/* Codes n_elements of dtype (n_bytes bytes) in the smallest of the forms that this effort tries;
 * never more than n_bytes. dst: n_bytes, 64-byte aligned. *coding and *dst_bytes are set. Same
 * input, same effort, same libzstd: same bytes. */
aqz_status aqz_lossless_encode(uint8_t *dst, size_t *dst_bytes, uint16_t *coding, const void *src, size_t n_bytes,
	aqz_dtype dtype, int effort, aqz_error *err);
/* Scratch that it allocates, at most. */
uint64_t aqz_lossless_encode_memory(uint64_t n_bytes, int effort);

/* ---- Trellis chunks, for the writer (codec/trellis_params.c, codec/trellis_stream.c). */

typedef struct aqz_trellis_params aqz_trellis_params;

/* Scheme and size of the matrix. */
void aqz_trellis_geometry(aqz_scheme *scheme, uint64_t *rows, uint64_t *cols, const aqz_trellis_params *p);
/* Writes the parameter section's bytes; the tables' frequencies are changed to what their coded form gives back, so
 * call it before coding. */
aqz_status aqz_trellis_params_write(aqz_buffer *out, aqz_trellis_params *p, aqz_error *err);
/* Codes the indices of rows [row_begin, row_end): index[col * ld + row - row_begin]. Appends the payload. */
aqz_status aqz_trellis_encode_rows(aqz_buffer *out, const aqz_trellis_params *p, const int32_t *index, size_t ld,
	uint64_t row_begin, uint64_t row_end, aqz_error *err);
/* Bytes that it allocates, at most, for so many rows. */
uint64_t aqz_trellis_encode_memory(uint64_t rows, uint64_t cols);

#endif
