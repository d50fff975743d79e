/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the header of a safetensors file (docs: github.com/huggingface/safetensors, "Format"):
 * u64 N, N bytes of JSON, data. Strict: whatever a reader could take in two ways is refused. */
#include "interop/safetensors.h"

#include <assert.h>
#include <inttypes.h>

#include "interop/json_text.h"

/* The shortest entry that is accepted: "x":{"dtype":"U8","shape":[],"data_offsets":[0,1]} */
#define MIN_ENTRY_BYTES 50

/* Owner of what a parsed header points to. */
typedef struct table {
	aqz_budget budget;
	char *names;
	uint64_t tensors_bytes, names_bytes, metadata_bytes;
} table;

typedef struct parser {
	aqz_safetensors *out;
	table *table;
	aqz_safetensors_text in;
	char *name_end; /* where the next name goes */
	uint32_t capacity;
} parser;

/* Empty tensors first where several begin at one place; empty ones at one place stay in the order
 * of the header, which is the order of their names' addresses. */
static int by_offset(const void *a, const void *b)
{
	const aqz_source_tensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	if (x->n_bytes != y->n_bytes)
		return x->n_bytes < y->n_bytes ? -1 : 1;
	return (x->name > y->name) - (x->name < y->name);
}

uint64_t aqz_safetensors_memory(const aqz_safetensors *s)
{
	return s->storage != NULL ? ((const table *)s->storage)->budget.used_bytes : 0;
}

static void skip_space(parser *p)
{
	p->in.at = aqz_json_space(p->in.text, p->in.n, p->in.at);
}

/* Copies a name to the table's storage. name may hold anything that jansson takes. */
static aqz_status keep_name(parser *p, aqz_source_tensor *t, const char *name, size_t n)
{
	char where[AQZ_WHERE_BYTES] = "header";

	if (n == 0)
		return aqz_safetensors_corrupt(&p->in, where, "a tensor has an empty name");
	if (!aqz_text_ok(name, n))
		return aqz_safetensors_corrupt(&p->in, where, "a tensor's name holds control characters");
	aqz_safetensors_where(where, name, n, "");
	if (n > AQZ_MAX_NAME_BYTES)
		return aqz_fail(p->in.err, AQZ_E_UNSUPPORTED, 8 + p->in.at, where,
			"the name is longer than %d bytes", AQZ_MAX_NAME_BYTES);
	/* A name takes as many bytes as its JSON string or fewer, and that has two quotes. */
	assert((size_t)(p->table->names + p->table->names_bytes - p->name_end) > n);
	t->name = memcpy(p->name_end, name, n);
	t->name_bytes = n;
	p->name_end[n] = '\0';
	p->name_end += n + 1;
	return AQZ_OK;
}

/* Checks that the value at p->in.at is an object of strings and keeps its text. */
static aqz_status read_metadata(parser *p, size_t *end)
{
	static const char where[] = AQZ_SAFETENSORS_METADATA;
	aqz_json_count count;
	json_t *metadata = NULL, *value;
	uint64_t charged = 0;
	const char *key;
	void *kept;
	aqz_status status;

	if (p->out->metadata != NULL)
		return aqz_safetensors_corrupt(&p->in, where, "the metadata occur twice");
	AQZ_TRY(aqz_json_walk(&count, end, p->in.text, p->in.n, p->in.at, 2, 8, where, p->in.err));
	AQZ_TRY(aqz_json_load(&metadata, &charged, p->in.budget, &count, p->in.text + p->in.at,
		*end - p->in.at, 8 + p->in.at, where, p->in.err));
	if (!json_is_object(metadata)) {
		status = aqz_safetensors_corrupt(&p->in, where, "the metadata are no object");
		goto out;
	}
	json_object_foreach(metadata, key, value) {
		if (!json_is_string(value)) {
			status = aqz_safetensors_corrupt(&p->in, where, "a value of the metadata is no string");
			goto out;
		}
	}
	AQZ_TRY(aqz_budget_alloc(
		p->in.budget, &kept, (uint64_t)(*end - p->in.at) + 1, "metadata", p->in.err));
	p->out->metadata = memcpy(kept, p->in.text + p->in.at, *end - p->in.at);
	p->table->metadata_bytes = (uint64_t)(*end - p->in.at) + 1;
out:
	aqz_json_free(metadata, charged, p->in.budget);
	return status;
}

/* Reads one "name": value. */
static aqz_status read_member(parser *p)
{
	aqz_source_tensor *t = &p->out->tensors[p->out->n_tensors];
	aqz_json_count count;
	json_t *name = NULL;
	uint64_t charged = 0;
	size_t end;
	bool metadata;
	aqz_status status;

	if (p->in.at == p->in.n || p->in.text[p->in.at] != '"')
		return aqz_safetensors_corrupt(&p->in, "header", "a name is missing");
	AQZ_TRY(aqz_json_walk(&count, &end, p->in.text, p->in.n, p->in.at, 0, 8, "header", p->in.err));
	AQZ_TRY(aqz_safetensors_cost(&p->in, &count, "header"));
	AQZ_TRY(aqz_json_load(&name, &charged, p->in.budget, &count, p->in.text + p->in.at,
		end - p->in.at, 8 + p->in.at, "header", p->in.err));
	metadata = strcmp(json_string_value(name), AQZ_SAFETENSORS_METADATA) == 0;
	if (!metadata) {
		if (p->out->n_tensors == AQZ_MAX_TENSORS) {
			status = aqz_fail(p->in.err, AQZ_E_UNSUPPORTED, 8 + p->in.at, "header",
				"there are more than %" PRIu32 " tensors", AQZ_MAX_TENSORS);
			goto out;
		}
		/* Every entry before this one took MIN_ENTRY_BYTES or more, or was refused. */
		assert(p->out->n_tensors < p->capacity);
		AQZ_TRY(keep_name(p, t, json_string_value(name), json_string_length(name)));
	}
	p->in.at = end;
	skip_space(p);
	if (p->in.at == p->in.n || p->in.text[p->in.at] != ':') {
		status = aqz_safetensors_corrupt(&p->in, "header", "a colon is missing after a name");
		goto out;
	}
	p->in.at++;
	skip_space(p);
	if (metadata) {
		AQZ_TRY(read_metadata(p, &end));
	} else {
		AQZ_TRY(aqz_safetensors_entry(t, &end, &p->in));
		p->out->n_tensors++;
	}
	p->in.at = end;
out:
	aqz_json_free(name, charged, p->in.budget);
	return status;
}

/* Reads the whole object; tensors are in the order of the text afterwards. */
static aqz_status read_object(parser *p)
{
	aqz_status status;

	p->in.at = 1; /* after the '{' */
	skip_space(p);
	if (p->in.at < p->in.n && p->in.text[p->in.at] == '}') {
		p->in.at++;
	} else {
		for (;;) {
			char mark;

			skip_space(p);
			AQZ_TRY(read_member(p));
			skip_space(p);
			mark = p->in.at < p->in.n ? p->in.text[p->in.at] : '\0';
			if (mark != ',' && mark != '}')
				return aqz_safetensors_corrupt(
					&p->in, "header", "a comma or the closing bracket is missing");
			p->in.at++;
			if (mark == '}')
				break;
		}
	}
	skip_space(p);
	status = p->in.at == p->in.n
		? AQZ_OK
		: aqz_safetensors_corrupt(&p->in, "header", "text follows the JSON object");
out:
	return status;
}

/* Refuses names that occur twice, by sorting: no input makes it quadratic. */
static aqz_status check_names(parser *p)
{
	const uint32_t n = p->out->n_tensors;
	const uint64_t bytes = n * (uint64_t)sizeof(aqz_source_tensor *);
	const aqz_source_tensor **sorted;
	char where[AQZ_WHERE_BYTES];
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_budget_alloc(p->in.budget, &memory, bytes, "the name check", p->in.err));
	sorted = memory;
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = &p->out->tensors[i];
	qsort(sorted, n, sizeof *sorted, aqz_safetensors_by_name);
	for (uint32_t i = 1; i < n && status == AQZ_OK; i++) {
		if (aqz_safetensors_by_name(&sorted[i - 1], &sorted[i]) == 0) {
			aqz_safetensors_where(where, sorted[i]->name, sorted[i]->name_bytes, "");
			status = aqz_fail(p->in.err, AQZ_E_CORRUPT, 8, where, "the name occurs twice");
		}
	}
	aqz_budget_free(p->in.budget, memory, bytes);
out:
	return status;
}

/* Sorts by offset and checks that the tensors cover the data without hole or overlap. */
static aqz_status check_coverage(parser *p)
{
	aqz_safetensors *s = p->out;
	char where[AQZ_WHERE_BYTES];
	uint64_t covered = 0;

	qsort(s->tensors, s->n_tensors, sizeof *s->tensors, by_offset);
	for (uint32_t i = 0; i < s->n_tensors; i++) {
		aqz_source_tensor *t = &s->tensors[i];

		aqz_safetensors_where(where, t->name, t->name_bytes, ".data_offsets");
		if (t->offset != covered)
			return aqz_fail(p->in.err, AQZ_E_CORRUPT, 8, where,
				"the data begin at %" PRIu64 ", but those before end at %" PRIu64, t->offset,
				covered);
		covered += t->n_bytes; /* = an end offset, below 2^63 */
		if (covered > s->data_bytes)
			return aqz_fail(p->in.err, AQZ_E_TRUNCATED, 8, where,
				"the data end at %" PRIu64 ", but the file has %" PRIu64 " bytes of data", covered,
				s->data_bytes);
		t->offset += s->header_bytes;
	}
	if (covered != s->data_bytes)
		return aqz_fail(p->in.err, AQZ_E_CORRUPT, s->header_bytes + covered, "data",
			"%" PRIu64 " bytes belong to no tensor", s->data_bytes - covered);
	return AQZ_OK;
}

/* Checks the length word and the file's length; sets header_bytes and data_bytes. */
static aqz_status read_length(
	aqz_safetensors *out, const uint8_t *header, size_t n, uint64_t file_bytes, aqz_error *err)
{
	uint64_t length;

	if (file_bytes < 8)
		return aqz_fail(err, AQZ_E_TRUNCATED, file_bytes, "header.length",
			"the file has %" PRIu64 " bytes, too few for a safetensors file", file_bytes);
	if (n < 8 || n > file_bytes)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"%zu bytes of a file of %" PRIu64 " are no header", n, file_bytes);
	length = aqz_get64(header);
	if (length > AQZ_SAFETENSORS_MAX_HEADER || length < 2)
		return aqz_fail(err, AQZ_E_FORMAT, 0, "header.length",
			"the file does not begin with the length of a safetensors header");
	if (n > 8 && header[8] != '{')
		return aqz_fail(err, AQZ_E_FORMAT, 8, "header", "the header does not begin with '{'");
	if (file_bytes - 8 < length)
		return aqz_fail(err, AQZ_E_TRUNCATED, file_bytes, "header",
			"the file ends inside its header of %" PRIu64 " bytes", length);
	if (n - 8 < length)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL,
			"%zu bytes are not the whole header of 8 + %" PRIu64, n, length);
	out->header_bytes = 8 + length;
	out->data_bytes = file_bytes - out->header_bytes;
	return AQZ_OK;
}

/* Walks the header once and takes the memory that its tensors and names can need at most. */
static aqz_status take_memory(parser *p)
{
	aqz_json_count count;
	uint64_t entries;
	size_t end;
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_json_walk(&count, &end, p->in.text, p->in.n, 0, 3, 8, "header", p->in.err));
	/* Entries are objects, all but the outermost; no header of this length has more of them. */
	entries = aqz_min(count.n_objects - 1, p->in.n / MIN_ENTRY_BYTES + 1);
	p->capacity = (uint32_t)aqz_min(entries + 1, AQZ_MAX_TENSORS + 1);
	p->table->tensors_bytes = p->capacity * (uint64_t)sizeof *p->out->tensors;
	AQZ_TRY(aqz_budget_alloc(
		p->in.budget, &memory, p->table->tensors_bytes, "the table of tensors", p->in.err));
	p->out->tensors = memory;
	p->table->names_bytes = count.top_string_bytes;
	AQZ_TRY(aqz_budget_alloc(
		p->in.budget, &memory, p->table->names_bytes, "names of tensors", p->in.err));
	p->table->names = p->name_end = memory;
out:
	return status;
}

aqz_status aqz_safetensors_parse(aqz_safetensors *out, const void *header, size_t n,
	uint64_t file_bytes, uint64_t memlimit_bytes, aqz_error *err)
{
	aqz_budget budget = {.limit_bytes = memlimit_bytes};
	parser p = {.out = out, .in.err = err};
	void *memory;
	aqz_status status;

	if (out == NULL || (header == NULL && n > 0))
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, NULL, "a pointer is NULL");
	*out = (aqz_safetensors){0};
	AQZ_TRY(read_length(out, header, n, file_bytes, err));
	AQZ_TRY(aqz_budget_alloc(&budget, &memory, sizeof *p.table, "the table of tensors", err));
	out->storage = p.table = memory;
	p.table->budget = budget;
	p.in.budget = &p.table->budget;
	p.in.text = (const char *)header + 8;
	p.in.n = (size_t)(out->header_bytes - 8);
	AQZ_TRY(take_memory(&p));
	AQZ_TRY(read_object(&p));
	AQZ_TRY(check_names(&p));
	AQZ_TRY(check_coverage(&p));
out:
	if (status != AQZ_OK)
		aqz_safetensors_free(out);
	return status;
}

void aqz_safetensors_free(aqz_safetensors *s)
{
	table *owner;

	if (s == NULL)
		return;
	owner = s->storage;
	if (owner != NULL) {
		aqz_budget_free(&owner->budget, s->tensors, owner->tensors_bytes);
		aqz_budget_free(&owner->budget, owner->names, owner->names_bytes);
		aqz_budget_free(&owner->budget, s->metadata, owner->metadata_bytes);
		aqz_budget_free(&(aqz_budget){.used_bytes = sizeof *owner}, owner, sizeof *owner);
	}
	*s = (aqz_safetensors){0};
}
