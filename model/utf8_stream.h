/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in, whole UTF-8 characters out. */
#ifndef AQZ_MODEL_UTF8_STREAM_H
#define AQZ_MODEL_UTF8_STREAM_H

#include "base/base.h"

/* Zeroed at first. */
typedef struct aqz_utf8_stream {
	aqz_buffer buffer;
	size_t given; /* bytes at the front that were handed out */
} aqz_utf8_stream;

/* Takes n bytes; *out, valid until the next call, has what now is whole: characters, and bytes that cannot become one.
 * An unfinished character at the end, of at most 3 bytes, is kept back. NOMEM. */
aqz_status aqz_utf8_stream_add(aqz_utf8_stream *s, const char *bytes, size_t n, const char **out, size_t *n_out,
	aqz_error *err);
/* What is still kept back. */
void aqz_utf8_stream_end(aqz_utf8_stream *s, const char **out, size_t *n_out);
void aqz_utf8_stream_free(aqz_utf8_stream *s);

#endif
