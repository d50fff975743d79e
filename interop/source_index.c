/* SPDX-License-Identifier: Apache-2.0 */
/* model.safetensors.index.json of a sharded model: {"metadata": {}, "weight_map": {tensor: file}}.
 * metadata.total_size is advisory and not looked at; the file is also kept as an attached one. */
#include "interop/source.h"

#include <inttypes.h>

/* total_size and friends nest no deeper than this. */
#define MAX_DEPTH 8

static int by_tensor(const void *a, const void *b)
{
	const aqz_source_place *x = a, *y = b;

	return strcmp(x->tensor, y->tensor);
}

/* A single base name that no shell, URL or file system reads as more: no path, no hidden file. */
static bool shard_name_ok(const char *name)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	const size_t n = strlen(name);

	return n > 0 && n <= 255 && name[0] != '.' && strspn(name, good) == n;
}

static aqz_status bad_index(aqz_error *err, const char *text)
{
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, AQZ_SOURCE_INDEX, "%s", text);
}

/* Reads the whole file and parses it; the tree stays charged to the source's budget. */
static aqz_status load_json(aqz_source_index *index, aqz_source *source, uint32_t file, aqz_error *err)
{
	const uint64_t n = source->files[file].file.n_bytes;
	aqz_json_count count;
	void *text = NULL;
	size_t begin, end;
	aqz_status status;

	if (n > AQZ_SAFETENSORS_MAX_HEADER)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, AQZ_SOURCE_INDEX,
			"the index has %" PRIu64 " bytes, more than 100,000,000", n);
	AQZ_TRY(aqz_budget_alloc(&source->budget, &text, n, "the index", err));
	AQZ_TRY(aqz_source_read(source, file, 0, text, (size_t)n, err));
	begin = aqz_json_space(text, (size_t)n, 0);
	if (begin == n || ((char *)text)[begin] != '{') {
		status = bad_index(err, "the index is no JSON object");
		goto out;
	}
	AQZ_TRY(aqz_json_walk(&count, &end, text, (size_t)n, begin, MAX_DEPTH, 0, AQZ_SOURCE_INDEX, err));
	if (aqz_json_space(text, (size_t)n, end) != n) {
		status = bad_index(err, "text follows the JSON object");
		goto out;
	}
	AQZ_TRY(aqz_json_load(&index->json, &index->charged, &source->budget, &count,
		(char *)text + begin, end - begin, begin, AQZ_SOURCE_INDEX, err));
out:
	aqz_budget_free(&source->budget, text, n);
	return status;
}

aqz_status aqz_source_index_read(
	aqz_source_index *index, aqz_source *source, uint32_t file, aqz_error *err)
{
	json_t *map, *value;
	const char *tensor;
	char where[AQZ_WHERE_BYTES];
	void *memory;
	uint64_t n = 0;
	aqz_status status;

	AQZ_TRY(load_json(index, source, file, err));
	map = json_object_get(index->json, "weight_map");
	if (!json_is_object(map)) {
		status = bad_index(err, "the index has no object \"weight_map\"");
		goto out;
	}
	if (json_object_size(map) > AQZ_MAX_TENSORS) {
		status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, AQZ_SOURCE_INDEX,
			"the index has more than %" PRIu32 " tensors", AQZ_MAX_TENSORS);
		goto out;
	}
	AQZ_TRY(aqz_budget_alloc(
		&source->budget, &memory, json_object_size(map) * sizeof *index->places, "the index", err));
	index->places = memory;
	index->n_places = json_object_size(map);
	json_object_foreach(map, tensor, value) {
		const char *shard = json_string_value(value); /* NULL if it is no string */
		const size_t tensor_bytes = strlen(tensor);
		aqz_source_entry *entry;

		if (!aqz_text_ok(tensor, tensor_bytes)) {
			status = bad_index(err, "a tensor's name holds control characters");
			goto out;
		}
		aqz_safetensors_where(where, tensor, tensor_bytes, "");
		if (shard == NULL || !shard_name_ok(shard)) {
			status = aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
				"the file that " AQZ_SOURCE_INDEX
				" names for the tensor is no plain file name of [A-Za-z0-9._-]");
			goto out;
		}
		entry = aqz_source_find(source, shard);
		if (entry == NULL) {
			status = aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, shard,
				AQZ_SOURCE_INDEX " names this file, which the folder does not have");
			goto out;
		}
		entry->model = true;
		index->places[n++] = (aqz_source_place){tensor, shard, tensor_bytes};
	}
out:
	return status;
}

/* Compares the tensors of all shards with the index, both sorted by name. */
static aqz_status compare(const aqz_source_index *index, const aqz_source *source,
	const aqz_source_tensor *const *tensors, aqz_error *err)
{
	uint64_t k = 0;

	for (uint32_t i = 0; i < source->n_tensors || k < index->n_places;) {
		const aqz_source_tensor *t = i < source->n_tensors ? tensors[i] : NULL;
		const aqz_source_place *place = k < index->n_places ? &index->places[k] : NULL;
		const int order = t == NULL ? 1 : place == NULL ? -1 : strcmp(t->name, place->tensor);
		const char *file = t != NULL ? source->files[t->file].file.name : "";
		char where[AQZ_WHERE_BYTES];

		if (order > 0)
			aqz_safetensors_where(where, place->tensor, place->tensor_bytes, "");
		else
			aqz_safetensors_where(where, t->name, t->name_bytes, "");
		if (order > 0)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
				AQZ_SOURCE_INDEX " names the tensor, but %.90s does not hold it", place->shard);
		if (i + 1 < source->n_tensors && aqz_safetensors_by_name(&tensors[i], &tensors[i + 1]) == 0) {
			const uint32_t a = t->file, b = tensors[i + 1]->file;

			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
				"the tensor is in both %.64s and %.64s", source->files[a < b ? a : b].file.name,
				source->files[a < b ? b : a].file.name);
		}
		if (order < 0)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
				AQZ_SOURCE_INDEX " does not name the tensor, which is in %.90s", file);
		if (strcmp(file, place->shard) != 0)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
				"the tensor is in %.64s, not in %.64s as " AQZ_SOURCE_INDEX " says", file,
				place->shard);
		i++;
		k++;
	}
	return AQZ_OK;
}

aqz_status aqz_source_index_check(aqz_source_index *index, aqz_source *source, aqz_error *err)
{
	const uint64_t bytes = source->n_tensors * (uint64_t)sizeof(aqz_source_tensor *);
	const aqz_source_tensor **tensors;
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(&source->budget, &memory, bytes, "the check of the index", err));
	tensors = memory;
	for (uint32_t i = 0; i < source->n_tensors; i++)
		tensors[i] = aqz_source_get(source, i);
	if (source->n_tensors > 0)
		qsort(tensors, source->n_tensors, sizeof *tensors, aqz_safetensors_by_name);
	if (index->n_places > 0)
		qsort(index->places, index->n_places, sizeof *index->places, by_tensor);
	status = compare(index, source, tensors, err);
	aqz_budget_free(&source->budget, memory, bytes);
out:
	return status;
}

void aqz_source_index_free(aqz_source_index *index, aqz_source *source)
{
	aqz_budget_free(&source->budget, index->places, index->n_places * sizeof *index->places);
	if (index->json != NULL)
		aqz_json_free(index->json, index->charged, &source->budget);
	*index = (aqz_source_index){0};
}
