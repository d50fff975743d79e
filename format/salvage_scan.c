/* SPDX-License-Identifier: Apache-2.0 */
/* Finding what is left of a broken container: by its frames, one after the other, and where one is
 * broken at the next place where a frame header's hash holds, spec 2.4. Records come from the
 * records frames and, where the index is whole, from there too, since a records frame may be the
 * very thing that broke. */
#include "format/inflate.h"
#include "format/salvage.h"

enum { SCAN_BYTES = 1 << 20 };

aqz_status aqz_wreck_grow(
	aqz_wreck *w, void *array, uint32_t n, uint32_t *capacity, size_t item_bytes, aqz_error *err)
{
	if (n < *capacity)
		return AQZ_OK;
	uint64_t more = *capacity == 0 ? 64 : *capacity;
	while (more <= n)
		more *= 2;
	void *old, *fresh;
	memcpy(&old, array, sizeof old);
	aqz_status status =
		aqz_budget_alloc(&w->budget, &fresh, more * item_bytes, "what was found", err);
	if (status != AQZ_OK)
		return status;
	if (*capacity > 0)
		memcpy(fresh, old, (size_t)*capacity * item_bytes);
	aqz_budget_free(&w->budget, old, (uint64_t)*capacity * item_bytes);
	memcpy(array, &fresh, sizeof fresh);
	*capacity = (uint32_t)more;
	return AQZ_OK;
}

/* The id comes from the superblock or, where that is broken, from the footer. */
static aqz_status find_superblock(aqz_wreck *w, aqz_error *err)
{
	uint8_t super[AQZ_SUPERBLOCK_BYTES], end[AQZ_FOOTER_BYTES];
	aqz_footer footer;
	aqz_error second;
	if (w->n_bytes < AQZ_SUPERBLOCK_BYTES)
		return aqz_fail(err, AQZ_E_FORMAT, 0, "superblock", "a file of %llu bytes holds nothing",
			(unsigned long long)w->n_bytes);
	aqz_status status = w->io.pread(w->io.user, super, sizeof super, 0);
	if (status != AQZ_OK)
		return aqz_fail(err, status, 0, "superblock", "reading failed");
	status = aqz_superblock_read(&w->superblock, super, err);
	if (status == AQZ_OK || status == AQZ_E_UNSUPPORTED)
		return status;
	if (w->n_bytes >= AQZ_SUPERBLOCK_BYTES + AQZ_FOOTER_BYTES) {
		uint64_t at = w->n_bytes - sizeof end;
		status = w->io.pread(w->io.user, end, sizeof end, at);
		if (status != AQZ_OK)
			return aqz_fail(err, status, at, "footer", "reading failed");
		/* The length that it gives is not compared: bytes may be missing before. */
		at = aqz_get64(end + AQZ_FRAME_HEADER_BYTES + 24);
		if (aqz_footer_read(&footer, end, at, &second) == AQZ_OK) {
			w->superblock = footer.superblock;
			return AQZ_OK;
		}
	}
	return aqz_fail(err, AQZ_E_FORMAT, 0, "superblock",
		"neither superblock nor footer is whole: the file's id is lost");
}

static bool plausible(const aqz_wreck *w, const aqz_frame *f, uint64_t offset)
{
	return AQZ_FRAME_HEADER_BYTES + aqz_padded(f->stored_bytes) <= w->n_bytes - offset;
}

/* At next, where a frame should end, the file ends or another frame begins. header: its bytes, or
 * NULL if they are still to be read. */
static bool leads_on(const aqz_wreck *w, const uint8_t *header, uint64_t next)
{
	uint8_t read[AQZ_FRAME_HEADER_BYTES];
	aqz_frame f;
	aqz_error ignored;
	if (next == w->n_bytes)
		return true;
	if (header == NULL) {
		if (w->n_bytes - next < sizeof read ||
			w->io.pread(w->io.user, read, sizeof read, next) != AQZ_OK)
			return false;
		header = read;
	}
	return aqz_frame_read(&f, header, w->superblock.id, next, &ignored) == AQZ_OK;
}

/* All frames whose header hash holds and whose payload ends within the file. */
static aqz_status scan(aqz_wreck *w, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint8_t *room = malloc(SCAN_BYTES);
	uint64_t have_from = 0, have = 0, at = AQZ_SUPERBLOCK_BYTES;
	if (room == NULL)
		return aqz_fail_nomem(err, SCAN_BYTES);
	while (at + AQZ_FRAME_HEADER_BYTES <= w->n_bytes) {
		aqz_frame f;
		aqz_error ignored;
		if (at < have_from || at + AQZ_FRAME_HEADER_BYTES > have_from + have) {
			have_from = at;
			have = aqz_min(SCAN_BYTES, w->n_bytes - at);
			status = w->io.pread(w->io.user, room, (size_t)have, at);
			if (status != AQZ_OK)
				AQZ_TRY(aqz_fail(err, status, at, "file", "reading failed"));
			if (w->progress != NULL && !w->progress(w->progress_user, at / 3, w->n_bytes))
				AQZ_TRY(aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "stopped"));
		}
		if (aqz_frame_read(&f, room + (at - have_from), w->superblock.id, at, &ignored) != AQZ_OK ||
			!plausible(w, &f, at)) {
			at += AQZ_FRAME_ALIGN;
			continue;
		}
		if (w->n_frames == AQZ_MAX_FRAMES)
			break;
		AQZ_TRY(
			aqz_wreck_grow(w, &w->frames, w->n_frames, &w->frames_capacity, sizeof *w->frames, err));
		w->frames[w->n_frames++] = (aqz_placed_frame){.frame = f, .offset = at};
		/* The length is right, as the header's hash holds; but bytes may have been lost from the
		 * payload, or come into it, and then the next frame is not where the length says. */
		uint64_t next = at + AQZ_FRAME_HEADER_BYTES + aqz_padded(f.stored_bytes);
		bool inside = next >= have_from && next + AQZ_FRAME_HEADER_BYTES <= have_from + have;
		at = leads_on(w, inside ? room + (next - have_from) : NULL, next) ? next
																		  : at + AQZ_FRAME_ALIGN;
	}
out:
	free(room);
	return status;
}

static aqz_status keep_section(aqz_wreck *w, const uint8_t *body, uint32_t n, aqz_error *err)
{
	aqz_section *s;
	aqz_status status = aqz_section_parse(&s, &w->budget, body, n, AQZ_NO_OFFSET, err);
	if (status != AQZ_OK)
		return status == AQZ_E_NOMEM || status == AQZ_E_MEMLIMIT
			? status
			: AQZ_OK; /* a record that cannot be is no record */
	uint32_t number = s->info.number;
	/* As many sections have their records before this one: the number is no more than what the file
	 * has room for. */
	bool possible = number < AQZ_MAX_SECTIONS &&
		number <= w->n_bytes / (AQZ_RECORD_HEADER_BYTES + AQZ_SECTION_BODY_BYTES);
	status = possible
		? aqz_wreck_grow(w, &w->sections, number, &w->sections_capacity, sizeof *w->sections, err)
		: AQZ_OK;
	if (status == AQZ_OK && possible && w->sections[number].section == NULL) {
		w->sections[number].section = s;
		w->n_sections = number >= w->n_sections ? number + 1 : w->n_sections;
		return AQZ_OK;
	}
	aqz_budget_free(&w->budget, s, s->block_bytes);
	return status;
}

static aqz_status keep_tensor(aqz_wreck *w, const uint8_t *body, uint32_t n, aqz_error *err)
{
	aqz_tensor *t;
	aqz_status status = aqz_tensor_parse(&t, &w->budget, body, n, AQZ_NO_OFFSET, err);
	if (status != AQZ_OK)
		return status == AQZ_E_NOMEM || status == AQZ_E_MEMLIMIT ? status : AQZ_OK;
	status = w->n_tensors < AQZ_MAX_TENSORS
		? aqz_wreck_grow(w, &w->tensors, w->n_tensors, &w->tensors_capacity, sizeof *w->tensors, err)
		: AQZ_OK;
	if (status == AQZ_OK && w->n_tensors < AQZ_MAX_TENSORS) {
		w->tensors[w->n_tensors++] = t;
		return AQZ_OK;
	}
	aqz_budget_free(&w->budget, t, t->block_bytes);
	return status;
}

static aqz_status keep_records(aqz_wreck *w, const uint8_t *p, uint64_t n, aqz_error *err)
{
	enum { SECTION = 1, TENSOR = 2 };
	aqz_status status = AQZ_OK;
	for (uint64_t at = 0; n - at >= AQZ_RECORD_HEADER_BYTES;) {
		uint32_t type = aqz_get16(p + at), body_bytes = aqz_get32(p + at + 4);
		at += AQZ_RECORD_HEADER_BYTES;
		if (body_bytes > n - at)
			break;
		if (type == SECTION)
			AQZ_TRY(keep_section(w, p + at, body_bytes, err));
		if (type == TENSOR)
			AQZ_TRY(keep_tensor(w, p + at, body_bytes, err));
		at += body_bytes;
	}
out:
	return status;
}

/* The payload of a frame if it is whole, else NULL. Under the wreck's budget: padded bytes. */
static uint8_t *whole_payload(
	aqz_wreck *w, const aqz_placed_frame *f, aqz_status *status, aqz_error *err)
{
	aqz_error ignored;
	uint64_t n = aqz_padded(f->frame.stored_bytes);
	void *payload;
	*status = aqz_budget_alloc(&w->budget, &payload, n, "a frame", err);
	if (*status != AQZ_OK)
		return NULL;
	*status = w->io.pread(w->io.user, payload, (size_t)n, f->offset + AQZ_FRAME_HEADER_BYTES);
	if (*status != AQZ_OK)
		aqz_fail(err, *status, f->offset, "frame", "reading failed");
	else if (aqz_frame_check_payload(&f->frame, payload, w->superblock.id, f->offset, &ignored) ==
		AQZ_OK)
		return payload;
	aqz_budget_free(&w->budget, payload, n);
	return NULL;
}

/* *intact is set if the index is whole. There is one in a file, so that only the first intact one
 * counts, and memory and work stay in proportion to the file. */
static aqz_status keep_index(
	aqz_wreck *w, const aqz_placed_frame *f, const uint8_t *payload, bool *intact, aqz_error *err)
{
	aqz_error ignored;
	void *index;
	uint64_t n = f->frame.decoded_bytes;
	/* No index is longer than twice what it is about, see reader.c. */
	if (n < AQZ_INDEX_HEAD_BYTES || n > 2 * w->n_bytes)
		return AQZ_OK;
	aqz_status status = aqz_budget_alloc(&w->budget, &index, n, "the index", err);
	if (status != AQZ_OK)
		return status;
	status = aqz_index_inflate(index, &f->frame, payload, f->offset, &ignored);
	if (status == AQZ_E_NOMEM && err != NULL)
		*err = ignored;
	if (status != AQZ_OK && status != AQZ_E_NOMEM)
		status = AQZ_OK; /* it is broken, as much in such a file may be */
	else if (status == AQZ_OK) {
		uint64_t n_frames = aqz_get32(index), n_sections = aqz_get32((uint8_t *)index + 4);
		uint64_t fixed =
			AQZ_INDEX_HEAD_BYTES + n_frames * AQZ_INDEX_FRAME_BYTES + n_sections * AQZ_DIGEST_BYTES;
		*intact = true;
		if (fixed <= n)
			status = keep_records(w, (uint8_t *)index + fixed, n - fixed, err);
	}
	aqz_budget_free(&w->budget, index, n);
	return status;
}

static int by_number(const void *a, const void *b)
{
	const aqz_tensor *const *x = a, *const *y = b;
	return (*x)->info.number < (*y)->info.number ? -1 : (*x)->info.number > (*y)->info.number;
}

/* The same tensor may stand in a records frame and in the index. */
static void drop_repeated_tensors(aqz_wreck *w)
{
	uint32_t kept = 0;
	if (w->n_tensors > 0)
		qsort(w->tensors, w->n_tensors, sizeof *w->tensors, by_number);
	for (uint32_t i = 0; i < w->n_tensors; i++) {
		if (kept > 0 && w->tensors[kept - 1]->info.number == w->tensors[i]->info.number)
			aqz_budget_free(&w->budget, w->tensors[i], w->tensors[i]->block_bytes);
		else
			w->tensors[kept++] = w->tensors[i];
	}
	w->n_tensors = kept;
}

/* The section whose chunk a frame can be, or NULL. */
static aqz_wreck_section *section_of(const aqz_wreck *w, const aqz_frame *f)
{
	if (f->type != AQZ_FRAME_CHUNK || f->flags != 0 || f->section >= w->n_sections)
		return NULL;
	aqz_wreck_section *s = &w->sections[f->section];
	return s->section != NULL && f->chunk < s->section->info.n_chunks ? s : NULL;
}

static int by_chunk(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Lists what was found of each section. All lists together are as long as there are frames, however
 * many chunks the records declare. */
static aqz_status place_chunks(aqz_wreck *w, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_wreck_section *s;
	for (uint32_t i = 0; i < w->n_frames; i++)
		if ((s = section_of(w, &w->frames[i].frame)) != NULL)
			s->n_found++;
	for (uint32_t i = 0; i < w->n_frames; i++) {
		const aqz_frame *f = &w->frames[i].frame;
		if ((s = section_of(w, f)) == NULL)
			continue;
		if (s->found == NULL) {
			void *list;
			AQZ_TRY(aqz_budget_alloc(&w->budget, &list, (uint64_t)s->n_found * sizeof *s->found,
				"a list of chunks", err));
			s->found = list;
		}
		s->found[s->intact++] = (uint64_t)f->chunk << 32 | i; /* intact counts here for a moment */
	}
	for (uint32_t i = 0; i < w->n_sections; i++) {
		s = &w->sections[i];
		s->intact = 0;
		if (s->found != NULL)
			qsort(s->found, s->n_found, sizeof *s->found, by_chunk);
	}
out:
	return status;
}

aqz_status aqz_wreck_open(aqz_wreck *w, const aqz_io *io, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	w->io = *io;
	w->budget.limit_bytes = memlimit_bytes;
	status = io->size(io->user, &w->n_bytes);
	if (status != AQZ_OK)
		return aqz_fail(err, status, AQZ_NO_OFFSET, "file", "the size of the file is not known");
	AQZ_TRY(find_superblock(w, err));
	AQZ_TRY(scan(w, err));
	bool index_found = false;
	for (uint32_t i = 0; i < w->n_frames; i++) {
		const aqz_placed_frame *f = &w->frames[i];
		if (f->frame.type != AQZ_FRAME_RECORDS && (f->frame.type != AQZ_FRAME_INDEX || index_found))
			continue;
		uint8_t *payload = whole_payload(w, f, &status, err);
		AQZ_TRY(status);
		if (payload == NULL)
			continue;
		status = f->frame.type == AQZ_FRAME_RECORDS
			? keep_records(w, payload, f->frame.stored_bytes, err)
			: keep_index(w, f, payload, &index_found, err);
		aqz_budget_free(&w->budget, payload, aqz_padded(f->frame.stored_bytes));
		AQZ_TRY(status);
	}
	drop_repeated_tensors(w);
	AQZ_TRY(place_chunks(w, err));
	if (w->n_sections == 0)
		status = aqz_fail(
			err, AQZ_E_FORMAT, AQZ_NO_OFFSET, "records", "no record of any tensor or file is left");
out:
	return status;
}

void aqz_wreck_close(aqz_wreck *w)
{
	for (uint32_t i = 0; i < w->sections_capacity; i++) {
		aqz_wreck_section *s = &w->sections[i];
		if (s->section == NULL)
			continue;
		aqz_budget_free(&w->budget, s->found, (uint64_t)s->n_found * sizeof *s->found);
		aqz_budget_free(&w->budget, s->section, s->section->block_bytes);
	}
	for (uint32_t i = 0; i < w->n_tensors; i++)
		aqz_budget_free(&w->budget, w->tensors[i], w->tensors[i]->block_bytes);
	aqz_budget_free(&w->budget, w->sections, (uint64_t)w->sections_capacity * sizeof *w->sections);
	aqz_budget_free(&w->budget, w->tensors, (uint64_t)w->tensors_capacity * sizeof *w->tensors);
	aqz_budget_free(&w->budget, w->frames, (uint64_t)w->frames_capacity * sizeof *w->frames);
	memset(w, 0, sizeof *w);
}
