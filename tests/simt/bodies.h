/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of products for the emulator. C++17. */
#ifndef AQZ_TESTS_SIMT_BODIES_H
#define AQZ_TESTS_SIMT_BODIES_H

#include "gpu/product.h"

/* A kernel; its argument is the plan's job, with partials and counters filled in. */
typedef void (*simt_body)(const void *job);

/* The one that a plan asks for, to be run with the plan's grid, threads and shared bytes. */
simt_body simt_body_of(const aqz_gpu_product_plan &plan);

#endif
