/* SPDX-License-Identifier: Apache-2.0 */
/* The Viterbi search for one path, which variants share but for the inner loops. With up to 8 states, where a row is a
 * chain of few operations, it goes from both ends at the same time: costs from the start to a state in the middle,
 * and from there to the end. */
#ifndef AQZ_CODEC_ENCODE_TRELLIS_VITERBI_H
#define AQZ_CODEC_ENCODE_TRELLIS_VITERBI_H

#include "codec/trellis.h"

#define AQZ_MAX_STATES (1u << AQZ_TRELLIS_MAX_STATE_BITS)
/* Costs are made small again after so many rows, so that sums stay exact to a few bits. */
#define AQZ_REBASE 32

/* One row from states to states: the cost of each is the lesser of cost[other[p]] + c[candidate[p]] for p = 0, 1, and
 * the choice's bit is p. */
typedef struct aqz_step {
	int32_t other[2][AQZ_MAX_STATES];
	int32_t candidate[2][AQZ_MAX_STATES]; /* 2 * t + p */
} aqz_step;

typedef struct aqz_viterbi {
	unsigned state_bits, n_states;
	size_t row_bytes; /* of choices: a bit for each state */
	size_t n, middle; /* rows; those before middle are gone through forwards, the others backwards */
	const float *cost; /* [n][4] */
	uint8_t *choice;
	aqz_step forth;    /* other: the state before */
	aqz_step back;     /* other: the state after */
	float before[AQZ_MAX_STATES], after[AQZ_MAX_STATES]; /* costs from the start and to the end, of states at middle */
} aqz_viterbi;

/* The rows from both ends to the middle: fills before, after and choice, which begin with what stands there. */
typedef void aqz_viterbi_fn(aqz_viterbi *v);

/* With one state nothing but the cheaper parity; else the search by rows(). */
void aqz_viterbi_path(int32_t *restrict index, const float *restrict cost, const int32_t *restrict k,
	uint8_t *restrict choice, size_t n, unsigned state_bits, aqz_viterbi_fn *rows);

aqz_viterbi_fn aqz_viterbi_plain;
#if defined(__x86_64__)
aqz_viterbi_fn aqz_viterbi_avx2, aqz_viterbi_avx512;
#endif

#endif
