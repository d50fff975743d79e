/* SPDX-License-Identifier: Apache-2.0 */
/* A container as a source: its tensors are decoded as they are read, and laid out as the headers of the files that it
 * was made from say, or one after the other. */
#include <jansson.h>

#include "interop/source.h"

/* A file of the source: what stands before its tensors, or the section that holds all of it. */
typedef struct part {
	uint8_t *header;
	uint64_t header_bytes; /* 0: an attached file */
	uint32_t section;
} part;

struct aqz_source_container {
	const aqz_reader *reader;
	part *parts; /* [n_files] */
	uint32_t n_parts;
	aqz_cursor *cursor; /* of the section that was read last */
	uint32_t section;
	uint8_t *rows; /* scratch */
	size_t rows_bytes;
	const aqz_tensor_info *whole; /* the tensor that is in rows, whose view is not its own order; NULL: none is */
};

void aqz_source_container_free(struct aqz_source_container *c)
{
	if (c == NULL)
		return;
	for (uint32_t i = 0; i < c->n_parts; i++)
		free(c->parts[i].header);
	aqz_cursor_close(c->cursor);
	free(c->parts);
	free(c->rows);
	free(c);
}

/* ---- Reading */

static aqz_status room(struct aqz_source_container *c, uint64_t n_bytes, aqz_error *err)
{
	uint8_t *grown;

	c->whole = NULL;
	if (n_bytes <= c->rows_bytes)
		return AQZ_OK;
	grown = n_bytes > SIZE_MAX ? NULL : realloc(c->rows, (size_t)n_bytes);
	if (grown == NULL)
		return aqz_fail_nomem(err, n_bytes);
	c->rows = grown;
	c->rows_bytes = (size_t)n_bytes;
	return AQZ_OK;
}

static aqz_status open_cursor(struct aqz_source_container *c, uint32_t section, aqz_error *err)
{
	aqz_status status;

	if (c->cursor != NULL && c->section == section)
		return AQZ_OK;
	aqz_cursor_close(c->cursor);
	c->cursor = NULL;
	AQZ_TRY(aqz_cursor_open(&c->cursor, c->reader, section, err));
	c->section = section;
out:
	return status;
}

/* Bytes [begin, begin + n) of a section's elements, rows of which are whole bytes. */
static aqz_status read_section(struct aqz_source_container *c, uint32_t section, uint64_t begin,
	uint8_t *dst, size_t n, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(c->reader, section);
	const uint64_t row_bytes = s->decoded_bytes / s->rows;
	const uint64_t first = begin / row_bytes, last = aqz_ceil_div(begin + n, row_bytes);
	aqz_status status;

	AQZ_TRY(open_cursor(c, section, err));
	if (begin == first * row_bytes && n == (last - first) * row_bytes)
		return aqz_cursor_read(c->cursor, first, last, dst, n, err);
	AQZ_TRY(room(c, (last - first) * row_bytes, err));
	AQZ_TRY(
		aqz_cursor_read(c->cursor, first, last, c->rows, (size_t)((last - first) * row_bytes), err));
	memcpy(dst, c->rows + (begin - first * row_bytes), n);
out:
	return status;
}

static aqz_status read_tensor(struct aqz_source_container *c, const aqz_tensor_info *t,
	uint64_t begin, uint8_t *dst, size_t n, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(c->reader, t->section);
	aqz_status status = AQZ_OK;

	if (!t->transposed && s->rows > 0 && s->cols * aqz_dtype_bits(s->dtype) % 8 == 0)
		return read_section(c, t->section, begin, dst, n, err);
	if (c->whole != t) {
		AQZ_TRY(room(c, t->n_bytes, err));
		AQZ_TRY(aqz_reader_read_tensor(c->reader, t, c->rows, (size_t)t->n_bytes, err));
		c->whole = t;
	}
	memcpy(dst, c->rows + begin, n);
out:
	return status;
}

aqz_status aqz_source_container_read(
	const aqz_source *source, uint32_t file, uint64_t offset, void *dst, size_t n, aqz_error *err)
{
	struct aqz_source_container *c = source->container;
	const aqz_safetensors *table = &source->files[file].table;
	const part *p = &c->parts[file];
	uint8_t *to = dst;
	aqz_status status = AQZ_OK;

	if (n == 0)
		return AQZ_OK;
	if (p->header_bytes == 0)
		return read_section(c, p->section, offset, to, n, err);
	if (offset < p->header_bytes) {
		const size_t some = (size_t)aqz_min(n, p->header_bytes - offset);

		memcpy(to, p->header + offset, some);
		to += some;
		n -= some;
		offset += some;
	}
	for (uint32_t i = 0; i < table->n_tensors && n > 0; i++) {
		const aqz_source_tensor *t = &table->tensors[i];
		size_t some;

		if (offset < t->offset || offset - t->offset >= t->n_bytes)
			continue;
		some = (size_t)aqz_min(n, t->n_bytes - (offset - t->offset));
		AQZ_TRY(read_tensor(c, aqz_reader_find(c->reader, t->name, t->name_bytes),
			offset - t->offset, to, some, err));
		to += some;
		n -= some;
		offset += some;
	}
	if (n > 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, offset, source->files[file].file.name,
			"no tensor has these bytes");
out:
	return status;
}

/* ---- Opening */

/* How far a header's tensors reach. Only a size is taken: aqz_safetensors_parse then checks everything against it. */
static uint64_t data_bytes(const uint8_t *header, uint64_t n)
{
	json_t *root = n < 8 ? NULL
						 : json_loadb((const char *)header + 8, (size_t)n - 8, JSON_ALLOW_NUL, NULL),
		   *entry;
	uint64_t most = 0;
	const char *key;

	json_object_foreach(root, key, entry)
	{
		const json_int_t end =
			json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 1));

		most = end > 0 && (uint64_t)end > most ? (uint64_t)end : most;
	}
	json_decref(root);
	return most < INT64_MAX / 2 ? most : 0;
}

/* Adds a file of so many bytes, which takes the header. */
static aqz_status add_file(
	aqz_source *source, const char *name, uint64_t n_bytes, const part *p, aqz_error *err)
{
	struct aqz_source_container *c = source->container;
	const struct stat info = {.st_size = (off_t)n_bytes};
	part *grown = realloc(c->parts, (c->n_parts + (size_t)1) * sizeof *grown);
	aqz_status status;

	if (grown == NULL) {
		free(p->header);
		return aqz_fail_nomem(err, c->n_parts * sizeof *grown);
	}
	c->parts = grown;
	c->parts[c->n_parts++] = *p;
	AQZ_TRY(aqz_source_add(source, name, &info, err));
out:
	return status;
}

/* Adds a model file with its tensors. Takes the header. */
static aqz_status add_model(aqz_source *source, const char *name, uint8_t *header, uint64_t n,
	uint64_t memlimit_bytes, aqz_error *err)
{
	const uint64_t n_bytes = n + data_bytes(header, n);
	const part p = {.header = header, .header_bytes = n};
	aqz_source_entry *entry;
	aqz_status status;

	AQZ_TRY(add_file(source, name, n_bytes, &p, err));
	entry = &source->files[source->n_files - 1];
	entry->model = true;
	AQZ_TRY(aqz_safetensors_parse(&entry->table, header, (size_t)n, n_bytes, memlimit_bytes, err));
	source->budget.used_bytes += aqz_safetensors_memory(&entry->table);
	for (uint32_t i = 0; i < entry->table.n_tensors; i++)
		entry->table.tensors[i].file = source->n_files - 1;
	entry->file.header_bytes = entry->table.header_bytes;
	entry->first_tensor = source->n_tensors;
	source->n_tensors += entry->table.n_tensors;
	source->n_models++;
out:
	return status;
}

static aqz_status add_header(
	aqz_source *source, const aqz_section_info *s, uint64_t memlimit_bytes, aqz_error *err)
{
	uint8_t *header = s->decoded_bytes > AQZ_SAFETENSORS_MAX_HEADER + 8
		? NULL
		: malloc((size_t)s->decoded_bytes + 1);
	aqz_status status;

	if (header == NULL)
		return aqz_fail_nomem(err, s->decoded_bytes);
	status = s->decoded_bytes == 0
		? AQZ_OK
		: read_section(source->container, s->number, 0, header, (size_t)s->decoded_bytes, err);
	if (status == AQZ_OK)
		return add_model(source, s->name, header, s->decoded_bytes, memlimit_bytes, err);
	free(header);
	return status;
}

/* True if the tensors of the headers are those of the container. */
static bool all_there(const aqz_source *source)
{
	const aqz_reader *reader = source->container->reader;

	for (uint32_t i = 0; i < source->n_tensors; i++) {
		const aqz_source_tensor *s = aqz_source_get(source, i);
		const aqz_tensor_info *t = aqz_reader_find(reader, s->name, s->name_bytes);

		if (t == NULL || t->dtype != s->dtype || t->rank != s->rank ||
			memcmp(t->shape, s->shape, s->rank * sizeof *s->shape) != 0)
			return false;
	}
	return source->n_models > 0 && source->n_tensors == aqz_reader_file(reader)->n_tensors;
}

/* One file of all tensors, in their order. */
static aqz_status add_own(aqz_source *source, uint64_t memlimit_bytes, aqz_error *err)
{
	const aqz_reader *reader = source->container->reader;
	const uint32_t n = aqz_reader_file(reader)->n_tensors;
	aqz_source_tensor *tensors = calloc((size_t)n + 1, sizeof *tensors);
	uint8_t *header = NULL;
	size_t header_bytes;
	aqz_status status;

	if (tensors == NULL)
		return aqz_fail_nomem(err, n * sizeof *tensors);
	for (uint32_t i = 0; i < n; i++) {
		const aqz_tensor_info *t = aqz_reader_tensor(reader, i);

		tensors[i] = (aqz_source_tensor){.name = t->name,
			.name_bytes = t->name_bytes,
			.dtype = t->dtype,
			.rank = t->rank,
			.n_elements = t->n_elements,
			.n_bytes = t->n_bytes};
		memcpy(tensors[i].shape, t->shape, sizeof t->shape);
	}
	AQZ_TRY(aqz_safetensors_header(&header, &header_bytes, tensors, n, NULL, err));
	status = add_model(source, "model.safetensors", header, header_bytes, memlimit_bytes, err);
out:
	free(tensors);
	return status;
}

/* Takes the files of the headers back. */
static void drop_files(aqz_source *source)
{
	struct aqz_source_container *c = source->container;

	while (source->n_files > 0) {
		aqz_source_entry *entry = &source->files[--source->n_files];
		char *name = (char *)(uintptr_t)entry->file.name; /* ours; const for the user */

		aqz_safetensors_free(&entry->table);
		aqz_budget_free(&source->budget, name, strlen(name) + 1);
		memset(entry, 0, sizeof *entry);
	}
	while (c->n_parts > 0)
		free(c->parts[--c->n_parts].header);
	source->n_models = source->n_tensors = 0;
}

static aqz_status open_files(aqz_source *source, uint64_t memlimit_bytes, aqz_error *err)
{
	const aqz_reader *reader = source->container->reader;
	const aqz_section_info *s;
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; (s = aqz_reader_section(reader, i)) != NULL; i++)
		if (s->kind == AQZ_KIND_SOURCE_HEADER)
			AQZ_TRY(add_header(source, s, memlimit_bytes, err));
	if (!all_there(source)) {
		drop_files(source);
		AQZ_TRY(add_own(source, memlimit_bytes, err));
	}
	for (uint32_t i = 0; (s = aqz_reader_section(reader, i)) != NULL; i++)
		if (s->kind == AQZ_KIND_FILE) {
			const part p = {.section = i};

			AQZ_TRY(add_file(source, s->name, s->decoded_bytes, &p, err));
			source->folder = true;
		}
out:
	return status;
}

aqz_status aqz_source_from_reader(
	aqz_source **out, const aqz_reader *reader, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_source *source;
	aqz_status status;

	*out = NULL;
	if (reader == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "a pointer is NULL");
	source = calloc(1, sizeof *source);
	if (source == NULL)
		return aqz_fail_nomem(err, sizeof *source);
	source->dir = -1;
	source->budget.limit_bytes = memlimit_bytes;
	source->container = calloc(1, sizeof *source->container);
	if (source->container == NULL) {
		free(source);
		return aqz_fail_nomem(err, sizeof *source->container);
	}
	source->container->reader = reader;
	status = open_files(source, memlimit_bytes, err);
	if (status == AQZ_OK)
		*out = source;
	else
		aqz_source_close(source);
	return status;
}

const aqz_reader *aqz_source_reader(const aqz_source *source)
{
	return source->container != NULL ? source->container->reader : NULL;
}
