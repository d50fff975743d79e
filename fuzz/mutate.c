/* SPDX-License-Identifier: Apache-2.0 */
/* Mutations of a container. A byte that is changed at random mostly breaks a hash, a length or the
 * agreement of index and frames, so most mutations here take the file apart (tests/edit.h), change
 * records, payloads, headers or the order of frames, and put it together again with all of those
 * right; some change the index or the footer after that. */
#include "fuzz/mutate.h"

#include "tests/edit.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);

static uint64_t below(noise *r, uint64_t n)
{
	return noise_next(r) % n;
}

/* A number of 1, 2, 4 or 8 bytes somewhere in the n bytes, mostly where such a field may stand. */
static void poke(noise *r, uint8_t *p, size_t n)
{
	static const uint64_t values[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 18, 32, 33, 34, 63, 64, 65, 127,
		128, 255, 1024, 4096, UINT64_C(1) << 16, UINT64_C(1) << 20, UINT64_C(1) << 26,
		UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 61, UINT64_C(1) << 63, UINT64_MAX,
		UINT64_MAX - 1, UINT64_MAX - 63};
	const size_t width = (size_t)1 << below(r, 4);
	const size_t at = n < width ? n : below(r, n - width + 1) / width * width;
	uint64_t value = values[below(r, sizeof values / sizeof *values)];

	if (at + width > n)
		return;
	if (below(r, 3) == 0) { /* near what it was */
		memcpy(&value, p + at, width);
		value += below(r, 5) - 2;
	}
	memcpy(p + at, &value, width);
}

static edit_frame *any_frame(noise *r, edit *e)
{
	return &e->frames[below(r, e->n_frames)];
}

/* A frame of records, if a few tries find one. */
static edit_frame *any_records(noise *r, edit *e)
{
	edit_frame *f = any_frame(r, e);

	for (int i = 0; i < 8 && memcmp(f->header + 4, "RECS", 4) != 0; i++)
		f = any_frame(r, e);
	return f;
}

static void mutate_payload(noise *r, edit_frame *f)
{
	const size_t room = f->stored + below(r, 2) * 64;
	uint8_t *bytes = sure_alloc(room + 64);
	size_t n;

	memcpy(bytes, f->payload, f->stored);
	n = room == 0 ? 0 : LLVMFuzzerMutate(bytes, f->stored, room);
	resize_payload(f, 0, f->stored, n);
	memcpy(f->payload, bytes, n);
	free(bytes);
}

/* Another place in the file for a record, or one record more. */
static void move_record(noise *r, edit *e)
{
	const edit_frame *from = any_records(r, e);
	edit_frame *to = any_records(r, e);
	size_t at = 0, n, where;
	uint8_t *copy;

	for (uint64_t k = below(r, 4); k > 0 && from->stored - at > 8; k--) {
		const uint32_t body = aqz_get32(from->payload + at + 4);

		if (body + (uint64_t)16 > from->stored - at)
			break;
		at += 8 + (size_t)body;
	}
	n = from->stored - at;
	if (n >= 8 && aqz_get32(from->payload + at + 4) <= n - 8)
		n = 8 + (size_t)aqz_get32(from->payload + at + 4);
	copy = sure_alloc(n);
	memcpy(copy, from->payload + at, n);
	where = below(r, 2) ? to->stored : 0;
	resize_payload(to, where, 0, n);
	memcpy(to->payload + where, copy, n);
	free(copy);
}

static void move_frame(noise *r, edit *e)
{
	edit_frame *a = any_frame(r, e), *b = any_frame(r, e), swap = *a;

	switch (below(r, 3)) {
	case 0:
		*a = *b;
		*b = swap;
		break;
	case 1:
		if (e->n_frames < sizeof e->frames / sizeof *e->frames) {
			memory_file payload = {0};
			uint8_t header[64];
			edit_frame *copy;

			memory_add(&payload, a->payload, a->stored);
			memcpy(header, a->header, 64);
			copy = insert_frame(e, (uint32_t)(b - e->frames), "CHNK", 0, 0, payload.data, payload.n);
			memcpy(copy->header, header, 64);
			memory_free(&payload);
		}
		break;
	default:
		if (e->n_frames > 1)
			remove_frame(e, a);
	}
}

static void mutate_pieces(noise *r, edit *e)
{
	static const char types[][5] = {"RECS", "CHNK", "PADD", "INDX", "FOOT", "note"};

	switch (below(r, 10)) {
	case 0:
	case 1:
	case 2:
	case 3: {
		edit_frame *f = any_records(r, e);

		poke(r, f->payload, f->stored);
		break;
	}
	case 4:
		mutate_payload(r, any_frame(r, e));
		break;
	case 5:
		poke(r, any_frame(r, e)->header + 4, 44);
		break;
	case 6:
		move_frame(r, e);
		break;
	case 7:
		poke(r, e->super + 8, 112);
		break;
	case 8:
		if (e->extra.n < 1024)
			add_extra(e, types[below(r, 6)], below(r, 4) != 0, below(r, 130));
		break;
	default:
		move_record(r, e);
	}
}

static size_t mutate_edited(uint8_t *data, size_t n, size_t max, noise *r)
{
	edit e;

	if (!edit_try(&e, data, n))
		return 0;
	if (e.n_frames > 0)
		for (uint64_t k = 1 + below(r, 3); k > 0; k--)
			mutate_pieces(r, &e);
	for (uint32_t i = 0; i < e.n_frames; i++) /* decoded bytes of what is not coded */
		e.frames[i].sizes_stay = false;
	edit_put(&e);
	if (below(r, 4) == 0) {
		poke(r, out_index(&e), e.footer_at - e.index_at - 64);
		edit_reseal(&e, RESEAL_HASHES);
	}
	if (below(r, 8) == 0) {
		poke(r, out_footer(&e), 128);
		reseal_frame(out_footer_header(&e), e.out.data + 40);
	}
	n = e.out.n <= max ? e.out.n : 0;
	memcpy(data, e.out.data, n);
	edit_close(&e);
	return n;
}

size_t mutate_container(uint8_t *data, size_t n, size_t max, unsigned seed)
{
	noise r = {(uint64_t)seed + 1};
	size_t edited = 0;

	for (int i = 0; i < 4; i++) /* small seeds differ in few bits */
		noise_next(&r);
	if (below(&r, 4) != 0)
		edited = mutate_edited(data, n, max, &r);
	if (edited != 0)
		return edited;
	n = LLVMFuzzerMutate(data, n, max);
	if (below(&r, 2) == 0)
		reseal(data, n, (reseal_depth)below(&r, 4));
	return n;
}
