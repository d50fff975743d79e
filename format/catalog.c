/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of frames and what they declare, spec 2.2 and 5. */
#include "format/catalog.h"

#include <stdio.h> /* snprintf */

void aqz_catalog_init(aqz_catalog *c, const aqz_superblock *superblock, uint64_t memlimit_bytes)
{
	memset(c, 0, sizeof *c);
	c->superblock = *superblock;
	c->budget.limit_bytes = memlimit_bytes;
	c->offset = AQZ_SUPERBLOCK_BYTES;
}

void aqz_catalog_free(aqz_catalog *c)
{
	for (uint32_t i = 0; i < c->n_sections; i++)
		aqz_budget_free(&c->budget, c->sections[i], c->sections[i]->block_bytes);
	for (uint32_t i = 0; i < c->n_tensors; i++)
		aqz_budget_free(&c->budget, c->tensors[i], c->tensors[i]->block_bytes);
	aqz_names_free(&c->tensor_names, &c->budget);
	aqz_names_free(&c->file_names, &c->budget);
	aqz_names_free(&c->metadata_names, &c->budget);
	aqz_budget_free(&c->budget, c->sections, (uint64_t)c->sections_capacity * sizeof *c->sections);
	aqz_budget_free(&c->budget, c->tensors, (uint64_t)c->tensors_capacity * sizeof *c->tensors);
	aqz_budget_free(&c->budget, c->frames, (uint64_t)c->frames_capacity * sizeof *c->frames);
	aqz_budget_free(&c->budget, c->chunks, (uint64_t)c->chunks_capacity * sizeof *c->chunks);
	aqz_budget_free(&c->budget, c->records, c->records_capacity);
	memset(c, 0, sizeof *c);
}

/* Makes room for one more item: doubles as items really arrive. array points to the array's
 * pointer. */
static aqz_status grow(
	aqz_catalog *c, void *array, uint32_t n, uint32_t *capacity, size_t item_bytes, aqz_error *err)
{
	if (n < *capacity)
		return AQZ_OK;
	uint32_t more = *capacity == 0 ? 16 : 2 * *capacity; /* numbers are below 2^25 */
	void *old, *fresh;
	memcpy(&old, array, sizeof old);
	aqz_status status =
		aqz_budget_alloc(&c->budget, &fresh, (uint64_t)more * item_bytes, "the catalog", err);
	if (status != AQZ_OK)
		return status;
	if (n > 0)
		memcpy(fresh, old, (size_t)n * item_bytes);
	aqz_budget_free(&c->budget, old, (uint64_t)*capacity * item_bytes);
	memcpy(array, &fresh, sizeof fresh);
	*capacity = more;
	return AQZ_OK;
}

void aqz_section_chunk_rows(const aqz_section *s, uint32_t chunk, uint64_t *row_begin,
	uint64_t *row_end, uint64_t *n_code_rows)
{
	uint64_t code_begin = (uint64_t)chunk * s->info.chunk_rows, out_group = s->info.scheme.out_group;
	*n_code_rows = aqz_min(s->info.chunk_rows, s->code_rows - code_begin);
	*row_begin = code_begin * out_group;
	*row_end = aqz_min((code_begin + *n_code_rows) * out_group, s->info.rows);
}

bool aqz_section_rows_bytes(
	const aqz_section *s, uint64_t row_begin, uint64_t row_end, uint64_t *n_bytes)
{
	/* rows * cols * bits was checked to fit when the section was parsed; both ends must be whole
	 * bytes. */
	uint64_t row_bits = s->info.cols * aqz_dtype_bits(s->info.dtype);
	if (row_begin * row_bits % 8 != 0 || row_end * row_bits % 8 != 0)
		return false;
	*n_bytes = (row_end - row_begin) * row_bits / 8;
	return true;
}

aqz_view aqz_section_view(const aqz_section *s)
{
	return (aqz_view){.scheme = s->info.scheme,
		.dtype = s->info.dtype,
		.rows = s->info.rows,
		.cols = s->info.cols,
		.chunk_rows = s->info.chunk_rows,
		.refs = s->info.refs,
		.n_refs = s->info.n_refs};
}

void aqz_catalog_expected(const aqz_catalog *c, uint32_t type, uint32_t *section, uint32_t *chunk)
{
	bool declares = type == AQZ_FRAME_RECORDS || type == AQZ_FRAME_INDEX;
	*section = type == AQZ_FRAME_CHUNK ? c->section_next : declares ? c->framed_sections : 0;
	*chunk = type == AQZ_FRAME_CHUNK ? c->chunk_next : declares ? c->framed_tensors : 0;
}

/* Moves on to the next section that has chunks. */
static void skip_empty(aqz_catalog *c)
{
	while (c->section_next < c->framed_sections &&
		c->chunk_next == c->sections[c->section_next]->info.n_chunks) {
		c->section_next++;
		c->chunk_next = 0;
	}
}

static aqz_status check_chunk(const aqz_catalog *c, const aqz_frame *f, aqz_error *err)
{
	if (c->section_next == c->framed_sections)
		return aqz_fail(
			err, AQZ_E_CORRUPT, c->offset, "frame.type", "a chunk comes where none is due");
	const aqz_section *s = c->sections[c->section_next];
	char where[48];
	snprintf(where, sizeof where, "section[%u].chunk[%u]", c->section_next, c->chunk_next);
	uint64_t row_begin, row_end, n_code_rows, n_bytes, least, most;
	aqz_section_chunk_rows(s, c->chunk_next, &row_begin, &row_end, &n_code_rows);
	if (!aqz_section_rows_bytes(s, row_begin, row_end, &n_bytes) || f->decoded_bytes != n_bytes)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset + 32, where,
			"the chunk's decoded bytes are not those of its rows");
	if (!s->codec->coding_ok(f->coding))
		return aqz_fail(err, AQZ_E_UNSUPPORTED, c->offset + 16, where,
			"coding %u is not known for codec %s", f->coding, s->codec->name);
	aqz_view view = aqz_section_view(s);
	s->codec->payload_bounds(&view, row_end - row_begin, n_code_rows, f->coding, &least, &most);
	if (f->stored_bytes < least || f->stored_bytes > most)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset + 24, where,
			"%llu stored bytes are not within %llu to %llu", (unsigned long long)f->stored_bytes,
			(unsigned long long)least, (unsigned long long)most);
	uint64_t alignment = UINT64_C(1) << c->superblock.alignment_log2;
	if ((c->offset + AQZ_FRAME_HEADER_BYTES) % alignment != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset, where,
			"the chunk's payload is not aligned to %llu bytes", (unsigned long long)alignment);
	return AQZ_OK;
}

static aqz_status check_padding(const aqz_catalog *c, const aqz_frame *f, aqz_error *err)
{
	uint64_t alignment = UINT64_C(1) << c->superblock.alignment_log2;
	uint64_t due = (alignment - (c->offset + 2 * AQZ_FRAME_HEADER_BYTES) % alignment) % alignment;
	if (c->padded || c->section_next == c->framed_sections ||
		(c->offset + AQZ_FRAME_HEADER_BYTES) % alignment == 0 || f->stored_bytes != due ||
		f->decoded_bytes != due)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset, "frame.padding",
			"a padding frame where none, or another, is due");
	return AQZ_OK;
}

aqz_status aqz_catalog_frame(aqz_catalog *c, const aqz_frame *f, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	bool known =
		f->type == AQZ_FRAME_RECORDS || f->type == AQZ_FRAME_CHUNK || f->type == AQZ_FRAME_PADDING;
	uint32_t section, chunk;
	char type[5];
	aqz_frame_type_text(type, f->type);
	if (c->n_frames == AQZ_MAX_FRAMES)
		return aqz_fail(
			err, AQZ_E_CORRUPT, c->offset, "frame", "more than %u frames", AQZ_MAX_FRAMES);
	if (f->type == AQZ_FRAME_INDEX || f->type == AQZ_FRAME_FOOTER)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset + 4, "frame.type",
			"a %s frame stands among the others", type);
	/* What is read was checked already; what is written was not. */
	if (f->stored_bytes > AQZ_MAX_CHUNK_BYTES || f->decoded_bytes > AQZ_MAX_CHUNK_BYTES)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset + 24, "frame.size",
			"a %s frame may hold 64 MiB at most", type);
	/* In the index's table nobody has looked at them yet. */
	if ((f->flags & ~AQZ_FRAME_ANCILLARY) != 0)
		return aqz_fail(
			err, AQZ_E_UNSUPPORTED, c->offset + 18, "frame.flags", "a reserved bit is set");
	if (!known && (f->flags & AQZ_FRAME_ANCILLARY) == 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, c->offset + 4, "frame.type",
			"frames of type %s are not known to this version", type);
	if (known && f->flags != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset + 18, "frame.flags",
			"a %s frame cannot be ancillary", type);
	aqz_catalog_expected(c, f->type, &section, &chunk);
	if (known && (f->section != section || f->chunk != chunk))
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset + 8, "frame.section",
			"a %s frame of section %u, chunk %u where %u, %u is due", type, f->section, f->chunk,
			section, chunk);
	if (known && f->type != AQZ_FRAME_CHUNK && f->coding != 0)
		return aqz_fail(
			err, AQZ_E_CORRUPT, c->offset + 16, "frame.coding", "a %s frame is never coded", type);
	if (f->coding == 0 && f->stored_bytes != f->decoded_bytes)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset + 24, "frame.size",
			"a frame that is not coded has as many stored as decoded bytes");
	if (c->records_due)
		return aqz_fail(err, AQZ_E_ARGUMENT, c->offset, "frame",
			"the records of the last frame were not given");
	if (c->padded && f->type != AQZ_FRAME_CHUNK)
		return aqz_fail(
			err, AQZ_E_CORRUPT, c->offset, "frame.type", "padding is not followed by a chunk");
	if (f->type == AQZ_FRAME_CHUNK)
		AQZ_TRY(check_chunk(c, f, err));
	if (f->type == AQZ_FRAME_PADDING)
		AQZ_TRY(check_padding(c, f, err));
	if (f->type == AQZ_FRAME_RECORDS &&
		(c->section_next != c->framed_sections || f->stored_bytes == 0))
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, c->offset, "frame.type",
			"records where a chunk of section %u is due, or none in them", c->section_next));
	uint64_t next;
	if (!aqz_add(&next, c->offset, AQZ_FRAME_HEADER_BYTES + aqz_padded(f->stored_bytes)))
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, c->offset + 24, "frame.size",
			"the frames are longer than any file"));
	AQZ_TRY(grow(c, &c->frames, c->n_frames, &c->frames_capacity, sizeof *c->frames, err));
	if (f->type == AQZ_FRAME_CHUNK) {
		AQZ_TRY(grow(c, &c->chunks, c->n_chunks, &c->chunks_capacity, sizeof *c->chunks, err));
		c->chunks[c->n_chunks++] = c->n_frames;
		aqz_section *s = c->sections[c->section_next];
		if (c->chunk_next == 0)
			s->first_chunk = c->n_chunks - 1;
		s->info.stored_bytes += f->stored_bytes;
		c->chunk_next++;
		skip_empty(c);
	}
	c->frames[c->n_frames++] = (aqz_placed_frame){.frame = *f, .offset = c->offset};
	c->offset = next;
	c->padded = f->type == AQZ_FRAME_PADDING;
	c->records_due = f->type == AQZ_FRAME_RECORDS;
out:
	return status;
}

/* ---- Records */

static bool tensor_name_equal(const void *owner, uint32_t number, const char *name, size_t n)
{
	const aqz_tensor_info *t = &((const aqz_catalog *)owner)->tensors[number]->info;
	return t->name_bytes == n && memcmp(t->name, name, n) == 0;
}

static void tensor_name_get(const void *owner, uint32_t number, const char **name, size_t *n)
{
	const aqz_tensor_info *t = &((const aqz_catalog *)owner)->tensors[number]->info;
	*name = t->name, *n = t->name_bytes;
}

static bool file_name_equal(const void *owner, uint32_t number, const char *name, size_t n)
{
	const char *s = ((const aqz_catalog *)owner)->sections[number]->info.name;
	return strlen(s) == n && memcmp(s, name, n) == 0;
}

static void file_name_get(const void *owner, uint32_t number, const char **name, size_t *n)
{
	*name = ((const aqz_catalog *)owner)->sections[number]->info.name;
	*n = strlen(*name);
}

const aqz_tensor *aqz_catalog_find(const aqz_catalog *c, const char *name, size_t n)
{
	uint32_t number;
	return aqz_names_find(&c->tensor_names, tensor_name_equal, c, name, n, &number)
		? c->tensors[number]
		: NULL;
}

/* The codec checks geometry and references; spec 5.2.3. */
static aqz_status check_references(aqz_catalog *c, aqz_section *s, uint64_t offset, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	void *block = NULL;
	uint64_t n = 0, block_bytes = 0;
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		n += s->info.refs[r].count; /* at most 2^16 references of 2^22 sections */
	if (n > s->info.number + (uint64_t)s->info.n_refs)
		return aqz_fail(
			err, AQZ_E_CORRUPT, offset + 42, "section.ref", "more references than sections");
	block_bytes = n * sizeof(aqz_param_view);
	AQZ_TRY(aqz_budget_alloc(&c->budget, &block, block_bytes, "references", err));
	aqz_param_view *params = block;
	uint32_t k = 0;
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		for (uint32_t i = 0; i < s->info.refs[r].count; i++, k++) {
			aqz_section *p = c->sections[s->info.refs[r].first + i];
			if (p->info.kind != s->info.refs[r].kind)
				AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, offset, "section.ref.kind",
					"section %u is no %s", p->info.number, aqz_kind_name(s->info.refs[r].kind)));
			/* Else one reference could name all sections there are, and each section have one. */
			if (p->info.decoded_bytes == 0)
				AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, offset, "section.ref.first",
					"section %u has no elements", p->info.number));
			params[k] =
				(aqz_param_view){p->info.kind, p->info.dtype, p->info.rows, p->info.cols, NULL};
			p->n_users++;
		}
	aqz_view view = aqz_section_view(s);
	AQZ_TRY(s->codec->check(&view, params, k, err));
out:
	if (status != AQZ_OK && err != NULL && err->offset == AQZ_NO_OFFSET)
		err->offset = offset;
	aqz_budget_free(&c->budget, block, block_bytes);
	return status;
}

static aqz_status add_section(
	aqz_catalog *c, const uint8_t *body, uint32_t n, uint64_t offset, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_section *s;
	if (c->n_sections > 0 && c->sections[c->n_sections - 1]->info.kind == AQZ_KIND_TENSOR &&
		c->sections[c->n_sections - 1]->n_users == 0)
		return aqz_fail(
			err, AQZ_E_CORRUPT, offset, "section", "no tensor record follows the section before");
	if (c->n_sections == AQZ_MAX_SECTIONS)
		return aqz_fail(
			err, AQZ_E_CORRUPT, offset, "section", "more than %u sections", AQZ_MAX_SECTIONS);
	AQZ_TRY(grow(c, &c->sections, c->n_sections, &c->sections_capacity, sizeof *c->sections, err));
	AQZ_TRY(aqz_section_parse(&s, &c->budget, body, n, offset, err));
	c->sections[c->n_sections++] = s; /* the catalog owns it from here, also on failure */
	s->records_bytes = AQZ_RECORD_HEADER_BYTES + n;
	if (s->info.number != c->n_sections - 1)
		return aqz_fail(err, AQZ_E_CORRUPT, offset, "section.number", "section %u where %u is due",
			s->info.number, c->n_sections - 1);
	AQZ_TRY(check_references(c, s, offset, err));
	if (s->info.name[0] != 0) {
		uint32_t other;
		/* Files and source headers are restored side by side; metadata are not restored. */
		aqz_names *names = s->info.kind == AQZ_KIND_METADATA ? &c->metadata_names : &c->file_names;
		if (aqz_names_find(names, file_name_equal, c, s->info.name, strlen(s->info.name), &other))
			return aqz_fail(
				err, AQZ_E_CORRUPT, offset, "section.name", "section %u has the same name", other);
		AQZ_TRY(aqz_names_add(names, &c->budget, file_name_get, c, s->info.number, err));
	}
out:
	return status;
}

static aqz_status add_tensor(
	aqz_catalog *c, const uint8_t *body, uint32_t n, uint64_t offset, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_tensor *t;
	uint32_t other;
	if (c->n_tensors == AQZ_MAX_TENSORS)
		return aqz_fail(
			err, AQZ_E_CORRUPT, offset, "tensor", "more than %u tensors", AQZ_MAX_TENSORS);
	AQZ_TRY(grow(c, &c->tensors, c->n_tensors, &c->tensors_capacity, sizeof *c->tensors, err));
	AQZ_TRY(aqz_tensor_parse(&t, &c->budget, body, n, offset, err));
	bool duplicate = aqz_names_find(
		&c->tensor_names, tensor_name_equal, c, t->info.name, t->info.name_bytes, &other);
	c->tensors[c->n_tensors++] = t;
	aqz_tensor_info *i = &t->info;
	if (i->number != c->n_tensors - 1)
		return aqz_fail(err, AQZ_E_CORRUPT, offset, "tensor.number", "tensor %u where %u is due",
			i->number, c->n_tensors - 1);
	if (duplicate)
		return aqz_fail(err, AQZ_E_CORRUPT, offset, "tensor.name",
			"the name of tensor %u is there already", other);
	if (i->section >= c->n_sections || c->sections[i->section]->info.kind != AQZ_KIND_TENSOR)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 4, "tensor.section",
			"section %u is no tensor's, or not declared yet", i->section);
	aqz_section *s = c->sections[i->section];
	if (s->info.dtype != i->dtype)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 8, "tensor.dtype",
			"the tensor's dtype is not that of its section");
	if (!aqz_view_matches(i, s->info.rows, s->info.cols))
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 24, "tensor.shape",
			"the shape does not give the rows and columns of its section");
	i->alias = s->n_users > 0;
	s->n_users++;
	s->records_bytes += AQZ_RECORD_HEADER_BYTES + n;
	AQZ_TRY(aqz_names_add(&c->tensor_names, &c->budget, tensor_name_get, c, i->number, err));
out:
	return status;
}

static aqz_status keep_records(aqz_catalog *c, const uint8_t *payload, uint64_t n, aqz_error *err)
{
	if (c->records_bytes + n > AQZ_MAX_INDEX_BYTES)
		return aqz_fail(
			err, AQZ_E_CORRUPT, c->offset, "records", "the records are too long for an index");
	if (c->records_bytes + n > c->records_capacity) {
		uint64_t capacity = 2 * c->records_capacity;
		if (capacity < c->records_bytes + n)
			capacity = c->records_bytes + n;
		void *fresh;
		aqz_status status = aqz_budget_alloc(&c->budget, &fresh, capacity, "the records", err);
		if (status != AQZ_OK)
			return status;
		if (c->records_bytes > 0)
			memcpy(fresh, c->records, c->records_bytes);
		aqz_budget_free(&c->budget, c->records, c->records_capacity);
		c->records = fresh;
		c->records_capacity = capacity;
	}
	memcpy(c->records + c->records_bytes, payload, n);
	c->records_bytes += n;
	return AQZ_OK;
}

/* base: offset of the records in the file. */
static aqz_status take_records(
	aqz_catalog *c, const uint8_t *payload, uint64_t n, uint64_t base, aqz_error *err)
{
	enum { SECTION = 1, TENSOR = 2, ANCILLARY = 1 };
	aqz_status status = AQZ_OK;
	AQZ_TRY(keep_records(c, payload, n, err));
	for (uint64_t at = 0; at < n;) {
		if (n - at < AQZ_RECORD_HEADER_BYTES)
			return aqz_fail(err, AQZ_E_CORRUPT, base + at, "record", "a record is cut short");
		uint32_t type = aqz_get16(payload + at), flags = aqz_get16(payload + at + 2),
				 body_bytes = aqz_get32(payload + at + 4);
		at += AQZ_RECORD_HEADER_BYTES;
		if (body_bytes > n - at || body_bytes % 8 != 0)
			return aqz_fail(err, AQZ_E_CORRUPT, base + at - 4, "record.bytes",
				"a record of %u bytes does not fit its frame", body_bytes);
		if ((flags & ~(uint32_t)ANCILLARY) != 0)
			return aqz_fail(
				err, AQZ_E_UNSUPPORTED, base + at - 6, "record.flags", "a reserved bit is set");
		if ((type == SECTION || type == TENSOR) && flags != 0)
			return aqz_fail(err, AQZ_E_CORRUPT, base + at - 6, "record.flags",
				"this record cannot be ancillary");
		if (type == SECTION)
			AQZ_TRY(add_section(c, payload + at, body_bytes, base + at, err));
		else if (type == TENSOR)
			AQZ_TRY(add_tensor(c, payload + at, body_bytes, base + at, err));
		else if ((flags & ANCILLARY) == 0)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, base + at - 8, "record.type",
				"records of type %u are not known to this version", type);
		at += body_bytes;
	}
out:
	return status;
}

aqz_status aqz_catalog_declare(aqz_catalog *c, const uint8_t *records, uint64_t n, aqz_error *err)
{
	uint64_t base = c->offset + AQZ_FRAME_HEADER_BYTES + c->records_bytes - c->framed_bytes;
	return take_records(c, records, n, base, err);
}

aqz_status aqz_catalog_framed(aqz_catalog *c, aqz_error *err)
{
	if (!c->records_due)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "records", "no records are due");
	const aqz_placed_frame *last = &c->frames[c->n_frames - 1];
	uint64_t base = last->offset + AQZ_FRAME_HEADER_BYTES, n = last->frame.stored_bytes;
	if (n != c->records_bytes - c->framed_bytes)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, base, "records", "the payload is not as long as its frame says");
	if (c->n_sections > 0 && c->sections[c->n_sections - 1]->n_users == 0 &&
		c->sections[c->n_sections - 1]->info.kind == AQZ_KIND_TENSOR)
		return aqz_fail(
			err, AQZ_E_CORRUPT, base + n, "section", "no tensor record follows the last section");
	c->records_due = false;
	c->framed_sections = c->n_sections;
	c->framed_tensors = c->n_tensors;
	c->framed_bytes = c->records_bytes;
	skip_empty(c);
	return AQZ_OK;
}

aqz_status aqz_catalog_records(aqz_catalog *c, const uint8_t *payload, uint64_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	if (!c->records_due)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "records", "no records are due");
	const aqz_placed_frame *last = &c->frames[c->n_frames - 1];
	uint64_t base = last->offset + AQZ_FRAME_HEADER_BYTES;
	if (n != last->frame.stored_bytes)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, base, "records", "the payload is not as long as its frame says");
	AQZ_TRY(take_records(c, payload, n, base, err));
	AQZ_TRY(aqz_catalog_framed(c, err));
out:
	return status;
}

aqz_status aqz_catalog_complete(const aqz_catalog *c, aqz_error *err)
{
	if (c->section_next != c->framed_sections)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset, "frame.type",
			"the index comes before chunk %u of section %u", c->chunk_next, c->section_next);
	return c->padded
		? aqz_fail(err, AQZ_E_CORRUPT, c->offset, "frame.type", "padding is not followed by a chunk")
		: AQZ_OK;
}
