/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of all groups, one group after the other, each given the errors of all others (metric.h).
 *
 * Groups are taken in blocks of about 128 columns. For a block the tables of its groups are made first, then every
 * task of some rows goes through the block on its own: one matrix product brings what the errors of all other
 * columns do to the block, and within the block each group's new error is passed on to the groups after it. */
#include <cblas.h>
#include <math.h>

#include "codec/encode/metric.h"

#define BLOCK_COLS 128
/* Tables of a block. */
#define MAX_TABLE_BYTES (UINT64_C(32) << 20)

bool aqz_sweep_prunes(const aqz_scheme *scheme)
{
	return scheme->n_codebooks == 1 && aqz_prune_possible(scheme);
}

unsigned aqz_sweep_groups(const aqz_scheme *scheme)
{
	const uint64_t each =
		aqz_search_bytes(scheme) + (aqz_sweep_prunes(scheme) ? aqz_prune_bytes(scheme) : 0);
	const uint64_t room = MAX_TABLE_BYTES / each;
	const unsigned n = BLOCK_COLS / scheme->in_group;

	return room < 1 ? 1 : room < n ? (unsigned)room : n;
}

/* ---- A thread's memory */

typedef struct task_memory {
	float *targets;	 /* [task rows][block columns]: W_j A_j + sum of E_k N_kj */
	float *x;		 /* [task code rows][d]: what is searched for */
	float *change;	 /* [task rows][G]: of a group's error */
	uint16_t *codes; /* [task code rows][M] */
	void *search;
} task_memory;

static size_t lay_out(task_memory *m, uint8_t *p, const aqz_scheme *scheme, unsigned beam)
{
	const size_t code_rows = aqz_task_code_rows(scheme), rows = code_rows * scheme->out_group;
	const size_t cols = (size_t)aqz_sweep_groups(scheme) * scheme->in_group;
	const size_t bytes[] = {rows * cols * sizeof(float),
		code_rows * aqz_codeword(scheme) * sizeof(float), rows * scheme->in_group * sizeof(float),
		code_rows * scheme->n_codebooks * sizeof(uint16_t), aqz_search_scratch_bytes(scheme, beam)};
	size_t at[5], n = 0;

	for (int i = 0; i < 5; i++) {
		at[i] = n;
		n += (bytes[i] + 63) / 64 * 64;
	}
	if (p != NULL)
		*m = (task_memory){(void *)(p + at[0]), (void *)(p + at[1]), (void *)(p + at[2]),
			(void *)(p + at[3]), p + at[4]};
	return n;
}

uint64_t aqz_sweep_panel_bytes(const aqz_scheme *scheme, uint64_t cols)
{
	return cols * aqz_sweep_groups(scheme) * scheme->in_group * sizeof(float);
}

uint64_t aqz_sweep_scratch_bytes(const aqz_scheme *scheme, unsigned beam)
{
	return lay_out(NULL, NULL, scheme, beam);
}

/* ---- Tables */

static bool is_pruned(const aqz_tuner *t, const aqz_metric *l)
{
	return t->prune != NULL && aqz_prune_pays(&l->a.scheme, l->a.code_rows);
}

/* codeword times A_j, for each of its O rows: lower triangular, so column q takes values q.. of the row. */
static void transform(
	float *out, const float *codeword, const float *factor, unsigned n_rows, unsigned g)
{
	for (unsigned o = 0; o < n_rows; o++)
		for (unsigned q = 0; q < g; q++) {
			float sum = 0;

			for (unsigned p = q; p < g; p++)
				sum += codeword[o * g + p] * factor[p * g + q];
			out[o * g + q] = sum;
		}
}

/* Fills the table with the codewords times A_j; rows of the codeword from n_rows on count as 0. */
static void load_group(
	aqz_search *s, const float *codebooks, const float *factor, unsigned n_rows, unsigned n_threads)
{
	const unsigned g = s->scheme.in_group, d = s->n_values;

#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
	for (size_t k = 0; k < s->n_codebooks * s->n_codewords; k++) {
		const size_t m = k / s->n_codewords, code = k % s->n_codewords;
		float *table = s->table + m * d * s->n_lanes + code, values[AQZ_MAX_CODEWORD] = {0};
		double norm = 0;

		transform(values, codebooks + k * d, factor, n_rows, g);
		for (unsigned v = 0; v < d; v++) {
			table[v * s->n_lanes] = values[v];
			norm += (double)values[v] * values[v];
		}
		s->half_norm[m * s->n_lanes + code] = (float)(norm / 2);
	}
	for (size_t m = 0; m < s->n_codebooks; m++)
		for (size_t k = s->n_codewords; k < s->n_lanes; k++)
			s->half_norm[m * s->n_lanes + k] = INFINITY;
	aqz_search_set_gram(s, n_threads);
}

/* The same for a single large codebook, with the tree that leaves out most of it. */
static void load_pruned(aqz_prune *p, aqz_search *s, const float *codebook, const float *factor,
	unsigned n_rows, float *transformed, unsigned n_threads)
{
	const unsigned d = s->n_values;

#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
	for (size_t k = 0; k < s->n_codewords; k++) {
		memset(transformed + k * d, 0, d * sizeof *transformed);
		transform(transformed + k * d, codebook + k * d, factor, n_rows, s->scheme.in_group);
	}
	aqz_search_set_codebook(s, 0, transformed, NULL);
	aqz_prune_load(p, s, 0, transformed, NULL, n_threads);
}

/* Tables of groups [0, n) of a block. */
static void load_block(
	aqz_tuner *t, const aqz_metric *l, const uint32_t *block, unsigned n, const float *codebooks)
{
	const unsigned out_group = l->a.scheme.out_group, left = (unsigned)(l->a.rows % out_group);
	const unsigned n_tables = left != 0 ? 2 * n : n;
	/* Few large tables: the threads share each. */
	const bool inside = n_tables < t->e->n_threads;

#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic) if (!inside)
	for (unsigned i = 0; i < n_tables; i++) {
		const unsigned to = i < n ? i : t->n_search + i - n, n_rows = i < n ? out_group : left;
		const unsigned n_threads = inside ? t->e->n_threads : 1;

		if (is_pruned(t, l) && i < n)
			load_pruned(&t->prune[to], &t->search[to], codebooks, aqz_factor(l, block[i]), n_rows,
				aqz_tuner_transformed(t), n_threads);
		else
			load_group(&t->search[to], codebooks, aqz_factor(l, block[i % n]), n_rows, n_threads);
	}
}

/* The block's columns of N side by side. */
static void copy_panel(aqz_tuner *t, const aqz_metric *l, const uint32_t *block, unsigned n)
{
	const unsigned g = l->a.scheme.in_group;
	const uint64_t cols = l->a.cols;

	if (l->hessian == NULL)
		return;
#pragma omp parallel for num_threads(t->e->n_threads) schedule(static)
	for (uint64_t k = 0; k < cols; k++)
		for (unsigned p = 0; p < n; p++) {
			const float *from = l->feedback + k * cols + (uint64_t)block[p] * g;
			float *to = t->panel + (k * n + p) * g;
			const unsigned n_cols = aqz_group_cols(&l->a, block[p]);

			memset(to, 0, g * sizeof *to);
			memcpy(to, from, n_cols * sizeof *to);
		}
}

/* ---- A task */

typedef struct task {
	const aqz_tuner *t;
	aqz_metric *l;
	const aqz_sweep_how *how;
	const uint32_t *block; /* groups */
	unsigned n_block;
	uint64_t code_row, n_code_rows;
	uint64_t row, n_rows; /* of the matrix */
	task_memory m;
	unsigned ld; /* of targets */
} task;

/* Half the squared distance of x from the sum of the codes' codewords. */
static float distance(const aqz_search *s, const uint16_t *codes, const float *x)
{
	float sum = 0;

	for (unsigned v = 0; v < s->n_values; v++) {
		float rest = x[v];

		for (unsigned m = 0; m < s->n_codebooks; m++)
			rest -= s->table[((size_t)m * s->n_values + v) * s->n_lanes + codes[m]];
		sum += rest * rest;
	}
	return sum / 2;
}

/* x of code row i of the task, for the group at position p of the block. */
static void gather(const task *k, unsigned p, uint64_t i, float *x)
{
	const aqz_matrix *a = &k->l->a;
	const unsigned g = a->scheme.in_group, out_group = a->scheme.out_group;
	const float scale = k->l->scales[k->code_row + i], inverse = scale != 0 ? 1 / scale : 0;

	for (unsigned o = 0; o < out_group; o++) {
		const uint64_t row = i * out_group + o;

		for (unsigned q = 0; q < g; q++)
			x[o * g + q] = row < k->n_rows ? k->m.targets[row * k->ld + p * g + q] * inverse : 0;
	}
}

/* The error of a group of code row i, from its codes, and the change of it. */
static void apply(const task *k, uint64_t group, uint64_t i, const uint16_t *codes)
{
	const aqz_matrix *a = &k->l->a;
	const unsigned g = a->scheme.in_group, out_group = a->scheme.out_group, d = a->n_values;
	const unsigned n_cols = aqz_group_cols(a, group);
	const size_t per_book = ((size_t)1 << a->scheme.code_bits) * d;
	const float scale = k->l->scales[k->code_row + i];

	for (unsigned o = 0; o < out_group && i * out_group + o < k->n_rows; o++) {
		const uint64_t at = (k->row + i * out_group + o) * a->cols + group * g;
		float *change = k->m.change + (i * out_group + o) * g;

		for (unsigned q = 0; q < n_cols; q++) {
			float sum = 0, error;

			for (unsigned m = 0; m < a->scheme.n_codebooks; m++)
				sum += k->how->codebooks[m * per_book + codes[m] * (size_t)d + o * g + q];
			error = a->w[at + q] - sum * scale;
			change[q] = error - k->l->error[at + q];
			k->l->error[at + q] = error;
		}
	}
}

/* Moves what is searched for by a share of the distance that the codes have now. */
static void add_noise(const task *k, const aqz_search *s, uint64_t group, uint64_t begin, uint64_t end)
{
	const unsigned d = s->n_values;
	double sum = 0;
	float amount;

	for (uint64_t i = begin; i < end; i++)
		sum +=
			distance(s, k->l->codes + ((k->code_row + i) * k->l->a.groups + group) * s->n_codebooks,
				k->m.x + i * d);
	amount = k->how->noise * (float)sqrt(2 * sum / ((double)(end - begin) * d));
	for (uint64_t i = begin; i < end; i++)
		for (unsigned v = 0; v < d; v++)
			k->m.x[i * d + v] += amount *
				aqz_random_normal(k->t->e->seed, k->how->stream,
					((k->code_row + i) * k->l->a.groups + group) * d + v);
}

static void search_rows(const task *k, const aqz_search *s, unsigned p, uint64_t begin, uint64_t end)
{
	const unsigned n_codebooks = s->n_codebooks, d = s->n_values;
	const uint64_t group = k->block[p], groups = k->l->a.groups;
	const size_t code_bytes = n_codebooks * sizeof(uint16_t);

	for (uint64_t i = begin; i < end; i++)
		gather(k, p, i, k->m.x + i * d);
	if (k->how->noise > 0)
		add_noise(k, s, group, begin, end);
	if (is_pruned(k->t, k->l) && s == &k->t->search[p])
		aqz_prune_nearest(&k->t->prune[p], k->m.codes + begin, 1, k->m.x + begin * d, d,
			end - begin, k->m.search);
	else
		aqz_search_beam(s, k->m.codes + begin * n_codebooks, k->m.x + begin * d, d, end - begin,
			k->how->beam, k->m.search);
	for (uint64_t i = begin; i < end; i++) {
		uint16_t *old = k->l->codes + ((k->code_row + i) * groups + group) * n_codebooks;
		const uint16_t *found = k->m.codes + i * n_codebooks;

		if (k->how->fresh ||
			(memcmp(old, found, code_bytes) != 0 &&
				distance(s, found, k->m.x + i * d) < distance(s, old, k->m.x + i * d)))
			memcpy(old, found, code_bytes);
		apply(k, group, i, old);
	}
}

/* targets = W A + E N of the block's columns; the diagonal blocks of N are 0. */
static void start_block(const task *k)
{
	const aqz_matrix *a = &k->l->a;
	const unsigned g = a->scheme.in_group;

	if (k->l->hessian != NULL)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)k->n_rows, (int)k->ld,
			(int)a->cols, 1, k->l->error + k->row * a->cols, (int)a->cols, k->t->panel, (int)k->ld,
			0, k->m.targets, (int)k->ld);
	else
		memset(k->m.targets, 0, k->n_rows * k->ld * sizeof *k->m.targets);
	for (uint64_t row = 0; row < k->n_rows; row++)
		for (unsigned p = 0; p < k->n_block; p++) {
			const float *w = a->w + (k->row + row) * a->cols + (uint64_t)k->block[p] * g;
			const float *factor = aqz_factor(k->l, k->block[p]);
			const unsigned n_cols = aqz_group_cols(a, k->block[p]);
			float *target = k->m.targets + row * k->ld + p * g;

			for (unsigned q = 0; q < n_cols; q++)
				for (unsigned r = q; r < n_cols; r++)
					target[q] += w[r] * factor[r * g + q];
		}
}

/* Passes the change of group p on to the groups of the block after it. */
static void pass_on(const task *k, unsigned p)
{
	const aqz_matrix *a = &k->l->a;
	const unsigned g = a->scheme.in_group, n_cols = aqz_group_cols(a, k->block[p]);

	const unsigned left = (k->n_block - p - 1) * g;
	const float *feedback = k->t->panel + (uint64_t)k->block[p] * g * k->ld + (p + 1) * g;

	for (uint64_t row = 0; row < k->n_rows; row++) {
		const float *change = k->m.change + row * g;
		float *target = k->m.targets + row * k->ld + (p + 1) * g;

		for (unsigned i = 0; i < n_cols; i++)
			for (unsigned q = 0; q < left; q++)
				target[q] += change[i] * feedback[i * k->ld + q];
	}
}

static void run_task(task *k)
{
	const unsigned left = (unsigned)(k->l->a.rows % k->l->a.scheme.out_group);
	const bool bottom = left != 0 && k->code_row + k->n_code_rows == k->l->a.code_rows;
	const uint64_t whole = k->n_code_rows - bottom;

	start_block(k);
	for (unsigned p = 0; p < k->n_block; p++) {
		if (whole > 0)
			search_rows(k, &k->t->search[p], p, 0, whole);
		if (bottom)
			search_rows(k, &k->t->search[k->t->n_search + p], p, whole, whole + 1);
		if (k->l->hessian != NULL && p + 1 < k->n_block)
			pass_on(k, p);
	}
}

void aqz_sweep(aqz_tuner *t, aqz_metric *l, const aqz_sweep_how *how)
{
	const aqz_scheme *scheme = &l->a.scheme;
	const uint64_t task_rows = aqz_task_code_rows(scheme),
				   n_tasks = aqz_ceil_div(l->a.code_rows, task_rows);
	uint32_t block[BLOCK_COLS];

	for (uint64_t first = 0; first < l->a.groups; first += t->n_search) {
		const unsigned n = (unsigned)aqz_min(t->n_search, l->a.groups - first);

		for (unsigned p = 0; p < n; p++)
			block[p] = l->order[how->backward ? l->a.groups - 1 - first - p : first + p];
		load_block(t, l, block, n, how->codebooks);
		copy_panel(t, l, block, n);
#pragma omp parallel for num_threads(t->e->n_threads) schedule(dynamic)
		for (uint64_t i = 0; i < n_tasks; i++) {
			const uint64_t code_row = i * task_rows;
			task k = {.t = t,
				.l = l,
				.how = how,
				.block = block,
				.n_block = n,
				.code_row = code_row,
				.n_code_rows = aqz_min(task_rows, l->a.code_rows - code_row),
				.row = code_row * scheme->out_group,
				.ld = n * scheme->in_group};

			k.n_rows = aqz_min(k.n_code_rows * scheme->out_group, l->a.rows - k.row);
			lay_out(&k.m, aqz_tuner_scratch(t), scheme, how->beam);
			run_task(&k);
		}
	}
}
