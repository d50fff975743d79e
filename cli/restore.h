/* SPDX-License-Identifier: Apache-2.0 */
/* decompress, inside: where each tensor of a container goes (restore_layout.c), how rows get there (restore_data.c),
 * and who brings them, a file (restore_feed.c) or a pipe (restore_pipe.c). */
#ifndef AQZ_CLI_RESTORE_H
#define AQZ_CLI_RESTORE_H

#include <stdatomic.h>

#include "cli/cli.h"

/* What is written. */
typedef enum restore_mode {
	RESTORE_FOLDER,      /* the source's files under their names */
	RESTORE_SAFETENSORS, /* one safetensors file */
	RESTORE_RAW          /* the elements of one tensor */
} restore_mode;

typedef struct restore_options {
	restore_mode mode;
	const char **names; /* tensors asked for; n_names 0 = all */
	uint32_t n_names;
	bool has_rows;      /* with one name: rows [row_begin, row_end) of its coded view; UINT64_MAX = to the end */
	uint64_t row_begin, row_end;
	aqz_dtype dtype;    /* floats become this; 0 = as they are */
	bool original;      /* only what is bit-exact */
	const cli_common *common;
	cli_input *in;
	cli_output *out;
} restore_options;

/* A safetensors file of the source, or the one to be made. */
typedef struct restore_file {
	char *name;
	uint8_t *header;       /* as it stood in the source, or as it will be written */
	size_t header_bytes, filled;
	uint32_t section;      /* its number in the container */
	aqz_safetensors parsed;
	bool is_parsed, rebuild; /* rebuild: what is written is not what stood in the source */
	int fd;
	uint64_t end;          /* bytes of the whole file that is written */
} restore_file;

/* A tensor and its place. */
typedef struct restore_slot {
	aqz_source_tensor source; /* what the source's header says of it */
	const aqz_tensor_info *info; /* the container's; NULL until it was declared */
	uint32_t file;
	bool wanted;
	aqz_dtype out_dtype;
	uint64_t out_bytes, offset; /* in the file that is written */
	uint64_t rows_begin, rows_end, view_cols; /* of the coded view: what is written */
	uint8_t *whole;           /* a pipe: a transposed tensor's view, until all of it is there */
	uint64_t rows_in;         /* a pipe: rows that have been written or collected */
} restore_slot;

/* An attached file that is kept back until the sizes of all tensors are known. */
typedef struct restore_kept {
	struct restore_kept *next;
	size_t n_bytes;
	char *name;
	uint8_t data[];
} restore_kept;

typedef struct restore {
	restore_options opt;
	restore_file *files;
	uint32_t n_files;
	restore_slot *slots;      /* in the order of the source's files and offsets */
	uint32_t n_slots;
	uint32_t *by_name;        /* slots in the order of their names */
	bool laid_out;
	char *metadata;           /* of the safetensors file to be made; borrowed from a parsed header */
	/* A pipe: sections by number, and the slot of each or NULL. */
	const aqz_section_info **sections;
	restore_slot **section_slots;
	uint32_t n_sections;
	const aqz_tensor_info **waiting; /* tensors that were declared before the layout was known */
	uint32_t n_waiting;
	int attached_fd;          /* the attached file that is being written, or -1 */
	uint64_t attached_filled;
	restore_kept *kept, *keeping;
	cli_progress progress;
	_Atomic bool write_failed; /* the output is at fault, not the container */
	_Atomic uint64_t done_bytes;
	uint64_t total_bytes;     /* 0 = unknown */
} restore;

void restore_begin(restore *r, const restore_options *opt);
void restore_end(restore *r);

/* ---- restore_layout.c */

/* Declares a source header; its bytes follow by restore_header_put. */
aqz_status restore_header_declare(restore *r, const aqz_section_info *section, aqz_error *err);
aqz_status restore_header_put(restore *r, uint32_t section, uint64_t begin, const void *data, size_t n, aqz_error *err);
/* All source headers are here: decides the slots. reader: NULL for a pipe. A file whose headers are missing or speak of
 * other tensors than it holds is laid out by its own table where one safetensors file is asked for. Writes nothing. */
aqz_status restore_layout(restore *r, const aqz_reader *reader, aqz_error *err);
/* Compares what the container says of a tensor with the source's header, and *out is its slot, or NULL if it is not
 * wanted. */
aqz_status restore_match(restore *r, restore_slot **out, const aqz_tensor_info *info, const aqz_section_info *section,
	aqz_error *err);
/* Places: headers that are written, offsets. Creates the files and writes the headers. */
aqz_status restore_open_files(restore *r, aqz_error *err);

/* ---- restore_data.c */

/* Writes to the output, at an offset or at the descriptor's position; remembers a failure as the output's. */
#define RESTORE_APPEND UINT64_MAX
aqz_status restore_write(restore *r, int fd, const void *data, size_t n, uint64_t offset, aqz_error *err);
/* Rows of a coded view, for a slot. Threads may call it for different rows. */
aqz_status restore_rows(restore *r, restore_slot *slot, const aqz_section_info *section, uint64_t row_begin,
	uint64_t n_rows, const void *data, aqz_error *err);
/* All of a tensor, in its own shape. */
aqz_status restore_whole(restore *r, restore_slot *slot, const void *data, aqz_error *err);
/* Turns a transposed view back: dst is [cols][rows], the tensor's own order, src is [rows][cols]. */
void restore_turn(uint8_t *dst, const uint8_t *src, uint64_t rows, uint64_t cols, size_t element_bytes);
/* A tensor that is a second name of an earlier one, in a pipe: its bytes are there already. */
aqz_status restore_copy(restore *r, const restore_slot *from, const restore_slot *to, aqz_error *err);
aqz_status restore_attached_open(restore *r, const aqz_section_info *section, aqz_error *err);
aqz_status restore_attached_put(restore *r, const aqz_section_info *section, const void *data, size_t n,
	aqz_error *err);
/* Syncs what was written. */
aqz_status restore_close_files(restore *r, aqz_error *err);

/* ---- restore_feed.c */

aqz_status restore_from_file(restore *r, aqz_error *err);

/* ---- restore_pipe.c */

aqz_status restore_from_pipe(restore *r, aqz_error *err);

/* ---- restore_json.c */

/* The bytes of data that a safetensors header speaks of: its greatest end offset. */
aqz_status restore_data_bytes(uint64_t *out, const uint8_t *header, size_t n, aqz_error *err);
/* Puts another metadata.total_size into a model's index; *out is freed with free(). */
aqz_status restore_change_index(char **out, size_t *out_bytes, const void *index, size_t n, uint64_t total_bytes,
	aqz_error *err);

#endif
