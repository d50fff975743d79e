/* SPDX-License-Identifier: Apache-2.0 */
/* The constant that all trellis tensors without a goal share, for a number of bits of all together: first by a sample
 * of them, then by all. What a tensor takes with a constant is what the run that writes will make of it. */
#include <math.h>

#include "interop/crew.h"

#define SAMPLE 6
/* A quarter of the rows of all tensors, if they are so many, has the bits of all within 0.03 %. */
#define SHARE 0.25
#define ROWS 32768
#define MAX_TRIES 8
/* How near the sample comes, and all. */
#define NEAR_SAMPLE 0.01
#define NEAR 1e-3
/* From so near a step by the slope that was seen ends nearer than NEAR. */
#define CLOSE 0.006

typedef struct members {
	const uint32_t *entries;
	uint32_t n;
	double weights;
	uint64_t n_bytes; /* of the source */
} members;

typedef struct search {
	double slope;			  /* of bits by log2 of the constant */
	double last_bits, last_c; /* 0: none yet */
	double low, high;		  /* constants that give too many bits, and too few; 0: none yet */
} search;

static members members_of(const aqz_plan *plan, const uint32_t *entries, uint32_t n)
{
	members m = {.entries = entries, .n = n};

	for (uint32_t i = 0; i < n; i++) {
		m.weights += (double)plan->entries[entries[i]].tensor->n_elements;
		m.n_bytes += plan->entries[entries[i]].tensor->n_bytes;
	}
	return m;
}

/* What members of a crew are told, and say. */
typedef struct question {
	double slope, share;
	double *n_bytes; /* [members of the list] */
} question;

static aqz_status ask(void *question_, aqz_coder *c, uint32_t entry, uint32_t i, aqz_error *err)
{
	const question *q = question_;

	return aqz_coder_trellis_bytes(&q->n_bytes[i], c, entry, q->slope, q->share, err);
}

static aqz_status bits_of(
	double *bits, aqz_coder *c, const members *m, double slope, double share, aqz_error *err)
{
	question q = {slope, share, malloc(((size_t)m->n + 1) * sizeof(double))};
	double sum = 0;
	aqz_status status = AQZ_OK;

	if (q.n_bytes == NULL)
		return aqz_fail_nomem(err, m->n * sizeof(double));
	c->total_bytes += m->n_bytes;
	AQZ_TRY(aqz_crew_run(c, m->entries, m->n, ask, &q, err));
	for (uint32_t i = 0; i < m->n; i++)
		sum += q.n_bytes[i];
	*bits = 8 * sum / m->weights;
out:
	free(q.n_bytes);
	return status;
}

/* The next constant after bits were seen with c. */
static double step(search *s, double c, double bits, double goal)
{
	double next;

	if (bits > goal)
		s->low = c;
	else
		s->high = c;
	if (s->last_c > 0 && fabs(log2(c / s->last_c)) > 1e-6)
		s->slope = fmin(fmax((bits - s->last_bits) / log2(c / s->last_c), -1.5), -0.2);
	s->last_c = c;
	s->last_bits = bits;
	next = c * exp2(fmin(fmax((goal - bits) / s->slope, -8), 8));
	if (s->low > 0 && s->high > 0 && (next <= s->low || next >= s->high))
		next = sqrt(s->low * s->high);
	return next;
}

/* Goes on from *c until bits are near the goal, or come no nearer. */
static aqz_status find(double *c, search *s, aqz_coder *coder, const members *m, double share,
	double near, double close, aqz_error *err)
{
	const double goal = coder->plan->opt.shared_goal.value;
	double bits = 0, seen = -1;
	aqz_status status = AQZ_OK;

	for (unsigned i = 0; i < MAX_TRIES; i++) {
		AQZ_TRY(bits_of(&bits, coder, m, *c, share, err));
		if (fabs(bits / goal - 1) < near || bits == seen)
			break;
		seen = bits;
		*c = step(s, *c, bits, goal);
		if (fabs(bits / goal - 1) < close)
			break;
	}
out:
	return status;
}

static double share_of(const aqz_plan *plan, const members *m)
{
	uint64_t rows = 0;

	for (uint32_t i = 0; i < m->n; i++)
		rows += aqz_plan_layer(plan, m->entries[i]).rows;
	return rows < ROWS ? 1 : SHARE;
}

static aqz_status by_bits(aqz_coder *c, const uint32_t *entries, uint32_t n, aqz_error *err)
{
	uint32_t some[SAMPLE];
	const members all = members_of(c->plan, entries, n);
	search s = {.slope = -1};
	members sample;
	aqz_status status;

	for (uint32_t i = 0; i < SAMPLE; i++)
		some[i] = entries[(2 * (uint64_t)i + 1) * n / (2 * SAMPLE)];
	AQZ_TRY(aqz_coder_trellis_slope(
		&c->slope, c, some[SAMPLE / 2], c->plan->opt.shared_goal.value, err));
	if (n > 2 * SAMPLE) {
		sample = members_of(c->plan, some, SAMPLE);
		AQZ_TRY(find(&c->slope, &s, c, &sample, 1, NEAR_SAMPLE, NEAR_SAMPLE, err));
		s = (search){.slope = s.slope};
	}
	AQZ_TRY(find(&c->slope, &s, c, &all, share_of(c->plan, &all), NEAR, CLOSE, err));
	if (c->plan->opt.slope != NULL)
		c->plan->opt.slope(c->plan->opt.user, c->slope);
out:
	return status;
}

aqz_status aqz_coder_find_slope(aqz_coder *c, aqz_error *err)
{
	const aqz_plan *plan = c->plan;
	uint32_t *entries = malloc(((size_t)plan->n_entries + 1) * sizeof *entries), n = 0;
	aqz_status status = AQZ_OK;

	if (entries == NULL)
		return aqz_fail_nomem(err, plan->n_entries * sizeof *entries);
	for (uint32_t i = 0; i < plan->n_entries; i++)
		if (plan->entries[i].scheme.codec == AQZ_CODEC_TRELLIS &&
			plan->entries[i].goal.kind == AQZ_GOAL_SHARED)
			entries[n++] = i;
	if (plan->opt.shared_goal.kind == AQZ_GOAL_SLOPE)
		c->slope = plan->opt.shared_goal.value;
	else if (n > 0)
		status = by_bits(c, entries, n, err);
	free(entries);
	return status;
}
