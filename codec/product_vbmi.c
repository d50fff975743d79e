/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in 256 entries of 8 or 16 bits by AVX-512 VBMI: a plane of bytes is 4 registers, of which vpermi2b reaches
 * two at a time. 64 codes take 2 of them and a blend for each plane. Sums of bytes are kept in 16-bit lanes: of the
 * even rows mixed with 256 times the odd ones (modulo 2^16), and of the odd ones alone, which then are taken out. */
#include "codec/product_parts.h"
#include "codec/x86.h"

#if defined(__x86_64__)

#define VBMI "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi"
#define TARGET __attribute__((target(VBMI)))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* ---- Entries: bytes low[256], or low[256] and high[256] + 128. 8-bit ones are + 128. */

/* 64 values to integers: as 16 bits in two registers, in the order 0-3, 16-19, 4-7, ... within each 32. */
INLINE void integers(__m512i out[2], const float *values, __m512 inverse)
{
	for (unsigned i = 0; i < 2; i++)
		out[i] = _mm512_packs_epi32(
			_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values + 32 * i), inverse)),
			_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values + 32 * i + 16), inverse)));
}

/* Which bytes of such two registers make 64 entries: n = 0 for the low ones. */
INLINE __m512i entry_bytes(unsigned n)
{
	_Alignas(64) uint8_t index[64];

	for (unsigned i = 0; i < 64; i++)
		index[i] = (uint8_t)((i / 32) * 64 + (i % 16 / 4) * 16 + (i / 16 % 2) * 8 + (i % 4) * 2 + n);
	return _mm512_load_si512(index);
}

TARGET
static void entries16(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse)
{
	const __m512i low = entry_bytes(0), high = entry_bytes(1), flip = _mm512_set1_epi8((char)-128);
	uint8_t *out = entries;

	for (unsigned k = 0; k < n_tables; k++, out += 512, tables += n_codes) {
		_Alignas(64) float few[64] = {0};
		const unsigned n = n_codes < 64 ? 64 : n_codes;

		if (n_codes < 64)
			memcpy(few, tables, n_codes * sizeof *few);
		for (unsigned i = 0; i < n; i += 64) {
			__m512i v[2];

			integers(v, n_codes < 64 ? few : tables + i, _mm512_set1_ps(inverse));
			_mm512_store_si512(out + i, _mm512_permutex2var_epi8(v[0], low, v[1]));
			_mm512_store_si512(
				out + 256 + i, _mm512_xor_si512(_mm512_permutex2var_epi8(v[0], high, v[1]), flip));
		}
	}
}

TARGET
static void entries8(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse)
{
	const __m512i low = entry_bytes(0), flip = _mm512_set1_epi8((char)-128);
	uint8_t *out = entries;

	for (unsigned k = 0; k < n_tables; k++, out += 256, tables += n_codes) {
		_Alignas(64) float few[64] = {0};
		const unsigned n = n_codes < 64 ? 64 : n_codes;

		if (n_codes < 64)
			memcpy(few, tables, n_codes * sizeof *few);
		for (unsigned i = 0; i < n; i += 64) {
			__m512i v[2];

			integers(v, n_codes < 64 ? few : tables + i, _mm512_set1_ps(inverse));
			_mm512_store_si512(
				out + i, _mm512_xor_si512(_mm512_permutex2var_epi8(v[0], low, v[1]), flip));
		}
	}
}

/* ---- Sums */

typedef struct plane {
	__m512i t[4];
} plane;

/* Compilers would rather load a register for each use than keep it, and loads would be what bounds the loop. */
#if defined(__GNUC__) && !defined(SIMDE_NO_NATIVE)
#define KEEP(v) __asm__("" : "+v"(v))
#else
#define KEEP(v) ((void)(v))
#endif

INLINE plane plane_get(const uint8_t *bytes)
{
	plane p = {{_mm512_load_si512(bytes), _mm512_load_si512(bytes + 64),
		_mm512_load_si512(bytes + 128), _mm512_load_si512(bytes + 192)}};

	KEEP(p.t[0]);
	KEEP(p.t[1]);
	KEEP(p.t[2]);
	KEEP(p.t[3]);
	return p;
}

typedef struct sums {
	__m512i mixed, odd;
} sums;

INLINE void sums_add(sums *s, const plane *p, __m512i codes, __mmask64 upper)
{
	const __m512i v = _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(p->t[0], codes, p->t[1]),
		_mm512_permutex2var_epi8(p->t[2], codes, p->t[3]));

	s->mixed = _mm512_add_epi16(s->mixed, v);
	s->odd = _mm512_add_epi16(s->odd, _mm512_srli_epi16(v, 8));
}

/* Sums of 16 rows each, the i-th of row 4 k + i at k. Those of bytes are below 2^16: at most 64 of up to 255. */
INLINE void sums_widen(__m512i out[4], const sums *s)
{
	const __m512i even = _mm512_sub_epi16(s->mixed, _mm512_slli_epi16(s->odd, 8));
	const __m512i mask = _mm512_set1_epi32(0xffff);

	out[0] = _mm512_and_si512(even, mask);
	out[1] = _mm512_and_si512(s->odd, mask);
	out[2] = _mm512_srli_epi32(even, 16);
	out[3] = _mm512_srli_epi32(s->odd, 16);
}

/* y[0..63] += scale * sum, rows put in order: a transposition of 4 x 16. */
INLINE void add_rows(float *y, const __m512i sum[4], float scale)
{
	const __m512 s = _mm512_set1_ps(scale);
	const __m512 a = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[0]), s);
	const __m512 b = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[1]), s);
	const __m512 c = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[2]), s);
	const __m512 d = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[3]), s);
	const __m512 ab0 = _mm512_unpacklo_ps(a, b), ab1 = _mm512_unpackhi_ps(a, b);
	const __m512 cd0 = _mm512_unpacklo_ps(c, d), cd1 = _mm512_unpackhi_ps(c, d);
	/* Lane q of these holds rows 16 q + 0-3, 4-7, 8-11, 12-15. */
	const __m512 r0 =
		_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab0), _mm512_castps_pd(cd0)));
	const __m512 r1 =
		_mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab0), _mm512_castps_pd(cd0)));
	const __m512 r2 =
		_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab1), _mm512_castps_pd(cd1)));
	const __m512 r3 =
		_mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab1), _mm512_castps_pd(cd1)));
	const __m512 p0 = _mm512_shuffle_f32x4(r0, r1, 0x44), p1 = _mm512_shuffle_f32x4(r0, r1, 0xee);
	const __m512 p2 = _mm512_shuffle_f32x4(r2, r3, 0x44), p3 = _mm512_shuffle_f32x4(r2, r3, 0xee);

	_mm512_storeu_ps(y, _mm512_add_ps(_mm512_loadu_ps(y), _mm512_shuffle_f32x4(p0, p2, 0x88)));
	_mm512_storeu_ps(
		y + 16, _mm512_add_ps(_mm512_loadu_ps(y + 16), _mm512_shuffle_f32x4(p0, p2, 0xdd)));
	_mm512_storeu_ps(
		y + 32, _mm512_add_ps(_mm512_loadu_ps(y + 32), _mm512_shuffle_f32x4(p1, p3, 0x88)));
	_mm512_storeu_ps(
		y + 48, _mm512_add_ps(_mm512_loadu_ps(y + 48), _mm512_shuffle_f32x4(p1, p3, 0xdd)));
}

/* ---- Look-ups: 1 row block, or 2 that share the loads of tables. */

INLINE void finish16(float *y, const sums *low, const sums *high, unsigned n, float scale)
{
	const __m512i bias = _mm512_set1_epi32((int)(n * 128));
	__m512i l[4], h[4];

	sums_widen(l, low);
	sums_widen(h, high);
	for (unsigned i = 0; i < 4; i++)
		l[i] = _mm512_add_epi32(l[i], _mm512_slli_epi32(_mm512_sub_epi32(h[i], bias), 8));
	add_rows(y, l, scale);
}

/* Into the second-level cache: the first waits for too few lines at a time to read memory at its speed. */
#define FETCH(at) _mm_prefetch((const char *)(at), _MM_HINT_T1)

INLINE void unit16(float *y, const uint8_t *lines, size_t block_bytes, const uint8_t *entries,
	unsigned n, float scale, ptrdiff_t ahead, bool two)
{
	const __m512i zero = _mm512_setzero_si512();
	const uint8_t *next = lines + block_bytes;
	sums low0 = {zero, zero}, high0 = low0, low1 = low0, high1 = low0;

	for (unsigned k = 0; k < n; k++, lines += 64, next += 64, entries += 512) {
		const plane low = plane_get(entries), high = plane_get(entries + 256);
		const __m512i c0 = _mm512_loadu_si512(lines);
		const __mmask64 u0 = _mm512_movepi8_mask(c0);

		FETCH(lines + ahead);
		sums_add(&low0, &low, c0, u0);
		sums_add(&high0, &high, c0, u0);
		if (two) {
			const __m512i c1 = _mm512_loadu_si512(next);
			const __mmask64 u1 = _mm512_movepi8_mask(c1);

			FETCH(next + ahead);
			sums_add(&low1, &low, c1, u1);
			sums_add(&high1, &high, c1, u1);
		}
	}
	finish16(y, &low0, &high0, n, scale);
	if (two)
		finish16(y + 64, &low1, &high1, n, scale);
}

TARGET
static void look_up16(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales,
	unsigned n_tables, unsigned unit, ptrdiff_t ahead)
{
	for (unsigned b = 0; b < n_blocks; b += 2, y += 128, lines += 2 * block_bytes)
		for (unsigned k = 0; k < n_tables; k += unit) {
			const unsigned n = n_tables - k < unit ? n_tables - k : unit;
			const uint8_t *e = (const uint8_t *)entries + k * 512;

			if (b + 1 < n_blocks)
				unit16(y, lines + k * 64, block_bytes, e, n, scales[k / unit], ahead, true);
			else
				unit16(y, lines + k * 64, block_bytes, e, n, scales[k / unit], ahead, false);
		}
}

INLINE void unit8(float *y, const uint8_t *lines, size_t block_bytes, const uint8_t *entries,
	unsigned n, float scale, ptrdiff_t ahead, bool two)
{
	const __m512i zero = _mm512_setzero_si512(), bias = _mm512_set1_epi32((int)(n * 128));
	const uint8_t *next = lines + block_bytes;
	sums s0 = {zero, zero}, s1 = s0;
	__m512i v[4];

	for (unsigned k = 0; k < n; k++, lines += 64, next += 64, entries += 256) {
		const plane p = plane_get(entries);
		const __m512i c0 = _mm512_loadu_si512(lines);

		FETCH(lines + ahead);
		sums_add(&s0, &p, c0, _mm512_movepi8_mask(c0));
		if (two) {
			const __m512i c1 = _mm512_loadu_si512(next);

			FETCH(next + ahead);
			sums_add(&s1, &p, c1, _mm512_movepi8_mask(c1));
		}
	}
	sums_widen(v, &s0);
	for (unsigned i = 0; i < 4; i++)
		v[i] = _mm512_sub_epi32(v[i], bias);
	add_rows(y, v, scale);
	if (!two)
		return;
	sums_widen(v, &s1);
	for (unsigned i = 0; i < 4; i++)
		v[i] = _mm512_sub_epi32(v[i], bias);
	add_rows(y + 64, v, scale);
}

TARGET
static void look_up8(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales,
	unsigned n_tables, unsigned unit, ptrdiff_t ahead)
{
	for (unsigned b = 0; b < n_blocks; b += 2, y += 128, lines += 2 * block_bytes)
		for (unsigned k = 0; k < n_tables; k += unit) {
			const unsigned n = n_tables - k < unit ? n_tables - k : unit;
			const uint8_t *e = (const uint8_t *)entries + k * 256;

			if (b + 1 < n_blocks)
				unit8(y, lines + k * 64, block_bytes, e, n, scales[k / unit], ahead, true);
			else
				unit8(y, lines + k * 64, block_bytes, e, n, scales[k / unit], ahead, false);
		}
}

/* ---- Codes of fewer bits than 8: those of 8 rows go to a quadword, which vpmultishiftqb takes apart. */

TARGET
static void widen(uint8_t *restrict wide, const uint8_t *restrict lines, size_t n_lines, unsigned bits)
{
	_Alignas(64) uint8_t group[64], shift[64];
	const __mmask64 line = (UINT64_C(1) << 8 * bits) - 1;
	const __m512i mask = _mm512_set1_epi8((char)((1 << bits) - 1));

	for (unsigned i = 0; i < 64; i++) {
		group[i] = (uint8_t)(i / 8 * bits + i % 8);
		shift[i] = (uint8_t)(i % 8 * bits);
	}
	for (size_t k = 0; k < n_lines; k++, wide += 64, lines += 8 * bits) {
		const __m512i v =
			_mm512_permutexvar_epi8(_mm512_load_si512(group), _mm512_maskz_loadu_epi8(line, lines));

		_mm512_storeu_si512(wide,
			_mm512_and_si512(_mm512_multishift_epi64_epi8(_mm512_load_si512(shift), v), mask));
	}
}

const aqz_product_kernels aqz_product_kernels_vbmi = {
	.name = "vbmi",
	.lut16_rows = 192,
	.quick_direct = true,
	.lut16 = {32767, AQZ_LUT_TABLES, 512, entries16, look_up16},
	.lut8 = {127, 32, 256, entries8, look_up8},
	.tables = aqz_product_tables_avx512,
	.largest = aqz_product_largest_avx512,
	.widen = widen,
	.look_up = aqz_product_look_up_scalar,
	.direct = aqz_product_direct_avx512,
	.halve = aqz_product_halve_avx512,
	.turn = aqz_product_turn_avx2,
};

#endif
