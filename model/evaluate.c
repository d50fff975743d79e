/* SPDX-License-Identifier: Apache-2.0 */
/* How well a model predicts, alone and beside a reference: windows in batches through both, then logits of a block of
 * positions at a time, so that memory does not grow with tokens times vocabulary. Each position gives its numbers by
 * itself and they are added in the order of the text, so the number of threads does not matter. */
#include <math.h>
#include <time.h>

#include "codec/encode/blas.h"
#include "model/forward.h"
#include "model/verdict.h"

/* Tokens of a batch, if the longest window is not longer: unpacking weights then costs little beside products. */
#define BATCH_TOKENS 2048
/* Logits of one model that are held at a time. */
#define MAX_LOGIT_ROWS 256
#define LOGIT_BYTES (UINT64_C(64) << 20)

typedef struct eval {
	const aqz_model *models[2]; /* the model and its reference */
	aqz_pass *pass[2];
	float *x[2];	  /* [batch_tokens][hidden] */
	float *logits[2]; /* [logit_rows][vocabulary] */
	uint32_t *labels; /* [batch_tokens] the right token behind each kept position */
	size_t *begin;	  /* [windows of a batch + 1] */
	aqz_verdict *verdicts;
	unsigned n_models, n_threads;
	uint32_t vocabulary;
	size_t batch_tokens, batch_windows, logit_rows;
	aqz_budget budget;
	aqz_tally nll[2], kl, agree;
	const aqz_windows *windows;
	const aqz_evaluate_options *opt;
	uint64_t done_tokens, all_tokens;
} eval;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* done of steps parts of the work on a batch of n tokens. */
static aqz_status tick(const eval *e, uint64_t n, uint64_t done, uint64_t steps, aqz_error *err)
{
	if (e->opt->progress != NULL &&
		!e->opt->progress(e->opt->progress_user, e->done_tokens + n * done / steps, e->all_tokens))
		return aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, "", "the evaluation was stopped");
	return AQZ_OK;
}

/* Windows [first, last) through all blocks and the final norm of model m. */
static aqz_status run_blocks(
	eval *e, unsigned m, uint32_t first, uint32_t last, uint64_t steps, aqz_error *err)
{
	const uint64_t *begin = e->windows->begin;
	const size_t n = (size_t)(begin[last] - begin[first]);
	const uint32_t n_layers = e->models[m]->config.n_layers;
	uint64_t done = m == 0 ? 0 : e->models[0]->config.n_layers;
	aqz_batch batch = {.n_sequences = last - first, .begin = e->begin};
	aqz_status status = AQZ_OK;

	for (uint32_t i = first; i <= last; i++)
		e->begin[i - first] = (size_t)(begin[i] - begin[first]);
	aqz_pass_embed(e->pass[m], e->x[m], e->windows->ids + begin[first], n);
	for (uint32_t layer = 0; status == AQZ_OK && layer < n_layers; layer++) {
		status = aqz_pass_block(e->pass[m], layer, e->x[m], &batch, NULL, NULL);
		if (status == AQZ_OK)
			status = tick(e, n, ++done, steps, err);
	}
	if (status == AQZ_OK)
		aqz_pass_final_norm(e->pass[m], e->x[m], e->x[m], n);
	return status;
}

/* Takes out the last position of each window, which predicts nothing that is known, and fills the labels. Returns the
 * number of positions that stay. */
static size_t keep_predictions(eval *e, uint32_t first, uint32_t last)
{
	const uint64_t *begin = e->windows->begin;
	size_t kept = 0;

	for (uint32_t i = first; i < last; i++) {
		size_t from = (size_t)(begin[i] - begin[first]), n = (size_t)(begin[i + 1] - begin[i]) - 1;

		for (unsigned m = 0; m < e->n_models; m++) {
			const size_t hidden = e->models[m]->config.hidden;

			memmove(e->x[m] + kept * hidden, e->x[m] + from * hidden, n * hidden * sizeof *e->x[m]);
		}
		memcpy(e->labels + kept, e->windows->ids + begin[i] + 1, n * sizeof *e->labels);
		kept += n;
	}
	return kept;
}

static void count(eval *e, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (unsigned m = 0; m < e->n_models; m++)
			aqz_tally_add(&e->nll[m], e->verdicts[i].nll[m]);
		if (e->n_models == 2) {
			aqz_tally_add(&e->kl, e->verdicts[i].kl);
			aqz_tally_add(&e->agree, e->verdicts[i].agree ? 1 : 0);
		}
	}
}

static aqz_status run_batch(eval *e, uint32_t first, uint32_t last, aqz_error *err)
{
	const uint64_t n_tokens = e->windows->begin[last] - e->windows->begin[first];
	uint64_t steps = 1;
	size_t n;
	aqz_status status = AQZ_OK;

	for (unsigned m = 0; m < e->n_models; m++)
		steps += e->models[m]->config.n_layers;
	for (unsigned m = 0; m < e->n_models; m++)
		AQZ_TRY(run_blocks(e, m, first, last, steps, err));
	n = keep_predictions(e, first, last);
	for (size_t at = 0; at < n; at += e->logit_rows) {
		const size_t rows = n - at < e->logit_rows ? n - at : e->logit_rows;

		for (unsigned m = 0; m < e->n_models; m++)
			aqz_pass_head(e->pass[m], e->logits[m], e->x[m] + at * e->models[m]->config.hidden, rows);
#pragma omp parallel for num_threads(e->n_threads) schedule(static)
		for (size_t row = 0; row < rows; row++)
			aqz_verdict_of(&e->verdicts[row], e->logits[0] + row * e->vocabulary,
				e->n_models == 2 ? e->logits[1] + row * e->vocabulary : NULL, e->vocabulary,
				e->labels[at + row]);
		count(e, rows);
		AQZ_TRY(tick(e, n_tokens, steps - 1, steps, err));
	}
	e->done_tokens += n_tokens;
	AQZ_TRY(tick(e, 0, 0, 1, err));
out:
	return status;
}

static aqz_status check_model(
	const aqz_model *m, const char *which, const aqz_windows *w, aqz_error *err)
{
	for (uint32_t i = 0; i < w->n_windows; i++) {
		const uint64_t n = w->begin[i + 1] - w->begin[i];

		if (n < 2 || n > m->config.max_positions)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "windows",
				"window %u has %llu tokens, but the %s takes 2 to %u", i, (unsigned long long)n,
				which, m->config.max_positions);
		for (uint64_t k = w->begin[i]; k < w->begin[i + 1]; k++)
			if (w->ids[k] >= m->config.vocabulary)
				return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "windows",
					"token %u of window %u is %u, but the vocabulary of the %s ends at %u",
					(unsigned)(k - w->begin[i]), i, w->ids[k], which, m->config.vocabulary - 1);
	}
	return AQZ_OK;
}

static aqz_status check(const eval *e, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	if (e->windows->n_windows == 0)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "windows", "there are no windows to evaluate");
	if (e->n_models == 2 && e->models[0]->config.vocabulary != e->models[1]->config.vocabulary)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "reference",
			"the reference has a vocabulary of %u tokens, the model one of %u",
			e->models[1]->config.vocabulary, e->models[0]->config.vocabulary);
	for (unsigned m = 0; status == AQZ_OK && m < e->n_models; m++)
		status = check_model(e->models[m], m == 0 ? "model" : "reference", e->windows, err);
	return status;
}

/* The windows from first on that are one batch end before this one. */
static uint32_t batch_end(const eval *e, uint32_t first)
{
	const uint64_t *begin = e->windows->begin;
	uint32_t last = first + 1;

	while (last < e->windows->n_windows && begin[last + 1] - begin[first] <= e->batch_tokens)
		last++;
	return last;
}

static void release(eval *e)
{
	/* The budget ends with the evaluation, so what is given back need not be counted. */
	for (unsigned m = 0; m < e->n_models; m++) {
		aqz_pass_close(e->pass[m]);
		free(e->x[m]);
		free(e->logits[m]);
		e->pass[m] = NULL;
		e->x[m] = e->logits[m] = NULL;
	}
	free(e->labels);
	free(e->begin);
	free(e->verdicts);
	e->labels = NULL;
	e->begin = NULL;
	e->verdicts = NULL;
	e->budget.used_bytes = 0;
}

/* Memory for batches of so many tokens. No product here overflows: a window's tokens, hidden and vocabulary are checked
 * to be below 2^32, batch_windows is at most batch_tokens. */
static aqz_status reserve(eval *e, uint64_t batch_tokens, aqz_error *err)
{
	void *p = NULL;
	aqz_status status = AQZ_OK;

	e->batch_tokens = (size_t)batch_tokens;
	e->batch_windows = 0;
	for (uint32_t i = 0, last; i < e->windows->n_windows; i = last) {
		last = batch_end(e, i);
		if (last - i > e->batch_windows)
			e->batch_windows = last - i;
	}
	e->logit_rows = (size_t)(LOGIT_BYTES / (e->vocabulary * sizeof(float)));
	e->logit_rows = e->logit_rows < 16	 ? 16
		: e->logit_rows > MAX_LOGIT_ROWS ? MAX_LOGIT_ROWS
										 : e->logit_rows;
	for (unsigned m = 0; m < e->n_models; m++) {
		const uint64_t hidden = e->models[m]->config.hidden;

		AQZ_TRY(aqz_budget_alloc(
			&e->budget, &p, batch_tokens * hidden * sizeof(float), "hidden states", err));
		e->x[m] = p;
		AQZ_TRY(aqz_budget_alloc(&e->budget, &p,
			(uint64_t)e->logit_rows * e->vocabulary * sizeof(float), "logits", err));
		e->logits[m] = p;
	}
	AQZ_TRY(aqz_budget_alloc(&e->budget, &p, batch_tokens * sizeof *e->labels, "labels", err));
	e->labels = p;
	AQZ_TRY(
		aqz_budget_alloc(&e->budget, &p, (e->batch_windows + 1) * sizeof *e->begin, "windows", err));
	e->begin = p;
	AQZ_TRY(aqz_budget_alloc(&e->budget, &p, e->logit_rows * sizeof *e->verdicts, "results", err));
	e->verdicts = p;
	for (unsigned m = 0; m < e->n_models; m++) {
		uint64_t limit = e->budget.limit_bytes;

		/* What is left, at least a byte, for 0 were no limit. */
		if (limit != 0)
			limit = limit > e->budget.used_bytes ? limit - e->budget.used_bytes : 1;
		AQZ_TRY(aqz_pass_open(
			&e->pass[m], e->models[m], e->batch_tokens, e->opt->n_threads, limit, err));
		e->budget.used_bytes += aqz_pass_memory(e->pass[m]);
	}
out:
	return status;
}

static void report(aqz_evaluation *out, const eval *e, double start)
{
	const double n = (double)e->nll[0].n, bytes = (double)e->windows->n_bytes;
	double per_byte = bytes > 0 ? n / (log(2) * bytes) : 0;

	memset(out, 0, sizeof *out);
	out->n_predictions = e->nll[0].n;
	out->n_windows = e->windows->n_windows;
	out->nll = aqz_tally_mean(&e->nll[0]);
	out->perplexity.mean = exp(out->nll.mean);
	out->perplexity.error = out->perplexity.mean * out->nll.error;
	out->bits_per_byte = (aqz_mean){out->nll.mean * per_byte, out->nll.error * per_byte};
	if (e->n_models == 2) {
		aqz_mean reference = aqz_tally_mean(&e->nll[1]);

		out->has_reference = true;
		out->reference_perplexity.mean = exp(reference.mean);
		out->reference_perplexity.error = out->reference_perplexity.mean * reference.error;
		out->kl = aqz_tally_mean(&e->kl);
		out->top1_agreement = aqz_tally_mean(&e->agree);
	}
	out->seconds = now() - start;
}

aqz_status aqz_evaluate(aqz_evaluation *out, const aqz_model *model, const aqz_model *reference,
	const aqz_windows *windows, const aqz_evaluate_options *opt, aqz_error *err)
{
	static const aqz_evaluate_options defaults = {.struct_size = sizeof defaults};
	eval e = {.models = {model, reference}, .n_models = reference != NULL ? 2 : 1};
	const double start = now();
	uint64_t longest = 0, batch;
	aqz_blas blas;
	aqz_status status;

	if (opt == NULL)
		opt = &defaults;
	if (opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	if (out == NULL || model == NULL || windows == NULL)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "", "an evaluation needs a model and windows");
	blas = aqz_blas_begin();
	e.opt = opt;
	e.windows = windows;
	e.vocabulary = model->config.vocabulary;
	e.n_threads = aqz_threads(opt->n_threads);
	e.budget.limit_bytes = opt->memlimit_bytes;
	AQZ_TRY(check(&e, err));
	for (uint32_t i = 0; i < windows->n_windows; i++)
		if (windows->begin[i + 1] - windows->begin[i] > longest)
			longest = windows->begin[i + 1] - windows->begin[i];
	e.all_tokens = windows->begin[windows->n_windows];
	batch = longest > BATCH_TOKENS ? longest : aqz_min(BATCH_TOKENS, e.all_tokens);
	status = reserve(&e, batch, err);
	if (status == AQZ_E_MEMLIMIT && batch > longest) {
		/* One window at a time has to do. */
		release(&e);
		status = reserve(&e, longest, err);
	}
	if (status != AQZ_OK)
		goto out;
	for (uint32_t first = 0, last; first < windows->n_windows; first = last) {
		last = batch_end(&e, first);
		AQZ_TRY(run_batch(&e, first, last, err));
	}
	report(out, &e, start);
out:
	release(&e);
	aqz_blas_end(&blas);
	return status;
}
