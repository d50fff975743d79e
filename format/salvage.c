/* SPDX-License-Identifier: Apache-2.0 */
/* A sound container from the intact parts of a broken one, spec 2.4: a first pass decodes
 * everything and decides, a second copies stored chunks as they are. A tensor or file is kept whole
 * or not at all. */
#include "format/salvage.h"
#include "format/writer.h"

#include <stdio.h> /* snprintf */

aqz_status aqz_wreck_chunk(const aqz_wreck *w, const aqz_chunk_decoder *d, uint64_t found,
	aqz_wreck_piece *piece, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_placed_frame *f = &w->frames[(uint32_t)found];
	const aqz_section *s = d->section;
	uint64_t begin, end, n_code_rows, n_bytes, least, most,
		padded = aqz_padded(f->frame.stored_bytes);
	memset(piece, 0, sizeof *piece);
	aqz_section_chunk_rows(s, f->frame.chunk, &begin, &end, &n_code_rows);
	s->codec->payload_bounds(&d->view, end - begin, n_code_rows, f->frame.coding, &least, &most);
	if (!aqz_section_rows_bytes(s, begin, end, &n_bytes) || n_bytes != f->frame.decoded_bytes ||
		!s->codec->coding_ok(f->frame.coding) || f->frame.stored_bytes < least ||
		f->frame.stored_bytes > most)
		return aqz_fail(
			err, AQZ_E_CORRUPT, f->offset, "frame", "the chunk's frame does not fit its section");
	AQZ_TRY(aqz_budget_alloc(d->budget, &piece->payload, padded, "a stored chunk", err));
	piece->payload_bytes = padded;
	status =
		w->io.pread(w->io.user, piece->payload, (size_t)padded, f->offset + AQZ_FRAME_HEADER_BYTES);
	if (status != AQZ_OK)
		AQZ_TRY(aqz_fail(err, status, f->offset, "frame", "reading failed"));
	AQZ_TRY(aqz_frame_check_payload(
		&f->frame, piece->payload, w->superblock.id, f->offset + AQZ_FRAME_HEADER_BYTES, err));
	AQZ_TRY(aqz_budget_alloc(d->budget, &piece->decoded, n_bytes, "a decoded chunk", err));
	piece->decoded_bytes = n_bytes;
	AQZ_TRY(aqz_chunk_decode(d, f, piece->payload, begin, end, piece->decoded, err));
	AQZ_TRY(aqz_chunk_check_decoded(f, piece->decoded, err));
out:
	if (status != AQZ_OK)
		aqz_wreck_drop(d, piece);
	return status;
}

void aqz_wreck_drop(const aqz_chunk_decoder *d, aqz_wreck_piece *piece)
{
	aqz_budget_free(d->budget, piece->payload, piece->payload_bytes);
	aqz_budget_free(d->budget, piece->decoded, piece->decoded_bytes);
	memset(piece, 0, sizeof *piece);
}

static bool memory_failed(aqz_status status)
{
	return status == AQZ_E_NOMEM || status == AQZ_E_MEMLIMIT;
}

/* One parameter section, decoded whole. */
static aqz_status read_param(
	const aqz_wreck *w, uint32_t number, aqz_budget *budget, void **data, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_wreck_section *p = &w->sections[number];
	aqz_chunk_decoder d = {0};
	uint64_t at = 0;
	AQZ_TRY(
		aqz_budget_alloc(budget, data, p->section->info.decoded_bytes, "a parameter section", err));
	AQZ_TRY(aqz_chunk_decoder_open(&d, p->section, NULL, 0, budget, err));
	for (uint32_t i = 0; i < p->section->info.n_chunks; i++) {
		aqz_wreck_piece piece;
		AQZ_TRY(aqz_wreck_chunk(w, &d, p->found[i], &piece, err));
		memcpy((uint8_t *)*data + at, piece.decoded, (size_t)piece.decoded_bytes);
		at += piece.decoded_bytes;
		aqz_wreck_drop(&d, &piece);
	}
out:
	aqz_chunk_decoder_close(&d);
	return status;
}

aqz_status aqz_wreck_decoder(const aqz_wreck *w, aqz_chunk_decoder *d, const aqz_section *s,
	aqz_budget *budget, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint64_t n = 0;
	uint32_t k = 0;
	memset(d, 0, sizeof *d);
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		n += s->info.refs[r].count;
	if (n > s->info.number + (uint64_t)s->info.n_refs)
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "section.ref", "more references than sections");
	aqz_param_view *params = calloc((size_t)n + 1, sizeof *params);
	void **data = calloc((size_t)n + 1, sizeof *data);
	if (params == NULL || data == NULL)
		AQZ_TRY(aqz_fail_nomem(err, n * sizeof *params));
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		for (uint32_t i = 0; i < s->info.refs[r].count; i++, k++) {
			const aqz_ref *ref = &s->info.refs[r];
			const aqz_wreck_section *p =
				ref->first + i < w->n_sections ? &w->sections[ref->first + i] : NULL;
			if (p == NULL || !p->whole || p->section->info.kind != ref->kind)
				AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "section.ref",
					"its %s (section %u) is lost", aqz_kind_name(ref->kind), ref->first + i));
			const aqz_section_info *q = &p->section->info;
			params[k] = (aqz_param_view){q->kind, q->dtype, q->rows, q->cols, NULL};
		}
	aqz_view view = aqz_section_view(s);
	AQZ_TRY(s->codec->check(&view, params, k, err)); /* before anything is allocated for them */
	k = 0;
	for (uint32_t r = 0; r < s->info.n_refs; r++) {
		const aqz_ref *refs = s->info.refs;
		uint32_t same = 0, at = 0; /* an earlier reference to the same sections, as in cursor.c */
		while (same < r && (refs[same].first != refs[r].first || refs[same].count != refs[r].count))
			at += refs[same++].count;
		for (uint32_t i = 0; i < refs[r].count; i++, k++) {
			if (same == r)
				AQZ_TRY(read_param(w, refs[r].first + i, budget, &data[k], err));
			params[k].data = same == r ? data[k] : params[at + i].data;
		}
	}
	AQZ_TRY(aqz_chunk_decoder_open(d, s, params, k, budget, err));
out:
	for (uint64_t i = 0; data != NULL && i < n; i++)
		if (data[i] != NULL)
			aqz_budget_free(budget, data[i],
				params[i].rows * params[i].cols * aqz_dtype_bits(params[i].dtype) / 8);
	free(data);
	free(params);
	return status;
}

/* Of the three parts of the work (find, try, copy) so many are done, and of the next one all up to
 * this place in the file. */
static aqz_status tell(const aqz_wreck *w, unsigned done, uint64_t offset, aqz_error *err)
{
	uint64_t third = w->n_bytes / 3;
	if (w->progress == NULL || w->progress(w->progress_user, done * third + offset / 3, w->n_bytes))
		return AQZ_OK;
	return aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "stopped");
}

/* First pass: decodes what was found of a section and says whether that is all. */
static aqz_status try_section(aqz_wreck *w, uint32_t number, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_wreck_section *s = &w->sections[number];
	aqz_budget budget = w->budget;
	aqz_chunk_decoder d = {0};
	aqz_error what;
	if (s->section == NULL)
		return AQZ_OK;
	uint32_t n = s->section->info.n_chunks, due = 0;
	if (s->n_found == 0 && n > 0) {
		snprintf(s->why, sizeof s->why, "none of its %u chunks was found", n);
		return AQZ_OK;
	}
	status = aqz_wreck_decoder(w, &d, s->section, &budget, &what);
	if (status != AQZ_OK) {
		snprintf(s->why, sizeof s->why, "%.90s", what.text);
		goto out;
	}
	for (uint32_t i = 0; i < s->n_found; i++) {
		aqz_wreck_piece piece;
		uint32_t chunk = (uint32_t)(s->found[i] >> 32);
		if (chunk < due)
			continue; /* it was there twice, and the first one is intact */
		if (chunk > due && s->why[0] == 0)
			snprintf(s->why, sizeof s->why, "chunk %u was not found", due);
		status = aqz_wreck_chunk(w, &d, s->found[i], &piece, &what);
		if (memory_failed(status) || status == AQZ_E_IO)
			goto out;
		if (status != AQZ_OK && s->why[0] == 0)
			snprintf(s->why, sizeof s->why, "chunk %u: %.72s", chunk, what.text);
		if (status == AQZ_OK) {
			s->found[s->intact++] = s->found[i];
			due = chunk + 1;
			aqz_wreck_drop(&d, &piece);
		}
		status = tell(w, 1, w->frames[(uint32_t)s->found[i]].offset, &what);
		if (status != AQZ_OK)
			goto out;
	}
	status = AQZ_OK;
	s->whole = s->intact == n;
	if (!s->whole && s->why[0] == 0)
		snprintf(s->why, sizeof s->why, "chunk %u was not found", due);
out:
	aqz_chunk_decoder_close(&d);
	if (!memory_failed(status) && status != AQZ_E_IO && status != AQZ_E_CANCELLED)
		return AQZ_OK;
	if (err != NULL)
		*err = what;
	return status;
}

/* Second pass: the stored chunks of a section, as they are. */
static aqz_status copy_chunks(aqz_wreck *w, aqz_writer *writer, uint32_t number, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_wreck_section *s = &w->sections[number];
	aqz_budget budget = w->budget;
	aqz_chunk_decoder d = {0};
	aqz_wreck_piece piece = {0};
	budget.used_bytes += writer->catalog.budget.used_bytes;
	AQZ_TRY(aqz_wreck_decoder(w, &d, s->section, &budget, err));
	for (uint32_t i = 0; i < s->section->info.n_chunks; i++) {
		const aqz_placed_frame *f = &w->frames[(uint32_t)s->found[i]];
		AQZ_TRY(aqz_wreck_chunk(w, &d, s->found[i], &piece, err));
		AQZ_TRY(aqz_writer_copy(writer, &f->frame, piece.payload, piece.decoded, err));
		aqz_wreck_drop(&d, &piece);
		AQZ_TRY(tell(w, 2, f->offset, err));
	}
out:
	if (d.budget != NULL)
		aqz_wreck_drop(&d, &piece);
	aqz_chunk_decoder_close(&d);
	return status;
}

/* What is declared and whose chunks are still to be copied: sections [copied, declared). */
typedef struct copy_state {
	uint32_t copied, tensor; /* tensor: the first whose section is not declared yet */
	uint64_t waiting_bytes;	 /* decoded, of the sections that wait */
} copy_state;

/* Copies the chunks of all needed sections before `end`. Sections without chunks are declared, too. */
static aqz_status copy_declared(
	aqz_wreck *w, aqz_writer *writer, copy_state *at, uint32_t end, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	for (; at->copied < end; at->copied++)
		if (w->sections[at->copied].needed)
			AQZ_TRY(copy_chunks(w, writer, at->copied, err));
	AQZ_TRY(aqz_writer_flush(writer, err));
	at->waiting_bytes = 0;
out:
	return status;
}

/* Declares a section and its tensors, and copies chunks where a frame of records must end. Sections are
 * written in the order of their numbers, and all parameters of those that are kept: so what a reference
 * names stands together in the new file, too. */
static aqz_status copy_section(
	aqz_wreck *w, aqz_writer *writer, uint32_t number, copy_state *at, aqz_error *err)
{
	/* As the writer does it, which holds data meanwhile; here they wait in the broken file. */
	enum { SMALL_BYTES = 1 << 16, WAITING_BYTES = 1 << 20, LONG_RECORDS = 1 << 25 };
	aqz_status status = AQZ_OK;
	aqz_wreck_section *s = &w->sections[number];
	aqz_section_info info = s->section->info;
	bool parameter = info.kind >= AQZ_KIND_CODEBOOK && info.kind <= AQZ_KIND_PERMUTATION;
	aqz_ref *refs = calloc((size_t)info.n_refs + 1, sizeof *refs);
	if (refs == NULL)
		AQZ_TRY(aqz_fail_nomem(err, info.n_refs * sizeof *refs));
	for (uint32_t r = 0; r < info.n_refs; r++) {
		refs[r] = info.refs[r];
		refs[r].first = w->sections[refs[r].first].written_as;
	}
	info.refs = refs;
	AQZ_TRY(aqz_writer_declare(writer, &info, err));
	s->written_as = info.number;
	for (; at->tensor < w->n_tensors && w->tensors[at->tensor]->info.section == number; at->tensor++) {
		aqz_tensor_info t = w->tensors[at->tensor]->info;
		t.section = info.number;
		AQZ_TRY(aqz_writer_declare_tensor(writer, &t, err));
		/* Names that are too many for one frame follow behind the chunks. */
		if (writer->records.n > LONG_RECORDS)
			AQZ_TRY(copy_declared(w, writer, at, number + 1, err));
	}
	at->waiting_bytes += info.decoded_bytes;
	if (writer->records.n > WAITING_BYTES ||
		(!parameter && (info.decoded_bytes > SMALL_BYTES || at->waiting_bytes > WAITING_BYTES)))
		AQZ_TRY(copy_declared(w, writer, at, number + 1, err));
out:
	free(refs);
	return status;
}

/* The id of the new file: of the old id and of what was kept. */
static aqz_status new_id(const aqz_wreck *w, uint8_t id[16], aqz_error *err)
{
	aqz_digest *d;
	uint64_t digest[2];
	aqz_status status = aqz_digest_open(&d, err);
	if (status != AQZ_OK)
		return status;
	aqz_digest_add(d, w->superblock.id, 16);
	for (uint32_t i = 0; i < w->n_sections; i++)
		aqz_digest_add(d, &w->sections[i].whole, 1);
	aqz_digest_close(d, digest);
	memcpy(id, digest, 16);
	return AQZ_OK;
}

static void say(const aqz_wreck *w, aqz_salvage_fn *report, void *user, const char *name,
	const aqz_wreck_section *s)
{
	(void)w;
	aqz_salvaged what = {.name = name,
		.kind = s->section->info.kind,
		.kept = s->whole,
		.chunks_intact = s->intact,
		.chunks = s->section->info.n_chunks};
	if (!s->whole)
		memcpy(what.why, s->why, sizeof what.why);
	if (report != NULL)
		report(user, &what);
}

/* Tensors whose records make no sense beside their section are not kept. */
static bool tensor_fits(const aqz_wreck *w, const aqz_tensor_info *t)
{
	if (t->section >= w->n_sections || w->sections[t->section].section == NULL)
		return false;
	const aqz_section_info *s = &w->sections[t->section].section->info;
	return s->kind == AQZ_KIND_TENSOR && s->dtype == t->dtype &&
		aqz_view_matches(t, s->rows, s->cols);
}

static int by_section(const void *a, const void *b)
{
	const aqz_tensor *const *x = a, *const *y = b;
	if ((*x)->info.section != (*y)->info.section)
		return (*x)->info.section < (*y)->info.section ? -1 : 1;
	return (*x)->info.number < (*y)->info.number ? -1 : (*x)->info.number > (*y)->info.number;
}

/* A section's tensors are written with it. */
static void sort_tensors(aqz_wreck *w)
{
	if (w->n_tensors > 0)
		qsort(w->tensors, w->n_tensors, sizeof *w->tensors, by_section);
}

/* Names of what is kept: a hostile file may use one twice, which no writer does. */

static bool tensor_name_equal(const void *owner, uint32_t number, const char *name, size_t n)
{
	const aqz_tensor_info *t = &((const aqz_wreck *)owner)->tensors[number]->info;
	return t->name_bytes == n && memcmp(t->name, name, n) == 0;
}

static void tensor_name_get(const void *owner, uint32_t number, const char **name, size_t *n)
{
	const aqz_tensor_info *t = &((const aqz_wreck *)owner)->tensors[number]->info;
	*name = t->name, *n = t->name_bytes;
}

static bool file_name_equal(const void *owner, uint32_t number, const char *name, size_t n)
{
	const char *s = ((const aqz_wreck *)owner)->sections[number].section->info.name;
	return strlen(s) == n && memcmp(s, name, n) == 0;
}

static void file_name_get(const void *owner, uint32_t number, const char **name, size_t *n)
{
	*name = ((const aqz_wreck *)owner)->sections[number].section->info.name;
	*n = strlen(*name);
}

/* Reports, counts what is lost, and drops tensors that do not fit. */
static aqz_status settle_tensors(
	aqz_wreck *w, aqz_salvage_fn *report, void *user, uint32_t *n_lost, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_names names = {0};
	uint32_t kept = 0, n = w->n_tensors, other, i = 0;
	for (; i < n; i++) {
		aqz_tensor *t = w->tensors[i];
		aqz_salvaged what = {.name = t->info.name, .kind = AQZ_KIND_TENSOR};
		if (!tensor_fits(w, &t->info)) {
			snprintf(what.why, sizeof what.why, "the record of its section is lost");
		} else if (!w->sections[t->info.section].whole) {
			say(w, report, user, t->info.name, &w->sections[t->info.section]);
			++*n_lost;
			aqz_budget_free(&w->budget, t, t->block_bytes);
			continue;
		} else if (aqz_names_find(
					   &names, tensor_name_equal, w, t->info.name, t->info.name_bytes, &other)) {
			snprintf(what.why, sizeof what.why, "another tensor has its name");
		} else {
			w->tensors[kept] = t; /* at or before i */
			status = aqz_names_add(&names, &w->budget, tensor_name_get, w, kept, err);
			kept++;
			if (memory_failed(status))
				break;
			status = AQZ_OK;
			say(w, report, user, t->info.name, &w->sections[t->info.section]);
			w->sections[t->info.section].section->n_users++;
			continue;
		}
		if (report != NULL)
			report(user, &what);
		++*n_lost;
		aqz_budget_free(&w->budget, t, t->block_bytes);
	}
	for (i++; i < n; i++) /* after a failure: what was not looked at */
		w->tensors[kept++] = w->tensors[i];
	w->n_tensors = kept;
	aqz_names_free(&names, &w->budget);
	return status;
}

static aqz_status settle_files(
	aqz_wreck *w, aqz_salvage_fn *report, void *user, uint32_t *n_lost, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_names files = {0}, metadata = {0};
	uint32_t other;
	for (uint32_t i = 0; i < w->n_sections; i++) {
		aqz_wreck_section *s = &w->sections[i];
		s->written_as = UINT32_MAX;
		if (s->section == NULL || s->section->info.name[0] == 0)
			continue;
		const char *name = s->section->info.name;
		aqz_names *names = s->section->info.kind == AQZ_KIND_METADATA ? &metadata : &files;
		if (s->whole && aqz_names_find(names, file_name_equal, w, name, strlen(name), &other)) {
			s->whole = false;
			snprintf(s->why, sizeof s->why, "another file has its name");
		}
		if (s->whole) {
			status = aqz_names_add(names, &w->budget, file_name_get, w, i, err);
			if (memory_failed(status))
				goto out;
			status = AQZ_OK;
		}
		say(w, report, user, name, s);
		*n_lost += !s->whole;
	}
out:
	aqz_names_free(&files, &w->budget);
	aqz_names_free(&metadata, &w->budget);
	return status;
}

aqz_status aqz_salvage(const aqz_io *in, const aqz_io *out, uint64_t memlimit_bytes,
	aqz_salvage_fn *report, void *report_user, aqz_progress_fn *progress, void *progress_user,
	uint32_t *n_lost, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_wreck w = {.progress = progress, .progress_user = progress_user};
	aqz_writer *writer = NULL;
	aqz_writer_options opt = {.struct_size = sizeof opt, .n_threads = 1};
	uint32_t lost = 0;
	copy_state at = {0};
	if (in == NULL || in->pread == NULL || in->size == NULL || out == NULL || out->write == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "io",
			"salvage needs pread and size to read, write to write");
	AQZ_TRY(aqz_wreck_open(&w, in, memlimit_bytes, err));
	for (uint32_t i = 0; i < w.n_sections; i++)
		AQZ_TRY(try_section(&w, i, err));
	AQZ_TRY(settle_tensors(&w, report, report_user, &lost, err));
	AQZ_TRY(settle_files(&w, report, report_user, &lost, err));
	sort_tensors(&w);
	AQZ_TRY(new_id(&w, opt.id, err));
	opt.alignment = UINT32_C(1) << w.superblock.alignment_log2;
	if (memlimit_bytes != 0)
		opt.memlimit_bytes =
			memlimit_bytes > w.budget.used_bytes ? memlimit_bytes - w.budget.used_bytes : 1;
	for (uint32_t i = 0; i < w.n_sections; i++) {
		aqz_wreck_section *s = &w.sections[i];
		if (!s->whole)
			continue;
		if (s->section->info.name[0] != 0 || s->section->n_users > 0)
			s->needed = true;
		for (uint32_t r = 0; s->needed && r < s->section->info.n_refs; r++)
			for (uint32_t k = 0; k < s->section->info.refs[r].count; k++)
				w.sections[s->section->info.refs[r].first + k].needed = true;
	}
	AQZ_TRY(aqz_writer_open(&writer, out, &opt, err));
	for (uint32_t i = 0; i < w.n_sections; i++)
		if (w.sections[i].needed)
			AQZ_TRY(copy_section(&w, writer, i, &at, err));
	AQZ_TRY(copy_declared(&w, writer, &at, w.n_sections, err));
	AQZ_TRY(aqz_writer_finish(writer, NULL, err));
	if (n_lost != NULL)
		*n_lost = lost;
out:
	aqz_writer_close(writer);
	aqz_wreck_close(&w);
	return status;
}
