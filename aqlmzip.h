/* SPDX-License-Identifier: Apache-2.0 */
/**
 * aqlmzip: compressed weights of language models. This file is the whole public C API; start here.
 *
 *	status and errors     aqz_status, aqz_error
 *	element types         aqz_dtype, aqz_convert
 *	bytes in and out      aqz_io
 *	schemes               aqz_scheme ("raw", "2x8g8")
 *	additive codes        aqz_encode_additive, aqz_decode_additive
 *	products on codes     aqz_matrix
 *	a file, at random     aqz_reader, aqz_cursor
 *	a file, from a pipe   aqz_stream
 *	a new file            aqz_writer
 *	a broken file         aqz_salvage
 *	models of other tools aqz_source, aqz_safetensors
 *	what a model was fed  aqz_stats
 *	the whole job         aqz_plan (compress a model)
 *
 * Conventions. Outputs come first, the error last. A pointer is borrowed unless its comment says "free with". Structs
 * of options start with struct_size = sizeof the struct, so that they can grow. Nothing here prints, exits, reads the
 * environment or holds global state (but encoding sets OpenBLAS, which does, to one thread while it runs); objects are
 * not shared between threads unless their comment allows it.
 * Every call that can fail returns an aqz_status and fills *err if err is not NULL.
 */
#ifndef AQLMZIP_H
#define AQLMZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library and the tool; configure.ac reads it here. */
#define AQZ_VERSION "0.1.0"

/* The version of the file format that this library writes, and the only one that it reads until 1.0. */
#define AQZ_FORMAT_MAJOR 0
#define AQZ_FORMAT_MINOR 3

#if defined(__GNUC__)
#define AQZ_API __attribute__((visibility("default")))
#else
#define AQZ_API
#endif

/** Returns AQZ_VERSION as the library was built. */
AQZ_API const char *aqz_version(void);

/* ---- Status and errors ------------------------------------------------------------------------------------------ */

/** What a call came to. The values are ABI: add, never renumber. */
typedef enum aqz_status {
	AQZ_OK = 0,
	AQZ_E_ARGUMENT = 1,    /**< the caller broke the contract of the call, or an option has no such value */
	AQZ_E_NOMEM = 2,       /**< malloc failed */
	AQZ_E_MEMLIMIT = 3,    /**< the call would need more than the caller's memlimit_bytes; raise it and retry */
	AQZ_E_IO = 4,          /**< reading or writing failed; the text says what the system said */
	AQZ_E_SPACE = 5,       /**< the destination is full: a buffer of the caller's, or the disk */
	AQZ_E_NOT_FOUND = 6,   /**< no such file, tensor or section */
	AQZ_E_CANCELLED = 7,   /**< a progress callback asked to stop */
	AQZ_E_FORMAT = 8,      /**< this is not the kind of file that was asked for */
	AQZ_E_UNSUPPORTED = 9, /**< the file is sound but needs a version, feature or codec that this library lacks */
	AQZ_E_TRUNCATED = 10,  /**< the file ends early */
	AQZ_E_CORRUPT = 11,    /**< a value that no writer makes; the file is broken or hostile */
	AQZ_E_CHECKSUM = 12,   /**< a hash differs: bytes were changed after they were written */
	AQZ_E_GPU = 13         /**< no usable GPU, or the GPU failed */
} aqz_status;

#define AQZ_NO_OFFSET UINT64_MAX

/** The optional last argument of every call that can fail; filled on failure only. */
typedef struct aqz_error {
	aqz_status status;
	uint64_t offset; /**< file offset of the field at fault, or AQZ_NO_OFFSET */
	char where[64];  /**< the field at fault, "index.tensor[17].dtype"; may be empty */
	char text[192];  /**< one sentence, no newline, no full stop */
} aqz_error;

/** Returns the name of a status, "AQZ_E_CORRUPT", or "AQZ_E_?" for a value out of range. */
AQZ_API const char *aqz_status_name(aqz_status status);

/**
 * Called now and then by long work, from the calling thread. done and total are in bytes of input (or as the call
 * says). Return false to stop the work: the call then returns AQZ_E_CANCELLED and cleans up.
 */
typedef bool aqz_progress_fn(void *user, uint64_t done, uint64_t total);

/* ---- Element types ---------------------------------------------------------------------------------------------- */

#define AQZ_MAX_RANK 8
#define AQZ_MAX_NAME_BYTES 1024
#define AQZ_MAX_TENSORS (UINT32_C(1) << 20)

/** Element types, spec 1.3. The values stand in files. */
typedef enum aqz_dtype {
	AQZ_BOOL = 1, AQZ_U8 = 2, AQZ_I8 = 3, AQZ_U16 = 4, AQZ_I16 = 5, AQZ_U32 = 6, AQZ_I32 = 7, AQZ_U64 = 8, AQZ_I64 = 9,
	AQZ_F16 = 16, AQZ_BF16 = 17, AQZ_F32 = 18, AQZ_F64 = 19, AQZ_C64 = 20,
	AQZ_F8_E5M2 = 32, AQZ_F8_E4M3 = 33, AQZ_F8_E8M0 = 34, AQZ_F8_E4M3FNUZ = 35, AQZ_F8_E5M2FNUZ = 36,
	AQZ_F6_E2M3 = 40, AQZ_F6_E3M2 = 41, AQZ_F4 = 42
} aqz_dtype;

/** Returns the bits of one element, or 0 for a value that is no dtype. */
AQZ_API unsigned aqz_dtype_bits(aqz_dtype dtype);

/** Returns the safetensors name of a dtype ("BF16"), or NULL for a value that is no dtype. */
AQZ_API const char *aqz_dtype_name(aqz_dtype dtype);

/** Finds a dtype by its safetensors name; name need not end in NUL. Returns 0 if there is none. */
AQZ_API aqz_dtype aqz_dtype_find(const char *name, size_t name_bytes);

/**
 * Converts n elements. From F64, F32, F16, BF16 (any to any of F32, F16, BF16): to a narrower type by one rounding to
 * nearest even from the source's value, overflow to infinity, NaN to a quiet NaN. dst and src must not overlap.
 * Returns AQZ_OK, or _UNSUPPORTED for another pair.
 */
AQZ_API aqz_status aqz_convert(void *dst, aqz_dtype dst_dtype, const void *src, aqz_dtype src_dtype, size_t n,
	aqz_error *err);

/* ---- Bytes in and out ------------------------------------------------------------------------------------------- */

/**
 * Where a container is read from or written to. A callback that a call does not need may be NULL.
 *
 * pread  reads exactly n bytes at offset; AQZ_E_TRUNCATED if the file ends before, AQZ_E_IO otherwise. May be called
 *        from several threads at once.
 * size   the file's length in bytes.
 * write  appends all n bytes; AQZ_E_SPACE if the disk is full, AQZ_E_IO otherwise.
 */
typedef struct aqz_io {
	void *user;
	aqz_status (*pread)(void *user, void *dst, size_t n, uint64_t offset);
	aqz_status (*size)(void *user, uint64_t *n_bytes);
	aqz_status (*write)(void *user, const void *src, size_t n);
} aqz_io;

/** Fills *io for a POSIX file descriptor, which stays the caller's. write() appends at the descriptor's position. */
AQZ_API void aqz_io_from_fd(aqz_io *io, int fd);

/* ---- Schemes ---------------------------------------------------------------------------------------------------- */

/** How elements become bytes, spec 7. The values stand in files. */
typedef enum aqz_codec_id {
	AQZ_CODEC_LOSSLESS = 0, /**< stored, zstd or byte planes, the best of each chunk */
	AQZ_CODEC_ADDITIVE = 1, /**< additive quantization: sums of codewords times a scale */
	AQZ_CODEC_TRELLIS = 2   /**< entropy-coded trellis quantization: integers times a step */
} aqz_codec_id;

/**
 * A codec and its parameters. "raw" is lossless; "MxBgGoO" is additive; "trellisS" is the trellis codec with S states,
 * with a "z" behind it if both of its quantizers hold 0.
 */
typedef struct aqz_scheme {
	aqz_codec_id codec;
	uint8_t n_codebooks; /**< M, 1..8; trellis: 1 if both quantizers hold 0, else 0 */
	uint8_t code_bits;   /**< B, 1..16; trellis: log2 of the states, 0 or 2..8 */
	uint8_t in_group;    /**< G, input features a codeword spans, 1..64; 1 but for additive schemes */
	uint8_t out_group;   /**< O, output features a codeword spans, 1..64; G * O <= 64; 1 but for additive schemes */
} aqz_scheme;

#define AQZ_SCHEME_TEXT_BYTES 24

/** Reads "raw" or "MxBgG[oO]". Returns AQZ_OK or _ARGUMENT; the error says which values are possible. */
AQZ_API aqz_status aqz_scheme_parse(aqz_scheme *out, const char *text, aqz_error *err);

/** Writes the canonical name ("2x8g8", "1x16g8o2", "raw", "trellis8") and a NUL to text. */
AQZ_API void aqz_scheme_format(char text[AQZ_SCHEME_TEXT_BYTES], const aqz_scheme *scheme);

/** What the steps of a trellis tensor are chosen for. */
typedef enum aqz_goal_kind {
	AQZ_GOAL_SHARED = 0, /**< nothing of its own: aqz_compress_options.shared_goal */
	AQZ_GOAL_BITS = 1,   /**< so many bits of the file for each weight, all that the tensor costs counted */
	AQZ_GOAL_LOSS = 2,   /**< that tr(E H E^T) / tr(W H W^T), E = W - W_hat */
	AQZ_GOAL_SLOPE = 3   /**< steps by this constant, which trades loss for bits alike everywhere: docs/encoder.md */
} aqz_goal_kind;

typedef struct aqz_goal {
	aqz_goal_kind kind;
	double value; /**< above 0, unless kind is AQZ_GOAL_SHARED */
} aqz_goal;

#define AQZ_GOAL_TEXT_BYTES 64

/**
 * Reads what aqz_scheme_parse does, and "ectcq", "ectcq@R" (bits), "ectcq@loss=X" and "ectcq@slope=C": the trellis
 * codec, whose number of states the caller of aqz_plan_make settles. Returns AQZ_OK or _ARGUMENT.
 */
AQZ_API aqz_status aqz_scheme_parse_goal(aqz_scheme *out, aqz_goal *goal, const char *text, aqz_error *err);

/** Writes what aqz_scheme_parse_goal reads, and a NUL. */
AQZ_API void aqz_scheme_format_goal(char text[AQZ_GOAL_TEXT_BYTES], const aqz_scheme *scheme, const aqz_goal *goal);

/* ---- Additive codes --------------------------------------------------------------------------------------------- */

/**
 * A matrix in additive form, spec 7.2 (AQLM, arXiv:2401.06118, section 3.1): with j = column / G, i = row / O,
 *
 *	W[row, column] = scales[i] * sum over m of codebooks[m][code(i, j, m)][row % O][column % G]
 */
typedef struct aqz_additive {
	aqz_scheme scheme;
	uint64_t rows, cols;      /**< of the matrix; need not be multiples of O and G */
	uint64_t code_rows;       /**< ceil(rows / O) */
	uint64_t groups;          /**< ceil(cols / G) */
	uint8_t *codes;           /**< T64 tiles, spec 7.2.2; aqz_additive_codes_bytes() bytes, 64-byte aligned */
	size_t codes_bytes;
	aqz_dtype codebook_dtype; /**< F32, F16, BF16 or I8 */
	void *codebooks;          /**< [M][2^B][O][G] in codebook_dtype */
	float *codebook_scales;   /**< [M][O*G], I8 only (the value is the integer times this); else NULL */
	aqz_dtype scale_dtype;    /**< F32, F16 or BF16 */
	void *scales;             /**< [code_rows] in scale_dtype */
} aqz_additive;

/** Frees what the encoder allocated in *a and zeroes it. NULL is allowed. */
AQZ_API void aqz_additive_free(aqz_additive *a);

/** Stored bytes of the codes of rows [0, code_rows) with so many groups, or 0 on overflow. */
AQZ_API uint64_t aqz_additive_codes_bytes(const aqz_scheme *scheme, uint64_t code_rows, uint64_t groups);

/** A weight matrix and the statistics of its inputs. */
typedef struct aqz_layer {
	const float *w;       /**< [rows][cols], row-major, finite */
	uint64_t rows, cols;
	const float *hessian; /**< H = X^T X / n of the inputs X, [cols][cols], symmetric, finite; NULL = the identity */
} aqz_layer;

typedef struct aqz_encode_options {
	size_t struct_size;
	int effort;               /**< 1..9, 0 = 5: beam, sweeps and training size, docs/encoder.md */
	uint64_t seed;            /**< of the codebook start; the same seed gives the same result */
	unsigned n_threads;       /**< 0 = all processors; never changes the result */
	uint64_t memlimit_bytes;  /**< 0 = none */
	aqz_dtype codebook_dtype; /**< 0 = F16; I8 = 8 bits with a scale for each codebook and dimension */
	aqz_dtype scale_dtype;    /**< 0 = F16 */
	uint64_t train_vectors;   /**< train a matrix's codebooks on about so many of its groups at most; 0 = by effort */
	const struct aqz_additive *codebooks; /**< NULL, or encode with these; their codebook_dtype counts then */
	aqz_progress_fn *progress; /**< in thousandths; may be NULL */
	void *progress_user;
} aqz_encode_options;

/** What encoding came to, by W_hat as the decoder gives it in F32. Losses are tr(E H E^T) / tr(W H W^T), E = W
 * - W_hat. */
typedef struct aqz_encode_report {
	double rel_mse;     /**< sum (W - W_hat)^2 / sum W^2; 0 for a zero matrix */
	double loss_before; /**< after the start: one pass in LDL order; without statistics 1, that of no codes at all */
	double loss_after;  /**< of the result; without statistics the same as rel_mse */
} aqz_encode_report;

/**
 * Encodes a matrix: residual k-means start and sequential encoding with error feedback, then codebooks by
 * least squares, scales in closed form and codes by beam search, in turns, all in the metric of the layer's
 * inputs (docs/encoder.md).
 *
 * out     free with aqz_additive_free(); zeroed on failure.
 * report  NULL, or filled on success.
 * layer   a Hessian may be singular or badly conditioned; inputs with a zero diagonal count for nothing.
 *
 * Rounding to the storage types of the codebooks and scales is included. Sets OpenBLAS to one thread while it runs.
 * Returns AQZ_OK; _ARGUMENT (empty matrix, non-finite weights or Hessian, bad options), _NOMEM, _MEMLIMIT, _CANCELLED.
 */
AQZ_API aqz_status aqz_encode_additive(aqz_additive *out, aqz_encode_report *report, const aqz_layer *layer,
	const aqz_scheme *scheme, const aqz_encode_options *opt, aqz_error *err);

/**
 * Bytes of memory that aqz_encode_additive needs beside the layer, as an upper bound. Of the layer only the sizes count
 * and whether the Hessian is NULL.
 */
AQZ_API uint64_t aqz_encode_additive_memory(const aqz_layer *layer, const aqz_scheme *scheme,
	const aqz_encode_options *opt);

/**
 * Trains codebooks that several layers are to share, in the metrics of all of them; each layer counts by its number of
 * weights and its loss relative to tr(W H W^T). A layer may hold some rows of a matrix only.
 *
 * out  the codebooks alone (no codes, no scales, no rows): for opt->codebooks. Free with aqz_additive_free().
 * Returns as aqz_encode_additive.
 */
AQZ_API aqz_status aqz_train_codebooks(aqz_additive *out, const aqz_layer *layers, uint32_t n_layers,
	const aqz_scheme *scheme, const aqz_encode_options *opt, aqz_error *err);

/** Bytes of memory that aqz_train_codebooks needs beside the layers, as aqz_encode_additive_memory. */
AQZ_API uint64_t aqz_train_codebooks_memory(const aqz_layer *layers, uint32_t n_layers, const aqz_scheme *scheme,
	const aqz_encode_options *opt);

/**
 * Reconstructs rows [row_begin, row_end), spec 7.2.4: codewords summed m = 0..M-1 in binary32 without contraction,
 * times the scale, one rounding to dtype (F32, F16 or BF16). dst: [row_end - row_begin][cols], densely packed.
 * Returns AQZ_OK or _ARGUMENT, _NOMEM.
 */
AQZ_API aqz_status aqz_decode_additive(void *dst, aqz_dtype dtype, const aqz_additive *a, uint64_t row_begin,
	uint64_t row_end, aqz_error *err);

/* ---- Products on codes ------------------------------------------------------------------------------------------ */

/**
 * A matrix in additive form that is prepared once for many products: W is never reconstructed. Immutable: threads may
 * share it.
 */
typedef struct aqz_matrix aqz_matrix;

/**
 * Prepares: takes codebooks and scales of *a over in binary32. a->codes are not copied and must stay as they are until
 * aqz_matrix_free(); the rest of *a may go.
 *
 * out  NULL on failure. Free with aqz_matrix_free().
 * Memory: 4 bytes for each value of the codebooks and for each code row.
 * Returns AQZ_OK; _ARGUMENT (*a is not filled as aqz_additive says, or has a codebook or scale that is not finite),
 * _NOMEM.
 */
AQZ_API aqz_status aqz_matrix_open(aqz_matrix **out, const aqz_additive *a, aqz_error *err);
/** NULL is allowed. */
AQZ_API void aqz_matrix_free(aqz_matrix *m);

typedef struct aqz_matrix_options {
	size_t struct_size;
	uint64_t row_begin, row_end; /**< these rows only; both 0 = all. row_begin is a multiple of 64 * O */
	/** 0 = the fastest but 8; 32: everything in binary32; 16, 8: tables of integers, where O is 1 and B at most 8 */
	unsigned table_bits;
	unsigned n_threads;          /**< 0 = all processors; never changes the result */
	void *scratch; /**< NULL = allocated for the call; or aqz_matrix_scratch_bytes(), 64-byte aligned, not shared */
} aqz_matrix_options;

/** Bytes of scratch for any rows, columns and options; at most some MiB. */
AQZ_API uint64_t aqz_matrix_scratch_bytes(const aqz_matrix *m);

/**
 * y[i] = W x[i] for n_columns vectors, straight from the codes. What is read of them serves 8 vectors together; for
 * many more, reconstructing some rows at a time and a matrix product of those are faster.
 *
 * y    [n_columns][y_ld], of which row_end - row_begin elements each are written.
 * x    [n_columns][x_ld], of which cols each are read; any values.
 * opt  NULL for defaults.
 *
 * Errors. Codebooks and scales count as they are, without reconstruction's last rounding. In binary32 a row is within
 * (groups * M + G + 4) 2^-24 of the sum of |scale * codeword value * x| over its codewords. Integer tables of 16 bits
 * add an error that is in the mean over rows less than half of that of a product with W and x in bfloat16, tables of 8
 * bits one of about 1 %. The result depends on the scheme, the shape, the rows asked for and the processor's
 * instructions, never on threads or other columns.
 * Returns AQZ_OK; _ARGUMENT, _NOMEM.
 */
AQZ_API aqz_status aqz_matrix_multiply(float *y, size_t y_ld, const aqz_matrix *m, const float *x, size_t x_ld,
	size_t n_columns, const aqz_matrix_options *opt, aqz_error *err);

#define AQZ_MATRIX_WAY_BYTES 64

/** Writes in which way and by which instructions this machine would multiply ("lut16 vbmi"), for people, and NUL.
 * opt as there. */
AQZ_API void aqz_matrix_way(char text[AQZ_MATRIX_WAY_BYTES], const aqz_matrix *m, const aqz_matrix_options *opt);

/** Reconstructs rows as aqz_decode_additive does, without preparing each time. Returns AQZ_OK or _ARGUMENT. */
AQZ_API aqz_status aqz_matrix_decode(void *dst, aqz_dtype dtype, const aqz_matrix *m, uint64_t row_begin,
	uint64_t row_end, aqz_error *err);

/* ---- What a file holds ------------------------------------------------------------------------------------------ */

/** Kinds of sections, spec 5.2.2. The values stand in files; an unknown kind is refused. */
typedef enum aqz_kind {
	AQZ_KIND_TENSOR = 1,        /**< elements of a tensor, in the form of the section's codec */
	AQZ_KIND_CODEBOOK = 16,     /**< rows codewords of cols values; one or more codebooks one after the other */
	AQZ_KIND_CODEBOOK_SCALES = 17, /**< [M][O*G] multipliers of integer codebooks */
	AQZ_KIND_ROW_SCALES = 18,
	AQZ_KIND_COLUMN_SCALES = 19,
	AQZ_KIND_GROUP_SCALES = 20,
	AQZ_KIND_ENTROPY_TABLE = 21,
	AQZ_KIND_SIGNS = 22,
	AQZ_KIND_BIAS = 23,
	AQZ_KIND_PERMUTATION = 24,
	AQZ_KIND_FILE = 32,         /**< an attached file, restored byte for byte under its name */
	AQZ_KIND_SOURCE_HEADER = 33, /**< the header of a source safetensors file, under that file's name */
	AQZ_KIND_METADATA = 34      /**< a JSON object about the whole file: "provenance" */
} aqz_kind;

/** Returns "codebook", "file" and so on, or NULL for a value that is no kind. */
AQZ_API const char *aqz_kind_name(aqz_kind kind);

/** Why a tensor that a scheme was asked for is stored lossless. The values stand in files. */
typedef enum aqz_raw_reason {
	AQZ_RAW_ASKED = 0,      /**< it was to be lossless */
	AQZ_RAW_NOT_SMALLER = 1, /**< its coded form would be no smaller */
	AQZ_RAW_NON_FINITE = 2, /**< it holds infinities or NaN */
	AQZ_RAW_DTYPE = 3,      /**< its dtype is none that the codec writes */
	AQZ_RAW_SHAPE = 4       /**< it is no matrix */
} aqz_raw_reason;

/** A section names other sections that its codec needs: sections [first, first + count), for rows [begin, end). */
typedef struct aqz_ref {
	aqz_kind kind;
	uint32_t first, count;
	uint64_t row_begin, row_end; /**< code rows; must start at multiples of 64 and cover all of them in order */
} aqz_ref;

/** A section as declared and stored. */
typedef struct aqz_section_info {
	uint32_t number;
	aqz_kind kind;
	aqz_scheme scheme;     /**< the codec and its parameters */
	aqz_dtype dtype;       /**< of the decoded elements */
	uint64_t rows, cols;   /**< the coded view: decoded elements are rows x cols, row-major */
	uint32_t chunk_rows;   /**< code rows (rows / out_group) of a chunk: 64 * 2^k; the last chunk may have fewer */
	uint32_t n_chunks;
	const char *name;      /**< "" but for files, source headers and metadata; ends in NUL */
	const aqz_ref *refs;
	uint32_t n_refs;
	uint64_t decoded_bytes;
	uint64_t stored_bytes; /**< payloads of its chunks; 0 in a stream, where it is not known yet */
	uint64_t content[2];   /**< unseeded XXH3-128 (low, high) of the decoded bytes; 0 for tensors and in a stream */
} aqz_section_info;

/** What the encoder measured and recorded; a flag says that a value is there. */
typedef struct aqz_measured {
	bool has_rel_mse;
	double rel_mse;        /**< sum (W - W_hat)^2 / sum W^2 */
	bool has_loss;
	double loss_before, loss_after; /**< tr(E H E^T) / tr(W H W^T), of the start and of the result */
	aqz_raw_reason raw_reason;
	uint8_t effort;        /**< 0 if not recorded */
} aqz_measured;

/** A tensor as declared. */
typedef struct aqz_tensor_info {
	uint32_t number;
	const char *name;      /**< UTF-8, ends in NUL, holds none */
	size_t name_bytes;
	aqz_dtype dtype;
	uint32_t rank;
	uint64_t shape[AQZ_MAX_RANK];
	uint64_t n_elements;
	uint64_t n_bytes;      /**< of the elements in dtype */
	uint32_t section;      /**< of its elements */
	uint32_t leading;      /**< leading dimensions folded into the view's rows, before the row dimension (experts) */
	bool transposed;       /**< the view's rows are the tensor's last dimension, its columns the others */
	bool alias;            /**< the section was declared for an earlier tensor */
	aqz_measured measured;
} aqz_tensor_info;

/** The whole file. */
typedef struct aqz_file_info {
	uint16_t major, minor;
	uint64_t features_read, features_write, features_optional;
	uint8_t id[16];
	uint32_t alignment;    /**< of chunk payloads, bytes: 64 or 4096 */
	uint64_t n_bytes;
	uint64_t root[2];      /**< XXH3-128 (low, high) over all digests, spec 8.3 */
	uint32_t n_sections, n_tensors;
	uint64_t n_chunks;
} aqz_file_info;

/** Where the file's bytes went; the fields add up to the file's size. Payload bytes unless said otherwise. */
typedef struct aqz_ledger {
	uint64_t header;    /**< superblock and footer, whole */
	uint64_t index;     /**< payload of the index */
	uint64_t records;   /**< payloads of the records frames */
	uint64_t codes;     /**< tensors that are not lossless */
	uint64_t codebooks; /**< codebooks and their scales */
	uint64_t scales;    /**< row, column and group scales */
	uint64_t parameters; /**< other parameter sections */
	uint64_t raw;       /**< lossless tensors */
	uint64_t files;     /**< attached files and source headers */
	uint64_t metadata;
	uint64_t frames;    /**< frame headers of the index and of all before it */
	uint64_t padding;   /**< zero bytes after payloads, and payloads of padding frames */
	uint64_t other;     /**< payloads of ancillary frames before the index; those behind it whole */
	uint64_t total;     /**< the sum of the above = the file's size */
} aqz_ledger;

/* ---- Reading at random ------------------------------------------------------------------------------------------ */

/** An open container. Immutable: threads may share it. */
typedef struct aqz_reader aqz_reader;

typedef struct aqz_reader_options {
	size_t struct_size;
	uint64_t memlimit_bytes; /**< 0 = none; else no call allocates more, but for windows of up to 1 MiB a thread */
	bool skip_decoded_hash;  /**< do not check hashes of decoded elements; stored bytes are always checked */
} aqz_reader_options;

/**
 * Opens a container: reads and checks the footer and the index (two reads); touches no tensor data.
 *
 * out  set to the reader, NULL on failure. Free with aqz_reader_close().
 * io   copied; io->user must live until close. Needs pread and size.
 * opt  NULL for defaults.
 *
 * Returns AQZ_OK; _ARGUMENT, _NOMEM, _MEMLIMIT, _IO; _FORMAT if this is not our file; _UNSUPPORTED if a hash holds but
 * a version, feature, kind or codec is newer than this library; _TRUNCATED, _CORRUPT, _CHECKSUM if the file is broken.
 */
AQZ_API aqz_status aqz_reader_open(aqz_reader **out, const aqz_io *io, const aqz_reader_options *opt, aqz_error *err);
AQZ_API void aqz_reader_close(aqz_reader *reader);

AQZ_API const aqz_file_info *aqz_reader_file(const aqz_reader *reader);
/** Tensor i in file order, or NULL. Lives as long as the reader. */
AQZ_API const aqz_tensor_info *aqz_reader_tensor(const aqz_reader *reader, uint32_t i);
/** The tensor of that name, or NULL. */
AQZ_API const aqz_tensor_info *aqz_reader_find(const aqz_reader *reader, const char *name, size_t name_bytes);
/** Section i in file order, or NULL. Lives as long as the reader. */
AQZ_API const aqz_section_info *aqz_reader_section(const aqz_reader *reader, uint32_t i);
AQZ_API void aqz_reader_ledger(const aqz_reader *reader, aqz_ledger *out);
/**
 * File bytes that a tensor costs: its chunks with frame headers and padding, its records and index entries, and its
 * parameter sections divided by the number of tensors that share them.
 */
AQZ_API double aqz_reader_tensor_file_bytes(const aqz_reader *reader, const aqz_tensor_info *tensor);

/** Reads rows of one section; holds its parameters and scratch memory. One thread at a time. */
typedef struct aqz_cursor aqz_cursor;

/** Reads the parameters of the section. The reader must outlive the cursor. Free with aqz_cursor_close(). */
AQZ_API aqz_status aqz_cursor_open(aqz_cursor **out, const aqz_reader *reader, uint32_t section, aqz_error *err);
/**
 * Decodes rows [row_begin, row_end) of the coded view to dst, densely packed; dst_bytes must be their exact size (rows
 * of sub-byte elements must start and end at whole bytes). Reads only the chunks that hold them; checks the stored hash
 * before and the decoded hash after decoding.
 * Returns AQZ_OK; _ARGUMENT; _CHECKSUM, _CORRUPT, _TRUNCATED, _IO, _NOMEM, _MEMLIMIT.
 */
AQZ_API aqz_status aqz_cursor_read(aqz_cursor *cursor, uint64_t row_begin, uint64_t row_end, void *dst,
	size_t dst_bytes, aqz_error *err);
AQZ_API void aqz_cursor_close(aqz_cursor *cursor);

/** Reads a whole tensor in its own shape (transposed views are turned back); dst_bytes = tensor->n_bytes. */
AQZ_API aqz_status aqz_reader_read_tensor(const aqz_reader *reader, const aqz_tensor_info *tensor, void *dst,
	size_t dst_bytes, aqz_error *err);

/** How deep aqz_reader_verify looks. */
typedef enum aqz_verify_level {
	AQZ_VERIFY_QUICK = 0,  /**< superblock, index, footer and the header of every frame */
	AQZ_VERIFY_STORED = 1, /**< and the hash of every stored byte */
	AQZ_VERIFY_FULL = 2    /**< and decodes every chunk and compares the hash of its elements */
} aqz_verify_level;

/**
 * One finding of verify: section and chunk; UINT32_MAX for both when it is no section's, for the chunk when it is the
 * whole section's. May be called from any thread, but by one at a time.
 */
typedef void aqz_verify_fn(void *user, uint32_t section, uint32_t chunk, const aqz_error *what);

/**
 * Checks the file; goes on after a finding and reports each. progress is in bytes of the file.
 * Returns AQZ_OK, or the status of the first finding; _CANCELLED, _NOMEM, _IO.
 */
AQZ_API aqz_status aqz_reader_verify(const aqz_reader *reader, aqz_verify_level level, unsigned n_threads,
	aqz_verify_fn *report, void *report_user, aqz_progress_fn *progress, void *progress_user, aqz_error *err);

/* ---- Reading from a pipe ---------------------------------------------------------------------------------------- */

/** A push decoder: give it the file's bytes in any pieces, get checked rows. */
typedef struct aqz_stream aqz_stream;

/** What a stream tells. Any callback may be NULL; one that returns a status other than AQZ_OK stops the stream. */
typedef struct aqz_stream_events {
	void *user;
	aqz_status (*section)(void *user, const aqz_section_info *section); /**< declared; info lives until close */
	aqz_status (*tensor)(void *user, const aqz_tensor_info *tensor);    /**< declared, after its section */
	/** Decoded rows of a section, after both hashes were checked. data lives until the callback returns. */
	aqz_status (*rows)(void *user, const aqz_section_info *section, uint64_t row_begin, uint64_t n_rows,
		const void *data, size_t n_bytes);
} aqz_stream_events;

AQZ_API aqz_status aqz_stream_open(aqz_stream **out, const aqz_stream_events *events, const aqz_reader_options *opt,
	aqz_error *err);
/** Takes the next n bytes. After an error every further call returns the same status. */
AQZ_API aqz_status aqz_stream_push(aqz_stream *stream, const void *data, size_t n, aqz_error *err);
/** Says that the input has ended: checks that the footer was seen, and was the last byte. _TRUNCATED if not. */
AQZ_API aqz_status aqz_stream_finish(aqz_stream *stream, aqz_error *err);
AQZ_API void aqz_stream_close(aqz_stream *stream);

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

/** Writes a container in one pass, without seeking. */
typedef struct aqz_writer aqz_writer;

typedef struct aqz_writer_options {
	size_t struct_size;
	uint8_t id[16];          /**< the file's id: aqz_plan makes it from the options and the source; never random */
	uint32_t alignment;      /**< of chunk payloads: 0 or 64, or 4096 */
	uint64_t chunk_bytes;    /**< decoded bytes that a chunk should hold, 0 = 4 MiB; 64 rows may need more */
	int effort;              /**< 1..9 for lossless chunks, 0 = 5 */
	unsigned n_threads;      /**< 0 = all processors; never changes the bytes */
	uint64_t memlimit_bytes; /**< 0 = none; below 64 MiB, fewer small sections share their records' frame */
} aqz_writer_options;

/**
 * io is copied and needs write only. Free with aqz_writer_close(), which finishes nothing. Sections of up to 64 KiB are
 * held in memory until they are a megabyte together, or a larger one is declared: a call may write what others gave.
 */
AQZ_API aqz_status aqz_writer_open(aqz_writer **out, const aqz_io *io, const aqz_writer_options *opt, aqz_error *err);
AQZ_API void aqz_writer_close(aqz_writer *writer);

/**
 * Declares a parameter section (kinds 16..24) of rows x cols elements and copies its data. If a section of the same
 * kind, dtype, shape and content is there already, *section is that one and nothing is stored again.
 */
AQZ_API aqz_status aqz_writer_param(aqz_writer *writer, uint32_t *section, aqz_kind kind, aqz_dtype dtype,
	uint64_t rows, uint64_t cols, const void *data, aqz_error *err);

/** Declares a file (kinds 32..34) of n_bytes; its bytes follow by aqz_writer_put. name: a base name, 1..255 bytes. */
AQZ_API aqz_status aqz_writer_file(aqz_writer *writer, aqz_kind kind, const char *name, uint64_t n_bytes,
	aqz_error *err);

typedef struct aqz_tensor_desc {
	size_t struct_size;
	const char *name;
	size_t name_bytes;
	aqz_dtype dtype;
	uint32_t rank;
	uint64_t shape[AQZ_MAX_RANK];
	aqz_scheme scheme;
	uint32_t leading;      /**< additive: see aqz_tensor_info */
	bool transposed;
	const aqz_ref *refs;   /**< additive: its codebooks and scales */
	uint32_t n_refs;
	aqz_measured measured;
} aqz_tensor_desc;

/**
 * Declares a tensor; its data follow by aqz_writer_put: for a lossless tensor its elements, for an additive one its T64
 * codes. The view of a lossless tensor is chosen by the writer (rows = all dimensions but the last, where it fits).
 */
AQZ_API aqz_status aqz_writer_tensor(aqz_writer *writer, uint32_t *section, const aqz_tensor_desc *tensor,
	aqz_error *err);
/** Declares a second name for the elements of an earlier tensor; dtype and shape may not differ. */
AQZ_API aqz_status aqz_writer_alias(aqz_writer *writer, const char *name, size_t name_bytes, uint32_t tensor,
	aqz_error *err);
/** The next n bytes of what was declared last, in any pieces. */
AQZ_API aqz_status aqz_writer_put(aqz_writer *writer, const void *data, size_t n, aqz_error *err);
/** Declares an additive matrix of a tensor and writes all of it: codebooks, scales, codes. desc->refs are ignored. */
AQZ_API aqz_status aqz_writer_additive(aqz_writer *writer, const aqz_tensor_desc *tensor, const aqz_additive *a,
	aqz_error *err);
/** Writes index and footer. *n_bytes, if not NULL, is the size of the file. */
AQZ_API aqz_status aqz_writer_finish(aqz_writer *writer, uint64_t *n_bytes, aqz_error *err);

/* ---- A broken file ---------------------------------------------------------------------------------------------- */

/** What aqz_salvage did with a tensor, file or section: name, its kind, chunks kept of chunks declared. */
typedef struct aqz_salvaged {
	const char *name;
	aqz_kind kind;
	bool kept;
	uint32_t chunks_intact, chunks;
	char why[96]; /**< "" if kept */
} aqz_salvaged;

typedef void aqz_salvage_fn(void *user, const aqz_salvaged *what);

/**
 * Writes a sound container from the intact parts of a broken one: by its index where that is whole, else by its chunk
 * frames. Tensors and files are kept whole or not at all; report is called for each.
 * Returns AQZ_OK if a file was written (even if parts were lost: *n_lost counts them); _FORMAT if there is nothing to
 * find; _IO, _SPACE, _NOMEM, _MEMLIMIT, _CANCELLED.
 */
AQZ_API aqz_status aqz_salvage(const aqz_io *in, const aqz_io *out, uint64_t memlimit_bytes, aqz_salvage_fn *report,
	void *report_user, aqz_progress_fn *progress, void *progress_user, uint32_t *n_lost, aqz_error *err);

/* ---- Models of other tools -------------------------------------------------------------------------------------- */

/** One tensor of a safetensors header or of a model folder. */
typedef struct aqz_source_tensor {
	const char *name; /**< ends in NUL */
	size_t name_bytes;
	aqz_dtype dtype;
	uint32_t rank;
	uint64_t shape[AQZ_MAX_RANK];
	uint64_t n_elements;
	uint64_t n_bytes;
	uint32_t file;         /**< which of the source's safetensors files */
	uint64_t offset;       /**< of the first byte in that file */
} aqz_source_tensor;

/** A parsed safetensors header. */
typedef struct aqz_safetensors {
	aqz_source_tensor *tensors; /**< in the order of their offsets */
	uint32_t n_tensors;
	char *metadata;        /**< the __metadata__ object as JSON text, or NULL */
	uint64_t header_bytes; /**< 8 + N: where the data start */
	uint64_t data_bytes;
	void *storage;         /**< owns the names */
} aqz_safetensors;

/** The largest N, bytes of JSON, that safetensors allows. */
#define AQZ_SAFETENSORS_MAX_HEADER UINT64_C(100000000)

/**
 * Parses a safetensors header strictly. header: the first n bytes of the file, at least 8 + N. file_bytes: the length
 * of the whole file, which must be 8 + N + data. Free with aqz_safetensors_free().
 * Returns AQZ_OK; _FORMAT, _CORRUPT, _UNSUPPORTED (dtype, rank), _TRUNCATED, _NOMEM, _MEMLIMIT (0 = no limit).
 */
AQZ_API aqz_status aqz_safetensors_parse(aqz_safetensors *out, const void *header, size_t n, uint64_t file_bytes,
	uint64_t memlimit_bytes, aqz_error *err);
AQZ_API void aqz_safetensors_free(aqz_safetensors *s);
/**
 * Makes the header (length word included) of a file that holds these tensors one after the other in the given order;
 * *bytes is freed with free(). metadata: NULL, or a JSON object of strings. Data start at a multiple of 8. Offsets in
 * tensors are ignored. Returns AQZ_OK; _ARGUMENT, _NOMEM.
 */
AQZ_API aqz_status aqz_safetensors_header(uint8_t **bytes, size_t *n, const aqz_source_tensor *tensors,
	uint32_t n_tensors, const char *metadata, aqz_error *err);

/** A model as other tools keep it: one safetensors file, or a folder with shards, config.json and tokenizer files. */
typedef struct aqz_source aqz_source;

/** A whole file of the source: a safetensors file (header_bytes > 0) or another regular file of the folder. */
typedef struct aqz_source_file {
	const char *name;      /**< base name */
	uint64_t n_bytes;
	uint64_t header_bytes; /**< of a safetensors file: 8 + N; 0 for an attached file */
} aqz_source_file;

/** Opens path. Names, shapes and offsets are checked; tensor data are not read. Free with aqz_source_close(). */
AQZ_API aqz_status aqz_source_open(aqz_source **out, const char *path, uint64_t memlimit_bytes, aqz_error *err);
/**
 * A container as a source, to be coded anew: tensors are decoded as they are read, and files are those that it was made
 * from, as far as it says. The reader must outlive it. One thread at a time may read it. Free with aqz_source_close().
 * Returns as aqz_source_open, and what reading a container may.
 */
AQZ_API aqz_status aqz_source_from_reader(aqz_source **out, const aqz_reader *reader, uint64_t memlimit_bytes,
	aqz_error *err);
AQZ_API void aqz_source_close(aqz_source *source);
AQZ_API bool aqz_source_is_folder(const aqz_source *source);
/** Tensor i: by file, then offset; NULL at the end. */
AQZ_API const aqz_source_tensor *aqz_source_get(const aqz_source *source, uint32_t i);
AQZ_API uint32_t aqz_source_n_tensors(const aqz_source *source);
/** File i: safetensors files first, then attached files by name; NULL at the end. */
AQZ_API const aqz_source_file *aqz_source_get_file(const aqz_source *source, uint32_t i);
/** Reads n bytes at offset of file i. May be called from several threads. */
AQZ_API aqz_status aqz_source_read(const aqz_source *source, uint32_t file, uint64_t offset, void *dst, size_t n,
	aqz_error *err);

/* ---- Statistics of a model's inputs ----------------------------------------------------------------------------- */

/**
 * A file of statistics: for a weight [out, in] the matrix H = X^T X / n of its inputs, [in, in], over n tokens. It is a
 * safetensors file: F32 tensors under the names of the weights; its metadata give "tokens" = n, and "alias:NAME" =
 * "OWNER" gives the weight NAME the matrix of OWNER (q, k and v of a block have the same inputs). Beside them it may
 * hold vectors with a value for each row of a weight, see aqz_row_statistic. Immutable: threads may share it.
 */
typedef struct aqz_stats aqz_stats;

/** What is known of each row of the weight NAME. */
typedef enum aqz_row_statistic {
	AQZ_ROW_IMPORTANCE = 1, /**< NAME.row_importance F32 [out]: mean square of the loss's gradient by that output */
	AQZ_TOKEN_COUNT = 2     /**< NAME.token_count U64 [out]: how often that row of an embedding was looked up */
} aqz_row_statistic;

/**
 * Opens path. Header, shapes, dtypes and aliases are checked; no matrix is read. Free with aqz_stats_close().
 * Returns AQZ_OK; _NOT_FOUND, _IO, _FORMAT, _CORRUPT, _UNSUPPORTED, _TRUNCATED, _NOMEM, _MEMLIMIT (0 = no limit); the
 * error's where names the tensor.
 */
AQZ_API aqz_status aqz_stats_open(aqz_stats **out, const char *path, uint64_t memlimit_bytes, aqz_error *err);
AQZ_API void aqz_stats_close(aqz_stats *stats);
/** The tokens n, or 0 if the file does not say. */
AQZ_API uint64_t aqz_stats_tokens(const aqz_stats *stats);
/** The tensor that holds H of the weight of that name, aliases followed; NULL if there is none. shape[0] is in. */
AQZ_API const aqz_source_tensor *aqz_stats_find(const aqz_stats *stats, const char *name, size_t name_bytes);
/**
 * Reads a matrix that aqz_stats_find gave to h, [in][in], and makes it exactly symmetric by the mean of both halves.
 * Returns AQZ_OK; _CORRUPT if a value is not finite, the diagonal negative somewhere, or the halves differ by more than
 * 1e-3 of the geometric mean of their diagonals; _IO, _TRUNCATED.
 */
AQZ_API aqz_status aqz_stats_read(float *h, const aqz_stats *stats, const aqz_source_tensor *tensor, aqz_error *err);
/** The tensor that holds that of the weight's rows, which aliases do not matter to; NULL if there is none. shape[0] is
 * out. */
AQZ_API const aqz_source_tensor *aqz_stats_find_rows(const aqz_stats *stats, aqz_row_statistic which,
	const char *name, size_t name_bytes);
/**
 * Reads a vector that aqz_stats_find_rows gave to values, [out]; counts from 2^53 on are rounded.
 * Returns AQZ_OK; _CORRUPT if a value is not finite or negative; _IO, _TRUNCATED, _NOMEM.
 */
AQZ_API aqz_status aqz_stats_read_rows(double *values, const aqz_stats *stats, const aqz_source_tensor *tensor,
	aqz_error *err);
/** XXH3-128 (low, high) of the file's bytes; reads all of it. */
AQZ_API aqz_status aqz_stats_hash(uint64_t hash[2], const aqz_stats *stats, aqz_error *err);

/**
 * tr(W H W^T), or the sum of squares without a Hessian, in binary64; the same for any number of threads. Of W - W_hat,
 * over that of W, it is the loss of W_hat. H must be exactly symmetric.
 * Returns AQZ_OK; _ARGUMENT, _NOMEM. Sets OpenBLAS to one thread while it runs.
 */
AQZ_API aqz_status aqz_layer_energy(double *energy, const aqz_layer *layer, unsigned n_threads, aqz_error *err);

/* ---- The whole job: a model in, a container out ----------------------------------------------------------------- */

/** "Tensors whose name matches glob get scheme"; the last rule that matches wins. */
typedef struct aqz_rule {
	const char *glob; /**< fnmatch(3): * and ? and [set], over the whole name */
	aqz_scheme scheme;
	aqz_goal goal;    /**< of a trellis scheme */
} aqz_rule;

/** Which tensors have the same codebooks, trained together: of one scheme, and ... */
typedef enum aqz_share {
	AQZ_SHARE_NONE = 0,
	AQZ_SHARE_KIND = 1,  /**< of the same module name ("q_proj"), over all blocks */
	AQZ_SHARE_BLOCK = 2, /**< of the same block: the number after "layers.", "h.", "blocks." and the like */
	AQZ_SHARE_ALL = 3
} aqz_share;

/** What to do with weights that are not finite. */
typedef enum aqz_non_finite {
	AQZ_NON_FINITE_ERROR = 0,
	AQZ_NON_FINITE_RAW = 1 /**< store that tensor lossless and warn */
} aqz_non_finite;

/** When the importance of rows in the statistics sets the steps of trellis tensors. */
typedef enum aqz_importance {
	AQZ_IMPORTANCE_AUTO = 0,   /**< where a constant is given or shared; shared: if all that share it have importance */
	AQZ_IMPORTANCE_ALWAYS = 1, /**< also for bits or a loss of one tensor, whose own loss then grows */
	AQZ_IMPORTANCE_NEVER = 2
} aqz_importance;

typedef struct aqz_compress_options {
	size_t struct_size;
	aqz_scheme scheme;       /**< of the 2-D projections of attention and MLP; the rest is lossless */
	aqz_goal goal;           /**< of that scheme, if it is a trellis one */
	const aqz_rule *rules;   /**< over the default */
	uint32_t n_rules;
	int effort;              /**< 1..9, 0 = 5 */
	uint64_t seed;
	uint64_t train_vectors;  /**< see aqz_encode_options; 0 = by effort */
	unsigned n_threads;      /**< 0 = all processors; never changes the bytes */
	uint64_t memlimit_bytes; /**< 0 = none */
	aqz_dtype codebook_dtype, scale_dtype; /**< 0 = F16; codebooks also I8, with a scale for each dimension */
	const aqz_stats *stats;  /**< of the layers' inputs: the metric of the errors; NULL = all inputs count alike */
	aqz_share share;         /**< each set's codebooks are trained on its matrices, or on an even part of them */
	/** Takes codebooks from this file instead of training: of the tensor of the same name, else of its module name
	 * where all tensors of that name have the same ones. Excludes share and codebook_dtype. NULL = train. */
	const aqz_reader *codebooks_from;
	uint32_t alignment;      /**< 0 = 64 */
	aqz_non_finite non_finite;
	const uint8_t *id;       /**< NULL = hash of the canonical options and the tensor table */
	/** Keeps each coded tensor in this folder, which is made if there is none, as soon as it is there: see
	 * aqz_plan_run. NULL = nothing is kept. */
	const char *checkpoint_dir;
	bool resume;             /**< goes on with the run whose checkpoints are there, if there are any */
	aqz_progress_fn *progress; /**< bytes of the source's tensors, and of what training reads of them */
	void *progress_user;
	void (*warn)(void *user, const char *line); /**< may be NULL */
	aqz_goal shared_goal;    /**< of trellis tensors without a goal: bits of all together, or a slope; 0 = 2.5 bits */
	uint32_t trellis_states; /**< 1, 4, 8, .. 256, for all trellis tensors; 0 = by effort */
	aqz_importance importance;
	bool even_steps;         /**< trellis: the same step for all columns, for comparison */
	bool no_rate_term;       /**< trellis: indices with the least error, whatever they take, for comparison */
	/** Told the constant that was found for the shared bits; may be NULL. */
	void (*slope)(void *user, double c);
	/** Told what each trellis tensor takes in the file, but for some padding, before it ends; may be NULL. */
	void (*stored)(void *user, const aqz_source_tensor *t, uint64_t n_bytes);
	/** Called as each tensor starts (measured is NULL) and ends; may be NULL. */
	void (*tensor)(void *user, const aqz_source_tensor *t, const aqz_scheme *scheme, const aqz_measured *measured);
	void *user;              /**< of warn, slope, stored and tensor */
} aqz_compress_options;

/** What one tensor is going to become. */
typedef struct aqz_plan_entry {
	const aqz_source_tensor *tensor;
	aqz_scheme scheme;
	aqz_raw_reason raw_reason;
	aqz_goal goal;           /**< of a trellis scheme */
	uint64_t stored_bytes;   /**< additive: exact payload bytes, shared codebooks with their first user; trellis: about;
	                              else a bound */
	uint64_t memory_bytes;   /**< that encoding it needs, training of its codebooks included */
	bool has_stats;          /**< it is encoded in the metric of its inputs */
	bool has_importance;     /**< trellis: its rows have steps by their importance */
	uint32_t n_sharing;      /**< tensors that have its codebooks, itself included; 0 if it has none */
} aqz_plan_entry;

/** What compressing a source will do. */
typedef struct aqz_plan aqz_plan;

/**
 * Decides each tensor's scheme. source and what opt points to must outlive the plan. Free with aqz_plan_free(). With
 * statistics, tensors that have none are told to opt->warn; reads the whole file of statistics once, for its hash.
 */
AQZ_API aqz_status aqz_plan_make(aqz_plan **out, const aqz_source *source, const aqz_compress_options *opt,
	aqz_error *err);
AQZ_API void aqz_plan_free(aqz_plan *plan);
/** Entry i, in the order of the source's tensors; NULL at the end. */
AQZ_API const aqz_plan_entry *aqz_plan_get(const aqz_plan *plan, uint32_t i);
/** The most memory that running the plan needs, and the most bytes that the file can have. */
AQZ_API void aqz_plan_totals(const aqz_plan *plan, uint64_t *memory_bytes, uint64_t *file_bytes_bound);
/** True if a tensor of this name and shape is a projection of attention or MLP, which the default scheme is for. */
AQZ_API bool aqz_is_projection(const char *name, uint32_t rank);
/**
 * Compresses. out needs write only. *n_bytes, if not NULL, is the size of the file.
 *
 * With checkpoint_dir a run that ended early, whatever ended it, is gone on with by the same options and resume, and
 * writes all of the same bytes to a new out; threads, memory and id may differ. Only one run at a time has the folder.
 * With resume, checkpoints that are broken are told to warn and made anew; those of another run or of a model that was
 * changed are an error, as are any without resume. Errors about the folder have the where "options.checkpoint_dir".
 * Checkpoints stay until aqz_plan_forget. Trellis tensors have none: they are coded again.
 */
AQZ_API aqz_status aqz_plan_run(const aqz_plan *plan, const aqz_io *out, uint64_t *n_bytes, aqz_error *err);
/**
 * Removes the checkpoints of the plan's run, for when its output is safe, and the folder if it was made for them and
 * holds nothing else. Other files there are not touched. Does nothing without checkpoint_dir.
 * Returns AQZ_OK; _IO, _NOMEM.
 */
AQZ_API aqz_status aqz_plan_forget(const aqz_plan *plan, aqz_error *err);

#ifdef __cplusplus
}
#endif

#endif
