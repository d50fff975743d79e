/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest codeword of a large codebook without looking at all of them. Gives the codes of
 * aqz_search_nearest, to the last tie. */
#ifndef AQZ_CODEC_ENCODE_PRUNE_H
#define AQZ_CODEC_ENCODE_PRUNE_H

#include "codec/encode/search.h"

/* Principal axes that boxes have sides along, at most; a multiple of 4. */
#define AQZ_PRUNE_AXES 8

/* One codebook, cut by a k-d tree along its principal axes into leaves of AQZ_LEAF codewords, AQZ_LEAF
 * leaves to a branch. Threads may share it between two loads. */
typedef struct aqz_prune {
	const aqz_kernels *kernels;
	aqz_scheme scheme;
	unsigned n_values, n_axes;       /* d; axes, a multiple of 4: those beyond d are 0 */
	size_t n_codewords, n_leaves, n_branches;
	const aqz_search *search;        /* what was loaded: codebook m of it */
	unsigned m;
	double reach;                    /* no codeword is longer; infinite if no bound would hold */
	float axes[AQZ_PRUNE_AXES][AQZ_MAX_CODEWORD]; /* the negative of orthonormal vectors */
	float turn[AQZ_MAX_CODEWORD][AQZ_PRUNE_AXES]; /* the vectors, by value */
	float *blocks;                   /* [leaf][1 + d][AQZ_LEAF]: |c|^2 / 2, then the values */
	float *leaf_boxes;               /* [branch][axis][2][AQZ_LEAF]: least and greatest of each leaf */
	float *branch_boxes;             /* [branch / AQZ_LEAF][axis][2][AQZ_LEAF] */
	uint16_t *origin;                /* [leaf][AQZ_LEAF]: where the codeword is in the codebook */
	float *points;                   /* [axis][2^B], for the load */
	uint64_t *keys;                  /* [2^B], for the load */
} aqz_prune;

/* True if a scheme's codebooks are large enough for this. */
bool aqz_prune_possible(const aqz_scheme *scheme);

/* True if a load is worth while for the search of n vectors: it takes the time of some hundred searches
 * of 8 values that are exhaustive. */
bool aqz_prune_pays(const aqz_scheme *scheme, size_t n);

/* Bytes that create allocates. The scheme is a possible one. */
uint64_t aqz_prune_bytes(const aqz_scheme *scheme);
aqz_status aqz_prune_create(aqz_prune *p, const aqz_scheme *scheme, const aqz_kernels *kernels,
	aqz_budget *budget, aqz_error *err);
void aqz_prune_free(aqz_prune *p, aqz_budget *budget);

/* Takes codebook m of s, which aqz_search_set_codebook made of the same codewords and mask. s may not
 * change before the next load. */
void aqz_prune_load(aqz_prune *p, const aqz_search *s, unsigned m, const float *codewords,
	const float *mask, unsigned n_threads);

/* aqz_search_nearest in the codebook that was loaded, with the same scratch. */
void aqz_prune_nearest(const aqz_prune *p, uint16_t *codes, size_t codes_ld, const float *x, size_t x_ld,
	size_t n, void *scratch);

/* For measurements: codewords whose scores were computed for these vectors. */
uint64_t aqz_prune_count(const aqz_prune *p, const float *x, size_t x_ld, size_t n);

#endif
