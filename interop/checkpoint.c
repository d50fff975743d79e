/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of checkpoints: its lock, what is there, what goes at the end. Files of other names are never touched. */
#include "interop/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* snprintf */
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "interop/source.h"

#define LOCK_NAME "aqlmzip.lock"
#define SET_PREFIX "aqlmzip-set-"
#define PREFIX "aqlmzip-"

/* What the lock file holds if the folder was made for checkpoints: whoever finishes removes it. */
static const char made_text[] = "This folder goes with its checkpoints.\n";

aqz_status aqz_checkpoint_system(aqz_error *err, int number, const char *doing)
{
	const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;

	return aqz_fail(err, full ? AQZ_E_SPACE : AQZ_E_IO, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
		"cannot %s: %s", doing, strerror(number));
}

/* ---- Names */

void aqz_checkpoint_name(char name[AQZ_CHECKPOINT_NAME_BYTES], aqz_kept kind, uint32_t number)
{
	snprintf(name, AQZ_CHECKPOINT_NAME_BYTES, "%s%06u.aqz",
		kind == AQZ_KEPT_SET ? SET_PREFIX : PREFIX, number);
}

/* True for the names that aqz_checkpoint_name makes, and for no others. */
static bool is_checkpoint(const char *name)
{
	char canonical[AQZ_CHECKPOINT_NAME_BYTES];
	const bool set = strncmp(name, SET_PREFIX, sizeof SET_PREFIX - 1) == 0;
	const char *digits = name + (set ? sizeof SET_PREFIX : sizeof PREFIX) - 1;

	if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0)
		return false;
	/* A name that is no number comes back otherwise than it was. */
	aqz_checkpoint_name(canonical, set ? AQZ_KEPT_SET : AQZ_KEPT_TENSOR,
		(uint32_t)aqz_min(strtoul(digits, NULL, 10), UINT32_MAX));
	return strcmp(canonical, name) == 0;
}

bool aqz_checkpoint_has(const aqz_checkpoint *p, aqz_kept kind, uint32_t number)
{
	char name[AQZ_CHECKPOINT_NAME_BYTES];
	struct stat info;

	if (p == NULL)
		return false;
	aqz_checkpoint_name(name, kind, number);
	return fstatat(p->dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Calls each with every checkpoint's name until it fails; *n counts them. */
static aqz_status for_each(const aqz_checkpoint *p, uint64_t *n,
	aqz_status (*each)(const aqz_checkpoint *p, const char *name, aqz_error *err), aqz_error *err)
{
	const int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *item;
	aqz_status status = AQZ_OK;

	*n = 0;
	if (dir == NULL) {
		status = aqz_checkpoint_system(err, errno, "list the folder");
		if (fd >= 0)
			close(fd);
		return status;
	}
	for (errno = 0; (item = readdir(dir)) != NULL; errno = 0) {
		if (!is_checkpoint(item->d_name))
			continue;
		++*n;
		if (each != NULL)
			AQZ_TRY(each(p, item->d_name, err));
	}
	if (errno != 0)
		status = aqz_checkpoint_system(err, errno, "list the folder");
out:
	closedir(dir);
	return status;
}

/* ---- The lock */

/* Opens the lock file and takes the lock. *gone: a run that ended has removed the file in between, so that what is
 * locked is nothing. */
static aqz_status try_lock(aqz_checkpoint *p, int *fd, bool *gone, aqz_error *err)
{
	static const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	struct stat mine, there;

	*fd = openat(p->dir, LOCK_NAME, flags | O_CREAT | O_EXCL, 0666);
	p->lock_is_new = *fd >= 0;
	if (*fd < 0 && errno == EEXIST)
		*fd = openat(p->dir, LOCK_NAME, flags);
	*gone = *fd < 0 && errno == ENOENT;
	if (*fd < 0 || fstat(*fd, &mine) != 0)
		return aqz_checkpoint_system(err, errno, "write to the folder");
	if (!S_ISREG(mine.st_mode))
		return aqz_checkpoint_system(err, EINVAL, "use " LOCK_NAME " as a lock");
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			return aqz_fail(err, AQZ_E_IO, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
				"another run is using this folder");
		/* Some file systems have no locks; then it is for the user to run one at a time. */
		if (errno != ENOSYS && errno != EOPNOTSUPP)
			return aqz_checkpoint_system(err, errno, "lock the folder");
	}
	*gone = fstatat(p->dir, LOCK_NAME, &there, AT_SYMLINK_NOFOLLOW) != 0 ||
		there.st_dev != mine.st_dev || there.st_ino != mine.st_ino;
	return *gone ? aqz_checkpoint_system(err, EAGAIN, "lock the folder") : AQZ_OK;
}

static aqz_status lock(aqz_checkpoint *p, aqz_error *err)
{
	aqz_status status = AQZ_OK;
	bool gone = true;
	int fd;

	for (int tries = 0; gone && tries < 100; tries++) {
		status = try_lock(p, &fd, &gone, err);
		if (status != AQZ_OK && fd >= 0)
			close(fd);
	}
	/* Only who has the lock may clean up. */
	p->lock = status == AQZ_OK ? fd : -1;
	return status;
}

/* Whether the folder was made for checkpoints stands in the lock file, for the runs that come after. */
static aqz_status remember_made(aqz_checkpoint *p, aqz_error *err)
{
	char text[sizeof made_text];
	const ssize_t n = sizeof made_text - 1;

	if (p->made && pwrite(p->lock, made_text, sizeof made_text - 1, 0) != n)
		return aqz_checkpoint_system(err, errno, "write to the folder");
	p->made = pread(p->lock, text, sizeof text, 0) == n && memcmp(text, made_text, (size_t)n) == 0;
	return AQZ_OK;
}

/* ---- Opening and closing */

static aqz_status check_run(const aqz_checkpoint *p, const char *name, aqz_error *err)
{
	aqz_checkpoint_file f;
	aqz_status status = aqz_checkpoint_open_file(&f, p, name, err);
	bool other = false;

	if (status == AQZ_OK)
		status = aqz_checkpoint_same_run(&other, p->plan, f.reader, err);
	aqz_checkpoint_close_file(&f);
	if (other)
		return status;
	/* What is broken is found again, and said, when it is needed. */
	return status == AQZ_E_NOMEM ? status : AQZ_OK;
}

/* The folder itself; not to be made if it is only to be cleaned up. */
static aqz_status open_folder(aqz_checkpoint *p, bool make, aqz_error *err)
{
	const char *path = p->plan->opt.checkpoint_dir;
	struct stat mine, model;
	int above;
	aqz_status status = AQZ_OK;

	if (make && mkdir(path, 0777) == 0)
		p->made = true;
	else if (make && errno != EEXIST)
		return aqz_checkpoint_system(err, errno, "make the folder");
	p->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0)
		return errno == ENOTDIR
			? aqz_fail(err, AQZ_E_IO, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE, "this is no folder")
			: aqz_checkpoint_system(err, errno, "open the folder");
	/* The files of a model's folder become part of the output. */
	if (p->plan->source->dir >= 0 && fstat(p->plan->source->dir, &model) == 0 &&
		fstat(p->dir, &mine) == 0 && mine.st_dev == model.st_dev && mine.st_ino == model.st_ino)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
			"this is the folder of the model; name another");
	above = p->made ? openat(p->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (above >= 0) {
		fsync(above);
		close(above);
	}
	AQZ_TRY(lock(p, err));
	AQZ_TRY(remember_made(p, err));
out:
	return status;
}

static aqz_status create(aqz_checkpoint **out, const aqz_plan *plan, aqz_error *err)
{
	aqz_checkpoint *p = calloc(1, sizeof *p);

	*out = p;
	if (p == NULL)
		return aqz_fail_nomem(err, sizeof *p);
	p->plan = plan;
	p->dir = p->lock = -1;
	p->hash = XXH3_createState();
	return p->hash != NULL ? AQZ_OK : aqz_fail_nomem(err, 576);
}

aqz_status aqz_checkpoint_open(aqz_checkpoint **out, const aqz_plan *plan, aqz_error *err)
{
	aqz_checkpoint *p = NULL;
	aqz_status status = AQZ_OK;
	uint64_t n;

	*out = NULL;
	if (plan->opt.checkpoint_dir == NULL)
		return AQZ_OK;
	AQZ_TRY(create(&p, plan, err));
	AQZ_TRY(open_folder(p, true, err));
	AQZ_TRY(for_each(p, &n, plan->opt.resume ? check_run : NULL, err));
	if (n > 0 && !plan->opt.resume)
		AQZ_TRY(aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
			"it holds checkpoints of an earlier run; resume that one, or remove them"));
	unlinkat(p->dir, AQZ_CHECKPOINT_TEMPORARY, 0);
	*out = p;
	p = NULL;
out:
	aqz_checkpoint_close(p);
	return status;
}

void aqz_checkpoint_close(aqz_checkpoint *p)
{
	uint64_t n;

	if (p == NULL)
		return;
	if (p->lock >= 0) {
		const bool empty = for_each(p, &n, NULL, NULL) == AQZ_OK && n == 0;

		if (empty || (p->lock_is_new && !p->kept))
			unlinkat(p->dir, LOCK_NAME, 0);
		if (empty && p->made)
			rmdir(p->plan->opt.checkpoint_dir); /* fails if somebody else put something there */
		close(p->lock);
	} else if (p->made) {
		rmdir(p->plan->opt.checkpoint_dir);
	}
	if (p->dir >= 0)
		close(p->dir);
	XXH3_freeState(p->hash);
	free(p);
}

static aqz_status remove_one(const aqz_checkpoint *p, const char *name, aqz_error *err)
{
	aqz_checkpoint_file f;
	bool other,
		same = aqz_checkpoint_open_file(&f, p, name, NULL) == AQZ_OK &&
		aqz_checkpoint_same_run(&other, p->plan, f.reader, NULL) == AQZ_OK;

	aqz_checkpoint_close_file(&f);
	if (same && unlinkat(p->dir, name, 0) != 0 && errno != ENOENT)
		return aqz_checkpoint_system(err, errno, "remove the checkpoints");
	return AQZ_OK;
}

aqz_status aqz_plan_forget(const aqz_plan *plan, aqz_error *err)
{
	aqz_checkpoint *p = NULL;
	aqz_status status = AQZ_OK;
	uint64_t n;

	if (plan->opt.checkpoint_dir == NULL)
		return AQZ_OK;
	AQZ_TRY(create(&p, plan, err));
	AQZ_TRY(open_folder(p, false, err));
	unlinkat(p->dir, AQZ_CHECKPOINT_TEMPORARY, 0);
	AQZ_TRY(for_each(p, &n, remove_one, err));
	fsync(p->dir);
out:
	aqz_checkpoint_close(p);
	return status;
}
