/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip calibrate: runs a model over a text and keeps what its linear layers are fed. */
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/model_input.h"

enum { OPT_SPREAD = MODEL_OPT_OWN, OPT_ROW_IMPORTANCE, OPT_IMPORTANCE_TOKENS, OPT_SEED };

static const cli_option options[] = {
	{CLI_OPT_OUTPUT, 'o', "output", "STATS.safetensors",
		"write to this file (required); - is standard output"},
	MODEL_ROW_TEXT,
	MODEL_ROW_IDS,
	MODEL_ROW_LENGTH,
	MODEL_ROW_WINDOWS,
	MODEL_ROW_TOKENS,
	{OPT_SPREAD, 0, "spread", NULL,
		"with --windows or --tokens: take windows spread evenly over the text, not the first"},
	MODEL_ROW_DOCUMENTS,
	MODEL_ROW_BOS,
	MODEL_ROW_TOKENIZER,
	{OPT_ROW_IMPORTANCE, 0, "row-importance", NULL,
		"also keep how much each output of a layer matters: the mean square of the loss gradient "
		"there, from a backward pass"},
	{OPT_IMPORTANCE_TOKENS, 0, "importance-tokens", "N",
		"use the windows with the first N tokens for it (default: all)"},
	{OPT_SEED, 0, "seed", "N", "of the labels that are sampled for it (default: 0)"},
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	CLI_ROW_FORCE,
	CLI_ROW_QUIET,
	{CLI_OPT_VERBOSE, 'v', "verbose", NULL, "also print memory and speed"},
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

typedef struct calibrate_job {
	const cli_common *common;
	const char *path;
	model_input input;
	cli_progress progress;
	aqz_model *model;
	aqz_windows windows;
	aqz_calibrate_options opt;
} calibrate_job;

static int report(const calibrate_job *job, bool to_stdout, double seconds)
{
	uint64_t tokens = job->windows.begin[job->windows.n_windows];
	char text[CLI_SIZE_TEXT];
	FILE *f = to_stdout ? stderr : stdout;

	if (job->common->json)
		return cli_json_print(json_pack("{so so so so so sf}", "model", cli_json_text(job->path),
			"output", cli_json_text(job->common->output), "tokens", cli_json_number(tokens),
			"windows", cli_json_number(job->windows.n_windows), "peak_memory_bytes",
			cli_json_number(model_peak_memory()), "seconds", seconds));
	if (job->common->quiet)
		return CLI_OK;
	fprintf(f, "%llu tokens in %llu windows\n", (unsigned long long)tokens,
		(unsigned long long)job->windows.n_windows);
	if (job->common->verbose) {
		model_print_memory(stderr, "model", job->model);
		fprintf(stderr, "%.2f s, %.0f tokens/s; peak memory %s\n", seconds,
			seconds > 0 ? (double)tokens / seconds : 0.0,
			cli_format_bytes(text, model_peak_memory()));
	}
	return CLI_OK;
}

static int write_stats(calibrate_job *job)
{
	struct stat st;
	cli_output out;
	aqz_error err = {0};
	aqz_status status;
	aqz_io io;
	double start = cli_now();
	bool have_input = stat(job->path, &st) == 0, to_stdout;
	int code =
		cli_output_file(&out, job->common->output, job->common->force, have_input ? &st : NULL);

	if (code != CLI_OK)
		return code;
	cli_output_io(&out, &io);
	cli_progress_begin(&job->progress, job->common->quiet);
	status = aqz_calibrate(job->model, &job->windows, &io, &job->opt, &err);
	cli_progress_clear(&job->progress);
	if (status != AQZ_OK) {
		code = out.problem[0] != '\0' ? cli_error(out.path, "%s", out.problem)
									  : cli_error_status(job->path, status, &err);
		cli_output_abort(&out);
		return code;
	}
	to_stdout = out.is_stdout;
	code = cli_output_commit(&out);
	return code == CLI_OK ? report(job, to_stdout, cli_now() - start) : code;
}

static int calibrate(calibrate_job *job, cli_parser *p)
{
	int code = model_open(&job->model, job->path, job->input.tokenizer, job->common->memory_bytes,
		job->common, &job->progress);

	if (code == CLI_OK)
		code = model_windows(&job->windows, p, &job->input, job->path, job->model, NULL);
	if (code != CLI_OK)
		return code;
	job->opt.n_threads = job->common->n_threads;
	job->opt.memlimit_bytes = model_memory_left(job->common->memory_bytes, model_bytes(job->model));
	job->opt.progress = cli_progress_tick;
	job->opt.progress_user = &job->progress;
	return write_stats(job);
}

static void take(cli_parser *p, calibrate_job *job)
{
	switch (p->id) {
	case OPT_SPREAD:
		job->input.spread = true;
		break;
	case OPT_ROW_IMPORTANCE:
		job->opt.row_importance = true;
		break;
	case OPT_IMPORTANCE_TOKENS:
		job->opt.importance_tokens = cli_value_number(p, 1, UINT64_C(1) << 48);
		break;
	case OPT_SEED:
		job->opt.seed = cli_value_number(p, 0, UINT64_MAX);
		break;
	default:
		break;
	}
}

static int run(int argc, char **argv)
{
	calibrate_job job = {.input = {.bos = -1}, .opt = {.struct_size = sizeof job.opt}};
	cli_parser p;

	cli_parser_begin(&p, &cli_calibrate, argc, argv);
	while (cli_parser_next(&p))
		if (!model_input_take(&p, &job.input))
			take(&p, &job);
	cli_parser_operands(&p, 1, 1, "MODEL");
	model_input_check(&p, &job.input);
	if (p.exit_code < 0 && p.common.output == NULL)
		cli_usage(&p, "-o STATS.safetensors is missing");
	else if (p.exit_code < 0 && job.input.spread && job.input.max_windows == 0 &&
		job.input.max_tokens == 0)
		cli_usage(&p, "--spread needs --windows N or --tokens N");
	else if (p.exit_code < 0 && job.opt.importance_tokens != 0 && !job.opt.row_importance)
		cli_usage(&p, "--importance-tokens needs --row-importance");
	else if (p.exit_code < 0 && p.common.json && strcmp(p.common.output, "-") == 0)
		cli_usage(&p, "--json and -o - both need standard output");
	if (p.exit_code < 0) {
		job.common = &p.common;
		job.path = p.operands[0];
		p.exit_code = calibrate(&job, &p);
	}
	aqz_windows_free(&job.windows);
	aqz_model_close(job.model);
	cli_parser_end(&p);
	return p.exit_code;
}

const cli_command cli_calibrate = {"calibrate", "MODEL --text FILE -o STATS.safetensors [OPTION]...",
	"Runs a model over a text and writes the statistics of its layers' inputs for compress "
	"--stats.",
	"MODEL is a Hugging Face folder, an .aqz file, a GGUF file, or a llama2.c .bin file.\n"
	"The same input, options and version give the same bytes, whatever --threads says.\n",
	options, run};
