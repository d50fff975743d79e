/* SPDX-License-Identifier: Apache-2.0 */
/* decompress: how decoded rows and attached files get to their places. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/restore.h"

void restore_begin(restore *r, const restore_options *opt)
{
	memset(r, 0, sizeof *r);
	r->opt = *opt;
	r->attached_fd = -1;
	cli_progress_begin(&r->progress, opt->common->quiet);
}

void restore_end(restore *r)
{
	for (uint32_t i = 0; i < r->n_files; i++) {
		restore_file *f = &r->files[i];

		if (f->fd >= 0 && f->fd != r->opt.out->fd)
			close(f->fd);
		if (f->is_parsed)
			aqz_safetensors_free(&f->parsed);
		free(f->header);
		free(f->name);
	}
	for (uint32_t i = 0; i < r->n_slots; i++)
		free(r->slots[i].whole);
	if (r->attached_fd >= 0)
		close(r->attached_fd);
	while (r->kept != NULL) {
		restore_kept *k = r->kept;

		r->kept = k->next;
		free(k->name);
		free(k);
	}
	free(r->files);
	free(r->slots);
	free(r->by_name);
	free(r->sections);
	free(r->section_slots);
	free(r->waiting);
	cli_progress_clear(&r->progress);
}

aqz_status restore_write(
	restore *r, int fd, const void *data, size_t n, uint64_t offset, aqz_error *err)
{
	aqz_status status = offset == RESTORE_APPEND ? cli_write(fd, data, n, err)
												 : cli_pwrite(fd, data, n, offset, err);

	if (status != AQZ_OK)
		r->write_failed = true;
	return status;
}

/* Writes n bytes at a slot's place; a pipe gets them in order, which the feed ensures. */
static aqz_status put(restore *r, const restore_slot *slot, uint64_t begin, const void *data,
	size_t n, aqz_error *err)
{
	const restore_file *f = &r->files[slot->file];
	uint64_t offset = r->opt.out->is_stdout ? RESTORE_APPEND : slot->offset + begin;
	aqz_status status = restore_write(r, f->fd, data, n, offset, err);

	r->done_bytes += n;
	return status;
}

/* Elements of a slot from one on, converted if need be. */
static aqz_status put_elements(restore *r, const restore_slot *slot, uint64_t first, uint64_t n,
	const void *data, aqz_error *err)
{
	unsigned out_bits = aqz_dtype_bits(slot->out_dtype);
	uint64_t begin = first / 8 * out_bits + first % 8 * out_bits / 8, n_bytes;
	aqz_status status;
	void *converted;

	if (slot->out_dtype == slot->source.dtype) {
		n_bytes = n / 8 * out_bits + n % 8 * out_bits / 8;
		return put(r, slot, begin, data, (size_t)n_bytes, err);
	}
	n_bytes = n * (out_bits / 8);
	converted = malloc((size_t)n_bytes + 1);
	if (converted == NULL)
		return cli_fail(err, AQZ_E_NOMEM, slot->source.name, "out of memory");
	status = aqz_convert(converted, slot->out_dtype, data, slot->source.dtype, (size_t)n, err);
	if (status == AQZ_OK)
		status = put(r, slot, begin, converted, (size_t)n_bytes, err);
	free(converted);
	return status;
}

aqz_status restore_rows(restore *r, restore_slot *slot, const aqz_section_info *section,
	uint64_t row_begin, uint64_t n_rows, const void *data, aqz_error *err)
{
	unsigned bits = aqz_dtype_bits(slot->source.dtype);
	uint64_t end = row_begin + n_rows, begin = row_begin, skipped;

	if (begin < slot->rows_begin)
		begin = slot->rows_begin;
	if (end > slot->rows_end)
		end = slot->rows_end;
	if (begin >= end)
		return AQZ_OK;
	/* set_rows() saw to it that rows begin at whole bytes. */
	skipped = (begin - row_begin) * section->cols;
	return put_elements(r, slot, (begin - slot->rows_begin) * section->cols,
		(end - begin) * section->cols,
		(const uint8_t *)data + (size_t)(skipped / 8 * bits + skipped % 8 * bits / 8), err);
}

aqz_status restore_whole(restore *r, restore_slot *slot, const void *data, aqz_error *err)
{
	return put_elements(r, slot, 0, slot->source.n_elements, data, err);
}

void restore_turn(
	uint8_t *dst, const uint8_t *src, uint64_t rows, uint64_t cols, size_t element_bytes)
{
	/* Tiles of 32 x 32 keep both sides in the cache. */
	const uint64_t tile = 32;

	for (uint64_t i = 0; i < rows; i += tile)
		for (uint64_t j = 0; j < cols; j += tile)
			for (uint64_t k = i; k < rows && k < i + tile; k++)
				for (uint64_t m = j; m < cols && m < j + tile; m++)
					memcpy(dst + (m * rows + k) * element_bytes,
						src + (k * cols + m) * element_bytes, element_bytes);
}

aqz_status restore_copy(
	restore *r, const restore_slot *from, const restore_slot *to, aqz_error *err)
{
	const size_t step = 1 << 20;
	uint8_t *buffer;
	aqz_status status = AQZ_OK;

	if (r->opt.out->is_stdout || from->out_bytes != to->out_bytes ||
		from->out_dtype != to->out_dtype)
		return cli_fail(err, AQZ_E_UNSUPPORTED, to->source.name,
			"is a second name of '%.80s', whose data went by; give a "
			"file instead of a pipe",
			from->source.name);
	buffer = malloc(step);
	if (buffer == NULL)
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	for (uint64_t at = 0; at < from->out_bytes && status == AQZ_OK; at += step) {
		size_t n = from->out_bytes - at < step ? (size_t)(from->out_bytes - at) : step;
		ssize_t got = pread(r->files[from->file].fd, buffer, n, (off_t)(from->offset + at));

		if (got != (ssize_t)n)
			status = cli_fail_errno(err, from->source.name, got < 0 ? errno : EIO);
		else
			status = put(r, to, at, buffer, n, err);
	}
	free(buffer);
	return status;
}

static bool is_index(const char *name)
{
	static const char ending[] = ".safetensors.index.json";
	size_t n = strlen(name), m = sizeof ending - 1;

	return n > m && strcmp(name + n - m, ending) == 0;
}

aqz_status restore_attached_open(restore *r, const aqz_section_info *section, aqz_error *err)
{
	r->attached_filled = 0;
	r->keeping = NULL;
	if (r->opt.dtype != 0 && is_index(section->name) &&
		section->decoded_bytes <= AQZ_SAFETENSORS_MAX_HEADER &&
		section->decoded_bytes <= r->opt.common->memory_bytes / 8) {
		size_t n = (size_t)section->decoded_bytes;
		restore_kept *k = malloc(sizeof *k + n);

		if (k == NULL || (k->name = strdup(section->name)) == NULL) {
			free(k);
			return cli_fail(err, AQZ_E_NOMEM, section->name, "out of memory");
		}
		k->n_bytes = n;
		k->next = r->kept;
		r->kept = r->keeping = k;
		return AQZ_OK;
	}
	r->attached_fd = cli_output_create(r->opt.out, section->name);
	if (r->attached_fd < 0)
		return cli_fail_errno(err, section->name, errno);
	/* An empty file gets no rows. */
	return section->decoded_bytes == 0 ? restore_attached_put(r, section, "", 0, err) : AQZ_OK;
}

aqz_status restore_attached_put(
	restore *r, const aqz_section_info *section, const void *data, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	int fd = r->attached_fd;

	if (n > section->decoded_bytes - r->attached_filled)
		return cli_fail(err, AQZ_E_CORRUPT, section->name, "more bytes than were declared");
	if (r->keeping != NULL)
		memcpy(r->keeping->data + r->attached_filled, data, n);
	else
		status = restore_write(r, fd, data, n, RESTORE_APPEND, err);
	r->attached_filled += n;
	if (status == AQZ_OK && r->keeping == NULL && r->attached_filled == section->decoded_bytes) {
		r->attached_fd = -1;
		if (cli_output_finish_file(fd) != 0)
			status = cli_fail_errno(err, section->name, errno);
	}
	return status;
}

static aqz_status write_kept(restore *r, const restore_kept *k, aqz_error *err)
{
	uint64_t total = 0;
	size_t n = 0;
	char *text = NULL;
	aqz_status status;
	int fd;

	for (uint32_t i = 0; i < r->n_slots; i++)
		total += r->slots[i].out_bytes;
	status = restore_change_index(&text, &n, k->data, k->n_bytes, total, err);
	if (status != AQZ_OK)
		return status;
	fd = cli_output_create(r->opt.out, k->name);
	if (fd < 0) {
		status = cli_fail_errno(err, k->name, errno);
	} else {
		status = restore_write(r, fd, text != NULL ? (const void *)text : k->data,
			text != NULL ? n : k->n_bytes, RESTORE_APPEND, err);
		if (cli_output_finish_file(fd) != 0 && status == AQZ_OK)
			status = cli_fail_errno(err, k->name, errno);
	}
	free(text);
	return status;
}

aqz_status restore_close_files(restore *r, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (const restore_kept *k = r->kept; k != NULL && status == AQZ_OK; k = k->next)
		status = write_kept(r, k, err);
	for (uint32_t i = 0; i < r->n_files && status == AQZ_OK; i++) {
		int fd = r->files[i].fd;

		/* The one file of the other modes belongs to the output, which syncs it. */
		if (fd < 0 || fd == r->opt.out->fd)
			continue;
		r->files[i].fd = -1;
		if (cli_output_finish_file(fd) != 0)
			status = cli_fail_errno(err, r->files[i].name, errno);
	}
	return status;
}
