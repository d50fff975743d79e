/* SPDX-License-Identifier: Apache-2.0 */
/* Additive sections made of noise. */
#include "tests/matrix.h"

static void *own(matrix *m, size_t n)
{
	void *p;

	SURE(m->n_owned < 64 && posix_memalign(&p, 64, n + (n == 0)) == 0);
	memset(p, 0, n + (n == 0));
	return m->owned[m->n_owned++] = p;
}

static size_t dtype_bytes(aqz_dtype dtype)
{
	return aqz_dtype_bits(dtype) / 8;
}

/* n values of about the size of 1, as dtype in *stored and widened. */
static float *values(matrix *m, void **stored, aqz_dtype dtype, size_t n, noise *r)
{
	float *wide = own(m, n * sizeof *wide);

	*stored = own(m, n * dtype_bytes(dtype));
	for (size_t i = 0; i < n; i++)
		wide[i] = (float)(int32_t)(noise_next(r) >> 32) / 0x1p30f;
	SURE(aqz_convert(*stored, dtype, wide, AQZ_F32, n, NULL) == AQZ_OK);
	SURE(aqz_convert(wide, AQZ_F32, *stored, dtype, n, NULL) == AQZ_OK);
	return wide;
}

static void add_param(matrix *m, aqz_kind kind, aqz_dtype dtype, uint64_t rows, uint64_t cols, const void *data)
{
	SURE(m->n_params < MATRIX_PARAMS);
	m->params[m->n_params++] = (aqz_param_view){kind, dtype, rows, cols, data};
}

static void add_ref(matrix *m, aqz_kind kind, uint32_t first, const spec_range *range)
{
	m->refs[m->view.n_refs++] = (aqz_ref){kind, 100 + first, m->n_params - first, range->begin, range->end};
}

/* A codebook reference, cut anywhere into sections. */
static void add_codebook(matrix *m, spec_range *range, aqz_dtype dtype, const matrix_options *opt, noise *r)
{
	const size_t rows = aqz_codewords(&m->view.scheme), dims = aqz_codeword(&m->view.scheme);
	const uint32_t first = m->n_params;
	const size_t row_bytes = dims * dtype_bytes(dtype);
	void *stored;

	if (dtype == AQZ_I8) {
		range->integers = stored = own(m, rows * dims);
		noise_fill(r, stored, rows * dims);
	} else {
		range->codebook = values(m, &stored, dtype, rows * dims, r);
	}
	for (size_t k = 0, at = 0, n; k <= opt->cuts; k++, at += n) {
		void *part;

		n = k == opt->cuts ? rows - at : (size_t)(noise_next(r) % (rows - at + 1));
		part = own(m, n * row_bytes);
		memcpy(part, (uint8_t *)stored + at * row_bytes, n * row_bytes);
		add_param(m, AQZ_KIND_CODEBOOK, dtype, n, dims, part);
	}
	add_ref(m, AQZ_KIND_CODEBOOK, first, range);
	if (dtype == AQZ_I8) {
		const aqz_dtype scale_dtype = opt->codebook_scale_dtype != 0 ? opt->codebook_scale_dtype : AQZ_F32;

		range->codebook_scales = values(m, &stored, scale_dtype, m->view.scheme.n_codebooks * dims, r);
		add_param(m, AQZ_KIND_CODEBOOK_SCALES, scale_dtype, m->view.scheme.n_codebooks, dims, stored);
		add_ref(m, AQZ_KIND_CODEBOOK_SCALES, m->n_params - 1, range);
	}
}

void matrix_make(matrix *m, const matrix_options *opt, noise *r)
{
	aqz_view *v = &m->view;
	const unsigned n_ranges = opt->n_ranges != 0 ? opt->n_ranges : 1;
	const spec_range all = {.begin = 0, .end = 0};
	void *stored;
	size_t n_codes;

	*m = (matrix){0};
	*v = (aqz_view){.dtype = AQZ_F32, .rows = opt->rows, .cols = opt->cols, .chunk_rows = 64};
	SURE(aqz_scheme_parse(&v->scheme, opt->scheme, NULL) == AQZ_OK);
	m->code_rows = (opt->rows + v->scheme.out_group - 1) / v->scheme.out_group;
	m->groups = (opt->cols + v->scheme.in_group - 1) / v->scheme.in_group;
	n_codes = (size_t)(m->code_rows * m->groups * v->scheme.n_codebooks);
	m->codes = own(m, n_codes * sizeof *m->codes);
	for (size_t i = 0; i < n_codes; i++)
		m->codes[i] = (uint16_t)(noise_next(r) >> (64 - v->scheme.code_bits));
	m->lines = spec_t64(m->codes, m->code_rows, m->groups, &v->scheme, &m->n_lines_bytes);
	v->refs = m->refs;
	/* Scales of rows may stand anywhere among the references. */
	if (opt->scale_dtype != 0) {
		m->row_scales = values(m, &stored, opt->scale_dtype, (size_t)m->code_rows, r);
		add_param(m, AQZ_KIND_ROW_SCALES, opt->scale_dtype, m->code_rows, 1, stored);
		add_ref(m, AQZ_KIND_ROW_SCALES, 0, &all);
		m->refs[0].row_end = m->code_rows;
	}
	for (unsigned i = 0; i < n_ranges; i++) {
		SURE(64 * i < m->code_rows);
		m->ranges[i].begin = 64 * i;
		m->ranges[i].end = i + 1 == n_ranges ? m->code_rows : 64 * (i + 1);
		add_codebook(m, &m->ranges[i], opt->codebook_dtype[i] != 0 ? opt->codebook_dtype[i] : AQZ_F16, opt, r);
	}
}

void matrix_free(matrix *m)
{
	for (unsigned i = 0; i < m->n_owned; i++)
		free(m->owned[i]);
	free(m->lines);
	*m = (matrix){0};
}

uint8_t *matrix_expect(const matrix *m, aqz_dtype dtype)
{
	const size_t n = (size_t)(m->view.rows * m->view.cols);
	uint8_t *dst = sure_alloc(n * dtype_bytes(dtype));

	spec_decode(dst, dtype, m->codes, m->view.rows, m->view.cols, &m->view.scheme, m->ranges, m->row_scales);
	/* The machine's NaN becomes the format's. */
	for (size_t i = 0; dtype == AQZ_F32 && i < n; i++)
		if ((aqz_get32(dst + 4 * i) & 0x7fffffff) > 0x7f800000)
			aqz_put32(dst + 4 * i, 0x7fc00000);
	return dst;
}

aqz_status matrix_check(const matrix *m, aqz_error *err)
{
	aqz_param_view shapes[MATRIX_PARAMS];

	memcpy(shapes, m->params, sizeof shapes);
	for (uint32_t i = 0; i < MATRIX_PARAMS; i++)
		shapes[i].data = NULL;
	return aqz_codec_additive.check(&m->view, shapes, m->n_params, err);
}

aqz_status matrix_decode(uint8_t *dst, const matrix *m, aqz_dtype dtype, uint32_t chunk_rows, uint64_t begin,
	uint64_t end)
{
	const aqz_codec *c = &aqz_codec_additive;
	const size_t row_bytes = (size_t)m->view.cols * dtype_bytes(dtype);
	const uint64_t step = (uint64_t)chunk_rows * m->view.scheme.out_group;
	aqz_view v = m->view;
	aqz_error err;
	void *decoder;
	aqz_status status = AQZ_OK;

	v.dtype = dtype;
	v.chunk_rows = chunk_rows;
	SURE(c->decoder_create(&decoder, &v, m->params, m->n_params, &err) == AQZ_OK);
	for (uint64_t row = begin; row < end && status == AQZ_OK;) {
		const uint64_t chunk = row / step, chunk_row = chunk * chunk_rows;
		const uint64_t stop = aqz_min(end, (chunk + 1) * step), n = aqz_min(chunk_rows, m->code_rows - chunk_row);
		const size_t at = (size_t)aqz_additive_codes_bytes(&v.scheme, chunk_row, m->groups);
		uint64_t least, most;
		guarded out = guarded_alloc((size_t)(stop - row) * row_bytes);
		guarded scratch = guarded_alloc((size_t)c->scratch_bytes(&v));
		uint8_t *payload;

		c->payload_bounds(&v, aqz_min(step, v.rows - chunk * step), n, AQZ_CODING_T64, &least, &most);
		SURE(least == most && at + most <= m->n_lines_bytes);
		payload = malloc((size_t)most);
		SURE(payload != NULL);
		memcpy(payload, m->lines + at, (size_t)most);
		status = c->decode(decoder, &v, chunk_row, n, AQZ_CODING_T64, payload, (size_t)most, row, stop, out.data,
			scratch.data, &err);
		SURE(guarded_whole(&out) && guarded_whole(&scratch));
		if (status == AQZ_OK)
			memcpy(dst + (row - begin) * row_bytes, out.data, out.n);
		guarded_free(&out);
		guarded_free(&scratch);
		free(payload);
		row = stop;
	}
	c->decoder_free(decoder);
	return status;
}
