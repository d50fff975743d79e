/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding a chunk of the trellis codec by one warp, spec 7.3.3 and 7.3.4: lane l has state l of the coder and column
 * 32 * block + l of each block of columns. All bits are those of codec/trellis_decode.c. CUDA C++.
 *
 * A row is a chain: bucket, slot, the coder's step, and then words for the lanes that need one, given out by counting
 * the lanes before. Nothing but other warps hides it, and a chunk has one warp; so latency bounds it, and a matrix is
 * decoded at the rate of its number of chunks. The payload is held in registers, 64 words in each of three windows, the
 * last of which is on its way while the others are read; tables of slots are read through the first-level cache. */
#ifndef AQZ_GPU_TRELLIS_KERNEL_H
#define AQZ_GPU_TRELLIS_KERNEL_H

#include "gpu/lanes.h"
#include "gpu/narrow.h"
#include "gpu/trellis.h"

namespace aqz {

enum : uint32_t { RANS_BITS = 12, RANS_LEAST = 1u << 16, MAX_INDEX = (1u << 22) - 1, SLOTS = 1u << RANS_BITS };

/* Bit l is lane l's. */
AQZ_DEVICE uint32_t ballot(bool yes)
{
#if defined(__CUDACC__)
	return __ballot_sync(0xffffffffu, yes);
#else
	uint32_t v = yes ? 1u << lane_index() : 0;

	for (uint32_t i = 1; i < 32; i *= 2)
		v |= shfl(v, lane_index() ^ i);
	return v;
#endif
}

AQZ_DEVICE uint32_t count_bits(uint32_t v)
{
#if defined(__CUDACC__)
	return (uint32_t)__popc(v);
#else
	return (uint32_t)__builtin_popcount(v);
#endif
}

AQZ_DEVICE void atomic_least(uint32_t *p, uint32_t v)
{
#if defined(__CUDACC__)
	atomicMin(p, v);
#else
	if (v < *p)
		*p = v;
#endif
}

/* The words of a payload from `window` on, two in each lane of each part. */
struct trellis_words {
	const uint8_t *first; /* at a multiple of 4 */
	uint32_t n, next, window;
	uint32_t part[3];

	AQZ_DEVICE uint32_t load(uint32_t from) const
	{
		const uint32_t i = from + 2 * lane_index();

		if (i + 1 < n)
			return ldg<uint32_t>(first + 2 * (uint64_t)i);
		return i < n ? ldg<uint16_t>(first + 2 * (uint64_t)i) : 0;
	}

	AQZ_DEVICE void open(const uint8_t *words, uint32_t n_words)
	{
		first = words;
		n = n_words;
		next = window = 0;
		for (uint32_t i = 0; i < 3; i++)
			part[i] = load(64 * i);
	}

	/* Word next + ahead, ahead < 64; 0 beyond the end. All lanes call it, each with its own. */
	AQZ_DEVICE uint32_t peek(uint32_t ahead) const
	{
		const uint32_t at = next - window + ahead, from = at / 2 % 32;
		const uint32_t a = shfl(part[0], from), b = shfl(part[1], from);
		const uint32_t two = at < 64 ? a : b;

		return at % 2 == 0 ? two & 0xffff : two >> 16;
	}

	/* n_words is the same in all lanes, and at most 64. */
	AQZ_DEVICE void skip(uint32_t n_words)
	{
		next += n_words;
		if (next - window >= 64) {
			window += 64;
			part[0] = part[1];
			part[1] = part[2];
			part[2] = load(window + 128);
		}
	}
};

/* The index of a lane that has none in its slot. False if it is written as none is. */
AQZ_DEVICE bool trellis_escape(int32_t &k, trellis_words &w)
{
	uint32_t z = w.peek(0);
	bool ok = true;

	w.skip(1);
	if (z == 0xffff) {
		z = w.peek(0) | w.peek(1) << 16;
		w.skip(2);
		ok = z >= 0xffff && z <= 2 * MAX_INDEX;
	}
	k = (int32_t)(z >> 1) ^ -(int32_t)(z & 1);
	return ok;
}

struct trellis_lane {
	uint32_t x, state;
	uint32_t col;
	int32_t context;
	float step;
	bool active;
};

/* One row of a block; writes its elements. buckets: of shared memory, where the tables of each bucket begin. False if
 * the payload is none. */
AQZ_DEVICE bool trellis_row(const aqz_trellis_job &job, trellis_lane &lane, trellis_words &w, uint32_t row,
	uint32_t buckets)
{
	const uint32_t below = (1u << lane_index()) - 1;
	const int32_t s = (lane.context + (int32_t)ldg<uint32_t>(job.row_context + row)) >> 2;
	const uint32_t bucket = s < 0 ? 0 : s >= (int32_t)job.n_buckets ? job.n_buckets - 1 : (uint32_t)s;
	const uint32_t table = lds<uint32_t>(buckets + 4 * bucket) + (lane.state & 1) * SLOTS;
	const uint32_t slot = ldg<uint32_t>(job.slots + table + (lane.x & (SLOTS - 1)));
	bool needs, ok = true;
	uint32_t mask, word;
	int32_t k = (int32_t)slot >> 24;

	if (lane.active)
		lane.x = ((slot >> 12 & 0xfff) + 1) * (lane.x >> RANS_BITS) + (slot & 0xfff);
	needs = lane.active && lane.x < RANS_LEAST;
	mask = ballot(needs);
	if (mask != 0) {
		word = w.peek(count_bits(mask & below));
		if (needs)
			lane.x = lane.x << 16 | word;
		w.skip(count_bits(mask));
	}
	mask = ballot(lane.active && k == -128);
	while (mask != 0) {
		int32_t escaped;

		ok = trellis_escape(escaped, w) && ok;
		if ((mask & (0u - mask)) == 1u << lane_index())
			k = escaped;
		mask &= mask - 1;
	}
	if (lane.active) {
		const float step = aqz_gpu_times(lane.step, ldg<float>(job.row_step + row));
		const int32_t v = job.state_bits == 0 ? k : 2 * k + (int32_t)(lane.state & 1);
		const uint32_t bits = aqz_gpu_narrow(aqz_gpu_times((float)v, step), job.dtype);
		const uint64_t at = (uint64_t)row * job.cols + lane.col;

		if (job.dtype == AQZ_F32)
			stg<uint32_t>((uint32_t *)job.dst + at, bits);
		else
			stg<uint16_t>((uint16_t *)job.dst + at, (uint16_t)bits);
		lane.state = lane.state >> 1 ^ (lane.state & 1 ? job.code[0] : 0u) ^ (k & 1 ? job.code[1] : 0u);
	}
	return ok && w.next <= w.n;
}

AQZ_DEVICE bool trellis_chunk(const aqz_trellis_job &job, const aqz_trellis_chunk &chunk)
{
	const uint32_t n_states = job.cols < 32 ? job.cols : 32, l = lane_index();
	const uint8_t *payload = job.payloads + chunk.payload;
	trellis_words w;
	trellis_lane lane = {RANS_LEAST, 0, 0, 0, 0, false};

	if (chunk.payload_bytes < 4 * n_states || chunk.payload_bytes % 2 != 0)
		return false;
	if (l < n_states)
		lane.x = ldg<uint32_t>(payload + 4 * l);
	if (ballot(lane.x < RANS_LEAST) != 0)
		return false;
	w.open(payload + 4 * n_states, (chunk.payload_bytes - 4 * n_states) / 2);
	for (uint32_t first = 0; first < job.cols; first += 32) {
		lane.col = first + l;
		lane.state = 0;
		lane.active = lane.col < job.cols;
		lane.context = lane.active ? (int32_t)ldg<uint32_t>(job.column_context + lane.col) : 0;
		lane.step = lane.active ? ldg<float>(job.column_step + lane.col) : 0;
		for (uint32_t row = chunk.row_begin; row < chunk.row_end; row++)
			if (!trellis_row(job, lane, w, row, 0))
				return false;
	}
	return ballot(lane.x != RANS_LEAST) == 0 && w.next == w.n;
}

/* A block of one warp; block x has chunk x. 256 bytes of shared memory. */
AQZ_DEVICE void trellis_body(const aqz_trellis_job &job)
{
	for (uint32_t i = lane_index(); i < job.n_buckets; i += 32)
		sts<uint32_t>(4 * i, job.bucket_table[i] * 2 * (uint32_t)SLOTS);
	sync_warp();
	if (!trellis_chunk(job, job.chunks[block_x()]) && lane_index() == 0)
		atomic_least(job.failed, block_x());
}

} // namespace aqz
#endif
