/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in 256 entries of 13 bits by AVX-512 BW: a table of 16-bit lanes is 8 registers, of which vpermi2w reaches
 * two at a time; 32 codes take 4 of them and 3 masked moves. Sums of 8 tables fit 16 bits, and have one scale. */
#include "codec/product_parts.h"
#include "codec/x86.h"

#if defined(__x86_64__)

#define BW "avx512f,avx512bw,avx512vl,avx512dq"
#define TARGET __attribute__((target(BW)))
#define INLINE static inline __attribute__((always_inline)) TARGET

TARGET
static void entries16(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse)
{
	int16_t *out = entries;

	if (n_codes < 16) {
		aqz_product_entries16_scalar(entries, tables, n_tables, n_codes, inverse);
		return;
	}
	for (unsigned k = 0; k < n_tables; k++, out += AQZ_LUT_ENTRIES, tables += n_codes)
		for (unsigned i = 0; i < n_codes; i += 16)
			_mm256_store_si256((__m256i *)(void *)(out + i),
				_mm512_cvtepi32_epi16(_mm512_cvtps_epi32(
					_mm512_mul_ps(_mm512_loadu_ps(tables + i), _mm512_set1_ps(inverse)))));
}

typedef struct table {
	__m512i t[8];
} table;

INLINE table table_get(const int16_t *entries)
{
	return (table){{_mm512_load_si512(entries), _mm512_load_si512(entries + 32),
		_mm512_load_si512(entries + 64), _mm512_load_si512(entries + 96),
		_mm512_load_si512(entries + 128), _mm512_load_si512(entries + 160),
		_mm512_load_si512(entries + 192), _mm512_load_si512(entries + 224)}};
}

/* 32 rows: vpermi2w looks at 6 bits of a code, masks at the others. */
INLINE __m512i add32(__m512i sum, const table *t, const uint8_t *line)
{
	const __m512i codes =
		_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)line));
	const __mmask32 bit6 = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(64));
	const __mmask32 bit7 = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(128));
	const __m512i a = _mm512_permutex2var_epi16(t->t[0], codes, t->t[1]);
	const __m512i b = _mm512_permutex2var_epi16(t->t[2], codes, t->t[3]);
	const __m512i c = _mm512_permutex2var_epi16(t->t[4], codes, t->t[5]);
	const __m512i d = _mm512_permutex2var_epi16(t->t[6], codes, t->t[7]);
	const __m512i ab = _mm512_mask_mov_epi16(a, bit6, b), cd = _mm512_mask_mov_epi16(c, bit6, d);

	return _mm512_add_epi16(sum, _mm512_mask_mov_epi16(ab, bit7, cd));
}

INLINE void add_rows(float *y, __m512i sum, __m512 scale)
{
	const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(sum)));
	const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(sum, 1)));

	_mm512_storeu_ps(y, _mm512_add_ps(_mm512_loadu_ps(y), _mm512_mul_ps(low, scale)));
	_mm512_storeu_ps(y + 16, _mm512_add_ps(_mm512_loadu_ps(y + 16), _mm512_mul_ps(high, scale)));
}

/* Into the second-level cache: the first waits for too few lines at a time to read memory at its speed. */
#define FETCH(at) _mm_prefetch((const char *)(at), _MM_HINT_T1)

/* One row block, or two that share the loads of tables. */
INLINE void unit16(float *y, const uint8_t *lines, size_t block_bytes, const int16_t *entries,
	unsigned n, float scale, ptrdiff_t ahead, bool two)
{
	__m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
	const uint8_t *next = lines + block_bytes;

	for (unsigned k = 0; k < n; k++, lines += 64, next += 64, entries += AQZ_LUT_ENTRIES) {
		const table t = table_get(entries);

		FETCH(lines + ahead);
		s0 = add32(s0, &t, lines);
		s1 = add32(s1, &t, lines + 32);
		if (two) {
			FETCH(next + ahead);
			s2 = add32(s2, &t, next);
			s3 = add32(s3, &t, next + 32);
		}
	}
	add_rows(y, s0, _mm512_set1_ps(scale));
	add_rows(y + 32, s1, _mm512_set1_ps(scale));
	if (two) {
		add_rows(y + 64, s2, _mm512_set1_ps(scale));
		add_rows(y + 96, s3, _mm512_set1_ps(scale));
	}
}

TARGET
static void look_up16(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales,
	unsigned n_tables, unsigned unit, ptrdiff_t ahead)
{
	for (unsigned b = 0; b < n_blocks; b += 2, y += 128, lines += 2 * block_bytes)
		for (unsigned k = 0; k < n_tables; k += unit) {
			const unsigned n = n_tables - k < unit ? n_tables - k : unit;
			const int16_t *e = (const int16_t *)entries + k * AQZ_LUT_ENTRIES;

			if (b + 1 < n_blocks)
				unit16(y, lines + k * 64, block_bytes, e, n, scales[k / unit], ahead, true);
			else
				unit16(y, lines + k * 64, block_bytes, e, n, scales[k / unit], ahead, false);
		}
}

const aqz_product_kernels aqz_product_kernels_avx512bw = {
	.name = "avx512bw",
	.lut16_rows = 192,
	.quick_direct = true,
	.lut16 = {4095, 8, 512, entries16, look_up16},
	.lut8 = {127, 32, 256, aqz_product_entries8_scalar, aqz_product_look_up8_scalar},
	.tables = aqz_product_tables_avx512,
	.largest = aqz_product_largest_avx512,
	.widen = aqz_product_widen_scalar,
	.look_up = aqz_product_look_up_scalar,
	.direct = aqz_product_direct_avx512,
	.halve = aqz_product_halve_avx512,
	.turn = aqz_product_turn_avx2,
};

#endif
