/* SPDX-License-Identifier: Apache-2.0 */
/* decompress: which tensor goes where. The source's safetensors headers say what the output looks
 * like; they are compared with what the container holds before anything is written. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/restore.h"

static aqz_status nomem(aqz_error *err)
{
	return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
}

static restore_file *add_file(restore *r, const char *name)
{
	restore_file *files = realloc(r->files, (r->n_files + 1) * sizeof *files), *f;

	if (files == NULL)
		return NULL;
	r->files = files;
	f = &files[r->n_files];
	memset(f, 0, sizeof *f);
	f->fd = -1;
	f->section = UINT32_MAX;
	f->name = strdup(name);
	if (f->name == NULL)
		return NULL;
	r->n_files++;
	return f;
}

aqz_status restore_header_declare(restore *r, const aqz_section_info *section, aqz_error *err)
{
	restore_file *f;

	if (r->laid_out)
		return cli_fail(err, AQZ_E_UNSUPPORTED, section->name,
			"this header comes after the tensors, which a pipe cannot wait for; give a file "
			"instead");
	if (section->decoded_bytes > AQZ_SAFETENSORS_MAX_HEADER + 8)
		return cli_fail(err, AQZ_E_CORRUPT, section->name,
			"a source header of %" PRIu64 " bytes is too long", section->decoded_bytes);
	/* Parsing takes several times the text. */
	if (section->decoded_bytes > r->opt.common->memory_bytes / 8)
		return cli_fail(err, AQZ_E_MEMLIMIT, section->name,
			"a source header of %" PRIu64 " bytes needs more memory", section->decoded_bytes);
	f = add_file(r, section->name);
	if (f == NULL)
		return nomem(err);
	f->section = section->number;
	f->header_bytes = (size_t)section->decoded_bytes;
	f->header = malloc(f->header_bytes + 1);
	return f->header != NULL ? AQZ_OK : nomem(err);
}

aqz_status restore_header_put(
	restore *r, uint32_t section, uint64_t begin, const void *data, size_t n, aqz_error *err)
{
	for (uint32_t i = 0; i < r->n_files; i++) {
		restore_file *f = &r->files[i];

		if (f->section != section)
			continue;
		if (begin != f->filled || n > f->header_bytes - f->filled)
			return cli_fail(
				err, AQZ_E_CORRUPT, f->name, "the source header's rows are out of order");
		memcpy(f->header + f->filled, data, n);
		f->filled += n;
		return AQZ_OK;
	}
	return cli_fail(err, AQZ_E_CORRUPT, "", "section %u is no source header", section);
}

static aqz_status parse_header(restore *r, restore_file *f, aqz_error *err)
{
	uint64_t data_bytes;
	aqz_status status;

	if (f->filled != f->header_bytes)
		return cli_fail(err, AQZ_E_UNSUPPORTED, f->name,
			"this source header is not complete before the tensors, which a pipe cannot wait for; "
			"give a file instead");
	status = restore_data_bytes(&data_bytes, f->header, f->header_bytes, err);
	if (status != AQZ_OK)
		return status;
	if (data_bytes > INT64_MAX - f->header_bytes)
		return cli_fail(err, AQZ_E_CORRUPT, f->name, "the source header's offsets are too large");
	status = aqz_safetensors_parse(&f->parsed, f->header, f->header_bytes,
		f->header_bytes + data_bytes, r->opt.common->memory_bytes, err);
	if (status != AQZ_OK)
		return status;
	f->is_parsed = true;
	if (f->parsed.header_bytes != f->header_bytes)
		return cli_fail(err, AQZ_E_CORRUPT, f->name,
			"the source header's length word says %" PRIu64 " bytes, not %zu",
			f->parsed.header_bytes, f->header_bytes);
	return AQZ_OK;
}

static bool asked_for(const restore *r, const char *name)
{
	for (uint32_t i = 0; i < r->opt.n_names; i++)
		if (strcmp(r->opt.names[i], name) == 0)
			return true;
	return r->opt.n_names == 0;
}

static void fill_source(aqz_source_tensor *t, const aqz_tensor_info *info)
{
	memset(t, 0, sizeof *t);
	t->name = info->name;
	t->name_bytes = info->name_bytes;
	t->dtype = info->dtype;
	t->rank = info->rank;
	memcpy(t->shape, info->shape, sizeof t->shape);
	t->n_elements = info->n_elements;
	t->n_bytes = info->n_bytes;
}

static int by_name(const void *a, const void *b, void *slots)
{
	const restore_slot *s = slots;

	return strcmp(s[*(const uint32_t *)a].source.name, s[*(const uint32_t *)b].source.name);
}

static aqz_status sort_slots(restore *r, aqz_error *err)
{
	r->by_name = malloc(((size_t)r->n_slots + 1) * sizeof *r->by_name);
	if (r->by_name == NULL)
		return nomem(err);
	for (uint32_t i = 0; i < r->n_slots; i++)
		r->by_name[i] = i;
	qsort_r(r->by_name, r->n_slots, sizeof *r->by_name, by_name, r->slots);
	for (uint32_t i = 1; i < r->n_slots; i++) {
		const char *name = r->slots[r->by_name[i]].source.name;

		if (strcmp(r->slots[r->by_name[i - 1]].source.name, name) == 0)
			return cli_fail(
				err, AQZ_E_CORRUPT, "source_header", "tensor '%.120s' occurs twice", name);
	}
	return AQZ_OK;
}

static restore_slot *find(const restore *r, const char *name)
{
	uint32_t low = 0, high = r->n_slots;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(name, r->slots[r->by_name[middle]].source.name);

		if (order == 0)
			return &r->slots[r->by_name[middle]];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* True if one header speaks of exactly the tensors that the file holds. */
static bool header_is_whole(const restore *r, const aqz_reader *reader)
{
	const aqz_safetensors *s;

	if (r->n_files != 1 || r->opt.n_names != 0)
		return false;
	s = &r->files[0].parsed;
	if (s->n_tensors != aqz_reader_file(reader)->n_tensors)
		return false;
	for (uint32_t i = 0; i < s->n_tensors; i++)
		if (aqz_reader_find(reader, s->tensors[i].name, s->tensors[i].name_bytes) == NULL)
			return false;
	return true;
}

static aqz_status slots_from_table(restore *r, const aqz_reader *reader, aqz_error *err)
{
	uint32_t n = aqz_reader_file(reader)->n_tensors;

	for (uint32_t i = 0; i < r->n_files; i++) {
		if (r->metadata == NULL)
			r->metadata = r->files[i].parsed.metadata;
		for (uint32_t k = 0; k < r->files[i].parsed.n_tensors && r->opt.n_names == 0; k++) {
			const aqz_source_tensor *t = &r->files[i].parsed.tensors[k];

			if (aqz_reader_find(reader, t->name, t->name_bytes) == NULL)
				cli_warn(r->opt.in->name, "tensor '%s' of the source is not in this file", t->name);
		}
	}
	if (add_file(r, "model.safetensors") == NULL)
		return nomem(err);
	r->slots = calloc((size_t)n + 1, sizeof *r->slots);
	if (r->slots == NULL)
		return nomem(err);
	r->n_slots = n;
	for (uint32_t i = 0; i < n; i++) {
		fill_source(&r->slots[i].source, aqz_reader_tensor(reader, i));
		r->slots[i].file = r->n_files - 1;
	}
	return AQZ_OK;
}

static aqz_status slots_from_headers(restore *r, aqz_error *err)
{
	size_t n = 0;

	for (uint32_t i = 0; i < r->n_files; i++)
		n += r->files[i].parsed.n_tensors;
	if (n > AQZ_MAX_TENSORS)
		return cli_fail(err, AQZ_E_CORRUPT, "source_header", "%zu tensors are too many", n);
	r->slots = calloc(n + 1, sizeof *r->slots);
	if (r->slots == NULL)
		return nomem(err);
	for (uint32_t i = 0; i < r->n_files; i++)
		for (uint32_t k = 0; k < r->files[i].parsed.n_tensors; k++) {
			r->slots[r->n_slots].source = r->files[i].parsed.tensors[k];
			r->slots[r->n_slots++].file = i;
		}
	r->metadata = r->n_files > 0 ? r->files[0].parsed.metadata : NULL;
	return AQZ_OK;
}

aqz_status restore_layout(restore *r, const aqz_reader *reader, aqz_error *err)
{
	bool table = reader != NULL && r->n_files == 0;
	aqz_status status;

	r->laid_out = true;
	if (r->opt.mode == RESTORE_RAW) {
		/* One tensor, described by the container itself. */
		if (add_file(r, "") == NULL || (r->slots = calloc(1, sizeof *r->slots)) == NULL)
			return nomem(err);
		r->n_slots = 1;
		r->slots[0].source.name = r->opt.names[0];
		r->slots[0].file = r->n_files - 1;
		r->slots[0].wanted = true;
		return sort_slots(r, err);
	}
	if (r->n_files == 0 && (reader == NULL || r->opt.original))
		return cli_fail(err, AQZ_E_NOT_FOUND, "source_header",
			reader == NULL
				? "the container holds no safetensors header before its tensors; give a file "
				  "instead of a pipe"
				: "the container holds no header of a source file, so there are no original bytes");
	if (r->opt.original && r->opt.mode == RESTORE_SAFETENSORS && r->n_files > 1)
		return cli_fail(err, AQZ_E_ARGUMENT, "",
			"the source was %u safetensors files; --original needs a folder as output", r->n_files);
	for (uint32_t i = 0; i < r->n_files; i++) {
		status = parse_header(r, &r->files[i], err);
		if (status != AQZ_OK)
			return status;
	}
	if (reader != NULL && r->opt.mode == RESTORE_SAFETENSORS && !r->opt.original)
		table = !header_is_whole(r, reader);
	status = table ? slots_from_table(r, reader, err) : slots_from_headers(r, err);
	if (status == AQZ_OK)
		status = sort_slots(r, err);
	for (uint32_t i = 0; i < r->n_slots && status == AQZ_OK; i++)
		r->slots[i].wanted = asked_for(r, r->slots[i].source.name);
	for (uint32_t i = 0; i < r->opt.n_names && status == AQZ_OK; i++)
		if (find(r, r->opt.names[i]) == NULL)
			status =
				cli_fail(err, AQZ_E_NOT_FOUND, "", "there is no tensor '%.120s'", r->opt.names[i]);
	return status;
}

static aqz_status set_rows(
	const restore *r, restore_slot *s, const aqz_section_info *section, aqz_error *err)
{
	unsigned bits = aqz_dtype_bits(s->source.dtype);

	s->rows_begin = 0;
	s->rows_end = section->rows;
	s->view_cols = section->cols;
	if (!r->opt.has_rows)
		return AQZ_OK;
	s->rows_begin = r->opt.row_begin;
	if (r->opt.row_end != UINT64_MAX)
		s->rows_end = r->opt.row_end;
	if (s->rows_begin > s->rows_end || s->rows_end > section->rows)
		return cli_fail(err, AQZ_E_ARGUMENT, s->source.name,
			"--rows %" PRIu64 ":%" PRIu64 " is not possible; possible values: 0 to %" PRIu64,
			s->rows_begin, s->rows_end, section->rows);
	if (bits % 8 != 0 &&
		((s->rows_begin * section->cols * bits) % 8 != 0 ||
			(s->rows_end * section->cols * bits) % 8 != 0))
		return cli_fail(err, AQZ_E_ARGUMENT, s->source.name,
			"these rows of %u-bit elements are not whole bytes", bits);
	return AQZ_OK;
}

/* What is written for a slot whose rows and dtype are known. */
static void set_output(const restore *r, restore_slot *s)
{
	aqz_dtype d = s->source.dtype;
	bool is_float = d == AQZ_F64 || d == AQZ_F32 || d == AQZ_F16 || d == AQZ_BF16;
	unsigned bits;

	s->out_dtype = r->opt.dtype != 0 && is_float ? r->opt.dtype : d;
	if (r->opt.has_rows && s->info != NULL) {
		aqz_source_tensor *t = &s->source;

		if (t->rank == 0 || s->info->leading != 0 || s->info->transposed) {
			t->rank = 2;
			t->shape[1] = s->view_cols;
		}
		t->shape[0] = s->rows_end - s->rows_begin;
		t->n_elements = t->shape[0] * s->view_cols;
	}
	bits = aqz_dtype_bits(s->out_dtype);
	/* Only a wider dtype can overflow: the library has checked the source's own bytes. */
	if (s->out_dtype == d)
		s->out_bytes = r->opt.has_rows ? s->source.n_elements * bits / 8 : s->source.n_bytes;
	else if (__builtin_mul_overflow(s->source.n_elements, bits / 8, &s->out_bytes))
		s->out_bytes = UINT64_MAX;
}

aqz_status restore_match(restore *r, restore_slot **out, const aqz_tensor_info *info,
	const aqz_section_info *section, aqz_error *err)
{
	restore_slot *s = find(r, info->name);
	aqz_source_tensor *t;
	aqz_status status;

	*out = NULL;
	if (s == NULL || !s->wanted) {
		if (s == NULL && r->opt.n_names == 0)
			return cli_fail(
				err, AQZ_E_CORRUPT, info->name, "no source header speaks of this tensor");
		return AQZ_OK;
	}
	if (s->info != NULL)
		return cli_fail(err, AQZ_E_CORRUPT, info->name, "the tensor occurs twice");
	if (r->opt.mode == RESTORE_RAW)
		fill_source(&s->source, info);
	t = &s->source;
	if (t->dtype != info->dtype || t->rank != info->rank ||
		memcmp(t->shape, info->shape, info->rank * sizeof *t->shape) != 0)
		return cli_fail(err, AQZ_E_CORRUPT, info->name,
			"dtype or shape differ from what the source's header says");
	if (r->opt.original && section->scheme.codec != AQZ_CODEC_LOSSLESS) {
		char scheme[AQZ_SCHEME_TEXT_BYTES];

		aqz_scheme_format(scheme, &section->scheme);
		return cli_fail(err, AQZ_E_ARGUMENT, info->name,
			"is stored as %s, so its original bytes are gone; --original "
			"needs a file made with --scheme raw",
			scheme);
	}
	s->info = info;
	*out = s;
	status = set_rows(r, s, section, err);
	if (status == AQZ_OK && r->opt.mode == RESTORE_RAW)
		set_output(r, s);
	return status;
}

/* The header of a file whose slots are known, and their places in it. */
static aqz_status place(restore *r, uint32_t number, aqz_error *err)
{
	restore_file *f = &r->files[number];
	aqz_source_tensor *tensors = malloc(((size_t)r->n_slots + 1) * sizeof *tensors);
	bool changed = !f->is_parsed || f->rebuild;
	aqz_status status = AQZ_OK;
	uint32_t n = 0;

	if (tensors == NULL)
		return nomem(err);
	for (uint32_t i = 0; i < r->n_slots; i++) {
		restore_slot *s = &r->slots[i];

		if (s->file != number)
			continue;
		if (!s->wanted || s->out_dtype != s->source.dtype || r->opt.has_rows)
			changed = true;
		if (!s->wanted)
			continue;
		tensors[n] = s->source;
		tensors[n].dtype = s->out_dtype;
		tensors[n++].n_bytes = s->out_bytes;
	}
	if (changed && r->opt.mode != RESTORE_RAW) {
		uint8_t *header = NULL;

		status = aqz_safetensors_header(
			&header, &f->filled, tensors, n, f->is_parsed ? f->parsed.metadata : r->metadata, err);
		if (status == AQZ_OK) {
			free(f->header);
			f->header = header;
			f->header_bytes = f->filled;
		}
	}
	free(tensors);
	if (status != AQZ_OK)
		return status;
	f->end = f->header_bytes;
	for (uint32_t i = 0; i < r->n_slots; i++) {
		restore_slot *s = &r->slots[i];

		if (s->file != number || !s->wanted)
			continue;
		s->offset = f->end;
		if (__builtin_add_overflow(f->end, s->out_bytes, &f->end) || f->end > INT64_MAX)
			return cli_fail(err, AQZ_E_SPACE, f->name, "the file would be too large");
	}
	return AQZ_OK;
}

aqz_status restore_open_files(restore *r, aqz_error *err)
{
	uint32_t first = r->n_slots > 0 ? r->slots[0].file : r->n_files > 0 ? r->n_files - 1 : 0;
	aqz_status status = AQZ_OK;

	r->total_bytes = 0;
	for (uint32_t i = 0; i < r->n_slots; i++)
		if (r->slots[i].wanted) {
			set_output(r, &r->slots[i]);
			r->total_bytes += r->slots[i].out_bytes;
		}
	/* One file out of several: all slots move to it, in their order. */
	for (uint32_t i = 0; i < r->n_slots && r->opt.mode == RESTORE_SAFETENSORS; i++)
		if (r->slots[i].file != first) {
			r->slots[i].file = first;
			r->files[first].rebuild = true;
		}
	for (uint32_t i = 0; i < r->n_files && status == AQZ_OK; i++) {
		restore_file *f = &r->files[i];

		if (r->opt.mode != RESTORE_FOLDER && i != first)
			continue;
		status = place(r, i, err);
		if (status != AQZ_OK)
			break;
		f->fd =
			r->opt.mode == RESTORE_FOLDER ? cli_output_create(r->opt.out, f->name) : r->opt.out->fd;
		if (f->fd < 0)
			return cli_fail_errno(err, f->name, errno);
		if (f->header_bytes > 0)
			status = restore_write(r, f->fd, f->header, f->header_bytes, RESTORE_APPEND, err);
	}
	return status;
}
