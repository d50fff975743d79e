/* SPDX-License-Identifier: Apache-2.0 */
/* What all chunks of a trellis section share, as bytes: spec 7.3.2. A small layer has about a
 * kilobyte of it, so it is coded bit by bit. */
#include <math.h>

#include "codec/trellis.h"

enum { HEADER_BYTES = 9, FLAG_ROW_STEPS = 1 };
/* Rice codes: a unary part of UNARY ones at most stands for RAW_BITS bits as they are. */
enum { UNARY = 15, RAW_BITS = 9, RICE_BITS = 3, MAGNITUDE_BITS = 7 };
enum { MAX_Q = 96, FIRST_Q = 12, STEP_Q = 8 };

static aqz_status corrupt(aqz_error *err, const char *text)
{
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "entropy_table", "%s", text);
}

/* ---- Tables from their coded form. The same integers on every machine. */

/* round(4096 * 2^(-q / 8)) */
static const uint16_t weights[MAX_Q + 1] = {4096, 3756, 3444, 3158, 2896, 2656, 2435, 2233, 2048,
	1878, 1722, 1579, 1448, 1328, 1218, 1117, 1024, 939, 861, 790, 724, 664, 609, 558, 512, 470,
	431, 395, 362, 332, 304, 279, 256, 235, 215, 197, 181, 166, 152, 140, 128, 117, 108, 99, 91, 83,
	76, 70, 64, 59, 54, 49, 45, 41, 38, 35, 32, 29, 27, 25, 23, 21, 19, 17, 16, 15, 13, 12, 11, 10,
	10, 9, 8, 7, 7, 6, 6, 5, 5, 4, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1};

/* A table as it is coded. */
typedef struct coded_table {
	unsigned n_magnitudes;
	bool escape;
	uint8_t q[AQZ_TRELLIS_MAX_MAGNITUDE + 2]; /* the escape's, if there is one, is the last */
} coded_table;

/* How many indices a magnitude stands for. */
static unsigned copies(unsigned m, unsigned t)
{
	return m > 0 || t == 1 ? 2 : 1;
}

/* The frequencies of a table: one for each index, and what is left shared out by weight, the
 * fractions carried on to the next magnitude. The sums are below 2^20 and the products below 2^26. */
static void expand(aqz_trellis_table *table, const coded_table *c, unsigned t)
{
	const unsigned n = c->n_magnitudes;
	uint32_t sum = 0, n_indices = 0, carry = 0, room;

	for (unsigned m = 0; m < n; m++) {
		sum += copies(m, t) * weights[c->q[m]];
		n_indices += copies(m, t);
	}
	if (c->escape) {
		sum += weights[c->q[n]];
		n_indices++;
	}
	room = (1u << AQZ_RANS_BITS) - n_indices;
	memset(table, 0, sizeof *table);
	table->n_magnitudes = (uint8_t)n;
	for (unsigned m = 0; m < n; m++) {
		const uint32_t part = copies(m, t) * weights[c->q[m]] * room + carry;
		const uint32_t each = copies(m, t) * sum;

		table->frequency[m] = (uint16_t)(1 + part / each);
		carry = part % each;
	}
	if (c->escape) /* all of the weights are used up: the division leaves nothing */
		table->escape = (uint16_t)(1 + (weights[c->q[n]] * room + carry) / sum);
	else if (carry != 0) /* one is left, and there is one index without a mirror to take it */
		table->frequency[0]++;
}

/* The coded form that comes nearest. A frequency of 1 is what every index has. */
static unsigned nearest_q(unsigned frequency)
{
	const double q = frequency <= 1 ? MAX_Q : 8 * (AQZ_RANS_BITS - log2(frequency - 1));

	return q < 0 ? 0 : q > MAX_Q ? MAX_Q : (unsigned)lround(q);
}

static void reduce(coded_table *c, const aqz_trellis_table *t)
{
	c->n_magnitudes = t->n_magnitudes;
	c->escape = t->escape != 0;
	for (unsigned m = 0; m < c->n_magnitudes; m++)
		c->q[m] = (uint8_t)nearest_q(t->frequency[m]);
	c->q[c->n_magnitudes] = (uint8_t)nearest_q(t->escape);
}

/* What q[i] is coded as a difference from: the line through the two before it. */
static int predicted_q(const coded_table *c, unsigned i)
{
	const int q = i == 0 ? FIRST_Q : i == 1 ? c->q[0] + STEP_Q : 2 * c->q[i - 1] - c->q[i - 2];

	return q < 0 ? 0 : q > MAX_Q ? MAX_Q : q;
}

/* ---- Bits, least significant first */

typedef struct bit_writer {
	aqz_buffer *out;
	uint32_t bits;
	unsigned n;
	aqz_status status;
	aqz_error *err;
} bit_writer;

static void put(bit_writer *w, unsigned value, unsigned n)
{
	w->bits |= (uint32_t)value << w->n;
	for (w->n += n; w->n >= 8; w->n -= 8, w->bits >>= 8) {
		const uint8_t byte = (uint8_t)w->bits;

		if (w->status == AQZ_OK)
			w->status = aqz_buffer_add(w->out, &byte, 1, w->err);
	}
}

static unsigned zigzag(int d)
{
	return d >= 0 ? 2u * (unsigned)d : 2u * (unsigned)-d - 1;
}

static unsigned rice_bits(unsigned z, unsigned rice)
{
	return z >> rice < UNARY ? (z >> rice) + 1 + rice : UNARY + RAW_BITS;
}

static void put_rice(bit_writer *w, unsigned z, unsigned rice)
{
	const unsigned ones = z >> rice;

	if (ones < UNARY) {
		put(w, (1u << ones) - 1, ones + 1);
		put(w, z & ((1u << rice) - 1), rice);
	} else {
		put(w, (1u << UNARY) - 1, UNARY);
		put(w, z, RAW_BITS);
	}
}

typedef struct bit_reader {
	const uint8_t *bytes;
	uint64_t at, n; /* bits */
	bool failed;
} bit_reader;

static unsigned get(bit_reader *r, unsigned n)
{
	unsigned value = 0;

	if (n > r->n - r->at) {
		r->failed = true;
		return 0;
	}
	for (unsigned i = 0; i < n; i++, r->at++)
		value |= (unsigned)(r->bytes[r->at / 8] >> r->at % 8 & 1) << i;
	return value;
}

static unsigned get_rice(bit_reader *r, unsigned rice)
{
	unsigned ones = 0, z;

	while (ones < UNARY && get(r, 1) == 1)
		ones++;
	if (ones < UNARY)
		return ones << rice | get(r, rice);
	z = get(r, RAW_BITS);
	if (z >> rice < UNARY) /* has a shorter code */
		r->failed = true;
	return z;
}

static int unzigzag(unsigned z)
{
	return z % 2 == 0 ? (int)(z / 2) : -(int)(z / 2) - 1;
}

/* ---- Arrays of exponents */

/* The form that takes the fewest bits; returns how many the values take. */
static uint64_t choose_form(int *best_centre, unsigned *best_rice, const int8_t *v, uint64_t n)
{
	uint64_t counts[256] = {0}, best_bits = UINT64_MAX;
	int low = 127, high = -128;

	for (uint64_t i = 0; i < n; i++) {
		counts[v[i] + 128]++;
		low = v[i] < low ? v[i] : low;
		high = v[i] > high ? v[i] : high;
	}
	/* A centre that is beyond all of them is no better than the one next to it. */
	for (int centre = low; centre <= high; centre++)
		for (unsigned rice = 0; rice < 1 << RICE_BITS; rice++) {
			uint64_t bits = 0;

			for (int k = low; k <= high; k++)
				bits += counts[k + 128] * rice_bits(zigzag(k - centre), rice);
			if (bits < best_bits) {
				best_bits = bits;
				*best_centre = centre;
				*best_rice = rice;
			}
		}
	return best_bits;
}

static void put_array(bit_writer *w, const int8_t *v, uint64_t n)
{
	int best_centre = 0;
	unsigned best_rice = 0;

	choose_form(&best_centre, &best_rice, v, n);
	put(w, (unsigned)best_centre & 0xff, 8);
	put(w, best_rice, RICE_BITS);
	for (uint64_t i = 0; i < n; i++)
		put_rice(w, zigzag(v[i] - best_centre), best_rice);
}

uint64_t aqz_trellis_row_bits(const aqz_trellis_params *p)
{
	uint64_t bits;
	int centre;
	unsigned rice;

	bits = choose_form(&centre, &rice, p->row_size, p->rows);
	if (p->has_row_steps)
		bits += choose_form(&centre, &rice, p->row_step, p->rows);
	return bits;
}

static bool get_array(bit_reader *r, int8_t *v, uint64_t n)
{
	const int centre = (int8_t)get(r, 8);
	const unsigned rice = get(r, RICE_BITS);

	for (uint64_t i = 0; i < n; i++) {
		const int value = centre + unzigzag(get_rice(r, rice));

		if (r->failed || value < -128 || value > 127)
			return false;
		v[i] = (int8_t)value;
	}
	return !r->failed;
}

/* ---- All of it */

static unsigned table_sets(const aqz_trellis_params *p)
{
	return p->state_bits == 0 ? 1 : 2;
}

static const char *fault(const aqz_trellis_params *p)
{
	if (!(p->base >= 0x1p-90f && p->base <= 0x1p60f))
		return "the base step is not within 2^-90 to 2^60";
	if (p->n_buckets < 1 || p->n_buckets > AQZ_TRELLIS_MAX_BUCKETS)
		return "the number of buckets is not within 1 to 64";
	if (p->n_tables < 1 || p->n_tables > p->n_buckets)
		return "there are no tables, or more than buckets";
	if (p->n_tables > aqz_trellis_max_tables(p->rows, p->cols))
		return "there are more than 32 tables, or too many for so small a matrix";
	return NULL;
}

static bool table_possible(const aqz_trellis_table *t)
{
	return t->n_magnitudes >= 1 && t->n_magnitudes <= AQZ_TRELLIS_MAX_MAGNITUDE + 1;
}

static aqz_status writable(const aqz_trellis_params *p, aqz_error *err)
{
	const char *text = fault(p);

	if (p->state_bits == 1 || p->state_bits > AQZ_TRELLIS_MAX_STATE_BITS)
		text = "there is no such trellis";
	for (unsigned i = 0; text == NULL && i < p->n_buckets; i++) {
		const unsigned before = i == 0 ? 0 : p->bucket_table[i - 1];

		if (p->bucket_table[i] - before > (i != 0) || p->bucket_table[i] >= p->n_tables)
			text = "the tables of the buckets do not rise by 0 or 1";
	}
	if (text == NULL && p->bucket_table[p->n_buckets - 1] != p->n_tables - 1)
		text = "there are tables without buckets";
	for (unsigned i = 0; text == NULL && i < p->n_tables; i++)
		for (unsigned t = 0; t < table_sets(p); t++)
			if (!table_possible(&p->tables[i][t]))
				text = "a table has not 1 to 127 magnitudes";
	if (text != NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "trellis", "%s", text);
	return AQZ_OK;
}

/* The Rice parameter by which numbers that came so often take the fewest bits. */
static unsigned best_rice_of(const unsigned *counts, unsigned n)
{
	unsigned best = 0, best_bits = UINT32_MAX;

	for (unsigned rice = 0; rice < 1 << RICE_BITS; rice++) {
		unsigned bits = 0;

		for (unsigned z = 0; z < n; z++)
			bits += counts[z] * rice_bits(z, rice);
		if (bits < best_bits) {
			best_bits = bits;
			best = rice;
		}
	}
	return best;
}

/* Leaves the tables as they will be read. */
static void put_tables(bit_writer *w, aqz_trellis_params *p)
{
	coded_table coded[AQZ_TRELLIS_MAX_TABLES][2];
	unsigned counts[2 * MAX_Q + 2] = {0}, rice;

	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned t = 0; t < table_sets(p); t++) {
			coded_table *c = &coded[i][t];

			reduce(c, &p->tables[i][t]);
			expand(&p->tables[i][t], c, t);
			for (unsigned m = 0; m < c->n_magnitudes + c->escape; m++)
				counts[zigzag(c->q[m] - predicted_q(c, m))]++;
		}
	rice = best_rice_of(counts, sizeof counts / sizeof *counts);
	put(w, rice, RICE_BITS);
	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned t = 0; t < table_sets(p); t++) {
			const coded_table *c = &coded[i][t];

			put(w, c->n_magnitudes - 1, MAGNITUDE_BITS);
			put(w, c->escape, 1);
			for (unsigned m = 0; m < c->n_magnitudes + c->escape; m++)
				put_rice(w, zigzag(c->q[m] - predicted_q(c, m)), rice);
		}
}

void aqz_trellis_geometry(
	aqz_scheme *scheme, uint64_t *rows, uint64_t *cols, const aqz_trellis_params *p)
{
	*scheme = aqz_trellis_scheme(p->state_bits);
	*rows = p->rows;
	*cols = p->cols;
}

aqz_status aqz_trellis_params_write(aqz_buffer *out, aqz_trellis_params *p, aqz_error *err)
{
	bit_writer w = {.out = out, .err = err};
	uint8_t header[HEADER_BYTES] = {0};
	uint32_t base;
	aqz_status status = AQZ_OK;

	AQZ_TRY(writable(p, err));
	memcpy(&base, &p->base, sizeof base);
	aqz_put32(header, base);
	aqz_put16(header + 4, (uint16_t)p->bias);
	header[6] = p->n_buckets;
	header[7] = p->n_tables;
	header[8] = p->has_row_steps ? FLAG_ROW_STEPS : 0;
	AQZ_TRY(aqz_buffer_add(out, header, sizeof header, err));
	for (unsigned i = 1; i < p->n_buckets; i++)
		put(&w, p->bucket_table[i] != p->bucket_table[i - 1], 1);
	put_array(&w, p->column_step, p->cols);
	put_array(&w, p->column_size, p->cols);
	put_array(&w, p->row_size, p->rows);
	if (p->has_row_steps)
		put_array(&w, p->row_step, p->rows);
	put_tables(&w, p);
	if (w.n > 0)
		put(&w, 0, 8 - w.n);
	status = w.status;
out:
	return status;
}

static bool get_tables(bit_reader *r, aqz_trellis_params *p)
{
	const unsigned rice = get(r, RICE_BITS);

	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned t = 0; t < table_sets(p); t++) {
			coded_table c = {.n_magnitudes = get(r, MAGNITUDE_BITS) + 1};

			c.escape = get(r, 1) != 0;
			if (c.n_magnitudes > AQZ_TRELLIS_MAX_MAGNITUDE + 1)
				return false;
			for (unsigned m = 0; m < c.n_magnitudes + c.escape; m++) {
				const int q = predicted_q(&c, m) + unzigzag(get_rice(r, rice));

				if (r->failed || q < 0 || q > MAX_Q)
					return false;
				c.q[m] = (uint8_t)q;
			}
			expand(&p->tables[i][t], &c, t);
		}
	return !r->failed;
}

aqz_status aqz_trellis_params_read(
	aqz_trellis_params *p, const uint8_t *bytes, size_t n, aqz_error *err)
{
	bit_reader r = {.bytes = bytes, .at = 8 * HEADER_BYTES, .n = 8 * (uint64_t)n};
	uint32_t base;
	aqz_status status = AQZ_OK;

	p->column_step = p->column_size = p->row_step = p->row_size = NULL;
	if (n < HEADER_BYTES)
		return corrupt(err, "the parameters are cut off");
	/* Each exponent takes a bit at least, so these allocations are in proportion to the bytes. */
	if (p->rows > r.n || p->cols > r.n || p->rows + p->cols > r.n)
		return corrupt(err, "the parameters are too short for so many rows and columns");
	base = aqz_get32(bytes);
	memcpy(&p->base, &base, sizeof base);
	p->bias = (int16_t)aqz_get16(bytes + 4);
	p->n_buckets = bytes[6];
	p->n_tables = bytes[7];
	p->has_row_steps = (bytes[8] & FLAG_ROW_STEPS) != 0;
	if ((bytes[8] & ~FLAG_ROW_STEPS) != 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "entropy_table",
			"a reserved flag of the trellis parameters is set");
	if (fault(p) != NULL)
		return corrupt(err, fault(p));
	p->column_step = malloc((size_t)p->cols);
	p->column_size = malloc((size_t)p->cols);
	p->row_size = malloc((size_t)p->rows);
	p->row_step = calloc(1, (size_t)p->rows);
	if (!p->column_step || !p->column_size || !p->row_size || !p->row_step)
		AQZ_TRY(aqz_fail_nomem(err, 2 * (p->rows + p->cols)));
	p->bucket_table[0] = 0;
	for (unsigned i = 1; i < p->n_buckets; i++)
		p->bucket_table[i] = (uint8_t)(p->bucket_table[i - 1] + get(&r, 1));
	if (p->bucket_table[p->n_buckets - 1] != p->n_tables - 1)
		AQZ_TRY(corrupt(err, "the buckets do not have so many tables"));
	if (!get_array(&r, p->column_step, p->cols) || !get_array(&r, p->column_size, p->cols) ||
		!get_array(&r, p->row_size, p->rows) ||
		(p->has_row_steps && !get_array(&r, p->row_step, p->rows)))
		AQZ_TRY(corrupt(err, "the exponents of rows and columns do not decode"));
	if (!get_tables(&r, p))
		AQZ_TRY(corrupt(err, "the tables of frequencies do not decode"));
	if (r.n - r.at >= 8 || get(&r, (unsigned)(r.n - r.at)) != 0)
		AQZ_TRY(corrupt(err, "bits follow the last table"));
out:
	if (status != AQZ_OK)
		aqz_trellis_params_free(p);
	return status;
}

void aqz_trellis_params_free(aqz_trellis_params *p)
{
	free(p->column_step);
	free(p->column_size);
	free(p->row_step);
	free(p->row_size);
	p->column_step = p->column_size = p->row_step = p->row_size = NULL;
}
