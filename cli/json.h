/* SPDX-License-Identifier: Apache-2.0 */
/* JSON for programs: the shapes that several commands print. */
#ifndef AQZ_CLI_JSON_H
#define AQZ_CLI_JSON_H

#include <jansson.h>

#include "cli/cli.h"

/* Prints and frees value; NULL means that memory ran out. Returns an exit code. */
int cli_json_print(json_t *value);
json_t *cli_json_shape(const uint64_t *shape, uint32_t rank);
/* Names in files are UTF-8; a path that is none becomes escaped text. */
json_t *cli_json_text(const char *text);
json_t *cli_json_number(uint64_t value);
json_t *cli_json_scheme(const aqz_scheme *scheme);
/* 128 or 64 bits as hexadecimal digits. */
json_t *cli_json_hex(const uint8_t *bytes, size_t n);
/* Adds "rel_mse", "loss_before", "loss_after", "raw_reason", "effort": those that were recorded. */
void cli_json_measured(json_t *object, const aqz_measured *m);

#endif
