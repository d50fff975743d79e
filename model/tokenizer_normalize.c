/* SPDX-License-Identifier: Apache-2.0 */
/* Normalizers. Bytes that are no UTF-8 pass through all of them. */
#include <utf8proc.h>

#include "model/tokenizer.h"

/* Compositions and decompositions of Unicode. ASCII characters change in none of these forms, and no character before
 * one acts on it, so that each piece from the last ASCII character before others up to the next one stands alone. */
static aqz_status form_piece(
	aqz_buffer *out, aqz_step_kind kind, const char *text, size_t n, aqz_error *err)
{
	utf8proc_option_t options = UTF8PROC_STABLE;
	utf8proc_uint8_t *result = NULL;
	utf8proc_ssize_t n_result;
	aqz_status status;

	options |= kind == AQZ_STEP_NFC || kind == AQZ_STEP_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
	if (kind == AQZ_STEP_NFKC || kind == AQZ_STEP_NFKD)
		options |= UTF8PROC_COMPAT;
	n_result = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &result, options);
	if (n_result < 0)
		return aqz_fail_nomem(err, n);
	status = aqz_buffer_add(out, result, (size_t)n_result, err);
	free(result);
	return status;
}

static aqz_status form(aqz_buffer *out, aqz_step_kind kind, const char *text, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	size_t done = 0, i = 0;

	while (i < n) {
		size_t begin;

		while (i < n && (unsigned char)text[i] < 0x80)
			i++;
		begin = i > done && i < n ? i - 1 : i;
		AQZ_TRY(aqz_buffer_add(out, text + done, begin - done, err));
		while (i < n && (unsigned char)text[i] >= 0x80) {
			const unsigned bytes = aqz_utf8_bytes(text + i, n - i);

			if (bytes == 0)
				break;
			i += bytes;
		}
		if (i > begin)
			AQZ_TRY(form_piece(out, kind, text + begin, i - begin, err));
		done = i;
		while (i < n && aqz_utf8_bytes(text + i, n - i) == 0)
			i++;
		AQZ_TRY(aqz_buffer_add(out, text + done, i - done, err));
		done = i;
	}
out:
	return status;
}

static aqz_status lowercase(aqz_buffer *out, const char *text, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	for (size_t i = 0; i < n;) {
		const unsigned bytes = aqz_utf8_bytes(text + i, n - i);
		char lower[8];
		size_t n_lower = 1;

		if (bytes == 0) {
			AQZ_TRY(aqz_buffer_add(out, text + i, 1, err));
			i++;
			continue;
		}
		if (bytes == 2 && memcmp(text + i, "\xc4\xb0", 2) == 0) { /* I with a dot: two characters */
			n_lower = 3;
			memcpy(lower, "i\xcc\x87", 3);
		} else {
			n_lower = (size_t)utf8proc_encode_char(
				utf8proc_tolower((utf8proc_int32_t)aqz_utf8_code(text + i, bytes)),
				(utf8proc_uint8_t *)lower);
		}
		AQZ_TRY(aqz_buffer_add(out, lower, n_lower, err));
		i += bytes;
	}
out:
	return status;
}

static aqz_status strip(
	aqz_buffer *out, const aqz_step *step, const char *text, size_t n, aqz_error *err)
{
	while (step->left && n > 0) {
		const unsigned bytes = aqz_utf8_bytes(text, n);

		if (bytes == 0 || !aqz_is_space(aqz_utf8_code(text, bytes)))
			break;
		text += bytes;
		n -= bytes;
	}
	while (step->right && n > 0) {
		unsigned bytes = 1;

		while (bytes < 4 && bytes < n && aqz_utf8_bytes(text + n - bytes, bytes) != bytes)
			bytes++;
		if (aqz_utf8_bytes(text + n - bytes, bytes) != bytes ||
			!aqz_is_space(aqz_utf8_code(text + n - bytes, bytes)))
			break;
		n -= bytes;
	}
	return aqz_buffer_add(out, text, n, err);
}

static aqz_status replace_text(
	aqz_buffer *out, const aqz_step *step, const char *text, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	size_t done = 0;

	while (step->from_bytes > 0) {
		const char *found = memmem(text + done, n - done, step->from, step->from_bytes);

		if (found == NULL)
			break;
		AQZ_TRY(aqz_buffer_add(out, text + done, (size_t)(found - text) - done, err));
		AQZ_TRY(aqz_buffer_add(out, step->to, step->to_bytes, err));
		done = (size_t)(found - text) + step->from_bytes;
	}
	AQZ_TRY(aqz_buffer_add(out, text + done, n - done, err));
out:
	return status;
}

/* Replaces matches in valid UTF-8. */
static aqz_status replace_run(aqz_buffer *out, const aqz_step *step, aqz_regex_run *run,
	const char *text, size_t n, aqz_error *err)
{
	size_t done = 0, at = 0, last = SIZE_MAX, begin, end;
	aqz_status status = AQZ_OK;

	while (at <= n) {
		AQZ_TRY(aqz_regex_match(run, step->code, text, n, at, &begin, &end, err));
		if (end == SIZE_MAX)
			break;
		if (begin == end && end == last) {
			if (at == n)
				break;
			at += aqz_utf8_bytes(text + at, n - at);
			continue;
		}
		AQZ_TRY(aqz_buffer_add(out, text + done, begin - done, err));
		AQZ_TRY(aqz_buffer_add(out, step->to, step->to_bytes, err));
		done = at = last = end;
	}
	AQZ_TRY(aqz_buffer_add(out, text + done, n - done, err));
out:
	return status;
}

static aqz_status replace_matches(aqz_buffer *out, const aqz_step *step, aqz_regex_run *run,
	const char *text, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	size_t at = 0;

	while (at < n) {
		size_t length = aqz_utf8_valid(text + at, n - at);

		if (length > 0)
			AQZ_TRY(replace_run(out, step, run, text + at, length, err));
		at += length;
		length = aqz_utf8_invalid(text + at, n - at);
		AQZ_TRY(aqz_buffer_add(out, text + at, length, err));
		at += length;
	}
out:
	return status;
}

static aqz_status apply(aqz_buffer *out, const aqz_step *step, aqz_regex_run *run, const char *text,
	size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	switch (step->kind) {
	case AQZ_STEP_PREPEND:
		if (n > 0)
			AQZ_TRY(aqz_buffer_add(out, step->to, step->to_bytes, err));
		AQZ_TRY(aqz_buffer_add(out, text, n, err));
		break;
	case AQZ_STEP_REPLACE:
		if (step->code != NULL)
			return replace_matches(out, step, run, text, n, err);
		return replace_text(out, step, text, n, err);
	case AQZ_STEP_NFC:
	case AQZ_STEP_NFD:
	case AQZ_STEP_NFKC:
	case AQZ_STEP_NFKD:
		return form(out, step->kind, text, n, err);
	case AQZ_STEP_LOWERCASE:
		return lowercase(out, text, n, err);
	case AQZ_STEP_STRIP:
		return strip(out, step, text, n, err);
	default:
		return aqz_buffer_add(out, text, n, err);
	}
out:
	return status;
}

aqz_status aqz_normalize(const aqz_tokenizer *t, aqz_regex_run *run, aqz_buffer *out,
	aqz_buffer *scratch, const char *text, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	size_t limit;

	out->n = 0;
	if (t->normalizer.n == 0)
		return aqz_buffer_add(out, text, n, err);
	limit = 20 * n + 65536;
	for (uint32_t i = 0; i < t->normalizer.n; i++) {
		if (n > limit) {
			status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "normalizer",
				"the text becomes more than 20 times as long");
			goto out;
		}
		out->n = 0;
		if (n == 0)
			break; /* nothing becomes nothing; and there may be no memory at all */
		AQZ_TRY(apply(out, &t->normalizer.step[i], run, text, n, err));
		if (i + 1 < t->normalizer.n) {
			const aqz_buffer swap = *out;

			*out = *scratch;
			*scratch = swap;
			text = (const char *)scratch->data;
			n = scratch->n;
		}
	}
out:
	return status;
}
