/* SPDX-License-Identifier: Apache-2.0 */
/* y = W x on T64 codes: which way, in which order, over which threads. */
#include "codec/product_parts.h"

/* Tables are made for a panel of groups at a time, for all columns, so that memory is bounded; a thread goes through
 * its rows with as many of them as stay in the first-level cache: a strip. Few threads make panels of their own: on
 * Zen 4, making a table takes a fourth of the time in which another core gets it. */
#define PANEL_BYTES ((size_t)512 * 1024)
#define FLOAT_STRIP_BYTES ((size_t)16 * 1024)
#define MAX_TABLE_BITS 12
/* Codebooks that are turned take as much memory as they do themselves. */
#define MAX_TURNED_BYTES ((size_t)4 * 1024 * 1024)
/* Threads with panels of their own; the codebooks that each turns for itself. */
#define SLICES 4
#define SLICE_TURNED_BYTES ((size_t)64 * 1024)
/* Cycles of look-ups, about, for which one more thread is worth waking. */
#define THREAD_CYCLES 15000

/* Integers take x and codebooks with a largest magnitude within these. */
#define LEAST 0x1p-40f
#define GREATEST 0x1p40f

/* ---- Which way */

static size_t table_bytes(const aqz_scheme *s)
{
	return aqz_codewords(s) * sizeof(float);
}

static bool lut_possible(const aqz_scheme *s)
{
	return s->out_group == 1 && s->code_bits <= 8;
}

static bool tables_possible(const aqz_scheme *s)
{
	return s->out_group == 1 && s->code_bits <= MAX_TABLE_BITS &&
		table_bytes(s) * s->in_group <= MAX_TURNED_BYTES;
}

/* Measured on Zen 4: plain kernels with groups of 8 and one codebook take the same time with tables and directly near
 * 200 rows for 8 bits, 1200 for 10 and 8000 for 12; more codebooks make tables better. Kernels that are quick directly
 * have no use for tables of more than 8 bits but with long groups and a single codebook. */
static bool tables_pay(const aqz_scheme *s, uint64_t rows, const aqz_product_kernels *kernels)
{
	if (kernels->quick_direct && s->code_bits > 8 && (s->in_group <= 8 || s->n_codebooks > 1))
		return false;
	return rows >= (s->code_bits > 10 ? UINT64_C(2) : UINT64_C(1)) << s->code_bits;
}

static const aqz_product_kernels *best(void)
{
	const aqz_product_kernels *k = NULL;

	for (unsigned i = 0; aqz_product_kernels_get(i) != NULL; i++)
		k = aqz_product_kernels_get(i);
	return k;
}

static aqz_product_way way_of(
	const aqz_scheme *s, uint64_t rows, const aqz_product_kernels *kernels, aqz_product_way asked)
{
	if ((asked == AQZ_PRODUCT_LUT16 || asked == AQZ_PRODUCT_LUT8) && lut_possible(s))
		return asked;
	if ((asked == AQZ_PRODUCT_TABLES && tables_possible(s)) || asked == AQZ_PRODUCT_DIRECT)
		return asked;
	if (lut_possible(s) && rows >= kernels->lut16_rows >> (8 - s->code_bits))
		return AQZ_PRODUCT_LUT16;
	return tables_possible(s) && tables_pay(s, rows, kernels) ? AQZ_PRODUCT_TABLES
															  : AQZ_PRODUCT_DIRECT;
}

aqz_product_way aqz_product_way_of(
	const aqz_scheme *scheme, uint64_t rows, const aqz_product_options *options)
{
	const aqz_product_kernels *kernels = options != NULL ? options->kernels : NULL;

	return way_of(scheme, rows, kernels != NULL ? kernels : best(),
		options != NULL ? options->way : AQZ_PRODUCT_AUTO);
}

/* ---- Scratch: [the last group of each column, padded][turned codebooks, or codebooks in binary16][tables of a panel].
 * A panel has the same strips for each column. */

typedef struct layout {
	size_t turned, panel, end; /* bytes */
} layout;

static size_t up(size_t n)
{
	return (n + 63) / 64 * 64;
}

static uint64_t lut_strips(const aqz_scheme *s, uint64_t groups)
{
	const uint64_t n = aqz_ceil_div(groups, AQZ_LUT_TABLES / s->n_codebooks);

	/* A multiple of 4 shares the work well among threads. */
	return n < 16 ? (n + 3) / 4 * 4 : n;
}

/* Groups of float tables that make a strip. */
static uint64_t float_groups(const aqz_scheme *s)
{
	return table_bytes(s) < FLOAT_STRIP_BYTES ? FLOAT_STRIP_BYTES / table_bytes(s) : 1;
}

static size_t greater(size_t a, size_t b)
{
	return a > b ? a : b;
}

static size_t turned_bytes(const aqz_scheme *s)
{
	return up(table_bytes(s) * s->in_group);
}

/* Memory for panels: of all threads together, or of each in a slice. */
static size_t panel_bytes(uint64_t strips, size_t strip_bytes, unsigned n_columns)
{
	const size_t one = n_columns * strip_bytes, least = one <= PANEL_BYTES / 2 ? SLICES : 1;

	return one * (size_t)aqz_min(greater(PANEL_BYTES / one, least), SLICES * strips);
}

static size_t lut_panel(const aqz_scheme *s, uint64_t groups, unsigned n_columns)
{
	return panel_bytes(lut_strips(s, groups), AQZ_LUT_STRIP_BYTES, n_columns);
}

static size_t float_panel(const aqz_scheme *s, uint64_t groups, unsigned n_columns)
{
	return panel_bytes(
		aqz_ceil_div(groups, float_groups(s)), up(float_groups(s) * table_bytes(s)), n_columns);
}

static layout layout_of(const aqz_scheme *s, uint64_t cols, unsigned n_columns)
{
	const uint64_t groups = aqz_ceil_div(cols, s->in_group);
	layout l = {.turned = up(AQZ_PRODUCT_COLUMNS * (size_t)s->in_group * sizeof(float))};
	size_t turned = up(aqz_product_half_bytes(s)), panel = 0;

	if (lut_possible(s) || tables_possible(s))
		turned =
			greater(turned, (turned_bytes(s) <= SLICE_TURNED_BYTES ? SLICES : 1) * turned_bytes(s));
	if (lut_possible(s))
		panel = lut_panel(s, groups, n_columns);
	if (tables_possible(s))
		panel = greater(panel, float_panel(s, groups, n_columns));
	l.panel = l.turned + turned;
	l.end = l.panel + panel;
	return l;
}

uint64_t aqz_product_scratch_bytes(const aqz_scheme *scheme, uint64_t cols, unsigned n_columns)
{
	size_t most = 0;

	/* Fewer columns may fill a panel better. */
	for (unsigned n = 1; n <= n_columns; n++)
		most = greater(most, layout_of(scheme, cols, n).end);
	return most;
}

/* ---- Together */

static unsigned enough_threads(
	const aqz_product_job *p, aqz_product_way way, unsigned n_columns, unsigned n_threads)
{
	const aqz_scheme *s = &p->tables->scheme;
	const uint64_t lines = p->n_blocks * p->groups * s->n_codebooks * n_columns;
	uint64_t cycles = lines * (16 + 8 * aqz_codeword(s)), enough;

	if (way == AQZ_PRODUCT_TABLES)
		cycles = lines * 64;
	else if (way != AQZ_PRODUCT_DIRECT)
		cycles = lines * 8;
	enough = cycles / THREAD_CYCLES + 1;
	return (unsigned)aqz_min(aqz_min(enough, p->n_blocks), n_threads > 0 ? n_threads : 1);
}

static void plan_strips(aqz_product_job *p, unsigned n_threads)
{
	const aqz_scheme *s = &p->tables->scheme;
	size_t bytes, one;

	if (p->lut == NULL) {
		p->strip_groups = float_groups(s);
		p->strip_bytes = up(p->strip_groups * table_bytes(s));
		bytes = float_panel(s, p->groups, p->n_columns);
	} else {
		const unsigned most = AQZ_LUT_TABLES / s->n_codebooks;

		p->strip_groups = aqz_ceil_div(p->groups, lut_strips(s, p->groups));
		p->unit_groups = p->lut->unit / s->n_codebooks;
		if (p->unit_groups >= most) {
			p->unit_groups = (unsigned)p->strip_groups;
		} else {
			/* Whole units, as many as fit. */
			p->strip_groups =
				aqz_min(aqz_ceil_div(p->strip_groups, p->unit_groups), most / p->unit_groups) *
				p->unit_groups;
		}
		p->strip_bytes = AQZ_LUT_STRIP_BYTES;
		bytes = lut_panel(s, p->groups, p->n_columns);
	}
	p->n_strips = aqz_ceil_div(p->groups, p->strip_groups);
	one = p->n_columns * p->strip_bytes;
	p->alone =
		n_threads <= SLICES && n_threads * one <= bytes && turned_bytes(s) <= SLICE_TURNED_BYTES;
	p->panel_strips = aqz_min(bytes / one / (p->alone ? n_threads : 1), p->n_strips);
	p->turned_bytes = turned_bytes(s);
}

/* True if integers do for values with this largest magnitude. */
static bool moderate(uint32_t largest)
{
	return largest == 0 || (largest >= aqz_f32_bits(LEAST) && largest <= aqz_f32_bits(GREATEST));
}

void aqz_product(const aqz_product_part *parts, unsigned n_parts, const aqz_tables *tables,
	uint64_t cols, const float *x, size_t x_ld, unsigned n_columns, void *scratch,
	unsigned n_threads, const aqz_product_options *options)
{
	const aqz_scheme *s = &tables->scheme;
	const layout l = layout_of(s, cols, n_columns);
	aqz_product_way way = options != NULL ? options->way : AQZ_PRODUCT_AUTO;
	const size_t n_values = aqz_codewords(s) * aqz_codeword(s);
	uint64_t rows = 0;
	aqz_product_job p = {
		.kernels = options != NULL && options->kernels != NULL ? options->kernels : best(),
		.parts = parts,
		.tables = tables,
		.cols = cols,
		.groups = aqz_ceil_div(cols, s->in_group),
		.line_bytes = (size_t)s->n_codebooks * s->code_bits * (AQZ_TILE_ROWS / 8),
		.x = x,
		.x_ld = x_ld,
		.last = scratch,
		.turned = (float *)(void *)((uint8_t *)scratch + l.turned),
		.panel = (uint8_t *)scratch + l.panel,
	};
	aqz_product_job direct;

	for (unsigned i = 0; i < n_parts; i++) {
		rows += parts[i].rows;
		p.n_blocks += aqz_product_blocks(&parts[i], s);
	}
	for (unsigned t = 0; t < n_columns && aqz_product_ragged(&p); t++) {
		const uint64_t whole = (p.groups - 1) * s->in_group;

		memset(p.last + t * s->in_group, 0, s->in_group * sizeof *x);
		memcpy(p.last + t * s->in_group, x + t * x_ld + whole, (cols - whole) * sizeof *x);
	}
	way = way_of(s, rows, p.kernels, way);
	n_threads = enough_threads(&p, way, n_columns, n_threads);
	direct = p;
	if (way == AQZ_PRODUCT_LUT16 || way == AQZ_PRODUCT_LUT8) {
		const bool books = moderate(p.kernels->largest(tables->values, n_values));

		p.lut = way == AQZ_PRODUCT_LUT16 ? &p.kernels->lut16 : &p.kernels->lut8;
		for (unsigned t = 0; t < n_columns; t++) {
			aqz_product_job *q =
				books && moderate(p.kernels->largest(x + t * x_ld, cols)) ? &p : &direct;

			q->column[q->n_columns++] = t;
		}
	} else {
		aqz_product_job *q = way == AQZ_PRODUCT_TABLES ? &p : &direct;

		for (q->n_columns = 0; q->n_columns < n_columns; q->n_columns++)
			q->column[q->n_columns] = q->n_columns;
	}
	if (p.n_columns > 0) {
		plan_strips(&p, n_threads);
		aqz_product_with_tables(&p, n_threads);
	}
	if (direct.n_columns > 0)
		aqz_product_directly(&direct, n_threads);
}
