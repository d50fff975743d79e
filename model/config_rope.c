/* SPDX-License-Identifier: Apache-2.0 */
/* Positions in config.json: rotary angles in the old form and in that of transformers 5, and sliding windows. */
#include "model/config_json.h"

#define MOST_POSITIONS (1u << 30)

/* ---- Rotary angles */

/* A part of each head's dimensions may be turned only; here it is all of them. */
static aqz_status check_partial(const aqz_fields *f)
{
	double part = 1;
	aqz_status status = AQZ_OK;

	if (aqz_field(f, "partial_rotary_factor") != NULL)
		AQZ_TRY(aqz_field_number(&part, f, "partial_rotary_factor", false));
	if (part != 1)
		return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "partial_rotary_factor",
			"%g is not supported: all dimensions of a head must be rotated", part);
out:
	return status;
}

/* A number of positions, which some files have as a real; *out stays if it is absent. */
static aqz_status parse_positions(uint32_t *out, const aqz_fields *f, const char *key)
{
	const json_t *value = json_object_get(f->json, key);
	const double real = json_real_value(value); /* 0 of all that is no real */

	if (!(real >= 1 && real <= MOST_POSITIONS && real == (double)(uint32_t)real))
		return aqz_field_count(out, f, key, false, MOST_POSITIONS);
	*out = (uint32_t)real;
	return AQZ_OK;
}

/* The length that Llama 3.1's scaling starts from: in the object, at the top, or the model's own. */
static aqz_status parse_original(aqz_model_config *c, const aqz_fields *f, const aqz_fields *rope)
{
	static const char key[] = "original_max_position_embeddings";
	uint32_t outer = 0;
	aqz_status status;

	c->rope_original = 0;
	if (aqz_field(f, key) != NULL)
		AQZ_TRY(parse_positions(&outer, f, key));
	AQZ_TRY(parse_positions(&c->rope_original, rope, key));
	if (outer != 0 && c->rope_original != 0 && outer != c->rope_original)
		return aqz_field_fail(
			f, AQZ_E_UNSUPPORTED, key, "config.json has two values of it, which differ");
	if (c->rope_original == 0)
		c->rope_original = outer != 0 ? outer : c->max_positions;
out:
	return status;
}

static aqz_status parse_scaling(aqz_model_config *c, const aqz_fields *f, const aqz_fields *rope)
{
	const json_t *kind = json_object_get(rope->json, "rope_type");
	const char *key = kind != NULL ? "rope_type" : "type", *name;
	aqz_status status;

	if (kind == NULL)
		kind = json_object_get(rope->json, "type");
	name = kind == NULL ? "default" : json_string_value(kind);
	if (name == NULL)
		return aqz_field_fail(rope, AQZ_E_CORRUPT, key, "in config.json this is no string");
	if (strcmp(name, "default") == 0)
		return AQZ_OK;
	if (strcmp(name, "linear") != 0 && strcmp(name, "llama3") != 0)
		return aqz_field_fail(rope, AQZ_E_UNSUPPORTED, key,
			"the scaling \"%.40s\" is not supported; default, linear and llama3 are", name);
	AQZ_TRY(aqz_field_number(&c->rope_factor, rope, "factor", true));
	c->rope_scaling = AQZ_ROPE_LINEAR;
	if (strcmp(name, "linear") == 0)
		return AQZ_OK;
	c->rope_scaling = AQZ_ROPE_LLAMA3;
	AQZ_TRY(aqz_field_number(&c->rope_low, rope, "low_freq_factor", true));
	AQZ_TRY(aqz_field_number(&c->rope_high, rope, "high_freq_factor", true));
	AQZ_TRY(parse_original(c, f, rope));
out:
	return status;
}

aqz_status aqz_config_parse_rope(aqz_model_config *c, const aqz_fields *f)
{
	static const char *const keys[2] = {"rope_scaling", "rope_parameters"};
	static const char *const prefixes[2] = {"rope_scaling.", "rope_parameters."};
	aqz_fields rope = {NULL, "", f->err};
	aqz_status status;

	c->rope_theta = 10000;
	c->rope_scaling = AQZ_ROPE_PLAIN;
	AQZ_TRY(aqz_field_number(&c->rope_theta, f, "rope_theta", false));
	AQZ_TRY(check_partial(f));
	for (int i = 0; i < 2; i++) {
		const json_t *object = aqz_field(f, keys[i]);

		if (object != NULL && !json_is_object(object))
			return aqz_field_fail(f, AQZ_E_CORRUPT, keys[i], "in config.json this is no object");
		/* The older form counts where there are both; an empty object is none. */
		if (rope.json == NULL && json_object_size(object) > 0) {
			rope.json = object;
			rope.prefix = prefixes[i];
		}
	}
	if (rope.json == NULL)
		return AQZ_OK;
	for (void *at = json_object_iter((json_t *)(uintptr_t)rope.json); at != NULL;
		 at = json_object_iter_next((json_t *)(uintptr_t)rope.json, at))
		if (json_is_object(json_object_iter_value(at)))
			return aqz_field_fail(&rope, AQZ_E_UNSUPPORTED, json_object_iter_key(at),
				"angles that differ between kinds of layers are not supported");
	AQZ_TRY(aqz_field_number(&c->rope_theta, &rope, "rope_theta", false));
	AQZ_TRY(check_partial(&rope));
	AQZ_TRY(parse_scaling(c, f, &rope));
out:
	return status;
}

/* ---- Windows */

/* The first of the sliding layers, which must be the last ones; n_layers if there is none. */
static aqz_status parse_layer_types(uint32_t *from, const aqz_model_config *c, const aqz_fields *f)
{
	static const char key[] = "layer_types";
	const json_t *types = aqz_field(f, key);

	if (!json_is_array(types) || json_array_size(types) != c->n_layers)
		return aqz_field_fail(f, AQZ_E_CORRUPT, key,
			"in config.json this is no list of %u kinds of layers", c->n_layers);
	*from = c->n_layers;
	for (uint32_t i = 0; i < c->n_layers; i++) {
		const char *type = json_string_value(json_array_get(types, i));

		if (type == NULL)
			return aqz_field_fail(
				f, AQZ_E_CORRUPT, key, "in config.json a layer's kind is no string");
		if (strcmp(type, "sliding_attention") == 0) {
			*from = *from == c->n_layers ? i : *from;
		} else if (strcmp(type, "full_attention") != 0) {
			return aqz_field_fail(
				f, AQZ_E_UNSUPPORTED, key, "layers of the kind \"%.40s\" are not supported", type);
		} else if (*from != c->n_layers) {
			return aqz_field_fail(f, AQZ_E_UNSUPPORTED, key,
				"layer %u has full attention behind sliding ones, which is not supported", i);
		}
	}
	return AQZ_OK;
}

aqz_status aqz_config_parse_window(aqz_model_config *c, const aqz_fields *f)
{
	static const char key[] = "sliding_window";
	const bool qwen = c->family == AQZ_QWEN2 || c->family == AQZ_QWEN3;
	bool used = c->family == AQZ_MISTRAL;
	uint32_t window = 4096, from = used ? 0 : c->n_layers, layers = 28;
	aqz_status status = AQZ_OK;

	if (qwen)
		AQZ_TRY(aqz_field_flag(&used, f, "use_sliding_window"));
	if (c->family == AQZ_LLAMA && aqz_field(f, key) != NULL)
		return aqz_field_fail(
			f, AQZ_E_UNSUPPORTED, key, "models of type llama have no sliding window");
	if (json_is_null(json_object_get(f->json, key)))
		used = false;
	else if (used)
		AQZ_TRY(aqz_field_count(&window, f, key, false, MOST_POSITIONS));
	if (aqz_field(f, "layer_types") != NULL) {
		AQZ_TRY(parse_layer_types(&from, c, f));
		if (!used && from != c->n_layers)
			return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "layer_types",
				"layer %u slides, but no sliding window is in use", from);
		if (c->family == AQZ_MISTRAL && used && from != 0)
			return aqz_field_fail(f, AQZ_E_UNSUPPORTED, "layer_types",
				"in models of type mistral all layers slide or none");
	} else if (qwen && used) {
		const json_t *value = json_object_get(f->json, "max_window_layers");

		/* 0 is possible: all layers slide. */
		if (json_is_integer(value) && json_integer_value(value) == 0)
			layers = 0;
		else
			AQZ_TRY(aqz_field_count(&layers, f, "max_window_layers", false, MOST_POSITIONS));
		from = layers < c->n_layers ? layers : c->n_layers;
	}
	if (used && from < c->n_layers) {
		c->window = window;
		c->window_from = from;
	}
out:
	return status;
}
