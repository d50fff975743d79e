/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the trellis encoder (entropy-coded trellis quantization with water-filled steps).
 *
 *	trellis_path.c   indices of one column: candidates, Viterbi
 *	trellis_rates.c  counts of indices to tables, tables to rates
 *	trellis_pass.c   all columns once, each given the errors of those before it
 *	trellis_sides.c  steps and sizes of rows and columns
 *	trellis_search.c passes for one c, and the c that a goal needs
 *	trellis_layer.c  one matrix: memory, feedback, the order of all that
 *
 * With H + damping = P L L^T P^T, P the order of the columns reversed, column j is quantized after columns k < j, and
 *
 *	tr(E H E^T) = sum over j of L_jj^2 |x_j - q_j|^2,   x_j = w_j + sum over k < j of E_k L_kj / L_jj
 *
 * (GPTQ, arXiv:2210.17323; QuIP, arXiv:2307.13304). Steps c / L_jj leave the same weighted error in every column, which
 * is reverse water-filling: c alone sets the rate. With the importance g_i of a row (the mean square of the loss
 * gradient at that output) steps are c / (L_jj sqrt(g_i)). */
#ifndef AQZ_CODEC_ENCODE_TRELLIS_H
#define AQZ_CODEC_ENCODE_TRELLIS_H

#include <stdatomic.h>

#include "codec/encode/trellis_path.h"
#include "codec/trellis.h"

/* Who is told of progress, by the calling thread only. */
typedef struct aqz_trellis_watch {
	aqz_progress_fn *progress;  /* may be NULL */
	void *user;
	_Atomic uint64_t done;      /* columns of chunks, of all passes */
	uint64_t total;
	atomic_bool stopped;        /* progress said so: the pass ends early, and its results mean nothing */
} aqz_trellis_watch;

/* Rows that a chunk has and whose columns are searched as one path each. */
typedef struct aqz_trellis_work {
	aqz_trellis_params params;
	const float *w;      /* [rows][cols] */
	const float *factor; /* [cols][cols]: row j holds L_kj / L_jj for k < j; NULL: H is the identity */
	const double *spread; /* [cols]: 1 / L_jj */
	const float *shrink; /* [rows]: 2^(-row_step / 8); NULL without row steps */
	uint32_t chunk_rows;
	unsigned n_threads;
	float mu;            /* price of a bit, in squared steps */
	int32_t *index;      /* [cols][rows] */
	float *rates;        /* [n_buckets][2][AQZ_RATES]; zeros: none are known yet */
	const aqz_path_kernels *kernels;
	aqz_trellis_watch *watch;
	double *sizes;       /* [n_chunks][cols]: sums of |x| over the row's step and size, of the last pass */
	double *errors;      /* [n_chunks] */
	uint32_t *counts;    /* [AQZ_TRELLIS_MAX_BUCKETS][2][AQZ_COUNTS], of the last pass */
	uint64_t n_long;     /* indices of it whose escapes take three words */
	uint8_t *scratch;    /* [n_threads][scratch_bytes] */
	size_t scratch_bytes;
	double error;        /* of the last pass: sum of L_jj^2 (x - q)^2, with the damping in L */
} aqz_trellis_work;

/* Counts of k = -m and the like, [0, AQZ_COUNTS - 1) by magnitude, the rest in the last. */
#define AQZ_COUNTS (AQZ_TRELLIS_MAX_MAGNITUDE + 1)

/* trellis_rates.c: makes buckets, tables and rates of the counts, merging buckets where that saves more than a table
 * costs. Returns the bits of the indices by these tables, and of the tables roughly. */
double aqz_trellis_make_tables(aqz_trellis_params *p, const uint32_t *counts);
void aqz_trellis_rates(float *rates, const aqz_trellis_params *p, float mu);
/* Bits of the counted indices by the tables as they are. */
double aqz_trellis_bits(const aqz_trellis_params *p, const uint32_t *counts);

/* trellis_pass.c */
size_t aqz_trellis_scratch_bytes(uint64_t cols, uint32_t chunk_rows, unsigned state_bits);
/* Quantizes all columns with the steps and rates of w; fills index, sizes, counts and error. */
void aqz_trellis_pass(aqz_trellis_work *w);

#endif
