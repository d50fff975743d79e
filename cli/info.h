/* SPDX-License-Identifier: Apache-2.0 */
/* info, inside: what is said (info.c) and the same as JSON (info_json.c). */
#ifndef AQZ_CLI_INFO_H
#define AQZ_CLI_INFO_H

#include "cli/json.h"

typedef struct info_job {
	const char *path;
	const char **globs;
	uint32_t n_globs;
} info_job;

typedef struct info_counts {
	uint64_t weights, n_coded, coded_weights;
	double coded_bytes; /* of the file, with each tensor's part of what it shares */
	uint64_t n_with_loss; /* coded tensors with a loss in the metric of their inputs */
	uint64_t n_codebooks, codebook_bytes, codebook_uses, n_shared;
	uint64_t n_files, file_bytes;
} info_counts;

#define INFO_NOTE_BYTES 96

bool info_listed(const info_job *job, const char *name);
/* "raw: not smaller", "alias", "transposed", or "". mixed: the file has losses, so that a tensor without says so. */
void info_note(char note[INFO_NOTE_BYTES], const aqz_reader *reader, const aqz_tensor_info *t, bool mixed);
/* 8 * bytes of the file that the tensor costs / its weights. */
double info_bits(const aqz_reader *reader, const aqz_tensor_info *t);
void info_count(info_counts *c, const aqz_reader *reader);
/* The provenance's JSON text, or NULL; free with free(). */
char *info_provenance(const aqz_reader *reader);
int info_json(const info_job *job, const aqz_reader *reader);
/* Which GPUs there are and whether they are usable (info_devices.c). */
int info_devices(const cli_common *common);

#endif
