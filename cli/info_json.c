/* SPDX-License-Identifier: Apache-2.0 */
/* info --json: everything that the index says. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/info.h"

static json_t *hex128(const uint64_t v[2])
{
	char text[33];

	snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, v[1], v[0]);
	return json_string(text);
}

static json_t *ledger(const aqz_reader *reader)
{
	aqz_ledger l;

	aqz_reader_ledger(reader, &l);
	return json_pack("{so so so so so so so so so so so so so so}", "header",
		cli_json_number(l.header), "index", cli_json_number(l.index), "records",
		cli_json_number(l.records), "codes", cli_json_number(l.codes), "codebooks",
		cli_json_number(l.codebooks), "scales", cli_json_number(l.scales), "parameters",
		cli_json_number(l.parameters), "raw", cli_json_number(l.raw), "files",
		cli_json_number(l.files), "metadata", cli_json_number(l.metadata), "frames",
		cli_json_number(l.frames), "padding", cli_json_number(l.padding), "other",
		cli_json_number(l.other), "total", cli_json_number(l.total));
}

static json_t *tensor(const aqz_reader *reader, const aqz_tensor_info *t)
{
	const aqz_section_info *s = aqz_reader_section(reader, t->section);
	json_t *entry =
		json_pack("{so ss so so si so so so sf so sb si sb}", "name", cli_json_text(t->name),
			"dtype", aqz_dtype_name(t->dtype), "shape", cli_json_shape(t->shape, t->rank), "scheme",
			cli_json_scheme(&s->scheme), "section", (int)t->section, "weights",
			cli_json_number(t->n_elements), "bytes", cli_json_number(t->n_bytes), "stored_bytes",
			cli_json_number(t->alias ? 0 : s->stored_bytes), "bits_per_weight",
			info_bits(reader, t), "chunks", cli_json_number(t->alias ? 0 : s->n_chunks),
			"transposed", t->transposed, "leading", (int)t->leading, "alias", t->alias);

	cli_json_measured(entry, &t->measured);
	return entry;
}

static json_t *section(const aqz_section_info *s)
{
	const char *kind = aqz_kind_name(s->kind), *dtype = aqz_dtype_name(s->dtype);
	json_t *refs = json_array(), *entry;

	for (uint32_t i = 0; i < s->n_refs; i++) {
		const aqz_ref *r = &s->refs[i];

		json_array_append_new(refs,
			json_pack("{ss si si so so}", "kind", aqz_kind_name(r->kind), "first", (int)r->first,
				"count", (int)r->count, "row_begin", cli_json_number(r->row_begin), "row_end",
				cli_json_number(r->row_end)));
	}
	entry = json_pack("{si ss so ss so so so si so so so}", "number", (int)s->number, "kind",
		kind != NULL ? kind : "?", "scheme", cli_json_scheme(&s->scheme), "dtype",
		dtype != NULL ? dtype : "?", "rows", cli_json_number(s->rows), "cols",
		cli_json_number(s->cols), "chunk_rows", cli_json_number(s->chunk_rows), "chunks",
		(int)s->n_chunks, "decoded_bytes", cli_json_number(s->decoded_bytes), "stored_bytes",
		cli_json_number(s->stored_bytes), "refs", refs);
	if (s->name[0] != '\0')
		json_object_set_new(entry, "name", cli_json_text(s->name));
	if (s->kind != AQZ_KIND_TENSOR)
		json_object_set_new(entry, "xxh3_128", hex128(s->content));
	return entry;
}

static json_t *file(const info_job *job, const aqz_reader *reader, const info_counts *c)
{
	const aqz_file_info *f = aqz_reader_file(reader);

	return json_pack("{so s[ii] so so so so si si si so so so so sf}", "file",
		cli_json_text(job->path), "format_version", f->major, f->minor, "features_read",
		cli_json_number(f->features_read), "features_write", cli_json_number(f->features_write),
		"features_optional", cli_json_number(f->features_optional), "id",
		cli_json_hex(f->id, sizeof f->id), "alignment", (int)f->alignment, "n_sections",
		(int)f->n_sections, "n_tensors", (int)f->n_tensors, "n_chunks",
		cli_json_number(f->n_chunks), "bytes", cli_json_number(f->n_bytes), "root", hex128(f->root),
		"weights", cli_json_number(c->weights), "bits_per_weight",
		c->weights != 0 ? 8 * (double)f->n_bytes / (double)c->weights : 0.0);
}

int info_json(const info_job *job, const aqz_reader *reader)
{
	json_t *tensors = json_array(), *sections = json_array(), *root, *provenance;
	const aqz_section_info *s;
	const aqz_tensor_info *t;
	info_counts c;
	char *text;

	info_count(&c, reader);
	root = file(job, reader, &c);
	json_object_set_new(root, "coded",
		json_pack("{so so sf so}", "tensors", cli_json_number(c.n_coded), "weights",
			cli_json_number(c.coded_weights), "bits_per_weight",
			c.coded_weights != 0 ? 8 * c.coded_bytes / (double)c.coded_weights : 0.0,
			"tensors_with_statistics", cli_json_number(c.n_with_loss)));
	json_object_set_new(root, "codebooks",
		json_pack("{so so so so}", "sections", cli_json_number(c.n_codebooks), "bytes",
			cli_json_number(c.codebook_bytes), "uses", cli_json_number(c.codebook_uses), "shared",
			cli_json_number(c.n_shared)));
	json_object_set_new(root, "ledger", ledger(reader));
	text = info_provenance(reader);
	provenance = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	json_object_set_new(root, "provenance", provenance != NULL ? provenance : json_null());
	free(text);
	for (uint32_t i = 0; (t = aqz_reader_tensor(reader, i)) != NULL; i++)
		if (info_listed(job, t->name))
			json_array_append_new(tensors, tensor(reader, t));
	for (uint32_t i = 0; (s = aqz_reader_section(reader, i)) != NULL; i++)
		json_array_append_new(sections, section(s));
	json_object_set_new(root, "tensors", tensors);
	json_object_set_new(root, "sections", sections);
	return cli_json_print(root);
}
