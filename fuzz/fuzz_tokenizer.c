/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes aqz_tokenizer_parse, and aqz_tokenizer_from_gguf for a GGUF file. What is accepted encodes and decodes some
 * texts, the end of the input among them, and is written as tokenizer.json, which must give the same ids. */
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

#define LIMIT (UINT64_C(1) << 28)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A finding. */
static void demand(bool holds)
{
	if (!holds)
		abort();
}

static void check_error(aqz_status status, const aqz_error *err)
{
	demand(status != AQZ_E_ARGUMENT && status != AQZ_E_NOMEM && err->status == status);
	demand(memchr(err->where, '\0', sizeof err->where) != NULL && err->text[0] != '\0');
	demand(aqz_text_ok(err->where, strlen(err->where)));
	demand(aqz_text_ok(err->text, strlen(err->text)));
}

static aqz_status mem_pread(void *user, void *dst, size_t n, uint64_t offset)
{
	const aqz_buffer *b = user;

	if (offset > b->n || n > b->n - offset)
		return AQZ_E_TRUNCATED;
	if (n > 0)
		memcpy(dst, b->data + offset, n);
	return AQZ_OK;
}

static aqz_status mem_size(void *user, uint64_t *n)
{
	*n = ((const aqz_buffer *)user)->n;
	return AQZ_OK;
}

static aqz_status parse_gguf(aqz_tokenizer **t, const void *data, size_t n, aqz_error *err)
{
	aqz_buffer b = {0};
	const aqz_io io = {.user = &b, .pread = mem_pread, .size = mem_size};
	aqz_gguf *g = NULL;
	aqz_status status;

	*t = NULL;
	demand(aqz_buffer_add(&b, data, n, NULL) == AQZ_OK);
	status = aqz_gguf_open(&g, &io, LIMIT, err);
	if (status == AQZ_OK)
		status = aqz_tokenizer_from_gguf(t, g, LIMIT, err);
	aqz_gguf_close(g);
	aqz_buffer_free(&b);
	return status;
}

/* NULL if it is not accepted. */
static aqz_tokenizer *parse(const void *data, size_t n)
{
	aqz_tokenizer *t;
	aqz_error err = {0};
	const aqz_status status = n >= 4 && memcmp(data, "GGUF", 4) == 0
		? parse_gguf(&t, data, n, &err)
		: aqz_tokenizer_parse(&t, data, n, NULL, 0, LIMIT, &err);

	if (status != AQZ_OK) {
		check_error(status, &err);
		demand(t == NULL);
	}
	return t;
}

/* The tokens of a text, and that they can be decoded; NULL if there are none for it. */
static uint32_t *encode(
	const aqz_tokenizer *t, size_t *n_ids, const char *text, size_t n, bool special)
{
	aqz_error err = {0};
	uint32_t *ids;
	size_t n_back, total = 0, n_bytes;
	char *back;
	const aqz_status status = aqz_tokenizer_encode(t, &ids, n_ids, text, n, special, &err);

	if (status != AQZ_OK) {
		check_error(status, &err);
		demand(ids == NULL && *n_ids == 0);
		return NULL;
	}
	for (size_t i = 0; i < *n_ids; i++) {
		demand(ids[i] < aqz_tokenizer_size(t));
		aqz_tokenizer_bytes(t, ids[i], &n_bytes);
		total += n_bytes;
	}
	demand(aqz_tokenizer_decode(t, &back, &n_back, ids, *n_ids, false, false, &err) == AQZ_OK);
	demand(n_back == total && back[n_back] == '\0');
	free(back);
	return ids;
}

static void check_text(const aqz_tokenizer *t, const aqz_tokenizer *again, const char *text, size_t n)
{
	for (int special = 0; special < 2; special++) {
		size_t n_ids, n_other;
		uint32_t *ids = encode(t, &n_ids, text, n, special != 0);

		if (again != NULL) {
			uint32_t *other = encode(again, &n_other, text, n, special != 0);

			demand((ids == NULL) == (other == NULL) && n_ids == n_other);
			demand(n_ids == 0 || memcmp(ids, other, n_ids * sizeof *ids) == 0);
			free(other);
		}
		free(ids);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char text[] = "ab  abba <s>the\n\xff 12\xc3\xa9 e\xcc\x81 \xe2\x96\x81<x> ";
	aqz_tokenizer *t = parse(data, n), *again = NULL;
	const size_t tail = n < 200 ? n : 200;
	aqz_error err = {0};
	size_t n_json;
	char *json;
	aqz_status status;

	if (t == NULL)
		return 0;
	status = aqz_tokenizer_to_json(t, &json, &n_json, &err);
	if (status != AQZ_OK) {
		check_error(status, &err);
	} else {
		demand(strlen(json) == n_json);
		again = parse(json, n_json);
		/* Texts with U+0000, which only other formats can have, are refused in JSON. */
		demand(again != NULL || strstr(json, "\\u0000") != NULL);
		free(json);
	}
	if (data[0] == 0x0a || data[0] == 'G') { /* pieces of equal scores have no order there */
		aqz_tokenizer_close(again);
		again = NULL;
	}
	check_text(t, again, text, sizeof text - 1);
	check_text(t, again, (const char *)data + n - tail, tail);
	aqz_tokenizer_close(again);
	aqz_tokenizer_close(t);
	return 0;
}
