/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the kernel of a product: gpu/product.h. */
#include <string.h>

#include "gpu/product_ways.h"

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

static bool mma_possible(const aqz_gpu_job *job)
{
	return job->out_group == 1 && job->word_dtype != AQZ_F32 && job->x_dtype == job->word_dtype;
}

/* AUTO's way, and any that cannot be done. */
static aqz_gpu_way choose_way(const aqz_gpu_job *job, aqz_gpu_way wanted, const aqz_gpu_limits *limits)
{
	const bool lutg = job->code_bits <= 8 && job->out_group == 1;
	const bool lutr = job->code_bits > 8 && job->code_bits <= 12 && job->out_group == 1;
	/* Codewords in shared memory 8 times beat tables from 3 columns on. */
	const bool mma_fits = job->code_bits <= 8 &&
		((uint64_t)job->n_codebooks << job->code_bits) * job->pieces * 128 + 32768 <= limits->shared_block_bytes;
	uint64_t code_rows = 0;

	for (uint32_t i = 0; i < job->n_parts; i++)
		code_rows += job->parts[i].code_rows;
	if (wanted == AQZ_GPU_GATHER || (wanted == AQZ_GPU_LUTG && lutg) || (wanted == AQZ_GPU_LUTR && lutr) ||
		(wanted == AQZ_GPU_MMA && mma_possible(job)))
		return wanted;
	if (mma_possible(job) && job->n_columns >= (mma_fits ? 3 : lutg ? 17 : 9))
		return AQZ_GPU_MMA;
	if (lutg)
		return AQZ_GPU_LUTG;
	return lutr && code_rows >= LUTR_ROWS && job->n_columns <= 2 ? AQZ_GPU_LUTR : AQZ_GPU_GATHER;
}

/* Hands plans on and counts them. */
typedef struct counted {
	aqz_gpu_visit *visit;
	void *user;
	uint32_t n;
} counted;

static void count_plan(void *user, const aqz_gpu_product_plan *plan)
{
	counted *c = user;

	c->n++;
	c->visit(c->user, plan);
}

const char *aqz_gpu_product_plans(const aqz_gpu_product *product, const aqz_gpu_limits *limits, aqz_gpu_visit *visit,
	void *user)
{
	aqz_gpu_product_plan start;
	counted n = {visit, user, 0};
	const aqz_gpu_choice choice = {&start, limits, count_plan, &n};
	const char *fault;

	memset(&start, 0, sizeof start);
	fault = fill_job(&start.job, product);
	if (fault != NULL)
		return fault;
	switch (choose_way(&start.job, product->way, limits)) {
	case AQZ_GPU_LUTG:
		aqz_gpu_plans_lutg(&choice);
		break;
	case AQZ_GPU_LUTR:
		aqz_gpu_plans_lutr(&choice);
		break;
	case AQZ_GPU_MMA:
		aqz_gpu_plans_mma(&choice);
		break;
	default:
		break;
	}
	/* GATHER, and where not even the smallest tables fit, or there are more units than counters. */
	if (n.n == 0)
		aqz_gpu_plans_gather(&choice, product->cache_words);
	return NULL;
}

static void keep_least(void *user, const aqz_gpu_product_plan *plan)
{
	aqz_gpu_product_plan *best = user;

	if (best->clocks == 0 || plan->clocks < best->clocks)
		*best = *plan;
}

const char *aqz_gpu_product_plan_make(aqz_gpu_product_plan *plan, const aqz_gpu_product *product,
	const aqz_gpu_limits *limits)
{
	plan->clocks = 0;
	return aqz_gpu_product_plans(product, limits, keep_least, plan);
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
