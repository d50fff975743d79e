/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in 256 entries by AVX2. A plane of bytes is 16 pieces of 16, in each of which vpshufb looks with the low
 * 4 bits of an index, giving 0 where its bit 7 is set. A piece is stored as its difference (exclusive or) from the one
 * before it, and the index less 16 h is negative for the pieces h that are beyond the code's: so the exclusive or of
 * all results is the entry. Done for codes below 128 and for the others, of which bit 7 chooses. The low bytes are
 * summed for all tables of a unit first, then the high ones: that is what 16 registers are enough for. */
#include "codec/product_parts.h"
#include "codec/x86.h"

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* ---- Entries: differences of bytes low[256], or low[256] and high[256] + 128. 8-bit ones are + 128. */

INLINE __m256i load(const void *p)
{
	return _mm256_loadu_si256((const __m256i_u *)p);
}

/* 16 values to integers in order. */
INLINE __m256i integers(const float *values, __m256 inverse)
{
	const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values), inverse));
	const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + 8), inverse));

	return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}

/* Low bytes of 16 integers, and high ones. */
INLINE void bytes_of(__m128i *low, __m128i *high, __m256i v)
{
	const __m256i l = _mm256_and_si256(v, _mm256_set1_epi16(0xff)), h = _mm256_srli_epi16(v, 8);

	*low = _mm_packus_epi16(_mm256_castsi256_si128(l), _mm256_extracti128_si256(l, 1));
	*high = _mm_packus_epi16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

/* One table. high may be NULL: then low is + 128. */
INLINE void entries_of(
	uint8_t *low, uint8_t *high, const float *table, unsigned n_codes, float inverse)
{
	const __m128i flip = _mm_set1_epi8((char)-128);
	__m128i last_low = _mm_setzero_si128(), last_high = last_low;
	float few[16] = {0};

	if (n_codes < 16)
		memcpy(few, table, n_codes * sizeof *few);
	for (unsigned i = 0; i < n_codes; i += 16) {
		__m128i l, h;

		bytes_of(&l, &h, integers(n_codes < 16 ? few : table + i, _mm256_set1_ps(inverse)));
		if (high == NULL)
			l = _mm_xor_si128(l, flip);
		h = _mm_xor_si128(h, flip);
		if (i % 128 == 0)
			last_low = last_high = _mm_setzero_si128();
		_mm_store_si128((__m128i *)(void *)(low + i), _mm_xor_si128(l, last_low));
		if (high != NULL)
			_mm_store_si128((__m128i *)(void *)(high + i), _mm_xor_si128(h, last_high));
		last_low = l;
		last_high = h;
	}
	/* The other pieces take part too. */
	for (unsigned i = n_codes < 16 ? 16 : n_codes; i < 256; i += 16) {
		_mm_store_si128((__m128i *)(void *)(low + i), _mm_setzero_si128());
		if (high != NULL)
			_mm_store_si128((__m128i *)(void *)(high + i), _mm_setzero_si128());
	}
}

TARGET
static void entries16(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse)
{
	uint8_t *out = entries;

	for (unsigned k = 0; k < n_tables; k++, out += 512, tables += n_codes)
		entries_of(out, out + 256, tables, n_codes, inverse);
}

TARGET
static void entries8(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse)
{
	uint8_t *out = entries;

	for (unsigned k = 0; k < n_tables; k++, out += 256, tables += n_codes)
		entries_of(out, NULL, tables, n_codes, inverse);
}

/* ---- Sums of 32 rows: of the even ones mixed with 256 times the odd ones (modulo 2^16), and of the odd ones. */

typedef struct sums {
	__m256i mixed, odd;
} sums;

INLINE void sums_add(sums *s, __m256i v)
{
	s->mixed = _mm256_add_epi16(s->mixed, v);
	s->odd = _mm256_add_epi16(s->odd, _mm256_srli_epi16(v, 8));
}

INLINE __m256i piece(const uint8_t *p)
{
	return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)p));
}

/* Compilers would rather sum in trees than in chains, for which there are no registers. */
#if defined(__GNUC__) && !defined(SIMDE_NO_NATIVE)
#define KEEP(v) __asm__("" : "+x"(v))
#else
#define KEEP(v) ((void)(v))
#endif

/* One plane of one table for the 64 rows of a line. */
INLINE void line_add(sums s[2], const uint8_t *plane, const uint8_t *line)
{
	const __m256i c0 = load(line), c1 = load(line + 32), step = _mm256_set1_epi8(-16);
	__m256i i0 = _mm256_and_si256(c0, _mm256_set1_epi8(127));
	__m256i i1 = _mm256_and_si256(c1, _mm256_set1_epi8(127));
	__m256i lower = piece(plane), upper = piece(plane + 128);
	__m256i l0 = _mm256_shuffle_epi8(lower, i0), u0 = _mm256_shuffle_epi8(upper, i0);
	__m256i l1 = _mm256_shuffle_epi8(lower, i1), u1 = _mm256_shuffle_epi8(upper, i1);

	UNROLL
	for (unsigned h = 16; h < 128; h += 16) {
		i0 = _mm256_add_epi8(i0, step);
		i1 = _mm256_add_epi8(i1, step);
		KEEP(i0);
		KEEP(i1);
		lower = piece(plane + h);
		upper = piece(plane + 128 + h);
		l0 = _mm256_xor_si256(l0, _mm256_shuffle_epi8(lower, i0));
		u0 = _mm256_xor_si256(u0, _mm256_shuffle_epi8(upper, i0));
		l1 = _mm256_xor_si256(l1, _mm256_shuffle_epi8(lower, i1));
		u1 = _mm256_xor_si256(u1, _mm256_shuffle_epi8(upper, i1));
		KEEP(l0);
		KEEP(u0);
		KEEP(l1);
		KEEP(u1);
	}
	sums_add(&s[0], _mm256_blendv_epi8(l0, u0, c0));
	sums_add(&s[1], _mm256_blendv_epi8(l1, u1, c1));
}

#define FETCH(at) _mm_prefetch((const char *)(at), _MM_HINT_T1)

INLINE void plane_sums(sums s[2], const uint8_t *lines, const uint8_t *plane, size_t table_bytes,
	unsigned n, ptrdiff_t ahead)
{
	s[0].mixed = s[0].odd = s[1].mixed = s[1].odd = _mm256_setzero_si256();
	for (unsigned k = 0; k < n; k++, lines += 64, plane += table_bytes) {
		FETCH(lines + ahead);
		line_add(s, plane, lines);
	}
}

/* Sums of 8 rows each, the i-th of rows 4 k + i at k. */
INLINE void sums_widen(__m256i out[4], const sums *s)
{
	const __m256i even = _mm256_sub_epi16(s->mixed, _mm256_slli_epi16(s->odd, 8));
	const __m256i mask = _mm256_set1_epi32(0xffff);

	out[0] = _mm256_and_si256(even, mask);
	out[1] = _mm256_and_si256(s->odd, mask);
	out[2] = _mm256_srli_epi32(even, 16);
	out[3] = _mm256_srli_epi32(s->odd, 16);
}

/* y[0..31] += scale * sum, rows put in order. */
INLINE void add_rows(float *y, const __m256i sum[4], float scale)
{
	const __m256 s = _mm256_set1_ps(scale);
	const __m256 a = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[0]), s);
	const __m256 b = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[1]), s);
	const __m256 c = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[2]), s);
	const __m256 d = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[3]), s);
	const __m256d ab0 = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
	const __m256d ab1 = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
	const __m256d cd0 = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
	const __m256d cd1 = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
	/* Lane q of these holds rows 16 q + 0-3, 4-7, 8-11, 12-15. */
	const __m256 r0 = _mm256_castpd_ps(_mm256_unpacklo_pd(ab0, cd0));
	const __m256 r1 = _mm256_castpd_ps(_mm256_unpackhi_pd(ab0, cd0));
	const __m256 r2 = _mm256_castpd_ps(_mm256_unpacklo_pd(ab1, cd1));
	const __m256 r3 = _mm256_castpd_ps(_mm256_unpackhi_pd(ab1, cd1));
	const __m256 rows[4] = {_mm256_permute2f128_ps(r0, r1, 0x20),
		_mm256_permute2f128_ps(r2, r3, 0x20), _mm256_permute2f128_ps(r0, r1, 0x31),
		_mm256_permute2f128_ps(r2, r3, 0x31)};

	UNROLL
	for (unsigned i = 0; i < 4; i++)
		_mm256_storeu_ps(y + 8 * i, _mm256_add_ps(_mm256_loadu_ps(y + 8 * i), rows[i]));
}

/* ---- Look-ups */

TARGET
static void look_up16(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales,
	unsigned n_tables, unsigned unit, ptrdiff_t ahead)
{
	for (unsigned b = 0; b < n_blocks; b++, y += AQZ_TILE_ROWS, lines += block_bytes)
		for (unsigned k = 0; k < n_tables; k += unit) {
			const unsigned n = n_tables - k < unit ? n_tables - k : unit;
			const uint8_t *e = (const uint8_t *)entries + k * 512;
			const __m256i bias = _mm256_set1_epi32((int)(n * 128));
			sums low[2], high[2];

			plane_sums(low, lines + k * 64, e, 512, n, ahead);
			plane_sums(high, lines + k * 64, e + 256, 512, n, 0);
			for (unsigned i = 0; i < 2; i++) {
				__m256i l[4], h[4];

				sums_widen(l, &low[i]);
				sums_widen(h, &high[i]);
				UNROLL
				for (unsigned j = 0; j < 4; j++)
					l[j] = _mm256_add_epi32(l[j], _mm256_slli_epi32(_mm256_sub_epi32(h[j], bias), 8));
				add_rows(y + 32 * i, l, scales[k / unit]);
			}
		}
}

TARGET
static void look_up8(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales,
	unsigned n_tables, unsigned unit, ptrdiff_t ahead)
{
	for (unsigned b = 0; b < n_blocks; b++, y += AQZ_TILE_ROWS, lines += block_bytes)
		for (unsigned k = 0; k < n_tables; k += unit) {
			const unsigned n = n_tables - k < unit ? n_tables - k : unit;
			const __m256i bias = _mm256_set1_epi32((int)(n * 128));
			sums s[2];

			plane_sums(s, lines + k * 64, (const uint8_t *)entries + k * 256, 256, n, ahead);
			for (unsigned i = 0; i < 2; i++) {
				__m256i v[4];

				sums_widen(v, &s[i]);
				UNROLL
				for (unsigned j = 0; j < 4; j++)
					v[j] = _mm256_sub_epi32(v[j], bias);
				add_rows(y + 32 * i, v, scales[k / unit]);
			}
		}
}

const aqz_product_kernels aqz_product_kernels_avx2 = {
	.name = "avx2",
	.lut16_rows = 384,
	.quick_direct = true,
	.lut16 = {32767, AQZ_LUT_TABLES, 512, entries16, look_up16},
	.lut8 = {127, 32, 256, entries8, look_up8},
	.tables = aqz_product_tables_avx2,
	.largest = aqz_product_largest_avx2,
	.widen = aqz_product_widen_scalar,
	.look_up = aqz_product_look_up_scalar,
	.direct = aqz_product_direct_avx2,
	.halve = aqz_product_halve_avx2,
	.turn = aqz_product_turn_avx2,
};

#endif
