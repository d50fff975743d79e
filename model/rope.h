/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary positions (Su et al., arXiv:2104.09864) in the order of halves: pairs (i, i + head_dim / 2). */
#ifndef AQZ_MODEL_ROPE_H
#define AQZ_MODEL_ROPE_H

#include "model/forward.h"

/* Cosines and sines of a batch's tokens; made anew only where a token's position is another than before. */
typedef struct aqz_rope {
	size_t max_tokens, half;
	const float *inverse; /* of the model */
	uint64_t *position;   /* [max_tokens], of what stands in cosine and sine */
	float *cosine, *sine; /* [max_tokens][half] */
	uint64_t n_bytes;     /* of the one allocation */
} aqz_rope;

aqz_status aqz_rope_open(aqz_rope *rope, const aqz_model *m, size_t max_tokens, aqz_budget *budget, aqz_error *err);
void aqz_rope_close(aqz_rope *rope, aqz_budget *budget);

/* Makes it hold the positions of this batch's tokens. */
void aqz_rope_set(aqz_rope *rope, const aqz_batch *batch, unsigned n_threads);
/* Turns n_heads heads of head_dim of token t at x. */
void aqz_rope_apply(const aqz_rope *rope, float *x, size_t t, uint32_t n_heads);
/* The transpose of that: turns back, for gradients. */
void aqz_rope_apply_back(const aqz_rope *rope, float *x, size_t t, uint32_t n_heads);

#endif
