/* SPDX-License-Identifier: Apache-2.0 */
/* Ids to text. What each token stands for is found once, by the decoder's steps. */
#include <inttypes.h>

#include "model/tokenizer.h"

static aqz_status replace(aqz_buffer *out, const char *text, size_t n, const char *from,
	size_t from_bytes, const char *to, size_t to_bytes, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	size_t done = 0;

	out->n = 0;
	while (from_bytes > 0) {
		const char *found = memmem(text + done, n - done, from, from_bytes);

		if (found == NULL)
			break;
		AQZ_TRY(aqz_buffer_add(out, text + done, (size_t)(found - text) - done, err));
		AQZ_TRY(aqz_buffer_add(out, to, to_bytes, err));
		done = (size_t)(found - text) + from_bytes;
	}
	AQZ_TRY(aqz_buffer_add(out, text + done, n - done, err));
out:
	return status;
}

/* The bytes of one token that is not byte-level. */
static aqz_status decode_token(const aqz_tokenizer *t, aqz_buffer *out, aqz_buffer *scratch,
	const aqz_token *token, aqz_error *err)
{
	aqz_status status = AQZ_OK;

	out->n = 0;
	AQZ_TRY(aqz_buffer_add(out, token->key, token->key_bytes, err));
	for (uint32_t i = 0; i < t->decoder.n; i++) {
		const aqz_step *step = &t->decoder.step[i];
		const aqz_buffer before = *out;
		const bool replaces = step->kind == AQZ_STEP_REPLACE;
		int byte;

		switch (step->kind) {
		case AQZ_STEP_REPLACE:
		case AQZ_STEP_METASPACE:
			AQZ_TRY(replace(scratch, (const char *)before.data, before.n,
				replaces ? step->from : step->to, replaces ? step->from_bytes : step->to_bytes,
				replaces ? step->to : " ", replaces ? step->to_bytes : 1, err));
			*out = *scratch;
			*scratch = before;
			break;
		case AQZ_STEP_BYTE_FALLBACK:
			byte = aqz_byte_token((const char *)out->data, out->n);
			if (byte >= 0) {
				out->n = 1;
				out->data[0] = (uint8_t)byte;
				return AQZ_OK; /* no text for further steps */
			}
			break;
		default:
			break;
		}
		if (out->n > 64 * AQZ_TOKENIZER_MAX_TOKEN_BYTES)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "decoder",
				"it makes a token longer than 65536 bytes");
	}
out:
	return status;
}

aqz_status aqz_decoder_finish(aqz_tokenizer *t, aqz_error *err)
{
	aqz_buffer text = {0}, scratch = {0};
	aqz_status status = AQZ_OK;

	for (uint32_t id = 0; id < t->n_ids; id++) {
		aqz_token *token = &t->tokens[id];

		token->out = token->key == NULL ? "" : token->key;
		token->out_bytes = token->key_bytes;
		if (t->byte_level || token->key == NULL)
			continue;
		AQZ_TRY(decode_token(t, &text, &scratch, token, err));
		if (text.n == token->key_bytes && memcmp(text.data, token->key, text.n) == 0)
			continue;
		AQZ_TRY(aqz_tokenizer_keep(t, &token->out, (const char *)text.data, text.n, err));
		token->out_bytes = (uint32_t)text.n;
	}
	/* In byte-level vocabularies the letters for bytes are not those of added tokens. */
	for (uint32_t i = 0; i < t->n_added && t->byte_level; i++) {
		t->tokens[t->added[i].id].out = t->added[i].content;
		t->tokens[t->added[i].id].out_bytes = t->added[i].content_bytes;
	}
out:
	aqz_buffer_free(&text);
	aqz_buffer_free(&scratch);
	return status;
}

/* What is taken off where a text begins: so many times from. */
static aqz_step strip_of(const aqz_tokenizer *t)
{
	for (uint32_t i = 0; i < t->decoder.n; i++) {
		const aqz_step *step = &t->decoder.step[i];

		if (step->kind == AQZ_STEP_STRIP)
			return *step;
		if (step->kind == AQZ_STEP_METASPACE && step->scheme != AQZ_PREFIX_NEVER)
			return (aqz_step){.from = " ", .from_bytes = 1, .count = 1};
	}
	return (aqz_step){0};
}

aqz_status aqz_tokenizer_decode(const aqz_tokenizer *t, char **text, size_t *n_bytes,
	const uint32_t *ids, size_t n_ids, bool first, bool special, aqz_error *err)
{
	aqz_step strip = strip_of(t);
	aqz_buffer out = {0};
	aqz_status status;

	*text = NULL;
	*n_bytes = 0;
	for (size_t i = 0; i < n_ids; i++) {
		const aqz_token *token;
		const char *bytes;
		size_t n;

		if (ids[i] >= t->n_ids) {
			status = aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "ids",
				"the id %" PRIu32 " is out of range: there are %" PRIu32, ids[i], t->n_ids);
			goto out;
		}
		token = &t->tokens[ids[i]];
		bytes = token->out;
		n = token->out_bytes;
		if (token->flags & AQZ_TOKEN_SPECIAL) {
			if (!special)
				continue;
		} else if (first && n > 0) {
			while (strip.count > 0 && n >= strip.from_bytes &&
				memcmp(bytes, strip.from, strip.from_bytes) == 0) {
				bytes += strip.from_bytes;
				n -= strip.from_bytes;
				strip.count--;
			}
			first = n == 0 && strip.count > 0;
		}
		AQZ_TRY(aqz_buffer_add(&out, bytes, n, err));
	}
	AQZ_TRY(aqz_buffer_add(&out, "", 1, err));
	*text = (char *)out.data;
	*n_bytes = out.n - 1;
	out.data = NULL;
out:
	aqz_buffer_free(&out);
	return status;
}
