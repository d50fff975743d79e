/* SPDX-License-Identifier: Apache-2.0 */
/* Records: the declarations of sections and tensors, spec 5. Parsing makes validated structs that
 * keep no pointer into the input; the hash of the bytes was checked, so an impossible value is
 * CORRUPT and a reserved one UNSUPPORTED. */
#include "format/catalog.h"

enum { RECORD_SECTION = 1, RECORD_TENSOR = 2 };
enum { KEY_REL_MSE = 1, KEY_LOSS = 2, KEY_RAW_REASON = 3, KEY_EFFORT = 4, KEY_ANCILLARY = 0x8000 };
enum { TENSOR_TRANSPOSED = 1 };

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static bool is_parameter(uint32_t kind)
{
	return kind >= AQZ_KIND_CODEBOOK && kind <= AQZ_KIND_PERMUTATION;
}

static bool is_file(uint32_t kind)
{
	return kind >= AQZ_KIND_FILE && kind <= AQZ_KIND_METADATA;
}

bool aqz_file_name_ok(const char *name, size_t n)
{
	if (n == 0 || n > AQZ_MAX_FILE_NAME_BYTES || !aqz_text_ok(name, n))
		return false;
	if (memchr(name, '/', n) != NULL || memchr(name, '\\', n) != NULL)
		return false;
	return !(name[0] == '.' && (n == 1 || (n == 2 && name[1] == '.')));
}

/* rows x cols of a chunk and of the whole section must be whole bytes and within limits; sets the
 * counts. */
static aqz_status size_section(aqz_section *s, uint64_t offset, aqz_error *err)
{
	aqz_section_info *i = &s->info;
	uint64_t shape[2] = {i->rows, i->cols}, n_elements, chunk_rows, chunk_elements, chunk_bits;
	if (!aqz_shape_size(&n_elements, &i->decoded_bytes, shape, 2, i->dtype))
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 16, "section.rows",
			"rows times columns is no possible size");
	uint32_t units = i->chunk_rows / AQZ_TILE_ROWS;
	if (i->chunk_rows % AQZ_TILE_ROWS != 0 || units == 0 || (units & (units - 1)) != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 12, "section.chunk_rows",
			"%u is not 64 times a power of two", i->chunk_rows);
	s->code_rows = aqz_ceil_div(i->rows, i->scheme.out_group);
	uint64_t n_chunks = n_elements == 0 ? 0 : aqz_ceil_div(s->code_rows, i->chunk_rows);
	chunk_rows = aqz_min((uint64_t)i->chunk_rows * i->scheme.out_group, i->rows);
	if (!aqz_mul(&chunk_elements, chunk_rows, i->cols) ||
		!aqz_mul(&chunk_bits, chunk_elements, aqz_dtype_bits(i->dtype)) ||
		chunk_bits > AQZ_MAX_CHUNK_BYTES * 8)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 12, "section.chunk_rows",
			"a chunk would decode to more than 64 MiB");
	if (n_chunks > AQZ_MAX_FRAMES)
		return aqz_fail(
			err, AQZ_E_CORRUPT, offset + 16, "section.rows", "more chunks than a file can hold");
	i->n_chunks = (uint32_t)n_chunks;
	return AQZ_OK;
}

static aqz_status check_names_and_refs(
	const aqz_section *s, uint64_t offset, size_t name_bytes, aqz_error *err)
{
	const aqz_section_info *i = &s->info;
	if (i->kind != AQZ_KIND_TENSOR && (s->codec->id != AQZ_CODEC_LOSSLESS || i->n_refs != 0))
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 6, "section.codec",
			"only tensors may be coded and refer to sections");
	if (s->codec->id == AQZ_CODEC_LOSSLESS && i->n_refs != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 42, "section.n_refs",
			"a lossless section refers to nothing");
	if (is_file(i->kind)) {
		if (i->dtype != AQZ_U8 || i->cols != 1)
			return aqz_fail(
				err, AQZ_E_CORRUPT, offset + 8, "section.dtype", "a file is one column of U8");
		if (!aqz_file_name_ok(i->name, name_bytes))
			return aqz_fail(err, AQZ_E_CORRUPT, offset + 40, "section.name",
				"a file's name must be a base name of 1 to 255 bytes of UTF-8");
	} else if (name_bytes != 0) {
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 40, "section.name", "only files have names");
	}
	for (uint32_t r = 0; r < i->n_refs; r++) {
		const aqz_ref *ref = &i->refs[r];
		uint64_t at = offset + AQZ_SECTION_BODY_BYTES + (uint64_t)r * AQZ_REF_BYTES;
		if (!is_parameter(ref->kind))
			return aqz_fail(err, AQZ_E_UNSUPPORTED, at, "section.ref.kind",
				"kind %u cannot be referred to", (unsigned)ref->kind);
		if (ref->count == 0 || ref->first >= i->number || ref->count > i->number - ref->first)
			return aqz_fail(err, AQZ_E_CORRUPT, at + 4, "section.ref.first",
				"sections %u and on, %u of them, are not all before this one", ref->first,
				ref->count);
		if (ref->row_begin >= ref->row_end || ref->row_end > s->code_rows)
			return aqz_fail(err, AQZ_E_CORRUPT, at + 16, "section.ref.row_begin",
				"the rows of a reference are not within the section");
	}
	return AQZ_OK;
}

aqz_status aqz_section_parse(aqz_section **out, aqz_budget *budget, const uint8_t *body, uint32_t n,
	uint64_t offset, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	*out = NULL;
	if (n < AQZ_SECTION_BODY_BYTES)
		return aqz_fail(
			err, AQZ_E_CORRUPT, offset, "section", "a section record of %u bytes is too short", n);
	size_t name_bytes = aqz_get16(body + 40), n_refs = aqz_get16(body + 42);
	size_t used = AQZ_SECTION_BODY_BYTES + n_refs * AQZ_REF_BYTES + name_bytes;
	if (used > n || n - used >= 8 || !all_zero(body + used, n - used))
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 40, "section.name_bytes",
			"references and name do not fill the record");
	size_t block_bytes = sizeof(aqz_section) + n_refs * sizeof(aqz_ref) + name_bytes + 1;
	void *block;
	AQZ_TRY(aqz_budget_alloc(budget, &block, block_bytes, "a section record", err));
	aqz_section *s = block;
	*out = s;
	s->block_bytes = block_bytes;
	aqz_section_info *i = &s->info;
	i->number = aqz_get32(body);
	uint32_t kind = aqz_get16(body + 4), codec = aqz_get16(body + 6), dtype = aqz_get16(body + 8);
	if (aqz_kind_name((aqz_kind)kind) == NULL)
		AQZ_TRY(aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 4, "section.kind",
			"kind %u is not known to this version", kind));
	if (aqz_dtype_bits((aqz_dtype)dtype) == 0)
		AQZ_TRY(aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 8, "section.dtype",
			"dtype %u is not known to this version", dtype));
	s->codec = aqz_codec_find(codec);
	if (s->codec == NULL)
		AQZ_TRY(aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 6, "section.codec",
			"codec %u is not known to this version", codec));
	if (!all_zero(body + 10, 2) || !all_zero(body + 44, 4))
		AQZ_TRY(aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 10, "section.reserved",
			"a reserved field is not zero"));
	i->kind = (aqz_kind)kind;
	i->dtype = (aqz_dtype)dtype;
	i->chunk_rows = aqz_get32(body + 12);
	i->rows = aqz_get64(body + 16);
	i->cols = aqz_get64(body + 24);
	status = s->codec->params_read(&i->scheme, body + 32, err);
	if (status != AQZ_OK && err != NULL)
		err->offset = offset + 32; /* a codec knows no places */
	AQZ_TRY(status);
	i->n_refs = (uint32_t)n_refs;
	i->refs = s->refs;
	for (size_t r = 0; r < n_refs; r++) {
		const uint8_t *p = body + AQZ_SECTION_BODY_BYTES + r * AQZ_REF_BYTES;
		if (!all_zero(p + 2, 2) || !all_zero(p + 12, 4))
			AQZ_TRY(aqz_fail(err, AQZ_E_UNSUPPORTED, offset + (uint64_t)(p - body),
				"section.ref.reserved", "a reserved field is not zero"));
		s->refs[r] = (aqz_ref){.kind = (aqz_kind)aqz_get16(p),
			.first = aqz_get32(p + 4),
			.count = aqz_get32(p + 8),
			.row_begin = aqz_get64(p + 16),
			.row_end = aqz_get64(p + 24)};
	}
	char *name = (char *)(s->refs + n_refs);
	memcpy(name, body + used - name_bytes, name_bytes);
	i->name = name;
	AQZ_TRY(size_section(s, offset, err));
	AQZ_TRY(check_names_and_refs(s, offset, name_bytes, err));
out:
	if (status != AQZ_OK && *out != NULL) {
		aqz_budget_free(budget, *out, (*out)->block_bytes);
		*out = NULL;
	}
	return status;
}

static aqz_status append_record(aqz_buffer *out, uint16_t type, const aqz_buffer *body, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	static const uint8_t zero[8];
	uint8_t head[AQZ_RECORD_HEADER_BYTES] = {0};
	size_t pad = (8 - body->n % 8) % 8;
	aqz_put16(head, type);
	aqz_put32(head + 4, (uint32_t)(body->n + pad));
	AQZ_TRY(aqz_buffer_add(out, head, sizeof head, err));
	AQZ_TRY(aqz_buffer_add(out, body->data, body->n, err));
	AQZ_TRY(aqz_buffer_add(out, zero, pad, err));
out:
	return status;
}

aqz_status aqz_section_append(aqz_buffer *out, const aqz_section_info *s, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_buffer body = {0};
	uint8_t fixed[AQZ_SECTION_BODY_BYTES] = {0};
	size_t name_bytes = strlen(s->name);
	aqz_put32(fixed, s->number);
	aqz_put16(fixed + 4, (uint16_t)s->kind);
	aqz_put16(fixed + 6, (uint16_t)s->scheme.codec);
	aqz_put16(fixed + 8, (uint16_t)s->dtype);
	aqz_put32(fixed + 12, s->chunk_rows);
	aqz_put64(fixed + 16, s->rows);
	aqz_put64(fixed + 24, s->cols);
	aqz_codec_find(s->scheme.codec)->params_write(fixed + 32, &s->scheme);
	aqz_put16(fixed + 40, (uint16_t)name_bytes);
	aqz_put16(fixed + 42, (uint16_t)s->n_refs);
	AQZ_TRY(aqz_buffer_add(&body, fixed, sizeof fixed, err));
	for (uint32_t r = 0; r < s->n_refs; r++) {
		uint8_t ref[AQZ_REF_BYTES] = {0};
		aqz_put16(ref, (uint16_t)s->refs[r].kind);
		aqz_put32(ref + 4, s->refs[r].first);
		aqz_put32(ref + 8, s->refs[r].count);
		aqz_put64(ref + 16, s->refs[r].row_begin);
		aqz_put64(ref + 24, s->refs[r].row_end);
		AQZ_TRY(aqz_buffer_add(&body, ref, sizeof ref, err));
	}
	AQZ_TRY(aqz_buffer_add(&body, s->name, name_bytes, err));
	AQZ_TRY(append_record(out, RECORD_SECTION, &body, err));
out:
	aqz_buffer_free(&body);
	return status;
}

bool aqz_view_matches(const aqz_tensor_info *t, uint64_t rows, uint64_t cols)
{
	uint64_t r = 1, c = 1;
	/* The products divide n_elements, which was checked, unless a dimension is zero: then either
	 * may overflow and is compared modulo 2^64 with a section whose own product was checked to be
	 * zero as well. */
	if (t->transposed) {
		if (t->leading != 0 || t->rank < 2 || aqz_dtype_bits(t->dtype) % 8 != 0)
			return false;
		r = t->shape[t->rank - 1];
		for (uint32_t i = 0; i + 1 < t->rank; i++)
			c *= t->shape[i];
	} else {
		if (t->leading != 0 && t->leading >= t->rank)
			return false;
		for (uint32_t i = 0; i < t->rank; i++)
			*(i <= t->leading ? &r : &c) *= t->shape[i];
	}
	return r == rows && c == cols;
}

static double get_f64(const uint8_t *p)
{
	double v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* A finite number that is not negative: the comparison is false for NaN. */
static bool measure_ok(double v)
{
	return v >= 0 && v <= 1.7976931348623157e308;
}

static aqz_status parse_attributes(
	aqz_measured *m, const uint8_t *p, uint32_t n, uint64_t offset, aqz_error *err)
{
	uint32_t last = 0;
	for (uint32_t at = 0; at < n;) {
		if (n - at < 8)
			return aqz_fail(
				err, AQZ_E_CORRUPT, offset + at, "tensor.attribute", "an attribute is cut short");
		uint32_t key = aqz_get16(p + at), value_bytes = aqz_get16(p + at + 2),
				 padded = (value_bytes + 7u) & ~7u;
		const uint8_t *value = p + at + 8;
		if (padded > n - at - 8 || !all_zero(value + value_bytes, padded - value_bytes))
			return aqz_fail(err, AQZ_E_CORRUPT, offset + at + 2, "tensor.attribute",
				"an attribute's value is cut short or not padded with zeros");
		if (aqz_get32(p + at + 4) != 0)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, offset + at + 4, "tensor.attribute",
				"a reserved field is not zero");
		if (key <= last)
			return aqz_fail(err, AQZ_E_CORRUPT, offset + at, "tensor.attribute",
				"attributes are not in the order of their keys");
		last = key;
		bool good = true;
		if (key == KEY_REL_MSE && (good = value_bytes == 8)) {
			m->has_rel_mse = true;
			m->rel_mse = get_f64(value);
			good = measure_ok(m->rel_mse);
		} else if (key == KEY_LOSS && (good = value_bytes == 16)) {
			m->has_loss = true;
			m->loss_before = get_f64(value);
			m->loss_after = get_f64(value + 8);
			good = measure_ok(m->loss_before) && measure_ok(m->loss_after);
		} else if (key == KEY_RAW_REASON && (good = value_bytes == 8)) {
			good = aqz_get64(value) >= AQZ_RAW_NOT_SMALLER && aqz_get64(value) <= AQZ_RAW_SHAPE;
			m->raw_reason = good ? (aqz_raw_reason)aqz_get64(value) : AQZ_RAW_ASKED;
		} else if (key == KEY_EFFORT && (good = value_bytes == 8)) {
			good = aqz_get64(value) >= 1 && aqz_get64(value) <= 9;
			m->effort = good ? (uint8_t)aqz_get64(value) : 0;
		} else if (good && (key & KEY_ANCILLARY) == 0) {
			return aqz_fail(err, AQZ_E_UNSUPPORTED, offset + at, "tensor.attribute",
				"attribute %u is not known to this version", key);
		}
		if (!good)
			return aqz_fail(err, AQZ_E_CORRUPT, offset + at, "tensor.attribute",
				"attribute %u has an impossible value", key);
		at += 8 + padded;
	}
	return AQZ_OK;
}

aqz_status aqz_tensor_parse(aqz_tensor **out, aqz_budget *budget, const uint8_t *body, uint32_t n,
	uint64_t offset, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	*out = NULL;
	if (n < AQZ_TENSOR_BODY_BYTES)
		return aqz_fail(
			err, AQZ_E_CORRUPT, offset, "tensor", "a tensor record of %u bytes is too short", n);
	uint32_t dtype = aqz_get16(body + 8), rank = body[10], flags = aqz_get16(body + 12),
			 name_bytes = aqz_get16(body + 14);
	uint64_t attribute_bytes = aqz_get32(body + 16);
	if (rank > AQZ_MAX_RANK)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 10, "tensor.rank", "rank %u is above %u", rank,
			(unsigned)AQZ_MAX_RANK);
	uint64_t used = AQZ_TENSOR_BODY_BYTES + 8 * (uint64_t)rank + attribute_bytes + name_bytes;
	if (used > n || n - used >= 8 || attribute_bytes % 8 != 0 ||
		!all_zero(body + used, n - (size_t)used))
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 14, "tensor.name_bytes",
			"shape, attributes and name do not fill the record");
	void *block;
	size_t block_bytes = sizeof(aqz_tensor) + name_bytes + 1;
	AQZ_TRY(aqz_budget_alloc(budget, &block, block_bytes, "a tensor record", err));
	aqz_tensor *t = block;
	*out = t;
	t->block_bytes = block_bytes;
	aqz_tensor_info *i = &t->info;
	i->number = aqz_get32(body);
	i->section = aqz_get32(body + 4);
	i->rank = rank;
	i->leading = body[11];
	i->transposed = (flags & TENSOR_TRANSPOSED) != 0;
	if (aqz_dtype_bits((aqz_dtype)dtype) == 0)
		AQZ_TRY(aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 8, "tensor.dtype",
			"dtype %u is not known to this version", dtype));
	i->dtype = (aqz_dtype)dtype;
	if ((flags & ~(uint32_t)TENSOR_TRANSPOSED) != 0 || aqz_get32(body + 20) != 0)
		AQZ_TRY(
			aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 12, "tensor.flags", "a reserved bit is set"));
	for (uint32_t d = 0; d < rank; d++)
		i->shape[d] = aqz_get64(body + AQZ_TENSOR_BODY_BYTES + 8 * d);
	if (!aqz_shape_size(&i->n_elements, &i->n_bytes, i->shape, rank, i->dtype))
		AQZ_TRY(aqz_fail(
			err, AQZ_E_CORRUPT, offset + 24, "tensor.shape", "the shape has no possible size"));
	const uint8_t *attributes = body + AQZ_TENSOR_BODY_BYTES + 8 * rank;
	AQZ_TRY(parse_attributes(&i->measured, attributes, (uint32_t)attribute_bytes,
		offset + (uint64_t)(attributes - body), err));
	memcpy(t->name, attributes + attribute_bytes, name_bytes);
	i->name = t->name;
	i->name_bytes = name_bytes;
	if (name_bytes == 0 || name_bytes > AQZ_MAX_NAME_BYTES || !aqz_text_ok(t->name, name_bytes))
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, offset + 14, "tensor.name",
			"a name must be 1 to 1024 bytes of UTF-8 without control characters"));
out:
	if (status != AQZ_OK && *out != NULL) {
		aqz_budget_free(budget, *out, (*out)->block_bytes);
		*out = NULL;
	}
	return status;
}

static aqz_status append_attribute(
	aqz_buffer *out, uint16_t key, const void *value, uint16_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint8_t head[8] = {0};
	aqz_put16(head, key);
	aqz_put16(head + 2, n);
	AQZ_TRY(aqz_buffer_add(out, head, sizeof head, err));
	AQZ_TRY(aqz_buffer_add(out, value, n, err)); /* all our values are multiples of 8 bytes */
out:
	return status;
}

aqz_status aqz_tensor_append(aqz_buffer *out, const aqz_tensor_info *t, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_buffer body = {0}, attributes = {0};
	const aqz_measured *m = &t->measured;
	double losses[2] = {m->loss_before, m->loss_after};
	uint64_t reason = (uint64_t)m->raw_reason, effort = m->effort;
	if (m->has_rel_mse)
		AQZ_TRY(append_attribute(&attributes, KEY_REL_MSE, &m->rel_mse, 8, err));
	if (m->has_loss)
		AQZ_TRY(append_attribute(&attributes, KEY_LOSS, losses, 16, err));
	if (reason != AQZ_RAW_ASKED)
		AQZ_TRY(append_attribute(&attributes, KEY_RAW_REASON, &reason, 8, err));
	if (effort != 0)
		AQZ_TRY(append_attribute(&attributes, KEY_EFFORT, &effort, 8, err));
	uint8_t fixed[AQZ_TENSOR_BODY_BYTES] = {0};
	aqz_put32(fixed, t->number);
	aqz_put32(fixed + 4, t->section);
	aqz_put16(fixed + 8, (uint16_t)t->dtype);
	fixed[10] = (uint8_t)t->rank;
	fixed[11] = (uint8_t)t->leading;
	aqz_put16(fixed + 12, t->transposed ? TENSOR_TRANSPOSED : 0);
	aqz_put16(fixed + 14, (uint16_t)t->name_bytes);
	aqz_put32(fixed + 16, (uint32_t)attributes.n);
	AQZ_TRY(aqz_buffer_add(&body, fixed, sizeof fixed, err));
	AQZ_TRY(aqz_buffer_add(&body, t->shape, 8 * (size_t)t->rank, err));
	AQZ_TRY(aqz_buffer_add(&body, attributes.data, attributes.n, err));
	AQZ_TRY(aqz_buffer_add(&body, t->name, t->name_bytes, err));
	AQZ_TRY(append_record(out, RECORD_TENSOR, &body, err));
out:
	aqz_buffer_free(&attributes);
	aqz_buffer_free(&body);
	return status;
}
