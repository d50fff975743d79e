/* SPDX-License-Identifier: Apache-2.0 */
/* A set of names by number: open addressing, at most half full, so that 2^20 tensors stay linear.
 * The names are hashed with a fixed seed: an adversary who finds collisions gets long probes, which
 * PROBE_LIMIT turns into an error. */
#include "format/catalog.h"

enum { FIRST_CAPACITY = 64, PROBE_LIMIT = 4096 };

static uint32_t slot_of(const char *name, size_t n, uint32_t capacity)
{
	return (uint32_t)aqz_hash(name, n, 0) & (capacity - 1);
}

bool aqz_names_find(const aqz_names *names, aqz_names_equal_fn *equal, const void *owner,
	const char *name, size_t n, uint32_t *number)
{
	if (names->capacity == 0)
		return false;
	uint32_t at = slot_of(name, n, names->capacity);
	for (; names->slots[at] != 0; at = (at + 1) & (names->capacity - 1))
		if (equal(owner, names->slots[at] - 1, name, n)) {
			*number = names->slots[at] - 1;
			return true;
		}
	return false;
}

static bool insert(uint32_t *slots, uint32_t capacity, uint32_t number, const char *name, size_t n,
	uint32_t limit)
{
	uint32_t at = slot_of(name, n, capacity);
	for (uint32_t probes = 0; slots[at] != 0; probes++, at = (at + 1) & (capacity - 1))
		if (probes == limit)
			return false;
	slots[at] = number + 1;
	return true;
}

aqz_status aqz_names_add(aqz_names *names, aqz_budget *budget, aqz_names_get_fn *get,
	const void *owner, uint32_t number, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const char *name;
	size_t n;
	if (2 * (names->n + 1) > names->capacity) {
		uint32_t capacity = names->capacity == 0 ? FIRST_CAPACITY : 2 * names->capacity;
		void *slots;
		AQZ_TRY(aqz_budget_alloc(
			budget, &slots, (uint64_t)capacity * sizeof(uint32_t), "the table of names", err));
		for (uint32_t i = 0; i < names->capacity; i++)
			if (names->slots[i] != 0) {
				get(owner, names->slots[i] - 1, &name, &n);
				/* In this order no name gets further from its place than it was, but for some behind
				 * those that had gone round the end: twice as far. None may be lost for it. */
				(void)insert(slots, capacity, names->slots[i] - 1, name, n, UINT32_MAX);
			}
		aqz_names_free(names, budget);
		names->slots = slots;
		names->capacity = capacity;
	}
	get(owner, number, &name, &n);
	if (!insert(names->slots, names->capacity, number, name, n, PROBE_LIMIT))
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "names",
			"thousands of names with one hash: made to be slow");
	names->n++;
out:
	return status;
}

void aqz_names_free(aqz_names *names, aqz_budget *budget)
{
	aqz_budget_free(budget, names->slots, (uint64_t)names->capacity * sizeof(uint32_t));
	names->slots = NULL;
	names->capacity = 0;
}
