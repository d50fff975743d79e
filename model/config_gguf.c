/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a GGUF file: keys "llama.block_count" and so on, and what its tensors tell. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h> /* snprintf */

#include "model/load.h"

#define KEY_BYTES 64

/* A file, and the architecture that stands before its keys. */
typedef struct metadata {
	const aqz_gguf *g;
	char architecture[16];
	aqz_error *err;
} metadata;

static const struct {
	const char *name;
	aqz_model_family family;
} architectures[] = {
	{"llama", AQZ_LLAMA}, {"mistral", AQZ_LLAMA}, {"qwen2", AQZ_QWEN2}, {"qwen3", AQZ_QWEN3}};

static void key_of(char key[KEY_BYTES], const metadata *m, const char *name)
{
	snprintf(key, KEY_BYTES, "%s.%s", m->architecture, name);
}

/* A single number or flag, NULL if there is none of that name. */
static const aqz_gguf_value *find(const metadata *m, const char *name)
{
	char key[KEY_BYTES];

	key_of(key, m, name);
	return aqz_gguf_find(m->g, key);
}

static aqz_status AQZ_PRINTF(4, 5)
	fail(const metadata *m, aqz_status status, const char *name, const char *text, ...)
{
	char key[KEY_BYTES], line[192];
	va_list args;

	key_of(key, m, name);
	va_start(args, text);
	vsnprintf(line, sizeof line, text, args);
	va_end(args);
	return aqz_fail(m->err, status, AQZ_NO_OFFSET, key, "%s", line);
}

/* A count of at least 1; *out stays if it is absent and not required. */
static aqz_status get_count(uint32_t *out, const metadata *m, const char *name, bool required)
{
	const aqz_gguf_value *v = find(m, name);
	int64_t value;

	if (v == NULL)
		return required ? fail(m, AQZ_E_CORRUPT, name, "the metadata do not have it") : AQZ_OK;
	if (v->array)
		return fail(m, AQZ_E_UNSUPPORTED, name, "a value for each layer is not supported");
	if (!aqz_gguf_integer(v, 0, &value))
		return fail(m, AQZ_E_CORRUPT, name, "it is no integer");
	if (value < 1 || value > (1 << 30))
		return fail(m, AQZ_E_CORRUPT, name, "%lld is not within 1 and 2^30", (long long)value);
	*out = (uint32_t)value;
	return AQZ_OK;
}

static aqz_status get_number(double *out, const metadata *m, const char *name, bool required)
{
	const aqz_gguf_value *v = find(m, name);

	if (v == NULL)
		return required ? fail(m, AQZ_E_CORRUPT, name, "the metadata do not have it") : AQZ_OK;
	if (v->array || !aqz_gguf_double(v, 0, out))
		return fail(m, AQZ_E_CORRUPT, name, "it is no number");
	return AQZ_OK;
}

/* ---- Shape */

static aqz_status get_family(aqz_model_config *c, metadata *m)
{
	static const char key[] = "general.architecture";
	const aqz_gguf_value *v = aqz_gguf_find(m->g, key);
	size_t n = 0;
	const char *name = v != NULL && v->kind == AQZ_GGUF_STRING && !v->array
		? aqz_gguf_string(m->g, v, 0, &n)
		: NULL;

	if (name == NULL)
		return aqz_fail(
			m->err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, key, "the metadata do not name the architecture");
	for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
		if (strlen(architectures[i].name) == n && memcmp(architectures[i].name, name, n) == 0) {
			strcpy(m->architecture, architectures[i].name);
			c->family = architectures[i].family;
			return AQZ_OK;
		}
	return aqz_fail(m->err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, key,
		"the architecture \"%.*s\" is not supported; llama, qwen2 and qwen3 are",
		(int)aqz_min(n, 40), name);
}

/* What would make another model of it. */
static aqz_status refuse_others(const aqz_model_config *c, const metadata *m)
{
	static const char *const none[] = {"expert_count", "attention.sliding_window",
		"embedding_scale", "residual_scale", "attention.scale", "logit_scale"};
	const aqz_gguf_value *v;
	uint32_t same = c->head_dim;
	double value;
	aqz_status status;

	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		v = find(m, none[i]);
		if (v == NULL || (!v->array && aqz_gguf_double(v, 0, &value) && !(value > 0 || value < 0)))
			continue;
		if (i == 1 && !v->array && aqz_gguf_double(v, 0, &value) && value >= c->max_positions)
			continue; /* a window that nothing leaves */
		return fail(m, AQZ_E_UNSUPPORTED, none[i], "a model that has it is not supported");
	}
	AQZ_TRY(get_count(&same, m, "rope.dimension_count", false));
	if (same != c->head_dim)
		return fail(m, AQZ_E_UNSUPPORTED, "rope.dimension_count",
			"%u of a head's %u dimensions are rotated, which is not supported", same, c->head_dim);
	AQZ_TRY(get_count(&same, m, "attention.value_length", false));
	if (same != c->head_dim)
		return fail(m, AQZ_E_UNSUPPORTED, "attention.value_length",
			"%u dimensions for values and %u for keys are not supported", same, c->head_dim);
out:
	return status;
}

static aqz_status get_shape(aqz_model_config *c, const metadata *m)
{
	const aqz_gguf_tensor *embedding = aqz_gguf_tensor_find(m->g, "token_embd.weight");
	const aqz_gguf_value *split = aqz_gguf_find(m->g, "split.count");
	int64_t n_files;
	aqz_status status;

	if (split != NULL && (!aqz_gguf_integer(split, 0, &n_files) || n_files > 1))
		return aqz_fail(m->err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "split.count",
			"a model in several GGUF files is not supported; merge them by llama-gguf-split");
	AQZ_TRY(get_count(&c->n_layers, m, "block_count", true));
	AQZ_TRY(get_count(&c->hidden, m, "embedding_length", true));
	AQZ_TRY(get_count(&c->intermediate, m, "feed_forward_length", true));
	AQZ_TRY(get_count(&c->n_heads, m, "attention.head_count", true));
	c->n_kv_heads = c->n_heads;
	AQZ_TRY(get_count(&c->n_kv_heads, m, "attention.head_count_kv", false));
	AQZ_TRY(get_count(&c->max_positions, m, "context_length", true));
	AQZ_TRY(get_count(&c->head_dim, m, "attention.key_length", false));
	if (c->head_dim == 0 && c->hidden % c->n_heads != 0)
		return fail(m, AQZ_E_CORRUPT, "attention.head_count",
			"without attention.key_length, the embedding length must be a multiple of it");
	if (c->head_dim == 0)
		c->head_dim = c->hidden / c->n_heads;
	if (embedding == NULL)
		return aqz_fail(m->err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "token_embd.weight",
			"the file does not hold this tensor");
	if (embedding->rank != 2 || embedding->shape[0] == 0 || embedding->shape[0] > 1 << 28)
		return aqz_fail(m->err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "token_embd.weight",
			"the embedding is no matrix of a possible size");
	c->vocabulary = (uint32_t)embedding->shape[0];
	c->tied = aqz_gguf_tensor_find(m->g, "output.weight") == NULL;
	c->qkv_bias = aqz_gguf_tensor_find(m->g, "blk.0.attn_q.bias") != NULL;
	c->o_bias = aqz_gguf_tensor_find(m->g, "blk.0.attn_output.bias") != NULL;
	c->mlp_bias = aqz_gguf_tensor_find(m->g, "blk.0.ffn_gate.bias") != NULL;
	c->qk_norm = c->family == AQZ_QWEN3;
out:
	return status;
}

/* ---- Rotary positions */

static aqz_status get_scaling(aqz_model_config *c, const metadata *m)
{
	const aqz_gguf_value *v = find(m, "rope.scaling.type");
	const char *name = "none";
	size_t n = 4;
	aqz_status status;

	c->rope_factor = 1;
	AQZ_TRY(get_number(&c->rope_factor, m, "rope.scale_linear", false)); /* of old files */
	AQZ_TRY(get_number(&c->rope_factor, m, "rope.scaling.factor", false));
	if (v != NULL && (v->array || v->kind != AQZ_GGUF_STRING))
		return fail(m, AQZ_E_CORRUPT, "rope.scaling.type", "it is no string");
	if (v != NULL)
		name = aqz_gguf_string(m->g, v, 0, &n);
	const bool linear = n == 6 && memcmp(name, "linear", 6) == 0;
	if (!linear && !(n == 4 && memcmp(name, "none", 4) == 0))
		return fail(m, AQZ_E_UNSUPPORTED, "rope.scaling.type",
			"the scaling \"%.*s\" is not supported; none and linear are", (int)aqz_min(n, 40), name);
	if (linear || (v == NULL && find(m, "rope.scale_linear") != NULL))
		c->rope_scaling = islessgreater(c->rope_factor, 1) ? AQZ_ROPE_LINEAR : AQZ_ROPE_PLAIN;
out:
	return status;
}

aqz_status aqz_config_from_gguf(aqz_model_config *c, const aqz_gguf *g, aqz_error *err)
{
	static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
		"tokenizer.ggml.eom_token_id"};
	const aqz_gguf_value *bos = aqz_gguf_find(g, "tokenizer.ggml.bos_token_id");
	metadata m = {g, "", err};
	double eps;
	int64_t id;
	aqz_status status;

	*c = (aqz_model_config){.bos = AQZ_NO_TOKEN, .rope_theta = 10000};
	AQZ_TRY(get_family(c, &m));
	AQZ_TRY(get_shape(c, &m));
	AQZ_TRY(refuse_others(c, &m));
	AQZ_TRY(get_number(&c->rope_theta, &m, "rope.freq_base", false));
	AQZ_TRY(get_scaling(c, &m));
	AQZ_TRY(get_number(&eps, &m, "attention.layer_norm_rms_epsilon", true));
	c->rms_eps = eps >= 1e-30 && eps <= 1 ? (float)eps : 0;
	if (bos != NULL && aqz_gguf_integer(bos, 0, &id) && id >= 0 && id < c->vocabulary)
		c->bos = (uint32_t)id;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		const aqz_gguf_value *v = aqz_gguf_find(g, ends[i]);
		bool known = false;

		if (v == NULL || !aqz_gguf_integer(v, 0, &id) || id < 0 || id >= c->vocabulary)
			continue;
		for (uint32_t k = 0; k < c->n_eos; k++)
			known = known || c->eos[k] == (uint32_t)id;
		if (!known)
			c->eos[c->n_eos++] = (uint32_t)id;
	}
	AQZ_TRY(aqz_config_check(c, err));
out:
	return status;
}
