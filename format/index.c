/* SPDX-License-Identifier: Apache-2.0 */
/* The index: every frame with its hashes, every section's digest, every record; and the root over
 * it, spec 6.1 and 8.3. */
#include "format/catalog.h"

enum { RESERVED_AT = 12 };

uint64_t aqz_index_bytes(const aqz_catalog *c)
{
	return AQZ_INDEX_HEAD_BYTES + (uint64_t)c->n_frames * AQZ_INDEX_FRAME_BYTES +
		(uint64_t)c->n_sections * AQZ_DIGEST_BYTES + c->records_bytes;
}

aqz_status aqz_digest_empty_sections(aqz_catalog *c, aqz_error *err)
{
	uint64_t nothing[2];
	aqz_digest *d;
	aqz_status status = aqz_digest_open(&d, err);
	if (status != AQZ_OK)
		return status;
	aqz_digest_close(d, nothing);
	for (uint32_t i = 0; i < c->n_sections; i++)
		if (c->sections[i]->info.kind != AQZ_KIND_TENSOR && c->sections[i]->info.n_chunks == 0)
			memcpy(c->sections[i]->info.content, nothing, sizeof nothing);
	return AQZ_OK;
}

void aqz_index_write(uint8_t *out, const aqz_catalog *c)
{
	memset(out, 0, AQZ_INDEX_HEAD_BYTES);
	aqz_put32(out, c->n_frames);
	aqz_put32(out + 4, c->n_sections);
	aqz_put32(out + 8, c->n_tensors);
	aqz_put64(out + 16, c->n_chunks);
	aqz_put64(out + 24, c->records_bytes);
	out += AQZ_INDEX_HEAD_BYTES;
	for (uint32_t i = 0; i < c->n_frames; i++, out += AQZ_INDEX_FRAME_BYTES) {
		const aqz_frame *f = &c->frames[i].frame;
		aqz_put32(out, f->type);
		aqz_put16(out + 4, f->coding);
		aqz_put16(out + 6, f->flags);
		aqz_put32(out + 8, (uint32_t)f->stored_bytes);
		aqz_put32(out + 12, (uint32_t)f->decoded_bytes);
		aqz_put64(out + 16, f->payload_hash);
		aqz_put64(out + 24, f->decoded_hash);
	}
	for (uint32_t i = 0; i < c->n_sections; i++, out += AQZ_DIGEST_BYTES) {
		aqz_put64(out, c->sections[i]->info.content[0]);
		aqz_put64(out + 8, c->sections[i]->info.content[1]);
	}
	if (c->records_bytes > 0)
		memcpy(out, c->records, c->records_bytes);
}

aqz_status aqz_index_check_reserved(const uint8_t *payload, uint64_t index_offset, aqz_error *err)
{
	if (aqz_get32(payload + RESERVED_AT) == 0)
		return AQZ_OK;
	return aqz_fail(err, AQZ_E_UNSUPPORTED, index_offset + AQZ_FRAME_HEADER_BYTES + RESERVED_AT,
		"index.reserved", "a reserved field is not zero");
}

static aqz_status read_frames(aqz_catalog *c, const uint8_t *frames, uint32_t n_frames,
	const uint8_t *records, uint64_t records_bytes, uint64_t index_offset, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint64_t records_at = 0;
	for (uint32_t i = 0; i < n_frames; i++) {
		const uint8_t *p = frames + (size_t)i * AQZ_INDEX_FRAME_BYTES;
		aqz_frame f = {.type = aqz_get32(p),
			.coding = aqz_get16(p + 4),
			.flags = aqz_get16(p + 6),
			.stored_bytes = aqz_get32(p + 8),
			.decoded_bytes = aqz_get32(p + 12),
			.payload_hash = aqz_get64(p + 16),
			.decoded_hash = aqz_get64(p + 24)};
		if (f.stored_bytes > AQZ_MAX_CHUNK_BYTES || f.decoded_bytes > AQZ_MAX_CHUNK_BYTES)
			return aqz_fail(err, AQZ_E_CORRUPT, c->offset, "index.frame.size",
				"a frame may hold 64 MiB at most");
		aqz_catalog_expected(c, f.type, &f.section, &f.chunk);
		AQZ_TRY(aqz_catalog_frame(c, &f, err));
		/* Each frame has its place in the file, or a small file could ask for many and for long
		 * records. */
		if (c->offset > index_offset)
			return aqz_fail(err, AQZ_E_CORRUPT, index_offset, "index.frame",
				"frame %u of the index ends behind the index itself", i);
		if (f.type != AQZ_FRAME_RECORDS)
			continue;
		if (f.stored_bytes > records_bytes - records_at)
			return aqz_fail(err, AQZ_E_CORRUPT, c->offset, "index.records",
				"the index holds fewer records than its frames");
		/* Records are never coded: the decoded hash says that these are the ones in the frame. */
		if (!aqz_hash_equal(f.decoded_hash, aqz_hash(records + records_at, (size_t)f.stored_bytes, 0)))
			return aqz_fail(err, AQZ_E_CHECKSUM, c->offset, "index.records",
				"the index's records are not those of the frame");
		AQZ_TRY(aqz_catalog_records(c, records + records_at, f.stored_bytes, err));
		records_at += f.stored_bytes;
	}
	if (records_at != records_bytes)
		return aqz_fail(err, AQZ_E_CORRUPT, c->offset, "index.records",
			"the index holds more records than its frames");
	AQZ_TRY(aqz_catalog_complete(c, err));
out:
	return status;
}

aqz_status aqz_index_read(
	aqz_catalog *c, const uint8_t *payload, uint64_t n, uint64_t index_offset, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint64_t at = index_offset + AQZ_FRAME_HEADER_BYTES;
	if (n < AQZ_INDEX_HEAD_BYTES)
		return aqz_fail(err, AQZ_E_CORRUPT, at, "index", "an index of %llu bytes is too short",
			(unsigned long long)n);
	uint64_t n_frames = aqz_get32(payload), n_sections = aqz_get32(payload + 4),
			 records_bytes = aqz_get64(payload + 24);
	uint64_t fixed =
		AQZ_INDEX_HEAD_BYTES + n_frames * AQZ_INDEX_FRAME_BYTES + n_sections * AQZ_DIGEST_BYTES;
	AQZ_TRY(aqz_index_check_reserved(payload, index_offset, err));
	if (fixed > n || records_bytes != n - fixed)
		return aqz_fail(
			err, AQZ_E_CORRUPT, at, "index.n_frames", "the index's tables do not fill it");
	const uint8_t *frames = payload + AQZ_INDEX_HEAD_BYTES,
				  *digests = frames + n_frames * AQZ_INDEX_FRAME_BYTES;
	AQZ_TRY(read_frames(c, frames, (uint32_t)n_frames, digests + n_sections * AQZ_DIGEST_BYTES,
		records_bytes, index_offset, err));
	if (c->n_sections != n_sections || c->n_tensors != aqz_get32(payload + 8) ||
		c->n_chunks != aqz_get64(payload + 16))
		return aqz_fail(err, AQZ_E_CORRUPT, at + 4, "index.n_sections",
			"the index's counts are not those of its records");
	if (c->offset != index_offset)
		return aqz_fail(err, AQZ_E_CORRUPT, at, "index.frame",
			"the index's frames end at %llu, the index is at %llu", (unsigned long long)c->offset,
			(unsigned long long)index_offset);
	for (uint32_t i = 0; i < c->n_sections; i++) {
		aqz_section *s = c->sections[i];
		s->info.content[0] = aqz_get64(digests + (size_t)i * AQZ_DIGEST_BYTES);
		s->info.content[1] = aqz_get64(digests + (size_t)i * AQZ_DIGEST_BYTES + 8);
		s->content_known = true;
		if (s->info.kind == AQZ_KIND_TENSOR && (s->info.content[0] | s->info.content[1]) != 0)
			return aqz_fail(err, AQZ_E_CORRUPT, at, "index.digest",
				"section %u is a tensor's and has a digest", i);
	}
out:
	return status;
}

aqz_status aqz_root(uint64_t root[2], const aqz_superblock *superblock, const uint8_t *index,
	uint64_t n, aqz_error *err)
{
	uint8_t super[AQZ_SUPERBLOCK_BYTES];
	aqz_digest *d;
	aqz_status status = aqz_digest_open(&d, err);
	if (status != AQZ_OK)
		return status;
	aqz_superblock_write(super, superblock);
	aqz_digest_add(d, super, sizeof super);
	aqz_digest_add(d, index, n);
	aqz_digest_close(d, root);
	return AQZ_OK;
}
