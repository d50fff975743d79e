/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the additive encoder: what its steps hand to each other.
 *
 *	effort.c  how much work an effort is, and the memory that it needs
 *	sample.c  row scales to start with; the vectors that codebooks are trained on
 *	start.c   codebooks to start with: k-means on residuals
 *	search.c  tables of codebooks, nearest codeword    beam.c  codes by beam search
 *	prune.c   nearest codeword of a large codebook     prune_tree.c  the tree that it needs
 *	update.c  codebooks by least squares, given codes
 *	rows.c    codes and scales of all rows, given codebooks
 *	encode.c  the order of these
 *
 * The result depends on nothing but the input, the options and the seed: sums of floats have a fixed
 * order, whatever the threads do. */
#ifndef AQZ_CODEC_ENCODE_ENCODE_H
#define AQZ_CODEC_ENCODE_ENCODE_H

#include "codec/encode/prune.h"

/* ---- The matrix */

/* Groups at the right and bottom edge may reach over it. Their class says which values do: these have
 * no weight in anything. */
enum { AQZ_EDGE_RIGHT = 1, AQZ_EDGE_BOTTOM = 2, AQZ_N_CLASSES = 4 };

typedef struct aqz_matrix {
	const float *w;
	uint64_t rows, cols, code_rows, groups;
	aqz_scheme scheme;
	unsigned n_values;                             /* of a codeword: O * G */
	bool has_class[AQZ_N_CLASSES];                 /* some group is of that class */
	float mask[AQZ_N_CLASSES][AQZ_MAX_CODEWORD];   /* 1 inside, 0 outside */
} aqz_matrix;

void aqz_matrix_init(aqz_matrix *a, const float *w, uint64_t rows, uint64_t cols,
	const aqz_scheme *scheme);

static inline unsigned aqz_class(const aqz_matrix *a, uint64_t code_row, uint64_t group)
{
	const bool right = group + 1 == a->groups && a->cols % a->scheme.in_group != 0;
	const bool bottom = code_row + 1 == a->code_rows && a->rows % a->scheme.out_group != 0;

	return (right ? AQZ_EDGE_RIGHT : 0u) | (bottom ? AQZ_EDGE_BOTTOM : 0u);
}

/* Copies one group, times factor, with 0 outside the matrix. Bounded so that no later square or sum of
 * products overflows. */
void aqz_gather(float *x, const aqz_matrix *a, uint64_t code_row, uint64_t group, float factor);

/* ---- Effort */

typedef struct aqz_effort {
	unsigned start_steps;   /* of k-means for each codebook */
	unsigned sweeps;        /* of search and least squares on the sample */
	unsigned train_beam;
	unsigned scale_beam;    /* of the pass that finds the row scales; 0 = no such pass */
	unsigned final_beam;
	unsigned refits;        /* further passes with refitted scales */
	unsigned cg_steps;
	unsigned doublings;     /* of the part of the sample that is in use, before all of it is */
	uint64_t n_sample;      /* vectors */
} aqz_effort;

/* What a matrix is encoded with. effort: 0..9. */
aqz_effort aqz_effort_of(const aqz_matrix *a, int effort);
/* The same, with what the options say; opt may be NULL. */
aqz_effort aqz_effort_for(const aqz_matrix *a, const aqz_encode_options *opt);

/* Vectors of the sample that a sweep uses: first sweeps are rough and need few. */
uint64_t aqz_effort_sample(const aqz_effort *f, unsigned sweep);

/* ---- Sample */

typedef struct aqz_sample {
	size_t n;
	unsigned n_values, n_codebooks;
	size_t n_codewords;
	/* Vectors are ordered by class, and shuffled within: a prefix of each class is a smaller sample. */
	size_t begin[AQZ_N_CLASSES], end[AQZ_N_CLASSES];
	size_t active[AQZ_N_CLASSES], n_active; /* the prefixes in use, and the vectors in them */
	float *x;         /* [n][d]: groups divided by their row's scale */
	float *rest;      /* [n][d]: what codewords leave of x; scratch of the update */
	float *weight;    /* [n]: square of the row's scale, the largest being 1 */
	uint16_t *codes;  /* [n][M] */
	uint32_t *order;  /* [M][n]: vectors by code */
	uint32_t *start;  /* [M][2^B + 1]: where each code's begin in order */
} aqz_sample;

uint64_t aqz_sample_bytes(const aqz_matrix *a, uint64_t n_sample);
aqz_status aqz_sample_create(aqz_sample *s, const aqz_matrix *a, uint64_t n_sample,
	aqz_budget *budget, aqz_error *err);
void aqz_sample_free(aqz_sample *s, const aqz_matrix *a, uint64_t n_sample, aqz_budget *budget);

/* Scales to start with: the root mean square of each code row, times one power of two for all where
 * they are far from 1, which the codebooks take up: 2^-exponent (which may be NULL). energy: [code_rows]
 * sums of squares. ARGUMENT if a weight is not finite. */
aqz_status aqz_start_scales(float *scales, double *energy, int *exponent, const aqz_matrix *a,
	unsigned n_threads, aqz_error *err);

/* Fills x and weight with vectors spread evenly over the matrix. */
void aqz_sample_fill(aqz_sample *s, const aqz_matrix *a, const float *scales, uint64_t seed,
	unsigned n_threads);

/* Vector k of n goes to place k * step mod n, so that every prefix is spread evenly. 0 for n < 2. */
uint64_t aqz_sample_step(uint64_t n);

/* Orders the vectors by their code in codebook m. */
void aqz_sample_sort(aqz_sample *s, unsigned m);

/* Takes about n of the vectors into use. */
void aqz_sample_use(aqz_sample *s, size_t n);

static inline unsigned aqz_sample_class(const aqz_sample *s, size_t i)
{
	unsigned c = 0;

	while (i >= s->end[c])
		c++;
	return c;
}

/* The k-th vector in use. */
static inline size_t aqz_sample_pick(const aqz_sample *s, size_t k)
{
	unsigned c = 0;

	while (k >= s->active[c])
		k -= s->active[c++];
	return s->begin[c] + k;
}

/* ---- State of the encoder */

typedef struct aqz_encoder {
	aqz_matrix a;
	aqz_effort effort;
	uint64_t seed;
	unsigned n_threads;
	aqz_search search[AQZ_N_CLASSES];
	aqz_prune *prune;      /* room for the pruned search; NULL if all searches are exhaustive */
	bool rows_pruned;      /* it holds the only codebook, for the groups inside the matrix */
	aqz_sample sample;
	float *codebooks;      /* [M][2^B][d] */
	float *work;           /* [4][M][2^B][d]: of the update */
	float *scales;         /* [code_rows] */
	double *energy, *loss; /* [code_rows] */
	uint8_t *scratch;      /* [n_threads][scratch_bytes] */
	uint64_t scratch_bytes;
	uint16_t *codes;       /* [slice rows][groups * M] */
	aqz_progress_fn *progress;
	void *progress_user;
	double work_done, work_total; /* rough numbers of multiplications */
} aqz_encoder;

/* Code rows that rows.c encodes at a time. */
#define AQZ_SLICE_ROWS 512

/* Puts codebooks [first, end) into the search tables of all classes; gram too, if all are set. */
void aqz_encoder_load(aqz_encoder *e, unsigned first, unsigned end);

/* The scratch of the calling thread. */
void *aqz_encoder_scratch(const aqz_encoder *e);

/* Counts work as done and tells the caller, who may cancel. */
aqz_status aqz_encoder_tick(aqz_encoder *e, double work, aqz_error *err);
/* The work of searching n vectors in one codebook, and by a beam in all; of the whole training; of the
 * rows that hold n groups. */
double aqz_nearest_work(const aqz_matrix *a, double n);
double aqz_beam_work(const aqz_matrix *a, double n, unsigned beam);
double aqz_train_work(const aqz_matrix *a, const aqz_effort *f);
double aqz_rows_work(const aqz_matrix *a, const aqz_effort *f, double n);

/* Sends the sample's vectors in use, given as x ([n][d]), to the nearest codeword of codebook m, which is
 * in the tables. */
void aqz_assign(aqz_encoder *e, unsigned m, const float *x);

/* Codebooks to start with. */
aqz_status aqz_start_codebooks(aqz_encoder *e, aqz_error *err);

/* Codes of the sample by beam search, with the codebooks in the tables. */
void aqz_encode_sample(aqz_encoder *e);

/* Moves codewords that no vector uses to where a vector is badly met, and all of them at random, less
 * from sweep to sweep. */
void aqz_shake(aqz_encoder *e, unsigned sweep);

/* Codebooks that minimise the sample's error, given its codes. */
void aqz_update(aqz_encoder *e);

/* Codes and scales of code rows [begin, end), at most AQZ_SLICE_ROWS; adds their T64 row blocks to out
 * and their errors to e->loss. */
void aqz_encode_rows(aqz_encoder *e, aqz_additive *out, uint64_t begin, uint64_t end);
/* Bytes of scratch that it needs beside the search's, for each thread. */
uint64_t aqz_encode_rows_bytes(const aqz_matrix *a);

/* Training in the plain metric: codebooks to start with, then sweeps over the sample. */
aqz_status aqz_plain_train(aqz_encoder *e, aqz_error *err);
/* Rounds codebooks to how they are stored: in out, and to what these are in codebooks. */
void aqz_round_codebooks(aqz_additive *out, float *codebooks);
/* The codebooks of a as they are stored, in binary32. */
void aqz_widen_codebooks(float *codebooks, const aqz_additive *a);
/* Packs codes [code rows begin..end)[groups * M] to the T64 row blocks of out; begin: a multiple of 64. */
void aqz_pack_codes(aqz_additive *out, const uint16_t *codes, uint64_t begin, uint64_t end, unsigned n_threads);
/* What is wrong with the sizes or the options, or NULL. */
const char *aqz_encode_fault(const aqz_layer *layer, const aqz_scheme *scheme, const aqz_encode_options *opt);

/* aqz_encode_additive with a given variant of the kernels. */
aqz_status aqz_encode_additive_with(aqz_additive *out, aqz_encode_report *report, const aqz_layer *layer,
	const aqz_scheme *scheme, const aqz_encode_options *opt, const aqz_kernels *kernels, aqz_error *err);

/* ---- Random numbers: a hash of (seed, stream, index), so that their order does not matter. */

static inline uint64_t aqz_random(uint64_t seed, uint64_t stream, uint64_t index)
{
	/* The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), three times. */
	uint64_t z = seed;
	const uint64_t parts[3] = {UINT64_C(0x9e3779b97f4a7c15), stream, index};

	for (int i = 0; i < 3; i++) {
		z += parts[i] * UINT64_C(0x9e3779b97f4a7c15) + 1;
		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		z ^= z >> 31;
	}
	return z;
}

/* A number below n, n > 0; the bias of at most n / 2^64 does not matter here. */
static inline uint64_t aqz_random_below(uint64_t n, uint64_t seed, uint64_t stream, uint64_t index)
{
	return (uint64_t)((unsigned __int128)aqz_random(seed, stream, index) * n >> 64);
}

/* Nearly normal, of variance 1: the sum of four uniform numbers. */
static inline float aqz_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
	const uint64_t u = aqz_random(seed, stream, index);
	/* Of variance 1 / 3 in units of 2^16. */
	const float sum =
		(float)(u & 0xffff) + (float)(u >> 16 & 0xffff) + (float)(u >> 32 & 0xffff) + (float)(u >> 48);

	return (sum * 0x1p-16f - 2) * 1.7320508f;
}

#endif
