/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS runs on one thread while the encoder works: its own threads would make sums depend on their number, and the
 * encoder has its own over rows. */
#ifndef AQZ_CODEC_ENCODE_BLAS_H
#define AQZ_CODEC_ENCODE_BLAS_H

#include <cblas.h>

typedef struct aqz_blas {
	int n_threads; /* before */
} aqz_blas;

static inline aqz_blas aqz_blas_begin(void)
{
	const aqz_blas blas = {openblas_get_num_threads()};

	if (blas.n_threads != 1)
		openblas_set_num_threads(1);
	return blas;
}

static inline void aqz_blas_end(const aqz_blas *blas)
{
	if (blas->n_threads != 1)
		openblas_set_num_threads(blas->n_threads);
}

#endif
