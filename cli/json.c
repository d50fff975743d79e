/* SPDX-License-Identifier: Apache-2.0 */
/* JSON for programs: the shapes that several commands print. jansson passes NULL on, so only the
 * end is checked. */
#include <string.h>

#include "cli/json.h"

int cli_json_print(json_t *value)
{
	int failed;

	if (value == NULL)
		return cli_error_nomem();
	/* 17 digits give back the same double. */
	failed =
		json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17) | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(value);
	return failed ? cli_error("standard output", "writing failed") : CLI_OK;
}

json_t *cli_json_number(uint64_t value)
{
	/* jansson's integers are signed; what lies beyond (a seed, a feature mask) is kept as decimal
	 * text. */
	if (value > INT64_MAX) {
		char text[24];

		snprintf(text, sizeof text, "%llu", (unsigned long long)value);
		return json_string(text);
	}
	return json_integer((json_int_t)value);
}

json_t *cli_json_shape(const uint64_t *shape, uint32_t rank)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < rank; i++)
		json_array_append_new(array, cli_json_number(shape[i]));
	return array;
}

json_t *cli_json_text(const char *text)
{
	json_t *value = json_string(text);
	char escaped[4096];

	if (value != NULL)
		return value;
	cli_escape(escaped, sizeof escaped, text);
	return json_string(escaped);
}

json_t *cli_json_scheme(const aqz_scheme *scheme)
{
	char text[AQZ_SCHEME_TEXT_BYTES];

	aqz_scheme_format(text, scheme);
	return json_string(text);
}

json_t *cli_json_hex(const uint8_t *bytes, size_t n)
{
	char text[65];

	for (size_t i = 0; i < n && 2 * i + 2 < sizeof text; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

void cli_json_measured(json_t *object, const aqz_measured *m)
{
	if (m->has_rel_mse)
		json_object_set_new(object, "rel_mse", json_real(m->rel_mse));
	if (m->has_loss) {
		json_object_set_new(object, "loss_before", json_real(m->loss_before));
		json_object_set_new(object, "loss_after", json_real(m->loss_after));
	}
	if (m->raw_reason != AQZ_RAW_ASKED)
		json_object_set_new(object, "raw_reason", json_string(cli_raw_reason(m->raw_reason)));
	if (m->effort != 0)
		json_object_set_new(object, "effort", json_integer(m->effort));
}
