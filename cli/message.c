/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the tool: one line each, on standard error, safe to show on a terminal whatever a
 * file's names hold. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"

/* Length of the UTF-8 sequence at s and its code point; 0 if it is none. s ends in NUL, which is no
 * continuation byte, so nothing after it is read. */
static size_t utf8(const char *s, uint32_t *point)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n = u[0] < 0x80			  ? 1
		: u[0] >= 0xC2 && u[0] < 0xE0 ? 2
		: (u[0] & 0xF0) == 0xE0		  ? 3
		: u[0] >= 0xF0 && u[0] < 0xF5 ? 4
									  : 0;
	static const unsigned char mask[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};

	if (n == 0)
		return 0;
	*point = u[0] & mask[n];
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xC0) != 0x80)
			return 0;
		*point = *point << 6 | (u[i] & 0x3F);
	}
	if ((n == 3 && (*point < 0x800 || (*point >= 0xD800 && *point < 0xE000))) ||
		(n == 4 && (*point < 0x10000 || *point > 0x10FFFF)))
		return 0;
	return n;
}

/* Characters that move the cursor, change colours or turn the direction of a line around. */
static bool dangerous(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || (c >= 0x200B && c <= 0x200F) ||
		(c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

/* Shows one character of *text in piece (at most 15 bytes) and steps over it. Returns its columns.
 */
static size_t next_piece(char piece[16], const char **text)
{
	uint32_t point = 0;
	size_t n = utf8(*text, &point);

	if (n != 0 && !dangerous(point)) {
		memcpy(piece, *text, n);
		piece[n] = '\0';
		*text += n;
		return 1;
	}
	if (n == 0) {
		snprintf(piece, 16, "\\x%02x", (unsigned)(unsigned char)**text);
		n = 1;
	} else if (point == '\n' || point == '\t' || point == '\r') {
		snprintf(piece, 16, "\\%c", point == '\n' ? 'n' : point == '\t' ? 't' : 'r');
	} else {
		snprintf(piece, 16, point < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)point);
	}
	*text += n;
	return strlen(piece);
}

size_t cli_put_text(FILE *f, const char *text)
{
	size_t columns = 0;
	char piece[16];

	while (*text != '\0') {
		columns += next_piece(piece, &text);
		fputs(piece, f);
	}
	return columns;
}

size_t cli_escape(char *dst, size_t dst_bytes, const char *text)
{
	size_t columns = 0, used = 0;
	char piece[16];

	while (*text != '\0') {
		size_t width = next_piece(piece, &text), n = strlen(piece);

		if (n >= dst_bytes - used)
			break;
		memcpy(dst + used, piece, n);
		used += n;
		columns += width;
	}
	dst[used] = '\0';
	return columns;
}

static void vsay(
	const char *kind, const char *file, const char *where, const char *text, va_list args)
{
	char line[1024];

	vsnprintf(line, sizeof line, text, args);
	flockfile(stderr);
	fputs("aqlmzip: ", stderr);
	fputs(kind, stderr);
	if (file != NULL && *file != '\0') {
		cli_put_text(stderr, file);
		fputs(": ", stderr);
	}
	if (where != NULL && *where != '\0') {
		cli_put_text(stderr, where);
		fputs(": ", stderr);
	}
	cli_put_text(stderr, line);
	fputc('\n', stderr);
	funlockfile(stderr);
}

static void say(const char *kind, const char *file, const char *where, const char *text, ...)
	CLI_PRINTF(4, 5);

static void say(const char *kind, const char *file, const char *where, const char *text, ...)
{
	va_list args;

	va_start(args, text);
	vsay(kind, file, where, text, args);
	va_end(args);
}

int cli_error(const char *file, const char *text, ...)
{
	va_list args;

	va_start(args, text);
	vsay("", file, NULL, text, args);
	va_end(args);
	return CLI_ERROR;
}

void cli_warn(const char *file, const char *text, ...)
{
	va_list args;

	va_start(args, text);
	vsay("warning: ", file, NULL, text, args);
	va_end(args);
}

void cli_hint(const char *text, ...)
{
	va_list args;

	va_start(args, text);
	vsay("hint: ", NULL, NULL, text, args);
	va_end(args);
}

int cli_error_errno(const char *file, int error)
{
	return cli_error(file, "%s", strerror(error));
}

int cli_error_nomem(void)
{
	return cli_error(NULL, "out of memory");
}

int cli_error_status(const char *file, aqz_status status, const aqz_error *err)
{
	const char *text =
		err->status != AQZ_OK && err->text[0] != '\0' ? err->text : aqz_status_name(status);

	if (status == AQZ_E_CANCELLED && cli_interrupted()) {
		say("", file, NULL, "stopped by a signal; nothing was left behind");
		return CLI_ERROR;
	}
	if (err->status != AQZ_OK && err->offset != AQZ_NO_OFFSET)
		say("", file, err->where, "%s (at byte %llu)", text, (unsigned long long)err->offset);
	else
		say("", file, err->status != AQZ_OK ? err->where : NULL, "%s", text);
	if (status == AQZ_E_MEMLIMIT)
		cli_hint("--memory SIZE raises the limit");
	return CLI_ERROR;
}

aqz_status cli_fail(aqz_error *err, aqz_status status, const char *where, const char *text, ...)
{
	va_list args;

	if (err == NULL)
		return status;
	memset(err, 0, sizeof *err);
	err->status = status;
	err->offset = AQZ_NO_OFFSET;
	cli_escape(err->where, sizeof err->where, where != NULL ? where : "");
	va_start(args, text);
	vsnprintf(err->text, sizeof err->text, text, args);
	va_end(args);
	return status;
}

aqz_status cli_fail_errno(aqz_error *err, const char *where, int error)
{
	aqz_status status = error == ENOSPC || error == EDQUOT || error == EFBIG ? AQZ_E_SPACE
		: error == ENOMEM													 ? AQZ_E_NOMEM
																			 : AQZ_E_IO;

	return cli_fail(err, status, where, "%s", strerror(error));
}
