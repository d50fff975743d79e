/* SPDX-License-Identifier: Apache-2.0 */
/* Reconstruction, spec 7.2.4, for host and device: what one lane does. The CPU's twin is codec/additive_decode.c, and
 * all bits are the same: codewords are added m = 0 .. M - 1 in binary32, times the scale, rounded once.
 *
 * Two ways. Any scheme: a lane makes one group of one row from codewords in global memory, a warp 8 rows x 4 groups.
 * Codes of at most 8 bits and codewords of 8, 16, 32 or 64 values in 16 bits: a lane makes 16 rows of 8 values, a warp
 * 16 rows x 32 groups a step, from codewords in shared memory, where each stands several times so that lanes seldom
 * meet at a bank. */
#ifndef AQZ_GPU_RECONSTRUCT_H
#define AQZ_GPU_RECONSTRUCT_H

#include "gpu/backend.h"
#include "gpu/narrow.h"

/* ---- Any scheme */

/* Eight elements of codeword row `a`, from element 8 * piece on. */
AQZ_HOST_DEVICE void aqz_reconstruct_word(float v[8], const aqz_gpu_layout *l, const uint8_t *words, uint32_t m,
	uint32_t code, uint32_t a, uint32_t piece)
{
	const uint8_t *p = words + (aqz_gpu_word_index(l, m, code, a) + 8 * piece) * l->word_bytes;

	if (l->word_dtype != AQZ_F32) {
		aqz_gpu_widen8(v, aqz_gpu_load16(p), l->word_dtype);
		return;
	}
	AQZ_UNROLL
	for (int h = 0; h < 2; h++) {
		const aqz_gpu_quad q = aqz_gpu_load16(p + 16 * h);

		AQZ_UNROLL
		for (int i = 0; i < 4; i++)
			v[4 * h + i] = aqz_gpu_of_bits(q.w[i]);
	}
}

/* n <= 8 elements from column col on of a row. plain: none is a NaN. */
AQZ_HOST_DEVICE void aqz_reconstruct_put(const aqz_reconstruct_job *j, uint32_t row, uint32_t col, const float v[8],
	uint32_t n, bool plain)
{
	const uint32_t bytes = j->dtype == AQZ_F32 ? 4 : 2;
	uint8_t *dst = (uint8_t *)j->dst + ((uint64_t)(row - j->row_begin) * j->ld + col) * bytes;

	if (n == 8 && (uintptr_t)dst % 16 == 0) {
		aqz_gpu_store8(dst, v, j->dtype, plain);
		return;
	}
	AQZ_UNROLL
	for (uint32_t i = 0; i < 8; i++)
		if (i < n) {
			const uint32_t bits = aqz_gpu_narrow(v[i], j->dtype);

			if (bytes == 4)
				*(uint32_t *)(dst + 4 * i) = bits;
			else
				*(uint16_t *)(dst + 2 * i) = (uint16_t)bits;
		}
}

/* Lanes of work: warps of 8 rows x 4 groups. */
AQZ_HOST_DEVICE uint64_t aqz_reconstruct_units(const aqz_reconstruct_job *j)
{
	const uint32_t octets = (j->row_end + 7) / 8 - j->row_begin / 8, quads = (j->layout.groups + 3) / 4;

	return (uint64_t)octets * quads * 32;
}

AQZ_HOST_DEVICE void aqz_reconstruct_unit(const aqz_reconstruct_job *j, uint64_t unit)
{
	const aqz_gpu_layout *l = &j->layout;
	const uint32_t quads = (l->groups + 3) / 4;
	const uint32_t lane = (uint32_t)(unit % 32);
	const uint32_t group = (uint32_t)(unit / 32 % quads) * 4 + lane % 4;
	const uint32_t row = (j->row_begin / 8 + (uint32_t)(unit / 32 / quads)) * 8 + lane / 4;
	const uint8_t *codes = j->base + l->codes_offset, *words = j->base + l->words_offset;
	const uint32_t code_row = row / l->out_group, a = row % l->out_group;
	float scale;

	if (row < j->row_begin || row >= j->row_end || group >= l->groups)
		return;
	scale = *(const float *)(j->base + l->scales_offset + (uint64_t)code_row * sizeof(float));
	for (uint32_t piece = 0; piece < l->pieces; piece++) {
		const uint32_t col = group * l->in_group + 8 * piece;
		const uint32_t in_group = l->in_group - 8 * piece < 8 ? l->in_group - 8 * piece : 8;
		float sum[8], v[8];

		if (col >= l->cols)
			return;
		for (uint32_t m = 0; m < l->n_codebooks; m++) {
			const uint8_t *p = codes + aqz_gpu_code_offset(l, code_row, group, m);

			aqz_reconstruct_word(v, l, words, m, l->code_bytes == 1 ? *p : *(const uint16_t *)p, a, piece);
			AQZ_UNROLL
			for (int i = 0; i < 8; i++)
				sum[i] = m == 0 ? v[i] : aqz_gpu_add(sum[i], v[i]);
		}
		AQZ_UNROLL
		for (int i = 0; i < 8; i++)
			sum[i] = aqz_gpu_times(sum[i], scale);
		aqz_reconstruct_put(j, row, col, sum, l->cols - col < in_group ? l->cols - col : in_group, j->plain);
	}
}

/* ---- Codewords in shared memory */

/* Copies of each 16 bytes of codewords: the most of 8, 4, 2, 1 that stay within AQZ_RECONSTRUCT_SHARED, which leaves
 * room for three blocks on a multiprocessor of 227 KiB; 1 if that fits the device's largest block; else 0: the other
 * way. NaNs and odd schemes have the other way, too. */
#define AQZ_RECONSTRUCT_SHARED (64u << 10)

AQZ_HOST_DEVICE uint32_t aqz_reconstruct_copies(const aqz_reconstruct_job *j, uint32_t shared_bytes)
{
	const aqz_gpu_layout *l = &j->layout;
	const uint32_t m = l->n_codebooks, g = l->in_group;
	const uint64_t bytes = l->words_bytes;

	if (!j->plain || l->code_bytes != 1 || l->word_bytes != 2 || l->out_group != 1 ||
		(m != 1 && m != 2 && m != 4 && m != 8) || (g != 8 && g != 16 && g != 32 && g != 64))
		return 0;
	for (uint32_t copies = 8; copies > 1; copies /= 2)
		if (bytes * copies <= AQZ_RECONSTRUCT_SHARED && bytes * copies <= shared_bytes)
			return copies;
	return bytes <= shared_bytes ? 1 : 0;
}

/* Warps of work: 16 rows x one step, of which a tile of 32 groups has `pieces`. */
AQZ_HOST_DEVICE uint64_t aqz_reconstruct_warps(const aqz_reconstruct_job *j)
{
	const aqz_gpu_layout *l = &j->layout;
	const uint32_t chunks = (j->row_end + 15) / 16 - j->row_begin / 16;

	return (uint64_t)chunks * l->group_blocks * l->pieces;
}

#if defined(__cplusplus)
/* Which 16 bytes of the codewords stand at place i of the table, [codeword][copy][piece]: the 8 lanes that go through
 * shared memory together then read 8 places that follow each other in the banks, if there are 8 for a codeword. */
AQZ_HOST_DEVICE uint32_t aqz_reconstruct_source(uint32_t i, uint32_t pieces, uint32_t copies)
{
	return i / (pieces * copies) * pieces + i % pieces;
}

template <int M, uint32_t WORD> AQZ_DEVICE void aqz_reconstruct_lane(const aqz_reconstruct_job &j, const uint8_t *table,
	uint32_t copies, uint64_t warp, uint32_t lane)
{
	const aqz_gpu_layout &l = j.layout;
	const uint32_t steps = l.pieces, piece = lane % steps;
	const uint32_t step = (uint32_t)(warp % steps), block = (uint32_t)(warp / steps % l.group_blocks);
	const uint32_t chunk = j.row_begin / 16 + (uint32_t)(warp / steps / l.group_blocks);
	const uint32_t in_tile = step * (32 / steps) + lane / steps;
	const uint32_t group = block * 32 + in_tile, col = (group * steps + piece) * 8;
	const uint8_t *codes = j.base + l.codes_offset + chunk / 4 * l.row_block_bytes + block * l.tile_bytes +
		(chunk % 4 * M * 32 + in_tile) * 16;
	const float *scales = (const float *)(j.base + l.scales_offset) + chunk * 16;
	const uint8_t *mine = table + lane % (steps * copies) * 16;
	const uint32_t word_stride = steps * copies * 16;
	aqz_gpu_quad q[M];
	uint32_t n;

	if (col >= l.cols)
		return;
	n = l.cols - col < 8 ? l.cols - col : 8;
	AQZ_UNROLL
	for (int m = 0; m < M; m++)
		q[m] = aqz_gpu_load16(codes + m * 512);
	/* Four rows at a time, whose codes are then in w[0]: the others move up. */
	AQZ_NO_UNROLL
	for (uint32_t four = 0; four < 4; four++) {
		AQZ_UNROLL
		for (uint32_t i = 0; i < 4; i++) {
			const uint32_t row = chunk * 16 + four * 4 + i;
			float sum[8], v[8];

			AQZ_UNROLL
			for (int m = 0; m < M; m++) {
				const uint32_t code = q[m].w[0] >> i * 8 & 255;

				aqz_gpu_widen8(v, aqz_gpu_load16(mine + ((m << l.code_bits) + code) * word_stride), WORD);
				AQZ_UNROLL
				for (int k = 0; k < 8; k++)
					sum[k] = m == 0 ? v[k] : aqz_gpu_add(sum[k], v[k]);
			}
			if (row >= j.row_begin && row < j.row_end) {
				const float scale = scales[four * 4 + i];

				AQZ_UNROLL
				for (int k = 0; k < 8; k++)
					sum[k] = aqz_gpu_times(sum[k], scale);
				aqz_reconstruct_put(&j, row, col, sum, n, true);
			}
		}
		AQZ_UNROLL
		for (int m = 0; m < M; m++)
			q[m].w[0] = q[m].w[1], q[m].w[1] = q[m].w[2], q[m].w[2] = q[m].w[3];
	}
}
#endif

#endif
