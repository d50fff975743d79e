/* SPDX-License-Identifier: Apache-2.0 */
/* What an additive section may look like: shape, and the sections that it refers to. Spec 7.2.3. */
#include <inttypes.h>

#include "codec/additive.h"

static aqz_status corrupt(aqz_error *err, const char *where, const char *text)
{
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "%s", text);
}

static bool is_float(aqz_dtype dtype)
{
	return dtype == AQZ_F32 || dtype == AQZ_F16 || dtype == AQZ_BF16;
}

/* Codebooks: together M * 2^B codewords, all of one dtype. */
static aqz_status check_codebooks(
	const aqz_view *view, const aqz_param_view *params, uint32_t n, aqz_error *err)
{
	uint64_t rows = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (params[i].dtype != params[0].dtype ||
			(!is_float(params[i].dtype) && params[i].dtype != AQZ_I8))
			return corrupt(err, "refs.codebook", "codebooks must be all F32, F16, BF16 or I8");
		if (params[i].cols != aqz_codeword(&view->scheme))
			return corrupt(err, "refs.codebook", "codewords have not in_group * out_group values");
		if (!aqz_add(&rows, rows, params[i].rows))
			return corrupt(err, "refs.codebook", "codebooks have too many codewords");
	}
	if (rows != aqz_codewords(&view->scheme))
		return corrupt(err, "refs.codebook", "there are not 2^bits codewords for each codebook");
	return AQZ_OK;
}

static aqz_status check_one_matrix(const aqz_param_view *params, uint32_t n, uint64_t rows,
	uint64_t cols, const char *where, aqz_error *err)
{
	if (n != 1 || !is_float(params->dtype) || params->rows != rows || params->cols != cols)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
			"must be one section of %" PRIu64 " x %" PRIu64 " F32, F16 or BF16", rows, cols);
	return AQZ_OK;
}

const aqz_ref *aqz_refs_next(aqz_ref_cursor *c, const aqz_view *view, aqz_kind kind)
{
	for (; c->i < view->n_refs && view->refs[c->i].kind != kind; c->i++)
		c->section += view->refs[c->i].count;
	return c->i < view->n_refs ? &view->refs[c->i] : NULL;
}

void aqz_refs_step(aqz_ref_cursor *c, const aqz_view *view)
{
	c->section += view->refs[c->i++].count;
}

static aqz_status check_refs(
	const aqz_view *view, uint64_t code_rows, const aqz_param_view *params, aqz_error *err)
{
	aqz_ref_cursor at = {0, 0}, scales_at = {0, 0}, row_scales_at = {0, 0};
	uint64_t covered = 0, n_ranges = 0;
	const aqz_ref *ref;
	aqz_status status = AQZ_OK;

	for (; (ref = aqz_refs_next(&at, view, AQZ_KIND_CODEBOOK)) != NULL; aqz_refs_step(&at, view)) {
		if (ref->row_begin != covered || ref->row_end <= covered || ref->row_end > code_rows ||
			covered % AQZ_TILE_ROWS != 0)
			return corrupt(
				err, "refs.codebook", "row ranges must follow each other at multiples of 64");
		covered = ref->row_end;
		if (++n_ranges > AQZ_MAX_RANGES)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "refs.codebook",
				"more than %d row ranges with their own codebooks", AQZ_MAX_RANGES);
		AQZ_TRY(check_codebooks(view, params + at.section, ref->count, err));
		if (params[at.section].dtype == AQZ_I8) {
			const aqz_ref *scales = aqz_refs_next(&scales_at, view, AQZ_KIND_CODEBOOK_SCALES);

			if (scales == NULL || scales->row_begin != ref->row_begin ||
				scales->row_end != ref->row_end)
				return corrupt(
					err, "refs.codebook_scales", "integer codebooks need scales for the same rows");
			AQZ_TRY(check_one_matrix(params + scales_at.section, scales->count,
				view->scheme.n_codebooks, aqz_codeword(&view->scheme), "refs.codebook_scales",
				err));
			aqz_refs_step(&scales_at, view);
		}
	}
	if (covered != code_rows)
		return corrupt(err, "refs.codebook", "the row ranges do not cover all rows");
	/* Tables are made anew for each section: they may not cost more than what it decodes to pays for.
	 * The factors are below 2^10, 2^19 and 2^6, rows * cols was checked to fit into bytes. */
	uint64_t table = n_ranges * aqz_codewords(&view->scheme) * aqz_codeword(&view->scheme);
	if (table > AQZ_MAX_TABLE_VALUES &&
		(table - AQZ_MAX_TABLE_VALUES) / AQZ_MAX_TABLE_RATIO > view->rows * view->cols)
		return corrupt(err, "refs.codebook", "the codebooks are out of proportion to the matrix");
	if (aqz_refs_next(&scales_at, view, AQZ_KIND_CODEBOOK_SCALES) != NULL)
		return corrupt(err, "refs.codebook_scales", "scales without integer codebooks");
	if ((ref = aqz_refs_next(&row_scales_at, view, AQZ_KIND_ROW_SCALES)) != NULL) {
		if (ref->row_begin != 0 || ref->row_end != code_rows)
			return corrupt(err, "refs.row_scales", "must be for all rows");
		AQZ_TRY(check_one_matrix(
			params + row_scales_at.section, ref->count, code_rows, 1, "refs.row_scales", err));
		aqz_refs_step(&row_scales_at, view);
		if (aqz_refs_next(&row_scales_at, view, AQZ_KIND_ROW_SCALES) != NULL)
			return corrupt(err, "refs.row_scales", "there are two of them");
	}
out:
	return status;
}

aqz_status aqz_additive_check(
	const aqz_view *view, const aqz_param_view *params, uint32_t n_params, aqz_error *err)
{
	const uint64_t shape[2] = {view->rows, view->cols};
	uint64_t n_elements, n_bytes, code_rows, n_sections = 0;

	if (!aqz_scheme_possible(&view->scheme))
		return corrupt(err, "params", "the scheme is impossible");
	if (!is_float(view->dtype))
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "dtype",
			"the additive codec decodes to F32, F16 or BF16 only");
	code_rows = aqz_ceil_div(view->rows, view->scheme.out_group);
	if (!aqz_shape_size(&n_elements, &n_bytes, shape, 2, view->dtype) || n_bytes > SIZE_MAX / 2 ||
		n_elements == 0 ||
		aqz_additive_codes_bytes(
			&view->scheme, code_rows, aqz_ceil_div(view->cols, view->scheme.in_group)) == 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "shape",
			"%" PRIu64 " x %" PRIu64 " elements are none or too many", view->rows, view->cols);
	for (uint32_t i = 0; i < view->n_refs; i++) {
		const aqz_kind kind = view->refs[i].kind;

		if (kind != AQZ_KIND_CODEBOOK && kind != AQZ_KIND_CODEBOOK_SCALES &&
			kind != AQZ_KIND_ROW_SCALES)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "refs",
				"the additive codec has no use for sections of kind %u", (unsigned)kind);
		if (view->refs[i].count == 0)
			return corrupt(err, "refs", "a reference to no section");
		n_sections += view->refs[i].count;
	}
	if (n_sections != n_params)
		return corrupt(err, "refs", "the referenced sections are not all there");
	return check_refs(view, code_rows, params, err);
}
