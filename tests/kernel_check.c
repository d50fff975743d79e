/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, comparisons, digests and times for test_kernel_variants. */
#include "tests/kernel_check.h"

#include <math.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/kernel_run.h"

enum {
	CANARY = 0xa5,
	MOST_PRINTED = 10,
	MOST_DIGESTS = 64,
	MOST_VARIANTS = 16,
	MOST_TIMED = 128,
	ROUNDS = 7
};

/* The program has one run. */
static struct {
	const char *family, *kernel, *variant;
	const char *variants[MOST_VARIANTS];
	unsigned n_variants, n_calls, n_failures;
	struct {
		char kernel[40];
		const char *variant;
		uint64_t value;
	} digests[MOST_DIGESTS];
	unsigned n_digests;
	struct {
		char kernel[40];
		double seconds; /* of a call of the first variant */
	} timed[MOST_TIMED];
	unsigned n_timed;
} run = {.family = "", .kernel = "", .variant = ""};

/* ---- Memory */

area area_alloc(size_t n, size_t alignment, place where)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	area a = {.n_bytes = n, .room_bytes = (n + 2 * alignment + page) / page * page};
	uint8_t *map = mmap(
		NULL, a.room_bytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	SURE(map != MAP_FAILED);
	SURE(mprotect(map, page, PROT_NONE) == 0 &&
		mprotect(map + page + a.room_bytes, page, PROT_NONE) == 0);
	a.room = map + page;
	if (where == AT_END)
		a.data = a.room + (a.room_bytes - n) / alignment * alignment;
	else
		a.data = a.room + (where == ODD ? alignment : 0);
	memset(a.room, CANARY, a.room_bytes);
	memset(a.data, 0xff, n);
	return a;
}

area area_input(const void *data, size_t n, size_t alignment, place where)
{
	area a = area_alloc(n, alignment, where);

	if (n > 0)
		memcpy(a.data, data, n);
	SURE(mprotect(a.room, a.room_bytes, PROT_READ) == 0);
	return a;
}

bool area_whole(const area *a)
{
	const uint8_t *data = a->data;

	for (const uint8_t *p = a->room; p < a->room + a->room_bytes; p++)
		if (*p != CANARY && (p < data || p >= data + a->n_bytes))
			return false;
	return true;
}

void area_free(area *a)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	SURE(munmap(a->room - page, a->room_bytes + 2 * page) == 0);
	*a = (area){0};
}

/* ---- Checks */

void kernel_now(const char *kernel, const char *variant)
{
	unsigned i = 0;

	run.kernel = kernel;
	run.variant = variant;
	run.n_calls++;
	while (i < run.n_variants && strcmp(run.variants[i], variant) != 0)
		i++;
	if (i == run.n_variants) {
		SURE(run.n_variants < MOST_VARIANTS);
		run.variants[run.n_variants++] = variant;
	}
}

void kernel_fails(const char *text, ...)
{
	va_list list;

	if (run.n_failures++ >= MOST_PRINTED)
		return;
	fprintf(stderr, "%s, %s, %s: ", run.family, run.kernel, run.variant);
	va_start(list, text);
	vfprintf(stderr, text, list);
	va_end(list);
	fputc('\n', stderr);
}

void kernel_same_floats(const float *got, const float *due, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&got[i], &due[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(due[i]))) {
			kernel_fails("[%zu of %zu] is %a, not %a", i, n, (double)got[i], (double)due[i]);
			return;
		}
}

void kernel_same_bytes(const void *got, const void *due, size_t n)
{
	const uint8_t *g = got, *d = due;

	if (n == 0 || memcmp(g, d, n) == 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (g[i] != d[i]) {
			kernel_fails("byte %zu of %zu is 0x%02x, not 0x%02x", i, n, g[i], d[i]);
			return;
		}
}

void kernel_whole(const area *a)
{
	KERNEL_CHECK(area_whole(a), "it wrote outside of its output");
}

void kernel_digest(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	unsigned i = 0;
	uint64_t v;

	while (i < run.n_digests && strcmp(run.digests[i].kernel, run.kernel) != 0)
		i++;
	if (i == run.n_digests) {
		SURE(run.n_digests < MOST_DIGESTS && strlen(run.kernel) < sizeof run.digests[i].kernel);
		strcpy(run.digests[i].kernel, run.kernel);
		run.digests[i].variant = run.variant;
		run.digests[i].value = UINT64_C(0xcbf29ce484222325);
		run.n_digests++;
	}
	if (strcmp(run.digests[i].variant, run.variant) != 0)
		return;
	v = run.digests[i].value; /* FNV-1a */
	for (size_t k = 0; k < n; k++)
		v = (v ^ p[k]) * UINT64_C(0x100000001b3);
	run.digests[i].value = v;
}

void kernel_digest_floats(const float *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const float one = isnan(v[i]) ? 0x1.8p127f : v[i];

		kernel_digest(&one, sizeof one);
	}
}

const char *kernel_run_place(void)
{
	static char text[120];

	snprintf(text, sizeof text, "%s, %s, %s", run.family, run.kernel, run.variant);
	return text;
}

void kernel_run_begin(const char *family)
{
	run.family = family;
	run.kernel = run.variant = "";
	run.n_calls = run.n_digests = run.n_variants = run.n_timed = 0;
}

unsigned kernel_run_end(bool digests)
{
	FILE *totals = digests ? stderr : stdout;
	const unsigned failures = run.n_failures;

	for (unsigned i = 0; digests && i < run.n_digests; i++)
		printf("%s %s %016llx\n", run.family, run.digests[i].kernel,
			(unsigned long long)run.digests[i].value);
	fprintf(totals, "%-9s %7u calls, %u wrong:", run.family, run.n_calls, failures);
	for (unsigned i = 0; i < run.n_variants; i++)
		fprintf(totals, " %s", run.variants[i]);
	fputc('\n', totals);
	run.n_failures = 0;
	return failures;
}

/* ---- Values */

void fill_floats(float *v, size_t n, int kind, noise *r)
{
	static const float hard[] = {
		0.0f, -0.0f, 0x1p-149f, -0x1p-149f, 0x1p-126f, 1e38f, -1e38f, 1.0f, -1.0f, 3e-20f};

	for (size_t i = 0; i < n; i++) {
		const uint64_t u = noise_next(r);

		if (kind == VALUES_RANDOM)
			v[i] = (float)(int32_t)(u >> 32) * 0x1p-30f;
		else if (kind == VALUES_FEW)
			v[i] = (float)(u % 3) - 1;
		else
			v[i] = hard[u / 4 % (sizeof hard / sizeof *hard)];
	}
}

/* ---- Time */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

kernel_timer kernel_timer_open(const char *kernel, const char *variant, double n_units)
{
	kernel_now(kernel, variant);
	return (kernel_timer){.n_units = n_units, .best = INFINITY, .calls = 0, .rounds = -1};
}

/* Between runs: the first ones find how many calls take 2 ms. */
bool kernel_timer_next(kernel_timer *t)
{
	const double seconds = now() - t->start;
	unsigned i = 0;

	if (t->rounds < 0 && (t->calls == 0 || seconds < 2e-3))
		t->calls = t->calls == 0 ? 1 : 2 * t->calls;
	else
		t->rounds++;
	if (t->rounds > 0)
		t->best = fmin(t->best, seconds / (double)t->calls);
	if (t->rounds < ROUNDS) {
		t->left = t->calls - 1; /* this is one of them */
		t->start = now();
		return true;
	}
	while (i < run.n_timed && strcmp(run.timed[i].kernel, run.kernel) != 0)
		i++;
	if (i == run.n_timed) {
		SURE(run.n_timed < MOST_TIMED);
		snprintf(run.timed[i].kernel, sizeof run.timed[i].kernel, "%s", run.kernel);
		run.timed[i].seconds = t->best;
		run.n_timed++;
	}
	printf("%-9s %-28s %-12s %12.1f ns/call %9.4f ns each %7.2fx\n", run.family, run.kernel,
		run.variant, 1e9 * t->best, 1e9 * t->best / t->n_units, run.timed[i].seconds / t->best);
	fflush(stdout);
	return false;
}
