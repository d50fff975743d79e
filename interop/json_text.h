/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from strangers: text is walked and its tree's cost is bounded before jansson builds one. */
#ifndef AQZ_JSON_TEXT_H
#define AQZ_JSON_TEXT_H

#include <jansson.h>

#include "base/base.h"

/* What a walk over one JSON value counted. The text need not be JSON otherwise: jansson decides. */
typedef struct aqz_json_count {
	uint64_t n_objects, n_arrays, n_strings, n_commas;
	uint64_t string_bytes;     /* of all strings as written, quotes included */
	uint64_t top_string_bytes; /* of those that stand directly in the outermost object or array */
	bool minus;                /* a '-' outside strings: jansson reads -0 as 0 */
} aqz_json_count;

/* Finds where the value at text[begin] ends, without recursion. offset: of text[0] in its file, for
 * the error. Returns AQZ_OK; _CORRUPT if brackets are nested deeper than max_depth or left open. */
aqz_status aqz_json_walk(aqz_json_count *count, size_t *end, const char *text, size_t n,
	size_t begin, unsigned max_depth, uint64_t offset, const char *where, aqz_error *err);

/* The index of the first character from i on that is no white space, or n. */
size_t aqz_json_space(const char *text, size_t n, size_t i);

/* Most bytes that jansson 2.x takes to parse the value that was counted, its tree included. */
uint64_t aqz_json_cost(const aqz_json_count *count);

/* Parses text[0..n), which holds the value that was counted and nothing else; duplicate keys,
 * U+0000 and numbers beyond 64 bits are refused. The cost is charged to *budget: give both back
 * by aqz_json_free(). reals: integers become reals, so that they may be of any size. Returns AQZ_OK;
 * _CORRUPT, _NOMEM, _MEMLIMIT. */
aqz_status aqz_json_load_as(json_t **out, uint64_t *charged, aqz_budget *budget,
	const aqz_json_count *count, const char *text, size_t n, bool reals, uint64_t offset,
	const char *where, aqz_error *err);
/* The same with integers as they are. */
aqz_status aqz_json_load(json_t **out, uint64_t *charged, aqz_budget *budget,
	const aqz_json_count *count, const char *text, size_t n, uint64_t offset, const char *where,
	aqz_error *err);
void aqz_json_free(json_t *json, uint64_t charged, aqz_budget *budget);

#endif
