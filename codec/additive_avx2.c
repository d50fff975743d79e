/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of additive tiles, spec 7.2.4, with AVX2, F16C and BMI1. */
#include "codec/additive_tiles.h"
#include "codec/x86.h"

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx2,bmi,f16c")))
#define AQZ_BITS(value, start, n) _bextr_u64(value, start, n)

/* Upper halves, rounded to nearest even: 16 in order. */
static inline __attribute__((always_inline)) TARGET __m256i bf16_16(__m256 a, __m256 b)
{
	const __m256i one = _mm256_set1_epi32(1), most = _mm256_set1_epi32(0x7fff);
	__m256i u = _mm256_castps_si256(a), v = _mm256_castps_si256(b);

	u = _mm256_add_epi32(_mm256_add_epi32(u, most), _mm256_and_si256(_mm256_srli_epi32(u, 16), one));
	v = _mm256_add_epi32(_mm256_add_epi32(v, most), _mm256_and_si256(_mm256_srli_epi32(v, 16), one));
	u = _mm256_packus_epi32(_mm256_srli_epi32(u, 16), _mm256_srli_epi32(v, 16));
	return _mm256_permute4x64_epi64(u, 0xd8);
}

/* 32 bytes. */
static inline __attribute__((always_inline)) TARGET void store(uint8_t *to, __m256i v, bool stream)
{
	if (stream)
		_mm256_stream_si256((__m256i *)(void *)to, v);
	else
		_mm256_storeu_si256((__m256i_u *)to, v);
}

static inline __attribute__((always_inline)) TARGET __m256i f16_16(__m256 a, __m256 b)
{
	const __m128i low = _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	const __m128i high = _mm256_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

	return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

static inline __attribute__((always_inline)) TARGET void finish(
	uint8_t *to, const __m256 sums[4], __m256 scale, aqz_dtype dtype, bool stream)
{
	const __m256 a = _mm256_mul_ps(sums[0], scale), b = _mm256_mul_ps(sums[1], scale);
	const __m256 c = _mm256_mul_ps(sums[2], scale), d = _mm256_mul_ps(sums[3], scale);

	if (dtype == AQZ_F32) {
		store(to, _mm256_castps_si256(a), stream);
		store(to + 32, _mm256_castps_si256(b), stream);
		store(to + 64, _mm256_castps_si256(c), stream);
		store(to + 96, _mm256_castps_si256(d), stream);
	} else if (dtype == AQZ_F16) {
		store(to, f16_16(a, b), stream);
		store(to + 32, f16_16(c, d), stream);
	} else {
		store(to, bf16_16(a, b), stream);
		store(to + 32, bf16_16(c, d), stream);
	}
}

#define NAME(x) x##_avx2
#define FINISH finish
#define ROUNDS 0
#include "codec/additive_body.h"

#endif
