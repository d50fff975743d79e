/* SPDX-License-Identifier: Apache-2.0 */
/* The first turn of a conversation in the forms that models were trained on. The template of a tokenizer is a program
 * in Jinja and is not run; its literal texts say which form it is and how it differs from the others of that form:
 *
 *	ChatML    <|im_start|>system\nSYSTEM<|im_end|>\n<|im_start|>user\nMESSAGE<|im_end|>\n<|im_start|>assistant\n
 *	          BOS in front if the template speaks of bos_token; a system message that the template has in store is
 *	          used if none is given
 *	Llama-2   BOS[INST] <<SYS>>\nSYSTEM\n<</SYS>>\n\nMESSAGE [/INST]
 *	Llama-3   BOS<|start_header_id|>system<|end_header_id|>\n\nSYSTEM<|eot_id|>
 *	          <|start_header_id|>user<|end_header_id|>\n\nMESSAGE<|eot_id|>
 *	          <|start_header_id|>assistant<|end_header_id|>\n\n, in one line, without the dates of later ones
 *	Mistral   BOS[INST] SYSTEM\n\nMESSAGE [/INST], with the spaces that the template has; [SYSTEM_PROMPT] where it has
 *	          it
 *
 * A marker that is a token of the vocabulary becomes that token, else its text. */
#include "model/chat.h"

#define IM_START "<|im_start|>"
#define IM_END "<|im_end|>"
#define HEADER "<|start_header_id|>"
#define HEADER_END "<|end_header_id|>"
#define TURN_END "<|eot_id|>"
#define INST "[INST]"
#define INST_END "[/INST]"
#define SYSTEM "[SYSTEM_PROMPT]"
#define SYSTEM_END "[/SYSTEM_PROMPT]"

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Texts without the white space around them, as the templates' trim and strip do. */
static const char *trim(const char *text, size_t *n)
{
	*n = strlen(text);
	while (*n > 0 && is_space(text[*n - 1]))
		--*n;
	while (*n > 0 && is_space(*text)) {
		text++;
		--*n;
	}
	return text;
}

/* Text, as it is. A status that is not OK stays. */
static void add_bytes(aqz_chat_text *c, const char *text, size_t n)
{
	if (c->status == AQZ_OK)
		c->status = aqz_buffer_add(&c->text, text, n, c->err);
}

static void add_text(aqz_chat_text *c, const char *text)
{
	add_bytes(c, text, strlen(text));
}

static void add_trimmed(aqz_chat_text *c, const char *text)
{
	size_t n;

	text = trim(text, &n);
	add_bytes(c, text, n);
}

/* A token where the vocabulary has it, and its text in any case. */
static void add_id(aqz_chat_text *c, uint32_t id, const char *text)
{
	if (c->status == AQZ_OK && c->n_marks == AQZ_CHAT_MARKS)
		c->status = aqz_fail(c->err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "chat", "too many markers");
	if (c->status == AQZ_OK && id != AQZ_NO_TOKEN) {
		aqz_chat_mark *mark = &c->marks[c->n_marks++];

		mark->id = id;
		mark->begin = c->text.n;
		add_text(c, text);
		mark->end = c->text.n;
	} else {
		add_text(c, text);
	}
}

static void add_marker(aqz_chat_text *c, const char *text)
{
	add_id(c, aqz_tokenizer_find_special(c->tokenizer, text), text);
}

static void add_bos(aqz_chat_text *c)
{
	uint32_t bos = aqz_tokenizer_bos(c->tokenizer);
	size_t n;
	char *text;

	if (c->status != AQZ_OK || bos == AQZ_NO_TOKEN)
		return;
	c->status = aqz_tokenizer_decode(c->tokenizer, &text, &n, &bos, 1, false, true, c->err);
	if (c->status == AQZ_OK) {
		add_id(c, bos, text);
		free(text);
	}
}

/* The system message that a ChatML template has in store, of *n bytes, or NULL. It stands in one string literal between
 * the markers; other places there go on with a variable. */
static const char *stored_system(const char *template, size_t *n)
{
	static const char start[] = IM_START "system";

	for (const char *s = template; (s = strstr(s, start)) != NULL;) {
		const char *end;

		s += sizeof start - 1;
		if (*s == '\n')
			s++;
		else if (s[0] == '\\' && s[1] == 'n')
			s += 2;
		else
			continue;
		end = strstr(s, IM_END);
		*n = end != NULL ? (size_t)(end - s) : 0;
		if (*n > 0 && memchr(s, '\'', *n) == NULL && memchr(s, '"', *n) == NULL &&
			memchr(s, '{', *n) == NULL && memchr(s, '}', *n) == NULL)
			return s;
	}
	return NULL;
}

/* A string literal of Jinja, whose escapes are those of Python. */
static void add_literal(aqz_chat_text *c, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char byte = text[i];

		if (byte == '\\' && i + 1 < n && text[i + 1] == 'n') {
			byte = '\n';
			i++;
		} else if (byte == '\\' && i + 1 < n && text[i + 1] == '\\') {
			i++;
		}
		add_bytes(c, &byte, 1);
	}
}

static void write_chatml(
	aqz_chat_text *c, const char *template, const char *system, const char *message)
{
	size_t n = 0;
	const char *stored = system == NULL ? stored_system(template, &n) : NULL;

	if (strstr(template, "bos_token") != NULL)
		add_bos(c);
	if (system != NULL || stored != NULL) {
		add_marker(c, IM_START);
		add_text(c, "system\n");
		if (system != NULL)
			add_text(c, system);
		else
			add_literal(c, stored, n);
		add_marker(c, IM_END);
		add_text(c, "\n");
	}
	add_marker(c, IM_START);
	add_text(c, "user\n");
	add_text(c, message);
	add_marker(c, IM_END);
	add_text(c, "\n");
	add_marker(c, IM_START);
	add_text(c, "assistant\n");
}

static void write_llama2(aqz_chat_text *c, const char *system, const char *message)
{
	size_t start, n;

	add_bos(c);
	add_marker(c, INST);
	add_text(c, " ");
	start = c->text.n;
	if (system != NULL) {
		add_text(c, "<<SYS>>\n");
		add_text(c, system);
		add_text(c, "\n<</SYS>>\n\n");
	} else {
		message = trim(message, &n);
	}
	add_text(c, message);
	/* What is stripped is the whole. */
	while (c->text.n > start && is_space((char)c->text.data[c->text.n - 1]))
		c->text.n--;
	add_text(c, " ");
	add_marker(c, INST_END);
}

static void add_header(aqz_chat_text *c, const char *role)
{
	add_marker(c, HEADER);
	add_text(c, role);
	add_marker(c, HEADER_END);
	add_text(c, "\n\n");
}

static void write_llama3(aqz_chat_text *c, const char *system, const char *message)
{
	add_bos(c);
	if (system != NULL) {
		add_header(c, "system");
		add_trimmed(c, system);
		add_marker(c, TURN_END);
	}
	add_header(c, "user");
	add_trimmed(c, message);
	add_marker(c, TURN_END);
	add_header(c, "assistant");
}

/* True if the literal that the template has for marker has a space before it, or behind it. Where the template does not
 * speak of the marker the answer is otherwise. */
static bool has_space(const char *template, const char *marker, bool before, bool otherwise)
{
	const char *s = strstr(template, marker);

	if (s == NULL)
		return otherwise;
	return before ? s > template && s[-1] == ' ' : s[strlen(marker)] == ' ';
}

/* As has_space, but the space must be the literal's first character: "{{ ' [INST] '" and not "[/INST] [INST]". */
static bool begins_with_space(const char *template, const char *marker)
{
	const char *s = strstr(template, marker);

	return s != NULL && s - template >= 2 && s[-1] == ' ' && (s[-2] == '\'' || s[-2] == '"');
}

static void write_mistral(
	aqz_chat_text *c, const char *template, const char *system, const char *message)
{
	bool own_system = strstr(template, SYSTEM) != NULL &&
		aqz_tokenizer_find_special(c->tokenizer, SYSTEM) != AQZ_NO_TOKEN;

	add_bos(c);
	if (system != NULL && own_system) {
		add_marker(c, SYSTEM);
		if (has_space(template, SYSTEM, false, false))
			add_text(c, " ");
		add_text(c, system);
		add_marker(c, SYSTEM_END);
	}
	if (begins_with_space(template, INST))
		add_text(c, " ");
	add_marker(c, INST);
	if (has_space(template, INST, false, true))
		add_text(c, " ");
	if (system != NULL && !own_system) {
		add_text(c, system);
		add_text(c, "\n\n");
	}
	add_text(c, message);
	if (has_space(template, INST_END, true, true))
		add_text(c, " ");
	add_marker(c, INST_END);
}

void aqz_chat_write(aqz_chat_text *c, aqz_chat_form form, const char *system, const char *message)
{
	const char *template = aqz_tokenizer_chat_template(c->tokenizer);

	if (template == NULL)
		template = "";
	switch (form) {
	case AQZ_CHAT_CHATML:
		write_chatml(c, template, system, message);
		break;
	case AQZ_CHAT_LLAMA2:
		write_llama2(c, system, message);
		break;
	case AQZ_CHAT_LLAMA3:
		write_llama3(c, system, message);
		break;
	case AQZ_CHAT_MISTRAL:
		write_mistral(c, template, system, message);
		break;
	case AQZ_CHAT_NONE:
	default:
		c->status = aqz_fail(
			c->err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "form", "there is no such form of a chat");
		break;
	}
}

static bool has(const aqz_tokenizer *t, const char *text)
{
	return aqz_tokenizer_find_special(t, text) != AQZ_NO_TOKEN;
}

aqz_chat_form aqz_chat_form_guess(const aqz_tokenizer *t)
{
	const char *template = aqz_tokenizer_chat_template(t);

	if (template == NULL)
		return has(t, IM_START) && has(t, IM_END) ? AQZ_CHAT_CHATML
			: has(t, HEADER) && has(t, TURN_END)  ? AQZ_CHAT_LLAMA3
			: has(t, INST) && has(t, INST_END)	  ? AQZ_CHAT_MISTRAL
												  : AQZ_CHAT_NONE;
	return strstr(template, IM_START) != NULL ? AQZ_CHAT_CHATML
		: strstr(template, HEADER) != NULL	  ? AQZ_CHAT_LLAMA3
		: strstr(template, "<<SYS>>") != NULL ? AQZ_CHAT_LLAMA2
		: strstr(template, INST) != NULL	  ? AQZ_CHAT_MISTRAL
											  : AQZ_CHAT_NONE;
}

uint32_t aqz_chat_end(const aqz_tokenizer *t, aqz_chat_form form)
{
	return form == AQZ_CHAT_CHATML ? aqz_tokenizer_find_special(t, IM_END)
		: form == AQZ_CHAT_LLAMA3  ? aqz_tokenizer_find_special(t, TURN_END)
		: form == AQZ_CHAT_NONE	   ? AQZ_NO_TOKEN
								   : aqz_tokenizer_eos(t);
}
