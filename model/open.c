/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a model: what kind of file it is, by its bytes; then every tensor that its configuration asks for. */
#include <stdio.h> /* snprintf */
#include <sys/stat.h>

#include "interop/source.h"
#include "model/linear.h"
#include "model/llama2c.h"
#include "model/load.h"

/* Bytes that tell the kinds apart. */
#define HEAD_BYTES 64
#define HEAD "lm_head.weight"

typedef aqz_status open_fn(
	aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err);

/* ---- Kinds of files */

/* A .safetensors file begins with the length of its header and a brace. */
static bool looks_like_safetensors(const uint8_t *head, uint64_t n)
{
	uint64_t i = 8;

	while (i < n && strchr(" \t\r\n", head[i]) != NULL && head[i] != '\0')
		i++;
	return i < n && head[i] == '{' && aqz_get64(head) <= AQZ_SAFETENSORS_MAX_HEADER;
}

static aqz_status choose_loader(open_fn **out, const char *path, aqz_error *err)
{
	static const uint8_t ours[4] = {0x89, 'A', 'Q', 'Z'};
	uint8_t head[HEAD_BYTES] = {0};
	struct stat info;
	aqz_file file = {.fd = -1};
	aqz_llama2c llama2c;
	const char *hint;
	uint64_t n;
	aqz_status status;

	*out = aqz_loader_folder;
	if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
		return AQZ_OK;
	AQZ_TRY(aqz_file_open(&file, path, NULL, err));
	n = aqz_min(file.n_bytes, HEAD_BYTES);
	AQZ_TRY(aqz_file_read(&file, head, n, 0, NULL, err));
	hint = aqz_source_hint(head, (size_t)n);
	if (n >= 4 && memcmp(head, ours, 4) == 0)
		*out = aqz_loader_aqz;
	else if (n >= 4 && memcmp(head, "GGUF", 4) == 0)
		*out = aqz_loader_gguf;
	else if (looks_like_safetensors(head, n))
		*out = aqz_loader_folder;
	else if ((status = aqz_llama2c_parse(&llama2c, head, n, err)) != AQZ_E_FORMAT)
		*out = aqz_loader_llama2c;
	else
		status = aqz_fail(err, AQZ_E_FORMAT, 0,
			NULL, "this is no model that can be run (a Hugging Face folder, .aqz, GGUF, llama2.c .bin)%s%s",
			hint != NULL ? "; it looks like " : "", hint != NULL ? hint : "");
out:
	aqz_file_close(&file);
	return status;
}

/* ---- Weights */

typedef struct opening {
	aqz_model *model;
	aqz_loader loader;
	unsigned n_threads;
	const aqz_model_options *opt;
	uint64_t n_weights; /* that the configuration asks for */
} opening;

/* Tells the progress in bytes of the file, by the weights that are there. */
static aqz_status tell(const opening *o, aqz_error *err)
{
	const aqz_model *m = o->model;
	const uint64_t total = m->memory.file_bytes;
	uint64_t done;

	if (o->opt->progress == NULL)
		return AQZ_OK;
	done = (uint64_t)((double)total * ((double)m->memory.n_weights / (double)o->n_weights));
	if (m->memory.n_weights >= o->n_weights || done > total)
		done = total;
	if (!o->opt->progress(o->opt->progress_user, done, total))
		return aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "the call was cancelled");
	return AQZ_OK;
}

/* To a caller, a tensor that the configuration asks for is not a thing to look for: the file is broken. */
static aqz_status must_be_there(aqz_status status, aqz_error *err)
{
	if (status == AQZ_E_NOT_FOUND && err != NULL)
		err->status = AQZ_E_CORRUPT;
	return status == AQZ_E_NOT_FOUND ? AQZ_E_CORRUPT : status;
}

static aqz_status read_matrix(
	const opening *o, aqz_weight *w, const char *name, uint64_t rows, uint64_t cols, aqz_error *err)
{
	aqz_status status;

	AQZ_TRY(o->loader.matrix(o->loader.user, o->model, w, name, rows, cols, err));
	AQZ_TRY(aqz_weight_check_finite(w, name, o->n_threads, err));
	AQZ_TRY(tell(o, err));
out:
	return status;
}

static aqz_status load_matrix(
	const opening *o, aqz_weight *w, const char *name, uint64_t rows, uint64_t cols, aqz_error *err)
{
	return must_be_there(read_matrix(o, w, name, rows, cols, err), err);
}

/* One of the two tables of a tied model; w->form stays NONE if there is no such tensor. */
static aqz_status load_table(const opening *o, aqz_weight *w, const char *name, aqz_error *err)
{
	const aqz_model_config *c = &o->model->config;
	const struct aqz_model_held *held = o->model->held;
	aqz_error found = {0};
	aqz_status status = read_matrix(o, w, name, c->vocabulary, c->hidden, &found);

	/* A loader that has the tensor holds memory for it before anything else can be missing. */
	if (status == AQZ_E_NOT_FOUND && o->model->held == held)
		return AQZ_OK;
	status = must_be_there(status, &found);
	if (status != AQZ_OK && err != NULL)
		*err = found;
	return status;
}

static aqz_status load_vector(
	const opening *o, const float **v, const char *name, uint64_t n, aqz_error *err)
{
	aqz_status status;

	AQZ_TRY(must_be_there(o->loader.vector(o->loader.user, o->model, v, name, n, err), err));
	AQZ_TRY(aqz_vector_check_finite(*v, n, name, err));
out:
	return status;
}

static aqz_status load_norm(const opening *o, const float **v, uint32_t layer, const char *module,
	uint64_t n, aqz_error *err)
{
	char name[AQZ_WEIGHT_NAME_BYTES];

	snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, module);
	return load_vector(o, v, name, n, err);
}

static aqz_status load_block(const opening *o, uint32_t layer, aqz_error *err)
{
	const aqz_model_config *c = &o->model->config;
	aqz_block *b = &o->model->blocks[layer];
	char name[AQZ_WEIGHT_NAME_BYTES];
	aqz_status status;

	for (aqz_linear_kind kind = AQZ_LINEAR_Q; kind < AQZ_N_LINEARS; kind++) {
		aqz_weight *w = &b->linear[kind];
		uint64_t rows, cols;

		aqz_linear_shape(c, kind, &rows, &cols);
		aqz_linear_name(name, layer, kind, "weight");
		AQZ_TRY(load_matrix(o, w, name, rows, cols, err));
		if (!aqz_linear_has_bias(c, kind))
			continue;
		aqz_linear_name(name, layer, kind, "bias");
		AQZ_TRY(load_vector(o, &w->bias, name, rows, err));
	}
	AQZ_TRY(load_norm(o, &b->attention_norm, layer, "input_layernorm", c->hidden, err));
	AQZ_TRY(load_norm(o, &b->ffn_norm, layer, "post_attention_layernorm", c->hidden, err));
	if (c->qk_norm) {
		AQZ_TRY(load_norm(o, &b->q_norm, layer, "self_attn.q_norm", c->head_dim, err));
		AQZ_TRY(load_norm(o, &b->k_norm, layer, "self_attn.k_norm", c->head_dim, err));
	}
out:
	return status;
}

static uint64_t count_weights(const aqz_model_config *c)
{
	uint64_t n = (uint64_t)c->vocabulary * c->hidden * (c->tied ? 1 : 2) + c->hidden, rows, cols;

	for (aqz_linear_kind kind = AQZ_LINEAR_Q; kind < AQZ_N_LINEARS; kind++) {
		aqz_linear_shape(c, kind, &rows, &cols);
		n += c->n_layers * (rows * cols + (aqz_linear_has_bias(c, kind) ? rows : 0));
	}
	return n + c->n_layers * (2 * (uint64_t)c->hidden + (c->qk_norm ? 2 * (uint64_t)c->head_dim : 0));
}

/* A tied model may have its table under the head's name only. */
static aqz_status load_embedding(const opening *o, aqz_error *err)
{
	static const char name[] = "model.embed_tokens.weight";
	aqz_model *m = o->model;
	const aqz_model_config *c = &m->config;
	aqz_status status;

	if (!c->tied)
		return load_matrix(o, &m->embedding, name, c->vocabulary, c->hidden, err);
	AQZ_TRY(load_table(o, &m->embedding, name, err));
	if (m->embedding.form == AQZ_WEIGHT_NONE)
		AQZ_TRY(load_table(o, &m->embedding, HEAD, err));
	if (m->embedding.form == AQZ_WEIGHT_NONE)
		status = must_be_there(aqz_no_tensor(err, name), err);
out:
	return status;
}

/* Compares values, as forms and dtypes may differ. */
static aqz_status compare(
	bool *same, aqz_model *m, const aqz_weight *a, const aqz_weight *b, aqz_error *err)
{
	/* 64 rows of codes are decoded together. */
	const uint64_t step = aqz_min(64, 1 + (1 << 18) / a->cols), n = step * a->cols;
	const uint64_t n_bytes = 2 * n * sizeof(float);
	void *memory;
	float *x;
	aqz_status status;

	*same = true;
	AQZ_TRY(aqz_budget_alloc(&m->budget, &memory, n_bytes, "rows of the head", err));
	x = memory;
	for (uint64_t r = 0; *same && r < a->rows; r += step) {
		const uint64_t end = aqz_min(a->rows, r + step), n_values = (end - r) * a->cols;

		aqz_weight_rows(x, (size_t)a->cols, a, r, end);
		aqz_weight_rows(x + n, (size_t)a->cols, b, r, end);
		for (uint64_t k = 0; k < n_values; k++)
			*same = *same && x[k] == x[n + k];
	}
	aqz_budget_free(&m->budget, memory, n_bytes);
out:
	return status;
}

/* A head that is there and differs from the embedding counts, even if the configuration ties them; transformers does
 * the same. It is the last of the weights, so that no other one shares what is freed. */
static aqz_status load_head(const opening *o, aqz_error *err)
{
	aqz_model *m = o->model;
	aqz_model_config *c = &m->config;
	const struct aqz_model_held *held = m->held;
	const aqz_model_memory memory = m->memory;
	bool same = true;
	aqz_status status;

	if (!c->tied)
		return load_matrix(o, &m->head, HEAD, c->vocabulary, c->hidden, err);
	AQZ_TRY(load_table(o, &m->head, HEAD, err));
	if (m->head.form != AQZ_WEIGHT_NONE)
		AQZ_TRY(compare(&same, m, &m->embedding, &m->head, err));
	c->tied = same;
	if (same) {
		m->head = m->embedding;
		m->memory = memory;
		aqz_model_forget(m, held);
	}
out:
	return status;
}

static aqz_status load_weights(opening *o, aqz_error *err)
{
	aqz_model *m = o->model;
	const aqz_model_config *c = &m->config;
	void *memory;
	aqz_status status;

	o->n_weights = count_weights(c);
	AQZ_TRY(aqz_model_hold(m, &memory, c->n_layers * sizeof *m->blocks, "the blocks", err));
	m->blocks = memory;
	AQZ_TRY(aqz_rope_inverse(m, err));
	AQZ_TRY(load_embedding(o, err));
	for (uint32_t i = 0; i < c->n_layers; i++)
		AQZ_TRY(load_block(o, i, err));
	AQZ_TRY(load_vector(o, &m->final_norm, "model.norm.weight", c->hidden, err));
	AQZ_TRY(load_head(o, err));
	AQZ_TRY(tell(o, err));
out:
	return status;
}

/* ---- All of it */

aqz_status aqz_model_open(
	aqz_model **out, const char *path, const aqz_model_options *opt, aqz_error *err)
{
	static const aqz_model_options defaults = {.struct_size = sizeof defaults};
	opening o = {.opt = opt != NULL ? opt : &defaults};
	open_fn *open_loader;
	aqz_status status;

	if (out != NULL)
		*out = NULL;
	if (out == NULL || path == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "a pointer is NULL");
	if (o.opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version of this library");
	o.n_threads = aqz_threads(o.opt->n_threads);
	o.model = calloc(1, sizeof *o.model);
	if (o.model == NULL)
		return aqz_fail_nomem(err, sizeof *o.model);
	o.model->budget.limit_bytes = o.opt->memlimit_bytes;
	AQZ_TRY(choose_loader(&open_loader, path, err));
	AQZ_TRY(open_loader(&o.loader, o.model, path, o.opt->tokenizer == NULL, err));
	if (o.opt->tokenizer != NULL)
		AQZ_TRY(
			aqz_tokenizer_open(&o.model->tokenizer, o.opt->tokenizer, aqz_model_room(o.model), err));
	AQZ_TRY(load_weights(&o, err));
out:
	if (o.loader.user != NULL)
		o.loader.close(o.loader.user);
	if (status == AQZ_OK)
		*out = o.model;
	else
		aqz_model_close(o.model);
	return status;
}

void aqz_model_close(aqz_model *model)
{
	if (model == NULL)
		return;
	aqz_model_forget(model, NULL);
	aqz_tokenizer_close(model->tokenizer);
	free(model);
}

const aqz_model_config *aqz_model_get_config(const aqz_model *model)
{
	return &model->config;
}

const aqz_tokenizer *aqz_model_get_tokenizer(const aqz_model *model)
{
	return model->tokenizer;
}

void aqz_model_get_memory(const aqz_model *model, aqz_model_memory *out)
{
	*out = model->memory;
}
