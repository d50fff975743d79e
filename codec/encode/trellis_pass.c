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

/* Rows that are turned to columns at a time: a line of the cache. */
#define TURNED 16
/* The least |index| whose escape takes three words, spec 7.3.3. */
#define LONG_ESCAPE 32768
/* Sums of a column have so many parts. */
#define PARTS 16

/* A thread's scratch, by chunk rows m. */
typedef struct chunk_scratch {
	float *x;		 /* [BLOCK][m]: what columns of the block are to become */
	float *w;		 /* [BLOCK][m]: x without the feedback */
	float *error;	 /* [cols][m]: w - q */
	float *cost;	 /* [m][4] */
	int32_t *k;		 /* [m][4] */
	int16_t *size;	 /* [m]: the row's part of the bucket */
	float *per_size; /* [m]: 1 over the row's size */
	float *weight;	 /* [m]: of a squared error, 1 over the square of shrink */
	uint16_t *place; /* [m]: which count an index belongs to */
	uint8_t *bucket, *choice;
	uint32_t *counts;
	uint64_t n_long;
} chunk_scratch;

#define COUNTS ((size_t)AQZ_TRELLIS_MAX_BUCKETS * 2 * AQZ_COUNTS)

static size_t padded(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

static size_t place(chunk_scratch *s, uint8_t *at, uint64_t cols, uint32_t m, unsigned state_bits)
{
	const size_t sizes[] = {(size_t)BLOCK * m * 4, (size_t)BLOCK * m * 4, (size_t)cols * m * 4,
		(size_t)m * 16, (size_t)m * 16, (size_t)m * 2, (size_t)m * 4, (size_t)m * 4, (size_t)m * 2,
		m, ((size_t)m << state_bits >> 3) + m + 64, COUNTS * 4};
	void *p[sizeof sizes / sizeof *sizes];
	size_t total = 0;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		p[i] = at + total;
		total += padded(sizes[i]);
	}
	if (s != NULL)
		*s = (chunk_scratch){
			p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], 0};
	return total;
}

size_t aqz_trellis_scratch_bytes(uint64_t cols, uint32_t chunk_rows, unsigned state_bits)
{
	uint8_t base[1];

	return place(NULL, base, cols, chunk_rows, state_bits);
}

/* w of columns [j0, j0 + n), and x: what the errors of columns before j0 make of it. */
static void fill_block(const aqz_trellis_work *w, const chunk_scratch *s, uint64_t row, size_t m,
	uint64_t j0, size_t n)
{
	const uint64_t cols = w->params.cols;

	for (size_t i0 = 0; i0 < m; i0 += TURNED) {
		const size_t n_rows = aqz_min(TURNED, m - i0);
		const float *from = w->w + (row + i0) * cols + j0;
		float shrink[TURNED];

		for (size_t i = 0; i < n_rows; i++)
			shrink[i] = w->shrink != NULL ? w->shrink[row + i0 + i] : 1;
		for (size_t b = 0; b < n; b++)
			for (size_t i = 0; i < n_rows; i++)
				s->w[b * m + i0 + i] = from[i * cols + b] * shrink[i];
	}
	memcpy(s->x, s->w, n * m * sizeof *s->x);
	if (w->factor != NULL && j0 > 0)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)m, (int)j0, 1,
			w->factor + j0 * cols, (int)cols, s->error, (int)m, 1, s->x, (int)m);
}

/* The sum of |x| over the rows' sizes. */
static double size_of(const float *x, const float *per_size, size_t m)
{
	double parts[PARTS] = {0}, sum = 0;

	for (size_t i = 0; i < m; i += PARTS) {
		const size_t n = aqz_min(PARTS, m - i);

		AQZ_SIMD
		for (size_t l = 0; l < n; l++)
			parts[l] += (double)(fabsf(x[i + l]) * per_size[i + l]);
	}
	for (size_t l = 0; l < PARTS; l++)
		sum += parts[l];
	return sum;
}

/* Column j, the one of this number in its block. */
static void column(const aqz_trellis_work *w, chunk_scratch *s, size_t number, uint64_t row,
	size_t m, uint64_t j, double *size, double *error)
{
	const aqz_trellis_params *p = &w->params;
	const int at = 2 * p->column_size[j] - p->column_step[j] + p->bias, last = p->n_buckets - 1;
	const float *x = s->x + number * m;
	uint32_t n_long = 0;
	const aqz_path_column c = {.n = m,
		.x = x,
		.w = s->w + number * m,
		.index = w->index + j * p->rows + row,
		.choice = s->choice,
		.bucket = s->bucket,
		.weight = s->weight,
		.step = aqz_trellis_column_step(p, j),
		.state_bits = p->state_bits};

	AQZ_SIMD
	for (size_t i = 0; i < m; i++) {
		int b = (at + s->size[i]) >> 2;

		b = b < 0 ? 0 : b;
		s->bucket[i] = (uint8_t)(b > last ? last : b);
	}
	*size = size_of(x, s->per_size, m);
	w->kernels->candidates(s->cost, s->k, x, 1 / c.step, w->rates, s->bucket, m, p->state_bits);
	w->kernels->path(w->index + j * p->rows + row, s->cost, s->k, s->choice, m, p->state_bits);
	*error += w->kernels->settle(s->error + j * m, s->place, &c) / (w->spread[j] * w->spread[j]);
	for (size_t i = 0; i < m; i++)
		s->counts[s->place[i]]++;
	for (size_t i = 0; i < m; i++)
		n_long += (uint32_t)(c.index[i] + LONG_ESCAPE - 1) > 2 * LONG_ESCAPE - 2;
	s->n_long += n_long;
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

static void chunk(const aqz_trellis_work *w, chunk_scratch *s, uint64_t number, unsigned thread)
{
	const aqz_trellis_params *p = &w->params;
	const uint64_t row = number * w->chunk_rows;
	const size_t m = (size_t)aqz_min(w->chunk_rows, p->rows - row);

	for (size_t i = 0; i < m; i++) {
		const int size = 2 * p->row_size[row + i] - p->row_step[row + i];

		s->size[i] = (int16_t)size;
		s->per_size[i] = aqz_eighth_octave(-size);
		s->weight[i] = w->shrink != NULL ? 1 / (w->shrink[row + i] * w->shrink[row + i]) : 1;
	}
	w->errors[number] = 0;
	for (uint64_t j0 = 0; j0 < p->cols; j0 += BLOCK) {
		const size_t n = (size_t)aqz_min(BLOCK, p->cols - j0);

		if (!tell(w->watch, n, thread))
			return;
		fill_block(w, s, row, m, j0, n);
		for (size_t b = 0; b < n; b++) {
			const uint64_t j = j0 + b;

			if (w->factor != NULL)
				w->kernels->feedback(
					s->x + b * m, w->factor + j * p->cols + j0, s->error + j0 * m, b, m);
			column(w, s, b, row, m, j, &w->sizes[number * p->cols + j], &w->errors[number]);
		}
	}
}

void aqz_trellis_pass(aqz_trellis_work *w)
{
	const uint64_t n_chunks = aqz_ceil_div(w->params.rows, w->chunk_rows);
	const unsigned n_threads = (unsigned)aqz_min(w->n_threads, n_chunks);

	memset(w->counts, 0, COUNTS * sizeof *w->counts);
	w->n_long = 0;
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
		{
			for (size_t i = 0; i < COUNTS; i++)
				w->counts[i] += s.counts[i];
			w->n_long += s.n_long;
		}
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
