/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: an output that is not whole never stays behind. The only global state of the tool. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static volatile sig_atomic_t caught;
static volatile sig_atomic_t blocking_call;
static _Atomic(cli_temporary *) watched;

void cli_temporary_remove(const cli_temporary *t)
{
	if (t->folder_fd >= 0) {
		for (const cli_name *n = t->names; n != NULL; n = n->next)
			unlinkat(t->folder_fd, n->text, 0);
		unlinkat(t->parent_fd, t->temp, AT_REMOVEDIR);
	} else if (unlinkat(t->parent_fd, t->temp, 0) != 0) {
		/* A folder that was made this instant. */
		unlinkat(t->parent_fd, t->temp, AT_REMOVEDIR);
	}
}

/* Only unlinkat, signal, raise and _exit are called here: all async-signal-safe
 * (POSIX.1-2008, 2.4.3). */
static void handler(int number)
{
	cli_temporary *t = atomic_load(&watched);

	if (t != NULL && caught == 0 && !blocking_call) {
		caught = number;
		return;
	}
	if (t != NULL)
		cli_temporary_remove(t);
	signal(number, SIG_DFL);
	raise(number);
	/* The signal is blocked while its handler runs and kills on return. */
}

void cli_signals_install(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action, old;

	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaddset(&action.sa_mask, numbers[i]);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		/* What nohup or a shell's background job ignores stays ignored. */
		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

bool cli_interrupted(void)
{
	return caught != 0;
}

void cli_signals_finish(void)
{
	if (caught != 0) {
		signal(caught, SIG_DFL);
		raise(caught);
	}
}

void cli_signals_hold(bool hold)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

void cli_signals_blocking(bool blocking)
{
	blocking_call = blocking;
}

void cli_signals_watch(cli_temporary *t)
{
	atomic_store(&watched, t);
}
