/* SPDX-License-Identifier: Apache-2.0 */
/* Coding a chunk of indices by rANS, spec 7.3.3 (Duda, arXiv:1311.2540): 32 states, one for each
 * lane, and one stream of words. A decoder goes forwards, so this goes backwards; the words are
 * collected in the order in which they are made and turned round at the end. */
#include <inttypes.h>

#include "codec/trellis.h"

enum { LANES = AQZ_TRELLIS_LANES, WORDS_PER_INDEX = 4 };

unsigned aqz_trellis_slot(unsigned *frequency, const aqz_trellis_table *table, unsigned t, int32_t k)
{
	const int32_t m = (int32_t)aqz_trellis_magnitude(t, k);
	unsigned start = 0;

	if (m >= table->n_magnitudes) {
		*frequency = 0;
		return (1u << AQZ_RANS_BITS) - table->escape;
	}
	*frequency = table->frequency[m];
	/* Lowest index first: from the largest magnitude to m's, then all below 0, then those up to k. */
	for (int32_t i = table->n_magnitudes - 1; i > (k < 0 ? m : -1); i--)
		start += i > 0 || t == 1 ? table->frequency[i] : 0;
	for (int32_t i = 0; k > 0 && i < k; i++)
		start += table->frequency[i];
	return start;
}

/* A table turned to what the coder looks up. */
typedef struct symbol {
	uint16_t start, frequency;
} symbol;

typedef struct coder {
	const aqz_trellis_params *params;
	symbol (*symbols)[2][2 * AQZ_TRELLIS_MAX_MAGNITUDE + 3]; /* of k = -127 .. 126, and the escape */
	uint16_t *words;										 /* the last first */
	size_t n, capacity;
	uint32_t *types; /* of a block's rows: bit l is the lowest bit of lane l's state */
} coder;

enum { ZERO = AQZ_TRELLIS_MAX_MAGNITUDE + 1, ESCAPE = 2 * AQZ_TRELLIS_MAX_MAGNITUDE + 2 };

static bool fill_symbols(coder *c)
{
	const aqz_trellis_params *p = c->params;

	c->symbols = calloc(p->n_tables, sizeof *c->symbols);
	if (c->symbols == NULL)
		return false;
	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned t = 0; t < (p->state_bits == 0 ? 1 : 2); t++) {
			const aqz_trellis_table *table = &p->tables[i][t];
			symbol *s = c->symbols[i][t];

			for (int k = -ZERO; k < ZERO; k++) {
				unsigned frequency;
				const unsigned start = aqz_trellis_slot(&frequency, table, t, k);

				s[k + ZERO] = (symbol){(uint16_t)start, (uint16_t)frequency};
			}
			s[ESCAPE].start = (uint16_t)((1u << AQZ_RANS_BITS) - table->escape);
			s[ESCAPE].frequency = table->escape;
		}
	return true;
}

static symbol find(const coder *c, uint64_t row, uint64_t col, unsigned type, int32_t k)
{
	const aqz_trellis_params *p = c->params;
	const symbol *s = c->symbols[p->bucket_table[aqz_trellis_bucket(p, row, col)]][type];

	if (k >= -ZERO && k < ZERO && s[k + ZERO].frequency != 0)
		return s[k + ZERO];
	return (symbol){s[ESCAPE].start, s[ESCAPE].frequency};
}

static bool is_escape(const coder *c, uint64_t row, uint64_t col, unsigned type, int32_t k)
{
	const aqz_trellis_params *p = c->params;
	const aqz_trellis_table *t = &p->tables[p->bucket_table[aqz_trellis_bucket(p, row, col)]][type];

	return aqz_trellis_magnitude(type, k) >= t->n_magnitudes;
}

/* The types of a block's indices. False if one cannot be coded: too large, or an escape where the
 * table has none. */
static bool walk(coder *c, const int32_t *index, size_t ld, uint64_t row_begin, uint64_t n_rows,
	uint64_t col, unsigned n_lanes)
{
	unsigned state[LANES] = {0};

	for (uint64_t i = 0; i < n_rows; i++) {
		c->types[i] = 0;
		for (unsigned l = 0; l < n_lanes; l++) {
			const int32_t k = index[(col + l) * ld + i];
			const unsigned type = state[l] & 1;

			if (k < -AQZ_TRELLIS_MAX_INDEX || k > AQZ_TRELLIS_MAX_INDEX ||
				find(c, row_begin + i, col + l, type, k).frequency == 0)
				return false;
			c->types[i] |= (uint32_t)type << l;
			state[l] = aqz_trellis_next(c->params->state_bits, state[l], (unsigned)k & 1);
		}
	}
	return true;
}

static aqz_status reserve(coder *c, size_t n, aqz_error *err)
{
	if (n > c->capacity - c->n) {
		const size_t capacity = c->capacity + (c->capacity > n ? c->capacity : n);
		uint16_t *words = realloc(c->words, capacity * sizeof *words);

		if (words == NULL)
			return aqz_fail_nomem(err, capacity * sizeof *words);
		c->words = words;
		c->capacity = capacity;
	}
	return AQZ_OK;
}

static void put_escape(coder *c, int32_t k)
{
	const uint32_t z = k >= 0 ? 2 * (uint32_t)k : 2 * (uint32_t)-k - 1;

	if (z >= 0xffff) {
		c->words[c->n++] = (uint16_t)(z >> 16);
		c->words[c->n++] = (uint16_t)z;
	}
	c->words[c->n++] = (uint16_t)(z < 0xffff ? z : 0xffff);
}

static void put_row(coder *c, uint32_t x[LANES], const int32_t *index, size_t ld, uint64_t row,
	uint32_t types, uint64_t col, unsigned n_lanes)
{
	for (unsigned l = n_lanes; l-- > 0;)
		if (is_escape(c, row, col + l, types >> l & 1, index[l * ld]))
			put_escape(c, index[l * ld]);
	for (unsigned l = n_lanes; l-- > 0;) {
		const symbol s = find(c, row, col + l, types >> l & 1, index[l * ld]);
		const uint32_t f = s.frequency;

		if (x[l] >> (32 - AQZ_RANS_BITS) >= f) {
			c->words[c->n++] = (uint16_t)x[l];
			x[l] >>= 16;
		}
		x[l] = (x[l] / f << AQZ_RANS_BITS) + x[l] % f + s.start;
	}
}

/* The words and as many again while they move, the payload, and the small things. */
uint64_t aqz_trellis_encode_memory(uint64_t rows, uint64_t cols)
{
	const uint64_t words = rows * cols * WORDS_PER_INDEX * sizeof(uint16_t);

	return 5 * words + rows * sizeof(uint32_t) + (UINT64_C(1) << 16);
}

aqz_status aqz_trellis_encode_rows(aqz_buffer *out, const aqz_trellis_params *p,
	const int32_t *index, size_t ld, uint64_t row_begin, uint64_t row_end, aqz_error *err)
{
	const uint64_t n_rows = row_end - row_begin;
	const unsigned n_states = (unsigned)aqz_min(LANES, p->cols);
	coder c = {.params = p};
	uint32_t x[LANES];
	aqz_status status = AQZ_OK;

	c.types = malloc((size_t)n_rows * sizeof *c.types);
	if (c.types == NULL || !fill_symbols(&c))
		AQZ_TRY(aqz_fail_nomem(err, n_rows * sizeof *c.types));
	for (unsigned l = 0; l < LANES; l++)
		x[l] = AQZ_RANS_LEAST;
	for (uint64_t block = aqz_ceil_div(p->cols, LANES); block-- > 0;) {
		const uint64_t col = block * LANES;
		const unsigned n_lanes = (unsigned)aqz_min(LANES, p->cols - col);

		if (!walk(&c, index, ld, row_begin, n_rows, col, n_lanes))
			AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "index",
				"an index in columns %" PRIu64 " to %" PRIu64 " is too large, or has no slot", col,
				col + n_lanes - 1));
		AQZ_TRY(reserve(&c, (size_t)n_rows * n_lanes * WORDS_PER_INDEX, err));
		for (uint64_t i = n_rows; i-- > 0;)
			put_row(&c, x, index + col * ld + i, ld, row_begin + i, c.types[i], col, n_lanes);
	}
	AQZ_TRY(aqz_buffer_add(out, x, n_states * sizeof *x, err));
	for (size_t i = 0; i < c.n / 2; i++) {
		const uint16_t word = c.words[i];

		c.words[i] = c.words[c.n - 1 - i];
		c.words[c.n - 1 - i] = word;
	}
	AQZ_TRY(aqz_buffer_add(out, c.words, c.n * sizeof *c.words, err));
out:
	free(c.types);
	free(c.symbols);
	free(c.words);
	return status;
}
