/* SPDX-License-Identifier: Apache-2.0 */
/* config.json of Hugging Face to a configuration. Fields that change what a model computes are either understood or
 * refused by name; others (dropout, initialisation, caches) are not looked at. */
#include "model/config_json.h"
#include "model/load.h"

/* id2label and the like nest no deeper. */
#define MAX_DEPTH 32
#define MOST (1u << 30)

static aqz_status parse_family(const aqz_family **out, const aqz_fields *f)
{
	const char *type = json_string_value(json_object_get(f->json, "model_type"));
	const json_t *classes = aqz_field(f, "architectures");
	const char *name = json_string_value(json_array_get(classes, 0));

	if (type == NULL)
		return aqz_field_fail(f, AQZ_E_CORRUPT, "model_type", "config.json does not name the type");
	*out = aqz_family_find(type);
	if (*out == NULL)
		return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "model_type",
			"models of type \"%.40s\" are not supported; llama, mistral, qwen2 and qwen3 are", type);
	if (classes == NULL || (json_is_array(classes) && json_array_size(classes) == 0))
		return AQZ_OK;
	if (name == NULL)
		return aqz_field_fail(
			f, AQZ_E_CORRUPT, "architectures", "in config.json this is no list of names");
	const size_t n = strlen((*out)->class_name);
	if (strncmp(name, (*out)->class_name, n) != 0 ||
		(strcmp(name + n, "ForCausalLM") != 0 && strcmp(name + n, "Model") != 0))
		return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "architectures",
			"\"%.60s\" is not supported; %sForCausalLM is", name, (*out)->class_name);
	return AQZ_OK;
}

static aqz_status parse_shape(aqz_model_config *c, const aqz_family *family, const aqz_fields *f)
{
	aqz_status status;

	AQZ_TRY(aqz_field_count(&c->hidden, f, "hidden_size", true, MOST));
	AQZ_TRY(aqz_field_count(&c->intermediate, f, "intermediate_size", true, MOST));
	AQZ_TRY(aqz_field_count(&c->n_layers, f, "num_hidden_layers", true, 1024));
	AQZ_TRY(aqz_field_count(&c->n_heads, f, "num_attention_heads", true, MOST));
	AQZ_TRY(aqz_field_count(&c->vocabulary, f, "vocab_size", true, MOST));
	c->max_positions = family->max_positions;
	AQZ_TRY(aqz_field_count(&c->max_positions, f, "max_position_embeddings", false, MOST));
	if (json_object_get(f->json, "num_key_value_heads") == NULL)
		c->n_kv_heads = family->n_kv_heads;
	else if (aqz_field(f, "num_key_value_heads") != NULL)
		AQZ_TRY(aqz_field_count(&c->n_kv_heads, f, "num_key_value_heads", true, MOST));
	if (c->n_kv_heads == 0)
		c->n_kv_heads = c->n_heads;
	if (json_object_get(f->json, "head_dim") == NULL)
		c->head_dim = family->head_dim;
	else if (aqz_field(f, "head_dim") != NULL)
		AQZ_TRY(aqz_field_count(&c->head_dim, f, "head_dim", true, MOST));
	if (c->head_dim == 0) {
		if (c->hidden % c->n_heads != 0)
			return aqz_field_fail(f, AQZ_E_CORRUPT, "num_attention_heads",
				"without head_dim, the hidden size of %u must be a multiple of %u heads", c->hidden,
				c->n_heads);
		c->head_dim = c->hidden / c->n_heads;
	}
out:
	return status;
}

/* What linears have besides their weights. */
static aqz_status parse_biases(aqz_model_config *c, const aqz_fields *f)
{
	bool attention = false, mlp = false;
	aqz_status status;

	AQZ_TRY(aqz_field_flag(&attention, f, "attention_bias"));
	AQZ_TRY(aqz_field_flag(&mlp, f, "mlp_bias"));
	if (attention && c->family == AQZ_MISTRAL)
		return aqz_field_fail(
			f, AQZ_E_UNSUPPORTED, "attention_bias", "models of type mistral have no such biases");
	if (mlp && c->family != AQZ_LLAMA)
		return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "mlp_bias", "only models of type llama have it");
	c->qkv_bias = attention || c->family == AQZ_QWEN2;
	c->o_bias = attention && c->family != AQZ_QWEN2;
	c->mlp_bias = mlp;
	c->qk_norm = c->family == AQZ_QWEN3;
out:
	return status;
}

/* Fields that would make another model of it. */
static aqz_status refuse_others(const aqz_fields *f)
{
	static const char *const flags[] = {"rope_interleaved", "use_mrope", "use_qk_norm",
		"add_cross_attention", "is_encoder_decoder"};
	const json_t *quantization = aqz_field(f, "quantization_config");
	const char *act = "silu";
	aqz_status status = AQZ_OK;

	if (quantization != NULL) {
		const char *method = json_string_value(json_object_get(quantization, "quant_method"));

		return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "quantization_config",
			"weights quantized by \"%.40s\" are not supported", method != NULL ? method : "?");
	}
	if (json_object_get(f->json, "hidden_act") != NULL)
		act = json_string_value(json_object_get(f->json, "hidden_act"));
	if (act == NULL)
		return aqz_field_fail(f, AQZ_E_CORRUPT, "hidden_act", "in config.json this is no string");
	if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
		return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "hidden_act",
			"the activation \"%.40s\" is not supported; silu is", act);
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		bool set = false;

		if (aqz_field(f, flags[i]) != NULL)
			AQZ_TRY(aqz_field_flag(&set, f, flags[i]));
		if (set)
			return aqz_field_fail(f, AQZ_E_UNSUPPORTED, flags[i], "true is not supported");
	}
out:
	return status;
}

/* ---- Tokens */

/* -1 is none. */
static aqz_status parse_token(uint32_t *out, const json_t *value, const aqz_fields *f, const char *key)
{
	if (!json_is_integer(value))
		return aqz_field_fail(f, AQZ_E_CORRUPT, key, "this is no token id");
	*out = AQZ_NO_TOKEN;
	if (json_integer_value(value) == -1)
		return AQZ_OK;
	if (json_integer_value(value) < 0 || json_integer_value(value) >= (json_int_t)AQZ_NO_TOKEN)
		return aqz_field_fail(
			f, AQZ_E_CORRUPT, key, "%lld is no token id", (long long)json_integer_value(value));
	*out = (uint32_t)json_integer_value(value);
	return AQZ_OK;
}

/* Adds an end token, or a list of them. Ids beyond the vocabulary are left out: the model has none of these tokens, but
 * takes and gives others. */
static aqz_status add_ends(aqz_model_config *c, const json_t *eos, const aqz_fields *f)
{
	static const char key[] = "eos_token_id";
	const size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
	aqz_status status = AQZ_OK;

	for (size_t i = 0; i < n; i++) {
		uint32_t id, k = 0;

		AQZ_TRY(parse_token(&id, json_is_array(eos) ? json_array_get(eos, i) : eos, f, key));
		while (k < c->n_eos && c->eos[k] != id)
			k++;
		if (id >= c->vocabulary || k < c->n_eos)
			continue;
		if (c->n_eos == AQZ_MAX_STOP_TOKENS)
			return aqz_field_fail(f, AQZ_E_UNSUPPORTED, key,
				"more than %d end tokens are not supported", AQZ_MAX_STOP_TOKENS);
		c->eos[c->n_eos++] = id;
	}
out:
	return status;
}

static aqz_status parse_tokens(aqz_model_config *c, const aqz_family *family, const aqz_fields *f)
{
	const json_t *bos = json_object_get(f->json, "bos_token_id");
	const json_t *eos = json_object_get(f->json, "eos_token_id");
	aqz_status status = AQZ_OK;

	c->bos = bos == NULL ? family->bos : AQZ_NO_TOKEN;
	if (bos != NULL && !json_is_null(bos))
		AQZ_TRY(parse_token(&c->bos, bos, f, "bos_token_id"));
	if (c->bos >= c->vocabulary)
		c->bos = AQZ_NO_TOKEN;
	if (eos != NULL && !json_is_null(eos))
		AQZ_TRY(add_ends(c, eos, f));
	else if (eos == NULL && family->eos < c->vocabulary)
		c->eos[c->n_eos++] = family->eos;
out:
	return status;
}

/* ---- All of it */

static aqz_status parse_object(aqz_model_config *c, const aqz_fields *f)
{
	const aqz_family *family = NULL;
	double eps = 1e-6;
	aqz_status status;

	*c = (aqz_model_config){0};
	AQZ_TRY(parse_family(&family, f));
	c->family = family->family;
	AQZ_TRY(refuse_others(f));
	AQZ_TRY(parse_shape(c, family, f));
	AQZ_TRY(parse_biases(c, f));
	AQZ_TRY(aqz_config_parse_rope(c, f));
	AQZ_TRY(aqz_config_parse_window(c, f));
	AQZ_TRY(aqz_field_number(&eps, f, "rms_norm_eps", false));
	c->rms_eps = (float)eps;
	AQZ_TRY(aqz_field_flag(&c->tied, f, "tie_word_embeddings"));
	AQZ_TRY(parse_tokens(c, family, f));
	AQZ_TRY(aqz_config_check(c, f->err));
out:
	return status;
}

/* A file that is one object. use: what to do with it. */
static aqz_status parse_file(aqz_model_config *c, const char *json, size_t n, const aqz_fields *file,
	const char *where, aqz_status (*use)(aqz_model_config *c, const aqz_fields *f))
{
	aqz_budget budget = {0};
	aqz_error *err = file->err;
	aqz_json_count count;
	aqz_fields f = *file;
	json_t *tree = NULL;
	uint64_t charged = 0;
	size_t begin, end;
	aqz_status status;

	if (n > AQZ_CONFIG_MAX_BYTES)
		return aqz_fail(
			err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where, "it has %zu bytes, more than 1 MiB", n);
	begin = aqz_json_space(json, n, 0);
	if (begin == n || json[begin] != '{')
		return aqz_fail(err, AQZ_E_CORRUPT, begin, where, "it is no JSON object");
	AQZ_TRY(aqz_json_walk(&count, &end, json, n, begin, MAX_DEPTH, 0, where, err));
	if (aqz_json_space(json, n, end) != n)
		return aqz_fail(err, AQZ_E_CORRUPT, end, where, "text follows the JSON object");
	AQZ_TRY(aqz_json_load(
		&tree, &charged, &budget, &count, json + begin, end - begin, begin, where, err));
	f.json = tree;
	AQZ_TRY(use(c, &f));
out:
	if (tree != NULL)
		aqz_json_free(tree, charged, &budget);
	return status;
}

aqz_status aqz_config_parse(aqz_model_config *c, const char *json, size_t n, aqz_error *err)
{
	const aqz_fields f = {NULL, "", err};

	return parse_file(c, json, n, &f, "config.json", parse_object);
}

static aqz_status parse_generation(aqz_model_config *c, const aqz_fields *f)
{
	const json_t *eos = aqz_field(f, "eos_token_id");

	return eos != NULL ? add_ends(c, eos, f) : AQZ_OK;
}

aqz_status aqz_config_add_ends(aqz_model_config *c, const char *json, size_t n, aqz_error *err)
{
	const aqz_fields f = {NULL, "generation_config.", err};

	return parse_file(c, json, n, &f, "generation_config.json", parse_generation);
}
