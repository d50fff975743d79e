/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: the same products by other ways, and what memory gives. Threads have rows each. */
#include <cblas.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define BLOCK 64
/* Where the system does not say. */
#define CACHE_BYTES (UINT64_C(32) * 1024 * 1024)

void bench_sgemv(
	float *y, const float *w, const float *x, uint64_t rows, uint64_t cols, unsigned n_threads)
{
	openblas_set_num_threads((int)n_threads);
	cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)rows, (int)cols, 1, w, (int)cols, x, 1, 0, y, 1);
	openblas_set_num_threads(1);
}

/* ---- bfloat16: a 32-bit word holds two, the first in its low half; either becomes binary32 by 16 zeros below it. */

typedef uint32_t words __attribute__((vector_size(64), aligned(4), may_alias));
typedef float floats __attribute__((vector_size(64), may_alias));
enum { WORDS = 16, TOGETHER = 4 };

static float tail_of(const uint16_t *w, const uint16_t *x, uint64_t begin, uint64_t end)
{
	float sum = 0;

	for (uint64_t k = begin; k < end; k++) {
		const uint32_t bits[2] = {(uint32_t)w[k] << 16, (uint32_t)x[k] << 16};
		float values[2];

		memcpy(values, bits, sizeof values);
		sum += values[0] * values[1];
	}
	return sum;
}

/* n rows, at most TOGETHER, share what is read of x. */
INLINE void bf16_rows(float *y, const uint16_t *w, const uint16_t *x, unsigned n, uint64_t cols)
{
	const uint64_t whole = cols / (2 * WORDS) * (2 * WORDS);
	floats sums[TOGETHER] = {{0}};

	for (uint64_t k = 0; k < whole; k += 2 * WORDS) {
		const words pair = *(const words *)(x + k);
		const words low = pair << 16, high = pair & 0xffff0000;

		for (unsigned i = 0; i < n; i++) {
			const words v = *(const words *)(w + i * cols + k);

			sums[i] += (floats)(v << 16) * (floats)low;
			sums[i] += (floats)(v & 0xffff0000) * (floats)high;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		y[i] = tail_of(w + i * cols, x, whole, cols);
		for (unsigned k = 0; k < WORDS; k++)
			y[i] += sums[i][k];
	}
}

typedef void rows_fn(float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols);

INLINE void bf16_block(float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols)
{
	uint64_t i = 0;

	for (; i + TOGETHER <= rows; i += TOGETHER)
		bf16_rows(y + i, w + i * cols, x, TOGETHER, cols);
	for (; i < rows; i++)
		bf16_rows(y + i, w + i * cols, x, 1, cols);
}

static void bf16_plain(float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols)
{
	bf16_block(y, w, x, rows, cols);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void bf16_avx2(
	float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols)
{
	bf16_block(y, w, x, rows, cols);
}

__attribute__((target("avx512f"))) static void bf16_avx512(
	float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols)
{
	bf16_block(y, w, x, rows, cols);
}

/* The processor's own products of pairs. */
__attribute__((target("avx512f,avx512bf16"))) static void bf16_pairs(
	float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols)
{
	const uint64_t whole = cols / (2 * WORDS) * (2 * WORDS);

	for (uint64_t i = 0; i < rows; i += TOGETHER) {
		const unsigned n = rows - i < TOGETHER ? (unsigned)(rows - i) : TOGETHER;
		const uint16_t *row[TOGETHER];
		__m512 sums[TOGETHER];

		/* Rows that are not there are the last one. */
		for (unsigned r = 0; r < TOGETHER; r++) {
			row[r] = w + (i + (r < n ? r : n - 1)) * cols;
			sums[r] = _mm512_setzero_ps();
		}
		for (uint64_t k = 0; k < whole; k += 2 * WORDS) {
			const __m512bh v = (__m512bh)_mm512_loadu_si512(x + k);

			for (unsigned r = 0; r < TOGETHER; r++)
				sums[r] = _mm512_dpbf16_ps(sums[r], (__m512bh)_mm512_loadu_si512(row[r] + k), v);
		}
		for (unsigned r = 0; r < n; r++)
			y[i + r] = _mm512_reduce_add_ps(sums[r]) + tail_of(row[r], x, whole, cols);
	}
}
#endif

static rows_fn *bf16_choose(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512bf16"))
		return bf16_pairs;
	if (__builtin_cpu_supports("avx512f"))
		return bf16_avx512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return bf16_avx2;
#endif
	return bf16_plain;
}

void bench_bf16_gemv(float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols,
	unsigned n_threads)
{
	rows_fn *kernel = bf16_choose();

	(void)n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (uint64_t i = 0; i < rows; i += BLOCK)
		kernel(y + i, w + i * cols, x, rows - i < BLOCK ? rows - i : BLOCK, cols);
}

/* ---- Tables */

/* Rows [begin, end). Inlined with a constant M, as numba compiles it. */
INLINE void lut_rows(const bench_lut *l, uint64_t begin, uint64_t end, unsigned n_codebooks)
{
	for (uint64_t i = begin; i < end; i++)
		l->y[i] = 0;
	for (uint64_t j = 0; j < l->groups; j++) {
		const float *tables = l->tables + j * n_codebooks * 256;
		const uint8_t *codes = l->codes + j * l->rows * n_codebooks;

		for (uint64_t i = begin; i < end; i++)
			for (unsigned m = 0; m < n_codebooks; m++)
				l->y[i] += tables[m * 256 + codes[i * n_codebooks + m]];
	}
	for (uint64_t i = begin; i < end; i++)
		l->y[i] *= l->scales[i];
}

void bench_lut_gemv(const bench_lut *l, unsigned n_threads)
{
	const unsigned n_codebooks = l->scheme->n_codebooks;
	const int n = (int)n_codebooks * 256, in_group = l->scheme->in_group;

	openblas_set_num_threads((int)n_threads);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)l->groups, n, in_group, 1, l->x,
		in_group, l->codebooks, in_group, 0, l->tables, n);
	openblas_set_num_threads(1);
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (unsigned t = 0; t < n_threads; t++) {
		const uint64_t begin = l->rows * t / n_threads, end = l->rows * (t + 1) / n_threads;

		if (n_codebooks == 1)
			lut_rows(l, begin, end, 1);
		else if (n_codebooks == 2)
			lut_rows(l, begin, end, 2);
		else if (n_codebooks == 4)
			lut_rows(l, begin, end, 4);
		else
			lut_rows(l, begin, end, n_codebooks);
	}
}

/* ---- Memory */

uint64_t bench_read_memory(const uint64_t *w, size_t n, unsigned n_threads)
{
	uint64_t sum = 0;

	(void)n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(+ : sum)
	for (size_t i = 0; i < n; i += 8) {
		const words *line = (const words *)(w + i);

		sum += (*line)[0] ^ (*line)[WORDS - 1];
	}
	return sum;
}

void bench_write_memory(uint64_t *w, size_t n, unsigned n_threads)
{
	(void)n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (unsigned t = 0; t < n_threads; t++) {
		const size_t begin = n * t / n_threads, end = n * (t + 1) / n_threads;

		memset(w + begin, (int)t + 1, (end - begin) * sizeof *w);
	}
}

static uint64_t number_of(const char *path)
{
	char text[64] = "";
	uint64_t bytes = 0;
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return 0;
	if (fgets(text, sizeof text, f) != NULL) {
		text[strcspn(text, "\n")] = '\0';
		/* "32768K"; of a list of processors only the first counts. */
		text[strcspn(text, ",-")] = '\0';
		if (!cli_parse_bytes(&bytes, text))
			bytes = 0;
	}
	fclose(f);
	return bytes;
}

/* Each cache is counted with the first of the processors that share it. */
uint64_t bench_cache_bytes(void)
{
	const long n = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t sum = 0;

	for (long i = 0; i < n; i++) {
		char path[96];
		const int length = snprintf(
			path, sizeof path, "/sys/devices/system/cpu/cpu%ld/cache/index3/shared_cpu_list", i);

		if (number_of(path) != (uint64_t)i)
			continue;
		snprintf(path + length - (int)strlen("shared_cpu_list"),
			sizeof path - (size_t)length + strlen("shared_cpu_list"), "size");
		sum += number_of(path);
	}
	return sum != 0 ? sum : CACHE_BYTES;
}
