/* SPDX-License-Identifier: Apache-2.0 */
/* An .aqz file that a model is read from, and the codebooks that were widened for it. */
#ifndef AQZ_MODEL_LOAD_AQZ_H
#define AQZ_MODEL_LOAD_AQZ_H

#include "model/load.h"

/* Codebooks by the sections that they come from: weights that share these share the table. */
typedef struct aqz_widened {
	uint32_t codebook, n_codebooks, scales; /* sections; scales UINT32_MAX: none */
	aqz_scheme scheme;
	const float *values; /* of the model */
} aqz_widened;

typedef struct aqz_loaded_file {
	aqz_file file;
	aqz_reader *reader;
	aqz_model *model;
	uint64_t catalog_bytes; /* of the reader, charged to the model's budget */
	aqz_widened *tables;
	uint32_t n_tables, tables_capacity;
} aqz_loaded_file;

/* Reads all of a section within the model's memory limit. */
aqz_status aqz_loaded_section(void *dst, const aqz_loaded_file *f, uint32_t section, uint64_t n_bytes,
	aqz_error *err);

/* Makes a weight of a coded section whose view is the matrix. */
aqz_status aqz_load_codes(aqz_loaded_file *f, aqz_weight *w, const aqz_section_info *s, aqz_error *err);
/* Makes a weight of symbols from a trellis section whose view is the matrix. *made is false, and nothing is held, where
 * so many of them are beyond a byte that elements take less memory. */
aqz_status aqz_load_symbols(bool *made, aqz_loaded_file *f, aqz_weight *w, const aqz_section_info *s, aqz_error *err);
void aqz_tables_forget(aqz_loaded_file *f);

#endif
