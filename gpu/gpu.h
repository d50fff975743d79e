/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the GPU API, above the seam of gpu/backend.h: devices in use, matrices, and how they are made. C11. */
#ifndef AQZ_GPU_GPU_H
#define AQZ_GPU_GPU_H

#include <stdatomic.h>

#include "codec/additive.h"
#include "format/reader.h"
#include "gpu/backend.h"
#include "gpu/product.h"

struct aqz_gpu {
	unsigned device;
	aqz_gpu_info info;
	aqz_gpu_limits limits;
	aqz_gpu_stream stream;   /* of uploads */
	void *pinned[2];         /* by turns: one is filled and hashed while the other is sent */
	uint64_t pinned_bytes;   /* of each */
	aqz_gpu_event sent[2];   /* the device has read the buffer */
	unsigned turn;
	aqz_gpu_blas *blas;      /* or NULL */
	uint64_t memlimit_bytes; /* 0 = none */
	atomic_uint_fast64_t used_bytes;
};

/* Memory of the device within the limit. The thread's device is the gpu's. */
aqz_status aqz_gpu_take(void **out, aqz_gpu *gpu, uint64_t n_bytes, const char *what, aqz_error *err);
void aqz_gpu_give_back(aqz_gpu *gpu, void *p, uint64_t n_bytes);

/* ---- Sending (send.c): all in order on the gpu's stream */

#define AQZ_GPU_LEAST_PINNED (UINT64_C(1) << 20)

/* Makes the buffers at least so large. */
aqz_status aqz_gpu_pinned(aqz_gpu *gpu, uint64_t n_bytes, aqz_error *err);
/* The next buffer, when the device has read what was in it. */
aqz_status aqz_gpu_turn(void **buffer, aqz_gpu *gpu, aqz_error *err);
/* Sends n_bytes that begin within the buffer that aqz_gpu_turn gave last. */
aqz_status aqz_gpu_send_turn(aqz_gpu *gpu, void *dst, const void *src, uint64_t n_bytes, aqz_error *err);
/* Sends bytes from anywhere, piece by piece. */
aqz_status aqz_gpu_send(aqz_gpu *gpu, void *dst, const void *src, uint64_t n_bytes, aqz_error *err);

/* ---- Designs (design.c): where everything of a matrix is going to be; needs no device */

/* Rows with the same codewords. */
typedef struct aqz_gpu_part {
	aqz_gpu_layout layout; /* offsets are from the matrix's base */
	uint64_t row_begin, row_end;
	uint32_t table;
	bool finite;           /* its codewords and all scales are finite; filled in by the upload */
	bool plain;            /* and no sum of codewords can overflow: no element is a NaN */
} aqz_gpu_part;

/* Codewords of one or more parts, and the sections that they are read from. */
typedef struct aqz_gpu_table {
	uint32_t first, count, scales; /* scales: UINT32_MAX but for I8 */
	aqz_dtype dtype;
	uint64_t offset;
	bool finite;
	double largest;                /* the sum over codebooks of the largest magnitudes */
} aqz_gpu_table;

typedef struct aqz_gpu_design {
	aqz_scheme scheme;
	uint64_t rows, cols;
	aqz_gpu_layout whole;          /* of all rows; its words are nobody's */
	aqz_gpu_part *parts;
	uint32_t n_parts;
	aqz_gpu_table *tables;
	uint32_t n_tables;
	uint64_t total_bytes;
	uint64_t lines_bytes;          /* of the longest piece of T64 that is sent at once */
	uint64_t pinned_bytes;         /* that each of the two buffers needs */
	uint64_t host_bytes;
} aqz_gpu_design;

#define AQZ_GPU_MAX_SECTIONS 64
/* Of a matrix in memory this much of T64 is sent at once, or a row block if that is more. */
#define AQZ_GPU_PIECE_BYTES (UINT64_C(4) << 20)

/* Free with aqz_gpu_design_free(), also after a failure. */
aqz_status aqz_gpu_design_sections(aqz_gpu_design *d, const aqz_reader *reader, const uint32_t *sections,
	uint32_t n_sections, bool has_bias, aqz_error *err);
aqz_status aqz_gpu_design_additive(aqz_gpu_design *d, const aqz_additive *a, bool has_bias, aqz_error *err);
void aqz_gpu_design_free(aqz_gpu_design *d);

/* What a trellis section takes (archive.c). */
aqz_status aqz_gpu_plan_archive(aqz_gpu_plan *out, const aqz_reader *reader, const aqz_section *s, aqz_error *err);

/* ---- Codewords (words.c) */

/* The form that words of a layout have, from [M][2^B][O][G] in dtype; scales of I8. dst: words_bytes of the layout.
 * Fills in what *t says of the values. */
void aqz_gpu_words(void *dst, aqz_gpu_table *t, const aqz_gpu_layout *l, const void *codebooks, const float *scales);

struct aqz_gpu_matrix {
	aqz_gpu *gpu;
	uint8_t *base;
	aqz_gpu_design design;
};

#endif
