/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of trellis chunks by each kernel that this machine runs, on one thread: weights a second, for a matrix whose
 * sizes and indices are spread as a layer's are. usage: trellis_decode [-r rows] [-c cols] [-k chunk rows] [RATE...], a
 * rate being bits of a weight, about. */
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "codec/encode/encode.h"
#include "codec/trellis.h"

enum { BUCKETS = 16 };

static uint64_t n_random;

static double uniform(void)
{
	return ((double)(aqz_random(1, 1, n_random++) >> 11) + 0.5) * 0x1p-53;
}

static double gauss(void)
{
	const double u = uniform();

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * uniform());
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The width of the middle bucket's indices, in steps, and that of the others half an octave apart. */
static double width_of(unsigned bucket, double middle)
{
	return middle * exp2(((double)bucket - BUCKETS / 2) / 2);
}

static void make_table(aqz_trellis_table *t, double width, bool mirrored)
{
	double sum = 0, p[AQZ_TRELLIS_MAX_MAGNITUDE + 1];
	const double most = ceil(4.5 * width) + 1;
	const unsigned n =
		most > AQZ_TRELLIS_MAX_MAGNITUDE + 1 ? AQZ_TRELLIS_MAX_MAGNITUDE + 1 : (unsigned)most;

	for (unsigned m = 0; m < n; m++) {
		const double at = (mirrored ? m + 0.5 : m) / width;

		p[m] = exp(-at * at / 2);
		sum += (m > 0 || mirrored ? 2 : 1) * p[m];
	}
	t->n_magnitudes = (uint8_t)n;
	for (unsigned m = 0; m < n; m++)
		t->frequency[m] = (uint16_t)fmax(1, 4090 * p[m] / sum);
	t->escape = 2;
}

static bool make(aqz_trellis_params *p, int32_t *index, double middle)
{
	p->base = 0.01f;
	p->bias = 4 * BUCKETS / 2 + 2;
	p->n_buckets = p->n_tables = BUCKETS;
	p->state_bits = 3;
	p->column_step = calloc(p->cols, 1);
	p->column_size = calloc(p->cols, 1);
	p->row_step = calloc(p->rows, 1);
	p->row_size = calloc(p->rows, 1);
	if (!p->column_step || !p->column_size || !p->row_step || !p->row_size)
		return false;
	for (unsigned b = 0; b < BUCKETS; b++) {
		p->bucket_table[b] = (uint8_t)b;
		for (unsigned t = 0; t < 2; t++)
			make_table(&p->tables[b][t], width_of(b, middle), t == 1);
	}
	/* Standard deviations of an eighth and a quarter of an octave: most elements lie in 4 buckets. */
	for (uint64_t j = 0; j < p->cols; j++) {
		p->column_step[j] = (int8_t)lround(gauss() * 2);
		p->column_size[j] = (int8_t)lround(p->column_step[j] / 2.0 + gauss() / 2);
	}
	for (uint64_t i = 0; i < p->rows; i++)
		p->row_size[i] = (int8_t)lround(gauss());
	for (uint64_t j = 0; j < p->cols; j++)
		for (uint64_t i = 0; i < p->rows; i++) {
			const int b = aqz_trellis_bucket(p, i, j);

			index[j * p->rows + i] = (int32_t)lround(gauss() * width_of((unsigned)b, middle));
		}
	return true;
}

static bool measure(uint64_t rows, uint64_t cols, uint64_t chunk_rows, double middle)
{
	static const char *const names[] = {"scalar", "avx2", "avx512"};
	static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_F16, AQZ_BF16};
	static const char *const dtype_names[] = {"F32", "F16", "BF16"};
	aqz_trellis_params p = {.rows = rows, .cols = cols};
	int32_t *index = malloc(rows * cols * sizeof *index);
	float *dst = malloc(rows * cols * sizeof *dst);
	aqz_buffer bytes = {0}, payload = {0};
	const uint64_t n_chunks = aqz_ceil_div(rows, chunk_rows);
	size_t *ends = calloc(n_chunks + 1, sizeof *ends);
	aqz_trellis_decode_fn *decode;
	bool ok = false;
	double start = now();

	if (index == NULL || dst == NULL || ends == NULL || !make(&p, index, middle) ||
		aqz_trellis_params_write(&bytes, &p, NULL) != AQZ_OK)
		goto out;
	start = now();
	for (uint64_t c = 0; c < n_chunks; c++) {
		const uint64_t begin = c * chunk_rows, end = aqz_min(rows, begin + chunk_rows);

		if (aqz_trellis_encode_rows(&payload, &p, index + begin, rows, begin, end, NULL) != AQZ_OK)
			goto out;
		ends[c + 1] = payload.n;
	}
	printf("%llu x %llu, chunks of %llu rows: %.3f bits a weight, parameters %.4f; coded at %.1f "
		   "M/s\n",
		(unsigned long long)rows, (unsigned long long)cols, (unsigned long long)chunk_rows,
		8 * (double)payload.n / (double)(rows * cols), 8 * (double)bytes.n / (double)(rows * cols),
		1e-6 * (double)(rows * cols) / (now() - start));
	for (unsigned v = 0; (decode = aqz_trellis_decode_get(v)) != NULL; v++) {
		printf("  %-7s", names[v]);
		for (unsigned d = 0; d < 3; d++) {
			aqz_trellis_tables t;
			double best = INFINITY;

			if (aqz_trellis_tables_make(&t, &p, dtypes[d], NULL) != AQZ_OK)
				goto out;
			for (int round = 0; round < 5; round++) {
				start = now();
				ok = true;
				for (uint64_t c = 0; c < n_chunks; c++) {
					const uint64_t begin = c * chunk_rows, end = aqz_min(rows, begin + chunk_rows);

					ok &= decode((uint8_t *)dst + begin * cols * (d == 0 ? 4 : 2), &t,
						payload.data + ends[c], ends[c + 1] - ends[c], begin, end, begin, end);
				}
				best = fmin(best, now() - start);
				if (!ok)
					goto out;
			}
			aqz_trellis_tables_free(&t);
			printf("  %s %6.1f M/s", dtype_names[d], 1e-6 * (double)(rows * cols) / best);
		}
		putchar('\n');
	}
out:
	aqz_trellis_params_free(&p);
	aqz_buffer_free(&bytes);
	aqz_buffer_free(&payload);
	free(ends);
	free(index);
	free(dst);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t rows = 4096, cols = 4096, chunk_rows = 512;
	bool ok = true;
	int option;

	while ((option = getopt(argc, argv, "r:c:k:")) != -1)
		if (option == 'r')
			rows = strtoull(optarg, NULL, 10);
		else if (option == 'c')
			cols = strtoull(optarg, NULL, 10);
		else if (option == 'k')
			chunk_rows = strtoull(optarg, NULL, 10);
		else
			return 2;
	if (optind == argc)
		ok = measure(rows, cols, chunk_rows, 1.0);
	/* The entropy of a normal distribution: log2(width * sqrt(2 pi e)). */
	for (; optind < argc && ok; optind++)
		ok = measure(rows, cols, chunk_rows, exp2(strtod(argv[optind], NULL)) / 4.1327);
	if (!ok)
		fprintf(stderr, "trellis_decode: it does not decode\n");
	return ok ? 0 : 1;
}
