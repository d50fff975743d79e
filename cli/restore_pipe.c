/* SPDX-License-Identifier: Apache-2.0 */
/* decompress, from a pipe: sections, tensors and rows as they go by. Source headers come first in
 * our files, so every tensor's place is known when its rows arrive. */
#include <stdlib.h>
#include <string.h>

#include "cli/restore.h"

typedef struct pipe_state {
	restore *r;
	aqz_error err; /* what a callback found; the stream only passes its status on */
} pipe_state;

static aqz_status grow(void **array, uint32_t n, size_t item_bytes, aqz_error *err)
{
	void *grown;

	/* Powers of two from 64 on: n is one short of full only at those. */
	if (n != 0 && (n < 64 || (n & (n - 1)) != 0))
		return AQZ_OK;
	grown = realloc(*array, (n == 0 ? 64 : 2 * (size_t)n) * item_bytes);
	if (grown == NULL)
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	*array = grown;
	return AQZ_OK;
}

static aqz_status on_section(void *user, const aqz_section_info *section)
{
	pipe_state *p = user;
	restore *r = p->r;
	aqz_status status;
	void *sections = r->sections, *slots = r->section_slots;

	if (section->number != r->n_sections)
		return cli_fail(
			&p->err, AQZ_E_CORRUPT, "section", "section %u is out of order", section->number);
	status = grow(&sections, r->n_sections, sizeof *r->sections, &p->err);
	r->sections = sections;
	if (status == AQZ_OK)
		status = grow(&slots, r->n_sections, sizeof *r->section_slots, &p->err);
	r->section_slots = slots;
	if (status != AQZ_OK)
		return status;
	r->sections[r->n_sections] = section;
	r->section_slots[r->n_sections++] = NULL;
	if (section->kind == AQZ_KIND_SOURCE_HEADER && r->opt.mode != RESTORE_RAW)
		return restore_header_declare(r, section, &p->err);
	if (section->kind == AQZ_KIND_FILE && r->opt.mode == RESTORE_FOLDER &&
		section->decoded_bytes == 0)
		return restore_attached_open(r, section, &p->err);
	return AQZ_OK;
}

static aqz_status match(pipe_state *p, const aqz_tensor_info *info)
{
	restore *r = p->r;
	restore_slot *slot;
	aqz_status status;

	if (info->section >= r->n_sections)
		return cli_fail(&p->err, AQZ_E_CORRUPT, info->name, "the tensor's section %u is unknown",
			info->section);
	status = restore_match(r, &slot, info, r->sections[info->section], &p->err);
	if (status == AQZ_OK && slot != NULL && r->section_slots[info->section] == NULL)
		r->section_slots[info->section] = slot;
	return status;
}

/* All headers are here, or should be. */
static aqz_status lay_out(pipe_state *p)
{
	restore *r = p->r;
	aqz_status status = restore_layout(r, NULL, &p->err);

	if (status == AQZ_OK && r->opt.mode != RESTORE_RAW)
		status = restore_open_files(r, &p->err);
	else if (status == AQZ_OK)
		r->files[0].fd = r->opt.out->fd;
	for (uint32_t i = 0; i < r->n_waiting && status == AQZ_OK; i++)
		status = match(p, r->waiting[i]);
	r->n_waiting = 0;
	return status;
}

static aqz_status on_tensor(void *user, const aqz_tensor_info *info)
{
	pipe_state *p = user;
	restore *r = p->r;
	void *waiting = r->waiting;
	aqz_status status;

	if (r->laid_out)
		return match(p, info);
	status = grow(&waiting, r->n_waiting, sizeof *r->waiting, &p->err);
	r->waiting = waiting;
	if (status == AQZ_OK)
		r->waiting[r->n_waiting++] = info;
	return status;
}

/* Rows of a transposed tensor are collected, and turned when the last has come. */
static aqz_status collect(pipe_state *p, restore_slot *slot, const aqz_section_info *section,
	uint64_t row, uint64_t n_rows, const void *data, size_t n_bytes)
{
	size_t element = aqz_dtype_bits(section->dtype) / 8,
		   row_bytes = (size_t)section->cols * element;
	aqz_status status;
	uint8_t *turned;

	if (element == 0)
		return cli_fail(
			&p->err, AQZ_E_UNSUPPORTED, slot->source.name, "transposed elements below a byte");
	if (slot->whole == NULL) {
		if (section->decoded_bytes > p->r->opt.common->memory_bytes / 3)
			return cli_fail(&p->err, AQZ_E_MEMLIMIT, slot->source.name,
				"a transposed tensor does not fit into memory");
		slot->whole = malloc((size_t)section->decoded_bytes + 1);
		if (slot->whole == NULL)
			return cli_fail(&p->err, AQZ_E_NOMEM, slot->source.name, "out of memory");
	}
	memcpy(slot->whole + row * row_bytes, data, n_bytes);
	if (slot->rows_in + n_rows < section->rows)
		return AQZ_OK;
	turned = malloc((size_t)section->decoded_bytes + 1);
	if (turned == NULL)
		return cli_fail(&p->err, AQZ_E_NOMEM, slot->source.name, "out of memory");
	restore_turn(turned, slot->whole, section->rows, section->cols, element);
	status = restore_whole(p->r, slot, turned, &p->err);
	free(turned);
	free(slot->whole);
	slot->whole = NULL;
	return status;
}

static aqz_status tensor_rows(pipe_state *p, const aqz_section_info *section, uint64_t row,
	uint64_t n_rows, const void *data, size_t n_bytes)
{
	restore *r = p->r;
	restore_slot *slot;
	aqz_status status = r->laid_out ? AQZ_OK : lay_out(p);

	slot = r->section_slots[section->number];
	if (status != AQZ_OK || slot == NULL)
		return status;
	/* A second name that came late for what was not wanted under the first. */
	if (slot->rows_in != row)
		return cli_fail(&p->err, AQZ_E_UNSUPPORTED, slot->source.name,
			"its data came before this name; give a file instead of a pipe");
	if (row == 0)
		cli_progress_item(&r->progress, slot->source.name, 0, 0);
	if (slot->info->transposed && !r->opt.has_rows)
		status = collect(p, slot, section, row, n_rows, data, n_bytes);
	else
		status = restore_rows(r, slot, section, row, n_rows, data, &p->err);
	slot->rows_in += n_rows;
	return status;
}

static aqz_status on_rows(void *user, const aqz_section_info *section, uint64_t row,
	uint64_t n_rows, const void *data, size_t n_bytes)
{
	pipe_state *p = user;
	aqz_status status = AQZ_OK;

	switch (section->kind) {
	case AQZ_KIND_TENSOR:
		return tensor_rows(p, section, row, n_rows, data, n_bytes);
	case AQZ_KIND_SOURCE_HEADER:
		return p->r->opt.mode == RESTORE_RAW
			? AQZ_OK
			: restore_header_put(p->r, section->number, row, data, n_bytes, &p->err);
	case AQZ_KIND_FILE:
		if (p->r->opt.mode != RESTORE_FOLDER)
			return AQZ_OK;
		if (row == 0)
			status = restore_attached_open(p->r, section, &p->err);
		return status != AQZ_OK ? status
								: restore_attached_put(p->r, section, data, n_bytes, &p->err);
	default:
		return AQZ_OK;
	}
}

/* The pipe has ended well: second names get their bytes, and nothing may be missing. */
static aqz_status finish(void *user)
{
	pipe_state *p = user;
	restore *r = p->r;
	aqz_status status = r->laid_out ? AQZ_OK : lay_out(p);

	for (uint32_t i = 0; i < r->n_slots && status == AQZ_OK; i++) {
		restore_slot *s = &r->slots[i], *first;

		if (!s->wanted)
			continue;
		if (s->info == NULL)
			return cli_fail(&p->err, AQZ_E_NOT_FOUND, "",
				"there is no tensor '%.120s' in the container", s->source.name);
		first = r->section_slots[s->info->section];
		if (first != s)
			status = restore_copy(r, first, s, &p->err);
		else if (s->out_bytes > 0 && s->rows_in != r->sections[s->info->section]->rows)
			status = cli_fail(&p->err, AQZ_E_UNSUPPORTED, s->source.name,
				"its data came before this name; give a file instead of a pipe");
	}
	return status != AQZ_OK ? status : restore_close_files(r, &p->err);
}

aqz_status restore_from_pipe(restore *r, aqz_error *err)
{
	pipe_state p = {.r = r};
	aqz_stream_events events = {
		.user = &p, .section = on_section, .tensor = on_tensor, .rows = on_rows};
	aqz_status status =
		cli_input_push(r->opt.in, &events, r->opt.common->memory_bytes, &r->progress, finish, err);

	if (p.err.status != AQZ_OK)
		*err = p.err;
	return status;
}
