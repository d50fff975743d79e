/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds of fuzz_config: a config.json of each family and form, a llama2.c header, rotary factors. */
#include "fuzz/seeds_config.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SHAPE                                                                               \
	"\"hidden_size\":64,\"intermediate_size\":172,\"num_hidden_layers\":5,\"num_attention_" \
	"heads\":8,\"vocab_size\":512"

static const struct {
	const char *name, *json;
} texts[] = {
	{"llama",
		"{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"]," SHAPE
		",\"num_key_value_heads\":4,\"head_dim\":8,\"rms_norm_eps\":1e-05,\"attention_bias\":true,"
		"\"mlp_bias\":true,\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":[2,3],"
		"\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
		"\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}"
		"}"},
	{"linear",
		"{\"model_type\":\"llama\"," SHAPE ",\"pretraining_tp\":1,\"hidden_act\":\"silu\",\"rope_"
										   "scaling\":{\"type\":\"linear\",\"factor\":2}}"},
	{"mistral",
		"{\"model_type\":\"mistral\"," SHAPE ",\"sliding_window\":32,\"rope_parameters\":"
		"{\"rope_theta\":10000.0,\"rope_type\":\"default\",\"partial_rotary_factor\":1.0}}"},
	{"qwen2",
		"{\"model_type\":\"qwen2\"," SHAPE ",\"num_key_value_heads\":2,\"use_sliding_window\":true,"
		"\"sliding_window\":16,\"max_window_layers\":2}"},
	{"qwen3",
		"{\"model_type\":\"qwen3\"," SHAPE
		",\"num_key_value_heads\":null,\"use_sliding_window\":true,"
		"\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\",\"sliding_"
		"attention\","
		"\"sliding_attention\"]}"},
	{"aqlm", "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"aqlm\"}}"},
};

static bool write_file(const char *folder, const char *name, const void *bytes, size_t n)
{
	char path[4096];
	FILE *file;
	bool ok;

	if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
		return false;
	file = fopen(path, "wb");
	if (file == NULL)
		return false;
	ok = fwrite(bytes, 1, n, file) == n;
	return fclose(file) == 0 && ok;
}

bool seeds_config(const char *parent)
{
	static const int32_t header[7] = {64, 172, 5, 8, 4, -512, 512};
	static const uint32_t later[2] = {0x616b3432, 1};
	float factors[32];
	char folder[4000];
	bool ok;

	if (snprintf(folder, sizeof folder, "%s/config", parent) >= (int)sizeof folder)
		return false;
	mkdir(folder, 0777); /* may be there; writing tells */
	for (int i = 0; i < 32; i++) {
		const double turns = 32768 / (2 * 3.14159265358979323846 * pow(500000, i / 32.0));
		const double mix = (turns - 1) / 15;

		factors[i] = (float)(turns > 16 ? 1 : turns < 1 ? 8 : 1 / ((1 - mix) / 8 + mix));
	}
	ok = write_file(folder, "llama2c", header, sizeof header) &&
		write_file(folder, "llama2c-later", later, sizeof later) &&
		write_file(folder, "factors", factors, sizeof factors);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		ok = write_file(folder, texts[i].name, texts[i].json, strlen(texts[i].json)) && ok;
	return ok;
}
