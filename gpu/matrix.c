/* SPDX-License-Identifier: Apache-2.0 */
/* The sizes and offsets of a matrix in device memory: gpu/matrix.h. */
#include "gpu/matrix.h"

#include "codec/additive.h"

/* Adds a section of so many bytes at the next aligned offset. False on overflow. */
static bool section(uint64_t *offset, uint64_t *end, uint64_t n_bytes)
{
	*offset = *end;
	return aqz_add(end, *end, n_bytes) && aqz_add(end, *end, AQZ_GPU_ALIGN - 1) &&
		(*end -= *end % AQZ_GPU_ALIGN, true);
}

const char *aqz_gpu_layout_make(aqz_gpu_layout *layout, const aqz_scheme *scheme, uint64_t rows, uint64_t cols,
	aqz_dtype codebook_dtype, bool has_bias)
{
	aqz_gpu_layout l = {0};
	uint64_t end = 0;

	if (!aqz_scheme_possible(scheme) || scheme->codec != AQZ_CODEC_ADDITIVE)
		return "the scheme is impossible";
	if (rows == 0 || cols == 0)
		return "the matrix is empty";
	/* Kernels add up to 8 * 32 columns and 64 * 64 rows to a number in range before they look whether it still is. */
	if (rows > INT32_MAX - 65536 || cols > INT32_MAX - 65536)
		return "the matrix has too many rows or columns for the GPU";
	if (codebook_dtype != AQZ_F32 && codebook_dtype != AQZ_F16 && codebook_dtype != AQZ_BF16 &&
		codebook_dtype != AQZ_I8)
		return "codebook_dtype must be F32, F16, BF16 or I8";
	l.rows = (uint32_t)rows;
	l.cols = (uint32_t)cols;
	l.n_codebooks = scheme->n_codebooks;
	l.code_bits = scheme->code_bits;
	l.in_group = scheme->in_group;
	l.out_group = scheme->out_group;
	l.code_rows = (uint32_t)aqz_ceil_div(rows, l.out_group);
	l.groups = (uint32_t)aqz_ceil_div(cols, l.in_group);
	l.code_bytes = l.code_bits <= 8 ? 1 : 2;
	l.tile_groups = l.code_bytes == 1 ? 32 : 4;
	l.row_blocks = (l.code_rows + 63) / 64;
	l.group_blocks = (l.groups + l.tile_groups - 1) / l.tile_groups;
	l.pieces = (l.in_group + 7) / 8;
	l.word_dtype = (uint32_t)(codebook_dtype == AQZ_I8 ? AQZ_F32 : codebook_dtype);
	l.word_bytes = l.word_dtype == AQZ_F32 ? 4 : 2;
	l.has_bias = has_bias;
	l.tile_bytes = (uint64_t)64 * l.n_codebooks * l.tile_groups * l.code_bytes;
	l.row_block_bytes = l.tile_bytes * l.group_blocks;
	if (!aqz_mul(&l.codes_bytes, l.row_block_bytes, l.row_blocks))
		return "the matrix is too large";
	l.words_bytes = ((uint64_t)l.n_codebooks << l.code_bits) * l.out_group * (8 * l.pieces) * l.word_bytes;
	l.scales_bytes = (uint64_t)l.row_blocks * 64 * sizeof(float);
	l.bias_bytes = has_bias ? rows * sizeof(float) : 0;
	if (!section(&l.codes_offset, &end, l.codes_bytes) || !section(&l.words_offset, &end, l.words_bytes) ||
		!section(&l.scales_offset, &end, l.scales_bytes) || !section(&l.bias_offset, &end, l.bias_bytes))
		return "the matrix is too large";
	l.total_bytes = end;
	*layout = l;
	return NULL;
}
