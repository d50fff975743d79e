/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: what a run has coded, kept in a folder until its output is safe. Each is a container of files, so that
 * every byte is hashed and the reader is the one for hostile files; its id is that of the run.
 *
 *	checkpoint.c       the folder: its lock, what is there, what goes at the end
 *	checkpoint_file.c  one checkpoint, written whole or not at all, and read strictly
 *	checkpoint_run.c   which run it is of, and how another one differs
 *	checkpoint_coder.c a tensor or the codebooks of a set as a checkpoint, and what of the model they were made of */
#ifndef AQZ_INTEROP_CHECKPOINT_H
#define AQZ_INTEROP_CHECKPOINT_H

#include "interop/encode.h"

/* The field that errors about the folder name. */
#define AQZ_CHECKPOINT_WHERE "options.checkpoint_dir"

/* What a checkpoint stands for: an entry of the plan, or a set of it. */
typedef enum aqz_kept { AQZ_KEPT_TENSOR = 0, AQZ_KEPT_SET = 1 } aqz_kept;

struct aqz_checkpoint {
	const aqz_plan *plan;
	int dir, lock;    /* descriptors, -1 = none */
	bool made;        /* the folder was made for these checkpoints, and goes with them */
	bool lock_is_new, kept; /* this run made the lock file; has written a checkpoint */
	struct XXH3_state_s *hash; /* of the model's bytes that the next checkpoint is made of */
};

/* ---- checkpoint.c. A NULL checkpoint keeps nothing and has nothing. */

/* Makes the folder if need be, locks it, removes what a killed run left half written, and makes sure that what is there
 * may be gone on with. *out is NULL if the plan keeps no checkpoints. */
aqz_status aqz_checkpoint_open(aqz_checkpoint **out, const aqz_plan *plan, aqz_error *err);
/* A folder without checkpoints is left as it was found. */
void aqz_checkpoint_close(aqz_checkpoint *p);
bool aqz_checkpoint_has(const aqz_checkpoint *p, aqz_kept kind, uint32_t number);

#define AQZ_CHECKPOINT_NAME_BYTES 32
void aqz_checkpoint_name(char name[AQZ_CHECKPOINT_NAME_BYTES], aqz_kept kind, uint32_t number);
/* An error about the folder; doing says what could not be done. */
aqz_status aqz_checkpoint_system(aqz_error *err, int number, const char *doing);

/* ---- checkpoint_run.c */

/* The file that says what a checkpoint stands for. */
#define AQZ_CHECKPOINT_WHAT "checkpoint"
/* CORRUPT, CHECKSUM and so on if the file cannot be trusted; ARGUMENT, with *other set, if it is sound but no
 * checkpoint or one of another run. */
aqz_status aqz_checkpoint_same_run(bool *other, const aqz_plan *plan, const aqz_reader *reader, aqz_error *err);

/* ---- checkpoint_file.c */

/* A file in the container. */
typedef struct aqz_part {
	const char *name;
	void *data;
	uint64_t n_bytes;
} aqz_part;

/* Opens a file of the folder; free with aqz_checkpoint_close_file(). */
typedef struct aqz_checkpoint_file {
	int fd;
	aqz_reader *reader;
} aqz_checkpoint_file;
aqz_status aqz_checkpoint_open_file(aqz_checkpoint_file *f, const aqz_checkpoint *p, const char *name, aqz_error *err);
void aqz_checkpoint_close_file(aqz_checkpoint_file *f);

#define AQZ_CHECKPOINT_TEMPORARY "aqlmzip-new.tmp"
/* Writes, syncs and renames. what: a sentence that says what the checkpoint stands for. */
aqz_status aqz_checkpoint_write(aqz_checkpoint *p, aqz_kept kind, uint32_t number, const char *what,
	const aqz_part *parts, uint32_t n_parts, aqz_error *err);
/* Fills all parts, or sets *good to false after a warning that says why the checkpoint is of no use. Only want of
 * memory is an error. */
aqz_status aqz_checkpoint_read(bool *good, const aqz_checkpoint *p, aqz_kept kind, uint32_t number, const char *what,
	const aqz_part *parts, uint32_t n_parts, aqz_error *err);
void aqz_checkpoint_warn(const aqz_checkpoint *p, const char *name, const char *why);

/* ---- checkpoint_coder.c */

/* Begins the hash of the model's bytes, and adds to it. */
void aqz_checkpoint_hash_start(aqz_checkpoint *p);
void aqz_checkpoint_hash_add(aqz_checkpoint *p, const void *data, size_t n);

/* Sets *a and *measured from the tensor's checkpoint; a->codes stays NULL if there is none of use. An error if the
 * model is not the one that it was made of. */
aqz_status aqz_checkpoint_take(aqz_additive *a, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err);
/* Keeps them; what was hashed is the tensor. */
aqz_status aqz_checkpoint_keep(const aqz_additive *a, const aqz_measured *measured, aqz_coder *c, uint32_t entry,
	aqz_error *err);
/* The same for c->books[set]; what was hashed is what training has read, also before the first. */
aqz_status aqz_checkpoint_take_books(aqz_coder *c, uint32_t set, aqz_error *err);
aqz_status aqz_checkpoint_keep_books(aqz_coder *c, uint32_t set, aqz_error *err);

#endif
