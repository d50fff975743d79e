/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a GGUF file: names to and from llama.cpp's, rows of q and k back to the order of halves. */
#include <stdio.h> /* snprintf */

#include "model/load.h"
#include "model/rope_factors.h"

typedef struct loader {
	aqz_file file;
	aqz_gguf *gguf;
	bool permuted; /* q and k have interleaved rotary pairs */
} loader;

static void loader_close(void *user)
{
	loader *l = user;

	if (l == NULL)
		return;
	aqz_gguf_close(l->gguf);
	aqz_file_close(&l->file);
	free(l);
}

/* ---- Names */

/* "model.layers.3.X" is "blk.3.Y". */
static const struct {
	const char *ours, *theirs;
} in_layers[] =
	{
		{"self_attn.q_proj.", "attn_q."},
		{"self_attn.k_proj.", "attn_k."},
		{"self_attn.v_proj.", "attn_v."},
		{"self_attn.o_proj.", "attn_output."},
		{"mlp.gate_proj.", "ffn_gate."},
		{"mlp.up_proj.", "ffn_up."},
		{"mlp.down_proj.", "ffn_down."},
		{"input_layernorm.", "attn_norm."},
		{"post_attention_layernorm.", "ffn_norm."},
		{"self_attn.q_norm.", "attn_q_norm."},
		{"self_attn.k_norm.", "attn_k_norm."},
},
  at_top[] = {
	  {"model.embed_tokens.", "token_embd."},
	  {"model.norm.", "output_norm."},
	  {"lm_head.", "output."},
};

static bool their_name(char out[AQZ_WEIGHT_NAME_BYTES], const char *name)
{
	static const char prefix[] = "model.layers.";
	const size_t n = sizeof prefix - 1;
	const size_t digits = strncmp(name, prefix, n) == 0 ? strspn(name + n, "0123456789") : 0;

	if (digits > 0 && digits < 8 && name[n + digits] == '.') {
		const char *rest = name + n + digits + 1;

		for (size_t i = 0; i < sizeof in_layers / sizeof *in_layers; i++) {
			const size_t m = strlen(in_layers[i].ours);

			if (strncmp(rest, in_layers[i].ours, m) != 0)
				continue;
			snprintf(out, AQZ_WEIGHT_NAME_BYTES, "blk.%.*s.%s%.16s", (int)digits, name + n,
				in_layers[i].theirs, rest + m);
			return true;
		}
		return false;
	}
	for (size_t i = 0; i < sizeof at_top / sizeof *at_top; i++) {
		const size_t m = strlen(at_top[i].ours);

		if (strncmp(name, at_top[i].ours, m) != 0)
			continue;
		snprintf(out, AQZ_WEIGHT_NAME_BYTES, "%s%.16s", at_top[i].theirs, name + m);
		return true;
	}
	return false;
}

/* ---- Tensors */

static aqz_status find_tensor(const aqz_gguf_tensor **out, const loader *l, const char *name,
	uint64_t rows, uint64_t cols, aqz_error *err)
{
	char theirs[AQZ_WEIGHT_NAME_BYTES];
	const bool known = their_name(theirs, name);
	const aqz_gguf_tensor *t = known ? aqz_gguf_tensor_find(l->gguf, theirs) : NULL;

	*out = t;
	if (t == NULL)
		return aqz_no_tensor(err, known ? theirs : name);
	if (t->rank != (cols == 0 ? 1 : 2) || t->shape[0] != rows || (cols != 0 && t->shape[1] != cols))
		return aqz_wrong_shape(err, t->name, t->shape, t->rank, rows, cols);
	if (t->type->widen == NULL)
		return aqz_wrong_type(err, t->name, t->type->name);
	return AQZ_OK;
}

/* The dtype of a type that has plain elements, or 0. */
static aqz_dtype dtype_of(const aqz_gguf_type *type)
{
	return type->n_values == 1 ? aqz_dtype_find(type->name, strlen(type->name)) : 0;
}

static aqz_status file_matrix(void *user, aqz_model *m, aqz_weight *w, const char *name,
	uint64_t rows, uint64_t cols, aqz_error *err)
{
	const loader *l = user;
	const uint32_t heads = l->permuted ? aqz_rotary_heads(&m->config, name) : 0;
	const aqz_gguf_tensor *t;
	aqz_dtype dtype;
	uint8_t *data;
	aqz_status status;

	AQZ_TRY(find_tensor(&t, l, name, rows, cols, err));
	dtype = dtype_of(t->type);
	if (dtype == AQZ_F32 || dtype == AQZ_F16 || dtype == AQZ_BF16)
		AQZ_TRY(aqz_model_room_dense(&data, m, w, rows, cols, dtype, err));
	else if (t->type->n_values > 1 && cols % t->type->n_values == 0)
		AQZ_TRY(aqz_model_room_blocks(&data, m, w, rows, cols, t->type, err));
	else
		return aqz_wrong_type(err, t->name, t->type->name);
	AQZ_TRY(aqz_in_tensor(
		err, aqz_file_read(&l->file, data, t->n_bytes, t->offset, NULL, err), t->name));
	if (heads > 0)
		AQZ_TRY(aqz_rows_to_halves(data, heads, m->config.head_dim, t->n_bytes / rows, m, err));
out:
	return status;
}

/* Reads a tensor of n elements to binary32; n is no more than the tensor's. */
static aqz_status read_values(
	float *values, const loader *l, aqz_model *m, const aqz_gguf_tensor *t, aqz_error *err)
{
	void *stored;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(&m->budget, &stored, t->n_bytes, "a vector", err));
	status = aqz_in_tensor(
		err, aqz_file_read(&l->file, stored, t->n_bytes, t->offset, NULL, err), t->name);
	if (status == AQZ_OK)
		t->type->widen(values, stored, (size_t)(t->n_elements / t->type->n_values));
	aqz_budget_free(&m->budget, stored, t->n_bytes);
out:
	return status;
}

static aqz_status file_vector(
	void *user, aqz_model *m, const float **v, const char *name, uint64_t n, aqz_error *err)
{
	const loader *l = user;
	const uint32_t heads = l->permuted ? aqz_rotary_heads(&m->config, name) : 0;
	const uint64_t n_bytes = n * sizeof(float);
	const aqz_gguf_tensor *t;
	void *values = NULL;
	aqz_status status;

	AQZ_TRY(find_tensor(&t, l, name, n, 0, err));
	AQZ_TRY(aqz_budget_alloc(&m->budget, &values, n_bytes, "a vector", err));
	AQZ_TRY(read_values(values, l, m, t, err));
	if (heads > 0) /* a bias of q or k */
		AQZ_TRY(aqz_rows_to_halves(values, heads, m->config.head_dim, sizeof(float), m, err));
	AQZ_TRY(aqz_model_keep_vector(v, m, values, AQZ_F32, n, err));
out:
	aqz_budget_free(&m->budget, values, n_bytes);
	return status;
}

/* ---- Opening */

/* Llama 3.1's scaling is kept as one factor for each rotary pair. */
static aqz_status read_factors(const loader *l, aqz_model *m, aqz_error *err)
{
	static const char name[] = "rope_freqs.weight";
	const aqz_gguf_tensor *t = aqz_gguf_tensor_find(l->gguf, name);
	const uint64_t half = m->config.head_dim / 2;
	void *values = NULL;
	aqz_status status = AQZ_OK;

	if (t == NULL)
		return AQZ_OK;
	if (t->rank != 1 || t->shape[0] != half)
		return aqz_wrong_shape(err, name, t->shape, t->rank, half, 0);
	if (t->type->widen == NULL)
		return aqz_wrong_type(err, name, t->type->name);
	AQZ_TRY(aqz_budget_alloc(&m->budget, &values, half * sizeof(float), "rotary factors", err));
	AQZ_TRY(read_values(values, l, m, t, err));
	if (!aqz_rope_from_factors(&m->config, values))
		status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, name,
			"these factors of the rotary angles are not those of Llama 3's scaling");
out:
	aqz_budget_free(&m->budget, values, half * sizeof(float));
	return status;
}

aqz_status aqz_loader_gguf(
	aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err)
{
	loader *l = calloc(1, sizeof *l);
	aqz_status status;

	*out = (aqz_loader){.close = loader_close};
	if (l == NULL)
		return aqz_fail_nomem(err, sizeof *l);
	l->file.fd = -1;
	AQZ_TRY(aqz_file_open(&l->file, path, NULL, err));
	AQZ_TRY(aqz_gguf_open(&l->gguf, &l->file.io, aqz_model_room(m), err));
	AQZ_TRY(aqz_config_from_gguf(&m->config, l->gguf, err));
	l->permuted = m->config.family == AQZ_LLAMA;
	AQZ_TRY(read_factors(l, m, err));
	m->memory.file_bytes = l->file.n_bytes;
	if (tokenizer) {
		aqz_error found = {0}; /* none is no failure, and leaves *err alone */

		status = aqz_tokenizer_from_gguf(&m->tokenizer, l->gguf, aqz_model_room(m), &found);
		if (status != AQZ_OK && status != AQZ_E_NOT_FOUND) {
			if (err != NULL)
				*err = found;
			goto out;
		}
		status = AQZ_OK;
	}
	*out = (aqz_loader){l, file_matrix, file_vector, loader_close};
	l = NULL;
out:
	loader_close(l);
	return status;
}
