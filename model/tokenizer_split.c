/* SPDX-License-Identifier: Apache-2.0 */
/* Splitting by a pattern: matches and what lies between them, and which of these become one. Bytes that are no UTF-8
 * are a split of their own, which patterns do not see. */
#include "model/tokenizer.h"

typedef struct splitter {
	const aqz_step *step;
	aqz_emit_fn *emit;
	void *user;
	const char *text;
	bool pending, previous; /* a split is not yet given out; the part before this one was a match */
	size_t begin, end;		/* of the pending one */
} splitter;

static aqz_status emit(const splitter *s, size_t begin, size_t end)
{
	return begin < end ? s->emit(s->user, s->text, begin, end - begin) : AQZ_OK;
}

static aqz_status flush(splitter *s)
{
	const bool pending = s->pending;

	s->pending = false;
	return pending ? emit(s, s->begin, s->end) : AQZ_OK;
}

/* The next part of the text, a match or not; empty ones count. */
static aqz_status take(splitter *s, size_t begin, size_t end, bool match)
{
	aqz_status status = AQZ_OK;
	bool joined = false; /* to the pending one */

	if (s->step->invert)
		match = !match;
	switch (s->step->behavior) {
	case AQZ_SPLIT_REMOVED:
		return match ? AQZ_OK : emit(s, begin, end);
	case AQZ_SPLIT_ISOLATED:
		return emit(s, begin, end);
	case AQZ_SPLIT_CONTIGUOUS:
		joined = match == s->previous;
		break;
	case AQZ_SPLIT_MERGED_WITH_PREVIOUS:
		joined = match && !s->previous;
		break;
	case AQZ_SPLIT_MERGED_WITH_NEXT:
		joined = !match && s->previous;
		break;
	}
	s->previous = match;
	if (!joined || !s->pending) {
		AQZ_TRY(flush(s));
		s->begin = begin;
	}
	s->end = end;
	s->pending = true;
out:
	return status;
}

/* A fixed text; an empty one never matches. */
static aqz_status split_text(splitter *s, size_t n)
{
	const aqz_step *step = s->step;
	aqz_status status = AQZ_OK;
	size_t done = 0;

	while (step->from_bytes > 0) {
		const char *found = memmem(s->text + done, n - done, step->from, step->from_bytes);
		size_t at;

		if (found == NULL)
			break;
		at = (size_t)(found - s->text);
		if (done < at)
			AQZ_TRY(take(s, done, at, false));
		done = at + step->from_bytes;
		AQZ_TRY(take(s, at, done, true));
	}
	if (done < n)
		AQZ_TRY(take(s, done, n, false));
	AQZ_TRY(flush(s));
out:
	return status;
}

/* Valid UTF-8, text[base .. base + n). */
static aqz_status split_run(splitter *s, aqz_regex_run *run, size_t base, size_t n, aqz_error *err)
{
	size_t done = 0, at = 0, last = SIZE_MAX, begin, end;
	aqz_status status = AQZ_OK;

	s->previous = false;
	while (at <= n) {
		AQZ_TRY(aqz_regex_match(run, s->step->code, s->text + base, n, at, &begin, &end, err));
		if (end == SIZE_MAX)
			break;
		if (begin == end && end == last) { /* an empty match does not follow another match */
			if (at == n)
				break;
			at += aqz_utf8_bytes(s->text + base + at, n - at);
			continue;
		}
		if (done < begin)
			AQZ_TRY(take(s, base + done, base + begin, false));
		AQZ_TRY(take(s, base + begin, base + end, true));
		done = at = last = end;
	}
	if (done < n)
		AQZ_TRY(take(s, base + done, base + n, false));
	AQZ_TRY(flush(s));
out:
	return status;
}

aqz_status aqz_split(const aqz_step *step, aqz_regex_run *run, const char *text, size_t n,
	aqz_emit_fn *emit_fn, void *user, aqz_error *err)
{
	splitter s = {.step = step, .emit = emit_fn, .user = user, .text = text};
	aqz_status status = AQZ_OK;
	size_t at = 0;

	if (step->code == NULL)
		return split_text(&s, n);
	while (at < n) {
		size_t length = aqz_utf8_valid(text + at, n - at);

		if (length > 0)
			AQZ_TRY(split_run(&s, run, at, length, err));
		at += length;
		length = aqz_utf8_invalid(text + at, n - at);
		if (length > 0)
			AQZ_TRY(emit(&s, at, at + length));
		at += length;
	}
out:
	return status;
}
