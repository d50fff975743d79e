/* SPDX-License-Identifier: Apache-2.0 */
/* verify --against --stats: tr(E H E^T) / tr(W H W^T) of a coded tensor, as the encoder measured it. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/against.h"

aqz_status against_loss_begin(loss_sums *l, const verify_job *job, const aqz_stats *stats,
	const comparison *r, aqz_error *err)
{
	const uint64_t n = r->info->n_elements;
	const aqz_source_tensor *t;
	uint64_t need;

	memset(l, 0, sizeof *l);
	/* A view that is turned has its inputs in rows; compress makes none. */
	if (stats == NULL || !r->coded || r->info->transposed || r->info->rank < 2)
		return AQZ_OK;
	t = aqz_stats_find(stats, r->info->name, strlen(r->info->name));
	if (t == NULL)
		return AQZ_OK;
	if (t->shape[0] != r->info->shape[r->info->rank - 1])
		return cli_fail(err, AQZ_E_ARGUMENT, r->info->name,
			"the statistics are of %" PRIu64 " inputs, but it has %" PRIu64, t->shape[0],
			r->info->shape[r->info->rank - 1]);
	need = 8 * n + t->n_bytes;
	if (need > job->common->memory_bytes)
		return cli_fail(
			err, AQZ_E_MEMLIMIT, r->info->name, "computing its loss needs %" PRIu64 " bytes", need);
	l->stats = t;
	l->w = malloc((size_t)(4 * n + 1));
	l->e = malloc((size_t)(4 * n + 1));
	return l->w != NULL && l->e != NULL ? AQZ_OK : cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
}

void against_loss_add(loss_sums *l, const float *theirs, const float *ours, size_t n)
{
	if (l->stats == NULL)
		return;
	for (size_t i = 0; i < n; i++) {
		l->w[l->n + i] = theirs[i];
		l->e[l->n + i] = theirs[i] - ours[i];
	}
	l->n += n;
}

aqz_status against_loss_end(
	loss_sums *l, comparison *r, const verify_job *job, const aqz_stats *stats, aqz_error *err)
{
	aqz_layer layer;
	double power, noise;
	float *h;
	aqz_status status;

	if (l->stats == NULL || l->n == 0)
		return AQZ_OK;
	h = malloc((size_t)l->stats->n_bytes);
	if (h == NULL)
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	layer = (aqz_layer){.w = l->w, .cols = l->stats->shape[0], .hessian = h};
	layer.rows = l->n / layer.cols;
	status = aqz_stats_read(h, stats, l->stats, err);
	if (status == AQZ_OK)
		status = aqz_layer_energy(&power, &layer, job->common->n_threads, err);
	layer.w = l->e;
	if (status == AQZ_OK)
		status = aqz_layer_energy(&noise, &layer, job->common->n_threads, err);
	if (status == AQZ_OK)
		r->loss = power > 0 ? fmax(noise, 0) / power : 0;
	free(h);
	return status;
}

void against_loss_free(loss_sums *l)
{
	free(l->w);
	free(l->e);
}
