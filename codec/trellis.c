/* SPDX-License-Identifier: Apache-2.0 */
/* The trellis codes and the steps, spec 7.3.1 and 7.3.4. */
#include <float.h>

#include "base/float.h"
#include "codec/trellis.h"

_Static_assert(FLT_EVAL_METHOD == 0, "binary32 operations must round to binary32");

/* Ungerboeck's codes (1982), by state bits: h0 and h1, shifted by one. No code has 2 states. */
static const uint8_t codes[AQZ_TRELLIS_MAX_STATE_BITS + 1][2] = {{0, 0}, {0, 0}, {05 >> 1, 02 >> 1},
	{013 >> 1, 04 >> 1}, {023 >> 1, 04 >> 1}, {045 >> 1, 010 >> 1}, {0103 >> 1, 024 >> 1},
	{0235 >> 1, 0126 >> 1}, {0515 >> 1, 0362 >> 1}};

void aqz_trellis_code(unsigned *state, unsigned *odd, unsigned state_bits)
{
	*state = codes[state_bits][0];
	*odd = codes[state_bits][1];
}

unsigned aqz_trellis_next(unsigned state_bits, unsigned state, unsigned odd)
{
	const uint8_t *code = codes[state_bits];

	return state >> 1 ^ (state & 1 ? code[0] : 0) ^ (odd & 1 ? code[1] : 0);
}

/* fl(a * 2^(e / 8)): the power is a rounded constant times an exact power of two. a is within 2^-90
 * to 2^60 and e within a byte, so no product leaves the normal numbers. */
static float octaves(float a, int e)
{
	static const uint32_t eighths[8] = {0x3f800000, 0x3f8b95c2, 0x3f9837f0, 0x3fa5fed7, 0x3fb504f3,
		0x3fc5672a, 0x3fd744fd, 0x3feac0c7};
	const int whole = (e - (e & 7)) / 8;

	return a * aqz_f32_from_bits(eighths[e & 7]) * aqz_f32_from_bits((uint32_t)(127 + whole) << 23);
}

float aqz_eighth_octave(int e)
{
	return octaves(1.0f, e);
}

float aqz_trellis_column_step(const aqz_trellis_params *p, uint64_t col)
{
	return octaves(p->base, p->column_step[col]);
}
