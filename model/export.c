/* SPDX-License-Identifier: Apache-2.0 */
/* A model as a Hugging Face folder: tensors under their names, in files of bounded size. */
#include <inttypes.h>
#include <stdio.h>

#include "interop/safetensors.h"
#include "model/export.h"
#include "model/linear.h"

#define METADATA "{\"format\":\"pt\"}"
#define INDEX_NAME "model.safetensors.index.json"
/* Rows are reconstructed by tiles of 64, the rows of a block of codes, or more where they are short. */
#define TILE_ROWS 64
#define TILE_ELEMENTS (UINT64_C(1) << 18)
#define MAX_SHARDS 99999

/* A tensor of the file: a weight, or a vector. */
typedef struct item {
	char name[AQZ_WEIGHT_NAME_BYTES];
	const aqz_weight *w;
	const float *v;
} item;

typedef struct exporter {
	const aqz_model *m;
	const aqz_folder_sink *sink;
	aqz_export_options opt;
	aqz_budget budget;
	item *items;
	aqz_source_tensor *tensors; /* of the items */
	uint32_t n, capacity;
	uint64_t *ends; /* [n_shards] items [ends[i - 1], ends[i]) are in shard i */
	uint32_t n_shards;
	uint64_t tile_elements;
	float *tile;
	uint8_t *narrow; /* the tile in the file's dtype */
	uint64_t done_bytes, total_bytes;
	aqz_error *err;
} exporter;

static aqz_status take(exporter *x, void *out, uint64_t n_bytes, const char *what)
{
	void *p;
	const aqz_status status = aqz_budget_alloc(&x->budget, &p, n_bytes, what, x->err);

	memcpy(out, &p, sizeof p);
	return status;
}

static void add(exporter *x, const char *name, const aqz_weight *w, const float *v, uint64_t n)
{
	item *i = &x->items[x->n];
	aqz_source_tensor *t = &x->tensors[x->n];

	if (w == NULL && v == NULL)
		return;
	x->n++;
	snprintf(i->name, sizeof i->name, "%s", name);
	i->w = w;
	i->v = v;
	t->name = i->name;
	t->name_bytes = strlen(i->name);
	t->dtype = x->opt.dtype;
	t->rank = w != NULL ? 2 : 1;
	t->shape[0] = w != NULL ? w->rows : n;
	t->shape[1] = w != NULL ? w->cols : 0;
	/* The model holds as many weights in memory, or codes of them: nothing overflows. */
	t->n_elements = w != NULL ? w->rows * w->cols : n;
	t->n_bytes = t->n_elements * (aqz_dtype_bits(t->dtype) / 8);
	x->total_bytes += t->n_bytes;
	if (w != NULL)
		x->tile_elements =
			x->tile_elements > w->cols * TILE_ROWS ? x->tile_elements : w->cols * TILE_ROWS;
}

static void add_block(exporter *x, uint32_t layer)
{
	const aqz_block *b = &x->m->blocks[layer];
	const aqz_model_config *c = &x->m->config;
	const struct {
		const char *name;
		const float *v;
		uint64_t n;
	} norms[] = {
		{"input_layernorm", b->attention_norm, c->hidden},
		{"post_attention_layernorm", b->ffn_norm, c->hidden},
		{"self_attn.q_norm", b->q_norm, c->head_dim},
		{"self_attn.k_norm", b->k_norm, c->head_dim},
	};
	char name[AQZ_WEIGHT_NAME_BYTES];

	for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
		snprintf(name, sizeof name, "model.layers.%" PRIu32 ".%s.weight", layer, norms[i].name);
		add(x, name, NULL, norms[i].v, norms[i].n);
	}
	for (int k = 0; k < AQZ_N_LINEARS; k++) {
		const aqz_weight *w = &b->linear[k];

		aqz_linear_name(name, layer, (aqz_linear_kind)k, "weight");
		add(x, name, w, NULL, 0);
		aqz_linear_name(name, layer, (aqz_linear_kind)k, "bias");
		add(x, name, NULL, w->bias, w->rows);
	}
}

static aqz_status list_tensors(exporter *x)
{
	const aqz_model *m = x->m;
	aqz_status status;

	x->capacity = 3 + m->config.n_layers * (2 * AQZ_N_LINEARS + 4);
	AQZ_TRY(take(x, &x->items, x->capacity * sizeof *x->items, "the list of tensors"));
	AQZ_TRY(take(x, &x->tensors, x->capacity * sizeof *x->tensors, "the list of tensors"));
	x->tile_elements = TILE_ELEMENTS;
	add(x, "model.embed_tokens.weight", &m->embedding, NULL, 0);
	for (uint32_t i = 0; i < m->config.n_layers; i++)
		add_block(x, i);
	add(x, "model.norm.weight", NULL, m->final_norm, m->config.hidden);
	if (!m->config.tied)
		add(x, "lm_head.weight", &m->head, NULL, 0);
out:
	return status;
}

/* Fills shards in order; a tensor that is larger than a shard may be has one of its own. */
static aqz_status cut_shards(exporter *x)
{
	uint64_t bytes = 0;
	aqz_status status;

	AQZ_TRY(take(x, &x->ends, x->n * sizeof *x->ends, "the list of files"));
	for (uint32_t i = 0; i < x->n; i++) {
		if (i > 0 && x->opt.shard_bytes != 0 && bytes + x->tensors[i].n_bytes > x->opt.shard_bytes) {
			x->ends[x->n_shards++] = i;
			bytes = 0;
		}
		bytes += x->tensors[i].n_bytes;
	}
	x->ends[x->n_shards++] = x->n;
	if (x->n_shards > MAX_SHARDS)
		status = aqz_fail(x->err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.shard_bytes",
			"there would be %" PRIu32 " files; at most %d can be numbered", x->n_shards, MAX_SHARDS);
out:
	return status;
}

static aqz_status write_elements(exporter *x, const float *values, uint64_t n)
{
	const uint64_t n_bytes = n * (aqz_dtype_bits(x->opt.dtype) / 8);
	aqz_status status;

	AQZ_TRY(aqz_convert(x->narrow, x->opt.dtype, values, AQZ_F32, (size_t)n, x->err));
	AQZ_TRY(x->sink->write(x->sink->user, x->narrow, (size_t)n_bytes, x->err));
	x->done_bytes += n_bytes;
	if (x->opt.progress != NULL &&
		!x->opt.progress(x->opt.progress_user, x->done_bytes, x->total_bytes))
		status = aqz_fail(x->err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "the export was stopped");
out:
	return status;
}

static aqz_status write_item(exporter *x, uint32_t i)
{
	const aqz_weight *w = x->items[i].w;
	const uint64_t n = x->tensors[i].n_elements;
	uint64_t rows;
	aqz_status status = AQZ_OK;

	if (w == NULL) {
		for (uint64_t at = 0; at < n; at += x->tile_elements)
			AQZ_TRY(write_elements(x, x->items[i].v + at, aqz_min(x->tile_elements, n - at)));
		return AQZ_OK;
	}
	rows = x->tile_elements / w->cols / TILE_ROWS * TILE_ROWS;
	for (uint64_t at = 0; at < w->rows; at += rows) {
		const uint64_t end = aqz_min(w->rows, at + rows);

		aqz_weight_rows(x->tile, (size_t)w->cols, w, at, end);
		AQZ_TRY(write_elements(x, x->tile, (end - at) * w->cols));
	}
out:
	return status;
}

static void shard_name(char name[48], const exporter *x, uint32_t shard)
{
	if (x->n_shards == 1)
		snprintf(name, 48, "model.safetensors");
	else
		snprintf(
			name, 48, "model-%05" PRIu32 "-of-%05" PRIu32 ".safetensors", shard + 1, x->n_shards);
}

static aqz_status write_shard(exporter *x, uint32_t shard)
{
	const uint32_t begin = shard == 0 ? 0 : (uint32_t)x->ends[shard - 1],
				   end = (uint32_t)x->ends[shard];
	uint8_t *header = NULL;
	size_t n;
	char name[48];
	aqz_status status;

	shard_name(name, x, shard);
	AQZ_TRY(aqz_safetensors_header(&header, &n, x->tensors + begin, end - begin, METADATA, x->err));
	AQZ_TRY(aqz_export_file(x->sink, name, header, n, x->err));
	for (uint32_t i = begin; i < end; i++)
		AQZ_TRY(write_item(x, i));
out:
	free(header);
	return status;
}

static aqz_status write_index(const exporter *x)
{
	json_t *map = json_object(), *json;
	char name[48];
	uint32_t shard = 0;
	int failed = 0;

	for (uint32_t i = 0; i < x->n; i++) {
		while (i >= x->ends[shard])
			shard++;
		shard_name(name, x, shard);
		failed |= json_object_set_new(map, x->items[i].name, json_string(name));
	}
	json = json_pack(
		"{s{sI} sO}", "metadata", "total_size", (json_int_t)x->total_bytes, "weight_map", map);
	json_decref(map);
	if (failed != 0) {
		json_decref(json);
		json = NULL;
	}
	return aqz_export_json(x->sink, INDEX_NAME, json, x->err);
}

static aqz_status check(
	const aqz_model *m, const aqz_folder_sink *sink, const aqz_export_options *opt, aqz_error *err)
{
	if (m == NULL || sink == NULL || sink->begin == NULL || sink->write == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "a pointer is NULL");
	if (opt == NULL)
		return AQZ_OK;
	if (opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another size");
	if (opt->dtype != 0 && opt->dtype != AQZ_F32 && opt->dtype != AQZ_F16 && opt->dtype != AQZ_BF16)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.dtype", "possible values: F32, F16, BF16");
	return AQZ_OK;
}

aqz_status aqz_model_export(const aqz_model *model, const aqz_folder_sink *sink,
	const aqz_export_options *opt, aqz_error *err)
{
	exporter x = {.m = model, .sink = sink, .err = err};
	aqz_status status;

	AQZ_TRY(check(model, sink, opt, err));
	if (opt != NULL)
		x.opt = *opt;
	if (x.opt.dtype == 0)
		x.opt.dtype = AQZ_BF16;
	x.budget.limit_bytes = x.opt.memlimit_bytes;
	AQZ_TRY(list_tensors(&x));
	AQZ_TRY(cut_shards(&x));
	AQZ_TRY(take(&x, &x.tile, x.tile_elements * sizeof *x.tile, "a tile of weights"));
	AQZ_TRY(take(&x, &x.narrow, x.tile_elements * sizeof *x.tile, "a tile of weights"));
	AQZ_TRY(aqz_export_config(model, x.opt.dtype, sink, err));
	AQZ_TRY(aqz_export_tokenizer(model, sink, err));
	for (uint32_t i = 0; i < x.n_shards; i++)
		AQZ_TRY(write_shard(&x, i));
	if (x.n_shards > 1)
		AQZ_TRY(write_index(&x));
out:
	free(x.items);
	free(x.tensors);
	free(x.ends);
	free(x.tile);
	free(x.narrow);
	return status;
}
