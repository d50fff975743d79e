/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes opening at random: footer, index, records, cursors over every section, verify, salvage.
 * The input is a container. Hashes hold in this build whatever they are (see format/frame.c). */
#include "fuzz/mutate.h"
#include "tests/support.h"

#define MEMORY (UINT64_C(64) << 20)
#define SMALL (UINT64_C(1) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

/* A finding. */
static void demand(bool holds)
{
	if (!holds)
		abort();
}

static bool data_status(aqz_status s)
{
	return s == AQZ_OK || s == AQZ_E_FORMAT || s == AQZ_E_UNSUPPORTED || s == AQZ_E_TRUNCATED || s == AQZ_E_CORRUPT ||
		s == AQZ_E_CHECKSUM || s == AQZ_E_MEMLIMIT;
}

/* All rows, and a few in the middle, which must be the same. */
static void read_section(const aqz_reader *r, const aqz_section_info *s)
{
	aqz_cursor *c;
	aqz_error err;
	aqz_status status = aqz_cursor_open(&c, r, s->number, &err);

	demand(data_status(status));
	if (status != AQZ_OK)
		return;
	if (s->decoded_bytes <= SMALL) {
		uint8_t *all = malloc((size_t)s->decoded_bytes + 1), *part = malloc((size_t)s->decoded_bytes + 1);
		uint64_t begin = s->rows / 3, end = s->rows - s->rows / 4, row_bits = s->cols * aqz_dtype_bits(s->dtype);

		SURE(all != NULL && part != NULL);
		status = aqz_cursor_read(c, 0, s->rows, all, (size_t)s->decoded_bytes, &err);
		demand(data_status(status));
		if (status == AQZ_OK && begin * row_bits % 8 == 0 && end * row_bits % 8 == 0) {
			size_t n = (size_t)((end - begin) * row_bits / 8);

			demand(aqz_cursor_read(c, begin, end, part, n, &err) == AQZ_OK);
			demand(memcmp(part, all + begin * row_bits / 8, n) == 0);
		}
		free(all);
		free(part);
	}
	aqz_cursor_close(c);
}

static void read_tensor(const aqz_reader *r, const aqz_tensor_info *t)
{
	demand(strlen(t->name) == t->name_bytes && aqz_reader_find(r, t->name, t->name_bytes) == t);
	demand(t->section < aqz_reader_file(r)->n_sections);
	(void)aqz_reader_tensor_file_bytes(r, t);
	if (t->n_bytes <= SMALL) {
		uint8_t *data = malloc((size_t)t->n_bytes + 1);
		aqz_error err;

		SURE(data != NULL);
		demand(data_status(aqz_reader_read_tensor(r, t, data, (size_t)t->n_bytes, &err)));
		free(data);
	}
}

static void salvage(memory_file *f)
{
	memory_file out = {0};
	aqz_io in, to;
	aqz_error err;
	aqz_status status;

	memory_io(&in, f);
	memory_io(&to, &out);
	status = aqz_salvage(&in, &to, MEMORY, NULL, NULL, NULL, NULL, NULL, &err);
	demand(data_status(status));
	/* Whatever was saved is sound. */
	if (status == AQZ_OK)
		demand(reader_verdict(&out, AQZ_VERIFY_FULL, 0, &err) == AQZ_OK);
	memory_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	memory_file f = {0};
	aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = MEMORY};
	aqz_reader *r;
	aqz_io io;
	aqz_error err;
	aqz_status status;

	memory_add(&f, data, n);
	memory_io(&io, &f);
	status = aqz_reader_open(&r, &io, &opt, &err);
	demand(data_status(status));
	if (status == AQZ_OK) {
		const aqz_file_info *info = aqz_reader_file(r);
		aqz_ledger ledger;

		aqz_reader_ledger(r, &ledger);
		demand(ledger.total == n && info->n_bytes == n);
		for (uint32_t i = 0; i < info->n_sections && i < 64; i++)
			read_section(r, aqz_reader_section(r, i));
		for (uint32_t i = 0; i < info->n_tensors && i < 64; i++)
			read_tensor(r, aqz_reader_tensor(r, i));
		demand(data_status(aqz_reader_verify(r, AQZ_VERIFY_FULL, 1, NULL, NULL, NULL, NULL, &err)));
		aqz_reader_close(r);
	}
	salvage(&f);
	memory_free(&f);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
	return mutate_container(data, n, max, seed);
}
