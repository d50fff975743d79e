/* SPDX-License-Identifier: Apache-2.0 */
/* The lossless codec's encoder: the smallest of stored, zstd and byte planes for each chunk, spec
 * 7.1. Trained weights are noise but for their exponents: a plane that a quick try does not shrink
 * is stored, which saves the time and keeps decoding fast. */
#include <math.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "codec/lossless.h"

/* What an effort tries. Level 1 is the quick try: exponent planes hold hardly any matches, so it
 * beats all levels up to 15 there, and only the optimal parser beats it (a BF16 model's exponents:
 * 0.353 of their size at level 1, 0.395 at 3, 0.366 at 15, 0.348 at 19). What it finds there needs no
 * search worth the name: OPTIMAL is that parser with the smallest tables, which takes 1/27 of the
 * time of level 19 and is no worse. */
#define OPTIMAL 0
typedef struct ladder {
	int level;		  /* of the full try; 1 = there is none */
	bool every_plane; /* full try of planes that the quick one did not shrink, too */
	bool both; /* full try of the whole chunk where the quick ones clearly favour planes, too */
} ladder;

/* A quick try that takes less than this of what bytes take alone has found matches, which levels find more of. */
#define MATCHES 0.95

static ladder ladder_of(int effort)
{
	if (effort <= 0)
		effort = 5;
	if (effort <= 2)
		return (ladder){.level = 1};
	if (effort <= 4)
		return (ladder){.level = 7};
	return (ladder){.level = 19, .every_plane = effort >= 7, .both = effort >= 7};
}

typedef struct work {
	ZSTD_CCtx *context;
	uint8_t *planes; /* n_bytes: the planes, one after the other */
	uint8_t *trial;	 /* n_bytes: the result of a try */
} work;

/* Codes src as one frame of at most capacity bytes. *n_out is its size, or 0 if it does not fit. */
static aqz_status squeeze(const work *w, int level, uint8_t *dst, size_t capacity,
	const uint8_t *src, size_t n, size_t *n_out, aqz_error *err)
{
	size_t made;

	*n_out = 0;
	ZSTD_CCtx_reset(w->context, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(w->context, ZSTD_c_compressionLevel, level == OPTIMAL ? 19 : level);
	if (level == OPTIMAL) {
		ZSTD_CCtx_setParameter(w->context, ZSTD_c_strategy, ZSTD_btultra2);
		ZSTD_CCtx_setParameter(w->context, ZSTD_c_hashLog, 12);
		ZSTD_CCtx_setParameter(w->context, ZSTD_c_chainLog, 12);
		ZSTD_CCtx_setParameter(w->context, ZSTD_c_searchLog, 1);
		ZSTD_CCtx_setParameter(w->context, ZSTD_c_minMatch, 6);
		ZSTD_CCtx_setParameter(w->context, ZSTD_c_targetLength, 32);
	}
	made = ZSTD_compress2(w->context, dst, capacity, src, n);
	if (!ZSTD_isError(made))
		*n_out = made;
	else if (ZSTD_getErrorCode(made) != ZSTD_error_dstSize_tooSmall)
		return aqz_fail_nomem(err, aqz_lossless_encode_memory(n, 9));
	return AQZ_OK;
}

/* Bytes of n bytes by how often each comes alone. */
static double entropy_bytes(const uint8_t *p, size_t n)
{
	size_t counts[256] = {0};
	double bits = 0;

	for (size_t i = 0; i < n; i++)
		counts[p[i]]++;
	for (unsigned k = 0; k < 256; k++)
		if (counts[k] != 0)
			bits += (double)counts[k] * log2((double)n / (double)counts[k]);
	return bits / 8;
}

/* Codes one plane of n bytes to dst, which has room for capacity. *n_out is what it took, 0 if it
 * does not fit; *is_zstd says in which form. */
static aqz_status code_plane(const work *w, ladder l, uint8_t *dst, size_t capacity,
	const uint8_t *plane, size_t n, size_t *n_out, bool *is_zstd, aqz_error *err)
{
	size_t best = n, made;
	aqz_status status;

	*is_zstd = false;
	AQZ_TRY(squeeze(w, 1, w->trial, n - 1, plane, n, &made, err));
	if (made != 0 && made <= capacity) {
		memcpy(dst, w->trial, made);
		best = made;
		*is_zstd = true;
	}
	/* Less than 1 in 256 is a header or two among noise. */
	if (l.level > 1 && (l.every_plane || (made != 0 && made < n - n / 256))) {
		const bool matches = made != 0 && (double)made < MATCHES * entropy_bytes(plane, n);

		AQZ_TRY(squeeze(w, matches ? l.level : OPTIMAL, w->trial, best - 1, plane, n, &made, err));
		if (made != 0 && made <= capacity) {
			memcpy(dst, w->trial, made);
			best = made;
			*is_zstd = true;
		}
	}
	*n_out = best <= capacity ? best : 0;
	if (!*is_zstd && *n_out != 0)
		memcpy(dst, plane, n);
out:
	return status;
}

/* Codes all planes to dst. *n_out is the payload's length, 0 if it would reach n_bytes. */
static aqz_status code_planes(const work *w, ladder l, uint8_t *dst, const uint8_t *src,
	size_t n_bytes, aqz_dtype dtype, size_t *n_out, aqz_error *err)
{
	const unsigned width = aqz_planes(dtype);
	const size_t n = n_bytes / width;
	size_t used = 4 * (size_t)width;
	aqz_status status = AQZ_OK;

	*n_out = 0;
	aqz_planes_split(w->planes, src, n, width, aqz_planes_rotated(dtype));
	for (unsigned k = 0; k < width; k++) {
		size_t made;
		bool is_zstd;

		if (used >= n_bytes)
			goto out;
		AQZ_TRY(code_plane(
			w, l, dst + used, n_bytes - used, w->planes + k * n, n, &made, &is_zstd, err));
		if (made == 0)
			goto out;
		aqz_put32(dst + 4 * (size_t)k, (uint32_t)made | (is_zstd ? AQZ_PLANE_ZSTD : 0));
		used += made;
	}
	if (used < n_bytes)
		*n_out = used;
out:
	return status;
}

uint64_t aqz_lossless_encode_memory(uint64_t n_bytes, int effort)
{
	/* The context as ZSTD_sizeof_CCtx() tells it (libzstd 1.5.4: 0.2 MB + 28 n up to 85 MB at level
	 * 19, 17 n up to 4 MB at level 7), with room for other versions. */
	const bool high = ladder_of(effort).level > 9;
	const uint64_t most = high ? UINT64_C(112) << 20 : UINT64_C(8) << 20;
	uint64_t bytes;

	if (!aqz_mul(&bytes, n_bytes, 32) || bytes > most)
		bytes = most;
	bytes += UINT64_C(1) << 20;
	return n_bytes > (UINT64_MAX - bytes) / 2 ? UINT64_MAX : bytes + 2 * n_bytes;
}

aqz_status aqz_lossless_encode(uint8_t *dst, size_t *dst_bytes, uint16_t *coding, const void *src,
	size_t n_bytes, aqz_dtype dtype, int effort, aqz_error *err)
{
	const ladder l = ladder_of(effort);
	const unsigned width = aqz_planes(dtype);
	work w = {NULL, NULL, NULL};
	size_t planes_bytes = 0, quick, best;
	aqz_status status = AQZ_OK;

	*coding = AQZ_CODING_STORED;
	*dst_bytes = n_bytes;
	if (n_bytes <= AQZ_ZSTD_MIN_BYTES) {
		if (n_bytes > 0)
			memcpy(dst, src, n_bytes);
		return AQZ_OK;
	}
	if (width != 0 && (n_bytes % width != 0 || n_bytes / width >= AQZ_PLANE_ZSTD))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "n_bytes",
			"%zu bytes are no whole elements, or too many for a chunk", n_bytes);
	w.context = ZSTD_createCCtx();
	w.planes = malloc(n_bytes);
	w.trial = malloc(n_bytes);
	if (w.context == NULL || w.planes == NULL || w.trial == NULL) {
		status = aqz_fail_nomem(err, aqz_lossless_encode_memory(n_bytes, effort));
		goto out;
	}
	if (width != 0)
		AQZ_TRY(code_planes(&w, l, dst, src, n_bytes, dtype, &planes_bytes, err));
	/* Of equal sizes the simplest coding is taken: stored, then zstd, then planes. */
	best = planes_bytes != 0 ? planes_bytes : n_bytes - 1;
	if (planes_bytes != 0)
		*coding = AQZ_CODING_PLANES;
	AQZ_TRY(squeeze(&w, 1, w.trial, n_bytes - 1, src, n_bytes, &quick, err));
	if (quick != 0 && quick <= best) {
		memcpy(dst, w.trial, quick);
		*coding = AQZ_CODING_ZSTD;
		best = quick;
	}
	/* The full level gains at most about a third over the quick one on what it likes best. */
	if (l.level > 1 &&
		(l.both || width == 0 ||
			(quick != 0 && quick / 4 * 3 <= best &&
				(double)quick < MATCHES * entropy_bytes(src, n_bytes)))) {
		const size_t room = *coding == AQZ_CODING_ZSTD ? best - 1 : best;
		size_t made;

		AQZ_TRY(squeeze(&w, l.level, w.trial, room, src, n_bytes, &made, err));
		if (made != 0) {
			memcpy(dst, w.trial, made);
			*coding = AQZ_CODING_ZSTD;
			best = made;
		}
	}
	if (*coding == AQZ_CODING_STORED)
		memcpy(dst, src, n_bytes);
	else
		*dst_bytes = best;
out:
	free(w.trial);
	free(w.planes);
	ZSTD_freeCCtx(w.context);
	return status;
}
