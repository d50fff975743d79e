/* SPDX-License-Identifier: Apache-2.0 */
/* Gather: products of any scheme with each codeword fetched from global memory, that is from the caches. For codes of
 * more than 12 bits it is the fast way, as no table of so many entries pays; for all others the one that always works.
 * CPU twin: codec/product_direct.c. CUDA C++.
 *
 * A lane has two code rows, a warp 64; the 8 warps of a block take the tiles of a split by turns and add up in shared
 * memory. x is read by all lanes of a warp from one place, so sums never leave their lane. 8 fetches of 16 bytes are
 * under way for each lane; a fetched codeword serves all COLUMNS columns of x.
 *
 * Bytes: the codes once; of a large codebook a sector of 32 bytes from the second-level cache for each code, which is
 * what bounds it: at 64 bytes a clock and SM, 16 weights of groups of 8 (predicted, not measured). */
#ifndef AQZ_GPU_PRODUCT_GATHER_H
#define AQZ_GPU_PRODUCT_GATHER_H

#include "gpu/product_common.h"

#define AQZ_GATHER_THREADS 256
#define AQZ_GATHER_WARPS 8

namespace aqz {

/* The 8 codes of 4 groups and the lane's two code rows: group k in word k, the first row's in its low half. */
AQZ_DEVICE u32x4 gather_codes(const aqz_gpu_job &job, const uint8_t *block, uint32_t quad, uint32_t m)
{
	const uint32_t lane = lane_index();

	if (job.code_bits > 8)
		return ldg_once<u32x4>(block + quad * job.tile_bytes + (m * 32 + lane) * 16);
	const uint8_t *const from = block + quad / 8 * job.tile_bytes +
		((lane / 8 * job.n_codebooks + m) * 32 + quad % 8 * 4) * 16 + lane % 8 * 2;
	uint32_t v[4];

	AQZ_UNROLL
	for (int i = 0; i < 4; i++) {
		const uint32_t two = ldg<uint16_t>(from + i * 16);
		v[i] = (two & 255) | two >> 8 << 16;
	}
	return {v[0], v[1], v[2], v[3]};
}

/* One piece of the codewords of those codes; element offsets from the codebook's beginning are below 2^32. */
AQZ_DEVICE void gather_words(u32x4 (&w)[4][2], const uint8_t *words, u32x4 codes, uint32_t word_bytes, bool far)
{
	const uint32_t v[4] = {codes.x, codes.y, codes.z, codes.w};

	AQZ_UNROLL
	for (int g = 0; g < 4; g++) {
		AQZ_UNROLL
		for (int r = 0; r < 2; r++) {
			const uint8_t *const p = words + (uint64_t)(r == 0 ? v[g] & 0xffff : v[g] >> 16) * word_bytes;

			w[g][r] = far ? ldg_far(p) : ldg<u32x4>(p);
		}
	}
}

AQZ_DEVICE void gather_widen(float (&v)[8], const aqz_gpu_job &job, u32x4 low, const uint8_t *high)
{
	if (job.word_dtype != AQZ_F32) {
		widen8(v, low, job.word_dtype == AQZ_F16);
		return;
	}
	const u32x4 up = ldg<u32x4>(high);
	const uint32_t u[8] = {low.x, low.y, low.z, low.w, up.x, up.y, up.z, up.w};

	AQZ_UNROLL
	for (int i = 0; i < 8; i++)
		v[i] = bits_f32(u[i]);
}

/* What a kernel is made for: anything, or x and codewords of one 16-bit type, whole groups of 8, O = 1 and B > 8. */
enum gather_kind { GATHER_ANY, GATHER_F16, GATHER_BF16 };

template <int COLUMNS, gather_kind KIND>
AQZ_DEVICE void gather_quad(float (&acc)[2 * COLUMNS], const aqz_gpu_job &job, const uint8_t *words, u32x4 codes,
	uint32_t quad, uint32_t first_column, uint32_t word_bytes, bool far)
{
	const uint32_t c[4] = {codes.x, codes.y, codes.z, codes.w};
	const uint32_t piece_bytes = job.word_dtype == AQZ_F32 ? 32 : 16;

	AQZ_NO_UNROLL
	for (uint32_t piece = 0; piece < (KIND == GATHER_ANY ? job.pieces : 1); piece++) {
		const uint8_t *const from = words + piece * piece_bytes;
		u32x4 w[4][2];

		gather_words(w, from, codes, word_bytes, far);
		AQZ_UNROLL
		for (uint32_t g = 0; g < 4; g++) {
			float a[8], b[8];

			if (KIND == GATHER_ANY) {
				gather_widen(a, job, w[g][0], from + (uint64_t)(c[g] & 0xffff) * word_bytes + 16);
				gather_widen(b, job, w[g][1], from + (uint64_t)(c[g] >> 16) * word_bytes + 16);
			} else {
				widen8(a, w[g][0], KIND == GATHER_F16);
				widen8(b, w[g][1], KIND == GATHER_F16);
			}
			AQZ_UNROLL
			for (uint32_t n = 0; n < COLUMNS; n++) {
				const uint32_t column = first_column + n < job.n_columns ? first_column + n : job.n_columns - 1;
				float x[8];

				if (KIND == GATHER_ANY)
					x_piece(x, job, column, quad * 4 + g, piece);
				else if (quad * 4 + g < job.groups)
					widen8(x, ldg<u32x4>(static_cast<const uint16_t *>(job.x) + column * job.ldx + (quad * 4 + g) * 8),
						KIND == GATHER_F16);
				else
					break;
				AQZ_UNROLL
				for (int e = 0; e < 8; e++) {
					acc[2 * n] = fma(a[e], x[e], acc[2 * n]);
					acc[2 * n + 1] = fma(b[e], x[e], acc[2 * n + 1]);
				}
			}
		}
	}
}

/* FAR: codewords go past the first-level cache, which they would only pass through.
 * job.per_split: fours of groups. Grid: a block for each unit of 64 code rows; splits; O times columns / COLUMNS. */
template <int COLUMNS, gather_kind KIND, bool FAR>
AQZ_DEVICE void product_gather(const aqz_gpu_job &job)
{
	const aqz_gpu_rows &part = job.parts[part_of_block(job, block_x())];
	const uint32_t unit = block_x() - part.first_block, lane = lane_index(), warp = warp_index();
	const uint32_t a = block_z() % job.out_group, first_column = block_z() / job.out_group * COLUMNS;
	const uint32_t quads = (job.groups + 3) / 4, begin = block_y() * job.per_split;
	const uint32_t end = begin + job.per_split < quads ? begin + job.per_split : quads;
	const uint32_t row_bytes = job.pieces * (job.word_dtype == AQZ_F32 ? 32 : 16);
	const uint32_t word_bytes = row_bytes * job.out_group, book_codes = 1u << job.code_bits;
	const uint8_t *const block = part.codes + unit * part.row_block_bytes;
	float acc[2 * COLUMNS] = {};

	/* quad * 4 of a last tile may be beyond the groups, but such codes are there: row blocks have whole tiles. */
	if (begin + warp < end) {
		u32x4 codes = gather_codes(job, block, begin + warp, 0);

		AQZ_NO_UNROLL
		for (uint32_t quad = begin + warp; quad < end; quad += AQZ_GATHER_WARPS) {
			AQZ_NO_UNROLL
			for (uint32_t m = 0; m < job.n_codebooks; m++) {
				const bool same = m + 1 < job.n_codebooks, more = quad + AQZ_GATHER_WARPS < end;
				const uint32_t ahead = same || !more ? quad : quad + AQZ_GATHER_WARPS;
				const u32x4 next = gather_codes(job, block, ahead, same ? m + 1 : 0);

				gather_quad<COLUMNS, KIND>(acc, job,
					part.words + ((uint64_t)m * book_codes * word_bytes + a * row_bytes),
					codes, quad, first_column, word_bytes, FAR);
				codes = next;
			}
		}
	}
	AQZ_UNROLL
	for (uint32_t i = 0; i < 2 * COLUMNS; i++)
		sts<float>(((warp * 2 * COLUMNS + i) * 32 + lane) * 4, acc[i]);
	sync_block();
	if (warp != 0)
		return;
	AQZ_UNROLL
	for (uint32_t i = 0; i < 2 * COLUMNS; i++) {
		AQZ_UNROLL
		for (uint32_t w = 1; w < AQZ_GATHER_WARPS; w++)
			acc[i] += lds<float>(((w * 2 * COLUMNS + i) * 32 + lane) * 4);
	}
	if (!combine<2 * COLUMNS>(acc, job, part.first_unit + unit, block_z(), block_y()))
		return;
	AQZ_UNROLL
	for (uint32_t i = 0; i < 2 * COLUMNS; i++) {
		const uint32_t code_row = unit * 64 + lane * 2 + i % 2, column = first_column + i / 2;
		const uint32_t row = code_row * job.out_group + a;

		if (row < part.rows && column < job.n_columns)
			y_store(job, part, column, row, code_row, acc[i]);
	}
}

} // namespace aqz
#endif
