/* SPDX-License-Identifier: Apache-2.0 */
/* One checkpoint: a container of files, written whole or not at all, and read strictly. */
#include "interop/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* snprintf */
#include <sys/stat.h>
#include <unistd.h>

/* ---- Writing */

/* A descriptor that remembers what the system said. */
typedef struct output {
	int fd, error;
} output;

static aqz_status put(void *user, const void *data, size_t n)
{
	output *o = user;
	aqz_io io;
	aqz_status status;

	aqz_io_from_fd(&io, o->fd);
	status = io.write(io.user, data, n);
	if (status != AQZ_OK)
		o->error = errno;
	return status;
}

static aqz_status write_part(aqz_writer *w, aqz_kind kind, const aqz_part *part, aqz_error *err)
{
	aqz_status status;

	AQZ_TRY(aqz_writer_file(w, kind, part->name, part->n_bytes, err));
	AQZ_TRY(aqz_writer_put(w, part->data, (size_t)part->n_bytes, err));
out:
	return status;
}

static aqz_part text_part(const char *name, const char *text)
{
	return (aqz_part){name, (void *)(uintptr_t)text, strlen(text)};
}

static aqz_status write_container(output *o, const aqz_plan *plan, const char *what,
	const aqz_part *parts, uint32_t n_parts, aqz_error *err)
{
	const aqz_part options = text_part("provenance", plan->provenance),
				   stands_for = text_part(AQZ_CHECKPOINT_WHAT, what);
	const aqz_io io = {.user = o, .write = put};
	aqz_writer_options opt = {.struct_size = sizeof opt,
		.effort = 1,
		.n_threads = 1,
		.memlimit_bytes = plan->opt.memlimit_bytes};
	aqz_writer *w = NULL;
	aqz_status status;

	memcpy(opt.id, plan->run, sizeof opt.id);
	AQZ_TRY(aqz_writer_open(&w, &io, &opt, err));
	AQZ_TRY(write_part(w, AQZ_KIND_METADATA, &options, err));
	AQZ_TRY(write_part(w, AQZ_KIND_FILE, &stands_for, err));
	for (uint32_t i = 0; i < n_parts; i++)
		AQZ_TRY(write_part(w, AQZ_KIND_FILE, &parts[i], err));
	AQZ_TRY(aqz_writer_finish(w, NULL, err));
out:
	aqz_writer_close(w);
	return status;
}

/* Some file systems cannot sync; that is no failure of the data. */
static bool synced(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
}

aqz_status aqz_checkpoint_write(aqz_checkpoint *p, aqz_kept kind, uint32_t number, const char *what,
	const aqz_part *parts, uint32_t n_parts, aqz_error *err)
{
	char name[AQZ_CHECKPOINT_NAME_BYTES], doing[sizeof name + 8];
	output o = {.error = 0};
	aqz_status status;

	aqz_checkpoint_name(name, kind, number);
	snprintf(doing, sizeof doing, "write %s", name);
	unlinkat(p->dir, AQZ_CHECKPOINT_TEMPORARY, 0);
	o.fd = openat(p->dir, AQZ_CHECKPOINT_TEMPORARY,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (o.fd < 0)
		return aqz_checkpoint_system(err, errno, doing);
	status = write_container(&o, p->plan, what, parts, n_parts, err);
	if (status == AQZ_OK && !synced(o.fd))
		o.error = errno;
	if (close(o.fd) != 0 && o.error == 0)
		o.error = errno;
	if (status == AQZ_OK && o.error == 0 &&
		renameat(p->dir, AQZ_CHECKPOINT_TEMPORARY, p->dir, name) != 0)
		o.error = errno;
	if (o.error != 0)
		status = aqz_checkpoint_system(err, o.error, doing);
	if (status != AQZ_OK) {
		unlinkat(p->dir, AQZ_CHECKPOINT_TEMPORARY, 0);
		return status;
	}
	p->kept = true;
	return synced(p->dir) ? AQZ_OK : aqz_checkpoint_system(err, errno, doing);
}

/* ---- Reading */

aqz_status aqz_checkpoint_open_file(
	aqz_checkpoint_file *f, const aqz_checkpoint *p, const char *name, aqz_error *err)
{
	aqz_reader_options opt = {
		.struct_size = sizeof opt, .memlimit_bytes = p->plan->opt.memlimit_bytes};
	struct stat info;
	aqz_io io;

	f->reader = NULL;
	f->fd = openat(p->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &info) != 0)
		return aqz_checkpoint_system(err, errno, "open it");
	if (!S_ISREG(info.st_mode))
		return aqz_fail(
			err, AQZ_E_FORMAT, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE, "it is no regular file");
	aqz_io_from_fd(&io, f->fd);
	return aqz_reader_open(&f->reader, &io, &opt, err);
}

void aqz_checkpoint_close_file(aqz_checkpoint_file *f)
{
	aqz_reader_close(f->reader);
	if (f->fd >= 0)
		close(f->fd);
}

/* Reads the section that must be this part. */
static aqz_status read_part(
	const aqz_reader *reader, uint32_t section, const aqz_part *part, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(reader, section);
	aqz_cursor *cursor = NULL;
	aqz_status status = AQZ_OK;

	if (s == NULL || s->kind != AQZ_KIND_FILE || strcmp(s->name, part->name) != 0 ||
		s->decoded_bytes != part->n_bytes)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, part->name, "it is not what it should be");
	AQZ_TRY(aqz_cursor_open(&cursor, reader, section, err));
	AQZ_TRY(aqz_cursor_read(cursor, 0, s->rows, part->data, (size_t)part->n_bytes, err));
out:
	aqz_cursor_close(cursor);
	return status;
}

static aqz_status read_parts(const aqz_checkpoint *p, const char *name, const char *what,
	const aqz_part *parts, uint32_t n_parts, aqz_error *err)
{
	aqz_part stands_for = {AQZ_CHECKPOINT_WHAT, malloc(strlen(what) + 1), strlen(what)};
	aqz_checkpoint_file f = {.fd = -1};
	aqz_status status;
	bool other;

	if (stands_for.data == NULL)
		return aqz_fail_nomem(err, stands_for.n_bytes);
	AQZ_TRY(aqz_checkpoint_open_file(&f, p, name, err));
	AQZ_TRY(aqz_checkpoint_same_run(&other, p->plan, f.reader, err));
	/* Also what reading the parts does not need: who changed that may have changed more. */
	AQZ_TRY(aqz_reader_verify(f.reader, AQZ_VERIFY_STORED, 1, NULL, NULL, NULL, NULL, err));
	AQZ_TRY(read_part(f.reader, 1, &stands_for, err));
	if (memcmp(stands_for.data, what, (size_t)stands_for.n_bytes) != 0)
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, NULL, "it is one of something else"));
	for (uint32_t i = 0; i < n_parts; i++)
		AQZ_TRY(read_part(f.reader, 2 + i, &parts[i], err));
	if (aqz_reader_file(f.reader)->n_sections != 2 + n_parts)
		AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, NULL, "it holds more than it should"));
out:
	aqz_checkpoint_close_file(&f);
	free(stands_for.data);
	return status;
}

void aqz_checkpoint_warn(const aqz_checkpoint *p, const char *name, const char *why)
{
	const aqz_compress_options *o = &p->plan->opt;
	char line[320];

	if (o->warn == NULL)
		return;
	snprintf(line, sizeof line, "the checkpoint %s is of no use and made anew: %s", name, why);
	o->warn(o->user, line);
}

aqz_status aqz_checkpoint_read(bool *good, const aqz_checkpoint *p, aqz_kept kind, uint32_t number,
	const char *what, const aqz_part *parts, uint32_t n_parts, aqz_error *err)
{
	char name[AQZ_CHECKPOINT_NAME_BYTES];
	aqz_error found = {.status = AQZ_OK};
	aqz_status status;

	aqz_checkpoint_name(name, kind, number);
	status = read_parts(p, name, what, parts, n_parts, &found);
	*good = status == AQZ_OK;
	if (status == AQZ_E_NOMEM)
		return aqz_fail(err, status, found.offset, found.where, "%s", found.text);
	if (!*good)
		aqz_checkpoint_warn(p, name, found.text);
	return AQZ_OK;
}
