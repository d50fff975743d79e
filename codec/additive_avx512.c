/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of additive tiles, spec 7.2.4, with AVX-512: sums by vectors of 8, as codewords are, then two of them scaled
 * and rounded as one; with AVX512_BF16's conversion where there is one. */
#include "codec/additive_tiles.h"
#include "codec/x86.h"

#if defined(__x86_64__)

#define SET "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi,f16c"
#define AQZ_BITS(value, start, n) _bextr_u64(value, start, n)
#define ALWAYS static inline __attribute__((always_inline))

#define TARGET __attribute__((target(SET)))

ALWAYS TARGET __m512 scaled(__m256 low, __m256 high, __m256 scale)
{
	return _mm512_mul_ps(_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1),
		_mm512_insertf32x8(_mm512_castps256_ps512(scale), scale, 1));
}

/* 64 bytes. */
ALWAYS TARGET void store(uint8_t *to, __m512i v, bool stream)
{
	if (stream) {
		_mm256_stream_si256((__m256i *)(void *)to, _mm512_castsi512_si256(v));
		_mm256_stream_si256((__m256i *)(void *)(to + 32), _mm512_extracti64x4_epi64(v, 1));
	} else {
		_mm512_storeu_si512(to, v);
	}
}

/* Not BF16. */
ALWAYS TARGET void store_32(uint8_t *to, __m512 a, __m512 b, aqz_dtype dtype, bool stream)
{
	if (dtype == AQZ_F32) {
		store(to, _mm512_castps_si512(a), stream);
		store(to + 64, _mm512_castps_si512(b), stream);
	} else {
		const __m256i low = _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
		const __m256i high = _mm512_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

		if (stream) {
			_mm256_stream_si256((__m256i *)(void *)to, low);
			_mm256_stream_si256((__m256i *)(void *)(to + 32), high);
		} else {
			_mm256_storeu_si256((__m256i_u *)to, low);
			_mm256_storeu_si256((__m256i_u *)(to + 32), high);
		}
	}
}

/* Upper halves, rounded to nearest even by what the lower ones carry: (lower + 0x7fff + (upper & 1)) >> 16 of 17 bits,
 * whose first 16 the rounding average has. */
ALWAYS TARGET __m512i bf16_32(__m512 a, __m512 b)
{
	static const uint16_t odd[32] = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33,
		35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
	const __m512i odds = _mm512_loadu_si512(odd),
				  evens = _mm512_sub_epi16(odds, _mm512_set1_epi16(1));
	const __m512i u = _mm512_castps_si512(a), v = _mm512_castps_si512(b);
	const __m512i upper = _mm512_permutex2var_epi16(u, odds, v);
	const __m512i lower = _mm512_permutex2var_epi16(u, evens, v);
	/* (upper & 1) | 0x7ffe */
	const __m512i tie =
		_mm512_ternarylogic_epi32(upper, _mm512_set1_epi16(1), _mm512_set1_epi16(0x7ffe), 0xea);

	return _mm512_add_epi16(upper, _mm512_srli_epi16(_mm512_avg_epu16(lower, tie), 15));
}

ALWAYS TARGET void finish(
	uint8_t *to, const __m256 sums[4], __m256 scale, aqz_dtype dtype, bool stream)
{
	const __m512 a = scaled(sums[0], sums[1], scale), b = scaled(sums[2], sums[3], scale);

	if (dtype == AQZ_BF16)
		store(to, bf16_32(a, b), stream);
	else
		store_32(to, a, b, dtype, stream);
}

#define NAME(x) x##_avx512
#define FINISH finish
#define ROUNDS 0
#include "codec/additive_body.h"
#undef TARGET
#undef NAME
#undef FINISH
#undef ROUNDS

#define TARGET __attribute__((target(SET ",avx512bf16")))

ALWAYS TARGET void finish_bf16(
	uint8_t *to, const __m256 sums[4], __m256 scale, aqz_dtype dtype, bool stream)
{
	const __m512 a = scaled(sums[0], sums[1], scale), b = scaled(sums[2], sums[3], scale);

	if (dtype == AQZ_BF16)
		store(to, (__m512i)_mm512_cvtne2ps_pbh(b, a), stream);
	else
		store_32(to, a, b, dtype, stream);
}

#define NAME(x) x##_avx512_bf16
#define FINISH finish_bf16
#define ROUNDS 1
#include "codec/additive_body.h"

#endif
