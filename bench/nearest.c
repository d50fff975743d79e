/* SPDX-License-Identifier: Apache-2.0 */
/* The encoder's search for the nearest codeword of one large codebook, exhaustive and pruned, in the
 * plain metric and in others; both must give the same codes. usage: nearest [-n vectors] [-s seed]
 * [SCHEME...] */
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "codec/encode/encode.h"
#include "codec/encode/prune.h"

static double uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
	return ((double)(aqz_random(seed, stream, i) >> 11) + 0.5) * 0x1p-53;
}

/* Box and Muller. */
static void fill_gauss(float *v, size_t n, uint64_t seed, uint64_t stream)
{
	for (size_t i = 0; i < n; i++)
		v[i] = (float)(sqrt(-2 * log(uniform(seed, stream, 2 * i))) *
			cos(6.283185307179586 * uniform(seed, stream, 2 * i + 1)));
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* out = A in for n vectors, A being lower triangular. */
static void transform(float *out, const float *in, const double *a, size_t n, unsigned d)
{
	for (size_t k = 0; k < n; k++)
		for (unsigned i = 0; i < d; i++) {
			double sum = 0;

			for (unsigned j = 0; j <= i; j++)
				sum += a[i * d + j] * in[k * d + j];
			out[k * d + i] = (float)sum;
		}
}

/* The Cholesky factor of Q diag(s^2) Q^T, Q a random rotation, s from 1 down to 1 / condition. */
static void metric(double *a, double condition, unsigned d, uint64_t seed)
{
	static double q[AQZ_MAX_CODEWORD][AQZ_MAX_CODEWORD], h[AQZ_MAX_CODEWORD][AQZ_MAX_CODEWORD];
	float row[AQZ_MAX_CODEWORD];

	for (unsigned i = 0; i < d; i++) {
		double norm = 0;

		fill_gauss(row, d, seed, 100 + i);
		for (unsigned j = 0; j < d; j++)
			q[i][j] = row[j];
		for (unsigned k = 0; k < i; k++) {
			double product = 0;

			for (unsigned j = 0; j < d; j++)
				product += q[i][j] * q[k][j];
			for (unsigned j = 0; j < d; j++)
				q[i][j] -= product * q[k][j];
		}
		for (unsigned j = 0; j < d; j++)
			norm += q[i][j] * q[i][j];
		for (unsigned j = 0; j < d; j++)
			q[i][j] /= sqrt(norm);
	}
	for (unsigned i = 0; i < d; i++)
		for (unsigned j = 0; j < d; j++) {
			h[i][j] = 0;
			for (unsigned k = 0; k < d; k++)
				h[i][j] += q[k][i] * q[k][j] * pow(condition, -2.0 * k / (d > 1 ? d - 1 : 1));
		}
	for (unsigned i = 0; i < d; i++)
		for (unsigned j = 0; j < d; j++) {
			double sum = h[i][j];

			for (unsigned k = 0; k < (i < j ? i : j); k++)
				sum -= a[i * d + k] * a[j * d + k];
			a[i * d + j] = i < j ? 0 : i == j ? sqrt(sum) : sum / a[j * d + j];
		}
}

typedef struct bench {
	aqz_scheme scheme;
	aqz_search search;
	aqz_prune prune;
	unsigned d;
	size_t n, n_codewords;
	float *codewords, *x, *moved, *moved_x;
	uint16_t *exhaustive, *pruned;
	void *scratch;
} bench;

/* Steps of k-means on normal vectors, by the pruned search. */
static void train(bench *b, uint64_t seed)
{
	const size_t n = 16 * b->n_codewords;
	float *x = malloc(n * b->d * sizeof *x);
	double *sum = malloc(b->n_codewords * b->d * sizeof *sum);
	uint32_t *count = malloc(b->n_codewords * sizeof *count);
	uint16_t *codes = malloc(n * sizeof *codes);

	if (x == NULL || sum == NULL || count == NULL || codes == NULL)
		exit(1);
	fill_gauss(x, n * b->d, seed, 1);
	memcpy(b->codewords, x, b->n_codewords * b->d * sizeof *x);
	for (int step = 0; step < 4; step++) {
		aqz_search_set_codebook(&b->search, 0, b->codewords, NULL);
		aqz_prune_load(&b->prune, &b->search, 0, b->codewords, NULL, 1);
		aqz_prune_nearest(&b->prune, codes, 1, x, b->d, n, b->scratch);
		memset(sum, 0, b->n_codewords * b->d * sizeof *sum);
		memset(count, 0, b->n_codewords * sizeof *count);
		for (size_t i = 0; i < n; i++) {
			count[codes[i]]++;
			for (unsigned j = 0; j < b->d; j++)
				sum[codes[i] * (size_t)b->d + j] += x[i * b->d + j];
		}
		for (size_t k = 0; k < b->n_codewords; k++)
			for (unsigned j = 0; j < b->d && count[k] > 0; j++)
				b->codewords[k * b->d + j] = (float)(sum[k * b->d + j] / count[k]);
	}
	free(x);
	free(sum);
	free(count);
	free(codes);
}

/* Rounds in turn, so that other work on the machine slows both; the median ratio. */
static bool measure(bench *b, const char *name, double condition, uint64_t seed)
{
	enum { ROUNDS = 5 };
	double a[AQZ_MAX_CODEWORD * AQZ_MAX_CODEWORD], fast[3] = {1e9, 1e9, 1e9};

	metric(a, condition, b->d, seed);
	transform(b->moved, b->codewords, a, b->n_codewords, b->d);
	transform(b->moved_x, b->x, a, b->n, b->d);
	aqz_search_set_codebook(&b->search, 0, b->moved, NULL);
	for (int round = 0; round < ROUNDS; round++) {
		double t[4];

		t[0] = now();
		aqz_prune_load(&b->prune, &b->search, 0, b->moved, NULL, 1);
		t[1] = now();
		aqz_prune_nearest(&b->prune, b->pruned, 1, b->moved_x, b->d, b->n, b->scratch);
		t[2] = now();
		aqz_search_nearest(&b->search, 0, b->exhaustive, 1, b->moved_x, b->d, b->n, b->scratch);
		t[3] = now();
		for (int i = 0; i < 3; i++)
			fast[i] = t[i + 1] - t[i] < fast[i] ? t[i + 1] - t[i] : fast[i];
	}
	if (memcmp(b->exhaustive, b->pruned, b->n * sizeof *b->pruned) != 0) {
		fprintf(stderr, "nearest: %s, condition %g: the codes differ\n", name, condition);
		return false;
	}
	printf("%-8s %9g %11.0f %11.0f %7.2f %9.4f %9.2f %9.2f %9.2f\n", name, condition,
		(double)b->n / fast[2], (double)b->n / fast[1], fast[2] / fast[1],
		(double)aqz_prune_count(&b->prune, b->moved_x, b->d, b->n) / (double)b->n /
			(double)b->n_codewords,
		1e3 * fast[0], 512 * fast[2] / (fast[0] * (double)b->n + 512 * fast[1]),
		4096 * fast[2] / (fast[0] * (double)b->n + 4096 * fast[1]));
	fflush(stdout);
	return true;
}

static bool run(const char *name, size_t n, uint64_t seed)
{
	static const double conditions[] = {1, 10, 100, 1e4};
	bench b = {.n = n};
	aqz_budget budget = {0, 0};
	aqz_error err;
	bool ok = true;

	if (aqz_scheme_parse(&b.scheme, name, &err) != AQZ_OK || !aqz_prune_possible(&b.scheme) ||
		b.scheme.n_codebooks != 1 ||
		aqz_search_create(&b.search, &b.scheme, aqz_kernels_best(), &budget, &err) != AQZ_OK ||
		aqz_prune_create(&b.prune, &b.scheme, aqz_kernels_best(), &budget, &err) != AQZ_OK) {
		fprintf(stderr, "nearest: %s: not a scheme of one codebook with 12 bits or more\n", name);
		return false;
	}
	b.d = aqz_codeword(&b.scheme);
	b.n_codewords = (size_t)1 << b.scheme.code_bits;
	b.codewords = malloc(b.n_codewords * b.d * sizeof *b.codewords);
	b.moved = malloc(b.n_codewords * b.d * sizeof *b.moved);
	b.x = malloc(n * b.d * sizeof *b.x);
	b.moved_x = malloc(n * b.d * sizeof *b.moved_x);
	b.exhaustive = malloc(n * sizeof *b.exhaustive);
	b.pruned = malloc(n * sizeof *b.pruned);
	b.scratch = aligned_alloc(64, (aqz_search_scratch_bytes(&b.scheme, 1) + 63) / 64 * 64);
	if (b.codewords == NULL || b.moved == NULL || b.x == NULL || b.moved_x == NULL ||
		b.exhaustive == NULL || b.pruned == NULL || b.scratch == NULL)
		exit(1);
	train(&b, seed);
	fill_gauss(b.x, n * b.d, seed, 2);
	for (size_t i = 0; i < sizeof conditions / sizeof *conditions && ok; i++)
		ok = measure(&b, name, conditions[i], seed);
	free(b.codewords);
	free(b.moved);
	free(b.x);
	free(b.moved_x);
	free(b.exhaustive);
	free(b.pruned);
	free(b.scratch);
	aqz_prune_free(&b.prune, &budget);
	aqz_search_free(&b.search, &budget);
	return ok;
}

int main(int argc, char **argv)
{
	static const char *const schemes[] = {"1x12g8", "1x15g8", "1x16g8"};
	size_t n = 2048;
	uint64_t seed = 1;
	int option;
	bool ok = true;

	while ((option = getopt(argc, argv, "n:s:")) != -1) {
		if (option == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (option == 's')
			seed = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	printf("One thread, %s; N(0, 1), %zu vectors; condition of the metric's factor; milliseconds "
		   "of the load; "
		   "ratios with the load for 512 and 4096 vectors\n",
		aqz_kernels_best()->name, n);
	printf("scheme   condition exhaustive/s  pruned/s   ratio    scored      load     r 512    r "
		   "4096\n");
	if (optind == argc)
		for (size_t i = 0; i < sizeof schemes / sizeof *schemes && ok; i++)
			ok = run(schemes[i], n, seed);
	for (int i = optind; i < argc && ok; i++)
		ok = run(argv[i], n, seed);
	return ok ? 0 : 1;
}
