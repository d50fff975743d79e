/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of gpu/product_gather.h and gpu/product_lutr.h. */
#include "gpu/product.h"
#include "gpu/product_gather.h"
#include "gpu/product_lutr.h"

template <int COLUMNS, aqz::gather_kind KIND, bool FAR>
__global__ void __launch_bounds__(AQZ_GATHER_THREADS, COLUMNS > 2 || KIND == aqz::GATHER_ANY ? 2 : 3)
	aqz_gather(const __grid_constant__ aqz_gpu_job job)
{
	aqz::product_gather<COLUMNS, KIND, FAR>(job);
}

template <int QUADS>
__global__ void __launch_bounds__(AQZ_LUTR_THREADS, 1) aqz_lutr(const __grid_constant__ aqz_gpu_job job)
{
	aqz::product_lutr<QUADS>(job);
}

template <int COLUMNS>
static const void *of_kind(uint32_t quick, bool f16, bool far)
{
	if (!quick) {
		if constexpr (COLUMNS == 8)
			return nullptr;
		else
			return (const void *)aqz_gather<COLUMNS, aqz::GATHER_ANY, false>;
	}
	if (f16)
		return far ? (const void *)aqz_gather<COLUMNS, aqz::GATHER_F16, true>
			: (const void *)aqz_gather<COLUMNS, aqz::GATHER_F16, false>;
	return far ? (const void *)aqz_gather<COLUMNS, aqz::GATHER_BF16, true>
		: (const void *)aqz_gather<COLUMNS, aqz::GATHER_BF16, false>;
}

const void *aqz_gpu_gather_kernel(uint32_t columns, bool quick, bool f16, bool far)
{
	return columns == 1 ? of_kind<1>(quick, f16, far) : columns == 2 ? of_kind<2>(quick, f16, far) : columns == 4
		? of_kind<4>(quick, f16, far) : columns == 8 ? of_kind<8>(quick, f16, far) : nullptr;
}

const void *aqz_gpu_lutr_kernel(uint32_t quads)
{
	return quads == 1 ? (const void *)aqz_lutr<1> : quads == 2 ? (const void *)aqz_lutr<2> : quads == 3
		? (const void *)aqz_lutr<3> : nullptr;
}
