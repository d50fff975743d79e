/* SPDX-License-Identifier: Apache-2.0 */
/* LUT-G: products with codes of up to 8 bits, O = 1, from tables in which the lane is the group. CPU twin:
 * codec/product_tables.c. CUDA C++.
 *
 * y[row] = sum over groups j and codebooks m of T[j][m][code(row, j, m)], T[j][m][c] = codeword[m][c] . x[j]. A plane
 * is one codebook for 32 groups: 256 codes x 32 lanes x 4 bytes. Whatever the codes are, lane l reads bank l: a look-up
 * of a warp is one pass through shared memory. Rows of the table are 256 bytes (two planes, or one for two columns of
 * x), so that one byte permutation makes the address: code << 8 | lane * 4.
 *
 * A block of 512 threads holds TABLES tables of 64 KiB for good: consecutive planes, numbered slice * M + m. Tensor
 * cores make them once (tf32 holds binary16 and bfloat16 exactly; binary32 goes as two parts, with three products).
 * Then each warp takes 32 rows at a time: for each plane two 16-byte loads a lane, a look-up and an addition a code,
 * and at the end a transposing reduction of 32 sums over 32 lanes by 31 shuffles.
 *
 * Bytes of memory: the codes once, and 8 * splits for each row and column. Passes through shared memory for 32
 * look-ups: 1, 1/4 for the load of the codes, 31 / (32 * planes) for the reduction, and the tables' 256 a plane. At
 * M = 2 and 3 tables that is 1.5, or 85 weights a clock and SM: memory-bound on an H200 (predicted, not measured). */
#ifndef AQZ_GPU_PRODUCT_LUTG_H
#define AQZ_GPU_PRODUCT_LUTG_H

#include "gpu/product_common.h"

#define AQZ_LUTG_THREADS 512
#define AQZ_LUTG_WARPS 16
#define AQZ_LUTG_ROWS 32
#define AQZ_LUTG_TABLE_BYTES 65536

namespace aqz {

/* A step of reduce32: lanes that differ in bit N trade half of what they hold. A loop over N would not be unrolled, and
 * v would lie in memory. */
template <int N>
AQZ_DEVICE void reduce_step(float (&v)[32])
{
	const bool high = (lane_index() & (uint32_t)N) != 0;

	AQZ_UNROLL
	for (int i = 0; i < N; i++) {
		const float sent = high ? v[i] : v[i + N], kept = high ? v[i + N] : v[i];
		v[i] = kept + shfl_xor(sent, (uint32_t)N);
	}
}

/* Sums of 32 values over 32 lanes: lane l gets that of value l. */
AQZ_DEVICE float reduce32(float (&v)[32])
{
	reduce_step<16>(v);
	reduce_step<8>(v);
	reduce_step<4>(v);
	reduce_step<2>(v);
	reduce_step<1>(v);
	return v[0];
}

/* Two neighbouring elements of a codeword. */
AQZ_DEVICE f32x2 word_pair(const aqz_gpu_job &job, const uint8_t *words, uint64_t index)
{
	if (job.word_dtype == AQZ_F32)
		return ldg<f32x2>(words + index * 4);
	const uint32_t v = ldg<uint32_t>(words + index * 2);
	return job.word_dtype == AQZ_F16 ? f16x2_to_f32(v) : bf16x2_to_f32(v);
}

/* x of a slice lies in shared memory as [piece][group % 4][group / 4][8]: lane (r, q) of a multiplication reads
 * elements 2q, 2q + 1 of groups 4r..4r+3 by four loads that each touch every bank once. */

/* x of the lane's groups 4r..4r+3, elements 2q and 2q + 1 of a piece. Lane = 4r + q. */
struct lutg_x { f32x2 v[4]; };

AQZ_DEVICE lutg_x lutg_load_x(uint32_t at)
{
	lutg_x x;

	AQZ_UNROLL
	for (uint32_t t = 0; t < 4; t++)
		x.v[t] = lds<f32x2>(at + t * 256 + lane_index() * 8);
	return x;
}

/* d[t / 2][t % 2 * 2 + i] += products of groups 4r + t with codewords 8 tile + 2q + i, over one piece, or = those if
 * it is the first. w: elements 2q and 2q + 1 of codeword 8 tile + r. k of the multiplication runs over elements in the
 * order 0 2 4 6 1 3 5 7, for both factors. */
AQZ_DEVICE void lutg_multiply(float (&d)[2][4], const lutg_x &x, f32x2 w, bool first)
{
	const uint32_t b[2] = {f32_bits(w.x), f32_bits(w.y)};

	AQZ_UNROLL
	for (int i = 0; i < 2; i++) {
		const f32x2 p = x.v[2 * i], o = x.v[2 * i + 1];
		const uint32_t a[4] = {f32_bits(p.x), f32_bits(o.x), f32_bits(p.y), f32_bits(o.y)};

		if (first)
			mma_tf32_first(d[i], a, b);
		else
			mma_tf32(d[i], a, b);
	}
}

/* The same for numbers in binary32, as sums of two that tf32 holds: to 2^-21 of each product. */
AQZ_DEVICE void lutg_multiply_wide(float (&d)[2][4], const lutg_x &x, f32x2 w)
{
	const f32x2 w1 = {tf32_high(w.x), tf32_high(w.y)};
	const uint32_t b1[2] = {f32_bits(w1.x), f32_bits(w1.y)};
	const uint32_t b2[2] = {f32_bits(tf32_high(w.x - w1.x)), f32_bits(tf32_high(w.y - w1.y))};

	AQZ_UNROLL
	for (int i = 0; i < 2; i++) {
		const f32x2 p = x.v[2 * i], o = x.v[2 * i + 1];
		const float v[4] = {p.x, o.x, p.y, o.y};
		uint32_t a1[4], a2[4];

		AQZ_UNROLL
		for (int k = 0; k < 4; k++) {
			const float high = tf32_high(v[k]);

			a1[k] = f32_bits(high);
			a2[k] = f32_bits(tf32_high(v[k] - high));
		}
		mma_tf32(d[i], a2, b1);
		mma_tf32(d[i], a1, b2);
		mma_tf32(d[i], a1, b1);
	}
}

/* v[s] becomes v[(s + q) % 4], where q is not known before the lane is. */
AQZ_DEVICE void lutg_turn(float (&v)[4], uint32_t q)
{
	const bool one = (q & 1) != 0, two = (q & 2) != 0;
	const float a[4] = {one ? v[1] : v[0], one ? v[2] : v[1], one ? v[3] : v[2], one ? v[0] : v[3]};

	AQZ_UNROLL
	for (int s = 0; s < 4; s++)
		v[s] = two ? a[(s + 2) % 4] : a[s];
}

/* x of the slices that the planes of this block need, in binary32; zeros beyond the last. */
template <int COLUMNS>
AQZ_DEVICE void lutg_stage_x(const aqz_gpu_job &job, uint32_t x_base, uint32_t first_slice, uint32_t n_slices)
{
	const uint32_t n = COLUMNS * n_slices * job.pieces * 32;

	AQZ_NO_UNROLL
	for (uint32_t i = thread_index(); i < n; i += AQZ_LUTG_THREADS) {
		const uint32_t place = i % 32, group = place % 8 * 4 + place / 8, piece = i / 32 % job.pieces;
		const uint32_t slice = i / 32 / job.pieces, column = block_z() * COLUMNS + slice / n_slices;
		float v[8] = {};

		if (column < job.n_columns)
			x_piece(v, job, column, (first_slice + slice % n_slices) * 32 + group, piece);
		/* Half of the lanes begin with the upper four, so that 8 lanes touch all banks. */
		const bool up = place / 4 % 2 == 1;
		const f32x4 low = {v[0], v[1], v[2], v[3]}, high = {v[4], v[5], v[6], v[7]};
		sts<f32x4>(x_base + i * 32 + (up ? 16 : 0), up ? high : low);
		sts<f32x4>(x_base + i * 32 + (up ? 0 : 16), up ? low : high);
	}
}

/* The products of codewords 8 tile.. of codebook m with the 32 groups of a slice, into a plane's place. PIECES 0: any
 * number of pieces, of x or codewords in binary32 too. Two tiles at once share x: tile, tile + 16. */
template <int COLUMNS, int PIECES>
AQZ_DEVICE void lutg_tiles(const aqz_gpu_job &job, const uint8_t *words, uint32_t m, uint32_t x_at, uint32_t slice,
	uint32_t n_slices, const uint32_t (&store_at)[4], uint32_t plane_at, uint32_t n_tiles)
{
	const uint32_t lane = lane_index(), q = lane % 4, pieces = PIECES > 0 ? (uint32_t)PIECES : job.pieces;
	const uint32_t n_codes = 1u << job.code_bits;
	float d[2][COLUMNS][2][4] = {};

	const auto piece = [&](uint32_t p) {
		lutg_x x[COLUMNS];

		AQZ_UNROLL
		for (uint32_t c = 0; c < COLUMNS; c++)
			x[c] = lutg_load_x(x_at + ((c * n_slices + slice) * pieces + p) * 1024);
		AQZ_UNROLL
		for (uint32_t k = 0; k < 2; k++) {
			/* Of fewer than 8 codewords some are made several times; of 128 or fewer the second tile is left out. */
			const uint32_t code = ((warp_index() + AQZ_LUTG_WARPS * k) * 8 + lane / 4) & (n_codes - 1);
			const uint64_t word = (uint64_t)((m << job.code_bits) + code) * (8 * pieces) + p * 8 + q * 2;

			if (PIECES > 0) {
				const uint32_t v = ldg<uint32_t>(words + word * 2);
				const f32x2 f = f16x2_to_f32(v), bf = bf16x2_to_f32(v);
				const bool is_f16 = job.word_dtype == AQZ_F16;

				AQZ_UNROLL
				for (int c = 0; c < COLUMNS; c++)
					lutg_multiply(d[k][c], x[c], {is_f16 ? f.x : bf.x, is_f16 ? f.y : bf.y}, p == 0);
			} else {
				AQZ_UNROLL
				for (int c = 0; c < COLUMNS; c++)
					lutg_multiply_wide(d[k][c], x[c], word_pair(job, words, word));
			}
		}
	};

	if (PIECES > 0) {
		AQZ_UNROLL
		for (int p = 0; p < PIECES; p++)
			piece((uint32_t)p);
	} else {
		AQZ_NO_UNROLL
		for (uint32_t p = 0; p < pieces; p++)
			piece(p);
	}
	AQZ_UNROLL
	for (uint32_t k = 0; k < 2; k++) {
		if (warp_index() + AQZ_LUTG_WARPS * k >= n_tiles)
			break;
		/* Lane (r, q) stores group 4r + (s + q) % 4 in step s: all groups, so all banks, in each step. */
		AQZ_UNROLL
		for (int i = 0; i < 2; i++) {
			float v[COLUMNS][4];

			AQZ_UNROLL
			for (int c = 0; c < COLUMNS; c++) {
				AQZ_UNROLL
				for (int t = 0; t < 4; t++)
					v[c][t] = d[k][c][t / 2][t % 2 * 2 + i];
				lutg_turn(v[c], q);
			}
			AQZ_UNROLL
			for (int s = 0; s < 4; s++) {
				const uint32_t at = store_at[s] + plane_at + k * (AQZ_LUTG_WARPS * 2048) + (uint32_t)i * 256;

				if (COLUMNS == 1)
					sts<float>(at, v[0][s]);
				else
					sts<f32x2>(at, {v[0][s], v[COLUMNS - 1][s]});
			}
		}
	}
}

/* The tables of planes first..first + PLANES - 1. Those beyond the last meet x of slices beyond the last: all 0. */
template <int TABLES, int COLUMNS, int PIECES>
AQZ_DEVICE void lutg_make_tables(const aqz_gpu_job &job, const uint8_t *words, uint32_t first, uint32_t first_slice,
	uint32_t n_slices)
{
	constexpr uint32_t PLANES = TABLES * 2 / COLUMNS, x_base = TABLES * AQZ_LUTG_TABLE_BYTES;
	const uint32_t lane = lane_index(), r = lane / 4, q = lane % 4, n_tiles = ((1u << job.code_bits) + 7) / 8;
	uint32_t store_at[4], m = first % job.n_codebooks, slice = first / job.n_codebooks - first_slice;

	if (warp_index() >= n_tiles)
		return;
	AQZ_UNROLL
	for (uint32_t s = 0; s < 4; s++)
		store_at[s] = (warp_index() * 8 + 2 * q) * 256 + (4 * r + (s + q) % 4) * (4 * COLUMNS);
	AQZ_UNROLL
	for (uint32_t h = 0; h < PLANES; h++) {
		const uint32_t at = COLUMNS == 1 ? h / 2 * AQZ_LUTG_TABLE_BYTES + h % 2 * 128 : h * AQZ_LUTG_TABLE_BYTES;

		lutg_tiles<COLUMNS, PIECES>(job, words, m, x_base, slice, n_slices, store_at, at, n_tiles);
		m++;
		if (m == job.n_codebooks) {
			m = 0;
			slice++;
		}
	}
}

/* The codes of 32 rows for one table: [plane][16-row chunk]. */
template <int COLUMNS>
struct lutg_codes { u32x4 v[2 / COLUMNS][2]; };

/* Adds the look-ups of one table. Byte i of the codes is row i of its 16. */
template <int COLUMNS>
AQZ_DEVICE void lutg_look_up(float (&acc)[COLUMNS][32], const lutg_codes<COLUMNS> &codes, uint32_t table_at,
	uint32_t lane_at)
{
	AQZ_UNROLL
	for (int p = 0; p < 2 / COLUMNS; p++) {
		AQZ_UNROLL
		for (int chunk = 0; chunk < 2; chunk++) {
			const u32x4 c = codes.v[p][chunk];
			const uint32_t word[4] = {c.x, c.y, c.z, c.w};

			AQZ_UNROLL
			for (int i = 0; i < 16; i++) {
				const uint32_t at = prmt(word[i / 4], lane_at, 0x5504u | (uint32_t)(i % 4) << 4);

				if (COLUMNS == 1) {
					acc[0][chunk * 16 + i] += lds<float>(at + table_at + (uint32_t)p * 128);
				} else {
					const f32x2 v = lds<f32x2>(at + table_at);
					acc[0][chunk * 16 + i] += v.x;
					acc[COLUMNS - 1][chunk * 16 + i] += v.y;
				}
			}
		}
	}
}

/* job.per_split: planes, TABLES * 2 / COLUMNS. Shared memory: the tables and x of the slices. Grid: blocks of rows,
 * splits, columns / COLUMNS. */
template <int TABLES, int COLUMNS, int PIECES>
AQZ_DEVICE void product_lutg(const aqz_gpu_job &job)
{
	constexpr uint32_t PLANES = TABLES * 2 / COLUMNS;
	const aqz_gpu_rows &part = job.parts[part_of_block(job, block_x())];
	const uint32_t lane = lane_index(), n_books = job.n_codebooks;
	const uint32_t begin = first_unit_of(part, block_x() - part.first_block);
	const uint32_t end = first_unit_of(part, block_x() - part.first_block + 1);
	const uint32_t n_planes = job.group_blocks * n_books, first = block_y() * PLANES;
	const uint32_t first_slice = first / n_books, n_slices = (first + PLANES - 1) / n_books - first_slice + 1;
	const uint8_t *const codes = part.codes + first_slice * job.tile_bytes + lane * 16;
	uint32_t at[PLANES];
	lutg_codes<COLUMNS> now, next;

	AQZ_UNROLL
	for (uint32_t h = 0; h < PLANES; h++) {
		/* A plane beyond the last, whose table is 0, has the last one's codes. */
		const uint32_t plane = first + h < n_planes ? first + h : n_planes - 1;

		at[h] = (plane / n_books - first_slice) * (uint32_t)job.tile_bytes + plane % n_books * 512;
	}
	const auto load = [&](lutg_codes<COLUMNS> &to, uint32_t unit, uint32_t table) {
		const uint8_t *const from = codes + unit / 2 * part.row_block_bytes + unit % 2 * (1024 * n_books);

		AQZ_UNROLL
		for (uint32_t p = 0; p < 2 / COLUMNS; p++) {
			AQZ_UNROLL
			for (uint32_t chunk = 0; chunk < 2; chunk++)
				to.v[p][chunk] = ldg_once<u32x4>(from + at[table * (2 / COLUMNS) + p] + chunk * (512 * n_books));
		}
	};

	/* Memory is busy with the first round's codes while the tables are made. */
	uint32_t unit = begin + warp_index();
	if (unit < end) {
		load(now, unit, 0);
		AQZ_UNROLL
		for (uint32_t h = 2 / COLUMNS; h < PLANES; h++) {
			const uint8_t *const from = codes + unit / 2 * part.row_block_bytes + unit % 2 * (1024 * n_books) + at[h];

			prefetch(from);
			prefetch(from + 512 * n_books);
		}
	}
	lutg_stage_x<COLUMNS>(job, TABLES * AQZ_LUTG_TABLE_BYTES, first_slice, n_slices);
	sync_block();
	lutg_make_tables<TABLES, COLUMNS, PIECES>(job, part.words, first, first_slice, n_slices);
	sync_block();

	AQZ_NO_UNROLL
	for (; unit < end; unit += AQZ_LUTG_WARPS) {
		/* The last round reads its own first codes once more, for nothing. */
		const uint32_t ahead = unit + AQZ_LUTG_WARPS < end ? unit + AQZ_LUTG_WARPS : unit;
		float acc[COLUMNS][32] = {};
		float sums[COLUMNS];

		AQZ_UNROLL
		for (uint32_t t = 0; t < TABLES; t++) {
			load(next, t + 1 < TABLES ? unit : ahead, t + 1 < TABLES ? t + 1 : 0);
			lutg_look_up<COLUMNS>(acc, now, t * AQZ_LUTG_TABLE_BYTES, lane * (4 * COLUMNS));
			now = next;
		}
		AQZ_UNROLL
		for (int c = 0; c < COLUMNS; c++)
			sums[c] = reduce32(acc[c]);
		if (combine<COLUMNS>(sums, job, part.first_unit + unit, block_z(), block_y())) {
			const uint32_t row = unit * AQZ_LUTG_ROWS + lane;

			AQZ_UNROLL
			for (int c = 0; c < COLUMNS; c++)
				if (row < part.rows && block_z() * COLUMNS + (uint32_t)c < job.n_columns)
					y_store(job, part, block_z() * COLUMNS + (uint32_t)c, row, row, sums[c]);
		}
	}
}

} // namespace aqz
#endif
