/* SPDX-License-Identifier: Apache-2.0 */
/* T64 lines: codes of exactly `bits` bits for 64 rows, spec 7.2.2. Whole bytes go to byte planes,
 * least significant first; what is left of each code goes to one last plane, row after row, low
 * bits first. Eight rows of r bits fill r bytes, so no row's bits need a byte outside its eight. */
#include "codec/additive.h"

uint64_t aqz_additive_codes_bytes(const aqz_scheme *scheme, uint64_t code_rows, uint64_t groups)
{
	uint64_t n;

	if (!aqz_mul(&n, aqz_ceil_div(code_rows, AQZ_TILE_ROWS), groups) ||
		!aqz_mul(&n, n, (uint64_t)scheme->n_codebooks * scheme->code_bits * (AQZ_TILE_ROWS / 8)))
		return 0;
	return n;
}

void aqz_t64_pack(
	uint8_t *restrict line, const uint16_t codes[restrict AQZ_TILE_ROWS], unsigned bits)
{
	const unsigned n_bytes = bits / 8, rest = bits % 8;

	for (unsigned k = 0; k < n_bytes; k++, line += AQZ_TILE_ROWS)
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			line[i] = (uint8_t)(codes[i] >> 8 * k);
	if (rest == 0)
		return;
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i += 8, line += rest) {
		uint64_t eight = 0;

		for (unsigned k = 0; k < 8; k++)
			eight |= (uint64_t)((unsigned)codes[i + k] >> 8 * n_bytes) << k * rest;
		memcpy(line, &eight, rest);
	}
}

void aqz_t64_unpack(
	uint16_t codes[restrict AQZ_TILE_ROWS], const uint8_t *restrict line, unsigned bits)
{
	const unsigned n_bytes = bits / 8, rest = bits % 8;

	if (n_bytes == 0)
		memset(codes, 0, AQZ_TILE_ROWS * sizeof *codes);
	else
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			codes[i] = line[i];
	if (n_bytes == 2)
		for (unsigned i = 0; i < AQZ_TILE_ROWS; i++)
			codes[i] = (uint16_t)(codes[i] | line[AQZ_TILE_ROWS + i] << 8);
	if (rest == 0)
		return;
	line += n_bytes * AQZ_TILE_ROWS;
	for (unsigned i = 0; i < AQZ_TILE_ROWS; i += 8, line += rest) {
		uint64_t eight = 0;

		memcpy(&eight, line, rest);
		for (unsigned k = 0; k < 8; k++) {
			const unsigned top = (unsigned)(eight >> k * rest) & ((1u << rest) - 1);

			codes[i + k] = (uint16_t)(codes[i + k] | top << 8 * n_bytes);
		}
	}
}

bool aqz_t64_padding_ok(const uint8_t *lines, uint64_t n_lines, unsigned bits, unsigned n_rows)
{
	uint16_t codes[AQZ_TILE_ROWS];

	if (n_rows >= AQZ_TILE_ROWS)
		return true;
	for (uint64_t k = 0; k < n_lines; k++) {
		unsigned any = 0;

		aqz_t64_unpack(codes, lines + k * bits * (AQZ_TILE_ROWS / 8), bits);
		for (unsigned i = n_rows; i < AQZ_TILE_ROWS; i++)
			any |= codes[i];
		if (any != 0)
			return false;
	}
	return true;
}
