/* SPDX-License-Identifier: Apache-2.0 */
/* The lossless codec, spec 7.1, through the codec table: what the encoder makes comes back, and what no encoder makes
 * is refused without a byte written outside. */
#include <check.h>
#include <zstd.h>

#include "codec/lossless.h"
#include "tests/guarded.h"

static const aqz_dtype dtypes[] = {AQZ_BOOL, AQZ_U8, AQZ_I8, AQZ_U16, AQZ_I16, AQZ_U32, AQZ_I32, AQZ_U64, AQZ_I64,
	AQZ_F16, AQZ_BF16, AQZ_F32, AQZ_F64, AQZ_C64, AQZ_F8_E5M2, AQZ_F8_E4M3, AQZ_F8_E8M0, AQZ_F8_E4M3FNUZ,
	AQZ_F8_E5M2FNUZ, AQZ_F6_E2M3, AQZ_F6_E3M2, AQZ_F4};

#define N_DTYPES (sizeof dtypes / sizeof *dtypes)

/* A view of so many rows of one chunk, each row a whole number of bytes: 1 element, 2 of 4 bits, 4 of 6 bits. */
static aqz_view view_of(aqz_dtype dtype, uint64_t rows)
{
	static const uint8_t none[AQZ_CODEC_PARAMS_BYTES];
	aqz_view v = {.dtype = dtype, .rows = rows, .cols = aqz_dtype_bits(dtype) == 4 ? 2 : 1, .chunk_rows = 64};
	aqz_error err;

	if (aqz_dtype_bits(dtype) == 6)
		v.cols = 4;
	while (v.chunk_rows < rows)
		v.chunk_rows *= 2;
	SURE(aqz_codec_lossless.params_read(&v.scheme, none, &err) == AQZ_OK);
	return v;
}

static size_t row_bytes(const aqz_view *v)
{
	return (size_t)(v->cols * aqz_dtype_bits(v->dtype) / 8);
}

/* Decodes rows [begin, end) out of a payload that lies in memory of just its size; *dst gets the rows. */
static aqz_status decode(guarded *dst, const aqz_view *v, uint16_t coding, const void *payload, size_t n,
	uint64_t begin, uint64_t end)
{
	const aqz_codec *c = &aqz_codec_lossless;
	guarded scratch = guarded_alloc((size_t)c->scratch_bytes(v));
	uint8_t *exact = malloc(n);
	aqz_error err = {0};
	void *decoder;
	aqz_status status;

	SURE(exact != NULL || n == 0);
	if (n > 0)
		memcpy(exact, payload, n);
	*dst = guarded_alloc((size_t)((end - begin) * v->cols * aqz_dtype_bits(v->dtype) + 7) / 8);
	SURE(c->decoder_create(&decoder, v, NULL, 0, &err) == AQZ_OK);
	status = c->decode(decoder, v, 0, v->rows, coding, exact, n, begin, end, dst->data, scratch.data, &err);
	c->decoder_free(decoder);
	if (!guarded_whole(dst) || !guarded_whole(&scratch))
		ck_abort_msg("bytes outside were written");
	if (status != AQZ_OK && (err.status != status || err.text[0] == '\0'))
		ck_abort_msg("status %d without its error", (int)status);
	guarded_free(&scratch);
	free(exact);
	return status;
}

static aqz_status verdict(const aqz_view *v, uint16_t coding, const void *payload, size_t n)
{
	guarded dst;
	const aqz_status status = decode(&dst, v, coding, payload, n, 0, v->rows);

	guarded_free(&dst);
	return status;
}

/* ---- Kinds of contents */

enum { CONSTANT, NOISE, LIKE_WEIGHTS, LIKE_TEXT, N_KINDS };

static void fill(uint8_t *p, size_t n, aqz_dtype dtype, int kind, uint64_t seed)
{
	noise r = {seed * 2 + 1};
	const size_t width = aqz_dtype_bits(dtype) < 16 ? 1 : aqz_dtype_bits(dtype) / 8;

	if (kind == CONSTANT)
		memset(p, 0x5a, n);
	else
		noise_fill(&r, p, n);
	for (size_t i = 0; kind == LIKE_TEXT && i < n; i++)
		p[i] = (uint8_t)"the weights of a model "[(i + p[i] / 250) % 23];
	/* Noise but for the highest byte, of which the lowest bit is noise too. */
	for (size_t i = width - 1; kind == LIKE_WEIGHTS && i < n; i += width)
		p[i] = (uint8_t)(0x3c + (p[i] & 0x83));
}

typedef struct coded {
	uint8_t *payload;
	size_t n;
	uint16_t coding;
} coded;

static coded encode(const void *src, size_t n, aqz_dtype dtype, int effort)
{
	guarded dst = {.n = n};
	coded c;
	aqz_error err;

	/* The encoder wants alignment, so the guard stands behind only. */
	dst.block = sure_alloc(n + 192);
	dst.data = (uint8_t *)(((uintptr_t)dst.block + 63) & ~(uintptr_t)63);
	memset(dst.data + n, 0xa5, 64);
	ck_assert_msg(
		aqz_lossless_encode(dst.data, &c.n, &c.coding, src, n, dtype, effort, &err) == AQZ_OK, "%s", err.text);
	for (size_t i = 0; i < 64; i++)
		ck_assert_uint_eq(dst.data[n + i], 0xa5);
	ck_assert_uint_le(c.n, n);
	c.payload = sure_alloc(c.n);
	memcpy(c.payload, dst.data, c.n);
	free(dst.block);
	return c;
}

/* Encodes, checks all that holds for every chunk, and decodes in one piece and in parts. Returns the coding. */
static uint16_t round_trip(aqz_dtype dtype, uint64_t rows, int kind, int effort)
{
	const aqz_view v = view_of(dtype, rows);
	const size_t row = row_bytes(&v), n = (size_t)rows * row;
	uint8_t *src = sure_alloc(n);
	coded c;
	guarded dst;
	uint64_t least, most;
	noise r = {rows + 1};

	fill(src, n, dtype, kind, rows);
	c = encode(src, n, dtype, effort);
	ck_assert(aqz_codec_lossless.coding_ok(c.coding));
	aqz_codec_lossless.payload_bounds(&v, rows, rows, c.coding, &least, &most);
	if (c.n < least || c.n > most || (c.coding != AQZ_CODING_STORED && c.n >= n))
		ck_abort_msg("%s x %lu, coding %u: %zu not in %lu..%lu", aqz_dtype_name(dtype), rows, c.coding, c.n, least,
			most);
	ck_assert_int_eq(decode(&dst, &v, c.coding, c.payload, c.n, 0, rows), AQZ_OK);
	if (n > 0 && memcmp(dst.data, src, n) != 0)
		ck_abort_msg("%s x %lu, coding %u: other bytes come back", aqz_dtype_name(dtype), rows, c.coding);
	guarded_free(&dst);
	for (int k = 0; k < 3; k++) {
		const uint64_t begin = k == 0 ? rows : noise_next(&r) % (rows + 1);
		const uint64_t end = begin + noise_next(&r) % (rows - begin + 1);

		ck_assert_int_eq(decode(&dst, &v, c.coding, c.payload, c.n, begin, end), AQZ_OK);
		if (end > begin && memcmp(dst.data, src + begin * row, (size_t)(end - begin) * row) != 0)
			ck_abort_msg("%s x %lu, rows %lu..%lu differ", aqz_dtype_name(dtype), rows, begin, end);
		guarded_free(&dst);
	}
	free(c.payload);
	free(src);
	return c.coding;
}

START_TEST(everything_comes_back)
{
	for (size_t d = 0; d < N_DTYPES; d++)
		for (uint64_t rows = 0; rows <= 300; rows += rows < 34 || rows > 296 ? 1 : 1 + (d * 7 + rows) % 29)
			for (int kind = 0; kind < N_KINDS; kind++)
				round_trip(dtypes[d], rows, kind, 1);
}
END_TEST

START_TEST(every_small_size_comes_back)
{
	for (uint64_t rows = 0; rows <= 300; rows++) {
		round_trip(AQZ_U8, rows, (int)(rows % N_KINDS), 1);
		round_trip(AQZ_BF16, rows, (int)(rows / 2 % N_KINDS), 1);
	}
}
END_TEST

/* Each coding is what the data suggest, at every effort. */
START_TEST(codings_fit_the_data)
{
	for (int effort = 0; effort <= 9; effort++) {
		for (size_t d = 0; d < N_DTYPES; d++)
			ck_assert_uint_eq(round_trip(dtypes[d], 700, NOISE, effort), AQZ_CODING_STORED);
		ck_assert_uint_eq(round_trip(AQZ_U8, 5000, CONSTANT, effort), AQZ_CODING_ZSTD);
		ck_assert_uint_eq(round_trip(AQZ_F4, 5000, LIKE_TEXT, effort), AQZ_CODING_ZSTD);
		ck_assert_uint_eq(round_trip(AQZ_BF16, 3000, LIKE_WEIGHTS, effort), AQZ_CODING_PLANES);
		ck_assert_uint_eq(round_trip(AQZ_F32, 3000, LIKE_WEIGHTS, effort), AQZ_CODING_PLANES);
		ck_assert_uint_eq(round_trip(AQZ_I64, 3000, LIKE_WEIGHTS, effort), AQZ_CODING_PLANES);
		ck_assert_uint_eq(round_trip(AQZ_C64, 3000, CONSTANT, effort), AQZ_CODING_ZSTD);
	}
}
END_TEST

START_TEST(large_chunks)
{
	round_trip(AQZ_BF16, 500001, LIKE_WEIGHTS, 1);
	round_trip(AQZ_U8, 1000003, LIKE_TEXT, 1);
	/* The shortest payloads for their size. */
	round_trip(AQZ_U8, 3000003, CONSTANT, 1);
	round_trip(AQZ_U64, 400001, CONSTANT, 5);
	round_trip(AQZ_F64, 70001, LIKE_WEIGHTS, 3);
	round_trip(AQZ_F32, 60001, LIKE_WEIGHTS, 5);
	round_trip(AQZ_F6_E2M3, 200001, NOISE, 1);
}
END_TEST

START_TEST(same_input_same_bytes)
{
	uint8_t src[6000];

	for (int effort = 1; effort <= 9; effort += 2)
		for (int kind = 0; kind < N_KINDS; kind++) {
			coded a, b;

			fill(src, sizeof src, AQZ_F32, kind, 1);
			a = encode(src, sizeof src, AQZ_F32, effort);
			b = encode(src, sizeof src, AQZ_F32, effort);
			ck_assert_uint_eq(a.coding, b.coding);
			ck_assert_uint_eq(a.n, b.n);
			ck_assert_mem_eq(a.payload, b.payload, a.n);
			free(a.payload);
			free(b.payload);
		}
}
END_TEST

START_TEST(encoder_refuses_half_elements)
{
	uint8_t src[64] = {0}, dst[64];
	uint16_t coding;
	size_t n;
	aqz_error err;

	ck_assert_int_eq(aqz_lossless_encode(dst, &n, &coding, src, 31, AQZ_F16, 1, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_lossless_encode(dst, &n, &coding, src, 36, AQZ_F64, 1, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_lossless_encode(dst, &n, &coding, src, 36, AQZ_C64, 1, &err), AQZ_OK);
	ck_assert_uint_eq(aqz_lossless_encode_memory(UINT64_MAX, 9), UINT64_MAX);
	ck_assert_uint_ge(aqz_lossless_encode_memory(1000, 9), 2000);
}
END_TEST

/* ---- The examples of the spec */

START_TEST(examples_of_the_spec)
{
	static const uint16_t four[] = {0x3f80, 0xc000, 0x3f00, 0xbe20};
	static const uint8_t planes[] = {4, 0, 0, 0, 4, 0, 0, 0, 0x00, 0x01, 0x00, 0x41, 0x7f, 0x80, 0x7e, 0x7c};
	static const uint8_t ones[] = {0x0a, 0, 0, 0x80, 0x0a, 0, 0, 0x80, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x40, 0x03, 0x02,
		0x00, 0x00, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x40, 0x03, 0x02, 0x00, 0x7f};
	aqz_view v = view_of(AQZ_BF16, 4);
	guarded dst;

	ck_assert_int_eq(decode(&dst, &v, AQZ_CODING_PLANES, planes, sizeof planes, 0, 4), AQZ_OK);
	ck_assert_mem_eq(dst.data, four, 8);
	guarded_free(&dst);
	ck_assert_int_eq(decode(&dst, &v, AQZ_CODING_PLANES, planes, sizeof planes, 1, 3), AQZ_OK);
	ck_assert_mem_eq(dst.data, four + 1, 4);
	guarded_free(&dst);
	v = view_of(AQZ_BF16, 64);
	ck_assert_int_eq(decode(&dst, &v, AQZ_CODING_PLANES, ones, sizeof ones, 0, 64), AQZ_OK);
	for (size_t i = 0; i < 64; i++)
		ck_assert_uint_eq(aqz_get16(dst.data + 2 * i), 0x3f80);
	guarded_free(&dst);
}
END_TEST

/* ---- Payloads that no encoder makes */

/* Every single bit: the result is some elements, or CORRUPT. Hashes above this layer find the first. */
static void flip_all(aqz_dtype dtype, uint64_t rows, int kind, uint16_t coding)
{
	const aqz_view v = view_of(dtype, rows);
	const size_t n = (size_t)rows * row_bytes(&v);
	uint8_t *src = sure_alloc(n);
	unsigned n_refused = 0;
	coded c;

	fill(src, n, dtype, kind, 3);
	c = encode(src, n, dtype, 1);
	ck_assert_uint_eq(c.coding, coding);
	for (size_t bit = 0; bit < 8 * c.n; bit++) {
		guarded dst;
		aqz_status status;

		c.payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
		status = decode(&dst, &v, coding, c.payload, c.n, bit % 2 == 0 ? 0 : rows / 3, bit % 2 == 0 ? rows : rows / 2);
		guarded_free(&dst);
		n_refused += status == AQZ_E_CORRUPT;
		if (status != AQZ_OK && status != AQZ_E_CORRUPT)
			ck_abort_msg("bit %zu: status %d", bit, (int)status);
		c.payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert_uint_gt(n_refused, 32); /* a magic number at least */
	/* Nor is any other length taken. */
	for (size_t k = 0; k < c.n; k++)
		ck_assert_int_eq(verdict(&v, coding, c.payload, k), AQZ_E_CORRUPT);
	free(c.payload);
	free(src);
}

START_TEST(bit_flips)
{
	flip_all(AQZ_BF16, 400, LIKE_WEIGHTS, AQZ_CODING_PLANES);
	flip_all(AQZ_F64, 120, LIKE_WEIGHTS, AQZ_CODING_PLANES);
	flip_all(AQZ_U8, 400, LIKE_TEXT, AQZ_CODING_ZSTD);
	flip_all(AQZ_F32, 60, CONSTANT, AQZ_CODING_ZSTD);
}
END_TEST

/* A frame of one stored block, with any header. */
static size_t raw_frame(uint8_t *p, uint8_t descriptor, int window, uint32_t content, const void *data, size_t n)
{
	const unsigned field = descriptor >> 6;
	const size_t content_bytes = field == 3 ? 8 : field == 2 ? 4 : field == 1 ? 2 : (descriptor & 0x20) != 0;
	const uint64_t value = field == 1 ? content - 256 : content;
	const uint32_t block = (uint32_t)n << 3 | 1;
	size_t at = 5;

	aqz_put32(p, ZSTD_MAGICNUMBER);
	p[4] = descriptor;
	if (window >= 0)
		p[at++] = (uint8_t)window;
	memcpy(p + at, &value, content_bytes);
	at += content_bytes;
	memcpy(p + at, &block, 3);
	memcpy(p + at + 3, data, n);
	return at + 3 + n;
}

/* libzstd's frame of 300 bytes with the given parameter. */
static size_t frame(uint8_t *p, const void *data, size_t n, ZSTD_cParameter parameter, int value)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	size_t made;

	ZSTD_CCtx_setParameter(context, parameter, value);
	made = ZSTD_compress2(context, p, 1000, data, n);
	SURE(!ZSTD_isError(made));
	ZSTD_freeCCtx(context);
	return made;
}

START_TEST(hostile_zstd_frames)
{
	static const uint8_t skippable[8] = {0x50, 0x2a, 0x4d, 0x18};
	const aqz_view v = view_of(AQZ_U8, 300), half = view_of(AQZ_U8, 150);
	uint8_t src[300], p[2000];
	size_t n, m;

	fill(src, sizeof src, AQZ_U8, LIKE_TEXT, 5);
#define IS(status, ...) ck_assert_int_eq(verdict(&v, AQZ_CODING_ZSTD, p, __VA_ARGS__), status)
	n = frame(p, src, 300, ZSTD_c_compressionLevel, 5);
	IS(AQZ_OK, n);
	IS(AQZ_E_CORRUPT, 0);
	p[n] = 0;
	IS(AQZ_E_CORRUPT, n + 1);
	memcpy(p + n, skippable, 8);
	IS(AQZ_E_CORRUPT, n + 8);
	IS(AQZ_E_CORRUPT, n + 4);
	memmove(p + 8, p, n);
	memcpy(p, skippable, 8);
	IS(AQZ_E_CORRUPT, n + 8);
	/* The right bytes in two frames, and after an empty one. */
	n = frame(p, src, 150, ZSTD_c_compressionLevel, 5);
	ck_assert_int_eq(verdict(&half, AQZ_CODING_ZSTD, p, n), AQZ_OK);
	m = frame(p + n, src + 150, 150, ZSTD_c_compressionLevel, 5);
	IS(AQZ_E_CORRUPT, n + m);
	IS(AQZ_E_CORRUPT, n);
	n = frame(p, src, 0, ZSTD_c_compressionLevel, 5);
	m = frame(p + n, src, 300, ZSTD_c_compressionLevel, 5);
	IS(AQZ_E_CORRUPT, n + m);
	IS(AQZ_E_CORRUPT, n);
	n = frame(p, src, 300, ZSTD_c_contentSizeFlag, 0);
	IS(AQZ_E_CORRUPT, n);
	n = frame(p, src, 300, ZSTD_c_checksumFlag, 1);
	IS(AQZ_E_CORRUPT, n);
	n = frame(p, src, 299, ZSTD_c_compressionLevel, 5);
	IS(AQZ_E_CORRUPT, n);
	/* Every form of header, one thing wrong at a time. */
	IS(AQZ_OK, raw_frame(p, 0x60, -1, 300, src, 300));
	IS(AQZ_OK, raw_frame(p, 0xa0, -1, 300, src, 300));
	IS(AQZ_OK, raw_frame(p, 0xe0, -1, 300, src, 300));
	IS(AQZ_OK, raw_frame(p, 0x40, 0, 300, src, 300));
	IS(AQZ_OK, raw_frame(p, 0x80, 17 << 3, 300, src, 300));              /* 2^27 */
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x80, 17 << 3 | 1, 300, src, 300));
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x80, 18 << 3, 300, src, 300));
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x80, 255, 300, src, 300));
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x00, 0, 0, src, 300));               /* no content size */
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x70, -1, 300, src, 300));            /* unused bit */
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x68, -1, 300, src, 300));            /* reserved bit */
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x64, -1, 300, src, 300));            /* checksum */
	for (uint8_t id = 1; id <= 3; id++)
		IS(AQZ_E_CORRUPT, raw_frame(p, 0x60 | id, -1, 300, src, 300));   /* dictionary */
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x60, -1, 301, src, 300));
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x60, -1, 299, src, 300));
	IS(AQZ_E_CORRUPT, raw_frame(p, 0xa0, -1, UINT32_MAX, src, 300));
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x60, -1, 300, src, 299));            /* says 300, has 299 */
	IS(AQZ_E_CORRUPT, raw_frame(p, 0x60, -1, 300, src, 300) - 1);
	ck_assert_int_eq(verdict(&half, AQZ_CODING_ZSTD, p, raw_frame(p, 0x20, -1, 150, src, 150)), AQZ_OK);
#undef IS
}
END_TEST

START_TEST(hostile_planes)
{
	enum { N = 100 };
	const aqz_view v = view_of(AQZ_F32, N), bytes = view_of(AQZ_U8, 4 * N);
	uint8_t p[1000] = {0}, good[1000], data[N] = {1, 2, 3};
	size_t n = 16, m;

#define IS(status, length) ck_assert_int_eq(verdict(&v, AQZ_CODING_PLANES, p, length), status)
#define AGAIN memcpy(p, good, sizeof p)
	/* Plane 2 as a frame, the others stored. */
	for (unsigned k = 0; k < 4; k++) {
		m = k == 2 ? frame(p + n, data, N, ZSTD_c_compressionLevel, 1) : N;
		aqz_put32(p + 4 * k, (uint32_t)m | (k == 2 ? AQZ_PLANE_ZSTD : 0));
		n += m;
	}
	memcpy(good, p, sizeof good);
	IS(AQZ_OK, n);
	for (size_t k = 0; k <= n + 5; k++)
		if (k != n)
			IS(AQZ_E_CORRUPT, k);
	for (unsigned k = 0; k < 4; k++) {
		static const uint32_t wrong[] = {1, UINT32_MAX, 0x7fffffff, 0x80000001, 4, N};

		/* One length too much or too little; taken from the neighbour; near 2^32, where a sum could wrap. */
		for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
			AGAIN;
			aqz_put32(p + 4 * k, aqz_get32(p + 4 * k) + wrong[i]);
			IS(AQZ_E_CORRUPT, n);
			aqz_put32(p + 4 * ((k + 1) % 4), aqz_get32(p + 4 * ((k + 1) % 4)) - wrong[i]);
			IS(AQZ_E_CORRUPT, n);
			AGAIN;
			aqz_put32(p + 4 * k, wrong[i] - 1);
			IS(AQZ_E_CORRUPT, n);
		}
		AGAIN;
		aqz_put32(p + 4 * k, aqz_get32(p + 4 * k) ^ AQZ_PLANE_ZSTD); /* no frame, or not N bytes */
		IS(AQZ_E_CORRUPT, n);
	}
	/* All lengths at their largest. */
	AGAIN;
	memset(p, 0xff, 16);
	IS(AQZ_E_CORRUPT, n);
	memset(p, 0, 16);
	IS(AQZ_E_CORRUPT, n);
	/* A frame that decodes to one byte less or more. */
	for (unsigned wrong = N - 1; wrong <= N + 1; wrong += 2) {
		uint8_t big[N + 1] = {0};

		AGAIN;
		m = frame(p + 16 + 2 * N, big, wrong, ZSTD_c_compressionLevel, 1);
		aqz_put32(p + 8, (uint32_t)m | AQZ_PLANE_ZSTD);
		IS(AQZ_E_CORRUPT, 16 + 3 * N + m);
	}
	AGAIN;
	ck_assert_int_eq(verdict(&bytes, AQZ_CODING_PLANES, p, n), AQZ_E_CORRUPT);
#undef IS
#undef AGAIN
}
END_TEST

START_TEST(other_faults)
{
	const aqz_view v = view_of(AQZ_U16, 10);
	aqz_view nibbles = view_of(AQZ_F4, 10);
	uint8_t data[30] = {0};
	guarded dst;

	for (size_t n = 0; n <= 30; n++)
		ck_assert_int_eq(verdict(&v, AQZ_CODING_STORED, data, n), n == 20 ? AQZ_OK : AQZ_E_CORRUPT);
	for (unsigned coding = 0; coding < 65536; coding++) {
		const bool ok = coding <= AQZ_CODING_PLANES;

		ck_assert(aqz_codec_lossless.coding_ok((uint16_t)coding) == ok);
		if (!ok && coding % 97 == 0)
			ck_assert_int_eq(verdict(&v, (uint16_t)coding, data, 20), AQZ_E_CORRUPT);
	}
	/* Rows of 3 nibbles: only pairs of rows are whole bytes. */
	nibbles.cols = 3;
	ck_assert_int_eq(decode(&dst, &nibbles, AQZ_CODING_STORED, data, 15, 0, 4), AQZ_OK);
	guarded_free(&dst);
	ck_assert_int_eq(decode(&dst, &nibbles, AQZ_CODING_STORED, data, 15, 0, 3), AQZ_E_ARGUMENT);
	guarded_free(&dst);
	ck_assert_int_eq(decode(&dst, &nibbles, AQZ_CODING_STORED, data, 15, 1, 4), AQZ_E_ARGUMENT);
	guarded_free(&dst);
}
END_TEST

/* ---- The entry in the codec table */

START_TEST(table_entry)
{
	const aqz_codec *c = aqz_codec_find(AQZ_CODEC_LOSSLESS);
	const aqz_ref ref = {AQZ_KIND_ROW_SCALES, 0, 1, 0, 10};
	const aqz_param_view param = {.kind = AQZ_KIND_ROW_SCALES, .dtype = AQZ_F32, .rows = 10, .cols = 1};
	aqz_view v = view_of(AQZ_F32, 10);
	uint8_t params[AQZ_CODEC_PARAMS_BYTES];
	uint64_t least, most;
	aqz_scheme s;
	aqz_error err;

	ck_assert_ptr_eq(c, &aqz_codec_lossless);
	ck_assert_ptr_eq(aqz_codec_find(AQZ_CODEC_ADDITIVE), &aqz_codec_additive);
	ck_assert_ptr_null(aqz_codec_find(3));
	ck_assert_ptr_null(aqz_codec_find(UINT32_MAX));
	memset(params, 7, sizeof params);
	c->params_write(params, &v.scheme);
	ck_assert_int_eq(c->params_read(&s, params, &err), AQZ_OK);
	for (int i = 0; i < AQZ_CODEC_PARAMS_BYTES; i++) {
		params[i] = (uint8_t)(1 << i);
		ck_assert_int_eq(c->params_read(&s, params, &err), AQZ_E_UNSUPPORTED);
		params[i] = 0;
	}
	ck_assert_int_eq(c->check(&v, NULL, 0, &err), AQZ_OK);
	v.refs = &ref, v.n_refs = 1;
	ck_assert_int_eq(c->check(&v, &param, 1, &err), AQZ_E_CORRUPT);
	v.refs = NULL, v.n_refs = 0;
	v.dtype = (aqz_dtype)21;
	ck_assert_int_eq(c->check(&v, NULL, 0, &err), AQZ_E_UNSUPPORTED);
	v.dtype = AQZ_F32;
	v.rows = UINT64_C(1) << 62, v.cols = 1;
	ck_assert_int_eq(c->check(&v, NULL, 0, &err), AQZ_E_CORRUPT);
	v.rows = UINT64_MAX, v.cols = UINT64_MAX;
	ck_assert_int_eq(c->check(&v, NULL, 0, &err), AQZ_E_CORRUPT);
	v.rows = 0, v.cols = 8;
	ck_assert_int_eq(c->check(&v, NULL, 0, &err), AQZ_OK);
	v.dtype = AQZ_F4, v.rows = 3, v.cols = 3;
	ck_assert_int_eq(c->check(&v, NULL, 0, &err), AQZ_E_CORRUPT);
	/* A length that cannot be is known before it is read. */
	v = view_of(AQZ_U8, 100);
	c->payload_bounds(&v, 100, 100, AQZ_CODING_STORED, &least, &most);
	ck_assert(least == 100 && most == 100);
	c->payload_bounds(&v, 100, 100, AQZ_CODING_PLANES, &least, &most);
	ck_assert_uint_gt(least, most);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("codec");
	TCase *t = tcase_create("lossless");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, everything_comes_back);
	tcase_add_test(t, every_small_size_comes_back);
	tcase_add_test(t, codings_fit_the_data);
	tcase_add_test(t, large_chunks);
	tcase_add_test(t, same_input_same_bytes);
	tcase_add_test(t, encoder_refuses_half_elements);
	tcase_add_test(t, examples_of_the_spec);
	tcase_add_test(t, bit_flips);
	tcase_add_test(t, hostile_zstd_frames);
	tcase_add_test(t, hostile_planes);
	tcase_add_test(t, other_faults);
	tcase_add_test(t, table_entry);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
