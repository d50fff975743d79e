/* SPDX-License-Identifier: Apache-2.0 */
/* LUT-R: products with codes of 9 to 12 bits, O = 1, from tables in which lanes are rows. CUDA C++.
 *
 * A table has the products of all 2^B codewords with one group of x: 16 KiB at B = 12. A block of 512 threads makes
 * those of 4 * QUADS groups by tensor cores, looks up all of its rows, and goes on to the next groups of its split;
 * sums stay in registers meanwhile, for up to AQZ_LUTR_BLOCKS row blocks of 64 a warp. Lanes look up at places that
 * codes choose: about 3.5 passes for 32 look-ups.
 *
 * Bytes of memory: the codes once, in 16 bits. At 4096 and more rows to a block the look-ups bound it: about 60 weights
 * of groups of 8 a clock and SM (predicted, not measured). */
#ifndef AQZ_GPU_PRODUCT_LUTR_H
#define AQZ_GPU_PRODUCT_LUTR_H

#include "gpu/product_common.h"

#define AQZ_LUTR_THREADS 512
#define AQZ_LUTR_WARPS 16
#define AQZ_LUTR_BLOCKS 8 /* row blocks of a warp */
/* 32 bytes beyond the entries turn the banks of the next group by 8: what the lanes of a multiplication store for four
 * groups goes to different ones. */
#define AQZ_LUTR_TABLE_BYTES(code_bits) ((4u << (code_bits)) + 32)

namespace aqz {

/* Tables of groups first.. of the split's, zeros from `groups` on: x_element gives 0 there. */
template <int QUADS>
AQZ_DEVICE void lutr_make_tables(const aqz_gpu_job &job, const uint8_t *words, uint32_t column, uint32_t first)
{
	const uint32_t lane = lane_index(), r = lane / 4, q = lane % 4, table = AQZ_LUTR_TABLE_BYTES(job.code_bits);
	const uint32_t tiles = 1u << (job.code_bits - 3);
	const bool wide = job.x_dtype == AQZ_F32 || job.word_dtype == AQZ_F32;

	AQZ_NO_UNROLL
	for (uint32_t piece = 0; piece < job.pieces; piece++) {
		uint32_t a[4], a_low[4];

		AQZ_UNROLL
		for (uint32_t k = 0; k < 4; k++) {
			const uint32_t group = first + r + k % 2 * 8, e = piece * 8 + 2 * q + k / 2;
			const bool real = r + k % 2 * 8 < 4 * QUADS && e < job.in_group;
			const float x = real ? x_element(job, column, group * job.in_group + e) : 0;

			a[k] = f32_bits(tf32_high(x));
			a_low[k] = f32_bits(tf32_high(x - tf32_high(x)));
		}
#if defined(__CUDACC__)
#pragma unroll 4
#endif
		for (uint32_t tile = warp_index(); tile < tiles; tile += AQZ_LUTR_WARPS) {
			const uint64_t at = (uint64_t)(tile * 8 + r) * (8 * job.pieces) + piece * 8 + 2 * q;
			float d[4] = {};
			f32x2 w;

			if (job.word_dtype == AQZ_F32) {
				w = ldg<f32x2>(words + at * 4);
			} else {
				const uint32_t v = ldg<uint32_t>(words + at * 2);
				const f32x2 f = f16x2_to_f32(v), bf = bf16x2_to_f32(v);

				w = {job.word_dtype == AQZ_F16 ? f.x : bf.x, job.word_dtype == AQZ_F16 ? f.y : bf.y};
			}
			const f32x2 high = {tf32_high(w.x), tf32_high(w.y)};
			const uint32_t b[2] = {f32_bits(high.x), f32_bits(high.y)};
			const uint32_t at0 = r * table + (tile * 8 + 2 * q) * 4, at1 = at0 + 8 * table;

			if (piece > 0 && r < 4 * QUADS) {
				const f32x2 v = lds<f32x2>(at0);
				d[0] = v.x, d[1] = v.y;
			}
			if (piece > 0 && r + 8 < 4 * QUADS) {
				const f32x2 v = lds<f32x2>(at1);
				d[2] = v.x, d[3] = v.y;
			}
			if (wide) {
				const uint32_t b_low[2] = {f32_bits(tf32_high(w.x - high.x)), f32_bits(tf32_high(w.y - high.y))};

				mma_tf32(d, a_low, b);
				mma_tf32(d, a, b_low);
			}
			mma_tf32(d, a, b);
			if (r < 4 * QUADS)
				sts<f32x2>(at0, {d[0], d[1]});
			if (r + 8 < 4 * QUADS)
				sts<f32x2>(at1, {d[2], d[3]});
		}
	}
}

/* job.per_split: fours of groups. Grid: blocks of rows, each with at most 16 * AQZ_LUTR_BLOCKS units; splits;
 * columns. */
template <int QUADS>
AQZ_DEVICE void product_lutr(const aqz_gpu_job &job)
{
	const aqz_gpu_rows &part = job.parts[part_of_block(job, block_x())];
	const uint32_t lane = lane_index(), warp = warp_index(), column = block_z();
	const uint32_t first_unit = first_unit_of(part, block_x() - part.first_block) + warp;
	const uint32_t last_unit = first_unit_of(part, block_x() - part.first_block + 1);
	const uint32_t quads = job.group_blocks, begin = block_y() * job.per_split;
	const uint32_t end = begin + job.per_split < quads ? begin + job.per_split : quads;
	const uint32_t table = AQZ_LUTR_TABLE_BYTES(job.code_bits), book_bytes = job.pieces * (8u << job.code_bits) *
		(job.word_dtype == AQZ_F32 ? 4 : 2);
	float acc[AQZ_LUTR_BLOCKS][2] = {};
	u32x4 now[QUADS], next[QUADS] = {};
	/* Codes of the warp's row block b. What does not exist is replaced by what does: it is loaded and not used. */
	const auto load = [&](u32x4 (&to)[QUADS], uint32_t b, uint32_t first, uint32_t m) {
		const uint32_t wanted = first_unit + b * AQZ_LUTR_WARPS, unit = wanted < last_unit ? wanted : last_unit - 1;

		AQZ_UNROLL
		for (uint32_t k = 0; k < QUADS; k++) {
			const uint32_t quad = first + k < end ? first + k : end - 1;

			to[k] = ldg_once<u32x4>(part.codes + unit * part.row_block_bytes + quad * job.tile_bytes +
				(m * 32 + lane) * 16);
		}
	};

	AQZ_NO_UNROLL
	for (uint32_t i = 0; i < (end - begin + QUADS - 1) / QUADS * job.n_codebooks; i++) {
		const uint32_t m = i % job.n_codebooks, first = begin + i / job.n_codebooks * QUADS;

		load(now, 0, first, m);
		if (i > 0)
			sync_block();
		lutr_make_tables<QUADS>(job, part.words + (uint64_t)m * book_bytes, column, first * 4);
		sync_block();
		AQZ_UNROLL
		for (uint32_t b = 0; b < AQZ_LUTR_BLOCKS; b++) {
			if (first_unit + b * AQZ_LUTR_WARPS >= last_unit)
				break;
			if (b + 1 < AQZ_LUTR_BLOCKS)
				load(next, b + 1, first, m);
			AQZ_UNROLL
			for (uint32_t k = 0; k < QUADS; k++) {
				const uint32_t c[4] = {now[k].x, now[k].y, now[k].z, now[k].w};

				if (first + k >= end)
					continue;
				AQZ_UNROLL
				for (uint32_t g = 0; g < 4; g++) {
					const uint32_t at = (k * 4 + g) * table;

					acc[b][0] += lds<float>(at + (c[g] & 0xffff) * 4);
					acc[b][1] += lds<float>(at + (c[g] >> 16) * 4);
				}
			}
			AQZ_UNROLL
			for (uint32_t k = 0; k < QUADS; k++)
				now[k] = next[k];
		}
	}
	AQZ_UNROLL
	for (uint32_t b = 0; b < AQZ_LUTR_BLOCKS; b++) {
		const uint32_t unit = first_unit + b * AQZ_LUTR_WARPS;

		if (unit >= last_unit || !combine<2>(acc[b], job, part.first_unit + unit, column, block_y()))
			continue;
		AQZ_UNROLL
		for (uint32_t i = 0; i < 2; i++) {
			const uint32_t row = unit * 64 + lane * 2 + i;

			if (row < part.rows)
				y_store(job, part, column, row, row, acc[b][i]);
		}
	}
}

} // namespace aqz
#endif
