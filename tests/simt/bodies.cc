/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels that plans ask for, compiled for the emulator. */
#include "tests/simt/bodies.h"

#include "gpu/product_gather.h"
#include "gpu/product_lutg.h"
#include "gpu/product_lutr.h"
#include "gpu/product_mma.h"

namespace {

template <int T, int C, int P> void lutg(const void *j) { aqz::product_lutg<T, C, P>(*(const aqz_gpu_job *)j); }
template <int Q> void lutr(const void *j) { aqz::product_lutr<Q>(*(const aqz_gpu_job *)j); }
template <int C, aqz::gather_kind K, bool F> void gather(const void *j)
{
	aqz::product_gather<C, K, F>(*(const aqz_gpu_job *)j);
}
template <int T, bool F, int M, bool S, bool B> void mma(const void *j)
{
	aqz::product_mma<T, F, M, S, B>(*(const aqz_gpu_job *)j);
}

template <int T, int C> simt_body lutg_pieces(uint32_t pieces)
{
	return pieces == 1 ? lutg<T, C, 1> : pieces == 4 ? lutg<T, C, 4> : lutg<T, C, 0>;
}
template <int T> simt_body lutg_columns(const aqz_gpu_product_plan &p)
{
	return p.columns == 1 ? lutg_pieces<T, 1>(p.pieces) : lutg_pieces<T, 2>(p.pieces);
}
template <int T, bool F> simt_body mma_books(const aqz_gpu_product_plan &p)
{
	if (!p.shared_words)
		return p.job.code_bits <= 8 ? mma<T, F, 0, false, true> : p.books == 1 ? mma<T, F, 1, false, false>
			: mma<T, F, 0, false, false>;
	return p.books == 1 ? mma<T, F, 1, true, true> : p.books == 2 ? mma<T, F, 2, true, true> : mma<T, F, 0, true, true>;
}
template <bool F> simt_body mma_tiles(const aqz_gpu_product_plan &p)
{
	return p.tiles == 1 ? mma_books<1, F>(p) : p.tiles == 2 ? mma_books<2, F>(p) : mma_books<4, F>(p);
}

template <int C> simt_body gather_kind_of(const aqz_gpu_product_plan &p)
{
	if (!p.quick)
		return gather<C, aqz::GATHER_ANY, false>; /* not planned for 8 */
	if (p.job.word_dtype == AQZ_F16)
		return p.far ? gather<C, aqz::GATHER_F16, true> : gather<C, aqz::GATHER_F16, false>;
	return p.far ? gather<C, aqz::GATHER_BF16, true> : gather<C, aqz::GATHER_BF16, false>;
}

} // namespace

simt_body simt_body_of(const aqz_gpu_product_plan &p)
{
	switch (p.way) {
	case AQZ_GPU_LUTG:
		return p.tables == 1 ? lutg_columns<1>(p) : p.tables == 2 ? lutg_columns<2>(p) : lutg_columns<3>(p);
	case AQZ_GPU_LUTR:
		return p.quads == 1 ? lutr<1> : p.quads == 2 ? lutr<2> : lutr<3>;
	case AQZ_GPU_MMA:
		return p.job.word_dtype == AQZ_F16 ? mma_tiles<true>(p) : mma_tiles<false>(p);
	default:
		return p.columns == 1 ? gather_kind_of<1>(p) : p.columns == 2 ? gather_kind_of<2>(p) : p.columns == 4
			? gather_kind_of<4>(p) : gather_kind_of<8>(p);
	}
}
