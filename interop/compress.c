/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a compression plan: provenance, source headers and attached files first, then tensor by
 * tensor, so that memory is that of one tensor and a reader of a pipe has config and tokenizer
 * before the weights. */
#include "interop/plan.h"

#include <math.h>
#include <stdio.h> /* snprintf */

/* What is read of the source at a time. */
#define STEP_BYTES (UINT64_C(4) << 20)

typedef struct compress_job {
	const aqz_plan *plan;
	aqz_writer *writer;
	uint8_t *step; /* STEP_BYTES */
	uint64_t done_bytes, total_bytes;
	uint64_t tensor_bytes; /* of the tensor being encoded */
} compress_job;

static bool tell(const compress_job *job, uint64_t done)
{
	const aqz_compress_options *o = &job->plan->opt;
	return o->progress == NULL || o->progress(o->progress_user, done, job->total_bytes);
}

static aqz_status cancelled(aqz_error *err)
{
	return aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "stopped");
}

/* The encoder reports thousandths of a tensor. */
static bool encode_progress(void *user, uint64_t done, uint64_t total)
{
	const compress_job *job = user;
	return tell(job,
		job->done_bytes +
			(total == 0 ? 0 : (uint64_t)((double)job->tensor_bytes * (double)done / (double)total)));
}

static aqz_status copy_range(
	compress_job *job, uint32_t file, uint64_t offset, uint64_t n, bool counts, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	for (uint64_t at = 0; at < n;) {
		size_t part = (size_t)aqz_min(STEP_BYTES, n - at);
		AQZ_TRY(aqz_source_read(job->plan->source, file, offset + at, job->step, part, err));
		AQZ_TRY(aqz_writer_put(job->writer, job->step, part, err));
		at += part;
		if (!tell(job, job->done_bytes + (counts ? at : 0)))
			AQZ_TRY(cancelled(err));
	}
out:
	return status;
}

static aqz_status write_files(compress_job *job, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_source_file *f;
	const char *text = job->plan->provenance;
	AQZ_TRY(aqz_writer_file(job->writer, AQZ_KIND_METADATA, "provenance", strlen(text), err));
	AQZ_TRY(aqz_writer_put(job->writer, text, strlen(text), err));
	for (uint32_t i = 0; (f = aqz_source_get_file(job->plan->source, i)) != NULL; i++) {
		bool is_tensors = f->header_bytes > 0;
		uint64_t n = is_tensors ? f->header_bytes : f->n_bytes;
		AQZ_TRY(aqz_writer_file(
			job->writer, is_tensors ? AQZ_KIND_SOURCE_HEADER : AQZ_KIND_FILE, f->name, n, err));
		AQZ_TRY(copy_range(job, i, 0, n, false, err));
	}
out:
	return status;
}

/* The whole matrix in F32. */
static aqz_status read_matrix(compress_job *job, const aqz_source_tensor *t, float *w, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	size_t e = aqz_dtype_bits(t->dtype) / 8;
	for (uint64_t at = 0; at < t->n_elements;) {
		size_t n = (size_t)aqz_min(STEP_BYTES / e, t->n_elements - at);
		AQZ_TRY(
			aqz_source_read(job->plan->source, t->file, t->offset + at * e, job->step, n * e, err));
		AQZ_TRY(aqz_convert(w + at, AQZ_F32, job->step, t->dtype, n, err));
		at += n;
		if (!tell(job, job->done_bytes))
			AQZ_TRY(cancelled(err));
	}
out:
	return status;
}

static bool all_finite(const float *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (!isfinite(w[i]))
			return false;
	return true;
}

/* sum (W - W_hat)^2 / sum W^2 with W_hat as a reader gets it, rounded to the tensor's dtype. Summed
 * row by row in order. */
static aqz_status measure(
	double *rel_mse, const aqz_additive *a, const float *w, aqz_dtype dtype, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	double error = 0, energy = 0;
	size_t cols = (size_t)a->cols;
	/* Whole row blocks of 64, as many as a step has room for; the sums do not depend on it. */
	size_t step_rows = (size_t)(STEP_BYTES / (cols * sizeof(float))) / 64 * 64;
	step_rows = step_rows == 0 ? 64 : step_rows;
	float *row_block = malloc(step_rows * cols * sizeof(float));
	void *decoded = malloc(step_rows * cols * sizeof(float));
	if (row_block == NULL || decoded == NULL)
		AQZ_TRY(aqz_fail_nomem(err, 2 * step_rows * cols * sizeof(float)));
	for (uint64_t row = 0; row < a->rows; row += step_rows) {
		uint64_t end = aqz_min(a->rows, row + step_rows);
		AQZ_TRY(aqz_decode_additive(decoded, dtype, a, row, end, err));
		AQZ_TRY(aqz_convert(row_block, AQZ_F32, decoded, dtype, (size_t)(end - row) * cols, err));
		for (uint64_t r = row; r < end; r++) {
			const float *x = w + r * cols, *y = row_block + (r - row) * cols;
			double row_error = 0, row_energy = 0;
			for (size_t i = 0; i < cols; i++) {
				double d = (double)x[i] - (double)y[i];
				row_error += d * d;
				row_energy += (double)x[i] * (double)x[i];
			}
			error += row_error;
			energy += row_energy;
		}
	}
	*rel_mse = energy > 0 ? error / energy : 0;
out:
	free(row_block);
	free(decoded);
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

/* Codes a tensor; raw_reason is set if its weights, or what they would decode to, are not finite and
 * it is to be stored lossless instead. */
static aqz_status write_additive(
	compress_job *job, const aqz_plan_entry *e, aqz_measured *measured, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_source_tensor *t = e->tensor;
	const aqz_compress_options *o = &job->plan->opt;
	aqz_encode_options encode = aqz_plan_encode_options(job->plan);
	aqz_additive a = {0};
	uint32_t leading;
	uint64_t rows, cols;
	aqz_plan_view(t, &leading, &rows, &cols);
	if (o->memlimit_bytes != 0 && e->memory_bytes > o->memlimit_bytes)
		return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, t->name,
			"encoding it needs %llu MiB, the limit is %llu MiB",
			(unsigned long long)(e->memory_bytes >> 20) + 1,
			(unsigned long long)(o->memlimit_bytes >> 20));
	float *w = t->n_elements > SIZE_MAX / sizeof *w ? NULL : malloc((size_t)t->n_elements * sizeof *w);
	if (w == NULL)
		return aqz_fail_nomem(err, t->n_elements * sizeof *w);
	AQZ_TRY(read_matrix(job, t, w, err));
	if (!all_finite(w, t->n_elements)) {
		measured->raw_reason = AQZ_RAW_NON_FINITE;
		if (o->non_finite == AQZ_NON_FINITE_ERROR)
			AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, t->name,
				"it holds infinities or NaN, which cannot be quantized"));
		goto out;
	}
	encode.memlimit_bytes =
		o->memlimit_bytes == 0 ? 0 : o->memlimit_bytes - t->n_elements * sizeof *w;
	encode.progress = encode_progress;
	encode.progress_user = job;
	AQZ_TRY(aqz_encode_additive(&a, NULL, w, rows, cols, &e->scheme, &encode, err));
	measured->has_rel_mse = true;
	measured->effort = (uint8_t)o->effort;
	AQZ_TRY(measure(&measured->rel_mse, &a, w, t->dtype, err));
	if (!isfinite(measured->rel_mse)) {
		/* The largest weights of an F16 tensor may round to infinity when they are decoded. */
		*measured = (aqz_measured){.raw_reason = AQZ_RAW_NON_FINITE};
		goto out;
	}
	free(w);
	w = NULL;
	aqz_tensor_desc d = describe(t, &e->scheme);
	d.leading = leading;
	d.measured = *measured;
	AQZ_TRY(aqz_writer_additive(job->writer, &d, &a, err));
out:
	aqz_additive_free(&a);
	free(w);
	return status;
}

static aqz_status write_tensor(compress_job *job, const aqz_plan_entry *e, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_compress_options *o = &job->plan->opt;
	aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1};
	aqz_measured measured = {.raw_reason = e->raw_reason};
	bool coded = e->scheme.codec != AQZ_CODEC_LOSSLESS;
	job->tensor_bytes = e->tensor->n_bytes;
	if (o->tensor != NULL)
		o->tensor(o->user, e->tensor, &e->scheme, NULL);
	if (coded)
		AQZ_TRY(write_additive(job, e, &measured, err));
	if (measured.raw_reason == AQZ_RAW_NON_FINITE && o->warn != NULL) {
		char line[AQZ_MAX_NAME_BYTES + 96];
		snprintf(line, sizeof line, "%s: it holds infinities or NaN and is stored lossless",
			e->tensor->name);
		o->warn(o->user, line);
	}
	if (!coded || measured.raw_reason != AQZ_RAW_ASKED) {
		coded = false;
		AQZ_TRY(write_lossless(job, e->tensor, &measured, err));
	}
	job->done_bytes += e->tensor->n_bytes;
	if (o->tensor != NULL)
		o->tensor(o->user, e->tensor, coded ? &e->scheme : &raw, &measured);
	if (!tell(job, job->done_bytes))
		AQZ_TRY(cancelled(err));
out:
	return status;
}

aqz_status aqz_plan_run(const aqz_plan *plan, const aqz_io *out, uint64_t *n_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	compress_job job = {.plan = plan};
	aqz_writer_options options = {.struct_size = sizeof options,
		.alignment = plan->opt.alignment,
		.effort = plan->opt.effort,
		.n_threads = plan->opt.n_threads,
		.memlimit_bytes = plan->opt.memlimit_bytes};
	memcpy(options.id, plan->id, sizeof options.id);
	for (uint32_t i = 0; i < plan->n_entries; i++)
		job.total_bytes += plan->entries[i].tensor->n_bytes;
	job.step = malloc(STEP_BYTES);
	if (job.step == NULL)
		AQZ_TRY(aqz_fail_nomem(err, STEP_BYTES));
	AQZ_TRY(aqz_writer_open(&job.writer, out, &options, err));
	AQZ_TRY(write_files(&job, err));
	for (uint32_t i = 0; i < plan->n_entries; i++)
		AQZ_TRY(write_tensor(&job, &plan->entries[i], err));
	AQZ_TRY(aqz_writer_finish(job.writer, n_bytes, err));
out:
	aqz_writer_close(job.writer);
	free(job.step);
	return status;
}
