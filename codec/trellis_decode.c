/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding a chunk of the trellis codec, plainly the spec, 7.3.3 and 7.3.4: 32 columns after the
 * other, all rows of the chunk, and for each row the steps in their order. Other kernels give the
 * same. */
#include "base/float.h"
#include "codec/trellis.h"

enum { LANES = AQZ_TRELLIS_LANES, SLOTS = 1 << AQZ_RANS_BITS };

/* ---- Tables */

static void fill_slots(uint32_t *slots, const aqz_trellis_table *table, unsigned t)
{
	const int n = table->n_magnitudes;

	for (int k = t == 1 ? -n : 1 - n; k < n; k++) {
		const uint32_t f = table->frequency[aqz_trellis_magnitude(t, k)];

		for (uint32_t i = 0; i < f; i++)
			*slots++ = i | (f - 1) << 12 | (uint32_t)k << 24;
	}
	for (uint32_t i = 0; i < table->escape; i++)
		*slots++ = i | (uint32_t)(table->escape - 1) << 12 | (uint32_t)AQZ_TRELLIS_ESCAPE << 24;
}

aqz_status aqz_trellis_tables_make(
	aqz_trellis_tables *t, const aqz_trellis_params *p, aqz_dtype dtype, aqz_error *err)
{
	*t = (aqz_trellis_tables){.params = p, .dtype = dtype};
	t->slots = calloc((size_t)p->n_tables * 2 * SLOTS, sizeof *t->slots);
	t->column_step = malloc((size_t)p->cols * sizeof *t->column_step);
	t->column_context = malloc((size_t)p->cols * sizeof *t->column_context);
	t->row_step = malloc((size_t)p->rows * sizeof *t->row_step);
	if (!t->slots || !t->column_step || !t->column_context || !t->row_step) {
		aqz_trellis_tables_free(t);
		return aqz_fail_nomem(err, aqz_trellis_tables_bytes(p->rows, p->cols));
	}
	for (unsigned i = 0; i < p->n_tables; i++)
		for (unsigned s = 0; s < (p->state_bits == 0 ? 1 : 2); s++)
			fill_slots(t->slots + (i * 2 + s) * SLOTS, &p->tables[i][s], s);
	for (uint64_t j = 0; j < p->cols; j++) {
		t->column_step[j] = aqz_trellis_column_step(p, j);
		t->column_context[j] = (int16_t)(2 * p->column_size[j] - p->column_step[j]);
	}
	for (uint64_t i = 0; i < p->rows; i++)
		t->row_step[i] = aqz_eighth_octave(p->row_step[i]);
	return AQZ_OK;
}

uint64_t aqz_trellis_tables_bytes(uint64_t rows, uint64_t cols)
{
	return (uint64_t)aqz_trellis_max_tables(rows, cols) * 2 * SLOTS * sizeof(uint32_t) +
		cols * (sizeof(float) + sizeof(int16_t)) + rows * sizeof(float);
}

void aqz_trellis_tables_free(aqz_trellis_tables *t)
{
	free(t->slots);
	free(t->column_step);
	free(t->column_context);
	free(t->row_step);
	t->slots = NULL;
	t->column_step = t->row_step = NULL;
	t->column_context = NULL;
}

/* ---- Decoding */

typedef struct words {
	const uint8_t *next, *end;
	bool failed;
} words;

static uint32_t next_word(words *w)
{
	uint32_t word;

	if (w->end - w->next < 2) {
		w->failed = true;
		return 0;
	}
	word = aqz_get16(w->next);
	w->next += 2;
	return word;
}

/* An index that has no slots. */
static int32_t escaped(words *w)
{
	uint32_t z = next_word(w);

	if (z == 0xffff) {
		z = next_word(w);
		z |= next_word(w) << 16;
		/* Shorter ones have the short form. */
		if (z < 0xffff || z > 2 * (uint32_t)AQZ_TRELLIS_MAX_INDEX) {
			w->failed = true;
			return 0;
		}
	}
	return z % 2 == 0 ? (int32_t)(z / 2) : -(int32_t)(z / 2) - 1;
}

/* Writes one element of any alignment. */
static void put(uint8_t *dst, float value, aqz_dtype dtype)
{
	if (dtype == AQZ_F32)
		memcpy(dst, &value, sizeof value);
	else
		aqz_put16(dst, dtype == AQZ_F16 ? aqz_f32_to_f16(value) : aqz_f32_to_bf16(value));
}

/* One row of a block: the indices of its lanes. */
static void take_row(int32_t k[LANES], uint32_t x[LANES], const unsigned state[LANES], words *w,
	const aqz_trellis_tables *t, uint64_t row, uint64_t col, unsigned n_lanes)
{
	const aqz_trellis_params *p = t->params;
	uint32_t escapes = 0;

	for (unsigned l = 0; l < n_lanes; l++) {
		const unsigned table = p->bucket_table[aqz_trellis_bucket(p, row, col + l)];
		const uint32_t slot = t->slots[(table * 2 + (state[l] & 1)) * SLOTS + (x[l] & (SLOTS - 1))];

		x[l] = ((slot >> 12 & 0xfff) + 1) * (x[l] >> AQZ_RANS_BITS) + (slot & 0xfff);
		k[l] = (int8_t)(slot >> 24);
		escapes |= (uint32_t)(k[l] == AQZ_TRELLIS_ESCAPE) << l;
	}
	for (unsigned l = 0; l < n_lanes; l++)
		if (x[l] < AQZ_RANS_LEAST)
			x[l] = x[l] << 16 | next_word(w);
	for (; escapes != 0; escapes &= escapes - 1)
		k[__builtin_ctz(escapes)] = escaped(w);
}

bool aqz_trellis_decode_scalar(void *dst, const aqz_trellis_tables *t, const uint8_t *payload,
	size_t payload_bytes, uint64_t chunk_row, uint64_t chunk_end, uint64_t write_begin,
	uint64_t write_end)
{
	const aqz_trellis_params *p = t->params;
	const unsigned n_states = (unsigned)aqz_min(LANES, p->cols);
	const size_t element_bytes = t->dtype == AQZ_F32 ? 4 : 2;
	words w = {payload + n_states * 4, payload + payload_bytes, false};
	uint32_t x[LANES];

	if (payload_bytes < n_states * 4)
		return false;
	for (unsigned l = 0; l < n_states; l++) {
		x[l] = aqz_get32(payload + 4 * l);
		if (x[l] < AQZ_RANS_LEAST)
			return false;
	}
	for (uint64_t col = 0; col < p->cols; col += LANES) {
		const unsigned n_lanes = (unsigned)aqz_min(LANES, p->cols - col);
		unsigned state[LANES] = {0};

		for (uint64_t row = chunk_row; row < chunk_end && !w.failed; row++) {
			const bool writes = row >= write_begin && row < write_end;
			uint8_t *out = writes
				? (uint8_t *)dst + ((row - write_begin) * p->cols + col) * element_bytes
				: NULL;
			int32_t k[LANES];

			take_row(k, x, state, &w, t, row, col, n_lanes);
			for (unsigned l = 0; l < n_lanes; l++) {
				const float step = t->column_step[col + l] * t->row_step[row];
				const int32_t v = aqz_trellis_value(p, state[l] & 1, k[l]);

				if (writes)
					put(out + l * element_bytes, (float)v * step, t->dtype);
				state[l] = aqz_trellis_next(p->state_bits, state[l], (unsigned)k[l] & 1);
			}
		}
	}
	for (unsigned l = 0; l < n_states; l++)
		w.failed |= x[l] != AQZ_RANS_LEAST;
	return !w.failed && w.next == w.end;
}

aqz_trellis_decode_fn *aqz_trellis_decode_get(unsigned i)
{
	if (i == 0)
		return aqz_trellis_decode_scalar;
#if defined(__x86_64__)
	/* Each implies the one before it. */
	if (i == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"))
		return aqz_trellis_decode_avx2;
	if (i == 2 && __builtin_cpu_supports("avx512f") && aqz_trellis_decode_get(1) != NULL)
		return aqz_trellis_decode_avx512;
#endif
	return NULL;
}

aqz_trellis_decode_fn *aqz_trellis_decode_choose(void)
{
	aqz_trellis_decode_fn *best = aqz_trellis_decode_scalar, *next;

	for (unsigned i = 1; (next = aqz_trellis_decode_get(i)) != NULL; i++)
		best = next;
	return best;
}
