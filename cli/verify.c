/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip verify: is the file whole, and where not. */
#include <stdlib.h>
#include <string.h>

#include "cli/verify.h"

enum { OPT_QUICK = CLI_OPT_OWN, OPT_FULL, OPT_AGAINST, OPT_STATS };

static const cli_option options[] = {
	{OPT_QUICK, 0, "quick", NULL, "check only structure and index, not the data"},
	{OPT_FULL, 0, "full", NULL, "also decode every chunk and compare the hashes of its elements"},
	{OPT_AGAINST, 0, "against", "MODEL",
		"also compare with this source model: lossless tensors byte by byte, coded ones by their "
		"recorded error"},
	{OPT_STATS, 0, "stats", "STATS.safetensors",
		"with --against: also compute the losses again with these statistics of the inputs"},
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	CLI_ROW_QUIET,
	CLI_ROW_VERBOSE,
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

void verify_add(verify_job *job, uint32_t section, uint32_t chunk, const aqz_error *what)
{
	verify_finding *grown = job->findings;

	/* Doubled whenever the number is a power of two. */
	if ((job->n_findings & (job->n_findings - 1)) == 0) {
		grown = realloc(job->findings,
			(job->n_findings == 0 ? 1 : 2 * (size_t)job->n_findings) * sizeof *grown);
		if (grown == NULL) {
			job->lost_findings = true;
			return;
		}
		job->findings = grown;
	}
	grown[job->n_findings].section = section;
	grown[job->n_findings].chunk = chunk;
	grown[job->n_findings++].err = *what;
}

static void on_finding(void *user, uint32_t section, uint32_t chunk, const aqz_error *what)
{
	verify_add(user, section, chunk, what);
}

/* The file is at fault, not the machine, and it is our kind of file. */
static bool is_damage(aqz_status status)
{
	return status == AQZ_E_TRUNCATED || status == AQZ_E_CORRUPT || status == AQZ_E_CHECKSUM;
}

static int verify_pipe(verify_job *job, cli_input *in)
{
	const aqz_stream_events none = {.user = NULL};
	aqz_error err = {0};
	aqz_status status;

	job->level = AQZ_VERIFY_FULL;
	status = cli_input_push(in, &none, job->common->memory_bytes, &job->progress, NULL, &err);
	job->n_bytes = job->progress.done;
	cli_progress_clear(&job->progress);
	job->status = status;
	if (status != AQZ_OK && !is_damage(status))
		return verify_stopped(job, NULL, &err);
	if (status != AQZ_OK)
		verify_add(job, UINT32_MAX, UINT32_MAX, &err);
	return verify_report(job, NULL);
}

static int verify_file(verify_job *job, cli_input *in)
{
	aqz_reader_options reader_options = {
		.struct_size = sizeof reader_options, .memlimit_bytes = job->common->memory_bytes};
	aqz_reader *reader = NULL;
	aqz_error err = {0};
	aqz_status status = aqz_reader_open(&reader, &in->io, &reader_options, &err);
	int code;

	job->n_bytes = (uint64_t)in->st.st_size;
	if (status == AQZ_OK)
		status = aqz_reader_verify(reader, job->level, job->common->n_threads, on_finding, job,
			cli_progress_tick, &job->progress, &err);
	else if (is_damage(status))
		verify_add(job, UINT32_MAX, UINT32_MAX, &err);
	cli_progress_clear(&job->progress);
	job->status = status;
	if (status != AQZ_OK && (job->n_findings == 0 || status == AQZ_E_CANCELLED))
		code = verify_stopped(job, reader, &err);
	else if (status == AQZ_OK && job->against != NULL)
		code = verify_against(job, reader);
	else
		code = verify_report(job, reader);
	aqz_reader_close(reader);
	return code;
}

static int run_verify(cli_parser *p, verify_job *job)
{
	cli_input in;
	int code = cli_input_open(&in, job->path);

	job->start = cli_now();
	job->path = in.name;
	if (code != CLI_OK && !job->common->json)
		return code;
	if (code != CLI_OK) {
		job->status = in.err.status;
		verify_add(job, UINT32_MAX, UINT32_MAX, &in.err);
		code = verify_report(job, NULL);
	} else if (in.stream && (job->against != NULL || job->level == AQZ_VERIFY_QUICK)) {
		cli_usage(p, "a pipe is always checked in full; --quick and --against need a file");
		code = p->exit_code;
	} else {
		cli_progress_begin(&job->progress, job->common->quiet);
		code = in.stream ? verify_pipe(job, &in) : verify_file(job, &in);
	}
	cli_input_close(&in);
	free(job->findings);
	return code;
}

static int run(int argc, char **argv)
{
	verify_job job = {.level = AQZ_VERIFY_STORED};
	bool quick = false, full = false;
	cli_parser p;

	cli_parser_begin(&p, &cli_verify, argc, argv);
	while (cli_parser_next(&p)) {
		switch (p.id) {
		case OPT_QUICK:
			quick = true;
			break;
		case OPT_FULL:
			full = true;
			break;
		case OPT_AGAINST:
			job.against = p.value;
			break;
		case OPT_STATS:
			job.stats = p.value;
			break;
		default:
			break;
		}
	}
	cli_parser_operands(&p, 1, 1, "IN.aqz");
	if (p.exit_code < 0 && quick && full)
		cli_usage(&p, "--quick and --full exclude each other");
	if (p.exit_code < 0 && job.stats != NULL && job.against == NULL)
		cli_usage(&p, "--stats needs --against MODEL, whose weights the losses are of");
	if (p.exit_code < 0) {
		job.level = quick ? AQZ_VERIFY_QUICK : full ? AQZ_VERIFY_FULL : AQZ_VERIFY_STORED;
		job.common = &p.common;
		job.path = p.operands[0];
		p.exit_code = run_verify(&p, &job);
	}
	cli_parser_end(&p);
	return p.exit_code;
}

const cli_command cli_verify = {"verify", "IN.aqz|- [OPTION]...",
	"Checks structure and the hash of every stored byte.",
	"Exit code: 0 the file is whole, 1 it is not (or differs from MODEL), 2 wrong usage.\n",
	options, run};
