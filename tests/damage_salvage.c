/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_damage: salvage keeps what was not hit, whole and equal, and makes a sound file of
 * it. */
#include "tests/damage_salvage.h"

#include "format/reader.h"
#include "format/writer.h"
#include "tests/support.h"

/* The sample, its frames, and what hangs on each of its sections. */
static struct {
	sample s;
	aqz_reader *r;
	const aqz_catalog *c;
} base;

void end_records_frame(aqz_writer *w)
{
	SURE(aqz_writer_flush(w, NULL) == AQZ_OK);
}

static void set_up_with(void (*after_each)(aqz_writer *w))
{
	aqz_io io;

	sample_make(&base.s,
		&(sample_options){.alignment = 64, .n_threads = 1, .scale = 1, .after_each = after_each});
	memory_io(&io, &base.s.file);
	ck_assert_int_eq(aqz_reader_open(&base.r, &io, NULL, NULL), AQZ_OK);
	base.c = &base.r->catalog;
}

/* Each tensor and file has a frame of records, or all together have one. */
static void set_up_apart(void)
{
	set_up_with(end_records_frame);
}

static void set_up_batched(void)
{
	set_up_with(NULL);
	for (uint32_t i = 1; i < base.c->n_frames; i++)
		ck_assert_uint_ne(base.c->frames[i].frame.type, AQZ_FRAME_RECORDS);
}

static void tear_down(void)
{
	aqz_reader_close(base.r);
	sample_free(&base.s);
}

/* Sections that are damaged, and with them those that refer to one of them. */
typedef struct losses {
	bool section[64];
} losses;

static void spread(losses *l)
{
	for (uint32_t i = 0; i < base.c->n_sections; i++) {
		const aqz_section_info *info = &base.c->sections[i]->info;

		for (uint32_t r = 0; r < info->n_refs; r++)
			for (uint32_t k = 0; k < info->refs[r].count; k++)
				l->section[i] |= l->section[info->refs[r].first + k];
	}
}

static uint32_t section_of_tensor(uint32_t i)
{
	return base.c->tensors[i]->info.section;
}

static uint32_t section_of_file(const sample_file *f)
{
	for (uint32_t i = 0; i < base.c->n_sections; i++)
		if (base.c->sections[i]->info.kind == f->kind &&
			strcmp(base.c->sections[i]->info.name, f->name) == 0)
			return i;
	ck_abort();
}

/* What salvage reported: names may come once each. */
typedef struct reported {
	uint32_t n_kept, n_lost;
} reported;

static void on_item(void *user, const aqz_salvaged *what)
{
	reported *r = user;

	r->n_kept += what->kept;
	r->n_lost += !what->kept;
	SURE(what->name != NULL && (what->why[0] == 0) == what->kept &&
		what->chunks_intact <= what->chunks);
	SURE(!what->kept || what->chunks_intact == what->chunks);
}

/* The part of the sample that is not lost. */
static void survivors(sample *part, const losses *l)
{
	*part = base.s;
	part->n_tensors = part->n_files = 0;
	memset(&part->file, 0, sizeof part->file);
	for (uint32_t i = 0; i < base.s.n_tensors; i++)
		if (!l->section[section_of_tensor(i)]) {
			part->tensors[part->n_tensors] = base.s.tensors[i];
			part->tensors[part->n_tensors++].alias &= !l->section[section_of_tensor(i)];
		}
	for (uint32_t i = 0; i < base.s.n_files; i++)
		if (!l->section[section_of_file(&base.s.files[i])])
			part->files[part->n_files++] = base.s.files[i];
}

/* Salvages f: exactly l may be lost. */
static void check_salvage(memory_file *f, losses *l, const char *what, size_t at)
{
	const uint32_t n_all = base.s.n_tensors + base.s.n_files;
	memory_file out = {0};
	aqz_error err = {.text = ""};
	reported r = {0};
	uint32_t n_lost = 99;
	sample part;
	aqz_io from, to;

	spread(l);
	survivors(&part, l);
	memory_io(&from, f);
	memory_io(&to, &out);
	if (aqz_salvage(&from, &to, 0, on_item, &r, NULL, NULL, &n_lost, &err) != AQZ_OK)
		ck_abort_msg("%s at %zu: %s: %s", what, at, err.where, err.text);
	ck_assert_msg(n_lost == n_all - part.n_tensors - part.n_files,
		"%s at %zu: %u lost, %u expected", what, at, n_lost, n_all - part.n_tensors - part.n_files);
	ck_assert_uint_eq(r.n_lost, n_lost);
	ck_assert_uint_eq(r.n_kept, n_all - n_lost);
	ck_assert_msg(sample_is_in(&part, &out), "%s at %zu", what, at);
	ck_assert_msg(sample_streams_from(&part, &out, 0), "%s at %zu", what, at);
	memory_free(&out);
}

static losses nothing(void)
{
	return (losses){{false}};
}

/* ---- One chunk */

START_TEST(a_broken_chunk_loses_its_tensor)
{
	memory_file f = {0};

	for (uint32_t i = 0; i < base.c->n_frames; i++) {
		const aqz_placed_frame *p = &base.c->frames[i];

		if (p->frame.type != AQZ_FRAME_CHUNK)
			continue;
		for (int where = 0; where < 3; where++) { /* first and last byte of the payload, header */
			losses l = nothing();
			const size_t at = (size_t)p->offset +
				(where == 2			 ? 9
						: where == 1 ? 63 + (size_t)p->frame.stored_bytes
									 : 64);

			memory_copy(&f, &base.s.file);
			f.data[at] ^= 0x10;
			l.section[p->frame.section] = true;
			check_salvage(&f, &l, "flip", at);
		}
	}
	memory_free(&f);
}
END_TEST

/* ---- What is there twice */

START_TEST(one_copy_of_the_records_is_enough)
{
	memory_file f = {0};

	for (uint32_t i = 0; i < base.c->n_frames; i++)
		if (base.c->frames[i].frame.type == AQZ_FRAME_RECORDS)
			for (int where = 0; where < 2; where++) {
				losses l = nothing();
				const size_t at = (size_t)base.c->frames[i].offset + (where ? 30 : 70);

				memory_copy(&f, &base.s.file);
				f.data[at] ^= 4;
				check_salvage(&f, &l, "records", at);
			}
	/* The index in a payload byte, in its header, and gone; the footer gone, and in any byte. */
	for (size_t at = (size_t)base.r->footer.index_offset; at < base.s.file.n; at += 11) {
		losses l = nothing();

		memory_copy(&f, &base.s.file);
		f.data[at] ^= 0x80;
		check_salvage(&f, &l, "end", at);
		l = nothing();
		f.n = at;
		memcpy(f.data, base.s.file.data, f.n);
		check_salvage(&f, &l, "cut", at);
	}
	memory_free(&f);
}
END_TEST

START_TEST(one_copy_of_the_id_is_enough)
{
	memory_file f = {0}, out = {0};
	aqz_io from, to;

	for (size_t at = 0; at < AQZ_SUPERBLOCK_BYTES; at++) {
		losses l = nothing();

		memory_copy(&f, &base.s.file);
		f.data[at] ^= 1;
		check_salvage(&f, &l, "superblock", at);
	}
	memory_copy(&f, &base.s.file);
	f.data[41] ^= 1;
	f.data[f.n - 1] ^= 1;
	memory_io(&from, &f);
	memory_io(&to, &out);
	ck_assert_int_eq(aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, NULL, NULL), AQZ_E_FORMAT);
	ck_assert_uint_eq(out.n, 0);
	f.n = 100;
	ck_assert_int_eq(aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, NULL, NULL), AQZ_E_FORMAT);
	f.n = 0;
	ck_assert_int_eq(aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, NULL, NULL), AQZ_E_FORMAT);
	memory_free(&out);
	memory_free(&f);
}
END_TEST

/* Both copies of some records: what they declare is lost, and only that. */
START_TEST(lost_records_lose_what_they_declare)
{
	memory_file f = {0};
	uint32_t n = 0;

	for (uint32_t i = 0; i < base.c->n_frames; i++) {
		const aqz_placed_frame *p = &base.c->frames[i];
		memory_file out = {0};
		aqz_io from, to;
		uint32_t n_lost, next_tensor = base.c->n_tensors, next_section = base.c->n_sections,
						 n_declared;
		aqz_reader *r;

		if (p->frame.type != AQZ_FRAME_RECORDS)
			continue;
		for (uint32_t k = base.c->n_frames; --k > i;)
			if (base.c->frames[k].frame.type == AQZ_FRAME_RECORDS) {
				next_section = base.c->frames[k].frame.section;
				next_tensor = base.c->frames[k].frame.chunk;
			}
		n_declared = next_tensor - p->frame.chunk;
		for (uint32_t k = p->frame.section; k < next_section; k++)
			n_declared += base.c->sections[k]->info.name[0] != 0;
		memory_copy(&f, &base.s.file);
		f.n = (size_t)base.r->footer.index_offset;
		f.data[p->offset + 64] ^= 1;
		memory_io(&from, &f);
		memory_io(&to, &out);
		ck_assert_int_eq(aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, &n_lost, NULL), AQZ_OK);
		/* Nothing tells how many names stood there; what needs its codebooks is named. */
		ck_assert_int_eq(aqz_reader_open(&r, &to, NULL, NULL), AQZ_OK);
		ck_assert_int_eq(
			aqz_reader_verify(r, AQZ_VERIFY_FULL, 1, NULL, NULL, NULL, NULL, NULL), AQZ_OK);
		ck_assert_uint_le(
			aqz_reader_file(r)->n_tensors, base.s.n_tensors - (next_tensor - p->frame.chunk));
		ck_assert_uint_ge(aqz_reader_file(r)->n_tensors + n_lost, base.s.n_tensors - n_declared);
		for (uint32_t k = 0; aqz_reader_tensor(r, k) != NULL; k++) {
			const aqz_tensor_info *t = aqz_reader_tensor(r, k);
			const sample_tensor *due = base.s.tensors;
			uint8_t got[8192];

			while (strcmp(due->name, t->name) != 0)
				due++;
			ck_assert_int_eq(aqz_reader_read_tensor(r, t, got, due->n_bytes, NULL), AQZ_OK);
			ck_assert(memcmp(got, due->data, due->n_bytes) == 0);
		}
		aqz_reader_close(r);
		memory_free(&out);
		n++;
	}
	ck_assert_uint_gt(n, 10);
	memory_free(&f);
}
END_TEST

/* The only frame of records and the index. */
START_TEST(without_any_records_nothing_is_left)
{
	memory_file f = {0}, out = {0};
	aqz_io from, to;

	memory_copy(&f, &base.s.file);
	f.n = (size_t)base.r->footer.index_offset;
	f.data[base.c->frames[0].offset + 64] ^= 1;
	memory_io(&from, &f);
	memory_io(&to, &out);
	ck_assert_int_eq(aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, NULL, NULL), AQZ_E_FORMAT);
	ck_assert_uint_eq(out.n, 0);
	memory_free(&out);
	memory_free(&f);
}
END_TEST

/* ---- Larger holes */

/* Sections with a chunk that has a byte in [from, to) of the sound file. */
static losses hit(size_t from, size_t to)
{
	losses l = nothing();

	for (uint32_t i = 0; i < base.c->n_frames; i++) {
		const aqz_placed_frame *p = &base.c->frames[i];
		const uint64_t end = p->offset + 64 + aqz_padded(p->frame.stored_bytes);

		if (p->frame.type == AQZ_FRAME_CHUNK && p->offset < to && end > from)
			l.section[p->frame.section] = true;
	}
	return l;
}

static bool index_is_hit(size_t to)
{
	return to > base.r->footer.index_offset;
}

START_TEST(four_kilobytes_of_zeros)
{
	memory_file f = {0};
	unsigned n = 0;

	/* As long as superblock or footer, and the index, are there. */
	for (size_t at = 0; !index_is_hit(at + 4096); at += 64) {
		losses l = hit(at, at + 4096);

		memory_copy(&f, &base.s.file);
		memset(f.data + at, 0, 4096);
		check_salvage(&f, &l, "zeros", at);
		n++;
	}
	ck_assert_uint_gt(n, 20);
	memory_free(&f);
}
END_TEST

START_TEST(units_gone_or_doubled)
{
	memory_file f = {0};

	for (size_t at = AQZ_SUPERBLOCK_BYTES; !index_is_hit(at + 64); at += 64) {
		losses l = hit(at, at + 64);
		bool harmless = false;

		/* Both shift what follows, and the footer with it: the index is found by its frame. */
		memory_copy(&f, &base.s.file);
		memmove(f.data + at, f.data + at + 64, f.n - at - 64);
		f.n -= 64;
		check_salvage(&f, &l, "unit gone", at);
		memory_copy(&f, &base.s.file);
		memory_add(&f, f.data, 64);
		memmove(f.data + at + 64, f.data + at, f.n - at - 64);
		/* A doubled header is followed by the whole frame, a doubled end stands behind it. */
		for (uint32_t i = 0; i <= base.c->n_frames; i++)
			harmless |= i < base.c->n_frames
				? base.c->frames[i].offset == at || base.c->frames[i].offset == at + 64
				: base.r->footer.index_offset == at + 64;
		l = harmless ? nothing() : hit(at, at + 64);
		check_salvage(&f, &l, "unit doubled", at);
	}
	memory_free(&f);
}
END_TEST

/* Whatever is salvaged of anything is sound. */
START_TEST(whatever_comes_out_is_sound)
{
	memory_file f = {0}, out = {0};
	noise r = {(uint64_t)_i + 1};
	unsigned n_written = 0;

	for (unsigned round = 0; round < 400; round++) {
		const unsigned n_holes = 1 + (unsigned)(noise_next(&r) % 8);
		aqz_io from, to;
		aqz_error err = {.text = ""};
		aqz_status status;

		memory_copy(&f, &base.s.file);
		for (unsigned k = 0; k < n_holes; k++) {
			const size_t at = noise_next(&r) % f.n, n = aqz_min(f.n - at, 1 + noise_next(&r) % 200);

			if (noise_next(&r) % 2)
				noise_fill(&r, f.data + at, n);
			else
				memcpy(f.data + at, base.s.file.data + noise_next(&r) % (f.n - n + 1), n);
		}
		if (round % 4 == 0)
			f.n -= noise_next(&r) % f.n;
		out.n = 0;
		memory_io(&from, &f);
		memory_io(&to, &out);
		status = aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, NULL, &err);
		ck_assert_msg(status == AQZ_OK || status == AQZ_E_FORMAT, "%s: %s", err.where, err.text);
		if (status != AQZ_OK)
			continue;
		n_written++;
		ck_assert_int_eq(reader_verdict(&out, AQZ_VERIFY_FULL, 0, &err), AQZ_OK);
		ck_assert_int_eq(stream_verdict(&out, 0, 0, &err), AQZ_OK);
	}
	ck_assert_uint_gt(n_written, 100);
	memory_free(&out);
	memory_free(&f);
}
END_TEST

TCase *damage_salvage(bool batched)
{
	TCase *tc = tcase_create(batched ? "salvage, one frame of records" : "salvage");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, batched ? set_up_batched : set_up_apart, tear_down);
	tcase_add_test(tc, a_broken_chunk_loses_its_tensor);
	tcase_add_test(tc, one_copy_of_the_records_is_enough);
	tcase_add_test(tc, one_copy_of_the_id_is_enough);
	if (batched)
		tcase_add_test(tc, without_any_records_nothing_is_left);
	else
		tcase_add_test(tc, lost_records_lose_what_they_declare);
	tcase_add_test(tc, four_kilobytes_of_zeros);
	tcase_add_test(tc, units_gone_or_doubled);
	tcase_add_loop_test(tc, whatever_comes_out_is_sound, 0, 2);
	return tc;
}
