/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json: vocabulary, merges and added tokens; what begins a text. */
#include <stdio.h>

#include "interop/json_text.h"
#include "model/tokenizer.h"

static const char where_model[] = "model", where_added[] = "added_tokens";

static aqz_status unsupported(aqz_error *err, const char *where, const char *what)
{
	return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where, "%s", what);
}

/* Refuses what changes ids and is not done here. */
static aqz_status check_model(const aqz_tokenizer *t, const json_t *model, aqz_error *err)
{
	const json_t *type = json_object_get(model, "type"), *dropout = json_object_get(model, "dropout");
	static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
	const json_t *merges = json_object_get(model, "merges");

	if (type != NULL && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "model.type",
			"only BPE is supported, not %s",
			json_is_string(type) && strcmp(json_string_value(type), "Unigram") == 0 ? "Unigram"
				: json_is_string(type) && strcmp(json_string_value(type), "WordPiece") == 0
				? "WordPiece"
				: "another type");
	if (json_number_value(dropout) != 0)
		return unsupported(err, "model.dropout", "merges at random are not supported");
	for (size_t i = 0; i < 2; i++)
		if (json_string_length(json_object_get(model, affixes[i])) > 0)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where_model,
				"%s is not supported", affixes[i]);
	if (!json_is_array(merges) || (t->byte_level && json_array_size(merges) == 0))
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "model.merges", "the tokenizer has no merges");
	if (!json_is_object(json_object_get(model, "vocab")))
		return aqz_fail(
			err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "model.vocab", "the tokenizer has no vocabulary");
	return AQZ_OK;
}

/* An id, and one more than the largest so far. */
static aqz_status read_id(
	const json_t *json, uint64_t *id, uint64_t *n_ids, const char *where, aqz_error *err)
{
	if (!json_is_integer(json) || json_integer_value(json) < 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "an id is no integer from 0 on");
	*id = (uint64_t)json_integer_value(json);
	if (*id >= *n_ids)
		*n_ids = *id + 1;
	return AQZ_OK;
}

static aqz_status read_vocab(
	aqz_tokenizer *t, const json_t *vocab, const json_t *added, aqz_error *err)
{
	const uint64_t n_added = json_array_size(added);
	uint64_t n_ids = 0, id;
	aqz_status status = AQZ_OK;
	const char *text;
	json_t *value;

	json_object_foreach((json_t *)vocab, text, value)
		AQZ_TRY(read_id(value, &id, &n_ids, "model.vocab", err));
	for (size_t i = 0; i < n_added; i++)
		AQZ_TRY(
			read_id(json_object_get(json_array_get(added, i), "id"), &id, &n_ids, where_added, err));
	/* Memory goes with ids: they may have holes, but a few tokens do not make millions. */
	if (n_ids > 4 * (json_object_size(vocab) + n_added) + 65536)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "model.vocab",
			"an id is far beyond the number of tokens");
	AQZ_TRY(aqz_vocab_begin(t, n_ids, n_added, err));
	json_object_foreach((json_t *)vocab, text, value)
		AQZ_TRY(aqz_vocab_add(t, (uint64_t)json_integer_value(value), text, strlen(text),
			AQZ_TOKEN_TEXT | AQZ_TOKEN_VOCAB, err));
out:
	return status;
}

/* "a b" or ["a", "b"]. */
static bool merge_parts(const json_t *merge, const char *part[2], size_t n[2])
{
	const char *text = json_string_value(merge), *space;

	if (text != NULL) {
		space = strchr(text, ' ');
		if (space == NULL || strchr(space + 1, ' ') != NULL)
			return false;
		part[0] = text;
		n[0] = (size_t)(space - text);
		part[1] = space + 1;
		n[1] = strlen(space + 1);
		return true;
	}
	for (size_t i = 0; i < 2; i++) {
		const json_t *json = json_array_get(merge, i);

		part[i] = json_string_value(json);
		n[i] = json_string_length(json);
	}
	return json_array_size(merge) == 2 && part[0] != NULL && part[1] != NULL;
}

static aqz_status read_merges(aqz_tokenizer *t, const json_t *merges, aqz_error *err)
{
	const size_t n_merges = json_array_size(merges);
	char joined[2 * AQZ_TOKENIZER_MAX_TOKEN_BYTES], where[64];
	aqz_status status;

	AQZ_TRY(aqz_pairs_begin(t, n_merges, err));
	for (size_t i = 0; i < n_merges; i++) {
		const char *part[2], *fault = NULL;
		uint32_t id[3] = {AQZ_NO_TOKEN, AQZ_NO_TOKEN, AQZ_NO_TOKEN};
		size_t n[2];

		if (!merge_parts(json_array_get(merges, i), part, n)) {
			fault = "it is not two tokens";
		} else {
			id[0] = aqz_vocab_find_text(t, part[0], n[0]);
			id[1] = aqz_vocab_find_text(t, part[1], n[1]);
			if (id[0] == AQZ_NO_TOKEN || id[1] == AQZ_NO_TOKEN) {
				fault = "it names a token that is not in the vocabulary";
			} else { /* both are short */
				memcpy(joined, part[0], n[0]);
				memcpy(joined + n[0], part[1], n[1]);
				id[2] = aqz_vocab_find_text(t, joined, n[0] + n[1]);
				if (id[2] == AQZ_NO_TOKEN)
					fault = "it makes a token that is not in the vocabulary";
			}
		}
		if (fault != NULL) {
			snprintf(where, sizeof where, "model.merges[%zu]", i);
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "%s", fault);
		}
		aqz_pairs_add(t, id[0], id[1], (uint32_t)i, id[2]);
	}
out:
	return status;
}

static aqz_status read_added(aqz_tokenizer *t, const json_t *list, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *json = json_array_get(list, i);
		aqz_added a = {.id = (uint32_t)json_integer_value(json_object_get(json, "id"))};
		const char *text;
		size_t n;

		AQZ_TRY(aqz_json_text_of(json, "content", &text, &n, where_added, err));
		if (n > AQZ_TOKENIZER_MAX_TOKEN_BYTES)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where_added,
				"the token %u has more than %u bytes", a.id, AQZ_TOKENIZER_MAX_TOKEN_BYTES);
		AQZ_TRY(aqz_tokenizer_keep(t, &a.content, text, n, err));
		a.content_bytes = (uint32_t)n;
		AQZ_TRY(aqz_json_bool_of(json, "special", false, &a.special, where_added, err));
		AQZ_TRY(aqz_json_bool_of(json, "normalized", !a.special, &a.normalized, where_added, err));
		AQZ_TRY(aqz_json_bool_of(json, "lstrip", false, &a.lstrip, where_added, err));
		AQZ_TRY(aqz_json_bool_of(json, "rstrip", false, &a.rstrip, where_added, err));
		AQZ_TRY(aqz_json_bool_of(json, "single_word", false, &a.single_word, where_added, err));
		AQZ_TRY(aqz_vocab_add_added(t, &a, err));
	}
out:
	return status;
}

/* What the post-processor puts before a text, if it is one token. */
static void read_post_processor(aqz_tokenizer *t, const json_t *json, unsigned depth)
{
	const char *type = json_string_value(json_object_get(json, "type")), *name;
	const json_t *list = json_object_get(json, "processors"), *id;

	if (type == NULL || t->adds_bos || depth > 4)
		return;
	for (size_t i = 0; strcmp(type, "Sequence") == 0 && i < json_array_size(list); i++)
		read_post_processor(t, json_array_get(list, i), depth + 1);
	if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
		id = json_array_get(json_object_get(json, "cls"), 1);
	} else if (strcmp(type, "TemplateProcessing") == 0) {
		list = json_object_get(json, "single");
		name = json_string_value(
			json_object_get(json_object_get(json_array_get(list, 0), "SpecialToken"), "id"));
		if (name == NULL)
			return;
		list = json_object_get(json_object_get(json_object_get(json, "special_tokens"), name), "ids");
		id = json_array_get(list, 0);
	} else {
		return;
	}
	if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= t->n_ids)
		return;
	t->bos = (uint32_t)json_integer_value(id);
	t->adds_bos = true;
}

static aqz_status read_root(aqz_tokenizer *t, const json_t *root, const json_t *config, aqz_error *err)
{
	const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, where_added);
	const json_t *unk = json_object_get(model, "unk_token");
	aqz_status status;

	if (!json_is_object(model))
		return aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, where_model,
			"this JSON is no tokenizer: it has no model");
	if (added != NULL && !json_is_null(added) && !json_is_array(added))
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where_added, "this is no list");
	AQZ_TRY(aqz_steps_read_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), err));
	AQZ_TRY(check_model(t, model, err));
	AQZ_TRY(aqz_steps_read_normalizer(t, json_object_get(root, "normalizer"), err));
	AQZ_TRY(aqz_steps_read_decoder(t, json_object_get(root, "decoder"), err));
	AQZ_TRY(aqz_steps_gpt2(t, err));
	AQZ_TRY(aqz_json_bool_of(model, "ignore_merges", false, &t->ignore_merges, where_model, err));
	AQZ_TRY(aqz_json_bool_of(model, "byte_fallback", false, &t->byte_fallback, where_model, err));
	AQZ_TRY(aqz_json_bool_of(model, "fuse_unk", false, &t->fuse_unk, where_model, err));
	AQZ_TRY(read_vocab(t, json_object_get(model, "vocab"), added, err));
	AQZ_TRY(read_merges(t, json_object_get(model, "merges"), err));
	if (json_is_string(unk))
		t->unk = aqz_vocab_find_text(t, json_string_value(unk), json_string_length(unk));
	AQZ_TRY(read_added(t, added, err));
	read_post_processor(t, json_object_get(root, "post_processor"), 0);
	AQZ_TRY(aqz_tokenizer_apply_config(t, config, err));
	AQZ_TRY(aqz_tokenizer_finish(t, err));
out:
	return status;
}

aqz_status aqz_tokenizer_read_json(
	aqz_tokenizer *t, const char *text, size_t n, const json_t *config, aqz_error *err)
{
	json_t *root = NULL;
	uint64_t charged;
	aqz_status status;

	AQZ_TRY(aqz_tokenizer_json_load(&root, &charged, t, text, n, "tokenizer.json", err));
	status = read_root(t, root, config, err);
	aqz_json_free(root, charged, &t->budget);
out:
	return status;
}
