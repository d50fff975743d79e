/* SPDX-License-Identifier: Apache-2.0 */
/* Angles of the rotary positions (arXiv:2104.09864), scaled as transformers does: linear, or by wave length as Llama
 * 3.1 has it. Pair i of a head turns by position * theta^(-2i / head_dim). */
#include <math.h>

#include "model/load.h"

/* Llama 3.1: short waves stay, waves longer than the original context get slower by the factor, in between the two
 * are mixed. */
static double scale_llama3(double inverse, const aqz_model_config *c)
{
	const double wave = 2 * 3.14159265358979323846 / inverse, original = (double)c->rope_original;
	double mix;

	if (wave < original / c->rope_high)
		return inverse;
	if (wave > original / c->rope_low)
		return inverse / c->rope_factor;
	mix = (original / wave - c->rope_low) / (c->rope_high - c->rope_low);
	return (1 - mix) * inverse / c->rope_factor + mix * inverse;
}

void aqz_rope_frequencies(double *inverse, const aqz_model_config *c)
{
	for (uint32_t i = 0; i < c->head_dim / 2; i++) {
		inverse[i] = 1 / pow(c->rope_theta, 2.0 * i / c->head_dim);
		if (c->rope_scaling == AQZ_ROPE_LINEAR)
			inverse[i] /= c->rope_factor;
		else if (c->rope_scaling == AQZ_ROPE_LLAMA3)
			inverse[i] = scale_llama3(inverse[i], c);
	}
}

aqz_status aqz_rope_inverse(aqz_model *m, aqz_error *err)
{
	const uint64_t half = m->config.head_dim / 2;
	void *inverse, *memory;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(&m->budget, &inverse, half * sizeof(double), "the rotary angles", err));
	aqz_rope_frequencies(inverse, &m->config);
	status = aqz_model_hold(m, &memory, half * sizeof(float), "the rotary angles", err);
	if (status == AQZ_OK) {
		m->rope_inverse = memory;
		for (uint64_t i = 0; i < half; i++)
			m->rope_inverse[i] = (float)((double *)inverse)[i];
	}
	aqz_budget_free(&m->budget, inverse, half * sizeof(double));
out:
	return status;
}
