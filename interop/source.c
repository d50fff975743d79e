/* SPDX-License-Identifier: Apache-2.0 */
/* A model as other tools keep it: opens a safetensors file or a folder and reads its bytes. */
#include "interop/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

/* Model files that are kept open; those beyond, and attached files, are opened for each read, so
 * that a folder of thousands of files stays within the usual limit of 1024 descriptors. */
#define MAX_KEPT_OPEN 256

/* Bytes to look at when the length word makes no sense. */
#define HEAD_BYTES 64

/* Never blocks on a FIFO, never takes a terminal, follows links: model caches are made of links. */
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)

aqz_status aqz_source_system(aqz_error *err, int number, const char *where, const char *doing)
{
	const aqz_status status = number == ENOENT ? AQZ_E_NOT_FOUND : AQZ_E_IO;

	return aqz_fail(err, status, AQZ_NO_OFFSET, where, "cannot %s: %s", doing, strerror(number));
}

aqz_status aqz_source_add(
	aqz_source *source, const char *name, const struct stat *info, aqz_error *err)
{
	const size_t n = strlen(name) + 1;
	aqz_source_entry *entry;
	void *memory;
	aqz_status status;

	if (source->n_files == source->capacity) {
		const uint32_t capacity = source->capacity < 16 ? 16 : source->capacity * 2;

		if (capacity <= source->capacity)
			return aqz_fail_nomem(err, UINT64_MAX);
		AQZ_TRY(aqz_budget_alloc(
			&source->budget, &memory, capacity * sizeof *entry, "the list of files", err));
		if (source->n_files > 0)
			memcpy(memory, source->files, source->n_files * sizeof *entry);
		aqz_budget_free(&source->budget, source->files, source->capacity * sizeof *entry);
		source->files = memory;
		source->capacity = capacity;
	}
	AQZ_TRY(aqz_budget_alloc(&source->budget, &memory, n, "a file's name", err));
	entry = &source->files[source->n_files++];
	entry->file.name = memcpy(memory, name, n);
	entry->file.n_bytes = (uint64_t)info->st_size;
	entry->fd = -1;
	entry->device = info->st_dev;
	entry->inode = info->st_ino;
out:
	return status;
}

/* Opens a listed file once more and makes sure that it is still the one that was listed. */
static aqz_status open_entry(
	const aqz_source *source, int *fd, const aqz_source_entry *entry, aqz_error *err)
{
	struct stat info;

	*fd = openat(source->dir, entry->file.name, OPEN_FLAGS);
	if (*fd < 0)
		return aqz_source_system(err, errno, entry->file.name, "open the file");
	if (fstat(*fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_dev == entry->device &&
		info.st_ino == entry->inode)
		return AQZ_OK; /* a change of size shows on reading */
	close(*fd);
	*fd = -1;
	return aqz_fail(
		err, AQZ_E_IO, AQZ_NO_OFFSET, entry->file.name, "the file was replaced while it was read");
}

/* Reads exactly n bytes that the file had when it was listed. */
static aqz_status read_all(
	int fd, const char *name, uint64_t offset, void *dst, size_t n, aqz_error *err)
{
	char *p = dst;

	while (n > 0) {
		/* Linux reads no more than 2^31 - 4096 bytes at once. */
		const ssize_t got = pread(fd, p, (size_t)aqz_min(n, UINT64_C(1) << 30), (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return aqz_source_system(err, errno, name, "read the file");
		if (got == 0)
			return aqz_fail(
				err, AQZ_E_TRUNCATED, offset, name, "the file became shorter while it was read");
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return AQZ_OK;
}

aqz_status aqz_source_read(
	const aqz_source *source, uint32_t file, uint64_t offset, void *dst, size_t n, aqz_error *err)
{
	const aqz_source_entry *entry;
	aqz_status status;
	int fd;

	if (source == NULL || file >= source->n_files || (dst == NULL && n > 0))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "no such file of the source");
	entry = &source->files[file];
	if (offset > entry->file.n_bytes || n > entry->file.n_bytes - offset)
		return aqz_fail(err, AQZ_E_ARGUMENT, offset, entry->file.name,
			"%zu bytes there are beyond the file's %" PRIu64, n, entry->file.n_bytes);
	if (source->container != NULL)
		return aqz_source_container_read(source, file, offset, dst, n, err);
	if (entry->fd >= 0)
		return read_all(entry->fd, entry->file.name, offset, dst, n, err);
	status = open_entry(source, &fd, entry, err);
	if (status == AQZ_OK) {
		status = read_all(fd, entry->file.name, offset, dst, n, err);
		close(fd);
	}
	return status;
}

/* In a folder, an error inside a file says which file. */
static aqz_status name_file(
	const aqz_source *source, const aqz_source_entry *entry, aqz_status status, aqz_error *err)
{
	aqz_error found;

	if (status == AQZ_OK || err == NULL || !source->folder ||
		strcmp(err->where, entry->file.name) == 0)
		return status;
	found = *err;
	return aqz_fail(err, status, found.offset, found.where[0] ? found.where : entry->file.name,
		"%s (in %s)", found.text, entry->file.name);
}

/* Reads and parses the header of model file i. */
static aqz_status load_table(aqz_source *source, uint32_t i, aqz_error *err)
{
	aqz_source_entry *entry = &source->files[i];
	uint64_t n = aqz_min(entry->file.n_bytes, HEAD_BYTES), left = 0;
	uint8_t head[HEAD_BYTES];
	const char *hint;
	void *header = NULL;
	aqz_status status;

	AQZ_TRY(aqz_source_read(source, i, 0, head, (size_t)n, err));
	if (n >= 8 && aqz_get64(head) <= AQZ_SAFETENSORS_MAX_HEADER)
		n = aqz_min(entry->file.n_bytes, 8 + aqz_get64(head));
	AQZ_TRY(aqz_budget_alloc(&source->budget, &header, n, "the header", err));
	AQZ_TRY(aqz_source_read(source, i, 0, header, (size_t)n, err));
	if (source->budget.limit_bytes != 0) {
		left = source->budget.limit_bytes - source->budget.used_bytes;
		left = left == 0 ? 1 : left; /* 0 would be no limit */
	}
	status = aqz_safetensors_parse(&entry->table, header, (size_t)n, entry->file.n_bytes, left, err);
	if (status == AQZ_E_FORMAT && (hint = aqz_source_hint(header, (size_t)n)) != NULL)
		status = aqz_fail(err, AQZ_E_FORMAT, 0, entry->file.name,
			"this is no safetensors file; it looks like %s", hint);
	if (status != AQZ_OK)
		goto out;
	source->budget.used_bytes += aqz_safetensors_memory(&entry->table);
	if (entry->table.n_tensors > AQZ_MAX_TENSORS - source->n_tensors) {
		status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, NULL,
			"there are more than %" PRIu32 " tensors", AQZ_MAX_TENSORS);
		goto out;
	}
	for (uint32_t k = 0; k < entry->table.n_tensors; k++)
		entry->table.tensors[k].file = i;
	entry->file.header_bytes = entry->table.header_bytes;
	entry->first_tensor = source->n_tensors;
	source->n_tensors += entry->table.n_tensors;
out:
	aqz_budget_free(&source->budget, header, n);
	return name_file(source, entry, status, err);
}

static aqz_status open_folder(aqz_source *source, aqz_error *err)
{
	aqz_source_index index = {0};
	aqz_status status;

	AQZ_TRY(aqz_source_list(source, err));
	AQZ_TRY(aqz_source_choose(source, &index, err));
	for (uint32_t i = 0; i < source->n_models; i++) {
		if (i < MAX_KEPT_OPEN)
			AQZ_TRY(open_entry(source, &source->files[i].fd, &source->files[i], err));
		AQZ_TRY(load_table(source, i, err));
	}
	if (index.json != NULL)
		AQZ_TRY(aqz_source_index_check(&index, source, err));
out:
	aqz_source_index_free(&index, source);
	return status;
}

/* Takes fd, also on failure. */
static aqz_status open_single(
	aqz_source *source, int fd, const char *path, const struct stat *info, aqz_error *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	aqz_status status = aqz_source_add(source, name, info, err);

	if (status != AQZ_OK) {
		close(fd);
		return status;
	}
	source->files[0].fd = fd;
	source->files[0].model = true;
	source->n_models = 1;
	if (!aqz_text_ok(name, strlen(name)))
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, NULL,
			"the file's name is no UTF-8 or holds control characters");
	return load_table(source, 0, err);
}

aqz_status aqz_source_open(aqz_source **out, const char *path, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_source *source = NULL;
	struct stat info;
	aqz_status status;
	int fd;

	if (out != NULL)
		*out = NULL;
	if (out == NULL || path == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "a pointer is NULL");
	/* Before opening: to open a device can have effects. */
	if (stat(path, &info) != 0)
		return aqz_source_system(err, errno, NULL, "open the model");
	if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
		return aqz_fail(
			err, AQZ_E_FORMAT, AQZ_NO_OFFSET, NULL, "this is neither a file nor a folder");
	fd = open(path, OPEN_FLAGS);
	if (fd < 0)
		return aqz_source_system(err, errno, NULL, "open the model");
	source = calloc(1, sizeof *source);
	if (source == NULL) {
		close(fd);
		return aqz_fail_nomem(err, sizeof *source);
	}
	source->dir = -1;
	source->budget.limit_bytes = memlimit_bytes;
	if (fstat(fd, &info) != 0) {
		status = aqz_source_system(err, errno, NULL, "open the model");
		close(fd);
	} else if (S_ISDIR(info.st_mode)) {
		source->folder = true;
		source->dir = fd;
		status = open_folder(source, err);
	} else if (S_ISREG(info.st_mode)) {
		status = open_single(source, fd, path, &info, err);
	} else {
		status =
			aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, NULL, "this is neither a file nor a folder");
		close(fd);
	}
	if (status == AQZ_OK)
		*out = source;
	else
		aqz_source_close(source);
	return status;
}

void aqz_source_close(aqz_source *source)
{
	if (source == NULL)
		return;
	for (uint32_t i = 0; i < source->n_files; i++) {
		aqz_source_entry *entry = &source->files[i];
		char *name = (char *)(uintptr_t)entry->file.name; /* ours; const for the user */

		aqz_safetensors_free(&entry->table);
		if (entry->fd >= 0)
			close(entry->fd);
		aqz_budget_free(&source->budget, name, strlen(name) + 1);
	}
	aqz_budget_free(&source->budget, source->files, source->capacity * sizeof *source->files);
	if (source->dir >= 0)
		close(source->dir);
	aqz_source_container_free(source->container);
	free(source);
}

bool aqz_source_is_folder(const aqz_source *source)
{
	return source->folder;
}

const aqz_source_tensor *aqz_source_get(const aqz_source *source, uint32_t i)
{
	uint32_t low = 0, high = source->n_models;

	if (i >= source->n_tensors)
		return NULL;
	/* The last file whose first tensor is i or before; files without tensors come before it. */
	while (high - low > 1) {
		const uint32_t middle = low + (high - low) / 2;

		if (source->files[middle].first_tensor <= i)
			low = middle;
		else
			high = middle;
	}
	return &source->files[low].table.tensors[i - source->files[low].first_tensor];
}

uint32_t aqz_source_n_tensors(const aqz_source *source)
{
	return source->n_tensors;
}

const aqz_source_file *aqz_source_get_file(const aqz_source *source, uint32_t i)
{
	return i < source->n_files ? &source->files[i].file : NULL;
}
