/* SPDX-License-Identifier: Apache-2.0 */
/* The trellis encoder's candidates and paths: all variants as the plain one, which is as codec/encode/trellis_path.h
 * says. */
#include <math.h>

#include "codec/encode/trellis_path.h"
#include "codec/trellis.h"
#include "tests/kernel_check.h"

enum { MOST = 333, BUCKETS = 4, N_RATES = BUCKETS * 2 * AQZ_RATES };

static const size_t lengths[] = {0, 1, 7, 8, 31, 32, 33, 64, 100, MOST};
static const unsigned state_bits[] = {0, 2, 3, 4, 5, 6, 7, 8};

static float rate_of(const float *rates, uint8_t bucket, unsigned t, double k)
{
	const int inside = (int)fmin(fmax(k, -AQZ_RATES / 2), AQZ_RATES / 2 - 1);

	return rates[(2 * bucket + (int)t) * AQZ_RATES + AQZ_RATES / 2 + inside];
}

/* No index of that quantizer and parity costs less, but for the last digits, and the cost is that of the index. */
static void check_candidate(double y, float cost, int32_t k, const float *rates, uint8_t bucket,
	unsigned t, unsigned odd, unsigned bits)
{
	const double width = bits == 0 ? 1 : 2, v = bits == 0 ? k : 2.0 * k + t;
	const double least = (y - v) * (y - v) + (double)rate_of(rates, bucket, t, k);
	const double slack = 1e-5 * (fabs(least) + 1) + 4e-7 * fabs(y) * (1 + fabs(y - v));

	KERNEL_CHECK(((unsigned)k & 1) == odd, "the index is %d, for parity %u", k, odd);
	KERNEL_CHECK(fabs((double)cost - least) <= slack, "y %g: index %d costs %g, not %g", y, k,
		(double)cost, least);
	for (int other = -2; other <= 2; other += 4) {
		const double u = v + other * width,
					 rate = (double)rate_of(rates, bucket, t, (double)k + other);
		const double nearest = fabs(y - v), away = fabs(y - u);

		/* Only neighbours of the nearest index are looked at: those within 1.5 of it. */
		if (away <= 1.5 * width && away < nearest)
			KERNEL_CHECK((y - u) * (y - u) + rate >= least - slack, "y %g: %d is better than %d", y,
				k + other, k);
	}
}

static void check_length(
	const aqz_path_kernels *k, size_t n, unsigned bits, int round, place where, noise *r)
{
	const aqz_path_kernels *plain = aqz_path_kernels_get(0);
	static float rates[N_RATES], x[MOST], cost[4 * MOST];
	static int32_t candidates[4 * MOST], index[MOST];
	static uint8_t bucket[MOST], choice[MOST * 32];
	const float inverse = 0.7f;

	for (size_t i = 0; i < N_RATES; i++)
		rates[i] = round == 0 ? 0 : (float)(noise_next(r) % 1000) * 0.01f;
	for (size_t i = 0; i < n; i++) {
		const float unit = (float)(int64_t)(noise_next(r) % 20001 - 10000) * 1e-3f;

		x[i] = round == 3 ? unit * (i % 3 == 0 ? 1e9f : 1e5f) : unit;
		bucket[i] = (uint8_t)(noise_next(r) % BUCKETS);
	}
	/* One state has one quantizer; the other half of its places is nobody's. */
	memset(cost, 0xff, sizeof cost);
	memset(candidates, 0xff, sizeof candidates);
	plain->candidates(cost, candidates, x, inverse, rates, bucket, n, bits);
	for (size_t i = 0; i < n && k == plain && round < 3; i++)
		for (unsigned c = 0; c < (bits == 0 ? 2 : 4); c++)
			check_candidate((double)(x[i] * inverse), cost[4 * i + c], candidates[4 * i + c], rates,
				bucket[i], c / 2, c % 2, bits);

	area in = area_input(x, n * sizeof *x, sizeof *x, where);
	area r_in = area_input(rates, sizeof rates, sizeof *rates, where),
		 b_in = area_input(bucket, n, 1, where);
	area c_out = area_alloc(4 * n * sizeof *cost, sizeof *cost, where);
	area k_out = area_alloc(4 * n * sizeof *candidates, sizeof *candidates, where);
	kernel_now("candidates", k->name);
	k->candidates(c_out.data, k_out.data, in.data, inverse, r_in.data, b_in.data, n, bits);
	for (size_t i = 0; i < n; i++) {
		const size_t made = bits == 0 ? 2 : 4;

		kernel_same_floats((float *)c_out.data + 4 * i, cost + 4 * i, made);
		kernel_same_bytes(
			(int32_t *)k_out.data + 4 * i, candidates + 4 * i, made * sizeof *candidates);
		kernel_digest_floats(cost + 4 * i, made);
		kernel_digest(candidates + 4 * i, made * sizeof *candidates);
	}
	kernel_whole(&c_out);
	kernel_whole(&k_out);
	area_free(&c_out), area_free(&k_out), area_free(&in), area_free(&r_in), area_free(&b_in);

	if (n == 0)
		return;
	plain->path(index, cost, candidates, choice, n, bits);
	area cost_in = area_input(cost, 4 * n * sizeof *cost, sizeof *cost, where);
	area k_in = area_input(candidates, 4 * n * sizeof *candidates, sizeof *candidates, where);
	area out = area_alloc(n * sizeof *index, sizeof *index, where);
	area scratch = area_alloc(n * (bits < 3 ? 1 : (size_t)1 << bits >> 3), 1, where);
	kernel_now("path", k->name);
	k->path(out.data, cost_in.data, k_in.data, scratch.data, n, bits);
	kernel_same_bytes(out.data, index, n * sizeof *index);
	kernel_digest(index, n * sizeof *index);
	kernel_whole(&out);
	kernel_whole(&scratch);
	area_free(&cost_in), area_free(&k_in), area_free(&out), area_free(&scratch);
}

/* The plain path against all paths of a few rows: none is cheaper. */
static void check_cheapest(noise *r)
{
	enum { N = 9 };
	const aqz_path_kernels *plain = aqz_path_kernels_get(0);

	kernel_now("path", plain->name);
	for (unsigned bits = 0; bits <= 8; bits += bits == 0 ? 2 : 1)
		for (int round = 0; round < 8; round++) {
			float cost[4 * N];
			int32_t k[4 * N], index[N];
			uint8_t choice[N * 32];
			double cheapest = INFINITY, found = INFINITY;

			for (size_t i = 0; i < 4 * N; i++) {
				cost[i] = (float)(noise_next(r) % 1024) / 16;
				k[i] = (int32_t)(4 * i + i % 2); /* an index of its own, of the right parity */
			}
			plain->path(index, cost, k, choice, N, bits);
			for (unsigned path = 0; path < 1u << N; path++) {
				unsigned state = 0;
				double sum = 0;
				bool taken = true;

				for (size_t i = 0; i < N; i++) {
					const unsigned odd = path >> i & 1, c = 2 * (bits == 0 ? 0 : state & 1) + odd;

					sum += (double)cost[4 * i + c];
					taken = taken && index[i] == k[4 * i + c];
					state = bits == 0 ? 0 : aqz_trellis_next(bits, state, odd);
				}
				cheapest = fmin(cheapest, sum);
				found = taken ? sum : found;
			}
			KERNEL_CHECK(
				found == cheapest, "%u states: costs %g, not %g", 1u << bits, found, cheapest);
		}
}

static void check(noise *r)
{
	const aqz_path_kernels *k;

	for (unsigned v = 0; (k = aqz_path_kernels_get(v)) != NULL; v++) {
		noise same = *r;

		for (size_t s = 0; s < sizeof state_bits / sizeof *state_bits; s++)
			for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
				for (int round = 0; round < 4; round++)
					check_length(k, lengths[l], state_bits[s], round,
						(place)((l + (size_t)round) % N_PLACES), &same);
	}
	check_cheapest(r);
}

static void measure(noise *r)
{
	enum { N = 1024 };
	static float rates[N_RATES], x[N], cost[4 * N];
	static int32_t candidates[4 * N], index[N];
	static uint8_t bucket[N], choice[N * 32];
	static const unsigned bits[] = {0, 3, 5, 8};
	static char names[2][4][40];
	const aqz_path_kernels *k;

	fill_floats(x, N, VALUES_RANDOM, r);
	for (size_t i = 0; i < N_RATES; i++)
		rates[i] = (float)(noise_next(r) % 1000) * 0.01f;
	for (size_t i = 0; i < 4; i++) {
		snprintf(names[0][i], sizeof names[0][i], "candidates, %u states", 1u << bits[i]);
		snprintf(names[1][i], sizeof names[1][i], "path, %u states", 1u << bits[i]);
		for (unsigned v = 0; (k = aqz_path_kernels_get(v)) != NULL; v++)
			TIMED(names[0][i], k->name, N)
			k->candidates(cost, candidates, x, 3, rates, bucket, N, bits[i]);
		for (unsigned v = 0; (k = aqz_path_kernels_get(v)) != NULL; v++)
			TIMED(names[1][i], k->name, N) k->path(index, cost, candidates, choice, N, bits[i]);
	}
}

const kernel_family family_path = {"path", check, measure};
