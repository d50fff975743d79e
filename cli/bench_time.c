/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: taking time, threads, and random numbers that are the same everywhere. */
#include <math.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "cli/bench.h"

/* Runs beyond these are timed but not kept. */
#define MAX_RUNS 1000

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

aqz_status bench_measure(
	bench_time *out, bench_run_fn *run, void *user, double seconds, aqz_error *err)
{
	double taken[MAX_RUNS];
	unsigned n = 0;
	aqz_status status = run(user, 0, err);
	const double begin = cli_now();

	while (status == AQZ_OK && n < MAX_RUNS && (n < BENCH_LEAST_RUNS || cli_now() - begin < seconds)) {
		const double start = cli_now();

		status = run(user, n + 1, err);
		taken[n++] = cli_now() - start;
	}
	if (status != AQZ_OK)
		return status;
	qsort(taken, n, sizeof *taken, by_value);
	*out = (bench_time){taken[0], taken[n / 2], n};
	return AQZ_OK;
}

unsigned bench_threads(unsigned n_threads)
{
#ifdef _OPENMP
	return n_threads != 0 ? n_threads : (unsigned)omp_get_num_procs();
#else
	(void)n_threads;
	return 1;
#endif
}

uint64_t bench_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545F4914F6CDD1D);
}

double bench_uniform(uint64_t *state)
{
	return ((double)(bench_random(state) >> 11) + 0.5) * 0x1p-53;
}

/* Box-Muller pairs. */
void bench_gaussian(float *w, size_t n, double sigma, uint64_t seed)
{
	uint64_t state = UINT64_C(0x9E3779B97F4A7C15) + seed;

	for (size_t i = 0; i < n; i += 2) {
		const double radius = sigma * sqrt(-2 * log(bench_uniform(&state)));
		const double angle = 6.283185307179586 * bench_uniform(&state);

		w[i] = (float)(radius * cos(angle));
		if (i + 1 < n)
			w[i + 1] = (float)(radius * sin(angle));
	}
}
