/* SPDX-License-Identifier: Apache-2.0 */
/* verify --against, inside: the comparison (against.c), losses in the metric of the inputs (against_loss.c),
 * and what is said (against_report.c). */
#ifndef AQZ_CLI_AGAINST_H
#define AQZ_CLI_AGAINST_H

#include "cli/verify.h"

typedef struct comparison {
	const aqz_tensor_info *info;
	const aqz_scheme *scheme;
	bool coded, equal;
	double mse, recorded;           /* recorded NaN: nothing was */
	double loss, recorded_loss;     /* NaN: not computed, not recorded */
	bool good;
	char why[96];
} comparison;

/* What the loss of a tensor needs: all of its weights, and of the errors. */
typedef struct loss_sums {
	const aqz_source_tensor *stats; /* NULL: there is nothing to do */
	float *w, *e;
	size_t n;                       /* elements so far */
} loss_sums;

/* Starts, if there are statistics for the tensor and it is coded; w and e are NULL otherwise. */
aqz_status against_loss_begin(loss_sums *l, const verify_job *job, const aqz_stats *stats, const comparison *r,
	aqz_error *err);
/* The next elements of the model and of the file. */
void against_loss_add(loss_sums *l, const float *theirs, const float *ours, size_t n);
/* Sets r->loss once all are there. */
aqz_status against_loss_end(loss_sums *l, comparison *r, const verify_job *job, const aqz_stats *stats, aqz_error *err);
void against_loss_free(loss_sums *l);

/* The table's head and a row of it; losses: with the columns of losses. */
void against_print_head(size_t width, bool losses);
void against_print_row(const comparison *r, size_t width, bool losses);
json_t *against_row_json(const comparison *r);
/* All as JSON; frees rows. Returns an exit code. */
int against_print_json(
	const verify_job *job, json_t *rows, bool equal, aqz_status status, const aqz_error *err);

#endif
