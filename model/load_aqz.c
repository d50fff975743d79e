/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of an .aqz file: additive sections stay codes, those of the trellis codec become symbols of a byte, all
 * others elements. */
#include "model/load_aqz.h"
#include "format/reader.h"
#include "model/tokenizer.h"

static void loader_close(void *user)
{
	aqz_loaded_file *f = user;

	if (f == NULL)
		return;
	aqz_tables_forget(f);
	f->model->budget.used_bytes -= f->catalog_bytes;
	aqz_reader_close(f->reader);
	aqz_file_close(&f->file);
	free(f);
}

/* ---- Reading within the model's memory limit */

aqz_status aqz_loaded_section(
	void *dst, const aqz_loaded_file *f, uint32_t section, uint64_t n_bytes, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(f->reader, section);
	aqz_cursor *cursor = NULL;
	aqz_status status;

	AQZ_TRY(aqz_cursor_open_within(
		&cursor, f->reader, section, aqz_budget_rest(&f->model->budget), err));
	AQZ_TRY(aqz_cursor_read(cursor, 0, s->rows, dst, (size_t)n_bytes, err));
out:
	aqz_cursor_close(cursor);
	return status;
}

/* The elements of a tensor whose view's rows are its columns. */
static aqz_status read_transposed(
	uint8_t *dst, const aqz_loaded_file *f, const aqz_tensor_info *t, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(f->reader, t->section);
	const size_t each = aqz_dtype_bits(t->dtype) / 8;
	void *view;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(&f->model->budget, &view, t->n_bytes, "a transposed tensor", err));
	status = aqz_loaded_section(view, f, t->section, t->n_bytes, err);
	for (uint64_t r = 0; status == AQZ_OK && r < s->rows; r++)
		for (uint64_t k = 0; k < s->cols; k++)
			memcpy(dst + (k * s->rows + r) * each, (const uint8_t *)view + (r * s->cols + k) * each,
				each);
	aqz_budget_free(&f->model->budget, view, t->n_bytes);
out:
	return status;
}

static aqz_status read_elements(
	void *dst, const aqz_loaded_file *f, const aqz_tensor_info *t, aqz_error *err)
{
	return t->transposed ? read_transposed(dst, f, t, err)
						 : aqz_loaded_section(dst, f, t->section, t->n_bytes, err);
}

/* ---- Tensors */

static aqz_status find_tensor(const aqz_tensor_info **out, const aqz_loaded_file *f,
	const char *name, uint64_t rows, uint64_t cols, aqz_error *err)
{
	const aqz_tensor_info *t = aqz_reader_find(f->reader, name, strlen(name));
	const char *plain = aqz_plain_name(name);

	if (t == NULL && plain != NULL)
		t = aqz_reader_find(f->reader, plain, strlen(plain));
	if (t == NULL)
		return aqz_no_tensor(err, name);
	if (t->dtype != AQZ_F32 && t->dtype != AQZ_F16 && t->dtype != AQZ_BF16)
		return aqz_wrong_type(err, t->name, aqz_dtype_name(t->dtype));
	if (t->rank != (cols == 0 ? 1 : 2) || t->shape[0] != rows || (cols != 0 && t->shape[1] != cols))
		return aqz_wrong_shape(err, t->name, t->shape, t->rank, rows, cols);
	*out = t;
	return AQZ_OK;
}

static aqz_status file_matrix(void *user, aqz_model *m, aqz_weight *w, const char *name,
	uint64_t rows, uint64_t cols, aqz_error *err)
{
	aqz_loaded_file *f = user;
	const aqz_tensor_info *t = NULL;
	const aqz_section_info *s;
	uint8_t *data;
	bool as_stored, made = false;
	aqz_status status;

	AQZ_TRY(find_tensor(&t, f, name, rows, cols, err));
	s = aqz_reader_section(f->reader, t->section);
	as_stored = !t->transposed && s->rows == rows && s->cols == cols;
	if (as_stored && s->scheme.codec == AQZ_CODEC_ADDITIVE) {
		AQZ_TRY(aqz_load_codes(f, w, s, err));
		made = true;
	} else if (as_stored && s->scheme.codec == AQZ_CODEC_TRELLIS) {
		AQZ_TRY(aqz_load_symbols(&made, f, w, s, err));
	}
	if (!made) {
		AQZ_TRY(aqz_model_room_dense(&data, m, w, rows, cols, t->dtype, err));
		AQZ_TRY(read_elements(data, f, t, err));
	}
out:
	return t != NULL ? aqz_in_tensor(err, status, t->name) : status;
}

static aqz_status file_vector(
	void *user, aqz_model *m, const float **v, const char *name, uint64_t n, aqz_error *err)
{
	const aqz_loaded_file *f = user;
	const aqz_tensor_info *t = NULL;
	void *data = NULL;
	aqz_status status;

	AQZ_TRY(find_tensor(&t, f, name, n, 0, err));
	AQZ_TRY(aqz_budget_alloc(&m->budget, &data, t->n_bytes, "a vector", err));
	AQZ_TRY(read_elements(data, f, t, err));
	AQZ_TRY(aqz_model_keep_vector(v, m, data, t->dtype, n, err));
out:
	if (data != NULL)
		aqz_budget_free(&m->budget, data, t->n_bytes);
	return t != NULL ? aqz_in_tensor(err, status, t->name) : status;
}

/* ---- Attached files, which never touch the disk */

/* The attached file of that name; text->data is NULL if there is none. */
static aqz_status read_attached(
	aqz_text *text, const aqz_loaded_file *f, const char *name, uint64_t most, aqz_error *err)
{
	const aqz_section_info *s;
	void *memory;
	aqz_status status = AQZ_OK;

	*text = (aqz_text){NULL, 0};
	for (uint32_t i = 0; (s = aqz_reader_section(f->reader, i)) != NULL; i++) {
		if (s->kind != AQZ_KIND_FILE || strcmp(s->name, name) != 0)
			continue;
		if (s->decoded_bytes > most)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, name,
				"the attached file has %llu bytes, more than %llu",
				(unsigned long long)s->decoded_bytes, (unsigned long long)most);
		AQZ_TRY(aqz_budget_alloc(&f->model->budget, &memory, s->decoded_bytes, name, err));
		*text = (aqz_text){memory, s->decoded_bytes};
		AQZ_TRY(aqz_loaded_section(memory, f, i, s->decoded_bytes, err));
		return AQZ_OK;
	}
out:
	if (status != AQZ_OK)
		aqz_text_free(text, f->model);
	return status;
}

static aqz_status read_tokenizer(aqz_loaded_file *f, aqz_error *err)
{
	aqz_model *m = f->model;
	aqz_text text = {NULL, 0}, config = {NULL, 0}, chat = {NULL, 0};
	aqz_status status;

	AQZ_TRY(read_attached(&text, f, "tokenizer.json", AQZ_TOKENIZER_MAX_BYTES, err));
	if (text.data == NULL)
		AQZ_TRY(read_attached(&text, f, "tokenizer.model", AQZ_TOKENIZER_MAX_BYTES, err));
	if (text.data == NULL)
		return AQZ_OK;
	AQZ_TRY(read_attached(&config, f, "tokenizer_config.json", AQZ_TOKENIZER_MAX_BYTES, err));
	AQZ_TRY(aqz_tokenizer_parse(&m->tokenizer, text.data, (size_t)text.n_bytes, config.data,
		(size_t)config.n_bytes, aqz_model_room(m), err));
	AQZ_TRY(read_attached(&chat, f, "chat_template.jinja", AQZ_TOKENIZER_MAX_BYTES, err));
	if (chat.data != NULL)
		AQZ_TRY(aqz_tokenizer_keep(
			m->tokenizer, &m->tokenizer->chat_template, chat.data, (size_t)chat.n_bytes, err));
out:
	aqz_text_free(&text, m);
	aqz_text_free(&config, m);
	aqz_text_free(&chat, m);
	return status;
}

aqz_status aqz_loader_aqz(
	aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err)
{
	aqz_reader_options opt = {.struct_size = sizeof opt, .memlimit_bytes = aqz_model_room(m)};
	aqz_loaded_file *f = calloc(1, sizeof *f);
	aqz_text text;
	aqz_status status;

	*out = (aqz_loader){.close = loader_close};
	if (f == NULL)
		return aqz_fail_nomem(err, sizeof *f);
	f->model = m;
	f->file.fd = -1;
	AQZ_TRY(aqz_file_open(&f->file, path, NULL, err));
	AQZ_TRY(aqz_reader_open(&f->reader, &f->file.io, &opt, err));
	f->catalog_bytes = f->reader->catalog.budget.used_bytes;
	m->budget.used_bytes += f->catalog_bytes;
	m->memory.file_bytes = f->file.n_bytes;
	AQZ_TRY(read_attached(&text, f, "config.json", AQZ_CONFIG_MAX_BYTES, err));
	if (text.data == NULL) {
		status = aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, "config.json",
			"the file has none attached: it was not made from a model's whole folder");
		goto out;
	}
	AQZ_TRY(aqz_model_take_config(m, &text, err));
	AQZ_TRY(read_attached(&text, f, "generation_config.json", AQZ_CONFIG_MAX_BYTES, err));
	if (text.data != NULL)
		status = aqz_config_add_ends(&m->config, text.data, (size_t)text.n_bytes, err);
	aqz_text_free(&text, m);
	if (status != AQZ_OK)
		goto out;
	if (tokenizer)
		AQZ_TRY(read_tokenizer(f, err));
	*out = (aqz_loader){f, file_matrix, file_vector, loader_close};
	f = NULL;
out:
	loader_close(f);
	return status;
}
