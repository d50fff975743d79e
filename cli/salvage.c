/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip salvage: a sound container from what is left of a broken one. */
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/restore.h"

static const cli_option options[] = {
	{CLI_OPT_OUTPUT, 'o', "output", "OUT.aqz", "write to this file (required)"},
	CLI_ROW_FORCE,
	CLI_ROW_MEMORY,
	CLI_ROW_QUIET,
	CLI_ROW_VERBOSE,
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

typedef struct salvage {
	const cli_common *common;
	cli_progress progress;
	uint32_t n_kept, n_lost;
	char **lost; /* names of the lost tensors that were reported */
	uint32_t n_names;
	json_t *items;
} salvage;

static void keep_name(salvage *s, const char *name)
{
	/* Without memory a name may be reported twice, no more. */
	char **grown = realloc(s->lost, (s->n_names + 1) * sizeof *grown);

	if (grown == NULL)
		return;
	s->lost = grown;
	s->lost[s->n_names] = strdup(name);
	if (s->lost[s->n_names] != NULL)
		s->n_names++;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void report_item(salvage *s, const aqz_salvaged *what)
{
	const char *kind = aqz_kind_name(what->kind);
	const char *name = what->name != NULL ? what->name : "";

	if (kind == NULL)
		kind = "part";
	if (what->kept)
		s->n_kept++;
	else
		s->n_lost++;
	if (s->common->json) {
		json_array_append_new(s->items,
			json_pack("{so ss sb si si so}", "name", cli_json_text(name), "kind", kind, "kept",
				what->kept, "chunks_intact", (int)what->chunks_intact, "chunks", (int)what->chunks,
				"why", cli_json_text(what->why)));
		return;
	}
	if (s->common->quiet || (what->kept && !s->common->verbose))
		return;
	cli_progress_clear(&s->progress);
	printf("%s %s ", what->kept ? "kept" : "lost", kind);
	cli_put_text(stdout, name);
	if (what->chunks > 0)
		printf(" (%u of %u chunks intact)", what->chunks_intact, what->chunks);
	if (what->why[0] != '\0') {
		fputs(": ", stdout);
		cli_put_text(stdout, what->why);
	}
	putchar('\n');
}

static void report(void *user, const aqz_salvaged *what)
{
	if (!what->kept && what->kind == AQZ_KIND_TENSOR && what->name != NULL)
		keep_name(user, what->name);
	report_item(user, what);
}

/* A file that was cut short does not know what came after the cut, but the source's header does. */
static void report_unseen(salvage *s, const aqz_reader *reader, const aqz_section_info *header)
{
	uint8_t *bytes = malloc((size_t)header->decoded_bytes + 1);
	aqz_safetensors parsed;
	aqz_cursor *cursor = NULL;
	uint64_t data_bytes;

	if (bytes == NULL || aqz_cursor_open(&cursor, reader, header->number, NULL) != AQZ_OK ||
		aqz_cursor_read(cursor, 0, header->rows, bytes, (size_t)header->decoded_bytes, NULL) !=
			AQZ_OK ||
		restore_data_bytes(&data_bytes, bytes, (size_t)header->decoded_bytes, NULL) != AQZ_OK ||
		data_bytes > INT64_MAX - header->decoded_bytes ||
		aqz_safetensors_parse(&parsed, bytes, (size_t)header->decoded_bytes,
			header->decoded_bytes + data_bytes, s->common->memory_bytes, NULL) != AQZ_OK) {
		aqz_cursor_close(cursor);
		free(bytes);
		return;
	}
	for (uint32_t i = 0; i < parsed.n_tensors; i++) {
		const aqz_source_tensor *t = &parsed.tensors[i];
		aqz_salvaged what = {.name = t->name, .kind = AQZ_KIND_TENSOR, .why = "was not seen"};

		if (aqz_reader_find(reader, t->name, t->name_bytes) == NULL &&
			(s->n_names == 0 ||
				bsearch(&t->name, s->lost, s->n_names, sizeof *s->lost, by_text) == NULL))
			report_item(s, &what);
	}
	aqz_safetensors_free(&parsed);
	aqz_cursor_close(cursor);
	free(bytes);
}

static void find_unseen(salvage *s, const cli_output *out)
{
	aqz_reader_options reader_options = {
		.struct_size = sizeof reader_options, .memlimit_bytes = s->common->memory_bytes};
	const aqz_section_info *section;
	aqz_reader *reader;
	aqz_io io;

	aqz_io_from_fd(&io, out->fd);
	if (aqz_reader_open(&reader, &io, &reader_options, NULL) != AQZ_OK)
		return;
	if (s->n_names > 0)
		qsort(s->lost, s->n_names, sizeof *s->lost, by_text);
	for (uint32_t i = 0; (section = aqz_reader_section(reader, i)) != NULL; i++)
		if (section->kind == AQZ_KIND_SOURCE_HEADER &&
			section->decoded_bytes <= AQZ_SAFETENSORS_MAX_HEADER + 8 &&
			section->decoded_bytes <= s->common->memory_bytes / 8)
			report_unseen(s, reader, section);
	aqz_reader_close(reader);
}

static int run_salvage(const cli_common *common, const char *path)
{
	salvage s = {.common = common};
	uint32_t n_lost = 0;
	aqz_error err = {0};
	cli_output out;
	aqz_status status;
	cli_input in;
	aqz_io io;
	int code = cli_input_open(&in, path);

	if (code != CLI_OK)
		return code;
	if (in.stream) {
		code = cli_error(in.name, "salvage needs a regular file: it reads at random");
	} else {
		code = cli_output_file(&out, common->output, common->force, &in.st);
		if (code == CLI_OK) {
			if (common->json)
				s.items = json_array();
			cli_output_io(&out, &io);
			cli_progress_begin(&s.progress, common->quiet);
			status = aqz_salvage(&in.io, &io, common->memory_bytes, report, &s, cli_progress_tick,
				&s.progress, &n_lost, &err);
			cli_progress_clear(&s.progress);
			if (status != AQZ_OK) {
				code = out.problem[0] != '\0' ? cli_error(out.path, "%s", out.problem)
											  : cli_error_status(in.name, status, &err);
				cli_output_abort(&out);
			} else {
				find_unseen(&s, &out);
				if (s.n_lost < n_lost)
					s.n_lost = n_lost;
				code = cli_output_commit(&out);
			}
		}
	}
	cli_input_close(&in);
	if (code == CLI_OK && common->json)
		code = cli_json_print(json_pack("{so so so so sO}", "input", cli_json_text(path), "output",
			cli_json_text(common->output), "kept", cli_json_number(s.n_kept), "lost",
			cli_json_number(s.n_lost), "items", s.items));
	else if (code == CLI_OK && !common->quiet)
		printf("%u kept, %u lost\n", s.n_kept, s.n_lost);
	json_decref(s.items);
	while (s.n_names > 0)
		free(s.lost[--s.n_names]);
	free(s.lost);
	/* A file was written, but not all of it came back: scripts must be able to tell. */
	return code == CLI_OK && s.n_lost > 0 ? CLI_ERROR : code;
}

static int run(int argc, char **argv)
{
	cli_parser p;

	cli_parser_begin(&p, &cli_salvage, argc, argv);
	while (cli_parser_next(&p))
		;
	cli_parser_operands(&p, 1, 1, "BROKEN.aqz");
	if (p.exit_code < 0 && p.common.output == NULL)
		cli_usage(&p, "-o OUT.aqz is missing");
	else if (p.exit_code < 0 && strcmp(p.common.output, "-") == 0)
		cli_usage(&p, "-o - is not possible: the list of what was lost goes to standard output");
	if (p.exit_code < 0)
		p.exit_code = run_salvage(&p.common, p.operands[0]);
	cli_parser_end(&p);
	return p.exit_code;
}

const cli_command cli_salvage = {"salvage", "BROKEN.aqz -o OUT.aqz [OPTION]...",
	"Writes a sound file from the intact parts of a broken one and lists what was lost.",
	"Exit code: 0 nothing was lost, 1 something was lost (the rest is in OUT.aqz) or an error, 2 "
	"wrong usage.\n",
	options, run};
