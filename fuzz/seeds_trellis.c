/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds of fuzz_trellis: small matrices as the encoder codes them, of all numbers of states, with rows and columns of
 * unlike sizes and one massive column; and the tests' cases. Each as a payload, and some as indices. */
#include "fuzz/seeds_trellis.h"

#include <math.h>
#include <sys/stat.h>

#include "codec/encode/encode.h"
#include "codec/encode/trellis_layer.h"
#include "tests/trellis_case.h"

enum { HEAD_BYTES = 9, CODES_INDICES = 0x80 };

typedef struct seeds {
	const char *folder;
	unsigned number;
	bool ok;
} seeds;

static void add(aqz_buffer *b, const void *bytes, size_t n)
{
	SURE(aqz_buffer_add(b, bytes, n, NULL) == AQZ_OK);
}

static void write_seed(seeds *s, const aqz_buffer *b)
{
	char path[4096];
	FILE *file;

	s->ok = snprintf(path, sizeof path, "%s/%03u", s->folder, s->number++) < (int)sizeof path && s->ok;
	file = fopen(path, "wb");
	s->ok = file != NULL && fwrite(b->data, 1, b->n, file) == b->n && s->ok;
	if (file != NULL && fclose(file) != 0)
		s->ok = false;
}

/* The fuzz target's table of numbers of states begins so. */
static unsigned code_of(unsigned state_bits)
{
	return state_bits == 0 ? 0 : state_bits - 1;
}

/* One chunk of all rows. index: [cols][rows] */
static void add_seeds(seeds *s, aqz_trellis_params *p, const int32_t *index, unsigned dtype)
{
	const uint64_t n = p->rows * p->cols;
	aqz_buffer params = {0}, payload = {0}, out = {0};
	uint8_t head[HEAD_BYTES] = {(uint8_t)(code_of(p->state_bits) | dtype << 4)};

	SURE(aqz_trellis_params_write(&params, p, NULL) == AQZ_OK);
	SURE(aqz_trellis_encode_rows(&payload, p, index, p->rows, 0, p->rows, NULL) == AQZ_OK);
	aqz_put16(head + 1, (uint16_t)(p->rows - 1));
	head[3] = (uint8_t)(p->cols - 1);
	head[5] = (uint8_t)(s->number % 5);
	head[6] = (uint8_t)p->rows;
	aqz_put16(head + 7, (uint16_t)params.n);
	add(&out, head, sizeof head);
	add(&out, params.data, params.n);
	add(&out, payload.data, payload.n);
	write_seed(s, &out);
	out.n = 0;
	head[0] |= CODES_INDICES;
	add(&out, head, sizeof head);
	add(&out, params.data, params.n);
	for (uint64_t i = 0; i < n; i++) {
		const bool one = index[i] > -128 && index[i] < 128;
		const uint8_t bytes[] = {one ? (uint8_t)index[i] : 0x80, (uint8_t)index[i], (uint8_t)(index[i] >> 8),
			(uint8_t)(index[i] >> 16)};

		add(&out, bytes, one ? 1 : sizeof bytes);
	}
	if (out.n < 8192)
		write_seed(s, &out);
	aqz_buffer_free(&out);
	aqz_buffer_free(&params);
	aqz_buffer_free(&payload);
}

/* A matrix as a layer has them, through the encoder. */
static void add_layer(seeds *s, unsigned state_bits, uint64_t rows, uint64_t cols, double bits)
{
	float *w = sure_alloc(rows * cols * sizeof *w), *importance = sure_alloc(rows * sizeof *importance);
	const aqz_layer layer = {w, rows, cols, NULL};
	const aqz_trellis_options o = {.state_bits = state_bits,
		.bytes = bits * (double)(rows * cols) / 8,
		.importance = s->number % 4 == 0 ? importance : NULL,
		.chunk_rows = 512,
		.n_threads = 1,
		.mu = -1};
	aqz_trellis_matrix m;

	for (uint64_t i = 0; i < rows; i++)
		importance[i] = (float)exp2(aqz_random_normal(2, s->number, i));
	for (uint64_t i = 0; i < rows * cols; i++) {
		const double column = i % cols == cols / 2 ? 6 : aqz_random_normal(3, s->number, i % cols);

		w[i] = aqz_random_normal(1, s->number, i) * (float)exp2(column);
	}
	SURE(aqz_encode_trellis_matrix(&m, &layer, &o, NULL) == AQZ_OK);
	add_seeds(s, &m.params, m.index, s->number / 2 % 3);
	aqz_trellis_matrix_free(&m);
	free(importance);
	free(w);
}

bool seeds_trellis(const char *parent)
{
	static const unsigned state_bits[] = {0, 2, 3, 4, 5, 6, 7, 8};
	static const uint64_t shapes[][2] = {{1, 1}, {64, 33}, {5, 40}, {130, 7}, {33, 32}, {3, 3}};
	char folder[4000];
	seeds s = {.folder = folder, .ok = true};
	noise r = {31};

	if (snprintf(folder, sizeof folder, "%s/trellis", parent) >= (int)sizeof folder)
		return false;
	mkdir(folder, 0777); /* may be there; writing tells */
	for (unsigned i = 0; i < 24; i++) {
		const uint64_t *shape = shapes[i % 6];

		add_layer(&s, state_bits[i % 8], shape[0], shape[1], i % 3 == 0 ? 1 : i % 3 == 1 ? 2.2 : 5);
	}
	for (unsigned kind = CASE_RANDOM; kind <= CASE_CONSTANT; kind++)
		for (unsigned i = 0; i < 4; i++) {
			trellis_case c;

			trellis_case_fill(&c, (case_kind)kind, state_bits[(2 * i + kind) % 8], shapes[i + 1][0], shapes[i + 1][1],
				512, &r);
			add_seeds(&s, &c.p, c.index, i % 3);
			trellis_case_free(&c);
		}
	return s.ok;
}
