/* SPDX-License-Identifier: Apache-2.0 */
/* Reconstruction of additive tiles: every variant gives the bits of the spec's formula, 7.2.4, and nothing else. */
#include <math.h>

#include "base/float.h"
#include "codec/additive.h"
#include "tests/kernel_check.h"

static const aqz_dtype dtypes[] = {AQZ_F32, AQZ_F16, AQZ_BF16};
static const char *const names[] = {"tile F32", "tile F16", "tile BF16"};

static size_t element_bytes(aqz_dtype dtype)
{
	return dtype == AQZ_F32 ? 4 : 2;
}

/* Code of row i out of a T64 line, bit by bit, spec 7.2.2. */
static size_t code_at(const uint8_t *line, unsigned i, unsigned bits)
{
	const unsigned n_bytes = bits / 8, rest = bits % 8;
	size_t code = 0;

	for (unsigned k = 0; k < n_bytes; k++)
		code |= (size_t)line[64 * k + i] << 8 * k;
	for (unsigned b = 0; b < rest; b++) {
		const unsigned at = i * rest + b;

		code |= (size_t)(line[64 * n_bytes + at / 8] >> at % 8 & 1) << (8 * n_bytes + b);
	}
	return code;
}

/* One element of a tile by the formula. */
static float element(const aqz_tile *tile, const aqz_tables *t, unsigned row, unsigned col)
{
	const aqz_scheme *s = &t->scheme;
	const size_t line_bytes = s->code_bits * 8u;
	const uint8_t *lines = tile->lines + col / s->in_group * s->n_codebooks * line_bytes;
	float sum = 0;

	for (unsigned m = 0; m < s->n_codebooks; m++) {
		const size_t code = code_at(lines + m * line_bytes, row / s->out_group, s->code_bits);
		const size_t codeword = ((size_t)m << s->code_bits) + code;
		const float v =
			t->values[(codeword * s->out_group + row % s->out_group) * s->in_group + col % s->in_group];

		sum = m == 0 ? v : sum + v;
	}
	return tile->scales != NULL ? sum * tile->scales[row / s->out_group] : sum;
}

static void put(uint8_t *dst, float v, aqz_dtype dtype)
{
	const float canonical = aqz_f32_canonical(v);

	if (dtype == AQZ_F32)
		memcpy(dst, &canonical, sizeof canonical);
	else
		aqz_put16(dst, dtype == AQZ_F16 ? aqz_f32_to_f16(v) : aqz_f32_to_bf16(v));
}

/* Codebooks, lines and scales of one tile. */
typedef struct tile_case {
	aqz_scheme scheme;
	aqz_table_facts facts;
	float *values, scales[AQZ_TILE_ROWS];
	uint8_t *lines;
	size_t n_values, n_lines_bytes;
} tile_case;

/* hard: infinities and NaN too, and values that no 16-bit float holds. */
static void case_make(tile_case *c, const char *scheme, bool hard, noise *r)
{
	aqz_scheme *s = &c->scheme;

	SURE(aqz_scheme_parse(s, scheme, NULL) == AQZ_OK);
	c->n_values = aqz_codewords(s) * aqz_codeword(s);
	c->values = sure_alloc(c->n_values * sizeof(float));
	fill_floats(c->values, c->n_values, hard ? VALUES_HARD : VALUES_RANDOM, r);
	fill_floats(c->scales, AQZ_TILE_ROWS, VALUES_RANDOM, r);
	for (size_t i = 0; hard && i < c->n_values; i += 1 + noise_next(r) % 16) {
		/* Subnormal, halfway and infinite in 16 bits. */
		static const float more[] = {INFINITY, -INFINITY, NAN, 65520, 65519, 0x1p-24f, 0x1.8p-25f,
			0x1.004p-14f, 3e38f, 0x1.01p0f, 0x1.03p-130f, 0x1.002p0f};

		c->values[i] = more[noise_next(r) % (sizeof more / sizeof *more)];
	}
	c->facts = aqz_table_look(c->values, s);
	for (size_t i = 0; hard && i < AQZ_TILE_ROWS; i += 3)
		c->scales[i] = i % 2 == 0 ? 0x1p-120f : 1;
	c->n_lines_bytes = (size_t)AQZ_TILE_GROUPS * s->n_codebooks * s->code_bits * 8;
	c->lines = sure_alloc(c->n_lines_bytes);
	noise_fill(r, c->lines, c->n_lines_bytes);
}

static void case_free(tile_case *c)
{
	free(c->values);
	free(c->lines);
}

/* All variants on one tile. tile's pointers are filled in here. */
static void check_tile(const tile_case *c, aqz_tile tile, bool scaled, unsigned d, place where)
{
	const aqz_scheme *s = &c->scheme;
	const size_t size = element_bytes(dtypes[d]), n_rows = tile.row_end - tile.row_begin;
	const size_t n_bytes = ((n_rows - 1) * tile.ld + tile.n_cols) * size;
	const size_t lines_bytes = (size_t)tile.n_groups * s->n_codebooks * s->code_bits * 8;
	uint8_t *due = sure_alloc(n_bytes);
	area values = area_input(c->values, c->n_values * sizeof(float), sizeof(float), where);
	area lines = area_input(c->lines, lines_bytes, 1, where);
	area scales = area_input(c->scales, sizeof c->scales, sizeof(float), where);
	aqz_tables tables = {.scheme = *s, .dtype = dtypes[d], .values = values.data};
	aqz_decode_tile_fn *decode;
	const char *name;

	tile.lines = lines.data;
	tile.scales = scaled ? scales.data : NULL;
	memset(due, 0xff, n_bytes); /* as the gaps between rows are */
	for (unsigned i = 0; i < n_rows; i++)
		for (unsigned j = 0; j < tile.n_cols; j++)
			put(due + (i * tile.ld + j) * size, element(&tile, &tables, tile.row_begin + i, j),
				dtypes[d]);
	for (unsigned v = 0; (decode = aqz_decode_tile_get(v, &name)) != NULL; v++)
		for (int known = 0; known < 2; known++) {
			area dst = area_alloc(n_bytes, 1, where);

			tables.facts = known ? c->facts : (aqz_table_facts){.known = false};
			kernel_now(names[d], name);
			tile.dst = dst.data;
			decode(&tile, &tables);
			kernel_same_bytes(dst.data, due, n_bytes);
			kernel_whole(&dst);
			kernel_digest(due, n_bytes);
			area_free(&dst);
		}
	area_free(&values), area_free(&lines), area_free(&scales);
	free(due);
}

static void check_scheme(const char *scheme, noise *r)
{
	for (int round = 0; round < 12; round++) {
		tile_case c;
		aqz_tile t = {0};

		case_make(&c, scheme, round % 4 == 3, r);
		const unsigned rows = AQZ_TILE_ROWS * c.scheme.out_group, in_group = c.scheme.in_group;
		t.n_groups =
			round % 3 == 0 ? AQZ_TILE_GROUPS : 1 + (unsigned)(noise_next(r) % AQZ_TILE_GROUPS);
		t.row_begin = round % 2 == 0 ? 0 : (unsigned)(noise_next(r) % rows);
		t.row_end = round % 2 == 0
			? rows
			: t.row_begin + 1 + (unsigned)(noise_next(r) % (rows - t.row_begin));
		t.n_cols = t.n_groups * in_group;
		if (round % 4 >= 2) /* the last group is cut off somewhere */
			t.n_cols -= (unsigned)(noise_next(r) % in_group);
		t.ld = t.n_cols + (round < 4 ? 0 : noise_next(r) % 20);
		t.stream = round % 2 == 0;
		check_tile(&c, t, round % 5 != 0, (unsigned)round % 3, (place)(noise_next(r) % N_PLACES));
		check_tile(
			&c, t, round % 5 == 0, (unsigned)(round + 1) % 3, (place)(noise_next(r) % N_PLACES));
		case_free(&c);
	}
}

static void check(noise *r)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "3x8g8", "4x8g8", "8x8g8", "2x8g16",
		"8x8g32", "1x8g64", "1x12g8", "2x12g8", "1x10g16", "1x16g8", "1x15g8", "2x5g4", "1x4g8",
		"3x3g8", "2x8g4", "1x1g7", "1x8g1", "2x9g2", "2x6g12", "2x8g8o2", "1x7g4o16", "6x3g3o5"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		check_scheme(schemes[i], r);
}

/* Full tiles into rows of 4096. */
static void measure(noise *r)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "4x8g8", "1x12g8", "1x16g8"};
	static char texts[sizeof schemes / sizeof *schemes][3][40];
	enum { LD = 4096 };
	float *dst = sure_alloc(AQZ_TILE_ROWS * LD * sizeof *dst);

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		for (unsigned d = 0; d < 3; d++) {
			aqz_decode_tile_fn *decode;
			const char *name;
			tile_case c;

			case_make(&c, schemes[i], false, r);
			const aqz_tables tables = {c.scheme, dtypes[d], c.values, c.facts};
			const unsigned n_cols = AQZ_TILE_GROUPS * c.scheme.in_group;
			const aqz_tile tile = {
				c.lines, AQZ_TILE_GROUPS, 0, AQZ_TILE_ROWS, n_cols, c.scales, dst, LD, false};

			snprintf(texts[i][d], sizeof texts[i][d], "%s %s", names[d], schemes[i]);
			for (unsigned v = 0; (decode = aqz_decode_tile_get(v, &name)) != NULL; v++)
				TIMED(texts[i][d], name, AQZ_TILE_ROWS * n_cols) decode(&tile, &tables);
			case_free(&c);
		}
	free(dst);
}

const kernel_family family_additive = {"additive", check, measure};
