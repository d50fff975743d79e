/* SPDX-License-Identifier: Apache-2.0 */
/* Inside a model: weights in the forms in which files have them, blocks, and how they are found. */
#ifndef AQZ_MODEL_MODEL_H
#define AQZ_MODEL_MODEL_H

#include "aqlmzip_model.h"
#include "base/base.h"
#include "codec/additive.h"
#include "interop/gguf.h"

/* ---- Weights */

typedef enum aqz_weight_form {
	AQZ_WEIGHT_NONE = 0,
	AQZ_WEIGHT_DENSE,    /* elements */
	AQZ_WEIGHT_BLOCKS,   /* blocks of a GGUF type; a row is whole blocks */
	AQZ_WEIGHT_ADDITIVE, /* T64 codes */
	AQZ_WEIGHT_SYMBOLS   /* integers times a step of the row and one of the column */
} aqz_weight_form;

/* Rows of an additive matrix that have their own codebooks; most matrices are one part. */
typedef struct aqz_weight_part {
	uint64_t row_begin, row_end; /* elements' rows; begin is a multiple of 64 * O */
	aqz_tables tables;           /* codebooks widened to binary32; values shared between weights, see aqz_model */
	const uint8_t *lines;        /* T64 lines of these rows: 64-row blocks one after the other */
	const float *scales;         /* one for each code row of the part */
} aqz_weight_part;

/* An integer that data does not hold. */
typedef struct aqz_wide_symbol {
	uint32_t col;
	float value; /* exact */
} aqz_wide_symbol;

/* What an archive tensor's symbols are multiplied with: element [i][j] is symbol * (column_step[j] * row_step[i]) in
 * binary32, rounded to the weight's dtype, spec 7.3.4. */
typedef struct aqz_symbols {
	unsigned bits; /* of each in data: 8, or 4 (aqz_row_kernels.i4) */
	const float *row_step, *column_step; /* [rows], [cols] */
	/* Symbols beyond -127..127 or -8..7, row after row; data has 0 in their places. Those of row i begin at
	 * wide[wide_begin[i]]. */
	const uint64_t *wide_begin;          /* [rows + 1], or NULL: there are none */
	const aqz_wide_symbol *wide;
} aqz_symbols;

/* Bytes of a row of symbols. */
static inline uint64_t aqz_symbols_row_bytes(unsigned bits, uint64_t cols)
{
	return bits == 8 ? cols : (cols + 31) / 32 * 16;
}

/* A matrix [rows, cols] = [out, in] as the model holds it. */
typedef struct aqz_weight {
	aqz_weight_form form;
	uint64_t rows, cols;
	/* Dense: F32, F16 or BF16. Additive and symbols: what reconstruction is rounded to (F32: not). */
	aqz_dtype dtype;
	const aqz_gguf_type *type;   /* blocks */
	const uint8_t *data;         /* dense, blocks, symbols: rows, densely packed, 64-byte aligned */
	const aqz_symbols *symbols;
	const aqz_weight_part *parts;
	uint32_t n_parts;
	const float *bias;           /* [rows], or NULL */
} aqz_weight;

/* The linear layers of a block, in the order in which their inputs come. */
typedef enum aqz_linear_kind {
	AQZ_LINEAR_Q, AQZ_LINEAR_K, AQZ_LINEAR_V, AQZ_LINEAR_O, AQZ_LINEAR_GATE, AQZ_LINEAR_UP, AQZ_LINEAR_DOWN,
	AQZ_N_LINEARS
} aqz_linear_kind;

typedef struct aqz_block {
	aqz_weight linear[AQZ_N_LINEARS];
	const float *attention_norm, *ffn_norm; /* [hidden] */
	const float *q_norm, *k_norm;           /* [head_dim], or NULL */
} aqz_block;

struct aqz_model {
	aqz_model_config config;
	aqz_weight embedding;
	aqz_weight head;         /* a copy of embedding if they are tied */
	aqz_block *blocks;       /* [n_layers] */
	const float *final_norm; /* [hidden] */
	aqz_tokenizer *tokenizer; /* owned; NULL if there is none */
	float *rope_inverse;     /* [head_dim / 2] angle per position, after scaling */
	aqz_model_memory memory;
	char *config_json;       /* of a Hugging Face source, for export; NULL else */
	size_t config_json_bytes;
	aqz_budget budget;
	/* What the pointers above point into. */
	struct aqz_model_held { struct aqz_model_held *next; void *p; uint64_t n_bytes; } *held;
};

/* Room for any tensor name that this library makes. */
#define AQZ_WEIGHT_NAME_BYTES 96
/* "model.layers.3.self_attn.q_proj.weight"; suffix "weight" or "bias". */
void aqz_linear_name(char name[AQZ_WEIGHT_NAME_BYTES], uint32_t layer, aqz_linear_kind kind, const char *suffix);
/* Rows and columns that the configuration gives a linear. */
void aqz_linear_shape(const aqz_model_config *c, aqz_linear_kind kind, uint64_t *rows, uint64_t *cols);
bool aqz_linear_has_bias(const aqz_model_config *c, aqz_linear_kind kind);

/* ---- Where weights come from: one loader for each kind of file, all behind this. Names are Hugging Face's. */

typedef struct aqz_loader {
	void *user;
	/* Reads a matrix [rows, cols] and keeps it in the model (aqz_model_hold). NOT_FOUND if there is no such tensor. */
	aqz_status (*matrix)(void *user, aqz_model *m, aqz_weight *w, const char *name, uint64_t rows, uint64_t cols,
		aqz_error *err);
	/* Reads a vector to binary32. NOT_FOUND if there is no such tensor. */
	aqz_status (*vector)(void *user, aqz_model *m, const float **v, const char *name, uint64_t n, aqz_error *err);
	void (*close)(void *user);
} aqz_loader;

/* Each reads what it needs of the file for the configuration, and fills model->config, and model->tokenizer unless
 * tokenizer is false. FORMAT if the file is not of its kind, so that the next one may try. */
aqz_status aqz_loader_folder(aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err);
aqz_status aqz_loader_aqz(aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err);
aqz_status aqz_loader_gguf(aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err);
aqz_status aqz_loader_llama2c(aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err);

/* Memory that lives as long as the model, zeroed, 64-byte aligned. */
aqz_status aqz_model_hold(aqz_model *m, void **p, uint64_t n_bytes, const char *what, aqz_error *err);

/* config.json to a configuration; UNSUPPORTED names the field. Checks all ranges, so that sizes made of it fit. */
aqz_status aqz_config_parse(aqz_model_config *c, const char *json, size_t n, aqz_error *err);
aqz_status aqz_config_from_gguf(aqz_model_config *c, const aqz_gguf *g, aqz_error *err);
/* The ranges and relations of a configuration that came from anywhere. */
aqz_status aqz_config_check(const aqz_model_config *c, aqz_error *err);
/* Writes config.json for Hugging Face; *json is freed with free(). */
aqz_status aqz_config_to_json(const aqz_model_config *c, aqz_dtype dtype, char **json, size_t *n, aqz_error *err);

/* The tokenizer of a GGUF's metadata. NOT_FOUND if it has none. */
aqz_status aqz_tokenizer_from_gguf(aqz_tokenizer **out, const aqz_gguf *g, uint64_t memlimit_bytes, aqz_error *err);

#endif
