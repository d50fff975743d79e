/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a model are called, what shape they have, and the memory they live in. */
#include <stdio.h> /* snprintf */

#include "model/load.h"

static const char *const modules[AQZ_N_LINEARS] = {
	[AQZ_LINEAR_Q] = "self_attn.q_proj",
	[AQZ_LINEAR_K] = "self_attn.k_proj",
	[AQZ_LINEAR_V] = "self_attn.v_proj",
	[AQZ_LINEAR_O] = "self_attn.o_proj",
	[AQZ_LINEAR_GATE] = "mlp.gate_proj",
	[AQZ_LINEAR_UP] = "mlp.up_proj",
	[AQZ_LINEAR_DOWN] = "mlp.down_proj",
};

void aqz_linear_name(
	char name[AQZ_WEIGHT_NAME_BYTES], uint32_t layer, aqz_linear_kind kind, const char *suffix)
{
	snprintf(name, AQZ_WEIGHT_NAME_BYTES, "model.layers.%u.%s.%s", layer, modules[kind], suffix);
}

void aqz_linear_shape(const aqz_model_config *c, aqz_linear_kind kind, uint64_t *rows, uint64_t *cols)
{
	const uint64_t q = (uint64_t)c->n_heads * c->head_dim, kv = (uint64_t)c->n_kv_heads * c->head_dim;

	*cols = c->hidden;
	switch (kind) {
	case AQZ_LINEAR_Q:
		*rows = q;
		break;
	case AQZ_LINEAR_K:
	case AQZ_LINEAR_V:
		*rows = kv;
		break;
	case AQZ_LINEAR_O:
		*rows = c->hidden;
		*cols = q;
		break;
	case AQZ_LINEAR_GATE:
	case AQZ_LINEAR_UP:
		*rows = c->intermediate;
		break;
	case AQZ_LINEAR_DOWN:
	case AQZ_N_LINEARS:
	default:
		*rows = c->hidden;
		*cols = c->intermediate;
	}
}

bool aqz_linear_has_bias(const aqz_model_config *c, aqz_linear_kind kind)
{
	if (kind <= AQZ_LINEAR_V)
		return c->qkv_bias;
	return kind == AQZ_LINEAR_O ? c->o_bias : c->mlp_bias;
}

uint32_t aqz_rotary_heads(const aqz_model_config *c, const char *name)
{
	if (strstr(name, ".q_proj.") != NULL)
		return c->n_heads;
	return strstr(name, ".k_proj.") != NULL ? c->n_kv_heads : 0;
}

const char *aqz_plain_name(const char *name)
{
	static const char prefix[] = "model.";

	return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : NULL;
}

aqz_status aqz_model_hold(aqz_model *m, void **p, uint64_t n_bytes, const char *what, aqz_error *err)
{
	struct aqz_model_held *held;
	aqz_status status;

	*p = NULL;
	held = calloc(1, sizeof *held);
	if (held == NULL)
		return aqz_fail_nomem(err, sizeof *held);
	status = aqz_budget_alloc(&m->budget, &held->p, n_bytes, what, err);
	if (status != AQZ_OK) {
		free(held);
		return status;
	}
	held->n_bytes = n_bytes;
	held->next = m->held;
	m->held = held;
	*p = held->p;
	return AQZ_OK;
}
