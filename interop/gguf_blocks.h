/* SPDX-License-Identifier: Apache-2.0 */
/* What the blocks of 256 values of a GGUF tensor have in common, for whoever unpacks them. */
#ifndef AQZ_INTEROP_GGUF_BLOCKS_H
#define AQZ_INTEROP_GGUF_BLOCKS_H

#include "base/base.h"

/* Scale and minimum of part 0..7, 6 bits each, out of 12 bytes: those of the first four parts in bits 0 to 5 of bytes 0
 * to 7; of the others 4 bits in a nibble of bytes 8 to 11, and 2 above the former. */
static inline void aqz_q4_k_scale(float *scale, float *minimum, const uint8_t bytes[12], size_t part)
{
	if (part < 4) {
		*scale = (float)(bytes[part] & 63);
		*minimum = (float)(bytes[part + 4] & 63);
	} else {
		*scale = (float)((bytes[part + 4] & 15) | bytes[part - 4] >> 6 << 4);
		*minimum = (float)(bytes[part + 4] >> 4 | bytes[part] >> 6 << 4);
	}
}

#endif
