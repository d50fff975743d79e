/* SPDX-License-Identifier: Apache-2.0 */
/* A model of the Llama family in binary64, as plainly as it can be written, and all its parameters in one array: what
 * the passes of model/ are compared with. */
#ifndef AQZ_TEST_PLAIN_MODEL_H
#define AQZ_TEST_PLAIN_MODEL_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/forward.h"

enum { PLAIN_LAYERS = 4, PLAIN_X = 0, PLAIN_FINAL, PLAIN_HEAD, PLAIN_BLOCK };
/* Sections of a block: matrices, biases, then the norms. */
enum { PLAIN_BIAS = AQZ_N_LINEARS, PLAIN_ATTENTION = 2 * AQZ_N_LINEARS, PLAIN_FFN, PLAIN_Q, PLAIN_K, PLAIN_PER_BLOCK };
enum { PLAIN_SECTIONS = PLAIN_BLOCK + PLAIN_LAYERS * PLAIN_PER_BLOCK };

/* Section i is [begin[i], begin[i + 1]); those that the model does not have are empty. The first is the input
 * [T][hidden]. */
typedef struct plain {
	const aqz_model *m;
	size_t n_tokens, begin[PLAIN_SECTIONS + 1];
	int n_sections;
	double *p;
} plain;

static inline int plain_section(uint32_t layer, int which)
{
	return PLAIN_BLOCK + (int)layer * PLAIN_PER_BLOCK + which;
}

static inline void plain_matrix(double *to, const aqz_weight *w)
{
	float *rows = malloc(w->rows * w->cols * sizeof *rows);

	aqz_weight_rows(rows, w->cols, w, 0, w->rows);
	for (size_t i = 0; i < w->rows * w->cols; i++)
		to[i] = rows[i];
	free(rows);
}

static inline void plain_vector(double *to, const float *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = v[i];
}

/* Copies the parameters; ids give the input. Free p. */
static inline plain plain_of(const aqz_model *m, const uint32_t *ids, size_t n)
{
	const aqz_model_config *c = &m->config;
	plain s = {.m = m, .n_tokens = n, .n_sections = plain_section(c->n_layers, 0)};
	size_t sizes[PLAIN_SECTIONS] = {n * c->hidden, c->hidden, (size_t)c->vocabulary * c->hidden};
	double *table;

	for (uint32_t l = 0; l < c->n_layers; l++) {
		size_t *of = sizes + plain_section(l, 0);

		for (aqz_linear_kind k = 0; k < AQZ_N_LINEARS; k++) {
			of[k] = m->blocks[l].linear[k].rows * m->blocks[l].linear[k].cols;
			of[PLAIN_BIAS + k] = m->blocks[l].linear[k].bias != NULL ? m->blocks[l].linear[k].rows : 0;
		}
		of[PLAIN_ATTENTION] = of[PLAIN_FFN] = c->hidden;
		of[PLAIN_Q] = of[PLAIN_K] = c->qk_norm ? c->head_dim : 0;
	}
	for (int i = 0; i < s.n_sections; i++)
		s.begin[i + 1] = s.begin[i] + sizes[i];
	s.p = calloc(s.begin[s.n_sections], sizeof *s.p);
	table = calloc((size_t)c->vocabulary * c->hidden, sizeof *table);
	plain_matrix(table, &m->embedding);
	for (size_t t = 0; t < n; t++)
		memcpy(s.p + t * c->hidden, table + ids[t] * c->hidden, c->hidden * sizeof *table);
	free(table);
	plain_vector(s.p + s.begin[PLAIN_FINAL], m->final_norm, c->hidden);
	plain_matrix(s.p + s.begin[PLAIN_HEAD], &m->head);
	for (uint32_t l = 0; l < c->n_layers; l++) {
		const aqz_block *b = &m->blocks[l];
		const size_t *at = s.begin + plain_section(l, 0);

		for (aqz_linear_kind k = 0; k < AQZ_N_LINEARS; k++) {
			plain_matrix(s.p + at[k], &b->linear[k]);
			if (b->linear[k].bias != NULL)
				plain_vector(s.p + at[PLAIN_BIAS + k], b->linear[k].bias, b->linear[k].rows);
		}
		plain_vector(s.p + at[PLAIN_ATTENTION], b->attention_norm, c->hidden);
		plain_vector(s.p + at[PLAIN_FFN], b->ffn_norm, c->hidden);
		if (c->qk_norm) {
			plain_vector(s.p + at[PLAIN_Q], b->q_norm, c->head_dim);
			plain_vector(s.p + at[PLAIN_K], b->k_norm, c->head_dim);
		}
	}
	return s;
}

static inline void plain_norm(double *y, const double *x, const double *w, size_t n, double eps)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	sum = 1 / sqrt(sum / (double)n + eps);
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * sum * w[i];
}

static inline void plain_product(
	double *y, const double *w, const double *bias, const double *x, size_t rows, size_t cols)
{
	for (size_t r = 0; r < rows; r++) {
		double sum = bias != NULL ? bias[r] : 0;

		for (size_t i = 0; i < cols; i++)
			sum += w[r * cols + i] * x[i];
		y[r] = sum;
	}
}

static inline void plain_linear(double *y, const plain *s, const double *p, uint32_t layer, int kind, const double *x)
{
	const size_t *at = s->begin + plain_section(layer, 0);
	const aqz_weight *w = &s->m->blocks[layer].linear[kind];

	plain_product(y, p + at[kind], w->bias != NULL ? p + at[PLAIN_BIAS + kind] : NULL, x, w->rows, w->cols);
}

static inline void plain_turn(double *x, const plain *s, size_t position)
{
	const size_t half = s->m->config.head_dim / 2;

	for (size_t i = 0; i < half; i++) {
		const double angle = (double)position * s->m->rope_inverse[i], a = x[i], b = x[i + half];

		x[i] = a * cos(angle) - b * sin(angle);
		x[i + half] = b * cos(angle) + a * sin(angle);
	}
}

/* One head of query token t over the keys that it sees; p: scratch. */
static inline void plain_attend(double *out, const double *q, const double *k, const double *v, size_t ld, size_t t,
	size_t first, size_t dim, double *p)
{
	double top = -INFINITY, sum = 0;

	for (size_t j = first; j <= t; j++) {
		p[j] = 0;
		for (size_t d = 0; d < dim; d++)
			p[j] += q[d] * k[j * ld + d] / sqrt((double)dim);
		top = fmax(top, p[j]);
	}
	for (size_t j = first; j <= t; j++)
		sum += p[j] = exp(p[j] - top);
	for (size_t d = 0; d < dim; d++) {
		out[d] = 0;
		for (size_t j = first; j <= t; j++)
			out[d] += p[j] / sum * v[j * ld + d];
	}
}

/* x [T][hidden] through one block, in place. */
static inline void plain_block(double *x, const plain *s, const double *p, uint32_t layer)
{
	const aqz_model_config *c = &s->m->config;
	const size_t n = s->n_tokens, h = c->hidden, dim = c->head_dim, qd = c->n_heads * dim, kd = c->n_kv_heads * dim;
	const size_t *at = s->begin + plain_section(layer, 0), group = c->n_heads / c->n_kv_heads;
	const size_t widest = h + c->intermediate + qd + n;
	double *q = calloc(n * (qd + 2 * kd) + 3 * widest, sizeof *q), *k = q + n * qd, *v = k + n * kd;
	double *a = v + n * kd, *b = a + widest, *e = b + widest;

	for (size_t t = 0; t < n; t++) {
		plain_norm(a, x + t * h, p + at[PLAIN_ATTENTION], h, c->rms_eps);
		plain_linear(q + t * qd, s, p, layer, AQZ_LINEAR_Q, a);
		plain_linear(k + t * kd, s, p, layer, AQZ_LINEAR_K, a);
		plain_linear(v + t * kd, s, p, layer, AQZ_LINEAR_V, a);
		for (size_t i = 0; i < c->n_heads + c->n_kv_heads; i++) {
			const bool key = i >= c->n_heads;
			double *head = key ? k + t * kd + (i - c->n_heads) * dim : q + t * qd + i * dim;

			if (c->qk_norm)
				plain_norm(head, head, p + at[key ? PLAIN_K : PLAIN_Q], dim, c->rms_eps);
			plain_turn(head, s, t);
		}
	}
	for (size_t t = 0; t < n; t++) {
		const size_t window = layer >= c->window_from ? c->window : 0;
		const size_t first = window != 0 && t >= window ? t + 1 - window : 0;

		for (size_t i = 0; i < c->n_heads; i++)
			plain_attend(a + i * dim, q + t * qd + i * dim, k + i / group * dim, v + i / group * dim, kd, t, first, dim,
				b);
		plain_linear(b, s, p, layer, AQZ_LINEAR_O, a);
		for (size_t i = 0; i < h; i++)
			x[t * h + i] += b[i];
		plain_norm(e, x + t * h, p + at[PLAIN_FFN], h, c->rms_eps);
		plain_linear(a, s, p, layer, AQZ_LINEAR_GATE, e);
		plain_linear(b, s, p, layer, AQZ_LINEAR_UP, e);
		for (size_t i = 0; i < c->intermediate; i++)
			a[i] = a[i] / (1 + exp(-a[i])) * b[i];
		plain_linear(b, s, p, layer, AQZ_LINEAR_DOWN, a);
		for (size_t i = 0; i < h; i++)
			x[t * h + i] += b[i];
	}
	free(q);
}

/* The sum of the losses of labels, with parameters p. */
static inline double plain_loss(const plain *s, const double *p, const uint32_t *labels)
{
	const aqz_model_config *c = &s->m->config;
	const size_t h = c->hidden;
	double *x = malloc((s->n_tokens * h + h + c->vocabulary) * sizeof *x), *a = x + s->n_tokens * h, *logits = a + h;
	double loss = 0;

	memcpy(x, p, s->n_tokens * h * sizeof *x);
	for (uint32_t l = 0; l < c->n_layers; l++)
		plain_block(x, s, p, l);
	for (size_t t = 0; t < s->n_tokens; t++) {
		double sum = 0;

		if (labels[t] == AQZ_NO_TOKEN)
			continue;
		plain_norm(a, x + t * h, p + s->begin[PLAIN_FINAL], h, c->rms_eps);
		plain_product(logits, p + s->begin[PLAIN_HEAD], NULL, a, c->vocabulary, h);
		for (size_t i = 0; i < c->vocabulary; i++)
			sum += exp(logits[i]);
		loss += log(sum) - logits[labels[t]];
	}
	free(x);
	return loss;
}

#endif
