/* SPDX-License-Identifier: Apache-2.0 */
/* The encoder's kernels for each instruction set, and which of them this machine runs. */
#include "codec/encode/kernels.h"

/* A loop of 8 steps need not be one. */
#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#if defined(__x86_64__)
#include <immintrin.h>

#define VARIANT "sse2"
#define NAME(x) JOIN(x, sse2)
#define TARGET
#define WIDTH 4
#define MIN(a, b) ((vec_sse2)_mm_min_ps((__m128)(a), (__m128)(b)))
#define BITS(a, b) ((unsigned)_mm_movemask_ps(_mm_cmplt_ps((__m128)(a), (__m128)(b))))
#include "codec/encode/kernels_body.h"
#undef VARIANT
#undef NAME
#undef TARGET
#undef WIDTH
#undef MIN
#undef BITS

#define VARIANT "avx2"
#define NAME(x) JOIN(x, avx2)
#define TARGET __attribute__((target("avx2,popcnt")))
#define WIDTH 8
#define MIN(a, b) ((vec_avx2)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define BITS(a, b) \
	((unsigned)_mm256_movemask_ps(_mm256_cmp_ps((__m256)(a), (__m256)(b), _CMP_LT_OQ)))
#include "codec/encode/kernels_body.h"
#undef VARIANT
#undef NAME
#undef TARGET
#undef WIDTH
#undef MIN
#undef BITS

#define VARIANT "avx512"
#define NAME(x) JOIN(x, avx512)
#define TARGET __attribute__((target("avx512f,avx2,popcnt")))
#define WIDTH 16
#define MIN(a, b) ((vec_avx512)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define BITS(a, b) ((unsigned)_mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_LT_OQ))
#include "codec/encode/kernels_body.h"

const aqz_kernels *aqz_kernels_get(unsigned i)
{
	/* Each set implies the ones before it. */
	if (i == 0)
		return &kernels_sse2;
	if (i == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"))
		return &kernels_avx2;
	if (i == 2 && __builtin_cpu_supports("avx512f") && aqz_kernels_get(1) != NULL)
		return &kernels_avx512;
	return NULL;
}

#else

#define VARIANT "plain"
#define NAME(x) JOIN(x, plain)
#define TARGET
#define WIDTH 4

typedef float plain4 __attribute__((vector_size(16)));

static inline plain4 plain_min(plain4 a, plain4 b)
{
	for (unsigned i = 0; i < WIDTH; i++)
		a[i] = a[i] < b[i] ? a[i] : b[i];
	return a;
}

static inline unsigned plain_bits(plain4 a, plain4 b)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < WIDTH; i++)
		bits |= (unsigned)(a[i] < b[i]) << i;
	return bits;
}

#define MIN(a, b) plain_min(a, b)
#define BITS(a, b) plain_bits(a, b)
#include "codec/encode/kernels_body.h"

const aqz_kernels *aqz_kernels_get(unsigned i)
{
	return i == 0 ? &kernels_plain : NULL;
}

#endif

const aqz_kernels *aqz_kernels_best(void)
{
	const aqz_kernels *best = NULL;

	for (unsigned i = 0; aqz_kernels_get(i) != NULL; i++)
		best = aqz_kernels_get(i);
	return best;
}
