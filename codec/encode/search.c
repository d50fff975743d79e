/* SPDX-License-Identifier: Apache-2.0 */
/* Codebooks as the encoder's kernels want them, and the search in a single one. */
#include <math.h>

#include "codec/encode/search.h"

/* A larger table of products would not stay in the second- and third-level caches. */
#define MAX_GRAM_BYTES (UINT64_C(16) << 20)
/* Vectors that go through a chunk of codewords together, so that a large codebook is read once for
 * all of them. */
#define BATCH 64

uint64_t aqz_search_gram_bytes(const aqz_scheme *scheme)
{
	const uint64_t pairs = (uint64_t)scheme->n_codebooks * (scheme->n_codebooks - 1u) / 2;
	const uint64_t bytes = (pairs << scheme->code_bits) * aqz_search_lanes(scheme) * sizeof(float);

	return bytes <= MAX_GRAM_BYTES ? bytes : 0;
}

static uint64_t table_bytes(const aqz_scheme *scheme)
{
	return (uint64_t)scheme->n_codebooks * aqz_codeword(scheme) * aqz_search_lanes(scheme) *
		sizeof(float);
}

static uint64_t norm_bytes(const aqz_scheme *scheme)
{
	return (uint64_t)scheme->n_codebooks * aqz_search_lanes(scheme) * sizeof(float);
}

uint64_t aqz_search_bytes(const aqz_scheme *scheme)
{
	return table_bytes(scheme) + norm_bytes(scheme) + aqz_search_gram_bytes(scheme);
}

aqz_status aqz_search_create(aqz_search *s, const aqz_scheme *scheme, const aqz_kernels *kernels,
	aqz_budget *budget, aqz_error *err)
{
	aqz_status status;
	void *p;

	*s = (aqz_search){
		.kernels = kernels,
		.scheme = *scheme,
		.n_codebooks = scheme->n_codebooks,
		.n_values = aqz_codeword(scheme),
		.n_codewords = (size_t)1 << scheme->code_bits,
		.n_lanes = aqz_search_lanes(scheme),
	};
	AQZ_TRY(aqz_budget_alloc(budget, &p, table_bytes(scheme), "codebooks", err));
	s->table = p;
	AQZ_TRY(aqz_budget_alloc(budget, &p, norm_bytes(scheme), "codebooks", err));
	s->half_norm = p;
	if (aqz_search_gram_bytes(scheme) != 0) {
		AQZ_TRY(aqz_budget_alloc(
			budget, &p, aqz_search_gram_bytes(scheme), "products of codewords", err));
		s->gram = p;
	}
out:
	if (status != AQZ_OK)
		aqz_search_free(s, budget);
	return status;
}

void aqz_search_free(aqz_search *s, aqz_budget *budget)
{
	aqz_budget_free(budget, s->table, table_bytes(&s->scheme));
	aqz_budget_free(budget, s->half_norm, norm_bytes(&s->scheme));
	aqz_budget_free(budget, s->gram, aqz_search_gram_bytes(&s->scheme));
	*s = (aqz_search){0};
}

void aqz_search_set_codebook(aqz_search *s, unsigned m, const float *codewords, const float *mask)
{
	float *table = s->table + (size_t)m * s->n_values * s->n_lanes,
		  *norms = s->half_norm + m * s->n_lanes;

	for (size_t k = 0; k < s->n_lanes; k++) {
		double norm = 0;

		for (unsigned j = 0; k < s->n_codewords && j < s->n_values; j++) {
			const float value = mask == NULL || mask[j] != 0 ? codewords[k * s->n_values + j] : 0;

			table[j * s->n_lanes + k] = value;
			norm += (double)value * value;
		}
		norms[k] = k < s->n_codewords ? (float)(norm / 2) : INFINITY;
	}
}

void aqz_search_set_gram(aqz_search *s, unsigned n_threads)
{
	if (s->gram == NULL)
		return;
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (size_t k = 0; k < s->n_codewords; k++) {
		float x[AQZ_MAX_CODEWORD];

		for (unsigned m1 = 0; m1 + 1 < s->n_codebooks; m1++) {
			/* dots1 subtracts products from what it starts with. */
			for (unsigned j = 0; j < s->n_values; j++)
				x[j] = -aqz_search_table(s, m1)[j * s->n_lanes + k];
			for (unsigned m = m1 + 1; m < s->n_codebooks; m++) {
				float *row = aqz_search_gram_row(s, m1, k, m);

				memset(row, 0, s->n_lanes * sizeof *row);
				s->kernels->dots1(
					row, x, aqz_search_table(s, m), s->n_lanes, row, s->n_lanes, s->n_values);
			}
		}
	}
}

void aqz_search_nearest(const aqz_search *s, unsigned m, uint16_t *codes, size_t codes_ld,
	const float *x, size_t x_ld, size_t n, void *memory)
{
	const float *table = aqz_search_table(s, m), *norms = aqz_search_norms(s, m);
	float *scores = memory; /* [4][AQZ_CHUNK] */

	for (size_t at = 0; at < n; at += BATCH) {
		const size_t batch = aqz_min(n - at, BATCH);
		float best[BATCH];

		for (size_t i = 0; i < batch; i++) {
			best[i] = INFINITY;
			codes[(at + i) * codes_ld] = 0;
		}
		for (size_t k = 0; k < s->n_lanes; k += AQZ_CHUNK) {
			const size_t chunk = aqz_min(s->n_lanes - k, AQZ_CHUNK);

			for (size_t i = 0; i < batch; i += 4) {
				const size_t four = aqz_min(batch - i, 4);
				const float *xi = x + (at + i) * x_ld;

				if (four == 4)
					s->kernels->dots4(scores, AQZ_CHUNK, xi, x_ld, table + k, s->n_lanes, norms + k,
						chunk, s->n_values);
				else
					for (size_t p = 0; p < four; p++)
						s->kernels->dots1(scores + p * AQZ_CHUNK, xi + p * x_ld, table + k,
							s->n_lanes, norms + k, chunk, s->n_values);
				for (size_t p = 0; p < four; p++) {
					const float *row = scores + p * AQZ_CHUNK;
					const float least = s->kernels->least(row, chunk);

					if (least < best[i + p]) {
						best[i + p] = least;
						codes[(at + i + p) * codes_ld] =
							(uint16_t)(k + s->kernels->find(row, least, chunk));
					}
				}
			}
		}
	}
}
