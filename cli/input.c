/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs: a container in a file, read at random, or in a pipe, read once. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static int refuse(cli_input *in, aqz_status status, const char *text)
{
	cli_fail(&in->err, status, "", "%s", text);
	return cli_error(in->name, "%s", text);
}

static int refuse_errno(cli_input *in, int error)
{
	aqz_status status = cli_fail_errno(&in->err, "", error);

	return refuse(in, error == ENOENT ? AQZ_E_NOT_FOUND : status, strerror(error));
}

int cli_input_open(cli_input *in, const char *path)
{
	memset(in, 0, sizeof *in);
	in->fd = STDIN_FILENO;
	in->name = "standard input";
	in->stream = true;
	if (strcmp(path, "-") == 0) {
		if (fstat(in->fd, &in->st) != 0)
			return refuse_errno(in, errno);
		if (isatty(in->fd))
			return refuse(in, AQZ_E_FORMAT, "a terminal holds no container; give a file or a pipe");
		return CLI_OK;
	}
	in->name = path;
	in->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (in->fd < 0)
		return refuse_errno(in, errno);
	if (fstat(in->fd, &in->st) != 0) {
		int error = errno;

		cli_input_close(in);
		return refuse_errno(in, error);
	}
	if (S_ISDIR(in->st.st_mode)) {
		cli_input_close(in);
		return refuse(in, AQZ_E_FORMAT, "is a folder, not a container");
	}
	in->stream = !S_ISREG(in->st.st_mode);
	aqz_io_from_fd(&in->io, in->fd);
	return CLI_OK;
}

void cli_input_close(cli_input *in)
{
	if (in->fd > STDERR_FILENO)
		close(in->fd);
	in->fd = -1;
}

aqz_status cli_input_push(cli_input *in, const aqz_stream_events *events, uint64_t memlimit_bytes,
	cli_progress *progress, aqz_status (*done)(void *user), aqz_error *err)
{
	const size_t step = 1 << 18;
	aqz_reader_options options = {.struct_size = sizeof options, .memlimit_bytes = memlimit_bytes};
	uint64_t total = S_ISREG(in->st.st_mode) && in->st.st_size > 0 ? (uint64_t)in->st.st_size : 0,
			 n_read = 0;
	aqz_stream *stream = NULL;
	uint8_t *buffer = malloc(step);
	aqz_status status;

	if (buffer == NULL)
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	status = aqz_stream_open(&stream, events, &options, err);
	while (status == AQZ_OK) {
		ssize_t n;

		cli_signals_blocking(true);
		n = read(in->fd, buffer, step);
		cli_signals_blocking(false);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			status = cli_fail_errno(err, "", errno);
		} else if (n == 0) {
			status = aqz_stream_finish(stream, err);
			if (status == AQZ_OK && done != NULL)
				status = done(events->user);
			break;
		} else {
			status = aqz_stream_push(stream, buffer, (size_t)n, err);
			n_read += (uint64_t)n;
			progress->done = n_read; /* also where the stream refuses them */
			if (status == AQZ_OK && !cli_progress_tick(progress, n_read, total))
				status = cli_fail(err, AQZ_E_CANCELLED, "", "stopped by a signal");
		}
	}
	aqz_stream_close(stream);
	free(buffer);
	return status;
}
