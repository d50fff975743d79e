/* SPDX-License-Identifier: Apache-2.0 */
/* What a card gives to look-ups: 16-byte reads at random places of a table, past the first-level cache and through it,
 * and conflict-free 4-byte reads of shared memory. The denominators of docs/gpu.md. Then what two ways would give that
 * codebooks of 1 MiB might be read by: the first codewords from shared memory, and all from the shared memory of a
 * cluster of 8 blocks. */
#include <cooperative_groups.h>
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

enum { CODES = 65536, HOT = 14080, HOT_BYTES = HOT * 16, CLUSTER = 8, PART = CODES / CLUSTER, PART_BYTES = PART * 16 };

/* Codes are used evenly: HOT of 65536 look-ups stay within the multiprocessor. 16 warps, as one block has it all. */
static __global__ void __launch_bounds__(THREADS) hot_set(const uint4 *table, uint32_t *out)
{
	extern __shared__ uint4 hot[];
	uint32_t state = (blockIdx.x * THREADS + threadIdx.x) * 2654435761u + 12345, sum = 0;

	for (uint32_t i = threadIdx.x; i < HOT; i += THREADS)
		hot[i] = table[i];
	__syncthreads();
	for (int r = 0; r < ROUNDS * 4; r++) {
		uint4 v[IN_FLIGHT];

#pragma unroll
		for (int i = 0; i < IN_FLIGHT; i++) {
			state = state * 1664525u + 1013904223u;
			const uint32_t code = state >> 8 & (CODES - 1);

			if (code < HOT)
				v[i] = hot[code];
			else
				asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
					: "=r"(v[i].x), "=r"(v[i].y), "=r"(v[i].z), "=r"(v[i].w) : "l"(table + code));
		}
#pragma unroll
		for (int i = 0; i < IN_FLIGHT; i++)
			sum ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
	}
	if (sum == 0x12345678)
		*out = sum;
}

/* Each block of a cluster holds an eighth; 7 of 8 look-ups go to another multiprocessor. */
static __global__ void __launch_bounds__(THREADS) in_cluster(const uint4 *table, uint32_t *out)
{
#if __CUDA_ARCH__ >= 900
	extern __shared__ uint4 part[];
	const cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
	uint32_t state = (blockIdx.x * THREADS + threadIdx.x) * 2654435761u + 12345, sum = 0;

	for (uint32_t i = threadIdx.x; i < PART; i += THREADS)
		part[i] = table[cluster.block_rank() * PART + i];
	cluster.sync();
	for (int r = 0; r < ROUNDS * 4; r++) {
		uint4 v[IN_FLIGHT];

#pragma unroll
		for (int i = 0; i < IN_FLIGHT; i++) {
			state = state * 1664525u + 1013904223u;
			const uint32_t code = state >> 8 & (CODES - 1);

			v[i] = *cluster.map_shared_rank(part + code % PART, code / PART);
		}
#pragma unroll
		for (int i = 0; i < IN_FLIGHT; i++)
			sum ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
	}
	/* Nobody's part may be gone while it is read. */
	cluster.sync();
	if (sum == 0x12345678)
		*out = sum;
#else
	(void)table, (void)out;
#endif
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

static void work_hot(void *user, unsigned i, cudaStream_t stream)
{
	(void)user, (void)i;
	hot_set<<<n_blocks, THREADS, HOT_BYTES, stream>>>(tables, nowhere);
}

static void work_cluster(void *user, unsigned i, cudaStream_t stream)
{
	cudaLaunchAttribute size = {};
	cudaLaunchConfig_t how = {};

	(void)user, (void)i;
	size.id = cudaLaunchAttributeClusterDimension;
	size.val.clusterDim.x = CLUSTER;
	size.val.clusterDim.y = size.val.clusterDim.z = 1;
	how.gridDim = n_blocks;
	how.blockDim = THREADS;
	how.dynamicSmemBytes = PART_BYTES;
	how.stream = stream;
	how.attrs = &size;
	how.numAttrs = 1;
	BENCH_CUDA(cudaLaunchKernelEx(&how, in_cluster, tables, nowhere));
}

/* Ways to take codebooks of 1x16 from elsewhere than the second-level cache, where the card has what they need. */
static void measure_1x16(unsigned n_multiprocessors)
{
	int device, shared, major;
	double seconds;

	BENCH_CUDA(cudaGetDevice(&device));
	BENCH_CUDA(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
	BENCH_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
	if (shared < HOT_BYTES || major < 9) {
		printf("1 MiB of codewords: the card's shared memory is too small, or it has no clusters\n");
		return;
	}
	n_blocks = n_multiprocessors;
	BENCH_CUDA(cudaFuncSetAttribute(hot_set, cudaFuncAttributeMaxDynamicSharedMemorySize, HOT_BYTES));
	seconds = bench_measure_quick(work_hot, nullptr, 4, 15);
	printf("1 MiB of codewords: %.1f %% of them in shared memory %7.1f G/s", 100.0 * HOT / CODES,
		(double)n_blocks * THREADS * ROUNDS * 4 * IN_FLIGHT / seconds * 1e-9);
	n_blocks = n_multiprocessors / CLUSTER * CLUSTER;
	BENCH_CUDA(cudaFuncSetAttribute(in_cluster, cudaFuncAttributeMaxDynamicSharedMemorySize, PART_BYTES));
	seconds = bench_measure_quick(work_cluster, nullptr, 4, 15);
	printf(", all in that of clusters of %d blocks %7.1f G/s\n", CLUSTER,
		(double)n_blocks * THREADS * ROUNDS * 4 * IN_FLIGHT / seconds * 1e-9);
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
	measure_1x16(n_multiprocessors);
	fflush(stdout);
	cudaFree((void *)tables);
	cudaFree(nowhere);
}
