/* SPDX-License-Identifier: Apache-2.0 */
/* A file of statistics as it is made: the header says where all will be, then vectors, then a matrix at a time. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h> /* snprintf */

#include "interop/safetensors.h"
#include "model/calibrate.h"

#define EMBEDDING "model.embed_tokens.weight"
#define MATRICES 4 /* of a layer */

static const aqz_linear_kind owner_of[AQZ_N_LINEARS] = {
	[AQZ_LINEAR_Q] = AQZ_LINEAR_Q,
	[AQZ_LINEAR_K] = AQZ_LINEAR_Q,
	[AQZ_LINEAR_V] = AQZ_LINEAR_Q,
	[AQZ_LINEAR_O] = AQZ_LINEAR_O,
	[AQZ_LINEAR_GATE] = AQZ_LINEAR_GATE,
	[AQZ_LINEAR_UP] = AQZ_LINEAR_GATE,
	[AQZ_LINEAR_DOWN] = AQZ_LINEAR_DOWN,
};

const char *aqz_stats_head_name(const aqz_model_config *c)
{
	return c->tied ? EMBEDDING : "lm_head.weight";
}

/* ---- The header */

/* A tensor and the room for its name. */
typedef struct list {
	aqz_source_tensor *tensors;
	char (*names)[AQZ_WEIGHT_NAME_BYTES + 16];
	uint32_t n;
} list;

static void add_tensor(
	list *l, const char *name, const char *suffix, aqz_dtype dtype, uint64_t rows, uint32_t rank)
{
	aqz_source_tensor *t = &l->tensors[l->n];

	snprintf(l->names[l->n], sizeof *l->names, "%s%s", name, suffix);
	*t = (aqz_source_tensor){.name = l->names[l->n],
		.name_bytes = strlen(l->names[l->n]),
		.dtype = dtype,
		.rank = rank,
		.shape = {rows, rank == 2 ? rows : 0}};
	/* Shapes of weights that are in memory: their squares fit 64 bits. */
	(void)aqz_shape_size(&t->n_elements, &t->n_bytes, t->shape, t->rank, t->dtype);
	l->n++;
}

static void list_tensors(list *l, const aqz_calibration *c)
{
	const aqz_model_config *config = &c->m->config;
	char name[AQZ_WEIGHT_NAME_BYTES];
	uint64_t rows, cols;

	/* First, so that its 64-bit values are at a multiple of 8. */
	add_tensor(l, EMBEDDING, ".token_count", AQZ_U64, config->vocabulary, 1);
	for (uint32_t layer = 0; c->importance != NULL && layer < config->n_layers; layer++)
		for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
			aqz_linear_shape(config, kind, &rows, &cols);
			aqz_linear_name(name, layer, kind, "weight");
			add_tensor(l, name, ".row_importance", AQZ_F32, rows, 1);
		}
	if (c->importance != NULL)
		add_tensor(l, aqz_stats_head_name(config), ".row_importance", AQZ_F32, config->vocabulary, 1);
	for (uint32_t layer = 0; layer < config->n_layers; layer++)
		for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
			if (owner_of[kind] != kind)
				continue;
			aqz_linear_shape(config, kind, &rows, &cols);
			aqz_linear_name(name, layer, kind, "weight");
			add_tensor(l, name, "", AQZ_F32, cols, 2);
		}
	add_tensor(l, aqz_stats_head_name(config), "", AQZ_F32, config->hidden, 2);
}

static bool set_number(json_t *json, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, value);
	return json_object_set_new(json, key, json_string(text)) == 0;
}

/* *text: freed with free(). */
static aqz_status make_metadata(char **text, const aqz_calibration *c, aqz_error *err)
{
	char name[AQZ_WEIGHT_NAME_BYTES], owner[AQZ_WEIGHT_NAME_BYTES], key[AQZ_WEIGHT_NAME_BYTES + 8];
	json_t *json = json_object();
	bool made = json != NULL && set_number(json, "tokens", c->n_tokens);

	if (c->importance != NULL)
		made = made && set_number(json, "row_importance.tokens", c->importance_tokens) &&
			set_number(json, "row_importance.seed", c->opt->seed);
	for (uint32_t layer = 0; layer < c->m->config.n_layers; layer++)
		for (aqz_linear_kind kind = 0; kind < AQZ_N_LINEARS; kind++) {
			if (owner_of[kind] == kind)
				continue;
			aqz_linear_name(name, layer, kind, "weight");
			aqz_linear_name(owner, layer, owner_of[kind], "weight");
			snprintf(key, sizeof key, "alias:%s", name);
			made = made && json_object_set_new(json, key, json_string(owner)) == 0;
		}
	*text = made ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return *text != NULL ? AQZ_OK
						 : aqz_fail(err, AQZ_E_NOMEM, AQZ_NO_OFFSET, NULL, "out of memory for JSON");
}

/* ---- Writing */

static aqz_status put(const aqz_calibration *c, const void *data, uint64_t n, aqz_error *err)
{
	const aqz_status status = c->out->write(c->out->user, data, (size_t)n);

	if (status == AQZ_OK)
		return AQZ_OK;
	return aqz_fail(err, status, AQZ_NO_OFFSET, NULL,
		status == AQZ_E_SPACE ? "the output is full" : "writing the output failed");
}

static aqz_status put_header(aqz_calibration *c, aqz_error *err)
{
	const aqz_model_config *config = &c->m->config;
	const uint64_t n = 3 + (uint64_t)config->n_layers * (MATRICES + AQZ_N_LINEARS);
	uint8_t *header = NULL;
	char *metadata = NULL;
	size_t header_bytes;
	list l = {.n = 0};
	aqz_status status = AQZ_OK;

	l.tensors = calloc((size_t)n, sizeof *l.tensors);
	l.names = calloc((size_t)n, sizeof *l.names);
	if (l.tensors == NULL || l.names == NULL)
		AQZ_TRY(aqz_fail_nomem(err, n * (sizeof *l.tensors + sizeof *l.names)));
	list_tensors(&l, c);
	AQZ_TRY(make_metadata(&metadata, c, err));
	AQZ_TRY(aqz_safetensors_header(&header, &header_bytes, l.tensors, l.n, metadata, err));
	AQZ_TRY(put(c, header, header_bytes, err));
out:
	free(l.tensors);
	free(l.names);
	free(metadata);
	free(header);
	return status;
}

static aqz_status put_counts(aqz_calibration *c, aqz_error *err)
{
	const uint64_t n = c->m->config.vocabulary;
	void *memory;
	uint64_t *counts = NULL;
	aqz_status status;

	AQZ_TRY(aqz_calibration_alloc(&memory, c, n, sizeof *counts, "counts of tokens", err));
	counts = memory;
	for (uint64_t t = c->windows->begin[0]; t < c->windows->begin[c->windows->n_windows]; t++)
		counts[c->windows->ids[t]]++;
	AQZ_TRY(put(c, counts, n * sizeof *counts, err));
out:
	aqz_budget_free(&c->budget, counts, n * sizeof *counts);
	return status;
}

static aqz_status check_finite(const float *x, uint64_t n, const char *name, aqz_error *err)
{
	char where[AQZ_WHERE_BYTES];

	for (uint64_t i = 0; i < n; i++)
		if (!isfinite(x[i])) {
			aqz_safetensors_where(where, name, strlen(name), "");
			return aqz_fail(
				err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "the model gives infinities or NaN here");
		}
	return AQZ_OK;
}

aqz_status aqz_stats_write_head(aqz_calibration *c, aqz_error *err)
{
	const uint64_t n = aqz_importance_values(&c->m->config);
	aqz_status status;

	if (c->importance != NULL)
		AQZ_TRY(check_finite(c->importance, n, "row_importance", err));
	AQZ_TRY(put_header(c, err));
	AQZ_TRY(put_counts(c, err));
	if (c->importance != NULL)
		AQZ_TRY(put(c, c->importance, n * sizeof *c->importance, err));
out:
	return status;
}

aqz_status aqz_stats_write_gram(
	aqz_calibration *c, const aqz_gram *g, float *rows, const char *name, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (size_t i = 0; i < g->n_tiles; i++) {
		const uint64_t n = (uint64_t)aqz_gram_rows(rows, g, i, c->n_tokens) * g->n;

		AQZ_TRY(check_finite(rows, n, name, err));
		AQZ_TRY(put(c, rows, n * sizeof *rows, err));
	}
out:
	return status;
}
