/* SPDX-License-Identifier: Apache-2.0 */
/* A matrix to a device: codewords and scales, then codes chunk by chunk. A chunk is read into one of two pinned
 * buffers, its hash is taken there, and the very bytes are sent; while they travel, the next chunk is read into the
 * other. The device puts each chunk's lines into the order of its kernels (gpu/permute.h). */
#include <math.h>

#include "gpu/gpu.h"

typedef struct upload {
	aqz_gpu *gpu;
	aqz_gpu_matrix *m;
	const aqz_gpu_upload_options *opt;
	void *lines;               /* on the device: the T64 lines that were sent last */
	uint32_t row_block;        /* the next to be filled */
	uint64_t done, total;      /* bytes of codes */
	bool scales_finite;
} upload;

/* Sends T64 lines that lie in the buffer of this turn. */
static aqz_status send_lines(upload *u, const uint8_t *lines, uint64_t n_bytes, aqz_error *err)
{
	const aqz_gpu_layout *l = &u->m->design.whole;
	const uint32_t n_row_blocks = (uint32_t)(n_bytes / aqz_gpu_t64_row_block_bytes(l));
	aqz_status status;

	AQZ_TRY(aqz_gpu_send_turn(u->gpu, u->lines, lines, n_bytes, err));
	AQZ_TRY(aqz_launch_permute(u->m->base + l->codes_offset, l, u->row_block, n_row_blocks, u->lines, u->gpu->stream,
		err));
	u->row_block += n_row_blocks;
	u->done += n_bytes;
	if (u->opt != NULL && u->opt->progress != NULL && !u->opt->progress(u->opt->progress_user, u->done, u->total))
		status = aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "the upload was cancelled");
out:
	return status;
}

/* What is known of parts once all of their tables and scales are there. */
static void judge(upload *u)
{
	aqz_gpu_design *d = &u->m->design;

	for (uint32_t i = 0; i < d->n_parts; i++) {
		const aqz_gpu_table *t = &d->tables[d->parts[i].table];

		d->parts[i].finite = t->finite && u->scales_finite;
		/* Rounding of at most 7 sums adds far less than a hundredth. */
		d->parts[i].plain = d->parts[i].finite && t->largest < 3.3e38;
	}
}

static void look_at_scales(upload *u, const float *scales, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		u->scales_finite &= isfinite(scales[i]) != 0;
}

/* Takes the matrix and, for the time being, room for lines. */
static aqz_status begin(upload *u, aqz_error *err)
{
	const aqz_gpu_design *d = &u->m->design;
	void *base;
	aqz_status status;

	u->scales_finite = true;
	AQZ_TRY(aqz_gpu_take(&base, u->gpu, d->total_bytes, "the matrix", err));
	u->m->base = base;
	AQZ_TRY(aqz_gpu_take(&u->lines, u->gpu, d->lines_bytes, "room for the upload", err));
	AQZ_TRY(aqz_gpu_pinned(u->gpu, d->pinned_bytes, err));
	if (u->opt != NULL && u->opt->bias != NULL)
		AQZ_TRY(aqz_gpu_send(u->gpu, u->m->base + d->whole.bias_offset, u->opt->bias, d->whole.bias_bytes, err));
out:
	return status;
}

/* ---- From a file */

/* All elements of a parameter section. Free with aqz_budget_free(). */
static aqz_status read_section(void **out, const aqz_reader *reader, uint32_t number, aqz_budget *budget,
	aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(reader, number);
	aqz_cursor *cursor = NULL;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(budget, out, s->decoded_bytes, "a parameter section", err));
	AQZ_TRY(aqz_cursor_open_within(&cursor, reader, number, aqz_budget_rest(budget), err));
	AQZ_TRY(aqz_cursor_read(cursor, 0, s->rows, *out, (size_t)s->decoded_bytes, err));
out:
	aqz_cursor_close(cursor);
	if (status != AQZ_OK) {
		aqz_budget_free(budget, *out, s->decoded_bytes);
		*out = NULL;
	}
	return status;
}

/* Reads the sections of a table, one codebook row after the other, to dst. */
static aqz_status read_codebooks(uint8_t *dst, const aqz_reader *reader, const aqz_gpu_table *t, aqz_budget *budget,
	aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; i < t->count; i++) {
		const aqz_section_info *s = aqz_reader_section(reader, t->first + i);
		aqz_cursor *cursor = NULL;

		AQZ_TRY(aqz_cursor_open_within(&cursor, reader, s->number, aqz_budget_rest(budget), err));
		status = aqz_cursor_read(cursor, 0, s->rows, dst, (size_t)s->decoded_bytes, err);
		aqz_cursor_close(cursor);
		if (status != AQZ_OK)
			return status;
		dst += s->decoded_bytes;
	}
out:
	return status;
}

static aqz_status send_table(upload *u, const aqz_reader *reader, uint32_t number, aqz_budget *budget, aqz_error *err)
{
	aqz_gpu_design *d = &u->m->design;
	aqz_gpu_table *t = &d->tables[number];
	const aqz_gpu_layout *l = NULL;
	float scales[AQZ_MAX_CODEBOOKS * AQZ_MAX_CODEWORD];
	void *stored = NULL, *words = NULL, *multipliers = NULL;
	uint64_t stored_bytes = 0, multiplier_bytes = 0;
	aqz_status status;

	for (uint32_t i = 0; i < d->n_parts && l == NULL; i++)
		l = d->parts[i].table == number ? &d->parts[i].layout : NULL;
	for (uint32_t i = 0; i < t->count; i++)
		stored_bytes += aqz_reader_section(reader, t->first + i)->decoded_bytes;
	if (t->scales != UINT32_MAX) {
		const aqz_section_info *s = aqz_reader_section(reader, t->scales);

		multiplier_bytes = s->decoded_bytes;
		AQZ_TRY(read_section(&multipliers, reader, t->scales, budget, err));
		AQZ_TRY(aqz_convert(scales, AQZ_F32, multipliers, s->dtype, (size_t)(s->rows * s->cols), err));
	}
	AQZ_TRY(aqz_budget_alloc(budget, &stored, stored_bytes, "codebooks", err));
	AQZ_TRY(aqz_budget_alloc(budget, &words, l->words_bytes, "codewords", err));
	AQZ_TRY(read_codebooks(stored, reader, t, budget, err));
	aqz_gpu_words(words, t, l, stored, scales);
	AQZ_TRY(aqz_gpu_send(u->gpu, u->m->base + t->offset, words, l->words_bytes, err));
out:
	aqz_budget_free(budget, multipliers, multiplier_bytes);
	aqz_budget_free(budget, stored, stored_bytes);
	aqz_budget_free(budget, words, words == NULL ? 0 : l->words_bytes);
	return status;
}

/* The scales of all sections, 1 where a section has none; padding 0. */
static aqz_status send_scales(upload *u, const aqz_reader *reader, const uint32_t *sections, uint32_t n_sections,
	aqz_budget *budget, aqz_error *err)
{
	const aqz_gpu_layout *l = &u->m->design.whole;
	uint64_t code_row = 0;
	void *memory;
	float *scales;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(budget, &memory, l->scales_bytes, "scales", err));
	scales = memory;
	for (uint32_t i = 0; i < n_sections && status == AQZ_OK; i++) {
		const aqz_section *s = reader->catalog.sections[sections[i]];
		const aqz_view view = aqz_section_view(s);
		aqz_ref_cursor at = {0, 0};
		const aqz_ref *ref = aqz_refs_next(&at, &view, AQZ_KIND_ROW_SCALES);

		if (ref == NULL) {
			for (uint64_t k = 0; k < s->code_rows; k++)
				scales[code_row + k] = 1;
		} else {
			const aqz_section_info *p = aqz_reader_section(reader, ref->first);
			void *stored = NULL;

			status = read_section(&stored, reader, ref->first, budget, err);
			if (status == AQZ_OK)
				status = aqz_convert(scales + code_row, AQZ_F32, stored, p->dtype, (size_t)s->code_rows, err);
			aqz_budget_free(budget, stored, stored == NULL ? 0 : p->decoded_bytes);
		}
		code_row += s->code_rows;
	}
	look_at_scales(u, scales, code_row);
	if (status == AQZ_OK)
		status = aqz_gpu_send(u->gpu, u->m->base + l->scales_offset, scales, l->scales_bytes, err);
	aqz_budget_free(budget, memory, l->scales_bytes);
out:
	return status;
}

static aqz_status send_section(upload *u, const aqz_reader *reader, const aqz_section *s, aqz_error *err)
{
	const aqz_catalog *c = &reader->catalog;
	const uint64_t block = aqz_gpu_t64_row_block_bytes(&u->m->design.whole);
	const unsigned last_rows = (unsigned)((s->code_rows - 1) % AQZ_TILE_ROWS) + 1;
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; i < s->info.n_chunks; i++) {
		const aqz_placed_frame *f = &c->frames[c->chunks[s->first_chunk + i]];
		const uint64_t n_bytes = f->frame.stored_bytes; /* exactly that of its rows: the catalog has checked */
		const uint8_t *lines;
		void *buffer;

		AQZ_TRY(aqz_gpu_turn(&buffer, u->gpu, err));
		AQZ_TRY(aqz_frame_fetch(buffer, &reader->io, c, f, err));
		lines = (const uint8_t *)buffer + AQZ_FRAME_HEADER_BYTES;
		if (i + 1 == s->info.n_chunks &&
			!aqz_t64_padding_ok(lines + (n_bytes - block), block / (8 * s->info.scheme.code_bits),
				s->info.scheme.code_bits, last_rows))
			AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, f->offset + AQZ_FRAME_HEADER_BYTES, NULL,
				"padding codes are not 0"));
		AQZ_TRY(send_lines(u, lines, n_bytes, err));
	}
out:
	return status;
}

static aqz_status upload_sections(upload *u, const aqz_reader *reader, const uint32_t *sections, uint32_t n_sections,
	aqz_error *err)
{
	aqz_budget budget = aqz_reader_budget(reader);
	aqz_status status;

	AQZ_TRY(begin(u, err));
	for (uint32_t i = 0; i < u->m->design.n_tables; i++)
		AQZ_TRY(send_table(u, reader, i, &budget, err));
	AQZ_TRY(send_scales(u, reader, sections, n_sections, &budget, err));
	for (uint32_t i = 0; i < n_sections; i++)
		u->total += reader->catalog.sections[sections[i]]->info.stored_bytes;
	for (uint32_t i = 0; i < n_sections; i++)
		AQZ_TRY(send_section(u, reader, reader->catalog.sections[sections[i]], err));
	judge(u);
out:
	return status;
}

/* ---- From memory */

static aqz_status upload_additive(upload *u, const aqz_additive *a, aqz_error *err)
{
	aqz_gpu_design *d = &u->m->design;
	const aqz_gpu_layout *l = &d->parts[0].layout;
	const uint64_t n = l->words_bytes > d->whole.scales_bytes ? l->words_bytes : d->whole.scales_bytes;
	void *memory = calloc(1, (size_t)n);
	aqz_status status;

	if (memory == NULL)
		return aqz_fail_nomem(err, n);
	AQZ_TRY(begin(u, err));
	aqz_gpu_words(memory, &d->tables[0], l, a->codebooks, a->codebook_scales);
	AQZ_TRY(aqz_gpu_send(u->gpu, u->m->base + l->words_offset, memory, l->words_bytes, err));
	memset(memory, 0, (size_t)n);
	AQZ_TRY(aqz_convert(memory, AQZ_F32, a->scales, a->scale_dtype, (size_t)a->code_rows, err));
	look_at_scales(u, memory, a->code_rows);
	AQZ_TRY(aqz_gpu_send(u->gpu, u->m->base + l->scales_offset, memory, d->whole.scales_bytes, err));
	u->total = a->codes_bytes;
	while (u->done < u->total) {
		const uint64_t n_bytes = aqz_min(u->total - u->done, d->lines_bytes);
		void *buffer;

		AQZ_TRY(aqz_gpu_turn(&buffer, u->gpu, err));
		memcpy(buffer, a->codes + u->done, (size_t)n_bytes);
		AQZ_TRY(send_lines(u, buffer, n_bytes, err));
	}
	judge(u);
out:
	free(memory);
	return status;
}

/* ---- Both */

static aqz_status run(aqz_gpu_matrix **out, aqz_gpu *gpu, aqz_gpu_matrix *m, const aqz_reader *reader,
	const uint32_t *sections, uint32_t n_sections, const aqz_additive *a, const aqz_gpu_upload_options *opt,
	aqz_error *err)
{
	upload u = {.gpu = gpu, .m = m, .opt = opt};
	aqz_status status, ended;
	int previous;

	m->gpu = gpu;
	status = aqz_device_enter(&previous, gpu->device, err);
	if (status == AQZ_OK) {
		status = a != NULL ? upload_additive(&u, a, err) : upload_sections(&u, reader, sections, n_sections, err);
		/* Whatever was begun ends before its memory goes. */
		ended = aqz_stream_wait(gpu->stream, status == AQZ_OK ? err : NULL);
		if (status == AQZ_OK)
			status = ended;
		aqz_gpu_give_back(gpu, u.lines, m->design.lines_bytes);
		aqz_device_leave(previous);
	}
	if (status == AQZ_OK)
		*out = m;
	else
		aqz_gpu_matrix_free(m);
	return status;
}

static aqz_status prepare(aqz_gpu_matrix **m, const aqz_gpu_upload_options *opt, aqz_error *err)
{
	*m = NULL;
	if (opt != NULL && opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	*m = calloc(1, sizeof **m);
	return *m != NULL ? AQZ_OK : aqz_fail_nomem(err, sizeof **m);
}

aqz_status aqz_gpu_matrix_upload(aqz_gpu_matrix **out, aqz_gpu *gpu, const aqz_reader *reader,
	const uint32_t *sections, uint32_t n_sections, const aqz_gpu_upload_options *opt, aqz_error *err)
{
	aqz_gpu_matrix *m;
	aqz_status status;

	*out = NULL;
	AQZ_TRY(prepare(&m, opt, err));
	status = aqz_gpu_design_sections(&m->design, reader, sections, n_sections, opt != NULL && opt->bias != NULL, err);
	if (status == AQZ_OK)
		return run(out, gpu, m, reader, sections, n_sections, NULL, opt, err);
	aqz_gpu_matrix_free(m);
out:
	return status;
}

aqz_status aqz_gpu_matrix_from_additive(aqz_gpu_matrix **out, aqz_gpu *gpu, const aqz_additive *a,
	const aqz_gpu_upload_options *opt, aqz_error *err)
{
	const char *fault = aqz_additive_fault(a, AQZ_F32, 0, 0);
	aqz_gpu_matrix *m;
	aqz_status status;

	*out = NULL;
	if (fault != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "additive", "%s", fault);
	AQZ_TRY(prepare(&m, opt, err));
	status = aqz_gpu_design_additive(&m->design, a, opt != NULL && opt->bias != NULL, err);
	if (status == AQZ_OK)
		return run(out, gpu, m, NULL, NULL, 0, a, opt, err);
	aqz_gpu_matrix_free(m);
out:
	return status;
}
