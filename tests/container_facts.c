/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_container: what a reader says about a file, and what writers promise about its
 * bytes. */
#include "tests/container_facts.h"

#include <time.h>

#include "format/reader.h"
#include "tests/sparse.h"
#include "tests/support.h"

static aqz_reader *open_ok(memory_file *f)
{
	aqz_reader *r;
	aqz_error err = {.text = ""};
	aqz_io io;

	memory_io(&io, f);
	if (aqz_reader_open(&r, &io, NULL, &err) != AQZ_OK)
		ck_abort_msg("%s: %s", err.where, err.text);
	return r;
}

static const sample_options small_sample = {.alignment = 64, .n_threads = 1, .scale = 1};

START_TEST(the_ledger_adds_up)
{
	for (unsigned k = 0; k < 4; k++) {
		sample s;
		aqz_ledger l;
		uint64_t by_kind[64] = {0}, codes = 0;
		const aqz_section_info *info;
		aqz_reader *r;

		sample_make(&s,
			&(sample_options){.alignment = k % 2 ? 4096 : 64, .n_threads = 1, .scale = k < 2 ? 1 : 7});
		r = open_ok(&s.file);
		aqz_reader_ledger(r, &l);
		ck_assert_uint_eq(l.total, s.file.n);
		ck_assert_uint_eq(l.header + l.index + l.records + l.codes + l.codebooks + l.scales +
				l.parameters + l.raw + l.files + l.metadata + l.frames + l.padding + l.other,
			s.file.n);
		for (uint32_t i = 0; (info = aqz_reader_section(r, i)) != NULL; i++) {
			by_kind[info->kind] += info->stored_bytes;
			codes += info->kind == AQZ_KIND_TENSOR && info->scheme.codec != AQZ_CODEC_LOSSLESS
				? info->stored_bytes
				: 0;
		}
		ck_assert_uint_eq(l.header, 128 + 192);
		ck_assert_uint_eq(l.codes, codes);
		ck_assert_uint_eq(l.raw, by_kind[AQZ_KIND_TENSOR] - codes);
		ck_assert_uint_eq(
			l.codebooks, by_kind[AQZ_KIND_CODEBOOK] + by_kind[AQZ_KIND_CODEBOOK_SCALES]);
		ck_assert_uint_eq(l.scales, by_kind[AQZ_KIND_ROW_SCALES]);
		ck_assert_uint_eq(l.files, by_kind[AQZ_KIND_FILE] + by_kind[AQZ_KIND_SOURCE_HEADER]);
		ck_assert_uint_eq(l.metadata, by_kind[AQZ_KIND_METADATA]);
		ck_assert_uint_eq(l.other, 0);
		ck_assert_uint_eq(l.parameters, by_kind[AQZ_KIND_ENTROPY_TABLE]);
		ck_assert(l.codes > 0 && l.raw > 0 && l.codebooks > 0 && l.scales > 0 && l.files > 0 &&
			l.metadata > 0);
		aqz_reader_close(r);
		sample_free(&s);
	}
}
END_TEST

/* What all tensors cost, what files cost and what belongs to none of them is the file. */
START_TEST(the_costs_of_tensors_add_up)
{
	sample s;
	aqz_reader *r;
	const aqz_tensor_info *t;
	double sum = 0, rest, squeezed;

	sample_make(&s, &(sample_options){.alignment = 64, .n_threads = 1, .scale = 7});
	r = open_ok(&s.file);
	for (uint32_t i = 0; (t = aqz_reader_tensor(r, i)) != NULL; i++) {
		const double cost = aqz_reader_tensor_file_bytes(r, t);

		ck_assert(cost >=
			(double)aqz_reader_section(r, t->section)->stored_bytes / (1 + (t->alias || i == 0)));
		sum += cost;
	}
	/* An alias costs what its original does: half of the whole each. */
	t = aqz_reader_find(r, "lm_head.weight", 14);
	ck_assert(aqz_reader_tensor_file_bytes(r, t) ==
		aqz_reader_tensor_file_bytes(r, aqz_reader_tensor(r, 0)));
	squeezed = (double)r->footer.index_stored_bytes / (double)r->footer.index_decoded_bytes;
	rest = AQZ_SUPERBLOCK_BYTES + AQZ_FOOTER_BYTES + 64 +
		(double)(aqz_padded(r->footer.index_stored_bytes) - r->footer.index_stored_bytes) +
		squeezed * AQZ_INDEX_HEAD_BYTES;
	for (uint32_t i = 0; i < r->catalog.n_frames; i++) {
		const aqz_frame *f = &r->catalog.frames[i].frame;

		if (f->type == AQZ_FRAME_RECORDS) /* but its payload, which is counted with the sections */
			rest += 64 + (double)(aqz_padded(f->stored_bytes) - f->stored_bytes) +
				squeezed * AQZ_INDEX_FRAME_BYTES;
	}
	for (uint32_t i = 0; i < r->catalog.n_sections; i++) {
		const aqz_section *section = r->catalog.sections[i];

		if (section->info.name[0] == 0)
			continue;
		rest += (double)section->records_bytes +
			squeezed * (double)(section->records_bytes + AQZ_DIGEST_BYTES);
		for (uint32_t k = 0; k < section->info.n_chunks; k++)
			rest += 64 + squeezed * AQZ_INDEX_FRAME_BYTES +
				(double)aqz_padded(
					r->catalog.frames[r->catalog.chunks[section->first_chunk + k]].frame.stored_bytes);
	}
	ck_assert_double_eq_tol(sum + rest, (double)s.file.n, 1e-6 * (double)s.file.n);
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

START_TEST(chunks_are_aligned)
{
	sample s, wide;
	aqz_reader *a, *b;

	sample_make(&s, &small_sample);
	sample_make(&wide, &(sample_options){.alignment = 4096, .n_threads = 1, .scale = 1});
	a = open_ok(&s.file);
	b = open_ok(&wide.file);
	ck_assert_uint_eq(aqz_reader_file(a)->alignment, 64);
	ck_assert_uint_eq(aqz_reader_file(b)->alignment, 4096);
	ck_assert_uint_eq(a->catalog.n_chunks, b->catalog.n_chunks);
	for (uint32_t i = 0; i < b->catalog.n_chunks; i++) {
		const aqz_placed_frame *f = &b->catalog.frames[b->catalog.chunks[i]];

		ck_assert_uint_eq((f->offset + 64) % 4096, 0);
		/* Where it stands is no part of what it says. */
		ck_assert_uint_eq(
			f->frame.decoded_hash, a->catalog.frames[a->catalog.chunks[i]].frame.decoded_hash);
		ck_assert_uint_eq(
			f->frame.payload_hash, a->catalog.frames[a->catalog.chunks[i]].frame.payload_hash);
	}
	aqz_reader_close(b);
	aqz_reader_close(a);
	sample_free(&wide);
	sample_free(&s);
}
END_TEST

START_TEST(threads_do_not_change_the_bytes)
{
	static const unsigned threads[] = {2, 3, 5, 0};
	sample one;

	sample_make(&one, &(sample_options){.alignment = 64, .n_threads = 1, .scale = 40});
	for (unsigned k = 0; k < 4; k++) {
		sample many;

		sample_make(&many, &(sample_options){.alignment = 64, .n_threads = threads[k], .scale = 40});
		ck_assert_uint_eq(many.file.n, one.file.n);
		ck_assert(memcmp(many.file.data, one.file.data, one.file.n) == 0);
		sample_free(&many);
	}
	sample_free(&one);
}
END_TEST

START_TEST(equal_parameters_are_stored_once)
{
	sample s, other;
	aqz_reader *r, *q;
	const aqz_section_info *a, *b, *info;
	uint32_t n_codebooks = 0, section, again;
	uint8_t values[64] = {1, 2, 3};
	aqz_writer_options o = {.struct_size = sizeof o};
	memory_file f = {0};
	aqz_writer *w;
	aqz_io io;

	sample_make(&s, &small_sample);
	sample_make(&other, &(sample_options){.alignment = 4096, .n_threads = 1, .scale = 1});
	r = open_ok(&s.file);
	q = open_ok(&other.file);
	a = aqz_reader_section(r, aqz_reader_find(r, "layers.0.q.weight", 17)->section);
	b = aqz_reader_section(r, aqz_reader_find(r, "layers.0.k.weight", 17)->section);
	ck_assert_uint_eq(a->refs[0].first, b->refs[0].first);
	ck_assert_uint_eq(a->refs[0].first, s.shared_codebook);
	for (uint32_t i = 0; (info = aqz_reader_section(r, i)) != NULL; i++)
		n_codebooks += info->kind == AQZ_KIND_CODEBOOK;
	ck_assert_uint_eq(n_codebooks, 4);
	/* And recognised in another file. */
	info = aqz_reader_section(r, s.shared_codebook);
	ck_assert(info->content[0] != 0 && info->content[1] != 0);
	ck_assert_mem_eq(info->content, aqz_reader_section(q, other.shared_codebook)->content, 16);
	aqz_reader_close(q);
	aqz_reader_close(r);
	sample_free(&other);
	sample_free(&s);
	/* Another kind, dtype or shape is something else. */
	memory_io(&io, &f);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &o, NULL), AQZ_OK);
	ck_assert_int_eq(
		aqz_writer_param(w, &section, AQZ_KIND_CODEBOOK, AQZ_F16, 4, 8, values, NULL), AQZ_OK);
	ck_assert_int_eq(
		aqz_writer_param(w, &again, AQZ_KIND_CODEBOOK, AQZ_F16, 4, 8, values, NULL), AQZ_OK);
	ck_assert_uint_eq(section, again);
	ck_assert_int_eq(
		aqz_writer_param(w, &again, AQZ_KIND_CODEBOOK, AQZ_BF16, 4, 8, values, NULL), AQZ_OK);
	ck_assert_uint_ne(section, again);
	ck_assert_int_eq(
		aqz_writer_param(w, &again, AQZ_KIND_CODEBOOK, AQZ_F16, 8, 4, values, NULL), AQZ_OK);
	ck_assert_uint_eq(again, 2);
	ck_assert_int_eq(
		aqz_writer_param(w, &again, AQZ_KIND_SIGNS, AQZ_F16, 4, 8, values, NULL), AQZ_OK);
	ck_assert_uint_eq(again, 3);
	ck_assert_int_eq(aqz_writer_finish(w, NULL, NULL), AQZ_OK);
	aqz_writer_close(w);
	r = open_ok(&f);
	ck_assert_uint_eq(aqz_reader_file(r)->n_sections, 4);
	ck_assert_int_eq(aqz_reader_verify(r, AQZ_VERIFY_FULL, 1, NULL, NULL, NULL, NULL, NULL), AQZ_OK);
	aqz_reader_close(r);
	ck_assert_int_eq(stream_verdict(&f, 0, 0, NULL), AQZ_OK);
	memory_free(&f);
}
END_TEST

START_TEST(the_reader_tells_all)
{
	sample s;
	const aqz_file_info *file;
	const aqz_tensor_info *t;
	const aqz_section_info *info;
	aqz_reader *r;

	sample_make(&s, &small_sample);
	r = open_ok(&s.file);
	file = aqz_reader_file(r);
	ck_assert_mem_eq(file->id, "sample container", 16);
	ck_assert_uint_eq(file->n_bytes, s.file.n);
	ck_assert_uint_eq(file->n_tensors, s.n_tensors);
	ck_assert(file->major == AQZ_FORMAT_MAJOR && file->minor == AQZ_FORMAT_MINOR);
	ck_assert(file->features_read == 0 && file->features_write == 0 && file->features_optional == 0);
	for (uint32_t i = 0; i < s.n_tensors; i++) {
		t = aqz_reader_tensor(r, i);
		ck_assert_str_eq(t->name, s.tensors[i].name);
		ck_assert_uint_eq(t->number, i);
		ck_assert_ptr_eq(aqz_reader_find(r, t->name, t->name_bytes), t);
		info = aqz_reader_section(r, t->section);
		ck_assert_int_eq(info->kind, AQZ_KIND_TENSOR);
		ck_assert_int_eq(info->scheme.codec, s.tensors[i].scheme.codec);
		ck_assert_uint_eq(info->decoded_bytes, t->n_bytes);
		ck_assert_uint_eq(info->rows * info->cols, t->n_elements);
	}
	t = aqz_reader_find(r, "layers.0.q.weight", 17);
	ck_assert(t->measured.has_rel_mse && t->measured.rel_mse == 0.25 && t->measured.effort == 3);
	ck_assert(
		t->measured.has_loss && t->measured.loss_before == 0.5 && t->measured.loss_after == 0.125);
	t = aqz_reader_find(r, "layers.0.k.weight", 17);
	ck_assert(t->measured.has_rel_mse && !t->measured.has_loss);
	t = aqz_reader_find(r, "embed.weight", 12);
	ck_assert(!t->measured.has_rel_mse && t->measured.raw_reason == AQZ_RAW_NOT_SMALLER &&
		t->measured.effort == 0);
	t = aqz_reader_find(r, "experts", 7);
	ck_assert(t->leading == 1 && aqz_reader_section(r, t->section)->rows == 6);
	t = aqz_reader_find(r, "conv1d.weight", 13);
	ck_assert(t->transposed && aqz_reader_section(r, t->section)->rows == 9);
	t = aqz_reader_find(r, "lm_head.weight", 14);
	ck_assert(t->alias && t->section == aqz_reader_find(r, "embed.weight", 12)->section);
	ck_assert_ptr_null(aqz_reader_tensor(r, s.n_tensors));
	ck_assert_ptr_null(aqz_reader_tensor(r, UINT32_MAX));
	ck_assert_ptr_null(aqz_reader_section(r, file->n_sections));
	ck_assert_ptr_null(aqz_reader_find(r, "embed.weigh", 11));
	ck_assert_ptr_null(aqz_reader_find(r, "", 0));
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

START_TEST(wrong_calls_of_the_reader)
{
	sample s;
	uint8_t room[800];
	aqz_cursor *c;
	aqz_reader *r;
	const aqz_tensor_info *t;
	aqz_error err;
	aqz_io io;
	aqz_reader_options opt = {.struct_size = 1};

	sample_make(&s, &small_sample);
	memory_io(&io, &s.file);
	ck_assert_int_eq(aqz_reader_open(NULL, &io, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_reader_open(&r, NULL, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_reader_open(&r, &io, &opt, &err), AQZ_E_ARGUMENT);
	ck_assert_ptr_null(r);
	io.size = NULL;
	ck_assert_int_eq(aqz_reader_open(&r, &io, NULL, &err), AQZ_E_ARGUMENT);
	r = open_ok(&s.file);
	ck_assert_int_eq(aqz_cursor_open(&c, r, aqz_reader_file(r)->n_sections, &err), AQZ_E_NOT_FOUND);
	ck_assert_ptr_null(c);
	ck_assert_int_eq(
		aqz_reader_verify(r, (aqz_verify_level)3, 1, NULL, NULL, NULL, NULL, &err), AQZ_E_ARGUMENT);
	t = aqz_reader_find(r, "embed.weight", 12);
	ck_assert_int_eq(aqz_reader_read_tensor(r, t, room, 779, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_cursor_open(&c, r, t->section, &err), AQZ_OK);
	ck_assert_int_eq(aqz_cursor_read(c, 0, 131, room, 786, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_cursor_read(c, 2, 1, room, 0, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_cursor_read(c, 0, 2, room, 11, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_cursor_read(c, 0, UINT64_MAX, room, 12, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_cursor_read(c, 130, 130, NULL, 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_cursor_read(c, 0, 2, room, 12, &err), AQZ_OK); /* it can still be used */
	aqz_cursor_close(c);
	/* Rows of three elements of 4 bits. */
	ck_assert_int_eq(aqz_cursor_open(&c, r, aqz_reader_find(r, "nibbles", 7)->section, &err), AQZ_OK);
	ck_assert_int_eq(aqz_cursor_read(c, 0, 1, room, 1, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_cursor_read(c, 0, 2, room, 3, &err), AQZ_OK);
	aqz_cursor_close(c);
	aqz_cursor_close(NULL);
	aqz_reader_close(NULL);
	aqz_stream_close(NULL);
	aqz_writer_close(NULL);
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

/* Whoever forgoes the decoded hash reads parts of a chunk without decoding all of it, and the same
 * bytes. */
START_TEST(the_decoded_hash_can_be_forgone)
{
	const aqz_reader_options opt = {.struct_size = sizeof opt, .skip_decoded_hash = true};
	sample s;
	aqz_reader *r;
	aqz_io io;

	sample_make(&s, &(sample_options){.alignment = 64, .n_threads = 1, .scale = 7});
	memory_io(&io, &s.file);
	ck_assert_int_eq(aqz_reader_open(&r, &io, &opt, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_reader_verify(r, AQZ_VERIFY_FULL, 1, NULL, NULL, NULL, NULL, NULL), AQZ_OK);
	for (uint32_t i = 0; i < s.n_tensors; i++) {
		const sample_tensor *t = &s.tensors[i];
		const aqz_tensor_info *info = aqz_reader_tensor(r, i);
		const uint64_t rows = aqz_reader_section(r, info->section)->rows;
		uint8_t *got = malloc(t->n_bytes + 1);
		aqz_cursor *c;

		ck_assert_int_eq(aqz_reader_read_tensor(r, info, got, t->n_bytes, NULL), AQZ_OK);
		ck_assert(memcmp(got, t->data, t->n_bytes) == 0);
		ck_assert_int_eq(aqz_cursor_open(&c, r, info->section, NULL), AQZ_OK);
		if (rows > 64 && !t->transposed) {
			const size_t row = t->n_bytes / rows;

			ck_assert_int_eq(aqz_cursor_read(c, 3, rows - 1, got, (rows - 4) * row, NULL), AQZ_OK);
			ck_assert(memcmp(got, t->data + 3 * row, (rows - 4) * row) == 0);
		}
		aqz_cursor_close(c);
		free(got);
	}
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

START_TEST(threads_share_a_reader)
{
	sample s;
	aqz_reader *r;
	int n_wrong = 0;

	sample_make(&s, &(sample_options){.alignment = 64, .n_threads = 1, .scale = 7});
	r = open_ok(&s.file);
#pragma omp parallel for num_threads(4) schedule(dynamic, 1) reduction(+ : n_wrong)
	for (uint32_t k = 0; k < 8 * s.n_tensors; k++) {
		const sample_tensor *t = &s.tensors[k % s.n_tensors];
		uint8_t *got = malloc(t->n_bytes + 1);

		n_wrong += aqz_reader_read_tensor(r, aqz_reader_find(r, t->name, strlen(t->name)), got,
					   t->n_bytes, NULL) != AQZ_OK ||
			memcmp(got, t->data, t->n_bytes) != 0;
		free(got);
	}
	ck_assert_int_eq(n_wrong, 0);
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

/* ---- Many */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { MANY = SPARSE > 1 ? 10000 : 100000 };

static void write_many(memory_file *f)
{
	aqz_writer_options o = {.struct_size = sizeof o, .n_threads = 1, .effort = 1};
	aqz_writer *w;
	aqz_io io;

	memory_io(&io, f);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &o, NULL), AQZ_OK);
	for (uint32_t i = 0; i < MANY; i++) {
		char name[32];
		aqz_tensor_desc d = {
			.struct_size = sizeof d, .name = name, .dtype = AQZ_U32, .rank = 1, .shape = {1}};

		d.name_bytes = (size_t)snprintf(name, sizeof name, "layers.%u.bias", i);
		ck_assert_int_eq(aqz_writer_tensor(w, NULL, &d, NULL), AQZ_OK);
		ck_assert_int_eq(aqz_writer_put(w, &i, sizeof i, NULL), AQZ_OK);
	}
	ck_assert_int_eq(aqz_writer_finish(w, NULL, NULL), AQZ_OK);
	aqz_writer_close(w);
}

START_TEST(a_hundred_thousand_tensors)
{
	const double start = seconds();
	double written, read, verified, streamed, salvaged;
	memory_file f = {0}, out = {0};
	aqz_reader *r;
	aqz_io from, to;
	uint32_t n_lost;

	write_many(&f);
	written = seconds();
	r = open_ok(&f);
	ck_assert_uint_eq(aqz_reader_file(r)->n_tensors, MANY);
	for (uint32_t i = 0; i < MANY; i += 7) {
		uint32_t value;
		char name[32];
		const size_t n = (size_t)snprintf(name, sizeof name, "layers.%u.bias", i);
		const aqz_tensor_info *t = aqz_reader_find(r, name, n);

		ck_assert(t != NULL && t->number == i);
		ck_assert_int_eq(aqz_reader_read_tensor(r, t, &value, sizeof value, NULL), AQZ_OK);
		ck_assert_uint_eq(value, i);
	}
	read = seconds();
	ck_assert_int_eq(aqz_reader_verify(r, AQZ_VERIFY_FULL, 2, NULL, NULL, NULL, NULL, NULL), AQZ_OK);
	verified = seconds();
	ck_assert_int_eq(stream_verdict(&f, 1 << 16, 0, NULL), AQZ_OK);
	streamed = seconds();
	memory_io(&from, &f);
	memory_io(&to, &out);
	ck_assert_int_eq(aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, &n_lost, NULL), AQZ_OK);
	ck_assert_uint_eq(n_lost, 0);
	salvaged = seconds();
	aqz_reader_close(r);
	r = open_ok(&out);
	ck_assert_uint_eq(aqz_reader_file(r)->n_tensors, MANY);
	aqz_reader_close(r);
	printf("%d tensors, %.1f MB: write %.2f s, open and read every 7th %.2f s, verify %.2f s, "
		   "stream %.2f s, salvage %.2f s\n",
		MANY, (double)f.n * 1e-6, written - start, read - written, verified - read, streamed - verified,
		salvaged - streamed);
	ck_assert_msg(salvaged - start < 60, "%.1f s", salvaged - start);
	memory_free(&out);
	memory_free(&f);
}
END_TEST

TCase *container_facts(void)
{
	TCase *tc = tcase_create("facts");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, the_ledger_adds_up);
	tcase_add_test(tc, the_costs_of_tensors_add_up);
	tcase_add_test(tc, chunks_are_aligned);
	tcase_add_test(tc, threads_do_not_change_the_bytes);
	tcase_add_test(tc, equal_parameters_are_stored_once);
	tcase_add_test(tc, the_reader_tells_all);
	tcase_add_test(tc, wrong_calls_of_the_reader);
	tcase_add_test(tc, the_decoded_hash_can_be_forgone);
	tcase_add_test(tc, threads_share_a_reader);
	tcase_add_test(tc, a_hundred_thousand_tensors);
	return tc;
}
