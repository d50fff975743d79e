/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: a run that is interrupted anywhere, and gone on with, makes the bytes of one that was not; the folder is
 * left as it was found. */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "tests/checkpoint_runs.h"

/* ---- Interruptions */

START_TEST(any_interruption)
{
	static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_I8};

	put_matrices();
	for (int variant = 0; variant < 6; variant++) {
		const aqz_share share = variant % 3 == 0 ? AQZ_SHARE_NONE
			: variant % 3 == 1					 ? AQZ_SHARE_KIND
												 : AQZ_SHARE_BLOCK;
		run whole = plain(share, NULL), r = plain(share, "ck");

		whole.o.codebook_dtype = r.o.codebook_dtype = dtypes[variant / 3];
		GO(&whole, true);
		for (uint32_t first = 0; first <= N_TENSORS; first++) {
			interrupt(&r, first);
			/* Twice, with another number of threads; nothing that was there is made again. */
			const bool kept = there("ck/aqlmzip-000000.aqz");
			const ino_t before = kept ? inode("ck/aqlmzip-000000.aqz") : 0;
			ck_assert_int_eq(kept, first > 0);
			ck_assert_uint_eq(n_files("ck", "aqlmzip-set"), first > 0 && share == AQZ_SHARE_KIND);
			r.o.n_threads = 2;
			interrupt(&r, first + (N_TENSORS - first) / 2);
			if (kept)
				ck_assert_uint_eq(inode("ck/aqlmzip-000000.aqz"), before);
			r.o.n_threads = 1;
			GO(&r, true);
			same_bytes(&r, &whole);
			ck_assert_uint_eq(r.n_warnings, 0);
			ck_assert(!there("ck"));
			r.o.resume = false;
		}
		memory_free(&whole.file);
		memory_free(&r.file);
	}
}
END_TEST

/* Codebooks of another file are of a set, but not trained. */
START_TEST(given_codebooks)
{
	run books = plain(AQZ_SHARE_KIND, NULL), whole = plain(AQZ_SHARE_NONE, NULL),
		r = plain(AQZ_SHARE_NONE, "ck");
	aqz_reader *reader;
	aqz_io io;

	put_matrices();
	GO(&books, true);
	memory_io(&io, &books.file);
	ck_assert_int_eq(aqz_reader_open(&reader, &io, NULL, NULL), AQZ_OK);
	whole.o.codebooks_from = r.o.codebooks_from = reader;
	GO(&whole, true);
	interrupt(&r, 4);
	ck_assert_uint_eq(n_files("ck", "aqlmzip-set"), 0);
	GO(&r, true);
	same_bytes(&r, &whole);
	aqz_reader_close(reader);
	memory_free(&books.file);
	memory_free(&whole.file);
	memory_free(&r.file);
}
END_TEST

/* Threads, memory and the file's id are no part of what a checkpoint is. */
START_TEST(another_id)
{
	static const uint8_t id[16] = "0123456789abcde";
	run whole = plain(AQZ_SHARE_NONE, NULL), r = plain(AQZ_SHARE_NONE, "ck");

	put_matrices();
	interrupt(&r, 3);
	whole.o.id = r.o.id = id;
	r.o.memlimit_bytes = UINT64_C(1) << 30;
	GO(&whole, true);
	GO(&r, true);
	same_bytes(&r, &whole);
	memory_free(&whole.file);
	memory_free(&r.file);
}
END_TEST

/* ---- The folder */

START_TEST(foreign_files)
{
	static const char *const names[] = {"ck/notes", "ck/aqlmzip-1.aqz", "ck/aqlmzip-000001.aqz.bak",
		"ck/aqlmzip-set-.aqz", "ck/aqlmzip-0000001.aqz", "ck/aqlmzip-+00001.aqz",
		"ck/aqlmzip--00001.aqz", "ck/aqlmzip-99999999999.aqz", "ck/aqlmzip-000999.aqz"};
	enum { N = sizeof names / sizeof *names };
	run r = plain(AQZ_SHARE_KIND, "ck");

	put_matrices();
	SURE(mkdir(in_root("ck"), 0777) == 0);
	for (int i = 0; i < N - 1; i++)
		put_text(names[i], names[i]);
	GO(&r, true);
	ck_assert_uint_eq(n_files("ck", ""), N - 1);
	interrupt(&r, 3);
	put_text(names[N - 1], names[N - 1]); /* of no tensor */
	put_text("ck/" AQZ_CHECKPOINT_TEMPORARY, "half");
	GO(&r, true);
	for (int i = 0; i < N; i++) {
		memory_file f = get(names[i]);

		ck_assert_uint_eq(f.n, strlen(names[i]));
		ck_assert_mem_eq(f.data, names[i], f.n);
		memory_free(&f);
	}
	/* all but the lock, which stays with what looks like a checkpoint */
	ck_assert(!there("ck/" AQZ_CHECKPOINT_TEMPORARY));
	ck_assert_uint_eq(n_files("ck", "") - there("ck/aqlmzip.lock"), N);
	memory_free(&r.file);
}
END_TEST

START_TEST(folders)
{
	run r = plain(AQZ_SHARE_NONE, "ck");
	struct stat info;

	put_matrices();
	/* An empty folder that was there stays, one that was made goes, also by another run than the one that made it. */
	SURE(mkdir(in_root("ck"), 0777) == 0);
	r.o.resume = true;
	GO(&r, true);
	ck_assert(there("ck") && n_files("ck", "") == 0);
	SURE(rmdir(in_root("ck")) == 0);
	r.o.resume = false;
	interrupt(&r, 0);
	ck_assert(!there("ck"));
	interrupt(&r, 2);
	ck_assert(there("ck/aqlmzip-000001.aqz"));
	GO(&r, false);
	ck_assert(there("ck/aqlmzip-000006.aqz"));
	GO(&r, true);
	ck_assert(!there("ck"));
	GO(&r, true); /* resume without anything */
	ck_assert(!there("ck"));
	memory_free(&r.file);
	/* no folder */
	put_text("file", "text");
	r = plain(AQZ_SHARE_NONE, "file");
	ck_assert_int_eq(go(&r, false), AQZ_E_IO);
	ck_assert_str_eq(r.err.text, "this is no folder");
	r = plain(AQZ_SHARE_NONE, "no/ck");
	ck_assert_int_eq(go(&r, false), AQZ_E_IO);
	ck_assert_str_eq(r.err.where, WHERE);
	r = plain(AQZ_SHARE_NONE, NULL);
	r.o.resume = true;
	ck_assert_int_eq(go(&r, false), AQZ_E_ARGUMENT);
	ck_assert_str_eq(r.err.where, "options.resume");
	/* a checkpoint that cannot be read is one that is broken */
	r = plain(AQZ_SHARE_NONE, "ck");
	interrupt(&r, 2);
	SURE(unlink(in_root("ck/aqlmzip-000001.aqz")) == 0 &&
		symlink("../m.safetensors", in_root("ck/aqlmzip-000001.aqz")) == 0);
	GO(&r, false);
	ck_assert_uint_eq(r.n_warnings, 1);
	SURE(lstat(in_root("ck/aqlmzip-000001.aqz"), &info) == 0 && S_ISREG(info.st_mode));
	SURE(stat(in_root("m.safetensors"), &info) == 0 && (uint64_t)info.st_size > weight_of(6));
	GO(&r, true);
	memory_free(&r.file);
}
END_TEST

START_TEST(one_run_at_a_time)
{
	run r = plain(AQZ_SHARE_NONE, "ck");
	int fd;

	put_matrices();
	interrupt(&r, 2);
	fd = open(in_root("ck/aqlmzip.lock"), O_RDWR);
	SURE(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
	refused(&r, AQZ_E_IO, WHERE, "another run");
	ck_assert(there("ck/aqlmzip.lock"));
	close(fd);
	GO(&r, true);
	ck_assert(!there("ck"));
	memory_free(&r.file);
}
END_TEST

/* The files of a model's folder become part of the output; checkpoints would, too. */
START_TEST(folder_of_the_model)
{
	run r = plain(AQZ_SHARE_NONE, "");
	aqz_source *s;
	aqz_plan *plan;
	aqz_error err;
	memory_file f = {0};
	aqz_io io;

	put_matrices();
	put_text("config.json", "{}");
	memory_io(&io, &f);
	s = open_ok(in_root(""));
	r.o.checkpoint_dir = r.folder;
	ck_assert_int_eq(aqz_plan_make(&plan, s, &r.o, &err), AQZ_OK);
	ck_assert_int_eq(aqz_plan_run(plan, &io, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, WHERE);
	ck_assert_uint_eq(n_files("", ""), 2);
	aqz_plan_free(plan);
	aqz_source_close(s);
	memory_free(&f);
}
END_TEST

START_TEST(full_disk)
{
	run whole = plain(AQZ_SHARE_NONE, NULL), r = plain(AQZ_SHARE_NONE, "ck");
	struct rlimit limit, old;

	put_matrices();
	GO(&whole, true);
	SURE(getrlimit(RLIMIT_FSIZE, &old) == 0 && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	/* The last tensor is twice as large as the others. */
	GO(&r, false);
	memory_file small = get("ck/aqlmzip-000005.aqz"), large = get("ck/aqlmzip-000006.aqz");
	ck_assert_uint_gt(large.n, small.n + 64);
	r.o.resume = true;
	GO(&r, true);
	ck_assert(!there("ck"));
	r.o.resume = false;
	limit = old;
	limit.rlim_cur = small.n + 64;
	SURE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	ck_assert_int_eq(go(&r, true), AQZ_E_SPACE);
	ck_assert_str_eq(r.err.where, WHERE);
	ck_assert_str_eq(r.err.text, "cannot write aqlmzip-000006.aqz: File too large");
	ck_assert_uint_eq(n_files("ck", "aqlmzip-"), N_TENSORS - 2);
	SURE(setrlimit(RLIMIT_FSIZE, &old) == 0);
	r.o.resume = true;
	GO(&r, true);
	same_bytes(&r, &whole);
	memory_free(&small);
	memory_free(&large);
	memory_free(&whole.file);
	memory_free(&r.file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("checkpoint");
	TCase *t = tcase_create("runs");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, any_interruption);
	tcase_add_test(t, given_codebooks);
	tcase_add_test(t, another_id);
	tcase_add_test(t, foreign_files);
	tcase_add_test(t, folders);
	tcase_add_test(t, one_run_at_a_time);
	tcase_add_test(t, folder_of_the_model);
	tcase_add_test(t, full_disk);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
