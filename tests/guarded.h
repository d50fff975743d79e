/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for what a decoder writes, at an odd address between bytes that must not change. */
#ifndef AQZ_TESTS_GUARDED_H
#define AQZ_TESTS_GUARDED_H

#include "tests/support.h"

#define GUARD 67 /* odd, so that data has no alignment */

typedef struct guarded {
	uint8_t *data, *block;
	size_t n;
} guarded;

static inline guarded guarded_alloc(size_t n)
{
	guarded g = {.block = malloc(n + 2 * GUARD), .n = n};

	SURE(g.block != NULL);
	memset(g.block, 0xa5, n + 2 * GUARD);
	g.data = g.block + GUARD;
	return g;
}

/* True if nothing around data was written. */
static inline bool guarded_whole(const guarded *g)
{
	for (size_t i = 0; i < GUARD; i++)
		if (g->block[i] != 0xa5 || g->data[g->n + i] != 0xa5)
			return false;
	return true;
}

static inline void guarded_free(guarded *g)
{
	free(g->block);
	*g = (guarded){0};
}

#endif
