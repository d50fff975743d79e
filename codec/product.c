/* SPDX-License-Identifier: Apache-2.0 */
/* y = W x on T64 codes: which way, in which order, over which threads. */
#ifdef _OPENMP
#include <omp.h>
#endif

#include "codec/product.h"

/* Tables are made for a panel of groups at a time, for all threads together, so that memory is bounded; a thread goes
 * through its rows with as many groups of them as stay in the first-level cache. */
#define PANEL_BYTES (512 * 1024)
#define STRIP_BYTES (16 * 1024)
#define MAX_TABLE_BITS 12
/* Codebooks that are turned take as much memory as they do themselves. */
#define MAX_TURNED_BYTES (4 * 1024 * 1024)
static size_t table_bytes(const aqz_scheme *s)
{
	return aqz_codewords(s) * sizeof(float);
}

/* Measured on Zen 4: with groups of 8 and one codebook the two ways take the same time near 200 rows
 * for 8 bits, 1200 for 10 and 8000 for 12; more codebooks make tables better. */
bool aqz_product_tables_pay(const aqz_scheme *s, uint64_t rows)
{
	return s->out_group == 1 && s->code_bits <= MAX_TABLE_BITS &&
		table_bytes(s) * s->in_group <= MAX_TURNED_BYTES &&
		rows >= (s->code_bits > 10 ? UINT64_C(2) : UINT64_C(1)) << s->code_bits;
}

static size_t groups_of(size_t bytes, const aqz_scheme *s)
{
	return bytes > table_bytes(s) ? bytes / table_bytes(s) : 1;
}

/* The scratch: [x, padded to whole groups][turned codebooks][tables of a panel]. */
typedef struct layout {
	uint64_t turned, tables, end; /* bytes */
} layout;

static layout layout_of(const aqz_scheme *s, uint64_t rows, uint64_t cols)
{
	const uint64_t groups = aqz_ceil_div(cols, s->in_group);
	layout l = {.turned = (groups * s->in_group * sizeof(float) + 63) / 64 * 64};

	l.tables = l.end = l.turned;
	if (aqz_product_tables_pay(s, rows)) {
		l.tables = (l.turned + table_bytes(s) * s->in_group + 63) / 64 * 64;
		l.end =
			(l.tables + table_bytes(s) * aqz_min(groups, groups_of(PANEL_BYTES, s)) + 63) / 64 * 64;
	}
	return l;
}

uint64_t aqz_product_scratch_bytes(const aqz_scheme *scheme, uint64_t rows, uint64_t cols)
{
	return layout_of(scheme, rows, cols).end;
}

/* [M][2^B][G] to [M][G][2^B], for one codebook. */
static void turn(float *restrict turned, const float *restrict values, unsigned in_group, size_t n)
{
	for (size_t k = 0; k < n; k += 16)
		for (unsigned g = 0; g < in_group; g++)
			for (size_t i = k; i < k + 16 && i < n; i++)
				turned[g * n + i] = values[i * in_group + g];
}

/* A 64-row block of one of the parts. */
typedef struct block {
	const aqz_product_part *part;
	uint64_t row;		  /* its first, in elements */
	unsigned n_rows;	  /* elements' */
	const uint8_t *lines; /* of all its groups */
} block;

static uint64_t blocks_of(const aqz_product_part *part, const aqz_scheme *s)
{
	return aqz_ceil_div(part->rows, (uint64_t)AQZ_TILE_ROWS * s->out_group);
}

static block block_get(const aqz_product_part *part, uint64_t i, const aqz_scheme *s, uint64_t groups)
{
	const uint64_t n = (uint64_t)AQZ_TILE_ROWS * s->out_group,
				   line_bytes = s->code_bits * (AQZ_TILE_ROWS / 8);
	block b;

	for (uint64_t here; i >= (here = blocks_of(part, s)); part++)
		i -= here;
	b.part = part;
	b.row = i * n;
	b.n_rows = (unsigned)aqz_min(n, part->rows - b.row);
	b.lines = part->lines + i * groups * s->n_codebooks * line_bytes;
	return b;
}

static void scale_rows(const block *b, unsigned out_group)
{
	float *y = b->part->y + b->row;

	if (b->part->scales != NULL)
		for (unsigned i = 0; i < b->n_rows; i++)
			y[i] *= b->part->scales[(b->row + i) / out_group];
}

/* One product under way. */
typedef struct product {
	const aqz_product_kernels *kernels;
	const aqz_product_part *parts;
	const aqz_tables *tables;
	uint64_t n_blocks, groups;
	size_t line_bytes; /* of all codebooks of a group */
	const float *x;	   /* padded with zeros to whole groups */
	float *turned, *panel;
} product;

/* Adds what n groups from the first one on give to y of blocks [begin, end). The strip of tables that is used stays in
 * the cache for all of them. */
static void look_up_panel(const product *p, uint64_t first, unsigned n, uint64_t begin, uint64_t end)
{
	const aqz_scheme *s = &p->tables->scheme;
	const unsigned strip = (unsigned)groups_of(STRIP_BYTES, s);

	for (unsigned j = 0; j < n; j += strip)
		for (uint64_t i = begin; i < end; i++) {
			const unsigned here = n - j < strip ? n - j : strip;
			const block b = block_get(p->parts, i, s, p->groups);
			float acc[AQZ_TILE_ROWS] = {0};
			float *y = b.part->y + b.row;

			if (first + j > 0)
				memcpy(acc, y, b.n_rows * sizeof *y);
			p->kernels->look_up(acc, b.lines + (first + j) * p->line_bytes,
				p->panel + j * aqz_codewords(s), here, s);
			memcpy(y, acc, b.n_rows * sizeof *y);
			if (first + j + here == p->groups)
				scale_rows(&b, 1);
		}
}

static void with_tables(const product *p, unsigned n_threads)
{
	const aqz_scheme *s = &p->tables->scheme;
	const size_t n = (size_t)1 << s->code_bits;
	const unsigned most = (unsigned)aqz_min(p->groups, groups_of(PANEL_BYTES, s));

	(void)n_threads;
#pragma omp parallel num_threads(n_threads)
	{
		uint64_t team = 1, me = 0;

#ifdef _OPENMP
		team = (unsigned)omp_get_num_threads();
		me = (unsigned)omp_get_thread_num();
#endif
#pragma omp for schedule(static)
		for (unsigned m = 0; m < s->n_codebooks; m++)
			turn(p->turned + m * n * s->in_group, p->tables->values + m * n * s->in_group,
				s->in_group, n);
		for (uint64_t first = 0; first < p->groups; first += most) {
			const unsigned here = (unsigned)aqz_min(most, p->groups - first);

#pragma omp for schedule(static)
			for (unsigned j = 0; j < here; j++)
				p->kernels->tables(p->panel + j * aqz_codewords(s), p->turned,
					p->x + (first + j) * s->in_group, 1, s);
			look_up_panel(p, first, here, p->n_blocks * me / team, p->n_blocks * (me + 1) / team);
			/* The panel is made anew only when all have read it. */
#pragma omp barrier
		}
	}
}

static void directly(const product *p, unsigned n_threads)
{
	const aqz_scheme *s = &p->tables->scheme;
	const unsigned d = aqz_codeword(s), in_group = s->in_group, out_group = s->out_group;

	(void)n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static)
	for (uint64_t i = 0; i < p->n_blocks; i++) {
		const block b = block_get(p->parts, i, s, p->groups);
		float acc[AQZ_TILE_ROWS * AQZ_MAX_CODEWORD], *y = b.part->y + b.row;

		memset(acc, 0, AQZ_TILE_ROWS * d * sizeof *acc);
		for (uint64_t j = 0; j < p->groups; j += AQZ_TILE_GROUPS)
			p->kernels->direct(acc, b.lines + j * p->line_bytes, p->x + j * in_group,
				(unsigned)aqz_min(p->groups - j, AQZ_TILE_GROUPS), p->tables);
		for (unsigned r = 0; r < b.n_rows; r++) {
			const float *lanes = acc + (r / out_group) * d + (r % out_group) * in_group;
			float sum = lanes[0];

			for (unsigned g = 1; g < in_group; g++)
				sum += lanes[g];
			y[r] = sum;
		}
		scale_rows(&b, out_group);
	}
}

void aqz_product(const aqz_product_part *parts, unsigned n_parts, const aqz_tables *tables,
	uint64_t cols, const float *x, void *scratch, unsigned n_threads,
	const aqz_product_kernels *kernels)
{
	const aqz_scheme *s = &tables->scheme;
	float *padded = scratch;
	uint64_t rows = 0;
	layout l;
	product p = {
		.kernels = kernels,
		.parts = parts,
		.tables = tables,
		.groups = aqz_ceil_div(cols, s->in_group),
		.line_bytes = (size_t)s->n_codebooks * s->code_bits * (AQZ_TILE_ROWS / 8),
		.x = padded,
	};

	for (unsigned i = 0; i < n_parts; i++) {
		rows += parts[i].rows;
		p.n_blocks += blocks_of(&parts[i], s);
	}
	for (unsigned i = 0;
		 p.kernels == NULL || (kernels == NULL && aqz_product_kernels_get(i) != NULL); i++)
		p.kernels = aqz_product_kernels_get(i);
	l = layout_of(s, rows, cols);
	p.turned = (float *)((uint8_t *)scratch + l.turned);
	p.panel = (float *)((uint8_t *)scratch + l.tables);
	memcpy(padded, x, cols * sizeof *x);
	memset(padded + cols, 0, (p.groups * s->in_group - cols) * sizeof *x);
	if (aqz_product_tables_pay(s, rows))
		with_tables(&p, n_threads);
	else
		directly(&p, n_threads);
}
