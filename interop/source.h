/* SPDX-License-Identifier: Apache-2.0 */
/* Inside aqz_source: the files of a model, and the steps that open it. */
#ifndef AQZ_SOURCE_H
#define AQZ_SOURCE_H

#include <sys/stat.h>
#include <sys/types.h>

#include "base/base.h"
#include "interop/json_text.h"
#include "interop/safetensors.h"

#define AQZ_SOURCE_INDEX "model.safetensors.index.json"

/* One file. Which one was settled when it was listed: device, inode and size may not change. */
typedef struct aqz_source_entry {
	aqz_source_file file;  /* file.name is owned */
	bool model;            /* a safetensors file of the model, not an attached one */
	int fd;                /* kept open, or -1: opened for each read */
	dev_t device;
	ino_t inode;
	aqz_safetensors table; /* of a model file */
	uint32_t first_tensor;
} aqz_source_entry;

struct aqz_source {
	bool folder;
	int dir;                 /* the folder, or -1 */
	aqz_source_entry *files; /* once open: model files first, each part by name */
	uint32_t n_files, n_models, capacity;
	uint32_t n_tensors;
	aqz_budget budget;
	struct aqz_source_container *container; /* NULL, or the files are in a container, whose model has no directory */
};

/* source.c */
aqz_status aqz_source_add(
	aqz_source *source, const char *name, const struct stat *info, aqz_error *err);
/* Fills *err from errno's value; where is a file's name or NULL. ENOENT becomes NOT_FOUND. */
aqz_status aqz_source_system(aqz_error *err, int number, const char *where, const char *doing);

/* source_aqz.c: a container as a source. */
aqz_status aqz_source_container_read(
	const aqz_source *source, uint32_t file, uint64_t offset, void *dst, size_t n, aqz_error *err);
void aqz_source_container_free(struct aqz_source_container *c);
/* The container, or NULL. */
const aqz_reader *aqz_source_reader(const aqz_source *source);

/* source_folder.c: lists the folder, chooses the model's files, sorts. index as below. */
typedef struct aqz_source_index aqz_source_index;
aqz_status aqz_source_list(aqz_source *source, aqz_error *err);
aqz_status aqz_source_choose(aqz_source *source, aqz_source_index *index, aqz_error *err);

/* source_index.c: model.safetensors.index.json, which says which shard holds a tensor. */
typedef struct aqz_source_place {
	const char *tensor, *shard; /* in the JSON tree */
	size_t tensor_bytes;
} aqz_source_place;

struct aqz_source_index {
	json_t *json; /* NULL: the folder has no index */
	uint64_t charged;
	aqz_source_place *places;
	uint64_t n_places;
};

/* The entry of that name in files that are sorted by name, or NULL. */
aqz_source_entry *aqz_source_find(const aqz_source *source, const char *name);
/* Reads the index and marks the files that it names as the model's. files are sorted by name. */
aqz_status aqz_source_index_read(
	aqz_source_index *index, aqz_source *source, uint32_t file, aqz_error *err);
/* Checks that index and shards agree on every tensor, and that no two shards have the same name. */
aqz_status aqz_source_index_check(aqz_source_index *index, aqz_source *source, aqz_error *err);
void aqz_source_index_free(aqz_source_index *index, aqz_source *source);

/* source_hint.c: what a file that is no safetensors file looks like by its first bytes, or NULL. */
const char *aqz_source_hint(const uint8_t *head, size_t n);

#endif
