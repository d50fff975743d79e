/* SPDX-License-Identifier: Apache-2.0 */
/* aqz_io over a POSIX file descriptor. errno is left as the system set it. */
#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

static int descriptor(void *user)
{
	return (int)(intptr_t)user;
}

/* True if a failed call is to be made again: it was interrupted, or a non-blocking descriptor is
 * ready now. */
static bool retry(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	if (errno == EINTR)
		return true;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		return false;
	return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

static aqz_status fd_pread(void *user, void *dst, size_t n, uint64_t offset)
{
	const int fd = descriptor(user);
	uint8_t *p = dst;

	if (offset > INT64_MAX || n > INT64_MAX - offset)
		return AQZ_E_TRUNCATED;
	while (n > 0) {
		const ssize_t got = pread(fd, p, aqz_min(n, 1u << 30), (off_t)offset);

		if (got == 0)
			return AQZ_E_TRUNCATED;
		if (got < 0) {
			if (retry(fd, POLLIN))
				continue;
			return AQZ_E_IO;
		}
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return AQZ_OK;
}

static aqz_status fd_size(void *user, uint64_t *n_bytes)
{
	const int fd = descriptor(user);
	struct stat s;
	off_t end;

	if (fstat(fd, &s) != 0)
		return AQZ_E_IO;
	end = s.st_size;
	if (S_ISBLK(s.st_mode)) {
		/* Only a seek tells a device's size; pread does not mind where the position is left. */
		end = lseek(fd, 0, SEEK_END);
	} else if (!S_ISREG(s.st_mode)) {
		errno = ESPIPE;
		return AQZ_E_IO;
	}
	if (end < 0)
		return AQZ_E_IO;
	*n_bytes = (uint64_t)end;
	return AQZ_OK;
}

static aqz_status fd_write(void *user, const void *src, size_t n)
{
	const int fd = descriptor(user);
	const uint8_t *p = src;

	while (n > 0) {
		const ssize_t put = write(fd, p, aqz_min(n, 1u << 30));

		if (put == 0)
			return AQZ_E_IO; /* trying again could go on for ever */
		if (put < 0) {
			if (retry(fd, POLLOUT))
				continue;
			return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? AQZ_E_SPACE : AQZ_E_IO;
		}
		p += put;
		n -= (size_t)put;
	}
	return AQZ_OK;
}

void aqz_io_from_fd(aqz_io *io, int fd)
{
	io->user = (void *)(intptr_t)fd;
	io->pread = fd_pread;
	io->size = fd_size;
	io->write = fd_write;
}
