/* SPDX-License-Identifier: Apache-2.0 */
/* Where the codes, codewords, scales and bias of a matrix are going to be in its one allocation, worked out from what a
 * file declares: no data are read and no device is asked. */
#include "gpu/gpu.h"

static aqz_status argument(aqz_error *err, const char *where, const char *text)
{
	return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, where, "%s", text);
}

/* The next n_bytes of the allocation, at a multiple of AQZ_GPU_ALIGN. */
static aqz_status place(uint64_t *offset, aqz_gpu_design *d, uint64_t n_bytes, aqz_error *err)
{
	*offset = d->total_bytes;
	if (!aqz_add(&d->total_bytes, d->total_bytes, n_bytes) ||
		!aqz_add(&d->total_bytes, d->total_bytes, AQZ_GPU_ALIGN - 1) || d->total_bytes > SIZE_MAX / 2)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "matrix", "the matrix is too large for a device");
	d->total_bytes -= d->total_bytes % AQZ_GPU_ALIGN;
	return AQZ_OK;
}

/* Codes, scales and bias; codewords follow as they are found. */
static aqz_status begin(aqz_gpu_design *d, const aqz_scheme *scheme, uint64_t rows, uint64_t cols, bool has_bias,
	uint32_t max_parts, aqz_error *err)
{
	const char *fault = aqz_gpu_layout_make(&d->whole, scheme, rows, cols, AQZ_F16, has_bias);
	aqz_status status;

	if (fault != NULL)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "matrix", "%s", fault);
	d->scheme = *scheme;
	d->rows = rows;
	d->cols = cols;
	d->parts = calloc(max_parts, sizeof *d->parts);
	d->tables = calloc(max_parts, sizeof *d->tables);
	if (d->parts == NULL || d->tables == NULL)
		return aqz_fail_nomem(err, (uint64_t)max_parts * (sizeof *d->parts + sizeof *d->tables));
	d->whole.words_offset = d->whole.words_bytes = 0;
	AQZ_TRY(place(&d->whole.codes_offset, d, d->whole.codes_bytes, err));
	AQZ_TRY(place(&d->whole.scales_offset, d, d->whole.scales_bytes, err));
	AQZ_TRY(place(&d->whole.bias_offset, d, d->whole.bias_bytes, err));
out:
	return status;
}

/* Adds rows that have the codewords of *table, which is compared with those that are there. row_begin is a multiple of
 * 64 code rows. */
static aqz_status add_part(aqz_gpu_design *d, const aqz_gpu_table *table, uint64_t row_begin, uint64_t row_end,
	aqz_error *err)
{
	aqz_gpu_part *p = &d->parts[d->n_parts];
	const uint64_t code_row = row_begin / d->scheme.out_group;
	const char *fault = aqz_gpu_layout_make(&p->layout, &d->scheme, row_end - row_begin, d->cols, table->dtype,
		d->whole.has_bias);
	uint32_t i = 0;
	aqz_status status = AQZ_OK;

	if (fault != NULL)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "matrix", "%s", fault);
	while (i < d->n_tables && (d->tables[i].first != table->first || d->tables[i].count != table->count ||
								  d->tables[i].scales != table->scales))
		i++;
	if (i == d->n_tables) {
		d->tables[i] = *table;
		AQZ_TRY(place(&d->tables[i].offset, d, p->layout.words_bytes, err));
		d->n_tables++;
	}
	p->table = i;
	p->row_begin = row_begin;
	p->row_end = row_end;
	p->layout.codes_offset = d->whole.codes_offset + code_row / AQZ_TILE_ROWS * d->whole.row_block_bytes;
	p->layout.words_offset = d->tables[i].offset;
	p->layout.scales_offset = d->whole.scales_offset + code_row * sizeof(float);
	p->layout.bias_offset = d->whole.bias_offset + row_begin * sizeof(float);
	p->layout.total_bytes = 0; /* the matrix's, not a part's */
	d->n_parts++;
out:
	return status;
}

/* ---- Sections of a file */

static uint64_t longest_payload(const aqz_catalog *c, const aqz_section *s)
{
	return aqz_section_longest_frame(c, s) - AQZ_FRAME_HEADER_BYTES;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The parts that a section's references make of its rows. */
static aqz_status add_section(aqz_gpu_design *d, const aqz_reader *reader, const aqz_section *s, uint64_t row_begin,
	aqz_error *err)
{
	const aqz_view view = aqz_section_view(s);
	aqz_ref_cursor at = {0, 0}, scales_at = {0, 0};
	const aqz_ref *ref;
	aqz_status status = AQZ_OK;

	for (; (ref = aqz_refs_next(&at, &view, AQZ_KIND_CODEBOOK)) != NULL; aqz_refs_step(&at, &view)) {
		aqz_gpu_table table = {.first = ref->first, .count = ref->count, .scales = UINT32_MAX};
		const uint64_t out_group = s->info.scheme.out_group;
		uint64_t bytes = 0;

		table.dtype = aqz_reader_section(reader, ref->first)->dtype;
		if (table.dtype == AQZ_I8) {
			/* The catalog has checked that there is one for each such reference. */
			table.scales = aqz_refs_next(&scales_at, &view, AQZ_KIND_CODEBOOK_SCALES)->first;
			aqz_refs_step(&scales_at, &view);
		}
		AQZ_TRY(add_part(d, &table, row_begin + ref->row_begin * out_group,
			row_begin + aqz_min(ref->row_end * out_group, s->info.rows), err));
		for (uint32_t i = 0; i < ref->count; i++)
			bytes += aqz_reader_section(reader, ref->first + i)->decoded_bytes +
				aqz_section_longest_frame(&reader->catalog, reader->catalog.sections[ref->first + i]);
		d->host_bytes = larger(d->host_bytes, bytes + d->parts[d->n_parts - 1].layout.words_bytes);
	}
out:
	return status;
}

static aqz_status check_section(const aqz_section *s, const aqz_section *first, bool last, aqz_error *err)
{
	if (s->info.kind != AQZ_KIND_TENSOR || s->info.scheme.codec != AQZ_CODEC_ADDITIVE)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "section", "section %u is no additive tensor",
			s->info.number);
	if (memcmp(&s->info.scheme, &first->info.scheme, sizeof s->info.scheme) != 0 || s->info.cols != first->info.cols)
		return argument(err, "sections", "sections of one matrix need the same scheme and columns");
	if (!last && s->info.rows % ((uint64_t)AQZ_TILE_ROWS * s->info.scheme.out_group) != 0)
		return argument(err, "sections", "all sections but the last need a multiple of 64 * O rows");
	return AQZ_OK;
}

aqz_status aqz_gpu_design_sections(aqz_gpu_design *d, const aqz_reader *reader, const uint32_t *sections,
	uint32_t n_sections, bool has_bias, aqz_error *err)
{
	const aqz_catalog *c = &reader->catalog;
	uint64_t rows = 0, n_parts = 0;
	aqz_status status = AQZ_OK;

	memset(d, 0, sizeof *d);
	if (n_sections == 0 || n_sections > AQZ_GPU_MAX_SECTIONS)
		return argument(err, "n_sections", "a matrix has 1 to 64 sections");
	for (uint32_t i = 0; i < n_sections; i++) {
		const aqz_section *s;

		if (sections[i] >= c->n_sections)
			return aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, "section", "there is no section %u", sections[i]);
		s = c->sections[sections[i]];
		AQZ_TRY(check_section(s, c->sections[sections[0]], i + 1 == n_sections, err));
		rows += s->info.rows; /* at most 64 numbers whose bytes fit into memory as products with cols */
		n_parts += s->info.n_refs;
		d->lines_bytes = larger(d->lines_bytes, longest_payload(c, s));
	}
	AQZ_TRY(begin(d, &c->sections[sections[0]]->info.scheme, rows, c->sections[sections[0]]->info.cols, has_bias,
		(uint32_t)n_parts, err));
	rows = 0;
	for (uint32_t i = 0; i < n_sections; i++) {
		const aqz_section *s = c->sections[sections[i]];

		AQZ_TRY(add_section(d, reader, s, rows, err));
		rows += s->info.rows;
	}
	d->host_bytes = larger(d->host_bytes, 3 * d->whole.scales_bytes + AQZ_FRAME_HEADER_BYTES);
	d->pinned_bytes = larger(d->lines_bytes + AQZ_FRAME_HEADER_BYTES, AQZ_GPU_LEAST_PINNED);
out:
	return status;
}

/* ---- A matrix in memory */

aqz_status aqz_gpu_design_additive(aqz_gpu_design *d, const aqz_additive *a, bool has_bias, aqz_error *err)
{
	const aqz_gpu_table table = {.scales = UINT32_MAX, .dtype = a->codebook_dtype};
	const uint64_t block = aqz_additive_codes_bytes(&a->scheme, AQZ_TILE_ROWS, a->groups);
	aqz_status status;

	memset(d, 0, sizeof *d);
	AQZ_TRY(begin(d, &a->scheme, a->rows, a->cols, has_bias, 1, err));
	AQZ_TRY(add_part(d, &table, 0, a->rows, err));
	d->lines_bytes = aqz_min(a->codes_bytes, larger(AQZ_GPU_PIECE_BYTES / block, 1) * block);
	d->pinned_bytes = larger(d->lines_bytes, AQZ_GPU_LEAST_PINNED);
	d->host_bytes = d->parts[0].layout.words_bytes + d->whole.scales_bytes;
out:
	return status;
}

void aqz_gpu_design_free(aqz_gpu_design *d)
{
	free(d->parts);
	free(d->tables);
	memset(d, 0, sizeof *d);
}

/* ---- How much memory */

aqz_status aqz_gpu_plan_sections(aqz_gpu_plan *out, const aqz_reader *reader, const uint32_t *sections,
	uint32_t n_sections, aqz_error *err)
{
	aqz_gpu_design d = {0};
	aqz_status status = AQZ_OK;

	memset(out, 0, sizeof *out);
	if (n_sections == 1 && sections[0] < reader->catalog.n_sections &&
		reader->catalog.sections[sections[0]]->info.scheme.codec == AQZ_CODEC_TRELLIS)
		return aqz_gpu_plan_archive(out, reader, reader->catalog.sections[sections[0]], err);
	AQZ_TRY(aqz_gpu_design_sections(&d, reader, sections, n_sections, true, err));
	*out = (aqz_gpu_plan){
		.device_bytes = d.total_bytes,
		.upload_bytes = d.lines_bytes,
		.pinned_bytes = 2 * d.pinned_bytes,
		.host_bytes = d.host_bytes,
	};
out:
	aqz_gpu_design_free(&d);
	return status;
}
