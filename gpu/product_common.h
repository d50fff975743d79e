/* SPDX-License-Identifier: Apache-2.0 */
/* Between the product kernels: finding one's rows, reading x, adding up splits, writing y. CUDA C++. */
#ifndef AQZ_GPU_PRODUCT_COMMON_H
#define AQZ_GPU_PRODUCT_COMMON_H

#include "gpu/lanes.h"
#include "gpu/product_job.h"

namespace aqz {

/* The part whose blocks of grid x have this one. */
AQZ_DEVICE uint32_t part_of_block(const aqz_gpu_job &job, uint32_t block)
{
	uint32_t i = 0;

	while (i + 1 < job.n_parts && block >= job.parts[i + 1].first_block)
		i++;
	return i;
}

/* The first of a part's units that block i of its n has; block n begins where the last one ends. */
AQZ_DEVICE uint32_t first_unit_of(const aqz_gpu_rows &part, uint32_t i)
{
	return (uint32_t)((uint64_t)part.units * i / part.blocks);
}

/* Element `index` of x's column, 0 beyond the last. */
AQZ_DEVICE float x_element(const aqz_gpu_job &job, uint32_t column, uint32_t index)
{
	const uint64_t at = column * job.ldx + index;

	if (index >= job.cols)
		return 0;
	if (job.x_dtype == AQZ_F32)
		return ldg<float>(static_cast<const float *>(job.x) + at);
	const uint16_t v = ldg<uint16_t>(static_cast<const uint16_t *>(job.x) + at);
	return job.x_dtype == AQZ_F16 ? f16_to_f32(v) : bf16_to_f32(v);
}

/* 8 numbers in 16 bits each to binary32. */
AQZ_DEVICE void widen8(float (&v)[8], u32x4 h, bool is_f16)
{
	const uint32_t u[4] = {h.x, h.y, h.z, h.w};

	AQZ_UNROLL
	for (int i = 0; i < 4; i++) {
		const f32x2 f = is_f16 ? f16x2_to_f32(u[i]) : bf16x2_to_f32(u[i]);
		v[2 * i] = f.x;
		v[2 * i + 1] = f.y;
	}
}

/* Elements [8 piece, 8 piece + 8) of a group of x, zeros beyond the group and beyond x. */
AQZ_DEVICE void x_piece(float (&v)[8], const aqz_gpu_job &job, uint32_t column, uint32_t group, uint32_t piece)
{
	const uint32_t first = group * job.in_group + piece * 8;

	if (job.x_quick && first + 8 <= job.cols) {
		const uint64_t at = column * job.ldx + first;

		if (job.x_dtype == AQZ_F32) {
			const f32x4 a = ldg<f32x4>(static_cast<const float *>(job.x) + at);
			const f32x4 b = ldg<f32x4>(static_cast<const float *>(job.x) + at + 4);
			v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
			v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
		} else {
			widen8(v, ldg<u32x4>(static_cast<const uint16_t *>(job.x) + at), job.x_dtype == AQZ_F16);
		}
		return;
	}
	AQZ_UNROLL
	for (uint32_t e = 0; e < 8; e++)
		v[e] = piece * 8 + e < job.in_group ? x_element(job, column, first + e) : 0;
}

/* Adds up v over the splits of a unit; lanes hold V values each. True for the warp that has the sums, which is the last
 * one that comes; the others are done with the unit. z of n_z: of grid z. */
template <int V>
AQZ_DEVICE bool combine(float (&v)[V], const aqz_gpu_job &job, uint32_t unit, uint32_t z, uint32_t split)
{
	const uint32_t lane = lane_index();
	const uint64_t slot = (uint64_t)z * job.units + unit;
	uint32_t before = 0;

	if (job.splits == 1)
		return true;
	float *const first = job.partials + slot * job.splits * (V * 32) + lane;
	AQZ_UNROLL
	for (int i = 0; i < V; i++)
		stg<float>(first + (uint64_t)split * (V * 32) + i * 32, v[i]);
	/* What all lanes have written is seen by whoever sees the counter: lane 0's fence comes after it has met them. */
	sync_warp();
	fence();
	if (lane == 0)
		before = atomic_add(job.counters + slot, 1);
	before = shfl(before, 0);
	if (before != job.splits - 1)
		return false;
	fence();
	AQZ_UNROLL
	for (int i = 0; i < V; i++)
		v[i] = ldg_shared(first + i * 32);
	AQZ_NO_UNROLL
	for (uint32_t s = 1; s < job.splits; s++) {
		AQZ_UNROLL
		for (int i = 0; i < V; i++)
			v[i] += ldg_shared(first + (uint64_t)s * (V * 32) + i * 32);
	}
	if (lane == 0)
		stg<uint32_t>(job.counters + slot, 0);
	return true;
}

/* y[column][row] = v * scale + bias in y's dtype. code_row has the scale. */
AQZ_DEVICE void y_store(const aqz_gpu_job &job, const aqz_gpu_rows &part, uint32_t column, uint32_t row,
	uint32_t code_row, float v)
{
	const uint64_t at = column * part.ldy + row;

	v *= ldg<float>(part.scales + code_row);
	if (part.bias != nullptr)
		v += ldg<float>(part.bias + row);
	if (job.y_dtype == AQZ_F32)
		stg<float>(static_cast<float *>(part.y) + at, v);
	else
		stg<uint16_t>(static_cast<uint16_t *>(part.y) + at,
			job.y_dtype == AQZ_F16 ? f32_to_f16(v) : f32_to_bf16(v));
}

} // namespace aqz
#endif
