/* SPDX-License-Identifier: Apache-2.0 */
/* The heap, counted. What shared libraries allocate and our objects free, or the other way round,
 * is not counted: each block is remembered with its size. */
#include "tests/heap.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
int __real_posix_memalign(void **p, size_t alignment, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
int __wrap_posix_memalign(void **p, size_t alignment, size_t n);
void __wrap_free(void *p);

typedef struct block {
	struct block *next;
	void *p;
	size_t n;
} block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *blocks[1 << 12];
static size_t now, peak;
static uint64_t calls, fail_number;

size_t heap_now(void)
{
	return now;
}

size_t heap_peak(void)
{
	return peak;
}

uint64_t heap_calls(void)
{
	return calls;
}

void heap_reset(uint64_t fail_at)
{
	peak = now;
	calls = 0;
	fail_number = fail_at;
}

static block **bucket(const void *p)
{
	return &blocks[((uintptr_t)p >> 4) % (sizeof blocks / sizeof *blocks)];
}

static void *counted(void *p, size_t n)
{
	block *b = p == NULL ? NULL : __real_malloc(sizeof *b);

	if (b == NULL)
		return p;
	pthread_mutex_lock(&lock);
	*b = (block){*bucket(p), p, n};
	*bucket(p) = b;
	now += n;
	peak = now > peak ? now : peak;
	pthread_mutex_unlock(&lock);
	return p;
}

static void uncount(void *p)
{
	block *gone = NULL;

	pthread_mutex_lock(&lock);
	for (block **b = bucket(p); *b != NULL; b = &(*b)->next)
		if ((*b)->p == p) {
			gone = *b;
			*b = gone->next;
			now -= gone->n;
			break;
		}
	pthread_mutex_unlock(&lock);
	__real_free(gone);
}

static bool fails(void)
{
	bool now_it_does;

	pthread_mutex_lock(&lock);
	now_it_does = ++calls == fail_number;
	pthread_mutex_unlock(&lock);
	return now_it_does;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : counted(__real_malloc(n), n);
}

void *__wrap_calloc(size_t count, size_t n)
{
	void *p;

	if (fails() || (n != 0 && count > SIZE_MAX / n))
		return NULL;
	p = __real_malloc(count * n);
	if (p != NULL)
		memset(p, 0, count * n);
	return counted(p, count * n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
	return fails() ? NULL : counted(__real_aligned_alloc(alignment, n), n);
}

/* The tests' own; the library has no use for it. */
int __wrap_posix_memalign(void **p, size_t alignment, size_t n)
{
	const int rc = __real_posix_memalign(p, alignment, n);

	if (rc == 0)
		counted(*p, n);
	return rc;
}

void *__wrap_realloc(void *p, size_t n)
{
	void *moved;

	if (fails())
		return NULL;
	moved = __real_malloc(n > 0 ? n : 1); /* by a copy, so that a stale pointer is always seen */
	if (moved == NULL)
		return NULL;
	if (p != NULL) {
		size_t old = 0;

		pthread_mutex_lock(&lock);
		for (const block *b = *bucket(p); b != NULL; b = b->next)
			if (b->p == p)
				old = b->n;
		pthread_mutex_unlock(&lock);
		if (old == 0) { /* of a library: its size is not known here */
			__real_free(moved);
			return __real_realloc(p, n);
		}
		memcpy(moved, p, old < n ? old : n);
		uncount(p);
		__real_free(p);
	}
	return counted(moved, n);
}

void __wrap_free(void *p)
{
	if (p != NULL)
		uncount(p);
	__real_free(p);
}
