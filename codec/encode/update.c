/* SPDX-License-Identifier: Apache-2.0 */
/* Codebooks by weighted least squares, given the codes of the sample (the joint update of LSQ,
 * Martinez et al., ECCV 2016): minimise
 *
 *	sum over vectors i of weight_i * |mask_i * (x_i - sum over m of C_m[code_im])|^2
 *
 * by conjugate gradients on the normal equations, with the diagonal as preconditioner. The matrix, which
 * counts how often two codewords occur together, is never formed: its product with codebooks V is
 * "decode the sample with V, then add each vector to all of its codewords". The values of a codeword do
 * not mix, so there is a system for each of them, with steps of its own. Codewords that no vector uses
 * stay as they are. From the codebooks before, a few steps do. */
#include <math.h>

#include "codec/encode/encode.h"

/* Sums over all codewords are made of this many parts, added in order. */
#define PARTS 64

/* A system whose residual is this small, as the error that it may still save against the sample's sum of
 * squares, is left alone: what remains is rounding errors of binary32, some 1e-14, and a step along
 * them has no bound, as the matrix is singular (adding a vector to one codebook and taking it from
 * another changes nothing). */
#define CONVERGED 1e-11

typedef struct solver {
	aqz_encoder *e;
	size_t n_all;									 /* codewords of all codebooks */
	float *residual, *direction, *product, *inverse; /* [n_all][d]; inverse of the diagonal */
} solver;

/* rest = values of the codewords in v, or x less these. */
static void decode_sample(const solver *t, const float *v, bool residual)
{
	const aqz_sample *s = &t->e->sample;

#pragma omp parallel for num_threads(t->e->n_threads) schedule(static)
	for (size_t n = 0; n < s->n_active; n++) {
		const size_t i = aqz_sample_pick(s, n);
		float sum[AQZ_MAX_CODEWORD] = {0};
		float *rest = s->rest + i * s->n_values;

		for (unsigned m = 0; m < s->n_codebooks; m++) {
			const size_t code = s->codes[i * s->n_codebooks + m];
			const float *codeword = v + (m * s->n_codewords + code) * s->n_values;

			for (unsigned j = 0; j < s->n_values; j++)
				sum[j] += codeword[j];
		}
		for (unsigned j = 0; j < s->n_values; j++)
			rest[j] = residual ? s->x[i * s->n_values + j] - sum[j] : sum[j];
	}
}

/* out = for each codeword, the weighted sum of its vectors' rest. */
static void collect(const solver *t, float *out)
{
	const aqz_sample *s = &t->e->sample;

#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic, 64)
	for (size_t k = 0; k < t->n_all; k++) {
		const size_t m = k / s->n_codewords, code = k % s->n_codewords;
		const uint32_t *start = s->start + m * (s->n_codewords + 1) + code;
		const uint32_t *order = s->order + m * s->n;
		double sum[AQZ_MAX_CODEWORD] = {0};

		for (uint32_t i = start[0]; i < start[1]; i++) {
			const float *rest = s->rest + (size_t)order[i] * s->n_values;
			const float *mask = t->e->a.mask[aqz_sample_class(s, order[i])];
			const float weight = s->weight[order[i]];

			for (unsigned j = 0; j < s->n_values; j++)
				sum[j] += (double)(weight * mask[j] * rest[j]);
		}
		for (unsigned j = 0; j < s->n_values; j++)
			out[k * s->n_values + j] = (float)sum[j];
	}
}

static void invert_diagonal(const solver *t)
{
	const aqz_sample *s = &t->e->sample;

#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic, 64)
	for (size_t k = 0; k < t->n_all; k++) {
		const size_t m = k / s->n_codewords, code = k % s->n_codewords;
		const uint32_t *start = s->start + m * (s->n_codewords + 1) + code;
		const uint32_t *order = s->order + m * s->n;
		double sum[AQZ_MAX_CODEWORD] = {0};

		for (uint32_t i = start[0]; i < start[1]; i++)
			for (unsigned j = 0; j < s->n_values; j++)
				sum[j] +=
					(double)s->weight[order[i]] * t->e->a.mask[aqz_sample_class(s, order[i])][j];
		for (unsigned j = 0; j < s->n_values; j++)
			t->inverse[k * s->n_values + j] = sum[j] > 0 ? (float)(1 / sum[j]) : 0;
	}
}

/* out[j] = sum over codewords of a * b, or of a * a * b with square. */
static void dots(const solver *t, double *out, const float *a, const float *b, bool square)
{
	const unsigned d = t->e->sample.n_values;
	double parts[PARTS][AQZ_MAX_CODEWORD];

#pragma omp parallel for num_threads(t->e->n_threads) schedule(static) if (t->n_all * d > 1 << 18)
	for (size_t p = 0; p < PARTS; p++) {
		memset(parts[p], 0, sizeof parts[p]);
		for (size_t k = p * t->n_all / PARTS; k < (p + 1) * t->n_all / PARTS; k++)
			for (unsigned j = 0; j < d; j++) {
				const double ab = (double)a[k * d + j] * b[k * d + j];

				parts[p][j] += square ? ab * a[k * d + j] : ab;
			}
	}
	for (unsigned j = 0; j < d; j++) {
		out[j] = 0;
		for (size_t p = 0; p < PARTS; p++)
			out[j] += parts[p][j];
	}
}

/* out[j] = weighted sum of squares of value j of the sample. */
static void energies(const solver *t, double *out)
{
	const aqz_sample *s = &t->e->sample;
	double parts[PARTS][AQZ_MAX_CODEWORD];

#pragma omp parallel for num_threads(t->e->n_threads) schedule(static)
	for (size_t p = 0; p < PARTS; p++) {
		memset(parts[p], 0, sizeof parts[p]);
		for (size_t n = p * s->n_active / PARTS; n < (p + 1) * s->n_active / PARTS; n++) {
			const size_t i = aqz_sample_pick(s, n);
			const float *x = s->x + i * s->n_values;

			for (unsigned j = 0; j < s->n_values; j++)
				parts[p][j] += (double)s->weight[i] * x[j] * x[j];
		}
	}
	for (unsigned j = 0; j < s->n_values; j++) {
		out[j] = 0;
		for (size_t p = 0; p < PARTS; p++)
			out[j] += parts[p][j];
	}
}

void aqz_update(aqz_encoder *e)
{
	aqz_sample *s = &e->sample;
	const unsigned d = s->n_values;
	const size_t n_all = s->n_codebooks * s->n_codewords, n_values = n_all * d;
	const solver t = {
		e, n_all, e->work, e->work + n_values, e->work + 2 * n_values, e->work + 3 * n_values};
	double norm[AQZ_MAX_CODEWORD], curvature[AQZ_MAX_CODEWORD], next[AQZ_MAX_CODEWORD];
	double energy[AQZ_MAX_CODEWORD];

#pragma omp parallel for num_threads(e->n_threads) schedule(dynamic)
	for (unsigned m = 0; m < s->n_codebooks; m++)
		aqz_sample_sort(s, m);
	invert_diagonal(&t);
	energies(&t, energy);
	decode_sample(&t, e->codebooks, true);
	collect(&t, t.residual);
	for (size_t k = 0; k < n_values; k++)
		t.direction[k] = t.residual[k] * t.inverse[k];
	dots(&t, norm, t.residual, t.inverse, true);
	for (unsigned step = 0; step < e->effort.cg_steps; step++) {
		float move[AQZ_MAX_CODEWORD], keep[AQZ_MAX_CODEWORD];

		decode_sample(&t, t.direction, false);
		collect(&t, t.product);
		dots(&t, curvature, t.direction, t.product, false);
		for (unsigned j = 0; j < d; j++)
			move[j] = curvature[j] > 0 && norm[j] > CONVERGED * energy[j]
				? (float)(norm[j] / curvature[j])
				: 0;
		for (size_t k = 0; k < n_all; k++)
			for (unsigned j = 0; j < d; j++) {
				e->codebooks[k * d + j] += move[j] * t.direction[k * d + j];
				t.residual[k * d + j] -= move[j] * t.product[k * d + j];
			}
		dots(&t, next, t.residual, t.inverse, true);
		for (unsigned j = 0; j < d; j++) {
			keep[j] = norm[j] > 0 ? (float)(next[j] / norm[j]) : 0;
			norm[j] = next[j];
		}
		for (size_t k = 0; k < n_all; k++)
			for (unsigned j = 0; j < d; j++)
				t.direction[k * d + j] =
					t.residual[k * d + j] * t.inverse[k * d + j] + keep[j] * t.direction[k * d + j];
	}
}

/* Stochastic relaxation (LSQ++, Martinez et al., ECCV 2018): noise that fades lets the sweeps out of poor
 * minima. On real layers the error falls by 1 to 3 %. It is a share of the spread of the codebook's
 * values. */
#define NOISE 0.15f

static void add_noise(aqz_encoder *e, unsigned sweep)
{
	const unsigned d = e->sample.n_values, last = e->effort.sweeps * 3 / 4;
	const size_t n_codewords = e->sample.n_codewords;
	float amount;

	if (e->a.scheme.n_codebooks == 1 || sweep + 1 >= last)
		return;
	amount = NOISE * sqrtf(1 - (float)(sweep + 1) / (float)last) / (float)e->a.scheme.n_codebooks;
#pragma omp parallel for num_threads(e->n_threads) schedule(static)
	for (unsigned m = 0; m < e->a.scheme.n_codebooks; m++) {
		float *codebook = e->codebooks + m * n_codewords * d, spread[AQZ_MAX_CODEWORD];
		double squares[AQZ_MAX_CODEWORD] = {0};

		for (size_t k = 0; k < n_codewords; k++)
			for (unsigned j = 0; j < d; j++)
				squares[j] += (double)codebook[k * d + j] * codebook[k * d + j];
		for (unsigned j = 0; j < d; j++)
			spread[j] = (float)sqrt(squares[j] / (double)n_codewords) * amount;
		for (size_t k = 0; k < n_codewords; k++)
			for (unsigned j = 0; j < d; j++)
				codebook[k * d + j] += spread[j] *
					aqz_random_normal(
						e->seed, 200000 + (uint64_t)sweep * AQZ_MAX_CODEBOOKS + m, k * d + j);
	}
}

static void refill(aqz_encoder *e, unsigned sweep)
{
	aqz_sample *s = &e->sample;
	const solver t = {.e = e};
	bool decoded = false;

	for (unsigned m = 0; m < s->n_codebooks; m++) {
		const uint32_t *start = s->start + m * (s->n_codewords + 1);

		for (size_t k = 0; k < s->n_codewords; k++) {
			float *codeword = e->codebooks + (m * s->n_codewords + k) * s->n_values;
			size_t worst = 0;
			double largest = -1;

			if (start[k + 1] > start[k])
				continue;
			if (!decoded)
				decode_sample(&t, e->codebooks, true);
			decoded = true;
			for (unsigned c = 0; c < 8; c++) {
				const size_t i = aqz_sample_pick(s,
					aqz_random_below(s->n_active, e->seed,
						100000 + (uint64_t)sweep * AQZ_MAX_CODEBOOKS + m, k * 8 + c));
				const float *mask = e->a.mask[aqz_sample_class(s, i)];
				double error = 0;

				for (unsigned j = 0; j < s->n_values; j++) {
					const double rest = (double)s->rest[i * s->n_values + j] * mask[j];

					error += rest * rest * s->weight[i];
				}
				if (error > largest) {
					largest = error;
					worst = i;
				}
			}
			/* With the other codewords that the vector has, this one meets it. */
			for (unsigned j = 0; j < s->n_values; j++)
				codeword[j] = s->rest[worst * s->n_values + j] +
					e->codebooks[(m * s->n_codewords + s->codes[worst * s->n_codebooks + m]) * s->n_values +
						j];
		}
	}
}

void aqz_shake(aqz_encoder *e, unsigned sweep)
{
	refill(e, sweep);
	add_noise(e, sweep);
}
