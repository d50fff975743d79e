/* SPDX-License-Identifier: Apache-2.0 */
/* Running a plan, inside: what coding a tensor needs of its model, its statistics and its set. */
#ifndef AQZ_INTEROP_ENCODE_H
#define AQZ_INTEROP_ENCODE_H

#include "codec/encode/trellis_layer.h"
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
	double slope;              /* the constant that trellis tensors share, once it is there */
	double *energies;          /* [entries]: tr(W H W^T) of trellis tensors as far as it is known; else below 0 */
	unsigned n_threads;        /* that a tensor may take */
	uint64_t limit_bytes;      /* of memory; 0: none */
	struct aqz_crew *crew;     /* NULL but for a member of one, which encodes beside others */
	unsigned member;           /* its number there */
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
/* Its weights as F32; NULL, with measured->raw_reason, if they are not finite and such tensors are stored lossless.
 * Free with free(). */
aqz_status aqz_coder_weights(float **w, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err);
/* The statistics of an entry, NULL without. They are kept until others are asked for. */
aqz_status aqz_coder_hessian(const float **out, aqz_coder *c, uint32_t entry, aqz_error *err);
/* Refuses an entry whose coding needs more than the limit. */
aqz_status aqz_coder_check_memory(const aqz_coder *c, const aqz_plan_entry *e, aqz_error *err);

/* Rows of W_hat in binary32 as a reader has them in the tensor's dtype. */
typedef aqz_status aqz_decoded_fn(float *dst, const void *coded, aqz_dtype dtype, uint64_t row_begin, uint64_t row_end,
	aqz_error *err);
/* Sets rel_mse and, with a Hessian, loss_after and loss_before, which is the given one or, if below 0, the same;
 * rel_mse is not finite if some of W_hat is not. at_once: rows to decode at a time; energy: of the layer, below 0 if
 * it is not known. layer->w is overwritten by the errors. */
aqz_status aqz_coder_measure(aqz_measured *measured, const aqz_layer *layer, float *w, aqz_decoded_fn *decoded,
	const void *coded, aqz_dtype dtype, uint64_t at_once, double energy, double loss_before, unsigned n_threads,
	aqz_error *err);

/* trellis.c: as aqz_coder_encode, but for a trellis entry, and nothing of it is kept as a checkpoint. An m->index of
 * NULL says that the tensor is to be stored lossless. Free with aqz_trellis_matrix_free(). */
aqz_status aqz_coder_trellis(aqz_trellis_matrix *m, aqz_measured *measured, aqz_coder *c, uint32_t entry,
	aqz_error *err);
/* Warns of a goal of bits that m is far from, once it is written. */
void aqz_coder_trellis_missed(const aqz_coder *c, uint32_t entry, const aqz_trellis_matrix *m);
/* Bytes of the file that an entry costs with the shared constant slope: of its lossless form if that is less. share:
 * what part of the rows is looked at, spread evenly. */
aqz_status aqz_coder_trellis_bytes(double *n_bytes, aqz_coder *c, uint32_t entry, double slope, double share,
	aqz_error *err);
/* The constant that gives an entry so many bits a weight. */
aqz_status aqz_coder_trellis_slope(double *slope, aqz_coder *c, uint32_t entry, double bits, aqz_error *err);

/* trellis_slope.c: sets c->slope, if some entry needs it. */
aqz_status aqz_coder_find_slope(aqz_coder *c, aqz_error *err);

/* Says that an entry is done, whether it was encoded here or not: codebooks whose last user it was are freed. */
void aqz_coder_release(aqz_coder *c, uint32_t entry);

/* crew.c: as aqz_coder_tell, for a member of a crew; false if the run was stopped. */
bool aqz_crew_tell(const aqz_coder *c, uint64_t under_way);

/* What is left of the memory limit after so many bytes, for the encoder: 0 = no limit. */
uint64_t aqz_coder_room(const aqz_coder *c, uint64_t used_bytes);

/* share.c: the codebooks of a set, trained or read when they are first asked for. */
aqz_status aqz_coder_books(const aqz_additive **out, aqz_coder *c, uint32_t set, aqz_error *err);

#endif
