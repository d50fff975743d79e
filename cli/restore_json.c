/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON that decompress looks into: how far a safetensors header reaches, and the size in a
 * model's index. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/restore.h"

/* Only a size is taken from here; aqz_safetensors_parse, which is strict, then checks everything
 * against it. */
aqz_status restore_data_bytes(uint64_t *out, const uint8_t *header, size_t n, aqz_error *err)
{
	json_t *root, *entry;
	json_error_t error;
	const char *key;

	*out = 0;
	if (n < 8)
		return cli_fail(
			err, AQZ_E_CORRUPT, "source_header", "%zu bytes are no safetensors header", n);
	root = json_loadb(
		(const char *)header + 8, n - 8, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (root == NULL)
		return cli_fail(
			err, AQZ_E_CORRUPT, "source_header", "the header is no JSON: %.100s", error.text);
	json_object_foreach(root, key, entry)
	{
		json_int_t end =
			json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 1));

		if (end > 0 && (uint64_t)end > *out)
			*out = (uint64_t)end;
	}
	json_decref(root);
	return AQZ_OK;
}

aqz_status restore_change_index(char **out, size_t *out_bytes, const void *index, size_t n,
	uint64_t total_bytes, aqz_error *err)
{
	json_error_t error;
	json_t *root = json_loadb(index, n, JSON_REJECT_DUPLICATES, &error), *metadata;

	*out = NULL;
	if (root == NULL)
		return cli_fail(
			err, AQZ_E_CORRUPT, "index.json", "line %d: %.100s", error.line, error.text);
	metadata = json_object_get(root, "metadata");
	if (json_object_get(metadata, "total_size") != NULL && total_bytes <= INT64_MAX) {
		json_object_set_new(metadata, "total_size", json_integer((json_int_t)total_bytes));
		*out = json_dumps(root, JSON_INDENT(2));
		if (*out == NULL) {
			json_decref(root);
			return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
		}
		*out_bytes = strlen(*out);
	}
	json_decref(root);
	return AQZ_OK;
}
