/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in 256 entries by NEON. TBL looks into up to 4 registers, 64 bytes, so a table of
 * bytes is 4 quadruples; TBX leaves alone what an index outside of its quadruple had. That takes 16 registers of 32, so
 * the low bytes of 16-bit entries are summed for all lines of a unit first, then the high ones. For 64 rows, a table of
 * bytes costs 16 loads, 4 TBL, 12 TBX and 8 additions; the indices' 12 subtractions come on top.
 *
 * Speed has not been measured: there was no such machine. Until it is, AUTO takes tables in binary32. */
#include "codec/product_parts.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- Entries: bytes low[256] and high[256] + 128; 8-bit ones are those of the plain kernel */

/* 16 values to integers of 16 bits, low bytes and high ones. */
INLINE void put16(uint8_t *low, uint8_t *high, const float *values, float inverse)
{
	uint16x8_t half[2];

	for (unsigned i = 0; i < 2; i++) {
		const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(values + 8 * i), inverse));
		const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(values + 8 * i + 4), inverse));

		half[i] = vreinterpretq_u16_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b)));
	}
	const uint8x16_t l = vuzp1q_u8(vreinterpretq_u8_u16(half[0]), vreinterpretq_u8_u16(half[1]));
	const uint8x16_t h = vuzp2q_u8(vreinterpretq_u8_u16(half[0]), vreinterpretq_u8_u16(half[1]));

	vst1q_u8(low, l);
	vst1q_u8(high, veorq_u8(h, vdupq_n_u8(0x80)));
}

static void entries16(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse)
{
	uint8_t *out = entries;

	for (unsigned k = 0; k < n_tables; k++, out += 512, tables += n_codes) {
		float few[16] = {0};

		if (n_codes < 16) {
			memcpy(few, tables, n_codes * sizeof *few);
			put16(out, out + 256, few, inverse);
			continue;
		}
		for (unsigned i = 0; i < n_codes; i += 16)
			put16(out + i, out + 256 + i, tables + i, inverse);
	}
}

/* ---- Sums */

typedef struct plane {
	uint8x16x4_t t[4];
} plane;

INLINE plane plane_get(const uint8_t *bytes)
{
	return (plane){{vld1q_u8_x4(bytes), vld1q_u8_x4(bytes + 64), vld1q_u8_x4(bytes + 128),
		vld1q_u8_x4(bytes + 192)}};
}

INLINE uint8x16_t find(const plane *p, uint8x16_t codes)
{
	const uint8x16_t step = vdupq_n_u8(64);
	uint8x16_t v = vqtbl4q_u8(p->t[0], codes);

	codes = vsubq_u8(codes, step);
	v = vqtbx4q_u8(v, p->t[1], codes);
	codes = vsubq_u8(codes, step);
	v = vqtbx4q_u8(v, p->t[2], codes);
	codes = vsubq_u8(codes, step);
	return vqtbx4q_u8(v, p->t[3], codes);
}

/* Sums of bytes of n tables, which are table_bytes apart, for 64 rows: below 2^16, as n is at most 257. */
INLINE void sum_bytes(uint16x8_t sum[8], const uint8_t *lines, const uint8_t *entries,
	size_t table_bytes, unsigned n, ptrdiff_t ahead)
{
	for (unsigned i = 0; i < 8; i++)
		sum[i] = vdupq_n_u16(0);
	for (unsigned k = 0; k < n; k++, lines += AQZ_TILE_ROWS, entries += table_bytes) {
		const plane p = plane_get(entries);

		__builtin_prefetch(lines + ahead);
		for (unsigned i = 0; i < 4; i++) {
			const uint8x16_t v = find(&p, vld1q_u8(lines + 16 * i));

			sum[2 * i] = vaddw_u8(sum[2 * i], vget_low_u8(v));
			sum[2 * i + 1] = vaddw_high_u8(sum[2 * i + 1], v);
		}
	}
}

INLINE void sum_signed(
	int16x8_t sum[8], const uint8_t *lines, const uint8_t *entries, unsigned n, ptrdiff_t ahead)
{
	for (unsigned i = 0; i < 8; i++)
		sum[i] = vdupq_n_s16(0);
	for (unsigned k = 0; k < n; k++, lines += AQZ_TILE_ROWS, entries += AQZ_LUT_ENTRIES) {
		const plane p = plane_get(entries);

		__builtin_prefetch(lines + ahead);
		for (unsigned i = 0; i < 4; i++) {
			const int8x16_t v = vreinterpretq_s8_u8(find(&p, vld1q_u8(lines + 16 * i)));

			sum[2 * i] = vaddw_s8(sum[2 * i], vget_low_s8(v));
			sum[2 * i + 1] = vaddw_high_s8(sum[2 * i + 1], v);
		}
	}
}

/* y[0..3] += scale * sum */
INLINE void add4(float *y, int32x4_t sum, float scale)
{
	vst1q_f32(y, vaddq_f32(vld1q_f32(y), vmulq_n_f32(vcvtq_f32_s32(sum), scale)));
}

/* ---- Look-ups */

static void look_up16(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales,
	unsigned n_tables, unsigned unit, ptrdiff_t ahead)
{
	for (unsigned b = 0; b < n_blocks; b++, y += AQZ_TILE_ROWS, lines += block_bytes)
		for (unsigned k = 0; k < n_tables; k += unit) {
			const unsigned n = n_tables - k < unit ? n_tables - k : unit;
			const int32x4_t bias = vdupq_n_s32((int32_t)n * 128);
			const uint8_t *e = (const uint8_t *)entries + k * 512;
			const float scale = scales[k / unit];
			uint16x8_t low[8], high[8];

			sum_bytes(low, lines + k * AQZ_TILE_ROWS, e, 512, n, ahead);
			sum_bytes(high, lines + k * AQZ_TILE_ROWS, e + 256, 512, n, 0);
			for (unsigned i = 0; i < 8; i++) {
				const int32x4_t l0 = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low[i])));
				const int32x4_t l1 = vreinterpretq_s32_u32(vmovl_high_u16(low[i]));
				const int32x4_t h0 = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high[i])));
				const int32x4_t h1 = vreinterpretq_s32_u32(vmovl_high_u16(high[i]));

				add4(y + 8 * i, vaddq_s32(l0, vshlq_n_s32(vsubq_s32(h0, bias), 8)), scale);
				add4(y + 8 * i + 4, vaddq_s32(l1, vshlq_n_s32(vsubq_s32(h1, bias), 8)), scale);
			}
		}
}

static void look_up8(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales,
	unsigned n_tables, unsigned unit, ptrdiff_t ahead)
{
	for (unsigned b = 0; b < n_blocks; b++, y += AQZ_TILE_ROWS, lines += block_bytes)
		for (unsigned k = 0; k < n_tables; k += unit) {
			const unsigned n = n_tables - k < unit ? n_tables - k : unit;
			int16x8_t sum[8];

			sum_signed(sum, lines + k * AQZ_TILE_ROWS,
				(const uint8_t *)entries + k * AQZ_LUT_ENTRIES, n, ahead);
			for (unsigned i = 0; i < 8; i++) {
				add4(y + 8 * i, vmovl_s16(vget_low_s16(sum[i])), scales[k / unit]);
				add4(y + 8 * i + 4, vmovl_high_s16(sum[i]), scales[k / unit]);
			}
		}
}

/* ---- Directly: vectors of 4 lanes are NEON's */

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

#define NAME(x) x##_neon
#define TARGET
#define WIDTH 4
#include "codec/product_body.h"

const aqz_product_kernels aqz_product_kernels_neon = {
	.name = "neon",
	.lut16_rows = UINT64_MAX,
	.lut16 = {32767, AQZ_LUT_TABLES, 512, entries16, look_up16},
	.lut8 = {127, 32, AQZ_LUT_ENTRIES, aqz_product_entries8_scalar, look_up8},
	.tables = aqz_product_tables_scalar,
	.largest = aqz_product_largest_scalar,
	.widen = aqz_product_widen_scalar,
	.look_up = aqz_product_look_up_scalar,
	.direct = direct_neon,
};

#endif
