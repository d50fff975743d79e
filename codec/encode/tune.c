/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding and training in the metric of the inputs: the order of the steps.
 *
 *	codebooks to start with (plain metric) -> all groups in LDL order -> { codebooks, scales, codes } x sweeps
 *	-> rounding -> { scales, codes } x rounds */
#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "codec/encode/tune.h"

/* Streams of random numbers. */
#define TRAIN_STREAM (UINT64_C(1) << 32)
#define FINISH_STREAM (UINT64_C(2) << 32)

static unsigned thread_number(void)
{
#ifdef _OPENMP
	return (unsigned)omp_get_thread_num();
#else
	return 0;
#endif
}

void *aqz_tuner_scratch(const aqz_tuner *t)
{
	return t->scratch + thread_number() * t->scratch_each;
}

float *aqz_tuner_transformed(const aqz_tuner *t)
{
	return t->transformed + thread_number() * ((size_t)t->e->a.n_values << t->e->a.scheme.code_bits);
}

/* Noise on what is searched for lets the codes out of poor minima (stochastic relaxation after LSQ++, Martinez et al.,
 * ECCV 2018, who put it on the codebooks). It fades slowly and is gone for the last quarter of the sweeps. */
static float noise_of(float most, unsigned sweep, unsigned n_sweeps)
{
	const unsigned fading = n_sweeps * 3 / 4;

	return sweep < fading ? most * powf(1 - (float)sweep / (float)fading, 0.25f) : 0;
}

/* ---- Steps */

aqz_status aqz_tune_start(aqz_tuner *t, unsigned beam, aqz_budget *budget, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; i < t->n_layers; i++) {
		aqz_metric *l = &t->layers[i];
		const aqz_sweep_how how = {.codebooks = t->e->codebooks, .beam = beam, .fresh = true};

		AQZ_TRY(aqz_metric_ldl(l, t->e->n_threads, budget, err));
		aqz_sweep(t, l, &how);
		aqz_metric_descent(l, t->e->n_threads);
		AQZ_TRY(aqz_encoder_tick(t->e, aqz_tune_sweep_work(&l->a, l->hessian != NULL, beam), err));
	}
out:
	return status;
}

aqz_status aqz_tune_train(
	aqz_tuner *t, const aqz_tune_effort *f, aqz_dtype scale_dtype, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (unsigned sweep = 0; sweep < f->sweeps; sweep++) {
		aqz_normal(t, f->cg_steps);
		for (uint32_t i = 0; i < t->n_layers; i++) {
			aqz_metric *l = &t->layers[i];
			const aqz_sweep_how how = {
				.codebooks = t->e->codebooks,
				.beam = f->beam,
				.noise = noise_of(f->noise, sweep, f->sweeps),
				.stream = TRAIN_STREAM + (uint64_t)sweep * t->n_layers + i,
				.backward = sweep % 2 == 0,
			};

			aqz_refit(t, l, scale_dtype);
			aqz_sweep(t, l, &how);
			AQZ_TRY(aqz_encoder_tick(t->e,
				aqz_tune_sweep_work(&l->a, l->hessian != NULL, f->beam) +
					aqz_tune_normal_work(&l->a, l->hessian != NULL, f->cg_steps),
				err));
		}
	}
	if (f->sweeps > 0)
		aqz_normal(t, f->cg_steps);
out:
	return status;
}

aqz_status aqz_tune_finish(aqz_tuner *t, const aqz_tune_effort *f, unsigned rounds, float noise,
	aqz_dtype scale_dtype, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (unsigned round = 0; round < rounds; round++)
		for (uint32_t i = 0; i < t->n_layers; i++) {
			aqz_metric *l = &t->layers[i];
			const aqz_sweep_how how = {
				.codebooks = t->e->codebooks,
				.beam = f->final_beam,
				.noise = noise_of(noise, round, rounds),
				.stream = FINISH_STREAM + (uint64_t)round * t->n_layers + i,
				.backward = round % 2 == 0,
			};

			aqz_refit(t, l, scale_dtype);
			aqz_sweep(t, l, &how);
			AQZ_TRY(aqz_encoder_tick(
				t->e, aqz_tune_sweep_work(&l->a, l->hessian != NULL, f->final_beam), err));
		}
	for (uint32_t i = 0; i < t->n_layers; i++)
		aqz_refit(t, &t->layers[i], scale_dtype);
out:
	return status;
}
