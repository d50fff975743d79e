/* SPDX-License-Identifier: Apache-2.0 */
/* Side information of the trellis encoder: steps and sizes of rows and columns, as the stored exponents have them. */
#include <math.h>

#include "codec/encode/trellis_job.h"

/* No weight is more steps than this, with room below AQZ_TRELLIS_MAX_INDEX for what feedback adds. */
#define MAX_STEPS 0x1p19
/* Indices whose size is less than 2^(LEAST_SIZE / 8) steps are all but always 0, however small it is. */
#define LEAST_SIZE (-48)
/* A row without importance has the coarsest step. */
#define COARSEST 65536
/* Steps over mean magnitudes. */
#define LARGEST 4.0

static int8_t octaves(double per_octave, double ratio)
{
	const double e = rint(per_octave * log2(ratio));

	return (int8_t)(e < -127 ? -127 : e > 127 ? 127 : e);
}

/* Steps of rows, 2^(row_step / 8) ~ 1 / sqrt(g_i), the typical one being 1. */
static aqz_status set_importance(aqz_trellis_job *j, aqz_error *err)
{
	aqz_trellis_params *p = &j->work.params;
	const float *importance = j->opt->importance;
	double log_sum = 0;
	uint64_t n_live = 0;

	for (uint64_t i = 0; i < p->rows; i++) {
		if (!isfinite(importance[i]) || importance[i] < 0)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "importance",
				"a row's importance is negative or not finite");
		if (importance[i] > 0) {
			log_sum += log(importance[i]);
			n_live++;
		}
	}
	if (n_live == 0)
		return AQZ_OK;
	log_sum /= (double)n_live;
	/* c counts for importances as they are: what the typical row has goes into base. */
	j->mean_spread /= exp(0.5 * log_sum);
	j->typical *= exp(0.5 * log_sum);
	p->has_row_steps = true;
	for (uint64_t i = 0; i < p->rows; i++) {
		const double g = importance[i];

		j->row_ratio[i] = g > 0 ? exp(0.5 * (log_sum - log(g))) : COARSEST;
	}
	j->work.shrink = j->shrink;
	return AQZ_OK;
}

aqz_status aqz_trellis_sides_rows(aqz_trellis_job *j, aqz_error *err)
{
	aqz_trellis_params *p = &j->work.params;
	const uint64_t rows = p->rows, cols = p->cols;
	double mean = 0, squares = 0, log_sum = 0;
	aqz_status status = AQZ_OK;

	for (uint64_t i = 0; i < rows * cols; i++) {
		const double w = j->layer->w[i];

		if (!isfinite(w))
			AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "w", "a weight is not finite"));
		mean += fabs(w);
		squares += w * w;
	}
	mean /= (double)(rows * cols);
	for (uint64_t k = 0; k < cols; k++)
		log_sum += log(j->spread[k]);
	j->mean_spread = exp(log_sum / (double)cols);
	j->typical = sqrt(squares / (double)(rows * cols)) / j->mean_spread;
	for (uint64_t i = 0; i < rows; i++) {
		double sum = 0;

		for (uint64_t k = 0; k < cols; k++)
			sum += fabs((double)j->layer->w[i * cols + k]);
		p->row_size[i] = sum > 0 ? octaves(4, sum / (double)cols / mean) : 0;
	}
	j->mean = mean;
	if (j->opt->importance != NULL)
		AQZ_TRY(set_importance(j, err));
out:
	return status;
}

/* A step that is much larger than what it is for gives nothing but zeros, or, where the trellis has none at hand,
 * errors of that step: so it is no larger than some typical sizes. */
static double capped(double wanted, double size)
{
	return size > 0 && wanted > LARGEST * size ? LARGEST * size : wanted;
}

static void set_row_steps(aqz_trellis_job *j, double base)
{
	aqz_trellis_params *p = &j->work.params;

	for (uint64_t i = 0; i < p->rows; i++) {
		const double size = j->mean * (double)aqz_eighth_octave(2 * p->row_size[i]);

		p->row_step[i] = octaves(8, capped(base * j->row_ratio[i], size) / base);
		j->shrink[i] = aqz_eighth_octave(-p->row_step[i]);
	}
}

/* The largest weight of each column, over its row's step. */
static double set_reach(aqz_trellis_job *j)
{
	const aqz_trellis_params *p = &j->work.params;
	double reach = 0;

	memset(j->reach, 0, (size_t)p->cols * sizeof *j->reach);
	for (uint64_t i = 0; i < p->rows; i++) {
		const float shrink = p->has_row_steps ? j->shrink[i] : 1, *w = j->layer->w + i * p->cols;

		for (uint64_t k = 0; k < p->cols; k++) {
			const float x = fabsf(w[k]) * shrink;

			j->reach[k] = x > j->reach[k] ? x : j->reach[k];
			reach = x > reach ? x : reach;
		}
	}
	return reach;
}

static double column_size(const aqz_trellis_job *j, uint64_t col)
{
	const uint64_t n_chunks = aqz_ceil_div(j->work.params.rows, j->work.chunk_rows);
	double sum = 0;

	for (uint64_t i = 0; i < n_chunks; i++)
		sum += j->work.sizes[i * j->work.params.cols + col];
	return sum / (double)j->work.params.rows;
}

void aqz_trellis_sides_steps(aqz_trellis_job *j, double c)
{
	aqz_trellis_params *p = &j->work.params;
	double base = c * j->mean_spread, spread = 0, reach;

	for (uint64_t k = 0; k < p->cols; k++)
		spread += log(j->spread[k]);
	spread = exp(spread / (double)p->cols);
	base = fmin(fmax(base, 0x1p-80), 0x1p50);
	if (p->has_row_steps)
		set_row_steps(j, base);
	reach = set_reach(j);
	/* An index must not run out of range, were it only that of one weight. Columns get coarser steps alone, as far as
	 * exponents go. */
	base = fmin(fmax(base, reach / (MAX_STEPS * COARSEST / 2)), 0x1p50);
	p->base = (float)base;
	for (uint64_t k = 0; k < p->cols; k++) {
		const double wanted =
			j->opt->even_steps ? base : capped(base * j->spread[k] / spread, column_size(j, k));
		const double least = j->reach[k] / MAX_STEPS;

		p->column_step[k] = octaves(8, fmax(wanted, least) / base);
	}
}

void aqz_trellis_sides_first(aqz_trellis_job *j)
{
	const aqz_trellis_params *p = &j->work.params;
	const uint64_t n_chunks = aqz_ceil_div(p->rows, j->work.chunk_rows);

	memset(j->work.sizes, 0, n_chunks * p->cols * sizeof *j->work.sizes);
	for (uint64_t i = 0; i < p->rows; i++) {
		const double weight = (double)aqz_eighth_octave(-2 * p->row_size[i]);

		for (uint64_t k = 0; k < p->cols; k++)
			j->work.sizes[k] += fabs((double)j->layer->w[i * p->cols + k]) * weight;
	}
}

/* Half an octave each, from the smallest that matters; all that is larger than the last falls into it, but indices that
 * large there are none. */
static void set_buckets(aqz_trellis_params *p)
{
	int low = INT32_MAX, high = INT32_MIN, row_low = INT32_MAX, row_high = INT32_MIN, n;

	for (uint64_t i = 0; i < p->rows; i++) {
		const int s = 2 * p->row_size[i] - p->row_step[i];

		row_low = s < row_low ? s : row_low;
		row_high = s > row_high ? s : row_high;
	}
	for (uint64_t k = 0; k < p->cols; k++) {
		const int s = 2 * p->column_size[k] - p->column_step[k];

		low = s < low ? s : low;
		high = s > high ? s : high;
	}
	low += row_low;
	high += row_high;
	low = low < LEAST_SIZE ? LEAST_SIZE : low;
	p->bias = (int16_t)-low;
	n = high < low ? 1 : (high - low) / 4 + 1;
	p->n_buckets = (uint8_t)(n > AQZ_TRELLIS_MAX_BUCKETS ? AQZ_TRELLIS_MAX_BUCKETS : n);
}

void aqz_trellis_sides_sizes(aqz_trellis_job *j)
{
	aqz_trellis_params *p = &j->work.params;

	for (uint64_t k = 0; k < p->cols; k++) {
		const double size = column_size(j, k) / p->base;

		p->column_size[k] = size > 0 ? octaves(4, size) : (int8_t)(p->column_step[k] / 2 - 12);
	}
	set_buckets(p);
}
