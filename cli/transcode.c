/* SPDX-License-Identifier: Apache-2.0 */
/* aqlmzip transcode: a container in, one of other schemes out. */
#include "cli/compress.h"

static int run(int argc, char **argv)
{
	return compress_main(&cli_transcode, argc, argv);
}

const cli_command cli_transcode = {"transcode", "IN.aqz -o OUT.aqz [OPTION]...",
	"Codes a container anew by other schemes; options are those of compress.",
	"Tensors are decoded one after the other and coded anew, whatever they were; losses are those "
	"against the input.\n",
	compress_options, run};
