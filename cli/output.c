/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs: written beside their place under a temporary name, synced, then renamed, so that a
 * reader sees the old file or the whole new one. Links are never followed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

aqz_status cli_write(int fd, const void *data, size_t n, aqz_error *err)
{
	const uint8_t *p = data;

	while (n > 0) {
		ssize_t written;

		cli_signals_blocking(true);
		written = write(fd, p, n);
		cli_signals_blocking(false);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return cli_fail_errno(err, "", errno);
		p += written;
		n -= (size_t)written;
	}
	return AQZ_OK;
}

#define EARLY_BYTES (1 << 20)

aqz_status cli_pwrite(int fd, const void *data, size_t n, uint64_t offset, aqz_error *err)
{
	const uint8_t *p = data;
	const off_t begin = (off_t)offset;

	while (n > 0) {
		ssize_t written = pwrite(fd, p, n, (off_t)offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return cli_fail_errno(err, "", errno);
		p += written;
		offset += (uint64_t)written;
		n -= (size_t)written;
	}
#ifdef SYNC_FILE_RANGE_WRITE
	/* On its way to the disk while the next is made: the sync at the end then has little to wait for. */
	if ((off_t)offset - begin >= EARLY_BYTES)
		(void)sync_file_range(fd, begin, (off_t)offset - begin, SYNC_FILE_RANGE_WRITE);
#endif
	return AQZ_OK;
}

static aqz_status write_output(void *user, const void *data, size_t n)
{
	cli_output *o = user;
	aqz_error err;
	aqz_status status = cli_write(o->fd, data, n, &err);

	if (status != AQZ_OK)
		snprintf(o->problem, sizeof o->problem, "%.120s", err.text);
	return status;
}

void cli_output_io(cli_output *o, aqz_io *io)
{
	memset(io, 0, sizeof *io);
	io->user = o;
	io->write = write_output;
}

static int fail(cli_output *o, int code)
{
	cli_output_abort(o);
	return code;
}

/* Splits the path and opens the folder it lies in. */
static int open_parent(cli_output *o, const char *path)
{
	size_t n = strlen(path);
	const char *folder = ".";
	char *slash;

	memset(o, 0, sizeof *o);
	o->path = path;
	o->fd = o->temporary.parent_fd = o->temporary.folder_fd = -1;
	o->storage = strdup(path);
	if (o->storage == NULL)
		return cli_error_nomem();
	while (n > 1 && o->storage[n - 1] == '/')
		o->storage[--n] = '\0';
	slash = strrchr(o->storage, '/');
	o->base = slash != NULL ? slash + 1 : o->storage;
	if (slash == o->storage) {
		folder = "/";
	} else if (slash != NULL) {
		*slash = '\0';
		folder = o->storage;
	}
	if (*o->base == '\0' || strcmp(o->base, ".") == 0 || strcmp(o->base, "..") == 0)
		return cli_error(path, "is no name for a new file or folder");
	o->temporary.parent_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->temporary.parent_fd < 0)
		return cli_error(path, "the folder it should go into: %s", strerror(errno));
	return CLI_OK;
}

/* Refuses a place where the output must not go. */
static int check_target(cli_output *o, const struct stat *input)
{
	struct stat st;

	if (fstatat(o->temporary.parent_fd, o->base, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? CLI_OK : cli_error_errno(o->path, errno);
	if (S_ISLNK(st.st_mode))
		return cli_error(o->path,
			"is a symbolic link, and outputs never follow links; name the file itself, or - for "
			"standard output");
	if (input != NULL && st.st_dev == input->st_dev && st.st_ino == input->st_ino)
		return cli_error(o->path, "is the input itself");
	if (o->is_folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		return cli_error(
			o->path, "exists and is not a %s", o->is_folder ? "folder" : "regular file");
	if (!o->force)
		return cli_error(o->path, "already exists; -f overwrites it");
	return CLI_OK;
}

/* Makes the temporary file or folder under a name that nobody has. */
static int make_temporary(cli_output *o)
{
	cli_temporary *t = &o->temporary;

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(t->temp, sizeof t->temp, ".aqlmzip-%ld-%u.tmp", (long)getpid(), i);
		/* Watched before it exists: a signal in between removes a name that is not there, which is
		 * harmless. */
		cli_signals_watch(t);
		if (o->is_folder) {
			if (mkdirat(t->parent_fd, t->temp, 0777) == 0) {
				t->folder_fd =
					openat(t->parent_fd, t->temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
				if (t->folder_fd >= 0)
					return CLI_OK;
				break;
			}
		} else {
			o->fd = openat(
				t->parent_fd, t->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
			if (o->fd >= 0)
				return CLI_OK;
		}
		if (errno != EEXIST)
			break;
	}
	return cli_error_errno(o->path, errno);
}

int cli_output_file(cli_output *o, const char *path, bool force, const struct stat *input)
{
	int code;

	if (strcmp(path, "-") == 0) {
		memset(o, 0, sizeof *o);
		o->path = "standard output";
		o->is_stdout = true;
		o->fd = STDOUT_FILENO;
		o->temporary.parent_fd = o->temporary.folder_fd = -1;
		if (isatty(STDOUT_FILENO))
			return cli_error(o->path, "is a terminal; name a file with -o, or pipe it");
		return CLI_OK;
	}
	code = open_parent(o, path);
	o->force = force;
	if (code == CLI_OK && path[strlen(path) - 1] == '/')
		code = cli_error(path, "names a folder, but one file is to be written");
	if (code == CLI_OK)
		code = check_target(o, input);
	if (code == CLI_OK)
		code = make_temporary(o);
	return code == CLI_OK ? CLI_OK : fail(o, code);
}

/* What an existing folder holds: plain files that allowed (a list, or NULL for any) names. */
static int check_old_folder(const cli_output *o, int at, const char *name, const cli_name *allowed)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), code = CLI_OK;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (dir == NULL) {
		code = cli_error_errno(o->path, errno);
		if (fd >= 0)
			close(fd);
		return code;
	}
	while (code == CLI_OK && (entry = readdir(dir)) != NULL) {
		const cli_name *n = allowed;
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		while (n != NULL && strcmp(n->text, entry->d_name) != 0)
			n = n->next;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) ||
			(allowed != NULL && n == NULL))
			code = cli_error(o->path,
				"holds '%s', which this model does not replace; -f overwrites only its own files",
				entry->d_name);
	}
	closedir(dir);
	return code;
}

int cli_output_folder(cli_output *o, const char *path, bool force)
{
	int code = open_parent(o, path);
	struct stat st;

	o->is_folder = true;
	o->force = force;
	if (code == CLI_OK)
		code = check_target(o, NULL);
	if (code == CLI_OK && fstatat(o->temporary.parent_fd, o->base, &st, AT_SYMLINK_NOFOLLOW) == 0)
		code = check_old_folder(o, o->temporary.parent_fd, o->base, NULL);
	if (code == CLI_OK)
		code = make_temporary(o);
	return code == CLI_OK ? CLI_OK : fail(o, code);
}

int cli_output_create(cli_output *o, const char *name)
{
	size_t n = strlen(name) + 1;
	cli_name *entry = malloc(sizeof *entry + n);
	int fd;

	/* The library has checked the name; this is the last line before the file system. */
	if (entry == NULL || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
		strcmp(name, "..") == 0) {
		errno = entry == NULL ? ENOMEM : EINVAL;
		free(entry);
		return -1;
	}
	memcpy(entry->text, name, n);
	/* In the list before it exists, for the same reason as the temporary name. */
	entry->next = o->temporary.names;
	o->temporary.names = entry;
	fd = openat(
		o->temporary.folder_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd < 0) {
		int error = errno;

		o->temporary.names = entry->next;
		free(entry);
		errno = error;
	}
	return fd;
}

int cli_output_finish_file(int fd)
{
	int code = fsync(fd), error = errno;

	/* Some file systems cannot sync; that is no failure of the data. */
	if (code != 0 && (error == EINVAL || error == ENOTSUP))
		code = 0;
	if (close(fd) != 0 && code == 0)
		return -1;
	errno = error;
	return code;
}

/* Puts the temporary output in its place; errno on failure. */
static int rename_into_place(cli_output *o)
{
	cli_temporary *t = &o->temporary;
	unsigned flags = o->force ? 0 : RENAME_NOREPLACE;

	if (renameat2(t->parent_fd, t->temp, t->parent_fd, o->base, flags) == 0)
		return 0;
	if (flags == 0 || (errno != EINVAL && errno != ENOSYS))
		return -1;
	/* The file system knows no RENAME_NOREPLACE: link() refuses an existing name as well; a folder
	 * cannot replace anything but an empty folder. */
	if (o->is_folder)
		return renameat(t->parent_fd, t->temp, t->parent_fd, o->base);
	if (linkat(t->parent_fd, t->temp, t->parent_fd, o->base, 0) != 0)
		return -1;
	unlinkat(t->parent_fd, t->temp, 0);
	return 0;
}

/* A folder in the place of an old one: exchanged, then the old one, now under the temporary name,
 * is removed. */
static int replace_folder(cli_output *o)
{
	cli_temporary *t = &o->temporary, old = *t;
	int code = check_old_folder(o, t->parent_fd, o->base, t->names);

	if (code != CLI_OK)
		return code;
	/* From the exchange on the temporary name is the old folder: the handler must not see the
	 * moment between. */
	cli_signals_hold(true);
	if (renameat2(t->parent_fd, t->temp, t->parent_fd, o->base, RENAME_EXCHANGE) != 0) {
		code = cli_error(o->path, "cannot replace the old folder: %s", strerror(errno));
		cli_signals_hold(false);
		return code;
	}
	cli_signals_watch(NULL);
	fsync(t->parent_fd);
	old.folder_fd = openat(t->parent_fd, t->temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (old.folder_fd >= 0) {
		cli_temporary_remove(&old);
		close(old.folder_fd);
	}
	cli_signals_hold(false);
	return CLI_OK;
}

static void release(cli_output *o)
{
	cli_temporary *t = &o->temporary;

	cli_signals_watch(NULL);
	if (o->fd >= 0 && !o->is_stdout)
		close(o->fd);
	if (t->folder_fd >= 0)
		close(t->folder_fd);
	if (t->parent_fd >= 0)
		close(t->parent_fd);
	o->fd = t->folder_fd = t->parent_fd = -1;
	t->temp[0] = '\0';
	while (t->names != NULL) {
		cli_name *n = t->names;

		t->names = n->next;
		free(n);
	}
	free(o->storage);
	o->storage = NULL;
}

int cli_output_commit(cli_output *o)
{
	cli_temporary *t = &o->temporary;
	struct stat st;
	int code = CLI_OK;

	if (o->is_stdout)
		return CLI_OK;
	if (cli_interrupted())
		return fail(o, cli_error(o->path, "stopped by a signal; nothing was left behind"));
	if (o->is_folder) {
		fsync(t->folder_fd);
	} else {
		int fd = o->fd;

		o->fd = -1;
		if (cli_output_finish_file(fd) != 0)
			return fail(o, cli_error_errno(o->path, errno));
	}
	if (o->is_folder && o->force && fstatat(t->parent_fd, o->base, &st, AT_SYMLINK_NOFOLLOW) == 0)
		code = replace_folder(o);
	else if (rename_into_place(o) != 0)
		code = errno == EEXIST ? cli_error(o->path, "already exists; -f overwrites it")
							   : cli_error_errno(o->path, errno);
	if (code != CLI_OK)
		return fail(o, code);
	cli_signals_watch(NULL);
	fsync(t->parent_fd);
	release(o);
	return CLI_OK;
}

void cli_output_abort(cli_output *o)
{
	if (!o->is_stdout && o->temporary.temp[0] != '\0' && o->temporary.parent_fd >= 0)
		cli_temporary_remove(&o->temporary);
	release(o);
}
