/* SPDX-License-Identifier: Apache-2.0 */
/* compress: opens what the command line names, runs the plan, tells what happens. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compress.h"

static void on_warn(void *user, const char *line)
{
	compress_job *job = user;

	cli_progress_clear(&job->progress);
	cli_warn(job->model, "%s", line);
	if (job->warnings != NULL)
		json_array_append_new(job->warnings, cli_json_text(line));
}

static void on_stored(void *user, const aqz_source_tensor *t, uint64_t n_bytes)
{
	(void)t;
	((compress_job *)user)->tensor_bytes = n_bytes;
}

static void on_slope(void *user, double c)
{
	((compress_job *)user)->slope = c;
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
		result->n_bytes = job->tensor_bytes;
	}
	if (!job->common->verbose || job->common->quiet)
		return;
	cli_progress_clear(&job->progress);
	aqz_scheme_format(name, scheme);
	cli_put_text(stderr, t->name);
	fprintf(stderr, ": %s %s %s", aqz_dtype_name(t->dtype),
		cli_format_shape(shape, t->shape, t->rank), name);
	if (scheme->codec == AQZ_CODEC_TRELLIS)
		fprintf(stderr, ", %.3f bits each", 8 * (double)job->tensor_bytes / (double)t->n_elements);
	if (measured->has_rel_mse)
		fprintf(stderr, ", relative MSE %.6f", measured->rel_mse);
	if (measured->has_loss)
		fprintf(stderr, ", loss %.6f", measured->loss_after);
	if (measured->has_loss && scheme->codec == AQZ_CODEC_ADDITIVE)
		fprintf(stderr, " (start %.6f)", measured->loss_before);
	if (!measured->has_loss && measured->has_rel_mse && job->stats_path != NULL)
		fputs(", no statistics", stderr);
	if (measured->raw_reason != AQZ_RAW_ASKED)
		fprintf(stderr, ", %s", cli_raw_reason(measured->raw_reason));
	fputc('\n', stderr);
}

int compress_default_output(char **name, const char *model)
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

/* Says why a run ended; the checkpoints that it has made are kept. */
static int failed(
	const compress_job *job, const cli_output *out, aqz_status status, const aqz_error *err)
{
	if (status == AQZ_E_CANCELLED && cli_interrupted() && job->checkpoints != NULL)
		return cli_error(job->model,
			"stopped by a signal; --resume goes on from the checkpoints in '%s'", job->checkpoints);
	if (out->problem[0] != '\0')
		return cli_error(out->path, "%s", out->problem);
	if (strcmp(err->where, "options.checkpoint_dir") == 0)
		return cli_error(job->checkpoints, "%s", err->text);
	return cli_error_status(job->model, status, err);
}

/* The output is safe: nothing has to be gone on with any more. */
static void forget(const compress_job *job, const aqz_plan *plan)
{
	aqz_error err = {0};

	if (aqz_plan_forget(plan, &err) != AQZ_OK)
		cli_warn(job->checkpoints, "the output is done, but its checkpoints stay: %s", err.text);
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
		code = failed(job, &out, status, &err);
		cli_output_abort(&out);
		return code;
	}
	job->output = out.is_stdout ? "-" : output;
	code = cli_output_commit(&out);
	if (code != CLI_OK)
		return code;
	forget(job, plan);
	return compress_report(job, plan);
}

/* Opens a container that codebooks are taken from, or that is coded anew. */
static int open_container(
	cli_input *in, aqz_reader **reader, const compress_job *job, const char *path)
{
	aqz_reader_options options = {
		.struct_size = sizeof options, .memlimit_bytes = job->common->memory_bytes};
	aqz_error err = {0};
	aqz_status status;
	int code = cli_input_open(in, path);

	if (code != CLI_OK)
		return code;
	if (in->stream)
		return cli_error(in->name, "it is read at random: this needs a regular file");
	status = aqz_reader_open(reader, &in->io, &options, &err);
	return status == AQZ_OK ? CLI_OK : cli_error_status(in->name, status, &err);
}

static int with_source(compress_job *job, aqz_compress_options *opt, const char *output)
{
	aqz_source *source = NULL;
	aqz_plan *plan = NULL;
	aqz_error err = {0};
	aqz_status status = AQZ_OK;
	aqz_reader *reader = NULL;
	cli_input in = {.fd = -1};
	int code = CLI_OK;

	if (job->transcode) {
		code = open_container(&in, &reader, job, job->model);
		if (code != CLI_OK) {
			cli_input_close(&in);
			return code;
		}
		job->in_bytes = (uint64_t)in.st.st_size;
		status = aqz_source_from_reader(&source, reader, job->common->memory_bytes, &err);
	} else {
		status = aqz_source_open(&source, job->model, job->common->memory_bytes, &err);
	}

	if (status == AQZ_OK) {
		job->source = source;
		job->n_tensors = aqz_source_n_tensors(source);
		job->results = calloc((size_t)job->n_tensors + 1, sizeof *job->results);
		if (job->common->json)
			job->warnings = json_array();
		opt->progress = cli_progress_tick;
		opt->progress_user = &job->progress;
		opt->warn = on_warn;
		opt->slope = on_slope;
		opt->stored = on_stored;
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
	aqz_reader_close(reader);
	cli_input_close(&in);
	free(job->results);
	json_decref(job->warnings);
	return code;
}

int compress_run(compress_job *job, aqz_compress_options *opt, const char *output)
{
	aqz_stats *stats = NULL;
	aqz_reader *codebooks = NULL;
	cli_input in = {.fd = -1};
	aqz_error err = {0};
	aqz_status status = AQZ_OK;
	int code = CLI_OK;

	if (job->stats_path != NULL)
		status = aqz_stats_open(&stats, job->stats_path, job->common->memory_bytes, &err);
	if (status != AQZ_OK)
		code = cli_error_status(job->stats_path, status, &err);
	if (code == CLI_OK && job->codebooks_path != NULL)
		code = open_container(&in, &codebooks, job, job->codebooks_path);
	opt->stats = stats;
	opt->codebooks_from = codebooks;
	if (code == CLI_OK)
		code = with_source(job, opt, output);
	aqz_reader_close(codebooks);
	cli_input_close(&in);
	aqz_stats_close(stats);
	return code;
}
