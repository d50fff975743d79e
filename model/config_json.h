/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of config.json, for its reader and its writer. */
#ifndef AQZ_MODEL_CONFIG_JSON_H
#define AQZ_MODEL_CONFIG_JSON_H

#include "interop/json_text.h"
#include "model/model.h"

/* What transformers has for a model_type. A field that is absent counts as it does there; null counts as absent where
 * transformers derives the value. */
typedef struct aqz_family {
	aqz_model_family family;
	const char *model_type, *class_name;
	uint32_t max_positions, n_kv_heads, head_dim; /* of an absent field; 0 = derived */
	uint32_t bos, eos;
} aqz_family;

const aqz_family *aqz_family_find(const char *model_type);
const aqz_family *aqz_family_get(aqz_model_family family);

/* An object of the JSON and what stands before its fields' names in errors. */
typedef struct aqz_fields {
	const json_t *json;
	const char *prefix; /* "" or "rope_scaling." */
	aqz_error *err;
} aqz_fields;

/* Fails with the field's name as the place. */
aqz_status aqz_field_fail(const aqz_fields *f, aqz_status status, const char *key, const char *text, ...)
	AQZ_PRINTF(4, 5);
/* The value, or NULL if it is absent or null. */
json_t *aqz_field(const aqz_fields *f, const char *key);
/* These leave *out as it is if the field is absent and not required. An explicit null is of the wrong type. */
aqz_status aqz_field_count(uint32_t *out, const aqz_fields *f, const char *key, bool required, uint32_t most);
aqz_status aqz_field_number(double *out, const aqz_fields *f, const char *key, bool required);
aqz_status aqz_field_flag(bool *out, const aqz_fields *f, const char *key);

/* rope_theta, rope_scaling, rope_parameters. c->max_positions is known. */
aqz_status aqz_config_parse_rope(aqz_model_config *c, const aqz_fields *f);
/* sliding_window, use_sliding_window, max_window_layers, layer_types. c->family and n_layers are known. */
aqz_status aqz_config_parse_window(aqz_model_config *c, const aqz_fields *f);

#endif
