/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of codec/product*: a product under way, the plain kernels, the variants of each instruction set. */
#ifndef AQZ_CODEC_PRODUCT_PARTS_H
#define AQZ_CODEC_PRODUCT_PARTS_H

#include "base/float.h"
#include "codec/product.h"

/* ---- A product under way */

/* A strip of integer tables: entries, then a scale for each unit. */
#define AQZ_LUT_UNITS 16
#define AQZ_LUT_STRIP_BYTES ((size_t)AQZ_LUT_TABLES * 512 + AQZ_LUT_UNITS * sizeof(float))

typedef struct aqz_product_job {
	const aqz_product_kernels *kernels;
	const aqz_product_lut *lut; /* NULL = tables in binary32, or directly */
	const aqz_product_part *parts;
	const aqz_tables *tables;
	uint64_t n_blocks, cols, groups;
	size_t line_bytes; /* of all codebooks of a group */
	unsigned n_columns;
	unsigned column[AQZ_PRODUCT_COLUMNS]; /* which of the caller's */
	const float *x;
	size_t x_ld;
	float *last; /* [the caller's columns][G]: the last group, with zeros after cols */
	float *turned;
	uint8_t *panel;

	uint64_t strip_groups, n_strips, panel_strips;
	bool alone;          /* each thread turns codebooks and makes tables for itself, in slices of that memory */
	size_t turned_bytes; /* of a slice */
	unsigned unit_groups;
	size_t strip_bytes;
	const uint16_t *half;
} aqz_product_job;

/* A 64-row block of one of the parts. */
typedef struct aqz_product_block {
	const aqz_product_part *part;
	uint64_t row;		  /* its first, in elements */
	unsigned n_rows;	  /* elements' */
	uint64_t n_whole;	  /* blocks of 64 rows with this one and after it in the part */
	const uint8_t *lines; /* of all its groups */
} aqz_product_block;

static inline uint64_t aqz_product_blocks(const aqz_product_part *part, const aqz_scheme *s)
{
	return aqz_ceil_div(part->rows, (uint64_t)AQZ_TILE_ROWS * s->out_group);
}

static inline aqz_product_block aqz_product_block_get(const aqz_product_job *p, uint64_t i)
{
	const aqz_scheme *s = &p->tables->scheme;
	const uint64_t n = (uint64_t)AQZ_TILE_ROWS * s->out_group;
	const aqz_product_part *part = p->parts;
	aqz_product_block b;

	for (uint64_t here; i >= (here = aqz_product_blocks(part, s)); part++)
		i -= here;
	b.part = part;
	b.row = i * n;
	b.n_rows = (unsigned)aqz_min(n, part->rows - b.row);
	b.n_whole = (part->rows - b.row) / n;
	b.lines = part->lines + i * p->groups * p->line_bytes;
	return b;
}

static inline float *aqz_product_y(const aqz_product_job *p, const aqz_product_block *b, unsigned t)
{
	return b->part->y + p->column[t] * b->part->y_ld + b->row;
}

static inline void aqz_product_scale_rows(const aqz_product_job *p, const aqz_product_block *b)
{
	const unsigned out_group = p->tables->scheme.out_group;

	for (unsigned t = 0; t < p->n_columns && b->part->scales != NULL; t++) {
		float *y = aqz_product_y(p, b, t);

		for (unsigned i = 0; i < b->n_rows; i++)
			y[i] *= b->part->scales[(b->row + i) / out_group];
	}
}

/* True if the last group has elements beyond cols. */
static inline bool aqz_product_ragged(const aqz_product_job *p)
{
	return p->cols % p->tables->scheme.in_group != 0;
}

static inline const float *aqz_product_last(const aqz_product_job *p, unsigned t)
{
	return p->last + p->column[t] * p->tables->scheme.in_group;
}

/* All columns of the job by tables of one kind or the other, after its strips are planned (codec/product_tables.c). */
void aqz_product_with_tables(const aqz_product_job *p, unsigned n_threads);
/* All columns of the job directly (codec/product_direct.c). Memory of `turned` is used for p->half. */
void aqz_product_directly(aqz_product_job *p, unsigned n_threads);
/* Bytes of codebooks in binary16, or 0 if they are too large for it to pay. */
size_t aqz_product_half_bytes(const aqz_scheme *s);

/* ---- Kernels */

void aqz_product_turn_scalar(float *restrict turned, const float *restrict values, unsigned in_group, size_t n);
void aqz_product_tables_scalar(float *restrict tables, const float *restrict turned, const float *restrict x,
	unsigned n_groups, const aqz_scheme *s);
uint32_t aqz_product_largest_scalar(const float *values, size_t n);
void aqz_product_widen_scalar(uint8_t *restrict wide, const uint8_t *restrict lines, size_t n_lines, unsigned bits);
/* The codes of a line, as aqz_t64_unpack, faster. */
void aqz_product_unpack(uint16_t codes[restrict AQZ_TILE_ROWS], const uint8_t *restrict line, unsigned bits);
void aqz_product_look_up_scalar(float acc[restrict AQZ_TILE_ROWS], const uint8_t *restrict lines,
	const float *restrict tables, unsigned n_groups, const aqz_scheme *s);
void aqz_product_entries16_scalar(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse);
void aqz_product_entries8_scalar(void *restrict entries, const float *restrict tables, unsigned n_tables,
	unsigned n_codes, float inverse);
void aqz_product_look_up16_scalar(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales, unsigned n_tables, unsigned unit,
	ptrdiff_t ahead);
void aqz_product_look_up8_scalar(float *restrict y, const uint8_t *restrict lines, size_t block_bytes,
	unsigned n_blocks, const void *restrict entries, const float *restrict scales, unsigned n_tables, unsigned unit,
	ptrdiff_t ahead);

extern const aqz_product_kernels aqz_product_kernels_scalar;
#if defined(__x86_64__)
void aqz_product_turn_avx2(float *restrict turned, const float *restrict values, unsigned in_group, size_t n);
void aqz_product_tables_avx2(float *restrict tables, const float *restrict turned, const float *restrict x,
	unsigned n_groups, const aqz_scheme *s);
uint32_t aqz_product_largest_avx2(const float *values, size_t n);
void aqz_product_direct_avx2(float *restrict acc, const uint8_t *restrict lines, const float *restrict x, size_t x_ld,
	unsigned n_columns, unsigned n_groups, const aqz_tables *restrict tables, const uint16_t *restrict half);
bool aqz_product_halve_avx2(uint16_t *restrict half, const float *restrict values, size_t n);
void aqz_product_tables_avx512(float *restrict tables, const float *restrict turned, const float *restrict x,
	unsigned n_groups, const aqz_scheme *s);
uint32_t aqz_product_largest_avx512(const float *values, size_t n);
void aqz_product_direct_avx512(float *restrict acc, const uint8_t *restrict lines, const float *restrict x, size_t x_ld,
	unsigned n_columns, unsigned n_groups, const aqz_tables *restrict tables, const uint16_t *restrict half);
bool aqz_product_halve_avx512(uint16_t *restrict half, const float *restrict values, size_t n);
extern const aqz_product_kernels aqz_product_kernels_avx2, aqz_product_kernels_avx512bw, aqz_product_kernels_vbmi;
#elif defined(__aarch64__)
extern const aqz_product_kernels aqz_product_kernels_neon;
#endif

#endif
