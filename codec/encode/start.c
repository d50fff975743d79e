/* SPDX-License-Identifier: Apache-2.0 */
/* Codebooks to start with: k-means on what the codebooks before have left (residual quantization, as
 * in the AQLM paper's section 3.2 and its reference implementation). */
#include "codec/encode/encode.h"

/* Vectors that a thread searches at a time. */
#define BATCH 256

void aqz_assign(aqz_encoder *e, unsigned m, const float *x)
{
	aqz_sample *s = &e->sample;
	const size_t per_book = s->n_codewords * s->n_values;

	for (unsigned c = 0; c < AQZ_N_CLASSES; c++) {
		const size_t begin = s->begin[c], end = begin + s->active[c];
		const bool pruned = e->prune != NULL && aqz_prune_pays(&e->a.scheme, s->active[c]);

		if (pruned)
			aqz_prune_load(e->prune, &e->search[c], m, e->codebooks + m * per_book, e->a.mask[c],
				e->n_threads);
#pragma omp parallel for num_threads(e->n_threads) schedule(dynamic)
		for (size_t i = begin; i < end; i += BATCH) {
			uint16_t *codes = s->codes + i * s->n_codebooks + m;
			const size_t n = aqz_min(BATCH, end - i);

			if (pruned)
				aqz_prune_nearest(e->prune, codes, s->n_codebooks, x + i * s->n_values, s->n_values,
					n, aqz_encoder_scratch(e));
			else
				aqz_search_nearest(&e->search[c], m, codes, s->n_codebooks, x + i * s->n_values,
					s->n_values, n, aqz_encoder_scratch(e));
		}
	}
}

/* Moves each codeword to the weighted mean of its vectors; values that no vector has are kept. */
static void average(aqz_encoder *e, unsigned m)
{
	aqz_sample *s = &e->sample;
	const uint32_t *start = s->start + m * (s->n_codewords + 1), *order = s->order + m * s->n;
	float *codebook = e->codebooks + m * s->n_codewords * s->n_values;

	aqz_sample_sort(s, m);
#pragma omp parallel for num_threads(e->n_threads) schedule(dynamic, 64)
	for (size_t k = 0; k < s->n_codewords; k++) {
		double sum[AQZ_MAX_CODEWORD] = {0}, weight[AQZ_MAX_CODEWORD] = {0};

		for (uint32_t i = start[k]; i < start[k + 1]; i++) {
			const float *rest = s->rest + (size_t)order[i] * s->n_values;
			const float *mask = e->a.mask[aqz_sample_class(s, order[i])];

			for (unsigned j = 0; j < s->n_values; j++) {
				const double w = (double)s->weight[order[i]] * mask[j];

				sum[j] += w * rest[j];
				weight[j] += w;
			}
		}
		for (unsigned j = 0; j < s->n_values; j++)
			if (weight[j] > 0)
				codebook[k * s->n_values + j] = (float)(sum[j] / weight[j]);
	}
}

static double error_of(const aqz_encoder *e, size_t i, unsigned m)
{
	const aqz_sample *s = &e->sample;
	const size_t code = s->codes[i * s->n_codebooks + m];
	const float *codeword = e->codebooks + (m * s->n_codewords + code) * s->n_values;
	const float *mask = e->a.mask[aqz_sample_class(s, i)];
	double sum = 0;

	for (unsigned j = 0; j < s->n_values; j++) {
		const double d = ((double)s->rest[i * s->n_values + j] - codeword[j]) * mask[j];

		sum += d * d;
	}
	return sum * s->weight[i];
}

/* Puts a codeword that no vector chose where one of a few random vectors is met worst. */
static void refill(aqz_encoder *e, unsigned m, unsigned step)
{
	aqz_sample *s = &e->sample;
	const uint32_t *start = s->start + m * (s->n_codewords + 1);

	for (size_t k = 0; k < s->n_codewords; k++) {
		size_t worst = 0;
		double largest = -1;

		if (start[k + 1] > start[k])
			continue;
		for (unsigned t = 0; t < 8; t++) {
			const size_t i = aqz_sample_pick(s,
				aqz_random_below(s->n_active, e->seed, 1000 + (uint64_t)m * 256 + step, k * 8 + t));
			const double error = error_of(e, i, m);

			if (error > largest) {
				largest = error;
				worst = i;
			}
		}
		memcpy(e->codebooks + (m * s->n_codewords + k) * s->n_values, s->rest + worst * s->n_values,
			s->n_values * sizeof(float));
	}
}

static void subtract(aqz_encoder *e, unsigned m)
{
	aqz_sample *s = &e->sample;

#pragma omp parallel for num_threads(e->n_threads) schedule(static)
	for (size_t n = 0; n < s->n_active; n++) {
		const size_t i = aqz_sample_pick(s, n);
		const size_t code = s->codes[i * s->n_codebooks + m];
		const float *codeword = e->codebooks + (m * s->n_codewords + code) * s->n_values;

		for (unsigned j = 0; j < s->n_values; j++)
			s->rest[i * s->n_values + j] -= codeword[j];
	}
}

aqz_status aqz_start_codebooks(aqz_encoder *e, aqz_error *err)
{
	aqz_sample *s = &e->sample;
	aqz_status status = AQZ_OK;

	memcpy(s->rest, s->x, s->n * s->n_values * sizeof *s->x);
	for (unsigned m = 0; m < s->n_codebooks; m++) {
		float *codebook = e->codebooks + m * s->n_codewords * s->n_values;

		/* One vector out of each of 2^B equal pieces of the sample; with fewer vectors, all. */
		for (size_t k = 0; k < s->n_codewords; k++) {
			const size_t begin = k * s->n_active / s->n_codewords;
			const size_t end = (k + 1) * s->n_active / s->n_codewords;
			const size_t pick = s->n_active < s->n_codewords
				? k
				: begin + aqz_random_below(end - begin, e->seed, 2 + m, k);

			if (pick < s->n_active)
				memcpy(codebook + k * s->n_values, s->rest + aqz_sample_pick(s, pick) * s->n_values,
					s->n_values * sizeof *codebook);
		}
		for (unsigned step = 0; step < e->effort.start_steps; step++) {
			aqz_encoder_load(e, m, m + 1);
			aqz_assign(e, m, s->rest);
			average(e, m);
			refill(e, m, step);
			AQZ_TRY(aqz_encoder_tick(e, aqz_nearest_work(&e->a, (double)s->n_active), err));
		}
		/* What the last codebook leaves is not looked at: the first sweep finds its own codes. */
		if (m + 1 == s->n_codebooks)
			break;
		aqz_encoder_load(e, m, m + 1);
		aqz_assign(e, m, s->rest);
		subtract(e, m);
		AQZ_TRY(aqz_encoder_tick(e, aqz_nearest_work(&e->a, (double)s->n_active), err));
	}
out:
	return status;
}
