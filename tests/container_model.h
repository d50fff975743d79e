/* SPDX-License-Identifier: Apache-2.0 */
/* Models in containers: what a tensor of one is, and whether a weight has its elements. */
#ifndef AQZ_TESTS_CONTAINER_MODEL_H
#define AQZ_TESTS_CONTAINER_MODEL_H

#include <fcntl.h>

#include "tests/support.h"
#include "tests/tiny_model.h"

typedef struct container {
	int fd;
	aqz_reader *reader;
} container;

static inline container open_container(const char *path)
{
	container c = {.fd = open(path, O_RDONLY)};
	aqz_io io;

	ck_assert_int_ge(c.fd, 0);
	aqz_io_from_fd(&io, c.fd);
	ck_assert_int_eq(aqz_reader_open(&c.reader, &io, NULL, NULL), AQZ_OK);
	return c;
}

static inline void close_container(container *c)
{
	aqz_reader_close(c->reader);
	close(c->fd);
}

/* Checks that a weight's rows are those that the reader gives for the tensor, in one piece and in others. */
static inline void check_rows(const aqz_weight *w, const container *c, const char *name)
{
	const aqz_tensor_info *t = aqz_reader_find(c->reader, name, strlen(name));
	const size_t n = (size_t)t->n_elements;
	void *stored = calloc(n, 4);
	float *due = calloc(n, sizeof *due), *got = calloc(n, sizeof *got);

	ck_assert_int_eq(aqz_reader_read_tensor(c->reader, t, stored, (size_t)t->n_bytes, NULL), AQZ_OK);
	ck_assert_int_eq(aqz_convert(due, AQZ_F32, stored, t->dtype, n, NULL), AQZ_OK);
	ck_assert(w->rows == t->shape[0] && w->cols == t->shape[1]);
	aqz_weight_rows(got, w->cols, w, 0, w->rows);
	for (size_t i = 0; i < n; i++)
		if (!(got[i] == due[i]))
			ck_abort_msg("%s [%zu]: %g instead of %g", name, i, (double)got[i], (double)due[i]);
	for (uint64_t r = 0; r < w->rows; r += 13) {
		const uint64_t end = r + 29 < w->rows ? r + 29 : w->rows;

		memset(got, 0x7f, n * sizeof *got);
		aqz_weight_rows(got, w->cols, w, r, end);
		ck_assert_mem_eq(got, due + r * w->cols, (end - r) * w->cols * sizeof *got);
	}
	free(stored);
	free(due);
	free(got);
}

static inline aqz_tensor_desc describe(const tiny_tensor *x, const char *scheme)
{
	aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = x->name,
		.name_bytes = strlen(x->name),
		.dtype = AQZ_F32,
		.rank = x->cols == 0 ? 1 : 2,
		.shape = {x->rows, x->cols}};

	ck_assert_int_eq(aqz_scheme_parse(&d.scheme, scheme, NULL), AQZ_OK);
	return d;
}

#endif
