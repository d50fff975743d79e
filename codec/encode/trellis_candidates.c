/* SPDX-License-Identifier: Apache-2.0 */
/* The candidates of the trellis encoder: for each value the index of each quantizer and parity that costs the least. */
#include "codec/encode/trellis_candidates.h"

#include "codec/encode/trellis_path.h"
#include "codec/simd.h"

/* Adding and subtracting it rounds a float below 2^22 to an integer, ties to even. */
#define ROUND 12582912.0f
/* In front of every index that a file can hold; steps are chosen so that nothing comes near it. */
#define LIMIT 2097151.0f
#define ZERO (AQZ_RATES / 2)

static inline float rate(const float *rates, int32_t k)
{
	k = k < -ZERO ? -ZERO : k;
	k = k > ZERO - 1 ? ZERO - 1 : k;
	return rates[k + ZERO];
}

/* The index nearest to u and the cheaper of its neighbours, which have the other parity. width: what v changes by when
 * k does by 1. */
static inline void pair(
	float *restrict cost, int32_t *restrict k, float u, float width, const float *restrict rates)
{
	const float r = (u + ROUND) - ROUND, e = (u - r) * width;
	const int32_t k0 = (int32_t)r;
	const float at = e * e + rate(rates, k0);
	const float below = (e + width) * (e + width) + rate(rates, k0 - 1);
	const float above = (e - width) * (e - width) + rate(rates, k0 + 1);
	const float beside = above < below ? above : below;
	const int32_t k1 = above < below ? k0 + 1 : k0 - 1;
	const int32_t odd = k0 & 1;

	cost[0] = odd ? beside : at;
	cost[1] = odd ? at : beside;
	k[0] = odd ? k1 : k0;
	k[1] = odd ? k0 : k1;
}

static inline float limited(float y)
{
	y = y < -LIMIT ? -LIMIT : y;
	return y > LIMIT ? LIMIT : y;
}

void aqz_candidates_plain(float *restrict cost, int32_t *restrict k, const float *restrict x,
	float inverse, const float *restrict rates, const uint8_t *restrict bucket, size_t n,
	unsigned state_bits)
{
	for (size_t i = 0; i < n; i++) {
		const float *bits = rates + (size_t)bucket[i] * 2 * AQZ_RATES;
		const float y = limited(x[i] * inverse);

		if (state_bits == 0) {
			pair(cost + 4 * i, k + 4 * i, y, 1, bits);
		} else {
			pair(cost + 4 * i, k + 4 * i, y * 0.5f, 2, bits);
			pair(cost + 4 * i + 2, k + 4 * i + 2, (y - 1) * 0.5f, 2, bits + AQZ_RATES);
		}
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* Rows of four values of 8 elements, of element e in half e / 4 of row e % 4, to four vectors of the 8 elements; or
 * the other way round. */
INLINE void transpose(__m256 v[4])
{
	const __m256 a = _mm256_unpacklo_ps(v[0], v[1]), b = _mm256_unpackhi_ps(v[0], v[1]);
	const __m256 c = _mm256_unpacklo_ps(v[2], v[3]), d = _mm256_unpackhi_ps(v[2], v[3]);

	v[0] = _mm256_shuffle_ps(a, c, 0x44);
	v[1] = _mm256_shuffle_ps(a, c, 0xee);
	v[2] = _mm256_shuffle_ps(b, d, 0x44);
	v[3] = _mm256_shuffle_ps(b, d, 0xee);
}

/* v[at], at being limited to 0 .. 3. */
INLINE __m256 chosen(const __m256 v[4], __m256i at)
{
	__m256 r = _mm256_blendv_ps(
		v[0], v[1], _mm256_castsi256_ps(_mm256_cmpgt_epi32(at, _mm256_set1_epi32(0))));

	r = _mm256_blendv_ps(r, v[2], _mm256_castsi256_ps(_mm256_cmpgt_epi32(at, _mm256_set1_epi32(1))));
	return _mm256_blendv_ps(
		r, v[3], _mm256_castsi256_ps(_mm256_cmpgt_epi32(at, _mm256_set1_epi32(2))));
}

/* Rates of k - 1, k and k + 1: four that follow on each other are read at once, which a gather of each of three would
 * take much longer for. rows: where in rates that of index 0 stands. */
INLINE void rates_of(__m256 out[3], const float *rates, __m256i rows, __m256i k)
{
	const __m256i first = _mm256_sub_epi32(k, _mm256_set1_epi32(1));
	const __m256i inside = _mm256_min_epi32(
		_mm256_max_epi32(first, _mm256_set1_epi32(-ZERO)), _mm256_set1_epi32(ZERO - 4));
	const __m256i beyond = _mm256_sub_epi32(first, inside);
	int32_t at[8];
	__m256 v[4];

	_mm256_storeu_si256((__m256i_u *)at, _mm256_add_epi32(rows, inside));
	for (int i = 0; i < 4; i++)
		v[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rates + at[i])),
			_mm_loadu_ps(rates + at[4 + i]), 1);
	transpose(v);
	if (__builtin_expect(_mm256_testz_si256(beyond, beyond), 1)) {
		out[0] = v[0];
		out[1] = v[1];
		out[2] = v[2];
	} else {
		out[0] = chosen(v, beyond);
		out[1] = chosen(v, _mm256_add_epi32(beyond, _mm256_set1_epi32(1)));
		out[2] = chosen(v, _mm256_add_epi32(beyond, _mm256_set1_epi32(2)));
	}
}

/* As pair() of 8 elements with a width of 2. */
INLINE void pair8(__m256 cost[2], __m256 k[2], __m256 u, const float *rates, __m256i rows)
{
	const __m256 round = _mm256_set1_ps(ROUND), width = _mm256_set1_ps(2);
	const __m256 r = _mm256_sub_ps(_mm256_add_ps(u, round), round);
	const __m256 e = _mm256_mul_ps(_mm256_sub_ps(u, r), width), up = _mm256_add_ps(e, width),
				 down = _mm256_sub_ps(e, width);
	const __m256i k0 = _mm256_cvttps_epi32(r), one = _mm256_set1_epi32(1);
	__m256 bits[3], at, below, above, beside, is_above, odd;
	__m256i k1;

	rates_of(bits, rates, rows, k0);
	at = _mm256_add_ps(_mm256_mul_ps(e, e), bits[1]);
	below = _mm256_add_ps(_mm256_mul_ps(up, up), bits[0]);
	above = _mm256_add_ps(_mm256_mul_ps(down, down), bits[2]);
	beside = _mm256_min_ps(above, below);
	is_above = _mm256_cmp_ps(above, below, _CMP_LT_OQ);
	k1 = _mm256_blendv_epi8(
		_mm256_sub_epi32(k0, one), _mm256_add_epi32(k0, one), _mm256_castps_si256(is_above));
	odd = _mm256_castsi256_ps(_mm256_slli_epi32(k0, 31));
	cost[0] = _mm256_blendv_ps(at, beside, odd);
	cost[1] = _mm256_blendv_ps(beside, at, odd);
	k[0] = _mm256_blendv_ps(_mm256_castsi256_ps(k0), _mm256_castsi256_ps(k1), odd);
	k[1] = _mm256_blendv_ps(_mm256_castsi256_ps(k1), _mm256_castsi256_ps(k0), odd);
}

/* The four values of each of 8 elements, one after the other. */
INLINE void store(float *dst, __m256 v[4])
{
	transpose(v);
	for (int i = 0; i < 4; i++) {
		_mm_storeu_ps(dst + 4 * i, _mm256_castps256_ps128(v[i]));
		_mm_storeu_ps(dst + 16 + 4 * i, _mm256_extractf128_ps(v[i], 1));
	}
}

void TARGET aqz_candidates_avx2(float *restrict cost, int32_t *restrict k, const float *restrict x,
	float inverse, const float *restrict rates, const uint8_t *restrict bucket, size_t n,
	unsigned state_bits)
{
	const __m256 limit = _mm256_set1_ps(LIMIT), half = _mm256_set1_ps(0.5f);
	size_t i = 0;

	for (; state_bits != 0 && i + 8 <= n; i += 8) {
		const __m256i b = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)(bucket + i)));
		const __m256i rows = _mm256_add_epi32(
			_mm256_mullo_epi32(b, _mm256_set1_epi32(2 * AQZ_RATES)), _mm256_set1_epi32(ZERO));
		__m256 y = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(inverse));
		__m256 costs[4], indices[4];

		y = _mm256_min_ps(limit, _mm256_max_ps(_mm256_sub_ps(_mm256_setzero_ps(), limit), y));
		pair8(costs, indices, _mm256_mul_ps(y, half), rates, rows);
		pair8(costs + 2, indices + 2, _mm256_mul_ps(_mm256_sub_ps(y, _mm256_set1_ps(1)), half),
			rates, _mm256_add_epi32(rows, _mm256_set1_epi32(AQZ_RATES)));
		store(cost + 4 * i, costs);
		store((float *)(void *)(k + 4 * i), indices);
	}
	aqz_candidates_plain(
		cost + 4 * i, k + 4 * i, x + i, inverse, rates, bucket + i, n - i, state_bits);
}

#endif
