/* SPDX-License-Identifier: Apache-2.0 */
/* What encoding and training in the metric of the inputs allocate, and the frame of both. */
#include "codec/encode/job.h"

#include <inttypes.h>

#define MAX_THREADS 1024

/* ---- The tuner */

aqz_tuner_bytes aqz_tuner_bytes_of(const aqz_matrix *matrices, uint32_t n, bool has_hessian,
	const aqz_tune_effort *f, const aqz_encode_options *opt, bool trains)
{
	const aqz_scheme *s = &matrices[0].scheme;
	const uint64_t values = aqz_codewords(s) * aqz_codeword(s) * sizeof(float);
	uint64_t cols = 0;
	aqz_tuner_bytes b = {
		.values = values,
		.work = trains ? 4 * values : 0,
		.parts = trains ? AQZ_PARTS * values : 0,
		.n_search = aqz_sweep_groups(s),
		.n_threads = (unsigned)aqz_min(aqz_threads(opt != NULL ? opt->n_threads : 0), MAX_THREADS),
	};
	unsigned beam = f->start_beam > f->beam ? f->start_beam : f->beam;

	for (uint32_t i = 0; i < n; i++) {
		cols = aqz_max(cols, matrices[i].cols);
		b.has_bottom = b.has_bottom || matrices[i].rows % s->out_group != 0;
	}
	beam = beam > f->final_beam ? beam : f->final_beam;
	b.panel = has_hessian ? aqz_sweep_panel_bytes(s, cols) : 0;
	b.search = (b.has_bottom ? 2 : 1) * b.n_search * aqz_search_bytes(s);
	if (aqz_sweep_prunes(s)) {
		b.prune = (b.has_bottom ? 2 : 1) * b.n_search * (sizeof(aqz_prune) + aqz_prune_bytes(s));
		b.transformed = b.n_threads * values;
	}
	b.scratch_each = aqz_max(aqz_sweep_scratch_bytes(s, beam), aqz_normal_scratch_bytes(s, cols));
	b.scratch_each = (b.scratch_each + 63) / 64 * 64;
	b.total = b.values + b.work + b.parts + b.panel + b.search + b.prune + b.transformed +
		b.n_threads * b.scratch_each;
	return b;
}

void aqz_tuner_free(aqz_tuner *t, const aqz_tuner_bytes *b, aqz_budget *budget)
{
	aqz_budget_free(budget, t->e->codebooks, b->values);
	aqz_budget_free(budget, t->e->work, b->work);
	aqz_budget_free(budget, t->parts, b->parts);
	aqz_budget_free(budget, t->panel, b->panel);
	aqz_budget_free(budget, t->scratch, b->n_threads * b->scratch_each);
	aqz_budget_free(budget, t->transformed, b->transformed);
	for (unsigned i = 0; t->search != NULL && i < (b->has_bottom ? 2 : 1) * b->n_search; i++)
		if (t->search[i].table != NULL)
			aqz_search_free(&t->search[i], budget);
	free(t->search);
	for (unsigned i = 0; t->prune != NULL && i < (b->has_bottom ? 2 : 1) * b->n_search; i++)
		if (t->prune[i].blocks != NULL)
			aqz_prune_free(&t->prune[i], budget);
	free(t->prune);
}

aqz_status aqz_tuner_create(aqz_tuner *t, aqz_encoder *e, const aqz_tuner_bytes *b,
	const aqz_kernels *kernels, aqz_budget *budget, aqz_error *err)
{
	const uint64_t bytes[] = {
		b->values, b->work, b->parts, b->panel, b->n_threads * b->scratch_each, b->transformed};
	void *got[6] = {NULL};
	aqz_status status = AQZ_OK;

	*t = (aqz_tuner){.e = e, .n_search = b->n_search, .scratch_each = b->scratch_each};
	for (int i = 0; i < 6 && status == AQZ_OK; i++)
		if (bytes[i] != 0)
			status = aqz_budget_alloc(budget, &got[i], bytes[i], "the encoder", err);
	e->codebooks = got[0];
	e->work = got[1];
	t->parts = got[2];
	t->panel = got[3];
	t->scratch = got[4];
	t->transformed = got[5];
	AQZ_TRY(status);
	t->search = calloc((b->has_bottom ? 2 : 1) * b->n_search, sizeof *t->search);
	if (t->search == NULL)
		AQZ_TRY(aqz_fail_nomem(err, 2 * b->n_search * sizeof *t->search));
	for (unsigned i = 0; i < (b->has_bottom ? 2 : 1) * b->n_search; i++)
		AQZ_TRY(aqz_search_create(&t->search[i], &e->a.scheme, kernels, budget, err));
	if (b->prune == 0)
		return AQZ_OK;
	t->prune = calloc((b->has_bottom ? 2 : 1) * b->n_search, sizeof *t->prune);
	if (t->prune == NULL)
		AQZ_TRY(aqz_fail_nomem(err, b->prune));
	for (unsigned i = 0; i < (b->has_bottom ? 2 : 1) * b->n_search; i++)
		AQZ_TRY(aqz_prune_create(&t->prune[i], &e->a.scheme, kernels, budget, err));
out:
	return status;
}

/* ---- Results */

aqz_dtype aqz_opt_codebook_dtype(const aqz_encode_options *opt)
{
	if (opt != NULL && opt->codebooks != NULL)
		return opt->codebooks->codebook_dtype;
	return opt != NULL && opt->codebook_dtype != 0 ? opt->codebook_dtype : AQZ_F16;
}

aqz_dtype aqz_opt_scale_dtype(const aqz_encode_options *opt)
{
	return opt != NULL && opt->scale_dtype != 0 ? opt->scale_dtype : AQZ_F16;
}

/* a: NULL for codebooks alone. */
aqz_result_bytes aqz_result_bytes_of(
	const aqz_scheme *s, const aqz_matrix *a, const aqz_encode_options *opt)
{
	const uint64_t d = aqz_codeword(s);

	return (aqz_result_bytes){
		.codes = a != NULL ? aqz_additive_codes_bytes(s, a->code_rows, a->groups) : 0,
		.codebooks = aqz_codewords(s) * d * aqz_dtype_bits(aqz_opt_codebook_dtype(opt)) / 8,
		.codebook_scales =
			aqz_opt_codebook_dtype(opt) == AQZ_I8 ? s->n_codebooks * d * sizeof(float) : 0,
		.scales = a != NULL ? a->code_rows * aqz_dtype_bits(aqz_opt_scale_dtype(opt)) / 8 : 0,
	};
}

aqz_status aqz_result_create(aqz_additive *out, const aqz_scheme *s, const aqz_matrix *a,
	const aqz_encode_options *opt, aqz_budget *budget, aqz_error *err)
{
	const aqz_result_bytes b = aqz_result_bytes_of(s, a, opt);
	const uint64_t bytes[] = {b.codes, b.codebooks, b.codebook_scales, b.scales};
	void *got[4] = {NULL};
	aqz_status status = AQZ_OK;

	for (int i = 0; i < 4 && status == AQZ_OK; i++)
		if (bytes[i] != 0)
			status = aqz_budget_alloc(budget, &got[i], bytes[i], "the result", err);
	*out = (aqz_additive){
		.scheme = *s,
		.codes = got[0],
		.codes_bytes = b.codes,
		.codebook_dtype = aqz_opt_codebook_dtype(opt),
		.codebooks = got[1],
		.codebook_scales = got[2],
		.scale_dtype = aqz_opt_scale_dtype(opt),
		.scales = got[3],
	};
	if (a != NULL) {
		out->rows = a->rows;
		out->cols = a->cols;
		out->code_rows = a->code_rows;
		out->groups = a->groups;
	}
	return status;
}

/* ---- The frame */

aqz_status aqz_job_begin(aqz_job *j, const aqz_matrix *matrices, uint32_t n, bool has_hessian,
	const aqz_encode_options *opt, const aqz_tune_effort *effort, const aqz_kernels *kernels,
	aqz_error *err)
{
	*j = (aqz_job){
		.opt = opt,
		.kernels = kernels,
		.effort = effort != NULL ? *effort : aqz_tune_effort_for(&matrices[0].scheme, opt),
	};
	j->e = calloc(1, sizeof *j->e);
	if (j->e == NULL)
		return aqz_fail_nomem(err, sizeof *j->e);
	j->bytes = aqz_tuner_bytes_of(
		matrices, n, has_hessian, &j->effort, opt, opt == NULL || opt->codebooks == NULL);
	j->e->a = matrices[0];
	j->e->n_threads = j->bytes.n_threads;
	if (opt != NULL) {
		j->e->seed = opt->seed;
		j->e->progress = opt->progress;
		j->e->progress_user = opt->progress_user;
		j->budget.limit_bytes = opt->memlimit_bytes;
	}
	return AQZ_OK;
}

void aqz_job_end(aqz_job *j)
{
	if (j->tuner.e != NULL)
		aqz_tuner_free(&j->tuner, &j->bytes, &j->budget);
	free(j->e);
}

aqz_status aqz_job_check(const aqz_job *j, uint64_t needed, aqz_error *err)
{
	if (j->budget.limit_bytes == 0 || needed <= j->budget.limit_bytes)
		return AQZ_OK;
	return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, NULL,
		"encoding needs %" PRIu64 " bytes beside the weights, the limit is %" PRIu64, needed,
		j->budget.limit_bytes);
}

/* The work of everything that ticks behind the plain start. */
double aqz_job_work(
	const aqz_job *j, const aqz_matrix *train, const aqz_matrix *full, bool has_hessian)
{
	const aqz_tune_effort *f = &j->effort;
	double work = 0;

	if (train != NULL)
		work += aqz_tune_sweep_work(train, has_hessian, f->start_beam) +
			f->sweeps *
				(aqz_tune_sweep_work(train, has_hessian, f->beam) +
					aqz_tune_normal_work(train, has_hessian, f->cg_steps));
	if (full != NULL) {
		const bool fresh = train == NULL || train->rows != full->rows;

		work += (fresh ? f->long_rounds : f->rounds) *
			aqz_tune_sweep_work(full, has_hessian, f->final_beam);
		if (fresh)
			work += aqz_tune_sweep_work(full, has_hessian, f->start_beam);
	}
	return work;
}

/* Trains on some or all rows of the layer. With all of them, the layer's codes stay in *l. */
