/* SPDX-License-Identifier: Apache-2.0 */
/* verify --against: the table of the comparison, or JSON. */
#include <math.h>

#include "cli/against.h"

void against_print_head(size_t width, bool losses)
{
	printf("%-*s  %-8s %12s %12s", (int)width, "tensor", "scheme", "rel. MSE", "recorded");
	printf("%s  result\n", losses ? "         loss     recorded" : "");
}

static void print_error(double value)
{
	if (isnan(value))
		printf(" %12s", "-");
	else
		printf(" %12.8f", value);
}

/* What was found and what was recorded; what is not coded has no error. */
static void print_pair(const comparison *r, double found, double recorded)
{
	if (!r->coded) {
		printf(" %12s %12s", r->good ? "0" : "-", "0");
		return;
	}
	print_error(found);
	print_error(recorded);
}

void against_print_row(const comparison *r, size_t width, bool losses)
{
	char scheme[AQZ_SCHEME_TEXT_BYTES];
	size_t n = cli_put_text(stdout, r->info->name);

	aqz_scheme_format(scheme, r->scheme);
	printf("%*s  %-8s", (int)(n < width ? width - n : 0), "", scheme);
	print_pair(r, r->mse, r->recorded);
	if (losses)
		print_pair(r, r->loss, r->recorded_loss);
	printf("  %s%s%s\n", r->good ? "ok" : "DIFFERS", r->why[0] != '\0' ? ": " : "", r->why);
}

json_t *against_row_json(const comparison *r)
{
	json_t *entry = json_pack("{so so sb}", "name", cli_json_text(r->info->name), "scheme",
		cli_json_scheme(r->scheme), "ok", r->good);

	if (r->coded && isfinite(r->mse))
		json_object_set_new(entry, "rel_mse", json_real(r->mse));
	if (r->coded && isfinite(r->recorded))
		json_object_set_new(entry, "recorded", json_real(r->recorded));
	if (r->coded && isfinite(r->loss))
		json_object_set_new(entry, "loss", json_real(r->loss));
	if (r->coded && isfinite(r->recorded_loss))
		json_object_set_new(entry, "recorded_loss", json_real(r->recorded_loss));
	if (r->why[0] != '\0')
		json_object_set_new(entry, "why", json_string(r->why));
	return entry;
}

int against_print_json(
	const verify_job *job, json_t *rows, bool equal, aqz_status status, const aqz_error *err)
{
	json_t *all = json_pack("{so so sb}", "file", cli_json_text(job->path), "against",
		cli_json_text(job->against), "ok", status == AQZ_OK && equal);

	verify_json_error(all, status, err);
	json_object_set_new(all, "seconds", json_real(cli_now() - job->start));
	json_object_set_new(all, "tensors", rows);
	return cli_json_print(all);
}
