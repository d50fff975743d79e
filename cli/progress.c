/* SPDX-License-Identifier: Apache-2.0 */
/* The bar on a terminal: overall and for the item at work, each with the time that is left. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

void cli_progress_begin(cli_progress *p, bool quiet)
{
	memset(p, 0, sizeof *p);
	p->on = !quiet && isatty(STDERR_FILENO) == 1;
	p->start = p->item_start = cli_now();
}

void cli_progress_item(cli_progress *p, const char *name, uint64_t bytes, uint32_t n_items)
{
	cli_escape(p->label, sizeof p->label, name);
	p->item_begin = p->done;
	p->item_bytes = bytes;
	p->item_start = cli_now();
	p->item++;
	p->n_items = n_items;
}

/* Cuts a line of UTF-8 to columns; every character counts as one. */
static void cut(char *line, size_t columns)
{
	for (char *s = line; *s != '\0'; s++) {
		if (((unsigned char)*s & 0xC0) == 0x80)
			continue;
		if (columns-- == 0) {
			*s = '\0';
			return;
		}
	}
}

static double part(uint64_t done, uint64_t total)
{
	return total == 0 ? 0 : done >= total ? 1 : (double)done / (double)total;
}

static size_t add_eta(char *line, size_t n, size_t size, double fraction, double seconds)
{
	char text[CLI_SIZE_TEXT];

	/* The first instants say nothing about the rest. */
	if (fraction < 0.01 || seconds < 0.5)
		return n;
	return n +
		(size_t)snprintf(line + n, size - n, " ETA %s",
			cli_format_seconds(text, seconds * (1 - fraction) / fraction));
}

static void draw(cli_progress *p, uint64_t done, uint64_t total, double now)
{
	char line[640], text[CLI_SIZE_TEXT], bar[21];
	struct winsize size;
	size_t columns =
			   ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80,
		   n = 0;
	double fraction = part(done, total), item = part(done - p->item_begin, p->item_bytes);

	if (total != 0) {
		size_t filled = (size_t)(fraction * (sizeof bar - 1));

		memset(bar, ' ', sizeof bar - 1);
		memset(bar, '=', filled);
		bar[sizeof bar - 1] = '\0';
		n = (size_t)snprintf(line, sizeof line, "[%s] %3.0f %%", bar, 100 * fraction);
		n = add_eta(line, n, sizeof line, fraction, now - p->start);
	} else {
		n = (size_t)snprintf(line, sizeof line, "%s", cli_format_bytes(text, done));
	}
	if (p->n_items != 0)
		n += (size_t)snprintf(line + n, sizeof line - n, "  %u/%u", p->item, p->n_items);
	/* The name comes last: it is what a narrow terminal may cut. */
	if (p->item_bytes != 0) {
		n += (size_t)snprintf(line + n, sizeof line - n, " %3.0f %%", 100 * item);
		n = add_eta(line, n, sizeof line, item, now - p->item_start);
	}
	if (p->label[0] != '\0')
		snprintf(line + n, sizeof line - n, " %s", p->label);
	cut(line, columns - 1);
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
}

bool cli_progress_tick(void *user, uint64_t done, uint64_t total)
{
	cli_progress *p = user;

	if (cli_interrupted())
		return false;
	p->done = done;
	if (p->on) {
		double now = cli_now();

		if (now - p->drawn > 0.1) {
			p->drawn = now;
			draw(p, done, total, now);
		}
	}
	return true;
}

void cli_progress_clear(cli_progress *p)
{
	if (p->on && p->drawn != 0) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
		p->drawn = 0;
	}
}
