/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a stream of bytes between characters of UTF-8 (Unicode 15, table 3-7). */
#include "model/utf8_stream.h"

/* Bytes of the character that begins with this one; 0 if none does. */
static size_t length_of(uint8_t c)
{
	return c < 0x80				? 1
		: c >= 0xC2 && c < 0xE0 ? 2
		: c >= 0xE0 && c < 0xF0 ? 3
		: c >= 0xF0 && c < 0xF5 ? 4
								: 0;
}

/* True if the byte at place i can stand there in a character that begins with lead. The second byte is narrower than
 * the others: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool can_follow(uint8_t lead, size_t i, uint8_t c)
{
	uint8_t least = 0x80, most = 0xBF;

	if (i == 1) {
		least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
		most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
	}
	return c >= least && c <= most;
}

/* Bytes at the end of p[0, n) that begin a character and lack the rest of it. */
static size_t unfinished(const uint8_t *p, size_t n)
{
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		const uint8_t *lead = p + n - back;
		size_t i = 1;

		if ((*lead & 0xC0) == 0x80)
			continue;
		while (i < back && can_follow(*lead, i, lead[i]))
			i++;
		return i == back && length_of(*lead) > back ? back : 0;
	}
	return 0;
}

aqz_status aqz_utf8_stream_add(aqz_utf8_stream *s, const char *bytes, size_t n, const char **out,
	size_t *n_out, aqz_error *err)
{
	aqz_status status;

	/* At most 3 bytes are left. */
	if (s->given > 0) {
		memmove(s->buffer.data, s->buffer.data + s->given, s->buffer.n - s->given);
		s->buffer.n -= s->given;
		s->given = 0;
	}
	*out = "";
	*n_out = 0;
	if (n == 0)
		return AQZ_OK;
	status = aqz_buffer_add(&s->buffer, bytes, n, err);
	if (status != AQZ_OK)
		return status;
	s->given = s->buffer.n - unfinished(s->buffer.data, s->buffer.n);
	*out = (const char *)s->buffer.data;
	*n_out = s->given;
	return AQZ_OK;
}

void aqz_utf8_stream_end(aqz_utf8_stream *s, const char **out, size_t *n_out)
{
	*n_out = s->buffer.n - s->given;
	*out = *n_out > 0 ? (const char *)s->buffer.data + s->given : "";
	s->given = s->buffer.n;
}

void aqz_utf8_stream_free(aqz_utf8_stream *s)
{
	aqz_buffer_free(&s->buffer);
	s->given = 0;
}
