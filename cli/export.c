/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip export: a model in the form of another tool. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "aqlmzip_model.h"
#include "cli/cli.h"

enum { OPT_FORMAT = CLI_OPT_OWN, OPT_DTYPE, OPT_TOKENIZER, OPT_SHARD_BYTES };

static const cli_option options[] = {
	{CLI_OPT_OUTPUT, 'o', "output", "DIR", "write this folder (required)"},
	{OPT_FORMAT, 0, "format", "FORMAT", "hf (the default): a Hugging Face folder"},
	{OPT_DTYPE, 'd', "dtype", "TYPE", "of all weights: bf16 (the default), f16 or f32"},
	{OPT_TOKENIZER, 0, "tokenizer", "FILE",
		"tokenizer.json, tokenizer.model, a GGUF file or a folder, instead of the model's own"},
	{OPT_SHARD_BYTES, 0, "shard-bytes", "SIZE",
		"cut the weights into files of at most about SIZE bytes, such as 5G (default: one file)"},
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	CLI_ROW_FORCE,
	CLI_ROW_QUIET,
	{CLI_OPT_VERBOSE, 'v', "verbose", NULL, "print a line for each file"},
	CLI_ROW_HELP,
	CLI_ROW_END,
};

/* The folder under way. */
typedef struct folder {
	const cli_common *common;
	cli_output *out;
	cli_progress *progress;
	char name[64]; /* of the open file */
	int fd;		   /* -1: none */
	uint64_t file_bytes, total_bytes;
	bool write_failed;
} folder;

static aqz_status finish_file(folder *f, aqz_error *err)
{
	const int fd = f->fd;

	f->fd = -1;
	if (fd < 0)
		return AQZ_OK;
	if (cli_output_finish_file(fd) != 0) {
		f->write_failed = true;
		return cli_fail_errno(err, f->name, errno);
	}
	if (f->common->verbose) {
		char size[CLI_SIZE_TEXT];

		cli_progress_clear(f->progress);
		printf("%s: %s\n", f->name, cli_format_bytes(size, f->file_bytes));
	}
	return AQZ_OK;
}

static aqz_status begin_file(void *user, const char *name, aqz_error *err)
{
	folder *f = user;
	const aqz_status status = finish_file(f, err);

	if (status != AQZ_OK)
		return status;
	f->fd = cli_output_create(f->out, name);
	snprintf(f->name, sizeof f->name, "%s", name);
	f->file_bytes = 0;
	if (f->fd < 0) {
		f->write_failed = true;
		return cli_fail_errno(err, name, errno);
	}
	return AQZ_OK;
}

static aqz_status write_file(void *user, const void *data, size_t n, aqz_error *err)
{
	folder *f = user;
	const aqz_status status = cli_write(f->fd, data, n, err);

	f->write_failed = status != AQZ_OK;
	f->file_bytes += n;
	f->total_bytes += n;
	return status;
}

static aqz_status open_model(
	aqz_model **model, const cli_parser *p, const char *tokenizer, aqz_error *err)
{
	cli_progress progress;
	aqz_model_options opt = {
		.struct_size = sizeof opt,
		.tokenizer = tokenizer,
		.memlimit_bytes = p->common.memory_bytes,
		.n_threads = p->common.n_threads,
		.progress = cli_progress_tick,
		.progress_user = &progress,
	};
	aqz_status status;

	cli_progress_begin(&progress, p->common.quiet);
	cli_progress_item(&progress, "reading", 0, 0);
	status = aqz_model_open(model, p->operands[0], &opt, err);
	cli_progress_clear(&progress);
	return status;
}

static aqz_status write_model(
	folder *f, const aqz_model *model, aqz_export_options *opt, aqz_error *err)
{
	const aqz_folder_sink sink = {.user = f, .begin = begin_file, .write = write_file};
	const uint64_t limit = f->common->memory_bytes;
	aqz_model_memory memory;
	uint64_t used;
	aqz_status status;

	aqz_model_get_memory(model, &memory);
	used = memory.dense + memory.blocks + memory.codes + memory.codebooks;
	opt->memlimit_bytes = used < limit ? limit - used : 1;
	opt->progress = cli_progress_tick;
	opt->progress_user = f->progress;
	cli_progress_begin(f->progress, f->common->quiet);
	cli_progress_item(f->progress, "writing", 0, 0);
	status = aqz_model_export(model, &sink, opt, err);
	if (status == AQZ_OK)
		status = finish_file(f, err);
	cli_progress_clear(f->progress);
	return status;
}

static int run_export(const cli_parser *p, const char *tokenizer, aqz_export_options *opt)
{
	const double start = cli_now();
	aqz_model *model = NULL;
	cli_progress progress = {0};
	cli_output out;
	folder f = {.common = &p->common, .out = &out, .progress = &progress, .fd = -1};
	aqz_error err = {0};
	aqz_status status;
	/* Before the model is read, so that a name that is taken is told at once. */
	int code = cli_output_folder(&out, p->common.output, p->common.force);

	if (code != CLI_OK)
		return code;
	status = open_model(&model, p, tokenizer, &err);
	if (status == AQZ_OK)
		status = write_model(&f, model, opt, &err);
	aqz_model_close(model);
	if (f.fd >= 0)
		close(f.fd);
	if (status != AQZ_OK) {
		code = cli_error_status(f.write_failed ? out.path : p->operands[0], status, &err);
		cli_output_abort(&out);
		return code;
	}
	code = cli_output_commit(&out);
	if (code == CLI_OK && !p->common.quiet) {
		cli_put_text(stdout, p->common.output);
		printf(": %" PRIu64 " bytes in %.1f s\n", f.total_bytes, cli_now() - start);
	}
	return code;
}

static int run(int argc, char **argv)
{
	static const char *const formats[] = {"hf", NULL};
	aqz_export_options opt = {.struct_size = sizeof opt};
	const char *tokenizer = NULL;
	cli_parser p;

	cli_parser_begin(&p, &cli_export, argc, argv);
	while (cli_parser_next(&p)) {
		switch (p.id) {
		case OPT_FORMAT:
			cli_value_choice(&p, formats);
			break;
		case OPT_DTYPE:
			opt.dtype = cli_value_float(&p);
			break;
		case OPT_TOKENIZER:
			tokenizer = p.value;
			break;
		case OPT_SHARD_BYTES:
			opt.shard_bytes = cli_value_bytes(&p);
			if (p.exit_code < 0 && opt.shard_bytes == 0)
				cli_usage(&p, "--shard-bytes: at least 1 is needed");
			break;
		default:
			break;
		}
	}
	cli_parser_operands(&p, 1, 1, "MODEL");
	if (p.exit_code < 0 && p.common.output == NULL)
		cli_usage(&p, "-o DIR is missing");
	else if (p.exit_code < 0 && strcmp(p.common.output, "-") == 0)
		cli_usage(&p, "-o - is not possible: a folder is written");
	if (p.exit_code < 0)
		p.exit_code = run_export(&p, tokenizer, &opt);
	cli_parser_end(&p);
	return p.exit_code;
}

const cli_command cli_export = {"export", "MODEL -o DIR [OPTION]...",
	"Writes a model (Hugging Face folder, .aqz, GGUF, llama2.c) as a plain Hugging Face folder.",
	"Weights are reconstructed and rounded once, to nearest even.\n", options, run};
