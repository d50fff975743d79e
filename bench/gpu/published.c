/* SPDX-License-Identifier: Apache-2.0 */
/* Measures bench/gpu/published.h's kernels on the weights of a layer. */
#include "bench/gpu/published.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/gpu/published_kernels.h"
#include "codec/additive.h"

#define CHECKED_ROWS 64

typedef struct job {
	published_product p;
	uint8_t *codes; /* [n_copies][codes_bytes] */
	size_t codes_bytes;
	unsigned n_copies;
	uint32_t n_multiprocessors;
} job;

/* T64 lines to row after row. */
static uint8_t *unpack(const aqz_additive *a)
{
	const unsigned m_all = a->scheme.n_codebooks, bits = a->scheme.code_bits, code_bytes = bits / 8;
	uint8_t *codes = malloc((size_t)a->rows * a->groups * m_all * code_bytes);

	for (uint64_t block = 0; block * 64 < a->rows; block++)
		for (uint64_t j = 0; j < a->groups; j++)
			for (unsigned m = 0; m < m_all; m++) {
				uint16_t line[64];

				aqz_t64_unpack(line, a->codes + ((block * a->groups + j) * m_all + m) * 8 * bits, bits);
				for (uint64_t i = 0; i < 64 && block * 64 + i < a->rows; i++)
					memcpy(codes + (((block * 64 + i) * a->groups + j) * m_all + m) * code_bytes, &line[i], code_bytes);
			}
	return codes;
}

static void work(void *user, unsigned i, cudaStream_t stream)
{
	const job *j = user;
	published_product p = j->p;

	p.codes = j->codes + i % j->n_copies * j->codes_bytes;
	BENCH_CUDA(published_launch(&p, j->n_multiprocessors, stream));
}

/* Of the first rows, relative, against binary64. */
static double difference(const aqz_additive *a, const void *x_device, const void *y_device)
{
	const uint64_t rows = aqz_min(a->rows, CHECKED_ROWS);
	uint16_t *half = malloc((size_t)(a->cols + rows) * 2);
	float *x = malloc((size_t)a->cols * sizeof *x), *y = malloc((size_t)rows * sizeof *y);
	float *w = malloc((size_t)(rows * a->cols) * sizeof *w);
	double error = 0, size = 0;

	BENCH_CUDA(cudaMemcpy(half, x_device, (size_t)a->cols * 2, cudaMemcpyDeviceToHost));
	aqz_convert(x, AQZ_F32, half, AQZ_F16, (size_t)a->cols, NULL);
	BENCH_CUDA(cudaMemcpy(half, y_device, (size_t)rows * 2, cudaMemcpyDeviceToHost));
	aqz_convert(y, AQZ_F32, half, AQZ_F16, (size_t)rows, NULL);
	BENCH_AQZ(aqz_decode_additive(w, AQZ_F32, a, 0, rows, err));
	for (uint64_t i = 0; i < rows; i++) {
		double due = 0;

		for (uint64_t k = 0; k < a->cols; k++)
			due += (double)w[i * a->cols + k] * (double)x[k];
		error += (due - (double)y[i]) * (due - (double)y[i]);
		size += due * due;
	}
	free(half), free(x), free(y), free(w);
	return sqrt(error / size);
}

static void *send(const void *p, size_t n)
{
	void *device = bench_device(n);

	BENCH_CUDA(cudaMemcpy(device, p, n, cudaMemcpyHostToDevice));
	return device;
}

void published_measure(double copy, double cublas, const bench_layer *layer, const void *x, void *y)
{
	const aqz_additive *a = &layer->a;
	const bool two = a->scheme.n_codebooks == 2 && a->scheme.code_bits == 8;
	const bool one = a->scheme.n_codebooks == 1 && a->scheme.code_bits == 16;
	job j = {.n_copies = layer->n_copies};
	uint8_t *codes;
	float *scales;
	int device, processors;
	bench_times t;

	if ((!two && !one) || a->scheme.in_group != 8 || a->scheme.out_group != 1 || a->cols % 64 != 0 ||
		a->codebook_dtype != AQZ_F16)
		return;
	BENCH_CUDA(published_prepare());
	BENCH_CUDA(cudaGetDevice(&device));
	BENCH_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
	j.n_multiprocessors = (uint32_t)processors;
	codes = unpack(a);
	j.codes_bytes = (size_t)a->rows * a->groups * 2;
	j.codes = bench_device(j.codes_bytes * j.n_copies);
	for (unsigned i = 0; i < j.n_copies; i++)
		BENCH_CUDA(cudaMemcpy(j.codes + i * j.codes_bytes, codes, j.codes_bytes, cudaMemcpyHostToDevice));
	scales = malloc((size_t)a->rows * sizeof *scales);
	aqz_convert(scales, AQZ_F32, a->scales, a->scale_dtype, (size_t)a->rows, NULL);
	if (a->scale_dtype == AQZ_F32)
		memcpy(scales, a->scales, (size_t)a->rows * sizeof *scales);
	j.p = (published_product){.x = x, .y = y, .rows = (uint32_t)a->rows, .cols = (uint32_t)a->cols,
		.n_codebooks = a->scheme.n_codebooks};
	j.p.codebooks = send(a->codebooks, aqz_codewords(&a->scheme) * 16);
	j.p.scales = send(scales, (size_t)a->rows * sizeof *scales);
	t = bench_measure(work, &j, j.n_copies < 8 ? 8 / j.n_copies * j.n_copies : j.n_copies);
	BENCH_CUDA(cudaDeviceSynchronize());
	{
		const double error = difference(a, x, y);

		printf("  %-22s n %-3u %9.2f us %9.2f us best %9.2f us single %6.2fx cuBLAS %6.0f GB/s %5.1f %% of copy"
			"  error %.1e%s\n", two ? "published design 2x8" : "published design 1x16", 1u, t.graph * 1e6,
			t.least * 1e6,
			t.single * 1e6, cublas / t.graph, (double)j.codes_bytes / t.graph * 1e-9,
			(double)j.codes_bytes / t.graph / copy * 100, error, error < 1e-2 ? "" : "  WRONG");
	}
	fflush(stdout);
	BENCH_CUDA(cudaFree((void *)(uintptr_t)j.p.codebooks));
	BENCH_CUDA(cudaFree((void *)(uintptr_t)j.p.scales));
	BENCH_CUDA(cudaFree(j.codes));
	free(codes), free(scales);
}
