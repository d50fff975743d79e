/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the trellis encoder, for each instruction set. */
#include "codec/encode/trellis_path.h"

#include "codec/encode/trellis_candidates.h"
#include "codec/encode/trellis_viterbi.h"
#include "codec/simd.h"

/* Sums of a column have so many parts, whatever the width of vectors. */
#define PARTS 16

static void path_plain(int32_t *restrict index, const float *restrict cost,
	const int32_t *restrict k, uint8_t *restrict choice, size_t n, unsigned state_bits)
{
	aqz_viterbi_path(index, cost, k, choice, n, state_bits, aqz_viterbi_plain);
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#define NAME(x) JOIN(x, plain)
#define TARGET
#define WIDTH 4
#include "codec/encode/trellis_path_body.h"
#undef NAME
#undef TARGET
#undef WIDTH

static const aqz_path_kernels kernels_plain = {
	"plain", aqz_candidates_plain, path_plain, feedback_plain, settle_plain};

#if defined(__x86_64__)

#define NAME(x) JOIN(x, avx2)
#define TARGET __attribute__((target("avx2")))
#define WIDTH 8
#include "codec/encode/trellis_path_body.h"
#undef NAME
#undef TARGET
#undef WIDTH

#define NAME(x) JOIN(x, avx512)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2")))
#define WIDTH 16
#include "codec/encode/trellis_path_body.h"
#undef NAME
#undef TARGET
#undef WIDTH

static void path_avx2(int32_t *restrict index, const float *restrict cost,
	const int32_t *restrict k, uint8_t *restrict choice, size_t n, unsigned state_bits)
{
	aqz_viterbi_path(index, cost, k, choice, n, state_bits, aqz_viterbi_avx2);
}

static void path_avx512(int32_t *restrict index, const float *restrict cost,
	const int32_t *restrict k, uint8_t *restrict choice, size_t n, unsigned state_bits)
{
	aqz_viterbi_path(index, cost, k, choice, n, state_bits, aqz_viterbi_avx512);
}

static const aqz_path_kernels kernels_avx2 = {
	"avx2", aqz_candidates_avx2, path_avx2, feedback_avx2, settle_avx2};
static const aqz_path_kernels kernels_avx512 = {
	"avx512", aqz_candidates_avx2, path_avx512, feedback_avx512, settle_avx512};

const aqz_path_kernels *aqz_path_kernels_get(unsigned i)
{
	if (i == 0)
		return &kernels_plain;
	if (i == 1 && __builtin_cpu_supports("avx2"))
		return &kernels_avx2;
	if (i == 2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl"))
		return &kernels_avx512;
	return NULL;
}

#else

const aqz_path_kernels *aqz_path_kernels_get(unsigned i)
{
	return i == 0 ? &kernels_plain : NULL;
}

#endif

const aqz_path_kernels *aqz_path_kernels_best(void)
{
	const aqz_path_kernels *best = NULL;

	for (unsigned i = 0; aqz_path_kernels_get(i) != NULL; i++)
		best = aqz_path_kernels_get(i);
	return best;
}
