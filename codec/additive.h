/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the additive codec, spec 7.2: T64 lines, decoding tables, the tile kernel. */
#ifndef AQZ_CODEC_ADDITIVE_H
#define AQZ_CODEC_ADDITIVE_H

#include "codec/codec.h"

#define AQZ_MAX_CODEBOOKS 8
#define AQZ_MAX_CODEWORD 64 /* values: in_group * out_group */

/* True if an additive scheme's numbers are all in range. */
bool aqz_scheme_possible(const aqz_scheme *s);

/* Values of a codeword. */
static inline unsigned aqz_codeword(const aqz_scheme *s)
{
	return (unsigned)s->in_group * s->out_group;
}

/* Codewords of all codebooks. */
static inline size_t aqz_codewords(const aqz_scheme *s)
{
	return (size_t)s->n_codebooks << s->code_bits;
}

/* ---- T64, spec 7.2.2. A line holds the codes of 64 rows for one group and codebook: 8 * bits
 * bytes. */

void aqz_t64_pack(
	uint8_t *restrict line, const uint16_t codes[restrict AQZ_TILE_ROWS], unsigned bits);
/* Every line unpacks, to codes below 2^bits. */
void aqz_t64_unpack(
	uint16_t codes[restrict AQZ_TILE_ROWS], const uint8_t *restrict line, unsigned bits);

/* True if the codes of rows [n_rows, 64) are 0 in all of n_lines lines. */
bool aqz_t64_padding_ok(const uint8_t *lines, uint64_t n_lines, unsigned bits, unsigned n_rows);

/* ---- References, spec 7.2.3 */

/* Row ranges with codebooks of their own (fused projections, stacked experts). The bound keeps a
 * small file from asking for a table of up to 128 MiB in each of very many ranges. */
#define AQZ_MAX_RANGES 1024
/* Values of all codebooks of a section: at most this many and so many for each element of it, so
 * that work and memory stay in proportion to what is decoded. */
#define AQZ_MAX_TABLE_VALUES (UINT64_C(1) << 20)
#define AQZ_MAX_TABLE_RATIO 64

aqz_status aqz_additive_check(
	const aqz_view *view, const aqz_param_view *params, uint32_t n_params, aqz_error *err);

/* Walks view->refs with the index of each one's first section in params. Starts as {0, 0}. */
typedef struct aqz_ref_cursor {
	uint32_t i;
	uint64_t section;
} aqz_ref_cursor;

/* The reference of that kind at the cursor or next after it, or NULL. */
const aqz_ref *aqz_refs_next(aqz_ref_cursor *c, const aqz_view *view, aqz_kind kind);
/* Goes past the reference that aqz_refs_next has given. */
void aqz_refs_step(aqz_ref_cursor *c, const aqz_view *view);

/* ---- Decoding, spec 7.2.4 */

/* What values say about every sum of codewords. */
typedef struct aqz_table_facts {
	bool known;  /* false: nobody has looked; a kernel that needs them looks for each tile */
	bool finite; /* no sum is infinite or NaN */
	int least;   /* a sum is 0 or at least 2^least */
} aqz_table_facts;

/* What the kernel needs of a matrix and its codebooks. */
typedef struct aqz_tables {
	aqz_scheme scheme;
	aqz_dtype dtype;     /* of the decoded elements: F32, F16 or BF16 */
	const float *values; /* [M][2^B][O][G]: complete, so that no code is out of range */
	aqz_table_facts facts; /* aqz_table_look(), once for the values */
} aqz_tables;

aqz_table_facts aqz_table_look(const float *values, const aqz_scheme *scheme);

/* A piece of work for the kernel: consecutive groups of one row block. */
typedef struct aqz_tile {
	const uint8_t *lines;        /* n_groups * M lines */
	unsigned n_groups;           /* 1..AQZ_TILE_GROUPS */
	unsigned row_begin, row_end; /* rows to write, counted in elements from the row block's first */
	unsigned n_cols;             /* elements of each to write, at most n_groups * G */
	const float *scales;         /* 64, one for each code row; NULL = there are none */
	void *dst;                   /* where row_begin's first element goes; any alignment */
	size_t ld;                   /* elements from row to row */
	bool stream;                 /* nobody will read dst soon: it may be stored past the caches */
} aqz_tile;

/* Reconstructs a tile. Nothing but the n_cols elements of each row is written. Variants give the
 * same bits. */
typedef void aqz_decode_tile_fn(const aqz_tile *tile, const aqz_tables *tables);
aqz_decode_tile_fn aqz_decode_tile_scalar;
#if defined(__x86_64__)
aqz_decode_tile_fn aqz_decode_tile_avx2, aqz_decode_tile_avx512, aqz_decode_tile_avx512_bf16;
#elif defined(__aarch64__)
aqz_decode_tile_fn aqz_decode_tile_neon;
#endif
/* Variant i of those that this machine runs, the plainest first, or NULL after the last. name, which may be NULL, is
 * set to its name. */
aqz_decode_tile_fn *aqz_decode_tile_get(unsigned i, const char **name);
/* The best of them. */
aqz_decode_tile_fn *aqz_decode_tile_choose(const aqz_tables *tables);

/* Reconstructs rows [row_begin, row_end) of one row block, counted in elements from its first.
 * lines: all of its groups' lines. dst: dense rows of cols elements, any alignment. stream: see aqz_tile. */
void aqz_decode_block(void *dst, aqz_decode_tile_fn *kernel, const aqz_tables *tables, const uint8_t *lines,
	uint64_t cols, unsigned row_begin, unsigned row_end, const float *scales, bool stream);

/* Outputs of so many bytes are out of the caches before they are complete: they may as well go past them. */
#define AQZ_STREAM_BYTES (UINT64_C(1) << 24)

/* Converts a codebook to binary32, exactly but for I8, where scales ([n]) multiply: n_rows
 * codewords of n values of one codebook. */
void aqz_codebook_widen(
	float *dst, const void *src, aqz_dtype dtype, size_t n_rows, unsigned n, const float *scales);

/* ---- Matrices in memory, which the caller may have filled itself */

/* What is wrong with *a, the dtype or the rows, or NULL. */
const char *aqz_additive_fault(const aqz_additive *a, aqz_dtype dtype, uint64_t row_begin, uint64_t row_end);
/* Its codebooks in binary32, [M][2^B][O][G]. *a has no fault. */
void aqz_additive_widen(float *values, const aqz_additive *a);
/* Reconstructs rows as aqz_decode_additive does; tables are made from what was widened. */
void aqz_additive_rows(void *dst, const aqz_additive *a, const aqz_tables *tables, uint64_t row_begin,
	uint64_t row_end);

#endif
