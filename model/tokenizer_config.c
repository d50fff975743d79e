/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_config.json: which tokens begin and end a text, the chat template, and added tokens of a vocabulary that
 * does not have them itself. */
#include <inttypes.h>

#include "model/tokenizer.h"

static const char where_added[] = "added_tokens_decoder";

/* The token that a key names by text, or by {"content": text}. False if the config has no such key. */
static bool token_of(const aqz_tokenizer *t, const json_t *config, const char *key, uint32_t *id)
{
	const json_t *json = json_object_get(config, key);

	if (json == NULL)
		return false;
	if (json_is_object(json))
		json = json_object_get(json, "content");
	*id = json_is_string(json)
		? aqz_vocab_find_text(t, json_string_value(json), json_string_length(json))
		: AQZ_NO_TOKEN;
	return true;
}

/* A special token by the text that it mostly has. */
static uint32_t usual(const aqz_tokenizer *t, const char *text)
{
	const uint32_t id = aqz_tokenizer_find_special(t, text);

	return id != AQZ_NO_TOKEN && (t->tokens[id].flags & AQZ_TOKEN_SPECIAL) ? id : AQZ_NO_TOKEN;
}

/* A text, or a list of {"name": ..., "template": text}, of which "default" counts. */
static const json_t *template_of(const json_t *config)
{
	const json_t *json = json_object_get(config, "chat_template");

	for (size_t i = 0; i < json_array_size(json); i++) {
		const json_t *item = json_array_get(json, i);
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name != NULL && strcmp(name, "default") == 0)
			return json_object_get(item, "template");
	}
	return json;
}

aqz_status aqz_tokenizer_apply_config(aqz_tokenizer *t, const json_t *config, aqz_error *err)
{
	const json_t *chat = template_of(config), *adds = json_object_get(config, "add_bos_token");
	aqz_status status = AQZ_OK;

	if (!token_of(t, config, "bos_token", &t->bos) && t->bos == AQZ_NO_TOKEN)
		t->bos = usual(t, "<s>");
	if (!token_of(t, config, "eos_token", &t->eos) && t->eos == AQZ_NO_TOKEN)
		t->eos = usual(t, "</s>");
	if (json_is_boolean(adds))
		t->adds_bos = json_is_true(adds);
	if (t->bos == AQZ_NO_TOKEN)
		t->adds_bos = false;
	if (json_is_string(chat))
		AQZ_TRY(aqz_tokenizer_keep(
			t, &t->chat_template, json_string_value(chat), json_string_length(chat), err));
out:
	return status;
}

/* Keys are ids. */
static aqz_status id_of(const char *key, uint64_t *id, aqz_error *err)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; key[n] >= '0' && key[n] <= '9' && n < 10; n++)
		value = value * 10 + (uint64_t)(key[n] - '0');
	if (n == 0 || key[n] != '\0')
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where_added, "a key is no id");
	*id = value;
	return AQZ_OK;
}

aqz_status aqz_config_added_count(const json_t *config, uint64_t *n, uint64_t *n_ids, aqz_error *err)
{
	json_t *list = json_object_get(config, where_added), *value;
	aqz_status status = AQZ_OK;
	const char *key;
	uint64_t id;

	*n = json_object_size(list);
	json_object_foreach(list, key, value)
	{
		AQZ_TRY(id_of(key, &id, err));
		if (id >= *n_ids + 65536)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where_added,
				"the id %" PRIu64 " is far beyond the vocabulary", id);
	}
	json_object_foreach(list, key, value)
	{
		AQZ_TRY(id_of(key, &id, err));
		if (id >= *n_ids)
			*n_ids = id + 1;
	}
out:
	return status;
}

aqz_status aqz_config_added_apply(aqz_tokenizer *t, const json_t *config, aqz_error *err)
{
	json_t *list = json_object_get(config, where_added), *value;
	aqz_status status = AQZ_OK;
	const char *key, *text;
	uint64_t id;
	size_t n;

	json_object_foreach(list, key, value)
	{
		aqz_added a = {0};

		AQZ_TRY(id_of(key, &id, err));
		AQZ_TRY(aqz_json_text_of(value, "content", &text, &n, where_added, err));
		a.id = (uint32_t)id;
		if (t->tokens[id].flags & AQZ_TOKEN_ADDED) /* the model has it: both must mean the same */ {
			if (aqz_vocab_find_text(t, text, n) != a.id)
				return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where_added,
					"the token %" PRIu64 " is another one in the model", id);
			continue;
		}
		if (n > AQZ_TOKENIZER_MAX_TOKEN_BYTES)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where_added,
				"the token %" PRIu64 " has more than %u bytes", id, AQZ_TOKENIZER_MAX_TOKEN_BYTES);
		AQZ_TRY(aqz_tokenizer_keep(t, &a.content, text, n, err));
		a.content_bytes = (uint32_t)n;
		AQZ_TRY(aqz_json_bool_of(value, "special", false, &a.special, where_added, err));
		AQZ_TRY(aqz_json_bool_of(value, "lstrip", false, &a.lstrip, where_added, err));
		AQZ_TRY(aqz_json_bool_of(value, "rstrip", false, &a.rstrip, where_added, err));
		AQZ_TRY(aqz_json_bool_of(value, "single_word", false, &a.single_word, where_added, err));
		AQZ_TRY(aqz_vocab_add_added(t, &a, err));
	}
out:
	return status;
}
