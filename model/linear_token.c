/* SPDX-License-Identifier: Apache-2.0 */
/* Products for a few tokens, straight from the stored form: each row of a dense matrix is read once and multiplied
 * with all of them, blocks are widened a row at a time, additive codes go through codec/product. */
#include "codec/product.h"
#include "model/linear_parts.h"

/* Rows of a piece of work. */
#define ROWS 32

/* Tables for all rows that share them: never more than pays for this many. */
#define ANY_ROWS (UINT64_C(1) << 40)

uint64_t aqz_linear_token_bytes(const aqz_weight *w)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < w->n_parts && w->form == AQZ_WEIGHT_ADDITIVE; i++) {
		const uint64_t n = aqz_product_scratch_bytes(&w->parts[i].tables.scheme, ANY_ROWS, w->cols);

		most = n > most ? n : most;
	}
	return most;
}

static float dot_row(
	const aqz_weight *w, uint64_t row, const float *wide, const float *x, const aqz_math *math)
{
	const size_t cols = (size_t)w->cols;

	if (w->form == AQZ_WEIGHT_BLOCKS)
		return math->dot(wide, x, cols);
	if (w->dtype == AQZ_F32)
		return math->dot((const float *)(const void *)w->data + row * cols, x, cols);
	if (w->dtype == AQZ_F16)
		return math->dot_f16((const uint16_t *)(const void *)w->data + row * cols, x, cols);
	return math->dot_bf16((const uint16_t *)(const void *)w->data + row * cols, x, cols);
}

/* One piece: rows of one dense or block matrix for all tokens. */
static void piece(const aqz_linear_job *job, unsigned i, uint64_t begin, const aqz_work *work)
{
	const aqz_weight *w = job->w[i];
	const uint64_t end = aqz_min(begin + ROWS, w->rows);
	float *wide = aqz_work_scratch(work);

	for (uint64_t row = begin; row < end; row++) {
		if (w->form == AQZ_WEIGHT_BLOCKS)
			aqz_weight_rows(wide, (size_t)w->cols, w, row, row + 1);
		for (size_t t = 0; t < job->n; t++)
			job->y[i][t * job->y_ld[i] + row] =
				dot_row(w, row, wide, job->x + t * job->x_ld, work->math) +
				(w->bias != NULL ? w->bias[row] : 0);
	}
}

static void plain_forms(const aqz_linear_job *job, const aqz_work *work)
{
	uint64_t first[AQZ_LINEAR_MANY + 1] = {0};

	for (unsigned i = 0; i < job->n_weights; i++)
		first[i + 1] = first[i] +
			(job->w[i]->form == AQZ_WEIGHT_ADDITIVE ? 0 : aqz_ceil_div(job->w[i]->rows, ROWS));
	if (first[job->n_weights] == 0)
		return;
#pragma omp parallel for num_threads(work->n_threads) schedule(static)
	for (uint64_t k = 0; k < first[job->n_weights]; k++) {
		unsigned i = 0;

		while (k >= first[i + 1])
			i++;
		piece(job, i, (k - first[i]) * ROWS, work);
	}
}

/* True if products of both can have one set of tables. */
static bool same_tables(const aqz_weight_part *a, const aqz_weight_part *b)
{
	return a->tables.values == b->tables.values &&
		memcmp(&a->tables.scheme, &b->tables.scheme, sizeof a->tables.scheme) == 0;
}

/* Parts that are multiplied at a time. */
#define PARTS 64

/* All parts of all additive matrices, those in a row that share codebooks together, for one token. */
static void additive(const aqz_linear_job *job, size_t t, const aqz_work *work)
{
	const float *x = job->x + t * job->x_ld;
	const aqz_weight_part *of = NULL;
	aqz_product_part parts[PARTS];
	unsigned n = 0;
	uint64_t cols = 0;

	for (unsigned i = 0; i < job->n_weights; i++) {
		const aqz_weight *w = job->w[i];

		for (uint32_t k = 0; k < w->n_parts && w->form == AQZ_WEIGHT_ADDITIVE; k++) {
			const aqz_weight_part *part = &w->parts[k];

			if (n == PARTS || (n > 0 && !same_tables(of, part))) {
				aqz_product(parts, n, &of->tables, cols, x, work->shared, work->n_threads, NULL);
				n = 0;
			}
			of = part;
			cols = w->cols;
			parts[n++] = (aqz_product_part){job->y[i] + t * job->y_ld[i] + part->row_begin,
				part->lines, part->scales, part->row_end - part->row_begin};
		}
	}
	if (n > 0)
		aqz_product(parts, n, &of->tables, cols, x, work->shared, work->n_threads, NULL);
	for (unsigned i = 0; i < job->n_weights; i++)
		if (job->w[i]->form == AQZ_WEIGHT_ADDITIVE && job->w[i]->bias != NULL)
			work->math->axpy(
				job->y[i] + t * job->y_ld[i], 1, job->w[i]->bias, (size_t)job->w[i]->rows);
}

void aqz_linear_tokens(const aqz_linear_job *job, const aqz_work *work)
{
	plain_forms(job, work);
	for (size_t t = 0; t < job->n; t++)
		additive(job, t, work);
}
