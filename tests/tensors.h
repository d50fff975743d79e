/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of a safetensors file, for tests that compare with those of other tools. */
#ifndef AQZ_TESTS_TENSORS_H
#define AQZ_TESTS_TENSORS_H

#include "tests/support.h"

typedef struct tensors {
	uint8_t *bytes;
	aqz_safetensors header;
} tensors;

/* False if there is no such file. */
static inline bool tensors_open(tensors *t, const char *path)
{
	FILE *f = fopen(path, "rb");
	long n;

	if (f == NULL)
		return false;
	SURE(fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) > 0 && fseek(f, 0, SEEK_SET) == 0);
	t->bytes = sure_alloc((size_t)n);
	SURE(fread(t->bytes, 1, (size_t)n, f) == (size_t)n);
	fclose(f);
	SURE(aqz_safetensors_parse(&t->header, t->bytes, (size_t)n, (uint64_t)n, 0, NULL) == AQZ_OK);
	return true;
}

static inline void tensors_close(tensors *t)
{
	aqz_safetensors_free(&t->header);
	free(t->bytes);
}

static inline const aqz_source_tensor *tensors_find(const tensors *t, const char *name)
{
	for (uint32_t i = 0; i < t->header.n_tensors; i++)
		if (strcmp(t->header.tensors[i].name, name) == 0)
			return &t->header.tensors[i];
	fprintf(stderr, "there is no tensor %s\n", name);
	abort();
}

/* Elements of an F32 tensor. */
static inline const float *tensors_f32(const tensors *t, const char *name, uint64_t *n)
{
	const aqz_source_tensor *x = tensors_find(t, name);

	SURE(x->dtype == AQZ_F32 && x->offset % 4 == 0);
	if (n != NULL)
		*n = x->n_elements;
	return (const float *)(const void *)(t->bytes + x->offset);
}

/* Ids of an I32 or I64 tensor. Free with free(). */
static inline uint32_t *tensors_ids(const tensors *t, const char *name, uint64_t *n)
{
	const aqz_source_tensor *x = tensors_find(t, name);
	const size_t width = x->dtype == AQZ_I32 ? 4 : 8;
	uint32_t *ids = sure_alloc((size_t)x->n_elements * sizeof *ids + 1);

	SURE(x->dtype == AQZ_I32 || x->dtype == AQZ_I64);
	for (uint64_t i = 0; i < x->n_elements; i++)
		memcpy(&ids[i], t->bytes + x->offset + i * width, sizeof *ids);
	*n = x->n_elements;
	return ids;
}

#endif
