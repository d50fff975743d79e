/* SPDX-License-Identifier: Apache-2.0 */
/* Damage: no changed byte goes unseen by either reader, nothing crashes on any of it, and salvage
 * gives back exactly what was not hit. The files are small, so that everything is done to every
 * byte. */
#include <check.h>

#include "format/layout.h"
#include "tests/damage_salvage.h"
#include "tests/reseal.h"
#include "tests/sparse.h"
#include "tests/support.h"

/* ---- Damaging and counting */

typedef struct tally {
	unsigned long n, unseen_by_reader, unseen_by_stream, by_status[16];
} tally;

static void judge(tally *t, memory_file *f)
{
	const aqz_status a = reader_verdict(f, AQZ_VERIFY_STORED, 0, NULL),
					 b = stream_verdict(f, 0, 0, NULL);

	t->n++;
	t->unseen_by_reader += a == AQZ_OK;
	t->unseen_by_stream += b == AQZ_OK;
	t->by_status[a]++;
}

static void add(tally *sum, const tally *t)
{
	sum->n += t->n;
	sum->unseen_by_reader += t->unseen_by_reader;
	sum->unseen_by_stream += t->unseen_by_stream;
	for (int i = 0; i < 16; i++)
		sum->by_status[i] += t->by_status[i];
}

/* What is done to the file for number i: changes *f, a copy of the sound file. False: nothing to do
 * for this one. */
typedef bool damage(memory_file *f, size_t i);

static void check_all(const char *name, const memory_file *sound, size_t n, damage *make)
{
	tally sum = {0};

#pragma omp parallel num_threads(2)
	{
		memory_file f = {0};
		tally mine = {0};

#pragma omp for schedule(dynamic, 64)
		for (size_t i = 0; i < n; i++) {
			if (n > 1000 && i % SPARSE != 0)
				continue;
			memory_copy(&f, sound);
			if (make(&f, i))
				judge(&mine, &f);
		}
		memory_free(&f);
#pragma omp critical
		add(&sum, &mine);
	}
	printf("%-24s %6zu bytes: %7lu damaged, %lu unseen by the reader, %lu by the stream;", name,
		sound->n, sum.n, sum.unseen_by_reader, sum.unseen_by_stream);
	for (int i = 1; i < 16; i++)
		if (sum.by_status[i] > 0)
			printf(" %s %lu", aqz_status_name((aqz_status)i) + 6, sum.by_status[i]);
	putchar('\n');
	ck_assert_uint_gt(sum.n, 0);
	ck_assert_uint_eq(sum.unseen_by_reader, 0);
	ck_assert_uint_eq(sum.unseen_by_stream, 0);
	ck_assert_uint_eq(
		sum.by_status[AQZ_E_ARGUMENT] + sum.by_status[AQZ_E_NOMEM] + sum.by_status[AQZ_E_IO], 0);
}

/* The small file with every feature, or tiny ones. */
static const char *const file_names[] = {"sample", "tiny", "tiny, 4 KiB", "sample, one RECS"};
enum { N_FILES = sizeof file_names / sizeof *file_names, BATCHED = 3 };

static void make_file(memory_file *f, int which)
{
	memset(f, 0, sizeof *f);
	if (which == 0 || which == BATCHED) {
		sample s;

		sample_make(&s,
			&(sample_options){.alignment = 64,
				.n_threads = 1,
				.scale = 1,
				.after_each = which == BATCHED ? NULL : end_records_frame});
		memory_copy(f, &s.file);
		sample_free(&s);
	} else {
		sample_tiny(f, which == 1 ? 64 : 4096);
	}
	ck_assert_int_eq(reader_verdict(f, AQZ_VERIFY_STORED, 0, NULL), AQZ_OK);
	ck_assert_int_eq(stream_verdict(f, 0, 0, NULL), AQZ_OK);
}

/* Bit i; of the 4 KiB file, which is mostly padding, and of the sample with other frames, bit 3 * i. */
static size_t flip_step;

static bool flip_bit(memory_file *f, size_t i)
{
	i *= flip_step;
	if (i >= 8 * f->n)
		return false;
	f->data[i / 8] ^= (uint8_t)(1u << i % 8);
	return true;
}

START_TEST(every_flipped_bit_is_seen)
{
	memory_file f;

	make_file(&f, _i);
	flip_step = _i >= 2 ? 3 : 1;
	check_all(file_names[_i], &f, 8 * f.n, flip_bit);
	memory_free(&f);
}
END_TEST

static bool truncate_at(memory_file *f, size_t i)
{
	f->n = i;
	return true;
}

START_TEST(every_truncation_is_seen)
{
	memory_file f;

	make_file(&f, _i);
	check_all(file_names[_i], &f, f.n, truncate_at);
	memory_free(&f);
}
END_TEST

static bool delete_byte(memory_file *f, size_t i)
{
	memmove(f->data + i, f->data + i + 1, f->n - i - 1);
	f->n--;
	return true;
}

static void insert(memory_file *f, size_t at, const uint8_t *bytes, size_t n)
{
	uint8_t copy[64];

	SURE(n <= sizeof copy);
	memcpy(copy, bytes, n);
	memory_add(f, copy, n);
	memmove(f->data + at + n, f->data + at, f->n - n - at);
	memcpy(f->data + at, copy, n);
}

static bool insert_zero(memory_file *f, size_t i)
{
	insert(f, i, (const uint8_t[]){0}, 1);
	return true;
}

static bool double_byte(memory_file *f, size_t i)
{
	insert(f, i, f->data + i, 1);
	return true;
}

static bool double_unit(memory_file *f, size_t i)
{
	insert(f, 64 * i, f->data + 64 * i, 64);
	return true;
}

static bool delete_unit(memory_file *f, size_t i)
{
	memmove(f->data + 64 * i, f->data + 64 * (i + 1), f->n - 64 * (i + 1));
	f->n -= 64;
	return true;
}

static bool zero_unit(memory_file *f, size_t i)
{
	static const uint8_t zeros[64];

	if (memcmp(f->data + 64 * i, zeros, 64) == 0)
		return false;
	memset(f->data + 64 * i, 0, 64);
	return true;
}

/* Any two different units. */
static bool swap_units(memory_file *f, size_t i)
{
	const size_t n = f->n / 64, a = i / n, b = i % n;
	uint8_t unit[64];

	if (a >= b || memcmp(f->data + 64 * a, f->data + 64 * b, 64) == 0)
		return false;
	memcpy(unit, f->data + 64 * a, 64);
	memcpy(f->data + 64 * a, f->data + 64 * b, 64);
	memcpy(f->data + 64 * b, unit, 64);
	return true;
}

START_TEST(insertions_and_deletions_are_seen)
{
	memory_file f;

	make_file(&f, _i);
	check_all("  byte deleted", &f, f.n, delete_byte);
	check_all("  zero inserted", &f, f.n + 1, insert_zero);
	check_all("  byte doubled", &f, f.n, double_byte);
	check_all("  64 bytes deleted", &f, f.n / 64, delete_unit);
	check_all("  64 bytes doubled", &f, f.n / 64, double_unit);
	check_all("  64 bytes zeroed", &f, f.n / 64, zero_unit);
	check_all("  64 bytes swapped", &f, (f.n / 64) * (f.n / 64), swap_units);
	memory_free(&f);
}
END_TEST

/* ---- Frames: whole in themselves, in the wrong place */

static size_t frame_at[256], n_frames; /* of the sample; the last entry is the end */

static void find_frames(const memory_file *f)
{
	size_t at = AQZ_SUPERBLOCK_BYTES;

	for (n_frames = 0; at < f->n; n_frames++) {
		frame_at[n_frames] = at;
		at += AQZ_FRAME_HEADER_BYTES + (size_t)aqz_padded(aqz_get64(f->data + at + 24));
	}
	frame_at[n_frames] = at;
	ck_assert_uint_eq(at, f->n);
}

static bool swap_frames(memory_file *f, size_t i)
{
	const size_t a = i / n_frames, b = i % n_frames;
	memory_file out = {0};

	if (a >= b)
		return false;
	memory_add(&out, f->data, AQZ_SUPERBLOCK_BYTES);
	for (size_t k = 0; k < n_frames; k++) {
		const size_t from = k == a ? b : k == b ? a : k;

		memory_add(&out, f->data + frame_at[from], frame_at[from + 1] - frame_at[from]);
	}
	memory_copy(f, &out);
	memory_free(&out);
	return true;
}

/* Frame a stands where b was as well. */
static bool copy_frame(memory_file *f, size_t i)
{
	const size_t a = i / n_frames, b = i % n_frames;
	memory_file out = {0};

	if (a == b)
		return false;
	memory_add(&out, f->data, AQZ_SUPERBLOCK_BYTES);
	for (size_t k = 0; k < n_frames; k++) {
		const size_t from = k == b ? a : k;

		memory_add(&out, f->data + frame_at[from], frame_at[from + 1] - frame_at[from]);
	}
	memory_copy(f, &out);
	memory_free(&out);
	return true;
}

static bool drop_frame(memory_file *f, size_t i)
{
	memmove(f->data + frame_at[i], f->data + frame_at[i + 1], f->n - frame_at[i + 1]);
	f->n -= frame_at[i + 1] - frame_at[i];
	return true;
}

static bool double_frame(memory_file *f, size_t i)
{
	memory_file out = {0};

	memory_add(&out, f->data, frame_at[i + 1]);
	memory_add(&out, f->data + frame_at[i], f->n - frame_at[i]);
	memory_copy(f, &out);
	memory_free(&out);
	return true;
}

START_TEST(frames_in_the_wrong_place_are_seen)
{
	memory_file f;

	make_file(&f, _i);
	find_frames(&f);
	check_all("  frames swapped", &f, n_frames * n_frames, swap_frames);
	check_all("  frame over another", &f, n_frames * n_frames, copy_frame);
	check_all("  frame dropped", &f, n_frames, drop_frame);
	check_all("  frame doubled", &f, n_frames, double_frame);
	memory_free(&f);
}
END_TEST

/* Frames of files made with the same options, but for the id, or for one element. */
START_TEST(frames_of_another_file_are_seen)
{
	memory_file a = {0}, b = {0}, f = {0};
	unsigned n = 0;

	sample_tiny(&a, 64);
	find_frames(&a);
	for (int kind = 0; kind < 2; kind++) {
		memory_copy(&b, &a);
		/* A byte of the id, or of the first chunk, which is stored as it is. */
		b.data[kind == 0 ? 40 : frame_at[1] + AQZ_FRAME_HEADER_BYTES] ^= 1;
		reseal(b.data, b.n, RESEAL_INDEX);
		ck_assert_int_eq(reader_verdict(&b, AQZ_VERIFY_FULL, 0, NULL), AQZ_OK);
		ck_assert_int_eq(stream_verdict(&b, 0, 0, NULL), AQZ_OK);
		for (size_t k = 0; k < n_frames; k++) {
			const size_t bytes = frame_at[k + 1] - frame_at[k];

			if (memcmp(a.data + frame_at[k], b.data + frame_at[k], bytes) == 0)
				continue;
			memory_copy(&f, &a);
			memcpy(f.data + frame_at[k], b.data + frame_at[k], bytes);
			ck_assert_int_ne(reader_verdict(&f, AQZ_VERIFY_STORED, 0, NULL), AQZ_OK);
			ck_assert_int_ne(stream_verdict(&f, 0, 0, NULL), AQZ_OK);
			n++;
		}
	}
	ck_assert_uint_eq(n, 5 + 3);
	memory_free(&f);
	memory_free(&b);
	memory_free(&a);
}
END_TEST

/* ---- Every field at its extremes, under wrong hashes and under right ones */

typedef struct extremes {
	unsigned long n, accepted, disagree, by_status[16];
} extremes;

static void judge_extreme(extremes *e, memory_file *f, size_t at)
{
	const aqz_status a = reader_verdict(f, AQZ_VERIFY_FULL, 64 << 20, NULL),
					 b = stream_verdict(f, 0, 64 << 20, NULL);

	e->n++;
	e->by_status[a]++;
	e->accepted += a == AQZ_OK;
	if ((a == AQZ_OK) != (b == AQZ_OK)) {
		e->disagree++;
		fprintf(stderr, "byte %zu: the reader says %s, the stream %s\n", at, aqz_status_name(a),
			aqz_status_name(b));
	}
}

START_TEST(fields_at_their_extremes)
{
	static const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 63};
	enum { N_VALUES = sizeof values / sizeof *values };
	memory_file sound;
	extremes sum = {0};

	make_file(&sound, _i == 0 ? 0 : BATCHED);
	store_index(&sound);
#pragma omp parallel for num_threads(2) schedule(dynamic, 16)
	for (size_t i = 0; i < sound.n / 8 * N_VALUES; i++) {
		const size_t at = i / N_VALUES * 8;
		extremes mine = {0};
		memory_file f = {0};

		if (i % SPARSE == 0 && aqz_get64(sound.data + at) != values[i % N_VALUES])
			for (int depth = -1; depth <= (int)RESEAL_INDEX; depth++) {
				memory_copy(&f, &sound);
				aqz_put64(f.data + at, values[i % N_VALUES]);
				if (depth >= 0)
					reseal(f.data, f.n, (reseal_depth)depth);
				if (depth < 0 || memcmp(f.data, sound.data, f.n) != 0)
					judge_extreme(&mine, &f, at);
				if (depth < 0)
					SURE(mine.accepted == 0);
			}
		memory_free(&f);
#pragma omp critical
		{
			sum.n += mine.n;
			sum.accepted += mine.accepted;
			sum.disagree += mine.disagree;
			for (int k = 0; k < 16; k++)
				sum.by_status[k] += mine.by_status[k];
		}
	}
	printf("fields at their extremes: %lu files, %lu accepted with right hashes;", sum.n,
		sum.accepted);
	for (int i = 1; i < 16; i++)
		if (sum.by_status[i] > 0)
			printf(" %s %lu", aqz_status_name((aqz_status)i) + 6, sum.by_status[i]);
	putchar('\n');
	ck_assert_uint_eq(sum.disagree, 0);
	ck_assert_uint_eq(
		sum.by_status[AQZ_E_ARGUMENT] + sum.by_status[AQZ_E_NOMEM] + sum.by_status[AQZ_E_IO], 0);
	memory_free(&sound);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("damage");
	TCase *tc = tcase_create("damage");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, every_flipped_bit_is_seen, 0, N_FILES);
	tcase_add_loop_test(tc, every_truncation_is_seen, 0, N_FILES);
	tcase_add_loop_test(tc, insertions_and_deletions_are_seen, 0, 2);
	tcase_add_loop_test(tc, frames_in_the_wrong_place_are_seen, 0, N_FILES);
	tcase_add_test(tc, frames_of_another_file_are_seen);
	tcase_add_loop_test(tc, fields_at_their_extremes, 0, 2);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, damage_salvage(false));
	suite_add_tcase(suite, damage_salvage(true));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
