/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the example of spec 7.3: parameters and payload of a matrix of 3 x 2, and how they decode,
 * each number worked out here and compared with what the library decodes. */
#include <stdio.h>

#include "codec/trellis.h"

enum { ROWS = 3, COLS = 2 };

static void print_bytes(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%s%02X", i == 0 ? "    " : i % 24 == 0 ? "\n    " : " ", p[i]);
	putchar('\n');
}

static void print_tables(const aqz_trellis_params *p)
{
	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned t = 0; t < 2; t++) {
			const aqz_trellis_table *table = &p->tables[i][t];

			printf("    pair %u, t = %u:", i, t);
			for (unsigned m = 0; m < table->n_magnitudes; m++)
				printf("  f[%u] = %u", m, table->frequency[m]);
			if (table->escape != 0)
				printf("  f_escape = %u", table->escape);
			putchar('\n');
		}
}

typedef struct step {
	unsigned start, frequency;
	int k;
	bool escape;
} step;

/* Whose slot it is. */
static step look(const aqz_trellis_table *table, unsigned t, unsigned slot)
{
	step s = {.escape = true, .start = 4096u - table->escape, .frequency = table->escape};

	for (int k = -128; k < 128; k++) {
		unsigned f;
		const unsigned start = aqz_trellis_slot(&f, table, t, k);

		if (slot >= start && slot < start + f)
			s = (step){start, f, k, false};
	}
	return s;
}

static bool trace(const aqz_trellis_params *p, const uint8_t *payload, float got[ROWS][COLS])
{
	uint32_t x[COLS], word, state[COLS] = {0};
	const uint8_t *next = payload + sizeof x;

	memcpy(x, payload, sizeof x);
	printf("    row lane  s t  b pair  slot  ->  k     f start         x    v  element\n");
	for (unsigned i = 0; i < ROWS; i++) {
		step taken[COLS];
		unsigned slot[COLS];

		for (unsigned l = 0; l < COLS; l++) {
			const unsigned pair = p->bucket_table[aqz_trellis_bucket(p, i, l)], t = state[l] & 1;

			slot[l] = x[l] & 4095;
			taken[l] = look(&p->tables[pair][t], t, slot[l]);
			x[l] = taken[l].frequency * (x[l] >> 12) + slot[l] - taken[l].start;
		}
		for (unsigned l = 0; l < COLS; l++)
			if (x[l] < AQZ_RANS_LEAST) {
				word = aqz_get16(next);
				next += 2;
				x[l] = x[l] << 16 | word;
			}
		for (unsigned l = 0; l < COLS; l++)
			if (taken[l].escape) {
				word = aqz_get16(next);
				next += 2;
				taken[l].k = word % 2 == 0 ? (int)(word / 2) : -(int)(word / 2) - 1;
			}
		for (unsigned l = 0; l < COLS; l++) {
			const int b = aqz_trellis_bucket(p, i, l);
			const int v = aqz_trellis_value(p, state[l] & 1, taken[l].k);

			got[i][l] =
				(float)v * (aqz_trellis_column_step(p, l) * aqz_eighth_octave(p->row_step[i]));
			printf("    %3u %4u  %u %u %2d %4u  %4u  -> %2d%s %4u %5u  %08X %4d  %g\n", i, l,
				state[l], state[l] & 1, b, p->bucket_table[b], slot[l], taken[l].k,
				taken[l].escape ? "*" : " ", taken[l].frequency, taken[l].start, x[l], v,
				(double)got[i][l]);
			state[l] = aqz_trellis_next(p->state_bits, state[l], (unsigned)taken[l].k & 1);
		}
	}
	return x[0] == AQZ_RANS_LEAST && x[1] == AQZ_RANS_LEAST;
}

int main(void)
{
	static int8_t column_step[COLS] = {0, 4}, column_size[COLS] = {6, 9};
	static int8_t row_size[ROWS] = {1, -2, 0}, row_step[ROWS] = {0, 0, 0};
	static const int32_t index[COLS][ROWS] = {{1, -2, 0}, {3, 9, -1}};
	aqz_trellis_params p = {.rows = ROWS,
		.cols = COLS,
		.state_bits = 3,
		.base = 0.25f,
		.bias = -2,
		.n_buckets = 4,
		.n_tables = 1,
		.column_step = column_step,
		.column_size = column_size,
		.row_step = row_step,
		.row_size = row_size};
	const aqz_trellis_table table = {.n_magnitudes = 3, .frequency = {1800, 900, 150}, .escape = 2};
	float got[ROWS][COLS], due[ROWS][COLS];
	aqz_trellis_tables tables;
	aqz_buffer bytes = {0}, payload = {0};
	int code = 1;

	p.tables[0][0] = p.tables[0][1] = table;
	if (aqz_trellis_params_write(&bytes, &p, NULL) != AQZ_OK ||
		aqz_trellis_encode_rows(&payload, &p, index[0], ROWS, 0, ROWS, NULL) != AQZ_OK ||
		aqz_trellis_tables_make(&tables, &p, AQZ_F32, NULL) != AQZ_OK)
		goto out;
	printf("\nParameters, %zu bytes: base 0.25, bias -2, 4 buckets, 1 pair of tables, no row "
		   "steps.\n\n",
		bytes.n);
	print_bytes(bytes.data, bytes.n);
	printf("\nThe bits, from byte 9 on: buckets 0 0 0; column_step 0 4; column_size 6 9; row_size "
		   "1 -2 0; "
		   "the tables.\nFrequencies that come out of these:\n\n");
	print_tables(&p);
	printf("\nPayload, %zu bytes: two states, then words.\n\n", payload.n);
	print_bytes(payload.data, payload.n);
	printf("\nDecoding it. x is what the state has become after steps 1 and 2; * is an index that "
		   "came "
		   "by an escape.\n\n");
	if (trace(&p, payload.data, got) &&
		aqz_trellis_decode_scalar(due, &tables, payload.data, payload.n, 0, ROWS, 0, ROWS) &&
		memcmp(got, due, sizeof got) == 0)
		code = 0;
	printf("\nBoth states have come to 00010000, and all words are used.\n");
	aqz_trellis_tables_free(&tables);
out:
	aqz_buffer_free(&bytes);
	aqz_buffer_free(&payload);
	return code;
}
