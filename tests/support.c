/* SPDX-License-Identifier: Apache-2.0 */
/* Files in memory that can fail, repeatable noise, and additive codes by the letter of the spec. */
#include "tests/support.h"

/* For the sanitizers of clang 14, which link these by name: its guess at where glibc keeps the storage
 * of threads crashes the search for leaks, and LLVM's OpenMP keeps what belongs to its threads. */
const char *__asan_default_options(void);
const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
	return "intercept_tls_get_addr=0";
}

const char *__lsan_default_options(void)
{
	return "print_suppressions=0";
}

const char *__lsan_default_suppressions(void)
{
	return "leak:libomp.so";
}

void *sure_alloc(size_t n)
{
	void *p;

	SURE(posix_memalign(&p, 16, n + (n == 0)) == 0);
	memset(p, 0, n + (n == 0));
	return p;
}

/* ---- Files in memory */

static bool fails(uint64_t call, uint64_t from)
{
	return from != 0 && call >= from;
}

static aqz_status memory_pread(void *user, void *dst, size_t n, uint64_t offset)
{
	memory_file *f = user;

	if (fails(atomic_fetch_add(&f->n_reads, 1) + 1, f->fail_read))
		return f->fail_with;
	if (offset > f->n || n > f->n - offset)
		return AQZ_E_TRUNCATED;
	atomic_fetch_add(&f->n_read_bytes, n);
	if (n > 0)
		memcpy(dst, f->data + offset, n);
	return AQZ_OK;
}

static aqz_status memory_size(void *user, uint64_t *n_bytes)
{
	*n_bytes = ((memory_file *)user)->n;
	return ((memory_file *)user)->fail_size;
}

static aqz_status memory_write(void *user, const void *src, size_t n)
{
	memory_file *f = user;

	if (fails(atomic_fetch_add(&f->n_writes, 1) + 1, f->fail_write))
		return f->fail_with;
	memory_add(f, src, n);
	return AQZ_OK;
}

void memory_io(aqz_io *io, memory_file *f)
{
	*io = (aqz_io){f, memory_pread, memory_size, memory_write};
}

void memory_add(memory_file *f, const void *data, size_t n)
{
	if (n > f->capacity - f->n) {
		size_t capacity = f->capacity < 4096 ? 4096 : f->capacity;

		while (capacity - f->n < n)
			capacity *= 2;
		f->data = realloc(f->data, capacity);
		SURE(f->data != NULL);
		f->capacity = capacity;
	}
	if (n > 0)
		memcpy(f->data + f->n, data, n);
	f->n += n;
}

void memory_copy(memory_file *to, const memory_file *from)
{
	to->n = 0;
	memory_add(to, from->data, from->n);
}

void memory_free(memory_file *f)
{
	free(f->data);
	f->data = NULL;
	f->n = f->capacity = 0;
}

/* ---- Noise: xorshift64 with a multiplication (Vigna, arXiv:1402.6246) */

uint64_t noise_next(noise *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * UINT64_C(2685821657736338717);
}

void noise_fill(noise *r, void *dst, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)dst)[i] = (uint8_t)(noise_next(r) >> 56);
}

/* ---- Additive codes */

/* Sets bits of a line: byte planes, then the bit plane, one bit at a time. */
static void set_code(uint8_t *line, unsigned k, unsigned code, unsigned bits)
{
	const unsigned f = bits / 8, t = bits % 8;

	SURE(code < 1u << bits);
	for (unsigned p = 0; p < f; p++)
		line[64 * p + k] = (uint8_t)(code >> 8 * p);
	for (unsigned b = 0; b < t; b++)
		if (code >> (8 * f + b) & 1)
			line[64 * f + (k * t + b) / 8] |= (uint8_t)(1u << (k * t + b) % 8);
}

uint8_t *spec_t64(const uint16_t *codes, uint64_t code_rows, uint64_t groups, const aqz_scheme *s,
	size_t *n_bytes)
{
	const size_t line = 8 * (size_t)s->code_bits;
	uint8_t *lines;

	*n_bytes = (size_t)((code_rows + 63) / 64 * groups * s->n_codebooks * line);
	lines = sure_alloc(*n_bytes);
	for (uint64_t i = 0; i < code_rows; i++)
		for (uint64_t j = 0; j < groups; j++)
			for (unsigned m = 0; m < s->n_codebooks; m++)
				set_code(lines + ((i / 64 * groups + j) * s->n_codebooks + m) * line,
					(unsigned)(i % 64), codes[(i * groups + j) * s->n_codebooks + m], s->code_bits);
	return lines;
}

static float spec_value(
	const spec_range *r, const aqz_scheme *s, unsigned m, unsigned code, unsigned u)
{
	const unsigned dims = (unsigned)s->in_group * s->out_group;
	const size_t at = (((size_t)m << s->code_bits) + code) * dims + u;

	if (r->integers != NULL)
		return (float)r->integers[at] * r->codebook_scales[m * dims + u];
	return r->codebook[at];
}

void spec_decode(void *dst, aqz_dtype dtype, const uint16_t *codes, uint64_t rows, uint64_t cols,
	const aqz_scheme *s, const spec_range *ranges, const float *row_scales)
{
	const uint64_t groups = (cols + s->in_group - 1) / s->in_group;
	const size_t element = aqz_dtype_bits(dtype) / 8;

	for (uint64_t row = 0; row < rows; row++) {
		const uint64_t i = row / s->out_group, a = row % s->out_group;
		const spec_range *range = ranges;

		while (i >= range->end)
			range++;
		for (uint64_t col = 0; col < cols; col++) {
			const uint64_t j = col / s->in_group, e = col % s->in_group;
			const uint16_t *code = codes + (i * groups + j) * s->n_codebooks;
			const unsigned u = (unsigned)(a * s->in_group + e);
			float acc = spec_value(range, s, 0, code[0], u);

			for (unsigned m = 1; m < s->n_codebooks; m++)
				acc = acc + spec_value(range, s, m, code[m], u);
			if (row_scales != NULL)
				acc = acc * row_scales[i];
			SURE(aqz_convert((uint8_t *)dst + (row * cols + col) * element, dtype, &acc, AQZ_F32, 1,
					 NULL) == AQZ_OK);
		}
	}
}
