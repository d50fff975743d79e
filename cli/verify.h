/* SPDX-License-Identifier: Apache-2.0 */
/* verify, inside: the command and the hashes (verify.c), what is said (verify_report.c), and the comparison with a
 * source model (against.c). */
#ifndef AQZ_CLI_VERIFY_H
#define AQZ_CLI_VERIFY_H

#include "cli/json.h"

typedef struct verify_finding {
	uint32_t section, chunk; /* UINT32_MAX: not a chunk's */
	aqz_error err;
} verify_finding;

typedef struct verify_job {
	const cli_common *common;
	const char *path, *against, *stats; /* against and stats: NULL if not given */
	aqz_verify_level level;
	aqz_status status;   /* what it came to: of the first finding */
	double start;
	uint64_t n_bytes;
	verify_finding *findings;
	uint32_t n_findings;
	bool lost_findings;  /* no memory for more */
	cli_progress progress;
} verify_job;

/* Keeps a finding. */
void verify_add(verify_job *job, uint32_t section, uint32_t chunk, const aqz_error *what);
/* Prints what was found; reader may be NULL. Returns an exit code. */
int verify_report(const verify_job *job, const aqz_reader *reader);
/* Says why the check could not be made to its end, and with --json all that verify_report prints, too. */
int verify_stopped(verify_job *job, const aqz_reader *reader, const aqz_error *err);
/* Adds "status" and, of what went wrong, "text", "where" and "offset". */
void verify_json_error(json_t *object, aqz_status status, const aqz_error *err);
/* Compares all tensors with the model job->against; prints a table or JSON. Returns an exit code. */
int verify_against(verify_job *job, const aqz_reader *reader);

#endif
