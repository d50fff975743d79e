/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of its own for each test of aqz_source, and models to put there. */
#ifndef AQZ_TEST_MODEL_FOLDER_H
#define AQZ_TEST_MODEL_FOLDER_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interop/source.h"

static char root[] = "/tmp/aqz-source-XXXXXX";
static char path_of[4096];

static inline void remove_all(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *item;
	char below[4096];

	while (dir != NULL && (item = readdir(dir)) != NULL) {
		struct stat info;

		if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
			continue;
		if (snprintf(below, sizeof below, "%s/%s", path, item->d_name) >= (int)sizeof below)
			continue;
		if (lstat(below, &info) == 0 && S_ISDIR(info.st_mode))
			remove_all(below);
		else
			unlink(below);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}

static inline void set_up(void)
{
	strcpy(root + strlen(root) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static inline void tear_down(void)
{
	remove_all(root);
}

static inline const char *in_root(const char *name)
{
	snprintf(path_of, sizeof path_of, "%s/%s", root, name);
	return path_of;
}

static inline void put(const char *name, const void *bytes, size_t n)
{
	FILE *file = fopen(in_root(name), "wb");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
	ck_assert_int_eq(fclose(file), 0);
}

static inline void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

/* A safetensors file of one F32 pair for each of the names (separated by spaces); the values are the
 * first letter of the tensor's name. */
static inline void put_model(const char *file, const char *names)
{
	aqz_source_tensor tensors[16] = {0};
	char copy[256], data[16 * 8], *rest = copy, *name;
	aqz_error err;
	uint8_t *header;
	uint32_t count = 0;
	size_t n;
	FILE *out;

	snprintf(copy, sizeof copy, "%s", names);
	while ((name = strtok_r(rest, " ", &rest)) != NULL) {
		tensors[count] = (aqz_source_tensor){.name = name,
			.name_bytes = strlen(name),
			.dtype = AQZ_F32,
			.rank = 1,
			.shape = {2},
			.n_elements = 2,
			.n_bytes = 8};
		memset(data + 8 * count, name[0], 8);
		count++;
	}
	ck_assert_int_eq(aqz_safetensors_header(&header, &n, tensors, count, NULL, &err), AQZ_OK);
	out = fopen(in_root(file), "wb");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(header, 1, n, out), n);
	ck_assert_uint_eq(fwrite(data, 1, 8 * count, out), 8 * count);
	fclose(out);
	free(header);
}

static inline aqz_source *open_ok(const char *path)
{
	aqz_source *source = NULL;
	aqz_error err = {0};
	const aqz_status status = aqz_source_open(&source, path, 0, &err);

	ck_assert_msg(status == AQZ_OK, "%s: %s: %s: %s", path, aqz_status_name(status), err.where,
		err.text);
	return source;
}

#define SHARD_1 "model-00001-of-00002.safetensors"
#define SHARD_2 "model-00002-of-00002.safetensors"

static inline void put_shards(void)
{
	put_model(SHARD_1, "d c");
	put_model(SHARD_2, "b a");
	put_text("config.json", "{}");
}

static inline void put_index(const char *weight_map)
{
	char text[4096];

	snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":1.5e3,\"x\":[{}]},\"weight_map\":%s}\n",
		weight_map);
	put_text(AQZ_SOURCE_INDEX, text);
}

#define MAP_OF_1 "\"c\":\"" SHARD_1 "\",\"d\":\"" SHARD_1 "\""
#define MAP "{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_2 "\"," MAP_OF_1 "}"

#endif
