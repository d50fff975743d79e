/* SPDX-License-Identifier: Apache-2.0 */
/* What a card gives to look-ups: 16-byte reads at random places of a table, past the first-level cache and through it,
 * and conflict-free 4-byte reads of shared memory. The denominators of docs/gpu.md. */
#include <stdio.h>

#include "bench/gpu/bench_gpu.h"
#include "bench/gpu/rates.h"

enum { THREADS = 512, ROUNDS = 64, IN_FLIGHT = 8 };

/* Each lane reads IN_FLIGHT places that do not depend on each other, ROUNDS times. */
template <bool FIRST_LEVEL> static __global__ void __launch_bounds__(THREADS)
	gather(const uint4 *table, uint32_t mask, uint32_t *out)
{
	uint32_t state = (blockIdx.x * THREADS + threadIdx.x) * 2654435761u + 12345, sum = 0;

	for (int r = 0; r < ROUNDS; r++) {
		uint4 v[IN_FLIGHT];

#pragma unroll
		for (int i = 0; i < IN_FLIGHT; i++) {
			const uint4 *p;

			state = state * 1664525u + 1013904223u;
			p = table + ((state >> 8) & mask);
			if (FIRST_LEVEL)
				v[i] = __ldg(p);
			else
				asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
					: "=r"(v[i].x), "=r"(v[i].y), "=r"(v[i].z), "=r"(v[i].w) : "l"(p));
		}
#pragma unroll
		for (int i = 0; i < IN_FLIGHT; i++)
			sum ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
	}
	if (sum == 0x12345678) /* never, but the compiler does not know */
		*out = sum;
}

/* Lane l reads bank l, at rows that depend on what was read: by IN_FLIGHT chains. */
static __global__ void __launch_bounds__(THREADS) lookup(uint32_t *out)
{
	__shared__ uint32_t table[256 * 32];
	const uint32_t lane = threadIdx.x % 32;
	uint32_t at[IN_FLIGHT], sum = 0;

	for (uint32_t i = threadIdx.x; i < 256 * 32; i += THREADS)
		table[i] = i * 2654435761u >> 24;
	__syncthreads();
	for (uint32_t i = 0; i < IN_FLIGHT; i++)
		at[i] = (threadIdx.x + i) & 255;
	for (int r = 0; r < ROUNDS * 4; r++)
#pragma unroll
		for (int i = 0; i < IN_FLIGHT; i++)
			at[i] = table[at[i] * 32 + lane];
	for (uint32_t i = 0; i < IN_FLIGHT; i++)
		sum += at[i];
	if (sum == 0x12345678)
		*out = sum;
}

static const uint4 *tables;
static uint32_t places, *nowhere;
static unsigned n_blocks;

static void work_far(void *user, unsigned i, cudaStream_t stream)
{
	(void)user, (void)i;
	gather<false><<<n_blocks, THREADS, 0, stream>>>(tables, places - 1, nowhere);
}

static void work_near(void *user, unsigned i, cudaStream_t stream)
{
	(void)user, (void)i;
	gather<true><<<n_blocks, THREADS, 0, stream>>>(tables, places - 1, nowhere);
}

static void work_shared(void *user, unsigned i, cudaStream_t stream)
{
	(void)user, (void)i;
	lookup<<<n_blocks, THREADS, 0, stream>>>(nowhere);
}

extern "C" void rates_measure(unsigned n_multiprocessors)
{
	static const unsigned kib[] = {64, 128, 512, 1024, 2048, 8192};
	bench_times t;

	n_blocks = n_multiprocessors * 4;
	tables = (const uint4 *)bench_device(8192u << 10);
	nowhere = (uint32_t *)bench_device(4);
	for (unsigned i = 0; i < sizeof kib / sizeof *kib; i++) {
		const double n = (double)n_blocks * THREADS * ROUNDS * IN_FLIGHT;

		places = kib[i] * 64;
		t = bench_measure(work_far, nullptr, 8);
		printf("random 16 B of %4u KiB: past L1 %7.1f G/s (%6.0f GB/s of 32-byte sectors)", kib[i], n / t.graph * 1e-9,
			32 * n / t.graph * 1e-9);
		t = bench_measure(work_near, nullptr, 8);
		printf(", through L1 %7.1f G/s\n", n / t.graph * 1e-9);
	}
	t = bench_measure(work_shared, nullptr, 8);
	printf("shared memory, a bank a lane: %.2f look-ups of a warp a clock and multiprocessor at 1.755 GHz, of 1\n",
		(double)n_blocks * (THREADS / 32) * ROUNDS * 4 * IN_FLIGHT / t.graph / n_multiprocessors / 1.755e9);
	fflush(stdout);
	cudaFree((void *)tables);
	cudaFree(nowhere);
}
