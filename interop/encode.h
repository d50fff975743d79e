/* SPDX-License-Identifier: Apache-2.0 */
/* Running a plan, inside: what coding a tensor needs of its model, its statistics and its set. */
#ifndef AQZ_INTEROP_ENCODE_H
#define AQZ_INTEROP_ENCODE_H

#include "interop/plan.h"

/* What is read of the source at a time. */
#define AQZ_STEP_BYTES (UINT64_C(4) << 20)

typedef struct aqz_checkpoint aqz_checkpoint;

/* The state of a run but for the writer. Memory: the statistics read last, and the codebooks of sets under way. */
typedef struct aqz_coder {
	const aqz_plan *plan;
	uint8_t *step;             /* AQZ_STEP_BYTES */
	uint64_t done_bytes, total_bytes; /* of progress */
	uint64_t work_bytes;       /* that the encoder's progress stands for */
	float *hessian;            /* of hessian_of, the one read last: q, k and v come one after the other */
	const aqz_source_tensor *hessian_of;
	aqz_additive *books;       /* for each set: codebooks, once they are there */
	uint32_t *n_left;          /* for each set: members that are still to come */
	uint64_t books_bytes;
	aqz_checkpoint *checkpoint; /* NULL: none are kept */
} aqz_coder;

aqz_status aqz_coder_open(aqz_coder *c, const aqz_plan *plan, aqz_error *err);
void aqz_coder_close(aqz_coder *c);

/* Tells the progress, with what is under way; CANCELLED if the callback says so. */
aqz_status aqz_coder_tell(const aqz_coder *c, uint64_t under_way, aqz_error *err);
/* An aqz_progress_fn for the encoder: thousandths of work_bytes. */
bool aqz_coder_progress(void *user, uint64_t done, uint64_t total);

/* Reads n rows of a tensor's view, as F32; tells the progress if it takes steps. Adds them to the checkpoint's
 * hash; a w of NULL does no more than that. */
aqz_status aqz_coder_rows(aqz_coder *c, float *w, const aqz_source_tensor *t, uint64_t row, uint64_t n,
	aqz_error *err);

/* Reads the weights, codes them and measures the error of what a reader gets, in the tensor's dtype. An
 * a->codes of NULL says that the weights, or what they would decode to, are not finite, and the tensor is to
 * be stored lossless; measured->raw_reason then says why. All of that may come from a checkpoint, and is kept
 * as one. Free with aqz_additive_free(). */
aqz_status aqz_coder_encode(aqz_additive *a, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err);
/* Says that an entry is done, whether it was encoded here or not: codebooks whose last user it was are freed. */
void aqz_coder_release(aqz_coder *c, uint32_t entry);

/* What is left of the memory limit after so many bytes, for the encoder: 0 = no limit. */
uint64_t aqz_coder_room(const aqz_coder *c, uint64_t used_bytes);

/* share.c: the codebooks of a set, trained or read when they are first asked for. */
aqz_status aqz_coder_books(const aqz_additive **out, aqz_coder *c, uint32_t set, aqz_error *err);

#endif
