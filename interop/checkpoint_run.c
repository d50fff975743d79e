/* SPDX-License-Identifier: Apache-2.0 */
/* Which run a checkpoint is of: its id and its options, which stand in it as in the output; and how another differs. */
#include "interop/checkpoint.h"

#include <jansson.h>

/* More than any options that a person writes; what is in memory at a time. */
#define MAX_TEXT_BYTES (1 << 20)

/* The text of the options; freed with free(). */
static aqz_status read_options(char **text, uint64_t *n, const aqz_reader *reader, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(reader, 0);
	aqz_cursor *cursor = NULL;
	aqz_status status = AQZ_OK;

	*n = s->decoded_bytes;
	if (*n > MAX_TEXT_BYTES)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, NULL, "its options are too long");
	*text = malloc((size_t)*n + 1);
	if (*text == NULL)
		return aqz_fail_nomem(err, *n);
	AQZ_TRY(aqz_cursor_open(&cursor, reader, 0, err));
	AQZ_TRY(aqz_cursor_read(cursor, 0, s->rows, *text, (size_t)*n, err));
out:
	aqz_cursor_close(cursor);
	return status;
}

/* A sound container may be anything: a model that somebody keeps under such a name. */
static bool is_checkpoint(const aqz_reader *reader)
{
	const aqz_section_info *options = aqz_reader_section(reader, 0),
						   *what = aqz_reader_section(reader, 1);

	return aqz_reader_file(reader)->n_tensors == 0 && options != NULL && what != NULL &&
		options->kind == AQZ_KIND_METADATA && strcmp(options->name, "provenance") == 0 &&
		what->kind == AQZ_KIND_FILE && strcmp(what->name, AQZ_CHECKPOINT_WHAT) == 0;
}

/* Says the first option that differs, with both values if they are short. */
static aqz_status say_difference(const aqz_plan *plan, const char *text, size_t n, aqz_error *err)
{
	json_t *there = json_loadb(text, n, JSON_DECODE_ANY, NULL),
		   *here = json_loads(plan->provenance, 0, NULL), *value;
	const char *key;
	aqz_status status = AQZ_E_ARGUMENT;

	aqz_fail(err, status, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
		"its checkpoints are of another model: names, types or shapes of tensors differ");
	json_object_foreach(here, key, value)
	{
		const json_t *other = json_object_get(there, key);
		char *a, *b;

		if (json_equal(other, value))
			continue;
		a = json_dumps(other, JSON_COMPACT | JSON_ENCODE_ANY);
		b = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		if (a != NULL && b != NULL && strlen(a) <= 48 && strlen(b) <= 48)
			aqz_fail(err, status, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
				"its checkpoints are of another run: %s is %s there and %s here", key, a, b);
		else
			aqz_fail(err, status, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
				"its checkpoints are of another run: %s is not the same", key);
		free(a);
		free(b);
		break;
	}
	json_decref(there);
	json_decref(here);
	return status;
}

aqz_status aqz_checkpoint_same_run(
	bool *other, const aqz_plan *plan, const aqz_reader *reader, aqz_error *err)
{
	char *text = NULL;
	uint64_t n;
	aqz_status status;

	*other = !is_checkpoint(reader);
	if (*other)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, AQZ_CHECKPOINT_WHERE,
			"it holds a container with the name of a checkpoint");
	AQZ_TRY(read_options(&text, &n, reader, err));
	*other = memcmp(aqz_reader_file(reader)->id, plan->run, sizeof plan->run) != 0 ||
		n != strlen(plan->provenance) || memcmp(text, plan->provenance, (size_t)n) != 0;
	if (*other)
		status = say_difference(plan, text, (size_t)n, err);
out:
	free(text);
	return status;
}
