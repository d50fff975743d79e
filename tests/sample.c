/* SPDX-License-Identifier: Apache-2.0 */
/* The container with every feature; its contents are calculated here, not read back. */
#include "format/writer.h"
#include "tests/support.h"
#include "tests/trellis_case.h"

/* Forwards a status from within a function that returns one. */
#define TRY(call)                 \
	do {                          \
		aqz_status try_ = (call); \
		if (try_ != AQZ_OK)       \
			return try_;          \
	} while (0)

typedef struct builder {
	sample *s;
	aqz_writer *w;
	void (*after_each)(aqz_writer *w);
	noise r;
	aqz_error *err;
} builder;

/* A codebook as declared, and as the spec's arithmetic wants it. */
typedef struct codebook {
	uint32_t section, scales_section;
	aqz_dtype dtype;
	float values[1024];
	int8_t integers[1024];
	float scales[64];
} codebook;

/* Code rows from the end of the range before to end. */
typedef struct row_range {
	uint64_t end;
	const codebook *book;
} row_range;

static const aqz_scheme raw = {.codec = AQZ_CODEC_LOSSLESS};

/* Puts data, the last of a tensor or file. */
static aqz_status put_last(builder *b, const void *data, size_t n)
{
	TRY(aqz_writer_put(b->w, data, n, b->err));
	if (b->after_each != NULL)
		b->after_each(b->w);
	return AQZ_OK;
}

static sample_tensor *new_tensor(
	builder *b, const char *name, aqz_dtype dtype, uint32_t rank, const uint64_t *shape)
{
	sample_tensor *t = &b->s->tensors[b->s->n_tensors++];
	uint64_t n_elements = 1;

	snprintf(t->name, sizeof t->name, "%s", name);
	t->dtype = dtype;
	t->rank = rank;
	for (uint32_t i = 0; i < rank; i++)
		n_elements *= t->shape[i] = shape[i];
	t->n_bytes = (size_t)(n_elements * aqz_dtype_bits(dtype) / 8);
	t->data = sure_alloc(t->n_bytes);
	return t;
}

static aqz_tensor_desc describe(const sample_tensor *t)
{
	aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = t->name,
		.name_bytes = strlen(t->name),
		.dtype = t->dtype,
		.rank = t->rank,
		.scheme = t->scheme,
		.leading = t->leading,
		.transposed = t->transposed};

	memcpy(d.shape, t->shape, sizeof d.shape);
	return d;
}

/* How the elements of a raw tensor look: which coding pays for them. */
typedef enum pattern { NOISE, RAMP, WEIGHTS } pattern;

static aqz_status add_raw(builder *b, const char *name, aqz_dtype dtype, uint32_t rank,
	const uint64_t *shape, pattern look)
{
	sample_tensor *t = new_tensor(b, name, dtype, rank, shape);
	aqz_tensor_desc d;
	size_t half;

	t->scheme = raw;
	noise_fill(&b->r, t->data, t->n_bytes);
	for (size_t i = 0; i < t->n_bytes && look == RAMP; i++)
		t->data[i] = (uint8_t)(i / 8);
	for (size_t i = 1; i < t->n_bytes && look == WEIGHTS; i += 2) /* BF16: one exponent */
		t->data[i] = (uint8_t)(0x3c | (t->data[i] & 0x80));
	d = describe(t);
	d.measured.raw_reason = look == WEIGHTS ? AQZ_RAW_NOT_SMALLER : AQZ_RAW_ASKED;
	TRY(aqz_writer_tensor(b->w, NULL, &d, b->err));
	half = t->n_bytes / 2; /* in two pieces */
	TRY(aqz_writer_put(b->w, t->data, half, b->err));
	return put_last(b, t->data + half, t->n_bytes - half);
}

static aqz_status add_alias(builder *b, const char *name, uint32_t of)
{
	sample_tensor *t = new_tensor(
		b, name, b->s->tensors[of].dtype, b->s->tensors[of].rank, b->s->tensors[of].shape);

	t->scheme = b->s->tensors[of].scheme;
	t->alias = true;
	memcpy(t->data, b->s->tensors[of].data, t->n_bytes);
	TRY(aqz_writer_alias(b->w, t->name, strlen(t->name), of, b->err));
	return put_last(b, NULL, 0);
}

/* Values that every codebook dtype holds exactly, so that the expectation needs no conversion; sums
 * of them and products with scales are rounded all the same, in F16 and BF16. */
static aqz_status add_codebook(builder *b, codebook *c, aqz_dtype dtype, const aqz_scheme *s)
{
	const uint64_t rows = (uint64_t)s->n_codebooks << s->code_bits;
	const uint64_t cols = (uint64_t)s->in_group * s->out_group;
	uint8_t stored[4 * 1024];

	SURE(rows * cols <= 1024);
	c->dtype = dtype;
	for (uint64_t i = 0; i < rows * cols; i++) {
		c->integers[i] = (int8_t)(noise_next(&b->r) >> 56);
		c->values[i] = (float)(c->integers[i] / 2) / 32;
	}
	if (dtype != AQZ_I8) {
		SURE(aqz_convert(stored, dtype, c->values, AQZ_F32, (size_t)(rows * cols), NULL) == AQZ_OK);
		return aqz_writer_param(
			b->w, &c->section, AQZ_KIND_CODEBOOK, dtype, rows, cols, stored, b->err);
	}
	for (uint64_t i = 0; i < s->n_codebooks * cols; i++)
		c->scales[i] = (float)(noise_next(&b->r) >> 40) * 0x1p-26f;
	TRY(aqz_writer_param(
		b->w, &c->section, AQZ_KIND_CODEBOOK, dtype, rows, cols, c->integers, b->err));
	return aqz_writer_param(b->w, &c->scales_section, AQZ_KIND_CODEBOOK_SCALES, AQZ_F32,
		s->n_codebooks, cols, c->scales, b->err);
}

/* Turns a view to the tensor's own order: its last dimension is the view's rows. */
static void transpose(sample_tensor *t, uint64_t rows, uint64_t cols)
{
	const size_t e = aqz_dtype_bits(t->dtype) / 8;
	uint8_t *view = sure_alloc(t->n_bytes);

	memcpy(view, t->data, t->n_bytes);
	for (uint64_t r = 0; r < rows; r++)
		for (uint64_t c = 0; c < cols; c++)
			memcpy(t->data + (c * rows + r) * e, view + (r * cols + c) * e, e);
	free(view);
}

/* t: with all but its data. ranges: the last one ends at the number of code rows. with_scales: also
 * per row. */
static aqz_status add_additive(
	builder *b, sample_tensor *t, const row_range *ranges, uint32_t n_ranges, bool with_scales)
{
	const aqz_scheme *s = &t->scheme;
	uint64_t rows = t->transposed ? t->shape[t->rank - 1] : 1, cols = 1, at = 0, code_rows, groups;
	float *row_scales = NULL;
	spec_range spec[4];
	aqz_ref refs[9];
	uint32_t n_refs = 0;
	aqz_tensor_desc d = describe(t);
	aqz_status status = AQZ_OK;
	uint16_t *codes;
	uint8_t *lines;
	size_t n_bytes;

	for (uint32_t i = 0; i < t->rank; i++)
		if (!t->transposed && i <= t->leading)
			rows *= t->shape[i];
		else if (!t->transposed || i + 1 < t->rank)
			cols *= t->shape[i];
	code_rows = (rows + s->out_group - 1) / s->out_group;
	groups = (cols + s->in_group - 1) / s->in_group;
	for (uint32_t i = 0; i < n_ranges; i++) {
		const codebook *c = ranges[i].book;

		spec[i] = (spec_range){
			at, ranges[i].end, c->values, c->dtype == AQZ_I8 ? c->integers : NULL, c->scales};
		refs[n_refs++] = (aqz_ref){AQZ_KIND_CODEBOOK, c->section, 1, at, ranges[i].end};
		if (c->dtype == AQZ_I8)
			refs[n_refs++] =
				(aqz_ref){AQZ_KIND_CODEBOOK_SCALES, c->scales_section, 1, at, ranges[i].end};
		at = ranges[i].end;
	}
	SURE(at == code_rows);
	if (with_scales) {
		row_scales = sure_alloc((size_t)code_rows * sizeof *row_scales);
		for (uint64_t i = 0; i < code_rows; i++)
			row_scales[i] = 1 + (float)(i % 7) / 3;
		refs[n_refs] = (aqz_ref){AQZ_KIND_ROW_SCALES, 0, 1, 0, code_rows};
		status = aqz_writer_param(b->w, &refs[n_refs++].first, AQZ_KIND_ROW_SCALES, AQZ_F32,
			code_rows, 1, row_scales, b->err);
	}
	codes = sure_alloc((size_t)(code_rows * groups * s->n_codebooks) * sizeof *codes);
	for (uint64_t i = 0; i < code_rows * groups * s->n_codebooks; i++)
		codes[i] = (uint16_t)(noise_next(&b->r) >> (64 - s->code_bits));
	lines = spec_t64(codes, code_rows, groups, s, &n_bytes);
	spec_decode(t->data, t->dtype, codes, rows, cols, s, spec, row_scales);
	if (t->transposed)
		transpose(t, rows, cols);
	d.refs = refs;
	d.n_refs = n_refs;
	d.measured = (aqz_measured){.has_rel_mse = true,
		.rel_mse = 0.25,
		.has_loss = with_scales,
		.loss_before = 0.5,
		.loss_after = 0.125,
		.effort = 3};
	if (status == AQZ_OK)
		status = aqz_writer_tensor(b->w, NULL, &d, b->err);
	if (status == AQZ_OK)
		status = put_last(b, lines, n_bytes);
	free(lines);
	free(codes);
	free(row_scales);
	return status;
}

static aqz_status add_all_additive(builder *b, uint64_t scale)
{
	static const aqz_scheme two = {AQZ_CODEC_ADDITIVE, 2, 3, 4, 1},
							one = {AQZ_CODEC_ADDITIVE, 1, 2, 4, 1},
							tall = {AQZ_CODEC_ADDITIVE, 1, 2, 2, 2};
	static codebook shared, first, second, blocks; /* filled anew each time, large for a stack */
	sample_tensor *t;

	/* Columns that are no multiple of the group, rows of three row blocks. */
	TRY(add_codebook(b, &shared, AQZ_F16, &two));
	b->s->shared_codebook = shared.section;
	t = new_tensor(b, "layers.0.q.weight", AQZ_F16, 2, (uint64_t[]){130 * scale, 6});
	t->scheme = two;
	TRY(add_additive(b, t, (row_range[]){{130 * scale, &shared}}, 1, true));
	t = new_tensor(b, "layers.0.k.weight", AQZ_BF16, 2, (uint64_t[]){3 * scale, 8});
	t->scheme = two;
	TRY(add_additive(b, t, (row_range[]){{3 * scale, &shared}}, 1, false));
	/* Fused: integer codebooks for the first 64 code rows, others for the rest. */
	TRY(add_codebook(b, &first, AQZ_I8, &one));
	TRY(add_codebook(b, &second, AQZ_BF16, &one));
	t = new_tensor(b, "layers.0.qkv", AQZ_F32, 2, (uint64_t[]){70 * scale, 4});
	t->scheme = one;
	TRY(add_additive(b, t, (row_range[]){{64, &first}, {70 * scale, &second}}, 2, false));
	/* Stored [in, out]. */
	t = new_tensor(b, "conv1d.weight", AQZ_BF16, 2, (uint64_t[]){5, 9 * scale});
	t->scheme = one;
	t->transposed = true;
	TRY(add_additive(b, t, (row_range[]){{9 * scale, &second}}, 1, false));
	/* Two experts of three rows, codewords two rows high. */
	TRY(add_codebook(b, &blocks, AQZ_F32, &tall));
	t = new_tensor(b, "experts", AQZ_F16, 3, (uint64_t[]){2 * scale, 3, 5});
	t->scheme = tall;
	t->leading = 1;
	return add_additive(b, t, (row_range[]){{3 * scale, &blocks}}, 1, false);
}

/* rows x cols of the view; chunks of 64 rows. */
static aqz_status add_trellis(builder *b, sample_tensor *t, uint64_t rows, uint64_t cols,
	unsigned state_bits)
{
	trellis_case c;
	aqz_tensor_desc d = describe(t);
	aqz_status status;

	trellis_case_fill(&c, CASE_LAYER, state_bits, rows, cols, 64, &b->r);
	t->scheme = aqz_trellis_scheme(state_bits);
	trellis_case_decode(t->data, &c, t->dtype, 0, rows);
	if (t->transposed)
		transpose(t, rows, cols);
	status = aqz_writer_trellis(b->w, &d, &c.p, c.index, 64, b->err);
	trellis_case_free(&c);
	return status == AQZ_OK ? put_last(b, NULL, 0) : status;
}

/* Two chunks of two blocks of columns, stored [in, out]. */
static aqz_status add_all_trellis(builder *b, uint64_t scale)
{
	sample_tensor *t = new_tensor(b, "conv1d.1.weight", AQZ_BF16, 2, (uint64_t[]){33, 66 * scale});

	t->transposed = true;
	return add_trellis(b, t, 66 * scale, 33, 3);
}

static aqz_status add_file(builder *b, aqz_kind kind, const char *name, const char *data, size_t n)
{
	sample_file *f = &b->s->files[b->s->n_files++];

	f->kind = kind;
	snprintf(f->name, sizeof f->name, "%s", name);
	f->data = data;
	f->n_bytes = n;
	TRY(aqz_writer_file(b->w, kind, name, f->n_bytes, b->err));
	return put_last(b, data, f->n_bytes);
}

static aqz_status add_all(builder *b, uint64_t scale)
{
	static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":6}",
					  provenance[] = "{\"format\":\"0.3\"}";

	TRY(add_file(b, AQZ_KIND_FILE, "config.json", config, sizeof config - 1));
	TRY(add_file(b, AQZ_KIND_FILE, "\xe7\xa9\xba.txt", "", 0));
	TRY(add_file(b, AQZ_KIND_SOURCE_HEADER, "model.safetensors", "\x02\0\0\0\0\0\0\0{}", 10));
	TRY(add_raw(b, "embed.weight", AQZ_BF16, 2, (uint64_t[]){130 * scale, 3}, WEIGHTS));
	TRY(add_raw(b, "norm", AQZ_F32, 1, (uint64_t[]){5}, NOISE));
	TRY(add_raw(b, "scalar", AQZ_F64, 0, NULL, NOISE));
	TRY(add_raw(b, "empty", AQZ_I64, 2, (uint64_t[]){0, 7}, NOISE));
	TRY(add_raw(b, "nibbles", AQZ_F4, 2, (uint64_t[]){2 * scale, 3}, NOISE));
	TRY(add_raw(b, "mask", AQZ_BOOL, 3, (uint64_t[]){2, 2 * scale, 16}, RAMP));
	TRY(add_raw(b, "\xd1\x81\xd0\xbb\xd0\xbe\xd0\xb9.0", AQZ_I8, 1, (uint64_t[]){3}, NOISE));
	TRY(add_alias(b, "lm_head.weight", 0));
	TRY(add_all_additive(b, scale));
	TRY(add_all_trellis(b, scale));
	return add_file(b, AQZ_KIND_METADATA, "provenance", provenance, sizeof provenance - 1);
}

aqz_status sample_write(sample *s, const aqz_io *io, const sample_options *opt, aqz_error *err)
{
	aqz_writer_options o = {.struct_size = sizeof o,
		.id = "sample container",
		.alignment = opt->alignment,
		.chunk_bytes = opt->scale == 1 ? 512 : 4096,
		.effort = 5,
		.n_threads = opt->n_threads,
		.memlimit_bytes = opt->memlimit_bytes};
	builder b = {
		.s = s, .after_each = opt->after_each, .r = {UINT64_C(0x9e3779b97f4a7c15)}, .err = err};
	aqz_status status;
	uint64_t n_bytes;

	s->n_tensors = s->n_files = 0;
	status = aqz_writer_open(&b.w, io, &o, err);
	if (status == AQZ_OK)
		status = add_all(&b, opt->scale);
	if (status == AQZ_OK)
		status = aqz_writer_finish(b.w, &n_bytes, err);
	aqz_writer_close(b.w);
	return status;
}

void sample_make(sample *s, const sample_options *opt)
{
	aqz_error err;
	aqz_io io;

	memset(s, 0, sizeof *s);
	memory_io(&io, &s->file);
	if (sample_write(s, &io, opt, &err) != AQZ_OK) {
		fprintf(stderr, "sample: %s: %s: %s\n", aqz_status_name(err.status), err.where, err.text);
		abort();
	}
}

void sample_free(sample *s)
{
	for (uint32_t i = 0; i < s->n_tensors; i++)
		free(s->tensors[i].data);
	memory_free(&s->file);
	s->n_tensors = s->n_files = 0;
}

void sample_tiny(memory_file *out, uint32_t alignment)
{
	aqz_writer_options o = {.struct_size = sizeof o,
		.id = "tiny",
		.alignment = alignment,
		.chunk_bytes = 1,
		.n_threads = 1};
	aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = "t",
		.name_bytes = 1,
		.dtype = AQZ_U8,
		.rank = 2,
		.shape = {70, 2}};
	noise r = {7};
	uint8_t data[140];
	aqz_writer *w;
	aqz_io io;

	noise_fill(&r, data, sizeof data);
	memory_io(&io, out);
	SURE(aqz_writer_open(&w, &io, &o, NULL) == AQZ_OK);
	SURE(aqz_writer_tensor(w, NULL, &d, NULL) == AQZ_OK);
	SURE(aqz_writer_put(w, data, sizeof data, NULL) == AQZ_OK);
	SURE(aqz_writer_finish(w, NULL, NULL) == AQZ_OK);
	aqz_writer_close(w);
}
