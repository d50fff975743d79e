/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of inputs: files good and bad, reading a matrix or a vector for rows, energies in the matrix's metric. */
#include <math.h>

#include "interop/plan.h"
#include "tests/model_folder.h"

#define MAX_MATRICES 8

/* A file of matrices, or of vectors [cols] where rows is 0; dtype F32 unless said otherwise. */
typedef struct matrix {
	const char *name;
	uint64_t rows, cols;
	aqz_dtype dtype;
	const void *values; /* NULL: the identity, or zeros */
} matrix;

static void put_stats(const char *file, const matrix *all, uint32_t n, const char *metadata)
{
	aqz_source_tensor tensors[MAX_MATRICES] = {0};
	aqz_error err;
	uint8_t *header;
	size_t header_bytes;
	FILE *out = fopen(in_root(file), "wb");

	ck_assert_ptr_nonnull(out);
	for (uint32_t i = 0; i < n; i++) {
		tensors[i] = (aqz_source_tensor){.name = all[i].name,
			.name_bytes = strlen(all[i].name),
			.dtype = all[i].dtype != 0 ? all[i].dtype : AQZ_F32,
			.rank = all[i].rows == 0 ? 1 : 2,
			.shape = {all[i].rows, all[i].cols}};
		if (all[i].rows == 0)
			tensors[i].shape[0] = all[i].cols;
		ck_assert(aqz_shape_size(&tensors[i].n_elements, &tensors[i].n_bytes, tensors[i].shape,
			tensors[i].rank, tensors[i].dtype));
	}
	ck_assert_int_eq(
		aqz_safetensors_header(&header, &header_bytes, tensors, n, metadata, &err), AQZ_OK);
	ck_assert_uint_eq(fwrite(header, 1, header_bytes, out), header_bytes);
	for (uint32_t i = 0; i < n; i++) {
		float *values = calloc(tensors[i].n_elements + 1, sizeof(double));

		for (uint64_t k = 0; k < all[i].rows && k < all[i].cols; k++)
			values[k * all[i].cols + k] = 1;
		if (all[i].values != NULL)
			memcpy(values, all[i].values, tensors[i].n_bytes);
		ck_assert_uint_eq(fwrite(values, 1, tensors[i].n_bytes, out), tensors[i].n_bytes);
		free(values);
	}
	fclose(out);
	free(header);
}

static aqz_stats *open_stats(const char *file)
{
	aqz_stats *s;
	aqz_error err = {0};

	ck_assert_msg(
		aqz_stats_open(&s, in_root(file), 0, &err) == AQZ_OK, "%s: %s", err.where, err.text);
	return s;
}

START_TEST(names_and_aliases)
{
	const matrix all[] = {{"b.weight", 3, 3, 0, NULL}, {"a.weight", 2, 2, 0, NULL}};
	const aqz_source_tensor *a, *b;
	aqz_stats *s;
	uint64_t hash[2], other[2];

	put_stats("s", all, 2,
		"{\"tokens\":\"18446744073709\",\"alias:c\":\"a.weight\",\"alias:\xc3\xa9\":\"b.weight\","
		"\"alias:a\":\"b.weight\",\"format\":\"pt\",\"alias\":\"nothing\"}");
	s = open_stats("s");
	ck_assert_uint_eq(aqz_stats_tokens(s), 18446744073709);
	a = aqz_stats_find(s, "a.weight", 8);
	b = aqz_stats_find(s, "b.weight", 8);
	ck_assert(a != NULL && b != NULL && a->shape[0] == 2 && b->shape[0] == 3);
	ck_assert_ptr_eq(aqz_stats_find(s, "c", 1), a);
	ck_assert_ptr_eq(aqz_stats_find(s, "\xc3\xa9", 2), b);
	ck_assert_ptr_eq(aqz_stats_find(s, "a", 1), b);
	ck_assert_ptr_null(aqz_stats_find(s, "a.weigh", 7));
	ck_assert_ptr_null(aqz_stats_find(s, "d", 1));
	ck_assert_ptr_null(aqz_stats_find(s, "", 0));
	ck_assert_int_eq(aqz_stats_hash(hash, s, NULL), AQZ_OK);
	aqz_stats_close(s);
	/* The hash is of the bytes: the same file again, and one with another number of tokens. */
	s = open_stats("s");
	ck_assert_int_eq(aqz_stats_hash(other, s, NULL), AQZ_OK);
	ck_assert(hash[0] == other[0] && hash[1] == other[1]);
	aqz_stats_close(s);
	put_stats("s", all, 2, "{\"tokens\":\"18446744073708\"}");
	s = open_stats("s");
	ck_assert_int_eq(aqz_stats_hash(other, s, NULL), AQZ_OK);
	ck_assert(hash[0] != other[0] && hash[1] != other[1]);
	aqz_stats_close(s);
	/* A file without metadata or matrices is none of ours to refuse. */
	put_stats("s", all, 0, NULL);
	s = open_stats("s");
	ck_assert_uint_eq(aqz_stats_tokens(s), 0);
	ck_assert_ptr_null(aqz_stats_find(s, "a.weight", 8));
	aqz_stats_close(s);
}
END_TEST

/* Each fault of a file has a status, a place and a text of its own. */
START_TEST(files_that_are_refused)
{
	static const struct {
		matrix first;
		const char *metadata;
		aqz_status status;
		const char *where, *text;
	} bad[] = {
		{{"a", 2, 2, AQZ_F16, NULL}, NULL, AQZ_E_UNSUPPORTED, "stats[a]", "F32, not F16"},
		{{"a", 2, 2, AQZ_F64, NULL}, NULL, AQZ_E_UNSUPPORTED, "stats[a]", "F32, not F64"},
		{{"a", 2, 3, 0, NULL}, NULL, AQZ_E_CORRUPT, "stats[a]", "square"},
		{{"a", 0, 4, 0, NULL}, NULL, AQZ_E_CORRUPT, "stats[a]", "square"},
		{{"a", 0, 4, AQZ_U64, NULL}, NULL, AQZ_E_UNSUPPORTED, "stats[a]", "F32, not U64"},
		{{".row_importance", 0, 4, 0, NULL}, NULL, AQZ_E_CORRUPT, "stats[.row_importance]", "square"},
		{{"xrow_importance", 0, 4, 0, NULL}, NULL, AQZ_E_CORRUPT, "stats[xrow_importance]", "square"},
		{{"x.row_importances", 0, 4, 0, NULL}, NULL, AQZ_E_CORRUPT, "stats[x.row_importances]",
			"square"},
		{{"x.row_importance", 2, 2, 0, NULL}, NULL, AQZ_E_CORRUPT, "stats[x.row_importance]",
			"row_importance is [outputs]"},
		{{"x.row_importance", 0, 0, 0, NULL}, NULL, AQZ_E_CORRUPT, "stats[x.row_importance]",
			"row_importance is [outputs]"},
		{{"x.row_importance", 0, 4, AQZ_F64, NULL}, NULL, AQZ_E_UNSUPPORTED,
			"stats[x.row_importance]", "is F32, not F64"},
		{{"x.token_count", 0, 4, 0, NULL}, NULL, AQZ_E_UNSUPPORTED, "stats[x.token_count]",
			"is U64, not F32"},
		{{"x.token_count", 0, 4, AQZ_I64, NULL}, NULL, AQZ_E_UNSUPPORTED, "stats[x.token_count]",
			"is U64, not I64"},
		{{"x.token_count", 2, 1, AQZ_U64, NULL}, NULL, AQZ_E_CORRUPT, "stats[x.token_count]",
			"token_count is [outputs]"},
		{{"b.row_importance", 0, 4, 0, NULL}, "{\"alias:x\":\"b.row_importance\"}", AQZ_E_CORRUPT,
			"stats[x]", "not there"},
		{{"a", 2, 2, 0, NULL}, "{\"tokens\":\"\"}", AQZ_E_CORRUPT, "__metadata__.tokens", "positive"},
		{{"a", 2, 2, 0, NULL}, "{\"tokens\":\"0\"}", AQZ_E_CORRUPT, "__metadata__.tokens", "positive"},
		{{"a", 2, 2, 0, NULL}, "{\"tokens\":\"-1\"}", AQZ_E_CORRUPT, "__metadata__.tokens",
			"positive"},
		{{"a", 2, 2, 0, NULL}, "{\"tokens\":\"1e3\"}", AQZ_E_CORRUPT, "__metadata__.tokens",
			"positive"},
		{{"a", 2, 2, 0, NULL}, "{\"tokens\":\"9223372036854775808\"}", AQZ_E_CORRUPT,
			"__metadata__.tokens", "positive"},
		{{"a", 2, 2, 0, NULL}, "{\"tokens\":\"99999999999999999999999\"}", AQZ_E_CORRUPT,
			"__metadata__.tokens", "positive"},
		{{"a", 2, 2, 0, NULL}, "{\"alias:x\":\"y\"}", AQZ_E_CORRUPT, "stats[x]", "not there"},
		{{"a", 2, 2, 0, NULL}, "{\"alias:x\":\"x\"}", AQZ_E_CORRUPT, "stats[x]", "of an alias"},
		{{"a", 2, 2, 0, NULL}, "{\"alias:x\":\"y\",\"alias:y\":\"a\"}", AQZ_E_CORRUPT, "stats[x]",
			"of an alias"},
		{{"a", 2, 2, 0, NULL}, "{\"alias:a\":\"b\"}", AQZ_E_CORRUPT, "stats[a]", "of its own"},
		{{"a", 2, 2, 0, NULL}, "{\"alias:\":\"b\"}", AQZ_E_CORRUPT, "stats[]", "no possible name"},
		{{"a", 2, 2, 0, NULL}, "{\"alias:x\\u001b\":\"b\"}", AQZ_E_CORRUPT, "stats[x?]",
			"no possible name"},
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const matrix all[] = {bad[i].first, {"b", 2, 2, 0, NULL}};
		aqz_error err = {0};
		aqz_stats *s = (aqz_stats *)&s;

		put_stats("s", all, 2, bad[i].metadata);
		ck_assert_int_eq(aqz_stats_open(&s, in_root("s"), 0, &err), bad[i].status);
		ck_assert_ptr_null(s);
		ck_assert_str_eq(err.where, bad[i].where);
		ck_assert_msg(strstr(err.text, bad[i].text) != NULL, "%zu: %s", i, err.text);
	}
	put_text("config.json", "{}");
	put_text("model.safetensors", "no such thing");
	aqz_stats *s;
	aqz_error err;
	ck_assert_int_ne(aqz_stats_open(&s, in_root("model.safetensors"), 0, &err), AQZ_OK);
	ck_assert_int_eq(aqz_stats_open(&s, in_root("nothing"), 0, &err), AQZ_E_NOT_FOUND);
	ck_assert_int_eq(aqz_stats_open(NULL, in_root("nothing"), 0, &err), AQZ_E_ARGUMENT);
	const matrix one = {"b", 2, 2, 0, NULL};
	put_stats("model.safetensors", &one, 1, NULL);
	ck_assert_int_eq(aqz_stats_open(&s, root, 0, &err), AQZ_E_FORMAT);
	ck_assert_int_eq(aqz_stats_open(&s, in_root("model.safetensors"), 600, &err), AQZ_E_MEMLIMIT);
	ck_assert_ptr_null(s);
}
END_TEST

/* Vectors beside matrices: each is found as what it is only. */
START_TEST(values_of_rows)
{
	enum { LONG = 9000 }; /* more than is read at a time */
	static const uint64_t counts[3] = {7, 0, UINT64_C(1) << 60};
	static const float few[2] = {0, 2.5f};
	float *many = calloc(LONG, sizeof *many);
	double *found = calloc(LONG, sizeof *found);
	const matrix all[] = {{"b.weight.row_importance", 0, LONG, 0, many},
		{"b.weight", 3, 3, 0, NULL}, {"e.token_count", 0, 3, AQZ_U64, counts},
		{"a.row_importance", 0, 2, 0, few}, {"a", 2, 2, 0, NULL}};
	const aqz_source_tensor *t;
	aqz_error err = {0};
	aqz_stats *s;
	char name[AQZ_MAX_NAME_BYTES];

	for (int i = 0; i < LONG; i++)
		many[i] = 0.25f * (float)i;
	put_stats("s", all, 5, "{\"tokens\":\"8\",\"alias:c\":\"b.weight\"}");
	s = open_stats("s");
	ck_assert_str_eq(aqz_stats_example(s), "a");
	ck_assert_ptr_nonnull(aqz_stats_find(s, "a", 1));
	ck_assert_ptr_eq(aqz_stats_find(s, "c", 1), aqz_stats_find(s, "b.weight", 8));
	ck_assert_ptr_null(aqz_stats_find(s, "a.row_importance", 16));
	ck_assert_ptr_null(aqz_stats_find(s, "b.weight.row_importance", 23));
	ck_assert_ptr_null(aqz_stats_find(s, "e.token_count", 13));
	ck_assert_ptr_null(aqz_stats_find(s, "e", 1));
	ck_assert_ptr_null(aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, "c", 1));
	ck_assert_ptr_null(aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, "e", 1));
	ck_assert_ptr_null(aqz_stats_find_rows(s, AQZ_TOKEN_COUNT, "a", 1));
	ck_assert_ptr_null(aqz_stats_find_rows(s, 0, "a", 1));
	memset(name, 'a', sizeof name);
	ck_assert_ptr_null(aqz_stats_find_rows(s, AQZ_TOKEN_COUNT, name, sizeof name));
	t = aqz_stats_find_rows(s, AQZ_TOKEN_COUNT, "e", 1);
	ck_assert(t != NULL && t->shape[0] == 3);
	ck_assert_int_eq(aqz_stats_read_rows(found, s, t, &err), AQZ_OK);
	ck_assert(found[0] == 7 && found[1] == 0 && found[2] == 0x1p60);
	t = aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, "a", 1);
	ck_assert(t != NULL && t->shape[0] == 2);
	ck_assert_int_eq(aqz_stats_read_rows(found, s, t, &err), AQZ_OK);
	ck_assert(found[0] == 0 && found[1] == 2.5);
	t = aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, "b.weight", 8);
	ck_assert(t != NULL && t->shape[0] == LONG);
	ck_assert_int_eq(aqz_stats_read_rows(found, s, t, &err), AQZ_OK);
	for (int i = 0; i < LONG; i++)
		ck_assert(found[i] == (double)many[i]);
	aqz_stats_close(s);

	static const struct {
		int at;
		float value;
	} bad[] = {{8999, -1e-30f}, {4096, NAN}, {0, INFINITY}, {17, -INFINITY}};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		many[bad[i].at] = bad[i].value;
		put_stats("s", all, 1, NULL);
		s = open_stats("s");
		ck_assert_str_eq(aqz_stats_example(s), "none at all");
		t = aqz_stats_find_rows(s, AQZ_ROW_IMPORTANCE, "b.weight", 8);
		ck_assert_int_eq(aqz_stats_read_rows(found, s, t, &err), AQZ_E_CORRUPT);
		ck_assert_str_eq(err.where, "stats[b.weight.row_importance]");
		ck_assert_uint_eq(err.offset, t->offset + 4 * (uint64_t)bad[i].at);
		many[bad[i].at] = 0;
		aqz_stats_close(s);
	}
	free(many);
	free(found);
}
END_TEST

static aqz_status read_one(float *h, const float *values, uint64_t n, aqz_error *err)
{
	const matrix m = {"a", n, n, 0, values};
	aqz_stats *s;
	aqz_status status;

	put_stats("s", &m, 1, NULL);
	s = open_stats("s");
	status = aqz_stats_read(h, s, aqz_stats_find(s, "a", 1), err);
	aqz_stats_close(s);
	return status;
}

/* 150 is more than two squares of 64. */
START_TEST(matrices_that_are_refused)
{
	enum { N = 150 };
	static const struct {
		int row, col;
		float add; /* to the value */
		const char *text;
	} bad[] = {{3, 140, NAN, "infinity or NaN at [3, 140]"},
		{149, 149, INFINITY, "NaN at [149, 149]"}, {0, 0, -INFINITY, "NaN at [0, 0]"},
		{70, 70, -10, "diagonal is negative at 70"}, {140, 3, 0.0035f, "not symmetric at [140, 3]"},
		{3, 140, 0.0035f, "not symmetric at [140, 3]"},
		{64, 63, -0.0035f, "not symmetric at [64, 63]"}, {140, 3, 0.0015f, NULL}};
	float *values = calloc(N * N, sizeof *values), *h = calloc(N * N, sizeof *h);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		aqz_error err = {0};
		aqz_status status;

		memset(values, 0, N * N * sizeof *values);
		for (int k = 0; k < N; k++)
			values[k * N + k] =
				k % 2 == 0 ? 1 : 9; /* the geometric mean of an even and an odd one is 3 */
		values[bad[i].row * N + bad[i].col] += bad[i].add;
		status = read_one(h, values, N, &err);
		if (bad[i].text == NULL) {
			ck_assert_int_eq(status, AQZ_OK);
			continue;
		}
		ck_assert_int_eq(status, AQZ_E_CORRUPT);
		ck_assert_str_eq(err.where, "stats[a]");
		ck_assert_msg(strstr(err.text, bad[i].text) != NULL, "%zu: %s", i, err.text);
		ck_assert_uint_ge(err.offset, 8);
	}
	free(values);
	free(h);
}
END_TEST

START_TEST(halves_become_their_mean)
{
	enum { N = 131 };
	float *values = calloc(N * N, sizeof *values), *h = calloc(N * N, sizeof *h);
	aqz_error err = {0};

	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			values[i * N + j] = i == j ? 3e30f : (float)(i * j % 7) + (i < j ? 2e26f : 0);
	values[5 * N + 5] = 0; /* a dead input: what is beside it must agree exactly */
	for (int i = 0; i < N; i++)
		values[i * N + 5] = values[5 * N + i] = 0;
	ck_assert_msg(read_one(h, values, N, &err) == AQZ_OK, "%s", err.text);
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			ck_assert(h[i * N + j] == h[j * N + i]);
			ck_assert(h[i * N + j] == 0.5f * values[i * N + j] + 0.5f * values[j * N + i]);
		}
	values[5 * N + 6] = 1e-30f;
	ck_assert_int_eq(read_one(h, values, N, &err), AQZ_E_CORRUPT);
	free(values);
	free(h);
}
END_TEST

/* ---- Energies */

static float noise(uint64_t i)
{
	i = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	i = (i ^ (i >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
	return (float)(i >> 40) / 8388608.0f - 1;
}

/* Sizes below, at and above those of the tiles; any number of threads gives the same bits. */
START_TEST(energies)
{
	static const uint64_t sizes[][2] = {{1, 1}, {3, 5}, {64, 256}, {65, 257}, {130, 600}, {700, 31}};

	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		const uint64_t rows = sizes[k][0], cols = sizes[k][1];
		float *w = malloc(rows * cols * sizeof *w), *h = malloc(cols * cols * sizeof *h);
		const aqz_layer layer = {w, rows, cols, h}, plain = {w, rows, cols, NULL};
		double expected = 0, squares = 0, found, again;

		for (uint64_t i = 0; i < rows * cols; i++)
			w[i] = noise(i);
		for (uint64_t i = 0; i < cols; i++)
			for (uint64_t j = 0; j <= i; j++)
				h[i * cols + j] = h[j * cols + i] = noise(i * 1000 + j) + (i == j ? 40 : 0);
		for (uint64_t r = 0; r < rows; r++)
			for (uint64_t i = 0; i < cols; i++) {
				squares += (double)w[r * cols + i] * w[r * cols + i];
				for (uint64_t j = 0; j < cols; j++)
					expected += (double)w[r * cols + i] * h[i * cols + j] * w[r * cols + j];
			}
		ck_assert_int_eq(aqz_layer_energy(&found, &layer, 1, NULL), AQZ_OK);
		ck_assert_double_eq_tol(found, expected, 1e-11 * expected);
		for (unsigned n = 0; n < 6; n++) {
			ck_assert_int_eq(aqz_layer_energy(&again, &layer, n, NULL), AQZ_OK);
			ck_assert(memcmp(&again, &found, sizeof found) == 0);
		}
		ck_assert_int_eq(aqz_layer_energy(&found, &plain, 1, NULL), AQZ_OK);
		ck_assert_double_eq_tol(found, squares, 1e-11 * squares);
		free(w);
		free(h);
	}
	const float one = 1;
	double energy;
	ck_assert_int_eq(
		aqz_layer_energy(&energy, &(aqz_layer){&one, 0, 1, NULL}, 1, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(
		aqz_layer_energy(&energy, &(aqz_layer){&one, 1, 0, NULL}, 1, NULL), AQZ_E_ARGUMENT);
	ck_assert_int_eq(
		aqz_layer_energy(&energy, &(aqz_layer){NULL, 1, 1, NULL}, 1, NULL), AQZ_E_ARGUMENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *t = tcase_create("files");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, names_and_aliases);
	tcase_add_test(t, files_that_are_refused);
	tcase_add_test(t, values_of_rows);
	tcase_add_test(t, matrices_that_are_refused);
	tcase_add_test(t, halves_become_their_mean);
	suite_add_tcase(suite, t);
	t = tcase_create("energies");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, energies);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
