/* SPDX-License-Identifier: Apache-2.0 */
/* SentencePiece's tokenizer.model: a protocol buffer (ModelProto of sentencepiece_model.proto), of which pieces,
 * trainer_spec and normalizer_spec are read. */
#include <inttypes.h>
#include <math.h>

#include "model/tokenizer.h"

typedef struct bytes {
	const uint8_t *p, *end;
	const uint8_t *begin; /* of the file, for offsets */
} bytes;

/* A field: its number, and a number or the bytes that it holds. */
typedef struct field {
	uint32_t number, wire;
	uint64_t value;
	bytes inside;
} field;

typedef enum piece_type {
	NORMAL = 1,
	UNKNOWN = 2,
	CONTROL = 3,
	USER_DEFINED = 4,
	UNUSED = 5,
	BYTE = 6
} piece_type;

typedef struct piece {
	const char *text;
	size_t n;
	float score;
	piece_type type;
} piece;

typedef struct model {
	uint64_t n_pieces;
	uint64_t type; /* of trainer_spec; 2 is BPE */
	bool byte_fallback, suffix, prefix, strip, escape, charsmap;
	const char *bos, *eos;
	size_t bos_bytes, eos_bytes;
} model;

static const char where_file[] = "tokenizer.model";

static aqz_status broken(const bytes *b, aqz_status status, const char *what, aqz_error *err)
{
	return aqz_fail(err, status, (uint64_t)(b->p - b->begin), where_file, "%s", what);
}

static aqz_status varint(bytes *b, uint64_t *value, aqz_error *err)
{
	*value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (b->p == b->end)
			return broken(b, AQZ_E_TRUNCATED, "the file ends in a number", err);
		*value |= (uint64_t)(*b->p & 0x7f) << shift;
		if ((*b->p++ & 0x80) == 0)
			return AQZ_OK;
	}
	return broken(b, AQZ_E_CORRUPT, "a number has more than ten bytes", err);
}

/* The next field; there is one. */
static aqz_status next(bytes *b, field *f, aqz_error *err)
{
	uint64_t tag, n;
	aqz_status status;

	AQZ_TRY(varint(b, &tag, err));
	if (tag >> 3 == 0 || tag >> 3 > UINT32_C(0x1fffffff))
		return broken(b, AQZ_E_CORRUPT, "a field has an impossible number", err);
	*f = (field){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
	switch (f->wire) {
	case 0:
		return varint(b, &f->value, err);
	case 1:
	case 5:
		n = f->wire == 1 ? 8 : 4;
		break;
	case 2:
		AQZ_TRY(varint(b, &n, err));
		break;
	default:
		return broken(b, AQZ_E_CORRUPT, "a field has an unknown type", err);
	}
	if ((uint64_t)(b->end - b->p) < n)
		return broken(b, AQZ_E_TRUNCATED, "a field goes beyond the end", err);
	f->inside = (bytes){b->p, b->p + n, b->begin};
	f->value = n == 4 ? aqz_get32(b->p) : 0;
	b->p += n;
out:
	return status;
}

static aqz_status wire_is(const bytes *b, const field *f, uint32_t wire, aqz_error *err)
{
	return f->wire == wire ? AQZ_OK : broken(b, AQZ_E_CORRUPT, "a known field has another type", err);
}

static aqz_status read_trainer(model *m, bytes b, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	while (b.p < b.end) {
		field f;

		AQZ_TRY(next(&b, &f, err));
		if (f.number == 3 || f.number == 24 || f.number == 35)
			AQZ_TRY(wire_is(&b, &f, 0, err));
		if (f.number == 46 || f.number == 47)
			AQZ_TRY(wire_is(&b, &f, 2, err));
		if (f.number == 3)
			m->type = f.value;
		else if (f.number == 24)
			m->suffix = f.value != 0;
		else if (f.number == 35)
			m->byte_fallback = f.value != 0;
		else if (f.number == 46) {
			m->bos = (const char *)f.inside.p;
			m->bos_bytes = (size_t)(f.inside.end - f.inside.p);
		} else if (f.number == 47) {
			m->eos = (const char *)f.inside.p;
			m->eos_bytes = (size_t)(f.inside.end - f.inside.p);
		}
	}
out:
	return status;
}

/* normalizer_spec, or of denormalizer_spec only whether it does anything. */
static aqz_status read_normalizer(model *m, bytes b, bool denormalizer, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	while (b.p < b.end) {
		field f;

		AQZ_TRY(next(&b, &f, err));
		if (f.number == 2) {
			AQZ_TRY(wire_is(&b, &f, 2, err));
			m->charsmap = m->charsmap || f.inside.p < f.inside.end;
		} else if (f.number >= 3 && f.number <= 5 && !denormalizer) {
			AQZ_TRY(wire_is(&b, &f, 0, err));
			*(f.number == 3 ? &m->prefix : f.number == 4 ? &m->strip : &m->escape) = f.value != 0;
		}
	}
out:
	return status;
}

static aqz_status read_model(model *m, bytes b, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	*m = (model){.type = 1,
		.prefix = true,
		.strip = true,
		.escape = true,
		.bos = "<s>",
		.eos = "</s>",
		.bos_bytes = 3,
		.eos_bytes = 4};
	while (b.p < b.end) {
		field f;

		AQZ_TRY(next(&b, &f, err));
		if (f.number == 1 || f.number == 2 || f.number == 3 || f.number == 5)
			AQZ_TRY(wire_is(&b, &f, 2, err));
		if (f.number == 1)
			m->n_pieces++;
		else if (f.number == 2)
			AQZ_TRY(read_trainer(m, f.inside, err));
		else if (f.number == 3 || f.number == 5)
			AQZ_TRY(read_normalizer(m, f.inside, f.number == 5, err));
	}
	if (m->type != 2)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "trainer_spec.model_type",
			"only BPE is supported, not %s",
			m->type == 1	   ? "Unigram"
				: m->type == 3 ? "Word"
				: m->type == 4 ? "Char"
							   : "another type");
	if (m->suffix)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET,
			"trainer_spec.treat_whitespace_as_suffix",
			"spaces at the ends of words are not supported");
	if (m->charsmap)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "normalizer_spec.precompiled_charsmap",
			"a normalizer other than identity is not supported");
out:
	return status;
}

static aqz_status read_piece(piece *out, bytes b, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	*out = (piece){.text = "", .type = NORMAL};
	while (b.p < b.end) {
		field f;

		AQZ_TRY(next(&b, &f, err));
		if (f.number >= 1 && f.number <= 3)
			AQZ_TRY(wire_is(&b, &f, f.number == 1 ? 2 : f.number == 2 ? 5 : 0, err));
		if (f.number == 1) {
			out->text = (const char *)f.inside.p;
			out->n = (size_t)(f.inside.end - f.inside.p);
		} else if (f.number == 2) {
			const uint32_t bits = (uint32_t)f.value;

			memcpy(&out->score, &bits, 4);
		} else if (f.number == 3) {
			if (f.value < NORMAL || f.value > BYTE)
				return broken(&b, AQZ_E_CORRUPT, "a piece has an unknown type", err);
			out->type = (piece_type)f.value;
		}
	}
	if (out->n == 0 || aqz_utf8_valid(out->text, out->n) != out->n)
		return broken(&b, AQZ_E_CORRUPT, "a piece is empty or no UTF-8", err);
	if (isnan(out->score))
		return broken(&b, AQZ_E_CORRUPT, "the score of a piece is no number", err);
out:
	return status;
}

aqz_status aqz_vocab_add_piece(aqz_tokenizer *t, uint32_t id, const char *text, size_t n,
	int64_t type, bool raw, aqz_error *err)
{
	/* User defined ones are in the texts that merges know, where spaces are U+2581. */
	const bool matched = type == NORMAL || type == USER_DEFINED || type == UNUSED;
	aqz_added added = {.id = id, .content_bytes = (uint32_t)n};
	aqz_status status;

	AQZ_TRY(aqz_vocab_add(t, id, text, n,
		AQZ_TOKEN_VOCAB | (matched ? AQZ_TOKEN_TEXT : 0) | (type == UNUSED ? AQZ_TOKEN_UNUSED : 0),
		err));
	if (type == BYTE && aqz_byte_token(text, n) < 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "pieces",
			"the piece %" PRIu32 " is a byte but not written as one", id);
	if (type == UNKNOWN) {
		if (t->unk != AQZ_NO_TOKEN)
			return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "pieces",
				"the pieces %" PRIu32 " and %" PRIu32 " are both the unknown one", t->unk, id);
		t->unk = id;
	}
	if (type == UNKNOWN || type == CONTROL || type == USER_DEFINED) {
		added.content = t->tokens[id].key;
		added.special = type != USER_DEFINED;
		added.normalized = added.literal = type == USER_DEFINED && !raw;
		AQZ_TRY(aqz_vocab_add_added(t, &added, err));
	}
out:
	return status;
}

static uint32_t control(const aqz_tokenizer *t, const char *text, size_t n)
{
	const uint32_t id = aqz_vocab_find(t, text, n, false);

	return id != AQZ_NO_TOKEN && id != t->unk && (t->tokens[id].flags & AQZ_TOKEN_SPECIAL)
		? id
		: AQZ_NO_TOKEN;
}

aqz_status aqz_tokenizer_read_spm(
	aqz_tokenizer *t, const uint8_t *data, size_t n, const json_t *config, aqz_error *err)
{
	bytes b = {data, data + n, data};
	uint64_t n_ids, n_added;
	float *scores = NULL;
	aqz_status status;
	uint32_t id = 0;
	piece now;
	model m;

	AQZ_TRY(read_model(&m, b, err));
	n_ids = m.n_pieces;
	AQZ_TRY(aqz_config_added_count(config, &n_added, &n_ids, err));
	AQZ_TRY(aqz_vocab_begin(t, n_ids, m.n_pieces + n_added, err));
	scores = calloc((size_t)n_ids, sizeof *scores);
	if (scores == NULL) {
		status = aqz_fail_nomem(err, n_ids * sizeof *scores);
		goto out;
	}
	while (b.p < b.end) {
		field f;

		AQZ_TRY(next(&b, &f, err));
		if (f.number != 1)
			continue;
		AQZ_TRY(read_piece(&now, f.inside, err));
		scores[id] = now.score;
		AQZ_TRY(aqz_vocab_add_piece(t, id++, now.text, now.n, now.type, false, err));
	}
	t->byte_fallback = m.byte_fallback;
	t->fuse_unk = true;
	AQZ_TRY(aqz_pairs_from_scores(t, scores, err));
	AQZ_TRY(aqz_steps_sentencepiece(t, m.prefix, m.strip, m.escape, err));
	t->bos = control(t, m.bos, m.bos_bytes);
	t->eos = control(t, m.eos, m.eos_bytes);
	t->adds_bos = t->bos != AQZ_NO_TOKEN;
	AQZ_TRY(aqz_config_added_apply(t, config, err));
	AQZ_TRY(aqz_tokenizer_apply_config(t, config, err));
	AQZ_TRY(aqz_tokenizer_finish(t, err));
out:
	free(scores);
	return status;
}
