/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary positions: angles of a batch's tokens, and turning. */
#include <math.h>

#include "model/rope.h"

aqz_status aqz_rope_open(
	aqz_rope *rope, const aqz_model *m, size_t max_tokens, aqz_budget *budget, aqz_error *err)
{
	const uint64_t half = m->config.head_dim / 2;
	uint64_t each = 2 * half * sizeof(float) + sizeof *rope->position;
	void *memory;
	aqz_status status;

	*rope = (aqz_rope){.max_tokens = max_tokens, .half = (size_t)half, .inverse = m->rope_inverse};
	if (!aqz_mul(&rope->n_bytes, each, max_tokens))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"%zu tokens at a time are too many", max_tokens);
	AQZ_TRY(aqz_budget_alloc(budget, &memory, rope->n_bytes, "rotary angles", err));
	rope->position = memory;
	rope->cosine = (float *)(rope->position + max_tokens);
	rope->sine = rope->cosine + max_tokens * rope->half;
	for (size_t t = 0; t < max_tokens; t++)
		rope->position[t] = UINT64_MAX;
out:
	return status;
}

void aqz_rope_close(aqz_rope *rope, aqz_budget *budget)
{
	if (rope->position != NULL)
		aqz_budget_free(budget, rope->position, rope->n_bytes);
	*rope = (aqz_rope){0};
}

/* Angles are rounded to binary32 before their cosines are taken, as transformers does: at position 8000 that is up to
 * 2.4e-4, which is more than the error of all else here. */
static void set_token(aqz_rope *rope, size_t t, uint64_t position)
{
	if (rope->position[t] == position)
		return;
	rope->position[t] = position;
	for (size_t i = 0; i < rope->half; i++) {
		const double angle = (float)position * rope->inverse[i];

		rope->cosine[t * rope->half + i] = (float)cos(angle);
		rope->sine[t * rope->half + i] = (float)sin(angle);
	}
}

void aqz_rope_set(aqz_rope *rope, const aqz_batch *batch, unsigned n_threads)
{
	(void)n_threads;
	for (uint32_t s = 0; s < batch->n_sequences; s++) {
		const size_t begin = batch->begin[s], end = batch->begin[s + 1];
		const size_t past = batch->past != NULL ? batch->past[s] : 0;

#pragma omp parallel for num_threads(n_threads) schedule(static) if (end - begin > 4)
		for (size_t t = begin; t < end; t++)
			set_token(rope, t, past + (t - begin));
	}
}

void aqz_rope_apply(const aqz_rope *rope, float *x, size_t t, uint32_t n_heads)
{
	const aqz_math *math = aqz_math_best();

	for (uint32_t h = 0; h < n_heads; h++, x += 2 * rope->half)
		math->rotate(x, rope->cosine + t * rope->half, rope->sine + t * rope->half, rope->half);
}

void aqz_rope_apply_back(const aqz_rope *rope, float *x, size_t t, uint32_t n_heads)
{
	const float *cosine = rope->cosine + t * rope->half, *sine = rope->sine + t * rope->half;

	for (uint32_t h = 0; h < n_heads; h++, x += 2 * rope->half)
		for (size_t i = 0; i < rope->half; i++) {
			const float a = x[i], b = x[rope->half + i];

			x[i] = a * cosine[i] + b * sine[i];
			x[rope->half + i] = b * cosine[i] - a * sine[i];
		}
}
