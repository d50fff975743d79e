/* SPDX-License-Identifier: Apache-2.0 */
/* Status names and the filling of aqz_error. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/base.h"

const char *aqz_version(void)
{
	return AQZ_VERSION;
}

const char *aqz_status_name(aqz_status status)
{
	static const char *const names[] = {
		[AQZ_OK] = "AQZ_OK",
		[AQZ_E_ARGUMENT] = "AQZ_E_ARGUMENT",
		[AQZ_E_NOMEM] = "AQZ_E_NOMEM",
		[AQZ_E_MEMLIMIT] = "AQZ_E_MEMLIMIT",
		[AQZ_E_IO] = "AQZ_E_IO",
		[AQZ_E_SPACE] = "AQZ_E_SPACE",
		[AQZ_E_NOT_FOUND] = "AQZ_E_NOT_FOUND",
		[AQZ_E_CANCELLED] = "AQZ_E_CANCELLED",
		[AQZ_E_FORMAT] = "AQZ_E_FORMAT",
		[AQZ_E_UNSUPPORTED] = "AQZ_E_UNSUPPORTED",
		[AQZ_E_TRUNCATED] = "AQZ_E_TRUNCATED",
		[AQZ_E_CORRUPT] = "AQZ_E_CORRUPT",
		[AQZ_E_CHECKSUM] = "AQZ_E_CHECKSUM",
		[AQZ_E_GPU] = "AQZ_E_GPU",
	};
	const unsigned i = (unsigned)status;

	return i < sizeof names / sizeof *names ? names[i] : "AQZ_E_?";
}

/* Texts quote names out of files: a control byte would break the one line, or drive the user's
 * terminal. A character that the end of the field has cut is dropped whole. */
static void make_printable(char *text)
{
	size_t n = strlen(text), lead = n;

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	while (lead > 0 && n - lead < 3 && ((unsigned char)text[lead - 1] & 0xc0) == 0x80)
		lead--;
	if (lead > 0 && (unsigned char)text[lead - 1] >= 0xc0) {
		const unsigned char c = (unsigned char)text[lead - 1];
		const size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

		if (n - (lead - 1) < length)
			text[lead - 1] = '\0';
	}
}

aqz_status aqz_fail(
	aqz_error *err, aqz_status status, uint64_t offset, const char *where, const char *text, ...)
{
	va_list args;

	if (err == NULL)
		return status;
	err->status = status;
	err->offset = offset;
	snprintf(err->where, sizeof err->where, "%s", where != NULL ? where : "");
	make_printable(err->where);
	va_start(args, text);
	vsnprintf(err->text, sizeof err->text, text, args);
	va_end(args);
	make_printable(err->text);
	return status;
}

aqz_status aqz_fail_nomem(aqz_error *err, uint64_t n_bytes)
{
	return aqz_fail(
		err, AQZ_E_NOMEM, AQZ_NO_OFFSET, NULL, "out of memory (%" PRIu64 " bytes)", n_bytes);
}
