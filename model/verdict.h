/* SPDX-License-Identifier: Apache-2.0 */
/* What logits say about one position, and means of that. */
#ifndef AQZ_MODEL_VERDICT_H
#define AQZ_MODEL_VERDICT_H

#include "aqlmzip_model.h"

/* Of the model and its reference: -ln of the right token's probability; how far they are apart. */
typedef struct aqz_verdict {
	double nll[2], kl;
	bool agree;
} aqz_verdict;

/* Logits of n tokens; reference may be NULL. */
void aqz_verdict_of(aqz_verdict *v, const float *logits, const float *reference, uint32_t n, uint32_t label);

/* Mean and variance of a stream (Welford 1962), zeroed at first. */
typedef struct aqz_tally {
	uint64_t n;
	double mean, squares;
} aqz_tally;

void aqz_tally_add(aqz_tally *t, double x);
/* The mean and its standard error; 0 for the error of a single number. */
aqz_mean aqz_tally_mean(const aqz_tally *t);

#endif
