/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of aqz_calibrate share. */
#ifndef AQZ_MODEL_CALIBRATE_H
#define AQZ_MODEL_CALIBRATE_H

#include "model/forward.h"

/* Tokens of a batch, if the longest window is not longer: enough that unpacking weights costs little beside
 * products. */
#define AQZ_CALIBRATE_BATCH 2048

/* One run. */
typedef struct aqz_calibration {
	const aqz_model *m;
	const aqz_windows *windows;
	const aqz_calibrate_options *opt;
	const aqz_io *out;
	aqz_budget budget;
	unsigned n_threads;
	uint64_t n_tokens, longest;  /* of all windows; of the longest one */
	uint32_t importance_windows; /* the first so many are used for importance */
	uint64_t importance_tokens;
	uint64_t done, total;        /* work, in tokens times blocks */
	float *importance;           /* [aqz_importance_values()]; NULL = not wanted */
} aqz_calibration;

/* The windows that follow one another in a batch. */
typedef struct aqz_window_batch {
	uint32_t first, end; /* windows */
	size_t n;            /* tokens */
	const uint32_t *ids; /* [n] */
	size_t *begin;       /* [end - first + 1] the tokens where windows begin, for aqz_batch */
} aqz_window_batch;

/* The windows from batch->end on, up to max_tokens tokens but at least one window, of the first n_windows; false if
 * there are none. */
bool aqz_calibration_next(aqz_window_batch *batch, const aqz_calibration *c, uint32_t n_windows, uint64_t max_tokens);
/* Room for such batches' begin, freed with the budget. */
aqz_status aqz_calibration_begin(size_t **begin, aqz_calibration *c, uint64_t max_tokens, aqz_error *err);
/* n_bytes of n times each; MEMLIMIT or NOMEM, also if the product overflows. */
aqz_status aqz_calibration_alloc(void **p, aqz_calibration *c, uint64_t n, uint64_t each, const char *what,
	aqz_error *err);
/* What is left of the memory limit; 0 = no limit, 1 if nothing is left. */
uint64_t aqz_calibration_room(const aqz_calibration *c, uint64_t used_bytes);
/* Counts work and tells the caller; CANCELLED. */
aqz_status aqz_calibration_tick(aqz_calibration *c, uint64_t work, aqz_error *err);

/* ---- gram.c: sums of x x^T over tokens, in binary64; squares of the upper triangle, so about half of it all */

typedef struct aqz_gram {
	size_t n, tile, n_tiles; /* inputs; the side of a square; squares along one side */
	double *sums;            /* [n_tiles (n_tiles + 1) / 2][tile][tile]: by rows of squares, from the diagonal on */
	uint64_t n_bytes;
} aqz_gram;

aqz_status aqz_gram_open(aqz_gram *g, size_t n, aqz_calibration *c, aqz_error *err);
void aqz_gram_close(aqz_gram *g, aqz_calibration *c);
void aqz_gram_clear(aqz_gram *g);
/* Floats of scratch for aqz_gram_add with so many threads, and for aqz_gram_rows' rows of up to n inputs. */
uint64_t aqz_gram_scratch(uint64_t n, unsigned n_threads);
/* Adds n_tokens tokens, ld floats apart; the same for any number of threads. OpenBLAS must be set to one thread. */
void aqz_gram_add(aqz_gram *g, const float *x, size_t ld, size_t n_tokens, float *scratch, unsigned n_threads);
/* Rows of squares: rows [i * tile, ...) of the whole matrix, divided by n_tokens, to h. Returns how many rows; h[r][c]
 * and h[c][r] are the same bits. */
size_t aqz_gram_rows(float *h, const aqz_gram *g, size_t i, uint64_t n_tokens);

/* ---- importance.c */

/* Rows of all linears of all blocks and then of the head, and where those of one begin. */
uint64_t aqz_importance_values(const aqz_model_config *c);
uint64_t aqz_importance_head_at(const aqz_model_config *c);
uint64_t aqz_importance_at(const aqz_model_config *c, uint32_t layer, aqz_linear_kind kind);
/* Fills c->importance. */
aqz_status aqz_importance_run(aqz_calibration *c, aqz_error *err);

/* ---- stats_write.c */

/* The file's header, token counts and c->importance; matrices follow by aqz_stats_write_gram in the order q, o, gate,
 * down of each layer, then the head's. */
aqz_status aqz_stats_write_head(aqz_calibration *c, aqz_error *err);
/* rows: [tile][n] floats of scratch. CORRUPT if a sum is not finite. */
aqz_status aqz_stats_write_gram(aqz_calibration *c, const aqz_gram *g, float *rows, const char *name, aqz_error *err);
/* The name under which the head's inputs are written. */
const char *aqz_stats_head_name(const aqz_model_config *c);

#endif
