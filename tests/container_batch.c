/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_container: small sections, whose records share a frame, and what a caller of the
 * writer sees of that, which is nothing. */
#include "tests/container_batch.h"

#include "format/reader.h"
#include "format/writer.h"
#include "tests/support.h"

enum { MAX_TENSORS = 4096, KIB = 1024 };

/* A file in the making, and what must be in it. */
typedef struct making {
	memory_file f;
	aqz_io io;
	aqz_writer *w;
	noise r;
	uint32_t n;
	struct made {
		size_t n_bytes;
		uint8_t *data;
		bool alias;
	} tensors[MAX_TENSORS]; /* "t0", "t1" and so on */
} making;

static void start(making *m, uint64_t memlimit_bytes, unsigned n_threads)
{
	aqz_writer_options o = {.struct_size = sizeof o,
		.id = "small sections",
		.effort = 1,
		.n_threads = n_threads,
		.memlimit_bytes = memlimit_bytes};

	memset(m, 0, sizeof *m);
	m->r.state = 5;
	memory_io(&m->io, &m->f);
	ck_assert_int_eq(aqz_writer_open(&m->w, &m->io, &o, NULL), AQZ_OK);
}

static void stop(making *m)
{
	aqz_writer_close(m->w);
	for (uint32_t i = 0; i < m->n; i++)
		if (!m->tensors[i].alias)
			free(m->tensors[i].data);
	memory_free(&m->f);
}

static aqz_tensor_desc name_of(char name[16], uint32_t i)
{
	return (aqz_tensor_desc){.struct_size = sizeof(aqz_tensor_desc),
		.name = name,
		.name_bytes = (size_t)snprintf(name, 16, "t%u", i),
		.dtype = AQZ_U8,
		.rank = 1};
}

static void check(const aqz_error *err, aqz_status status)
{
	ck_assert_msg(status == AQZ_OK, "%s: %s", err->where, err->text);
}

/* Declares a tensor of noise, of which `now` bytes are put. */
static void declare(making *m, size_t n_bytes, size_t now)
{
	char name[16];
	aqz_tensor_desc d = name_of(name, m->n);
	struct made *t = &m->tensors[m->n++];
	uint32_t section;
	aqz_error err;

	t->n_bytes = n_bytes;
	t->data = sure_alloc(n_bytes);
	noise_fill(&m->r, t->data, n_bytes);
	d.shape[0] = n_bytes;
	check(&err, aqz_writer_tensor(m->w, &section, &d, &err));
	ck_assert_uint_eq(section, m->w->catalog.n_sections - 1);
	check(&err, aqz_writer_put(m->w, t->data, now, &err));
}

static void add(making *m, size_t n_bytes)
{
	declare(m, n_bytes, n_bytes);
}

static aqz_status alias(making *m, uint32_t of, aqz_error *err)
{
	char name[16];
	const aqz_tensor_desc d = name_of(name, m->n);
	const aqz_status status = aqz_writer_alias(m->w, d.name, d.name_bytes, of, err);

	if (status == AQZ_OK) {
		m->tensors[m->n] = m->tensors[of];
		m->tensors[m->n++].alias = true;
	}
	return status;
}

static uint32_t count(const aqz_catalog *c, uint32_t type)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_frames; i++)
		n += c->frames[i].frame.type == type;
	return n;
}

/* All tensors are in f, read at random. Returns the number of frames of records. */
static uint32_t all_there(const making *m, memory_file *f)
{
	aqz_io io;
	aqz_reader *r;
	aqz_error err;
	uint32_t n_frames;

	memory_io(&io, f);
	check(&err, aqz_reader_open(&r, &io, NULL, &err));
	ck_assert_uint_eq(aqz_reader_file(r)->n_tensors, m->n);
	for (uint32_t i = 0; i < m->n; i++) {
		char name[16];
		const aqz_tensor_desc d = name_of(name, i);
		const aqz_tensor_info *t = aqz_reader_find(r, d.name, d.name_bytes);
		const struct made *due = &m->tensors[i];
		uint8_t *got = sure_alloc(due->n_bytes);

		ck_assert(t != NULL && t->n_bytes == due->n_bytes && t->alias == due->alias);
		check(&err, aqz_reader_read_tensor(r, t, got, due->n_bytes, &err));
		ck_assert(memcmp(got, due->data, due->n_bytes) == 0);
		free(got);
	}
	check(&err, aqz_reader_verify(r, AQZ_VERIFY_FULL, 1, NULL, NULL, NULL, NULL, &err));
	n_frames = count(&r->catalog, AQZ_FRAME_RECORDS);
	aqz_reader_close(r);
	return n_frames;
}

/* Ends the file and reads it in every way; returns the number of frames of records. */
static uint32_t finish(making *m)
{
	aqz_error err;
	memory_file salvaged = {0};
	aqz_io to;
	uint64_t n_bytes;
	uint32_t n_frames, n_lost;

	check(&err, aqz_writer_finish(m->w, &n_bytes, &err));
	ck_assert_uint_eq(n_bytes, m->f.n);
	n_frames = all_there(m, &m->f);
	check(&err, stream_verdict(&m->f, 0, 0, &err));
	check(&err, stream_verdict(&m->f, 1, 0, &err));
	memory_io(&to, &salvaged);
	check(&err, aqz_salvage(&m->io, &to, 0, NULL, NULL, NULL, NULL, &n_lost, &err));
	ck_assert_uint_eq(n_lost, 0);
	/* Salvage puts them together in the same way, so that the file does not grow. */
	(void)all_there(m, &salvaged);
	ck_assert_uint_le(salvaged.n, m->f.n + 64);
	check(&err, stream_verdict(&salvaged, 0, 0, &err));
	memory_free(&salvaged);
	return n_frames;
}

static void flush(making *m)
{
	ck_assert_int_eq(aqz_writer_flush(m->w, NULL), AQZ_OK);
}

static making one, two; /* large for a stack */

START_TEST(many_small_tensors_share_a_frame)
{
	enum { N = 200 };
	uint64_t apart_bytes;

	start(&two, 0, 1);
	for (uint32_t i = 0; i < N; i++) {
		add(&two, 64 + i % 3);
		flush(&two);
	}
	ck_assert_uint_eq(finish(&two), N);
	apart_bytes = two.f.n;
	start(&one, 0, 1);
	for (uint32_t i = 0; i < N; i++)
		add(&one, 64 + i % 3);
	ck_assert_uint_eq(one.f.n, AQZ_SUPERBLOCK_BYTES); /* all is held */
	ck_assert_uint_eq(finish(&one), 1);
	/* All headers but one, at least; no record has a multiple of 64 bytes. */
	ck_assert_uint_le(one.f.n + (N - 1) * 64, apart_bytes);
	printf("%d tensors of 64 bytes: %zu bytes, apart %llu\n", N, one.f.n,
		(unsigned long long)apart_bytes);
	stop(&one);
	stop(&two);
}
END_TEST

/* A megabyte is written before the next is held, however it comes. */
START_TEST(no_more_than_a_megabyte_is_held)
{
	static const size_t sizes[] = {60 * KIB, 6 * KIB, 700, 0};
	const size_t size = sizes[_i];
	uint64_t used, most = 0;

	start(&one, 0, 1);
	used = one.w->catalog.budget.used_bytes;
	for (uint32_t i = 0; i < (size > KIB ? 4096 * KIB / size : MAX_TENSORS); i++) {
		add(&one, size);
		ck_assert_uint_le(one.w->held_bytes + one.w->records.n, 1024 * KIB);
		most = one.w->held_bytes > most ? one.w->held_bytes : most;
	}
	ck_assert(size == 0 || most > 512 * KIB);
	ck_assert(size == 0 || one.w->catalog.budget.used_bytes - used < 3072 * KIB);
	if (size == 0) {
		ck_assert_uint_eq(finish(&one), 1);
	} else {
		const uint32_t n = finish(&one);

		ck_assert_uint_ge(n, size > KIB ? 4 : 3);
		ck_assert_uint_le(n, 6);
	}
	stop(&one);
}
END_TEST

/* The record of what is not held stands in the same frame, and its chunks are written as they come. */
START_TEST(large_after_small)
{
	start(&one, 0, 1);
	add(&one, 100);
	add(&one, 64 * KIB);
	ck_assert_uint_eq(one.f.n, AQZ_SUPERBLOCK_BYTES);
	declare(&one, 64 * KIB + 1, 1000);
	ck_assert_uint_eq(count(&one.w->catalog, AQZ_FRAME_RECORDS), 1);
	ck_assert_uint_eq(count(&one.w->catalog, AQZ_FRAME_CHUNK), 2);
	ck_assert_uint_gt(one.f.n, 64 * KIB);
	ck_assert_int_eq(aqz_writer_put(one.w, one.tensors[2].data + 1000, 63 * KIB + 25, NULL), AQZ_OK);
	ck_assert_uint_eq(count(&one.w->catalog, AQZ_FRAME_CHUNK), 3);
	add(&one, 10);
	add(&one, 300 * KIB);
	ck_assert_uint_eq(count(&one.w->catalog, AQZ_FRAME_RECORDS), 2);
	add(&one, 20);
	ck_assert_uint_eq(finish(&one), 3);
	stop(&one);
}
END_TEST

START_TEST(aliases_of_what_is_held)
{
	aqz_error err;

	start(&one, 0, 1);
	add(&one, 100);
	check(&err, alias(&one, 0, &err));
	check(&err, alias(&one, 1, &err)); /* of an alias: the same elements */
	/* Of what is not there, which is no reason to stop. */
	ck_assert_int_eq(alias(&one, 3, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "tensor");
	add(&one, 0);
	check(&err, alias(&one, 3, &err));
	flush(&one);
	check(&err, alias(&one, 0, &err)); /* of what is written */
	add(&one, 30);
	check(&err, alias(&one, 6, &err));
	/* Of one whose data are still to come: not yet. */
	declare(&one, 50, 49);
	ck_assert_int_eq(alias(&one, 8, &err), AQZ_E_ARGUMENT);
	ck_assert_msg(strstr(err.text, "1 bytes of section") != NULL, "%s", err.text);
	ck_assert_int_eq(aqz_writer_put(one.w, one.tensors[8].data + 49, 1, NULL), AQZ_OK);
	check(&err, alias(&one, 8, &err));
	ck_assert_uint_eq(finish(&one), 2);
	stop(&one);
}
END_TEST

START_TEST(names_of_what_is_held_are_taken)
{
	aqz_error err;
	char name[16];
	aqz_tensor_desc d = name_of(name, 0);

	start(&one, 0, 1);
	add(&one, 10);
	ck_assert_int_eq(aqz_writer_tensor(one.w, NULL, &d, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.text, "there is a tensor \"t0\" already");
	ck_assert_int_eq(aqz_writer_alias(one.w, "t0", 2, 0, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.where, "tensor.name");
	check(&err, alias(&one, 0, &err));
	d = name_of(name, 1);
	ck_assert_int_eq(aqz_writer_tensor(one.w, NULL, &d, &err), AQZ_E_ARGUMENT);
	/* None of this did harm. */
	add(&one, 20);
	check(&err, aqz_writer_file(one.w, AQZ_KIND_FILE, "f", 1, &err));
	check(&err, aqz_writer_put(one.w, "x", 1, &err));
	check(&err, aqz_writer_file(one.w, AQZ_KIND_METADATA, "f", 0, &err));
	ck_assert_uint_eq(finish(&one), 1);
	stop(&one);
	/* A file's name is found by the catalog, and then the writer cannot go on. */
	for (int kind = AQZ_KIND_FILE; kind <= AQZ_KIND_METADATA; kind++) {
		start(&one, 0, 1);
		check(&err, aqz_writer_file(one.w, (aqz_kind)kind, "f", 1, &err));
		check(&err, aqz_writer_put(one.w, "x", 1, &err));
		ck_assert_int_eq(aqz_writer_file(one.w, (aqz_kind)kind, "f", 1, &err), AQZ_E_ARGUMENT);
		ck_assert_str_eq(err.where, "section.name");
		ck_assert(err.offset == AQZ_NO_OFFSET);
		ck_assert_int_eq(aqz_writer_finish(one.w, NULL, &err), AQZ_E_ARGUMENT);
		ck_assert_str_eq(err.text, "an earlier call failed; the file cannot be continued");
		ck_assert_uint_eq(one.f.n, AQZ_SUPERBLOCK_BYTES);
		stop(&one);
	}
}
END_TEST

/* What is put of a tensor that is held is counted and proved like the rest. */
START_TEST(puts_of_what_is_held)
{
	aqz_error err;

	start(&one, 0, 1);
	declare(&one, 100, 99);
	ck_assert_int_eq(aqz_writer_finish(one.w, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_writer_put(one.w, "ab", 2, &err), AQZ_E_ARGUMENT);
	ck_assert_str_eq(err.text, "more bytes than the section has");
	check(&err, aqz_writer_put(one.w, one.tensors[0].data + 99, 1, &err));
	ck_assert_int_eq(aqz_writer_put(one.w, "a", 1, &err), AQZ_E_ARGUMENT);
	check(&err, aqz_writer_put(one.w, "a", 0, &err));
	ck_assert_uint_eq(finish(&one), 1);
	stop(&one);
}
END_TEST

static void mixed(making *m, uint64_t memlimit_bytes, unsigned n_threads)
{
	start(m, memlimit_bytes, n_threads);
	for (uint32_t i = 0; i < 300; i++)
		add(m, i % 40 == 39 ? 100 * KIB : i % 7 * 3000);
}

/* Less is held under a tight limit; threads, which use memory too, change nothing. */
START_TEST(under_a_tight_limit)
{
	static const struct {
		uint64_t limit_bytes;
		uint32_t least, most; /* frames of records */
	} cases[] = {{0, 8, 8}, {UINT64_C(64) << 20, 8, 8}, {UINT64_C(16) << 20, 9, 16},
		{UINT64_C(8) << 20, 17, 32}};
	uint32_t n;

	mixed(&one, cases[_i].limit_bytes, 1);
	n = finish(&one);
	ck_assert_msg(n >= cases[_i].least && n <= cases[_i].most, "%u", n);
	for (unsigned threads = 2; threads <= 4; threads++) {
		mixed(&two, cases[_i].limit_bytes, threads);
		ck_assert_int_eq(aqz_writer_finish(two.w, NULL, NULL), AQZ_OK);
		ck_assert(two.f.n == one.f.n && memcmp(two.f.data, one.f.data, one.f.n) == 0);
		stop(&two);
	}
	stop(&one);
}
END_TEST

/* Codes are held, too, beside the parameters that they need. */
START_TEST(additive_tensors_share_a_frame)
{
	enum { N = 40, ROWS = 64, GROUPS = 8 };
	static uint16_t codes[ROWS * GROUPS * 2];
	static float codebooks[2 * 256 * 8], scales[ROWS];
	aqz_writer_options o = {.struct_size = sizeof o, .id = "additive", .effort = 1, .n_threads = 1};
	uint64_t sizes[2];
	uint32_t n_frames[2];

	for (int apart = 0; apart < 2; apart++) {
		memory_file f = {0};
		noise r = {3};
		aqz_writer *writer;
		aqz_reader *reader;
		aqz_io io;
		aqz_error err;

		memory_io(&io, &f);
		check(&err, aqz_writer_open(&writer, &io, &o, &err));
		for (uint32_t i = 0; i < N; i++) {
			char name[16];
			aqz_tensor_desc d = name_of(name, i);
			aqz_additive a = {.scheme = {AQZ_CODEC_ADDITIVE, 2, 8, 8, 1},
				.rows = ROWS,
				.cols = 64,
				.code_rows = ROWS,
				.groups = GROUPS,
				.codebook_dtype = AQZ_F32,
				.codebooks = codebooks,
				.scale_dtype = AQZ_F32,
				.scales = scales};

			d.dtype = AQZ_F32;
			d.rank = 2;
			d.shape[0] = d.shape[1] = 64;
			for (size_t k = 0; k < sizeof codes / sizeof *codes; k++)
				codes[k] = (uint16_t)(noise_next(&r) >> 56);
			for (size_t k = 0; k < sizeof codebooks / sizeof *codebooks; k++)
				codebooks[k] = (float)(int64_t)noise_next(&r) * 0x1p-63f;
			for (size_t k = 0; k < ROWS; k++)
				scales[k] = (float)(i + k);
			a.codes = spec_t64(codes, ROWS, GROUPS, &a.scheme, &a.codes_bytes);
			check(&err, aqz_writer_additive(writer, &d, &a, &err));
			free(a.codes);
			if (apart)
				ck_assert_int_eq(aqz_writer_flush(writer, NULL), AQZ_OK);
		}
		check(&err, aqz_writer_finish(writer, &sizes[apart], &err));
		aqz_writer_close(writer);
		check(&err, reader_verdict(&f, AQZ_VERIFY_FULL, 0, &err));
		check(&err, stream_verdict(&f, 0, 0, &err));
		check(&err, aqz_reader_open(&reader, &io, NULL, &err));
		ck_assert_uint_eq(aqz_reader_file(reader)->n_tensors, N);
		n_frames[apart] = count(&reader->catalog, AQZ_FRAME_RECORDS);
		aqz_reader_close(reader);
		memory_free(&f);
	}
	/* A tensor takes 1 KiB of codes and 16.25 KiB of parameters. */
	ck_assert_uint_eq(n_frames[0], 1);
	ck_assert_uint_eq(n_frames[1], N);
	ck_assert_uint_lt(sizes[0] + (N - 1) * 64, sizes[1]);
}
END_TEST

TCase *container_batch(void)
{
	TCase *tc = tcase_create("batch");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, many_small_tensors_share_a_frame);
	tcase_add_loop_test(tc, no_more_than_a_megabyte_is_held, 0, 4);
	tcase_add_test(tc, large_after_small);
	tcase_add_test(tc, aliases_of_what_is_held);
	tcase_add_test(tc, names_of_what_is_held_are_taken);
	tcase_add_test(tc, puts_of_what_is_held);
	tcase_add_loop_test(tc, under_a_tight_limit, 0, 4);
	tcase_add_test(tc, additive_tensors_share_a_frame);
	return tc;
}
