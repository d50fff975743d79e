/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding a chunk of the trellis codec, spec 7.3, with AVX-512: the 32 lanes of a block are two
 * vectors. A row of a block is a chain of look-up, multiplication and expansion of words, some 70
 * cycles; the two vectors overlap in it but for the words' place. */
#include "codec/trellis_lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { LANES = AQZ_TRELLIS_LANES, VECTORS = 2, WIDTH = 16 };
#define TARGET __attribute__((target("avx512f,avx2,popcnt")))
#define INLINE static inline __attribute__((always_inline)) TARGET

#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 2")
#endif

typedef __m512i vector;

/* What stays the same from row to row of a block. */
typedef struct block {
	__m512i context[VECTORS]; /* of the columns */
	__m512 step[VECTORS];
	__mmask16 active[VECTORS];
	unsigned n_lanes;
} block;

/* What stays the same everywhere. */
typedef struct constants {
	__m512i offset[4]; /* of a bucket's tables in slots, 16 buckets each */
	__m512i last_bucket;
	unsigned state_code, odd_code;
	__m512i doubled; /* 1: v = 2k ... */
} constants;

INLINE __m512i offsets(__m512i sum, const constants *c)
{
	__m512i b = _mm512_srai_epi32(sum, 2), low, high;

	b = _mm512_min_epi32(_mm512_max_epi32(b, _mm512_setzero_si512()), c->last_bucket);
	low = _mm512_permutex2var_epi32(c->offset[0], b, c->offset[1]);
	high = _mm512_permutex2var_epi32(c->offset[2], b, c->offset[3]);
	return _mm512_mask_mov_epi32(low, _mm512_test_epi32_mask(b, _mm512_set1_epi32(32)), high);
}

INLINE void store(uint8_t *dst, __m512 a, aqz_dtype dtype)
{
	if (dtype == AQZ_F32) {
		_mm512_storeu_ps(dst, a);
	} else if (dtype == AQZ_F16) {
		_mm256_storeu_si256(
			(__m256i_u *)dst, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
	} else {
		const __m512i u = _mm512_castps_si512(a);
		const __m512i even = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
		const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), even);

		_mm256_storeu_si256((__m256i_u *)dst, _mm512_cvtepi32_epi16(_mm512_srli_epi32(sum, 16)));
	}
}

INLINE void escapes(aqz_feed *f, __m512i k[VECTORS], uint32_t lanes)
{
	int32_t index[LANES];

	UNROLL
	for (int i = 0; i < VECTORS; i++)
		_mm512_storeu_si512(index + WIDTH * i, k[i]);
	aqz_feed_escapes(f, index, lanes);
	UNROLL
	for (int i = 0; i < VECTORS; i++)
		k[i] = _mm512_loadu_si512(index + WIDTH * i);
}

/* One row of a block. dst: its elements, or NULL. */
INLINE void take_row(uint8_t *dst, __m512i x[VECTORS], __m512i state[VECTORS], aqz_feed *f,
	const block *b, const constants *c, const uint32_t *slots, int row_context, float row_step,
	aqz_dtype dtype)
{
	const __m512i low12 = _mm512_set1_epi32(0xfff), one = _mm512_set1_epi32(1);
	const size_t element_bytes = dtype == AQZ_F32 ? 4 : 2;
	__m512i k[VECTORS];
	__mmask16 types[VECTORS], escaped[VECTORS];

	UNROLL
	for (int i = 0; i < VECTORS; i++) {
		__m512i at = offsets(_mm512_add_epi32(b->context[i], _mm512_set1_epi32(row_context)), c);
		__m512i slot, next;

		types[i] = _mm512_test_epi32_mask(state[i], one);
		at = _mm512_mask_add_epi32(at, types[i], at, _mm512_set1_epi32(1 << AQZ_RANS_BITS));
		at = _mm512_add_epi32(at, _mm512_and_si512(x[i], low12));
		slot = _mm512_i32gather_epi32(at, slots, 4);
		next = _mm512_add_epi32(_mm512_and_si512(_mm512_srli_epi32(slot, 12), low12), one);
		next = _mm512_mullo_epi32(next, _mm512_srli_epi32(x[i], AQZ_RANS_BITS));
		x[i] = _mm512_mask_add_epi32(x[i], b->active[i], next, _mm512_and_si512(slot, low12));
		k[i] = _mm512_srai_epi32(slot, 24);
		escaped[i] =
			_mm512_mask_cmpeq_epi32_mask(b->active[i], k[i], _mm512_set1_epi32(AQZ_TRELLIS_ESCAPE));
	}
	UNROLL
	for (int i = 0; i < VECTORS; i++) {
		const __mmask16 small = _mm512_cmplt_epu32_mask(x[i], _mm512_set1_epi32((int)AQZ_RANS_LEAST));
		const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i_u *)f->next));

		x[i] = _mm512_mask_or_epi32(
			x[i], small, _mm512_slli_epi32(x[i], 16), _mm512_maskz_expand_epi32(small, words));
		f->next += 2 * __builtin_popcount(small);
	}
	if (__builtin_expect((escaped[0] | escaped[1]) != 0, 0))
		escapes(f, k, escaped[0] | (uint32_t)escaped[1] << WIDTH);
	UNROLL
	for (int i = 0; i < VECTORS; i++) {
		const __mmask16 odd = _mm512_test_epi32_mask(k[i], one);
		__m512i next = _mm512_srli_epi32(state[i], 1);

		if (dst != NULL) {
			const __m512i doubled = _mm512_sllv_epi32(k[i], c->doubled);
			const __m512 v =
				_mm512_cvtepi32_ps(_mm512_mask_add_epi32(doubled, types[i], doubled, one));
			const __m512 step = _mm512_mul_ps(b->step[i], _mm512_set1_ps(row_step));

			store(dst + (size_t)i * WIDTH * element_bytes, _mm512_mul_ps(v, step), dtype);
		}
		next = _mm512_mask_xor_epi32(next, types[i], next, _mm512_set1_epi32((int)c->state_code));
		state[i] = _mm512_mask_xor_epi32(next, odd, next, _mm512_set1_epi32((int)c->odd_code));
	}
}

static TARGET void open_block(block *b, const aqz_trellis_tables *t, uint64_t col)
{
	int32_t context[LANES] = {0};
	float step[LANES] = {0};

	b->n_lanes = (unsigned)aqz_min(LANES, t->params->cols - col);
	for (unsigned l = 0; l < b->n_lanes; l++) {
		context[l] = t->column_context[col + l];
		step[l] = t->column_step[col + l];
	}
	for (int i = 0; i < VECTORS; i++) {
		const uint32_t lanes = b->n_lanes < LANES ? (1u << b->n_lanes) - 1 : UINT32_MAX;

		b->context[i] = _mm512_loadu_si512(context + WIDTH * i);
		b->step[i] = _mm512_loadu_ps(step + WIDTH * i);
		b->active[i] = (__mmask16)(lanes >> WIDTH * i);
	}
}

static TARGET void open_constants(constants *c, const aqz_trellis_params *p)
{
	int32_t offset[AQZ_TRELLIS_MAX_BUCKETS] = {0};

	for (unsigned i = 0; i < p->n_buckets; i++)
		offset[i] = p->bucket_table[i] << (AQZ_RANS_BITS + 1);
	for (int i = 0; i < 4; i++)
		c->offset[i] = _mm512_loadu_si512(offset + 16 * i);
	c->last_bucket = _mm512_set1_epi32(p->n_buckets - 1);
	c->doubled = _mm512_set1_epi32(p->state_bits != 0);
	c->state_code = aqz_trellis_codes[p->state_bits][0];
	c->odd_code = aqz_trellis_codes[p->state_bits][1];
}

INLINE vector load(const void *p)
{
	return _mm512_loadu_si512(p);
}

INLINE void save(void *p, vector v)
{
	_mm512_storeu_si512(p, v);
}

#define DECODE aqz_trellis_decode_avx512
#include "codec/trellis_body.h"

#endif
