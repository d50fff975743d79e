/* SPDX-License-Identifier: Apache-2.0 */
/* Time on a GPU. Launches are captured in a graph, so that what the host takes for each does not count; the same
 * launches one by one are measured beside it. */
#include "bench/gpu/bench_gpu.h"
#include "codec/additive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 51, WARM = 5, SINGLES = 200 };

void bench_die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

uint64_t bench_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545F4914F6CDD1D);
}

void *bench_device(size_t n_bytes)
{
	void *p;

	BENCH_CUDA(cudaMalloc(&p, n_bytes != 0 ? n_bytes : 1));
	BENCH_CUDA(cudaMemset(p, 0, n_bytes));
	return p;
}

static int by_size(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double elapsed(cudaEvent_t from, cudaEvent_t to)
{
	float ms;

	BENCH_CUDA(cudaEventSynchronize(to));
	BENCH_CUDA(cudaEventElapsedTime(&ms, from, to));
	return (double)ms * 1e-3;
}

/* Launches captured in a graph, and what it takes to time them. */
typedef struct captured {
	cudaStream_t stream;
	cudaEvent_t from, to;
	cudaGraph_t graph;
	cudaGraphExec_t ready;
} captured;

static void capture(captured *c, bench_work *work, void *user, unsigned per_graph)
{
	BENCH_CUDA(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking));
	BENCH_CUDA(cudaEventCreate(&c->from));
	BENCH_CUDA(cudaEventCreate(&c->to));
	work(user, 0, c->stream); /* modules are loaded */
	BENCH_CUDA(cudaStreamSynchronize(c->stream));
	BENCH_CUDA(cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal));
	for (unsigned i = 0; i < per_graph; i++)
		work(user, i, c->stream);
	BENCH_CUDA(cudaStreamEndCapture(c->stream, &c->graph));
	BENCH_CUDA(cudaGraphInstantiate(&c->ready, c->graph, 0));
}

static void release(captured *c)
{
	BENCH_CUDA(cudaGraphExecDestroy(c->ready));
	BENCH_CUDA(cudaGraphDestroy(c->graph));
	BENCH_CUDA(cudaEventDestroy(c->from));
	BENCH_CUDA(cudaEventDestroy(c->to));
	BENCH_CUDA(cudaStreamDestroy(c->stream));
}

/* The median of `runs` launches; least may be NULL. */
static double launches(captured *c, unsigned per_graph, unsigned runs, double *least)
{
	float all[RUNS];

	for (unsigned i = 0; i < WARM + runs; i++) {
		BENCH_CUDA(cudaEventRecord(c->from, c->stream));
		BENCH_CUDA(cudaGraphLaunch(c->ready, c->stream));
		BENCH_CUDA(cudaEventRecord(c->to, c->stream));
		if (i >= WARM)
			all[i - WARM] = (float)(elapsed(c->from, c->to) / per_graph);
		else
			BENCH_CUDA(cudaStreamSynchronize(c->stream));
	}
	qsort(all, runs, sizeof *all, by_size);
	if (least != NULL)
		*least = (double)all[0];
	return (double)all[runs / 2];
}

bench_times bench_measure(bench_work *work, void *user, unsigned per_graph)
{
	captured c;
	bench_times t;

	capture(&c, work, user, per_graph);
	t.graph = launches(&c, per_graph, RUNS, &t.least);
	BENCH_CUDA(cudaEventRecord(c.from, c.stream));
	for (unsigned i = 0; i < SINGLES; i++)
		work(user, i, c.stream);
	BENCH_CUDA(cudaEventRecord(c.to, c.stream));
	t.single = elapsed(c.from, c.to) / SINGLES;
	release(&c);
	return t;
}

double bench_measure_quick(bench_work *work, void *user, unsigned per_graph, unsigned runs)
{
	captured c;
	double seconds;

	capture(&c, work, user, per_graph);
	seconds = launches(&c, per_graph, runs < RUNS ? runs : RUNS, NULL);
	release(&c);
	return seconds;
}

double bench_difference(const void *got, const void *due, uint64_t n)
{
	uint16_t *half = malloc(n * 2);
	float *x = malloc(n * 4), *y = malloc(n * 4);
	double error = 0, size = 0;

	if (half == NULL || x == NULL || y == NULL)
		bench_die("memory", "there is not enough of the host's");
	BENCH_CUDA(cudaMemcpy(half, got, n * 2, cudaMemcpyDeviceToHost));
	aqz_convert(x, AQZ_F32, half, AQZ_F16, n, NULL);
	BENCH_CUDA(cudaMemcpy(half, due, n * 2, cudaMemcpyDeviceToHost));
	aqz_convert(y, AQZ_F32, half, AQZ_F16, n, NULL);
	for (uint64_t i = 0; i < n; i++) {
		error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
		size += (double)y[i] * (double)y[i];
	}
	free(half), free(x), free(y);
	return sqrt(error / size);
}

/* ---- Layers */

static void *host(size_t n_bytes)
{
	void *p = aligned_alloc(64, (n_bytes + 63) / 64 * 64);

	if (p == NULL)
		bench_die("memory", "there is not enough of the host's");
	return p;
}

/* Lines are bytes of any values: every code is possible. Skewed ones have the bytes of a product of two uniform
 * numbers, so that low codes come often. */
static void fill_codes(uint8_t *codes, size_t n, bool skewed)
{
	uint64_t state = 88172645463325252u;

	for (size_t i = 0; i + 8 <= n; i += 8) {
		const uint64_t v = bench_random(&state), u = skewed ? bench_random(&state) : 0;

		if (!skewed)
			memcpy(codes + i, &v, 8);
		else
			for (int k = 0; k < 8; k++)
				codes[i + (size_t)k] = (uint8_t)((v >> 8 * k & 255) * (u >> 8 * k & 255) >> 8);
	}
}

void bench_layer_make(bench_layer *l, aqz_gpu *gpu, const char *scheme, uint64_t rows, uint64_t cols,
	uint64_t spread_bytes, bool skewed)
{
	aqz_additive *a = &l->a;
	uint64_t state = 1;
	size_t n_values;

	*l = (bench_layer){0};
	BENCH_AQZ(aqz_scheme_parse(&a->scheme, scheme, err));
	a->rows = rows;
	a->cols = cols;
	a->code_rows = aqz_ceil_div(rows, a->scheme.out_group);
	a->groups = aqz_ceil_div(cols, a->scheme.in_group);
	a->codes_bytes = (size_t)aqz_additive_codes_bytes(&a->scheme, a->code_rows, a->groups);
	a->codes = host(a->codes_bytes);
	fill_codes(a->codes, a->codes_bytes, skewed);
	a->codebook_dtype = a->scale_dtype = AQZ_F16;
	n_values = aqz_codewords(&a->scheme) * aqz_codeword(&a->scheme);
	a->codebooks = host(n_values * 2);
	a->scales = host((size_t)a->code_rows * 2);
	for (size_t i = 0; i < n_values; i++) { /* about those of weights */
		const float v = (float)(int32_t)(bench_random(&state) >> 32) * 0x1p-36f;

		BENCH_AQZ(aqz_convert((uint16_t *)a->codebooks + i, AQZ_F16, &v, AQZ_F32, 1, err));
	}
	for (size_t i = 0; i < a->code_rows; i++) {
		const float v = 0.5f + (float)(bench_random(&state) >> 40) * 0x1p-24f;

		BENCH_AQZ(aqz_convert((uint16_t *)a->scales + i, AQZ_F16, &v, AQZ_F32, 1, err));
	}
	l->codes_bytes = a->codes_bytes;
	l->n_copies = (unsigned)aqz_min(64, spread_bytes / l->codes_bytes + 1);
	l->copies = calloc(l->n_copies, sizeof *l->copies);
	for (unsigned i = 0; i < l->n_copies; i++)
		BENCH_AQZ(aqz_gpu_matrix_from_additive(&l->copies[i], gpu, a, NULL, err));
}

void bench_layer_free(bench_layer *l)
{
	for (unsigned i = 0; i < l->n_copies; i++)
		aqz_gpu_matrix_free(l->copies[i]);
	free(l->copies);
	aqz_additive_free(&l->a);
}
