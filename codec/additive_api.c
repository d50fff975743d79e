/* SPDX-License-Identifier: Apache-2.0 */
/* Additive matrices in memory: the public calls around aqz_additive. */
#include "codec/additive.h"

void aqz_additive_free(aqz_additive *a)
{
	if (a == NULL)
		return;
	free(a->codes);
	free(a->codebooks);
	free(a->codebook_scales);
	free(a->scales);
	*a = (aqz_additive){0};
}

/* The caller may have filled *a itself: whatever the decoder relies on is looked at. */
const char *aqz_additive_fault(
	const aqz_additive *a, aqz_dtype dtype, uint64_t row_begin, uint64_t row_end)
{
	if (dtype != AQZ_F32 && dtype != AQZ_F16 && dtype != AQZ_BF16)
		return "dtype must be F32, F16 or BF16";
	if (!aqz_scheme_possible(&a->scheme))
		return "the scheme is impossible";
	if (a->rows == 0 || a->cols == 0 || a->code_rows != aqz_ceil_div(a->rows, a->scheme.out_group) ||
		a->groups != aqz_ceil_div(a->cols, a->scheme.in_group) || a->cols > SIZE_MAX / 4 / a->rows)
		return "the matrix is empty, too large or its code rows and groups do not fit its shape";
	if (a->codes == NULL ||
		a->codes_bytes != aqz_additive_codes_bytes(&a->scheme, a->code_rows, a->groups))
		return "the codes are missing or of the wrong length";
	if (a->codebook_dtype != AQZ_F32 && a->codebook_dtype != AQZ_F16 &&
		a->codebook_dtype != AQZ_BF16 && a->codebook_dtype != AQZ_I8)
		return "codebook_dtype must be F32, F16, BF16 or I8";
	if (a->scale_dtype != AQZ_F32 && a->scale_dtype != AQZ_F16 && a->scale_dtype != AQZ_BF16)
		return "scale_dtype must be F32, F16 or BF16";
	if (a->codebooks == NULL || a->scales == NULL ||
		(a->codebook_dtype == AQZ_I8 && a->codebook_scales == NULL))
		return "codebooks or scales are missing";
	if (row_begin > row_end || row_end > a->rows)
		return "the rows are not within the matrix";
	return NULL;
}

void aqz_additive_widen(float *values, const aqz_additive *a)
{
	const size_t per_book = (size_t)1 << a->scheme.code_bits;
	const unsigned codeword = aqz_codeword(&a->scheme);
	const size_t book_bytes = per_book * codeword * (aqz_dtype_bits(a->codebook_dtype) / 8);

	for (unsigned m = 0; m < a->scheme.n_codebooks; m++)
		aqz_codebook_widen(values + m * per_book * codeword,
			(const uint8_t *)a->codebooks + m * book_bytes, a->codebook_dtype, per_book, codeword,
			a->codebook_dtype == AQZ_I8 ? a->codebook_scales + (size_t)m * codeword : NULL);
}

void aqz_additive_rows(void *dst, const aqz_additive *a, const aqz_tables *tables,
	uint64_t row_begin, uint64_t row_end)
{
	const size_t scale_bytes = a->scale_dtype == AQZ_F32 ? 4 : 2,
				 row_bytes = (size_t)a->cols * (tables->dtype == AQZ_F32 ? 4 : 2);
	const bool stream = (row_end - row_begin) * row_bytes >= AQZ_STREAM_BYTES;
	aqz_decode_tile_fn *kernel = aqz_decode_tile_choose(tables);

	for (uint64_t row = row_begin; row < row_end;) {
		const uint64_t block_rows = (uint64_t)AQZ_TILE_ROWS * a->scheme.out_group,
					   block = row / block_rows;
		const uint64_t code_row = block * AQZ_TILE_ROWS, first = block * block_rows;
		const uint64_t end = aqz_min(row_end, first + block_rows);
		float scales[AQZ_TILE_ROWS] = {0};

		aqz_convert(scales, AQZ_F32, (const uint8_t *)a->scales + code_row * scale_bytes,
			a->scale_dtype, (size_t)aqz_min(AQZ_TILE_ROWS, a->code_rows - code_row), NULL);
		aqz_decode_block((uint8_t *)dst + (row - row_begin) * row_bytes, kernel, tables,
			a->codes + block * aqz_additive_codes_bytes(&a->scheme, AQZ_TILE_ROWS, a->groups),
			a->cols, (unsigned)(row - first), (unsigned)(end - first), scales, stream);
		row = end;
	}
}

aqz_status aqz_decode_additive(void *dst, aqz_dtype dtype, const aqz_additive *a,
	uint64_t row_begin, uint64_t row_end, aqz_error *err)
{
	const char *fault = aqz_additive_fault(a, dtype, row_begin, row_end);
	const size_t n_values = fault == NULL ? aqz_codewords(&a->scheme) * aqz_codeword(&a->scheme) : 0;
	aqz_tables tables = {.scheme = a->scheme, .dtype = dtype};
	float *values;

	if (fault != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "%s", fault);
	/* At 64 bytes codewords seldom cross lines of the cache. */
	values = aligned_alloc(64, (n_values * sizeof *values + 63) / 64 * 64);
	if (values == NULL)
		return aqz_fail_nomem(err, n_values * sizeof *values);
	aqz_additive_widen(values, a);
	tables.values = values;
	tables.facts = aqz_table_look(values, &a->scheme);
	aqz_additive_rows(dst, a, &tables, row_begin, row_end);
	free(values);
	return AQZ_OK;
}
