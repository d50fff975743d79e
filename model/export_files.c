/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration and tokenizer of an exported model, as transformers reads them. */
#include "model/export.h"

static aqz_status no_memory(aqz_error *err, const char *name)
{
	return aqz_fail(err, AQZ_E_NOMEM, AQZ_NO_OFFSET, name, "out of memory for JSON");
}

aqz_status aqz_export_file(
	const aqz_folder_sink *sink, const char *name, const void *data, size_t n, aqz_error *err)
{
	aqz_status status;

	AQZ_TRY(sink->begin(sink->user, name, err));
	AQZ_TRY(sink->write(sink->user, data, n, err));
out:
	return status;
}

/* Text of json with the fewest digits that are read back as the same numbers, so that 1e-05 stays what it was. */
static char *dump(const json_t *json)
{
	char *text = NULL;

	for (size_t digits = 15; digits <= 17; digits++) {
		json_t *back;
		bool same;

		free(text);
		text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(digits));
		back = text != NULL ? json_loads(text, 0, NULL) : NULL;
		same = back != NULL && json_equal(json, back);
		json_decref(back);
		if (same)
			break;
	}
	return text;
}

aqz_status aqz_export_json(const aqz_folder_sink *sink, const char *name, json_t *json, aqz_error *err)
{
	char *text = json != NULL ? dump(json) : NULL;
	aqz_status status;

	json_decref(json);
	if (text == NULL)
		return no_memory(err, name);
	AQZ_TRY(aqz_export_file(sink, name, text, strlen(text), err));
	AQZ_TRY(sink->write(sink->user, "\n", 1, err));
out:
	free(text);
	return status;
}

static const char *torch_name(aqz_dtype dtype)
{
	return dtype == AQZ_F32 ? "float32" : dtype == AQZ_F16 ? "float16" : "bfloat16";
}

/* The model's own config.json with another dtype; weights are plain now, whatever they were. */
static aqz_status pass_config(
	const aqz_model *m, aqz_dtype dtype, const aqz_folder_sink *sink, aqz_error *err)
{
	static const char *const keys[] = {"dtype", "torch_dtype"};
	json_error_t found;
	json_t *json = json_loadb(m->config_json, m->config_json_bytes, 0, &found);
	bool named = false;

	if (!json_is_object(json)) {
		json_decref(json);
		return no_memory(err, "config.json"); /* it was parsed when the model was opened */
	}
	json_object_del(json, "quantization_config");
	/* A head of its own, which the file denied: older versions of transformers believe the file. */
	if (!m->config.tied && json_is_true(json_object_get(json, "tie_word_embeddings")) &&
		json_object_set_new(json, "tie_word_embeddings", json_false()) != 0) {
		json_decref(json);
		return no_memory(err, "config.json");
	}
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		/* The older key, which all versions read, where the file has none. */
		if (json_object_get(json, keys[i]) == NULL && (i == 0 || named))
			continue;
		if (json_object_set_new(json, keys[i], json_string(torch_name(dtype))) != 0) {
			json_decref(json);
			return no_memory(err, "config.json");
		}
		named = true;
	}
	return aqz_export_json(sink, "config.json", json, err);
}

static aqz_status generation_config(const aqz_model *m, const aqz_folder_sink *sink, aqz_error *err)
{
	const aqz_model_config *c = &m->config;
	json_t *json, *ends;
	int failed = 0;

	if (c->bos == AQZ_NO_TOKEN && c->n_eos == 0)
		return AQZ_OK;
	json = json_pack("{sb}", "_from_model_config", 1);
	if (c->bos != AQZ_NO_TOKEN)
		failed |= json_object_set_new(json, "bos_token_id", json_integer(c->bos));
	if (c->n_eos == 1) {
		failed |= json_object_set_new(json, "eos_token_id", json_integer(c->eos[0]));
	} else if (c->n_eos > 1) {
		ends = json_array();
		for (uint32_t i = 0; i < c->n_eos; i++)
			failed |= json_array_append_new(ends, json_integer(c->eos[i]));
		failed |= json_object_set_new(json, "eos_token_id", ends);
	}
	if (failed != 0) {
		json_decref(json);
		json = NULL;
	}
	return aqz_export_json(sink, "generation_config.json", json, err);
}

aqz_status aqz_export_config(
	const aqz_model *m, aqz_dtype dtype, const aqz_folder_sink *sink, aqz_error *err)
{
	char *json = NULL;
	size_t n;
	aqz_status status;

	if (m->config_json != NULL) {
		AQZ_TRY(pass_config(m, dtype, sink, err));
	} else {
		AQZ_TRY(aqz_config_to_json(&m->config, dtype, &json, &n, err));
		AQZ_TRY(aqz_export_file(sink, "config.json", json, n, err));
	}
	AQZ_TRY(generation_config(m, sink, err));
out:
	free(json);
	return status;
}

/* Text of a special token under that key, if there is such a token and its text is UTF-8. */
static aqz_status add_token(
	json_t *json, const char *key, const aqz_tokenizer *t, uint32_t id, aqz_error *err)
{
	json_t *value;
	char *text;
	size_t n;
	int failed = 0;
	aqz_status status;

	if (id == AQZ_NO_TOKEN)
		return AQZ_OK;
	status = aqz_tokenizer_decode(t, &text, &n, &id, 1, false, true, err);
	if (status != AQZ_OK)
		return status;
	value = n > 0 && aqz_text_ok(text, n) ? json_stringn(text, n) : NULL;
	if (value != NULL)
		failed = json_object_set_new(json, key, value);
	free(text);
	return failed == 0 ? AQZ_OK : no_memory(err, key);
}

/* The class takes tokenizer.json for what it is; LlamaTokenizer would build rules of its own from it (5.23: another
 * number of spaces at the start of a text). */
static aqz_status tokenizer_config(const aqz_model *m, json_t **out, aqz_error *err)
{
	const aqz_tokenizer *t = m->tokenizer;
	const char *template = aqz_tokenizer_chat_template(t);
	json_t *json = json_pack("{sb sb sb ss si}", "add_bos_token", (int)aqz_tokenizer_adds_bos(t),
		"add_eos_token", 0, "clean_up_tokenization_spaces", 0, "tokenizer_class",
		"PreTrainedTokenizerFast", "model_max_length",
		(int)aqz_min(m->config.max_positions, INT32_MAX));
	aqz_status status;

	*out = NULL;
	if (json == NULL)
		return no_memory(err, "tokenizer_config.json");
	AQZ_TRY(add_token(json, "bos_token", t, aqz_tokenizer_bos(t), err));
	AQZ_TRY(add_token(json, "eos_token", t, aqz_tokenizer_eos(t), err));
	if (template != NULL && json_object_set_new(json, "chat_template", json_string(template)) != 0) {
		status = no_memory(err, "tokenizer_config.json");
		goto out;
	}
	*out = json;
	json = NULL;
out:
	json_decref(json);
	return status;
}

aqz_status aqz_export_tokenizer(const aqz_model *m, const aqz_folder_sink *sink, aqz_error *err)
{
	json_t *config;
	char *json = NULL;
	size_t n;
	aqz_status status;

	if (m->tokenizer == NULL)
		return AQZ_OK;
	AQZ_TRY(aqz_tokenizer_to_json(m->tokenizer, &json, &n, err));
	AQZ_TRY(aqz_export_file(sink, "tokenizer.json", json, n, err));
	AQZ_TRY(tokenizer_config(m, &config, err));
	AQZ_TRY(aqz_export_json(sink, "tokenizer_config.json", config, err));
out:
	free(json);
	return status;
}
