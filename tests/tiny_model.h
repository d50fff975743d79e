/* SPDX-License-Identifier: Apache-2.0 */
/* A small model whose weights are known by their names, written in every form that is read. Rows of q and k are put
 * into the order of the form by formulas of their own, the inverse of the loader's. */
#ifndef AQZ_TEST_TINY_MODEL_H
#define AQZ_TEST_TINY_MODEL_H

#include <math.h>

#include "tests/gguf_file.h"
#include "tests/model_folder.h"
#include "model/linear.h"

#define TINY_MAX_TENSORS 64

/* What to write, and what is wrong with it. */
typedef struct tiny {
	aqz_model_config config;
	aqz_dtype dtype;      /* of matrices; vectors are F32 */
	uint32_t gguf_type;   /* of matrices in GGUF files: 0 F32, 1 F16, 30 BF16, others are blocks */
	bool plain_names;     /* without "model." */
	const char *missing;  /* no such tensor */
	const char *misshapen; /* it has a row too many */
	const char *wrong_dtype; /* it is of integers */
	const char *infinite, *nan; /* the last element of these is not finite */
	const char *config_json; /* instead of the configuration's own */
	bool same_head;       /* its values are the embedding's */
	const char *other_end; /* the last element of this is another */
} tiny;

typedef struct tiny_tensor {
	char name[AQZ_WEIGHT_NAME_BYTES];
	uint64_t rows, cols; /* cols 0: a vector */
	uint32_t rotary_heads;
} tiny_tensor;

static inline tiny tiny_llama(void)
{
	tiny t = {.config = {.family = AQZ_LLAMA, .n_layers = 2, .hidden = 32, .intermediate = 64, .n_heads = 4,
		.n_kv_heads = 2, .head_dim = 8, .vocabulary = 50, .max_positions = 16, .rms_eps = 1e-5f, .rope_theta = 10000,
		.bos = 1, .eos = {1, 2}, .n_eos = 2}, .dtype = AQZ_F32};

	return t;
}

static inline tiny tiny_family(aqz_model_family family)
{
	tiny t = tiny_llama();

	t.config.family = family;
	t.config.qkv_bias = family == AQZ_QWEN2;
	t.config.qk_norm = family == AQZ_QWEN3;
	t.config.tied = family == AQZ_QWEN2;
	return t;
}

static inline void tiny_add(tiny_tensor *all, uint32_t *n, const char *name, uint64_t rows, uint64_t cols,
	uint32_t rotary_heads)
{
	ck_assert_uint_lt(*n, TINY_MAX_TENSORS);
	all[*n] = (tiny_tensor){.rows = rows, .cols = cols, .rotary_heads = rotary_heads};
	snprintf(all[*n].name, sizeof all[*n].name, "%s", name);
	++*n;
}

/* All tensors of the model, in no order that counts. */
static inline uint32_t tiny_list(tiny_tensor *all, const aqz_model_config *c)
{
	char name[AQZ_WEIGHT_NAME_BYTES];
	uint32_t n = 0;

	tiny_add(all, &n, "model.embed_tokens.weight", c->vocabulary, c->hidden, 0);
	tiny_add(all, &n, "model.norm.weight", c->hidden, 0, 0);
	if (!c->tied)
		tiny_add(all, &n, "lm_head.weight", c->vocabulary, c->hidden, 0);
	for (uint32_t i = 0; i < c->n_layers; i++) {
		for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
			const uint32_t heads = kind == AQZ_LINEAR_Q ? c->n_heads : kind == AQZ_LINEAR_K ? c->n_kv_heads : 0;
			uint64_t rows, cols;

			aqz_linear_shape(c, kind, &rows, &cols);
			aqz_linear_name(name, i, kind, "weight");
			tiny_add(all, &n, name, rows, cols, heads);
			aqz_linear_name(name, i, kind, "bias");
			if (aqz_linear_has_bias(c, kind))
				tiny_add(all, &n, name, rows, 0, heads);
		}
		snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", i);
		tiny_add(all, &n, name, c->hidden, 0, 0);
		snprintf(name, sizeof name, "model.layers.%u.post_attention_layernorm.weight", i);
		tiny_add(all, &n, name, c->hidden, 0, 0);
		snprintf(name, sizeof name, "model.layers.%u.self_attn.q_norm.weight", i);
		if (c->qk_norm)
			tiny_add(all, &n, name, c->head_dim, 0, 0);
		snprintf(name, sizeof name, "model.layers.%u.self_attn.k_norm.weight", i);
		if (c->qk_norm)
			tiny_add(all, &n, name, c->head_dim, 0, 0);
	}
	return n;
}

/* Element [row][col] of a tensor: eighths, exact in every float type. */
static inline float tiny_value(const char *name, uint64_t row, uint64_t col)
{
	uint64_t h = 1469598103934665603u;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 1099511628211u;
	h = (h ^ row * 7919 ^ col) * 0x9e3779b97f4a7c15u;
	return (float)((int)(h >> 56) - 128) / 64;
}

static inline bool tiny_is(const char *which, const char *name)
{
	return which != NULL && strcmp(which, name) == 0;
}

/* Row r of a file with interleaved rotary pairs is row 2i + k of its head for the row k * half + i that it is here. */
static inline uint64_t tiny_interleaved(uint64_t r, uint64_t head_dim)
{
	const uint64_t within = r % head_dim;

	return r - within + within % 2 * (head_dim / 2) + within / 2;
}

/* The elements in F32, in the form's order of rows. Free with free(). */
static inline float *tiny_values(const tiny *t, const tiny_tensor *x, bool interleaved)
{
	const uint64_t cols = x->cols == 0 ? 1 : x->cols, extra = tiny_is(t->misshapen, x->name);
	float *values = calloc((x->rows + extra) * cols, sizeof *values);

	for (uint64_t r = 0; r < x->rows; r++)
		for (uint64_t k = 0; k < cols; k++)
			values[r * cols + k] = tiny_value(t->same_head && strcmp(x->name, "lm_head.weight") == 0 ?
				"model.embed_tokens.weight" : x->name,
				interleaved && x->rotary_heads > 0 ? tiny_interleaved(r, t->config.head_dim) : r, k);
	if (tiny_is(t->other_end, x->name))
		values[x->rows * cols - 1] += 1;
	if (tiny_is(t->infinite, x->name))
		values[x->rows * cols - 1] = -INFINITY;
	if (tiny_is(t->nan, x->name))
		values[x->rows * cols - 1] = NAN;
	return values;
}

static inline void tiny_put_bytes(FILE *f, const void *bytes, size_t n)
{
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
}

/* Writes config.json and model.safetensors to the test's folder. */
static inline void tiny_put_folder(const tiny *t)
{
	tiny_tensor all[TINY_MAX_TENSORS];
	aqz_source_tensor table[TINY_MAX_TENSORS] = {0};
	const uint32_t n = tiny_list(all, &t->config);
	uint32_t n_kept = 0;
	aqz_error err;
	uint8_t *header;
	char *json;
	size_t n_bytes;
	FILE *f;

	for (uint32_t i = 0; i < n; i++) {
		aqz_source_tensor *e = &table[n_kept];
		const bool top = t->plain_names && strncmp(all[i].name, "model.", 6) == 0;

		if (tiny_is(t->missing, all[i].name))
			continue;
		e->name = top ? all[i].name + 6 : all[i].name;
		e->name_bytes = strlen(e->name);
		e->dtype = all[i].cols == 0 ? AQZ_F32 : t->dtype;
		if (tiny_is(t->wrong_dtype, all[i].name))
			e->dtype = AQZ_I32;
		e->rank = all[i].cols == 0 ? 1 : 2;
		e->shape[0] = all[i].rows + tiny_is(t->misshapen, all[i].name);
		e->shape[1] = all[i].cols;
		ck_assert(aqz_shape_size(&e->n_elements, &e->n_bytes, e->shape, e->rank, e->dtype));
		all[n_kept++] = all[i];
		e->name = top ? all[n_kept - 1].name + 6 : all[n_kept - 1].name;
	}
	ck_assert_msg(aqz_safetensors_header(&header, &n_bytes, table, n_kept, NULL, &err) == AQZ_OK, "%s", err.text);
	f = fopen(in_root("model.safetensors"), "wb");
	ck_assert_ptr_nonnull(f);
	tiny_put_bytes(f, header, n_bytes);
	for (uint32_t i = 0; i < n_kept; i++) {
		float *values = tiny_values(t, &all[i], false);
		void *stored = calloc(table[i].n_elements, sizeof(float));

		if (table[i].dtype != AQZ_I32)
			ck_assert_int_eq(aqz_convert(stored, table[i].dtype, values, AQZ_F32, table[i].n_elements, NULL), AQZ_OK);
		tiny_put_bytes(f, stored, table[i].n_bytes);
		free(stored);
		free(values);
	}
	fclose(f);
	free(header);
	if (t->config_json != NULL) {
		put_text("config.json", t->config_json);
		return;
	}
	ck_assert_msg(aqz_config_to_json(&t->config, t->dtype, &json, &n_bytes, &err) == AQZ_OK, "%s", err.text);
	put("config.json", json, n_bytes);
	free(json);
}

/* "blk.1.attn_q.weight" of "model.layers.1.self_attn.q_proj.weight". */
static inline void tiny_gguf_name(char out[AQZ_WEIGHT_NAME_BYTES], const char *name)
{
	static const char *const parts[][2] = {{"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
		{"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"}, {"mlp.gate_proj", "ffn_gate"},
		{"mlp.up_proj", "ffn_up"}, {"mlp.down_proj", "ffn_down"}, {"input_layernorm", "attn_norm"},
		{"post_attention_layernorm", "ffn_norm"}, {"self_attn.q_norm", "attn_q_norm"},
		{"self_attn.k_norm", "attn_k_norm"}};
	const char *suffix = strrchr(name, '.');

	if (strncmp(name, "model.layers.", 13) != 0) {
		snprintf(out, AQZ_WEIGHT_NAME_BYTES, "%s%s", strstr(name, "embed") != NULL ? "token_embd"
			: strstr(name, "norm") != NULL ? "output_norm" : "output", suffix);
		return;
	}
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (strstr(name, parts[i][0]) != NULL)
			snprintf(out, AQZ_WEIGHT_NAME_BYTES, "blk.%d.%s%s", atoi(name + 13), parts[i][1], suffix);
}

/* The metadata of the configuration; architecture is "llama" for mistral too. */
static inline void tiny_gguf_keys(gguf_file *g, const aqz_model_config *c)
{
	const char *a = c->family == AQZ_QWEN2 ? "qwen2" : c->family == AQZ_QWEN3 ? "qwen3" : "llama";
	const struct { const char *name; uint32_t value; } counts[] = {{"block_count", c->n_layers},
		{"embedding_length", c->hidden}, {"feed_forward_length", c->intermediate}, {"attention.head_count", c->n_heads},
		{"attention.head_count_kv", c->n_kv_heads}, {"attention.key_length", c->head_dim},
		{"attention.value_length", c->head_dim}, {"rope.dimension_count", c->head_dim},
		{"context_length", c->max_positions}};
	char key[64];

	gguf_put_string(g, "general.architecture", a);
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		snprintf(key, sizeof key, "%s.%s", a, counts[i].name);
		gguf_put_u32(g, key, counts[i].value);
	}
	snprintf(key, sizeof key, "%s.rope.freq_base", a);
	gguf_put_f32(g, key, (float)c->rope_theta);
	snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", a);
	gguf_put_f32(g, key, c->rms_eps);
}

/* Adds all tensors. Blocks have bytes that are noise, but for the two bytes of a scale at their start. */
static inline void tiny_gguf_tensors(gguf_file *g, const tiny *t)
{
	tiny_tensor all[TINY_MAX_TENSORS];
	const uint32_t n = tiny_list(all, &t->config);
	const bool permuted = t->config.family == AQZ_LLAMA || t->config.family == AQZ_MISTRAL;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t number = all[i].cols == 0 ? 0 : tiny_is(t->wrong_dtype, all[i].name) ? 10 : t->gguf_type;
		const aqz_gguf_type *type = aqz_gguf_type_find(number);
		const uint64_t rows = all[i].rows + tiny_is(t->misshapen, all[i].name);
		const uint64_t cols = number == 10 ? 256 : all[i].cols == 0 ? 1 : all[i].cols;
		const uint64_t shape[2] = {rows, cols}, n_blocks = rows * cols / type->n_values;
		uint8_t *stored = calloc(n_blocks, type->n_bytes);
		char name[AQZ_WEIGHT_NAME_BYTES];

		if (tiny_is(t->missing, all[i].name)) {
			free(stored);
			continue;
		}
		if (type->n_values == 1) {
			float *values = tiny_values(t, &all[i], permuted);

			ck_assert_int_eq(aqz_convert(stored, number == 0 ? AQZ_F32 : number == 1 ? AQZ_F16 : AQZ_BF16, values,
				AQZ_F32, rows * cols, NULL), AQZ_OK);
			free(values);
		} else {
			for (uint64_t k = 0; k < n_blocks * type->n_bytes; k++)
				stored[k] = (uint8_t)(int)(64 * tiny_value(all[i].name, k, 5));
			for (uint64_t b = 0; b < n_blocks; b++) {
				/* Scales are float16 at the start; of Q4_1 and Q5_1 a minimum follows. */
				stored[b * type->n_bytes + 1] &= 0x3b;
				stored[b * type->n_bytes + 3] &= 0x3b;
			}
			if (tiny_is(t->nan, all[i].name))
				stored[(n_blocks - 1) * type->n_bytes + 1] = 0x7e;
		}
		tiny_gguf_name(name, all[i].name);
		gguf_put_tensor(g, name, number, all[i].cols == 0 ? 1 : 2, shape, stored, n_blocks * type->n_bytes);
		free(stored);
	}
}

static inline void tiny_put_gguf(const tiny *t, const char *file)
{
	gguf_file g = {0};
	aqz_buffer bytes;

	tiny_gguf_keys(&g, &t->config);
	tiny_gguf_tensors(&g, t);
	gguf_make(&bytes, &g);
	put(file, bytes.data, bytes.n);
	aqz_buffer_free(&bytes);
}

static inline void tiny_put_one(FILE *f, const tiny *t, const tiny_tensor *all, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(all[i].name, name) == 0) {
			float *values = tiny_values(t, &all[i], true);

			tiny_put_bytes(f, values, all[i].rows * (all[i].cols == 0 ? 1 : all[i].cols) * sizeof *values);
			free(values);
			return;
		}
	ck_abort_msg("%s", name);
}

/* A llama2.c file: a whole tensor for all layers, then the next. */
static inline void tiny_put_llama2c(const tiny *t, const char *file)
{
	static const char *const order[] = {"input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
		"self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"};
	const aqz_model_config *c = &t->config;
	const int32_t header[7] = {(int32_t)c->hidden, (int32_t)c->intermediate, (int32_t)c->n_layers, (int32_t)c->n_heads,
		(int32_t)c->n_kv_heads, c->tied ? (int32_t)c->vocabulary : -(int32_t)c->vocabulary, (int32_t)c->max_positions};
	tiny_tensor all[TINY_MAX_TENSORS];
	const uint32_t n = tiny_list(all, c);
	char name[AQZ_WEIGHT_NAME_BYTES];
	FILE *f = fopen(in_root(file), "wb");

	ck_assert_ptr_nonnull(f);
	tiny_put_bytes(f, header, sizeof header);
	tiny_put_one(f, t, all, n, "model.embed_tokens.weight");
	for (size_t k = 0; k < sizeof order / sizeof *order; k++)
		for (uint32_t i = 0; i < c->n_layers; i++) {
			snprintf(name, sizeof name, "model.layers.%u.%s.weight", i, order[k]);
			tiny_put_one(f, t, all, n, name);
		}
	tiny_put_one(f, t, all, n, "model.norm.weight");
	for (uint32_t i = 0; i < c->max_positions * c->head_dim; i++)
		tiny_put_bytes(f, &(float){NAN}, sizeof(float)); /* never looked at */
	if (!c->tied)
		tiny_put_one(f, t, all, n, "lm_head.weight");
	fclose(f);
}

static inline aqz_model *tiny_open(const char *path)
{
	aqz_model *m;
	aqz_error err = {0};
	const aqz_status status = aqz_model_open(&m, path, NULL, &err);

	ck_assert_msg(status == AQZ_OK, "%s: %s: %s: %s", path, aqz_status_name(status), err.where, err.text);
	return m;
}

/* Where a model has a tensor: a weight or a vector. */
static inline void tiny_find(const aqz_weight **w, const float **v, const aqz_model *m, const char *name)
{
	char due[AQZ_WEIGHT_NAME_BYTES];
	const aqz_block *b;
	int layer;

	*w = NULL;
	*v = NULL;
	if (sscanf(name, "model.layers.%d.", &layer) != 1) {
		*w = strstr(name, "embed") != NULL ? &m->embedding : strstr(name, "head") != NULL ? &m->head : NULL;
		*v = m->final_norm;
		return;
	}
	b = &m->blocks[layer];
	for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
		aqz_linear_name(due, (uint32_t)layer, kind, "weight");
		if (strcmp(due, name) == 0)
			*w = &b->linear[kind];
		aqz_linear_name(due, (uint32_t)layer, kind, "bias");
		if (strcmp(due, name) == 0)
			*v = b->linear[kind].bias;
	}
	if (strstr(name, "input_layernorm") != NULL)
		*v = b->attention_norm;
	if (strstr(name, "post_attention") != NULL)
		*v = b->ffn_norm;
	if (strstr(name, "q_norm") != NULL)
		*v = b->q_norm;
	if (strstr(name, "k_norm") != NULL)
		*v = b->k_norm;
}

/* Checks every element of a model whose weights are dense. */
static inline void tiny_check(const aqz_model *m, const tiny *t, aqz_dtype dtype)
{
	tiny_tensor all[TINY_MAX_TENSORS];
	const uint32_t n = tiny_list(all, &t->config);
	uint64_t n_weights = 0, n_vectors = 0;

	for (uint32_t i = 0; i < n; i++) {
		const tiny_tensor *x = &all[i];
		const aqz_weight *w;
		const float *v;
		float *row = calloc(x->cols + 1, sizeof *row);

		tiny_find(&w, &v, m, x->name);
		n_weights += x->rows * (x->cols == 0 ? 1 : x->cols);
		n_vectors += x->cols == 0 ? x->rows : 0;
		for (uint64_t r = 0; x->cols == 0 && r < x->rows; r++)
			ck_assert_msg(v != NULL && v[r] == tiny_value(x->name, r, 0), "%s [%d]", x->name, (int)r);
		if (x->cols != 0)
			ck_assert_msg(w != NULL && w->form == AQZ_WEIGHT_DENSE && w->dtype == dtype && w->rows == x->rows &&
				w->cols == x->cols && (uintptr_t)w->data % 64 == 0, "%s", x->name);
		for (uint64_t r = 0; x->cols != 0 && r < x->rows; r++) {
			aqz_weight_rows(row, x->cols, w, r, r + 1);
			for (uint64_t k = 0; k < x->cols; k++)
				if (!(row[k] == tiny_value(x->name, r, k))) /* Check's own assertions are system calls */
					ck_abort_msg("%s [%d][%d]", x->name, (int)r, (int)k);
		}
		free(row);
	}
	ck_assert_uint_eq(m->memory.n_weights, n_weights);
	ck_assert_uint_eq(m->memory.dense, (n_weights - n_vectors) * aqz_dtype_bits(dtype) / 8 + n_vectors * 4);
	ck_assert(m->memory.blocks == 0 && m->memory.codes == 0 && m->memory.codebooks == 0);
}

#endif
