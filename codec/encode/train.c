/* SPDX-License-Identifier: Apache-2.0 */
/* Training codebooks in the metric of the inputs of one layer or of several that share them. */
#include "codec/encode/job.h"

#include <limits.h>
#include <math.h>

#include "codec/encode/blas.h"

/* ---- Codebooks to start with */

void aqz_start_effort(const aqz_matrix *a, uint64_t vectors, int effort, aqz_effort *f)
{
	aqz_matrix all = *a;

	if (vectors > 0) {
		all.code_rows = vectors;
		all.groups = 1;
	}
	*f = aqz_effort_of(&all, effort);
}

/* Groups of a layer that lie wholly inside: several layers start from these. */
static uint64_t whole_groups(const aqz_matrix *a)
{
	return (a->rows / a->scheme.out_group) * (a->cols / a->scheme.in_group);
}

uint64_t aqz_start_bytes(const aqz_matrix *a, const aqz_effort *f, unsigned n_threads)
{
	const uint64_t each = (aqz_search_scratch_bytes(&a->scheme, f->train_beam) + 63) / 64 * 64;

	const uint64_t prune =
		aqz_prune_possible(&a->scheme) ? sizeof(aqz_prune) + aqz_prune_bytes(&a->scheme) : 0;

	return prune + aqz_sample_bytes(a, f->n_sample) + AQZ_N_CLASSES * aqz_search_bytes(&a->scheme) +
		n_threads * each;
}

/* Vectors from whole groups of all layers, as many of each as it has of all; weights: square of the scale. */
static void fill_from_layers(aqz_sample *s, const aqz_tuner *t, uint64_t seed)
{
	/* Steps of the golden ratio: every prefix of the sample is spread over all layers. */
	const uint64_t step = aqz_sample_step(s->n);
	uint64_t total = 0, done = 0;

	for (uint32_t i = 0; i < t->n_layers; i++)
		total += whole_groups(&t->layers[i].a);
	for (uint32_t i = 0; i < t->n_layers; i++) {
		const aqz_metric *l = &t->layers[i];
		const uint64_t groups = l->a.cols / l->a.scheme.in_group, n = whole_groups(&l->a);
		const uint64_t first = (uint64_t)((unsigned __int128)done * s->n / total);
		const uint64_t end = (uint64_t)((unsigned __int128)(done + n) * s->n / total);
		aqz_matrix live = l->a;
		float largest = 0;

		live.w = l->start_w;
		done += n;
		for (uint64_t r = 0; r < l->a.code_rows; r++)
			largest = fmaxf(largest, l->scales[r]);
		for (uint64_t k = first; k < end; k++) {
			const uint64_t begin = (uint64_t)((unsigned __int128)(k - first) * n / (end - first));
			const uint64_t after = (uint64_t)((unsigned __int128)(k - first + 1) * n / (end - first));
			const uint64_t place = begin + aqz_random_below(after - begin, seed, 400000 + i, k);
			const float scale = l->scales[place / groups];
			const uint64_t to = (uint64_t)((unsigned __int128)k * step % s->n);

			aqz_gather(s->x + to * s->n_values, &live, place / groups, place % groups,
				scale > 0 ? 1 / scale : 0);
			s->weight[to] = scale > 0 ? scale / largest * (scale / largest) : 0;
		}
	}
	s->begin[0] = 0;
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		s->end[c] = s->n;
	for (unsigned c = 1; c < AQZ_N_CLASSES; c++)
		s->begin[c] = s->n;
	aqz_sample_use(s, s->n);
}

/* Groups of dead inputs alone are vectors of zeros now, which should not have codewords. */
static void forget_zeros(aqz_sample *s)
{
	for (size_t i = 0; i < s->n; i++) {
		bool zero = true;

		for (unsigned v = 0; v < s->n_values; v++)
			zero = zero && s->x[i * s->n_values + v] == 0;
		s->weight[i] = zero ? 0 : s->weight[i];
	}
}

/* Trains codebooks in the plain metric: e->codebooks. */
static aqz_status start_codebooks(aqz_tuner *t, const aqz_tune_effort *f,
	const aqz_kernels *kernels, aqz_budget *budget, aqz_error *err)
{
	aqz_encoder *e = t->e;
	const aqz_matrix kept = e->a;
	uint64_t whole = 0, each;
	aqz_status status = AQZ_OK;
	void *scratch = NULL;
	aqz_prune prune;

	e->a = t->layers[0].a;
	e->a.w = t->layers[0].start_w;
	for (uint32_t i = 0; t->n_layers > 1 && i < t->n_layers; i++)
		whole += whole_groups(&t->layers[i].a);
	for (unsigned c = 0; whole > 0 && c < AQZ_N_CLASSES; c++)
		e->a.has_class[c] = c == 0;
	aqz_start_effort(&e->a, whole, f->plain, &e->effort);
	each = (aqz_search_scratch_bytes(&e->a.scheme, e->effort.train_beam) + 63) / 64 * 64;
	e->scratch_bytes = each;
	AQZ_TRY(aqz_sample_create(&e->sample, &e->a, e->effort.n_sample, budget, err));
	AQZ_TRY(aqz_budget_alloc(budget, &scratch, e->n_threads * each, "search", err));
	e->scratch = scratch;
	if (aqz_prune_possible(&e->a.scheme)) {
		AQZ_TRY(aqz_prune_create(&prune, &e->a.scheme, kernels, budget, err));
		e->prune = &prune;
	}
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		if (e->a.has_class[c])
			AQZ_TRY(aqz_search_create(&e->search[c], &e->a.scheme, kernels, budget, err));
	if (whole > 0)
		fill_from_layers(&e->sample, t, e->seed);
	else
		aqz_sample_fill(&e->sample, &e->a, t->layers[0].scales, e->seed, e->n_threads);
	for (uint32_t i = 0; i < t->n_layers; i++)
		if (t->layers[i].start_w != t->layers[i].a.w) {
			forget_zeros(&e->sample);
			break;
		}
	AQZ_TRY(aqz_plain_train(e, err));
out:
	for (unsigned c = 0; c < AQZ_N_CLASSES; c++)
		if (e->search[c].table != NULL)
			aqz_search_free(&e->search[c], budget);
	aqz_sample_free(&e->sample, &e->a, e->effort.n_sample, budget);
	if (e->prune != NULL)
		aqz_prune_free(&prune, budget);
	e->prune = NULL;
	aqz_budget_free(budget, scratch, e->n_threads * each);
	e->scratch = NULL;
	e->a = kept;
	return status;
}

/* ---- Layers */

/* Code rows of a layer that codebooks are trained on. */
uint64_t aqz_train_code_rows(const aqz_matrix *a, const aqz_tune_effort *f)
{
	const uint64_t wanted = aqz_ceil_div(f->n_train, a->groups),
				   each = aqz_task_code_rows(&a->scheme);
	const uint64_t n = aqz_ceil_div(wanted, each) * each;

	/* All of them unless clearly fewer do. */
	return n + n / 2 >= a->code_rows ? a->code_rows : n;
}

static void weigh_layers(aqz_tuner *t)
{
	double total = 0;

	for (uint32_t i = 0; i < t->n_layers; i++)
		total += (double)t->layers[i].a.rows * (double)t->layers[i].a.cols;
	for (uint32_t i = 0; i < t->n_layers; i++) {
		aqz_metric *l = &t->layers[i];

		l->weight = l->energy > 0 ? (double)l->a.rows * (double)l->a.cols / total / l->energy : 0;
	}
}

/* Layers of very different size get scales of very different size, not codebooks: all begin with one exponent. */
static void align_scales(aqz_tuner *t)
{
	int most = INT_MIN;

	for (uint32_t i = 0; i < t->n_layers; i++)
		if (t->layers[i].energy > 0)
			most = t->layers[i].exponent > most ? t->layers[i].exponent : most;
	for (uint32_t i = 0; most != INT_MIN && i < t->n_layers; i++)
		aqz_shift_scales(&t->layers[i], t->layers[i].exponent - most);
}

void aqz_shift_scales(aqz_metric *l, int exponent)
{
	for (uint64_t i = 0; exponent != 0 && i < l->a.code_rows; i++)
		l->scales[i] = ldexpf(l->scales[i], exponent);
}

void aqz_round_scales(aqz_metric *l, aqz_dtype dtype)
{
	for (uint64_t i = 0; i < l->a.code_rows; i++)
		l->scales[i] = aqz_stored_scale(l->scales[i], dtype);
}

/* Trains codebooks on the layers; all of them begin anew. *loss_before: weighted mean of the losses of the start. */
aqz_status aqz_tune_all(aqz_tuner *t, const aqz_tune_effort *f, aqz_dtype scale_dtype,
	const aqz_kernels *kernels, double *loss_before, aqz_budget *budget, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	double weights = 0;

	for (uint32_t i = 0; i < t->n_layers; i++)
		AQZ_TRY(aqz_metric_begin(&t->layers[i], t->e->n_threads, err));
	align_scales(t);
	for (uint32_t i = 0; i < t->n_layers; i++)
		aqz_round_scales(&t->layers[i], scale_dtype);
	weigh_layers(t);
	AQZ_TRY(start_codebooks(t, f, kernels, budget, err));
	AQZ_TRY(aqz_tune_start(t, f->start_beam, budget, err));
	*loss_before = 0;
	for (uint32_t i = 0; i < t->n_layers; i++) {
		const double weight = t->layers[i].weight * t->layers[i].energy;

		*loss_before += weight * aqz_loss(t, &t->layers[i]);
		weights += weight;
	}
	*loss_before = weights > 0 ? *loss_before / weights : 0;
	AQZ_TRY(aqz_tune_train(t, f, scale_dtype, err));
out:
	return status;
}

/* ---- Codebooks alone */

static uint64_t train_layers_bytes(const aqz_matrix *matrices, const aqz_layer *layers, uint32_t n,
	const aqz_tune_effort *f, const aqz_encode_options *opt)
{
	uint64_t sum = 0, most = 0, whole = 0;
	bool has_hessian = false;
	aqz_effort start;
	aqz_tuner_bytes b;
	aqz_result_bytes r;

	for (uint32_t i = 0; i < n; i++) {
		const bool has = layers[i].hessian != NULL;

		has_hessian = has_hessian || has;
		sum += aqz_metric_bytes(&matrices[i], has);
		most = aqz_max(most, aqz_metric_start_bytes(&matrices[i], has));
		whole += n > 1 ? whole_groups(&matrices[i]) : 0;
	}
	b = aqz_tuner_bytes_of(matrices, n, has_hessian, f, opt, true);
	r = aqz_result_bytes_of(&matrices[0].scheme, NULL, opt);
	aqz_start_effort(&matrices[0], whole, f->plain, &start);
	return sum + b.total + r.codebooks + r.codebook_scales +
		aqz_max(most, aqz_start_bytes(&matrices[0], &start, b.n_threads));
}

uint64_t aqz_train_codebooks_memory(const aqz_layer *layers, uint32_t n_layers,
	const aqz_scheme *scheme, const aqz_encode_options *opt)
{
	const aqz_tune_effort f = aqz_tune_effort_for(scheme, opt);
	aqz_matrix *matrices = calloc(n_layers == 0 ? 1 : n_layers, sizeof *matrices);
	uint64_t sum;

	if (matrices == NULL || n_layers == 0) {
		free(matrices);
		return UINT64_MAX;
	}
	for (uint32_t i = 0; i < n_layers; i++) {
		if (aqz_encode_fault(&layers[i], scheme, opt) != NULL) {
			free(matrices);
			return UINT64_MAX;
		}
		aqz_matrix_init(&matrices[i], NULL, layers[i].rows, layers[i].cols, scheme);
	}
	sum = train_layers_bytes(matrices, layers, n_layers, &f, opt);
	free(matrices);
	return sum;
}

aqz_status aqz_train_layers(aqz_additive *out, const aqz_layer *layers, uint32_t n_layers,
	const aqz_scheme *scheme, const aqz_encode_options *opt, const aqz_tune_effort *effort,
	const aqz_kernels *kernels, aqz_error *err)
{
	aqz_matrix *matrices = NULL;
	aqz_metric *metrics = NULL;
	aqz_blas blas = aqz_blas_begin();
	aqz_status status = AQZ_OK;
	bool has_hessian = false;
	uint64_t whole = 0;
	double loss_before;
	aqz_effort start;
	aqz_job j = {0};

	*out = (aqz_additive){0};
	if (n_layers == 0 || (opt != NULL && opt->codebooks != NULL))
		AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			n_layers == 0 ? "there are no layers" : "there is nothing to train with given codebooks"));
	matrices = calloc(n_layers, sizeof *matrices);
	metrics = calloc(n_layers, sizeof *metrics);
	if (matrices == NULL || metrics == NULL)
		AQZ_TRY(aqz_fail_nomem(err, n_layers * sizeof *metrics));
	for (uint32_t i = 0; i < n_layers; i++) {
		const char *fault = aqz_encode_fault(&layers[i], scheme, opt);

		if (fault != NULL)
			AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "%s", fault));
		aqz_matrix_init(&matrices[i], layers[i].w, layers[i].rows, layers[i].cols, scheme);
		has_hessian = has_hessian || layers[i].hessian != NULL;
	}
	AQZ_TRY(aqz_job_begin(&j, matrices, n_layers, has_hessian, opt, effort, kernels, err));
	AQZ_TRY(aqz_job_check(&j, train_layers_bytes(matrices, layers, n_layers, &j.effort, opt), err));
	AQZ_TRY(aqz_result_create(out, scheme, NULL, opt, &j.budget, err));
	AQZ_TRY(aqz_tuner_create(&j.tuner, j.e, &j.bytes, kernels, &j.budget, err));
	for (uint32_t i = 0; i < n_layers; i++) {
		AQZ_TRY(aqz_metric_create(&metrics[i], &matrices[i], layers[i].hessian, &j.budget, err));
		j.e->work_total += aqz_job_work(&j, &matrices[i], NULL, layers[i].hessian != NULL);
		whole += n_layers > 1 ? whole_groups(&matrices[i]) : 0;
	}
	aqz_start_effort(&matrices[0], whole, j.effort.plain, &start);
	j.e->work_total += aqz_train_work(&matrices[0], &start);
	j.tuner.layers = metrics;
	j.tuner.n_layers = n_layers;
	AQZ_TRY(aqz_tune_all(
		&j.tuner, &j.effort, aqz_opt_scale_dtype(opt), kernels, &loss_before, &j.budget, err));
	aqz_round_codebooks(out, j.e->codebooks);
out:
	for (uint32_t i = 0; metrics != NULL && i < n_layers; i++)
		if (metrics[i].error != NULL)
			aqz_metric_free(&metrics[i], &j.budget);
	aqz_job_end(&j);
	free(metrics);
	free(matrices);
	aqz_blas_end(&blas);
	if (status != AQZ_OK)
		aqz_additive_free(out);
	return status;
}
