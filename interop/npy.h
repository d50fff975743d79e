/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of integers in .npy files, versions 1 to 3. */
#ifndef AQZ_INTEROP_NPY_H
#define AQZ_INTEROP_NPY_H

#include "base/base.h"

typedef struct aqz_npy {
	bool is_signed, swapped; /* swapped: big-endian */
	unsigned item_bytes;     /* 1, 2, 4 or 8 */
	uint32_t rank;
	uint64_t shape[AQZ_MAX_RANK];
	uint64_t n_elements, offset; /* of the data in the file, which ends with them */
} aqz_npy;

/* Reads the header, all of which is checked. FORMAT if it is no .npy file; UNSUPPORTED for another version, elements
 * that are no integers, columns first, or too many dimensions; TRUNCATED; CORRUPT for all else that is wrong. */
aqz_status aqz_npy_open(aqz_npy *out, const aqz_io *io, aqz_error *err);

/* Reads elements [first, first + n) as numbers 0 .. 2^32 - 2; CORRUPT for another one. */
aqz_status aqz_npy_read(uint32_t *dst, const aqz_npy *npy, const aqz_io *io, uint64_t first, uint64_t n,
	aqz_error *err);

#endif
