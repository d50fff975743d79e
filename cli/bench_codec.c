/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: encoding, decoding and files, on a synthetic matrix of fixed random numbers, beside a plain copy of
 * memory. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

/* The writer's chunks, and what zstd takes for one at most at these levels. */
#define CHUNK_BYTES (UINT64_C(4) << 20)
#define MAX_ZSTD_BYTES (UINT64_C(112) << 20)

/* A container in memory. */
typedef struct memory_file {
	uint8_t *data;
	size_t n, capacity;
} memory_file;

static aqz_status memory_write(void *user, const void *src, size_t n)
{
	memory_file *m = user;

	if (n > m->capacity - m->n) {
		size_t capacity = 2 * m->capacity + n;
		uint8_t *grown = realloc(m->data, capacity);

		if (grown == NULL)
			return AQZ_E_NOMEM;
		m->data = grown;
		m->capacity = capacity;
	}
	memcpy(m->data + m->n, src, n);
	m->n += n;
	return AQZ_OK;
}

static aqz_status memory_pread(void *user, void *dst, size_t n, uint64_t offset)
{
	const memory_file *m = user;

	if (offset > m->n || n > m->n - offset)
		return AQZ_E_TRUNCATED;
	memcpy(dst, m->data + offset, n);
	return AQZ_OK;
}

static aqz_status memory_size(void *user, uint64_t *n_bytes)
{
	*n_bytes = ((const memory_file *)user)->n;
	return AQZ_OK;
}

static aqz_encode_options encode_options(const bench_codec *b)
{
	return (aqz_encode_options){.struct_size = sizeof(aqz_encode_options),
		.effort = b->effort,
		.n_threads = b->common->n_threads,
		.progress = cli_progress_tick,
		.progress_user = b->progress};
}

static aqz_status run_additive(bench_codec *b, const float *w, aqz_error *err)
{
	const aqz_encode_options opt = encode_options(b);
	size_t n = (size_t)(b->rows * b->cols);
	double start = cli_now(), seconds = 0;
	uint16_t *decoded = malloc(n * sizeof *decoded);
	aqz_status status = AQZ_E_NOMEM;
	const aqz_layer layer = {w, b->rows, b->cols, NULL};
	aqz_encode_report report = {0};
	aqz_additive a;
	uint64_t times = 0;

	if (decoded == NULL)
		return cli_fail(err, status, "", "out of memory");
	cli_progress_item(b->progress, "encode", 0, 0);
	status = aqz_encode_additive(&a, &report, &layer, &b->scheme, &opt, err);
	b->rel_mse = report.rel_mse;
	b->encode_seconds = cli_now() - start;
	cli_progress_clear(b->progress);
	if (status == AQZ_OK) {
		b->encode_weights = (double)n / b->encode_seconds;
		b->code_bits = 8 * (double)a.codes_bytes / (double)n;
		for (start = cli_now(); status == AQZ_OK && (times == 0 || seconds < b->seconds);
			 seconds = cli_now() - start, times++)
			status = aqz_decode_additive(decoded, AQZ_BF16, &a, 0, a.rows, err);
		b->decode_weights = (double)n * (double)times / seconds;
		aqz_additive_free(&a);
	}
	free(decoded);
	return status;
}

static aqz_status write_container(bench_codec *b, memory_file *m, const uint16_t *w, aqz_error *err)
{
	aqz_io io = {.user = m, .pread = memory_pread, .size = memory_size, .write = memory_write};
	aqz_writer_options opt = {.struct_size = sizeof opt, .n_threads = b->common->n_threads};
	aqz_tensor_desc desc = {.struct_size = sizeof desc,
		.name = "w",
		.name_bytes = 1,
		.dtype = AQZ_BF16,
		.rank = 2,
		.shape = {b->rows, b->cols}};
	aqz_writer *writer = NULL;
	uint32_t section;
	aqz_status status;

	m->n = 0;
	status = aqz_writer_open(&writer, &io, &opt, err);
	if (status == AQZ_OK)
		status = aqz_writer_tensor(writer, &section, &desc, err);
	if (status == AQZ_OK)
		status = aqz_writer_put(writer, w, (size_t)(b->rows * b->cols) * sizeof *w, err);
	if (status == AQZ_OK)
		status = aqz_writer_finish(writer, NULL, err);
	aqz_writer_close(writer);
	return status;
}

static aqz_status run_reading(bench_codec *b, memory_file *m, uint16_t *out, aqz_error *err)
{
	aqz_io io = {.user = m, .pread = memory_pread, .size = memory_size};
	double start, seconds = 0, in_bytes = (double)(b->rows * b->cols) * sizeof *out;
	aqz_reader *reader = NULL;
	aqz_status status = aqz_reader_open(&reader, &io, NULL, err);
	uint64_t times = 0;

	for (start = cli_now(); status == AQZ_OK && (times == 0 || seconds < b->seconds);
		 seconds = cli_now() - start, times++)
		status = aqz_reader_read_tensor(reader, aqz_reader_tensor(reader, 0), out,
			(size_t)(b->rows * b->cols) * sizeof *out, err);
	b->lossless_out = in_bytes * (double)times / seconds;
	seconds = 0;
	times = 0;
	for (start = cli_now(); status == AQZ_OK && (times == 0 || seconds < b->seconds);
		 seconds = cli_now() - start, times++)
		status = aqz_reader_verify(
			reader, AQZ_VERIFY_STORED, b->common->n_threads, NULL, NULL, NULL, NULL, err);
	b->verify_bytes = (double)m->n * (double)times / seconds;
	aqz_reader_close(reader);
	return status;
}

/* A copy of the same bytes, which verify does as well in pread: the yardstick. */
static void run_copy(bench_codec *b, const memory_file *m)
{
	uint8_t *copy = malloc(m->n);
	double start, seconds = 0;
	uint64_t times = 0;

	if (copy == NULL)
		return;
	for (start = cli_now(); times == 0 || seconds < b->seconds; seconds = cli_now() - start, times++) {
		memcpy(copy, m->data, m->n);
		/* The compiler must not see that nobody reads the copy. */
		__asm__ volatile("" : : "r"(copy) : "memory");
	}
	b->copy_bytes = (double)m->n * (double)times / seconds;
	free(copy);
}

static aqz_status run_lossless(bench_codec *b, const float *w, aqz_error *err)
{
	size_t n = (size_t)(b->rows * b->cols);
	uint16_t *half = malloc(n * sizeof *half), *out = malloc(n * sizeof *out);
	memory_file m = {.n = 0};
	double start;
	aqz_status status = AQZ_E_NOMEM;

	if (half == NULL || out == NULL) {
		cli_fail(err, status, "", "out of memory");
	} else {
		status = aqz_convert(half, AQZ_BF16, w, AQZ_F32, n, err);
		start = cli_now();
		if (status == AQZ_OK)
			status = write_container(b, &m, half, err);
		if (status == AQZ_OK) {
			b->lossless_in = (double)n * sizeof *half / (cli_now() - start);
			b->file_bytes = m.n;
			b->lossless_ratio = (double)m.n / ((double)n * sizeof *half);
			status = run_reading(b, &m, out, err);
		}
		if (status == AQZ_OK && memcmp(half, out, n * sizeof *half) != 0)
			status = cli_fail(err, AQZ_E_CORRUPT, "", "what was read back differs");
		if (status == AQZ_OK)
			run_copy(b, &m);
	}
	free(half);
	free(out);
	free(m.data);
	return status;
}

/* What a thread of the writer takes for a chunk, of which zstd has the largest part. */
static uint64_t chunk_memory(uint64_t file_bytes)
{
	const uint64_t chunk = file_bytes < CHUNK_BYTES ? file_bytes : CHUNK_BYTES;

	return (32 * chunk < MAX_ZSTD_BYTES ? 32 * chunk : MAX_ZSTD_BYTES) + 2 * chunk + (1 << 20);
}

/* Encoding; or the matrix in half its bits, what is read back, the container, which grows by doubling, and the writer's
 * threads. */
uint64_t bench_codec_memory(const bench_codec *b)
{
	const aqz_encode_options opt = encode_options(b);
	const aqz_layer layer = {NULL, b->rows, b->cols, NULL};
	const uint64_t n = b->rows * b->cols, n_chunks = 2 * n / CHUNK_BYTES + 1;
	const uint64_t n_threads = bench_threads(b->common->n_threads);
	const uint64_t encode = 2 * n + aqz_encode_additive_memory(&layer, &b->scheme, &opt);
	const uint64_t file = 2 * n * 2 + 3 * (2 * n + (UINT64_C(1) << 20)) +
		(n_threads < n_chunks ? n_threads : n_chunks) * chunk_memory(2 * n);

	return sizeof(float) * n + (encode > file ? encode : file);
}

aqz_status bench_codec_run(bench_codec *b, aqz_error *err)
{
	const size_t n = (size_t)(b->rows * b->cols);
	float *w = malloc(n * sizeof *w);
	aqz_status status;

	if (w == NULL)
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	/* The spread of a trained layer of a few thousand inputs. */
	bench_gaussian(w, n, 0.02, 0);
	status = run_additive(b, w, err);
	if (status == AQZ_OK)
		status = run_lossless(b, w, err);
	free(w);
	return status;
}

void bench_codec_json(json_t *root, const bench_codec *b)
{
	json_t *values = json_pack("{sI sI si s{sf sf sf sf} s{sf} s{sf sf sf} s{sf sf}}", "rows",
		(json_int_t)b->rows, "cols", (json_int_t)b->cols, "effort", b->effort, "encode", "seconds",
		b->encode_seconds, "weights_per_second", b->encode_weights, "rel_mse", b->rel_mse,
		"code_bits_per_weight", b->code_bits, "decode", "weights_per_second", b->decode_weights,
		"lossless_bf16", "compress_bytes_per_second", b->lossless_in, "decompress_bytes_per_second",
		b->lossless_out, "ratio", b->lossless_ratio, "verify", "bytes_per_second", b->verify_bytes,
		"memcpy_bytes_per_second", b->copy_bytes);

	json_object_update(root, values);
	json_decref(values);
}

void bench_codec_print(const bench_codec *b)
{
	char scheme[AQZ_SCHEME_TEXT_BYTES], size[CLI_SIZE_TEXT];

	aqz_scheme_format(scheme, &b->scheme);
	printf("aqlmzip %s, %" PRIu64 " x %" PRIu64 " Gaussian weights, threads %u (0 = all)\n",
		aqz_version(), b->rows, b->cols, b->common->n_threads);
	printf("  encode %-9s effort %d   %9.3f M weights/s, relative MSE %.6f at %.3f bits in codes\n",
		scheme, b->effort, b->encode_weights * 1e-6, b->rel_mse, b->code_bits);
	printf("  decode %-9s to BF16     %9.3f M weights/s (one thread)\n", scheme,
		b->decode_weights * 1e-6);
	printf("  lossless BF16 compress    %9.3f MB/s, to %.1f %%\n", b->lossless_in * 1e-6,
		100 * b->lossless_ratio);
	printf("  lossless BF16 decompress  %9.3f GB/s (one thread)\n", b->lossless_out * 1e-9);
	printf("  verify stored hashes      %9.3f GB/s of a file of %s\n", b->verify_bytes * 1e-9,
		cli_format_bytes(size, b->file_bytes));
	printf("  memcpy of the same bytes  %9.3f GB/s\n", b->copy_bytes * 1e-9);
}
