/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring on a GPU: time of captured launches, and the weights that are measured. */
#ifndef AQZ_BENCH_GPU_H
#define AQZ_BENCH_GPU_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "aqlmzip_gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Ends the program with what failed. */
void bench_die(const char *what, const char *why);
#define BENCH_CUDA(call) \
	do { \
		const cudaError_t e_ = (call); \
		if (e_ != cudaSuccess) \
			bench_die(#call, cudaGetErrorString(e_)); \
	} while (0)
#define BENCH_AQZ(call) \
	do { \
		aqz_error err_ = {0}; \
		aqz_error *err = &err_; \
		if ((call) != AQZ_OK) \
			bench_die(#call, err_.text); \
	} while (0)

/* Puts one unit of work, number i, on the stream. */
typedef void bench_work(void *user, unsigned i, cudaStream_t stream);

typedef struct bench_times {
	double graph;  /* seconds of one unit, of a graph of several: the median of 51 launches of it */
	double least;  /* the best of them */
	double single; /* seconds of one unit, launched by itself 200 times in a row */
} bench_times;

/* per_graph: units in a graph; work takes turns among copies by its number. */
bench_times bench_measure(bench_work *work, void *user, unsigned per_graph);
/* Seconds of one unit, of a graph: the median of `runs` launches, at most 51. */
double bench_measure_quick(bench_work *work, void *user, unsigned per_graph, unsigned runs);
/* |got - due| / |due| of n numbers in binary16 on the device. */
double bench_difference(const void *got, const void *due, uint64_t n);

/* xorshift64*, the same numbers everywhere. */
uint64_t bench_random(uint64_t *state);
void *bench_device(size_t n_bytes); /* zeros */

/* A layer of random codes, several times on the device, so that together they are far beyond the L2 cache. */
typedef struct bench_layer {
	aqz_additive a;             /* in host memory */
	aqz_gpu_matrix **copies;
	unsigned n_copies;
	uint64_t codes_bytes;
} bench_layer;

/* skewed: some codes are much more frequent than others, as those of trained layers may be. */
void bench_layer_make(bench_layer *l, aqz_gpu *gpu, const char *scheme, uint64_t rows, uint64_t cols,
	uint64_t spread_bytes, bool skewed);
void bench_layer_free(bench_layer *l);

#ifdef __cplusplus
}
#endif

#endif
