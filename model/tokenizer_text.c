/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 in texts that need not be UTF-8, and two classes of characters. */
#include <utf8proc.h>

#include "model/tokenizer.h"

size_t aqz_utf8_valid(const char *text, size_t n)
{
	size_t i = 0;

	for (;;) {
		unsigned bytes;

		while (n - i >= 8 && (aqz_get64(text + i) & UINT64_C(0x8080808080808080)) == 0)
			i += 8;
		if (i == n)
			return n;
		bytes = aqz_utf8_bytes(text + i, n - i);
		if (bytes == 0)
			return i;
		i += bytes;
	}
}

size_t aqz_utf8_invalid(const char *text, size_t n)
{
	size_t i = 0;

	while (i < n && aqz_utf8_bytes(text + i, n - i) == 0)
		i++;
	return i;
}

bool aqz_is_space(uint32_t code)
{
	return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 ||
		code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
		code == 0x202f || code == 0x205f || code == 0x3000;
}

bool aqz_is_word(uint32_t code)
{
	switch (utf8proc_category((utf8proc_int32_t)code)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC:
		return true;
	default:
		/* Letters in circles and squares are alphabetic; joiners count as well. */
		return code == 0x200c || code == 0x200d || (code >= 0x24b6 && code <= 0x24e9) ||
			(code >= 0x1f130 && code <= 0x1f149) || (code >= 0x1f150 && code <= 0x1f169) ||
			(code >= 0x1f170 && code <= 0x1f189);
	}
}
