/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/gpu/gpu_file.h"

#include <check.h>
#include <math.h>

void gpu_file_begin(gpu_file *f, uint64_t chunk_bytes)
{
	const aqz_writer_options opt = {.struct_size = sizeof opt, .id = "gpu", .chunk_bytes = chunk_bytes, .n_threads = 1};

	*f = (gpu_file){0};
	memory_io(&f->io, &f->file);
	ck_assert_int_eq(aqz_writer_open(&f->writer, &f->io, &opt, NULL), AQZ_OK);
}

static aqz_tensor_desc describe(gpu_file *f, char name[16], aqz_dtype dtype, uint64_t rows, uint64_t cols)
{
	aqz_tensor_desc d = {.struct_size = sizeof d, .dtype = dtype, .rank = 2, .shape = {rows, cols}};

	snprintf(name, 16, "t%u", f->n++);
	d.name = name;
	d.name_bytes = strlen(name);
	return d;
}

uint32_t gpu_file_add(gpu_file *f, const matrix *m, aqz_dtype dtype)
{
	char name[16];
	aqz_tensor_desc d = describe(f, name, dtype, m->view.rows, m->view.cols);
	aqz_ref refs[3 * MATRIX_RANGES];
	uint32_t section;

	for (uint32_t i = 0; i < m->view.n_refs; i++) {
		refs[i] = m->view.refs[i];
		for (uint32_t k = 0; k < refs[i].count; k++) {
			const aqz_param_view *p = &m->params[m->view.refs[i].first - 100 + k];
			uint32_t number;

			ck_assert_int_eq(
				aqz_writer_param(f->writer, &number, p->kind, p->dtype, p->rows, p->cols, p->data, NULL), AQZ_OK);
			refs[i].first = k == 0 ? number : refs[i].first;
		}
	}
	d.scheme = m->view.scheme;
	d.refs = refs;
	d.n_refs = m->view.n_refs;
	ck_assert_int_eq(aqz_writer_tensor(f->writer, &section, &d, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(f->writer, m->lines, m->n_lines_bytes, NULL), AQZ_OK);
	return section;
}

uint32_t gpu_file_add_trellis(gpu_file *f, trellis_case *c, aqz_dtype dtype)
{
	char name[16];
	const aqz_tensor_desc d = describe(f, name, dtype, c->p.rows, c->p.cols);

	ck_assert_int_eq(
		aqz_writer_trellis(f->writer, &d, &c->p, c->index, (uint32_t)c->chunk_rows, NULL), AQZ_OK);
	return UINT32_MAX; /* found by its name */
}

void gpu_file_end(gpu_file *f)
{
	ck_assert_int_eq(aqz_writer_finish(f->writer, NULL, NULL), AQZ_OK);
	aqz_writer_close(f->writer);
	f->writer = NULL;
	ck_assert_int_eq(aqz_reader_open(&f->reader, &f->io, NULL, NULL), AQZ_OK);
}

void gpu_file_free(gpu_file *f)
{
	aqz_reader_close(f->reader);
	memory_free(&f->file);
}

aqz_additive gpu_additive(const matrix *m)
{
	aqz_additive a = {.scheme = m->view.scheme, .rows = m->view.rows, .cols = m->view.cols, .code_rows = m->code_rows,
		.groups = m->groups, .codes = m->lines, .codes_bytes = m->n_lines_bytes};

	for (uint32_t i = 0; i < m->n_params; i++) {
		const aqz_param_view *p = &m->params[i];

		if (p->kind == AQZ_KIND_CODEBOOK) {
			a.codebook_dtype = p->dtype;
			a.codebooks = (void *)p->data;
		} else if (p->kind == AQZ_KIND_CODEBOOK_SCALES) {
			a.codebook_scales = (float *)p->data;
		} else {
			a.scale_dtype = p->dtype;
			a.scales = (void *)p->data;
		}
	}
	return a;
}

static double value(const spec_range *range, size_t word, size_t m, size_t dim, size_t dims)
{
	return range->integers != NULL
		? (double)range->integers[word * dims + dim] * (double)range->codebook_scales[m * dims + dim]
		: (double)range->codebook[word * dims + dim];
}

void gpu_expect(double *y, double *terms, const matrix *m, const float *x)
{
	const aqz_scheme *s = &m->view.scheme;
	const size_t dims = (size_t)s->in_group * s->out_group, n_books = s->n_codebooks;

	for (uint64_t row = 0; row < m->view.rows; row++) {
		const uint64_t code_row = row / s->out_group;
		const double scale = m->row_scales != NULL ? (double)m->row_scales[code_row] : 1;
		const spec_range *range = m->ranges;

		while (code_row >= range->end)
			range++;
		y[row] = terms[row] = 0;
		for (uint64_t col = 0; col < m->view.cols; col++) {
			const uint64_t group = col / s->in_group;
			const size_t dim = (size_t)(row % s->out_group * s->in_group + col % s->in_group);

			for (size_t k = 0; k < n_books; k++) {
				const size_t code = m->codes[(code_row * m->groups + group) * n_books + k];
				const double v = value(range, (k << s->code_bits) + code, k, dim, dims) * scale * (double)x[col];

				y[row] += v;
				terms[row] += fabs(v);
			}
		}
	}
}

void gpu_inputs(void *stored, float *wide, aqz_dtype dtype, size_t n, noise *r)
{
	for (size_t i = 0; i < n; i++)
		wide[i] = (float)(int32_t)(noise_next(r) >> 32) / 0x1p30f;
	ck_assert_int_eq(aqz_convert(stored, dtype, wide, AQZ_F32, n, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_convert(wide, AQZ_F32, stored, dtype, n, NULL), AQZ_OK);
}

void *gpu_put(const void *host, size_t n_bytes)
{
	void *p;

	ck_assert_int_eq(aqz_gpu_memory(&p, gpu, n_bytes, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_gpu_copy_in(gpu, p, host, n_bytes, NULL, NULL), AQZ_OK);
	return p;
}

void gpu_fetch(void *host, const void *device, size_t n_bytes)
{
	aqz_error err = {0};

	ck_assert_msg(aqz_gpu_copy_out(gpu, host, device, n_bytes, NULL, &err) == AQZ_OK, "%s", err.text);
}
