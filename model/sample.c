/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing the next token. The filters come in the order of Hugging Face's generation: temperature, top-k, top-p,
 * min-p, each on what the one before left. Thresholds are found by counting the bits of the probabilities, three digits
 * from the top, so nothing is sorted and no memory is taken. */
#include <math.h>
#include <string.h>

#include "aqlmzip_model.h"
#include "model/kernels.h"

/* SplitMix64 (Steele, Lea and Flood 2014): any state is a good seed. The top 53 bits, in [0, 1). */
static double uniform(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Whether one of so many is v, without a branch for each. */
#define RUN 64

static bool holds(const float *x, float v)
{
	int found = 0;

	for (uint32_t i = 0; i < RUN; i += 8)
		found |= (x[i] == v) | (x[i + 1] == v) | (x[i + 2] == v) | (x[i + 3] == v) |
			(x[i + 4] == v) | (x[i + 5] == v) | (x[i + 6] == v) | (x[i + 7] == v);
	return found != 0;
}

/* The lowest id of the largest logit. NaN counts as the least. */
static uint32_t likeliest(const float *logits, uint32_t n)
{
	const float most = aqz_math_best()->max(logits, n); /* leaves NaN out */
	uint32_t best = 0, i = 0;

	while (most > -INFINITY && i + RUN <= n && !holds(logits + i, most))
		i += RUN;
	for (; most > -INFINITY && i < n; i++)
		if (logits[i] == most)
			return i;
	for (i = 1; i < n; i++)
		if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i])))
			best = i;
	return best;
}

/* Of numbers >= 0 the bits are ordered as the numbers are. */
static uint32_t bits(float p)
{
	uint32_t b;

	memcpy(&b, &p, sizeof b);
	return b;
}

/* Keeps the largest p that together reach goal, by their number or by their sum; of equals the lowest ids. */
static void keep_largest(float *p, uint32_t n, double goal, bool by_sum)
{
	static const unsigned shifts[] = {21, 10, 0}, widths[] = {11, 11, 10};
	uint32_t prefix = 0, mask = 0;
	double above = 0, ties;

	for (int level = 0; level < 3; level++) {
		uint32_t last = (UINT32_C(1) << widths[level]) - 1, digit;
		double sums[2048] = {0};

		for (uint32_t i = 0; i < n; i++)
			if ((bits(p[i]) & mask) == prefix)
				sums[bits(p[i]) >> shifts[level] & last] += by_sum ? (double)p[i] : 1;
		for (digit = last; digit > 0 && above + sums[digit] < goal; digit--)
			above += sums[digit];
		prefix |= digit << shifts[level];
		mask |= last << shifts[level];
	}
	/* The threshold itself: as many of it as are missing, at least one. */
	ties = goal - above;
	for (uint32_t i = 0; i < n; i++) {
		if (bits(p[i]) > prefix)
			continue;
		if (bits(p[i]) < prefix || ties <= 0)
			p[i] = 0;
		else
			ties -= by_sum ? (double)p[i] : 1;
	}
}

/* In four sums that do not wait for each other. */
static double sum(const float *p, uint32_t n)
{
	double s[4] = {0};
	uint32_t i = 0;

	for (; i + 4 <= n; i += 4)
		for (int k = 0; k < 4; k++)
			s[k] += (double)p[i + (uint32_t)k];
	for (; i < n; i++)
		s[0] += (double)p[i];
	return (s[0] + s[1]) + (s[2] + s[3]);
}

uint32_t aqz_sample(float *logits, uint32_t n, const aqz_sampling *s, uint64_t *state)
{
	float *p = logits, top;
	double target;
	uint32_t best, last;

	if (n == 0)
		return AQZ_NO_TOKEN;
	last = best = likeliest(logits, n);
	top = logits[best];
	/* A NaN as temperature is greedy, too; without a finite number there is nothing to weigh. */
	if (!(s->temperature > 0) || !isfinite(top))
		return best;
	/* Probabilities but for a factor: the likeliest has 1. */
	for (uint32_t i = 0; i < n; i++)
		p[i] = isnan(logits[i]) ? -INFINITY : (logits[i] - top) / s->temperature;
	aqz_math_best()->exp_shift(p, p, 0, n);
	p[best] = 1;
	if (s->top_k != 0 && s->top_k < n)
		keep_largest(p, n, s->top_k, false);
	if (s->top_p > 0 && s->top_p < 1)
		keep_largest(p, n, (double)s->top_p * sum(p, n), true);
	if (s->min_p > 0)
		for (uint32_t i = 0; i < n; i++)
			if (p[i] < s->min_p && p[i] < 1)
				p[i] = 0;
	target = uniform(state) * sum(p, n);
	for (uint32_t i = 0; i < n; i++) {
		if (p[i] > 0) {
			target -= (double)p[i];
			last = i;
			if (target < 0)
				break;
		}
	}
	return last;
}
