/* SPDX-License-Identifier: Apache-2.0 */
/* Parameter sections kept in memory, spec 2.3: a stream cannot go back for them. */
#include "format/params.h"

aqz_status aqz_params_add(
	aqz_params *p, uint32_t section, const void *data, uint64_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	void *fresh;
	if (section >= p->capacity) {
		uint32_t capacity = p->capacity == 0 ? 64 : p->capacity;
		while (capacity <= section)
			capacity *= 2; /* sections are below 2^22 */
		AQZ_TRY(aqz_budget_alloc(p->budget, &fresh, (uint64_t)capacity * sizeof *p->kept,
			"the table of parameters", err));
		if (p->capacity > 0)
			memcpy(fresh, p->kept, (size_t)p->capacity * sizeof *p->kept);
		aqz_budget_free(p->budget, p->kept, (uint64_t)p->capacity * sizeof *p->kept);
		p->kept = fresh;
		p->capacity = capacity;
	}
	aqz_kept *k = &p->kept[section];
	if (n > k->capacity - k->n_bytes) {
		uint64_t capacity = k->capacity == 0 ? n : 2 * k->capacity + n;
		AQZ_TRY(aqz_budget_alloc(p->budget, &fresh, capacity, "a parameter section", err));
		if (k->n_bytes > 0)
			memcpy(fresh, k->data, k->n_bytes);
		aqz_budget_free(p->budget, k->data, k->capacity);
		k->data = fresh;
		k->capacity = capacity;
	}
	memcpy(k->data + k->n_bytes, data, n);
	k->n_bytes += n;
out:
	return status;
}

void aqz_params_free(aqz_params *p)
{
	for (uint32_t i = 0; i < p->capacity; i++)
		aqz_budget_free(p->budget, p->kept[i].data, p->kept[i].capacity);
	if (p->budget != NULL)
		aqz_budget_free(p->budget, p->kept, (uint64_t)p->capacity * sizeof *p->kept);
	memset(p, 0, sizeof *p);
}

aqz_status aqz_params_decoder(const aqz_params *p, aqz_chunk_decoder *d, const aqz_catalog *c,
	const aqz_section *s, aqz_budget *budget, aqz_error *err)
{
	uint32_t n = 0, k = 0;
	static const uint8_t nothing[1];
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		n += s->info.refs[r].count;
	aqz_param_view *params = calloc(n + 1, sizeof *params);
	if (params == NULL)
		return aqz_fail_nomem(err, (uint64_t)n * sizeof *params);
	for (uint32_t r = 0; r < s->info.n_refs; r++)
		for (uint32_t i = 0; i < s->info.refs[r].count; i++, k++) {
			const aqz_section_info *q = &c->sections[s->info.refs[r].first + i]->info;
			/* A referenced section stands before this one, so all its chunks were kept; one of no
			 * elements has none. */
			const void *data = q->decoded_bytes == 0 ? nothing : p->kept[q->number].data;
			params[k] = (aqz_param_view){q->kind, q->dtype, q->rows, q->cols, data};
		}
	aqz_status status = aqz_chunk_decoder_open(d, s, params, n, budget, err);
	free(params);
	return status;
}
