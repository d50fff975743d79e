/* SPDX-License-Identifier: Apache-2.0 */
/* One source for three compilers: C11 (layouts), nvcc (kernels) and g++ (the same kernels in the emulator of
 * tests/simt, which defines AQZ_SIMT). */
#ifndef AQZ_GPU_PORTABLE_H
#define AQZ_GPU_PORTABLE_H

#if defined(__CUDACC__)
#define AQZ_HOST_DEVICE __host__ __device__ __forceinline__
#define AQZ_DEVICE __device__ __forceinline__
#define AQZ_UNROLL _Pragma("unroll")
#define AQZ_NO_UNROLL _Pragma("unroll 1")
#elif defined(__cplusplus)
#define AQZ_HOST_DEVICE inline
#define AQZ_DEVICE inline
#define AQZ_UNROLL
#define AQZ_NO_UNROLL
#else
#define AQZ_HOST_DEVICE static inline
#endif

#endif
