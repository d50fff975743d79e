/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that ends where a page begins that nobody may touch. */
#ifndef AQZ_TESTS_GUARD_PAGE_H
#define AQZ_TESTS_GUARD_PAGE_H

#include <sys/mman.h>
#include <unistd.h>

#include "tests/support.h"

typedef struct paged {
	void *data;
	uint8_t *base;
	size_t n_bytes;
} paged;

/* n bytes, aligned as n is; filled with 0xff, which is NaN in floats. */
static inline paged paged_alloc(size_t n)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page - 1) / page * page;
	paged p = {.n_bytes = room + page};
	void *base = mmap(NULL, p.n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	SURE(base != MAP_FAILED);
	SURE(mprotect((uint8_t *)base + room, page, PROT_NONE) == 0);
	memset(base, 0xff, room);
	p.base = base;
	p.data = p.base + room - n;
	return p;
}

static inline void paged_free(paged *p)
{
	munmap(p->base, p->n_bytes);
	*p = (paged){0};
}

#endif
