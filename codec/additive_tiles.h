/* SPDX-License-Identifier: Apache-2.0 */
/* What the vector kernels of tile decoding share. Codes of all 64 rows become places of their codewords in the
 * tables, row by row in packs of 8 bytes; then each row is a walk over packs. A kernel takes what can give neither a
 * NaN nor, if its rounding asks for that, a subnormal number, so that it need not look for them; the rest is the
 * scalar one's. */
#ifndef AQZ_CODEC_ADDITIVE_TILES_H
#define AQZ_CODEC_ADDITIVE_TILES_H

#include "codec/additive.h"

/* Packs of some groups: 8 KiB, so that they and tables of 16 KiB stay in the first-level cache. */
#define AQZ_TILE_PACKS 1024

/* Codewords of whole vectors, in one row. */
static inline bool aqz_tile_regular(const aqz_scheme *s)
{
	return s->out_group == 1 && s->in_group >= 8 && (s->in_group & (s->in_group - 1)) == 0;
}

/* Places count 8 bytes from the first codeword of a codebook. True if they fit 16 bits, so that a pack has four
 * lines' and not two. */
static inline bool aqz_tile_narrow(const aqz_scheme *s)
{
	return (size_t)s->in_group << s->code_bits <= 1u << 17;
}

/* Groups whose packs fit: a multiple of 4, at least 4. */
static inline unsigned aqz_tile_step(const aqz_scheme *s, bool narrow)
{
	return AQZ_TILE_PACKS / AQZ_TILE_ROWS * (narrow ? 4u : 2u) / s->n_codebooks & ~3u;
}

/* Scales that change nothing. */
extern const float aqz_tile_ones[AQZ_TILE_ROWS];

enum {
	AQZ_EXPONENT_MASK = 0x7f800000,
	AQZ_MAGNITUDE_MASK = 0x7fffffff,
	AQZ_MANTISSA_BITS = 23,
	AQZ_BIAS = 127
};

#if defined(_OPENMP) && !defined(__clang__)
#define AQZ_REDUCE _Pragma("omp simd reduction(min : low) reduction(max : high)")
#else
#define AQZ_REDUCE
#endif

/* The least number that is not 0 and the largest one, as the bits of their magnitudes; NaNs are the largest. If all
 * are 0, least is what no number exceeds. Inlined, so that a kernel's instruction set serves. */
static inline __attribute__((always_inline)) void aqz_extremes(
	int32_t *least, int32_t *most, const float *restrict values, size_t n)
{
	int32_t low = AQZ_MAGNITUDE_MASK, high = 0;

	AQZ_REDUCE
	for (size_t i = 0; i < n; i++) {
		int32_t u;

		memcpy(&u, values + i, sizeof u);
		u &= AQZ_MAGNITUDE_MASK;
		high = u > high ? u : high;
		u = u == 0 ? AQZ_MAGNITUDE_MASK : u;
		low = u < low ? u : low;
	}
	*least = low;
	*most = high;
}

/* A number that is not 0 is at least 2 to this: magnitude's exponent. */
static inline int aqz_exponent(int32_t magnitude)
{
	const int biased = magnitude >> AQZ_MANTISSA_BITS;

	return biased != 0 ? biased - AQZ_BIAS : 1 - AQZ_BIAS - AQZ_MANTISSA_BITS;
}

/* True if all elements of a tile are numbers and, with normal, none is subnormal. A scale of another row can only
 * make it say no. */
static inline __attribute__((always_inline)) bool aqz_tile_plain(
	const aqz_tile *tile, const aqz_tables *t, bool normal)
{
	const aqz_table_facts facts = t->facts.known ? t->facts : aqz_table_look(t->values, &t->scheme);
	int32_t least, most;

	aqz_extremes(&least, &most, tile->scales != NULL ? tile->scales : aqz_tile_ones, AQZ_TILE_ROWS);
	return facts.finite && most < AQZ_EXPONENT_MASK &&
		(!normal || aqz_exponent(least) + facts.least >= 1 - AQZ_BIAS);
}

#endif
