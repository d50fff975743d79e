/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders that are no model, and how that is said. */
#include "tests/model_folder.h"

#define TEXT(text) text, sizeof text - 1

static void open_fails(const char *path, aqz_status expected, const char *where, const char *text)
{
	aqz_source *source = (aqz_source *)root;
	aqz_error err = {0};
	const aqz_status status = aqz_source_open(&source, path, 0, &err);

	ck_assert_msg(status == expected, "%s at %s: %s", aqz_status_name(status), err.where, err.text);
	ck_assert_msg(
		strstr(err.where, where) != NULL, "where is \"%s\", text is \"%s\"", err.where, err.text);
	ck_assert_msg(strstr(err.text, text) != NULL, "text is \"%s\"", err.text);
	ck_assert(aqz_text_ok(err.text, strlen(err.text)));
	ck_assert(aqz_text_ok(err.where, strlen(err.where)));
	ck_assert_ptr_null(source);
}

START_TEST(nothing_there)
{
	open_fails(in_root("none"), AQZ_E_NOT_FOUND, "", "No such file");
	open_fails("", AQZ_E_NOT_FOUND, "", "No such file");
	open_fails("/dev/null", AQZ_E_FORMAT, "", "neither a file nor a folder");
	ck_assert_int_eq(mkfifo(in_root("fifo"), 0600), 0);
	open_fails(in_root("fifo"), AQZ_E_FORMAT, "", "neither a file nor a folder");
	open_fails(NULL, AQZ_E_ARGUMENT, "", "NULL");
}
END_TEST

static const struct {
	const char *name, *bytes;
	size_t n;
	aqz_status status;
	const char *text;
} other_files[] = {
	{"empty", TEXT(""), AQZ_E_TRUNCATED, "0 bytes"},
	{"short", TEXT("abc"), AQZ_E_TRUNCATED, "3 bytes"},
	{"gguf", TEXT("GGUF\3\0\0\0\1\0\0\0\0\0\0\0"), AQZ_E_FORMAT, "GGUF"},
	{"aqz",
		TEXT("\x89"
			 "AQZ\r\n\x1a\n1234567890"),
		AQZ_E_FORMAT, "aqlmzip file"},
	{"torch zip", TEXT("PK\3\4\0\0\x08\x08\0\0\0\0"), AQZ_E_FORMAT, "zip archive"},
	{"plain zip", TEXT("PK\3\4\0\0\0\0\0\0\0\0"), AQZ_E_FORMAT, "zip archive"},
	{"pickle", TEXT("\x80\2}q\0(X\6\0\0\0weight"), AQZ_E_FORMAT, "pickle"},
	{"npy", TEXT("\x93NUMPY\1\0v\0{'descr'"), AQZ_E_FORMAT, "NumPy"},
	{"hdf5", TEXT("\x89HDF\r\n\x1a\n\0\0\0\0"), AQZ_E_FORMAT, "HDF5"},
	{"gzip", TEXT("\x1f\x8b\x08\0\0\0\0\0\0\3"), AQZ_E_FORMAT, "gzip"},
	{"zstd", TEXT("\x28\xb5\x2f\xfd\x24\0\1\0\0"), AQZ_E_FORMAT, "zstd"},
	{"lfs", TEXT("version https://git-lfs.github.com/spec/v1\noid sha256:"), AQZ_E_FORMAT,
		"git lfs pull"},
	{"html", TEXT("\n <!DOCTYPE html><html>"), AQZ_E_FORMAT, "web page"},
	{"html small", TEXT("<html><body>"), AQZ_E_FORMAT, "web page"},
	{"json", TEXT("{\"metadata\":{},\"weight_map\":{}}"), AQZ_E_FORMAT, "JSON"},
	{"noise", TEXT("this is a text about nothing"), AQZ_E_FORMAT, "length of a safetensors"},
	{"cut", TEXT("\x40\0\0\0\0\0\0\0{\"a\":"), AQZ_E_TRUNCATED, "ends inside its header"},
	{"zeros", TEXT("\0\0\0\0\0\0\0\0\0\0\0\0"), AQZ_E_FORMAT, "length of a safetensors"},
	{"no json", TEXT("\4\0\0\0\0\0\0\0null"), AQZ_E_FORMAT, "begin with '{'"},
};

START_TEST(other_formats)
{
	put("x.safetensors", other_files[_i].bytes, other_files[_i].n);
	open_fails(in_root("x.safetensors"), other_files[_i].status, "", other_files[_i].text);
	/* The same in a folder, where the file is named. */
	{
		aqz_source *source;
		aqz_error err;

		ck_assert_int_eq(aqz_source_open(&source, root, 0, &err), other_files[_i].status);
		ck_assert(strstr(err.where, "x.safetensors") != NULL ||
			strstr(err.text, "x.safetensors") != NULL);
	}
}
END_TEST

static const struct {
	const char *name, *index;
	aqz_status status;
	const char *where, *text;
} bad_indexes[] = {
	{"empty", "", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "no JSON object"},
	{"array", "[]", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "no JSON object"},
	{"cut", "{\"weight_map\":", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "left open"},
	{"malformed", "{\"weight_map\"}", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "malformed"},
	{"text after", "{\"weight_map\":{}} {}", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "text follows"},
	{"deep", "{\"x\":[[[[[[[[[]]]]]]]]],\"weight_map\":{}}", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX,
		"deeper than 8"},
	{"no map", "{\"metadata\":{}}", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "weight_map"},
	{"map array", "{\"weight_map\":[]}", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "weight_map"},
	{"map twice", "{\"weight_map\":{},\"weight_map\":{}}", AQZ_E_CORRUPT, AQZ_SOURCE_INDEX, "twice"},
	{"tensor twice", "{\"weight_map\":{" MAP_OF_1 "," MAP_OF_1 "}}", AQZ_E_CORRUPT,
		AQZ_SOURCE_INDEX, "twice"},
	{"tensor name", "{\"weight_map\":{\"\\u001b[2J\":\"" SHARD_1 "\"}}", AQZ_E_CORRUPT,
		AQZ_SOURCE_INDEX, "control"},
	{"shard number", "{\"weight_map\":{\"a\":1}}", AQZ_E_CORRUPT, "tensor[a]", "no plain file name"},
	{"shard empty", "{\"weight_map\":{\"a\":\"\"}}", AQZ_E_CORRUPT, "tensor[a]", "no plain file name"},
	{"shard hidden", "{\"weight_map\":{\"a\":\".hidden\"}}", AQZ_E_CORRUPT, "tensor[a]",
		"no plain file name"},
	{"shard above", "{\"weight_map\":{\"a\":\"../config.json\"}}", AQZ_E_CORRUPT, "tensor[a]",
		"no plain file name"},
	{"shard absolute", "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", AQZ_E_CORRUPT, "tensor[a]",
		"no plain file name"},
	{"shard in folder", "{\"weight_map\":{\"a\":\"sub/x.safetensors\"}}", AQZ_E_CORRUPT,
		"tensor[a]", "no plain file name"},
	{"shard backslash", "{\"weight_map\":{\"a\":\"..\\\\x\"}}", AQZ_E_CORRUPT, "tensor[a]",
		"no plain file name"},
	{"shard colon", "{\"weight_map\":{\"a\":\"c:x\"}}", AQZ_E_CORRUPT, "tensor[a]",
		"no plain file name"},
	{"shard missing", "{\"weight_map\":{\"a\":\"x.safetensors\"}}", AQZ_E_NOT_FOUND,
		"x.safetensors", "does not have"},
	{"shard is a folder", "{\"weight_map\":{\"a\":\"folder\"}}", AQZ_E_NOT_FOUND, "folder",
		"does not have"},
	{"shard is no safetensors", "{\"weight_map\":{\"a\":\"config.json\"}}", AQZ_E_TRUNCATED,
		"header.length", "(in config.json)"},
	{"tensor not in index", "{\"weight_map\":{\"a\":\"" SHARD_2 "\"," MAP_OF_1 "}}", AQZ_E_CORRUPT,
		"tensor[b]", "does not name the tensor, which is in " SHARD_2},
	{"tensor not in shards",
		"{\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_2 "\",\"bb\":\"" SHARD_2
		"\"," MAP_OF_1 "}}",
		AQZ_E_CORRUPT, "tensor[bb]", SHARD_2 " does not hold it"},
	{"last tensor not in shards",
		"{\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_2 "\",\"z\":\"" SHARD_2
		"\"," MAP_OF_1 "}}",
		AQZ_E_CORRUPT, "tensor[z]", SHARD_2 " does not hold it"},
	{"tensor in another shard",
		"{\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_1 "\"," MAP_OF_1 "}}",
		AQZ_E_CORRUPT, "tensor[b]", "is in " SHARD_2 ", not in " SHARD_1},
	{"nothing mapped", "{\"weight_map\":{}}", AQZ_OK, NULL, NULL},
};

START_TEST(refuses_index)
{
	put_shards();
	ck_assert_int_eq(mkdir(in_root("folder"), 0700), 0);
	put_text(AQZ_SOURCE_INDEX, bad_indexes[_i].index);
	if (bad_indexes[_i].status == AQZ_OK)
		aqz_source_close(open_ok(root)); /* a model of no tensors; all files are attached */
	else
		open_fails(root, bad_indexes[_i].status, bad_indexes[_i].where, bad_indexes[_i].text);
}
END_TEST

START_TEST(same_name_in_two_shards)
{
	put_model(SHARD_1, "c a");
	put_model(SHARD_2, "b a");
	put_index(MAP);
	open_fails(root, AQZ_E_CORRUPT, "tensor[a]", "in both " SHARD_1 " and " SHARD_2);
}
END_TEST

START_TEST(bad_tensor_in_a_shard)
{
	put_shards();
	put_index(MAP);
	put(SHARD_2, TEXT("\x36\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F13\",\"shape\":[1],\"data_offsets\":[0,4]}}   1234"));
	open_fails(root, AQZ_E_UNSUPPORTED, "tensor[a].dtype", "F13\" is unknown (in " SHARD_2 ")");
}
END_TEST

START_TEST(folders_without_a_model)
{
	open_fails(root, AQZ_E_FORMAT, "", "no .safetensors file");
	put_text("pytorch_model.bin", "PK");
	open_fails(root, AQZ_E_FORMAT, "", "pytorch_model.bin");
	put_shards();
	open_fails(root, AQZ_E_NOT_FOUND, AQZ_SOURCE_INDEX, "shards");
	unlink(in_root(SHARD_2));
	open_fails(root, AQZ_E_NOT_FOUND, AQZ_SOURCE_INDEX, "shards");
	unlink(in_root(SHARD_1));
	put_model("a.safetensors", "a");
	put_model("b.safetensors", "b");
	open_fails(root, AQZ_E_FORMAT, AQZ_SOURCE_INDEX, "2 safetensors files but no index");
	put_model("model.safetensors", "c");
	put_index("{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}");
	open_fails(root, AQZ_E_FORMAT, "model.safetensors", "which is the model");
}
END_TEST

START_TEST(dangling_links)
{
	put_model("model.safetensors", "a");
	ck_assert_int_eq(symlink("nowhere", in_root("config.json")), 0);
	open_fails(root, AQZ_E_NOT_FOUND, "config.json", "leads to no file");
	unlink(in_root("config.json"));
	ck_assert_int_eq(symlink("loop", in_root("loop")), 0);
	open_fails(root, AQZ_E_NOT_FOUND, "loop", "leads to no file");
}
END_TEST

START_TEST(names_that_cannot_be_kept)
{
	put_model("model.safetensors", "a");
	put_text("a\nb", "");
	open_fails(root, AQZ_E_UNSUPPORTED, "a\\x0ab", "rename it");
	unlink(in_root("a\nb"));
	put_text("\xff.txt", "");
	open_fails(root, AQZ_E_UNSUPPORTED, "\\xff.txt", "rename it");
	unlink(in_root("\xff.txt"));
	put_model("bad\x01.safetensors", "a");
	open_fails(in_root("bad\x01.safetensors"), AQZ_E_UNSUPPORTED, "", "control characters");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source, bad");
	TCase *tc = tcase_create("refusals");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, other_formats, 0, sizeof other_files / sizeof *other_files);
	tcase_add_loop_test(tc, refuses_index, 0, sizeof bad_indexes / sizeof *bad_indexes);
	tcase_add_test(tc, nothing_there);
	tcase_add_test(tc, same_name_in_two_shards);
	tcase_add_test(tc, bad_tensor_in_a_shard);
	tcase_add_test(tc, folders_without_a_model);
	tcase_add_test(tc, dangling_links);
	tcase_add_test(tc, names_that_cannot_be_kept);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
