/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a GGUF file: what has to hold between its parts, and finding things by name. */
#include "interop/gguf.h"

#include <inttypes.h>

#include "interop/gguf_walk.h"

#define DEFAULT_ALIGNMENT 32
#define LEAST_ALIGNMENT 8

static int compare(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	const int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

	return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int by_key(const void *a, const void *b)
{
	const aqz_gguf_entry *x = a, *y = b;

	return compare(x->key, x->key_bytes, y->key, y->key_bytes);
}

static int by_name(const void *a, const void *b)
{
	const aqz_gguf_tensor *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int by_offset(const void *a, const void *b)
{
	const aqz_gguf_tensor *const *x = a, *const *y = b;

	return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

/* Sorts, so that no input makes it quadratic, and refuses what occurs twice. */
static aqz_status check_names(aqz_gguf *g, aqz_error *err)
{
	char where[AQZ_GGUF_WHERE_BYTES];

	qsort(g->entries, (size_t)g->counts.n_entries, sizeof *g->entries, by_key);
	for (uint64_t i = 1; i < g->counts.n_entries; i++) {
		if (by_key(&g->entries[i - 1], &g->entries[i]) != 0)
			continue;
		aqz_gguf_where(where, "metadata", g->entries[i].key, g->entries[i].key_bytes, "");
		return aqz_fail(err, AQZ_E_CORRUPT,
			(uint64_t)((const uint8_t *)g->entries[i].key - g->header), where,
			"the key occurs twice");
	}
	qsort(g->sorted, g->counts.n_tensors, sizeof *g->sorted, by_name);
	for (uint32_t i = 1; i < g->counts.n_tensors; i++) {
		if (by_name(&g->sorted[i - 1], &g->sorted[i]) != 0)
			continue;
		aqz_gguf_where(where, "tensor", g->sorted[i]->name, strlen(g->sorted[i]->name), "");
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "the name occurs twice");
	}
	return AQZ_OK;
}

static aqz_status find_alignment(uint64_t *out, const aqz_gguf *g, aqz_error *err)
{
	const aqz_gguf_value *v = aqz_gguf_find(g, "general.alignment");

	*out = DEFAULT_ALIGNMENT;
	if (v == NULL)
		return AQZ_OK;
	if (v->array || v->kind != AQZ_GGUF_U32)
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "metadata[general.alignment]", "is no u32");
	*out = aqz_get32(v->data);
	if (*out < LEAST_ALIGNMENT || (*out & (*out - 1)) != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, (uint64_t)(v->data - g->header),
			"metadata[general.alignment]", "%" PRIu64 " is no power of two from 8 on", *out);
	return AQZ_OK;
}

/* Turns offsets into those of the file, and checks that tensors lie in it, each in a place of its
 * own. g->sorted is in the order of offsets afterwards. */
static aqz_status place_tensors(aqz_gguf *g, uint64_t file_bytes, aqz_error *err)
{
	const uint32_t n = g->counts.n_tensors;
	char where[AQZ_GGUF_WHERE_BYTES];
	uint64_t alignment, begin, end, covered = 0;
	aqz_status status;

	AQZ_TRY(find_alignment(&alignment, g, err));
	begin = (g->counts.header_bytes + alignment - 1) & ~(alignment - 1);
	for (uint32_t i = 0; i < n; i++) {
		aqz_gguf_tensor *t = &g->tensors[i];

		aqz_gguf_where(where, "tensor", t->name, strlen(t->name), ".offset");
		if (t->offset % alignment != 0)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
				"%" PRIu64 " is no multiple of the alignment %" PRIu64, t->offset, alignment);
		if (!aqz_add(&t->offset, t->offset, begin) || !aqz_add(&end, t->offset, t->n_bytes))
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "the offset overflows");
		if (end > file_bytes)
			return aqz_fail(err, AQZ_E_TRUNCATED, AQZ_NO_OFFSET, where,
				"the tensor ends at byte %" PRIu64 ", but the file has %" PRIu64, end, file_bytes);
	}
	qsort(g->sorted, n, sizeof *g->sorted, by_offset);
	for (uint32_t i = 0; i < n; i++) {
		const aqz_gguf_tensor *t = g->sorted[i];

		if (t->n_bytes == 0)
			continue;
		aqz_gguf_where(where, "tensor", t->name, strlen(t->name), ".offset");
		if (t->offset < covered)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
				"the tensor begins at byte %" PRIu64 ", inside the one before it", t->offset);
		covered = t->offset + t->n_bytes;
	}
out:
	return status;
}

static aqz_status take(
	aqz_gguf *g, void *out, uint64_t n, uint64_t size, const char *what, aqz_error *err)
{
	void *p;
	/* Every n was counted in the file or is at most 2^20. */
	const aqz_status status = aqz_budget_alloc(&g->budget, &p, n * size, what, err);

	memcpy(out, &p, sizeof p);
	return status;
}

aqz_status aqz_gguf_open(aqz_gguf **out, const aqz_io *io, uint64_t limit_bytes, aqz_error *err)
{
	aqz_budget budget = {.limit_bytes = limit_bytes};
	aqz_gguf_counts counts;
	uint64_t file_bytes;
	aqz_gguf *g = NULL;
	aqz_status status;

	*out = NULL;
	status = io->size(io->user, &file_bytes);
	if (status != AQZ_OK)
		return aqz_fail(err, status, AQZ_NO_OFFSET, NULL, "the length of the file is not known");
	AQZ_TRY(aqz_gguf_measure(&counts, io, file_bytes, &budget, err));
	g = calloc(1, sizeof *g);
	if (g == NULL)
		return aqz_fail_nomem(err, sizeof *g);
	g->budget = budget;
	g->counts = counts;
	AQZ_TRY(take(g, &g->header, counts.header_bytes, 1, "the metadata", err));
	AQZ_TRY(take(g, &g->entries, counts.n_entries, sizeof *g->entries, "the metadata", err));
	AQZ_TRY(take(g, &g->strings, counts.n_strings, sizeof *g->strings, "the metadata", err));
	AQZ_TRY(take(g, &g->names, counts.name_bytes, 1, "names of tensors", err));
	AQZ_TRY(take(g, &g->tensors, counts.n_tensors, sizeof *g->tensors, "the table of tensors", err));
	AQZ_TRY(take(g, &g->sorted, counts.n_tensors, sizeof *g->sorted, "the table of tensors", err));
	status = io->pread(io->user, g->header, (size_t)counts.header_bytes, 0);
	if (status != AQZ_OK) {
		aqz_fail(err, status, 0, "header", "the file could not be read");
		goto out;
	}
	AQZ_TRY(aqz_gguf_fill(g, err));
	for (uint32_t i = 0; i < counts.n_tensors; i++)
		g->sorted[i] = &g->tensors[i];
	AQZ_TRY(place_tensors(g, file_bytes, err));
	AQZ_TRY(check_names(g, err));
	*out = g;
out:
	if (status != AQZ_OK)
		aqz_gguf_close(g);
	return status;
}

void aqz_gguf_close(aqz_gguf *g)
{
	if (g == NULL)
		return;
	free(g->header);
	free(g->entries);
	free(g->strings);
	free(g->names);
	free(g->tensors);
	free(g->sorted);
	free(g);
}

uint32_t aqz_gguf_n_tensors(const aqz_gguf *g)
{
	return g->counts.n_tensors;
}

const aqz_gguf_tensor *aqz_gguf_tensor_get(const aqz_gguf *g, uint32_t i)
{
	return i < g->counts.n_tensors ? &g->tensors[i] : NULL;
}

const aqz_gguf_tensor *aqz_gguf_tensor_find(const aqz_gguf *g, const char *name)
{
	const aqz_gguf_tensor key = {.name = name}, *p = &key, **found;

	found = bsearch(&p, g->sorted, g->counts.n_tensors, sizeof *g->sorted, by_name);
	return found != NULL ? *found : NULL;
}

const aqz_gguf_value *aqz_gguf_find(const aqz_gguf *g, const char *key)
{
	const aqz_gguf_entry wanted = {.key = key, .key_bytes = strlen(key)}, *found;

	found = bsearch(&wanted, g->entries, (size_t)g->counts.n_entries, sizeof *g->entries, by_key);
	return found != NULL ? &found->value : NULL;
}
