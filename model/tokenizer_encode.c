/* SPDX-License-Identifier: Apache-2.0 */
/* Text to ids: the steps of model/tokenizer.h, one after the other. */
#include "model/tokenizer.h"

#define MAX_TEXT_BYTES ((size_t)1 << 30) /* so that positions in normalised text fit 32 bits */

typedef struct encoder {
	const aqz_tokenizer *t;
	aqz_bpe bpe;
	aqz_regex_run run;
	aqz_buffer normal, scratch;
	bool special, first; /* first: the piece begins the text */
	aqz_error *err;
} encoder;

/* What comes after a split: pre-tokenizer steps from one on. */
typedef struct stage {
	encoder *e;
	uint32_t step;
	bool first; /* the text that is split begins the whole text */
} stage;

static aqz_status pre_tokenize(encoder *e, uint32_t step, bool first, const char *text, size_t n);

static aqz_status next_stage(void *user, const char *text, size_t at, size_t n)
{
	const stage *s = user;

	return pre_tokenize(s->e, s->step, s->first && at == 0, text + at, n);
}

static aqz_status word(void *user, const char *text, size_t at, size_t n)
{
	return aqz_bpe_word(&((encoder *)user)->bpe, text + at, n);
}

/* Cuts before each U+2581 that follows something else: no merge goes across (cut_at_space). */
static aqz_status words(encoder *e, const char *text, size_t n)
{
	aqz_status status = AQZ_OK;
	size_t begin = 0, i = 0;

	while (i < n) {
		const char *found = memmem(text + i, n - i, "\xe2\x96\x81", 3);
		size_t at;

		if (found == NULL)
			break;
		at = (size_t)(found - text);
		if (at > i && at > begin) { /* not directly behind another one */
			AQZ_TRY(aqz_bpe_word(&e->bpe, text + begin, at - begin));
			begin = at;
		}
		i = at + 3;
	}
	AQZ_TRY(aqz_bpe_word(&e->bpe, text + begin, n - begin));
out:
	return status;
}

static aqz_status last_stage(encoder *e, const char *text, size_t n)
{
	const aqz_tokenizer *t = e->t;
	aqz_buffer longer = {0};
	aqz_status status;

	if (t->cut_at_space)
		return words(e, text, n);
	if (!t->byte_level)
		return aqz_bpe_word(&e->bpe, text, n);
	if (t->byte_level_prefix && n > 0 && text[0] != ' ') {
		AQZ_TRY(aqz_buffer_add(&longer, " ", 1, e->err));
		AQZ_TRY(aqz_buffer_add(&longer, text, n, e->err));
		text = (const char *)longer.data;
		n = longer.n;
	}
	if (t->byte_level_regex)
		AQZ_TRY(aqz_split(&t->gpt2, &e->run, text, n, word, e, e->err));
	else
		AQZ_TRY(aqz_bpe_word(&e->bpe, text, n));
out:
	aqz_buffer_free(&longer);
	return status;
}

/* Spaces become the step's mark, which is put before the text too. */
static aqz_status metaspace(encoder *e, const aqz_step *step, stage *s, const char *text, size_t n)
{
	aqz_step split = *step;
	aqz_buffer marked = {0};
	aqz_status status = AQZ_OK;
	size_t i = 0;

	if ((step->scheme == AQZ_PREFIX_ALWAYS || (step->scheme == AQZ_PREFIX_FIRST && s->first)) &&
		n > 0 && text[0] != ' ' &&
		(n < step->to_bytes || memcmp(text, step->to, step->to_bytes) != 0))
		AQZ_TRY(aqz_buffer_add(&marked, step->to, step->to_bytes, e->err));
	while (i < n) {
		const char *space = memchr(text + i, ' ', n - i);
		const size_t at = space == NULL ? n : (size_t)(space - text);

		AQZ_TRY(aqz_buffer_add(&marked, text + i, at - i, e->err));
		if (space != NULL)
			AQZ_TRY(aqz_buffer_add(&marked, step->to, step->to_bytes, e->err));
		i = at + 1;
	}
	split.from = step->to;
	split.from_bytes = step->to_bytes;
	split.behavior = AQZ_SPLIT_MERGED_WITH_NEXT;
	if (step->split)
		AQZ_TRY(
			aqz_split(&split, &e->run, (const char *)marked.data, marked.n, next_stage, s, e->err));
	else
		AQZ_TRY(next_stage(s, (const char *)marked.data, 0, marked.n));
out:
	aqz_buffer_free(&marked);
	return status;
}

/* Recursion goes as deep as there are steps. */
static aqz_status pre_tokenize(encoder *e, uint32_t step, bool first, const char *text, size_t n)
{
	const aqz_step *now = &e->t->pre_tokenizer.step[step];
	stage s = {e, step + 1, first};

	if (step == e->t->pre_tokenizer.n)
		return last_stage(e, text, n);
	if (now->kind == AQZ_STEP_METASPACE)
		return metaspace(e, now, &s, text, n);
	return aqz_split(now, &e->run, text, n, next_stage, &s, e->err);
}

static aqz_status normal_piece(void *user, const char *text, size_t at, size_t n)
{
	encoder *e = user;

	return pre_tokenize(e, 0, e->first && at == 0, text + at, n);
}

static aqz_status token(void *user, uint32_t id)
{
	return aqz_bpe_put(&((encoder *)user)->bpe, id);
}

static aqz_status piece(void *user, const char *text, size_t at, size_t n)
{
	encoder *e = user;
	const aqz_cut cut = {normal_piece, token, e};
	aqz_status status;

	e->first = at == 0;
	text += at;
	if (e->t->normalizer.n > 0) {
		AQZ_TRY(aqz_normalize(e->t, &e->run, &e->normal, &e->scratch, text, n, e->err));
		text = (const char *)e->normal.data;
		n = e->normal.n;
	}
	AQZ_TRY(aqz_added_cut(e->t, &e->t->tries[1], &cut, text, n, e->special));
out:
	return status;
}

aqz_status aqz_tokenizer_encode(const aqz_tokenizer *t, uint32_t **ids, size_t *n_ids,
	const char *text, size_t n_bytes, bool special, aqz_error *err)
{
	encoder e = {.t = t, .bpe = {.t = t, .err = err}, .special = special, .err = err};
	const aqz_cut cut = {piece, token, &e};
	aqz_status status;

	*ids = NULL;
	*n_ids = 0;
	if (n_bytes > MAX_TEXT_BYTES)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "n_bytes",
			"a text of more than 2^30 bytes; give it in pieces");
	AQZ_TRY(aqz_regex_begin(&e.run, err));
	e.bpe.ids_capacity = n_bytes / 4 + 16;
	e.bpe.ids = malloc(e.bpe.ids_capacity * sizeof *e.bpe.ids);
	if (e.bpe.ids == NULL) {
		status = aqz_fail_nomem(err, e.bpe.ids_capacity * sizeof *e.bpe.ids);
		goto out;
	}
	AQZ_TRY(aqz_added_cut(t, &t->tries[0], &cut, text, n_bytes, special));
	*ids = e.bpe.ids;
	*n_ids = e.bpe.n_ids;
	e.bpe.ids = NULL;
out:
	free(e.bpe.ids);
	aqz_bpe_free(&e.bpe);
	aqz_regex_end(&e.run);
	aqz_buffer_free(&e.normal);
	aqz_buffer_free(&e.scratch);
	return status;
}
