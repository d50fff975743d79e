/* SPDX-License-Identifier: Apache-2.0 */
/* Reconstruction of additive weights from T64 codes, against the stores that it must do: weights a second of one core
 * into a block of 64 rows that stays in the cache and into a whole matrix, and of all cores into the matrix; and bytes
 * stored a second, next to a loop that only stores and to memset, measured in the same rounds.
 * usage: reconstruct [-a] [-r ROWS] [-c COLS] [-n ROUNDS] [SCHEME...]; -a: every kernel that this machine runs */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "codec/additive.h"

static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_F16, AQZ_BF16};

typedef struct layer {
	aqz_tables tables;
	uint64_t rows, cols, block_bytes;
	uint8_t *lines;
	float *values, scales[AQZ_TILE_ROWS];
	uint8_t *dst; /* the matrix in F32 */
	aqz_decode_tile_fn *kernel;
} layer;

static uint64_t random_state = 1;

static uint64_t random_bits(void)
{ /* splitmix64 */
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* This thread's time, so that others on the machine count only by what they take of caches and memory. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void decode_block(const layer *l, uint64_t block, uint8_t *dst, bool stream)
{
	const uint64_t row = block * AQZ_TILE_ROWS;

	aqz_decode_block(dst, l->kernel, &l->tables, l->lines + block * l->block_bytes, l->cols, 0,
		(unsigned)aqz_min(AQZ_TILE_ROWS, l->rows - row), l->scales, stream);
}

static uint64_t n_blocks(const layer *l)
{
	return aqz_ceil_div(l->rows, AQZ_TILE_ROWS);
}

static size_t row_block_bytes(const layer *l)
{
	return (size_t)(AQZ_TILE_ROWS * l->cols) * aqz_dtype_bits(l->tables.dtype) / 8;
}

/* ---- What is measured: each does all row blocks once. */

static void in_cache(const layer *l)
{
	for (uint64_t b = 0; b < n_blocks(l); b++)
		decode_block(l, b, l->dst, false);
}

static void to_memory(const layer *l)
{
	for (uint64_t b = 0; b < n_blocks(l); b++)
		decode_block(l, b, l->dst + b * row_block_bytes(l), true);
}

static void to_memory_all(const layer *l)
{
#pragma omp parallel for schedule(dynamic, 4)
	for (uint64_t b = 0; b < n_blocks(l); b++)
		decode_block(l, b, l->dst + b * row_block_bytes(l), true);
}

/* As many bytes, with nothing to compute. */
static void store(uint8_t *dst, size_t n, int value)
{
	typedef int eight __attribute__((vector_size(32), may_alias));
	const eight v = (eight){0} + value;

	for (size_t i = 0; i + 64 <= n; i += 64) {
		*(eight *)(dst + i) = v;
		*(eight *)(dst + i + 32) = v;
		/* Not a call of memset, which stores in another way. */
		__asm__ volatile("" : : : "memory");
	}
}

static void store_in_cache(const layer *l)
{
	for (uint64_t b = 0; b < n_blocks(l); b++)
		store(l->dst, row_block_bytes(l), (int)b);
}

static void store_to_memory(const layer *l)
{
	for (uint64_t b = 0; b < n_blocks(l); b++)
		store(l->dst + b * row_block_bytes(l), row_block_bytes(l), (int)b);
}

static void store_to_memory_all(const layer *l)
{
#pragma omp parallel for schedule(dynamic, 4)
	for (uint64_t b = 0; b < n_blocks(l); b++)
		store(l->dst + b * row_block_bytes(l), row_block_bytes(l), (int)b);
}

static void memset_to_memory(const layer *l)
{
	memset(l->dst, (int)random_bits(), n_blocks(l) * row_block_bytes(l));
}

static const struct {
	void (*run)(const layer *l);
	bool all_cores;
} measured[] = {{in_cache, false}, {store_in_cache, false}, {to_memory, false},
	{store_to_memory, false}, {memset_to_memory, false}, {to_memory_all, true},
	{store_to_memory_all, true}};
enum { N_MEASURED = sizeof measured / sizeof *measured };

static void print_dtype(layer *l, const char *name, aqz_dtype dtype, unsigned n_rounds)
{
	const double n = (double)(l->rows * l->cols);
	double best[N_MEASURED], bytes;

	l->tables.dtype = dtype;
	bytes = n * aqz_dtype_bits(dtype) / 8;
	for (unsigned i = 0; i < N_MEASURED; i++)
		best[i] = INFINITY;
	for (unsigned round = 0; round < n_rounds; round++)
		for (unsigned i = 0; i < N_MEASURED; i++) {
			const double start = measured[i].all_cores ? omp_get_wtime() : now();

			measured[i].run(l);
			best[i] = fmin(best[i], (measured[i].all_cores ? omp_get_wtime() : now()) - start);
		}
	printf("%-12s %-4s %7.2f %6.1f %6.1f %8.2f %6.1f %6.1f %6.1f %4.0f %8.2f %6.1f %6.1f %4.0f\n",
		name, aqz_dtype_name(dtype), 1e-9 * n / best[0], 1e-9 * bytes / best[0],
		1e-9 * bytes / best[1], 1e-9 * n / best[2], 1e-9 * bytes / best[2], 1e-9 * bytes / best[3],
		1e-9 * bytes / best[4], 100 * best[3] / best[2], 1e-9 * n / best[5], 1e-9 * bytes / best[5],
		1e-9 * bytes / best[6], 100 * best[6] / best[5]);
	fflush(stdout);
}

static bool measure(
	const char *scheme, uint64_t rows, uint64_t cols, unsigned n_rounds, bool all_kernels)
{
	layer l = {.rows = rows, .cols = cols};
	aqz_scheme *s = &l.tables.scheme;
	const char *name;
	aqz_error err;
	bool ok = false;

	if (aqz_scheme_parse(s, scheme, &err) != AQZ_OK || s->codec != AQZ_CODEC_ADDITIVE ||
		s->out_group != 1) {
		fprintf(stderr, "reconstruct: '%s' is no additive scheme of single rows\n", scheme);
		return false;
	}
	const size_t n_values = aqz_codewords(s) * aqz_codeword(s);
	const uint64_t n_lines_bytes = aqz_additive_codes_bytes(s, rows, aqz_ceil_div(cols, s->in_group));

	l.block_bytes = aqz_additive_codes_bytes(s, AQZ_TILE_ROWS, aqz_ceil_div(cols, s->in_group));
	l.lines = aligned_alloc(64, (n_lines_bytes + 63) / 64 * 64);
	l.values = aligned_alloc(64, (n_values * sizeof(float) + 63) / 64 * 64);
	l.dst = aligned_alloc(4096, n_blocks(&l) * AQZ_TILE_ROWS * ((cols * 4 + 4095) / 4096 * 4096));
	if (l.lines == NULL || l.values == NULL || l.dst == NULL)
		goto out;
	for (uint64_t i = 0; i < n_lines_bytes; i++)
		l.lines[i] = (uint8_t)(random_bits() >> 56);
	for (size_t i = 0; i < n_values; i++) /* as binary16 values are */
		l.values[i] = (float)((int)(random_bits() >> 53) - 1024) / 1024;
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
		l.scales[i] = 0.01f + 0.0001f * (float)i;
	l.tables.values = l.values;
	l.tables.facts = aqz_table_look(l.values, s);
	l.kernel = aqz_decode_tile_choose(&l.tables);
	if (!all_kernels)
		for (unsigned d = 0; d < 3; d++)
			print_dtype(&l, scheme, dtypes[d], n_rounds);
	for (unsigned i = 0; all_kernels && (l.kernel = aqz_decode_tile_get(i, &name)) != NULL; i++)
		for (unsigned d = 0; d < 3; d++) {
			char text[64];

			snprintf(text, sizeof text, "%s %s", scheme, name);
			print_dtype(&l, text, dtypes[d], n_rounds);
		}
	ok = true;
out:
	if (!ok)
		fprintf(stderr, "reconstruct: no memory\n");
	free(l.lines);
	free(l.values);
	free(l.dst);
	return ok;
}

int main(int argc, char **argv)
{
	static char *schemes[] = {"1x8g8", "2x8g8", "3x8g8", "4x8g8", "8x8g8", "2x8g16", "8x8g32",
		"1x12g8", "2x12g8", "1x16g8", "2x16g8", "1x16g16"};
	uint64_t rows = 11008, cols = 4096;
	unsigned n_rounds = 7;
	bool ok = true, all_kernels = false;
	int option;

	while ((option = getopt(argc, argv, "ar:c:n:")) != -1)
		if (option == 'a')
			all_kernels = true;
		else if (option == 'r')
			rows = strtoull(optarg, NULL, 10);
		else if (option == 'c')
			cols = strtoull(optarg, NULL, 10);
		else if (option == 'n')
			n_rounds = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	if (rows == 0 || cols == 0 || rows > 1 << 20 || cols > 1 << 20)
		return 2;
	printf("%" PRIu64 " x %" PRIu64
		   " weights; Gw/s: 1e9 weights a second; GB/s stored by it, by a loop of stores, by "
		   "memset; %%: of the loop\n",
		rows, cols);
	printf("%-17s %-22s %-36s all %d cores, to memory\n", "", "one core, in cache",
		"one core, to memory", omp_get_max_threads());
	printf("%-17s %7s %6s %6s %8s %6s %6s %6s %4s %8s %6s %6s %4s\n", "", "Gw/s", "GB/s", "stores",
		"Gw/s", "GB/s", "stores", "memset", "%", "Gw/s", "GB/s", "stores", "%");
	if (optind == argc)
		for (size_t i = 0; i < sizeof schemes / sizeof *schemes && ok; i++)
			ok = measure(schemes[i], rows, cols, n_rounds, all_kernels);
	for (; optind < argc && ok; optind++)
		ok = measure(argv[optind], rows, cols, n_rounds, all_kernels);
	return ok ? 0 : 1;
}
