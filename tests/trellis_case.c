/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/trellis_case.h"

#include <math.h>

#include "base/float.h"

static double uniform(noise *r)
{
	return (double)(noise_next(r) >> 11) * 0x1p-53;
}

static int between(noise *r, int low, int high)
{
	return low + (int)(noise_next(r) % (uint64_t)(high - low + 1));
}

/* ---- Parameters */

static void make_table(aqz_trellis_table *t, case_kind kind, unsigned number, noise *r)
{
	const bool flat = kind == CASE_RANDOM && between(r, 0, 3) == 0;
	const double decay = kind == CASE_LAYER ? 0.2 + 0.25 * number : exp2(between(r, -6, 6));
	double sum = 0, w[AQZ_TRELLIS_MAX_MAGNITUDE + 1];

	t->n_magnitudes = (uint8_t)(kind == CASE_LAYER ? 3 + 4 * (int)number : between(r, 1, 127));
	if (t->n_magnitudes > 127)
		t->n_magnitudes = 127;
	if (kind == CASE_ZERO)
		t->n_magnitudes = 1;
	for (unsigned m = 0; m < t->n_magnitudes; m++)
		sum += 2 * (w[m] = flat ? uniform(r) : exp(-(double)m / decay));
	for (unsigned m = 0; m < t->n_magnitudes; m++)
		t->frequency[m] = (uint16_t)fmax(1, floor(4000 * w[m] / sum));
	t->escape = kind == CASE_ZERO ? 0 : (uint16_t)(kind == CASE_LAYER ? 2 : between(r, 1, 400));
}

static void make_params(aqz_trellis_params *p, case_kind kind, noise *r)
{
	const bool wide = kind == CASE_WIDE, layer = kind == CASE_LAYER;

	p->column_step = sure_alloc(p->cols);
	p->column_size = sure_alloc(p->cols);
	p->row_step = sure_alloc(p->rows);
	p->row_size = sure_alloc(p->rows);
	p->has_row_steps = between(r, 0, 1) == 1;
	p->base = wide ? (between(r, 0, 1) ? 0x1p60f : 0x1p-90f) : ldexpf(1.0f + (float)uniform(r), -8);
	p->bias = (int16_t)(wide ? between(r, -32768, 32767) : layer ? 18 : between(r, -300, 300));
	p->n_tables = (uint8_t)(kind == CASE_ZERO ? 1 : layer ? 8 : between(r, 1, 32));
	if (p->n_tables > aqz_trellis_max_tables(p->rows, p->cols))
		p->n_tables = (uint8_t)aqz_trellis_max_tables(p->rows, p->cols);
	p->n_buckets = (uint8_t)(layer ? 10 : between(r, p->n_tables, 64));
	for (unsigned i = 1, left = p->n_tables - 1u; i < p->n_buckets; i++) {
		const bool next = left > 0 && (left == p->n_buckets - i || between(r, 0, 1) == 1);

		p->bucket_table[i] = (uint8_t)(p->bucket_table[i - 1] + next);
		left -= next;
	}
	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned t = 0; t < 2; t++)
			make_table(&p->tables[i][t], kind, i, r);
	const int spread = wide ? 127 : kind == CASE_CONSTANT || kind == CASE_ZERO ? 0 : 6;
	for (uint64_t j = 0; j < p->cols; j++) {
		p->column_step[j] = (int8_t)(between(r, -spread, spread) - (wide && between(r, 0, 9) == 0));
		p->column_size[j] = (int8_t)(p->column_step[j] / 2 + between(r, -spread, spread) / 3);
	}
	for (uint64_t i = 0; i < p->rows; i++) {
		p->row_step[i] = (int8_t)(p->has_row_steps ? between(r, -spread, spread) : 0);
		p->row_size[i] = (int8_t)(p->row_step[i] / 2 + between(r, -spread, spread) / 2);
	}
}

/* ---- Indices */

static int32_t make_index(const trellis_case *c, case_kind kind, uint64_t row, uint64_t col, noise *r)
{
	const int bucket = aqz_trellis_bucket(&c->p, row, col);

	if (kind == CASE_ZERO)
		return 0;
	if (kind == CASE_CONSTANT)
		return 3;
	if (kind == CASE_WIDE && between(r, 0, 3) == 0)
		return between(r, 0, 1) ? between(r, -AQZ_TRELLIS_MAX_INDEX, AQZ_TRELLIS_MAX_INDEX)
								: AQZ_TRELLIS_MAX_INDEX * (between(r, 0, 1) * 2 - 1);
	if (kind == CASE_RANDOM && between(r, 0, 50) == 0)
		return between(r, -70, 70) * (between(r, 0, 3) == 0 ? 512 : 1); /* about the escapes' bounds */
	return (int32_t)lround(-log(1 - uniform(r)) * (0.3 + 0.3 * bucket) * (between(r, 0, 1) * 2 - 1));
}

void trellis_case_fill(trellis_case *c, case_kind kind, unsigned state_bits,
	uint64_t rows, uint64_t cols, uint64_t chunk_rows, noise *r)
{
	memset(c, 0, sizeof *c);
	c->p.rows = rows;
	c->p.cols = cols;
	c->p.state_bits = (uint8_t)state_bits;
	make_params(&c->p, kind, r);
	c->index = sure_alloc(rows * cols * sizeof *c->index);
	for (uint64_t j = 0; j < cols; j++)
		for (uint64_t i = 0; i < rows; i++)
			c->index[j * rows + i] = make_index(c, kind, i, j, r);
	c->chunk_rows = chunk_rows;
}

void trellis_case_make(trellis_case *c, case_kind kind, unsigned state_bits,
	uint64_t rows, uint64_t cols, uint64_t chunk_rows, noise *r)
{
	aqz_error err;

	trellis_case_fill(c, kind, state_bits, rows, cols, chunk_rows, r);
	SURE(aqz_trellis_params_write(&c->params, &c->p, &err) == AQZ_OK);
	c->n_chunks = (uint32_t)aqz_ceil_div(rows, chunk_rows);
	c->chunks = sure_alloc(c->n_chunks * sizeof *c->chunks);
	for (uint32_t i = 0; i < c->n_chunks; i++) {
		const uint64_t begin = i * chunk_rows, end = aqz_min(rows, begin + chunk_rows);

		SURE(aqz_trellis_encode_rows(
				 &c->chunks[i], &c->p, c->index + begin, rows, begin, end, &err) == AQZ_OK);
	}
}

void trellis_case_free(trellis_case *c)
{
	aqz_trellis_params_free(&c->p);
	free(c->index);
	aqz_buffer_free(&c->params);
	for (uint32_t i = 0; i < c->n_chunks; i++)
		aqz_buffer_free(&c->chunks[i]);
	free(c->chunks);
	memset(c, 0, sizeof *c);
}

uint64_t trellis_case_row_bytes(const trellis_case *c, aqz_dtype dtype)
{
	return c->p.cols * (dtype == AQZ_F32 ? 4 : 2);
}

/* ---- The spec's words, 7.3.1 and 7.3.4 */

static float eighth(int e)
{
	/* Eight constants, and a shift of the exponent. */
	static const float constant[8] = {0x1p+0f, 0x1.172b84p+0f, 0x1.306fe0p+0f, 0x1.4bfdaep+0f,
		0x1.6a09e6p+0f, 0x1.8ace54p+0f, 0x1.ae89fap+0f, 0x1.d5818ep+0f};

	return ldexpf(constant[e & 7], (e - (e & 7)) / 8);
}

void trellis_case_decode(
	void *dst, const trellis_case *c, aqz_dtype dtype, uint64_t begin, uint64_t end)
{
	static const unsigned h0[] = {0, 0, 05, 013, 023, 045, 0103, 0235, 0515},
						  h1[] = {0, 0, 02, 04, 04, 010, 024, 0126, 0362};
	const aqz_trellis_params *p = &c->p;

	for (uint64_t j = 0; j < p->cols; j++) {
		unsigned state = 0;
		const float column = ldexpf(p->base * eighth(p->column_step[j] & 7),
			(p->column_step[j] - (p->column_step[j] & 7)) / 8);

		for (uint64_t i = 0; i < end; i++) {
			const int32_t k = c->index[j * p->rows + i];
			const unsigned old = i % c->chunk_rows == 0 ? 0 : state;
			int32_t v = 2 * k;

			if (p->state_bits == 0)
				v = k;
			else if (old & 1)
				v = 2 * k + 1;
			state = old >> 1;
			if (old & 1)
				state ^= h0[p->state_bits] >> 1;
			if (k % 2 != 0)
				state ^= h1[p->state_bits] >> 1;
			state &= (1u << p->state_bits) - 1;
			if (i < begin)
				continue;
			const float element = (float)v * (column * eighth(p->row_step[i]));
			const size_t at = (size_t)((i - begin) * p->cols + j);
			if (dtype == AQZ_F32)
				memcpy((uint8_t *)dst + 4 * at, &element, 4);
			else
				aqz_put16((uint8_t *)dst + 2 * at,
					dtype == AQZ_F16 ? aqz_f32_to_f16(element) : aqz_f32_to_bf16(element));
		}
	}
}
