/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation as ids. Its text is encoded as a whole, as the reference does it; but if the messages hold texts of
 * special tokens, it is encoded piece by piece between our own markers, so that these texts stay text. */
#include "model/chat.h"

/* True if the special tokens among ids are the marks, one by one. */
static bool only_marks(const aqz_chat_text *c, const uint32_t *ids, size_t n_ids)
{
	unsigned at = 0;

	for (size_t i = 0; i < n_ids; i++) {
		bool mark = at < c->n_marks && ids[i] == c->marks[at].id;
		size_t n_bytes;

		if (mark) {
			at++;
			continue;
		}
		/* Special tokens have no bytes; neither do unknown ones, which only pieces can tell apart. */
		aqz_tokenizer_bytes(c->tokenizer, ids[i], &n_bytes);
		if (n_bytes == 0)
			return false;
	}
	return at == c->n_marks;
}

static aqz_status encode_pieces(const aqz_chat_text *c, uint32_t **ids, size_t *n_ids, aqz_error *err)
{
	const char *text = (const char *)c->text.data;
	aqz_buffer all = {0};
	aqz_status status = AQZ_OK;

	for (unsigned i = 0; i <= c->n_marks; i++) {
		size_t begin = i == 0 ? 0 : c->marks[i - 1].end,
			   end = i < c->n_marks ? c->marks[i].begin : c->text.n;

		if (end > begin) {
			uint32_t *piece;
			size_t n;

			AQZ_TRY(aqz_tokenizer_encode(
				c->tokenizer, &piece, &n, text + begin, end - begin, false, err));
			status = aqz_buffer_add(&all, piece, n * sizeof *piece, err);
			free(piece);
			if (status != AQZ_OK)
				goto out;
		}
		if (i < c->n_marks)
			AQZ_TRY(aqz_buffer_add(&all, &c->marks[i].id, sizeof c->marks[i].id, err));
	}
	*n_ids = all.n / sizeof **ids;
	*ids = (uint32_t *)(void *)all.data;
	all.data = NULL;
out:
	if (status != AQZ_OK)
		aqz_buffer_free(&all);
	return status;
}

aqz_status aqz_chat_encode(const aqz_tokenizer *tokenizer, aqz_chat_form form, const char *system,
	const char *message, uint32_t **ids, size_t *n_ids, aqz_error *err)
{
	aqz_chat_text c = {.tokenizer = tokenizer, .err = err};
	aqz_status status;

	*ids = NULL;
	*n_ids = 0;
	if (tokenizer == NULL || message == NULL)
		return aqz_fail(
			err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "", "a chat needs a tokenizer and a message");
	aqz_chat_write(&c, form, system, message);
	AQZ_TRY(c.status);
	AQZ_TRY(
		aqz_tokenizer_encode(tokenizer, ids, n_ids, (const char *)c.text.data, c.text.n, true, err));
	if (!only_marks(&c, *ids, *n_ids)) {
		free(*ids);
		*ids = NULL;
		*n_ids = 0;
		status = encode_pieces(&c, ids, n_ids, err);
	}
out:
	aqz_buffer_free(&c.text);
	return status;
}
