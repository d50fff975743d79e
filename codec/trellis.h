/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the trellis codec, spec 7.3: entropy-coded trellis quantization.
 *
 * Each column of a chunk's rows is one path through a trellis of 2^state_bits states (Ungerboeck 1982; Marcellin and
 * Fischer 1990). A state's lowest bit t chooses between two quantizers; the index k chosen there gives the integer
 *
 *	v = 2k + t         (one state: v = k)
 *
 * and the next state from k's parity. The element is v times the step of its row and column,
 *
 *	step[i][j] = base * 2^(column_step[j] / 8) * 2^(row_step[i] / 8)
 *
 * and its index is coded by rANS with a table that follows from t and from the size to be expected, an integer:
 *
 *	bucket = clamp((2 * column_size[j] - column_step[j] + 2 * row_size[i] - row_step[i] + bias) >> 2, 0, n_buckets - 1)
 */
#ifndef AQZ_CODEC_TRELLIS_H
#define AQZ_CODEC_TRELLIS_H

#include "codec/codec.h"

#define AQZ_TRELLIS_MAX_STATE_BITS 8
#define AQZ_TRELLIS_LANES 32          /* columns that are decoded together */
#define AQZ_TRELLIS_MAX_BUCKETS 64
#define AQZ_TRELLIS_MAX_TABLES 32     /* pairs: one table for each t */
#define AQZ_TRELLIS_MAX_MAGNITUDE 126 /* of an index that is no escape: all are above -128 */
#define AQZ_TRELLIS_MAX_INDEX ((1 << 22) - 1) /* |k|: v is exact in binary32 */
#define AQZ_RANS_BITS 12              /* frequencies of a table sum to 2^12 */
#define AQZ_RANS_LEAST (UINT32_C(1) << 16) /* of a coder's state */
#define AQZ_TRELLIS_ESCAPE (-128)     /* stands in slots for an index that has none */

/* Half of a table: the frequencies of k = m and of its mirror (-m; for t = 1, -m - 1) are the same. */
typedef struct aqz_trellis_table {
	uint8_t n_magnitudes;                              /* m = 0 .. n_magnitudes - 1 */
	uint16_t frequency[AQZ_TRELLIS_MAX_MAGNITUDE + 1]; /* of each of the two */
	uint16_t escape;                                   /* what is left of 2^12; 0 = there are no escapes */
} aqz_trellis_table;

/* The scheme that stands for state_bits in a section. */
static inline aqz_scheme aqz_trellis_scheme(unsigned state_bits)
{
	return (aqz_scheme){.codec = AQZ_CODEC_TRELLIS, .code_bits = (uint8_t)state_bits, .in_group = 1, .out_group = 1};
}

/* Pairs of tables that a matrix may have: making them may not cost more than what it decodes to pays for. */
static inline unsigned aqz_trellis_max_tables(uint64_t rows, uint64_t cols)
{
	return rows < 1 << 16 && cols < 1 << 16 ? (unsigned)aqz_min(AQZ_TRELLIS_MAX_TABLES, 1 + rows * cols / 256)
											: AQZ_TRELLIS_MAX_TABLES;
}

/* What all chunks of a matrix share: the content of its parameter section. */
struct aqz_trellis_params {
	uint64_t rows, cols;
	uint8_t state_bits;    /* 0, 2..8 */
	bool has_row_steps;
	float base;            /* 2^-90 .. 2^60 */
	int16_t bias;
	uint8_t n_buckets, n_tables; /* n_tables: at most n_buckets and aqz_trellis_max_tables() */
	uint8_t bucket_table[AQZ_TRELLIS_MAX_BUCKETS]; /* rising, by 1 at most */
	aqz_trellis_table tables[AQZ_TRELLIS_MAX_TABLES][2];
	int8_t *column_step, *column_size;  /* [cols]: 1/8 and 1/4 octaves */
	int8_t *row_step, *row_size;        /* [rows]: 1/8 and 1/4 octaves; row_step is 0 without has_row_steps */
};

static inline int aqz_trellis_bucket(const aqz_trellis_params *p, uint64_t row, uint64_t col)
{
	const int column = 2 * p->column_size[col] - p->column_step[col];
	const int s = (column + 2 * p->row_size[row] - p->row_step[row] + p->bias) >> 2;

	return s < 0 ? 0 : s >= p->n_buckets ? p->n_buckets - 1 : s;
}

static inline int32_t aqz_trellis_value(const aqz_trellis_params *p, unsigned t, int32_t k)
{
	return p->state_bits == 0 ? k : 2 * k + (int32_t)t;
}

/* The place of k in a table that holds an index and its mirror as one: k = m has it at -m, but for t = 1, where m = 0
 * has one, too, at -m - 1. */
static inline unsigned aqz_trellis_magnitude(unsigned t, int32_t k)
{
	return (unsigned)(k < 0 ? -k - (int32_t)t : k);
}

/* Ungerboeck's codes (1982), by state bits: h0 and h1, shifted by one, which are what a state's lowest bit and an odd
 * index do to the next state. No code has 2 states. With n states h0 is at least n / 2 and h1 below it, so that the
 * upper half of states follows on those of t = 1. */
static const uint8_t aqz_trellis_codes[AQZ_TRELLIS_MAX_STATE_BITS + 1][2] = {{0, 0}, {0, 0}, {05 >> 1, 02 >> 1},
	{013 >> 1, 04 >> 1}, {023 >> 1, 04 >> 1}, {045 >> 1, 010 >> 1}, {0103 >> 1, 024 >> 1}, {0235 >> 1, 0126 >> 1},
	{0515 >> 1, 0362 >> 1}};

/* The next state after an index of parity odd. */
static inline unsigned aqz_trellis_next(unsigned state_bits, unsigned state, unsigned odd)
{
	const uint8_t *code = aqz_trellis_codes[state_bits];

	return state >> 1 ^ (state & 1 ? code[0] : 0u) ^ (odd & 1 ? code[1] : 0u);
}

/* 2^(e / 8) in binary32, correctly rounded. */
float aqz_eighth_octave(int e);
/* base * 2^(column_step / 8), as the decoder rounds it. */
float aqz_trellis_column_step(const aqz_trellis_params *p, uint64_t col);

/* ---- Parameters as bytes (trellis_params.c), spec 7.3.2 */

/* aqz_trellis_params_write is in codec.h. */
/* Reads them; state_bits, rows and cols are set already. Allocates the arrays. CORRUPT for anything that
 * the writer does not make. */
aqz_status aqz_trellis_params_read(aqz_trellis_params *p, const uint8_t *bytes, size_t n, aqz_error *err);
void aqz_trellis_params_free(aqz_trellis_params *p);
/* Bits of what there is for each row. */
uint64_t aqz_trellis_row_bits(const aqz_trellis_params *p);

/* ---- A chunk's stream (trellis_stream.c), spec 7.3.3 */

/* Where an index's slots in its table for t begin, and how many they are; 0 if it is an escape. */
unsigned aqz_trellis_slot(unsigned *frequency, const aqz_trellis_table *table, unsigned t, int32_t k);

/* What the decoding kernel needs, made once for a matrix. */
typedef struct aqz_trellis_tables {
	const aqz_trellis_params *params;
	/* [n_tables][2][4096]: bits 0..11 slot - start, 12..23 frequency - 1, 24..31 index (-128 = escape) */
	uint32_t *slots;
	float *column_step;   /* [cols] */
	float *row_step;      /* [rows] */
	int16_t *column_context; /* [cols]: 2 * size - step */
	aqz_dtype dtype;
} aqz_trellis_tables;

/* Fills *t, and allocates what it holds; params must live as long. NOMEM is its only error. */
aqz_status aqz_trellis_tables_make(aqz_trellis_tables *t, const aqz_trellis_params *params, aqz_dtype dtype,
	aqz_error *err);
void aqz_trellis_tables_free(aqz_trellis_tables *t);
/* The most that it allocates. */
uint64_t aqz_trellis_tables_bytes(uint64_t rows, uint64_t cols);

/* Decodes rows [row_begin, row_end) of a chunk that begins at chunk_row and ends at chunk_end; writes those of
 * [write_begin, write_end) to dst, densely packed. False if the payload is not what an encoder makes. Variants give
 * the same. */
typedef bool aqz_trellis_decode_fn(void *dst, const aqz_trellis_tables *t, const uint8_t *payload, size_t payload_bytes,
	uint64_t chunk_row, uint64_t chunk_end, uint64_t write_begin, uint64_t write_end);
aqz_trellis_decode_fn aqz_trellis_decode_scalar;
#if defined(__x86_64__)
aqz_trellis_decode_fn aqz_trellis_decode_avx2, aqz_trellis_decode_avx512;
#endif
/* Variant i of those that this machine runs, the plainest first, or NULL after the last. */
aqz_trellis_decode_fn *aqz_trellis_decode_get(unsigned i);
/* The best of them. */
aqz_trellis_decode_fn *aqz_trellis_decode_choose(void);

#endif
