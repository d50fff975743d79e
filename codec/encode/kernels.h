/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the encoder's search. Lanes run over codewords, and every lane does the same
 * operations in the same order in all variants, so that all give the same bits. Arrays of codewords
 * are padded to whole blocks of AQZ_LANES. */
#ifndef AQZ_CODEC_ENCODE_KERNELS_H
#define AQZ_CODEC_ENCODE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define AQZ_LANES 64
/* Codewords of a leaf, and children of a branch, of the pruned search. */
#define AQZ_LEAF 16

typedef struct aqz_kernels {
	const char *name;

	/* For 4 vectors x of d values, x_ld apart, and codewords [0, n) of table ([d] rows of n_table
	 * codewords): out[p * out_ld + k] = half_norm[k] - sum over j of x[p][j] * table[j][k], j = 0
	 * first. */
	void (*dots4)(float *out, size_t out_ld, const float *x, size_t x_ld, const float *table,
		size_t n_table, const float *half_norm, size_t n, unsigned d);
	/* The same for one vector. */
	void (*dots1)(float *out, const float *x, const float *table, size_t n_table,
		const float *half_norm, size_t n, unsigned d);

	/* out[k] = (v[k] + base) + rows[0][k] + ... + rows[n_rows - 1][k]. */
	void (*add_rows)(float *out, const float *v, float base, const float *const *rows,
		unsigned n_rows, size_t n);

	/* out[k] = least over b of base[b] + rows[b * n_rows][k] + ... + rows[b * n_rows + n_rows -
	 * 1][k]; n_rows > 0. */
	void (*min_rows)(float *out, const float *base, const float *const *rows, unsigned n_beams,
		unsigned n_rows, size_t n);

	/* out[k] = least of out[k] and v[k] + base. */
	void (*min_into)(float *out, const float *v, float base, size_t n);

	/* Writes the k with v[k] < threshold to index, ascending; returns how many. index has room for
	 * n. */
	size_t (*below)(uint32_t *index, const float *v, float threshold, size_t n);

	/* The least and the greatest of v. */
	void (*min_max)(float *least, float *greatest, const float *v, size_t n);

	/* How many v[k] < threshold there are. */
	size_t (*count_below)(const float *v, float threshold, size_t n);

	/* The least of v, and the first k with v[k] = value (0 if there is none). */
	float (*least)(const float *v, size_t n);
	size_t (*find)(const float *v, float value, size_t n);

	/* Squared distances of a point y from groups of AQZ_LEAF boxes, which have sides [low, high]:
	 * out[i * AQZ_LEAF + k] = sum over axes of g * g, axis 0 first, where g is the greatest of low - y,
	 * y - high and 0. boxes: [group][axis][2][AQZ_LEAF], low before high; group list[i], i < n, is
	 * looked at. */
	void (*boxes)(float *out, const float *y, const float *boxes, const uint32_t *list, size_t n,
		unsigned n_axes);

	/* Scores of the AQZ_LEAF codewords of leaves list[0], list[1] ... as dots1 gives them. leaves:
	 * [leaf][1 + d][AQZ_LEAF], half_norm before the values. Stops at the first leaf that has a score
	 * not above best, and returns its place in list and its scores; n if there is none. */
	size_t (*leaves)(float *scores, float best, const float *x, const float *leaves,
		const uint32_t *list, size_t n, unsigned d);
} aqz_kernels;

/* Variant i of those that this machine runs, the plainest first, or NULL after the last. */
const aqz_kernels *aqz_kernels_get(unsigned i);
/* The last of them. */
const aqz_kernels *aqz_kernels_best(void);

#endif
