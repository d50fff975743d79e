/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator's controls, without its kernel functions: for tests. C++17. */
#ifndef AQZ_TESTS_SIMT_MEMORY_H
#define AQZ_TESTS_SIMT_MEMORY_H

#include <stddef.h>
#include <stdint.h>

namespace simt {

struct grid { uint32_t x, y, z, threads, shared_bytes; };

/* What the instructions of one kind came to, all warps together. */
struct tally {
	uint64_t instructions; /* of a warp */
	uint64_t passes;       /* through shared memory; of global memory, sectors of 32 bytes */
	uint64_t least;        /* what the same number of different bytes must take */
	uint64_t bytes;        /* of all lanes */
};

enum kind { LDS, STS, LDG, LDG_ONCE, LDG_FAR, STG, KINDS };

tally counts(kind k);
uint64_t count_mma();
uint64_t count_shfl();
/* Nothing is counted before the first counts_clear() and after counts_end(). */
void counts_clear();
void counts_end();

/* Memory that kernels may read, or write too. Accesses elsewhere are failures. */
void permit(const void *p, size_t n_bytes, bool writable);
void forbid_all();

/* Runs a kernel. seed: of the order in which threads and blocks take turns. False after a failure, which is printed. */
bool run(const grid &g, uint64_t seed, void (*body)(const void *), const void *argument);

} // namespace simt
#endif
