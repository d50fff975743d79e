/* SPDX-License-Identifier: Apache-2.0 */
/* aqz_encode_additive: the order of the encoder's steps, and its memory.
 *
 *	row scales -> sample -> k-means start -> { codes, codebooks, shake } x sweeps -> rounding
 *	-> all rows: codes and scales */
#include <inttypes.h>
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "codec/encode/tune.h"

#define MAX_THREADS 1024
/* Weights of a matrix, so that no sum of sizes below overflows. */
#define MAX_WEIGHTS (UINT64_C(1) << 46)

static bool is_codebook_dtype(aqz_dtype dtype)
{
	return dtype == AQZ_F16 || dtype == AQZ_BF16 || dtype == AQZ_F32 || dtype == AQZ_I8;
}

const char *aqz_encode_fault(
	const aqz_layer *layer, const aqz_scheme *scheme, const aqz_encode_options *opt)
{
	const uint64_t rows = layer->rows, cols = layer->cols;

	if (!aqz_scheme_possible(scheme))
		return "the scheme is impossible";
	if (rows == 0 || cols == 0)
		return "the matrix is empty";
	if (cols > MAX_WEIGHTS / rows)
		return "the matrix is too large";
	if (opt == NULL)
		return NULL;
	if (opt->struct_size != sizeof *opt)
		return "struct_size is not that of this version's aqz_encode_options";
	if (opt->effort < 0 || opt->effort > 9)
		return "effort must be 1 to 9";
	if (opt->codebook_dtype != 0 && !is_codebook_dtype(opt->codebook_dtype))
		return "codebook_dtype must be F16, BF16, F32 or I8";
	if (opt->scale_dtype != 0 && opt->scale_dtype != AQZ_F16 && opt->scale_dtype != AQZ_BF16 &&
		opt->scale_dtype != AQZ_F32)
		return "scale_dtype must be F16, BF16 or F32";
	if (opt->codebooks != NULL &&
		(opt->codebooks->codebooks == NULL || !is_codebook_dtype(opt->codebooks->codebook_dtype) ||
			(opt->codebooks->codebook_dtype == AQZ_I8 && opt->codebooks->codebook_scales == NULL)))
		return "the codebooks that are given are not complete";
	if (opt->codebooks != NULL && memcmp(&opt->codebooks->scheme, scheme, sizeof *scheme) != 0)
		return "the codebooks that are given are of another scheme";
	return NULL;
}

/* True if the metric of the inputs, or codebooks that are given, ask for layer.c. */
static bool has_metric(const aqz_layer *layer, const aqz_encode_options *opt)
{
	return layer->hessian != NULL || (opt != NULL && opt->codebooks != NULL);
}

/* ---- Memory */

/* Every allocation of the encoder, in bytes. */
typedef struct plan {
	aqz_effort effort;
	unsigned n_threads;
	uint64_t codes, codebooks, codebook_scales, scales; /* of the result */
	uint64_t search[AQZ_N_CLASSES], prune, sample, values, work, row_scales, row_sums, scratch, slice;
	uint64_t scratch_each, total;
} plan;

static plan plan_of(const aqz_matrix *a, const aqz_encode_options *opt)
{
	const uint64_t n_values = (uint64_t)aqz_codewords(&a->scheme) * a->n_values;
	const aqz_dtype codebook_dtype =
		opt != NULL && opt->codebook_dtype != 0 ? opt->codebook_dtype : AQZ_F16;
	const aqz_dtype scale_dtype = opt != NULL && opt->scale_dtype != 0 ? opt->scale_dtype : AQZ_F16;
	plan p = {
		.effort = aqz_effort_for(a, opt),
		.n_threads = (unsigned)aqz_min(aqz_threads(opt != NULL ? opt->n_threads : 0), MAX_THREADS),
		.codes = aqz_additive_codes_bytes(&a->scheme, a->code_rows, a->groups),
		.codebooks = n_values * aqz_dtype_bits(codebook_dtype) / 8,
		.scales = a->code_rows * aqz_dtype_bits(scale_dtype) / 8,
		.values = n_values * sizeof(float),
		.work = 4 * n_values * sizeof(float),
		.row_scales = a->code_rows * sizeof(float),
		.row_sums = a->code_rows * sizeof(double),
	};
	unsigned beam = p.effort.train_beam;

	if (codebook_dtype == AQZ_I8)
		p.codebook_scales = (uint64_t)a->scheme.n_codebooks * a->n_values * sizeof(float);
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		p.search[c] = a->has_class[c] ? aqz_search_bytes(&a->scheme) : 0;
	p.prune = aqz_prune_possible(&a->scheme) ? sizeof(aqz_prune) + aqz_prune_bytes(&a->scheme) : 0;
	p.sample = aqz_sample_bytes(a, p.effort.n_sample);
	beam = beam > p.effort.final_beam ? beam : p.effort.final_beam;
	beam = beam > p.effort.scale_beam ? beam : p.effort.scale_beam;
	p.scratch_each =
		(aqz_search_scratch_bytes(&a->scheme, beam) + aqz_encode_rows_bytes(a) + 63) / 64 * 64;
	p.scratch = p.n_threads * p.scratch_each;
	p.slice =
		aqz_min(a->code_rows, AQZ_SLICE_ROWS) * a->groups * a->scheme.n_codebooks * sizeof(uint16_t);
	p.total = p.codes + p.codebooks + p.codebook_scales + p.scales + p.sample + p.values + p.work +
		p.row_scales + 2 * p.row_sums + p.scratch + p.slice + p.prune;
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		p.total += p.search[c];
	return p;
}

uint64_t aqz_encode_additive_memory(
	const aqz_layer *layer, const aqz_scheme *scheme, const aqz_encode_options *opt)
{
	aqz_matrix a;

	if (aqz_encode_fault(layer, scheme, opt) != NULL)
		return UINT64_MAX;
	if (has_metric(layer, opt))
		return aqz_encode_layer_memory(layer, scheme, opt);
	aqz_matrix_init(&a, NULL, layer->rows, layer->cols, scheme);
	return plan_of(&a, opt).total;
}

static aqz_status allocate(aqz_encoder *e, aqz_additive *out, const plan *p,
	const aqz_kernels *kernels, aqz_budget *budget, aqz_error *err)
{
	const struct {
		uint64_t n_bytes;
		const char *what;
	} parts[] = {
		{p->codes, "codes"},
		{p->codebooks, "codebooks"},
		{p->codebook_scales, "codebooks"},
		{p->scales, "scales"},
		{p->values, "codebooks"},
		{p->work, "the codebook update"},
		{p->row_scales, "scales"},
		{p->row_sums, "scales"},
		{p->row_sums, "scales"},
		{p->scratch, "search"},
		{p->slice, "codes"},
		{p->prune != 0 ? sizeof(aqz_prune) : 0, "search"},
	};
	void *got[sizeof parts / sizeof *parts] = {NULL};
	aqz_status status = AQZ_OK;

	for (size_t i = 0; i < sizeof parts / sizeof *parts && status == AQZ_OK; i++)
		if (parts[i].n_bytes != 0)
			status = aqz_budget_alloc(budget, &got[i], parts[i].n_bytes, parts[i].what, err);
	out->codes = got[0];
	out->codebooks = got[1];
	out->codebook_scales = got[2];
	out->scales = got[3];
	e->codebooks = got[4];
	e->work = got[5];
	e->scales = got[6];
	e->energy = got[7];
	e->loss = got[8];
	e->scratch = got[9];
	e->codes = got[10];
	e->prune = got[11];
	AQZ_TRY(status);
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		if (e->a.has_class[c])
			AQZ_TRY(aqz_search_create(&e->search[c], &e->a.scheme, kernels, budget, err));
	if (e->prune != NULL)
		AQZ_TRY(aqz_prune_create(e->prune, &e->a.scheme, kernels, budget, err));
	AQZ_TRY(aqz_sample_create(&e->sample, &e->a, p->effort.n_sample, budget, err));
out:
	return status;
}

/* All but the result. */
static void release(aqz_encoder *e, const plan *p, aqz_budget *budget)
{
	aqz_budget_free(budget, e->codebooks, p->values);
	aqz_budget_free(budget, e->work, p->work);
	aqz_budget_free(budget, e->scales, p->row_scales);
	aqz_budget_free(budget, e->energy, p->row_sums);
	aqz_budget_free(budget, e->loss, p->row_sums);
	aqz_budget_free(budget, e->scratch, p->scratch);
	aqz_budget_free(budget, e->codes, p->slice);
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		if (e->search[c].table != NULL)
			aqz_search_free(&e->search[c], budget);
	if (e->prune != NULL && e->prune->blocks != NULL)
		aqz_prune_free(e->prune, budget);
	aqz_budget_free(budget, e->prune, sizeof *e->prune);
	aqz_sample_free(&e->sample, &e->a, p->effort.n_sample, budget);
}

void *aqz_encoder_scratch(const aqz_encoder *e)
{
#ifdef _OPENMP
	return e->scratch + (unsigned)omp_get_thread_num() * e->scratch_bytes;
#else
	return e->scratch;
#endif
}

/* ---- Progress */

aqz_status aqz_encoder_tick(aqz_encoder *e, double work, aqz_error *err)
{
	uint64_t thousandths;

	e->work_done += work;
	/* Rounding errors of the sum may not keep it from 1000. */
	thousandths = (uint64_t)fmin(1000 * e->work_done / e->work_total + 1e-6, 1000);
	if (e->progress != NULL && !e->progress(e->progress_user, thousandths, 1000))
		return aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "encoding was cancelled");
	return AQZ_OK;
}

/* ---- Steps */

void aqz_encoder_load(aqz_encoder *e, unsigned first, unsigned end)
{
	const size_t per_book = e->sample.n_codewords * e->a.n_values;

	for (unsigned c = 0; c < AQZ_N_CLASSES; c++) {
		if (!e->a.has_class[c])
			continue;
		for (unsigned m = first; m < end; m++)
			aqz_search_set_codebook(&e->search[c], m, e->codebooks + m * per_book, e->a.mask[c]);
		if (end - first == e->a.scheme.n_codebooks)
			aqz_search_set_gram(&e->search[c], e->n_threads);
	}
}

void aqz_encode_sample(aqz_encoder *e)
{
	aqz_sample *s = &e->sample;

	if (s->n_codebooks == 1) {
		aqz_assign(e, 0, s->x);
		return;
	}
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++) {
		const size_t begin = s->begin[c], end = begin + s->active[c];

#pragma omp parallel for num_threads(e->n_threads) schedule(dynamic)
		for (size_t i = begin; i < end; i += 64)
			aqz_search_beam(&e->search[c], s->codes + i * s->n_codebooks, s->x + i * s->n_values,
				s->n_values, aqz_min(64, end - i), e->effort.train_beam, aqz_encoder_scratch(e));
	}
}

void aqz_widen_codebooks(float *codebooks, const aqz_additive *a)
{
	const size_t n_codewords = (size_t)1 << a->scheme.code_bits;
	const unsigned d = aqz_codeword(&a->scheme);
	const size_t element = aqz_dtype_bits(a->codebook_dtype) / 8;

	for (size_t m = 0; m < a->scheme.n_codebooks; m++)
		aqz_codebook_widen(codebooks + m * n_codewords * d,
			(const uint8_t *)a->codebooks + m * n_codewords * d * element, a->codebook_dtype,
			n_codewords, d, a->codebook_scales != NULL ? a->codebook_scales + m * d : NULL);
}

void aqz_round_codebooks(aqz_additive *out, float *codebooks)
{
	const unsigned d = aqz_codeword(&out->scheme);
	const size_t per_book = ((size_t)1 << out->scheme.code_bits) * d,
				 n = out->scheme.n_codebooks * per_book;

	if (out->codebook_dtype != AQZ_I8) {
		/* Codewords have about the size of normalised weights; only odd ones could overflow. */
		const float largest = out->codebook_dtype == AQZ_F16 ? 65504.0f : 0x1.fep127f;

		for (size_t k = 0; k < n; k++)
			codebooks[k] = fmaxf(-largest, fminf(largest, codebooks[k]));
		aqz_convert(out->codebooks, out->codebook_dtype, codebooks, AQZ_F32, n, NULL);
	}
	for (unsigned m = 0; out->codebook_dtype == AQZ_I8 && m < out->scheme.n_codebooks; m++)
		for (unsigned j = 0; j < d; j++) {
			float *values = codebooks + m * per_book + j, largest = 0, scale;
			int8_t *integers = (int8_t *)out->codebooks + m * per_book + j;

			for (size_t k = 0; k < per_book; k += d)
				largest = fmaxf(largest, fabsf(values[k]));
			scale = largest / 127;
			out->codebook_scales[m * d + j] = scale;
			for (size_t k = 0; k < per_book; k += d) {
				const float level = scale > 0 ? nearbyintf(values[k] / scale) : 0;

				integers[k] = (int8_t)fmaxf(-127, fminf(127, level));
			}
		}
	aqz_widen_codebooks(codebooks, out);
}

aqz_status aqz_plain_train(aqz_encoder *e, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	AQZ_TRY(aqz_encoder_tick(e, 0, err));
	aqz_sample_use(&e->sample, aqz_effort_sample(&e->effort, 0));
	AQZ_TRY(aqz_start_codebooks(e, err));
	for (unsigned sweep = 0; sweep < e->effort.sweeps; sweep++) {
		aqz_sample_use(&e->sample, aqz_effort_sample(&e->effort, sweep));
		aqz_encoder_load(e, 0, e->a.scheme.n_codebooks);
		aqz_encode_sample(e);
		aqz_update(e);
		if (sweep + 1 < e->effort.sweeps)
			aqz_shake(e, sweep);
		AQZ_TRY(aqz_encoder_tick(
			e, aqz_beam_work(&e->a, (double)e->sample.n_active, e->effort.train_beam), err));
	}
out:
	return status;
}

static aqz_status run(aqz_encoder *e, aqz_additive *out, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	AQZ_TRY(aqz_start_scales(e->scales, e->energy, NULL, &e->a, e->n_threads, err));
	aqz_sample_fill(&e->sample, &e->a, e->scales, e->seed, e->n_threads);
	AQZ_TRY(aqz_plain_train(e, err));
	aqz_round_codebooks(out, e->codebooks);
	aqz_encoder_load(e, 0, e->a.scheme.n_codebooks);
	if (e->prune != NULL && e->a.scheme.n_codebooks == 1 && e->a.has_class[0] &&
		aqz_prune_pays(&e->a.scheme, (size_t)aqz_min(e->a.code_rows * e->a.groups, SIZE_MAX))) {
		aqz_prune_load(e->prune, &e->search[0], 0, e->codebooks, e->a.mask[0], e->n_threads);
		e->rows_pruned = true;
	}
	for (uint64_t row = 0; row < e->a.code_rows; row += AQZ_SLICE_ROWS) {
		const uint64_t end = aqz_min(e->a.code_rows, row + AQZ_SLICE_ROWS);
		aqz_encode_rows(e, out, row, end);
		AQZ_TRY(aqz_encoder_tick(
			e, aqz_rows_work(&e->a, &e->effort, (double)(end - row) * (double)e->a.groups), err));
	}
	aqz_convert(out->scales, out->scale_dtype, e->scales, AQZ_F32, (size_t)e->a.code_rows, NULL);
out:
	return status;
}

aqz_status aqz_encode_additive_with(aqz_additive *out, aqz_encode_report *report,
	const aqz_layer *layer, const aqz_scheme *scheme, const aqz_encode_options *opt,
	const aqz_kernels *kernels, aqz_error *err)
{
	const uint64_t rows = layer->rows, cols = layer->cols;
	const char *fault = aqz_encode_fault(layer, scheme, opt);
	aqz_budget budget = {0, 0};
	aqz_encoder *e;
	aqz_status status;
	plan p;

	*out = (aqz_additive){0};
	if (fault != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "%s", fault);
	if (has_metric(layer, opt))
		return aqz_encode_layer(out, report, layer, scheme, opt, NULL, kernels, err);
	e = calloc(1, sizeof *e);
	if (e == NULL)
		return aqz_fail_nomem(err, sizeof *e);
	aqz_matrix_init(&e->a, layer->w, rows, cols, scheme);
	p = plan_of(&e->a, opt);
	e->effort = p.effort;
	e->n_threads = p.n_threads;
	e->scratch_bytes = p.scratch_each;
	e->work_total = aqz_train_work(&e->a, &p.effort) +
		aqz_rows_work(&e->a, &p.effort, (double)e->a.code_rows * (double)e->a.groups);
	if (opt != NULL) {
		e->seed = opt->seed;
		e->progress = opt->progress;
		e->progress_user = opt->progress_user;
		budget.limit_bytes = opt->memlimit_bytes;
	}
	*out = (aqz_additive){
		.scheme = *scheme,
		.rows = rows,
		.cols = cols,
		.code_rows = e->a.code_rows,
		.groups = e->a.groups,
		.codes_bytes = p.codes,
		.codebook_dtype = opt != NULL && opt->codebook_dtype != 0 ? opt->codebook_dtype : AQZ_F16,
		.scale_dtype = opt != NULL && opt->scale_dtype != 0 ? opt->scale_dtype : AQZ_F16,
	};
	/* Before the first allocation, so that a limit that is too low costs nothing. */
	if (budget.limit_bytes != 0 && p.total > budget.limit_bytes) {
		status = aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, NULL,
			"encoding %" PRIu64 " x %" PRIu64 " weights needs %" PRIu64
			" bytes, the limit is %" PRIu64,
			rows, cols, p.total, budget.limit_bytes);
		goto out;
	}
	AQZ_TRY(allocate(e, out, &p, kernels, &budget, err));
	AQZ_TRY(run(e, out, err));
	if (report != NULL) {
		double loss = 0, energy = 0;

		for (uint64_t i = 0; i < e->a.code_rows; i++) {
			loss += e->loss[i];
			energy += e->energy[i];
		}
		report->rel_mse = energy > 0 ? loss / energy : 0;
		report->loss_before = 1;
		report->loss_after = report->rel_mse;
	}
out:
	if (status != AQZ_OK)
		aqz_additive_free(out);
	release(e, &p, &budget);
	free(e);
	return status;
}

aqz_status aqz_encode_additive(aqz_additive *out, aqz_encode_report *report, const aqz_layer *layer,
	const aqz_scheme *scheme, const aqz_encode_options *opt, aqz_error *err)
{
	return aqz_encode_additive_with(out, report, layer, scheme, opt, aqz_kernels_best(), err);
}

aqz_status aqz_train_codebooks(aqz_additive *out, const aqz_layer *layers, uint32_t n_layers,
	const aqz_scheme *scheme, const aqz_encode_options *opt, aqz_error *err)
{
	return aqz_train_layers(out, layers, n_layers, scheme, opt, NULL, aqz_kernels_best(), err);
}
