/* SPDX-License-Identifier: Apache-2.0 */
/* Search for the codes of single vectors: which codewords, one of each codebook, add up to nearly x.
 * Everything is in the plain metric |x - sum|^2 / 2; another metric is this one after a linear map
 * of x and of the codebooks. */
#ifndef AQZ_CODEC_ENCODE_SEARCH_H
#define AQZ_CODEC_ENCODE_SEARCH_H

#include "codec/additive.h"
#include "codec/encode/kernels.h"

#define AQZ_MAX_BEAM 256

/* Codewords that are scored at a time, so that the scores stay in the first-level cache. */
#define AQZ_CHUNK 512

/* Codebooks as the kernels want them. */
typedef struct aqz_search {
	const aqz_kernels *kernels;
	aqz_scheme scheme;
	unsigned n_codebooks, n_values; /* M, d = values of a codeword */
	size_t n_codewords, n_lanes;    /* 2^B, and that padded to whole blocks */
	float *table;                   /* [M][d][lanes]; 0 in padding */
	float *half_norm;               /* [M][lanes]: |c|^2 / 2; infinite in padding: never chosen */
	float *gram;                    /* [pair m1 < m][2^B][lanes]: <c_m1, c_m>; NULL if too large */
} aqz_search;

/* Bytes of the three arrays, and of gram alone: 0 if there is none. */
uint64_t aqz_search_bytes(const aqz_scheme *scheme);
uint64_t aqz_search_gram_bytes(const aqz_scheme *scheme);

aqz_status aqz_search_create(aqz_search *s, const aqz_scheme *scheme, const aqz_kernels *kernels,
	aqz_budget *budget, aqz_error *err);
void aqz_search_free(aqz_search *s, aqz_budget *budget);

/* Sets codebook m from [2^B][d] codewords; values j with mask[j] = 0 count as 0. */
void aqz_search_set_codebook(aqz_search *s, unsigned m, const float *codewords, const float *mask);
/* Makes gram from all codebooks; to be called before aqz_search_beam. */
void aqz_search_set_gram(aqz_search *s, unsigned n_threads);

/* Bytes of scratch (64-byte aligned) for one thread and this beam. */
uint64_t aqz_search_scratch_bytes(const aqz_scheme *scheme, unsigned beam);

/* The nearest codeword of codebook m to each of n vectors (x_ld apart): codes[i * codes_ld]. */
void aqz_search_nearest(const aqz_search *s, unsigned m, uint16_t *codes, size_t codes_ld,
	const float *x, size_t x_ld, size_t n, void *scratch);

/* Codes of n vectors by beam search through codebooks 0..M-1: codes[i * M + m]. Exact for M = 1, and
 * for M = 2 with a beam of 2^B. */
void aqz_search_beam(const aqz_search *s, uint16_t *codes, const float *x, size_t x_ld, size_t n,
	unsigned beam, void *scratch);

/* ---- Parts of the tables */

static inline size_t aqz_search_lanes(const aqz_scheme *scheme)
{
	const size_t n = (size_t)1 << scheme->code_bits;

	return n < AQZ_LANES ? AQZ_LANES : n;
}

static inline const float *aqz_search_table(const aqz_search *s, unsigned m)
{
	return s->table + (size_t)m * s->n_values * s->n_lanes;
}

static inline const float *aqz_search_norms(const aqz_search *s, unsigned m)
{
	return s->half_norm + m * s->n_lanes;
}

/* <c_m1, c_m> of a codeword of codebook m1 and all of codebook m > m1. */
static inline float *aqz_search_gram_row(
	const aqz_search *s, unsigned m1, size_t codeword, unsigned m)
{
	const size_t pair = (size_t)m * (m - 1) / 2 + m1;

	return s->gram + (pair * s->n_codewords + codeword) * s->n_lanes;
}

#endif
