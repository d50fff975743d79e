/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a synthetic safetensors model: make_model OUT.safetensors MEBIBYTES. Weights are BF16,
 * Gaussian with a scale of their own for each row, in layers of the shapes of Llama-3-8B and
 * Llama-2-7B (hidden 4096, feed-forward 11008); the same bytes for the same size. Memory: one row. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aqlmzip.h"

enum { HIDDEN = 4096, FEED_FORWARD = 11008, NAME_BYTES = 64 };

static uint64_t state = 1;

static uint64_t next_u64(void)
{ /* splitmix64 */
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The sum of four 16-bit uniforms: near enough to a Gaussian for a file's entropy, and fast. */
static float near_gauss(void)
{
	uint64_t u = next_u64();
	int32_t s = (int32_t)(u & 0xffff) + (int32_t)(u >> 16 & 0xffff) + (int32_t)(u >> 32 & 0xffff) +
		(int32_t)(u >> 48);
	return ((float)s - 131070.f) / 37837.f;
}

static void fail(const char *what)
{
	fprintf(stderr, "make_model: %s\n", what);
	exit(1);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		uint64_t rows, cols;
	} shapes[] = {{"self_attn.q_proj", HIDDEN, HIDDEN}, {"self_attn.k_proj", HIDDEN / 4, HIDDEN},
		{"self_attn.v_proj", HIDDEN / 4, HIDDEN}, {"self_attn.o_proj", HIDDEN, HIDDEN},
		{"mlp.gate_proj", FEED_FORWARD, HIDDEN}, {"mlp.down_proj", HIDDEN, FEED_FORWARD},
		{"input_layernorm", 1, HIDDEN}};
	enum { N_SHAPES = sizeof shapes / sizeof *shapes, MAX_TENSORS = 4096 };
	if (argc != 3)
		fail("usage: make_model OUT.safetensors MEBIBYTES");
	uint64_t want = strtoull(argv[2], NULL, 10) << 20, have = 0;
	aqz_source_tensor *tensors = calloc(MAX_TENSORS, sizeof *tensors);
	char(*names)[NAME_BYTES] = calloc(MAX_TENSORS, NAME_BYTES);
	uint32_t n = 0;
	if (tensors == NULL || names == NULL)
		fail("no memory");
	for (; have < want && n < MAX_TENSORS; n++) {
		unsigned layer = n / N_SHAPES, k = n % N_SHAPES;
		snprintf(names[n], NAME_BYTES, "model.layers.%u.%s.weight", layer, shapes[k].name);
		tensors[n] = (aqz_source_tensor){.name = names[n],
			.name_bytes = strlen(names[n]),
			.dtype = AQZ_BF16,
			.rank = 2,
			.shape = {shapes[k].rows, shapes[k].cols}};
		if (shapes[k].rows == 1) {
			tensors[n].rank = 1;
			tensors[n].shape[0] = shapes[k].cols;
		}
		tensors[n].n_elements = shapes[k].rows * shapes[k].cols;
		tensors[n].n_bytes = 2 * tensors[n].n_elements;
		have += tensors[n].n_bytes;
	}
	aqz_error err;
	uint8_t *header;
	size_t header_bytes;
	if (aqz_safetensors_header(&header, &header_bytes, tensors, n, NULL, &err) != AQZ_OK)
		fail(err.text);
	FILE *out = fopen(argv[1], "wb");
	if (out == NULL || fwrite(header, 1, header_bytes, out) != header_bytes)
		fail("cannot write");
	static uint16_t row[FEED_FORWARD];
	for (uint32_t i = 0; i < n; i++) {
		uint64_t rows = shapes[i % N_SHAPES].rows, cols = shapes[i % N_SHAPES].cols;
		for (uint64_t r = 0; r < rows; r++) {
			float scale = 0.02f * expf(0.3f * near_gauss());
			for (uint64_t c = 0; c < cols; c++) {
				float v = scale * near_gauss();
				uint32_t bits;
				memcpy(&bits, &v, sizeof bits);
				row[c] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
			}
			if (fwrite(row, 2, (size_t)cols, out) != cols)
				fail("cannot write");
		}
	}
	if (fclose(out) != 0)
		fail("cannot write");
	printf("%s: %" PRIu32 " tensors, %" PRIu64 " bytes of weights\n", argv[1], n, have);
	free(header);
	free(names);
	free(tensors);
	return 0;
}
