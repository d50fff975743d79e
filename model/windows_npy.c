/* SPDX-License-Identifier: Apache-2.0 */
/* Windows from a .npy file of token ids: [windows, length], or [tokens] that are cut here. */
#include <inttypes.h>

#include "interop/npy.h"
#include "model/load.h"

/* Windows in the array, and those to take of them. */
typedef struct choice {
	uint64_t total, n, length, stride;
	bool spread;
} choice;

static aqz_status choose(choice *c, const aqz_npy *npy, const aqz_windows_options *opt, aqz_error *err)
{
	if (npy->rank != 1 && npy->rank != 2)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "header.shape",
			"token ids have 1 or 2 dimensions, not %" PRIu32, npy->rank);
	if (npy->n_elements == 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "header.shape", "there are no token ids");
	if (npy->rank == 1 && opt->length == 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.length",
			"a length of windows is needed: the array has one dimension");
	c->length = npy->shape[npy->rank - 1];
	if (opt->length != 0 && opt->length < c->length)
		c->length = opt->length;
	c->stride = npy->rank == 2 ? npy->shape[1] : c->length;
	c->total = npy->rank == 2 ? npy->shape[0] : npy->n_elements / c->length;
	c->n = c->total;
	c->spread = opt->spread;
	if (opt->max_windows != 0)
		c->n = aqz_min(c->n, opt->max_windows);
	if (opt->max_tokens != 0)
		c->n = aqz_min(c->n, opt->max_tokens / c->length);
	if (c->n == 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "options.max_tokens",
			"%" PRIu64 " tokens are less than the first window has, %" PRIu64, opt->max_tokens,
			c->length);
	if (c->total > UINT32_MAX)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "header.shape",
			"%" PRIu64 " windows are more than 2^32 - 1", c->total);
	return AQZ_OK;
}

static aqz_status read_windows(
	aqz_windows *w, const aqz_npy *npy, const aqz_io *io, const choice *c, aqz_error *err)
{
	uint64_t n_bytes;
	aqz_status status = AQZ_OK;

	if (!aqz_mul(&n_bytes, c->n * sizeof *w->ids, c->length) || n_bytes > SIZE_MAX / 2)
		return aqz_fail_nomem(err, UINT64_MAX);
	w->ids = malloc((size_t)n_bytes);
	w->begin = malloc((size_t)(c->n + 1) * sizeof *w->begin);
	if (w->ids == NULL || w->begin == NULL)
		return aqz_fail_nomem(err, n_bytes);
	w->n_windows = (uint32_t)c->n;
	w->begin[0] = 0;
	/* Numbers of windows are below 2^32. */
	for (uint64_t i = 0; i < c->n && status == AQZ_OK; i++) {
		const uint64_t from = c->spread ? i * c->total / c->n : i;

		status = aqz_npy_read(w->ids + i * c->length, npy, io, from * c->stride, c->length, err);
		w->begin[i + 1] = (i + 1) * c->length;
	}
	return status;
}

aqz_status aqz_windows_from_npy(
	aqz_windows *out, const char *path, const aqz_windows_options *opt, aqz_error *err)
{
	aqz_windows_options options = {.struct_size = sizeof options};
	aqz_file file = {.fd = -1};
	choice c = {0};
	aqz_npy npy;
	aqz_status status;

	if (out == NULL || path == NULL || (opt != NULL && opt->struct_size != sizeof *opt))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"a pointer is NULL, or the options are of another size");
	*out = (aqz_windows){0};
	if (opt != NULL)
		options = *opt;
	AQZ_TRY(aqz_file_open(&file, path, NULL, err));
	AQZ_TRY(aqz_npy_open(&npy, &file.io, err));
	AQZ_TRY(choose(&c, &npy, &options, err));
	AQZ_TRY(read_windows(out, &npy, &file.io, &c, err));
out:
	aqz_file_close(&file);
	if (status != AQZ_OK)
		aqz_windows_free(out);
	return status;
}
