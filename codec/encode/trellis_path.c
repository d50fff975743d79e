/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates and the Viterbi search of the trellis encoder. */
#include "codec/encode/trellis_path.h"

#include <string.h>

#include "codec/simd.h"
#include "codec/trellis.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MAX_STATES (1u << AQZ_TRELLIS_MAX_STATE_BITS)
/* Adding and subtracting it rounds a float below 2^22 to an integer, ties to even. */
#define ROUND 12582912.0f
/* In front of every index that a file can hold; steps are chosen so that nothing comes near it. */
#define LIMIT 2097151.0f
/* Costs are made small again after so many rows, so that sums stay exact to a few bits. */
#define REBASE 32

/* Every state has two that lead to it. */
typedef struct trellis {
	unsigned n_states;
	int32_t from[2][MAX_STATES];	  /* the state before */
	int32_t candidate[2][MAX_STATES]; /* 2 * t + parity of that step */
} trellis;

static void trellis_init(trellis *t, unsigned state_bits)
{
	uint8_t n[MAX_STATES] = {0};

	t->n_states = 1u << state_bits;
	for (unsigned s = 0; s < t->n_states; s++)
		for (unsigned odd = 0; odd < 2; odd++) {
			const unsigned to = aqz_trellis_next(state_bits, s, odd);

			t->from[n[to]][to] = (int32_t)s;
			t->candidate[n[to]][to] = (int32_t)(2 * (s & 1) + odd);
			n[to]++;
		}
}

static unsigned least(const float *cost, unsigned n)
{
	unsigned best = 0;

	for (unsigned s = 1; s < n; s++)
		if (cost[s] < cost[best])
			best = s;
	return best;
}

/* Follows the choices back from the cheapest last state. */
static void walk_back(int32_t *restrict index, const int32_t *restrict k,
	const uint8_t *restrict choice, size_t n, const trellis *t, unsigned state)
{
	const size_t row_bytes = t->n_states <= 8 ? 1 : t->n_states / 8;

	for (size_t i = n; i-- > 0;) {
		const unsigned which = choice[i * row_bytes + state / 8] >> state % 8 & 1u;

		index[i] = k[4 * i + (size_t)t->candidate[which][state]];
		state = (unsigned)t->from[which][state];
	}
}

/* One state: the cheaper of both parities. */
static void cheapest(
	int32_t *restrict index, const float *restrict cost, const int32_t *restrict k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		index[i] = k[4 * i + (cost[4 * i + 1] < cost[4 * i])];
}

static void path_plain(int32_t *restrict index, const float *restrict cost,
	const int32_t *restrict k, uint8_t *restrict choice, size_t n, unsigned state_bits)
{
	float now[MAX_STATES], next[MAX_STATES];
	trellis t;

	if (state_bits == 0) {
		cheapest(index, cost, k, n);
		return;
	}
	trellis_init(&t, state_bits);
	for (unsigned s = 0; s < t.n_states; s++)
		now[s] = s == 0 ? 0 : 1e30f;
	for (size_t i = 0; i < n; i++) {
		const float *c = cost + 4 * i;

		for (unsigned s = 0; s < t.n_states; s += 8) {
			unsigned bits = 0;

			for (unsigned o = s; o < s + 8 && o < t.n_states; o++) {
				const float a = now[t.from[0][o]] + c[t.candidate[0][o]],
							b = now[t.from[1][o]] + c[t.candidate[1][o]];

				bits |= (unsigned)(b < a) << (o - s);
				next[o] = b < a ? b : a;
			}
			*choice++ = (uint8_t)bits;
		}
		memcpy(now, next, t.n_states * sizeof *now);
		if (i % REBASE == REBASE - 1) {
			const float base = now[least(now, t.n_states)];

			for (unsigned s = 0; s < t.n_states; s++)
				now[s] -= base;
		}
	}
	choice -= n * (t.n_states <= 8 ? 1 : t.n_states / 8);
	walk_back(index, k, choice, n, &t, least(now, t.n_states));
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#define NAME(x) JOIN(x, plain)
#define TARGET
#include "codec/encode/trellis_path_body.h"
#undef NAME
#undef TARGET

static const aqz_path_kernels kernels_plain = {"plain", candidates_plain, path_plain};

#if defined(__x86_64__)

#define NAME(x) JOIN(x, avx2)
#define TARGET __attribute__((target("avx2")))
#include "codec/encode/trellis_path_body.h"
#undef NAME
#undef TARGET

#define NAME(x) JOIN(x, avx512)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2")))
#include "codec/encode/trellis_path_body.h"
#undef NAME
#undef TARGET

/* The least of 8 lanes, in all of them. */
static inline __attribute__((target("avx2"))) __m256 least8(__m256 v)
{
	v = _mm256_min_ps(v, _mm256_permute2f128_ps(v, v, 1));
	v = _mm256_min_ps(v, _mm256_permute_ps(v, 0x4e));
	return _mm256_min_ps(v, _mm256_permute_ps(v, 0xb1));
}

static __attribute__((target("avx2"))) void path8_avx2(
	float *last, const float *restrict cost, uint8_t *restrict choice, size_t n, const trellis *t)
{
	const __m256i from0 = _mm256_loadu_si256((const __m256i *)t->from[0]),
				  from1 = _mm256_loadu_si256((const __m256i *)t->from[1]),
				  candidate0 = _mm256_loadu_si256((const __m256i *)t->candidate[0]),
				  candidate1 = _mm256_loadu_si256((const __m256i *)t->candidate[1]);
	__m256 now = _mm256_loadu_ps(last);

	for (size_t i = 0; i < n; i++) {
		const __m256 c = _mm256_broadcast_ps((const __m128 *)(cost + 4 * i));
		const __m256 a =
			_mm256_add_ps(_mm256_permutevar8x32_ps(now, from0), _mm256_permutevar_ps(c, candidate0));
		const __m256 b =
			_mm256_add_ps(_mm256_permutevar8x32_ps(now, from1), _mm256_permutevar_ps(c, candidate1));

		choice[i] = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(b, a, _CMP_LT_OQ));
		now = _mm256_min_ps(b, a);
		if (i % REBASE == REBASE - 1)
			now = _mm256_sub_ps(now, least8(now));
	}
	_mm256_storeu_ps(last, now);
}

static __attribute__((target("avx2"))) void path_avx2(int32_t *restrict index,
	const float *restrict cost, const int32_t *restrict k, uint8_t *restrict choice, size_t n,
	unsigned state_bits)
{
	float buffer[2][MAX_STATES], *now = buffer[0], *next = buffer[1];
	trellis t;

	if (state_bits < 3) {
		path_plain(index, cost, k, choice, n, state_bits);
		return;
	}
	trellis_init(&t, state_bits);
	for (unsigned s = 0; s < t.n_states; s++)
		now[s] = s == 0 ? 0 : 1e30f;
	if (state_bits == 3) {
		path8_avx2(now, cost, choice, n, &t);
		walk_back(index, k, choice, n, &t, least(now, t.n_states));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const __m256 c = _mm256_broadcast_ps((const __m128 *)(cost + 4 * i));
		__m256 base = _mm256_set1_ps(0);
		float *swap = now;

		for (unsigned s = 0; s < t.n_states; s += 8) {
			const __m256i f0 = _mm256_loadu_si256((const __m256i *)(t.from[0] + s)),
						  f1 = _mm256_loadu_si256((const __m256i *)(t.from[1] + s)),
						  c0 = _mm256_loadu_si256((const __m256i *)(t.candidate[0] + s)),
						  c1 = _mm256_loadu_si256((const __m256i *)(t.candidate[1] + s));
			const __m256 a = _mm256_add_ps(
							 _mm256_i32gather_ps(now, f0, 4), _mm256_permutevar_ps(c, c0)),
						 b = _mm256_add_ps(
							 _mm256_i32gather_ps(now, f1, 4), _mm256_permutevar_ps(c, c1));

			choice[i * (t.n_states / 8) + s / 8] =
				(uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(b, a, _CMP_LT_OQ));
			_mm256_storeu_ps(next + s, _mm256_min_ps(b, a));
		}
		now = next;
		next = swap;
		if (i % REBASE == REBASE - 1) {
			base = _mm256_set1_ps(now[least(now, t.n_states)]);
			for (unsigned s = 0; s < t.n_states; s += 8)
				_mm256_storeu_ps(now + s, _mm256_sub_ps(_mm256_loadu_ps(now + s), base));
		}
	}
	walk_back(index, k, choice, n, &t, least(now, t.n_states));
}

static const aqz_path_kernels kernels_avx2 = {"avx2", candidates_avx2, path_avx2};
static const aqz_path_kernels kernels_avx512 = {"avx512", candidates_avx512, path_avx2};

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
