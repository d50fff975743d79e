/* SPDX-License-Identifier: Apache-2.0 */
/* Writing trellis tensors: the same bytes by any number of threads, and what is refused. */
#include <check.h>

#include "format/writer.h"
#include "tests/trellis_case.h"

static aqz_status write_file(memory_file *f, unsigned n_threads, uint64_t memlimit, uint64_t rows, uint64_t cols,
	uint32_t chunk_rows, int32_t index, aqz_error *err)
{
	const aqz_writer_options opt = {.struct_size = sizeof opt, .id = "trellis", .n_threads = n_threads,
		.memlimit_bytes = memlimit};
	const aqz_tensor_desc d = {.struct_size = sizeof d, .name = "t", .name_bytes = 1, .dtype = AQZ_F32, .rank = 2,
		.shape = {rows, cols}};
	noise r = {29};
	trellis_case c;
	aqz_writer *w;
	aqz_io io;
	aqz_status status;

	memset(f, 0, sizeof *f);
	memory_io(&io, f);
	trellis_case_fill(&c, CASE_LAYER, 3, 300, 40, 64, &r);
	if (index != 0)
		c.index[1234] = index;
	status = aqz_writer_open(&w, &io, &opt, err);
	if (status == AQZ_OK) {
		ck_assert_uint_eq(aqz_writer_trellis_rows(w, 300, 40, AQZ_F32), 512);
		status = aqz_writer_trellis(w, &d, &c.p, c.index, chunk_rows, err);
	}
	if (status == AQZ_OK)
		status = aqz_writer_finish(w, NULL, err);
	aqz_writer_close(w);
	trellis_case_free(&c);
	return status;
}

START_TEST(writer)
{
	memory_file one, more;
	aqz_error err;

	ck_assert_int_eq(write_file(&one, 1, 0, 300, 40, 64, 0, &err), AQZ_OK);
	ck_assert_int_eq(reader_verdict(&one, AQZ_VERIFY_FULL, 0, &err), AQZ_OK);
	ck_assert_int_eq(stream_verdict(&one, 1, 0, &err), AQZ_OK);
	for (unsigned n_threads = 2; n_threads < 8; n_threads++) {
		ck_assert_int_eq(write_file(&more, n_threads, 0, 300, 40, 64, 0, &err), AQZ_OK);
		ck_assert(more.n == one.n && memcmp(more.data, one.data, one.n) == 0);
		memory_free(&more);
	}
	memory_free(&one);
	/* Another shape, chunks that are none, an index that cannot be, no memory. */
	ck_assert_int_eq(write_file(&one, 1, 0, 40, 300, 64, 0, &err), AQZ_E_ARGUMENT);
	memory_free(&one);
	ck_assert_int_eq(write_file(&one, 1, 0, 300, 40, 100, 0, &err), AQZ_E_ARGUMENT);
	memory_free(&one);
	ck_assert_int_eq(write_file(&one, 2, 0, 300, 40, 64, 1 << 22, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "index");
	memory_free(&one);
	ck_assert_int_eq(write_file(&one, 2, 1 << 18, 300, 40, 64, 0, &err), AQZ_E_MEMLIMIT);
	memory_free(&one);
}
END_TEST

/* Bytes cannot be put: what a chunk takes is known only when it is coded. */
START_TEST(no_bytes_are_put)
{
	const aqz_writer_options opt = {.struct_size = sizeof opt, .id = "trellis", .n_threads = 1};
	aqz_tensor_desc d = {.struct_size = sizeof d, .name = "t", .name_bytes = 1, .dtype = AQZ_F32, .rank = 2,
		.shape = {3, 4}, .scheme = aqz_trellis_scheme(3)};
	memory_file f = {0};
	uint8_t data[48] = {0};
	aqz_writer *w;
	aqz_error err;
	aqz_io io;

	memory_io(&io, &f);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &opt, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_tensor(w, NULL, &d, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "tensor.scheme");
	d.scheme = (aqz_scheme){.codec = AQZ_CODEC_LOSSLESS}; /* the file goes on */
	ck_assert_int_eq(aqz_writer_tensor(w, NULL, &d, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(w, data, sizeof data, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_finish(w, NULL, &err), AQZ_OK);
	aqz_writer_close(w);
	memory_free(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trellis, writer");
	TCase *t = tcase_create("writer");
	SRunner *run;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, writer);
	tcase_add_test(t, no_bytes_are_put);
	suite_add_tcase(s, t);
	run = srunner_create(s);
	srunner_run_all(run, CK_NORMAL);
	failed = srunner_ntests_failed(run);
	srunner_free(run);
	return failed != 0;
}
