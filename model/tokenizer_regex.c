/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of tokenizer.json, which are Oniguruma's in Ruby's syntax, by PCRE2. What the two read differently is
 * rewritten, or refused if no known tokenizer uses it. A pattern is a stranger's program: matching is bounded in
 * steps and memory. */
#include "model/tokenizer.h"

#define MAX_PATTERN_BYTES 16384

const char aqz_gpt2_pattern[] =
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* PCRE2 takes U+180E for a space and, before 10.43, marks for no parts of words. */
#define SPACES "\\t-\\r\\x{85}\\p{Z}"
/* Letters in circles and squares are alphabetic; some numbers of Latin-1 are parts of words outside of classes only. */
#define WORDS                                                                              \
	"\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-" \
	"\\x{1F169}\\x{1F170}-\\x{1F189}"
#define LATIN_NUMBERS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"

static aqz_status refuse(aqz_error *err, const char *where, const char *what)
{
	return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
		"the pattern has %s, which is not supported", what);
}

static aqz_status put(aqz_buffer *out, const char *text, aqz_error *err)
{
	return aqz_buffer_add(out, text, strlen(text), err);
}

/* An escape: pattern[at] is the character after the backslash. *used: how many were read. */
static aqz_status escape(aqz_buffer *out, const char *pattern, size_t n, size_t at, bool in_class,
	size_t *used, const char *where, aqz_error *err)
{
	char text[16] = "\\x{0000}";
	aqz_status status;

	*used = 1;
	switch (pattern[at]) {
	case 's':
		return put(out, in_class ? SPACES : "[" SPACES "]", err);
	case 'S':
		return put(out, in_class ? "\\S" : "[^" SPACES "]", err);
	case 'w':
		return put(out, in_class ? WORDS : "[" WORDS LATIN_NUMBERS "]", err);
	case 'W':
		return put(out, in_class ? "\\W" : "[^" WORDS LATIN_NUMBERS "]", err);
	case 'h':
		return put(out, in_class ? "0-9A-Fa-f" : "[0-9A-Fa-f]", err);
	case 'v':
		return put(out, "\\x0b", err);
	case 'u':
		if (n - at < 5)
			return refuse(err, where, "\\u without four digits");
		for (size_t i = 0; i < 4; i++) {
			const char c = pattern[at + 1 + i];

			if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
				return refuse(err, where, "\\u without four digits");
			text[3 + i] = c;
		}
		*used = 5;
		return put(out, text, err);
	case 'H':
	case 'C':
	case 'M':
	case 'c':
	case 'g':
	case 'k':
	case 'K':
	case 'Q':
	case 'E':
	case 'N':
	case 'O':
	case 'y':
	case 'Y':
		text[1] = pattern[at];
		text[2] = '\0';
		return refuse(err, where, text);
	default:
		*used = aqz_utf8_bytes(pattern + at, n - at); /* any character may be escaped */
		/* The name or number in \p{...}, \P{...}, \x{...} goes with it. */
		if (strchr("pPx", pattern[at]) != NULL && at + 1 < n && pattern[at + 1] == '{') {
			const char *end = memchr(pattern + at, '}', n - at);

			if (end == NULL)
				return refuse(err, where, "a brace that is left open");
			*used = (size_t)(end + 1 - (pattern + at));
		}
		AQZ_TRY(put(out, "\\", err));
		AQZ_TRY(aqz_buffer_add(out, pattern + at, *used, err));
	}
out:
	return status;
}

/* A group's head, after the bracket. Options may be set for a group, and at the very beginning. */
static aqz_status check_group(
	const char *pattern, size_t n, size_t at, const char *where, aqz_error *err)
{
	static const char known[] = ":=!>#";
	size_t i = at + 1;

	if (at < n && pattern[at] == '*')
		return refuse(err, where, "(*");
	if (at >= n || pattern[at] != '?')
		return AQZ_OK;
	if (i < n && pattern[i] != '\0' && strchr(known, pattern[i]) != NULL)
		return AQZ_OK;
	if (i < n && pattern[i] == '<')
		return AQZ_OK;
	while (i < n && (pattern[i] == 'i' || pattern[i] == '-'))
		i++;
	if (i < n && i > at + 1 && (pattern[i] == ':' || (pattern[i] == ')' && at == 1)))
		return AQZ_OK;
	return refuse(err, where, "an extended group");
}

static aqz_status translate(
	aqz_buffer *out, const char *pattern, size_t n, const char *where, aqz_error *err)
{
	bool in_class = false;
	aqz_status status = AQZ_OK;
	size_t i = 0;

	while (i < n) {
		const char c = pattern[i];

		if (c == '\\') {
			size_t used;

			if (i + 1 == n)
				return refuse(err, where, "a backslash at its end");
			AQZ_TRY(escape(out, pattern, n, i + 1, in_class, &used, where, err));
			i += 1 + used;
			continue;
		}
		if (in_class) {
			if (c == '[' && (i + 1 == n || pattern[i + 1] != ':'))
				return refuse(err, where, "a class in a class");
			if (c == '[') { /* [:alpha:] */
				const char *end = memmem(pattern + i, n - i, ":]", 2);

				if (end == NULL)
					return refuse(err, where, "a class that is left open");
				AQZ_TRY(aqz_buffer_add(out, pattern + i, (size_t)(end + 2 - (pattern + i)), err));
				i = (size_t)(end + 2 - pattern);
				continue;
			}
			if (c == '&' && i + 1 < n && pattern[i + 1] == '&')
				return refuse(err, where, "&& in a class");
			in_class = c != ']';
		} else if (c == '[') {
			in_class = true;
			/* A bracket that comes first is a member. */
			AQZ_TRY(aqz_buffer_add(out, "[", 1, err));
			i++;
			if (i < n && pattern[i] == '^') {
				AQZ_TRY(aqz_buffer_add(out, "^", 1, err));
				i++;
			}
			if (i < n && pattern[i] == ']') {
				AQZ_TRY(aqz_buffer_add(out, "\\]", 2, err));
				i++;
			}
			continue;
		} else if (c == '(') {
			AQZ_TRY(check_group(pattern, n, i + 1, where, err));
		} else if (c == '{' && i + 1 < n && pattern[i + 1] == ',') {
			return refuse(err, where, "{,");
		} else if (c == '}' && i + 1 < n && pattern[i + 1] == '+') {
			return refuse(err, where, "}+");
		}
		AQZ_TRY(aqz_buffer_add(out, &c, 1, err));
		i++;
	}
out:
	return status;
}

aqz_status aqz_regex_compile(
	pcre2_code **out, const char *pattern, size_t n, const char *where, aqz_error *err)
{
	pcre2_compile_context *context = NULL;
	aqz_buffer text = {0};
	aqz_status status;
	PCRE2_SIZE at;
	int code;

	*out = NULL;
	if (n > MAX_PATTERN_BYTES)
		return refuse(err, where, "more than 16384 bytes");
	if (aqz_utf8_valid(pattern, n) != n)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "the pattern is no UTF-8");
	AQZ_TRY(translate(&text, pattern, n, where, err));
	AQZ_TRY(aqz_buffer_add(&text, "", 1, err));
	context = pcre2_compile_context_create(NULL);
	if (context == NULL) {
		status = aqz_fail_nomem(err, 256);
		goto out;
	}
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	pcre2_set_parens_nest_limit(context, 64);
	*out = pcre2_compile(text.data, text.n - 1,
		PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C |
			PCRE2_NO_UTF_CHECK,
		&code, &at, context);
	if (*out == NULL && code == PCRE2_ERROR_NOMEMORY)
		status = aqz_fail_nomem(err, text.n);
	else if (*out == NULL)
		status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
			"the pattern is none that PCRE2 understands (its error %d)", code);
	else
		pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* else it is interpreted */
out:
	pcre2_compile_context_free(context);
	aqz_buffer_free(&text);
	return status;
}

aqz_status aqz_regex_begin(aqz_regex_run *run, aqz_error *err)
{
	run->data = pcre2_match_data_create(1, NULL);
	run->context = pcre2_match_context_create(NULL);
	if (run->data == NULL || run->context == NULL) {
		aqz_regex_end(run);
		return aqz_fail_nomem(err, 512);
	}
	pcre2_set_heap_limit(run->context, UINT32_C(1) << 16); /* KiB */
	return AQZ_OK;
}

void aqz_regex_end(aqz_regex_run *run)
{
	pcre2_match_data_free(run->data);
	pcre2_match_context_free(run->context);
	pcre2_jit_stack_free(run->stack);
	*run = (aqz_regex_run){0};
}

aqz_status aqz_regex_match(aqz_regex_run *run, const pcre2_code *code, const char *text, size_t n,
	size_t at, size_t *begin, size_t *end, aqz_error *err)
{
	const uint64_t limit = 50000 + 32 * (uint64_t)n;
	const PCRE2_SIZE *where = pcre2_get_ovector_pointer(run->data);
	int rc;

	*begin = *end = SIZE_MAX;
	pcre2_set_match_limit(run->context, limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit);
	rc = pcre2_match(code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, run->data, run->context);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT && run->stack == NULL) {
		run->stack = pcre2_jit_stack_create(32768, 4 << 20, NULL);
		pcre2_jit_stack_assign(run->context, NULL, run->stack);
		rc = pcre2_match(code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, run->data, run->context);
	}
	if (rc == PCRE2_ERROR_NOMATCH)
		return AQZ_OK;
	if (rc == PCRE2_ERROR_NOMEMORY)
		return aqz_fail_nomem(err, n);
	if (rc < 0 || where[0] < at || where[1] < where[0] || where[1] > n)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, NULL,
			"a pattern of the tokenizer needs too many steps on this text (PCRE2's error %d)", rc);
	*begin = where[0];
	*end = where[1];
	return AQZ_OK;
}
