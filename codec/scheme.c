/* SPDX-License-Identifier: Apache-2.0 */
/* Names of schemes: "raw", "MxBgG" and "MxBgGoO". */
#include <stdio.h>

#include "base/base.h"
#include "codec/additive.h"

/* Reads a number of 1..64 without sign or leading zero; false for anything else. */
static bool number(uint8_t *out, const char **text)
{
	const char *p = *text;
	unsigned value = 0;

	if (*p < '1' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (unsigned)(*p - '0');
		if (value > 64)
			return false;
	}
	*out = (uint8_t)value;
	*text = p;
	return true;
}

static bool letter(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

bool aqz_scheme_possible(const aqz_scheme *s)
{
	return s->codec == AQZ_CODEC_ADDITIVE && s->n_codebooks >= 1 && s->n_codebooks <= 8 &&
		s->code_bits >= 1 && s->code_bits <= 16 && s->in_group >= 1 && s->out_group >= 1 &&
		s->in_group <= 64 && s->out_group <= 64 && s->in_group * s->out_group <= 64;
}

aqz_status aqz_scheme_parse(aqz_scheme *out, const char *text, aqz_error *err)
{
	aqz_scheme s = {.codec = AQZ_CODEC_ADDITIVE, .out_group = 1};
	const char *p = text;

	if (strcmp(text, "raw") == 0) {
		*out = (aqz_scheme){.codec = AQZ_CODEC_LOSSLESS};
		return AQZ_OK;
	}
	if (number(&s.n_codebooks, &p) && letter(&p, 'x') && number(&s.code_bits, &p) &&
		letter(&p, 'g') && number(&s.in_group, &p) &&
		(*p == '\0' || (letter(&p, 'o') && number(&s.out_group, &p) && *p == '\0')) &&
		aqz_scheme_possible(&s)) {
		*out = s;
		return AQZ_OK;
	}
	return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "scheme",
		"\"%.32s\" is no scheme: it must be raw, or MxBgG or MxBgGoO (such as 2x8g8) with M 1..8, "
		"B 1..16, G 1..64, O 1..64 and G * O at most 64",
		text);
}

void aqz_scheme_format(char text[AQZ_SCHEME_TEXT_BYTES], const aqz_scheme *scheme)
{
	if (scheme->codec == AQZ_CODEC_LOSSLESS)
		snprintf(text, AQZ_SCHEME_TEXT_BYTES, "raw");
	else if (scheme->out_group == 1)
		snprintf(text, AQZ_SCHEME_TEXT_BYTES, "%ux%ug%u", scheme->n_codebooks, scheme->code_bits,
			scheme->in_group);
	else
		snprintf(text, AQZ_SCHEME_TEXT_BYTES, "%ux%ug%uo%u", scheme->n_codebooks, scheme->code_bits,
			scheme->in_group, scheme->out_group);
}
