/* SPDX-License-Identifier: Apache-2.0 */
/* Trellis sections on a device: the bits of the CPU's decoder, and broken streams. */
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_file.h"
#include "tests/reseal.h"

typedef struct archive_case {
	case_kind kind;
	unsigned state_bits;
	uint64_t rows, cols, chunk_rows;
	aqz_dtype dtype;
} archive_case;

static const archive_case cases[] = {
	{CASE_LAYER, 3, 300, 40, 64, AQZ_BF16},
	{CASE_LAYER, 8, 200, 100, 128, AQZ_F16},
	{CASE_RANDOM, 0, 70, 33, 64, AQZ_F32},
	{CASE_RANDOM, 2, 129, 31, 64, AQZ_F16},
	{CASE_RANDOM, 5, 64, 65, 64, AQZ_BF16},
	{CASE_WIDE, 4, 100, 50, 64, AQZ_F32},
	{CASE_WIDE, 6, 65, 1, 64, AQZ_F16},
	{CASE_ZERO, 7, 90, 70, 64, AQZ_BF16},
	{CASE_CONSTANT, 3, 66, 36, 64, AQZ_F32},
	{CASE_RANDOM, 8, 1, 3, 64, AQZ_F32},
};

static uint32_t make(gpu_file *f, const archive_case *c, noise *r)
{
	trellis_case t;

	gpu_file_begin(f, 1 << 20);
	trellis_case_fill(&t, c->kind, c->state_bits, c->rows, c->cols, c->chunk_rows, r);
	gpu_file_add_trellis(f, &t, c->dtype);
	trellis_case_free(&t);
	gpu_file_end(f);
	return aqz_reader_tensor(f->reader, 0)->section;
}

static aqz_status cpu(const gpu_file *f, uint32_t section, void *dst, size_t n)
{
	const aqz_section_info *s = aqz_reader_section(f->reader, section);
	aqz_cursor *cursor;
	aqz_status status = aqz_cursor_open(&cursor, f->reader, section, NULL);

	if (status == AQZ_OK)
		status = aqz_cursor_read(cursor, 0, s->rows, dst, n, NULL);
	aqz_cursor_close(cursor);
	return status;
}

START_TEST(same_bits)
{
	const archive_case *c = &cases[_i];
	const size_t n = (size_t)(c->rows * c->cols) * (c->dtype == AQZ_F32 ? 4 : 2);
	uint8_t *due = sure_alloc(n), *got = sure_alloc(n);
	noise r = {7 + (uint64_t)_i};
	uint32_t section;
	aqz_gpu_plan plan;
	void *device;
	gpu_file f;
	aqz_error err = {0};

	section = make(&f, c, &r);
	ck_assert_int_eq(cpu(&f, section, due, n), AQZ_OK);
	memset(got, 0x5a, n);
	device = gpu_put(got, n);
	ck_assert_int_eq(aqz_gpu_plan_sections(&plan, f.reader, &section, 1, NULL), AQZ_OK);
	ck_assert_uint_eq(plan.device_bytes, n);
	ck_assert_msg(aqz_gpu_decode_section(device, n, gpu, f.reader, section, &err) == AQZ_OK, "%s", err.text);
	gpu_fetch(got, device, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(got[i] == due[i], "byte %zu of %zu differs", i, n);
	ck_assert_int_eq(aqz_gpu_decode_section(device, n - 1, gpu, f.reader, section, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_gpu_decode_section(device, n, gpu, f.reader, 99, NULL), AQZ_E_NOT_FOUND);
	aqz_gpu_memory_free(gpu, device);
	gpu_file_free(&f);
	free(due);
	free(got);
}
END_TEST

/* Any change of a payload, its hashes made right again, decodes or not as it does for the CPU. */
START_TEST(broken_streams)
{
	const archive_case c = {CASE_RANDOM, 4, 128, 40, 64, AQZ_F16};
	const size_t n = 128 * 40 * 2;
	uint8_t *due = sure_alloc(n), *got = sure_alloc(n);
	const aqz_reader_options unhashed = {.struct_size = sizeof unhashed, .skip_decoded_hash = true};
	noise r = {21};
	uint32_t section;
	unsigned n_corrupt = 0;
	void *device;
	gpu_file f;
	memory_file whole = {0};

	section = make(&f, &c, &r);
	store_index(&f.file);
	memory_copy(&whole, &f.file);
	device = gpu_put(got, n);
	for (unsigned i = 0; i < 40; i++) {
		aqz_status on_cpu, on_device;

		memory_copy(&f.file, &whole);
		f.file.data[200 + noise_next(&r) % (f.file.n - 1000)] ^= (uint8_t)(1 + noise_next(&r) % 255);
		reseal(f.file.data, f.file.n, RESEAL_INDEX);
		aqz_reader_close(f.reader);
		f.reader = NULL;
		if (aqz_reader_open(&f.reader, &f.io, &unhashed, NULL) != AQZ_OK ||
			aqz_reader_section(f.reader, section) == NULL ||
			aqz_reader_section(f.reader, section)->scheme.codec != AQZ_CODEC_TRELLIS ||
			aqz_reader_section(f.reader, section)->decoded_bytes != n)
			continue;
		on_cpu = cpu(&f, section, due, n);
		on_device = aqz_gpu_decode_section(device, n, gpu, f.reader, section, NULL);
		ck_assert_int_eq(on_device, on_cpu);
		n_corrupt += on_cpu == AQZ_E_CORRUPT;
		if (on_cpu == AQZ_OK) {
			gpu_fetch(got, device, n);
			ck_assert_mem_eq(got, due, n);
		}
	}
	ck_assert_uint_ge(n_corrupt, 10);
	aqz_gpu_memory_free(gpu, device);
	memory_free(&whole);
	gpu_file_free(&f);
	free(due);
	free(got);
}
END_TEST

TCase *gpu_cases_archives(void)
{
	TCase *t = tcase_create("archives");

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, same_bits, 0, sizeof cases / sizeof *cases);
	tcase_add_test(t, broken_streams);
	return t;
}
