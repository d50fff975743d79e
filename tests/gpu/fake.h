/* SPDX-License-Identifier: Apache-2.0 */
/* A device made of the host's memory, behind the seam of gpu/backend.h. It is as unkind as a device may be: work is
 * done as late as it can be, so that a buffer that is filled again too early sends the wrong bytes; its memory begins
 * as noise and cannot be touched by the host; and any call can be made to fail. Kernels are those of the library, by
 * loops or by the emulator of tests/simt. One thread. */
#ifndef AQZ_TESTS_GPU_FAKE_H
#define AQZ_TESTS_GPU_FAKE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fake_device {
	uint64_t memory_bytes;    /* there are so many */
	uint64_t used_bytes, most_bytes;
	uint64_t pinned_bytes, most_pinned_bytes;
	uint64_t n_calls;         /* that can fail, since this was set to 0 */
	uint64_t fail_call;       /* the call of this number fails; 0 = none */
	bool work_fails;          /* the device's work does, which shows at the next wait */
	bool no_driver;
	unsigned n_devices;
	int current;
	unsigned n_allocated, n_pinned, n_streams, n_events; /* that have not been freed */
	uint32_t shared_bytes;    /* of a block */
} fake_device;

extern fake_device fake;

/* Two devices of 1 GiB, nothing else. */
void fake_reset(void);

#ifdef __cplusplus
}
#endif

#endif
