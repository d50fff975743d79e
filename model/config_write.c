/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a configuration as config.json, in the form that transformers has read since 4.43. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h> /* snprintf */

#include "model/config_json.h"

/* Digits with which any binary64 is read back the same. */
#define MAX_DIGITS 17
#define NUMBER_BYTES 40

/* The text as it grows; the first failure stays. */
typedef struct writer {
	aqz_buffer text;
	aqz_status status;
	aqz_error *err;
	bool first;
} writer;

static void AQZ_PRINTF(2, 3) add(writer *w, const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (w->status == AQZ_OK && n > 0)
		w->status = aqz_buffer_add(&w->text, line, strlen(line), w->err);
}

static void key(writer *w, const char *name)
{
	add(w, "%s\n  \"%s\": ", w->first ? "" : ",", name);
	w->first = false;
}

static void add_text(writer *w, const char *name, const char *value)
{
	key(w, name);
	add(w, "\"%s\"", value);
}

static void add_count(writer *w, const char *name, uint32_t value)
{
	key(w, name);
	add(w, "%u", value);
}

/* An id, or null for none of the kind. */
static void add_id(writer *w, const char *name, bool some, uint32_t value)
{
	if (some)
		add_count(w, name, value);
	else
		key(w, name), add(w, "null");
}

static void add_flag(writer *w, const char *name, bool value)
{
	key(w, name);
	add(w, value ? "true" : "false");
}

/* The fewest digits that are read back as the same number: 1e-5 and not 9.99999975e-06. jansson prints and reads the
 * same in every locale. */
static void add_number(writer *w, double value, bool binary32)
{
	if (value >= 1 && value < 1e15 && !islessgreater(value, floor(value))) {
		add(w, "%lld.0", (long long)value);
		return;
	}
	for (unsigned digits = 1; w->status == AQZ_OK && digits <= MAX_DIGITS; digits++) {
		json_t *number = json_real(value);
		char *text = json_dumps(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
		json_t *back = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
		const double read = json_number_value(back);
		const bool same =
			binary32 ? !islessgreater((float)read, (float)value) : !islessgreater(read, value);

		if (back == NULL)
			w->status = aqz_fail_nomem(w->err, NUMBER_BYTES);
		else if (same || digits == MAX_DIGITS)
			add(w, "%s", text);
		json_decref(back);
		json_decref(number);
		free(text);
		if (same)
			return;
	}
}

static void add_rope(writer *w, const aqz_model_config *c)
{
	key(w, "rope_theta");
	add_number(w, c->rope_theta, false);
	key(w, "rope_scaling");
	if (c->rope_scaling == AQZ_ROPE_PLAIN) {
		add(w, "null");
		return;
	}
	add(w, "{\"rope_type\": \"%s\", \"factor\": ",
		c->rope_scaling == AQZ_ROPE_LINEAR ? "linear" : "llama3");
	add_number(w, c->rope_factor, false);
	if (c->rope_scaling == AQZ_ROPE_LLAMA3) {
		add(w, ", \"low_freq_factor\": ");
		add_number(w, c->rope_low, false);
		add(w, ", \"high_freq_factor\": ");
		add_number(w, c->rope_high, false);
		add(w, ", \"original_max_position_embeddings\": %u", c->rope_original);
	}
	add(w, "}");
}

static void add_tokens(writer *w, const aqz_model_config *c)
{
	add_id(w, "bos_token_id", c->bos != AQZ_NO_TOKEN, c->bos);
	if (c->n_eos <= 1) {
		add_id(w, "eos_token_id", c->n_eos == 1, c->eos[0]);
		return;
	}
	key(w, "eos_token_id");
	for (uint32_t i = 0; i < c->n_eos; i++)
		add(w, "%s%u", i == 0 ? "[" : ", ", c->eos[i]);
	add(w, "]");
}

/* What only some families have. */
static void add_own(writer *w, const aqz_model_config *c)
{
	if (c->family == AQZ_LLAMA || c->family == AQZ_QWEN3)
		add_flag(w, "attention_bias", c->o_bias);
	if (c->family == AQZ_LLAMA) {
		add_flag(w, "mlp_bias", c->mlp_bias);
		return;
	}
	add_id(w, "sliding_window", c->window != 0, c->window);
	if (c->family == AQZ_MISTRAL)
		return;
	add_flag(w, "use_sliding_window", c->window != 0);
	add_count(w, "max_window_layers", c->window != 0 ? c->window_from : c->n_layers);
}

/* A configuration may say more than the family's config.json can, for it may come from another kind of file. */
static aqz_status check_family(const aqz_model_config *c, aqz_error *err)
{
	const char *what = NULL;

	if (c->family == AQZ_QWEN2 ? !c->qkv_bias || c->o_bias : c->qkv_bias != c->o_bias)
		what = "attention_bias";
	else if (c->family == AQZ_MISTRAL && c->qkv_bias)
		what = "attention_bias";
	else if (c->mlp_bias && c->family != AQZ_LLAMA)
		what = "mlp_bias";
	else if (c->qk_norm != (c->family == AQZ_QWEN3))
		what = "q_norm";
	else if (c->window != 0 &&
		(c->family == AQZ_LLAMA || (c->family == AQZ_MISTRAL && c->window_from != 0)))
		what = "sliding_window";
	if (what != NULL)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, what,
			"no config.json of a %s model can say what this model has",
			aqz_family_get(c->family)->model_type);
	return AQZ_OK;
}

aqz_status aqz_config_to_json(
	const aqz_model_config *c, aqz_dtype dtype, char **json, size_t *n, aqz_error *err)
{
	writer w = {.err = err, .first = true};
	const aqz_family *family;
	aqz_status status;

	*json = NULL;
	*n = 0;
	AQZ_TRY(aqz_config_check(c, err));
	AQZ_TRY(check_family(c, err));
	family = aqz_family_get(c->family);
	add(&w, "{");
	key(&w, "architectures");
	add(&w, "[\"%sForCausalLM\"]", family->class_name);
	add_text(&w, "model_type", family->model_type);
	add_count(&w, "hidden_size", c->hidden);
	add_count(&w, "intermediate_size", c->intermediate);
	add_count(&w, "num_hidden_layers", c->n_layers);
	add_count(&w, "num_attention_heads", c->n_heads);
	add_count(&w, "num_key_value_heads", c->n_kv_heads);
	add_count(&w, "head_dim", c->head_dim);
	add_count(&w, "vocab_size", c->vocabulary);
	add_count(&w, "max_position_embeddings", c->max_positions);
	key(&w, "rms_norm_eps");
	add_number(&w, c->rms_eps, true);
	add_rope(&w, c);
	add_text(&w, "hidden_act", "silu");
	add_flag(&w, "tie_word_embeddings", c->tied);
	add_own(&w, c);
	add_tokens(&w, c);
	add_text(&w, "torch_dtype",
		dtype == AQZ_F32	   ? "float32"
			: dtype == AQZ_F16 ? "float16"
							   : "bfloat16");
	add(&w, "\n}\n");
	if (w.status == AQZ_OK) /* a NUL that does not count */
		w.status = aqz_buffer_add(&w.text, NULL, 1, err);
	AQZ_TRY(w.status);
	*json = (char *)w.text.data;
	*n = w.text.n - 1;
	w.text = (aqz_buffer){0};
out:
	aqz_buffer_free(&w.text);
	return status;
}
