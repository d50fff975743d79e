/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds of fuzz_safetensors: small files with every feature that a header can have. */
#include "fuzz/seeds_safetensors.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/base.h"

static const struct {
	const char *name, *json;
	size_t data_bytes;
} texts[] = {
	{"empty", "{}", 0},
	{"spaces",
		"{ \"x\" :\t{ \"dtype\" : \"U8\" , \"shape\" : [ 1 ] ,\n \"data_offsets\" : [ 0 , 1 ] } } ",
		1},
	{"escapes", "{\"\\u00e9\\ud83d\\ude00\\/\\\"\\\\\":{\"\\u0064type\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
		1},
	{"ties",
		"{\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
		"\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[0,0]},"
		"\"e\":{\"dtype\":\"F4\",\"shape\":[0],\"data_offsets\":[1,1]}}",
		1},
	{"large-zero",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]}}", 0},
	{"twice",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
		"\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
		2},
};

static bool write_file(
	const char *folder, const char *name, const uint8_t *header, size_t n, uint64_t data_bytes)
{
	char path[4096];
	FILE *file;
	bool ok;

	if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
		return false;
	file = fopen(path, "wb");
	if (file == NULL)
		return false;
	ok = fwrite(header, 1, n, file) == n;
	for (; data_bytes > 0; data_bytes--)
		ok = fputc(0, file) == 0 && ok;
	return fclose(file) == 0 && ok;
}

/* All dtypes and ranks in one file: with its data, and without, as fuzz_safetensors corrects that. */
static bool write_dtypes(const char *folder)
{
	aqz_source_tensor tensors[64] = {0};
	uint64_t data_bytes = 0;
	uint32_t count = 0;
	uint8_t *header;
	size_t n;
	bool ok;

	for (int dtype = 0; dtype < 64; dtype++) {
		aqz_source_tensor *t = &tensors[count];

		t->dtype = (aqz_dtype)dtype;
		t->name = aqz_dtype_name(t->dtype);
		if (t->name == NULL)
			continue;
		t->name_bytes = strlen(t->name);
		t->rank = count % (AQZ_MAX_RANK + 1);
		if (aqz_dtype_bits(t->dtype) < 8)
			t->rank = AQZ_MAX_RANK;
		for (uint32_t k = 0; k < t->rank; k++)
			t->shape[k] = k == 0 ? 4 : 1;
		if (!aqz_shape_size(&t->n_elements, &t->n_bytes, t->shape, t->rank, t->dtype))
			return false;
		data_bytes += t->n_bytes;
		count++;
	}
	if (aqz_safetensors_header(&header, &n, tensors, count, "{\"format\":\"pt\"}", NULL) != AQZ_OK)
		return false;
	ok = write_file(folder, "dtypes", header, n, data_bytes) &&
		write_file(folder, "dtypes-header", header, n, 0);
	free(header);
	return ok;
}

bool seeds_safetensors(const char *parent)
{
	char folder[4000];
	bool ok;

	if (snprintf(folder, sizeof folder, "%s/safetensors", parent) >= (int)sizeof folder)
		return false;
	mkdir(folder, 0777); /* may be there; writing tells */
	ok = write_dtypes(folder);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		aqz_buffer b = {0};
		char name[64];

		ok = aqz_buffer_add(&b, NULL, 8, NULL) == AQZ_OK &&
			aqz_buffer_add(&b, texts[i].json, strlen(texts[i].json), NULL) == AQZ_OK && ok;
		if (!ok)
			return false;
		aqz_put64(b.data, b.n - 8);
		snprintf(name, sizeof name, "%s-header", texts[i].name);
		ok = write_file(folder, texts[i].name, b.data, b.n, texts[i].data_bytes) &&
			write_file(folder, name, b.data, b.n, 0);
		aqz_buffer_free(&b);
	}
	return ok;
}
