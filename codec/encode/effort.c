/* SPDX-License-Identifier: Apache-2.0 */
/* What an effort of 1..9 means, and how much a matrix gets of it. */
#include "codec/encode/tune.h"

typedef struct rung {
	uint16_t start_steps, sweeps, train_beam, scale_beam, final_beam, refits, cg_steps;
	uint16_t per_codeword; /* sample vectors for each codeword of two codebooks */
	uint16_t passes;	   /* most work of the training, in passes over the matrix */
} rung;

/* Of more sample vectors, more sweeps and a wider beam the first helps most, for a large matrix. */
static const rung ladder[9] = {
	{3, 4, 4, 0, 6, 0, 3, 128, 1},
	{4, 6, 8, 1, 12, 0, 3, 256, 1},
	{5, 9, 12, 4, 16, 0, 4, 512, 2},
	{6, 13, 16, 8, 24, 0, 4, 1024, 3},
	{8, 20, 24, 8, 32, 0, 4, 2048, 4},
	{8, 30, 32, 8, 48, 0, 4, 3072, 8},
	{10, 40, 48, 16, 64, 1, 5, 4096, 12},
	{10, 60, 64, 16, 96, 1, 6, 6144, 24},
	{12, 100, 96, 16, 128, 2, 6, 8192, 48},
};

/* Work that is done in any case, in products: some seconds of one core. */
#define FREE_WORK 1e11

/* A sample is in use from this many vectors for each codeword on. */
#define FIRST_PER_CODEWORD 128
#define LEAST_SAMPLE 16384

/* Beams are cut for large codebooks, where each partial sum costs 2^B times d products, and where there
 * are not so many partial sums. */
static unsigned beam_for(const aqz_scheme *scheme, unsigned beam)
{
	unsigned most = AQZ_MAX_BEAM;

	if (scheme->n_codebooks == 1)
		return 1;
	if (aqz_search_gram_bytes(scheme) == 0)
		most = scheme->code_bits >= 16 ? 2 : 1u << 17 >> scheme->code_bits;
	if (scheme->n_codebooks == 2 && scheme->code_bits < 8)
		most = 1u << scheme->code_bits;
	return beam < most ? beam : most;
}

uint64_t aqz_effort_sample(const aqz_effort *f, unsigned sweep)
{
	/* The last third of the sweeps sees all of it. */
	const unsigned growing = f->sweeps * 2 / 3;
	const unsigned left =
		sweep < growing ? ((growing - sweep) * f->doublings + growing - 1) / growing : 0;

	return f->n_sample >> left;
}

double aqz_nearest_work(const aqz_matrix *a, double n)
{
	return n * (double)(1u << a->scheme.code_bits) * (a->n_values + 1);
}

double aqz_beam_work(const aqz_matrix *a, double n, unsigned beam)
{
	const double m = a->scheme.n_codebooks, first = m * (a->n_values + 1.0);
	const double more = aqz_search_gram_bytes(&a->scheme) != 0 ? m / 2 : a->n_values;

	return n * (double)(1u << a->scheme.code_bits) * (first + (m - 1) * beam * (more + 1));
}

double aqz_train_work(const aqz_matrix *a, const aqz_effort *f)
{
	double work = aqz_nearest_work(a, (double)aqz_effort_sample(f, 0)) *
		(a->scheme.n_codebooks * (f->start_steps + 1) - 1);

	for (unsigned sweep = 0; sweep < f->sweeps; sweep++)
		work += aqz_beam_work(a, (double)aqz_effort_sample(f, sweep), f->train_beam);
	return work;
}

double aqz_rows_work(const aqz_matrix *a, const aqz_effort *f, double n)
{
	return (f->scale_beam != 0 ? aqz_beam_work(a, n, f->scale_beam) : 0) +
		aqz_beam_work(a, n, f->final_beam) * (1 + f->refits);
}

/* Sweeps from few vectors on: as often as they can be doubled up to all. */
static unsigned doublings_for(const aqz_scheme *scheme, uint64_t n)
{
	const uint64_t first = (uint64_t)FIRST_PER_CODEWORD << scheme->code_bits;
	unsigned doublings = 0;

	while (doublings < 3 && n >> (doublings + 1) >= first && n >> (doublings + 1) >= LEAST_SAMPLE)
		doublings++;
	return doublings;
}

aqz_effort aqz_effort_of(const aqz_matrix *a, int effort)
{
	const rung *r = &ladder[(effort < 1 ? 5 : effort > 9 ? 9 : effort) - 1];
	const uint64_t total = a->code_rows * a->groups;
	/* All of a small matrix, and of a large one what keeps the encoder within 2.5 times its size. */
	const uint64_t vector_bytes = aqz_sample_bytes(a, 2) - aqz_sample_bytes(a, 1);
	const uint64_t room = 2 * total * a->n_values * sizeof(float) / vector_bytes;
	const uint64_t least = (uint64_t)4 << a->scheme.code_bits;
	uint64_t n = ((uint64_t)r->per_codeword * 2 / a->scheme.n_codebooks) << a->scheme.code_bits;
	aqz_effort f = {
		.start_steps = r->start_steps,
		.sweeps = r->sweeps,
		.train_beam = beam_for(&a->scheme, r->train_beam),
		.scale_beam = r->scale_beam != 0 ? beam_for(&a->scheme, r->scale_beam) : 0,
		.final_beam = beam_for(&a->scheme, r->final_beam),
		.refits = r->refits,
		.cg_steps = r->cg_steps,
	};
	double limit;

	/* With one codebook a sweep is a step of k-means, and its least squares are means. */
	if (a->scheme.n_codebooks == 1) {
		f.sweeps += f.start_steps;
		f.start_steps = 0;
		f.cg_steps = 1;
	}
	n = n < LEAST_SAMPLE ? LEAST_SAMPLE : n;
	n = aqz_min(n, room < 65536 ? 65536 : room);
	f.n_sample = aqz_min(aqz_min(n, total), UINT64_C(1) << 26);
	f.doublings = doublings_for(&a->scheme, f.n_sample);
	/* Large codebooks on small matrices: fewer sweeps first, then fewer vectors. */
	limit = r->passes * aqz_beam_work(a, (double)total, f.train_beam);
	limit = limit > FREE_WORK * r->passes ? limit : FREE_WORK * r->passes;
	while (aqz_train_work(a, &f) > limit) {
		if (f.sweeps > 2 && f.sweeps >= f.start_steps)
			f.sweeps--;
		else if (f.start_steps > 1)
			f.start_steps--;
		else if (f.n_sample / 2 >= least)
			f.n_sample /= 2;
		else
			break;
	}
	return f;
}

aqz_effort aqz_effort_for(const aqz_matrix *a, const aqz_encode_options *opt)
{
	aqz_effort f = aqz_effort_of(a, opt != NULL ? opt->effort : 0);

	if (opt != NULL && opt->train_vectors != 0 && opt->train_vectors < f.n_sample) {
		f.n_sample = opt->train_vectors;
		f.doublings = doublings_for(&a->scheme, f.n_sample);
	}
	return f;
}

/* ---- In the metric of the inputs */

typedef struct tune_rung {
	int plain;
	unsigned start_beam, sweeps, beam, cg_steps;
	float noise;
	unsigned rounds, long_rounds, final_beam;
	unsigned per_codeword; /* most vectors of the training for each codeword */
	double limit;		   /* most products of the sweeps' searches */
} tune_rung;

static const tune_rung tune_ladder[9] = {
	{1, 16, 0, 8, 3, 0, 0, 0, 16, 256, 1e11},
	{1, 32, 2, 16, 3, 0, 1, 1, 32, 256, 2e11},
	{2, 32, 6, 16, 3, 0.3f, 1, 1, 32, 512, 4e11},
	{4, 64, 10, 32, 3, 0.35f, 1, 2, 64, 512, 1e12},
	{5, 64, 20, 32, 3, 0.35f, 2, 3, 64, 1024, 2e12},
	{6, 64, 40, 32, 3, 0.35f, 2, 8, 64, 1024, 4e12},
	{7, 64, 80, 32, 3, 0.35f, 2, 16, 64, 2048, 8e12},
	{8, 128, 160, 48, 4, 0.35f, 3, 32, 128, 4096, 1.6e13},
	{9, 256, 320, 64, 4, 0.35f, 3, 64, 256, 8192, 4e13},
};

aqz_tune_effort aqz_tune_effort_of(const aqz_scheme *scheme, int effort)
{
	const tune_rung *r = &tune_ladder[(effort < 1 ? 5 : effort > 9 ? 9 : effort) - 1];
	const uint64_t n = (uint64_t)r->per_codeword << scheme->code_bits,
				   least = (uint64_t)32 << scheme->code_bits;
	const aqz_matrix one = {.scheme = *scheme, .n_values = aqz_codeword(scheme)};
	aqz_tune_effort f = {
		.plain = r->plain,
		.start_beam = beam_for(scheme, r->start_beam),
		.sweeps = r->sweeps,
		.beam = beam_for(scheme, r->beam),
		.cg_steps = r->cg_steps,
		.noise = r->noise,
		.rounds = r->rounds,
		.long_rounds = r->long_rounds,
		.final_beam = beam_for(scheme, r->final_beam),
		.n_train = n < 65536 ? 65536 : n,
	};

	/* Large codebooks: fewer sweeps, then fewer vectors, then fewer sweeps still. */
	while (f.sweeps > 1 && f.sweeps * aqz_beam_work(&one, (double)f.n_train, f.beam) > r->limit) {
		if (f.sweeps > 8 || f.n_train / 2 < least)
			f.sweeps--;
		else
			f.n_train /= 2;
	}
	return f;
}

aqz_tune_effort aqz_tune_effort_for(const aqz_scheme *scheme, const aqz_encode_options *opt)
{
	aqz_tune_effort f = aqz_tune_effort_of(scheme, opt != NULL ? opt->effort : 0);

	if (opt != NULL && opt->train_vectors != 0)
		f.n_train = aqz_min(f.n_train, opt->train_vectors);
	return f;
}

double aqz_tune_sweep_work(const aqz_matrix *a, bool has_hessian, unsigned beam)
{
	return aqz_beam_work(a, (double)a->code_rows * (double)a->groups, beam) +
		(has_hessian ? (double)a->rows * (double)a->cols * (double)a->cols / 2 : 0);
}

double aqz_tune_normal_work(const aqz_matrix *a, bool has_hessian, unsigned cg_steps)
{
	const double each = (double)a->rows * (double)a->cols * (has_hessian ? (double)a->cols / 2 : 1);

	return (cg_steps + 2) * each;
}
