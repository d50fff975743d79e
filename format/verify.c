/* SPDX-License-Identifier: Apache-2.0 */
/* Verification of a whole file, frame by frame, on several threads, spec 8.4. */
#include "format/reader.h"

#include <omp.h>
#include <stdatomic.h>

typedef struct verify_job {
	const aqz_reader *reader;
	aqz_verify_level level;
	aqz_verify_fn *report;
	void *report_user;
	aqz_progress_fn *progress;
	void *progress_user;
	atomic_uint_fast64_t done_bytes;
	atomic_bool stop; /* cancelled or out of memory */
	bool cancelled;   /* the calling thread's */
	aqz_status first; /* of the first finding in file order; under the critical section */
	uint64_t first_offset;
	aqz_error *err;
	uint64_t memory_bytes; /* of a thread; 0 = no limit */
} verify_job;

static void finding(verify_job *job, uint32_t section, uint32_t chunk, const aqz_error *what)
{
#pragma omp critical(aqz_verify_finding)
	{
		/* The finding that stands first in the file is the one returned, whatever thread was
		 * faster. */
		if (job->first == AQZ_OK || what->offset < job->first_offset) {
			job->first = what->status;
			job->first_offset = what->offset;
			if (job->err != NULL)
				*job->err = *what;
		}
		if (job->report != NULL)
			job->report(job->report_user, section, chunk, what);
	}
}

/* A header in the file against the catalog's. */
static aqz_status compare_header(
	const aqz_reader *r, const aqz_placed_frame *f, const uint8_t *header, aqz_error *err)
{
	uint8_t due[AQZ_FRAME_HEADER_BYTES];
	aqz_frame ignored, frame = f->frame;
	aqz_frame_place(&frame, header);
	aqz_frame_write(due, &frame, r->catalog.superblock.id);
	if (memcmp(header, due, sizeof due) == 0)
		return AQZ_OK;
	aqz_status status = aqz_frame_read(&ignored, header, r->catalog.superblock.id, f->offset, err);
	return status != AQZ_OK ? status
							: aqz_fail(err, AQZ_E_CORRUPT, f->offset, "frame",
								  "the frame header is not the one that the index has");
}

/* What a thread keeps between frames. */
typedef struct verify_room {
	uint8_t *frame;
	size_t frame_bytes;
	aqz_cursor *cursor; /* of the section decoded last */
	uint32_t cursor_section;
	uint8_t *decoded;
	size_t decoded_bytes;
	aqz_digest *hash;
	uint8_t *piece; /* PIECE_BYTES */
} verify_room;

/* A frame is hashed as it is read, in pieces that stay in the second-level cache. */
enum { PIECE_BYTES = 1 << 17 };

static aqz_status check_stored(
	const aqz_reader *r, verify_room *room, const aqz_placed_frame *f, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const uint8_t *id = r->catalog.superblock.id;
	uint64_t padded = aqz_padded(f->frame.stored_bytes), total = AQZ_FRAME_HEADER_BYTES + padded,
			 tail = 0;
	if (room->hash == NULL)
		AQZ_TRY(aqz_hash_open(&room->hash, err));
	if (room->piece == NULL && (room->piece = malloc(PIECE_BYTES)) == NULL)
		AQZ_TRY(aqz_fail_nomem(err, PIECE_BYTES));
	aqz_hash_start(room->hash, aqz_frame_seed(id, f->frame.type, f->frame.section, f->frame.chunk));
	for (uint64_t at = 0; at < total;) {
		size_t n = (size_t)aqz_min(PIECE_BYTES, total - at),
			   skip = at == 0 ? AQZ_FRAME_HEADER_BYTES : 0;
		status = r->io.pread(r->io.user, room->piece, n, f->offset + at);
		if (status != AQZ_OK)
			AQZ_TRY(aqz_fail(err, status, f->offset + at, "frame",
				status == AQZ_E_TRUNCATED ? "the file ends within the frame" : "reading failed"));
		if (at == 0)
			AQZ_TRY(compare_header(r, f, room->piece, err));
		aqz_hash_add(room->hash, room->piece + skip, n - skip);
		/* Padding: the last bytes of the last pieces. */
		for (uint64_t k = n; k > skip && at + k > AQZ_FRAME_HEADER_BYTES + f->frame.stored_bytes; k--)
			tail |= room->piece[k - 1];
		at += n;
	}
	if (!aqz_hash_equal(aqz_hash_value(room->hash), f->frame.payload_hash))
		AQZ_TRY(aqz_fail(err, AQZ_E_CHECKSUM, f->offset, "frame.payload_hash",
			"stored bytes were changed after they were written"));
	if (tail != 0)
		AQZ_TRY(
			aqz_fail(err, AQZ_E_CORRUPT, f->offset, "frame.padding", "a padding byte is not zero"));
out:
	return status;
}

/* Each thread may use its part of the reader's memory. */
static aqz_status ensure(const verify_job *job, uint8_t **p, size_t *have, uint64_t n, aqz_error *err)
{
	if (n <= *have)
		return AQZ_OK;
	if (job->memory_bytes != 0 && n > job->memory_bytes)
		return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, "memory",
			"a thread may use %llu bytes and a frame has %llu",
			(unsigned long long)job->memory_bytes, (unsigned long long)n);
	uint8_t *fresh = aligned_alloc(64, (size_t)aqz_padded(n));
	if (fresh == NULL)
		return aqz_fail_nomem(err, n);
	free(*p);
	*p = fresh;
	*have = (size_t)n;
	return AQZ_OK;
}

/* Decodes a chunk as any reader would and compares its decoded hash: the cursor does both. */
static aqz_status check_decoded(
	verify_job *job, verify_room *room, const aqz_placed_frame *placed, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_catalog *c = &job->reader->catalog;
	const aqz_frame *f = &placed->frame;
	const aqz_section *s = c->sections[f->section];
	uint64_t begin, end, n_code_rows;
	if (room->cursor == NULL || room->cursor_section != f->section) {
		aqz_cursor_close(room->cursor);
		room->cursor = NULL;
		/* The first chunk is the largest. */
		const aqz_frame *first = &c->frames[c->chunks[s->first_chunk]].frame;
		AQZ_TRY(ensure(job, &room->decoded, &room->decoded_bytes, first->decoded_bytes, err));
		aqz_budget share = {.limit_bytes = job->memory_bytes,
			.used_bytes = (uint64_t)room->frame_bytes + room->decoded_bytes};
		AQZ_TRY(aqz_cursor_open_within(
			&room->cursor, job->reader, f->section, aqz_budget_rest(&share), err));
		room->cursor_section = f->section;
	}
	aqz_section_chunk_rows(s, f->chunk, &begin, &end, &n_code_rows);
	AQZ_TRY(aqz_cursor_read(room->cursor, begin, end, room->decoded, (size_t)f->decoded_bytes, err));
	if (job->reader->skip_decoded_hash) /* which is for reading: this call is asked to look */
		AQZ_TRY(aqz_chunk_check_decoded(placed, room->decoded, err));
out:
	return status;
}

static bool payload_is_zero(const uint8_t *p, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static void check_frame(verify_job *job, verify_room *room, uint32_t i)
{
	aqz_status status = AQZ_OK;
	const aqz_placed_frame *f = &job->reader->catalog.frames[i];
	bool is_chunk = f->frame.type == AQZ_FRAME_CHUNK;
	aqz_error err = {.status = AQZ_OK};
	if (job->level == AQZ_VERIFY_QUICK) {
		uint8_t header[AQZ_FRAME_HEADER_BYTES];
		status = job->reader->io.pread(job->reader->io.user, header, sizeof header, f->offset);
		if (status != AQZ_OK)
			AQZ_TRY(aqz_fail(&err, status, f->offset, "frame", "reading failed"));
		AQZ_TRY(compare_header(job->reader, f, header, &err));
	} else if (job->level == AQZ_VERIFY_STORED && is_chunk) {
		AQZ_TRY(check_stored(job->reader, room, f, &err));
	} else if (job->level == AQZ_VERIFY_FULL && is_chunk) {
		AQZ_TRY(check_decoded(job, room, f, &err));
	} else {
		AQZ_TRY(ensure(job, &room->frame, &room->frame_bytes,
			AQZ_FRAME_HEADER_BYTES + aqz_padded(f->frame.stored_bytes), &err));
		AQZ_TRY(aqz_frame_fetch(room->frame, &job->reader->io, &job->reader->catalog, f, &err));
		/* Frames that are never coded: the second hash is over the same bytes. */
		const uint8_t *payload = room->frame + AQZ_FRAME_HEADER_BYTES;
		if (!is_chunk && f->frame.coding == 0)
			AQZ_TRY(aqz_chunk_check_decoded(f, payload, &err));
		if (f->frame.type == AQZ_FRAME_PADDING && !payload_is_zero(payload, f->frame.stored_bytes))
			AQZ_TRY(aqz_fail(&err, AQZ_E_CORRUPT, f->offset, "frame.padding",
				"a padding frame holds something"));
	}
out:
	if (status == AQZ_E_NOMEM || status == AQZ_E_MEMLIMIT)
		atomic_store(&job->stop, true);
	if (status != AQZ_OK)
		finding(job, is_chunk ? f->frame.section : UINT32_MAX,
			is_chunk ? f->frame.chunk : UINT32_MAX, &err);
}

/* The superblock in the file against the footer's copy. */
static void check_superblock(verify_job *job)
{
	aqz_status status = AQZ_OK;
	const aqz_reader *r = job->reader;
	uint8_t super[AQZ_SUPERBLOCK_BYTES], due[AQZ_SUPERBLOCK_BYTES];
	aqz_superblock ignored;
	aqz_error err = {.status = AQZ_OK};
	status = r->io.pread(r->io.user, super, sizeof super, 0);
	if (status != AQZ_OK)
		AQZ_TRY(aqz_fail(&err, status, 0, "superblock", "reading failed"));
	aqz_superblock_write(due, &r->footer.superblock);
	if (memcmp(super, due, sizeof due) != 0) {
		AQZ_TRY(aqz_superblock_read(&ignored, super, &err));
		AQZ_TRY(aqz_fail(&err, AQZ_E_CORRUPT, 0, "superblock",
			"the superblock is not the one that the footer repeats"));
	}
out:
	if (status != AQZ_OK)
		finding(job, UINT32_MAX, UINT32_MAX, &err);
}

/* The frames between index and footer, which the index does not list. */
static void check_trailing(verify_job *job)
{
	aqz_status status = AQZ_OK;
	const aqz_reader *r = job->reader;
	const aqz_footer *footer = &r->footer;
	uint8_t header[AQZ_FRAME_HEADER_BYTES];
	verify_room room = {0};
	aqz_error err = {.status = AQZ_OK};
	uint64_t at =
		footer->index_offset + AQZ_FRAME_HEADER_BYTES + aqz_padded(footer->index_stored_bytes);
	uint64_t end = r->file.n_bytes - AQZ_FOOTER_BYTES;
	while (at < end) {
		aqz_placed_frame f = {.offset = at};
		if (end - at < AQZ_FRAME_HEADER_BYTES)
			AQZ_TRY(aqz_fail(
				&err, AQZ_E_CORRUPT, at, "frame", "bytes before the footer belong to no frame"));
		status = r->io.pread(r->io.user, header, sizeof header, at);
		if (status != AQZ_OK)
			AQZ_TRY(aqz_fail(&err, status, at, "frame", "reading failed"));
		AQZ_TRY(aqz_frame_read(&f.frame, header, r->catalog.superblock.id, at, &err));
		AQZ_TRY(aqz_frame_check_trailing(&f.frame, at, &err));
		if (aqz_padded(f.frame.stored_bytes) > end - at - AQZ_FRAME_HEADER_BYTES)
			AQZ_TRY(aqz_fail(&err, AQZ_E_CORRUPT, at + 24, "frame.size",
				"a frame between index and footer goes on into the footer"));
		uint64_t n = AQZ_FRAME_HEADER_BYTES + aqz_padded(f.frame.stored_bytes);
		AQZ_TRY(ensure(job, &room.frame, &room.frame_bytes, n, &err));
		AQZ_TRY(aqz_frame_fetch(room.frame, &r->io, &r->catalog, &f, &err));
		if (f.frame.coding == 0)
			AQZ_TRY(aqz_chunk_check_decoded(&f, room.frame + AQZ_FRAME_HEADER_BYTES, &err));
		at += n;
	}
out:
	free(room.frame);
	if (status != AQZ_OK)
		finding(job, UINT32_MAX, UINT32_MAX, &err);
}

/* Content digests of parameters and files, which only a full verification can compare. */
static void check_digests(verify_job *job)
{
	const aqz_catalog *c = &job->reader->catalog;
	verify_room room = {0};
	for (uint32_t i = 0; i < c->n_sections && !atomic_load(&job->stop); i++) {
		const aqz_section *s = c->sections[i];
		aqz_status status = AQZ_OK;
		aqz_error err = {.status = AQZ_OK};
		aqz_digest *digest = NULL;
		uint64_t content[2];
		if (s->info.kind == AQZ_KIND_TENSOR)
			continue;
		AQZ_TRY(aqz_digest_open(&digest, &err));
		for (uint32_t k = 0; k < s->info.n_chunks; k++) {
			const aqz_placed_frame *f = &c->frames[c->chunks[s->first_chunk + k]];
			AQZ_TRY(check_decoded(job, &room, f, &err));
			aqz_digest_add(digest, room.decoded, (size_t)f->frame.decoded_bytes);
			if (job->progress != NULL &&
				!job->progress(
					job->progress_user, job->reader->file.n_bytes, job->reader->file.n_bytes)) {
				job->cancelled = true;
				atomic_store(&job->stop, true);
				goto out;
			}
		}
		aqz_digest_close(digest, content);
		digest = NULL;
		if (!aqz_hash_equal(content[0], s->info.content[0]) ||
			!aqz_hash_equal(content[1], s->info.content[1])) {
			status = aqz_fail(&err, AQZ_E_CHECKSUM, job->reader->footer.index_offset,
				"index.digest", "the content digest of section %u differs", i);
			finding(job, i, UINT32_MAX, &err);
		}
		continue;
out:
		aqz_digest_close(digest, NULL);
		/* A chunk that does not decode was found already; but nothing is whole unseen. */
		if (status == AQZ_E_NOMEM || status == AQZ_E_MEMLIMIT || status == AQZ_E_IO)
			finding(job, i, UINT32_MAX, &err);
	}
	aqz_cursor_close(room.cursor);
	free(room.decoded);
}

/* The most memory that a thread needs, roughly: so many fit into a limit. */
static uint64_t thread_bytes(const aqz_reader *r, aqz_verify_level level)
{
	const aqz_catalog *c = &r->catalog;
	uint64_t most = PIECE_BYTES;
	for (uint32_t i = 0; i < c->n_frames; i++)
		if (c->frames[i].frame.type != AQZ_FRAME_CHUNK) {
			uint64_t n = AQZ_FRAME_HEADER_BYTES + aqz_padded(c->frames[i].frame.stored_bytes);
			most = n > most ? n : most;
		}
	uint64_t largest = 0;
	for (uint32_t i = 0; level == AQZ_VERIFY_FULL && i < c->n_sections; i++) {
		const aqz_section *s = c->sections[i];
		if (s->info.n_chunks == 0)
			continue;
		aqz_view view = aqz_section_view(s);
		uint64_t n = aqz_section_longest_frame(c, s) + s->codec->scratch_bytes(&view) +
			s->codec->decoder_bytes(&view) +
			c->frames[c->chunks[s->first_chunk]].frame.decoded_bytes;
		for (uint32_t k = 0; k < s->info.n_refs; k++)
			for (uint32_t j = 0; j < s->info.refs[k].count; j++)
				if (!aqz_add(&n, n, c->sections[s->info.refs[k].first + j]->info.decoded_bytes))
					return UINT64_MAX;
		largest = n > largest ? n : largest;
	}
	return most + aqz_min(largest, UINT64_MAX / 2);
}

aqz_status aqz_reader_verify(const aqz_reader *reader, aqz_verify_level level, unsigned n_threads,
	aqz_verify_fn *report, void *report_user, aqz_progress_fn *progress, void *progress_user,
	aqz_error *err)
{
	const aqz_catalog *c = &reader->catalog;
	verify_job job = {.reader = reader,
		.level = level,
		.report = report,
		.report_user = report_user,
		.progress = progress,
		.progress_user = progress_user,
		.err = err};
	if (level > AQZ_VERIFY_FULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "level", "there is no such level");
	n_threads = aqz_threads(n_threads);
	n_threads = (unsigned)aqz_min(n_threads, (uint64_t)c->n_frames + 1);
	job.memory_bytes = aqz_reader_budget(reader).limit_bytes;
	if (job.memory_bytes != 0) {
		uint64_t fit = job.memory_bytes / thread_bytes(reader, level);
		n_threads = fit == 0 ? 1 : (unsigned)aqz_min(n_threads, fit);
		job.memory_bytes /= n_threads;
	}
	check_superblock(&job);
	check_trailing(&job);
#pragma omp parallel num_threads(n_threads)
	{
		verify_room room = {0};
#pragma omp for schedule(dynamic, 1) nowait
		for (uint32_t i = 0; i < c->n_frames; i++) {
			if (atomic_load(&job.stop))
				continue;
			check_frame(&job, &room, i);
			uint64_t n = AQZ_FRAME_HEADER_BYTES + aqz_padded(c->frames[i].frame.stored_bytes);
			uint64_t done = atomic_fetch_add(&job.done_bytes, n) + n;
			/* Thread 0 is the calling one. */
			if (omp_get_thread_num() == 0 && progress != NULL &&
				!progress(progress_user, done, reader->file.n_bytes)) {
				job.cancelled = true;
				atomic_store(&job.stop, true);
			}
		}
		aqz_cursor_close(room.cursor);
		aqz_digest_close(room.hash, NULL);
		free(room.piece);
		free(room.frame);
		free(room.decoded);
	}
	if (level == AQZ_VERIFY_FULL && !atomic_load(&job.stop))
		check_digests(&job);
	if (job.cancelled)
		return aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "stopped");
	return job.first;
}
