/* SPDX-License-Identifier: Apache-2.0 */
/* A compression plan's inside.
 *
 *	decide.c      what each tensor becomes
 *	plan.c        bytes and memory of that
 *	codebooks.c   which tensors have the same codebooks, and where these come from
 *	training.c    what training them reads
 *	provenance.c  the text about the options, and the file's id
 *	trellis.c     a trellis tensor, and what it costs in the file; trellis_slope.c: the constant that many share
 *	encode.c      a tensor's weights, statistics and codes; share.c: codebooks that several have
 *	checkpoint.h  what is kept of that if the run may be interrupted
 *	compress.c    the order of all that, and what is written */
#ifndef AQZ_INTEROP_PLAN_H
#define AQZ_INTEROP_PLAN_H

#include "base/base.h"

#define AQZ_NO_SET UINT32_MAX
/* Frames, records and index entries of a tensor with its parameter sections, at most. */
#define AQZ_SECTION_OVERHEAD 1024

/* Tensors with the same codebooks: trained together, or taken from a container. */
typedef struct aqz_book_set {
	aqz_scheme scheme;
	aqz_dtype dtype;
	uint64_t n_bytes;         /* of the codebooks and their scales as stored */
	const char *key;          /* trained: what the members have in common */
	size_t key_bytes;
	uint32_t first;           /* the first member's entry */
	uint32_t n_members;       /* entries that are coded */
	const aqz_section_info *from; /* the tensor's section that has the codebooks in codebooks_from; NULL = trained */
	uint64_t training_bytes;  /* of memory; 0 if from */
	uint64_t training_reads;  /* bytes of tensors that training reads */
} aqz_book_set;

/* What a plan knows of an entry beyond what it tells. */
typedef struct aqz_plan_more {
	uint32_t set;             /* in sets, or AQZ_NO_SET: codebooks of its own */
	const aqz_source_tensor *stats; /* the matrix H in opt.stats, or NULL */
	const aqz_source_tensor *importance; /* trellis: of its rows, where that sets their steps, or NULL */
	uint64_t plain_bytes;     /* of its lossless form, once it was asked for */
} aqz_plan_more;

struct aqz_plan {
	const aqz_source *source;
	aqz_compress_options opt; /* with defaults filled in; rules borrowed */
	aqz_plan_entry *entries;
	aqz_plan_more *more;      /* for each entry */
	uint32_t n_entries, n_files;
	aqz_book_set *sets;
	uint32_t n_sets, sets_capacity;
	uint32_t *set_of_section; /* of codebooks_from: the set with the codebooks that begin there, or AQZ_NO_SET */
	struct aqz_kind_books *kinds; /* of codebooks_from: module names that were asked for */
	uint32_t n_kinds, kinds_capacity;
	char *provenance;         /* JSON, canonical: also what the id is made of */
	uint8_t id[16];
	uint8_t run[16];          /* the id, also if another was given: of checkpoints */
	uint64_t memory_bytes, bound_bytes;
	unsigned n_crew;          /* trellis tensors that may be coded side by side; 1: none */
};

/* The matrix that a codec sees in a tensor of rank >= 2: all leading dimensions but the last two
 * are folded into rows. */
void aqz_plan_view(const aqz_source_tensor *t, uint32_t *leading, uint64_t *rows, uint64_t *cols);

/* The options of the encoder for this plan. */
aqz_encode_options aqz_plan_encode_options(const aqz_plan *plan);

/* An entry's matrix without its weights; hessian is NULL or, if it has statistics, some other pointer. */
aqz_layer aqz_plan_layer(const aqz_plan *plan, uint32_t entry);

/* ---- decide.c */

/* Settles scheme, raw_reason, set and statistics of all entries. */
aqz_status aqz_plan_decide(aqz_plan *plan, aqz_error *err);
/* Bytes of a coded entry's codes and scales, without codebooks. */
uint64_t aqz_plan_coded_bytes(const aqz_plan *plan, uint32_t entry);

/* ---- stats.c */

/* The name of some tensor in the file, to show what names it has. */
const char *aqz_stats_example(const aqz_stats *stats);

/* ---- energy.c */

/* Bytes that aqz_layer_energy takes. */
uint64_t aqz_layer_energy_memory(const aqz_layer *layer, unsigned n_threads);

/* ---- codebooks.c */

/* "q_proj" of "model.layers.0.self_attn.q_proj.weight": what stands before ".weight", back to a dot. */
const char *aqz_module_name(const char *name, size_t *n_bytes);

/* Bytes of codebooks and their scales as stored. */
uint64_t aqz_codebooks_bytes(const aqz_scheme *scheme, aqz_dtype dtype);
/* Puts an entry, whose scheme is set, into its set, if it has one. NOT_FOUND if codebooks_from has no codebooks for it,
 * ARGUMENT if they are of another scheme. */
aqz_status aqz_sets_add(aqz_plan *plan, uint32_t entry, aqz_error *err);
/* Takes an entry that is not coded after all out of its set. */
void aqz_sets_drop(aqz_plan *plan, uint32_t entry);
/* Once all entries are settled: sets of one that would be trained are gone, the others have their first and memory. */
aqz_status aqz_sets_settle(aqz_plan *plan, aqz_error *err);
void aqz_sets_free(aqz_plan *plan);

/* ---- training.c */

/* What training a set reads: matrices spread evenly over the set, rows spread evenly over each. */
typedef struct aqz_training {
	uint32_t n_layers;
	unsigned row_shift;      /* code rows of a layer: all of them >> row_shift, at least 1 */
	uint32_t *entries;       /* [n_layers]; freed by the caller */
	uint64_t data_bytes;     /* of weights and matrices H */
	uint64_t memory_bytes;   /* with the encoder's */
	uint64_t read_bytes;     /* of the tensors */
} aqz_training;

/* Depends on the plan alone, and not on threads or the memory limit: it decides about bytes. */
aqz_status aqz_training_choose(aqz_training *t, const aqz_plan *plan, uint32_t set, aqz_error *err);
/* Rows of an entry that training takes: n code rows, each at aqz_training_row. */
uint64_t aqz_training_code_rows(const aqz_layer *layer, const aqz_scheme *scheme, unsigned row_shift);

/* ---- encode.c */

/* Bytes that measuring the error of a matrix takes, beside the matrix and its statistics. */
uint64_t aqz_measure_memory(const aqz_layer *layer, unsigned n_threads);

/* ---- trellis.c */

/* Rows of its chunks, as the writer of the plan's file makes them. */
uint32_t aqz_trellis_chunk_rows(const aqz_source_tensor *t);
/* What the tensor costs in the file beside its parameters and payloads, about: frames, padding, records, index. */
uint64_t aqz_trellis_overhead(const aqz_source_tensor *t);
/* About what it will cost beside that. */
uint64_t aqz_trellis_bytes(const aqz_plan *plan, uint32_t entry);
/* Bytes of memory to encode and write it, beside the weights and H. */
uint64_t aqz_trellis_memory(const aqz_plan *plan, uint32_t entry);

/* ---- provenance.c */

/* Sets plan->provenance and plan->id. */
aqz_status aqz_plan_describe(aqz_plan *plan, aqz_error *err);

#endif
