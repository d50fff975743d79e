/* SPDX-License-Identifier: Apache-2.0 */
/* generate: hands the text on while it comes, and looks for stop texts in it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/generate.h"

static bool fail(text_stream *s, int error)
{
	if (s->error == 0)
		s->error = error;
	return false;
}

/* On a terminal, lines and tabs only: a model may have learned escape sequences. */
static void put_safely(const char *text, size_t n)
{
	char piece[2] = "";
	size_t at = 0;

	while (at < n) {
		size_t run = 0;
		char *copy;

		while (at + run < n && text[at + run] != '\n' && text[at + run] != '\t' &&
			text[at + run] != '\0')
			run++;
		copy = strndup(text + at, run);
		if (copy != NULL)
			cli_put_text(stdout, copy);
		free(copy);
		at += run;
		if (at < n) {
			piece[0] = text[at++];
			fputs(piece, stdout);
		}
	}
}

/* Lets the text out up to end. */
static bool put(text_stream *s, size_t end)
{
	const char *text = s->text + s->written;
	size_t n = end - s->written;

	s->written = end;
	if (s->silent || n == 0)
		return true;
	if (s->terminal)
		put_safely(text, n);
	else
		fwrite(text, 1, n, stdout);
	errno = 0;
	return fflush(stdout) == 0 && !ferror(stdout) ? true : fail(s, errno != 0 ? errno : EIO);
}

/* Where the first stop text begins, from place at on; n if there is none. */
static size_t find_stop(const text_stream *s, size_t at)
{
	size_t first = s->n;

	for (size_t i = 0; i < s->n_stops; i++) {
		const char *found = memmem(s->text + at, s->n - at, s->stops[i], strlen(s->stops[i]));

		if (found != NULL && (size_t)(found - s->text) < first)
			first = (size_t)(found - s->text);
	}
	return first;
}

/* Bytes at the end of the text that may become a stop text. */
static size_t kept_back(const text_stream *s)
{
	size_t most = 0;

	for (size_t i = 0; i < s->n_stops; i++) {
		size_t n = strlen(s->stops[i]) - 1;

		if (n > s->n - s->written)
			n = s->n - s->written;
		while (n > most && memcmp(s->text + s->n - n, s->stops[i], n) != 0)
			n--;
		if (n > most)
			most = n;
	}
	return most;
}

static bool keep(text_stream *s, uint32_t id, const char *text, size_t n)
{
	if (s->capacity - s->n < n + 1) {
		size_t capacity = 2 * s->capacity + n + 1;
		char *grown = realloc(s->text, capacity);

		if (grown == NULL)
			return fail(s, ENOMEM);
		s->text = grown;
		s->capacity = capacity;
	}
	memcpy(s->text + s->n, text, n);
	s->n += n;
	s->text[s->n] = '\0';
	if (id == AQZ_NO_TOKEN)
		return true;
	if (s->n_ids == s->ids_capacity) {
		size_t capacity = 2 * s->ids_capacity + 64;
		uint32_t *grown = realloc(s->ids, capacity * sizeof *grown);

		if (grown == NULL)
			return fail(s, ENOMEM);
		s->ids = grown;
		s->ids_capacity = capacity;
	}
	s->ids[s->n_ids++] = id;
	return true;
}

bool text_stream_token(void *user, uint32_t id, const char *text, size_t n_bytes)
{
	text_stream *s = user;
	size_t stop;

	if (cli_interrupted() || !keep(s, id, text, n_bytes))
		return false;
	/* No stop text begins in what was written, for that was not kept back. */
	stop = find_stop(s, s->written);
	if (stop < s->n) {
		s->stopped = true;
		s->n = stop;
		s->text[stop] = '\0';
		put(s, stop);
		return false;
	}
	return put(s, s->n - kept_back(s));
}

void text_stream_finish(text_stream *s)
{
	bool ended = s->n == 0 || s->text[s->n - 1] == '\n';

	if (s->error != 0)
		return;
	if (!put(s, s->n) || s->silent || ended)
		return;
	errno = 0;
	if (putchar('\n') == EOF || fflush(stdout) != 0)
		fail(s, errno != 0 ? errno : EIO);
}

void text_stream_free(text_stream *s)
{
	free(s->text);
	free(s->ids);
}
