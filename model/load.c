/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders share: files, room for weights, errors that name a tensor. */
#include "model/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* snprintf */
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files */

static aqz_status system_error(aqz_error *err, int number, const char *where, const char *doing)
{
	return aqz_fail(err, number == ENOENT || number == ENOTDIR ? AQZ_E_NOT_FOUND : AQZ_E_IO,
		AQZ_NO_OFFSET, where, "cannot %s: %s", doing, strerror(number));
}

aqz_status aqz_file_open(aqz_file *f, const char *path, const char *where, aqz_error *err)
{
	struct stat info;

	f->fd = -1;
	/* Before opening: to open a device can have effects. */
	if (stat(path, &info) != 0)
		return system_error(err, errno, where, "open the file");
	if (!S_ISREG(info.st_mode))
		return aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, where, "this is no regular file");
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd < 0)
		return system_error(err, errno, where, "open the file");
	aqz_io_from_fd(&f->io, f->fd);
	if (f->io.size(f->io.user, &f->n_bytes) == AQZ_OK)
		return AQZ_OK;
	aqz_file_close(f);
	return aqz_fail(err, AQZ_E_IO, AQZ_NO_OFFSET, where, "the file's size cannot be told");
}

void aqz_file_close(aqz_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

aqz_status aqz_file_read(
	const aqz_file *f, void *dst, uint64_t n, uint64_t offset, const char *where, aqz_error *err)
{
	const aqz_status status = f->io.pread(f->io.user, dst, (size_t)n, offset);

	if (status == AQZ_OK)
		return AQZ_OK;
	return aqz_fail(err, status, offset, where,
		status == AQZ_E_TRUNCATED ? "the file ends early" : "reading the file failed");
}

void aqz_text_free(aqz_text *text, aqz_model *m)
{
	aqz_budget_free(&m->budget, text->data, text->n_bytes);
	*text = (aqz_text){NULL, 0};
}

/* ---- The model */

uint64_t aqz_model_room(const aqz_model *m)
{
	if (m->budget.limit_bytes == 0)
		return 0;
	return m->budget.used_bytes < m->budget.limit_bytes ? m->budget.limit_bytes - m->budget.used_bytes
														: 1;
}

void aqz_model_forget(aqz_model *m, const struct aqz_model_held *then)
{
	while (m->held != then) {
		struct aqz_model_held *next = m->held->next;

		aqz_budget_free(&m->budget, m->held->p, m->held->n_bytes);
		free(m->held);
		m->held = next;
	}
}

aqz_status aqz_model_take_config(aqz_model *m, aqz_text *text, aqz_error *err)
{
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_config_parse(&m->config, text->data, (size_t)text->n_bytes, err));
	AQZ_TRY(aqz_model_hold(m, &memory, text->n_bytes, "config.json", err));
	m->config_json = memcpy(memory, text->data, (size_t)text->n_bytes);
	m->config_json_bytes = (size_t)text->n_bytes;
out:
	aqz_text_free(text, m);
	return status;
}

aqz_status aqz_model_room_dense(uint8_t **data, aqz_model *m, aqz_weight *w, uint64_t rows,
	uint64_t cols, aqz_dtype dtype, aqz_error *err)
{
	/* aqz_config_check bounds rows and cols. */
	const uint64_t n_bytes = rows * cols * (aqz_dtype_bits(dtype) / 8);
	void *memory;
	const aqz_status status = aqz_model_hold(m, &memory, n_bytes, "a weight", err);

	if (status != AQZ_OK)
		return status;
	*data = memory;
	*w = (aqz_weight){
		.form = AQZ_WEIGHT_DENSE, .rows = rows, .cols = cols, .dtype = dtype, .data = memory};
	m->memory.dense += n_bytes;
	m->memory.n_weights += rows * cols;
	return AQZ_OK;
}

aqz_status aqz_model_room_blocks(uint8_t **data, aqz_model *m, aqz_weight *w, uint64_t rows,
	uint64_t cols, const aqz_gguf_type *type, aqz_error *err)
{
	const uint64_t n_bytes = rows * (cols / type->n_values) * type->n_bytes;
	void *memory;
	const aqz_status status = aqz_model_hold(m, &memory, n_bytes, "a weight", err);

	if (status != AQZ_OK)
		return status;
	*data = memory;
	*w = (aqz_weight){
		.form = AQZ_WEIGHT_BLOCKS, .rows = rows, .cols = cols, .type = type, .data = memory};
	m->memory.blocks += n_bytes;
	m->memory.n_weights += rows * cols;
	return AQZ_OK;
}

aqz_status aqz_model_keep_vector(
	const float **v, aqz_model *m, const void *data, aqz_dtype dtype, uint64_t n, aqz_error *err)
{
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_model_hold(m, &memory, n * sizeof(float), "a vector", err));
	AQZ_TRY(aqz_convert(memory, AQZ_F32, data, dtype, (size_t)n, err));
	m->memory.dense += n * sizeof(float);
	m->memory.n_weights += n;
	*v = memory;
out:
	return status;
}

aqz_status aqz_rows_to_halves(uint8_t *rows, uint64_t n_heads, uint64_t head_dim,
	uint64_t row_bytes, aqz_model *m, aqz_error *err)
{
	const uint64_t half = head_dim / 2, n_bytes = head_dim * row_bytes;
	void *head;
	const aqz_status status = aqz_budget_alloc(&m->budget, &head, n_bytes, "a head's rows", err);

	if (status != AQZ_OK)
		return status;
	for (uint64_t h = 0; h < n_heads; h++, rows += n_bytes) {
		memcpy(head, rows, n_bytes);
		for (uint64_t i = 0; i < half; i++)
			for (uint64_t k = 0; k < 2; k++)
				memcpy(rows + (k * half + i) * row_bytes,
					(const uint8_t *)head + (2 * i + k) * row_bytes, row_bytes);
	}
	aqz_budget_free(&m->budget, head, n_bytes);
	return AQZ_OK;
}

/* ---- Errors */

aqz_status aqz_no_tensor(aqz_error *err, const char *name)
{
	char where[AQZ_WHERE_BYTES];

	aqz_safetensors_where(where, name, strlen(name), "");
	return aqz_fail(
		err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, where, "the model does not hold this tensor");
}

aqz_status aqz_wrong_shape(aqz_error *err, const char *name, const uint64_t *shape, uint32_t rank,
	uint64_t rows, uint64_t cols)
{
	char where[AQZ_WHERE_BYTES], is[80] = "", due[48];
	size_t n = 0;

	for (uint32_t i = 0; i < rank && n + 24 < sizeof is; i++)
		n += (size_t)snprintf(
			is + n, sizeof is - n, "%s%llu", i == 0 ? "" : " x ", (unsigned long long)shape[i]);
	if (cols == 0)
		snprintf(due, sizeof due, "%llu", (unsigned long long)rows);
	else
		snprintf(due, sizeof due, "%llu x %llu", (unsigned long long)rows, (unsigned long long)cols);
	aqz_safetensors_where(where, name, strlen(name), "");
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where,
		"the tensor is %s, but the configuration makes it %s", rank == 0 ? "a scalar" : is, due);
}

aqz_status aqz_wrong_type(aqz_error *err, const char *name, const char *type)
{
	char where[AQZ_WHERE_BYTES];

	aqz_safetensors_where(where, name, strlen(name), "");
	return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, where,
		"weights of the type %s are not supported", type);
}

aqz_status aqz_in_tensor(aqz_error *err, aqz_status status, const char *name)
{
	char where[AQZ_WHERE_BYTES];

	if (status == AQZ_OK || err == NULL || status == AQZ_E_NOMEM)
		return status;
	const aqz_error found = *err;
	aqz_safetensors_where(where, name, strlen(name), "");
	if (strncmp(found.where, "tensor[", 7) == 0)
		return status;
	return aqz_fail(err, status, found.offset, where, "%s%s%s", found.where,
		found.where[0] != '\0' ? ": " : "", found.text);
}
