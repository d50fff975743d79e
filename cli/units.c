/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, times and shapes as people write and read them, and how much memory is free. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

bool cli_parse_number(uint64_t *out, const char *text)
{
	uint64_t value = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*out = value;
	return true;
}

bool cli_parse_bytes(uint64_t *out, const char *text)
{
	static const char letters[] = "KMGT";
	char digits[32];
	size_t n = strspn(text, "0123456789.");
	const char *unit = text + n, *letter;
	unsigned shift = 0;
	uint64_t whole;

	if (n == 0 || n >= sizeof digits)
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (*unit != '\0' && *unit != 'B') {
		letter = strchr(letters, *unit >= 'a' && *unit <= 'z' ? *unit - 'a' + 'A' : *unit);
		if (letter == NULL)
			return false;
		shift = 10 * (unsigned)(letter - letters + 1);
		unit++;
		if (*unit == 'i')
			unit++;
	}
	if (*unit == 'B' || *unit == 'b')
		unit++;
	if (*unit != '\0')
		return false;
	if (cli_parse_number(&whole, digits)) {
		*out = whole << shift;
		return *out >> shift == whole;
	}
	/* A fraction: at most 2^53 are kept exactly, which is more than any machine has. */
	char *end;
	double value = strtod(digits, &end) * (double)(UINT64_C(1) << shift);
	if (*end != '\0' || !(value >= 0 && value < 9e15))
		return false;
	*out = (uint64_t)value;
	return true;
}

const char *cli_format_bytes(char text[CLI_SIZE_TEXT], uint64_t n)
{
	static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)n / 1024;
	size_t i = 0;

	if (n < 1024) {
		snprintf(text, CLI_SIZE_TEXT, "%u B", (unsigned)n);
		return text;
	}
	while (value >= 1024 && i + 1 < sizeof names / sizeof *names) {
		value /= 1024;
		i++;
	}
	snprintf(text, CLI_SIZE_TEXT, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, names[i]);
	return text;
}

const char *cli_format_seconds(char text[CLI_SIZE_TEXT], double seconds)
{
	unsigned long s = seconds > 0 && seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 0;

	if (s >= 3600)
		snprintf(text, CLI_SIZE_TEXT, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, CLI_SIZE_TEXT, "%lu:%02lu", s / 60, s % 60);
	return text;
}

const char *cli_format_shape(char text[CLI_SHAPE_TEXT], const uint64_t *shape, uint32_t rank)
{
	size_t n = 1;

	text[0] = '[';
	/* 8 dimensions of at most 20 digits and 2 separators stay below the buffer's size. */
	for (uint32_t i = 0; i < rank && i < AQZ_MAX_RANK; i++)
		n += (size_t)snprintf(
			text + n, CLI_SHAPE_TEXT - n, "%s%" PRIu64, i == 0 ? "" : ", ", shape[i]);
	snprintf(text + n, CLI_SHAPE_TEXT - n, "]");
	return text;
}

static bool number_in_file(uint64_t *out, const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	char line[256];
	bool found = false;

	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof line, f) != NULL) {
		char *number = line + strlen(key);

		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		number += strspn(number, " ");
		number[strspn(number, "0123456789")] = '\0';
		found = cli_parse_number(out, number);
	}
	fclose(f);
	return found;
}

uint64_t cli_free_memory(void)
{
	uint64_t bytes, limit, used;

	if (number_in_file(&bytes, "/proc/meminfo", "MemAvailable:") && bytes < UINT64_MAX / 1024) {
		bytes *= 1024;
	} else {
		long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);

		if (pages <= 0 || size <= 0)
			return UINT64_MAX;
		bytes = (uint64_t)pages * (uint64_t)size;
	}
	/* A container's own limit, where there is one. */
	if (number_in_file(&limit, "/sys/fs/cgroup/memory.max", "") &&
		number_in_file(&used, "/sys/fs/cgroup/memory.current", "") && limit > used &&
		limit - used < bytes)
		bytes = limit - used;
	return bytes;
}

double cli_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *cli_raw_reason(aqz_raw_reason reason)
{
	switch (reason) {
	case AQZ_RAW_ASKED:
		return "";
	case AQZ_RAW_NOT_SMALLER:
		return "not smaller";
	case AQZ_RAW_NON_FINITE:
		return "not finite";
	case AQZ_RAW_DTYPE:
		return "dtype";
	case AQZ_RAW_SHAPE:
		return "not a matrix";
	}
	return "unknown reason";
}
