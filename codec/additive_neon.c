/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of additive tiles, spec 7.2.4, with NEON: sums of 8 values stay in two registers until they are rounded and
 * stored; the plain kernel takes them through memory, and rounds to binary16 by a dozen integer operations where FCVTN
 * is one. Speed has not been measured: there was no such machine. */
#include "codec/additive_tiles.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))
/* Groups whose codes are unpacked at a time: a row gets up to 64 bytes or more of output. */
enum { STEP = 4 };

/* Scales, rounds and stores 8 sums, to any alignment. */
INLINE void finish(uint8_t *to, float32x4_t a, float32x4_t b, float scale, aqz_dtype dtype)
{
	const uint32x4_t one = vdupq_n_u32(1), most = vdupq_n_u32(0x7fff);

	a = vmulq_n_f32(a, scale);
	b = vmulq_n_f32(b, scale);
	if (dtype == AQZ_F32) {
		vst1q_u8(to, vreinterpretq_u8_f32(a));
		vst1q_u8(to + 16, vreinterpretq_u8_f32(b));
	} else if (dtype == AQZ_F16) {
		vst1q_u8(to, vreinterpretq_u8_f16(vcombine_f16(vcvt_f16_f32(a), vcvt_f16_f32(b))));
	} else {
		uint32x4_t u = vreinterpretq_u32_f32(a), v = vreinterpretq_u32_f32(b);

		u = vaddq_u32(vaddq_u32(u, most), vandq_u32(vshrq_n_u32(u, 16), one));
		v = vaddq_u32(vaddq_u32(v, most), vandq_u32(vshrq_n_u32(v, 16), one));
		vst1q_u8(to, vreinterpretq_u8_u16(vcombine_u16(vshrn_n_u32(u, 16), vshrn_n_u32(v, 16))));
	}
}

/* Some groups of a tile. codes: [n_groups][M][64]; dst: of row_begin's first element. */
typedef struct part {
	const float *values;
	const uint16_t *codes;
	unsigned n_codebooks, bits, in_group, n_cols;
	unsigned row_begin, row_end;
	const float *scales;
	uint8_t *dst;
	size_t row_bytes;
} part;

/* All rows of a part; inlined with constants for the common schemes. */
INLINE void rows_of(const part *p, unsigned n_codebooks, unsigned in_group, aqz_dtype dtype)
{
	const size_t element_bytes = dtype == AQZ_F32 ? 4 : 2;
	uint8_t *dst = p->dst;

	for (unsigned row = p->row_begin; row < p->row_end; row++, dst += p->row_bytes) {
		const float scale = p->scales != NULL ? p->scales[row] : 1.0f;
		const uint16_t *codes = p->codes + row;

		for (unsigned col = 0; col < p->n_cols; codes += n_codebooks * AQZ_TILE_ROWS)
			for (unsigned g = 0; g < in_group && col < p->n_cols; g += 8, col += 8) {
				const float *from = p->values + (size_t)codes[0] * in_group + g;
				float32x4_t a = vld1q_f32(from), b = vld1q_f32(from + 4);
				uint8_t some[32];

				for (unsigned m = 1; m < n_codebooks; m++) {
					from = p->values +
						(((size_t)m << p->bits) + codes[m * AQZ_TILE_ROWS]) * in_group + g;
					a = vaddq_f32(a, vld1q_f32(from));
					b = vaddq_f32(b, vld1q_f32(from + 4));
				}
				if (p->n_cols - col >= 8) {
					finish(dst + col * element_bytes, a, b, scale, dtype);
				} else {
					finish(some, a, b, scale, dtype);
					memcpy(dst + col * element_bytes, some, (p->n_cols - col) * element_bytes);
				}
			}
	}
}

INLINE void rows(const part *p, aqz_dtype dtype)
{
	if (p->in_group == 8 && p->n_codebooks == 1)
		rows_of(p, 1, 8, dtype);
	else if (p->in_group == 8 && p->n_codebooks == 2)
		rows_of(p, 2, 8, dtype);
	else if (p->in_group == 8)
		rows_of(p, p->n_codebooks, 8, dtype);
	else
		rows_of(p, p->n_codebooks, p->in_group, dtype);
}

void aqz_decode_tile_neon(const aqz_tile *tile, const aqz_tables *t)
{
	const aqz_scheme *s = &t->scheme;
	const size_t line_bytes = (size_t)s->code_bits * (AQZ_TILE_ROWS / 8),
				 element_bytes = t->dtype == AQZ_F32 ? 4 : 2;
	uint16_t codes[STEP * AQZ_MAX_CODEBOOKS * AQZ_TILE_ROWS];

	if (!aqz_tile_regular(s) || !aqz_tile_plain(tile, t, false)) {
		aqz_decode_tile_scalar(tile, t);
		return;
	}
	for (unsigned group = 0; group < tile->n_groups; group += STEP) {
		const unsigned n_groups = STEP < tile->n_groups - group ? STEP : tile->n_groups - group;
		const unsigned col = group * s->in_group, n_cols = tile->n_cols - col;
		const part p = {
			.values = t->values,
			.codes = codes,
			.n_codebooks = s->n_codebooks,
			.bits = s->code_bits,
			.in_group = s->in_group,
			.n_cols = n_groups * s->in_group < n_cols ? n_groups * s->in_group : n_cols,
			.row_begin = tile->row_begin,
			.row_end = tile->row_end,
			.scales = tile->scales,
			.dst = (uint8_t *)tile->dst + col * element_bytes,
			.row_bytes = tile->ld * element_bytes,
		};

		for (unsigned k = 0; k < n_groups * s->n_codebooks; k++)
			aqz_t64_unpack(codes + k * AQZ_TILE_ROWS,
				tile->lines + (group * s->n_codebooks + k) * line_bytes, s->code_bits);
		if (t->dtype == AQZ_F32)
			rows(&p, AQZ_F32);
		else if (t->dtype == AQZ_F16)
			rows(&p, AQZ_F16);
		else
			rows(&p, AQZ_BF16);
	}
}

#endif
