/* SPDX-License-Identifier: Apache-2.0 */
/* The statistics of a model's inputs: all windows go through one block after the other, and what its linears are fed is
 * added up and written before the next block's turn. */
#include "model/calibrate.h"
#include "codec/encode/blas.h"

/* ---- What the parts share */

aqz_status aqz_calibration_alloc(
	void **p, aqz_calibration *c, uint64_t n, uint64_t each, const char *what, aqz_error *err)
{
	uint64_t n_bytes;

	*p = NULL;
	if (!aqz_mul(&n_bytes, n, each))
		return aqz_fail_nomem(err, UINT64_MAX);
	return aqz_budget_alloc(&c->budget, p, n_bytes, what, err);
}

uint64_t aqz_calibration_room(const aqz_calibration *c, uint64_t used_bytes)
{
	const uint64_t limit = c->budget.limit_bytes, used = c->budget.used_bytes + used_bytes;

	if (limit == 0)
		return 0;
	return used < limit ? limit - used : 1;
}

aqz_status aqz_calibration_tick(aqz_calibration *c, uint64_t work, aqz_error *err)
{
	c->done += work;
	if (c->opt->progress != NULL &&
		!c->opt->progress(
			c->opt->progress_user, (uint64_t)(1000 * (double)c->done / (double)c->total), 1000))
		return aqz_fail(
			err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "the caller stopped the calibration");
	return AQZ_OK;
}

bool aqz_calibration_next(
	aqz_window_batch *batch, const aqz_calibration *c, uint32_t n_windows, uint64_t max_tokens)
{
	const uint64_t *begin = c->windows->begin;
	const uint32_t first = batch->end;

	if (first >= n_windows)
		return false;
	batch->first = first;
	do
		batch->end++;
	while (batch->end < n_windows && begin[batch->end + 1] - begin[first] <= max_tokens);
	batch->n = (size_t)(begin[batch->end] - begin[first]);
	batch->ids = c->windows->ids + begin[first];
	for (uint32_t i = first; i <= batch->end; i++)
		batch->begin[i - first] = (size_t)(begin[i] - begin[first]);
	return true;
}

aqz_status aqz_calibration_begin(
	size_t **begin, aqz_calibration *c, uint64_t max_tokens, aqz_error *err)
{
	void *memory;
	const uint64_t most = aqz_min(c->windows->n_windows, max_tokens); /* no window is empty */
	const aqz_status status =
		aqz_calibration_alloc(&memory, c, most + 1, sizeof **begin, "windows", err);

	*begin = memory;
	return status;
}

/* ---- The pass over the layers */

/* Inputs that linears share, and the linear whose name stands for them. */
#define N_INPUTS 4
static const aqz_linear_kind owners[N_INPUTS] = {
	AQZ_LINEAR_Q, AQZ_LINEAR_O, AQZ_LINEAR_GATE, AQZ_LINEAR_DOWN};

typedef struct layers {
	aqz_calibration *c;
	aqz_pass *pass;
	aqz_gram grams[N_INPUTS];
	float *x;		/* [n_tokens][hidden] */
	float *scratch; /* aqz_gram_scratch() */
	float *normed;	/* [max_tokens][hidden] */
	size_t *begin;
	uint64_t max_tokens;
} layers;

static aqz_status add_input(
	void *user, uint32_t layer, aqz_linear_kind kind, const float *x, size_t n, size_t ld)
{
	layers *l = user;

	(void)layer;
	for (size_t i = 0; i < N_INPUTS; i++)
		if (owners[i] == kind)
			aqz_gram_add(&l->grams[i], x, ld, n, l->scratch, l->c->n_threads);
	return AQZ_OK;
}

/* Where the states of a batch are. */
static float *states_of(const layers *l, const aqz_window_batch *w)
{
	const uint64_t *begin = l->c->windows->begin;

	return l->x + (begin[w->first] - begin[0]) * l->c->m->config.hidden;
}

static aqz_status run_layer(layers *l, uint32_t layer, aqz_error *err)
{
	aqz_calibration *c = l->c;
	aqz_window_batch w = {.begin = l->begin};
	char name[AQZ_WEIGHT_NAME_BYTES];
	aqz_status status;

	for (size_t i = 0; i < N_INPUTS; i++)
		aqz_gram_clear(&l->grams[i]);
	while (aqz_calibration_next(&w, c, c->windows->n_windows, l->max_tokens)) {
		const aqz_batch batch = {.n_sequences = w.end - w.first, .begin = w.begin};
		float *x = states_of(l, &w);

		if (layer == 0)
			aqz_pass_embed(l->pass, x, w.ids, w.n);
		AQZ_TRY(aqz_pass_block(l->pass, layer, x, &batch, add_input, l));
		AQZ_TRY(aqz_calibration_tick(c, w.n, err));
	}
	for (size_t i = 0; i < N_INPUTS; i++) {
		aqz_linear_name(name, layer, owners[i], "weight");
		AQZ_TRY(aqz_stats_write_gram(c, &l->grams[i], l->scratch, name, err));
	}
out:
	return status;
}

/* The head's inputs; the sums are those of q, which has as many inputs. */
static aqz_status run_head(layers *l, aqz_error *err)
{
	aqz_calibration *c = l->c;
	const size_t hidden = c->m->config.hidden;
	aqz_gram *g = &l->grams[0];
	aqz_window_batch w = {.begin = l->begin};
	aqz_status status;

	aqz_gram_clear(g);
	while (aqz_calibration_next(&w, c, c->windows->n_windows, l->max_tokens)) {
		aqz_pass_final_norm(l->pass, l->normed, states_of(l, &w), w.n);
		aqz_gram_add(g, l->normed, hidden, w.n, l->scratch, c->n_threads);
		AQZ_TRY(aqz_calibration_tick(c, w.n, err));
	}
	AQZ_TRY(aqz_stats_write_gram(c, g, l->scratch, aqz_stats_head_name(&c->m->config), err));
out:
	return status;
}

static aqz_status reserve(layers *l, aqz_error *err)
{
	aqz_calibration *c = l->c;
	const aqz_model_config *config = &c->m->config;
	const uint64_t most = aqz_min(AQZ_CALIBRATE_BATCH, c->n_tokens);
	uint64_t widest = 0;
	void *memory;
	aqz_status status = AQZ_OK;

	l->max_tokens = c->longest > most ? c->longest : most;
	for (size_t i = 0; i < N_INPUTS; i++) {
		uint64_t rows, cols;

		aqz_linear_shape(config, owners[i], &rows, &cols);
		AQZ_TRY(aqz_gram_open(&l->grams[i], (size_t)cols, c, err));
		widest = cols > widest ? cols : widest;
	}
	AQZ_TRY(aqz_calibration_alloc(&memory, c, aqz_gram_scratch(widest, c->n_threads),
		sizeof *l->scratch, "products of inputs", err));
	l->scratch = memory;
	AQZ_TRY(aqz_calibration_alloc(&memory, c, c->n_tokens, config->hidden * sizeof *l->x,
		"the hidden states of all tokens", err));
	l->x = memory;
	AQZ_TRY(aqz_calibration_alloc(
		&memory, c, l->max_tokens, config->hidden * sizeof *l->normed, "the head's inputs", err));
	l->normed = memory;
	AQZ_TRY(aqz_calibration_begin(&l->begin, c, l->max_tokens, err));
	AQZ_TRY(aqz_pass_open(
		&l->pass, c->m, (size_t)l->max_tokens, c->n_threads, aqz_calibration_room(c, 0), err));
out:
	return status;
}

static aqz_status run_layers(aqz_calibration *c, aqz_error *err)
{
	layers l = {.c = c};
	aqz_status status;

	AQZ_TRY(reserve(&l, err));
	for (uint32_t layer = 0; layer < c->m->config.n_layers; layer++)
		AQZ_TRY(run_layer(&l, layer, err));
	AQZ_TRY(run_head(&l, err));
out:
	aqz_pass_close(l.pass);
	for (size_t i = 0; i < N_INPUTS; i++)
		aqz_gram_close(&l.grams[i], c);
	free(l.scratch);
	free(l.x);
	free(l.normed);
	free(l.begin);
	return status;
}

/* ---- The call */

static aqz_status check(aqz_calibration *c, aqz_error *err)
{
	const aqz_windows *w = c->windows;
	const aqz_model_config *config = &c->m->config;

	if (w->n_windows == 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "windows", "there are no windows");
	for (uint32_t i = 0; i < w->n_windows; i++) {
		const uint64_t n = w->begin[i + 1] - w->begin[i];

		if (w->begin[i + 1] <= w->begin[i] || n > config->max_positions)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "windows",
				"window %u has %llu tokens, and the model takes 1 to %u", i, (unsigned long long)n,
				config->max_positions);
		c->longest = n > c->longest ? n : c->longest;
		/* Importance takes whole windows, and one at least. */
		if (c->importance_windows == i &&
			(i == 0 || c->opt->importance_tokens == 0 ||
				w->begin[i + 1] - w->begin[0] <= c->opt->importance_tokens)) {
			c->importance_windows = i + 1;
			c->importance_tokens = w->begin[i + 1] - w->begin[0];
		}
	}
	c->n_tokens = w->begin[w->n_windows] - w->begin[0];
	for (uint64_t t = w->begin[0]; t < w->begin[w->n_windows]; t++)
		if (w->ids[t] >= config->vocabulary)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "windows",
				"token %llu is %u, and the vocabulary has %u", (unsigned long long)t, w->ids[t],
				config->vocabulary);
	return AQZ_OK;
}

aqz_status aqz_calibrate(const aqz_model *model, const aqz_windows *windows, const aqz_io *out,
	const aqz_calibrate_options *opt, aqz_error *err)
{
	static const aqz_calibrate_options defaults = {.struct_size = sizeof defaults};
	aqz_calibration c = {
		.m = model, .windows = windows, .opt = opt != NULL ? opt : &defaults, .out = out};
	const aqz_blas blas = aqz_blas_begin();
	void *memory;
	aqz_status status;

	if (model == NULL || windows == NULL || out == NULL || out->write == NULL)
		AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "a pointer is NULL"));
	if (c.opt->struct_size != sizeof *c.opt)
		AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version"));
	c.budget.limit_bytes = c.opt->memlimit_bytes;
	c.n_threads = aqz_threads(c.opt->n_threads);
	AQZ_TRY(check(&c, err));
	c.total = c.n_tokens * (model->config.n_layers + UINT64_C(1));
	if (c.opt->row_importance) {
		c.total += 4 * c.importance_tokens * model->config.n_layers;
		AQZ_TRY(aqz_calibration_alloc(&memory, &c, aqz_importance_values(&model->config),
			sizeof *c.importance, "importances", err));
		c.importance = memory;
		AQZ_TRY(aqz_importance_run(&c, err));
	}
	AQZ_TRY(aqz_stats_write_head(&c, err));
	AQZ_TRY(run_layers(&c, err));
out:
	free(c.importance);
	aqz_blas_end(&blas);
	return status;
}
