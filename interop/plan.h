/* SPDX-License-Identifier: Apache-2.0 */
/* A compression plan's inside, for plan.c and compress.c. */
#ifndef AQZ_INTEROP_PLAN_H
#define AQZ_INTEROP_PLAN_H

#include "base/base.h"

struct aqz_plan {
	const aqz_source *source;
	aqz_compress_options opt; /* with defaults filled in; rules borrowed */
	aqz_plan_entry *entries;
	uint32_t n_entries, n_files;
	char *provenance;         /* JSON, canonical: also what the id is made of */
	uint8_t id[16];
	uint64_t memory_bytes, bound_bytes;
};

/* The matrix that a codec sees in a tensor of rank >= 2: all leading dimensions but the last two
 * are folded into rows. */
void aqz_plan_view(const aqz_source_tensor *t, uint32_t *leading, uint64_t *rows, uint64_t *cols);

/* The options of the encoder for this plan. */
aqz_encode_options aqz_plan_encode_options(const aqz_plan *plan);

#endif
