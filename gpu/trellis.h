/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding chunks of the trellis codec on a device, spec 7.3.3: plain C. The CPU's twin is codec/trellis_decode.c. */
#ifndef AQZ_GPU_TRELLIS_H
#define AQZ_GPU_TRELLIS_H

#include <stdint.h>

typedef struct aqz_trellis_chunk {
	uint64_t payload;            /* offset in payloads, a multiple of 128 */
	uint32_t payload_bytes;
	uint32_t row_begin, row_end; /* of the matrix */
	uint32_t zero;
} aqz_trellis_chunk;

/* Pointers are to the device's memory. */
typedef struct aqz_trellis_job {
	const uint8_t *payloads;
	const aqz_trellis_chunk *chunks;
	const uint32_t *slots;         /* as aqz_trellis_tables has them: [n_tables][2][4096] */
	const float *column_step;      /* [cols] */
	const float *row_step;         /* [rows] */
	const int32_t *column_context; /* [cols]: 2 * size - step */
	const int32_t *row_context;    /* [rows]: 2 * size - step + bias */
	void *dst;                     /* [rows][cols] of dtype */
	uint32_t *failed;              /* the least number of a chunk that does not decode; UINT32_MAX before */
	uint32_t n_chunks, rows, cols;
	uint32_t dtype;                /* AQZ_F32, AQZ_F16 or AQZ_BF16 */
	uint32_t state_bits;           /* 0, 2..8 */
	uint32_t code[2];              /* aqz_trellis_codes of state_bits */
	uint32_t n_buckets;
	uint8_t bucket_table[64];
} aqz_trellis_job;

#endif
