/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of token ids from .npy files: every type and shape, which windows are taken, and bad files. */
#include "aqlmzip_model.h"
#include "interop/npy.h"
#include "tests/model_folder.h"

/* Writes a file of that version; data follows the header. */
static const char *put_npy(uint8_t version, const char *header, const void *data, size_t n_bytes)
{
	const size_t length = strlen(header), lead = version == 1 ? 10 : 12;
	uint8_t *bytes = calloc(1, lead + length + n_bytes);

	memcpy(bytes, "\x93NUMPY", 6);
	bytes[6] = version;
	if (version == 1)
		aqz_put16(bytes + 8, (uint16_t)length);
	else
		aqz_put32(bytes + 8, (uint32_t)length);
	memcpy(bytes + lead, header, length);
	if (n_bytes > 0)
		memcpy(bytes + lead + length, data, n_bytes);
	put("ids.npy", bytes, lead + length + n_bytes);
	free(bytes);
	return in_root("ids.npy");
}

static aqz_windows_options options(uint32_t length)
{
	return (aqz_windows_options){.struct_size = sizeof(aqz_windows_options), .length = length};
}

/* Reads the file that put_npy wrote and checks that windows have these ids, each of so many. */
static void check(
	const aqz_windows_options *opt, uint64_t length, const uint32_t *ids, uint32_t n_windows)
{
	aqz_windows w;
	aqz_error err;

	ck_assert_msg(aqz_windows_from_npy(&w, in_root("ids.npy"), opt, &err) == AQZ_OK, "%s: %s",
		err.where, err.text);
	ck_assert_uint_eq(w.n_windows, n_windows);
	ck_assert_uint_eq(w.n_bytes, 0);
	for (uint32_t i = 0; i <= n_windows; i++)
		ck_assert_uint_eq(w.begin[i], i * length);
	for (uint64_t i = 0; i < n_windows * length; i++)
		ck_assert_uint_eq(w.ids[i], ids[i]);
	aqz_windows_free(&w);
}

START_TEST(every_type)
{
	static const char *const descrs[] = {"|u1", "<u1", ">i1", "|i1", "<u2", ">u2", "<i2", ">i2",
		"<u4", ">u4", "<i4", ">i4", "<u8", ">u8", "<i8", ">i8"};
	static const uint32_t due[] = {1, 2, 3, 100, 126, 127};
	char header[128];

	for (size_t i = 0; i < sizeof descrs / sizeof *descrs; i++)
		for (uint8_t version = 1; version <= 3; version++) {
			const unsigned bytes = (unsigned)(descrs[i][2] - '0');
			uint8_t data[48] = {0};

			for (unsigned k = 0; k < 6; k++)
				data[k * bytes + (descrs[i][0] == '>' ? bytes - 1 : 0)] = (uint8_t)due[k];
			snprintf(header, sizeof header,
				"{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), }   \n", descrs[i]);
			put_npy(version, header, data, 6 * bytes);
			check(NULL, 3, due, 2);
		}
	/* The largest id, and numbers of more than a byte. */
	put_npy(1, "{'descr': '<u2', 'fortran_order': False, 'shape': (1, 2)}", "\x34\x12\xff\xff", 4);
	check(NULL, 2, (const uint32_t[]){0x1234, 0xffff}, 1);
	put_npy(1, "{'descr': '>i8', 'fortran_order': False, 'shape': (1, 1)}",
		"\0\0\0\0\xff\xff\xff\xfe", 8);
	check(NULL, 1, (const uint32_t[]){UINT32_MAX - 1}, 1);
	/* Other ways to write it. */
	put_npy(1, "{\"shape\":(2,3,),'fortran_order':False,\"descr\":\"|u1\"}", "\1\2\3\144\176\177", 6);
	check(NULL, 3, due, 2);
}
END_TEST

START_TEST(which_windows)
{
	aqz_windows_options opt = options(4);
	uint8_t data[40];
	uint32_t all[40];

	for (uint32_t i = 0; i < 40; i++)
		all[i] = data[i] = (uint8_t)i;
	/* A stream: whole windows only, or the one that it is too short for. */
	put_npy(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (39,)}", data, 39);
	check(&opt, 4, all, 9);
	opt.length = 39;
	check(&opt, 39, all, 1);
	opt.length = 64;
	check(&opt, 39, all, 1);
	opt = options(4);
	opt.max_windows = 2;
	check(&opt, 4, all, 2);
	opt.max_tokens = 7;
	check(&opt, 4, all, 1);
	opt.max_tokens = 8;
	check(&opt, 4, all, 2);
	/* 10 windows of 4; 3 spread over them are 0, 3 and 6. */
	put_npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (10, 4)}", data, 40);
	opt = options(0);
	opt.max_windows = 3;
	opt.spread = true;
	check(&opt, 4, (const uint32_t[]){0, 1, 2, 3, 12, 13, 14, 15, 24, 25, 26, 27}, 3);
	/* Cut to 2 tokens each; 5 tokens are room for 2 windows, spread: 0 and 5. */
	opt.length = 2;
	check(&opt, 2, (const uint32_t[]){0, 1, 12, 13, 24, 25}, 3);
	opt.max_tokens = 5;
	check(&opt, 2, (const uint32_t[]){0, 1, 20, 21}, 2);
	opt = options(9);
	opt.max_windows = 100;
	check(&opt, 4, all, 10);
}
END_TEST

#define HEAD "{'descr': '|u1', 'fortran_order': False, 'shape': "

static const struct {
	const char *header;
	size_t data_bytes;
	aqz_status status;
	const char *where, *text;
} bad[] = {
	{"    ", 0, AQZ_E_CORRUPT, "header", "no dictionary"},
	{"(2, 3)", 6, AQZ_E_CORRUPT, "header", "no dictionary"},
	{"{}", 6, AQZ_E_CORRUPT, "header", "missing"},
	{"{'shape': (2, 3)}", 6, AQZ_E_CORRUPT, "header", "missing"},
	{HEAD "(2, 3)", 6, AQZ_E_CORRUPT, "header", "a comma"},
	{HEAD "(2, 3), ", 6, AQZ_E_CORRUPT, "header", "a key is missing"},
	{HEAD "(2, 3)} x", 6, AQZ_E_CORRUPT, "header", "text follows"},
	{HEAD "(2, 3), 'shape': (2, 3)}", 6, AQZ_E_CORRUPT, "header", "twice"},
	{HEAD "(2, 3), 'more': 1}", 6, AQZ_E_CORRUPT, "header", "none of descr"},
	{HEAD "(2, 3), 1: 2}", 6, AQZ_E_CORRUPT, "header", "a key is missing"},
	{HEAD "(2, 3) 'x': 1}", 6, AQZ_E_CORRUPT, "header", "a comma"},
	{"{'shape' (2, 3)}", 6, AQZ_E_CORRUPT, "header", "a colon"},
	{"{'shape: (2, 3)}", 6, AQZ_E_CORRUPT, "header", "a key is missing"},
	{HEAD "[2, 3]}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple"},
	{HEAD "(6)}", 6, AQZ_E_CORRUPT, "header.shape", "a number, no tuple"},
	{HEAD "(2 3)}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple of sizes"},
	{HEAD "(-1,)}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple of sizes"},
	{HEAD "(06,)}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple of sizes"},
	{HEAD "(6.0,)}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple of sizes"},
	{HEAD "(,)}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple of sizes"},
	{HEAD "(9223372036854775808,)}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple of sizes"},
	{HEAD "(18446744073709551617,)}", 6, AQZ_E_CORRUPT, "header.shape", "no tuple of sizes"},
	{HEAD "(4294967296, 4294967297)}", 6, AQZ_E_CORRUPT, "header.shape", "overflows"},
	{HEAD "(4294967296, 4294967295)}", 6, AQZ_E_CORRUPT, "header.shape", "overflows"},
	{HEAD "(1, 1, 1, 1, 1, 1, 1, 1, 6)}", 6, AQZ_E_UNSUPPORTED, "header.shape", "more than 8"},
	{HEAD "(1, 2, 3)}", 6, AQZ_E_UNSUPPORTED, "header.shape", "1 or 2 dimensions, not 3"},
	{HEAD "()}", 1, AQZ_E_UNSUPPORTED, "header.shape", "1 or 2 dimensions, not 0"},
	{HEAD "(0, 3)}", 0, AQZ_E_CORRUPT, "header.shape", "no token ids"},
	{HEAD "(2, 3)}", 5, AQZ_E_TRUNCATED, "data", "only 5"},
	{HEAD "(2, 3)}", 7, AQZ_E_CORRUPT, "data", "1 bytes follow"},
	{HEAD "(6,)}", 6, AQZ_E_ARGUMENT, "options.length", "a length of windows is needed"},
	{"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 24, AQZ_E_UNSUPPORTED,
		"header.descr", "'<f4'"},
	{"{'descr': '<i3', 'fortran_order': False, 'shape': (2, 3)}", 18, AQZ_E_UNSUPPORTED,
		"header.descr", "'<i3'"},
	{"{'descr': '|u2', 'fortran_order': False, 'shape': (2, 3)}", 12, AQZ_E_UNSUPPORTED,
		"header.descr", "'|u2'"},
	{"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}", 48, AQZ_E_UNSUPPORTED,
		"header.descr", "'|O'"},
	{"{'descr': '\xff\xfe', 'fortran_order': False, 'shape': (2, 3)}", 6, AQZ_E_UNSUPPORTED,
		"header.descr", "'...'"},
	{"{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (6,)}", 24, AQZ_E_UNSUPPORTED,
		"header.descr", "no structures"},
	{"{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}", 6, AQZ_E_UNSUPPORTED,
		"header.fortran_order", "columns first"},
	{"{'descr': '|u1', 'fortran_order': false, 'shape': (2, 3)}", 6, AQZ_E_CORRUPT,
		"header.fortran_order", "neither"},
};

START_TEST(what_is_refused)
{
	static const uint8_t zeros[64];
	aqz_windows w = {.n_windows = 7};
	aqz_error err = {0};

	put_npy(1, bad[_i].header, zeros, bad[_i].data_bytes);
	ck_assert_msg(aqz_windows_from_npy(&w, in_root("ids.npy"), NULL, &err) == bad[_i].status,
		"%s: %s: %s: %s", bad[_i].header, aqz_status_name(err.status), err.where, err.text);
	ck_assert_str_eq(err.where, bad[_i].where);
	ck_assert_msg(strstr(err.text, bad[_i].text) != NULL, "%s: %s", bad[_i].header, err.text);
	ck_assert(w.ids == NULL && w.begin == NULL && w.n_windows == 0);
}
END_TEST

static void refuse(const char *descr, const char *data, size_t n_bytes)
{
	char header[128];
	aqz_windows w;
	aqz_error err = {0};

	snprintf(
		header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (1, 1)}", descr);
	put_npy(1, header, data, n_bytes);
	ck_assert_int_eq(aqz_windows_from_npy(&w, in_root("ids.npy"), NULL, &err), AQZ_E_CORRUPT);
	ck_assert_msg(strstr(err.text, "element 0 is no token id") != NULL, "%s", err.text);
}

START_TEST(ids_that_are_none)
{
	refuse("|i1", "\x80", 1);
	refuse("<i2", "\x00\xff", 2);
	refuse(">i2", "\xff\x00", 2);
	refuse(">i4", "\xff\xff\xff\xff", 4);
	refuse("<u4", "\xff\xff\xff\xff", 4);
	refuse("<u8", "\0\0\0\0\1\0\0\0", 8);
	refuse("<i8", "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
}
END_TEST

START_TEST(files_and_options)
{
	aqz_windows_options opt = options(4);
	aqz_windows w;
	aqz_error err;
	const char *path = put_npy(1, HEAD "(1, 9)}", "\1\2\3\4\5\6\7\10\11", 9);

	opt.max_tokens = 3;
	ck_assert_int_eq(aqz_windows_from_npy(&w, path, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "options.max_tokens");
	opt.struct_size--;
	ck_assert_int_eq(aqz_windows_from_npy(&w, path, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_windows_from_npy(NULL, path, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_windows_from_npy(&w, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_windows_from_npy(&w, in_root("nothing"), NULL, &err), AQZ_E_NOT_FOUND);
	ck_assert_int_ne(aqz_windows_from_npy(&w, root, NULL, &err), AQZ_OK);
	put_npy(4, HEAD "(1, 9)}", "\1\2\3\4\5\6\7\10\11", 9);
	ck_assert_int_eq(aqz_windows_from_npy(&w, in_root("ids.npy"), NULL, &err), AQZ_E_UNSUPPORTED);
	ck_assert_str_eq(err.where, "header.version");
	put_text("ids.npy", "\x93NUMPZ\1\1\4\4{}    ");
	ck_assert_int_eq(aqz_windows_from_npy(&w, in_root("ids.npy"), NULL, &err), AQZ_E_FORMAT);
	put_text("ids.npy", "\x93NUMPY");
	ck_assert_int_eq(aqz_windows_from_npy(&w, in_root("ids.npy"), NULL, &err), AQZ_E_FORMAT);
	put("ids.npy", "\x93NUMPY\1\0\x10\0{}    ", 16);
	ck_assert_int_eq(aqz_windows_from_npy(&w, in_root("ids.npy"), NULL, &err), AQZ_E_TRUNCATED);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("windows_npy");
	TCase *t = tcase_create("windows_npy");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, every_type);
	tcase_add_test(t, which_windows);
	tcase_add_loop_test(t, what_is_refused, 0, sizeof bad / sizeof *bad);
	tcase_add_test(t, ids_that_are_none);
	tcase_add_test(t, files_and_options);
	suite_add_tcase(suite, t);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
