/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what a model's shape comes from. The input is a config.json, and also the header of a llama2.c file, and also
 * rotary factors as GGUF files have them. What is accepted is within the bounds, so that sizes made of it fit, and
 * survives being written as config.json. */
#include "model/llama2c.h"
#include "model/load.h"
#include "model/rope_factors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A finding. */
static void demand(bool holds)
{
	if (!holds)
		abort();
}

static void check_error(aqz_status status, const aqz_error *err)
{
	demand(status != AQZ_E_ARGUMENT && status != AQZ_E_NOMEM && err->status == status);
	demand(memchr(err->where, '\0', sizeof err->where) != NULL && err->text[0] != '\0');
	demand(aqz_text_ok(err->where, strlen(err->where)));
	demand(aqz_text_ok(err->text, strlen(err->text)));
}

static void check_sizes(const aqz_model_config *c)
{
	uint64_t rows, cols, n, total = 0;

	demand(aqz_config_check(c, NULL) == AQZ_OK);
	for (aqz_linear_kind kind = AQZ_LINEAR_Q; kind < AQZ_N_LINEARS; kind++) {
		aqz_linear_shape(c, kind, &rows, &cols);
		demand(rows > 0 && cols > 0 && aqz_mul(&n, rows, cols) && aqz_mul(&n, n, 8));
		demand(aqz_mul(&n, n, c->n_layers) && aqz_add(&total, total, n));
	}
	demand(aqz_mul(&n, c->vocabulary, c->hidden) && aqz_mul(&n, n, 8) && aqz_add(&total, total, n));
	demand(c->n_eos <= AQZ_MAX_STOP_TOKENS);
}

static void try_json(const char *text, size_t n)
{
	aqz_model_config c, again;
	aqz_error err;
	char *json, *twice;
	size_t json_bytes, twice_bytes;
	aqz_status status = aqz_config_parse(&c, text, n, &err);

	if (status != AQZ_OK) {
		check_error(status, &err);
		return;
	}
	check_sizes(&c);
	status = aqz_config_to_json(&c, AQZ_BF16, &json, &json_bytes, &err);
	demand(status == AQZ_OK); /* whatever a config.json says, one can say */
	demand(aqz_config_parse(&again, json, json_bytes, &err) == AQZ_OK);
	demand(aqz_config_to_json(&again, AQZ_BF16, &twice, &twice_bytes, &err) == AQZ_OK);
	demand(json_bytes == twice_bytes && memcmp(json, twice, json_bytes) == 0);
	free(json);
	free(twice);
}

static void try_header(const uint8_t *data, size_t n)
{
	aqz_llama2c f;
	aqz_error err;
	const aqz_status status = aqz_llama2c_parse(&f, data, n, &err);

	if (status != AQZ_OK) {
		check_error(status, &err);
		return;
	}
	check_sizes(&f.config);
	demand(f.embedding == AQZ_LLAMA2C_HEADER_BYTES && f.embedding < f.attention_norm);
	demand(f.attention_norm < f.linear[AQZ_LINEAR_Q] && f.linear[AQZ_LINEAR_O] < f.ffn_norm);
	demand(f.ffn_norm < f.linear[AQZ_LINEAR_GATE] && f.linear[AQZ_LINEAR_UP] < f.final_norm);
	demand(f.final_norm < f.head && f.head <= f.n_bytes);
}

static void try_factors(const uint8_t *data, size_t n)
{
	float factors[64];
	aqz_model_config c = {.family = AQZ_LLAMA,
		.n_layers = 1,
		.hidden = 8,
		.intermediate = 8,
		.n_heads = 1,
		.n_kv_heads = 1,
		.vocabulary = 8,
		.max_positions = 8,
		.rms_eps = 1,
		.rope_theta = 500000};

	n = aqz_min(n / sizeof *factors, 64);
	if (n == 0)
		return;
	memcpy(factors, data, n * sizeof *factors);
	c.head_dim = 2 * (uint32_t)n;
	if (aqz_rope_from_factors(&c, factors))
		check_sizes(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n > 0 ? n : 1); /* without a byte to spare */

	if (n > 0)
		memcpy(copy, data, n);
	try_json((const char *)copy, n);
	try_header(copy, n);
	try_factors(copy, n);
	free(copy);
	return 0;
}
