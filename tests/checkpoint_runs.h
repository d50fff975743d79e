/* SPDX-License-Identifier: Apache-2.0 */
/* A model whose compression can be interrupted at any tensor, for tests of checkpoints. */
#ifndef AQZ_TEST_CHECKPOINT_RUNS_H
#define AQZ_TEST_CHECKPOINT_RUNS_H

#include <math.h>

#include "interop/checkpoint.h"
#include "tests/model_folder.h"
#include "tests/support.h"

enum { N_TENSORS = 7, RAW = 2 };
#define WHERE "options.checkpoint_dir"

static uint64_t data_begin; /* of the model's first tensor */

/* Seven matrices of 96 x 64 F32, the last of 192; the third is an embedding and not coded. */
static inline void put_matrices(void)
{
	aqz_source_tensor t[N_TENSORS] = {0};
	char names[N_TENSORS][64];
	aqz_error err;
	uint8_t *header;
	size_t n;
	FILE *out = fopen(in_root("m.safetensors"), "wb");
	noise random = {11};

	for (uint32_t i = 0; i < N_TENSORS; i++) {
		snprintf(names[i], sizeof names[i],
			i == RAW ? "embed" : "model.layers.%u.mlp.up_proj.weight", i);
		t[i] = (aqz_source_tensor){
			.name = names[i], .name_bytes = strlen(names[i]), .dtype = AQZ_F32, .rank = 2};
		t[i].shape[0] = i == N_TENSORS - 1 ? 192 : 96;
		t[i].shape[1] = 64;
		SURE(aqz_shape_size(&t[i].n_elements, &t[i].n_bytes, t[i].shape, 2, AQZ_F32));
	}
	SURE(aqz_safetensors_header(&header, &n, t, N_TENSORS, NULL, &err) == AQZ_OK);
	SURE(out != NULL && fwrite(header, 1, n, out) == n);
	data_begin = n;
	for (uint32_t k = 0; k < (N_TENSORS + 1) * 96 * 64; k++) {
		const float v = (float)(int32_t)noise_next(&random) * 0x1p-31f;

		SURE(fwrite(&v, sizeof v, 1, out) == 1);
	}
	SURE(fclose(out) == 0);
	free(header);
}

/* Where some weight of a tensor is. */
static inline uint64_t weight_of(uint32_t tensor)
{
	return data_begin + tensor * UINT64_C(96) * 64 * 4 + 4000;
}

/* ---- Runs */

typedef struct run {
	aqz_compress_options o;
	uint32_t stop_at; /* the tensor at whose end the run is interrupted */
	uint32_t n_done, n_warnings;
	char warning[512];
	aqz_error err;
	memory_file file;
	char folder[4096];
} run;

static inline bool go_on(void *user, uint64_t done, uint64_t total)
{
	const run *r = user;

	(void)done;
	(void)total;
	return r->n_done < r->stop_at;
}

static inline void count(void *user, const aqz_source_tensor *t, const aqz_scheme *s, const aqz_measured *m)
{
	(void)t;
	(void)s;
	((run *)user)->n_done += m != NULL;
}

static inline void hear(void *user, const char *line)
{
	run *r = user;

	r->n_warnings++;
	snprintf(r->warning, sizeof r->warning, "%s", line);
}

static inline run plain(aqz_share share, const char *folder)
{
	run r = {.stop_at = UINT32_MAX};
	aqz_error err;

	r.o = (aqz_compress_options){
		.struct_size = sizeof r.o, .effort = 1, .share = share, .n_threads = 1};
	SURE(aqz_scheme_parse(&r.o.scheme, "2x3g4", &err) == AQZ_OK);
	if (folder != NULL)
		snprintf(r.folder, sizeof r.folder, "%s", in_root(folder));
	return r;
}

/* Runs, and forgets the checkpoints if it ends well and forget says so. */
static inline aqz_status go(run *r, bool forget)
{
	aqz_source *s = open_ok(in_root("m.safetensors"));
	aqz_plan *plan = NULL;
	aqz_status status;
	aqz_io io;

	memory_free(&r->file);
	r->file = (memory_file){0};
	r->n_done = r->n_warnings = 0;
	r->err = (aqz_error){.status = AQZ_OK};
	r->o.checkpoint_dir = r->folder[0] != '\0' ? r->folder : NULL;
	r->o.progress = go_on;
	r->o.tensor = count;
	r->o.warn = hear;
	r->o.user = r->o.progress_user = r;
	memory_io(&io, &r->file);
	status = aqz_plan_make(&plan, s, &r->o, &r->err);
	if (status == AQZ_OK)
		status = aqz_plan_run(plan, &io, NULL, &r->err);
	if (status == AQZ_OK && forget)
		ck_assert_msg(aqz_plan_forget(plan, &r->err) == AQZ_OK, "%s", r->err.text);
	aqz_plan_free(plan);
	aqz_source_close(s);
	return status;
}

#define GO(r, forget) \
	ck_assert_msg(go(r, forget) == AQZ_OK, "%s: %s", (r)->err.where, (r)->err.text)

static inline void same_bytes(const run *a, const run *b)
{
	ck_assert_uint_eq(a->file.n, b->file.n);
	ck_assert_mem_eq(a->file.data, b->file.data, a->file.n);
}

/* Interrupts a run at the end of tensor n. */
static inline void interrupt(run *r, uint32_t n)
{
	r->stop_at = n;
	ck_assert_int_eq(go(r, true), AQZ_E_CANCELLED);
	r->stop_at = UINT32_MAX;
	r->o.resume = true;
}

/* ---- The folder */

static inline uint32_t n_files(const char *folder, const char *prefix)
{
	DIR *dir = opendir(in_root(folder));
	struct dirent *item;
	uint32_t n = 0;

	while (dir != NULL && (item = readdir(dir)) != NULL)
		n += item->d_name[0] != '.' && strncmp(item->d_name, prefix, strlen(prefix)) == 0;
	if (dir != NULL)
		closedir(dir);
	return n;
}

static inline bool there(const char *name)
{
	struct stat info;

	return lstat(in_root(name), &info) == 0;
}

static inline ino_t inode(const char *name)
{
	struct stat info;

	SURE(lstat(in_root(name), &info) == 0);
	return info.st_ino;
}

static inline memory_file get(const char *name)
{
	FILE *f = fopen(in_root(name), "rb");
	memory_file m = {0};
	int c;

	SURE(f != NULL);
	while ((c = getc(f)) != EOF) {
		const uint8_t byte = (uint8_t)c;

		memory_add(&m, &byte, 1);
	}
	fclose(f);
	return m;
}

/* Changes a byte of a file. */
static inline void flip(const char *name, uint64_t offset)
{
	FILE *f = fopen(in_root(name), "r+b");
	int c;

	SURE(f != NULL && fseek(f, (long)offset, SEEK_SET) == 0 && (c = getc(f)) != EOF);
	SURE(fseek(f, (long)offset, SEEK_SET) == 0 && putc(c ^ 1, f) != EOF && fclose(f) == 0);
}

static inline void refused(run *r, aqz_status status, const char *where, const char *text)
{
	const uint32_t n = n_files("ck", "aqlmzip-");

	ck_assert_int_eq(go(r, false), status);
	ck_assert_str_eq(r->err.where, where);
	ck_assert_msg(strstr(r->err.text, text) != NULL, "'%s' is not in '%s'", text, r->err.text);
	ck_assert_uint_eq(n_files("ck", "aqlmzip-"), n);
	memory_free(&r->file);
	r->file = (memory_file){0};
}

#endif
