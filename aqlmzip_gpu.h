/* SPDX-License-Identifier: Apache-2.0 */
/**
 * aqlmzip on a GPU: additive matrices stay compressed in the device's memory; products and rows are made from the codes
 * as they are needed. Needs no CUDA header. A library that was built without CUDA has the same functions: those that
 * touch a device return AQZ_E_GPU and say why; plans work everywhere.
 *
 *	devices        aqz_gpu_count, aqz_gpu_get, aqz_gpu_open
 *	how much       aqz_gpu_plan_sections: bytes beforehand, without a device
 *	upload         aqz_gpu_matrix_upload (from a file), aqz_gpu_matrix_from_additive (from memory)
 *	memory         aqz_gpu_memory, aqz_gpu_copy_in, aqz_gpu_copy_out, aqz_gpu_wait
 *	use            aqz_gpu_multiply, aqz_gpu_reconstruct
 *	archives       aqz_gpu_decode_section (trellis)
 *
 * Conventions of aqlmzip.h hold. Pointers named dst, x, y and workspace are to memory of the device. aqz_gpu_multiply
 * and aqz_gpu_reconstruct are asynchronous on the caller's stream: they allocate nothing, wait for nothing, may be
 * captured in a CUDA graph, and errors of the work itself show at the caller's next synchronisation. Uploads and
 * aqz_gpu_decode_section read a file: they wait, and return when the device is done. The calling thread's current
 * device is left as it was.
 */
#ifndef AQLMZIP_GPU_H
#define AQLMZIP_GPU_H

#include "aqlmzip.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A cudaStream_t; NULL is the device's default stream. */
typedef struct CUstream_st *aqz_gpu_stream;

/* ---- Devices ---------------------------------------------------------------------------------------------------- */

typedef struct aqz_gpu_info {
	char name[128];
	unsigned major, minor;      /**< compute capability */
	unsigned n_multiprocessors;
	uint64_t memory_bytes;
	bool usable;                /**< the library has code for it */
	char why[128];              /**< "" if usable */
} aqz_gpu_info;

/**
 * How many devices there are; 0 is no error.
 * Returns AQZ_OK; _GPU if that cannot be known: no CUDA in this library, or no driver.
 */
AQZ_API aqz_status aqz_gpu_count(unsigned *n, aqz_error *err);
/** Returns AQZ_OK; _NOT_FOUND if there is no such device; _GPU as aqz_gpu_count. */
AQZ_API aqz_status aqz_gpu_get(aqz_gpu_info *out, unsigned device, aqz_error *err);

/** A device in use: its stream and buffers for uploads. One thread at a time may upload through it. */
typedef struct aqz_gpu aqz_gpu;

typedef struct aqz_gpu_options {
	size_t struct_size;
	/** Loads libcublas for products of more than 64 columns, which takes it some memory of the device. Without it, or
	 * where it is missing, such products are made 64 columns at a time. */
	bool cublas;
	uint64_t memlimit_bytes; /**< of the device, for all that is uploaded through this; 0 = none */
} aqz_gpu_options;

/**
 * Takes a device into use. opt: NULL for defaults. Free with aqz_gpu_close().
 * Returns AQZ_OK; _ARGUMENT, _NOT_FOUND, _NOMEM; _GPU if the device is not usable.
 */
AQZ_API aqz_status aqz_gpu_open(aqz_gpu **out, unsigned device, const aqz_gpu_options *opt, aqz_error *err);
/** NULL is allowed. Its matrices must be freed before. */
AQZ_API void aqz_gpu_close(aqz_gpu *gpu);
/** True if cuBLAS was asked for and found. */
AQZ_API bool aqz_gpu_has_cublas(const aqz_gpu *gpu);

/* Memory of the device and copies, for callers without CUDA headers; pointers of cudaMalloc serve as well. */

/** n_bytes of zeros at a multiple of 256. Free with aqz_gpu_memory_free(). Returns AQZ_OK; _ARGUMENT, _SPACE,
 * _GPU. */
AQZ_API aqz_status aqz_gpu_memory(void **out, aqz_gpu *gpu, uint64_t n_bytes, aqz_error *err);
AQZ_API void aqz_gpu_memory_free(aqz_gpu *gpu, void *memory);
/** Copy in order with a stream's other work, and wait for it. */
AQZ_API aqz_status aqz_gpu_copy_in(aqz_gpu *gpu, void *dst, const void *host, uint64_t n_bytes, aqz_gpu_stream stream,
	aqz_error *err);
AQZ_API aqz_status aqz_gpu_copy_out(aqz_gpu *gpu, void *host, const void *src, uint64_t n_bytes, aqz_gpu_stream stream,
	aqz_error *err);
/** Waits for all work of a stream; errors of that work come up here. */
AQZ_API aqz_status aqz_gpu_wait(aqz_gpu *gpu, aqz_gpu_stream stream, aqz_error *err);

/* ---- How much memory -------------------------------------------------------------------------------------------- */

/** Bytes, known without a device. */
typedef struct aqz_gpu_plan {
	uint64_t device_bytes;  /**< that the matrix, or what an archive decodes to, keeps on the device */
	uint64_t upload_bytes;  /**< more of the device's memory during the upload */
	uint64_t pinned_bytes;  /**< of the host's memory that the device reads; kept by the aqz_gpu for the next one */
	uint64_t host_bytes;    /**< more of the host's memory during the upload, at most */
} aqz_gpu_plan;

/**
 * What aqz_gpu_matrix_upload of these sections needs, or aqz_gpu_decode_section of one trellis section.
 * Returns AQZ_OK; _ARGUMENT, as the call itself; _NOT_FOUND for no such section; _UNSUPPORTED for another codec.
 */
AQZ_API aqz_status aqz_gpu_plan_sections(aqz_gpu_plan *out, const aqz_reader *reader, const uint32_t *sections,
	uint32_t n_sections, aqz_error *err);

/* ---- Matrices --------------------------------------------------------------------------------------------------- */

/** A matrix in additive form on a device. Immutable: threads and streams may share it. */
typedef struct aqz_gpu_matrix aqz_gpu_matrix;

typedef struct aqz_gpu_upload_options {
	size_t struct_size;
	const float *bias;         /**< [rows of all sections], added by products; NULL = none */
	aqz_progress_fn *progress; /**< in bytes of the file; may be NULL */
	void *progress_user;
} aqz_gpu_upload_options;

/**
 * Reads additive sections of a file into one matrix: their rows one after the other, as for fused q, k and v. All have
 * the same scheme and columns, and all but the last a multiple of 64 * O rows. Chunks are read, hashed and sent by
 * turns from two pinned buffers; what is hashed is what is sent. The device puts codes into the order of its kernels.
 *
 * out  NULL on failure, and then nothing is left on the device. Free with aqz_gpu_matrix_free().
 * opt  NULL for defaults.
 *
 * Returns AQZ_OK; _ARGUMENT; _NOT_FOUND; _UNSUPPORTED for another codec or more than 2^31 rows or columns; _CHECKSUM,
 * _CORRUPT, _TRUNCATED, _IO; _NOMEM; _MEMLIMIT of the reader or the aqz_gpu; _SPACE if the device has too little
 * memory; _CANCELLED; _GPU.
 */
AQZ_API aqz_status aqz_gpu_matrix_upload(aqz_gpu_matrix **out, aqz_gpu *gpu, const aqz_reader *reader,
	const uint32_t *sections, uint32_t n_sections, const aqz_gpu_upload_options *opt, aqz_error *err);
/** The same from a matrix in memory, which may go afterwards. */
AQZ_API aqz_status aqz_gpu_matrix_from_additive(aqz_gpu_matrix **out, aqz_gpu *gpu, const aqz_additive *a,
	const aqz_gpu_upload_options *opt, aqz_error *err);
/** Nothing that uses it may be running. NULL is allowed. */
AQZ_API void aqz_gpu_matrix_free(aqz_gpu_matrix *m);

AQZ_API uint64_t aqz_gpu_matrix_rows(const aqz_gpu_matrix *m);
AQZ_API uint64_t aqz_gpu_matrix_cols(const aqz_gpu_matrix *m);
/** Bytes that it keeps on the device. */
AQZ_API uint64_t aqz_gpu_matrix_bytes(const aqz_gpu_matrix *m);

/**
 * Reconstructs rows [row_begin, row_end) to dst, [row_end - row_begin][ld], as aqz_decode_additive does, to the last
 * bit. dtype: F32, F16 or BF16; dst at a multiple of its bytes; fastest if dst and rows begin at multiples of 16 bytes.
 * Returns AQZ_OK; _ARGUMENT, _GPU.
 */
AQZ_API aqz_status aqz_gpu_reconstruct(void *dst, size_t ld, aqz_dtype dtype, const aqz_gpu_matrix *m,
	uint64_t row_begin, uint64_t row_end, aqz_gpu_stream stream, aqz_error *err);

/** Bytes of workspace that aqz_gpu_multiply of up to so many columns needs, for any dtype; may be 0. */
AQZ_API uint64_t aqz_gpu_workspace_bytes(const aqz_gpu_matrix *m, size_t n_columns);

/**
 * y[i] = W x[i] + bias for n_columns vectors, straight from the codes.
 *
 * y          [n_columns][y_ld] of dtype, of which rows elements each are written.
 * x          [n_columns][x_ld] of dtype, of which cols each are read; fastest at multiples of 16 bytes.
 * dtype      of x and y: F16, BF16 or F32.
 * workspace  aqz_gpu_workspace_bytes() at a multiple of 256 bytes, of zeros before its first use; then any products may
 *            use it, but not at the same time.
 *
 * Sums are in binary32, in an order that depends on nothing but shapes, scheme, dtype, n_columns and the device's kind:
 * the same call gives the same bits. docs/gpu.md has the error bounds.
 * Returns AQZ_OK; _ARGUMENT (also if a codebook or scale is not finite), _GPU.
 */
AQZ_API aqz_status aqz_gpu_multiply(void *y, size_t y_ld, const aqz_gpu_matrix *m, const void *x, size_t x_ld,
	size_t n_columns, aqz_dtype dtype, void *workspace, uint64_t workspace_bytes, aqz_gpu_stream stream,
	aqz_error *err);

/* ---- Archives --------------------------------------------------------------------------------------------------- */

/**
 * Decodes a trellis section on the device, to dst, [rows][cols] of the section's dtype, dst_bytes of them; the same
 * bits as aqz_cursor_read gives. The hash of what is stored is checked; that of the decoded elements is not.
 * Returns AQZ_OK; otherwise as aqz_gpu_matrix_upload; _CORRUPT if the stream does not decode.
 */
AQZ_API aqz_status aqz_gpu_decode_section(void *dst, uint64_t dst_bytes, aqz_gpu *gpu, const aqz_reader *reader,
	uint32_t section, aqz_error *err);

#ifdef __cplusplus
}
#endif

#endif
