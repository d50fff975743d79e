/* SPDX-License-Identifier: Apache-2.0 */
/* Types of GGUF tensors: how many bytes a block has, and for some what its values are. Products are
 * rounded before sums, as the format's own dequantisation does without contraction. */
#include "interop/gguf_blocks.h"
#include "base/float.h"
#include "interop/gguf.h"

#define HALF 16 /* values of the low nibbles, and of the high ones, in a block of 32 */

static void widen_f32(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	if (n > 0)
		memcpy(dst, p, n * sizeof *dst);
}

static void widen_f16(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = aqz_f16_to_f32(aqz_get16(p + 2 * i));
}

static void widen_bf16(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = aqz_bf16_to_f32(aqz_get16(p + 2 * i));
}

/* f16 d, 32 signed bytes: d q. */
static void widen_q8_0(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 34, dst += 2 * HALF) {
		const float d = aqz_f16_to_f32(aqz_get16(p));

		for (int i = 0; i < 2 * HALF; i++)
			dst[i] = (float)(int8_t)p[2 + i] * d;
	}
}

/* f16 d, 16 bytes of nibbles, the low ones first: d (q - 8). */
static void widen_q4_0(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 18, dst += 2 * HALF) {
		const float d = aqz_f16_to_f32(aqz_get16(p));

		for (int i = 0; i < HALF; i++) {
			dst[i] = (float)((p[2 + i] & 15) - 8) * d;
			dst[i + HALF] = (float)((p[2 + i] >> 4) - 8) * d;
		}
	}
}

/* f16 d, f16 m, nibbles: d q + m. */
static void widen_q4_1(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 20, dst += 2 * HALF) {
		const float d = aqz_f16_to_f32(aqz_get16(p)), m = aqz_f16_to_f32(aqz_get16(p + 2));

		for (int i = 0; i < HALF; i++) {
			dst[i] = (float)(p[4 + i] & 15) * d + m;
			dst[i + HALF] = (float)(p[4 + i] >> 4) * d + m;
		}
	}
}

/* Five bits of value i: a nibble, and bit i of a word. */
static inline int five(unsigned nibble, uint32_t high, int i)
{
	return (int)(nibble | (high >> i & 1) << 4);
}

/* f16 d, u32 of fifth bits, nibbles: d (q - 16). */
static void widen_q5_0(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 22, dst += 2 * HALF) {
		const float d = aqz_f16_to_f32(aqz_get16(p));
		const uint32_t high = aqz_get32(p + 2);

		for (int i = 0; i < HALF; i++) {
			dst[i] = (float)(five(p[6 + i] & 15u, high, i) - 16) * d;
			dst[i + HALF] = (float)(five((unsigned)p[6 + i] >> 4, high, i + HALF) - 16) * d;
		}
	}
}

/* f16 d, f16 m, u32 of fifth bits, nibbles: d q + m. */
static void widen_q5_1(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 24, dst += 2 * HALF) {
		const float d = aqz_f16_to_f32(aqz_get16(p)), m = aqz_f16_to_f32(aqz_get16(p + 2));
		const uint32_t high = aqz_get32(p + 4);

		for (int i = 0; i < HALF; i++) {
			dst[i] = (float)five(p[8 + i] & 15u, high, i) * d + m;
			dst[i + HALF] = (float)five((unsigned)p[8 + i] >> 4, high, i + HALF) * d + m;
		}
	}
}

/* f16 d, f16 m, 12 bytes of scales and minima, [4] 32 bytes whose low nibbles are one part of 32 values and whose high
 * ones the next; fifth: [32] bytes whose bits are the fifth ones, a part each, or NULL: d scale q - m minimum. */
static void widen_parts(
	float *restrict dst, const uint8_t *restrict p, const uint8_t *fifth, const uint8_t *nibbles)
{
	const float d = aqz_f16_to_f32(aqz_get16(p)), m = aqz_f16_to_f32(aqz_get16(p + 2));

	for (unsigned part = 0; part < 8; part++, dst += 2 * HALF) {
		float scale, minimum;

		aqz_q4_k_scale(&scale, &minimum, p + 4, part);
		scale *= d;
		minimum *= m;
		for (unsigned i = 0; i < 2 * HALF; i++) {
			const unsigned nibble = nibbles[part / 2 * 32 + i] >> part % 2 * 4 & 15u;
			const unsigned high = fifth != NULL ? (fifth[i] >> part & 1u) << 4 : 0;

			dst[i] = scale * (float)(nibble | high) - minimum;
		}
	}
}

static void widen_q4_k(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 144, dst += 256)
		widen_parts(dst, p, NULL, p + 16);
}

static void widen_q5_k(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 176, dst += 256)
		widen_parts(dst, p, p + 16, p + 48);
}

/* [2][64] bytes of nibbles, [2][32] of pairs of bits above them, 16 signed scales, f16 d: d scale (q - 32). */
static void widen_q6_k(float *restrict dst, const uint8_t *restrict p, size_t n)
{
	for (; n > 0; n--, p += 210, dst += 256) {
		const float d = aqz_f16_to_f32(aqz_get16(p + 208));

		for (unsigned i = 0; i < 256; i++) {
			const unsigned part = i / 32, at = i % 32;
			const unsigned low = p[part / 4 * 64 + part % 2 * 32 + at] >> part / 2 % 2 * 4 & 15u;
			const unsigned high = p[128 + part / 4 * 32 + at] >> part % 4 * 2 & 3u;

			dst[i] = d * (float)(int8_t)p[192 + i / 16] * (float)((int)(low | high << 4) - 32);
		}
	}
}

/* By number. Those that were taken back (4, 5, 31 to 33, 36 to 38) are not there. */
static const aqz_gguf_type types[] = {
	{0, "F32", 1, 4, widen_f32},
	{1, "F16", 1, 2, widen_f16},
	{2, "Q4_0", 32, 18, widen_q4_0},
	{3, "Q4_1", 32, 20, widen_q4_1},
	{6, "Q5_0", 32, 22, widen_q5_0},
	{7, "Q5_1", 32, 24, widen_q5_1},
	{8, "Q8_0", 32, 34, widen_q8_0},
	{9, "Q8_1", 32, 36, NULL},
	{10, "Q2_K", 256, 84, NULL},
	{11, "Q3_K", 256, 110, NULL},
	{12, "Q4_K", 256, 144, widen_q4_k},
	{13, "Q5_K", 256, 176, widen_q5_k},
	{14, "Q6_K", 256, 210, widen_q6_k},
	{15, "Q8_K", 256, 292, NULL},
	{16, "IQ2_XXS", 256, 66, NULL},
	{17, "IQ2_XS", 256, 74, NULL},
	{18, "IQ3_XXS", 256, 98, NULL},
	{19, "IQ1_S", 256, 50, NULL},
	{20, "IQ4_NL", 32, 18, NULL},
	{21, "IQ3_S", 256, 110, NULL},
	{22, "IQ2_S", 256, 82, NULL},
	{23, "IQ4_XS", 256, 136, NULL},
	{24, "I8", 1, 1, NULL},
	{25, "I16", 1, 2, NULL},
	{26, "I32", 1, 4, NULL},
	{27, "I64", 1, 8, NULL},
	{28, "F64", 1, 8, NULL},
	{29, "IQ1_M", 256, 56, NULL},
	{30, "BF16", 1, 2, widen_bf16},
	{34, "TQ1_0", 256, 54, NULL},
	{35, "TQ2_0", 256, 66, NULL},
	{39, "MXFP4", 32, 17, NULL},
	{40, "NVFP4", 64, 36, NULL},
	{41, "Q1_0", 128, 18, NULL},
	{42, "Q2_0", 64, 18, NULL},
};

const aqz_gguf_type *aqz_gguf_type_find(uint32_t id)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].id == id)
			return &types[i];
	return NULL;
}
