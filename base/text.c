/* SPDX-License-Identifier: Apache-2.0 */
/* The rule for names in files, spec 1.5: UTF-8 without control characters (Unicode category Cc). */
#include "base/base.h"

bool aqz_text_ok(const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + n;

	while (p < end) {
		const unsigned char lead = *p++;
		uint32_t value, least;
		unsigned more;

		if (lead < 0x80) {
			if (lead < 0x20 || lead == 0x7f)
				return false;
			continue;
		}
		if (lead >= 0xc2 && lead <= 0xdf) {
			more = 1;
			value = lead & 0x1f;
			least = 0xa0; /* U+0080..U+009F are controls */
		} else if (lead >= 0xe0 && lead <= 0xef) {
			more = 2;
			value = lead & 0x0f;
			least = 0x800;
		} else if (lead >= 0xf0 && lead <= 0xf4) {
			more = 3;
			value = lead & 0x07;
			least = 0x10000;
		} else {
			return false;
		}
		if ((size_t)(end - p) < more)
			return false;
		for (; more > 0; more--, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
			value = value << 6 | (*p & 0x3f);
		}
		if (value < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
			return false;
	}
	return true;
}
