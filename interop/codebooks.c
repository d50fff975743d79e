/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors of a plan have the same codebooks: those of a kind, of a block, all, or those that have the
 * same ones in a container. */
#include "interop/plan.h"

/* What the tensors of a module name have in a container. */
struct aqz_kind_books {
	const char *name; /* of the plan's tensors */
	size_t n_bytes;
	bool some;						 /* a coded tensor has that module name */
	const aqz_section_info *section; /* one that has the codebooks of all; NULL: they differ */
};

uint64_t aqz_codebooks_bytes(const aqz_scheme *s, aqz_dtype dtype)
{
	const uint64_t values = (uint64_t)s->in_group * s->out_group;
	const uint64_t scales = dtype == AQZ_I8 ? s->n_codebooks * values * sizeof(float) : 0;

	return ((uint64_t)s->n_codebooks << s->code_bits) * values * (aqz_dtype_bits(dtype) / 8) + scales;
}

/* Room for one more at the end of an array that starts with NULL and 0. */
static aqz_status grow(void **array, uint32_t *capacity, uint32_t n, size_t each, aqz_error *err)
{
	const uint32_t more = *capacity == 0 ? 16 : 2 * *capacity;
	void *grown;

	if (n < *capacity)
		return AQZ_OK;
	grown = realloc(*array, more * each);
	if (grown == NULL)
		return aqz_fail_nomem(err, more * (uint64_t)each);
	*array = grown;
	*capacity = more;
	return AQZ_OK;
}

static aqz_status add_set(aqz_plan *plan, const aqz_book_set *set, uint32_t entry, aqz_error *err)
{
	void *array = plan->sets;
	const aqz_status status =
		grow(&array, &plan->sets_capacity, plan->n_sets, sizeof *plan->sets, err);

	plan->sets = array;
	if (status == AQZ_OK) {
		plan->more[entry].set = plan->n_sets;
		plan->sets[plan->n_sets++] = *set;
	}
	return status;
}

/* ---- Names */

const char *aqz_module_name(const char *name, size_t *n_bytes)
{
	static const char suffix[] = ".weight";
	size_t n = strlen(name), begin;

	if (n > sizeof suffix - 1 && strcmp(name + n - (sizeof suffix - 1), suffix) == 0)
		n -= sizeof suffix - 1;
	for (begin = n; begin > 0 && name[begin - 1] != '.';)
		begin--;
	*n_bytes = n - begin;
	return name + begin;
}

/* Bytes of "model.layers.12" in "model.layers.12.mlp.up_proj.weight"; 0 if the tensor is in no block. */
static size_t block_of(const char *name)
{
	static const char *const lists[] = {"layers", "layer", "h", "blocks", "block"};

	for (const char *part = name; part != NULL;) {
		const char *dot = strchr(part, '.');
		const size_t n = dot != NULL ? (size_t)(dot - part) : strlen(part);
		const size_t digits = dot != NULL ? strspn(dot + 1, "0123456789") : 0;

		if (digits > 0 && (dot[1 + digits] == '.' || dot[1 + digits] == '\0'))
			for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
				if (strlen(lists[i]) == n && memcmp(lists[i], part, n) == 0)
					return (size_t)(dot + 1 + digits - name);
		part = dot != NULL ? dot + 1 : NULL;
	}
	return 0;
}

/* ---- Sets that are trained */

static aqz_status add_trained(aqz_plan *plan, uint32_t entry, aqz_error *err)
{
	const aqz_plan_entry *e = &plan->entries[entry];
	aqz_book_set set = {
		.scheme = e->scheme, .dtype = plan->opt.codebook_dtype, .key = e->tensor->name};

	if (plan->opt.share == AQZ_SHARE_KIND) {
		set.key = aqz_module_name(e->tensor->name, &set.key_bytes);
	} else if (plan->opt.share == AQZ_SHARE_BLOCK) {
		set.key_bytes = block_of(e->tensor->name);
		if (set.key_bytes == 0)
			return AQZ_OK;
	}
	for (uint32_t i = plan->n_sets; i > 0; i--) { /* of blocks, the last is the most likely one */
		aqz_book_set *s = &plan->sets[i - 1];

		if (s->key_bytes == set.key_bytes && memcmp(s->key, set.key, set.key_bytes) == 0 &&
			memcmp(&s->scheme, &set.scheme, sizeof set.scheme) == 0) {
			plan->more[entry].set = i - 1;
			s->n_members++;
			return AQZ_OK;
		}
	}
	set.n_bytes = aqz_codebooks_bytes(&set.scheme, set.dtype);
	set.n_members = 1;
	return add_set(plan, &set, entry, err);
}

/* ---- Sets of a container */

/* The reference to a kind's sections, or NULL; *n is how many there are. */
static const aqz_ref *ref_of(const aqz_section_info *s, aqz_kind kind, uint32_t *n)
{
	const aqz_ref *found = NULL;

	*n = 0;
	for (uint32_t i = 0; i < s->n_refs; i++)
		if (s->refs[i].kind == kind) {
			found = found == NULL ? &s->refs[i] : found;
			++*n;
		}
	return found;
}

/* True if two coded sections take their codebooks from the same place. */
static bool same_books(const aqz_section_info *a, const aqz_section_info *b)
{
	const aqz_kind kinds[2] = {AQZ_KIND_CODEBOOK, AQZ_KIND_CODEBOOK_SCALES};

	for (int k = 0; k < 2; k++) {
		uint32_t n[2];
		const aqz_ref *x = ref_of(a, kinds[k], &n[0]), *y = ref_of(b, kinds[k], &n[1]);

		if (n[0] != n[1] || n[0] > 1 || (x != NULL && (x->first != y->first || x->count != y->count)))
			return false;
	}
	return memcmp(&a->scheme, &b->scheme, sizeof a->scheme) == 0;
}

static aqz_status find_kind(
	const struct aqz_kind_books **out, aqz_plan *plan, const char *tensor, aqz_error *err)
{
	const aqz_reader *reader = plan->opt.codebooks_from;
	struct aqz_kind_books found = {0};
	void *array = plan->kinds;
	const aqz_tensor_info *t;
	size_t n;

	found.name = aqz_module_name(tensor, &found.n_bytes);
	for (uint32_t i = 0; i < plan->n_kinds; i++) {
		*out = &plan->kinds[i];
		if ((*out)->n_bytes == found.n_bytes && memcmp((*out)->name, found.name, found.n_bytes) == 0)
			return AQZ_OK;
	}
	for (uint32_t i = 0; (t = aqz_reader_tensor(reader, i)) != NULL; i++) {
		const aqz_section_info *s = aqz_reader_section(reader, t->section);
		const char *module = aqz_module_name(t->name, &n);

		if (s->scheme.codec != AQZ_CODEC_ADDITIVE || n != found.n_bytes ||
			memcmp(module, found.name, n) != 0)
			continue;
		if (!found.some)
			found.section = s;
		else if (found.section != NULL && !same_books(found.section, s))
			found.section = NULL;
		found.some = true;
	}
	const aqz_status status =
		grow(&array, &plan->kinds_capacity, plan->n_kinds, sizeof *plan->kinds, err);
	plan->kinds = array;
	if (status == AQZ_OK) {
		plan->kinds[plan->n_kinds] = found;
		*out = &plan->kinds[plan->n_kinds++];
	}
	return status;
}

/* The section of the container whose codebooks an entry gets. */
static aqz_status find_books(
	const aqz_section_info **out, aqz_plan *plan, const aqz_plan_entry *e, aqz_error *err)
{
	const aqz_reader *reader = plan->opt.codebooks_from;
	const aqz_source_tensor *t = e->tensor;
	const aqz_tensor_info *same = aqz_reader_find(reader, t->name, t->name_bytes);
	const struct aqz_kind_books *kind = NULL;
	char there[AQZ_SCHEME_TEXT_BYTES], wanted[AQZ_SCHEME_TEXT_BYTES];
	aqz_status status = AQZ_OK;
	uint32_t n;

	*out = same != NULL ? aqz_reader_section(reader, same->section) : NULL;
	if (*out == NULL || (*out)->scheme.codec != AQZ_CODEC_ADDITIVE) {
		AQZ_TRY(find_kind(&kind, plan, t->name, err));
		*out = kind->section;
	}
	if (*out == NULL)
		return aqz_fail(err, AQZ_E_NOT_FOUND, AQZ_NO_OFFSET, t->name,
			kind->some ? "the file of codebooks has none for it: those of its module name differ"
					   : "the file of codebooks has none for it, and none of its module name");
	aqz_scheme_format(there, &(*out)->scheme);
	aqz_scheme_format(wanted, &e->scheme);
	if (strcmp(there, wanted) != 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, t->name,
			"the codebooks in that file are of scheme %s, not %s", there, wanted);
	(void)ref_of(*out, AQZ_KIND_CODEBOOK, &n);
	if (n != 1)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, t->name,
			"its rows have codebooks of %u kinds in that file, not of one", n);
out:
	return status;
}

static aqz_status add_from(aqz_plan *plan, uint32_t entry, aqz_error *err)
{
	const aqz_reader *reader = plan->opt.codebooks_from;
	const uint32_t n_sections = aqz_reader_file(reader)->n_sections;
	aqz_book_set set = {.scheme = plan->entries[entry].scheme, .n_members = 1};
	const aqz_ref *books;
	uint32_t n, *known;
	aqz_status status;

	AQZ_TRY(find_books(&set.from, plan, &plan->entries[entry], err));
	if (plan->set_of_section == NULL) {
		plan->set_of_section = malloc((n_sections + UINT64_C(1)) * sizeof *plan->set_of_section);
		if (plan->set_of_section == NULL)
			return aqz_fail_nomem(err, n_sections * sizeof *plan->set_of_section);
		for (uint32_t i = 0; i < n_sections; i++)
			plan->set_of_section[i] = AQZ_NO_SET;
	}
	books = ref_of(set.from, AQZ_KIND_CODEBOOK, &n);
	known = &plan->set_of_section[books->first];
	if (*known != AQZ_NO_SET && same_books(plan->sets[*known].from, set.from)) {
		plan->more[entry].set = *known;
		plan->sets[*known].n_members++;
		return AQZ_OK;
	}
	set.dtype = aqz_reader_section(reader, books->first)->dtype;
	set.n_bytes = aqz_codebooks_bytes(&set.scheme, set.dtype);
	AQZ_TRY(add_set(plan, &set, entry, err));
	*known = plan->more[entry].set;
out:
	return status;
}

/* ---- All sets */

aqz_status aqz_sets_add(aqz_plan *plan, uint32_t entry, aqz_error *err)
{
	if (plan->opt.codebooks_from != NULL)
		return add_from(plan, entry, err);
	return plan->opt.share != AQZ_SHARE_NONE ? add_trained(plan, entry, err) : AQZ_OK;
}

void aqz_sets_drop(aqz_plan *plan, uint32_t entry)
{
	uint32_t *set = &plan->more[entry].set;

	if (*set != AQZ_NO_SET)
		plan->sets[*set].n_members--;
	*set = AQZ_NO_SET;
}

aqz_status aqz_sets_settle(aqz_plan *plan, aqz_error *err)
{
	for (uint32_t i = plan->n_entries; i-- > 0;) {
		uint32_t *set = &plan->more[i].set;

		if (*set != AQZ_NO_SET && plan->sets[*set].n_members == 1 && plan->sets[*set].from == NULL)
			aqz_sets_drop(plan, i);
		if (*set != AQZ_NO_SET)
			plan->sets[*set].first = i;
	}
	for (uint32_t i = 0; i < plan->n_sets; i++) {
		aqz_book_set *s = &plan->sets[i];
		aqz_training t;
		aqz_status status;

		if (s->from != NULL || s->n_members == 0)
			continue;
		status = aqz_training_choose(&t, plan, i, err);
		if (status != AQZ_OK)
			return status;
		s->training_bytes = t.memory_bytes;
		s->training_reads = t.read_bytes;
		free(t.entries);
	}
	return AQZ_OK;
}

void aqz_sets_free(aqz_plan *plan)
{
	free(plan->sets);
	free(plan->set_of_section);
	free(plan->kinds);
}
