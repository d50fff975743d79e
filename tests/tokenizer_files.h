/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizers for tests: files of the tree, tokenizer.json with changes, SentencePiece models and GGUF metadata made
 * here. Ends the program where memory is out. */
#ifndef AQZ_TEST_TOKENIZER_FILES_H
#define AQZ_TEST_TOKENIZER_FILES_H

#include <check.h>
#include <jansson.h>
#include <stdio.h>

#include "model/model.h"
#include "tests/gguf_file.h"

#define BYTE_LEVEL "tokenizers/byte-level.json"
#define STORIES "stories/tokenizer.json"
#define STORIES_MODEL "stories/tokenizer.model"

static inline const char *tree_path(const char *folder, const char *name)
{
	static char path[4096];
	const char *root = getenv("AQZ_SRCDIR");

	snprintf(path, sizeof path, "%s/%s/%s", root != NULL ? root : ".", folder, name);
	return path;
}

/* A whole file, or an empty buffer without data. */
static inline aqz_buffer read_path(const char *path)
{
	aqz_buffer b = {0};
	FILE *file = fopen(path, "rb");
	uint8_t chunk[4096];
	size_t n;

	while (file != NULL && (n = fread(chunk, 1, sizeof chunk, file)) > 0)
		gguf_add(&b, chunk, n);
	if (file != NULL)
		fclose(file);
	return b;
}

/* A file of tests/data. */
static inline aqz_buffer read_data(const char *name)
{
	const aqz_buffer b = read_path(tree_path("tests/data", name));

	ck_assert_msg(b.data != NULL, "tests/data/%s is missing", name);
	return b;
}

static inline json_t *load_data(const char *name)
{
	aqz_buffer b = read_data(name);
	json_t *json = json_loadb((const char *)b.data, b.n, 0, NULL);

	ck_assert_ptr_nonnull(json);
	aqz_buffer_free(&b);
	return json;
}

/* Puts the members of change into a tokenizer.json; those of its "model" into the model. */
static inline void apply_change(json_t *tokenizer, json_t *change)
{
	const char *key;
	json_t *value;

	json_object_foreach(change, key, value)
	{
		if (strcmp(key, "model") == 0)
			json_object_update(json_object_get(tokenizer, "model"), value);
		else
			json_object_set(tokenizer, key, value);
	}
}

static inline aqz_status parse_json(aqz_tokenizer **t, const json_t *json, aqz_error *err)
{
	char *text = json_dumps(json, JSON_COMPACT);
	aqz_status status;

	ck_assert_ptr_nonnull(text);
	status = aqz_tokenizer_parse(t, text, strlen(text), NULL, 0, 0, err);
	free(text);
	return status;
}

/* A file of tests/data with a change, as JSON text with ' for ". */
static inline aqz_status parse_changed(aqz_tokenizer **t, const char *name, const char *change, aqz_error *err)
{
	char *text = strdup(change);
	json_t *json = load_data(name), *members;
	aqz_status status;

	for (char *c = text; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	members = json_loads(text, 0, NULL);
	ck_assert_msg(members != NULL, "%s", text);
	apply_change(json, members);
	status = parse_json(t, json, err);
	json_decref(json);
	json_decref(members);
	free(text);
	return status;
}

static inline aqz_tokenizer *open_changed(const char *name, const char *change)
{
	aqz_tokenizer *t;
	aqz_error err = {0};

	ck_assert_msg(parse_changed(&t, name, change, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	return t;
}

static inline aqz_tokenizer *parse_bytes(const void *data, size_t n, const char *config)
{
	aqz_tokenizer *t;
	aqz_error err = {0};

	ck_assert_msg(aqz_tokenizer_parse(&t, data, n, config, config != NULL ? strlen(config) : 0, 0, &err) == AQZ_OK,
		"%s: %s", err.where, err.text);
	return t;
}

static inline aqz_tokenizer *open_data(const char *name, const char *config)
{
	aqz_buffer b = read_data(name);
	aqz_tokenizer *t = parse_bytes(b.data, b.n, config);

	aqz_buffer_free(&b);
	return t;
}

/* Ids as text, "1 2 3"; freed with free(). */
static inline char *ids_of(const aqz_tokenizer *t, const char *text, size_t n, bool special)
{
	aqz_buffer out = {0};
	aqz_error err = {0};
	uint32_t *ids;
	size_t n_ids;

	ck_assert_msg(
		aqz_tokenizer_encode(t, &ids, &n_ids, text, n, special, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	for (size_t i = 0; i < n_ids; i++) {
		char number[16];

		gguf_add(&out, number, (size_t)snprintf(number, sizeof number, i == 0 ? "%u" : " %u", ids[i]));
	}
	gguf_add(&out, "", 1);
	free(ids);
	return (char *)out.data;
}

static inline void check_ids(const aqz_tokenizer *t, const char *text, bool special, const char *expected)
{
	char *ids = ids_of(t, text, strlen(text), special);

	ck_assert_str_eq(ids, expected);
	free(ids);
}

/* Both give the same ids of a text. */
static inline void check_same(const aqz_tokenizer *a, const aqz_tokenizer *b, const char *text, size_t n, bool special)
{
	char *x = ids_of(a, text, n, special), *y = ids_of(b, text, n, special);

	ck_assert_str_eq(x, y);
	free(x);
	free(y);
}

/* The text comes back from its ids. */
static inline void check_round_trip(const aqz_tokenizer *t, const char *text, size_t n)
{
	aqz_error err = {0};
	uint32_t *ids;
	size_t n_ids, n_back;
	char *back;

	ck_assert_msg(aqz_tokenizer_encode(t, &ids, &n_ids, text, n, false, &err) == AQZ_OK, "%s", err.text);
	ck_assert_int_eq(aqz_tokenizer_decode(t, &back, &n_back, ids, n_ids, true, true, &err), AQZ_OK);
	ck_assert_uint_eq(n_back, n);
	ck_assert_mem_eq(back, text, n);
	ck_assert_int_eq(back[n], 0);
	free(ids);
	free(back);
}

/* The tokenizer that is written as tokenizer.json and read again. */
static inline aqz_tokenizer *reread(const aqz_tokenizer *t)
{
	aqz_tokenizer *again;
	aqz_error err = {0};
	char *json;
	size_t n;

	ck_assert_msg(aqz_tokenizer_to_json(t, &json, &n, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	ck_assert_uint_eq(strlen(json), n);
	again = parse_bytes(json, n, NULL);
	free(json);
	return again;
}

/* ---- SentencePiece models */

static inline void proto_varint(aqz_buffer *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		gguf_add(b, &(uint8_t){(uint8_t)(v | 0x80)}, 1);
	gguf_add(b, &(uint8_t){(uint8_t)v}, 1);
}

static inline void proto_number(aqz_buffer *b, uint32_t field, uint64_t v)
{
	proto_varint(b, (uint64_t)field << 3);
	proto_varint(b, v);
}

static inline void proto_bytes(aqz_buffer *b, uint32_t field, const void *data, size_t n)
{
	proto_varint(b, (uint64_t)field << 3 | 2);
	proto_varint(b, n);
	gguf_add(b, data, n);
}

static inline void proto_piece(aqz_buffer *b, const char *text, float score, uint32_t type)
{
	aqz_buffer piece = {0};

	proto_bytes(&piece, 1, text, strlen(text));
	proto_varint(&piece, 2 << 3 | 5);
	gguf_add(&piece, &score, 4);
	proto_number(&piece, 3, type);
	proto_bytes(b, 1, piece.data, piece.n);
	aqz_buffer_free(&piece);
}

/* trainer_spec with a model_type, and normalizer_spec. */
static inline void proto_specs(aqz_buffer *b, uint32_t type, bool bytes, bool prefix, bool strip)
{
	aqz_buffer trainer = {0}, normalizer = {0};

	proto_number(&trainer, 3, type);
	proto_number(&trainer, 35, bytes);
	proto_number(&normalizer, 3, prefix);
	proto_number(&normalizer, 4, strip);
	proto_bytes(b, 2, trainer.data, trainer.n);
	proto_bytes(b, 3, normalizer.data, normalizer.n);
	aqz_buffer_free(&trainer);
	aqz_buffer_free(&normalizer);
}

/* ---- GGUF */

static inline aqz_status mem_pread(void *user, void *dst, size_t n, uint64_t offset)
{
	const aqz_buffer *b = user;

	if (offset > b->n || n > b->n - offset)
		return AQZ_E_TRUNCATED;
	memcpy(dst, b->data + offset, n);
	return AQZ_OK;
}

static inline aqz_status mem_size(void *user, uint64_t *n)
{
	*n = ((const aqz_buffer *)user)->n;
	return AQZ_OK;
}

static inline aqz_status parse_gguf(aqz_tokenizer **t, aqz_buffer *file, aqz_error *err)
{
	const aqz_io io = {.user = file, .pread = mem_pread, .size = mem_size};
	aqz_gguf *g;
	aqz_status status;

	*t = NULL;
	status = aqz_gguf_open(&g, &io, 0, err);
	if (status == AQZ_OK)
		status = aqz_tokenizer_from_gguf(t, g, 0, err);
	aqz_gguf_close(g);
	return status;
}

#endif
