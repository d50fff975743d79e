/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of products on codes in plain C: what every other variant is compared with, and what fills the places in
 * their tables that an instruction set does not make faster. */
#include "codec/product_parts.h"
#include "codec/simd.h"

/* ---- Tables */

void aqz_product_turn_scalar(
	float *restrict turned, const float *restrict values, unsigned in_group, size_t n)
{
	for (size_t k = 0; k < n; k += 16)
		for (unsigned g = 0; g < in_group; g++)
			for (size_t i = k; i < k + 16 && i < n; i++)
				turned[g * n + i] = values[i * in_group + g];
}

void aqz_product_tables_scalar(float *restrict tables, const float *restrict turned,
	const float *restrict x, unsigned n_groups, const aqz_scheme *s)
{
	const size_t n = (size_t)1 << s->code_bits;
	const unsigned in_group = s->in_group;

	for (unsigned j = 0; j < n_groups; j++, x += in_group)
		for (unsigned m = 0; m < s->n_codebooks; m++, tables += n) {
			const float *t = turned + m * n * in_group;

			memset(tables, 0, n * sizeof *tables);
			for (unsigned g = 0; g < in_group; g++, t += n) {
				AQZ_SIMD
				for (size_t i = 0; i < n; i++)
					tables[i] += x[g] * t[i];
			}
		}
}

uint32_t aqz_product_largest_scalar(const float *values, size_t n)
{
	uint32_t most[16] = {0}, all = 0;
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		for (unsigned k = 0; k < 16; k++) {
			const uint32_t bits = aqz_f32_bits(values[i + k]) & 0x7fffffff;

			most[k] = bits > most[k] ? bits : most[k];
		}
	for (unsigned k = 0; i + k < n; k++) {
		const uint32_t bits = aqz_f32_bits(values[i + k]) & 0x7fffffff;

		most[k] = bits > most[k] ? bits : most[k];
	}
	for (unsigned k = 0; k < 16; k++)
		all = most[k] > all ? most[k] : all;
	return all;
}

/* Eight codes of so many bits in a word, to bytes: halves, quarters, eighths. */
static inline __attribute__((always_inline)) uint64_t spread(uint64_t codes, const unsigned bits)
{
	const uint64_t one = ((UINT64_C(1) << bits) - 1) * UINT64_C(0x0001000100010001);
	const uint64_t two = ((UINT64_C(1) << 2 * bits) - 1) * UINT64_C(0x0000000100000001);
	const uint64_t four = (UINT64_C(1) << 4 * bits) - 1;

	codes = (codes & four) | (codes >> 4 * bits & four) << 32;
	codes = (codes & two) | (codes >> 2 * bits & two) << 16;
	return (codes & one) | (codes >> bits & one) << 8;
}

/* So many bytes as a word: a load or two. */
static inline __attribute__((always_inline)) uint64_t word(const uint8_t *p, const unsigned n)
{
	switch (n) {
	case 1:
		return p[0];
	case 2:
		return aqz_get16(p);
	case 3:
		return aqz_get16(p) | (uint64_t)p[2] << 16;
	case 4:
		return aqz_get32(p);
	case 5:
		return aqz_get32(p) | (uint64_t)p[4] << 32;
	case 6:
		return aqz_get32(p) | (uint64_t)aqz_get16(p + 4) << 32;
	default:
		return aqz_get32(p) | (uint64_t)aqz_get32(p + 3) << 24;
	}
}

static inline __attribute__((always_inline)) void widen(
	uint8_t *restrict wide, const uint8_t *restrict lines, size_t n_lines, const unsigned bits)
{
	for (size_t i = 0; i < 8 * n_lines; i++, wide += 8, lines += bits)
		aqz_put64(wide, spread(word(lines, bits), bits));
}

void aqz_product_widen_scalar(
	uint8_t *restrict wide, const uint8_t *restrict lines, size_t n_lines, unsigned bits)
{
	switch (bits) {
	case 1:
		widen(wide, lines, n_lines, 1);
		break;
	case 2:
		widen(wide, lines, n_lines, 2);
		break;
	case 3:
		widen(wide, lines, n_lines, 3);
		break;
	case 4:
		widen(wide, lines, n_lines, 4);
		break;
	case 5:
		widen(wide, lines, n_lines, 5);
		break;
	case 6:
		widen(wide, lines, n_lines, 6);
		break;
	default:
		widen(wide, lines, n_lines, 7);
		break;
	}
}

void aqz_product_unpack(
	uint16_t codes[restrict AQZ_TILE_ROWS], const uint8_t *restrict line, unsigned bits)
{
	const uint8_t *low = line, *high = line + AQZ_TILE_ROWS;
	uint8_t wide[AQZ_TILE_ROWS];

	if (bits % 8 != 0) {
		aqz_product_widen_scalar(wide, bits < 8 ? low : high, 1, bits % 8);
		*(bits < 8 ? &low : &high) = wide;
	}
	if (bits <= 8) {
		AQZ_SIMD
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			codes[i] = low[i];
	} else {
		AQZ_SIMD
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			codes[i] = (uint16_t)(low[i] | high[i] << 8);
	}
}

/* Codes are the bytes of the lines: sums of 8 rows stay in registers over all lines. */
static void look_up_bytes(float acc[restrict AQZ_TILE_ROWS], const uint8_t *restrict lines,
	const float *restrict tables, size_t n_lines)
{
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i += 8) {
		const uint8_t *line = lines + i;
		const float *t = tables;
		float a0 = acc[i], a1 = acc[i + 1], a2 = acc[i + 2], a3 = acc[i + 3];
		float a4 = acc[i + 4], a5 = acc[i + 5], a6 = acc[i + 6], a7 = acc[i + 7];

		for (size_t k = 0; k < n_lines; k++, line += AQZ_TILE_ROWS, t += 256) {
			const uint64_t eight = aqz_get64(line);

			a0 += t[eight & 255];
			a1 += t[eight >> 8 & 255];
			a2 += t[eight >> 16 & 255];
			a3 += t[eight >> 24 & 255];
			a4 += t[eight >> 32 & 255];
			a5 += t[eight >> 40 & 255];
			a6 += t[eight >> 48 & 255];
			a7 += t[eight >> 56];
		}
		acc[i] = a0, acc[i + 1] = a1, acc[i + 2] = a2, acc[i + 3] = a3;
		acc[i + 4] = a4, acc[i + 5] = a5, acc[i + 6] = a6, acc[i + 7] = a7;
	}
}

void aqz_product_look_up_scalar(float acc[restrict AQZ_TILE_ROWS], const uint8_t *restrict lines,
	const float *restrict tables, unsigned n_groups, const aqz_scheme *s)
{
	const size_t n_lines = (size_t)n_groups * s->n_codebooks;
	uint16_t codes[AQZ_TILE_ROWS];

	if (s->code_bits == 8) {
		look_up_bytes(acc, lines, tables, n_lines);
		return;
	}
	for (size_t k = 0; k < n_lines; k++) {
		const float *table = tables + (k << s->code_bits);

		aqz_product_unpack(codes, lines + k * s->code_bits * (AQZ_TILE_ROWS / 8), s->code_bits);
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			acc[i] += table[codes[i]];
	}
}

/* ---- Integer tables: int16[256] or int8[256] each */

/* Adding 1.5 * 2^23 leaves the nearest integer in the low bits, halves to even, for magnitudes below 2^22. */
static int to_integer(float v)
{
	return (int)(aqz_f32_bits(v + 12582912.0f) - 0x4b400000u);
}

void aqz_product_entries16_scalar(void *restrict entries, const float *restrict tables,
	unsigned n_tables, unsigned n_codes, float inverse)
{
	int16_t *out = entries;

	for (unsigned k = 0; k < n_tables; k++, out += AQZ_LUT_ENTRIES, tables += n_codes)
		for (unsigned i = 0; i < n_codes; i++)
			out[i] = (int16_t)to_integer(tables[i] * inverse);
}

void aqz_product_entries8_scalar(void *restrict entries, const float *restrict tables,
	unsigned n_tables, unsigned n_codes, float inverse)
{
	int8_t *out = entries;

	for (unsigned k = 0; k < n_tables; k++, out += AQZ_LUT_ENTRIES, tables += n_codes)
		for (unsigned i = 0; i < n_codes; i++)
			out[i] = (int8_t)to_integer(tables[i] * inverse);
}

#define LOOK_UP(name, type)                                                               \
	void name(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,       \
		unsigned n_blocks, const void *restrict entries, const float *restrict scales,    \
		unsigned n_tables, unsigned unit, ptrdiff_t ahead)                                \
	{                                                                                     \
		(void)ahead;                                                                      \
		for (unsigned b = 0; b < n_blocks; b++, y += AQZ_TILE_ROWS, lines += block_bytes) \
			for (unsigned k = 0; k < n_tables; k += unit) {                               \
				const unsigned end = n_tables - k < unit ? n_tables : k + unit;           \
				int32_t sum[AQZ_TILE_ROWS] = {0};                                         \
                                                                                          \
				for (unsigned j = k; j < end; j++) {                                      \
					const type *table = (const type *)entries + j * AQZ_LUT_ENTRIES;      \
                                                                                          \
					for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)                          \
						sum[i] += table[lines[j * AQZ_TILE_ROWS + i]];                    \
				}                                                                         \
				for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)                              \
					y[i] += (float)sum[i] * scales[k / unit];                             \
			}                                                                             \
	}

LOOK_UP(aqz_product_look_up16_scalar, int16_t)
LOOK_UP(aqz_product_look_up8_scalar, int8_t)

/* ---- Direct */

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

#define NAME(x) x##_scalar
#define TARGET
#define WIDTH 4
#include "codec/product_body.h"

const aqz_product_kernels aqz_product_kernels_scalar = {
	.name = "scalar",
	.lut16_rows = UINT64_MAX,
	.lut16 = {32767, AQZ_LUT_TABLES, 2 * AQZ_LUT_ENTRIES, aqz_product_entries16_scalar,
		aqz_product_look_up16_scalar},
	.lut8 = {127, 32, AQZ_LUT_ENTRIES, aqz_product_entries8_scalar, aqz_product_look_up8_scalar},
	.tables = aqz_product_tables_scalar,
	.largest = aqz_product_largest_scalar,
	.widen = aqz_product_widen_scalar,
	.look_up = aqz_product_look_up_scalar,
	.direct = direct_scalar,
	.turn = aqz_product_turn_scalar,
};
