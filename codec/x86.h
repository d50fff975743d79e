/* SPDX-License-Identifier: Apache-2.0 */
/* The vector intrinsics of x86-64, in one place so that a test build can put an emulation of them here. */
#ifndef AQZ_CODEC_X86_H
#define AQZ_CODEC_X86_H

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#endif
