/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes aqz_npy_open and aqz_npy_read. The input is a .npy file; it is read as it is, and again with the length of its
 * header put right and with the data that its header speaks of, so that mutations of the header get past those. */
#include <stdlib.h>
#include <string.h>

#include "interop/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define HEAD_BYTES 10
#define MOST_DATA (UINT64_C(1) << 20)

typedef struct file {
	const uint8_t *data;
	size_t n;
	uint64_t n_bytes; /* the input again and again behind the data */
} file;

/* A finding. */
static void demand(bool holds)
{
	if (!holds)
		abort();
}

static aqz_status file_pread(void *user, void *dst, size_t n, uint64_t offset)
{
	const file *f = user;

	if (offset > f->n_bytes || n > f->n_bytes - offset)
		return AQZ_E_TRUNCATED;
	for (size_t i = 0; i < n; i++)
		((uint8_t *)dst)[i] = f->data[(offset + i) % f->n];
	return AQZ_OK;
}

static aqz_status file_size(void *user, uint64_t *n_bytes)
{
	*n_bytes = ((const file *)user)->n_bytes;
	return AQZ_OK;
}

static void check_error(aqz_status status, const aqz_error *err)
{
	demand(status != AQZ_E_ARGUMENT && status != AQZ_E_NOMEM && err->status == status);
	demand(err->text[0] != '\0' && aqz_text_ok(err->text, strlen(err->text)));
}

static aqz_status try_open(aqz_npy *npy, file *f)
{
	const aqz_io io = {.user = f, .pread = file_pread, .size = file_size};
	uint64_t n_elements = 1, n;
	uint32_t *ids;
	aqz_error err;
	aqz_status status = aqz_npy_open(npy, &io, &err);

	if (status != AQZ_OK) {
		check_error(status, &err);
		return status;
	}
	demand(npy->rank <= AQZ_MAX_RANK);
	for (uint32_t i = 0; i < npy->rank; i++)
		demand(aqz_mul(&n_elements, n_elements, npy->shape[i]));
	demand(n_elements == npy->n_elements && npy->offset + n_elements * npy->item_bytes == f->n_bytes);
	n = aqz_min(n_elements, MOST_DATA);
	ids = malloc((size_t)n * sizeof *ids + 1);
	status = aqz_npy_read(ids, npy, &io, n_elements - n, n, &err);
	if (status == AQZ_OK)
		for (uint64_t i = 0; i < n; i++)
			demand(ids[i] != UINT32_MAX);
	else
		check_error(status, &err);
	free(ids);
	return AQZ_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	file f = {.data = data, .n = n, .n_bytes = n};
	uint8_t *copy;
	aqz_npy npy;

	if (n == 0)
		return 0;
	try_open(&npy, &f);
	if (n < HEAD_BYTES + 2 || n > UINT16_MAX)
		return 0;
	copy = malloc(n);
	memcpy(copy, data, n);
	memcpy(copy, "\x93NUMPY\1\0", 8);
	aqz_put16(copy + 8, (uint16_t)(n - HEAD_BYTES));
	f.data = copy;
	/* The shape is known once it has been refused for its data. */
	if (try_open(&npy, &f) == AQZ_E_TRUNCATED && npy.n_elements != 0 && npy.item_bytes != 0 &&
		npy.n_elements < MOST_DATA) {
		f.n_bytes = n + npy.n_elements * npy.item_bytes;
		demand(try_open(&npy, &f) == AQZ_OK);
	}
	free(copy);
	return 0;
}
