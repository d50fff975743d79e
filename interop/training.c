/* SPDX-License-Identifier: Apache-2.0 */
/* What the training of a set's codebooks reads: matrices spread evenly over the set and rows spread evenly over each.
 * Chosen by the plan alone, as it decides about bytes of the file. */
#include "interop/plan.h"

/* Weights and statistics that training holds, unless a single matrix is more. */
#define TRAINING_BYTES (UINT64_C(512) << 20)
#define TRAINING_LAYERS 256
/* No less than a quarter of a matrix's rows is taken, unless it does not fit alone. */
#define LEAST_SHIFT 2

uint64_t aqz_training_code_rows(const aqz_layer *layer, const aqz_scheme *scheme, unsigned row_shift)
{
	const uint64_t whole = layer->rows / scheme->out_group;

	if (row_shift == 0 || whole == 0)
		return aqz_ceil_div(layer->rows, scheme->out_group);
	return whole >> row_shift != 0 ? whole >> row_shift : 1;
}

/* Fills layers and the bytes of a choice: n_layers of members, spread evenly. */
static void measure(aqz_training *t, aqz_layer *layers, const aqz_plan *plan, const aqz_book_set *s,
	const uint32_t *members)
{
	t->data_bytes = t->read_bytes = 0;
	for (uint32_t i = 0; i < t->n_layers; i++) {
		const uint64_t at = (2 * (uint64_t)i + 1) * s->n_members / (2 * (uint64_t)t->n_layers);
		const uint32_t entry = t->entries[i] = members[at];
		const aqz_source_tensor *tensor = plan->entries[entry].tensor;
		bool counted = plan->more[entry].stats == NULL;
		aqz_layer *l = &layers[i];

		*l = aqz_plan_layer(plan, entry);
		l->rows = aqz_min(
			l->rows, aqz_training_code_rows(l, &s->scheme, t->row_shift) * s->scheme.out_group);
		t->data_bytes += l->rows * l->cols * sizeof(float);
		t->read_bytes += l->rows * l->cols * (aqz_dtype_bits(tensor->dtype) / 8);
		for (uint32_t k = i; k > 0 && !counted; k--)
			counted = plan->more[t->entries[k - 1]].stats == plan->more[entry].stats;
		if (!counted)
			t->data_bytes += l->cols * l->cols * sizeof(float);
	}
}

/* What the largest member alone takes. */
static uint64_t largest(const aqz_plan *plan, const uint32_t *members, uint32_t n)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < n; i++) {
		const aqz_layer l = aqz_plan_layer(plan, members[i]);
		const uint64_t h = l.hessian != NULL ? l.cols * l.cols : 0;
		const uint64_t bytes = (l.rows * l.cols + h) * sizeof(float);

		most = bytes > most ? bytes : most;
	}
	return most;
}

aqz_status aqz_training_choose(aqz_training *t, const aqz_plan *plan, uint32_t set, aqz_error *err)
{
	const aqz_book_set *s = &plan->sets[set];
	const aqz_encode_options encode = aqz_plan_encode_options(plan);
	uint32_t *members = malloc(s->n_members * sizeof *members), n = 0;
	aqz_layer *layers = malloc(TRAINING_LAYERS * sizeof *layers);
	aqz_status status = AQZ_OK;
	uint64_t cap;

	*t = (aqz_training){.n_layers = (uint32_t)aqz_min(s->n_members, TRAINING_LAYERS)};
	t->entries = malloc(t->n_layers * sizeof *t->entries);
	if (members == NULL || layers == NULL || t->entries == NULL)
		AQZ_TRY(aqz_fail_nomem(err, s->n_members * sizeof *members));
	for (uint32_t i = 0; i < plan->n_entries; i++)
		if (plan->more[i].set == set)
			members[n++] = i;
	cap = largest(plan, members, n);
	cap = cap > TRAINING_BYTES ? cap : TRAINING_BYTES;
	for (;;) {
		measure(t, layers, plan, s, members);
		if (t->data_bytes <= cap)
			break;
		/* One whole matrix is within the cap. */
		if (t->row_shift < LEAST_SHIFT) {
			t->row_shift++;
		} else {
			t->n_layers = (t->n_layers + 1) / 2;
			t->row_shift = 0;
		}
	}
	t->memory_bytes =
		t->data_bytes + aqz_train_codebooks_memory(layers, t->n_layers, &s->scheme, &encode);
out:
	free(members);
	free(layers);
	if (status != AQZ_OK) {
		free(t->entries);
		t->entries = NULL;
	}
	return status;
}
