/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding a matrix by the trellis codec, in memory. */
#ifndef AQZ_CODEC_ENCODE_TRELLIS_LAYER_H
#define AQZ_CODEC_ENCODE_TRELLIS_LAYER_H

#include "codec/encode/trellis.h"

/* The usual price of a bit: of 0.1 to 0.8 the best at 2 bits, and within 1 % of the best at 1 bit and at 4. Without a
 * trellis a quarter of that, as its steps are twice as large. */
#define AQZ_TRELLIS_MU 0.4f

typedef struct aqz_trellis_options {
	unsigned state_bits;     /* 0, 2..8 */
	/* One of these three is above 0. */
	double c;                /* steps are c / (L_jj sqrt(g_i)) */
	double bytes;            /* c is found for so many of parameters and payloads together, as near as they come */
	double loss;             /* c is found for this tr(E H E^T) / tr(W H W^T), as near as it comes */
	const float *importance; /* [rows]: g_i, finite, >= 0; NULL: 1 */
	uint32_t chunk_rows;     /* 64 * 2^k */
	unsigned n_threads;      /* 0 = all processors; never changes the result */
	uint64_t memlimit_bytes; /* 0 = none */
	bool relative;           /* c is in units of sqrt(tr(W H W^T) / weights): it means the same for all matrices */
	float mu;                /* price of a bit, in squared c; < 0: the usual one */
	bool even_steps;         /* the same step for all columns, for comparison */
	double energy;           /* tr(W H W^T), which relative and loss need, if it is known; else 0 */
	aqz_progress_fn *progress; /* in columns of passes; may be NULL */
	void *progress_user;
} aqz_trellis_options;

/* What came out. */
typedef struct aqz_trellis_matrix {
	aqz_trellis_params params;
	int32_t *index;          /* [cols][rows] */
	double c;                /* that was used, in units as the options have them */
	double bytes;            /* of parameters and payloads, as the tables have it */
	double index_bytes;      /* of these, for the indices */
	double energy;           /* tr(W H W^T), if relative or loss needed it; else below 0 */
	double error;            /* tr(E H E^T) with the damping that H had for the feedback */
} aqz_trellis_matrix;

/* layer->hessian may be NULL: the identity. Free with aqz_trellis_matrix_free(). ARGUMENT, NOMEM, MEMLIMIT,
 * CANCELLED. */
aqz_status aqz_encode_trellis_matrix(aqz_trellis_matrix *out, const aqz_layer *layer, const aqz_trellis_options *opt,
	aqz_error *err);
void aqz_trellis_matrix_free(aqz_trellis_matrix *m);
/* Bytes of a matrix of more rows, of which those of m are an even part. */
double aqz_trellis_whole_bytes(const aqz_trellis_matrix *m, uint64_t rows, uint32_t chunk_rows);
/* Bytes of memory that it needs beside the layer, as an upper bound; of the Hessian only counts whether it is
 * there. */
uint64_t aqz_encode_trellis_memory(const aqz_layer *layer, const aqz_trellis_options *opt);

/* Rows [row_begin, row_end) as the decoder has them in binary32, [row_end - row_begin][cols]. index: [cols][rows],
 * paths begun anew at every multiple of chunk_rows, of which row_begin is one. */
void aqz_trellis_dequantize(float *dst, const aqz_trellis_params *p, const int32_t *index, uint64_t chunk_rows,
	uint64_t row_begin, uint64_t row_end);

#endif
