/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding a chunk of the trellis codec, spec 7.3, with AVX2: the 32 lanes of a block are four
 * vectors. As trellis_avx512.c, but words come to their lanes by a table of permutations. */
#include "codec/trellis_lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { LANES = AQZ_TRELLIS_LANES, VECTORS = 4, WIDTH = 8 };
#define TARGET __attribute__((target("avx2,popcnt")))
#define INLINE static inline __attribute__((always_inline)) TARGET

#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

/* Which word lane i takes, for each set of lanes that take one: as many as take one below it. */
#define BELOW(set, i) (uint8_t) __builtin_popcount((set) & ((1 << (i)) - 1))
#define SET(s)                                                                                     \
	{                                                                                              \
		BELOW(s, 0), BELOW(s, 1), BELOW(s, 2), BELOW(s, 3), BELOW(s, 4), BELOW(s, 5), BELOW(s, 6), \
			BELOW(s, 7)                                                                            \
	}
#define SETS4(s) SET(s), SET(s + 1), SET(s + 2), SET(s + 3)
#define SETS16(s) SETS4(s), SETS4(s + 4), SETS4(s + 8), SETS4(s + 12)
#define SETS64(s) SETS16(s), SETS16(s + 16), SETS16(s + 32), SETS16(s + 48)
static const uint8_t word_of[256][8] = {SETS64(0), SETS64(64), SETS64(128), SETS64(192)};

typedef __m256i vector;

/* What stays the same from row to row of a block. */
typedef struct block {
	__m256i context[VECTORS];
	__m256 step[VECTORS];
	__m256i active[VECTORS]; /* all bits of a lane */
	unsigned n_lanes;
} block;

typedef struct constants {
	int32_t offset[AQZ_TRELLIS_MAX_BUCKETS]; /* of a bucket's tables in slots */
	int last_bucket;
	unsigned state_code, odd_code;
	__m256i doubled; /* 1: v = 2k ... */
} constants;

INLINE __m256i offsets(__m256i sum, const constants *c)
{
	__m256i b = _mm256_max_epi32(_mm256_srai_epi32(sum, 2), _mm256_setzero_si256());

	b = _mm256_min_epi32(b, _mm256_set1_epi32(c->last_bucket));
	return _mm256_i32gather_epi32(c->offset, b, 4);
}

/* As aqz_f32_to_f16, for what is no NaN. */
INLINE __m256i to_f16(__m256i u)
{
	const __m256i magnitude = _mm256_and_si256(u, _mm256_set1_epi32(0x7fffffff));
	const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x8000));
	const __m256i subnormal = _mm256_sub_epi32(
		_mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0.5f))),
		_mm256_set1_epi32(0x3f000000));
	const __m256i even = _mm256_and_si256(_mm256_srli_epi32(magnitude, 13), _mm256_set1_epi32(1));
	const __m256i normal = _mm256_srli_epi32(
		_mm256_add_epi32(_mm256_add_epi32(magnitude, _mm256_set1_epi32(0x0fff - 0x38000000)), even),
		13);
	const __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x38800000), magnitude);
	const __m256i large = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x477fefff));
	const __m256i finite = _mm256_blendv_epi8(normal, subnormal, small);

	return _mm256_or_si256(sign, _mm256_blendv_epi8(finite, _mm256_set1_epi32(0x7c00), large));
}

INLINE __m256i to_bf16(__m256i u)
{
	const __m256i even = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));

	return _mm256_srli_epi32(
		_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), even), 16);
}

INLINE void store(uint8_t *dst, const __m256 a[VECTORS], aqz_dtype dtype)
{
	if (dtype == AQZ_F32) {
		UNROLL
		for (int i = 0; i < VECTORS; i++)
			_mm256_storeu_ps((float *)(void *)(dst + 32 * i), a[i]);
		return;
	}
	UNROLL
	for (int i = 0; i < VECTORS; i += 2) {
		const __m256i u = _mm256_castps_si256(a[i]), v = _mm256_castps_si256(a[i + 1]);
		const __m256i both = dtype == AQZ_F16 ? _mm256_packus_epi32(to_f16(u), to_f16(v))
											  : _mm256_packus_epi32(to_bf16(u), to_bf16(v));

		_mm256_storeu_si256((__m256i_u *)(dst + 16 * i), _mm256_permute4x64_epi64(both, 0xd8));
	}
}

INLINE void escapes(aqz_feed *f, __m256i k[VECTORS], uint32_t lanes)
{
	int32_t index[LANES];

	UNROLL
	for (int i = 0; i < VECTORS; i++)
		_mm256_storeu_si256((__m256i_u *)(index + WIDTH * i), k[i]);
	aqz_feed_escapes(f, index, lanes);
	UNROLL
	for (int i = 0; i < VECTORS; i++)
		k[i] = _mm256_loadu_si256((const __m256i_u *)(index + WIDTH * i));
}

/* One row of a block. dst: its elements, or NULL. */
INLINE void take_row(uint8_t *dst, __m256i x[VECTORS], __m256i state[VECTORS], aqz_feed *f,
	const block *b, const constants *c, const uint32_t *slots, int row_context, float row_step,
	aqz_dtype dtype)
{
	const __m256i low12 = _mm256_set1_epi32(0xfff), one = _mm256_set1_epi32(1);
	const __m256i none = _mm256_setzero_si256();
	__m256i k[VECTORS], types[VECTORS];
	__m256 elements[VECTORS];
	uint32_t escaped = 0;

	UNROLL
	for (int i = 0; i < VECTORS; i++) {
		__m256i at = offsets(_mm256_add_epi32(b->context[i], _mm256_set1_epi32(row_context)), c);
		__m256i slot, next;

		types[i] = _mm256_sub_epi32(none, _mm256_and_si256(state[i], one));
		at = _mm256_add_epi32(at, _mm256_and_si256(types[i], _mm256_set1_epi32(1 << AQZ_RANS_BITS)));
		at = _mm256_add_epi32(at, _mm256_and_si256(x[i], low12));
		slot = _mm256_i32gather_epi32((const int *)slots, at, 4);
		next = _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(slot, 12), low12), one);
		next = _mm256_mullo_epi32(next, _mm256_srli_epi32(x[i], AQZ_RANS_BITS));
		next = _mm256_add_epi32(next, _mm256_and_si256(slot, low12));
		x[i] = _mm256_blendv_epi8(x[i], next, b->active[i]);
		k[i] = _mm256_srai_epi32(slot, 24);
		escaped |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_and_si256(b->active[i],
					   _mm256_cmpeq_epi32(k[i], _mm256_set1_epi32(AQZ_TRELLIS_ESCAPE)))))
			<< WIDTH * i;
	}
	UNROLL
	for (int i = 0; i < VECTORS; i++) {
		const __m256i small = _mm256_cmpeq_epi32(_mm256_srli_epi32(x[i], 16), none);
		const unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(small));
		const __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)word_of[set]));
		const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i_u *)f->next));
		const __m256i full =
			_mm256_or_si256(_mm256_slli_epi32(x[i], 16), _mm256_permutevar8x32_epi32(words, order));

		x[i] = _mm256_blendv_epi8(x[i], full, small);
		f->next += 2 * __builtin_popcount(set);
	}
	if (__builtin_expect(escaped != 0, 0))
		escapes(f, k, escaped);
	UNROLL
	for (int i = 0; i < VECTORS; i++) {
		const __m256i odd = _mm256_sub_epi32(none, _mm256_and_si256(k[i], one));
		const __m256i doubled = _mm256_sllv_epi32(k[i], c->doubled);
		const __m256 v = _mm256_cvtepi32_ps(_mm256_sub_epi32(doubled, types[i]));
		__m256i next = _mm256_srli_epi32(state[i], 1);

		elements[i] = _mm256_mul_ps(v, _mm256_mul_ps(b->step[i], _mm256_set1_ps(row_step)));
		next = _mm256_xor_si256(
			next, _mm256_and_si256(types[i], _mm256_set1_epi32((int)c->state_code)));
		state[i] = _mm256_xor_si256(next, _mm256_and_si256(odd, _mm256_set1_epi32((int)c->odd_code)));
	}
	if (dst != NULL)
		store(dst, elements, dtype);
}

static TARGET void open_block(block *b, const aqz_trellis_tables *t, uint64_t col)
{
	int32_t context[LANES] = {0}, active[LANES] = {0};
	float step[LANES] = {0};

	b->n_lanes = (unsigned)aqz_min(LANES, t->params->cols - col);
	for (unsigned l = 0; l < b->n_lanes; l++) {
		context[l] = t->column_context[col + l];
		step[l] = t->column_step[col + l];
		active[l] = -1;
	}
	for (int i = 0; i < VECTORS; i++) {
		b->context[i] = _mm256_loadu_si256((const __m256i_u *)(context + WIDTH * i));
		b->active[i] = _mm256_loadu_si256((const __m256i_u *)(active + WIDTH * i));
		b->step[i] = _mm256_loadu_ps(step + WIDTH * i);
	}
}

static TARGET void open_constants(constants *c, const aqz_trellis_params *p)
{
	c->last_bucket = p->n_buckets - 1;
	c->doubled = _mm256_set1_epi32(p->state_bits != 0);
	for (unsigned i = 0; i < p->n_buckets; i++)
		c->offset[i] = p->bucket_table[i] << (AQZ_RANS_BITS + 1);
	c->state_code = aqz_trellis_codes[p->state_bits][0];
	c->odd_code = aqz_trellis_codes[p->state_bits][1];
}

INLINE vector load(const void *p)
{
	return _mm256_loadu_si256(p);
}

INLINE void save(void *p, vector v)
{
	_mm256_storeu_si256(p, v);
}

#define DECODE aqz_trellis_decode_avx2
#include "codec/trellis_body.h"

#endif
