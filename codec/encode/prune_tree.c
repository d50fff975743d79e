/* SPDX-License-Identifier: Apache-2.0 */
/* The k-d tree of the pruned search: which codewords go into which leaf, and the boxes around them. It
 * is made anew for each metric, so it must cost little beside a few hundred exhaustive searches. Where
 * leaves are cut changes how much is pruned, never what is found. */
#include <math.h>

#include "codec/encode/prune.h"

/* Codewords that axes are estimated from, at most, and those that choose a node's axis. */
#define AXES_SAMPLE 2048
#define NODE_SAMPLE 16
/* Rounds of orthogonal iteration. Its aim is good axes, not eigenvectors. */
#define ROUNDS 12
/* Codewords that are projected at a time. */
#define CHUNK ((size_t)256)
/* Codewords of a branch. */
#define BRANCH ((size_t)AQZ_LEAF * AQZ_LEAF)

static const float zeros[CHUNK];

/* ---- Axes */

/* Makes row `row` of [][d] orthogonal to those before it and of length 1, or 0 if nothing is left. */
static void orthonormalise(double (*v)[AQZ_MAX_CODEWORD], unsigned row, unsigned d)
{
	double before = 0, after = 0;

	for (unsigned j = 0; j < d; j++)
		before += v[row][j] * v[row][j];
	/* The second time removes what rounding left of the first. */
	for (int again = 0; again < 2; again++)
		for (unsigned i = 0; i < row; i++) {
			double product = 0;

			for (unsigned j = 0; j < d; j++)
				product += v[row][j] * v[i][j];
			for (unsigned j = 0; j < d; j++)
				v[row][j] -= product * v[i][j];
		}
	for (unsigned j = 0; j < d; j++)
		after += v[row][j] * v[row][j];
	for (unsigned j = 0; j < d; j++)
		v[row][j] = after > 1e-20 * before && before > 0 ? v[row][j] / sqrt(after) : 0;
}

/* Covariance of a part of the codewords, up to a factor. */
static void covariance(double (*c)[AQZ_MAX_CODEWORD], const aqz_prune *p)
{
	const float *table = aqz_search_table(p->search, p->m);
	const size_t n_lanes = p->search->n_lanes,
				 step = (p->n_codewords + AXES_SAMPLE - 1) / AXES_SAMPLE;
	const double n = (double)((p->n_codewords + step - 1) / step);
	double sum[AQZ_MAX_CODEWORD] = {0};

	for (unsigned i = 0; i < p->n_values; i++)
		memset(c[i], 0, p->n_values * sizeof c[i][0]);
	for (size_t k = 0; k < p->n_codewords; k += step) {
		double x[AQZ_MAX_CODEWORD];

		for (unsigned i = 0; i < p->n_values; i++) {
			x[i] = table[i * n_lanes + k];
			sum[i] += x[i];
			for (unsigned j = 0; j <= i; j++)
				c[i][j] += x[i] * x[j];
		}
	}
	for (unsigned i = 0; i < p->n_values; i++)
		for (unsigned j = 0; j <= i; j++) {
			c[i][j] -= sum[i] * sum[j] / n;
			c[j][i] = c[i][j];
		}
}

/* The principal axes by orthogonal iteration (Golub and Van Loan, Matrix Computations, 8.2.4). */
static void find_axes(aqz_prune *p)
{
	const unsigned d = p->n_values, n_axes = d < AQZ_PRUNE_AXES ? d : AQZ_PRUNE_AXES;
	double c[AQZ_MAX_CODEWORD][AQZ_MAX_CODEWORD], v[AQZ_PRUNE_AXES][AQZ_MAX_CODEWORD] = {{0}};
	bool taken[AQZ_MAX_CODEWORD] = {false};

	covariance(c, p);
	/* Starts from the values that vary most. */
	for (unsigned a = 0; a < n_axes; a++) {
		unsigned most = d;

		for (unsigned j = 0; j < d; j++)
			if (!taken[j] && (most == d || c[j][j] > c[most][most]))
				most = j;
		taken[most] = true;
		v[a][most] = 1;
	}
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned a = 0; a < n_axes; a++) {
			double w[AQZ_MAX_CODEWORD];

			for (unsigned i = 0; i < d; i++) {
				w[i] = 0;
				for (unsigned j = 0; j < d; j++)
					w[i] += c[i][j] * v[a][j];
			}
			memcpy(v[a], w, d * sizeof *w);
			orthonormalise(v, a, d);
		}
	memset(p->axes, 0, sizeof p->axes);
	for (unsigned a = 0; a < n_axes; a++)
		for (unsigned j = 0; j < d; j++)
			p->axes[a][j] = (float)-v[a][j];
	for (unsigned j = 0; j < d; j++)
		for (unsigned a = 0; a < AQZ_PRUNE_AXES; a++)
			p->turn[j][a] = -p->axes[a][j];
}

/* ---- Leaves */

/* Coordinates of all codewords along the axes. */
static void project(aqz_prune *p, unsigned n_threads)
{
	const aqz_search *s = p->search;

#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (size_t k = 0; k < p->n_codewords; k += CHUNK) {
		for (unsigned a = 0; a < p->n_axes; a += 4)
			p->kernels->dots4(p->points + a * p->n_codewords + k, p->n_codewords, p->axes[a],
				AQZ_MAX_CODEWORD, aqz_search_table(s, p->m) + k, s->n_lanes, zeros, CHUNK,
				p->n_values);
		for (size_t i = k; i < k + CHUNK; i++)
			p->origin[i] = (uint16_t)i;
	}
}

/* The axis along which some of n points vary most; points: [axis][ld]. */
static unsigned widest(
	const aqz_prune *p, const float *points, size_t ld, const uint16_t *order, size_t n)
{
	const size_t step = n / NODE_SAMPLE;
	float most = -1;
	unsigned best = 0;

	for (unsigned a = 0; a < p->n_axes; a++) {
		const float *row = points + a * ld, first = row[order[0]];
		float sum = 0, squares = 0;

		for (size_t i = 1; i < NODE_SAMPLE; i++) {
			const float x = row[order[i * step]] - first;

			sum += x;
			squares += x * x;
		}
		squares -= sum * sum / NODE_SAMPLE;
		if (squares > most) {
			most = squares;
			best = a;
		}
	}
	return best;
}

/* A coordinate as a number of the same order, and whose it is. */
static uint64_t key_of(float x, uint16_t origin)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof bits);
	bits ^= bits >> 31 != 0 ? UINT32_MAX : UINT32_C(1) << 31;
	return (uint64_t)bits << 32 | origin;
}

/* A key of keys[begin, end) that about `rank` of them are below. */
static uint64_t pivot_for(const uint64_t *keys, size_t begin, size_t end, size_t rank, uint64_t *state)
{
	enum { MOST = 15 };
	const size_t n = end - begin, n_sample = n < 128 ? 3 : n < 1024 ? 7 : MOST;
	uint64_t sample[MOST];

	/* Sorts them as they come. */
	for (size_t i = 0; i < n_sample; i++) {
		size_t at = i;
		uint64_t key;

		*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		key = keys[begin + (size_t)((*state >> 32) * n >> 32)];
		for (; at > 0 && sample[at - 1] > key; at--)
			sample[at] = sample[at - 1];
		sample[at] = key;
	}
	return sample[rank * n_sample / n];
}

/* Orders n keys, all different, so that the `half` least come first. Quickselect with pivots from
 * random places, so that no order of codewords makes it slow. */
static void select_half(uint64_t *keys, size_t n, size_t half)
{
	uint64_t state = n;
	size_t begin = 0, end = n;

	/* What is before begin is less, what is from end on is greater; begin <= half <= end. */
	while (begin < half && half < end) {
		const uint64_t pivot = pivot_for(keys, begin, end, half - begin, &state);
		size_t split = begin;

		/* Without branches: half of them would be mispredicted. */
		for (size_t i = begin; i < end; i++) {
			const uint64_t key = keys[i];

			keys[i] = keys[split];
			keys[split] = key;
			split += key < pivot;
		}
		if (split >= half && split < end) {
			end = split;
			continue;
		}
		/* The pivot itself is the least of the rest. */
		begin = split;
		for (size_t i = begin; i < end; i++)
			if (keys[i] == pivot) {
				keys[i] = keys[begin];
				keys[begin++] = pivot;
				break;
			}
	}
}

/* Orders n of the points so that the half that is less along the widest axis comes first. */
static void cut(
	const aqz_prune *p, const float *points, size_t ld, uint16_t *order, uint64_t *keys, size_t n)
{
	const float *row = points + widest(p, points, ld, order, n) * ld;

	for (size_t i = 0; i < n; i++)
		keys[i] = key_of(row[order[i]], order[i]);
	select_half(keys, n, n / 2);
	for (size_t i = 0; i < n; i++)
		order[i] = (uint16_t)keys[i];
}

/* The box around the leaves of a branch. */
static void fill_branch(aqz_prune *p, size_t branch)
{
	const float *leaves = p->leaf_boxes + branch * p->n_axes * (2 * AQZ_LEAF);
	float *box = p->branch_boxes + branch / AQZ_LEAF * p->n_axes * (2 * AQZ_LEAF) + branch % AQZ_LEAF;

	for (unsigned a = 0; a < p->n_axes; a++, box += 2 * AQZ_LEAF, leaves += 2 * AQZ_LEAF) {
		box[0] = leaves[0];
		box[AQZ_LEAF] = leaves[AQZ_LEAF];
		for (size_t i = 1; i < AQZ_LEAF; i++) {
			box[0] = leaves[i] < box[0] ? leaves[i] : box[0];
			box[AQZ_LEAF] =
				leaves[AQZ_LEAF + i] > box[AQZ_LEAF] ? leaves[AQZ_LEAF + i] : box[AQZ_LEAF];
		}
	}
}

/* The codewords of a branch, by value, near to each other. */
typedef struct branch_memory {
	float values[1 + AQZ_MAX_CODEWORD][BRANCH]; /* |c|^2 / 2 first */
	float points[AQZ_PRUNE_AXES][BRANCH];
	uint64_t keys[BRANCH];
	uint16_t order[BRANCH], origin[BRANCH];
} branch_memory;

static void gather(
	branch_memory *b, const aqz_prune *p, size_t branch, const float *codewords, const float *mask)
{
	const uint16_t *origin = p->origin + branch * BRANCH;
	const float *norms = aqz_search_norms(p->search, p->m);
	const unsigned d = p->n_values;

	for (size_t i = 0; i < BRANCH; i++) {
		const float *codeword = codewords + (size_t)origin[i] * d;

		b->values[0][i] = norms[origin[i]];
		for (unsigned j = 0; j < d; j++)
			b->values[1 + j][i] = codeword[j];
		b->origin[i] = origin[i];
		b->order[i] = (uint16_t)i;
	}
	for (unsigned j = 0; mask != NULL && j < d; j++)
		if (mask[j] == 0)
			memset(b->values[1 + j], 0, sizeof b->values[1 + j]);
	for (unsigned a = 0; a < p->n_axes; a += 4)
		p->kernels->dots4(b->points[a], BRANCH, p->axes[a], AQZ_MAX_CODEWORD, b->values[1], BRANCH,
			zeros, BRANCH, d);
}

/* Codewords of one leaf, and the box around them. */
static void fill_leaf(aqz_prune *p, size_t leaf, const branch_memory *b, const uint16_t *order)
{
	const size_t branch = leaf / AQZ_LEAF;
	float *block = p->blocks + leaf * (1 + p->n_values) * AQZ_LEAF;
	float *box = p->leaf_boxes + branch * p->n_axes * (2 * AQZ_LEAF) + leaf % AQZ_LEAF;

	for (unsigned j = 0; j < 1 + p->n_values; j++)
		for (size_t i = 0; i < AQZ_LEAF; i++)
			block[j * AQZ_LEAF + i] = b->values[j][order[i]];
	for (unsigned a = 0; a < p->n_axes; a++, box += 2 * AQZ_LEAF) {
		float low = b->points[a][order[0]], high = low;

		for (size_t i = 1; i < AQZ_LEAF; i++) {
			const float x = b->points[a][order[i]];

			low = x < low ? x : low;
			high = x > high ? x : high;
		}
		box[0] = low;
		box[AQZ_LEAF] = high;
	}
	for (size_t i = 0; i < AQZ_LEAF; i++)
		p->origin[leaf * AQZ_LEAF + i] = b->origin[order[i]];
}

/* Cuts a branch into leaves. */
static void make_leaves(aqz_prune *p, size_t branch, const float *codewords, const float *mask)
{
	branch_memory b;

	/* What the next branch will gather is on its way while this one is cut. */
	for (size_t i = 0; branch + 1 < p->n_branches && i < BRANCH; i++)
		__builtin_prefetch(codewords + (size_t)p->origin[(branch + 1) * BRANCH + i] * p->n_values);
	gather(&b, p, branch, codewords, mask);
	for (size_t n = BRANCH; n > AQZ_LEAF; n /= 2)
		for (size_t begin = 0; begin < BRANCH; begin += n)
			cut(p, b.points[0], BRANCH, b.order + begin, b.keys, n);
	for (size_t i = 0; i < AQZ_LEAF; i++)
		fill_leaf(p, branch * AQZ_LEAF + i, &b, b.order + i * AQZ_LEAF);
	fill_branch(p, branch);
}

void aqz_prune_load(aqz_prune *p, const aqz_search *s, unsigned m, const float *codewords,
	const float *mask, unsigned n_threads)
{
	const float *norms = aqz_search_norms(s, m);
	double most = 0;

	p->search = s;
	p->m = m;
	/* Not the other way round: a NaN is to be met too. */
	for (size_t k = 0; k < p->n_codewords; k++)
		most = norms[k] <= most ? most : norms[k] < INFINITY ? norms[k] : INFINITY;
	p->reach = sqrt(2 * most) * (1 + 1e-6) + 1e-20;
	if (!(p->reach < 1e18)) {
		p->reach = INFINITY;
		return;
	}
	find_axes(p);
	project(p, n_threads);
	for (size_t n = p->n_codewords; n > BRANCH; n /= 2) {
#pragma omp parallel for num_threads(n_threads) schedule(static)
		for (size_t begin = 0; begin < p->n_codewords; begin += n)
			cut(p, p->points, p->n_codewords, p->origin + begin, p->keys + begin, n);
	}
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (size_t branch = 0; branch < p->n_branches; branch++)
		make_leaves(p, branch, codewords, mask);
}
