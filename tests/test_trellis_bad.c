/* SPDX-License-Identifier: Apache-2.0 */
/* What the trellis codec refuses, and with which status: parameters, references, streams, indices. Spec 7.3. All
 * kernels say the same of any bytes, and none reads or writes outside. */
#include <check.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/trellis_case.h"

START_TEST(parameters)
{
	static const uint8_t good[AQZ_CODEC_PARAMS_BYTES] = {3};
	uint8_t p[AQZ_CODEC_PARAMS_BYTES], back[AQZ_CODEC_PARAMS_BYTES];
	aqz_scheme s;
	aqz_error err;

	for (unsigned i = 0; i < AQZ_CODEC_PARAMS_BYTES; i++)
		for (unsigned v = 0; v < 256; v++) {
			aqz_status due = AQZ_OK;

			memcpy(p, good, sizeof p);
			p[i] = (uint8_t)v;
			if (i == 0 && (v == 1 || v > 8))
				due = AQZ_E_CORRUPT;
			if (i >= 1 && v != 0)
				due = AQZ_E_UNSUPPORTED;
			ck_assert_int_eq(aqz_codec_trellis.params_read(&s, p, &err), due);
			if (due != AQZ_OK)
				continue;
			ck_assert(s.codec == AQZ_CODEC_TRELLIS && s.in_group == 1 && s.out_group == 1);
			memset(back, 0xff, sizeof back);
			aqz_codec_trellis.params_write(back, &s);
			ck_assert_mem_eq(back, p, sizeof p);
		}
	for (unsigned coding = 0; coding < 65536; coding++)
		ck_assert(aqz_codec_trellis.coding_ok((uint16_t)coding) == (coding == 17));
	ck_assert_ptr_eq(aqz_codec_find(AQZ_CODEC_TRELLIS), &aqz_codec_trellis);
}
END_TEST

START_TEST(names)
{
	static const struct {
		unsigned bits;
		const char *name;
	} due[] = {{0, "trellis1"}, {3, "trellis8"}, {8, "trellis256"}};
	char text[AQZ_SCHEME_TEXT_BYTES];
	aqz_scheme s;

	for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
		s = aqz_trellis_scheme(due[i].bits);
		aqz_scheme_format(text, &s);
		ck_assert_str_eq(text, due[i].name);
	}
}
END_TEST

/* ---- References: each case changes one thing of a sound section of 130 x 24 with 40 bytes of parameters */

#define CASES(X) \
	X(OK, "", (void)0) \
	X(UNSUPPORTED, "dtype", v.dtype = AQZ_F64) \
	X(UNSUPPORTED, "dtype", v.dtype = AQZ_I8) \
	X(UNSUPPORTED, "dtype", v.dtype = (aqz_dtype)0) \
	X(CORRUPT, "shape", v.rows = 0) \
	X(CORRUPT, "shape", v.cols = 0) \
	X(CORRUPT, "shape", v.cols = UINT64_MAX) \
	X(CORRUPT, "shape", v.cols = UINT64_C(1) << 62) \
	X(CORRUPT, "shape", (v.rows = UINT64_MAX, v.cols = UINT64_MAX)) \
	X(UNSUPPORTED, "refs", r[0].kind = AQZ_KIND_SIGNS) \
	X(UNSUPPORTED, "refs", r[0].kind = (aqz_kind)77) \
	X(UNSUPPORTED, "refs", (r[1] = r[0], r[1].kind = AQZ_KIND_ROW_SCALES, v.n_refs = 2)) \
	X(CORRUPT, "refs", (r[1] = r[0], p[1] = p[0], v.n_refs = 2, n = 2)) \
	X(CORRUPT, "refs", (v.n_refs = 0, n = 0)) \
	X(CORRUPT, "refs", r[0].count = 0) \
	X(CORRUPT, "refs", r[0].count = 2) \
	X(CORRUPT, "refs", n = 0) \
	X(CORRUPT, "refs", n = 2) \
	X(CORRUPT, "refs", r[0].row_begin = 64) \
	X(CORRUPT, "refs", r[0].row_end = 129) \
	X(CORRUPT, "refs", r[0].row_end = 131) \
	X(CORRUPT, "refs.entropy_table", p[0].dtype = AQZ_I8) \
	X(CORRUPT, "refs.entropy_table", (p[0].rows = 40, p[0].cols = 1)) \
	X(CORRUPT, "refs.entropy_table", p[0].rows = 0) \
	X(CORRUPT, "refs.entropy_table", p[0].cols = 0) \
	X(CORRUPT, "refs.entropy_table", p[0].cols = 8) \
	X(CORRUPT, "refs.entropy_table", p[0].cols = UINT64_MAX) \
	X(CORRUPT, "refs.entropy_table", p[0].cols = 31) \
	X(OK, "", p[0].cols = 32) \
	X(CORRUPT, "refs.entropy_table", (v.rows = r[0].row_end = 201)) \
	X(OK, "", (v.rows = r[0].row_end = 200)) \
	X(CORRUPT, "refs.entropy_table", v.cols = 60) \
	X(OK, "", v.dtype = AQZ_F32) \
	X(OK, "", v.dtype = AQZ_BF16)

#define AQZ_STATUS_OK AQZ_OK
#define AQZ_STATUS_CORRUPT AQZ_E_CORRUPT
#define AQZ_STATUS_UNSUPPORTED AQZ_E_UNSUPPORTED

START_TEST(references)
{
#define CASE(status, name, change) \
	{ \
		aqz_ref r[2] = {{AQZ_KIND_ENTROPY_TABLE, 5, 1, 0, 130}}; \
		aqz_param_view p[2] = {{AQZ_KIND_ENTROPY_TABLE, AQZ_U8, 1, 40, NULL}}; \
		aqz_view v = {aqz_trellis_scheme(3), AQZ_F16, 130, 24, 64, r, 1}; \
		uint32_t n = 1; \
		aqz_error err = {0}; \
		change; \
		ck_assert_msg(aqz_codec_trellis.check(&v, p, n, &err) == AQZ_STATUS_##status, "%s: %s", #change, err.text); \
		ck_assert_str_eq(err.where, name); \
	}
	CASES(CASE)
}
END_TEST

/* ---- The bytes of the parameters */

static aqz_status read_bytes(const trellis_case *c, const uint8_t *bytes, size_t n)
{
	aqz_trellis_params p = {.rows = c->p.rows, .cols = c->p.cols, .state_bits = c->p.state_bits};
	uint8_t *copy = malloc(n + 1);
	aqz_error err = {0};
	aqz_status status;

	SURE(copy != NULL);
	memcpy(copy + 1, bytes, n);
	status = aqz_trellis_params_read(&p, copy + 1, n, &err);
	ck_assert(status == err.status && (status == AQZ_OK || err.text[0] != 0));
	if (status == AQZ_OK) { /* whatever it says, it can be decoded with */
		for (unsigned i = 0; i < p.n_tables; i++)
			for (unsigned t = 0; t < (p.state_bits == 0 ? 1 : 2); t++) {
				unsigned sum = p.tables[i][t].escape;

				for (int k = -128; k < 128; k++) {
					unsigned f;

					(void)aqz_trellis_slot(&f, &p.tables[i][t], t, k);
					sum += f;
				}
				ck_assert_uint_eq(sum, 4096);
			}
		aqz_trellis_params_free(&p);
	} else {
		ck_assert(p.column_step == NULL && p.row_step == NULL);
	}
	free(copy);
	return status;
}

START_TEST(parameter_bytes)
{
	noise r = {21};
	unsigned n_refused = 0, n_taken = 0;

	for (int round = 0; round < 6; round++) {
		trellis_case c;
		uint8_t *b;

		trellis_case_make(&c, round % 2 ? CASE_RANDOM : CASE_LAYER, round == 4 ? 0 : 3,
			1 + noise_next(&r) % 60, 1 + noise_next(&r) % 60, 64, &r);
		b = sure_alloc(c.params.n + 1);
		memcpy(b, c.params.data, c.params.n);
		ck_assert_int_eq(read_bytes(&c, b, c.params.n), AQZ_OK);
		for (size_t n = 0; n < c.params.n; n++)
			ck_assert_int_eq(read_bytes(&c, b, n), AQZ_E_CORRUPT);
		for (unsigned v = 0; v < 256; v++) {
			b[c.params.n] = (uint8_t)v;
			ck_assert_int_eq(read_bytes(&c, b, c.params.n + 1), AQZ_E_CORRUPT);
		}
		for (size_t i = 0; i < 8 * c.params.n; i++) {
			aqz_status status;

			b[i / 8] ^= (uint8_t)(1 << i % 8);
			status = read_bytes(&c, b, c.params.n);
			ck_assert(status == AQZ_OK || status == AQZ_E_CORRUPT || (i / 8 == 8 && status == AQZ_E_UNSUPPORTED));
			*(status == AQZ_OK ? &n_taken : &n_refused) += 1;
			b[i / 8] ^= (uint8_t)(1 << i % 8);
		}
		free(b);
		trellis_case_free(&c);
	}
	printf("bits of parameters changed: %u refused, %u taken\n", n_refused, n_taken);
	ck_assert(n_refused > 0 && n_taken > 0);
}
END_TEST

START_TEST(random_parameter_bytes)
{
	noise r = {22};

	for (int round = 0; round < 5000; round++) {
		trellis_case c = {.p = {.rows = 1 + noise_next(&r) % 8, .cols = 1 + noise_next(&r) % 8, .state_bits = 3}};
		uint8_t b[300];
		const size_t n = noise_next(&r) % sizeof b;

		noise_fill(&r, b, n);
		if (n > 9 && round % 4 != 0) { /* a header that is right */
			memcpy(b, "\0\0\x80\x3f\0\0\x01\x01\0", 9);
			for (size_t i = 9; i < n && round % 4 == 1; i++)
				b[i] &= (uint8_t)noise_next(&r);
		}
		(void)read_bytes(&c, b, n);
	}
}
END_TEST

START_TEST(header)
{
	static const struct {
		size_t at;
		const char *bytes;
		size_t n;
		aqz_status due;
	} cases[] = {{0, "\0\0\0\0", 4, AQZ_E_CORRUPT}, {0, "\0\0\x80\xbf", 4, AQZ_E_CORRUPT},
		{0, "\0\0\xc0\x7f", 4, AQZ_E_CORRUPT}, {0, "\0\0\x80\x7f", 4, AQZ_E_CORRUPT},
		{0, "\0\0\x80\x12", 4, AQZ_OK}, {0, "\xff\xff\x7f\x12", 4, AQZ_E_CORRUPT}, /* 2^-90 */
		{0, "\0\0\x80\x5d", 4, AQZ_OK}, {0, "\x01\0\x80\x5d", 4, AQZ_E_CORRUPT},   /* 2^60 */
		{4, "\0\x80", 2, AQZ_OK}, {4, "\xff\x7f", 2, AQZ_OK}, {6, "\0", 1, AQZ_E_CORRUPT},
		{6, "\x41", 1, AQZ_E_CORRUPT},
		{7, "\0", 1, AQZ_E_CORRUPT}, {7, "\x21", 1, AQZ_E_CORRUPT}, {7, "\x02", 1, AQZ_E_CORRUPT},
		{8, "\x02", 1, AQZ_E_UNSUPPORTED}, {8, "\x80", 1, AQZ_E_UNSUPPORTED}};
	noise r = {23};
	trellis_case c;

	trellis_case_make(&c, CASE_ZERO, 3, 5, 5, 64, &r);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t b[256];

		SURE(c.params.n <= sizeof b);
		memcpy(b, c.params.data, c.params.n);
		memcpy(b + cases[i].at, cases[i].bytes, cases[i].n);
		ck_assert_msg(read_bytes(&c, b, c.params.n) == cases[i].due, "case %zu", i);
	}
	trellis_case_free(&c);
}
END_TEST

/* ---- Streams, between pages that may not be touched */

typedef struct fence {
	uint8_t *map, *end;
	size_t n_bytes, page;
} fence;

static fence fence_open(size_t n)
{
	fence f = {.page = (size_t)sysconf(_SC_PAGESIZE)};

	f.n_bytes = (n / f.page + 3) * f.page;
	f.map = mmap(NULL, f.n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SURE(f.map != MAP_FAILED);
	f.end = f.map + f.n_bytes - f.page;
	SURE(mprotect(f.map, f.page, PROT_NONE) == 0 && mprotect(f.end, f.page, PROT_NONE) == 0);
	return f;
}

static void fence_close(fence *f)
{
	munmap(f->map, f->n_bytes);
}

typedef struct bench {
	const trellis_case *c;
	aqz_trellis_tables t;
	fence payload, dst;
	size_t dst_bytes;
} bench;

static void bench_open(bench *b, const trellis_case *c, aqz_dtype dtype)
{
	b->c = c;
	ck_assert_int_eq(aqz_trellis_tables_make(&b->t, &c->p, dtype, NULL), AQZ_OK);
	b->dst_bytes = (size_t)(c->p.rows * trellis_case_row_bytes(c, dtype));
	b->payload = fence_open(c->chunks[0].n + 64);
	b->dst = fence_open(b->dst_bytes);
}

static void bench_close(bench *b)
{
	aqz_trellis_tables_free(&b->t);
	fence_close(&b->payload);
	fence_close(&b->dst);
}

/* What all kernels say of n bytes that end at a fence, and write into what begins or ends at one. */
static bool verdict(bench *b, const uint8_t *bytes, size_t n)
{
	uint8_t *payload = b->payload.end - n, *due = sure_alloc(b->dst_bytes);
	uint8_t *const dst[] = {b->dst.map + b->dst.page, b->dst.end - b->dst_bytes};
	aqz_trellis_decode_fn *decode;
	bool first = false;

	memcpy(payload, bytes, n);
	for (unsigned i = 0; (decode = aqz_trellis_decode_get(i)) != NULL; i++)
		for (unsigned k = 0; k < 2; k++) {
			const bool ok = decode(dst[k], &b->t, payload, n, 0, b->c->p.rows, 0, b->c->p.rows);

			if (i == 0 && k == 0) {
				first = ok;
				memcpy(due, dst[k], b->dst_bytes);
			}
			ck_assert_msg(ok == first, "variant %u says %d, the first %d", i, ok, first);
			ck_assert(!ok || memcmp(dst[k], due, b->dst_bytes) == 0);
		}
	free(due);
	return first;
}

START_TEST(streams)
{
	static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_F16, AQZ_BF16};
	noise r = {24};
	unsigned n_refused = 0, n_taken = 0;

	for (int round = 0; round < 9; round++) {
		const uint64_t rows = 1 + noise_next(&r) % 24, cols = round % 3 == 0 ? 32 : 1 + noise_next(&r) % 50;
		trellis_case c;
		uint8_t *b;
		size_t n;
		bench d;

		trellis_case_make(&c, round % 2 ? CASE_RANDOM : round % 4 ? CASE_LAYER : CASE_WIDE,
			round == 5 ? 0 : 2 + (unsigned)round % 7, rows, cols, 64, &r);
		bench_open(&d, &c, dtypes[round % 3]);
		n = c.chunks[0].n;
		b = sure_alloc(n + 64);
		memcpy(b, c.chunks[0].data, n);
		ck_assert(verdict(&d, b, n));
		for (size_t k = 0; k < n; k++)
			ck_assert(!verdict(&d, b, k));
		for (size_t k = 1; k <= 64; k++)
			ck_assert(!verdict(&d, b, n + k));
		for (size_t i = 0; i < 8 * n; i++) {
			b[i / 8] ^= (uint8_t)(1 << i % 8);
			*(verdict(&d, b, n) ? &n_taken : &n_refused) += 1;
			b[i / 8] ^= (uint8_t)(1 << i % 8);
		}
		/* States that no encoder has. */
		for (uint64_t l = 0; l < aqz_min(32, cols); l++) {
			memcpy(b, c.chunks[0].data, n);
			aqz_put32(b + 4 * l, 0xffff);
			ck_assert(!verdict(&d, b, n));
			aqz_put32(b + 4 * l, 0);
			ck_assert(!verdict(&d, b, n));
		}
		for (int k = 0; k < 200; k++) {
			noise_fill(&r, b, n);
			for (uint64_t l = 0; l < aqz_min(32, cols); l++)
				b[4 * l + 3] |= 1;
			(void)verdict(&d, b, n);
			memset(b + 4 * aqz_min(32, cols), 0xff, n - 4 * aqz_min(32, cols)); /* all escapes are long */
			(void)verdict(&d, b, n);
		}
		free(b);
		bench_close(&d);
		trellis_case_free(&c);
	}
	printf("bits of streams changed: %u refused, %u taken\n", n_refused, n_taken);
	/* What is taken changed the words of escapes. */
	ck_assert_uint_gt(n_refused, n_taken);
}
END_TEST

/* One element, always an escape or 0: its words as they are. */
START_TEST(escapes)
{
	static const struct {
		uint32_t words, z;
		bool ok;
	} cases[] = {{1, 0, true}, {1, 7, true}, {1, 0xfffe, true}, {3, 0, false}, {3, 0xfffe, false}, {3, 0xffff, true},
		{3, 0x10000, true}, {3, 2 * AQZ_TRELLIS_MAX_INDEX - 1, true}, {3, 2 * AQZ_TRELLIS_MAX_INDEX, true},
		{3, 2 * AQZ_TRELLIS_MAX_INDEX + 1, false}, {3, 0xffffffff, false}, {2, 5, false}, {0, 0, false},
		{4, 0xffff, false}};
	noise r = {25};
	trellis_case c;
	bench d;

	trellis_case_fill(&c, CASE_ZERO, 3, 1, 1, 64, &r);
	c.p.tables[0][0].escape = 2000;
	c.index[0] = AQZ_TRELLIS_MAX_INDEX;
	ck_assert_int_eq(aqz_trellis_params_write(&c.params, &c.p, NULL), AQZ_OK);
	c.n_chunks = 1;
	c.chunks = sure_alloc(sizeof *c.chunks);
	ck_assert_int_eq(aqz_trellis_encode_rows(c.chunks, &c.p, c.index, 1, 0, 1, NULL), AQZ_OK);
	ck_assert_uint_eq(c.chunks[0].n, 4 + 6);
	bench_open(&d, &c, AQZ_F32);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t b[16] = {0};

		memcpy(b, c.chunks[0].data, 4);
		if (cases[i].words == 1) {
			aqz_put16(b + 4, (uint16_t)cases[i].z);
		} else {
			aqz_put16(b + 4, 0xffff);
			aqz_put32(b + 6, cases[i].z);
		}
		ck_assert_msg(verdict(&d, b, 4 + 2 * cases[i].words) == cases[i].ok, "case %zu", i);
	}
	bench_close(&d);
	trellis_case_free(&c);
}
END_TEST

/* ---- What an encoder is asked for */

START_TEST(indices)
{
	noise r = {26};
	trellis_case c;
	aqz_buffer out = {0};
	aqz_error err;

	trellis_case_make(&c, CASE_ZERO, 3, 5, 40, 64, &r);
	c.index[7] = 1; /* its table has 0 alone, and no escape */
	ck_assert_int_eq(aqz_trellis_encode_rows(&out, &c.p, c.index, 5, 0, 5, &err), AQZ_E_ARGUMENT);
	ck_assert_uint_eq(out.n, 0);
	trellis_case_free(&c);
	trellis_case_make(&c, CASE_RANDOM, 3, 5, 40, 64, &r);
	for (int sign = -1; sign <= 1; sign += 2) {
		c.index[7] = sign * AQZ_TRELLIS_MAX_INDEX;
		ck_assert_int_eq(aqz_trellis_encode_rows(&out, &c.p, c.index, 5, 0, 5, &err), AQZ_OK);
		c.index[7] += sign;
		ck_assert_int_eq(aqz_trellis_encode_rows(&out, &c.p, c.index, 5, 0, 5, &err), AQZ_E_ARGUMENT);
		c.index[7] = sign < 0 ? INT32_MIN : INT32_MAX;
		ck_assert_int_eq(aqz_trellis_encode_rows(&out, &c.p, c.index, 5, 0, 5, &err), AQZ_E_ARGUMENT);
	}
	aqz_buffer_free(&out);
	trellis_case_free(&c);
}
END_TEST

START_TEST(parameters_that_cannot_be_written)
{
#define REFUSED(change) \
	{ \
		trellis_case c; \
		noise r = {27}; \
		aqz_buffer out = {0}; \
		aqz_error err; \
		trellis_case_make(&c, CASE_LAYER, 3, 64, 32, 64, &r); \
		change; \
		ck_assert_msg(aqz_trellis_params_write(&out, &c.p, &err) == AQZ_E_ARGUMENT, #change); \
		ck_assert_uint_eq(out.n, 0); \
		trellis_case_free(&c); \
	}
	REFUSED(c.p.state_bits = 1)
	REFUSED(c.p.state_bits = 9)
	REFUSED(c.p.base = 0)
	REFUSED(c.p.base = -1)
	REFUSED(c.p.base = 0x1.000002p60f)
	REFUSED(c.p.base = 0x1.fffffep-91f)
	REFUSED(c.p.base = __builtin_nanf(""))
	REFUSED(c.p.n_buckets = 0)
	REFUSED(c.p.n_buckets = 65)
	REFUSED(c.p.n_tables = 0)
	REFUSED(c.p.n_tables = 33)
	REFUSED(c.p.cols = 27) /* 1 + 64 * 27 / 256 is 7 */
	REFUSED(c.p.n_tables--)
	REFUSED(c.p.n_tables++)
	REFUSED(c.p.bucket_table[0] = 1)
	REFUSED(c.p.bucket_table[1] = 2)
	REFUSED(c.p.bucket_table[c.p.n_buckets - 1] = 0)
	REFUSED(c.p.tables[3][0].n_magnitudes = 0)
	REFUSED(c.p.tables[3][1].n_magnitudes = 128)
}
END_TEST

/* ---- By the codec's table */

START_TEST(codec_calls)
{
	noise r = {28};
	trellis_case c;
	aqz_ref ref = {AQZ_KIND_ENTROPY_TABLE, 5, 1, 0, 70};
	aqz_param_view p;
	aqz_view v;
	void *decoder;
	uint8_t *dst = sure_alloc(70 * 50 * 4), *due = sure_alloc(70 * 50 * 4);
	uint64_t least, most;
	aqz_error err;

	trellis_case_make(&c, CASE_LAYER, 5, 70, 50, 64, &r);
	v = (aqz_view){aqz_trellis_scheme(5), AQZ_F32, 70, 50, 64, &ref, 1};
	p = (aqz_param_view){AQZ_KIND_ENTROPY_TABLE, AQZ_U8, 1, c.params.n, c.params.data};
	ck_assert_int_eq(aqz_codec_trellis.check(&v, &p, 1, &err), AQZ_OK);
	ck_assert_int_eq(aqz_codec_trellis.decoder_create(&decoder, &v, &p, 1, &err), AQZ_OK);
	aqz_codec_trellis.payload_bounds(&v, 6, 6, AQZ_CODING_RANS, &least, &most);
	ck_assert(least == 128 && most == 128 + 8 * 6 * 50);
	trellis_case_decode(due, &c, AQZ_F32, 0, 70);
	/* Rows 65 to 68, of the second chunk. */
	ck_assert_int_eq(aqz_codec_trellis.decode(decoder, &v, 64, 6, AQZ_CODING_RANS, c.chunks[1].data, c.chunks[1].n, 65,
						 68, dst, NULL, &err),
		AQZ_OK);
	ck_assert_mem_eq(dst, due + 65 * 200, 3 * 200);
	ck_assert_int_eq(aqz_codec_trellis.decode(decoder, &v, 64, 6, AQZ_CODING_T64, c.chunks[1].data, c.chunks[1].n, 65,
						 68, dst, NULL, &err),
		AQZ_E_CORRUPT);
	/* The other chunk's bytes. */
	ck_assert_int_eq(aqz_codec_trellis.decode(decoder, &v, 64, 6, AQZ_CODING_RANS, c.chunks[0].data, c.chunks[0].n, 64,
						 70, dst, NULL, &err),
		AQZ_E_CORRUPT);
	ck_assert_str_eq(err.where, "payload");
	aqz_codec_trellis.decoder_free(decoder);
	p.cols--;
	ck_assert_int_eq(aqz_codec_trellis.decoder_create(&decoder, &v, &p, 1, &err), AQZ_E_CORRUPT);
	ck_assert_ptr_null(decoder);
	aqz_codec_trellis.decoder_free(NULL);
	free(dst);
	free(due);
	trellis_case_free(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trellis, bad");
	TCase *t = tcase_create("bad");
	SRunner *run;
	int failed;

	tcase_set_timeout(t, 240);
	tcase_add_test(t, parameters);
	tcase_add_test(t, names);
	tcase_add_test(t, references);
	tcase_add_test(t, parameter_bytes);
	tcase_add_test(t, random_parameter_bytes);
	tcase_add_test(t, header);
	tcase_add_test(t, streams);
	tcase_add_test(t, escapes);
	tcase_add_test(t, indices);
	tcase_add_test(t, parameters_that_cannot_be_written);
	tcase_add_test(t, codec_calls);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_NORMAL);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed != 0;
}
