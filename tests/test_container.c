/* SPDX-License-Identifier: Apache-2.0 */
/* The container, whole: what is written comes back by every way of reading, and only what is needed
 * is read. */
#include "format/reader.h"
#include "tests/container_batch.h"
#include "tests/container_facts.h"
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

static void salvage_ok(memory_file *out, memory_file *in)
{
	aqz_error err = {.text = ""};
	aqz_io from, to;
	uint32_t n_lost = 1;

	memory_io(&from, in);
	memory_io(&to, out);
	out->n = 0;
	if (aqz_salvage(&from, &to, 0, NULL, NULL, NULL, NULL, &n_lost, &err) != AQZ_OK)
		ck_abort_msg("%s: %s", err.where, err.text);
	ck_assert_uint_eq(n_lost, 0);
}

/* ---- Every feature in one file */

static void check_all_ways(const sample_options *opt)
{
	sample s;
	memory_file salvaged = {0}, twice = {0};

	sample_make(&s, opt);
	ck_assert(sample_is_in(&s, &s.file));
	ck_assert(sample_streams_from(&s, &s.file, 0));
	salvage_ok(&salvaged, &s.file);
	ck_assert(sample_is_in(&s, &salvaged));
	ck_assert(sample_streams_from(&s, &salvaged, 0));
	salvage_ok(&twice, &salvaged);
	ck_assert(sample_is_in(&s, &twice));
	memory_free(&twice);
	memory_free(&salvaged);
	sample_free(&s);
}

START_TEST(every_way_gives_the_same)
{
	static const unsigned scales[] = {1, 2, 7, 40};

	check_all_ways(&(sample_options){
		.alignment = _i % 2 == 0 ? 64 : 4096, .n_threads = 2, .scale = scales[_i / 2]});
}
END_TEST

START_TEST(every_coding_is_there)
{
	sample s;
	aqz_reader *r;
	bool seen[18] = {false};

	sample_make(&s, &(sample_options){.alignment = 64, .scale = 7});
	r = open_ok(&s.file);
	for (uint32_t i = 0; i < r->catalog.n_frames; i++)
		if (r->catalog.frames[i].frame.type == AQZ_FRAME_CHUNK)
			seen[r->catalog.frames[i].frame.coding] = true;
	ck_assert(seen[AQZ_CODING_STORED] && seen[AQZ_CODING_ZSTD] && seen[AQZ_CODING_PLANES] &&
		seen[AQZ_CODING_T64] && seen[AQZ_CODING_RANS]);
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

START_TEST(every_split_of_a_stream)
{
	sample s;
	noise random = {(uint64_t)_i + 1};

	sample_make(
		&s, &(sample_options){.alignment = _i % 2 == 0 ? 64 : 4096, .n_threads = 1, .scale = 1});
	for (size_t piece = 1; piece <= 300; piece += _i % 2 == 0 ? 7 : 37)
		ck_assert_msg(sample_streams_from(&s, &s.file, piece), "pieces of %zu", piece);
	/* Random pieces, empty ones too. */
	for (int round = 0; round < 50; round++) {
		aqz_stream *stream;

		ck_assert_int_eq(aqz_stream_open(&stream, NULL, NULL, NULL), AQZ_OK);
		for (size_t at = 0; at < s.file.n;) {
			const uint64_t drawn = noise_next(&random);
			const size_t wanted = drawn % 5 == 0 ? drawn >> 56 : drawn >> 52,
						 n = aqz_min(wanted, s.file.n - at);

			ck_assert_int_eq(aqz_stream_push(stream, s.file.data + at, n, NULL), AQZ_OK);
			at += n;
		}
		ck_assert_int_eq(aqz_stream_finish(stream, NULL), AQZ_OK);
		aqz_stream_close(stream);
	}
	sample_free(&s);
}
END_TEST

/* ---- Every dtype, lossless */

static const aqz_dtype dtypes[] = {AQZ_BOOL, AQZ_U8, AQZ_I8, AQZ_U16, AQZ_I16, AQZ_U32, AQZ_I32,
	AQZ_U64, AQZ_I64, AQZ_F16, AQZ_BF16, AQZ_F32, AQZ_F64, AQZ_C64, AQZ_F8_E5M2, AQZ_F8_E4M3,
	AQZ_F8_E8M0, AQZ_F8_E4M3FNUZ, AQZ_F8_E5M2FNUZ, AQZ_F6_E2M3, AQZ_F6_E3M2, AQZ_F4};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static void check_raw(aqz_dtype dtype, uint32_t rank, const uint64_t *shape, unsigned ones, int effort)
{
	sample s = {.n_tensors = 1};
	sample_tensor *t = &s.tensors[0];
	aqz_writer_options o = {
		.struct_size = sizeof o, .chunk_bytes = 1000, .effort = effort, .n_threads = 1};
	aqz_tensor_desc d = {
		.struct_size = sizeof d, .name = t->name, .name_bytes = 1, .dtype = dtype, .rank = rank};
	noise r = {(uint64_t)dtype};
	memory_file salvaged = {0};
	aqz_writer *w;
	aqz_io io;

	*t = (sample_tensor){.name = "x", .dtype = dtype, .rank = rank, .n_bytes = aqz_dtype_bits(dtype)};
	for (uint32_t i = 0; i < rank; i++)
		t->n_bytes *= d.shape[i] = t->shape[i] = shape[i];
	t->n_bytes /= 8;
	t->data = malloc(t->n_bytes + 1);
	for (size_t i = 0; i < t->n_bytes; i++)
		t->data[i] = (uint8_t)((noise_next(&r) >> 56) & ones);
	memory_io(&io, &s.file);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &o, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_tensor(w, NULL, &d, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(w, t->data, t->n_bytes, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_finish(w, NULL, NULL), AQZ_OK);
	aqz_writer_close(w);
	ck_assert(sample_is_in(&s, &s.file));
	ck_assert(sample_streams_from(&s, &s.file, 1000));
	salvage_ok(&salvaged, &s.file);
	ck_assert(sample_is_in(&s, &salvaged));
	memory_free(&salvaged);
	sample_free(&s);
}

START_TEST(raw_of_every_dtype)
{
	const aqz_dtype dtype = dtypes[_i];

	/* 4 elements are whole bytes in every dtype. */
	check_raw(dtype, 0 + (aqz_dtype_bits(dtype) < 8), (uint64_t[]){4}, 0xff, 1);
	check_raw(dtype, 1, (uint64_t[]){1004}, 0xff, 1);
	check_raw(dtype, 1, (uint64_t[]){0}, 0xff, 1);
	check_raw(dtype, 2, (uint64_t[]){300, 5 + 3 * (aqz_dtype_bits(dtype) == 6)}, 0x11, 5);
	check_raw(dtype, 3, (uint64_t[]){2, 3, 400}, 0x80, 9);
	check_raw(dtype, 8, (uint64_t[]){1, 2, 1, 3, 2, 5, 2, 2}, 0x03, 5);
	check_raw(dtype, 2, (uint64_t[]){1, 4000}, 0x00, 5);
}
END_TEST

/* One column per row where 64 rows would be too many for a chunk. */
START_TEST(rows_longer_than_a_chunk)
{
	sample s = {.n_tensors = 0};
	aqz_writer_options o = {.struct_size = sizeof o, .effort = 1};
	aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = "wide",
		.name_bytes = 4,
		.dtype = AQZ_U8,
		.rank = 2,
		.shape = {2, (1 << 20) + 1}};
	const size_t n = 2 * ((1 << 20) + 1);
	uint8_t *data = calloc(1, n), *back = malloc(n);
	aqz_writer *w;
	aqz_reader *r;
	aqz_io io;

	data[n - 1] = data[n / 2] = 1;
	memory_io(&io, &s.file);
	ck_assert_int_eq(aqz_writer_open(&w, &io, &o, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_tensor(w, NULL, &d, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(w, data, n, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_finish(w, NULL, NULL), AQZ_OK);
	aqz_writer_close(w);
	r = open_ok(&s.file);
	ck_assert_uint_eq(aqz_reader_section(r, 0)->cols, 1);
	ck_assert_uint_eq(aqz_reader_tensor(r, 0)->leading, 1);
	ck_assert_int_eq(aqz_reader_read_tensor(r, aqz_reader_tensor(r, 0), back, n, NULL), AQZ_OK);
	ck_assert_mem_eq(back, data, n);
	aqz_reader_close(r);
	free(back);
	free(data);
	memory_free(&s.file);
}
END_TEST

/* ---- Additive, by aqz_writer_additive */

static const aqz_scheme schemes[] = {{AQZ_CODEC_ADDITIVE, 1, 1, 1, 1},
	{AQZ_CODEC_ADDITIVE, 2, 8, 8, 1}, {AQZ_CODEC_ADDITIVE, 3, 5, 3, 1},
	{AQZ_CODEC_ADDITIVE, 8, 2, 7, 2}, {AQZ_CODEC_ADDITIVE, 1, 9, 2, 3},
	{AQZ_CODEC_ADDITIVE, 1, 16, 1, 1}, {AQZ_CODEC_ADDITIVE, 2, 4, 1, 64},
	{AQZ_CODEC_ADDITIVE, 1, 12, 4, 1}};
static const aqz_dtype floats[] = {AQZ_F32, AQZ_F16, AQZ_BF16};

/* A matrix of codes and its parameters, filled with noise. */
typedef struct matrix {
	aqz_additive a;
	uint16_t *codes;
	float *wide, *wide_scales, *cb_scales;
} matrix;

static void make_matrix(matrix *m, const aqz_scheme *scheme, uint64_t rows, uint64_t cols,
	aqz_dtype book, aqz_dtype scale)
{
	aqz_additive *a = &m->a;
	const uint64_t dims = (uint64_t)scheme->in_group * scheme->out_group;
	const uint64_t n = ((uint64_t)scheme->n_codebooks << scheme->code_bits) * dims;
	noise r = {rows * 1000 + cols};
	size_t n_codes;

	*a = (aqz_additive){
		.scheme = *scheme, .rows = rows, .cols = cols, .codebook_dtype = book, .scale_dtype = scale};
	a->code_rows = (rows + scheme->out_group - 1) / scheme->out_group;
	a->groups = (cols + scheme->in_group - 1) / scheme->in_group;
	n_codes = (size_t)(a->code_rows * a->groups * scheme->n_codebooks);
	m->codes = calloc(n_codes, sizeof *m->codes);
	for (size_t i = 0; i < n_codes; i++)
		m->codes[i] = (uint16_t)(noise_next(&r) >> (64 - scheme->code_bits));
	a->codes = spec_t64(m->codes, a->code_rows, a->groups, scheme, &a->codes_bytes);
	ck_assert_uint_eq(a->codes_bytes, aqz_additive_codes_bytes(scheme, a->code_rows, a->groups));
	a->codebooks = calloc(n, 4);
	a->scales = calloc(a->code_rows, 4);
	m->wide = calloc(n, sizeof(float));
	m->wide_scales = calloc(a->code_rows, sizeof(float));
	m->cb_scales = calloc(scheme->n_codebooks * dims, sizeof(float));
	for (uint64_t i = 0; i < n; i++)
		m->wide[i] = (float)(int32_t)(noise_next(&r) >> 32) * 0x1p-31f;
	for (uint64_t i = 0; i < a->code_rows; i++)
		m->wide_scales[i] = (float)(noise_next(&r) >> 40) * 0x1p-20f;
	for (uint64_t i = 0; i < scheme->n_codebooks * dims; i++)
		m->cb_scales[i] = (float)(noise_next(&r) >> 40) * 0x1p-24f;
	if (book == AQZ_I8) {
		noise_fill(&r, a->codebooks, (size_t)n);
		a->codebook_scales = m->cb_scales;
	} else { /* rounded to the storage type and back */
		ck_assert_int_eq(aqz_convert(a->codebooks, book, m->wide, AQZ_F32, (size_t)n, NULL), AQZ_OK);
		ck_assert_int_eq(aqz_convert(m->wide, AQZ_F32, a->codebooks, book, (size_t)n, NULL), AQZ_OK);
	}
	ck_assert_int_eq(
		aqz_convert(a->scales, scale, m->wide_scales, AQZ_F32, (size_t)a->code_rows, NULL), AQZ_OK);
	ck_assert_int_eq(
		aqz_convert(m->wide_scales, AQZ_F32, a->scales, scale, (size_t)a->code_rows, NULL), AQZ_OK);
}

static void free_matrix(matrix *m)
{
	free(m->a.codes);
	free(m->a.codebooks);
	free(m->a.scales);
	free(m->codes);
	free(m->wide);
	free(m->wide_scales);
	free(m->cb_scales);
}

START_TEST(additive_of_every_dtype_and_scheme)
{
	static const aqz_dtype books[] = {AQZ_F32, AQZ_F16, AQZ_BF16, AQZ_I8};
	const aqz_scheme *scheme = &schemes[_i];
	const uint64_t rows = UINT64_C(129) * scheme->out_group + 1,
				   cols = UINT64_C(3) * scheme->in_group + 1;

	for (unsigned b = 0; b < 4; b++)
		for (unsigned k = 0; k < 3; k++) {
			sample s = {.n_tensors = 1};
			sample_tensor *t = &s.tensors[0];
			aqz_writer_options o = {.struct_size = sizeof o, .chunk_bytes = 4096, .effort = 1};
			aqz_tensor_desc d = {.struct_size = sizeof d,
				.name = "w",
				.name_bytes = 1,
				.dtype = floats[k],
				.rank = 2,
				.shape = {rows, cols}};
			spec_range range = {0, UINT64_MAX, NULL, NULL, NULL};
			aqz_error err = {.text = ""};
			matrix m;
			aqz_writer *w;
			aqz_io io;

			make_matrix(&m, scheme, rows, cols, books[b], floats[(b + k) % 3]);
			range.codebook = m.wide;
			range.codebook_scales = m.cb_scales;
			range.integers = books[b] == AQZ_I8 ? m.a.codebooks : NULL;
			*t = (sample_tensor){
				.name = "w", .dtype = floats[k], .rank = 2, .shape = {rows, cols}, .scheme = *scheme};
			t->n_bytes = (size_t)(rows * cols * aqz_dtype_bits(t->dtype) / 8);
			t->data = malloc(t->n_bytes);
			spec_decode(t->data, t->dtype, m.codes, rows, cols, scheme, &range, m.wide_scales);
			memory_io(&io, &s.file);
			ck_assert_int_eq(aqz_writer_open(&w, &io, &o, NULL), AQZ_OK);
			if (aqz_writer_additive(w, &d, &m.a, &err) != AQZ_OK)
				ck_abort_msg("%s: %s", err.where, err.text);
			ck_assert_int_eq(aqz_writer_finish(w, NULL, NULL), AQZ_OK);
			aqz_writer_close(w);
			ck_assert(sample_is_in(&s, &s.file));
			ck_assert(sample_streams_from(&s, &s.file, 4096));
			free_matrix(&m);
			sample_free(&s);
		}
}
END_TEST

/* ---- Only what is needed is read */

/* File bytes of the chunks that hold rows [begin, end), and of the whole sections that it refers
 * to. */
static uint64_t touched_bytes(const aqz_reader *r, const aqz_section *s, uint64_t begin, uint64_t end)
{
	const uint64_t per_chunk = (uint64_t)s->info.chunk_rows * s->info.scheme.out_group;
	uint64_t n = 0;

	for (uint32_t c = 0; c < s->info.n_chunks; c++)
		if (c * per_chunk < end && (c + 1) * per_chunk > begin)
			n += 64 +
				aqz_padded(
					r->catalog.frames[r->catalog.chunks[s->first_chunk + c]].frame.stored_bytes);
	return n;
}

static uint64_t param_bytes(const aqz_reader *r, const aqz_section *s)
{
	uint64_t n = 0;

	for (uint32_t k = 0; k < s->info.n_refs; k++)
		for (uint32_t i = 0; i < s->info.refs[k].count; i++) {
			const aqz_section *p = r->catalog.sections[s->info.refs[k].first + i];

			n += touched_bytes(r, p, 0, p->info.rows);
		}
	return n;
}

START_TEST(a_range_of_rows_reads_its_chunks_only)
{
	sample s;
	aqz_reader *r;
	noise random = {99};
	uint64_t n_ranges = 0;

	sample_make(&s, &(sample_options){.alignment = 64, .n_threads = 1, .scale = 7});
	s.file.n_reads = s.file.n_read_bytes = 0;
	r = open_ok(&s.file);
	/* Opening reads the footer and the index, and nothing else. */
	ck_assert_uint_eq(s.file.n_reads, 2);
	ck_assert_uint_eq(
		s.file.n_read_bytes, AQZ_FOOTER_BYTES + 64 + aqz_padded(r->footer.index_stored_bytes));
	for (uint32_t i = 0; i < r->catalog.n_sections; i++) {
		const aqz_section *section = r->catalog.sections[i];
		const aqz_section_info *info = &section->info;
		uint8_t *all = malloc((size_t)info->decoded_bytes + 1),
				*part = malloc((size_t)info->decoded_bytes + 1);
		aqz_cursor *whole;

		ck_assert_int_eq(aqz_cursor_open(&whole, r, i, NULL), AQZ_OK);
		ck_assert_int_eq(
			aqz_cursor_read(whole, 0, info->rows, all, (size_t)info->decoded_bytes, NULL), AQZ_OK);
		aqz_cursor_close(whole);
		for (int k = 0; k < 40; k++) {
			const uint64_t a = noise_next(&random) % (info->rows + 1),
						   b = noise_next(&random) % (info->rows + 1);
			const uint64_t begin = aqz_min(a, b), end = a + b - begin;
			uint64_t n, skip;
			aqz_cursor *c;

			if (!aqz_section_rows_bytes(section, begin, end, &n) ||
				!aqz_section_rows_bytes(section, 0, begin, &skip))
				continue;
			s.file.n_read_bytes = 0;
			ck_assert_int_eq(aqz_cursor_open(&c, r, i, NULL), AQZ_OK);
			ck_assert_uint_eq(s.file.n_read_bytes, param_bytes(r, section));
			s.file.n_read_bytes = 0;
			ck_assert_int_eq(aqz_cursor_read(c, begin, end, part, (size_t)n, NULL), AQZ_OK);
			ck_assert_uint_eq(
				s.file.n_read_bytes, begin == end ? 0 : touched_bytes(r, section, begin, end));
			ck_assert(memcmp(part, all + skip, n) == 0);
			aqz_cursor_close(c);
			n_ranges++;
		}
		free(part);
		free(all);
	}
	ck_assert_uint_gt(n_ranges, 500);
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

/* A cursor that walks through a section by small steps reads each chunk once. */
START_TEST(small_steps_read_each_chunk_once)
{
	sample s;
	aqz_reader *r;

	sample_make(&s, &(sample_options){.alignment = 64, .n_threads = 1, .scale = 7});
	r = open_ok(&s.file);
	for (uint32_t i = 0; i < s.n_tensors; i++) {
		const aqz_tensor_info *t = aqz_reader_find(r, s.tensors[i].name, strlen(s.tensors[i].name));
		const aqz_section *section = r->catalog.sections[t->section];
		const uint64_t row_bytes =
			section->info.rows == 0 ? 0 : section->info.decoded_bytes / section->info.rows;
		uint8_t *row = malloc(row_bytes + 1);
		aqz_cursor *c;

		if (aqz_dtype_bits(t->dtype) >= 8 && !t->transposed) {
			ck_assert_int_eq(aqz_cursor_open(&c, r, t->section, NULL), AQZ_OK);
			s.file.n_read_bytes = 0;
			for (uint64_t k = 0; k < section->info.rows; k++) {
				ck_assert_int_eq(aqz_cursor_read(c, k, k + 1, row, (size_t)row_bytes, NULL), AQZ_OK);
				ck_assert(memcmp(row, s.tensors[i].data + k * row_bytes, (size_t)row_bytes) == 0);
			}
			ck_assert_uint_le(s.file.n_read_bytes, touched_bytes(r, section, 0, section->info.rows));
			aqz_cursor_close(c);
		}
		free(row);
	}
	aqz_reader_close(r);
	sample_free(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("container");
	TCase *tc = tcase_create("container");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_way_gives_the_same, 0, 8);
	tcase_add_test(tc, every_coding_is_there);
	tcase_add_loop_test(tc, every_split_of_a_stream, 0, 2);
	tcase_add_loop_test(tc, raw_of_every_dtype, 0, N_DTYPES);
	tcase_add_test(tc, rows_longer_than_a_chunk);
	tcase_add_loop_test(tc, additive_of_every_dtype_and_scheme, 0, sizeof schemes / sizeof *schemes);
	tcase_add_test(tc, a_range_of_rows_reads_its_chunks_only);
	tcase_add_test(tc, small_steps_read_each_chunk_once);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, container_facts());
	suite_add_tcase(suite, container_batch());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
