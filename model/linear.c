/* SPDX-License-Identifier: Apache-2.0 */
/* Products of many tokens: a thread reconstructs a tile of rows and OpenBLAS multiplies it with all tokens, on one
 * thread. Beside the memory of the tile nothing of the matrix is ever in binary32. */
#ifdef _OPENMP
#include <omp.h>
#endif

#include "codec/encode/blas.h"
#include "model/attention.h"
#include "model/linear_parts.h"

/* Rows of a tile: more where there are rows for many tiles. For each tile OpenBLAS packs the tokens anew, which for 64
 * rows takes an eighth of the time, for 128 rows half of that (Zen 4); fewer rows share the work better among
 * threads. */
#define TILE_ROWS 128
#define FEW_TILE_ROWS 96
#define MANY_ROWS 2048
#define MAX_THREADS 256

/* Backward: rows that are reconstructed for all threads at a time, and tokens of a piece of work. */
#define PANEL_BYTES (UINT64_C(2) * 1024 * 1024)
#define PANEL_ROWS 512
#define PANEL_STEP 64
#define PIECE_TOKENS 64
#define PIECE_COLS 512

/* ---- Memory */

void *aqz_work_scratch(const aqz_work *work)
{
#ifdef _OPENMP
	return (uint8_t *)work->scratch + (unsigned)omp_get_thread_num() * work->scratch_bytes;
#else
	return work->scratch;
#endif
}

/* Rows that are reconstructed at a time for the backward product: the same for any number of threads. */
static uint64_t panel_rows(uint64_t cols)
{
	const uint64_t fit = PANEL_BYTES / sizeof(float) / cols / PANEL_STEP * PANEL_STEP;

	return fit < PANEL_STEP ? PANEL_STEP : aqz_min(fit, PANEL_ROWS);
}

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void need(aqz_work *work, const aqz_weight *w)
{
	work->scratch_bytes = greater(work->scratch_bytes, TILE_ROWS * w->cols * sizeof(float));
	work->shared_bytes = greater(work->shared_bytes, aqz_linear_token_bytes(w));
	work->shared_bytes = greater(work->shared_bytes, panel_rows(w->cols) * w->cols * sizeof(float));
}

aqz_status aqz_work_open(
	aqz_work *work, const aqz_model *m, unsigned n_threads, aqz_budget *budget, aqz_error *err)
{
	const uint64_t attention = aqz_attention_scratch_bytes(m->config.head_dim);
	aqz_status status;

	*work = (aqz_work){
		.n_threads = (unsigned)aqz_min(aqz_threads(n_threads), MAX_THREADS),
		.scratch_bytes = attention,
		.math = aqz_math_best(),
		.budget = budget,
	};
	need(work, &m->embedding);
	need(work, &m->head);
	for (uint32_t i = 0; i < m->config.n_layers; i++)
		for (int k = 0; k < AQZ_N_LINEARS; k++)
			need(work, &m->blocks[i].linear[k]);
	/* Sizes are bounded by those of weights in memory, times 64. */
	work->scratch_bytes = (work->scratch_bytes + 63) / 64 * 64;
	AQZ_TRY(aqz_budget_alloc(budget, &work->scratch, work->n_threads * work->scratch_bytes,
		"scratch of the threads", err));
	AQZ_TRY(
		aqz_budget_alloc(budget, &work->shared, work->shared_bytes, "tables of the products", err));
out:
	if (status != AQZ_OK)
		aqz_work_close(work);
	return status;
}

void aqz_work_close(aqz_work *work)
{
	if (work->scratch != NULL)
		aqz_budget_free(work->budget, work->scratch, work->n_threads * work->scratch_bytes);
	if (work->shared != NULL)
		aqz_budget_free(work->budget, work->shared, work->shared_bytes);
	*work = (aqz_work){0};
}

/* ---- Forward */

/* Binary32 rows are where they are; others come into the scratch. */
static const float *rows_of(const aqz_weight *w, uint64_t begin, uint64_t end, float *scratch)
{
	if (w->form == AQZ_WEIGHT_DENSE && w->dtype == AQZ_F32)
		return (const float *)(const void *)w->data + begin * w->cols;
	aqz_weight_rows(scratch, (size_t)w->cols, w, begin, end);
	return scratch;
}

/* y of one tile of rows and all tokens. Biases are there first, so that the product is added to them. */
static void tile(
	const aqz_linear_job *job, unsigned i, uint64_t begin, uint64_t end, const aqz_work *work)
{
	const aqz_weight *w = job->w[i];
	const float *rows = rows_of(w, begin, end, aqz_work_scratch(work));
	float *y = job->y[i] + begin;

	if (w->bias != NULL)
		for (size_t t = 0; t < job->n; t++)
			memcpy(y + t * job->y_ld[i], w->bias + begin, (end - begin) * sizeof *y);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)job->n, (int)(end - begin),
		(int)w->cols, 1, job->x, (int)job->x_ld, rows, (int)w->cols, w->bias != NULL ? 1 : 0, y,
		(int)job->y_ld[i]);
}

static void many_tokens(const aqz_linear_job *job, const aqz_work *work)
{
	uint64_t first[AQZ_LINEAR_MANY + 1] = {0}, rows = 0, step;

	for (unsigned i = 0; i < job->n_weights; i++)
		rows += job->w[i]->rows;
	step = rows < MANY_ROWS ? FEW_TILE_ROWS : TILE_ROWS;
	for (unsigned i = 0; i < job->n_weights; i++)
		first[i + 1] = first[i] + aqz_ceil_div(job->w[i]->rows, step);
#pragma omp parallel for num_threads(work->n_threads) schedule(dynamic)
	for (uint64_t k = 0; k < first[job->n_weights]; k++) {
		unsigned i = 0;
		uint64_t begin;

		while (k >= first[i + 1])
			i++;
		begin = (k - first[i]) * step;
		tile(job, i, begin, aqz_min(begin + step, job->w[i]->rows), work);
	}
}

void aqz_linear_forward_many(float *const *y, const size_t *y_ld, const aqz_weight *const *w,
	unsigned n_weights, const float *x, size_t x_ld, size_t n, const aqz_work *work)
{
	while (n_weights > 0) {
		const unsigned here = n_weights < AQZ_LINEAR_MANY ? n_weights : AQZ_LINEAR_MANY;
		const aqz_linear_job job = {y, y_ld, w, here, x, x_ld, n};

		if (n <= AQZ_LINEAR_FEW)
			aqz_linear_tokens(&job, work);
		else
			many_tokens(&job, work);
		y += here;
		y_ld += here;
		w += here;
		n_weights -= here;
	}
}

void aqz_linear_forward(float *y, size_t y_ld, const aqz_weight *w, const float *x, size_t x_ld,
	size_t n, const aqz_work *work)
{
	aqz_linear_forward_many(&y, &y_ld, &w, 1, x, x_ld, n, work);
}

/* ---- Backward: a panel of rows is reconstructed by all threads, then each multiplies it with its tokens and columns
 * of dx. Every element of dx is added to panel after panel. */

static void add_piece(float *dx, size_t dx_ld, const float *panel, uint64_t n_rows, uint64_t cols,
	const float *dy, size_t dy_ld, size_t n, uint64_t k)
{
	const uint64_t n_across = aqz_ceil_div(cols, PIECE_COLS);
	const size_t t = (size_t)(k / n_across) * PIECE_TOKENS, col = (size_t)(k % n_across) * PIECE_COLS;
	const size_t n_tokens = (size_t)aqz_min(PIECE_TOKENS, n - t),
				 n_cols = (size_t)aqz_min(PIECE_COLS, cols - col);

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n_tokens, (int)n_cols, (int)n_rows,
		1, dy + t * dy_ld, (int)dy_ld, panel + col, (int)cols, 1, dx + t * dx_ld + col, (int)dx_ld);
}

void aqz_linear_backward(float *dx, size_t dx_ld, const aqz_weight *w, const float *dy,
	size_t dy_ld, size_t n, const aqz_work *work)
{
	const bool in_place = w->form == AQZ_WEIGHT_DENSE && w->dtype == AQZ_F32;
	const uint64_t step = panel_rows(w->cols);
	const uint64_t n_pieces = aqz_ceil_div(n, PIECE_TOKENS) * aqz_ceil_div(w->cols, PIECE_COLS);
	float *shared = work->shared;

#pragma omp parallel num_threads(work->n_threads)
	for (uint64_t first = 0; first < w->rows; first += step) {
		const uint64_t n_rows = aqz_min(step, w->rows - first);
		const float *panel = shared;

		if (in_place) {
			panel = (const float *)(const void *)w->data + first * w->cols;
		} else {
#pragma omp for schedule(dynamic)
			for (uint64_t row = 0; row < n_rows; row += PANEL_STEP)
				aqz_weight_rows(shared + row * w->cols, (size_t)w->cols, w, first + row,
					first + aqz_min(row + PANEL_STEP, n_rows));
		}
#pragma omp for schedule(dynamic)
		for (uint64_t k = 0; k < n_pieces; k++)
			add_piece(dx, dx_ld, panel, n_rows, w->cols, dy + first, dy_ld, n, k);
	}
}
