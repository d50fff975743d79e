/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the header of a safetensors file. What it makes, aqz_safetensors_parse accepts. */
#include "interop/safetensors.h"

#include <inttypes.h>
#include <stdio.h>

#include "interop/json_text.h"

/* jansson hands out text by pieces: to a buffer of ours, so that only free() is needed for it. */
static int add_piece(const char *text, size_t n, void *user)
{
	return aqz_buffer_add(user, text, n, NULL) == AQZ_OK ? 0 : -1;
}

static aqz_status add_text(aqz_buffer *b, const char *text, aqz_error *err)
{
	return aqz_buffer_add(b, text, strlen(text), err);
}

static aqz_status add_json(aqz_buffer *b, const json_t *json, aqz_error *err)
{
	if (json == NULL || json_dump_callback(json, add_piece, b, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
		return aqz_fail(err, AQZ_E_NOMEM, AQZ_NO_OFFSET, NULL, "out of memory for JSON");
	return AQZ_OK;
}

static aqz_status bad_argument(const char *where, const char *text, aqz_error *err)
{
	return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, where, "%s", text);
}

/* Adds "__metadata__":{...}, rewritten without spaces. */
static aqz_status add_metadata(aqz_buffer *b, const char *metadata, aqz_error *err)
{
	static const char where[] = AQZ_SAFETENSORS_METADATA;
	json_error_t found;
	json_t *json, *value;
	const char *key;
	aqz_status status = AQZ_OK;

	json = json_loads(metadata, JSON_REJECT_DUPLICATES, &found);
	if (json == NULL &&
		(json_error_code(&found) == json_error_out_of_memory ||
			json_error_code(&found) == json_error_unknown))
		return aqz_fail(err, AQZ_E_NOMEM, AQZ_NO_OFFSET, where, "out of memory for JSON");
	if (!json_is_object(json)) {
		status = bad_argument(where, "the metadata are no JSON object", err);
		goto out;
	}
	json_object_foreach(json, key, value) {
		if (!json_is_string(value)) {
			status = bad_argument(where, "a value of the metadata is no string", err);
			goto out;
		}
	}
	AQZ_TRY(add_text(b, "\"" AQZ_SAFETENSORS_METADATA "\":", err));
	AQZ_TRY(add_json(b, json, err));
out:
	json_decref(json);
	return status;
}

/* Checks what the caller says of one tensor; what passes can be parsed again. */
static aqz_status check_tensor(const aqz_source_tensor *t, aqz_error *err)
{
	static const char reserved[] = AQZ_SAFETENSORS_METADATA;
	char where[AQZ_WHERE_BYTES] = "tensors";
	uint64_t n_elements, n_bytes;

	if (t->name == NULL || t->name_bytes == 0 || t->name_bytes > AQZ_MAX_NAME_BYTES ||
		!aqz_text_ok(t->name, t->name_bytes))
		return bad_argument(where, "a name is no text of 1 to 1024 bytes", err);
	aqz_safetensors_where(where, t->name, t->name_bytes, "");
	if (t->name_bytes == sizeof reserved - 1 && memcmp(t->name, reserved, t->name_bytes) == 0)
		return bad_argument(where, "the name is reserved", err);
	if (aqz_dtype_name(t->dtype) == NULL)
		return bad_argument(where, "the dtype is unknown", err);
	if (t->rank > AQZ_MAX_RANK)
		return bad_argument(where, "the tensor has more than 8 dimensions", err);
	/* jansson, and others who keep integers signed, read no more than 63 bits. */
	for (uint32_t i = 0; i < t->rank; i++)
		if (t->shape[i] > INT64_MAX)
			return bad_argument(where, "a dimension is 2^63 or more", err);
	if (!aqz_shape_size(&n_elements, &n_bytes, t->shape, t->rank, t->dtype))
		return bad_argument(where, "the shape overflows or fills no whole bytes", err);
	if (n_bytes != t->n_bytes)
		return bad_argument(where, "n_bytes is not what shape and dtype say", err);
	return AQZ_OK;
}

/* Adds "name":{...} and moves *offset to the end of the tensor's data. */
static aqz_status add_tensor(
	aqz_buffer *b, uint64_t *offset, const aqz_source_tensor *t, aqz_error *err)
{
	json_t *name = NULL;
	char number[48];
	uint64_t end;
	aqz_status status;

	AQZ_TRY(check_tensor(t, err));
	if (!aqz_add(&end, *offset, t->n_bytes) || end > INT64_MAX) {
		status = bad_argument("tensors", "the tensors hold 2^63 bytes or more", err);
		goto out;
	}
	name = json_stringn(t->name, t->name_bytes);
	AQZ_TRY(add_json(b, name, err));
	AQZ_TRY(add_text(b, ":{\"dtype\":\"", err));
	AQZ_TRY(add_text(b, aqz_dtype_name(t->dtype), err));
	AQZ_TRY(add_text(b, "\",\"shape\":[", err));
	for (uint32_t i = 0; i < t->rank; i++) {
		snprintf(number, sizeof number, "%s%" PRIu64, i == 0 ? "" : ",", t->shape[i]);
		AQZ_TRY(add_text(b, number, err));
	}
	AQZ_TRY(add_text(b, "],\"data_offsets\":[", err));
	snprintf(number, sizeof number, "%" PRIu64 ",%" PRIu64, *offset, end);
	AQZ_TRY(add_text(b, number, err));
	AQZ_TRY(add_text(b, "]}", err));
	*offset = end;
out:
	json_decref(name);
	return status;
}

static aqz_status check_names(const aqz_source_tensor *tensors, uint32_t n, aqz_error *err)
{
	const aqz_source_tensor **sorted;
	aqz_status status = AQZ_OK;

	if (n == 0)
		return AQZ_OK;
	sorted = malloc(n * sizeof *sorted);
	if (sorted == NULL)
		return aqz_fail_nomem(err, n * sizeof *sorted);
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = &tensors[i];
	qsort(sorted, n, sizeof *sorted, aqz_safetensors_by_name);
	for (uint32_t i = 1; i < n && status == AQZ_OK; i++) {
		char where[AQZ_WHERE_BYTES];

		if (aqz_safetensors_by_name(&sorted[i - 1], &sorted[i]) == 0) {
			aqz_safetensors_where(where, sorted[i]->name, sorted[i]->name_bytes, "");
			status = bad_argument(where, "the name occurs twice", err);
		}
	}
	free(sorted);
	return status;
}

aqz_status aqz_safetensors_header(uint8_t **bytes, size_t *n, const aqz_source_tensor *tensors,
	uint32_t n_tensors, const char *metadata, aqz_error *err)
{
	aqz_buffer b = {0};
	uint64_t offset = 0;
	aqz_status status;

	if (bytes == NULL || n == NULL || (tensors == NULL && n_tensors > 0) ||
		n_tensors > AQZ_MAX_TENSORS)
		return bad_argument(NULL, "a pointer is NULL, or there are too many tensors", err);
	*bytes = NULL;
	*n = 0;
	AQZ_TRY(aqz_buffer_add(&b, NULL, 8, err));
	AQZ_TRY(add_text(&b, "{", err));
	if (metadata != NULL)
		AQZ_TRY(add_metadata(&b, metadata, err));
	for (uint32_t i = 0; i < n_tensors; i++) {
		if (i > 0 || metadata != NULL)
			AQZ_TRY(add_text(&b, ",", err));
		AQZ_TRY(add_tensor(&b, &offset, &tensors[i], err));
	}
	/* After add_tensor: the names are sound then. */
	AQZ_TRY(check_names(tensors, n_tensors, err));
	AQZ_TRY(add_text(&b, "}", err));
	while (b.n % 8 != 0)
		AQZ_TRY(add_text(&b, " ", err));
	if (b.n - 8 > AQZ_SAFETENSORS_MAX_HEADER) {
		status = bad_argument("header", "the header is longer than 100,000,000 bytes", err);
		goto out;
	}
	aqz_put64(b.data, b.n - 8);
	*bytes = b.data;
	*n = b.n;
	b = (aqz_buffer){0};
out:
	aqz_buffer_free(&b);
	return status;
}
