/* SPDX-License-Identifier: Apache-2.0 */
/* What kernels may do, as functions: every access to memory and every instruction that a warp executes together goes
 * through here, so that the same kernel source runs under nvcc and in the emulator (tests/simt/simt.h), which checks
 * and counts. Addresses of shared memory are bytes from its beginning. Loads and stores are of their type's size and
 * alignment. CUDA C++. */
#ifndef AQZ_GPU_LANES_H
#define AQZ_GPU_LANES_H

#include <stdint.h>

#include "gpu/portable.h"

namespace aqz {

struct alignas(8) f32x2 { float x, y; };
struct alignas(16) f32x4 { float x, y, z, w; };
struct alignas(8) u32x2 { uint32_t x, y; };
struct alignas(16) u32x4 { uint32_t x, y, z, w; };

} // namespace aqz

#if !defined(__CUDACC__)
#include "tests/simt/simt.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace aqz {

extern __shared__ __align__(1024) unsigned char shared_bytes[];

AQZ_DEVICE uint32_t thread_index() { return threadIdx.x; }
AQZ_DEVICE uint32_t lane_index() { return threadIdx.x % 32; }
AQZ_DEVICE uint32_t block_x() { return blockIdx.x; }
AQZ_DEVICE uint32_t block_y() { return blockIdx.y; }
AQZ_DEVICE uint32_t block_z() { return blockIdx.z; }

AQZ_DEVICE void sync_block() { __syncthreads(); }
AQZ_DEVICE void sync_warp() { __syncwarp(); }
AQZ_DEVICE float shfl_xor(float v, uint32_t mask) { return __shfl_xor_sync(0xffffffffu, v, (int)mask); }
AQZ_DEVICE uint32_t shfl(uint32_t v, uint32_t from) { return __shfl_sync(0xffffffffu, v, (int)from); }

template <class T> AQZ_DEVICE T lds(uint32_t at) { return *reinterpret_cast<const T *>(shared_bytes + at); }
template <class T> AQZ_DEVICE void sts(uint32_t at, T v) { *reinterpret_cast<T *>(shared_bytes + at) = v; }

/* Global memory that nobody writes meanwhile. */
template <class T> AQZ_DEVICE T ldg(const void *p) { return *static_cast<const T *>(p); }
template <> AQZ_DEVICE uint16_t ldg<uint16_t>(const void *p) { return __ldg(static_cast<const unsigned short *>(p)); }
template <> AQZ_DEVICE uint32_t ldg<uint32_t>(const void *p) { return __ldg(static_cast<const unsigned *>(p)); }
template <> AQZ_DEVICE float ldg<float>(const void *p) { return __ldg(static_cast<const float *>(p)); }
template <> AQZ_DEVICE f32x2 ldg<f32x2>(const void *p)
{
	const float2 v = __ldg(static_cast<const float2 *>(p));
	return {v.x, v.y};
}
template <> AQZ_DEVICE u32x2 ldg<u32x2>(const void *p)
{
	const uint2 v = __ldg(static_cast<const uint2 *>(p));
	return {v.x, v.y};
}
template <> AQZ_DEVICE u32x4 ldg<u32x4>(const void *p)
{
	const uint4 v = __ldg(static_cast<const uint4 *>(p));
	return {v.x, v.y, v.z, v.w};
}
template <> AQZ_DEVICE f32x4 ldg<f32x4>(const void *p)
{
	const float4 v = __ldg(static_cast<const float4 *>(p));
	return {v.x, v.y, v.z, v.w};
}

/* The same for codes, which are read once: past the first-level cache. volatile keeps the place that the kernel gives
 * them: ahead of the work that hides their latency. */
template <class T> AQZ_DEVICE T ldg_once(const void *p);
template <> AQZ_DEVICE u32x4 ldg_once<u32x4>(const void *p)
{
	u32x4 v;
	asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
		: "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
	return v;
}
template <> AQZ_DEVICE u32x2 ldg_once<u32x2>(const void *p)
{
	u32x2 v;
	asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
	return v;
}

/* Codewords from a codebook that is larger than the first-level cache. */
AQZ_DEVICE u32x4 ldg_far(const void *p)
{
	u32x4 v;
	asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
		: "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
	return v;
}

/* To the second-level cache, for a load that comes later. */
AQZ_DEVICE void prefetch(const void *p) { asm volatile("prefetch.global.L2 [%0];" : : "l"(p)); }

/* What other blocks have written, after fence(). */
AQZ_DEVICE float ldg_shared(const float *p) { return __ldcg(p); }
template <class T> AQZ_DEVICE void stg(void *p, T v) { *static_cast<T *>(p) = v; }
AQZ_DEVICE void fence() { __threadfence(); }
AQZ_DEVICE uint32_t atomic_add(uint32_t *p, uint32_t n) { return atomicAdd(p, n); }

AQZ_DEVICE uint32_t prmt(uint32_t a, uint32_t b, uint32_t sel) { return __byte_perm(a, b, sel); }

AQZ_DEVICE uint32_t f32_bits(float v) { return __float_as_uint(v); }
AQZ_DEVICE float bits_f32(uint32_t v) { return __uint_as_float(v); }
AQZ_DEVICE float f16_to_f32(uint16_t v) { return __half2float(__ushort_as_half(v)); }
AQZ_DEVICE uint16_t f32_to_f16(float v) { return __half_as_ushort(__float2half_rn(v)); }
AQZ_DEVICE uint16_t f32_to_bf16(float v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); }
AQZ_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }

AQZ_DEVICE f32x2 f16x2_to_f32(uint32_t v)
{
	__half2 h;
	memcpy(&h, &v, 4);
	const float2 f = __half22float2(h);
	return {f.x, f.y};
}

/* d += A B in binary32: A is 16 x 8, B 8 x 8 of tf32. Fragments as the PTX ISA has them for m16n8k8. */
AQZ_DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
	asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
		"{%0, %1, %2, %3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		: "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/* d = A B. */
AQZ_DEVICE void mma_tf32_first(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
	asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
		"{%10, %10, %10, %10};"
		: "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
		: "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
}
/* d += A B in binary32: A is 16 x 16, B 16 x 8 of binary16 or bfloat16; m16n8k16. */
AQZ_DEVICE void mma_f16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
		"{%0, %1, %2, %3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		: "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
AQZ_DEVICE void mma_bf16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
		"{%0, %1, %2, %3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		: "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

} // namespace aqz
#endif

namespace aqz {

AQZ_DEVICE float bf16_to_f32(uint16_t v) { return bits_f32((uint32_t)v << 16); }
AQZ_DEVICE f32x2 bf16x2_to_f32(uint32_t v) { return {bits_f32(v << 16), bits_f32(v & 0xffff0000u)}; }
AQZ_DEVICE uint32_t warp_index() { return thread_index() / 32; }

/* The nearest number with the 11 significant bits that tf32 holds, halves away from zero. Numbers that are not finite
 * stay. */
AQZ_DEVICE float tf32_high(float v)
{
	const uint32_t u = f32_bits(v);

	return bits_f32((u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u);
}

} // namespace aqz
#endif
