/* SPDX-License-Identifier: Apache-2.0 */
/* What logits say about one position, and means of that. */
#include <math.h>

#include "model/kernels.h"
#include "model/verdict.h"

void aqz_tally_add(aqz_tally *t, double x)
{
	double before = x - t->mean;

	t->n++;
	t->mean += before / (double)t->n;
	t->squares += before * (x - t->mean);
}

aqz_mean aqz_tally_mean(const aqz_tally *t)
{
	double n = (double)t->n;

	return (aqz_mean){t->mean, t->n > 1 ? sqrt(t->squares / (n - 1) / n) : 0};
}

/* The lowest id of the likeliest token; n if there is none because of NaN. */
static uint32_t likeliest(const float *logits, uint32_t n)
{
	float top = aqz_math_best()->max(logits, n);
	uint32_t i = 0;

	while (i < n && logits[i] != top)
		i++;
	return i;
}

/* sum p_ref (ln p_ref - ln p) of logits l and r: the mean of r - l under p_ref, and the difference of the logarithms of
 * the sums. Exactly 0 for equal logits; rounding is not allowed to make it negative. */
static double divergence(const float *l, const float *r, uint32_t n, double l_lse, double r_lse)
{
	enum { BLOCK = 256 };
	const aqz_math *math = aqz_math_best();
	const float shift = math->max(r, n);
	double total = 0;
	float e[BLOCK];

	for (uint32_t i = 0; i < n; i += BLOCK) {
		uint32_t m = n - i < BLOCK ? n - i : BLOCK;
		double lanes[8] = {0};

		math->exp_shift(e, r + i, shift, m);
		for (uint32_t k = 0; k < m; k++)
			lanes[k & 7] += (double)(e[k] * (r[i + k] - l[i + k]));
		for (int k = 0; k < 8; k++)
			total += lanes[k];
	}
	total = total * exp((double)shift - r_lse) + l_lse - r_lse;
	return total < 0 ? 0 : total;
}

void aqz_verdict_of(
	aqz_verdict *v, const float *logits, const float *reference, uint32_t n, uint32_t label)
{
	double lse = aqz_log_sum_exp(logits, n), reference_lse;

	v->nll[0] = lse - (double)logits[label];
	if (reference == NULL)
		return;
	reference_lse = aqz_log_sum_exp(reference, n);
	v->nll[1] = reference_lse - (double)reference[label];
	v->kl = divergence(logits, reference, n, lse, reference_lse);
	v->agree = likeliest(logits, n) == likeliest(reference, n);
}
