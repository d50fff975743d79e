/* SPDX-License-Identifier: Apache-2.0 */
/* MMA: products for several columns of x on tensor cores, O = 1, x and codewords both in binary16 or both in bfloat16.
 * CUDA C++.
 *
 * The factor W of a multiplication m16n8k16 is made of codewords as they are: lane 4r + q holds rows of place r and the
 * group of place q, and the 8 elements of its codeword are what it must hold of two multiplications, if k is counted
 * in the order that this gives; x, whose lane 4n + q reads the same 8 inputs of column n, has the same order. So a
 * codeword is one load of 16 bytes, and x too. A warp has 64 code rows: row 8r + 2i + h is row r + 8h of its i-th
 * multiplication, so that the 8 codes of a lane lie side by side.
 *
 * Codewords lie in shared memory 8 times, each lane with a copy of its own (mod 8): no two lanes that are served
 * together meet at a bank. Those that do not fit are fetched from global memory. x comes to shared memory a chunk
 * ahead, in the order of lanes. Each codebook is multiplied by itself, so that products are exact and sums in binary32.
 *
 * Passes through shared memory for 64 rows x 4 groups: 32 * M for codewords, 4 for each tile of x, 2 M for codes. At
 * M = 2 that is 29 weights a clock and SM with one tile, 24 with four, where 64 multiplications take tensor cores about
 * as long (predicted, not measured). */
#ifndef AQZ_GPU_PRODUCT_MMA_H
#define AQZ_GPU_PRODUCT_MMA_H

#include "gpu/product_common.h"

/* Sums of 4 tiles take 64 registers: 12 warps have 168 each, two blocks of 8 have 128. */
#define AQZ_MMA_THREADS(tiles) ((tiles) == 4 ? 384 : 256)
/* Pieces of 4 groups in a chunk of x, of which there are two. */
#define AQZ_MMA_CHUNK 8

namespace aqz {

/* The lane's codes of 8 rows: bytes, or 16 bits each in twice as many words. */
struct mma_codes { uint32_t v[4]; };

template <bool BYTES>
AQZ_DEVICE mma_codes mma_load_codes(const aqz_gpu_job &job, const uint8_t *block, uint32_t step, uint32_t m)
{
	const uint32_t r = lane_index() / 4, q = lane_index() % 4;
	mma_codes c = {};

	if (BYTES) {
		const uint8_t *const from = block + step / 8 * job.tile_bytes +
			((r / 2 * job.n_codebooks + m) * 32 + step % 8 * 4 + q) * 16 + r % 2 * 8;
		const u32x2 v = ldg_once<u32x2>(from);

		c.v[0] = v.x;
		c.v[1] = v.y;
	} else {
		const uint8_t *const from = block + step * job.tile_bytes + ((m * 32 + 4 * r) * 4 + q) * 4;

		AQZ_UNROLL
		for (int i = 0; i < 4; i++)
			c.v[i] = ldg<uint32_t>(from + i * 16);
	}
	return c;
}

/* The code of row 2i + h. */
template <bool BYTES>
AQZ_DEVICE uint32_t mma_code(const mma_codes &c, uint32_t i, uint32_t h)
{
	return BYTES ? c.v[i / 2] >> (i % 2 * 16 + h * 8) & 255 : c.v[i] >> h * 16 & 65535;
}

/* A piece of codeword `code` of codebook m. */
template <bool SHARED>
AQZ_DEVICE u32x4 mma_word(const aqz_gpu_job &job, const uint8_t *words, uint32_t m, uint32_t code, uint32_t piece)
{
	const uint32_t index = (m << job.code_bits | code) * job.pieces + piece;

	if (SHARED)
		return lds<u32x4>(index * 128 + lane_index() % 8 * 16);
	return ldg<u32x4>(words + (uint64_t)index * 16);
}

/* Elements [8 piece, 8 piece + 8) of the lane's group and column of x, in 16 bits; zeros where there are none. */
AQZ_DEVICE u32x4 mma_x(const aqz_gpu_job &job, uint32_t column, uint32_t group, uint32_t piece)
{
	const uint32_t first = group * job.in_group + piece * 8;
	const uint16_t *const x = static_cast<const uint16_t *>(job.x) + column * job.ldx;
	uint64_t low = 0, high = 0;

	if (column >= job.n_columns)
		return {0, 0, 0, 0};
	if (job.x_quick && first + 8 <= job.cols)
		return ldg<u32x4>(x + first);
	/* Seldom: a loop takes the fewest registers. */
	AQZ_NO_UNROLL
	for (uint32_t e = 0; e < 8 && piece * 8 + e < job.in_group && first + e < job.cols; e++) {
		const uint64_t v = ldg<uint16_t>(x + first + e);

		low |= e < 4 ? v << e * 16 : 0;
		high |= e < 4 ? 0 : v << (e - 4) * 16;
	}
	return {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32)};
}

/* d += two rows' codewords times x, 4 groups deep. */
template <bool F16>
AQZ_DEVICE void mma_two(float (&d)[4], u32x4 low, u32x4 high, u32x4 x)
{
	if (F16) {
		mma_f16(d, low.x, high.x, low.y, high.y, x.x, x.y);
		mma_f16(d, low.z, high.z, low.w, high.w, x.z, x.w);
	} else {
		mma_bf16(d, low.x, high.x, low.y, high.y, x.x, x.y);
		mma_bf16(d, low.z, high.z, low.w, high.w, x.z, x.w);
	}
}

/* All 8 rows of a lane: v[8] + bias in y's dtype, by one store where that is possible. */
AQZ_DEVICE void mma_store(const aqz_gpu_job &job, const aqz_gpu_rows &part, uint32_t column, uint32_t row,
	const float (&v)[8])
{
	uint16_t *const to = static_cast<uint16_t *>(part.y) + column * part.ldy + row;

	if (job.y_dtype == AQZ_F32 || row + 8 > part.rows || (uintptr_t)to % 16 != 0) {
		AQZ_UNROLL
		for (uint32_t i = 0; i < 8; i++)
			if (row + i < part.rows)
				y_store(job, part, column, row + i, row + i, v[i]);
		return;
	}
	uint32_t packed[4] = {};

	AQZ_UNROLL
	for (uint32_t i = 0; i < 8; i++) {
		float sum = v[i] * ldg<float>(part.scales + row + i);

		if (part.bias != nullptr)
			sum += ldg<float>(part.bias + row + i);
		packed[i / 2] |= (uint32_t)(job.y_dtype == AQZ_F16 ? f32_to_f16(sum) : f32_to_bf16(sum)) << i % 2 * 16;
	}
	stg<u32x4>(to, {packed[0], packed[1], packed[2], packed[3]});
}

/* Each codeword 8 times. */
AQZ_DEVICE void mma_stage_words(const aqz_gpu_job &job, const uint8_t *words, uint32_t threads)
{
	const uint32_t n = (job.n_codebooks << job.code_bits) * job.pieces * 8;

	for (uint32_t i = thread_index(); i < n; i += threads)
		sts<u32x4>(i * 16, ldg<u32x4>(words + (uint64_t)(i / 8) * 16));
}

/* Pieces [first, end) of x, at most a chunk, as lanes of a multiplication read them. */
template <int TILES>
AQZ_DEVICE void mma_stage_x(const aqz_gpu_job &job, uint32_t to, uint32_t first_column, uint32_t first, uint32_t end)
{
	const uint32_t n = (first + AQZ_MMA_CHUNK < end ? AQZ_MMA_CHUNK : end - first) * (TILES * 32);

	AQZ_NO_UNROLL
	for (uint32_t i = thread_index(); i < n; i += AQZ_MMA_THREADS(TILES)) {
		const uint32_t k = first + i / (TILES * 32), column = first_column + i / 4 % (TILES * 8);

		sts<u32x4>(to + i * 16, mma_x(job, column, k / job.pieces * 4 + i % 4, k % job.pieces));
	}
}

/* acc += the codewords of 4 groups of 64 rows, one piece of them, times x. */
template <int TILES, bool F16, int BOOKS, bool SHARED, bool BYTES>
AQZ_DEVICE void mma_step(float (&acc)[4][TILES][4], const aqz_gpu_job &job, const aqz_gpu_rows &part,
	const uint8_t *block, const mma_codes *codes, uint32_t step, uint32_t piece, uint32_t x_at)
{
	u32x4 x[TILES];

	AQZ_UNROLL
	for (uint32_t t = 0; t < TILES; t++)
		x[t] = lds<u32x4>(x_at + t * 512 + lane_index() * 16);
	const auto one = [&](uint32_t m, const mma_codes &c) {
		AQZ_UNROLL
		for (uint32_t i = 0; i < 4; i++) {
			const u32x4 low = mma_word<SHARED>(job, part.words, m, mma_code<BYTES>(c, i, 0), piece);
			const u32x4 high = mma_word<SHARED>(job, part.words, m, mma_code<BYTES>(c, i, 1), piece);

			AQZ_UNROLL
			for (uint32_t t = 0; t < TILES; t++)
				mma_two<F16>(acc[i][t], low, high, x[t]);
		}
	};
	if (BOOKS > 0) {
		AQZ_UNROLL
		for (int m = 0; m < BOOKS; m++)
			one((uint32_t)m, codes[m]);
	} else {
		AQZ_NO_UNROLL
		for (uint32_t m = 0; m < job.n_codebooks; m++)
			one(m, mma_load_codes<BYTES>(job, block, step, m));
	}
}

/* Adds the splits up and writes y of a unit. */
template <int TILES>
AQZ_DEVICE void mma_finish(float (&acc)[4][TILES][4], const aqz_gpu_job &job, const aqz_gpu_rows &part, uint32_t unit,
	uint32_t first_column)
{
	const uint32_t lane = lane_index();
	float v[16 * TILES];

	AQZ_UNROLL
	for (int i = 0; i < 16 * TILES; i++)
		v[i] = acc[i / 4 / TILES][i / 4 % TILES][i % 4];
	if (!combine<16 * TILES>(v, job, part.first_unit + unit, block_z(), block_y()))
		return;
	AQZ_UNROLL
	for (uint32_t t = 0; t < TILES; t++) {
		AQZ_UNROLL
		for (uint32_t j = 0; j < 2; j++) {
			const uint32_t column = first_column + t * 8 + lane % 4 * 2 + j;
			float rows[8];

			AQZ_UNROLL
			for (uint32_t i = 0; i < 8; i++)
				rows[i] = v[(i / 2 * TILES + t) * 4 + i % 2 * 2 + j];
			if (column < job.n_columns)
				mma_store(job, part, column, unit * 64 + lane / 4 * 8, rows);
		}
	}
}

/* TILES: of 8 columns. BOOKS: M, or 0 for any. SHARED: codewords are in shared memory. BYTES: B <= 8.
 * job.per_split: fours of groups. Shared memory: codewords, then x. Grid: blocks of rows, splits, columns / (8 *
 * TILES). */
template <int TILES, bool F16, int BOOKS, bool SHARED, bool BYTES>
AQZ_DEVICE void product_mma(const aqz_gpu_job &job)
{
	constexpr int HELD = BOOKS > 0 ? BOOKS : 1;
	const aqz_gpu_rows &part = job.parts[part_of_block(job, block_x())];
	const uint32_t first_column = block_z() * (8 * TILES), pieces = job.pieces;
	const uint32_t first_unit = first_unit_of(part, block_x() - part.first_block);
	const uint32_t last_unit = first_unit_of(part, block_x() - part.first_block + 1);
	const uint32_t steps = (job.groups + 3) / 4, first_step = block_y() * job.per_split;
	const uint32_t last_step = first_step + job.per_split < steps ? first_step + job.per_split : steps;
	const uint32_t begin = first_step * pieces, end = last_step * pieces;
	const uint32_t x_base = SHARED ? (job.n_codebooks << job.code_bits) * pieces * 128 : 0;

	if (SHARED)
		mma_stage_words(job, part.words, AQZ_MMA_THREADS(TILES));
	AQZ_NO_UNROLL
	for (uint32_t round = first_unit; round < last_unit; round += AQZ_MMA_THREADS(TILES) / 32) {
		/* A warp without a unit takes the last one, for the barriers' sake. */
		const bool real = round + warp_index() < last_unit;
		const uint32_t unit = real ? round + warp_index() : last_unit - 1;
		const uint8_t *const block = part.codes + unit * part.row_block_bytes;
		float acc[4][TILES][4] = {};
		mma_codes now[HELD] = {}, next[HELD] = {};
		uint32_t step = first_step, piece = 0;

		if (BOOKS > 0) {
			AQZ_UNROLL
			for (uint32_t m = 0; m < HELD; m++)
				now[m] = mma_load_codes<BYTES>(job, block, step, m);
		}
		mma_stage_x<TILES>(job, x_base, first_column, begin, end);
		sync_block();
		AQZ_NO_UNROLL
		for (uint32_t k = begin; k < end; k++) {
			const uint32_t in = (k - begin) % (2 * AQZ_MMA_CHUNK);
			const bool same = piece + 1 < pieces;

			/* At the beginning of a chunk everyone has left the other one. */
			if (in % AQZ_MMA_CHUNK == 0 && k + AQZ_MMA_CHUNK < end)
				mma_stage_x<TILES>(job, x_base + (in ^ AQZ_MMA_CHUNK) * (TILES * 512), first_column,
					k + AQZ_MMA_CHUNK, end);
			if (BOOKS > 0) {
				AQZ_UNROLL
				for (uint32_t m = 0; m < HELD; m++)
					next[m] = mma_load_codes<BYTES>(job, block, same || step + 1 == last_step ? step : step + 1, m);
			}
			mma_step<TILES, F16, BOOKS, SHARED, BYTES>(acc, job, part, block, now, step, piece,
				x_base + in * (TILES * 512));
			step += same ? 0 : 1;
			piece = same ? piece + 1 : 0;
			if (BOOKS > 0) {
				AQZ_UNROLL
				for (uint32_t m = 0; m < HELD; m++)
					now[m] = next[m];
			}
			if (in % AQZ_MMA_CHUNK == AQZ_MMA_CHUNK - 1)
				sync_block();
		}
		/* The next round stages over x that slower warps may still read. */
		sync_block();
		if (real)
			mma_finish<TILES>(acc, job, part, unit, first_column);
	}
}

} // namespace aqz
#endif
