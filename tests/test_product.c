/* SPDX-License-Identifier: Apache-2.0 */
/* Products on T64 codes against binary64, within the bounds of codec/product.h, in memory that ends at pages which
 * nobody may touch; every way and variant, with any number of columns and threads. */
#include <check.h>
#include <math.h>

#include "base/float.h"
#include "codec/product.h"
#include "tests/guard_page.h"
#include "tests/matrix.h"

/* Floats between the columns of x and y. */
#define GAP 3

static const aqz_product_way ways[] = {
	AQZ_PRODUCT_DIRECT, AQZ_PRODUCT_TABLES, AQZ_PRODUCT_LUT16, AQZ_PRODUCT_LUT8, AQZ_PRODUCT_AUTO};
#define N_WAYS (sizeof ways / sizeof *ways)

/* Products with one range of a matrix. */
typedef struct range {
	const matrix *m;
	const aqz_scheme *s;
	uint64_t begin, rows, cols; /* begin: code row */
	unsigned n_columns;
	size_t x_ld, y_ld;
	paged values, lines, x, y, first, scratch;
	aqz_tables tables;
	aqz_product_part part;
	double *exact, *terms; /* [n_columns][rows]: without scales; sums of magnitudes */
	double *near;		   /* [n_columns]: sums over tables of the largest entry near each */
} range;

/* Codebooks of a range in binary32, as the decoder has them. */
static paged codebooks_of(const matrix *m, const spec_range *r)
{
	const size_t n = aqz_codewords(&m->view.scheme), d = aqz_codeword(&m->view.scheme);
	const size_t per_book = n / m->view.scheme.n_codebooks;
	paged p = paged_alloc(n * d * sizeof(float));
	float *values = p.data;

	for (size_t i = 0; i < n * d; i++)
		values[i] = r->integers == NULL
			? r->codebook[i]
			: (float)r->integers[i] * r->codebook_scales[i / d / per_book * d + i % d];
	return p;
}

/* x is random, for the caller to change. */
static range range_make(const matrix *m, const spec_range *of, unsigned n_columns, noise *random)
{
	const aqz_scheme *s = &m->view.scheme;
	const size_t line_bytes = (size_t)s->n_codebooks * s->code_bits * 8;
	const uint64_t begin = of->begin * s->out_group;
	range r = {.m = m,
		.s = s,
		.begin = of->begin,
		.rows = aqz_min(of->end * s->out_group, m->view.rows) - begin,
		.cols = m->view.cols,
		.n_columns = n_columns};
	const size_t n_bytes = (size_t)aqz_ceil_div(of->end - of->begin, 64) * m->groups * line_bytes;

	r.x_ld = r.cols + GAP;
	r.y_ld = r.rows + GAP;
	r.values = codebooks_of(m, of);
	r.lines = paged_alloc(n_bytes);
	memcpy(r.lines.data, m->lines + of->begin / 64 * m->groups * line_bytes, n_bytes);
	r.x = paged_alloc(((n_columns - 1) * r.x_ld + r.cols) * sizeof(float));
	for (unsigned t = 0; t < n_columns; t++)
		for (uint64_t i = 0; i < r.cols; i++)
			((float *)r.x.data)[t * r.x_ld + i] =
				(float)(int32_t)(noise_next(random) >> 32) * 0x1p-31f;
	r.y = paged_alloc(((n_columns - 1) * r.y_ld + r.rows) * sizeof(float));
	r.first = paged_alloc(((n_columns - 1) * r.y_ld + r.rows) * sizeof(float));
	r.scratch = paged_alloc((size_t)aqz_product_scratch_bytes(s, r.cols, n_columns));
	ck_assert_uint_eq(aqz_product_scratch_bytes(s, r.cols, n_columns) % 64, 0);
	r.tables = (aqz_tables){.scheme = *s, .dtype = AQZ_F32, .values = r.values.data};
	r.part = (aqz_product_part){.y = r.y.data,
		.y_ld = r.y_ld,
		.lines = r.lines.data,
		.scales = m->row_scales != NULL ? m->row_scales + of->begin : NULL,
		.rows = r.rows};
	return r;
}

static void range_free(range *r)
{
	paged_free(&r->values);
	paged_free(&r->lines);
	paged_free(&r->x);
	paged_free(&r->y);
	paged_free(&r->first);
	paged_free(&r->scratch);
	free(r->exact);
	free(r->terms);
	free(r->near);
}

static size_t y_bytes(const range *r)
{
	return ((r->n_columns - 1) * r->y_ld + r->rows) * sizeof(float);
}

/* The columns from one on. */
static void multiply(
	range *r, unsigned from, unsigned n_columns, unsigned n_threads, const aqz_product_options *opt)
{
	aqz_product_part part = r->part;

	part.y += from * r->y_ld;
	memset(r->scratch.data, 0xff, (size_t)aqz_product_scratch_bytes(r->s, r->cols, n_columns));
	aqz_product(&part, 1, &r->tables, r->cols, (const float *)r->x.data + from * r->x_ld, r->x_ld,
		n_columns, r->scratch.data, n_threads, opt);
}

static float value_of(const range *r, uint64_t row, uint64_t col, unsigned k)
{
	const aqz_scheme *s = r->s;
	const uint64_t i = r->begin + row / s->out_group;
	const size_t code = r->m->codes[(i * r->m->groups + col / s->in_group) * s->n_codebooks + k];

	return r->tables
		.values[((((size_t)k << s->code_bits) + code) * s->out_group + row % s->out_group) * s->in_group +
			col % s->in_group];
}

static double scale_of(const range *r, uint64_t row)
{
	return r->part.scales != NULL ? r->part.scales[row / r->s->out_group] : 1;
}

/* The sum over tables of the largest entry of those that may share a scale with it. */
static double largest_near(const range *r, unsigned t)
{
	const aqz_scheme *s = r->s;
	const size_t n = r->m->groups * s->n_codebooks;
	const float *x = (const float *)r->x.data + t * r->x_ld;
	double *largest = calloc(n, sizeof *largest), sum = 0;

	SURE(largest != NULL);
	for (size_t i = 0; i < n; i++)
		for (size_t c = 0; c >> s->code_bits == 0; c++) {
			double entry = 0;

			for (unsigned g = 0; g < s->in_group; g++) {
				const uint64_t col = i / s->n_codebooks * s->in_group + g;

				if (col < r->cols)
					entry += (double)x[col] *
						r->tables.values[(((i % s->n_codebooks) << s->code_bits) + c) * s->in_group + g];
			}
			largest[i] = fmax(largest[i], fabs(entry));
		}
	for (size_t i = 0; i < n; i++) {
		double most = 0;

		for (size_t k = i < AQZ_LUT_TABLES ? 0 : i - AQZ_LUT_TABLES;
			 k < n && k <= i + AQZ_LUT_TABLES; k++)
			most = fmax(most, largest[k]);
		sum += most;
	}
	free(largest);
	return sum;
}

/* What products are compared with, after x is as it shall be. */
static void make_exact(range *r)
{
	r->exact = calloc(r->n_columns * r->rows, sizeof *r->exact);
	r->terms = calloc(r->n_columns * r->rows, sizeof *r->terms);
	r->near = calloc(r->n_columns, sizeof *r->near);
	SURE(r->exact != NULL && r->terms != NULL && r->near != NULL);
	for (uint64_t row = 0; row < r->rows; row++)
		for (uint64_t col = 0; col < r->cols; col++)
			for (unsigned k = 0; k < r->s->n_codebooks; k++) {
				const double value = value_of(r, row, col, k);

				for (unsigned t = 0; t < r->n_columns; t++) {
					const double term = value * ((const float *)r->x.data)[t * r->x_ld + col];

					r->exact[t * r->rows + row] += term;
					r->terms[t * r->rows + row] += fabs(term);
				}
			}
	for (unsigned t = 0; t < r->n_columns && r->s->out_group == 1 && r->s->code_bits <= 8; t++)
		r->near[t] = largest_near(r, t);
}

/* Each element of a column against the exact one. lut: NULL for binary32. */
static void check_column(const range *r, unsigned t, const aqz_product_lut *lut, const char *what)
{
	const double u = 0x1p-24 * ((double)r->m->groups * r->s->n_codebooks + r->s->in_group + 4);
	const double coarse = lut != NULL ? r->near[t] / (2 * lut->most) * (1 + 0x1p-8) : 0;
	const float *y = (const float *)r->y.data + t * r->y_ld;

	for (uint64_t row = 0; row < r->rows; row++) {
		const double due = r->exact[t * r->rows + row] * scale_of(r, row);

		ck_assert_msg(fabs(due - y[row]) <=
				fabs(scale_of(r, row)) * (u * r->terms[t * r->rows + row] + coarse) + 0x1p-149,
			"%s: column %u, row %llu: %.9g, not %.9g", what, t, (unsigned long long)row,
			(double)y[row], due);
	}
}

static const char *name_of(const aqz_product_kernels *k, aqz_product_way way, const range *r)
{
	static const char *const names[] = {"auto", "LUT16", "LUT8", "tables", "direct"};
	static char text[80];

	snprintf(text, sizeof text, "%s %s %ux%ug%uo%u %u columns", k->name, names[way],
		r->s->n_codebooks, r->s->code_bits, r->s->in_group, r->s->out_group, r->n_columns);
	return text;
}

/* By each variant and way, on one thread and several. */
static void check_range(range *r)
{
	const size_t n = y_bytes(r);
	const aqz_product_kernels *k;

	for (unsigned i = 0; (k = aqz_product_kernels_get(i)) != NULL; i++)
		for (unsigned w = 0; w < N_WAYS; w++) {
			const aqz_product_options opt = {k, ways[w]};
			const aqz_product_way way = aqz_product_way_of(r->s, r->rows, &opt);
			const aqz_product_lut *lut = way == AQZ_PRODUCT_LUT16 ? &k->lut16
				: way == AQZ_PRODUCT_LUT8						  ? &k->lut8
																  : NULL;

			ck_assert(ways[w] != AQZ_PRODUCT_AUTO || way != AQZ_PRODUCT_LUT8);
			if (ways[w] != AQZ_PRODUCT_AUTO && way != ways[w])
				continue;
			memset(r->y.data, 0xff, n);
			memset(r->first.data, 0xff, n);
			multiply(r, 0, r->n_columns, 1, &opt);
			for (unsigned t = 0; t < r->n_columns; t++)
				check_column(r, t, lut, name_of(k, way, r));
			for (unsigned t = 0; t < r->n_columns; t++)
				memcpy((float *)r->first.data + t * r->y_ld, (float *)r->y.data + t * r->y_ld,
					r->rows * sizeof(float));
			ck_assert_msg(memcmp(r->first.data, r->y.data, n) == 0, "%s: written between columns",
				name_of(k, way, r));
			multiply(r, 0, r->n_columns, w % 2 == 0 ? 3 : 6, &opt);
			ck_assert_msg(
				memcmp(r->first.data, r->y.data, n) == 0, "%s: threads count", name_of(k, way, r));
		}
}

static void check(const matrix_options *opt, unsigned n_columns, uint64_t seed)
{
	noise random = {seed};
	matrix m;

	matrix_make(&m, opt, &random);
	for (unsigned i = 0; i < (opt->n_ranges != 0 ? opt->n_ranges : 1); i++) {
		range r = range_make(&m, &m.ranges[i], n_columns, &random);

		make_exact(&r);
		check_range(&r);
		range_free(&r);
	}
	matrix_free(&m);
}

/* Each way for each number of bits. */
START_TEST(every_number_of_bits)
{
	char scheme[24];

	for (unsigned bits = 1; bits <= 16; bits++)
		for (unsigned n_codebooks = 1; n_codebooks <= 2; n_codebooks++) {
			const matrix_options opt = {
				.scheme = scheme, .rows = 130, .cols = 21, .scale_dtype = AQZ_F16};

			snprintf(scheme, sizeof scheme, "%ux%ug8", n_codebooks, bits);
			check(&opt, 1 + bits % 3, 100 + bits);
		}
}
END_TEST

START_TEST(many_schemes)
{
	static const matrix_options all[] = {
		{.scheme = "2x8g8", .rows = 300, .cols = 576, .scale_dtype = AQZ_F32},
		{.scheme = "2x8g8", .rows = 63, .cols = 40},
		{.scheme = "2x8g8", .rows = 192, .cols = 8},
		{.scheme = "1x8g8", .rows = 257, .cols = 339, .scale_dtype = AQZ_F16},
		{.scheme = "8x8g8", .rows = 256, .cols = 1103, .scale_dtype = AQZ_F16}, /* more than one panel */
		{.scheme = "3x8g8", .rows = 129, .cols = 400, .scale_dtype = AQZ_BF16},
		{.scheme = "5x8g8", .rows = 70, .cols = 211, .scale_dtype = AQZ_F32},
		{.scheme = "7x8g4", .rows = 70, .cols = 90, .scale_dtype = AQZ_F32},
		{.scheme = "3x5g4", .rows = 129, .cols = 30, .scale_dtype = AQZ_BF16},
		{.scheme = "4x8g16", .rows = 257, .cols = 100, .scale_dtype = AQZ_F16},
		{.scheme = "2x10g16", .rows = 70, .cols = 33, .scale_dtype = AQZ_F16},
		{.scheme = "5x9g4", .rows = 70, .cols = 33, .scale_dtype = AQZ_F16},
		{.scheme = "2x8g8", .rows = 260, .cols = 64, .codebook_dtype = {AQZ_I8}, .scale_dtype = AQZ_F16},
		{.scheme = "2x9g8", .rows = 90, .cols = 64, .codebook_dtype = {AQZ_I8}, .scale_dtype = AQZ_F16},
		{.scheme = "2x8g8o2", .rows = 301, .cols = 61, .scale_dtype = AQZ_F16},
		{.scheme = "1x7g4o16", .rows = 2055, .cols = 13, .scale_dtype = AQZ_F16},
		{.scheme = "6x3g3o5", .rows = 333, .cols = 20, .scale_dtype = AQZ_F32},
		{.scheme = "8x8g32", .rows = 130, .cols = 200, .scale_dtype = AQZ_F32},
		{.scheme = "1x8g64", .rows = 280, .cols = 130, .scale_dtype = AQZ_F32},
		{.scheme = "1x12g8", .rows = 100, .cols = 300, .scale_dtype = AQZ_F16},
		{.scheme = "2x4g1", .rows = 64, .cols = 70, .scale_dtype = AQZ_F16},
		{.scheme = "1x1g7", .rows = 1, .cols = 1},
		{.scheme = "2x8g8",
			.rows = 300,
			.cols = 100,
			.n_ranges = 3,
			.codebook_dtype = {AQZ_F32, AQZ_I8, AQZ_BF16},
			.scale_dtype = AQZ_F16},
		{.scheme = "2x6g8o2", .rows = 300, .cols = 100, .n_ranges = 2, .scale_dtype = AQZ_F16},
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		check(&all[i], 1 + (unsigned)(i * 3) % 2, 7 + i);
}
END_TEST

/* Codebooks in binary16: rows enough that the conversion pays, and codebooks that binary16 does not hold. */
START_TEST(sixteen_bits)
{
	static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_BF16};

	for (unsigned i = 0; i < 2; i++) {
		const matrix_options opt = {
			.scheme = "1x16g8", .rows = 1100, .cols = 2045, .codebook_dtype = {dtypes[i]}};

		check(&opt, 1, 70 + i);
	}
}
END_TEST

/* The result of a column is that of the column alone, and integer look-ups give the bits of the plain ones with entries
 * of the same size, for 1 to 8 columns. */
START_TEST(columns_together)
{
	static const char *const schemes[] = {
		"2x8g8", "3x6g8", "8x8g8", "1x8g16", "1x12g8", "2x8g8o2", "1x16g8", "3x8g4"};
	const aqz_product_kernels *k;

	for (unsigned i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		const matrix_options opt = {
			.scheme = schemes[i], .rows = 200, .cols = 400 + i, .scale_dtype = AQZ_F16};
		noise random = {1 + i};
		matrix m;
		range r;

		matrix_make(&m, &opt, &random);
		r = range_make(&m, &m.ranges[0], 8, &random);
		for (unsigned v = 0; (k = aqz_product_kernels_get(v)) != NULL; v++)
			for (unsigned w = 0; w < N_WAYS; w++) {
				const aqz_product_options opt_k = {k, ways[w]};
				const aqz_product_way way = aqz_product_way_of(r.s, r.rows, &opt_k);

				if (way != ways[w])
					continue;
				if (v > 0 && (way == AQZ_PRODUCT_LUT16 || way == AQZ_PRODUCT_LUT8)) {
					aqz_product_kernels plain = *aqz_product_kernels_get(0);

					plain.lut16.most = k->lut16.most;
					plain.lut16.unit = k->lut16.unit;
					plain.lut8.most = k->lut8.most;
					plain.lut8.unit = k->lut8.unit;
					multiply(&r, 0, 8, 1, &(aqz_product_options){&plain, way});
				} else {
					for (unsigned t = 0; t < 8; t++)
						multiply(&r, t, 1, 1, &opt_k);
				}
				memcpy(r.first.data, r.y.data, y_bytes(&r));
				for (unsigned n = 8; n > 1; n = n * 2 / 3) {
					memset(r.y.data, 0xff, y_bytes(&r));
					for (unsigned t = 0; t < 8; t += n)
						multiply(&r, t, 8 - t < n ? 8 - t : n, 1 + n % 2, &opt_k);
					for (unsigned t = 0; t < 8; t++)
						ck_assert_msg(memcmp((float *)r.first.data + t * r.y_ld,
										  (float *)r.y.data + t * r.y_ld, r.rows * sizeof(float)) == 0,
							"%s: %u at a time, column %u", name_of(k, way, &r), n, t);
				}
			}
		range_free(&r);
		matrix_free(&m);
	}
}
END_TEST

/* Columns that integers are not for: as they are directly, with the others as they are without them. */
START_TEST(hard_columns)
{
	static const float hard[] = {0, 0x1p-149f, 0x1.8p-60f, 0x1p100f, INFINITY, -INFINITY, NAN};
	const matrix_options opt = {.scheme = "2x8g8", .rows = 200, .cols = 333, .scale_dtype = AQZ_F16};
	noise random = {3};
	matrix m;
	range r;
	const aqz_product_kernels *k;

	matrix_make(&m, &opt, &random);
	r = range_make(&m, &m.ranges[0], 8, &random);
	for (unsigned i = 0; i < sizeof hard / sizeof *hard; i++) {
		float *x = (float *)r.x.data + (i + 1) * r.x_ld;

		/* Columns 1 to 7: all of it, or one element. */
		if (fabsf(hard[i]) < 1)
			for (uint64_t j = 0; j < r.cols; j++)
				x[j] *= hard[i];
		else
			x[100] = hard[i];
	}
	make_exact(&r);
	for (unsigned v = 0; (k = aqz_product_kernels_get(v)) != NULL; v++) {
		const aqz_product_options direct = {k, AQZ_PRODUCT_DIRECT};
		const aqz_product_options lut = {k, AQZ_PRODUCT_LUT16};

		memset(r.y.data, 0xff, y_bytes(&r));
		multiply(&r, 0, 8, 2, &direct);
		memcpy(r.first.data, r.y.data, y_bytes(&r));
		memset(r.y.data, 0xff, y_bytes(&r));
		multiply(&r, 0, 8, 2, &lut);
		check_column(&r, 0, &k->lut16, name_of(k, AQZ_PRODUCT_LUT16, &r));
		for (unsigned t = 1; t < 8; t++)
			for (uint64_t i = 0; i < r.rows; i++) {
				const float is = ((float *)r.y.data)[t * r.y_ld + i];
				const float due = ((float *)r.first.data)[t * r.y_ld + i];

				ck_assert_msg(is == due || (isnan(is) && isnan(due)), "%s: column %u, row %llu",
					k->name, t, (unsigned long long)i);
				ck_assert(t < 5 ? isfinite(is) : !isfinite(is));
			}
	}
	range_free(&r);
	matrix_free(&m);
}
END_TEST

/* Over rows, look-ups in integers are nearer to the exact product than one with W and x in bf16 is, whatever x is
 * like. */
START_TEST(nearer_than_bf16)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "3x7g8", "8x8g8", "4x8g16"};
	const aqz_product_kernels *k;

	for (unsigned i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		const matrix_options opt = {.scheme = schemes[i], .rows = 200, .cols = 515};
		noise random = {50 + i};
		matrix m;
		range r;

		matrix_make(&m, &opt, &random);
		r = range_make(&m, &m.ranges[0], 4, &random);
		for (uint64_t j = 0; j < r.cols; j++) {
			float *x = (float *)r.x.data + j;

			/* Columns 1 to 3: outliers of 1000 and 30 times, ever smaller values. */
			x[r.x_ld] *= j == 100 ? 1000 : 1;
			x[2 * r.x_ld] *= j % 97 == 5 ? 30 : 1;
			x[3 * r.x_ld] *= exp2f(-(float)j / 100);
		}
		for (unsigned v = 0; (k = aqz_product_kernels_get(v)) != NULL; v++) {
			const aqz_product_options lut = {k, AQZ_PRODUCT_LUT16};

			multiply(&r, 0, 4, 1, &lut);
			for (unsigned t = 0; t < 4; t++) {
				const float *x = (const float *)r.x.data + t * r.x_ld;
				double ours = 0, theirs = 0;

				for (uint64_t row = 0; row < r.rows; row++) {
					double exact = 0, rounded = 0;

					for (uint64_t col = 0; col < r.cols; col++) {
						float w = 0;

						for (unsigned b = 0; b < r.s->n_codebooks; b++)
							w += value_of(&r, row, col, b);
						exact += (double)w * x[col];
						rounded += (double)aqz_bf16_to_f32(aqz_f32_to_bf16(w)) *
							aqz_bf16_to_f32(aqz_f32_to_bf16(x[col]));
					}
					ours += pow(((float *)r.y.data)[t * r.y_ld + row] - exact, 2);
					theirs += pow(rounded - exact, 2);
				}
				/* Less than half of it. */
				ck_assert_msg(4 * ours <= theirs, "%s, column %u: error %.3g, of %.3g in bf16",
					name_of(k, AQZ_PRODUCT_LUT16, &r), t, sqrt(ours), sqrt(theirs));
			}
		}
		range_free(&r);
		matrix_free(&m);
	}
}
END_TEST

/* Matrices of the same codebooks at a time: as each alone, by the same way. */
START_TEST(parts_together)
{
	const matrix_options opt = {.scheme = "2x8g8", .rows = 700, .cols = 600, .scale_dtype = AQZ_F16};
	noise random = {5};
	matrix m;

	matrix_make(&m, &opt, &random);
	const size_t block = m.groups * m.view.scheme.n_codebooks * m.view.scheme.code_bits * 8;
	range r = range_make(&m, &m.ranges[0], 2, &random);
	float *y = r.first.data;
	const aqz_product_part parts[] = {{y, r.y_ld, m.lines, m.row_scales, 320},
		{y + 320, r.y_ld, m.lines + 5 * block, m.row_scales + 320, 64},
		{y + 384, r.y_ld, m.lines + 6 * block, m.row_scales + 384, 316}};

	for (unsigned w = 0; w < N_WAYS; w++) {
		const aqz_product_options opt_w = {NULL, ways[w]};

		memset(r.y.data, 0xff, y_bytes(&r));
		multiply(&r, 0, 2, 1, &opt_w);
		for (unsigned n = 1; n <= 4; n++) {
			memset(r.first.data, 0xff, y_bytes(&r));
			aqz_product(parts, 3, &r.tables, 600, r.x.data, r.x_ld, 2, r.scratch.data, n, &opt_w);
			ck_assert_mem_eq(r.first.data, r.y.data, y_bytes(&r));
		}
	}
	range_free(&r);
	matrix_free(&m);
}
END_TEST

START_TEST(memory_is_bounded)
{
	aqz_scheme s;
	char name[AQZ_SCHEME_TEXT_BYTES];

	for (unsigned m = 1; m <= 8; m++)
		for (unsigned bits = 1; bits <= 16; bits++)
			for (unsigned in_group = 1; in_group <= 64; in_group *= 2)
				for (unsigned n = 1; n <= AQZ_PRODUCT_COLUMNS; n++) {
					snprintf(name, sizeof name, "%ux%ug%u", m, bits, in_group);
					ck_assert_int_eq(aqz_scheme_parse(&s, name, NULL), AQZ_OK);
					ck_assert_uint_le(aqz_product_scratch_bytes(&s, UINT64_C(1) << 40, n), 6 << 20);
				}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("product");
	TCase *t = tcase_create("codes");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, every_number_of_bits);
	tcase_add_test(t, many_schemes);
	tcase_add_test(t, sixteen_bits);
	tcase_add_test(t, columns_together);
	tcase_add_test(t, hard_columns);
	tcase_add_test(t, nearer_than_bf16);
	tcase_add_test(t, parts_together);
	tcase_add_test(t, memory_is_bounded);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
