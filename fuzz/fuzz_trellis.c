/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the trellis codec below the container, spec 7.3. The input is
 *
 *	0      bits 0 to 3 the number of states, 4 and 5 the dtype, 6 parameters are made, 7 indices are coded
 *	1, 2   rows        3  columns        4  the chunk's first row        5, 6  what is written of it
 *	7, 8   bytes of parameters
 *	9      parameters as they are read, or a string that they are made from; then a payload, or indices
 *
 * All kernels must say the same of a payload and write the same, a part as in the whole. What decodes is coded
 * again and decodes to the same; what is coded decodes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/trellis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HEAD_BYTES = 9, MOST_ROWS = 300, MOST_COLS = 100, FENCE = 0xa5 };
enum { MAKES_PARAMS = 0x40, CODES_INDICES = 0x80 };

typedef struct input {
	const uint8_t *at;
	size_t n;
} input;

/* The rows of a chunk, and which of them are to be written. */
typedef struct span {
	uint64_t begin, end, write_begin, write_end;
} span;

/* A finding. */
static void demand(bool holds)
{
	if (!holds)
		abort();
}

static unsigned take(input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->at++;
}

static unsigned take16(input *in)
{
	const unsigned low = take(in);

	return low | take(in) << 8;
}

/* A copy in memory of just that size. */
static uint8_t *exactly(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n);

	if (n > 0)
		memcpy(copy, bytes, n);
	return copy;
}

/* ---- Parameters */

/* A valid one has all slots, whatever its bytes said. */
static void check_params(const aqz_trellis_params *p)
{
	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned t = 0; t < (p->state_bits == 0 ? 1 : 2); t++) {
			unsigned sum = p->tables[i][t].escape;

			for (int k = -128; k < 128; k++) {
				unsigned frequency;

				(void)aqz_trellis_slot(&frequency, &p->tables[i][t], t, k);
				sum += frequency;
			}
			demand(sum == 1u << AQZ_RANS_BITS);
		}
	for (unsigned b = 0; b < p->n_buckets; b++)
		demand(p->bucket_table[b] < p->n_tables);
}

static bool read_params(aqz_trellis_params *p, const uint8_t *bytes, size_t n)
{
	uint8_t *copy = exactly(bytes, n);
	aqz_error err = {0};
	const aqz_status status = aqz_trellis_params_read(p, copy, n, &err);

	free(copy);
	demand(status == AQZ_OK || ((status == AQZ_E_CORRUPT || status == AQZ_E_UNSUPPORTED) && err.status == status &&
								   err.text[0] != '\0'));
	return status == AQZ_OK;
}

/* Any that a writer could be given, from bytes: NULL or written. */
static bool make_params(aqz_trellis_params *p, aqz_buffer *bytes, input in)
{
	const aqz_trellis_params empty = *p;
	const uint32_t base = take16(&in) | (uint32_t)take16(&in) << 16;
	aqz_status status;

	memcpy(&p->base, &base, sizeof base);
	p->bias = (int16_t)take16(&in);
	p->n_buckets = (uint8_t)take(&in);
	p->n_tables = (uint8_t)(take(&in) % (AQZ_TRELLIS_MAX_TABLES + 2));
	p->has_row_steps = take(&in) % 2 != 0;
	for (unsigned b = 1; b < p->n_buckets && b < AQZ_TRELLIS_MAX_BUCKETS; b++)
		p->bucket_table[b] = (uint8_t)(p->bucket_table[b - 1] + (take(&in) & 1));
	for (unsigned i = 0; i < p->n_tables && i < AQZ_TRELLIS_MAX_TABLES; i++)
		for (unsigned t = 0; t < 2; t++) {
			p->tables[i][t].n_magnitudes = (uint8_t)(take(&in) % (AQZ_TRELLIS_MAX_MAGNITUDE + 4));
			p->tables[i][t].escape = (uint16_t)take16(&in);
			for (unsigned m = 0; m <= AQZ_TRELLIS_MAX_MAGNITUDE; m++)
				p->tables[i][t].frequency[m] = (uint16_t)take16(&in);
		}
	p->column_step = malloc(p->cols);
	p->column_size = malloc(p->cols);
	p->row_step = calloc(1, p->rows);
	p->row_size = malloc(p->rows);
	for (uint64_t j = 0; j < p->cols; j++) {
		p->column_step[j] = (int8_t)take(&in);
		p->column_size[j] = (int8_t)take(&in);
	}
	for (uint64_t i = 0; i < p->rows; i++) {
		p->row_size[i] = (int8_t)take(&in);
		if (p->has_row_steps)
			p->row_step[i] = (int8_t)take(&in);
	}
	status = aqz_trellis_params_write(bytes, p, NULL);
	demand(status == AQZ_OK || (status == AQZ_E_ARGUMENT && bytes->n == 0));
	if (status == AQZ_OK)
		return true;
	aqz_trellis_params_free(p);
	*p = empty;
	return false;
}

/* What is read is what was written, frequencies included. */
static void check_same(const aqz_trellis_params *a, const aqz_trellis_params *b)
{
	demand(memcmp(&a->base, &b->base, sizeof a->base) == 0 && a->bias == b->bias && a->n_buckets == b->n_buckets &&
		a->n_tables == b->n_tables && a->has_row_steps == b->has_row_steps);
	demand(memcmp(a->bucket_table, b->bucket_table, a->n_buckets) == 0);
	demand(memcmp(a->column_step, b->column_step, a->cols) == 0);
	demand(memcmp(a->column_size, b->column_size, a->cols) == 0);
	demand(memcmp(a->row_step, b->row_step, a->rows) == 0 && memcmp(a->row_size, b->row_size, a->rows) == 0);
	for (unsigned i = 0; i < a->n_tables; i++)
		for (unsigned t = 0; t < (a->state_bits == 0 ? 1 : 2); t++)
			demand(memcmp(&a->tables[i][t], &b->tables[i][t], sizeof a->tables[i][t]) == 0);
}

static void check_written(aqz_trellis_params *p)
{
	aqz_trellis_params again = {.rows = p->rows, .cols = p->cols, .state_bits = p->state_bits};
	aqz_buffer bytes = {0};

	demand(aqz_trellis_params_write(&bytes, p, NULL) == AQZ_OK);
	check_params(p);
	demand(read_params(&again, bytes.data, bytes.n));
	check_same(&again, p);
	aqz_trellis_params_free(&again);
	aqz_buffer_free(&bytes);
}

/* ---- Streams */

static size_t row_bytes(const aqz_trellis_tables *t)
{
	return (size_t)t->params->cols * (t->dtype == AQZ_F32 ? 4 : 2);
}

/* What a kernel says of n bytes; *dst is NULL, or what it wrote, with a fence behind it that must stand. */
static bool decode_with(
	uint8_t **dst, aqz_trellis_decode_fn *decode, const aqz_trellis_tables *t, const uint8_t *payload, size_t n, span s)
{
	const size_t n_bytes = (size_t)(s.write_end - s.write_begin) * row_bytes(t);
	uint8_t *copy = exactly(payload, n);
	bool ok;

	*dst = malloc(n_bytes + 1);
	(*dst)[n_bytes] = FENCE;
	ok = decode(*dst, t, copy, n, s.begin, s.end, s.write_begin, s.write_end);
	demand((*dst)[n_bytes] == FENCE);
	free(copy);
	if (!ok) {
		free(*dst);
		*dst = NULL;
	}
	return ok;
}

/* The scalar kernel's verdict, after the others said the same. whole: NULL, or all rows of the chunk; freed by the
 * caller. */
static bool verdict(uint8_t **whole, const aqz_trellis_tables *t, const uint8_t *payload, size_t n, span s)
{
	const span all = {s.begin, s.end, s.begin, s.end};
	aqz_trellis_decode_fn *decode;
	bool ok = decode_with(whole, aqz_trellis_decode_scalar, t, payload, n, all);

	for (unsigned i = 0; (decode = aqz_trellis_decode_get(i)) != NULL; i++) {
		uint8_t *got;

		if (i > 0) {
			demand(decode_with(&got, decode, t, payload, n, all) == ok);
			demand(!ok || memcmp(got, *whole, (size_t)(s.end - s.begin) * row_bytes(t)) == 0);
			free(got);
		}
		demand(decode_with(&got, decode, t, payload, n, s) == ok);
		demand(!ok || memcmp(got, *whole + (s.write_begin - s.begin) * row_bytes(t),
						  (size_t)(s.write_end - s.write_begin) * row_bytes(t)) == 0);
		free(got);
	}
	return ok;
}

/* The indices of decoded elements in binary32: |v| < 2^23, so that the rounding of v times the step is less than half
 * of a step. [cols][rows of the chunk]; false if v is none of its state, which would be a finding. */
static void indices_of(int32_t *index, const float *elements, const aqz_trellis_tables *t, span s)
{
	const aqz_trellis_params *p = t->params;
	const uint64_t n_rows = s.end - s.begin;

	for (uint64_t j = 0; j < p->cols; j++) {
		unsigned state = 0;

		for (uint64_t i = 0; i < n_rows; i++) {
			const float step = t->column_step[j] * t->row_step[s.begin + i];
			const int32_t v = (int32_t)lrint((double)elements[i * p->cols + j] / (double)step);
			const unsigned type = p->state_bits == 0 ? 0 : state & 1;
			const int32_t k = p->state_bits == 0 ? v : (v - (int32_t)type) / 2;

			demand(aqz_trellis_value(p, type, k) == v);
			index[j * n_rows + i] = k;
			state = aqz_trellis_next(p->state_bits, state, (unsigned)k & 1);
		}
	}
}

/* What decodes can be coded, and decodes to the same. */
static void code_again(const aqz_trellis_tables *t, const uint8_t *elements, span s)
{
	const size_t n = (size_t)((s.end - s.begin) * t->params->cols);
	int32_t *index = malloc(n * sizeof *index);
	aqz_buffer payload = {0};
	uint8_t *got;

	indices_of(index, (const float *)(const void *)elements, t, s);
	demand(aqz_trellis_encode_rows(&payload, t->params, index, s.end - s.begin, s.begin, s.end, NULL) == AQZ_OK);
	demand(verdict(&got, t, payload.data, payload.n, s));
	demand(memcmp(got, elements, n * sizeof(float)) == 0);
	free(got);
	aqz_buffer_free(&payload);
	free(index);
}

/* Bytes as indices, -128 standing before one of 24 bits. Coded, unless one has no slot or is too large. */
static void code_indices(const aqz_trellis_tables *t, input in, span s)
{
	const size_t n = (size_t)((s.end - s.begin) * t->params->cols);
	int32_t *index = malloc(2 * n * sizeof *index), *again = index + n;
	aqz_buffer payload = {0};
	aqz_status status;

	for (size_t i = 0; i < n; i++) {
		index[i] = (int8_t)take(&in);
		if (index[i] == -128)
			index[i] = (int32_t)(take16(&in) << 8 | take(&in) << 24) >> 8;
	}
	status = aqz_trellis_encode_rows(&payload, t->params, index, s.end - s.begin, s.begin, s.end, NULL);
	demand(status == AQZ_OK || (status == AQZ_E_ARGUMENT && payload.n == 0));
	if (status == AQZ_OK) {
		uint8_t *got;

		demand(verdict(&got, t, payload.data, payload.n, s));
		if (t->dtype == AQZ_F32) {
			indices_of(again, (const float *)(const void *)got, t, s);
			demand(memcmp(again, index, n * sizeof *index) == 0);
		}
		free(got);
	}
	aqz_buffer_free(&payload);
	free(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint8_t state_bits[16] = {0, 2, 3, 4, 5, 6, 7, 8, 3, 3, 3, 3, 0, 2, 5, 8};
	static const aqz_dtype dtypes[4] = {AQZ_F32, AQZ_F16, AQZ_BF16, AQZ_F32};
	input in = {data, n}, own;
	const unsigned flags = take(&in);
	aqz_trellis_params p = {.rows = 1 + take16(&in) % MOST_ROWS, .cols = 1 + take(&in) % MOST_COLS};
	const unsigned begin = take(&in), from = take(&in), to = take(&in);
	const size_t n_params = take16(&in);
	aqz_buffer made = {0};
	aqz_trellis_tables t;
	uint8_t *whole = NULL;
	span s;

	if (n < HEAD_BYTES || n_params > in.n)
		return 0;
	p.state_bits = state_bits[flags & 15];
	own = (input){in.at, n_params};
	in = (input){in.at + n_params, in.n - n_params};
	if ((flags & MAKES_PARAMS) ? !make_params(&p, &made, own) : !read_params(&p, own.at, own.n)) {
		aqz_buffer_free(&made);
		return 0;
	}
	check_params(&p);
	check_written(&p);
	s.begin = begin % p.rows;
	s.end = p.rows;
	s.write_begin = s.begin + from % (s.end - s.begin);
	s.write_end = s.write_begin + to % (s.end - s.write_begin + 1);
	demand(aqz_trellis_tables_make(&t, &p, dtypes[flags >> 4 & 3], NULL) == AQZ_OK);
	if (flags & CODES_INDICES)
		code_indices(&t, in, s);
	else if (verdict(&whole, &t, in.at, in.n, s) && t.dtype == AQZ_F32)
		code_again(&t, whole, s);
	free(whole);
	aqz_trellis_tables_free(&t);
	aqz_trellis_params_free(&p);
	aqz_buffer_free(&made);
	return 0;
}
