/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF files: values of blocks, metadata of every type, tensors. */
#include <check.h>
#include <math.h>

#include "tests/gguf_file.h"

static aqz_gguf *open_file(gguf_file *f)
{
	static aqz_buffer b;
	aqz_error err = {0};
	aqz_gguf *g;
	aqz_io io;

	aqz_buffer_free(&b);
	gguf_make(&b, f);
	gguf_io(&io, &b);
	ck_assert_msg(aqz_gguf_open(&g, &io, 0, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	return g;
}

/* ---- Blocks */

/* Nibbles i and 15 - i, the low one first. */
static void put_nibbles(uint8_t *p)
{
	for (int i = 0; i < 16; i++)
		p[i] = (uint8_t)(i | (15 - i) << 4);
}

static void check_block(uint32_t id, const uint8_t *block, const float expected[32])
{
	const aqz_gguf_type *type = aqz_gguf_type_find(id);
	uint8_t *two = malloc(2 * type->n_bytes);
	float found[64];

	memcpy(two, block, type->n_bytes);
	memcpy(two + type->n_bytes, block, type->n_bytes);
	type->widen(found, two, 2);
	for (int i = 0; i < 64; i++)
		ck_assert_msg(memcmp(&found[i], &expected[i % 32], 4) == 0, "%s[%d]: %a, not %a",
			type->name, i, (double)found[i], (double)expected[i % 32]);
	free(two);
}

/* 0x3400 is 0.25, 0xc000 is -2, 0xbe00 is -1.5 in binary16. */
START_TEST(blocks_by_hand)
{
	static const uint32_t high = 0xa5a50f0f;
	uint8_t block[40] = {0};
	float expected[32];

	aqz_put16(block, 0x3400);
	put_nibbles(block + 2);
	for (int i = 0; i < 16; i++) {
		expected[i] = 0.25f * (float)(i - 8);
		expected[16 + i] = 0.25f * (float)(7 - i);
	}
	ck_assert(expected[0] == -2.0f && expected[15] == 1.75f && expected[31] == -2.0f);
	check_block(2, block, expected); /* Q4_0 */

	aqz_put16(block + 2, 0xc000);
	put_nibbles(block + 4);
	for (int i = 0; i < 16; i++) {
		expected[i] = 0.25f * (float)i - 2;
		expected[16 + i] = 0.25f * (float)(15 - i) - 2;
	}
	check_block(3, block, expected); /* Q4_1 */

	aqz_put16(block, 0xbe00);
	aqz_put32(block + 2, high);
	put_nibbles(block + 6);
	for (int i = 0; i < 16; i++) {
		expected[i] = -1.5f * (float)(i + (high >> i & 1 ? 0 : -16));
		expected[16 + i] = -1.5f * (float)(15 - i + (high >> (i + 16) & 1 ? 0 : -16));
	}
	ck_assert(expected[0] == 0 && expected[1] == -1.5f && expected[4] == 18.0f);
	check_block(6, block, expected); /* Q5_0 */

	aqz_put16(block + 2, 0x3400);
	aqz_put32(block + 4, high);
	put_nibbles(block + 8);
	for (int i = 0; i < 16; i++) {
		expected[i] = -1.5f * (float)(i + (high >> i & 1 ? 16 : 0)) + 0.25f;
		expected[16 + i] = -1.5f * (float)(15 - i + (high >> (i + 16) & 1 ? 16 : 0)) + 0.25f;
	}
	ck_assert(expected[0] == -23.75f && expected[4] == -5.75f);
	check_block(7, block, expected); /* Q5_1 */

	for (int i = 0; i < 32; i++) {
		block[2 + i] = (uint8_t)(i == 31 ? -128 : 8 * i - 120);
		expected[i] = -1.5f * (float)(i == 31 ? -128 : 8 * i - 120);
	}
	check_block(8, block, expected); /* Q8_0 */
}
END_TEST

/* The product is rounded before the sum: a fused multiply-add would give another last bit. */
START_TEST(no_contraction)
{
	uint8_t block[20] = {0};
	float values[32];

	aqz_put16(block, 0x3555);	  /* 0.333251953125 = 1365 / 4096 */
	aqz_put16(block + 2, 0x0001); /* 2^-24 */
	memset(block + 4, 0xff, 16);
	aqz_gguf_type_find(3)->widen(values, block, 1);
	/* 15 * 1365 / 4096 = 20475 / 4096 needs 15 bits, and 2^-24 below it 27: half even. */
	ck_assert(values[0] == (float)(20475.0 / 4096 + 0x1p-24) && values[0] == 20475.0f / 4096);
	aqz_put16(block, 0x7bff); /* 65504, times 15 is exact */
	aqz_put16(block + 2, 0xfbff);
	aqz_gguf_type_find(3)->widen(values, block, 1);
	ck_assert(values[7] == 917056.0f);
}
END_TEST

START_TEST(plain_elements)
{
	static const uint16_t halves[] = {0x3c00, 0x8001, 0x7bff, 0xfc00};
	static const uint16_t brains[] = {0x3f80, 0x8001, 0x7f7f, 0xff80};
	static const float floats[] = {1.5f, -0x1p-149f, 0x1.fffffep127f};
	float found[4];

	aqz_gguf_type_find(1)->widen(found, (const uint8_t *)halves, 4);
	ck_assert(found[0] == 1 && found[1] == -0x1p-24f && found[2] == 65504 && isinf(found[3]));
	aqz_gguf_type_find(30)->widen(found, (const uint8_t *)brains, 4);
	ck_assert(
		found[0] == 1 && found[1] == -0x1p-133f && found[2] == 0x1.fep127f && found[3] < -1e38f);
	aqz_gguf_type_find(0)->widen(found, (const uint8_t *)floats, 3);
	ck_assert(memcmp(found, floats, sizeof floats) == 0);
	for (uint32_t id = 0; id < 64; id++) {
		const aqz_gguf_type *type = aqz_gguf_type_find(id);
		const bool none =
			id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38) || id > 42;

		ck_assert_msg((type == NULL) == none, "type %u", id);
		ck_assert(none || (type->id == id && type->n_values > 0 && type->n_bytes > 0));
	}
}
END_TEST

/* ---- Metadata */

static void check_number(
	const aqz_gguf *g, const char *key, uint64_t i, bool fits, int64_t integer, double real)
{
	const aqz_gguf_value *v = aqz_gguf_find(g, key);
	int64_t found = 77;
	double d = 77;

	ck_assert_ptr_nonnull(v);
	ck_assert_msg(aqz_gguf_integer(v, i, &found) == fits, "%s", key);
	ck_assert(!fits || found == integer);
	ck_assert(aqz_gguf_double(v, i, &d));
	ck_assert_msg(d == real, "%s: %g", key, d);
}

START_TEST(metadata)
{
	static const char *const texts[] = {"", "two\xc4\xa0words", "a"};
	static const int16_t numbers[] = {-1, 300, 0};
	static const uint8_t bools[] = {1, 0, 1};
	gguf_file f = {0};
	const aqz_gguf_value *v;
	const char *text;
	aqz_gguf *g;
	size_t n;
	double d;

	gguf_put_number(&f, "u8", AQZ_GGUF_U8, &(uint8_t){200});
	gguf_put_number(&f, "i8", AQZ_GGUF_I8, &(int8_t){-100});
	gguf_put_number(&f, "u16", AQZ_GGUF_U16, &(uint16_t){60000});
	gguf_put_number(&f, "i16", AQZ_GGUF_I16, &(int16_t){-30000});
	gguf_put_u32(&f, "u32", 4000000000u);
	gguf_put_number(&f, "i32", AQZ_GGUF_I32, &(int32_t){-2000000000});
	gguf_put_number(&f, "u64", AQZ_GGUF_U64, &(uint64_t){UINT64_C(1) << 63});
	gguf_put_number(&f, "i64", AQZ_GGUF_I64, &(int64_t){INT64_MIN});
	gguf_put_f32(&f, "f32", 0.5f);
	gguf_put_f32(&f, "f32.whole", -3);
	gguf_put_number(&f, "f64", AQZ_GGUF_F64, &(double){0x1p63});
	gguf_put_number(&f, "f64.nan", AQZ_GGUF_F64, &(double){(double)NAN});
	gguf_put_bool(&f, "yes", true);
	gguf_put_string(&f, "text", "some text");
	gguf_put_strings(&f, "texts", texts, 3);
	gguf_put_strings(&f, "no texts", texts, 0);
	gguf_put_numbers(&f, "numbers", AQZ_GGUF_I16, numbers, 3);
	gguf_put_numbers(&f, "bools", AQZ_GGUF_BOOL, bools, 3);
	gguf_put_numbers(&f, "no numbers", AQZ_GGUF_F32, numbers, 0);
	g = open_file(&f);
	check_number(g, "u8", 0, true, 200, 200);
	check_number(g, "i8", 0, true, -100, -100);
	check_number(g, "u16", 0, true, 60000, 60000);
	check_number(g, "i16", 0, true, -30000, -30000);
	check_number(g, "u32", 0, true, 4000000000, 4000000000);
	check_number(g, "i32", 0, true, -2000000000, -2000000000);
	check_number(g, "u64", 0, false, 0, 0x1p63);
	check_number(g, "i64", 0, true, INT64_MIN, -0x1p63);
	check_number(g, "f32", 0, false, 0, 0.5);
	check_number(g, "f32.whole", 0, true, -3, -3);
	check_number(g, "f64", 0, false, 0, 0x1p63);
	check_number(g, "yes", 0, true, 1, 1);
	check_number(g, "numbers", 0, true, -1, -1);
	check_number(g, "numbers", 1, true, 300, 300);
	check_number(g, "bools", 1, true, 0, 0);
	ck_assert(!aqz_gguf_integer(aqz_gguf_find(g, "f64.nan"), 0, &(int64_t){0}));
	ck_assert(aqz_gguf_double(aqz_gguf_find(g, "f64.nan"), 0, &d) && isnan(d));
	ck_assert(!aqz_gguf_integer(aqz_gguf_find(g, "numbers"), 3, &(int64_t){0}));
	ck_assert(!aqz_gguf_double(aqz_gguf_find(g, "text"), 0, &d));
	ck_assert(!aqz_gguf_integer(aqz_gguf_find(g, "no texts"), 0, &(int64_t){0}));
	v = aqz_gguf_find(g, "text");
	ck_assert(!v->array && v->kind == AQZ_GGUF_STRING && v->n == 1);
	text = aqz_gguf_string(g, v, 0, &n);
	ck_assert(n == 9 && memcmp(text, "some text", 9) == 0);
	v = aqz_gguf_find(g, "texts");
	ck_assert(v->array && v->kind == AQZ_GGUF_STRING && v->n == 3);
	for (uint64_t i = 0; i < 3; i++) {
		text = aqz_gguf_string(g, v, i, &n);
		ck_assert(n == strlen(texts[i]) && memcmp(text, texts[i], n) == 0);
	}
	ck_assert_ptr_null(aqz_gguf_string(g, v, 3, &n));
	ck_assert_ptr_null(aqz_gguf_string(g, aqz_gguf_find(g, "u8"), 0, &n));
	v = aqz_gguf_find(g, "numbers");
	ck_assert(v->array && v->kind == AQZ_GGUF_I16 && v->n == 3);
	ck_assert_uint_eq(aqz_gguf_find(g, "no numbers")->n, 0);
	ck_assert_ptr_null(aqz_gguf_find(g, "u"));
	ck_assert_ptr_null(aqz_gguf_find(g, ""));
	ck_assert_ptr_null(aqz_gguf_find(g, "u88"));
	aqz_gguf_close(g);
}
END_TEST

/* Strings that begin, end and lie across the pieces by which the file is read. */
START_TEST(long_strings)
{
	static const size_t lengths[] = {65536 - 200, 300, 0, 65536, 1, 200000, 70000};
	const char *texts[7];
	gguf_file f = {0};
	aqz_gguf *g;
	size_t n;

	for (size_t i = 0; i < 7; i++) {
		char *text = calloc(1, lengths[i] + 1);

		memset(text, 'a' + (int)i, lengths[i]);
		texts[i] = text;
	}
	gguf_put_strings(&f, "texts", texts, 7);
	gguf_put_u32(&f, "last", 5);
	g = open_file(&f);
	for (size_t i = 0; i < 7; i++) {
		const char *found = aqz_gguf_string(g, aqz_gguf_find(g, "texts"), i, &n);

		ck_assert(n == lengths[i] && memcmp(found, texts[i], n) == 0);
		free((void *)(uintptr_t)texts[i]);
	}
	check_number(g, "last", 0, true, 5, 5);
	aqz_gguf_close(g);
}
END_TEST

/* ---- Tensors */

START_TEST(tensors)
{
	static const struct {
		const char *name, *type;
		uint32_t rank;
		uint64_t n_elements, n_bytes;
	} expected[] = {{"b.weight", "Q4_1", 2, 192, 120}, {"a.weight", "F32", 1, 5, 20},
		{"c", "Q8_0", 4, 768, 816}, {"single", "I32", 0, 1, 4}, {"nothing", "Q4_K", 1, 0, 0},
		{"nothing more", "F16", 2, 0, 0}, {"iq", "IQ4_NL", 2, 192, 108}};
	static const uint64_t places[] = {0, 128, 160, 992, 1024, 1024, 1024};

	for (uint32_t alignment = 8; alignment <= 64; alignment *= 2) {
		gguf_file f = {.alignment = alignment};
		aqz_gguf *g;

		if (alignment != 32)
			gguf_put_u32(&f, "general.alignment", alignment);
		gguf_put_sample(&f);
		g = open_file(&f);
		ck_assert_uint_eq(aqz_gguf_n_tensors(g), 7);
		for (uint32_t i = 0; i < 7; i++) {
			const aqz_gguf_tensor *t = aqz_gguf_tensor_get(g, i);

			ck_assert_str_eq(t->name, expected[i].name);
			ck_assert_str_eq(t->type->name, expected[i].type);
			ck_assert_uint_eq(t->rank, expected[i].rank);
			ck_assert_uint_eq(t->n_elements, expected[i].n_elements);
			ck_assert_uint_eq(t->n_bytes, expected[i].n_bytes);
			ck_assert_uint_eq(t->offset % alignment, 0);
			if (alignment == 32)
				ck_assert_uint_eq(t->offset - aqz_gguf_tensor_get(g, 0)->offset, places[i]);
			ck_assert_ptr_eq(aqz_gguf_tensor_find(g, t->name), t);
		}
		ck_assert_uint_eq(aqz_gguf_tensor_get(g, 0)->shape[0], 3);
		ck_assert_uint_eq(aqz_gguf_tensor_get(g, 0)->shape[1], 64);
		ck_assert(
			memcmp(aqz_gguf_tensor_get(g, 2)->shape, gguf_shapes[2], sizeof gguf_shapes[2]) == 0);
		ck_assert_ptr_null(aqz_gguf_tensor_get(g, 7));
		ck_assert_ptr_null(aqz_gguf_tensor_find(g, "b"));
		aqz_gguf_close(g);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gguf");
	TCase *t = tcase_create("gguf");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, blocks_by_hand);
	tcase_add_test(t, no_contraction);
	tcase_add_test(t, plain_elements);
	tcase_add_test(t, metadata);
	tcase_add_test(t, long_strings);
	tcase_add_test(t, tensors);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
