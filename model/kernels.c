/* SPDX-License-Identifier: Apache-2.0 */
/* The model's inner loops for each instruction set, and which of them this machine runs. */
#include <math.h>
#include <string.h>

#include "base/float.h"
#include "model/kernels.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

/* ---- Any machine: vectors of 4 lanes, which compilers know everywhere. */

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

static inline four max4(four a, four b)
{
	for (unsigned i = 0; i < 4; i++)
		a[i] = a[i] > b[i] ? a[i] : b[i];
	return a;
}

static inline float sum4(four v)
{
	return (v[0] + v[2]) + (v[1] + v[3]);
}

static inline four min4(four a, four b)
{
	for (unsigned i = 0; i < 4; i++)
		a[i] = a[i] < b[i] ? a[i] : b[i];
	return a;
}

static inline four bf16_4(const uint16_t *p)
{
	uint16_t h[4];

	memcpy(h, p, sizeof h);
	return (four){
		aqz_bf16_to_f32(h[0]), aqz_bf16_to_f32(h[1]), aqz_bf16_to_f32(h[2]), aqz_bf16_to_f32(h[3])};
}

static inline four f16_4(const uint16_t *p)
{
	uint16_t h[4];

	memcpy(h, p, sizeof h);
	return (four){
		aqz_f16_to_f32(h[0]), aqz_f16_to_f32(h[1]), aqz_f16_to_f32(h[2]), aqz_f16_to_f32(h[3])};
}

static inline four round4(four v)
{
	for (unsigned i = 0; i < 4; i++)
		v[i] = aqz_f16_to_f32(aqz_f32_to_f16(v[i]));
	return v;
}

#define VARIANT "plain"
#define NAME(x) JOIN(x, plain)
#define TARGET
#define WIDTH 4
#define SUM(v) sum4(v)
#define MADD(a, b, c) ((a) * (b) + (c))
#define MAX(a, b) max4(a, b)
#define MIN(a, b) min4(a, b)
#define BF16(p) bf16_4(p)
#define F16(p) f16_4(p)
#define ROUND_F16(v) round4(v)
#include "model/kernels_body.h"
#undef VARIANT
#undef NAME
#undef TARGET
#undef WIDTH
#undef SUM
#undef MADD
#undef MAX
#undef MIN
#undef BF16
#undef F16
#undef ROUND_F16

#if defined(__x86_64__)
#include <immintrin.h>

static inline __attribute__((target("avx2"))) float sum8(__m256 v)
{
	return sum4((four)_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)));
}

#define VARIANT "avx2"
#define NAME(x) JOIN(x, avx2)
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define WIDTH 8
#define SUM(v) sum8((__m256)(v))
#define MADD(a, b, c) ((vec_avx2)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define MAX(a, b) ((vec_avx2)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define MIN(a, b) ((vec_avx2)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define BF16(p)                   \
	((vec_avx2)_mm256_slli_epi32( \
		_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
#define ROUND_F16(v) \
	((vec_avx2)_mm256_cvtph_ps(_mm256_cvtps_ph((__m256)(v), _MM_FROUND_TO_NEAREST_INT)))
#define F16(p) ((vec_avx2)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#include "model/kernels_body.h"
#undef VARIANT
#undef NAME
#undef TARGET
#undef WIDTH
#undef SUM
#undef MADD
#undef MAX
#undef MIN
#undef BF16
#undef F16
#undef ROUND_F16

#define VARIANT "avx512"
#define NAME(x) JOIN(x, avx512)
#define TARGET __attribute__((target("avx512f,avx2,fma,f16c")))
#define WIDTH 16
#define SUM(v) _mm512_reduce_add_ps((__m512)(v))
#define MADD(a, b, c) ((vec_avx512)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define MAX(a, b) ((vec_avx512)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define MIN(a, b) ((vec_avx512)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define BF16(p)                     \
	((vec_avx512)_mm512_slli_epi32( \
		_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
#define ROUND_F16(v) \
	((vec_avx512)_mm512_cvtph_ps(_mm512_cvtps_ph((__m512)(v), _MM_FROUND_TO_NEAREST_INT)))
#define F16(p) ((vec_avx512)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p))))
#include "model/kernels_body.h"

const aqz_math *aqz_math_get(unsigned i)
{
	/* Each set implies the ones before it; F16C, which clang cannot ask for, is older than AVX2. */
	if (i == 0)
		return &math_plain;
	if (i == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return &math_avx2;
	if (i == 2 && __builtin_cpu_supports("avx512f") && aqz_math_get(1) != NULL)
		return &math_avx512;
	return NULL;
}

#else

const aqz_math *aqz_math_get(unsigned i)
{
	return i == 0 ? &math_plain : NULL;
}

#endif

const aqz_math *aqz_math_best(void)
{
	const aqz_math *best = NULL;

	for (unsigned i = 0; aqz_math_get(i) != NULL; i++)
		best = aqz_math_get(i);
	return best;
}

double aqz_log_sum_exp(const float *x, size_t n)
{
	const aqz_math *math = aqz_math_best();
	const float most = math->max(x, n);

	/* All -infinity or one of them infinity: their difference would be no number. */
	if (isinf(most))
		return most;
	return most + log(math->sum_exp(x, most, n));
}

void aqz_softmax(float *y, const float *x, size_t n)
{
	const aqz_math *math = aqz_math_best();

	math->scale(y, 1 / math->exp_shift(y, x, math->max(x, n), n), n);
}
