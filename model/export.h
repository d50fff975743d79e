/* SPDX-License-Identifier: Apache-2.0 */
/* The small files of an exported model. */
#ifndef AQZ_MODEL_EXPORT_H
#define AQZ_MODEL_EXPORT_H

#include "interop/json_text.h"
#include "model/model.h"

/* Hands a whole file to the sink. */
aqz_status aqz_export_file(const aqz_folder_sink *sink, const char *name, const void *data, size_t n, aqz_error *err);
/* The same with JSON, NULL of which is memory that was not there; gives json back. */
aqz_status aqz_export_json(const aqz_folder_sink *sink, const char *name, json_t *json, aqz_error *err);

/* config.json and generation_config.json. */
aqz_status aqz_export_config(const aqz_model *m, aqz_dtype dtype, const aqz_folder_sink *sink, aqz_error *err);
/* tokenizer.json and tokenizer_config.json; nothing if there is no tokenizer. */
aqz_status aqz_export_tokenizer(const aqz_model *m, const aqz_folder_sink *sink, aqz_error *err);

#endif
