/* SPDX-License-Identifier: Apache-2.0 */
/* Single fields of config.json, each checked for its type and range. */
#include <stdarg.h>
#include <stdio.h> /* snprintf */

#include "model/config_json.h"

static const aqz_family families[] = {
	{AQZ_LLAMA, "llama", "Llama", 2048, 0, 0, 1, 2},
	{AQZ_MISTRAL, "mistral", "Mistral", 131072, 8, 0, 1, 2},
	{AQZ_QWEN2, "qwen2", "Qwen2", 32768, 32, 0, AQZ_NO_TOKEN, AQZ_NO_TOKEN},
	{AQZ_QWEN3, "qwen3", "Qwen3", 32768, 32, 128, AQZ_NO_TOKEN, AQZ_NO_TOKEN},
};

const aqz_family *aqz_family_find(const char *model_type)
{
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (strcmp(families[i].model_type, model_type) == 0)
			return &families[i];
	return NULL;
}

const aqz_family *aqz_family_get(aqz_model_family family)
{
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (families[i].family == family)
			return &families[i];
	return NULL;
}

aqz_status aqz_field_fail(
	const aqz_fields *f, aqz_status status, const char *key, const char *text, ...)
{
	char where[sizeof f->err->where], line[sizeof f->err->text];
	va_list args;

	snprintf(where, sizeof where, "%s%s", f->prefix, key);
	va_start(args, text);
	vsnprintf(line, sizeof line, text, args);
	va_end(args);
	return aqz_fail(f->err, status, AQZ_NO_OFFSET, where, "%s", line);
}

static aqz_status missing(const aqz_fields *f, const char *key)
{
	return aqz_field_fail(f, AQZ_E_CORRUPT, key, "config.json does not have this field");
}

json_t *aqz_field(const aqz_fields *f, const char *key)
{
	json_t *value = json_object_get(f->json, key);

	return json_is_null(value) ? NULL : value;
}

aqz_status aqz_field_count(
	uint32_t *out, const aqz_fields *f, const char *key, bool required, uint32_t most)
{
	const json_t *value = json_object_get(f->json, key);

	if (value == NULL)
		return required ? missing(f, key) : AQZ_OK;
	if (!json_is_integer(value))
		return aqz_field_fail(f, AQZ_E_CORRUPT, key, "in config.json this is no integer");
	if (json_integer_value(value) < 1 || json_integer_value(value) > (json_int_t)most)
		return aqz_field_fail(f, AQZ_E_CORRUPT, key,
			"in config.json this is %lld, which is not within 1 and %u",
			(long long)json_integer_value(value), most);
	*out = (uint32_t)json_integer_value(value);
	return AQZ_OK;
}

aqz_status aqz_field_number(double *out, const aqz_fields *f, const char *key, bool required)
{
	const json_t *value = json_object_get(f->json, key);

	if (value == NULL)
		return required ? missing(f, key) : AQZ_OK;
	if (!json_is_number(value))
		return aqz_field_fail(f, AQZ_E_CORRUPT, key, "in config.json this is no number");
	*out = json_number_value(value);
	return AQZ_OK;
}

aqz_status aqz_field_flag(bool *out, const aqz_fields *f, const char *key)
{
	const json_t *value = json_object_get(f->json, key);

	if (value == NULL)
		return AQZ_OK;
	if (!json_is_boolean(value))
		return aqz_field_fail(f, AQZ_E_CORRUPT, key, "in config.json this is neither true nor false");
	*out = json_is_true(value);
	return AQZ_OK;
}
