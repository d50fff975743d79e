/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over a GGUF header: once through a small window to count, so that what is allocated has
 * been seen in the file, and once more over the bytes in memory to keep what they say. */
#include "interop/gguf_walk.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define WINDOW_BYTES 65536
#define MAX_KEY_BYTES 65535
#define MAX_NAME_BYTES 256
/* No header of a model comes near it: vocabularies take some 10 MB. */
#define MAX_HEADER_BYTES (UINT64_C(1) << 30)
#define MAX_ENTRIES (UINT64_C(1) << 20)
/* The shortest metadata: a key of one byte, a kind, a value of one byte; and the shortest tensor. */
#define MIN_ENTRY_BYTES 14
#define MIN_TENSOR_BYTES 25

typedef struct walk {
	const aqz_io *io; /* NULL: the window holds all there is */
	const uint8_t *window;
	uint8_t *storage; /* of the window, while counting */
	uint64_t window_begin, window_bytes;
	uint64_t at, end;
	aqz_gguf *fill; /* NULL: only count */
	aqz_gguf_counts n;
	char where[AQZ_GGUF_WHERE_BYTES];
	aqz_error *err;
} walk;

void aqz_gguf_where(char where[AQZ_GGUF_WHERE_BYTES], const char *what, const char *name, size_t n,
	const char *field)
{
	const size_t around = strlen(what) + 2 + strlen(field), room = AQZ_GGUF_WHERE_BYTES - 1 - around;
	const char *dots = "";

	if (n > room) {
		dots = "...";
		name += n - (room - 3);
		n = room - 3;
		/* Not from the middle of a character. */
		for (; n > 0 && ((unsigned char)*name & 0xc0) == 0x80; n--)
			name++;
	}
	snprintf(where, AQZ_GGUF_WHERE_BYTES, "%s[%s%.*s]%s", what, dots, (int)n, name, field);
}

static aqz_status corrupt(const walk *w, const char *text)
{
	return aqz_fail(w->err, AQZ_E_CORRUPT, w->at, w->where, "%s", text);
}

/* The first walk saw the whole header, so the second one's surprises come from a file that another
 * program writes to. */
static aqz_status changed(const walk *w)
{
	return corrupt(w, "the file changed while it was read");
}

static aqz_status check_left(const walk *w, uint64_t n)
{
	if (n <= w->end - w->at)
		return AQZ_OK;
	if (w->fill != NULL)
		return changed(w);
	return aqz_fail(w->err, AQZ_E_TRUNCATED, w->at, w->where,
		"%" PRIu64 " bytes are needed here, but the file ends after %" PRIu64, n, w->end - w->at);
}

/* Steps over n bytes; *p, if not NULL, is where they are until the next call. n is at most
 * WINDOW_BYTES where p is not NULL. */
static aqz_status take(walk *w, const uint8_t **p, uint64_t n)
{
	aqz_status status;

	AQZ_TRY(check_left(w, n));
	if (p != NULL && (w->at < w->window_begin || w->at + n > w->window_begin + w->window_bytes)) {
		assert(w->io != NULL && n <= WINDOW_BYTES);
		w->window_begin = w->at;
		w->window_bytes = aqz_min(WINDOW_BYTES, w->end - w->at);
		status = w->io->pread(w->io->user, w->storage, (size_t)w->window_bytes, w->at);
		if (status != AQZ_OK)
			return aqz_fail(w->err, status, w->at, w->where,
				status == AQZ_E_TRUNCATED ? "the file became shorter while it was read"
										  : "the file could not be read");
	}
	if (p != NULL)
		*p = w->window + (w->at - w->window_begin);
	w->at += n;
	if (w->at > MAX_HEADER_BYTES)
		return aqz_fail(w->err, AQZ_E_UNSUPPORTED, w->at, w->where,
			"the metadata are longer than %" PRIu64 " bytes", MAX_HEADER_BYTES);
out:
	return status;
}

static aqz_status take32(walk *w, uint32_t *out)
{
	const uint8_t *p;
	aqz_status status;

	AQZ_TRY(take(w, &p, 4));
	*out = aqz_get32(p);
out:
	return status;
}

static aqz_status take64(walk *w, uint64_t *out)
{
	const uint8_t *p;
	aqz_status status;

	AQZ_TRY(take(w, &p, 8));
	*out = aqz_get64(p);
out:
	return status;
}

/* Reads a name of 1 to most bytes and makes it the place of errors. */
static aqz_status take_name(walk *w, const char **name, size_t *n, uint64_t most, const char *what)
{
	const uint8_t *p;
	uint64_t bytes;
	aqz_status status;

	AQZ_TRY(take64(w, &bytes));
	if (bytes == 0 || bytes > most)
		return aqz_fail(w->err, AQZ_E_CORRUPT, w->at - 8, w->where,
			"a name of %" PRIu64 " bytes; 1 to %" PRIu64 " are possible", bytes, most);
	AQZ_TRY(take(w, &p, bytes));
	*name = (const char *)p;
	*n = (size_t)bytes;
	if (!aqz_text_ok(*name, *n))
		return corrupt(w, "a name is no UTF-8 or holds control characters");
	aqz_gguf_where(w->where, what, *name, *n, "");
out:
	return status;
}

/* Steps over a string and keeps where it was. */
static aqz_status take_string(walk *w)
{
	const uint64_t begin = w->at;
	uint64_t bytes;
	aqz_status status;

	AQZ_TRY(take64(w, &bytes));
	AQZ_TRY(take(w, NULL, bytes));
	if (w->fill != NULL) {
		if (w->n.n_strings == w->fill->counts.n_strings)
			return changed(w);
		w->fill->strings[w->n.n_strings] = begin;
	}
	w->n.n_strings++;
out:
	return status;
}

static aqz_status take_numbers(walk *w, uint32_t kind, uint64_t n, aqz_gguf_value *v)
{
	const uint64_t begin = w->at;
	uint64_t bytes;
	aqz_status status = AQZ_OK;

	if (!aqz_mul(&bytes, n, aqz_gguf_kind_bytes(kind)))
		bytes = UINT64_MAX;
	AQZ_TRY(take(w, NULL, bytes));
	if (w->fill == NULL)
		return AQZ_OK;
	v->data = w->fill->header + begin;
	for (uint64_t i = 0; kind == AQZ_GGUF_BOOL && i < n; i++)
		if (v->data[i] > 1)
			return aqz_fail(w->err, AQZ_E_CORRUPT, begin + i, w->where, "a bool is neither 0 nor 1");
out:
	return status;
}

static aqz_status take_value(walk *w, aqz_gguf_value *v)
{
	uint32_t kind;
	aqz_status status;

	*v = (aqz_gguf_value){.n = 1};
	AQZ_TRY(take32(w, &kind));
	if (kind == AQZ_GGUF_ARRAY) {
		v->array = true;
		AQZ_TRY(take32(w, &kind));
		AQZ_TRY(take64(w, &v->n));
		if (kind == AQZ_GGUF_ARRAY)
			return aqz_fail(w->err, AQZ_E_UNSUPPORTED, w->at - 12, w->where,
				"an array of arrays is not supported");
	}
	v->kind = (aqz_gguf_kind)kind;
	if (kind == AQZ_GGUF_STRING) {
		/* Before the loop, so that its length is bounded by what is there. */
		if (v->n > (w->end - w->at) / 8)
			return check_left(w, v->n > UINT64_MAX / 8 ? UINT64_MAX : v->n * 8);
		if (w->fill != NULL)
			v->strings = w->fill->strings + w->n.n_strings;
		for (uint64_t i = 0; i < v->n; i++)
			AQZ_TRY(take_string(w));
	} else if (aqz_gguf_kind_bytes(kind) != 0) {
		AQZ_TRY(take_numbers(w, kind, v->n, v));
	} else {
		return aqz_fail(
			w->err, AQZ_E_CORRUPT, w->at, w->where, "there is no value type %" PRIu32, kind);
	}
out:
	return status;
}

static aqz_status take_entry(walk *w)
{
	aqz_gguf_entry e;
	aqz_status status;

	snprintf(w->where, sizeof w->where, "metadata[%" PRIu64 "]", w->n.n_entries);
	AQZ_TRY(take_name(w, &e.key, &e.key_bytes, MAX_KEY_BYTES, "metadata"));
	AQZ_TRY(take_value(w, &e.value));
	if (w->fill != NULL)
		w->fill->entries[w->n.n_entries] = e;
	w->n.n_entries++;
out:
	return status;
}

/* Reads dimensions, which the file has in the order of growing strides, and works out sizes. */
static aqz_status take_shape(walk *w, aqz_gguf_tensor *t)
{
	uint32_t id;
	uint64_t blocks = 1;
	aqz_status status;

	AQZ_TRY(take32(w, &t->rank));
	if (t->rank > AQZ_GGUF_MAX_RANK)
		return aqz_fail(w->err, AQZ_E_CORRUPT, w->at - 4, w->where,
			"%" PRIu32 " dimensions; at most %d are possible", t->rank, AQZ_GGUF_MAX_RANK);
	for (uint32_t i = t->rank; i > 0; i--) {
		AQZ_TRY(take64(w, &t->shape[i - 1]));
		if (t->shape[i - 1] > INT64_MAX)
			return aqz_fail(w->err, AQZ_E_CORRUPT, w->at - 8, w->where, "a dimension is negative");
	}
	AQZ_TRY(take32(w, &id));
	t->type = aqz_gguf_type_find(id);
	if (t->type == NULL)
		return aqz_fail(w->err, AQZ_E_UNSUPPORTED, w->at - 4, w->where,
			"the tensor type %" PRIu32 " is not known", id);
	t->n_elements = 1;
	for (uint32_t i = 0; i < t->rank; i++) {
		const bool inner = i == t->rank - 1;

		if (inner && t->shape[i] % t->type->n_values != 0)
			return aqz_fail(w->err, AQZ_E_CORRUPT, w->at, w->where,
				"rows of %" PRIu64 " values are no whole blocks of %s, which have %" PRIu32,
				t->shape[i], t->type->name, t->type->n_values);
		/* A zero dimension does not excuse an overflow of the others. */
		if (!aqz_mul(&blocks, blocks,
				t->shape[i] == 0 ? 1
					: inner		 ? t->shape[i] / t->type->n_values
								 : t->shape[i]) ||
			!aqz_mul(&t->n_elements, t->n_elements, t->shape[i]))
			return corrupt(w, "the shape overflows");
	}
	if (t->rank == 0 && t->type->n_values != 1)
		return corrupt(w, "a single value is no whole block");
	if (!aqz_mul(&t->n_bytes, blocks, t->type->n_bytes) || t->n_bytes > INT64_MAX ||
		!aqz_mul(&(uint64_t){0}, blocks, t->type->n_values))
		return corrupt(w, "the shape overflows");
	if (t->n_elements == 0)
		t->n_bytes = 0;
out:
	return status;
}

static aqz_status take_tensor(walk *w)
{
	aqz_gguf_tensor t = {0};
	const char *name;
	size_t n;
	aqz_status status;

	snprintf(w->where, sizeof w->where, "tensor[%" PRIu32 "]", w->n.n_tensors);
	AQZ_TRY(take_name(w, &name, &n, MAX_NAME_BYTES, "tensor"));
	if (w->fill != NULL) {
		if (n + 1 > w->fill->counts.name_bytes - w->n.name_bytes)
			return changed(w);
		t.name = memcpy(w->fill->names + w->n.name_bytes, name, n);
	}
	AQZ_TRY(take_shape(w, &t));
	AQZ_TRY(take64(w, &t.offset));
	if (w->fill != NULL)
		w->fill->tensors[w->n.n_tensors] = t;
	w->n.name_bytes += n + 1;
	w->n.n_tensors++;
out:
	return status;
}

/* Magic, version, counts. */
static aqz_status take_head(walk *w, uint64_t *n_entries, uint32_t *n_tensors)
{
	const uint8_t *p;
	uint64_t tensors;
	uint32_t version;
	aqz_status status;

	snprintf(w->where, sizeof w->where, "header");
	if (w->end < 4)
		return aqz_fail(w->err, AQZ_E_FORMAT, 0, w->where, "the file is too short for a GGUF file");
	AQZ_TRY(take(w, &p, 4));
	if (memcmp(p, "GGUF", 4) != 0)
		return aqz_fail(w->err, AQZ_E_FORMAT, 0, w->where, "the file does not begin with GGUF");
	AQZ_TRY(take32(w, &version));
	if (version != 0 && (version & 0xffff) == 0)
		return aqz_fail(w->err, AQZ_E_UNSUPPORTED, 4, "header.version",
			"the file is big-endian, which is not supported");
	if (version != 3)
		return aqz_fail(w->err, AQZ_E_UNSUPPORTED, 4, "header.version",
			"GGUF version %" PRIu32 " is not supported, only 3", version);
	AQZ_TRY(take64(w, &tensors));
	AQZ_TRY(take64(w, n_entries));
	if (tensors > INT64_MAX || *n_entries > INT64_MAX)
		return corrupt(w, "a count is negative");
	if (tensors > AQZ_MAX_TENSORS || *n_entries > MAX_ENTRIES)
		return aqz_fail(w->err, AQZ_E_UNSUPPORTED, 8, w->where,
			"%" PRIu64 " tensors and %" PRIu64 " keys; at most 2^20 of each are supported", tensors,
			*n_entries);
	/* Both are at most 2^20. */
	AQZ_TRY(check_left(w, tensors * MIN_TENSOR_BYTES + *n_entries * MIN_ENTRY_BYTES));
	*n_tensors = (uint32_t)tensors;
out:
	return status;
}

static aqz_status walk_header(walk *w)
{
	uint64_t n_entries = 0;
	uint32_t n_tensors = 0;
	aqz_status status;

	AQZ_TRY(take_head(w, &n_entries, &n_tensors));
	if (w->fill != NULL &&
		(n_entries != w->fill->counts.n_entries || n_tensors != w->fill->counts.n_tensors))
		return changed(w);
	for (uint64_t i = 0; i < n_entries; i++)
		AQZ_TRY(take_entry(w));
	for (uint32_t i = 0; i < n_tensors; i++)
		AQZ_TRY(take_tensor(w));
	w->n.header_bytes = w->at;
out:
	return status;
}

aqz_status aqz_gguf_measure(aqz_gguf_counts *counts, const aqz_io *io, uint64_t file_bytes,
	aqz_budget *budget, aqz_error *err)
{
	walk w = {.io = io, .end = file_bytes, .err = err};
	void *window;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(budget, &window, WINDOW_BYTES, "the header", err));
	w.window = w.storage = window;
	AQZ_TRY(walk_header(&w));
	*counts = w.n;
out:
	aqz_budget_free(budget, w.storage, WINDOW_BYTES);
	return status;
}

aqz_status aqz_gguf_fill(aqz_gguf *g, aqz_error *err)
{
	walk w = {.window = g->header,
		.window_bytes = g->counts.header_bytes,
		.end = g->counts.header_bytes,
		.fill = g,
		.err = err};
	aqz_status status;

	AQZ_TRY(walk_header(&w));
	/* The counts of tensors and keys were compared before. */
	if (w.n.header_bytes != g->counts.header_bytes || w.n.n_strings != g->counts.n_strings ||
		w.n.name_bytes != g->counts.name_bytes)
		status = changed(&w);
out:
	return status;
}
