/* SPDX-License-Identifier: Apache-2.0 */
/* Opening tokenizers, and what is asked of them without any text. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interop/json_text.h"
#include "interop/source.h"
#include "model/model.h"
#include "model/tokenizer.h"

#define MAX_JSON_DEPTH 32u
#define ROOM_BYTES 65536u

aqz_status aqz_tokenizer_new(aqz_tokenizer **out, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_tokenizer *t = calloc(1, sizeof *t);

	*out = t;
	if (t == NULL)
		return aqz_fail_nomem(err, sizeof *t);
	t->budget.limit_bytes = memlimit_bytes;
	t->unk = t->bos = t->eos = AQZ_NO_TOKEN;
	t->seed = (uint64_t)(uintptr_t)t * UINT64_C(0x9e3779b97f4a7c15);
	return AQZ_OK;
}

static void steps_free(aqz_steps *steps)
{
	for (uint32_t i = 0; i < steps->n; i++)
		pcre2_code_free(steps->step[i].code);
}

void aqz_tokenizer_close(aqz_tokenizer *t)
{
	if (t == NULL)
		return;
	steps_free(&t->normalizer);
	steps_free(&t->pre_tokenizer);
	steps_free(&t->decoder);
	pcre2_code_free(t->gpt2.code);
	while (t->held != NULL) {
		aqz_tokenizer_held *held = t->held;

		t->held = held->next;
		aqz_budget_free(&t->budget, held->p, held->n_bytes);
		free(held);
	}
	free(t);
}

aqz_status aqz_tokenizer_hold(
	aqz_tokenizer *t, void **p, uint64_t n_bytes, const char *what, aqz_error *err)
{
	aqz_tokenizer_held *held = malloc(sizeof *held);
	aqz_status status;

	*p = NULL;
	if (held == NULL)
		return aqz_fail_nomem(err, sizeof *held);
	AQZ_TRY(aqz_budget_alloc(&t->budget, p, n_bytes, what, err));
	*held = (aqz_tokenizer_held){t->held, *p, n_bytes};
	t->held = held;
	held = NULL;
out:
	free(held);
	return status;
}

aqz_status aqz_tokenizer_keep(
	aqz_tokenizer *t, const char **out, const char *text, size_t n, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	void *p;

	if (t->room_bytes < n + 1) {
		const size_t n_bytes = n + 1 > ROOM_BYTES ? n + 1 : ROOM_BYTES;

		AQZ_TRY(aqz_tokenizer_hold(t, &p, n_bytes, "the texts of tokens", err));
		t->room = p;
		t->room_bytes = n_bytes;
	}
	if (n > 0)
		memcpy(t->room, text, n);
	t->room[n] = '\0';
	*out = t->room;
	t->room += n + 1;
	t->room_bytes -= n + 1;
out:
	return status;
}

/* ---- From bytes */

static aqz_status load_json(json_t **out, uint64_t *charged, aqz_budget *budget, const char *text,
	size_t n, bool reals, const char *where, aqz_error *err)
{
	const size_t begin = aqz_json_space(text, n, 0);
	aqz_json_count count;
	aqz_status status;
	size_t end;

	*out = NULL;
	*charged = 0;
	if (begin == n || text[begin] != '{')
		return aqz_fail(err, AQZ_E_CORRUPT, begin, where, "the file is no JSON object");
	AQZ_TRY(aqz_json_walk(&count, &end, text, n, begin, MAX_JSON_DEPTH, 0, where, err));
	if (aqz_json_space(text, n, end) != n)
		return aqz_fail(err, AQZ_E_CORRUPT, end, where, "something follows the JSON object");
	AQZ_TRY(aqz_json_load_as(
		out, charged, budget, &count, text + begin, end - begin, reals, begin, where, err));
out:
	return status;
}

aqz_status aqz_tokenizer_parse(aqz_tokenizer **out, const void *data, size_t n_bytes,
	const void *config, size_t config_bytes, uint64_t memlimit_bytes, aqz_error *err)
{
	const char *text = data;
	json_t *config_json = NULL;
	uint64_t charged = 0;
	aqz_tokenizer *t;
	aqz_status status;
	size_t begin;

	*out = NULL;
	AQZ_TRY(aqz_tokenizer_new(&t, memlimit_bytes, err));
	if (n_bytes > AQZ_TOKENIZER_MAX_FILE_BYTES) {
		status = aqz_fail(
			err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, NULL, "the tokenizer is longer than 512 MiB");
		goto out;
	}
	if (config != NULL)
		/* model_max_length is often 10^30; no number there is looked at. */
		AQZ_TRY(load_json(&config_json, &charged, &t->budget, config, config_bytes, true,
			"tokenizer_config.json", err));
	begin = aqz_json_space(text, n_bytes, 0);
	if (begin < n_bytes && text[begin] == '{')
		AQZ_TRY(aqz_tokenizer_read_json(t, text, n_bytes, config_json, err));
	else if (n_bytes > 0 && text[0] == 0x0a) /* the tag of a piece */
		AQZ_TRY(aqz_tokenizer_read_spm(t, data, n_bytes, config_json, err));
	else {
		status = aqz_fail(
			err, AQZ_E_FORMAT, 0, NULL, "this is neither tokenizer.json nor a SentencePiece model");
		goto out;
	}
	*out = t;
	t = NULL;
out:
	if (config_json != NULL)
		aqz_json_free(config_json, charged, *out != NULL ? &(*out)->budget : &t->budget);
	aqz_tokenizer_close(t);
	return status;
}

aqz_status aqz_tokenizer_json_load(json_t **out, uint64_t *charged, aqz_tokenizer *t,
	const char *text, size_t n, const char *where, aqz_error *err)
{
	return load_json(out, charged, &t->budget, text, n, false, where, err);
}

/* ---- From files */

/* A whole file. name: inside of the folder at, or a path if at is AT_FDCWD. NOT_FOUND if there is none. */
static aqz_status read_file(aqz_buffer *out, int at, const char *name, aqz_error *err)
{
	const int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
	aqz_status status = AQZ_OK;
	struct stat info;
	uint8_t *grown;

	out->n = 0;
	if (fd < 0)
		return aqz_source_system(err, errno, name, "open the file");
	if (fstat(fd, &info) != 0) {
		status = aqz_source_system(err, errno, name, "look at the file");
		goto out;
	}
	if (!S_ISREG(info.st_mode) || info.st_size < 0 ||
		(uint64_t)info.st_size > AQZ_TOKENIZER_MAX_FILE_BYTES) {
		status = aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, name,
			"this is no regular file, or one of more than 512 MiB");
		goto out;
	}
	grown = realloc(out->data, (size_t)info.st_size + 1);
	if (grown == NULL) {
		status = aqz_fail_nomem(err, (uint64_t)info.st_size + 1);
		goto out;
	}
	out->data = grown;
	out->capacity = (size_t)info.st_size + 1;
	while (out->n < (size_t)info.st_size) {
		const ssize_t got = read(fd, out->data + out->n, (size_t)info.st_size - out->n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			status = aqz_source_system(err, errno, name, "read the file");
			goto out;
		}
		if (got == 0)
			break; /* it became shorter */
		out->n += (size_t)got;
	}
out:
	close(fd);
	return status;
}

/* The same, but a file that is not there is empty and not found. */
static aqz_status read_optional(aqz_buffer *out, bool *found, int at, const char *name, aqz_error *err)
{
	const aqz_status status = read_file(out, at, name, err);

	*found = status == AQZ_OK;
	return status == AQZ_E_NOT_FOUND ? AQZ_OK : status;
}

static aqz_status open_gguf(aqz_tokenizer **out, int fd, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_gguf *g = NULL;
	aqz_status status;
	aqz_io io;

	aqz_io_from_fd(&io, fd);
	AQZ_TRY(aqz_gguf_open(&g, &io, memlimit_bytes, err));
	AQZ_TRY(aqz_tokenizer_from_gguf(out, g, memlimit_bytes, err));
out:
	aqz_gguf_close(g);
	return status;
}

static aqz_status open_folder(aqz_tokenizer **out, int dir, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_buffer data = {0}, config = {0}, chat = {0};
	bool found, configured, templated;
	aqz_status status;

	AQZ_TRY(read_optional(&data, &found, dir, "tokenizer.json", err));
	if (!found)
		AQZ_TRY(read_optional(&data, &found, dir, "tokenizer.model", err));
	if (!found) {
		status = aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, NULL,
			"the folder has neither tokenizer.json nor tokenizer.model");
		goto out;
	}
	AQZ_TRY(read_optional(&config, &configured, dir, "tokenizer_config.json", err));
	AQZ_TRY(read_optional(&chat, &templated, dir, "chat_template.jinja", err));
	AQZ_TRY(aqz_tokenizer_parse(
		out, data.data, data.n, configured ? config.data : NULL, config.n, memlimit_bytes, err));
	if (templated) { /* it counts before tokenizer_config.json's, as in transformers */
		status =
			aqz_tokenizer_keep(*out, &(*out)->chat_template, (const char *)chat.data, chat.n, err);
		if (status != AQZ_OK) {
			aqz_tokenizer_close(*out);
			*out = NULL;
		}
	}
out:
	aqz_buffer_free(&data);
	aqz_buffer_free(&config);
	aqz_buffer_free(&chat);
	return status;
}

aqz_status aqz_tokenizer_open(
	aqz_tokenizer **out, const char *path, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_buffer data = {0};
	aqz_status status;
	struct stat info;
	char magic[4];
	int fd;

	*out = NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* or a pipe would hold us up */
	if (fd < 0)
		return aqz_source_system(err, errno, NULL, "open it");
	if (fstat(fd, &info) != 0)
		status = aqz_source_system(err, errno, NULL, "look at it");
	else if (S_ISDIR(info.st_mode))
		status = open_folder(out, fd, memlimit_bytes, err);
	else if (!S_ISREG(info.st_mode))
		status = aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, NULL, "this is no file or folder");
	else if (pread(fd, magic, 4, 0) == 4 && memcmp(magic, "GGUF", 4) == 0)
		status = open_gguf(out, fd, memlimit_bytes, err);
	else {
		AQZ_TRY(read_file(&data, AT_FDCWD, path, err));
		AQZ_TRY(aqz_tokenizer_parse(out, data.data, data.n, NULL, 0, memlimit_bytes, err));
	}
out:
	close(fd);
	aqz_buffer_free(&data);
	return status;
}

/* ---- What is known without any text */

uint32_t aqz_tokenizer_size(const aqz_tokenizer *t)
{
	return t->n_ids;
}

uint32_t aqz_tokenizer_bos(const aqz_tokenizer *t)
{
	return t->bos;
}

uint32_t aqz_tokenizer_eos(const aqz_tokenizer *t)
{
	return t->eos;
}

bool aqz_tokenizer_adds_bos(const aqz_tokenizer *t)
{
	return t->adds_bos;
}

uint32_t aqz_tokenizer_find_special(const aqz_tokenizer *t, const char *text)
{
	const size_t n = strlen(text);

	for (uint32_t i = 0; i < t->n_added; i++)
		if (t->added[i].content_bytes == n && memcmp(t->added[i].content, text, n) == 0)
			return t->added[i].id;
	return AQZ_NO_TOKEN;
}

const char *aqz_tokenizer_chat_template(const aqz_tokenizer *t)
{
	return t->chat_template;
}

const char *aqz_tokenizer_bytes(const aqz_tokenizer *t, uint32_t id, size_t *n_bytes)
{
	if (id >= t->n_ids || (t->tokens[id].flags & AQZ_TOKEN_SPECIAL)) {
		*n_bytes = 0;
		return "";
	}
	*n_bytes = t->tokens[id].out_bytes;
	return t->tokens[id].out;
}
