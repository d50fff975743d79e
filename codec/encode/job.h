/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the encoder in the metric of the inputs: the frame of encoding a layer and of training for several: memory,
 * results, work (job.c), and training (train.c). */
#ifndef AQZ_CODEC_ENCODE_JOB_H
#define AQZ_CODEC_ENCODE_JOB_H

#include "codec/encode/tune.h"

static inline uint64_t aqz_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- job.c */

/* Memory of a tuner whose layers have at most so many columns. */
typedef struct aqz_tuner_bytes {
	uint64_t values, work, parts, panel, search, prune, transformed, scratch_each, total;
	unsigned n_search, n_threads;
	bool has_bottom;
} aqz_tuner_bytes;

aqz_tuner_bytes aqz_tuner_bytes_of(const aqz_matrix *matrices, uint32_t n, bool has_hessian, const aqz_tune_effort *f,
	const aqz_encode_options *opt, bool trains);
/* Allocates all of a tuner but its layers, and e->codebooks and e->work. After a failure there is something to free. */
aqz_status aqz_tuner_create(aqz_tuner *t, aqz_encoder *e, const aqz_tuner_bytes *b, const aqz_kernels *kernels,
	aqz_budget *budget, aqz_error *err);
void aqz_tuner_free(aqz_tuner *t, const aqz_tuner_bytes *b, aqz_budget *budget);

aqz_dtype aqz_opt_codebook_dtype(const aqz_encode_options *opt);
aqz_dtype aqz_opt_scale_dtype(const aqz_encode_options *opt);

typedef struct aqz_result_bytes {
	uint64_t codes, codebooks, codebook_scales, scales;
} aqz_result_bytes;

/* a: NULL for codebooks alone. */
aqz_result_bytes aqz_result_bytes_of(const aqz_scheme *s, const aqz_matrix *a, const aqz_encode_options *opt);
aqz_status aqz_result_create(aqz_additive *out, const aqz_scheme *s, const aqz_matrix *a, const aqz_encode_options *opt,
	aqz_budget *budget, aqz_error *err);

typedef struct aqz_job {
	const aqz_encode_options *opt;
	const aqz_kernels *kernels;
	aqz_tune_effort effort;
	aqz_budget budget;
	aqz_encoder *e;
	aqz_tuner tuner;
	aqz_tuner_bytes bytes;
} aqz_job;

aqz_status aqz_job_begin(aqz_job *j, const aqz_matrix *matrices, uint32_t n, bool has_hessian,
	const aqz_encode_options *opt, const aqz_tune_effort *effort, const aqz_kernels *kernels, aqz_error *err);
void aqz_job_end(aqz_job *j);
/* MEMLIMIT if so many bytes are too many. */
aqz_status aqz_job_check(const aqz_job *j, uint64_t needed, aqz_error *err);
/* The work of everything that ticks behind the plain start; train: what is trained on, full: what is encoded;
 * NULL = nothing. */
double aqz_job_work(const aqz_job *j, const aqz_matrix *train, const aqz_matrix *full, bool has_hessian);

/* ---- train.c */

/* The effort of the plain start, for so many vectors (0 = those of the matrix); its memory beside the tuner's. */
void aqz_start_effort(const aqz_matrix *a, uint64_t vectors, int effort, aqz_effort *f);
uint64_t aqz_start_bytes(const aqz_matrix *a, const aqz_effort *f, unsigned n_threads);
/* Code rows of a layer that codebooks are trained on. */
uint64_t aqz_train_code_rows(const aqz_matrix *a, const aqz_tune_effort *f);
/* Multiplies the scales by 2^exponent. */
void aqz_shift_scales(aqz_metric *l, int exponent);
/* Scales as they are stored. */
void aqz_round_scales(aqz_metric *l, aqz_dtype dtype);
/* Trains codebooks on the layers of the tuner; all of them begin anew. *loss_before: mean of the losses of the
 * start. */
aqz_status aqz_tune_all(aqz_tuner *t, const aqz_tune_effort *f, aqz_dtype scale_dtype, const aqz_kernels *kernels,
	double *loss_before, aqz_budget *budget, aqz_error *err);

#endif
