/* SPDX-License-Identifier: Apache-2.0 */
/* What a card gives to look-ups, printed. */
#ifndef AQZ_BENCH_GPU_RATES_H
#define AQZ_BENCH_GPU_RATES_H

#ifdef __cplusplus
extern "C" {
#endif

void rates_measure(unsigned n_multiprocessors);

#ifdef __cplusplus
}
#endif

#endif
