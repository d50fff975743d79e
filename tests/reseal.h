/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the hashes of a changed container right again, so that the checks behind them are reached.
 */
#ifndef AQZ_TESTS_RESEAL_H
#define AQZ_TESTS_RESEAL_H

#include "tests/support.h"

typedef enum reseal_depth {
	RESEAL_HEADERS, /* hashes of superblock, frame headers, index and footer; copy of the superblock; root */
	RESEAL_HASHES,  /* and of all payloads; what the index says of the frames stays */
	RESEAL_INDEX,   /* and a stored index gets the frames' fields and records as they are now */
	RESEAL_TABLE    /* as RESEAL_INDEX, but hashes of payloads before the index stay */
} reseal_depth;

/* Walks the frames as far as their lengths lead. Any bytes may be given: nothing outside of them is
 * touched. Elements of coded chunks are not decoded, so their second hash stays what it is. */
void reseal(uint8_t *file, size_t n, reseal_depth depth);

/* The hash of one frame's header alone, and those of its payload too; header: its bytes with the
 * payload behind them. */
void reseal_header(uint8_t *header, const uint8_t id[16]);
void reseal_frame(uint8_t *header, const uint8_t id[16]);

/* Writes a sound container again with its index stored instead of compressed. */
void store_index(memory_file *f);

#endif
