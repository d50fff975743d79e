/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a model backward: cross-entropy, head and final norm, for some rows of logits at a time. */
#include <math.h>

#include "codec/encode/blas.h"
#include "model/back.h"

/* The odd constant of splitmix64 (Steele, Lea and Flood, doi:10.1145/2660193.2660195). */
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

/* The n-th number of splitmix64 from state, n = 1, 2, ..., as a value in [0, 1). Numbers do not depend on each other:
 * which thread asks does not matter. */
static double uniform(uint64_t state, uint64_t n)
{
	uint64_t z = state + n * GOLDEN;

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (double)(z >> 11) * 0x1p-53;
}

/* The first token up to which the probabilities e[i] / sum exceed at; the last possible one if rounding leaves none. */
static uint32_t draw(const float *e, size_t n, double sum, double at)
{
	double reached = 0;
	uint32_t last = 0;

	for (size_t i = 0; i < n; i++) {
		reached += (double)e[i];
		if (e[i] > 0)
			last = (uint32_t)i;
		if (reached > at * sum)
			return (uint32_t)i;
	}
	return last;
}

/* A row of logits becomes the gradient of its loss, softmax - onehot; *loss = -ln softmax[label]. at: draw the label
 * first by this number, unless it is negative. */
static void row_back(
	float *row, uint32_t *label, double *loss, size_t n, double at, const aqz_math *math)
{
	const float top = math->max(row, n);
	float chosen, inverse;
	double sum = 0;

	if (at < 0 && *label == AQZ_NO_TOKEN) {
		memset(row, 0, n * sizeof *row);
		*loss = 0;
		return;
	}
	chosen = at < 0 ? row[*label] - top : 0;
	math->exp_shift(row, row, top, n);
	for (size_t i = 0; i < n; i++)
		sum += (double)row[i];
	if (at >= 0) {
		*label = draw(row, n, sum, at);
		*loss = log(sum) - log((double)row[*label]);
	} else
		*loss = log(sum) - (double)chosen;
	inverse = (float)(1 / sum);
	math->scale(row, inverse, n);
	row[*label] -= 1;
}

aqz_status aqz_back_head(aqz_back *back, const float *x, float *dx, uint32_t *labels, size_t n,
	bool sample, uint64_t *seed, double *losses, double *final_norm, aqz_gradient_fn *head,
	void *user)
{
	const aqz_model *m = back->m;
	const aqz_kept *k = &back->kept;
	const size_t hidden = m->config.hidden, vocabulary = m->config.vocabulary;
	const aqz_blas blas = aqz_blas_begin();
	aqz_status status = AQZ_OK;

	for (size_t first = 0; first < n; first += back->head_rows) {
		const size_t n_rows = (size_t)aqz_min(back->head_rows, n - first);
		const float *from = x + first * hidden;

		aqz_norm_keep(k->normed, k->inverse, from, m->final_norm, n_rows, hidden, back);
		aqz_linear_forward(k->logits, vocabulary, &m->head, k->normed, hidden, n_rows, &back->work);
#pragma omp parallel for schedule(static) num_threads(back->work.n_threads)
		for (size_t t = 0; t < n_rows; t++) {
			const size_t token = first + t;
			double loss;

			row_back(k->logits + t * vocabulary, &labels[token], &loss, vocabulary,
				sample ? uniform(*seed, token + 1) : -1, back->work.math);
			if (losses != NULL)
				losses[token] = loss;
		}
		if (head != NULL)
			AQZ_TRY(head(user, m->config.n_layers, AQZ_N_LINEARS, k->normed, hidden, k->logits,
				vocabulary, n_rows));
		memset(k->d_normed, 0, n_rows * hidden * sizeof *k->d_normed);
		aqz_linear_backward(
			k->d_normed, hidden, &m->head, k->logits, vocabulary, n_rows, &back->work);
		aqz_norm_back(dx + first * hidden, false, final_norm, k->d_normed, from, k->inverse,
			m->final_norm, n_rows, hidden, back);
	}
	if (sample)
		*seed += n * GOLDEN;
out:
	aqz_blas_end(&blas);
	return status;
}
