/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of a configuration, so that no size that is made of it overflows, whatever file it came from. */
#include <math.h>

#include "model/model.h"

#define MAX_LAYERS 1024u
#define MAX_HIDDEN (1u << 20)
#define MAX_INTERMEDIATE (1u << 24)
#define MAX_HEADS (1u << 16)
#define MAX_HEAD_DIM (1u << 14)
#define MAX_VOCABULARY (1u << 28)
#define MAX_POSITIONS (1u << 30)
/* Of all heads together. With it every matrix has at most 2^28 * 2^20 elements. */
#define MAX_HEADS_DIM (UINT64_C(1) << 24)

static aqz_status corrupt(aqz_error *err, const char *where, const char *text)
{
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "%s", text);
}

static aqz_status check_counts(const aqz_model_config *c, aqz_error *err)
{
	const struct {
		const char *name;
		uint32_t value, most;
	} counts[] = {
		{"num_hidden_layers", c->n_layers, MAX_LAYERS},
		{"hidden_size", c->hidden, MAX_HIDDEN},
		{"intermediate_size", c->intermediate, MAX_INTERMEDIATE},
		{"num_attention_heads", c->n_heads, MAX_HEADS},
		{"num_key_value_heads", c->n_kv_heads, MAX_HEADS},
		{"head_dim", c->head_dim, MAX_HEAD_DIM},
		{"vocab_size", c->vocabulary, MAX_VOCABULARY},
		{"max_position_embeddings", c->max_positions, MAX_POSITIONS},
	};

	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		if (counts[i].value == 0 || counts[i].value > counts[i].most)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, counts[i].name,
				"%u is not within 1 and %u", counts[i].value, counts[i].most);
	if (c->n_heads % c->n_kv_heads != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "num_key_value_heads",
			"the %u attention heads are no multiple of %u", c->n_heads, c->n_kv_heads);
	if (c->head_dim % 2 != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "head_dim",
			"%u is odd: RoPE needs pairs", c->head_dim);
	if ((uint64_t)c->n_heads * c->head_dim > MAX_HEADS_DIM)
		return corrupt(err, "head_dim", "the attention heads have too many dimensions together");
	return AQZ_OK;
}

/* True if x is finite and within [least, most]. */
static bool within(double x, double least, double most)
{
	return isfinite(x) && x >= least && x <= most;
}

static aqz_status check_rope(const aqz_model_config *c, aqz_error *err)
{
	if (!within(c->rope_theta, 1e-6, 1e30))
		return corrupt(err, "rope_theta", "it is no positive number of a possible size");
	if (c->rope_scaling == AQZ_ROPE_PLAIN)
		return AQZ_OK;
	if (c->rope_scaling != AQZ_ROPE_LINEAR && c->rope_scaling != AQZ_ROPE_LLAMA3)
		return corrupt(err, "rope_scaling", "there is no such kind");
	if (!within(c->rope_factor, 1e-6, 1e9))
		return corrupt(err, "rope_scaling.factor", "it is no positive number of a possible size");
	if (c->rope_scaling == AQZ_ROPE_LINEAR)
		return AQZ_OK;
	if (!within(c->rope_low, 1e-6, 1e9))
		return corrupt(
			err, "rope_scaling.low_freq_factor", "it is no positive number of a possible size");
	if (!within(c->rope_high, 1e-6, 1e9) || c->rope_high <= c->rope_low)
		return corrupt(
			err, "rope_scaling.high_freq_factor", "it is not above the low frequency factor");
	if (c->rope_original == 0 || c->rope_original > MAX_POSITIONS)
		return corrupt(err, "rope_scaling.original_max_position_embeddings", "it is out of range");
	return AQZ_OK;
}

aqz_status aqz_config_check(const aqz_model_config *c, aqz_error *err)
{
	aqz_status status;

	if (c->family < AQZ_LLAMA || c->family > AQZ_QWEN3)
		return corrupt(err, "model_type", "there is no such family of models");
	AQZ_TRY(check_counts(c, err));
	AQZ_TRY(check_rope(c, err));
	if (!within(c->rms_eps, 1e-30, 1))
		return corrupt(err, "rms_norm_eps", "it is not within 1e-30 and 1");
	if (c->window != 0 && c->window_from >= c->n_layers)
		return corrupt(err, "sliding_window", "it holds for no layer");
	if (c->n_eos > AQZ_MAX_STOP_TOKENS)
		return corrupt(err, "eos_token_id", "there are too many");
	if (c->bos != AQZ_NO_TOKEN && c->bos >= c->vocabulary)
		return corrupt(err, "bos_token_id", "it is beyond the vocabulary");
	for (uint32_t i = 0; i < c->n_eos; i++)
		if (c->eos[i] >= c->vocabulary)
			return corrupt(err, "eos_token_id", "it is beyond the vocabulary");
out:
	return status;
}
