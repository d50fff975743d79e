/* SPDX-License-Identifier: Apache-2.0 */
/* What the safetensors reader and writer and aqz_source share. */
#ifndef AQZ_SAFETENSORS_H
#define AQZ_SAFETENSORS_H

#include "base/base.h"
#include "interop/json_text.h"

/* The key of the one entry that is no tensor. */
#define AQZ_SAFETENSORS_METADATA "__metadata__"

/* A zeroed field for the error: "tensor[NAME]field", field "" or ".shape"; the start of a name that
 * is too long gives way to "...", since the end says more ("...layers.7.mlp.up_proj.weight"). */
#define AQZ_WHERE_BYTES sizeof(((aqz_error *)0)->where)
void aqz_safetensors_where(char where[AQZ_WHERE_BYTES], const char *name, size_t name_bytes,
	const char *field);

/* qsort(3) order of const aqz_source_tensor *: names bytewise, shorter first. */
int aqz_safetensors_by_name(const void *a, const void *b);

/* A header's JSON while it is read. The text is at offset 8 of its file. */
typedef struct aqz_safetensors_text {
	const char *text;
	size_t n, at;
	aqz_budget *budget;
	aqz_error *err;
} aqz_safetensors_text;

/* Reports CORRUPT at the place where reading stands. */
aqz_status aqz_safetensors_corrupt(
	const aqz_safetensors_text *p, const char *where, const char *text);

/* Refuses a name or entry for which jansson would grow a large tree, none of it acceptable. */
aqz_status aqz_safetensors_cost(
	const aqz_safetensors_text *p, const aqz_json_count *count, const char *where);

/* Reads the entry at p->at of tensor t, whose name is known; *end is where it ends. t->offset
 * counts from the start of the data. */
aqz_status aqz_safetensors_entry(
	aqz_source_tensor *t, size_t *end, const aqz_safetensors_text *p);

/* Bytes that a parsed header holds. */
uint64_t aqz_safetensors_memory(const aqz_safetensors *s);

#endif
