/* SPDX-License-Identifier: Apache-2.0 */
/* The candidates of the trellis encoder, as aqz_path_kernels has them. */
#ifndef AQZ_CODEC_ENCODE_TRELLIS_CANDIDATES_H
#define AQZ_CODEC_ENCODE_TRELLIS_CANDIDATES_H

#include <stddef.h>
#include <stdint.h>

typedef void aqz_candidates_fn(float *restrict cost, int32_t *restrict k, const float *restrict x, float inverse,
	const float *restrict rates, const uint8_t *restrict bucket, size_t n, unsigned state_bits);

aqz_candidates_fn aqz_candidates_plain;
#if defined(__x86_64__)
aqz_candidates_fn aqz_candidates_avx2;
#endif

#endif
