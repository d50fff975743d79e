/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip generate: text from a model, as it comes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/generate.h"
#include "cli/json.h"

enum {
	OPT_PROMPT = MODEL_OPT_OWN,
	OPT_PROMPT_FILE,
	OPT_MAX_TOKENS,
	OPT_TEMPERATURE,
	OPT_TOP_K,
	OPT_TOP_P,
	OPT_MIN_P,
	OPT_SEED,
	OPT_CHAT,
	OPT_CHAT_FORM,
	OPT_SYSTEM,
	OPT_STOP,
	OPT_IGNORE_END,
	OPT_CONTEXT
};

static const cli_option options[] = {
	{OPT_PROMPT, 'p', "prompt", "TEXT", "the text to go on from"},
	{OPT_PROMPT_FILE, 0, "prompt-file", "FILE", "the same from a file; - is standard input"},
	{OPT_MAX_TOKENS, 'n', "max-tokens", "N", "generate N tokens at most (default: 256)"},
	{OPT_TEMPERATURE, 't', "temperature", "X",
		"choose among the tokens by probability^(1/X); 0 is the likeliest (default: 0, or 1 with "
		"one "
		"of the next three)"},
	{OPT_TOP_K, 0, "top-k", "K", "choose among the K likeliest tokens"},
	{OPT_TOP_P, 0, "top-p", "P", "among the likeliest that have the probability P together"},
	{OPT_MIN_P, 0, "min-p", "P", "among those with P times the likeliest one's probability or more"},
	{OPT_SEED, 0, "seed", "N", "of the choices (default: 0)"},
	{OPT_CHAT, 'c', "chat", NULL,
		"write the prompt as a user's message, in the form that the model's tokenizer tells"},
	{OPT_CHAT_FORM, 0, "chat-form", "FORM", "the same in this form: chatml, llama2, llama3, mistral"},
	{OPT_SYSTEM, 0, "system", "TEXT", "with --chat: the system's message"},
	{OPT_STOP, 0, "stop", "TEXT", "end before this text or special token (repeatable)"},
	{OPT_IGNORE_END, 0, "ignore-end", NULL, "go on after the tokens that end a text"},
	{OPT_CONTEXT, 0, "context", "N",
		"room for N tokens, prompt included (default: as many as are asked for)"},
	MODEL_ROW_TOKENIZER,
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	{CLI_OPT_QUIET, 'q', "quiet", NULL, "print the text only"},
	{CLI_OPT_VERBOSE, 'v', "verbose", NULL, "also print memory and the tokens of the prompt"},
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

typedef struct generate_job {
	const cli_common *common;
	const char *path, *prompt, *prompt_path, *system, *tokenizer_path;
	char *prompt_text; /* of prompt_path */
	size_t prompt_bytes;
	bool chat;
	aqz_chat_form form; /* NONE: to be guessed */
	uint32_t context;
	bool sampled, has_temperature;
	aqz_generate_options opt;
	const char **stops; /* --stop */
	size_t n_stops;
	uint32_t *stop_ids;
	text_stream stream;
	cli_progress progress;
	aqz_model *model;
	aqz_session *session;
	uint32_t *ids;
	size_t n_ids;
	aqz_generated result;
} generate_job;

static void take(cli_parser *p, generate_job *job)
{
	static const char *const forms[] = {"chatml", "llama2", "llama3", "mistral", NULL};

	switch (p->id) {
	case OPT_PROMPT:
		job->prompt = p->value;
		break;
	case OPT_PROMPT_FILE:
		job->prompt_path = p->value;
		break;
	case OPT_MAX_TOKENS:
		job->opt.max_tokens = (uint32_t)cli_value_number(p, 1, INT32_MAX);
		break;
	case OPT_TEMPERATURE:
		job->opt.sampling.temperature = (float)model_value_real(p, 0, 100);
		job->has_temperature = true;
		break;
	case OPT_TOP_K:
		job->opt.sampling.top_k = (uint32_t)cli_value_number(p, 1, INT32_MAX);
		job->sampled = true;
		break;
	case OPT_TOP_P:
		job->opt.sampling.top_p = (float)model_value_real(p, 0, 1);
		job->sampled = true;
		break;
	case OPT_MIN_P:
		job->opt.sampling.min_p = (float)model_value_real(p, 0, 1);
		job->sampled = true;
		break;
	case OPT_SEED:
		job->opt.sampling.seed = cli_value_number(p, 0, UINT64_MAX);
		break;
	case OPT_CHAT:
		job->chat = true;
		break;
	case OPT_CHAT_FORM:
		job->chat = true;
		job->form = (aqz_chat_form)(cli_value_choice(p, forms) + AQZ_CHAT_CHATML);
		break;
	case OPT_SYSTEM:
		job->system = p->value;
		break;
	case OPT_STOP:
		if (*p->value == '\0')
			cli_usage(p, "--stop: an empty text is everywhere");
		job->stops[job->n_stops++] = p->value;
		break;
	case OPT_IGNORE_END:
		job->opt.ignore_end = true;
		break;
	case OPT_CONTEXT:
		job->context = (uint32_t)cli_value_number(p, 1, INT32_MAX);
		break;
	case MODEL_OPT_TOKENIZER:
		job->tokenizer_path = p->value;
		break;
	default:
		break;
	}
}

/* The prompt as ids, with what a chat puts around it. */
static int encode(generate_job *job, const aqz_tokenizer *t)
{
	uint32_t bos = aqz_tokenizer_adds_bos(t) ? aqz_tokenizer_bos(t) : AQZ_NO_TOKEN;
	const char *prompt = job->prompt_text != NULL ? job->prompt_text : job->prompt;
	size_t n = job->prompt_text != NULL ? job->prompt_bytes : strlen(job->prompt);
	aqz_error err = {0};
	aqz_status status;
	uint32_t *grown;

	if (job->chat && strlen(prompt) != n)
		return cli_error(job->prompt_path, "a message cannot hold bytes 0");
	if (job->chat) {
		if (job->form == AQZ_CHAT_NONE)
			job->form = aqz_chat_form_guess(t);
		if (job->form == AQZ_CHAT_NONE) {
			cli_error(job->path, "its tokenizer does not tell how a chat is written");
			cli_hint("--chat-form says it: chatml, llama2, llama3 or mistral");
			return CLI_ERROR;
		}
		status = aqz_chat_encode(t, job->form, job->system, prompt, &job->ids, &job->n_ids, &err);
		return status == AQZ_OK ? CLI_OK : cli_error_status(job->path, status, &err);
	}
	/* As the reference does, special tokens are known by their text. */
	status = aqz_tokenizer_encode(t, &job->ids, &job->n_ids, prompt, n, true, &err);
	if (status != AQZ_OK)
		return cli_error_status(job->path, status, &err);
	if (bos != AQZ_NO_TOKEN) {
		grown = realloc(job->ids, (job->n_ids + 1) * sizeof *grown);
		if (grown == NULL)
			return cli_error_nomem();
		memmove(grown + 1, grown, job->n_ids * sizeof *grown);
		grown[0] = bos;
		job->ids = grown;
		job->n_ids++;
	}
	if (job->n_ids == 0)
		return cli_error(
			job->path, "the prompt is empty, and the tokenizer has no token to begin a text with");
	return CLI_OK;
}

/* Special tokens of --stop become ids; the other texts are looked for. */
static void set_stops(generate_job *job, const aqz_tokenizer *t)
{
	uint32_t end = job->chat ? aqz_chat_end(t, job->form) : AQZ_NO_TOKEN;
	size_t n = 0;

	for (size_t i = 0; i < job->n_stops; i++) {
		uint32_t id = aqz_tokenizer_find_special(t, job->stops[i]);

		if (id != AQZ_NO_TOKEN)
			job->stop_ids[job->opt.n_stop++] = id;
		else
			job->stops[n++] = job->stops[i];
	}
	job->n_stops = n;
	if (job->chat && end == AQZ_NO_TOKEN)
		cli_warn(job->path, "the tokenizer has no token that ends an answer in this form");
	else if (job->chat && !job->opt.ignore_end)
		job->stop_ids[job->opt.n_stop++] = end;
	job->opt.stop = job->stop_ids;
	job->stream.stops = job->stops;
	job->stream.n_stops = n;
}

static int open_session(generate_job *job)
{
	const uint32_t context = aqz_model_get_config(job->model)->max_positions;
	uint64_t wanted = job->context != 0 ? job->context : job->n_ids + (uint64_t)job->opt.max_tokens;
	aqz_error err = {0};
	aqz_status status;

	if (job->context > context)
		return cli_error(job->path, "--context %u is more than the model has: %u",
			(unsigned)job->context, (unsigned)context);
	if (wanted > context)
		wanted = context;
	if (job->n_ids > wanted)
		return cli_error(job->path, "the prompt has %zu tokens, but the context has room for %llu",
			job->n_ids, (unsigned long long)wanted);
	status = aqz_session_open(&job->session, job->model, 1, (uint32_t)wanted, job->common->n_threads,
		model_memory_left(job->common->memory_bytes, model_bytes(job->model)), &err);
	return status == AQZ_OK ? CLI_OK : cli_error_status(job->path, status, &err);
}

static const char *reason(const generate_job *job)
{
	return cli_interrupted()							 ? "signal"
		: job->stream.stopped							 ? "stop text"
		: job->result.stopped							 ? "end token"
		: job->result.n_generated == job->opt.max_tokens ? "length"
														 : "context";
}

static double rate(uint32_t n, double seconds)
{
	return seconds > 0 ? n / seconds : 0;
}

static void print_summary(const generate_job *job)
{
	const aqz_generated *r = &job->result;
	char text[CLI_SIZE_TEXT];

	if (job->common->verbose) {
		model_print_memory(stderr, "model", job->model);
		fprintf(stderr, "session: %s for %u tokens; ",
			cli_format_bytes(text, aqz_session_memory(job->session)),
			(unsigned)(r->n_prompt + r->n_generated));
		fprintf(stderr, "peak memory %s\nprompt:", cli_format_bytes(text, model_peak_memory()));
		for (size_t i = 0; i < job->n_ids; i++)
			fprintf(stderr, " %u", (unsigned)job->ids[i]);
		fputc('\n', stderr);
	}
	fprintf(stderr,
		"prompt: %u tokens, %.2f s, %.1f tokens/s; generated: %u tokens, %.2f s, %.1f tokens/s; "
		"ended by: %s\n",
		(unsigned)r->n_prompt, r->prompt_seconds, rate(r->n_prompt, r->prompt_seconds),
		(unsigned)r->n_generated, r->generate_seconds, rate(r->n_generated, r->generate_seconds),
		reason(job));
}

/* JSON is UTF-8: bytes that are none become U+FFFD. */
static json_t *json_of_text(const char *text, size_t n)
{
	json_t *value = json_stringn(text, n);
	char *fixed, *end;

	if (value != NULL || n == 0)
		return value != NULL ? value : json_string("");
	fixed = end = malloc(3 * n);
	if (fixed == NULL)
		return NULL;
	for (size_t i = 0, m; i < n; i += m) {
		json_t *character = NULL;

		for (m = 1; m <= 4 && m <= n - i; m++) {
			character = json_stringn(text + i, m);
			if (character != NULL)
				break;
		}
		if (character != NULL) {
			memcpy(end, text + i, m);
			end += m;
		} else {
			memcpy(end, "\xEF\xBF\xBD", 3);
			end += 3;
			m = 1;
		}
		json_decref(character);
	}
	value = json_stringn(fixed, (size_t)(end - fixed));
	free(fixed);
	return value;
}

static json_t *json_ids(const uint32_t *ids, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_integer(ids[i]));
	return array;
}

static int print_json(const generate_job *job)
{
	const aqz_generated *r = &job->result;

	return cli_json_print(json_pack("{so so so so si si ss sf sf sf sf so so}", "model",
		cli_json_text(job->path), "text", json_of_text(job->stream.text, job->stream.n), "ids",
		json_ids(job->stream.ids, job->stream.n_ids), "prompt_ids", json_ids(job->ids, job->n_ids),
		"prompt_tokens", (int)r->n_prompt, "generated_tokens", (int)r->n_generated, "ended_by",
		reason(job), "prompt_seconds", r->prompt_seconds, "generate_seconds", r->generate_seconds,
		"prompt_tokens_per_second", rate(r->n_prompt, r->prompt_seconds),
		"generated_tokens_per_second", rate(r->n_generated, r->generate_seconds), "model_bytes",
		cli_json_number(model_bytes(job->model)), "peak_memory_bytes",
		cli_json_number(model_peak_memory())));
}

/* Nothing to remove; while it is watched, the first signal sets a flag and the text ends in order. */
static aqz_status run_session(generate_job *job, aqz_error *err)
{
	cli_temporary nothing = {.parent_fd = -1, .folder_fd = -1};
	aqz_status status;

	cli_signals_watch(&nothing);
	status = aqz_generate(job->session, &job->result, job->ids, (uint32_t)job->n_ids, &job->opt, err);
	cli_signals_watch(NULL);
	return status;
}

static int generate(generate_job *job)
{
	const aqz_tokenizer *t;
	aqz_error err = {0};
	aqz_status status;
	int code = CLI_OK;

	/* Before the model, which may take long. */
	if (job->prompt_path != NULL)
		code = model_read_text(
			&job->prompt_text, &job->prompt_bytes, job->prompt_path, job->common->memory_bytes);
	if (code == CLI_OK)
		code = model_open(&job->model, job->path, job->tokenizer_path, job->common->memory_bytes,
			job->common, &job->progress);
	if (code != CLI_OK)
		return code;
	t = aqz_model_get_tokenizer(job->model);
	if (t == NULL)
		return cli_error(job->path, "has no tokenizer; --tokenizer FILE gives one");
	code = encode(job, t);
	if (code == CLI_OK) {
		set_stops(job, t);
		code = open_session(job);
	}
	if (code != CLI_OK)
		return code;
	job->stream.silent = job->common->json;
	job->stream.terminal = isatty(STDOUT_FILENO) == 1;
	job->opt.token = text_stream_token;
	job->opt.user = &job->stream;
	status = run_session(job, &err);
	text_stream_finish(&job->stream);
	if (job->stream.error != 0)
		return job->stream.error == ENOMEM ? cli_error_nomem()
										   : cli_error_errno("standard output", job->stream.error);
	if (status != AQZ_OK && !(status == AQZ_E_CANCELLED && (job->stream.stopped || cli_interrupted())))
		return cli_error_status(job->path, status, &err);
	if (!job->common->quiet)
		print_summary(job);
	code = job->common->json ? print_json(job) : CLI_OK;
	return cli_interrupted() ? CLI_ERROR : code;
}

static int run(int argc, char **argv)
{
	generate_job job = {.opt = {.struct_size = sizeof job.opt, .max_tokens = 256}};
	cli_parser p;

	cli_parser_begin(&p, &cli_generate, argc, argv);
	job.stops = calloc((size_t)argc + 1, sizeof *job.stops);
	job.stop_ids = calloc((size_t)argc + 1, sizeof *job.stop_ids);
	if (job.stops == NULL || job.stop_ids == NULL)
		p.exit_code = cli_error_nomem();
	while (cli_parser_next(&p))
		take(&p, &job);
	cli_parser_operands(&p, 1, 1, "MODEL");
	if (p.exit_code < 0 && (job.prompt == NULL) == (job.prompt_path == NULL))
		cli_usage(&p,
			job.prompt == NULL ? "--prompt TEXT or --prompt-file FILE is missing"
							   : "--prompt and --prompt-file exclude each other");
	else if (p.exit_code < 0 && job.system != NULL && !job.chat)
		cli_usage(&p, "--system needs --chat");
	if (p.exit_code < 0) {
		if (job.sampled && !job.has_temperature)
			job.opt.sampling.temperature = 1;
		job.common = &p.common;
		job.path = p.operands[0];
		p.exit_code = generate(&job);
	}
	aqz_session_close(job.session);
	aqz_model_close(job.model);
	text_stream_free(&job.stream);
	free(job.ids);
	free(job.prompt_text);
	free(job.stops);
	free(job.stop_ids);
	cli_parser_end(&p);
	return p.exit_code;
}

const cli_command cli_generate = {"generate", "MODEL --prompt TEXT [OPTION]...",
	"Goes on from a prompt with text from a model.",
	"MODEL is a Hugging Face folder, an .aqz file, a GGUF file, or a llama2.c .bin file.\n"
	"The same input, options and version give the same text, whatever --threads says.\n",
	options, run};
