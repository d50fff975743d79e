/* SPDX-License-Identifier: Apache-2.0 */
/* normalizer, pre_tokenizer and decoder of tokenizer.json. What is unknown is refused by its name. */
#include <stdio.h>

#include "model/tokenizer.h"

#define MAX_NESTED 4u
#define MAX_TO_BYTES 64u
/* \w+|[^\w\s]+ as Rust's regular expressions have \w: joiners count, numbers that are no digits do not. */
#define RUST_WORDS                                                                                \
	"\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}" \
	"\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
#define WORDS_OR_OTHERS "[" RUST_WORDS "]+|[^" RUST_WORDS "\\s]+"

typedef aqz_status read_fn(aqz_tokenizer *t, const json_t *json, const char *type, aqz_error *err);

aqz_status aqz_json_text_of(const json_t *object, const char *key, const char **text, size_t *n,
	const char *where, aqz_error *err)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value))
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "its %s is missing or no string", key);
	*text = json_string_value(value);
	*n = json_string_length(value);
	return AQZ_OK;
}

aqz_status aqz_json_bool_of(const json_t *object, const char *key, bool otherwise, bool *out,
	const char *where, aqz_error *err)
{
	const json_t *value = json_object_get(object, key);

	if (value != NULL && !json_is_null(value) && !json_is_boolean(value))
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "its %s is no bool", key);
	*out = json_is_boolean(value) ? json_is_true(value) : otherwise;
	return AQZ_OK;
}

aqz_status aqz_steps_add(aqz_steps *steps, const aqz_step *step, const char *where, aqz_error *err)
{
	if (steps->n == AQZ_TOKENIZER_MAX_STEPS)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where, "it has more than %u steps",
			AQZ_TOKENIZER_MAX_STEPS);
	steps->step[steps->n++] = *step;
	return AQZ_OK;
}

static aqz_status unknown(aqz_error *err, const char *where, const char *type)
{
	char shown[32];

	/* The name is a stranger's text. */
	snprintf(shown, sizeof shown, "%.31s", type);
	for (char *c = shown; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where, "the %s \"%s\" is not supported",
		where, shown);
}

/* Calls read for an object's type, and for each member of a Sequence, whose list has that name. */
static aqz_status each(aqz_tokenizer *t, const json_t *json, const char *where, const char *list,
	unsigned depth, read_fn *read, aqz_error *err)
{
	const json_t *members;
	const char *type;
	aqz_status status = AQZ_OK;
	size_t n;

	if (json == NULL || json_is_null(json))
		return AQZ_OK;
	AQZ_TRY(aqz_json_text_of(json, "type", &type, &n, where, err));
	if (strcmp(type, "Sequence") != 0)
		return read(t, json, type, err);
	members = json_object_get(json, list);
	if (!json_is_array(members))
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "the list of a Sequence is missing");
	if (depth == MAX_NESTED)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
			"a Sequence is nested deeper than %u", MAX_NESTED);
	for (size_t i = 0; i < json_array_size(members); i++)
		AQZ_TRY(each(t, json_array_get(members, i), where, list, depth + 1, read, err));
out:
	return status;
}

/* {"String": text} or {"Regex": text} to from and code. The step's code is the caller's to free on failure. */
static aqz_status read_pattern(
	aqz_tokenizer *t, aqz_step *step, const json_t *json, const char *where, aqz_error *err)
{
	const json_t *pattern = json_object_get(json, "pattern");
	const bool regex = json_object_get(pattern, "Regex") != NULL;
	aqz_status status;
	const char *text;
	size_t n;

	AQZ_TRY(aqz_json_text_of(pattern, regex ? "Regex" : "String", &text, &n, where, err));
	AQZ_TRY(aqz_tokenizer_keep(t, &step->from, text, n, err));
	step->from_bytes = n;
	if (regex)
		AQZ_TRY(aqz_regex_compile(&step->code, text, n, where, err));
out:
	return status;
}

static aqz_status read_to(aqz_tokenizer *t, aqz_step *step, const json_t *json, const char *key,
	const char *where, aqz_error *err)
{
	aqz_status status;
	const char *text;
	size_t n;

	AQZ_TRY(aqz_json_text_of(json, key, &text, &n, where, err));
	if (n > MAX_TO_BYTES)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
			"its %s is longer than %u bytes", key, MAX_TO_BYTES);
	AQZ_TRY(aqz_tokenizer_keep(t, &step->to, text, n, err));
	step->to_bytes = n;
out:
	return status;
}

/* Appends a step that may have a pattern. */
static aqz_status finish(
	aqz_steps *steps, aqz_step *step, aqz_status status, const char *where, aqz_error *err)
{
	if (status == AQZ_OK)
		status = aqz_steps_add(steps, step, where, err);
	if (status != AQZ_OK)
		pcre2_code_free(step->code);
	return status;
}

static aqz_status normalizer(aqz_tokenizer *t, const json_t *json, const char *type, aqz_error *err)
{
	static const struct {
		const char *type;
		aqz_step_kind kind;
	} plain[] = {{"NFC", AQZ_STEP_NFC}, {"NFD", AQZ_STEP_NFD}, {"NFKC", AQZ_STEP_NFKC},
		{"NFKD", AQZ_STEP_NFKD}, {"Lowercase", AQZ_STEP_LOWERCASE}};
	static const char where[] = "normalizer";
	aqz_status status = AQZ_OK;
	aqz_step step = {0};

	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
		step.kind = plain[i].kind;
		if (strcmp(type, plain[i].type) == 0)
			return aqz_steps_add(&t->normalizer, &step, where, err);
	}
	if (strcmp(type, "Prepend") == 0) {
		step.kind = AQZ_STEP_PREPEND;
		status = read_to(t, &step, json, "prepend", where, err);
	} else if (strcmp(type, "Replace") == 0) {
		step.kind = AQZ_STEP_REPLACE;
		status = read_pattern(t, &step, json, where, err);
		if (status == AQZ_OK)
			status = read_to(t, &step, json, "content", where, err);
	} else if (strcmp(type, "Strip") == 0) {
		step.kind = AQZ_STEP_STRIP;
		status = aqz_json_bool_of(json, "strip_left", true, &step.left, where, err);
		if (status == AQZ_OK)
			status = aqz_json_bool_of(json, "strip_right", true, &step.right, where, err);
	} else {
		return unknown(err, where, type);
	}
	return finish(&t->normalizer, &step, status, where, err);
}

static aqz_status read_behavior(
	aqz_step *step, const json_t *json, const char *otherwise, aqz_error *err)
{
	static const char *const names[] = {[AQZ_SPLIT_REMOVED] = "Removed",
		[AQZ_SPLIT_ISOLATED] = "Isolated",
		[AQZ_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
		[AQZ_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
		[AQZ_SPLIT_CONTIGUOUS] = "Contiguous"};
	const char *text = json_string_value(json_object_get(json, "behavior"));

	if (text == NULL)
		text = otherwise;
	for (size_t i = 0; text != NULL && i < sizeof names / sizeof *names; i++)
		if (strcmp(text, names[i]) == 0) {
			step->behavior = (aqz_behavior)i;
			return AQZ_OK;
		}
	return aqz_fail(
		err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "pre_tokenizer", "a split has an unknown behavior");
}

static aqz_status add_fixed(aqz_tokenizer *t, const char *pattern, aqz_step *step, aqz_error *err)
{
	aqz_status status;

	step->kind = AQZ_STEP_SPLIT;
	step->from = pattern;
	step->from_bytes = strlen(pattern);
	status = aqz_regex_compile(&step->code, pattern, step->from_bytes, "pre_tokenizer", err);
	return finish(&t->pre_tokenizer, step, status, "pre_tokenizer", err);
}

aqz_status aqz_steps_add_split(
	aqz_tokenizer *t, const char *pattern, aqz_behavior behavior, bool invert, aqz_error *err)
{
	aqz_step step = {.behavior = behavior, .invert = invert};

	return add_fixed(t, pattern, &step, err);
}

/* replacement, prepend_scheme and split of Metaspace; add_prefix_space is what old files have. */
static aqz_status read_metaspace(
	aqz_tokenizer *t, aqz_step *step, const json_t *json, const char *where, aqz_error *err)
{
	const char *scheme = json_string_value(json_object_get(json, "prepend_scheme"));
	aqz_status status;
	bool prefix;

	step->kind = AQZ_STEP_METASPACE;
	AQZ_TRY(aqz_json_bool_of(json, "add_prefix_space", true, &prefix, where, err));
	AQZ_TRY(aqz_json_bool_of(json, "split", true, &step->split, where, err));
	AQZ_TRY(read_to(t, step, json, "replacement", where, err));
	if (step->to_bytes == 0 || aqz_utf8_bytes(step->to, step->to_bytes) != step->to_bytes)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
			"the replacement of Metaspace is not one character");
	if (scheme == NULL)
		step->scheme = prefix ? AQZ_PREFIX_ALWAYS : AQZ_PREFIX_NEVER;
	else if (strcmp(scheme, "always") == 0)
		step->scheme = AQZ_PREFIX_ALWAYS;
	else if (strcmp(scheme, "first") == 0)
		step->scheme = AQZ_PREFIX_FIRST;
	else if (strcmp(scheme, "never") == 0)
		step->scheme = AQZ_PREFIX_NEVER;
	else
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
			"the prepend_scheme of Metaspace is unknown");
out:
	return status;
}

static aqz_status pre_tokenizer(aqz_tokenizer *t, const json_t *json, const char *type, aqz_error *err)
{
	static const char where[] = "pre_tokenizer";
	aqz_step step = {.behavior = AQZ_SPLIT_ISOLATED};
	aqz_status status = AQZ_OK;
	bool each_digit;

	if (t->byte_level)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
			"a step after ByteLevel is not supported");
	if (strcmp(type, "ByteLevel") == 0) {
		t->byte_level = true;
		AQZ_TRY(aqz_json_bool_of(json, "add_prefix_space", true, &t->byte_level_prefix, where, err));
		AQZ_TRY(aqz_json_bool_of(json, "use_regex", true, &t->byte_level_regex, where, err));
	} else if (strcmp(type, "Split") == 0) {
		step.kind = AQZ_STEP_SPLIT;
		status = read_pattern(t, &step, json, where, err);
		if (status == AQZ_OK)
			status = read_behavior(&step, json, NULL, err);
		if (status == AQZ_OK)
			status = aqz_json_bool_of(json, "invert", false, &step.invert, where, err);
		status = finish(&t->pre_tokenizer, &step, status, where, err);
	} else if (strcmp(type, "Digits") == 0) {
		AQZ_TRY(aqz_json_bool_of(json, "individual_digits", false, &each_digit, where, err));
		step.behavior = each_digit ? AQZ_SPLIT_ISOLATED : AQZ_SPLIT_CONTIGUOUS;
		status = add_fixed(t, "\\p{N}", &step, err);
	} else if (strcmp(type, "Metaspace") == 0) {
		status = read_metaspace(t, &step, json, where, err);
		status = finish(&t->pre_tokenizer, &step, status, where, err);
	} else if (strcmp(type, "Punctuation") == 0) {
		AQZ_TRY(read_behavior(&step, json, "Isolated", err));
		status = add_fixed(t, "[!-/:-@\\[-`{-~\\p{P}]", &step, err);
	} else if (strcmp(type, "Whitespace") == 0) {
		step.behavior = AQZ_SPLIT_REMOVED;
		step.invert = true;
		status = add_fixed(t, WORDS_OR_OTHERS, &step, err);
	} else if (strcmp(type, "WhitespaceSplit") == 0) {
		step.behavior = AQZ_SPLIT_REMOVED;
		status = add_fixed(t, "\\s", &step, err);
	} else {
		return unknown(err, where, type);
	}
out:
	return status;
}

static aqz_status decoder(aqz_tokenizer *t, const json_t *json, const char *type, aqz_error *err)
{
	static const char where[] = "decoder";
	aqz_status status = AQZ_OK;
	const json_t *stop;
	aqz_step step = {0};

	if (strcmp(type, "ByteLevel") == 0) {
		if (!t->byte_level)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
				"the decoder ByteLevel goes with a pre_tokenizer ByteLevel only");
		return AQZ_OK;
	}
	if (strcmp(type, "Fuse") == 0) {
		step.kind = AQZ_STEP_FUSE;
	} else if (t->byte_level) {
		return unknown(err, where, type);
	} else if (strcmp(type, "ByteFallback") == 0) {
		step.kind = AQZ_STEP_BYTE_FALLBACK;
	} else if (strcmp(type, "Replace") == 0) {
		step.kind = AQZ_STEP_REPLACE;
		if (json_object_get(json_object_get(json, "pattern"), "Regex") != NULL)
			return unknown(err, where, "Replace by Regex");
		status = read_pattern(t, &step, json, where, err);
		if (status == AQZ_OK)
			status = read_to(t, &step, json, "content", where, err);
	} else if (strcmp(type, "Metaspace") == 0) {
		status = read_metaspace(t, &step, json, where, err);
	} else if (strcmp(type, "Strip") == 0) {
		const json_int_t start = json_integer_value(json_object_get(json, "start"));

		step.kind = AQZ_STEP_STRIP;
		stop = json_object_get(json, "stop");
		if (t->decoder.n == 0 || t->decoder.step[t->decoder.n - 1].kind != AQZ_STEP_FUSE ||
			json_integer_value(stop) != 0 || start < 0 || start > 16)
			return unknown(err, where, "Strip in this form");
		AQZ_TRY(aqz_json_text_of(json, "content", &step.from, &step.from_bytes, where, err));
		AQZ_TRY(aqz_tokenizer_keep(t, &step.from, step.from, step.from_bytes, err));
		if (aqz_utf8_bytes(step.from, step.from_bytes) != step.from_bytes || step.from_bytes == 0)
			return unknown(err, where, "Strip in this form");
		step.count = (uint32_t)start;
	} else {
		return unknown(err, where, type);
	}
	status = finish(&t->decoder, &step, status, where, err);
out:
	return status;
}

aqz_status aqz_steps_gpt2(aqz_tokenizer *t, aqz_error *err)
{
	const size_t n = strlen(aqz_gpt2_pattern);

	if (!t->byte_level_regex)
		return AQZ_OK;
	t->gpt2 = (aqz_step){.kind = AQZ_STEP_SPLIT,
		.from = aqz_gpt2_pattern,
		.from_bytes = n,
		.behavior = AQZ_SPLIT_ISOLATED};
	return aqz_regex_compile(&t->gpt2.code, aqz_gpt2_pattern, n, "pre_tokenizer", err);
}

aqz_status aqz_steps_read_normalizer(aqz_tokenizer *t, const json_t *json, aqz_error *err)
{
	return each(t, json, "normalizer", "normalizers", 0, normalizer, err);
}

aqz_status aqz_steps_read_pre_tokenizer(aqz_tokenizer *t, const json_t *json, aqz_error *err)
{
	return each(t, json, "pre_tokenizer", "pretokenizers", 0, pre_tokenizer, err);
}

aqz_status aqz_steps_read_decoder(aqz_tokenizer *t, const json_t *json, aqz_error *err)
{
	return each(t, json, "decoder", "decoders", 0, decoder, err);
}
