/* SPDX-License-Identifier: Apache-2.0 */
/* One piece of the change from T64 lines (spec 7.2.2) to device order (gpu/matrix.h), for host and device. A piece is
 * 16 bytes of device order: 16 code rows of one group and codebook (B <= 8), or a pair of code rows of 4 groups (B >
 * 8). Pieces that follow each other are written one after the other. */
#ifndef AQZ_GPU_PERMUTE_H
#define AQZ_GPU_PERMUTE_H

#include "gpu/matrix.h"
#include "gpu/narrow.h"

AQZ_HOST_DEVICE uint64_t aqz_permute_pieces(const aqz_gpu_layout *l, uint32_t n_row_blocks)
{
	return l->row_block_bytes / 16 * n_row_blocks;
}

/* codes, lines: of the same row block, the first of those that pieces are counted from. */
AQZ_HOST_DEVICE void aqz_permute_piece(uint8_t *codes, const uint8_t *lines, const aqz_gpu_layout *l, uint64_t piece)
{
	const uint32_t m_all = l->n_codebooks, bits = l->code_bits;
	const uint32_t per_tile = (uint32_t)(l->tile_bytes / 16);
	const uint64_t tile = piece / per_tile, row_block = tile / l->group_blocks;
	const uint32_t group_block = (uint32_t)(tile % l->group_blocks);
	const uint32_t in_tile = (uint32_t)(piece % per_tile);
	const uint8_t *block = lines + row_block * aqz_gpu_t64_row_block_bytes(l);
	aqz_gpu_quad q = {{0, 0, 0, 0}};

	if (l->code_bytes == 1) {
		/* [4 chunks][M][32 groups] */
		const uint32_t group = group_block * 32 + in_tile % 32;
		const uint32_t m = in_tile / 32 % m_all, chunk = in_tile / 32 / m_all;

		if (group < l->groups) {
			const uint8_t *line = block + ((uint64_t)group * m_all + m) * 8 * bits;

			if (bits == 8)
				q = aqz_gpu_load16(line + 16 * chunk);
			else {
				AQZ_UNROLL
				for (uint32_t i = 0; i < 16; i++)
					q.w[i / 4] |= aqz_gpu_t64_code(line, 16 * chunk + i, bits) << i % 4 * 8;
			}
		}
	} else {
		/* [M][32 pairs] of 4 groups x 2 code rows */
		const uint32_t pair = in_tile % 32, m = in_tile / 32;

		AQZ_UNROLL
		for (uint32_t g = 0; g < 4; g++) {
			const uint32_t group = group_block * 4 + g;

			if (group < l->groups) {
				const uint8_t *line = block + ((uint64_t)group * m_all + m) * 8 * bits;

				q.w[g] = aqz_gpu_t64_code(line, 2 * pair, bits) | aqz_gpu_t64_code(line, 2 * pair + 1, bits) << 16;
			}
		}
	}
	aqz_gpu_store16(codes + 16 * piece, q);
}

#endif
