/* SPDX-License-Identifier: Apache-2.0 */
/* What the additive codec refuses, and with which status: parameters, references, payloads, arguments. Spec 7.2. */
#include <check.h>

#include "tests/matrix.h"

START_TEST(parameters)
{
	static const uint8_t good[AQZ_CODEC_PARAMS_BYTES] = {2, 8, 8, 1};
	static const unsigned most[4] = {8, 16, 64, 8}; /* O: 8 * 8 = 64 */
	uint8_t p[AQZ_CODEC_PARAMS_BYTES], back[AQZ_CODEC_PARAMS_BYTES];
	aqz_scheme s;
	aqz_error err;

	for (unsigned i = 0; i < AQZ_CODEC_PARAMS_BYTES; i++)
		for (unsigned v = 0; v < 256; v++) {
			aqz_status due = AQZ_OK;

			memcpy(p, good, sizeof p);
			p[i] = (uint8_t)v;
			if (i < 4 && (v == 0 || v > most[i]))
				due = AQZ_E_CORRUPT;
			if (i >= 4 && v != 0)
				due = AQZ_E_UNSUPPORTED;
			ck_assert_int_eq(aqz_codec_additive.params_read(&s, p, &err), due);
			if (due != AQZ_OK)
				continue;
			ck_assert_int_eq(s.codec, AQZ_CODEC_ADDITIVE);
			memset(back, 0xff, sizeof back);
			aqz_codec_additive.params_write(back, &s);
			ck_assert_mem_eq(back, p, sizeof p);
		}
	for (unsigned g = 0; g < 256; g++)
		for (unsigned o = 0; o < 256; o++) {
			p[0] = 1, p[1] = 1, p[2] = (uint8_t)g, p[3] = (uint8_t)o;
			memset(p + 4, 0, 4);
			ck_assert_int_eq(aqz_codec_additive.params_read(&s, p, &err),
				g >= 1 && o >= 1 && g * o <= 64 ? AQZ_OK : AQZ_E_CORRUPT);
		}
	for (unsigned coding = 0; coding < 65536; coding++)
		ck_assert(aqz_codec_additive.coding_ok((uint16_t)coding) == (coding == 16));
}
END_TEST

/* ---- References: each case changes one thing of a sound section of three row ranges
 *
 *	refs    0 row scales   1 codebook I8   2 its scales   3 codebook F16   4 codebook I8   5 its scales
 *	params  0              1, 2            3              4, 5             6, 7            8 */

#define CASES(X) \
	X(0, OK, "", (void)0) \
	X(1, CORRUPT, "params", v->scheme.code_bits = 17) \
	X(2, CORRUPT, "params", v->scheme.n_codebooks = 0) \
	X(3, CORRUPT, "params", v->scheme.codec = AQZ_CODEC_LOSSLESS) \
	X(4, UNSUPPORTED, "dtype", v->dtype = AQZ_F64) \
	X(5, UNSUPPORTED, "dtype", v->dtype = AQZ_I8) \
	X(6, UNSUPPORTED, "dtype", v->dtype = (aqz_dtype)0) \
	X(7, CORRUPT, "shape", v->rows = 0) \
	X(8, CORRUPT, "shape", v->cols = 0) \
	X(9, CORRUPT, "shape", v->cols = UINT64_MAX) \
	X(10, CORRUPT, "shape", v->cols = UINT64_C(1) << 62) \
	X(11, CORRUPT, "shape", (v->rows = UINT64_MAX, v->cols = UINT64_MAX)) \
	X(12, UNSUPPORTED, "refs", r[0].kind = AQZ_KIND_SIGNS) \
	X(13, UNSUPPORTED, "refs", r[5].kind = AQZ_KIND_GROUP_SCALES) \
	X(14, UNSUPPORTED, "refs", r[3].kind = (aqz_kind)77) \
	X(15, CORRUPT, "refs", r[0].count = 0) \
	X(16, CORRUPT, "refs", r[4].count = 3) \
	X(17, CORRUPT, "refs", r[4].count = UINT32_MAX) \
	X(18, CORRUPT, "refs", m->n_params--) \
	X(19, CORRUPT, "refs", (v->n_refs = 0)) \
	X(20, CORRUPT, "refs.codebook", (v->n_refs = 0, m->n_params = 0)) \
	X(21, CORRUPT, "refs.codebook", (v->n_refs = 1, m->n_params = 1)) \
	X(22, CORRUPT, "refs.codebook", (v->n_refs = 4, m->n_params = 6)) \
	X(23, CORRUPT, "refs.codebook", r[1].row_begin = 64) \
	X(24, CORRUPT, "refs.codebook", (r[1].row_end = r[2].row_end = 63)) \
	X(25, CORRUPT, "refs.codebook", (r[1].row_end = r[2].row_end = 65, r[3].row_begin = 65)) \
	X(26, CORRUPT, "refs.codebook", r[3].row_begin = 0) \
	X(27, CORRUPT, "refs.codebook", r[3].row_end = 64) \
	X(28, CORRUPT, "refs.codebook", (r[3].row_begin = 128, r[3].row_end = 64)) \
	X(29, CORRUPT, "refs.codebook", (r[4].row_end = r[5].row_end = 129)) \
	X(30, CORRUPT, "refs.codebook", (r[4].row_end = r[5].row_end = 131)) \
	X(31, CORRUPT, "refs.codebook", (r[4].row_end = r[5].row_end = UINT64_MAX)) \
	X(32, CORRUPT, "refs.codebook", p[1].dtype = AQZ_F16) \
	X(33, CORRUPT, "refs.codebook", (p[4].dtype = p[5].dtype = AQZ_F64)) \
	X(34, CORRUPT, "refs.codebook", (p[4].dtype = p[5].dtype = AQZ_U8)) \
	X(35, CORRUPT, "refs.codebook", p[4].cols = 7) \
	X(36, CORRUPT, "refs.codebook", (p[4].cols = 4, p[4].rows *= 2)) \
	X(37, CORRUPT, "refs.codebook", p[4].rows++) \
	X(38, CORRUPT, "refs.codebook", p[5].rows--) \
	X(39, CORRUPT, "refs.codebook", (p[4].rows = UINT64_MAX, p[5].rows = 33)) \
	X(40, CORRUPT, "refs.codebook", p[6].rows = UINT64_MAX) \
	X(41, CORRUPT, "refs.codebook_scales", r[2].row_end = 63) \
	X(42, CORRUPT, "refs.codebook_scales", r[2].row_begin = 1) \
	X(43, CORRUPT, "refs.codebook_scales", (p[4].dtype = p[5].dtype = AQZ_I8)) \
	X(44, CORRUPT, "refs.codebook_scales", (p[1].dtype = p[2].dtype = AQZ_F32)) \
	X(45, CORRUPT, "refs.codebook_scales", (p[6].dtype = p[7].dtype = AQZ_F32)) \
	X(46, CORRUPT, "refs.codebook_scales", (v->n_refs = 5, m->n_params = 8)) \
	X(47, CORRUPT, "refs.codebook_scales", p[3].rows = 1) \
	X(48, CORRUPT, "refs.codebook_scales", p[3].cols = 9) \
	X(49, CORRUPT, "refs.codebook_scales", (p[3].rows = p[3].cols, p[3].cols = 2)) \
	X(50, CORRUPT, "refs.codebook_scales", p[3].dtype = AQZ_I8) \
	X(51, CORRUPT, "refs.codebook_scales", p[8].dtype = AQZ_F64) \
	X(52, CORRUPT, "refs.codebook_scales", r[0].kind = AQZ_KIND_CODEBOOK_SCALES) \
	X(53, CORRUPT, "refs.row_scales", p[0].rows = 129) \
	X(54, CORRUPT, "refs.row_scales", p[0].rows = 131) \
	X(55, CORRUPT, "refs.row_scales", p[0].cols = 2) \
	X(56, CORRUPT, "refs.row_scales", (p[0].rows = 1, p[0].cols = 130)) \
	X(57, CORRUPT, "refs.row_scales", p[0].dtype = AQZ_I8) \
	X(58, CORRUPT, "refs.row_scales", p[0].dtype = AQZ_F64) \
	X(59, CORRUPT, "refs.row_scales", r[0].row_begin = 64) \
	X(60, CORRUPT, "refs.row_scales", r[0].row_end = 129) \
	X(61, CORRUPT, "refs.row_scales", (r[6] = r[0], p[9] = p[0], v->n_refs++, m->n_params++)) \
	X(62, OK, "", (p[0].dtype = AQZ_F32, p[3].dtype = AQZ_F16, p[8].dtype = AQZ_BF16)) \
	X(63, OK, "", (p[4].rows = 0, p[5].rows = 2 << 4)) \
	X(64, CORRUPT, "refs.codebook", (v->scheme.code_bits = 5)) \
	X(65, CORRUPT, "refs.codebook", (v->scheme.out_group = 2, p[0].rows = r[0].row_end = 65))

START_TEST(references)
{
#define CASE(number, status, where, change) {#change, where, AQZ_STATUS_##status},
#define AQZ_STATUS_OK AQZ_OK
#define AQZ_STATUS_CORRUPT AQZ_E_CORRUPT
#define AQZ_STATUS_UNSUPPORTED AQZ_E_UNSUPPORTED
	static const struct {
		const char *change, *where;
		aqz_status due;
	} cases[] = {CASES(CASE)};
	const matrix_options o = {.scheme = "2x4g8", .rows = 130, .cols = 24, .n_ranges = 3, .cuts = 1,
		.codebook_dtype = {AQZ_I8, AQZ_F16, AQZ_I8}, .scale_dtype = AQZ_F16};
	noise random = {3};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		matrix whole, *m = &whole;
		aqz_view *v = &m->view;
		aqz_ref *r = m->refs;
		aqz_param_view *p = m->params;
		aqz_error err = {0};
		aqz_status status;

		matrix_make(m, &o, &random);
		SURE(v->n_refs == 6 && m->n_params == 9);
		switch (i) {
#define CHANGE(number, status, where, change) case number: change; break;
			CASES(CHANGE)
		}
		status = matrix_check(m, &err);
		if (status != cases[i].due || strcmp(err.where, cases[i].where) != 0)
			ck_abort_msg("%s: status %d in \"%s\" (%s)", cases[i].change, (int)status, err.where, err.text);
		matrix_free(m);
	}
}
END_TEST

/* Tables in proportion: ranges are bounded, and so is what they may ask for together. */
START_TEST(many_and_large_tables)
{
	static aqz_ref refs[AQZ_MAX_RANGES + 1];
	static aqz_param_view params[AQZ_MAX_RANGES + 1];
	aqz_view v = {.dtype = AQZ_F16, .cols = 8, .chunk_rows = 64, .refs = refs};
	aqz_error err;

	SURE(aqz_scheme_parse(&v.scheme, "1x1g8", &err) == AQZ_OK);
	for (uint32_t i = 0; i <= AQZ_MAX_RANGES; i++) {
		refs[i] = (aqz_ref){AQZ_KIND_CODEBOOK, i, 1, 64 * (uint64_t)i, 64 * (uint64_t)i + 64};
		params[i] = (aqz_param_view){AQZ_KIND_CODEBOOK, AQZ_F16, 2, 8, NULL};
	}
	v.n_refs = AQZ_MAX_RANGES;
	v.rows = 64 * AQZ_MAX_RANGES;
	ck_assert_int_eq(aqz_codec_additive.check(&v, params, v.n_refs, &err), AQZ_OK);
	v.n_refs++;
	v.rows += 64;
	ck_assert_int_eq(aqz_codec_additive.check(&v, params, v.n_refs, &err), AQZ_E_UNSUPPORTED);
	/* 2^25 values are 31 * 2^20 too many, which 64 for each element must pay for: 507,904 elements. */
	SURE(aqz_scheme_parse(&v.scheme, "8x16g64", &err) == AQZ_OK);
	v.n_refs = 1;
	params[0].rows = 8u << 16;
	params[0].cols = 64;
	v.cols = 64;
	v.rows = refs[0].row_end = 7936;
	ck_assert_msg(aqz_codec_additive.check(&v, params, 1, &err) == AQZ_OK, "%s", err.text);
	v.rows = refs[0].row_end = 7935;
	ck_assert_int_eq(aqz_codec_additive.check(&v, params, 1, &err), AQZ_E_CORRUPT);
}
END_TEST

/* ---- Payloads */

static aqz_status decode_payload(const matrix *m, const void *decoder, uint16_t coding, const uint8_t *payload,
	size_t n, uint64_t begin, uint64_t end)
{
	uint8_t *exact = malloc(n);
	guarded out = guarded_alloc((size_t)((end - begin) * m->view.cols) * 4);
	aqz_error err = {0};
	aqz_status status;

	SURE(exact != NULL || n == 0);
	if (n > 0)
		memcpy(exact, payload, n);
	status = aqz_codec_additive.decode(
		decoder, &m->view, 0, m->code_rows, coding, exact, n, begin, end, out.data, NULL, &err);
	ck_assert(guarded_whole(&out));
	if (status != AQZ_OK)
		ck_assert_str_eq(err.where, "payload");
	guarded_free(&out);
	free(exact);
	return status;
}

START_TEST(payloads)
{
	static const char *const schemes[] = {"2x3g4", "1x8g8", "2x12g8o2", "1x16g8", "3x1g5"};
	noise r = {17};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		const matrix_options o = {.scheme = schemes[i], .rows = i == 2 ? 150 : 75, .cols = 30, .scale_dtype = AQZ_F32};
		const uint64_t rows = o.rows, block_rows = i == 2 ? 128 : 64;
		uint8_t *payload;
		void *decoder;
		aqz_error err;
		matrix m;
		size_t n, line;

		matrix_make(&m, &o, &r);
		m.view.chunk_rows = 128;
		n = m.n_lines_bytes;
		line = 8u * m.view.scheme.code_bits;
		payload = sure_alloc(n + 16);
		memcpy(payload, m.lines, n);
		SURE(aqz_codec_additive.decoder_create(&decoder, &m.view, m.params, m.n_params, &err) == AQZ_OK);
		ck_assert_int_eq(decode_payload(&m, decoder, AQZ_CODING_T64, payload, n, 0, rows), AQZ_OK);
		for (size_t k = 0; k <= n + 16; k += k + 20 < n && k > 20 ? 13 : 1)
			if (k != n)
				ck_assert_int_eq(decode_payload(&m, decoder, AQZ_CODING_T64, payload, k, 0, rows), AQZ_E_CORRUPT);
		for (unsigned coding = 0; coding <= 17; coding++)
			if (coding != AQZ_CODING_T64)
				ck_assert_int_eq(decode_payload(&m, decoder, (uint16_t)coding, payload, n, 0, rows), AQZ_E_CORRUPT);
		/* Each bit: in a row that is there, other elements; in padding, CORRUPT once that row block is decoded. */
		for (size_t bit = 0; bit < 8 * n; bit += 1 + bit % 3) {
			const size_t block = bit / 8 / (n / 2), in_line = bit / 8 % line;
			uint16_t codes[64];
			bool padding = false;

			payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
			aqz_t64_unpack(codes, payload + bit / 8 - in_line, m.view.scheme.code_bits);
			for (unsigned k = 11; k < 64 && block == 1; k++)
				padding |= codes[k] != 0;
			ck_assert_int_eq(decode_payload(&m, decoder, AQZ_CODING_T64, payload, n, 0, rows),
				padding ? AQZ_E_CORRUPT : AQZ_OK);
			ck_assert_int_eq(decode_payload(&m, decoder, AQZ_CODING_T64, payload, n, rows - 1, rows),
				padding ? AQZ_E_CORRUPT : AQZ_OK);
			ck_assert_int_eq(decode_payload(&m, decoder, AQZ_CODING_T64, payload, n, 3, block_rows), AQZ_OK);
			payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		aqz_codec_additive.decoder_free(decoder);
		free(payload);
		matrix_free(&m);
	}
	aqz_codec_additive.decoder_free(NULL);
}
END_TEST

/* ---- The public call */

START_TEST(arguments)
{
	uint8_t codes[2 * 8 * 8] = {0};
	uint16_t books[2 * 256 * 8] = {0}, scales[3] = {0};
	float out[24];
	const aqz_additive good = {.scheme = {AQZ_CODEC_ADDITIVE, 2, 8, 8, 1}, .rows = 3, .cols = 8, .code_rows = 3,
		.groups = 1, .codes = codes, .codes_bytes = sizeof codes, .codebook_dtype = AQZ_F16, .codebooks = books,
		.scale_dtype = AQZ_F16, .scales = scales};
	aqz_additive a = good;
	aqz_error err;

#define IS(status, dtype, begin, end) \
	do { \
		ck_assert_int_eq(aqz_decode_additive(out, dtype, &a, begin, end, &err), status); \
		a = good; \
	} while (0)
	IS(AQZ_OK, AQZ_F32, 0, 3);
	IS(AQZ_OK, AQZ_F32, 3, 3);
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 4);
	IS(AQZ_E_ARGUMENT, AQZ_F32, 2, 1);
	IS(AQZ_E_ARGUMENT, AQZ_F32, UINT64_MAX, UINT64_MAX);
	IS(AQZ_E_ARGUMENT, AQZ_F64, 0, 3);
	IS(AQZ_E_ARGUMENT, AQZ_I8, 0, 3);
	IS(AQZ_E_ARGUMENT, (aqz_dtype)0, 0, 3);
	a.scheme.n_codebooks = 9;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.scheme.codec = AQZ_CODEC_LOSSLESS;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.rows = 0, a.code_rows = 0;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 0);
	a.rows = 4;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.cols = 9;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.groups = 2;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.cols = UINT64_MAX, a.groups = UINT64_C(1) << 61;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.codes = NULL;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.codes_bytes--;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.codebook_dtype = AQZ_U8;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.codebook_dtype = AQZ_I8; /* without scales */
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.codebooks = NULL;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.scale_dtype = AQZ_I8;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
	a.scales = NULL;
	IS(AQZ_E_ARGUMENT, AQZ_F32, 0, 3);
#undef IS
	aqz_additive_free(NULL);
	a = (aqz_additive){0};
	aqz_additive_free(&a);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("additive, bad");
	TCase *t = tcase_create("refused");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, parameters);
	tcase_add_test(t, references);
	tcase_add_test(t, many_and_large_tables);
	tcase_add_test(t, payloads);
	tcase_add_test(t, arguments);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
