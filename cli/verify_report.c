/* SPDX-License-Identifier: Apache-2.0 */
/* verify: which chunk is bad, whose rows those are, and which tensors are untouched. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verify.h"

static const char *level_name(aqz_verify_level level)
{
	return level == AQZ_VERIFY_QUICK ? "quick" : level == AQZ_VERIFY_FULL ? "full" : "stored";
}

/* The first tensor that is made of a section, directly or through a reference. */
static const aqz_tensor_info *user_of(const aqz_reader *reader, uint32_t section)
{
	const aqz_tensor_info *t;

	for (uint32_t i = 0; (t = aqz_reader_tensor(reader, i)) != NULL; i++) {
		const aqz_section_info *s = aqz_reader_section(reader, t->section);

		if (t->section == section)
			return t;
		for (uint32_t k = 0; k < s->n_refs; k++)
			if (section >= s->refs[k].first && section - s->refs[k].first < s->refs[k].count)
				return t;
	}
	return NULL;
}

/* Rows of the coded view that a chunk holds. */
static void chunk_rows(const aqz_section_info *s, uint32_t chunk, uint64_t *begin, uint64_t *end)
{
	uint64_t step = s->chunk_rows;

	if (s->scheme.codec == AQZ_CODEC_ADDITIVE && s->scheme.out_group > 1)
		step *= s->scheme.out_group;
	*begin = chunk * step;
	*end = *begin + step < s->rows ? *begin + step : s->rows;
}

/* One byte a tensor: 1 if a section that it needs has a finding. NULL without memory. */
static uint8_t *mark_damaged(const verify_job *job, const aqz_reader *reader, uint32_t *n_damaged)
{
	const aqz_file_info *f = aqz_reader_file(reader);
	uint8_t *bad_sections = calloc((size_t)f->n_sections + 1, 1),
			*damaged = calloc((size_t)f->n_tensors + 1, 1);

	*n_damaged = 0;
	if (bad_sections == NULL || damaged == NULL) {
		free(bad_sections);
		free(damaged);
		return NULL;
	}
	for (uint32_t i = 0; i < job->n_findings; i++)
		if (job->findings[i].section < f->n_sections)
			bad_sections[job->findings[i].section] = 1;
	for (uint32_t i = 0; i < f->n_tensors; i++) {
		const aqz_tensor_info *t = aqz_reader_tensor(reader, i);
		const aqz_section_info *s = aqz_reader_section(reader, t->section);

		damaged[i] = bad_sections[t->section];
		for (uint32_t k = 0; k < s->n_refs; k++)
			for (uint32_t m = 0; m < s->refs[k].count && s->refs[k].first + m < f->n_sections; m++)
				damaged[i] |= bad_sections[s->refs[k].first + m];
		*n_damaged += damaged[i];
	}
	free(bad_sections);
	return damaged;
}

void verify_json_error(json_t *object, aqz_status status, const aqz_error *err)
{
	json_object_set_new(object, "status", json_string(aqz_status_name(status)));
	if (status == AQZ_OK)
		return;
	json_object_set_new(object, "text", cli_json_text(err->text));
	json_object_set_new(object, "where", cli_json_text(err->where));
	if (err->offset != AQZ_NO_OFFSET)
		json_object_set_new(object, "offset", cli_json_number(err->offset));
}

static json_t *finding_json(const aqz_reader *reader, const verify_finding *f)
{
	json_t *entry = json_object();
	const aqz_section_info *s =
		reader != NULL && f->section != UINT32_MAX ? aqz_reader_section(reader, f->section) : NULL;

	verify_json_error(entry, f->err.status, &f->err);
	if (f->section != UINT32_MAX)
		json_object_set_new(entry, "section", cli_json_number(f->section));
	if (f->chunk != UINT32_MAX)
		json_object_set_new(entry, "chunk", cli_json_number(f->chunk));
	if (s != NULL) {
		const aqz_tensor_info *t = user_of(reader, f->section);
		uint64_t begin, end;

		json_object_set_new(entry, "kind", json_string(aqz_kind_name(s->kind)));
		if (s->name[0] != '\0')
			json_object_set_new(entry, "name", cli_json_text(s->name));
		if (t != NULL)
			json_object_set_new(entry, "tensor", cli_json_text(t->name));
		if (f->chunk != UINT32_MAX) {
			chunk_rows(s, f->chunk, &begin, &end);
			json_object_set_new(entry, "row_begin", cli_json_number(begin));
			json_object_set_new(entry, "row_end", cli_json_number(end));
		}
	}
	return entry;
}

static int report_json(
	const verify_job *job, const aqz_reader *reader, const uint8_t *damaged, bool ok)
{
	json_t *findings = json_array(), *bad = json_array(), *good = json_array();
	const aqz_tensor_info *t;

	for (uint32_t i = 0; i < job->n_findings; i++)
		json_array_append_new(findings, finding_json(reader, &job->findings[i]));
	for (uint32_t i = 0; damaged != NULL && (t = aqz_reader_tensor(reader, i)) != NULL; i++)
		json_array_append_new(damaged[i] ? bad : good, cli_json_text(t->name));
	return cli_json_print(json_pack("{so ss sb ss so sf so so so}", "file",
		cli_json_text(job->path), "level", level_name(job->level), "ok", ok, "status",
		aqz_status_name(job->status), "bytes", cli_json_number(job->n_bytes), "seconds",
		cli_now() - job->start, "findings", findings, "damaged", bad, "intact", good));
}

static void print_finding(const verify_job *job, const aqz_reader *reader, const verify_finding *f)
{
	const aqz_section_info *s =
		reader != NULL && f->section != UINT32_MAX ? aqz_reader_section(reader, f->section) : NULL;
	const aqz_tensor_info *t = s != NULL ? user_of(reader, f->section) : NULL;
	char place[AQZ_MAX_NAME_BYTES + 128];
	uint64_t begin = 0, end = 0;

	if (s == NULL) {
		cli_error_status(job->path, f->err.status, &f->err);
		return;
	}
	if (s->kind == AQZ_KIND_TENSOR) {
		snprintf(place, sizeof place, "tensor '%s'", t != NULL ? t->name : "?");
	} else if (s->name[0] != '\0') {
		snprintf(place, sizeof place, "%s '%s'", aqz_kind_name(s->kind), s->name);
	} else {
		snprintf(place, sizeof place, "%s of tensor '%s'", aqz_kind_name(s->kind),
			t != NULL ? t->name : "?");
	}
	if (f->chunk == UINT32_MAX) {
		cli_error(job->path, "section %u (%s): %s", f->section, place, f->err.text);
		return;
	}
	chunk_rows(s, f->chunk, &begin, &end);
	cli_error(job->path, "section %u, chunk %u (%s, rows %" PRIu64 " to %" PRIu64 "): %s",
		f->section, f->chunk, place, begin, end > begin ? end - 1 : begin, f->err.text);
}

static void print_tensors(const aqz_reader *reader, const uint8_t *damaged, bool bad)
{
	const aqz_tensor_info *t;

	for (uint32_t i = 0; (t = aqz_reader_tensor(reader, i)) != NULL; i++)
		if (damaged[i] == bad) {
			fputs(bad ? "  damaged  " : "  intact   ", stdout);
			cli_put_text(stdout, t->name);
			putchar('\n');
		}
}

int verify_report(const verify_job *job, const aqz_reader *reader)
{
	static const char *const checked[] = {"structure and index", "structure and all stored hashes",
		"structure, all stored hashes and all decoded hashes"};
	uint32_t n_damaged = 0, n_tensors = reader != NULL ? aqz_reader_file(reader)->n_tensors : 0;
	uint8_t *damaged = reader != NULL ? mark_damaged(job, reader, &n_damaged) : NULL;
	bool ok = job->n_findings == 0 && !job->lost_findings;
	int code = CLI_OK;

	if (job->common->json) {
		code = report_json(job, reader, damaged, ok);
	} else {
		for (uint32_t i = 0; i < job->n_findings; i++)
			print_finding(job, reader, &job->findings[i]);
		if (ok && !job->common->quiet) {
			cli_put_text(stdout, job->path);
			printf(": ok: %s of %" PRIu64 " bytes, %.2f s\n", checked[job->level], job->n_bytes,
				cli_now() - job->start);
			if (job->common->verbose && damaged != NULL)
				print_tensors(reader, damaged, false);
		} else if (!ok && !job->common->quiet && damaged != NULL) {
			cli_put_text(stdout, job->path);
			printf(": %u of %u tensors damaged\n", n_damaged, n_tensors);
			print_tensors(reader, damaged, true);
			print_tensors(reader, damaged, false);
		}
		if (!ok)
			cli_hint("'aqlmzip salvage' makes a sound file from the intact parts");
	}
	free(damaged);
	return ok ? code : CLI_ERROR;
}

int verify_stopped(verify_job *job, const aqz_reader *reader, const aqz_error *err)
{
	aqz_error what = *err;
	int code = cli_error_status(job->path, job->status, err);

	if (!job->common->json)
		return code;
	if (what.status == AQZ_OK)
		cli_fail(&what, job->status, "", "%s", aqz_status_name(job->status));
	verify_add(job, UINT32_MAX, UINT32_MAX, &what);
	(void)verify_report(job, reader);
	fflush(stdout); /* a signal that was caught ends the process */
	return code;
}
