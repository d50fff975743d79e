/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of trellis chunks: every variant gives what the spec's words give (tests/trellis_case.c), of any rows, and
 * the same verdict on damaged payloads; it reads no byte outside of the payload. */
#include "tests/kernel_check.h"
#include "tests/trellis_case.h"

enum { CHUNK_ROWS = 64 };

static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_F16, AQZ_BF16};
static const char *const kernels[] = {"decode F32", "decode F16", "decode BF16"};
static const char *const variants[] = {"scalar", "avx2", "avx512"};
static const unsigned state_bits[] = {0, 2, 3, 4, 5, 6, 7, 8};

/* What is due for rows [begin, end) of a chunk; NULL if the payload must be refused or need not be. */
typedef struct order {
	const aqz_trellis_tables *t;
	const uint8_t *payload;
	size_t n_payload;
	uint64_t chunk_row, chunk_end, begin, end;
} order;

static bool decode(const order *o, unsigned v, const area *payload, void *dst)
{
	return aqz_trellis_decode_get(v)(
		dst, o->t, payload->data, o->n_payload, o->chunk_row, o->chunk_end, o->begin, o->end);
}

static size_t order_bytes(const order *o)
{
	return (size_t)((o->end - o->begin) * o->t->params->cols) * (o->t->dtype == AQZ_F32 ? 4 : 2);
}

/* All variants, in all places or in one. */
static bool decode_all(const order *o, unsigned dtype, const uint8_t *due, place first, place last)
{
	const size_t n = order_bytes(o);
	uint8_t *scalar = sure_alloc(n);
	area plain = area_input(o->payload, o->n_payload, 1, AT_END);
	bool verdict;

	kernel_now(kernels[dtype], variants[0]);
	verdict = decode(o, 0, &plain, scalar);
	area_free(&plain);
	for (place where = first; where <= last; where++) {
		area payload = area_input(o->payload, o->n_payload, 1, where);

		for (unsigned v = 0; aqz_trellis_decode_get(v) != NULL; v++) {
			area dst = area_alloc(n, 1, where);
			bool ok;

			kernel_now(kernels[dtype], variants[v]);
			ok = decode(o, v, &payload, dst.data);
			KERNEL_CHECK(ok == verdict, "it says %d, the first %d", ok, verdict);
			KERNEL_CHECK(due == NULL || ok, "%u states, %llu columns: refused",
				1u << o->t->params->state_bits, (unsigned long long)o->t->params->cols);
			if (ok)
				kernel_same_bytes(dst.data, due != NULL ? due : scalar, n);
			kernel_whole(&dst);
			kernel_digest(&ok, sizeof ok);
			if (ok)
				kernel_digest(dst.data, n);
			area_free(&dst);
		}
		area_free(&payload);
	}
	free(scalar);
	return verdict;
}

/* Whole chunks, and some of their rows. */
static void check_case(const trellis_case *c, noise *r)
{
	for (unsigned d = 0; d < 3; d++) {
		aqz_trellis_tables t;
		aqz_error err;

		SURE(aqz_trellis_tables_make(&t, &c->p, dtypes[d], &err) == AQZ_OK);
		for (uint32_t i = 0; i < c->n_chunks; i++) {
			const uint64_t first = i * c->chunk_rows, end = aqz_min(first + c->chunk_rows, c->p.rows);
			const uint64_t a = first + noise_next(r) % (end - first),
						   b = a + noise_next(r) % (end - a + 1);
			order o = {&t, c->chunks[i].data, c->chunks[i].n, first, end, first, end};

			for (int part = 0; part < 2; part++) {
				uint8_t *due;

				o.begin = part == 0 ? first : a;
				o.end = part == 0 ? end : b;
				due = sure_alloc(order_bytes(&o));
				trellis_case_decode(due, c, dtypes[d], o.begin, o.end);
				decode_all(&o, d, due, AT_END, ODD);
				free(due);
			}
		}
		aqz_trellis_tables_free(&t);
	}
}

/* Bytes cut off, added and changed: all variants say the same. */
static void check_damage(const trellis_case *c, unsigned d, noise *r)
{
	const size_t n = c->chunks[0].n;
	const uint64_t n_states = aqz_min(AQZ_TRELLIS_LANES, c->p.cols);
	uint8_t *bytes = sure_alloc(n + 64);
	aqz_trellis_tables t;
	order o = {&t, bytes, n, 0, c->p.rows, 0, c->p.rows};
	aqz_error err;

	SURE(aqz_trellis_tables_make(&t, &c->p, dtypes[d], &err) == AQZ_OK);
	memcpy(bytes, c->chunks[0].data, n);
	for (o.n_payload = 0; o.n_payload < n; o.n_payload += 1 + o.n_payload / 40)
		KERNEL_CHECK(
			!decode_all(&o, d, NULL, AT_END, AT_END), "%zu of %zu bytes are taken", o.n_payload, n);
	for (o.n_payload = n + 1; o.n_payload <= n + 64; o.n_payload += 7)
		KERNEL_CHECK(!decode_all(&o, d, NULL, AT_END, AT_END), "%zu bytes are taken for %zu",
			o.n_payload, n);
	o.n_payload = n;
	for (int k = 0; k < 200; k++) {
		const size_t bit = noise_next(r) % (8 * n);

		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		decode_all(&o, d, NULL, AT_END, AT_END);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (int k = 0; k < 30; k++) {
		noise_fill(r, bytes, n);
		for (uint64_t l = 0; l < n_states; l++)
			bytes[4 * l + 3] |= 1;
		decode_all(&o, d, NULL, AT_END, AT_END);
		memset(bytes + 4 * n_states, 0xff, n - 4 * n_states); /* all escapes are long */
		decode_all(&o, d, NULL, AT_END, AT_END);
	}
	aqz_trellis_tables_free(&t);
	free(bytes);
}

static void check(noise *r)
{
	static const uint64_t widths[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 100};

	for (size_t b = 0; b < sizeof state_bits / sizeof *state_bits; b++)
		for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
			trellis_case c;
			const uint64_t rows = i % 3 == 0 ? 1 : i % 3 == 1 ? 70 : 150;

			trellis_case_make(&c, i % 2 ? CASE_LAYER : CASE_RANDOM, state_bits[b], rows, widths[i],
				CHUNK_ROWS, r);
			check_case(&c, r);
			trellis_case_free(&c);
		}
	for (int kind = CASE_RANDOM; kind <= CASE_CONSTANT; kind++)
		for (int round = 0; round < 6; round++) {
			const unsigned bits = state_bits[(kind + round) % 8];
			uint64_t rows = 1 + noise_next(r) % 100, cols = 1 + noise_next(r) % 100;
			trellis_case c;

			trellis_case_make(&c, (case_kind)kind, bits, rows, cols, CHUNK_ROWS, r);
			check_case(&c, r);
			trellis_case_free(&c);
			rows = 1 + noise_next(r) % 24;
			cols = round % 3 == 0 ? 32 : 1 + noise_next(r) % 50;
			trellis_case_make(&c, (case_kind)kind, bits, rows, cols, CHUNK_ROWS, r);
			check_damage(&c, (unsigned)round % 3, r);
			trellis_case_free(&c);
		}
}

static void measure(noise *r)
{
	enum { ROWS = 512, COLS = 256 };
	static float dst[ROWS * COLS];
	trellis_case c;

	trellis_case_make(&c, CASE_LAYER, 3, ROWS, COLS, ROWS, r);
	for (unsigned d = 0; d < 3; d++) {
		aqz_trellis_decode_fn *variant;
		aqz_trellis_tables t;
		aqz_error err;

		SURE(aqz_trellis_tables_make(&t, &c.p, dtypes[d], &err) == AQZ_OK);
		for (unsigned v = 0; (variant = aqz_trellis_decode_get(v)) != NULL; v++)
			TIMED(kernels[d], variants[v], ROWS * COLS)
		variant(dst, &t, c.chunks[0].data, c.chunks[0].n, 0, ROWS, 0, ROWS);
		aqz_trellis_tables_free(&t);
	}
	trellis_case_free(&c);
}

const kernel_family family_trellis = {"trellis", check, measure};
