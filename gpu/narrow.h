/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic of reconstruction, spec 1.4 and 7.2.4, for host and device: binary32 operations that stay by themselves,
 * and rounding to 16 bits. The device's own conversions round as the spec does but give other NaNs. */
#ifndef AQZ_GPU_NARROW_H
#define AQZ_GPU_NARROW_H

#include "aqlmzip.h"
#include "base/float.h"
#include "gpu/portable.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#if !defined(AQZ_UNROLL)
#define AQZ_UNROLL
#endif

/* No product and sum may become one operation. */
AQZ_HOST_DEVICE float aqz_gpu_add(float a, float b)
{
#if defined(__CUDA_ARCH__)
	return __fadd_rn(a, b);
#else
	return a + b;
#endif
}

AQZ_HOST_DEVICE float aqz_gpu_times(float a, float b)
{
#if defined(__CUDA_ARCH__)
	return __fmul_rn(a, b);
#else
	return a * b;
#endif
}

AQZ_HOST_DEVICE float aqz_gpu_from_f16(uint16_t h)
{
#if defined(__CUDA_ARCH__)
	return __half2float(__ushort_as_half(h));
#else
	return aqz_f16_to_f32(h);
#endif
}

AQZ_HOST_DEVICE float aqz_gpu_from_bf16(uint16_t b)
{
#if defined(__CUDA_ARCH__)
	return __uint_as_float((uint32_t)b << 16);
#else
	return aqz_f32_from_bits((uint32_t)b << 16);
#endif
}

AQZ_HOST_DEVICE uint16_t aqz_gpu_to_f16(float f)
{
#if defined(__CUDA_ARCH__)
	return f != f ? (uint16_t)0x7e00 : __half_as_ushort(__float2half_rn(f));
#else
	return aqz_f32_to_f16(f);
#endif
}

AQZ_HOST_DEVICE uint16_t aqz_gpu_to_bf16(float f)
{
#if defined(__CUDA_ARCH__)
	return f != f ? (uint16_t)0x7fc0 : __bfloat16_as_ushort(__float2bfloat16_rn(f));
#else
	return aqz_f32_to_bf16(f);
#endif
}

AQZ_HOST_DEVICE uint32_t aqz_gpu_f32_bits(float f)
{
#if defined(__CUDA_ARCH__)
	return f != f ? 0x7fc00000u : __float_as_uint(f);
#else
	return aqz_f32_bits(aqz_f32_canonical(f));
#endif
}

AQZ_HOST_DEVICE float aqz_gpu_of_bits(uint32_t u)
{
#if defined(__CUDA_ARCH__)
	return __uint_as_float(u);
#else
	return aqz_f32_from_bits(u);
#endif
}

AQZ_HOST_DEVICE uint32_t aqz_gpu_narrow(float f, uint32_t dtype)
{
	return dtype == AQZ_F16 ? aqz_gpu_to_f16(f) : dtype == AQZ_BF16 ? aqz_gpu_to_bf16(f) : aqz_gpu_f32_bits(f);
}

/* ---- 16 bytes at a multiple of 16 */

typedef struct aqz_gpu_quad {
	uint32_t w[4];
} aqz_gpu_quad;

AQZ_HOST_DEVICE aqz_gpu_quad aqz_gpu_load16(const void *p)
{
	aqz_gpu_quad q;
#if defined(__CUDA_ARCH__)
	const uint4 v = *(const uint4 *)p;

	q.w[0] = v.x, q.w[1] = v.y, q.w[2] = v.z, q.w[3] = v.w;
#else
	memcpy(&q, p, sizeof q);
#endif
	return q;
}

AQZ_HOST_DEVICE void aqz_gpu_store16(void *p, aqz_gpu_quad q)
{
#if defined(__CUDA_ARCH__)
	*(uint4 *)p = make_uint4(q.w[0], q.w[1], q.w[2], q.w[3]);
#else
	memcpy(p, &q, sizeof q);
#endif
}

/* Eight elements of a codeword, of F16 or BF16. */
AQZ_HOST_DEVICE void aqz_gpu_widen8(float v[8], aqz_gpu_quad q, uint32_t dtype)
{
	AQZ_UNROLL
	for (int i = 0; i < 4; i++) {
		const uint16_t low = (uint16_t)q.w[i], high = (uint16_t)(q.w[i] >> 16);

		v[2 * i] = dtype == AQZ_F16 ? aqz_gpu_from_f16(low) : aqz_gpu_from_bf16(low);
		v[2 * i + 1] = dtype == AQZ_F16 ? aqz_gpu_from_f16(high) : aqz_gpu_from_bf16(high);
	}
}

/* Eight values to dst, which is at a multiple of 16 bytes and has dtype. plain: none is a NaN. */
AQZ_HOST_DEVICE void aqz_gpu_store8(void *dst, const float v[8], uint32_t dtype, bool plain)
{
	aqz_gpu_quad q;

	if (dtype == AQZ_F32) {
		AQZ_UNROLL
		for (int h = 0; h < 2; h++) {
			AQZ_UNROLL
			for (int i = 0; i < 4; i++)
				q.w[i] = aqz_gpu_f32_bits(v[4 * h + i]);
			aqz_gpu_store16((char *)dst + 16 * h, q);
		}
		return;
	}
#if defined(__CUDA_ARCH__)
	if (plain) { /* two roundings in one instruction */
		AQZ_UNROLL
		for (int i = 0; i < 4; i++) {
			if (dtype == AQZ_F16) {
				const __half2 h = __floats2half2_rn(v[2 * i], v[2 * i + 1]);

				q.w[i] = *(const uint32_t *)&h;
			} else {
				const __nv_bfloat162 h = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);

				q.w[i] = *(const uint32_t *)&h;
			}
		}
		aqz_gpu_store16(dst, q);
		return;
	}
#else
	(void)plain;
#endif
	AQZ_UNROLL
	for (int i = 0; i < 4; i++)
		q.w[i] = aqz_gpu_narrow(v[2 * i], dtype) | aqz_gpu_narrow(v[2 * i + 1], dtype) << 16;
	aqz_gpu_store16(dst, q);
}

#endif
