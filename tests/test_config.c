/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: every family and form, every field that is refused, and back to JSON; names, shapes, rotary angles. */
#include <check.h>
#include <math.h>

#include "interop/json_text.h"
#include "model/load.h"

static const char llama[] =
	"{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":64,"
	"\"intermediate_size\":172,\"num_hidden_layers\":5,\"num_attention_heads\":8,"
	"\"num_key_value_heads\":4,\"vocab_size\":512,\"max_position_embeddings\":256,"
	"\"rms_norm_eps\":1e-05,\"torch_dtype\":\"bfloat16\",\"initializer_range\":0.02}";

/* The text with the members of another object set in it; those that it has as "-" are taken out. */
static char *edited(const char *json, const char *members)
{
	json_t *all = json_loads(json, 0, NULL), *more = json_loads(members, JSON_DECODE_ANY, NULL);
	const char *key;
	json_t *value;
	char *text;

	ck_assert_msg(all != NULL && more != NULL, "%s", members);
	json_object_foreach(more, key, value)
	{
		const char *word = json_string_value(value);

		if (word != NULL && strcmp(word, "-") == 0)
			json_object_del(all, key);
		else
			json_object_set(all, key, value);
	}
	text = json_dumps(all, 0);
	json_decref(all);
	json_decref(more);
	return text;
}

static aqz_status parse(aqz_model_config *c, const char *members, aqz_error *err)
{
	char *text = edited(llama, members);
	const size_t n = strlen(text);
	char *exact =
		malloc(n); /* without a byte to spare, so that the sanitizers see any step beyond it */
	aqz_status status;

	memcpy(exact, text, n);
	*err = (aqz_error){0};
	status = aqz_config_parse(c, exact, n, err);
	free(exact);
	free(text);
	return status;
}

static aqz_model_config parsed(const char *members)
{
	aqz_model_config c;
	aqz_error err;

	ck_assert_msg(parse(&c, members, &err) == AQZ_OK, "%s: %s: %s", members, err.where, err.text);
	return c;
}

/* ---- What families have */

START_TEST(llama_and_its_defaults)
{
	aqz_model_config c = parsed("{}");

	ck_assert_int_eq(c.family, AQZ_LLAMA);
	ck_assert_uint_eq(c.hidden, 64);
	ck_assert_uint_eq(c.intermediate, 172);
	ck_assert_uint_eq(c.n_layers, 5);
	ck_assert_uint_eq(c.n_heads, 8);
	ck_assert_uint_eq(c.n_kv_heads, 4);
	ck_assert_uint_eq(c.head_dim, 8);
	ck_assert_uint_eq(c.vocabulary, 512);
	ck_assert_uint_eq(c.max_positions, 256);
	ck_assert(c.rms_eps == 1e-5f);
	ck_assert(c.rope_theta == 10000 && c.rope_scaling == AQZ_ROPE_PLAIN);
	ck_assert(!c.tied && !c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm && c.window == 0);
	ck_assert(c.bos == 1 && c.n_eos == 1 && c.eos[0] == 2);
	c = parsed(
		"{\"num_key_value_heads\":\"-\",\"rms_norm_eps\":\"-\",\"max_position_embeddings\":\"-\","
		"\"architectures\":[]}");
	ck_assert(c.n_kv_heads == 8 && c.rms_eps == 1e-6f && c.max_positions == 2048);
	c = parsed("{\"num_key_value_heads\":null,\"head_dim\":null,\"rope_scaling\":null,"
			   "\"rope_parameters\":null,\"sliding_window\":null,\"quantization_config\":null,"
			   "\"pretraining_tp\":null,\"layer_types\":null}");
	ck_assert(c.n_kv_heads == 8 && c.head_dim == 8);
	c = parsed(
		"{\"head_dim\":32,\"tie_word_embeddings\":true,\"attention_bias\":true,\"mlp_bias\":true,"
		"\"pretraining_tp\":1,\"hidden_act\":\"silu\",\"rope_interleaved\":false}");
	ck_assert(c.head_dim == 32 && c.tied && c.qkv_bias && c.o_bias && c.mlp_bias);
	c = parsed("{\"pretraining_tp\":2,\"architectures\":null,\"partial_rotary_factor\":null,"
			   "\"rope_parameters\":{\"partial_rotary_factor\":null}}"); /* as if they were absent */
	ck_assert_int_eq(c.rope_scaling, AQZ_ROPE_PLAIN);
	c = parsed("{\"hidden_size\":65,\"head_dim\":8}"); /* need not be a multiple of the heads then */
	ck_assert(c.hidden == 65 && c.head_dim == 8);
}
END_TEST

START_TEST(other_families)
{
	aqz_model_config c =
		parsed("{\"model_type\":\"mistral\",\"architectures\":[\"MistralForCausalLM\"],"
			   "\"sliding_window\":32}");

	ck_assert(c.family == AQZ_MISTRAL && c.window == 32 && c.window_from == 0);
	ck_assert(!c.qkv_bias && !c.qk_norm && c.bos == 1 && c.eos[0] == 2);
	/* As transformers has it, the window is 4096 unless null is said, and there are 8 key/value heads. */
	c = parsed(
		"{\"model_type\":\"mistral\",\"architectures\":\"-\",\"num_key_value_heads\":\"-\"}");
	ck_assert(c.window == 4096 && c.n_kv_heads == 8);
	c = parsed("{\"model_type\":\"mistral\",\"architectures\":\"-\",\"sliding_window\":null}");
	ck_assert_uint_eq(c.window, 0);
	c = parsed(
		"{\"model_type\":\"qwen2\",\"architectures\":[\"Qwen2Model\"],\"sliding_window\":16}");
	ck_assert(c.family == AQZ_QWEN2 && c.qkv_bias && !c.o_bias && !c.qk_norm && c.window == 0);
	ck_assert(c.bos == AQZ_NO_TOKEN && c.n_eos == 0);
	c = parsed("{\"model_type\":\"qwen3\",\"architectures\":[\"Qwen3ForCausalLM\"]}");
	ck_assert(c.family == AQZ_QWEN3 && !c.qkv_bias && c.qk_norm && c.head_dim == 128);
	c = parsed("{\"model_type\":\"qwen3\",\"architectures\":\"-\",\"attention_bias\":true,\"head_"
			   "dim\":16}");
	ck_assert(c.qkv_bias && c.o_bias && c.head_dim == 16);
}
END_TEST

START_TEST(windows)
{
#define QWEN "{\"model_type\":\"qwen2\",\"architectures\":\"-\",\"use_sliding_window\":true,"
#define FULL "\"full_attention\""
#define SLIDING "\"sliding_attention\""
	aqz_model_config c = parsed(QWEN "\"sliding_window\":16,\"max_window_layers\":3}");

	ck_assert(c.window == 16 && c.window_from == 3);
	c = parsed(QWEN "\"sliding_window\":16,\"max_window_layers\":0}");
	ck_assert(c.window == 16 && c.window_from == 0);
	c = parsed(QWEN "\"sliding_window\":16}"); /* from layer 28 on: no layer */
	ck_assert_uint_eq(c.window, 0);
	c = parsed(QWEN "\"sliding_window\":null,\"max_window_layers\":3}");
	ck_assert_uint_eq(c.window, 0);
	c = parsed(QWEN "\"sliding_window\":16,\"max_window_layers\":1,\"layer_types\":[" FULL "," FULL
					"," FULL "," FULL "," SLIDING "]}");
	ck_assert(c.window == 16 && c.window_from == 4);
	c = parsed(QWEN "\"layer_types\":[" FULL "," FULL "," FULL "," FULL "," FULL "]}");
	ck_assert_uint_eq(c.window, 0);
	c = parsed("{\"model_type\":\"mistral\",\"architectures\":\"-\",\"layer_types\":[" SLIDING
			   "," SLIDING "," SLIDING "," SLIDING "," SLIDING "]}");
	ck_assert(c.window == 4096 && c.window_from == 0);
}
END_TEST

START_TEST(rotary_forms)
{
#define LLAMA3 "\"factor\":8,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0"
	aqz_model_config c =
		parsed("{\"rope_theta\":500000,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}}");

	ck_assert(c.rope_theta == 500000 && c.rope_scaling == AQZ_ROPE_LINEAR && c.rope_factor == 4);
	c = parsed("{\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3
			   ",\"original_max_position_embeddings\":64}}");
	ck_assert(c.rope_scaling == AQZ_ROPE_LLAMA3 && c.rope_factor == 8 && c.rope_low == 1 &&
		c.rope_high == 4 && c.rope_original == 64);
	c = parsed("{\"original_max_position_embeddings\":16.0,\"rope_scaling\":{\"rope_type\":"
			   "\"llama3\"," LLAMA3 ",\"original_max_position_embeddings\":16.0}}");
	ck_assert_uint_eq(c.rope_original, 16);
	c = parsed("{\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3 "}}");
	ck_assert_uint_eq(c.rope_original, 256);
	c = parsed(
		"{\"rope_theta\":1,\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"default\"}}");
	ck_assert(c.rope_theta == 1e6 && c.rope_scaling == AQZ_ROPE_PLAIN);
	c = parsed("{\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"llama3\"," LLAMA3
			   ",\"original_max_position_embeddings\":64,\"partial_rotary_factor\":1.0}}");
	ck_assert(c.rope_theta == 1e6 && c.rope_scaling == AQZ_ROPE_LLAMA3 && c.rope_original == 64);
	/* rope_type before type; the older object before the newer; an empty one is none. */
	c = parsed("{\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"yarn\",\"factor\":2}}");
	ck_assert(c.rope_scaling == AQZ_ROPE_LINEAR && c.rope_factor == 2);
	c = parsed(
		"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":"
		"\"default\",\"rope_theta\":5.0}}");
	ck_assert(c.rope_scaling == AQZ_ROPE_LINEAR && c.rope_theta == 10000);
	c = parsed("{\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":5.0}}");
	ck_assert(c.rope_scaling == AQZ_ROPE_PLAIN && c.rope_theta == 5);
}
END_TEST

START_TEST(tokens)
{
	aqz_model_config c = parsed("{\"bos_token_id\":null,\"eos_token_id\":null}");

	ck_assert(c.bos == AQZ_NO_TOKEN && c.n_eos == 0);
	c = parsed("{\"bos_token_id\":0,\"eos_token_id\":[511,7,9]}");
	ck_assert(c.bos == 0 && c.n_eos == 3 && c.eos[0] == 511 && c.eos[1] == 7 && c.eos[2] == 9);
	/* A model that was cut down for a test keeps the ids of the large one: it has none of these tokens. */
	c = parsed("{\"bos_token_id\":151643,\"eos_token_id\":[151645,3]}");
	ck_assert(c.bos == AQZ_NO_TOKEN && c.n_eos == 1 && c.eos[0] == 3);
	c = parsed("{\"bos_token_id\":-1,\"eos_token_id\":-1}");
	ck_assert(c.bos == AQZ_NO_TOKEN && c.n_eos == 0);
	c = parsed("{\"eos_token_id\":[5,-1,4,5]}");
	ck_assert(c.n_eos == 2 && c.eos[0] == 5 && c.eos[1] == 4);
}
END_TEST

/* generation_config.json adds to what config.json has. */
START_TEST(further_ends)
{
	static const struct {
		const char *json;
		uint32_t n_eos, last;
	} good[] = {{"{\"eos_token_id\":[2,7,9,600],\"temperature\":0.6}", 3, 9},
		{" {\"eos_token_id\":7}\n", 2, 7}, {"{\"eos_token_id\":null}", 1, 2},
		{"{\"eos_token_id\":-1}", 1, 2}, {"{\"eos_token_id\":[]}", 1, 2}, {"{}", 1, 2}};
	static const struct {
		const char *json;
		aqz_status status;
		const char *where;
	} bad[] = {{"", AQZ_E_CORRUPT, "generation_config.json"},
		{"[2]", AQZ_E_CORRUPT, "generation_config.json"},
		{"{\"eos_token_id\":}", AQZ_E_CORRUPT, "generation_config.json"},
		{"{\"eos_token_id\":\"2\"}", AQZ_E_CORRUPT, "generation_config.eos_token_id"},
		{"{\"eos_token_id\":[-2]}", AQZ_E_CORRUPT, "generation_config.eos_token_id"},
		{"{\"eos_token_id\":[10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]}", AQZ_E_UNSUPPORTED,
			"generation_config.eos_token_id"}};
	aqz_error err;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		aqz_model_config c = parsed("{}");

		ck_assert_int_eq(aqz_config_add_ends(&c, good[i].json, strlen(good[i].json), &err), AQZ_OK);
		ck_assert_msg(c.n_eos == good[i].n_eos && c.eos[0] == 2 && c.eos[c.n_eos - 1] == good[i].last,
			"%s", good[i].json);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		aqz_model_config c = parsed("{}");

		ck_assert_int_eq(
			aqz_config_add_ends(&c, bad[i].json, strlen(bad[i].json), &err), bad[i].status);
		ck_assert_str_eq(err.where, bad[i].where);
	}
}
END_TEST

/* ---- What is refused */

static const struct {
	const char *members;
	aqz_status status;
	const char *where, *text;
} refused[] = {
	{"{\"model_type\":\"gemma2\"}", AQZ_E_UNSUPPORTED, "model_type", "gemma2"},
	{"{\"model_type\":\"-\"}", AQZ_E_CORRUPT, "model_type", "does not name"},
	{"{\"model_type\":7}", AQZ_E_CORRUPT, "model_type", "does not name"},
	{"{\"architectures\":[\"LlamaForSequenceClassification\"]}", AQZ_E_UNSUPPORTED, "architectures",
		"LlamaForSequenceClassification"},
	{"{\"architectures\":[\"MistralForCausalLM\"]}", AQZ_E_UNSUPPORTED, "architectures", "Mistral"},
	{"{\"architectures\":\"LlamaForCausalLM\"}", AQZ_E_CORRUPT, "architectures", "no list"},
	{"{\"quantization_config\":{\"quant_method\":\"aqlm\"}}", AQZ_E_UNSUPPORTED,
		"quantization_config", "\"aqlm\""},
	{"{\"quantization_config\":[]}", AQZ_E_UNSUPPORTED, "quantization_config", "\"?\""},
	{"{\"hidden_act\":\"gelu\"}", AQZ_E_UNSUPPORTED, "hidden_act", "gelu"},
	{"{\"hidden_act\":null}", AQZ_E_CORRUPT, "hidden_act", "no string"},
	{"{\"rope_interleaved\":true}", AQZ_E_UNSUPPORTED, "rope_interleaved", "true"},
	{"{\"use_mrope\":true}", AQZ_E_UNSUPPORTED, "use_mrope", "true"},
	{"{\"use_qk_norm\":true}", AQZ_E_UNSUPPORTED, "use_qk_norm", "true"},
	{"{\"add_cross_attention\":true}", AQZ_E_UNSUPPORTED, "add_cross_attention", "true"},
	{"{\"is_encoder_decoder\":true}", AQZ_E_UNSUPPORTED, "is_encoder_decoder", "true"},
	{"{\"partial_rotary_factor\":0.5}", AQZ_E_UNSUPPORTED, "partial_rotary_factor", "0.5"},
	{"{\"rope_parameters\":{\"partial_rotary_factor\":0.25}}", AQZ_E_UNSUPPORTED,
		"rope_parameters.partial_rotary_factor", "0.25"},
	{"{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4}}}", AQZ_E_UNSUPPORTED,
		"rope_parameters.full_attention", "kinds of layers"},
	{"{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}}", AQZ_E_UNSUPPORTED, "rope_scaling.type",
		"yarn"},
	{"{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2}}", AQZ_E_UNSUPPORTED,
		"rope_scaling.rope_type", "dynamic"},
	{"{\"rope_parameters\":{\"rope_type\":\"longrope\"}}", AQZ_E_UNSUPPORTED,
		"rope_parameters.rope_type", "longrope"},
	{"{\"rope_scaling\":{\"rope_type\":5}}", AQZ_E_CORRUPT, "rope_scaling.rope_type", "no string"},
	{"{\"rope_scaling\":\"linear\"}", AQZ_E_CORRUPT, "rope_scaling", "no object"},
	{"{\"rope_parameters\":[]}", AQZ_E_CORRUPT, "rope_parameters", "no object"},
	{"{\"rope_scaling\":{\"type\":\"linear\"}}", AQZ_E_CORRUPT, "rope_scaling.factor", "not have"},
	{"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", AQZ_E_CORRUPT, "rope_scaling.factor",
		"positive"},
	{"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"4\"}}", AQZ_E_CORRUPT,
		"rope_scaling.factor", "no number"},
	{"{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"high_freq_factor\":4}}", AQZ_E_CORRUPT,
		"rope_scaling.low_freq_factor", "not have"},
	{"{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1}}", AQZ_E_CORRUPT,
		"rope_scaling.high_freq_factor", "not have"},
	{"{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_"
	 "factor\":4}}",
		AQZ_E_CORRUPT, "rope_scaling.high_freq_factor", "not above"},
	{"{\"original_max_position_embeddings\":32,\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3
	 ",\"original_max_position_embeddings\":64}}",
		AQZ_E_UNSUPPORTED, "original_max_position_embeddings", "differ"},
	{"{\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3
	 ",\"original_max_position_embeddings\":16.5}}",
		AQZ_E_CORRUPT, "rope_scaling.original_max_position_embeddings", "no integer"},
	{"{\"rope_theta\":0}", AQZ_E_CORRUPT, "rope_theta", "positive"},
	{"{\"rope_theta\":null}", AQZ_E_CORRUPT, "rope_theta", "no number"},
	{"{\"sliding_window\":32}", AQZ_E_UNSUPPORTED, "sliding_window", "llama"},
	{"{\"model_type\":\"mistral\",\"architectures\":\"-\",\"sliding_window\":0}", AQZ_E_CORRUPT,
		"sliding_window", "0"},
	{"{\"model_type\":\"mistral\",\"architectures\":\"-\",\"layer_types\":[" FULL "," SLIDING
	 "," SLIDING "," SLIDING "," SLIDING "]}",
		AQZ_E_UNSUPPORTED, "layer_types", "mistral"},
	{QWEN "\"layer_types\":[" SLIDING "," FULL "," FULL "," FULL "," FULL "]}", AQZ_E_UNSUPPORTED,
		"layer_types", "layer 1"},
	{QWEN "\"layer_types\":[" FULL "]}", AQZ_E_CORRUPT, "layer_types", "5 kinds"},
	{QWEN "\"layer_types\":[1,2,3,4,5]}", AQZ_E_CORRUPT, "layer_types", "no string"},
	{"{\"layer_types\":[" FULL "," FULL "," FULL "," FULL ",\"chunked_attention\"]}",
		AQZ_E_UNSUPPORTED, "layer_types", "chunked_attention"},
	{"{\"layer_types\":[" FULL "," FULL "," FULL "," FULL "," SLIDING "]}", AQZ_E_UNSUPPORTED,
		"layer_types", "no sliding window"},
	{"{\"model_type\":\"mistral\",\"architectures\":\"-\",\"attention_bias\":true}",
		AQZ_E_UNSUPPORTED, "attention_bias", "mistral"},
	{"{\"model_type\":\"qwen3\",\"architectures\":\"-\",\"mlp_bias\":true}", AQZ_E_UNSUPPORTED,
		"mlp_bias", "llama"},
	{"{\"attention_bias\":1}", AQZ_E_CORRUPT, "attention_bias", "neither"},
	{"{\"tie_word_embeddings\":\"yes\"}", AQZ_E_CORRUPT, "tie_word_embeddings", "neither"},
	{"{\"hidden_size\":\"-\"}", AQZ_E_CORRUPT, "hidden_size", "does not have"},
	{"{\"hidden_size\":64.0}", AQZ_E_CORRUPT, "hidden_size", "no integer"},
	{"{\"hidden_size\":0}", AQZ_E_CORRUPT, "hidden_size", "0"},
	{"{\"hidden_size\":-64}", AQZ_E_CORRUPT, "hidden_size", "-64"},
	{"{\"hidden_size\":1048584}", AQZ_E_CORRUPT, "hidden_size", "1048576"},
	{"{\"hidden_size\":9223372036854775807}", AQZ_E_CORRUPT, "hidden_size", "9223372036854775807"},
	{"{\"intermediate_size\":\"-\"}", AQZ_E_CORRUPT, "intermediate_size", "does not have"},
	{"{\"intermediate_size\":16777217}", AQZ_E_CORRUPT, "intermediate_size", "16777216"},
	{"{\"num_hidden_layers\":1025}", AQZ_E_CORRUPT, "num_hidden_layers", "1024"},
	{"{\"num_attention_heads\":\"-\"}", AQZ_E_CORRUPT, "num_attention_heads", "does not have"},
	{"{\"num_attention_heads\":65537,\"head_dim\":2}", AQZ_E_CORRUPT, "num_attention_heads", "65536"},
	{"{\"num_attention_heads\":7}", AQZ_E_CORRUPT, "num_attention_heads", "multiple"},
	{"{\"num_key_value_heads\":3}", AQZ_E_CORRUPT, "num_key_value_heads", "multiple of 3"},
	{"{\"num_key_value_heads\":16}", AQZ_E_CORRUPT, "num_key_value_heads", "multiple of 16"},
	{"{\"head_dim\":7}", AQZ_E_CORRUPT, "head_dim", "odd"},
	{"{\"head_dim\":16386}", AQZ_E_CORRUPT, "head_dim", "16384"},
	{"{\"num_attention_heads\":4096,\"head_dim\":8192}", AQZ_E_CORRUPT, "head_dim", "together"},
	{"{\"vocab_size\":268435457}", AQZ_E_CORRUPT, "vocab_size", "268435456"},
	{"{\"vocab_size\":[]}", AQZ_E_CORRUPT, "vocab_size", "no integer"},
	{"{\"max_position_embeddings\":0}", AQZ_E_CORRUPT, "max_position_embeddings", "0"},
	{"{\"rms_norm_eps\":0}", AQZ_E_CORRUPT, "rms_norm_eps", "1e-30"},
	{"{\"rms_norm_eps\":1e300}", AQZ_E_CORRUPT, "rms_norm_eps", "1e-30"},
	{"{\"rms_norm_eps\":true}", AQZ_E_CORRUPT, "rms_norm_eps", "no number"},
	{"{\"bos_token_id\":-2}", AQZ_E_CORRUPT, "bos_token_id", "-2"},
	{"{\"bos_token_id\":[1]}", AQZ_E_CORRUPT, "bos_token_id", "no token id"},
	{"{\"eos_token_id\":1.5}", AQZ_E_CORRUPT, "eos_token_id", "no token id"},
	{"{\"eos_token_id\":[1,null]}", AQZ_E_CORRUPT, "eos_token_id", "no token id"},
	{"{\"eos_token_id\":4294967295}", AQZ_E_CORRUPT, "eos_token_id", "4294967295"},
	{"{\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", AQZ_E_UNSUPPORTED,
		"eos_token_id", "16"},
};

START_TEST(fields_that_are_refused)
{
	aqz_model_config c;
	aqz_error err;
	const aqz_status status = parse(&c, refused[_i].members, &err);

	ck_assert_msg(status == refused[_i].status && strcmp(err.where, refused[_i].where) == 0 &&
			strstr(err.text, refused[_i].text) != NULL,
		"%s: %s: %s: %s", refused[_i].members, aqz_status_name(status), err.where, err.text);
}
END_TEST

START_TEST(text_that_is_no_config)
{
	static const char *const texts[] = {"", "   ", "[]", "null", "\"model_type\"", "{", "{\"a\":}",
		"{}{}", "{\"a\":1,\"a\":2}", "{\"model_type\":\"llama\"} x", "{\"a\":\"\\u0000\"}",
		"{\"a\":1e999}", "\xff\xfe{}", "{\"a\":NaN}"};
	aqz_model_config c;
	aqz_error err;
	char *deep = malloc(200);

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		ck_assert_msg(aqz_config_parse(&c, texts[i], strlen(texts[i]), &err) == AQZ_E_CORRUPT &&
				strcmp(err.where, "config.json") == 0,
			"%s: %s", texts[i], err.where);
	memset(deep, '[', 200);
	memcpy(deep, "{\"a\":", 5);
	ck_assert_int_eq(aqz_config_parse(&c, deep, 200, &err), AQZ_E_CORRUPT);
	free(deep);
	/* Every beginning of a sound text is none, and any byte of it may be another. */
	for (size_t n = 0; n < sizeof llama - 1; n++)
		ck_assert_int_eq(aqz_config_parse(&c, llama, n, NULL), AQZ_E_CORRUPT);
	for (size_t n = 0; n < sizeof llama - 1; n++) {
		char copy[sizeof llama];
		aqz_status status;

		memcpy(copy, llama, sizeof copy);
		copy[n] = (char)(copy[n] ^ 0x11);
		status = aqz_config_parse(&c, copy, sizeof llama - 1, NULL);
		ck_assert(status == AQZ_OK || status == AQZ_E_CORRUPT || status == AQZ_E_UNSUPPORTED);
		if (status == AQZ_OK)
			ck_assert_int_eq(aqz_config_check(&c, NULL), AQZ_OK);
	}
}
END_TEST

/* ---- Back to JSON */

static void check_same(const aqz_model_config *a, const aqz_model_config *b)
{
	ck_assert(a->family == b->family && a->n_layers == b->n_layers && a->hidden == b->hidden &&
		a->intermediate == b->intermediate && a->n_heads == b->n_heads &&
		a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim &&
		a->vocabulary == b->vocabulary && a->max_positions == b->max_positions);
	ck_assert(a->rms_eps == b->rms_eps && a->rope_theta == b->rope_theta &&
		a->rope_scaling == b->rope_scaling && a->rope_factor == b->rope_factor &&
		a->rope_low == b->rope_low && a->rope_high == b->rope_high &&
		a->rope_original == b->rope_original);
	ck_assert(a->tied == b->tied && a->qkv_bias == b->qkv_bias && a->o_bias == b->o_bias &&
		a->mlp_bias == b->mlp_bias && a->qk_norm == b->qk_norm && a->window == b->window &&
		a->window_from == b->window_from);
	ck_assert(a->bos == b->bos && a->n_eos == b->n_eos &&
		memcmp(a->eos, b->eos, a->n_eos * sizeof *a->eos) == 0);
}

START_TEST(json_round_trip)
{
	static const char *const all[] = {"{}",
		"{\"tie_word_embeddings\":true,\"attention_bias\":true,\"mlp_bias\":true,\"head_dim\":24,"
		"\"rms_norm_eps\":0.000001234567,\"rope_theta\":123456.789012345,\"bos_token_id\":null}",
		"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5},\"eos_token_id\":[3,4,500]}",
		"{\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3
		"},\"rope_theta\":5e5,\"eos_token_id\":null}",
		"{\"model_type\":\"mistral\",\"architectures\":\"-\"}",
		"{\"model_type\":\"mistral\",\"architectures\":\"-\",\"sliding_window\":null,\"rope_"
		"theta\":1e6}",
		"{\"model_type\":\"qwen2\",\"architectures\":\"-\",\"rms_norm_eps\":3.3e-7}",
		QWEN "\"sliding_window\":16,\"max_window_layers\":3}", QWEN "\"max_window_layers\":0}",
		"{\"model_type\":\"qwen3\",\"architectures\":\"-\",\"rope_theta\":0.3333333333333333}",
		"{\"model_type\":\"qwen3\",\"architectures\":\"-\",\"attention_bias\":true,\"head_dim\":"
		"16}"};
	aqz_error err;
	char *json;
	size_t n;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		const aqz_model_config c = parsed(all[i]);
		aqz_model_config back;

		ck_assert_int_eq(aqz_config_to_json(&c, AQZ_F16, &json, &n, &err), AQZ_OK);
		ck_assert_uint_eq(strlen(json), n);
		ck_assert_ptr_nonnull(strstr(json, "\"torch_dtype\": \"float16\""));
		ck_assert_msg(
			aqz_config_parse(&back, json, n, &err) == AQZ_OK, "%s: %s", err.where, err.text);
		check_same(&c, &back);
		free(json);
	}
	/* Numbers are written with no more digits than they need. */
	const aqz_model_config c = parsed("{}");
	ck_assert_int_eq(aqz_config_to_json(&c, AQZ_F32, &json, &n, &err), AQZ_OK);
	ck_assert_ptr_nonnull(strstr(json, "\"rms_norm_eps\": 1e-5,"));
	ck_assert_ptr_nonnull(strstr(json, "\"rope_theta\": 10000.0,"));
	free(json);
}
END_TEST

START_TEST(models_without_a_json)
{
	aqz_model_config c = parsed("{}");
	aqz_error err;
	char *json;
	size_t n;

	c.qkv_bias = true; /* a GGUF file may have biases for q, k and v alone */
	ck_assert_int_eq(aqz_config_to_json(&c, AQZ_F32, &json, &n, &err), AQZ_E_UNSUPPORTED);
	ck_assert_str_eq(err.where, "attention_bias");
	ck_assert_ptr_null(json);
	c = parsed("{}");
	c.hidden = 0;
	ck_assert_int_eq(aqz_config_to_json(&c, AQZ_F32, &json, &n, &err), AQZ_E_CORRUPT);
	ck_assert_str_eq(err.where, "hidden_size");
	c = parsed("{}");
	c.family = (aqz_model_family)9;
	ck_assert_int_eq(aqz_config_check(&c, &err), AQZ_E_CORRUPT);
	c = parsed("{}");
	c.eos[0] = 512;
	ck_assert_int_eq(aqz_config_check(&c, &err), AQZ_E_CORRUPT);
	ck_assert_str_eq(err.where, "eos_token_id");
}
END_TEST

/* ---- Names, shapes and angles */

START_TEST(linears)
{
	static const struct {
		const char *name;
		uint64_t rows, cols;
		bool bias;
	} due[AQZ_N_LINEARS] = {{"model.layers.12.self_attn.q_proj.weight", 96, 64, true},
		{"model.layers.12.self_attn.k_proj.weight", 48, 64, true},
		{"model.layers.12.self_attn.v_proj.weight", 48, 64, true},
		{"model.layers.12.self_attn.o_proj.weight", 64, 96, false},
		{"model.layers.12.mlp.gate_proj.weight", 172, 64, false},
		{"model.layers.12.mlp.up_proj.weight", 172, 64, false},
		{"model.layers.12.mlp.down_proj.weight", 64, 172, false}};
	const aqz_model_config c =
		parsed("{\"model_type\":\"qwen2\",\"architectures\":\"-\",\"head_dim\":12}");
	char name[AQZ_WEIGHT_NAME_BYTES];

	for (int i = 0; i < AQZ_N_LINEARS; i++) {
		uint64_t rows, cols;

		aqz_linear_name(name, 12, (aqz_linear_kind)i, "weight");
		ck_assert_str_eq(name, due[i].name);
		aqz_linear_shape(&c, (aqz_linear_kind)i, &rows, &cols);
		ck_assert(rows == due[i].rows && cols == due[i].cols);
		ck_assert_int_eq(aqz_linear_has_bias(&c, (aqz_linear_kind)i), due[i].bias);
	}
	aqz_linear_name(name, UINT32_MAX, AQZ_LINEAR_Q, "bias");
	ck_assert_str_eq(name, "model.layers.4294967295.self_attn.q_proj.bias");
}
END_TEST

/* inv_freq of LlamaRotaryEmbedding in transformers 5.23, heads of 16 dimensions. */
START_TEST(rotary_angles)
{
	static const struct {
		const char *members;
		float due[8];
	} all[] = {{"{\"head_dim\":16}",
				   {1.f, 0.316227764f, 0.100000001f, 0.0316227786f, 0.00999999978f, 0.00316227786f,
					   0.00100000005f, 0.000316227786f}},
		{"{\"head_dim\":16,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}}",
			{0.25f, 0.079056941f, 0.0250000004f, 0.00790569466f, 0.00249999994f, 0.000790569466f,
				0.000250000012f, 7.90569466e-05f}},
		{"{\"head_dim\":16,\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":"
		 "\"llama3\"," LLAMA3 ",\"original_max_position_embeddings\":8192}}",
			{1.f, 0.193922758f, 0.0376060307f, 0.00729266508f, 0.000524846022f, 3.42810235e-05f,
				6.64786967e-06f, 1.28917316e-06f}},
		{"{\"head_dim\":16,\"rope_theta\":500000,\"rope_scaling\":{\"type\":\"llama3\",\"factor\":"
		 "32,"
		 "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}"
		 "}",
			{1.f, 0.0671330392f, 0.00117518846f, 0.000227895784f, 4.41941702e-05f, 8.57025589e-06f,
				1.66196742e-06f, 3.22293289e-07f}}};
	aqz_error err;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		aqz_model m = {.config = parsed(all[i].members)};

		ck_assert_int_eq(aqz_rope_inverse(&m, &err), AQZ_OK);
		for (int k = 0; k < 8; k++)
			ck_assert_msg(fabsf(m.rope_inverse[k] - all[i].due[k]) <= 4e-7f * all[i].due[k],
				"%zu %d: %.9g", i, k, (double)m.rope_inverse[k]);
		aqz_budget_free(&m.budget, m.held->p, m.held->n_bytes);
		free(m.held);
		ck_assert_uint_eq(m.budget.used_bytes, 0);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("config");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, llama_and_its_defaults);
	tcase_add_test(t, other_families);
	tcase_add_test(t, windows);
	tcase_add_test(t, rotary_forms);
	tcase_add_test(t, tokens);
	tcase_add_test(t, further_ends);
	tcase_add_loop_test(t, fields_that_are_refused, 0, sizeof refused / sizeof *refused);
	tcase_add_test(t, text_that_is_no_config);
	tcase_add_test(t, json_round_trip);
	tcase_add_test(t, models_without_a_json);
	tcase_add_test(t, linears);
	tcase_add_test(t, rotary_angles);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
