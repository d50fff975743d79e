/* SPDX-License-Identifier: Apache-2.0 */
/* A small emulator of one CUDA grid on the host, under the names of gpu/lanes.h: kernels run as they are, each thread
 * of a block as a fiber, blocks one after another.
 *
 * What a warp executes together (shuffles, mma, sync_warp) and what a block does (sync_block) are points where fibers
 * meet; whoever calls something else there, or ends, is a failure. Between them fibers of a block run in an order that
 * a seed chooses, so that a missing barrier shows. Shared memory begins as NaN bytes, and each byte knows whether
 * it was written: reading one that was not is a failure. Global memory is checked against ranges that the test has
 * given. For each line of code and warp, the k-th accesses of the 32 lanes are one instruction: its passes through
 * the 32 banks, or its 32-byte sectors, are counted. C++17, one thread. */
#ifndef AQZ_TESTS_SIMT_H
#define AQZ_TESTS_SIMT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/float.h"
#include "tests/simt/simt_memory.h"

namespace simt {

/* ---- For the accessors below */
uint32_t thread_index(), block_x(), block_y(), block_z();
void sync_block();
void sync_warp();
uint32_t shuffle(uint32_t v, uint32_t from);
void shared_load(void *dst, uint32_t at, uint32_t n, uint32_t place);
void shared_store(uint32_t at, const void *src, uint32_t n, uint32_t place);
void global_load(void *dst, const void *p, uint32_t n, kind k, uint32_t place);
void global_check(const void *p, uint32_t n);
void global_store(void *p, const void *src, uint32_t n, uint32_t place);
uint32_t atomic_add(uint32_t *p, uint32_t n);
/* Each lane gives its fragments; kind 0 tf32 m16n8k8, 1 f16, 2 bf16 m16n8k16. */
void mma(int kind, float *d, const uint32_t *a, const uint32_t *b);

} // namespace simt

namespace aqz {

/* The caller's line, as a default argument: the compiler may copy or join calls, which keep their line. */
#define SIMT_PLACE uint32_t place = __builtin_LINE()

inline uint32_t thread_index() { return simt::thread_index(); }
inline uint32_t lane_index() { return simt::thread_index() % 32; }
inline uint32_t block_x() { return simt::block_x(); }
inline uint32_t block_y() { return simt::block_y(); }
inline uint32_t block_z() { return simt::block_z(); }
inline void sync_block() { simt::sync_block(); }
inline void sync_warp() { simt::sync_warp(); }

template <class T> inline T lds(uint32_t at, SIMT_PLACE)
{
	T v;
	simt::shared_load(&v, at, sizeof v, place);
	return v;
}
template <class T> inline void sts(uint32_t at, T v, SIMT_PLACE) { simt::shared_store(at, &v, sizeof v, place); }
template <class T> inline T ldg(const void *p, SIMT_PLACE)
{
	T v;
	simt::global_load(&v, p, sizeof v, simt::LDG, place);
	return v;
}
template <class T> inline T ldg_once(const void *p, SIMT_PLACE)
{
	T v;
	simt::global_load(&v, p, sizeof v, simt::LDG_ONCE, place);
	return v;
}
inline u32x4 ldg_far(const void *p, SIMT_PLACE)
{
	u32x4 v;
	simt::global_load(&v, p, sizeof v, simt::LDG_FAR, place);
	return v;
}
inline void prefetch(const void *p) { simt::global_check(p, 16); }
inline float ldg_shared(const float *p, SIMT_PLACE)
{
	float v;
	simt::global_load(&v, p, sizeof v, simt::LDG, place);
	return v;
}
template <class T> inline void stg(void *p, T v, SIMT_PLACE) { simt::global_store(p, &v, sizeof v, place); }
inline void fence() {}
inline uint32_t atomic_add(uint32_t *p, uint32_t n) { return simt::atomic_add(p, n); }

inline uint32_t f32_bits(float v) { return aqz_f32_bits(v); }
inline float bits_f32(uint32_t v) { return aqz_f32_from_bits(v); }
inline float f16_to_f32(uint16_t v) { return aqz_f16_to_f32(v); }
inline uint16_t f32_to_f16(float v) { return aqz_f32_to_f16(v); }
inline uint16_t f32_to_bf16(float v) { return aqz_f32_to_bf16(v); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline f32x2 f16x2_to_f32(uint32_t v) { return {f16_to_f32((uint16_t)v), f16_to_f32((uint16_t)(v >> 16))}; }
inline uint32_t shfl(uint32_t v, uint32_t from) { return simt::shuffle(v, from); }
inline float shfl_xor(float v, uint32_t mask)
{
	return bits_f32(simt::shuffle(f32_bits(v), lane_index() ^ mask));
}

/* The PTX ISA's prmt without a mode: nibble i of sel chooses byte i; bit 3 repeats its sign. */
inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t sel)
{
	const uint64_t bytes = (uint64_t)b << 32 | a;
	uint32_t v = 0;

	for (uint32_t i = 0; i < 4; i++) {
		const uint32_t s = sel >> 4 * i & 15, byte = (uint32_t)(bytes >> 8 * (s & 7)) & 255;
		v |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
	}
	return v;
}
inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { simt::mma(0, d, a, b); }
inline void mma_tf32_first(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
	d[0] = d[1] = d[2] = d[3] = 0;
	simt::mma(0, d, a, b);
}
inline void mma_f16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
	const uint32_t a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
	simt::mma(1, d, a, b);
}
inline void mma_bf16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
	const uint32_t a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
	simt::mma(2, d, a, b);
}

} // namespace aqz
#endif
