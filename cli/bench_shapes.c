/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: the shapes of linear layers in models that people know. */
#include <string.h>

#include "cli/bench.h"

static const bench_shape known[] = {
	{"llama-2-7b", "q, k, v, o", 4096, 4096},
	{"llama-2-7b", "gate, up", 11008, 4096},
	{"llama-2-7b", "down", 4096, 11008},
	{"llama-2-70b", "q, o", 8192, 8192},
	{"llama-2-70b", "k, v", 1024, 8192},
	{"llama-2-70b", "gate, up", 28672, 8192},
	{"llama-2-70b", "down", 8192, 28672},
	{"llama-3-8b", "q, o", 4096, 4096},
	{"llama-3-8b", "k, v", 1024, 4096},
	{"llama-3-8b", "q+k+v", 6144, 4096},
	{"llama-3-8b", "gate, up", 14336, 4096},
	{"llama-3-8b", "gate+up", 28672, 4096},
	{"llama-3-8b", "down", 4096, 14336},
};
#define N_KNOWN (sizeof known / sizeof *known)

bool bench_parse_size(uint64_t *rows, uint64_t *cols, const char *text, size_t n_bytes)
{
	char copy[32];
	char *x;

	if (n_bytes >= sizeof copy)
		return false;
	memcpy(copy, text, n_bytes);
	copy[n_bytes] = '\0';
	x = strchr(copy, 'x');
	if (x == NULL)
		return false;
	*x = '\0';
	return cli_parse_number(rows, copy) && cli_parse_number(cols, x + 1) && *rows > 0 &&
		*cols > 0 && *rows <= 1 << 20 && *cols <= 1 << 20 && *rows * *cols <= 1 << 30;
}

/* Adds what a name or size stands for; false if it is neither or there are too many. */
static bool add(bench_shapes *shapes, const char *text, size_t n_bytes)
{
	const unsigned before = shapes->n;
	bench_shape s = {NULL, NULL, 0, 0};

	if (bench_parse_size(&s.rows, &s.cols, text, n_bytes)) {
		if (shapes->n == BENCH_MAX_SHAPES)
			return false;
		shapes->list[shapes->n++] = s;
		return true;
	}
	for (size_t i = 0; i < N_KNOWN; i++)
		if (strncmp(known[i].model, text, n_bytes) == 0 && known[i].model[n_bytes] == '\0') {
			if (shapes->n == BENCH_MAX_SHAPES)
				return false;
			shapes->list[shapes->n++] = known[i];
		}
	return shapes->n > before;
}

void bench_parse_shapes(bench_shapes *shapes, cli_parser *p, const char *text)
{
	shapes->n = 0;
	for (;;) {
		const size_t n = strcspn(text, ",");

		if (!add(shapes, text, n)) {
			cli_usage(p,
				"--%s: '%.*s' is not possible; possible values: llama-2-7b, llama-2-70b, "
				"llama-3-8b, or ROWSxCOLS with at most 2^30 weights, at most %d shapes",
				p->name, (int)(n < 64 ? n : 64), text, BENCH_MAX_SHAPES);
			return;
		}
		if (text[n] == '\0')
			return;
		text += n + 1;
	}
}
