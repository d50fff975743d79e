/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip eval: how well a model predicts a text, and how far it is from another. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/model_input.h"

enum { OPT_REFERENCE = MODEL_OPT_OWN };

static const cli_option options[] = {
	MODEL_ROW_TEXT,
	MODEL_ROW_IDS,
	{OPT_REFERENCE, 0, "reference", "MODEL",
		"also compare with this model: KL divergence, and how often both have the same likeliest "
		"token"},
	MODEL_ROW_LENGTH,
	MODEL_ROW_WINDOWS,
	MODEL_ROW_TOKENS,
	MODEL_ROW_DOCUMENTS,
	MODEL_ROW_BOS,
	MODEL_ROW_TOKENIZER,
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	CLI_ROW_QUIET,
	{CLI_OPT_VERBOSE, 'v', "verbose", NULL, "also print memory and speed"},
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

typedef struct eval_job {
	const cli_common *common;
	const char *path, *reference_path;
	model_input input;
	cli_progress progress;
	aqz_model *model, *reference;
	aqz_windows windows;
	aqz_evaluation result;
} eval_job;

static void row(const char *name, double factor, aqz_mean value, const char *unit)
{
	printf("%-22s%10.6g +- %.2g%s\n", name, factor * value.mean, factor * value.error, unit);
}

static int print_table(const eval_job *job)
{
	const aqz_evaluation *r = &job->result;

	row("perplexity", 1, r->perplexity, "");
	if (job->windows.n_bytes != 0)
		row("bits per byte", 1, r->bits_per_byte, "");
	if (r->has_reference) {
		row("reference perplexity", 1, r->reference_perplexity, "");
		row("KL divergence", 1, r->kl, " nats a token");
		row("top-1 agreement", 100, r->top1_agreement, " %");
	}
	printf("%llu predictions in %llu windows\n", (unsigned long long)r->n_predictions,
		(unsigned long long)r->n_windows);
	return CLI_OK;
}

static void print_verbose(const eval_job *job)
{
	char text[CLI_SIZE_TEXT];
	const aqz_evaluation *r = &job->result;
	uint64_t tokens = job->windows.begin[job->windows.n_windows];

	model_print_memory(stderr, "model", job->model);
	if (job->reference != NULL)
		model_print_memory(stderr, "reference", job->reference);
	fprintf(stderr, "%.2f s, %.0f tokens/s; peak memory %s\n", r->seconds,
		r->seconds > 0 ? (double)tokens / r->seconds : 0.0,
		cli_format_bytes(text, model_peak_memory()));
}

static void add_mean(json_t *object, const char *name, aqz_mean value)
{
	char error[64];

	snprintf(error, sizeof error, "%s_error", name);
	json_object_set_new(object, name, json_real(value.mean));
	json_object_set_new(object, error, json_real(value.error));
}

static int print_json(const eval_job *job)
{
	const aqz_evaluation *r = &job->result;
	json_t *root = json_pack("{so}", "model", cli_json_text(job->path));

	add_mean(root, "perplexity", r->perplexity);
	add_mean(root, "nll", r->nll);
	if (job->windows.n_bytes != 0)
		add_mean(root, "bits_per_byte", r->bits_per_byte);
	else
		json_object_set_new(root, "bits_per_byte", json_null());
	if (r->has_reference) {
		json_object_set_new(root, "reference", cli_json_text(job->reference_path));
		add_mean(root, "reference_perplexity", r->reference_perplexity);
		add_mean(root, "kl", r->kl);
		add_mean(root, "top1_agreement", r->top1_agreement);
	} else {
		json_object_set_new(root, "kl", json_null());
		json_object_set_new(root, "top1_agreement", json_null());
	}
	json_object_set_new(root, "n_predictions", cli_json_number(r->n_predictions));
	json_object_set_new(root, "windows", cli_json_number(r->n_windows));
	json_object_set_new(root, "tokens", cli_json_number(job->windows.begin[job->windows.n_windows]));
	json_object_set_new(root, "text_bytes", cli_json_number(job->windows.n_bytes));
	json_object_set_new(root, "model_bytes", cli_json_number(model_bytes(job->model)));
	json_object_set_new(root, "peak_memory_bytes", cli_json_number(model_peak_memory()));
	json_object_set_new(root, "seconds", json_real(r->seconds));
	return cli_json_print(root);
}

/* Says whose fault it was. */
static int failed(const eval_job *job, aqz_status status, aqz_error *err)
{
	const char *name = job->path;

	if (strcmp(err->where, "reference") == 0)
		name = job->reference_path;
	else if (strcmp(err->where, "windows") == 0)
		name = job->input.ids != NULL ? job->input.ids : job->input.text;
	if (name != job->path)
		err->where[0] = '\0';
	return cli_error_status(name, status, err);
}

static int evaluate(eval_job *job, cli_parser *p)
{
	aqz_evaluate_options opt = {.struct_size = sizeof opt,
		.n_threads = job->common->n_threads,
		.progress = cli_progress_tick,
		.progress_user = &job->progress};
	uint64_t held;
	aqz_error err = {0};
	aqz_status status;
	int code = model_open(&job->model, job->path, job->input.tokenizer, job->common->memory_bytes,
		job->common, &job->progress);

	if (code != CLI_OK)
		return code;
	held = model_bytes(job->model);
	if (job->reference_path != NULL) {
		/* The model's tokenizer makes the windows; this one's is not needed, but a given one may
		 * stand in for one that it lacks. */
		code = model_open(&job->reference, job->reference_path, job->input.tokenizer,
			model_memory_left(job->common->memory_bytes, held), job->common, &job->progress);
		if (code != CLI_OK)
			return code;
		held += model_bytes(job->reference);
	}
	code = model_windows(&job->windows, p, &job->input, job->path, job->model, job->reference);
	if (code != CLI_OK)
		return code;
	opt.memlimit_bytes = model_memory_left(job->common->memory_bytes, held);
	cli_progress_begin(&job->progress, job->common->quiet);
	status = aqz_evaluate(&job->result, job->model, job->reference, &job->windows, &opt, &err);
	cli_progress_clear(&job->progress);
	if (status != AQZ_OK)
		return failed(job, status, &err);
	/* Overflow on the way: no number of these would say anything. */
	if (!isfinite(job->result.perplexity.mean) ||
		(job->result.has_reference && !isfinite(job->result.reference_perplexity.mean)))
		return cli_error(isfinite(job->result.perplexity.mean) ? job->reference_path : job->path,
			"its logits are not finite");
	if (job->common->verbose && !job->common->quiet)
		print_verbose(job);
	return job->common->json ? print_json(job) : print_table(job);
}

static int run(int argc, char **argv)
{
	eval_job job = {.input = {.bos = -1}};
	cli_parser p;

	cli_parser_begin(&p, &cli_eval, argc, argv);
	while (cli_parser_next(&p)) {
		if (model_input_take(&p, &job.input))
			continue;
		if (p.id == OPT_REFERENCE)
			job.reference_path = p.value;
	}
	cli_parser_operands(&p, 1, 1, "MODEL");
	model_input_check(&p, &job.input);
	if (p.exit_code < 0) {
		job.common = &p.common;
		job.path = p.operands[0];
		p.exit_code = evaluate(&job, &p);
	}
	aqz_windows_free(&job.windows);
	aqz_model_close(job.reference);
	aqz_model_close(job.model);
	cli_parser_end(&p);
	return p.exit_code;
}

const cli_command cli_eval = {"eval", "MODEL --text FILE [OPTION]...",
	"Measures how well a model predicts a text, alone or beside another model.",
	"MODEL is a Hugging Face folder, an .aqz file, a GGUF file, or a llama2.c .bin file.\n",
	options, run};
