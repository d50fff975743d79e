/* SPDX-License-Identifier: Apache-2.0 */
/* One trellis tensor: its weights, statistics and importance are read, its indices made and the error measured. */
#include <math.h>
#include <stdio.h> /* snprintf */

#include "codec/codec.h"
#include "codec/encode/encode.h"
#include "interop/encode.h"

/* Decoded bytes of a chunk. */
#define CHUNK_BYTES (UINT64_C(4) << 20)
/* Frame header and half of the padding; records of the tensor and of two sections with what was measured; the index's
 * entries, and what its compression leaves of them. */
#define FRAME_BYTES (64 + 32)
#define RECORD_BYTES 200
#define INDEX_BYTES 32
#define INDEX_SHARE 0.33
/* Side information and tables, about; bits of a weight where a slope is given, which nobody knows yet. */
#define SIDE_BITS 4
#define TABLE_BYTES 64
#define GUESSED_BITS 2.0
/* Rows that are looked at at least, where a part of them stands for all. */
#define LEAST_ROWS 128
/* What a goal may be missed by before that is worth a warning. */
#define MISSED 1.02

static uint64_t rows_of(const aqz_source_tensor *t, uint64_t *cols)
{
	uint32_t leading;
	uint64_t rows;

	aqz_plan_view(t, &leading, &rows, cols);
	return rows;
}

uint32_t aqz_trellis_chunk_rows(const aqz_source_tensor *t)
{
	uint64_t cols, rows = rows_of(t, &cols), n = AQZ_TILE_ROWS;

	while (n < rows && n < UINT64_C(1) << 30 &&
		2 * n * cols * (aqz_dtype_bits(t->dtype) / 8) <= CHUNK_BYTES)
		n *= 2;
	return (uint32_t)n;
}

uint64_t aqz_trellis_overhead(const aqz_source_tensor *t)
{
	uint64_t cols, rows = rows_of(t, &cols);
	const uint64_t n_chunks = aqz_ceil_div(rows, aqz_trellis_chunk_rows(t)),
				   records = RECORD_BYTES + t->name_bytes;

	return (n_chunks + 1) * FRAME_BYTES + records +
		(uint64_t)(INDEX_SHARE * (double)((n_chunks + 1) * INDEX_BYTES + records));
}

/* A goal with what the options say in place of AQZ_GOAL_SHARED. */
static aqz_goal goal_of(const aqz_plan *plan, uint32_t entry)
{
	const aqz_goal *own = &plan->entries[entry].goal;

	return own->kind == AQZ_GOAL_SHARED ? plan->opt.shared_goal : *own;
}

uint64_t aqz_trellis_bytes(const aqz_plan *plan, uint32_t entry)
{
	const aqz_source_tensor *t = plan->entries[entry].tensor;
	const aqz_goal goal = goal_of(plan, entry);
	uint64_t cols, rows = rows_of(t, &cols), least;
	double bits = GUESSED_BITS;

	if (goal.kind == AQZ_GOAL_BITS)
		bits = goal.value;
	if (goal.kind == AQZ_GOAL_LOSS)
		bits = 0.5 * log2(1 / goal.value);
	least = aqz_ceil_div((rows + 2 * cols) * SIDE_BITS, 8) + TABLE_BYTES + aqz_trellis_overhead(t);
	bits *= (double)t->n_elements / 8;
	return bits > (double)least ? (uint64_t)bits : least;
}

static aqz_trellis_options options_of(const aqz_plan *plan, uint32_t entry, unsigned n_threads)
{
	const aqz_compress_options *o = &plan->opt;

	return (aqz_trellis_options){.state_bits = plan->entries[entry].scheme.code_bits,
		.chunk_rows = aqz_trellis_chunk_rows(plan->entries[entry].tensor),
		.n_threads = n_threads,
		.relative = plan->more[entry].importance == NULL,
		.mu = o->no_rate_term ? 0 : AQZ_TRELLIS_MU,
		.even_steps = o->even_steps};
}

/* Sets what the goal says. */
static void set_goal(aqz_trellis_options *o, const aqz_goal *goal, const aqz_source_tensor *t)
{
	const double bytes = goal->value * (double)t->n_elements / 8 - (double)aqz_trellis_overhead(t);

	o->c = o->bytes = o->loss = 0;
	if (goal->kind == AQZ_GOAL_BITS)
		o->bytes = bytes > 1 ? bytes : 1;
	else
		*(goal->kind == AQZ_GOAL_LOSS ? &o->loss : &o->c) = goal->value;
}

uint64_t aqz_trellis_memory(const aqz_plan *plan, uint32_t entry)
{
	const aqz_layer layer = aqz_plan_layer(plan, entry);
	const aqz_goal goal = goal_of(plan, entry);
	aqz_trellis_options options = options_of(plan, entry, plan->opt.n_threads);
	const uint64_t chunk_rows = aqz_min(options.chunk_rows, layer.rows);
	uint64_t encoding, after;

	set_goal(&options, &goal, plan->entries[entry].tensor);
	encoding = aqz_encode_trellis_memory(&layer, &options);
	/* Then the indices are there, and the errors measured or a chunk coded. */
	after = 4 * layer.rows * layer.cols + 8 * chunk_rows * layer.cols +
		aqz_layer_energy_memory(&layer, options.n_threads) +
		aqz_trellis_encode_memory(chunk_rows, layer.cols) + 4 * chunk_rows * layer.cols;
	return encoding > after ? encoding : after;
}

/* The importance of an entry's rows, NULL without. Free with free(). */
static aqz_status load_importance(float **out, const aqz_coder *c, uint32_t entry, aqz_error *err)
{
	const aqz_source_tensor *t = c->plan->more[entry].importance;
	double *values = NULL;
	uint64_t n;
	aqz_status status = AQZ_OK;

	*out = NULL;
	if (t == NULL)
		return AQZ_OK;
	n = t->shape[0];
	values = malloc((size_t)n * sizeof *values);
	*out = malloc((size_t)n * sizeof **out);
	if (values == NULL || *out == NULL)
		AQZ_TRY(aqz_fail_nomem(err, n * sizeof *values));
	AQZ_TRY(aqz_stats_read_rows(values, c->plan->opt.stats, t, err));
	for (uint64_t i = 0; i < n; i++)
		(*out)[i] = (float)values[i];
out:
	free(values);
	if (status != AQZ_OK) {
		free(*out);
		*out = NULL;
	}
	return status;
}

/* What an entry is coded from. */
typedef struct inputs {
	aqz_layer layer;
	float *w, *importance; /* w is NULL if the weights are not finite */
	uint64_t rows;		   /* of the tensor; layer may have a part of them */
} inputs;

static void inputs_free(inputs *in)
{
	free(in->w);
	free(in->importance);
}

static aqz_status load_inputs(
	inputs *in, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err)
{
	aqz_status status;

	in->layer = aqz_plan_layer(c->plan, entry);
	in->rows = in->layer.rows;
	AQZ_TRY(aqz_coder_hessian(&in->layer.hessian, c, entry, err));
	AQZ_TRY(load_importance(&in->importance, c, entry, err));
	AQZ_TRY(aqz_coder_weights(&in->w, measured, c, entry, err));
	in->layer.w = in->w;
out:
	return status;
}

/* Leaves a part of the rows: one of each so many, which one depending on the tensor, as the same outputs of layers are
 * alike. */
static void thin(inputs *in, double share, uint64_t seed)
{
	const uint64_t wanted = (uint64_t)(share * (double)in->rows), cols = in->layer.cols;
	const uint64_t n = aqz_min(in->rows, wanted > LEAST_ROWS ? wanted : LEAST_ROWS);

	for (uint64_t i = 0; i < n && n < in->rows; i++) {
		const uint64_t first = i * in->rows / n, end = (i + 1) * in->rows / n;
		const uint64_t from = first + aqz_random_below(end - first, seed, 0, i);

		memmove(in->w + i * cols, in->w + from * cols, (size_t)cols * sizeof *in->w);
		if (in->importance != NULL)
			in->importance[i] = in->importance[from];
	}
	in->layer.rows = n;
}

/* Reads and encodes an entry, or a share of its rows. m->index is NULL if the weights are not finite. */
static aqz_status encode(aqz_trellis_matrix *m, aqz_measured *measured, inputs *in, aqz_coder *c,
	uint32_t entry, const aqz_goal *goal, double share, aqz_error *err)
{
	const aqz_plan_entry *e = &c->plan->entries[entry];
	aqz_trellis_options options = options_of(c->plan, entry, c->n_threads);
	double *energy = &c->energies[entry];
	aqz_status status;

	*m = (aqz_trellis_matrix){0};
	*in = (inputs){0};
	*measured = (aqz_measured){.raw_reason = AQZ_RAW_ASKED};
	AQZ_TRY(aqz_coder_check_memory(c, e, err));
	/* A source or statistics may have one reader. */
#pragma omp critical(aqz_coder_inputs)
	status = load_inputs(in, measured, c, entry, err);
	if (status != AQZ_OK || in->w == NULL)
		goto out;
	if (options.relative && *energy < 0)
		AQZ_TRY(aqz_layer_energy(energy, &in->layer, c->n_threads, err));
	set_goal(&options, goal, e->tensor);
	options.importance = in->importance;
	options.memlimit_bytes = aqz_coder_room(c,
		e->tensor->n_elements * sizeof(float) + c->books_bytes +
			(in->layer.hessian != NULL ? c->hessian_of->n_bytes : 0));
	options.progress = aqz_coder_progress;
	options.progress_user = c;
	c->work_bytes = e->tensor->n_bytes;
	if (share < 1)
		thin(in, share, entry);
	if (options.relative)
		options.energy = *energy * (double)in->layer.rows / (double)in->rows;
	AQZ_TRY(aqz_encode_trellis_matrix(m, &in->layer, &options, err));
	measured->effort = (uint8_t)c->plan->opt.effort;
out:
	return status;
}

/* What is to be compared, and how paths go. */
typedef struct coded {
	const aqz_trellis_matrix *m;
	uint64_t chunk_rows;
} coded;

/* An aqz_decoded_fn; row_begin is a multiple of the chunk's rows. */
static aqz_status decode_indices(float *dst, const void *coded_, aqz_dtype dtype,
	uint64_t row_begin, uint64_t row_end, aqz_error *err)
{
	const coded *d = coded_;
	const size_t n = (size_t)((row_end - row_begin) * d->m->params.cols);
	void *rounded = NULL;
	aqz_status status = AQZ_OK;

	aqz_trellis_dequantize(dst, &d->m->params, d->m->index, d->chunk_rows, row_begin, row_end);
	if (dtype == AQZ_F32)
		return AQZ_OK;
	rounded = malloc(n * sizeof(float));
	if (rounded == NULL)
		return aqz_fail_nomem(err, n * sizeof(float));
	AQZ_TRY(aqz_convert(rounded, dtype, dst, AQZ_F32, n, err));
	AQZ_TRY(aqz_convert(dst, AQZ_F32, rounded, dtype, n, err));
out:
	free(rounded);
	return status;
}

/* Bytes that the tensor takes without a scheme, as far as they are known. */
static uint64_t plain_bytes(const aqz_plan *plan, uint32_t entry)
{
	const uint64_t known = plan->more[entry].plain_bytes;

	return known != 0 ? known : plan->entries[entry].tensor->n_bytes;
}

static double file_bytes(const aqz_trellis_matrix *m, const aqz_source_tensor *t)
{
	return m->bytes + (double)aqz_trellis_overhead(t);
}

void aqz_coder_trellis_missed(const aqz_coder *c, uint32_t entry, const aqz_trellis_matrix *m)
{
	const aqz_plan_entry *e = &c->plan->entries[entry];
	const double bits = 8 * file_bytes(m, e->tensor) / (double)e->tensor->n_elements;
	char line[AQZ_MAX_NAME_BYTES + 96];

	if (e->goal.kind != AQZ_GOAL_BITS || bits <= e->goal.value * MISSED || c->plan->opt.warn == NULL)
		return;
	snprintf(line, sizeof line, "%s: there is no way to %.4g bits a weight; it takes %.4g",
		e->tensor->name, e->goal.value, bits);
	c->plan->opt.warn(c->plan->opt.user, line);
}

aqz_status aqz_coder_trellis(
	aqz_trellis_matrix *m, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err)
{
	const aqz_plan_entry *e = &c->plan->entries[entry];
	const coded what = {m, aqz_trellis_chunk_rows(e->tensor)};
	const aqz_goal shared = {AQZ_GOAL_SLOPE, c->slope},
				   *goal = e->goal.kind == AQZ_GOAL_SHARED ? &shared : &e->goal;
	aqz_raw_reason reason = AQZ_RAW_ASKED;
	inputs in;
	aqz_status status;

	AQZ_TRY(encode(m, measured, &in, c, entry, goal, 1, err));
	if (m->index == NULL)
		goto out;
	if (file_bytes(m, e->tensor) >= (double)plain_bytes(c->plan, entry))
		reason = AQZ_RAW_NOT_SMALLER;
	if (reason == AQZ_RAW_ASKED) {
		AQZ_TRY(aqz_coder_measure(measured, &in.layer, in.w, decode_indices, &what,
			e->tensor->dtype, what.chunk_rows, m->energy, -1, c->n_threads, err));
		/* The largest weights of an F16 tensor may round to infinity when they are decoded. */
		if (!isfinite(measured->rel_mse))
			reason = AQZ_RAW_NON_FINITE;
	}
	if (reason != AQZ_RAW_ASKED) {
		*measured = (aqz_measured){.raw_reason = reason};
		aqz_trellis_matrix_free(m);
	}
out:
	inputs_free(&in);
	if (status != AQZ_OK)
		aqz_trellis_matrix_free(m);
	return status;
}

aqz_status aqz_coder_trellis_bytes(
	double *n_bytes, aqz_coder *c, uint32_t entry, double slope, double share, aqz_error *err)
{
	const aqz_goal goal = {AQZ_GOAL_SLOPE, slope};
	const aqz_source_tensor *t = c->plan->entries[entry].tensor;
	const double plain = (double)plain_bytes(c->plan, entry);
	aqz_measured measured;
	aqz_trellis_matrix m;
	inputs in;
	aqz_status status = encode(&m, &measured, &in, c, entry, &goal, share, err);

	*n_bytes = plain;
	if (m.index != NULL)
		*n_bytes = fmin(plain,
			aqz_trellis_whole_bytes(&m, in.rows, aqz_trellis_chunk_rows(t)) +
				(double)aqz_trellis_overhead(t));
	inputs_free(&in);
	aqz_trellis_matrix_free(&m);
	return status;
}

aqz_status aqz_coder_trellis_slope(
	double *slope, aqz_coder *c, uint32_t entry, double bits, aqz_error *err)
{
	const aqz_goal goal = {AQZ_GOAL_BITS, bits};
	aqz_measured measured;
	aqz_trellis_matrix m;
	inputs in;
	aqz_status status = encode(&m, &measured, &in, c, entry, &goal, 1, err);

	*slope = m.c > 0 ? m.c : 1;
	inputs_free(&in);
	aqz_trellis_matrix_free(&m);
	return status;
}
