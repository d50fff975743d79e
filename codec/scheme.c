/* SPDX-License-Identifier: Apache-2.0 */
/* Names of schemes: "raw", "MxBgG" and "MxBgGoO"; "trellisS" is only written, "ectcq" and its goals are asked for. */
#include <stdio.h>

#include "base/base.h"
#include "codec/additive.h"
#include "codec/trellis.h"

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
	else if (scheme->codec == AQZ_CODEC_TRELLIS)
		snprintf(text, AQZ_SCHEME_TEXT_BYTES, "trellis%u", 1u << scheme->code_bits);
	else if (scheme->out_group == 1)
		snprintf(text, AQZ_SCHEME_TEXT_BYTES, "%ux%ug%u", scheme->n_codebooks, scheme->code_bits,
			scheme->in_group);
	else
		snprintf(text, AQZ_SCHEME_TEXT_BYTES, "%ux%ug%uo%u", scheme->n_codebooks, scheme->code_bits,
			scheme->in_group, scheme->out_group);
}

/* ---- Goals */

/* Digits, a point and digits, an exponent, in any locale. False for all else, and for 0. To a rounding; what follows
 * fifteen digits that count changes nothing. */
static bool positive(double *out, const char *text)
{
	uint64_t digits = 0;
	int n_digits = 0, exponent = 0, sign = 1, power = 0;
	const char *p = text;
	double ten = 1;
	bool point = false;

	for (; (*p >= '0' && *p <= '9') || (*p == '.' && !point); p++) {
		if (*p == '.') {
			point = true;
			continue;
		}
		n_digits++;
		if (digits < 100000000000000) {
			digits = digits * 10 + (uint64_t)(*p - '0');
			exponent -= point;
		} else {
			exponent += !point;
		}
		if (n_digits > AQZ_GOAL_TEXT_BYTES)
			return false;
	}
	if (n_digits == 0)
		return false;
	if (*p == 'e') {
		p++;
		if (*p == '-' || *p == '+')
			sign = *p++ == '-' ? -1 : 1;
		if (*p < '0' || *p > '9')
			return false;
		for (; *p >= '0' && *p <= '9' && power < 100; p++)
			power = power * 10 + (*p - '0');
	}
	exponent += sign * power;
	if (*p != '\0' || digits == 0 || exponent < -22 || exponent > 22)
		return false;
	*out = (double)digits;
	/* Powers of ten up to 10^22 are exact. */
	for (int i = 0; i < exponent || i < -exponent; i++)
		ten *= 10;
	*out = exponent < 0 ? (double)digits / ten : (double)digits * ten;
	return true;
}

aqz_status aqz_scheme_parse_goal(aqz_scheme *out, aqz_goal *goal, const char *text, aqz_error *err)
{
	static const char name[] = "ectcq";
	static const struct {
		const char *text;
		aqz_goal_kind kind;
		double most;
	} kinds[] = {
		{"loss=", AQZ_GOAL_LOSS, 1}, {"slope=", AQZ_GOAL_SLOPE, 1e22}, {"", AQZ_GOAL_BITS, 32}};
	const char *p = text + sizeof name - 1;

	*goal = (aqz_goal){AQZ_GOAL_SHARED, 0};
	if (strncmp(text, name, sizeof name - 1) != 0)
		return aqz_scheme_parse(out, text, err);
	*out = aqz_trellis_scheme(3);
	if (*p == '\0')
		return AQZ_OK;
	for (size_t i = 0; *p == '@' && i < sizeof kinds / sizeof *kinds; i++) {
		const size_t n = strlen(kinds[i].text);

		if (strncmp(p + 1, kinds[i].text, n) != 0)
			continue;
		goal->kind = kinds[i].kind;
		if (positive(&goal->value, p + 1 + n) && goal->value <= kinds[i].most)
			return AQZ_OK;
		break;
	}
	return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "scheme",
		"\"%.32s\" is no scheme: it must be ectcq, ectcq@BITS (up to 32), ectcq@loss=X (up to 1) "
		"or ectcq@slope=C",
		text);
}

void aqz_scheme_format_goal(
	char text[AQZ_GOAL_TEXT_BYTES], const aqz_scheme *scheme, const aqz_goal *goal)
{
	static const char *const kinds[] = {"", "@", "@loss=", "@slope="};

	if (scheme->codec != AQZ_CODEC_TRELLIS)
		aqz_scheme_format(text, scheme);
	else if (goal->kind == AQZ_GOAL_SHARED)
		snprintf(text, AQZ_GOAL_TEXT_BYTES, "ectcq");
	else
		snprintf(text, AQZ_GOAL_TEXT_BYTES, "ectcq%s%.15g", kinds[goal->kind], goal->value);
}
