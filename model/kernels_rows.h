/* SPDX-License-Identifier: Apache-2.0 */
/* Products of a few vectors with rows straight from the form in which they are stored: elements, symbols, GGUF blocks.
 * A row is unpacked in registers, once for up to four vectors, and never written to memory. */
#ifndef AQZ_MODEL_KERNELS_ROWS_H
#define AQZ_MODEL_KERNELS_ROWS_H

#include "interop/gguf.h"

/* y[t * y_ld + r] = sum over i of row r's value i times x[t * x_ld + i], for n_rows rows and n_x > 0 vectors of n > 0
 * values. Rows are row_bytes apart, at any alignment; blocks are whole: n is a multiple of the type's n_values (i4:
 * nibbles are there for whole 32 values, whatever n is).
 * Values are exactly those of the type's widen(). All sums are binary32, in an order that depends on n and the kernel
 * alone: the same bits for any n_rows, n_x and place of a row. With u = 2^-24 each is within (n / 4 + 8) u sum |value *
 * x| of the exact one (first order in u, no overflow or underflow). */
typedef void aqz_rows_fn(float *y, size_t y_ld, const uint8_t *rows, size_t row_bytes, size_t n_rows, const float *x,
	size_t x_ld, size_t n_x, size_t n);

/* The n values of a row. */
typedef void aqz_widen_fn(float *dst, const uint8_t *row, size_t n);

/* Of a type of blocks. */
typedef struct aqz_block_kernels {
	aqz_rows_fn *rows;
	aqz_widen_fn *widen;
} aqz_block_kernels;

typedef struct aqz_row_kernels {
	aqz_rows_fn *f32, *f16, *bf16;
	aqz_rows_fn *i8; /* signed bytes */
	aqz_rows_fn *i4; /* nibbles, value + 8: 16 bytes for 32 values, the first 16 of which are the low ones */
	aqz_block_kernels q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q6_k;
	/* y[t * y_ld + i] += sum over j of a[t * a_ld + j] rows[j * ld + i], j up to n_rows and i up to n, for n_x
	 * vectors. */
	void (*add_f32)(float *y, size_t y_ld, const float *a, size_t a_ld, size_t n_x, const float *rows, size_t ld,
		size_t n_rows, size_t n);
	/* dst[i] = value i of src * (column_step[i] * row_step), each product rounded: the same bits from every variant. */
	void (*widen_i8)(float *dst, const uint8_t *src, const float *column_step, float row_step, size_t n);
	void (*widen_i4)(float *dst, const uint8_t *src, const float *column_step, float row_step, size_t n);
} aqz_row_kernels;

/* Those of the instruction sets, in kernels_rows.c; aqz_math_get says which of them a machine runs. */
extern const aqz_row_kernels aqz_rows_plain, aqz_rows_avx2, aqz_rows_avx512;

/* Those for blocks of a type, or NULL: then rows are to be widened by the type. */
const aqz_block_kernels *aqz_rows_of_blocks(const aqz_row_kernels *kernels, const aqz_gguf_type *type);

/* Where value i of a row of i4 is: its byte, and the bit that it begins at. */
static inline size_t aqz_i4_byte(size_t i)
{
	return i / 32 * 16 + i % 16;
}
static inline unsigned aqz_i4_bit(size_t i)
{
	return (unsigned)(i % 32 / 16) * 4;
}

#endif
