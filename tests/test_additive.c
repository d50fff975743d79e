/* SPDX-License-Identifier: Apache-2.0 */
/* The additive codec's codes and arithmetic, spec 7.2.2 and 7.2.4, against the letter of the spec;
 * test_additive_bad.c has what must be refused. */
#include <check.h>
#include <math.h>

#include "tests/matrix.h"

static const aqz_dtype results[] = {AQZ_F32, AQZ_F16, AQZ_BF16};

/* ---- T64 */

START_TEST(lines_are_those_of_the_spec)
{
	noise r = {64};

	for (uint8_t bits = 1; bits <= 16; bits++)
		for (uint8_t m = 1; m <= 8; m++) {
			enum { ROWS = 100, GROUPS = 3 };
			const aqz_scheme s = {AQZ_CODEC_ADDITIVE, m, bits, 8, 1};
			const size_t line = 8u * bits;
			uint16_t codes[ROWS * GROUPS * 8];
			uint8_t *due, got[128];
			size_t n_bytes;

			for (size_t i = 0; i < ROWS * GROUPS * 8; i++)
				codes[i] = (uint16_t)(noise_next(&r) >> (64 - bits));
			due = spec_t64(codes, ROWS, GROUPS, &s, &n_bytes);
			ck_assert_uint_eq(n_bytes, aqz_additive_codes_bytes(&s, ROWS, GROUPS));
			for (size_t k = 0; k < n_bytes / line; k++) {
				uint16_t column[64] = {0}, again[64];
				const size_t block = k / (GROUPS * m), n_rows = block == 0 ? 64 : ROWS - 64;

				for (size_t i = 0; i < n_rows; i++)
					column[i] = codes[(block * 64 + i) * GROUPS * m + k % (GROUPS * m)];
				aqz_t64_pack(got, column, bits);
				ck_assert_mem_eq(got, due + k * line, line);
				aqz_t64_unpack(again, got, bits);
				ck_assert_mem_eq(again, column, sizeof column);
			}
			ck_assert(aqz_t64_padding_ok(due + n_bytes / 2, GROUPS * m, bits, ROWS - 64));
			free(due);
		}
}
END_TEST

/* Any line unpacks to codes of the right size, and these give the line again. */
START_TEST(any_line_unpacks)
{
	noise r = {46};

	for (unsigned bits = 1; bits <= 16; bits++)
		for (int round = 0; round < 50; round++) {
			/* Just the line, so that a read past its end is seen. */
			uint8_t *line = malloc(8 * bits), *again = malloc(8 * bits);
			uint16_t codes[64];

			SURE(line != NULL && again != NULL);
			noise_fill(&r, line, 8 * bits);
			aqz_t64_unpack(codes, line, bits);
			for (int i = 0; i < 64; i++)
				ck_assert_uint_lt(codes[i], 1u << bits);
			aqz_t64_pack(again, codes, bits);
			ck_assert_mem_eq(again, line, 8 * bits);
			free(line);
			free(again);
		}
}
END_TEST

START_TEST(padding_is_seen_in_every_bit)
{
	for (unsigned bits = 1; bits <= 16; bits++)
		for (unsigned bit = 0; bit < 64 * bits; bit++) {
			uint8_t lines[3 * 128] = {0};
			uint16_t codes[64];
			unsigned row = 0;

			lines[(bit % 3) * 8 * bits + bit / 8] = (uint8_t)(1u << bit % 8);
			aqz_t64_unpack(codes, lines + (bit % 3) * 8 * bits, bits);
			while (codes[row] == 0)
				row++;
			ck_assert(aqz_t64_padding_ok(lines, 3, bits, row + 1));
			ck_assert(!aqz_t64_padding_ok(lines, 3, bits, row));
			ck_assert(!aqz_t64_padding_ok(lines, 3, bits, 0));
			ck_assert(aqz_t64_padding_ok(lines, bit % 3, bits, 0));
			ck_assert(aqz_t64_padding_ok(lines, 3, bits, 64));
		}
}
END_TEST

START_TEST(lines_of_the_examples)
{
	static const uint16_t twelve[64] = {0xabc, 0x123, 0xfff, 0x004, 0x800}, three[64] = {5, 1, 7, 2};
	static const uint8_t low[6] = {0xbc, 0x23, 0xff, 0x04}, high[4] = {0x1a, 0x0f, 0x08};
	const aqz_scheme most = {AQZ_CODEC_ADDITIVE, 8, 16, 64, 1}, s = {AQZ_CODEC_ADDITIVE, 2, 8, 8, 1};
	uint8_t line[128];

	aqz_t64_pack(line, twelve, 12);
	ck_assert_mem_eq(line, low, 6);
	ck_assert_mem_eq(line + 64, high, 4);
	aqz_t64_pack(line, three, 3);
	ck_assert_uint_eq(line[0], 0xcd);
	ck_assert_uint_eq(line[1], 0x05);
	/* A layer 576 wide costs exactly its bits. */
	ck_assert_uint_eq(aqz_additive_codes_bytes(&s, 576, 72), 576 * 576 * 2 / 8);
	ck_assert_uint_eq(aqz_additive_codes_bytes(&most, UINT64_MAX, UINT64_MAX), 0);
	ck_assert_uint_eq(aqz_additive_codes_bytes(&most, UINT64_C(1) << 40, UINT64_C(1) << 30), 0);
	ck_assert_uint_eq(aqz_additive_codes_bytes(&most, 1, UINT64_C(1) << 50), UINT64_C(1) << 60);
}
END_TEST

/* ---- Whole matrices and their rows */

/* The public call, for a matrix with scales and codebooks in one piece. */
static void decode_api(guarded *dst, const matrix *m, aqz_dtype dtype, uint64_t begin, uint64_t end)
{
	const bool integers = m->params[1].dtype == AQZ_I8;
	const aqz_additive a = {
		.scheme = m->view.scheme,
		.rows = m->view.rows,
		.cols = m->view.cols,
		.code_rows = m->code_rows,
		.groups = m->groups,
		.codes = m->lines,
		.codes_bytes = m->n_lines_bytes,
		.codebook_dtype = m->params[1].dtype,
		.codebooks = (void *)(uintptr_t)m->params[1].data,
		.codebook_scales = integers ? (float *)(uintptr_t)m->ranges[0].codebook_scales : NULL,
		.scale_dtype = m->params[0].dtype,
		.scales = (void *)(uintptr_t)m->params[0].data,
	};
	aqz_error err;

	*dst = guarded_alloc((size_t)((end - begin) * m->view.cols) * aqz_dtype_bits(dtype) / 8);
	ck_assert_msg(
		aqz_decode_additive(dst->data, dtype, &a, begin, end, &err) == AQZ_OK, "%s", err.text);
	ck_assert(guarded_whole(dst));
}

static void decodes(const matrix_options *opt, noise *r)
{
	matrix m;
	aqz_error err;

	matrix_make(&m, opt, r);
	ck_assert_msg(matrix_check(&m, &err) == AQZ_OK, "%s: %s: %s", opt->scheme, err.where, err.text);
	for (int k = 0; k < 3; k++) {
		const aqz_dtype dtype = results[k];
		const size_t row = (size_t)m.view.cols * aqz_dtype_bits(dtype) / 8;
		uint8_t *due = matrix_expect(&m, dtype), *got = sure_alloc((size_t)m.view.rows * row);

		for (uint32_t chunk_rows = 64; chunk_rows <= 1024; chunk_rows *= 4) {
			ck_assert_int_eq(matrix_decode(got, &m, dtype, chunk_rows, 0, m.view.rows), AQZ_OK);
			if (memcmp(got, due, (size_t)m.view.rows * row) != 0)
				ck_abort_msg("%s, %lu x %lu, %s differs", opt->scheme, opt->rows, opt->cols,
					aqz_dtype_name(dtype));
		}
		for (int i = 0; i < 6; i++) {
			const uint64_t begin = noise_next(r) % (m.view.rows + 1);
			const uint64_t end = i == 0 ? begin : begin + noise_next(r) % (m.view.rows - begin + 1);
			guarded part;

			ck_assert_int_eq(matrix_decode(got, &m, dtype, 64u << i, begin, end), AQZ_OK);
			if (memcmp(got, due + begin * row, (size_t)(end - begin) * row) != 0)
				ck_abort_msg("%s, rows %lu..%lu of %lu differ", opt->scheme, begin, end, opt->rows);
			if (opt->scale_dtype == 0 || opt->n_ranges > 1 || opt->cuts > 0)
				continue;
			decode_api(&part, &m, dtype, begin, end);
			if (memcmp(part.data, due + begin * row, part.n) != 0)
				ck_abort_msg("%s, rows %lu..%lu differ in the public call", opt->scheme, begin, end);
			guarded_free(&part);
		}
		free(due);
		free(got);
	}
	matrix_free(&m);
}

START_TEST(schemes_and_shapes)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "3x8g8", "8x8g8", "1x1g1", "8x1g1",
		"1x2g64", "2x3g64", "1x4g1o64", "2x5g3o5", "4x4g4", "1x12g8", "3x5g8o2", "8x8g32", "2x9g16",
		"1x10g16", "5x7g7", "1x16g1", "2x16g8", "6x6g2o32", "1x11g5o12", "4x8g16", "2x13g2",
		"1x14g3", "1x15g4", "7x2g8o8"};
	static const uint64_t rows[] = {1, 63, 64, 65, 100, 576}, cols[] = {172, 8, 1, 33, 576, 7, 65};
	static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_F32, AQZ_BF16, AQZ_I8},
						   scales[] = {AQZ_F16, AQZ_F32, AQZ_BF16, 0};
	noise r = {2401};
	unsigned n = 0;

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		for (size_t k = 0; k < 3; k++, n++) {
			/* 576 rows for narrow matrices only, so that the test stays short. */
			const uint64_t c = cols[n % 7], most = c > 100 ? 5 : 6;

			decodes(&(matrix_options){.scheme = schemes[i],
						.rows = rows[(n + k) % most],
						.cols = c,
						.codebook_dtype = {dtypes[(n + i) % 4]},
						.codebook_scale_dtype = scales[n % 3],
						.scale_dtype = scales[(n + k) % 4],
						.cuts = n % 3 == 2 ? 1 + n % 4 : 0},
				&r);
		}
	decodes(
		&(matrix_options){.scheme = "2x8g8", .rows = 576, .cols = 576, .scale_dtype = AQZ_F16}, &r);
}
END_TEST

START_TEST(row_ranges_have_their_own_codebooks)
{
	static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_I8, AQZ_F32, AQZ_BF16, AQZ_I8};
	noise r = {31337};

	for (unsigned i = 0; i < 5; i++)
		for (unsigned n = 2; n <= 3; n++) {
			matrix_options o = {.scheme = "2x4g4",
				.rows = 64 * (n - 1) + 1 + 40 * i,
				.cols = 30,
				.n_ranges = n,
				.scale_dtype = i % 2 == 0 ? AQZ_F32 : 0,
				.cuts = i,
				.codebook_scale_dtype = i % 2 == 0 ? AQZ_F16 : AQZ_BF16};

			for (unsigned k = 0; k < 3; k++)
				o.codebook_dtype[k] = dtypes[(i + k) % 5];
			decodes(&o, &r);
			o.scheme = "3x3g2o3"; /* ranges are of code rows */
			o.rows = 3 * o.rows - i % 3;
			decodes(&o, &r);
		}
}
END_TEST

START_TEST(all_row_ranges_are_parts_of_the_whole)
{
	const matrix_options o = {
		.scheme = "2x3g5o2", .rows = 139, .cols = 11, .n_ranges = 2, .scale_dtype = AQZ_BF16};
	noise r = {11};
	matrix m;
	uint8_t *due, got[139 * 11 * 2];

	matrix_make(&m, &o, &r);
	due = matrix_expect(&m, AQZ_F16);
	for (uint64_t begin = 0; begin <= 139; begin++)
		for (uint64_t end = begin; end <= 139; end += 1 + (begin * 5 + end) % 9) {
			ck_assert_int_eq(matrix_decode(got, &m, AQZ_F16, 64, begin, end), AQZ_OK);
			ck_assert(memcmp(got, due + begin * 22, (size_t)(end - begin) * 22) == 0);
		}
	free(due);
	matrix_free(&m);
}
END_TEST

/* References of the same sections share one table, which must not be mixed up with others. */
START_TEST(ranges_that_share_codebooks)
{
	const matrix_options o = {.scheme = "1x4g4",
		.rows = 192,
		.cols = 20,
		.n_ranges = 3,
		.codebook_dtype = {AQZ_F32, AQZ_I8, AQZ_F32}};
	noise r = {5};
	matrix m;
	uint8_t *due, *got = sure_alloc(192 * 20 * 4);
	aqz_error err;

	matrix_make(&m, &o, &r);
	/* The third range takes the first one's codebook: the same section, once more. */
	m.refs[3].first = m.refs[0].first;
	m.params[3] = m.params[0];
	m.ranges[2].codebook = m.ranges[0].codebook;
	ck_assert_int_eq(matrix_check(&m, &err), AQZ_OK);
	due = matrix_expect(&m, AQZ_F32);
	ck_assert_int_eq(matrix_decode(got, &m, AQZ_F32, 64, 0, 192), AQZ_OK);
	ck_assert_mem_eq(got, due, 192 * 20 * 4);
	free(due);
	free(got);
	matrix_free(&m);
}
END_TEST

/* ---- Arithmetic to the last bit */

/* Values whose sums, products and roundings are hard: ties of the 16-bit formats and their neighbours, subnormals,
 * overflow, zeros with a sign, infinities, NaNs with all kinds of bits. */
static uint32_t hard_value(noise *r)
{
	static const uint32_t odd[] = {0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345,
		0x7f800001, 1, 0x80000001, 0x007fffff, 0x7f7fffff, 0xff7fffff, 0x477fe000, 0x477fefff,
		0x477ff000, 0x33000000, 0x33000001, 0x33800000, 0x387fe000, 0x7f7f8000, 0x7f7f7fff,
		0x3f800000, 0xbf800000, 0x39800000};
	const uint64_t u = noise_next(r);

	switch (u % 4) {
	case 0:
		return odd[u / 4 % (sizeof odd / sizeof *odd)];
	case 1: /* at and beside a tie of F16 */
		return (uint32_t)(((u >> 32 & 0x80000000) | (0x38000000 + (u >> 20 & 0x0fffe000)) | 0x1000) +
			u / 4 % 3 - 1);
	case 2: /* of BF16, any exponent */
		return (uint32_t)(((u >> 32 & 0xffff0000) | 0x8000) + u / 4 % 3 - 1);
	default: /* subnormal in F16 */
		return (uint32_t)((u >> 32 & 0x80000000) | (0x32800000 + (u >> 20 & 0x05ffffff)));
	}
}

START_TEST(hard_values)
{
	static const char *const schemes[] = {"1x16g1", "1x10g8", "2x8g8", "3x6g4o2"};
	noise r = {754};

	for (size_t i = 0; i < 4; i++)
		for (int with_scales = 0; with_scales < 2; with_scales++) {
			const matrix_options o = {.scheme = schemes[i],
				.rows = 100,
				.cols = 200,
				.codebook_dtype = {AQZ_F32},
				.scale_dtype = with_scales ? AQZ_F32 : 0};
			matrix m;
			uint32_t *book, *scales;
			size_t n;

			matrix_make(&m, &o, &r);
			n = aqz_codewords(&m.view.scheme) * aqz_codeword(&m.view.scheme);
			book = (uint32_t *)(uintptr_t)m.params[with_scales].data;
			for (size_t k = 0; k < n; k++)
				book[k] = hard_value(&r);
			memcpy((void *)(uintptr_t)m.ranges[0].codebook, book, 4 * n);
			if (with_scales) {
				scales = (uint32_t *)(uintptr_t)m.params[0].data;
				for (size_t k = 0; k < m.code_rows; k++)
					scales[k] = k % 3 == 0 ? hard_value(&r) : k % 3 == 1 ? 0x3f800000 : 0x3f7fffff;
				memcpy(m.row_scales, scales, 4 * (size_t)m.code_rows);
			}
			for (int k = 0; k < 3; k++) {
				const size_t bytes = results[k] == AQZ_F32 ? 4 : 2;
				uint8_t *due = matrix_expect(&m, results[k]), *got = sure_alloc(100 * 200 * bytes);
				size_t n_nan = 0;

				ck_assert_int_eq(matrix_decode(got, &m, results[k], 128, 0, 100), AQZ_OK);
				for (size_t at = 0; at < 100 * 200 * bytes; at += bytes) {
					const uint32_t a = bytes == 4 ? aqz_get32(got + at) : aqz_get16(got + at);
					const uint32_t b = bytes == 4 ? aqz_get32(due + at) : aqz_get16(due + at);

					n_nan += a == 0x7fc00000 ||
						(bytes == 2 && a == (results[k] == AQZ_F16 ? 0x7e00 : 0x7fc0));
					if (a != b)
						ck_abort_msg(
							"%s to %s: %x, not %x", schemes[i], aqz_dtype_name(results[k]), a, b);
				}
				ck_assert_uint_gt(n_nan, 100);
				free(due);
				free(got);
			}
			matrix_free(&m);
		}
}
END_TEST

/* One element by the given values: the examples of 7.2.4, without the helper's arithmetic. */
static uint32_t one_element(
	const char *scheme, const float *values, const float *scale, aqz_dtype dtype)
{
	aqz_view v = {.dtype = dtype, .rows = 1, .cols = 1, .chunk_rows = 64};
	aqz_ref refs[2] = {{AQZ_KIND_CODEBOOK, 0, 1, 0, 1}, {AQZ_KIND_ROW_SCALES, 1, 1, 0, 1}};
	float book[16] = {0};
	uint8_t payload[64] = {0};
	uint32_t got = 0;
	void *decoder;

	SURE(aqz_scheme_parse(&v.scheme, scheme, NULL) == AQZ_OK && v.scheme.code_bits == 1 &&
		v.scheme.in_group == 1);
	for (unsigned m = 0; m < v.scheme.n_codebooks; m++)
		book[2 * m] = values[m];
	const aqz_param_view params[2] = {
		{AQZ_KIND_CODEBOOK, AQZ_F32, 2u * v.scheme.n_codebooks, 1, book},
		{AQZ_KIND_ROW_SCALES, AQZ_F32, 1, 1, scale}};
	v.refs = refs;
	v.n_refs = scale != NULL ? 2 : 1;
	SURE(aqz_codec_additive.check(&v, params, v.n_refs, NULL) == AQZ_OK);
	SURE(aqz_codec_additive.decoder_create(&decoder, &v, params, v.n_refs, NULL) == AQZ_OK);
	ck_assert_int_eq(aqz_codec_additive.decode(decoder, &v, 0, 1, AQZ_CODING_T64, payload,
						 8u * v.scheme.n_codebooks, 0, 1, &got, NULL, NULL),
		AQZ_OK);
	aqz_codec_additive.decoder_free(decoder);
	return got;
}

START_TEST(examples_of_the_spec)
{
	const float two[] = {1.0f, 0x1p-12f}, three[] = {1.0f, 0x1p-24f, 0x1p-24f}, zero[] = {-0.0f};
	const float back[] = {0x1p-24f, 0x1p-24f, 1.0f}, big[] = {3e38f, 3e38f}, scale = 3.0f,
				none = 0.0f;
	const float half[] = {65504.0f, 15.99f}, over[] = {65504.0f, 16.0f}, small[] = {-0x1p-26f};

	ck_assert_uint_eq(one_element("2x1g1", two, &scale, AQZ_F32), 0x40400c00);
	ck_assert_uint_eq(one_element("2x1g1", two, &scale, AQZ_F16), 0x4200);
	ck_assert_uint_eq(one_element("2x1g1", two, &scale, AQZ_BF16), 0x4040);
	ck_assert_uint_eq(one_element("3x1g1", three, NULL, AQZ_F32), 0x3f800000);
	ck_assert_uint_eq(one_element("3x1g1", back, NULL, AQZ_F32), 0x3f800001);
	ck_assert_uint_eq(one_element("1x1g1", zero, NULL, AQZ_F32), 0x80000000);
	ck_assert_uint_eq(one_element("1x1g1", zero, NULL, AQZ_F16), 0x8000);
	ck_assert_uint_eq(one_element("2x1g1", big, NULL, AQZ_F32), 0x7f800000);
	ck_assert_uint_eq(one_element("2x1g1", big, &none, AQZ_F32), 0x7fc00000);
	ck_assert_uint_eq(one_element("2x1g1", big, &none, AQZ_F16), 0x7e00);
	ck_assert_uint_eq(one_element("2x1g1", half, NULL, AQZ_F16), 0x7bff);
	ck_assert_uint_eq(one_element("2x1g1", over, NULL, AQZ_F16), 0x7c00);
	ck_assert_uint_eq(one_element("1x1g1", small, NULL, AQZ_F16), 0x8000);
}
END_TEST

/* ---- Variants of the kernel, where they must look out: test_kernel_variants has the rest */

/* Values of few bits from 2^low to 2^high, and zeros. */
static void fill_between(float *values, size_t n, int low, int high, noise *r)
{
	for (size_t i = 0; i < n; i++) {
		const uint64_t u = noise_next(r);
		const int e = low + (int)(u % (unsigned)(high - low + 1));

		values[i] = u >> 60 == 0
			? 0.0f
			: ldexpf((u >> 40 & 1 ? 1.0f : -1.0f) * (1 + (float)(u >> 41 & 7) / 8), e);
	}
}

START_TEST(facts_of_a_table)
{
	static const struct {
		int low, high;
		bool finite;
	} tables[] = {
		{-3, 3, true}, {-149, -140, true}, {-126, 0, true}, {100, 124, true}, {120, 127, false}};
	const aqz_scheme s = {AQZ_CODEC_ADDITIVE, 2, 4, 8, 1};
	float values[2 * 16 * 8], *second = values + 16 * 8;
	noise r = {99};

	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (int round = 0; round < 20; round++) {
			aqz_table_facts f;

			fill_between(values, 2 * 16 * 8, tables[i].low, tables[i].high, &r);
			f = aqz_table_look(values, &s);
			ck_assert(f.known);
			ck_assert_int_eq(f.finite, tables[i].finite);
			ck_assert_int_ge(f.least, tables[i].low - 46);
			for (unsigned a = 0; a < 16; a++)
				for (unsigned b = 0; b < 16; b++)
					for (unsigned k = 0; k < 8; k++) {
						const float sum = fabsf(values[a * 8 + k] + second[b * 8 + k]);

						ck_assert(sum == 0 || ldexp(1, f.least) <= (double)sum);
						ck_assert(!f.finite || isfinite(sum));
					}
		}
	fill_between(values, 2 * 16 * 8, 0, 0, &r);
	values[200] = NAN;
	ck_assert(!aqz_table_look(values, &s).finite);
	values[200] = -INFINITY;
	ck_assert(!aqz_table_look(values, &s).finite);
}
END_TEST

/* Products around the least normal number, where one conversion to BF16 would flush them; and scales that are no
 * numbers, in a row that is decoded and in one that is not. */
START_TEST(variants_at_the_edges)
{
	enum { COLS = 100, GROUPS = 13 };
	static const float odd_scales[] = {INFINITY, NAN, 0, 0x1p-149f, 0x1p127f};
	static const int exponents[] = {-126, -120, -103, -102, -101, -100, -90, -50, 0, 100, 127};
	noise r = {4};

	for (unsigned in_group = 8; in_group <= 16; in_group *= 2)
		for (size_t e = 0; e < sizeof exponents / sizeof *exponents; e++) {
			const aqz_scheme s = {AQZ_CODEC_ADDITIVE, 2, 8, (uint8_t)in_group, 1};
			aqz_tables t = {.scheme = s};
			float *values = sure_alloc(aqz_codewords(&s) * in_group * sizeof *values), scales[64];
			uint8_t lines[GROUPS * 2 * 64], *due = sure_alloc(64 * COLS * 4),
											*got = sure_alloc(64 * COLS * 4);

			noise_fill(&r, lines, sizeof lines);
			/* As binary16 values are: multiples of 2^-24. */
			fill_between(values, aqz_codewords(&s) * in_group, -21, 2, &r);
			fill_between(
				scales, 64, exponents[e] - 1 < -126 ? -126 : exponents[e] - 1, exponents[e], &r);
			for (size_t i = 0; e % 2 == 1 && i < sizeof odd_scales / sizeof *odd_scales; i++)
				scales[40 + i] = odd_scales[i];
			t.values = values;
			t.facts = aqz_table_look(values, &s);
			ck_assert(t.facts.finite);
			for (int k = 0; k < 3; k++)
				for (unsigned end = 30; end <= 64; end += 34) {
					aqz_decode_tile_fn *kernel;
					const char *name;

					t.dtype = results[k];
					aqz_decode_block(
						due, aqz_decode_tile_scalar, &t, lines, COLS, 5, end, scales, end == 64);
					for (unsigned v = 0; (kernel = aqz_decode_tile_get(v, &name)) != NULL; v++) {
						memset(got, 0xa5, 64 * COLS * 4);
						aqz_decode_block(got, kernel, &t, lines, COLS, 5, end, scales, end == 64);
						if (memcmp(got, due, (end - 5) * COLS * aqz_dtype_bits(results[k]) / 8) != 0)
							ck_abort_msg("%s, %s, scales near 2^%d: bits differ", name,
								aqz_dtype_name(results[k]), exponents[e]);
					}
				}
			free(values);
			free(due);
			free(got);
		}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("additive");
	TCase *t = tcase_create("codes and arithmetic");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, lines_are_those_of_the_spec);
	tcase_add_test(t, any_line_unpacks);
	tcase_add_test(t, padding_is_seen_in_every_bit);
	tcase_add_test(t, lines_of_the_examples);
	tcase_add_test(t, schemes_and_shapes);
	tcase_add_test(t, row_ranges_have_their_own_codebooks);
	tcase_add_test(t, all_row_ranges_are_parts_of_the_whole);
	tcase_add_test(t, ranges_that_share_codebooks);
	tcase_add_test(t, hard_values);
	tcase_add_test(t, examples_of_the_spec);
	tcase_add_test(t, facts_of_a_table);
	tcase_add_test(t, variants_at_the_edges);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
