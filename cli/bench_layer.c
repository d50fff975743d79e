/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip bench: a layer of random codes, and how much memory it takes. Several copies of the codes or weights take
 * turns, more than the caches hold, so that each comes from memory as in a model. The copies of the codes are one tall
 * matrix, of which each product takes some rows, so that they have the same codebooks. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench_layer.h"

/* Most copies: what is so small that they do not exceed the caches stays in them in a model too. */
#define MAX_COPIES 256

static uint64_t round_up(uint64_t n, uint64_t step)
{
	return (n + step - 1) / step * step;
}

aqz_status bench_nomem(aqz_error *err)
{
	return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
}

void *bench_lines(uint64_t bytes)
{
	return bytes < SIZE_MAX - 64 ? aligned_alloc(64, (size_t)round_up(bytes + 1, 64)) : NULL;
}

/* ---- Sizes */

uint64_t bench_copies(uint64_t bytes, uint64_t cache_bytes)
{
	const uint64_t n = (2 * cache_bytes + bytes - 1) / bytes;

	return n < 1 ? 1 : n > MAX_COPIES ? MAX_COPIES : n;
}

bench_sizes bench_sizes_of(const bench_kernels *b, const bench_shape *shape)
{
	const aqz_scheme *s = &b->scheme;
	bench_sizes z = {.groups = (shape->cols + s->in_group - 1) / s->in_group,
		.block_rows = (uint64_t)BENCH_BLOCK * s->out_group};
	const uint64_t n = shape->rows * shape->cols, planar = shape->rows * z.groups * s->n_codebooks;
	const uint64_t codebooks = (uint64_t)s->n_codebooks << s->code_bits;
	const uint64_t tall = round_up(shape->rows, z.block_rows);
	const uint64_t forms[] = {sizeof(float) * n, sizeof(uint16_t) * n,
		sizeof(uint16_t) * tall * shape->cols, bench_has_lut(s) ? planar : 1};

	z.tall_rows = tall;
	z.codes_bytes = aqz_additive_codes_bytes(s, z.tall_rows / s->out_group, z.groups);
	z.n_codes = bench_copies(z.codes_bytes, b->cache_bytes);
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		const uint64_t bytes = forms[i] * bench_copies(forms[i], b->cache_bytes);

		if (bytes > z.big_bytes)
			z.big_bytes = bytes;
	}
	z.total = z.n_codes * (z.codes_bytes + 6 * z.tall_rows) + z.big_bytes;
	/* Codebooks as they are and widened, tables of the LUT loop, vectors. */
	z.total += codebooks *
		(UINT64_C(10) * s->in_group * s->out_group + (bench_has_lut(s) ? 4 * z.groups : 0));
	z.total += sizeof(float) * (BENCH_COLUMNS + 2) * (shape->rows + z.groups * s->in_group);
	return z;
}

/* ---- What a shape needs */

/* Random codes: any bits are codes. All copies are the same. */
static void fill_codes(const bench_layer *l)
{
	uint64_t state = UINT64_C(0x243F6A8885A308D3);

	for (uint64_t i = 0; i < l->z.codes_bytes; i += sizeof state) {
		const uint64_t bits = bench_random(&state);

		memcpy(l->a.codes + i, &bits, sizeof bits);
	}
	for (uint64_t i = 1; i < l->z.n_codes; i++)
		memcpy(l->a.codes + i * l->z.codes_bytes, l->a.codes, (size_t)l->z.codes_bytes);
}

/* Values of a trained layer's spread, rounded to F16 as files have them. */
static void fill_values(bench_layer *l, size_t n_values)
{
	const size_t code_rows = (size_t)(l->z.tall_rows / l->a.scheme.out_group);
	uint64_t state = UINT64_C(0x452821E638D01377);

	bench_gaussian(l->codebooks, n_values, 1, 1);
	aqz_convert(l->a.codebooks, AQZ_F16, l->codebooks, AQZ_F32, n_values, NULL);
	aqz_convert(l->codebooks, AQZ_F32, l->a.codebooks, AQZ_F16, n_values, NULL);
	for (size_t i = 0; i < code_rows; i++)
		l->scales[i] = (float)(0.01 + 0.02 * bench_uniform(&state));
	aqz_convert(l->a.scales, AQZ_F16, l->scales, AQZ_F32, code_rows, NULL);
	aqz_convert(l->scales, AQZ_F32, l->a.scales, AQZ_F16, code_rows, NULL);
	for (uint64_t i = 1; i < l->z.n_codes; i++)
		memcpy((uint16_t *)l->a.scales + i * code_rows, l->a.scales, code_rows * sizeof(uint16_t));
	memset(l->x, 0, BENCH_COLUMNS * l->x_ld * sizeof *l->x);
	for (unsigned i = 0; i < BENCH_COLUMNS; i++)
		bench_gaussian(l->x + i * l->x_ld, (size_t)l->shape->cols, 1, 2 + i);
	aqz_convert(l->x16, AQZ_BF16, l->x, AQZ_F32, (size_t)l->shape->cols, NULL);
}

aqz_status bench_layer_make(bench_layer *l, bench_kernels *b, unsigned i, aqz_error *err)
{
	const aqz_scheme *s = &b->scheme;
	const size_t n_values = ((size_t)s->n_codebooks << s->code_bits) * s->in_group * s->out_group;
	uint64_t rows;
	aqz_status status;

	*l = (bench_layer){.b = b,
		.shape = &b->shapes.list[i],
		.result = &b->results[i],
		.z = bench_sizes_of(b, &b->shapes.list[i])};
	l->result->memory_bytes = l->z.big_bytes / 64 * 64;
	l->result->codes_bytes = l->z.codes_bytes;
	l->result->n_copies = (unsigned)l->z.n_codes;
	rows = l->z.n_codes * l->z.tall_rows;
	l->x_ld = l->z.groups * s->in_group;
	l->a = (aqz_additive){.scheme = *s,
		.rows = rows,
		.cols = l->shape->cols,
		.code_rows = rows / s->out_group,
		.groups = l->z.groups,
		.codes = bench_lines(l->z.n_codes * l->z.codes_bytes),
		.codes_bytes = (size_t)(l->z.n_codes * l->z.codes_bytes),
		.codebook_dtype = AQZ_F16,
		.codebooks = malloc(n_values * sizeof(uint16_t)),
		.scale_dtype = AQZ_F16,
		.scales = malloc((size_t)rows * sizeof(uint16_t))};
	l->codebooks = bench_lines(n_values * sizeof(float));
	l->scales = bench_lines(l->z.tall_rows * sizeof(float));
	l->x = bench_lines(BENCH_COLUMNS * l->x_ld * sizeof(float));
	l->x16 = bench_lines(l->x_ld * sizeof(uint16_t));
	l->y = bench_lines(BENCH_COLUMNS * l->shape->rows * sizeof(float));
	l->wanted = bench_lines(l->shape->rows * sizeof(float));
	l->tables =
		bench_lines(bench_has_lut(s) ? l->z.groups * s->n_codebooks * 256 * sizeof(float) : 1);
	l->big = bench_lines(l->z.big_bytes);
	if (l->a.codes == NULL || l->a.codebooks == NULL || l->a.scales == NULL ||
		l->codebooks == NULL || l->scales == NULL || l->x == NULL || l->x16 == NULL ||
		l->y == NULL || l->wanted == NULL || l->tables == NULL || l->big == NULL)
		return bench_nomem(err);
	fill_codes(l);
	fill_values(l, n_values);
	status = aqz_matrix_open(&l->matrix, &l->a, err);
	if (status != AQZ_OK)
		return status;
	l->scratch = bench_lines(aqz_matrix_scratch_bytes(l->matrix));
	return l->scratch != NULL ? AQZ_OK : bench_nomem(err);
}

void bench_layer_free(bench_layer *l)
{
	aqz_matrix_free(l->matrix);
	aqz_additive_free(&l->a);
	free(l->codebooks);
	free(l->scales);
	free(l->x);
	free(l->x16);
	free(l->y);
	free(l->wanted);
	free(l->tables);
	free(l->big);
	free(l->scratch);
}
