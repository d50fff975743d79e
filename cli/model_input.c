/* SPDX-License-Identifier: Apache-2.0 */
/* Models and texts for the commands that run a model. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/model_input.h"

/* Windows are no longer than this unless somebody asks. */
#define USUAL_LENGTH 2048

bool model_input_take(cli_parser *p, model_input *in)
{
	static const char *const bos[] = {"none", "first", "each", NULL};

	switch (p->id) {
	case MODEL_OPT_TEXT:
		in->text = p->value;
		return true;
	case MODEL_OPT_IDS:
		in->ids = p->value;
		return true;
	case MODEL_OPT_LENGTH:
		in->length = (uint32_t)cli_value_number(p, 2, INT32_MAX);
		return true;
	case MODEL_OPT_WINDOWS:
		in->max_windows = cli_value_number(p, 1, UINT32_MAX);
		return true;
	case MODEL_OPT_TOKENS:
		in->max_tokens = cli_value_number(p, 2, UINT64_C(1) << 48);
		return true;
	case MODEL_OPT_DOCUMENTS:
		in->separator = p->value;
		if (*p->value == '\0')
			cli_usage(p, "--documents: an empty separator separates nothing");
		return true;
	case MODEL_OPT_BOS:
		in->bos = cli_value_choice(p, bos);
		return true;
	case MODEL_OPT_TOKENIZER:
		in->tokenizer = p->value;
		return true;
	default:
		return false;
	}
}

void model_input_check(cli_parser *p, const model_input *in)
{
	if (p->exit_code >= 0)
		return;
	if (in->text == NULL && in->ids == NULL)
		cli_usage(p, "--text FILE or --ids FILE.npy is missing");
	else if (in->text != NULL && in->ids != NULL)
		cli_usage(p, "--text and --ids exclude each other");
	else if (in->ids != NULL && (in->separator != NULL || in->bos >= 0))
		cli_usage(p, "--documents and --bos are for a --text; --ids are taken as they are");
}

uint64_t model_bytes(const aqz_model *m)
{
	aqz_model_memory memory;

	aqz_model_get_memory(m, &memory);
	return memory.dense + memory.blocks + memory.codes + memory.codebooks;
}

uint64_t model_memory_left(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 1;
}

void model_print_memory(FILE *f, const char *label, const aqz_model *m)
{
	char text[CLI_SIZE_TEXT];
	aqz_model_memory memory;
	uint64_t all = model_bytes(m);

	aqz_model_get_memory(m, &memory);
	fprintf(f, "%s: %s of weights", label, cli_format_bytes(text, all));
	if (memory.dense != 0)
		fprintf(f, ", dense %s", cli_format_bytes(text, memory.dense));
	if (memory.blocks != 0)
		fprintf(f, ", blocks %s", cli_format_bytes(text, memory.blocks));
	if (memory.codes != 0)
		fprintf(f, ", codes %s", cli_format_bytes(text, memory.codes));
	if (memory.codebooks != 0)
		fprintf(f, ", codebooks %s", cli_format_bytes(text, memory.codebooks));
	fprintf(f, "; %llu weights, %.3f bits each; files of %s\n", (unsigned long long)memory.n_weights,
		memory.n_weights != 0 ? 8 * (double)all / (double)memory.n_weights : 0.0,
		cli_format_bytes(text, memory.file_bytes));
}

uint64_t model_peak_memory(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss < 0)
		return 0;
	return (uint64_t)usage.ru_maxrss * 1024;
}

int model_open(aqz_model **out, const char *path, const char *tokenizer, uint64_t memory_bytes,
	const cli_common *common, cli_progress *progress)
{
	aqz_model_options opt = {.struct_size = sizeof opt,
		.tokenizer = tokenizer,
		.memlimit_bytes = memory_bytes,
		.n_threads = common->n_threads,
		.progress = cli_progress_tick,
		.progress_user = progress};
	aqz_tokenizer *tried = NULL;
	aqz_error err = {0}, other = {0};
	aqz_status status;

	cli_progress_begin(progress, common->quiet);
	cli_progress_item(progress, path, 0, 0);
	status = aqz_model_open(out, path, &opt, &err);
	cli_progress_clear(progress);
	if (status == AQZ_OK)
		return CLI_OK;
	if (tokenizer != NULL) {
		/* Which of the two is at fault? */
		aqz_status second = aqz_tokenizer_open(&tried, tokenizer, memory_bytes, &other);

		aqz_tokenizer_close(tried);
		if (second != AQZ_OK)
			return cli_error_status(tokenizer, second, &other);
	}
	return cli_error_status(path, status, &err);
}

static int grow(char **text, size_t *capacity, size_t n, uint64_t limit, const char *name)
{
	size_t wanted = 2 * *capacity + (1 << 16);
	char *grown;

	if (n + 1 < *capacity)
		return CLI_OK;
	if (*capacity >= limit)
		return cli_error(name, "the text does not fit into the memory that --memory allows");
	if (wanted > limit)
		wanted = (size_t)limit;
	grown = realloc(*text, wanted);
	if (grown == NULL)
		return cli_error_nomem();
	*text = grown;
	*capacity = wanted;
	return CLI_OK;
}

int model_read_text(char **text, size_t *n_bytes, const char *path, uint64_t limit)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), code = CLI_OK;
	const char *name = standard ? "standard input" : path;
	size_t capacity = 0, n = 0;

	*text = NULL;
	*n_bytes = 0;
	if (fd < 0)
		return cli_error_errno(name, errno);
	while (code == CLI_OK) {
		ssize_t got;

		code = grow(text, &capacity, n, limit, name);
		if (code != CLI_OK)
			break;
		cli_signals_blocking(true);
		got = read(fd, *text + n, capacity - n - 1);
		cli_signals_blocking(false);
		if (got < 0 && errno != EINTR)
			code = errno == EISDIR ? cli_error(name, "is a folder, not a text")
								   : cli_error_errno(name, errno);
		else if (got > 0)
			n += (size_t)got;
		else if (got == 0)
			break;
	}
	if (!standard)
		close(fd);
	if (code != CLI_OK) {
		free(*text);
		*text = NULL;
		return code;
	}
	(*text)[n] = '\0';
	*n_bytes = n;
	return CLI_OK;
}

/* Windows of the text of the options, which the options' names mean nothing to. */
static int windows_of_text(aqz_windows *out, const cli_parser *p, const model_input *in,
	const char *path, const aqz_model *model, const aqz_windows_options *opt)
{
	const aqz_tokenizer *tokenizer = aqz_model_get_tokenizer(model);
	const char *name = strcmp(in->text, "-") == 0 ? "standard input" : in->text;
	aqz_error err = {0};
	aqz_status status;
	char *text;
	size_t n_bytes;
	int code;

	if (tokenizer == NULL)
		return cli_error(path, "has no tokenizer; --tokenizer FILE gives one, or take --ids");
	code = model_read_text(
		&text, &n_bytes, in->text, model_memory_left(p->common.memory_bytes, model_bytes(model)));
	if (code != CLI_OK)
		return code;
	status = aqz_windows_from_text(out, tokenizer, text, n_bytes, opt, &err);
	free(text);
	if (strncmp(err.where, "options.", 8) == 0 || strcmp(err.where, "text") == 0)
		err.where[0] = '\0';
	return status == AQZ_OK ? CLI_OK : cli_error_status(name, status, &err);
}

int model_windows(aqz_windows *out, cli_parser *p, const model_input *in, const char *path,
	const aqz_model *model, const aqz_model *reference)
{
	const aqz_tokenizer *tokenizer = aqz_model_get_tokenizer(model);
	uint32_t context = aqz_model_get_config(model)->max_positions, usual;
	aqz_windows_options opt = {.struct_size = sizeof opt,
		.length = in->length,
		.max_windows = in->max_windows,
		.max_tokens = in->max_tokens,
		.separator = in->separator,
		.spread = in->spread};
	aqz_error err = {0};
	aqz_status status;

	if (reference != NULL && aqz_model_get_config(reference)->max_positions < context)
		context = aqz_model_get_config(reference)->max_positions;
	if (opt.length > context) {
		cli_usage(p, "--length: '%u' is not possible; possible values: 2 to %u, the model's context",
			(unsigned)opt.length, (unsigned)context);
		return p->exit_code;
	}
	usual = context < USUAL_LENGTH ? context : USUAL_LENGTH;
	if (opt.length == 0 && in->ids == NULL)
		opt.length = usual;
	if (in->bos >= 0)
		opt.bos = (aqz_bos)in->bos;
	else if (tokenizer != NULL && aqz_tokenizer_adds_bos(tokenizer))
		opt.bos = in->separator != NULL ? AQZ_BOS_EACH : AQZ_BOS_FIRST;
	if (in->ids == NULL)
		return windows_of_text(out, p, in, path, model, &opt);
	/* Windows of a file that has them stay whole; a stream of tokens needs a length. */
	status = aqz_windows_from_npy(out, in->ids, &opt, &err);
	if (status == AQZ_E_ARGUMENT && strcmp(err.where, "options.length") == 0) {
		opt.length = usual;
		err = (aqz_error){0};
		status = aqz_windows_from_npy(out, in->ids, &opt, &err);
	}
	if (strncmp(err.where, "options.", 8) == 0)
		err.where[0] = '\0';
	return status == AQZ_OK ? CLI_OK : cli_error_status(in->ids, status, &err);
}

double model_value_real(cli_parser *p, double least, double most)
{
	char *end = NULL;
	double value = strtod(p->value, &end);

	/* strtod takes hexadecimal and "inf" as well, and white space before. */
	if (*p->value != '\0' && strspn(p->value, "0123456789.eE-+") == strlen(p->value) &&
		*end == '\0' && value >= least && value <= most)
		return value;
	cli_usage(
		p, "--%s: '%s' is not possible; possible values: %g to %g", p->name, p->value, least, most);
	return least;
}
