/* SPDX-License-Identifier: Apache-2.0 */
/* Containers, taken apart and put together again. */
#include "tests/edit.h"

#include "format/layout.h"

static uint8_t *padded_copy(const uint8_t *from, size_t n)
{
	uint8_t *p = sure_alloc((size_t)aqz_padded(n) + 64);

	if (n > 0 && from != NULL)
		memcpy(p, from, n);
	return p;
}

void edit_open(edit *e, const memory_file *sound)
{
	memory_file f = {0};
	size_t at = 128;

	memset(e, 0, sizeof *e);
	memory_copy(&f, sound);
	store_index(&f);
	memcpy(e->super, f.data, 128);
	for (; aqz_get32(f.data + at + 4) != AQZ_FRAME_INDEX;) {
		edit_frame *frame = &e->frames[e->n_frames++];

		SURE(e->n_frames <= sizeof e->frames / sizeof *e->frames);
		memcpy(frame->header, f.data + at, 64);
		frame->stored = (size_t)aqz_get64(f.data + at + 24);
		frame->payload = padded_copy(f.data + at + 64, frame->stored);
		at += 64 + (size_t)aqz_padded(frame->stored);
	}
	at += 64;
	memory_add(&e->digests, f.data + at + 32 + (size_t)aqz_get32(f.data + at) * 32,
		(size_t)aqz_get32(f.data + at + 4) * 16);
	memory_free(&f);
}

/* Digests of an index that is stored; none otherwise. */
static void try_digests(edit *e, const uint8_t *header, size_t n)
{
	const uint8_t *index = header + 64;
	uint64_t at, sections;

	if (aqz_get16(header + 16) != 0 || n < 32)
		return;
	at = 32 + 32 * (uint64_t)aqz_get32(index);
	sections = aqz_get32(index + 4);
	if (at <= n && 16 * sections <= n - at)
		memory_add(&e->digests, index + at, 16 * (size_t)sections);
}

bool edit_try(edit *e, const uint8_t *data, size_t n)
{
	enum { ROOM = 8 }; /* for more frames */
	size_t at = 128;

	memset(e, 0, sizeof *e);
	if (n < 128)
		return false;
	memcpy(e->super, data, 128);
	while (n - at >= 64) {
		const uint64_t stored = aqz_get64(data + at + 24);
		edit_frame *frame = &e->frames[e->n_frames];

		if (stored > n || aqz_padded(stored) > n - at - 64 ||
			e->n_frames == sizeof e->frames / sizeof *e->frames - ROOM)
			break;
		if (aqz_get32(data + at + 4) == AQZ_FRAME_INDEX) {
			try_digests(e, data + at, (size_t)stored);
			return true;
		}
		memcpy(frame->header, data + at, 64);
		frame->stored = (size_t)stored;
		frame->payload = padded_copy(data + at + 64, frame->stored);
		e->n_frames++;
		at += 64 + (size_t)aqz_padded(stored);
	}
	edit_close(e);
	return false;
}

void edit_close(edit *e)
{
	for (uint32_t i = 0; i < e->n_frames; i++)
		free(e->frames[i].payload);
	memory_free(&e->digests);
	memory_free(&e->extra);
	memory_free(&e->out);
}

/* ---- Putting together */

static void put_zeros(memory_file *f, size_t n)
{
	uint8_t *zeros = sure_alloc(n);

	memory_add(f, zeros, n);
	free(zeros);
}

static void put_padding(memory_file *f)
{
	put_zeros(f, (64 - f->n % 64) % 64);
}

/* Records of each type, as far as they can be followed. */
static void count_records(const edit_frame *f, uint32_t counts[2])
{
	for (size_t at = 0; at + 8 <= f->stored; at += 8 + (size_t)aqz_get32(f->payload + at + 4)) {
		const uint16_t type = aqz_get16(f->payload + at);

		if (type == 1 || type == 2)
			counts[type - 1]++;
		if (aqz_get32(f->payload + at + 4) > f->stored)
			break;
	}
}

static void put_index(edit *e)
{
	uint8_t header[64] = {0xf5, 'q', 'z', '\n', 'I', 'N', 'D', 'X'}, head[32] = {0};
	uint32_t counts[2] = {0}, n_chunks = 0;
	size_t records_bytes = 0, n;

	for (uint32_t i = 0; i < e->n_frames; i++) {
		const edit_frame *f = &e->frames[i];

		n_chunks += memcmp(f->header + 4, "CHNK", 4) == 0;
		if (memcmp(f->header + 4, "RECS", 4) == 0) {
			count_records(f, counts);
			records_bytes += f->stored;
		}
	}
	while (e->digests.n < 16 * (size_t)counts[0])
		put_zeros(&e->digests, 16);
	n = 32 + 32 * (size_t)e->n_frames + 16 * (size_t)counts[0] + records_bytes;
	aqz_put32(header + 8, counts[0]);
	aqz_put32(header + 12, counts[1]);
	aqz_put64(header + 24, n);
	aqz_put64(header + 32, n);
	aqz_put32(head, e->n_frames);
	aqz_put32(head + 4, counts[0]);
	aqz_put32(head + 8, counts[1]);
	aqz_put32(head + 16, n_chunks);
	aqz_put64(head + 24, records_bytes);
	e->index_at = e->out.n;
	memory_add(&e->out, header, 64);
	memory_add(&e->out, head, 32);
	put_zeros(&e->out, 32 * (size_t)e->n_frames); /* reseal fills the table and the records */
	memory_add(&e->out, e->digests.data, 16 * (size_t)counts[0]);
	put_zeros(&e->out, records_bytes);
	put_padding(&e->out);
}

static void put_footer(edit *e)
{
	static const uint8_t end[8] = {'\n', 0x1a, '\n', '\r', 'Z', 'Q', 'A', 0x89};
	uint8_t bytes[192] = {0xf5, 'q', 'z', '\n', 'F', 'O', 'O', 'T'};

	aqz_put64(bytes + 24, 128);
	aqz_put64(bytes + 32, 128);
	aqz_put64(bytes + 64, e->index_at);
	aqz_put64(bytes + 72, aqz_get64(e->out.data + e->index_at + 24));
	aqz_put64(bytes + 80, aqz_get64(e->out.data + e->index_at + 32));
	aqz_put64(bytes + 88, e->out.n + 192);
	memcpy(bytes + 184, end, 8);
	e->footer_at = e->out.n;
	memory_add(&e->out, bytes, sizeof bytes);
}

void edit_put(edit *e)
{
	e->out.n = 0;
	memory_add(&e->out, e->super, 128);
	for (uint32_t i = 0; i < e->n_frames; i++) {
		edit_frame *f = &e->frames[i];

		if (!f->sizes_stay) {
			aqz_put64(f->header + 24, f->stored);
			if (aqz_get16(f->header + 16) == 0)
				aqz_put64(f->header + 32, f->stored);
		}
		memory_add(&e->out, f->header, 64);
		memory_add(&e->out, f->payload, (size_t)aqz_padded(f->stored));
	}
	put_index(e);
	memory_add(&e->out, e->extra.data, e->extra.n);
	put_footer(e);
	edit_reseal(e, RESEAL_INDEX);
}

void edit_reseal(edit *e, reseal_depth depth)
{
	reseal(e->out.data, e->out.n, depth);
}

/* ---- Pieces */

uint8_t *out_index_header(edit *e)
{
	return e->out.data + e->index_at;
}

uint8_t *out_index(edit *e)
{
	return e->out.data + e->index_at + 64;
}

uint8_t *out_footer_header(edit *e)
{
	return e->out.data + e->footer_at;
}

uint8_t *out_footer(edit *e)
{
	return e->out.data + e->footer_at + 64;
}

uint8_t *out_frame(edit *e, uint32_t i)
{
	size_t at = 128;

	for (uint32_t k = 0; k < i; k++)
		at += 64 + (size_t)aqz_padded(e->frames[k].stored);
	return e->out.data + at;
}

static uint8_t *body_of(edit *e, uint16_t type, uint32_t number)
{
	for (uint32_t i = 0; i < e->n_frames; i++) {
		edit_frame *f = &e->frames[i];

		if (memcmp(f->header + 4, "RECS", 4) != 0)
			continue;
		for (size_t at = 0; at < f->stored; at += 8 + (size_t)aqz_get32(f->payload + at + 4))
			if (aqz_get16(f->payload + at) == type && aqz_get32(f->payload + at + 8) == number)
				return f->payload + at + 8;
	}
	SURE(false && "there is such a record");
	return NULL;
}

uint8_t *section_body(edit *e, uint32_t number)
{
	return body_of(e, 1, number);
}

uint8_t *tensor_body(edit *e, uint32_t number)
{
	return body_of(e, 2, number);
}

uint8_t *record_of(uint8_t *body)
{
	return body - 8;
}

edit_frame *frame_of(edit *e, const uint8_t *body)
{
	for (uint32_t i = 0; i < e->n_frames; i++)
		if (body > e->frames[i].payload && body < e->frames[i].payload + e->frames[i].stored)
			return &e->frames[i];
	SURE(false && "the record stands in a frame");
	return NULL;
}

void resize_payload(edit_frame *f, size_t at, size_t old_n, size_t new_n)
{
	uint8_t *fresh = padded_copy(NULL, f->stored - old_n + new_n);

	memcpy(fresh, f->payload, at);
	memcpy(fresh + at + new_n, f->payload + at + old_n, f->stored - at - old_n);
	free(f->payload);
	f->payload = fresh;
	f->stored = f->stored - old_n + new_n;
}

uint8_t *resize_body(edit *e, uint8_t *body, size_t at, size_t old_n, size_t new_n)
{
	edit_frame *f = frame_of(e, body);
	const size_t where = (size_t)(body - f->payload);

	aqz_put32(record_of(body) + 4, (uint32_t)(aqz_get32(record_of(body) + 4) - old_n + new_n));
	resize_payload(f, where + at, old_n, new_n);
	return f->payload + where;
}

edit_frame *chunk_frame(edit *e, uint32_t section, uint32_t chunk)
{
	for (uint32_t i = 0; i < e->n_frames; i++) {
		const uint8_t *h = e->frames[i].header;

		if (memcmp(h + 4, "CHNK", 4) == 0 && aqz_get32(h + 8) == section && aqz_get32(h + 12) == chunk)
			return &e->frames[i];
	}
	SURE(false && "there is such a chunk");
	return NULL;
}

static void make_header(
	uint8_t header[64], const char type[5], uint32_t section, uint32_t chunk, size_t n)
{
	memset(header, 0, 64);
	memcpy(header, "\xf5qz\n", 4);
	memcpy(header + 4, type, 4);
	aqz_put32(header + 8, section);
	aqz_put32(header + 12, chunk);
	aqz_put64(header + 24, n);
	aqz_put64(header + 32, n);
}

edit_frame *insert_frame(edit *e, uint32_t at, const char type[5], uint32_t section, uint32_t chunk,
	const void *payload, size_t n)
{
	edit_frame *f = &e->frames[at];

	SURE(e->n_frames < sizeof e->frames / sizeof *e->frames && at <= e->n_frames);
	memmove(f + 1, f, (e->n_frames - at) * sizeof *f);
	e->n_frames++;
	*f = (edit_frame){.payload = padded_copy(payload, n), .stored = n};
	make_header(f->header, type, section, chunk, n);
	return f;
}

void remove_frame(edit *e, edit_frame *f)
{
	free(f->payload);
	memmove(f, f + 1, (size_t)(e->frames + e->n_frames - f - 1) * sizeof *f);
	e->n_frames--;
}

uint8_t *add_extra(edit *e, const char type[5], uint16_t flags, size_t n)
{
	uint8_t header[64];
	const size_t at = e->extra.n;

	make_header(header, type, 0, 0, n);
	aqz_put16(header + 18, flags);
	memory_add(&e->extra, header, 64);
	put_zeros(&e->extra, (size_t)aqz_padded(n));
	return e->extra.data + at;
}
