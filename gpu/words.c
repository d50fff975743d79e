/* SPDX-License-Identifier: Apache-2.0 */
/* Codewords in the form that kernels read: G rounded up to eights with zeros, in 16 bits where the file has them so. */
#include <math.h>

#include "base/float.h"
#include "gpu/gpu.h"

/* One number, as the spec widens it. */
static float value_of(const void *codebooks, aqz_dtype dtype, size_t i)
{
	switch (dtype) {
	case AQZ_F16:
		return aqz_f16_to_f32(((const uint16_t *)codebooks)[i]);
	case AQZ_BF16:
		return aqz_bf16_to_f32(((const uint16_t *)codebooks)[i]);
	case AQZ_F32:
		return ((const float *)codebooks)[i];
	default:
		return (float)((const int8_t *)codebooks)[i];
	}
}

void aqz_gpu_words(void *dst, aqz_gpu_table *t, const aqz_gpu_layout *l, const void *codebooks, const float *scales)
{
	const size_t g_all = l->in_group, padded = 8 * (size_t)l->pieces, o_all = l->out_group;
	const size_t per_book = (size_t)1 << l->code_bits;
	size_t in = 0, out = 0;

	memset(dst, 0, (size_t)l->words_bytes);
	t->finite = true;
	t->largest = 0;
	for (uint32_t m = 0; m < l->n_codebooks; m++) {
		float most = 0;

		for (size_t i = 0; i < per_book * o_all; i++, out += padded)
			for (size_t g = 0; g < g_all; g++, in++) {
				float v = value_of(codebooks, t->dtype, in);

				if (t->dtype == AQZ_I8)
					v *= scales[((size_t)m * o_all + i % o_all) * g_all + g];
				if (l->word_bytes == 2)
					((uint16_t *)dst)[out + g] = ((const uint16_t *)codebooks)[in];
				else
					((float *)dst)[out + g] = v;
				if (!isfinite(v))
					t->finite = false;
				else if (fabsf(v) > most)
					most = fabsf(v);
			}
		t->largest += most;
	}
}
