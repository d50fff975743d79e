/* SPDX-License-Identifier: Apache-2.0 */
/* What a table says about all sums of its codewords. */
#include "base/float.h"
#include "codec/additive_tiles.h"

aqz_table_facts aqz_table_look(const float *values, const aqz_scheme *s)
{
	const size_t per_book = ((size_t)1 << s->code_bits) * aqz_codeword(s);
	aqz_table_facts facts = {.known = true, .finite = true, .least = AQZ_BIAS};
	double sum = 0;

	for (unsigned m = 0; m < s->n_codebooks; m++, values += per_book) {
		int32_t least, most;

		aqz_extremes(&least, &most, values, per_book);
		if (most >= AQZ_EXPONENT_MASK)
			facts.finite = false;
		else
			sum += (double)aqz_f32_from_bits((uint32_t)most);
		/* All values are multiples of the last place of the least one; so are their sums, for rounding
		 * only makes the last place larger. */
		if (aqz_exponent(least) - AQZ_MANTISSA_BITS < facts.least)
			facts.least = aqz_exponent(least) - AQZ_MANTISSA_BITS;
	}
	/* Roundings add less than a part in 2^20 to a sum of 8. */
	if (sum > 0x1p127)
		facts.finite = false;
	return facts;
}

#define EIGHT 1, 1, 1, 1, 1, 1, 1, 1
const float aqz_tile_ones[AQZ_TILE_ROWS] = {EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT};
