/* SPDX-License-Identifier: Apache-2.0 */
/* A layer in the metric of its inputs: the factors of H and the feedback between groups (metric.h). */
#include <cblas.h>
#include <inttypes.h>
#include <math.h>

#include "codec/encode/factor.h"
#include "codec/encode/metric.h"

/* What keeps H_jj regular in the descent, as a share of the mean diagonal: inputs that are dead get some metric. */
#define RIDGE 1e-7

/* ---- Memory */

static void sizes_of(uint64_t sizes[6], const aqz_matrix *a, bool has_hessian)
{
	const uint64_t g = a->scheme.in_group;

	sizes[0] = a->groups * g * g * sizeof(float);
	sizes[1] = has_hessian ? a->cols * a->cols * sizeof(float) : 0;
	sizes[2] = a->groups * sizeof(uint32_t);
	sizes[3] = a->rows * a->cols * sizeof(float);
	sizes[4] = a->code_rows * sizeof(float);
	sizes[5] = a->code_rows * a->groups * a->scheme.n_codebooks * sizeof(uint16_t);
}

uint64_t aqz_metric_bytes(const aqz_matrix *a, bool has_hessian)
{
	uint64_t sizes[6], sum = 0;

	sizes_of(sizes, a, has_hessian);
	for (int i = 0; i < 6; i++)
		sum += sizes[i];
	return sum;
}

uint64_t aqz_metric_start_bytes(const aqz_matrix *a, bool has_hessian)
{
	return has_hessian ? a->cols * a->cols * sizeof(double) : 0;
}

aqz_status aqz_metric_create(
	aqz_metric *l, const aqz_matrix *a, const float *hessian, aqz_budget *budget, aqz_error *err)
{
	uint64_t sizes[6];
	void *parts[6] = {NULL};
	aqz_status status = AQZ_OK;

	sizes_of(sizes, a, hessian != NULL);
	for (int i = 0; i < 6 && status == AQZ_OK; i++)
		if (sizes[i] != 0)
			status = aqz_budget_alloc(budget, &parts[i], sizes[i], "a layer", err);
	*l = (aqz_metric){
		.a = *a,
		.hessian = hessian,
		.factor = parts[0],
		.feedback = parts[1],
		.order = parts[2],
		.error = parts[3],
		.scales = parts[4],
		.codes = parts[5],
	};
	if (status != AQZ_OK)
		aqz_metric_free(l, budget);
	return status;
}

void aqz_metric_free(aqz_metric *l, aqz_budget *budget)
{
	uint64_t sizes[6];

	sizes_of(sizes, &l->a, l->hessian != NULL);
	aqz_budget_free(budget, l->factor, sizes[0]);
	aqz_budget_free(budget, l->feedback, sizes[1]);
	aqz_budget_free(budget, l->order, sizes[2]);
	aqz_budget_free(budget, l->error, sizes[3]);
	aqz_budget_free(budget, l->scales, sizes[4]);
	aqz_budget_free(budget, l->codes, sizes[5]);
	*l = (aqz_metric){0};
}

/* ---- The start */

/* The sum of the diagonal, or a failure. */
static aqz_status check_hessian(double *trace, const aqz_metric *l, unsigned n_threads, aqz_error *err)
{
	const uint64_t n = l->a.cols;
	uint64_t bad = 0;

#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(+ : bad)
	for (uint64_t i = 0; i < n; i++) {
		uint64_t in_row = 0;

		for (uint64_t k = 0; k < n; k++)
			in_row += isfinite(l->hessian[i * n + k]) ? 0 : 1;
		bad += in_row + (l->hessian[i * n + i] < 0 ? 1 : 0);
	}
	if (bad != 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "hessian",
			"%" PRIu64 " of its values are not finite, or negative on the diagonal", bad);
	*trace = 0;
	for (uint64_t i = 0; i < n; i++)
		*trace += l->hessian[i * n + i];
	return AQZ_OK;
}

/* tr(W H W^T) by row tasks, added in order; error serves as scratch. */
static double energy_of(aqz_metric *l, unsigned n_threads)
{
	const uint64_t n = l->a.cols, n_tasks = aqz_ceil_div(l->a.rows, AQZ_TASK_ROWS);
	double sum = 0;

#pragma omp parallel for num_threads(n_threads) schedule(dynamic)
	for (uint64_t task = 0; task < n_tasks; task++) {
		const uint64_t row = task * AQZ_TASK_ROWS,
					   n_rows = aqz_min((uint64_t)AQZ_TASK_ROWS, l->a.rows - row);
		const float *w = l->a.w + row * n;
		float *wh = l->error + row * n;
		double part = 0;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n_rows, (int)n, (int)n, 1, w,
			(int)n, l->hessian, (int)n, 0, wh, (int)n);
		for (uint64_t i = 0; i < n_rows * n; i++)
			part += (double)w[i] * wh[i];
		memcpy(wh, &part, sizeof part);
	}
	for (uint64_t task = 0; task < n_tasks; task++) {
		double part;

		memcpy(&part, l->error + task * AQZ_TASK_ROWS * n, sizeof part);
		sum += part;
	}
	return sum;
}

/* Inputs that are all but dead must not shape scales and codebooks: error becomes w without them; false if all live. */
static bool hide_dead(aqz_metric *l, double mean)
{
	const uint64_t n = l->a.cols;
	bool some = false;

	for (uint64_t k = 0; k < n; k++) {
		if (l->hessian[k * n + k] > RIDGE * mean)
			continue;
		if (!some)
			memcpy(l->error, l->a.w, l->a.rows * n * sizeof *l->error);
		some = true;
		for (uint64_t row = 0; row < l->a.rows; row++)
			l->error[row * n + k] = 0;
	}
	return some;
}

aqz_status aqz_metric_begin(aqz_metric *l, unsigned n_threads, aqz_error *err)
{
	double *energy = NULL, trace = 0;
	aqz_status status = AQZ_OK;

	energy = malloc(l->a.code_rows * sizeof *energy);
	if (energy == NULL)
		AQZ_TRY(aqz_fail_nomem(err, l->a.code_rows * sizeof *energy));
	AQZ_TRY(aqz_start_scales(l->scales, energy, &l->exponent, &l->a, n_threads, err));
	if (l->hessian != NULL)
		AQZ_TRY(check_hessian(&trace, l, n_threads, err));
	l->energy = 0;
	l->start_w = l->a.w;
	if (trace <= 0) {
		for (uint64_t i = 0; i < l->a.code_rows; i++)
			l->energy += energy[i];
		goto out;
	}
	l->energy = energy_of(l, n_threads);
	if (hide_dead(l, trace / (double)l->a.cols)) {
		aqz_matrix live = l->a;

		live.w = l->start_w = l->error;
		AQZ_TRY(aqz_start_scales(l->scales, energy, &l->exponent, &live, n_threads, err));
	}
out:
	free(energy);
	return status;
}

/* Groups that matter most come first in the encoding: those after them make up for their errors. */
static void order_groups(aqz_metric *l, const double *importance)
{
	const uint64_t n = l->a.groups;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = i;

		for (; at > 0 && importance[l->order[at - 1]] < importance[i]; at--)
			l->order[at] = l->order[at - 1];
		l->order[at] = (uint32_t)i;
	}
}

static void identity(aqz_metric *l)
{
	const unsigned g = l->a.scheme.in_group;

	memset(l->factor, 0, l->a.groups * g * g * sizeof(float));
	for (uint64_t j = 0; j < l->a.groups; j++) {
		l->order[j] = (uint32_t)j;
		for (unsigned q = 0; q < aqz_group_cols(&l->a, j); q++)
			aqz_factor(l, j)[q * g + q] = 1;
	}
}

/* Mean of the diagonal; 1 where there is nothing. */
static double mean_diagonal(const aqz_metric *l)
{
	const uint64_t n = l->a.cols;
	double sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += l->hessian[i * n + i];
	return sum > 0 ? sum / (double)n : 1;
}

/* The groups' columns in the order of the factorization: the group that is encoded first comes last. */
static void place_columns(uint32_t *place, const aqz_metric *l)
{
	uint32_t at = 0;

	for (uint64_t i = l->a.groups; i-- > 0;) {
		const uint64_t j = l->order[i], col = j * l->a.scheme.in_group;

		for (unsigned q = 0; q < aqz_group_cols(&l->a, j); q++)
			place[at++] = (uint32_t)(col + q);
	}
}

aqz_status aqz_metric_ldl(aqz_metric *l, unsigned n_threads, aqz_budget *budget, aqz_error *err)
{
	const uint64_t n = l->a.cols, groups = l->a.groups;
	const unsigned g = l->a.scheme.in_group;
	const uint64_t bytes = aqz_metric_start_bytes(&l->a, l->hessian != NULL);
	double *matrix = NULL, *importance = NULL;
	uint32_t *place = NULL;
	void *memory = NULL;
	aqz_status status = AQZ_OK;

	memset(l->error, 0, l->a.rows * n * sizeof(float));
	if (l->hessian == NULL) {
		identity(l);
		return AQZ_OK;
	}
	AQZ_TRY(aqz_budget_alloc(budget, &memory, bytes, "the Cholesky factor", err));
	matrix = memory;
	importance = calloc(groups, sizeof *importance);
	place = malloc(n * sizeof *place);
	if (importance == NULL || place == NULL)
		AQZ_TRY(aqz_fail_nomem(err, groups * sizeof *importance + n * sizeof *place));
	for (uint64_t i = 0; i < n; i++)
		importance[i / g] += l->hessian[i * n + i];
	order_groups(l, importance);
	place_columns(place, l);
	AQZ_TRY(aqz_cholesky(matrix, l->hessian, n, place, 0, n_threads, err));
	memset(l->factor, 0, groups * g * g * sizeof(float));
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (uint64_t i = 0; i < n; i++) {
		const uint64_t row = place[i];

		for (uint64_t k = 0; k < n; k++) {
			const uint64_t col = place[k];
			const float value = k <= i ? (float)matrix[i * n + k] : 0;

			if (row / g == col / g) {
				aqz_factor(l, row / g)[row % g * g + col % g] = value;
				l->feedback[row * n + col] = 0;
			} else {
				l->feedback[row * n + col] = value;
			}
		}
	}
out:
	aqz_budget_free(budget, memory, bytes);
	free(importance);
	free(place);
	return status;
}

/* ---- The descent */

/* Lower Cholesky factor of the group's own block, with a ridge that makes it regular. */
static void factor_group(aqz_metric *l, uint64_t j, double mean)
{
	const unsigned g = l->a.scheme.in_group, n_cols = aqz_group_cols(&l->a, j);
	const uint64_t n = l->a.cols, col = j * g;
	double a[AQZ_MAX_CODEWORD][AQZ_MAX_CODEWORD];
	float *out = aqz_factor(l, j);

	memset(out, 0, (size_t)g * g * sizeof *out);
	for (double ridge = RIDGE * mean;; ridge *= 10) {
		bool regular = true;

		for (unsigned p = 0; p < n_cols && regular; p++)
			for (unsigned q = 0; q <= p; q++) {
				double sum = l->hessian[(col + p) * n + col + q] + (p == q ? ridge : 0);

				for (unsigned k = 0; k < q; k++)
					sum -= a[p][k] * a[q][k];
				regular = p != q || sum > ridge / 2;
				a[p][q] = p == q ? sqrt(sum) : sum / a[q][q];
			}
		if (regular)
			break;
	}
	for (unsigned p = 0; p < n_cols; p++)
		for (unsigned q = 0; q <= p; q++)
			out[p * g + q] = (float)a[p][q];
}

void aqz_metric_descent(aqz_metric *l, unsigned n_threads)
{
	const uint64_t n = l->a.cols;
	const unsigned g = l->a.scheme.in_group;

	if (l->hessian == NULL) {
		identity(l);
		return;
	}
	const double mean = mean_diagonal(l);

#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (uint64_t j = 0; j < l->a.groups; j++) {
		factor_group(l, j, mean);
		l->order[j] = (uint32_t)j;
	}
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (uint64_t k = 0; k < n; k++)
		for (uint64_t j = 0; j < l->a.groups; j++) {
			const float *h = l->hessian + k * n + j * g, *a = aqz_factor(l, j);
			float *x = l->feedback + k * n + j * g;

			for (unsigned q = 0; q < aqz_group_cols(&l->a, j); q++) {
				double sum = h[q];

				for (unsigned p = 0; p < q; p++)
					sum -= (double)a[q * g + p] * x[p];
				x[q] = k / g == j ? 0 : (float)(sum / (double)a[q * g + q]);
			}
		}
}
