/* SPDX-License-Identifier: Apache-2.0 */
/* What the container's tests and fuzz targets share: files in memory that can fail, and a small
 * container with every feature whose contents are known. Depends on the public header only, so that
 * what is expected does not come from the code that is tested. Mistakes of the test itself end the
 * process. */
#ifndef AQZ_TESTS_SUPPORT_H
#define AQZ_TESTS_SUPPORT_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip.h"

/* Ends the process unless the test's own assumption holds. */
#define SURE(holds) \
	((holds) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #holds), abort()))

/* n zeroed bytes, by the one function that tests/heap.c never lets fail. Free with free(). */
void *sure_alloc(size_t n);

/* ---- Files in memory */

typedef struct memory_file {
	uint8_t *data;
	size_t n, capacity;
	atomic_uint_fast64_t n_reads, n_read_bytes, n_writes; /* counted since they were set to 0 */
	uint64_t fail_read, fail_write; /* the call of this number fails, and every later one; 0 = none */
	aqz_status fail_with;
	aqz_status fail_size; /* what size() returns, if not AQZ_OK */
} memory_file;

/* Fills *io with all callbacks for f, which must outlive its use. Reads may come from several
 * threads. */
void memory_io(aqz_io *io, memory_file *f);
void memory_add(memory_file *f, const void *data, size_t n);
void memory_copy(memory_file *to, const memory_file *from); /* *to is zeroed or an earlier copy */
void memory_free(memory_file *f);

/* ---- Bytes that look random and are always the same */

typedef struct noise { uint64_t state; } noise; /* any start but 0 */
uint64_t noise_next(noise *r);
void noise_fill(noise *r, void *dst, size_t n);

/* ---- A container whose contents are known */

typedef struct sample_tensor {
	char name[64];
	aqz_dtype dtype;
	uint32_t rank;
	uint64_t shape[AQZ_MAX_RANK];
	aqz_scheme scheme;
	uint32_t leading;
	bool transposed, alias;
	size_t n_bytes;
	uint8_t *data; /* in the tensor's own shape */
} sample_tensor;

typedef struct sample_file {
	aqz_kind kind;
	char name[64];
	size_t n_bytes;
	const char *data;
} sample_file;

typedef struct sample {
	memory_file file;
	sample_tensor tensors[32];
	sample_file files[8];
	uint32_t n_tensors, n_files;
	uint32_t shared_codebook; /* section that two tensors refer to */
} sample;

typedef struct sample_options {
	uint32_t alignment;   /* 64 or 4096 */
	unsigned n_threads;
	unsigned scale;       /* 1: a few KiB in all; more: so many times the rows */
	uint64_t memlimit_bytes;
	void (*after_each)(aqz_writer *w); /* called behind each tensor and file; may be NULL */
} sample_options;

/* Writes the sample with every feature: raw tensors of several dtypes and ranks, of one and of
 * several chunks, empty, with elements of 4 bits, an alias; additive tensors with shared codebooks,
 * I8 codebooks with scales, two row ranges, transposed, stacked, with output groups; files, one of
 * them empty, a source header, metadata; UTF-8 names. */
void sample_make(sample *s, const sample_options *opt);
/* The same, in the given io; the status of the call that failed first. s gets what is expected, but
 * no file. */
aqz_status sample_write(sample *s, const aqz_io *io, const sample_options *opt, aqz_error *err);
void sample_free(sample *s);

/* A file of two chunks and a name, for tests of everything at every byte. */
void sample_tiny(memory_file *out, uint32_t alignment);

/* ---- What the two readers say about a file: OK only if all of it is sound */

/* aqz_reader_open and aqz_reader_verify at this level, on one thread. */
aqz_status reader_verdict(memory_file *f, aqz_verify_level level, uint64_t memlimit_bytes, aqz_error *err);
/* aqz_stream_push in pieces of at most so many bytes (0: all at once), and aqz_stream_finish. */
aqz_status stream_verdict(const memory_file *f, size_t piece, uint64_t memlimit_bytes, aqz_error *err);

/* Elements of all sections, as a stream gives them. */
typedef struct collected {
	struct { uint8_t *data; size_t n, due; } sections[64];
	uint32_t n_sections, n_tensors;
	struct { char name[64]; uint32_t section; } tensors[64];
} collected;
aqz_stream_events collect_events(collected *c); /* *c is zeroed */
void collected_free(collected *c);

/* True if the file holds exactly the sample's tensors and files, read at random / from a pipe in
 * pieces. Says on stderr what differs. */
bool sample_is_in(const sample *s, memory_file *f);
bool sample_streams_from(const sample *s, const memory_file *f, size_t piece);

/* ---- Additive codes by the letter of the spec (7.2.2, 7.2.4), slowly */

/* code(i, j, m) of a matrix of code_rows x groups codes of M codebooks: codes[(i * groups + j) * M
 * + m]. Returns T64 lines, *n_bytes of them; free with free(). */
uint8_t *spec_t64(const uint16_t *codes, uint64_t code_rows, uint64_t groups, const aqz_scheme *s, size_t *n_bytes);

/* Parameters of code rows [begin, end). */
typedef struct spec_range {
	uint64_t begin, end;
	const float *codebook;        /* [M * 2^B][O * G], widened */
	const int8_t *integers;       /* if not NULL, instead of codebook, times scales */
	const float *codebook_scales; /* [M][O * G] */
} spec_range;

/* Decodes to dst, [rows][cols] of dtype (F32, F16 or BF16). row_scales: [code_rows] or NULL. */
void spec_decode(void *dst, aqz_dtype dtype, const uint16_t *codes, uint64_t rows, uint64_t cols, const aqz_scheme *s,
	const spec_range *ranges, const float *row_scales);

#endif
