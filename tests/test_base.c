/* SPDX-License-Identifier: Apache-2.0 */
/* base/ and the names of schemes: dtypes, sizes, text, errors, memory, files; test_convert.c has the conversions. What
 * is expected is stated anew here, by another way than the library's. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/support.h"

/* ---- Element types */

static const struct {
	const char *name;
	int value;
	unsigned bits;
} types[] = {
	{"BOOL", 1, 8}, {"U8", 2, 8}, {"I8", 3, 8}, {"U16", 4, 16}, {"I16", 5, 16}, {"U32", 6, 32}, {"I32", 7, 32},
	{"U64", 8, 64}, {"I64", 9, 64}, {"F16", 16, 16}, {"BF16", 17, 16}, {"F32", 18, 32}, {"F64", 19, 64},
	{"C64", 20, 64}, {"F8_E5M2", 32, 8}, {"F8_E4M3", 33, 8}, {"F8_E8M0", 34, 8}, {"F8_E4M3FNUZ", 35, 8},
	{"F8_E5M2FNUZ", 36, 8}, {"F6_E2M3", 40, 6}, {"F6_E3M2", 41, 6}, {"F4", 42, 4}};

#define N_TYPES (sizeof types / sizeof *types)

START_TEST(dtype_table)
{
	size_t n = 0;

	for (int v = 0; v < 1024; v++) {
		const aqz_dtype d = (aqz_dtype)v;

		if (n < N_TYPES && types[n].value == v) {
			const char *name = types[n].name;
			char longer[32];

			ck_assert_uint_eq(aqz_dtype_bits(d), types[n].bits);
			ck_assert_str_eq(aqz_dtype_name(d), name);
			ck_assert_int_eq(aqz_dtype_find(name, strlen(name)), v);
			/* The name need not end: what follows it does not count, but the length does. */
			snprintf(longer, sizeof longer, "%s_", name);
			ck_assert_int_eq(aqz_dtype_find(longer, strlen(name)), v);
			ck_assert_int_eq(aqz_dtype_find(longer, strlen(longer)), 0);
			n++;
		} else {
			ck_assert_uint_eq(aqz_dtype_bits(d), 0);
			ck_assert_ptr_null(aqz_dtype_name(d));
		}
	}
	ck_assert_uint_eq(n, N_TYPES);
	ck_assert_int_eq(aqz_dtype_find("", 0), 0);
	ck_assert_int_eq(aqz_dtype_find("f32", 3), 0);
	ck_assert_int_eq(aqz_dtype_find("F3", 2), 0);
	ck_assert_int_eq(aqz_dtype_find("F32\0", 4), 0);
}
END_TEST

/* ---- Schemes */

START_TEST(every_scheme_has_a_name)
{
	aqz_error err;
	unsigned n = 0;

	for (unsigned m = 0; m <= 9; m++)
		for (unsigned b = 0; b <= 17; b++)
			for (unsigned g = 0; g <= 65; g++)
				for (unsigned o = 0; o <= 65; o++) {
					const bool ok = m >= 1 && m <= 8 && b >= 1 && b <= 16 && g >= 1 && o >= 1 && g * o <= 64;
					aqz_scheme s;
					char text[64], again[AQZ_SCHEME_TEXT_BYTES + 1];

					snprintf(text, sizeof text, "%ux%ug%uo%u", m, b, g, o);
					if ((aqz_scheme_parse(&s, text, ok ? &err : NULL) == AQZ_OK) != ok)
						ck_abort_msg("%s", text);
					if (!ok)
						continue;
					n++;
					ck_assert(s.codec == AQZ_CODEC_ADDITIVE && s.n_codebooks == m && s.code_bits == b);
					ck_assert(s.in_group == g && s.out_group == o);
					if (o == 1)
						snprintf(text, sizeof text, "%ux%ug%u", m, b, g);
					memset(again, '!', sizeof again);
					aqz_scheme_format(again, &s);
					ck_assert_str_eq(again, text);
					ck_assert_int_eq(again[AQZ_SCHEME_TEXT_BYTES], '!');
					ck_assert_int_eq(aqz_scheme_parse(&s, text, &err), AQZ_OK);
					ck_assert_uint_eq(s.out_group, o);
				}
	ck_assert_uint_eq(n, 8 * 16 * 280); /* pairs with a product up to 64: sum of floor(64 / k) */
}
END_TEST

START_TEST(bad_scheme_names)
{
	static const char *const bad[] = {"", "r", "ra", "rawx", "raw ", " raw", "RAW", "2", "2x", "2x8", "2x8g", "x8g8",
		"2xg8", "2x8g8o", "2x8g8o1o1", "2x8g8 ", " 2x8g8", "2 x8g8", "02x8g8", "2x08g8", "2x8g08", "2x8g8o01", "+2x8g8",
		"-2x8g8", "2x-8g8", "2X8G8", "2x8g8g8", "2x8x8g8", "2x8g8,", "2x8g8\n", "2.0x8g8", "0x2x8g8", "258x8g8",
		"2x264g8", "2x8g264", "4294967298x8g8", "18446744073709551618x8g8", "2x8g8o18446744073709551617", "\xff",
		"2x8g\xb8"};
	aqz_scheme s;
	aqz_error err;
	char *text;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		err = (aqz_error){0};
		ck_assert_msg(aqz_scheme_parse(&s, bad[i], &err) == AQZ_E_ARGUMENT, "%s", bad[i]);
		ck_assert_int_eq(err.status, AQZ_E_ARGUMENT);
		ck_assert_ptr_nonnull(strstr(err.text, "MxBgG"));
		ck_assert_ptr_null(strchr(err.text, '\n'));
	}
	text = sure_alloc(100001);
	memset(text, '1', 100000);
	ck_assert_int_eq(aqz_scheme_parse(&s, text, &err), AQZ_E_ARGUMENT);
	free(text);
	ck_assert_int_eq(aqz_scheme_parse(&s, "raw", &err), AQZ_OK);
	ck_assert_int_eq(s.codec, AQZ_CODEC_LOSSLESS);
}
END_TEST

/* ---- Text: the table of well-formed sequences, Unicode 15 table 3-7, less the controls */

static bool in(unsigned c, unsigned low, unsigned high)
{
	return c >= low && c <= high;
}

/* Bytes of the sequence at p, or 0. n bytes are there. */
static size_t well_formed(const uint8_t *p, size_t n)
{
	const bool t1 = n > 1 && in(p[1], 0x80, 0xbf), t2 = n > 2 && t1 && in(p[2], 0x80, 0xbf);
	const bool t3 = n > 3 && t2 && in(p[3], 0x80, 0xbf);

	if (in(p[0], 0x20, 0x7e))
		return 1;
	if (p[0] == 0xc2)
		return t1 && p[1] >= 0xa0 ? 2 : 0;
	if (in(p[0], 0xc3, 0xdf))
		return t1 ? 2 : 0;
	if (in(p[0], 0xe0, 0xef))
		return t2 && (p[0] != 0xe0 || p[1] >= 0xa0) && (p[0] != 0xed || p[1] <= 0x9f) ? 3 : 0;
	if (in(p[0], 0xf0, 0xf4))
		return t3 && (p[0] != 0xf0 || p[1] >= 0x90) && (p[0] != 0xf4 || p[1] <= 0x8f) ? 4 : 0;
	return 0;
}

static void text_agrees(const uint8_t *p, size_t n)
{
	/* Of just this size, so that a read past the end is seen. */
	char *exact = malloc(n);
	bool due = true;

	SURE(exact != NULL || n == 0);
	if (n > 0)
		memcpy(exact, p, n);
	for (size_t at = 0, step; at < n && due; at += step) {
		step = well_formed(p + at, n - at);
		due = step != 0;
	}
	if (aqz_text_ok(exact, n) != due)
		ck_abort_msg("%zu bytes %02x %02x %02x %02x", n, p[0], p[1], p[2], p[3]);
	free(exact);
}

START_TEST(utf8)
{
	static const uint8_t tails[] = {0x00, 0x1f, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xe1, 0xff};
	static const char words[] = "layers.0 Gr\xc3\xb6\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x98\x80";
	uint8_t p[8] = {0};

	ck_assert(aqz_text_ok("", 0));
	ck_assert(aqz_text_ok(words, strlen(words)));
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++) {
			p[0] = (uint8_t)a, p[1] = (uint8_t)b;
			text_agrees(p, 1);
			text_agrees(p, 2);
			for (size_t c = 0; c < sizeof tails; c++) {
				p[2] = tails[c];
				text_agrees(p, 3);
				for (size_t d = 0; a >= 0xe0 && d < sizeof tails; d++) {
					p[3] = tails[d];
					text_agrees(p, 4);
				}
			}
		}
}
END_TEST

/* ---- Sizes */

START_TEST(sizes_are_checked)
{
	static const uint64_t dims[] = {0, 1, 2, 3, 4, 6, 64, 255, UINT64_C(1) << 31, (UINT64_C(1) << 32) - 1,
		UINT64_C(1) << 32, UINT64_C(1) << 61, (UINT64_C(1) << 61) + 4, UINT64_C(1) << 63, UINT64_MAX - 3, UINT64_MAX};
	const size_t n_dims = sizeof dims / sizeof *dims;
	uint64_t n, bytes;

	for (size_t t = 0; t < N_TYPES; t++) {
		const aqz_dtype dtype = (aqz_dtype)types[t].value;

		for (size_t i = 0; i < n_dims * n_dims * n_dims; i++) {
			const uint64_t shape[3] = {dims[i % n_dims], dims[i / n_dims % n_dims], dims[i / n_dims / n_dims]};
			unsigned __int128 product = 1;
			bool empty = false, fits = true, got;

			for (int k = 0; k < 3; k++) {
				empty |= shape[k] == 0;
				product *= shape[k] == 0 ? 1 : shape[k];
				fits &= product <= UINT64_MAX; /* a product of two fits in 128 bits */
				product = fits ? product : 1;
			}
			fits &= product * types[t].bits / 8 <= UINT64_MAX;
			got = aqz_shape_size(&n, &bytes, shape, 3, dtype);
			/* Where nothing is stored the bits need not fill bytes. */
			if (got != (fits && (empty || product * types[t].bits % 8 == 0)))
				ck_abort_msg("%s of %lu x %lu x %lu: %d", types[t].name, shape[0], shape[1], shape[2], got);
			if (got) {
				ck_assert_uint_eq(n, empty ? 0 : (uint64_t)product);
				ck_assert_uint_eq(bytes, empty ? 0 : (uint64_t)(product * types[t].bits / 8));
			}
		}
		/* A scalar. */
		ck_assert(aqz_shape_size(&n, &bytes, NULL, 0, dtype) == (types[t].bits % 8 == 0));
	}
	ck_assert(!aqz_shape_size(&n, &bytes, dims, 1, (aqz_dtype)10));
	ck_assert(aqz_mul(&n, UINT32_MAX, UINT32_MAX) && n == UINT64_C(0xfffffffe00000001));
	ck_assert(!aqz_mul(&n, UINT64_C(1) << 32, UINT64_C(1) << 32));
	ck_assert(aqz_add(&n, UINT64_MAX, 0) && n == UINT64_MAX);
	ck_assert(!aqz_add(&n, UINT64_MAX, 1));
	ck_assert_uint_eq(aqz_ceil_div(UINT64_MAX, 2), UINT64_C(1) << 63);
	ck_assert_uint_eq(aqz_ceil_div(0, 7), 0);
	ck_assert_uint_eq(aqz_ceil_div(14, 7), 2);
	ck_assert_uint_eq(aqz_ceil_div(15, 7), 3);
}
END_TEST

/* ---- Errors */

START_TEST(errors_are_one_clean_line)
{
	aqz_error err;
	char longer[400];

	ck_assert_str_eq(aqz_version(), AQZ_VERSION);
	ck_assert_str_eq(aqz_status_name(AQZ_OK), "AQZ_OK");
	ck_assert_str_eq(aqz_status_name(AQZ_E_GPU), "AQZ_E_GPU");
	ck_assert_str_eq(aqz_status_name((aqz_status)14), "AQZ_E_?");
	ck_assert_str_eq(aqz_status_name((aqz_status)-1), "AQZ_E_?");
	ck_assert_int_eq(aqz_fail(NULL, AQZ_E_IO, 1, "a", "%d", 1), AQZ_E_IO);
	ck_assert_int_eq(aqz_fail(&err, AQZ_E_CORRUPT, 17, NULL, "%s at %d", "a\x1b[2J\n\x7f", 5), AQZ_E_CORRUPT);
	ck_assert_int_eq(err.status, AQZ_E_CORRUPT);
	ck_assert_uint_eq(err.offset, 17);
	ck_assert_str_eq(err.where, "");
	ck_assert_str_eq(err.text, "a?[2J?? at 5");
	/* Cut between characters, wherever the cut falls. */
	for (size_t lead = 0; lead < 4; lead++)
		for (int k = 0; k < 3; k++) {
			static const char *const one[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
			size_t n = lead;

			memset(longer, 'x', lead);
			for (longer[lead] = '\0'; n + 4 < sizeof longer; n += strlen(one[k]))
				strcpy(longer + n, one[k]);
			aqz_fail(&err, AQZ_E_IO, 0, longer, "%s", longer);
			ck_assert(aqz_text_ok(err.text, strlen(err.text)) && aqz_text_ok(err.where, strlen(err.where)));
			ck_assert_uint_ge(strlen(err.text), sizeof err.text - 4);
			ck_assert_uint_ge(strlen(err.where), sizeof err.where - 4);
		}
}
END_TEST

/* ---- Memory */

START_TEST(budget_is_kept)
{
	aqz_budget b = {1000, 0};
	aqz_error err;
	void *p, *q, *z;

	ck_assert_int_eq(aqz_budget_alloc(&b, &p, 600, "the thing", &err), AQZ_OK);
	ck_assert_uint_eq((uintptr_t)p % 64, 0);
	for (int i = 0; i < 600; i++)
		ck_assert_uint_eq(((uint8_t *)p)[i], 0);
	ck_assert_int_eq(aqz_budget_alloc(&b, &q, 401, "the thing", &err), AQZ_E_MEMLIMIT);
	ck_assert_ptr_null(q);
	ck_assert_ptr_nonnull(strstr(err.text, "the thing"));
	ck_assert_uint_eq(b.used_bytes, 600);
	ck_assert_int_eq(aqz_budget_alloc(&b, &q, 400, "the thing", &err), AQZ_OK);
	ck_assert_int_eq(aqz_budget_alloc(&b, &z, 0, "nothing", &err), AQZ_OK);
	ck_assert_ptr_nonnull(z);
	aqz_budget_free(&b, z, 0);
	aqz_budget_free(&b, p, 600);
	aqz_budget_free(&b, NULL, 12345);
	ck_assert_uint_eq(b.used_bytes, 400);
	ck_assert_int_eq(aqz_budget_alloc(&b, &p, UINT64_MAX, "much", &err), AQZ_E_NOMEM);
	ck_assert_int_eq(aqz_budget_alloc(&b, &p, UINT64_MAX - 450, "much", &err), AQZ_E_MEMLIMIT);
	aqz_budget_free(&b, q, 400);
	b.limit_bytes = 0;
	ck_assert_int_eq(aqz_budget_alloc(&b, &p, UINT64_MAX - 60, "much", &err), AQZ_E_NOMEM);
	ck_assert_ptr_null(p);
	ck_assert_uint_eq(b.used_bytes, 0);
}
END_TEST

START_TEST(buffers_grow)
{
	static uint8_t due[100000];
	aqz_buffer b = {0};
	noise r = {7};
	size_t n = 0;

	while (n < 90000) {
		const size_t step = (size_t)(noise_next(&r) % 700);
		const bool zeros = step % 5 == 0;

		if (!zeros)
			noise_fill(&r, due + n, step);
		ck_assert_int_eq(aqz_buffer_add(&b, zeros ? NULL : due + n, step, NULL), AQZ_OK);
		n += step;
		ck_assert_uint_eq(b.n, n);
		ck_assert_uint_le(b.capacity, 2 * n + 256);
	}
	ck_assert_mem_eq(b.data, due, n);
	ck_assert_int_eq(aqz_buffer_add(&b, NULL, SIZE_MAX - 10, NULL), AQZ_E_NOMEM);
	ck_assert_uint_eq(b.n, n);
	ck_assert_mem_eq(b.data, due, n);
	aqz_buffer_free(&b);
	ck_assert(b.data == NULL && b.n == 0 && b.capacity == 0);
	aqz_buffer_free(&b);
	ck_assert_uint_ge(aqz_threads(0), 1);
	ck_assert_uint_eq(aqz_threads(7), 7);
}
END_TEST

/* ---- Files */

static int new_file(void)
{
	char path[] = "/tmp/test_base.XXXXXX";
	const int fd = mkstemp(path);

	SURE(fd >= 0 && unlink(path) == 0);
	return fd;
}

START_TEST(files_are_read_and_written)
{
	const int fd = new_file();
	uint8_t got[20];
	uint64_t n;
	aqz_io io;

	aqz_io_from_fd(&io, fd);
	ck_assert_int_eq(io.size(io.user, &n), AQZ_OK);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(io.write(io.user, "0123456789", 10), AQZ_OK);
	ck_assert_int_eq(io.write(io.user, "", 0), AQZ_OK);
	ck_assert_int_eq(io.write(io.user, "abc", 3), AQZ_OK);
	ck_assert_int_eq(io.size(io.user, &n), AQZ_OK);
	ck_assert_uint_eq(n, 13);
	ck_assert_int_eq(io.pread(io.user, got, 5, 8), AQZ_OK);
	ck_assert_mem_eq(got, "89abc", 5);
	ck_assert_int_eq(io.pread(io.user, got, 6, 8), AQZ_E_TRUNCATED);
	ck_assert_int_eq(io.pread(io.user, got, 1, 13), AQZ_E_TRUNCATED);
	ck_assert_int_eq(io.pread(io.user, got, 1, UINT64_MAX), AQZ_E_TRUNCATED);
	ck_assert_int_eq(io.pread(io.user, got, 8, INT64_MAX - 3), AQZ_E_TRUNCATED);
	ck_assert_int_eq(io.pread(io.user, got, 0, 13), AQZ_OK);
	close(fd);
	ck_assert_int_eq(io.pread(io.user, got, 1, 0), AQZ_E_IO);
	ck_assert_int_eq(errno, EBADF);
	ck_assert_int_eq(io.size(io.user, &n), AQZ_E_IO);
	ck_assert_int_eq(io.write(io.user, "x", 1), AQZ_E_IO);
}
END_TEST

START_TEST(full_and_odd_files)
{
	const struct rlimit small = {10, 10};
	uint64_t n;
	uint8_t got;
	aqz_io io;
	int fd, ends[2];

	fd = open("/dev/full", O_WRONLY);
	ck_assert_int_ge(fd, 0);
	aqz_io_from_fd(&io, fd);
	ck_assert_int_eq(io.write(io.user, "x", 1), AQZ_E_SPACE);
	close(fd);
	fd = open("/", O_RDONLY);
	aqz_io_from_fd(&io, fd);
	ck_assert_int_eq(io.size(io.user, &n), AQZ_E_IO);
	ck_assert_int_eq(io.pread(io.user, &got, 1, 0), AQZ_E_IO);
	close(fd);
	ck_assert_int_eq(pipe(ends), 0);
	aqz_io_from_fd(&io, ends[1]);
	ck_assert_int_eq(io.size(io.user, &n), AQZ_E_IO);
	signal(SIGPIPE, SIG_IGN);
	close(ends[0]);
	ck_assert_int_eq(io.write(io.user, "x", 1), AQZ_E_IO);
	close(ends[1]);
	/* The process's limit of file sizes counts as a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	fd = new_file();
	aqz_io_from_fd(&io, fd);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	ck_assert_int_eq(io.write(io.user, "0123456789abc", 13), AQZ_E_SPACE);
	close(fd);
}
END_TEST

static void ignore(int number)
{
	(void)number;
}

/* A descriptor that does not block, a slow reader, and a signal every millisecond. */
START_TEST(writes_are_finished)
{
	enum { N = 600000 };
	const struct sigaction action = {.sa_handler = ignore};
	const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	uint8_t *data = sure_alloc(N);
	noise r = {99};
	aqz_io io;
	int ends[2], status;
	pid_t child;

	noise_fill(&r, data, N);
	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		size_t n = 0;
		uint8_t got[5000];
		ssize_t k;

		close(ends[1]);
		while ((k = read(ends[0], got, sizeof got)) > 0 && n + (size_t)k <= N &&
			memcmp(got, data + n, (size_t)k) == 0) {
			n += (size_t)k;
			usleep(100);
		}
		_exit(k == 0 && n == N ? 0 : 1);
	}
	close(ends[0]);
	ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	aqz_io_from_fd(&io, ends[1]);
	ck_assert_int_eq(io.write(io.user, data, N), AQZ_OK);
	setitimer(ITIMER_REAL, &never, NULL);
	close(ends[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	free(data);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *t = tcase_create("base");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, dtype_table);
	tcase_add_test(t, every_scheme_has_a_name);
	tcase_add_test(t, bad_scheme_names);
	tcase_add_test(t, utf8);
	tcase_add_test(t, sizes_are_checked);
	tcase_add_test(t, errors_are_one_clean_line);
	tcase_add_test(t, budget_is_kept);
	tcase_add_test(t, buffers_grow);
	tcase_add_test(t, files_are_read_and_written);
	tcase_add_test(t, full_and_odd_files);
	tcase_add_test(t, writes_are_finished);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
