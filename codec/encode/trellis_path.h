/* SPDX-License-Identifier: Apache-2.0 */
/* The search of the trellis encoder: which indices a column gets. Every variant does the same operations in the same
 * order, so that all give the same indices. */
#ifndef AQZ_CODEC_ENCODE_TRELLIS_PATH_H
#define AQZ_CODEC_ENCODE_TRELLIS_PATH_H

#include <stddef.h>
#include <stdint.h>

/* Rates of a bucket: [2][AQZ_RATES], of index k under t at [t][k + AQZ_RATES / 2]; indices outside cost as the nearest
 * inside, so that both ends hold the price of an escape. */
#define AQZ_RATES 128

typedef struct aqz_path_kernels {
	const char *name;

	/* For each of n values y = x * inverse (in steps) and each quantizer t and parity p of the index, the index with
	 * the least (y - v)^2 + rates[bucket][t][k]: cost[4 * i + 2 * t + p] and k[the same]. With one state t is always 0
	 * and v = k. */
	void (*candidates)(float *restrict cost, int32_t *restrict k, const float *restrict x, float inverse,
		const float *restrict rates, const uint8_t *restrict bucket, size_t n, unsigned state_bits);

	/* The cheapest path through the trellis from state 0 (Viterbi 1967): index[i] is one of k[4 * i ..]. choice:
	 * scratch of n << state_bits >> 3 bytes and 8 more. */
	void (*path)(int32_t *restrict index, const float *restrict cost, const int32_t *restrict k,
		uint8_t *restrict choice, size_t n, unsigned state_bits);
} aqz_path_kernels;

/* Variant i of those that this machine runs, the plainest first, or NULL after the last; the last of them. */
const aqz_path_kernels *aqz_path_kernels_get(unsigned i);
const aqz_path_kernels *aqz_path_kernels_best(void);

#endif
