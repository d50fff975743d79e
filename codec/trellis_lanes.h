/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels with vectors share: states in and out, and words that may be read past the end. */
#ifndef AQZ_CODEC_TRELLIS_LANES_H
#define AQZ_CODEC_TRELLIS_LANES_H

#include "codec/trellis.h"

/* A row takes at most a word and an escape of 3 in each of 32 lanes, 256 bytes; vectors read 32 at a time. */
#define AQZ_FEED_ROW_BYTES 256
#define AQZ_FEED_MARGIN_BYTES (AQZ_FEED_ROW_BYTES + 64)

/* The words of a payload. The last of them are copied to where zeros follow, so that a row never reads outside. */
typedef struct aqz_feed {
	const uint8_t *next, *end;
	bool in_tail, failed;
	uint8_t tail[2 * AQZ_FEED_MARGIN_BYTES];
} aqz_feed;

/* Before each row: false if the words had run out. */
static inline bool aqz_feed_row(aqz_feed *f)
{
	const ptrdiff_t left = f->end - f->next;

	if (__builtin_expect(left >= AQZ_FEED_MARGIN_BYTES, 1))
		return true;
	if (f->in_tail)
		return left >= 0;
	memcpy(f->tail, f->next, (size_t)left);
	memset(f->tail + left, 0, sizeof f->tail - (size_t)left);
	f->next = f->tail;
	f->end = f->tail + left;
	f->in_tail = true;
	return true;
}

/* The indices of the lanes whose bit is set. */
static inline void aqz_feed_escapes(aqz_feed *f, int32_t *k, uint32_t lanes)
{
	for (; lanes != 0; lanes &= lanes - 1) {
		uint32_t z = aqz_get16(f->next);

		f->next += 2;
		if (z == 0xffff) {
			z = aqz_get32(f->next);
			f->next += 4;
			f->failed |= z < 0xffff || z > 2 * (uint32_t)AQZ_TRELLIS_MAX_INDEX;
		}
		k[__builtin_ctz(lanes)] = (int32_t)(z >> 1) ^ -(int32_t)(z & 1);
	}
}

/* Takes the states, the others being such as end well. False if one is too small. */
static inline bool aqz_feed_open(
	aqz_feed *f, uint32_t x[AQZ_TRELLIS_LANES], uint64_t cols, const uint8_t *payload, size_t payload_bytes)
{
	const unsigned n = (unsigned)aqz_min(AQZ_TRELLIS_LANES, cols);

	if (payload_bytes < n * 4)
		return false;
	f->next = payload + n * 4;
	f->end = payload + payload_bytes;
	f->in_tail = f->failed = false;
	for (unsigned l = 0; l < AQZ_TRELLIS_LANES; l++) {
		x[l] = l < n ? aqz_get32(payload + 4 * l) : AQZ_RANS_LEAST;
		if (x[l] < AQZ_RANS_LEAST)
			return false;
	}
	return true;
}

static inline bool aqz_feed_close(const aqz_feed *f, const uint32_t x[AQZ_TRELLIS_LANES])
{
	for (unsigned l = 0; l < AQZ_TRELLIS_LANES; l++)
		if (x[l] != AQZ_RANS_LEAST)
			return false;
	return !f->failed && f->next == f->end;
}

/* What a row adds to its columns' contexts. */
static inline int aqz_trellis_row_context(const aqz_trellis_params *p, uint64_t row)
{
	return 2 * p->row_size[row] - p->row_step[row] + p->bias;
}

#endif
