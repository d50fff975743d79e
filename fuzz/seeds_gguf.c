/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds of fuzz_gguf and fuzz_npy: small files with every type of metadata, tensors and arrays. */
#include "fuzz/seeds_gguf.h"

#include <stdio.h>
#include <sys/stat.h>

#include "tests/gguf_file.h"

static bool write_file(const char *parent, const char *kind, const char *name, const void *bytes, size_t n)
{
	char path[4096];
	FILE *file;
	bool ok;

	if (snprintf(path, sizeof path, "%s/%s", parent, kind) >= (int)sizeof path)
		return false;
	mkdir(path, 0777); /* may be there; writing tells */
	if (snprintf(path, sizeof path, "%s/%s/%s", parent, kind, name) >= (int)sizeof path)
		return false;
	file = fopen(path, "wb");
	if (file == NULL)
		return false;
	ok = fwrite(bytes, 1, n, file) == n;
	return fclose(file) == 0 && ok;
}

/* The file, and what is left of it without data, which fuzz_gguf adds. */
static bool write_gguf(const char *parent, const char *name, gguf_file *f)
{
	const size_t data_bytes = f->data.n;
	char longer[64];
	aqz_buffer b;
	bool ok;

	gguf_make(&b, f);
	snprintf(longer, sizeof longer, "%s-header", name);
	ok = write_file(parent, "gguf", name, b.data, b.n) && write_file(parent, "gguf", longer, b.data, b.n - data_bytes);
	aqz_buffer_free(&b);
	return ok;
}

static void put_metadata(gguf_file *f)
{
	static const char *const texts[] = {"<s>", "", "a b"};
	static const double numbers[] = {1, -2.5, 1e300};

	for (int kind = AQZ_GGUF_U8; kind <= AQZ_GGUF_F64; kind++) {
		char key[16];

		if (kind == AQZ_GGUF_STRING || kind == AQZ_GGUF_ARRAY)
			continue;
		snprintf(key, sizeof key, "one.%d", kind);
		gguf_put_number(f, key, (aqz_gguf_kind)kind, kind == AQZ_GGUF_BOOL ? (const void *)"\1" : &numbers[1]);
		snprintf(key, sizeof key, "many.%d", kind);
		gguf_put_numbers(f, key, (aqz_gguf_kind)kind, kind == AQZ_GGUF_BOOL ? (const void *)"\1\0\1" : numbers, 3);
	}
	gguf_put_string(f, "text", "a text");
	gguf_put_strings(f, "texts", texts, 3);
}

static bool write_types(const char *parent)
{
	gguf_file f = {.alignment = 8};

	gguf_put_u32(&f, "general.alignment", 8);
	for (uint32_t id = 0; id < 64; id++) {
		const aqz_gguf_type *type = aqz_gguf_type_find(id);
		const uint64_t shape[2] = {2, type != NULL ? type->n_values : 0};

		if (type != NULL)
			gguf_put_tensor(&f, type->name, id, 2, shape, NULL, 2 * type->n_bytes);
	}
	return write_gguf(parent, "types", &f);
}

static bool write_npy(const char *parent)
{
	static const struct {
		const char *name, *header;
		size_t data_bytes;
	} arrays[] = {
		{"u2", "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }\n", 12},
		{"i8", "{'descr': '>i8', 'fortran_order': True, 'shape': (3,), }    \n", 24},
		{"i1", "{\"shape\":(),\"descr\":\"|i1\",\"fortran_order\":False}", 1},
		{"f4", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24},
		{"empty", "{'descr': '<i4', 'fortran_order': False, 'shape': (0, 3, 9), }\n", 0},
	};

	for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
		for (uint8_t version = 1; version <= 3; version++) {
			const size_t n = strlen(arrays[i].header);
			const uint8_t start[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', version, 0};
			aqz_buffer b = {0};
			char name[64];
			bool ok;

			gguf_add(&b, start, 8);
			if (version == 1)
				gguf_add(&b, &(uint16_t){(uint16_t)n}, 2);
			else
				gguf_add32(&b, (uint32_t)n);
			gguf_add(&b, arrays[i].header, n);
			snprintf(name, sizeof name, "%s-%d-header", arrays[i].name, version);
			ok = write_file(parent, "npy", name, b.data, b.n);
			gguf_add(&b, NULL, arrays[i].data_bytes);
			snprintf(name, sizeof name, "%s-%d", arrays[i].name, version);
			ok = write_file(parent, "npy", name, b.data, b.n) && ok;
			aqz_buffer_free(&b);
			if (!ok)
				return false;
		}
	return true;
}

bool seeds_gguf(const char *parent)
{
	gguf_file f = {0};
	bool ok = write_types(parent) && write_npy(parent);

	put_metadata(&f);
	ok = write_gguf(parent, "metadata", &f) && ok;
	gguf_put_sample(&f);
	return write_gguf(parent, "tensors", &f) && ok;
}
