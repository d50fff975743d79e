/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: what this machine does, on a synthetic matrix of fixed random numbers, beside a
 * plain copy of memory. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"

enum { OPT_SCHEME = CLI_OPT_OWN, OPT_SIZE, OPT_EFFORT };

static const cli_option options[] = {
	{OPT_SCHEME, 's', "scheme", "SCHEME", "additive scheme to measure (default: 2x8g8)"},
	{OPT_SIZE, 0, "size", "ROWSxCOLS", "of the matrix (default: 1024x1024)"},
	{OPT_EFFORT, 'e', "effort", "1..9", "of the encoder (default: 5)"},
	CLI_ROW_THREADS,
	CLI_ROW_QUIET,
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

typedef struct bench_job {
	const cli_common *common;
	aqz_scheme scheme;
	int effort;
	uint64_t rows, cols, file_bytes;
	cli_progress progress;
	/* Results; rates per second. */
	double encode_seconds, encode_weights, rel_mse, code_bits, decode_weights;
	double lossless_in, lossless_out, lossless_ratio, verify_bytes, copy_bytes;
} bench_job;

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

/* xorshift64* (Vigna 2016), top 53 bits: the same numbers everywhere. */
static double uniform(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return ((double)(*state * UINT64_C(0x2545F4914F6CDD1D) >> 11) + 0.5) * 0x1p-53;
}

/* Box-Muller pairs. */
static void gaussian(float *w, size_t n, double sigma)
{
	uint64_t state = 0x9E3779B97F4A7C15;

	for (size_t i = 0; i < n; i += 2) {
		double radius = sigma * sqrt(-2 * log(uniform(&state))),
			   angle = 6.283185307179586 * uniform(&state);

		w[i] = (float)(radius * cos(angle));
		if (i + 1 < n)
			w[i + 1] = (float)(radius * sin(angle));
	}
}

static aqz_status bench_additive(bench_job *job, const float *w, aqz_error *err)
{
	aqz_encode_options opt = {.struct_size = sizeof opt,
		.effort = job->effort,
		.n_threads = job->common->n_threads,
		.progress = cli_progress_tick,
		.progress_user = &job->progress};
	size_t n = (size_t)(job->rows * job->cols);
	double start = cli_now(), seconds = 0;
	uint16_t *decoded = malloc(n * sizeof *decoded);
	aqz_status status = AQZ_E_NOMEM;
	const aqz_layer layer = {w, job->rows, job->cols, NULL};
	aqz_encode_report report = {0};
	aqz_additive a;
	uint64_t times = 0;

	if (decoded == NULL)
		return cli_fail(err, status, "", "out of memory");
	cli_progress_item(&job->progress, "encode", 0, 0);
	status = aqz_encode_additive(&a, &report, &layer, &job->scheme, &opt, err);
	job->rel_mse = report.rel_mse;
	job->encode_seconds = cli_now() - start;
	cli_progress_clear(&job->progress);
	if (status == AQZ_OK) {
		job->encode_weights = (double)n / job->encode_seconds;
		job->code_bits = 8 * (double)a.codes_bytes / (double)n;
		for (start = cli_now(); status == AQZ_OK && seconds < 0.5;
			 seconds = cli_now() - start, times++)
			status = aqz_decode_additive(decoded, AQZ_BF16, &a, 0, a.rows, err);
		job->decode_weights = (double)n * (double)times / seconds;
		aqz_additive_free(&a);
	}
	free(decoded);
	return status;
}

static aqz_status write_container(bench_job *job, memory_file *m, const uint16_t *w, aqz_error *err)
{
	aqz_io io = {.user = m, .pread = memory_pread, .size = memory_size, .write = memory_write};
	aqz_writer_options opt = {.struct_size = sizeof opt, .n_threads = job->common->n_threads};
	aqz_tensor_desc desc = {.struct_size = sizeof desc,
		.name = "w",
		.name_bytes = 1,
		.dtype = AQZ_BF16,
		.rank = 2,
		.shape = {job->rows, job->cols}};
	aqz_writer *writer = NULL;
	uint32_t section;
	aqz_status status;

	m->n = 0;
	status = aqz_writer_open(&writer, &io, &opt, err);
	if (status == AQZ_OK)
		status = aqz_writer_tensor(writer, &section, &desc, err);
	if (status == AQZ_OK)
		status = aqz_writer_put(writer, w, (size_t)(job->rows * job->cols) * sizeof *w, err);
	if (status == AQZ_OK)
		status = aqz_writer_finish(writer, NULL, err);
	aqz_writer_close(writer);
	return status;
}

static aqz_status bench_reading(bench_job *job, memory_file *m, uint16_t *out, aqz_error *err)
{
	aqz_io io = {.user = m, .pread = memory_pread, .size = memory_size};
	double start, seconds = 0, in_bytes = (double)(job->rows * job->cols) * sizeof *out;
	aqz_reader *reader = NULL;
	aqz_status status = aqz_reader_open(&reader, &io, NULL, err);
	uint64_t times = 0;

	for (start = cli_now(); status == AQZ_OK && seconds < 0.5; seconds = cli_now() - start, times++)
		status = aqz_reader_read_tensor(reader, aqz_reader_tensor(reader, 0), out,
			(size_t)(job->rows * job->cols) * sizeof *out, err);
	job->lossless_out = in_bytes * (double)times / seconds;
	seconds = 0;
	times = 0;
	for (start = cli_now(); status == AQZ_OK && seconds < 0.5; seconds = cli_now() - start, times++)
		status = aqz_reader_verify(
			reader, AQZ_VERIFY_STORED, job->common->n_threads, NULL, NULL, NULL, NULL, err);
	job->verify_bytes = (double)m->n * (double)times / seconds;
	aqz_reader_close(reader);
	return status;
}

/* A copy of the same bytes, which verify does as well in pread: the yardstick. */
static void bench_copy(bench_job *job, const memory_file *m)
{
	uint8_t *copy = malloc(m->n);
	double start, seconds = 0;
	uint64_t times = 0;

	if (copy == NULL)
		return;
	for (start = cli_now(); seconds < 0.25; seconds = cli_now() - start, times++) {
		memcpy(copy, m->data, m->n);
		/* The compiler must not see that nobody reads the copy. */
		__asm__ volatile("" : : "r"(copy) : "memory");
	}
	job->copy_bytes = (double)m->n * (double)times / seconds;
	free(copy);
}

static aqz_status bench_lossless(bench_job *job, const float *w, aqz_error *err)
{
	size_t n = (size_t)(job->rows * job->cols);
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
			status = write_container(job, &m, half, err);
		if (status == AQZ_OK) {
			job->lossless_in = (double)n * sizeof *half / (cli_now() - start);
			job->file_bytes = m.n;
			job->lossless_ratio = (double)m.n / ((double)n * sizeof *half);
			status = bench_reading(job, &m, out, err);
		}
		if (status == AQZ_OK && memcmp(half, out, n * sizeof *half) != 0)
			status = cli_fail(err, AQZ_E_CORRUPT, "", "what was read back differs");
		if (status == AQZ_OK)
			bench_copy(job, &m);
	}
	free(half);
	free(out);
	free(m.data);
	return status;
}

static int print_json(const bench_job *job)
{
	return cli_json_print(json_pack("{so si sI sI so si s{sf sf sf sf} s{sf} s{sf sf sf} s{sf sf}}",
		"version", json_string(aqz_version()), "threads", (int)job->common->n_threads, "rows",
		(json_int_t)job->rows, "cols", (json_int_t)job->cols, "scheme",
		cli_json_scheme(&job->scheme), "effort", job->effort, "encode", "seconds",
		job->encode_seconds, "weights_per_second", job->encode_weights, "rel_mse", job->rel_mse,
		"code_bits_per_weight", job->code_bits, "decode", "weights_per_second", job->decode_weights,
		"lossless_bf16", "compress_bytes_per_second", job->lossless_in,
		"decompress_bytes_per_second", job->lossless_out, "ratio", job->lossless_ratio, "verify",
		"bytes_per_second", job->verify_bytes, "memcpy_bytes_per_second", job->copy_bytes));
}

static void print_text(const bench_job *job)
{
	char scheme[AQZ_SCHEME_TEXT_BYTES], size[CLI_SIZE_TEXT];

	aqz_scheme_format(scheme, &job->scheme);
	printf("aqlmzip %s, %" PRIu64 " x %" PRIu64 " Gaussian weights, threads %u (0 = all)\n",
		aqz_version(), job->rows, job->cols, job->common->n_threads);
	printf("  encode %-9s effort %d   %9.3f M weights/s, relative MSE %.6f at %.3f bits in codes\n",
		scheme, job->effort, job->encode_weights * 1e-6, job->rel_mse, job->code_bits);
	printf("  decode %-9s to BF16     %9.3f M weights/s (one thread)\n", scheme,
		job->decode_weights * 1e-6);
	printf("  lossless BF16 compress    %9.3f GB/s, to %.1f %%\n", job->lossless_in * 1e-9,
		100 * job->lossless_ratio);
	printf("  lossless BF16 decompress  %9.3f GB/s (one thread)\n", job->lossless_out * 1e-9);
	printf("  verify stored hashes      %9.3f GB/s of a file of %s\n", job->verify_bytes * 1e-9,
		cli_format_bytes(size, job->file_bytes));
	printf("  memcpy of the same bytes  %9.3f GB/s\n", job->copy_bytes * 1e-9);
}

static int bench(bench_job *job)
{
	size_t n = (size_t)(job->rows * job->cols);
	float *w = malloc(n * sizeof *w);
	aqz_error err = {0};
	aqz_status status;

	if (w == NULL)
		return cli_error_nomem();
	/* The spread of a trained layer of a few thousand inputs. */
	gaussian(w, n, 0.02);
	cli_progress_begin(&job->progress, job->common->quiet);
	status = bench_additive(job, w, &err);
	if (status == AQZ_OK)
		status = bench_lossless(job, w, &err);
	cli_progress_clear(&job->progress);
	free(w);
	if (status != AQZ_OK)
		return cli_error_status("bench", status, &err);
	if (job->common->json)
		return print_json(job);
	print_text(job);
	return CLI_OK;
}

static void parse_size(cli_parser *p, bench_job *job)
{
	char rows[16];
	const char *x = strchr(p->value, 'x');
	size_t n = x != NULL ? (size_t)(x - p->value) : sizeof rows;

	if (n < sizeof rows) {
		memcpy(rows, p->value, n);
		rows[n] = '\0';
		if (cli_parse_number(&job->rows, rows) && cli_parse_number(&job->cols, x + 1) &&
			job->rows > 0 && job->cols > 0 && job->rows <= 1 << 20 && job->cols <= 1 << 20 &&
			job->rows * job->cols <= 1 << 30)
			return;
	}
	cli_usage(p,
		"--size: '%s' is not possible; possible values: ROWSxCOLS, at most 2^30 weights, such as "
		"4096x4096",
		p->value);
}

static int run(int argc, char **argv)
{
	bench_job job = {.scheme = {AQZ_CODEC_ADDITIVE, .n_codebooks = 2, .code_bits = 8, .in_group = 8,
						 .out_group = 1},
		.effort = 5,
		.rows = 1024,
		.cols = 1024};
	cli_parser p;

	cli_parser_begin(&p, &cli_bench, argc, argv);
	while (cli_parser_next(&p)) {
		switch (p.id) {
		case OPT_SCHEME:
			job.scheme = cli_value_scheme(&p, p.value);
			if (p.exit_code < 0 && job.scheme.codec != AQZ_CODEC_ADDITIVE)
				cli_usage(&p,
					"--scheme: '%s' is not possible; possible values: MxBgG[oO], such as 2x8g8",
					p.value);
			break;
		case OPT_SIZE:
			parse_size(&p, &job);
			break;
		case OPT_EFFORT:
			job.effort = (int)cli_value_number(&p, 1, 9);
			break;
		default:
			break;
		}
	}
	cli_parser_operands(&p, 0, 0, "");
	job.common = &p.common;
	if (p.exit_code < 0)
		p.exit_code = bench(&job);
	cli_parser_end(&p);
	return p.exit_code;
}

const cli_command cli_bench = {"bench", "[OPTION]...",
	"Measures encoding, decoding, lossless coding and verifying on this machine.", NULL, options,
	run};
