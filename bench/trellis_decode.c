/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of trellis chunks by each kernel that this machine runs, on one thread: weights a second, for a matrix whose
 * sizes and indices are spread as a layer's are. usage: trellis_decode [-r rows] [-c cols] [-k chunk rows] [RATE...], a
 * rate being bits of a weight, about. */
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "bench/trellis_matrix.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

	if (index == NULL || dst == NULL || ends == NULL || !bench_trellis_make(&p, index, middle) ||
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
