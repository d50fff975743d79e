/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a Hugging Face folder, or of one safetensors file with its config.json beside it. */
#include "interop/source.h"
#include "model/load.h"

typedef struct folder {
	aqz_source *source;
	const aqz_source_tensor **by_name;
	uint64_t index_bytes, source_bytes;
	aqz_model *model;
} folder;

static void folder_close(void *user)
{
	folder *f = user;

	if (f == NULL)
		return;
	aqz_budget_free(&f->model->budget, f->by_name, f->index_bytes);
	f->model->budget.used_bytes -= f->source_bytes;
	aqz_source_close(f->source);
	free(f);
}

/* ---- Tensors */

static const aqz_source_tensor *find_name(const folder *f, const char *name)
{
	const aqz_source_tensor key = {.name = name, .name_bytes = strlen(name)}, *pointer = &key;
	const aqz_source_tensor **found = bsearch(&pointer, f->by_name, aqz_source_n_tensors(f->source),
		sizeof *f->by_name, aqz_safetensors_by_name);

	return found != NULL ? *found : NULL;
}

/* The tensor, which must be of this shape (cols 0: a vector) and of a float type. */
static aqz_status find_tensor(const aqz_source_tensor **out, const folder *f, const char *name,
	uint64_t rows, uint64_t cols, aqz_error *err)
{
	const aqz_source_tensor *t = find_name(f, name);
	const char *plain = aqz_plain_name(name);

	if (t == NULL && plain != NULL)
		t = find_name(f, plain);
	if (t == NULL)
		return aqz_no_tensor(err, name);
	if (t->dtype != AQZ_F32 && t->dtype != AQZ_F16 && t->dtype != AQZ_BF16)
		return aqz_wrong_type(err, t->name, aqz_dtype_name(t->dtype));
	if (t->rank != (cols == 0 ? 1 : 2) || t->shape[0] != rows || (cols != 0 && t->shape[1] != cols))
		return aqz_wrong_shape(err, t->name, t->shape, t->rank, rows, cols);
	*out = t;
	return AQZ_OK;
}

static aqz_status read_tensor(const folder *f, void *dst, const aqz_source_tensor *t, aqz_error *err)
{
	return aqz_in_tensor(
		err, aqz_source_read(f->source, t->file, t->offset, dst, (size_t)t->n_bytes, err), t->name);
}

static aqz_status folder_matrix(void *user, aqz_model *m, aqz_weight *w, const char *name,
	uint64_t rows, uint64_t cols, aqz_error *err)
{
	const folder *f = user;
	const aqz_source_tensor *t;
	uint8_t *data;
	aqz_status status;

	AQZ_TRY(find_tensor(&t, f, name, rows, cols, err));
	AQZ_TRY(aqz_model_room_dense(&data, m, w, rows, cols, t->dtype, err));
	AQZ_TRY(read_tensor(f, data, t, err));
out:
	return status;
}

static aqz_status folder_vector(
	void *user, aqz_model *m, const float **v, const char *name, uint64_t n, aqz_error *err)
{
	const folder *f = user;
	const aqz_source_tensor *t;
	void *data = NULL;
	aqz_status status;

	AQZ_TRY(find_tensor(&t, f, name, n, 0, err));
	AQZ_TRY(aqz_budget_alloc(&m->budget, &data, t->n_bytes, "a vector", err));
	AQZ_TRY(read_tensor(f, data, t, err));
	AQZ_TRY(aqz_model_keep_vector(v, m, data, t->dtype, n, err));
out:
	if (data != NULL)
		aqz_budget_free(&m->budget, data, t->n_bytes);
	return status;
}

/* ---- Opening */

/* The folder of a path: "." for a bare name. Free with free(). */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	const size_t n = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
	char *dir = malloc(n + 1);

	if (dir != NULL) {
		memcpy(dir, slash == NULL ? "." : path, n);
		dir[n] = '\0';
	}
	return dir;
}

/* A file of the folder, of 1 MiB at most. NOT_FOUND if there is none. */
static aqz_status read_text(
	aqz_text *text, aqz_model *m, const char *dir, const char *name, aqz_error *err)
{
	const size_t n = strlen(dir) + 1 + strlen(name) + 1;
	char *path = malloc(n);
	aqz_file file = {.fd = -1};
	void *memory;
	aqz_status status;

	*text = (aqz_text){NULL, 0};
	if (path == NULL)
		return aqz_fail_nomem(err, n);
	strcpy(path, dir);
	strcat(path, "/");
	strcat(path, name);
	AQZ_TRY(aqz_file_open(&file, path, name, err));
	if (file.n_bytes > AQZ_CONFIG_MAX_BYTES) {
		status =
			aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, name, "the file has more than 1 MiB");
		goto out;
	}
	AQZ_TRY(aqz_budget_alloc(&m->budget, &memory, file.n_bytes, name, err));
	*text = (aqz_text){memory, file.n_bytes};
	AQZ_TRY(aqz_file_read(&file, text->data, text->n_bytes, 0, name, err));
out:
	aqz_file_close(&file);
	free(path);
	return status;
}

static aqz_status read_config(aqz_model *m, const char *dir, aqz_error *err)
{
	static const char name[] = "config.json";
	aqz_error found = {0}; /* that there is no generation_config.json is no failure */
	aqz_text text;
	aqz_status status = read_text(&text, m, dir, name, err);

	if (status == AQZ_E_NOT_FOUND)
		status = aqz_fail(err, status, AQZ_NO_OFFSET, name,
			"there is no config.json in the model's folder, so its shape is not known");
	if (status != AQZ_OK)
		goto out;
	AQZ_TRY(aqz_model_take_config(m, &text, err));
	status = read_text(&text, m, dir, "generation_config.json", &found);
	if (status == AQZ_OK)
		status = aqz_config_add_ends(&m->config, text.data, (size_t)text.n_bytes, &found);
	if (status == AQZ_E_NOT_FOUND)
		status = AQZ_OK;
	if (status != AQZ_OK && err != NULL)
		*err = found;
out:
	aqz_text_free(&text, m);
	return status;
}

static aqz_status index_names(folder *f, aqz_model *m, aqz_error *err)
{
	const uint32_t n = aqz_source_n_tensors(f->source);
	const uint64_t n_bytes = (n + UINT64_C(1)) * sizeof *f->by_name;
	void *memory;
	const aqz_status status =
		aqz_budget_alloc(&m->budget, &memory, n_bytes, "the list of tensors", err);

	if (status != AQZ_OK)
		return status;
	f->by_name = memory;
	f->index_bytes = n_bytes;
	for (uint32_t i = 0; i < n; i++)
		f->by_name[i] = aqz_source_get(f->source, i);
	qsort(f->by_name, n, sizeof *f->by_name, aqz_safetensors_by_name);
	return AQZ_OK;
}

aqz_status aqz_loader_folder(
	aqz_loader *out, aqz_model *m, const char *path, bool tokenizer, aqz_error *err)
{
	folder *f = calloc(1, sizeof *f);
	const aqz_source_file *file;
	char *dir = NULL;
	aqz_status status;

	*out = (aqz_loader){.close = folder_close};
	if (f == NULL)
		return aqz_fail_nomem(err, sizeof *f);
	f->model = m;
	status = aqz_source_open(&f->source, path, aqz_model_room(m), err);
	if (status != AQZ_OK)
		goto out;
	f->source_bytes = f->source->budget.used_bytes;
	m->budget.used_bytes += f->source_bytes;
	dir = aqz_source_is_folder(f->source) ? strdup(path) : folder_of(path);
	if (dir == NULL)
		AQZ_TRY(aqz_fail_nomem(err, strlen(path)));
	AQZ_TRY(read_config(m, dir, err));
	AQZ_TRY(index_names(f, m, err));
	if (tokenizer) {
		aqz_error found = {0}; /* none is no failure, and leaves *err alone */

		status = aqz_tokenizer_open(&m->tokenizer, dir, aqz_model_room(m), &found);
		if (status != AQZ_OK && status != AQZ_E_NOT_FOUND) {
			if (err != NULL)
				*err = found;
			goto out;
		}
		status = AQZ_OK;
	}
	for (uint32_t i = 0; (file = aqz_source_get_file(f->source, i)) != NULL; i++)
		if (file->header_bytes > 0)
			m->memory.file_bytes += file->n_bytes;
	*out = (aqz_loader){f, folder_matrix, folder_vector, folder_close};
	f = NULL;
out:
	folder_close(f);
	free(dir);
	return status;
}
