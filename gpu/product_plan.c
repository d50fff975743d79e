/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the kernel of a product and how its blocks share the work: gpu/product.h. Costs are estimates in clocks of a
 * multiprocessor, from what the heads of the kernels say. They only have to rank plans of one way. */
#include "gpu/product.h"

#include <string.h>

#define TABLE_BYTES 65536
/* Memory gives a multiprocessor about so many bytes a clock (H200; others have less, and the same ranking). */
#define MEMORY_RATE 18.0
#define LAUNCH_CLOCKS 3000.0
/* A warp that leaves partial sums waits for memory about this long, spread over the 16 that take turns. */
#define COMBINE_CLOCKS 60.0

static uint32_t ceil_div(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }
static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Divides about so many blocks among the parts by their units, at least one for each. Returns the most units of one
 * block. */
static uint32_t share_blocks(aqz_gpu_job *job, uint32_t n_blocks, uint32_t *grid_x)
{
	uint32_t first = 0, worst = 0;

	for (uint32_t i = 0; i < job->n_parts; i++) {
		aqz_gpu_rows *part = &job->parts[i];
		const uint64_t wanted = (uint64_t)n_blocks * part->units / job->units;

		part->blocks = wanted < 1 ? 1 : least((uint32_t)wanted, part->units);
		part->first_block = first;
		first += part->blocks;
		worst = most(worst, ceil_div(part->units, part->blocks));
	}
	*grid_x = first;
	return worst;
}

static void set_units(aqz_gpu_job *job, uint32_t rows_per_unit)
{
	job->units = 0;
	for (uint32_t i = 0; i < job->n_parts; i++) {
		job->parts[i].units = ceil_div(job->parts[i].code_rows, rows_per_unit);
		job->parts[i].first_unit = job->units;
		job->units += job->parts[i].units;
	}
}

/* values: that a lane holds of a unit. */
static void set_splits(aqz_gpu_product_plan *plan, uint32_t splits, uint32_t values)
{
	plan->job.splits = plan->grid_y = splits;
	plan->workspace_bytes = splits == 1 ? 0 : AQZ_GPU_COUNTERS * sizeof(uint32_t) +
		(uint64_t)plan->job.units * plan->grid_z * splits * values * 32 * sizeof(float);
}

static bool may_split(const aqz_gpu_job *job, uint32_t grid_z)
{
	return (uint64_t)job->units * grid_z <= AQZ_GPU_COUNTERS;
}

/* ---- LUT-G */

static void plan_lutg(aqz_gpu_product_plan *best, const aqz_gpu_limits *limits)
{
	aqz_gpu_product_plan p = *best;
	const aqz_gpu_job *job = &p.job;
	const uint32_t planes = job->group_blocks * job->n_codebooks;
	const bool quick = job->word_dtype != AQZ_F32 && job->x_dtype != AQZ_F32;

	best->clocks = 0;
	set_units(&p.job, 32);
	p.way = AQZ_GPU_LUTG;
	p.threads = 512;
	p.columns = job->n_columns == 1 ? 1 : 2;
	p.pieces = quick && (job->pieces == 1 || job->pieces == 4) ? job->pieces : 0;
	p.grid_z = ceil_div(job->n_columns, p.columns);
	for (p.tables = 1; p.tables <= 3; p.tables++) {
		const uint32_t held = p.tables * 2 / p.columns, splits = ceil_div(planes, held);
		/* Consecutive planes touch so many slices, wherever they begin that splits do. */
		const uint32_t slices = held % job->n_codebooks == 0 ? held / job->n_codebooks
			: job->n_codebooks % held == 0 ? 1 : (held + job->n_codebooks - 2) / job->n_codebooks + 1;

		p.shared_bytes = p.tables * TABLE_BYTES +
			p.columns * slices * job->pieces * 1024;
		/* More units than counters could only be done by blocks that hold the tables of all planes. */
		if (p.shared_bytes > limits->shared_block_bytes || splits > 65535 || (splits > 1 && !may_split(job, p.grid_z)))
			continue;
		for (uint32_t waves = 1; waves <= 6; waves++) {
			const uint32_t slots = waves * limits->n_multiprocessors;
			const uint32_t units = share_blocks(&p.job, most(1, slots / (splits * p.grid_z)), &p.grid_x);
			const uint32_t n_waves = ceil_div(p.grid_x * splits * p.grid_z, limits->n_multiprocessors);
			/* Memory and shared memory are busy side by side. Partial sums are written and read. */
			const double memory = (held * 1024 + (splits > 1 ? 256.0 * p.columns : 0)) / MEMORY_RATE;
			const double shared = held * 32 * (p.columns + 0.25) + p.columns * (splits > 1 ? 40.0 : 32.0);
			const double unit = 10 + (memory > shared ? memory : shared);
			const double block = 1500 + held * p.columns * (256.0 + 100 * job->pieces) + units * unit +
				(splits > 1 ? COMBINE_CLOCKS * 16 : 0);

			p.clocks = LAUNCH_CLOCKS + n_waves * block;
			if (best->clocks == 0 || p.clocks < best->clocks) {
				p.job.per_split = held;
				set_splits(&p, splits, p.columns);
				*best = p;
			}
		}
	}
}

/* ---- LUT-R */

static void plan_lutr(aqz_gpu_product_plan *best, const aqz_gpu_limits *limits)
{
	aqz_gpu_product_plan p = *best;
	const aqz_gpu_job *job = &p.job;
	const uint32_t table = (4u << job->code_bits) + 32, all = job->group_blocks;

	best->clocks = 0;
	set_units(&p.job, 64);
	p.way = AQZ_GPU_LUTR;
	p.threads = 512;
	p.grid_z = job->n_columns;
	for (p.quads = 1; p.quads <= 3; p.quads++) {
		p.shared_bytes = 4 * p.quads * table;
		if (p.shared_bytes > limits->shared_block_bytes)
			break;
		for (uint32_t rows = 128; rows >= 16; rows /= 2) {
			const uint32_t units = share_blocks(&p.job, ceil_div(job->units, rows) + job->n_parts - 1, &p.grid_x);
			const uint32_t slots = most(1, limits->n_multiprocessors / (p.grid_x * p.grid_z));
			const uint32_t sets = may_split(job, p.grid_z) ? ceil_div(ceil_div(all, p.quads), slots)
				: ceil_div(all, p.quads);
			const uint32_t splits = ceil_div(all, sets * p.quads); /* at most one for each multiprocessor, or 1 */
			const double build = 1000 + 4 * p.quads * table / 128.0 * 1.5 * job->pieces;
			const double unit = 4 * p.quads * 2 * 4;

			if (units > 128)
				continue;
			p.clocks = LAUNCH_CLOCKS + ceil_div(p.grid_x * splits * p.grid_z, limits->n_multiprocessors) *
				(sets * job->n_codebooks * (build + units * unit) + units * COMBINE_CLOCKS);
			if (best->clocks == 0 || p.clocks < best->clocks) {
				p.job.per_split = sets * p.quads;
				set_splits(&p, splits, 2);
				*best = p;
			}
		}
	}
}

/* ---- GATHER */

/* Codebooks of more bytes than that would mostly miss the first-level cache. */
#define FIRST_LEVEL 131072

static void plan_gather(aqz_gpu_product_plan *p, uint32_t cache_words, const aqz_gpu_limits *limits)
{
	aqz_gpu_job *job = &p->job;
	const uint32_t quads = ceil_div(job->groups, 4);
	uint32_t splits;

	set_units(job, 64);
	p->way = AQZ_GPU_GATHER;
	p->threads = 256;
	p->quick = job->x_quick && job->in_group == 8 && job->cols % 8 == 0 && job->out_group == 1 && job->code_bits > 8 &&
		job->word_dtype != AQZ_F32 && job->x_dtype == job->word_dtype;
	p->columns = job->n_columns <= 2 ? job->n_columns : job->n_columns <= 4 || !p->quick ? 4 : 8;
	p->shared_bytes = 8 * 64 * 4 * p->columns;
	p->far = p->quick &&
		(cache_words == 0 ? (job->n_codebooks << job->code_bits) * 16 > FIRST_LEVEL : cache_words == 2);
	p->grid_z = ceil_div(job->n_columns, p->columns) * job->out_group;
	share_blocks(job, job->units, &p->grid_x);
	for (uint32_t i = 0, first = 0; i < job->n_parts; i++) { /* exactly one unit a block */
		job->parts[i].blocks = job->parts[i].units;
		job->parts[i].first_block = first;
		first += job->parts[i].units;
		p->grid_x = first;
	}
	/* 3 blocks run on a multiprocessor; two rounds of them even out, if each warp has some tiles to do. */
	splits = ceil_div(6 * limits->n_multiprocessors, p->grid_x * p->grid_z);
	splits = most(1, least(splits, quads / 32));
	if (!may_split(job, p->grid_z))
		splits = 1;
	job->per_split = ceil_div(quads, splits);
	set_splits(p, ceil_div(quads, job->per_split), 2 * p->columns);
	p->clocks = LAUNCH_CLOCKS + (double)job->units * 64 * job->groups * job->n_codebooks * p->grid_z /
		limits->n_multiprocessors;
}

/* ---- MMA */

static bool mma_possible(const aqz_gpu_job *job)
{
	return job->out_group == 1 && job->word_dtype != AQZ_F32 && job->x_dtype == job->word_dtype;
}

static void plan_mma(aqz_gpu_product_plan *best, const aqz_gpu_limits *limits)
{
	aqz_gpu_product_plan p = *best;
	const aqz_gpu_job *job = &p.job;
	const uint64_t words = ((uint64_t)job->n_codebooks << job->code_bits) * job->pieces * 128;
	const uint32_t steps = ceil_div(job->groups, 4);

	best->clocks = 0;
	set_units(&p.job, 64);
	p.way = AQZ_GPU_MMA;
	p.tiles = job->n_columns <= 8 ? 1 : job->n_columns <= 16 ? 2 : 4;
	p.threads = p.tiles == 4 ? 384 : 256;
	p.shared_words = job->code_bits <= 8 && words + 8192 * p.tiles <= limits->shared_block_bytes;
	p.shared_bytes = (p.shared_words ? (uint32_t)words : 0) + 8192 * p.tiles;
	p.books = (p.shared_words && job->n_codebooks <= 2) || (job->code_bits > 8 && job->n_codebooks == 1)
		? job->n_codebooks : 0;
	p.grid_z = ceil_div(job->n_columns, 8 * p.tiles);

	const uint32_t warps = p.threads / 32;
	const uint32_t resident = most(1, least(p.tiles == 4 ? 1 : 2, limits->shared_sm_bytes / (p.shared_bytes + 1024)));
	const uint32_t slots = resident * limits->n_multiprocessors;
	const double step = job->pieces * (32.0 * job->n_codebooks + 4 * p.tiles) + 2 * job->n_codebooks;

	for (uint32_t splits = 1; splits <= 64 && splits <= most(1, steps / 8); splits++) {
		const uint32_t units = share_blocks(&p.job, ceil_div(job->units, warps) + job->n_parts - 1, &p.grid_x);
		const uint32_t rounds = ceil_div(units, warps) * warps;
		const uint32_t per_split = ceil_div(steps, splits), n_blocks = p.grid_x * ceil_div(steps, per_split) * p.grid_z;

		if (splits > 1 && !may_split(job, p.grid_z))
			break;
		p.clocks = LAUNCH_CLOCKS + ceil_div(n_blocks, slots) * resident *
			(1000 + p.shared_bytes / 128.0 +
				rounds * (per_split * step + (splits > 1 ? 150.0 * p.tiles : 50.0 * p.tiles)));
		if (best->clocks == 0 || p.clocks < best->clocks) {
			p.job.per_split = per_split;
			set_splits(&p, ceil_div(steps, per_split), 16 * p.tiles);
			*best = p;
		}
	}
}

/* ---- All */

/* base may be NULL, for a plan that is only measured. */
static const void *place(const void *base, uint64_t offset)
{
	return (const void *)((uintptr_t)base + (uintptr_t)offset);
}

static const char *fill_job(aqz_gpu_job *job, const aqz_gpu_product *product)
{
	const aqz_gpu_layout *l = product->parts[0].layout;
	const uint32_t x_bytes = product->x_dtype == AQZ_F32 ? 4 : 2;

	if (product->n_parts == 0 || product->n_parts > AQZ_GPU_PARTS)
		return "a product has 1 to 8 parts";
	if (product->n_columns == 0 || product->n_columns > 65535)
		return "a product has 1 to 65535 columns";
	if ((product->x_dtype != AQZ_F16 && product->x_dtype != AQZ_BF16 && product->x_dtype != AQZ_F32) ||
		(product->y_dtype != AQZ_F16 && product->y_dtype != AQZ_BF16 && product->y_dtype != AQZ_F32))
		return "x and y must be F32, F16 or BF16";
	for (uint32_t i = 0; i < product->n_parts; i++) {
		const aqz_gpu_product_part *from = &product->parts[i];
		const aqz_gpu_layout *own = from->layout;
		aqz_gpu_rows *part = &job->parts[i];

		if (own->n_codebooks != l->n_codebooks || own->code_bits != l->code_bits || own->in_group != l->in_group ||
			own->out_group != l->out_group || own->cols != l->cols || own->word_dtype != l->word_dtype)
			return "the parts of a product must have the same scheme, columns and codeword type";
		part->codes = place(from->base, own->codes_offset);
		part->words = place(from->base, own->words_offset);
		part->scales = place(from->base, own->scales_offset);
		part->bias = own->has_bias ? place(from->base, own->bias_offset) : NULL;
		part->y = from->y;
		part->ldy = from->ldy;
		part->row_block_bytes = own->row_block_bytes;
		part->rows = own->rows;
		part->code_rows = own->code_rows;
	}
	job->n_parts = product->n_parts;
	job->x = product->x;
	job->ldx = product->ldx;
	job->n_columns = product->n_columns;
	job->x_dtype = product->x_dtype;
	job->y_dtype = product->y_dtype;
	job->word_dtype = l->word_dtype;
	job->cols = l->cols;
	job->groups = l->groups;
	job->group_blocks = l->group_blocks;
	job->n_codebooks = l->n_codebooks;
	job->code_bits = l->code_bits;
	job->in_group = l->in_group;
	job->out_group = l->out_group;
	job->pieces = l->pieces;
	job->tile_bytes = l->tile_bytes;
	job->x_quick = l->in_group % 8 == 0 && (uintptr_t)product->x % 16 == 0 &&
		(product->n_columns == 1 || product->ldx * x_bytes % 16 == 0);
	return NULL;
}

/* LUT-R's tables cost 2^B / 8 multiplications for 8 groups; below about so many rows fetching codewords is as fast. */
#define LUTR_ROWS 2048

const char *aqz_gpu_product_plan_make(aqz_gpu_product_plan *plan, const aqz_gpu_product *product,
	const aqz_gpu_limits *limits)
{
	const char *fault;
	aqz_gpu_product_plan start;
	aqz_gpu_way way = product->way;
	uint64_t code_rows = 0;

	memset(&start, 0, sizeof start);
	fault = fill_job(&start.job, product);
	if (fault != NULL)
		return fault;
	const aqz_gpu_job *job = &start.job;

	for (uint32_t i = 0; i < job->n_parts; i++)
		code_rows += job->parts[i].code_rows;
	const bool lutg = job->code_bits <= 8 && job->out_group == 1;
	const bool lutr = job->code_bits > 8 && job->code_bits <= 12 && job->out_group == 1;
	/* Codewords in shared memory 8 times beat tables from 3 columns on. */
	const bool mma_fits = job->code_bits <= 8 &&
		((uint64_t)job->n_codebooks << job->code_bits) * job->pieces * 128 + 32768 <= limits->shared_block_bytes;

	if ((way == AQZ_GPU_LUTG && !lutg) || (way == AQZ_GPU_LUTR && !lutr) || (way == AQZ_GPU_MMA && !mma_possible(job)))
		way = AQZ_GPU_AUTO;
	if (way == AQZ_GPU_AUTO) {
		if (mma_possible(job) && job->n_columns >= (mma_fits ? 3 : lutg ? 17 : 9))
			way = AQZ_GPU_MMA;
		else if (lutg)
			way = AQZ_GPU_LUTG;
		else
			way = lutr && code_rows >= LUTR_ROWS && job->n_columns <= 2 ? AQZ_GPU_LUTR : AQZ_GPU_GATHER;
	}
	*plan = start;
	if (way == AQZ_GPU_LUTG)
		plan_lutg(plan, limits);
	else if (way == AQZ_GPU_LUTR)
		plan_lutr(plan, limits);
	else if (way == AQZ_GPU_MMA)
		plan_mma(plan, limits);
	if (plan->clocks > 0)
		return NULL;
	/* Not even the smallest tables fit, or there are more units than counters. */
	*plan = start;
	plan_gather(plan, product->cache_words, limits);
	return NULL;
}

uint64_t aqz_gpu_product_workspace_bytes(const aqz_gpu_product_part *parts, uint32_t n_parts, uint32_t n_columns,
	const aqz_gpu_limits *limits)
{
	static const uint32_t dtypes[] = {AQZ_F16, AQZ_BF16, AQZ_F32};
	uint64_t n_bytes = 0;

	for (uint32_t i = 0; i < 3; i++)
		for (uint32_t n = 1; n <= n_columns; n++) {
			aqz_gpu_product product = {.n_parts = n_parts, .n_columns = n, .x_dtype = dtypes[i], .y_dtype = AQZ_F32};
			aqz_gpu_product_plan plan;

			if (n_parts > AQZ_GPU_PARTS)
				break;
			memcpy(product.parts, parts, n_parts * sizeof *parts);
			if (aqz_gpu_product_plan_make(&plan, &product, limits) == NULL && plan.workspace_bytes > n_bytes)
				n_bytes = plan.workspace_bytes;
		}
	return n_bytes;
}
