/* SPDX-License-Identifier: Apache-2.0 */
/* One pass of the trellis encoder: every column of every chunk, each given the errors of the columns before it. Chunks
 * are independent, so they are what threads share. Inside, rows are divided by their steps. */
#include <cblas.h>
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "codec/encode/trellis_layer.h"
#include "codec/simd.h"

/* Columns whose feedback from earlier ones is one matrix product. */
#define BLOCK 64

/* A thread's scratch, by chunk rows m. */
typedef struct chunk_scratch {
	float *x;	   /* [BLOCK][m]: what columns of the block are to become */
	float *error;  /* [cols][m]: w - q */
	float *cost;   /* [m][4] */
	int32_t *k;	   /* [m][4] */
	int16_t *size; /* [m]: the row's part of the bucket */
	float *weight; /* [m]: 1 over the row's size */
	uint8_t *bucket, *choice;
	uint32_t *counts;
} chunk_scratch;

#define COUNTS ((size_t)AQZ_TRELLIS_MAX_BUCKETS * 2 * AQZ_COUNTS)

static size_t padded(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

static size_t place(chunk_scratch *s, uint8_t *at, uint64_t cols, uint32_t m, unsigned state_bits)
{
	const size_t sizes[] = {(size_t)BLOCK * m * 4, (size_t)cols * m * 4, (size_t)m * 16,
		(size_t)m * 16, (size_t)m * 2, (size_t)m * 4, m, ((size_t)m << state_bits >> 3) + m + 64,
		COUNTS * 4};
	void *p[sizeof sizes / sizeof *sizes];
	size_t total = 0;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		p[i] = at + total;
		total += padded(sizes[i]);
	}
	if (s != NULL)
		*s = (chunk_scratch){p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8]};
	return total;
}

size_t aqz_trellis_scratch_bytes(uint64_t cols, uint32_t chunk_rows, unsigned state_bits)
{
	uint8_t base[1];

	return place(NULL, base, cols, chunk_rows, state_bits);
}

/* x of columns [j0, j0 + n): weights and what the errors of columns before j0 do to them. */
static void fill_block(const aqz_trellis_work *w, const chunk_scratch *s, uint64_t row, size_t m,
	uint64_t j0, size_t n)
{
	const uint64_t cols = w->params.cols;

	for (size_t i = 0; i < m; i++) {
		const float *from = w->w + (row + i) * cols + j0;
		const float shrink = w->shrink != NULL ? w->shrink[row + i] : 1;

		for (size_t b = 0; b < n; b++)
			s->x[b * m + i] = from[b] * shrink;
	}
	if (w->factor != NULL && j0 > 0)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)m, (int)j0, 1,
			w->factor + j0 * cols, (int)cols, s->error, (int)m, 1, s->x, (int)m);
}

static void count(uint32_t *counts, const aqz_trellis_params *p, const uint8_t *bucket,
	const int32_t *index, size_t m)
{
	unsigned state = 0;

	for (size_t i = 0; i < m; i++) {
		const unsigned t = p->state_bits == 0 ? 0 : state & 1,
					   magnitude = aqz_trellis_magnitude(p, t, index[i]);

		counts[((size_t)bucket[i] * 2 + t) * AQZ_COUNTS +
			(magnitude < AQZ_COUNTS ? magnitude : AQZ_COUNTS - 1)]++;
		if (p->state_bits != 0)
			state = aqz_trellis_next(p->state_bits, state, (unsigned)index[i] & 1);
	}
}

/* What is left of the column's weights: error = w - q, where x = w + feedback. Returns the sum of (x - q)^2. */
static double leave(float *error, const aqz_trellis_work *w, const float *x, const int32_t *index,
	uint64_t row, size_t m, uint64_t j)
{
	const aqz_trellis_params *p = &w->params;
	const float step = aqz_trellis_column_step(p, j);
	unsigned state = 0;
	double sum = 0;

	for (size_t i = 0; i < m; i++) {
		const unsigned t = p->state_bits == 0 ? 0 : state & 1;
		const float q = (float)aqz_trellis_value(p, t, index[i]) * step, e = x[i] - q;
		const float shrink = w->shrink != NULL ? w->shrink[row + i] : 1;

		error[i] = w->w[(row + i) * p->cols + j] * shrink - q;
		sum += (double)e * e / ((double)shrink * shrink);
		if (p->state_bits != 0)
			state = aqz_trellis_next(p->state_bits, state, (unsigned)index[i] & 1);
	}
	return sum;
}

static void column(const aqz_trellis_work *w, const chunk_scratch *s, float *x, uint64_t row,
	size_t m, uint64_t j, double *size, double *error)
{
	const aqz_trellis_params *p = &w->params;
	const int at = 2 * p->column_size[j] - p->column_step[j] + p->bias, last = p->n_buckets - 1;
	const float step = aqz_trellis_column_step(p, j);
	int32_t *index = w->index + j * p->rows + row;
	float *rest = s->error + j * m;
	double sum = 0;

	AQZ_SIMD
	for (size_t i = 0; i < m; i++) {
		int b = (at + s->size[i]) >> 2;

		b = b < 0 ? 0 : b;
		s->bucket[i] = (uint8_t)(b > last ? last : b);
	}
	for (size_t i = 0; i < m; i++)
		sum += (double)(fabsf(x[i]) * s->weight[i]);
	*size = sum;
	w->kernels->candidates(s->cost, s->k, x, 1 / step, w->rates, s->bucket, m, p->state_bits);
	w->kernels->path(index, s->cost, s->k, s->choice, m, p->state_bits);
	count(s->counts, p, s->bucket, index, m);
	*error += leave(rest, w, x, index, row, m, j) / (w->spread[j] * w->spread[j]);
}

/* Tells that n columns are done. False once the work is to stop. */
static bool tell(aqz_trellis_watch *watch, uint64_t n, unsigned thread)
{
	const uint64_t done = atomic_fetch_add(&watch->done, n) + n;

	if (thread == 0 && watch->progress != NULL && !atomic_load(&watch->stopped) &&
		!watch->progress(watch->user, aqz_min(done, watch->total), watch->total))
		atomic_store(&watch->stopped, true);
	return !atomic_load(&watch->stopped);
}

static void chunk(const aqz_trellis_work *w, const chunk_scratch *s, uint64_t number, unsigned thread)
{
	const aqz_trellis_params *p = &w->params;
	const uint64_t row = number * w->chunk_rows;
	const size_t m = (size_t)aqz_min(w->chunk_rows, p->rows - row);

	for (size_t i = 0; i < m; i++) {
		const int size = 2 * p->row_size[row + i] - p->row_step[row + i];

		s->size[i] = (int16_t)size;
		s->weight[i] = aqz_eighth_octave(-size);
	}
	w->errors[number] = 0;
	for (uint64_t j0 = 0; j0 < p->cols; j0 += BLOCK) {
		const size_t n = (size_t)aqz_min(BLOCK, p->cols - j0);

		if (!tell(w->watch, n, thread))
			return;
		fill_block(w, s, row, m, j0, n);
		for (size_t b = 0; b < n; b++) {
			const uint64_t j = j0 + b;

			column(
				w, s, s->x + b * m, row, m, j, &w->sizes[number * p->cols + j], &w->errors[number]);
			for (size_t other = b + 1; other < n && w->factor != NULL; other++) {
				const float f = w->factor[(j0 + other) * p->cols + j], *error = s->error + j * m;
				float *x = s->x + other * m;

				AQZ_SIMD
				for (size_t i = 0; i < m; i++)
					x[i] += f * error[i];
			}
		}
	}
}

void aqz_trellis_pass(aqz_trellis_work *w)
{
	const uint64_t n_chunks = aqz_ceil_div(w->params.rows, w->chunk_rows);
	const unsigned n_threads = (unsigned)aqz_min(w->n_threads, n_chunks);

	memset(w->counts, 0, COUNTS * sizeof *w->counts);
#pragma omp parallel num_threads(n_threads)
	{
		unsigned thread = 0;
		chunk_scratch s;

#ifdef _OPENMP
		thread = (unsigned)omp_get_thread_num();
#endif
		place(&s, w->scratch + thread * w->scratch_bytes, w->params.cols, w->chunk_rows,
			w->params.state_bits);
		memset(s.counts, 0, COUNTS * sizeof *s.counts);
#pragma omp for schedule(dynamic)
		for (uint64_t i = 0; i < n_chunks; i++)
			chunk(w, &s, i, thread);
#pragma omp critical(aqz_trellis_counts)
		for (size_t i = 0; i < COUNTS; i++)
			w->counts[i] += s.counts[i];
	}
	w->error = 0;
	for (uint64_t i = 0; i < n_chunks; i++)
		w->error += w->errors[i];
}

void aqz_trellis_dequantize(float *dst, const aqz_trellis_params *p, const int32_t *index,
	uint64_t chunk_rows, uint64_t row_begin, uint64_t row_end)
{
	for (uint64_t j = 0; j < p->cols; j++) {
		const float column = aqz_trellis_column_step(p, j);
		unsigned state = 0;

		for (uint64_t i = row_begin; i < row_end; i++) {
			const int32_t k = index[j * p->rows + i];
			unsigned t;
			float step = column;

			if (i % chunk_rows == 0)
				state = 0;
			t = p->state_bits == 0 ? 0 : state & 1;
			if (p->has_row_steps)
				step *= aqz_eighth_octave(p->row_step[i]);
			dst[(i - row_begin) * p->cols + j] = (float)aqz_trellis_value(p, t, k) * step;
			if (p->state_bits != 0)
				state = aqz_trellis_next(p->state_bits, state, (unsigned)k & 1);
		}
	}
}
