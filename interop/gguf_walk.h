/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the GGUF reader share: what an open file holds, and the walk that fills it. */
#ifndef AQZ_INTEROP_GGUF_WALK_H
#define AQZ_INTEROP_GGUF_WALK_H

#include "interop/gguf.h"

#define AQZ_GGUF_WHERE_BYTES sizeof(((aqz_error *)0)->where)

typedef struct aqz_gguf_entry {
	const char *key; /* no NUL behind it */
	size_t key_bytes;
	aqz_gguf_value value;
} aqz_gguf_entry;

/* How much there is of what a file can have many of. */
typedef struct aqz_gguf_counts {
	uint64_t header_bytes; /* all before the padding of the tensors' data */
	uint64_t n_entries, n_strings, name_bytes;
	uint32_t n_tensors;
} aqz_gguf_counts;

struct aqz_gguf {
	aqz_budget budget;
	aqz_gguf_counts counts;
	uint8_t *header;         /* [header_bytes] of the file */
	aqz_gguf_entry *entries; /* sorted by key once open */
	uint64_t *strings;       /* offsets in header, of the values one after the other */
	char *names;             /* of tensors, each with a NUL */
	aqz_gguf_tensor *tensors;
	const aqz_gguf_tensor **sorted; /* by name once open */
};

/* Walks the header without keeping any of it, and counts. Reads by pieces of 64 KiB. */
aqz_status aqz_gguf_measure(aqz_gguf_counts *counts, const aqz_io *io, uint64_t file_bytes, aqz_budget *budget,
	aqz_error *err);
/* Walks g->header again and fills the arrays, which have room for g->counts. Offsets of tensors count from the start of
 * their data then. */
aqz_status aqz_gguf_fill(aqz_gguf *g, aqz_error *err);

/* "tensor[NAME]FIELD" or "metadata[KEY]", for errors; the start of a name that is too long gives way to "...". */
void aqz_gguf_where(char where[AQZ_GGUF_WHERE_BYTES], const char *what, const char *name, size_t n, const char *field);

/* Bytes of a number of that kind, 0 for STRING, ARRAY and what is none. */
size_t aqz_gguf_kind_bytes(uint32_t kind);

#endif
