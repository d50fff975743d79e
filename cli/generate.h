/* SPDX-License-Identifier: Apache-2.0 */
/* generate: the text that comes out, on its way to standard output. */
#ifndef AQZ_CLI_GENERATE_H
#define AQZ_CLI_GENERATE_H

#include "cli/model_input.h"

/* Text goes out as it comes, but for what may be the beginning of a stop text. */
typedef struct text_stream {
	const char *const *stops; /* texts that end the answer and do not belong to it */
	size_t n_stops;
	bool silent;              /* only kept, for --json */
	bool terminal;            /* control characters are shown, not obeyed */
	char *text;               /* all that came; ends in NUL */
	size_t n, capacity, written;
	uint32_t *ids;
	size_t n_ids, ids_capacity;
	bool stopped;             /* by a stop text, which n is cut before */
	int error;                /* errno of standard output, ENOMEM */
} text_stream;

/* An aqz_generate_options.token; user is the stream. */
bool text_stream_token(void *user, uint32_t id, const char *text, size_t n_bytes);
/* Writes what was kept back, and ends the line. */
void text_stream_finish(text_stream *s);
void text_stream_free(text_stream *s);

#endif
