/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_limits: wrong calls of the writer. Each is an AQZ_E_ARGUMENT; after it the writer
 * either goes on as if nothing had been said, or refuses every further call with the same status.
 * It never makes an unsound file. */
#include "tests/limits_misuse.h"

#include "tests/heap.h"
#include "tests/support.h"

/* A writer with a file, a codebook (section 1), its tensor 0 "a" and a raw tensor 1 "b" in it. */
typedef struct setup {
	memory_file f;
	aqz_writer *w;
	uint32_t codebook;
} setup;

static const aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS}, coded = {AQZ_CODEC_ADDITIVE, 1, 1, 2, 1};

static aqz_tensor_desc tensor(const char *name, aqz_dtype dtype, uint32_t rank, uint64_t a, uint64_t b)
{
	return (aqz_tensor_desc){.struct_size = sizeof(aqz_tensor_desc),
		.name = name,
		.name_bytes = strlen(name),
		.dtype = dtype,
		.rank = rank,
		.shape = {a, b},
		.scheme = raw};
}

static void open_writer(setup *s)
{
	static const float codewords[4] = {1, 2, 3, 4};
	static const uint8_t codes[8] = {1}, bytes[6] = {0};
	aqz_writer_options o = {.struct_size = sizeof o, .n_threads = 1};
	aqz_tensor_desc a = tensor("a", AQZ_F32, 2, 3, 2), b = tensor("b", AQZ_U8, 2, 2, 3);
	aqz_ref ref = {AQZ_KIND_CODEBOOK, 0, 1, 0, 3};
	aqz_io io;

	memset(s, 0, sizeof *s);
	memory_io(&io, &s->f);
	ck_assert_int_eq(aqz_writer_open(&s->w, &io, &o, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_file(s->w, AQZ_KIND_FILE, "file", 0, NULL), AQZ_OK);
	ck_assert_int_eq(
		aqz_writer_param(s->w, &s->codebook, AQZ_KIND_CODEBOOK, AQZ_F32, 2, 2, codewords, NULL),
		AQZ_OK);
	a.scheme = coded;
	a.refs = &ref;
	a.n_refs = 1;
	ref.first = s->codebook;
	ck_assert_int_eq(aqz_writer_tensor(s->w, NULL, &a, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(s->w, codes, sizeof codes, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_tensor(s->w, NULL, &b, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(s->w, bytes, sizeof bytes, NULL), AQZ_OK);
}

/* ---- The wrong calls */

static aqz_status param(
	setup *s, aqz_kind kind, aqz_dtype dtype, uint64_t rows, uint64_t cols, aqz_error *err)
{
	static const uint8_t data[64];
	uint32_t section;

	return aqz_writer_param(s->w, &section, kind, dtype, rows, cols, data, err);
}

static aqz_status param_of_no_kind(setup *s, aqz_error *err)
{
	return param(s, AQZ_KIND_TENSOR, AQZ_U8, 1, 1, err);
}

static aqz_status param_that_is_a_file(setup *s, aqz_error *err)
{
	return param(s, AQZ_KIND_FILE, AQZ_U8, 1, 1, err);
}

static aqz_status param_of_nothing(setup *s, aqz_error *err)
{
	return param(s, AQZ_KIND_SIGNS, AQZ_U8, 0, 1, err);
}

static aqz_status param_of_no_dtype(setup *s, aqz_error *err)
{
	return param(s, AQZ_KIND_SIGNS, (aqz_dtype)99, 1, 1, err);
}

static aqz_status param_of_half_a_byte(setup *s, aqz_error *err)
{
	return param(s, AQZ_KIND_SIGNS, AQZ_F4, 1, 1, err);
}

static aqz_status param_too_large_to_be(setup *s, aqz_error *err)
{
	return param(s, AQZ_KIND_SIGNS, AQZ_F64, UINT64_C(1) << 32, UINT64_C(1) << 32, err);
}

static aqz_status file(setup *s, aqz_kind kind, const char *name, aqz_error *err)
{
	return aqz_writer_file(s->w, kind, name, 0, err);
}

static aqz_status file_of_no_kind(setup *s, aqz_error *err)
{
	return file(s, AQZ_KIND_CODEBOOK, "x", err);
}

static aqz_status file_of_bad_name(setup *s, aqz_error *err)
{
	char long_name[257];
	const char *names[] = {
		"", ".", "..", "a/b", "/", "..\\x", "a\nb", "\x7f", "\xff", "\xed\xa0\x80", long_name};

	memset(long_name, 'x', 256);
	long_name[256] = 0;
	for (size_t i = 0; i + 1 < sizeof names / sizeof *names; i++)
		ck_assert_msg(file(s, AQZ_KIND_FILE, names[i], err) == AQZ_E_ARGUMENT, "%zu", i);
	return file(s, AQZ_KIND_FILE, long_name, err);
}

static aqz_status file_of_a_name_that_is_there(setup *s, aqz_error *err)
{
	return file(s, AQZ_KIND_SOURCE_HEADER, "file", err);
}

static aqz_status declare(setup *s, const aqz_tensor_desc *t, aqz_error *err)
{
	uint32_t section;

	return aqz_writer_tensor(s->w, &section, t, err);
}

static aqz_status tensor_of_another_version(setup *s, aqz_error *err)
{
	aqz_tensor_desc t = tensor("x", AQZ_U8, 1, 0, 0);

	t.struct_size--;
	return declare(s, &t, err);
}

static aqz_status tensor_of_bad_name(setup *s, aqz_error *err)
{
	static char long_name[1026];
	aqz_tensor_desc t = tensor("", AQZ_U8, 1, 0, 0);

	ck_assert_int_eq(declare(s, &t, err), AQZ_E_ARGUMENT);
	t = tensor("a\xff", AQZ_U8, 1, 0, 0);
	ck_assert_int_eq(declare(s, &t, err), AQZ_E_ARGUMENT);
	t = tensor("a\tb", AQZ_U8, 1, 0, 0);
	ck_assert_int_eq(declare(s, &t, err), AQZ_E_ARGUMENT);
	t = tensor("ab", AQZ_U8, 1, 0, 0);
	t.name_bytes = 3; /* the NUL too */
	ck_assert_int_eq(declare(s, &t, err), AQZ_E_ARGUMENT);
	memset(long_name, 'x', 1025);
	t = tensor(long_name, AQZ_U8, 1, 0, 0);
	return declare(s, &t, err);
}

static aqz_status tensor_of_a_name_that_is_there(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("a", AQZ_U8, 1, 0, 0);

	return declare(s, &t, err);
}

static aqz_status tensor_of_rank_9(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_U8, 9, 1, 1);

	return declare(s, &t, err);
}

static aqz_status tensor_of_no_dtype(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", (aqz_dtype)0, 1, 1, 1);

	return declare(s, &t, err);
}

static aqz_status tensor_too_large_to_be(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_F64, 2, UINT64_C(1) << 31, UINT64_C(1) << 30);

	return declare(s, &t, err);
}

static aqz_status tensor_of_half_a_byte(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_F6_E2M3, 1, 3, 0);

	return declare(s, &t, err);
}

/* More chunks than a file can hold. */
static aqz_status tensor_longer_than_a_file(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_U8, 1, UINT64_C(1) << 62, 0);

	return declare(s, &t, err);
}

static aqz_status tensor_of_no_codec(setup *s, aqz_error *err)
{
	aqz_tensor_desc t = tensor("x", AQZ_U8, 1, 1, 1);

	t.scheme.codec = (aqz_codec_id)7;
	return declare(s, &t, err);
}

static aqz_status additive(setup *s, aqz_scheme scheme, aqz_dtype dtype, uint32_t rank,
	uint32_t leading, bool transposed, aqz_ref ref, uint32_t n_refs, aqz_error *err)
{
	aqz_tensor_desc t = tensor("x", dtype, rank, 3, 2);

	t.scheme = scheme;
	t.leading = leading;
	t.transposed = transposed;
	t.refs = &ref;
	t.n_refs = n_refs;
	return declare(s, &t, err);
}

static aqz_ref good_ref(const setup *s)
{
	return (aqz_ref){AQZ_KIND_CODEBOOK, s->codebook, 1, 0, 3};
}

static aqz_status scheme_of_zeros(setup *s, aqz_error *err)
{
	for (int i = 0; i < 4; i++) {
		aqz_scheme z = coded;

		*(i == 0		 ? &z.n_codebooks
				: i == 1 ? &z.code_bits
				: i == 2 ? &z.in_group
						 : &z.out_group) = 0;
		ck_assert_msg(
			additive(s, z, AQZ_F32, 2, 0, false, good_ref(s), 1, err) == AQZ_E_ARGUMENT, "%d", i);
	}
	return additive(
		s, (aqz_scheme){.codec = AQZ_CODEC_ADDITIVE}, AQZ_F32, 2, 0, false, good_ref(s), 1, err);
}

static aqz_status scheme_too_large(setup *s, aqz_error *err)
{
	ck_assert_int_eq(additive(s, (aqz_scheme){AQZ_CODEC_ADDITIVE, 9, 1, 2, 1}, AQZ_F32, 2, 0, false,
						 good_ref(s), 1, err),
		AQZ_E_ARGUMENT);
	ck_assert_int_eq(additive(s, (aqz_scheme){AQZ_CODEC_ADDITIVE, 1, 17, 2, 1}, AQZ_F32, 2, 0,
						 false, good_ref(s), 1, err),
		AQZ_E_ARGUMENT);
	return additive(s, (aqz_scheme){AQZ_CODEC_ADDITIVE, 1, 1, 16, 8}, AQZ_F32, 2, 0, false,
		good_ref(s), 1, err);
}

static aqz_status scheme_without_its_codebook(setup *s, aqz_error *err)
{
	return additive(s, coded, AQZ_F32, 2, 0, false, good_ref(s), 0, err);
}

static aqz_status scheme_of_integers(setup *s, aqz_error *err)
{
	return additive(s, coded, AQZ_I32, 2, 0, false, good_ref(s), 1, err);
}

static aqz_status codebook_of_another_size(setup *s, aqz_error *err)
{
	return additive(
		s, (aqz_scheme){AQZ_CODEC_ADDITIVE, 1, 2, 2, 1}, AQZ_F32, 2, 0, false, good_ref(s), 1, err);
}

static aqz_status reference_to_nothing(setup *s, aqz_error *err)
{
	return additive(
		s, coded, AQZ_F32, 2, 0, false, (aqz_ref){AQZ_KIND_CODEBOOK, 77, 1, 0, 3}, 1, err);
}

static aqz_status reference_to_a_file(setup *s, aqz_error *err)
{
	return additive(s, coded, AQZ_F32, 2, 0, false, (aqz_ref){AQZ_KIND_CODEBOOK, 0, 1, 0, 3}, 1, err);
}

static aqz_status reference_without_end(setup *s, aqz_error *err)
{
	return additive(
		s, coded, AQZ_F32, 2, 0, false, (aqz_ref){AQZ_KIND_CODEBOOK, 1, UINT32_MAX, 0, 3}, 1, err);
}

static aqz_status reference_for_some_rows(setup *s, aqz_error *err)
{
	return additive(
		s, coded, AQZ_F32, 2, 0, false, (aqz_ref){AQZ_KIND_CODEBOOK, s->codebook, 1, 0, 2}, 1, err);
}

static aqz_status leading_as_the_rank(setup *s, aqz_error *err)
{
	return additive(s, coded, AQZ_F32, 2, 2, false, good_ref(s), 1, err);
}

static aqz_status transposed_vector(setup *s, aqz_error *err)
{
	return additive(s, coded, AQZ_F32, 1, 0, true, good_ref(s), 1, err);
}

static aqz_status transposed_stack(setup *s, aqz_error *err)
{
	return additive(s, coded, AQZ_F32, 2, 1, true, good_ref(s), 1, err);
}

static aqz_status alias_of_nothing(setup *s, aqz_error *err)
{
	return aqz_writer_alias(s->w, "x", 1, 2, err);
}

static aqz_status alias_of_bad_name(setup *s, aqz_error *err)
{
	static char long_name[66000];

	memset(long_name, 'x', sizeof long_name);
	ck_assert_int_eq(aqz_writer_alias(s->w, "", 0, 0, err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_writer_alias(s->w, "\xff", 1, 0, err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_writer_alias(s->w, long_name, 1025, 0, err), AQZ_E_ARGUMENT);
	return aqz_writer_alias(s->w, long_name, sizeof long_name, 0, err);
}

static aqz_status alias_of_a_name_that_is_there(setup *s, aqz_error *err)
{
	return aqz_writer_alias(s->w, "b", 1, 0, err);
}

static aqz_status put_without_a_section(setup *s, aqz_error *err)
{
	return aqz_writer_put(s->w, "x", 1, err);
}

static aqz_status put_too_much(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_U8, 1, 3, 0);
	aqz_status status;

	ck_assert_int_eq(declare(s, &t, err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(s->w, "12", 2, err), AQZ_OK);
	status = aqz_writer_put(s->w, "34", 2, err);
	(void)aqz_writer_put(s->w, "3", 1, err);
	return status;
}

static aqz_status declare_before_all_is_put(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_U8, 1, 3, 0), u = tensor("y", AQZ_U8, 1, 0, 0);
	aqz_status status;

	ck_assert_int_eq(declare(s, &t, err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_put(s->w, "12", 2, err), AQZ_OK);
	ck_assert_int_eq(param(s, AQZ_KIND_SIGNS, AQZ_U8, 1, 1, err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(file(s, AQZ_KIND_FILE, "f", err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_writer_alias(s->w, "z", 1, 0, err), AQZ_E_ARGUMENT);
	status = declare(s, &u, err);
	(void)aqz_writer_put(s->w, "3", 1, err);
	return status;
}

/* Codes of 3 rows in a block of 64: row 3 is padding. */
static aqz_status codes_in_the_padding(setup *s, aqz_error *err)
{
	ck_assert_int_eq(additive(s, coded, AQZ_F32, 2, 0, false, good_ref(s), 1, err), AQZ_OK);
	return aqz_writer_put(s->w, "\x08\0\0\0\0\0\0\0", 8, err);
}

static aqz_additive matrix(void)
{
	static float codewords[4] = {1, 2, 3, 5}, scales[3] = {1, 2, 3};
	static uint8_t codes[16];

	return (aqz_additive){.scheme = coded,
		.rows = 3,
		.cols = 2,
		.code_rows = 3,
		.groups = 1,
		.codes = codes,
		.codes_bytes = 8,
		.codebook_dtype = AQZ_F32,
		.codebooks = codewords,
		.scale_dtype = AQZ_F32,
		.scales = scales};
}

static aqz_status additive_of_another_shape(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_F32, 2, 4, 2);
	const aqz_additive a = matrix();

	return aqz_writer_additive(s->w, &t, &a, err);
}

static aqz_status additive_with_fewer_codes(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_F32, 2, 3, 4);
	aqz_additive a = matrix();

	return aqz_writer_additive(s->w, &t, &a, err);
}

static aqz_status additive_with_more_codes(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_F32, 2, 3, 2);
	aqz_additive a = matrix();

	a.codes_bytes = 9;
	return aqz_writer_additive(s->w, &t, &a, err);
}

static aqz_status additive_of_integer_scales(setup *s, aqz_error *err)
{
	const aqz_tensor_desc t = tensor("x", AQZ_F32, 2, 3, 2);
	aqz_additive a = matrix();

	a.scale_dtype = AQZ_I8;
	return aqz_writer_additive(s->w, &t, &a, err);
}

static const struct {
	const char *name;
	aqz_status (*call)(setup *s, aqz_error *err);
} wrong[] = {
#define WRONG(call) \
	{               \
#call, call \
	}
	WRONG(param_of_no_kind),
	WRONG(param_that_is_a_file),
	WRONG(param_of_nothing),
	WRONG(param_of_no_dtype),
	WRONG(param_of_half_a_byte),
	WRONG(param_too_large_to_be),
	WRONG(file_of_no_kind),
	WRONG(file_of_bad_name),
	WRONG(file_of_a_name_that_is_there),
	WRONG(tensor_of_another_version),
	WRONG(tensor_of_bad_name),
	WRONG(tensor_of_a_name_that_is_there),
	WRONG(tensor_of_rank_9),
	WRONG(tensor_of_no_dtype),
	WRONG(tensor_too_large_to_be),
	WRONG(tensor_of_half_a_byte),
	WRONG(tensor_longer_than_a_file),
	WRONG(tensor_of_no_codec),
	WRONG(scheme_of_zeros),
	WRONG(scheme_too_large),
	WRONG(scheme_without_its_codebook),
	WRONG(scheme_of_integers),
	WRONG(codebook_of_another_size),
	WRONG(reference_to_nothing),
	WRONG(reference_to_a_file),
	WRONG(reference_without_end),
	WRONG(reference_for_some_rows),
	WRONG(leading_as_the_rank),
	WRONG(transposed_vector),
	WRONG(transposed_stack),
	WRONG(alias_of_nothing),
	WRONG(alias_of_bad_name),
	WRONG(alias_of_a_name_that_is_there),
	WRONG(put_without_a_section),
	WRONG(put_too_much),
	WRONG(declare_before_all_is_put),
	WRONG(codes_in_the_padding),
	WRONG(additive_of_another_shape),
	WRONG(additive_with_fewer_codes),
	WRONG(additive_with_more_codes),
	WRONG(additive_of_integer_scales),
};

START_TEST(a_wrong_call_is_refused)
{
	const aqz_tensor_desc t = tensor("last", AQZ_U8, 1, 2, 0);
	const size_t before = heap_now();
	aqz_error err = {.status = AQZ_OK};
	aqz_status status, next;
	setup s;

	open_writer(&s);
	status = wrong[_i].call(&s, &err);
	ck_assert_msg(status == AQZ_E_ARGUMENT, "%s: %s: %s: %s", wrong[_i].name,
		aqz_status_name(status), err.where, err.text);
	next = declare(&s, &t, &err);
	if (next == AQZ_OK) { /* it goes on */
		ck_assert_int_eq(aqz_writer_put(s.w, "12", 2, &err), AQZ_OK);
		ck_assert_int_eq(aqz_writer_finish(s.w, NULL, &err), AQZ_OK);
		ck_assert_int_eq(reader_verdict(&s.f, AQZ_VERIFY_FULL, 0, &err), AQZ_OK);
		ck_assert_int_eq(stream_verdict(&s.f, 0, 0, &err), AQZ_OK);
	} else { /* it is over */
		const size_t n = s.f.n;

		ck_assert_int_eq(next, status);
		ck_assert_int_eq(aqz_writer_put(s.w, "12", 2, &err), status);
		ck_assert_int_eq(param(&s, AQZ_KIND_SIGNS, AQZ_U8, 1, 1, &err), status);
		ck_assert_int_eq(file(&s, AQZ_KIND_FILE, "f", &err), status);
		ck_assert_int_eq(aqz_writer_alias(s.w, "z", 1, 0, &err), status);
		ck_assert_int_eq(aqz_writer_finish(s.w, NULL, &err), status);
		ck_assert_uint_eq(s.f.n, n); /* and nothing was written */
	}
	printf("%s: %s\n", wrong[_i].name, next == AQZ_OK ? "goes on" : "ends");
	aqz_writer_close(s.w);
	memory_free(&s.f);
	ck_assert_uint_eq(heap_now(), before);
}
END_TEST

START_TEST(wrong_options)
{
	aqz_writer_options good = {.struct_size = sizeof good}, o;
	memory_file f = {0};
	aqz_error err;
	aqz_writer *w;
	aqz_io io, none;

	memory_io(&io, &f);
	none = io;
	none.write = NULL;
	ck_assert_int_eq(aqz_writer_open(&w, NULL, &good, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_writer_open(&w, &none, &good, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_writer_open(&w, &io, NULL, &err), AQZ_E_ARGUMENT);
#define WITH(field, value)                                                    \
	do {                                                                      \
		o = good;                                                             \
		o.field = (value);                                                    \
		ck_assert_int_eq(aqz_writer_open(&w, &io, &o, &err), AQZ_E_ARGUMENT); \
		ck_assert_ptr_null(w);                                                \
	} while (0)
	WITH(struct_size, 8);
	WITH(alignment, 128);
	WITH(alignment, 1);
	WITH(effort, 10);
	WITH(effort, -1);
	WITH(chunk_bytes, (UINT64_C(1) << 26) + 1);
	ck_assert_uint_eq(f.n, 0);
	memory_free(&f);
}
END_TEST

START_TEST(nothing_follows_the_end)
{
	const aqz_tensor_desc t = tensor("x", AQZ_U8, 1, 3, 0);
	aqz_error err;
	uint64_t n_bytes;
	setup s;

	open_writer(&s);
	ck_assert_int_eq(declare(&s, &t, &err), AQZ_OK);
	ck_assert_int_eq(aqz_writer_finish(s.w, NULL, &err), AQZ_E_ARGUMENT);
	aqz_writer_close(s.w);
	memory_free(&s.f);
	open_writer(&s);
	ck_assert_int_eq(aqz_writer_finish(s.w, &n_bytes, &err), AQZ_OK);
	ck_assert_uint_eq(n_bytes, s.f.n);
	ck_assert_int_eq(aqz_writer_finish(s.w, &n_bytes, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(declare(&s, &t, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_writer_put(s.w, "", 0, &err), AQZ_E_ARGUMENT);
	ck_assert_uint_eq(n_bytes, s.f.n);
	aqz_writer_close(s.w);
	ck_assert_int_eq(reader_verdict(&s.f, AQZ_VERIFY_FULL, 0, &err), AQZ_OK);
	memory_free(&s.f);
}
END_TEST

TCase *limits_misuse(void)
{
	TCase *tc = tcase_create("misuse");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, a_wrong_call_is_refused, 0, sizeof wrong / sizeof *wrong);
	tcase_add_test(tc, wrong_options);
	tcase_add_test(tc, nothing_follows_the_end);
	return tc;
}
