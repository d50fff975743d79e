/* SPDX-License-Identifier: Apache-2.0 */
/* The additive encoder on one matrix of the size of Llama-2-7B's gate_proj (11008 x 4096) with input statistics of a
 * realistic spectrum: time, memory beside the matrix, and how busy the processors were.
 * usage: encode_large [-r rows] [-c cols] [-t threads] [-e effort] [SCHEME]
 *
 * H = S Q diag(1 / (k + 10)) Q^T S: Q a product of reflections, S channel scales exp(0.7 N(0, 1)). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "aqlmzip.h"

#define REFLECTIONS 24

static uint64_t state = 1;

static double gauss(void)
{
	double sum = 0;

	for (int i = 0; i < 4; i++) {
		/* SplitMix64. */
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		sum += (double)((z ^ z >> 31) >> 11) * 0x1p-53;
	}
	return (sum - 2) * 1.7320508;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* H becomes (I - 2 v v^T) H (I - 2 v v^T) for a random v of length 1; p: scratch. */
static void reflect(float *h, size_t n, double *v, double *p)
{
	double length = 0, vp = 0;

	for (size_t i = 0; i < n; i++) {
		v[i] = gauss();
		length += v[i] * v[i];
	}
	for (size_t i = 0; i < n; i++)
		v[i] /= sqrt(length);
	for (size_t i = 0; i < n; i++) {
		p[i] = 0;
		for (size_t k = 0; k < n; k++)
			p[i] += h[i * n + k] * v[k];
		vp += v[i] * p[i];
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			h[i * n + k] += (float)(4 * vp * v[i] * v[k] - 2 * (v[i] * p[k] + p[i] * v[k]));
}

static bool make_hessian(float *h, size_t n)
{
	double *v = malloc(n * sizeof *v), *p = malloc(n * sizeof *p);
	const bool good = v != NULL && p != NULL;

	for (size_t i = 0; good && i < n; i++)
		for (size_t k = 0; k < n; k++)
			h[i * n + k] = i == k ? (float)(1 / ((double)i + 10)) : 0;
	for (int i = 0; good && i < REFLECTIONS; i++)
		reflect(h, n, v, p);
	for (size_t i = 0; good && i < n; i++)
		v[i] = exp(0.7 * gauss());
	for (size_t i = 0; good && i < n; i++)
		for (size_t k = 0; k <= i; k++)
			h[i * n + k] = h[k * n + i] = (float)(h[i * n + k] * v[i] * v[k]);
	free(v);
	free(p);
	return good;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int measure(size_t rows, size_t cols, const char *name, aqz_encode_options *opt)
{
	float *w = malloc(rows * cols * sizeof *w), *h = malloc(cols * cols * sizeof *h);
	const aqz_layer layer = {w, rows, cols, h};
	const unsigned n_threads =
		opt->n_threads != 0 ? opt->n_threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	aqz_encode_report report;
	struct rusage usage;
	aqz_additive a = {0};
	aqz_scheme scheme;
	aqz_error err = {0};
	double start, wall, cpu;
	int status = 1;

	if (w == NULL || h == NULL || !make_hessian(h, cols)) {
		fprintf(stderr, "encode_large: out of memory\n");
		goto out;
	}
	for (size_t i = 0; i < rows * cols; i++)
		w[i] = (float)(0.02 * gauss());
	start = now();
	cpu = cpu_seconds();
	if (aqz_scheme_parse(&scheme, name, &err) != AQZ_OK ||
		aqz_encode_additive(&a, &report, &layer, &scheme, opt, &err) != AQZ_OK) {
		fprintf(stderr, "encode_large: %s\n", err.text);
		goto out;
	}
	wall = now() - start;
	cpu = cpu_seconds() - cpu;
	getrusage(RUSAGE_SELF, &usage);
	printf("%-8s %6d %7u %9.5f %9.5f %8.1f %10.3g %6.1f %% %8.0f %8.0f %6.2f\n", name,
		opt->effort == 0 ? 5 : opt->effort, n_threads, report.loss_before, report.loss_after, wall,
		(double)(rows * cols) / wall, 100 * cpu / wall / n_threads, (double)usage.ru_maxrss / 1024,
		(double)aqz_encode_additive_memory(&layer, &scheme, opt) / 1048576,
		(double)usage.ru_maxrss * 1024 / (double)(rows * cols * sizeof *w));
	status = 0;
out:
	aqz_additive_free(&a);
	free(w);
	free(h);
	return status;
}

int main(int argc, char **argv)
{
	aqz_encode_options opt = {.struct_size = sizeof opt};
	size_t rows = 11008, cols = 4096;
	int option;

	while ((option = getopt(argc, argv, "r:c:t:e:")) != -1) {
		if (option == 'r')
			rows = strtoul(optarg, NULL, 10);
		else if (option == 'c')
			cols = strtoul(optarg, NULL, 10);
		else if (option == 't')
			opt.n_threads = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'e')
			opt.effort = atoi(optarg);
		else
			return 2;
	}
	if (rows == 0 || cols == 0 || cols > 65536 || rows > 1048576) {
		fprintf(
			stderr, "usage: encode_large [-r rows] [-c cols] [-t threads] [-e effort] [SCHEME]\n");
		return 2;
	}
	printf(
		"%zu x %zu with input statistics; peak: of the whole process, the matrix and H included\n",
		rows, cols);
	printf("scheme   effort threads    before     after  seconds  weights/s    busy peak MiB said "
		   "MiB  peak / matrix\n");
	return measure(rows, cols, optind < argc ? argv[optind] : "2x8g8", &opt);
}
