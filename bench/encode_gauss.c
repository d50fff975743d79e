/* SPDX-License-Identifier: Apache-2.0 */
/* The additive encoder on independent N(0, 1) weights: error on the matrix itself and, with the same
 * codebooks, on a fresh one of 1024 rows that they have not seen; time; bits with and without the codebooks.
 * usage: encode_gauss [-r rows] [-c cols] [-t threads] [-s seed] SCHEME[:EFFORT]... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aqlmzip.h"

/* xoroshiro128+ (Blackman and Vigna), seeded by SplitMix64. */
static uint64_t state[2];

static void seed_random(uint64_t seed)
{
	for (int i = 0; i < 2; i++) {
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		state[i] = z ^ z >> 31;
	}
}

static uint64_t next_random(void)
{
	const uint64_t a = state[0], sum = a + state[1], b = state[1] ^ a;

	state[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
	state[1] = b << 37 | b >> 27;
	return sum;
}

static double uniform(void)
{
	return ((double)(next_random() >> 11) + 0.5) * 0x1p-53;
}

/* Box and Muller. */
static void fill_gauss(float *w, size_t n)
{
	for (size_t i = 0; i < n; i += 2) {
		const double r = sqrt(-2 * log(uniform())), t = 6.283185307179586 * uniform();

		w[i] = (float)(r * cos(t));
		if (i + 1 < n)
			w[i + 1] = (float)(r * sin(t));
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define FRESH_ROWS 1024
#define FRESH_SEED 1000003

/* Error of other weights with the codebooks of a. */
static bool fresh_error(double *error, const aqz_additive *a, size_t cols,
	const aqz_encode_options *opt, aqz_error *err)
{
	aqz_encode_options with = *opt;
	float *w = malloc(FRESH_ROWS * cols * sizeof *w);
	const aqz_layer layer = {w, FRESH_ROWS, cols, NULL};
	aqz_encode_report report = {0};
	aqz_additive fresh = {0};
	bool good;

	if (w == NULL) {
		snprintf(err->text, sizeof err->text, "out of memory");
		return false;
	}
	seed_random(FRESH_SEED + opt->seed);
	fill_gauss(w, FRESH_ROWS * cols);
	with.codebooks = a;
	good = aqz_encode_additive(&fresh, &report, &layer, &a->scheme, &with, err) == AQZ_OK;
	*error = report.rel_mse;
	aqz_additive_free(&fresh);
	free(w);
	return good;
}

/* One line of the table; false on failure. w_hat has room for the matrix. */
static bool measure(const char *text, const float *w, float *w_hat, size_t rows, size_t cols,
	unsigned n_threads, uint64_t seed)
{
	const size_t n = rows * cols;
	aqz_encode_options opt = {.struct_size = sizeof opt, .n_threads = n_threads, .seed = seed};
	char name[64];
	const char *colon = strchr(text, ':');
	aqz_scheme scheme;
	const aqz_layer layer = {w, rows, cols, NULL};
	aqz_additive a;
	aqz_error err;
	double start, encoded, decoded, fresh, loss = 0, energy = 0, bits, codebook_bits;

	snprintf(name, sizeof name, "%.*s", colon != NULL ? (int)(colon - text) : 60, text);
	if (colon != NULL)
		opt.effort = atoi(colon + 1);
	if (aqz_scheme_parse(&scheme, name, &err) != AQZ_OK) {
		fprintf(stderr, "encode_gauss: %s\n", err.text);
		return false;
	}
	start = now();
	if (aqz_encode_additive(&a, NULL, &layer, &scheme, &opt, &err) != AQZ_OK) {
		fprintf(stderr, "encode_gauss: %s: %s\n", aqz_status_name(err.status), err.text);
		return false;
	}
	encoded = now();
	if (aqz_decode_additive(w_hat, AQZ_F32, &a, 0, rows, &err) != AQZ_OK) {
		fprintf(stderr, "encode_gauss: %s: %s\n", aqz_status_name(err.status), err.text);
		aqz_additive_free(&a);
		return false;
	}
	decoded = now();
	for (size_t i = 0; i < n; i++) {
		const double e = (double)w[i] - w_hat[i];

		loss += e * e;
		energy += (double)w[i] * w[i];
	}
	if (!fresh_error(&fresh, &a, cols, &opt, &err)) {
		fprintf(stderr, "encode_gauss: fresh: %s\n", err.text);
		aqz_additive_free(&a);
		return false;
	}
	codebook_bits = (double)((size_t)scheme.n_codebooks << scheme.code_bits) * scheme.in_group *
		scheme.out_group * aqz_dtype_bits(a.codebook_dtype);
	bits = 8.0 * (double)a.codes_bytes + (double)a.code_rows * aqz_dtype_bits(a.scale_dtype) +
		codebook_bits;
	printf("%-10s %6d %10.5f %10.5f %8.2f %12.3g %12.3g %8.4f %10.0f %8.0f\n", name,
		opt.effort == 0 ? 5 : opt.effort, loss / energy, fresh, encoded - start,
		(double)n / (encoded - start), (double)n / (decoded - encoded), bits / (double)n,
		codebook_bits / 8, (double)aqz_encode_additive_memory(&layer, &scheme, &opt) / 1048576);
	fflush(stdout);
	aqz_additive_free(&a);
	return true;
}

int main(int argc, char **argv)
{
	size_t rows = 4096, cols = 4096;
	unsigned n_threads = 0;
	uint64_t seed = 1;
	float *w, *w_hat;
	int option, status = 0;

	while ((option = getopt(argc, argv, "r:c:t:s:")) != -1) {
		if (option == 'r')
			rows = strtoul(optarg, NULL, 10);
		else if (option == 'c')
			cols = strtoul(optarg, NULL, 10);
		else if (option == 't')
			n_threads = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 's')
			seed = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind == argc || rows == 0 || cols == 0 || cols > SIZE_MAX / 8 / rows) {
		fprintf(stderr,
			"usage: encode_gauss [-r rows] [-c cols] [-t threads] [-s seed] SCHEME[:EFFORT]...\n");
		return 2;
	}
	w = malloc(rows * cols * sizeof *w);
	w_hat = malloc(rows * cols * sizeof *w_hat);
	if (w == NULL || w_hat == NULL) {
		fprintf(stderr, "encode_gauss: out of memory\n");
		return 1;
	}
	seed_random(seed);
	fill_gauss(w, rows * cols);
	printf("%zu x %zu of N(0, 1), seed %llu\n", rows, cols, (unsigned long long)seed);
	printf("scheme     effort    MSE/var      fresh  seconds     weights/s  decoded w/s   bits/w  "
		   "codebooks      MiB\n");
	for (int i = optind; i < argc && status == 0; i++)
		status = measure(argv[i], w, w_hat, rows, cols, n_threads, seed) ? 0 : 1;
	free(w);
	free(w_hat);
	return status;
}
