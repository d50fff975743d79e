/* SPDX-License-Identifier: Apache-2.0 */
/* What calibrate, eval and generate share: opening a model, reading text, windows of it. */
#ifndef AQZ_CLI_MODEL_INPUT_H
#define AQZ_CLI_MODEL_INPUT_H

#include "aqlmzip_model.h"
#include "cli/cli.h"

/* Behind the letters, with which ids of options may not collide. */
enum {
	MODEL_OPT_TEXT = 256, MODEL_OPT_IDS, MODEL_OPT_LENGTH, MODEL_OPT_WINDOWS, MODEL_OPT_TOKENS, MODEL_OPT_DOCUMENTS,
	MODEL_OPT_BOS, MODEL_OPT_TOKENIZER, MODEL_OPT_OWN
};

#define MODEL_ROW_TEXT {MODEL_OPT_TEXT, 0, "text", "FILE", "the text; - is standard input"}
#define MODEL_ROW_IDS \
	{MODEL_OPT_IDS, 0, "ids", "FILE.npy", "token ids instead of a text: integers [windows, length], or [tokens]"}
#define MODEL_ROW_LENGTH \
	{MODEL_OPT_LENGTH, 'l', "length", "N", \
		"tokens of a window, which the model sees from position 0 on (default: the model's context, at most " \
		"2048; windows of --ids whole)"}
#define MODEL_ROW_WINDOWS {MODEL_OPT_WINDOWS, 'w', "windows", "N", "take N windows at most (default: all)"}
#define MODEL_ROW_TOKENS {MODEL_OPT_TOKENS, 'n', "tokens", "N", "take N tokens at most (default: all)"}
#define MODEL_ROW_DOCUMENTS \
	{MODEL_OPT_DOCUMENTS, 0, "documents", "SEPARATOR", \
		"cut the text here, strip white space, and take each document as one window, of --length at most"}
#define MODEL_ROW_BOS \
	{MODEL_OPT_BOS, 0, "bos", "none|first|each", \
		"put the token that begins a text before none, the first or each of the windows (default: none if the " \
		"tokenizer adds none; else first, with --documents each)"}
#define MODEL_ROW_TOKENIZER \
	{MODEL_OPT_TOKENIZER, 0, "tokenizer", "FILE", \
		"a tokenizer.json, tokenizer.model or GGUF file, or a folder, instead of the model's own"}

/* What the options above came to. */
typedef struct model_input {
	const char *text, *ids, *separator, *tokenizer;
	uint32_t length; /* 0 = default */
	uint64_t max_windows, max_tokens;
	int bos;         /* an aqz_bos, or -1 = default */
	bool spread;
} model_input;

/* Takes p's current option if it is one of these. */
bool model_input_take(cli_parser *p, model_input *in);
/* Demands one of --text and --ids. */
void model_input_check(cli_parser *p, const model_input *in);

/* Opens a model within so many bytes and shows the progress. Prints and returns an exit code on failure. */
int model_open(aqz_model **out, const char *path, const char *tokenizer, uint64_t memory_bytes,
	const cli_common *common, cli_progress *progress);
/* Bytes that its weights take, all forms together. */
uint64_t model_bytes(const aqz_model *m);
/* What is left of limit, at least 1, for 0 were no limit. */
uint64_t model_memory_left(uint64_t limit, uint64_t used);
/* "label: 1.75 MiB (dense 1.75 MiB, ...), 918656 weights" */
void model_print_memory(FILE *f, const char *label, const aqz_model *m);
/* The most memory that the process has had; 0 if nobody knows. */
uint64_t model_peak_memory(void);

/* All bytes of a file, or of standard input for "-", at most limit; *text is freed with free() and ends in NUL, which
 * *n_bytes does not count. Prints and returns an exit code on failure. */
int model_read_text(char **text, size_t *n_bytes, const char *path, uint64_t limit);

/* Makes the windows of the options for a model; reference may be NULL. Prints and returns an exit code on failure. */
int model_windows(aqz_windows *out, cli_parser *p, const model_input *in, const char *path, const aqz_model *model,
	const aqz_model *reference);

/* A value of the current option between least and most. */
double model_value_real(cli_parser *p, double least, double most);

#endif
