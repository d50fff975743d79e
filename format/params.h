/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded parameter sections kept in memory while a file is streamed or written, since any later
 * section may refer to them. Memory: the sum of the parameter sections. */
#ifndef AQZ_FORMAT_PARAMS_H
#define AQZ_FORMAT_PARAMS_H

#include "format/chunk.h"

typedef struct aqz_kept {
	uint8_t *data;
	uint64_t n_bytes, capacity;
} aqz_kept;

typedef struct aqz_params {
	aqz_kept *kept; /* by section number; empty for others */
	uint32_t capacity;
	aqz_budget *budget;
} aqz_params;

/* Appends decoded bytes of a parameter section, in order; the room grows as they arrive. */
aqz_status aqz_params_add(aqz_params *p, uint32_t section, const void *data, uint64_t n, aqz_error *err);
void aqz_params_free(aqz_params *p);

/* Opens a chunk decoder for a section whose parameters are kept. */
aqz_status aqz_params_decoder(const aqz_params *p, aqz_chunk_decoder *d, const aqz_catalog *c, const aqz_section *s,
	aqz_budget *budget, aqz_error *err);

#endif
