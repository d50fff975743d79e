/* SPDX-License-Identifier: Apache-2.0 */
/* What products on codes do with AVX2 besides look-ups: tables, and codewords directly. Directly, codewords of 8 values
 * are added, and multiplied by x once for each column. */
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

/* ---- Tables: 4 groups by 16 codes at a time. Multiplied and added one after the other, as the plain kernel does. */

INLINE void tables_of(float *restrict tables, size_t table_ld, const float *restrict turned,
	size_t n, const float *restrict x, unsigned in_group, const unsigned n_groups)
{
	for (size_t k = 0; k < n; k += 16) {
		__m256 sum[4][2];

		UNROLL
		for (unsigned j = 0; j < n_groups; j++)
			sum[j][0] = sum[j][1] = _mm256_setzero_ps();
		for (unsigned g = 0; g < in_group; g++) {
			const __m256 a = _mm256_loadu_ps(turned + g * n + k);
			const __m256 b = _mm256_loadu_ps(turned + g * n + k + 8);

			UNROLL
			for (unsigned j = 0; j < n_groups; j++) {
				const __m256 xg = _mm256_set1_ps(x[j * in_group + g]);

				sum[j][0] = _mm256_add_ps(sum[j][0], _mm256_mul_ps(a, xg));
				sum[j][1] = _mm256_add_ps(sum[j][1], _mm256_mul_ps(b, xg));
			}
		}
		UNROLL
		for (unsigned j = 0; j < n_groups; j++) {
			_mm256_storeu_ps(tables + j * table_ld + k, sum[j][0]);
			_mm256_storeu_ps(tables + j * table_ld + k + 8, sum[j][1]);
		}
	}
}

TARGET
void aqz_product_tables_avx2(float *restrict tables, const float *restrict turned,
	const float *restrict x, unsigned n_groups, const aqz_scheme *s)
{
	const size_t n = (size_t)1 << s->code_bits, ld = aqz_codewords(s);
	unsigned j = 0;

	if (n < 16) {
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

/* 8 codewords by 8 of their values: a transposition in pairs, quarters and halves. */
INLINE void turn8(float *restrict to, size_t to_ld, const float *restrict from, size_t from_ld)
{
	__m256 a[8], b[8];

	UNROLL
	for (unsigned i = 0; i < 8; i++)
		a[i] = _mm256_loadu_ps(from + i * from_ld);
	UNROLL
	for (unsigned i = 0; i < 8; i += 2) {
		b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
		b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
	}
	UNROLL
	for (unsigned i = 0; i < 8; i += 4) {
		a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
		a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
		a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
		a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		_mm256_storeu_ps(to + i * to_ld, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
		_mm256_storeu_ps(to + (i + 4) * to_ld, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
	}
}

TARGET
void aqz_product_turn_avx2(
	float *restrict turned, const float *restrict values, unsigned in_group, size_t n)
{
	if (in_group % 8 != 0 || n < 8) {
		aqz_product_turn_scalar(turned, values, in_group, n);
		return;
	}
	for (size_t k = 0; k < n; k += 8)
		for (unsigned g = 0; g < in_group; g += 8)
			turn8(turned + g * n + k, n, values + k * in_group + g, in_group);
}

TARGET
uint32_t aqz_product_largest_avx2(const float *values, size_t n)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
	__m256i most[4];
	uint32_t lanes[8], all = 0;
	size_t i = 0;

	UNROLL
	for (unsigned k = 0; k < 4; k++)
		most[k] = _mm256_setzero_si256();
	for (; i + 32 <= n; i += 32)
		UNROLL
	for (unsigned k = 0; k < 4; k++)
		most[k] = _mm256_max_epu32(most[k],
			_mm256_and_si256(_mm256_loadu_si256((const __m256i_u *)(values + i + 8 * k)), magnitude));
	most[0] =
		_mm256_max_epu32(_mm256_max_epu32(most[0], most[1]), _mm256_max_epu32(most[2], most[3]));
	_mm256_storeu_si256((__m256i_u *)lanes, most[0]);
	for (unsigned k = 0; k < 8; k++)
		all = lanes[k] > all ? lanes[k] : all;
	for (; i < n; i++) {
		const uint32_t bits = aqz_f32_bits(values[i]) & 0x7fffffff;

		all = bits > all ? bits : all;
	}
	return all;
}

/* ---- Directly */

TARGET
bool aqz_product_halve_avx2(uint16_t *restrict half, const float *restrict values, size_t n)
{
	int differ = 0;
	size_t i = 0;

	for (; i + 8 <= n && differ == 0; i += 8) {
		const __m256 v = _mm256_loadu_ps(values + i);
		const __m128i h = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

		_mm_storeu_si128((__m128i_u *)(half + i), h);
		differ = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_cvtph_ps(h), v, _CMP_NEQ_UQ));
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

INLINE __m256 codeword(const float *values, const uint16_t *half, uint32_t offset)
{
	if (half != NULL)
		return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(half + offset)));
	return _mm256_loadu_ps(values + offset);
}

/* Rows [row, row + n_rows) of a tile, for n columns. offsets: [n_groups][M][64], in values. */
INLINE void rows_direct(const columns *c, const float *values, const uint16_t *half,
	const uint32_t *offsets, unsigned row, unsigned n_groups, const unsigned n_codebooks,
	const unsigned n, const unsigned n_rows)
{
	__m256 acc[8][8];

	UNROLL
	for (unsigned r = 0; r < n_rows; r++)
		UNROLL
	for (unsigned t = 0; t < n; t++)
		acc[r][t] = _mm256_loadu_ps(c->acc + (t * AQZ_TILE_ROWS + row + r) * 8);
	offsets += row;
	for (unsigned j = 0; j < n_groups; j++, offsets += n_codebooks * AQZ_TILE_ROWS) {
		__m256 x[8];

		UNROLL
		for (unsigned t = 0; t < n; t++)
			x[t] = _mm256_loadu_ps(c->x + t * c->x_ld + j * 8);
		UNROLL
		for (unsigned r = 0; r < n_rows; r++) {
			__m256 w = codeword(values, half, offsets[r]);

			for (unsigned m = 1; m < n_codebooks; m++)
				w = _mm256_add_ps(w, codeword(values, half, offsets[m * AQZ_TILE_ROWS + r]));
			UNROLL
			for (unsigned t = 0; t < n; t++)
				acc[r][t] = _mm256_fmadd_ps(w, x[t], acc[r][t]);
		}
	}
	UNROLL
	for (unsigned r = 0; r < n_rows; r++)
		UNROLL
	for (unsigned t = 0; t < n; t++)
		_mm256_storeu_ps(c->acc + (t * AQZ_TILE_ROWS + row + r) * 8, acc[r][t]);
}

/* Of 16 registers, 8 are sums. */
INLINE void codebooks_direct(const columns *c, const float *values, const uint16_t *half,
	const uint32_t *offsets, unsigned n_groups, const unsigned n_codebooks, unsigned n)
{
	if (n == 1)
		for (unsigned row = 0; row < AQZ_TILE_ROWS; row += 8)
			rows_direct(c, values, half, offsets, row, n_groups, n_codebooks, 1, 8);
	else if (n == 2)
		for (unsigned row = 0; row < AQZ_TILE_ROWS; row += 4)
			rows_direct(c, values, half, offsets, row, n_groups, n_codebooks, 2, 4);
	else if (n == 4)
		for (unsigned row = 0; row < AQZ_TILE_ROWS; row += 2)
			rows_direct(c, values, half, offsets, row, n_groups, n_codebooks, 4, 2);
	else
		for (unsigned row = 0; row < AQZ_TILE_ROWS; row++)
			rows_direct(c, values, half, offsets, row, n_groups, n_codebooks, 8, 1);
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
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i += 8) {
		__m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)(low + i)));

		if (bits > 8)
			v = _mm256_add_epi32(v,
				_mm256_slli_epi32(
					_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)(high + i))), 8));
		v = _mm256_slli_epi32(_mm256_add_epi32(v, _mm256_set1_epi32((int)base)), 3);
		_mm256_storeu_si256((__m256i_u *)(offsets + i), v);
	}
}

#define NAME(x) x##_avx2
#define WIDTH 8
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
#include "codec/product_body.h"
#include "codec/product_eights.h"

#endif
