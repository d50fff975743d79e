/* SPDX-License-Identifier: Apache-2.0 */
/* What each tensor of a plan becomes: its scheme, whether that pays, the set whose codebooks it has, its statistics. */
#include "codec/codec.h"
#include "interop/plan.h"

#include <fnmatch.h>
#include <stdio.h> /* snprintf */

/* Where a coded tensor is not clearly smaller, tensors up to this size are coded lossless first to
 * compare. */
#define TRY_LOSSLESS_BYTES (UINT64_C(16) << 20)

static const aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1};

bool aqz_is_projection(const char *name, uint32_t rank)
{
	/* Modules as Hugging Face's and Meta's Llama-like models name them. Embeddings, heads, routers
	 * and norms are not here. */
	static const char *const modules[] = {"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj",
		"gate_proj", "up_proj", "down_proj", "gate_up_proj", "out_proj", "wq", "wk", "wv", "wo",
		"w1", "w2", "w3", "fc1", "fc2", "query_key_value", "dense_h_to_4h", "dense_4h_to_h", "Wqkv"};
	size_t n;
	const char *module = aqz_module_name(name, &n);
	if (rank != 2 || strcmp(module + n, ".weight") != 0)
		return false;
	for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
		if (strlen(modules[i]) == n && memcmp(modules[i], module, n) == 0)
			return true;
	return false;
}

static aqz_scheme scheme_of(const aqz_compress_options *o, aqz_goal *goal, const aqz_source_tensor *t)
{
	aqz_scheme scheme = raw;
	*goal = (aqz_goal){0};
	if (aqz_is_projection(t->name, t->rank)) {
		scheme = o->scheme;
		*goal = o->goal;
	}
	for (uint32_t i = 0; i < o->n_rules; i++)
		if (fnmatch(o->rules[i].glob, t->name, 0) == 0) {
			scheme = o->rules[i].scheme;
			*goal = o->rules[i].goal;
		}
	/* The states that a scheme has come from the options. */
	if (scheme.codec == AQZ_CODEC_TRELLIS)
		scheme.code_bits = (uint8_t)__builtin_ctz(o->trellis_states);
	return scheme;
}

/* Bytes of the tensor's lossless form, chunk by chunk as the writer would make them. */
static aqz_status lossless_bytes(
	const aqz_plan *plan, const aqz_source_tensor *t, uint64_t *n_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint16_t coding;
	size_t stored, n = (size_t)t->n_bytes;
	uint8_t *in = aligned_alloc(64, (n + 127) / 64 * 64),
			*out = aligned_alloc(64, (n + 127) / 64 * 64);
	if (in == NULL || out == NULL)
		AQZ_TRY(aqz_fail_nomem(err, 2 * t->n_bytes));
	AQZ_TRY(aqz_source_read(plan->source, t->file, t->offset, in, n, err));
	AQZ_TRY(aqz_lossless_encode(out, &stored, &coding, in, n, t->dtype, plan->opt.effort, err));
	*n_bytes = stored;
out:
	free(in);
	free(out);
	return status;
}

/* What a tensor is to become, before sizes are looked at. */
static void classify(const aqz_plan *plan, aqz_plan_entry *e)
{
	const aqz_source_tensor *t = e->tensor;
	const aqz_scheme wanted = scheme_of(&plan->opt, &e->goal, t);
	uint32_t leading;
	uint64_t rows, cols;
	aqz_plan_view(t, &leading, &rows, &cols);
	e->scheme = raw;
	if (wanted.codec == AQZ_CODEC_LOSSLESS)
		return;
	uint64_t wide = cols * 64 * wanted.out_group * (aqz_dtype_bits(t->dtype) / 8);
	if (t->dtype != AQZ_F32 && t->dtype != AQZ_F16 && t->dtype != AQZ_BF16)
		e->raw_reason = AQZ_RAW_DTYPE;
	else if (t->rank < 2 || cols >= UINT64_C(1) << 40 || wide > UINT64_C(1) << 26)
		e->raw_reason = AQZ_RAW_SHAPE;
	else if (t->n_elements == 0)
		e->raw_reason = AQZ_RAW_NOT_SMALLER;
	else
		e->scheme = wanted;
}

uint64_t aqz_plan_coded_bytes(const aqz_plan *plan, uint32_t i)
{
	const aqz_scheme *s = &plan->entries[i].scheme;
	const aqz_layer l = aqz_plan_layer(plan, i);
	const uint64_t code_rows = aqz_ceil_div(l.rows, s->out_group);
	if (s->codec == AQZ_CODEC_TRELLIS)
		return aqz_trellis_bytes(plan, i);
	return aqz_additive_codes_bytes(s, code_rows, aqz_ceil_div(l.cols, s->in_group)) +
		code_rows * (aqz_dtype_bits(plan->opt.scale_dtype) / 8);
}

/* Its part of the codebooks that it has. */
static uint64_t codebook_part(const aqz_plan *plan, uint32_t i)
{
	const aqz_book_set *set = plan->more[i].set == AQZ_NO_SET ? NULL : &plan->sets[plan->more[i].set];
	if (plan->entries[i].scheme.codec == AQZ_CODEC_TRELLIS)
		return 0;
	return set != NULL ? aqz_ceil_div(set->n_bytes, set->n_members)
					   : aqz_codebooks_bytes(&plan->entries[i].scheme, plan->opt.codebook_dtype);
}

/* Whether an entry becomes smaller by its scheme. */
static aqz_status pays(const aqz_plan *plan, uint32_t i, bool *out, aqz_error *err)
{
	const aqz_source_tensor *t = plan->entries[i].tensor;
	const uint64_t coded =
		aqz_plan_coded_bytes(plan, i) + codebook_part(plan, i) + AQZ_SECTION_OVERHEAD;
	uint64_t *plain = &plan->more[i].plain_bytes;
	if (*plain == 0) {
		*plain = t->n_bytes;
		if (coded >= t->n_bytes / 2 && t->n_bytes <= TRY_LOSSLESS_BYTES && coded < t->n_bytes) {
			aqz_status status = lossless_bytes(plan, t, plain, err);
			if (status != AQZ_OK)
				return status;
		}
	}
	*out = coded < *plain;
	return AQZ_OK;
}

/* Settles which entries are coded, and with whose codebooks. An entry that leaves a set makes the
 * others' parts of its codebooks larger, so that these are looked at again. */
static aqz_status settle(aqz_plan *plan, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	bool again = true, smaller;
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		plan->more[i].set = AQZ_NO_SET;
		if (plan->entries[i].scheme.codec != AQZ_CODEC_ADDITIVE)
			continue;
		aqz_error missing;
		status = aqz_sets_add(plan, i, &missing);
		if (status != AQZ_E_NOT_FOUND && status != AQZ_E_ARGUMENT) {
			if (status != AQZ_OK && err != NULL)
				*err = missing;
			AQZ_TRY(status);
			continue;
		}
		/* No codebooks for it: that is right for one that is not coded. */
		const aqz_status found = status;
		AQZ_TRY(pays(plan, i, &smaller, err));
		if (smaller) {
			if (err != NULL)
				*err = missing;
			return found;
		}
	}
	while (again) {
		again = false;
		for (uint32_t i = 0; i < plan->n_entries; i++) {
			aqz_plan_entry *e = &plan->entries[i];
			if (e->scheme.codec == AQZ_CODEC_LOSSLESS)
				continue;
			AQZ_TRY(pays(plan, i, &smaller, err));
			if (smaller)
				continue;
			again = plan->more[i].set != AQZ_NO_SET;
			aqz_sets_drop(plan, i);
			e->scheme = raw;
			e->raw_reason = AQZ_RAW_NOT_SMALLER;
		}
	}
out:
	return status;
}

/* Finds each coded entry's statistics. */
static aqz_status find_stats(aqz_plan *plan, aqz_error *err)
{
	const aqz_compress_options *o = &plan->opt;
	uint32_t n_coded = 0, n_without = 0;
	const char *without = NULL, *coded = NULL;
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		aqz_plan_entry *e = &plan->entries[i];
		const aqz_source_tensor *t = e->tensor;
		if (e->scheme.codec == AQZ_CODEC_LOSSLESS)
			continue;
		coded = n_coded++ == 0 ? t->name : coded;
		const aqz_source_tensor *h = aqz_stats_find(o->stats, t->name, t->name_bytes);
		if (h == NULL) {
			without = n_without++ == 0 ? t->name : without;
			continue;
		}
		const uint64_t cols = aqz_plan_layer(plan, i).cols;
		if (h->shape[0] != cols)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, t->name,
				"its statistics are of %llu inputs, but it has %llu",
				(unsigned long long)h->shape[0], (unsigned long long)cols);
		plan->more[i].stats = h;
		e->has_stats = true;
	}
	if (n_without == n_coded && n_coded > 0)
		return aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, coded,
			"no tensor to be coded has statistics in that file, this one nor others; it has %.80s",
			aqz_stats_example(o->stats));
	if (o->warn != NULL && n_without > 0) {
		char line[AQZ_MAX_NAME_BYTES + 128];
		snprintf(line, sizeof line,
			"%u of %u tensors to be coded have no statistics (the first is %s): all their inputs "
			"count alike",
			n_without, n_coded, without);
		o->warn(o->user, line);
	}
	if (o->warn != NULL && n_coded == 0)
		o->warn(o->user, "no tensor is to be coded: the statistics are not used");
	return AQZ_OK;
}

static const aqz_source_tensor *rows_of(const aqz_plan *plan, uint32_t i)
{
	const aqz_source_tensor *t = plan->entries[i].tensor;
	return t->rank == 2
		? aqz_stats_find_rows(plan->opt.stats, AQZ_ROW_IMPORTANCE, t->name, t->name_bytes)
		: NULL;
}

/* Finds the importance of rows of trellis entries, where it is asked for. One constant needs losses in one unit: all
 * that share it have importance, or none. */
static aqz_status find_importance(aqz_plan *plan, aqz_error *err)
{
	const aqz_compress_options *o = &plan->opt;
	const char *with = NULL, *without = NULL;
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		const aqz_plan_entry *e = &plan->entries[i];
		if (e->scheme.codec == AQZ_CODEC_TRELLIS && e->goal.kind == AQZ_GOAL_SHARED)
			*(rows_of(plan, i) != NULL ? &with : &without) = e->tensor->name;
	}
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		aqz_plan_entry *e = &plan->entries[i];
		const bool shared = e->goal.kind == AQZ_GOAL_SHARED,
				   own = e->goal.kind != AQZ_GOAL_SLOPE && !shared;
		if (e->scheme.codec != AQZ_CODEC_TRELLIS || (shared && without != NULL) ||
			(own && o->importance != AQZ_IMPORTANCE_ALWAYS))
			continue;
		const aqz_source_tensor *rows = rows_of(plan, i);
		if (rows != NULL && rows->shape[0] != e->tensor->shape[0])
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, e->tensor->name,
				"its importance is of %llu rows, but it has %llu",
				(unsigned long long)rows->shape[0], (unsigned long long)e->tensor->shape[0]);
		plan->more[i].importance = rows;
		e->has_importance = rows != NULL;
	}
	if (o->warn != NULL && with != NULL && without != NULL) {
		char line[AQZ_MAX_NAME_BYTES + 128];
		snprintf(line, sizeof line,
			"the importance of rows is not used for the tensors that share a constant: %s has none",
			without);
		o->warn(o->user, line);
	}
	return AQZ_OK;
}

aqz_status aqz_plan_decide(aqz_plan *plan, aqz_error *err)
{
	aqz_status status;

	for (uint32_t i = 0; i < plan->n_entries; i++) {
		plan->entries[i].tensor = aqz_source_get(plan->source, i);
		classify(plan, &plan->entries[i]);
	}
	AQZ_TRY(settle(plan, err));
	if (plan->opt.stats != NULL)
		AQZ_TRY(find_stats(plan, err));
	if (plan->opt.stats != NULL && plan->opt.importance != AQZ_IMPORTANCE_NEVER)
		AQZ_TRY(find_importance(plan, err));
	AQZ_TRY(aqz_sets_settle(plan, err));
out:
	return status;
}
