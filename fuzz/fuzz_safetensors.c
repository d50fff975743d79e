/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes aqz_safetensors_parse. The input is a safetensors file; it is parsed as it is, and again
 * with the length word and the file's length put right, so that mutations of the JSON get past those.
 * What is accepted must keep the promises of aqlmzip.h and survive aqz_safetensors_header. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A finding. */
static void demand(bool holds)
{
	if (!holds)
		abort();
}

static void check_table(const aqz_safetensors *s, uint64_t file_bytes)
{
	uint64_t at = s->header_bytes;

	for (uint32_t i = 0; i < s->n_tensors; i++) {
		const aqz_source_tensor *t = &s->tensors[i];
		uint64_t n_elements, n_bytes;

		demand(t->rank <= AQZ_MAX_RANK);
		demand(aqz_shape_size(&n_elements, &n_bytes, t->shape, t->rank, t->dtype));
		demand(t->n_elements == n_elements && t->n_bytes == n_bytes && t->offset == at);
		demand(t->name_bytes >= 1 && t->name_bytes <= AQZ_MAX_NAME_BYTES);
		demand(strlen(t->name) == t->name_bytes && aqz_text_ok(t->name, t->name_bytes));
		at += n_bytes;
	}
	demand(at == file_bytes && s->header_bytes + s->data_bytes == file_bytes);
}

/* Writes the table's header and parses that. */
static void check_round_trip(const aqz_safetensors *s)
{
	aqz_safetensors again;
	uint8_t *header;
	size_t n;

	demand(
		aqz_safetensors_header(&header, &n, s->tensors, s->n_tensors, s->metadata, NULL) == AQZ_OK);
	demand(n % 8 == 0);
	demand(aqz_safetensors_parse(&again, header, n, n + s->data_bytes, 0, NULL) == AQZ_OK);
	check_table(&again, n + s->data_bytes);
	demand(again.n_tensors == s->n_tensors && !again.metadata == !s->metadata);
	for (uint32_t i = 0; i < s->n_tensors; i++) {
		const aqz_source_tensor *a = &s->tensors[i], *b = &again.tensors[i];

		demand(a->name_bytes == b->name_bytes && memcmp(a->name, b->name, a->name_bytes) == 0);
		demand(a->dtype == b->dtype && a->rank == b->rank && a->n_bytes == b->n_bytes);
		demand(memcmp(a->shape, b->shape, sizeof a->shape) == 0);
	}
	aqz_safetensors_free(&again);
	free(header);
}

static aqz_status try_parse(const uint8_t *data, size_t n, uint64_t file_bytes, uint64_t limit)
{
	aqz_safetensors s;
	aqz_error err;
	const aqz_status status = aqz_safetensors_parse(&s, data, n, file_bytes, limit, &err);

	if (status == AQZ_OK) {
		check_table(&s, file_bytes);
		check_round_trip(&s);
	} else {
		demand(status != AQZ_E_ARGUMENT && status != AQZ_E_NOMEM && err.status == status);
		demand(memchr(err.where, '\0', sizeof err.where) != NULL && err.text[0] != '\0');
		demand(aqz_text_ok(err.where, strlen(err.where)));
		demand(aqz_text_ok(err.text, strlen(err.text)));
		demand(s.tensors == NULL && s.storage == NULL && s.metadata == NULL);
	}
	aqz_safetensors_free(&s);
	return status;
}

/* The largest number in the text: mostly where the data end. */
static uint64_t largest_number(const uint8_t *text, size_t n)
{
	uint64_t largest = 0, number = 0;

	for (size_t i = 0; i < n; i++) {
		number = text[i] >= '0' && text[i] <= '9' && number < UINT64_C(1) << 58
			? number * 10 + (text[i] - '0')
			: 0;
		if (number > largest)
			largest = number;
	}
	return largest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint64_t file_bytes;
	uint8_t *copy;
	aqz_status status, limited;

	try_parse(data, n, n, 0);
	if (n < 10)
		return 0;
	copy = malloc(n);
	memcpy(copy, data, n);
	aqz_put64(copy, n - 8);
	file_bytes = n + largest_number(copy + 8, n - 8);
	status = try_parse(copy, n, file_bytes, 0);
	/* A limit changes nothing but to refuse. */
	limited = try_parse(copy, n, file_bytes, 1 + UINT64_C(64) * data[0]);
	demand(limited == status || limited == AQZ_E_MEMLIMIT);
	free(copy);
	return 0;
}
