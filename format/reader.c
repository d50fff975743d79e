/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a container at random: footer, index, and nothing else, spec 2.3. */
#include "format/reader.h"
#include "format/inflate.h"

/* The file does not end in our footer: says whether it is ours at all, too new, or cut short. */
static aqz_status explain(const aqz_reader *r, uint64_t file_bytes, aqz_status found, aqz_error *err)
{
	uint8_t super[AQZ_SUPERBLOCK_BYTES];
	aqz_superblock s;
	aqz_error first;
	size_t n = file_bytes < sizeof super ? (size_t)file_bytes : sizeof super;
	if (file_bytes == 0)
		return aqz_fail(err, AQZ_E_FORMAT, 0, "superblock.magic", "the file is empty");
	aqz_status status = r->io.pread(r->io.user, super, n, 0);
	if (status != AQZ_OK)
		return aqz_fail(err, status, 0, "superblock", "reading failed");
	if (!aqz_superblock_magic(super, n))
		return aqz_fail(err, AQZ_E_FORMAT, 0, "superblock.magic", "not an aqlmzip file");
	if (n < sizeof super)
		return aqz_fail(err, AQZ_E_TRUNCATED, n, "superblock", "the file ends within the superblock");
	status = aqz_superblock_read(&s, super, &first);
	if (status !=
		AQZ_OK) { /* a superblock that is too new or broken explains more than a missing footer */
		if (err != NULL)
			*err = first;
		return status;
	}
	return found;
}

static aqz_status read_footer(aqz_reader *r, aqz_error *err)
{
	uint8_t bytes[AQZ_FOOTER_BYTES];
	uint64_t file_bytes;
	aqz_status status = r->io.size(r->io.user, &file_bytes);
	if (status != AQZ_OK)
		return aqz_fail(err, status, AQZ_NO_OFFSET, "file", "the size of the file is not known");
	r->file.n_bytes = file_bytes;
	if (file_bytes < AQZ_SUPERBLOCK_BYTES + AQZ_FRAME_HEADER_BYTES + AQZ_FOOTER_BYTES)
		return explain(r, file_bytes,
			aqz_fail(err, AQZ_E_TRUNCATED, file_bytes, "file",
				"a file of %llu bytes has no room for an index", (unsigned long long)file_bytes),
			err);
	status = r->io.pread(r->io.user, bytes, sizeof bytes, file_bytes - sizeof bytes);
	if (status != AQZ_OK)
		return aqz_fail(err, status, file_bytes - sizeof bytes, "footer", "reading failed");
	status = aqz_footer_read(&r->footer, bytes, file_bytes, err);
	return status == AQZ_OK ? AQZ_OK : explain(r, file_bytes, status, err);
}

static aqz_status read_index(aqz_reader *r, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_footer *f = &r->footer;
	uint64_t n = AQZ_FRAME_HEADER_BYTES + aqz_padded(f->index_stored_bytes),
			 payload_at = f->index_offset + AQZ_FRAME_HEADER_BYTES;
	aqz_budget *budget = &r->catalog.budget; /* the catalog grows beside what is held here */
	void *stored = NULL, *decoded = NULL;
	aqz_frame frame;
	uint64_t root[2];
	/* 64 bytes of a frame give 32 of the index, and 56 of a section's record that and 16 more: no
	 * index is longer than twice what it is about, so memory is in proportion to the file. */
	if (f->index_decoded_bytes > AQZ_INDEX_HEAD_BYTES + 2 * (f->index_offset - AQZ_SUPERBLOCK_BYTES))
		return aqz_fail(err, AQZ_E_CORRUPT, f->index_offset, "index.frame",
			"an index of %llu bytes is longer than any of the frames before it can be",
			(unsigned long long)f->index_decoded_bytes);
	AQZ_TRY(aqz_budget_alloc(budget, &stored, n, "the index", err));
	status = r->io.pread(r->io.user, stored, n, f->index_offset);
	if (status != AQZ_OK)
		AQZ_TRY(aqz_fail(err, status, f->index_offset, "index", "reading failed"));
	AQZ_TRY(aqz_frame_read(&frame, stored, f->superblock.id, f->index_offset, err));
	if (frame.type != AQZ_FRAME_INDEX || frame.flags != 0 ||
		frame.stored_bytes != f->index_stored_bytes || frame.decoded_bytes != f->index_decoded_bytes)
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, f->index_offset, "index.frame",
			"the frame that the footer names is no index of that size"));
	const uint8_t *payload = (const uint8_t *)stored + AQZ_FRAME_HEADER_BYTES;
	AQZ_TRY(aqz_frame_check_payload(&frame, payload, f->superblock.id, payload_at, err));
	AQZ_TRY(aqz_budget_alloc(budget, &decoded, frame.decoded_bytes, "the index", err));
	AQZ_TRY(aqz_index_inflate(decoded, &frame, payload, payload_at, err));
	aqz_budget_free(budget, stored, n);
	stored = NULL;
	AQZ_TRY(aqz_root(root, &f->superblock, decoded, frame.decoded_bytes, err));
	if (!aqz_hash_equal(root[0], f->root[0]) || !aqz_hash_equal(root[1], f->root[1]))
		/* The superblock may say more than the footer repeats of it. */
		AQZ_TRY(explain(r, r->file.n_bytes,
			aqz_fail(err, AQZ_E_CHECKSUM, r->file.n_bytes - AQZ_FOOTER_PAYLOAD_BYTES + 32,
				"footer.root", "the root over all digests differs"),
			err));
	AQZ_TRY(aqz_index_read(&r->catalog, decoded, frame.decoded_bytes, f->index_offset, err));
	uint32_t section, chunk;
	aqz_catalog_expected(&r->catalog, AQZ_FRAME_INDEX, &section, &chunk);
	if (frame.section != section || frame.chunk != chunk)
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, f->index_offset + 8, "index.frame",
			"the index frame's numbers are not the counts"));
out:
	aqz_budget_free(budget, decoded, decoded == NULL ? 0 : frame.decoded_bytes);
	aqz_budget_free(budget, stored, stored == NULL ? 0 : n);
	return status;
}

static void describe(aqz_reader *r)
{
	aqz_file_info *i = &r->file;
	const aqz_superblock *s = &r->footer.superblock;
	i->major = s->major;
	i->minor = s->minor;
	i->features_read = s->features_read;
	i->features_write = s->features_write;
	i->features_optional = s->features_optional;
	memcpy(i->id, s->id, sizeof i->id);
	i->alignment = UINT32_C(1) << s->alignment_log2;
	i->root[0] = r->footer.root[0];
	i->root[1] = r->footer.root[1];
	i->n_sections = r->catalog.n_sections;
	i->n_tensors = r->catalog.n_tensors;
	i->n_chunks = r->catalog.n_chunks;
}

aqz_status aqz_reader_open(
	aqz_reader **out, const aqz_io *io, const aqz_reader_options *opt, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	if (out == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "out", "out is NULL");
	*out = NULL;
	if (io == NULL || io->pread == NULL || io->size == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "io", "a reader needs pread and size");
	if (opt != NULL && opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	aqz_reader *r = calloc(1, sizeof *r);
	if (r == NULL)
		return aqz_fail_nomem(err, sizeof *r);
	r->io = *io;
	if (opt != NULL) {
		r->memlimit_bytes = opt->memlimit_bytes;
		r->skip_decoded_hash = opt->skip_decoded_hash;
	}
	AQZ_TRY(read_footer(r, err));
	aqz_catalog_init(&r->catalog, &r->footer.superblock, r->memlimit_bytes);
	AQZ_TRY(read_index(r, err));
	describe(r);
	*out = r;
	r = NULL;
out:
	aqz_reader_close(r);
	return status;
}

void aqz_reader_close(aqz_reader *reader)
{
	if (reader == NULL)
		return;
	aqz_catalog_free(&reader->catalog);
	free(reader);
}

aqz_budget aqz_budget_rest(const aqz_budget *b)
{
	/* A limit of 0 means none; 1 byte refuses everything. */
	uint64_t limit = b->limit_bytes, used = b->used_bytes;
	return (aqz_budget){.limit_bytes = limit == 0 ? 0 : limit > used ? limit - used : 1};
}

aqz_budget aqz_reader_budget(const aqz_reader *r)
{
	return aqz_budget_rest(&r->catalog.budget);
}

const aqz_file_info *aqz_reader_file(const aqz_reader *reader)
{
	return &reader->file;
}

const aqz_tensor_info *aqz_reader_tensor(const aqz_reader *reader, uint32_t i)
{
	return i < reader->catalog.n_tensors ? &reader->catalog.tensors[i]->info : NULL;
}

const aqz_tensor_info *aqz_reader_find(const aqz_reader *reader, const char *name, size_t name_bytes)
{
	const aqz_tensor *t = aqz_catalog_find(&reader->catalog, name, name_bytes);
	return t == NULL ? NULL : &t->info;
}

const aqz_section_info *aqz_reader_section(const aqz_reader *reader, uint32_t i)
{
	return i < reader->catalog.n_sections ? &reader->catalog.sections[i]->info : NULL;
}
