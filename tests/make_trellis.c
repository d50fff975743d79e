/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a file with trellis tensors of all numbers of states, and beside each one, NAME, its elements without loss,
 * NAME.due: make_trellis > FILE. For tests of readers that are not ours. */
#include <unistd.h>

#include "format/writer.h"
#include "tests/trellis_case.h"

int main(void)
{
	static const aqz_dtype dtypes[] = {AQZ_F16, AQZ_F32, AQZ_BF16};
	const aqz_writer_options opt = {.struct_size = sizeof opt, .id = "trellis tensors", .n_threads = 1};
	noise r = {77};
	aqz_writer *w;
	aqz_error err;
	aqz_io io;

	aqz_io_from_fd(&io, STDOUT_FILENO);
	SURE(aqz_writer_open(&w, &io, &opt, &err) == AQZ_OK);
	for (unsigned i = 0; i < 24; i++) {
		static const unsigned bits[] = {0, 2, 3, 4, 5, 6, 7, 8};
		const uint64_t rows = 1 + noise_next(&r) % 150, cols = 1 + noise_next(&r) % 70;
		char name[32];
		aqz_tensor_desc d = {.struct_size = sizeof d, .name = name, .dtype = dtypes[i % 3], .rank = 2,
			.shape = {rows, cols}};
		trellis_case c;
		uint8_t *due;
		size_t n_bytes;

		trellis_case_fill(&c, i % 4 == 3 ? CASE_WIDE : i % 2 ? CASE_LAYER : CASE_RANDOM, bits[i % 8], rows,
			cols, 64, &r);
		n_bytes = (size_t)(rows * trellis_case_row_bytes(&c, d.dtype));
		due = sure_alloc(n_bytes);
		trellis_case_decode(due, &c, d.dtype, 0, rows);
		d.name_bytes = (size_t)snprintf(name, sizeof name, "t%u", i);
		SURE(aqz_writer_trellis(w, &d, &c.p, c.index, 64, &err) == AQZ_OK);
		d.name_bytes = (size_t)snprintf(name, sizeof name, "t%u.due", i);
		SURE(aqz_writer_tensor(w, NULL, &d, &err) == AQZ_OK);
		SURE(aqz_writer_put(w, due, n_bytes, &err) == AQZ_OK);
		free(due);
		trellis_case_free(&c);
	}
	SURE(aqz_writer_finish(w, NULL, &err) == AQZ_OK);
	aqz_writer_close(w);
	return 0;
}
