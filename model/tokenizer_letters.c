/* SPDX-License-Identifier: Apache-2.0 */
/* How files write bytes in vocabularies: byte-level ones each byte as one character, the printable ones of Latin-1 as
 * themselves and the 68 others, in order, from U+0100 on; those with byte fallback a byte as "<0x0A>". */
#include "model/tokenizer.h"

enum {
	N_LOW = 0x21, /* 0 .. 0x20 */
	MIDDLE = 0x7f,
	N_MIDDLE = 0x22, /* 0x7f .. 0xa0 */
	SOFT_HYPHEN = 0xad
};

size_t aqz_letters_write(char *dst, const char *bytes, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t code = (unsigned char)bytes[i];

		if (code < N_LOW)
			code += 0x100;
		else if (code >= MIDDLE && code < MIDDLE + N_MIDDLE)
			code = code - MIDDLE + 0x100 + N_LOW;
		else if (code == SOFT_HYPHEN)
			code = 0x100 + N_LOW + N_MIDDLE;
		if (code < 0x80) {
			dst[at++] = (char)code;
		} else {
			dst[at++] = (char)(0xc0 | code >> 6);
			dst[at++] = (char)(0x80 | (code & 0x3f));
		}
	}
	return at;
}

bool aqz_letters_read(char *dst, size_t *n_dst, const char *text, size_t n)
{
	size_t at = 0, i = 0;

	while (i < n) {
		const unsigned bytes = aqz_utf8_bytes(text + i, n - i);
		uint32_t code;

		if (bytes == 0 || bytes > 2)
			return false;
		code = aqz_utf8_code(text + i, bytes);
		if (code < N_LOW || (code >= MIDDLE && code < MIDDLE + N_MIDDLE) || code == SOFT_HYPHEN)
			return false;
		if (code >= 0x100 && code < 0x100 + N_LOW)
			code -= 0x100;
		else if (code >= 0x100 + N_LOW && code < 0x100 + N_LOW + N_MIDDLE)
			code = code - 0x100 - N_LOW + MIDDLE;
		else if (code == 0x100 + N_LOW + N_MIDDLE)
			code = SOFT_HYPHEN;
		else if (code >= 0x100)
			return false;
		dst[at++] = (char)code;
		i += bytes;
	}
	*n_dst = at;
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int aqz_byte_token(const char *text, size_t n)
{
	int high, low;

	if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
		return -1;
	high = hex_digit(text[3]);
	low = hex_digit(text[4]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}
