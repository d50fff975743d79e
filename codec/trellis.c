/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of the trellis codec, spec 7.3.4. */
#include <float.h>

#include "base/float.h"
#include "codec/trellis.h"

_Static_assert(FLT_EVAL_METHOD == 0, "binary32 operations must round to binary32");

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
