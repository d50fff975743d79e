/* SPDX-License-Identifier: Apache-2.0 */
/* Rows one after the other, out of a file and out of a pipe: in order, with the memory of one chunk however long the
 * file is; and a file that is cut short while it is open, which is an error of the call that misses the bytes and never
 * the end of the process. */
#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/heap.h"
#include "tests/support.h"

enum { COLS = 512, CHUNK_ROWS = 64, CHUNK_BYTES = CHUNK_ROWS * COLS * 2 };

static const aqz_scheme scheme = {AQZ_CODEC_ADDITIVE, 2, 8, 8, 1};

#define SURE_OK(call) ck_assert_msg((call) == AQZ_OK, "%s: %s", err.where, err.text)

/* One additive tensor of n_chunks chunks. */
static void write_chunks(memory_file *f, uint64_t n_chunks)
{
	const uint64_t rows = n_chunks * CHUNK_ROWS;
	const aqz_writer_options opt = {
		.struct_size = sizeof opt, .chunk_bytes = CHUNK_BYTES, .n_threads = 1};
	const aqz_tensor_desc desc = {.struct_size = sizeof desc,
		.name = "w",
		.name_bytes = 1,
		.dtype = AQZ_BF16,
		.rank = 2,
		.shape = {rows, COLS},
		.scheme = scheme};
	aqz_additive a = {.scheme = scheme,
		.rows = rows,
		.cols = COLS,
		.code_rows = rows,
		.groups = COLS / 8,
		.codebook_dtype = AQZ_F32,
		.scale_dtype = AQZ_F32};
	const size_t n_values = (size_t)2 * 256 * 8;
	noise r = {17};
	aqz_error err;
	aqz_writer *w;
	aqz_io io;

	a.codes_bytes = aqz_additive_codes_bytes(&scheme, rows, a.groups);
	a.codes = sure_alloc((size_t)a.codes_bytes);
	a.codebooks = sure_alloc(n_values * sizeof(float));
	a.scales = sure_alloc((size_t)rows * sizeof(float));
	noise_fill(&r, a.codes, (size_t)a.codes_bytes);
	for (size_t i = 0; i < n_values; i++)
		((float *)a.codebooks)[i] = (float)(noise_next(&r) >> 40) * 0x1p-24f - 0.5f;
	for (size_t i = 0; i < rows; i++)
		((float *)a.scales)[i] = 1 + (float)(i % 5) / 4;
	*f = (memory_file){0};
	memory_io(&io, f);
	SURE_OK(aqz_writer_open(&w, &io, &opt, &err));
	SURE_OK(aqz_writer_additive(w, &desc, &a, &err));
	SURE_OK(aqz_writer_finish(w, NULL, &err));
	aqz_writer_close(w);
	aqz_additive_free(&a);
}

/* ---- Memory and order */

typedef struct taker {
	uint64_t next_row;
	uint64_t sum[2]; /* of all elements, in order */
} taker;

static void take(taker *t, const void *data, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i += 2) {
		t->sum[0] += aqz_get16((const uint8_t *)data + i);
		t->sum[1] += t->sum[0];
	}
}

static aqz_status on_rows(void *user, const aqz_section_info *section, uint64_t row,
	uint64_t n_rows, const void *data, size_t n_bytes)
{
	taker *t = user;

	if (section->kind != AQZ_KIND_TENSOR)
		return AQZ_OK;
	ck_assert_uint_eq(row, t->next_row);
	ck_assert_uint_eq(n_bytes, n_rows * COLS * 2);
	t->next_row += n_rows;
	take(t, data, n_bytes);
	return AQZ_OK;
}

/* Each returns the most heap that it took. */
typedef size_t reading(memory_file *f, taker *t);

static size_t push(memory_file *f, taker *t)
{
	const aqz_stream_events events = {.user = t, .rows = on_rows};
	const size_t before = heap_now();
	aqz_stream *s;
	aqz_error err;

	heap_reset(0);
	SURE_OK(aqz_stream_open(&s, &events, NULL, &err));
	for (size_t at = 0; at < f->n; at += 1000)
		SURE_OK(aqz_stream_push(s, f->data + at, f->n - at < 1000 ? f->n - at : 1000, &err));
	SURE_OK(aqz_stream_finish(s, &err));
	aqz_stream_close(s);
	ck_assert_uint_eq(heap_now(), before);
	return heap_peak() - before;
}

/* n_rows at a time. */
static size_t iterate(memory_file *f, taker *t, uint64_t n_rows)
{
	const size_t before = heap_now();
	static uint8_t rows[2 * CHUNK_BYTES];
	const aqz_tensor_info *info;
	aqz_cursor *c;
	aqz_reader *r;
	aqz_error err;
	aqz_io io;

	memory_io(&io, f);
	heap_reset(0);
	SURE_OK(aqz_reader_open(&r, &io, NULL, &err));
	info = aqz_reader_tensor(r, 0);
	SURE_OK(aqz_cursor_open(&c, r, info->section, &err));
	while (t->next_row < info->shape[0]) {
		const uint64_t end = aqz_min(t->next_row + n_rows, info->shape[0]);
		const size_t bytes = (size_t)(end - t->next_row) * COLS * 2;

		SURE_OK(aqz_cursor_read(c, t->next_row, end, rows, bytes, &err));
		take(t, rows, bytes);
		t->next_row = end;
	}
	aqz_cursor_close(c);
	aqz_reader_close(r);
	ck_assert_uint_eq(heap_now(), before);
	return heap_peak() - before;
}

static size_t by_row(memory_file *f, taker *t)
{
	return iterate(f, t, 1);
}

static size_t by_chunk(memory_file *f, taker *t)
{
	return iterate(f, t, CHUNK_ROWS);
}

/* Pieces that begin and end within chunks. */
static size_t by_piece(memory_file *f, taker *t)
{
	return iterate(f, t, 50);
}

START_TEST(memory_is_that_of_a_chunk)
{
	static reading *const readings[] = {push, by_row, by_chunk, by_piece};
	/* Frame and decoded chunk, tables in binary32 and codebooks as they are stored; and for each chunk the scales of
	 * its rows, stored and in binary32, and what the catalog keeps. */
	const size_t fixed = 2 * CHUNK_BYTES + 4 * 4 * 4096, each = 2 * 4 * CHUNK_ROWS + 256;
	const uint64_t few = 4, many = 100;
	memory_file small, large;
	taker sums = {0};

	write_chunks(&small, few);
	write_chunks(&large, many);
	for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
		taker a = {0}, b = {0};
		const size_t least = readings[i](&small, &a), most = readings[i](&large, &b);

		ck_assert_uint_eq(a.next_row, few * CHUNK_ROWS);
		ck_assert_uint_eq(b.next_row, many * CHUNK_ROWS);
		/* Much less than the chunks themselves would take. */
		ck_assert_msg(
			most - least < (many - few) * each, "reading %zu: %zu bytes, then %zu", i, least, most);
		ck_assert_msg(least < fixed + few * each, "reading %zu: %zu bytes", i, least);
		if (i == 0)
			sums = b;
		ck_assert_mem_eq(b.sum, sums.sum, sizeof sums.sum);
	}
	memory_free(&small);
	memory_free(&large);
}
END_TEST

/* ---- A file that is cut short after it was opened */

static aqz_status read_section(const aqz_reader *r, const aqz_section_info *s, aqz_error *err)
{
	uint8_t *rows = sure_alloc((size_t)s->decoded_bytes + 1);
	aqz_cursor *c;
	aqz_status status = aqz_cursor_open(&c, r, s->number, err);

	if (status == AQZ_OK)
		status = aqz_cursor_read(c, 0, s->rows, rows, (size_t)s->decoded_bytes, err);
	aqz_cursor_close(c);
	free(rows);
	return status;
}

START_TEST(a_file_cut_short_while_it_is_open)
{
	char path[] = "/tmp/aqlmzip-cut-XXXXXX";
	const int fd = mkstemp(path);
	unsigned n_whole = 0, n_cut = 0;
	memory_file f;

	SURE(fd >= 0 && unlink(path) == 0);
	write_chunks(&f, 6);
	for (unsigned k = 0; k < 24; k++) {
		const uint64_t left = f.n * k / 24;
		const aqz_section_info *s;
		aqz_error err;
		aqz_reader *r;
		aqz_io io;

		SURE(pwrite(fd, f.data, f.n, 0) == (ssize_t)f.n);
		aqz_io_from_fd(&io, fd);
		SURE_OK(aqz_reader_open(&r, &io, NULL, &err));
		SURE(ftruncate(fd, (off_t)left) == 0);
		for (uint32_t i = 0; (s = aqz_reader_section(r, i)) != NULL; i++) {
			const aqz_status status = read_section(r, s, &err);

			ck_assert_msg(
				status == AQZ_OK || status == AQZ_E_TRUNCATED, "%s: %s", err.where, err.text);
			n_whole += status == AQZ_OK;
			n_cut += status != AQZ_OK;
		}
		for (int level = AQZ_VERIFY_QUICK; level <= AQZ_VERIFY_FULL; level++) {
			const aqz_status status =
				aqz_reader_verify(r, (aqz_verify_level)level, 2, NULL, NULL, NULL, NULL, &err);

			/* Headers may all be there. */
			ck_assert(status == AQZ_E_TRUNCATED || (level == AQZ_VERIFY_QUICK && status == AQZ_OK));
		}
		aqz_reader_close(r);
	}
	ck_assert_uint_gt(n_whole, 20);
	ck_assert_uint_gt(n_cut, 20);
	memory_free(&f);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("streaming");
	TCase *t = tcase_create("rows in order");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, memory_is_that_of_a_chunk);
	tcase_add_test(t, a_file_cut_short_while_it_is_open);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
