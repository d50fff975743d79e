/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip compress: a model in, a container out. Here its command line; compress_run.c does the work. */
#include <stdlib.h>
#include <string.h>

#include "cli/compress.h"

enum {
	OPT_SCHEME = CLI_OPT_OWN,
	OPT_TENSORS,
	OPT_EFFORT,
	OPT_SEED,
	OPT_TRAIN_VECTORS,
	OPT_STATS,
	OPT_SHARE,
	OPT_CODEBOOKS_FROM,
	OPT_CODEBOOK_BITS,
	OPT_CODEBOOK_DTYPE,
	OPT_SCALE_DTYPE,
	OPT_ALIGN,
	OPT_NON_FINITE,
	OPT_CHECKPOINT,
	OPT_RESUME,
	OPT_ID,
	OPT_DRY_RUN,
	OPT_PROFILE,
	OPT_BITS,
	OPT_SLOPE,
	OPT_TRELLIS,
	OPT_IMPORTANCE,
	OPT_NO_WATERFILL,
	OPT_NO_RATE_TERM
};

const cli_option compress_options[] = {
	{CLI_OPT_OUTPUT, 'o', "output", "OUT.aqz",
		"write to this file; - is standard output (default: MODEL.aqz)"},
	{OPT_PROFILE, 'p', "profile", "runtime|archive",
		"what the file is for: weights that are multiplied as they are stored (--scheme 2x8g8, the "
		"default), or the "
		"smallest file (--scheme ectcq)"},
	{OPT_SCHEME, 's', "scheme", "SCHEME",
		"of the 2-D projections of attention and MLP: raw; MxBgG[oO]: M codebooks, B bits a "
		"code, G inputs and O outputs "
		"a codeword (default: 2x8g8); ectcq, alone or with @BITS, @loss=X or @slope=C; everything "
		"else is lossless"},
	{OPT_BITS, 'b', "bits",
		"R", "R bits of the file for each weight of all ectcq tensors without a goal of their own (default: 2.5)"},
	{OPT_SLOPE, 0, "slope", "C",
		"give these tensors steps by this constant instead of looking for it"},
	{OPT_TRELLIS, 0, "trellis", "STATES",
		"of ectcq: 4, 8, 16, 32, 64, 128 or 256, or 1 for none (default: by effort, 8 to 256)"},
	{OPT_IMPORTANCE, 0, "importance", "auto|always|never",
		"let the importance of rows in the statistics set steps of ectcq tensors: where a constant "
		"is given or shared "
		"(auto, the default), also for a goal of one tensor, or never"},
	{OPT_NO_WATERFILL, 0, "no-waterfill", NULL,
		"for comparison: the same step for all columns of an ectcq tensor"},
	{OPT_NO_RATE_TERM, 0, "no-rate-term", NULL,
		"for comparison: ectcq indices with the least error, whatever they take"},
	{OPT_TENSORS, 't', "tensors", "GLOB=SCHEME",
		"tensors whose names match the shell pattern get this scheme (repeatable; the last match "
		"wins)"},
	{OPT_STATS, 0, "stats", "STATS.safetensors",
		"make the errors small where the inputs are large: F32 matrices X^T X / n of the inputs, "
		"[in, in], under the names of the weights (default: all inputs count alike)"},
	{OPT_EFFORT, 'e', "effort", "1..9",
		"how long to search for good codes; 1 is one pass, each level is better (default: 5)"},
	{OPT_SEED, 0, "seed", "N", "of the codebooks' start and of noise in training (default: 0)"},
	{OPT_TRAIN_VECTORS, 0, "train-vectors", "N",
		"train the codebooks of a matrix on about N of its groups at most (default: by effort)"},
	{OPT_SHARE, 0, "share", "none|kind|block|all",
		"tensors of one scheme have codebooks together: those of one module name, of one block, "
		"or all (default: none); the model is read twice"},
	{OPT_CODEBOOKS_FROM, 0, "codebooks-from", "FILE.aqz",
		"take codebooks from this file, by the tensor's name, else by its module name"},
	{OPT_CODEBOOK_BITS, 0, "codebook-bits", "8|16|32",
		"store codebooks as i8 with scales, f16 (default) or f32"},
	{OPT_CODEBOOK_DTYPE, 0, "codebook-dtype", "TYPE",
		"the same by name: i8, f16 (default), bf16 or f32"},
	{OPT_SCALE_DTYPE, 0, "scale-dtype", "TYPE", "store row scales as f16 (default), bf16 or f32"},
	{OPT_ALIGN, 0, "align", "64|4096", "align the data of chunks to so many bytes (default: 64)"},
	{OPT_NON_FINITE, 0, "non-finite", "error|raw",
		"infinities or NaN in a tensor to be coded: stop (default), or store that tensor "
		"losslessly"},
	{OPT_CHECKPOINT, 0, "checkpoint", "DIR",
		"keep each coded tensor in this folder until the output is done, for --resume"},
	{OPT_RESUME, 0, "resume", NULL,
		"with --checkpoint: go on with the run that was interrupted; the bytes are the same"},
	{OPT_ID, 0, "id", "HEX32",
		"the file's id as 32 hexadecimal digits (default: a hash of the options and the tensors)"},
	{OPT_DRY_RUN, 'n', "dry-run", NULL,
		"only say what each tensor would become, with bytes and memory"},
	CLI_ROW_THREADS,
	CLI_ROW_MEMORY,
	CLI_ROW_FORCE,
	CLI_ROW_QUIET,
	CLI_ROW_VERBOSE,
	CLI_ROW_JSON,
	CLI_ROW_HELP,
	CLI_ROW_END,
};

static void add_rule(cli_parser *p, aqz_compress_options *opt, aqz_rule *rules)
{
	/* The list of arguments is ours to cut. */
	char *equals = strchr((char *)(uintptr_t)p->value, '=');

	if (equals == NULL || equals == p->value) {
		cli_usage(p,
			"--tensors: '%s' is not possible; possible values: GLOB=SCHEME, such as "
			"'*.mlp.*=2x8g8' or "
			"'*.layers.0.*=raw'",
			p->value);
		return;
	}
	rules[opt->n_rules].scheme = cli_value_goal(p, &rules[opt->n_rules].goal, equals + 1);
	if (p->exit_code >= 0)
		return;
	*equals = '\0';
	rules[opt->n_rules++].glob = p->value;
}

static void parse_id(cli_parser *p, uint8_t id[16])
{
	bool good = strlen(p->value) == 32 && strspn(p->value, "0123456789abcdefABCDEF") == 32;

	for (size_t i = 0; good && i < 16; i++) {
		char two[3] = {p->value[2 * i], p->value[2 * i + 1], '\0'};

		id[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	if (!good)
		cli_usage(p, "--id: '%s' is not possible; possible values: 32 hexadecimal digits", p->value);
}

/* --codebook-bits and --codebook-dtype say the same thing. */
static void set_codebooks(cli_parser *p, aqz_compress_options *opt, aqz_dtype dtype)
{
	if (p->exit_code < 0 && opt->codebook_dtype != 0 && opt->codebook_dtype != dtype)
		cli_usage(p, "--%s: another type of codebooks was asked for before", p->name);
	opt->codebook_dtype = dtype;
}

/* --bits and --slope exclude each other. */
static void set_shared(
	cli_parser *p, aqz_compress_options *opt, const char *prefix, aqz_goal_kind kind)
{
	if (opt->shared_goal.kind != AQZ_GOAL_SHARED && opt->shared_goal.kind != kind)
		cli_usage(p, "--bits and --slope exclude each other");
	else
		opt->shared_goal = (aqz_goal){kind, cli_value_positive(p, prefix, kind)};
}

/* What the options are together, once all are there. */
static void check_trellis(
	cli_parser *p, aqz_compress_options *opt, const aqz_rule *rules, const compress_job *job)
{
	bool any, shared;

	if (job->archive && !job->has_scheme)
		opt->scheme = (aqz_scheme){AQZ_CODEC_TRELLIS, .code_bits = 3, .in_group = 1, .out_group = 1};
	any = opt->scheme.codec == AQZ_CODEC_TRELLIS;
	shared = any && opt->goal.kind == AQZ_GOAL_SHARED;
	for (uint32_t i = 0; i < opt->n_rules; i++)
		if (rules[i].scheme.codec == AQZ_CODEC_TRELLIS) {
			any = true;
			shared = shared || rules[i].goal.kind == AQZ_GOAL_SHARED;
		}
	if (p->exit_code < 0 && opt->shared_goal.kind != AQZ_GOAL_SHARED && !shared)
		cli_usage(
			p, "--bits and --slope are for ectcq tensors without a goal: --profile archive, or --scheme ectcq");
	else if (p->exit_code < 0 && !any &&
		(opt->trellis_states != 0 || opt->even_steps || opt->no_rate_term ||
			opt->importance != AQZ_IMPORTANCE_AUTO))
		cli_usage(
			p, "--trellis, --importance, --no-waterfill and --no-rate-term are for ectcq tensors, and there are none");
}

static void take(
	cli_parser *p, aqz_compress_options *opt, aqz_rule *rules, uint8_t id[16], compress_job *job)
{
	static const char *const
		aligns[] = {"64", "4096", NULL},
		*const non_finite[] = {"error", "raw", NULL},
		*const shares[] = {"none", "kind", "block", "all", NULL},
		*const bits[] = {"8", "16", "32", NULL}, *const profiles[] = {"runtime", "archive", NULL},
		*const importance[] = {"auto", "always", "never", NULL},
		*const state_names[] = {"1", "4", "8", "16", "32", "64", "128", "256", NULL},
		*const dtypes[] = {"i8", "f16", "bf16", "f32", NULL};
	static const uint32_t states[] = {1, 4, 8, 16, 32, 64, 128, 256};
	static const aqz_dtype of_bits[] = {AQZ_I8, AQZ_F16, AQZ_F32},
						   of_dtypes[] = {AQZ_I8, AQZ_F16, AQZ_BF16, AQZ_F32};

	switch (p->id) {
	case OPT_SCHEME:
		opt->scheme = cli_value_goal(p, &opt->goal, p->value);
		job->has_scheme = true;
		break;
	case OPT_PROFILE:
		job->archive = cli_value_choice(p, profiles) == 1;
		break;
	case OPT_BITS:
		set_shared(p, opt, "", AQZ_GOAL_BITS);
		break;
	case OPT_SLOPE:
		set_shared(p, opt, "slope=", AQZ_GOAL_SLOPE);
		break;
	case OPT_TRELLIS:
		opt->trellis_states = states[cli_value_choice(p, state_names)];
		break;
	case OPT_IMPORTANCE:
		opt->importance = (aqz_importance)cli_value_choice(p, importance);
		break;
	case OPT_NO_WATERFILL:
		opt->even_steps = true;
		break;
	case OPT_NO_RATE_TERM:
		opt->no_rate_term = true;
		break;
	case OPT_TENSORS:
		add_rule(p, opt, rules);
		break;
	case OPT_EFFORT:
		opt->effort = (int)cli_value_number(p, 1, 9);
		break;
	case OPT_SEED:
		opt->seed = cli_value_number(p, 0, UINT64_MAX);
		break;
	case OPT_TRAIN_VECTORS:
		opt->train_vectors = cli_value_number(p, 1, UINT64_C(1) << 40);
		break;
	case OPT_STATS:
		job->stats_path = p->value;
		break;
	case OPT_SHARE:
		opt->share = (aqz_share)cli_value_choice(p, shares);
		break;
	case OPT_CODEBOOKS_FROM:
		job->codebooks_path = p->value;
		break;
	case OPT_CODEBOOK_BITS:
		set_codebooks(p, opt, of_bits[cli_value_choice(p, bits)]);
		break;
	case OPT_CODEBOOK_DTYPE:
		set_codebooks(p, opt, of_dtypes[cli_value_choice(p, dtypes)]);
		break;
	case OPT_SCALE_DTYPE:
		opt->scale_dtype = cli_value_float(p);
		break;
	case OPT_ALIGN:
		opt->alignment = cli_value_choice(p, aligns) == 0 ? 64 : 4096;
		break;
	case OPT_NON_FINITE:
		opt->non_finite =
			cli_value_choice(p, non_finite) == 0 ? AQZ_NON_FINITE_ERROR : AQZ_NON_FINITE_RAW;
		break;
	case OPT_CHECKPOINT:
		opt->checkpoint_dir = p->value;
		break;
	case OPT_RESUME:
		opt->resume = true;
		break;
	case OPT_ID:
		parse_id(p, id);
		opt->id = id;
		break;
	case OPT_DRY_RUN:
		job->dry_run = true;
		break;
	default:
		break;
	}
}

int compress_main(const cli_command *command, int argc, char **argv)
{
	aqz_compress_options opt = {.struct_size = sizeof opt,
		.scheme = {
			AQZ_CODEC_ADDITIVE, .n_codebooks = 2, .code_bits = 8, .in_group = 8, .out_group = 1}};
	aqz_rule *rules = calloc((size_t)argc + 1, sizeof *rules);
	compress_job job = {.transcode = command != &cli_compress};
	char *made = NULL;
	const char *output;
	uint8_t id[16];
	cli_parser p;

	cli_parser_begin(&p, command, argc, argv);
	if (rules == NULL)
		p.exit_code = cli_error_nomem();
	while (cli_parser_next(&p))
		take(&p, &opt, rules, id, &job);
	cli_parser_operands(&p, 1, 1, job.transcode ? "IN.aqz" : "MODEL");
	check_trellis(&p, &opt, rules, &job);
	output = p.common.output;
	if (p.exit_code < 0 && output != NULL && strcmp(output, "-") == 0 && p.common.json && !job.dry_run)
		cli_usage(&p, "--json and -o - both need standard output");
	if (p.exit_code < 0 && strcmp(p.operands[0], "-") == 0)
		cli_usage(&p,
			job.transcode
				? "the input is read more than once, so it is no pipe"
				: "a model comes from a .safetensors file or a folder, not from standard input");
	if (p.exit_code < 0 && job.transcode && output == NULL && !job.dry_run)
		cli_usage(&p, "-o OUT.aqz is missing");
	if (p.exit_code < 0 && job.codebooks_path != NULL &&
		(opt.codebook_dtype != 0 || opt.share != AQZ_SHARE_NONE))
		cli_usage(&p,
			"--codebooks-from takes codebooks as they are: no --share, --codebook-bits or "
			"--codebook-dtype with it");
	if (p.exit_code < 0 && opt.resume && opt.checkpoint_dir == NULL)
		cli_usage(&p, "--resume goes on from the folder of --checkpoint DIR, which is not given");
	if (p.exit_code < 0 && output == NULL && !job.dry_run) {
		int code = compress_default_output(&made, p.operands[0]);

		output = made;
		if (code != CLI_OK)
			p.exit_code = code;
	}
	if (p.exit_code < 0) {
		opt.rules = rules;
		opt.n_threads = p.common.n_threads;
		opt.memlimit_bytes = p.common.memory_bytes;
		job.common = &p.common;
		job.model = p.operands[0];
		job.checkpoints = opt.checkpoint_dir;
		p.exit_code = compress_run(&job, &opt, output);
	}
	cli_parser_end(&p);
	free(made);
	free(rules);
	return p.exit_code;
}

static int run(int argc, char **argv)
{
	return compress_main(&cli_compress, argc, argv);
}

const cli_command cli_compress = {"compress", "MODEL [-o OUT.aqz] [OPTION]...",
	"Compresses a .safetensors file or a Hugging Face model folder.",
	"The same input, options and version give the same bytes, whatever --threads says.\n",
	compress_options, run};
