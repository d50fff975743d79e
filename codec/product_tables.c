/* SPDX-License-Identifier: Apache-2.0 */
/* Products on codes by tables: tables of a panel of groups are made by all threads together, or by each for itself,
 * then each goes through its row blocks with them. */
#ifdef _OPENMP
#include <omp.h>
#endif

#include "codec/product_parts.h"

/* Row blocks that a thread takes through all strips of a panel: few enough for the lines of a strip to stay in the
 * second-level cache, where they are fetched ahead and used for all columns. */
#define RUN 32
/* The same where codes of fewer bits than 8 are made bytes first. */
#define WIDE_RUN 8
/* Runs of tables without an entry above this are taken for zero, which is less than 2^-24 of a product of the smallest
 * x and codebooks that come here. */
#define TINY 0x1p-110f

/* ---- Tables */

/* One codebook to [G][2^B]. */
static void turn(const aqz_product_job *p, unsigned m)
{
	const aqz_scheme *s = &p->tables->scheme;
	const size_t n = (size_t)1 << s->code_bits;

	(p->kernels->turn != NULL ? p->kernels->turn : aqz_product_turn_scalar)(
		p->turned + m * n * s->in_group, p->tables->values + m * n * s->in_group, s->in_group, n);
}

/* Tables in binary32 of groups [first, first + n) of a column. */
static void float_tables(
	const aqz_product_job *p, float *tables, unsigned t, uint64_t first, uint64_t n)
{
	const aqz_scheme *s = &p->tables->scheme;
	const bool last = first + n == p->groups && aqz_product_ragged(p);
	const unsigned whole = (unsigned)(last ? n - 1 : n);

	p->kernels->tables(
		tables, p->turned, p->x + p->column[t] * p->x_ld + first * s->in_group, whole, s);
	if (last)
		p->kernels->tables(
			tables + whole * aqz_codewords(s), p->turned, aqz_product_last(p, t), 1, s);
}

static void integer_tables(
	const aqz_product_job *p, uint8_t *strip, unsigned t, uint64_t first, uint64_t n)
{
	const aqz_scheme *s = &p->tables->scheme;
	const aqz_product_lut *lut = p->lut;
	_Alignas(64) float tables[AQZ_LUT_TABLES * AQZ_LUT_ENTRIES];
	float *scales = (float *)(void *)(strip + AQZ_LUT_STRIP_BYTES) - AQZ_LUT_UNITS;

	float_tables(p, tables, t, first, n);
	for (uint64_t j = 0; j < n; j += p->unit_groups) {
		const unsigned n_tables = (unsigned)aqz_min(p->unit_groups, n - j) * s->n_codebooks;
		const float *from = tables + j * aqz_codewords(s);
		const float most =
			aqz_f32_from_bits(p->kernels->largest(from, (size_t)n_tables << s->code_bits));

		scales[j / p->unit_groups] = most > TINY ? most / lut->most : 0;
		lut->entries(strip + j * s->n_codebooks * lut->table_bytes, from, n_tables,
			1u << s->code_bits, most > TINY ? lut->most / most : 0);
	}
}

/* ---- Look-ups */

/* What one strip gives to y of a run of row blocks. ahead: as of look_up. */
static void look_up_integers(const aqz_product_job *p, const uint8_t *strips, uint64_t first,
	uint64_t n, const aqz_product_block *b, unsigned n_blocks, ptrdiff_t ahead)
{
	const aqz_scheme *s = &p->tables->scheme;
	const unsigned n_tables = (unsigned)n * s->n_codebooks, unit = p->unit_groups * s->n_codebooks;
	_Alignas(64) uint8_t wide[WIDE_RUN * AQZ_LUT_TABLES * AQZ_TILE_ROWS];
	const uint8_t *lines = b->lines + first * p->line_bytes;
	size_t block_bytes = p->groups * p->line_bytes;

	if (s->code_bits < 8) {
		const size_t n_bytes = n * p->line_bytes;

		for (unsigned i = 0; i < n_blocks; i++)
			for (size_t k = 0; k < n_bytes; k += 64)
				__builtin_prefetch(lines + i * block_bytes + k + ahead, 0, 2);
		for (unsigned i = 0; i < n_blocks; i++)
			p->kernels->widen(wide + i * n_tables * AQZ_TILE_ROWS, lines + i * block_bytes,
				n_tables, s->code_bits);
		lines = wide;
		block_bytes = n_tables * AQZ_TILE_ROWS;
		ahead = 0;
	}
	for (unsigned t = 0; t < p->n_columns; t++) {
		const uint8_t *strip = strips + t * p->panel_strips * p->strip_bytes;
		const float *scales =
			(const float *)(const void *)(strip + AQZ_LUT_STRIP_BYTES) - AQZ_LUT_UNITS;
		float few[AQZ_TILE_ROWS] = {0}, *y = aqz_product_y(p, b, t);

		if (b->n_whole == 0)
			memcpy(few, y, b->n_rows * sizeof *y);
		p->lut->look_up(b->n_whole == 0 ? few : y, lines, block_bytes, n_blocks, strip, scales,
			n_tables, unit, t == 0 ? ahead : 0);
		if (b->n_whole == 0)
			memcpy(y, few, b->n_rows * sizeof *y);
	}
}

static void look_up_floats(const aqz_product_job *p, const uint8_t *strips, uint64_t first,
	uint64_t n, const aqz_product_block *b, unsigned n_blocks)
{
	for (unsigned i = 0; i < n_blocks; i++)
		for (unsigned t = 0; t < p->n_columns; t++) {
			const unsigned n_rows = b->n_whole == 0 ? b->n_rows : AQZ_TILE_ROWS;
			float acc[AQZ_TILE_ROWS] = {0}, *y = aqz_product_y(p, b, t) + i * AQZ_TILE_ROWS;

			memcpy(acc, y, n_rows * sizeof *y);
			p->kernels->look_up(acc, b->lines + (i * p->groups + first) * p->line_bytes,
				(const float *)(const void *)(strips + t * p->panel_strips * p->strip_bytes),
				(unsigned)n, &p->tables->scheme);
			memcpy(y, acc, n_rows * sizeof *y);
		}
}

/* What a panel of strips gives to y of the row blocks [begin, end): run by run, in which the lines follow each other
 * from strip to strip. */
static void look_up_panel(
	const aqz_product_job *p, uint64_t strip, uint64_t n_strips, uint64_t begin, uint64_t end)
{
	const unsigned most = p->lut != NULL && p->tables->scheme.code_bits < 8 ? WIDE_RUN : RUN;

	while (begin < end) {
		const aqz_product_block b = aqz_product_block_get(p, begin);
		const unsigned n =
			(unsigned)(b.n_whole == 0 ? 1 : aqz_min(most, aqz_min(b.n_whole, end - begin)));

		begin += n;
		for (uint64_t k = 0; k < n_strips; k++) {
			const uint64_t first = (strip + k) * p->strip_groups;
			const uint64_t n_groups = aqz_min(p->strip_groups, p->groups - first);
			const uint8_t *tables = p->panel + k * p->strip_bytes;
			ptrdiff_t ahead = (ptrdiff_t)(p->strip_groups * p->line_bytes);

			/* The lines of the first strip for the next run. */
			if (k + 1 == n_strips)
				ahead = begin == end ? 0
									 : (ptrdiff_t)(n * p->groups * p->line_bytes) -
						(ptrdiff_t)(k * p->strip_groups * p->line_bytes);
			if (p->lut != NULL)
				look_up_integers(p, tables, first, n_groups, &b, n, ahead);
			else
				look_up_floats(p, tables, first, n_groups, &b, n);
		}
	}
}

/* Task k of a panel: a strip of a column. */
static void make_tables(const aqz_product_job *p, uint64_t strip, uint64_t n_strips, uint64_t k)
{
	const unsigned t = (unsigned)(k / n_strips);
	const uint64_t first = (strip + k % n_strips) * p->strip_groups;
	const uint64_t n_groups = aqz_min(p->strip_groups, p->groups - first);
	uint8_t *to = p->panel + (t * p->panel_strips + k % n_strips) * p->strip_bytes;

	if (p->lut != NULL)
		integer_tables(p, to, t, first, n_groups);
	else
		float_tables(p, (float *)(void *)to, t, first, n_groups);
}

static void clear_rows(const aqz_product_job *p, uint64_t begin, uint64_t end)
{
	for (uint64_t i = begin; i < end; i++) {
		const aqz_product_block b = aqz_product_block_get(p, i);

		for (unsigned t = 0; t < p->n_columns; t++)
			memset(aqz_product_y(p, &b, t), 0, b.n_rows * sizeof(float));
	}
}

/* The share of a thread that needs nobody. */
static void alone(const aqz_product_job *p, uint64_t me, uint64_t begin, uint64_t end)
{
	aqz_product_job own = *p;

	own.turned += me * (p->turned_bytes / sizeof *own.turned);
	own.panel += me * p->n_columns * p->panel_strips * p->strip_bytes;
	for (unsigned m = 0; m < p->tables->scheme.n_codebooks; m++)
		turn(&own, m);
	for (uint64_t strip = 0; strip < p->n_strips; strip += p->panel_strips) {
		const uint64_t here = aqz_min(p->panel_strips, p->n_strips - strip);

		for (uint64_t k = 0; k < here * p->n_columns; k++)
			make_tables(&own, strip, here, k);
		look_up_panel(&own, strip, here, begin, end);
	}
}

/* The share of one of many: called by all of them. */
static void together(const aqz_product_job *p, uint64_t begin, uint64_t end)
{
#pragma omp for schedule(static)
	for (unsigned m = 0; m < p->tables->scheme.n_codebooks; m++)
		turn(p, m);
	for (uint64_t strip = 0; strip < p->n_strips; strip += p->panel_strips) {
		const uint64_t here = aqz_min(p->panel_strips, p->n_strips - strip);

#pragma omp for schedule(static)
		for (uint64_t k = 0; k < here * p->n_columns; k++)
			make_tables(p, strip, here, k);
		look_up_panel(p, strip, here, begin, end);
		/* The panel is made anew only when all have read it. */
		if (strip + here < p->n_strips) {
#pragma omp barrier
		}
	}
}

void aqz_product_with_tables(const aqz_product_job *p, unsigned n_threads)
{
	(void)n_threads;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
	{
		uint64_t team = 1, me = 0, begin, end;

#ifdef _OPENMP
		team = (unsigned)omp_get_num_threads();
		me = (unsigned)omp_get_thread_num();
#endif
		begin = p->n_blocks * me / team;
		end = p->n_blocks * (me + 1) / team;
		clear_rows(p, begin, end);
		if (p->alone)
			alone(p, me, begin, end);
		else
			together(p, begin, end);
		for (uint64_t i = begin; i < end; i++) {
			const aqz_product_block b = aqz_product_block_get(p, i);

			aqz_product_scale_rows(p, &b);
		}
	}
}
