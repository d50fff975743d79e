/* SPDX-License-Identifier: Apache-2.0 */
/* Inside aqlmzip bench: the two things that it measures, what they are held against, and how time is taken. */
#ifndef AQZ_CLI_BENCH_H
#define AQZ_CLI_BENCH_H

#include "aqlmzip_gpu.h"
#include "cli/json.h"

/* ---- Time (bench_time.c) */

/* Seconds of several runs; n_runs 0: not measured. */
typedef struct bench_time {
	double best, median;
	unsigned n_runs;
} bench_time;

/* One run; i counts them from 0, so that copies can take turns. */
typedef aqz_status bench_run_fn(void *user, unsigned i, aqz_error *err);

/* Runs once to warm up, then at least BENCH_LEAST_RUNS times and for so many seconds. */
#define BENCH_LEAST_RUNS 5
aqz_status bench_measure(bench_time *out, bench_run_fn *run, void *user, double seconds, aqz_error *err);

/* So many threads; of 0, one for each processor that there is for us. */
unsigned bench_threads(unsigned n_threads);

/* xorshift64* (Vigna 2016), top 53 bits, in (0, 1): the same numbers everywhere. *state is never 0. */
uint64_t bench_random(uint64_t *state);
double bench_uniform(uint64_t *state);
void bench_gaussian(float *w, size_t n, double sigma, uint64_t seed);

/* ---- Encoding, decoding, files (bench_codec.c) */

typedef struct bench_codec {
	const cli_common *common;
	aqz_scheme scheme;
	int effort;
	uint64_t rows, cols;
	double seconds; /* for each measurement but encoding */
	cli_progress *progress;
	/* Results; rates per second. */
	uint64_t file_bytes;
	double encode_seconds, encode_weights, rel_mse, code_bits, decode_weights;
	double lossless_in, lossless_out, lossless_ratio, verify_bytes, copy_bytes;
} bench_codec;

/* Bytes of memory that it takes. */
uint64_t bench_codec_memory(const bench_codec *b);
aqz_status bench_codec_run(bench_codec *b, aqz_error *err);
void bench_codec_print(const bench_codec *b);
/* Adds the results to an object, which may be NULL. */
void bench_codec_json(json_t *root, const bench_codec *b);

/* ---- Shapes of linear layers (bench_shapes.c) */

#define BENCH_MAX_SHAPES 64

typedef struct bench_shape {
	const char *model, *layers; /* NULL for a shape of the user's */
	uint64_t rows, cols;
} bench_shape;

typedef struct bench_shapes {
	bench_shape list[BENCH_MAX_SHAPES];
	unsigned n;
} bench_shapes;

/* Reads ROWSxCOLS, at most 2^30 weights. */
bool bench_parse_size(uint64_t *rows, uint64_t *cols, const char *text, size_t n_bytes);
/* Fills *shapes from names of models and sizes with commas between; else a usage error of the parser's option. */
void bench_parse_shapes(bench_shapes *shapes, cli_parser *p, const char *text);

/* ---- Yardsticks (bench_yardsticks.c): products by other ways, and what memory gives */

/* y = W x by OpenBLAS, which is left on one thread. w: [rows][cols]. */
void bench_sgemv(float *y, const float *w, const float *x, uint64_t rows, uint64_t cols, unsigned n_threads);
/* The same with W and x in bfloat16, sums in binary32. cols is even. */
void bench_bf16_gemv(float *y, const uint16_t *w, const uint16_t *x, uint64_t rows, uint64_t cols, unsigned n_threads);
/* The algorithm of AQLM's numba kernel: tables by one matrix product, then a loop over groups, rows and codebooks that
 * adds up what the codes stand for. codes: [groups][rows][M], 8 bits each. codebooks: [M][256][G]. tables:
 * [groups][M][256]. Here threads have rows each; there they share y and race for it. */
typedef struct bench_lut {
	const aqz_scheme *scheme;
	const uint8_t *codes;
	const float *codebooks, *scales, *x;
	float *tables, *y;
	uint64_t rows, groups;
} bench_lut;
void bench_lut_gemv(const bench_lut *l, unsigned n_threads);
/* Sums n 64-bit words (whole lines of 8), so that all are read; fills them. */
uint64_t bench_read_memory(const uint64_t *words, size_t n, unsigned n_threads);
void bench_write_memory(uint64_t *words, size_t n, unsigned n_threads);

/* Bytes of the last-level caches of this machine together; a guess where it does not say. */
uint64_t bench_cache_bytes(void);

/* ---- Products and reconstruction (bench_kernels.c) */

enum bench_what {
	BENCH_READ, BENCH_WRITE, /* of memory: of all copies of the weights in binary32 */
	BENCH_PRODUCT,      /* y = W x from the codes, tables and all */
	BENCH_TABLES,       /* what of it goes into tables */
	BENCH_PRODUCT_8,    /* eight columns together */
	BENCH_SGEMV, BENCH_BF16, BENCH_LUT,
	BENCH_DECODE,       /* to bfloat16, the whole matrix */
	BENCH_DECODE_CACHE, /* 64 rows at a time, to the same place */
	BENCH_N_WHAT
};

/* Of one thread and of all. */
typedef bench_time bench_pair[2];

typedef struct bench_result {
	bench_pair time[BENCH_N_WHAT];
	uint64_t memory_bytes;    /* that were read and written */
	uint64_t codes_bytes;
	unsigned n_copies;        /* of the codes */
	char way[AQZ_MATRIX_WAY_BYTES];
	double errors[BENCH_N_WHAT]; /* |y - y of sgemv| / |y of sgemv| in binary32 of the reconstructed matrix */
} bench_result;

typedef struct bench_kernels {
	const cli_common *common;
	aqz_scheme scheme;
	bench_shapes shapes;
	double seconds;           /* for each measurement */
	unsigned table_bits;      /* aqz_matrix_options */
	cli_progress *progress;
	/* Results. */
	unsigned n_pairs;         /* 1: one thread only; 2: all as well */
	unsigned n_threads[2];
	uint64_t cache_bytes;
	bench_result results[BENCH_MAX_SHAPES];
} bench_kernels;

/* Settles threads and the cache; then how much memory the largest shape takes. */
void bench_kernels_begin(bench_kernels *b);
uint64_t bench_kernels_memory(const bench_kernels *b);
aqz_status bench_kernels_run(bench_kernels *b, aqz_error *err);

/* ---- Products and reconstruction on a GPU (bench_gpu.c) */

typedef struct bench_gpu_result {
	bench_time product, product_8, rows; /* of all copies together */
	uint64_t codes_bytes;
	unsigned n_copies;
	double error; /* as in bench_result */
} bench_gpu_result;

typedef struct bench_gpu {
	const cli_common *common;
	aqz_scheme scheme;
	bench_shapes shapes;
	double seconds;
	/* Results. */
	aqz_gpu_info info;
	bench_gpu_result results[BENCH_MAX_SHAPES];
} bench_gpu;

/* Of the host. */
uint64_t bench_gpu_memory(const bench_gpu *b);
aqz_status bench_gpu_run(bench_gpu *b, aqz_error *err);
void bench_gpu_print(const bench_gpu *b);
void bench_gpu_json(json_t *root, const bench_gpu *b);

/* ---- Their report (bench_report.c) */

void bench_kernels_print(const bench_kernels *b);
void bench_kernels_json(json_t *root, const bench_kernels *b);

#endif
