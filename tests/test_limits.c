/* SPDX-License-Identifier: Apache-2.0 */
/* What the container does when memory, disk or patience end: every allocation, every read and every
 * write that fails comes back as its status, and nothing leaks. Wrong calls of the writer are in
 * limits_misuse.c. */
#include "tests/heap.h"
#include "tests/limits_misuse.h"
#include "tests/sparse.h"
#include "tests/support.h"

/* What is no budget's: the objects themselves, lists of pointers, and what malloc rounds up. */
enum { SLACK = 1 << 14 };

static const sample_options small_sample = {.alignment = 64, .n_threads = 1, .scale = 1};

/* ---- Things that are done to a file; each returns the status and must free all that it has. */

typedef aqz_status job(memory_file *f, uint64_t memlimit, aqz_error *err);

static aqz_status job_open(memory_file *f, uint64_t memlimit, aqz_error *err)
{
	const aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = memlimit};
	aqz_reader *r;
	aqz_io io;
	aqz_status status;

	memory_io(&io, f);
	status = aqz_reader_open(&r, &io, &opt, err);
	SURE((status == AQZ_OK) == (r != NULL));
	aqz_reader_close(r);
	return status;
}

static aqz_status job_verify(memory_file *f, uint64_t memlimit, aqz_error *err)
{
	return reader_verdict(f, AQZ_VERIFY_FULL, memlimit, err);
}

static aqz_status job_stored(memory_file *f, uint64_t memlimit, aqz_error *err)
{
	return reader_verdict(f, AQZ_VERIFY_STORED, memlimit, err);
}

static aqz_status job_verify_threads(memory_file *f, uint64_t memlimit, aqz_error *err)
{
	const aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = memlimit};
	aqz_reader *r;
	aqz_io io;
	aqz_status status;

	memory_io(&io, f);
	status = aqz_reader_open(&r, &io, &opt, err);
	if (status == AQZ_OK)
		status = aqz_reader_verify(r, AQZ_VERIFY_FULL, 4, NULL, NULL, NULL, NULL, err);
	aqz_reader_close(r);
	return status;
}

/* Reads every tensor, whole and in parts. */
static aqz_status job_read(memory_file *f, uint64_t memlimit, aqz_error *err)
{
	static uint8_t room[1 << 18];
	const aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = memlimit};
	const aqz_tensor_info *t;
	aqz_reader *r;
	aqz_io io;
	aqz_status status;

	memory_io(&io, f);
	status = aqz_reader_open(&r, &io, &opt, err);
	for (uint32_t i = 0; status == AQZ_OK && (t = aqz_reader_tensor(r, i)) != NULL; i++) {
		aqz_cursor *c;

		status = aqz_reader_read_tensor(r, t, room, (size_t)t->n_bytes, err);
		if (status == AQZ_OK && t->n_bytes > 0 && aqz_dtype_bits(t->dtype) >= 8) {
			const aqz_section_info *s = aqz_reader_section(r, t->section);

			status = aqz_cursor_open(&c, r, t->section, err);
			if (status == AQZ_OK)
				status = aqz_cursor_read(c, 0, 1, room, (size_t)(s->decoded_bytes / s->rows), err);
			aqz_cursor_close(c);
		}
	}
	aqz_reader_close(r);
	return status;
}

static aqz_status job_stream(memory_file *f, uint64_t memlimit, aqz_error *err)
{
	const aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = memlimit};
	aqz_stream *s;
	aqz_status status = aqz_stream_open(&s, NULL, &opt, err);

	if (status == AQZ_OK)
		status = aqz_stream_push(s, f->data, f->n, err);
	if (status == AQZ_OK)
		status = aqz_stream_finish(s, err);
	aqz_stream_close(s);
	return status;
}

/* Its output does not count. */
static aqz_status drop(void *user, const void *src, size_t n)
{
	(void)user, (void)src, (void)n;
	return AQZ_OK;
}

static aqz_status job_salvage(memory_file *f, uint64_t memlimit, aqz_error *err)
{
	aqz_io io, out = {.write = drop};

	memory_io(&io, f);
	return aqz_salvage(&io, &out, memlimit, NULL, NULL, NULL, NULL, NULL, err);
}

/* fixed_bytes: of buffers whose size depends on nothing, which limits do not count. */
static const struct {
	const char *name;
	job *run;
	unsigned n_threads;
	size_t fixed_bytes;
} jobs[] = {{"open", job_open, 1, 0}, {"verify", job_verify, 1, 1 << 17},
	{"verify stored", job_stored, 1, 1 << 17}, {"read", job_read, 1, 0}, {"stream", job_stream, 1, 0},
	{"salvage", job_salvage, 1, 1 << 20}, {"verify by threads", job_verify_threads, 4, 1 << 17}};
enum { N_JOBS = sizeof jobs / sizeof *jobs };

static void check_error(const char *name, aqz_status status, aqz_status due, const aqz_error *err)
{
	ck_assert_msg(
		status == due, "%s: %s: %s: %s", name, aqz_status_name(status), err->where, err->text);
	ck_assert_int_eq(err->status, due);
	ck_assert_msg(err->text[0] != 0 && memchr(err->text, '\n', strlen(err->text)) == NULL,
		"%s: no text", name);
}

/* ---- Memory */

START_TEST(every_allocation_may_fail)
{
	sample s;
	aqz_error err;
	uint64_t n_calls, done = 0;
	aqz_status status;
	size_t before;

	if (jobs[_i].n_threads > 1)
		return;
	sample_make(&s, &small_sample);
	before = heap_now();
	heap_reset(0);
	status = jobs[_i].run(&s.file, 0, &err);
	n_calls = heap_calls(); /* before Check makes some */
	ck_assert_int_eq(status, AQZ_OK);
	ck_assert_uint_gt(n_calls, 10);
	for (uint64_t k = 1; k <= n_calls; k++) {
		heap_reset(k);
		status = jobs[_i].run(&s.file, 0, &err);
		heap_reset(0);
		check_error(jobs[_i].name, status, AQZ_E_NOMEM, &err);
		ck_assert_msg(heap_now() == before, "%s: %zu bytes leaked at allocation %llu",
			jobs[_i].name, heap_now() - before, (unsigned long long)k);
		done++;
	}
	printf("%s: %llu allocations failed in turn\n", jobs[_i].name, (unsigned long long)done);
	sample_free(&s);
}
END_TEST

START_TEST(the_limit_is_kept)
{
	sample s;
	aqz_error err;
	uint64_t needed = 0, step;
	size_t before, unlimited;

	sample_make(&s, &(sample_options){.alignment = 64, .n_threads = 1, .scale = _i % 2 ? 40 : 1});
	before = heap_now();
	heap_reset(0);
	ck_assert_int_eq(jobs[_i / 2].run(&s.file, 0, &err), AQZ_OK);
	unlimited = heap_peak() - before;
	step = unlimited / (SPARSE > 1 ? 40 : 200) + 1;
	for (uint64_t limit = 1; limit < 4 * unlimited; limit += step) {
		aqz_status status;
		size_t most;

		heap_reset(0);
		status = jobs[_i / 2].run(&s.file, limit, &err);
		most = heap_peak() - before;
		ck_assert_msg(most <= limit + jobs[_i / 2].n_threads * (SLACK + jobs[_i / 2].fixed_bytes),
			"%s: %zu bytes under a limit of %llu", jobs[_i / 2].name, most,
			(unsigned long long)limit);
		ck_assert_uint_eq(heap_now(), before);
		if (status == AQZ_OK && needed == 0)
			needed = limit;
		if (status != AQZ_OK)
			check_error(jobs[_i / 2].name, status, AQZ_E_MEMLIMIT, &err);
		ck_assert_msg(needed == 0 || status == AQZ_OK, "%s: enough at %llu, not at %llu",
			jobs[_i / 2].name, (unsigned long long)needed, (unsigned long long)limit);
	}
	printf("%s of %zu bytes: needs a limit of %llu, takes %zu\n", jobs[_i / 2].name, s.file.n,
		(unsigned long long)needed, unlimited);
	ck_assert_uint_gt(needed, 0);
	sample_free(&s);
}
END_TEST

START_TEST(every_allocation_of_the_writer_may_fail)
{
	sample s;
	aqz_error err;
	aqz_io io = {.write = drop};
	uint64_t n_calls, n_failed = 0;
	aqz_status status;
	size_t before = heap_now();

	memset(&s, 0, sizeof s);
	heap_reset(0);
	status = sample_write(&s, &io, &small_sample, &err);
	n_calls = heap_calls();
	ck_assert_int_eq(status, AQZ_OK);
	sample_free(&s);
	ck_assert_uint_eq(heap_now(), before);
	for (uint64_t k = 1; k <= n_calls; k++) {
		heap_reset(k);
		status = sample_write(&s, &io, &small_sample, &err);
		heap_reset(0);
		sample_free(&s);
		check_error("writer", status, AQZ_E_NOMEM, &err);
		ck_assert_msg(heap_now() == before, "%zu bytes leaked at allocation %llu",
			heap_now() - before, (unsigned long long)k);
		n_failed++;
	}
	printf("writer: %llu allocations failed in turn\n", (unsigned long long)n_failed);
	ck_assert_uint_gt(n_failed, 100);
}
END_TEST

/* ---- Reading and writing */

START_TEST(every_read_may_fail)
{
	sample s;
	aqz_error err;
	uint64_t n_reads;
	size_t before;

	if (jobs[_i].n_threads > 1) /* how often they read is up to chance */
		return;
	sample_make(&s, &small_sample);
	s.file.n_reads = 0;
	ck_assert_int_eq(jobs[_i].run(&s.file, 0, &err), AQZ_OK);
	n_reads = s.file.n_reads;
	before = heap_now();
	s.file.fail_with = AQZ_E_IO;
	for (uint64_t k = 1; k <= n_reads; k++) {
		s.file.n_reads = 0;
		s.file.fail_read = k;
		check_error(jobs[_i].name, jobs[_i].run(&s.file, 0, &err), AQZ_E_IO, &err);
		ck_assert_uint_eq(heap_now(), before);
	}
	sample_free(&s);
}
END_TEST

START_TEST(every_write_may_fail)
{
	static const aqz_status reasons[] = {AQZ_E_IO, AQZ_E_SPACE};
	const sample_options opt = {.alignment = _i % 2 ? 4096 : 64, .n_threads = 2, .scale = 1};
	memory_file f = {0};
	sample s;
	aqz_error err;
	aqz_io io;
	uint64_t n_writes;

	memset(&s, 0, sizeof s);
	memory_io(&io, &f);
	ck_assert_int_eq(sample_write(&s, &io, &opt, &err), AQZ_OK);
	sample_free(&s);
	n_writes = f.n_writes;
	for (uint64_t k = 1; k <= n_writes; k++) {
		const size_t before = heap_now() - f.capacity;

		f.n = 0;
		f.n_writes = 0;
		f.fail_write = k;
		f.fail_with = reasons[_i / 2];
		check_error("writer", sample_write(&s, &io, &opt, &err), reasons[_i / 2], &err);
		ck_assert_uint_eq(f.n_writes, k); /* it does not try again */
		sample_free(&s);
		ck_assert_uint_eq(heap_now() - f.capacity, before);
	}
	memory_free(&f);
}
END_TEST

START_TEST(every_write_of_salvage_may_fail)
{
	static const aqz_status reasons[] = {AQZ_E_IO, AQZ_E_SPACE};
	memory_file f = {0};
	sample s;
	aqz_error err;
	aqz_io from, to;
	uint64_t n_writes;

	sample_make(&s, &small_sample);
	memory_io(&from, &s.file);
	memory_io(&to, &f);
	ck_assert_int_eq(aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, NULL, &err), AQZ_OK);
	n_writes = f.n_writes;
	for (uint64_t k = 1; k <= n_writes; k++) {
		const size_t before = heap_now();

		f.n = 0;
		f.n_writes = 0;
		f.fail_write = k;
		f.fail_with = reasons[_i];
		check_error("salvage", aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, NULL, &err),
			reasons[_i], &err);
		ck_assert_uint_eq(heap_now(), before);
	}
	memory_free(&f);
	sample_free(&s);
}
END_TEST

START_TEST(the_size_may_not_be_known)
{
	sample s;
	aqz_error err;

	for (unsigned k = 0; k < N_JOBS; k++) {
		if (jobs[k].run == job_stream)
			continue;
		sample_make(&s, &small_sample);
		s.file.fail_size = AQZ_E_IO;
		check_error(jobs[k].name, jobs[k].run(&s.file, 0, &err), AQZ_E_IO, &err);
		sample_free(&s);
	}
}
END_TEST

/* ---- Callbacks that have enough */

typedef struct patience {
	uint64_t calls, last, total, limit;
} patience;

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
	patience *p = user;

	ck_assert_uint_le(done, total);
	p->total = total;
	p->last = done;
	return ++p->calls != p->limit;
}

START_TEST(verify_can_be_cancelled)
{
	sample s;
	aqz_error err;
	aqz_reader *r;
	aqz_io io;

	sample_make(&s, &small_sample);
	memory_io(&io, &s.file);
	ck_assert_int_eq(aqz_reader_open(&r, &io, NULL, &err), AQZ_OK);
	for (int level = AQZ_VERIFY_QUICK; level <= AQZ_VERIFY_FULL; level++) {
		patience all = {0};

		ck_assert_int_eq(
			aqz_reader_verify(r, (aqz_verify_level)level, 1, NULL, NULL, on_progress, &all, &err),
			AQZ_OK);
		ck_assert_uint_gt(all.calls, 10);
		ck_assert_uint_eq(all.total, s.file.n);
		for (uint64_t k = 1; k <= all.calls; k++) {
			patience p = {.limit = k};

			check_error("verify",
				aqz_reader_verify(r, (aqz_verify_level)level, 1, NULL, NULL, on_progress, &p, &err),
				AQZ_E_CANCELLED, &err);
			ck_assert_uint_eq(p.calls, k);
		}
	}
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

START_TEST(salvage_can_be_cancelled)
{
	sample s;
	aqz_error err;
	aqz_io io, out = {.write = drop};
	patience all = {0};

	sample_make(&s, &small_sample);
	memory_io(&io, &s.file);
	ck_assert_int_eq(aqz_salvage(&io, &out, 0, NULL, NULL, on_progress, &all, NULL, &err), AQZ_OK);
	ck_assert_uint_gt(all.calls, 5);
	for (uint64_t k = 1; k <= all.calls; k++) {
		const size_t before = heap_now();
		patience p = {.limit = k};

		check_error("salvage", aqz_salvage(&io, &out, 0, NULL, NULL, on_progress, &p, NULL, &err),
			AQZ_E_CANCELLED, &err);
		ck_assert_uint_eq(p.calls, k);
		ck_assert_uint_eq(heap_now(), before);
	}
	sample_free(&s);
}
END_TEST

typedef struct stopper {
	uint64_t calls, stop_at;
	aqz_status with;
} stopper;

static aqz_status stop(stopper *s)
{
	return ++s->calls == s->stop_at ? s->with : AQZ_OK;
}

static aqz_status stop_section(void *user, const aqz_section_info *info)
{
	(void)info;
	return stop(user);
}

static aqz_status stop_tensor(void *user, const aqz_tensor_info *info)
{
	(void)info;
	return stop(user);
}

static aqz_status stop_rows(void *user, const aqz_section_info *info, uint64_t row, uint64_t n_rows,
	const void *data, size_t n)
{
	(void)info, (void)row, (void)n_rows, (void)data, (void)n;
	return stop(user);
}

START_TEST(callbacks_stop_a_stream)
{
	sample s;
	stopper all = {0};

	sample_make(&s, &small_sample);
	for (uint64_t k = 0; k == 0 || k <= all.calls; k++) {
		stopper here = {.stop_at = k, .with = k % 2 ? AQZ_E_SPACE : AQZ_E_CANCELLED},
				*p = k == 0 ? &all : &here;
		const aqz_stream_events events = {p, stop_section, stop_tensor, stop_rows};
		const size_t before = heap_now();
		aqz_stream *stream;
		aqz_error err;
		aqz_status status;

		ck_assert_int_eq(aqz_stream_open(&stream, &events, NULL, &err), AQZ_OK);
		status = aqz_stream_push(stream, s.file.data, s.file.n, &err);
		ck_assert_int_eq(status, k == 0 ? AQZ_OK : here.with);
		if (k > 0) { /* and it stays so */
			ck_assert_uint_eq(here.calls, k);
			ck_assert_int_eq(aqz_stream_push(stream, s.file.data, 1, &err), here.with);
			ck_assert_int_eq(aqz_stream_finish(stream, &err), here.with);
			ck_assert_uint_eq(here.calls, k);
		}
		aqz_stream_close(stream);
		ck_assert_uint_eq(heap_now(), before);
	}
	ck_assert_uint_gt(all.calls, 40);
	sample_free(&s);
}
END_TEST

START_TEST(wrong_calls_of_salvage_and_stream)
{
	sample s;
	aqz_error err;
	aqz_io io, out = {.write = drop}, none = {0};
	const aqz_reader_options wrong = {.struct_size = 1};
	aqz_stream *stream;

	sample_make(&s, &small_sample);
	memory_io(&io, &s.file);
	ck_assert_int_eq(aqz_salvage(NULL, &out, 0, NULL, NULL, NULL, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_salvage(&io, NULL, 0, NULL, NULL, NULL, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_salvage(&none, &out, 0, NULL, NULL, NULL, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_salvage(&io, &none, 0, NULL, NULL, NULL, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_stream_open(&stream, NULL, &wrong, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_null(stream);
	/* Pushing nothing is nothing; so is finishing twice. */
	ck_assert_int_eq(aqz_stream_open(&stream, NULL, NULL, &err), AQZ_OK);
	ck_assert_int_eq(aqz_stream_push(stream, NULL, 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_stream_push(stream, s.file.data, s.file.n, &err), AQZ_OK);
	ck_assert_int_eq(aqz_stream_push(stream, NULL, 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_stream_finish(stream, &err), AQZ_OK);
	ck_assert_int_eq(aqz_stream_finish(stream, &err), AQZ_OK);
	ck_assert_int_eq(aqz_stream_push(stream, "x", 1, &err), AQZ_E_CORRUPT);
	ck_assert_int_eq(aqz_stream_finish(stream, &err), AQZ_E_CORRUPT);
	aqz_stream_close(stream);
	/* All of it without an error struct. */
	ck_assert_int_eq(aqz_stream_open(&stream, NULL, NULL, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_stream_push(stream, "x", 1, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_stream_finish(stream, NULL), AQZ_E_FORMAT);
	aqz_stream_close(stream);
	sample_free(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("limits");
	TCase *tc = tcase_create("limits");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, every_allocation_may_fail, 0, N_JOBS);
	tcase_add_loop_test(tc, the_limit_is_kept, 0, 2 * N_JOBS);
	tcase_add_test(tc, every_allocation_of_the_writer_may_fail);
	tcase_add_loop_test(tc, every_read_may_fail, 0, N_JOBS);
	tcase_add_loop_test(tc, every_write_may_fail, 0, 4);
	tcase_add_loop_test(tc, every_write_of_salvage_may_fail, 0, 2);
	tcase_add_test(tc, the_size_may_not_be_known);
	tcase_add_test(tc, verify_can_be_cancelled);
	tcase_add_test(tc, salvage_can_be_cancelled);
	tcase_add_test(tc, callbacks_stop_a_stream);
	tcase_add_test(tc, wrong_calls_of_salvage_and_stream);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, limits_misuse());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
