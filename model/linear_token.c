/* SPDX-License-Identifier: Apache-2.0 */
/* Products for a few tokens, straight from the stored form: each row of elements, symbols or blocks is read once for
 * all of them (kernels_rows.h), additive codes go through codec/product. */
#include "codec/product.h"
#include "codec/simd.h"
#include "model/linear_parts.h"

/* Rows of a piece of work. */
#define ROWS 32
/* Products below which a second thread costs more than it saves. */
#define FEW_PRODUCTS (1 << 16)

uint64_t aqz_linear_token_bytes(const aqz_weight *w)
{
	uint64_t most = 0;

	if (w->form ==
		AQZ_WEIGHT_SYMBOLS) /* the inputs times the steps of columns, for each matrix of a job */
		return AQZ_LINEAR_MANY * AQZ_LINEAR_FEW * w->cols * sizeof(float);
	for (uint32_t i = 0; i < w->n_parts && w->form == AQZ_WEIGHT_ADDITIVE; i++) {
		const uint64_t n =
			aqz_product_scratch_bytes(&w->parts[i].tables.scheme, w->cols, AQZ_PRODUCT_COLUMNS);

		most = n > most ? n : most;
	}
	return most;
}

/* ---- Elements, blocks and symbols */

/* One of the matrices: how its rows are multiplied, and with what. */
typedef struct product {
	const aqz_weight *w;
	aqz_rows_fn *rows; /* NULL: blocks that are to be widened first */
	size_t row_bytes;
	const float *x;
	size_t x_ld, n;
	float *y;
	size_t y_ld;
} product;

static aqz_rows_fn *kernel_of(const aqz_weight *w, const aqz_row_kernels *kernels)
{
	if (w->form == AQZ_WEIGHT_SYMBOLS)
		return w->symbols->bits == 8 ? kernels->i8 : kernels->i4;
	if (w->form == AQZ_WEIGHT_BLOCKS) {
		const aqz_block_kernels *blocks = aqz_rows_of_blocks(kernels, w->type);

		return blocks != NULL ? blocks->rows : NULL;
	}
	return w->dtype == AQZ_F32 ? kernels->f32 : w->dtype == AQZ_F16 ? kernels->f16 : kernels->bf16;
}

static size_t row_bytes_of(const aqz_weight *w)
{
	if (w->form == AQZ_WEIGHT_BLOCKS)
		return (size_t)(w->cols / w->type->n_values) * w->type->n_bytes;
	if (w->form == AQZ_WEIGHT_SYMBOLS)
		return (size_t)aqz_symbols_row_bytes(w->symbols->bits, w->cols);
	return (size_t)w->cols * (w->dtype == AQZ_F32 ? 4 : 2);
}

/* z[t][j] = x[t][j] * column_step[j], for all rows. */
static void scale_inputs(float *z, const product *p)
{
	const float *steps = p->w->symbols->column_step;
	const size_t cols = (size_t)p->w->cols;

	for (size_t t = 0; t < p->n; t++)
		for (size_t j = 0; j < cols; j++)
			z[t * cols + j] = p->x[t * p->x_ld + j] * steps[j];
}

/* Fills products[n_weights], additive ones with no rows. Returns how many products of numbers there are. */
static uint64_t open_products(product *products, const aqz_linear_job *job, const aqz_work *work)
{
	float *z = work->shared;
	uint64_t n = 0;

	for (unsigned i = 0; i < job->n_weights; i++) {
		const aqz_weight *w = job->w[i];
		product *p = &products[i];

		*p = (product){w, NULL, 0, job->x, job->x_ld, job->n, job->y[i], job->y_ld[i]};
		if (w->form == AQZ_WEIGHT_ADDITIVE)
			continue;
		p->rows = kernel_of(w, work->math->rows);
		p->row_bytes = row_bytes_of(w);
		n += w->rows * w->cols * job->n;
		if (w->form == AQZ_WEIGHT_SYMBOLS) {
			scale_inputs(z, p);
			p->x = z;
			p->x_ld = (size_t)w->cols;
			z += p->n * p->x_ld;
		}
	}
	return n;
}

/* Blocks without a kernel: a row is widened for all tokens. */
static void widened_rows(const product *p, uint64_t begin, uint64_t end, const aqz_work *work)
{
	const size_t cols = (size_t)p->w->cols;
	float *wide = aqz_work_scratch(work);

	for (uint64_t row = begin; row < end; row++) {
		aqz_weight_rows(wide, cols, p->w, row, row + 1);
		work->math->rows->f32(p->y + row, p->y_ld, (const uint8_t *)wide, cols * sizeof *wide, 1,
			p->x, p->x_ld, p->n, cols);
	}
}

/* What rows of symbols still need: those that data does not hold, and the steps of rows. */
static void finish_symbols(const product *p, uint64_t begin, uint64_t end)
{
	const aqz_symbols *s = p->w->symbols;
	const bool wide = s->wide_begin != NULL && s->wide_begin[begin] < s->wide_begin[end];

	for (size_t t = 0; t < p->n; t++) {
		const float *z = p->x + t * p->x_ld;
		float *y = p->y + t * p->y_ld;

		for (uint64_t row = begin; wide && row < end; row++) {
			float sum = y[row];

			for (uint64_t i = s->wide_begin[row]; i < s->wide_begin[row + 1]; i++)
				sum += s->wide[i].value * z[s->wide[i].col];
			y[row] = sum;
		}
		AQZ_SIMD
		for (uint64_t row = begin; row < end; row++)
			y[row] *= s->row_step[row];
	}
}

/* A piece of work: some rows of one matrix for all tokens. */
static void piece(const product *p, uint64_t begin, const aqz_work *work)
{
	const uint64_t end = aqz_min(begin + ROWS, p->w->rows);
	const float *bias = p->w->bias;

	if (p->rows == NULL)
		widened_rows(p, begin, end, work);
	else
		p->rows(p->y + begin, p->y_ld, p->w->data + begin * p->row_bytes, p->row_bytes,
			(size_t)(end - begin), p->x, p->x_ld, p->n, (size_t)p->w->cols);
	if (p->w->form == AQZ_WEIGHT_SYMBOLS)
		finish_symbols(p, begin, end);
	for (size_t t = 0; t < p->n && bias != NULL; t++)
		for (uint64_t row = begin; row < end; row++)
			p->y[t * p->y_ld + row] += bias[row];
}

static void plain_forms(const aqz_linear_job *job, const aqz_work *work)
{
	product products[AQZ_LINEAR_MANY];
	uint64_t first[AQZ_LINEAR_MANY + 1] = {0};
	const uint64_t n = open_products(products, job, work);

	for (unsigned i = 0; i < job->n_weights; i++)
		first[i + 1] = first[i] +
			(job->w[i]->form == AQZ_WEIGHT_ADDITIVE ? 0 : aqz_ceil_div(job->w[i]->rows, ROWS));
	if (first[job->n_weights] == 0)
		return;
#pragma omp parallel for num_threads(work->n_threads) schedule(static) if (n > FEW_PRODUCTS)
	for (uint64_t k = 0; k < first[job->n_weights]; k++) {
		unsigned i = 0;

		while (k >= first[i + 1])
			i++;
		piece(&products[i], (k - first[i]) * ROWS, work);
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

/* All parts of all additive matrices, those in a row that share codebooks together, for n tokens from the first on. */
static void additive(const aqz_linear_job *job, size_t first, unsigned n, const aqz_work *work)
{
	const float *x = job->x + first * job->x_ld;
	const aqz_weight_part *of = NULL;
	aqz_product_part parts[PARTS];
	unsigned n_parts = 0;
	uint64_t cols = 0;

	for (unsigned i = 0; i < job->n_weights; i++) {
		const aqz_weight *w = job->w[i];

		for (uint32_t k = 0; k < w->n_parts && w->form == AQZ_WEIGHT_ADDITIVE; k++) {
			const aqz_weight_part *part = &w->parts[k];

			if (n_parts == PARTS || (n_parts > 0 && !same_tables(of, part))) {
				aqz_product(parts, n_parts, &of->tables, cols, x, job->x_ld, n, work->shared,
					work->n_threads, NULL);
				n_parts = 0;
			}
			of = part;
			cols = w->cols;
			parts[n_parts++] =
				(aqz_product_part){.y = job->y[i] + first * job->y_ld[i] + part->row_begin,
					.y_ld = job->y_ld[i],
					.lines = part->lines,
					.scales = part->scales,
					.rows = part->row_end - part->row_begin};
		}
	}
	if (n_parts > 0)
		aqz_product(parts, n_parts, &of->tables, cols, x, job->x_ld, n, work->shared,
			work->n_threads, NULL);
	for (unsigned i = 0; i < job->n_weights; i++)
		for (unsigned t = 0; t < n; t++)
			if (job->w[i]->form == AQZ_WEIGHT_ADDITIVE && job->w[i]->bias != NULL)
				work->math->axpy(job->y[i] + (first + t) * job->y_ld[i], 1, job->w[i]->bias,
					(size_t)job->w[i]->rows);
}

void aqz_linear_tokens(const aqz_linear_job *job, const aqz_work *work)
{
	plain_forms(job, work);
	for (size_t t = 0; t < job->n; t += AQZ_PRODUCT_COLUMNS)
		additive(job, t, (unsigned)aqz_min(AQZ_PRODUCT_COLUMNS, job->n - t), work);
}
