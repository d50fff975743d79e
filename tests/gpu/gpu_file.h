/* SPDX-License-Identifier: Apache-2.0 */
/* Containers in memory for the tests of the GPU, what products of their matrices must be, and the device in use. */
#ifndef AQZ_TESTS_GPU_FILE_H
#define AQZ_TESTS_GPU_FILE_H

#include "aqlmzip_gpu.h"
#include "format/writer.h"
#include "tests/matrix.h"
#include "tests/support.h"
#include "tests/trellis_case.h"

/* The device that tests use; set by main. */
extern aqz_gpu *gpu;
/* How many of the random cases: a card does more than the fake device in the same time. */
extern unsigned gpu_many;

typedef struct gpu_file {
	memory_file file;
	aqz_io io;
	aqz_writer *writer;
	aqz_reader *reader;
	unsigned n;
} gpu_file;

/* Chunks have about so many decoded bytes. */
void gpu_file_begin(gpu_file *f, uint64_t chunk_bytes);
/* Returns the section's number. */
uint32_t gpu_file_add(gpu_file *f, const matrix *m, aqz_dtype dtype);
uint32_t gpu_file_add_trellis(gpu_file *f, trellis_case *c, aqz_dtype dtype);
/* Ends the file and opens it. */
void gpu_file_end(gpu_file *f);
void gpu_file_free(gpu_file *f);

/* The matrix in memory; its codebooks must be one section. */
aqz_additive gpu_additive(const matrix *m);

/* y[row] = W x by binary64, and the sums of the magnitudes of its terms. x: [cols]. */
void gpu_expect(double *y, double *terms, const matrix *m, const float *x);

/* n numbers of about the size of 1 that dtype holds, stored and widened. */
void gpu_inputs(void *stored, float *wide, aqz_dtype dtype, size_t n, noise *r);

/* ---- Memory of the device */

void *gpu_put(const void *host, size_t n_bytes);
void gpu_fetch(void *host, const void *device, size_t n_bytes);

#endif
