/* SPDX-License-Identifier: Apache-2.0 */
/* One tensor: its weights and statistics are read, its codes made and the error measured. */
#include "interop/checkpoint.h"

#include <math.h>

aqz_status aqz_coder_open(aqz_coder *c, const aqz_plan *plan, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	*c = (aqz_coder){.plan = plan,
		.n_threads = plan->opt.n_threads,
		.limit_bytes = plan->opt.memlimit_bytes};
	c->step = malloc(AQZ_STEP_BYTES);
	c->books = calloc(plan->n_sets + (size_t)1, sizeof *c->books);
	c->n_left = calloc(plan->n_sets + (size_t)1, sizeof *c->n_left);
	c->energies = malloc(((size_t)plan->n_entries + 1) * sizeof *c->energies);
	if (c->step == NULL || c->books == NULL || c->n_left == NULL || c->energies == NULL)
		AQZ_TRY(aqz_fail_nomem(err, AQZ_STEP_BYTES));
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		c->total_bytes += plan->entries[i].tensor->n_bytes;
		c->energies[i] = -1;
	}
	for (uint32_t i = 0; i < plan->n_sets; i++) {
		c->total_bytes += plan->sets[i].training_reads;
		c->n_left[i] = plan->sets[i].n_members;
	}
	AQZ_TRY(aqz_checkpoint_open(&c->checkpoint, plan, err));
out:
	return status;
}

void aqz_coder_close(aqz_coder *c)
{
	for (uint32_t i = 0; c->books != NULL && i < c->plan->n_sets; i++)
		aqz_additive_free(&c->books[i]);
	aqz_checkpoint_close(c->checkpoint);
	free(c->books);
	free(c->n_left);
	free(c->energies);
	free(c->hessian);
	free(c->step);
}

/* ---- Progress and memory */

static bool tell(const aqz_coder *c, uint64_t under_way)
{
	const aqz_compress_options *o = &c->plan->opt;

	if (c->crew != NULL)
		return aqz_crew_tell(c, under_way);
	return o->progress == NULL ||
		o->progress(o->progress_user, c->done_bytes + under_way, c->total_bytes);
}

aqz_status aqz_coder_tell(const aqz_coder *c, uint64_t under_way, aqz_error *err)
{
	return tell(c, under_way) ? AQZ_OK
							  : aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "stopped");
}

bool aqz_coder_progress(void *user, uint64_t done, uint64_t total)
{
	const aqz_coder *c = user;
	const double part = total == 0 ? 0 : (double)done / (double)total;

	return tell(c, (uint64_t)((double)c->work_bytes * part));
}

uint64_t aqz_coder_room(const aqz_coder *c, uint64_t used_bytes)
{
	const uint64_t limit = c->limit_bytes;

	/* 1 is too little for anything; 0 would be no limit. */
	return limit == 0 ? 0 : used_bytes < limit ? limit - used_bytes : 1;
}

/* ---- Inputs */

aqz_status aqz_coder_rows(
	aqz_coder *c, float *w, const aqz_source_tensor *t, uint64_t row, uint64_t n, aqz_error *err)
{
	const size_t each = aqz_dtype_bits(t->dtype) / 8;
	uint32_t leading;
	uint64_t rows, cols, end;
	aqz_status status = AQZ_OK;

	aqz_plan_view(t, &leading, &rows, &cols);
	end = (row + n) * cols;
	for (uint64_t at = row * cols, to = 0; at < end;) {
		const size_t part = (size_t)aqz_min(AQZ_STEP_BYTES / each, end - at);

		AQZ_TRY(aqz_source_read(
			c->plan->source, t->file, t->offset + at * each, c->step, part * each, err));
		aqz_checkpoint_hash_add(c->checkpoint, c->step, part * each);
		if (w != NULL)
			AQZ_TRY(aqz_convert(w + to, AQZ_F32, c->step, t->dtype, part, err));
		at += part;
		to += part;
		if (part == AQZ_STEP_BYTES / each)
			AQZ_TRY(aqz_coder_tell(c, 0, err));
	}
out:
	return status;
}

aqz_status aqz_coder_hessian(const float **out, aqz_coder *c, uint32_t entry, aqz_error *err)
{
	const aqz_source_tensor *t = c->plan->more[entry].stats;
	aqz_status status = AQZ_OK;

	*out = NULL;
	if (t == NULL)
		return AQZ_OK;
	if (c->hessian_of != t) {
		free(c->hessian);
		c->hessian_of = NULL;
		c->hessian = t->n_bytes > SIZE_MAX ? NULL : malloc((size_t)t->n_bytes);
		if (c->hessian == NULL)
			return aqz_fail_nomem(err, t->n_bytes);
		AQZ_TRY(aqz_stats_read(c->hessian, c->plan->opt.stats, t, err));
		c->hessian_of = t;
	}
	*out = c->hessian;
out:
	return status;
}

/* ---- The error */

/* Rows that are decoded at a time: whole row blocks of 64; the sums do not depend on it. */
static uint64_t step_rows(uint64_t cols)
{
	const uint64_t n = AQZ_STEP_BYTES / (cols * sizeof(float)) / 64 * 64;

	return n == 0 ? 64 : n;
}

uint64_t aqz_measure_memory(const aqz_layer *layer, unsigned n_threads)
{
	return 2 * step_rows(layer->cols) * layer->cols * sizeof(float) +
		aqz_layer_energy_memory(layer, n_threads);
}

/* Makes w, the weights, the errors W - W_hat; *rel_mse is sum (W - W_hat)^2 / sum W^2, summed row by row in order. */
static aqz_status subtract(double *rel_mse, float *w, const aqz_layer *layer,
	aqz_decoded_fn *decoded, const void *coded, aqz_dtype dtype, uint64_t at_once, aqz_error *err)
{
	const size_t cols = (size_t)layer->cols;
	double error = 0, energy = 0;
	float *row_block = malloc((size_t)at_once * cols * sizeof(float));
	aqz_status status = AQZ_OK;

	if (row_block == NULL)
		return aqz_fail_nomem(err, at_once * cols * sizeof(float));
	for (uint64_t row = 0; row < layer->rows; row += at_once) {
		const uint64_t end = aqz_min(layer->rows, row + at_once);

		AQZ_TRY(decoded(row_block, coded, dtype, row, end, err));
		for (uint64_t r = row; r < end; r++) {
			float *x = w + r * cols;
			const float *y = row_block + (r - row) * cols;
			double row_error = 0, row_energy = 0;

			for (size_t i = 0; i < cols; i++) {
				const double d = (double)x[i] - (double)y[i];

				row_error += d * d;
				row_energy += (double)x[i] * (double)x[i];
				x[i] -= y[i];
			}
			error += row_error;
			energy += row_energy;
		}
	}
	*rel_mse = energy > 0 ? error / energy : 0;
out:
	free(row_block);
	return status;
}

aqz_status aqz_coder_measure(aqz_measured *measured, const aqz_layer *layer, float *w,
	aqz_decoded_fn *decoded, const void *coded, aqz_dtype dtype, uint64_t at_once, double energy,
	double loss_before, unsigned n_threads, aqz_error *err)
{
	double before = energy, after;
	aqz_status status = AQZ_OK;

	if (layer->hessian != NULL && energy < 0)
		AQZ_TRY(aqz_layer_energy(&before, layer, n_threads, err));
	AQZ_TRY(subtract(&measured->rel_mse, w, layer, decoded, coded, dtype, at_once, err));
	measured->has_rel_mse = true;
	if (layer->hessian == NULL || !isfinite(measured->rel_mse))
		goto out;
	AQZ_TRY(aqz_layer_energy(&after, layer, n_threads, err));
	/* With inputs that see nothing of the weights there is nothing to lose. Rounding may leave less than 0. */
	measured->has_loss = true;
	measured->loss_after = before > 0 ? fmax(after, 0) / before : 0;
	measured->loss_before = loss_before >= 0 ? loss_before : measured->loss_after;
out:
	return status;
}

/* An aqz_decoded_fn of additive codes. */
static aqz_status decode_codes(float *dst, const void *coded, aqz_dtype dtype, uint64_t row_begin,
	uint64_t row_end, aqz_error *err)
{
	const aqz_additive *a = coded;
	const size_t n = (size_t)((row_end - row_begin) * a->cols);
	void *decoded = malloc(n * sizeof(float));
	aqz_status status = AQZ_OK;

	if (decoded == NULL)
		return aqz_fail_nomem(err, n * sizeof(float));
	AQZ_TRY(aqz_decode_additive(decoded, dtype, a, row_begin, row_end, err));
	AQZ_TRY(aqz_convert(dst, AQZ_F32, decoded, dtype, n, err));
out:
	free(decoded);
	return status;
}

/* ---- A tensor */

static bool all_finite(const float *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (!isfinite(w[i]))
			return false;
	return true;
}

aqz_status aqz_coder_check_memory(const aqz_coder *c, const aqz_plan_entry *e, aqz_error *err)
{
	const uint64_t limit = c->plan->opt.memlimit_bytes;

	if (limit == 0 || e->memory_bytes <= limit)
		return AQZ_OK;
	return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, e->tensor->name,
		"encoding it needs %llu MiB, the limit is %llu MiB",
		(unsigned long long)(e->memory_bytes >> 20) + 1, (unsigned long long)(limit >> 20));
}

aqz_status aqz_coder_weights(
	float **w, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err)
{
	const aqz_source_tensor *t = c->plan->entries[entry].tensor;
	const uint64_t n_bytes = t->n_elements * sizeof(float);
	aqz_status status = AQZ_OK;

	*w = n_bytes > SIZE_MAX ? NULL : malloc((size_t)n_bytes);
	if (*w == NULL)
		return aqz_fail_nomem(err, n_bytes);
	aqz_checkpoint_hash_start(c->checkpoint);
	AQZ_TRY(aqz_coder_rows(c, *w, t, 0, aqz_plan_layer(c->plan, entry).rows, err));
	if (all_finite(*w, t->n_elements))
		return AQZ_OK;
	measured->raw_reason = AQZ_RAW_NON_FINITE;
	if (c->plan->opt.non_finite == AQZ_NON_FINITE_ERROR)
		status = aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, t->name,
			"it holds infinities or NaN, which cannot be quantized");
out:
	free(*w);
	*w = NULL;
	return status;
}

static aqz_status encode_tensor(
	aqz_additive *a, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err)
{
	const aqz_plan_entry *e = &c->plan->entries[entry];
	const aqz_source_tensor *t = e->tensor;
	const uint32_t set = c->plan->more[entry].set;
	const uint64_t w_bytes = t->n_elements * sizeof(float);
	aqz_encode_options encode = aqz_plan_encode_options(c->plan);
	aqz_layer layer = aqz_plan_layer(c->plan, entry);
	aqz_encode_report report;
	float *w = NULL;
	aqz_status status;

	*a = (aqz_additive){0};
	*measured = (aqz_measured){.raw_reason = AQZ_RAW_ASKED};
	AQZ_TRY(aqz_coder_check_memory(c, e, err));
	if (set != AQZ_NO_SET)
		AQZ_TRY(aqz_coder_books(&encode.codebooks, c, set, err));
	AQZ_TRY(aqz_coder_hessian(&layer.hessian, c, entry, err));
	AQZ_TRY(aqz_coder_weights(&w, measured, c, entry, err));
	if (w == NULL)
		goto out;
	layer.w = w;
	encode.memlimit_bytes = aqz_coder_room(
		c, w_bytes + c->books_bytes + (layer.hessian != NULL ? c->hessian_of->n_bytes : 0));
	encode.progress = aqz_coder_progress;
	encode.progress_user = c;
	c->work_bytes = t->n_bytes;
	AQZ_TRY(aqz_encode_additive(a, &report, &layer, &e->scheme, &encode, err));
	measured->effort = (uint8_t)c->plan->opt.effort;
	AQZ_TRY(aqz_coder_measure(measured, &layer, w, decode_codes, a, t->dtype, step_rows(layer.cols),
		-1, report.loss_before, encode.n_threads, err));
	if (!isfinite(measured->rel_mse)) {
		/* The largest weights of an F16 tensor may round to infinity when they are decoded. */
		*measured = (aqz_measured){.raw_reason = AQZ_RAW_NON_FINITE};
		aqz_additive_free(a);
	}
out:
	if (status != AQZ_OK)
		aqz_additive_free(a);
	free(w);
	return status;
}

aqz_status aqz_coder_encode(
	aqz_additive *a, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err)
{
	aqz_status status;

	AQZ_TRY(aqz_checkpoint_take(a, measured, c, entry, err));
	if (a->codes != NULL)
		goto out;
	AQZ_TRY(encode_tensor(a, measured, c, entry, err));
	if (a->codes != NULL)
		AQZ_TRY(aqz_checkpoint_keep(a, measured, c, entry, err));
out:
	if (status != AQZ_OK)
		aqz_additive_free(a);
	return status;
}

void aqz_coder_release(aqz_coder *c, uint32_t entry)
{
	const uint32_t set = c->plan->more[entry].set;

	if (set == AQZ_NO_SET || --c->n_left[set] > 0 || c->books[set].codebooks == NULL)
		return;
	c->books_bytes -= c->plan->sets[set].n_bytes;
	aqz_additive_free(&c->books[set]);
}
