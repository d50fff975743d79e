/* SPDX-License-Identifier: Apache-2.0 */
/* A Hugging Face folder: which of its files are the model's, and which are attached. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "interop/source.h"

#define SUFFIX ".safetensors"

static int by_name(const void *a, const void *b)
{
	const aqz_source_entry *x = a, *y = b;

	return strcmp(x->file.name, y->file.name);
}

static int models_first(const void *a, const void *b)
{
	const aqz_source_entry *x = a, *y = b;

	return x->model != y->model ? (x->model ? -1 : 1) : by_name(a, b);
}

aqz_source_entry *aqz_source_find(const aqz_source *source, const char *name)
{
	const aqz_source_entry key = {.file.name = name};

	if (source->n_files == 0)
		return NULL;
	return bsearch(&key, source->files, source->n_files, sizeof key, by_name);
}

/* A name that cannot be kept is shown with its odd bytes as \xNN. */
static aqz_status bad_name(const char *name, aqz_error *err)
{
	char where[AQZ_WHERE_BYTES] = "";
	size_t n = 0;

	for (; *name != '\0' && n + 5 < sizeof where; name++) {
		const unsigned char c = (unsigned char)*name;

		n += (size_t)snprintf(
			where + n, sizeof where - n, c < 0x20 || c > 0x7e ? "\\x%02x" : "%c", c);
	}
	return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
		"the file's name is no UTF-8, holds control characters or exceeds 255 bytes; rename it");
}

/* Lists one name: a regular file, perhaps through links, or nothing. */
static aqz_status list_one(aqz_source *source, const char *name, aqz_error *err)
{
	struct stat info;

	if (fstatat(source->dir, name, &info, 0) != 0) {
		const int number = errno;

		if (fstatat(source->dir, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
			return errno == ENOENT ? AQZ_OK /* deleted since it was listed */
								   : aqz_source_system(err, errno, name, "look at the file");
		if (S_ISLNK(info.st_mode) && (number == ENOENT || number == ELOOP || number == ENOTDIR))
			return aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, name,
				"the symbolic link leads to no file; is the model downloaded in full?");
		return aqz_source_system(err, number, name, "look at the file");
	}
	if (!S_ISREG(info.st_mode))
		return AQZ_OK;
	if (strlen(name) > 255 || !aqz_text_ok(name, strlen(name)))
		return bad_name(name, err);
	return aqz_source_add(source, name, &info, err);
}

aqz_status aqz_source_list(aqz_source *source, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	struct dirent *item;
	DIR *dir = NULL;
	/* closedir() closes what fdopendir() was given: not source->dir. */
	const int fd = openat(source->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		dir = fdopendir(fd);
	if (dir == NULL) {
		status = aqz_source_system(err, errno, NULL, "list the folder");
		if (fd >= 0)
			close(fd);
		return status;
	}
	for (;;) {
		errno = 0;
		item = readdir(dir);
		if (item == NULL)
			break;
		if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
			AQZ_TRY(list_one(source, item->d_name, err));
	}
	if (errno != 0)
		status = aqz_source_system(err, errno, NULL, "list the folder");
out:
	closedir(dir);
	if (status == AQZ_OK && source->n_files > 1)
		qsort(source->files, source->n_files, sizeof *source->files, by_name);
	return status;
}

static bool ends_in(const char *name, const char *suffix)
{
	const size_t n = strlen(name), m = strlen(suffix);

	return n > m && strcmp(name + n - m, suffix) == 0;
}

/* True for NAME-00002-of-00003.safetensors, but not for a single shard 1 of 1. */
static bool is_shard(const char *name)
{
	static const char form[] = "-ddddd-of-ddddd" SUFFIX;
	const size_t n = strlen(name), m = sizeof form - 1;
	const char *tail;

	if (n < m)
		return false;
	tail = name + n - m;
	for (size_t i = 0; i < m; i++)
		if (form[i] == 'd' ? tail[i] < '0' || tail[i] > '9' : tail[i] != form[i])
			return false;
	return strncmp(tail, "-00001-of-00001", 15) != 0;
}

/* The folder has no index: exactly one safetensors file is the model. */
static aqz_status choose_single(aqz_source *source, aqz_error *err)
{
	static const char *const others[] = {".gguf", ".bin", ".pt", ".pth", ".aqz", ".npz"};
	aqz_source_entry *found = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < source->n_files; i++) {
		aqz_source_entry *entry = &source->files[i];

		if (!ends_in(entry->file.name, SUFFIX))
			continue;
		if (is_shard(entry->file.name))
			return aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, AQZ_SOURCE_INDEX,
				"the folder has shards (%.60s) but not this index of them", entry->file.name);
		found = entry;
		n++;
	}
	if (n > 1)
		return aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, AQZ_SOURCE_INDEX,
			"the folder has %" PRIu32 " safetensors files but no index that says which are the "
			"model; give one of the files",
			n);
	if (n == 1) {
		found->model = true;
		return AQZ_OK;
	}
	for (uint32_t i = 0; i < source->n_files; i++)
		for (size_t k = 0; k < sizeof others / sizeof *others; k++)
			if (ends_in(source->files[i].file.name, others[k]))
				return aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, NULL,
					"the folder has no .safetensors file, but %.60s, which is not read",
					source->files[i].file.name);
	return aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, NULL, "the folder has no .safetensors file");
}

aqz_status aqz_source_choose(aqz_source *source, aqz_source_index *index, aqz_error *err)
{
	const aqz_source_entry *entry = aqz_source_find(source, AQZ_SOURCE_INDEX);
	aqz_status status;

	if (entry == NULL) {
		AQZ_TRY(choose_single(source, err));
	} else {
		AQZ_TRY(aqz_source_index_read(index, source, (uint32_t)(entry - source->files), err));
		entry = aqz_source_find(source, "model" SUFFIX);
		if (entry != NULL && !entry->model) {
			status = aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, entry->file.name,
				"the folder has this file and an index that does not name it: which is the model?");
			goto out;
		}
	}
	qsort(source->files, source->n_files, sizeof *source->files, models_first);
	while (source->n_models < source->n_files && source->files[source->n_models].model)
		source->n_models++;
out:
	return status;
}
