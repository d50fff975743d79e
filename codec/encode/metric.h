/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the encoder in the metric of the inputs: minimise tr(E H E^T), E = W - W_hat, H = X^T X / n.
 *
 *	metric.c   a layer: factors of H, what errors of other groups do to a group
 *	sweep.c    codes of all groups, one group after the other, each given all others
 *	normal.c   codebooks by least squares and scales in closed form, given codes
 *	tune.c     the order of these
 *
 * One form serves the sequential start (LDL order, as GPTQ and QuIP#) and the descent. For group j with a lower
 * triangular A_j, and the other groups' errors E_k,
 *
 *	y_j = (W_j A_j + sum over k of E_k N_kj) / scale
 *
 * the codes of j are those whose sum of codewords, times A_j, is nearest to y_j. With L the Cholesky factor of the
 * damped H, A_j = L_jj and N_kj = L_kj for groups k that were encoded before j, this is error feedback. With
 * A_j A_j^T = H_jj and N_kj = H_kj A_j^-T for all k but j, it is the exact best choice for group j. */
#ifndef AQZ_CODEC_ENCODE_METRIC_H
#define AQZ_CODEC_ENCODE_METRIC_H

#include "codec/encode/encode.h"

/* Matrix rows that a thread works on at a time. Products are always of so many rows, so that their rounding does not
 * depend on the number of threads. */
#define AQZ_TASK_ROWS 64u

/* A layer and the state of its codes. */
typedef struct aqz_metric {
	aqz_matrix a;
	const float *hessian; /* [cols][cols]; NULL = the identity */
	float *factor;        /* [groups][G][G]: A_j, 0 beyond the matrix */
	float *feedback;      /* [cols][cols]: N; none for the identity */
	uint32_t *order;      /* [groups]: in which the groups are encoded */
	float *error;         /* [rows][cols]: E of the codes, scales and codebooks as they are; 0 before the start */
	float *scales;        /* [code_rows] */
	uint16_t *codes;      /* [code_rows][groups * M] */
	const float *start_w; /* [rows][cols]: w with 0 for dead inputs; may be in error, until the start */
	int exponent;         /* scales were begun at 2^-exponent of the rows' size */
	double energy;        /* tr(W H W^T) */
	double weight;        /* of this layer's loss in the sum over layers */
} aqz_metric;

/* Codebooks and layers in training or in encoding. */
typedef struct aqz_tuner {
	aqz_encoder *e;       /* scheme, codebooks, effort, seed, threads, progress; search[] is not used */
	aqz_metric *layers;
	uint32_t n_layers;
	aqz_prune *prune;     /* one for each of search; NULL if all searches are exhaustive */
	float *transformed;   /* [n_threads][2^B][d]: for the prune's load */
	aqz_search *search;   /* [n_search]: tables of a block's groups, then of their bottom form if there is one */
	unsigned n_search;    /* groups of a block */
	uint8_t *scratch;     /* [n_threads][scratch_each] */
	uint64_t scratch_each;
	float *parts;         /* [AQZ_PARTS][values of all codebooks]: sums over rows, added in order */
	float *panel;         /* [cols][columns of a block]: of N */
} aqz_tuner;

#define AQZ_PARTS 16

static inline uint64_t aqz_task_code_rows(const aqz_scheme *s)
{
	return s->out_group >= AQZ_TASK_ROWS ? 1 : AQZ_TASK_ROWS / (unsigned)s->out_group;
}

static inline float *aqz_factor(const aqz_metric *l, uint64_t group)
{
	const size_t g = l->a.scheme.in_group;

	return l->factor + group * g * g;
}

/* Columns of a group inside the matrix. */
static inline unsigned aqz_group_cols(const aqz_matrix *a, uint64_t group)
{
	return (unsigned)aqz_min(a->scheme.in_group, a->cols - group * a->scheme.in_group);
}

/* The scratch of the calling thread. */
void *aqz_tuner_scratch(const aqz_tuner *t);
float *aqz_tuner_transformed(const aqz_tuner *t);

/* ---- metric.c */

/* Bytes of a layer's arrays, and those that are needed only while the start is prepared. */
uint64_t aqz_metric_bytes(const aqz_matrix *a, bool has_hessian);
uint64_t aqz_metric_start_bytes(const aqz_matrix *a, bool has_hessian);
/* Allocates; w and hessian are borrowed. */
aqz_status aqz_metric_create(aqz_metric *l, const aqz_matrix *a, const float *hessian, aqz_budget *budget,
	aqz_error *err);
void aqz_metric_free(aqz_metric *l, aqz_budget *budget);

/* Checks H, and sets energy and the scales to start with. ARGUMENT if w or H is not finite. */
aqz_status aqz_metric_begin(aqz_metric *l, unsigned n_threads, aqz_error *err);
/* Makes factor, feedback and order for the start and clears the errors; then those for the descent. */
aqz_status aqz_metric_ldl(aqz_metric *l, unsigned n_threads, aqz_budget *budget, aqz_error *err);
void aqz_metric_descent(aqz_metric *l, unsigned n_threads);

/* ---- sweep.c */

/* How a group's codes are found. */
typedef struct aqz_sweep_how {
	const float *codebooks; /* [M][2^B][d] that count */
	unsigned beam;
	float noise;            /* on what is searched for, a share of the distance that the codes have */
	uint64_t stream;        /* of random numbers */
	bool fresh;             /* there are no codes yet */
	bool backward;          /* the last group of the order first */
} aqz_sweep_how;

/* New codes for all groups of the rows of a layer; errors follow. With codes there already, no choice makes the loss
 * larger. */
void aqz_sweep(aqz_tuner *t, aqz_metric *l, const aqz_sweep_how *how);
/* Bytes of a thread's scratch, and of the panel. */
uint64_t aqz_sweep_scratch_bytes(const aqz_scheme *scheme, unsigned beam);
uint64_t aqz_sweep_panel_bytes(const aqz_scheme *scheme, uint64_t cols);
/* True if a single codebook is so large that its search is pruned. */
bool aqz_sweep_prunes(const aqz_scheme *scheme);
/* Groups whose tables are held at a time. */
unsigned aqz_sweep_groups(const aqz_scheme *scheme);

/* ---- normal.c */

/* Errors of the codes with these codebooks. */
void aqz_errors(aqz_tuner *t, aqz_metric *l, const float *codebooks);
/* tr(E H E^T) / tr(W H W^T). */
double aqz_loss(aqz_tuner *t, const aqz_metric *l);
/* Codebooks by conjugate gradients, from what they are: at most so many steps. Errors follow. */
void aqz_normal(aqz_tuner *t, unsigned steps);
/* The best scale of each row for its codes, rounded to dtype; errors follow. */
void aqz_refit(aqz_tuner *t, aqz_metric *l, aqz_dtype dtype);
uint64_t aqz_normal_scratch_bytes(const aqz_scheme *scheme, uint64_t cols);

/* rows.c: a scale as it is stored: rounded, but never to infinity. */
float aqz_stored_scale(float scale, aqz_dtype dtype);

#endif
