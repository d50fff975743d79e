/* SPDX-License-Identifier: Apache-2.0 */
/* A coded section of an .aqz file as a weight: codes as they are stored, codebooks widened to binary32, spec 7.2. */
#include "format/reader.h"
#include "model/load_aqz.h"

/* ---- Codebooks */

/* Reads the sections of a reference one after the other and widens them; they may cut codebooks anywhere. scales: of
 * integers, [M][O * G], or NULL. The catalog has checked that they have all codewords together. */
static aqz_status widen(float *values, const aqz_loaded_file *f, const aqz_scheme *scheme,
	const aqz_ref *ref, const float *scales, aqz_error *err)
{
	const unsigned codeword = aqz_codeword(scheme);
	const uint64_t per_book = UINT64_C(1) << scheme->code_bits;
	aqz_budget *budget = &f->model->budget;
	uint64_t row = 0;
	aqz_status status = AQZ_OK;

	for (uint32_t i = 0; i < ref->count; i++) {
		const aqz_section_info *s = aqz_reader_section(f->reader, ref->first + i);
		const size_t row_bytes = (size_t)codeword * (aqz_dtype_bits(s->dtype) / 8);
		void *stored;

		if (s->rows > aqz_codewords(scheme) - row)
			return aqz_fail(
				err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "codebook", "there are too many codewords");
		AQZ_TRY(aqz_budget_alloc(budget, &stored, s->decoded_bytes, "codebooks", err));
		status = aqz_loaded_section(stored, f, s->number, s->decoded_bytes, err);
		for (uint64_t k = 0; status == AQZ_OK && k < s->rows;) {
			const uint64_t run = aqz_min(s->rows - k, per_book - row % per_book);

			aqz_codebook_widen(values + row * codeword, (const uint8_t *)stored + k * row_bytes,
				s->dtype, run, codeword, scales != NULL ? scales + row / per_book * codeword : NULL);
			row += run;
			k += run;
		}
		aqz_budget_free(budget, stored, s->decoded_bytes);
		if (status != AQZ_OK)
			return status;
	}
out:
	return status;
}

/* n values of a float section, as binary32. */
static aqz_status read_floats(
	float *values, const aqz_loaded_file *f, uint32_t section, uint64_t n, aqz_error *err)
{
	const aqz_section_info *s = aqz_reader_section(f->reader, section);
	aqz_budget *budget = &f->model->budget;
	void *stored;
	aqz_status status;

	if (s->rows * s->cols != n)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, aqz_kind_name(s->kind),
			"there are %llu of them instead of %llu", (unsigned long long)(s->rows * s->cols),
			(unsigned long long)n);
	AQZ_TRY(aqz_budget_alloc(budget, &stored, s->decoded_bytes, "scales", err));
	status = aqz_loaded_section(stored, f, section, s->decoded_bytes, err);
	if (status == AQZ_OK)
		status = aqz_convert(values, AQZ_F32, stored, s->dtype, (size_t)n, err);
	aqz_budget_free(budget, stored, s->decoded_bytes);
out:
	return status;
}

static aqz_status remember(aqz_loaded_file *f, const aqz_widened *table, aqz_error *err)
{
	if (f->n_tables == f->tables_capacity) {
		const uint32_t capacity = f->tables_capacity == 0 ? 64 : 2 * f->tables_capacity;
		aqz_widened *grown = realloc(f->tables, capacity * sizeof *grown);

		if (grown == NULL)
			return aqz_fail_nomem(err, capacity * sizeof *grown);
		f->tables = grown;
		f->tables_capacity = capacity;
	}
	f->tables[f->n_tables++] = *table;
	return AQZ_OK;
}

void aqz_tables_forget(aqz_loaded_file *f)
{
	free(f->tables);
	f->tables = NULL;
	f->n_tables = f->tables_capacity = 0;
}

/* The widened codebooks of a reference, made when they are first asked for. scales_ref: NULL but for integers. */
static aqz_status get_tables(const float **out, aqz_loaded_file *f, const aqz_scheme *scheme,
	const aqz_ref *ref, const aqz_ref *scales_ref, aqz_error *err)
{
	const uint64_t n = aqz_codewords(scheme) * aqz_codeword(scheme);
	float scales[AQZ_MAX_CODEBOOKS * AQZ_MAX_CODEWORD];
	aqz_widened key = {
		ref->first, ref->count, scales_ref != NULL ? scales_ref->first : UINT32_MAX, *scheme, NULL};
	void *memory;
	aqz_status status;

	for (uint32_t i = f->n_tables; i > 0; i--) { /* of a layer's, the last are the most likely ones */
		const aqz_widened *t = &f->tables[i - 1];

		if (t->codebook == key.codebook && t->n_codebooks == key.n_codebooks &&
			t->scales == key.scales && memcmp(&t->scheme, scheme, sizeof *scheme) == 0) {
			*out = t->values;
			return AQZ_OK;
		}
	}
	if (scales_ref != NULL)
		AQZ_TRY(read_floats(scales, f, scales_ref->first,
			(uint64_t)scheme->n_codebooks * aqz_codeword(scheme), err));
	AQZ_TRY(aqz_model_hold(f->model, &memory, n * sizeof(float), "codebooks", err));
	AQZ_TRY(widen(memory, f, scheme, ref, scales_ref != NULL ? scales : NULL, err));
	f->model->memory.codebooks += n * sizeof(float);
	key.values = memory;
	*out = key.values;
	AQZ_TRY(remember(f, &key, err));
out:
	return status;
}

/* ---- Scales and codes */

/* One for each code row; 1 where the section has none, which changes no value. */
static aqz_status read_row_scales(const float **out, aqz_loaded_file *f, const aqz_section_info *s,
	uint64_t code_rows, aqz_error *err)
{
	float *scales;
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_model_hold(f->model, &memory, code_rows * sizeof *scales, "scales", err));
	*out = scales = memory;
	f->model->memory.codes += code_rows * sizeof *scales;
	for (uint32_t i = 0; i < s->n_refs; i++)
		if (s->refs[i].kind == AQZ_KIND_ROW_SCALES)
			return read_floats(scales, f, s->refs[i].first, code_rows, err);
	for (uint64_t i = 0; i < code_rows; i++)
		scales[i] = 1;
out:
	return status;
}

static aqz_status read_codes(const uint8_t **out, aqz_loaded_file *f, const aqz_section_info *s,
	uint64_t code_rows, aqz_error *err)
{
	const aqz_scheme *scheme = &s->scheme;
	const uint64_t groups = aqz_ceil_div(s->cols, scheme->in_group);
	const uint64_t n_bytes = aqz_additive_codes_bytes(scheme, code_rows, groups);
	const uint64_t block = aqz_additive_codes_bytes(scheme, AQZ_TILE_ROWS, groups);
	const unsigned last = (unsigned)((code_rows - 1) % AQZ_TILE_ROWS) + 1;
	void *memory;
	aqz_status status;

	AQZ_TRY(aqz_model_hold(f->model, &memory, n_bytes, "codes", err));
	AQZ_TRY(aqz_reader_codes(
		f->reader, s->number, memory, n_bytes, aqz_budget_rest(&f->model->budget), err));
	if (!aqz_t64_padding_ok((const uint8_t *)memory + (n_bytes - block),
			groups * scheme->n_codebooks, scheme->code_bits, last))
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, NULL, "padding codes are not 0");
	f->model->memory.codes += n_bytes;
	*out = memory;
out:
	return status;
}

/* ---- Parts */

static uint32_t count_refs(const aqz_section_info *s, aqz_kind kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n_refs; i++)
		n += s->refs[i].kind == kind;
	return n;
}

/* The scales of integer codebooks for the rows that begin there, or NULL. */
static const aqz_ref *scales_at(const aqz_section_info *s, uint64_t row_begin)
{
	for (uint32_t i = 0; i < s->n_refs; i++)
		if (s->refs[i].kind == AQZ_KIND_CODEBOOK_SCALES && s->refs[i].row_begin == row_begin)
			return &s->refs[i];
	return NULL;
}

aqz_status aqz_load_codes(aqz_loaded_file *f, aqz_weight *w, const aqz_section_info *s, aqz_error *err)
{
	const uint64_t out_group = s->scheme.out_group, code_rows = aqz_ceil_div(s->rows, out_group);
	const uint64_t block = aqz_additive_codes_bytes(
		&s->scheme, AQZ_TILE_ROWS, aqz_ceil_div(s->cols, s->scheme.in_group));
	const uint32_t n_parts = count_refs(s, AQZ_KIND_CODEBOOK);
	aqz_weight_part *parts;
	const uint8_t *lines = NULL;
	const float *scales;
	void *memory;
	uint32_t n = 0;
	aqz_status status;

	AQZ_TRY(aqz_model_hold(f->model, &memory, n_parts * sizeof *parts, "parts of a weight", err));
	parts = memory;
	AQZ_TRY(read_codes(&lines, f, s, code_rows, err));
	AQZ_TRY(read_row_scales(&scales, f, s, code_rows, err));
	for (uint32_t i = 0; i < s->n_refs; i++) {
		const aqz_ref *ref = &s->refs[i];
		aqz_weight_part *part = &parts[n];

		if (ref->kind != AQZ_KIND_CODEBOOK)
			continue;
		/* The catalog has checked that they cover all code rows in order and begin at whole blocks. */
		part->row_begin = ref->row_begin * out_group;
		part->row_end = aqz_min(ref->row_end * out_group, s->rows);
		part->tables = (aqz_tables){.scheme = s->scheme, .dtype = s->dtype};
		part->lines = lines + ref->row_begin / AQZ_TILE_ROWS * block;
		part->scales = scales + ref->row_begin;
		AQZ_TRY(
			get_tables(&part->tables.values, f, &s->scheme, ref, scales_at(s, ref->row_begin), err));
		part->tables.facts = aqz_table_look(part->tables.values, &s->scheme);
		n++;
	}
	*w = (aqz_weight){.form = AQZ_WEIGHT_ADDITIVE,
		.rows = s->rows,
		.cols = s->cols,
		.dtype = s->dtype,
		.parts = parts,
		.n_parts = n};
	f->model->memory.n_weights += s->rows * s->cols;
out:
	return status;
}
