/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes aqz_gguf_open. The input is a GGUF file; the data of its tensors may be missing: zeros follow it, a power
 * of two that its last byte says. What is accepted must keep the promises of interop/gguf.h; every value is read, and
 * blocks of every tensor are widened. */
#include <stdlib.h>
#include <string.h>

#include "interop/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define WIDEN_BYTES 65536

typedef struct file {
	const uint8_t *data;
	size_t n;
	uint64_t n_bytes; /* with zeros behind the data */
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
	const size_t known = offset < f->n ? (size_t)aqz_min(n, f->n - offset) : 0;

	if (offset > f->n_bytes || n > f->n_bytes - offset)
		return AQZ_E_TRUNCATED;
	if (known > 0)
		memcpy(dst, f->data + offset, known);
	memset((uint8_t *)dst + known, 0, n - known);
	return AQZ_OK;
}

static aqz_status file_size(void *user, uint64_t *n_bytes)
{
	*n_bytes = ((const file *)user)->n_bytes;
	return AQZ_OK;
}

static void check_value(const aqz_gguf *g, const char *key)
{
	const aqz_gguf_value *v = aqz_gguf_find(g, key);
	uint64_t sum = 0;
	int64_t integer;
	double real;
	size_t n;

	if (v == NULL)
		return;
	demand(v->kind != AQZ_GGUF_ARRAY && (v->array || v->n == 1));
	for (uint64_t i = 0; i < v->n; i++) {
		const char *text = aqz_gguf_string(g, v, i, &n);

		demand((text != NULL) == (v->kind == AQZ_GGUF_STRING));
		for (size_t k = 0; text != NULL && k < n; k++)
			sum += (unsigned char)text[k];
		if (aqz_gguf_integer(v, i, &integer))
			demand(aqz_gguf_double(v, i, &real) && text == NULL);
		else
			demand(text != NULL || aqz_gguf_double(v, i, &real));
	}
	demand(!aqz_gguf_integer(v, v->n, &integer) && aqz_gguf_string(g, v, v->n, &n) == NULL);
	demand(sum != 1); /* so that every byte is read */
}

static void check_tensor(const aqz_gguf *g, const aqz_gguf_tensor *t, file *f)
{
	uint64_t n_elements = 1, blocks;
	uint8_t *stored;
	float *values;

	demand(aqz_gguf_tensor_find(g, t->name) == t && aqz_text_ok(t->name, strlen(t->name)));
	demand(t->rank <= AQZ_GGUF_MAX_RANK && t->type != NULL);
	for (uint32_t i = 0; i < t->rank; i++)
		demand(aqz_mul(&n_elements, n_elements, t->shape[i]));
	demand(n_elements == t->n_elements && n_elements % t->type->n_values == 0);
	demand(t->n_bytes == n_elements / t->type->n_values * t->type->n_bytes);
	demand(t->offset <= f->n_bytes && t->n_bytes <= f->n_bytes - t->offset);
	if (t->type->widen == NULL)
		return;
	blocks = aqz_min(t->n_bytes, WIDEN_BYTES) / t->type->n_bytes;
	stored = malloc((size_t)blocks * t->type->n_bytes + 1);
	values = malloc((size_t)(blocks * t->type->n_values) * sizeof *values + 1);
	demand(file_pread(f, stored, (size_t)blocks * t->type->n_bytes, t->offset) == AQZ_OK);
	t->type->widen(values, stored, (size_t)blocks);
	free(stored);
	free(values);
}

/* Keys cannot be listed, so each text of the input that could be one is looked for. */
static void check_values(const aqz_gguf *g, const uint8_t *data, size_t n)
{
	for (size_t i = 24; i + 12 < n; i++) {
		const uint64_t bytes = aqz_get64(data + i);
		char key[256];

		if (bytes == 0 || bytes >= sizeof key || bytes > n - i - 8)
			continue;
		memcpy(key, data + i + 8, (size_t)bytes);
		key[bytes] = '\0';
		check_value(g, key);
	}
}

static aqz_status try_open(file *f, uint64_t limit)
{
	const aqz_io io = {.user = f, .pread = file_pread, .size = file_size};
	aqz_error err;
	aqz_gguf *g;
	const aqz_status status = aqz_gguf_open(&g, &io, limit, &err);

	if (status == AQZ_OK) {
		for (uint32_t i = 0; i < aqz_gguf_n_tensors(g); i++)
			check_tensor(g, aqz_gguf_tensor_get(g, i), f);
		demand(aqz_gguf_tensor_get(g, aqz_gguf_n_tensors(g)) == NULL);
		check_values(g, f->data, f->n);
	} else {
		demand(g == NULL && status != AQZ_E_ARGUMENT && status != AQZ_E_NOMEM && err.status == status);
		demand(memchr(err.where, '\0', sizeof err.where) != NULL && err.text[0] != '\0');
		demand(aqz_text_ok(err.where, strlen(err.where)));
		demand(aqz_text_ok(err.text, strlen(err.text)));
	}
	aqz_gguf_close(g);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	file f = {.data = data, .n = n, .n_bytes = n};
	aqz_status status, limited;

	try_open(&f, 0);
	if (n < 24)
		return 0;
	/* Room for the data of tensors, so that shapes may change. */
	f.n_bytes = n + (UINT64_C(1) << (data[n - 1] % 21));
	status = try_open(&f, 0);
	/* A limit changes nothing but to refuse. */
	limited = try_open(&f, 1 + UINT64_C(1024) * data[n - 1]);
	demand(limited == status || limited == AQZ_E_MEMLIMIT);
	return 0;
}
