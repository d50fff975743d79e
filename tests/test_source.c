/* SPDX-License-Identifier: Apache-2.0 */
/* Model files and Hugging Face folders: what is taken, and reading it. */
#include <pthread.h>

#include "tests/model_folder.h"

static const char *files_of(const aqz_source *source)
{
	static char list[4096];

	list[0] = '\0';
	for (uint32_t i = 0; aqz_source_get_file(source, i) != NULL; i++) {
		const aqz_source_file *file = aqz_source_get_file(source, i);

		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s%s", i > 0 ? " " : "",
			file->name, file->header_bytes > 0 ? "*" : "");
	}
	return list;
}

static const char *tensors_of(const aqz_source *source)
{
	static char list[4096];

	list[0] = '\0';
	for (uint32_t i = 0; aqz_source_get(source, i) != NULL; i++) {
		const aqz_source_tensor *t = aqz_source_get(source, i);

		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s@%u", i > 0 ? " " : "",
			t->name, t->file);
	}
	return list;
}

static void check_data(const aqz_source *source)
{
	aqz_error err;

	for (uint32_t i = 0; i < aqz_source_n_tensors(source); i++) {
		const aqz_source_tensor *t = aqz_source_get(source, i);
		char data[8], expected[8];

		memset(expected, t->name[0], sizeof expected);
		ck_assert_int_eq(aqz_source_read(source, t->file, t->offset, data, 8, &err), AQZ_OK);
		ck_assert_mem_eq(data, expected, 8);
	}
}

/* ---- One file */

START_TEST(single_file)
{
	aqz_source *source;
	aqz_error err;
	char byte;

	put_model("any name.bin", "b a");
	source = open_ok(in_root("any name.bin"));
	ck_assert(!aqz_source_is_folder(source));
	ck_assert_str_eq(files_of(source), "any name.bin*");
	ck_assert_str_eq(tensors_of(source), "b@0 a@0");
	ck_assert_uint_eq(aqz_source_n_tensors(source), 2);
	ck_assert_ptr_null(aqz_source_get(source, 2));
	ck_assert_ptr_null(aqz_source_get_file(source, 1));
	check_data(source);
	/* Reads beyond the file, or of no file, are the caller's error. */
	ck_assert_int_eq(aqz_source_read(source, 1, 0, &byte, 1, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(
		aqz_source_read(source, 0, aqz_source_get_file(source, 0)->n_bytes, &byte, 1, &err),
		AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_source_read(source, 0, UINT64_MAX, &byte, 1, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_source_read(source, 0, 0, NULL, 0, &err), AQZ_OK);
	aqz_source_close(source);
	aqz_source_close(NULL);
}
END_TEST

START_TEST(link_to_a_file)
{
	aqz_source *source;
	char target[4096];

	put_model("blob", "a");
	snprintf(target, sizeof target, "%s", in_root("blob"));
	ck_assert_int_eq(symlink(target, in_root("model.safetensors")), 0);
	source = open_ok(in_root("model.safetensors"));
	ck_assert_str_eq(files_of(source), "model.safetensors*");
	aqz_source_close(source);
}
END_TEST

/* ---- Folders */

START_TEST(folder_of_one)
{
	aqz_source *source;
	char outside[] = "/tmp/aqz-blob-XXXXXX", data[16];
	aqz_error err;
	const int fd = mkstemp(outside);

	ck_assert_int_eq(write(fd, "linked", 6), 6);
	close(fd);
	put_model("model.safetensors", "w v");
	put_text("tokenizer.json", "{}");
	put_text("config.json", "{ }\n");
	put_text(".gitattributes", "*");
	put_text("empty", "");
	put_text("na\xc3\xafve name", "?");
	ck_assert_int_eq(symlink(outside, in_root("link.txt")), 0);
	ck_assert_int_eq(mkdir(in_root("original"), 0700), 0);
	put_model("original/model.safetensors", "other");
	ck_assert_int_eq(symlink("original", in_root("link-to-folder")), 0);
	ck_assert_int_eq(mkfifo(in_root("fifo"), 0600), 0);

	source = open_ok(root);
	ck_assert(aqz_source_is_folder(source));
	ck_assert_str_eq(files_of(source),
		"model.safetensors* .gitattributes config.json empty link.txt na\xc3\xafve name "
		"tokenizer.json");
	ck_assert_str_eq(tensors_of(source), "w@0 v@0");
	check_data(source);
	ck_assert_uint_eq(aqz_source_get_file(source, 4)->n_bytes, 6);
	ck_assert_int_eq(aqz_source_read(source, 4, 0, data, 6, &err), AQZ_OK);
	ck_assert_mem_eq(data, "linked", 6);
	ck_assert_int_eq(aqz_source_read(source, 2, 1, data, 3, &err), AQZ_OK);
	ck_assert_mem_eq(data, " }\n", 3);
	aqz_source_close(source);
	unlink(outside);
}
END_TEST

START_TEST(single_file_of_another_name)
{
	aqz_source *source;

	put_model("consolidated.safetensors", "w");
	source = open_ok(root);
	ck_assert_str_eq(files_of(source), "consolidated.safetensors*");
	aqz_source_close(source);
}
END_TEST

START_TEST(one_shard_of_one)
{
	aqz_source *source;

	put_model("model-00001-of-00001.safetensors", "w");
	source = open_ok(root);
	ck_assert_str_eq(files_of(source), "model-00001-of-00001.safetensors*");
	aqz_source_close(source);
}
END_TEST

START_TEST(shards)
{
	aqz_source *source;

	put_shards();
	put_index(MAP);
	put_model("adapter.safetensors", "x"); /* not the index's: attached */
	source = open_ok(root);
	ck_assert_str_eq(files_of(source),
		SHARD_1 "* " SHARD_2 "* adapter.safetensors config.json " AQZ_SOURCE_INDEX);
	ck_assert_str_eq(tensors_of(source), "d@0 c@0 b@1 a@1");
	check_data(source);
	aqz_source_close(source);
}
END_TEST

/* More shards than are kept open, some of them without tensors. */
START_TEST(many_shards)
{
	aqz_buffer map = {0};
	aqz_source *source;
	char text[256], tensor[16], shard[64];
	const uint32_t count = 300;

	aqz_buffer_add(&map, "{\"weight_map\":{", 15, NULL);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(shard, sizeof shard, "s%03u.safetensors", i);
		snprintf(tensor, sizeof tensor, "%c%03u", 'a' + (int)(i % 26), i);
		put_model(shard, i % 7 == 3 ? "" : tensor);
		if (i % 7 == 3)
			continue;
		snprintf(text, sizeof text, "%s\"%s\":\"%s\"", i > 0 ? "," : "", tensor, shard);
		aqz_buffer_add(&map, text, strlen(text), NULL);
	}
	aqz_buffer_add(&map, "}}", 2, NULL);
	put(AQZ_SOURCE_INDEX, map.data, map.n);
	aqz_buffer_free(&map);
	source = open_ok(root);
	/* A shard without tensors is named by no index: it is an attached file. */
	ck_assert_uint_eq(aqz_source_n_tensors(source), 257);
	ck_assert_uint_gt(aqz_source_get_file(source, 256)->header_bytes, 0);
	ck_assert_uint_eq(aqz_source_get_file(source, 257)->header_bytes, 0);
	check_data(source);
	aqz_source_close(source);
}
END_TEST

/* ---- Change under our feet, limits, threads */

START_TEST(files_that_change)
{
	aqz_source *source;
	aqz_error err;
	char data[64];

	put_model("model.safetensors", "a b");
	put_text("config.json", "{\"a\":1}");
	source = open_ok(root);
	/* Shorter: TRUNCATED at the place where it ends, whether kept open or not. */
	ck_assert_int_eq(truncate(in_root("model.safetensors"), 20), 0);
	ck_assert_int_eq(truncate(in_root("config.json"), 3), 0);
	ck_assert_int_eq(aqz_source_read(source, 0, 10, data, 20, &err), AQZ_E_TRUNCATED);
	ck_assert_uint_eq(err.offset, 20);
	ck_assert_str_eq(err.where, "model.safetensors");
	ck_assert_int_eq(aqz_source_read(source, 1, 0, data, 7, &err), AQZ_E_TRUNCATED);
	ck_assert_str_eq(err.where, "config.json");
	/* Replaced, or gone. */
	put_text("new", "{\"a\":2}");
	{
		char from[4096];

		snprintf(from, sizeof from, "%s", in_root("new"));
		ck_assert_int_eq(rename(from, in_root("config.json")), 0);
	}
	ck_assert_int_eq(aqz_source_read(source, 1, 0, data, 7, &err), AQZ_E_IO);
	ck_assert_ptr_nonnull(strstr(err.text, "replaced"));
	unlink(in_root("config.json"));
	ck_assert_int_eq(aqz_source_read(source, 1, 0, data, 7, &err), AQZ_E_NOT_FOUND);
	ck_assert_int_eq(mkfifo(in_root("config.json"), 0600), 0);
	ck_assert_int_eq(aqz_source_read(source, 1, 0, data, 7, &err), AQZ_E_IO);
	aqz_source_close(source);
}
END_TEST

START_TEST(memory_limit)
{
	aqz_source *source;
	aqz_error err;
	unsigned refused = 0;
	aqz_status status;

	put_shards();
	put_index(MAP);
	for (uint64_t limit = 1;; limit += limit / 8 + 1) {
		status = aqz_source_open(&source, root, limit, &err);
		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_MEMLIMIT);
		ck_assert_ptr_null(source);
		refused++;
	}
	ck_assert_uint_gt(refused, 10);
	aqz_source_close(source);
}
END_TEST

static void *read_often(void *user)
{
	const aqz_source *source = user;

	for (unsigned round = 0; round < 200; round++) {
		for (uint32_t i = 0; i < 4; i++) {
			const aqz_source_tensor *t = aqz_source_get(source, i);
			char data[8];

			if (aqz_source_read(source, t->file, t->offset, data, 8, NULL) != AQZ_OK ||
				data[7] != t->name[0])
				return user;
		}
		if (aqz_source_read(source, 2, 0, (char[2]){0}, 2, NULL) != AQZ_OK)
			return user;
	}
	return NULL;
}

START_TEST(threads_read_at_once)
{
	aqz_source *source;
	pthread_t threads[4];
	void *failed;

	put_shards();
	put_index(MAP);
	source = open_ok(root);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_often, source), 0);
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
		ck_assert_ptr_null(failed);
	}
	aqz_source_close(source);
}
END_TEST

/* ---- Real models */

/* Opens every safetensors file below path, writes its header anew and compares; returns how many. */
static unsigned try_all(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *item;
	unsigned count = 0;

	while (dir != NULL && (item = readdir(dir)) != NULL) {
		const size_t n = strlen(item->d_name);
		char below[4096];
		struct stat info;

		if (item->d_name[0] == '.')
			continue;
		snprintf(below, sizeof below, "%s/%s", path, item->d_name);
		if (stat(below, &info) != 0)
			continue;
		if (S_ISDIR(info.st_mode)) {
			count += try_all(below);
		} else if (n > 12 && strcmp(item->d_name + n - 12, ".safetensors") == 0) {
			aqz_source *source = open_ok(below);
			const aqz_safetensors *s = &source->files[0].table;
			aqz_safetensors again;
			aqz_error err;
			uint8_t *header;
			size_t header_bytes;

			ck_assert_int_eq(aqz_safetensors_header(&header, &header_bytes, s->tensors,
								 s->n_tensors, s->metadata, &err),
				AQZ_OK);
			ck_assert_int_eq(aqz_safetensors_parse(&again, header, header_bytes,
								 header_bytes + s->data_bytes, 0, &err),
				AQZ_OK);
			ck_assert_uint_eq(again.n_tensors, s->n_tensors);
			for (uint32_t i = 0; i < s->n_tensors; i++)
				ck_assert_str_eq(again.tensors[i].name, s->tensors[i].name);
			aqz_safetensors_free(&again);
			free(header);
			aqz_source_close(source);
			count++;
		}
	}
	if (dir != NULL)
		closedir(dir);
	return count;
}

START_TEST(real_models)
{
	const char *shared = getenv("AQZ_SHARED"), *tree = getenv("AQZ_SRCDIR");
	char path[4096], folder[4200];
	struct stat info;
	unsigned count;

	if (shared != NULL)
		snprintf(path, sizeof path, "%s", shared);
	else
		snprintf(path, sizeof path, "%s/../shared", tree != NULL ? tree : ".");
	if (stat(path, &info) != 0) {
		printf("SKIP: real models: there is no %s\n", path);
		return;
	}
	count = try_all(path);
	printf("%u real safetensors files read and written again\n", count);
	snprintf(folder, sizeof folder, "%s/data/stories-0.9M", path);
	if (stat(folder, &info) != 0) {
		printf("SKIP: there is no %s\n", folder);
	} else {
		aqz_source *source = open_ok(folder);

		printf("%s: %u tensors; %s\n", folder, aqz_source_n_tensors(source), files_of(source));
		ck_assert_uint_gt(aqz_source_n_tensors(source), 0);
		aqz_source_close(source);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source");
	TCase *tc = tcase_create("source");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, single_file);
	tcase_add_test(tc, link_to_a_file);
	tcase_add_test(tc, folder_of_one);
	tcase_add_test(tc, single_file_of_another_name);
	tcase_add_test(tc, one_shard_of_one);
	tcase_add_test(tc, shards);
	tcase_add_test(tc, many_shards);
	tcase_add_test(tc, files_that_change);
	tcase_add_test(tc, memory_limit);
	tcase_add_test(tc, threads_read_at_once);
	tcase_add_test(tc, real_models);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
