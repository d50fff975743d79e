/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the push decoder. The input's first 4 bytes choose how the rest, a container, is cut into
 * pieces. Cut in any way it gives the same verdict and the same rows as in one piece; and where a
 * random reader accepts the file too, after lengths, index and hashes are put right, both give the
 * same elements. */
#include "fuzz/mutate.h"
#include "tests/reseal.h"

#define MEMORY (UINT64_C(64) << 20)
enum { HEAD = 4, MAX_SECTIONS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

/* A finding. */
static void demand(bool holds)
{
	if (!holds)
		abort();
}

/* What a stream gave: a sum over all its rows for each section (order and place count). */
typedef struct seen {
	uint64_t sums[MAX_SECTIONS], rows[MAX_SECTIONS];
	uint32_t n_sections, n_tensors;
} seen;

static void add(uint64_t *sum, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*sum = (*sum ^ data[i]) * UINT64_C(0x100000001b3);
}

static aqz_status on_section(void *user, const aqz_section_info *s)
{
	seen *t = user;

	demand(s->number == t->n_sections);
	t->n_sections++;
	return AQZ_OK;
}

static aqz_status on_tensor(void *user, const aqz_tensor_info *info)
{
	seen *t = user;

	demand(info->number == t->n_tensors && info->section < t->n_sections);
	t->n_tensors++;
	return AQZ_OK;
}

static aqz_status on_rows(
	void *user, const aqz_section_info *s, uint64_t row_begin, uint64_t n_rows, const void *data, size_t n)
{
	seen *t = user;

	demand(s->number < t->n_sections && row_begin + n_rows <= s->rows);
	if (s->number < MAX_SECTIONS) {
		demand(t->rows[s->number] == row_begin); /* in order, none missing */
		t->rows[s->number] += n_rows;
		add(&t->sums[s->number], data, n);
	}
	return AQZ_OK;
}

/* pieces: up to HEAD lengths, used in turn; 0 there means all at once. */
static aqz_status stream(seen *out, const uint8_t *file, size_t n, const uint8_t *pieces)
{
	const aqz_stream_events events = {.user = out, .section = on_section, .tensor = on_tensor, .rows = on_rows};
	const aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = MEMORY};
	aqz_stream *s;
	aqz_error err;
	aqz_status status = aqz_stream_open(&s, &events, &opt, &err);
	size_t at = 0;

	memset(out, 0, sizeof *out);
	demand(status == AQZ_OK);
	for (unsigned k = 0; at < n && status == AQZ_OK; k++) {
		size_t part = pieces == NULL || pieces[k % HEAD] == 0 ? n : pieces[k % HEAD];

		part = part < n - at ? part : n - at;
		status = aqz_stream_push(s, file + at, part, &err);
		at += part;
	}
	if (status != AQZ_OK)
		demand(aqz_stream_push(s, file, n, &err) == status || n == 0); /* for ever */
	else
		status = aqz_stream_finish(s, &err);
	demand(status != AQZ_E_ARGUMENT && status != AQZ_E_IO);
	aqz_stream_close(s);
	return status;
}

static void compare_with_reader(const seen *t, uint8_t *file, size_t n)
{
	memory_file f = {0};
	aqz_reader *r;
	aqz_io io;
	aqz_error err;

	memory_add(&f, file, n);
	memory_io(&io, &f);
	if (aqz_reader_open(&r, &io, NULL, &err) == AQZ_OK) {
		demand(aqz_reader_file(r)->n_sections == t->n_sections);
		demand(aqz_reader_file(r)->n_tensors == t->n_tensors);
		for (uint32_t i = 0; i < t->n_sections && i < MAX_SECTIONS; i++) {
			const aqz_section_info *s = aqz_reader_section(r, i);
			aqz_cursor *c;
			uint64_t sum = 0;
			uint8_t *data;

			if (s->decoded_bytes > MEMORY || aqz_cursor_open(&c, r, i, &err) != AQZ_OK)
				continue;
			data = malloc((size_t)s->decoded_bytes + 1);
			SURE(data != NULL);
			if (aqz_cursor_read(c, 0, s->rows, data, (size_t)s->decoded_bytes, &err) == AQZ_OK) {
				add(&sum, data, (size_t)s->decoded_bytes);
				demand(sum == t->sums[i]);
			}
			free(data);
			aqz_cursor_close(c);
		}
		aqz_reader_close(r);
	}
	memory_free(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	seen whole, cut;
	aqz_status status;
	uint8_t *file;

	if (n < HEAD)
		return 0;
	file = malloc(n - HEAD + 1);
	SURE(file != NULL);
	memcpy(file, data + HEAD, n - HEAD);
	status = stream(&whole, file, n - HEAD, NULL);
	demand(stream(&cut, file, n - HEAD, data) == status);
	demand(memcmp(&whole, &cut, sizeof whole) == 0);
	reseal(file, n - HEAD, RESEAL_INDEX);
	if (stream(&whole, file, n - HEAD, NULL) == AQZ_OK)
		compare_with_reader(&whole, file, n - HEAD);
	free(file);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
	if (n <= HEAD || max <= HEAD || seed % 16 == 0)
		return LLVMFuzzerMutate(data, n, max);
	return HEAD + mutate_container(data + HEAD, n - HEAD, max - HEAD, seed / 16);
}
