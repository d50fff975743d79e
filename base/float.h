/* SPDX-License-Identifier: Apache-2.0 */
/* One value at a time between binary32 and the 16-bit floats, spec 1.4: round to nearest even,
 * overflow to infinity, every NaN to the one quiet NaN without sign or payload, so that all
 * machines agree. Branch-free for vectorisers. */
#ifndef AQZ_BASE_FLOAT_H
#define AQZ_BASE_FLOAT_H

#include <stdint.h>
#include <string.h>

static inline uint32_t aqz_f32_bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, 4);
	return u;
}
static inline float aqz_f32_from_bits(uint32_t u)
{
	float f;
	memcpy(&f, &u, 4);
	return f;
}

#define AQZ_F32_NAN 0x7fc00000u

static inline float aqz_f32_canonical(float f)
{
	const uint32_t u = aqz_f32_bits(f);

	return aqz_f32_from_bits((u & 0x7fffffffu) > 0x7f800000u ? AQZ_F32_NAN : u);
}

static inline float aqz_bf16_to_f32(uint16_t b)
{
	return aqz_f32_canonical(aqz_f32_from_bits((uint32_t)b << 16));
}

static inline uint16_t aqz_f32_to_bf16(float f)
{
	const uint32_t u = aqz_f32_bits(f);
	/* The carry out of the mantissa raises the exponent, and out of the largest exponent makes
	 * infinity. */
	const uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1)) >> 16;

	return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

static inline float aqz_f16_to_f32(uint16_t h)
{
	const uint32_t magnitude = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
	const uint32_t wide = magnitude << 13;
	/* 2^-14 * (1 + m / 1024) - 2^-14: no operand is subnormal, so this is exact even where those
	 * are flushed. */
	const uint32_t subnormal =
		aqz_f32_bits(aqz_f32_from_bits(wide | 0x38800000u) - aqz_f32_from_bits(0x38800000u));
	const uint32_t finite = magnitude < 0x0400u ? subnormal : wide + 0x38000000u;
	const uint32_t bits = sign | (magnitude >= 0x7c00u ? 0x7f800000u : finite);

	return aqz_f32_from_bits(magnitude > 0x7c00u ? AQZ_F32_NAN : bits);
}

static inline uint16_t aqz_f32_to_f16(float f)
{
	const uint32_t u = aqz_f32_bits(f), magnitude = u & 0x7fffffffu, sign = u >> 16 & 0x8000u;
	/* Below 2^-14, adding 0.5 leaves the value in units of 2^-24 in the low mantissa bits, rounded
	 * by the addition. */
	const uint32_t subnormal = aqz_f32_bits(aqz_f32_from_bits(magnitude) + 0.5f) - 0x3f000000u;
	const uint32_t normal = (magnitude - 0x38000000u + 0x0fffu + (magnitude >> 13 & 1)) >> 13;
	const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
	/* From 65520 = 0x477ff000 on, half a step above the largest finite value, the result is
	 * infinity. */
	const uint32_t bits = sign | (magnitude >= 0x477ff000u ? 0x7c00u : finite);

	return (uint16_t)(magnitude > 0x7f800000u ? 0x7e00u : bits);
}

#endif
