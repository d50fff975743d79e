/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant of every kernel that this machine runs, against the plainest one and the formulas of the headers: on
 * random and on worst-case data, in memory between pages that nobody may touch.
 *
 *	test_kernel_variants [FAMILY...]              checks
 *	test_kernel_variants --digests [FAMILY...]    checks, and prints digests of outputs that all machines share
 *	test_kernel_variants --time [FAMILY...]       times calls instead; `make bench-kernels` does */
#include <signal.h>
#include <unistd.h>

#include "tests/kernel_check.h"
#include "tests/kernel_run.h"

static const kernel_family *const families[] = {&family_encode, &family_path, &family_trellis,
	&family_additive, &family_product, &family_model, &family_rows};

/* A guard page was touched. Nothing goes on from here, so that calls that a handler should not make are made. */
static void stop(int number)
{
	fprintf(stderr, "%s: signal %d\n", kernel_run_place(), number);
	_exit(1);
}

static bool asked_for(const char *name, char **names)
{
	bool any = *names == NULL;

	for (; *names != NULL; names++)
		any |= strcmp(name, *names) == 0;
	return any;
}

int main(int argc, char **argv)
{
	const bool time = argc > 1 && strcmp(argv[1], "--time") == 0;
	const bool digests = argc > 1 && strcmp(argv[1], "--digests") == 0;
	unsigned n_failures = 0, n_run = 0;

	signal(SIGSEGV, stop);
	signal(SIGBUS, stop);
	signal(SIGILL, stop);
	for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
		noise r = {90210};

		if (!asked_for(families[i]->name, argv + 1 + (time || digests)))
			continue;
		n_run++;
		kernel_run_begin(families[i]->name);
		if (time) {
			families[i]->measure(&r);
			continue;
		}
		families[i]->check(&r);
		n_failures += kernel_run_end(digests);
	}
	if (n_run == 0)
		fprintf(stderr, "test_kernel_variants: no family of that name\n");
	return n_run == 0 || n_failures > 0;
}
