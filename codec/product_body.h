/* SPDX-License-Identifier: Apache-2.0 */
/* The one body of the direct kernels for any scheme; a file of an instruction set includes it with
 *	NAME(x)    x with the variant's suffix
 *	TARGET     the function attribute
 *	WIDTH      lanes of a vector
 * and the type four of 4 lanes. */

typedef float NAME(vec) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));

/* d = O * G values of a codeword; inlined with constants for the common sizes. wide: x for each of the O rows. */
static inline __attribute__((always_inline)) TARGET void NAME(direct_group)(float *restrict acc, size_t acc_ld,
	const float *restrict values, const float (*wide)[AQZ_MAX_CODEWORD], unsigned n_columns,
	const uint16_t *restrict codes, unsigned n_codebooks, unsigned bits, unsigned d)
{
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i++, acc += d) {
		const float *codewords[AQZ_MAX_CODEBOOKS] = {values};
		unsigned k = 0;

		for (unsigned m = 0; m < n_codebooks; m++)
			codewords[m] = values + (((size_t)m << bits) + codes[m * AQZ_TILE_ROWS + i]) * d;
		for (; k + WIDTH <= d; k += WIDTH) {
			NAME(vec) sum = *(const NAME(vec) *)(codewords[0] + k);

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += *(const NAME(vec) *)(codewords[m] + k);
			for (unsigned t = 0; t < n_columns; t++)
				*(NAME(vec) *)(acc + t * acc_ld + k) += sum * *(const NAME(vec) *)(wide[t] + k);
		}
		for (; k + 4 <= d; k += 4) {
			four sum = *(const four *)(codewords[0] + k);

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += *(const four *)(codewords[m] + k);
			for (unsigned t = 0; t < n_columns; t++)
				*(four *)(acc + t * acc_ld + k) += sum * *(const four *)(wide[t] + k);
		}
		for (; k < d; k++) {
			float sum = codewords[0][k];

			for (unsigned m = 1; m < n_codebooks; m++)
				sum += codewords[m][k];
			for (unsigned t = 0; t < n_columns; t++)
				acc[t * acc_ld + k] += sum * wide[t][k];
		}
	}
}

/* The same with constants for few codebooks, and for a column alone. */
static inline __attribute__((always_inline)) TARGET void NAME(direct_size)(float *restrict acc,
	const float *restrict values, const float (*wide)[AQZ_MAX_CODEWORD], unsigned n_columns,
	const uint16_t *restrict codes, unsigned n_codebooks, unsigned bits, unsigned d)
{
	const size_t ld = (size_t)AQZ_TILE_ROWS * d;

	if (n_columns == 1 && n_codebooks == 1)
		NAME(direct_group)(acc, ld, values, wide, 1, codes, 1, bits, d);
	else if (n_columns == 1 && n_codebooks == 2)
		NAME(direct_group)(acc, ld, values, wide, 1, codes, 2, bits, d);
	else if (n_columns == 1)
		NAME(direct_group)(acc, ld, values, wide, 1, codes, n_codebooks, bits, d);
	else
		NAME(direct_group)(acc, ld, values, wide, n_columns, codes, n_codebooks, bits, d);
}

static TARGET void NAME(direct)(float *restrict acc, const uint8_t *restrict lines, const float *restrict x,
	size_t x_ld, unsigned n_columns, unsigned n_groups, const aqz_tables *restrict tables,
	const uint16_t *restrict half)
{
	const unsigned n_codebooks = tables->scheme.n_codebooks, bits = tables->scheme.code_bits;
	const unsigned in_group = tables->scheme.in_group, d = aqz_codeword(&tables->scheme);
	const float *values = tables->values;
	uint16_t codes[AQZ_MAX_CODEBOOKS * AQZ_TILE_ROWS];
	float wide[AQZ_PRODUCT_COLUMNS][AQZ_MAX_CODEWORD];

	(void)half;
	for (unsigned j = 0; j < n_groups; j++, x += in_group) {
		for (unsigned m = 0; m < n_codebooks; m++, lines += bits * (AQZ_TILE_ROWS / 8))
			aqz_product_unpack(codes + m * AQZ_TILE_ROWS, lines, bits);
		for (unsigned t = 0; t < n_columns; t++)
			for (unsigned k = 0; k < d; k += in_group)
				memcpy(wide[t] + k, x + t * x_ld, in_group * sizeof *x);
		if (d == 8)
			NAME(direct_size)(acc, values, wide, n_columns, codes, n_codebooks, bits, 8);
		else if (d == 16)
			NAME(direct_size)(acc, values, wide, n_columns, codes, n_codebooks, bits, 16);
		else if (d == 4)
			NAME(direct_size)(acc, values, wide, n_columns, codes, n_codebooks, bits, 4);
		else
			NAME(direct_size)(acc, values, wide, n_columns, codes, n_codebooks, bits, d);
	}
}
