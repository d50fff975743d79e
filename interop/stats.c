/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of the inputs: a safetensors file of matrices H under the names of weights, names that stand for others'
 * matrices, and vectors of values for the weights' rows. */
#include <math.h>
#include <xxhash.h>

#include "interop/plan.h"
#include "interop/source.h"

#define ALIAS "alias:"
/* What the halves of H may differ by, against the geometric mean of their diagonals. */
#define MAX_SKEW 1e-3f
/* Values of a vector that are read at a time; at most 8 bytes each. */
#define STEP_VALUES 4096
/* What is hashed at a time. */
#define STEP_BYTES (UINT64_C(4) << 20)

/* A weight that has another's matrix. */
typedef struct alias {
	const char *name; /* in the JSON tree */
	size_t name_bytes;
	const aqz_source_tensor *tensor;
} alias;

struct aqz_stats {
	aqz_source *source;
	const aqz_source_tensor **by_name; /* matrices, then vectors: each part in order */
	uint32_t n_tensors, n_matrices, n_aliases;
	alias *aliases; /* by name */
	json_t *metadata;
	uint64_t charged, tokens;
	uint64_t aliases_bytes;
};

/* "stats[NAME]": the errors while a model is compressed are about the model otherwise. */
static void where_of(char where[AQZ_WHERE_BYTES], const char *name, size_t n)
{
	aqz_safetensors_where(where, name, n, "");
	memcpy(where, "stats", 5);
	memmove(where + 5, where + 6, strlen(where + 6) + 1);
}

/* What tells a vector from a matrix: the end of its name. */
typedef struct vector_kind {
	aqz_row_statistic which;
	const char *suffix;
	size_t suffix_bytes;
	aqz_dtype dtype;
} vector_kind;

static const vector_kind vector_kinds[] = {
	{AQZ_ROW_IMPORTANCE, ".row_importance", 15, AQZ_F32},
	{AQZ_TOKEN_COUNT, ".token_count", 12, AQZ_U64},
};
#define N_VECTOR_KINDS (sizeof vector_kinds / sizeof *vector_kinds)

/* The kind of vector that a tensor of that name is, NULL for a matrix. */
static const vector_kind *vector_of(const char *name, size_t name_bytes)
{
	for (size_t i = 0; i < N_VECTOR_KINDS; i++) {
		const vector_kind *kind = &vector_kinds[i];

		if (name_bytes > kind->suffix_bytes &&
			memcmp(name + name_bytes - kind->suffix_bytes, kind->suffix, kind->suffix_bytes) == 0)
			return kind;
	}
	return NULL;
}

/* ---- Finding */

static int names_order(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	const int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

	return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int aliases_order(const void *a, const void *b)
{
	const alias *x = a, *y = b;

	return names_order(x->name, x->name_bytes, y->name, y->name_bytes);
}

static const aqz_source_tensor *find_in(
	const aqz_source_tensor **sorted, uint32_t n, const char *name, size_t name_bytes)
{
	const aqz_source_tensor key = {.name = name, .name_bytes = name_bytes}, *pointer = &key;
	const aqz_source_tensor **found =
		bsearch(&pointer, sorted, n, sizeof *sorted, aqz_safetensors_by_name);

	return found != NULL ? *found : NULL;
}

static const aqz_source_tensor *find_own(const aqz_stats *s, const char *name, size_t name_bytes)
{
	return find_in(s->by_name, s->n_matrices, name, name_bytes);
}

const aqz_source_tensor *aqz_stats_find(const aqz_stats *stats, const char *name, size_t name_bytes)
{
	const alias key = {.name = name, .name_bytes = name_bytes};
	const alias *found = NULL;

	if (stats->n_aliases > 0) /* else there may be no array */
		found = bsearch(&key, stats->aliases, stats->n_aliases, sizeof *found, aliases_order);
	return found != NULL ? found->tensor : find_own(stats, name, name_bytes);
}

const aqz_source_tensor *aqz_stats_find_rows(
	const aqz_stats *stats, aqz_row_statistic which, const char *name, size_t name_bytes)
{
	char full[AQZ_MAX_NAME_BYTES];

	for (size_t i = 0; i < N_VECTOR_KINDS; i++) {
		const vector_kind *kind = &vector_kinds[i];

		if (kind->which != which || name_bytes > sizeof full - kind->suffix_bytes)
			continue;
		memcpy(full, name, name_bytes);
		memcpy(full + name_bytes, kind->suffix, kind->suffix_bytes);
		return find_in(stats->by_name + stats->n_matrices, stats->n_tensors - stats->n_matrices,
			full, name_bytes + kind->suffix_bytes);
	}
	return NULL;
}

/* ---- Opening */

static aqz_status check_vector(
	const aqz_source_tensor *t, const vector_kind *kind, const char *where, aqz_error *err)
{
	if (t->dtype != kind->dtype)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, t->offset, where, "a vector %s is %s, not %s",
			kind->suffix + 1, aqz_dtype_name(kind->dtype), aqz_dtype_name(t->dtype));
	if (t->rank != 1 || t->n_elements == 0)
		return aqz_fail(err, AQZ_E_CORRUPT, t->offset, where,
			"a vector %s is [outputs]; this has another shape", kind->suffix + 1);
	return AQZ_OK;
}

static aqz_status check_matrix(const aqz_source_tensor *t, const char *where, aqz_error *err)
{
	if (t->dtype != AQZ_F32)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, t->offset, where, "statistics are F32, not %s",
			aqz_dtype_name(t->dtype));
	if (t->rank != 2 || t->shape[0] != t->shape[1] || t->n_elements == 0)
		return aqz_fail(err, AQZ_E_CORRUPT, t->offset, where,
			"statistics are square matrices [inputs, inputs]; this has another shape");
	return AQZ_OK;
}

static aqz_status read_tensors(aqz_stats *s, aqz_error *err)
{
	char where[AQZ_WHERE_BYTES];
	void *memory;
	uint32_t n_vectors = 0;
	aqz_status status;

	s->n_tensors = aqz_source_n_tensors(s->source);
	AQZ_TRY(aqz_budget_alloc(&s->source->budget, &memory, s->n_tensors * sizeof *s->by_name,
		"the names of statistics", err));
	s->by_name = memory;
	for (uint32_t i = 0; i < s->n_tensors; i++) {
		const aqz_source_tensor *t = aqz_source_get(s->source, i);
		const vector_kind *kind = vector_of(t->name, t->name_bytes);

		where_of(where, t->name, t->name_bytes);
		AQZ_TRY(kind != NULL ? check_vector(t, kind, where, err) : check_matrix(t, where, err));
		if (kind == NULL)
			s->by_name[s->n_matrices++] = t;
		else
			s->by_name[s->n_tensors - ++n_vectors] = t;
	}
	qsort(s->by_name, s->n_matrices, sizeof *s->by_name, aqz_safetensors_by_name);
	qsort(s->by_name + s->n_matrices, n_vectors, sizeof *s->by_name, aqz_safetensors_by_name);
out:
	return status;
}

static aqz_status read_tokens(aqz_stats *s, const json_t *value, aqz_error *err)
{
	const char *text = json_string_value(value);

	if (text == NULL)
		return AQZ_OK;
	for (const char *c = text; *c != '\0'; c++)
		if (*c < '0' || *c > '9' || !aqz_mul(&s->tokens, s->tokens, 10) ||
			!aqz_add(&s->tokens, s->tokens, (uint64_t)(*c - '0'))) {
			s->tokens = 0;
			break;
		}
	if (s->tokens == 0 || s->tokens > INT64_MAX)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, AQZ_SAFETENSORS_METADATA ".tokens",
			"the number of tokens is no positive decimal number");
	return AQZ_OK;
}

static aqz_status read_alias(aqz_stats *s, const char *key, const json_t *value, aqz_error *err)
{
	const char *owner = json_string_value(value), *name = key + sizeof ALIAS - 1;
	const size_t n = strlen(name), owner_bytes = json_string_length(value);
	char where[AQZ_WHERE_BYTES], of_owner[sizeof ALIAS + AQZ_MAX_NAME_BYTES];
	const aqz_source_tensor *tensor = find_own(s, owner, owner_bytes);
	const char *fault = NULL;

	where_of(where, name, n);
	if (n == 0 || n > AQZ_MAX_NAME_BYTES || !aqz_text_ok(name, n))
		fault = "an alias has no possible name";
	else if (find_own(s, name, n) != NULL)
		fault = "the weight is an alias, and has a matrix of its own";
	else if (tensor == NULL && owner_bytes <= AQZ_MAX_NAME_BYTES) {
		memcpy(of_owner, ALIAS, sizeof ALIAS - 1);
		memcpy(of_owner + sizeof ALIAS - 1, owner, owner_bytes + 1);
		fault = json_object_get(s->metadata, of_owner) != NULL
			? "the weight is an alias of an alias"
			: "the weight is an alias of a matrix that is not there";
	} else if (tensor == NULL)
		fault = "the weight is an alias of a matrix that is not there";
	if (fault != NULL)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, where, "%s", fault);
	s->aliases[s->n_aliases++] = (alias){name, n, tensor};
	return AQZ_OK;
}

/* The metadata: an object of strings, as the header's parser has made sure. */
static aqz_status read_metadata(aqz_stats *s, aqz_error *err)
{
	static const char where[] = AQZ_SAFETENSORS_METADATA;
	const char *text = s->source->files[0].table.metadata, *key;
	aqz_budget *budget = &s->source->budget;
	aqz_json_count count;
	json_t *value;
	void *memory;
	size_t end;
	aqz_status status;

	if (text == NULL)
		return AQZ_OK;
	AQZ_TRY(aqz_json_walk(&count, &end, text, strlen(text), 0, 2, 8, where, err));
	AQZ_TRY(aqz_json_load(&s->metadata, &s->charged, budget, &count, text, end, 8, where, err));
	AQZ_TRY(read_tokens(s, json_object_get(s->metadata, "tokens"), err));
	s->aliases_bytes = json_object_size(s->metadata) * sizeof *s->aliases;
	AQZ_TRY(aqz_budget_alloc(budget, &memory, s->aliases_bytes, "the aliases of statistics", err));
	s->aliases = memory;
	json_object_foreach(s->metadata, key, value) if (strncmp(key, ALIAS, sizeof ALIAS - 1) == 0)
		AQZ_TRY(read_alias(s, key, value, err));
	if (s->n_aliases > 0)
		qsort(s->aliases, s->n_aliases, sizeof *s->aliases, aliases_order);
out:
	return status;
}

aqz_status aqz_stats_open(aqz_stats **out, const char *path, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_stats *s = NULL;
	aqz_status status;

	if (out == NULL)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "a pointer is NULL");
	*out = NULL;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return aqz_fail_nomem(err, sizeof *s);
	AQZ_TRY(aqz_source_open(&s->source, path, memlimit_bytes, err));
	if (s->source->folder)
		AQZ_TRY(aqz_fail(err, AQZ_E_FORMAT, AQZ_NO_OFFSET, NULL,
			"statistics are one safetensors file, not a folder"));
	AQZ_TRY(read_tensors(s, err));
	AQZ_TRY(read_metadata(s, err));
	*out = s;
	s = NULL;
out:
	aqz_stats_close(s);
	return status;
}

void aqz_stats_close(aqz_stats *stats)
{
	if (stats == NULL)
		return;
	if (stats->source != NULL) {
		aqz_budget *budget = &stats->source->budget;

		aqz_budget_free(budget, stats->by_name, stats->n_tensors * sizeof *stats->by_name);
		aqz_budget_free(budget, stats->aliases, stats->aliases_bytes);
		aqz_json_free(stats->metadata, stats->charged, budget);
	}
	aqz_source_close(stats->source);
	free(stats);
}

uint64_t aqz_stats_tokens(const aqz_stats *stats)
{
	return stats->tokens;
}

const char *aqz_stats_example(const aqz_stats *stats)
{
	return stats->n_matrices > 0 ? stats->by_name[0]->name : "none at all";
}

/* ---- Reading */

/* Compares h[i][j] and h[j][i] and makes them their mean; by squares of 64, which stay in the cache. */
static aqz_status symmetrise(float *h, uint64_t n, uint64_t offset, const char *where, aqz_error *err)
{
	for (uint64_t i0 = 0; i0 < n; i0 += 64)
		for (uint64_t j0 = 0; j0 <= i0; j0 += 64)
			for (uint64_t i = i0; i < aqz_min(n, i0 + 64); i++)
				for (uint64_t j = j0; j < aqz_min(i, j0 + 64); j++) {
					float *low = h + i * n + j, *high = h + j * n + i;
					const float mean = 0.5f * *low + 0.5f * *high;

					/* Roots, or the product of two diagonals could overflow. */
					if (fabsf(*low - *high) > MAX_SKEW * sqrtf(h[i * n + i]) * sqrtf(h[j * n + j]))
						return aqz_fail(err, AQZ_E_CORRUPT, offset + 4 * (i * n + j), where,
							"the matrix is not symmetric at [%llu, %llu]", (unsigned long long)i,
							(unsigned long long)j);
					*low = *high = mean;
				}
	return AQZ_OK;
}

aqz_status aqz_stats_read(
	float *h, const aqz_stats *stats, const aqz_source_tensor *tensor, aqz_error *err)
{
	const uint64_t n = tensor->shape[0];
	char where[AQZ_WHERE_BYTES];
	aqz_status status;

	where_of(where, tensor->name, tensor->name_bytes);
	AQZ_TRY(aqz_source_read(
		stats->source, tensor->file, tensor->offset, h, (size_t)tensor->n_bytes, err));
	for (uint64_t i = 0; i < n; i++) {
		for (uint64_t j = 0; j < n; j++)
			if (!isfinite(h[i * n + j]))
				return aqz_fail(err, AQZ_E_CORRUPT, tensor->offset + 4 * (i * n + j), where,
					"the matrix holds an infinity or NaN at [%llu, %llu]", (unsigned long long)i,
					(unsigned long long)j);
		if (h[i * n + i] < 0)
			return aqz_fail(err, AQZ_E_CORRUPT, tensor->offset + 4 * (i * n + i), where,
				"the diagonal is negative at %llu", (unsigned long long)i);
	}
	AQZ_TRY(symmetrise(h, n, tensor->offset, where, err));
out:
	return status;
}

aqz_status aqz_stats_read_rows(
	double *values, const aqz_stats *stats, const aqz_source_tensor *tensor, aqz_error *err)
{
	const uint64_t n = tensor->shape[0], element_bytes = tensor->dtype == AQZ_U64 ? 8 : 4;
	char where[AQZ_WHERE_BYTES];
	uint64_t *step = malloc(STEP_VALUES * sizeof *step);
	aqz_status status = AQZ_OK;

	if (step == NULL)
		return aqz_fail_nomem(err, STEP_VALUES * sizeof *step);
	where_of(where, tensor->name, tensor->name_bytes);
	for (uint64_t at = 0; at < n; at += STEP_VALUES) {
		const uint64_t part = aqz_min(STEP_VALUES, n - at);
		const float *floats = (const float *)(const void *)step;

		AQZ_TRY(aqz_source_read(stats->source, tensor->file, tensor->offset + at * element_bytes,
			step, (size_t)(part * element_bytes), err));
		for (uint64_t i = 0; i < part; i++) {
			const double value = tensor->dtype == AQZ_U64 ? (double)step[i] : (double)floats[i];

			if (!isfinite(value) || value < 0)
				AQZ_TRY(aqz_fail(err, AQZ_E_CORRUPT, tensor->offset + (at + i) * element_bytes, where,
					"the value at %llu is not finite or negative", (unsigned long long)(at + i)));
			values[at + i] = value;
		}
	}
out:
	free(step);
	return status;
}

aqz_status aqz_stats_hash(uint64_t hash[2], const aqz_stats *stats, aqz_error *err)
{
	const uint64_t n = stats->source->files[0].file.n_bytes;
	XXH3_state_t *state = XXH3_createState();
	void *step = malloc(STEP_BYTES);
	XXH128_hash_t digest;
	aqz_status status = AQZ_OK;

	if (state == NULL || step == NULL)
		AQZ_TRY(aqz_fail_nomem(err, STEP_BYTES));
	XXH3_128bits_reset(state);
	for (uint64_t at = 0; at < n;) {
		const size_t part = (size_t)aqz_min(STEP_BYTES, n - at);

		AQZ_TRY(aqz_source_read(stats->source, 0, at, step, part, err));
		XXH3_128bits_update(state, step, part);
		at += part;
	}
	digest = XXH3_128bits_digest(state);
	hash[0] = digest.low64;
	hash[1] = digest.high64;
out:
	XXH3_freeState(state);
	free(step);
	return status;
}
