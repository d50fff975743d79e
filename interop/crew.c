/* SPDX-License-Identifier: Apache-2.0 */
/* Several trellis tensors at the same time. Members read one after the other, and tell the boss's thread how far they
 * are; nothing else is shared, so that the number of threads does not matter. */
#include "interop/crew.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#include "codec/encode/blas.h"

/* Tensors of fewer chunks than so many for each thread are done side by side. */
#define CHUNKS_A_THREAD 2

bool aqz_crew_has(const aqz_plan *plan, uint32_t entry)
{
	const aqz_plan_entry *e = &plan->entries[entry];
	const uint64_t n_threads = aqz_threads(plan->opt.n_threads);

	if (e->scheme.codec != AQZ_CODEC_TRELLIS || n_threads == 1)
		return false;
	return aqz_ceil_div(aqz_plan_layer(plan, entry).rows, aqz_trellis_chunk_rows(e->tensor)) <
		CHUNKS_A_THREAD * n_threads;
}

unsigned aqz_crew_size(uint64_t *memory_bytes, const aqz_plan *plan)
{
	const uint64_t limit = plan->opt.memlimit_bytes;
	uint64_t most = 0, n = 0, n_members = aqz_threads(plan->opt.n_threads);

	for (uint32_t i = 0; i < plan->n_entries; i++)
		if (aqz_crew_has(plan, i)) {
			n++;
			most = plan->entries[i].memory_bytes > most ? plan->entries[i].memory_bytes : most;
		}
	n_members = aqz_min(n_members, n);
	if (limit != 0 && n_members > 1)
		n_members = limit <= AQZ_CREW_AHEAD_BYTES
			? 1
			: aqz_min(n_members, (limit - AQZ_CREW_AHEAD_BYTES) / most);
	*memory_bytes = n_members > 1 ? n_members * most + AQZ_CREW_AHEAD_BYTES : most;
	return n_members > 1 ? (unsigned)n_members : 1;
}

static aqz_status member_open(
	aqz_coder *c, struct aqz_crew *crew, unsigned number, unsigned n_members, aqz_error *err)
{
	const uint64_t limit = crew->boss->plan->opt.memlimit_bytes;

	*c = (aqz_coder){.plan = crew->boss->plan,
		.n_threads = 1,
		.limit_bytes = limit == 0 ? 0 : (limit - AQZ_CREW_AHEAD_BYTES) / n_members,
		.slope = crew->boss->slope,
		.energies = crew->boss->energies,
		.crew = crew,
		.member = number};
	c->step = malloc(AQZ_STEP_BYTES);
	return c->step != NULL ? AQZ_OK : aqz_fail_nomem(err, AQZ_STEP_BYTES);
}

static void member_close(aqz_coder *c)
{
	free(c->hessian);
	free(c->step);
}

bool aqz_crew_tell(const aqz_coder *c, uint64_t under_way)
{
	struct aqz_crew *crew = c->crew;
	const aqz_compress_options *o = &c->plan->opt;

	atomic_store(&crew->under_way[c->member], under_way);
	if (c->member == 0 && o->progress != NULL && !atomic_load(&crew->stopped)) {
		uint64_t done = crew->boss->done_bytes + atomic_load(&crew->done_bytes);

		for (unsigned i = 0; i < crew->n_members; i++)
			done += atomic_load(&crew->under_way[i]);
		if (!o->progress(
				o->progress_user, aqz_min(done, crew->boss->total_bytes), crew->boss->total_bytes))
			atomic_store(&crew->stopped, true);
	}
	return !atomic_load(&crew->stopped);
}

/* The first failure in the order of the list. */
typedef struct failure {
	aqz_status status;
	uint32_t i;
	aqz_error err;
} failure;

static void note(failure *f, aqz_status status, uint32_t i, const aqz_error *err)
{
#pragma omp critical(aqz_crew_failure)
	if (f->status == AQZ_OK || i < f->i)
		*f = (failure){status, i, *err};
}

/* Entries are handed out in their order, and each that has begun is finished: all in front of one that failed have been
 * seen. */
static aqz_status side_by_side(aqz_coder *boss, const uint32_t *entries, const uint32_t *list,
	uint32_t n, unsigned n_members, aqz_crew_fn *work, void *arg, aqz_error *err)
{
	struct aqz_crew crew = {.boss = boss, .n_members = n_members};
	const aqz_blas blas = aqz_blas_begin();
	failure first = {.status = AQZ_OK};
	atomic_bool failed = false;

	crew.under_way = calloc(n_members, sizeof *crew.under_way);
	if (crew.under_way == NULL)
		return aqz_fail_nomem(err, n_members * sizeof *crew.under_way);
#pragma omp parallel num_threads(n_members)
	{
		unsigned number = 0;
		aqz_coder own;
		aqz_error own_err = {0};
		aqz_status opened;

#ifdef _OPENMP
		number = (unsigned)omp_get_thread_num();
#endif
		opened = member_open(&own, &crew, number, n_members, &own_err);
#pragma omp for schedule(dynamic, 1)
		for (uint32_t k = 0; k < n; k++) {
			const uint32_t i = list[k];
			aqz_status status = opened;

			if (atomic_load(&failed))
				continue;
			if (status == AQZ_OK)
				status = work(arg, &own, entries[i], i, &own_err);
			if (status != AQZ_OK) {
				atomic_store(&failed, true);
				note(&first, status, i, &own_err);
			}
			atomic_store(&crew.under_way[number], 0);
			atomic_fetch_add(&crew.done_bytes, boss->plan->entries[entries[i]].tensor->n_bytes);
		}
		member_close(&own);
	}
	aqz_blas_end(&blas);
	boss->done_bytes += atomic_load(&crew.done_bytes);
	free(crew.under_way);
	if (first.status != AQZ_OK && err != NULL)
		*err = first.err;
	return first.status;
}

aqz_status aqz_crew_run(aqz_coder *boss, const uint32_t *entries, uint32_t n, aqz_crew_fn *work,
	void *arg, aqz_error *err)
{
	const unsigned n_members = boss->plan->n_crew;
	uint32_t *list = malloc(((size_t)n + 1) * sizeof *list), n_list = 0;
	aqz_status status = AQZ_OK;

	if (list == NULL)
		return aqz_fail_nomem(err, n * sizeof *list);
	for (uint32_t i = 0; i < n; i++) {
		const aqz_plan_entry *e = &boss->plan->entries[entries[i]];

		if (n_members > 1 && aqz_crew_has(boss->plan, entries[i])) {
			list[n_list++] = i;
			continue;
		}
		AQZ_TRY(work(arg, boss, entries[i], i, err));
		boss->done_bytes += e->tensor->n_bytes;
		AQZ_TRY(aqz_coder_tell(boss, 0, err));
	}
	if (n_list > 0) {
		AQZ_TRY(side_by_side(boss, entries, list, n_list, n_members, work, arg, err));
		AQZ_TRY(aqz_coder_tell(boss, 0, err));
	}
out:
	free(list);
	return status;
}
