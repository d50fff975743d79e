/* SPDX-License-Identifier: Apache-2.0 */
/* The safetensors header, read and written; damage, size and memory. */
#include <stdio.h>
#include <time.h>

#include "tests/safetensors_file.h"

static void check_same_table(const aqz_safetensors *a, const aqz_safetensors *b)
{
	ck_assert_uint_eq(a->n_tensors, b->n_tensors);
	for (uint32_t i = 0; i < a->n_tensors; i++) {
		const aqz_source_tensor *x = &a->tensors[i], *y = &b->tensors[i];

		ck_assert_uint_eq(x->name_bytes, y->name_bytes);
		ck_assert_str_eq(x->name, y->name);
		ck_assert_int_eq(x->dtype, y->dtype);
		ck_assert_uint_eq(x->rank, y->rank);
		ck_assert_mem_eq(x->shape, y->shape, sizeof x->shape);
		ck_assert_uint_eq(x->n_bytes, y->n_bytes);
	}
	ck_assert_int_eq(a->metadata == NULL, b->metadata == NULL);
}

/* ---- Accepted */

static const char two_tensors[] =
	"{\"__metadata__\":{\"format\":\"pt\"},"
	"\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
	"\"a.weight\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]}}   ";

START_TEST(reads_a_header)
{
	aqz_safetensors s;
	aqz_error err;
	uint8_t *file;
	const size_t n = make_file(&file, two_tensors, strlen(two_tensors), 32);

	ck_assert_int_eq(aqz_safetensors_parse(&s, file, n, n, 0, &err), AQZ_OK);
	check_invariants(&s, n);
	ck_assert_uint_eq(s.n_tensors, 2);
	ck_assert_str_eq(s.tensors[0].name, "a.weight");
	ck_assert_int_eq(s.tensors[0].dtype, AQZ_BF16);
	ck_assert_uint_eq(s.tensors[0].rank, 1);
	ck_assert_uint_eq(s.tensors[0].shape[0], 4);
	ck_assert_str_eq(s.tensors[1].name, "b");
	ck_assert_uint_eq(s.tensors[1].n_elements, 6);
	ck_assert_uint_eq(s.tensors[1].offset, s.header_bytes + 8);
	ck_assert_str_eq(s.metadata, "{\"format\":\"pt\"}");
	aqz_safetensors_free(&s);
	/* The header alone is enough, and the error may be left out. */
	ck_assert_int_eq(aqz_safetensors_parse(&s, file, 8 + strlen(two_tensors), n, 0, NULL), AQZ_OK);
	aqz_safetensors_free(&s);
	aqz_safetensors_free(&s); /* zeroed: harmless */
	free(file);
}
END_TEST

static const struct {
	const char *name, *json;
	size_t data_bytes;
	uint32_t n_tensors;
	const char *first; /* the name of the first tensor */
} good[] = {
	{"no tensors", "{}", 0, 0, NULL},
	{"metadata only", "{\"__metadata__\":{}}", 0, 0, NULL},
	{"rank 0", "{\"x\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, 1, "x"},
	{"rank 8", "{\"x\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,2],\"data_offsets\":[0,2]}}", 2,
		1, "x"},
	{"white space",
		"{ \n\t\"x\" : { \"dtype\" : \"U8\" ,\r\n \"shape\" : [ 1 ] , \"data_offsets\" : [ 0 , 1 ] "
		"} } \n\t\r ",
		1, 1, "x"},
	{"keys in any order", "{\"x\":{\"data_offsets\":[0,1],\"shape\":[1],\"dtype\":\"U8\"}}", 1, 1,
		"x"},
	{"empty tensors before the one at their place, in the order of the text",
		"{\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
		"\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[0,0]},"
		"\"e\":{\"dtype\":\"F4\",\"shape\":[0],\"data_offsets\":[1,1]}}",
		1, 4, "z"},
	{"4-bit elements", "{\"x\":{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[0,3]}}", 3, 1, "x"},
	{"6-bit elements", "{\"x\":{\"dtype\":\"F6_E3M2\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3, 1,
		"x"},
	{"a UTF-8 name",
		"{\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
		"offsets\":[0,"
		"1]}}",
		1, 1, "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"},
	{"an escaped name", "{\"\\u00e9\\ud83d\\ude00\\/\\\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
		1, 1, "\xc3\xa9\xf0\x9f\x98\x80/\""},
	{"escaped keys", "{\"x\":{\"\\u0064type\":\"\\u00558\",\"shape\":[1],\"data_offsets\":[0,1]}}",
		1, 1, "x"},
	{"a zero beside large dimensions",
		"{\"x\":{\"dtype\":\"U8\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]}}", 0, 1,
		"x"},
};

START_TEST(accepts)
{
	aqz_safetensors s, again;
	aqz_error err = {0};
	uint8_t *file, *header;
	size_t header_bytes;
	const size_t n = make_file(&file, good[_i].json, strlen(good[_i].json), good[_i].data_bytes);
	const aqz_status status = aqz_safetensors_parse(&s, file, n, n, 0, &err);

	ck_assert_msg(status == AQZ_OK, "%s: %s: %s", good[_i].name, err.where, err.text);
	check_invariants(&s, n);
	ck_assert_uint_eq(s.n_tensors, good[_i].n_tensors);
	if (good[_i].first != NULL)
		ck_assert_str_eq(s.tensors[0].name, good[_i].first);
	ck_assert_int_eq(
		aqz_safetensors_header(&header, &header_bytes, s.tensors, s.n_tensors, s.metadata, &err),
		AQZ_OK);
	ck_assert_uint_eq(header_bytes % 8, 0);
	ck_assert_int_eq(
		aqz_safetensors_parse(&again, header, header_bytes, header_bytes + s.data_bytes, 0, &err),
		AQZ_OK);
	check_same_table(&s, &again);
	free(header);
	aqz_safetensors_free(&again);
	aqz_safetensors_free(&s);
	free(file);
}
END_TEST

START_TEST(limits_of_names)
{
	aqz_safetensors s;
	aqz_error err;

	for (size_t length = AQZ_MAX_NAME_BYTES; length <= AQZ_MAX_NAME_BYTES + 1; length++) {
		char json[2048], name[AQZ_MAX_NAME_BYTES + 2];
		uint8_t *file;
		size_t n;

		memset(name, 'n', length);
		name[length] = '\0';
		snprintf(json, sizeof json,
			"{\"%s\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", name);
		n = make_file(&file, json, strlen(json), 0);
		ck_assert_int_eq(parse_exact(&s, file, n, n, &err),
			length <= AQZ_MAX_NAME_BYTES ? AQZ_OK : AQZ_E_UNSUPPORTED);
		if (length <= AQZ_MAX_NAME_BYTES)
			ck_assert_str_eq(s.tensors[0].name, name);
		aqz_safetensors_free(&s);
		free(file);
	}
}
END_TEST

START_TEST(where_keeps_the_end_of_long_names)
{
	char where[AQZ_WHERE_BYTES], name[200];

	aqz_safetensors_where(where, "a", 1, "");
	ck_assert_str_eq(where, "tensor[a]");
	memset(name, 'x', sizeof name);
	memcpy(name + sizeof name - 7, ".weight", 7);
	for (size_t n = 0; n <= sizeof name; n++) {
		aqz_safetensors_where(where, name + sizeof name - n, n, ".data_offsets");
		ck_assert_uint_lt(strlen(where), AQZ_WHERE_BYTES);
		if (n >= 7)
			ck_assert_ptr_nonnull(strstr(where, ".weight].data_offsets"));
		ck_assert_int_eq(n > 42, strstr(where, "tensor[...") != NULL);
	}
	for (size_t i = 0; i < sizeof name; i += 2)
		memcpy(name + i, "\xc3\xa9", 2);
	for (size_t n = 2; n <= sizeof name; n += 2) {
		aqz_safetensors_where(where, name, n, ".shape");
		ck_assert(aqz_text_ok(where, strlen(where)));
	}
}
END_TEST

/* ---- Damage */

START_TEST(all_truncations)
{
	aqz_safetensors s;
	aqz_error err;
	uint8_t *file;
	const size_t n = make_file(&file, two_tensors, strlen(two_tensors), 32);

	for (size_t cut = 0; cut < n; cut++)
		ck_assert_int_eq(parse_exact(&s, file, cut, cut, &err), AQZ_E_TRUNCATED);
	free(file);
}
END_TEST

START_TEST(all_byte_values)
{
	aqz_safetensors s;
	aqz_error err;
	uint8_t *file;
	unsigned accepted = 0;
	const size_t n = make_file(&file, two_tensors, strlen(two_tensors), 32);

	for (size_t at = 0; at < n - 32; at++) {
		const uint8_t was = file[at];

		for (unsigned value = 0; value < 256; value++) {
			aqz_status status;

			file[at] = (uint8_t)value;
			status = parse_exact(&s, file, n, n, &err);
			ck_assert_int_ne(status, AQZ_E_ARGUMENT);
			if (status == AQZ_OK) {
				check_invariants(&s, n);
				aqz_safetensors_free(&s);
				accepted++;
			}
		}
		file[at] = was;
	}
	/* Other letters of names and metadata, other white space: not everything can be noticed. */
	ck_assert_uint_gt(accepted, n - 32);
	free(file);
}
END_TEST

/* ---- Size */

/* Fills names and tensors: n of 4 bytes each. */
static aqz_source_tensor *many_tensors(char (**names)[64], uint32_t n)
{
	aqz_source_tensor *tensors = calloc(n, sizeof *tensors);

	*names = calloc(n, sizeof **names);
	for (uint32_t i = 0; i < n; i++) {
		tensors[i].name_bytes = (size_t)snprintf((*names)[i], sizeof **names,
			"model.layers.%u.mlp.experts.%u.down_proj.weight", i % 100, i / 100);
		tensors[i].name = (*names)[i];
		tensors[i].dtype = AQZ_F32;
		tensors[i].rank = 2;
		tensors[i].shape[0] = tensors[i].shape[1] = 1;
		tensors[i].n_elements = 1;
		tensors[i].n_bytes = 4;
	}
	return tensors;
}

START_TEST(a_hundred_thousand_tensors)
{
	const uint32_t count = 100000;
	aqz_source_tensor *tensors;
	char(*names)[64];
	aqz_safetensors s;
	aqz_error err;
	uint8_t *header;
	size_t n;
	clock_t start;
	double write_s, parse_s;

	tensors = many_tensors(&names, count);
	start = clock();
	ck_assert_int_eq(aqz_safetensors_header(&header, &n, tensors, count, NULL, &err), AQZ_OK);
	write_s = (double)(clock() - start) / CLOCKS_PER_SEC;
	start = clock();
	ck_assert_int_eq(aqz_safetensors_parse(&s, header, n, n + 4 * count, 0, &err), AQZ_OK);
	parse_s = (double)(clock() - start) / CLOCKS_PER_SEC;
	printf("%u tensors: header of %zu bytes written in %.2f s, parsed in %.2f s\n", count, n,
		write_s, parse_s);
	ck_assert_uint_eq(s.n_tensors, count);
	check_invariants(&s, n + 4 * count);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_str_eq(s.tensors[i].name, names[i]);
	/* Sanitizers and slow machines included; a quadratic step would need minutes. */
	ck_assert(parse_s < 20 && write_s < 20);
	aqz_safetensors_free(&s);
	free(header);
	free(tensors);
	free(names);
}
END_TEST

START_TEST(memory_limit)
{
	const uint32_t count = 1000;
	aqz_source_tensor *tensors;
	char(*names)[64];
	aqz_safetensors s;
	aqz_error err;
	uint8_t *header;
	uint64_t limit;
	unsigned refused = 0;
	size_t n;

	tensors = many_tensors(&names, count);
	ck_assert_int_eq(
		aqz_safetensors_header(&header, &n, tensors, count, "{\"a\":\"b\"}", &err), AQZ_OK);
	for (limit = 1;; limit += limit / 4 + 1) {
		const aqz_status status = aqz_safetensors_parse(&s, header, n, n + 4 * count, limit, &err);

		if (status == AQZ_OK)
			break;
		ck_assert_int_eq(status, AQZ_E_MEMLIMIT);
		refused++;
	}
	ck_assert_uint_gt(refused, 10);
	ck_assert_uint_le(aqz_safetensors_memory(&s), limit);
	ck_assert_uint_le(limit, 4 * n); /* no tree of the whole header */
	aqz_safetensors_free(&s);
	free(header);
	free(tensors);
	free(names);
}
END_TEST

/* The most hostile texts for their size take no more memory than a stated multiple of it. */
START_TEST(hostile_texts_stay_small)
{
	static const struct {
		const char *begin, *again, *end;
	} cases[] = {
		{"{\"x\":{\"shape\":[0", ",0", "]}}"},
		{"{\"x\":{\"shape\":[[]", ",[]", "]}}"},
		{"{\"x\":[{}", ",{}", "]}"},
		{"{\"x\":{}", ",\"x\":{}", "}"},
		{"{\"__metadata__\":{\"\":\"\"", ",\"\":\"\"", "}}"},
		{"{\"", "xxxx", "\":{}}"},
	};
	const unsigned repeats = 100000;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		aqz_buffer b = {0};
		aqz_safetensors s;
		aqz_error err;
		aqz_status status;

		aqz_buffer_add(&b, NULL, 8, NULL);
		aqz_buffer_add(&b, cases[i].begin, strlen(cases[i].begin), NULL);
		for (unsigned k = 0; k < repeats; k++)
			aqz_buffer_add(&b, cases[i].again, strlen(cases[i].again), NULL);
		aqz_buffer_add(&b, cases[i].end, strlen(cases[i].end), NULL);
		aqz_put64(b.data, b.n - 8);
		status = aqz_safetensors_parse(&s, b.data, b.n, b.n, i == 4 ? 80 * b.n : 20 * b.n, &err);
		ck_assert_msg(status == AQZ_E_CORRUPT || status == AQZ_E_UNSUPPORTED, "case %zu: %s", i,
			aqz_status_name(status));
		status = aqz_safetensors_parse(&s, b.data, b.n, b.n, 2000, &err);
		ck_assert_msg(
			status == AQZ_E_MEMLIMIT || status == AQZ_E_CORRUPT || status == AQZ_E_UNSUPPORTED,
			"case %zu: %s", i, aqz_status_name(status));
		aqz_buffer_free(&b);
	}
}
END_TEST

/* ---- Written */

START_TEST(round_trip_of_every_dtype)
{
	static const aqz_dtype dtypes[] = {AQZ_BOOL, AQZ_U8, AQZ_I8, AQZ_U16, AQZ_I16, AQZ_U32, AQZ_I32,
		AQZ_U64, AQZ_I64, AQZ_F16, AQZ_BF16, AQZ_F32, AQZ_F64, AQZ_C64, AQZ_F8_E5M2, AQZ_F8_E4M3,
		AQZ_F8_E8M0, AQZ_F8_E4M3FNUZ, AQZ_F8_E5M2FNUZ, AQZ_F6_E2M3, AQZ_F6_E3M2, AQZ_F4};
	enum { N = sizeof dtypes / sizeof *dtypes };
	aqz_source_tensor tensors[N] = {0};
	char names[N][32];
	aqz_safetensors s;
	aqz_error err;
	uint8_t *header;
	uint64_t data_bytes = 0;
	size_t n;

	for (uint32_t i = 0; i < N; i++) {
		snprintf(names[i], sizeof names[i], "\"%s\"\\\xc3\xa9/", aqz_dtype_name(dtypes[i]));
		tensors[i].name = names[i];
		tensors[i].name_bytes = strlen(names[i]);
		tensors[i].dtype = dtypes[i];
		tensors[i].rank = 1 + i % AQZ_MAX_RANK;
		for (uint32_t k = 0; k < tensors[i].rank; k++)
			tensors[i].shape[k] = k == 0 ? 8 : 1 + (i + k) % 3;
		ck_assert(aqz_shape_size(&tensors[i].n_elements, &tensors[i].n_bytes, tensors[i].shape,
			tensors[i].rank, tensors[i].dtype));
		data_bytes += tensors[i].n_bytes;
	}
	ck_assert_int_eq(
		aqz_safetensors_header(&header, &n, tensors, N, " { \"k\" : \"v\\n\\u0007\" } ", &err),
		AQZ_OK);
	ck_assert_uint_eq(n % 8, 0);
	ck_assert_uint_eq(aqz_get64(header), n - 8);
	ck_assert_int_eq(parse_exact(&s, header, n, n + data_bytes, &err), AQZ_OK);
	check_invariants(&s, n + data_bytes);
	ck_assert_uint_eq(s.n_tensors, N);
	for (uint32_t i = 0; i < N; i++) {
		ck_assert_str_eq(s.tensors[i].name, names[i]);
		ck_assert_int_eq(s.tensors[i].dtype, dtypes[i]);
		ck_assert_mem_eq(s.tensors[i].shape, tensors[i].shape, sizeof tensors[i].shape);
	}
	ck_assert_str_eq(s.metadata, "{\"k\":\"v\\n\\u0007\"}");
	aqz_safetensors_free(&s);
	free(header);
}
END_TEST

START_TEST(writer_refuses)
{
	const aqz_source_tensor sound = {.name = "x",
		.name_bytes = 1,
		.dtype = AQZ_F32,
		.rank = 1,
		.shape = {2},
		.n_elements = 2,
		.n_bytes = 8};
	static const char *const metadata[] = {"", "[]", "{", "{\"a\":1}", "{\"a\":\"\",\"a\":\"\"}",
		"{\"a\":{}}", "{\"a\":\"\\u0000\"}", "{} x"};
	aqz_source_tensor t[2] = {sound, sound};
	aqz_error err;
	uint8_t *header;
	size_t n;

#define REFUSED(count)                                                                           \
	ck_assert_int_eq(aqz_safetensors_header(&header, &n, t, count, NULL, &err), AQZ_E_ARGUMENT); \
	ck_assert_ptr_null(header);                                                                  \
	t[0] = t[1] = sound

	REFUSED(2); /* the same name twice */
	REFUSED(AQZ_MAX_TENSORS + 1);
	t[0].name_bytes = 0;
	REFUSED(1);
	t[0].name = NULL;
	REFUSED(1);
	t[0].name = "\n";
	REFUSED(1);
	t[0].name = "\xff";
	REFUSED(1);
	t[0].name = AQZ_SAFETENSORS_METADATA;
	t[0].name_bytes = strlen(t[0].name);
	REFUSED(1);
	t[0].dtype = (aqz_dtype)99;
	REFUSED(1);
	t[0].rank = 9;
	REFUSED(1);
	t[0].n_bytes = 9;
	REFUSED(1);
	t[0].shape[0] = UINT64_C(1) << 62;
	REFUSED(1);
	t[0].shape[0] = UINT64_C(1) << 63;
	REFUSED(1);
	/* Each fits, both together do not. */
	t[0].name = "y";
	t[0].dtype = t[1].dtype = AQZ_U8;
	t[0].shape[0] = t[1].shape[0] = t[0].n_bytes = t[1].n_bytes = UINT64_C(1) << 62;
	REFUSED(2);
	for (size_t i = 0; i < sizeof metadata / sizeof *metadata; i++)
		ck_assert_int_eq(
			aqz_safetensors_header(&header, &n, t, 1, metadata[i], &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_safetensors_header(NULL, &n, t, 1, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_safetensors_header(&header, &n, NULL, 1, NULL, &err), AQZ_E_ARGUMENT);
	ck_assert_int_eq(aqz_safetensors_header(&header, &n, t, 1, NULL, &err), AQZ_OK);
	free(header);
#undef REFUSED
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("safetensors");
	TCase *tc = tcase_create("header");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, reads_a_header);
	tcase_add_loop_test(tc, accepts, 0, sizeof good / sizeof *good);
	tcase_add_test(tc, limits_of_names);
	tcase_add_test(tc, where_keeps_the_end_of_long_names);
	tcase_add_test(tc, all_truncations);
	tcase_add_test(tc, all_byte_values);
	tcase_add_test(tc, a_hundred_thousand_tensors);
	tcase_add_test(tc, memory_limit);
	tcase_add_test(tc, hostile_texts_stay_small);
	tcase_add_test(tc, round_trip_of_every_dtype);
	tcase_add_test(tc, writer_refuses);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
