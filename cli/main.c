/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip: finds the command and hands it the rest of the line. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "cli/cli.h"

static const cli_command *const commands[] = {
	&cli_compress,
	&cli_decompress,
	&cli_info,
	&cli_verify,
	&cli_salvage,
	&cli_calibrate,
	&cli_eval,
	&cli_generate,
	&cli_bench,
	&cli_export,
	&cli_transcode,
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static int run_help(int argc, char **argv);
static int run_version(int argc, char **argv);

static const cli_option only_help[] = {CLI_ROW_HELP, CLI_ROW_END};
static const cli_command help_command = {
	"help", "[COMMAND]", "Opens the manual page of a command.", NULL, only_help, run_help};
static const cli_command version_command = {"version", "",
	"Prints the versions of the tool, the file format and the libraries.", NULL, only_help,
	run_version};

static const cli_command *find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return strcmp(name, "help") == 0   ? &help_command
		: strcmp(name, "version") == 0 ? &version_command
									   : NULL;
}

static void print_usage(FILE *f)
{
	fputs("Usage: aqlmzip COMMAND [OPTION]... [FILE]...\n"
		  "Compresses the weights of language models: linear layers by additive quantization, the "
		  "rest losslessly.\n\n"
		  "Commands:\n",
		f);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(f, "  %-12s%s\n", commands[i]->name, commands[i]->summary);
	fprintf(f, "  %-12s%s\n  %-12s%s\n", help_command.name, help_command.summary,
		version_command.name, version_command.summary);
	fputs("\n'aqlmzip COMMAND --help' lists the options of a command.\n"
		  "Exit code: 0 done, 1 error, 2 wrong usage.\n",
		f);
}

static int unknown_command(const char *name)
{
	char names[128];
	size_t n = 0;

	for (size_t i = 0; i < N_COMMANDS && n < sizeof names; i++)
		n += (size_t)snprintf(names + n, sizeof names - n, "%s, ", commands[i]->name);
	cli_error(NULL, "there is no command '%s'; possible commands: %shelp, version", name, names);
	return CLI_USAGE;
}

/* True if man finds the page; prints nothing. */
static bool man_has(const char *page)
{
	int state = 0, null;
	pid_t child = fork();

	if (child == 0) {
		null = open("/dev/null", O_RDWR);
		if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
			_exit(1);
		execlp("man", "man", "-w", "1", page, (char *)NULL);
		_exit(1);
	}
	while (child > 0 && waitpid(child, &state, 0) < 0)
		if (errno != EINTR)
			return false;
	return child > 0 && WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

static int run_help(int argc, char **argv)
{
	const cli_command *command = NULL;
	char page[64] = "aqlmzip";
	cli_parser p;

	cli_parser_begin(&p, &help_command, argc, argv);
	while (cli_parser_next(&p))
		;
	cli_parser_operands(&p, 0, 1, "");
	if (p.exit_code < 0 && p.n_operands == 1) {
		command = find(p.operands[0]);
		if (command == NULL)
			p.exit_code = unknown_command(p.operands[0]);
		else if (command->run != run_help && command->run != run_version)
			snprintf(page, sizeof page, "aqlmzip-%s", command->name);
	}
	cli_parser_end(&p);
	if (p.exit_code >= 0)
		return p.exit_code;
	if (man_has(page)) {
		fflush(stdout);
		execlp("man", "man", "1", page, (char *)NULL);
	}
	if (command != NULL)
		cli_print_help(stdout, command);
	else
		print_usage(stdout);
	return CLI_OK;
}

static int run_version(int argc, char **argv)
{
	unsigned hash = XXH_versionNumber();
	cli_parser p;

	cli_parser_begin(&p, &version_command, argc, argv);
	while (cli_parser_next(&p))
		;
	cli_parser_operands(&p, 0, 0, "");
	cli_parser_end(&p);
	if (p.exit_code >= 0)
		return p.exit_code;
	printf("aqlmzip %s\nfile format %d.%d\nlibzstd %s\nxxHash %u.%u.%u\njansson %s\n",
		aqz_version(), AQZ_FORMAT_MAJOR, AQZ_FORMAT_MINOR, ZSTD_versionString(), hash / 10000,
		hash / 100 % 100, hash % 100, JANSSON_VERSION);
	return CLI_OK;
}

static int run(int argc, char **argv)
{
	const cli_command *command;

	if (argc < 2) {
		print_usage(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_usage(stdout);
		return CLI_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return run_version(argc - 1, argv + 1);
	if (argv[1][0] == '-') {
		cli_error(NULL, "unknown option %s", argv[1]);
		cli_hint("'aqlmzip --help' lists the commands");
		return CLI_USAGE;
	}
	command = find(argv[1]);
	return command != NULL ? command->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

/* A descriptor 0, 1 or 2 that is closed would be given to the first file that is opened, and
 * messages written there. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	int code;

	fill_standard_descriptors();
	cli_signals_install();
	code = run(argc, argv);
	cli_signals_finish();
	/* A full disk or a closed pipe may show only now. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		int error = errno;

		if (code == CLI_OK)
			code = cli_error_errno("standard output", error);
	}
	return code;
}
