/* SPDX-License-Identifier: Apache-2.0 */
/* Before a loop that is to be vectorised. gcc at -O2 needs to be told; clang does it by itself, and warns
 * when it is told but cannot, as under sanitizers. */
#ifndef AQZ_CODEC_SIMD_H
#define AQZ_CODEC_SIMD_H

#if defined(_OPENMP) && !defined(__clang__)
#define AQZ_SIMD _Pragma("omp simd")
#else
#define AQZ_SIMD
#endif

#endif
