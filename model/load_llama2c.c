/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a llama2.c file, version 0 (legacy_export of https://github.com/karpathy/llama2.c, MIT). It has no
 * tokenizer. Rows of q and k are in interleaved rotary order. */
#include "model/llama2c.h"
#include "model/load.h"

/* "ak42", before the version number of later files. */
#define LATER_MAGIC 0x616b3432u

/* ---- Header */

/* Values of all rows of a linear in one layer. */
static uint64_t linear_values(const aqz_model_config *c, aqz_linear_kind kind)
{
	uint64_t rows, cols;

	aqz_linear_shape(c, kind, &rows, &cols);
	return rows * cols;
}

/* Lays the tensors out. The bounds of the configuration keep a tensor below 2^48 values, all layers below 2^58. */
static aqz_status lay_out(aqz_llama2c *f, aqz_error *err)
{
	static const aqz_linear_kind attention[4] = {
		AQZ_LINEAR_Q, AQZ_LINEAR_K, AQZ_LINEAR_V, AQZ_LINEAR_O};
	static const aqz_linear_kind ffn[3] = {AQZ_LINEAR_GATE, AQZ_LINEAR_DOWN, AQZ_LINEAR_UP};
	const aqz_model_config *c = &f->config;
	const uint64_t norms = (uint64_t)c->n_layers * c->hidden;
	const uint64_t table = (uint64_t)c->vocabulary * c->hidden;
	uint64_t at = 0, skipped;
	bool ok = true;

	f->embedding = at;
	at += table;
	f->attention_norm = at;
	at += norms;
	for (int i = 0; i < 4; i++) {
		f->linear[attention[i]] = at;
		ok = ok && aqz_add(&at, at, c->n_layers * linear_values(c, attention[i]));
	}
	f->ffn_norm = at;
	at += norms;
	for (int i = 0; i < 3; i++) {
		f->linear[ffn[i]] = at;
		ok = ok && aqz_add(&at, at, c->n_layers * linear_values(c, ffn[i]));
	}
	f->final_norm = at;
	at += c->hidden;
	/* Cosines and sines of every position, which nobody reads any more. */
	skipped = (uint64_t)c->max_positions * (c->head_dim / 2) * 2;
	ok = ok && aqz_add(&at, at, skipped);
	f->head = at;
	if (!c->tied)
		ok = ok && aqz_add(&at, at, table);
	ok = ok && aqz_mul(&f->n_bytes, at, sizeof(float)) &&
		aqz_add(&f->n_bytes, f->n_bytes, AQZ_LLAMA2C_HEADER_BYTES);
	if (!ok)
		return aqz_fail(err, AQZ_E_FORMAT, 0, NULL, "the header's sizes are impossible");
	f->embedding = AQZ_LLAMA2C_HEADER_BYTES + f->embedding * sizeof(float);
	f->attention_norm = AQZ_LLAMA2C_HEADER_BYTES + f->attention_norm * sizeof(float);
	f->ffn_norm = AQZ_LLAMA2C_HEADER_BYTES + f->ffn_norm * sizeof(float);
	f->final_norm = AQZ_LLAMA2C_HEADER_BYTES + f->final_norm * sizeof(float);
	f->head = AQZ_LLAMA2C_HEADER_BYTES + f->head * sizeof(float);
	for (int i = 0; i < AQZ_N_LINEARS; i++)
		f->linear[i] = AQZ_LLAMA2C_HEADER_BYTES + f->linear[i] * sizeof(float);
	return AQZ_OK;
}

aqz_status aqz_llama2c_parse(aqz_llama2c *out, const uint8_t *head, uint64_t n, aqz_error *err)
{
	static const char not_so[] = "this is no file of llama2.c";
	int64_t v[7];
	aqz_model_config *c = &out->config;

	*out = (aqz_llama2c){0};
	if (n >= 8 && aqz_get32(head) == LATER_MAGIC)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 4, "version",
			"files of llama2.c of version %u are not supported; version 0 is", aqz_get32(head + 4));
	if (n < AQZ_LLAMA2C_HEADER_BYTES)
		return aqz_fail(err, AQZ_E_FORMAT, 0, NULL, not_so);
	for (int i = 0; i < 7; i++)
		v[i] = (int32_t)aqz_get32(head + 4 * i);
	*c = (aqz_model_config){.family = AQZ_LLAMA, .rms_eps = 1e-5f, .rope_theta = 10000};
	c->tied = v[5] > 0; /* a negative vocabulary says that the head is not the embedding */
	v[5] = v[5] > 0 ? v[5] : -v[5];
	for (int i = 0; i < 7; i++)
		if (v[i] <= 0)
			return aqz_fail(err, AQZ_E_FORMAT, 0, NULL, not_so);
	if (v[0] % v[3] != 0)
		return aqz_fail(err, AQZ_E_FORMAT, 0, NULL, not_so);
	c->hidden = (uint32_t)v[0];
	c->intermediate = (uint32_t)v[1];
	c->n_layers = (uint32_t)v[2];
	c->n_heads = (uint32_t)v[3];
	c->n_kv_heads = (uint32_t)v[4];
	c->vocabulary = (uint32_t)v[5];
	c->max_positions = (uint32_t)v[6];
	c->head_dim = c->hidden / c->n_heads;
	c->bos = c->vocabulary > 1 ? 1 : AQZ_NO_TOKEN;
	/* These models write BOS between texts, and run.c stops there. */
	for (uint32_t id = 1; id <= 2 && id < c->vocabulary; id++)
		c->eos[c->n_eos++] = id;
	if (aqz_config_check(c, NULL) != AQZ_OK)
		return aqz_fail(err, AQZ_E_FORMAT, 0, NULL, not_so);
	return lay_out(out, err);
}

/* ---- Tensors */

typedef struct loader {
	aqz_file file;
	aqz_llama2c layout;
} loader;

static void loader_close(void *user)
{
	loader *l = user;

	if (l == NULL)
		return;
	aqz_file_close(&l->file);
	free(l);
}

/* The number and what follows it, of "model.layers.12.mlp.up_proj.weight". */
static const char *layer_of(uint32_t *layer, const char *name, uint32_t n_layers)
{
	static const char prefix[] = "model.layers.";
	char *end;
	unsigned long number;

	if (strncmp(name, prefix, sizeof prefix - 1) != 0)
		return NULL;
	number = strtoul(name + sizeof prefix - 1, &end, 10);
	if (end == name + sizeof prefix - 1 || *end != '.' || number >= n_layers)
		return NULL;
	*layer = (uint32_t)number;
	return end + 1;
}

/* Where a tensor begins; false if the file has none of that name. */
static bool find_tensor(uint64_t *offset, const aqz_llama2c *f, const char *name)
{
	const aqz_model_config *c = &f->config;
	char due[AQZ_WEIGHT_NAME_BYTES];
	uint32_t layer;
	const char *rest = layer_of(&layer, name, c->n_layers);
	const uint64_t norm_bytes = c->hidden * sizeof(float);

	if (rest == NULL) {
		*offset = strcmp(name, "model.embed_tokens.weight") == 0 ? f->embedding
			: strcmp(name, "model.norm.weight") == 0			 ? f->final_norm
			: strcmp(name, "lm_head.weight") == 0 && !c->tied	 ? f->head
																 : 0;
		return *offset != 0;
	}
	for (aqz_linear_kind kind = AQZ_LINEAR_Q; kind < AQZ_N_LINEARS; kind++) {
		aqz_linear_name(due, layer, kind, "weight");
		*offset = f->linear[kind] + layer * linear_values(c, kind) * sizeof(float);
		if (strcmp(name, due) == 0)
			return true;
	}
	if (strcmp(rest, "input_layernorm.weight") == 0)
		*offset = f->attention_norm + layer * norm_bytes;
	else if (strcmp(rest, "post_attention_layernorm.weight") == 0)
		*offset = f->ffn_norm + layer * norm_bytes;
	else
		return false;
	return true;
}

static aqz_status file_matrix(void *user, aqz_model *m, aqz_weight *w, const char *name,
	uint64_t rows, uint64_t cols, aqz_error *err)
{
	const loader *l = user;
	const uint32_t heads = aqz_rotary_heads(&l->layout.config, name);
	uint64_t offset;
	uint8_t *data;
	aqz_status status;

	if (!find_tensor(&offset, &l->layout, name))
		return aqz_no_tensor(err, name);
	AQZ_TRY(aqz_model_room_dense(&data, m, w, rows, cols, AQZ_F32, err));
	AQZ_TRY(aqz_file_read(&l->file, data, rows * cols * sizeof(float), offset, NULL, err));
	if (heads > 0)
		AQZ_TRY(aqz_rows_to_halves(
			data, heads, l->layout.config.head_dim, cols * sizeof(float), m, err));
out:
	return aqz_in_tensor(err, status, name);
}

static aqz_status file_vector(
	void *user, aqz_model *m, const float **v, const char *name, uint64_t n, aqz_error *err)
{
	const loader *l = user;
	const uint64_t n_bytes = n * sizeof(float);
	uint64_t offset;
	void *data = NULL;
	aqz_status status;

	if (!find_tensor(&offset, &l->layout, name))
		return aqz_no_tensor(err, name);
	AQZ_TRY(aqz_budget_alloc(&m->budget, &data, n_bytes, "a vector", err));
	AQZ_TRY(aqz_file_read(&l->file, data, n_bytes, offset, NULL, err));
	AQZ_TRY(aqz_model_keep_vector(v, m, data, AQZ_F32, n, err));
out:
	aqz_budget_free(&m->budget, data, n_bytes);
	return aqz_in_tensor(err, status, name);
}

aqz_status aqz_loader_llama2c(
	aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err)
{
	loader *l = calloc(1, sizeof *l);
	uint8_t head[AQZ_LLAMA2C_HEADER_BYTES];
	uint64_t n;
	aqz_status status;

	(void)tokenizer; /* there is none in the file */
	*out = (aqz_loader){.close = loader_close};
	if (l == NULL)
		return aqz_fail_nomem(err, sizeof *l);
	l->file.fd = -1;
	AQZ_TRY(aqz_file_open(&l->file, path, NULL, err));
	n = aqz_min(l->file.n_bytes, sizeof head);
	AQZ_TRY(aqz_file_read(&l->file, head, n, 0, NULL, err));
	AQZ_TRY(aqz_llama2c_parse(&l->layout, head, n, err));
	if (l->layout.n_bytes != l->file.n_bytes) {
		status = aqz_fail(err,
			l->file.n_bytes < l->layout.n_bytes ? AQZ_E_TRUNCATED : AQZ_E_CORRUPT, l->file.n_bytes,
			NULL, "by its header a llama2.c file, which would have %llu bytes instead of %llu",
			(unsigned long long)l->layout.n_bytes, (unsigned long long)l->file.n_bytes);
		goto out;
	}
	m->config = l->layout.config;
	m->memory.file_bytes = l->file.n_bytes;
	*out = (aqz_loader){l, file_matrix, file_vector, loader_close};
	l = NULL;
out:
	loader_close(l);
	return status;
}
