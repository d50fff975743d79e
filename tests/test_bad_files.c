/* SPDX-License-Identifier: Apache-2.0 */
/* Every check of the parsers fires on a file that is wrong in one thing, with the right status and
 * the right name of the field, for both readers. With a folder as argument the files are written
 * there instead. */
#include <check.h>

#include "format/catalog.h"
#include "tests/bad_files.h"

/* ---- Checking */

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool name_fits(const char *name, aqz_status status)
{
	if (begins(name, "bad-"))
		return status == AQZ_E_CORRUPT || status == AQZ_E_CHECKSUM;
	if (begins(name, "unsupported-"))
		return status == AQZ_E_UNSUPPORTED;
	if (begins(name, "truncated-"))
		return status == AQZ_E_TRUNCATED;
	return begins(name, "foreign-") ? status == AQZ_E_FORMAT
									: begins(name, "good-") && status == AQZ_OK;
}

static bool says(const char *name, const char *who, aqz_status status, const aqz_error *err,
	aqz_status due, const char *where)
{
	if (status == due &&
		(status == AQZ_OK || (err->status == due && begins(err->where, where) && err->text[0] != 0)))
		return true;
	fprintf(stderr, "%s: %s says %s %s \"%s\" at %lld, not %s %s\n", name, who,
		aqz_status_name(status), status == AQZ_OK ? "" : err->where,
		status == AQZ_OK ? "" : err->text, status == AQZ_OK ? 0 : (long long)err->offset,
		aqz_status_name(due), where);
	return false;
}

START_TEST(a_bad_file_is_named)
{
	const bad_file *b = bad_file_get((size_t)_i);
	const aqz_status stream_due = b->stream_status == ACCEPTS ? AQZ_OK
		: b->stream_status != AQZ_OK						  ? b->stream_status
															  : b->status;
	memory_file f = {0}, out = {0};
	aqz_error err;
	aqz_status status;
	aqz_io from, to;
	bool as_due;

	ck_assert_msg(name_fits(b->name, b->status), "%s is %s", b->name, aqz_status_name(b->status));
	bad_file_make(b, &f);
	memset(&err, 0, sizeof err);
	status = reader_verdict(&f, AQZ_VERIFY_FULL, 1 << 20, &err);
	as_due = says(b->name, "the reader", status, &err, b->status, b->where);
	for (int level = AQZ_VERIFY_QUICK; level <= AQZ_VERIFY_STORED;
		 level++) { /* the same, or not seen yet */
		status = reader_verdict(&f, (aqz_verify_level)level, 1 << 20, NULL);
		ck_assert_msg(
			status == b->status || status == AQZ_OK, "%s: %s", b->name, aqz_status_name(status));
	}
	memset(&err, 0, sizeof err);
	status = stream_verdict(&f, 0, 1 << 20, &err);
	as_due = says(b->name, "the stream", status, &err, stream_due,
				 b->stream_where != NULL ? b->stream_where : b->where) &&
		as_due;
	ck_assert_int_eq(stream_verdict(&f, 1, 1 << 20, &err), status);
	/* Salvage takes all that it can get, and no more. */
	memory_io(&from, &f);
	memory_io(&to, &out);
	memset(&err, 0, sizeof err);
	status = aqz_salvage(&from, &to, 4 << 20, NULL, NULL, NULL, NULL, NULL, &err);
	if (status == AQZ_OK)
		status = reader_verdict(&out, AQZ_VERIFY_FULL, 0, &err);
	if (status == AQZ_OK)
		status = stream_verdict(&out, 0, 0, &err);
	else if (status == AQZ_E_FORMAT ||
		(status == AQZ_E_UNSUPPORTED && begins(err.where, "superblock")))
		status = AQZ_OK;
	as_due = says(b->name, "salvage", status, &err, AQZ_OK, "") && as_due;
	memory_free(&out);
	memory_free(&f);
	ck_assert_msg(as_due, "%s", b->name);
}
END_TEST

static void make_named(memory_file *f, const char *name)
{
	size_t k = 0;

	while (strcmp(bad_file_get(k)->name, name) != 0)
		k++;
	bad_file_make(bad_file_get(k), f);
}

/* What only a deeper look finds. */
START_TEST(levels_of_verification)
{
	static const struct {
		const char *name;
		aqz_status quick, stored;
	} due[] = {{"bad-frame-not-as-index", AQZ_E_CORRUPT, AQZ_E_CORRUPT},
		{"bad-frame-header-hash", AQZ_E_CHECKSUM, AQZ_E_CHECKSUM},
		{"bad-records-section", AQZ_E_CORRUPT, AQZ_E_CORRUPT},
		{"bad-superblock-other", AQZ_E_CORRUPT, AQZ_E_CORRUPT},
		{"bad-payload-hash", AQZ_OK, AQZ_E_CHECKSUM}, {"bad-frame-padding", AQZ_OK, AQZ_E_CORRUPT},
		{"bad-padding-content", AQZ_OK, AQZ_E_CORRUPT}, {"bad-chunk-decoded-hash", AQZ_OK, AQZ_OK},
		{"bad-codes-padding", AQZ_OK, AQZ_OK}, {"bad-index-digest", AQZ_OK, AQZ_OK}};

	for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
		memory_file f = {0};

		make_named(&f, due[i].name);
		ck_assert_msg(
			reader_verdict(&f, AQZ_VERIFY_QUICK, 0, NULL) == due[i].quick, "%s", due[i].name);
		ck_assert_msg(
			reader_verdict(&f, AQZ_VERIFY_STORED, 0, NULL) == due[i].stored, "%s", due[i].name);
		memory_free(&f);
	}
}
END_TEST

/* Both readers say at which byte of the file the field is. */
START_TEST(errors_stand_where_the_field_is)
{
	static const struct {
		const char *name;
		uint32_t from_end, at; /* the field: at, in the payload of the footer or of the index */
	} due[] = {{"unsupported-footer-copy-minor", 128, 48},
		{"unsupported-footer-copy-feature", 128, 48 + 8},
		{"unsupported-footer-copy-reserved", 128, 48 + 49},
		{"unsupported-footer-copy-generation", 128, 48 + 60},
		{"unsupported-footer-previous", 128, 112}, {"unsupported-index-reserved", 0, 12}};

	for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
		memory_file f = {0};
		aqz_error err[2];
		uint64_t at;

		make_named(&f, due[i].name);
		at = due[i].from_end != 0 ? f.n - due[i].from_end : 64 + aqz_get64(f.data + f.n - 128);
		ck_assert_int_ne(reader_verdict(&f, AQZ_VERIFY_QUICK, 0, &err[0]), AQZ_OK);
		ck_assert_int_ne(stream_verdict(&f, 0, 0, &err[1]), AQZ_OK);
		for (int k = 0; k < 2; k++)
			ck_assert_msg(err[k].offset == at + due[i].at, "%s: at %llu, not %llu", due[i].name,
				(unsigned long long)err[k].offset, (unsigned long long)at + due[i].at);
		memory_free(&f);
	}
}
END_TEST

/* Every byte of a file with frames that the library does not know is in the ledger, spec 6.4. */
START_TEST(the_ledger_has_unknown_frames)
{
	static const struct {
		const char *name;
		uint64_t other;
	} due[] = {{"good-base", 0}, {"good-ancillary-frames", 5}, {"good-ancillary-frame-last", 64},
		{"good-extra", 64 + 128 + 64}};

	for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
		memory_file f = {0};
		aqz_reader *r;
		aqz_ledger l;
		aqz_io io;

		make_named(&f, due[i].name);
		memory_io(&io, &f);
		ck_assert_int_eq(aqz_reader_open(&r, &io, NULL, NULL), AQZ_OK);
		aqz_reader_ledger(r, &l);
		ck_assert_uint_eq(l.other, due[i].other);
		ck_assert_uint_eq(l.total, f.n);
		aqz_reader_close(r);
		memory_free(&f);
	}
}
END_TEST

START_TEST(names_are_given_once)
{
	for (size_t i = 0; i < n_bad_files(); i++)
		for (size_t k = 0; k < i; k++)
			ck_assert_str_ne(bad_file_get(i)->name, bad_file_get(k)->name);
	printf("%zu files\n", n_bad_files());
}
END_TEST

/* ---- Names made to be slow */

typedef struct name_list {
	char names[5000][16];
	uint32_t n;
} name_list;

static bool name_equal(const void *owner, uint32_t number, const char *name, size_t n)
{
	const char *s = ((const name_list *)owner)->names[number];

	return strlen(s) == n && memcmp(s, name, n) == 0;
}

static void name_get(const void *owner, uint32_t number, const char **name, size_t *n)
{
	*name = ((const name_list *)owner)->names[number];
	*n = strlen(*name);
}

/* Names whose hashes agree in 14 bits, as an attacker finds them: a table that chained them without
 * end would take quadratic time. None is lost or found twice until the table refuses. */
START_TEST(names_that_collide)
{
	static name_list list;
	aqz_names names = {0};
	aqz_budget budget = {0};
	aqz_status status = AQZ_OK;
	aqz_error err;
	uint32_t number;

	for (uint32_t i = 0; status == AQZ_OK && list.n < 5000; i++) {
		char *name = list.names[list.n];
		const size_t n = (size_t)snprintf(name, sizeof list.names[0], "%x", i);

		if ((aqz_hash(name, n, 0) & 0x3fff) != 0x3f00)
			continue;
		ck_assert(!aqz_names_find(&names, name_equal, &list, name, n, &number));
		status = aqz_names_add(&names, &budget, name_get, &list, list.n, &err);
		list.n++;
	}
	ck_assert_int_eq(status, AQZ_E_CORRUPT);
	ck_assert_str_eq(err.where, "names");
	ck_assert_uint_gt(list.n, 4000);
	for (uint32_t i = 0; i + 1 < list.n; i++)
		ck_assert(aqz_names_find(
					  &names, name_equal, &list, list.names[i], strlen(list.names[i]), &number) &&
			number == i);
	aqz_names_free(&names, &budget);
	ck_assert_uint_eq(budget.used_bytes, 0);
}
END_TEST

static int write_files(const char *folder)
{
	for (size_t i = 0; i < n_bad_files(); i++) {
		memory_file f = {0};
		char path[4096];
		FILE *out;

		bad_file_make(bad_file_get(i), &f);
		snprintf(path, sizeof path, "%s/%s.aqz", folder, bad_file_get(i)->name);
		out = fopen(path, "wb");
		if (out == NULL || fwrite(f.data, 1, f.n, out) != f.n || fclose(out) != 0) {
			perror(path);
			return 1;
		}
		memory_free(&f);
	}
	return 0;
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("bad files");
	TCase *tc = tcase_create("bad files");
	SRunner *runner;
	int failed;

	if (argc > 1)
		return write_files(argv[1]);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_bad_file_is_named, 0, (int)n_bad_files());
	tcase_add_test(tc, levels_of_verification);
	tcase_add_test(tc, errors_stand_where_the_field_is);
	tcase_add_test(tc, the_ledger_has_unknown_frames);
	tcase_add_test(tc, names_are_given_once);
	tcase_add_test(tc, names_that_collide);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
