/* SPDX-License-Identifier: Apache-2.0 */
/* What compressing a model will do: the scheme of each tensor, bytes and memory. Nothing is random
 * and no clock is read: the same source and options give the same plan. */
#include "interop/plan.h"
#include "codec/codec.h"
#include "interop/crew.h"

void aqz_plan_view(const aqz_source_tensor *t, uint32_t *leading, uint64_t *rows, uint64_t *cols)
{
	*leading = t->rank >= 2 ? t->rank - 2 : 0;
	*rows = *cols = 1;
	for (uint32_t i = 0; i < t->rank; i++)
		*(i <= *leading ? rows : cols) *=
			t->shape[i]; /* divides n_elements, or some dimension is zero */
}

aqz_encode_options aqz_plan_encode_options(const aqz_plan *plan)
{
	const aqz_compress_options *o = &plan->opt;
	return (aqz_encode_options){.struct_size = sizeof(aqz_encode_options),
		.effort = o->effort,
		.seed = o->seed,
		.train_vectors = o->train_vectors,
		.n_threads = o->n_threads,
		.memlimit_bytes = o->memlimit_bytes,
		.codebook_dtype = o->codebook_dtype,
		.scale_dtype = o->scale_dtype};
}

aqz_layer aqz_plan_layer(const aqz_plan *plan, uint32_t entry)
{
	static const float present;
	aqz_layer layer = {.hessian = plan->more[entry].stats != NULL ? &present : NULL};
	uint32_t leading;
	aqz_plan_view(plan->entries[entry].tensor, &leading, &layer.rows, &layer.cols);
	return layer;
}

/* Bytes and memory of an entry that is settled. */
static void measure(const aqz_plan *plan, uint32_t i)
{
	aqz_plan_entry *e = &plan->entries[i];
	const aqz_source_tensor *t = e->tensor;
	const aqz_book_set *set = plan->more[i].set == AQZ_NO_SET ? NULL : &plan->sets[plan->more[i].set];
	if (e->scheme.codec == AQZ_CODEC_LOSSLESS) {
		e->stored_bytes = t->n_bytes;
		e->memory_bytes =
			aqz_lossless_encode_memory(aqz_min(t->n_bytes, UINT64_C(4) << 20), plan->opt.effort) +
			(UINT64_C(12) << 20);
		return;
	}
	if (e->scheme.codec == AQZ_CODEC_TRELLIS) {
		const uint64_t cols = aqz_plan_layer(plan, i).cols;
		e->stored_bytes = aqz_min(aqz_trellis_bytes(plan, i), t->n_bytes);
		e->memory_bytes = 4 * t->n_elements + (e->has_stats ? 4 * cols * cols : 0) +
			aqz_trellis_memory(plan, i) + (UINT64_C(12) << 20);
		return;
	}
	aqz_encode_options encode = aqz_plan_encode_options(plan);
	const aqz_layer layer = aqz_plan_layer(plan, i);
	const uint64_t h = layer.hessian != NULL ? 4 * layer.cols * layer.cols : 0;
	const uint64_t encoding = aqz_encode_additive_memory(&layer, &e->scheme, &encode),
				   measuring = aqz_measure_memory(&layer, plan->opt.n_threads);
	e->n_sharing = set != NULL ? set->n_members : 1;
	e->stored_bytes = aqz_plan_coded_bytes(plan, i);
	if (set == NULL)
		e->stored_bytes += aqz_codebooks_bytes(&e->scheme, plan->opt.codebook_dtype);
	else if (set->first == i)
		e->stored_bytes += set->n_bytes;
	e->memory_bytes = 4 * t->n_elements + h + (encoding > measuring ? encoding : measuring) +
		e->stored_bytes + (UINT64_C(12) << 20);
	if (set != NULL && set->first == i && set->training_bytes > e->memory_bytes)
		e->memory_bytes = set->training_bytes + (UINT64_C(12) << 20);
}

/* Headers, padding and index entry of each chunk of the smallest size that the writer makes. */
static uint64_t chunk_overhead(uint64_t n_bytes, uint32_t alignment)
{
	uint64_t n_chunks = n_bytes / (UINT64_C(1) << 20) + 1;
	return n_chunks * (64 + 63 + 32 + (alignment > 64 ? 64 + 32 + alignment : 0));
}

static void total(aqz_plan *plan)
{
	plan->bound_bytes = 8192 + strlen(plan->provenance);
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		const aqz_plan_entry *e = &plan->entries[i];
		/* Codebooks, their scales if they are integers, row scales. */
		uint64_t extra =
			e->scheme.codec == AQZ_CODEC_LOSSLESS ? 0 : 3 * chunk_overhead(0, plan->opt.alignment);
		uint64_t payload = e->stored_bytes;
		if (plan->opt.non_finite == AQZ_NON_FINITE_RAW && e->tensor->n_bytes > payload)
			payload = e->tensor->n_bytes; /* nobody has looked at the weights */
		plan->bound_bytes += payload + AQZ_SECTION_OVERHEAD + 2 * e->tensor->name_bytes + extra +
			chunk_overhead(e->tensor->n_bytes, plan->opt.alignment);
		plan->memory_bytes =
			e->memory_bytes > plan->memory_bytes ? e->memory_bytes : plan->memory_bytes;
	}
	uint64_t crew_bytes;
	plan->n_crew = aqz_crew_size(&crew_bytes, plan);
	if (plan->n_crew > 1 && crew_bytes > plan->memory_bytes)
		plan->memory_bytes = crew_bytes;
	const aqz_source_file *f;
	for (uint32_t i = 0; (f = aqz_source_get_file(plan->source, i)) != NULL; i++) {
		uint64_t n = f->header_bytes > 0 ? f->header_bytes : f->n_bytes;
		plan->bound_bytes +=
			n + AQZ_SECTION_OVERHEAD + 2 * strlen(f->name) + chunk_overhead(n, plan->opt.alignment);
		plan->n_files++;
	}
	for (uint32_t i = 0; i < plan->n_sets; i++) /* those that are used, until they are not any more */
		plan->memory_bytes += plan->sets[i].n_members > 0 ? plan->sets[i].n_bytes : 0;
	/* The writer of a checkpoint, or its reader, stages one chunk. */
	plan->memory_bytes += plan->opt.checkpoint_dir != NULL ? UINT64_C(16) << 20 : 0;
	/* The writer stages one chunk, in and out, for each thread. */
	plan->memory_bytes += (uint64_t)aqz_threads(plan->opt.n_threads) * (UINT64_C(8) << 20) +
		1024 * (uint64_t)plan->n_entries;
}

/* A scheme as a reader would take it from a file: nothing divides by what it holds unseen. */
static aqz_status check_scheme(const aqz_scheme *scheme, const char *where, aqz_error *err)
{
	const aqz_codec *codec = aqz_codec_find((uint32_t)scheme->codec);
	uint8_t params[AQZ_CODEC_PARAMS_BYTES];
	aqz_scheme same;
	if (codec != NULL)
		codec->params_write(params, scheme);
	if (codec != NULL && codec->params_read(&same, params, NULL) == AQZ_OK)
		return AQZ_OK;
	return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, where, "there is no such scheme");
}

static aqz_status check_goal(const aqz_goal *goal, const char *where, aqz_error *err)
{
	if ((unsigned)goal->kind > AQZ_GOAL_SLOPE ||
		(goal->kind == AQZ_GOAL_SHARED) != !(goal->value > 0) || !(goal->value < 1e30))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, where, "there is no such goal");
	return AQZ_OK;
}

/* What only trellis tensors have. */
static aqz_status fill_trellis(aqz_compress_options *o, aqz_error *err)
{
	static const uint8_t bits[] = {3, 3, 3, 5, 5, 5, 6, 7, 8}; /* of the states, by effort */
	const uint32_t s = o->trellis_states;
	aqz_status status = check_goal(&o->goal, "options.goal", err);
	for (uint32_t i = 0; i < o->n_rules && status == AQZ_OK; i++)
		status = check_goal(&o->rules[i].goal, "options.rules", err);
	if (status == AQZ_OK)
		status = check_goal(&o->shared_goal, "options.shared_goal", err);
	if (status != AQZ_OK)
		return status;
	if (o->shared_goal.kind == AQZ_GOAL_LOSS)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.shared_goal",
			"tensors share bits or a slope");
	if (o->shared_goal.kind == AQZ_GOAL_SHARED)
		o->shared_goal = (aqz_goal){AQZ_GOAL_BITS, 2.5};
	if (s > 256 || s == 2 || (s & (s - 1)) != 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.trellis_states",
			"states are 1, 4, 8, 16, 32, 64, 128 or 256");
	if (s == 0)
		o->trellis_states = UINT32_C(1) << bits[o->effort - 1];
	if ((unsigned)o->importance > AQZ_IMPORTANCE_NEVER)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.importance", "there is no such value");
	return AQZ_OK;
}

static aqz_status fill_options(aqz_compress_options *o, aqz_error *err)
{
	aqz_status status = check_scheme(&o->scheme, "options.scheme", err);
	for (uint32_t i = 0; i < o->n_rules && status == AQZ_OK; i++)
		status = check_scheme(&o->rules[i].scheme, "options.rules", err);
	if (status != AQZ_OK)
		return status;
	if (o->codebooks_from != NULL && (o->codebook_dtype != 0 || o->share != AQZ_SHARE_NONE))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.codebooks_from",
			"codebooks from a file have their type, and are not trained");
	if (o->resume && o->checkpoint_dir == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.resume",
			"there is no folder of checkpoints to resume from");
	if (o->effort == 0)
		o->effort = 5;
	if (o->codebook_dtype == 0)
		o->codebook_dtype = AQZ_F16;
	if (o->scale_dtype == 0)
		o->scale_dtype = AQZ_F16;
	if (o->alignment == 0)
		o->alignment = 64;
	if (o->effort < 1 || o->effort > 9)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.effort",
			"effort is 1 to 9, not %d", o->effort);
	if (o->alignment != 64 && o->alignment != 4096)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.alignment",
			"the alignment is 64 or 4096, not %u", o->alignment);
	const aqz_dtype both[2] = {o->scale_dtype, o->codebook_dtype};
	for (int i = 0; i < 2; i++)
		if (both[i] != AQZ_F16 && both[i] != AQZ_BF16 && both[i] != AQZ_F32 &&
			(i == 0 || both[i] != AQZ_I8))
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET,
				i == 0 ? "options.scale_dtype" : "options.codebook_dtype",
				i == 0 ? "the type is F16, BF16 or F32" : "the type is F16, BF16, F32 or I8");
	if ((unsigned)o->share > AQZ_SHARE_ALL)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.share", "there is no such value");
	return fill_trellis(o, err);
}

aqz_status aqz_plan_make(
	aqz_plan **out, const aqz_source *source, const aqz_compress_options *opt, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	*out = NULL;
	if (opt == NULL || opt->struct_size != sizeof *opt)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.struct_size",
			"the options are of another version");
	aqz_plan *plan = calloc(1, sizeof *plan);
	if (plan == NULL)
		return aqz_fail_nomem(err, sizeof *plan);
	plan->source = source;
	plan->opt = *opt;
	AQZ_TRY(fill_options(&plan->opt, err));
	plan->n_entries = aqz_source_n_tensors(source);
	plan->entries = calloc((size_t)plan->n_entries + 1, sizeof *plan->entries);
	plan->more = calloc((size_t)plan->n_entries + 1, sizeof *plan->more);
	if (plan->entries == NULL || plan->more == NULL)
		AQZ_TRY(aqz_fail_nomem(err, plan->n_entries * sizeof *plan->entries));
	AQZ_TRY(aqz_plan_decide(plan, err));
	for (uint32_t i = 0; i < plan->n_entries; i++)
		measure(plan, i);
	AQZ_TRY(aqz_plan_describe(plan, err));
	total(plan);
	*out = plan;
	plan = NULL;
out:
	aqz_plan_free(plan);
	return status;
}

void aqz_plan_free(aqz_plan *plan)
{
	if (plan == NULL)
		return;
	aqz_sets_free(plan);
	free(plan->provenance);
	free(plan->more);
	free(plan->entries);
	free(plan);
}

const aqz_plan_entry *aqz_plan_get(const aqz_plan *plan, uint32_t i)
{
	return i < plan->n_entries ? &plan->entries[i] : NULL;
}

void aqz_plan_totals(const aqz_plan *plan, uint64_t *memory_bytes, uint64_t *file_bytes_bound)
{
	if (memory_bytes != NULL)
		*memory_bytes = plan->memory_bytes;
	if (file_bytes_bound != NULL)
		*file_bytes_bound = plan->bound_bytes;
}
