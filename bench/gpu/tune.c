/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/gpu/tune.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/gpu/bench_gpu.h"

/* Plans that the model holds for so many times worse than its best are left out. */
#define HOPELESS 3.0
/* Clocks of a multiprocessor in a microsecond, for what the model predicts: an H200's highest. */
#define CLOCKS 1755.0
#define SPREAD_BYTES (UINT64_C(192) << 20)
enum { SHOWN = 4, RUNS = 15, MOST_PLANS = 256 };

typedef struct tune_case {
	const char *scheme;
	uint64_t rows, cols;
	unsigned n;
} tune_case;

/* The shapes whose goals docs/gpu.md has come first. */
static const tune_case cases[] = {
	{"2x8g8", 28672, 8192, 1}, {"2x8g8", 11008, 4096, 1}, {"2x8g8", 4096, 4096, 1}, {"4x8g8", 28672, 8192, 1},
	{"8x8g32", 28672, 8192, 1}, {"1x8g8", 28672, 8192, 1}, {"1x16g8", 28672, 8192, 1}, {"1x16g8", 4096, 4096, 1},
	{"1x12g8", 28672, 8192, 1}, {"2x8g8", 28672, 8192, 32}, {"2x8g8", 28672, 8192, 8}, {"2x8g8", 28672, 8192, 2},
	{"2x8g8", 28672, 8192, 3}, {"2x8g8", 28672, 8192, 4}, {"8x8g32", 28672, 8192, 4}, {"8x8g32", 28672, 8192, 16},
	{"8x8g32", 11008, 4096, 1}, {"2x8g8", 1024, 4096, 1}, {"2x8g8", 4096, 11008, 1}, {"1x12g8", 4096, 4096, 1},
	{"1x16g8", 28672, 8192, 8},
};

typedef struct found {
	aqz_gpu_product_plan plan; /* of the first copy */
	double seconds;
	uint32_t cache_words;
	bool wrong;
} found;

typedef struct plans {
	found *list;
	unsigned n;
	aqz_gpu_way way;
	uint32_t cache_words;
} plans;

static void collect(void *user, const aqz_gpu_product_plan *plan)
{
	plans *p = user;

	/* A way that cannot be done is replaced by another, which has its own turn. */
	if (plan->way == p->way && p->n < MOST_PLANS)
		p->list[p->n++] = (found){.plan = *plan, .cache_words = p->cache_words};
}

typedef struct job {
	const tune_setup *s;
	const bench_layer *l;
	const aqz_gpu_product_plan *plan;
} job;

/* The first copy's plan for another copy: only addresses within the matrix differ. */
static void work(void *user, unsigned i, cudaStream_t stream)
{
	const job *j = user;
	const uint8_t *from = j->l->copies[0]->base, *to = j->l->copies[i % j->l->n_copies]->base;
	aqz_gpu_product_plan plan = *j->plan;
	aqz_gpu_rows *part = &plan.job.parts[0];
	const char *fault;

	part->codes = to + (part->codes - from);
	part->words = to + (part->words - from);
	part->scales = (const float *)(to + ((const uint8_t *)part->scales - from));
	fault = aqz_gpu_product_launch(&plan, j->s->workspace, stream);
	if (fault != NULL)
		bench_die("a plan", fault);
}

static void describe(char text[96], const found *f)
{
	const aqz_gpu_product_plan *p = &f->plan;

	switch (p->way) {
	case AQZ_GPU_LUTG:
		snprintf(text, 96, "lut-g, %u tables of %u columns", p->tables, p->columns);
		break;
	case AQZ_GPU_LUTR:
		snprintf(text, 96, "lut-r, %u groups a table set", 4 * p->quads);
		break;
	case AQZ_GPU_MMA:
		snprintf(text, 96, "mma, %u tiles, codewords %s", p->tiles, p->shared_words ? "shared" : "fetched");
		break;
	default:
		snprintf(text, 96, "gather, %u columns, %s L1", p->columns, p->far ? "past" : "through");
	}
}

static void show(const found *f, const char *mark)
{
	const aqz_gpu_product_plan *p = &f->plan;
	char text[96];

	describe(text, f);
	printf("    %-36s grid %5u %3u %2u  %9.2f us, predicted %9.2f%s%s\n", text, p->grid_x, p->grid_y, p->grid_z,
		f->seconds * 1e6, p->clocks / CLOCKS, mark, f->wrong ? "  WRONG" : "");
}

static int by_time(const void *a, const void *b)
{
	const found *x = a, *y = b;

	return (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

/* All ways that the product has. */
static void collect_all(plans *p, aqz_gpu_product *product, const aqz_gpu_limits *limits)
{
	for (p->way = AQZ_GPU_LUTG; p->way <= AQZ_GPU_MMA; p->way++)
		for (p->cache_words = 0; p->cache_words <= (p->way == AQZ_GPU_GATHER ? 2 : 0); p->cache_words++) {
			if (p->way == AQZ_GPU_GATHER && p->cache_words == 0)
				continue;
			product->way = p->way;
			product->cache_words = p->cache_words;
			aqz_gpu_product_plans(product, limits, collect, p);
		}
}

static void tune(const tune_setup *s, const tune_case *c)
{
	const uint64_t n_values = c->rows * c->n;
	aqz_gpu_product product = {.n_parts = 1, .x = s->x, .ldx = c->cols, .n_columns = c->n, .x_dtype = AQZ_F16,
		.y_dtype = AQZ_F16};
	plans p = {.list = calloc(MOST_PLANS, sizeof *p.list)};
	aqz_gpu_product_plan taken;
	double least[AQZ_GPU_MMA + 1] = {0}, taken_seconds = 0;
	bench_layer l;
	unsigned n = 0;

	bench_layer_make(&l, s->gpu, c->scheme, c->rows, c->cols, SPREAD_BYTES, false);
	product.parts[0] = (aqz_gpu_product_part){&l.copies[0]->design.parts[0].layout, l.copies[0]->base, s->y, c->rows};
	aqz_gpu_product_plan_make(&taken, &product, &s->gpu->limits);
	collect_all(&p, &product, &s->gpu->limits);
	for (unsigned i = 0; i < p.n; i++) {
		double *low = &least[p.list[i].plan.way];

		*low = *low == 0 || p.list[i].plan.clocks < *low ? p.list[i].plan.clocks : *low;
	}
	/* What comes out must be what the plan gives that is taken, but for rounding. */
	work(&(job){s, &l, &taken}, 0, NULL);
	BENCH_CUDA(cudaMemcpy(s->y_due, s->y, n_values * 2, cudaMemcpyDeviceToDevice));
	for (unsigned i = 0; i < p.n; i++) {
		found *f = &p.list[i];
		job j = {s, &l, &f->plan};

		if (f->plan.clocks > HOPELESS * least[f->plan.way] || f->plan.workspace_bytes > s->workspace_bytes)
			continue;
		f->seconds = bench_measure_quick(work, &j, l.n_copies < 8 ? 8 / l.n_copies * l.n_copies : l.n_copies, RUNS);
		BENCH_CUDA(cudaMemset(s->y, 0xff, n_values * 2));
		work(&j, 0, NULL);
		f->wrong = !(bench_difference(s->y, s->y_due, n_values) < 5e-3);
		if (f->plan.way == taken.way && f->plan.clocks == taken.clocks && f->plan.far == taken.far)
			taken_seconds = f->seconds;
		p.list[n++] = *f;
	}
	qsort(p.list, n, sizeof *p.list, by_time);
	printf("  %s %llu x %llu, n %u: %u plans; the one taken %.2f us, %.2f of the best\n", c->scheme,
		(unsigned long long)c->rows, (unsigned long long)c->cols, c->n, n, taken_seconds * 1e6,
		n > 0 ? taken_seconds / p.list[0].seconds : 0);
	for (unsigned i = 0; i < n; i++) {
		const bool is_taken = p.list[i].plan.way == taken.way && p.list[i].plan.clocks == taken.clocks;

		if (i < SHOWN || is_taken || p.list[i].wrong)
			show(&p.list[i], is_taken ? "  <- taken" : "");
	}
	fflush(stdout);
	bench_layer_free(&l);
	free(p.list);
}

void tune_measure(const tune_setup *s)
{
	printf("plans\n");
	for (unsigned i = 0; i < sizeof cases / sizeof *cases && time(NULL) < s->end; i++)
		tune(s, &cases[i]);
}
