/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the trellis encoder: one matrix under way. */
#ifndef AQZ_CODEC_ENCODE_TRELLIS_JOB_H
#define AQZ_CODEC_ENCODE_TRELLIS_JOB_H

#include "codec/encode/trellis_layer.h"

typedef struct aqz_trellis_job {
	aqz_trellis_work work;
	const aqz_layer *layer;
	const aqz_trellis_options *opt;
	aqz_budget budget;
	struct { void *p; uint64_t n; } owned[16];
	unsigned n_owned;
	float *factor;
	double *spread;
	float *shrink;
	double *row_ratio;  /* [rows]: steps as the rows' importance has them, over the typical one */
	double mean;        /* of |w| */
	float *reach;       /* [cols]: the largest weight of a column, over its row's step */
	float *rest;        /* [rows][cols]: W - W_hat, where a loss is looked for */
	double typical;     /* size of weights over the geometric mean of spread: c of about no rate */
	double mean_spread;
	double energy;      /* tr(W H W^T), where it is needed */
	double unit;        /* of c as the options have it */
	bool has_tables;
	double bytes, index_bytes; /* of the last pass, as the tables have it; the indices' part */
	aqz_trellis_watch watch;
} aqz_trellis_job;

/* ---- trellis_sides.c: what rows and columns have */

/* Sizes of rows, and their steps by their importance. Needs spread. */
aqz_status aqz_trellis_sides_rows(aqz_trellis_job *j, aqz_error *err);
/* The steps for c. Needs the sums of the last pass, or those of sides_first. */
void aqz_trellis_sides_steps(aqz_trellis_job *j, double c);
/* Sums of |w| of columns stand in for those of a first pass. */
void aqz_trellis_sides_first(aqz_trellis_job *j);
/* Sizes of columns, and buckets, from the sums of the last pass. */
void aqz_trellis_sides_sizes(aqz_trellis_job *j);

/* ---- trellis_search.c: passes for one c, and the c that a goal needs */

/* Leaves the constant, bytes and index_bytes in *out. */
aqz_status aqz_trellis_search(aqz_trellis_job *j, aqz_trellis_matrix *out, aqz_error *err);

#endif
