/* SPDX-License-Identifier: Apache-2.0 */
/* Measures how fast trellis sections of a file are decoded into a device's memory. */
#ifndef AQZ_BENCH_GPU_ARCHIVES_H
#define AQZ_BENCH_GPU_ARCHIVES_H

#include "aqlmzip_gpu.h"

void archives_measure(aqz_gpu *gpu);

#endif
