/* SPDX-License-Identifier: Apache-2.0 */
/* Options: one table for a command makes both what getopt_long accepts and what --help prints, so
 * that the two cannot differ. */
#include <ctype.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

void cli_parser_begin(cli_parser *p, const cli_command *command, int argc, char **argv)
{
	size_t n = 0, letters = 1;
	struct option *longs;

	memset(p, 0, sizeof *p);
	p->command = command;
	p->argc = argc;
	p->argv = argv;
	p->exit_code = -1;
	while (command->options[n].name != NULL)
		n++;
	p->longs = longs = calloc(n + 1, sizeof *longs);
	p->shorts = calloc(2 * n + 2, 1);
	if (longs == NULL || p->shorts == NULL) {
		p->exit_code = cli_error_nomem();
		return;
	}
	/* A leading colon makes getopt tell a missing value from an unknown option. */
	p->shorts[0] = ':';
	for (size_t i = 0; i < n; i++) {
		const cli_option *o = &command->options[i];

		longs[i].name = o->name;
		longs[i].has_arg = o->value != NULL ? required_argument : no_argument;
		longs[i].val = o->id;
		if (o->letter != 0) {
			p->shorts[letters++] = o->letter;
			if (o->value != NULL)
				p->shorts[letters++] = ':';
		}
	}
	opterr = 0;
	optind = 0;
}

void cli_parser_end(cli_parser *p)
{
	free(p->longs);
	free(p->shorts);
	p->longs = NULL;
	p->shorts = NULL;
}

void cli_usage(cli_parser *p, const char *text, ...)
{
	char line[512];
	va_list args;

	va_start(args, text);
	vsnprintf(line, sizeof line, text, args);
	va_end(args);
	cli_error(p->command->name, "%s", line);
	cli_hint("'aqlmzip %s --help' lists the options", p->command->name);
	p->exit_code = CLI_USAGE;
}

static const cli_option *find(const cli_command *command, int c)
{
	for (const cli_option *o = command->options; o->name != NULL; o++)
		if (c == o->id || (o->letter != 0 && c == o->letter))
			return o;
	return NULL;
}

/* Fills p->common; false if the option is the command's own. */
static bool take_common(cli_parser *p)
{
	cli_common *c = &p->common;

	switch (p->id) {
	case CLI_OPT_HELP:
		cli_print_help(stdout, p->command);
		p->exit_code = CLI_OK;
		return true;
	case CLI_OPT_OUTPUT:
		c->output = p->value;
		if (*p->value == '\0')
			cli_usage(p, "--output: an empty name");
		return true;
	case CLI_OPT_FORCE:
		c->force = true;
		return true;
	case CLI_OPT_QUIET:
		c->quiet = true;
		return true;
	case CLI_OPT_VERBOSE:
		c->verbose = true;
		return true;
	case CLI_OPT_JSON:
		c->json = true;
		return true;
	case CLI_OPT_THREADS:
		c->n_threads = (unsigned)cli_value_number(p, 0, 4096);
		return true;
	case CLI_OPT_MEMORY:
		c->memory_bytes = cli_value_bytes(p);
		if (p->exit_code < 0 && c->memory_bytes < 1 << 20)
			cli_usage(p, "--memory: at least 1M is needed");
		return true;
	default:
		return false;
	}
}

static void refuse(cli_parser *p, int c)
{
	const char *word = p->argv[optind - 1];
	const cli_option *o = optopt != 0 ? find(p->command, optopt) : NULL;

	if (c == ':' && o != NULL)
		cli_usage(p, "--%s needs a value: %s", o->name, o->value);
	else if (o != NULL && o->value == NULL && strncmp(word, "--", 2) == 0)
		cli_usage(p, "--%s takes no value", o->name);
	else if (optopt != 0 && optopt < 128 && strncmp(word, "--", 2) != 0)
		cli_usage(p, "unknown option -%c", isprint(optopt) ? optopt : '?');
	else
		cli_usage(p, "unknown or ambiguous option %s", word);
}

bool cli_parser_next(cli_parser *p)
{
	while (p->exit_code < 0) {
		int c = getopt_long(p->argc, p->argv, p->shorts, p->longs, NULL);
		const cli_option *o;

		if (c == -1) {
			p->operands = p->argv + optind;
			p->n_operands = p->argc - optind;
			if (p->common.memory_bytes == 0)
				p->common.memory_bytes = cli_free_memory();
			return false;
		}
		if (c == '?' || c == ':') {
			refuse(p, c);
			return false;
		}
		o = find(p->command, c);
		p->id = o->id;
		p->name = o->name;
		p->value = optarg;
		if (!take_common(p))
			return true;
	}
	return false;
}

void cli_parser_operands(cli_parser *p, int least, int most, const char *missing)
{
	if (p->exit_code >= 0)
		return;
	if (p->n_operands < least)
		cli_usage(
			p, "%s is missing: usage: aqlmzip %s %s", missing, p->command->name, p->command->usage);
	else if (p->n_operands > most)
		cli_usage(p, "one operand too many: %s", p->operands[most]);
	for (int i = 0; i < p->n_operands && p->exit_code < 0; i++)
		if (p->operands[i][0] == '\0')
			cli_usage(p, "an empty file name");
}

uint64_t cli_value_number(cli_parser *p, uint64_t least, uint64_t most)
{
	uint64_t value;

	if (cli_parse_number(&value, p->value) && value >= least && value <= most)
		return value;
	cli_usage(p, "--%s: '%s' is not possible; possible values: %llu to %llu", p->name, p->value,
		(unsigned long long)least, (unsigned long long)most);
	return least;
}

uint64_t cli_value_bytes(cli_parser *p)
{
	uint64_t value;

	if (cli_parse_bytes(&value, p->value))
		return value;
	cli_usage(p,
		"--%s: '%s' is not possible; possible values: bytes, or a number and K, M, G or T (factors "
		"of 1024), "
		"such as 512M",
		p->name, p->value);
	return 0;
}

int cli_value_choice(cli_parser *p, const char *const *names)
{
	char all[256];
	size_t n = 0;

	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], p->value) == 0)
			return i;
	for (int i = 0; names[i] != NULL && n < sizeof all; i++)
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i == 0 ? "" : ", ", names[i]);
	cli_usage(p, "--%s: '%s' is not possible; possible values: %s", p->name, p->value, all);
	return 0;
}

aqz_dtype cli_value_float(cli_parser *p)
{
	static const char *const names[] = {"f16", "bf16", "f32", NULL};
	static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_BF16, AQZ_F32};

	return dtypes[cli_value_choice(p, names)];
}

aqz_scheme cli_value_scheme(cli_parser *p, const char *text)
{
	aqz_scheme scheme = {0};
	aqz_error err = {0};

	if (aqz_scheme_parse(&scheme, text, &err) != AQZ_OK)
		cli_usage(p, "--%s: '%s' is not possible: %s", p->name, text, err.text);
	return scheme;
}

aqz_scheme cli_value_goal(cli_parser *p, aqz_goal *goal, const char *text)
{
	aqz_scheme scheme = {0};
	aqz_error err = {0};

	if (aqz_scheme_parse_goal(&scheme, goal, text, &err) != AQZ_OK)
		cli_usage(p, "--%s: '%s' is not possible: %s", p->name, text, err.text);
	return scheme;
}

double cli_value_positive(cli_parser *p, const char *prefix, aqz_goal_kind kind)
{
	char text[AQZ_GOAL_TEXT_BYTES];
	aqz_scheme scheme;
	aqz_goal goal = {0};

	if ((size_t)snprintf(text, sizeof text, "ectcq@%s%s", prefix, p->value) >= sizeof text ||
		aqz_scheme_parse_goal(&scheme, &goal, text, NULL) != AQZ_OK || goal.kind != kind)
		cli_usage(p, "--%s: '%s' is not possible; possible values: a number above 0%s", p->name,
			p->value, kind == AQZ_GOAL_BITS ? ", up to 32" : "");
	return goal.value;
}

/* Prints text in lines of at most 100 columns that start at column indent; the cursor stands there
 * already. */
static void print_wrapped(FILE *f, const char *text, size_t indent)
{
	size_t column = indent;

	while (*text != '\0') {
		size_t word = strcspn(text, " ");

		if (column > indent && column + 1 + word > 100) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', f);
			column++;
		}
		fwrite(text, 1, word, f);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

void cli_print_help(FILE *f, const cli_command *command)
{
	fprintf(f, "Usage: aqlmzip %s%s%s\n", command->name, *command->usage != '\0' ? " " : "",
		command->usage);
	print_wrapped(f, command->summary, 0);
	fputs("\nOptions:\n", f);
	for (const cli_option *o = command->options; o->name != NULL; o++) {
		char words[64], letter[4] = "  ";

		if (o->letter != 0)
			snprintf(letter, sizeof letter, "-%c", o->letter);
		snprintf(words, sizeof words, "  %s%s --%s%s%s", letter, o->letter != 0 ? "," : " ",
			o->name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
		fprintf(f, "%-33s ", words);
		if (strlen(words) > 33)
			fprintf(f, "\n%34s", "");
		print_wrapped(f, o->help, 34);
	}
	if (command->notes != NULL)
		fprintf(f, "\n%s", command->notes);
	fprintf(f, "\n'aqlmzip help %s' opens the manual page.\n", command->name);
}
