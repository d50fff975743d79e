/* SPDX-License-Identifier: Apache-2.0 */
/* verify --against: decodes every tensor and compares it with the source model. Lossless tensors
 * must be equal; of coded ones the relative MSE, and with statistics the loss, is computed again and must be the
 * recorded one. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/against.h"

/* Sums in binary64 over up to 2^40 terms differ by far less when they are taken in another order.
 */
#define TOLERANCE 1e-6

typedef struct buffers {
	size_t n_elements, n_bytes; /* of a step */
	uint8_t *ours, *theirs;
	float *ours_f32, *theirs_f32;
} buffers;

typedef struct compare_state {
	verify_job *job;
	const aqz_reader *reader;
	const aqz_source *source;
	const aqz_stats *stats; /* NULL: losses are not looked at */
	const aqz_source_tensor **by_name;
	uint32_t n_source;
	uint64_t done, total;
} compare_state;

static int by_name(const void *a, const void *b)
{
	const aqz_source_tensor *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static const aqz_source_tensor *find(const compare_state *c, const char *name)
{
	aqz_source_tensor key = {.name = name};
	const aqz_source_tensor *pointer = &key;
	const aqz_source_tensor **found =
		bsearch(&pointer, c->by_name, c->n_source, sizeof *c->by_name, by_name);

	return found != NULL ? *found : NULL;
}

static void free_buffers(buffers *b)
{
	free(b->ours);
	free(b->theirs);
	free(b->ours_f32);
	free(b->theirs_f32);
	memset(b, 0, sizeof *b);
}

static aqz_status make_buffers(buffers *b, const compare_state *c, const aqz_section_info *s,
	uint64_t n_elements, bool coded, aqz_error *err)
{
	uint64_t n_bytes = n_elements / 8 * aqz_dtype_bits(s->dtype) +
		(n_elements % 8 * aqz_dtype_bits(s->dtype) + 7) / 8;
	uint64_t need = 2 * n_bytes + (coded ? 8 * n_elements : 0);

	memset(b, 0, sizeof *b);
	if (need > c->job->common->memory_bytes)
		return cli_fail(err, AQZ_E_MEMLIMIT, "", "comparing needs %" PRIu64 " bytes", need);
	b->n_bytes = (size_t)n_bytes;
	b->n_elements = (size_t)n_elements;
	b->ours = malloc(b->n_bytes + 1);
	b->theirs = malloc(b->n_bytes + 1);
	b->ours_f32 = coded ? malloc((b->n_elements + 1) * sizeof(float)) : NULL;
	b->theirs_f32 = coded ? malloc((b->n_elements + 1) * sizeof(float)) : NULL;
	if (b->ours == NULL || b->theirs == NULL ||
		(coded && (b->ours_f32 == NULL || b->theirs_f32 == NULL))) {
		free_buffers(b);
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	}
	return AQZ_OK;
}

/* Adds the next elements, in both their dtype, to the sums. */
static aqz_status add_step(comparison *r, loss_sums *l, const buffers *b, size_t n_bytes,
	size_t n_elements, double *noise, double *power, aqz_error *err)
{
	aqz_dtype dtype = r->info->dtype;
	aqz_status status;

	if (memcmp(b->ours, b->theirs, n_bytes) == 0 && !r->coded)
		return AQZ_OK;
	r->equal = false;
	if (!r->coded)
		return AQZ_OK;
	status = dtype == AQZ_F32 ? AQZ_OK
							  : aqz_convert(b->ours_f32, AQZ_F32, b->ours, dtype, n_elements, err);
	if (status == AQZ_OK && dtype != AQZ_F32)
		status = aqz_convert(b->theirs_f32, AQZ_F32, b->theirs, dtype, n_elements, err);
	if (status != AQZ_OK)
		return status;
	if (dtype == AQZ_F32) {
		memcpy(b->ours_f32, b->ours, n_bytes);
		memcpy(b->theirs_f32, b->theirs, n_bytes);
	}
	for (size_t i = 0; i < n_elements; i++) {
		double w = b->theirs_f32[i], e = w - b->ours_f32[i];

		*noise += e * e;
		*power += w * w;
	}
	against_loss_add(l, b->theirs_f32, b->ours_f32, n_elements);
	return AQZ_OK;
}

/* Reads both sides step by step; a transposed tensor in one. */
static aqz_status compare_data(
	compare_state *c, comparison *r, const aqz_source_tensor *t, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(c->reader, r->info->section);
	uint64_t step = s->chunk_rows, at = 0;
	unsigned bits = aqz_dtype_bits(s->dtype);
	double noise = 0, power = 0;
	aqz_cursor *cursor = NULL;
	loss_sums losses = {.stats = NULL};
	aqz_status status;
	buffers b;

	if (s->scheme.codec == AQZ_CODEC_ADDITIVE)
		step *= s->scheme.out_group;
	if (step > s->rows || r->info->transposed)
		step = s->rows;
	status = make_buffers(&b, c, s, step * s->cols, r->coded, err);
	if (status == AQZ_OK)
		status = against_loss_begin(&losses, c->job, c->stats, r, err);
	if (status == AQZ_OK && !r->info->transposed)
		status = aqz_cursor_open(&cursor, c->reader, s->number, err);
	for (uint64_t row = 0; row < s->rows && s->cols > 0 && status == AQZ_OK; row += step) {
		uint64_t end = s->rows - row < step ? s->rows : row + step, n = (end - row) * s->cols;
		size_t n_bytes = (size_t)(n / 8 * bits + n % 8 * bits / 8);

		status = r->info->transposed
			? aqz_reader_read_tensor(c->reader, r->info, b.ours, n_bytes, err)
			: aqz_cursor_read(cursor, row, end, b.ours, n_bytes, err);
		if (status == AQZ_OK)
			status = aqz_source_read(c->source, t->file, t->offset + at, b.theirs, n_bytes, err);
		if (status == AQZ_OK)
			status = add_step(r, &losses, &b, n_bytes, (size_t)n, &noise, &power, err);
		at += n_bytes;
		c->done += n_bytes;
		if (status == AQZ_OK && !cli_progress_tick(&c->job->progress, c->done, c->total))
			status = cli_fail(err, AQZ_E_CANCELLED, "", "stopped by a signal");
	}
	r->mse = power > 0 ? noise / power : noise > 0 ? INFINITY : 0;
	if (status == AQZ_OK)
		status = against_loss_end(&losses, r, c->job, c->stats, err);
	against_loss_free(&losses);
	aqz_cursor_close(cursor);
	free_buffers(&b);
	return status;
}

static bool near(double found, double recorded)
{
	return isnan(recorded) || fabs(found - recorded) <= TOLERANCE * recorded + DBL_MIN;
}

static void judge(comparison *r, bool losses)
{
	const char *why = "";

	r->good = r->coded ? near(r->mse, r->recorded) : r->equal;
	if (!r->good)
		why = r->coded ? "error is not the recorded one" : "elements differ";
	else if (r->coded && isnan(r->recorded))
		why = "no error was recorded";
	else if (r->coded && losses && isnan(r->loss) && !isnan(r->recorded_loss))
		r->good = false, why = "it has no statistics there";
	else if (r->coded && losses && !near(r->loss, r->recorded_loss))
		r->good = false, why = "loss is not the recorded one";
	snprintf(r->why, sizeof r->why, "%s", why);
}

static aqz_status compare(compare_state *c, comparison *r, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(c->reader, r->info->section);
	const aqz_source_tensor *t = find(c, r->info->name);
	aqz_status status;

	r->coded = s->scheme.codec != AQZ_CODEC_LOSSLESS;
	r->equal = true;
	r->recorded = r->info->measured.has_rel_mse ? r->info->measured.rel_mse : NAN;
	r->loss = NAN;
	r->recorded_loss = r->info->measured.has_loss ? r->info->measured.loss_after : NAN;
	r->scheme = &s->scheme;
	if (t == NULL || t->dtype != r->info->dtype || t->rank != r->info->rank ||
		memcmp(t->shape, r->info->shape, t->rank * sizeof *t->shape) != 0) {
		snprintf(
			r->why, sizeof r->why, "%s", t == NULL ? "not in the model" : "dtype or shape differ");
		r->mse = NAN;
		return AQZ_OK;
	}
	cli_progress_item(
		&c->job->progress, r->info->name, r->info->n_bytes, aqz_reader_file(c->reader)->n_tensors);
	status = compare_data(c, r, t, err);
	if (status != AQZ_OK)
		return status;
	judge(r, c->stats != NULL);
	return AQZ_OK;
}

static aqz_status compare_all(compare_state *c, uint32_t *n_bad, aqz_error *err)
{
	const cli_common *common = c->job->common;
	json_t *rows = common->json ? json_array() : NULL;
	const aqz_tensor_info *info;
	aqz_status status = AQZ_OK;
	char name[256];
	size_t width = 6, n;

	for (uint32_t i = 0; (info = aqz_reader_tensor(c->reader, i)) != NULL; i++) {
		n = cli_escape(name, sizeof name, info->name);
		width = n > width && n <= 60 ? n : width;
		c->total += info->n_bytes;
	}
	if (!common->json && !common->quiet)
		against_print_head(width, c->stats != NULL);
	for (uint32_t i = 0; status == AQZ_OK && (info = aqz_reader_tensor(c->reader, i)) != NULL; i++) {
		comparison r = {.info = info};

		status = compare(c, &r, err);
		if (status != AQZ_OK)
			break;
		*n_bad += !r.good;
		if (common->json)
			json_array_append_new(rows, against_row_json(&r));
		if (!common->json && !common->quiet) {
			cli_progress_clear(&c->job->progress);
			against_print_row(&r, width, c->stats != NULL);
		}
		if (!r.good)
			cli_error(c->job->path, "tensor '%s': %s", info->name, r.why);
	}
	for (uint32_t i = 0; i < c->n_source && status == AQZ_OK; i++)
		if (aqz_reader_find(c->reader, c->by_name[i]->name, c->by_name[i]->name_bytes) == NULL) {
			cli_error(c->job->path, "tensor '%s' of the model is missing", c->by_name[i]->name);
			++*n_bad;
		}
	cli_progress_clear(&c->job->progress);
	if (common->json && against_print_json(c->job, rows, *n_bad == 0, status, err) != CLI_OK &&
		status == AQZ_OK)
		status = cli_fail(err, AQZ_E_IO, "", "printing failed");
	return status;
}

int verify_against(verify_job *job, const aqz_reader *reader)
{
	compare_state c = {.job = job, .reader = reader};
	aqz_source *source = NULL;
	aqz_stats *stats = NULL;
	const char *name = job->against;
	aqz_error err = {0};
	aqz_status status = aqz_source_open(&source, job->against, job->common->memory_bytes, &err);
	uint32_t n_bad = 0;
	int code;

	if (status == AQZ_OK && job->stats != NULL) {
		status = aqz_stats_open(&stats, job->stats, job->common->memory_bytes, &err);
		name = job->stats;
	}
	if (status != AQZ_OK) {
		aqz_source_close(source);
		code = cli_error_status(name, status, &err);
		if (job->common->json)
			(void)against_print_json(job, json_array(), false, status, &err);
		return code;
	}
	c.source = source;
	c.stats = stats;
	c.n_source = aqz_source_n_tensors(source);
	c.by_name = calloc((size_t)c.n_source + 1, sizeof *c.by_name);
	if (c.by_name == NULL) {
		status = cli_fail(&err, AQZ_E_NOMEM, "", "out of memory");
		if (job->common->json)
			(void)against_print_json(job, json_array(), false, status, &err);
	} else {
		for (uint32_t i = 0; i < c.n_source; i++)
			c.by_name[i] = aqz_source_get(source, i);
		qsort(c.by_name, c.n_source, sizeof *c.by_name, by_name);
		status = compare_all(&c, &n_bad, &err);
	}
	if (status != AQZ_OK)
		code = cli_error_status(job->path, status, &err);
	else
		code = n_bad == 0 ? CLI_OK : CLI_ERROR;
	if (code == CLI_OK && !job->common->json && !job->common->quiet) {
		cli_put_text(stdout, job->path);
		fputs(": ok: stored hashes hold and all tensors are what was recorded of ", stdout);
		cli_put_text(stdout, job->against);
		putchar('\n');
	}
	free(c.by_name);
	aqz_stats_close(stats);
	aqz_source_close(source);
	return code;
}
