/* SPDX-License-Identifier: Apache-2.0 */
/* Writes statistics for a model, the same ones for the same names: make_stats MODEL OUT.safetensors [HOW].
 *
 *	(none)    each projection has H of made-up inputs, in which neighbours are alike and some are much larger; k, v
 *	          and up are aliases of q and gate of their block
 *	half      those of the first two blocks only
 *	others    under names that the model does not have
 *	f16, narrow, nan, infinity, negative, skewed, orphan, chain, both, tokens
 *	          with the first matrix, or the metadata, wrong in that way */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip.h"

enum { MAX_TENSORS = 256, NAME_BYTES = 256, N_INPUTS = 600 };

static char names[MAX_TENSORS][NAME_BYTES];
static aqz_source_tensor tensors[MAX_TENSORS];
static char metadata[1 << 16] = "{\"tokens\":\"600\"";
static uint32_t n_tensors;

static void fail(const char *what)
{
	fprintf(stderr, "make_stats: %s\n", what);
	exit(1);
}

static uint64_t next_u64(uint64_t *state)
{ /* splitmix64 */
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static float uniform(uint64_t *state)
{
	return (float)(next_u64(state) >> 40) / 8388608.0f - 1;
}

/* The matrix of a name. */
static void make_matrix(float *h, uint64_t n, const char *name)
{
	uint64_t state = n;
	float *x = malloc(n * sizeof *x), *size = malloc(n * sizeof *size);

	if (x == NULL || size == NULL)
		fail("no memory");
	for (const char *c = name; *c != '\0'; c++)
		state = next_u64(&state) ^ (uint64_t)*c;
	for (uint64_t i = 0; i < n; i++)
		size[i] = i % 37 == 5 ? 20 : powf(4, uniform(&state));
	memset(h, 0, n * n * sizeof *h);
	for (int t = 0; t < N_INPUTS; t++) {
		float last = 0;

		for (uint64_t i = 0; i < n; i++) {
			last = 0.6f * last + uniform(&state);
			x[i] = size[i] * last;
		}
		for (uint64_t i = 0; i < n; i++)
			for (uint64_t j = 0; j < n; j++)
				h[i * n + j] += x[i] * x[j] / N_INPUTS;
	}
	free(x);
	free(size);
}

/* The tensor whose inputs a tensor has: q of k and v, gate of up. */
static bool owner_of(char owner[NAME_BYTES], const char *name)
{
	static const char *const pairs[][2] = {
		{".k_proj.", ".q_proj."}, {".v_proj.", ".q_proj."}, {".up_proj.", ".gate_proj."}};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		const char *at = strstr(name, pairs[i][0]);

		if (at == NULL)
			continue;
		snprintf(owner, NAME_BYTES, "%.*s%s%s", (int)(at - name), name, pairs[i][1],
			at + strlen(pairs[i][0]));
		return true;
	}
	return false;
}

static void add_metadata(const char *key, const char *value)
{
	const size_t n = strlen(metadata);

	if (n + strlen(key) + strlen(value) + 16 > sizeof metadata)
		fail("too many aliases");
	snprintf(metadata + n, sizeof metadata - n, ",\"%s\":\"%s\"", key, value);
}

static void add(const aqz_source_tensor *t, const char *how)
{
	char owner[NAME_BYTES], alias[NAME_BYTES + 8];
	aqz_source_tensor *s = &tensors[n_tensors];
	const uint64_t cols = t->shape[1] - (strcmp(how, "narrow") == 0 && n_tensors == 0);

	if (strcmp(how, "half") == 0 && strstr(t->name, ".0.") == NULL && strstr(t->name, ".1.") == NULL)
		return;
	if (owner_of(owner, t->name) && strcmp(how, "others") != 0) {
		snprintf(alias, sizeof alias, "alias:%s", t->name);
		add_metadata(alias, owner);
		return;
	}
	snprintf(names[n_tensors++], NAME_BYTES, "%s%s", strcmp(how, "others") == 0 ? "other." : "",
		t->name);
	*s = (aqz_source_tensor){.name = names[n_tensors - 1],
		.dtype = strcmp(how, "f16") == 0 && n_tensors == 1 ? AQZ_F16 : AQZ_F32,
		.rank = 2,
		.shape = {cols, cols}};
	s->name_bytes = strlen(s->name);
	s->n_elements = cols * cols;
	s->n_bytes = s->n_elements * (s->dtype == AQZ_F16 ? 2 : 4);
}

/* Aliases that are wrong. */
static void spoil_metadata(const char *how)
{
	char alias[NAME_BYTES + 8];

	snprintf(alias, sizeof alias, "alias:%s", names[0]);
	if (strcmp(how, "both") == 0)
		add_metadata(alias, names[1]);
	if (strcmp(how, "orphan") == 0)
		add_metadata("alias:x", "y");
	if (strcmp(how, "chain") == 0) {
		add_metadata("alias:x", names[0]);
		add_metadata("alias:y", "x");
	}
	if (strcmp(how, "tokens") == 0)
		metadata[strlen("{\"tokens\":\"6")] = 'O';
}

static void spoil(float *h, uint64_t n, const char *how)
{
	if (strcmp(how, "nan") == 0)
		h[3 * n + 2] = NAN;
	if (strcmp(how, "infinity") == 0)
		h[n * n - 1] = INFINITY;
	if (strcmp(how, "negative") == 0)
		h[4 * n + 4] = -1;
	if (strcmp(how, "skewed") == 0)
		h[7 * n + 2] += 0.01f * sqrtf(h[7 * n + 7] * h[2 * n + 2]);
}

int main(int argc, char **argv)
{
	const char *how = argc > 3 ? argv[3] : "";
	const aqz_source_tensor *t;
	aqz_source *source;
	aqz_error err;
	uint8_t *header;
	size_t header_bytes;
	FILE *out;

	if (argc < 3)
		fail("usage: make_stats MODEL OUT.safetensors [HOW]");
	if (aqz_source_open(&source, argv[1], 0, &err) != AQZ_OK)
		fail(err.text);
	for (uint32_t i = 0; (t = aqz_source_get(source, i)) != NULL && n_tensors < MAX_TENSORS; i++)
		if (aqz_is_projection(t->name, t->rank))
			add(t, how);
	aqz_source_close(source);
	if (n_tensors < 2)
		fail("the model has no projections");
	spoil_metadata(how);
	strcat(metadata, "}");
	if (aqz_safetensors_header(&header, &header_bytes, tensors, n_tensors, metadata, &err) != AQZ_OK)
		fail(err.text);
	out = fopen(argv[2], "wb");
	if (out == NULL || fwrite(header, 1, header_bytes, out) != header_bytes)
		fail("cannot write");
	for (uint32_t i = 0; i < n_tensors; i++) {
		const uint64_t n = tensors[i].shape[0];
		float *h = malloc(n * n * sizeof *h);

		if (h == NULL)
			fail("no memory");
		make_matrix(h, n, names[i]);
		if (i == 0)
			spoil(h, n, how);
		if (fwrite(h, 1, tensors[i].n_bytes, out) != tensors[i].n_bytes)
			fail("cannot write");
		free(h);
	}
	if (fclose(out) != 0)
		fail("cannot write");
	free(header);
	return 0;
}
