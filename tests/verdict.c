/* SPDX-License-Identifier: Apache-2.0 */
/* What the two readers say about a file, and whether it holds what a sample should. */
#include "tests/support.h"

aqz_status reader_verdict(
	memory_file *f, aqz_verify_level level, uint64_t memlimit_bytes, aqz_error *err)
{
	const aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = memlimit_bytes};
	aqz_status status;
	aqz_reader *r;
	aqz_io io;

	memory_io(&io, f);
	status = aqz_reader_open(&r, &io, &opt, err);
	if (status == AQZ_OK)
		status = aqz_reader_verify(r, level, 1, NULL, NULL, NULL, NULL, err);
	aqz_reader_close(r);
	return status;
}

static aqz_status push_all(aqz_stream *s, const memory_file *f, size_t piece, aqz_error *err)
{
	size_t at = 0;
	aqz_status status = AQZ_OK;

	if (piece == 0)
		piece = f->n + 1;
	while (at < f->n && status == AQZ_OK) {
		const size_t n = f->n - at < piece ? f->n - at : piece;
		/* A copy of just this size, so that a read beyond the piece is seen. */
		uint8_t *copy = malloc(n);

		SURE(copy != NULL);
		memcpy(copy, f->data + at, n);
		status = aqz_stream_push(s, copy, n, err);
		free(copy);
		at += n;
	}
	return status == AQZ_OK ? aqz_stream_finish(s, err) : status;
}

aqz_status stream_verdict(const memory_file *f, size_t piece, uint64_t memlimit_bytes, aqz_error *err)
{
	const aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = memlimit_bytes};
	aqz_stream *s;
	aqz_status status = aqz_stream_open(&s, NULL, &opt, err);

	if (status == AQZ_OK)
		status = push_all(s, f, piece, err);
	aqz_stream_close(s);
	return status;
}

/* ---- What a stream gives */

static aqz_status on_section(void *user, const aqz_section_info *info)
{
	collected *c = user;

	SURE(c->n_sections < 64 && info->number == c->n_sections);
	c->sections[c->n_sections].due = (size_t)info->decoded_bytes;
	c->sections[c->n_sections++].data = malloc((size_t)info->decoded_bytes + 1);
	return AQZ_OK;
}

static aqz_status on_tensor(void *user, const aqz_tensor_info *info)
{
	collected *c = user;

	SURE(c->n_tensors < 64 && info->number == c->n_tensors && info->section < c->n_sections);
	snprintf(c->tensors[c->n_tensors].name, sizeof c->tensors->name, "%s", info->name);
	c->tensors[c->n_tensors++].section = info->section;
	return AQZ_OK;
}

static aqz_status on_rows(void *user, const aqz_section_info *info, uint64_t row_begin,
	uint64_t n_rows, const void *data, size_t n_bytes)
{
	collected *c = user;
	const size_t at = c->sections[info->number].n;

	SURE(row_begin * info->cols * aqz_dtype_bits(info->dtype) / 8 == at);
	SURE(n_rows * info->cols * aqz_dtype_bits(info->dtype) / 8 == n_bytes);
	SURE(n_bytes <= c->sections[info->number].due - at);
	memcpy(c->sections[info->number].data + at, data, n_bytes);
	c->sections[info->number].n += n_bytes;
	return AQZ_OK;
}

aqz_stream_events collect_events(collected *c)
{
	return (aqz_stream_events){c, on_section, on_tensor, on_rows};
}

void collected_free(collected *c)
{
	for (uint32_t i = 0; i < c->n_sections; i++)
		free(c->sections[i].data);
	memset(c, 0, sizeof *c);
}

/* ---- Comparison with a sample */

static bool differ(const char *name, const char *what)
{
	fprintf(stderr, "%s: %s differs\n", name, what);
	return false;
}

static bool same_info(const sample_tensor *t, const aqz_tensor_info *i)
{
	if (i->dtype != t->dtype || i->rank != t->rank || memcmp(i->shape, t->shape, sizeof t->shape) != 0)
		return differ(t->name, "dtype or shape");
	if (i->n_bytes != t->n_bytes || i->alias != t->alias || i->transposed != t->transposed)
		return differ(t->name, "size, alias or transposed");
	if (i->name_bytes != strlen(t->name) || strlen(i->name) != i->name_bytes)
		return differ(t->name, "the length of the name");
	return true;
}

static bool same_tensor(const sample_tensor *t, const aqz_reader *r)
{
	const aqz_tensor_info *i = aqz_reader_find(r, t->name, strlen(t->name));
	uint8_t *got = malloc(t->n_bytes + 1);
	bool same = i != NULL && same_info(t, i);
	aqz_error err = {.text = ""};

	SURE(got != NULL);
	if (same && aqz_reader_read_tensor(r, i, got, t->n_bytes, &err) != AQZ_OK)
		same = differ(t->name, err.text);
	else if (same && memcmp(got, t->data, t->n_bytes) != 0)
		same = differ(t->name, "its data");
	free(got);
	return i != NULL ? same : differ(t->name, "its being there");
}

/* The section of a file, or NULL. */
static const aqz_section_info *find_file(const aqz_reader *r, const sample_file *f)
{
	const aqz_section_info *s;

	for (uint32_t i = 0; (s = aqz_reader_section(r, i)) != NULL; i++)
		if (s->kind == f->kind && strcmp(s->name, f->name) == 0)
			return s;
	return NULL;
}

static bool same_file(const sample_file *f, const aqz_reader *r)
{
	const aqz_section_info *s = find_file(r, f);
	char *got = malloc(f->n_bytes + 1);
	aqz_cursor *c;
	bool same = s != NULL && s->rows == f->n_bytes;

	SURE(got != NULL);
	if (same && aqz_cursor_open(&c, r, s->number, NULL) == AQZ_OK) {
		same = aqz_cursor_read(c, 0, s->rows, got, f->n_bytes, NULL) == AQZ_OK &&
			memcmp(got, f->data, f->n_bytes) == 0;
		aqz_cursor_close(c);
	}
	free(got);
	return same ? true : differ(f->name, "the file");
}

bool sample_is_in(const sample *s, memory_file *f)
{
	bool same = true;
	aqz_error err;
	aqz_reader *r;
	aqz_io io;

	memory_io(&io, f);
	if (aqz_reader_open(&r, &io, NULL, &err) != AQZ_OK)
		return differ(err.where, err.text);
	if (aqz_reader_verify(r, AQZ_VERIFY_FULL, 2, NULL, NULL, NULL, NULL, &err) != AQZ_OK)
		same = differ(err.where, err.text);
	if (aqz_reader_file(r)->n_tensors != s->n_tensors)
		same = differ("file", "the number of tensors");
	for (uint32_t i = 0; i < s->n_tensors; i++)
		same = same_tensor(&s->tensors[i], r) && same;
	for (uint32_t i = 0; i < s->n_files; i++)
		same = same_file(&s->files[i], r) && same;
	aqz_reader_close(r);
	return same;
}

/* A view's elements against the tensor's. */
static bool same_view(const sample_tensor *t, const uint8_t *view)
{
	const uint64_t rows = t->transposed ? t->shape[t->rank - 1] : 1;
	const uint64_t cols = t->transposed ? t->n_bytes * 8 / aqz_dtype_bits(t->dtype) / rows : 1;
	const size_t e = aqz_dtype_bits(t->dtype) / 8;

	if (!t->transposed)
		return memcmp(view, t->data, t->n_bytes) == 0;
	for (uint64_t r = 0; r < rows; r++)
		for (uint64_t c = 0; c < cols; c++)
			if (memcmp(view + (r * cols + c) * e, t->data + (c * rows + r) * e, e) != 0)
				return false;
	return true;
}

bool sample_streams_from(const sample *s, const memory_file *f, size_t piece)
{
	collected c = {.n_sections = 0};
	const aqz_stream_events events = collect_events(&c);
	aqz_stream *stream;
	aqz_error err;
	bool same = true;

	SURE(aqz_stream_open(&stream, &events, NULL, &err) == AQZ_OK);
	if (push_all(stream, f, piece, &err) != AQZ_OK)
		same = differ(err.where, err.text);
	else if (c.n_tensors != s->n_tensors)
		same = differ("stream", "the number of tensors");
	for (uint32_t i = 0; same && i < s->n_tensors; i++) {
		uint32_t at = 0, k;

		while (at < c.n_tensors && strcmp(c.tensors[at].name, s->tensors[i].name) != 0)
			at++;
		k = c.tensors[at % 64].section;
		if (at == c.n_tensors || c.sections[k].n != s->tensors[i].n_bytes ||
			!same_view(&s->tensors[i], c.sections[k].data))
			same = differ(s->tensors[i].name, "what the stream gave");
	}
	aqz_stream_close(stream);
	collected_free(&c);
	return same;
}
