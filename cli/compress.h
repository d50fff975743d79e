/* SPDX-License-Identifier: Apache-2.0 */
/* compress, inside: the command line (compress.c), the job (compress_run.c) and what is said about it
 * (compress_report.c). */
#ifndef AQZ_CLI_COMPRESS_H
#define AQZ_CLI_COMPRESS_H

#include "cli/json.h"

typedef struct compress_result {
	const aqz_source_tensor *tensor;
	aqz_scheme scheme;
	aqz_measured measured;
	uint64_t n_bytes; /* in the file, of a trellis tensor */
} compress_result;

typedef struct compress_job {
	const cli_common *common;
	const char *model, *output; /* output "-": standard output */
	const char *stats_path, *codebooks_path; /* NULL: none */
	const char *checkpoints;  /* the folder, NULL: none */
	const aqz_source *source;
	bool transcode;           /* model is a container */
	bool dry_run, archive, has_scheme;
	double slope;             /* that the shared bits came to; 0 if none was looked for */
	cli_progress progress;
	double start;
	uint64_t in_bytes;        /* of a container that is transcoded */
	uint64_t out_bytes, tensor_bytes; /* tensor_bytes: of the trellis tensor that ends next */
	uint32_t n_tensors, n_results;
	compress_result *results; /* in the order in which tensors were done */
	json_t *warnings;         /* NULL without --json */
} compress_job;

extern const cli_option compress_options[];
/* The command line of compress, or of transcode, whose model is a container. */
int compress_main(const cli_command *command, int argc, char **argv);
/* MODEL.aqz: without .safetensors, without slashes at the end. *name is freed with free(). */
int compress_default_output(char **name, const char *model);
/* Opens what the job names and does it. Returns an exit code. */
int compress_run(compress_job *job, aqz_compress_options *opt, const char *output);

/* What the plan would do, as a table or JSON. Both return an exit code. */
int compress_dry_run(const compress_job *job, const aqz_plan *plan);
/* What was done. */
int compress_report(const compress_job *job, const aqz_plan *plan);

#endif
