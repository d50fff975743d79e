/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/gpu/archives.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/gpu/bench_gpu.h"
#include "bench/trellis_matrix.h"
#include "format/writer.h"

enum { ROWS = 8192, COLS = 4096, RUNS = 5 };
#define WEIGHTS ((uint64_t)ROWS * COLS)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A file with the matrix in chunks of 64, 256 and 1024 rows: as many warps decode it as it has chunks. */
static const uint32_t chunk_rows[] = {64, 256, 1024};
#define FILES (sizeof chunk_rows / sizeof *chunk_rows)

static FILE *make_file(void)
{
	const aqz_writer_options opt = {.struct_size = sizeof opt, .id = "bench", .n_threads = 0};
	aqz_trellis_params p = {.rows = ROWS, .cols = COLS};
	int32_t *index = malloc(WEIGHTS * sizeof *index);
	FILE *file = tmpfile();
	aqz_writer *writer;
	aqz_io io;

	if (file == NULL || index == NULL || !bench_trellis_make(&p, index, 1.0))
		bench_die("archive", "no memory or no temporary file");
	aqz_io_from_fd(&io, fileno(file));
	BENCH_AQZ(aqz_writer_open(&writer, &io, &opt, err));
	for (unsigned i = 0; i < FILES; i++) {
		const char name[2] = {(char)('a' + i), 0};
		const aqz_tensor_desc d = {.struct_size = sizeof d, .name = name, .name_bytes = 1, .dtype = AQZ_F16, .rank = 2,
			.shape = {ROWS, COLS}};

		BENCH_AQZ(aqz_writer_trellis(writer, &d, &p, index, chunk_rows[i], err));
	}
	BENCH_AQZ(aqz_writer_finish(writer, NULL, err));
	aqz_writer_close(writer);
	aqz_trellis_params_free(&p);
	free(index);
	return file;
}

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The bytes must be those of the CPU's decoder. */
static bool same(aqz_gpu *gpu, const aqz_reader *reader, uint32_t section, const void *device)
{
	uint8_t *due = malloc(WEIGHTS * 2), *got = malloc(WEIGHTS * 2);
	aqz_cursor *cursor;
	bool equal;

	BENCH_AQZ(aqz_cursor_open(&cursor, reader, section, err));
	BENCH_AQZ(aqz_cursor_read(cursor, 0, ROWS, due, WEIGHTS * 2, err));
	aqz_cursor_close(cursor);
	BENCH_AQZ(aqz_gpu_copy_out(gpu, got, device, WEIGHTS * 2, NULL, err));
	equal = memcmp(due, got, WEIGHTS * 2) == 0;
	free(due), free(got);
	return equal;
}

void archives_measure(aqz_gpu *gpu)
{
	FILE *file = make_file();
	aqz_reader *reader;
	aqz_io io;
	void *dst;

	aqz_io_from_fd(&io, fileno(file));
	BENCH_AQZ(aqz_reader_open(&reader, &io, NULL, err));
	BENCH_AQZ(aqz_gpu_memory(&dst, gpu, WEIGHTS * 2, err));
	printf("archive, %u x %u, file to F16 on the device\n", ROWS, COLS);
	for (uint32_t i = 0; i < FILES; i++) {
		const uint32_t section = aqz_reader_tensor(reader, i)->section;
		double all[RUNS];

		for (int run = 0; run < RUNS; run++) {
			const double start = now();

			BENCH_AQZ(aqz_gpu_decode_section(dst, WEIGHTS * 2, gpu, reader, section, err));
			all[run] = now() - start;
		}
		qsort(all, RUNS, sizeof *all, by_size);
		printf("  %4u chunks of %4u rows: %8.2f ms, %6.2f Gw/s%s\n", ROWS / chunk_rows[i], chunk_rows[i],
			all[RUNS / 2] * 1e3, (double)WEIGHTS / all[RUNS / 2] * 1e-9,
			same(gpu, reader, section, dst) ? "" : "  WRONG");
	}
	fflush(stdout);
	aqz_gpu_memory_free(gpu, dst);
	aqz_reader_close(reader);
	fclose(file);
}
