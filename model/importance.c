/* SPDX-License-Identifier: Apache-2.0 */
/* How much the loss depends on each output of each linear: the mean over tokens of the squared gradient of a window's
 * summed cross-entropy by that output, labels drawn from the model itself at every position, which makes it the
 * diagonal of the Fisher information (Martens, arXiv:1412.1193, section 5). For the head the mean over labels is there
 * without drawing: p (1 - p). */
#include <math.h>

#include "model/calibrate.h"

/* Columns of a task. */
#define COLUMNS 64
/* A block backward costs about so many times a block forward. */
#define BACK_COST 3

uint64_t aqz_importance_at(const aqz_model_config *c, uint32_t layer, aqz_linear_kind kind)
{
	uint64_t of_layer = 0, before = 0;

	for (aqz_linear_kind k = 0; k < AQZ_N_LINEARS; k++) {
		uint64_t rows, cols;

		aqz_linear_shape(c, k, &rows, &cols);
		before += k < kind ? rows : 0;
		of_layer += rows;
	}
	return layer * of_layer + before;
}

uint64_t aqz_importance_head_at(const aqz_model_config *c)
{
	return aqz_importance_at(c, c->n_layers, AQZ_LINEAR_Q);
}

uint64_t aqz_importance_values(const aqz_model_config *c)
{
	return aqz_importance_head_at(c) + c->vocabulary;
}

typedef struct importance {
	aqz_calibration *c;
	aqz_pass *pass;
	aqz_back *back;
	uint64_t max_tokens;
	size_t *begin;
	float *states; /* [n_layers + 1][max_tokens][hidden]: each block's input, then the last one's output */
	float *dx; /* [max_tokens][hidden] */
	uint32_t *labels;
	double *sums; /* [aqz_importance_values()] */
	size_t head_token; /* of labels, the next that the head comes to */
	uint64_t seed;
} importance;

static aqz_status add_squares(void *user, uint32_t layer, aqz_linear_kind kind, const float *x,
	size_t x_ld, const float *dy, size_t dy_ld, size_t n)
{
	const importance *p = user;
	uint64_t rows, cols, n_tasks;
	double *sums = p->sums + aqz_importance_at(&p->c->m->config, layer, kind);

	(void)x;
	(void)x_ld;
	aqz_linear_shape(&p->c->m->config, kind, &rows, &cols);
	n_tasks = aqz_ceil_div(rows, COLUMNS);
#pragma omp parallel for schedule(static) num_threads(p->c->n_threads)
	for (uint64_t i = 0; i < n_tasks; i++)
		for (size_t t = 0; t < n; t++)
			for (uint64_t r = i * COLUMNS; r < aqz_min(rows, (i + 1) * COLUMNS); r++)
				sums[r] += (double)dy[t * dy_ld + r] * (double)dy[t * dy_ld + r];
	return AQZ_OK;
}

/* dy is softmax - onehot. */
static aqz_status add_head(void *user, uint32_t layer, aqz_linear_kind kind, const float *x,
	size_t x_ld, const float *dy, size_t dy_ld, size_t n)
{
	importance *p = user;
	const aqz_model_config *config = &p->c->m->config;
	const uint32_t *labels = p->labels + p->head_token;
	const uint64_t n_tasks = aqz_ceil_div(config->vocabulary, COLUMNS);
	double *sums = p->sums + aqz_importance_head_at(config);

	(void)layer, (void)kind, (void)x, (void)x_ld;
#pragma omp parallel for schedule(static) num_threads(p->c->n_threads)
	for (uint64_t i = 0; i < n_tasks; i++)
		for (size_t t = 0; t < n; t++)
			for (uint64_t r = i * COLUMNS; r < aqz_min(config->vocabulary, (i + 1) * COLUMNS); r++) {
				const double chance = (double)dy[t * dy_ld + r] + (labels[t] == r ? 1 : 0);

				sums[r] += chance > 0 && chance < 1 ? chance * (1 - chance) : 0;
			}
	p->head_token += n;
	return AQZ_OK;
}

/* Chances of tokens span ten orders of magnitude, and other texts have other tokens: with steps as the importance says,
 * a token that this text had no use for would be lost. What is written is the geometric mean with that of the typical
 * token: exp of the mean of ln F weighted by F, in which a token counts as often as it is predicted. */
static void temper(double *sums, uint64_t n)
{
	double sum = 0, logs = 0, typical;

	for (uint64_t i = 0; i < n; i++)
		if (sums[i] > 0) {
			sum += sums[i];
			logs += sums[i] * log(sums[i]);
		}
	typical = sum > 0 ? exp(logs / sum) : 0;
	for (uint64_t i = 0; i < n; i++)
		sums[i] = sqrt(sums[i] * typical);
}

static aqz_status run_batch(importance *p, const aqz_window_batch *w, aqz_error *err)
{
	const aqz_model_config *config = &p->c->m->config;
	const size_t step = (size_t)p->max_tokens * config->hidden;
	const aqz_batch batch = {.n_sequences = w->end - w->first, .begin = w->begin};
	float *last = p->states + config->n_layers * step;
	aqz_status status;

	aqz_pass_embed(p->pass, p->states, w->ids, w->n);
	for (uint32_t layer = 0; layer < config->n_layers; layer++) {
		float *x = p->states + layer * step;

		memcpy(x + step, x, w->n * config->hidden * sizeof *x);
		AQZ_TRY(aqz_pass_block(p->pass, layer, x + step, &batch, NULL, NULL));
		AQZ_TRY(aqz_calibration_tick(p->c, w->n, err));
	}
	p->head_token = 0;
	AQZ_TRY(aqz_back_head(
		p->back, last, p->dx, p->labels, w->n, true, &p->seed, NULL, NULL, add_head, p));
	for (uint32_t layer = config->n_layers; layer-- > 0;) {
		AQZ_TRY(aqz_back_block(
			p->back, layer, p->states + layer * step, p->dx, &batch, add_squares, p, NULL));
		AQZ_TRY(aqz_calibration_tick(p->c, BACK_COST * w->n, err));
	}
out:
	return status;
}

/* The arrays do not outlive this file's run, so the budget is set back as a whole. */
static void release(importance *p, uint64_t used_before)
{
	aqz_back_close(p->back);
	aqz_pass_close(p->pass);
	free(p->begin);
	free(p->states);
	free(p->dx);
	free(p->labels);
	p->back = NULL;
	p->pass = NULL;
	p->begin = NULL;
	p->states = p->dx = NULL;
	p->labels = NULL;
	p->c->budget.used_bytes = used_before;
}

static aqz_status reserve(importance *p, uint64_t max_tokens, aqz_error *err)
{
	const aqz_model_config *config = &p->c->m->config;
	const uint64_t values = max_tokens * config->hidden; /* both fit 32 bits */
	aqz_calibration *c = p->c;
	void *memory;
	aqz_status status;

	p->max_tokens = max_tokens;
	AQZ_TRY(aqz_calibration_begin(&p->begin, c, max_tokens, err));
	AQZ_TRY(aqz_calibration_alloc(&memory, c, values,
		((uint64_t)config->n_layers + 1) * sizeof *p->states, "the inputs of all blocks", err));
	p->states = memory;
	AQZ_TRY(aqz_calibration_alloc(&memory, c, values, sizeof *p->dx, "a gradient", err));
	p->dx = memory;
	AQZ_TRY(aqz_calibration_alloc(&memory, c, max_tokens, sizeof *p->labels, "labels", err));
	p->labels = memory;
	AQZ_TRY(aqz_pass_open(
		&p->pass, c->m, (size_t)max_tokens, c->n_threads, aqz_calibration_room(c, 0), err));
	AQZ_TRY(aqz_back_open(&p->back, c->m, (size_t)max_tokens, c->n_threads,
		aqz_calibration_room(c, aqz_pass_memory(p->pass)), err));
out:
	return status;
}

aqz_status aqz_importance_run(aqz_calibration *c, aqz_error *err)
{
	const uint64_t n_values = aqz_importance_values(&c->m->config);
	importance p = {.c = c, .seed = c->opt->seed};
	aqz_window_batch w = {.end = 0};
	uint64_t most, used_before;
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_calibration_alloc(&memory, c, n_values, sizeof *p.sums, "importances", err));
	p.sums = memory;
	used_before = c->budget.used_bytes;
	most = aqz_min(c->importance_tokens, AQZ_CALIBRATE_BATCH);
	most = most < c->longest ? c->longest : most;
	status = reserve(&p, most, err);
	while (status == AQZ_E_MEMLIMIT && most > c->longest) {
		release(&p, used_before);
		most = most / 2 < c->longest ? c->longest : most / 2;
		status = reserve(&p, most, err);
	}
	if (status != AQZ_OK)
		goto release;
	w.begin = p.begin;
	while (status == AQZ_OK && aqz_calibration_next(&w, c, c->importance_windows, most))
		status = run_batch(&p, &w, err);
	temper(p.sums + aqz_importance_head_at(&c->m->config), c->m->config.vocabulary);
	for (uint64_t i = 0; i < n_values; i++)
		c->importance[i] = (float)(p.sums[i] / (double)c->importance_tokens);
release:
	release(&p, used_before);
out:
	aqz_budget_free(&c->budget, p.sums, n_values * sizeof *p.sums);
	return status;
}
