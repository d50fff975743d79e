/* SPDX-License-Identifier: Apache-2.0 */
/* The trellis encoder: rates and losses that it meets, what it reports against the decoded file, matrices at the
 * edge. */
#include <check.h>
#include <math.h>

#include "codec/encode/trellis_layer.h"
#include "format/writer.h"
#include "tests/layers.h"

#define SURE_OK(call) ck_assert_msg((call) == AQZ_OK, "%s: %s", #call, err.text)

static aqz_trellis_options options(unsigned state_bits, double bytes)
{
	return (aqz_trellis_options){
		.state_bits = state_bits, .bytes = bytes, .chunk_rows = 256, .n_threads = 1, .mu = -1};
}

/* Writes the matrix as the only tensor of a file and reads it back; *payload is what parameters and chunks took. */
static float *through_file(aqz_trellis_matrix *m, uint32_t chunk_rows, uint64_t *payload)
{
	const uint64_t rows = m->params.rows, cols = m->params.cols;
	const aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = "w",
		.name_bytes = 1,
		.dtype = AQZ_F32,
		.rank = 2,
		.shape = {rows, cols}};
	const aqz_writer_options wo = {.struct_size = sizeof wo, .n_threads = 1};
	const aqz_reader_options ro = {.struct_size = sizeof ro};
	float *values = sure_alloc((size_t)(rows * cols) * sizeof *values);
	memory_file file = {0};
	aqz_writer *writer;
	aqz_reader *reader;
	aqz_ledger ledger;
	aqz_error err = {0};
	aqz_io io;

	memory_io(&io, &file);
	SURE_OK(aqz_writer_open(&writer, &io, &wo, &err));
	SURE_OK(aqz_writer_trellis(writer, &d, &m->params, m->index, chunk_rows, &err));
	SURE_OK(aqz_writer_finish(writer, NULL, &err));
	aqz_writer_close(writer);
	SURE_OK(aqz_reader_open(&reader, &io, &ro, &err));
	SURE_OK(aqz_reader_read_tensor(reader, aqz_reader_tensor(reader, 0), values,
		(size_t)(rows * cols) * sizeof *values, &err));
	SURE_OK(aqz_reader_verify(reader, AQZ_VERIFY_FULL, 1, NULL, NULL, NULL, NULL, &err));
	aqz_reader_ledger(reader, &ledger);
	*payload = ledger.codes + ledger.parameters;
	aqz_reader_close(reader);
	memory_free(&file);
	return values;
}

/* Encodes and decodes; checks that both see the same elements. Returns the relative loss of what was read. */
static double encode(
	aqz_trellis_matrix *m, const aqz_layer *layer, const aqz_trellis_options *o, uint64_t *payload)
{
	const size_t n = (size_t)(layer->rows * layer->cols);
	float *values, *mine = sure_alloc(n * sizeof *mine);
	double energy;
	aqz_error err = {0};

	SURE_OK(aqz_encode_trellis_matrix(m, layer, o, &err));
	aqz_trellis_dequantize(mine, &m->params, m->index, o->chunk_rows, 0, layer->rows);
	values = through_file(m, o->chunk_rows, payload);
	ck_assert_int_eq(memcmp(values, mine, n * sizeof *mine), 0);
	energy = layers_energy(layer->w, NULL, layer->rows, layer->cols, layer->hessian);
	if (energy > 0)
		energy = layers_energy(layer->w, values, layer->rows, layer->cols, layer->hessian) / energy;
	free(mine);
	free(values);
	return energy;
}

/* Several chunks, the last one ragged. */
START_TEST(meets_the_bytes)
{
	const uint64_t rows = 600, cols = 200;
	float *w = layers_gauss(rows, cols, 0.02F, 1);
	float *h = layers_spectrum(cols, 1000, 2);
	const aqz_layer layer = {w, rows, cols, h};
	static const double bits[] = {0.5, 1, 2, 3, 5, 8};

	for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
		const aqz_trellis_options o = options(3, bits[i] * (double)(rows * cols) / 8);
		aqz_trellis_matrix m;
		uint64_t payload;
		const double loss = encode(&m, &layer, &o, &payload);

		ck_assert_msg(fabs((double)payload - o.bytes) < 0.002 * o.bytes + 12, "%g bits: %llu of %g bytes",
			bits[i], (unsigned long long)payload, o.bytes);
		ck_assert(fabs(m.bytes / (double)payload - 1) < 0.002);
		ck_assert(loss > 0 && loss < exp2(-2 * bits[i]) * 1.2);
		aqz_trellis_matrix_free(&m);
	}
	free(w);
	free(h);
}
END_TEST

/* The distortion that the codec promises: 0.0625 is Shannon's, 0.0720 what 8 states are to reach with all that the file
 * takes; here without the frames of a file, but on few rows and columns, whose side information weighs more. */
START_TEST(gaussian)
{
	const uint64_t rows = 512, cols = 512;
	float *w = layers_gauss(rows, cols, 1, 3);
	const aqz_layer layer = {w, rows, cols, NULL};
	static const struct {
		unsigned state_bits;
		double most;
	} cases[] = {{0, 0.094}, {2, 0.0755}, {3, 0.0720}, {5, 0.0700}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const aqz_trellis_options o = options(cases[i].state_bits, 2.0 * (double)(rows * cols) / 8);
		aqz_trellis_matrix m;
		uint64_t payload;
		const double loss = encode(&m, &layer, &o, &payload);

		ck_assert_msg(
			loss < cases[i].most && loss > 0.0625, "%u state bits: %g", cases[i].state_bits, loss);
		ck_assert(fabs((double)payload / o.bytes - 1) < 0.002);
		aqz_trellis_matrix_free(&m);
	}
	free(w);
}
END_TEST

START_TEST(meets_a_loss)
{
	const uint64_t rows = 300, cols = 160;
	float *w = layers_gauss(rows, cols, 1, 4), *h = layers_spectrum(cols, 300, 5);
	const aqz_layer layer = {w, rows, cols, h};

	for (double loss = 0.1; loss > 1e-4; loss /= 5) {
		aqz_trellis_options o = options(3, 0);
		aqz_trellis_matrix m;
		uint64_t payload;

		o.loss = loss;
		ck_assert_msg(fabs(encode(&m, &layer, &o, &payload) / loss - 1) < 0.01, "%g", loss);
		aqz_trellis_matrix_free(&m);
	}
	free(w);
	free(h);
}
END_TEST

static bool same(const aqz_trellis_matrix *a, const aqz_trellis_matrix *b)
{
	const size_t n = (size_t)(a->params.rows * a->params.cols);

	return memcmp(a->index, b->index, n * sizeof *a->index) == 0 &&
		a->params.base == b->params.base && a->bytes == b->bytes &&
		memcmp(a->params.column_size, b->params.column_size, (size_t)a->params.cols) == 0;
}

START_TEST(threads_do_not_matter)
{
	const uint64_t rows = 500, cols = 130;
	float *w = layers_gauss(rows, cols, 1, 6), *h = layers_spectrum(cols, 100, 7);
	const aqz_layer layer = {w, rows, cols, h};
	aqz_trellis_options o = options(4, 2.2 * (double)(rows * cols) / 8);
	aqz_trellis_matrix one, three;
	aqz_error err = {0};

	o.chunk_rows = 64;
	SURE_OK(aqz_encode_trellis_matrix(&one, &layer, &o, &err));
	o.n_threads = 3;
	SURE_OK(aqz_encode_trellis_matrix(&three, &layer, &o, &err));
	ck_assert(same(&one, &three));
	aqz_trellis_matrix_free(&one);
	aqz_trellis_matrix_free(&three);
	free(w);
	free(h);
}
END_TEST

/* An input a thousand times as strong as the others has a step as much finer, and no index is cut off; neither where
 * the weights themselves are that large. */
START_TEST(massive_columns)
{
	const uint64_t rows = 300, cols = 96;
	float *w = layers_gauss(rows, cols, 0.02F, 8), *h = sure_alloc(cols * cols * sizeof *h);
	const aqz_layer layer = {w, rows, cols, h};

	for (uint64_t k = 0; k < cols; k++)
		h[k * cols + k] = k == 17 ? 1e6F : 1;
	for (uint64_t i = 0; i < rows; i++)
		w[i * cols + 40] *= 1000;
	for (unsigned s = 0; s <= 3; s += 3) {
		const aqz_trellis_options o = options(s, 3.0 * (double)(rows * cols) / 8);
		aqz_trellis_matrix m;
		uint64_t payload;
		const double loss = encode(&m, &layer, &o, &payload);
		float *values = sure_alloc((size_t)(rows * cols) * sizeof *values);

		aqz_trellis_dequantize(values, &m.params, m.index, o.chunk_rows, 0, rows);
		ck_assert_msg(loss < 1e-3 && fabs((double)payload - o.bytes) < 0.003 * o.bytes + 48,
			"loss %g, %llu of %g bytes (%g)", loss,
			(unsigned long long)payload, o.bytes, m.bytes);
		for (uint64_t i = 0; i < rows; i++) {
			ck_assert(fabsf(values[i * cols + 17] - w[i * cols + 17]) < 1e-4F);
			ck_assert(fabsf(values[i * cols + 40] - w[i * cols + 40]) < 0.05F);
		}
		free(values);
		aqz_trellis_matrix_free(&m);
	}
	free(w);
	free(h);
}
END_TEST

/* log2 of the geometric mean of what H leaves of each input once those before it are known: a column's part in reverse
 * water-filling. */
static double log_spread(const float *h, uint64_t n)
{
	double *l = sure_alloc(n * n * sizeof *l), sum = 0;

	for (uint64_t i = 0; i < n; i++)
		for (uint64_t k = 0; k <= i; k++) {
			double x = h[i * n + k];

			for (uint64_t m = 0; m < k; m++)
				x -= l[i * n + m] * l[k * n + m];
			l[i * n + k] = i == k ? sqrt(x) : x / l[k * n + k];
			sum += i == k ? log2(x) : 0;
		}
	free(l);
	return sum / (double)n;
}

/* One input whose energy is a million times the others', correlated ones; one column of zeros; at rates where most is
 * zero and where indices are large. The loss is what reverse water-filling says of the rate, every column's error what
 * its share in the metric allows, and nothing is cut off. */
START_TEST(massive_at_every_rate)
{
	const uint64_t rows = 400, cols = 192, massive = 17, zero = 60;
	static const double bits[] = {0.5, 2, 4, 8};
	float *w = layers_gauss(rows, cols, 0.02F, 21), *h = layers_spectrum(cols, 100, 22);
	const aqz_layer layer = {w, rows, cols, h};
	float *values = sure_alloc((size_t)(rows * cols) * sizeof *values);
	double mean = 0;

	for (uint64_t k = 0; k < cols; k++)
		mean += h[k * cols + k] / (double)cols;
	h[massive * cols + massive] += (float)(1e6 * mean);
	for (uint64_t i = 0; i < rows; i++)
		w[i * cols + zero] = 0;
	for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
		for (unsigned s = 3; s <= 5; s += 2) {
			const aqz_trellis_options o = options(s, bits[b] * (double)(rows * cols) / 8);
			const double energy = layers_energy(w, NULL, rows, cols, h);
			/* Of an element in the metric. What sides and tables take, a quarter of a bit at these sizes, is not for
			 * indices. */
			const double share = exp2(log_spread(h, cols) - 2 * (bits[b] - 0.25)) * 0.02 * 0.02;
			aqz_trellis_matrix m;
			uint64_t payload;
			const double loss = encode(&m, &layer, &o, &payload) * energy / (double)(rows * cols);
			double error[192] = {0};

			/* 0.2 % and 12 bytes; where most is zero, passes over so few weights do not settle to that. */
			ck_assert_msg(fabs((double)payload - o.bytes) < (bits[b] < 1 ? 0.05 : 0.002) * o.bytes + 12,
				"%g bits: %llu of %g bytes (%g)",
				bits[b], (unsigned long long)payload, o.bytes, m.bytes);
			/* At half a bit some inputs are left out altogether. */
			ck_assert_msg(loss < (bits[b] < 1 ? 2 : 1.5) * share, "%g bits, %u states: %g, not %g", bits[b],
				1u << s, loss, share);
			aqz_trellis_dequantize(values, &m.params, m.index, o.chunk_rows, 0, rows);
			for (uint64_t i = 0; i < rows * cols; i++)
				error[i % cols] += pow((double)w[i] - (double)values[i], 2) / (double)rows;
			ck_assert_msg(error[massive] * h[massive * cols + massive] < 4 * share,
				"%g bits: the massive input's error is %g, not %g", bits[b],
				error[massive] * h[massive * cols + massive], share);
			for (uint64_t k = 0; k < cols; k++)
				ck_assert_msg(error[k] < 1.5 * 0.02 * 0.02, "column %u: %g", (unsigned)k, error[k]);
			aqz_trellis_matrix_free(&m);
		}
	free(values);
	free(w);
	free(h);
}
END_TEST

/* So far apart that exponents end: what comes is what was asked for as near as they go, and still what is decoded. */
START_TEST(wild_sizes)
{
	const uint64_t rows = 70, cols = 40;
	float *w = layers_gauss(rows, cols, 1, 9), *h = sure_alloc(cols * cols * sizeof *h);
	const aqz_layer layer = {w, rows, cols, h};

	for (uint64_t k = 0; k < cols; k++)
		h[k * cols + k] = (float)pow(10, (double)(k % 20) - 10);
	for (uint64_t i = 0; i < rows; i++)
		for (uint64_t k = 0; k < cols; k++)
			w[i * cols + k] *= (float)pow(10, (double)(i % 17) - 8);
	for (double bytes = 200; bytes < 1e5; bytes *= 8) {
		const aqz_trellis_options o = options(3, bytes);
		aqz_trellis_matrix m;
		uint64_t payload;

		ck_assert(isfinite(encode(&m, &layer, &o, &payload)));
		aqz_trellis_matrix_free(&m);
	}
	free(w);
	free(h);
}
END_TEST

START_TEST(constant_and_zero)
{
	const uint64_t rows = 130, cols = 70;
	float *w = sure_alloc((size_t)(rows * cols) * sizeof *w), *h = layers_spectrum(cols, 10, 10);
	const aqz_layer layer = {w, rows, cols, h};

	for (unsigned s = 0; s <= 8; s += s == 0 ? 2 : 3) {
		aqz_trellis_options o = options(s, 2.0 * (double)(rows * cols) / 8);
		aqz_trellis_matrix m;
		uint64_t payload;

		memset(w, 0, (size_t)(rows * cols) * sizeof *w);
		ck_assert(encode(&m, &layer, &o, &payload) == 0);
		/* The bits of sides and states, and next to nothing for weights. */
		ck_assert_uint_lt(payload, 700);
		aqz_trellis_matrix_free(&m);
		/* Rows of one value each, some of them 0. */
		for (uint64_t i = 0; i < rows * cols; i++)
			w[i] = (float)(i / cols % 5) * 0.25F;
		o.chunk_rows = 64;
		ck_assert(encode(&m, &layer, &o, &payload) < 0.1);
		aqz_trellis_matrix_free(&m);
		o.bytes = 0;
		o.loss = 1e-6;
		/* Steps at which such rows come out exactly make the loss jump. */
		ck_assert(encode(&m, &layer, &o, &payload) < 2e-6);
		aqz_trellis_matrix_free(&m);
	}
	/* More bits than there is to say are not taken. */
	for (double bits = 1; bits <= 8; bits *= 2) {
		const aqz_trellis_options o = options(3, bits * (double)(rows * cols) / 8);
		aqz_trellis_matrix m;
		uint64_t payload;

		/* What rows of one value each take jumps with the step. */
		ck_assert(encode(&m, &layer, &o, &payload) < exp2(-2 * bits) * 4);
		ck_assert_msg((double)payload < 1.3 * o.bytes, "%llu of %g bytes", (unsigned long long)payload, o.bytes);
		aqz_trellis_matrix_free(&m);
	}
	free(w);
	free(h);
}
END_TEST

/* Rows that matter four times as much get half the step, and so a quarter of the error; rows that do not matter cost
 * next to nothing. */
START_TEST(importance)
{
	const uint64_t rows = 384, cols = 128;
	float *w = layers_gauss(rows, cols, 1, 11), g[384];
	const aqz_layer layer = {w, rows, cols, NULL};
	aqz_trellis_options o = options(3, 0);
	float *values = sure_alloc((size_t)(rows * cols) * sizeof *values);
	double error[3] = {0};
	aqz_trellis_matrix m;
	uint64_t payload;
	aqz_error err = {0};

	for (uint64_t i = 0; i < rows; i++)
		g[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? 4 : 16;
	o.c = 1;
	o.importance = g;
	(void)encode(&m, &layer, &o, &payload);
	aqz_trellis_dequantize(values, &m.params, m.index, o.chunk_rows, 0, rows);
	for (uint64_t i = 0; i < rows; i++)
		error[i % 3] += layers_energy(w + i * cols, values + i * cols, 1, cols, NULL) /
			(double)(rows / 3 * cols);
	ck_assert_msg(fabs(error[1] / error[2] / 4 - 1) < 0.1, "%g %g", error[1], error[2]);
	ck_assert(error[0] > 0.9);
	/* A step of c / sqrt(g) with its trellis: the error of a matrix of that importance alone. */
	aqz_trellis_matrix_free(&m);
	o.importance = NULL;
	o.c = 0.5;
	SURE_OK(aqz_encode_trellis_matrix(&m, &layer, &o, &err));
	ck_assert_msg(fabs(m.error / (double)(rows * cols) / error[1] - 1) < 0.1, "%g %g",
		m.error / (double)(rows * cols), error[1]);
	aqz_trellis_matrix_free(&m);
	for (uint64_t i = 0; i < rows; i++)
		g[i] = i == 5 ? -1 : 1;
	o.importance = g;
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_ARGUMENT);
	free(values);
	free(w);
}
END_TEST

/* c as a share of the matrix's own energy: a matrix and its multiple have the same indices. */
START_TEST(relative)
{
	const uint64_t rows = 128, cols = 64;
	float *w = layers_gauss(rows, cols, 1, 12), *h = layers_spectrum(cols, 50, 13);
	const aqz_layer layer = {w, rows, cols, h};
	aqz_trellis_options o = options(3, 0);
	aqz_trellis_matrix one, other;
	aqz_error err = {0};

	o.c = 0.5;
	o.relative = true;
	SURE_OK(aqz_encode_trellis_matrix(&one, &layer, &o, &err));
	for (uint64_t i = 0; i < rows * cols; i++)
		w[i] *= 64;
	SURE_OK(aqz_encode_trellis_matrix(&other, &layer, &o, &err));
	ck_assert_int_eq(memcmp(one.index, other.index, (size_t)(rows * cols) * sizeof *one.index), 0);
	ck_assert(one.bytes == other.bytes && fabs(one.c - 0.5) < 1e-12);
	aqz_trellis_matrix_free(&one);
	aqz_trellis_matrix_free(&other);
	free(w);
	free(h);
}
END_TEST

START_TEST(tiny)
{
	static const uint64_t shapes[][2] = {{1, 1}, {3, 5}, {1, 70}, {70, 1}};

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		for (unsigned s = 0; s <= 8; s += s == 0 ? 2 : 3) {
			float *w = layers_gauss(shapes[i][0], shapes[i][1], 1, 20 + i);
			const aqz_layer layer = {w, shapes[i][0], shapes[i][1], NULL};
			aqz_trellis_options o = options(s, 0);
			aqz_trellis_matrix m;
			uint64_t payload;

			o.loss = 0.001;
			/* A few weights have no loss in between. */
			ck_assert(encode(&m, &layer, &o, &payload) < 0.004);
			aqz_trellis_matrix_free(&m);
			/* Out of reach: it ends, with as little as there is. */
			o.loss = 0;
			o.bytes = 1;
			(void)encode(&m, &layer, &o, &payload);
			ck_assert_uint_lt(payload, 250);
			aqz_trellis_matrix_free(&m);
			free(w);
		}
}
END_TEST

static bool stop_soon(void *user, uint64_t done, uint64_t total)
{
	unsigned *calls = user;

	ck_assert_uint_le(done, total);
	return ++*calls < 5;
}

START_TEST(stops_and_refuses)
{
	const uint64_t rows = 256, cols = 256;
	float *w = layers_gauss(rows, cols, 1, 30), *h = layers_spectrum(cols, 10, 31);
	aqz_layer layer = {w, rows, cols, h};
	aqz_trellis_options o = options(3, 2.0 * (double)(rows * cols) / 8);
	unsigned calls = 0;
	aqz_trellis_matrix m;
	aqz_error err = {0};

	o.progress = stop_soon;
	o.progress_user = &calls;
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_CANCELLED);
	ck_assert(calls == 5 && m.index == NULL);
	o.progress = NULL;
	/* The bound of memory is one, and not far off. */
	o.memlimit_bytes = aqz_encode_trellis_memory(&layer, &o);
	SURE_OK(aqz_encode_trellis_matrix(&m, &layer, &o, &err));
	aqz_trellis_matrix_free(&m);
	o.memlimit_bytes /= 4;
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_MEMLIMIT);
	o.memlimit_bytes = 0;
	w[77] = NAN;
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_ARGUMENT);
	w[77] = 1;
	o.c = 1;
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_ARGUMENT);
	o = options(1, 100);
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_ARGUMENT);
	o = options(3, 0);
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_ARGUMENT);
	layer.rows = 0;
	o = options(3, 100);
	ck_assert_int_eq(aqz_encode_trellis_matrix(&m, &layer, &o, &err), AQZ_E_ARGUMENT);
	free(w);
	free(h);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trellis_encode");
	TCase *c = tcase_create("encoder");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 300);
	tcase_add_test(c, meets_the_bytes);
	tcase_add_test(c, gaussian);
	tcase_add_test(c, meets_a_loss);
	tcase_add_test(c, threads_do_not_matter);
	tcase_add_test(c, massive_columns);
	tcase_add_test(c, massive_at_every_rate);
	tcase_add_test(c, wild_sizes);
	tcase_add_test(c, constant_and_zero);
	tcase_add_test(c, importance);
	tcase_add_test(c, relative);
	tcase_add_test(c, tiny);
	tcase_add_test(c, stops_and_refuses);
	suite_add_tcase(suite, c);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
