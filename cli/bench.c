/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: what this machine does. Two parts: encoding, decoding and files (bench_codec.c), and products and
 * reconstruction beside what other ways and memory give (bench_kernels.c). */
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

enum {
	OPT_SCHEME = CLI_OPT_OWN,
	OPT_ONLY,
	OPT_DEVICE,
	OPT_SIZE,
	OPT_EFFORT,
	OPT_SHAPES,
	OPT_FULL,
	OPT_TABLE_BITS,
	OPT_SECONDS
};

static const cli_option options[] = {
	{OPT_ONLY, 0, "only", "PART", "only this part: codec or kernels (default: both)"},
	{OPT_DEVICE, 0, "device", "DEVICE", "kernels on this: cpu (the default) or cuda, which leaves codec out"},
	{OPT_SCHEME, 's', "scheme", "SCHEME", "additive scheme to measure (default: 2x8g8)"},
	{OPT_SIZE, 0, "size", "ROWSxCOLS", "codec: of the matrix (default: 1024x1024)"},
	{OPT_EFFORT, 'e', "effort", "1..9", "codec: of the encoder (default: 5)"},
	{OPT_SHAPES, 0, "shapes", "LIST",
		"kernels: layers of these models or sizes, with commas between: llama-2-7b, llama-2-70b, "
		"llama-3-8b, ROWSxCOLS (default: llama-2-7b)"},
	{OPT_FULL, 0, "full", NULL, "kernels: all three models, and longer"},
	{OPT_TABLE_BITS, 0, "table-bits", "BITS",
		"kernels: products by tables of 8, 16 or 32 bits (default: what is fastest but 8)"},
	{OPT_SECONDS, 0, "seconds", "S", "for each measurement, 0 to 60 (default: 0.2; 0.5 with --full)"},
	{CLI_OPT_THREADS, 'T', "threads", "N",
		"use N threads beside one (0, the default: all processors)"},
	CLI_ROW_MEMORY,
	CLI_ROW_QUIET,
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

/* The program itself and its libraries. */
#define PROGRAM_BYTES (UINT64_C(16) << 20)

static const char *const table_bits[] = {"8", "16", "32", NULL};
static const char *const devices[] = {"cpu", "cuda", NULL};
static const char all_models[] = "llama-2-7b,llama-2-70b,llama-3-8b";

typedef struct bench_job {
	bool codec, kernels, gpu;
	bench_codec c;
	bench_kernels k;
	bench_gpu g;
	cli_progress progress;
} bench_job;

static int check_memory(const bench_job *job, const cli_common *common)
{
	const uint64_t codec = job->codec ? bench_codec_memory(&job->c) : 0;
	const uint64_t kernels = job->kernels ? bench_kernels_memory(&job->k) : job->gpu ? bench_gpu_memory(&job->g) : 0;
	const uint64_t need = PROGRAM_BYTES + (codec > kernels ? codec : kernels);
	char wanted[CLI_SIZE_TEXT], there[CLI_SIZE_TEXT];

	if (need <= common->memory_bytes)
		return CLI_OK;
	cli_error("bench", "%s of memory are needed, %s may be used", cli_format_bytes(wanted, need),
		cli_format_bytes(there, common->memory_bytes));
	cli_hint("--memory SIZE raises the limit; %s less",
		codec > kernels ? "a smaller --size needs" : "smaller --shapes need");
	return CLI_ERROR;
}

static int bench(bench_job *job, const cli_common *common)
{
	aqz_error err = {0};
	aqz_status status = AQZ_OK;
	json_t *root;

	bench_kernels_begin(&job->k);
	if (check_memory(job, common) != CLI_OK)
		return CLI_ERROR;
	cli_progress_begin(&job->progress, common->quiet);
	if (job->codec)
		status = bench_codec_run(&job->c, &err);
	if (status == AQZ_OK && job->kernels) {
		cli_progress_begin(&job->progress, common->quiet);
		status = bench_kernels_run(&job->k, &err);
	}
	if (status == AQZ_OK && job->gpu)
		status = bench_gpu_run(&job->g, &err);
	cli_progress_clear(&job->progress);
	if (status != AQZ_OK)
		return cli_error_status("bench", status, &err);
	if (!common->json) {
		if (job->codec)
			bench_codec_print(&job->c);
		if (job->kernels)
			bench_kernels_print(&job->k);
		if (job->gpu)
			bench_gpu_print(&job->g);
		return CLI_OK;
	}
	root = json_pack("{so si so}", "version", json_string(aqz_version()), "threads",
		(int)common->n_threads, "scheme", cli_json_scheme(&job->c.scheme));
	if (job->codec)
		bench_codec_json(root, &job->c);
	if (job->kernels)
		bench_kernels_json(root, &job->k);
	if (job->gpu)
		bench_gpu_json(root, &job->g);
	return cli_json_print(root);
}

static aqz_scheme parse_scheme(cli_parser *p)
{
	const aqz_scheme scheme = cli_value_scheme(p, p->value);

	if (p->exit_code < 0 && scheme.codec != AQZ_CODEC_ADDITIVE)
		cli_usage(p, "--scheme: '%s' is not possible; possible values: MxBgG[oO], such as 2x8g8",
			p->value);
	return scheme;
}

static void parse_only(cli_parser *p, bench_job *job)
{
	static const char *const parts[] = {"codec", "kernels", NULL};
	const int part = cli_value_choice(p, parts);

	job->codec = part == 0;
	job->kernels = part == 1;
}

static double parse_seconds(cli_parser *p)
{
	char *end;
	const double seconds = strtod(p->value, &end);

	if (end == p->value || *end != '\0' || !(seconds >= 0 && seconds <= 60))
		cli_usage(p, "--seconds: '%s' is not possible; possible values: 0 to 60", p->value);
	return seconds;
}

/* A GPU has kernels only. */
static void settle_device(cli_parser *p, bench_job *job)
{
	if (!job->gpu)
		return;
	if (job->codec && !job->kernels)
		cli_usage(p, "--device cuda is for kernels, which --only codec leaves out");
	else if (job->k.table_bits != 0)
		cli_usage(p, "--table-bits is for the CPU, not for --device cuda");
	job->codec = job->kernels = false;
	job->g.common = &p->common;
	job->g.scheme = job->c.scheme;
	job->g.shapes = job->k.shapes;
	job->g.seconds = job->k.seconds;
}

/* What goes together; then what was not said. */
static void settle(cli_parser *p, bench_job *job, bool full)
{
	if (p->exit_code >= 0)
		return;
	if (full && job->k.shapes.n > 0)
		cli_usage(p, "--full and --shapes exclude each other");
	else if (!job->kernels && (full || job->k.shapes.n > 0))
		cli_usage(p, "--full and --shapes are for kernels, which --only codec leaves out");
	if (job->k.shapes.n == 0)
		bench_parse_shapes(&job->k.shapes, p, full ? all_models : "llama-2-7b");
	if (job->k.seconds < 0)
		job->k.seconds = full ? 0.5 : 0.2;
	job->c.seconds = job->k.seconds;
	if (p->exit_code < 0)
		settle_device(p, job);
}

static int run(int argc, char **argv)
{
	bench_job *job = calloc(1, sizeof *job);
	bool full = false;
	cli_parser p;
	int code;

	if (job == NULL)
		return cli_error_nomem();
	job->codec = job->kernels = true;
	job->c = (bench_codec){.scheme = {AQZ_CODEC_ADDITIVE, .n_codebooks = 2, .code_bits = 8,
							   .in_group = 8, .out_group = 1},
		.effort = 5,
		.rows = 1024,
		.cols = 1024};
	job->k.seconds = -1;
	cli_parser_begin(&p, &cli_bench, argc, argv);
	while (cli_parser_next(&p)) {
		switch (p.id) {
		case OPT_ONLY:
			parse_only(&p, job);
			break;
		case OPT_DEVICE:
			job->gpu = cli_value_choice(&p, devices) == 1;
			break;
		case OPT_SCHEME:
			job->c.scheme = parse_scheme(&p);
			break;
		case OPT_SIZE:
			if (!bench_parse_size(&job->c.rows, &job->c.cols, p.value, strlen(p.value)))
				cli_usage(&p,
					"--size: '%s' is not possible; possible values: ROWSxCOLS, at most 2^30 "
					"weights, such as 4096x4096",
					p.value);
			break;
		case OPT_EFFORT:
			job->c.effort = (int)cli_value_number(&p, 1, 9);
			break;
		case OPT_SHAPES:
			bench_parse_shapes(&job->k.shapes, &p, p.value);
			break;
		case OPT_FULL:
			full = true;
			break;
		case OPT_TABLE_BITS:
			job->k.table_bits = 8u << cli_value_choice(&p, table_bits);
			break;
		case OPT_SECONDS:
			job->k.seconds = parse_seconds(&p);
			break;
		default:
			break;
		}
	}
	cli_parser_operands(&p, 0, 0, "");
	settle(&p, job, full);
	job->k.scheme = job->c.scheme;
	job->c.common = job->k.common = &p.common;
	job->c.progress = job->k.progress = &job->progress;
	if (p.exit_code < 0)
		p.exit_code = bench(job, &p.common);
	code = p.exit_code;
	cli_parser_end(&p);
	free(job);
	return code;
}

const cli_command cli_bench = {"bench", "[OPTION]...",
	"Measures encoding, decoding, files and products on this machine.", NULL, options, run};
