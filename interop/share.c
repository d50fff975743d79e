/* SPDX-License-Identifier: Apache-2.0 */
/* The codebooks of a set of tensors: trained on matrices of the set, or read from a container. */
#include "interop/checkpoint.h"

#include <math.h>

/* ---- Training */

/* Statistics of a matrix in training, which several may have. */
typedef struct loaded {
	const aqz_source_tensor *of;
	float *h;
} loaded;

/* Rows of an entry: all, or code rows spread evenly; a w of NULL hashes them only. What is not finite counts
 * as 0 where such tensors are stored lossless. */
static aqz_status load_rows(
	aqz_coder *c, aqz_layer *l, float *w, uint32_t entry, unsigned row_shift, aqz_error *err)
{
	const aqz_source_tensor *t = c->plan->entries[entry].tensor;
	const aqz_scheme *s = &c->plan->entries[entry].scheme;
	const uint64_t whole = l->rows / s->out_group, n = aqz_training_code_rows(l, s, row_shift);
	aqz_status status = AQZ_OK;

	l->w = w;
	if (row_shift == 0 || whole == 0) {
		AQZ_TRY(aqz_coder_rows(c, w, t, 0, l->rows, err));
	} else {
		for (uint64_t i = 0; i < n; i++)
			AQZ_TRY(aqz_coder_rows(c, w != NULL ? w + i * s->out_group * l->cols : NULL, t,
				(2 * i + 1) * whole / (2 * n) * s->out_group, s->out_group, err));
		l->rows = n * s->out_group;
	}
	for (uint64_t i = 0; w != NULL && i < l->rows * l->cols; i++) {
		if (isfinite(w[i]))
			continue;
		if (c->plan->opt.non_finite == AQZ_NON_FINITE_ERROR)
			return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, t->name,
				"it holds infinities or NaN, which cannot be quantized");
		w[i] = 0;
	}
out:
	return status;
}

static aqz_status load_stats(aqz_coder *c, const float **out, loaded *all, uint32_t *n,
	const aqz_source_tensor *t, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	uint32_t i = 0;

	*out = NULL;
	if (t == NULL)
		return AQZ_OK;
	while (i < *n && all[i].of != t)
		i++;
	if (i == *n) {
		all[i] = (loaded){t, t->n_bytes > SIZE_MAX ? NULL : malloc((size_t)t->n_bytes)};
		if (all[i].h == NULL)
			return aqz_fail_nomem(err, t->n_bytes);
		++*n;
		AQZ_TRY(aqz_stats_read(all[i].h, c->plan->opt.stats, t, err));
	}
	*out = all[i].h;
out:
	return status;
}

static aqz_status train(aqz_coder *c, uint32_t set, aqz_error *err)
{
	const aqz_book_set *s = &c->plan->sets[set];
	aqz_encode_options encode = aqz_plan_encode_options(c->plan);
	aqz_training t;
	aqz_layer *layers = NULL;
	loaded *stats = NULL;
	float *w = NULL, *to;
	uint64_t n_weights = 0;
	uint32_t n_stats = 0;
	aqz_status status;

	/* These may be many; those of the next tensor are read again. */
	free(c->hessian);
	c->hessian = NULL;
	c->hessian_of = NULL;
	AQZ_TRY(aqz_training_choose(&t, c->plan, set, err));
	layers = malloc(t.n_layers * sizeof *layers);
	stats = malloc(t.n_layers * sizeof *stats);
	for (uint32_t i = 0; i < t.n_layers && layers != NULL; i++) {
		const aqz_layer *l = &layers[i];

		layers[i] = aqz_plan_layer(c->plan, t.entries[i]);
		n_weights += aqz_min(l->rows,
						 aqz_training_code_rows(l, &s->scheme, t.row_shift) * s->scheme.out_group) *
			l->cols;
	}
	w = n_weights > SIZE_MAX / sizeof *w ? NULL : malloc((size_t)n_weights * sizeof *w);
	if (layers == NULL || stats == NULL || w == NULL)
		AQZ_TRY(aqz_fail_nomem(err, n_weights * sizeof *w));
	to = w;
	aqz_checkpoint_hash_start(c->checkpoint);
	for (uint32_t i = 0; i < t.n_layers; i++) {
		AQZ_TRY(load_rows(c, &layers[i], to, t.entries[i], t.row_shift, err));
		to += layers[i].rows * layers[i].cols;
		AQZ_TRY(load_stats(
			c, &layers[i].hessian, stats, &n_stats, c->plan->more[t.entries[i]].stats, err));
		AQZ_TRY(aqz_coder_tell(c, 0, err));
	}
	encode.memlimit_bytes = aqz_coder_room(c, t.data_bytes + c->books_bytes);
	encode.progress = aqz_coder_progress;
	encode.progress_user = c;
	c->work_bytes = s->training_reads;
	AQZ_TRY(aqz_train_codebooks(&c->books[set], layers, t.n_layers, &s->scheme, &encode, err));
	c->done_bytes += s->training_reads;
	AQZ_TRY(aqz_checkpoint_keep_books(c, set, err));
out:
	for (uint32_t i = 0; i < n_stats; i++)
		free(stats[i].h);
	free(t.entries);
	free(stats);
	free(layers);
	free(w);
	return status;
}

/* Takes what an earlier run has trained on the same rows, if it kept that. */
static aqz_status resume(aqz_coder *c, uint32_t set, aqz_error *err)
{
	aqz_training t = {.entries = NULL};
	aqz_status status = AQZ_OK;

	if (!aqz_checkpoint_has(c->checkpoint, AQZ_KEPT_SET, set))
		return AQZ_OK;
	AQZ_TRY(aqz_training_choose(&t, c->plan, set, err));
	aqz_checkpoint_hash_start(c->checkpoint);
	for (uint32_t i = 0; i < t.n_layers; i++) {
		aqz_layer layer = aqz_plan_layer(c->plan, t.entries[i]);

		AQZ_TRY(load_rows(c, &layer, NULL, t.entries[i], t.row_shift, err));
		AQZ_TRY(aqz_coder_tell(c, 0, err));
	}
	AQZ_TRY(aqz_checkpoint_take_books(c, set, err));
	if (c->books[set].codebooks != NULL)
		c->done_bytes += c->plan->sets[set].training_reads;
out:
	free(t.entries);
	return status;
}

/* ---- From a container */

/* Reads the sections of a reference, which are of one dtype, one after the other; n_bytes is what they must have. */
static aqz_status read_ref(
	void *out, const aqz_reader *reader, const aqz_ref *ref, uint64_t n_bytes, aqz_error *err)
{
	aqz_cursor *cursor = NULL;
	uint64_t at = 0;
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; i < ref->count; i++) {
		const aqz_section_info *s = aqz_reader_section(reader, ref->first + i);

		if (s->decoded_bytes > n_bytes - at)
			break;
		AQZ_TRY(aqz_cursor_open(&cursor, reader, s->number, err));
		AQZ_TRY(
			aqz_cursor_read(cursor, 0, s->rows, (uint8_t *)out + at, (size_t)s->decoded_bytes, err));
		aqz_cursor_close(cursor);
		cursor = NULL;
		at += s->decoded_bytes;
	}
	if (at != n_bytes)
		status = aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, aqz_kind_name(ref->kind),
			"the file of codebooks has %llu bytes of them instead of %llu", (unsigned long long)at,
			(unsigned long long)n_bytes);
out:
	aqz_cursor_close(cursor);
	return status;
}

/* Scales of integer codebooks, as F32. */
static aqz_status read_scales(
	aqz_additive *a, const aqz_reader *reader, const aqz_ref *ref, aqz_error *err)
{
	const size_t n = (size_t)a->scheme.n_codebooks * a->scheme.in_group * a->scheme.out_group;
	const aqz_dtype dtype = aqz_reader_section(reader, ref->first)->dtype;
	void *stored = malloc(n * sizeof(float));
	aqz_status status = AQZ_OK;

	a->codebook_scales = malloc(n * sizeof *a->codebook_scales);
	if (stored == NULL || a->codebook_scales == NULL)
		AQZ_TRY(aqz_fail_nomem(err, n * sizeof(float)));
	AQZ_TRY(read_ref(stored, reader, ref, n * (aqz_dtype_bits(dtype) / 8), err));
	AQZ_TRY(aqz_convert(a->codebook_scales, AQZ_F32, stored, dtype, n, err));
out:
	free(stored);
	return status;
}

static bool all_finite(const float *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(values[i]))
			return false;
	return true;
}

/* Refuses infinite codewords, which fit nothing; a reader may have them. */
static aqz_status check_finite(const aqz_additive *a, size_t n, aqz_error *err)
{
	const size_t n_scales = (size_t)a->scheme.n_codebooks * a->scheme.in_group * a->scheme.out_group;
	float *values = NULL;
	bool good = a->codebook_scales == NULL || all_finite(a->codebook_scales, n_scales);
	aqz_status status = AQZ_OK;

	if (a->codebook_dtype != AQZ_I8) {
		values = malloc(n * sizeof *values);
		if (values == NULL)
			return aqz_fail_nomem(err, n * sizeof *values);
		AQZ_TRY(aqz_convert(values, AQZ_F32, a->codebooks, a->codebook_dtype, n, err));
		good = all_finite(values, n);
	}
	if (!good)
		status = aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "the codebooks hold infinities or NaN");
out:
	free(values);
	return status;
}

static aqz_status load(aqz_coder *c, uint32_t set, aqz_error *err)
{
	const aqz_book_set *s = &c->plan->sets[set];
	const aqz_reader *reader = c->plan->opt.codebooks_from;
	const uint64_t n = ((uint64_t)s->scheme.n_codebooks << s->scheme.code_bits) *
		s->scheme.in_group * s->scheme.out_group;
	const uint64_t n_bytes = n * (aqz_dtype_bits(s->dtype) / 8);
	aqz_additive *a = &c->books[set];
	aqz_status status = AQZ_OK;

	*a = (aqz_additive){.scheme = s->scheme, .codebook_dtype = s->dtype};
	a->codebooks = malloc((size_t)n_bytes);
	if (a->codebooks == NULL)
		return aqz_fail_nomem(err, n_bytes);
	for (uint32_t i = 0; i < s->from->n_refs; i++) {
		const aqz_ref *ref = &s->from->refs[i];

		if (ref->kind == AQZ_KIND_CODEBOOK)
			AQZ_TRY(read_ref(a->codebooks, reader, ref, n_bytes, err));
		if (ref->kind == AQZ_KIND_CODEBOOK_SCALES)
			AQZ_TRY(read_scales(a, reader, ref, err));
	}
	AQZ_TRY(check_finite(a, (size_t)n, err));
out:
	/* The other errors of a run are about the model. */
	if (status != AQZ_OK && err != NULL) {
		const aqz_error found = *err;

		aqz_fail(err, status, found.offset, c->plan->entries[s->first].tensor->name,
			"in the file of codebooks: %s%s%s", found.where, found.where[0] != '\0' ? ": " : "",
			found.text);
	}
	return status;
}

/* ---- Either */

aqz_status aqz_coder_books(const aqz_additive **out, aqz_coder *c, uint32_t set, aqz_error *err)
{
	const aqz_book_set *s = &c->plan->sets[set];
	aqz_status status = AQZ_OK;

	if (c->books[set].codebooks == NULL) {
		AQZ_TRY(s->from != NULL ? load(c, set, err) : resume(c, set, err));
		if (c->books[set].codebooks == NULL)
			AQZ_TRY(train(c, set, err));
		c->books_bytes += s->n_bytes;
	}
	*out = &c->books[set];
out:
	if (status != AQZ_OK)
		aqz_additive_free(&c->books[set]);
	return status;
}
