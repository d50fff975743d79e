/* SPDX-License-Identifier: Apache-2.0 */
/* The one body of all variants of the product kernels; product_kernels.c includes it for each instruction set with
 *	VARIANT    its name
 *	NAME(x)    x with the variant's suffix
 *	TARGET     the function attribute
 *	WIDTH      lanes of a vector */

typedef float NAME(vec) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
#define VEC NAME(vec)
#define LOAD(p) (*(const VEC *)(p))
#define STORE(p, v) (*(VEC *)(p) = (v))
#define SPLAT(x) ((x) - (VEC){0})

/* One codebook's table for one group, 4 vectors of codes at a time. */
static inline __attribute__((always_inline)) TARGET void NAME(table)(
	float *restrict table, const float *restrict turned, const float *restrict x, unsigned in_group, size_t n)
{
	size_t k = 0;

	for (; k + 4 * WIDTH <= n; k += 4 * WIDTH) {
		VEC a = {0}, b = a, c = a, d = a;

		for (unsigned g = 0; g < in_group; g++) {
			const float *t = turned + g * n + k;
			const VEC xg = SPLAT(x[g]);

			a += xg * LOAD(t);
			b += xg * LOAD(t + WIDTH);
			c += xg * LOAD(t + 2 * WIDTH);
			d += xg * LOAD(t + 3 * WIDTH);
		}
		STORE(table + k, a);
		STORE(table + k + WIDTH, b);
		STORE(table + k + 2 * WIDTH, c);
		STORE(table + k + 3 * WIDTH, d);
	}
	for (; k < n; k++) {
		float sum = 0;

		for (unsigned g = 0; g < in_group; g++)
			sum += x[g] * turned[g * n + k];
		table[k] = sum;
	}
}

static TARGET void NAME(tables)(float *restrict tables, const float *restrict turned, const float *restrict x,
	unsigned n_groups, const aqz_scheme *s)
{
	const size_t n = (size_t)1 << s->code_bits;
	const unsigned in_group = s->in_group;

	for (unsigned j = 0; j < n_groups; j++)
		for (unsigned m = 0; m < s->n_codebooks; m++)
			NAME(table)(tables + (j * s->n_codebooks + m) * n, turned + m * n * in_group, x + j * in_group, in_group,
				n);
}

/* Codes are the bytes of the lines: sums of 8 rows stay in registers over all lines. */
static inline __attribute__((always_inline)) TARGET void NAME(look_up_bytes)(
	float acc[restrict AQZ_TILE_ROWS], const uint8_t *restrict lines, const float *restrict tables, size_t n_lines)
{
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i += 8) {
		const uint8_t *line = lines + i;
		const float *t = tables;
		float a0 = acc[i], a1 = acc[i + 1], a2 = acc[i + 2], a3 = acc[i + 3];
		float a4 = acc[i + 4], a5 = acc[i + 5], a6 = acc[i + 6], a7 = acc[i + 7];

		for (size_t k = 0; k < n_lines; k++, line += AQZ_TILE_ROWS, t += 256) {
			const uint64_t eight = aqz_get64(line);

			a0 += t[eight & 255];
			a1 += t[eight >> 8 & 255];
			a2 += t[eight >> 16 & 255];
			a3 += t[eight >> 24 & 255];
			a4 += t[eight >> 32 & 255];
			a5 += t[eight >> 40 & 255];
			a6 += t[eight >> 48 & 255];
			a7 += t[eight >> 56];
		}
		acc[i] = a0, acc[i + 1] = a1, acc[i + 2] = a2, acc[i + 3] = a3;
		acc[i + 4] = a4, acc[i + 5] = a5, acc[i + 6] = a6, acc[i + 7] = a7;
	}
}

static TARGET void NAME(look_up)(float acc[restrict AQZ_TILE_ROWS], const uint8_t *restrict lines,
	const float *restrict tables, unsigned n_groups, const aqz_scheme *s)
{
	const size_t n_lines = (size_t)n_groups * s->n_codebooks;
	uint16_t codes[AQZ_TILE_ROWS];

	if (s->code_bits == 8) {
		NAME(look_up_bytes)(acc, lines, tables, n_lines);
		return;
	}
	for (size_t k = 0; k < n_lines; k++) {
		const float *table = tables + (k << s->code_bits);

		aqz_t64_unpack(codes, lines + k * s->code_bits * (AQZ_TILE_ROWS / 8), s->code_bits);
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			acc[i] += table[codes[i]];
	}
}

/* d = O * G values of a codeword; inlined with constants for the common sizes. */
static inline __attribute__((always_inline)) TARGET void NAME(direct_group)(float *restrict acc,
	const float *restrict values, const float *restrict x, const uint16_t *restrict codes, unsigned n_codebooks,
	unsigned bits, unsigned d)
{
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i++, acc += d) {
		const float *codewords[AQZ_MAX_CODEBOOKS] = {values};
		unsigned k = 0;

		for (unsigned m = 0; m < n_codebooks; m++)
			codewords[m] = values + (((size_t)m << bits) + codes[m * AQZ_TILE_ROWS + i]) * d;
		for (; k + WIDTH <= d; k += WIDTH) {
			VEC sum = LOAD(codewords[0] + k);

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += LOAD(codewords[m] + k);
			STORE(acc + k, LOAD(acc + k) + sum * LOAD(x + k));
		}
		for (; k + 4 <= d; k += 4) {
			four sum = *(const four *)(codewords[0] + k);

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += *(const four *)(codewords[m] + k);
			*(four *)(acc + k) += sum * *(const four *)(x + k);
		}
		for (; k < d; k++) {
			float sum = codewords[0][k];

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += codewords[m][k];
			acc[k] += sum * x[k];
		}
	}
}

static TARGET void NAME(direct)(float *restrict acc, const uint8_t *restrict lines, const float *restrict x,
	unsigned n_groups, const aqz_tables *t)
{
	const unsigned n_codebooks = t->scheme.n_codebooks, bits = t->scheme.code_bits;
	const unsigned in_group = t->scheme.in_group, d = aqz_codeword(&t->scheme);
	uint16_t codes[AQZ_MAX_CODEBOOKS * AQZ_TILE_ROWS];
	float wide[AQZ_MAX_CODEWORD]; /* x for each of the O rows */

	for (unsigned j = 0; j < n_groups; j++, x += in_group) {
		for (unsigned m = 0; m < n_codebooks; m++, lines += bits * (AQZ_TILE_ROWS / 8))
			aqz_t64_unpack(codes + m * AQZ_TILE_ROWS, lines, bits);
		for (unsigned k = 0; k < d; k += in_group)
			memcpy(wide + k, x, in_group * sizeof *x);
		if (d == 8 && n_codebooks == 1)
			NAME(direct_group)(acc, t->values, wide, codes, 1, bits, 8);
		else if (d == 8 && n_codebooks == 2)
			NAME(direct_group)(acc, t->values, wide, codes, 2, bits, 8);
		else if (d == 8)
			NAME(direct_group)(acc, t->values, wide, codes, n_codebooks, bits, 8);
		else if (d == 4)
			NAME(direct_group)(acc, t->values, wide, codes, n_codebooks, bits, 4);
		else if (d == 16)
			NAME(direct_group)(acc, t->values, wide, codes, n_codebooks, bits, 16);
		else
			NAME(direct_group)(acc, t->values, wide, codes, n_codebooks, bits, d);
	}
}

static const aqz_product_kernels NAME(kernels) = {
	.name = VARIANT,
	.tables = NAME(tables),
	.look_up = NAME(look_up),
	.direct = NAME(direct),
};

#undef VEC
#undef LOAD
#undef STORE
#undef SPLAT
