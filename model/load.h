/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders share: whole small files, room for weights, orders of rows, where tensors are missing. */
#ifndef AQZ_MODEL_LOAD_H
#define AQZ_MODEL_LOAD_H

#include "interop/safetensors.h"
#include "model/model.h"

/* The largest config.json, tokenizer.json and the like that is taken. */
#define AQZ_CONFIG_MAX_BYTES (UINT64_C(1) << 20)
#define AQZ_TOKENIZER_MAX_BYTES (UINT64_C(256) << 20)

/* A regular file that is read at any place. */
typedef struct aqz_file {
	int fd; /* -1: none */
	aqz_io io;
	uint64_t n_bytes;
} aqz_file;

/* Opens path. NOT_FOUND, IO; FORMAT if it is no regular file. where: for errors, may be NULL. */
aqz_status aqz_file_open(aqz_file *f, const char *path, const char *where, aqz_error *err);
void aqz_file_close(aqz_file *f);
/* Reads n bytes at offset; TRUNCATED or IO, with that where. */
aqz_status aqz_file_read(const aqz_file *f, void *dst, uint64_t n, uint64_t offset, const char *where, aqz_error *err);

/* Scratch memory of a file's bytes, charged to the model's budget. */
typedef struct aqz_text {
	char *data;
	uint64_t n_bytes;
} aqz_text;
void aqz_text_free(aqz_text *text, aqz_model *m);

/* Parses the configuration and keeps the text in the model. Takes what text has, also on failure. */
aqz_status aqz_model_take_config(aqz_model *m, aqz_text *text, aqz_error *err);
/* Adds the end tokens of generation_config.json to those of the configuration. */
aqz_status aqz_config_add_ends(aqz_model_config *c, const char *json, size_t n, aqz_error *err);

/* What is left of the model's memory limit; 0 = no limit, 1 if nothing is left. */
uint64_t aqz_model_room(const aqz_model *m);

/* A matrix of elements, or of blocks of a GGUF type: room for it, for the caller to fill. Counts as dense or blocks. */
aqz_status aqz_model_room_dense(uint8_t **data, aqz_model *m, aqz_weight *w, uint64_t rows, uint64_t cols,
	aqz_dtype dtype, aqz_error *err);
aqz_status aqz_model_room_blocks(uint8_t **data, aqz_model *m, aqz_weight *w, uint64_t rows, uint64_t cols,
	const aqz_gguf_type *type, aqz_error *err);
/* Frees what the model has held since then, which was m->held. */
void aqz_model_forget(aqz_model *m, const struct aqz_model_held *then);
/* A vector in binary32 from stored elements of F32, F16 or BF16; dtypes as aqz_convert. */
aqz_status aqz_model_keep_vector(const float **v, aqz_model *m, const void *data, aqz_dtype dtype, uint64_t n,
	aqz_error *err);

/* From interleaved rotary pairs to halves, in place: row 2i + k of each head becomes row k * head_dim / 2 + i. */
aqz_status aqz_rows_to_halves(uint8_t *rows, uint64_t n_heads, uint64_t head_dim, uint64_t row_bytes, aqz_model *m,
	aqz_error *err);

/* Heads of a linear whose rows RoPE turns: n_heads for q, n_kv_heads for k by the tensor's name, 0 for all others. */
uint32_t aqz_rotary_heads(const aqz_model_config *c, const char *name);

/* NOT_FOUND for a tensor; the same name is tried without "model." by aqz_plain_name, which gives NULL if it has
 * none. */
aqz_status aqz_no_tensor(aqz_error *err, const char *name);
const char *aqz_plain_name(const char *name);
/* CORRUPT: the tensor has this shape, and not the one of the configuration. cols 0: a vector. */
aqz_status aqz_wrong_shape(aqz_error *err, const char *name, const uint64_t *shape, uint32_t rank, uint64_t rows,
	uint64_t cols);
/* UNSUPPORTED: the tensor's elements are of a type that no weight may have. */
aqz_status aqz_wrong_type(aqz_error *err, const char *name, const char *type);
/* Puts the tensor's name before the place of an error from below. */
aqz_status aqz_in_tensor(aqz_error *err, aqz_status status, const char *name);

/* CORRUPT if a weight, or a vector of n values, holds infinities or NaN. */
aqz_status aqz_weight_check_finite(const aqz_weight *w, const char *name, unsigned n_threads, aqz_error *err);
aqz_status aqz_vector_check_finite(const float *v, uint64_t n, const char *name, aqz_error *err);

/* Fills model->rope_inverse by the configuration. */
aqz_status aqz_rope_inverse(aqz_model *m, aqz_error *err);
/* The same, to inverse [head_dim / 2], in binary64. */
void aqz_rope_frequencies(double *inverse, const aqz_model_config *c);

#endif
