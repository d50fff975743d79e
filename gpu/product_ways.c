/* SPDX-License-Identifier: Apache-2.0 */
/* How the blocks of each product kernel may share the work, and what that may cost: estimates in clocks of a
 * multiprocessor, from what the heads of the kernels say. They only have to rank plans of one way. */
#include "gpu/product_ways.h"

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

void aqz_gpu_plans_lutg(const aqz_gpu_choice *c)
{
	const uint32_t processors = c->limits->n_multiprocessors;
	aqz_gpu_product_plan p = *c->start;
	const aqz_gpu_job *job = &p.job;
	const uint32_t planes = job->group_blocks * job->n_codebooks;
	const bool quick = job->word_dtype != AQZ_F32 && job->x_dtype != AQZ_F32;

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
		if (p.shared_bytes > c->limits->shared_block_bytes || splits > 65535 ||
			(splits > 1 && !may_split(job, p.grid_z)))
			continue;
		p.job.per_split = held;
		set_splits(&p, splits, p.columns);
		for (uint32_t waves = 1, before = 0; waves <= 6; waves++) {
			const uint32_t slots = waves * processors;
			const uint32_t units = share_blocks(&p.job, most(1, slots / (splits * p.grid_z)), &p.grid_x);
			const uint32_t n_waves = ceil_div(p.grid_x * splits * p.grid_z, processors);
			/* Memory and shared memory are busy side by side. Partial sums are written and read. */
			const double memory = (held * 1024 + (splits > 1 ? 256.0 * p.columns : 0)) / MEMORY_RATE;
			const double shared = held * 32 * (p.columns + 0.25) + p.columns * (splits > 1 ? 40.0 : 32.0);
			const double unit = 10 + (memory > shared ? memory : shared);
			const double block = 1500 + held * p.columns * (256.0 + 100 * job->pieces) + units * unit +
				(splits > 1 ? COMBINE_CLOCKS * 16 : 0);

			if (p.grid_x == before)
				continue;
			before = p.grid_x;
			p.clocks = LAUNCH_CLOCKS + n_waves * block;
			c->visit(c->user, &p);
		}
	}
}

/* ---- LUT-R */

void aqz_gpu_plans_lutr(const aqz_gpu_choice *c)
{
	const uint32_t processors = c->limits->n_multiprocessors;
	aqz_gpu_product_plan p = *c->start;
	const aqz_gpu_job *job = &p.job;
	const uint32_t table = (4u << job->code_bits) + 32, all = job->group_blocks;

	set_units(&p.job, 64);
	p.way = AQZ_GPU_LUTR;
	p.threads = 512;
	p.grid_z = job->n_columns;
	for (p.quads = 1; p.quads <= 3; p.quads++) {
		p.shared_bytes = 4 * p.quads * table;
		if (p.shared_bytes > c->limits->shared_block_bytes)
			break;
		for (uint32_t rows = 128, before = 0; rows >= 16; rows /= 2) {
			const uint32_t units = share_blocks(&p.job, ceil_div(job->units, rows) + job->n_parts - 1, &p.grid_x);
			const uint32_t slots = most(1, processors / (p.grid_x * p.grid_z));
			const uint32_t sets = may_split(job, p.grid_z) ? ceil_div(ceil_div(all, p.quads), slots)
				: ceil_div(all, p.quads);
			const uint32_t splits = ceil_div(all, sets * p.quads); /* at most one for each multiprocessor, or 1 */
			const double build = 1000 + 4 * p.quads * table / 128.0 * 1.5 * job->pieces;
			const double unit = 4 * p.quads * 2 * 4;

			if (units > 128 || p.grid_x == before)
				continue;
			before = p.grid_x;
			p.job.per_split = sets * p.quads;
			set_splits(&p, splits, 2);
			p.clocks = LAUNCH_CLOCKS + ceil_div(p.grid_x * splits * p.grid_z, processors) *
				(sets * job->n_codebooks * (build + units * unit) + units * COMBINE_CLOCKS);
			c->visit(c->user, &p);
		}
	}
}

/* ---- GATHER */

/* Codebooks of more bytes than that would mostly miss the first-level cache. */
#define FIRST_LEVEL 131072
/* Blocks that run on a multiprocessor at a time, and the codewords that the second-level cache gives it a clock. */
#define GATHER_RESIDENT 3
#define GATHER_RATE 2.0

void aqz_gpu_plans_gather(const aqz_gpu_choice *c, uint32_t cache_words)
{
	aqz_gpu_product_plan p = *c->start;
	aqz_gpu_job *job = &p.job;
	const uint32_t quads = ceil_div(job->groups, 4);
	uint32_t most_splits;

	set_units(job, 64);
	p.way = AQZ_GPU_GATHER;
	p.threads = 256;
	p.quick = job->x_quick && job->in_group == 8 && job->cols % 8 == 0 && job->out_group == 1 && job->code_bits > 8 &&
		job->word_dtype != AQZ_F32 && job->x_dtype == job->word_dtype;
	p.columns = job->n_columns <= 2 ? job->n_columns : job->n_columns <= 4 || !p.quick ? 4 : 8;
	p.shared_bytes = 8 * 64 * 4 * p.columns;
	p.far = p.quick &&
		(cache_words == 0 ? (job->n_codebooks << job->code_bits) * 16 > FIRST_LEVEL : cache_words == 2);
	p.grid_z = ceil_div(job->n_columns, p.columns) * job->out_group;
	p.grid_x = 0;
	for (uint32_t i = 0; i < job->n_parts; i++) { /* exactly one unit a block */
		job->parts[i].blocks = job->parts[i].units;
		job->parts[i].first_block = p.grid_x;
		p.grid_x += job->parts[i].units;
	}
	/* Each of the 8 warps has a four of groups to do. */
	most_splits = may_split(job, p.grid_z) ? most(1, least(64, quads / 8)) : 1;
	for (uint32_t splits = 1, before = 0; splits <= most_splits; splits++) {
		const uint32_t per_split = ceil_div(quads, splits), n = ceil_div(quads, per_split);
		const uint64_t blocks = (uint64_t)p.grid_x * n * p.grid_z;
		const uint64_t each = (blocks + c->limits->n_multiprocessors - 1) / c->limits->n_multiprocessors;
		const uint32_t resident = each < GATHER_RESIDENT ? (uint32_t)each : GATHER_RESIDENT;
		const double block = (double)per_split * 4 * 64 * job->n_codebooks * job->pieces / GATHER_RATE;

		if (n == before)
			continue;
		before = n;
		job->per_split = per_split;
		set_splits(&p, n, 2 * p.columns);
		p.clocks = LAUNCH_CLOCKS + (double)((each + resident - 1) / resident) *
			(1500 + resident * block + (n > 1 ? COMBINE_CLOCKS * 16 : 0));
		c->visit(c->user, &p);
	}
}

/* ---- MMA */

void aqz_gpu_plans_mma(const aqz_gpu_choice *c)
{
	aqz_gpu_product_plan p = *c->start;
	const aqz_gpu_job *job = &p.job;
	const uint64_t words = ((uint64_t)job->n_codebooks << job->code_bits) * job->pieces * 128;
	const uint32_t steps = ceil_div(job->groups, 4);

	set_units(&p.job, 64);
	p.way = AQZ_GPU_MMA;
	p.tiles = job->n_columns <= 8 ? 1 : job->n_columns <= 16 ? 2 : 4;
	p.threads = p.tiles == 4 ? 384 : 256;
	p.shared_words = job->code_bits <= 8 && words + 8192 * p.tiles <= c->limits->shared_block_bytes;
	p.shared_bytes = (p.shared_words ? (uint32_t)words : 0) + 8192 * p.tiles;
	p.books = (p.shared_words && job->n_codebooks <= 2) || (job->code_bits > 8 && job->n_codebooks == 1)
		? job->n_codebooks : 0;
	p.grid_z = ceil_div(job->n_columns, 8 * p.tiles);

	const uint32_t warps = p.threads / 32;
	const uint32_t resident = most(1,
		least(p.tiles == 4 ? 1 : 2, c->limits->shared_sm_bytes / (p.shared_bytes + 1024)));
	const uint32_t slots = resident * c->limits->n_multiprocessors;
	const double step = job->pieces * (32.0 * job->n_codebooks + 4 * p.tiles) + 2 * job->n_codebooks;
	const uint32_t most_splits = may_split(job, p.grid_z) ? most(1, least(64, steps / 8)) : 1;

	for (uint32_t splits = 1, before = 0; splits <= most_splits; splits++) {
		const uint32_t units = share_blocks(&p.job, ceil_div(job->units, warps) + job->n_parts - 1, &p.grid_x);
		const uint32_t rounds = ceil_div(units, warps) * warps;
		const uint32_t per_split = ceil_div(steps, splits), n = ceil_div(steps, per_split);

		if (n == before)
			continue;
		before = n;
		p.job.per_split = per_split;
		set_splits(&p, n, 16 * p.tiles);
		p.clocks = LAUNCH_CLOCKS + ceil_div(p.grid_x * n * p.grid_z, slots) * resident *
			(1000 + p.shared_bytes / 128.0 + rounds * (per_split * step + (n > 1 ? 150.0 : 50.0) * p.tiles));
		c->visit(c->user, &p);
	}
}
