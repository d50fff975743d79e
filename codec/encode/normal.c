/* SPDX-License-Identifier: Apache-2.0 */
/* Codebooks and scales in the metric of the inputs, given the codes.
 *
 * The loss is quadratic in the codebooks: its normal equations are solved by conjugate gradients, with the diagonal as
 * preconditioner. The matrix is never formed; its product with codebooks V is "decode with V, times H, add each group's
 * part to its codewords" (AQLM, section 3.3, does gradient steps by Adam instead). A row's scale has a closed form. */
#include <cblas.h>
#include <math.h>

#include "codec/encode/metric.h"

/* A system whose residual is this small, as a share of the energy, is left alone: what remains is rounding. */
#define CONVERGED 1e-9

/* ---- Tasks of rows */

typedef struct rows {
	aqz_metric *l;
	uint64_t row, n_rows; /* of the matrix */
	uint64_t code_row, n_code_rows;
	float *decoded, *product; /* [n_rows][cols] */
} rows;

uint64_t aqz_normal_scratch_bytes(const aqz_scheme *scheme, uint64_t cols)
{
	return 2 *
		((aqz_task_code_rows(scheme) * scheme->out_group * cols * sizeof(float) + 63) / 64 * 64);
}

static uint64_t n_tasks(const aqz_metric *l)
{
	return aqz_ceil_div(l->a.code_rows, aqz_task_code_rows(&l->a.scheme));
}

static rows task_rows(const aqz_tuner *t, aqz_metric *l, uint64_t task)
{
	const aqz_scheme *s = &l->a.scheme;
	const uint64_t each = aqz_task_code_rows(s);
	uint8_t *scratch = aqz_tuner_scratch(t);
	rows r = {.l = l, .code_row = task * each, .row = task * each * s->out_group};

	r.n_code_rows = aqz_min(each, l->a.code_rows - r.code_row);
	r.n_rows = aqz_min(r.n_code_rows * s->out_group, l->a.rows - r.row);
	r.decoded = (void *)scratch;
	r.product = (void *)(scratch + aqz_normal_scratch_bytes(s, l->a.cols) / 2);
	return r;
}

/* decoded = sums of codewords, times the scale if scaled. */
static void decode(const rows *r, const float *codebooks, bool scaled)
{
	const aqz_matrix *a = &r->l->a;
	const unsigned g = a->scheme.in_group, n_codebooks = a->scheme.n_codebooks, d = a->n_values;
	const size_t per_book = ((size_t)1 << a->scheme.code_bits) * d;

	for (uint64_t row = 0; row < r->n_rows; row++) {
		const uint64_t i = r->code_row + row / a->scheme.out_group;
		const uint16_t *codes = r->l->codes + i * a->groups * n_codebooks;
		const size_t o = row % a->scheme.out_group * g;
		const float scale = scaled ? r->l->scales[i] : 1;
		float *to = r->decoded + row * a->cols;

		for (uint64_t j = 0; j < a->groups; j++, codes += n_codebooks, to += g) {
			const unsigned n_cols = aqz_group_cols(a, j);
			float sum[AQZ_MAX_CODEWORD];

			memcpy(sum, codebooks + codes[0] * (size_t)d + o, g * sizeof *sum);
			for (unsigned m = 1; m < n_codebooks; m++) {
				const float *codeword = codebooks + m * per_book + codes[m] * (size_t)d + o;

				for (unsigned q = 0; q < g; q++)
					sum[q] += codeword[q];
			}
			for (unsigned q = 0; q < n_cols; q++)
				to[q] = sum[q] * scale;
		}
	}
}

/* product = from times H. */
static void multiply(const rows *r, const float *from)
{
	const int n = (int)r->l->a.cols;

	if (r->l->hessian == NULL)
		memcpy(r->product, from, r->n_rows * r->l->a.cols * sizeof *from);
	else
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)r->n_rows, n, n, 1, from, n,
			r->l->hessian, n, 0, r->product, n);
}

/* Adds product to the codewords that the rows' codes name, times scale and weight. */
static void scatter(const rows *r, float *out)
{
	const aqz_matrix *a = &r->l->a;
	const unsigned g = a->scheme.in_group, n_codebooks = a->scheme.n_codebooks, d = a->n_values;
	const size_t per_book = ((size_t)1 << a->scheme.code_bits) * d;

	for (uint64_t row = 0; row < r->n_rows; row++) {
		const uint64_t i = r->code_row + row / a->scheme.out_group;
		const uint16_t *codes = r->l->codes + i * a->groups * n_codebooks;
		const size_t o = row % a->scheme.out_group * g;
		/* The weight alone may be beyond binary32. */
		const float factor = (float)((double)r->l->scales[i] * r->l->weight);
		const float *from = r->product + row * a->cols;

		for (uint64_t j = 0; j < a->groups; j++, codes += n_codebooks, from += g) {
			const unsigned n_cols = aqz_group_cols(a, j);

			for (unsigned m = 0; m < n_codebooks; m++) {
				float *codeword = out + m * per_book + codes[m] * (size_t)d + o;

				for (unsigned q = 0; q < n_cols; q++)
					codeword[q] += factor * from[q];
			}
		}
	}
}

/* ---- Errors and loss */

void aqz_errors(aqz_tuner *t, aqz_metric *l, const float *codebooks)
{
#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic)
	for (uint64_t task = 0; task < n_tasks(l); task++) {
		const rows r = task_rows(t, l, task);
		const float *w = l->a.w + r.row * l->a.cols;
		float *error = l->error + r.row * l->a.cols;

		decode(&r, codebooks, true);
		for (uint64_t k = 0; k < r.n_rows * l->a.cols; k++)
			error[k] = w[k] - r.decoded[k];
	}
}

static double dot(const float *a, const float *b, uint64_t n)
{
	double sum = 0;

	for (uint64_t k = 0; k < n; k++)
		sum += (double)a[k] * b[k];
	return sum;
}

double aqz_loss(aqz_tuner *t, const aqz_metric *layer)
{
	aqz_metric copy = *layer, *l = &copy;
	double parts[AQZ_PARTS] = {0}, sum = 0;

#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic)
	for (unsigned p = 0; p < AQZ_PARTS; p++)
		for (uint64_t task = p; task < n_tasks(l); task += AQZ_PARTS) {
			const rows r = task_rows(t, l, task);
			const float *error = l->error + r.row * l->a.cols;

			multiply(&r, error);
			parts[p] += dot(error, r.product, r.n_rows * l->a.cols);
		}
	for (unsigned p = 0; p < AQZ_PARTS; p++)
		sum += parts[p];
	return l->energy > 0 ? sum / l->energy : 0;
}

/* ---- Codebooks */

typedef struct solver {
	aqz_tuner *t;
	size_t n;										 /* values of all codebooks */
	float *residual, *direction, *product, *inverse; /* [n]; inverse of the diagonal */
} solver;

/* out = the operator on v, or with v NULL the right-hand side for the errors as they are. */
static void operate(const solver *s, float *out, const float *v)
{
	aqz_tuner *t = s->t;

#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic)
	for (unsigned p = 0; p < AQZ_PARTS; p++) {
		memset(t->parts + p * s->n, 0, s->n * sizeof *t->parts);
		for (uint32_t i = 0; i < t->n_layers; i++)
			for (uint64_t task = p; task < n_tasks(&t->layers[i]); task += AQZ_PARTS) {
				const rows r = task_rows(t, &t->layers[i], task);

				if (v != NULL)
					decode(&r, v, true);
				multiply(&r, v != NULL ? r.decoded : r.l->error + r.row * r.l->a.cols);
				scatter(&r, t->parts + p * s->n);
			}
	}
#pragma omp parallel for num_threads(t->e->n_threads) schedule(static)
	for (size_t k = 0; k < s->n; k++) {
		double sum = 0;

		for (unsigned p = 0; p < AQZ_PARTS; p++)
			sum += t->parts[p * s->n + k];
		out[k] = (float)sum;
	}
}

/* The diagonal: for each value of a codeword the sum over its uses of scale^2 H_qq. */
static void invert_diagonal(const solver *s)
{
	aqz_tuner *t = s->t;

#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic)
	for (unsigned p = 0; p < AQZ_PARTS; p++) {
		memset(t->parts + p * s->n, 0, s->n * sizeof *t->parts);
		for (uint32_t i = 0; i < t->n_layers; i++)
			for (uint64_t task = p; task < n_tasks(&t->layers[i]); task += AQZ_PARTS) {
				const rows r = task_rows(t, &t->layers[i], task);
				const uint64_t n = r.l->a.cols;

				for (uint64_t row = 0; row < r.n_rows; row++) {
					const float scale = r.l->scales[r.code_row + row / r.l->a.scheme.out_group];

					for (uint64_t c = 0; c < n; c++)
						r.product[row * n + c] =
							scale * (r.l->hessian != NULL ? r.l->hessian[c * n + c] : 1);
				}
				scatter(&r, t->parts + p * s->n);
			}
	}
	for (size_t k = 0; k < s->n; k++) {
		double sum = 0;

		for (unsigned p = 0; p < AQZ_PARTS; p++)
			sum += t->parts[p * s->n + k];
		s->inverse[k] = sum > 0 ? (float)(1 / sum) : 0;
	}
}

/* sum of a b c. */
static double dot3(const float *a, const float *b, const float *c, size_t n)
{
	double sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += (double)a[k] * b[k] * c[k];
	return sum;
}

void aqz_normal(aqz_tuner *t, unsigned steps)
{
	aqz_encoder *e = t->e;
	const size_t n = aqz_codewords(&e->a.scheme) * e->a.n_values;
	const solver s = {t, n, e->work, e->work + n, e->work + 2 * n, e->work + 3 * n};
	double norm, energy = 0;

	for (uint32_t i = 0; i < t->n_layers; i++)
		energy += t->layers[i].energy * t->layers[i].weight;
	invert_diagonal(&s);
	operate(&s, s.residual, NULL);
	for (size_t k = 0; k < n; k++)
		s.direction[k] = s.residual[k] * s.inverse[k];
	norm = dot3(s.residual, s.residual, s.inverse, n);
	for (unsigned step = 0; step < steps && norm > CONVERGED * energy; step++) {
		double curvature, next;
		float move, keep;

		operate(&s, s.product, s.direction);
		curvature = dot(s.direction, s.product, n);
		if (curvature <= 0)
			break;
		move = (float)(norm / curvature);
		for (size_t k = 0; k < n; k++) {
			e->codebooks[k] += move * s.direction[k];
			s.residual[k] -= move * s.product[k];
		}
		next = dot3(s.residual, s.residual, s.inverse, n);
		keep = (float)(next / norm);
		norm = next;
		for (size_t k = 0; k < n; k++)
			s.direction[k] = s.residual[k] * s.inverse[k] + keep * s.direction[k];
	}
	for (uint32_t i = 0; i < t->n_layers; i++)
		aqz_errors(t, &t->layers[i], e->codebooks);
}

/* ---- Scales */

/* With E = W - s Q: the best scale is s + <E, Q> / <Q, Q> in the metric. It is taken if the loss falls with it as it is
 * stored. */
static void refit_code_row(const rows *r, uint64_t i, aqz_dtype dtype)
{
	const aqz_matrix *a = &r->l->a;
	const uint64_t begin = i * a->scheme.out_group,
				   end = aqz_min(begin + a->scheme.out_group, r->n_rows);
	const uint64_t n = (end - begin) * a->cols;
	const float *q = r->decoded + begin * a->cols, *qh = r->product + begin * a->cols;
	float *error = r->l->error + (r->row + begin) * a->cols, *scale = &r->l->scales[r->code_row + i];
	const double qq = dot(q, qh, n), eq = dot(error, qh, n);
	const double best = qq > 0 ? *scale + eq / qq : *scale;
	const float next = aqz_stored_scale((float)best, dtype);
	const float move = next - *scale;

	/* A row that was met badly may ask for a scale far away; codes of the next sweep would not fit it. */
	if (qq <= 0 || move == 0 || best < *scale / 4.0 || best > *scale * 4.0 ||
		move * (move * qq - 2 * eq) >= 0)
		return;
	*scale = next;
	for (uint64_t k = 0; k < n; k++)
		error[k] -= move * q[k];
}

void aqz_refit(aqz_tuner *t, aqz_metric *l, aqz_dtype dtype)
{
#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic)
	for (uint64_t task = 0; task < n_tasks(l); task++) {
		const rows r = task_rows(t, l, task);

		decode(&r, t->e->codebooks, false);
		multiply(&r, r.decoded);
		for (uint64_t i = 0; i < r.n_code_rows; i++)
			refit_code_row(&r, i, dtype);
	}
}
