/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of a chunk, for a kernel with vectors, which includes this once with
 * DECODE                   its name
 * TARGET, INLINE, UNROLL   attributes and a pragma
 * vector, VECTORS, WIDTH   the type of 32-bit lanes, and how many of them make 32 lanes
 * load(), save()           a vector from and to 32-bit integers of any alignment
 * block, constants         what stays the same from row to row, and everywhere; open_block(), open_constants()
 * take_row()               one row of a block */

typedef struct range {
	uint64_t chunk_row, chunk_end, write_begin, write_end;
} range;

/* All rows of a block. False if the words run out. */
INLINE bool take_block(void *dst, uint32_t lanes[LANES], aqz_feed *f, const aqz_trellis_tables *t, const constants *c,
	const range *r, uint64_t col, aqz_dtype dtype)
{
	const size_t element_bytes = dtype == AQZ_F32 ? 4 : 2;
	const size_t row_bytes = (size_t)t->params->cols * element_bytes;
	vector x[VECTORS], state[VECTORS];
	block b;

	open_block(&b, t, col);
	UNROLL
	for (int i = 0; i < VECTORS; i++) {
		x[i] = load(lanes + WIDTH * i);
		state[i] = (vector){0};
	}
	for (uint64_t row = r->chunk_row; row < r->chunk_end; row++) {
		const bool writes = row >= r->write_begin && row < r->write_end;
		uint8_t narrow[LANES * 4], *due = NULL, *out = NULL;

		if (!aqz_feed_row(f))
			return false;
		if (writes) {
			due = (uint8_t *)dst + (row - r->write_begin) * row_bytes + col * element_bytes;
			out = b.n_lanes < LANES ? narrow : due;
		}
		take_row(out, x, state, f, &b, c, t->slots, aqz_trellis_row_context(t->params, row), t->row_step[row], dtype);
		if (out == narrow)
			memcpy(due, narrow, b.n_lanes * element_bytes);
	}
	UNROLL
	for (int i = 0; i < VECTORS; i++)
		save(lanes + WIDTH * i, x[i]);
	return true;
}

#define BLOCK(name, dtype) \
	static TARGET bool name(void *dst, uint32_t lanes[LANES], aqz_feed *f, const aqz_trellis_tables *t, \
		const constants *c, const range *r, uint64_t col) \
	{ \
		return take_block(dst, lanes, f, t, c, r, col, dtype); \
	}
BLOCK(block_f32, AQZ_F32)
BLOCK(block_f16, AQZ_F16)
BLOCK(block_bf16, AQZ_BF16)
#undef BLOCK

bool TARGET DECODE(void *dst, const aqz_trellis_tables *t, const uint8_t *payload, size_t payload_bytes,
	uint64_t chunk_row, uint64_t chunk_end, uint64_t write_begin, uint64_t write_end)
{
	const range r = {chunk_row, chunk_end, write_begin, write_end};
	uint32_t x[LANES];
	constants c;
	aqz_feed f;

	if (!aqz_feed_open(&f, x, t->params->cols, payload, payload_bytes))
		return false;
	open_constants(&c, t->params);
	for (uint64_t col = 0; col < t->params->cols; col += LANES) {
		const bool ok = t->dtype == AQZ_F32 ? block_f32(dst, x, &f, t, &c, &r, col)
			: t->dtype == AQZ_F16			? block_f16(dst, x, &f, t, &c, &r, col)
											: block_bf16(dst, x, &f, t, &c, &r, col);

		if (!ok)
			return false;
	}
	return aqz_feed_close(&f, x);
}
