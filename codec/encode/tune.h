/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the encoder in the metric of the inputs: how much work an effort is, and the steps (tune.c), and the encoder's
 * entries (layer.c, train.c); their frame is in job.h. */
#ifndef AQZ_CODEC_ENCODE_TUNE_H
#define AQZ_CODEC_ENCODE_TUNE_H

#include "codec/encode/metric.h"

typedef struct aqz_tune_effort {
	int plain;            /* effort of the codebooks' start in the plain metric, 1..9 */
	unsigned start_beam;  /* of the pass in LDL order */
	unsigned sweeps;      /* of training: codebooks, scales, codes */
	unsigned beam;
	unsigned cg_steps;
	float noise;          /* on what is searched for, a share of its distance */
	unsigned rounds;      /* after rounding: scales, codes */
	unsigned long_rounds; /* the same for rows that were not trained on; with noise if there are many */
	unsigned final_beam;
	uint64_t n_train;     /* vectors that codebooks are trained on: whole rows, evenly spread */
} aqz_tune_effort;

/* effort.c. effort: 0..9. */
aqz_tune_effort aqz_tune_effort_of(const aqz_scheme *scheme, int effort);
/* The same, with what the options say; opt may be NULL. */
aqz_tune_effort aqz_tune_effort_for(const aqz_scheme *scheme, const aqz_encode_options *opt);

/* Rough numbers of multiplications. */
double aqz_tune_sweep_work(const aqz_matrix *a, bool has_hessian, unsigned beam);
double aqz_tune_normal_work(const aqz_matrix *a, bool has_hessian, unsigned cg_steps);

/* tune.c: codes for all layers from nothing; training; codes for rounded codebooks. */
aqz_status aqz_tune_start(aqz_tuner *t, unsigned beam, aqz_budget *budget, aqz_error *err);
aqz_status aqz_tune_train(aqz_tuner *t, const aqz_tune_effort *f, aqz_dtype scale_dtype, aqz_error *err);
aqz_status aqz_tune_finish(aqz_tuner *t, const aqz_tune_effort *f, unsigned rounds, float noise, aqz_dtype scale_dtype,
	aqz_error *err);

/* layer.c, train.c: aqz_encode_additive and aqz_train_codebooks with a given variant of the kernels, and for
 * experiments with a given effort (NULL: that of the options). */
aqz_status aqz_encode_layer(aqz_additive *out, aqz_encode_report *report, const aqz_layer *layer,
	const aqz_scheme *scheme, const aqz_encode_options *opt, const aqz_tune_effort *effort,
	const aqz_kernels *kernels, aqz_error *err);
aqz_status aqz_train_layers(aqz_additive *out, const aqz_layer *layers, uint32_t n_layers,
	const aqz_scheme *scheme, const aqz_encode_options *opt, const aqz_tune_effort *effort,
	const aqz_kernels *kernels, aqz_error *err);
uint64_t aqz_encode_layer_memory(const aqz_layer *layer, const aqz_scheme *scheme, const aqz_encode_options *opt);

#endif
