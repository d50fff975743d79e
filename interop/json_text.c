/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from strangers: text is walked and its tree's cost is bounded before jansson builds one. */
#include "interop/json_text.h"

#include <inttypes.h>

/* The index after the string that begins at text[i], or 0 if it is left open. */
static size_t string_end(const char *text, size_t n, size_t i)
{
	for (i++; i < n; i++) {
		if (text[i] == '\\')
			i++;
		else if (text[i] == '"')
			return i + 1;
	}
	return 0;
}

aqz_status aqz_json_walk(aqz_json_count *count, size_t *end, const char *text, size_t n,
	size_t begin, unsigned max_depth, uint64_t offset, const char *where, aqz_error *err)
{
	unsigned depth = 0;
	size_t i = begin, after;

	*count = (aqz_json_count){0};
	while (i < n) {
		switch (text[i]) {
		case '"':
			after = string_end(text, n, i);
			if (after == 0)
				return aqz_fail(err, AQZ_E_CORRUPT, offset + i, where, "a JSON string is left open");
			count->n_strings++;
			count->string_bytes += after - i;
			if (depth == 1)
				count->top_string_bytes += after - i;
			i = after;
			break;
		case '{':
		case '[':
			if (depth == max_depth)
				return aqz_fail(err, AQZ_E_CORRUPT, offset + i, where,
					"JSON is nested deeper than %u", max_depth);
			depth++;
			if (text[i++] == '{')
				count->n_objects++;
			else
				count->n_arrays++;
			break;
		case '}':
		case ']':
			if (depth == 0)
				goto done;
			depth--;
			i++;
			break;
		case ',':
			if (depth == 0)
				goto done;
			count->n_commas++;
			i++;
			break;
		case ':':
		case ' ':
		case '\t':
		case '\n':
		case '\r':
			if (depth == 0)
				goto done;
			i++;
			break;
		default:
			if (text[i] == '-')
				count->minus = true;
			i++;
			if (depth == 0)
				continue; /* a bare number or word goes on to the next mark */
		}
		if (depth == 0)
			goto done;
	}
	if (depth > 0)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + n, where, "a JSON bracket is left open");
done:
	*end = i;
	return AQZ_OK;
}

size_t aqz_json_space(const char *text, size_t n, size_t i)
{
	while (i < n && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r'))
		i++;
	return i;
}

uint64_t aqz_json_cost(const aqz_json_count *count)
{
	/* Per thing, with malloc's headers and what growing by doubling wastes or holds twice: an empty
	 * object with its 8 buckets 240, an empty array with its 8 slots 128, a key's pair and its
	 * share of the buckets 160 (a string value needs less), a number with its array slot 72; the
	 * lexer holds a string twice beside its copy in the tree. n <= 2^27 or so: no overflow. */
	return 1024 + 240 * count->n_objects + 160 * count->n_arrays + 160 * count->n_strings +
		72 * count->n_commas + 5 * count->string_bytes;
}

/* Says in our words what jansson found; its own text quotes the input. */
static aqz_status json_failure(
	const json_error_t *found, uint64_t offset, const char *where, aqz_error *err)
{
	const char *text = "the JSON is malformed";

	switch (json_error_code(found)) {
	case json_error_unknown: /* what jansson leaves when most of its allocations fail */
	case json_error_out_of_memory:
		return aqz_fail(err, AQZ_E_NOMEM, AQZ_NO_OFFSET, where, "out of memory for JSON");
	case json_error_invalid_utf8:
		text = "the JSON is no valid UTF-8";
		break;
	case json_error_null_character:
	case json_error_null_byte_in_key:
		text = "a JSON string holds U+0000";
		break;
	case json_error_duplicate_key:
		text = "a JSON key occurs twice";
		break;
	case json_error_numeric_overflow:
		text = "a number is out of range";
		break;
	default:
		break;
	}
	if (found->position > 0)
		offset += (uint64_t)found->position;
	return aqz_fail(err, AQZ_E_CORRUPT, offset, where, "%s", text);
}

aqz_status aqz_json_load_as(json_t **out, uint64_t *charged, aqz_budget *budget,
	const aqz_json_count *count, const char *text, size_t n, bool reals, uint64_t offset,
	const char *where, aqz_error *err)
{
	const uint64_t cost = aqz_json_cost(count);
	json_error_t found;
	void *volatile room; /* or the compiler would take the probe away */

	*out = NULL;
	*charged = 0;
	if (budget->limit_bytes != 0 && cost > budget->limit_bytes - budget->used_bytes)
		return aqz_fail(err, AQZ_E_MEMLIMIT, offset, where,
			"parsing needs %" PRIu64 " bytes beside %" PRIu64
			" in use, over the memory limit of %" PRIu64,
			cost, budget->used_bytes, budget->limit_bytes);
	/* jansson calls some failures of malloc bad syntax: be sure that there is enough. */
	room = malloc((size_t)cost);
	if (room == NULL)
		return aqz_fail_nomem(err, cost);
	free(room);
	*out = json_loadb(text, n,
		JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | (reals ? (size_t)JSON_DECODE_INT_AS_REAL : 0),
		&found);
	if (*out == NULL)
		return json_failure(&found, offset, where, err);
	*charged = cost;
	budget->used_bytes += cost;
	return AQZ_OK;
}

aqz_status aqz_json_load(json_t **out, uint64_t *charged, aqz_budget *budget,
	const aqz_json_count *count, const char *text, size_t n, uint64_t offset, const char *where,
	aqz_error *err)
{
	return aqz_json_load_as(out, charged, budget, count, text, n, false, offset, where, err);
}

void aqz_json_free(json_t *json, uint64_t charged, aqz_budget *budget)
{
	json_decref(json);
	budget->used_bytes -= charged;
}
