/* SPDX-License-Identifier: Apache-2.0 */
/* Products and reconstruction on a GPU beside cublasGemmEx, a copy of the device's memory, and a plain reproduction of
 * the published kernel design (bench/gpu/published.h).
 *
 *	bench/gpu/products [quick | full | plans] [SECONDS]	stops when so many seconds are over (default 300)
 *
 * plans: only every plan that products consider, one against the other (bench/gpu/tune.h); quick and full do that, too,
 * if there is time.
 *
 * Weights lie in several copies that take turns, together far beyond the L2 cache. Times are medians of 51 graphs.
 * Each line's result is compared with cuBLAS's product of the reconstructed layer. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/gpu/archives.h"
#include "bench/gpu/bench_gpu.h"
#include "bench/gpu/published.h"
#include "bench/gpu/rates.h"
#include "bench/gpu/tune.h"
#include "gpu/gpu.h"

#define SPREAD_BYTES (UINT64_C(256) << 20)
#define MOST_COLUMNS 512

typedef struct shape {
	uint64_t rows, cols;
	bool quick;
} shape;

static const shape shapes[] = {
	{28672, 8192, true}, {11008, 4096, true}, {4096, 4096, true}, {8192, 28672, true},
	{4096, 11008, false}, {13824, 5120, false}, {8192, 8192, false}, {1024, 8192, false}, {14336, 4096, false},
	{4096, 14336, false}, {1024, 4096, false}, {6144, 4096, false}, {28672, 4096, false},
};
static const char *const schemes[] = {"2x8g8", "4x8g8", "8x8g32", "1x8g8", "1x16g8", "1x12g8"};
static const unsigned columns[] = {1, 2, 4, 8, 16, 32, 64, 512};
#define COUNT(a) (sizeof(a) / sizeof *(a))

typedef struct bench {
	aqz_gpu *gpu;
	double copy;          /* bytes a second, read and written */
	time_t end;
	void *x, *y, *y_due;  /* [MOST_COLUMNS][most rows or cols], F16 */
	void *workspace;
	uint64_t workspace_bytes;
	void *blas;           /* workspace of cuBLAS: that of products keeps counters */
	void *dense;          /* copies of a layer in F16 */
	uint64_t dense_bytes;
	double cublas[COUNT(columns)]; /* of this shape, seconds */
} bench;

static bool in_time(const bench *b)
{
	return time(NULL) < b->end;
}

/* ---- Yardsticks */

typedef struct copy_job {
	uint8_t *from, *to;
	size_t n;
} copy_job;

static void copy_work(void *user, unsigned i, cudaStream_t stream)
{
	const copy_job *j = user;

	(void)i;
	BENCH_CUDA(cudaMemcpyAsync(j->to, j->from, j->n, cudaMemcpyDeviceToDevice, stream));
}

static void measure_copy(bench *b)
{
	copy_job j = {.n = (size_t)1 << 30};
	bench_times t;

	j.from = bench_device(j.n);
	j.to = bench_device(j.n);
	t = bench_measure(copy_work, &j, 2);
	b->copy = 2 * (double)j.n / t.graph;
	printf("copy        %.0f GB/s (1 GiB, read and written)\n", b->copy * 1e-9);
	BENCH_CUDA(cudaFree(j.from));
	BENCH_CUDA(cudaFree(j.to));
}

typedef struct dense_job {
	const bench *b;
	const shape *s;
	unsigned n, n_copies;
} dense_job;

static void dense_work(void *user, unsigned i, cudaStream_t stream)
{
	const dense_job *j = user;
	const uint64_t rows = j->s->rows, cols = j->s->cols;
	const uint8_t *w = (const uint8_t *)j->b->dense + i % j->n_copies * rows * cols * 2;

	BENCH_AQZ(aqz_blas_product(j->b->gpu->blas, j->b->y, rows, w, cols, (uint32_t)rows, (uint32_t)cols,
		j->b->x, cols, j->n, AQZ_F16, j->b->blas, stream, err));
}

/* ---- Ours */

typedef struct layer_job {
	const bench *b;
	const bench_layer *l;
	unsigned n;
} layer_job;

static void product_work(void *user, unsigned i, cudaStream_t stream)
{
	const layer_job *j = user;
	const aqz_additive *a = &j->l->a;

	BENCH_AQZ(aqz_gpu_multiply(j->b->y, a->rows, j->l->copies[i % j->l->n_copies], j->b->x, a->cols, j->n, AQZ_F16,
		j->b->workspace, j->b->workspace_bytes, stream, err));
}

static void decode_work(void *user, unsigned i, cudaStream_t stream)
{
	const layer_job *j = user;
	const aqz_additive *a = &j->l->a;

	BENCH_AQZ(aqz_gpu_reconstruct(j->b->dense, a->cols, AQZ_F16, j->l->copies[i % j->l->n_copies], 0, a->rows, stream,
		err));
}

static void line(const bench *b, const char *what, unsigned n, bench_times t, double cublas, uint64_t bytes,
	double error)
{
	printf("  %-22s n %-3u %9.2f us %9.2f us best %9.2f us single %6.2fx cuBLAS %6.0f GB/s %5.1f %% of copy", what, n,
		t.graph * 1e6, t.least * 1e6, t.single * 1e6, cublas / t.graph, (double)bytes / t.graph * 1e-9,
		(double)bytes / t.graph / b->copy * 100);
	if (error >= 0)
		printf("  error %.1e%s", error, error < 5e-3 ? "" : "  WRONG");
	printf("\n");
	fflush(stdout);
}

/* The product of the first copy by another way, for comparison. */
static void expect(const bench *b, const bench_layer *l, const shape *s, unsigned n)
{
	layer_job j = {b, l, n};
	const dense_job d = {b, s, n, 1};

	decode_work(&j, 0, NULL);
	BENCH_AQZ(aqz_blas_product(b->gpu->blas, b->y_due, s->rows, b->dense, s->cols, (uint32_t)s->rows, (uint32_t)s->cols,
		b->x, s->cols, d.n, AQZ_F16, b->blas, NULL, err));
	BENCH_CUDA(cudaDeviceSynchronize());
}

static unsigned per_graph(unsigned n_copies)
{
	return n_copies < 8 ? 8 / n_copies * n_copies : n_copies;
}

static void measure_layer(bench *b, const shape *s, const char *scheme, bool skewed, bool all)
{
	bench_layer l;
	layer_job j = {b, &l, 1};
	char what[32];

	bench_layer_make(&l, b->gpu, scheme, s->rows, s->cols, SPREAD_BYTES, skewed);
	snprintf(what, sizeof what, "%s%s", scheme, skewed ? " skewed" : "");
	for (unsigned i = 0; i < COUNT(columns) && (all || i == 0) && in_time(b); i++) {
		bench_times t;

		j.n = columns[i];
		if (aqz_gpu_workspace_bytes(l.copies[0], j.n) > b->workspace_bytes)
			bench_die("workspace", "too small");
		expect(b, &l, s, j.n);
		product_work(&j, 0, NULL);
		BENCH_CUDA(cudaDeviceSynchronize());
		t = bench_measure(product_work, &j, per_graph(l.n_copies));
		product_work(&j, 0, NULL);
		BENCH_CUDA(cudaDeviceSynchronize());
		line(b, what, j.n, t, b->cublas[i], l.codes_bytes,
			bench_difference(b->y, b->y_due, s->rows * j.n));
	}
	if (in_time(b)) {
		const bench_times t = bench_measure(decode_work, &j, per_graph(l.n_copies));

		snprintf(what, sizeof what, "%s%s rows", scheme, skewed ? " skewed" : "");
		line(b, what, 0, t, 0, l.codes_bytes + s->rows * s->cols * 2, -1);
	}
	if (in_time(b) && !skewed)
		published_measure(b->copy, b->cublas[0], &l, b->x, b->y);
	bench_layer_free(&l);
}

static void measure_shape(bench *b, const shape *s, bool full)
{
	const uint64_t dense = s->rows * s->cols * 2;
	dense_job d = {b, s, 1, (unsigned)(b->dense_bytes / dense)};

	if (d.n_copies > SPREAD_BYTES / dense + 1)
		d.n_copies = (unsigned)(SPREAD_BYTES / dense) + 1;
	printf("%llu x %llu\n", (unsigned long long)s->rows, (unsigned long long)s->cols);
	for (unsigned i = 0; i < COUNT(columns) && in_time(b); i++) {
		bench_times t;

		d.n = columns[i];
		t = bench_measure(dense_work, &d, per_graph(d.n_copies));
		b->cublas[i] = t.graph;
		line(b, "cuBLAS F16", d.n, t, t.graph, dense, -1);
	}
	for (unsigned i = 0; i < COUNT(schemes) && in_time(b); i++)
		measure_layer(b, s, schemes[i], false, full || i == 0);
	if (full && in_time(b))
		measure_layer(b, s, "1x16g8", true, false);
}

static void open_bench(bench *b)
{
	const aqz_gpu_options opt = {.struct_size = sizeof opt, .cublas = true};
	const uint64_t most = 28672;
	uint64_t state = 3;
	float *x = malloc(MOST_COLUMNS * most * sizeof *x);
	uint16_t *h = malloc(MOST_COLUMNS * most * sizeof *h);
	aqz_gpu_info info;

	BENCH_AQZ(aqz_gpu_get(&info, 0, err));
	BENCH_AQZ(aqz_gpu_open(&b->gpu, 0, &opt, err));
	if (!aqz_gpu_has_cublas(b->gpu))
		bench_die("cuBLAS", "libcublas is not found");
	printf("device      %s, %u multiprocessors, %.1f GiB\n", info.name, info.n_multiprocessors,
		(double)info.memory_bytes / (1 << 30));
	for (uint64_t i = 0; i < MOST_COLUMNS * most; i++) /* about normal, by the sum of four */
		x[i] = (float)((int)(bench_random(&state) >> 56) + (int)(bench_random(&state) >> 56) +
				   (int)(bench_random(&state) >> 56) + (int)(bench_random(&state) >> 56) - 510) / 148;
	aqz_convert(h, AQZ_F16, x, AQZ_F32, MOST_COLUMNS * most, NULL);
	b->x = bench_device(MOST_COLUMNS * most * 2);
	BENCH_CUDA(cudaMemcpy(b->x, h, MOST_COLUMNS * most * 2, cudaMemcpyHostToDevice));
	b->y = bench_device(MOST_COLUMNS * most * 2);
	b->y_due = bench_device(MOST_COLUMNS * most * 2);
	b->workspace_bytes = UINT64_C(512) << 20;
	b->workspace = bench_device(b->workspace_bytes);
	b->blas = bench_device(AQZ_BLAS_WORKSPACE_BYTES);
	b->dense_bytes = UINT64_C(1) << 30;
	b->dense = bench_device(b->dense_bytes);
	/* Not zeros: products of those take less power. */
	for (uint64_t at = 0; at < b->dense_bytes; at += MOST_COLUMNS * most * 2)
		BENCH_CUDA(cudaMemcpy((uint8_t *)b->dense + at, h, aqz_min(MOST_COLUMNS * most * 2, b->dense_bytes - at),
			cudaMemcpyHostToDevice));
	free(x);
	free(h);
}

static void measure_plans(const bench *b)
{
	const tune_setup s = {b->gpu, b->x, b->y, b->y_due, b->workspace, b->workspace_bytes, b->end};

	tune_measure(&s);
}

int main(int argc, char **argv)
{
	const bool full = argc > 1 && strcmp(argv[1], "full") == 0, plans = argc > 1 && strcmp(argv[1], "plans") == 0;
	bench b = {.end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 300)};

	open_bench(&b);
	measure_copy(&b);
	if (!plans) {
		rates_measure(b.gpu->info.n_multiprocessors);
		for (unsigned i = 0; i < COUNT(shapes) && in_time(&b); i++)
			if (full || shapes[i].quick)
				measure_shape(&b, &shapes[i], full || i == 0);
		if (in_time(&b))
			archives_measure(b.gpu);
	}
	if (in_time(&b))
		measure_plans(&b);
	if (!in_time(&b))
		printf("the time was over before all was measured\n");
	aqz_gpu_close(b.gpu);
	return 0;
}
