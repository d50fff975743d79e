/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's small sections, spec 2.2: their chunks are held until one frame of records declares
 * many of them. Such a frame costs 64 bytes, its padding, and 32 more in the index, which is about
 * what a norm or a bias has itself. */
#include "format/writer.h"

/* A section of more than SMALL_BYTES is not held: to it, a frame of records is nothing. */
#define SMALL_BYTES (UINT64_C(1) << 16)
#define HOLD_BYTES (UINT64_C(1) << 20)

/* A fixed part of the limit, not of what is left of it: threads use memory, too, and the bytes of the
 * file may not depend on them. */
uint64_t aqz_writer_hold_bytes(uint64_t memlimit_bytes)
{
	return memlimit_bytes == 0 ? HOLD_BYTES : aqz_min(HOLD_BYTES, memlimit_bytes / 64);
}

/* Tells the catalog of the records from `from` on, which checks them as a reader will. */
static aqz_status declared(aqz_writer *w, size_t from, aqz_error *err)
{
	return aqz_catalog_declare(&w->catalog, w->records.data + from, w->records.n - from, err);
}

aqz_status aqz_writer_declare(aqz_writer *w, aqz_section_info *info, aqz_error *err)
{
	size_t from = w->records.n;
	info->number = w->catalog.n_sections;
	aqz_status status = aqz_section_append(&w->records, info, err);
	return status == AQZ_OK ? declared(w, from, err) : status;
}

aqz_status aqz_writer_declare_tensor(aqz_writer *w, aqz_tensor_info *info, aqz_error *err)
{
	size_t from = w->records.n;
	info->number = w->catalog.n_tensors;
	aqz_status status = aqz_tensor_append(&w->records, info, err);
	return status == AQZ_OK ? declared(w, from, err) : status;
}

aqz_status aqz_writer_begin(aqz_writer *w, uint32_t section, aqz_error *err)
{
	const aqz_section *s = w->catalog.sections[section];
	uint64_t n = s->info.decoded_bytes <= SMALL_BYTES ? aqz_writer_due_bytes(s) : UINT64_MAX;
	aqz_status status = AQZ_OK;
	w->holding = false;
	if (n <= SMALL_BYTES) { /* with so few bytes, there are few chunks */
		n += s->info.n_chunks * (sizeof(aqz_held) + AQZ_FRAME_ALIGN);
		w->holding = w->held_bytes + w->records.n + n <= w->hold_bytes;
	}
	if (w->holding)
		w->held_bytes += n;
	else
		status = aqz_writer_flush(w, err);
	return status == AQZ_OK ? aqz_writer_start(w, section, err) : status;
}

aqz_status aqz_writer_hold(aqz_writer *w, const aqz_frame *f, const uint8_t *payload, aqz_error *err)
{
	void *block;
	uint64_t n = sizeof(aqz_held) + aqz_padded(f->stored_bytes);
	aqz_status status = aqz_budget_alloc(&w->catalog.budget, &block, n, "a chunk", err);
	if (status != AQZ_OK)
		return status;
	aqz_held *h = block;
	h->block_bytes = n;
	h->frame = *f;
	memcpy(h->payload, payload, (size_t)f->stored_bytes);
	*(w->held == NULL ? &w->held : w->held_end) = h;
	w->held_end = &h->next;
	return AQZ_OK;
}

static void drop_first(aqz_writer *w)
{
	aqz_held *h = w->held;
	w->held = h->next;
	aqz_budget_free(&w->catalog.budget, h, h->block_bytes);
}

void aqz_writer_free_held(aqz_writer *w)
{
	while (w->held != NULL)
		drop_first(w);
}

/* The chunks of a parameter section, which is kept as it was given. */
static aqz_status write_param(aqz_writer *w, uint32_t section, aqz_error *err)
{
	const aqz_kept *k = section < w->params.capacity ? &w->params.kept[section] : NULL;
	if (k == NULL || k->n_bytes == 0)
		return AQZ_OK;
	aqz_status status = aqz_writer_start(w, section, err);
	return status == AQZ_OK ? aqz_writer_feed(w, k->data, (size_t)k->n_bytes, err) : status;
}

aqz_status aqz_writer_flush(aqz_writer *w, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	aqz_catalog *c = &w->catalog;
	uint32_t first = c->framed_sections;
	size_t n = w->records.n;
	if (n == 0)
		return AQZ_OK;
	AQZ_TRY(aqz_buffer_add(&w->records, NULL, AQZ_FRAME_ALIGN, err)); /* room for the padding */
	aqz_frame f = {.type = AQZ_FRAME_RECORDS, .stored_bytes = n, .decoded_bytes = n};
	f.decoded_hash = aqz_hash(w->records.data, n, 0);
	AQZ_TRY(aqz_writer_frame(w, &f, w->records.data, err));
	AQZ_TRY(aqz_catalog_framed(c, err));
	w->records.n = 0;
	w->held_bytes = 0;
	for (uint32_t i = first; i < c->n_sections; i++) {
		AQZ_TRY(write_param(w, i, err));
		for (; w->held != NULL && w->held->frame.section == i; drop_first(w))
			AQZ_TRY(aqz_writer_frame(w, &w->held->frame, w->held->payload, err));
	}
out:
	return status;
}
