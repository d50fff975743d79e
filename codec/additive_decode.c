/* SPDX-License-Identifier: Apache-2.0 */
/* The scalar kernel of the additive codec: plainly the spec, 7.2.4. For each element the values of
 * its codewords are added in binary32, codebook 0 first; the sum is multiplied by the row's scale
 * in binary32, if there is one; the product is rounded once to the dtype. No operation is
 * contracted, reordered or done in another precision. */
#include <float.h>

#include "base/float.h"
#include "codec/additive.h"
#include "codec/simd.h"

_Static_assert(FLT_EVAL_METHOD == 0, "binary32 operations must round to binary32");

/* Sums of one tile's rows are kept here before the scale: at most 64 code rows of 64 values. */
#define SUMS (AQZ_TILE_ROWS * AQZ_MAX_CODEWORD)

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

/* Adds up the codewords of one group and code row. codes: [M][64], at the row. out: out_group rows
 * of in_group values, ld apart. Inlined with constants for the common sizes. Four values at a time
 * stay in a register over all codebooks; no array of sums goes through memory. */
static inline __attribute__((always_inline)) void sum_codewords(float *restrict out, size_t ld,
	const float *restrict values, const uint16_t *codes, unsigned n_codebooks, unsigned bits,
	unsigned in_group, unsigned out_group)
{
	for (unsigned o = 0; o < out_group; o++, out += ld) {
		const float *codewords[AQZ_MAX_CODEBOOKS] = {values};
		unsigned g = 0;

		for (unsigned m = 0; m < n_codebooks; m++) {
			const size_t index = ((size_t)m << bits) + codes[m * AQZ_TILE_ROWS];

			codewords[m] = values + (index * out_group + o) * in_group;
		}
		for (; g + 4 <= in_group; g += 4) {
			four sum = *(const four *)(codewords[0] + g);

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += *(const four *)(codewords[m] + g);
			*(four *)(out + g) = sum;
		}
		for (; g < in_group; g++) {
			float sum = codewords[0][g];

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += codewords[m][g];
			out[g] = sum;
		}
	}
}

/* Unpacks one group's lines and sums it for code rows [row_begin, row_end). */
static void sum_group(float *sums, size_t ld, const uint8_t *lines, unsigned row_begin,
	unsigned row_end, const aqz_tables *t)
{
	const unsigned n_codebooks = t->scheme.n_codebooks, bits = t->scheme.code_bits;
	const unsigned in_group = t->scheme.in_group, out_group = t->scheme.out_group;
	uint16_t codes[AQZ_MAX_CODEBOOKS * AQZ_TILE_ROWS];

	for (unsigned m = 0; m < n_codebooks; m++)
		aqz_t64_unpack(codes + m * AQZ_TILE_ROWS, lines + m * bits * (AQZ_TILE_ROWS / 8), bits);
	for (unsigned i = row_begin; i < row_end; i++, sums += out_group * ld) {
		if (out_group != 1 || in_group > 16)
			sum_codewords(sums, ld, t->values, codes + i, n_codebooks, bits, in_group, out_group);
		else if (in_group == 8 && n_codebooks == 1)
			sum_codewords(sums, ld, t->values, codes + i, 1, bits, 8, 1);
		else if (in_group == 8 && n_codebooks == 2)
			sum_codewords(sums, ld, t->values, codes + i, 2, bits, 8, 1);
		else if (in_group == 8)
			sum_codewords(sums, ld, t->values, codes + i, n_codebooks, bits, 8, 1);
		else if (in_group == 16)
			sum_codewords(sums, ld, t->values, codes + i, n_codebooks, bits, 16, 1);
		else
			sum_codewords(sums, ld, t->values, codes + i, n_codebooks, bits, in_group, 1);
	}
}

/* Decoded elements in a caller's buffer have any alignment. */
typedef uint16_t __attribute__((aligned(1), may_alias)) any16;
typedef float __attribute__((aligned(1), may_alias)) any_float;

/* Scales and rounds n sums. Without a scale they are multiplied by 1, which changes none. */
static void finish(
	void *dst, aqz_dtype dtype, const float *restrict sums, unsigned n, const float *scale)
{
	const float s = scale != NULL ? *scale : 1.0f;

	if (dtype == AQZ_F32) {
		any_float *restrict out = dst;

		AQZ_SIMD
		for (unsigned i = 0; i < n; i++)
			out[i] = aqz_f32_canonical(sums[i] * s);
	} else {
		any16 *restrict out = dst;

		if (dtype == AQZ_F16) {
			AQZ_SIMD
			for (unsigned i = 0; i < n; i++)
				out[i] = aqz_f32_to_f16(sums[i] * s);
		} else {
			AQZ_SIMD
			for (unsigned i = 0; i < n; i++)
				out[i] = aqz_f32_to_bf16(sums[i] * s);
		}
	}
}

void aqz_decode_tile_scalar(const aqz_tile *tile, const aqz_tables *t)
{
	const unsigned in_group = t->scheme.in_group, out_group = t->scheme.out_group;
	const unsigned step = AQZ_MAX_CODEWORD / (in_group * out_group);
	const unsigned code_begin = tile->row_begin / out_group;
	const unsigned code_end = (tile->row_end + out_group - 1) / out_group;
	const size_t line_bytes =
		(size_t)t->scheme.n_codebooks * t->scheme.code_bits * (AQZ_TILE_ROWS / 8);
	const size_t element_bytes = t->dtype == AQZ_F32 ? 4 : 2;
	const size_t ld = (size_t)step * in_group;
	float sums[SUMS]; /* code rows of out_group rows of step groups */

	for (unsigned group = 0; group < tile->n_groups; group += step) {
		const unsigned end = group + step < tile->n_groups ? group + step : tile->n_groups;
		const unsigned col = group * in_group;
		const unsigned n_cols = (end * in_group < tile->n_cols ? end * in_group : tile->n_cols) - col;

		for (unsigned j = group; j < end; j++)
			sum_group(sums + (j - group) * in_group, ld, tile->lines + j * line_bytes, code_begin,
				code_end, t);
		for (unsigned row = tile->row_begin; row < tile->row_end; row++) {
			uint8_t *dst =
				(uint8_t *)tile->dst + ((row - tile->row_begin) * tile->ld + col) * element_bytes;
			const float *scale = tile->scales != NULL ? tile->scales + row / out_group : NULL;

			finish(dst, t->dtype, sums + (row - code_begin * out_group) * ld, n_cols, scale);
		}
	}
}

aqz_decode_tile_fn *aqz_decode_tile_get(unsigned i, const char **name)
{
	aqz_decode_tile_fn *kernel = NULL;
	const char *its_name = NULL;

	if (i == 0) {
		kernel = aqz_decode_tile_scalar;
		its_name = "scalar";
	}
#if defined(__x86_64__)
	/* Each implies the one before it. Whatever has AVX2 has F16C, which not all compilers can ask for. */
	if (i == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi")) {
		kernel = aqz_decode_tile_avx2;
		its_name = "avx2";
	} else if (i == 2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl") && aqz_decode_tile_get(1, NULL) != NULL) {
		kernel = aqz_decode_tile_avx512;
		its_name = "avx512";
	} else if (i == 3 && __builtin_cpu_supports("avx512bf16") &&
		aqz_decode_tile_get(2, NULL) != NULL) {
		kernel = aqz_decode_tile_avx512_bf16;
		its_name = "avx512_bf16";
	}
#elif defined(__aarch64__)
	if (i == 1) {
		kernel = aqz_decode_tile_neon;
		its_name = "neon";
	}
#endif
	if (name != NULL)
		*name = its_name;
	return kernel;
}

aqz_decode_tile_fn *aqz_decode_tile_choose(const aqz_tables *tables)
{
	aqz_decode_tile_fn *best = aqz_decode_tile_scalar, *next;

	(void)tables;
	for (unsigned i = 1; (next = aqz_decode_tile_get(i, NULL)) != NULL; i++)
		best = next;
	return best;
}

void aqz_decode_block(void *dst, aqz_decode_tile_fn *kernel, const aqz_tables *tables,
	const uint8_t *lines, uint64_t cols, unsigned row_begin, unsigned row_end, const float *scales,
	bool stream)
{
	const unsigned in_group = tables->scheme.in_group;
	const size_t line_bytes =
		(size_t)tables->scheme.n_codebooks * tables->scheme.code_bits * (AQZ_TILE_ROWS / 8);
	const size_t element_bytes = tables->dtype == AQZ_F32 ? 4 : 2;
	const uint64_t groups = aqz_ceil_div(cols, in_group);

	for (uint64_t group = 0; group < groups; group += AQZ_TILE_GROUPS) {
		const unsigned n_groups = (unsigned)aqz_min(groups - group, AQZ_TILE_GROUPS);
		const aqz_tile tile = {
			.lines = lines + group * line_bytes,
			.n_groups = n_groups,
			.row_begin = row_begin,
			.row_end = row_end,
			.n_cols = (unsigned)aqz_min(cols - group * in_group, (uint64_t)n_groups * in_group),
			.scales = scales,
			.dst = (uint8_t *)dst + group * in_group * element_bytes,
			.ld = (size_t)cols,
			.stream = stream,
		};

		kernel(&tile, tables);
	}
}

void aqz_codebook_widen(
	float *dst, const void *src, aqz_dtype dtype, size_t n_rows, unsigned n, const float *scales)
{
	if (dtype == AQZ_I8) {
		const int8_t *in = src;

		for (size_t i = 0; i < n_rows; i++)
			for (unsigned k = 0; k < n; k++)
				dst[i * n + k] = (float)in[i * n + k] * scales[k];
	} else {
		/* Cannot fail: the caller has checked the dtype, and the sizes are those of memory that is
		 * there. */
		aqz_convert(dst, AQZ_F32, src, dtype, n_rows * n, NULL);
	}
}
