/* SPDX-License-Identifier: Apache-2.0 */
/* How one additive matrix (spec 7.2) lies in device memory: a single allocation, 256-byte aligned, of codes, codewords,
 * scales and bias, all of which kernels find by the numbers of aqz_gpu_layout. Plain C; no CUDA is needed.
 *
 * Codes, B <= 8: a byte each, in tiles of 64 code rows x 32 groups. A row block's last tile is padded to 32 groups. In
 * a tile: [4 chunks of 16 code rows][M][32 groups][16 code rows], so that a lane that stands for a group reads its 16
 * codes by one load, and a warp 512 bytes in one piece.
 *
 * Codes, B > 8: 16 bits each, in tiles of 64 code rows x 4 groups, padded likewise: [M][32 pairs of code rows][4
 * groups][2 code rows]. A lane that stands for two code rows reads its 8 codes by one load.
 *
 * Tiles: row block after row block, in each the tiles of its groups. Padding has code 0. A row block thus takes
 * row_block_bytes; matrices that are stacked along rows, 64 code rows at a time, may share an allocation.
 *
 * Codewords: [M][2^B][O][8 * pieces] in word_dtype, G rounded up to eights with zeros: a piece of 8 elements is one
 * load of 16 bytes (F16, BF16) or two (F32). word_dtype is the codebooks' if that is F16 or BF16; else F32, with I8's
 * scales multiplied in.
 *
 * Scales: binary32, one for each code row, padded to a multiple of 64 with zeros; 1 for matrices without scales. Bias:
 * binary32, one for each row, or not there. */
#ifndef AQZ_GPU_MATRIX_H
#define AQZ_GPU_MATRIX_H

#include "aqlmzip.h"
#include "gpu/portable.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AQZ_GPU_ALIGN 256

typedef struct aqz_gpu_layout {
	uint32_t rows, cols;         /* of the matrix; below 2^31 */
	uint32_t code_rows, groups;  /* ceil(rows / O), ceil(cols / G) */
	uint32_t n_codebooks, code_bits, in_group, out_group; /* M, B, G, O */
	uint32_t code_bytes;         /* 1 if B <= 8, else 2 */
	uint32_t tile_groups;        /* 32 for code_bytes 1, 4 for 2 */
	uint32_t row_blocks;         /* ceil(code_rows / 64) */
	uint32_t group_blocks;       /* ceil(groups / tile_groups) */
	uint32_t pieces;             /* ceil(G / 8) */
	uint32_t word_dtype;         /* AQZ_F16, AQZ_BF16 or AQZ_F32 */
	uint32_t word_bytes;         /* of an element of a codeword: 2 or 4 */
	uint32_t has_bias;
	uint64_t tile_bytes;         /* 64 * M * tile_groups * code_bytes */
	uint64_t row_block_bytes;    /* tile_bytes * group_blocks */
	uint64_t codes_offset, codes_bytes;
	uint64_t words_offset, words_bytes;
	uint64_t scales_offset, scales_bytes;
	uint64_t bias_offset, bias_bytes; /* 0 bytes without a bias */
	uint64_t total_bytes;        /* a multiple of AQZ_GPU_ALIGN */
} aqz_gpu_layout;

/* Fills *layout for an additive matrix. codebook_dtype: F32, F16, BF16 or I8. Returns NULL, or what is wrong: an
 * impossible scheme, an empty matrix, or one too large for 32-bit row and column numbers. */
const char *aqz_gpu_layout_make(aqz_gpu_layout *layout, const aqz_scheme *scheme, uint64_t rows, uint64_t cols,
	aqz_dtype codebook_dtype, bool has_bias);

/* Offset within the codes of code(row, group, m); group may be a padded one. */
AQZ_HOST_DEVICE uint64_t aqz_gpu_code_offset(const aqz_gpu_layout *l, uint32_t code_row, uint32_t group, uint32_t m)
{
	const uint32_t row = code_row % 64;
	const uint64_t tile =
		code_row / 64 * l->row_block_bytes + group / l->tile_groups * l->tile_bytes;

	if (l->code_bytes == 1)
		return tile + ((row / 16 * l->n_codebooks + m) * 32 + group % 32) * 16 + row % 16;
	return tile + (((m * 32 + row / 2) * 4 + group % 4) * 2 + row % 2) * 2;
}

/* The first of the 8 * pieces elements, counted from the first of the codewords, of row `a` of a codeword. */
AQZ_HOST_DEVICE uint64_t aqz_gpu_word_index(const aqz_gpu_layout *l, uint32_t m, uint32_t code, uint32_t a)
{
	return (((uint64_t)m << l->code_bits | code) * l->out_group + a) * (8 * l->pieces);
}

/* ---- Between the T64 lines of a file (spec 7.2.2) and the device order. */

/* The bytes of T64 of one row block: groups * M lines of 8 * B bytes. */
AQZ_HOST_DEVICE uint64_t aqz_gpu_t64_row_block_bytes(const aqz_gpu_layout *l)
{
	return (uint64_t)l->groups * l->n_codebooks * 8 * l->code_bits;
}

/* The code of row 0..63 of a T64 line. */
AQZ_HOST_DEVICE uint32_t aqz_gpu_t64_code(const uint8_t *line, uint32_t row, uint32_t bits)
{
	const uint32_t n_bytes = bits / 8, rest = bits % 8, first = row * rest;
	uint32_t code = 0, top;

	for (uint32_t k = 0; k < n_bytes; k++)
		code |= (uint32_t)line[64 * k + row] << 8 * k;
	if (rest == 0)
		return code;
	line += 64 * n_bytes;
	top = line[first / 8];
	/* A code's bits lie in the 8 * rest bits of eight rows, so the next byte is one of the line's. */
	if (first % 8 + rest > 8)
		top |= (uint32_t)line[first / 8 + 1] << 8;
	return code | (top >> first % 8 & ((1u << rest) - 1)) << 8 * n_bytes;
}

#ifdef __cplusplus
}
#endif

#endif
