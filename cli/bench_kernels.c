/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: times of products and of reconstruction for the shapes of linear layers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_layer.h"

/* Tables are measured by how the time of a product goes with rows: from a quarter of all, if it is so many. */
#define FEW_ROWS 256
/* Products by other ways differ by this much at most, or something is wrong: bfloat16 rounds by 2^-9, tables of 8 bits
 * by 1 %. */
#define MAX_ERROR 0.05

void bench_kernels_begin(bench_kernels *b)
{
	const unsigned n = bench_threads(b->common->n_threads);

	b->n_pairs = n > 1 ? 2 : 1;
	b->n_threads[0] = 1;
	b->n_threads[1] = n;
	b->cache_bytes = bench_cache_bytes();
}

uint64_t bench_kernels_memory(const bench_kernels *b)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < b->shapes.n; i++) {
		const bench_sizes z = bench_sizes_of(b, &b->shapes.list[i]);

		if (z.total > most)
			most = z.total;
	}
	return most;
}

/* ---- A layer at work */

static const uint8_t *copy_of(const bench_layer *l, unsigned i)
{
	return l->big + i % l->n_copies * l->copy_bytes;
}

/* What is in the first copy goes to all. */
static void make_copies(bench_layer *l, uint64_t bytes)
{
	l->copy_bytes = bytes;
	l->n_copies = bench_copies(bytes, l->b->cache_bytes);
	for (uint64_t i = 1; i < l->n_copies; i++)
		memcpy(l->big + i * bytes, l->big, (size_t)bytes);
}

static aqz_status run_read(void *user, unsigned i, aqz_error *err)
{
	bench_layer *l = user;

	(void)i, (void)err;
	l->sum += bench_read_memory(
		(const uint64_t *)(const void *)l->big, (size_t)l->result->memory_bytes / 8, l->n_threads);
	return AQZ_OK;
}

static aqz_status run_write(void *user, unsigned i, aqz_error *err)
{
	const bench_layer *l = user;

	(void)i, (void)err;
	bench_write_memory((uint64_t *)(void *)l->big, (size_t)l->result->memory_bytes / 8, l->n_threads);
	return AQZ_OK;
}

static aqz_status run_sgemv(void *user, unsigned i, aqz_error *err)
{
	const bench_layer *l = user;

	(void)err;
	bench_sgemv(l->y, (const float *)(const void *)copy_of(l, i), l->x, l->shape->rows,
		l->shape->cols, l->n_threads);
	return AQZ_OK;
}

static aqz_status run_bf16(void *user, unsigned i, aqz_error *err)
{
	const bench_layer *l = user;

	(void)err;
	bench_bf16_gemv(l->y, (const uint16_t *)(const void *)copy_of(l, i), l->x16, l->shape->rows,
		l->shape->cols, l->n_threads);
	return AQZ_OK;
}

static aqz_status run_lut(void *user, unsigned i, aqz_error *err)
{
	const bench_layer *l = user;
	const bench_lut lut = {&l->b->scheme, copy_of(l, i), l->codebooks, l->scales, l->x, l->tables,
		l->y, l->shape->rows, l->z.groups};

	(void)err;
	bench_lut_gemv(&lut, l->n_threads);
	return AQZ_OK;
}

/* For one column or eight, and for a quarter of the rows, which tells what tables take. */
static aqz_status run_product(void *user, unsigned i, aqz_error *err)
{
	const bench_layer *l = user;
	aqz_matrix_options opt = {.struct_size = sizeof opt,
		.row_begin = i % l->z.n_codes * l->z.tall_rows,
		.table_bits = l->b->table_bits,
		.n_threads = l->n_threads,
		.scratch = l->scratch};

	opt.row_end = opt.row_begin + (l->what == BENCH_TABLES ? l->few_rows : l->shape->rows);
	return aqz_matrix_multiply(l->y, l->shape->rows, l->matrix, l->x, l->x_ld,
		l->what == BENCH_PRODUCT_8 ? BENCH_COLUMNS : 1, &opt, err);
}

/* Each thread has whole row blocks: all in one call, or in the cache, one after the other at the same place. */
static aqz_status run_decode(void *user, unsigned i, aqz_error *err)
{
	const bench_layer *l = user;
	const uint64_t first = i % l->z.n_codes * l->z.tall_rows, row_bytes = 2 * l->shape->cols;
	const uint64_t n_blocks = l->z.tall_rows / l->z.block_rows;
	const bool in_cache = l->what == BENCH_DECODE_CACHE;
	int failed = 0;

#pragma omp parallel for num_threads(l->n_threads) schedule(static) reduction(+ : failed)
	for (unsigned t = 0; t < l->n_threads; t++) {
		const uint64_t begin = n_blocks * t / l->n_threads, end = n_blocks * (t + 1) / l->n_threads;
		uint8_t *dst = l->big + begin * l->z.block_rows * row_bytes;

		const uint64_t step = in_cache ? 1 : end - begin;

		for (uint64_t k = begin; k < end; k += step) {
			const uint64_t row = first + k * l->z.block_rows;

			failed += aqz_matrix_decode(
						  dst, AQZ_BF16, l->matrix, row, row + step * l->z.block_rows, NULL) != AQZ_OK;
		}
	}
	return failed == 0 ? AQZ_OK : cli_fail(err, AQZ_E_ARGUMENT, "", "decoding failed");
}

static const char *const names[BENCH_N_WHAT] = {"read", "write", "product", "tables", "8 columns",
	"sgemv", "bfloat16", "scalar tables", "decode", "decode in cache"};

/* On one thread and on all. */
static aqz_status measure(bench_layer *l, enum bench_what what, bench_run_fn *run, aqz_error *err)
{
	bench_kernels *b = l->b;
	bench_time *time = l->result->time[what];
	aqz_status status = AQZ_OK;
	char label[128];

	l->what = what;
	snprintf(label, sizeof label, "%llux%llu %s", (unsigned long long)l->shape->rows,
		(unsigned long long)l->shape->cols, names[what]);
	cli_progress_item(b->progress, label, 0, 0);
	if (!cli_progress_tick(b->progress, b->progress->done + 1, BENCH_N_WHAT * b->shapes.n))
		return AQZ_E_CANCELLED;
	for (unsigned t = 0; status == AQZ_OK && t < b->n_pairs; t++) {
		l->n_threads = b->n_threads[t];
		status = bench_measure(&time[t], run, l, b->seconds, err);
	}
	return status;
}

static aqz_status check(bench_layer *l, aqz_error *err)
{
	double sum = 0, norm = 0, error;

	for (uint64_t i = 0; i < l->shape->rows; i++) {
		const double d = (double)l->y[i] - l->wanted[i];

		sum += d * d;
		norm += (double)l->wanted[i] * l->wanted[i];
	}
	error = l->result->errors[l->what] = sqrt(sum / norm);
	/* All of few sums may happen to be small. */
	if (error <= MAX_ERROR || l->shape->rows < BENCH_BLOCK)
		return AQZ_OK;
	return cli_fail(err, AQZ_E_CORRUPT, "", "%s: the product is wrong: its relative error is %g",
		names[l->what], error);
}

/* What tables take is what a product of no rows would: the line through the times of all rows and of a quarter. */
static void extrapolate(const bench_layer *l, bench_time *tables, const bench_time *product)
{
	const double times = (double)l->shape->rows / (double)l->few_rows;
	const double best = (times * tables->best - product->best) / (times - 1);
	const double median = (times * tables->median - product->median) / (times - 1);

	tables->best = best > 0 ? best : 0;
	tables->median = median > 0 ? median : 0;
}

static aqz_status measure_others(bench_layer *l, aqz_error *err)
{
	const uint64_t n = l->shape->rows * l->shape->cols;
	const unsigned n_codebooks = l->b->scheme.n_codebooks;
	aqz_status status = measure(l, BENCH_WRITE, run_write, err);

	if (status == AQZ_OK)
		status = measure(l, BENCH_READ, run_read, err);
	if (status == AQZ_OK)
		status = aqz_matrix_decode(l->big, AQZ_F32, l->matrix, 0, l->shape->rows, err);
	if (status == AQZ_OK) {
		make_copies(l, sizeof(float) * n);
		status = measure(l, BENCH_SGEMV, run_sgemv, err);
	}
	if (status == AQZ_OK) {
		memcpy(l->wanted, l->y, (size_t)l->shape->rows * sizeof *l->y);
		status = aqz_matrix_decode(l->big, AQZ_BF16, l->matrix, 0, l->shape->rows, err);
	}
	if (status == AQZ_OK) {
		make_copies(l, sizeof(uint16_t) * n);
		status = measure(l, BENCH_BF16, run_bf16, err);
	}
	if (status == AQZ_OK)
		status = check(l, err);
	if (status != AQZ_OK || !bench_has_lut(&l->b->scheme))
		return status;
	/* A line of T64 holds the codes of 64 rows for a group and codebook. */
	for (uint64_t j = 0; j < l->z.groups; j++)
		for (uint64_t i = 0; i < l->shape->rows; i++)
			for (unsigned m = 0; m < n_codebooks; m++)
				l->big[(j * l->shape->rows + i) * n_codebooks + m] =
					l->a.codes[((i / BENCH_BLOCK * l->z.groups + j) * n_codebooks + m) * BENCH_BLOCK +
						i % BENCH_BLOCK];
	make_copies(l, l->shape->rows * l->z.groups * n_codebooks);
	status = measure(l, BENCH_LUT, run_lut, err);
	return status == AQZ_OK ? check(l, err) : status;
}

static aqz_status measure_ours(bench_layer *l, aqz_error *err)
{
	bench_pair *time = l->result->time;
	aqz_matrix_options opt = {
		.struct_size = sizeof opt, .row_end = l->shape->rows, .table_bits = l->b->table_bits};
	char few_way[AQZ_MATRIX_WAY_BYTES];
	aqz_status status = measure(l, BENCH_PRODUCT, run_product, err);

	aqz_matrix_way(l->result->way, l->matrix, &opt);
	if (status == AQZ_OK)
		status = check(l, err);
	if (status == AQZ_OK)
		status = measure(l, BENCH_PRODUCT_8, run_product, err);
	if (status == AQZ_OK)
		status = check(l, err);
	/* Whole row blocks, which must go the same way. */
	opt.row_end = l->few_rows = l->shape->rows / 4 / l->z.block_rows * l->z.block_rows;
	aqz_matrix_way(few_way, l->matrix, &opt);
	if (status == AQZ_OK && l->few_rows >= FEW_ROWS && strcmp(few_way, l->result->way) == 0) {
		status = measure(l, BENCH_TABLES, run_product, err);
		for (unsigned t = 0; status == AQZ_OK && t < l->b->n_pairs; t++)
			extrapolate(l, &time[BENCH_TABLES][t], &time[BENCH_PRODUCT][t]);
	}
	if (status == AQZ_OK)
		status = measure(l, BENCH_DECODE, run_decode, err);
	if (status == AQZ_OK)
		status = measure(l, BENCH_DECODE_CACHE, run_decode, err);
	return status;
}

aqz_status bench_kernels_run(bench_kernels *b, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (unsigned i = 0; status == AQZ_OK && i < b->shapes.n; i++) {
		bench_layer l;

		status = bench_layer_make(&l, b, i, err);
		if (status == AQZ_OK)
			status = measure_others(&l, err);
		if (status == AQZ_OK)
			status = measure_ours(&l, err);
		bench_layer_free(&l);
	}
	return status;
}
