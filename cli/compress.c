/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip compress: a model in, a container out. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compress.h"

enum {
	OPT_SCHEME = CLI_OPT_OWN,
	OPT_TENSORS,
	OPT_EFFORT,
	OPT_SEED,
	OPT_CODEBOOK_DTYPE,
	OPT_SCALE_DTYPE,
	OPT_ALIGN,
	OPT_NON_FINITE,
	OPT_ID,
	OPT_DRY_RUN
};

static const cli_option options[] = {
	{CLI_OPT_OUTPUT, 'o', "output", "OUT.aqz",
		"write to this file; - is standard output (default: MODEL.aqz)"},
	{OPT_SCHEME, 's', "scheme", "SCHEME",
		"of the 2-D projections of attention and MLP: raw, or MxBgG[oO]: M codebooks, B bits a "
		"code, G inputs and O outputs "
		"a codeword (default: 2x8g8); everything else is lossless"},
	{OPT_TENSORS, 't', "tensors", "GLOB=SCHEME",
		"tensors whose names match the shell pattern get this scheme (repeatable; the last match "
		"wins)"},
	{OPT_EFFORT, 'e', "effort", "1..9", "how long to search for good codes (default: 5)"},
	{OPT_SEED, 0, "seed", "N", "of the codebooks' start (default: 0)"},
	{OPT_CODEBOOK_DTYPE, 0, "codebook-dtype", "TYPE",
		"store codebooks as f16 (default), bf16 or f32"},
	{OPT_SCALE_DTYPE, 0, "scale-dtype", "TYPE", "store row scales as f16 (default), bf16 or f32"},
	{OPT_ALIGN, 0, "align", "64|4096", "align the data of chunks to so many bytes (default: 64)"},
	{OPT_NON_FINITE, 0, "non-finite", "error|raw",
		"infinities or NaN in a tensor to be coded: stop (default), or store that tensor "
		"losslessly"},
	{OPT_ID, 0, "id", "HEX32",
		"the file's id as 32 hexadecimal digits (default: a hash of the options and the tensors)"},
	{OPT_DRY_RUN, 'n', "dry-run", NULL,
		"only say what each tensor would become, with bytes and memory"},
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	CLI_ROW_FORCE,
	CLI_ROW_QUIET,
	CLI_ROW_VERBOSE,
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

static void on_warn(void *user, const char *line)
{
	compress_job *job = user;

	cli_progress_clear(&job->progress);
	cli_warn(job->model, "%s", line);
	if (job->warnings != NULL)
		json_array_append_new(job->warnings, cli_json_text(line));
}

static void on_tensor(
	void *user, const aqz_source_tensor *t, const aqz_scheme *scheme, const aqz_measured *measured)
{
	compress_job *job = user;
	char shape[CLI_SHAPE_TEXT], name[AQZ_SCHEME_TEXT_BYTES];

	if (measured == NULL) {
		cli_progress_item(&job->progress, t->name, t->n_bytes, job->n_tensors);
		return;
	}
	if (job->n_results < job->n_tensors) {
		compress_result *result = &job->results[job->n_results++];

		result->tensor = t;
		result->scheme = *scheme;
		result->measured = *measured;
	}
	if (!job->common->verbose || job->common->quiet)
		return;
	cli_progress_clear(&job->progress);
	aqz_scheme_format(name, scheme);
	cli_put_text(stderr, t->name);
	fprintf(stderr, ": %s %s %s", aqz_dtype_name(t->dtype),
		cli_format_shape(shape, t->shape, t->rank), name);
	if (measured->has_rel_mse)
		fprintf(stderr, ", relative MSE %.6f", measured->rel_mse);
	if (measured->raw_reason != AQZ_RAW_ASKED)
		fprintf(stderr, ", %s", cli_raw_reason(measured->raw_reason));
	fputc('\n', stderr);
}

/* MODEL.aqz: without .safetensors, without slashes at the end. *name is freed with free(). */
static int default_output(char **name, const char *model)
{
	static const char ending[] = ".safetensors";
	size_t n = strlen(model), m = sizeof ending - 1;
	char *full = NULL;
	const char *base;
	int code = CLI_OK;

	while (n > 1 && model[n - 1] == '/')
		n--;
	base = memrchr(model, '/', n);
	base = base != NULL ? base + 1 : model;
	/* "." has no name of its own. */
	if ((n == (size_t)(base - model) + 1 && *base == '.') ||
		(n == (size_t)(base - model) + 2 && memcmp(base, "..", 2) == 0)) {
		full = realpath(model, NULL);
		if (full != NULL) {
			model = full;
			n = strlen(full);
		}
	}
	if (n > m && memcmp(model + n - m, ending, m) == 0 && model[n - m - 1] != '/')
		n -= m;
	if (asprintf(name, "%.*s.aqz", n < INT_MAX ? (int)n : 0, model) < 0)
		code = cli_error_nomem();
	free(full);
	return code;
}

static int run_plan(compress_job *job, const aqz_plan *plan, const char *output)
{
	struct stat st;
	cli_output out;
	aqz_error err = {0};
	aqz_status status;
	aqz_io io;
	bool have_input = stat(job->model, &st) == 0;
	int code = cli_output_file(&out, output, job->common->force, have_input ? &st : NULL);

	if (code != CLI_OK)
		return code;
	cli_output_io(&out, &io);
	cli_progress_begin(&job->progress, job->common->quiet);
	job->start = cli_now();
	status = aqz_plan_run(plan, &io, &job->out_bytes, &err);
	cli_progress_clear(&job->progress);
	if (status != AQZ_OK) {
		code = out.problem[0] != '\0' ? cli_error(out.path, "%s", out.problem)
									  : cli_error_status(job->model, status, &err);
		cli_output_abort(&out);
		return code;
	}
	job->output = out.is_stdout ? "-" : output;
	code = cli_output_commit(&out);
	return code == CLI_OK ? compress_report(job, plan) : code;
}

static int compress(compress_job *job, aqz_compress_options *opt, const char *output)
{
	aqz_source *source = NULL;
	aqz_plan *plan = NULL;
	aqz_error err = {0};
	aqz_status status = aqz_source_open(&source, job->model, job->common->memory_bytes, &err);
	int code = CLI_OK;

	if (status == AQZ_OK) {
		job->source = source;
		job->n_tensors = aqz_source_n_tensors(source);
		job->results = calloc((size_t)job->n_tensors + 1, sizeof *job->results);
		if (job->common->json)
			job->warnings = json_array();
		opt->progress = cli_progress_tick;
		opt->progress_user = &job->progress;
		opt->warn = on_warn;
		opt->tensor = on_tensor;
		opt->user = job;
		status = job->results != NULL ? aqz_plan_make(&plan, source, opt, &err)
									  : cli_fail(&err, AQZ_E_NOMEM, "", "out of memory");
	}
	if (status != AQZ_OK)
		code = cli_error_status(job->model, status, &err);
	else
		code = job->dry_run ? compress_dry_run(job, plan) : run_plan(job, plan, output);
	aqz_plan_free(plan);
	aqz_source_close(source);
	free(job->results);
	json_decref(job->warnings);
	return code;
}

static void add_rule(cli_parser *p, aqz_compress_options *opt, aqz_rule *rules)
{
	/* The list of arguments is ours to cut. */
	char *equals = strchr((char *)(uintptr_t)p->value, '=');

	if (equals == NULL || equals == p->value) {
		cli_usage(p,
			"--tensors: '%s' is not possible; possible values: GLOB=SCHEME, such as "
			"'*.mlp.*=2x8g8' or "
			"'*.layers.0.*=raw'",
			p->value);
		return;
	}
	rules[opt->n_rules].scheme = cli_value_scheme(p, equals + 1);
	if (p->exit_code >= 0)
		return;
	*equals = '\0';
	rules[opt->n_rules++].glob = p->value;
}

static void parse_id(cli_parser *p, uint8_t id[16])
{
	bool good = strlen(p->value) == 32 && strspn(p->value, "0123456789abcdefABCDEF") == 32;

	for (size_t i = 0; good && i < 16; i++) {
		char two[3] = {p->value[2 * i], p->value[2 * i + 1], '\0'};

		id[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	if (!good)
		cli_usage(
			p, "--id: '%s' is not possible; possible values: 32 hexadecimal digits", p->value);
}

static void take(
	cli_parser *p, aqz_compress_options *opt, aqz_rule *rules, uint8_t id[16], compress_job *job)
{
	static const char *const aligns[] = {"64", "4096", NULL},
							 *const non_finite[] = {"error", "raw", NULL};

	switch (p->id) {
	case OPT_SCHEME:
		opt->scheme = cli_value_scheme(p, p->value);
		break;
	case OPT_TENSORS:
		add_rule(p, opt, rules);
		break;
	case OPT_EFFORT:
		opt->effort = (int)cli_value_number(p, 1, 9);
		break;
	case OPT_SEED:
		opt->seed = cli_value_number(p, 0, UINT64_MAX);
		break;
	case OPT_CODEBOOK_DTYPE:
		opt->codebook_dtype = cli_value_float(p);
		break;
	case OPT_SCALE_DTYPE:
		opt->scale_dtype = cli_value_float(p);
		break;
	case OPT_ALIGN:
		opt->alignment = cli_value_choice(p, aligns) == 0 ? 64 : 4096;
		break;
	case OPT_NON_FINITE:
		opt->non_finite =
			cli_value_choice(p, non_finite) == 0 ? AQZ_NON_FINITE_ERROR : AQZ_NON_FINITE_RAW;
		break;
	case OPT_ID:
		parse_id(p, id);
		opt->id = id;
		break;
	case OPT_DRY_RUN:
		job->dry_run = true;
		break;
	default:
		break;
	}
}

static int run(int argc, char **argv)
{
	aqz_compress_options opt = {.struct_size = sizeof opt,
		.scheme = {
			AQZ_CODEC_ADDITIVE, .n_codebooks = 2, .code_bits = 8, .in_group = 8, .out_group = 1}};
	aqz_rule *rules = calloc((size_t)argc + 1, sizeof *rules);
	compress_job job = {.dry_run = false};
	char *made = NULL;
	const char *output;
	uint8_t id[16];
	cli_parser p;

	cli_parser_begin(&p, &cli_compress, argc, argv);
	if (rules == NULL)
		p.exit_code = cli_error_nomem();
	while (cli_parser_next(&p))
		take(&p, &opt, rules, id, &job);
	cli_parser_operands(&p, 1, 1, "MODEL");
	output = p.common.output;
	if (p.exit_code < 0 && output != NULL && strcmp(output, "-") == 0 && p.common.json &&
		!job.dry_run)
		cli_usage(&p, "--json and -o - both need standard output");
	if (p.exit_code < 0 && strcmp(p.operands[0], "-") == 0)
		cli_usage(
			&p, "a model comes from a .safetensors file or a folder, not from standard input");
	if (p.exit_code < 0 && output == NULL && !job.dry_run) {
		int code = default_output(&made, p.operands[0]);

		output = made;
		if (code != CLI_OK)
			p.exit_code = code;
	}
	if (p.exit_code < 0) {
		opt.rules = rules;
		opt.n_threads = p.common.n_threads;
		opt.memlimit_bytes = p.common.memory_bytes;
		job.common = &p.common;
		job.model = p.operands[0];
		p.exit_code = compress(&job, &opt, output);
	}
	cli_parser_end(&p);
	free(made);
	free(rules);
	return p.exit_code;
}

const cli_command cli_compress = {"compress", "MODEL [-o OUT.aqz] [OPTION]...",
	"Compresses a .safetensors file or a Hugging Face model folder.",
	"The same input, options and version give the same bytes, whatever --threads says.\n", options,
	run};
