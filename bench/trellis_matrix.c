/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/trellis_matrix.h"

#include <math.h>

#include "codec/encode/encode.h"

enum { BUCKETS = 16 };

static uint64_t n_random;

static double uniform(void)
{
	return ((double)(aqz_random(1, 1, n_random++) >> 11) + 0.5) * 0x1p-53;
}

static double gauss(void)
{
	const double u = uniform();

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * uniform());
}

/* The width of the middle bucket's indices, in steps, and that of the others half an octave apart. */
static double width_of(unsigned bucket, double middle)
{
	return middle * exp2(((double)bucket - BUCKETS / 2) / 2);
}

static void make_table(aqz_trellis_table *t, double width, bool mirrored)
{
	double sum = 0, p[AQZ_TRELLIS_MAX_MAGNITUDE + 1];
	const double most = ceil(4.5 * width) + 1;
	const unsigned n =
		most > AQZ_TRELLIS_MAX_MAGNITUDE + 1 ? AQZ_TRELLIS_MAX_MAGNITUDE + 1 : (unsigned)most;

	for (unsigned m = 0; m < n; m++) {
		const double at = (mirrored ? m + 0.5 : m) / width;

		p[m] = exp(-at * at / 2);
		sum += (m > 0 || mirrored ? 2 : 1) * p[m];
	}
	t->n_magnitudes = (uint8_t)n;
	for (unsigned m = 0; m < n; m++)
		t->frequency[m] = (uint16_t)fmax(1, 4090 * p[m] / sum);
	t->escape = 2;
}

bool bench_trellis_make(aqz_trellis_params *p, int32_t *index, double middle)
{
	p->base = 0.01f;
	p->bias = 4 * BUCKETS / 2 + 2;
	p->n_buckets = p->n_tables = BUCKETS;
	p->state_bits = 3;
	p->column_step = calloc(p->cols, 1);
	p->column_size = calloc(p->cols, 1);
	p->row_step = calloc(p->rows, 1);
	p->row_size = calloc(p->rows, 1);
	if (!p->column_step || !p->column_size || !p->row_step || !p->row_size)
		return false;
	for (unsigned b = 0; b < BUCKETS; b++) {
		p->bucket_table[b] = (uint8_t)b;
		for (unsigned t = 0; t < 2; t++)
			make_table(&p->tables[b][t], width_of(b, middle), t == 1);
	}
	/* Standard deviations of an eighth and a quarter of an octave: most elements lie in 4 buckets. */
	for (uint64_t j = 0; j < p->cols; j++) {
		p->column_step[j] = (int8_t)lround(gauss() * 2);
		p->column_size[j] = (int8_t)lround(p->column_step[j] / 2.0 + gauss() / 2);
	}
	for (uint64_t i = 0; i < p->rows; i++)
		p->row_size[i] = (int8_t)lround(gauss());
	for (uint64_t j = 0; j < p->cols; j++)
		for (uint64_t i = 0; i < p->rows; i++) {
			const int b = aqz_trellis_bucket(p, i, j);

			index[j * p->rows + i] = (int32_t)lround(gauss() * width_of((unsigned)b, middle));
		}
	return true;
}
