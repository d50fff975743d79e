/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench --device cuda: products and reconstruction on the first usable GPU. A layer of random codes is there in
 * several copies that take turns, 256 MiB of codes together, far beyond what caches hold. A run is a round of all
 * copies and a wait. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip_gpu.h"
#include "cli/bench.h"

#define SPREAD_BYTES (UINT64_C(256) << 20)
enum { MAX_COPIES = 64, COLUMNS = 8 };

typedef struct gpu_layer {
	aqz_gpu *gpu;
	aqz_additive a;
	aqz_gpu_matrix *copies[MAX_COPIES];
	unsigned n_copies, n_columns;
	float *x, *y_cpu;
	uint16_t *x16, *y16;     /* F16 */
	void *x_gpu, *y_gpu, *rows_gpu, *workspace;
	uint64_t workspace_bytes;
} gpu_layer;

uint64_t bench_gpu_memory(const bench_gpu *b)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < b->shapes.n; i++) {
		const bench_shape *s = &b->shapes.list[i];
		const uint64_t rows = s->rows + 64 * b->scheme.out_group, cols = s->cols + b->scheme.in_group;
		const uint64_t n = aqz_additive_codes_bytes(&b->scheme, rows / b->scheme.out_group, cols / b->scheme.in_group) +
			(UINT64_C(16) << 20) + 40 * (rows + cols) * COLUMNS +
			((uint64_t)b->scheme.n_codebooks << b->scheme.code_bits) * b->scheme.in_group * b->scheme.out_group * 16;

		most = n > most ? n : most;
	}
	return most;
}

static aqz_status fill(gpu_layer *l, const aqz_scheme *s, const bench_shape *shape, aqz_error *err)
{
	const size_t n_values = ((size_t)s->n_codebooks << s->code_bits) * s->in_group * s->out_group;
	const uint64_t code_rows = (shape->rows + s->out_group - 1) / s->out_group;
	const uint64_t groups = (shape->cols + s->in_group - 1) / s->in_group;
	const uint64_t last = code_rows % 64 == 0 ? code_rows : code_rows - code_rows % 64;
	float *values = malloc((n_values > code_rows ? n_values : (size_t)code_rows) * sizeof *values);
	uint64_t state = UINT64_C(0x243F6A8885A308D3);

	l->a = (aqz_additive){.scheme = *s, .rows = shape->rows, .cols = shape->cols, .code_rows = code_rows,
		.groups = groups, .codes_bytes = (size_t)aqz_additive_codes_bytes(s, code_rows, groups),
		.codebook_dtype = AQZ_F16, .scale_dtype = AQZ_F16};
	l->a.codes = aligned_alloc(64, (l->a.codes_bytes + 63) / 64 * 64);
	l->a.codebooks = malloc(n_values * 2);
	l->a.scales = malloc((size_t)code_rows * 2);
	l->x = malloc(COLUMNS * (size_t)shape->cols * sizeof *l->x);
	l->x16 = malloc(COLUMNS * (size_t)shape->cols * 2);
	l->y_cpu = malloc((size_t)shape->rows * sizeof *l->y_cpu);
	l->y16 = malloc(COLUMNS * (size_t)shape->rows * 2);
	if (!values || !l->a.codes || !l->a.codebooks || !l->a.scales || !l->x || !l->x16 || !l->y_cpu || !l->y16) {
		free(values);
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	}
	/* Any bits are codes; but rows that do not exist have code 0. */
	memset(l->a.codes, 0, l->a.codes_bytes);
	for (uint64_t i = 0; i + 8 <= aqz_additive_codes_bytes(s, last, groups); i += 8) {
		const uint64_t bits = bench_random(&state);

		memcpy(l->a.codes + i, &bits, sizeof bits);
	}
	bench_gaussian(values, n_values, 1, 1);
	aqz_convert(l->a.codebooks, AQZ_F16, values, AQZ_F32, n_values, NULL);
	for (uint64_t i = 0; i < code_rows; i++)
		values[i] = (float)(0.01 + 0.02 * bench_uniform(&state));
	aqz_convert(l->a.scales, AQZ_F16, values, AQZ_F32, (size_t)code_rows, NULL);
	bench_gaussian(l->x, COLUMNS * (size_t)shape->cols, 1, 2);
	aqz_convert(l->x16, AQZ_F16, l->x, AQZ_F32, COLUMNS * (size_t)shape->cols, NULL);
	aqz_convert(l->x, AQZ_F32, l->x16, AQZ_F16, COLUMNS * (size_t)shape->cols, NULL);
	free(values);
	return AQZ_OK;
}

#define TRY(call) \
	do { \
		const aqz_status try_ = (call); \
		if (try_ != AQZ_OK) \
			return try_; \
	} while (0)

static aqz_status upload(gpu_layer *l, aqz_error *err)
{
	const uint64_t rows = l->a.rows, cols = l->a.cols;
	uint64_t n = SPREAD_BYTES / l->a.codes_bytes + 1;

	n = n > MAX_COPIES ? MAX_COPIES : n;
	for (l->n_copies = 0; l->n_copies < n; l->n_copies++)
		TRY(aqz_gpu_matrix_from_additive(&l->copies[l->n_copies], l->gpu, &l->a, NULL, err));
	l->workspace_bytes = aqz_gpu_workspace_bytes(l->copies[0], COLUMNS);
	if (aqz_gpu_workspace_bytes(l->copies[0], 1) > l->workspace_bytes)
		l->workspace_bytes = aqz_gpu_workspace_bytes(l->copies[0], 1);
	if (l->workspace_bytes > 0)
		TRY(aqz_gpu_memory(&l->workspace, l->gpu, l->workspace_bytes, err));
	TRY(aqz_gpu_memory(&l->x_gpu, l->gpu, COLUMNS * cols * 2, err));
	TRY(aqz_gpu_memory(&l->y_gpu, l->gpu, COLUMNS * rows * 2, err));
	TRY(aqz_gpu_memory(&l->rows_gpu, l->gpu, rows * cols * 2, err));
	return aqz_gpu_copy_in(l->gpu, l->x_gpu, l->x16, COLUMNS * cols * 2, NULL, err);
}

static aqz_status multiply(const gpu_layer *l, unsigned copy, aqz_error *err)
{
	return aqz_gpu_multiply(l->y_gpu, (size_t)l->a.rows, l->copies[copy], l->x_gpu, (size_t)l->a.cols, l->n_columns,
		AQZ_F16, l->workspace, l->workspace_bytes, NULL, err);
}

static aqz_status run_products(void *user, unsigned i, aqz_error *err)
{
	const gpu_layer *l = user;

	(void)i;
	for (unsigned k = 0; k < l->n_copies; k++)
		TRY(multiply(l, k, err));
	return aqz_gpu_wait(l->gpu, NULL, err);
}

static aqz_status run_rows(void *user, unsigned i, aqz_error *err)
{
	const gpu_layer *l = user;

	(void)i;
	for (unsigned k = 0; k < l->n_copies; k++)
		TRY(aqz_gpu_reconstruct(l->rows_gpu, (size_t)l->a.cols, AQZ_F16, l->copies[k], 0, l->a.rows, NULL, err));
	return aqz_gpu_wait(l->gpu, NULL, err);
}

/* |y - y'| / |y'| with y' by the CPU in binary32, of the first column. */
static aqz_status compare(double *error, gpu_layer *l, unsigned n_threads, aqz_error *err)
{
	const aqz_matrix_options opt = {.struct_size = sizeof opt, .table_bits = 32, .n_threads = n_threads};
	const size_t rows = (size_t)l->a.rows;
	double off = 0, size = 0;
	aqz_matrix *m;
	aqz_status status;

	TRY(multiply(l, 0, err));
	TRY(aqz_gpu_copy_out(l->gpu, l->y16, l->y_gpu, rows * 2, NULL, err));
	TRY(aqz_matrix_open(&m, &l->a, err));
	status = aqz_matrix_multiply(l->y_cpu, rows, m, l->x, (size_t)l->a.cols, 1, &opt, err);
	aqz_matrix_free(m);
	if (status != AQZ_OK)
		return status;
	for (size_t i = 0; i < rows; i++) {
		float y;

		aqz_convert(&y, AQZ_F32, l->y16 + i, AQZ_F16, 1, NULL);
		off += pow((double)y - (double)l->y_cpu[i], 2);
		size += pow((double)l->y_cpu[i], 2);
	}
	*error = size > 0 ? sqrt(off / size) : 0;
	if (!(*error < 0.05))
		return cli_fail(err, AQZ_E_GPU, "products", "the device's product is off by %.3g", *error);
	return AQZ_OK;
}

static aqz_status measure(bench_gpu *b, gpu_layer *l, unsigned i, aqz_error *err)
{
	bench_gpu_result *r = &b->results[i];

	TRY(fill(l, &b->scheme, &b->shapes.list[i], err));
	TRY(upload(l, err));
	l->n_columns = 1;
	TRY(compare(&r->error, l, b->common->n_threads, err));
	r->n_copies = l->n_copies;
	r->codes_bytes = l->a.codes_bytes;
	TRY(bench_measure(&r->product, run_products, l, b->seconds, err));
	l->n_columns = COLUMNS;
	TRY(bench_measure(&r->product_8, run_products, l, b->seconds, err));
	return bench_measure(&r->rows, run_rows, l, b->seconds, err);
}

static void free_layer(gpu_layer *l)
{
	for (unsigned i = 0; i < MAX_COPIES; i++)
		aqz_gpu_matrix_free(l->copies[i]);
	aqz_gpu_memory_free(l->gpu, l->workspace);
	aqz_gpu_memory_free(l->gpu, l->x_gpu);
	aqz_gpu_memory_free(l->gpu, l->y_gpu);
	aqz_gpu_memory_free(l->gpu, l->rows_gpu);
	aqz_additive_free(&l->a);
	free(l->x), free(l->x16), free(l->y_cpu), free(l->y16);
}

static aqz_status choose(bench_gpu *b, unsigned *device, aqz_error *err)
{
	unsigned n;

	TRY(aqz_gpu_count(&n, err));
	for (*device = 0; *device < n; ++*device) {
		TRY(aqz_gpu_get(&b->info, *device, err));
		if (b->info.usable)
			return AQZ_OK;
	}
	return cli_fail(err, AQZ_E_GPU, "device", n == 0 ? "there is no GPU" : "no GPU here is usable");
}

aqz_status bench_gpu_run(bench_gpu *b, aqz_error *err)
{
	aqz_gpu *gpu;
	unsigned device;
	aqz_status status = choose(b, &device, err);

	if (status == AQZ_OK)
		status = aqz_gpu_open(&gpu, device, NULL, err);
	if (status != AQZ_OK)
		return status;
	for (unsigned i = 0; i < b->shapes.n && status == AQZ_OK; i++) {
		gpu_layer l = {.gpu = gpu};

		status = measure(b, &l, i, err);
		free_layer(&l);
	}
	aqz_gpu_close(gpu);
	return status;
}

/* ---- Report */

static void print_line(const char *what, const bench_gpu_result *r, const bench_time *t, double weights, double bytes)
{
	const double each = t->median / r->n_copies;

	printf("  %-24s %10.2f us %10.1f Gw/s %8.0f GB/s\n", what, each * 1e6, weights / each * 1e-9, bytes / each * 1e-9);
}

void bench_gpu_print(const bench_gpu *b)
{
	char scheme[AQZ_SCHEME_TEXT_BYTES];

	aqz_scheme_format(scheme, &b->scheme);
	printf("GPU %s, capability %u.%u, %u multiprocessors; %s, F16\n", b->info.name, b->info.major, b->info.minor,
		b->info.n_multiprocessors, scheme);
	for (unsigned i = 0; i < b->shapes.n; i++) {
		const bench_shape *s = &b->shapes.list[i];
		const bench_gpu_result *r = &b->results[i];
		const double weights = (double)s->rows * (double)s->cols, codes = (double)r->codes_bytes;

		printf("%" PRIu64 "x%" PRIu64 "%s%s%s%s, %u copies, relative error %.1e\n", s->rows, s->cols,
			s->model != NULL ? " " : "", s->model != NULL ? s->model : "", s->layers != NULL ? ": " : "",
			s->layers != NULL ? s->layers : "", r->n_copies, r->error);
		print_line("product from codes", r, &r->product, weights, codes);
		print_line("the same, 8 columns", r, &r->product_8, weights, codes);
		print_line("reconstruction to F16", r, &r->rows, weights, codes + 2 * weights);
	}
}

static json_t *time_json(const bench_gpu_result *r, const bench_time *t)
{
	return json_pack("{sf sf si}", "seconds", t->best / r->n_copies, "median_seconds", t->median / r->n_copies, "runs",
		(int)t->n_runs);
}

void bench_gpu_json(json_t *root, const bench_gpu *b)
{
	json_t *shapes = json_array();

	for (unsigned i = 0; i < b->shapes.n; i++) {
		const bench_gpu_result *r = &b->results[i];

		json_array_append_new(shapes,
			json_pack("{so so so si sf so so so}", "rows", cli_json_number(b->shapes.list[i].rows), "cols",
				cli_json_number(b->shapes.list[i].cols), "code_bytes", cli_json_number(r->codes_bytes), "copies",
				(int)r->n_copies, "relative_error", r->error, "product", time_json(r, &r->product),
				"product_8_columns", time_json(r, &r->product_8), "reconstruct_f16", time_json(r, &r->rows)));
	}
	json_object_set_new(root, "gpu",
		json_pack("{so si si si so}", "name", cli_json_text(b->info.name), "major", (int)b->info.major, "minor",
			(int)b->info.minor, "multiprocessors", (int)b->info.n_multiprocessors, "shapes", shapes));
}
