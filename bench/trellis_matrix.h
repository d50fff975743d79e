/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices for measuring how fast trellis chunks are decoded: no encoder has made them. */
#ifndef AQZ_BENCH_TRELLIS_MATRIX_H
#define AQZ_BENCH_TRELLIS_MATRIX_H

#include "codec/trellis.h"

/* Fills in all but rows and cols of *p, free with aqz_trellis_params_free(), and index, [cols][rows]: 8 states, sizes
 * and indices that are spread as a layer's are, about log2(4.13 * middle) bits of a weight. False without memory. */
bool bench_trellis_make(aqz_trellis_params *p, int32_t *index, double middle);

#endif
