/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of products for real devices and shapes: within the devices' limits, and every row, input and column is some
 * block's. */
#include <cstdio>

#include "gpu/product.h"
#include "tests/sparse.h"

namespace {

struct device { const char *name; aqz_gpu_limits limits; };
const device devices[] = {
	{"H200", {132, 232448, 233472}}, {"A100", {108, 166912, 167936}}, {"RTX 4090", {128, 101376, 102400}},
	{"RTX 3060", {28, 101376, 102400}}, {"2 SMs", {2, 101376, 102400}},
};

const aqz_scheme schemes[] = {
	{AQZ_CODEC_ADDITIVE, 2, 8, 8, 1}, {AQZ_CODEC_ADDITIVE, 1, 8, 8, 1}, {AQZ_CODEC_ADDITIVE, 4, 8, 8, 1},
	{AQZ_CODEC_ADDITIVE, 8, 8, 32, 1}, {AQZ_CODEC_ADDITIVE, 1, 16, 8, 1}, {AQZ_CODEC_ADDITIVE, 1, 12, 8, 1},
	{AQZ_CODEC_ADDITIVE, 1, 16, 16, 1}, {AQZ_CODEC_ADDITIVE, 1, 16, 8, 2}, {AQZ_CODEC_ADDITIVE, 3, 4, 5, 1},
	{AQZ_CODEC_ADDITIVE, 8, 8, 64, 1}, {AQZ_CODEC_ADDITIVE, 8, 16, 1, 64},
};

const uint32_t shapes[][2] = {
	{4096, 4096}, {11008, 4096}, {4096, 11008}, {13824, 5120}, {8192, 8192}, {1024, 8192}, {28672, 8192}, {8192, 28672},
	{14336, 4096}, {1024, 4096}, {6144, 4096}, {28672, 4096}, {576, 576}, {1, 1}, {100, 72}, {128256, 4096},
	{10000000, 16}, {16, 10000000},
};

/* Codes, x, columns: what a plan leaves out or has twice, or NULL. */
const char *fault_of(const aqz_gpu_product_plan &p, const aqz_gpu_limits &l)
{
	const aqz_gpu_job &j = p.job;
	const bool bytes = j.code_bits <= 8;
	uint32_t measure, per_block = UINT32_MAX, columns, first_block = 0, first_unit = 0;

	if (p.shared_bytes > l.shared_block_bytes || p.threads > 1024 || p.threads % 32 != 0)
		return "more than a block may have";
	if (p.grid_y == 0 || p.grid_y > 65535 || p.grid_z == 0 || p.grid_z > 65535 || p.grid_x == 0)
		return "no possible grid";
	switch (p.way) {
	case AQZ_GPU_LUTG:
		measure = j.group_blocks * j.n_codebooks;
		columns = p.columns;
		if (!bytes || p.tables * 2 / p.columns != j.per_split)
			return "LUT-G: planes";
		break;
	case AQZ_GPU_LUTR:
		measure = j.group_blocks;
		columns = 1;
		per_block = 128;
		break;
	case AQZ_GPU_MMA:
		measure = (j.groups + 3) / 4;
		columns = 8 * p.tiles;
		break;
	default:
		measure = (j.groups + 3) / 4;
		columns = p.columns;
		per_block = 1;
	}
	if (p.grid_y != j.splits || (uint64_t)j.per_split * j.splits < measure || j.per_split * (j.splits - 1) >= measure)
		return "splits";
	if (p.grid_z != (j.n_columns + columns - 1) / columns * (p.way == AQZ_GPU_GATHER ? j.out_group : 1))
		return "columns";
	for (uint32_t i = 0; i < j.n_parts; i++) {
		const aqz_gpu_rows &part = j.parts[i];
		const uint32_t rows = p.way == AQZ_GPU_LUTG ? 32 : 64;

		if (part.units != (part.code_rows + rows - 1) / rows || part.first_unit != first_unit)
			return "units";
		if (part.blocks == 0 || part.blocks > part.units || part.first_block != first_block)
			return "blocks";
		if ((part.units + part.blocks - 1) / part.blocks > per_block)
			return "too many units to a block";
		first_block += part.blocks;
		first_unit += part.units;
	}
	if (first_block != p.grid_x || first_unit != j.units)
		return "totals";
	if (j.splits > 1 && (uint64_t)j.units * p.grid_z > AQZ_GPU_COUNTERS)
		return "more units than counters";
	return nullptr;
}

struct visited {
	const aqz_gpu_limits *limits;
	const char *fault;
	uint32_t n;
	double least; /* clocks */
};

void visit(void *user, const aqz_gpu_product_plan *plan)
{
	visited *const v = static_cast<visited *>(user);

	if (v->fault == nullptr)
		v->fault = fault_of(*plan, *v->limits);
	if (v->n++ == 0 || plan->clocks < v->least)
		v->least = plan->clocks;
}

} // namespace

int test_plans()
{
	static const char *const ways[] = {"auto", "lut-g", "lut-r", "gather", "mma"};
	int n = 0, failed = 0;
	unsigned n_plans = 0;

	for (const device &d : devices) {
		if (SPARSE > 1 && d.limits.n_multiprocessors != 132)
			continue;
		for (const aqz_scheme &scheme : schemes)
			for (const auto &shape : shapes) {
				aqz_gpu_layout layouts[3];
				aqz_gpu_product_part parts[3] = {};

				for (uint32_t i = 0; i < 3; i++) {
					aqz_gpu_layout_make(&layouts[i], &scheme, i == 0 ? shape[0] : shape[0] / 4 + 1, shape[1],
						AQZ_F16, false);
					parts[i].layout = &layouts[i];
				}
				for (uint32_t n_parts = 1; n_parts <= 3; n_parts += 2) {
					const uint64_t workspace = aqz_gpu_product_workspace_bytes(parts, n_parts, 17, &d.limits);

					for (uint32_t columns = 1; columns <= 40; columns += columns < 3 ? 1 : 7)
						for (uint32_t way = 0; way < 5; way++) {
							aqz_gpu_product product = {};
							aqz_gpu_product_plan plan;

							product.n_parts = n_parts;
							for (uint32_t i = 0; i < n_parts; i++)
								product.parts[i] = parts[i];
							product.n_columns = columns;
							product.x_dtype = product.y_dtype = AQZ_F16;
							product.way = (aqz_gpu_way)way;
							const char *fault = aqz_gpu_product_plan_make(&plan, &product, &d.limits);
							visited all = {&d.limits, nullptr, 0, 0};
							if (fault == nullptr)
								fault = fault_of(plan, d.limits);
							if (fault == nullptr)
								fault = aqz_gpu_product_plans(&product, &d.limits, visit, &all);
							if (fault == nullptr)
								fault = all.fault;
							if (fault == nullptr && all.least != plan.clocks)
								fault = "not the plan with the fewest clocks";
							n_plans += all.n;
							if (fault == nullptr && way == 0 && columns <= 17 && plan.workspace_bytes > workspace)
								fault = "more workspace than was said";
							n++;
							if (fault != nullptr && ++failed < 20)
								printf("FAIL: %s, %ux%ug%uo%u, %u x %u, %u columns, %u parts, %s: %s\n", d.name,
									scheme.n_codebooks, scheme.code_bits, scheme.in_group, scheme.out_group, shape[0],
									shape[1], columns, n_parts, ways[way], fault);
							if (d.limits.n_multiprocessors == 132 && n_parts == 1 && way == 0 && columns == 1 &&
								scheme.n_codebooks == 2)
								printf("%u x %u: tables %u, grid %u %u %u, workspace %llu, %.1f us by the model\n",
									shape[0], shape[1], plan.tables, plan.grid_x, plan.grid_y, plan.grid_z,
									(unsigned long long)plan.workspace_bytes, plan.clocks / 1755);
						}
				}
			}
	}
	printf("%d products, %u plans\n", n, n_plans);
	return failed;
}
