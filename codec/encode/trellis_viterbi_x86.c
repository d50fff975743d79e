/* SPDX-License-Identifier: Apache-2.0 */
/* The Viterbi search of the trellis encoder with AVX2 and AVX-512: states in lanes. With 8 states costs stay in one
 * register for each end; their chain of permutation, addition and minimum is what limits. With more, the upper half of
 * states follows on those of t = 1, the lower half on those of t = 0, and which of these it is differs between lanes
 * and blocks by exclusive or: two registers of costs and one permutation give each block's. */
#include <math.h>

#include "codec/encode/trellis_viterbi.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2")))
#define CODE(bits) (unsigned)aqz_trellis_codes[bits][0], (unsigned)aqz_trellis_codes[bits][1]

#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

/* ---- 8 states */

/* The least of 8 lanes, in all of them. */
INLINE AVX2 __m256 least8(__m256 v)
{
	v = _mm256_min_ps(v, _mm256_permute2f128_ps(v, v, 1));
	v = _mm256_min_ps(v, _mm256_permute_ps(v, 0x4e));
	return _mm256_min_ps(v, _mm256_permute_ps(v, 0xb1));
}

typedef struct step8 {
	__m256i other[2], candidate[2];
} step8;

INLINE AVX2 step8 step8_of(const aqz_step *s)
{
	step8 out;

	for (int p = 0; p < 2; p++) {
		out.other[p] = _mm256_loadu_si256((const __m256i_u *)s->other[p]);
		out.candidate[p] = _mm256_loadu_si256((const __m256i_u *)s->candidate[p]);
	}
	return out;
}

INLINE AVX2 __m256 row8(__m256 now, const step8 *s, const float *cost, uint8_t *choice)
{
	const __m256 c = _mm256_broadcast_ps((const __m128 *)cost);
	const __m256 a = _mm256_add_ps(
		_mm256_permutevar8x32_ps(now, s->other[0]), _mm256_permutevar_ps(c, s->candidate[0]));
	const __m256 b = _mm256_add_ps(
		_mm256_permutevar8x32_ps(now, s->other[1]), _mm256_permutevar_ps(c, s->candidate[1]));

	*choice = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(b, a, _CMP_LT_OQ));
	return _mm256_min_ps(b, a);
}

/* Both ends side by side; the second half has a row more if n is odd. */
static AVX2 void rows8(aqz_viterbi *v)
{
	const step8 forth = step8_of(&v->forth), back = step8_of(&v->back);
	const float *cost = v->cost, *cost_back = v->cost + 4 * (v->n - 1);
	uint8_t *choice = v->choice, *choice_back = v->choice + (v->n - 1);
	__m256 before = _mm256_loadu_ps(v->before), after = _mm256_loadu_ps(v->after);
	const size_t n = v->middle;

	for (size_t i = 0; i < n; i++) {
		before = row8(before, &forth, cost + 4 * i, choice + i);
		after = row8(after, &back, cost_back - 4 * i, choice_back - i);
		if (i % AQZ_REBASE == AQZ_REBASE - 1) {
			before = _mm256_sub_ps(before, least8(before));
			after = _mm256_sub_ps(after, least8(after));
		}
	}
	if (v->n - n > n) {
		after = row8(after, &back, cost_back - 4 * n, choice_back - n);
		if (n % AQZ_REBASE == AQZ_REBASE - 1)
			after = _mm256_sub_ps(after, least8(after));
	}
	_mm256_storeu_ps(v->before, before);
	_mm256_storeu_ps(v->after, after);
}

/* ---- 16 states and more with AVX2, forwards: costs in memory, two registers of 8 for each block of 8 */

/* The lanes of two registers, shuffled by 0x88 or 0xdd, in which costs of the states 2 (l ^ flip) + t are. */
INLINE AVX2 __m256i lanes8(unsigned flip)
{
	static const int32_t place[8] = {0, 1, 4, 5, 2, 3, 6, 7};
	int32_t lanes[8];

	for (unsigned l = 0; l < 8; l++)
		lanes[l] = place[(l ^ flip) & 7];
	return _mm256_loadu_si256((const __m256i_u *)lanes);
}

/* now[2 a + t] for a = 8 block .. 8 block + 7, each a flipped in its lower three bits. */
INLINE AVX2 __m256 gather8(const float *now, unsigned block, unsigned t, __m256i lanes)
{
	const __m256 low = _mm256_loadu_ps(now + 16 * (size_t)block);
	const __m256 high = _mm256_loadu_ps(now + 16 * (size_t)block + 8);

	return _mm256_permutevar8x32_ps(
		t == 0 ? _mm256_shuffle_ps(low, high, 0x88) : _mm256_shuffle_ps(low, high, 0xdd), lanes);
}

INLINE AVX2 void rows_avx2(aqz_viterbi *v, unsigned state_bits, unsigned h0, unsigned h1)
{
	const unsigned n_states = 1u << state_bits, n_blocks = n_states / 16;
	/* What a state after is changed by to be a state before, shifted right. */
	const unsigned flips[2][2] = {{0, h1}, {h0 ^ n_states / 2, h0 ^ n_states / 2 ^ h1}};
	const __m256i lanes[2][2] = {
		{lanes8(0), lanes8(flips[0][1])}, {lanes8(flips[1][0]), lanes8(flips[1][1])}};
	float buffer[AQZ_MAX_STATES], *now = v->before, *next = buffer;
	uint8_t *choice = v->choice;

	for (size_t i = 0; i < v->middle; i++, choice += v->row_bytes) {
		const float *c = v->cost + 4 * i;
		float *swap = now;
		__m256 least = _mm256_set1_ps(INFINITY);

		for (unsigned t = 0; t < 2; t++) {
			const __m256 c0 = _mm256_set1_ps(c[2 * t]), c1 = _mm256_set1_ps(c[2 * t + 1]);

			for (unsigned k = 0; k < n_blocks; k++) {
				const __m256 a = _mm256_add_ps(
								 gather8(now, k ^ flips[t][0] >> 3, t, lanes[t][0]), c0),
							 b = _mm256_add_ps(
								 gather8(now, k ^ flips[t][1] >> 3, t, lanes[t][1]), c1),
							 m = _mm256_min_ps(b, a);

				choice[t * n_blocks + k] =
					(uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(b, a, _CMP_LT_OQ));
				_mm256_storeu_ps(next + 8 * (size_t)(t * n_blocks + k), m);
				least = _mm256_min_ps(least, m);
			}
		}
		now = next;
		next = swap;
		if (i % AQZ_REBASE == AQZ_REBASE - 1) {
			least = least8(least);
			for (unsigned s = 0; s < n_states; s += 8)
				_mm256_storeu_ps(now + s, _mm256_sub_ps(_mm256_loadu_ps(now + s), least));
		}
	}
	if (now != v->before)
		memcpy(v->before, now, n_states * sizeof *now);
}

void AVX2 aqz_viterbi_avx2(aqz_viterbi *v)
{
	switch (v->state_bits) {
	case 2:
		aqz_viterbi_plain(v);
		break;
	case 3:
		rows8(v);
		break;
	case 4:
		rows_avx2(v, 4, CODE(4));
		break;
	case 5:
		rows_avx2(v, 5, CODE(5));
		break;
	default:
		rows_avx2(v, v->state_bits, CODE(v->state_bits));
		break;
	}
}

/* ---- With AVX-512: 16 states in one register, more in two for each block of 16 */

INLINE AVX512 __m512 least16(__m512 v)
{
	v = _mm512_min_ps(v, _mm512_shuffle_f32x4(v, v, 0x4e));
	v = _mm512_min_ps(v, _mm512_shuffle_f32x4(v, v, 0xb1));
	v = _mm512_min_ps(v, _mm512_permute_ps(v, 0x4e));
	return _mm512_min_ps(v, _mm512_permute_ps(v, 0xb1));
}

static AVX512 void rows16(aqz_viterbi *v)
{
	const __m512i from0 = _mm512_loadu_si512(v->forth.other[0]),
				  from1 = _mm512_loadu_si512(v->forth.other[1]),
				  candidate0 = _mm512_loadu_si512(v->forth.candidate[0]),
				  candidate1 = _mm512_loadu_si512(v->forth.candidate[1]);
	__m512 now = _mm512_loadu_ps(v->before);

	for (size_t i = 0; i < v->middle; i++) {
		const __m512 c = _mm512_broadcast_f32x4(_mm_loadu_ps(v->cost + 4 * i));
		const __m512 a =
			_mm512_add_ps(_mm512_permutexvar_ps(from0, now), _mm512_permutevar_ps(c, candidate0));
		const __m512 b =
			_mm512_add_ps(_mm512_permutexvar_ps(from1, now), _mm512_permutevar_ps(c, candidate1));

		aqz_put16(v->choice + 2 * i, (uint16_t)_mm512_cmp_ps_mask(b, a, _CMP_LT_OQ));
		now = _mm512_min_ps(b, a);
		if (i % AQZ_REBASE == AQZ_REBASE - 1)
			now = _mm512_sub_ps(now, least16(now));
	}
	_mm512_storeu_ps(v->before, now);
}

/* The lanes of two registers in which costs of the states 2 (l ^ flip) + t are. */
INLINE AVX512 __m512i lanes16(unsigned t, unsigned flip)
{
	int32_t lanes[16];

	for (unsigned l = 0; l < 16; l++)
		lanes[l] = (int32_t)(2 * ((l ^ flip) & 15) + t);
	return _mm512_loadu_si512(lanes);
}

/* state_bits is a constant: with 32 and 64 states all costs stay in registers. */
INLINE AVX512 void rows_avx512(
	aqz_viterbi *v, const unsigned state_bits, const unsigned h0, const unsigned h1)
{
	const unsigned n_states = 1u << state_bits, n_blocks = n_states / 32;
	const unsigned flips[2][2] = {{0, h1}, {h0 ^ n_states / 2, h0 ^ n_states / 2 ^ h1}};
	const __m512i lanes[2][2] = {{lanes16(0, 0), lanes16(0, flips[0][1])},
		{lanes16(1, flips[1][0]), lanes16(1, flips[1][1])}};
	__m512 now[AQZ_MAX_STATES / 16], next[AQZ_MAX_STATES / 16];
	uint8_t *choice = v->choice;

	UNROLL
	for (unsigned k = 0; k < 2 * n_blocks; k++)
		now[k] = _mm512_loadu_ps(v->before + 16 * (size_t)k);
	for (size_t i = 0; i < v->middle; i++, choice += n_states / 8) {
		const float *c = v->cost + 4 * i;

		UNROLL
		for (unsigned t = 0; t < 2; t++) {
			const __m512 c0 = _mm512_set1_ps(c[2 * t]), c1 = _mm512_set1_ps(c[2 * t + 1]);

			UNROLL
			for (unsigned k = 0; k < n_blocks; k++) {
				const unsigned k0 = 2 * (k ^ flips[t][0] >> 4), k1 = 2 * (k ^ flips[t][1] >> 4);
				const __m512 a =
					_mm512_add_ps(_mm512_permutex2var_ps(now[k0], lanes[t][0], now[k0 + 1]), c0);
				const __m512 b =
					_mm512_add_ps(_mm512_permutex2var_ps(now[k1], lanes[t][1], now[k1 + 1]), c1);

				aqz_put16(choice + 2 * (size_t)(t * n_blocks + k),
					(uint16_t)_mm512_cmp_ps_mask(b, a, _CMP_LT_OQ));
				next[t * n_blocks + k] = _mm512_min_ps(b, a);
			}
		}
		if (i % AQZ_REBASE == AQZ_REBASE - 1) {
			__m512 least = next[0];

			UNROLL
			for (unsigned k = 1; k < 2 * n_blocks; k++)
				least = _mm512_min_ps(least, next[k]);
			least = least16(least);
			UNROLL
			for (unsigned k = 0; k < 2 * n_blocks; k++)
				next[k] = _mm512_sub_ps(next[k], least);
		}
		UNROLL
		for (unsigned k = 0; k < 2 * n_blocks; k++)
			now[k] = next[k];
	}
	UNROLL
	for (unsigned k = 0; k < 2 * n_blocks; k++)
		_mm512_storeu_ps(v->before + 16 * (size_t)k, now[k]);
}

void AVX512 aqz_viterbi_avx512(aqz_viterbi *v)
{
	switch (v->state_bits) {
	case 4:
		rows16(v);
		break;
	case 5:
		rows_avx512(v, 5, CODE(5));
		break;
	case 6:
		rows_avx512(v, 6, CODE(6));
		break;
	case 7:
		rows_avx512(v, 7, CODE(7));
		break;
	case 8:
		rows_avx512(v, 8, CODE(8));
		break;
	default:
		aqz_viterbi_avx2(v);
		break;
	}
}

#endif
