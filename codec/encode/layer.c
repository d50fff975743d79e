/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding a matrix in the metric of its inputs, with codebooks of its own or given ones. */
#include "codec/encode/job.h"

#include <math.h>

#include "codec/encode/blas.h"

/* With fewer rounds noise costs more than it brings. */
#define LEAST_NOISY 6

/* n of the layer's code rows, spread evenly, side by side. */
static void gather_rows(float *out, const aqz_matrix *a, uint64_t n)
{
	const unsigned o = a->scheme.out_group;

	for (uint64_t i = 0; i < n; i++) {
		/* Whole code rows only: there are more than n. */
		const uint64_t from = (uint64_t)((unsigned __int128)i * (a->rows / o) / n);

		memcpy(out + i * o * a->cols, a->w + from * o * a->cols, o * a->cols * sizeof *out);
	}
}

static double relative_mse(const aqz_metric *l)
{
	double error = 0, energy = 0;

	for (uint64_t row = 0; row < l->a.rows; row++) {
		const float *e = l->error + row * l->a.cols, *w = l->a.w + row * l->a.cols;
		double row_error = 0, row_energy = 0;

		for (uint64_t k = 0; k < l->a.cols; k++) {
			row_error += (double)e[k] * e[k];
			row_energy += (double)w[k] * w[k];
		}
		error += row_error;
		energy += row_energy;
	}
	return energy > 0 ? error / energy : 0;
}

/* By what power of two the scales must change so that the codebooks, which may come from a layer of another size, meet
 * the rows: a row divided by its scale should have the size of a sum of codewords. */
static int fitting_exponent(const aqz_metric *l, const float *codebooks)
{
	const size_t n_codewords = (size_t)1 << l->a.scheme.code_bits,
				 n = aqz_codewords(&l->a.scheme) * l->a.n_values;
	double squares = 0;
	int exponent;

	for (size_t k = 0; k < n; k++)
		squares += (double)codebooks[k] * codebooks[k];
	squares /= (double)(n_codewords * l->a.n_values);
	if (!(squares > 0) || !isfinite(squares))
		return 0;
	/* Half of the exponent of the square, to the nearest. */
	(void)frexp(squares * 2, &exponent);
	return l->exponent - (int)floor((exponent - 1) / 2.0);
}

static bool all_finite(const float *values, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (!isfinite(values[k]))
			return false;
	return true;
}

/* The size of what codebooks are trained on: some rows, or all. */
static aqz_matrix train_matrix(const aqz_matrix *full, const aqz_tune_effort *f, const float *w)
{
	const uint64_t n = aqz_train_code_rows(full, f);
	aqz_matrix a;

	aqz_matrix_init(&a, w, n < full->code_rows ? n * full->scheme.out_group : full->rows,
		full->cols, &full->scheme);
	return a;
}

static aqz_status train_single(aqz_job *j, aqz_metric *l, const aqz_matrix *full,
	const float *hessian, double *loss_before, aqz_error *err)
{
	const uint64_t n = aqz_train_code_rows(full, &j->effort);
	const uint64_t bytes = n * full->scheme.out_group * full->cols * sizeof(float);
	aqz_matrix some;
	void *w = NULL;
	aqz_status status = AQZ_OK;

	if (n < full->code_rows) {
		AQZ_TRY(aqz_budget_alloc(&j->budget, &w, bytes, "rows for training", err));
		gather_rows(w, full, n);
		some = train_matrix(full, &j->effort, w);
	}
	AQZ_TRY(aqz_metric_create(l, w != NULL ? &some : full, hessian, &j->budget, err));
	j->tuner.layers = l;
	j->tuner.n_layers = 1;
	AQZ_TRY(aqz_tune_all(&j->tuner, &j->effort, aqz_opt_scale_dtype(j->opt), j->kernels,
		loss_before, &j->budget, err));
out:
	if (w != NULL || status != AQZ_OK)
		aqz_metric_free(l, &j->budget);
	aqz_budget_free(&j->budget, w, bytes);
	return status;
}

uint64_t aqz_encode_layer_memory(
	const aqz_layer *layer, const aqz_scheme *scheme, const aqz_encode_options *opt)
{
	const aqz_tune_effort f = aqz_tune_effort_for(scheme, opt);
	const bool has_hessian = layer->hessian != NULL, trains = opt == NULL || opt->codebooks == NULL;
	aqz_matrix full, some;
	uint64_t encode, training = 0;
	aqz_tuner_bytes b;
	aqz_result_bytes r;

	aqz_matrix_init(&full, NULL, layer->rows, layer->cols, scheme);
	b = aqz_tuner_bytes_of(&full, 1, has_hessian, &f, opt, trains);
	r = aqz_result_bytes_of(scheme, &full, opt);
	encode = aqz_metric_bytes(&full, has_hessian) + aqz_metric_start_bytes(&full, has_hessian);
	if (trains) {
		aqz_effort start;

		some = train_matrix(&full, &f, NULL);
		aqz_start_effort(&some, 0, f.plain, &start);
		training = aqz_metric_bytes(&some, has_hessian) +
			aqz_max(aqz_start_bytes(&some, &start, b.n_threads),
				aqz_metric_start_bytes(&some, has_hessian));
		if (some.rows < full.rows)
			training += some.rows * some.cols * sizeof(float);
	}
	return b.total + r.codes + r.codebooks + r.codebook_scales + r.scales + aqz_max(encode, training);
}

aqz_status aqz_encode_layer(aqz_additive *out, aqz_encode_report *report, const aqz_layer *layer,
	const aqz_scheme *scheme, const aqz_encode_options *opt, const aqz_tune_effort *effort,
	const aqz_kernels *kernels, aqz_error *err)
{
	const bool has_hessian = layer->hessian != NULL, given = opt != NULL && opt->codebooks != NULL;
	aqz_encode_report told = {0};
	aqz_matrix full, some;
	aqz_metric l = {0};
	aqz_blas blas = aqz_blas_begin();
	aqz_status status = AQZ_OK;
	bool fresh;
	aqz_job j;

	*out = (aqz_additive){0};
	aqz_matrix_init(&full, layer->w, layer->rows, layer->cols, scheme);
	AQZ_TRY(aqz_job_begin(&j, &full, 1, has_hessian, opt, effort, kernels, err));
	AQZ_TRY(aqz_job_check(&j, aqz_encode_layer_memory(layer, scheme, opt), err));
	AQZ_TRY(aqz_result_create(out, scheme, &full, opt, &j.budget, err));
	AQZ_TRY(aqz_tuner_create(&j.tuner, j.e, &j.bytes, kernels, &j.budget, err));
	if (given) {
		j.e->work_total = aqz_job_work(&j, NULL, &full, has_hessian);
		memcpy(out->codebooks, opt->codebooks->codebooks,
			aqz_result_bytes_of(scheme, NULL, opt).codebooks);
		if (out->codebook_scales != NULL)
			memcpy(out->codebook_scales, opt->codebooks->codebook_scales,
				aqz_result_bytes_of(scheme, NULL, opt).codebook_scales);
		aqz_widen_codebooks(j.e->codebooks, out);
		if (!all_finite(j.e->codebooks, aqz_codewords(scheme) * full.n_values))
			AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "codebooks",
				"they hold values that are not finite"));
	} else {
		aqz_effort start;

		some = train_matrix(&full, &j.effort, NULL);
		aqz_start_effort(&some, 0, j.effort.plain, &start);
		j.e->work_total = aqz_train_work(&some, &start) + aqz_job_work(&j, &some, &full, has_hessian);
		AQZ_TRY(train_single(&j, &l, &full, layer->hessian, &told.loss_before, err));
		aqz_round_codebooks(out, j.e->codebooks);
	}
	fresh = l.error == NULL;
	if (fresh) {
		AQZ_TRY(aqz_metric_create(&l, &full, layer->hessian, &j.budget, err));
		j.tuner.layers = &l;
		j.tuner.n_layers = 1;
		AQZ_TRY(aqz_metric_begin(&l, j.e->n_threads, err));
		aqz_shift_scales(&l, fitting_exponent(&l, j.e->codebooks));
		aqz_round_scales(&l, aqz_opt_scale_dtype(opt));
		AQZ_TRY(aqz_tune_start(&j.tuner, j.effort.start_beam, &j.budget, err));
		told.loss_before = aqz_loss(&j.tuner, &l);
	} else {
		aqz_errors(&j.tuner, &l, j.e->codebooks);
	}
	AQZ_TRY(aqz_tune_finish(&j.tuner, &j.effort, fresh ? j.effort.long_rounds : j.effort.rounds,
		fresh && j.effort.long_rounds >= LEAST_NOISY ? j.effort.noise : 0, aqz_opt_scale_dtype(opt),
		err));
	told.rel_mse = relative_mse(&l);
	told.loss_after = has_hessian ? aqz_loss(&j.tuner, &l) : told.rel_mse;
	aqz_pack_codes(out, l.codes, 0, full.code_rows, j.e->n_threads);
	aqz_convert(out->scales, out->scale_dtype, l.scales, AQZ_F32, (size_t)full.code_rows, NULL);
	if (report != NULL)
		*report = told;
out:
	if (l.error != NULL)
		aqz_metric_free(&l, &j.budget);
	aqz_job_end(&j);
	aqz_blas_end(&blas);
	if (status != AQZ_OK)
		aqz_additive_free(out);
	return status;
}
