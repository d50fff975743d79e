/* SPDX-License-Identifier: Apache-2.0 */
/* What products on codes do with AVX-512 besides look-ups: tables, and codewords directly. Directly, two rows make a
 * vector: their codewords of 8 values are added, and multiplied by x once for each column. */
#include "codec/product_parts.h"
#include "codec/x86.h"

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,f16c")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* ---- Tables: 4 groups by 64 codes at a time. Multiplied and added one after the other, as the plain kernel does. */

INLINE void tables_of(float *restrict tables, size_t table_ld, const float *restrict turned,
	size_t n, const float *restrict x, unsigned in_group, const unsigned n_groups)
{
	for (size_t k = 0; k < n; k += 64) {
		__m512 sum[4][4];

		UNROLL
		for (unsigned j = 0; j < n_groups; j++)
			sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = _mm512_setzero_ps();
		for (unsigned g = 0; g < in_group; g++) {
			const float *t = turned + g * n + k;
			const __m512 a = _mm512_loadu_ps(t), b = _mm512_loadu_ps(t + 16);
			const __m512 c = _mm512_loadu_ps(t + 32), d = _mm512_loadu_ps(t + 48);

			UNROLL
			for (unsigned j = 0; j < n_groups; j++) {
				const __m512 xg = _mm512_set1_ps(x[j * in_group + g]);

				sum[j][0] = _mm512_add_ps(sum[j][0], _mm512_mul_ps(a, xg));
				sum[j][1] = _mm512_add_ps(sum[j][1], _mm512_mul_ps(b, xg));
				sum[j][2] = _mm512_add_ps(sum[j][2], _mm512_mul_ps(c, xg));
				sum[j][3] = _mm512_add_ps(sum[j][3], _mm512_mul_ps(d, xg));
			}
		}
		UNROLL
		for (unsigned j = 0; j < n_groups; j++) {
			float *to = tables + j * table_ld + k;

			_mm512_storeu_ps(to, sum[j][0]);
			_mm512_storeu_ps(to + 16, sum[j][1]);
			_mm512_storeu_ps(to + 32, sum[j][2]);
			_mm512_storeu_ps(to + 48, sum[j][3]);
		}
	}
}

TARGET void aqz_product_tables_avx512(float *restrict tables, const float *restrict turned,
	const float *restrict x, unsigned n_groups, const aqz_scheme *s)
{
	const size_t n = (size_t)1 << s->code_bits, ld = aqz_codewords(s);
	unsigned j = 0;

	if (n < 64) {
		aqz_product_tables_scalar(tables, turned, x, n_groups, s);
		return;
	}
	for (; j + 4 <= n_groups; j += 4, x += 4 * s->in_group, tables += 4 * ld)
		for (unsigned m = 0; m < s->n_codebooks; m++)
			tables_of(tables + m * n, ld, turned + m * n * s->in_group, n, x, s->in_group, 4);
	for (; j < n_groups; j++, x += s->in_group, tables += ld)
		for (unsigned m = 0; m < s->n_codebooks; m++)
			tables_of(tables + m * n, ld, turned + m * n * s->in_group, n, x, s->in_group, 1);
}

TARGET uint32_t aqz_product_largest_avx512(const float *values, size_t n)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
	size_t i = 0;

	for (; i + 64 <= n; i += 64) {
		a = _mm512_max_epu32(a, _mm512_and_si512(_mm512_loadu_si512(values + i), magnitude));
		b = _mm512_max_epu32(b, _mm512_and_si512(_mm512_loadu_si512(values + i + 16), magnitude));
		c = _mm512_max_epu32(c, _mm512_and_si512(_mm512_loadu_si512(values + i + 32), magnitude));
		d = _mm512_max_epu32(d, _mm512_and_si512(_mm512_loadu_si512(values + i + 48), magnitude));
	}
	for (; i < n; i += 16) {
		const __mmask16 some = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);

		a = _mm512_max_epu32(
			a, _mm512_and_si512(_mm512_maskz_loadu_epi32(some, values + i), magnitude));
	}
	a = _mm512_max_epu32(_mm512_max_epu32(a, b), _mm512_max_epu32(c, d));
	return _mm512_reduce_max_epu32(a);
}

/* ---- Directly */

TARGET bool aqz_product_halve_avx512(uint16_t *restrict half, const float *restrict values, size_t n)
{
	__mmask16 differ = 0;
	size_t i = 0;

	for (; i + 16 <= n && differ == 0; i += 16) {
		const __m512 v = _mm512_loadu_ps(values + i);
		const __m256i h = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

		_mm256_storeu_si256((__m256i_u *)(half + i), h);
		differ = _mm512_cmp_ps_mask(_mm512_cvtph_ps(h), v, _CMP_NEQ_UQ);
	}
	for (; i < n && differ == 0; i++) {
		half[i] = aqz_f32_to_f16(values[i]);
		differ = aqz_f16_to_f32(half[i]) != values[i];
	}
	return differ == 0;
}

typedef struct columns {
	float *acc;		/* [columns][64][8] */
	const float *x; /* [columns][groups][8] */
	size_t x_ld;
} columns;

/* Two rows' codewords; offsets are in values. */
INLINE __m512 two_rows(const float *values, const uint16_t *half, const uint32_t *offset)
{
	if (half != NULL)
		return _mm512_cvtph_ps(_mm256_inserti128_si256(
			_mm256_castsi128_si256(_mm_loadu_si128((const __m128i_u *)(half + offset[0]))),
			_mm_loadu_si128((const __m128i_u *)(half + offset[1])), 1));
	return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(values + offset[0])),
		_mm256_loadu_ps(values + offset[1]), 1);
}

/* Rows [row, row + 2 * pairs) of a tile, for n columns. offsets: [n_groups][M][64]. */
INLINE void rows_direct(const columns *c, const float *values, const uint16_t *half,
	const uint32_t *offsets, unsigned row, unsigned n_groups, const unsigned n_codebooks,
	const unsigned n, const unsigned pairs)
{
	__m512 acc[4][8];

	UNROLL
	for (unsigned p = 0; p < pairs; p++)
		UNROLL
	for (unsigned t = 0; t < n; t++)
		acc[p][t] = _mm512_loadu_ps(c->acc + (t * AQZ_TILE_ROWS + row + 2 * p) * 8);
	offsets += row;
	for (unsigned j = 0; j < n_groups; j++, offsets += n_codebooks * AQZ_TILE_ROWS) {
		__m512 x[8];

		UNROLL
		for (unsigned t = 0; t < n; t++)
			x[t] = _mm512_broadcast_f32x8(_mm256_loadu_ps(c->x + t * c->x_ld + j * 8));
		UNROLL
		for (unsigned p = 0; p < pairs; p++) {
			__m512 w = two_rows(values, half, offsets + 2 * p);

			for (unsigned m = 1; m < n_codebooks; m++)
				w = _mm512_add_ps(w, two_rows(values, half, offsets + m * AQZ_TILE_ROWS + 2 * p));
			UNROLL
			for (unsigned t = 0; t < n; t++)
				acc[p][t] = _mm512_fmadd_ps(w, x[t], acc[p][t]);
		}
	}
	UNROLL
	for (unsigned p = 0; p < pairs; p++)
		UNROLL
	for (unsigned t = 0; t < n; t++)
		_mm512_storeu_ps(c->acc + (t * AQZ_TILE_ROWS + row + 2 * p) * 8, acc[p][t]);
}

INLINE void codebooks_direct(const columns *c, const float *values, const uint16_t *half,
	const uint32_t *offsets, unsigned n_groups, const unsigned n_codebooks, unsigned n)
{
	for (unsigned row = 0; row < AQZ_TILE_ROWS; row += 8)
		if (n == 1)
			rows_direct(c, values, half, offsets, row, n_groups, n_codebooks, 1, 4);
		else if (n == 2)
			rows_direct(c, values, half, offsets, row, n_groups, n_codebooks, 2, 4);
		else if (n == 4)
			rows_direct(c, values, half, offsets, row, n_groups, n_codebooks, 4, 4);
		else
			for (unsigned k = 0; k < 8; k += 4)
				rows_direct(c, values, half, offsets, row + k, n_groups, n_codebooks, 8, 2);
}

/* offsets[i]: where the codeword of each row begins, in values from the first codebook's first. */
INLINE void offsets_of(
	uint32_t *restrict offsets, const uint8_t *restrict line, unsigned bits, unsigned base)
{
	const uint8_t *low = line, *high = line + AQZ_TILE_ROWS;
	uint8_t wide[AQZ_TILE_ROWS];

	if (bits % 8 != 0) {
		aqz_product_widen_scalar(wide, bits < 8 ? low : high, 1, bits % 8);
		*(bits < 8 ? &low : &high) = wide;
	}
	UNROLL
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i += 16) {
		__m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)(low + i)));

		if (bits > 8)
			v = _mm512_add_epi32(v,
				_mm512_slli_epi32(
					_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)(high + i))), 8));
		v = _mm512_slli_epi32(_mm512_add_epi32(v, _mm512_set1_epi32((int)base)), 3);
		_mm512_storeu_si512(offsets + i, v);
	}
}

#define NAME(x) x##_avx512
#define WIDTH 16
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
#include "codec/product_body.h"
#include "codec/product_eights.h"

#endif
