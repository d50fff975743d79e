/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of the tool share: options, messages, sizes, progress, inputs and outputs. Stands on the public
 * header alone. */
#ifndef AQZ_CLI_H
#define AQZ_CLI_H

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "aqlmzip.h"

/* Exit codes of the tool. */
enum { CLI_OK = 0, CLI_ERROR = 1, CLI_USAGE = 2 };

#if defined(__GNUC__)
#define CLI_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

/* ---- Options (options.c) */

typedef struct cli_option {
	int id;            /* CLI_OPT_*, or from CLI_OPT_OWN on the command's own */
	char letter;       /* 0 if it has none */
	const char *name;  /* NULL ends a list */
	const char *value; /* what --help calls the value; NULL for a flag */
	const char *help;
} cli_option;

typedef struct cli_command {
	const char *name;
	const char *usage;   /* the words after "aqlmzip NAME" */
	const char *summary;
	const char *notes;   /* printed after the options; may be NULL */
	const cli_option *options;
	int (*run)(int argc, char **argv);
} cli_command;

extern const cli_command cli_compress, cli_decompress, cli_info, cli_verify, cli_salvage, cli_bench;
extern const cli_command cli_export, cli_transcode;
extern const cli_command cli_calibrate, cli_eval, cli_generate;

enum {
	CLI_OPT_HELP = 1, CLI_OPT_OUTPUT, CLI_OPT_FORCE, CLI_OPT_QUIET, CLI_OPT_VERBOSE, CLI_OPT_JSON, CLI_OPT_THREADS,
	CLI_OPT_MEMORY, CLI_OPT_OWN = 32
};

#define CLI_ROW_HELP {CLI_OPT_HELP, 'h', "help", NULL, "print this help"}
#define CLI_ROW_FORCE {CLI_OPT_FORCE, 'f', "force", NULL, "overwrite an existing output"}
#define CLI_ROW_QUIET {CLI_OPT_QUIET, 'q', "quiet", NULL, "print errors only"}
#define CLI_ROW_VERBOSE {CLI_OPT_VERBOSE, 'v', "verbose", NULL, "print a line for each tensor"}
#define CLI_ROW_JSON {CLI_OPT_JSON, 0, "json", NULL, "print the result as JSON"}
#define CLI_ROW_THREADS \
	{CLI_OPT_THREADS, 'T', "threads", "N", "use N threads (0, the default: all processors); never changes the result"}
#define CLI_ROW_MEMORY \
	{CLI_OPT_MEMORY, 'M', "memory", "SIZE", "use at most SIZE bytes of memory, such as 512M (default: what is free)"}
#define CLI_ROW_END {0, 0, NULL, NULL, NULL}

/* What the options that many commands have came to. */
typedef struct cli_common {
	const char *output; /* NULL if not given */
	bool force, quiet, verbose, json;
	unsigned n_threads;
	uint64_t memory_bytes; /* never 0 */
} cli_common;

/* A walk over a command line. */
typedef struct cli_parser {
	const cli_command *command;
	int argc;
	char **argv;
	void *longs;       /* getopt's tables */
	char *shorts;
	int id;            /* of the current option */
	const char *value; /* its value */
	const char *name;  /* as in the table, for messages */
	int exit_code;     /* -1: go on; else the command ends with this code */
	cli_common common;
	char **operands;
	int n_operands;
} cli_parser;

/* Starts; NULL-safe cleanup by cli_parser_end(). Common options fill p->common and are not returned. */
void cli_parser_begin(cli_parser *p, const cli_command *command, int argc, char **argv);
/* Next option of the command's own in p->id and p->value; false at the end or when p->exit_code was set. */
bool cli_parser_next(cli_parser *p);
/* Demands so many operands, else sets exit_code; missing names the first missing one. */
void cli_parser_operands(cli_parser *p, int least, int most, const char *missing);
void cli_parser_end(cli_parser *p);
/* Ends with a usage error: "aqlmzip COMMAND: TEXT" and where to read more. */
void cli_usage(cli_parser *p, const char *text, ...) CLI_PRINTF(2, 3);

/* Values of the current option; a bad one ends with a usage error that says which are possible. */
uint64_t cli_value_number(cli_parser *p, uint64_t least, uint64_t most);
uint64_t cli_value_bytes(cli_parser *p);
/* One of the names (NULL-terminated), as its place. */
int cli_value_choice(cli_parser *p, const char *const *names);
/* f16, bf16 or f32. */
aqz_dtype cli_value_float(cli_parser *p);
aqz_scheme cli_value_scheme(cli_parser *p, const char *text);
/* A scheme with the goal of a trellis one. */
aqz_scheme cli_value_goal(cli_parser *p, aqz_goal *goal, const char *text);
/* The option's value as a goal of that kind: what stands behind "ectcq@" and the prefix. */
double cli_value_positive(cli_parser *p, const char *prefix, aqz_goal_kind kind);

void cli_print_help(FILE *f, const cli_command *command);

/* ---- Messages (message.c) */

/* Writes text with control characters, direction marks and bytes that are no UTF-8 escaped; returns its columns. */
size_t cli_put_text(FILE *f, const char *text);
/* The same to a buffer, always ended by NUL, cut where it does not fit. Returns the columns. */
size_t cli_escape(char *dst, size_t dst_bytes, const char *text);

/* "aqlmzip: FILE: text". file may be NULL. Return CLI_ERROR. */
int cli_error(const char *file, const char *text, ...) CLI_PRINTF(2, 3);
/* "aqlmzip: FILE: WHERE: text", and a hint where there is one. */
int cli_error_status(const char *file, aqz_status status, const aqz_error *err);
/* "aqlmzip: FILE: what the system says about errno". */
int cli_error_errno(const char *file, int error);
int cli_error_nomem(void);
void cli_warn(const char *file, const char *text, ...) CLI_PRINTF(2, 3);
void cli_hint(const char *text, ...) CLI_PRINTF(1, 2);
/* Fills *err for callbacks of the library. Returns status. */
aqz_status cli_fail(aqz_error *err, aqz_status status, const char *where, const char *text, ...) CLI_PRINTF(4, 5);
aqz_status cli_fail_errno(aqz_error *err, const char *where, int error);

/* ---- Sizes and times (units.c) */

/* Reads "4096", "512M", "2G", "1.5GiB"; factors of 1024. */
bool cli_parse_bytes(uint64_t *out, const char *text);
/* Reads a decimal number of at most 64 bits, nothing else around it. */
bool cli_parse_number(uint64_t *out, const char *text);
#define CLI_SIZE_TEXT 24
/* "1.75 MiB"; returns text. */
const char *cli_format_bytes(char text[CLI_SIZE_TEXT], uint64_t n);
/* "0:12", "1:02:03". */
const char *cli_format_seconds(char text[CLI_SIZE_TEXT], double seconds);
#define CLI_SHAPE_TEXT 192
/* "[384, 128]"; returns text. */
const char *cli_format_shape(char text[CLI_SHAPE_TEXT], const uint64_t *shape, uint32_t rank);
/* What a program may take now without swapping, or UINT64_MAX if nobody knows. */
uint64_t cli_free_memory(void);
double cli_now(void);
/* "not smaller"; "" for AQZ_RAW_ASKED. */
const char *cli_raw_reason(aqz_raw_reason reason);

/* ---- Progress on a terminal (progress.c) */

typedef struct cli_progress {
	bool on;
	double start, drawn;
	char label[256];     /* the tensor at work, escaped */
	uint64_t done;       /* at the last tick */
	uint64_t item_begin; /* done when the item started */
	uint64_t item_bytes;
	double item_start;
	uint32_t item, n_items;
} cli_progress;

void cli_progress_begin(cli_progress *p, bool quiet);
/* The next item starts: its name and bytes; n_items 0 if unknown. */
void cli_progress_item(cli_progress *p, const char *name, uint64_t bytes, uint32_t n_items);
/* An aqz_progress_fn; user is the cli_progress. False once a signal asked to stop. total 0 = unknown. */
bool cli_progress_tick(void *user, uint64_t done, uint64_t total);
/* Takes the bar off the screen, so that other lines may be printed. */
void cli_progress_clear(cli_progress *p);

/* ---- Signals (signals.c) */

/* SIGINT, SIGTERM, SIGHUP: while an output is under way the first sets a flag, so that the work stops and cleans up; a
 * second one, or one during a blocking read or write, removes the temporary output at once and ends the process. */
void cli_signals_install(void);
bool cli_interrupted(void);
/* Dies of the signal that was caught, so that a shell sees 128 + its number; returns if there was none. */
void cli_signals_finish(void);
void cli_signals_blocking(bool blocking);
/* Puts signals to this thread off until the matching false. */
void cli_signals_hold(bool hold);

/* A name in a temporary folder, for the handler; a list that only grows at its head. */
typedef struct cli_name {
	struct cli_name *next;
	char text[];
} cli_name;

/* What the handler removes: a file temp in parent_fd, or a folder temp with the files of that list in it. */
typedef struct cli_temporary {
	int parent_fd;
	int folder_fd; /* -1 for a file */
	char temp[48];
	cli_name *volatile names;
} cli_temporary;

/* NULL: nothing any more. */
void cli_signals_watch(cli_temporary *t);
/* Removes what t stands for; async-signal-safe. */
void cli_temporary_remove(const cli_temporary *t);

/* ---- Inputs (input.c) */

typedef struct cli_input {
	int fd;
	const char *name; /* for messages */
	bool stream;      /* a pipe: read once, in order */
	struct stat st;
	aqz_io io;
	aqz_error err; /* what was printed, if opening failed */
} cli_input;

/* Opens a path, or standard input for "-". Prints and returns an exit code on failure. */
int cli_input_open(cli_input *in, const char *path);
void cli_input_close(cli_input *in);
/* Pushes all of a pipe through a stream and finishes it; then calls done (if not NULL) with events->user, while what
 * the stream told still lives. */
aqz_status cli_input_push(cli_input *in, const aqz_stream_events *events, uint64_t memlimit_bytes,
	cli_progress *progress, aqz_status (*done)(void *user), aqz_error *err);

/* ---- Outputs (output.c) */

typedef struct cli_output {
	const char *path;
	const char *base;    /* the last part of the path */
	int fd;              /* of the file or standard output; -1 for a folder */
	bool is_stdout, is_folder, force;
	char *storage;
	char problem[128];   /* what the system said about writing; "" if nothing */
	cli_temporary temporary;
} cli_output;

/* Opens a temporary file beside path ("-": standard output). input: what must not be overwritten, or NULL. Prints
 * and returns an exit code on failure. */
int cli_output_file(cli_output *o, const char *path, bool force, const struct stat *input);
/* For the library to write to. */
void cli_output_io(cli_output *o, aqz_io *io);
/* Makes a temporary folder beside path. */
int cli_output_folder(cli_output *o, const char *path, bool force);
/* Creates a file in the temporary folder. Returns its descriptor, -1 with errno. */
int cli_output_create(cli_output *o, const char *name);
/* Syncs and closes a file of the folder. Returns 0, or -1 with errno. */
int cli_output_finish_file(int fd);
/* Syncs and renames into place. Prints and returns an exit code on failure, after removing the temporary output. */
int cli_output_commit(cli_output *o);
/* Removes the temporary output; nothing after a commit. */
void cli_output_abort(cli_output *o);

/* Writes all n bytes, at the descriptor's position. */
aqz_status cli_write(int fd, const void *data, size_t n, aqz_error *err);
aqz_status cli_pwrite(int fd, const void *data, size_t n, uint64_t offset, aqz_error *err);

#endif
