/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of gpu/product_lutg.h. */
#include "gpu/product.h"
#include "gpu/product_lutg.h"

template <int TABLES, int COLUMNS, int PIECES>
__global__ void __launch_bounds__(AQZ_LUTG_THREADS, 1) aqz_lutg(const __grid_constant__ aqz_gpu_job job)
{
	aqz::product_lutg<TABLES, COLUMNS, PIECES>(job);
}

template <int TABLES, int COLUMNS>
static const void *of_pieces(uint32_t pieces)
{
	return pieces == 1 ? (const void *)aqz_lutg<TABLES, COLUMNS, 1> : pieces == 4
		? (const void *)aqz_lutg<TABLES, COLUMNS, 4>
		: pieces == 0 ? (const void *)aqz_lutg<TABLES, COLUMNS, 0> : nullptr;
}

template <int TABLES>
static const void *of_columns(uint32_t columns, uint32_t pieces)
{
	return columns == 1 ? of_pieces<TABLES, 1>(pieces) : columns == 2 ? of_pieces<TABLES, 2>(pieces) : nullptr;
}

const void *aqz_gpu_lutg_kernel(uint32_t tables, uint32_t columns, uint32_t pieces)
{
	return tables == 1 ? of_columns<1>(columns, pieces) : tables == 2 ? of_columns<2>(columns, pieces)
		: tables == 3 ? of_columns<3>(columns, pieces) : nullptr;
}
