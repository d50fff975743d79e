/* SPDX-License-Identifier: Apache-2.0 */
/* The additive codec's entry in the codec table: parameters and decoder. Spec 7.2. */
#include <inttypes.h>

#include "codec/additive.h"

static aqz_status corrupt(aqz_error *err, const char *where, const char *text)
{
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "%s", text);
}

static aqz_status params_read(
	aqz_scheme *out, const uint8_t params[AQZ_CODEC_PARAMS_BYTES], aqz_error *err)
{
	const aqz_scheme s = {AQZ_CODEC_ADDITIVE, params[0], params[1], params[2], params[3]};

	for (int i = 4; i < AQZ_CODEC_PARAMS_BYTES; i++)
		if (params[i] != 0)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "params",
				"a reserved parameter of the additive codec is not 0");
	if (!aqz_scheme_possible(&s))
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "params",
			"no scheme has %u codebooks, %u bits, groups of %u x %u", s.n_codebooks, s.code_bits,
			s.out_group, s.in_group);
	*out = s;
	return AQZ_OK;
}

static void params_write(uint8_t params[AQZ_CODEC_PARAMS_BYTES], const aqz_scheme *scheme)
{
	memset(params, 0, AQZ_CODEC_PARAMS_BYTES);
	params[0] = scheme->n_codebooks;
	params[1] = scheme->code_bits;
	params[2] = scheme->in_group;
	params[3] = scheme->out_group;
}

/* ---- Payloads: tiles have one size. */

static uint64_t payload_size(const aqz_view *view, uint64_t n_code_rows)
{
	return aqz_additive_codes_bytes(
		&view->scheme, n_code_rows, aqz_ceil_div(view->cols, view->scheme.in_group));
}

static void payload_bounds(const aqz_view *view, uint64_t n_rows, uint64_t n_code_rows,
	uint16_t coding, uint64_t *min_bytes, uint64_t *max_bytes)
{
	(void)n_rows, (void)coding;
	*min_bytes = *max_bytes = payload_size(view, n_code_rows);
}

static bool coding_ok(uint16_t coding)
{
	return coding == AQZ_CODING_T64;
}

/* ---- Decoder: tables in binary32. */

typedef struct range {
	uint64_t row_end; /* code rows */
	size_t table;
	aqz_table_facts facts; /* of the table, when it is filled */
} range;

typedef struct table {
	uint32_t codebook, n_codebooks, scales; /* the sections that it is made from */
} table;

typedef struct decoder {
	aqz_tables tables; /* without values */
	uint64_t code_rows;
	size_t n_ranges, table_values;
	range *ranges;
	float *values; /* one table after the other; at multiples of 64 bytes, so that codewords seldom cross lines */
	float *row_scales; /* code_rows, and 63 zeros for the last row block; or NULL */
} decoder;

/* Lists the ranges and the different tables that they use. out has room for all; *n_tables is how
 * many differ. Quadratic in AQZ_MAX_RANGES at most. */
static size_t list_tables(range *ranges, table *tables, size_t *n_tables, const aqz_view *view)
{
	aqz_ref_cursor at = {0, 0}, scales_at = {0, 0};
	const aqz_ref *ref;
	size_t n_ranges = 0, n = 0;

	for (; (ref = aqz_refs_next(&at, view, AQZ_KIND_CODEBOOK)) != NULL; aqz_refs_step(&at, view)) {
		table t = {ref->first, ref->count, UINT32_MAX};
		const aqz_ref *scales = aqz_refs_next(&scales_at, view, AQZ_KIND_CODEBOOK_SCALES);
		size_t same = 0;

		if (scales != NULL && scales->row_begin == ref->row_begin) {
			t.scales = scales->first;
			aqz_refs_step(&scales_at, view);
		}
		while (same < n && memcmp(&tables[same], &t, sizeof t) != 0)
			same++;
		if (same == n)
			tables[n++] = t;
		ranges[n_ranges++] = (range){.row_end = ref->row_end, .table = same};
	}
	*n_tables = n;
	return n_ranges;
}

/* Sizes of a decoder's parts, which check() has bounded: 1024 tables of 2^27 bytes at most. */
typedef struct sizes {
	size_t n_ranges, n_tables, table_values;
	uint64_t scale_values;
} sizes;

static sizes sizes_of(range *ranges, table *tables, const aqz_view *view)
{
	aqz_ref_cursor at = {0, 0};
	sizes s;

	s.n_ranges = list_tables(ranges, tables, &s.n_tables, view);
	s.table_values = aqz_codewords(&view->scheme) * aqz_codeword(&view->scheme);
	s.scale_values = 0;
	if (aqz_refs_next(&at, view, AQZ_KIND_ROW_SCALES) != NULL)
		s.scale_values = aqz_ceil_div(view->rows, view->scheme.out_group) + AQZ_TILE_ROWS;
	return s;
}

/* Of all tables, as aligned_alloc takes it. */
static size_t values_bytes(const sizes *s)
{
	return (s->n_tables * s->table_values * sizeof(float) + 63) / 64 * 64;
}

static uint64_t decoder_bytes(const aqz_view *view)
{
	range ranges[AQZ_MAX_RANGES];
	table tables[AQZ_MAX_RANGES];
	const sizes s = sizes_of(ranges, tables, view);

	return sizeof(decoder) + s.n_ranges * sizeof(range) + values_bytes(&s) +
		s.scale_values * sizeof(float);
}

static void decoder_free(void *decoder_)
{
	decoder *d = decoder_;

	if (d == NULL)
		return;
	free(d->row_scales);
	free(d->values);
	free(d->ranges);
	free(d);
}

/* Fills one table from the codebooks of a reference, whose sections may cut codebooks anywhere. */
static void fill_table(float *values, const aqz_view *view, const aqz_param_view *params,
	uint32_t n, const float *scales)
{
	const unsigned codeword = aqz_codeword(&view->scheme);
	const uint64_t per_book = UINT64_C(1) << view->scheme.code_bits;
	const size_t row_bytes = (size_t)codeword * (aqz_dtype_bits(params[0].dtype) / 8);
	uint64_t row = 0;

	for (uint32_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < params[i].rows;) {
			const uint64_t run = aqz_min(params[i].rows - k, per_book - row % per_book);
			const float *s = scales != NULL ? scales + row / per_book * codeword : NULL;

			aqz_codebook_widen(values + row * codeword,
				(const uint8_t *)params[i].data + k * row_bytes, params[i].dtype, run, codeword, s);
			row += run;
			k += run;
		}
}

static void fill(decoder *d, const aqz_view *view, const aqz_param_view *params)
{
	float scales[AQZ_MAX_CODEBOOKS * AQZ_MAX_CODEWORD];
	aqz_ref_cursor at = {0, 0}, scales_at = {0, 0}, row_scales_at = {0, 0};
	const aqz_ref *ref;

	for (size_t i = 0, done = 0; (ref = aqz_refs_next(&at, view, AQZ_KIND_CODEBOOK)) != NULL;
		 i++, aqz_refs_step(&at, view)) {
		const bool integers = params[at.section].dtype == AQZ_I8;

		if (integers) {
			aqz_refs_next(&scales_at, view, AQZ_KIND_CODEBOOK_SCALES);
			if (d->ranges[i].table == done) {
				const aqz_param_view *p = params + scales_at.section;

				aqz_convert(scales, AQZ_F32, p->data, p->dtype, (size_t)(p->rows * p->cols), NULL);
			}
			aqz_refs_step(&scales_at, view);
		}
		/* Tables are numbered as they first appear. */
		if (d->ranges[i].table == done)
			fill_table(d->values + done++ * d->table_values, view, params + at.section, ref->count,
				integers ? scales : NULL);
	}
	for (size_t i = 0, done = 0; i < d->n_ranges; i++) {
		size_t first = i;

		if (d->ranges[i].table == done) {
			d->ranges[i].facts = aqz_table_look(d->values + done++ * d->table_values, &view->scheme);
			continue;
		}
		while (d->ranges[first].table != d->ranges[i].table || !d->ranges[first].facts.known)
			first--;
		d->ranges[i].facts = d->ranges[first].facts;
	}
	if (d->row_scales != NULL) {
		aqz_refs_next(&row_scales_at, view, AQZ_KIND_ROW_SCALES);
		aqz_convert(d->row_scales, AQZ_F32, params[row_scales_at.section].data,
			params[row_scales_at.section].dtype, (size_t)d->code_rows, NULL);
	}
}

static aqz_status decoder_create(void **out, const aqz_view *view, const aqz_param_view *params,
	uint32_t n_params, aqz_error *err)
{
	range ranges[AQZ_MAX_RANGES];
	table tables[AQZ_MAX_RANGES];
	const sizes s = sizes_of(ranges, tables, view);
	decoder *d = calloc(1, sizeof *d);

	(void)n_params;
	*out = NULL;
	if (d != NULL) {
		d->tables = (aqz_tables){.scheme = view->scheme, .dtype = view->dtype};
		d->code_rows = aqz_ceil_div(view->rows, view->scheme.out_group);
		d->n_ranges = s.n_ranges;
		d->table_values = s.table_values;
		d->ranges = malloc(s.n_ranges * sizeof *d->ranges);
		d->values = aligned_alloc(64, values_bytes(&s));
		d->row_scales = s.scale_values != 0 ? calloc(s.scale_values, sizeof(float)) : NULL;
	}
	if (d == NULL || d->ranges == NULL || d->values == NULL ||
		(s.scale_values != 0 && d->row_scales == NULL)) {
		decoder_free(d);
		return aqz_fail_nomem(err, decoder_bytes(view));
	}
	memcpy(d->ranges, ranges, s.n_ranges * sizeof *ranges);
	fill(d, view, params);
	*out = d;
	return AQZ_OK;
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
	const unsigned out_group = view->scheme.out_group, block_rows = AQZ_TILE_ROWS * out_group;
	const uint64_t groups = aqz_ceil_div(view->cols, view->scheme.in_group);
	const uint64_t block_bytes = payload_size(view, AQZ_TILE_ROWS);
	const size_t row_bytes = (size_t)view->cols * (view->dtype == AQZ_F32 ? 4 : 2);
	aqz_decode_tile_fn *kernel = aqz_decode_tile_choose(&d->tables);
	size_t r = 0;

	(void)scratch;
	if (coding != AQZ_CODING_T64 || payload_bytes != payload_size(view, n_code_rows))
		return corrupt(err, "payload", "the codes have the wrong length");
	for (uint64_t row = row_begin; row < row_end;) {
		const uint64_t block = (row / out_group - chunk_row) / AQZ_TILE_ROWS;
		const uint64_t code_row = chunk_row + block * AQZ_TILE_ROWS, first = code_row * out_group;
		const uint64_t end = aqz_min(row_end, first + block_rows);
		const uint8_t *lines = payload + block * block_bytes;
		aqz_tables tables = d->tables;

		if (!aqz_t64_padding_ok(lines, groups * view->scheme.n_codebooks, view->scheme.code_bits,
				(unsigned)aqz_min(AQZ_TILE_ROWS, chunk_row + n_code_rows - code_row)))
			return corrupt(err, "payload", "padding codes are not 0");
		while (d->ranges[r].row_end <= code_row)
			r++;
		tables.values = d->values + d->ranges[r].table * d->table_values;
		tables.facts = d->ranges[r].facts;
		aqz_decode_block((uint8_t *)dst + (row - row_begin) * row_bytes, kernel, &tables, lines,
			view->cols, (unsigned)(row - first), (unsigned)(end - first),
			d->row_scales != NULL ? d->row_scales + code_row : NULL, false);
		row = end;
	}
	return AQZ_OK;
}

const aqz_codec aqz_codec_additive = {
	.id = AQZ_CODEC_ADDITIVE,
	.name = "additive",
	.params_read = params_read,
	.params_write = params_write,
	.check = aqz_additive_check,
	.payload_bounds = payload_bounds,
	.coding_ok = coding_ok,
	.decoder_bytes = decoder_bytes,
	.decoder_create = decoder_create,
	.decoder_free = decoder_free,
	.scratch_bytes = scratch_bytes,
	.decode = decode,
};
