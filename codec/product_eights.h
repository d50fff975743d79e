/* SPDX-License-Identifier: Apache-2.0 */
/* How AVX2 and AVX-512 multiply directly: included after codec/product_body.h, with the same NAME and TARGET and with
 * the instruction set's offsets_of, columns and codebooks_direct. */

/* Codewords of 8 values by the kernel of the instruction set, all others by the loops above. */
TARGET void NAME(aqz_product_direct)(float *restrict acc, const uint8_t *restrict lines,
	const float *restrict x, size_t x_ld, unsigned n_columns, unsigned n_groups,
	const aqz_tables *restrict tables, const uint16_t *restrict half)
{
	const unsigned n_codebooks = tables->scheme.n_codebooks, bits = tables->scheme.code_bits;
	uint32_t offsets[AQZ_TILE_GROUPS * 2 * AQZ_TILE_ROWS];
	columns c = {acc, x, x_ld};
	const unsigned step = AQZ_TILE_GROUPS * 2 / n_codebooks;

	if (tables->scheme.in_group != 8 || tables->scheme.out_group != 1) {
		NAME(direct)(acc, lines, x, x_ld, n_columns, n_groups, tables, half);
		return;
	}
	while (n_groups > 0) {
		const unsigned here = n_groups < step ? n_groups : step;

		for (unsigned k = 0; k < here * n_codebooks; k++, lines += bits * (AQZ_TILE_ROWS / 8))
			offsets_of(offsets + k * AQZ_TILE_ROWS, lines, bits, (k % n_codebooks) << bits);
		for (unsigned t = 0, n; t < n_columns; t += n) {
			n = n_columns - t >= 8 ? 8 : n_columns - t >= 4 ? 4 : n_columns - t >= 2 ? 2 : 1;
			c.acc = acc + t * AQZ_TILE_ROWS * 8;
			c.x = x + t * x_ld;
			if (n_codebooks == 1 && half != NULL)
				codebooks_direct(&c, NULL, half, offsets, here, 1, n);
			else if (n_codebooks == 1)
				codebooks_direct(&c, tables->values, NULL, offsets, here, 1, n);
			else if (n_codebooks == 2 && half == NULL)
				codebooks_direct(&c, tables->values, NULL, offsets, here, 2, n);
			else if (half == NULL)
				codebooks_direct(&c, tables->values, NULL, offsets, here, n_codebooks, n);
			else
				codebooks_direct(&c, NULL, half, offsets, here, n_codebooks, n);
		}
		x += here * 8;
		n_groups -= here;
	}
}
