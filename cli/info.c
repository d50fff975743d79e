/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip info: what a container holds, where its bytes went, and how it was made. Reads the index
 * and the provenance, no tensor data. */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/info.h"

enum { OPT_TENSORS = CLI_OPT_OWN, OPT_DEVICES };

static const cli_option options[] = {
	{OPT_TENSORS, 't', "tensors", "GLOB",
		"list only tensors whose names match this shell pattern (repeatable)"},
	{OPT_DEVICES, 0, "devices", NULL, "without a file: which GPUs there are, and whether they are usable"},
	CLI_ROW_MEMORY,
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

bool info_listed(const info_job *job, const char *name)
{
	for (uint32_t i = 0; i < job->n_globs; i++)
		if (fnmatch(job->globs[i], name, 0) == 0)
			return true;
	return job->n_globs == 0;
}

void info_note(
	char note[INFO_NOTE_BYTES], const aqz_reader *reader, const aqz_tensor_info *t, bool mixed)
{
	const aqz_section_info *section = aqz_reader_section(reader, t->section);
	size_t n = 0;

	note[0] = '\0';
	if (t->alias)
		n += (size_t)snprintf(note + n, INFO_NOTE_BYTES - n, "alias ");
	if (section->scheme.codec == AQZ_CODEC_LOSSLESS && t->measured.raw_reason != AQZ_RAW_ASKED)
		n += (size_t)snprintf(
			note + n, INFO_NOTE_BYTES - n, "raw: %s ", cli_raw_reason(t->measured.raw_reason));
	if (t->transposed)
		n += (size_t)snprintf(note + n, INFO_NOTE_BYTES - n, "transposed ");
	if (mixed && section->scheme.codec != AQZ_CODEC_LOSSLESS && !t->measured.has_loss)
		n += (size_t)snprintf(note + n, INFO_NOTE_BYTES - n, "plain metric ");
	if (t->leading > 0)
		n += (size_t)snprintf(note + n, INFO_NOTE_BYTES - n, "%u leading ", t->leading);
	if (n > 0)
		note[n - 1] = '\0';
}

double info_bits(const aqz_reader *reader, const aqz_tensor_info *t)
{
	return t->n_elements != 0 ? 8 * aqz_reader_tensor_file_bytes(reader, t) / (double)t->n_elements
							  : 0;
}

void info_count(info_counts *c, const aqz_reader *reader)
{
	uint32_t n_sections = aqz_reader_file(reader)->n_sections;
	uint32_t *users = calloc((size_t)n_sections + 1, sizeof *users);
	const aqz_section_info *s;
	const aqz_tensor_info *t;

	memset(c, 0, sizeof *c);
	for (uint32_t i = 0; (t = aqz_reader_tensor(reader, i)) != NULL; i++) {
		s = aqz_reader_section(reader, t->section);
		c->weights += t->n_elements;
		if (s->scheme.codec == AQZ_CODEC_LOSSLESS || t->alias)
			continue;
		c->n_coded++;
		c->coded_weights += t->n_elements;
		c->coded_bytes += aqz_reader_tensor_file_bytes(reader, t);
		c->n_with_loss += t->measured.has_loss;
		for (uint32_t k = 0; k < s->n_refs; k++)
			for (uint32_t m = 0; m < s->refs[k].count; m++)
				if (users != NULL && s->refs[k].kind == AQZ_KIND_CODEBOOK &&
					s->refs[k].first + m < n_sections)
					users[s->refs[k].first + m]++;
	}
	for (uint32_t i = 0; (s = aqz_reader_section(reader, i)) != NULL; i++) {
		if (s->kind == AQZ_KIND_FILE) {
			c->n_files++;
			c->file_bytes += s->decoded_bytes;
		}
		if (s->kind != AQZ_KIND_CODEBOOK)
			continue;
		c->n_codebooks++;
		c->codebook_bytes += s->stored_bytes;
		c->codebook_uses += users != NULL ? users[i] : 0;
		c->n_shared += users != NULL && users[i] > 1;
	}
	free(users);
}

char *info_provenance(const aqz_reader *reader)
{
	const aqz_section_info *s;

	for (uint32_t i = 0; (s = aqz_reader_section(reader, i)) != NULL; i++) {
		aqz_cursor *cursor = NULL;
		char *text;

		if (s->kind != AQZ_KIND_METADATA || strcmp(s->name, "provenance") != 0 ||
			s->decoded_bytes > 1 << 24)
			continue;
		text = malloc((size_t)s->decoded_bytes + 1);
		if (text == NULL)
			return NULL;
		if (aqz_cursor_open(&cursor, reader, i, NULL) != AQZ_OK ||
			aqz_cursor_read(cursor, 0, s->rows, text, (size_t)s->decoded_bytes, NULL) != AQZ_OK) {
			free(text);
			text = NULL;
		} else {
			text[s->decoded_bytes] = '\0';
		}
		aqz_cursor_close(cursor);
		return text;
	}
	return NULL;
}

static void print_tensors(const info_job *job, const aqz_reader *reader, const info_counts *c)
{
	char shape[CLI_SHAPE_TEXT], scheme[AQZ_SCHEME_TEXT_BYTES], note[INFO_NOTE_BYTES], name[512];
	const aqz_tensor_info *t;
	size_t width = 6, shape_width = 5;

	for (uint32_t i = 0; (t = aqz_reader_tensor(reader, i)) != NULL; i++) {
		size_t n;

		if (!info_listed(job, t->name))
			continue;
		n = cli_escape(name, sizeof name, t->name);
		width = n > width && n <= 60 ? n : width;
		n = strlen(cli_format_shape(shape, t->shape, t->rank));
		shape_width = n > shape_width && n <= 24 ? n : shape_width;
	}
	printf("%-*s  %-6s %-*s  %-8s %9s %12s %10s", (int)width, "tensor", "dtype", (int)shape_width,
		"shape", "scheme", "bits each", "stored bytes", "rel. MSE");
	printf("%s  note\n", c->n_with_loss > 0 ? "       loss  at start" : "");
	for (uint32_t i = 0; (t = aqz_reader_tensor(reader, i)) != NULL; i++) {
		const aqz_section_info *s = aqz_reader_section(reader, t->section);
		const char *dtype = aqz_dtype_name(t->dtype);
		size_t n;

		if (!info_listed(job, t->name))
			continue;
		n = cli_put_text(stdout, t->name);
		aqz_scheme_format(scheme, &s->scheme);
		printf("%*s  %-6s %-*s  %-8s %9.3f %12" PRIu64 " ", (int)(n < width ? width - n : 0), "",
			dtype, (int)shape_width, cli_format_shape(shape, t->shape, t->rank), scheme,
			info_bits(reader, t), t->alias ? 0 : s->stored_bytes);
		if (t->measured.has_rel_mse)
			printf("%10.6f", t->measured.rel_mse);
		else
			printf("%10s", s->scheme.codec == AQZ_CODEC_LOSSLESS ? "0" : "-");
		if (t->measured.has_loss)
			printf(" %10.6f %9.6f", t->measured.loss_after, t->measured.loss_before);
		else if (c->n_with_loss > 0)
			printf(" %10s %9s", s->scheme.codec == AQZ_CODEC_LOSSLESS ? "0" : "-", "-");
		info_note(note, reader, t, c->n_with_loss > 0);
		printf("%s%s\n", note[0] != '\0' ? "  " : "", note);
	}
}

static void print_ledger(const aqz_reader *reader)
{
	aqz_ledger l;

	aqz_reader_ledger(reader, &l);
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {
		{"header and footer", l.header},
		{"index", l.index},
		{"records", l.records},
		{"codes", l.codes},
		{"codebooks", l.codebooks},
		{"scales", l.scales},
		{"other parameters", l.parameters},
		{"raw tensors", l.raw},
		{"attached files", l.files},
		{"metadata", l.metadata},
		{"frame headers", l.frames},
		{"padding", l.padding},
		{"unknown frames", l.other},
		{"sum = file size", l.total},
	};

	puts("\nbytes of the file");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		printf("  %-20s %14" PRIu64 "  %6.2f %%\n", rows[i].name, rows[i].n,
			l.total != 0 ? 100 * (double)rows[i].n / (double)l.total : 0);
}

/* "key: value" for each member of the provenance; an object or array as compact JSON. */
static void print_provenance(const aqz_reader *reader)
{
	char *text = info_provenance(reader);
	json_t *root = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL, *value;
	const char *key;

	if (root != NULL)
		puts("\nprovenance");
	json_object_foreach(root, key, value)
	{
		char *dumped =
			json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		size_t n;

		fputs("  ", stdout);
		n = cli_put_text(stdout, key);
		printf("%*s ", (int)(n < 20 ? 20 - n : 0), "");
		cli_put_text(stdout,
			dumped != NULL				? dumped
				: json_is_string(value) ? json_string_value(value)
										: "?");
		putchar('\n');
		free(dumped);
	}
	json_decref(root);
	free(text);
}

static void print_files(const aqz_reader *reader, const info_counts *c)
{
	const aqz_section_info *s;

	if (c->n_files > 0)
		puts("\nattached files");
	for (uint32_t i = 0; c->n_files > 0 && (s = aqz_reader_section(reader, i)) != NULL; i++) {
		if (s->kind != AQZ_KIND_FILE)
			continue;
		printf("  %14" PRIu64 "  ", s->decoded_bytes);
		cli_put_text(stdout, s->name);
		putchar('\n');
	}
}

/* In which metric the errors were made small. */
static void print_metric(const info_counts *c)
{
	if (c->n_coded == 0)
		return;
	if (c->n_with_loss == 0)
		puts("metric: plain (no statistics)");
	else if (c->n_with_loss == c->n_coded)
		puts("metric: statistics of the inputs");
	else
		printf("metric: statistics of the inputs for %" PRIu64
			   " of the coded tensors, plain for the other %" PRIu64 "\n",
			c->n_with_loss, c->n_coded - c->n_with_loss);
}

static int print_text(const info_job *job, const aqz_reader *reader)
{
	const aqz_file_info *f = aqz_reader_file(reader);
	char size[CLI_SIZE_TEXT];
	info_counts c;

	info_count(&c, reader);
	cli_put_text(stdout, job->path);
	printf(": aqlmzip %u.%u, %s (%" PRIu64 " bytes), %u tensors, %" PRIu64
		   " weights, %.3f bits per weight\n",
		f->major, f->minor, cli_format_bytes(size, f->n_bytes), f->n_bytes, f->n_tensors, c.weights,
		c.weights != 0 ? 8 * (double)f->n_bytes / (double)c.weights : 0);
	fputs("id ", stdout);
	for (size_t i = 0; i < sizeof f->id; i++)
		printf("%02x", f->id[i]);
	printf(", root %016" PRIx64 "%016" PRIx64 ", alignment %u, %u sections, %" PRIu64 " chunks\n",
		f->root[1], f->root[0], f->alignment, f->n_sections, f->n_chunks);
	if (c.n_coded > 0)
		printf("%" PRIu64 " coded tensors: %" PRIu64 " weights at %.3f bits each\n", c.n_coded,
			c.coded_weights, c.coded_weights != 0 ? 8 * c.coded_bytes / (double)c.coded_weights : 0);
	if (c.n_codebooks > 0)
		printf("%" PRIu64 " codebook sections, %s, used %" PRIu64 " times; %" PRIu64
			   " of them shared by several tensors\n",
			c.n_codebooks, cli_format_bytes(size, c.codebook_bytes), c.codebook_uses, c.n_shared);
	print_metric(&c);
	putchar('\n');
	print_tensors(job, reader, &c);
	print_ledger(reader);
	print_files(reader, &c);
	print_provenance(reader);
	return CLI_OK;
}

static int info(const info_job *job, const cli_common *common)
{
	aqz_reader_options reader_options = {
		.struct_size = sizeof reader_options, .memlimit_bytes = common->memory_bytes};
	aqz_reader *reader = NULL;
	aqz_error err = {0};
	aqz_status status;
	cli_input in;
	int code = cli_input_open(&in, job->path);

	if (code != CLI_OK)
		return code;
	if (in.stream) {
		cli_input_close(&in);
		return cli_error(in.name, "info reads at random: it needs a regular file, not a pipe");
	}
	status = aqz_reader_open(&reader, &in.io, &reader_options, &err);
	if (status != AQZ_OK) {
		code = cli_error_status(in.name, status, &err);
		if (status == AQZ_E_CHECKSUM || status == AQZ_E_CORRUPT || status == AQZ_E_TRUNCATED)
			cli_hint("'aqlmzip salvage' makes a sound file from the intact parts");
	} else {
		code = common->json ? info_json(job, reader) : print_text(job, reader);
	}
	aqz_reader_close(reader);
	cli_input_close(&in);
	return code;
}

static int run(int argc, char **argv)
{
	info_job job = {.path = NULL};
	bool devices = false;
	cli_parser p;

	cli_parser_begin(&p, &cli_info, argc, argv);
	job.globs = calloc((size_t)argc + 1, sizeof *job.globs);
	if (job.globs == NULL)
		p.exit_code = cli_error_nomem();
	while (cli_parser_next(&p))
		if (p.id == OPT_TENSORS)
			job.globs[job.n_globs++] = p.value;
		else if (p.id == OPT_DEVICES)
			devices = true;
	cli_parser_operands(&p, devices ? 0 : 1, devices ? 0 : 1, "IN.aqz");
	if (p.exit_code < 0 && devices) {
		p.exit_code = info_devices(&p.common);
	} else if (p.exit_code < 0) {
		job.path = p.operands[0];
		p.exit_code = info(&job, &p.common);
	}
	cli_parser_end(&p);
	free(job.globs);
	return p.exit_code;
}

const cli_command cli_info = {"info", "IN.aqz [OPTION]...",
	"Prints the tensors, where the file's bytes went, and how it was made.",
	"'bits each' are all bits of the file that a tensor costs, codebooks, frames and index entries "
	"included.\n",
	options, run};
