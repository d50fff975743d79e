/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a container in one pass, spec 2.2: records before the chunks that they declare, index and
 * footer last. The catalog parses every record that is written, so that what the writer makes is
 * what a reader takes. */
#include "format/writer.h"
#include "format/inflate.h"

#define DEFAULT_CHUNK_BYTES (UINT64_C(4) << 20)
#define PARAM_RECORDS_BYTES (UINT64_C(1) << 20)

/* Remembers the first failure: after it the file cannot be continued. The catalog calls CORRUPT or
 * UNSUPPORTED what no file may hold; here it was the caller who asked for it. */
aqz_status aqz_writer_keep(aqz_writer *w, aqz_status status, aqz_error *err)
{
	if (status == AQZ_E_CORRUPT || status == AQZ_E_UNSUPPORTED) {
		status = AQZ_E_ARGUMENT;
		if (err != NULL) {
			err->status = status;
			err->offset = AQZ_NO_OFFSET;
		}
	}
	if (status != AQZ_OK && w->failed == AQZ_OK)
		w->failed = status;
	return status;
}

static aqz_status ready(const aqz_writer *w, bool declaring, aqz_error *err)
{
	if (w->failed != AQZ_OK)
		return aqz_fail(err, w->failed, AQZ_NO_OFFSET, "writer",
			"an earlier call failed; the file cannot be continued");
	if (declaring && w->current != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "writer",
			"%llu bytes of section %u are still to come",
			(unsigned long long)(w->due_bytes - w->put_bytes), w->current->info.number);
	return AQZ_OK;
}

aqz_status aqz_writer_open(
	aqz_writer **out, const aqz_io *io, const aqz_writer_options *opt, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	*out = NULL;
	if (io == NULL || io->write == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "io", "a writer needs write");
	if (opt == NULL || opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	if (opt->alignment != 0 && opt->alignment != 64 && opt->alignment != 4096)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.alignment",
			"the alignment is 64 or 4096, not %u", opt->alignment);
	if (opt->effort < 0 || opt->effort > 9)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.effort",
			"effort is 1 to 9, not %d", opt->effort);
	if (opt->chunk_bytes > AQZ_MAX_CHUNK_BYTES)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.chunk_bytes",
			"a chunk holds 64 MiB at most");
	aqz_writer *w = calloc(1, sizeof *w);
	if (w == NULL)
		return aqz_fail_nomem(err, sizeof *w);
	w->io = *io;
	w->opt = *opt;
	w->opt.n_threads = aqz_threads(opt->n_threads);
	w->opt.effort = opt->effort == 0 ? 5 : opt->effort;
	w->opt.chunk_bytes = opt->chunk_bytes == 0 ? DEFAULT_CHUNK_BYTES : opt->chunk_bytes;
	aqz_superblock super = {.major = AQZ_FORMAT_MAJOR, .minor = AQZ_FORMAT_MINOR};
	super.alignment_log2 = opt->alignment == 4096 ? 12 : 6;
	memcpy(super.id, opt->id, sizeof super.id);
	aqz_catalog_init(&w->catalog, &super, opt->memlimit_bytes);
	w->params.budget = &w->catalog.budget;
	w->hold_bytes = aqz_writer_hold_bytes(opt->memlimit_bytes);
	w->batch = calloc(w->opt.n_threads, sizeof *w->batch);
	if (w->batch == NULL)
		AQZ_TRY(aqz_fail_nomem(err, w->opt.n_threads * sizeof *w->batch));
	uint8_t bytes[AQZ_SUPERBLOCK_BYTES];
	aqz_superblock_write(bytes, &super);
	status = w->io.write(w->io.user, bytes, sizeof bytes);
	if (status != AQZ_OK)
		AQZ_TRY(aqz_fail(err, status, 0, "output", "writing failed"));
	*out = w;
	w = NULL;
out:
	aqz_writer_close(w);
	return status;
}

void aqz_writer_close(aqz_writer *writer)
{
	if (writer == NULL)
		return;
	aqz_budget *b = &writer->catalog.budget;
	aqz_writer_free_batch(writer);
	aqz_writer_free_held(writer);
	aqz_digest_close(writer->digest, NULL);
	aqz_params_free(&writer->params);
	aqz_names_free(&writer->contents, b);
	aqz_budget_free(b, writer->keys, (uint64_t)writer->keys_capacity * sizeof *writer->keys);
	aqz_buffer_free(&writer->records);
	aqz_catalog_free(&writer->catalog);
	free(writer);
}

/* The largest chunk of 64 * 2^k code rows within the target, and no larger than the section needs. */
uint32_t aqz_writer_chunk_rows(const aqz_writer *w, const aqz_section_info *s)
{
	uint64_t code_rows = aqz_ceil_div(s->rows, s->scheme.out_group);
	uint64_t unit_bits =
		(uint64_t)AQZ_TILE_ROWS * s->scheme.out_group * s->cols * aqz_dtype_bits(s->dtype);
	uint32_t rows = AQZ_TILE_ROWS;
	while (rows < code_rows && rows < UINT32_C(1) << 30 &&
		unit_bits / 8 * (rows / AQZ_TILE_ROWS) * 2 <= w->opt.chunk_bytes)
		rows *= 2;
	return rows;
}

/* ---- Parameters */

static void key_get(const void *owner, uint32_t number, const char **name, size_t *n)
{
	*name = (const char *)&((const aqz_writer *)owner)->keys[number];
	*n = sizeof(struct aqz_param_key);
}

static bool key_equal(const void *owner, uint32_t number, const char *name, size_t n)
{
	return memcmp(&((const aqz_writer *)owner)->keys[number], name, n) == 0;
}

static aqz_status add_key(
	aqz_writer *w, uint32_t section, const struct aqz_param_key *key, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_budget *b = &w->catalog.budget;
	if (section >= w->keys_capacity) {
		uint32_t capacity = w->keys_capacity == 0 ? 64 : w->keys_capacity;
		while (capacity <= section)
			capacity *= 2;
		void *fresh;
		AQZ_TRY(aqz_budget_alloc(
			b, &fresh, (uint64_t)capacity * sizeof *w->keys, "the table of parameters", err));
		if (w->keys_capacity > 0)
			memcpy(fresh, w->keys, w->keys_capacity * sizeof *w->keys);
		aqz_budget_free(b, w->keys, (uint64_t)w->keys_capacity * sizeof *w->keys);
		w->keys = fresh;
		w->keys_capacity = capacity;
	}
	w->keys[section] = *key;
	AQZ_TRY(aqz_names_add(&w->contents, b, key_get, w, section, err));
out:
	return status;
}

aqz_status aqz_writer_param(aqz_writer *writer, uint32_t *section, aqz_kind kind, aqz_dtype dtype,
	uint64_t rows, uint64_t cols, const void *data, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_writer *w = writer;
	uint64_t shape[2] = {rows, cols}, n_elements, n_bytes;
	AQZ_TRY(ready(w, true, err));
	if (data == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "data", "there are no parameters");
	if (kind < AQZ_KIND_CODEBOOK || kind > AQZ_KIND_PERMUTATION)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "kind", "kind %d is no parameter", (int)kind);
	if (!aqz_shape_size(&n_elements, &n_bytes, shape, 2, dtype) || n_bytes == 0)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "shape", "the parameters have no possible size");
	struct aqz_param_key key = {.rows = rows, .cols = cols, .kind = kind, .dtype = dtype};
	aqz_digest *d;
	AQZ_TRY(aqz_digest_open(&d, err));
	aqz_digest_add(d, data, (size_t)n_bytes);
	aqz_digest_close(d, key.content);
	if (aqz_names_find(&w->contents, key_equal, w, (const char *)&key, sizeof key, section))
		return AQZ_OK; /* 128 bits and the geometry agree: the same parameters */
	aqz_section_info info = {.kind = kind,
		.dtype = dtype,
		.rows = rows,
		.cols = cols,
		.name = "",
		.scheme = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1}};
	info.chunk_rows = aqz_writer_chunk_rows(w, &info);
	AQZ_TRY(aqz_writer_keep(w, aqz_writer_declare(w, &info, err), err));
	AQZ_TRY(aqz_writer_keep(w, aqz_params_add(&w->params, info.number, data, n_bytes, err), err));
	AQZ_TRY(aqz_writer_keep(w, add_key(w, info.number, &key, err), err));
	w->held_bytes += n_bytes;
	/* They are kept in any case, and stand best with the tensor that comes. */
	if (w->records.n > PARAM_RECORDS_BYTES)
		AQZ_TRY(aqz_writer_keep(w, aqz_writer_flush(w, err), err));
	*section = info.number;
out:
	return status;
}

/* ---- Files and tensors */

aqz_status aqz_writer_file(
	aqz_writer *writer, aqz_kind kind, const char *name, uint64_t n_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_writer *w = writer;
	AQZ_TRY(ready(w, true, err));
	if (kind < AQZ_KIND_FILE || kind > AQZ_KIND_METADATA)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "kind", "kind %d is no file", (int)kind);
	if (!aqz_file_name_ok(name, strlen(name)))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "name",
			"a file's name must be a base name of 1 to 255 bytes of UTF-8");
	aqz_section_info info = {.kind = kind,
		.dtype = AQZ_U8,
		.rows = n_bytes,
		.cols = 1,
		.name = name,
		.scheme = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1}};
	info.chunk_rows = aqz_writer_chunk_rows(w, &info);
	AQZ_TRY(aqz_writer_keep(w, aqz_writer_declare(w, &info, err), err));
	AQZ_TRY(aqz_writer_keep(w, aqz_writer_begin(w, info.number, err), err));
out:
	return status;
}

/* The coded view of a tensor, spec 5.3.2. A lossless one takes its last dimension as columns unless
 * a chunk of 64 rows would then be too large. */
static aqz_status choose_view(aqz_section_info *s, aqz_tensor_info *t, aqz_error *err)
{
	uint64_t n_bytes;
	if (!aqz_shape_size(&t->n_elements, &n_bytes, t->shape, t->rank, t->dtype))
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "shape", "the shape has no possible size");
	if (s->scheme.codec == AQZ_CODEC_LOSSLESS) {
		t->transposed = false;
		t->leading = t->rank >= 2 ? t->rank - 2 : 0;
		uint64_t cols = t->rank >= 2 ? t->shape[t->rank - 1] : 1;
		if (cols > AQZ_MAX_CHUNK_BYTES * 8 / AQZ_TILE_ROWS / aqz_dtype_bits(t->dtype))
			t->leading = t->rank - 1;
	}
	s->rows = s->cols = 1;
	for (uint32_t i = 0; i < t->rank; i++) {
		bool row = t->transposed ? i == t->rank - 1 : i <= t->leading;
		*(row ? &s->rows : &s->cols) *= t->shape[i];
	}
	if (!aqz_view_matches(t, s->rows, s->cols))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "leading",
			"a view of %u leading dimensions does not fit rank %u", t->leading, t->rank);
	return AQZ_OK;
}

/* A scheme from the caller as a reader would take it from a file. */
static aqz_status check_scheme(aqz_scheme *scheme, aqz_error *err)
{
	const aqz_codec *codec = aqz_codec_find((uint32_t)scheme->codec);
	uint8_t params[AQZ_CODEC_PARAMS_BYTES];
	if (codec == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor.scheme", "there is no codec %d",
			(int)scheme->codec);
	codec->params_write(params, scheme);
	if (codec->params_read(scheme, params, NULL) != AQZ_OK)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor.scheme",
			"no scheme has %u codebooks, %u bits, groups of %u x %u", scheme->n_codebooks,
			scheme->code_bits, scheme->out_group, scheme->in_group);
	return AQZ_OK;
}

/* A name that no tensor has yet. */
static aqz_status check_name(const aqz_writer *w, const char *name, size_t n, aqz_error *err)
{
	if (n == 0 || n > AQZ_MAX_NAME_BYTES || !aqz_text_ok(name, n))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor.name",
			"a name must be 1 to 1024 bytes of UTF-8 without control characters");
	if (aqz_catalog_find(&w->catalog, name, n) != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor.name",
			"there is a tensor \"%.*s\" already", (int)n, name);
	return AQZ_OK;
}

aqz_status aqz_writer_open_tensor(aqz_writer *w, uint32_t *section, const aqz_tensor_desc *tensor,
	uint64_t rows, uint64_t cols, uint32_t chunk_rows, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	AQZ_TRY(ready(w, true, err));
	if (tensor->struct_size != sizeof *tensor)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor.struct_size",
			"the description is of another version");
	if (tensor->rank > AQZ_MAX_RANK || tensor->n_refs > UINT16_MAX)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor",
			"a rank of %u or %u references is too much", tensor->rank, tensor->n_refs);
	AQZ_TRY(check_name(w, tensor->name, tensor->name_bytes, err));
	aqz_tensor_info t = {.name = tensor->name,
		.name_bytes = tensor->name_bytes,
		.dtype = tensor->dtype,
		.rank = tensor->rank,
		.leading = tensor->leading,
		.transposed = tensor->transposed,
		.measured = tensor->measured};
	memcpy(t.shape, tensor->shape, sizeof t.shape);
	aqz_section_info s = {.kind = AQZ_KIND_TENSOR,
		.dtype = tensor->dtype,
		.name = "",
		.scheme = tensor->scheme,
		.refs = tensor->refs,
		.n_refs = tensor->n_refs};
	AQZ_TRY(check_scheme(&s.scheme, err));
	if (s.scheme.codec == AQZ_CODEC_LOSSLESS)
		s.n_refs = 0;
	AQZ_TRY(choose_view(&s, &t, err));
	if (rows != 0 && (s.rows != rows || s.cols != cols))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor.shape",
			"the tensor's view is not the matrix that was coded");
	s.chunk_rows = chunk_rows != 0 ? chunk_rows : aqz_writer_chunk_rows(w, &s);
	AQZ_TRY(aqz_writer_keep(w, aqz_writer_declare(w, &s, err), err));
	t.section = s.number;
	AQZ_TRY(aqz_writer_keep(w, aqz_writer_declare_tensor(w, &t, err), err));
	AQZ_TRY(aqz_writer_keep(w, aqz_writer_begin(w, s.number, err), err));
	if (section != NULL)
		*section = s.number;
out:
	return status;
}

aqz_status aqz_writer_tensor(
	aqz_writer *writer, uint32_t *section, const aqz_tensor_desc *tensor, aqz_error *err)
{
	if (tensor->scheme.codec == AQZ_CODEC_TRELLIS)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor.scheme",
			"a trellis tensor has no bytes to be put");
	return aqz_writer_open_tensor(writer, section, tensor, 0, 0, 0, err);
}

aqz_status aqz_writer_alias(
	aqz_writer *writer, const char *name, size_t name_bytes, uint32_t tensor, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	AQZ_TRY(ready(writer, true, err));
	AQZ_TRY(check_name(writer, name, name_bytes, err));
	if (tensor >= writer->catalog.n_tensors)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "tensor", "there is no tensor %u yet", tensor);
	aqz_tensor_info t = writer->catalog.tensors[tensor]->info;
	t.name = name;
	t.name_bytes = name_bytes;
	AQZ_TRY(aqz_writer_keep(writer, aqz_writer_declare_tensor(writer, &t, err), err));
	if (writer->held_bytes + writer->records.n > writer->hold_bytes)
		AQZ_TRY(aqz_writer_keep(writer, aqz_writer_flush(writer, err), err));
out:
	return status;
}

aqz_status aqz_writer_put(aqz_writer *writer, const void *data, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	AQZ_TRY(ready(writer, false, err));
	if (n == 0)
		return AQZ_OK;
	if (writer->current == NULL || n > writer->due_bytes - writer->put_bytes)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "data", "more bytes than the section has");
	AQZ_TRY(aqz_writer_keep(writer, aqz_writer_feed(writer, data, n, err), err));
out:
	return status;
}

aqz_status aqz_writer_additive(
	aqz_writer *writer, const aqz_tensor_desc *tensor, const aqz_additive *a, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_tensor_desc t = *tensor;
	t.scheme = a->scheme;
	uint64_t dims = (uint64_t)a->scheme.in_group * a->scheme.out_group;
	uint64_t codewords;
	aqz_ref refs[3];
	AQZ_TRY(check_scheme(&t.scheme, err));
	codewords = (uint64_t)a->scheme.n_codebooks << a->scheme.code_bits;
	t.refs = refs;
	t.n_refs = 0;
	for (int i = 0; i < 3; i++)
		refs[i] = (aqz_ref){.count = 1, .row_begin = 0, .row_end = a->code_rows};
	refs[t.n_refs].kind = AQZ_KIND_CODEBOOK;
	AQZ_TRY(aqz_writer_param(writer, &refs[t.n_refs++].first, AQZ_KIND_CODEBOOK, a->codebook_dtype,
		codewords, dims, a->codebooks, err));
	if (a->codebook_dtype == AQZ_I8) {
		refs[t.n_refs].kind = AQZ_KIND_CODEBOOK_SCALES;
		AQZ_TRY(aqz_writer_param(writer, &refs[t.n_refs++].first, AQZ_KIND_CODEBOOK_SCALES, AQZ_F32,
			a->scheme.n_codebooks, dims, a->codebook_scales, err));
	}
	refs[t.n_refs].kind = AQZ_KIND_ROW_SCALES;
	AQZ_TRY(aqz_writer_param(writer, &refs[t.n_refs++].first, AQZ_KIND_ROW_SCALES, a->scale_dtype,
		a->code_rows, 1, a->scales, err));
	AQZ_TRY(aqz_writer_tensor(writer, NULL, &t, err));
	AQZ_TRY(aqz_writer_keep(writer, aqz_writer_put(writer, a->codes, a->codes_bytes, err), err));
	if (writer->current != NULL)
		status = aqz_writer_keep(writer,
			aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "codes",
				"fewer codes than the tensor's shape needs"),
			err);
out:
	return status;
}

aqz_status aqz_writer_copy(
	aqz_writer *w, const aqz_frame *f, uint8_t *payload, const void *decoded, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_frame copy = *f;
	AQZ_TRY(ready(w, false, err));
	AQZ_TRY(aqz_writer_flush(w, err));
	aqz_section *s = w->catalog.sections[w->catalog.section_next];
	bool is_tensor = s->info.kind == AQZ_KIND_TENSOR;
	if (!is_tensor && w->digest == NULL)
		AQZ_TRY(aqz_digest_open(&w->digest, err));
	AQZ_TRY(aqz_writer_frame(w, &copy, payload, err));
	if (!is_tensor)
		aqz_digest_add(w->digest, decoded, (size_t)f->decoded_bytes);
	if (!is_tensor && copy.chunk + 1 == s->info.n_chunks) {
		aqz_digest_close(w->digest, s->info.content);
		w->digest = NULL;
	}
out:
	if (status != AQZ_OK && w->failed == AQZ_OK)
		w->failed = status; /* as it is: salvage does not ask for what a file may not hold */
	return status;
}

/* ---- The end */

aqz_status aqz_writer_finish(aqz_writer *writer, uint64_t *n_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_writer *w = writer;
	aqz_catalog *c = &w->catalog;
	void *index = NULL, *stored = NULL;
	uint64_t n = 0;
	status = ready(w, true, err);
	if (status != AQZ_OK)
		return status; /* too early, perhaps: the rest may still come */
	AQZ_TRY(aqz_writer_flush(w, err));
	AQZ_TRY(aqz_catalog_complete(c, err));
	AQZ_TRY(aqz_digest_empty_sections(c, err)); /* of what was declared by salvage */
	n = aqz_index_bytes(c);
	if (n > AQZ_MAX_INDEX_BYTES)
		AQZ_TRY(aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "index",
			"the index would be longer than 256 MiB"));
	AQZ_TRY(aqz_budget_alloc(&c->budget, &index, n, "the index", err));
	AQZ_TRY(aqz_budget_alloc(&c->budget, &stored, aqz_padded(n), "the index", err));
	aqz_index_write(index, c);
	aqz_frame f = {
		.type = AQZ_FRAME_INDEX, .decoded_bytes = n, .decoded_hash = aqz_hash(index, (size_t)n, 0)};
	AQZ_TRY(aqz_index_deflate(stored, &f, index, (size_t)n, c->offset, err));
	aqz_footer footer = {.index_offset = c->offset,
		.index_stored_bytes = f.stored_bytes,
		.index_decoded_bytes = n,
		.superblock = c->superblock};
	footer.file_bytes =
		c->offset + AQZ_FRAME_HEADER_BYTES + aqz_padded(f.stored_bytes) + AQZ_FOOTER_BYTES;
	AQZ_TRY(aqz_root(footer.root, &c->superblock, index, n, err));
	AQZ_TRY(aqz_writer_frame(w, &f, stored, err));
	uint8_t bytes[AQZ_FOOTER_BYTES];
	aqz_footer_write(bytes, &footer);
	status = w->io.write(w->io.user, bytes, sizeof bytes);
	if (status != AQZ_OK)
		AQZ_TRY(aqz_fail(err, status, c->offset, "output", "writing failed"));
	if (n_bytes != NULL)
		*n_bytes = footer.file_bytes;
out:
	aqz_budget_free(&c->budget, stored, stored == NULL ? 0 : aqz_padded(n));
	aqz_budget_free(&c->budget, index, index == NULL ? 0 : n);
	/* Also after success: nothing may follow the footer. */
	aqz_writer_keep(w, status == AQZ_OK ? AQZ_E_ARGUMENT : status, NULL);
	return status;
}
