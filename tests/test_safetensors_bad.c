/* SPDX-License-Identifier: Apache-2.0 */
/* Bad safetensors headers, each named by the check that fires. */
#include "tests/safetensors_file.h"

#define X(dtype, shape, offsets) \
	"{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define F32_PAIR X("\"F32\"", "[2]", "[0,8]")

/* data_bytes is 8 where the tensor x would have 8 bytes. */
static const struct {
	const char *name, *json;
	size_t data_bytes;
	aqz_status status;
	const char *where, *text;
} bad[] = {
	{"array-at-top", "[]", 0, AQZ_E_FORMAT, "header", "begin with"},
	{"space-before", " {}", 0, AQZ_E_FORMAT, "header", "begin with"},
	{"byte-order-mark", "\xef\xbb\xbf{}", 0, AQZ_E_FORMAT, "header", "begin with"},
	{"open-object", "{ ", 0, AQZ_E_CORRUPT, "header", "bracket is left open"},
	{"open-string", "{\"x", 0, AQZ_E_CORRUPT, "header", "string is left open"},
	{"open-after-backslash", "{\"x\\", 0, AQZ_E_CORRUPT, "header", "string is left open"},
	{"text-after", "{} x", 0, AQZ_E_CORRUPT, "header", "text follows"},
	{"object-after", "{}{}", 0, AQZ_E_CORRUPT, "header", "text follows"},
	{"wrong-bracket", "{]", 0, AQZ_E_CORRUPT, "header", "a name is missing"},
	{"number-as-name", "{1:2}", 0, AQZ_E_CORRUPT, "header", "a name is missing"},
	{"comma-at-end", "{\"__metadata__\":{},}", 0, AQZ_E_CORRUPT, "header", "a name is missing"},
	{"no-comma", "{\"__metadata__\":{}\"x\":{}}", 0, AQZ_E_CORRUPT, "header", "a comma"},
	{"no-colon", "{\"x\" {}}", 0, AQZ_E_CORRUPT, "header", "a colon"},
	{"no-value", "{\"x\":}", 0, AQZ_E_CORRUPT, "tensor[x]", "malformed"},
	{"deep", "{\"x\":{\"shape\":[[]]}}", 0, AQZ_E_CORRUPT, "header", "deeper than 3"},
	{"entry-no-object", "{\"x\":1}", 0, AQZ_E_CORRUPT, "tensor[x]", "no object"},
	{"entry-string", "{\"x\":\"y\"}", 0, AQZ_E_CORRUPT, "tensor[x]", "no object"},
	{"entry-word", "{\"x\":null}", 0, AQZ_E_CORRUPT, "tensor[x]", "no object"},
	{"entry-malformed", "{\"x\":{\"dtype\"}}", 0, AQZ_E_CORRUPT, "tensor[x]", "malformed"},
	{"entry-comment", "{\"x\":{/**/}}", 0, AQZ_E_CORRUPT, "tensor[x]", "malformed"},
	{"entry-unknown-key",
		"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", 8,
		AQZ_E_CORRUPT, "tensor[x]", "unknown key \"more\""},
	{"entry-unknown-long-key",
		"{\"x\":{\"123456789012345678901234567890123456789012345678901234567890123\xc3\xa9\":1}}",
		8, AQZ_E_CORRUPT, "tensor[x]", "unknown key \"...\""},
	{"entry-key-twice",
		"{\"x\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
		AQZ_E_CORRUPT, "tensor[x]", "twice"},
	{"name-empty", "{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
		AQZ_E_CORRUPT, "header", "empty name"},
	{"name-escaped-nul", "{\"a\\u0000\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
		1, AQZ_E_CORRUPT, "header", "U+0000"},
	{"name-escaped-control", "{\"a\\u001b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
		1, AQZ_E_CORRUPT, "header", "control"},
	{"name-raw-control", "{\"a\n\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
		AQZ_E_CORRUPT, "header", "malformed"},
	{"name-no-utf8", "{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
		AQZ_E_CORRUPT, "header", "UTF-8"},
	{"name-overlong-utf8", "{\"\xc0\xaf\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
		1, AQZ_E_CORRUPT, "header", "UTF-8"},
	{"name-surrogate", "{\"\\ud800\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
		AQZ_E_CORRUPT, "header", "malformed"},
	{"name-twice",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
		"\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
		2, AQZ_E_CORRUPT, "tensor[x]", "twice"},
	{"name-twice-escaped",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
		"\"\\u0078\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
		0, AQZ_E_CORRUPT, "tensor[x]", "twice"},
	{"metadata-twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, AQZ_E_CORRUPT,
		"__metadata__", "twice"},
	{"metadata-key-twice", "{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, AQZ_E_CORRUPT,
		"__metadata__", "twice"},
	{"metadata-array", "{\"__metadata__\":[]}", 0, AQZ_E_CORRUPT, "__metadata__", "no object"},
	{"metadata-number", "{\"__metadata__\":{\"a\":1}}", 0, AQZ_E_CORRUPT, "__metadata__", "no string"},
	{"metadata-nul", "{\"__metadata__\":{\"a\":\"\\u0000\"}}", 0, AQZ_E_CORRUPT, "__metadata__",
		"U+0000"},
	{"dtype-missing", "{\"x\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, AQZ_E_CORRUPT,
		"tensor[x].dtype", "missing"},
	{"dtype-number", X("1", "[2]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x].dtype", "no string"},
	{"dtype-unknown", X("\"F13\"", "[2]", "[0,8]"), 8, AQZ_E_UNSUPPORTED, "tensor[x].dtype", "F13"},
	{"dtype-small-letters", X("\"f32\"", "[2]", "[0,8]"), 8, AQZ_E_UNSUPPORTED, "tensor[x].dtype",
		"f32"},
	{"dtype-control", X("\"\\u009b\"", "[2]", "[0,8]"), 8, AQZ_E_UNSUPPORTED, "tensor[x].dtype",
		"\"...\""},
	{"dtype-empty", X("\"\"", "[2]", "[0,8]"), 8, AQZ_E_UNSUPPORTED, "tensor[x].dtype", "unknown"},
	{"shape-missing", "{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, AQZ_E_CORRUPT,
		"tensor[x].shape", "missing"},
	{"shape-number", X("\"F32\"", "2", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x].shape", "no array"},
	{"shape-string", X("\"F32\"", "[\"2\"]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x].shape",
		"no integer"},
	{"shape-float", X("\"F32\"", "[2.0]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x].shape", "no integer"},
	{"shape-exponent", X("\"F32\"", "[2e0]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x].shape",
		"no integer"},
	{"shape-infinite", X("\"F32\"", "[1e999]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x]",
		"out of range"},
	{"shape-true", X("\"F32\"", "[true]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x].shape", "no integer"},
	{"shape-negative", X("\"F32\"", "[-2]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x].shape", "negative"},
	{"shape-minus-zero", X("\"F32\"", "[-0]", "[0,0]"), 0, AQZ_E_CORRUPT, "tensor[x]", "negative"},
	{"shape-leading-zero", X("\"F32\"", "[02]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x]", "malformed"},
	{"shape-hex", X("\"F32\"", "[0x2]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x]", "malformed"},
	{"shape-2^63", X("\"F32\"", "[9223372036854775808]", "[0,8]"), 8, AQZ_E_CORRUPT, "tensor[x]",
		"out of range"},
	{"shape-beyond-64-bits", X("\"F32\"", "[18446744073709551618]", "[0,8]"), 8, AQZ_E_CORRUPT,
		"tensor[x]", "out of range"},
	{"shape-product-overflow", X("\"U8\"", "[2,18446744073709551614]", "[0,8]"), 8, AQZ_E_CORRUPT,
		"tensor[x]", "out of range"},
	{"shape-product-overflow-2", X("\"U8\"", "[4611686018427387904,8]", "[0,8]"), 8, AQZ_E_CORRUPT,
		"tensor[x].shape", "overflows"},
	{"shape-bytes-overflow", X("\"F64\"", "[4611686018427387904]", "[0,8]"), 8, AQZ_E_CORRUPT,
		"tensor[x].shape", "overflows"},
	{"shape-overflow-beside-zero", X("\"U8\"", "[0,4611686018427387904,4611686018427387904]", "[0,0]"),
		0, AQZ_E_CORRUPT, "tensor[x].shape", "overflows"},
	{"shape-rank-9", X("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, AQZ_E_UNSUPPORTED,
		"tensor[x].shape", "9 dimensions"},
	{"shape-half-byte", X("\"F4\"", "[3]", "[0,1]"), 1, AQZ_E_CORRUPT, "tensor[x].shape",
		"whole number of bytes"},
	{"shape-six-bits", X("\"F6_E2M3\"", "[2]", "[0,2]"), 2, AQZ_E_CORRUPT, "tensor[x].shape",
		"whole number of bytes"},
	{"offsets-missing", "{\"x\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, AQZ_E_CORRUPT,
		"tensor[x].data_offsets", "missing"},
	{"offsets-one", X("\"F32\"", "[2]", "[8]"), 8, AQZ_E_CORRUPT, "tensor[x].data_offsets", "no pair"},
	{"offsets-three", X("\"F32\"", "[2]", "[0,8,8]"), 8, AQZ_E_CORRUPT, "tensor[x].data_offsets",
		"no pair"},
	{"offsets-float", X("\"F32\"", "[2]", "[0,8.0]"), 8, AQZ_E_CORRUPT, "tensor[x].data_offsets",
		"no integer"},
	{"offsets-negative", X("\"F32\"", "[2]", "[-8,0]"), 8, AQZ_E_CORRUPT, "tensor[x].data_offsets",
		"negative"},
	{"offsets-reversed", X("\"F32\"", "[2]", "[8,0]"), 8, AQZ_E_CORRUPT, "tensor[x].data_offsets",
		"end before they begin"},
	{"offsets-too-short", X("\"F32\"", "[2]", "[0,7]"), 7, AQZ_E_CORRUPT, "tensor[x].data_offsets",
		"span 7 bytes"},
	{"offsets-too-long", X("\"F32\"", "[2]", "[0,9]"), 9, AQZ_E_CORRUPT, "tensor[x].data_offsets",
		"span 9 bytes"},
	{"offsets-2^63", X("\"F32\"", "[2]", "[9223372036854775808,9223372036854775816]"), 8,
		AQZ_E_CORRUPT, "tensor[x]", "out of range"},
	{"offsets-far", X("\"F32\"", "[2]", "[9223372036854775799,9223372036854775807]"), 8,
		AQZ_E_CORRUPT, "tensor[x].data_offsets", "those before end at 0"},
	{"data-hole-before", X("\"F32\"", "[2]", "[1,9]"), 9, AQZ_E_CORRUPT, "tensor[x].data_offsets",
		"begin at 1"},
	{"data-hole-between",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
		"\"y\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
		3, AQZ_E_CORRUPT, "tensor[y].data_offsets", "begin at 2"},
	{"data-overlap",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
		"\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
		3, AQZ_E_CORRUPT, "tensor[y].data_offsets", "begin at 1"},
	{"data-shared",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
		"\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
		2, AQZ_E_CORRUPT, "tensor[y].data_offsets", "begin at 0"},
	{"data-empty-inside",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
		"\"y\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}",
		2, AQZ_E_CORRUPT, "tensor[y].data_offsets", "begin at 1"},
	{"data-short", F32_PAIR, 7, AQZ_E_TRUNCATED, "tensor[x].data_offsets", "7 bytes of data"},
	{"data-after", F32_PAIR, 9, AQZ_E_CORRUPT, "data", "1 bytes belong to no tensor"},
	{"data-without-tensors", "{}", 1, AQZ_E_CORRUPT, "data", "1 bytes belong to no tensor"},
};

START_TEST(refuses)
{
	aqz_safetensors s;
	aqz_error err = {0};
	uint8_t *file;
	const size_t n = make_file(&file, bad[_i].json, strlen(bad[_i].json), bad[_i].data_bytes);
	const aqz_status status = parse_exact(&s, file, n, n, &err);

	ck_assert_msg(status == bad[_i].status, "%s: %s at %s: %s", bad[_i].name,
		aqz_status_name(status), err.where, err.text);
	ck_assert_int_eq(err.status, status);
	ck_assert_msg(
		strcmp(err.where, bad[_i].where) == 0, "%s: where is \"%s\"", bad[_i].name, err.where);
	ck_assert_msg(strstr(err.text, bad[_i].text) != NULL, "%s: \"%s\"", bad[_i].name, err.text);
	ck_assert(aqz_text_ok(err.where, strlen(err.where)) && aqz_text_ok(err.text, strlen(err.text)));
	ck_assert(err.offset == AQZ_NO_OFFSET || err.offset <= n);
	ck_assert_ptr_null(s.tensors);
	ck_assert_ptr_null(s.storage);
	free(file);
}
END_TEST

START_TEST(refuses_lengths)
{
	static const struct {
		uint64_t length, file_bytes;
		size_t n;
		aqz_status status;
	} cases[] = {
		{0, 0, 0, AQZ_E_TRUNCATED},
		{2, 7, 7, AQZ_E_TRUNCATED},
		{2, 8, 8, AQZ_E_TRUNCATED},
		{2, 9, 9, AQZ_E_TRUNCATED},
		{2, 10, 10, AQZ_OK},
		{2, 10, 9, AQZ_E_ARGUMENT},
		{2, 9, 10, AQZ_E_ARGUMENT},
		{2, 1000, 4, AQZ_E_ARGUMENT},
		{0, 10, 10, AQZ_E_FORMAT},
		{1, 10, 10, AQZ_E_FORMAT},
		{AQZ_SAFETENSORS_MAX_HEADER, 10, 10, AQZ_E_TRUNCATED},
		{AQZ_SAFETENSORS_MAX_HEADER + 1, 10, 10, AQZ_E_FORMAT},
		{UINT64_MAX, 10, 10, AQZ_E_FORMAT},
		{UINT64_MAX - 7, UINT64_MAX, 10, AQZ_E_FORMAT},
		{INT64_MAX, 10, 10, AQZ_E_FORMAT},
	};
	uint8_t file[10];
	aqz_safetensors s;
	aqz_error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		aqz_put64(file, cases[i].length);
		memcpy(file + 8, "{}", 2);
		ck_assert_msg(parse_exact(&s, file, cases[i].n, cases[i].file_bytes, &err) == cases[i].status,
			"case %zu: %s", i, err.text);
		aqz_safetensors_free(&s);
	}
	ck_assert_int_eq(aqz_safetensors_parse(NULL, file, 10, 10, 0, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_safetensors_parse(&s, NULL, 10, 10, 0, &err), AQZ_E_ARGUMENT);
}
END_TEST

/* A NUL byte ends no text: JSON after it is seen, and refused. */
START_TEST(refuses_raw_nul)
{
	static const char name[] = "{\"a\0b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
	static const char after[] = "{}\0";
	aqz_safetensors s;
	aqz_error err;
	uint8_t *file;
	size_t n;

	n = make_file(&file, name, sizeof name - 1, 0);
	ck_assert_int_eq(parse_exact(&s, file, n, n, &err), AQZ_E_CORRUPT);
	free(file);
	n = make_file(&file, after, sizeof after - 1, 0);
	ck_assert_int_eq(parse_exact(&s, file, n, n, &err), AQZ_E_CORRUPT);
	ck_assert_ptr_nonnull(strstr(err.text, "text follows"));
	free(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("safetensors, bad");
	TCase *tc = tcase_create("refusals");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, refuses, 0, sizeof bad / sizeof *bad);
	tcase_add_test(tc, refuses_lengths);
	tcase_add_test(tc, refuses_raw_nul);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
