/* SPDX-License-Identifier: Apache-2.0 */
/* Memory under a limit, and growing arrays. */
#include <inttypes.h>

#include "base/base.h"

aqz_status aqz_budget_alloc(
	aqz_budget *b, void **out, uint64_t n_bytes, const char *what, aqz_error *err)
{
	uint64_t used, padded;
	void *p;

	*out = NULL;
	if (!aqz_add(&used, b->used_bytes, n_bytes) || !aqz_add(&padded, n_bytes, 127) ||
		padded > SIZE_MAX)
		return aqz_fail_nomem(err, n_bytes);
	if (b->limit_bytes != 0 && used > b->limit_bytes)
		return aqz_fail(err, AQZ_E_MEMLIMIT, AQZ_NO_OFFSET, NULL,
			"%s needs %" PRIu64 " bytes beside %" PRIu64
			" in use, over the memory limit of %" PRIu64,
			what, n_bytes, b->used_bytes, b->limit_bytes);
	/* aligned_alloc wants a multiple of the alignment; 0 bytes must give a pointer too. */
	padded = n_bytes == 0 ? 64 : (n_bytes + 63) & ~UINT64_C(63);
	p = aligned_alloc(64, (size_t)padded);
	if (p == NULL)
		return aqz_fail_nomem(err, n_bytes);
	memset(p, 0, (size_t)padded);
	b->used_bytes = used;
	*out = p;
	return AQZ_OK;
}

void aqz_budget_free(aqz_budget *b, void *p, uint64_t n_bytes)
{
	if (p == NULL)
		return;
	b->used_bytes -= n_bytes;
	free(p);
}

aqz_status aqz_buffer_add(aqz_buffer *b, const void *data, size_t n, aqz_error *err)
{
	if (n > b->capacity - b->n) {
		size_t capacity = b->capacity < 256 ? 256 : b->capacity;
		uint8_t *grown;

		while (capacity - b->n < n) {
			if (capacity > SIZE_MAX / 2)
				return aqz_fail_nomem(err, UINT64_MAX);
			capacity *= 2;
		}
		grown = realloc(b->data, capacity);
		if (grown == NULL)
			return aqz_fail_nomem(err, capacity);
		b->data = grown;
		b->capacity = capacity;
	}
	if (n > 0 && data != NULL)
		memcpy(b->data + b->n, data, n);
	else if (n > 0)
		memset(b->data + b->n, 0, n);
	b->n += n;
	return AQZ_OK;
}

void aqz_buffer_free(aqz_buffer *b)
{
	free(b->data);
	*b = (aqz_buffer){0};
}
