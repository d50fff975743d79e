/* SPDX-License-Identifier: Apache-2.0 */
/* Files of llama2.c, version 0: seven int32 and then binary32 tensors, one after the other. */
#ifndef AQZ_MODEL_LLAMA2C_H
#define AQZ_MODEL_LLAMA2C_H

#include "model/model.h"

#define AQZ_LLAMA2C_HEADER_BYTES 28

/* Where the tensors of a file begin, in bytes, and how long the file is by its header. */
typedef struct aqz_llama2c {
	aqz_model_config config;
	uint64_t embedding, attention_norm, ffn_norm, final_norm, head;
	uint64_t linear[AQZ_N_LINEARS]; /* of layer 0; the other layers follow */
	uint64_t n_bytes;
} aqz_llama2c;

/* Reads the header. FORMAT if no file of llama2.c begins so; UNSUPPORTED for its later versions. */
aqz_status aqz_llama2c_parse(aqz_llama2c *out, const uint8_t *head, uint64_t n, aqz_error *err);

#endif
