/* SPDX-License-Identifier: Apache-2.0 */
/* The provenance text of a file, spec 5.5, and its id. Nothing is random and no clock is read: the same source and
 * options give the same text. */
#include "interop/plan.h"
#include "interop/source.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h> /* snprintf */
#include <xxhash.h>

/* XXH3-128 as text, the higher half first. */
static json_t *hex128(const uint64_t v[2])
{
	return json_sprintf("%016" PRIx64 "%016" PRIx64, v[1], v[0]);
}

/* What the encoder knew of the inputs: "none", or which statistics. */
static aqz_status calibration(json_t **out, const aqz_stats *stats, aqz_error *err)
{
	uint64_t hash[2], tokens;
	aqz_status status;

	*out = NULL;
	if (stats == NULL) {
		*out = json_string("none");
		return AQZ_OK;
	}
	AQZ_TRY(aqz_stats_hash(hash, stats, err));
	*out = json_pack("{s:o}", "xxh3_128", hex128(hash));
	tokens = aqz_stats_tokens(stats);
	if (tokens != 0)
		json_object_set_new(*out, "tokens", json_integer((json_int_t)tokens));
out:
	return status;
}

static bool has_trellis(const aqz_compress_options *o)
{
	bool found = o->scheme.codec == AQZ_CODEC_TRELLIS;

	for (uint32_t i = 0; i < o->n_rules; i++)
		found = found || o->rules[i].scheme.codec == AQZ_CODEC_TRELLIS;
	return found;
}

/* What only trellis tensors have. */
static void describe_trellis(json_t *root, const aqz_compress_options *o)
{
	static const char *const importance[] = {"auto", "always", "never"};

	json_object_set_new(root, "trellis_states", json_integer((json_int_t)o->trellis_states));
	json_object_set_new(root, o->shared_goal.kind == AQZ_GOAL_BITS ? "bits" : "slope",
		json_real(o->shared_goal.value));
	json_object_set_new(root, "importance", json_string(importance[o->importance]));
	if (o->even_steps)
		json_object_set_new(root, "waterfill", json_false());
	if (o->no_rate_term)
		json_object_set_new(root, "rate_term", json_false());
}

/* Canonical options: sorted keys, no space, and nothing of time, host or threads. */
static aqz_status describe(aqz_plan *plan, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	static const char *const shares[] = {"none", "kind", "block", "all"};
	const aqz_compress_options *o = &plan->opt;
	char text[AQZ_GOAL_TEXT_BYTES], format[24];
	json_t *rules, *root = NULL, *inputs, *books;

	AQZ_TRY(calibration(&inputs, o->stats, err));
	rules = json_array();
	for (uint32_t i = 0; i < o->n_rules; i++) {
		aqz_scheme_format_goal(text, &o->rules[i].scheme, &o->rules[i].goal);
		/* NULL, which the array refuses, for bytes that are not UTF-8. */
		if (json_array_append_new(rules, json_sprintf("%s=%s", o->rules[i].glob, text)) != 0) {
			json_decref(rules);
			json_decref(inputs);
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.rules",
				"rule %u is not valid UTF-8", i);
		}
	}
	aqz_scheme_format_goal(text, &o->scheme, &o->goal);
	snprintf(format, sizeof format, "%d.%d", AQZ_FORMAT_MAJOR, AQZ_FORMAT_MINOR);
	/* JSON's integers end at 2^63 - 1 for many readers. */
	json_t *seed = o->seed <= INT64_MAX ? json_integer((json_int_t)o->seed)
										: json_sprintf("%llu", (unsigned long long)o->seed);
	/* The root over all digests says which file it was, whatever it was called. */
	books = o->codebooks_from != NULL ? hex128(aqz_reader_file(o->codebooks_from)->root)
									  : json_string("trained");
	root = json_pack("{s:s, s:s, s:s, s:s*, s:s, s:o, s:i, s:o, s:i, s:o, s:s, s:o}", "producer",
		"aqlmzip " AQZ_VERSION, "format", format, "scheme", text, "codebook_dtype",
		o->codebooks_from == NULL ? aqz_dtype_name(o->codebook_dtype) : NULL, "scale_dtype",
		aqz_dtype_name(o->scale_dtype), "rules", rules, "effort", o->effort, "seed", seed,
		"alignment", (int)o->alignment, "calibration", inputs, "share", shares[o->share],
		"codebooks", books);
	if (root != NULL && o->train_vectors != 0)
		json_object_set_new(
			root, "train_vectors", json_integer((json_int_t)aqz_min(o->train_vectors, INT64_MAX)));
	/* Which container this was made from, if it was. */
	if (root != NULL && aqz_source_reader(plan->source) != NULL)
		json_object_set_new(
			root, "transcoded", hex128(aqz_reader_file(aqz_source_reader(plan->source))->root));
	if (root != NULL && has_trellis(o))
		describe_trellis(root, o);
	if (root != NULL)
		plan->provenance = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	if (plan->provenance == NULL)
		AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options",
			"the options cannot be written as JSON"));
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

aqz_status aqz_plan_describe(aqz_plan *plan, aqz_error *err)
{
	aqz_status status;

	AQZ_TRY(describe(plan, err));
	AQZ_TRY(make_id(plan, err));
	memcpy(plan->run, plan->id, sizeof plan->run);
	if (plan->opt.id != NULL)
		memcpy(plan->id, plan->opt.id, sizeof plan->id);
out:
	return status;
}
