/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rows of one section: only the chunks that hold them are read, hashed and decoded, spec
 * 2.3. */
#include "format/reader.h"

struct aqz_cursor {
	const aqz_reader *reader;
	const aqz_section *section;
	aqz_budget budget;
	aqz_chunk_decoder decoder;
	uint8_t *frame; /* one frame as it stands in the file */
	uint64_t frame_bytes;
	void *chunk; /* one chunk decoded, for reads of parts of it; allocated when first needed */
	uint64_t chunk_bytes;
	uint32_t cached; /* the chunk that `chunk` holds, or UINT32_MAX */
};

/* Decodes rows of a chunk straight to dst. whole: they are all of its rows, so that the decoded
 * hash can be checked. */
static aqz_status decode_rows(aqz_cursor *c, uint32_t chunk, uint64_t row_begin, uint64_t row_end,
	bool whole, void *dst, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_catalog *catalog = &c->reader->catalog;
	const aqz_placed_frame *f = &catalog->frames[catalog->chunks[c->section->first_chunk + chunk]];
	AQZ_TRY(aqz_frame_fetch(c->frame, &c->reader->io, catalog, f, err));
	AQZ_TRY(aqz_chunk_decode(
		&c->decoder, f, c->frame + AQZ_FRAME_HEADER_BYTES, row_begin, row_end, dst, err));
	if (whole && !c->reader->skip_decoded_hash)
		AQZ_TRY(aqz_chunk_check_decoded(f, dst, err));
out:
	return status;
}

/* Part of a chunk: decodes all of it, so that its hash is checked, and keeps it for the next call. */
static aqz_status copy_part(aqz_cursor *c, uint32_t chunk, uint64_t chunk_begin, uint64_t chunk_end,
	uint64_t row_begin, uint64_t row_end, void *dst, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint64_t skip, n;
	if (c->chunk == NULL) {
		uint64_t first, last, n_code_rows, n_bytes = 0;
		aqz_section_chunk_rows(
			c->section, 0, &first, &last, &n_code_rows); /* the first chunk is the largest */
		(void)aqz_section_rows_bytes(c->section, first, last, &n_bytes);
		AQZ_TRY(aqz_budget_alloc(&c->budget, &c->chunk, n_bytes, "a decoded chunk", err));
		c->chunk_bytes = n_bytes;
	}
	if (c->cached != chunk) {
		c->cached = UINT32_MAX;
		AQZ_TRY(decode_rows(c, chunk, chunk_begin, chunk_end, true, c->chunk, err));
		c->cached = chunk;
	}
	(void)aqz_section_rows_bytes(c->section, 0, row_begin - chunk_begin, &skip);
	(void)aqz_section_rows_bytes(c->section, 0, row_end - row_begin, &n);
	memcpy(dst, (const uint8_t *)c->chunk + skip, (size_t)n);
out:
	return status;
}

/* Reads the parameter sections that the cursor's section refers to. Stacked experts may name the
 * same ones a thousand times: they are read once, and data[k] is NULL where an earlier one serves. */
static aqz_status read_params(
	aqz_cursor *c, aqz_param_view *params, void **data, uint32_t *n_read, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_cursor *inner = NULL;
	const aqz_ref *refs = c->section->info.refs;
	for (uint32_t r = 0; r < c->section->info.n_refs; r++) {
		uint32_t same = 0, at = 0; /* the codec's check has bounded the references by some thousands */
		while (same < r && (refs[same].first != refs[r].first || refs[same].count != refs[r].count))
			at += refs[same++].count;
		for (uint32_t i = 0; i < refs[r].count; i++) {
			const aqz_section_info *p = aqz_reader_section(c->reader, refs[r].first + i);
			uint32_t k = *n_read;
			if (same < r) {
				params[k] = params[at + i];
				++*n_read;
				continue;
			}
			AQZ_TRY(aqz_budget_alloc(
				&c->budget, &data[k], p->decoded_bytes, "a parameter section", err));
			params[k] = (aqz_param_view){p->kind, p->dtype, p->rows, p->cols, data[k]};
			++*n_read;
			/* Parameters refer to nothing: one level. */
			AQZ_TRY(aqz_cursor_open_within(
				&inner, c->reader, p->number, aqz_budget_rest(&c->budget), err));
			AQZ_TRY(aqz_cursor_read(inner, 0, p->rows, data[k], (size_t)p->decoded_bytes, err));
			aqz_cursor_close(inner);
			inner = NULL;
		}
	}
out:
	aqz_cursor_close(inner);
	return status;
}

aqz_status aqz_cursor_open(
	aqz_cursor **out, const aqz_reader *reader, uint32_t section, aqz_error *err)
{
	return aqz_cursor_open_within(out, reader, section, aqz_reader_budget(reader), err);
}

aqz_status aqz_cursor_open_within(aqz_cursor **out, const aqz_reader *reader, uint32_t section,
	aqz_budget budget, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_param_view *params = NULL;
	void **data = NULL;
	uint32_t n_params = 0, n_read = 0;
	*out = NULL;
	if (section >= reader->catalog.n_sections)
		return aqz_fail(
			err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, "section", "there is no section %u", section);
	const aqz_section *s = reader->catalog.sections[section];
	aqz_cursor *c = calloc(1, sizeof *c);
	if (c == NULL)
		return aqz_fail_nomem(err, sizeof *c);
	c->reader = reader;
	c->section = s;
	c->budget = budget;
	c->cached = UINT32_MAX;
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		n_params += s->info.refs[r].count;
	params = calloc(n_params + 1, sizeof *params);
	data = calloc(n_params + 1, sizeof *data);
	if (params == NULL || data == NULL)
		AQZ_TRY(aqz_fail_nomem(err, (uint64_t)n_params * (sizeof *params + sizeof *data)));
	AQZ_TRY(read_params(c, params, data, &n_read, err));
	AQZ_TRY(aqz_chunk_decoder_open(&c->decoder, s, params, n_params, &c->budget, err));
	uint64_t frame_bytes = aqz_section_longest_frame(&reader->catalog, s);
	void *frame;
	AQZ_TRY(aqz_budget_alloc(&c->budget, &frame, frame_bytes, "a stored chunk", err));
	c->frame = frame;
	c->frame_bytes = frame_bytes;
	*out = c;
out:
	for (uint32_t k = 0; k < n_read; k++)
		aqz_budget_free(&c->budget, data[k],
			params[k].rows * params[k].cols * aqz_dtype_bits(params[k].dtype) / 8);
	free(params);
	free(data);
	if (status != AQZ_OK)
		aqz_cursor_close(c);
	return status;
}

aqz_status aqz_cursor_read(aqz_cursor *cursor, uint64_t row_begin, uint64_t row_end, void *dst,
	size_t dst_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_section *s = cursor->section;
	uint64_t due;
	if (row_begin > row_end || row_end > s->info.rows)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "rows",
			"rows %llu to %llu are not within 0 to %llu", (unsigned long long)row_begin,
			(unsigned long long)row_end, (unsigned long long)s->info.rows);
	if (!aqz_section_rows_bytes(s, row_begin, row_end, &due))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "rows",
			"rows %llu to %llu do not begin and end at whole bytes", (unsigned long long)row_begin,
			(unsigned long long)row_end);
	if (due != dst_bytes)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "dst_bytes",
			"these rows have %llu bytes, not %llu", (unsigned long long)due,
			(unsigned long long)dst_bytes);
	if (due == 0)
		return AQZ_OK;
	uint64_t per_chunk = (uint64_t)s->info.chunk_rows * s->info.scheme.out_group;
	uint8_t *to = dst;
	for (uint64_t row = row_begin; row < row_end;) {
		uint32_t chunk = (uint32_t)(row / per_chunk);
		uint64_t begin, end, n_code_rows, n;
		aqz_section_chunk_rows(s, chunk, &begin, &end, &n_code_rows);
		uint64_t upto = aqz_min(end, row_end);
		(void)aqz_section_rows_bytes(s, row, upto, &n);
		if (row == begin && upto == end && cursor->cached != chunk)
			AQZ_TRY(decode_rows(cursor, chunk, row, upto, true, to, err));
		else if (cursor->reader->skip_decoded_hash)
			AQZ_TRY(decode_rows(cursor, chunk, row, upto, false, to, err));
		else
			AQZ_TRY(copy_part(cursor, chunk, begin, end, row, upto, to, err));
		to += n;
		row = upto;
	}
out:
	return status;
}

void aqz_cursor_close(aqz_cursor *cursor)
{
	if (cursor == NULL)
		return;
	aqz_chunk_decoder_close(&cursor->decoder);
	aqz_budget_free(&cursor->budget, cursor->chunk, cursor->chunk_bytes);
	aqz_budget_free(&cursor->budget, cursor->frame, cursor->frame_bytes);
	free(cursor);
}

aqz_status aqz_reader_read_tensor(const aqz_reader *reader, const aqz_tensor_info *tensor,
	void *dst, size_t dst_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_cursor *c = NULL;
	void *view = NULL;
	const aqz_section *s = reader->catalog.sections[tensor->section];
	uint64_t rows = s->info.rows, cols = s->info.cols, bits = aqz_dtype_bits(tensor->dtype);
	if (dst_bytes != tensor->n_bytes)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "dst_bytes",
			"the tensor has %llu bytes, not %llu", (unsigned long long)tensor->n_bytes,
			(unsigned long long)dst_bytes);
	AQZ_TRY(aqz_cursor_open(&c, reader, s->info.number, err));
	if (!tensor->transposed || rows <= 1 || cols <= 1) {
		AQZ_TRY(aqz_cursor_read(c, 0, rows, dst, dst_bytes, err));
	} else {
		AQZ_TRY(aqz_budget_alloc(&c->budget, &view, dst_bytes, "a transposed tensor", err));
		AQZ_TRY(aqz_cursor_read(c, 0, rows, view, dst_bytes, err));
		size_t e = (size_t)bits / 8;
		for (uint64_t r = 0; r < rows; r++)
			for (uint64_t k = 0; k < cols; k++)
				memcpy((uint8_t *)dst + (k * rows + r) * e,
					(const uint8_t *)view + (r * cols + k) * e, e);
	}
out:
	if (view != NULL)
		aqz_budget_free(&c->budget, view, dst_bytes);
	aqz_cursor_close(c);
	return status;
}
