/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip decompress: a container back to a model folder, a safetensors file, or elements. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/restore.h"

enum { OPT_DTYPE = CLI_OPT_OWN, OPT_TENSOR, OPT_ROWS, OPT_ORIGINAL };

static const cli_option options[] = {
	{CLI_OPT_OUTPUT, 'o', "output", "OUT",
		"write there: one file if OUT ends in .safetensors, else the original folder; - is "
		"standard output"},
	{OPT_TENSOR, 't', "tensor", "NAME",
		"only this tensor (repeatable); its raw elements if OUT does not end in .safetensors"},
	{OPT_ROWS, 'r', "rows", "A:B",
		"with one --tensor: rows A to B - 1 of its coded view; either may be left out"},
	{OPT_DTYPE, 'd', "dtype", "TYPE", "convert F64, F32, F16 and BF16 tensors to f32, f16 or bf16"},
	{OPT_ORIGINAL, 0, "original", NULL,
		"demand the very bytes of the source files; refuse if a tensor is not lossless"},
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	CLI_ROW_FORCE,
	CLI_ROW_QUIET,
	CLI_ROW_VERBOSE,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

static bool ends_with(const char *text, const char *ending)
{
	size_t n = strlen(text), m = strlen(ending);

	return n > m && strcmp(text + n - m, ending) == 0;
}

static void parse_rows(cli_parser *p, restore_options *opt)
{
	char first[32];
	const char *colon = strchr(p->value, ':');
	size_t n = colon != NULL ? (size_t)(colon - p->value) : 0;

	opt->has_rows = true;
	opt->row_end = UINT64_MAX;
	if (colon != NULL && n < sizeof first) {
		memcpy(first, p->value, n);
		first[n] = '\0';
		if ((n == 0 || cli_parse_number(&opt->row_begin, first)) &&
			(colon[1] == '\0' || cli_parse_number(&opt->row_end, colon + 1)) &&
			opt->row_begin <= opt->row_end)
			return;
	}
	cli_usage(p,
		"--rows: '%s' is not possible; possible values: A:B with A <= B, such as 0:64, 128: or :10",
		p->value);
}

/* The output's name where none was given: the source file's name beside the container, or the
 * container's name without .aqz for a folder. *name is freed with free(). */
static int default_output(char **name, restore_options *opt)
{
	aqz_reader_options reader_options = {
		.struct_size = sizeof reader_options, .memlimit_bytes = opt->common->memory_bytes};
	const char *path = opt->in->name, *slash = strrchr(path, '/'), *single = NULL;
	int folder_bytes = slash != NULL ? (int)(slash - path) + 1 : 0;
	const aqz_section_info *section;
	uint32_t n_headers = 0, n_files = 0;
	aqz_reader *reader;
	aqz_error err = {0};
	aqz_status status = aqz_reader_open(&reader, &opt->in->io, &reader_options, &err);
	int code = CLI_OK;

	if (status != AQZ_OK)
		return cli_error_status(path, status, &err);
	for (uint32_t i = 0; (section = aqz_reader_section(reader, i)) != NULL; i++) {
		n_files += section->kind == AQZ_KIND_FILE;
		n_headers += section->kind == AQZ_KIND_SOURCE_HEADER;
		if (section->kind == AQZ_KIND_SOURCE_HEADER)
			single = section->name;
	}
	if (n_headers == 1 && n_files == 0) {
		opt->mode = RESTORE_SAFETENSORS;
		if (asprintf(name, "%.*s%s", folder_bytes, path, single) < 0)
			code = cli_error_nomem();
	} else if (ends_with(path, ".aqz")) {
		opt->mode = RESTORE_FOLDER;
		*name = strndup(path, strlen(path) - 4);
		if (*name == NULL)
			code = cli_error_nomem();
	} else {
		code = cli_error(path, "holds a folder; name it with -o");
	}
	aqz_reader_close(reader);
	return code;
}

static int decompress(restore_options *opt, const char *output)
{
	bool folder = opt->mode == RESTORE_FOLDER;
	double start = cli_now();
	aqz_error err = {0};
	aqz_status status;
	cli_output out;
	restore r;
	int code = folder ? cli_output_folder(&out, output, opt->common->force)
					  : cli_output_file(&out, output, opt->common->force, &opt->in->st);

	if (code != CLI_OK)
		return code;
	opt->out = &out;
	restore_begin(&r, opt);
	status = opt->in->stream ? restore_from_pipe(&r, &err) : restore_from_file(&r, &err);
	cli_progress_clear(&r.progress);
	if (status != AQZ_OK) {
		code = cli_error_status(
			r.write_failed || status == AQZ_E_SPACE ? out.path : opt->in->name, status, &err);
		if (status == AQZ_E_CHECKSUM || status == AQZ_E_CORRUPT || status == AQZ_E_TRUNCATED)
			cli_hint("'aqlmzip verify' says what is broken, 'aqlmzip salvage' saves the rest");
	}
	restore_end(&r);
	if (code != CLI_OK) {
		cli_output_abort(&out);
		return code;
	}
	code = cli_output_commit(&out);
	if (code == CLI_OK && !opt->common->quiet && !out.is_stdout) {
		cli_put_text(stdout, output);
		printf(": %" PRIu64 " bytes of tensors in %.1f s\n", (uint64_t)r.done_bytes,
			cli_now() - start);
	}
	return code;
}

static void check(cli_parser *p, restore_options *opt)
{
	const char *output = p->common.output;

	if (opt->has_rows && opt->n_names != 1)
		cli_usage(p, "--rows needs exactly one --tensor");
	else if (opt->original && (opt->n_names > 0 || opt->dtype != 0))
		cli_usage(p, "--original excludes --tensor, --rows and --dtype");
	else if (opt->n_names > 0 && output == NULL)
		cli_usage(p, "--tensor needs -o OUT (or -o - for standard output)");
	if (p->exit_code >= 0 || output == NULL)
		return;
	opt->mode = ends_with(output, ".safetensors") ? RESTORE_SAFETENSORS
		: opt->n_names > 0						  ? RESTORE_RAW
		: strcmp(output, "-") == 0				  ? RESTORE_SAFETENSORS
												  : RESTORE_FOLDER;
	if (opt->mode == RESTORE_RAW && opt->n_names > 1)
		cli_usage(p, "several tensors need an output that ends in .safetensors");
}

static int run_decompress(cli_parser *p, restore_options *opt)
{
	const char *output = p->common.output;
	char *made = NULL;
	cli_input in;
	int code = cli_input_open(&in, p->operands[0]);

	if (code != CLI_OK)
		return code;
	opt->in = &in;
	if (in.stream && output == NULL) {
		cli_usage(p, "a pipe as input needs -o OUT");
		code = p->exit_code;
	} else if (in.stream && opt->mode == RESTORE_SAFETENSORS &&
		(strcmp(output, "-") == 0 || opt->has_rows)) {
		cli_usage(p,
			"from a pipe to standard output only one tensor's elements can go: give --tensor NAME, "
			"or a file");
		code = p->exit_code;
	} else if (output == NULL) {
		code = default_output(&made, opt);
		output = made;
	}
	if (code == CLI_OK)
		code = decompress(opt, output);
	cli_input_close(&in);
	free(made);
	return code;
}

static int run(int argc, char **argv)
{
	restore_options opt = {.common = NULL};
	cli_parser p;

	cli_parser_begin(&p, &cli_decompress, argc, argv);
	opt.common = &p.common;
	opt.names = calloc((size_t)argc + 1, sizeof *opt.names);
	if (opt.names == NULL)
		p.exit_code = cli_error_nomem();
	while (cli_parser_next(&p)) {
		switch (p.id) {
		case OPT_DTYPE:
			opt.dtype = cli_value_float(&p);
			break;
		case OPT_TENSOR:
			opt.names[opt.n_names++] = p.value;
			break;
		case OPT_ROWS:
			parse_rows(&p, &opt);
			break;
		case OPT_ORIGINAL:
			opt.original = true;
			break;
		default:
			break;
		}
	}
	cli_parser_operands(&p, 1, 1, "IN.aqz");
	if (p.exit_code < 0)
		check(&p, &opt);
	if (p.exit_code < 0)
		p.exit_code = run_decompress(&p, &opt);
	cli_parser_end(&p);
	free(opt.names);
	return p.exit_code;
}

const cli_command cli_decompress = {"decompress", "IN.aqz|- [-o OUT] [OPTION]...",
	"Writes the model folder, a .safetensors file or single tensors back.",
	"Without -o a single source file gets its own name back, a folder that of IN.aqz without "
	".aqz.\n",
	options, run};
