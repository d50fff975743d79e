/* SPDX-License-Identifier: Apache-2.0 */
/* Several trellis tensors at the same time, each by one thread: small ones are a chunk or two, and a chunk is what
 * threads share inside a tensor. Tensors of many chunks are still one after the other, by all threads. What comes out
 * is the same. */
#ifndef AQZ_INTEROP_CREW_H
#define AQZ_INTEROP_CREW_H

#include <stdatomic.h>

#include "interop/encode.h"

/* What members share. */
struct aqz_crew {
	aqz_coder *boss;
	unsigned n_members;
	_Atomic uint64_t done_bytes;  /* of progress */
	_Atomic uint64_t *under_way;  /* [members] */
	atomic_bool stopped;
};

/* Members that the plan's threads, memory limit and tensors allow: 1 is none but the boss. *memory_bytes: of all of
 * them together, with what they have made and nobody has written yet. */
unsigned aqz_crew_size(uint64_t *memory_bytes, const aqz_plan *plan);
/* True if a crew does this entry with others at the same time. */
bool aqz_crew_has(const aqz_plan *plan, uint32_t entry);
/* Bytes of indices that may wait until they are written. */
#define AQZ_CREW_AHEAD_BYTES (UINT64_C(128) << 20)

/* Does entry number i of a list, by a coder of its own. */
typedef aqz_status aqz_crew_fn(void *arg, aqz_coder *c, uint32_t entry, uint32_t i, aqz_error *err);
/* Calls work for each of them, and counts them as done. The error is that of the first in the list that failed. */
aqz_status aqz_crew_run(aqz_coder *boss, const uint32_t *entries, uint32_t n, aqz_crew_fn *work, void *arg,
	aqz_error *err);

#endif
