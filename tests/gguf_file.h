/* SPDX-License-Identifier: Apache-2.0 */
/* Writes GGUF files in memory, sound unless told otherwise: metadata and tensors are added one by one, then gguf_make
 * puts the file together. Ends the program where memory is out; needs no test library. */
#ifndef AQZ_TEST_GGUF_FILE_H
#define AQZ_TEST_GGUF_FILE_H

#include "interop/gguf.h"

typedef struct gguf_file {
	aqz_buffer metadata, table, data; /* data: of tensors, padded */
	uint64_t n_keys, n_tensors;
	uint32_t alignment;               /* 0 = 32; the key is for the caller to add */
	uint64_t name_offset;             /* of the last tensor's name length in table */
	uint64_t offset_offset;           /* of the last tensor's offset in table */
} gguf_file;

static inline void gguf_add(aqz_buffer *b, const void *data, size_t n)
{
	if (aqz_buffer_add(b, data, n, NULL) != AQZ_OK)
		abort();
}

static inline void gguf_add32(aqz_buffer *b, uint32_t v) { gguf_add(b, &v, 4); }
static inline void gguf_add64(aqz_buffer *b, uint64_t v) { gguf_add(b, &v, 8); }

static inline void gguf_add_text(aqz_buffer *b, const void *text, size_t n)
{
	gguf_add64(b, n);
	gguf_add(b, text, n);
}

/* A key and the number of its value's kind; the value is for the caller to add to f->metadata. */
static inline void gguf_key(gguf_file *f, const char *key, uint32_t kind)
{
	gguf_add_text(&f->metadata, key, strlen(key));
	gguf_add32(&f->metadata, kind);
	f->n_keys++;
}

/* Any number: value points to one of that kind. */
static inline void gguf_put_number(gguf_file *f, const char *key, aqz_gguf_kind kind, const void *value)
{
	static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

	gguf_key(f, key, kind);
	gguf_add(&f->metadata, value, bytes[kind]);
}

static inline void gguf_put_u32(gguf_file *f, const char *key, uint32_t v)
{
	gguf_put_number(f, key, AQZ_GGUF_U32, &v);
}

static inline void gguf_put_f32(gguf_file *f, const char *key, float v)
{
	gguf_put_number(f, key, AQZ_GGUF_F32, &v);
}

static inline void gguf_put_bool(gguf_file *f, const char *key, bool v)
{
	gguf_put_number(f, key, AQZ_GGUF_BOOL, &(uint8_t){v});
}

static inline void gguf_put_string(gguf_file *f, const char *key, const char *text)
{
	gguf_key(f, key, AQZ_GGUF_STRING);
	gguf_add_text(&f->metadata, text, strlen(text));
}

/* An array of n numbers, packed in data. */
static inline void gguf_put_numbers(gguf_file *f, const char *key, aqz_gguf_kind kind, const void *data, uint64_t n)
{
	static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

	gguf_key(f, key, AQZ_GGUF_ARRAY);
	gguf_add32(&f->metadata, kind);
	gguf_add64(&f->metadata, n);
	gguf_add(&f->metadata, data, (size_t)n * bytes[kind]);
}

static inline void gguf_put_strings(gguf_file *f, const char *key, const char *const *texts, uint64_t n)
{
	gguf_key(f, key, AQZ_GGUF_ARRAY);
	gguf_add32(&f->metadata, AQZ_GGUF_STRING);
	gguf_add64(&f->metadata, n);
	for (uint64_t i = 0; i < n; i++)
		gguf_add_text(&f->metadata, texts[i], strlen(texts[i]));
}

/* A tensor; shape is row-major, data (NULL: zeros) is n_bytes of blocks of the type of that number. */
static inline void gguf_put_tensor(gguf_file *f, const char *name, uint32_t type, uint32_t rank, const uint64_t *shape,
	const void *data, size_t n_bytes)
{
	const size_t alignment = f->alignment != 0 ? f->alignment : 32;

	f->name_offset = f->table.n;
	gguf_add_text(&f->table, name, strlen(name));
	gguf_add32(&f->table, rank);
	for (uint32_t i = rank; i > 0; i--)
		gguf_add64(&f->table, shape[i - 1]);
	gguf_add32(&f->table, type);
	f->offset_offset = f->table.n;
	gguf_add64(&f->table, f->data.n);
	gguf_add(&f->data, data, n_bytes);
	gguf_add(&f->data, NULL, (alignment - f->data.n % alignment) % alignment);
	f->n_tensors++;
}

/* The file; free out with aqz_buffer_free(). *f is zeroed. */
static inline void gguf_make(aqz_buffer *out, gguf_file *f)
{
	const size_t alignment = f->alignment != 0 ? f->alignment : 32;

	*out = (aqz_buffer){0};
	gguf_add(out, "GGUF", 4);
	gguf_add32(out, 3);
	gguf_add64(out, f->n_tensors);
	gguf_add64(out, f->n_keys);
	gguf_add(out, f->metadata.data, f->metadata.n);
	gguf_add(out, f->table.data, f->table.n);
	if (f->n_tensors > 0) {
		gguf_add(out, NULL, (alignment - out->n % alignment) % alignment);
		gguf_add(out, f->data.data, f->data.n);
	}
	aqz_buffer_free(&f->metadata);
	aqz_buffer_free(&f->table);
	aqz_buffer_free(&f->data);
	*f = (gguf_file){0};
}

static inline aqz_status gguf_pread(void *user, void *dst, size_t n, uint64_t offset)
{
	const aqz_buffer *b = user;

	if (offset > b->n || n > b->n - offset)
		return AQZ_E_TRUNCATED;
	if (n > 0)
		memcpy(dst, b->data + offset, n);
	return AQZ_OK;
}

static inline aqz_status gguf_size(void *user, uint64_t *n_bytes)
{
	*n_bytes = ((const aqz_buffer *)user)->n;
	return AQZ_OK;
}

/* Reads from b, which must live as long. */
static inline void gguf_io(aqz_io *io, aqz_buffer *b)
{
	*io = (aqz_io){.user = b, .pread = gguf_pread, .size = gguf_size};
}

/* Tensors of several types and shapes, and one key. */
static const uint64_t gguf_shapes[][4] = {{3, 64}, {5}, {2, 3, 4, 32}, {0}, {0, 7}};

static inline void gguf_put_sample(gguf_file *f)
{
	uint8_t bytes[1000];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)i;
	gguf_put_string(f, "general.architecture", "llama");
	gguf_put_tensor(f, "b.weight", 3, 2, gguf_shapes[0], bytes, 3 * 2 * 20);
	gguf_put_tensor(f, "a.weight", 0, 1, gguf_shapes[1], bytes, 20);
	gguf_put_tensor(f, "c", 8, 4, gguf_shapes[2], bytes, 2 * 3 * 4 * 34);
	gguf_put_tensor(f, "single", 26, 0, NULL, bytes, 4);
	gguf_put_tensor(f, "nothing", 12, 1, gguf_shapes[3], NULL, 0);
	gguf_put_tensor(f, "nothing more", 1, 2, gguf_shapes[4], NULL, 0);
	gguf_put_tensor(f, "iq", 20, 2, gguf_shapes[0], NULL, 3 * 2 * 18); /* only sized */
}

#endif
