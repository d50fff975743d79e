/* SPDX-License-Identifier: Apache-2.0 */
/* What the two sides of the lossless codec share, spec 7.1. */
#ifndef AQZ_CODEC_LOSSLESS_H
#define AQZ_CODEC_LOSSLESS_H

#include "codec/codec.h"

/* A plane's length field: bytes, and whether they are a zstd frame. */
#define AQZ_PLANE_ZSTD UINT32_C(0x80000000)
#define AQZ_MAX_PLANES 8

/* The shortest frame that zstd makes: magic 4, descriptor 1, content size 1, block header 3. */
#define AQZ_ZSTD_MIN_BYTES 9
#define AQZ_ZSTD_MAX_WINDOW (UINT64_C(1) << 27)

/* Byte planes of a dtype, or 0 if it has none: elements of one byte or less are their own plane.
 * C64 is a pair of binary32, so its unit is 4 bytes. */
static inline unsigned aqz_planes(aqz_dtype dtype)
{
	const unsigned bytes = dtype == AQZ_C64 ? 4 : aqz_dtype_bits(dtype) / 8;

	return bytes >= 2 ? bytes : 0;
}

/* Floats are rotated left by one bit, so that the exponent fills the top byte and the sign, which
 * is noise, joins the lowest mantissa bits. */
static inline bool aqz_planes_rotated(aqz_dtype dtype)
{
	return dtype == AQZ_F16 || dtype == AQZ_BF16 || dtype == AQZ_F32 || dtype == AQZ_F64 ||
		dtype == AQZ_C64;
}

/* Joins n units of width (2, 4 or 8) planes, least significant first, and turns each right by one
 * bit if rotated. dst: n * width bytes of any alignment. */
void aqz_planes_merge(
	void *dst, const uint8_t *const *planes, size_t n, unsigned width, bool rotated);

/* The reverse. planes: width * n bytes, plane after plane. */
void aqz_planes_split(uint8_t *planes, const void *src, size_t n, unsigned width, bool rotated);

#endif
