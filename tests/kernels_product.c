/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of products on codes: tables and integer look-ups give the bits of codec/product.h's formulas; what is
 * summed in binary32 stays within its error. */
#include <math.h>

#include "base/float.h"
#include "codec/product.h"
#include "tests/kernel_check.h"

static const aqz_product_kernels *variant; /* that is looked at */

static void now(const char *kernel)
{
	kernel_now(kernel, variant->name);
}

/* A scheme with codebooks, lines of random codes and a vector for some groups. */
typedef struct product_case {
	aqz_scheme scheme;
	unsigned n_groups, n_codebooks, in_group;
	size_t n_codes, n_values, line_bytes;
	float *values; /* [M][2^B][O][G] */
	uint8_t *lines;
	float *x; /* [AQZ_PRODUCT_COLUMNS][n_groups][G] */
} product_case;

static void case_make(product_case *c, const char *name, unsigned n_groups, int kind, noise *r)
{
	aqz_scheme *s = &c->scheme;

	SURE(aqz_scheme_parse(s, name, NULL) == AQZ_OK);
	c->n_groups = n_groups;
	c->n_codebooks = s->n_codebooks;
	c->in_group = s->in_group;
	c->n_codes = (size_t)1 << s->code_bits;
	c->n_values = aqz_codewords(s) * aqz_codeword(s);
	c->line_bytes = s->code_bits * 8u;
	c->values = sure_alloc(c->n_values * sizeof(float));
	c->lines = sure_alloc(n_groups * s->n_codebooks * c->line_bytes);
	c->x = sure_alloc((size_t)AQZ_PRODUCT_COLUMNS * n_groups * s->in_group * sizeof(float));
	fill_floats(c->values, c->n_values, kind, r);
	fill_floats(c->x, (size_t)AQZ_PRODUCT_COLUMNS * n_groups * s->in_group, kind, r);
	noise_fill(r, c->lines, n_groups * s->n_codebooks * c->line_bytes);
}

static void case_free(product_case *c)
{
	free(c->values);
	free(c->lines);
	free(c->x);
}

/* ---- Tables, and the largest of them */

static float table_value(const product_case *c, unsigned j, unsigned m, size_t code)
{
	float sum = 0;

	for (unsigned g = 0; g < c->in_group; g++)
		sum += c->x[j * c->in_group + g] * c->values[(m * c->n_codes + code) * c->in_group + g];
	return sum;
}

static void check_tables(const product_case *c, place where)
{
	const size_t n = (size_t)c->n_groups * c->n_codebooks * c->n_codes;
	float *turned = sure_alloc(c->n_values * sizeof *turned), *due = sure_alloc(n * sizeof *due);
	area in, x, out;

	for (unsigned m = 0; m < c->n_codebooks; m++)
		for (size_t code = 0; code < c->n_codes; code++)
			for (unsigned g = 0; g < c->in_group; g++)
				turned[(m * c->in_group + g) * c->n_codes + code] =
					c->values[(m * c->n_codes + code) * c->in_group + g];
	for (unsigned j = 0; j < c->n_groups; j++)
		for (unsigned m = 0; m < c->n_codebooks; m++)
			for (size_t code = 0; code < c->n_codes; code++)
				due[(j * c->n_codebooks + m) * c->n_codes + code] = table_value(c, j, m, code);
	in = area_input(turned, c->n_values * sizeof *turned, sizeof(float), where);
	x = area_input(c->x, (size_t)c->n_groups * c->in_group * sizeof(float), sizeof(float), where);
	if (variant->turn != NULL) {
		area plain = area_input(c->values, c->n_values * sizeof *turned, sizeof(float), where);

		out = area_alloc(c->n_values * sizeof *turned, sizeof(float), where);
		now("turn");
		for (unsigned m = 0; m < c->n_codebooks; m++)
			variant->turn((float *)out.data + m * c->n_codes * c->in_group,
				(float *)plain.data + m * c->n_codes * c->in_group, c->in_group, c->n_codes);
		kernel_same_bytes(out.data, turned, c->n_values * sizeof *turned);
		kernel_whole(&out);
		area_free(&plain), area_free(&out);
	}
	out = area_alloc(n * sizeof *due, sizeof(float), where);
	now("tables");
	variant->tables(out.data, in.data, x.data, c->n_groups, &c->scheme);
	kernel_same_floats(out.data, due, n);
	kernel_whole(&out);
	kernel_digest_floats(due, n);
	area_free(&in), area_free(&x), area_free(&out);
	free(turned);
	free(due);
}

static void check_largest(size_t n, place where, noise *r)
{
	static const float special[] = {INFINITY, -INFINITY, NAN, -3e38f, -0.0f};
	float v[200];

	SURE(n <= 200);
	now("largest");
	for (int round = 0; round < 8; round++) {
		uint32_t due = 0, got;
		area in;

		fill_floats(v, n, round % N_VALUES, r);
		if (n > 0 && round >= 3)
			v[noise_next(r) % n] = special[round - 3];
		for (size_t i = 0; i < n; i++) {
			const uint32_t bits = aqz_f32_bits(v[i]) & 0x7fffffff;

			due = bits > due ? bits : due;
		}
		in = area_input(v, n * sizeof *v, sizeof *v, where);
		got = variant->largest(in.data, n);
		KERNEL_CHECK(got == due, "%zu values: %08x, not %08x", n, got, due);
		area_free(&in);
	}
}

/* ---- Integer tables */

static void check_widen(unsigned bits, unsigned n_lines, place where, noise *r)
{
	uint8_t lines[7 * 8 * 5], due[AQZ_TILE_ROWS * 5];
	uint16_t codes[AQZ_TILE_ROWS];
	area in, out;

	noise_fill(r, lines, sizeof lines);
	for (unsigned k = 0; k < n_lines; k++) {
		aqz_t64_unpack(codes, lines + k * bits * 8, bits);
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			due[k * AQZ_TILE_ROWS + i] = (uint8_t)codes[i];
	}
	in = area_input(lines, (size_t)n_lines * bits * 8, 1, where);
	out = area_alloc((size_t)n_lines * AQZ_TILE_ROWS, AQZ_TILE_ROWS, where);
	now("widen");
	variant->widen(out.data, in.data, n_lines, bits);
	kernel_same_bytes(out.data, due, out.n_bytes);
	kernel_whole(&out);
	area_free(&in), area_free(&out);
}

/* Random sizes; entries of both signs up to the most there may be, in all tables of a unit alike. */
static void check_lut(
	const aqz_product_lut *lut, const char *name, unsigned bits, int kind, place where, noise *r)
{
	const unsigned n_codes = 1u << bits, n_tables = 1 + (unsigned)(noise_next(r) % AQZ_LUT_TABLES);
	const unsigned unit = 1 + (unsigned)(noise_next(r) % lut->unit),
				   n_blocks = (unsigned)(noise_next(r) % 6);
	const size_t block_bytes =
		(size_t)n_tables * AQZ_TILE_ROWS + (size_t)(noise_next(r) % 3) * AQZ_TILE_ROWS;
	const size_t n_lines_bytes =
		n_blocks == 0 ? 0 : (n_blocks - 1) * block_bytes + (size_t)n_tables * AQZ_TILE_ROWS;
	float *tables = sure_alloc((size_t)n_tables * n_codes * sizeof *tables), scales[AQZ_LUT_TABLES];
	float *due = sure_alloc((size_t)n_blocks * AQZ_TILE_ROWS * sizeof *due);
	uint8_t *codes = sure_alloc(n_lines_bytes);
	area a_tables, entries, a_scales, lines, y;

	fill_floats(tables, (size_t)n_tables * n_codes, kind, r);
	for (size_t i = 0; i < (size_t)n_tables * n_codes; i++) /* -1 to 1 */
		tables[i] = kind == VALUES_HARD ? (i % 7 == 0 ? 1 : -1)
			: kind == VALUES_RANDOM		? tables[i] / 2
										: tables[i];
	fill_floats(scales, AQZ_LUT_TABLES, VALUES_RANDOM, r);
	fill_floats(due, (size_t)n_blocks * AQZ_TILE_ROWS, VALUES_RANDOM, r);
	noise_fill(r, codes, n_lines_bytes);
	for (size_t i = 0; i < n_lines_bytes; i++)
		codes[i] = (uint8_t)(codes[i] % n_codes);
	y = area_alloc((size_t)n_blocks * AQZ_TILE_ROWS * sizeof *due, sizeof *due, where);
	if (n_blocks > 0)
		memcpy(y.data, due, y.n_bytes);
	for (unsigned b = 0; b < n_blocks; b++)
		for (unsigned k = 0; k < n_tables; k += unit)
			for (unsigned i = 0; i < AQZ_TILE_ROWS; i++) {
				long sum = 0;

				for (unsigned t = k; t < n_tables && t < k + unit; t++) {
					const uint8_t code = codes[b * block_bytes + t * AQZ_TILE_ROWS + i];

					sum += lrintf(tables[t * n_codes + code] * lut->most);
				}
				due[b * AQZ_TILE_ROWS + i] += (float)sum * scales[k / unit];
			}
	a_tables = area_input(tables, (size_t)n_tables * n_codes * sizeof *tables, sizeof(float), where);
	entries = area_alloc((size_t)n_tables * lut->table_bytes, 64, where);
	now(name);
	lut->entries(entries.data, a_tables.data, n_tables, n_codes, lut->most);
	kernel_whole(&entries);
	a_scales =
		area_input(scales, (n_tables + unit - 1) / unit * sizeof *scales, sizeof(float), where);
	lines = area_input(codes, n_lines_bytes, 1, where);
	/* What is fetched for later need not be there. */
	lut->look_up(y.data, lines.data, block_bytes, n_blocks, entries.data, a_scales.data, n_tables,
		unit, 3 << 20);
	kernel_same_floats(y.data, due, (size_t)n_blocks * AQZ_TILE_ROWS);
	kernel_whole(&y);
	if (lut->most == 127 || lut->most == 32767)
		kernel_digest_floats(due, (size_t)n_blocks * AQZ_TILE_ROWS);
	area_free(&a_tables), area_free(&entries), area_free(&a_scales), area_free(&lines), area_free(&y);
	free(tables);
	free(due);
	free(codes);
}

/* ---- Tables in binary32, and codewords directly: within the errors of so many roundings */

static void near_sum(float got, double sum, double size, size_t n_terms)
{
	KERNEL_CHECK(fabs((double)got - sum) <= 0x1p-24 * ((double)n_terms + 4) * size,
		"%.9g, not %.9g", (double)got, sum);
}

/* Codes of group j, codebook m: [64]. */
static void unpack(uint16_t codes[AQZ_TILE_ROWS], const product_case *c, unsigned j, unsigned m)
{
	aqz_t64_unpack(codes, c->lines + (j * c->n_codebooks + m) * c->line_bytes, c->scheme.code_bits);
}

static void check_look_up(const product_case *c, place where, noise *r)
{
	const size_t n = (size_t)c->n_groups * c->n_codebooks * c->n_codes;
	float *plain = sure_alloc(n * sizeof *plain);
	double sum[AQZ_TILE_ROWS], size[AQZ_TILE_ROWS];
	area tables, lines, acc = area_alloc(AQZ_TILE_ROWS * sizeof(float), sizeof(float), where);
	float *y = acc.data;

	fill_floats(plain, n, VALUES_RANDOM, r);
	fill_floats(y, AQZ_TILE_ROWS, VALUES_RANDOM, r);
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
		sum[i] = (double)y[i], size[i] = fabs(sum[i]);
	for (unsigned j = 0; j < c->n_groups; j++)
		for (unsigned m = 0; m < c->n_codebooks; m++) {
			uint16_t codes[AQZ_TILE_ROWS];

			unpack(codes, c, j, m);
			for (unsigned i = 0; i < AQZ_TILE_ROWS; i++) {
				const double term = (double)plain[(j * c->n_codebooks + m) * c->n_codes + codes[i]];

				sum[i] += term;
				size[i] += fabs(term);
			}
		}
	tables = area_input(plain, n * sizeof *plain, sizeof(float), where);
	lines = area_input(c->lines, c->n_groups * c->n_codebooks * c->line_bytes, 1, where);
	now("look_up");
	variant->look_up(y, lines.data, tables.data, c->n_groups, &c->scheme);
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
		near_sum(y[i], sum[i], size[i], (size_t)c->n_groups * c->n_codebooks);
	kernel_whole(&acc);
	kernel_digest_floats(y, AQZ_TILE_ROWS);
	area_free(&tables), area_free(&lines), area_free(&acc);
	free(plain);
}

static void check_direct(const product_case *c, unsigned n_columns, place where, noise *r)
{
	const unsigned d = aqz_codeword(&c->scheme), out_group = c->scheme.out_group;
	const size_t x_ld = (size_t)c->n_groups * c->in_group + 5,
				 n = (size_t)n_columns * AQZ_TILE_ROWS * d;
	float *x = sure_alloc(n_columns * x_ld * sizeof *x), *start = sure_alloc(n * sizeof *start);
	double *sum = sure_alloc(n * sizeof *sum), *size = sure_alloc(n * sizeof *size);
	uint16_t *halves = sure_alloc(c->n_values * sizeof *halves);
	area values = area_input(c->values, c->n_values * sizeof(float), sizeof(float), where);
	area lines = area_input(c->lines, c->n_groups * c->n_codebooks * c->line_bytes, 1, where), half,
		 in;
	const aqz_tables tables = {.scheme = c->scheme, .dtype = AQZ_F32, .values = values.data};
	bool exact = variant->halve != NULL;

	fill_floats(start, n, VALUES_RANDOM, r);
	for (unsigned t = 0; t < n_columns; t++)
		memcpy(x + t * x_ld, c->x + (size_t)t * c->n_groups * c->in_group,
			(size_t)c->n_groups * c->in_group * sizeof *x);
	in = area_input(x, ((n_columns - 1) * x_ld + (size_t)c->n_groups * c->in_group) * sizeof *x,
		sizeof *x, where);
	for (size_t i = 0; i < n; i++)
		sum[i] = (double)start[i], size[i] = fabs(sum[i]);
	for (unsigned j = 0; j < c->n_groups; j++)
		for (unsigned m = 0; m < c->n_codebooks; m++) {
			uint16_t codes[AQZ_TILE_ROWS];

			unpack(codes, c, j, m);
			for (unsigned t = 0; t < n_columns; t++)
				for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
					for (unsigned k = 0; k < d; k++) {
						const double v = (double)c->values[(m * c->n_codes + codes[i]) * d + k];
						const double term =
							v * (double)x[t * x_ld + j * c->in_group + k % c->in_group];

						sum[(t * AQZ_TILE_ROWS + i) * d + k] += term;
						size[(t * AQZ_TILE_ROWS + i) * d + k] += fabs(term);
					}
		}
	(void)out_group;
	if (exact) {
		now("halve");
		exact = variant->halve(halves, values.data, c->n_values);
		for (size_t i = 0; i < c->n_values; i++) {
			const uint16_t due = aqz_f32_to_f16(c->values[i]);

			if (exact)
				KERNEL_CHECK(halves[i] == due && aqz_f16_to_f32(due) == c->values[i],
					"%a is no half", (double)c->values[i]);
		}
	}
	half = area_input(halves, c->n_values * sizeof *halves, sizeof *halves, where);
	for (int with_half = 0; with_half <= exact; with_half++) {
		area acc = area_alloc(n * sizeof(float), sizeof(float), where);

		memcpy(acc.data, start, acc.n_bytes);
		now("direct");
		variant->direct(acc.data, lines.data, in.data, x_ld, n_columns, c->n_groups, &tables,
			with_half ? half.data : NULL);
		for (size_t i = 0; i < n; i++)
			near_sum(((float *)acc.data)[i], sum[i], size[i], (size_t)c->n_groups + c->n_codebooks);
		kernel_whole(&acc);
		if (!with_half)
			kernel_digest_floats(acc.data, n);
		area_free(&acc);
	}
	area_free(&values), area_free(&lines), area_free(&half), area_free(&in);
	free(x);
	free(start);
	free(sum);
	free(size);
	free(halves);
}

/* Values that are halves, so that codebooks in binary16 are exact. */
static void make_halves(float *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		v[i] = aqz_f16_to_f32(aqz_f32_to_f16(v[i]));
}

static void check_variant(noise *r)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "3x8g8", "4x8g16", "8x8g32", "2x5g4",
		"1x1g8", "3x3g3", "1x2g1", "1x4g8", "2x7g8", "1x10g8", "2x12g8", "1x8g64", "5x6g12"};
	static const char *const wide[] = {"1x16g8", "2x14g4", "2x8g8o2", "1x7g4o16", "6x3g3o5"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		for (unsigned n_groups = 1; n_groups <= 9; n_groups += 1 + n_groups / 3) {
			const place where = (place)((i + n_groups) % N_PLACES);
			product_case c;

			case_make(&c, schemes[i], n_groups, n_groups == 3 ? VALUES_HARD : VALUES_RANDOM, r);
			check_tables(&c, where);
			check_look_up(&c, where, r);
			case_free(&c);
			case_make(&c, schemes[i], n_groups, VALUES_RANDOM, r);
			if (n_groups % 2 == 0)
				make_halves(c.values, c.n_values);
			check_direct(&c, 1 + (unsigned)(noise_next(r) % AQZ_PRODUCT_COLUMNS), where, r);
			case_free(&c);
		}
	for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
		for (int exact = 0; exact < 2; exact++) {
			product_case c;

			case_make(&c, wide[i], 1 + (unsigned)(noise_next(r) % AQZ_TILE_GROUPS), VALUES_RANDOM, r);
			if (exact)
				make_halves(c.values, c.n_values);
			check_direct(&c, 1 + (unsigned)(noise_next(r) % 3), (place)(i % N_PLACES), r);
			case_free(&c);
		}
	for (size_t n = 0; n < 200; n += 1 + n / 20)
		check_largest(n, (place)(n % N_PLACES), r);
	for (unsigned bits = 1; bits < 8; bits++)
		for (unsigned n_lines = 0; n_lines <= 5; n_lines++)
			check_widen(bits, n_lines, (place)((bits + n_lines) % N_PLACES), r);
	for (unsigned bits = 1; bits <= 8; bits++)
		for (int round = 0; round < (bits == 8 ? 60 : 12); round++) {
			check_lut(&variant->lut16, variant->lut16.most == 32767 ? "LUT16" : "LUT13", bits,
				round % N_VALUES, (place)(round / N_VALUES % N_PLACES), r);
			check_lut(&variant->lut8, "LUT8", bits, round % N_VALUES,
				(place)(round / N_VALUES % N_PLACES), r);
		}
}

static void check(noise *r)
{
	for (unsigned v = 0; (variant = aqz_product_kernels_get(v)) != NULL; v++) {
		noise same = *r;

		check_variant(&same);
	}
}

/* ---- Time: one K-block of tables in the first-level cache, and 16 row blocks */

static void measure_lut(const aqz_product_lut *lut, const char *name, noise *r)
{
	enum { TABLES = 32, BLOCKS = 16 };
	static float tables[TABLES * AQZ_LUT_ENTRIES], y[BLOCKS * AQZ_TILE_ROWS], scales[AQZ_LUT_TABLES];
	static _Alignas(64) uint8_t entries[TABLES * 512], lines[(BLOCKS + 2) * TABLES * AQZ_TILE_ROWS];
	static char texts[4][40];
	char *text = texts[(strcmp(name, "LUT8") == 0) * 2];

	fill_floats(tables, TABLES * AQZ_LUT_ENTRIES, VALUES_RANDOM, r);
	noise_fill(r, lines, sizeof lines);
	snprintf(text, sizeof texts[0], "%s entries", name);
	TIMED(text, variant->name, TABLES * AQZ_LUT_ENTRIES)
	lut->entries(entries, tables, TABLES, AQZ_LUT_ENTRIES, lut->most / 2);
	text = texts[(strcmp(name, "LUT8") == 0) * 2 + 1];
	snprintf(text, sizeof texts[0], "%s look_up", name);
	TIMED(text, variant->name, BLOCKS * TABLES * AQZ_TILE_ROWS)
	lut->look_up(y, lines, TABLES * AQZ_TILE_ROWS, BLOCKS, entries, scales, TABLES, lut->unit, 0);
}

static void measure_scheme(const char *scheme, unsigned n_groups, noise *r)
{
	static char texts[3][40];
	product_case c;

	case_make(&c, scheme, n_groups, VALUES_RANDOM, r);
	make_halves(c.values, c.n_values);
	const size_t n_tables = (size_t)n_groups * c.n_codebooks, d = aqz_codeword(&c.scheme);
	float *tables = sure_alloc(n_tables * c.n_codes * sizeof *tables);
	float *acc = sure_alloc((size_t)AQZ_PRODUCT_COLUMNS * AQZ_TILE_ROWS * d * sizeof *acc);
	const aqz_tables t = {.scheme = c.scheme, .dtype = AQZ_F32, .values = c.values};
	const double n = (double)(AQZ_TILE_ROWS * d) * n_groups;

	if (c.scheme.code_bits <= 12) {
		snprintf(texts[0], sizeof texts[0], "tables %s", scheme);
		TIMED(texts[0], variant->name, (double)(n_tables * c.n_codes))
		variant->tables(tables, c.values, c.x, n_groups, &c.scheme);
		snprintf(texts[1], sizeof texts[1], "look_up %s", scheme);
		TIMED(texts[1], variant->name, n)
		variant->look_up(acc, c.lines, tables, n_groups, &c.scheme);
	}
	for (unsigned columns = 1; columns <= AQZ_PRODUCT_COLUMNS; columns *= 8) {
		snprintf(texts[2], sizeof texts[2], "direct %s, %u columns", scheme, columns);
		TIMED(texts[2], variant->name, n * columns)
		variant->direct(
			acc, c.lines, c.x, (size_t)n_groups * c.in_group, columns, n_groups, &t, NULL);
	}
	free(tables);
	free(acc);
	case_free(&c);
}

static void measure(noise *r)
{
	static const char *const schemes[] = {"1x8g8", "2x8g8", "1x12g8", "1x16g8"};

	for (unsigned v = 0; (variant = aqz_product_kernels_get(v)) != NULL; v++) {
		measure_lut(&variant->lut16, "LUT16", r);
		measure_lut(&variant->lut8, "LUT8", r);
		for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
			measure_scheme(schemes[i], AQZ_TILE_GROUPS, r);
	}
}

const kernel_family family_product = {"product", check, measure};
