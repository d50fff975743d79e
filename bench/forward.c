/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of the forward pass against the matrix products in it made by OpenBLAS alone, in the same run.
 *
 *	bench/forward [-t THREADS] [-n RUNS] [MODEL...]
 *
 * MODEL: anything that aqz_model_open takes. Without one: random models of SmolLM2-135M's shape, BF16 and 2x8g8 codes.
 * For prompts of 512 and 2048 tokens: seconds of OpenBLAS's sgemm for the linears (W in binary32, all its threads),
 * the same with attention's products (blocks of 64 queries by all keys up to the last of them), of the pass (logits of
 * the last token), and the ratios of the pass to each; the least of RUNS, which take turns. Then tokens a second, one
 * at a time. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cblas.h>

#include "model/forward.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what, const aqz_error *err)
{
	fprintf(stderr, "%s: %s %s\n", what, err->where, err->text);
	exit(1);
}

static void *room(uint64_t n)
{
	void *p;

	if (posix_memalign(&p, 64, n + 64) != 0)
		exit(1);
	memset(p, 0, n + 64);
	return p;
}

static uint32_t noise(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(state >> 32);
}

static float *randoms(uint64_t n, float size)
{
	float *v = room(n * sizeof *v);

	for (uint64_t i = 0; i < n; i++)
		v[i] = ((float)noise() / 0x1p31f - 1) * size;
	return v;
}

/* ---- A random model. Never freed. */

static aqz_weight random_weight(uint64_t rows, uint64_t cols, bool codes)
{
	const aqz_scheme scheme = {AQZ_CODEC_ADDITIVE, 2, 8, 8, 1};
	aqz_weight w = {.rows = rows, .cols = cols, .dtype = AQZ_BF16};
	float *values = randoms(codes ? 4096 : rows * cols, 0.06f);

	if (codes) {
		const uint64_t n = aqz_additive_codes_bytes(&scheme, rows, cols / 8);
		aqz_weight_part *part = room(sizeof *part);
		uint8_t *lines = room(n);
		float *scales = room(rows * sizeof *scales);

		for (uint64_t i = 0; i < n; i++)
			lines[i] = (uint8_t)noise();
		for (uint64_t i = 0; i < rows; i++)
			scales[i] = 1;
		*part = (aqz_weight_part){.row_end = rows,
			.tables = {.scheme = scheme,
				.dtype = AQZ_BF16,
				.values = values,
				.facts = aqz_table_look(values, &scheme)},
			.lines = lines,
			.scales = scales};
		w.form = AQZ_WEIGHT_ADDITIVE;
		w.parts = part;
		w.n_parts = 1;
	} else {
		void *data = room(rows * cols * 2);

		aqz_convert(data, AQZ_BF16, values, AQZ_F32, rows * cols, NULL);
		free(values);
		w.form = AQZ_WEIGHT_DENSE;
		w.data = data;
	}
	return w;
}

static aqz_model *random_model(bool codes)
{
	static const uint64_t shape[AQZ_N_LINEARS][2] = {
		{576, 576}, {192, 576}, {192, 576}, {576, 576}, {1536, 576}, {1536, 576}, {576, 1536}};
	aqz_model *m = room(sizeof *m);
	float *ones = room(576 * sizeof *ones);

	m->config = (aqz_model_config){.family = AQZ_LLAMA,
		.n_layers = 30,
		.hidden = 576,
		.intermediate = 1536,
		.n_heads = 9,
		.n_kv_heads = 3,
		.head_dim = 64,
		.vocabulary = 49152,
		.max_positions = 8192,
		.rms_eps = 1e-5f,
		.tied = true};
	for (int i = 0; i < 576; i++)
		ones[i] = 1;
	m->rope_inverse = randoms(32, 0.1f);
	m->final_norm = ones;
	m->embedding = m->head = random_weight(49152, 576, codes);
	m->blocks = room(30 * sizeof *m->blocks);
	for (int i = 0; i < 30; i++) {
		m->blocks[i].attention_norm = m->blocks[i].ffn_norm = ones;
		for (int k = 0; k < AQZ_N_LINEARS; k++)
			m->blocks[i].linear[k] = random_weight(shape[k][0], shape[k][1], codes);
	}
	return m;
}

/* ---- OpenBLAS alone */

typedef struct products {
	float *x, *y, *w;
} products;

static double linears(const aqz_model *m, const products *p, int n)
{
	const double begin = now();

	for (uint32_t layer = 0; layer < m->config.n_layers; layer++)
		for (int k = 0; k < AQZ_N_LINEARS; k++) {
			const int rows = (int)m->blocks[layer].linear[k].rows,
					  cols = (int)m->blocks[layer].linear[k].cols;

			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, rows, cols, 1, p->x, cols, p->w,
				cols, 0, p->y, rows);
		}
	cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)m->head.rows, (int)m->head.cols, 1, p->w,
		(int)m->head.cols, p->x, 1, 0, p->y, 1);
	return now() - begin;
}

static double attention(const aqz_model *m, const products *p, int n)
{
	const int dim = (int)m->config.head_dim;
	const double begin = now();

	for (uint32_t i = 0; i < m->config.n_layers * m->config.n_heads; i++)
		for (int t = 0; t < n; t += 64) {
			const int here = n - t < 64 ? n - t : 64, keys = t + here;

			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, here, keys, dim, 1, p->x, dim,
				p->w, dim, 0, p->y, keys);
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, here, dim, keys, 1, p->y, keys,
				p->w, dim, 0, p->x, dim);
		}
	return now() - begin;
}

/* ---- Ours */

static double least(double a, double b)
{
	return a < b ? a : b;
}

static void prompts(const aqz_model *m, aqz_session *s, const uint32_t *ids, float *logits, int runs)
{
	const uint64_t widest =
		m->config.intermediate > m->config.hidden ? m->config.intermediate : m->config.hidden;
	const products p = {
		randoms(2048 * widest, 1), randoms(2048 * widest, 1), randoms(m->head.rows * widest, 1)};

	for (uint32_t n = 512; n <= 2048; n *= 4) {
		double blas = 1e9, both = 1e9, pass = 1e9;

		for (int i = 0; i < runs; i++) {
			const aqz_feed f = {0, ids, n, 1};
			aqz_error err;
			double begin, one = linears(m, &p, (int)n);

			blas = least(blas, one);
			both = least(both, one + attention(m, &p, (int)n));
			begin = now();
			aqz_session_truncate(s, 0, 0);
			if (aqz_session_feed(s, logits, &f, 1, &err) != AQZ_OK)
				die("feed", &err);
			pass = least(pass, now() - begin);
		}
		printf("  prompt of %4u: OpenBLAS linears %.3f s, with attention %.3f s, pass %.3f s (%.0f "
			   "tokens/s): %.2f, %.2f\n",
			n, blas, both, pass, n / pass, pass / blas, pass / both);
	}
	free(p.x), free(p.y), free(p.w);
}

static void measure(const char *name, const aqz_model *m, unsigned n_threads, int runs)
{
	uint32_t *ids = room(2048 * sizeof *ids);
	float *logits = room(m->head.rows * sizeof *logits);
	aqz_session *s;
	aqz_error err;
	double begin;

	printf("%s, %u threads, OpenBLAS %d\n", name, aqz_threads(n_threads), openblas_get_num_threads());
	for (uint32_t i = 0; i < 2048; i++)
		ids[i] = noise() % m->config.vocabulary;
	if (aqz_session_open(&s, m, 1, (uint32_t)aqz_min(4096, m->config.max_positions), n_threads, 0,
			&err) != AQZ_OK)
		die("session", &err);
	prompts(m, s, ids, logits, runs);
	for (uint32_t past = 16; past <= 2048; past *= 128) {
		double best = 1e9;

		for (int i = 0; i < runs; i++) {
			const aqz_feed f = {0, ids, past, 0};

			aqz_session_truncate(s, 0, 0);
			aqz_session_feed(s, logits, &f, 1, NULL);
			begin = now();
			for (uint32_t k = 0; k < 32; k++) {
				const aqz_feed one = {0, ids + k, 1, 1};

				aqz_session_feed(s, logits, &one, 1, NULL);
			}
			best = least(best, (now() - begin) / 32);
		}
		printf("  one token behind %u: %.2f ms, %.1f tokens/s\n", past, best * 1e3, 1 / best);
	}
	aqz_session_close(s);
	free(ids), free(logits);
}

int main(int argc, char **argv)
{
	unsigned n_threads = 0;
	int runs = 3, c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "t:n:")) != -1) {
		if (c == 't')
			n_threads = (unsigned)atoi(optarg);
		else if (c == 'n')
			runs = atoi(optarg);
		else
			return 2;
	}
	if (n_threads != 0)
		openblas_set_num_threads((int)n_threads);
	for (int i = optind; i < argc; i++) {
		aqz_model *m;
		aqz_error err;

		if (aqz_model_open(&m, argv[i], NULL, &err) != AQZ_OK)
			die(argv[i], &err);
		measure(argv[i], m, n_threads, runs);
		aqz_model_close(m);
	}
	if (optind == argc) {
		measure("random, BF16", random_model(false), n_threads, runs);
		measure("random, 2x8g8", random_model(true), n_threads, runs);
	}
	return 0;
}
