/* SPDX-License-Identifier: Apache-2.0 */
/* The variants of the product kernels that this machine runs. */
#include "codec/product_parts.h"

#if defined(__x86_64__)
static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

const aqz_product_kernels *aqz_product_kernels_get(unsigned i)
{
	const aqz_product_kernels *all[5] = {&aqz_product_kernels_scalar};
	unsigned n = 1;

#if defined(__x86_64__)
	/* F16C, which not all compilers can ask for, is older than AVX2. The cpuid instruction itself leaves a virtual
	 * machine: for each product that would take more time than the product. */
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		all[n++] = &aqz_product_kernels_avx2;
	if (has_avx512())
		all[n++] = &aqz_product_kernels_avx512bw;
	if (has_avx512() && __builtin_cpu_supports("avx512vbmi"))
		all[n++] = &aqz_product_kernels_vbmi;
#endif
#if defined(__aarch64__)
	all[n++] = &aqz_product_kernels_neon;
#endif
	return i < n ? all[i] : NULL;
}
