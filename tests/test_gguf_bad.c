/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF files that break each rule, that are cut, and memory and reads that fail. */
#include <check.h>

#include "tests/gguf_file.h"
#include "tests/heap.h"
#include "tests/support.h"

static aqz_status open_bytes(aqz_gguf **g, aqz_buffer *b, uint64_t limit, aqz_error *err)
{
	aqz_io io;

	gguf_io(&io, b);
	*err = (aqz_error){0};
	return aqz_gguf_open(g, &io, limit, err);
}

/* Parts that a case changes: the head stays 24 bytes, metadata and table follow. */
typedef void change(gguf_file *f, uint8_t head[24]);

static void magic(gguf_file *f, uint8_t *head)
{
	(void)f;
	head[3] = 'f';
}
static void version_2(gguf_file *f, uint8_t *head)
{
	(void)f;
	head[4] = 2;
}
static void version_0(gguf_file *f, uint8_t *head)
{
	(void)f;
	head[4] = 0;
}
static void big_endian(gguf_file *f, uint8_t *head)
{
	(void)f;
	memcpy(head + 4, "\0\0\0\3", 4);
}
static void tensors_negative(gguf_file *f, uint8_t *head)
{
	(void)f;
	head[15] = 0x80;
}
static void keys_negative(gguf_file *f, uint8_t *head)
{
	(void)f;
	head[23] = 0x80;
}
static void tensors_many(gguf_file *f, uint8_t *head)
{
	(void)f;
	aqz_put64(head + 8, (1 << 20) + 1);
}
static void keys_many(gguf_file *f, uint8_t *head)
{
	(void)f;
	aqz_put64(head + 16, (1 << 20) + 1);
}
static void tensors_lie(gguf_file *f, uint8_t *head)
{
	(void)f;
	aqz_put64(head + 8, 1 << 20);
}
static void keys_lie(gguf_file *f, uint8_t *head)
{
	(void)f;
	aqz_put64(head + 16, 1 << 20);
}
static void key_empty(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_u32(f, "", 1);
}
static void key_long(gguf_file *f, uint8_t *head)
{
	char key[65537];

	(void)head;
	memset(key, 'k', 65536);
	key[65536] = '\0';
	gguf_put_u32(f, key, 1);
}
static void key_control(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_u32(f, "a\x1b", 1);
}
static void key_utf8(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_u32(f, "a\xc3", 1);
}
static void key_twice(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_u32(f, "general.architecture", 1);
}
static void kind_13(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_key(f, "k", 13);
}
static void array_of_13(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_key(f, "k", AQZ_GGUF_ARRAY);
	gguf_add32(&f->metadata, 13);
	gguf_add64(&f->metadata, 0);
}
static void array_of_arrays(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_key(f, "k", AQZ_GGUF_ARRAY);
	gguf_add32(&f->metadata, AQZ_GGUF_ARRAY);
	gguf_add64(&f->metadata, 1);
	gguf_add64(&f->metadata, 0);
}
static void numbers_lie(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_key(f, "k", AQZ_GGUF_ARRAY);
	gguf_add32(&f->metadata, AQZ_GGUF_U64);
	gguf_add64(&f->metadata, (UINT64_C(1) << 61) + 1); /* times 8 is 8 in 64 bits */
}
static void strings_lie(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_key(f, "k", AQZ_GGUF_ARRAY);
	gguf_add32(&f->metadata, AQZ_GGUF_STRING);
	gguf_add64(&f->metadata, UINT64_C(1) << 60);
}
static void string_lies(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_key(f, "k", AQZ_GGUF_STRING);
	gguf_add64(&f->metadata, UINT64_MAX);
}
static void bool_2(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_number(f, "k", AQZ_GGUF_BOOL, "\2");
}
static void bools_2(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_numbers(f, "k", AQZ_GGUF_BOOL, "\0\1\2", 3);
}
static void alignment_i32(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_number(f, "general.alignment", AQZ_GGUF_I32, &(int32_t){32});
}
static void alignment_array(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_numbers(f, "general.alignment", AQZ_GGUF_U32, &(uint32_t){32}, 1);
}
static void alignment_0(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_u32(f, "general.alignment", 0);
}
static void alignment_4(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_u32(f, "general.alignment", 4);
}
static void alignment_48(gguf_file *f, uint8_t *head)
{
	(void)head;
	gguf_put_u32(f, "general.alignment", 48);
}

static const uint64_t pair[2] = {2, 32};

static void put(gguf_file *f, const char *name, uint32_t type, uint32_t rank, const uint64_t *shape)
{
	gguf_put_tensor(f, name, type, rank, shape, NULL, 40);
}
static void name_empty(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "", 3, 2, pair);
}
static void name_long(gguf_file *f, uint8_t *head)
{
	char name[258];

	(void)head;
	memset(name, 'n', 257);
	name[257] = '\0';
	put(f, name, 3, 2, pair);
}
static void name_nul(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "name", 3, 2, pair);
	f->table.data[f->name_offset + 9] = '\0';
}
static void name_twice(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "b.weight", 3, 2, pair);
}
static void rank_5(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 3, 2, pair);
	f->table.data[f->name_offset + 9] = 5;
}
static void dimension_negative(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 0, 1, (const uint64_t[]){UINT64_C(1) << 63});
}
static void type_4(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 4, 2, pair);
}
static void type_99(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 99, 2, pair);
}
static void rows_half(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 3, 2, (const uint64_t[]){2, 48});
}
static void single_block(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 3, 0, NULL);
}
static void shape_overflow(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 0, 3, (const uint64_t[]){INT64_MAX, 4, 2});
}
static void shape_overflow_zero(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 0, 3, (const uint64_t[]){0, INT64_MAX, 4});
}
static void bytes_overflow(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 0, 2, (const uint64_t[]){UINT64_C(1) << 31, UINT64_C(1) << 31});
}
static void offset_odd(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 3, 2, pair);
	f->table.data[f->offset_offset] = 16;
}
static void offset_overflow(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 3, 2, pair);
	aqz_put64(f->table.data + f->offset_offset, UINT64_MAX - 31);
}
static void offset_behind(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 3, 2, pair);
	aqz_put64(f->table.data + f->offset_offset, 1 << 20);
}
static void overlap(gguf_file *f, uint8_t *head)
{
	(void)head;
	put(f, "t", 3, 2, pair);
	aqz_put64(f->table.data + f->offset_offset, 96); /* b.weight has bytes 0 to 119 */
}

static const struct {
	const char *name;
	change *make;
	aqz_status status;
	const char *where, *text;
} bad[] = {
#define BAD(make, status, where, text)   \
	{                                    \
#make, make, status, where, text \
	}
	BAD(magic, AQZ_E_FORMAT, "header", "begin with GGUF"),
	BAD(version_2, AQZ_E_UNSUPPORTED, "header.version", "version 2"),
	BAD(version_0, AQZ_E_UNSUPPORTED, "header.version", "version 0"),
	BAD(big_endian, AQZ_E_UNSUPPORTED, "header.version", "big-endian"),
	BAD(tensors_negative, AQZ_E_CORRUPT, "header", "negative"),
	BAD(keys_negative, AQZ_E_CORRUPT, "header", "negative"),
	BAD(tensors_many, AQZ_E_UNSUPPORTED, "header", "2^20"),
	BAD(keys_many, AQZ_E_UNSUPPORTED, "header", "2^20"),
	BAD(tensors_lie, AQZ_E_TRUNCATED, "header", "the file ends after"),
	BAD(keys_lie, AQZ_E_TRUNCATED, "header", "the file ends after"),
	BAD(key_empty, AQZ_E_CORRUPT, "metadata[1]", "0 bytes"),
	BAD(key_long, AQZ_E_CORRUPT, "metadata[1]", "65536 bytes"),
	BAD(key_control, AQZ_E_CORRUPT, "metadata[1]", "control"),
	BAD(key_utf8, AQZ_E_CORRUPT, "metadata[1]", "UTF-8"),
	BAD(key_twice, AQZ_E_CORRUPT, "metadata[general.architecture]", "twice"),
	BAD(kind_13, AQZ_E_CORRUPT, "metadata[k]", "type 13"),
	BAD(array_of_13, AQZ_E_CORRUPT, "metadata[k]", "type 13"),
	BAD(array_of_arrays, AQZ_E_UNSUPPORTED, "metadata[k]", "array of arrays"),
	BAD(numbers_lie, AQZ_E_TRUNCATED, "metadata[k]", "the file ends after"),
	BAD(strings_lie, AQZ_E_TRUNCATED, "metadata[k]", "the file ends after"),
	BAD(string_lies, AQZ_E_TRUNCATED, "metadata[k]", "the file ends after"),
	BAD(bool_2, AQZ_E_CORRUPT, "metadata[k]", "bool"),
	BAD(bools_2, AQZ_E_CORRUPT, "metadata[k]", "bool"),
	BAD(alignment_i32, AQZ_E_CORRUPT, "metadata[general.alignment]", "no u32"),
	BAD(alignment_array, AQZ_E_CORRUPT, "metadata[general.alignment]", "no u32"),
	BAD(alignment_0, AQZ_E_CORRUPT, "metadata[general.alignment]", "power of two"),
	BAD(alignment_4, AQZ_E_CORRUPT, "metadata[general.alignment]", "power of two"),
	BAD(alignment_48, AQZ_E_CORRUPT, "metadata[general.alignment]", "power of two"),
	BAD(name_empty, AQZ_E_CORRUPT, "tensor[7]", "0 bytes"),
	BAD(name_long, AQZ_E_CORRUPT, "tensor[7]", "257 bytes"),
	BAD(name_nul, AQZ_E_CORRUPT, "tensor[7]", "control"),
	BAD(name_twice, AQZ_E_CORRUPT, "tensor[b.weight]", "twice"),
	BAD(rank_5, AQZ_E_CORRUPT, "tensor[t]", "5 dimensions"),
	BAD(dimension_negative, AQZ_E_CORRUPT, "tensor[t]", "negative"),
	BAD(type_4, AQZ_E_UNSUPPORTED, "tensor[t]", "type 4 "),
	BAD(type_99, AQZ_E_UNSUPPORTED, "tensor[t]", "type 99"),
	BAD(rows_half, AQZ_E_CORRUPT, "tensor[t]", "48 values are no whole blocks of Q4_1"),
	BAD(single_block, AQZ_E_CORRUPT, "tensor[t]", "no whole block"),
	BAD(shape_overflow, AQZ_E_CORRUPT, "tensor[t]", "overflows"),
	BAD(shape_overflow_zero, AQZ_E_CORRUPT, "tensor[t]", "overflows"),
	BAD(bytes_overflow, AQZ_E_CORRUPT, "tensor[t]", "overflows"),
	BAD(offset_odd, AQZ_E_CORRUPT, "tensor[t].offset", "multiple"),
	BAD(offset_overflow, AQZ_E_CORRUPT, "tensor[t].offset", "overflows"),
	BAD(offset_behind, AQZ_E_TRUNCATED, "tensor[t].offset", "the file has"),
	BAD(overlap, AQZ_E_CORRUPT, "tensor[t].offset", "inside"),
};

START_TEST(what_is_refused)
{
	gguf_file f = {0};
	uint8_t head[24] = {0};
	aqz_buffer b;
	aqz_error err;
	aqz_gguf *g = (aqz_gguf *)&g;
	size_t before;

	gguf_put_sample(&f);
	bad[_i].make(&f, head);
	gguf_make(&b, &f);
	/* Again for the head, which was written only now; what it adds to f this time is not used. */
	memcpy(head, b.data, sizeof head);
	bad[_i].make(&f, head);
	memcpy(b.data, head, sizeof head);
	aqz_buffer_free(&f.metadata);
	aqz_buffer_free(&f.table);
	aqz_buffer_free(&f.data);
	before = heap_now();
	heap_reset(0);
	ck_assert_msg(open_bytes(&g, &b, 0, &err) == bad[_i].status, "%s: %s: %s: %s", bad[_i].name,
		aqz_status_name(err.status), err.where, err.text);
	ck_assert_ptr_null(g);
	ck_assert_int_eq(err.status, bad[_i].status);
	ck_assert_str_eq(err.where, bad[_i].where);
	ck_assert_msg(strstr(err.text, bad[_i].text) != NULL, "%s: %s", bad[_i].name, err.text);
	/* The window of 64 KiB and what the file's bytes are a reason for, whatever counts say. */
	ck_assert_uint_lt(heap_peak() - before, 65536 + 4 * b.n + 2048);
	aqz_buffer_free(&b);
}
END_TEST

/* Every shorter file is refused, but one that only lacks padding at its end. */
START_TEST(every_cut)
{
	gguf_file f = {0};
	aqz_buffer b;
	aqz_error err;
	aqz_gguf *g;
	uint64_t least = 0;

	gguf_put_sample(&f);
	gguf_make(&b, &f);
	ck_assert_int_eq(open_bytes(&g, &b, 0, &err), AQZ_OK);
	for (uint32_t i = 0; i < aqz_gguf_n_tensors(g); i++) {
		const aqz_gguf_tensor *t = aqz_gguf_tensor_get(g, i);

		least = t->offset + t->n_bytes > least ? t->offset + t->n_bytes : least;
	}
	aqz_gguf_close(g);
	while (b.n-- > 0) {
		const aqz_status status = open_bytes(&g, &b, 0, &err);

		ck_assert_msg(status ==
				(b.n >= least	  ? AQZ_OK
						: b.n < 4 ? AQZ_E_FORMAT
								  : AQZ_E_TRUNCATED),
			"%zu bytes: %s: %s", b.n, err.where, err.text);
		ck_assert(status == AQZ_OK || err.text[0] != '\0');
		aqz_gguf_close(g);
	}
	b.n = 0;
	aqz_buffer_free(&b);
}
END_TEST

/* A limit only refuses, and holds; so does each allocation that fails. */
START_TEST(memory)
{
	gguf_file f = {0};
	aqz_buffer b;
	aqz_error err;
	aqz_gguf *g;
	uint64_t limit = 1;
	size_t before;
	aqz_status status;

	gguf_put_sample(&f);
	gguf_make(&b, &f);
	before = heap_now();
	do {
		heap_reset(0);
		status = open_bytes(&g, &b, limit, &err);
		/* Beside the budget: the object, and what alignment adds. */
		ck_assert_uint_le(heap_peak(), before + limit + 2048);
		ck_assert_msg(status == AQZ_OK || status == AQZ_E_MEMLIMIT, "%s", err.text);
		limit += 16;
	} while (status != AQZ_OK);
	ck_assert_uint_gt(limit, 65536);
	aqz_gguf_close(g);
	ck_assert_uint_eq(heap_now(), before);
	for (uint64_t i = 1;; i++) {
		static memory_file file;
		aqz_io io;

		memory_free(&file);
		memory_add(&file, b.data, b.n);
		memory_io(&io, &file);
		heap_reset(i);
		status = aqz_gguf_open(&g, &io, 0, &err);
		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_NOMEM);
		ck_assert_ptr_null(g);
	}
	heap_reset(0);
	aqz_gguf_close(g);
	for (uint64_t i = 1;; i++) {
		static memory_file file;
		aqz_io io;

		/* The read of that number fails. */
		memory_free(&file);
		memory_add(&file, b.data, b.n);
		file.n_reads = 0;
		file.fail_read = i;
		file.fail_with = AQZ_E_IO;
		memory_io(&io, &file);
		status = aqz_gguf_open(&g, &io, 0, &err);
		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_IO);
		ck_assert_str_eq(err.text, "the file could not be read");
	}
	aqz_gguf_close(g);
	aqz_buffer_free(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gguf_bad");
	TCase *t = tcase_create("gguf");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_is_refused, 0, sizeof bad / sizeof *bad);
	tcase_add_test(t, every_cut);
	tcase_add_test(t, memory);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
