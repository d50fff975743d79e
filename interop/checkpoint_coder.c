/* SPDX-License-Identifier: Apache-2.0 */
/* A coded tensor, or the codebooks of a set, as a checkpoint. The hash of what they were made of is kept with them: the
 * id of the run knows names and shapes of tensors, but not what they hold. */
#include "interop/checkpoint.h"

#include <math.h>
#include <stdio.h> /* snprintf */
#include <xxhash.h>

/* The part "made": XXH3-128 of the model's bytes; flags, effort and six zeros; rel_mse, loss_before, loss_after. */
#define MADE_BYTES 48
#define WHAT_BYTES (AQZ_MAX_NAME_BYTES + 128)
#define MAX_PARTS 5
#define HAS_LOSS 1

/* ---- The model's bytes */

void aqz_checkpoint_hash_start(aqz_checkpoint *p)
{
	if (p != NULL)
		XXH3_128bits_reset(p->hash);
}

void aqz_checkpoint_hash_add(aqz_checkpoint *p, const void *data, size_t n)
{
	if (p != NULL)
		XXH3_128bits_update(p->hash, data, n);
}

static void put_hash(uint8_t made[MADE_BYTES], const aqz_checkpoint *p)
{
	const XXH128_hash_t d = XXH3_128bits_digest(p->hash);

	aqz_put64(made, d.low64);
	aqz_put64(made + 8, d.high64);
}

/* An error if the hash is not the one that the checkpoint has; name is of a tensor that was hashed. */
static aqz_status check_hash(const uint8_t made[MADE_BYTES], const aqz_checkpoint *p,
	const char *name, bool set, aqz_error *err)
{
	uint8_t now[MADE_BYTES];

	put_hash(now, p);
	if (memcmp(made, now, 16) == 0)
		return AQZ_OK;
	return aqz_fail(err, AQZ_E_CHECKSUM, AQZ_NO_OFFSET, name,
		"%s changed since the checkpoint was made",
		set ? "it, or another tensor with its codebooks," : "it has");
}

/* ---- What was measured */

static void put_measured(uint8_t made[MADE_BYTES], const aqz_measured *m)
{
	const double values[3] = {m->rel_mse, m->loss_before, m->loss_after};

	memset(made + 16, 0, 8);
	made[16] = m->has_loss ? HAS_LOSS : 0;
	made[17] = m->effort;
	memcpy(made + 24, values, sizeof values);
}

/* False for what no run of this plan measures. */
static bool get_measured(
	aqz_measured *m, const uint8_t made[MADE_BYTES], const aqz_plan *plan, uint32_t entry)
{
	const bool has_loss = plan->more[entry].stats != NULL;
	double values[3];

	memcpy(values, made + 24, sizeof values);
	*m = (aqz_measured){.has_rel_mse = true,
		.rel_mse = values[0],
		.has_loss = has_loss,
		.loss_before = values[1],
		.loss_after = values[2],
		.raw_reason = AQZ_RAW_ASKED,
		.effort = made[17]};
	for (int i = 0; i < 3; i++)
		if (!isfinite(values[i]) || values[i] < 0)
			return false;
	return made[16] == (has_loss ? HAS_LOSS : 0) && made[17] == plan->opt.effort;
}

/* ---- Parts */

static void add_part(aqz_part *parts, uint32_t *n, const char *name, void *data, uint64_t n_bytes)
{
	parts[(*n)++] = (aqz_part){name, data, n_bytes};
}

static void add_books(aqz_part *parts, uint32_t *n, const aqz_additive *a)
{
	const uint64_t values =
		(uint64_t)a->scheme.n_codebooks * a->scheme.in_group * a->scheme.out_group;

	add_part(parts, n, "codebooks", a->codebooks,
		(values << a->scheme.code_bits) * (aqz_dtype_bits(a->codebook_dtype) / 8));
	if (a->codebook_dtype == AQZ_I8)
		add_part(parts, n, "codebook-scales", a->codebook_scales, values * sizeof(float));
}

/* Codebooks of a set have their own checkpoint. */
static uint32_t parts_of(
	aqz_part parts[MAX_PARTS], const aqz_additive *a, uint8_t made[MADE_BYTES], bool own_books)
{
	uint32_t n = 0;

	add_part(parts, &n, "made", made, MADE_BYTES);
	if (own_books)
		add_books(parts, &n, a);
	if (a->rows > 0) {
		add_part(parts, &n, "scales", a->scales, a->code_rows * (aqz_dtype_bits(a->scale_dtype) / 8));
		add_part(parts, &n, "codes", a->codes, a->codes_bytes);
	}
	return n;
}

/* Memory for what parts_of will read; whatever was given is in *a, also on failure. */
static aqz_status allocate(aqz_additive *a, aqz_error *err)
{
	aqz_budget budget = {0, 0};
	aqz_part parts[MAX_PARTS];
	void *got[MAX_PARTS] = {NULL};
	uint8_t made[MADE_BYTES];
	const uint32_t n = parts_of(parts, a, made, true);
	uint32_t at = 1;
	aqz_status status = AQZ_OK;

	for (uint32_t i = 1; i < n && status == AQZ_OK; i++)
		status = aqz_budget_alloc(&budget, &got[i], parts[i].n_bytes, parts[i].name, err);
	a->codebooks = got[at++];
	if (a->codebook_dtype == AQZ_I8)
		a->codebook_scales = got[at++];
	if (a->rows > 0) {
		a->scales = got[at++];
		a->codes = got[at];
	}
	return status;
}

/* ---- Tensors */

static void say_tensor(char text[WHAT_BYTES], const aqz_plan *plan, uint32_t entry)
{
	const aqz_plan_entry *e = &plan->entries[entry];
	const uint32_t set = plan->more[entry].set;
	char scheme[AQZ_SCHEME_TEXT_BYTES];
	int n;

	aqz_scheme_format(scheme, &e->scheme);
	n = snprintf(text, WHAT_BYTES, "tensor %u as %s", entry, scheme);
	if (set != AQZ_NO_SET)
		n += snprintf(text + n, WHAT_BYTES - (size_t)n, " with the codebooks of set %u", set);
	snprintf(text + n, WHAT_BYTES - (size_t)n, ": %s\n", e->tensor->name);
}

/* What the encoder would make of an entry, but for the contents. */
static aqz_additive outline(const aqz_plan *plan, uint32_t entry)
{
	const aqz_scheme *s = &plan->entries[entry].scheme;
	const uint32_t set = plan->more[entry].set;
	const aqz_layer layer = aqz_plan_layer(plan, entry);
	aqz_additive a = {.scheme = *s,
		.rows = layer.rows,
		.cols = layer.cols,
		.code_rows = aqz_ceil_div(layer.rows, s->out_group),
		.groups = aqz_ceil_div(layer.cols, s->in_group),
		.codebook_dtype = set != AQZ_NO_SET ? plan->sets[set].dtype : plan->opt.codebook_dtype,
		.scale_dtype = plan->opt.scale_dtype};

	a.codes_bytes = (size_t)aqz_additive_codes_bytes(s, a.code_rows, a.groups);
	return a;
}

static void copy_books(aqz_additive *a, const aqz_additive *from)
{
	aqz_part to[MAX_PARTS], parts[MAX_PARTS];
	uint32_t n = 0, m = 0;

	add_books(to, &n, a);
	add_books(parts, &m, from);
	for (uint32_t i = 0; i < n; i++)
		memcpy(to[i].data, parts[i].data, (size_t)to[i].n_bytes);
}

aqz_status aqz_checkpoint_take(
	aqz_additive *a, aqz_measured *measured, aqz_coder *c, uint32_t entry, aqz_error *err)
{
	const aqz_source_tensor *t = c->plan->entries[entry].tensor;
	const uint32_t set = c->plan->more[entry].set;
	const aqz_additive *books;
	aqz_part parts[MAX_PARTS];
	uint8_t made[MADE_BYTES];
	char what[WHAT_BYTES], name[AQZ_CHECKPOINT_NAME_BYTES];
	bool good = false;
	aqz_status status = AQZ_OK;

	*a = (aqz_additive){0};
	if (!aqz_checkpoint_has(c->checkpoint, AQZ_KEPT_TENSOR, entry))
		return AQZ_OK;
	*a = outline(c->plan, entry);
	say_tensor(what, c->plan, entry);
	AQZ_TRY(allocate(a, err));
	AQZ_TRY(aqz_checkpoint_read(&good, c->checkpoint, AQZ_KEPT_TENSOR, entry, what, parts,
		parts_of(parts, a, made, set == AQZ_NO_SET), err));
	if (good && !get_measured(measured, made, c->plan, entry)) {
		aqz_checkpoint_name(name, AQZ_KEPT_TENSOR, entry);
		aqz_checkpoint_warn(c->checkpoint, name, "its errors are impossible");
		good = false;
	}
	if (!good)
		goto out;
	aqz_checkpoint_hash_start(c->checkpoint);
	AQZ_TRY(aqz_coder_rows(c, NULL, t, 0, a->rows, err));
	AQZ_TRY(check_hash(made, c->checkpoint, t->name, false, err));
	if (set != AQZ_NO_SET) {
		AQZ_TRY(aqz_coder_books(&books, c, set, err));
		copy_books(a, books);
	}
out:
	if (status != AQZ_OK || !good)
		aqz_additive_free(a);
	return status;
}

aqz_status aqz_checkpoint_keep(const aqz_additive *a, const aqz_measured *measured, aqz_coder *c,
	uint32_t entry, aqz_error *err)
{
	aqz_part parts[MAX_PARTS];
	uint8_t made[MADE_BYTES];
	char what[WHAT_BYTES];

	if (c->checkpoint == NULL)
		return AQZ_OK;
	put_hash(made, c->checkpoint);
	put_measured(made, measured);
	say_tensor(what, c->plan, entry);
	return aqz_checkpoint_write(c->checkpoint, AQZ_KEPT_TENSOR, entry, what, parts,
		parts_of(parts, a, made, c->plan->more[entry].set == AQZ_NO_SET), err);
}

/* ---- Sets */

static void say_set(char text[WHAT_BYTES], const aqz_plan *plan, uint32_t set)
{
	const aqz_book_set *s = &plan->sets[set];
	char scheme[AQZ_SCHEME_TEXT_BYTES];

	aqz_scheme_format(scheme, &s->scheme);
	snprintf(text, WHAT_BYTES, "set %u, codebooks of %u tensors as %s, the first: %s\n", set,
		s->n_members, scheme, plan->entries[s->first].tensor->name);
}

aqz_status aqz_checkpoint_take_books(aqz_coder *c, uint32_t set, aqz_error *err)
{
	const aqz_book_set *s = &c->plan->sets[set];
	aqz_additive a = {.scheme = s->scheme, .codebook_dtype = s->dtype};
	aqz_part parts[MAX_PARTS];
	uint8_t made[MADE_BYTES];
	char what[WHAT_BYTES];
	bool good = false;
	aqz_status status;

	say_set(what, c->plan, set);
	AQZ_TRY(allocate(&a, err));
	AQZ_TRY(aqz_checkpoint_read(&good, c->checkpoint, AQZ_KEPT_SET, set, what, parts,
		parts_of(parts, &a, made, true), err));
	if (good)
		AQZ_TRY(check_hash(made, c->checkpoint, c->plan->entries[s->first].tensor->name, true, err));
out:
	if (status == AQZ_OK && good)
		c->books[set] = a;
	else
		aqz_additive_free(&a);
	return status;
}

aqz_status aqz_checkpoint_keep_books(aqz_coder *c, uint32_t set, aqz_error *err)
{
	aqz_part parts[MAX_PARTS];
	uint8_t made[MADE_BYTES] = {0};
	char what[WHAT_BYTES];
	aqz_additive a;

	if (c->checkpoint == NULL)
		return AQZ_OK;
	/* The codebooks alone: rows are of a tensor. */
	a = c->books[set];
	a.rows = 0;
	put_hash(made, c->checkpoint);
	say_set(what, c->plan, set);
	return aqz_checkpoint_write(
		c->checkpoint, AQZ_KEPT_SET, set, what, parts, parts_of(parts, &a, made, true), err);
}
