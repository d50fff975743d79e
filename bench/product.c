/* SPDX-License-Identifier: Apache-2.0 */
/* Products y = W x on codes by each kernel and way that this machine has, against OpenBLAS's sgemv on the same matrix
 * in binary32 and the memory's read bandwidth, all in one run: milliseconds (the best of several), weights a second,
 * ratio to sgemv on as many threads, bytes of codes a second and their share of the bandwidth. "only": without making
 * tables. Code sets that are together larger than the caches are used in turn. One thread is timed by its own clock,
 * several by the wall's.
 * usage: product [-s SCHEME]... [-n COLUMNS] [-k KERNELS] [-t THREADS] [-r ROUNDS] [-m MEBIBYTES of codes in turn]
 *	[ROWSxCOLS...] */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/float.h"
#include "codec/encode/blas.h"
#include "codec/encode/encode.h"
#include "codec/product.h"

static uint64_t n_random;

static float uniform(void)
{
	return (float)(int32_t)(aqz_random(1, 1, n_random++) >> 32) * 0x1p-31f;
}

static double now(unsigned n_threads)
{
	struct timespec t;

	clock_gettime(n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What a run is about. */
typedef struct setup {
	uint64_t rows, cols;
	unsigned n_columns, n_threads, rounds;
	uint64_t sets_bytes; /* of codes: more than the last-level cache */
	const char *kernels; /* NULL = all but the scalar ones */
	float *w, *x, *y;
	double sgemv[2], bandwidth[2]; /* seconds; bytes a second: on one thread, on all */
} setup;

typedef uint64_t words __attribute__((vector_size(64), aligned(4)));

static double read_all(const float *p, size_t n, unsigned n_threads)
{
	const double start = now(n_threads);
	uint64_t all = 0;

	(void)n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(+ : all)
	for (size_t part = 0; part < 64; part++) {
		const float *q = p + n / 64 / 64 * 64 * part;
		words a = {0}, b = a, c = a, d = a;

		for (size_t i = 0; i < n / 64 / 64 * 64; i += 64) {
			a += *(const words *)(const void *)(q + i);
			b += *(const words *)(const void *)(q + i + 16);
			c += *(const words *)(const void *)(q + i + 32);
			d += *(const words *)(const void *)(q + i + 48);
		}
		a += b + c + d;
		all += a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
	}
	*(volatile float *)(uintptr_t)p = *(const float *)p;
	return (double)n * sizeof *p / (now(n_threads) - start) + (all == 1 ? 1e-9 : 0);
}

static void peers(setup *s)
{
	for (unsigned k = 0; k < (s->n_threads > 1 ? 2 : 1); k++) {
		const unsigned n_threads = k == 0 ? 1 : s->n_threads;

		s->sgemv[k] = INFINITY;
		openblas_set_num_threads((int)n_threads);
		for (unsigned i = 0; i < s->rounds; i++) {
			const double start = now(n_threads);

			for (unsigned t = 0; t < s->n_columns; t++)
				cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)s->rows, (int)s->cols, 1, s->w,
					(int)s->cols, s->x + t * s->cols, 1, 0, s->y + t * s->rows, 1);
			s->sgemv[k] = fmin(s->sgemv[k], now(n_threads) - start);
			s->bandwidth[k] = fmax(s->bandwidth[k], read_all(s->w, s->rows * s->cols, n_threads));
		}
		printf("  %-22s %u thread%s %9.3f ms %7.1f Gw/s; memory read at %.1f GB/s\n", "sgemv",
			n_threads, n_threads > 1 ? "s" : " ", 1e3 * s->sgemv[k],
			1e-9 * (double)(s->rows * s->cols * s->n_columns) / s->sgemv[k], 1e-9 * s->bandwidth[k]);
	}
	openblas_set_num_threads(1);
}

static void no_tables(float *restrict tables, const float *restrict turned, const float *restrict x,
	unsigned n_groups, const aqz_scheme *scheme)
{
	(void)tables, (void)turned, (void)x, (void)n_groups, (void)scheme;
}

static void no_entries(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse)
{
	(void)entries, (void)tables, (void)n_tables, (void)n_codes, (void)inverse;
}

static bool measure(const setup *s, const aqz_scheme *scheme)
{
	static const char *const names[] = {"", "LUT16", "LUT8", "tables", "direct"};
	const uint64_t groups = aqz_ceil_div(s->cols, scheme->in_group);
	const size_t n_bytes = aqz_additive_codes_bytes(scheme, s->rows / scheme->out_group, groups);
	const size_t n_sets = s->sets_bytes / n_bytes + 1;
	const size_t n_values = aqz_codewords(scheme) * aqz_codeword(scheme);
	uint8_t *lines = aligned_alloc(4096, (n_sets * n_bytes + 4095) / 4096 * 4096);
	float *values = aligned_alloc(64, (n_values * sizeof *values + 63) / 64 * 64);
	void *scratch =
		aligned_alloc(64, (aqz_product_scratch_bytes(scheme, s->cols, s->n_columns) + 63) / 64 * 64);
	const aqz_tables tables = {.scheme = *scheme, .dtype = AQZ_F32, .values = values};
	const aqz_product_kernels *k;
	size_t set = 0;

	if (lines == NULL || values == NULL || scratch == NULL)
		return false;
	for (size_t i = 0; i < n_sets * n_bytes / 8; i++)
		aqz_put64(lines + 8 * i, aqz_random(2, 1, i));
	for (size_t i = 0; i < n_values; i++)
		values[i] = aqz_f16_to_f32(aqz_f32_to_f16(uniform()));
	for (unsigned i = 0; (k = aqz_product_kernels_get(i)) != NULL; i++) {
		if (s->kernels == NULL ? i == 0 : strcmp(s->kernels, k->name) != 0)
			continue;
		for (unsigned way = AQZ_PRODUCT_LUT16; way <= AQZ_PRODUCT_DIRECT; way++)
			for (unsigned build = 2; build-- > 0;) {
				aqz_product_kernels own = *k;
				const aqz_product_options opt = {&own, (aqz_product_way)way};

				if (aqz_product_way_of(scheme, s->rows, &opt) != (aqz_product_way)way ||
					(build == 0 && way == AQZ_PRODUCT_DIRECT))
					continue;
				if (build == 0) {
					own.tables = no_tables;
					own.lut16.entries = own.lut8.entries = no_entries;
				}
				printf("  %-9s %-6s %-5s", k->name, names[way],
					way == AQZ_PRODUCT_DIRECT ? ""
						: build				  ? "+make"
											  : "only");
				for (unsigned all = 0; all < (s->n_threads > 1 ? 2 : 1); all++) {
					const unsigned n_threads = all ? s->n_threads : 1;
					double best = INFINITY;

					for (unsigned round = 0; round < s->rounds; round++) {
						const aqz_product_part part = {
							s->y, s->rows, lines + set * n_bytes, NULL, s->rows};
						const double start = now(n_threads);

						aqz_product(&part, 1, &tables, s->cols, s->x, s->cols, s->n_columns,
							scratch, n_threads, &opt);
						best = fmin(best, now(n_threads) - start);
						set = (set + 1) % n_sets;
					}
					printf("  %u: %8.3f ms %6.1f Gw/s %5.1fx %5.1f GB/s %3.0f %%", n_threads,
						1e3 * best, 1e-9 * (double)(s->rows * s->cols * s->n_columns) / best,
						s->sgemv[all] / best, 1e-9 * (double)n_bytes / best,
						100 * (double)n_bytes / best / s->bandwidth[all]);
				}
				putchar('\n');
				fflush(stdout);
			}
	}
	free(lines);
	free(values);
	free(scratch);
	return true;
}

static bool shape(setup *s, const char *const *schemes, unsigned n_schemes)
{
	const size_t n = s->rows * s->cols;
	bool ok = false;

	s->w = aligned_alloc(4096, (n * sizeof *s->w + 4095) / 4096 * 4096);
	s->x = malloc(s->n_columns * s->cols * sizeof *s->x);
	s->y = malloc(s->n_columns * s->rows * sizeof *s->y);
	if (s->w == NULL || s->x == NULL || s->y == NULL)
		goto out;
	for (size_t i = 0; i < n; i++)
		s->w[i] = (float)(i * 2654435761u % 65536) * 0x1p-16f;
	for (size_t i = 0; i < s->n_columns * s->cols; i++)
		s->x[i] = uniform();
	printf("%llu x %llu, %u column%s\n", (unsigned long long)s->rows, (unsigned long long)s->cols,
		s->n_columns, s->n_columns > 1 ? "s" : "");
	peers(s);
	free(s->w);
	s->w = NULL;
	ok = true;
	for (unsigned i = 0; i < n_schemes && ok; i++) {
		aqz_scheme scheme;

		if (aqz_scheme_parse(&scheme, schemes[i], NULL) != AQZ_OK ||
			scheme.codec != AQZ_CODEC_ADDITIVE) {
			fprintf(stderr, "product: %s: no additive scheme\n", schemes[i]);
			ok = false;
			break;
		}
		printf(" %s\n", schemes[i]);
		ok = measure(s, &scheme);
	}
out:
	free(s->w);
	free(s->x);
	free(s->y);
	return ok;
}

int main(int argc, char **argv)
{
	static char *const usual[] = {"11008x4096", "28672x8192"};
	const char *schemes[16] = {"2x8g8"};
	unsigned n_schemes = 0;
	setup s = {
		.n_columns = 1, .n_threads = aqz_threads(0), .rounds = 12, .sets_bytes = UINT64_C(160) << 20};
	char *const *shapes = usual;
	int n_shapes = 2, option;

	while ((option = getopt(argc, argv, "s:n:k:t:r:m:")) != -1)
		if (option == 's' && n_schemes < 16)
			schemes[n_schemes++] = optarg;
		else if (option == 'n')
			s.n_columns = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'k')
			s.kernels = optarg;
		else if (option == 't')
			s.n_threads = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'm')
			s.sets_bytes = strtoull(optarg, NULL, 10) << 20;
		else if (option == 'r')
			s.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	if (s.n_columns < 1 || s.n_columns > AQZ_PRODUCT_COLUMNS || s.n_threads < 1)
		return 2;
	if (optind < argc) {
		shapes = argv + optind;
		n_shapes = argc - optind;
	}
	for (int i = 0; i < n_shapes; i++) {
		char *end;

		s.rows = strtoull(shapes[i], &end, 10);
		s.cols = *end == 'x' ? strtoull(end + 1, &end, 10) : 0;
		s.bandwidth[0] = s.bandwidth[1] = 0;
		if (s.rows == 0 || s.cols == 0 || *end != '\0' ||
			!shape(&s, schemes, n_schemes > 0 ? n_schemes : 1)) {
			fprintf(stderr, "product: %s: not measured\n", shapes[i]);
			return 1;
		}
	}
	return 0;
}
