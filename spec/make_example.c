/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the tiny file of spec chapter 11 to standard output: one attached file, one vector stored
 * lossless, one 3 x 6 matrix in two codebooks of 4 codewords of 4 values. The codebooks are chosen
 * so that one can decode with a pencil. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "aqlmzip.h"

#define CHECK(call)                                                         \
	do {                                                                    \
		if ((call) != AQZ_OK) {                                             \
			fprintf(stderr, "make_example: %s: %s\n", err.where, err.text); \
			return 1;                                                       \
		}                                                                   \
	} while (0)

int main(void)
{
	/* F16: 0x3c00 = 1, 0x4000 = 2, 0x3800 = 0.5, 0xbc00 = -1. */
	static const uint16_t norm[3] = {0x3c00, 0x3800, 0x4000};
	static const float coarse[4][4] = {{1, 1, 1, 1}, {1, -1, 1, -1}, {2, 2, 0, 0}, {0, 0, 2, 2}};
	static const float fine[4][4] = {{0, 0, 0, 0}, {.5f, 0, 0, 0}, {0, .5f, 0, 0}, {0, 0, .5f, .5f}};
	static const float scales[3] = {1, .5f, -2};
	static const uint8_t codes[3][2][2] = {{{0, 0}, {1, 1}}, {{2, 3}, {3, 2}}, {{1, 0}, {0, 3}}};
	static const char config[] = "{\"hidden_size\":6}\n";
	aqz_error err;
	aqz_io io;
	aqz_writer *w;
	aqz_writer_options opt = {.struct_size = sizeof opt, .id = "aqlmzip example", .n_threads = 1};
	float codebooks[2][4][4];
	for (int c = 0; c < 4; c++)
		for (int k = 0; k < 4; k++) {
			codebooks[0][c][k] = coarse[c][k];
			codebooks[1][c][k] = fine[c][k];
		}
	aqz_additive a = {.scheme = {AQZ_CODEC_ADDITIVE, 2, 2, 4, 1},
		.rows = 3,
		.cols = 6,
		.code_rows = 3,
		.groups = 2,
		.codebook_dtype = AQZ_F16,
		.scale_dtype = AQZ_F16};
	uint16_t half_codebooks[32], half_scales[3];
	CHECK(aqz_convert(half_codebooks, AQZ_F16, codebooks, AQZ_F32, 32, &err));
	CHECK(aqz_convert(half_scales, AQZ_F16, scales, AQZ_F32, 3, &err));
	a.codebooks = half_codebooks;
	a.scales = half_scales;
	a.codes_bytes = (size_t)aqz_additive_codes_bytes(&a.scheme, a.code_rows, a.groups);
	a.codes = calloc(1, a.codes_bytes);
	if (a.codes == NULL)
		return 1;
	/* A line of 2-bit codes has 16 bytes: the row's code at bits 2 * row; 7.2.2. */
	for (int row = 0; row < 3; row++)
		for (int j = 0; j < 2; j++)
			for (int m = 0; m < 2; m++)
				a.codes[(j * 2 + m) * 16] |= (uint8_t)(codes[row][j][m] << (2 * row));
	aqz_tensor_desc vector = {.struct_size = sizeof vector,
		.name = "norm",
		.name_bytes = 4,
		.dtype = AQZ_F16,
		.rank = 1,
		.shape = {3},
		.scheme = {.codec = AQZ_CODEC_LOSSLESS}};
	aqz_tensor_desc matrix = {.struct_size = sizeof matrix,
		.name = "w",
		.name_bytes = 1,
		.dtype = AQZ_F32,
		.rank = 2,
		.shape = {3, 6}};
	aqz_io_from_fd(&io, STDOUT_FILENO);
	CHECK(aqz_writer_open(&w, &io, &opt, &err));
	CHECK(aqz_writer_file(w, AQZ_KIND_FILE, "config.json", sizeof config - 1, &err));
	CHECK(aqz_writer_put(w, config, sizeof config - 1, &err));
	CHECK(aqz_writer_tensor(w, NULL, &vector, &err));
	CHECK(aqz_writer_put(w, norm, sizeof norm, &err));
	CHECK(aqz_writer_additive(w, &matrix, &a, &err));
	CHECK(aqz_writer_finish(w, NULL, &err));
	aqz_writer_close(w);
	free(a.codes);
	return 0;
}
