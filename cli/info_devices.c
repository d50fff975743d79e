/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip info --devices: the GPUs of this machine. That there is none is one line and no error. */
#include <string.h>

#include "aqlmzip_gpu.h"
#include "cli/info.h"

static json_t *device_json(const aqz_gpu_info *g)
{
	json_t *o = json_pack("{so si si si so sb}", "name", cli_json_text(g->name), "major", (int)g->major, "minor",
		(int)g->minor, "multiprocessors", (int)g->n_multiprocessors, "memory_bytes",
		cli_json_number(g->memory_bytes), "usable", (int)g->usable);

	if (!g->usable)
		json_object_set_new(o, "why", json_string(g->why));
	return o;
}

static void print(unsigned i, const aqz_gpu_info *g)
{
	char size[CLI_SIZE_TEXT];

	printf("cuda %u: ", i);
	cli_put_text(stdout, g->name);
	printf(", capability %u.%u, %u multiprocessors, %s: %s%s\n", g->major, g->minor, g->n_multiprocessors,
		cli_format_bytes(size, g->memory_bytes), g->usable ? "usable" : "not usable, ", g->why);
}

int info_devices(const cli_common *common)
{
	json_t *devices = common->json ? json_array() : NULL, *root;
	char why[sizeof((aqz_error *)0)->text] = "";
	aqz_error err = {0};
	unsigned n = 0;

	if (aqz_gpu_count(&n, &err) != AQZ_OK)
		memcpy(why, err.text, sizeof why);
	for (unsigned i = 0; i < n; i++) {
		aqz_gpu_info g;

		if (aqz_gpu_get(&g, i, &err) != AQZ_OK) {
			json_decref(devices);
			return cli_error_status("info", err.status, &err);
		}
		if (common->json)
			json_array_append_new(devices, device_json(&g));
		else
			print(i, &g);
	}
	if (!common->json) {
		if (n == 0)
			printf("no GPU: %s\n", why[0] != '\0' ? why : "there is none");
		return CLI_OK;
	}
	root = json_pack("{so}", "devices", devices);
	if (why[0] != '\0')
		json_object_set_new(root, "why", json_string(why));
	return cli_json_print(root);
}
