/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation as text with marks where it has tokens of its own. */
#ifndef AQZ_MODEL_CHAT_H
#define AQZ_MODEL_CHAT_H

#include "aqlmzip_model.h"
#include "base/base.h"

#define AQZ_CHAT_MARKS 16

/* text[begin, end) is the text of token id. */
typedef struct aqz_chat_mark {
	uint32_t id;
	size_t begin, end;
} aqz_chat_mark;

/* Zeroed but for tokenizer and err, status OK; text is freed with aqz_buffer_free(). */
typedef struct aqz_chat_text {
	const aqz_tokenizer *tokenizer;
	aqz_buffer text;
	aqz_chat_mark marks[AQZ_CHAT_MARKS];
	unsigned n_marks;
	aqz_status status; /* of the first call that failed */
	aqz_error *err;
} aqz_chat_text;

/* Writes the conversation up to where the answer begins; see c->status. */
void aqz_chat_write(aqz_chat_text *c, aqz_chat_form form, const char *system, const char *message);

#endif
