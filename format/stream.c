/* SPDX-License-Identifier: Apache-2.0 */
/* The push decoder: a container from a pipe, in pieces of any size, with the memory of one chunk
 * (and the parameter sections), spec 2.3. The same catalog as the random reader's checks the order
 * of frames; at the end the index must be, byte for byte, the one that these frames give. */
#include "format/inflate.h"
#include "format/params.h"

typedef enum stream_state { AT_SUPERBLOCK, AT_HEADER, AT_PAYLOAD, AT_END } stream_state;

struct aqz_stream {
	aqz_stream_events events;
	uint64_t memlimit_bytes;
	bool skip_decoded_hash;
	aqz_catalog catalog;
	bool has_catalog;
	stream_state state;
	uint8_t *buffer; /* superblock, or frame header and payload */
	uint64_t capacity, have, need;
	uint64_t taken;	 /* bytes of the file before buffer[0] */
	aqz_frame frame; /* whose payload is awaited */
	aqz_params params;
	aqz_chunk_decoder decoder; /* of the current section */
	uint8_t *decoded;
	uint64_t decoded_capacity;
	aqz_digest *digest; /* of the current section, unless it is a tensor's */
	bool index_seen;
	uint64_t index_offset, index_stored_bytes, index_decoded_bytes, root[2];
	aqz_error failed; /* status AQZ_OK: not yet */
};

static aqz_status room(
	aqz_stream *s, uint8_t **p, uint64_t *capacity, uint64_t n, uint64_t keep, aqz_error *err)
{
	if (n <= *capacity)
		return AQZ_OK;
	void *fresh;
	aqz_status status = aqz_budget_alloc(&s->catalog.budget, &fresh, n, "a frame", err);
	if (status != AQZ_OK)
		return status;
	if (keep > 0)
		memcpy(fresh, *p, keep);
	aqz_budget_free(&s->catalog.budget, *p, *capacity);
	*p = fresh;
	*capacity = n;
	return AQZ_OK;
}

static aqz_status stopped(aqz_status status, uint64_t offset, aqz_error *err)
{
	return status == AQZ_OK
		? AQZ_OK
		: aqz_fail(err, status, offset, "stream", "the receiver of the stream stopped it");
}

static aqz_status take_superblock(aqz_stream *s, aqz_error *err)
{
	aqz_superblock super;
	aqz_status status = aqz_superblock_read(&super, s->buffer, err);
	if (status != AQZ_OK)
		return status;
	/* What the buffer holds stays counted. */
	aqz_budget budget = s->catalog.budget;
	aqz_catalog_init(&s->catalog, &super, s->memlimit_bytes);
	s->catalog.budget = budget;
	s->has_catalog = true;
	s->state = AT_HEADER;
	s->need = AQZ_FRAME_HEADER_BYTES;
	return AQZ_OK;
}

/* Declares what a records frame holds. */
static aqz_status take_records(aqz_stream *s, const uint8_t *payload, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_catalog *c = &s->catalog;
	uint32_t section = c->n_sections, tensor = c->n_tensors;
	AQZ_TRY(aqz_catalog_records(c, payload, s->frame.stored_bytes, err));
	for (; section < c->n_sections; section++)
		if (s->events.section != NULL)
			AQZ_TRY(stopped(
				s->events.section(s->events.user, &c->sections[section]->info), s->taken, err));
	for (; tensor < c->n_tensors; tensor++)
		if (s->events.tensor != NULL)
			AQZ_TRY(
				stopped(s->events.tensor(s->events.user, &c->tensors[tensor]->info), s->taken, err));
out:
	return status;
}

static aqz_status take_chunk(aqz_stream *s, const uint8_t *payload, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_catalog *c = &s->catalog;
	aqz_section *section = c->sections[s->frame.section];
	const aqz_placed_frame *f = &c->frames[c->n_frames - 1];
	bool is_tensor = section->info.kind == AQZ_KIND_TENSOR;
	bool is_param =
		section->info.kind >= AQZ_KIND_CODEBOOK && section->info.kind <= AQZ_KIND_PERMUTATION;
	uint64_t begin, end, n_code_rows, n = s->frame.decoded_bytes;
	if (s->frame.chunk == 0) {
		aqz_chunk_decoder_close(&s->decoder);
		AQZ_TRY(aqz_params_decoder(&s->params, &s->decoder, c, section, &c->budget, err));
		if (!is_tensor)
			AQZ_TRY(aqz_digest_open(&s->digest, err));
	}
	aqz_section_chunk_rows(section, s->frame.chunk, &begin, &end, &n_code_rows);
	AQZ_TRY(room(s, &s->decoded, &s->decoded_capacity, n, 0, err));
	AQZ_TRY(aqz_chunk_decode(&s->decoder, f, payload, begin, end, s->decoded, err));
	if (!s->skip_decoded_hash)
		AQZ_TRY(aqz_chunk_check_decoded(f, s->decoded, err));
	if (!is_tensor)
		aqz_digest_add(s->digest, s->decoded, (size_t)n);
	if (is_param)
		AQZ_TRY(aqz_params_add(&s->params, section->info.number, s->decoded, n, err));
	if (s->events.rows != NULL)
		AQZ_TRY(stopped(s->events.rows(s->events.user, &section->info, begin, end - begin,
							s->decoded, (size_t)n),
			s->taken, err));
	if (s->frame.chunk + 1 == section->info.n_chunks) {
		aqz_chunk_decoder_close(&s->decoder);
		if (!is_tensor) {
			aqz_digest_close(s->digest, section->info.content);
			s->digest = NULL;
		}
	}
out:
	return status;
}

static aqz_status take_index(aqz_stream *s, const uint8_t *payload, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_catalog *c = &s->catalog;
	uint32_t section, chunk;
	uint64_t n = s->frame.decoded_bytes;
	void *decoded = NULL, *due = NULL;
	AQZ_TRY(aqz_catalog_complete(c, err));
	AQZ_TRY(aqz_digest_empty_sections(c, err));
	aqz_catalog_expected(c, AQZ_FRAME_INDEX, &section, &chunk);
	if (s->frame.section != section || s->frame.chunk != chunk || s->frame.flags != 0 ||
		n != aqz_index_bytes(c))
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, s->taken, "index.frame",
			"the index is not that of the frames before it"));
	AQZ_TRY(aqz_budget_alloc(&c->budget, &decoded, n, "the index", err));
	AQZ_TRY(aqz_budget_alloc(&c->budget, &due, n, "the index", err));
	AQZ_TRY(aqz_index_inflate(decoded, &s->frame, payload, s->taken + AQZ_FRAME_HEADER_BYTES, err));
	AQZ_TRY(aqz_index_check_reserved(decoded, s->taken, err));
	aqz_index_write(due, c);
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	if (memcmp(decoded, due, n) != 0)
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, s->taken, "index",
			"the index is not that of the frames before it"));
#endif
	AQZ_TRY(aqz_root(s->root, &c->superblock, due, n, err));
	s->index_seen = true;
	s->index_offset = s->taken;
	s->index_stored_bytes = s->frame.stored_bytes;
	s->index_decoded_bytes = n;
out:
	aqz_budget_free(&c->budget, due, due == NULL ? 0 : n);
	aqz_budget_free(&c->budget, decoded, decoded == NULL ? 0 : n);
	return status;
}

static aqz_status take_footer(aqz_stream *s, aqz_error *err)
{
	aqz_footer footer;
	aqz_status status = aqz_footer_read(&footer, s->buffer, s->taken + AQZ_FOOTER_BYTES, err);
	uint8_t here[AQZ_SUPERBLOCK_BYTES], there[AQZ_SUPERBLOCK_BYTES];
	if (status != AQZ_OK)
		return status;
	aqz_superblock_write(here, &footer.superblock);
	aqz_superblock_write(there, &s->catalog.superblock);
	if (footer.index_offset != s->index_offset || footer.index_stored_bytes != s->index_stored_bytes ||
		footer.index_decoded_bytes != s->index_decoded_bytes || memcmp(here, there, sizeof here) != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, s->taken, "footer",
			"the footer does not repeat superblock and index");
	if (!aqz_hash_equal(footer.root[0], s->root[0]) || !aqz_hash_equal(footer.root[1], s->root[1]))
		return aqz_fail(
			err, AQZ_E_CHECKSUM, s->taken, "footer.root", "the root over all digests differs");
	s->state = AT_END;
	return AQZ_OK;
}

static aqz_status take_header(aqz_stream *s, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_frame *f = &s->frame;
	AQZ_TRY(aqz_frame_read(f, s->buffer, s->catalog.superblock.id, s->taken, err));
	if (f->type == AQZ_FRAME_INDEX || f->type == AQZ_FRAME_FOOTER) {
		if (s->index_seen != (f->type == AQZ_FRAME_FOOTER))
			AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, s->taken, "frame.type",
				"index and footer must come last, in this order"));
		if (f->type == AQZ_FRAME_FOOTER && f->stored_bytes != AQZ_FOOTER_PAYLOAD_BYTES)
			AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, s->taken + 24, "footer.frame",
				"a footer has %d bytes", AQZ_FOOTER_PAYLOAD_BYTES));
		/* Before there is room for it: the frames so far say how long it is. */
		if (f->type == AQZ_FRAME_INDEX)
			AQZ_TRY(aqz_catalog_complete(&s->catalog, err));
		if (f->type == AQZ_FRAME_INDEX &&
			(f->decoded_bytes != aqz_index_bytes(&s->catalog) || f->stored_bytes > f->decoded_bytes))
			AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, s->taken + 24, "index.frame",
				"the index has not the length that the frames before it give"));
	} else if (s->index_seen) {
		AQZ_TRY(aqz_frame_check_trailing(f, s->taken, err));
	} else {
		AQZ_TRY(aqz_catalog_frame(&s->catalog, f, err));
	}
	s->state = AT_PAYLOAD;
	s->need = AQZ_FRAME_HEADER_BYTES + aqz_padded(f->stored_bytes);
	AQZ_TRY(room(s, &s->buffer, &s->capacity, s->need, s->have, err));
out:
	return status;
}

static aqz_status take_payload(aqz_stream *s, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const uint8_t *payload = s->buffer + AQZ_FRAME_HEADER_BYTES;
	const aqz_frame *f = &s->frame;
	uint64_t n = s->need;
	AQZ_TRY(aqz_frame_check_payload(
		f, payload, s->catalog.superblock.id, s->taken + AQZ_FRAME_HEADER_BYTES, err));
	if (f->type == AQZ_FRAME_CHUNK) {
		AQZ_TRY(take_chunk(s, payload, err));
	} else if (f->type == AQZ_FRAME_INDEX) {
		AQZ_TRY(take_index(s, payload, err));
	} else if (f->type == AQZ_FRAME_FOOTER) {
		AQZ_TRY(take_footer(s, err));
	} else if (f->coding == 0) { /* records, padding, and ancillary frames that are not coded */
		if (!aqz_hash_equal(f->decoded_hash, aqz_hash(payload, (size_t)f->stored_bytes, 0)))
			AQZ_TRY(aqz_fail(err, AQZ_E_CHECKSUM, s->taken + 48, "frame.decoded_hash",
				"the second hash of the frame differs"));
		for (uint64_t i = 0; f->type == AQZ_FRAME_PADDING && i < f->stored_bytes; i++)
			if (payload[i] != 0)
				AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, s->taken, "frame.padding",
					"a padding frame holds something"));
		if (f->type == AQZ_FRAME_RECORDS)
			AQZ_TRY(take_records(s, payload, err));
	}
	s->taken += n;
	s->have = 0;
	if (s->state == AT_PAYLOAD) {
		s->state = AT_HEADER;
		s->need = AQZ_FRAME_HEADER_BYTES;
	}
out:
	return status;
}

aqz_status aqz_stream_open(aqz_stream **out, const aqz_stream_events *events,
	const aqz_reader_options *opt, aqz_error *err)
{
	*out = NULL;
	if (opt != NULL && opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	aqz_stream *s = calloc(1, sizeof *s);
	if (s == NULL)
		return aqz_fail_nomem(err, sizeof *s);
	if (events != NULL)
		s->events = *events;
	if (opt != NULL) {
		s->memlimit_bytes = opt->memlimit_bytes;
		s->skip_decoded_hash = opt->skip_decoded_hash;
	}
	s->catalog.budget.limit_bytes = s->memlimit_bytes;
	s->params.budget = &s->catalog.budget;
	s->need = AQZ_SUPERBLOCK_BYTES;
	aqz_status status = room(s, &s->buffer, &s->capacity, AQZ_SUPERBLOCK_BYTES, 0, err);
	if (status != AQZ_OK)
		free(s);
	else
		*out = s;
	return status;
}

static aqz_status fail_for_ever(aqz_stream *s, aqz_error *err)
{
	if (err != NULL)
		*err = s->failed;
	return s->failed.status;
}

aqz_status aqz_stream_push(aqz_stream *stream, const void *data, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const uint8_t *p = data;
	aqz_stream *s = stream;
	if (s->failed.status != AQZ_OK)
		return fail_for_ever(s, err);
	while (n > 0 && status == AQZ_OK) {
		if (s->state == AT_END) {
			status = aqz_fail(&s->failed, AQZ_E_CORRUPT, s->taken, "file", "bytes follow the footer");
			break;
		}
		size_t part = (size_t)aqz_min(n, s->need - s->have);
		memcpy(s->buffer + s->have, p, part);
		s->have += part;
		p += part;
		n -= part;
		if (s->have < s->need)
			break;
		if (s->state == AT_SUPERBLOCK) {
			status = take_superblock(s, &s->failed);
			s->taken = AQZ_SUPERBLOCK_BYTES;
			s->have = 0;
		} else if (s->state == AT_HEADER) {
			status = take_header(s, &s->failed);
		}
		if (status == AQZ_OK && s->state == AT_PAYLOAD &&
			s->have == s->need) /* at once if the payload is empty */
			status = take_payload(s, &s->failed);
	}
	return status == AQZ_OK ? AQZ_OK : fail_for_ever(s, err);
}

aqz_status aqz_stream_finish(aqz_stream *stream, aqz_error *err)
{
	aqz_stream *s = stream;
	if (s->failed.status != AQZ_OK)
		return fail_for_ever(s, err);
	if (s->state == AT_END)
		return AQZ_OK;
	/* Few bytes, and not ours: the more helpful word. */
	if (s->state == AT_SUPERBLOCK && !aqz_superblock_magic(s->buffer, s->have))
		aqz_fail(&s->failed, AQZ_E_FORMAT, 0, "superblock.magic",
			s->have == 0 ? "the file is empty" : "not an aqlmzip file");
	else
		aqz_fail(&s->failed, AQZ_E_TRUNCATED, s->taken + s->have, "file",
			"the file ends before its footer");
	return fail_for_ever(s, err);
}

void aqz_stream_close(aqz_stream *stream)
{
	if (stream == NULL)
		return;
	aqz_budget *b = &stream->catalog.budget;
	aqz_chunk_decoder_close(&stream->decoder);
	aqz_digest_close(stream->digest, NULL);
	aqz_params_free(&stream->params);
	aqz_budget_free(b, stream->buffer, stream->capacity);
	aqz_budget_free(b, stream->decoded, stream->decoded_capacity);
	if (stream->has_catalog)
		aqz_catalog_free(&stream->catalog);
	free(stream);
}
