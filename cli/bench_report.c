/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: what was measured of products and reconstruction, as a table and as JSON. */
#include <inttypes.h>

#include "cli/bench.h"

/* How the figures of a measurement are made from its time. */
typedef struct kind {
	const char *text, *key;
	unsigned n_columns;	  /* 0: no product */
	double element_bytes; /* that are read or written for each weight; 0: those of the codes */
	bool writes;		  /* held against writing memory */
	bool alone;			  /* held against nothing */
} kind;

static const kind kinds[BENCH_N_WHAT] = {
	[BENCH_READ] = {"read memory", "memory_read", 0, 0, false, true},
	[BENCH_WRITE] = {"write memory", "memory_write", 0, 0, true, true},
	[BENCH_PRODUCT] = {"product from codes", "product", 1, 0, false, false},
	[BENCH_TABLES] = {"  of it tables", "tables", 0, 0, false, true},
	[BENCH_PRODUCT_8] = {"the same, 8 columns", "product_8", 8, 0, false, false},
	[BENCH_SGEMV] = {"OpenBLAS sgemv", "sgemv", 1, 4, false, false},
	[BENCH_BF16] = {"bfloat16 product", "bf16", 1, 2, false, false},
	[BENCH_LUT] = {"scalar tables (AQLM)", "scalar_tables", 1, 0, false, false},
	[BENCH_DECODE] = {"decode to bfloat16", "decode", 0, 2, true, false},
	[BENCH_DECODE_CACHE] = {"the same, in cache", "decode_in_cache", 0, 2, true, true},
};

/* Of the best run; 0 for what makes no sense. */
typedef struct figures {
	double weights, bytes; /* a second */
	double of_memory, of_sgemv, of_product;
} figures;

static figures figures_of(const bench_kernels *b, unsigned shape, enum bench_what what, unsigned t)
{
	const kind *k = &kinds[what];
	const bench_result *r = &b->results[shape];
	const double n = (double)b->shapes.list[shape].rows * (double)b->shapes.list[shape].cols;
	const double seconds = r->time[what][t].best;
	const enum bench_what memory = k->writes ? BENCH_WRITE : BENCH_READ;
	figures f = {0};

	if (what == BENCH_TABLES) {
		f.of_product = seconds / r->time[BENCH_PRODUCT][t].best;
		return f;
	}
	if (what == BENCH_READ || what == BENCH_WRITE) {
		f.bytes = (double)r->memory_bytes / seconds;
		return f;
	}
	f.weights = (k->n_columns > 0 ? k->n_columns : 1) * n / seconds;
	f.bytes = (k->element_bytes > 0 ? k->element_bytes * n : (double)r->codes_bytes) / seconds;
	if (!k->alone)
		f.of_memory = f.bytes * r->time[memory][t].best / (double)r->memory_bytes;
	if (k->n_columns > 0)
		f.of_sgemv = k->n_columns * r->time[BENCH_SGEMV][t].best / seconds;
	return f;
}

/* ---- Text */

/* Nothing for 0. */
static const char *show(char text[16], const char *format, double value)
{
	text[0] = '\0';
	if (value > 0)
		snprintf(text, 16, format, value);
	return text;
}

static void print_line(const bench_kernels *b, unsigned shape, enum bench_what what)
{
	const bench_time *time = b->results[shape].time[what];

	if (time[0].n_runs == 0)
		return;
	printf("  %-20s", kinds[what].text);
	for (unsigned t = 0; t < b->n_pairs; t++) {
		const figures f = figures_of(b, shape, what, t);
		char weights[16], bytes[16], memory[16], sgemv[16];

		show(weights, "%.2f", 1e-9 * f.weights);
		if (what == BENCH_TABLES)
			show(weights, "%.1f%%", 100 * f.of_product);
		printf(" %9.3f %6s %6s %5s %7s", 1e3 * time[t].best, weights,
			show(bytes, "%.1f", 1e-9 * f.bytes), show(memory, "%.0f%%", 100 * f.of_memory),
			show(sgemv, "%.2fx", f.of_sgemv));
	}
	putchar('\n');
}

void bench_kernels_print(const bench_kernels *b)
{
	char scheme[AQZ_SCHEME_TEXT_BYTES], size[CLI_SIZE_TEXT], cache[CLI_SIZE_TEXT];

	aqz_scheme_format(scheme, &b->scheme);
	printf("Products and reconstruction at %s, the best of several runs; caches of %s\n", scheme,
		cli_format_bytes(cache, b->cache_bytes));
	printf("  %-20s", "threads");
	for (unsigned t = 0; t < b->n_pairs; t++)
		printf(" %9u %27s", b->n_threads[t], "");
	printf("\n  %-20s", "");
	for (unsigned t = 0; t < b->n_pairs; t++)
		printf(" %9s %6s %6s %5s %7s", "ms", "Gw/s", "GB/s", "mem", "sgemv");
	putchar('\n');
	for (unsigned i = 0; i < b->shapes.n; i++) {
		const bench_shape *s = &b->shapes.list[i];
		const bench_result *r = &b->results[i];

		printf("%" PRIu64 " x %" PRIu64, s->rows, s->cols);
		if (s->model != NULL)
			printf(" (%s of %s)", s->layers, s->model);
		printf(", %u x %s of codes, by %s, relative error %.1e\n", r->n_copies,
			cli_format_bytes(size, r->codes_bytes), r->way, r->errors[BENCH_PRODUCT]);
		for (unsigned what = 0; what < BENCH_N_WHAT; what++)
			print_line(b, i, what);
	}
	printf("Gw/s: 10^9 weights a second; mem: of what reading or writing memory gives; sgemv: "
		   "times as fast\n");
}

/* ---- JSON */

static void add_figure(json_t *o, const char *key, double value)
{
	if (value > 0)
		json_object_set_new(o, key, json_real(value));
}

static json_t *what_json(const bench_kernels *b, unsigned shape, enum bench_what what)
{
	const bench_time *time = b->results[shape].time[what];
	json_t *list = json_array();

	for (unsigned t = 0; t < b->n_pairs; t++) {
		const figures f = figures_of(b, shape, what, t);
		json_t *o = json_pack("{si sf sf si}", "threads", (int)b->n_threads[t], "seconds",
			time[t].best, "median_seconds", time[t].median, "runs", (int)time[t].n_runs);

		if (what == BENCH_TABLES)
			json_object_set_new(o, "of_product", json_real(f.of_product));
		add_figure(o, "weights_per_second", f.weights);
		add_figure(o, "bytes_per_second", f.bytes);
		add_figure(o, "of_memory", f.of_memory);
		add_figure(o, "times_sgemv", f.of_sgemv);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *shape_json(const bench_kernels *b, unsigned i)
{
	const bench_shape *s = &b->shapes.list[i];
	const bench_result *r = &b->results[i];
	json_t *errors = json_object(), *o = json_object();

	if (s->model != NULL) {
		json_object_set_new(o, "model", json_string(s->model));
		json_object_set_new(o, "layers", json_string(s->layers));
	}
	json_object_set_new(o, "rows", cli_json_number(s->rows));
	json_object_set_new(o, "cols", cli_json_number(s->cols));
	json_object_set_new(o, "code_bytes", cli_json_number(r->codes_bytes));
	json_object_set_new(o, "way", json_string(r->way));
	json_object_set_new(o, "copies", cli_json_number(r->n_copies));
	for (unsigned what = 0; what < BENCH_N_WHAT; what++) {
		if (r->time[what][0].n_runs == 0)
			continue;
		json_object_set_new(o, kinds[what].key, what_json(b, i, what));
		if (kinds[what].n_columns > 0 && what != BENCH_SGEMV)
			json_object_set_new(errors, kinds[what].key, json_real(r->errors[what]));
	}
	json_object_set_new(o, "relative_errors", errors);
	return o;
}

void bench_kernels_json(json_t *root, const bench_kernels *b)
{
	json_t *shapes = json_array(), *o = json_object();

	for (unsigned i = 0; i < b->shapes.n; i++)
		json_array_append_new(shapes, shape_json(b, i));
	json_object_set_new(o, "cache_bytes", cli_json_number(b->cache_bytes));
	json_object_set_new(o, "shapes", shapes);
	json_object_set_new(root, "kernels", o);
}
