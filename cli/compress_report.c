/* SPDX-License-Identifier: Apache-2.0 */
/* compress: the table of --dry-run and the summary at the end. */
#include <inttypes.h>
#include <string.h>

#include "cli/compress.h"

/* Sums over the tensors of a plan that are coded, and over all. */
typedef struct sums {
	uint64_t in_bytes, weights, n_coded, coded_weights, coded_bytes;
	double noise;						   /* sum of relative MSE times weights */
	uint64_t n_measured, measured_weights; /* of those with statistics */
	bool has_start;						   /* one of them has a start to compare with */
	double loss, loss_before;			   /* sums of losses times weights */
} sums;

static uint64_t source_bytes(const compress_job *job)
{
	const aqz_source *source = job->source;
	const aqz_source_file *file;
	uint64_t n = 0;

	if (job->transcode)
		return job->in_bytes;
	for (uint32_t i = 0; (file = aqz_source_get_file(source, i)) != NULL; i++)
		n += file->n_bytes;
	return n;
}

static double bits_each(uint64_t bytes, uint64_t weights)
{
	return weights != 0 ? 8 * (double)bytes / (double)weights : 0;
}

static int dry_run_json(const compress_job *job, const aqz_plan *plan, uint64_t memory, uint64_t bound)
{
	json_t *tensors = json_array(), *entry;
	const aqz_plan_entry *e;

	for (uint32_t i = 0; (e = aqz_plan_get(plan, i)) != NULL; i++) {
		entry = json_pack("{so ss so so so so so}", "name", cli_json_text(e->tensor->name), "dtype",
			aqz_dtype_name(e->tensor->dtype), "shape",
			cli_json_shape(e->tensor->shape, e->tensor->rank), "scheme", cli_json_scheme(&e->scheme),
			"source_bytes", cli_json_number(e->tensor->n_bytes), "stored_bytes_at_most",
			cli_json_number(e->stored_bytes), "memory_bytes", cli_json_number(e->memory_bytes));
		if (e->raw_reason != AQZ_RAW_ASKED)
			json_object_set_new(entry, "raw_reason", json_string(cli_raw_reason(e->raw_reason)));
		if (e->scheme.codec != AQZ_CODEC_LOSSLESS)
			json_object_set_new(entry, "statistics", json_boolean(e->has_stats));
		if (e->scheme.codec == AQZ_CODEC_TRELLIS)
			json_object_set_new(entry, "importance", json_boolean(e->has_importance));
		if (e->n_sharing > 0)
			json_object_set_new(entry, "sharing", json_integer((json_int_t)e->n_sharing));
		json_array_append_new(tensors, entry);
	}
	return cli_json_print(json_pack("{so so so so so}", "input", cli_json_text(job->model),
		"input_bytes", cli_json_number(source_bytes(job)), "tensors", tensors, "memory_bytes",
		cli_json_number(memory), "output_bytes_at_most", cli_json_number(bound)));
}

int compress_dry_run(const compress_job *job, const aqz_plan *plan)
{
	char shape[CLI_SHAPE_TEXT], scheme[AQZ_SCHEME_TEXT_BYTES], text[CLI_SIZE_TEXT], name[256];
	uint64_t memory, bound, in_bytes = 0, stored = 0;
	const aqz_plan_entry *e;
	bool trained = false;
	size_t width = 6;

	aqz_plan_totals(plan, &memory, &bound);
	if (job->common->json)
		return dry_run_json(job, plan, memory, bound);
	for (uint32_t i = 0; (e = aqz_plan_get(plan, i)) != NULL; i++) {
		size_t n = cli_escape(name, sizeof name, e->tensor->name);

		width = n > width && n <= 60 ? n : width;
	}
	printf("%-*s  %-6s %-16s %-9s %14s %14s  %10s\n", (int)width, "tensor", "dtype", "shape",
		"becomes", "bytes", "bytes at most", "memory");
	for (uint32_t i = 0; (e = aqz_plan_get(plan, i)) != NULL; i++) {
		size_t n = cli_put_text(stdout, e->tensor->name);

		aqz_scheme_format(scheme, &e->scheme);
		printf("%*s  %-6s %-16s %-9s %14" PRIu64 " %14" PRIu64 "  %10s",
			(int)(n < width ? width - n : 0), "", aqz_dtype_name(e->tensor->dtype),
			cli_format_shape(shape, e->tensor->shape, e->tensor->rank), scheme, e->tensor->n_bytes,
			e->stored_bytes, cli_format_bytes(text, e->memory_bytes));
		printf(
			"%s%s", e->raw_reason != AQZ_RAW_ASKED ? "  raw: " : "", cli_raw_reason(e->raw_reason));
		if (e->n_sharing > 1)
			printf("  codebooks of %u tensors", e->n_sharing);
		if (e->scheme.codec != AQZ_CODEC_LOSSLESS && !e->has_stats && job->stats_path != NULL)
			fputs("  no statistics", stdout);
		putchar('\n');
		trained = trained || (e->n_sharing > 1 && job->codebooks_path == NULL);
		in_bytes += e->tensor->n_bytes;
		stored += e->stored_bytes;
	}
	printf("%-*s  %-6s %-16s %-9s %14" PRIu64 " %14" PRIu64 "  %10s\n", (int)width, "total", "", "",
		"", in_bytes, stored, cli_format_bytes(text, memory));
	printf("The file would have at most %" PRIu64
		   " bytes, attached files and bookkeeping included.\n",
		bound);
	if (trained)
		puts(
			"Shared codebooks are trained before their first tensor is coded, which reads matrices "
			"that have them twice.\nTheir bytes stand, and the memory of training counts, with "
			"that tensor.");
	return CLI_OK;
}

/* A plan's entries and the results are in the same order unless the library says otherwise, so each
 * search is short. */
static const aqz_plan_entry *entry_of(const aqz_plan *plan, const aqz_source_tensor *t, uint32_t start)
{
	const aqz_plan_entry *e = aqz_plan_get(plan, start);

	if (e != NULL && e->tensor == t)
		return e;
	for (uint32_t i = 0; (e = aqz_plan_get(plan, i)) != NULL; i++)
		if (e->tensor == t)
			return e;
	return NULL;
}

static void add_up(sums *s, const compress_job *job, const aqz_plan *plan)
{
	memset(s, 0, sizeof *s);
	s->in_bytes = source_bytes(job);
	for (uint32_t i = 0; i < job->n_results; i++) {
		const compress_result *result = &job->results[i];
		const aqz_plan_entry *e = entry_of(plan, result->tensor, i);

		s->weights += result->tensor->n_elements;
		if (result->scheme.codec == AQZ_CODEC_LOSSLESS ||
			result->measured.raw_reason != AQZ_RAW_ASKED || e == NULL)
			continue;
		s->n_coded++;
		s->coded_weights += result->tensor->n_elements;
		s->coded_bytes +=
			result->scheme.codec == AQZ_CODEC_TRELLIS ? result->n_bytes : e->stored_bytes;
		s->noise += result->measured.rel_mse * (double)result->tensor->n_elements;
		if (!result->measured.has_loss)
			continue;
		s->n_measured++;
		s->has_start = s->has_start || result->scheme.codec == AQZ_CODEC_ADDITIVE;
		s->measured_weights += result->tensor->n_elements;
		s->loss += result->measured.loss_after * (double)result->tensor->n_elements;
		s->loss_before += result->measured.loss_before * (double)result->tensor->n_elements;
	}
}

static int report_json(const compress_job *job, const sums *s, double seconds)
{
	json_t *tensors = json_array(), *root, *coded;

	for (uint32_t i = 0; i < job->n_results; i++) {
		const compress_result *result = &job->results[i];
		json_t *entry = json_pack("{so ss so so so}", "name", cli_json_text(result->tensor->name),
			"dtype", aqz_dtype_name(result->tensor->dtype), "shape",
			cli_json_shape(result->tensor->shape, result->tensor->rank), "scheme",
			cli_json_scheme(&result->scheme), "source_bytes",
			cli_json_number(result->tensor->n_bytes));

		cli_json_measured(entry, &result->measured);
		json_array_append_new(tensors, entry);
	}
	coded = json_pack("{so so so sf sf}", "tensors", cli_json_number(s->n_coded), "weights",
		cli_json_number(s->coded_weights), "bytes", cli_json_number(s->coded_bytes),
		"bits_per_weight", bits_each(s->coded_bytes, s->coded_weights), "mean_rel_mse",
		s->coded_weights != 0 ? s->noise / (double)s->coded_weights : 0.0);
	if (s->measured_weights != 0) {
		const double n = (double)s->measured_weights;

		json_object_set_new(coded, "tensors_with_statistics", cli_json_number(s->n_measured));
		json_object_set_new(coded, "mean_loss_before", json_real(s->loss_before / n));
		json_object_set_new(coded, "mean_loss", json_real(s->loss / n));
	}
	root = json_pack("{so so so so so sf sf so sO so}", "input", cli_json_text(job->model),
		"output", cli_json_text(job->output), "input_bytes", cli_json_number(s->in_bytes),
		"output_bytes", cli_json_number(job->out_bytes), "weights", cli_json_number(s->weights),
		"bits_per_weight", bits_each(job->out_bytes, s->weights), "seconds", seconds, "coded",
		coded, "warnings", job->warnings, "tensors", tensors);
	if (job->slope > 0)
		json_object_set_new(root, "slope", json_real(job->slope));
	return cli_json_print(root);
}

int compress_report(const compress_job *job, const aqz_plan *plan)
{
	/* Standard output may be the file itself. */
	FILE *f = strcmp(job->output, "-") == 0 ? stderr : stdout;
	double seconds = cli_now() - job->start;
	sums s;

	add_up(&s, job, plan);
	if (job->common->json)
		return report_json(job, &s, seconds);
	if (job->common->quiet)
		return CLI_OK;
	cli_put_text(f, job->model);
	fprintf(f, ": %" PRIu64 " -> %" PRIu64 " bytes (%.1f %%), %.3f bits per weight, %.1f s\n",
		s.in_bytes, job->out_bytes,
		s.in_bytes != 0 ? 100 * (double)job->out_bytes / (double)s.in_bytes : 0,
		bits_each(job->out_bytes, s.weights), seconds);
	if (s.n_coded > 0)
		fprintf(f,
			"%" PRIu64 " of %u tensors coded: %" PRIu64
			" weights at %.3f bits each, mean relative MSE %.6f\n",
			s.n_coded, job->n_results, s.coded_weights, bits_each(s.coded_bytes, s.coded_weights),
			s.noise / (double)s.coded_weights);
	if (s.measured_weights > 0)
		fprintf(f, "%" PRIu64 " of them with statistics: mean loss %.6f of the outputs' energy",
			s.n_measured, s.loss / (double)s.measured_weights);
	if (s.measured_weights > 0 && s.has_start)
		fprintf(f, " (start %.6f)", s.loss_before / (double)s.measured_weights);
	if (s.measured_weights > 0)
		fputc('\n', f);
	if (job->slope > 0)
		fprintf(f, "the constant of the shared bits: %.9g\n", job->slope);
	return CLI_OK;
}
