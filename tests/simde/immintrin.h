/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in front of the compiler's <immintrin.h> where kernels for x86-64 are built on SIMDe, which emulates their
 * intrinsics in plain C (scripts/check_simde.sh): their logic then runs on any machine, and says nothing about speed.
 * Included before everything else; from there on the machine is an x86-64 that has whatever is asked for. What SIMDe
 * (0.7.4, Debian 12) lacks or gets wrong is supplied here, lane by lane, after Intel's description of it. */
#ifndef AQZ_TESTS_SIMDE_IMMINTRIN_H
#define AQZ_TESTS_SIMDE_IMMINTRIN_H

/* System headers ask what the machine is, too. */
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include "base/float.h"

#define target(...) unused
#define __builtin_cpu_supports(set) 1
#if !defined(__x86_64__)
#define __x86_64__ 1
#endif
#undef __aarch64__

typedef simde__m128i __m128i_u __attribute__((aligned(1)));
typedef simde__m256i __m256i_u __attribute__((aligned(1)));
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;
typedef uint64_t __mmask64;

#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif

#define EMULATED static inline __attribute__((always_inline, unused))

/* Vectors by their lanes. */
typedef int8_t s8x16 __attribute__((vector_size(16)));
typedef int16_t s16x32 __attribute__((vector_size(64)));
typedef uint8_t u8x16 __attribute__((vector_size(16))), u8x32 __attribute__((vector_size(32))),
	u8x64 __attribute__((vector_size(64)));
typedef uint16_t u16x8 __attribute__((vector_size(16))), u16x16 __attribute__((vector_size(32))),
	u16x32 __attribute__((vector_size(64)));
typedef int32_t s32x8 __attribute__((vector_size(32))), s32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef float f32x8 __attribute__((vector_size(32))), f32x16 __attribute__((vector_size(64)));

/* A vector of that type, by the value of lane i. */
#define BY_LANE(type, value)                                       \
	({                                                             \
		type lanes;                                                \
		for (unsigned i = 0; i < sizeof lanes / sizeof lanes[0]; i++) \
			lanes[i] = (value);                                    \
		lanes;                                                     \
	})

/* ---- 16-bit floats; rounding is to nearest even, whatever it is asked to be */

#undef _mm256_cvtph_ps
#undef _mm256_cvtps_ph
EMULATED __m256 _mm256_cvtph_ps(__m128i a)
{
	return (__m256)BY_LANE(f32x8, aqz_f16_to_f32(((u16x8)a)[i]));
}
EMULATED __m128i _mm256_cvtps_ph(__m256 a, int rounding)
{
	(void)rounding;
	return (__m128i)BY_LANE(u16x8, aqz_f32_to_f16(((f32x8)a)[i]));
}
EMULATED __m512 _mm512_cvtph_ps(__m256i a)
{
	return (__m512)BY_LANE(f32x16, aqz_f16_to_f32(((u16x16)a)[i]));
}
EMULATED __m256i _mm512_cvtps_ph(__m512 a, int rounding)
{
	(void)rounding;
	return (__m256i)BY_LANE(u16x16, aqz_f32_to_f16(((f32x16)a)[i]));
}

/* Subnormal values count as zero, which is why nothing may leave them to this instruction. */
EMULATED uint16_t emulated_bf16(float v)
{
	return aqz_f32_to_bf16(fabsf(v) < 0x1p-126f ? copysignf(0, v) : v);
}
EMULATED __m512bh _mm512_cvtne2ps_pbh(__m512 high, __m512 low)
{
	return (__m512bh)BY_LANE(u16x32, emulated_bf16(((f32x16)(i < 16 ? low : high))[i % 16]));
}

/* ---- Wider and narrower integers */

EMULATED __m512i _mm512_cvtepu16_epi32(__m256i a)
{
	return (__m512i)BY_LANE(s32x16, ((u16x16)a)[i]);
}
EMULATED __m512i _mm512_cvtepi8_epi32(__m128i a)
{
	return (__m512i)BY_LANE(s32x16, ((s8x16)a)[i]);
}
EMULATED __m512i _mm512_cvtepu8_epi32(__m128i a)
{
	return (__m512i)BY_LANE(s32x16, ((u8x16)a)[i]);
}
EMULATED __m512i _mm512_cvtepi16_epi32(__m256i a)
{
	return (__m512i)BY_LANE(s32x16, (int16_t)((u16x16)a)[i]);
}
EMULATED __m512i _mm512_cvtepu8_epi16(__m256i a)
{
	return (__m512i)BY_LANE(s16x32, ((u8x32)a)[i]);
}
EMULATED __m256i _mm512_cvtepi32_epi16(__m512i a)
{
	return (__m256i)BY_LANE(u16x16, (uint16_t)((u32x16)a)[i]);
}
EMULATED __m512 _mm512_cvtepi32_ps(__m512i a)
{
	return (__m512)BY_LANE(f32x16, (float)((s32x16)a)[i]);
}
EMULATED int32_t emulated_integer(float v)
{
	return fabsf(v) < 0x1p31f ? (int32_t)lrintf(v) : INT32_MIN;
}
EMULATED __m512i _mm512_cvtps_epi32(__m512 a)
{
	return (__m512i)BY_LANE(s32x16, emulated_integer(((f32x16)a)[i]));
}
EMULATED __m512 _mm512_zextps256_ps512(__m256 a)
{
	return (__m512)BY_LANE(f32x16, i < 8 ? ((f32x8)a)[i % 8] : 0);
}

/* ---- Lanes that change places */

EMULATED __m512 _mm512_permute_ps(__m512 a, int order)
{
	return (__m512)BY_LANE(f32x16, ((f32x16)a)[(i & 12) + ((unsigned)order >> 2 * (i % 4) & 3)]);
}
EMULATED __m512 _mm512_permutevar_ps(__m512 a, __m512i order)
{
	return (__m512)BY_LANE(f32x16, ((f32x16)a)[(i & 12) + (((u32x16)order)[i] & 3)]);
}
EMULATED __m512 _mm512_shuffle_f32x4(__m512 a, __m512 b, int order)
{
	return (__m512)BY_LANE(f32x16, ((f32x16)(i < 8 ? a : b))[4 * ((unsigned)order >> i / 4 * 2 & 3) + i % 4]);
}

/* ---- Shifts, comparisons, masks */

EMULATED uint64_t _bextr_u64(uint64_t v, unsigned start, unsigned n)
{
	return v >> start & ((UINT64_C(1) << n) - 1);
}

EMULATED __m512i _mm512_srai_epi32(__m512i a, unsigned n)
{
	return (__m512i)((s32x16)a >> (n > 31 ? 31 : (int)n));
}
EMULATED __mmask16 _mm512_cmplt_epu32_mask(__m512i a, __m512i b)
{
	__mmask16 m = 0;

	for (int i = 0; i < 16; i++)
		m = (__mmask16)(m | (((u32x16)a)[i] < ((u32x16)b)[i]) << i);
	return m;
}
EMULATED __mmask16 _mm512_fpclass_ps_mask(__m512 a, int classes)
{
	__mmask16 m = 0;

	for (int i = 0; i < 16; i++) {
		const uint32_t u = ((u32x16)a)[i], magnitude = u & 0x7fffffff;
		const bool minus = u >> 31 != 0;
		const int class = magnitude > 0x7f800000 ? (magnitude >= 0x7fc00000 ? 0x01 : 0x80)
			: magnitude == 0                     ? (minus ? 0x04 : 0x02)
			: magnitude == 0x7f800000            ? (minus ? 0x10 : 0x08)
			: (magnitude < 0x00800000 ? 0x20 : 0) | (minus ? 0x40 : 0);

		m = (__mmask16)(m | ((class & classes) != 0) << i);
	}
	return m;
}
EMULATED __m512i _mm512_maskz_expand_epi32(__mmask16 m, __m512i a)
{
	s32x16 r = {0};

	for (int i = 0, k = 0; i < 16; i++)
		if (m >> i & 1)
			r[i] = ((s32x16)a)[k++];
	return (__m512i)r;
}

/* ---- Memory. No lane whose bit is clear touches it. */

EMULATED int32_t emulated_load(const void *base, int32_t at, int scale)
{
	int32_t v;

	memcpy(&v, (const char *)base + (ptrdiff_t)at * scale, sizeof v);
	return v;
}

#undef _mm256_i32gather_epi32
#undef _mm256_i32gather_ps
EMULATED __m256i _mm256_i32gather_epi32(const int *base, __m256i at, int scale)
{
	return (__m256i)BY_LANE(s32x8, emulated_load(base, ((s32x8)at)[i], scale));
}
EMULATED __m256 _mm256_i32gather_ps(const float *base, __m256i at, int scale)
{
	return (__m256)BY_LANE(s32x8, emulated_load(base, ((s32x8)at)[i], scale));
}
EMULATED __m512i _mm512_i32gather_epi32(__m512i at, const void *base, int scale)
{
	return (__m512i)BY_LANE(s32x16, emulated_load(base, ((s32x16)at)[i], scale));
}
EMULATED __m512i _mm512_maskz_loadu_epi32(__mmask16 m, const void *src)
{
	return (__m512i)BY_LANE(s32x16, (m >> i & 1) != 0 ? emulated_load(src, (int32_t)i, 4) : 0);
}
EMULATED __m512i _mm512_maskz_loadu_epi8(__mmask64 m, const void *src)
{
	return (__m512i)BY_LANE(u8x64, (m >> i & 1) != 0 ? ((const uint8_t *)src)[i] : 0);
}
EMULATED void _mm512_mask_storeu_ps(void *dst, __mmask16 m, __m512 a)
{
	for (int i = 0; i < 16; i++)
		if (m >> i & 1)
			memcpy((char *)dst + 4 * i, (const char *)&a + 4 * i, 4);
}
EMULATED void _mm512_mask_storeu_epi16(void *dst, __mmask32 m, __m512i a)
{
	for (int i = 0; i < 32; i++)
		if (m >> i & 1)
			memcpy((char *)dst + 2 * i, (const char *)&a + 2 * i, 2);
}

/* ---- Sums */

/* The compiler's adds one half to the other. */
EMULATED float _mm512_reduce_add_ps(__m512 a)
{
	f32x16 v = (f32x16)a;

	for (int n = 8; n > 0; n /= 2)
		for (int i = 0; i < n; i++)
			v[i] += v[i + n];
	return v[0];
}
EMULATED uint32_t _mm512_reduce_max_epu32(__m512i a)
{
	uint32_t most = 0;

	for (int i = 0; i < 16; i++)
		most = ((u32x16)a)[i] > most ? ((u32x16)a)[i] : most;
	return most;
}

#endif
