/* SPDX-License-Identifier: Apache-2.0 */
/* Products of a few vectors with stored rows, for each instruction set. A Zen 4 core unpacks and multiplies 15 to
 * 25 weights in a nanosecond, which is as fast as it reads them from memory, or nearly; docs/kernels.md has the
 * figures. */
#include "model/kernels_rows.h"

#include "base/float.h"
#include "interop/gguf_blocks.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

/* Values that are unpacked together; blocks are multiples of them. */
#define STEP 32

/* Short rows, several at a time, are not what hardware prefetches well: so far ahead it is done here. */
#ifndef AHEAD_BYTES
#define AHEAD_BYTES 4096
#endif

#if !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 16")
#elif __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define UNROLL /* with all these checks clang would take a minute and a half */
#else
#define UNROLL _Pragma("unroll")
#endif

/* Those of elements and symbols first. */
typedef enum format {
	FORMAT_F32,
	FORMAT_F16,
	FORMAT_BF16,
	FORMAT_I8,
	FORMAT_I4,
	FORMAT_Q4_0,
	FORMAT_Q4_1,
	FORMAT_Q5_0,
	FORMAT_Q5_1,
	FORMAT_Q8_0,
	FORMAT_Q4_K,
	FORMAT_Q6_K
} format;

/* Bytes of 32 values. */
static inline size_t step_bytes(format f)
{
	static const uint8_t bytes[] = {128, 64, 64, 32, 16, 18, 20, 22, 24, 34, 18, 27};

	return bytes[f];
}

/* ---- Any machine: vectors of 4 lanes, which compilers know everywhere. */

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t four_ints __attribute__((vector_size(16), may_alias));

static inline float sum4(four v)
{
	return (v[0] + v[2]) + (v[1] + v[3]);
}

typedef uint32_t four_words __attribute__((vector_size(16), may_alias));
typedef uint16_t four_halves __attribute__((vector_size(8), may_alias));
typedef uint8_t four_bytes __attribute__((vector_size(4), may_alias));
typedef int8_t four_signed __attribute__((vector_size(4), may_alias));

static inline four_words halves_4(const uint8_t *p)
{
	four_halves h;

	memcpy(&h, p, sizeof h);
	return __builtin_convertvector(h, four_words);
}

static inline four bf16_4(const uint8_t *p)
{
	return (four)(halves_4(p) << 16);
}

/* As aqz_f16_to_f32, of numbers that are finite. */
static inline four f16_4(const uint8_t *p)
{
	const four_words h = halves_4(p), wide = (h & 0x7fff) << 13,
					 least = (four_words){0} + 0x38800000u;
	const four_words subnormal = (four_words)((four)(wide | least) - (four)least);
	const four_words small = (four_words)(wide < 0x00800000u);

	return (four)((h & 0x8000) << 16 | (small & subnormal) | (~small & (wide + 0x38000000u)));
}

static inline four_ints u8_4(const uint8_t *p)
{
	four_bytes b;

	memcpy(&b, p, sizeof b);
	return __builtin_convertvector(b, four_ints);
}

static inline four_ints s8_4(const uint8_t *p)
{
	four_signed b;

	memcpy(&b, p, sizeof b);
	return __builtin_convertvector(b, four_ints);
}

#define NAME(x) JOIN(x, plain)
#define TARGET
#define WIDTH 4
#define SUM(v) sum4(v)
#define MADD(a, b, c) ((a) * (b) + (c))
#define BF16(p) bf16_4(p)
#define F16(p) f16_4(p)
#define U8(p) u8_4(p)
#define S8(p) s8_4(p)
#define HALF(p) aqz_f16_to_f32(aqz_get16(p))
#include "model/kernels_rows_body.h"
#undef NAME
#undef TARGET
#undef WIDTH
#undef SUM
#undef MADD
#undef BF16
#undef F16
#undef U8
#undef S8
#undef HALF

#if defined(__x86_64__)
#include <immintrin.h>

static inline __attribute__((target("avx2"))) float sum8(__m256 v)
{
	return sum4((four)_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)));
}

static inline __attribute__((target("avx2,f16c"))) float half(const uint8_t *p)
{
	return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(aqz_get16(p))));
}

#define BYTES8(p) _mm_loadl_epi64((const __m128i *)(const void *)(p))
#define BYTES16(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define BYTES32(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))

#define NAME(x) JOIN(x, avx2)
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define WIDTH 8
#define SUM(v) sum8((__m256)(v))
#define MADD(a, b, c) ((vec_avx2)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define BF16(p) ((vec_avx2)_mm256_slli_epi32(_mm256_cvtepu16_epi32(BYTES16(p)), 16))
#define F16(p) ((vec_avx2)_mm256_cvtph_ps(BYTES16(p)))
#define U8(p) ((ints_avx2)_mm256_cvtepu8_epi32(BYTES8(p)))
#define S8(p) ((ints_avx2)_mm256_cvtepi8_epi32(BYTES8(p)))
#define HALF(p) half(p)
#include "model/kernels_rows_body.h"
#undef NAME
#undef TARGET
#undef WIDTH
#undef SUM
#undef MADD
#undef BF16
#undef F16
#undef U8
#undef S8

#define NAME(x) JOIN(x, avx512)
#define TARGET __attribute__((target("avx512f,avx2,fma,f16c")))
#define WIDTH 16
#define SUM(v) _mm512_reduce_add_ps((__m512)(v))
#define MADD(a, b, c) ((vec_avx512)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define BF16(p) ((vec_avx512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(BYTES32(p)), 16))
#define F16(p) ((vec_avx512)_mm512_cvtph_ps(BYTES32(p)))
#define U8(p) ((ints_avx512)_mm512_cvtepu8_epi32(BYTES16(p)))
#define S8(p) ((ints_avx512)_mm512_cvtepi8_epi32(BYTES16(p)))
#define LOOK_UP(t, i) ((vec_avx512)_mm512_permutexvar_ps((__m512i)(i), (__m512)(t)))
#include "model/kernels_rows_body.h"

#endif

const aqz_block_kernels *aqz_rows_of_blocks(const aqz_row_kernels *kernels, const aqz_gguf_type *type)
{
	/* Numbers of the format; a type of the same number but other blocks is none of them. */
	if (type != aqz_gguf_type_find(type->id))
		return NULL;
	switch (type->id) {
	case 2:
		return &kernels->q4_0;
	case 3:
		return &kernels->q4_1;
	case 6:
		return &kernels->q5_0;
	case 7:
		return &kernels->q5_1;
	case 8:
		return &kernels->q8_0;
	case 12:
		return &kernels->q4_k;
	case 14:
		return &kernels->q6_k;
	default:
		return NULL;
	}
}
