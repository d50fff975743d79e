/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator itself: it must find faults that are there, and count as a device does. */
#include <cstdio>

#include "gpu/lanes.h"
#include "tests/simt/simt_memory.h"

int test_emulator();

namespace {

float outside[64], inside[64];

/* Warp 0 writes what warp 1 reads. */
void no_barrier(const void *)
{
	if (aqz::thread_index() < 32)
		aqz::sts<float>(aqz::lane_index() * 4, 1);
	else
		aqz::lds<float>(aqz::lane_index() * 4);
}
void barrier(const void *)
{
	if (aqz::thread_index() < 32)
		aqz::sts<float>(aqz::lane_index() * 4, 1);
	aqz::sync_block();
	if (aqz::thread_index() >= 32)
		aqz::lds<float>(aqz::lane_index() * 4);
}
void half_a_barrier(const void *)
{
	if (aqz::thread_index() < 32)
		aqz::sync_block();
}
void half_a_shuffle(const void *)
{
	if (aqz::lane_index() < 16)
		aqz::shfl(1, 0);
}
void shuffle_and_sync(const void *)
{
	if (aqz::lane_index() < 16)
		aqz::shfl(1, 0);
	else
		aqz::sync_warp();
}
void beyond_shared(const void *) { aqz::sts<float>(256, 1); }
void misaligned(const void *) { aqz::sts<aqz::f32x2>(4, {1, 1}); }
void read_outside(const void *) { aqz::ldg<float>(outside + aqz::lane_index()); }
void write_inside(const void *) { aqz::stg<float>(inside + aqz::lane_index(), 1); }
void read_inside(const void *) { aqz::ldg<float>(inside + aqz::lane_index()); }
void wide_tf32(const void *)
{
	float d[4] = {};
	const uint32_t a[4] = {1, 0, 0, 0}, b[2] = {0, 0};
	aqz::mma_tf32(d, a, b);
}

struct fault { const char *what; void (*kernel)(const void *); bool sound; };
const fault faults[] = {
	{"a missing barrier", no_barrier, false}, {"a barrier", barrier, true},
	{"a barrier for one warp", half_a_barrier, false}, {"a shuffle of half a warp", half_a_shuffle, false},
	{"a warp of two minds", shuffle_and_sync, false}, {"a store beyond shared memory", beyond_shared, false},
	{"a misaligned store", misaligned, false}, {"a read outside", read_outside, false},
	{"a write where one may read", write_inside, false}, {"a read inside", read_inside, true},
	{"more bits than tf32 has", wide_tf32, false},
};

/* Lanes store so many words apart. */
uint32_t stride;
void strided(const void *) { aqz::sts<float>(aqz::lane_index() * stride * 4, 1); }
void strided_wide(const void *) { aqz::sts<aqz::f32x4>(aqz::lane_index() * stride * 16, {1, 1, 1, 1}); }

int passes(const char *what, void (*kernel)(const void *), uint32_t n, uint64_t due)
{
	stride = n;
	simt::counts_clear();
	const bool ran = simt::run({1, 1, 1, 32, 65536}, 1, kernel, nullptr);
	const uint64_t got = simt::counts(simt::STS).passes;

	if (ran && got == due)
		return 0;
	printf("FAIL: %s %u apart: %llu passes, must be %llu\n", what, n, (unsigned long long)got, (unsigned long long)due);
	return 1;
}

} // namespace

int test_emulator()
{
	int failed = 0;

	for (const fault &f : faults) {
		bool sound = true;

		simt::forbid_all();
		simt::permit(inside, sizeof inside, false);
		for (uint64_t seed = 0; seed < 8 && sound; seed++)
			sound = simt::run({1, 1, 1, 64, 256}, seed, f.kernel, nullptr);
		if (sound != f.sound) {
			printf("FAIL: the emulator %s %s\n", sound ? "overlooks" : "does not allow", f.what);
			failed++;
		}
	}
	/* One word a lane: all banks, every second one, one. 16 bytes a lane: 8 lanes at a time. */
	failed += passes("words", strided, 1, 1) + passes("words", strided, 2, 2) + passes("words", strided, 3, 1) +
		passes("words", strided, 32, 32) + passes("places of 16 bytes", strided_wide, 1, 4) +
		passes("places of 16 bytes", strided_wide, 2, 8) + passes("places of 16 bytes", strided_wide, 9, 4);
	simt::counts_end();
	return failed;
}
