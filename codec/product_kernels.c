/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of products on codes: one body, compiled for each instruction set that widens it. Vectors of 16 lanes
 * gained nothing on Zen 4, where look-ups and short codewords are what counts. */
#include "codec/product.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

#define VARIANT "plain"
#define NAME(x) JOIN(x, plain)
#define TARGET
#define WIDTH 4
#include "codec/product_body.h"
#undef VARIANT
#undef NAME
#undef TARGET
#undef WIDTH

#if defined(__x86_64__)

#define VARIANT "avx2"
#define NAME(x) JOIN(x, avx2)
#define TARGET __attribute__((target("avx2")))
#define WIDTH 8
#include "codec/product_body.h"
#undef VARIANT
#undef NAME
#undef TARGET
#undef WIDTH

const aqz_product_kernels *aqz_product_kernels_get(unsigned i)
{
	if (i == 0)
		return &kernels_plain;
	return i == 1 && __builtin_cpu_supports("avx2") ? &kernels_avx2 : NULL;
}

#else

const aqz_product_kernels *aqz_product_kernels_get(unsigned i)
{
	return i == 0 ? &kernels_plain : NULL;
}

#endif
