/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the safetensors header share. */
#ifndef AQZ_TEST_SAFETENSORS_FILE_H
#define AQZ_TEST_SAFETENSORS_FILE_H

#include <check.h>

#include "interop/safetensors.h"

/* Makes a file of a length word, JSON and zeros; free(*bytes). */
static inline size_t make_file(uint8_t **bytes, const char *json, size_t json_bytes, size_t data_bytes)
{
	*bytes = calloc(1, 8 + json_bytes + data_bytes);
	aqz_put64(*bytes, json_bytes);
	memcpy(*bytes + 8, json, json_bytes);
	return 8 + json_bytes + data_bytes;
}

/* What every accepted header promises. */
static inline void check_invariants(const aqz_safetensors *s, uint64_t file_bytes)
{
	uint64_t at = s->header_bytes;

	for (uint32_t i = 0; i < s->n_tensors; i++) {
		const aqz_source_tensor *t = &s->tensors[i];
		uint64_t n_elements, n_bytes;

		ck_assert_uint_eq(t->offset, at);
		ck_assert_uint_le(t->rank, AQZ_MAX_RANK);
		ck_assert(aqz_shape_size(&n_elements, &n_bytes, t->shape, t->rank, t->dtype));
		ck_assert_uint_eq(t->n_elements, n_elements);
		ck_assert_uint_eq(t->n_bytes, n_bytes);
		ck_assert_uint_eq(strlen(t->name), t->name_bytes);
		ck_assert(t->name_bytes >= 1 && t->name_bytes <= AQZ_MAX_NAME_BYTES);
		ck_assert(aqz_text_ok(t->name, t->name_bytes));
		at += t->n_bytes;
	}
	ck_assert_uint_eq(at, file_bytes);
	ck_assert_uint_eq(s->header_bytes + s->data_bytes, file_bytes);
}

/* Parses a copy without a byte to spare, so that the sanitizers see any step beyond it. */
static inline aqz_status parse_exact(
	aqz_safetensors *s, const uint8_t *file, size_t n, uint64_t file_bytes, aqz_error *err)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);
	aqz_status status;

	if (n > 0)
		memcpy(copy, file, n);
	status = aqz_safetensors_parse(s, copy, n, file_bytes, 0, err);
	memset(copy, 0, n); /* the table keeps no pointer into it */
	free(copy);
	return status;
}

#endif
