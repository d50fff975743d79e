/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of a safetensors header: "name": {"dtype": ..., "shape": [...], "data_offsets": [b, e]}. */
#include "interop/safetensors.h"

#include <inttypes.h>

/* What jansson may take for a name or an entry; a sound name needs 35 KiB at most, an entry 6. */
#define MAX_ENTRY_COST (UINT64_C(1) << 20)

void aqz_safetensors_where(
	char where[AQZ_WHERE_BYTES], const char *name, size_t name_bytes, const char *field)
{
	static const char head[] = "tensor[", dots[] = "...";
	const size_t room = AQZ_WHERE_BYTES - sizeof head - 1 - strlen(field);
	size_t skip = 0, n = 0;

	if (name_bytes > room) {
		skip = name_bytes - (room - (sizeof dots - 1));
		while (skip < name_bytes && ((unsigned char)name[skip] & 0xc0) == 0x80)
			skip++;
	}
	memcpy(where, head, sizeof head - 1);
	n = sizeof head - 1;
	if (skip > 0) {
		memcpy(where + n, dots, sizeof dots - 1);
		n += sizeof dots - 1;
	}
	memcpy(where + n, name + skip, name_bytes - skip);
	n += name_bytes - skip;
	where[n++] = ']';
	memcpy(where + n, field, strlen(field) + 1);
}

int aqz_safetensors_by_name(const void *a, const void *b)
{
	const aqz_source_tensor *x = *(const aqz_source_tensor *const *)a;
	const aqz_source_tensor *y = *(const aqz_source_tensor *const *)b;
	const int order = memcmp(x->name, y->name, (size_t)aqz_min(x->name_bytes, y->name_bytes));

	if (order != 0)
		return order;
	return (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

/* Text from the file as an error may quote it, whole or not at all. */
static const char *quotable(const char *text, size_t n)
{
	return n <= 32 && aqz_text_ok(text, n) ? text : "...";
}

aqz_status aqz_safetensors_cost(
	const aqz_safetensors_text *p, const aqz_json_count *count, const char *where)
{
	if (aqz_json_cost(count) <= MAX_ENTRY_COST)
		return AQZ_OK;
	return aqz_fail(p->err, AQZ_E_UNSUPPORTED, 8 + p->at, where,
		"the name or entry is far larger than any of a tensor");
}

aqz_status aqz_safetensors_corrupt(const aqz_safetensors_text *p, const char *where, const char *text)
{
	return aqz_fail(p->err, AQZ_E_CORRUPT, 8 + p->at, where, "%s", text);
}

/* Reads an array of at most max integers from 0 to 2^63 - 1. */
static aqz_status read_integers(const aqz_safetensors_text *p, uint64_t *values, size_t *n,
	size_t max, const json_t *array, const char *where)
{
	*n = json_array_size(array); /* 0 for what is no array, or missing */
	if (!json_is_array(array))
		return aqz_safetensors_corrupt(
			p, where, array == NULL ? "the field is missing" : "this is no array");
	if (*n > max)
		return AQZ_OK; /* the caller's error */
	for (size_t i = 0; i < *n; i++) {
		const json_t *value = json_array_get(array, i);

		if (!json_is_integer(value))
			return aqz_safetensors_corrupt(p, where, "a value is no integer");
		if (json_integer_value(value) < 0)
			return aqz_safetensors_corrupt(p, where, "a value is negative");
		values[i] = (uint64_t)json_integer_value(value);
	}
	return AQZ_OK;
}

static aqz_status read_dtype(const aqz_safetensors_text *p, aqz_source_tensor *t, const json_t *value)
{
	char where[AQZ_WHERE_BYTES];
	const char *name;
	size_t n;

	aqz_safetensors_where(where, t->name, t->name_bytes, ".dtype");
	if (!json_is_string(value))
		return aqz_safetensors_corrupt(
			p, where, value == NULL ? "the field is missing" : "this is no string");
	name = json_string_value(value);
	n = json_string_length(value);
	t->dtype = aqz_dtype_find(name, n);
	if (t->dtype == 0)
		return aqz_fail(p->err, AQZ_E_UNSUPPORTED, 8 + p->at, where, "the dtype \"%s\" is unknown",
			quotable(name, n));
	return AQZ_OK;
}

static aqz_status read_shape(const aqz_safetensors_text *p, aqz_source_tensor *t, const json_t *value)
{
	char where[AQZ_WHERE_BYTES];
	uint64_t elements, bytes;
	size_t rank;
	aqz_status status;

	aqz_safetensors_where(where, t->name, t->name_bytes, ".shape");
	status = read_integers(p, t->shape, &rank, AQZ_MAX_RANK, value, where);
	if (status != AQZ_OK)
		return status;
	if (rank > AQZ_MAX_RANK)
		return aqz_fail(p->err, AQZ_E_UNSUPPORTED, 8 + p->at, where,
			"the tensor has %zu dimensions, more than %d", rank, AQZ_MAX_RANK);
	t->rank = (uint32_t)rank;
	if (aqz_shape_size(&t->n_elements, &t->n_bytes, t->shape, t->rank, t->dtype))
		return AQZ_OK;
	if (aqz_dtype_bits(t->dtype) >= 8 ||
		!aqz_shape_size(&elements, &bytes, t->shape, t->rank, AQZ_U8))
		return aqz_safetensors_corrupt(p, where, "the size overflows 64 bits");
	return aqz_safetensors_corrupt(p, where, "the elements fill no whole number of bytes");
}

static aqz_status read_offsets(
	const aqz_safetensors_text *p, aqz_source_tensor *t, const json_t *value)
{
	char where[AQZ_WHERE_BYTES];
	uint64_t offsets[2];
	size_t n;
	aqz_status status;

	aqz_safetensors_where(where, t->name, t->name_bytes, ".data_offsets");
	status = read_integers(p, offsets, &n, 2, value, where);
	if (status != AQZ_OK)
		return status;
	if (n != 2)
		return aqz_safetensors_corrupt(p, where, "this is no pair of offsets");
	if (offsets[0] > offsets[1])
		return aqz_safetensors_corrupt(p, where, "the data end before they begin");
	if (offsets[1] - offsets[0] != t->n_bytes)
		return aqz_fail(p->err, AQZ_E_CORRUPT, 8 + p->at, where,
			"the offsets span %" PRIu64 " bytes, but shape and dtype need %" PRIu64,
			offsets[1] - offsets[0], t->n_bytes);
	t->offset = offsets[0];
	return AQZ_OK;
}

aqz_status aqz_safetensors_entry(aqz_source_tensor *t, size_t *end, const aqz_safetensors_text *p)
{
	char where[AQZ_WHERE_BYTES];
	aqz_json_count count;
	json_t *entry = NULL, *value;
	uint64_t charged = 0;
	const char *key;
	aqz_status status;

	aqz_safetensors_where(where, t->name, t->name_bytes, "");
	AQZ_TRY(aqz_json_walk(&count, end, p->text, p->n, p->at, 2, 8, where, p->err));
	AQZ_TRY(aqz_safetensors_cost(p, &count, where));
	AQZ_TRY(aqz_json_load(&entry, &charged, p->budget, &count, p->text + p->at, *end - p->at,
		8 + p->at, where, p->err));
	if (!json_is_object(entry)) {
		status = aqz_safetensors_corrupt(p, where, "the entry is no object");
		goto out;
	}
	json_object_foreach(entry, key, value) {
		if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 &&
			strcmp(key, "data_offsets") != 0) {
			status = aqz_fail(p->err, AQZ_E_CORRUPT, 8 + p->at, where,
				"the entry has the unknown key \"%s\"", quotable(key, strlen(key)));
			goto out;
		}
	}
	AQZ_TRY(read_dtype(p, t, json_object_get(entry, "dtype")));
	AQZ_TRY(read_shape(p, t, json_object_get(entry, "shape")));
	AQZ_TRY(read_offsets(p, t, json_object_get(entry, "data_offsets")));
	if (count.minus)
		status = aqz_safetensors_corrupt(p, where, "a value is negative");
out:
	aqz_json_free(entry, charged, p->budget);
	return status;
}
