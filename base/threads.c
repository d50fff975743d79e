/* SPDX-License-Identifier: Apache-2.0 */
/* How many threads to use. */
#include <sched.h>
#include <unistd.h>

#include "base/base.h"

unsigned aqz_threads(unsigned n_threads)
{
	cpu_set_t set;
	long online;

	if (n_threads > 0)
		return n_threads;
	if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	/* More processors than the set has bits for. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned)online : 1;
}
