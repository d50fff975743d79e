/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a compression plan: provenance, source headers and attached files first, then tensor by
 * tensor, so that memory is that of one tensor and a reader of a pipe has config and tokenizer
 * before the weights. */
#include "format/writer.h"
#include "interop/crew.h"

#include <stdio.h> /* snprintf */

/* Trellis tensors that are coded before their turn, for each that is at the same time. */
#define AHEAD 8

/* Those that are coded already. */
typedef struct ahead {
	uint32_t n, next;
	uint32_t *entries; /* [n] */
	aqz_trellis_matrix *matrices;
	aqz_measured *measured;
} ahead;

typedef struct compress_job {
	aqz_coder coder;
	aqz_writer *writer;
	ahead ahead;
} compress_job;

static aqz_status copy_range(
	compress_job *job, uint32_t file, uint64_t offset, uint64_t n, bool counts, aqz_error *err)
{
	aqz_coder *c = &job->coder;
	aqz_status status = AQZ_OK;
	for (uint64_t at = 0; at < n;) {
		size_t part = (size_t)aqz_min(AQZ_STEP_BYTES, n - at);
		AQZ_TRY(aqz_source_read(c->plan->source, file, offset + at, c->step, part, err));
		AQZ_TRY(aqz_writer_put(job->writer, c->step, part, err));
		at += part;
		AQZ_TRY(aqz_coder_tell(c, counts ? at : 0, err));
	}
out:
	return status;
}

static aqz_status write_files(compress_job *job, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_source_file *f;
	const aqz_plan *plan = job->coder.plan;
	const char *text = plan->provenance;
	AQZ_TRY(aqz_writer_file(job->writer, AQZ_KIND_METADATA, "provenance", strlen(text), err));
	AQZ_TRY(aqz_writer_put(job->writer, text, strlen(text), err));
	for (uint32_t i = 0; (f = aqz_source_get_file(plan->source, i)) != NULL; i++) {
		bool is_tensors = f->header_bytes > 0;
		uint64_t n = is_tensors ? f->header_bytes : f->n_bytes;
		AQZ_TRY(aqz_writer_file(
			job->writer, is_tensors ? AQZ_KIND_SOURCE_HEADER : AQZ_KIND_FILE, f->name, n, err));
		AQZ_TRY(copy_range(job, i, 0, n, false, err));
	}
out:
	return status;
}

static aqz_tensor_desc describe(const aqz_source_tensor *t, const aqz_scheme *scheme)
{
	aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = t->name,
		.name_bytes = t->name_bytes,
		.dtype = t->dtype,
		.rank = t->rank,
		.scheme = *scheme};
	memcpy(d.shape, t->shape, sizeof d.shape);
	return d;
}

static aqz_status write_lossless(
	compress_job *job, const aqz_source_tensor *t, aqz_measured *measured, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1};
	aqz_tensor_desc d = describe(t, &raw);
	d.measured = *measured;
	AQZ_TRY(aqz_writer_tensor(job->writer, NULL, &d, err));
	AQZ_TRY(copy_range(job, t->file, t->offset, t->n_bytes, true, err));
out:
	return status;
}

static aqz_status write_additive(compress_job *job, const aqz_plan_entry *e, const aqz_additive *a,
	const aqz_measured *measured, aqz_error *err)
{
	uint64_t rows, cols;
	aqz_tensor_desc d = describe(e->tensor, &e->scheme);
	aqz_plan_view(e->tensor, &d.leading, &rows, &cols);
	d.measured = *measured;
	return aqz_writer_additive(job->writer, &d, a, err);
}

static aqz_status write_trellis(compress_job *job, const aqz_plan_entry *e, aqz_trellis_matrix *m,
	const aqz_measured *measured, aqz_error *err)
{
	uint64_t rows, cols;
	aqz_tensor_desc d = describe(e->tensor, &e->scheme);
	aqz_plan_view(e->tensor, &d.leading, &rows, &cols);
	d.measured = *measured;
	return aqz_writer_trellis(
		job->writer, &d, &m->params, m->index, aqz_trellis_chunk_rows(e->tensor), err);
}

static void ahead_free(ahead *a)
{
	for (uint32_t i = 0; i < a->n; i++)
		aqz_trellis_matrix_free(&a->matrices[i]);
	free(a->entries);
	free(a->matrices);
	free(a->measured);
	*a = (ahead){0};
}

static aqz_status code_ahead(void *ahead_, aqz_coder *c, uint32_t entry, uint32_t i, aqz_error *err)
{
	ahead *a = ahead_;

	return aqz_coder_trellis(&a->matrices[i], &a->measured[i], c, entry, err);
}

/* Codes an entry, and others of the next ones: as many as a crew has work for, and as may wait. */
static aqz_status fill_ahead(compress_job *job, uint32_t entry, aqz_error *err)
{
	const aqz_plan *plan = job->coder.plan;
	ahead *a = &job->ahead;
	const uint32_t most = plan->n_crew > 1 ? AHEAD * plan->n_crew : 1;
	uint64_t n_bytes = 0;
	aqz_status status = AQZ_OK;

	ahead_free(a);
	a->entries = calloc(most, sizeof *a->entries);
	a->matrices = calloc(most, sizeof *a->matrices);
	a->measured = calloc(most, sizeof *a->measured);
	if (a->entries == NULL || a->matrices == NULL || a->measured == NULL)
		return aqz_fail_nomem(err, most * sizeof *a->matrices);
	for (uint32_t i = entry; i < plan->n_entries && a->n < most; i++) {
		const uint64_t own = 4 * plan->entries[i].tensor->n_elements;

		if (plan->entries[i].scheme.codec != AQZ_CODEC_TRELLIS ||
			(i > entry && !aqz_crew_has(plan, i)))
			continue;
		if (a->n > 0 && (n_bytes + own > AQZ_CREW_AHEAD_BYTES || !aqz_crew_has(plan, entry)))
			break;
		n_bytes += own;
		a->entries[a->n++] = i;
	}
	AQZ_TRY(aqz_crew_run(&job->coder, a->entries, a->n, code_ahead, a, err));
out:
	return status;
}

/* The next one of those. */
static aqz_status take_ahead(aqz_trellis_matrix *m, aqz_measured *measured, compress_job *job,
	uint32_t entry, aqz_error *err)
{
	ahead *a = &job->ahead;
	aqz_status status = AQZ_OK;

	if (a->next == a->n)
		AQZ_TRY(fill_ahead(job, entry, err));
	*m = a->matrices[a->next];
	*measured = a->measured[a->next];
	a->matrices[a->next++] = (aqz_trellis_matrix){0};
	if (m->index != NULL)
		aqz_coder_trellis_missed(&job->coder, entry, m);
out:
	return status;
}

static aqz_status write_tensor(compress_job *job, uint32_t entry, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_coder *c = &job->coder;
	const aqz_compress_options *o = &c->plan->opt;
	const aqz_plan_entry *e = &c->plan->entries[entry];
	const aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1};
	aqz_measured measured = {.raw_reason = e->raw_reason};
	aqz_additive a = {0};
	aqz_trellis_matrix m = {0};
	if (o->tensor != NULL)
		o->tensor(o->user, e->tensor, &e->scheme, NULL);
	if (e->scheme.codec == AQZ_CODEC_TRELLIS)
		AQZ_TRY(take_ahead(&m, &measured, job, entry, err));
	else if (e->scheme.codec != AQZ_CODEC_LOSSLESS)
		AQZ_TRY(aqz_coder_encode(&a, &measured, c, entry, err));
	aqz_coder_release(c, entry);
	const bool coded = a.codes != NULL || m.index != NULL;
	if (measured.raw_reason == AQZ_RAW_NON_FINITE && o->warn != NULL) {
		char line[AQZ_MAX_NAME_BYTES + 96];
		snprintf(line, sizeof line, "%s: it holds infinities or NaN and is stored lossless",
			e->tensor->name);
		o->warn(o->user, line);
	}
	if (m.index != NULL && o->stored != NULL)
		o->stored(o->user, e->tensor, (uint64_t)m.bytes + aqz_trellis_overhead(e->tensor));
	if (m.index != NULL)
		AQZ_TRY(write_trellis(job, e, &m, &measured, err));
	else
		AQZ_TRY(coded ? write_additive(job, e, &a, &measured, err)
					  : write_lossless(job, e->tensor, &measured, err));
	if (e->scheme.codec != AQZ_CODEC_TRELLIS) /* the crew counts */
		c->done_bytes += e->tensor->n_bytes;
	if (o->tensor != NULL)
		o->tensor(o->user, e->tensor, coded ? &e->scheme : &raw, &measured);
	AQZ_TRY(aqz_coder_tell(c, 0, err));
out:
	aqz_additive_free(&a);
	aqz_trellis_matrix_free(&m);
	return status;
}

aqz_status aqz_plan_run(const aqz_plan *plan, const aqz_io *out, uint64_t *n_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	compress_job job = {.writer = NULL};
	aqz_writer_options options = {.struct_size = sizeof options,
		.alignment = plan->opt.alignment,
		.effort = plan->opt.effort,
		.n_threads = plan->opt.n_threads,
		.memlimit_bytes = plan->opt.memlimit_bytes};
	memcpy(options.id, plan->id, sizeof options.id);
	AQZ_TRY(aqz_coder_open(&job.coder, plan, err));
	AQZ_TRY(aqz_coder_find_slope(&job.coder, err));
	AQZ_TRY(aqz_writer_open(&job.writer, out, &options, err));
	AQZ_TRY(write_files(&job, err));
	for (uint32_t i = 0; i < plan->n_entries; i++)
		AQZ_TRY(write_tensor(&job, i, err));
	AQZ_TRY(aqz_writer_finish(job.writer, n_bytes, err));
out:
	aqz_writer_close(job.writer);
	ahead_free(&job.ahead);
	aqz_coder_close(&job.coder);
	return status;
}
