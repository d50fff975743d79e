/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a command and prints, on standard error, its wall time, processor time and peak resident
 * memory: rss COMMAND... */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec a, b;
	struct rusage use;
	int status;
	if (argc < 2) {
		fprintf(stderr, "usage: rss COMMAND [ARGUMENT...]\n");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	pid_t child = fork();
	if (child == 0) {
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &use) != child) {
		perror("rss");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	double wall = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
	double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
	fprintf(stderr, "rss: %.2f s wall, %.2f s cpu, %ld KiB peak\n", wall, cpu, use.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
