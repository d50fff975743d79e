/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of gpu/product_mma.h. */
#include "gpu/product.h"
#include "gpu/product_mma.h"

template <int TILES, bool F16, int BOOKS, bool SHARED, bool BYTES>
__global__ void __launch_bounds__(AQZ_MMA_THREADS(TILES), TILES == 4 ? 1 : 2)
	aqz_mma(const __grid_constant__ aqz_gpu_job job)
{
	aqz::product_mma<TILES, F16, BOOKS, SHARED, BYTES>(job);
}

template <int TILES, bool F16>
static const void *of_books(uint32_t books, bool shared_words, bool bytes)
{
	if (!shared_words)
		return bytes ? (const void *)aqz_mma<TILES, F16, 0, false, true> : books == 1
			? (const void *)aqz_mma<TILES, F16, 1, false, false> : (const void *)aqz_mma<TILES, F16, 0, false, false>;
	return books == 1 ? (const void *)aqz_mma<TILES, F16, 1, true, true> : books == 2
		? (const void *)aqz_mma<TILES, F16, 2, true, true> : (const void *)aqz_mma<TILES, F16, 0, true, true>;
}

template <bool F16>
static const void *of_tiles(uint32_t tiles, uint32_t books, bool shared_words, bool bytes)
{
	return tiles == 1 ? of_books<1, F16>(books, shared_words, bytes) : tiles == 2
		? of_books<2, F16>(books, shared_words, bytes)
		: tiles == 4 ? of_books<4, F16>(books, shared_words, bytes) : nullptr;
}

const void *aqz_gpu_mma_kernel(uint32_t tiles, bool f16, uint32_t books, bool shared_words, bool bytes)
{
	return f16 ? of_tiles<true>(tiles, books, shared_words, bytes) : of_tiles<false>(tiles, books, shared_words, bytes);
}
