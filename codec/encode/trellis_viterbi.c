/* SPDX-License-Identifier: Apache-2.0 */
/* The Viterbi search of the trellis encoder: what is not vectors. */
#include "codec/encode/trellis_viterbi.h"

/* Most states for which both ends are searched at the same time. */
#define MOST_BOTH 8
#define FAR 1e30f

static void steps_init(aqz_viterbi *v)
{
	for (unsigned s = 0; s < v->n_states; s++)
		for (unsigned odd = 0; odd < 2; odd++) {
			const unsigned to = aqz_trellis_next(v->state_bits, s, odd);
			const int32_t candidate = (int32_t)(2 * (s & 1) + odd);

			v->forth.other[odd][to] = (int32_t)s;
			v->back.other[odd][s] = (int32_t)to;
			v->forth.candidate[odd][to] = v->back.candidate[odd][s] = candidate;
		}
}

static unsigned least(const float *cost, unsigned n)
{
	unsigned best = 0;

	for (unsigned s = 1; s < n; s++)
		if (cost[s] < cost[best])
			best = s;
	return best;
}

static void row_plain(float *now, const aqz_step *step, const float *c, uint8_t *choice,
	unsigned n_states, bool rebase)
{
	float next[AQZ_MAX_STATES], base;

	for (unsigned s = 0; s < n_states; s += 8) {
		unsigned bits = 0;

		for (unsigned o = s; o < s + 8 && o < n_states; o++) {
			const float a = now[step->other[0][o]] + c[step->candidate[0][o]],
						b = now[step->other[1][o]] + c[step->candidate[1][o]];

			bits |= (unsigned)(b < a) << (o - s);
			next[o] = b < a ? b : a;
		}
		choice[s / 8] = (uint8_t)bits;
	}
	base = rebase ? next[least(next, n_states)] : 0;
	for (unsigned s = 0; s < n_states; s++)
		now[s] = next[s] - base;
}

void aqz_viterbi_plain(aqz_viterbi *v)
{
	for (size_t i = 0; i < v->middle; i++)
		row_plain(v->before, &v->forth, v->cost + 4 * i, v->choice + i * v->row_bytes, v->n_states,
			i % AQZ_REBASE == AQZ_REBASE - 1);
	for (size_t i = 0; i < v->n - v->middle; i++) {
		const size_t row = v->n - 1 - i;

		row_plain(v->after, &v->back, v->cost + 4 * row, v->choice + row * v->row_bytes,
			v->n_states, i % AQZ_REBASE == AQZ_REBASE - 1);
	}
}

/* Follows the choices from the state at the middle to both ends. */
static void walk(aqz_viterbi *v, unsigned middle_state)
{
	const unsigned last_bit = v->state_bits - 1;
	const unsigned h0 = aqz_trellis_codes[v->state_bits][0], h1 = aqz_trellis_codes[v->state_bits][1];
	const size_t row_bytes = v->row_bytes;
	unsigned state = middle_state;

	for (size_t i = v->middle; i-- > 0;) {
		const unsigned t = state >> last_bit,
					   odd = v->choice[i * row_bytes + state / 8] >> state % 8 & 1u;

		v->choice[i * row_bytes] = (uint8_t)(2 * t + odd);
		state = (state ^ (t ? h0 : 0) ^ (odd ? h1 : 0)) << 1 | t;
	}
	state = middle_state;
	for (size_t i = v->middle; i < v->n; i++) {
		const unsigned t = state & 1, odd = v->choice[i * row_bytes + state / 8] >> state % 8 & 1u;

		v->choice[i * row_bytes] = (uint8_t)(2 * t + odd);
		state = state >> 1 ^ (t ? h0 : 0) ^ (odd ? h1 : 0);
	}
}

static void search(aqz_viterbi *v, aqz_viterbi_fn *rows)
{
	unsigned best = 0;

	steps_init(v);
	for (unsigned s = 0; s < v->n_states; s++) {
		v->before[s] = s == 0 ? 0 : FAR;
		v->after[s] = 0;
	}
	rows(v);
	for (unsigned s = 1; s < v->n_states; s++)
		if (v->before[s] + v->after[s] < v->before[best] + v->after[best])
			best = s;
	walk(v, best);
}

void aqz_viterbi_path(int32_t *restrict index, const float *restrict cost, const int32_t *restrict k,
	uint8_t *restrict choice, size_t n, unsigned state_bits, aqz_viterbi_fn *rows)
{
	aqz_viterbi v; /* large: only what is used is set */
	size_t row_bytes = 1;

	if (state_bits > 0) {
		v.state_bits = state_bits;
		v.n_states = 1u << state_bits;
		v.row_bytes = row_bytes = v.n_states <= 8 ? 1 : v.n_states / 8;
		v.n = n;
		v.middle = v.n_states <= MOST_BOTH ? n / 2 : n;
		v.cost = cost;
		v.choice = choice;
		search(&v, rows);
	} else {
		for (size_t i = 0; i < n; i++)
			choice[i] = cost[4 * i + 1] < cost[4 * i];
	}
	for (size_t i = 0; i < n; i++) {
		const uint8_t which = choice[i * row_bytes];

		index[i] = k[4 * i + which];
		choice[i] = which;
	}
}
