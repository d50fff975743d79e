/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the trellis encoder: which indices a column gets, and what they leave to later columns. Every
 * variant does the same operations in the same order, so that all give the same indices. */
#ifndef AQZ_CODEC_ENCODE_TRELLIS_PATH_H
#define AQZ_CODEC_ENCODE_TRELLIS_PATH_H

#include <stddef.h>
#include <stdint.h>

/* Rates of a bucket: [2][AQZ_RATES], of index k under t at [t][k + AQZ_RATES / 2]; indices outside cost as the nearest
 * inside, so that both ends hold the price of an escape. */
#define AQZ_RATES 256

/* A column whose indices are there. */
typedef struct aqz_path_column {
	size_t n;
	const float *x;        /* [n]: what was to be coded */
	const float *w;        /* [n]: x without the feedback */
	const int32_t *index;  /* [n] */
	const uint8_t *choice; /* [n]: as path() leaves it */
	const uint8_t *bucket; /* [n] */
	const float *weight;   /* [n]: of a squared error */
	float step;            /* > 0 */
	unsigned state_bits;
} aqz_path_column;

typedef struct aqz_path_kernels {
	const char *name;

	/* For each of n values y = x * inverse (in steps) and each quantizer t and parity p of the index, the index with
	 * the least (y - v)^2 + rates[bucket][t][k]: cost[4 * i + 2 * t + p] and k[the same]. With one state t is always 0
	 * and v = k. */
	void (*candidates)(float *restrict cost, int32_t *restrict k, const float *restrict x, float inverse,
		const float *restrict rates, const uint8_t *restrict bucket, size_t n, unsigned state_bits);

	/* The cheapest path through the trellis from state 0 (Viterbi 1967): index[i] is one of k[4 * i ..]. choice:
	 * scratch of a bit for each state, in whole bytes, for each of n; afterwards choice[i] is 2 * t + p of index[i]. */
	void (*path)(int32_t *restrict index, const float *restrict cost, const int32_t *restrict k,
		uint8_t *restrict choice, size_t n, unsigned state_bits);

	/* x[i] += f[0] * error[i] + f[1] * error[n + i] + ... for n_before columns of n rows, in this order. */
	void (*feedback)(float *restrict x, const float *restrict f, const float *restrict error, size_t n_before,
		size_t n);

	/* error[i] = w - v * step, and which of the counts [bucket][t][AQZ_TRELLIS_MAX_MAGNITUDE + 1] index[i] belongs to
	 * by its magnitude, all from the last on being one. Returns the sum of weight * (x - v * step)^2. */
	double (*settle)(float *restrict error, uint16_t *restrict count, const aqz_path_column *column);
} aqz_path_kernels;

/* Variant i of those that this machine runs, the plainest first, or NULL after the last; the last of them. */
const aqz_path_kernels *aqz_path_kernels_get(unsigned i);
const aqz_path_kernels *aqz_path_kernels_best(void);

#endif
