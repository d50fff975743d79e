/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF version 3: typed metadata and a table of tensors, all checked before anything is believed. Little-endian. */
#ifndef AQZ_INTEROP_GGUF_H
#define AQZ_INTEROP_GGUF_H

#include "base/base.h"

#define AQZ_GGUF_MAX_RANK 4

/* Types of metadata values. The numbers stand in files. */
typedef enum aqz_gguf_kind {
	AQZ_GGUF_U8 = 0, AQZ_GGUF_I8 = 1, AQZ_GGUF_U16 = 2, AQZ_GGUF_I16 = 3, AQZ_GGUF_U32 = 4, AQZ_GGUF_I32 = 5,
	AQZ_GGUF_F32 = 6, AQZ_GGUF_BOOL = 7, AQZ_GGUF_STRING = 8, AQZ_GGUF_ARRAY = 9, AQZ_GGUF_U64 = 10, AQZ_GGUF_I64 = 11,
	AQZ_GGUF_F64 = 12
} aqz_gguf_kind;

/* A type of tensor elements: blocks of n_values in n_bytes. widen is NULL for those that are only sized. */
typedef struct aqz_gguf_type {
	uint32_t id; /* in files */
	const char *name;
	uint32_t n_values, n_bytes;
	/* Dequantises n blocks to binary32, exactly as the format says. */
	void (*widen)(float *restrict dst, const uint8_t *restrict blocks, size_t n);
} aqz_gguf_type;

/* The type of that number, or NULL. */
const aqz_gguf_type *aqz_gguf_type_find(uint32_t id);

typedef struct aqz_gguf_tensor {
	const char *name; /* ends in NUL */
	const aqz_gguf_type *type;
	uint32_t rank;
	uint64_t shape[AQZ_GGUF_MAX_RANK]; /* row-major: the last one is contiguous (the file has them reversed) */
	uint64_t n_elements, n_bytes;
	uint64_t offset; /* in the file */
} aqz_gguf_tensor;

/* An array of strings or numbers, or a scalar as an array of one. */
typedef struct aqz_gguf_value {
	aqz_gguf_kind kind; /* of its elements; never ARRAY */
	bool array;
	uint64_t n;
	const uint8_t *data;      /* numbers: packed, any alignment. Strings: see aqz_gguf_string */
	const uint64_t *strings;  /* [n] offsets of a string's u64 length in the metadata; NULL if these are no strings */
} aqz_gguf_value;

typedef struct aqz_gguf aqz_gguf;

/* Parses header, metadata and table; io must live as long. Free with aqz_gguf_close(). At most limit_bytes (0 = none)
 * are allocated. FORMAT if it is no GGUF, UNSUPPORTED for another version, byte order, tensor type or nested arrays,
 * TRUNCATED if metadata or tensors end behind the file, CORRUPT for all else that is wrong. */
aqz_status aqz_gguf_open(aqz_gguf **out, const aqz_io *io, uint64_t limit_bytes, aqz_error *err);
void aqz_gguf_close(aqz_gguf *g);

uint32_t aqz_gguf_n_tensors(const aqz_gguf *g);
const aqz_gguf_tensor *aqz_gguf_tensor_get(const aqz_gguf *g, uint32_t i);
const aqz_gguf_tensor *aqz_gguf_tensor_find(const aqz_gguf *g, const char *name);

/* The value of a key, or NULL. */
const aqz_gguf_value *aqz_gguf_find(const aqz_gguf *g, const char *key);
/* String i of a value of strings; *n its bytes (no NUL behind it). */
const char *aqz_gguf_string(const aqz_gguf *g, const aqz_gguf_value *v, uint64_t i, size_t *n);
/* Number i as an integer or a double, from any number type; false if it does not fit or is none. BOOL is 0 or 1. */
bool aqz_gguf_integer(const aqz_gguf_value *v, uint64_t i, int64_t *out);
bool aqz_gguf_double(const aqz_gguf_value *v, uint64_t i, double *out);

#endif
