/* SPDX-License-Identifier: Apache-2.0 */
/* A matrix in additive form that is prepared once for many products: the public calls around codec/product.h. */
#include <math.h>
#include <stdio.h>

#include "codec/product.h"

struct aqz_matrix {
	aqz_additive a; /* the codes are the caller's; nothing else of it is looked at but the sizes */
	aqz_tables tables;
	float *scales;	/* [code_rows] */
	float *widened; /* where the values of tables and the scales are */
};

aqz_status aqz_matrix_open(aqz_matrix **out, const aqz_additive *a, aqz_error *err)
{
	const char *fault = aqz_additive_fault(a, AQZ_F32, 0, 0);
	const size_t n_values = fault == NULL ? aqz_codewords(&a->scheme) * aqz_codeword(&a->scheme) : 0;
	/* No overflow: at most 2^25 values, and fewer code rows than elements in memory. */
	const uint64_t n_bytes = fault == NULL ? (n_values + a->code_rows) * sizeof(float) : 0;
	aqz_matrix *m = NULL;
	aqz_status status = AQZ_OK;

	*out = NULL;
	if (fault != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "%s", fault);
	m = calloc(1, sizeof *m);
	if (m != NULL)
		m->widened = aligned_alloc(64, (size_t)(n_bytes + 63) / 64 * 64); /* see aqz_decode_additive */
	if (m == NULL || m->widened == NULL) {
		status = aqz_fail_nomem(err, n_bytes);
		goto out;
	}
	m->a = *a;
	m->scales = m->widened + n_values;
	aqz_additive_widen(m->widened, a);
	m->tables = (aqz_tables){.scheme = a->scheme,
		.dtype = AQZ_F32,
		.values = m->widened,
		.facts = aqz_table_look(m->widened, &a->scheme)};
	aqz_convert(m->scales, AQZ_F32, a->scales, a->scale_dtype, (size_t)a->code_rows, NULL);
	m->a.scale_dtype = AQZ_F32;
	m->a.scales = m->scales;
	for (uint64_t i = 0; i < n_values + a->code_rows && status == AQZ_OK; i++)
		if (!isfinite(m->widened[i]))
			status = aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
				"a value of the codebooks or scales is not finite");
out:
	if (status == AQZ_OK)
		*out = m;
	else
		aqz_matrix_free(m);
	return status;
}

void aqz_matrix_free(aqz_matrix *m)
{
	if (m == NULL)
		return;
	free(m->widened);
	free(m);
}

aqz_status aqz_matrix_decode(void *dst, aqz_dtype dtype, const aqz_matrix *m, uint64_t row_begin,
	uint64_t row_end, aqz_error *err)
{
	const char *fault = aqz_additive_fault(&m->a, dtype, row_begin, row_end);
	aqz_tables tables;

	if (fault != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "%s", fault);
	tables = m->tables;
	tables.dtype = dtype;
	aqz_additive_rows(dst, &m->a, &tables, row_begin, row_end);
	return AQZ_OK;
}

uint64_t aqz_matrix_scratch_bytes(const aqz_matrix *m)
{
	return aqz_product_scratch_bytes(&m->a.scheme, m->a.cols, AQZ_PRODUCT_COLUMNS);
}

/* Binary32 by tables only where they pay. */
static aqz_product_way way_of(const aqz_matrix *m, uint64_t rows, unsigned table_bits)
{
	const aqz_product_options asked = {
		.way = table_bits == 8 ? AQZ_PRODUCT_LUT8
			: table_bits == 16 ? AQZ_PRODUCT_LUT16
							   : AQZ_PRODUCT_AUTO,
	};
	const aqz_product_way way = aqz_product_way_of(&m->a.scheme, rows, &asked);
	const bool integers = way == AQZ_PRODUCT_LUT16 || way == AQZ_PRODUCT_LUT8;

	return table_bits == 32 && integers ? AQZ_PRODUCT_TABLES : way;
}

/* Fills in what was left out. */
static aqz_matrix_options complete(const aqz_matrix *m, const aqz_matrix_options *opt)
{
	aqz_matrix_options all = {.struct_size = sizeof all};

	if (opt != NULL)
		all = *opt;
	if (all.row_begin == 0 && all.row_end == 0)
		all.row_end = m->a.rows;
	return all;
}

static const char *fault_of(
	const aqz_matrix *m, const aqz_matrix_options *opt, size_t y_ld, size_t x_ld, size_t n_columns)
{
	const uint64_t block_rows = (uint64_t)AQZ_TILE_ROWS * m->a.scheme.out_group;

	if (opt->struct_size != sizeof *opt)
		return "struct_size is not that of this version's aqz_matrix_options";
	if (opt->row_begin >= opt->row_end || opt->row_end > m->a.rows)
		return "the rows are none or not within the matrix";
	if (opt->row_begin % block_rows != 0)
		return "the first row is not a multiple of 64 code rows";
	if (opt->table_bits != 0 && opt->table_bits != 8 && opt->table_bits != 16 && opt->table_bits != 32)
		return "table_bits must be 0, 8, 16 or 32";
	if ((uintptr_t)opt->scratch % 64 != 0)
		return "the scratch is not at a multiple of 64 bytes";
	if (n_columns == 0 ||
		(n_columns > 1 && (y_ld < opt->row_end - opt->row_begin || x_ld < m->a.cols)))
		return "there are no columns, or they overlap";
	return NULL;
}

static void multiply(float *y, size_t y_ld, const aqz_matrix *m, const float *x, size_t x_ld,
	size_t n_columns, const aqz_matrix_options *opt, void *scratch)
{
	const uint64_t rows = opt->row_end - opt->row_begin;
	const uint64_t block = opt->row_begin / AQZ_TILE_ROWS / m->a.scheme.out_group;
	const aqz_product_options options = {.way = way_of(m, rows, opt->table_bits)};

	for (size_t i = 0; i < n_columns; i += AQZ_PRODUCT_COLUMNS) {
		const unsigned here = (unsigned)aqz_min(n_columns - i, AQZ_PRODUCT_COLUMNS);
		const aqz_product_part part = {
			.y = y + i * y_ld,
			.y_ld = y_ld,
			.lines = m->a.codes +
				block * aqz_additive_codes_bytes(&m->a.scheme, AQZ_TILE_ROWS, m->a.groups),
			.scales = m->scales + block * AQZ_TILE_ROWS,
			.rows = rows,
		};

		aqz_product(&part, 1, &m->tables, m->a.cols, x + i * x_ld, x_ld, here, scratch,
			aqz_threads(opt->n_threads), &options);
	}
}

aqz_status aqz_matrix_multiply(float *y, size_t y_ld, const aqz_matrix *m, const float *x,
	size_t x_ld, size_t n_columns, const aqz_matrix_options *opt, aqz_error *err)
{
	const aqz_matrix_options all = complete(m, opt);
	const char *fault = fault_of(m, &all, y_ld, x_ld, n_columns);
	const uint64_t scratch_bytes = (aqz_matrix_scratch_bytes(m) + 63) / 64 * 64;
	void *scratch = all.scratch;

	if (fault != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "%s", fault);
	if (scratch == NULL)
		scratch = aligned_alloc(64, (size_t)scratch_bytes);
	if (scratch == NULL)
		return aqz_fail_nomem(err, scratch_bytes);
	multiply(y, y_ld, m, x, x_ld, n_columns, &all, scratch);
	if (scratch != all.scratch)
		free(scratch);
	return AQZ_OK;
}

void aqz_matrix_way(
	char text[AQZ_MATRIX_WAY_BYTES], const aqz_matrix *m, const aqz_matrix_options *opt)
{
	static const char *const names[] = {[AQZ_PRODUCT_LUT16] = "lut16",
		[AQZ_PRODUCT_LUT8] = "lut8",
		[AQZ_PRODUCT_TABLES] = "tables",
		[AQZ_PRODUCT_DIRECT] = "direct"};
	const aqz_matrix_options all = complete(m, opt);
	const aqz_product_kernels *kernels = aqz_product_kernels_get(0);
	const char *fault = fault_of(m, &all, (size_t)m->a.rows, (size_t)m->a.cols, 1);

	for (unsigned i = 0; aqz_product_kernels_get(i) != NULL; i++)
		kernels = aqz_product_kernels_get(i);
	if (fault != NULL)
		snprintf(text, AQZ_MATRIX_WAY_BYTES, "none");
	else
		snprintf(text, AQZ_MATRIX_WAY_BYTES, "%s %s",
			names[way_of(m, all.row_end - all.row_begin, all.table_bits)], kernels->name);
}
