/* SPDX-License-Identifier: Apache-2.0 */
/* The table of element types and the size of a shape, spec 1.3. */
#include "base/base.h"

static const struct {
	aqz_dtype dtype;
	uint8_t bits;
	char name[14];
} dtypes[] = {
	{AQZ_BOOL, 8, "BOOL"},
	{AQZ_U8, 8, "U8"},
	{AQZ_I8, 8, "I8"},
	{AQZ_U16, 16, "U16"},
	{AQZ_I16, 16, "I16"},
	{AQZ_U32, 32, "U32"},
	{AQZ_I32, 32, "I32"},
	{AQZ_U64, 64, "U64"},
	{AQZ_I64, 64, "I64"},
	{AQZ_F16, 16, "F16"},
	{AQZ_BF16, 16, "BF16"},
	{AQZ_F32, 32, "F32"},
	{AQZ_F64, 64, "F64"},
	{AQZ_C64, 64, "C64"},
	{AQZ_F8_E5M2, 8, "F8_E5M2"},
	{AQZ_F8_E4M3, 8, "F8_E4M3"},
	{AQZ_F8_E8M0, 8, "F8_E8M0"},
	{AQZ_F8_E4M3FNUZ, 8, "F8_E4M3FNUZ"},
	{AQZ_F8_E5M2FNUZ, 8, "F8_E5M2FNUZ"},
	{AQZ_F6_E2M3, 6, "F6_E2M3"},
	{AQZ_F6_E3M2, 6, "F6_E3M2"},
	{AQZ_F4, 4, "F4"},
};

#define N_DTYPES (sizeof dtypes / sizeof *dtypes)

unsigned aqz_dtype_bits(aqz_dtype dtype)
{
	for (size_t i = 0; i < N_DTYPES; i++)
		if (dtypes[i].dtype == dtype)
			return dtypes[i].bits;
	return 0;
}

const char *aqz_dtype_name(aqz_dtype dtype)
{
	for (size_t i = 0; i < N_DTYPES; i++)
		if (dtypes[i].dtype == dtype)
			return dtypes[i].name;
	return NULL;
}

aqz_dtype aqz_dtype_find(const char *name, size_t name_bytes)
{
	for (size_t i = 0; i < N_DTYPES; i++)
		if (strlen(dtypes[i].name) == name_bytes && memcmp(dtypes[i].name, name, name_bytes) == 0)
			return dtypes[i].dtype;
	return (aqz_dtype)0;
}

bool aqz_shape_size(
	uint64_t *n_elements, uint64_t *n_bytes, const uint64_t *shape, uint32_t rank, aqz_dtype dtype)
{
	const unsigned bits = aqz_dtype_bits(dtype);
	/* The fewest elements that fill whole bytes: 1, 2 for 4-bit and 4 for 6-bit elements. */
	const unsigned unit = bits == 4 ? 2 : bits == 6 ? 4 : 1;
	uint64_t product = 1, bytes;
	bool empty = false;

	if (bits == 0)
		return false;
	for (uint32_t i = 0; i < rank; i++) {
		if (shape[i] == 0)
			empty = true;
		else if (!aqz_mul(&product, product, shape[i]))
			return false;
	}
	if (!aqz_mul(&bytes, aqz_ceil_div(product, unit), unit * bits / 8))
		return false;
	if (!empty && product % unit != 0)
		return false;
	*n_elements = empty ? 0 : product;
	*n_bytes = empty ? 0 : bytes;
	return true;
}
