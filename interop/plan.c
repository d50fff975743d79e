/* SPDX-License-Identifier: Apache-2.0 */
/* What compressing a model will do: the scheme of each tensor, bytes and memory, the provenance
 * text and the file's id. Nothing is random and no clock is read: the same source and options give
 * the same plan. */
#include "interop/plan.h"
#include "codec/codec.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h> /* snprintf */
#include <xxhash.h>

/* Where a coded tensor is not clearly smaller, tensors up to this size are coded lossless first to
 * compare. */
#define TRY_LOSSLESS_BYTES (UINT64_C(16) << 20)
/* Frames, records, index entries of a tensor with two parameter sections, at most; see docs/bounds
 * in the spec. */
#define SECTION_OVERHEAD 1024

bool aqz_is_projection(const char *name, uint32_t rank)
{
	/* Modules as Hugging Face's and Meta's Llama-like models name them. Embeddings, heads, routers
	 * and norms are not here. */
	static const char *const modules[] = {"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj",
		"gate_proj", "up_proj", "down_proj", "gate_up_proj", "out_proj", "wq", "wk", "wv", "wo",
		"w1", "w2", "w3", "fc1", "fc2", "query_key_value", "dense_h_to_4h", "dense_4h_to_h", "Wqkv"};
	static const char suffix[] = ".weight";
	size_t n = strlen(name);
	if (rank != 2 || n <= sizeof suffix - 1 || strcmp(name + n - (sizeof suffix - 1), suffix) != 0)
		return false;
	n -= sizeof suffix - 1;
	size_t begin = n;
	while (begin > 0 && name[begin - 1] != '.')
		begin--;
	for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
		if (strlen(modules[i]) == n - begin && memcmp(modules[i], name + begin, n - begin) == 0)
			return true;
	return false;
}

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
		.n_threads = o->n_threads,
		.memlimit_bytes = o->memlimit_bytes,
		.codebook_dtype = o->codebook_dtype,
		.scale_dtype = o->scale_dtype};
}

static aqz_scheme scheme_of(const aqz_compress_options *o, const aqz_source_tensor *t)
{
	aqz_scheme scheme = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1};
	if (aqz_is_projection(t->name, t->rank))
		scheme = o->scheme;
	for (uint32_t i = 0; i < o->n_rules; i++)
		if (fnmatch(o->rules[i].glob, t->name, 0) == 0)
			scheme = o->rules[i].scheme;
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

/* Decides one tensor. */
static aqz_status decide(const aqz_plan *plan, aqz_plan_entry *e, aqz_error *err)
{
	const aqz_source_tensor *t = e->tensor;
	const aqz_compress_options *o = &plan->opt;
	aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS, .out_group = 1}, wanted = scheme_of(o, t);
	uint32_t leading;
	uint64_t rows, cols;
	aqz_plan_view(t, &leading, &rows, &cols);
	e->scheme = raw;
	e->stored_bytes = t->n_bytes;
	e->memory_bytes = aqz_lossless_encode_memory(aqz_min(t->n_bytes, UINT64_C(4) << 20), o->effort) +
		(UINT64_C(12) << 20);
	if (wanted.codec == AQZ_CODEC_LOSSLESS)
		return AQZ_OK;
	uint64_t wide = cols * 64 * wanted.out_group * (aqz_dtype_bits(t->dtype) / 8);
	if (t->dtype != AQZ_F32 && t->dtype != AQZ_F16 && t->dtype != AQZ_BF16)
		e->raw_reason = AQZ_RAW_DTYPE;
	else if (t->rank < 2 || cols >= UINT64_C(1) << 40 || wide > UINT64_C(1) << 26)
		e->raw_reason = AQZ_RAW_SHAPE;
	else if (t->n_elements == 0)
		e->raw_reason = AQZ_RAW_NOT_SMALLER;
	if (e->raw_reason != AQZ_RAW_ASKED)
		return AQZ_OK;
	uint64_t code_rows = aqz_ceil_div(rows, wanted.out_group),
			 groups = aqz_ceil_div(cols, wanted.in_group);
	uint64_t codebooks = ((uint64_t)wanted.n_codebooks << wanted.code_bits) * wanted.in_group *
		wanted.out_group * (aqz_dtype_bits(o->codebook_dtype) / 8);
	uint64_t coded = aqz_additive_codes_bytes(&wanted, code_rows, groups) + codebooks +
		code_rows * (aqz_dtype_bits(o->scale_dtype) / 8);
	uint64_t plain = t->n_bytes;
	if (coded + SECTION_OVERHEAD >= plain / 2 && plain <= TRY_LOSSLESS_BYTES &&
		coded + SECTION_OVERHEAD < plain) {
		aqz_status status = lossless_bytes(plan, t, &plain, err);
		if (status != AQZ_OK)
			return status;
	}
	if (coded + SECTION_OVERHEAD >= plain) {
		e->raw_reason = AQZ_RAW_NOT_SMALLER;
		return AQZ_OK;
	}
	aqz_encode_options encode = aqz_plan_encode_options(plan);
	e->scheme = wanted;
	e->stored_bytes = coded;
	e->memory_bytes = 4 * t->n_elements + aqz_encode_additive_memory(rows, cols, &wanted, &encode) +
		coded + (UINT64_C(12) << 20);
	return AQZ_OK;
}

/* Canonical options: sorted keys, no space, and nothing of time, host or threads. */
static aqz_status describe(aqz_plan *plan, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	const aqz_compress_options *o = &plan->opt;
	char text[AQZ_SCHEME_TEXT_BYTES], format[24];
	json_t *rules = json_array(), *root = NULL;
	for (uint32_t i = 0; i < o->n_rules; i++) {
		aqz_scheme_format(text, &o->rules[i].scheme);
		/* NULL, which the array refuses, for bytes that are not UTF-8. */
		if (json_array_append_new(rules, json_sprintf("%s=%s", o->rules[i].glob, text)) != 0) {
			json_decref(rules);
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.rules",
				"rule %u is not valid UTF-8", i);
		}
	}
	aqz_scheme_format(text, &o->scheme);
	snprintf(format, sizeof format, "%d.%d", AQZ_FORMAT_MAJOR, AQZ_FORMAT_MINOR);
	/* JSON's integers end at 2^63 - 1 for many readers. */
	json_t *seed = o->seed <= INT64_MAX ? json_integer((json_int_t)o->seed)
										: json_sprintf("%llu", (unsigned long long)o->seed);
	root = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:o, s:i, s:s}", "producer",
		"aqlmzip " AQZ_VERSION, "format", format, "scheme", text, "codebook_dtype",
		aqz_dtype_name(o->codebook_dtype), "scale_dtype", aqz_dtype_name(o->scale_dtype), "rules",
		rules, "effort", o->effort, "seed", seed, "alignment", (int)o->alignment,
		"calibration", "none");
	if (root != NULL)
		plan->provenance = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	if (plan->provenance == NULL)
		AQZ_TRY(aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options", "the options cannot be written as JSON"));
out:
	json_decref(root);
	return status;
}

/* The id: hash of the canonical options and of the source's tensor table, spec 3.2. */
static aqz_status make_id(aqz_plan *plan, aqz_error *err)
{
	XXH3_state_t *h = XXH3_createState();
	if (h == NULL)
		return aqz_fail_nomem(err, 576);
	XXH3_128bits_reset(h);
	XXH3_128bits_update(h, plan->provenance, strlen(plan->provenance) + 1);
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		const aqz_source_tensor *t = plan->entries[i].tensor;
		uint8_t head[4];
		aqz_put16(head, (uint16_t)t->dtype);
		aqz_put16(head + 2, (uint16_t)t->rank);
		XXH3_128bits_update(h, t->name, t->name_bytes + 1);
		XXH3_128bits_update(h, head, sizeof head);
		XXH3_128bits_update(h, t->shape, 8 * (size_t)t->rank);
	}
	XXH128_hash_t d = XXH3_128bits_digest(h);
	XXH3_freeState(h);
	aqz_put64(plan->id, d.low64);
	aqz_put64(plan->id + 8, d.high64);
	return AQZ_OK;
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
		uint64_t extra =
			e->scheme.codec == AQZ_CODEC_LOSSLESS ? 0 : 2 * chunk_overhead(0, plan->opt.alignment);
		plan->bound_bytes += e->stored_bytes + SECTION_OVERHEAD + 2 * e->tensor->name_bytes +
			extra + chunk_overhead(e->tensor->n_bytes, plan->opt.alignment);
		plan->memory_bytes =
			e->memory_bytes > plan->memory_bytes ? e->memory_bytes : plan->memory_bytes;
	}
	const aqz_source_file *f;
	for (uint32_t i = 0; (f = aqz_source_get_file(plan->source, i)) != NULL; i++) {
		uint64_t n = f->header_bytes > 0 ? f->header_bytes : f->n_bytes;
		plan->bound_bytes +=
			n + SECTION_OVERHEAD + 2 * strlen(f->name) + chunk_overhead(n, plan->opt.alignment);
		plan->n_files++;
	}
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

static aqz_status fill_options(aqz_compress_options *o, aqz_error *err)
{
	aqz_status status = check_scheme(&o->scheme, "options.scheme", err);
	for (uint32_t i = 0; i < o->n_rules && status == AQZ_OK; i++)
		status = check_scheme(&o->rules[i].scheme, "options.rules", err);
	if (status != AQZ_OK)
		return status;
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
	const aqz_dtype both[2] = {o->codebook_dtype, o->scale_dtype};
	for (int i = 0; i < 2; i++)
		if (both[i] != AQZ_F16 && both[i] != AQZ_BF16 && both[i] != AQZ_F32)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET,
				i == 0 ? "options.codebook_dtype" : "options.scale_dtype",
				"the type is F16, BF16 or F32");
	return AQZ_OK;
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
	if (plan->entries == NULL)
		AQZ_TRY(aqz_fail_nomem(err, plan->n_entries * sizeof *plan->entries));
	for (uint32_t i = 0; i < plan->n_entries; i++) {
		plan->entries[i].tensor = aqz_source_get(source, i);
		AQZ_TRY(decide(plan, &plan->entries[i], err));
	}
	AQZ_TRY(describe(plan, err));
	AQZ_TRY(make_id(plan, err));
	if (opt->id != NULL)
		memcpy(plan->id, opt->id, sizeof plan->id);
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
	free(plan->provenance);
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
