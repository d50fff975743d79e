/* SPDX-License-Identifier: Apache-2.0 */
/* The pruned search for the nearest codeword. Each branch and leaf of the tree lies in a box along
 * orthonormal axes; a codeword in it is at least as far from x as the box is. A box that is farther than
 * the best codeword so far is left out.
 *
 * Why the code is that of the exhaustive search, which compares rounded scores, not distances: let u =
 * 2^-24, C >= |c|, and score(c) the rounded |c|^2 / 2 - <x, c>, d products and d differences, so
 *
 *	|score(c) - (|x - c|^2 - |x|^2) / 2| <= E = (d + 3) u (C^2 / 2 + |x| C) + what underflow loses
 *
 * to first order. With score(c) <= best it follows that |x - c|^2 <= |x|^2 + 2 best + 2 E = R^2. A
 * coordinate along an axis is wrong by at most (d + 2) u |x| or (d + 2) u C, so a computed distance from
 * a box is at most R plus sqrt(axes) (d + 2) u (|x| + C) if a codeword in it has such a score. Factors
 * of 1 + 1e-5 cover second order, the axes' own rounding and that of the distance. */
#include <math.h>

#include "codec/encode/prune.h"

/* Branches whose leaves' boxes are looked at together. */
#define PIECE 16
/* Vectors that tell whether pruning pays, and those that are then searched exhaustively if not. */
#define TRIAL 4
#define PLAIN 252
#define MAX_BRANCHES ((size_t)65536 / (AQZ_LEAF * AQZ_LEAF))

bool aqz_prune_possible(const aqz_scheme *scheme)
{
	return scheme->code_bits >= 12;
}

bool aqz_prune_pays(const aqz_scheme *scheme, size_t n)
{
	return aqz_prune_possible(scheme) && n >= 4096 / aqz_codeword(scheme);
}

typedef struct sizes {
	uint64_t blocks, leaf_boxes, branch_boxes, origin, points, keys;
} sizes;

static unsigned axes_of(const aqz_scheme *scheme)
{
	const unsigned d = aqz_codeword(scheme);

	return d < AQZ_PRUNE_AXES ? (d + 3) / 4 * 4 : AQZ_PRUNE_AXES;
}

static sizes sizes_of(const aqz_scheme *scheme)
{
	const uint64_t n = UINT64_C(1) << scheme->code_bits, axes = axes_of(scheme);

	return (sizes){
		.blocks = n * (1 + aqz_codeword(scheme)) * sizeof(float),
		.leaf_boxes = n / AQZ_LEAF * 2 * axes * sizeof(float),
		.branch_boxes = n / (AQZ_LEAF * AQZ_LEAF) * 2 * axes * sizeof(float),
		.origin = n * sizeof(uint16_t),
		.points = n * axes * sizeof(float),
		.keys = n * sizeof(uint64_t),
	};
}

uint64_t aqz_prune_bytes(const aqz_scheme *scheme)
{
	const sizes n = sizes_of(scheme);

	return n.blocks + n.leaf_boxes + n.branch_boxes + n.origin + n.points + n.keys;
}

aqz_status aqz_prune_create(aqz_prune *p, const aqz_scheme *scheme, const aqz_kernels *kernels,
	aqz_budget *budget, aqz_error *err)
{
	const sizes n = sizes_of(scheme);
	const uint64_t bytes[] = {n.blocks, n.leaf_boxes, n.branch_boxes, n.origin, n.points, n.keys};
	void *got[sizeof bytes / sizeof *bytes] = {NULL};
	aqz_status status = AQZ_OK;

	for (size_t i = 0; i < sizeof bytes / sizeof *bytes && status == AQZ_OK; i++)
		status = aqz_budget_alloc(budget, &got[i], bytes[i], "the pruned search", err);
	*p = (aqz_prune){
		.kernels = kernels,
		.n_values = aqz_codeword(scheme),
		.n_axes = axes_of(scheme),
		.n_codewords = (size_t)1 << scheme->code_bits,
		.n_leaves = ((size_t)1 << scheme->code_bits) / AQZ_LEAF,
		.n_branches = ((size_t)1 << scheme->code_bits) / (AQZ_LEAF * AQZ_LEAF),
		.scheme = *scheme,
		.blocks = got[0],
		.leaf_boxes = got[1],
		.branch_boxes = got[2],
		.origin = got[3],
		.points = got[4],
		.keys = got[5],
	};
	if (status != AQZ_OK)
		aqz_prune_free(p, budget);
	return status;
}

void aqz_prune_free(aqz_prune *p, aqz_budget *budget)
{
	const sizes n = sizes_of(&p->scheme);

	aqz_budget_free(budget, p->blocks, n.blocks);
	aqz_budget_free(budget, p->leaf_boxes, n.leaf_boxes);
	aqz_budget_free(budget, p->branch_boxes, n.branch_boxes);
	aqz_budget_free(budget, p->origin, n.origin);
	aqz_budget_free(budget, p->points, n.points);
	aqz_budget_free(budget, p->keys, n.keys);
	*p = (aqz_prune){0};
}

/* ---- One vector */

typedef struct query {
	const float *x;
	double norm;				/* |x| */
	double slack;				/* 2 E + |x|^2 */
	double blur;				/* of distances from boxes */
	float best;					/* least score so far */
	size_t code;				/* and whose it is */
	float limit;				/* boxes at this squared distance and more are out */
	uint64_t n_boxes, n_leaves; /* looked at */
} query;

/* False if something may overflow, so that no bound holds. */
static bool query_begin(query *q, const aqz_prune *p, const float *x)
{
	const double u = 0x1p-24, d = p->n_values;
	double squares = 0;

	for (unsigned j = 0; j < p->n_values; j++)
		squares += (double)x[j] * x[j];
	*q = (query){.x = x, .norm = sqrt(squares), .best = INFINITY, .limit = INFINITY};
	if (!(squares < 1e36) || !(p->reach < 1e18))
		return false;
	q->slack = squares * (1 + 1e-13) +
		2 * 1.01 * ((d + 3) * u * (p->reach * p->reach / 2 + q->norm * p->reach) + d * 0x1p-148);
	q->blur = sqrt(p->n_axes) * 1.01 * ((d + 2) * u * (q->norm + p->reach) + d * 0x1p-148);
	return true;
}

/* Takes up the scores of a leaf. */
static void take(query *q, const aqz_prune *p, size_t leaf, const float *scores)
{
	const uint16_t *origin = p->origin + leaf * AQZ_LEAF;
	double radius;

	for (size_t i = 0; i < AQZ_LEAF; i++)
		if (scores[i] < q->best || (scores[i] == q->best && origin[i] < q->code)) {
			q->best = scores[i];
			q->code = origin[i];
		}
	radius = sqrt(fmax(q->slack + 2 * (double)q->best, 0)) + q->blur;
	q->limit = nextafterf((float)(radius * radius * (1 + 1e-5)), INFINITY);
}

/* Looks at n leaves, at these squared distances, unless they are out by then. */
static void scan(query *q, const aqz_prune *p, uint32_t *list, float *distances, size_t n)
{
	float scores[AQZ_LEAF];

	while (n > 0) {
		size_t left = 0,
			   at = p->kernels->leaves(scores, q->best, q->x, p->blocks, list, n, p->n_values);
		q->n_leaves += at;
		if (at == n)
			return;
		q->n_leaves++;
		take(q, p, list[at], scores);
		for (at++; at < n; at++) {
			list[left] = list[at];
			distances[left] = distances[at];
			left += distances[at] < q->limit;
		}
		n = left;
	}
}

/* The leaf whose box is nearest, in the branch whose box is nearest. */
static void look_near(query *q, const aqz_prune *p, const float *y, const float *branches, size_t n)
{
	const aqz_kernels *k = p->kernels;
	const uint32_t branch = (uint32_t)k->find(branches, k->least(branches, n), n);
	float distances[AQZ_LEAF];
	uint32_t leaf = 0;

	k->boxes(distances, y, p->leaf_boxes, &branch, 1, p->n_axes);
	for (uint32_t i = 1; i < AQZ_LEAF; i++)
		leaf = distances[i] < distances[leaf] ? i : leaf;
	leaf += branch * AQZ_LEAF;
	distances[0] = 0;
	scan(q, p, &leaf, distances, 1);
}

static void look(query *q, const aqz_prune *p)
{
	const aqz_kernels *k = p->kernels;
	float y[AQZ_PRUNE_AXES] = {0}, branches[MAX_BRANCHES], distances[PIECE * AQZ_LEAF];
	uint32_t list[MAX_BRANCHES], leaves[PIECE * AQZ_LEAF];
	const size_t n = (p->n_branches + AQZ_LANES - 1) / AQZ_LANES * AQZ_LANES;
	size_t n_list;

	for (unsigned j = 0; j < p->n_values; j++)
		for (unsigned a = 0; a < AQZ_PRUNE_AXES; a++)
			y[a] += q->x[j] * p->turn[j][a];
	for (size_t i = 0; i < p->n_branches / AQZ_LEAF; i++)
		list[i] = (uint32_t)i;
	k->boxes(branches, y, p->branch_boxes, list, p->n_branches / AQZ_LEAF, p->n_axes);
	for (size_t i = p->n_branches; i < n; i++)
		branches[i] = INFINITY;
	look_near(q, p, y, branches, n);
	n_list = k->below(list, branches, q->limit, n);
	for (size_t at = 0; at < n_list; at += PIECE) {
		const size_t piece = aqz_min(n_list - at, PIECE);
		const size_t n_boxes = (piece * AQZ_LEAF + AQZ_LANES - 1) / AQZ_LANES * AQZ_LANES;
		size_t found;

		k->boxes(distances, y, p->leaf_boxes, list + at, piece, p->n_axes);
		for (size_t i = piece * AQZ_LEAF; i < n_boxes; i++)
			distances[i] = INFINITY;
		found = k->below(leaves, distances, q->limit, n_boxes);
		/* In place: the i-th is never before i. */
		for (size_t i = 0; i < found; i++) {
			const uint32_t box = leaves[i];

			distances[i] = distances[box];
			leaves[i] = list[at + box / AQZ_LEAF] * AQZ_LEAF + box % AQZ_LEAF;
		}
		scan(q, p, leaves, distances, found);
	}
	q->n_boxes = n_list;
}

/* ---- All vectors */

/* What a query cost, in codewords of the exhaustive search. */
static double cost_of(const query *q, const aqz_prune *p)
{
	return 2.0 * AQZ_LEAF * (double)q->n_leaves +
		3.0 * AQZ_LEAF * (double)(q->n_boxes + p->n_branches / AQZ_LEAF) * p->n_axes / p->n_values;
}

void aqz_prune_nearest(const aqz_prune *p, uint16_t *codes, size_t codes_ld, const float *x,
	size_t x_ld, size_t n, void *scratch)
{
	double cost = 0;
	size_t trial = 0;

	for (size_t i = 0; i < n; i++) {
		query q;

		if (!query_begin(&q, p, x + i * x_ld)) {
			aqz_search_nearest(
				p->search, p->m, codes + i * codes_ld, codes_ld, q.x, x_ld, 1, scratch);
			continue;
		}
		look(&q, p);
		codes[i * codes_ld] = (uint16_t)q.code;
		/* Now and then the cost decides how the next vectors are searched. */
		cost += cost_of(&q, p);
		if (++trial == TRIAL) {
			const size_t plain = aqz_min(n - 1 - i, PLAIN);

			if (cost > TRIAL * (double)p->n_codewords && plain > 0) {
				aqz_search_nearest(p->search, p->m, codes + (i + 1) * codes_ld, codes_ld,
					x + (i + 1) * x_ld, x_ld, plain, scratch);
				i += plain;
			}
			trial = 0;
			cost = 0;
		}
	}
}

uint64_t aqz_prune_count(const aqz_prune *p, const float *x, size_t x_ld, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++) {
		query q;

		if (query_begin(&q, p, x + i * x_ld))
			look(&q, p);
		count += q.limit < INFINITY ? q.n_leaves * AQZ_LEAF : p->n_codewords;
	}
	return count;
}
