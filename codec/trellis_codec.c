/* SPDX-License-Identifier: Apache-2.0 */
/* The trellis codec's entry in the codec table, spec 7.3. */
#include <inttypes.h>

#include "codec/trellis.h"

enum { LANES = AQZ_TRELLIS_LANES, LEAST_PARAM_BYTES = 9 };

static aqz_status corrupt(aqz_error *err, const char *where, const char *text)
{
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "%s", text);
}

static aqz_status params_read(
	aqz_scheme *out, const uint8_t params[AQZ_CODEC_PARAMS_BYTES], aqz_error *err)
{
	const unsigned bits = params[0];

	for (int i = 1; i < AQZ_CODEC_PARAMS_BYTES; i++)
		if (params[i] != 0)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "params",
				"a reserved parameter of the trellis codec is not 0");
	if (bits == 1 || bits > AQZ_TRELLIS_MAX_STATE_BITS)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "params",
			"there is no trellis of 2^%u states", bits);
	*out = aqz_trellis_scheme(bits);
	return AQZ_OK;
}

static void params_write(uint8_t params[AQZ_CODEC_PARAMS_BYTES], const aqz_scheme *scheme)
{
	memset(params, 0, AQZ_CODEC_PARAMS_BYTES);
	params[0] = scheme->code_bits;
}

/* The one reference, for all rows, to one string of bytes. */
static aqz_status check_refs(
	const aqz_view *view, const aqz_param_view *params, uint32_t n_params, aqz_error *err)
{
	for (uint32_t i = 0; i < view->n_refs; i++)
		if (view->refs[i].kind != AQZ_KIND_ENTROPY_TABLE)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "refs",
				"the trellis codec has no use for sections of kind %u", (unsigned)view->refs[i].kind);
	if (view->n_refs != 1 || view->refs[0].count != 1 || n_params != 1 ||
		view->refs[0].row_begin != 0 || view->refs[0].row_end != view->rows)
		return corrupt(err, "refs", "there must be one entropy table, for all rows");
	if (params->dtype != AQZ_U8 || params->rows != 1)
		return corrupt(err, "refs.entropy_table", "must be one row of U8");
	/* An exponent takes a bit at least: this bounds what the decoder allocates by what is there.
	 * Rows, columns and their product were checked to fit into bytes. */
	if (params->cols < LEAST_PARAM_BYTES || params->cols > SIZE_MAX / 8 ||
		view->rows > 8 * (params->cols - LEAST_PARAM_BYTES) ||
		view->cols > 8 * (params->cols - LEAST_PARAM_BYTES) ||
		view->rows + 2 * view->cols > 8 * (params->cols - LEAST_PARAM_BYTES))
		return corrupt(err, "refs.entropy_table", "too short for so many rows and columns");
	return AQZ_OK;
}

static aqz_status check(
	const aqz_view *view, const aqz_param_view *params, uint32_t n_params, aqz_error *err)
{
	const uint64_t shape[2] = {view->rows, view->cols};
	uint64_t n_elements, n_bytes;

	if (view->dtype != AQZ_F32 && view->dtype != AQZ_F16 && view->dtype != AQZ_BF16)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "dtype",
			"the trellis codec decodes to F32, F16 or BF16 only");
	if (!aqz_shape_size(&n_elements, &n_bytes, shape, 2, view->dtype) || n_bytes > SIZE_MAX / 8 ||
		n_elements == 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "shape",
			"%" PRIu64 " x %" PRIu64 " elements are none or too many", view->rows, view->cols);
	return check_refs(view, params, n_params, err);
}

/* A state for each lane; and for each element a word of the coder and three of an escape, at most. */
static void payload_bounds(const aqz_view *view, uint64_t n_rows, uint64_t n_code_rows,
	uint16_t coding, uint64_t *min_bytes, uint64_t *max_bytes)
{
	(void)n_code_rows, (void)coding;
	*min_bytes = 4 * aqz_min(LANES, view->cols);
	*max_bytes = *min_bytes + 8 * n_rows * view->cols;
}

static bool coding_ok(uint16_t coding)
{
	return coding == AQZ_CODING_RANS;
}

typedef struct decoder {
	aqz_trellis_params params;
	aqz_trellis_tables tables;
} decoder;

static uint64_t decoder_bytes(const aqz_view *view)
{
	return sizeof(decoder) + 2 * (view->rows + view->cols) +
		aqz_trellis_tables_bytes(view->rows, view->cols);
}

static void decoder_free(void *decoder_)
{
	decoder *d = decoder_;

	if (d == NULL)
		return;
	aqz_trellis_tables_free(&d->tables);
	aqz_trellis_params_free(&d->params);
	free(d);
}

static aqz_status decoder_create(void **out, const aqz_view *view, const aqz_param_view *params,
	uint32_t n_params, aqz_error *err)
{
	decoder *d = calloc(1, sizeof *d);
	aqz_status status = AQZ_OK;

	(void)n_params;
	*out = NULL;
	if (d == NULL)
		return aqz_fail_nomem(err, sizeof *d);
	d->params.rows = view->rows;
	d->params.cols = view->cols;
	d->params.state_bits = view->scheme.code_bits;
	AQZ_TRY(aqz_trellis_params_read(&d->params, params->data, (size_t)params->cols, err));
	AQZ_TRY(aqz_trellis_tables_make(&d->tables, &d->params, view->dtype, err));
	*out = d;
	d = NULL;
out:
	decoder_free(d);
	return status;
}

static uint64_t scratch_bytes(const aqz_view *view)
{
	(void)view;
	return 0;
}

static aqz_status decode(const void *decoder_, const aqz_view *view, uint64_t chunk_row,
	uint64_t n_code_rows, uint16_t coding, const uint8_t *payload, size_t payload_bytes,
	uint64_t row_begin, uint64_t row_end, void *dst, void *scratch, aqz_error *err)
{
	const decoder *d = decoder_;
	aqz_trellis_decode_fn *kernel = aqz_trellis_decode_choose();

	(void)view, (void)scratch;
	if (coding != AQZ_CODING_RANS)
		return corrupt(err, "payload", "the chunk's coding is not the trellis codec's");
	if (!kernel(dst, &d->tables, payload, payload_bytes, chunk_row, chunk_row + n_code_rows,
			row_begin, row_end))
		return corrupt(err, "payload", "the stream of indices does not decode");
	return AQZ_OK;
}

const aqz_codec aqz_codec_trellis = {
	.id = AQZ_CODEC_TRELLIS,
	.name = "trellis",
	.params_read = params_read,
	.params_write = params_write,
	.check = check,
	.payload_bounds = payload_bounds,
	.coding_ok = coding_ok,
	.decoder_bytes = decoder_bytes,
	.decoder_create = decoder_create,
	.decoder_free = decoder_free,
	.scratch_bytes = scratch_bytes,
	.decode = decode,
};
