/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the encoder's search give what codec/encode/kernels.h says, to the bit. */
#include <math.h>

#include "codec/encode/kernels.h"
#include "tests/kernel_check.h"

#define MOST 320 /* codewords */
#define D 64

/* Values in two forms: as they are, and as the kernel gets them. */
typedef struct values {
	float *plain;
	area area;
} values;

static values values_make(size_t n, int kind, place where, noise *r)
{
	values v = {.plain = sure_alloc(n * sizeof(float))};

	fill_floats(v.plain, n, kind, r);
	v.area = area_input(v.plain, n * sizeof(float), sizeof(float), where);
	return v;
}

static void values_free(values *v)
{
	free(v->plain);
	area_free(&v->area);
}

/* The output of one call, checked and freed. */
static void output(area *out, const float *due, size_t n)
{
	kernel_same_floats(out->data, due, n);
	kernel_whole(out);
	kernel_digest_floats(due, n);
	area_free(out);
}

/* ---- Dot products */

static float score(const float *half_norm, const float *table, const float *x, size_t n_table,
	size_t k, unsigned d)
{
	float sum = half_norm[k];

	for (unsigned j = 0; j < d; j++)
		sum -= x[j] * table[j * n_table + k];
	return sum;
}

/* 4 vectors lie a little apart, and so do rows of the table and of the scores. */
static void check_dots(const aqz_kernels *k, size_t n, unsigned d, int kind, place where, noise *r)
{
	const size_t n_table = n + n % 3 * 16, out_ld = n + 7, x_ld = d + 3;
	values table = values_make((d - 1) * n_table + n, kind, where, r);
	values norms = values_make(n, kind, where, r), x = values_make(3 * x_ld + d, kind, where, r);
	float *due = sure_alloc((3 * out_ld + n) * sizeof *due);
	area out;

	memset(due, 0xff, (3 * out_ld + n) * sizeof *due); /* as the gaps are */
	for (size_t p = 0; p < 4; p++)
		for (size_t i = 0; i < n; i++)
			due[p * out_ld + i] = score(norms.plain, table.plain, x.plain + p * x_ld, n_table, i, d);
	kernel_now("dots4", k->name);
	out = area_alloc((3 * out_ld + n) * sizeof *due, sizeof(float), where);
	k->dots4(out.data, out_ld, x.area.data, x_ld, table.area.data, n_table, norms.area.data, n, d);
	output(&out, due, 3 * out_ld + n);
	kernel_now("dots1", k->name);
	out = area_alloc(n * sizeof *due, sizeof(float), where);
	k->dots1(out.data, x.area.data, table.area.data, n_table, norms.area.data, n, d);
	output(&out, due, n);
	free(due);
	values_free(&table);
	values_free(&norms);
	values_free(&x);
}

/* ---- Sums of rows */

static void check_rows(const aqz_kernels *k, size_t n, int kind, place where, noise *r)
{
	values v = values_make(n, kind, where, r), table[12];
	const float *rows[12];
	float base[4], due[MOST];
	area out;

	fill_floats(base, 4, kind, r);
	for (unsigned i = 0; i < 12; i++) {
		table[i] = values_make(n, kind, where, r);
		rows[i] = table[i].area.data;
	}
	kernel_now("add_rows", k->name);
	for (unsigned n_rows = 0; n_rows <= 7; n_rows++) {
		for (size_t i = 0; i < n; i++) {
			due[i] = v.plain[i] + base[0];
			for (unsigned j = 0; j < n_rows; j++)
				due[i] += rows[j][i];
		}
		out = area_alloc(n * sizeof *due, sizeof(float), where);
		k->add_rows(out.data, v.area.data, base[0], rows, n_rows, n);
		output(&out, due, n);
	}
	kernel_now("min_rows", k->name);
	for (unsigned n_rows = 1; n_rows <= 3; n_rows++)
		for (unsigned beams = 1; beams <= 4; beams++) {
			for (size_t i = 0; i < n; i++) {
				due[i] = INFINITY;
				for (unsigned b = 0; b < beams; b++) {
					float sum = base[b] + rows[b * n_rows][i];

					for (unsigned j = 1; j < n_rows; j++)
						sum += rows[b * n_rows + j][i];
					due[i] = sum < due[i] ? sum : due[i];
				}
			}
			out = area_alloc(n * sizeof *due, sizeof(float), where);
			k->min_rows(out.data, base, rows, beams, n_rows, n);
			output(&out, due, n);
		}
	kernel_now("min_into", k->name);
	out = area_alloc(n * sizeof *due, sizeof(float), where);
	memcpy(out.data, rows[0], n * sizeof *due);
	for (size_t i = 0; i < n; i++)
		due[i] = v.plain[i] + base[1] < rows[0][i] ? v.plain[i] + base[1] : rows[0][i];
	k->min_into(out.data, v.area.data, base[1], n);
	output(&out, due, n);
	for (unsigned i = 0; i < 12; i++)
		values_free(&table[i]);
	values_free(&v);
}

/* ---- Searches in one array, which ends with the padding of a search table */

static void check_search(const aqz_kernels *k, size_t n, int kind, place where, noise *r)
{
	values v = {.plain = sure_alloc(n * sizeof(float))};
	float least, greatest, low = INFINITY, high = -INFINITY;
	size_t first = 0;

	fill_floats(v.plain, n, kind, r);
	v.plain[n - 1] = INFINITY;
	v.area = area_input(v.plain, n * sizeof(float), sizeof(float), where);
	for (int i = 0; i < 3; i++) {
		const float threshold = i == 0 ? v.plain[n / 2] : i == 1 ? INFINITY : -INFINITY;
		uint32_t due[MOST];
		size_t found = 0, said;
		area index = area_alloc(n * sizeof *due, sizeof *due, where);

		memset(due, 0xff, sizeof due);
		for (size_t q = 0; q < n; q++)
			if (v.plain[q] < threshold)
				due[found++] = (uint32_t)q;
		kernel_now("below", k->name);
		said = k->below(index.data, v.area.data, threshold, n);
		KERNEL_CHECK(said == found, "%zu of %zu, not %zu", said, n, found);
		kernel_same_bytes(index.data, due, found * sizeof *due); /* there is room for n */
		kernel_whole(&index);
		area_free(&index);
		kernel_now("count_below", k->name);
		said = k->count_below(v.area.data, threshold, n);
		KERNEL_CHECK(said == found, "%zu of %zu, not %zu", said, n, found);
	}
	/* Of two zeros either may be called the least. */
	for (size_t i = 0; i < n; i++) {
		low = v.plain[i] < low ? v.plain[i] : low;
		high = v.plain[i] > high ? v.plain[i] : high;
	}
	for (size_t i = n; i-- > 0;)
		first = v.plain[i] == low ? i : first;
	kernel_now("min_max", k->name);
	k->min_max(&least, &greatest, v.area.data, n);
	KERNEL_CHECK(least == low && greatest == high, "%a %a, not %a %a", (double)least,
		(double)greatest, (double)low, (double)high);
	kernel_now("least", k->name);
	KERNEL_CHECK(k->least(v.area.data, n) == low, "it is %a", (double)low);
	kernel_now("find", k->name);
	KERNEL_CHECK(k->find(v.area.data, low, n) == first, "it is at %zu", first);
	KERNEL_CHECK(k->find(v.area.data, NAN, n) == 0, "NaN is nowhere");
	values_free(&v);
}

/* ---- The pruned search */

enum { GROUPS = 9 };
static const uint32_t list[] = {3, 0, 8, 8, 5};
enum { LISTED = sizeof list / sizeof *list };

static void check_boxes(const aqz_kernels *k, unsigned d, int kind, place where, noise *r)
{
	const size_t n = (size_t)GROUPS * 2 * d * AQZ_LEAF;
	float *plain = sure_alloc(n * sizeof *plain), y[D], due[LISTED * AQZ_LEAF];
	area boxes, out = area_alloc(sizeof due, sizeof(float), where);

	fill_floats(plain, n, kind, r);
	fill_floats(y, d, kind, r);
	for (size_t i = 0; i < n; i++)
		if (i / AQZ_LEAF % 2 != 0 && plain[i] < plain[i - AQZ_LEAF])
			plain[i] = plain[i - AQZ_LEAF];
	boxes = area_input(plain, n * sizeof *plain, sizeof(float), where);
	for (size_t i = 0; i < LISTED; i++)
		for (size_t lane = 0; lane < AQZ_LEAF; lane++) {
			float sum = 0;

			for (unsigned j = 0; j < d; j++) {
				const float *box = plain + ((list[i] * d + j) * 2) * AQZ_LEAF + lane;
				const float gap = fmaxf(0, fmaxf(box[0] - y[j], y[j] - box[AQZ_LEAF]));

				sum += gap * gap;
			}
			due[i * AQZ_LEAF + lane] = sum;
		}
	kernel_now("boxes", k->name);
	k->boxes(out.data, y, boxes.data, list, LISTED, d);
	output(&out, due, LISTED * AQZ_LEAF);
	area_free(&boxes);
	free(plain);
}

static void check_leaves(const aqz_kernels *k, unsigned d, int kind, place where, noise *r)
{
	const size_t n = (size_t)GROUPS * (1 + d) * AQZ_LEAF;
	values leaves = values_make(n, kind, where, r);
	float x[D], due[LISTED * AQZ_LEAF], bests[] = {-INFINITY, 0, INFINITY};

	fill_floats(x, d, kind, r);
	kernel_now("leaves", k->name);
	for (size_t i = 0; i < LISTED; i++) {
		const float *leaf = leaves.plain + list[i] * (1 + d) * AQZ_LEAF;
		float least = INFINITY;

		for (size_t lane = 0; lane < AQZ_LEAF; lane++) {
			const float sum = score(leaf, leaf + AQZ_LEAF, x, AQZ_LEAF, lane, d);

			due[i * AQZ_LEAF + lane] = sum;
			least = sum < least ? sum : least;
		}
		/* The leaf's own least score is not above itself. */
		bests[1] = least;
		for (int b = 0; b < 3; b++) {
			area out = area_alloc(AQZ_LEAF * sizeof *due, sizeof(float), where);
			size_t at = i + 1, said;

			for (size_t q = (i + 1) * AQZ_LEAF; q-- > 0;)
				at = due[q] <= bests[b] ? q / AQZ_LEAF : at;
			said = k->leaves(out.data, bests[b], x, leaves.area.data, list, i + 1, d);
			KERNEL_CHECK(said == at, "leaf %zu, not %zu", said, at);
			if (at <= i)
				kernel_same_floats(out.data, due + at * AQZ_LEAF, AQZ_LEAF);
			kernel_whole(&out);
			area_free(&out);
		}
	}
	KERNEL_CHECK(k->leaves(x, INFINITY, x, leaves.area.data, list, 0, d) == 0, "there are none");
	values_free(&leaves);
}

static void check(noise *r)
{
	static const unsigned dims[] = {1, 2, 3, 4, 7, 8, 9, 16, 33, D};
	const aqz_kernels *k;
	unsigned v = 0;

	for (; (k = aqz_kernels_get(v)) != NULL; v++) {
		noise same = *r; /* for every variant */

		for (int kind = 0; kind < N_VALUES; kind++)
			for (place where = 0; where < N_PLACES; where++) {
				for (size_t n = AQZ_LANES; n <= MOST; n += AQZ_LANES) {
					check_rows(k, n, kind, where, &same);
					check_search(k, n, kind, where, &same);
				}
				for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
					check_dots(k, d % 2 == 0 ? AQZ_LANES : MOST, dims[d], kind, where, &same);
					check_boxes(k, dims[d], kind, where, &same);
					check_leaves(k, dims[d], kind, where, &same);
				}
			}
	}
	KERNEL_CHECK(v > 0 && aqz_kernels_best() == aqz_kernels_get(v - 1), "the best is the last one");
}

/* ---- Time: one codebook of 256 codewords of 8 */

static void measure(noise *r)
{
	enum { N = 256, DIM = 8 };
	static float table[N * DIM], norms[N], x[4 * DIM], out[4 * N], base[8], leaves[64 * 9 * AQZ_LEAF];
	static uint32_t index[N], all[64];
	const float *rows[8];
	const aqz_kernels *k;
	float least, greatest;
	size_t found = 0;

	fill_floats(table, N * DIM, VALUES_RANDOM, r);
	fill_floats(norms, N, VALUES_RANDOM, r);
	fill_floats(x, 4 * DIM, VALUES_RANDOM, r);
	fill_floats(leaves, sizeof leaves / sizeof *leaves, VALUES_RANDOM, r);
	for (unsigned i = 0; i < 8; i++)
		rows[i] = table + i * N;
	for (unsigned i = 0; i < 64; i++)
		all[i] = i;
#define EACH(kernel, n, call)                                   \
	for (unsigned v = 0; (k = aqz_kernels_get(v)) != NULL; v++) \
	TIMED(kernel, k->name, n) call
	EACH("dots4 256 x 8", 4 * N, k->dots4(out, N, x, DIM, table, N, norms, N, DIM));
	EACH("dots1 256 x 8", N, k->dots1(out, x, table, N, norms, N, DIM));
	EACH("add_rows 2 x 256", N, k->add_rows(out, norms, 1, rows, 2, N));
	EACH("min_rows 8 x 256", 8 * N, k->min_rows(out, base, rows, 8, 1, N));
	EACH("min_into 256", N, k->min_into(out, norms, 1, N));
	EACH("below 256", N, found += k->below(index, norms, -1.9f, N));
	EACH("min_max 256", N, k->min_max(&least, &greatest, norms, N));
	EACH("count_below 256", N, found += k->count_below(norms, 0, N));
	EACH("least 256", N, out[0] += k->least(norms, N));
	EACH("find 256", N, found += k->find(norms, norms[N - 1], N));
	EACH("boxes 16 of 8", 16 * AQZ_LEAF, k->boxes(out, x, leaves, all, 16, DIM));
	EACH("leaves 64 of 8", 64 * AQZ_LEAF,
		found += k->leaves(out, -INFINITY, x, leaves, all, 64, DIM));
#undef EACH
	(void)found;
}

const kernel_family family_encode = {"encode", check, measure};
